/*
 * Jobs that wait because the host has no room for them (max_load, min_memory),
 * or because a runner that theirs requires is down.
 *
 * A runner with such settings has a hold, which is looked at when a place of it
 * is about to take jobs.  While it is on, these places have no room.  While
 * jobs wait for its end the host is looked at each second, and what it requires
 * when that changes; else nobody looks before something is put into its queue.
 */
#define LOG_MODULE "worker"
#include "work.h"

#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "order.h"
#include "turns.h"

#define PERIOD 1.0 /* seconds between two looks */
#define FRESH 0.5 /* seconds for which what was read of the host is so */

struct hold {
	TAILQ_ENTRY(hold) next; /* of its lane */
	struct lane *lane;
	struct runner *runner; /* NULL: gone, but an answer is under way */
	bool is_on;
	bool waits; /* jobs do, for its end */
	bool is_told; /* that, in the log */
	bool asked, again; /* an answer is under way; there is more to see */
	ev_timer look;
};

/* ---- what there is to lack ---- */

static const struct host *
host_now(struct workers *w)
{
	double now = clock_monotonic();

	if (w->host_at <= 0 || now - w->host_at >= FRESH) {
		host_read(&w->host, w->proc);
		w->host_at = now;
	}
	return &w->host;
}

void
workers_read_host(struct workers *w, const char *proc)
{
	w->proc = proc;
	w->host_at = 0;
}

static bool
has_limits(const struct runner_conf *c)
{
	return c->max_load > 0 || c->min_memory > 0;
}

static bool
lacks(const struct hold *h, char *why, size_t size)
{
	const struct runner_conf *c = &h->runner->conf;

	if (order_lacks(h->runner, why, size))
		return true;
	return has_limits(c) &&
	    host_is_short(host_now(h->lane->all),
		&(struct host_limits){c->max_load, c->min_memory}, h->is_on,
		why, size);
}

/* A job could begin, but for the hold. */
static bool
has_room(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (instance_is_spare(i) ||
		    (i->work && place_slots(i->work) > 0))
			return true;
	return false;
}

/* ---- on and off ---- */

static void
set(struct hold *h, bool on)
{
	struct instance *i;
	size_t k;

	h->is_on = on;
	RUNNER_FOREACH_INSTANCE (i, h->runner, k)
		if (i->work)
			place_look(i->work);
}

static void
tell_end(struct hold *h, const char *why)
{
	if (h->is_told)
		log_info(
		    "runner %s: not held any more%s", h->runner->name, why);
	h->is_told = h->waits = false;
}

static void
go_on(struct hold *h, const char *why)
{
	ev_timer_stop(h->lane->all->loop, &h->look);
	tell_end(h, why);
	set(h, false);
	lane_look(h->lane);
}

/* ---- does anybody wait for that? ---- */

static void
look_soon(struct hold *h)
{
	ev_now_update(h->lane->all->loop);
	ev_timer_set(&h->look, PERIOD, 0.);
	ev_timer_start(h->lane->all->loop, &h->look);
}

static void
await(struct hold *h)
{
	char why[WHY_MAX];

	if (!lacks(h, why, sizeof(why))) {
		go_on(h, "");
		return;
	}
	if (!h->is_told)
		log_info("runner %s: held: %s", h->runner->name, why);
	h->is_told = h->waits = true;
	if (has_limits(&h->runner->conf))
		look_soon(h);
}

static void ask(struct hold *h);

static void
on_depth(void *arg, const struct queue_depth *d, size_t n)
{
	struct hold *h = arg;

	(void)n;
	h->asked = false;
	if (!h->runner)
		free(h);
	else if (!h->is_on)
		return;
	else if (d->jobs < 0)
		look_soon(h); /* Redis has refused, or is away */
	else if (d->jobs > 0 && !d->paused)
		await(h);
	else if (h->again)
		ask(h);
	else
		tell_end(h, ": no job waits");
}

static void
ask(struct hold *h)
{
	const char *name = queue_name(h->lane->queue);

	h->again = h->asked;
	if (h->asked)
		return;
	h->asked = true;
	queues_depths(h->lane->all->queues, &name, 1, on_depth, h);
}

static void
look(struct hold *h)
{
	char why[WHY_MAX];

	if (!lacks(h, why, sizeof(why))) {
		if (h->is_on)
			go_on(h, "");
		return;
	}
	if (!h->is_on)
		set(h, true);
	if (!h->waits)
		ask(h);
}

static void
on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("jobs for", "workers");
	struct hold *h = timer->data;

	(void)loop;
	(void)revents;
	h->waits = false;
	if (!h->lane->all->open)
		return; /* it is looked at when Redis is there */
	if (has_room(h->runner))
		look(h);
	else
		go_on(h, ": it takes no jobs");
}

void
hold_look(struct lane *l)
{
	struct hold *h;

	TAILQ_FOREACH (h, &l->holds, next)
		if (h->is_on || has_room(h->runner))
			look(h);
}

void
hold_order(struct lane *l)
{
	struct hold *h;

	TAILQ_FOREACH (h, &l->holds, next)
		if (h->is_on)
			look(h);
}

/* ---- of runners ---- */

static struct hold *
hold_of(const struct lane *l, const struct runner *r)
{
	struct hold *h;

	TAILQ_FOREACH (h, &l->holds, next)
		if (h->runner == r)
			return h;
	return NULL;
}

bool
hold_is_on(const struct place *p)
{
	const struct hold *h = hold_of(p->lane, p->instance->runner);

	return h && h->is_on;
}

/* But for the hold. */
static bool
takes_jobs(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (instance_takes_jobs(i) || instance_is_spare(i))
			return true;
	return false;
}

bool
workers_held(struct workers *w, const struct runner *r, char *why, size_t size)
{
	const struct hold *h = hold_of(lane_open(w, runner_queue(r)), r);

	return h && takes_jobs(r) && lacks(h, why, size);
}

void
hold_begin(struct lane *l, struct runner *r)
{
	struct hold *h;

	if (r->conf.kind == KIND_REDIS ||
	    (!has_limits(&r->conf) &&
		!*depend_words(&r->conf, DEPEND_REQUIRES)))
		return;
	h = xcalloc(1, sizeof(*h));
	h->lane = l;
	h->runner = r;
	ev_timer_init(&h->look, on_look, 0., 0.);
	h->look.data = h;
	TAILQ_INSERT_TAIL(&l->holds, h, next);
}

void
hold_end(struct lane *l, const struct runner *r)
{
	struct hold *h = hold_of(l, r);

	if (!h)
		return;
	ev_timer_stop(l->all->loop, &h->look);
	tell_end(h, ": it has other settings");
	TAILQ_REMOVE(&l->holds, h, next);
	h->runner = NULL;
	if (!h->asked)
		free(h);
}
