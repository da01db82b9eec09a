/* What proc(5) tells of processes. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "process.h"

/* A child that waits for a signal, or has ended (and is not waited for). */
static pid_t
child(bool ended)
{
	pid_t pid = fork();

	if (pid == 0) {
		while (!ended)
			pause();
		_exit(0);
	}
	check(pid > 0);
	return pid;
}

static void
end(pid_t pid)
{
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
}

void
test_oneself_is_there_and_runs(void)
{
	struct process_info p;

	check(process_read(getpid(), &p));
	check_int(p.pid, getpid());
	check_int(p.ppid, getppid());
	check_int(p.state, 'R');
	check(p.rss > 100000);
	check_has(p.command, "process_test");
}

void
test_children_are_found(void)
{
	pid_t list[10], one = child(false), two = child(false);

	check_int((long long)process_children(getpid(), list, 10), 2);
	check(list[0] == one && list[1] == two);
	check_int((long long)process_children(getpid(), list, 1), 1);
	end(one);
	end(two);
	check_int((long long)process_children(getpid(), list, 10), 0);
}

void
test_the_dead_have_a_name_and_the_gone_have_none(void)
{
	pid_t pid = child(true);
	struct process_info p;

	wait_for(process_read(pid, &p) && p.state == 'Z');
	check_str(p.command, "[process_test]");
	end(pid);
	check(!process_read(pid, &p));
}

void
test_a_variable_is_the_one_at_the_start(void)
{
	char value[8];

	check(process_variable(getpid(), "PATH", value, sizeof(value)));
	check_int((long long)strlen(value), 7);
	check(!process_variable(getpid(), "PAT", value, sizeof(value)));
	setenv("NEW_ONE", "x", 1);
	check(!process_variable(getpid(), "NEW_ONE", value, sizeof(value)));
}
