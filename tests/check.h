/*
 * The test harness.  A test is a function
 *
 *	void
 *	test_stop_kills_a_deaf_program(void)
 *
 * in a program linked with check.c: no list to keep, main() finds it in
 * the program's own symbol table.  Each runs in a process, a process group
 * and an empty current directory of its own, several at once; its output
 * is shown when it fails.  What it leaves running is killed and makes it
 * fail.  "PROG -l" lists, "PROG NAME..." runs some.
 */
#ifndef CHECK_H
#define CHECK_H

#include <signal.h>
#include <stdbool.h>

/* Tests are found by name, not by prototype. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* Each ends the test as failed when it does not hold. */
#define check(cond) \
	do { \
		if (!(cond)) \
			check_fail(__FILE__, __LINE__, "not so: %s", #cond); \
	} while (0)
#define check_int(got, want) \
	check_int_at(__FILE__, __LINE__, #got, (got), (want))
#define check_str(got, want) \
	check_str_at(__FILE__, __LINE__, #got, (got), (want))
/* text contains part. */
#define check_has(text, part) \
	check_has_at(__FILE__, __LINE__, #text, (text), (part))

/* Waits until it holds, at most 30 seconds (times CHECK_PATIENCE of the
 * environment).  A test with an event loop turns it in the condition:
 * wait_for((ev_run(loop, EVRUN_NOWAIT), done)) */
#define wait_for(cond) \
	do { \
		double wait_since_ = check_clock(); \
		while (!(cond)) \
			check_wait(__FILE__, __LINE__, #cond, wait_since_); \
	} while (0)

/* Ends the test as skipped. */
void skip(const char *reason) __attribute__((noreturn));

/* Once in a file: seconds (times CHECK_PATIENCE) that each of its tests may
 * take, 60 otherwise. */
#define CHECK_TIMEOUT(seconds) unsigned check_timeout = (seconds)
extern unsigned check_timeout;

/* As kill(2), but 0, which a process that was not there yet often is, does not
 * stand for the test itself. */
#define kill(pid, signo) check_kill(__FILE__, __LINE__, (pid), (signo))

/* Whole files, for tests; a failure ends the test.  free(3) the text. */
char *read_file(const char *path);
void write_file(const char *path, const char *text);

/* Monotonic seconds. */
double check_clock(void);

/* CHECK_PATIENCE of the environment, 1 when not set: slow builds. */
double check_patience(void);

/* ---- behind the macros ---- */

void check_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
int check_kill(const char *file, int line, long pid, int signo);
void check_int_at(const char *file, int line, const char *what, long long got,
    long long want);
void check_str_at(const char *file, int line, const char *what, const char *got,
    const char *want);
void check_has_at(const char *file, int line, const char *what,
    const char *text, const char *part);
void check_wait(const char *file, int line, const char *what, double since);

#endif
