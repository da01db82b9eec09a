/*
 * The harness itself.  The tests named bad_* do what a test should not do,
 * but only when they are asked by BAD: then this program runs itself on
 * one of them and looks at what the harness says.
 */
#include <sys/wait.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

/* Runs one bad test with the harness; what it printed, free(3) it. */
static char *
run_bad(const char *name, int *status)
{
	char command[512], exe[256];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	check(n > 0);
	exe[n] = '\0';
	/* A BAD test's time limit is one second. */
	snprintf(command, sizeof(command),
	    "BAD=1 CHECK_PATIENCE=0.02 '%s' %s >out 2>&1", exe, name);
	*status = system(command);
	check(WIFEXITED(*status));
	*status = WEXITSTATUS(*status);
	return read_file("out");
}

static void
check_bad(const char *name, const char *said)
{
	int status;
	char *out = run_bad(name, &status);

	check_int(status, 1);
	check_has(out, said);
	check_has(out, "0 passed, 1 failed\n");
	free(out);
}

static bool
asked(void)
{
	return getenv("BAD") != NULL;
}

static void
sleep_in_own_session(void)
{
	if (fork() != 0)
		return;
	setsid();
	if (fork() == 0)
		execlp("sleep", "sleep", "1000", (char *)NULL);
	_exit(0);
}

void
test_bad_check(void)
{
	printf("what the test printed\n");
	if (asked())
		check(1 + 1 == 3);
}

void
test_bad_crash(void)
{
	if (asked())
		kill(getpid(), SIGKILL);
}

void
test_bad_hang(void)
{
	if (asked())
		pause();
}

void
test_bad_leftover(void)
{
	if (asked())
		sleep_in_own_session();
}

void
test_bad_wait(void)
{
	if (asked())
		wait_for(false);
}

void
test_bad_skip(void)
{
	if (asked())
		skip("no moon");
}

void
test_a_failed_check_is_told_with_the_output(void)
{
	check_bad("bad_check", "what the test printed\n");
	check_bad("bad_check", "not so: 1 + 1 == 3");
}

void
test_a_crash_is_told_by_signal(void)
{
	check_bad("bad_crash", "killed by signal 9");
}

void
test_a_hanging_test_is_ended(void)
{
	check_bad("bad_hang", "timed out");
}

void
test_a_process_left_in_its_own_session_is_a_failure(void)
{
	check_bad("bad_leftover", "left a process behind");
}

void
test_a_vain_wait_is_a_failure(void)
{
	check_bad("bad_wait", "waited in vain for: false");
}

void
test_skipped_tests_are_counted(void)
{
	int status;
	char *out = run_bad("bad_skip", &status);

	check_int(status, 0);
	check_has(out, "SKIP bad_skip: no moon\n");
	check_has(out, "0 passed, 0 failed, 1 skipped\n");
	free(out);
}

void
test_each_test_begins_in_an_empty_directory(void)
{
	DIR *d = opendir(".");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	check_int(n, 2);
}

void
test_unknown_names_are_refused(void)
{
	int status;
	char *out = run_bad("no_such_test", &status);

	check_int(status, 2);
	check_has(out, "no test 'no_such_test'");
	free(out);
}
