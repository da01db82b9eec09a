/* Starting herod and its keeper again after the keeper was killed. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define YOUNG 1 /* seconds: killed younger, it is not started at once */
#define DELAY_MAX 5

struct guard {
	char **argv;
	int ready_fd; /* -1 */
	pid_t keeper; /* 0: none */
	time_t since;
	time_t delay; /* before the next start */
	bool asked; /* to end */
	bool again; /* one was killed: others live that go on */
	sigset_t signals, before;
};

static time_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void
run(struct guard *g)
{
	char number[16];
	size_t n = 0;

	sigprocmask(SIG_SETMASK, &g->before, NULL);
	snprintf(number, sizeof(number), "%d", g->ready_fd);
	if (g->ready_fd != -1)
		fcntl(g->ready_fd, F_SETFD, 0);
	while (g->argv[n])
		n++;
	g->argv[n] = (char *)"--guarded";
	g->argv[n + 1] = number;
	g->argv[n + 2] = NULL;
	execv(g->argv[0], g->argv);
	_exit(127);
}

/* In the background: whoever started us may wait for the end of our stderr, or
 * for that of ready_fd.  The next keeper has somebody to tell, too: then what
 * it says goes to herod's log. */
static void
leave_terminal(struct guard *g)
{
	close(g->ready_fd);
	g->ready_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(g->ready_fd, 2);
}

static void
start(struct guard *g)
{
	g->since = now();
	g->keeper = fork();
	if (g->keeper == 0)
		run(g);
	if (g->keeper == -1) {
		g->keeper = 0;
		g->delay = DELAY_MAX;
		return;
	}
	if (g->ready_fd != -1)
		leave_terminal(g);
}

/* Somebody may be writing the configuration just when another is to begin:
 * runners that go on are not left alone for that. */
static bool
could_not_begin(const struct guard *g, int status)
{
	return g->again && WIFEXITED(status) && WEXITSTATUS(status) != 0 &&
	    now() - g->since <= YOUNG;
}

static void
tell_end(int status)
{
	if (WIFSIGNALED(status))
		dprintf(2,
		    "herod-keeper: was killed by signal %d: its guard starts "
		    "another\n",
		    WTERMSIG(status));
	else
		dprintf(2,
		    "herod-keeper: could not begin again: its guard tries "
		    "that in %d s\n",
		    DELAY_MAX);
}

/* True when this was the end of all. */
static bool
keeper_ended(struct guard *g, int status, int *code)
{
	g->keeper = 0;
	*code =
	    WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (g->asked || (!WIFSIGNALED(status) && !could_not_begin(g, status)))
		return true;
	if (!WIFSIGNALED(status))
		g->delay = DELAY_MAX;
	else if (now() - g->since >= YOUNG)
		g->delay = 0;
	else if (g->delay < DELAY_MAX)
		g->delay++;
	g->again = true;
	tell_end(status);
	return false;
}

/* Orphans of the keeper come to us; true at the end of all. */
static bool
reap(struct guard *g, int *code)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == g->keeper && keeper_ended(g, status, code))
			return true;
	return false;
}

/* Those of the terminal reach the keeper by themselves. */
static void
hand_on(struct guard *g, const siginfo_t *si)
{
	int sig = si->si_signo;

	if (sig == SIGTERM || sig == SIGINT || sig == SIGQUIT)
		g->asked = true;
	if (g->keeper != 0 && si->si_code != SI_KERNEL)
		kill(g->keeper, sig);
}

static void
signals_block(struct guard *g)
{
	static const int all[] = {
	    SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	size_t i;

	sigemptyset(&g->signals);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		sigaddset(&g->signals, all[i]);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, &g->signals, &g->before);
}

int
guard(char **argv, int ready_fd)
{
	struct guard g = {.argv = argv, .ready_fd = ready_fd};
	struct timespec wait;
	int code = 0, sig;
	siginfo_t si;

	signals_block(&g);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	start(&g);
	for (;;) {
		wait.tv_sec = g.delay;
		wait.tv_nsec = 0;
		sig = g.keeper != 0 ? sigwaitinfo(&g.signals, &si)
				    : sigtimedwait(&g.signals, &si, &wait);
		if (sig == SIGCHLD && reap(&g, &code))
			return code;
		if (sig > 0 && sig != SIGCHLD)
			hand_on(&g, &si);
		if (g.keeper == 0 && g.asked)
			return code ? code : 1;
		if (g.keeper == 0 && (sig == -1 || g.delay == 0))
			start(&g);
	}
}
