/*
 * Programs that draw themselves (kind redis), live and take nothing.
 *
 * While jobs wait, the list is looked at LOOKS times in stuck_timeout.  When
 * the id that was at its head at the first look is there at all others, none
 * was seen to begin and none is in hand, whoever ran all that time takes
 * nothing: its process makes room for a new one.  Several looks, so that one
 * after a time in which herod itself did not run proves nothing.
 *
 * A worker of kind stdio cannot be so: herod hands it a job that waits, which
 * is in hand from then on and has a time limit.
 */
#define LOG_MODULE "worker"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "counters.h"
#include "log.h"
#include "mem.h"
#include "turns.h"
#include "work.h"

#define LOOKS 4

static bool
is_watched(const struct instance *i, const struct lane *l)
{
	return redis_draws(i, l) && i->state == RUNNING && !i->held &&
	    i->runner->conf.stuck_timeout > 0;
}

/* The shortest of those that are watched; 0: none is. */
static double
patience(const struct lane *l)
{
	const struct instance *i;
	struct runner *r;
	double least = 0;
	size_t k;

	RUNNERS_FOREACH (r, l->all->runners)
		RUNNER_FOREACH_STAYING (i, r, k)
			if (is_watched(i, l) &&
			    (least <= 0 || r->conf.stuck_timeout < least))
				least = r->conf.stuck_timeout;
	return least;
}

void
stuck_moves(struct lane *l)
{
	free(l->head);
	l->head = NULL;
}

static void
look_later(struct lane *l)
{
	double least;

	if (ev_is_active(&l->stuck))
		return;
	least = patience(l);
	if (least <= 0)
		return;
	ev_timer_set(&l->stuck, least / LOOKS, 0.);
	ev_timer_start(l->all->loop, &l->stuck);
}

static void
renew(struct instance *i, const struct lane *l, long long jobs)
{
	char why[96], text[32];

	snprintf(why, sizeof(why), "took no job for %s while %lld waited",
	    duration_text(clock_monotonic() - l->head_since, text), jobs);
	log_warnx("runner %s.%d: it %s: it is started anew", i->runner->name,
	    i->n, why);
	counter_add(stuck, 1);
	instance_outgrown(i, why);
}

static void
renew_all(const struct lane *l, long long jobs)
{
	struct instance *i;
	struct runner *r;
	size_t k;

	RUNNERS_FOREACH (r, l->all->runners)
		RUNNER_FOREACH_STAYING (i, r, k)
			if (is_watched(i, l) && i->up_at <= l->head_since)
				renew(i, l, jobs);
}

static void
begin_anew(struct lane *l, const char *id)
{
	free(l->head);
	l->head = xstrdup(id);
	l->head_since = clock_monotonic();
	l->looks = 0;
}

static void
on_head(void *arg, const char *id, long long jobs)
{
	struct lane *l = arg;

	l->looking = false;
	if (!id || !l->externals) {
		stuck_moves(l);
		return;
	}
	if (l->nworks || !l->head || strcmp(l->head, id) != 0)
		begin_anew(l, id);
	else if (++l->looks >= LOOKS) {
		renew_all(l, jobs);
		begin_anew(l, id);
	}
	look_later(l);
}

static void
on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "stuck_timeout");
	struct lane *l = timer->data;

	(void)loop;
	(void)revents;
	if (l->looking) { /* the answer may be older than what came since */
		look_later(l);
		return;
	}
	l->looking = l->all->open && queue_head(l->queue, l->head, on_head, l);
	if (!l->looking)
		stuck_moves(l);
}

void
stuck_look(struct lane *l)
{
	if (l->externals && l->all->open)
		look_later(l);
}

void
stuck_begin(struct lane *l)
{
	ev_timer_init(&l->stuck, on_look, 0., 0.);
	l->stuck.data = l;
}

void
stuck_end(struct lane *l)
{
	ev_timer_stop(l->all->loop, &l->stuck);
	stuck_moves(l);
}
