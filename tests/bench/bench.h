/*
 * What benches share.  A bench is a function test_NAME() for the harness
 * (check.h), which gives it a process and a directory of its own and a
 * time limit; it drives a real herod (integration/herod.h) and reports
 * what it has measured.  Nothing here fails for being slow: this machine
 * may be busy, which is why a peer is measured in the same run.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "integration/herod.h"

enum aim {
	AIM_NONE,
	AIM_AT_MOST, /* limit is in the report's unit */
	AIM_AT_LEAST,
	AIM_OF_PEER, /* at least limit times the peer */
	AIM_WITHIN_PEER /* at most limit times the peer */
};

struct report {
	const char *bench;
	double value;
	const char *unit;
	const char *peer; /* NULL: there is none */
	double peer_value;
	enum aim aim;
	double limit;
};

/* One JSON line to the descriptor BENCH_FD (1). */
void report(const struct report *r);

/* ---- numbers ---- */

#define SAMPLES_MAX 1000

struct samples {
	size_t n;
	double v[SAMPLES_MAX];
};

void sample(struct samples *s, double v);
double percentile(struct samples *s, double percent);
double median(struct samples *s);

/* CLOCK_MONOTONIC, the same for all processes of a machine. */
int64_t now_ns(void);
double ms_since(int64_t since_ns);

/* Lets time pass: here it is what is measured, not waited for. */
void stay_idle(double seconds);

/* ---- processes ---- */

/* By vfork and exec.  argv[0] is looked up in PATH.  fds: its stdin, stdout
 * and stderr, -1: /dev/null; or NULL: all three. */
pid_t program_start(const char *const *argv, const int *fds);

/* SIGTERM to one of ours, and waits for its end. */
void program_stop(pid_t pid);

/* Path of tests/bench/child in the build directory. */
const char *child_program(void);

/* Seconds of CPU that a process has used so far. */
double cpu_of(pid_t pid);

/* Is the program there?  (tests/bench/run says so when it is not.) */
bool has_peer(const char *program);

/* Median wall time in ms of a command, over so many runs. */
double command_ms(const char *const *argv, size_t nruns);

/* A connection to a Unix socket; -1 while nobody listens there. */
int dial(const char *path);

/* Memory in MB of a process. */
double rss_mb(pid_t pid);

/* ---- what tells when it got to something ---- */

struct mark {
	pid_t pid;
	int64_t at_ns; /* as of now_ns() */
};

/* A socket for "child mark". */
int mark_socket(const char *path);

/* Waits for the next one. */
struct mark next_mark(int fd);

/* ---- herods ---- */

/* A configuration of n services r000, r001... that sleep. */
const char *sleepers(int n, const char *settings);

#endif
