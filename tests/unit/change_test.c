/*
 * What changes while a runner runs: its number of instances, its settings,
 * all its processes one by one; with processes that do what the test says.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake/still_child.h"
#include "mem.h"
#include "rolling.h"

/* ---- processes that obey (in place of child.c) ---- */

static struct child pool[32];
static size_t nstarts;

struct child *
child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg, struct err *e)
{
	struct child *c = &pool[nstarts++];

	(void)spec;
	(void)e;
	check(nstarts <= sizeof(pool) / sizeof(pool[0]));
	*c = (struct child){.keeper = k, .ops = ops, .arg = arg};
	return c;
}

void
child_adopt(struct child *c, const struct child_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

static double waitsecs; /* of the last stop */

void
child_stop(struct child *c, const struct stop_rules *rules)
{
	c->stopping = true;
	waitsecs = rules->waitsecs;
}

void
child_kill(struct child *c)
{
	c->stopping = c->killed = true;
}

const char *
child_end_text(const struct child *c, char *buf, size_t size)
{
	snprintf(buf, size, "exit %d", c->status >> 8);
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
};

static void
read_conf(struct runner_conf *conf, const char *settings)
{
	json_t *object = json_loads(settings, 0, NULL);
	struct err e = {0};

	settings_init(runner_settings, conf);
	settings_from_json(runner_settings, conf, object, &e);
	check_str(e.text, "");
	json_decref(object);
}

static void
open_house(struct house *h, const char *settings)
{
	struct runner_conf conf = {0};
	struct err e = {0};

	memset(h, 0, sizeof(*h));
	nstarts = 0;
	h->loop = ev_loop_new(EVFLAG_AUTO);
	settings_init(daemon_settings, &h->conf);
	h->conf.state_dir = xstrdup(".");
	h->conf.node = xstrdup("box");
	read_conf(&conf, settings);
	h->all = runners_new(h->loop, &h->conf, &h->hooks, &h->watch);
	h->runner = runner_add(h->all, "web", &conf, "test:1", &e);
	settings_clear(runner_settings, &conf);
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

static struct instance *
instance(struct house *h, int n)
{
	return h->runner->instances[n];
}

static void
executed(struct instance *i)
{
	i->child->pid = 4711;
	i->child->started_at = ev_time();
	i->child->ops->started(i->child);
}

static void
over(struct instance *i, int code)
{
	struct child *c = i->child;

	c->is_over = true;
	c->status = code << 8;
	c->status_known = true;
	c->exited_at = ev_time();
	c->ops->over(c);
}

#define COMMAND "\"command\": [\"x\"]"

static void
open_running(struct house *h, const char *settings)
{
	size_t k;

	open_house(h, settings);
	runner_start(h->runner);
	for (k = 0; k < h->runner->ninstances; k++)
		executed(h->runner->instances[k]);
	check_int(runner_state(h->runner), RUNNING);
}

static bool
is_stopping(struct house *h, int n)
{
	return instance(h, n)->state == STOPPING;
}

/* ---- rolling restart ---- */

#define THREE "{" COMMAND ", \"startsecs\": 0, \"numprocs\": 3}"

struct told {
	int n; /* times */
	enum wait_end end;
	const struct instance *instance;
};

static void
note(void *arg, enum wait_end end, const struct instance *i)
{
	struct told *t = arg;

	t->n++;
	t->end = end;
	t->instance = i;
}

void
test_rolling_restart_takes_one_after_the_other(void)
{
	struct told told = {0};
	struct house h;
	int n;

	open_running(&h, THREE);
	rolling_begin(h.runner, true, 0, note, &told);
	for (n = 0; n < 3; n++) {
		wait_for((turn(&h), is_stopping(&h, n)));
		turn(&h);
		check(n == 2 || instance(&h, n + 1)->state == RUNNING);
		over(instance(&h, n), 0);
		turn(&h);
		/* It is not up yet. */
		check_int(instance(&h, n)->state, STARTING);
		check(n == 2 || instance(&h, n + 1)->state == RUNNING);
		check_int(told.n, 0);
		executed(instance(&h, n));
	}
	wait_for((turn(&h), told.n == 1));
	check_int(told.end, WAIT_DONE);
	check_int((int)nstarts, 6);
	close_house(&h);
}

void
test_rolling_restart_ends_at_the_first_failure(void)
{
	struct told told = {0};
	struct house h;

	open_running(&h, THREE);
	rolling_begin(h.runner, true, 0, note, &told);
	wait_for((turn(&h), is_stopping(&h, 0)));
	over(instance(&h, 0), 0);
	executed(instance(&h, 0));
	wait_for((turn(&h), is_stopping(&h, 1)));
	over(instance(&h, 1), 0);
	over(instance(&h, 1), 7); /* the new one, before it was up */
	wait_for((turn(&h), told.n == 1));
	check_int(told.end, WAIT_FAILED);
	check(told.instance == instance(&h, 1));
	check_has(told.instance->why, "exit 7");
	check_int(instance(&h, 2)->state, RUNNING);
	turn(&h);
	check_int(instance(&h, 2)->state, RUNNING);
	close_house(&h);
}

void
test_rolling_restart_ends_when_something_else_is_wanted(void)
{
	struct told told = {0}, newer = {0};
	struct house h;

	open_running(&h, THREE);
	rolling_begin(h.runner, true, 0, note, &told);
	wait_for((turn(&h), is_stopping(&h, 0)));
	rolling_begin(h.runner, true, 0, note, &newer);
	check_int(told.n, 1);
	check_int(told.end, WAIT_SUPERSEDED);
	runner_stop(h.runner, true);
	wait_for((turn(&h), newer.n == 1));
	check_int(newer.end, WAIT_SUPERSEDED);
	check(is_stopping(&h, 2));
	close_house(&h);
}

void
test_rolling_restart_goes_on_without_its_asker(void)
{
	struct told told = {0};
	struct house h;

	open_running(&h, "{" COMMAND ", \"startsecs\": 0, \"numprocs\": 2}");
	rolling_begin(h.runner, true, 0.01, note, &told);
	wait_for((turn(&h), told.n == 1));
	check_int(told.end, WAIT_TIMED_OUT);
	check(told.instance == instance(&h, 0));
	wait_for((turn(&h), is_stopping(&h, 0)));
	over(instance(&h, 0), 0);
	executed(instance(&h, 0));
	wait_for((turn(&h), is_stopping(&h, 1)));
	over(instance(&h, 1), 0);
	executed(instance(&h, 1));
	turn(&h);
	check_int(told.n, 1);
	check(!h.runner->rolling);
	close_house(&h);
}

/* ---- other settings ---- */

static void
reconfigure(struct house *h, const char *settings)
{
	struct runner_conf conf = {0};

	read_conf(&conf, settings);
	runner_reconfigure(h->runner, &conf, "test:2");
	settings_clear(runner_settings, &conf);
}

void
test_the_same_settings_change_nothing(void)
{
	struct house h;

	open_running(&h, THREE);
	reconfigure(&h, THREE);
	check_int(runner_state(h.runner), RUNNING);
	check_int((int)nstarts, 3);
	check_str(h.runner->origin, "test:2");
	close_house(&h);
}

/* Pitfall 25. */
void
test_another_command_ends_the_old_process_by_its_old_rules(void)
{
	struct house h;

	open_running(
	    &h, "{" COMMAND ", \"startsecs\": 0, \"stopwaitsecs\": 11}");
	reconfigure(&h,
	    "{\"command\": [\"y\"], \"startsecs\": 0, \"stopwaitsecs\": 22}");
	check_int(instance(&h, 0)->state, STOPPING);
	check_int((int)waitsecs, 11);
	over(instance(&h, 0), 0);
	check_int(instance(&h, 0)->state, STARTING);
	executed(instance(&h, 0));
	check_int(instance(&h, 0)->state, RUNNING);
	runner_stop(h.runner, true);
	check_int((int)waitsecs, 22);
	close_house(&h);
}

/* Pitfall 25. */
void
test_live_settings_need_no_restart(void)
{
	struct house h;

	open_running(&h, "{" COMMAND ", \"startsecs\": 0}");
	reconfigure(&h,
	    "{" COMMAND ", \"startsecs\": 0, \"stopwaitsecs\": 33,"
	    " \"priority\": 5}");
	check_int(instance(&h, 0)->state, RUNNING);
	check_int((int)nstarts, 1);
	runner_stop(h.runner, true);
	check_int((int)waitsecs, 33);
	close_house(&h);
}

/* Pitfall 25. */
void
test_numprocs_only_adds_or_ends_surplus_ones(void)
{
	struct child *first;
	struct house h;

	open_running(&h, "{" COMMAND ", \"startsecs\": 0, \"numprocs\": 2}");
	first = instance(&h, 0)->child;
	reconfigure(&h, "{" COMMAND ", \"startsecs\": 0, \"numprocs\": 3}");
	check_int((int)nstarts, 3);
	executed(instance(&h, 2));
	reconfigure(&h, "{" COMMAND ", \"startsecs\": 0, \"numprocs\": 1}");
	check(is_stopping(&h, 1) && is_stopping(&h, 2));
	over(instance(&h, 1), 0);
	over(instance(&h, 2), 0);
	wait_for((turn(&h), h.runner->ninstances == 1));
	check(instance(&h, 0)->child == first);
	check_int(instance(&h, 0)->state, RUNNING);
	close_house(&h);
}

/* Pitfall 25: a start under way ends by the settings it began with. */
void
test_a_start_under_way_keeps_its_settings(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startsecs\": 0, \"stopwaitsecs\": 11}");
	runner_start(h.runner);
	reconfigure(
	    &h, "{" COMMAND ", \"startsecs\": 3600, \"stopwaitsecs\": 22}");
	executed(instance(&h, 0));
	check_int(instance(&h, 0)->state, RUNNING);
	/* Now the new ones are in force. */
	check(instance(&h, 0)->former == NULL);
	over(instance(&h, 0), 3);
	executed(instance(&h, 0));
	check_int(instance(&h, 0)->state, STARTING);
	runner_stop(h.runner, true);
	check_int((int)waitsecs, 22);
	close_house(&h);
}

void
test_settings_may_change_again_before_the_restart(void)
{
	struct house h;

	open_running(
	    &h, "{" COMMAND ", \"startsecs\": 0, \"stopwaitsecs\": 11}");
	reconfigure(&h, "{\"command\": [\"y\"], \"stopwaitsecs\": 22}");
	reconfigure(&h, "{\"command\": [\"z\"], \"stopwaitsecs\": 33}");
	check_int((int)waitsecs, 11);
	check_int((int)nstarts, 1);
	over(instance(&h, 0), 0);
	check_int((int)nstarts, 2);
	check(instance(&h, 0)->former == NULL);
	check_str(h.runner->conf.command[0], "z");
	close_house(&h);
}

void
test_a_stopped_runner_stays_stopped(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"autostart\": false}");
	reconfigure(&h, "{\"command\": [\"y\"], \"autostart\": false}");
	check_int(runner_state(h.runner), STOPPED);
	check_int((int)nstarts, 0);
	close_house(&h);
}

void
test_one_that_had_failed_is_tried_with_the_new_settings(void)
{
	struct house h;

	open_house(&h, "{" COMMAND ", \"startretries\": 0}");
	runner_start(h.runner);
	executed(instance(&h, 0));
	over(instance(&h, 0), 3);
	check_int(runner_state(h.runner), FATAL);
	reconfigure(&h, "{" COMMAND ", \"startretries\": 1}");
	check_int(runner_state(h.runner), FATAL); /* that is live */
	reconfigure(&h, "{\"command\": [\"y\"]}");
	check_int(runner_state(h.runner), STARTING);
	close_house(&h);
}

void
test_a_removed_runner_may_be_wanted_again(void)
{
	struct runner_conf conf = {0};
	struct house h;

	open_running(&h, "{" COMMAND ", \"startsecs\": 0}");
	runner_remove(h.runner);
	check(is_stopping(&h, 0));
	read_conf(&conf, "{\"command\": [\"y\"], \"startsecs\": 0}");
	runner_readmit(h.runner, &conf, "test:3");
	settings_clear(runner_settings, &conf);
	over(instance(&h, 0), 0);
	turn(&h);
	executed(instance(&h, 0));
	check_int(runner_state(h.runner), RUNNING);
	check(runner_find(h.all, "web") == h.runner);
	close_house(&h);
}
