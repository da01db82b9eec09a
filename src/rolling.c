/* Rolling restart: which instance it is at, and when to go on. */
#define LOG_MODULE "runner"

#include "rolling.h"

#include <stdlib.h>

#include "log.h"
#include "mem.h"
#include "turns.h"

struct rolling {
	struct runner *runner;
	size_t at; /* the instance that is being restarted */
	bool begun; /* its restart was asked for */
	bool drain;
	ev_timer step; /* between loop turns */
	ev_timer limit; /* of the asker's patience */
	rolling_fn fn; /* NULL: nobody waits */
	void *arg;
};

static struct ev_loop *
loop_of(const struct rolling *g)
{
	return runners_context(g->runner->all)->loop;
}

static void
tell(struct rolling *g, enum wait_end end, const struct instance *i)
{
	rolling_fn fn = g->fn;

	ev_timer_stop(loop_of(g), &g->limit);
	g->fn = NULL;
	if (fn)
		fn(g->arg, end, i);
}

static void
end(struct rolling *g, enum wait_end how, const struct instance *i)
{
	ev_timer_stop(loop_of(g), &g->step);
	g->runner->rolling = NULL;
	tell(g, how, i);
	free(g);
}

static bool
is_wanted(const struct rolling *g)
{
	return g->runner->wanted == WANTED_UP &&
	    !runners_are_ending(g->runner->all);
}

static void
log_failure(const struct instance *i)
{
	log_warnx("runner %s: rolling restart ends at instance %d: %s: %s",
	    i->runner->name, i->n, state_name(i->state), i->why);
}

/* What failed once will be tried again by its own rules, but nothing that
 * still works is to follow it. */
static bool
has_failed(const struct instance *i)
{
	return i->state == BACKOFF || instance_is_down(i);
}

/* Goes as far as it can now. */
static void
go_on(struct rolling *g)
{
	struct runner *r = g->runner;
	struct instance *i;

	while (is_wanted(g) && g->at < r->nwanted) {
		i = r->instances[g->at];
		if (!g->begun)
			instance_restart(i, g->drain, RESTARTED_BY_HAND);
		g->begun = true;
		if (has_failed(i)) {
			log_failure(i);
			end(g, WAIT_FAILED, i);
			return;
		}
		if (!instance_serves(i))
			return;
		g->at++;
		g->begun = false;
	}
	end(g, is_wanted(g) ? WAIT_DONE : WAIT_SUPERSEDED, NULL);
}

static void
on_step(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "a rolling restart");
	(void)loop;
	(void)revents;
	go_on(timer->data);
}

static void
on_limit(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "a rolling restart");
	struct rolling *g = timer->data;

	(void)loop;
	(void)revents;
	tell(g, WAIT_TIMED_OUT,
	    g->at < g->runner->nwanted ? g->runner->instances[g->at] : NULL);
}

void
rolling_begin(
    struct runner *r, bool drain, double timeout, rolling_fn fn, void *arg)
{
	struct rolling *g;

	rolling_end(r, WAIT_SUPERSEDED);
	runner_want_up(r);
	r->rolling = g = xcalloc(1, sizeof(*g));
	g->runner = r;
	g->drain = drain;
	g->fn = fn;
	g->arg = arg;
	ev_timer_init(&g->step, on_step, 0, 0);
	ev_timer_init(&g->limit, on_limit, timeout, 0);
	g->step.data = g->limit.data = g;
	if (timeout > 0 && fn)
		ev_timer_start(loop_of(g), &g->limit);
	rolling_look(r);
}

void
rolling_forget_asker(struct runner *r)
{
	if (r->rolling)
		r->rolling->fn = NULL;
}

void
rolling_look(struct runner *r)
{
	if (r->rolling && !ev_is_active(&r->rolling->step))
		ev_timer_start(loop_of(r->rolling), &r->rolling->step);
}

void
rolling_end(struct runner *r, enum wait_end how)
{
	if (r->rolling)
		end(r->rolling, how, NULL);
}
