/*
 * The machine of an instance, with processes that do what the test says:
 * what real ones cannot be made to show.  tests/integration has the rest.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake/still_child.h"
#include "mem.h"
#include "runners.h"

/* ---- processes that obey (in place of child.c) ---- */

/* A new process may be there before the old one is gone. */
static struct child pool[2], *current = pool;
#define the_child (*current)
static int nstarts, nstops, nkills;

struct child *
child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg, struct err *e)
{
	(void)spec;
	(void)e;
	current = &pool[nstarts % 2];
	memset(&the_child, 0, sizeof(the_child));
	the_child.keeper = k;
	the_child.ops = ops;
	the_child.arg = arg;
	nstarts++;
	return &the_child;
}

void
child_adopt(struct child *c, const struct child_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

void
child_stop(struct child *c, const struct stop_rules *rules)
{
	(void)rules;
	c->stopping = true;
	nstops++;
}

void
child_kill(struct child *c)
{
	c->stopping = c->killed = true;
	nkills++;
}

const char *
child_end_text(const struct child *c, char *buf, size_t size)
{
	snprintf(buf, size, "%s",
	    c->stage		      ? strerror(c->error)
		: c->status == 3 << 8 ? "exit 3"
				      : "exit 0");
	return buf;
}

/* ---- a house with one runner ---- */

struct house {
	struct ev_loop *loop;
	struct daemon_conf conf;
	struct runner_hooks hooks;
	struct runner_watch watch;
	struct runners *all;
	struct runner *runner;
	struct instance *i;
};

static void
open_house(struct house *h, const char *settings)
{
	struct runner_conf conf = {0};
	json_t *object = json_loads(settings, 0, NULL);
	struct err e = {0};

	memset(h, 0, sizeof(*h));
	h->loop = ev_loop_new(EVFLAG_AUTO);
	settings_init(daemon_settings, &h->conf);
	h->conf.state_dir = xstrdup(".");
	h->conf.node = xstrdup("box");
	settings_init(runner_settings, &conf);
	settings_from_json(runner_settings, &conf, object, &e);
	check_str(e.text, "");
	h->all = runners_new(h->loop, &h->conf, &h->hooks, &h->watch);
	h->runner = runner_add(h->all, "web", &conf, "test", &e);
	h->i = h->runner->instances[0];
	settings_clear(runner_settings, &conf);
	json_decref(object);
	nstarts = nstops = nkills = 0;
}

static void
close_house(struct house *h)
{
	runners_free(h->all);
	settings_clear(daemon_settings, &h->conf);
	ev_loop_destroy(h->loop);
}

static void
turn(struct house *h)
{
	ev_run(h->loop, EVRUN_NOWAIT);
}

static void
executed(void)
{
	the_child.pid = 4711;
	the_child.started_at = ev_time();
	the_child.ops->started(&the_child);
}

static void
over(int code)
{
	the_child.is_over = true;
	the_child.status = code << 8;
	the_child.status_known = true;
	the_child.exited_at = ev_time();
	the_child.ops->over(&the_child);
}

static void
failed(const char *stage, int error, bool shortage)
{
	the_child.stage = stage;
	the_child.error = error;
	the_child.shortage = shortage;
	the_child.is_over = true;
	the_child.ops->over(&the_child);
}

#define COMMAND "\"command\": [\"x\"]"

/* ---- promises ---- */

void
test_running_after_startsecs(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0.01}");
	runner_start(h.runner);
	check_int(h.i->state, STARTING);
	executed();
	check_int(h.i->state, STARTING);
	wait_for((turn(&h), h.i->state == RUNNING));
	close_house(&h);
}

void
test_missing_program_is_fatal_at_once(void)
{
	struct house h;

	open_house(&h, "{" COMMAND "}");
	runner_start(h.runner);
	failed("exec", ENOENT, false);
	check_int(h.i->state, FATAL);
	check_str(h.i->why, "No such file or directory");
	check_int(nstarts, 1);
	close_house(&h);
}

/* Pitfall 2: nor is it counted with the runner's own failures. */
void
test_shortage_never_makes_a_runner_fatal(void)
{
	struct house h;
	int k;

	open_house(&h, "{" COMMAND ", \"startretries\": 0, \"flap_limit\": 1}");
	runner_start(h.runner);
	for (k = 1; k <= 20; k++) {
		failed("fork", EAGAIN, true);
		check_int(h.i->state, BACKOFF);
		check_has(h.i->why, "herod lacks room for it, next try in");
		check(h.i->delay < 6);
		instance_event(h.i, EVENT_TIMER);
		check_int(nstarts, k + 1);
	}
	check_int(h.i->failures, 0);
	executed();
	check_int(h.i->shortages, 0);
	close_house(&h);
}

void
test_startretries_end_in_fatal(void)
{
	struct house h;
	int k;

	open_house(&h, "{" COMMAND ", \"backoff_base\": 0.001}");
	runner_start(h.runner);
	for (k = 1; k <= 3; k++) {
		executed();
		over(3);
		check_int(h.i->state, BACKOFF);
		check_has(h.i->why, "exit 3; failure");
		wait_for((turn(&h), nstarts == k + 1));
	}
	executed();
	over(3);
	check_int(h.i->state, FATAL);
	check_str(h.i->why, "exit 3 within startsecs, 4 times in a row");
	close_house(&h);
}

void
test_delays_grow_and_are_capped(void)
{
	struct house h;
	double last = 0;
	int k;

	open_house(&h,
	    "{" COMMAND ", \"startretries\": -1,"
	    " \"backoff_base\": 1, \"backoff_max\": 10}");
	runner_start(h.runner);
	for (k = 0; k < 8; k++) {
		executed();
		over(3);
		check(h.i->delay <= 11);
		check(h.i->delay > last || h.i->delay >= 9);
		last = h.i->delay;
		instance_event(h.i, EVENT_TIMER);
	}
	check(last >= 9);
	close_house(&h);
}

void
test_healthy_process_is_replaced_at_once(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	check_int(h.i->state, RUNNING);
	over(3);
	check_int(h.i->state, STARTING);
	check_int(nstarts, 2);
	check_int(h.i->restarts, 1);
	executed();
	over(3);
	check_int(h.i->state, BACKOFF);
	close_house(&h);
}

void
test_expected_exit_is_left_alone(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	over(0);
	check_int(h.i->state, EXITED);
	check_int(h.i->exit.status, 0);
	check_int(nstarts, 1);
	close_house(&h);
}

void
test_short_lives_do_not_make_a_busy_loop(void)
{
	struct house h;

	open_house(&h,
	    "{" COMMAND ", \"startsecs\": 0,"
	    " \"autorestart\": \"always\"}");
	runner_start(h.runner);
	executed();
	over(0);
	executed();
	over(0);
	check_int(h.i->state, BACKOFF);
	close_house(&h);
}

/* Pitfall 3: RUNNING in between does not save it. */
void
test_flap_limit_deaths_in_flap_window_are_fatal(void)
{
	struct house h;
	int k;

	open_house(&h,
	    "{" COMMAND ", \"startsecs\": 0, \"flap_limit\": 3,"
	    " \"flap_window\": 3600}");
	runner_start(h.runner);
	for (k = 1; k <= 3; k++) {
		check_int(h.i->state, k == 3 ? BACKOFF : STARTING);
		if (h.i->state == BACKOFF)
			instance_event(h.i, EVENT_TIMER);
		executed();
		check_int(h.i->state, RUNNING);
		over(3);
	}
	check_int(h.i->state, FATAL);
	check_str(h.i->why, "exit 3; death 3 within 1h0m (flap_limit)");
	runner_start(h.runner);
	executed();
	over(3);
	check_int(h.i->state, STARTING);
	close_house(&h);
}

void
test_deaths_beyond_flap_window_are_forgotten(void)
{
	struct flaps f = {0};
	struct runner_conf c = {.flap_limit = 3, .flap_window = 10};

	check(!flaps_add(&f, &c, 100));
	check(!flaps_add(&f, &c, 101));
	check(!flaps_add(&f, &c, 111)); /* the first is 11 seconds old */
	check(flaps_add(&f, &c, 111));
	c.flap_limit = 2; /* anew */
	check(!flaps_add(&f, &c, 111));
	check(flaps_add(&f, &c, 121));
	flaps_forget(&f);
	check(!flaps_add(&f, &c, 121));
	flaps_forget(&f);
}

/* Pitfall 47: who is stopped by an operator does not die. */
void
test_stops_and_restarts_do_not_count_as_deaths(void)
{
	struct house h;
	int k;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0, \"flap_limit\": 1}");
	runner_start(h.runner);
	executed();
	for (k = 0; k < 10; k++) {
		runner_restart(h.runner, true);
		over(3);
		check_int(h.i->state, STARTING);
		executed();
		check_int(h.i->state, RUNNING);
	}
	check_int(h.i->failures, 0);
	over(3);
	check_int(h.i->state, FATAL);
	close_house(&h);
}

void
test_fatal_is_tried_again_after_fatal_retry(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"fatal_retry\": 0.01}");
	runner_start(h.runner);
	failed("exec", ENOENT, false);
	check_int(h.i->state, FATAL);
	wait_for((turn(&h), h.i->state == STARTING));
	failed("exec", ENOENT, false);
	runner_stop(h.runner, true);
	check(!ev_is_active(&h.i->timer));
	close_house(&h);
}

/* The way a reload does it. */
void
test_fatal_retry_may_come_and_go(void)
{
	struct runner_conf before = {0};
	struct house h;

	open_house(&h, "{" COMMAND "}");
	runner_start(h.runner);
	failed("exec", ENOENT, false);
	check_int(h.i->state, FATAL);
	check(!ev_is_active(&h.i->timer));
	h.runner->conf.fatal_retry = 0.01;
	settings_copy(runner_settings, &before, &h.runner->conf);
	instance_apply_live(h.i, &before);
	wait_for((turn(&h), h.i->state == STARTING));
	failed("exec", ENOENT, false);
	check(ev_is_active(&h.i->timer));
	h.runner->conf.fatal_retry = 0;
	instance_apply_live(h.i, &before);
	check(!ev_is_active(&h.i->timer));
	settings_clear(runner_settings, &before);
	close_house(&h);
}

/* Pitfall 4: those beyond restart_rate wait for their turn. */
void
test_a_crowd_that_dies_together_starts_again_in_turns(void)
{
	struct house h;
	double last;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	h.conf.restart_rate = 2;
	runner_start(h.runner);
	executed();
	runners_take_turn(h.all);
	runners_take_turn(h.all);
	check(runners_take_turn(h.all) > 0);
	last = runners_take_turn(h.all);
	over(3);
	check_int(h.i->state, BACKOFF);
	check_has(h.i->why, "others start again before it");
	check(h.i->delay > last - 1);
	check_int(nstarts, 1);
	instance_event(h.i, EVENT_TIMER); /* its turn, not one more wait */
	check_int(nstarts, 2);
	close_house(&h);
}

void
test_turns_come_at_their_rate(void)
{
	struct turns t = {0};
	int k;

	for (k = 0; k < 10; k++)
		check(turns_take(&t, 10, 100) <= 0);
	for (k = 1; k <= 10; k++)
		check_int(lround(turns_take(&t, 10, 100) * 10), k);
	check_int(lround(turns_take(&t, 10, 102) * 10), 0);
	check(turns_take(&t, 0, 102) <= 0);
}

void
test_stop_in_backoff_is_at_once(void)
{
	struct house h;

	open_house(&h, "{" COMMAND "}");
	runner_start(h.runner);
	executed();
	over(3);
	runner_stop(h.runner, true);
	check_int(h.i->state, STOPPED);
	check(!ev_is_active(&h.i->timer));
	close_house(&h);
}

static void
note_end(void *arg, enum wait_end end)
{
	*(int *)arg = (int)end;
}

void
test_start_while_stopping_is_remembered(void)
{
	struct house h;
	int stop_end = -1, start_end = -1;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runner_stop(h.runner, true);
	check_int(h.i->state, STOPPING);
	runner_wait(h.runner, WANTED_DOWN, 0, note_end, &stop_end);
	runner_start(h.runner);
	check_int(stop_end, WAIT_SUPERSEDED);
	runner_wait(h.runner, WANTED_UP, 0, note_end, &start_end);
	over(0);
	check_int(h.i->state, STARTING);
	executed();
	check_int(start_end, WAIT_DONE);
	check_int(nstarts, 2);
	close_house(&h);
}

void
test_last_request_wins(void)
{
	struct house h;
	int end = -1;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runner_stop(h.runner, true);
	runner_start(h.runner);
	runner_stop(h.runner, true);
	runner_wait(h.runner, WANTED_DOWN, 0, note_end, &end);
	over(0);
	check_int(h.i->state, STOPPED);
	check_int(end, WAIT_DONE);
	check_int(nstarts, 1);
	close_house(&h);
}

void
test_waits_time_out(void)
{
	struct house h;
	int end = -1;

	open_house(&h, "{" COMMAND "}");
	runner_start(h.runner);
	runner_wait(h.runner, WANTED_UP, 0.01, note_end, &end);
	wait_for((turn(&h), end == WAIT_TIMED_OUT));
	close_house(&h);
}

void
test_restart_of_a_stopped_runner_starts_it(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_restart(h.runner, true);
	check_int(h.i->state, STARTING);
	executed();
	runner_restart(h.runner, true);
	check_int(h.i->state, STOPPING);
	over(0);
	check_int(h.i->state, STARTING);
	close_house(&h);
}

void
test_removed_runner_is_forgotten_when_down(void)
{
	struct house h;
	int end = -1;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runner_remove(h.runner);
	runner_wait(h.runner, WANTED_REMOVED, 0, note_end, &end);
	turn(&h);
	check(runner_find(h.all, "web") != NULL);
	over(0);
	wait_for((turn(&h), runner_find(h.all, "web") == NULL));
	check_int(end, WAIT_DONE);
	close_house(&h);
}

static void
note_done(void *arg)
{
	*(bool *)arg = true;
}

void
test_shutdown_stops_and_then_kills(void)
{
	struct house h;
	bool done = false;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runners_shutdown(h.all, false, note_done, &done);
	wait_for((turn(&h), nstops == 1));
	check_int(h.runner->wanted, WANTED_UP);
	runners_shutdown(h.all, true, note_done, &done);
	wait_for((turn(&h), nkills == 1));
	over(0);
	wait_for((turn(&h), done));
	close_house(&h);
}

/* Does an event make sense for the process there is? */
static bool
is_possible(const struct house *h, enum runner_event e)
{
	const struct child *c = h->i->child;

	switch (e) {
	case EVENT_ADOPT:
		return c == NULL && h->i->state == STOPPED;
	case EVENT_STARTED:
		return c && c->started_at <= 0;
	case EVENT_PAUSED:
	case EVENT_CONTINUED:
		return c && c->started_at > 0;
	case EVENT_OVER:
		return c != NULL;
	case EVENT_TIMER:
		return ev_is_active(&h->i->timer);
	default:
		return true;
	}
}

static void
let_happen(struct house *h, enum runner_event e, unsigned salt)
{
	switch (e) {
	case EVENT_ADOPT:
		current = &pool[nstarts++ % 2];
		memset(&the_child, 0, sizeof(the_child));
		the_child.pid = 1;
		the_child.started_at = 1;
		instance_adopt(h->i, &the_child);
		break;
	case EVENT_STARTED:
		executed();
		break;
	case EVENT_OVER:
		if (the_child.started_at > 0)
			over(salt % 2 ? 3 : 0);
		else
			failed("chdir", salt % 3 ? ENOENT : EIO, salt % 2);
		break;
	default:
		instance_event(h->i, e);
	}
}

/* States and what must be true in them. */
static void
check_invariants(const struct house *h)
{
	const struct instance *i = h->i;

	switch (i->state) {
	case STARTING:
	case RUNNING:
	case PAUSED:
	case STOPPING:
		check(i->child != NULL);
		break;
	case DRAINING:
		check(false); /* nobody gives jobs here */
		break;
	default:
		check(i->child == NULL);
	}
	check(i->state == BACKOFF || i->state == STARTING ||
	    i->state == RUNNING || !ev_is_active(&i->timer));
	check(*i->why != '\0');
}

void
test_every_event_in_every_state_keeps_the_invariants(void)
{
	struct house h;
	enum runner_event e;
	unsigned step, seed = 12345;

	open_house(&h, "{" COMMAND ", \"startsecs\": 100}");
	for (step = 0; step < 200000; step++) {
		seed = seed * 1103515245 + 12345;
		e = (enum runner_event)(seed >> 16) % EVENT_COUNT;
		if (!is_possible(&h, e))
			continue;
		let_happen(&h, e, seed >> 8);
		check_invariants(&h);
	}
	close_house(&h);
}

/* ---- jobs in hand (in place of worker.c) ---- */

static size_t njobs;
static int nabandoned;

static size_t
count_jobs(void *arg, struct instance *i, json_t *ids)
{
	(void)arg;
	(void)i;
	(void)ids;
	return njobs;
}

static void
abandon_jobs(void *arg, struct instance *i)
{
	(void)arg;
	(void)i;
	nabandoned++;
}

static bool
adopt_job(void *arg, struct instance *i, struct child *c, const json_t *tag)
{
	(void)arg;
	(void)tag;
	i->child = c;
	return true;
}

/* An exec runner with a job in hand. */
static void
open_busy_house(struct house *h)
{
	open_house(h,
	    "{" COMMAND ", \"kind\": \"exec\","
	    " \"drain_timeout\": 100}");
	h->hooks.jobs = count_jobs;
	h->hooks.abandon = abandon_jobs;
	h->hooks.adopt = adopt_job;
	runner_start(h->runner);
	check_int(h->i->state, RUNNING);
	njobs = 1;
	nabandoned = 0;
}

static void
job_ends(struct house *h)
{
	njobs = 0;
	instance_idle(h->i);
}

void
test_a_stop_overtakes_a_restart_that_drains(void)
{
	struct house h;

	open_busy_house(&h);
	runner_restart(h.runner, true);
	check_int(h.i->state, DRAINING);
	runner_stop(h.runner, true);
	job_ends(&h);
	check_int(h.i->state, STOPPED);
	close_house(&h);
}

void
test_a_second_stop_lets_jobs_end_too(void)
{
	struct house h;

	open_busy_house(&h);
	runner_stop(h.runner, true);
	runner_stop(h.runner, true);
	check_int(h.i->state, DRAINING);
	check_int(nabandoned, 0);
	runner_stop(h.runner, false);
	check_int(nabandoned, 1);
	job_ends(&h);
	check_int(h.i->state, STOPPED);
	close_house(&h);
}

void
test_a_restart_that_drains_starts_when_the_job_has_ended(void)
{
	struct house h;

	open_busy_house(&h);
	runner_restart(h.runner, true);
	job_ends(&h);
	check_int(h.i->state, RUNNING);
	runner_restart(h.runner, true);
	check_int(h.i->state, RUNNING);
	close_house(&h);
}

/* Too big, and too soon; with a job in hand that may end first. */
static void
outgrow(struct house *h)
{
	open_house(h,
	    "{" COMMAND ", \"startsecs\": 0, \"kind\": \"stdio\","
	    " \"drain_timeout\": 100}");
	h->hooks.jobs = count_jobs;
	njobs = 0;
	runner_start(h->runner);
	executed();
	njobs = 1;
	instance_outgrown(h->i, "too big");
	check_int(h->i->state, DRAINING);
	check_int(nstops, 0);
}

void
test_one_too_big_is_a_failure_after_its_jobs(void)
{
	struct house h;

	outgrow(&h);
	job_ends(&h);
	check_int(h.i->state, STOPPING);
	over(0);
	check_int(h.i->failures, 1);
	check_int(h.i->state, STARTING);
	executed();
	instance_outgrown(h.i, "too big");
	over(0);
	check_int(h.i->state, BACKOFF);
	check_has(h.i->why, "too big; failure 2 in a row");
	close_house(&h);
}

void
test_one_too_big_can_be_stopped_while_it_drains(void)
{
	struct house h;

	outgrow(&h);
	runner_stop(h.runner, true);
	check_int(h.i->state, DRAINING);
	job_ends(&h);
	over(0);
	check_int(h.i->state, STOPPED);
	check_int(nstarts, 1);
	close_house(&h);
}

void
test_an_adopted_job_can_be_waited_for(void)
{
	static const char tag[] = "{\"runner\": \"web\", \"n\": 0,"
				  " \"job\": \"j\"}";
	struct child c = {.pid = 1};
	struct house h;
	int end = -1;

	open_busy_house(&h);
	njobs = 0;
	runner_stop(h.runner, true);
	njobs = 1;
	check(runners_adopt(h.all, &c, tag));
	runners_settle(h.all, true);
	check_int(h.i->state, DRAINING);
	runner_wait(h.runner, WANTED_DOWN, 0, note_end, &end);
	h.i->child = NULL;
	job_ends(&h);
	check_int(h.i->state, STOPPED);
	check_int(end, WAIT_DONE);
	close_house(&h);
}

void
test_an_adopted_process_that_is_paused_is_shown_so(void)
{
	struct house h;

	open_house(&h, "{" COMMAND "}");
	memset(&the_child, 0, sizeof(the_child));
	the_child.pid = 1;
	the_child.started_at = 1;
	the_child.paused = true;
	instance_adopt(h.i, &the_child);
	check_int(h.i->state, PAUSED);
	close_house(&h);
}

/* herod was killed when it had started the next one and not yet said that
 * it knew of the end of the one before. */
void
test_a_process_whose_successor_lives_is_only_noted(void)
{
	static const char tag[] = "{\"runner\": \"web\", \"n\": 0}";
	struct child living = {.pid = 2, .started_at = 2};
	struct child ended = {.pid = 1,
	    .started_at = 1,
	    .exited_at = 2,
	    .status = 3 << 8,
	    .status_known = true};
	struct house h;

	open_house(&h, "{" COMMAND "}");
	check(runners_adopt(h.all, &living, tag));
	check(runners_adopt(h.all, &ended, tag));
	runners_settle(h.all, true);
	ended.ops->over(&ended);
	check_int(h.i->state, RUNNING);
	check(h.i->child == &living);
	check_int(h.i->exit.status, 3 << 8);
	check_int(nstarts + nstops + nkills, 0);
	/* The other way round it would be a second one. */
	check(!runners_adopt(h.all, &(struct child){.pid = 3}, tag));
	close_house(&h);
}

void
test_shutdown_does_not_finish_a_restart(void)
{
	struct house h;
	bool done = false;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runner_restart(h.runner, true);
	runners_shutdown(h.all, false, note_done, &done);
	turn(&h);
	over(0);
	check_int(h.i->state, STOPPED);
	wait_for((turn(&h), done));
	check_int(nstarts, 1);
	close_house(&h);
}

void
test_a_killed_restart_is_not_finished_in_the_end(void)
{
	struct house h;
	bool done = false;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_start(h.runner);
	executed();
	runner_restart(h.runner, true);
	runners_shutdown(h.all, true, note_done, &done);
	wait_for((turn(&h), nkills > 0));
	over(0);
	wait_for((turn(&h), done));
	check_int(nstarts, 1);
	close_house(&h);
}

void
test_a_restart_in_backoff_fails_nobody_who_waits(void)
{
	struct house h;
	int end = -1;

	open_house(&h, "{" COMMAND "}");
	runner_start(h.runner);
	runner_wait(h.runner, WANTED_UP, 0, note_end, &end);
	executed();
	over(3);
	check_int(h.i->state, BACKOFF);
	runner_restart(h.runner, true);
	check_int(h.i->state, STARTING);
	check_int(end, -1);
	runner_stop(h.runner, true);
	check_int(end, WAIT_SUPERSEDED);
	close_house(&h);
}

/* Pitfall 25: what a new configuration does not change stays as whoever was
 * at the process since may have set it. */
void
test_only_limits_that_differ_are_applied(void)
{
	struct house h;
	struct runner_conf old = {0};

	open_house(&h,
	    "{" COMMAND ", \"nice\": 3, \"rlimit_nofile\": 99,"
	    "\"rlimit_core\": \"unlimited\"}");
	runner_start(h.runner);
	executed();
	settings_copy(runner_settings, &old, &h.runner->conf);
	instance_apply_limits(h.runner->instances[0], &old);
	check(!adjusted.set_nice && !adjusted.set_oom);
	check_int(adjusted.nrlimits, 0);
	old.nice = 4;
	old.oom_score_adj = 7;
	old.rlimit_core = 5;
	old.rlimit_as = 5; /* back to herod's own: with the next start */
	instance_apply_limits(h.runner->instances[0], &old);
	check(adjusted.set_nice && adjusted.set_oom);
	check_int(adjusted.nice, 3);
	check_int(adjusted.oom_score_adj, 0);
	check_int(adjusted.nrlimits, 1);
	check_int(adjusted.rlimits[0].resource, RLIMIT_CORE);
	check(adjusted.rlimits[0].value == RLIM_INFINITY);
	settings_clear(runner_settings, &old);
	over(0);
	close_house(&h);
}
