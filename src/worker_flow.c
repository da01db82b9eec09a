/*
 * Whether anybody takes what waits.
 *
 * A lane draws while one of its runners here takes jobs or will: all are asked
 * but those that are over for good.  When none does, and no other herod says
 * that one of its does (NSd:draws), jobs that wait are unserved.  That is told
 * when it begins; whether it goes on is asked when the bell rings for the
 * queue.  Programs that no herod knows of are not seen before they take
 * something.
 */
#define LOG_MODULE "worker"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "log.h"
#include "mem.h"
#include "work.h"

/* ---- who draws ---- */

static bool
is_of(const struct runner *r, const struct lane *l)
{
	return r->conf.kind != KIND_SERVICE &&
	    strcmp(runner_queue(r), queue_name(l->queue)) == 0;
}

static bool
will_take(const struct instance *i)
{
	return i->runner->wanted != WANTED_REMOVED && !instance_is_leaving(i) &&
	    !instance_is_over_for_good(i);
}

static bool
has_takers(const struct lane *l)
{
	struct instance *i;
	struct runner *r;
	size_t k;

	RUNNERS_FOREACH (r, l->all->runners)
		if (is_of(r, l))
			RUNNER_FOREACH_STAYING (i, r, k)
				if (will_take(i))
					return true;
	return false;
}

size_t
workers_consumers(struct workers *w, const char *queue)
{
	const struct lane *l = lane_open(w, queue);
	struct instance *i;
	struct runner *r;
	size_t k, n = 0;

	RUNNERS_FOREACH (r, w->runners)
		if (is_of(r, l))
			RUNNER_FOREACH_INSTANCE (i, r, k)
				n += instance_takes_jobs(i);
	return n;
}

/* Of a queue without runners here, we have none to speak for. */
static bool
is_forsaken(const struct lane *l)
{
	return l->runners && !l->draws && !runners_are_ending(l->all->runners);
}

static char *
why_not(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	if (r->wanted == WANTED_REMOVED)
		return xasprintf("runner %s is being removed", r->name);
	RUNNER_FOREACH_STAYING (i, r, k)
		if (i->state == FATAL)
			break;
	if (k == r->ninstances || k == r->nwanted)
		i = r->instances[0];
	return xasprintf(
	    "runner %s is %s: %s", r->name, state_name(i->state), i->why);
}

/* The first of them speaks for all. */
char *
workers_no_consumer(struct workers *w, const char *queue)
{
	const struct lane *l = lane_open(w, queue);
	struct runner *r;

	if (!is_forsaken(l))
		return NULL;
	RUNNERS_FOREACH (r, w->runners)
		if (is_of(r, l))
			return why_not(r);
	return NULL;
}

/* ---- jobs wait and nobody takes them ---- */

struct flow_news {
	const struct lane *lane;
	const char *why;
};

static json_t *
flow_json(const void *arg)
{
	const struct flow_news *n = arg;

	return json_pack("{s:s, s:s, s:s}", "what",
	    n->lane->unserved ? "unserved" : "served", "queue",
	    queue_name(n->lane->queue), "why", n->why);
}

static void
set_unserved(struct lane *l, bool unserved, const char *why)
{
	char topic[160];

	if (l->unserved == unserved)
		return;
	l->unserved = unserved;
	if (unserved)
		log_warnx("queue %s: jobs wait and nobody takes them: %s",
		    queue_name(l->queue), why);
	else
		log_info("queue %s: %s", queue_name(l->queue), why);
	snprintf(topic, sizeof(topic), "queue.%s", queue_name(l->queue));
	event_publish(
	    l->all->events, topic, flow_json, &(struct flow_news){l, why});
}

bool
workers_is_unserved(struct workers *w, const char *queue)
{
	return lane_open(w, queue)->unserved;
}

static void
on_checked(void *arg, const struct queue_depth *d, size_t n)
{
	struct lane *l = arg;
	char *why = workers_no_consumer(l->all, queue_name(l->queue));

	(void)n;
	l->checking = false;
	if (d->elsewhere > 0)
		set_unserved(l, false, "another herod takes jobs from it");
	else if (d->jobs == 0)
		set_unserved(l, false, "no job waits");
	else if (d->jobs > 0 && why)
		set_unserved(l, true, why);
	free(why);
	if (l->check_again)
		lane_look(l);
	l->check_again = false;
}

void
flow_check(struct lane *l)
{
	const char *name = queue_name(l->queue);

	if (!l->all->open || !is_forsaken(l))
		return;
	l->check_again = l->checking;
	if (l->checking)
		return;
	l->checking = true;
	workers_depths(l->all, &name, 1, on_checked, l);
}

void
flow_weigh(struct lane *l)
{
	bool draws = has_takers(l);

	if (draws == l->draws)
		return;
	l->draws = draws;
	queue_set_draws(l->queue, draws);
	if (draws)
		set_unserved(l, false, "a runner takes jobs from it");
	else
		lane_look(l);
}

void
workers_runner_wanted(struct workers *w, const struct runner *r)
{
	if (r->conf.kind != KIND_SERVICE)
		flow_weigh(lane_open(w, runner_queue(r)));
}

void
workers_instance_changed(struct workers *w, const struct instance *i)
{
	struct lane *l;

	if (i->runner->conf.kind == KIND_SERVICE)
		return;
	l = lane_open(w, runner_queue(i->runner));
	if (!l->draws || !will_take(i))
		flow_weigh(l);
	if (i->state == RUNNING)
		lane_look(l);
}

/* ---- no_consumer = refuse ---- */

static const struct runner *
runner_of_job(const struct lane *l, const struct job *j)
{
	return runner_find(l->all->runners, j->spec.runner);
}

static bool
may_refuse(const struct lane *l, const struct job *j)
{
	const struct runner *r = is_forsaken(l) ? runner_of_job(l, j) : NULL;

	return r && r->conf.no_consumer == NO_CONSUMER_REFUSE;
}

static int
refuse(const struct lane *l, struct job *stolen, struct err *e)
{
	const struct runner *r = runner_of_job(l, stolen);
	char *why = why_not(r);

	err_set(e, ERR_NO_CONSUMER, "nobody takes jobs from the queue %s: %s",
	    queue_name(l->queue), why);
	err_subject(e, r->name);
	err_hint(e,
	    "heroctl start %s once that is mended; with no_consumer = accept "
	    "jobs wait for it",
	    r->name);
	free(why);
	job_free(stolen);
	return -1;
}

/* Redis is asked whether another herod takes it. */
struct offer {
	struct lane *lane;
	struct job *job;
	bool named;
	push_fn push;
	queue_fn fn;
	void *arg;
	bool asking, unknown; /* it cannot be asked */
};

static void
on_known(void *arg, const struct queue_depth *d, size_t n)
{
	struct offer *o = arg;
	struct err e = {0};
	int result;

	(void)n;
	o->unknown = o->asking;
	if (o->asking)
		return;
	if (d->elsewhere == 0 && may_refuse(o->lane, o->job))
		result = refuse(o->lane, o->job, &e);
	else
		result = o->push(o->lane, o->job, o->named, o->fn, o->arg, &e);
	if (result == -1)
		o->fn(o->arg, &e);
	free(o);
}

int
flow_offer(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e)
{
	const char *name = queue_name(l->queue);
	struct offer *o;

	if (!may_refuse(l, stolen))
		return push(l, stolen, named, fn, arg, e);
	if (!queues_are_shared(l->all->queues))
		return refuse(l, stolen, e);
	o = xmalloc(sizeof(*o));
	*o = (struct offer){l, stolen, named, push, fn, arg, true, false};
	workers_depths(l->all, &name, 1, on_known, o);
	o->asking = false;
	if (!o->unknown)
		return 0;
	free(o);
	return push(l, stolen, named, fn, arg, e);
}
