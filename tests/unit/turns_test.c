/* Turns of the loop that are long are told, with what took the time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "counters.h"
#include "log.h"
#include "turns.h"

static void
burn(double seconds)
{
	double end = clock_monotonic() + seconds;

	while (clock_monotonic() < end)
		;
}

/* What a turn is to do, in seconds. */
static struct {
	double ping, pong, other, idle;
} work;

static void
pong(void)
{
	DOING("Redis reply to", "PONG");

	burn(work.pong);
}

static void
ping(void)
{
	DOING("RPC method", "ping");

	burn(work.ping / 2);
	pong();
	burn(work.ping / 2);
	ev_sleep(work.idle);
}

static void
on_work(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
	burn(work.other);
	ping();
}

static struct ev_loop *
begin(void)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

	check(freopen("log", "w", stderr) != NULL);
	check_int(log_set_levels("warn", NULL), 0);
	turns_watch(loop);
	return loop;
}

static char *said; /* by the log */

/* A turn that does the work, and what the log has said until then. */
static const char *
log_after_turn(struct ev_loop *loop)
{
	ev_timer t;

	ev_timer_init(&t, on_work, 0., 0.);
	ev_timer_start(loop, &t);
	ev_run(loop, EVRUN_ONCE);
	ev_run(loop, EVRUN_NOWAIT); /* it ends when the next one begins */
	free(said);
	said = read_file("log");
	return said;
}

static void
end(struct ev_loop *loop)
{
	turns_free(loop);
	ev_loop_destroy(loop);
	free(said);
}

void
test_a_long_turn_names_what_took_the_time(void)
{
	struct ev_loop *loop = begin();

	/* On a busy machine each part may take longer. */
	work.ping = 0.03;
	work.pong = 0.5;
	work.other = 0.02;
	check_has(log_after_turn(loop), "a turn took ");
	check_has(said, " of CPU");
	check_has(said, " ms of it in Redis reply to PONG\n");
	check(turns_longest() >= 0.55);
	check_int((long long)counters[COUNTER_loop_stalls], 1);
	end(loop);
}

void
test_a_turn_of_one_thing_is_that_thing(void)
{
	struct ev_loop *loop = begin();

	work.ping = 0.1;
	check_has(log_after_turn(loop), "RPC method ping\n");
	end(loop);
}

void
test_what_nobody_has_marked_is_blamed_on_nobody(void)
{
	struct ev_loop *loop = begin();

	work.other = 0.1;
	check_has(log_after_turn(loop), "): other work\n");
	end(loop);
}

void
test_time_without_the_cpu_is_told_as_such(void)
{
	struct ev_loop *loop = begin();

	work.idle = 0.2;
	check_has(log_after_turn(loop), "for the rest herod was stopped");
	end(loop);
}

void
test_short_turns_and_sleep_are_no_stall(void)
{
	struct ev_loop *loop = begin();
	ev_timer t;

	check_str(log_after_turn(loop), "");
	ev_timer_init(&t, on_work, 0.1, 0.);
	ev_timer_start(loop, &t);
	ev_run(loop, EVRUN_ONCE);
	check_str(log_after_turn(loop), "");
	check(turns_timing()->count >= 3);
	end(loop);
}

void
test_stalls_of_one_length_are_told_once(void)
{
	struct ev_loop *loop = begin();
	const char *second;

	work.ping = 0.5;
	log_after_turn(loop);
	work.ping = 0.06;
	log_after_turn(loop);
	check(strchr(said, '\n')[1] == '\0');
	work.ping = 2;
	log_after_turn(loop);
	second = strchr(said, '\n') + 1;
	check_has(second, "a turn took ");
	check_int((long long)counters[COUNTER_loop_stalls], 3);
	end(loop);
}
