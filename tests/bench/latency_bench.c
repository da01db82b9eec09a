/*
 * How long a call takes: at half of the rate that herod makes at most, and
 * while another user holds ten thousand connections.
 */
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define CONNS 32
#define CALLS 20000 /* of which the slowest hundredth is told */
#define HELD 10000
#define NOBODY 65534
#define SECONDS 0.5 /* to find the highest rate */

/* ---- calls at a rate ---- */

/* Calls leave when they are due, whether or not earlier ones are answered, but
 * one at a time on each connection; what waits for one waits in the figure. */
struct paced {
	int fds[CONNS];
	int64_t due[CONNS]; /* of the call under way; 0: none */
	int epoll;
	double *ms;
	size_t sent, heard;
	int64_t begin;
	double interval; /* ns */
};

static const char *request;

static void
paced_open(struct paced *p, const struct herod *h)
{
	struct epoll_event event = {.events = EPOLLIN};
	int i;

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < CONNS; i++) {
		p->fds[i] = door_unix(h);
		event.data.u32 = (uint32_t)i;
		epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->fds[i], &event);
	}
}

static void
paced_close(struct paced *p)
{
	int i;

	for (i = 0; i < CONNS; i++)
		close(p->fds[i]);
	close(p->epoll);
}

static int64_t
due(const struct paced *p)
{
	return p->begin + (int64_t)(p->interval * (double)p->sent);
}

static void
send_due(struct paced *p, int64_t now)
{
	int i;

	for (i = 0; i < CONNS && p->sent < CALLS && due(p) <= now; i++) {
		if (p->due[i] != 0)
			continue;
		p->due[i] = due(p);
		p->sent++;
		send_text(p->fds[i], request);
	}
}

/* An answer to one small call comes whole. */
static void
hear(struct paced *p)
{
	struct epoll_event events[CONNS];
	int i, n = epoll_wait(p->epoll, events, CONNS, 0);
	char answer[4096];
	uint32_t at;

	for (i = 0; i < n; i++) {
		at = events[i].data.u32;
		check(recv(p->fds[at], answer, sizeof(answer), 0) > 0);
		p->ms[p->heard++] = (double)(now_ns() - p->due[at]) / 1e6;
		p->due[at] = 0;
	}
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The hundredth slowest in a hundred; ms. */
static double
p99_at(const struct herod *h, double rate)
{
	struct paced p = {.interval = 1e9 / rate};
	double p99;

	p.ms = calloc(CALLS, sizeof(*p.ms));
	check(p.ms != NULL);
	paced_open(&p, h);
	p.begin = now_ns();
	while (p.heard < CALLS) {
		send_due(&p, now_ns());
		hear(&p);
	}
	paced_close(&p);
	qsort(p.ms, CALLS, sizeof(*p.ms), by_size);
	p99 = p.ms[CALLS / 100 * 99];
	free(p.ms);
	return p99;
}

/* ---- benches ---- */

static void
tell(const char *bench, double p99, double limit)
{
	report(&(struct report){.bench = bench,
	    .value = p99,
	    .unit = "ms",
	    .aim = AIM_AT_MOST,
	    .limit = limit});
}

void
test_latency(void)
{
	struct herod *h = herod_start("%s", sleepers(10, ""));
	struct load load = {
	    door_unix, call_line("ping", ""), CONNS, 1, SECONDS};

	request = load.request;
	tell("p99_at_half_peak", p99_at(h, load_run(h, &load) / 2), 2);
	herod_stop(h);
}

/* As somebody who is no admin. */
static void
hold(const struct herod *h, int ready)
{
	int i;

	if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 ||
	    setuid(NOBODY) != 0)
		_exit(1);
	for (i = 0; i < HELD; i++)
		send_text(door_unix(h), "{");
	if (write(ready, "", 1) != 1)
		_exit(1);
	pause();
}

static pid_t
crowd(const struct herod *h)
{
	int ready[2];
	pid_t pid;
	char byte;

	run("chmod 755 . run");
	check_int(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		hold(h, ready[1]);
	close(ready[1]);
	check(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return pid;
}

void
test_crowd(void)
{
	struct rlimit files = {HELD + 1000, HELD + 1000};
	struct herod *h;
	double before;
	pid_t pid;

	if (geteuid() != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0)
		skip("needs root and descriptors");
	h = herod_start("[herod]\nmax_connections = %d\n"
			"request_timeout = 600\n",
	    2 * HELD);
	request = call_line("ping", "");
	before = atof(proc_field(herod_pid(h), "status", "VmRSS"));
	pid = crowd(h);
	tell("p99_beside_10000_held", p99_at(h, 1000), 10);
	report(&(struct report){.bench = "rss_per_held",
	    .value =
		(atof(proc_field(herod_pid(h), "status", "VmRSS")) - before) /
		HELD,
	    .unit = "kB",
	    .aim = AIM_AT_MOST,
	    .limit = 8});
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
	herod_stop(h);
}
