/*
 * How many processes of a runner have something to do (numprocs_max).
 *
 * The instances are all there; those that have nothing to do are WAITING
 * without a process (instance_is_spare), so that a first job finds one to be
 * started.  While jobs wait, or more than numprocs have something to do, the
 * queue is looked at about once a second; else nobody looks.  What counts is
 * how many jobs wait, for how long, and how long a job takes.  An instance that
 * is still starting counts as one that is there.
 */
#define LOG_MODULE "worker"
#include "work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

/* Seconds between two looks, but no more than scale_wait. */
#define PERIOD 1.0

struct scaler {
	TAILQ_ENTRY(scaler) next;
	struct workers *all;
	struct runner *runner; /* NULL: gone, but an answer is under way */
	struct lane *lane;
	ev_timer look;
	bool asked, again; /* an answer is under way; there is more to see */
	double since; /* (clock.h) fewer would have been enough */
	size_t most; /* that were needed since then */
};

static const struct runner_conf *
conf_of(const struct scaler *s)
{
	return &s->runner->conf;
}

static bool
are_all_up(const struct runner *r)
{
	size_t k;

	for (k = 0; k < r->nneeded && k < r->nwanted; k++)
		if (r->instances[k]->state != RUNNING)
			return false;
	return true;
}

/* Jobs at once by which those that wait have begun within scale_wait; no more
 * than there are. */
static double
slots_for(const struct scaler *s, long long jobs)
{
	double busy = (double)s->lane->nworks;
	double rate = (double)jobs / conf_of(s)->scale_wait;

	if (jobs == 0)
		return 0;
	return fmin(busy + (double)jobs, fmax(1, rate * s->lane->job_seconds));
}

static size_t
needed(struct scaler *s, long long jobs, double oldest)
{
	const struct runner *r = s->runner;
	double slots = fmax((double)s->lane->most, slots_for(s, jobs));
	double need = ceil(slots / (double)r->conf.concurrency);

	s->lane->most = s->lane->nworks;
	/* What the numbers do not tell, the one who waits does. */
	if (jobs > 0 && ev_time() - oldest > r->conf.scale_wait &&
	    are_all_up(r))
		need = fmax(need, (double)r->nneeded + 1);
	return (size_t)fmin(
	    fmax(need, (double)r->conf.numprocs), (double)r->conf.numprocs_max);
}

static void
set(struct scaler *s, size_t n, const char *why)
{
	log_info("runner %s: %zu of its processes are needed instead of %zu: "
		 "%s",
	    s->runner->name, n, s->runner->nneeded, why);
	runner_need(s->runner, n, why);
}

static void
begin_window(struct scaler *s)
{
	s->since = clock_monotonic();
	s->most = 0;
}

static void
decide(struct scaler *s, const struct queue_depth *d)
{
	char why[WHY_MAX], idle[32];
	bool held = workers_held(s->all, s->runner, why, sizeof(why));
	long long jobs = d->paused || held ? 0 : d->jobs;
	size_t need = needed(s, jobs, d->oldest);

	if (need >= s->runner->nneeded) {
		begin_window(s);
		snprintf(why, sizeof(why), "%lld jobs wait", jobs);
		if (need > s->runner->nneeded)
			set(s, need, why);
		return;
	}
	s->most = need > s->most ? need : s->most;
	if (clock_monotonic() - s->since < conf_of(s)->scale_idle)
		return;
	snprintf(why, sizeof(why), "fewer were enough for %s",
	    duration_text(conf_of(s)->scale_idle, idle));
	set(s, s->most, why);
	begin_window(s);
}

static void
look_later(struct scaler *s)
{
	if (ev_is_active(&s->look))
		return;
	ev_timer_set(&s->look, fmin(PERIOD, conf_of(s)->scale_wait), 0.);
	ev_timer_start(s->all->loop, &s->look);
}

static void look(struct scaler *s);

static void
on_depth(void *arg, const struct queue_depth *d, size_t n)
{
	struct scaler *s = arg;

	(void)n;
	s->asked = false;
	if (!s->runner) {
		free(s);
		return;
	}
	if (s->runner->wanted != WANTED_UP)
		return;
	if (d->jobs >= 0)
		decide(s, d);
	if (s->again)
		look(s);
	else if (d->jobs != 0 ||
	    s->runner->nneeded > (size_t)conf_of(s)->numprocs)
		look_later(s);
}

static void
look(struct scaler *s)
{
	const char *name = queue_name(s->lane->queue);

	s->again = s->asked;
	if (s->asked || !s->all->open)
		return;
	s->asked = true;
	queues_depths(s->all->queues, &name, 1, on_depth, s);
}

static void
on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "autoscaling");
	struct scaler *s = timer->data;

	(void)loop;
	(void)revents;
	if (s->all->open)
		look(s);
	else
		look_later(s);
}

void
scale_look(struct lane *l)
{
	struct scaler *s;

	TAILQ_FOREACH (s, &l->all->scalers, next)
		if (s->lane == l && !ev_is_active(&s->look))
			look(s);
}

static struct scaler *
scaler_of(struct workers *w, const struct runner *r)
{
	struct scaler *s;

	TAILQ_FOREACH (s, &w->scalers, next)
		if (s->runner == r)
			return s;
	return NULL;
}

/* One that runs is needed until it has turned out that it is not. */
void
scale_up(struct workers *w, const struct instance *i)
{
	struct scaler *s = scaler_of(w, i->runner);

	if (!s)
		return;
	if ((size_t)i->n >= i->runner->nneeded) {
		i->runner->nneeded = (size_t)i->n + 1;
		begin_window(s);
	}
	if (i->runner->nneeded > (size_t)conf_of(s)->numprocs)
		look_later(s);
}

bool
scale_hinders(struct workers *w, const struct instance *i)
{
	if ((size_t)i->n < i->runner->nneeded)
		return false;
	lane_look(lane_open(w, instance_queue(i))); /* are there jobs? */
	return true;
}

void
scale_begin(struct workers *w, struct runner *r)
{
	struct instance *i;
	struct scaler *s;
	size_t k;

	if (r->conf.numprocs_max == 0)
		return;
	s = xcalloc(1, sizeof(*s));
	s->all = w;
	s->runner = r;
	s->lane = lane_open(w, runner_queue(r));
	ev_timer_init(&s->look, on_look, 0., 0.);
	s->look.data = s;
	TAILQ_INSERT_TAIL(&w->scalers, s, next);
	r->nneeded = (size_t)r->conf.numprocs;
	RUNNER_FOREACH_STAYING (i, r, k)
		if (i->child)
			scale_up(w, i);
}

void
scale_end(struct workers *w, struct runner *r)
{
	struct scaler *s = scaler_of(w, r);

	if (!s)
		return;
	r->nneeded = INSTANCES_MAX;
	TAILQ_REMOVE(&w->scalers, s, next);
	ev_timer_stop(w->loop, &s->look);
	s->runner = NULL;
	if (!s->asked)
		free(s);
}
