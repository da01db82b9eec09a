/* What the next herod must know of a stdio worker, whenever this one dies. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "work.h"

static const struct up_to before = {1, 5000}, after = {2, 7};

static bool
is_claim(struct up_to a, struct up_to b)
{
	return a.epoch == b.epoch && a.sequence == b.sequence;
}

static pid_t
set_sent_traced(struct marks *m)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) == -1)
		_exit(1);
	raise(SIGSTOP);
	marks_set_sent(m, after);
	_exit(0);
}

/* Herod may be killed behind any instruction. */
void
test_the_last_claim_sent_is_known_whole_at_any_time(void)
{
	struct marks *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	marks_set_sent(m, before);
	pid = set_sent_traced(m);
	for (waitpid(pid, &status, 0); WIFSTOPPED(status);
	     waitpid(pid, &status, 0)) {
		check(is_claim(marks_sent(m), before) ||
		    is_claim(marks_sent(m), after));
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		skip("needs to be allowed ptrace(2)");
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check(is_claim(marks_sent(m), after));
	munmap(m, sizeof(*m));
}
