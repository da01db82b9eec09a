/*
 * When a process is to be replaced: by its age, or by what it takes of
 * memory.
 *
 * Age is one timer.  Memory has to be looked at: a second after it is
 * RUNNING, then ever more seldom, at last every LOOK_MAX seconds.
 */
#include "recycle.h"

#include <math.h>
#include <stdio.h>

#include "clock.h"
#include "process.h"
#include "turns.h"

#define LOOK_FIRST 1.0 /* seconds */
#define LOOK_MAX 30.0

/* Up to this part of max_age is taken off, so that those who began together
 * do not go together. */
#define AGE_SPREAD 0.1

static struct ev_loop *
loop_of(const struct instance *i)
{
	return runners_context(i->runner->all)->loop;
}

/* Between max_age and a little less, the same for the same process. */
static double
age_limit(const struct instance *i)
{
	unsigned hash = (unsigned)i->child->pid * 2654435761U;

	return i->runner->conf.max_age *
	    (1 - AGE_SPREAD * (double)(hash >> 16) / 65536);
}

static double
age_left(const struct instance *i)
{
	return i->began + age_limit(i) - clock_monotonic();
}

static void
look_later(struct instance *i)
{
	const struct runner_conf *c = &i->runner->conf;
	double after = c->max_rss > 0 ? i->look : INFINITY;

	if (c->max_age > 0)
		after = fmin(after, fmax(age_left(i), 0));
	if (isinf(after))
		return;
	ev_timer_set(&i->recycle, after, 0);
	ev_timer_start(loop_of(i), &i->recycle);
}

static bool
is_too_big(const struct instance *i, char why[96])
{
	long long most = i->runner->conf.max_rss;
	struct process_info p;

	if (most == 0 || !process_read(i->child->pid, &p))
		return false;
	snprintf(why, 96, "%lld kB in memory are more than max_rss, %lld kB",
	    p.rss / 1024, most / 1024);
	return p.rss > most;
}

static bool
is_too_old(const struct instance *i, char why[96])
{
	char age[32];

	if (i->runner->conf.max_age <= 0 || age_left(i) > 0)
		return false;
	snprintf(why, 96, "it is %s old (max_age)",
	    duration_text(clock_monotonic() - i->began, age));
	return true;
}

static void
on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "recycling");
	struct instance *i = timer->data;
	char why[96];
	bool old = is_too_old(i, why), big = !old && is_too_big(i, why);

	(void)revents;
	if (old || big) {
		if (old)
			instance_recycle(i, why);
		else
			instance_outgrown(i, why);
		if (i->state != RUNNING || !i->held)
			return;
		/* It may stay after all. */
		ev_timer_set(&i->recycle, LOOK_MAX, 0);
		ev_timer_start(loop, &i->recycle);
		return;
	}
	i->look = fmin(i->look * 2, LOOK_MAX);
	look_later(i);
}

void
recycle_watch(struct instance *i)
{
	recycle_unwatch(i);
	if (i->child == NULL)
		return;
	ev_init(&i->recycle, on_look);
	i->recycle.data = i;
	i->look = LOOK_FIRST;
	look_later(i);
}

void
recycle_unwatch(struct instance *i)
{
	ev_timer_stop(loop_of(i), &i->recycle);
}
