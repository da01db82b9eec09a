/*
 * Control groups: what is written into their files, in directories that
 * look like them, and real ones where this machine lets us.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "check.h"
#include "fake/groups.h"

/* ---- directories that look like groups ---- */

static void
check_file(const char *path, const char *content)
{
	char *text = read_file(path);

	check_str(text, content);
	free(text);
}

void
test_limits_are_written_into_the_group(void)
{
	struct cgroups *cs = groups_open_fake("cpuset cpu io memory pids\n");
	struct cgroup *g = cgroup_new(cs, "web.0");
	struct cgroup_limits l = {.memory = 64 << 20, .cpus = 1.5};
	const char *why;
	int fd;

	check_str(cgroups_why_not(cs), "");
	check(cgroups_enforce(cs, CGROUP_MEMORY, &why));
	check(cgroups_enforce(cs, CGROUP_CPU, &why));
	check(cgroups_enforce(cs, CGROUP_PIDS, &why));
	check_int(cgroup_limit(g, &l), 0); /* nothing is there yet */
	check_file("base/herod.x/web.0/memory.max", "");
	check((fd = cgroup_begin(g, &l)) != -1);
	close(fd);
	check_file("base/herod.x/web.0/memory.max", "67108864");
	check_file("base/herod.x/web.0/cpu.max", "150000 100000");
	check_file("base/herod.x/web.0/pids.max", "max");
	check_int(cgroup_memory(g), 64 << 20);
	l.pids = 20;
	check_int(cgroup_limit(g, &l), 0);
	check_file("base/herod.x/web.0/pids.max", "20x");
	cgroup_free(g);
	cgroups_close(cs);
}

void
test_running_out_of_memory_is_told_once(void)
{
	struct cgroups *cs = groups_open_fake("memory\n");
	struct cgroup *g = cgroup_new(cs, "web.0");
	struct cgroup_limits none = {0};

	close(cgroup_begin(g, &none));
	check(!cgroup_ran_out(g)); /* 3 times before */
	make_file("base/herod.x/web.0", "memory.events", "oom_kill 4\n");
	check(cgroup_ran_out(g));
	check(!cgroup_ran_out(g));
	make_file("base/herod.x/web.0", "memory.events", "oom_kill 5\n");
	cgroup_resume(g, true); /* the next herod */
	check(!cgroup_ran_out(g));
	cgroup_resume(g, false); /* it has ended meanwhile */
	check(cgroup_ran_out(g));
	cgroup_free(g);
	cgroups_close(cs);
}

void
test_a_controller_that_is_missing_is_named(void)
{
	struct cgroups *cs = groups_open_fake("cpu cpuset hugetlb\n");
	const char *why = "";

	check(cgroups_enforce(cs, CGROUP_CPU, &why));
	check(!cgroups_enforce(cs, CGROUP_MEMORY, &why));
	check_str(why, "no controller 'memory' in this cgroup");
	check(cgroups_say_once(cs));
	check(!cgroups_say_once(cs));
	cgroups_close(cs);
}

void
test_without_groups_nothing_is_done(void)
{
	struct cgroup_limits none = {0};
	struct cgroups *cs = cgroups_open("x", true);
	struct cgroup *g = cgroup_new(cs, "web.0");
	const char *why;
	pid_t pid;

	check(g == NULL);
	check_str(cgroups_why_not(cs), "cgroups = off");
	check(!cgroups_enforce(cs, CGROUP_PIDS, &why));
	check_str(why, "cgroups = off");
	check_int(cgroup_begin(g, &none), -1);
	check_int(cgroup_limit(g, &none), 0);
	check_int(cgroup_pids(g, &pid, 1), 0);
	check(!cgroup_kill(g) && !cgroup_has(g, 1) && !cgroup_ran_out(g));
	cgroup_free(g);
	cgroups_close(cs);
}

/* A plain directory would take all we write, and do nothing. */
void
test_a_directory_that_is_no_group_is_refused(void)
{
	struct cgroups *cs;

	mkdir("base", 0755);
	cs = cgroups_open_at("base", "x");
	check_has(cgroups_why_not(cs), "base/herod.x/cgroup.procs: ");
	cgroups_close(cs);
}

/* ---- real ones ---- */

static struct cgroups *
open_real(const char *id)
{
	struct cgroups *cs = cgroups_open(id, false);

	if (*cgroups_why_not(cs))
		skip(cgroups_why_not(cs));
	return cs;
}

/* A process that waits, in the group. */
static pid_t
begin_in(struct cgroup *g)
{
	struct cgroup_limits none = {0};
	int dir = cgroup_begin(g, &none), fd;
	pid_t pid = fork();

	if (pid == 0) {
		fd = openat(dir, "cgroup.procs", O_WRONLY);
		if (write(fd, "0", 1) != 1)
			_exit(1);
		setsid();
		for (;;)
			pause();
	}
	close(dir);
	wait_for(cgroup_has(g, pid));
	return pid;
}

void
test_a_group_knows_and_kills_its_processes(void)
{
	char *id = xasprintf("test.%d", (int)getpid());
	struct cgroups *cs = open_real(id);
	struct cgroup *g = cgroup_new(cs, "web.0");
	pid_t pid = begin_in(g), other = fork(), found;
	int status;

	if (other == 0)
		for (;;)
			pause();
	check_int(cgroup_pids(g, &found, 1), 1);
	check_int(found, pid);
	check(!cgroup_has(g, other));
	if (!cgroup_kill(g)) {
		kill(pid, SIGKILL);
		kill(other, SIGKILL);
		skip("needs cgroup.kill (Linux 5.14)");
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(WTERMSIG(status), SIGKILL);
	check_int(waitpid(other, &status, WNOHANG), 0);
	kill(other, SIGKILL);
	waitpid(other, &status, 0);
	wait_for(cgroup_pids(g, &found, 1) == 0);
	cgroup_free(g);
	cgroups_close(cs);
	free(id);
}

void
test_a_group_ends_only_when_nobody_is_in_it(void)
{
	char *id = xasprintf("test.%d", (int)getpid());
	struct cgroups *cs = open_real(id);
	struct cgroup *g = cgroup_new(cs, "web.0");
	pid_t pid;

	check(cgroup_end(NULL) && cgroup_end(g));
	pid = begin_in(g);
	check(!cgroup_end(g));
	check(cgroup_has(g, pid));
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	wait_for(cgroup_end(g));
	check(cgroup_end(g));
	/* And begins again. */
	pid = begin_in(g);
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	wait_for(cgroup_end(g));
	cgroup_free(g);
	cgroups_close(cs);
	free(id);
}

/* What a dead herod left is removed by the next, whoever that is, unless
 * somebody is still in it. */
void
test_groups_of_the_dead_are_removed(void)
{
	char *dead = xasprintf("dead.%d", (int)getpid());
	char *id = xasprintf("test.%d", (int)getpid());
	struct cgroups *cs, *old;
	struct cgroup *g;
	int status;
	pid_t pid;

	/* It dies without a word. */
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		old = cgroups_open(dead, false);
		g = cgroup_new(old, "web.0");
		if (g)
			close(cgroup_begin(g, &(struct cgroup_limits){0}));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cs = open_real(id);
	old = cgroups_open(dead, false);
	g = cgroup_new(old, "web.0");
	check_int(cgroup_pids(g, &pid, 1), 0);
	check(!cgroup_has(g, getpid()));
	/* One that lives keeps its own. */
	cgroups_close(cs);
	pid = begin_in(g);
	cs = open_real(id);
	check(cgroup_has(g, pid));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	wait_for(cgroup_pids(g, &pid, 1) == 0);
	cgroup_free(g);
	cgroups_close(old);
	cgroups_close(cs);
	free(dead);
	free(id);
}
