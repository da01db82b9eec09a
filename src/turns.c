/*
 * Turns of the loop.
 *
 * A turn goes from the moment poll(2) returns (a check watcher, which runs
 * before all others) to the next poll(2) (a prepare watcher, which runs
 * after all others).  Within it the coarse clock, which ticks every few
 * milliseconds, is a sampling profiler: each tick is put to the account of
 * what is being done then.
 */
#define LOG_MODULE "loop"
#include "turns.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "counters.h"
#include "log.h"

#define ACCOUNTS 16 /* different doings of one turn that are told apart */
#define TELL_SECONDS 10.0 /* between two stalls of about the same length */
#define CPU_SECONDS 0.01 /* that the CPU time may be behind */
#define HARDLY 0.5 /* so much CPU of a turn is not ours to explain */

struct account {
	struct doing doing;
	double seconds;
};

static struct {
	ev_check check;
	ev_prepare prepare;
	struct timing timing;
	double longest;
	bool in_turn;
	double begun; /* this turn (clock.h) */
	/* CPU of this thread, and when that was: it is a system call, so not
	 * in each of many short turns. */
	double cpu, cpu_at;
	double told_at, told; /* the stall that was logged last */
	struct doing now;
	double since; /* coarse: when now was looked at */
	struct account accounts[ACCOUNTS];
	size_t naccounts;
} turns;

static double
read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- what is being done ---- */

static bool
is_same(struct doing a, struct doing b)
{
	return a.kind == b.kind && a.name == b.name;
}

/* What no longer fits is left to "other work". */
static void
charge(struct doing doing, double seconds)
{
	size_t i;

	for (i = 0; i < turns.naccounts; i++)
		if (is_same(turns.accounts[i].doing, doing)) {
			turns.accounts[i].seconds += seconds;
			return;
		}
	if (doing.kind != NULL && i < ACCOUNTS)
		turns.accounts[turns.naccounts++] =
		    (struct account){doing, seconds};
}

static void
look(void)
{
	double now = read_clock(CLOCK_MONOTONIC_COARSE);

	if (now == turns.since)
		return;
	if (turns.in_turn)
		charge(turns.now, now - turns.since);
	turns.since = now;
}

struct doing
doing_begin(const char *kind, const char *name)
{
	struct doing before = turns.now;

	look();
	turns.now = (struct doing){kind, name};
	return before;
}

void
doing_end(const struct doing *before)
{
	look();
	turns.now = *before;
}

/* ---- a turn that was long ---- */

static const struct account *
largest_account(void)
{
	const struct account *most = NULL;
	size_t i;

	for (i = 0; i < turns.naccounts; i++)
		if (most == NULL || turns.accounts[i].seconds > most->seconds)
			most = &turns.accounts[i];
	return most;
}

/* ": 110 ms of it in RPC method ping" */
static void
name_doing(double seconds, char *buf, size_t size)
{
	const struct account *most = largest_account();

	if (most == NULL || most->seconds < seconds / 4)
		strlcpy(buf, ": other work", size);
	else if (most->seconds >= seconds - STALL_SECONDS / 5)
		snprintf(
		    buf, size, ": %s %s", most->doing.kind, most->doing.name);
	else
		snprintf(buf, size, ": %.0f ms of it in %s %s",
		    most->seconds * 1e3, most->doing.kind, most->doing.name);
}

/* Many of the same length are one piece of news. */
static bool
is_news(double seconds, double now)
{
	return turns.told_at == 0 || now - turns.told_at >= TELL_SECONDS ||
	    seconds >= 2 * turns.told;
}

static void
tell_stall(double seconds, double now)
{
	double cpu = read_clock(CLOCK_THREAD_CPUTIME_ID) - turns.cpu;
	char what[128];

	counter_add(loop_stalls, 1);
	if (!is_news(seconds, now))
		return;
	turns.told_at = now;
	turns.told = seconds;
	name_doing(seconds, what, sizeof(what));
	cpu = cpu < seconds ? cpu : seconds;
	log_warnx("a turn took %.0f ms (%.0f ms of CPU%s)%s", seconds * 1e3,
	    cpu * 1e3,
	    cpu < seconds * HARDLY ? "; for the rest herod was stopped, got no "
				     "CPU or waited for the disk"
				   : "",
	    what);
}

/* ---- measuring ---- */

static void
on_check(struct ev_loop *loop, ev_check *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
	turns.begun = clock_monotonic();
	turns.in_turn = true;
	turns.since = read_clock(CLOCK_MONOTONIC_COARSE);
	turns.naccounts = 0;
	if (turns.begun - turns.cpu_at < CPU_SECONDS)
		return;
	turns.cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
	turns.cpu_at = turns.begun;
}

static void
on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
	double now, seconds;

	(void)loop;
	(void)w;
	(void)revents;
	if (!turns.in_turn)
		return;
	now = clock_monotonic();
	seconds = now - turns.begun;
	look();
	turns.in_turn = false;
	timing_add(&turns.timing, seconds);
	if (seconds > turns.longest)
		turns.longest = seconds;
	if (seconds > STALL_SECONDS)
		tell_stall(seconds, now);
}

void
turns_watch(struct ev_loop *loop)
{
	ev_check_init(&turns.check, on_check);
	ev_set_priority(&turns.check, EV_MAXPRI);
	ev_check_start(loop, &turns.check);
	/* Of one priority, who was started first is called last. */
	ev_prepare_init(&turns.prepare, on_prepare);
	ev_set_priority(&turns.prepare, EV_MINPRI);
	ev_prepare_start(loop, &turns.prepare);
}

void
turns_free(struct ev_loop *loop)
{
	ev_check_stop(loop, &turns.check);
	ev_prepare_stop(loop, &turns.prepare);
	turns.in_turn = false;
}

const struct timing *
turns_timing(void)
{
	return &turns.timing;
}

double
turns_longest(void)
{
	return turns.longest;
}
