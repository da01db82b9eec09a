/*
 * Programs that draw from Redis themselves (kind redis), as Hero's actors do:
 * BLPOP an id from the work queue, HSET status started in the job's hash, then
 * finished with a result or error with an error.
 *
 * herod hands them nothing; it keeps count of what they may have (NSd:open) and
 * sees by the bell what they do.  A job that was begun is a work in a place, as
 * others are.  Which of several processes has it, Redis does not tell: the
 * place is a guess then, and when one of them dies its jobs are suspects until
 * the living ones are seen to have their hands full without them.  With one
 * process there is nothing to guess.
 *
 * What a dead one had begun is marked so in Redis before another one is
 * started, so that no herod ever has to guess it, whenever it was killed
 * itself.  An id that was taken out of the list and never begun is put back
 * UNBEGUN seconds after a death, if it is still not begun.  Then it is looked
 * once more: Redis may have read what the dead one asked for after that mark.
 *
 * Those that others start (kind external) are not seen to die.  How many they
 * are is not known either, so that nothing is ever concluded from whose hands
 * are full; what they had when they died ends with its time limit.  What they
 * have taken and not begun is looked for UNBEGUN seconds after something was
 * taken: when nothing is, nothing is looked for.
 */
#define LOG_MODULE "worker"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "counters.h"
#include "log.h"
#include "mem.h"
#include "turns.h"
#include "work.h"

#define UNBEGUN 5.0
#define SWEEP_PART 100.0 /* of the time at most one part goes into sweeps */
#define ROOM_UNKNOWN 1000000 /* of those that nobody has counted */

/* ---- who draws from a lane ---- */

bool
redis_draws(const struct instance *i, const struct lane *l)
{
	return instance_conf(i)->kind >= KIND_REDIS &&
	    strcmp(instance_queue(i), queue_name(l->queue)) == 0;
}

static bool
is_external(const struct instance *i)
{
	return runner_is_external(i->runner);
}

struct hands {
	size_t processes, room; /* that live; jobs at once of all */
	bool unknown; /* among them those that others start */
	struct place *freest; /* of them; NULL: there are none */
	struct place *any; /* with or without a process; NULL: none */
};

static void
count_hand(struct hands *h, struct place *p, bool lives)
{
	if (!h->any)
		h->any = p;
	if (is_external(p->instance)) {
		h->unknown = true;
		h->room += ROOM_UNKNOWN;
	} else if (!lives) {
		return;
	}
	h->processes++;
	h->room += (size_t)instance_conf(p->instance)->concurrency;
	if (!h->freest || p->nworks < h->freest->nworks)
		h->freest = p;
}

/* But for one that is about to be over. */
static struct hands
hands_without(struct lane *l, const struct instance *without)
{
	struct hands h = {0};
	struct instance *i;
	struct runner *r;
	size_t k;

	RUNNERS_FOREACH (r, l->all->runners)
		RUNNER_FOREACH_INSTANCE (i, r, k)
			if (redis_draws(i, l))
				count_hand(&h, place_of(l->all, i),
				    i->child && i != without);
	return h;
}

static struct hands
hands_of(struct lane *l)
{
	return hands_without(l, NULL);
}

/* Theirs, those of a place from the last that began; free(3) it. */
static struct work **
works_of(struct lane *l, size_t *n)
{
	struct work **v = xcalloc(l->all->nworks + 1, sizeof(*v)), *k;
	struct instance *i;
	struct runner *r;
	size_t at;

	*n = 0;
	RUNNERS_FOREACH (r, l->all->runners)
		RUNNER_FOREACH_INSTANCE (i, r, at)
			if (redis_draws(i, l) && i->work)
				TAILQ_FOREACH_REVERSE(k,
				    &((struct place *)i->work)->works,
				    work_list, next)
	v[(*n)++] = k;
	return v;
}

/* ---- what is seen ---- */

static void look_at(struct workers *w, const char *id);

/* Redis has refused, or is lost: then all is looked at when it is back. */
static void
look_again(struct workers *w)
{
	w->unseen = true;
	ask_again(w);
}

/* Redis says what has become of it; then it is let go.  Of what died with the
 * herod before us nobody knows why. */
static void
orphan(struct work *k)
{
	const struct lane *l = k->place->lane;

	k->orphaned = true;
	k->back = l->back;
	free(k->last);
	k->last = xstrdup(l->why ? l->why : "its process is gone");
	look_at(k->all, k->job->spec.id);
}

static void
let_go(struct work *k)
{
	if (k->fate == FATE_TIMEOUT)
		work_end_timeout(k);
	else
		work_back(k, k->back, k->last);
}

/* The living have their hands full without the suspects, or those that had
 * been theirs have ended: what is left was in the hands of the dead. */
static void
judge(struct lane *l)
{
	struct hands h = hands_of(l);
	struct work **works;
	size_t n, i, suspects = 0;

	works = works_of(l, &n);
	for (i = 0; i < n; i++)
		suspects += works[i]->suspect && !works[i]->elsewhere;
	if (suspects && (l->proved >= l->hands || n - suspects >= h.room))
		for (i = 0; i < n; i++)
			if (works[i]->suspect && !works[i]->elsewhere &&
			    !works[i]->orphaned)
				orphan(works[i]);
	free(works);
}

static struct work *
begin(struct lane *l, struct job *stolen, long long nodes)
{
	struct hands h = hands_of(l);
	struct place *p = h.freest ? h.freest : h.any;
	bool cancelled = stolen->status == JOB_STOPPING;
	struct work *k;
	double at;

	if (!p || (!h.processes && nodes > 1)) {
		job_free(stolen); /* another node's */
		return NULL;
	}
	stolen->status = JOB_STARTED;
	stolen->instance = p->instance->n;
	place_fill_foreign(p, stolen);
	k = work_new(p, stolen);
	if (!k)
		return NULL;
	k->elsewhere = nodes > 1 || h.unknown;
	stuck_moves(l);
	counter_add(jobs_started, 1);
	job_news(k, "started");
	if (text_time(k->job->started_at, &at) && k->job->spec.timeout > 0)
		k->deadline = at + k->job->spec.timeout;
	work_arm(k);
	if (cancelled)
		work_cancel(k);
	return k;
}

/* ---- its end, as the program tells it ---- */

struct told {
	struct lane *lane;
	struct job *job;
	bool again;
};

static void
on_told(void *arg, bool done, bool lost)
{
	struct told *t = arg;
	struct workers *w = t->lane->all;

	if (lost)
		look_again(w);
	if (!done)
		watch_rang(w, t->job->spec.id);
	else if (t->again)
		log_info("job %s: %s; again later", t->job->spec.id,
		    t->job->error ? t->job->error : "failed");
	else
		job_is_told_over(t->lane, t->job);
	job_free(t->job);
	free(t);
}

static bool
is_to_retry(const struct job *j, const struct work *k)
{
	return j->status == JOB_ERROR && !(k && k->cancelled) &&
	    j->retries_done < j->spec.retries;
}

static void
end(struct lane *l, struct job *stolen, struct work *k)
{
	struct hands h = hands_of(l);
	struct told *t = xcalloc(1, sizeof(*t));
	bool was_suspect = k && k->suspect;

	if (h.any)
		place_fill_foreign(h.any, stolen);
	t->lane = l;
	t->job = stolen;
	t->again = h.any && is_to_retry(stolen, k);
	if (k && k->cancelled && stolen->status == JOB_ERROR)
		stolen->status = JOB_CANCELLED;
	else if (k && k->fate == FATE_TIMEOUT && stolen->status == JOB_ERROR)
		stolen->status = JOB_TIMEOUT;
	if (t->again)
		job_set_due(stolen,
		    job_backoff(job_backoff_of(h.any, stolen),
			stolen->retries_done + 1));
	if (k)
		work_drop(k);
	queue_external_end(l->queue, stolen, t->again, on_told, t);
	if (was_suspect) {
		l->proved++;
		judge(l);
	}
}

static void
has_begun(
    struct lane *l, struct job *stolen, long long nodes, enum observed what)
{
	struct work *k = work_find(l->all, stolen->spec.id);

	if (k)
		job_free(stolen);
	else
		k = begin(l, stolen, nodes);
	if (!k)
		return;
	if (what == OBSERVED_SUSPECT && !k->suspect && !l->hands)
		l->hands = hands_of(l).room; /* of the herod before us */
	k->suspect = k->suspect || what == OBSERVED_SUSPECT;
	if (what == OBSERVED_ORPHAN && !k->orphaned)
		orphan(k);
	else if (k->orphaned)
		let_go(k);
	else
		judge(l);
}

/* Those who have its runner know whether it is tried again. */
static bool
is_others(const struct lane *l, long long nodes)
{
	return l && !l->externals && nodes > 0;
}

static void
on_look(void *arg, const char *id, enum observed what, long long nodes,
    struct job *stolen)
{
	struct workers *w = arg;
	struct work *k = work_find(w, id);
	struct lane *l = stolen && stolen->queue && name_is_valid(stolen->queue)
	    ? lane_open(w, stolen->queue)
	    : NULL;

	if (what == OBSERVED_LOST)
		look_again(w);
	else if (queues_is_settling(w->queues, id) ||
	    (k && !k->job->external) ||
	    (what == OBSERVED_OVER && is_others(l, nodes)))
		job_free(stolen);
	else if (what == OBSERVED_OVER && l)
		end(l, stolen, k);
	else if (what != OBSERVED_NOTHING && what != OBSERVED_NEW && l)
		has_begun(l, stolen, nodes, what);
	else {
		if (k) /* somebody has ended it or given it back */
			work_drop(k);
		watch_rang(w, id);
	}
}

static void
look_at(struct workers *w, const char *id)
{
	queues_observe(w->queues, id, on_look, w);
}

bool
redis_rang(struct workers *w, const char *id)
{
	if (TAILQ_EMPTY(&w->external_lanes) || !w->open || !id_is_valid(id))
		return false;
	look_at(w, id);
	return true;
}

/* ---- what was taken and not begun ---- */

static void sweep(struct lane *l, enum observed mark);

static void
on_refused(void *arg)
{
	look_again(arg);
}

static void
on_unbegun(struct ev_loop *loop, ev_timer *t, int revents)
{
	DOING("jobs for", "workers");
	struct lane *l = t->data;

	(void)loop;
	(void)revents;
	if (!l->taken) { /* redis_drawn() */
		sweep(l, OBSERVED_NOTHING);
		return;
	}
	queue_unbegun(l->queue, l->taken, on_refused, l->all);
	strv_free(l->taken);
	l->taken = NULL;
	if (l->sweep_again && l->unknown)
		redis_drawn(l);
	else if (l->sweep_again)
		sweep(l, OBSERVED_NOTHING);
}

static void
look_in(struct lane *l, double seconds)
{
	struct ev_loop *loop = l->all->loop;

	ev_timer_stop(loop, &l->unbegun);
	ev_timer_set(&l->unbegun, seconds, 0.);
	ev_timer_start(loop, &l->unbegun);
}

void
redis_drawn(struct lane *l)
{
	if (!l->unknown)
		return;
	if (ev_is_active(&l->unbegun))
		l->sweep_again = true;
	else
		look_in(l, fmax(UNBEGUN, SWEEP_PART * l->sweep_took));
}

static void
on_swept(void *arg, char *const *taken, char *const *begun)
{
	struct lane *l = arg;
	bool died = l->mark != OBSERVED_NOTHING;

	l->sweeps--;
	if (!taken && redis_is_up(l->all->redis))
		look_again(l->all);
	else
		l->mark = OBSERVED_NOTHING;
	if (!taken || !l->externals)
		return; /* its runner may have gone meanwhile */
	l->sweep_took = clock_monotonic() - l->sweep_at;
	for (; *begun; begun++)
		look_at(l->all, *begun);
	if (!l->taken && (*taken || died)) {
		l->taken = strv_copy(taken);
		/* Something may have been drawn since this was asked. */
		l->sweep_again =
		    l->sweep_again || died || ev_is_active(&l->unbegun);
		look_in(l, UNBEGUN);
	}
	l->is_swept = l->sweeps == 0;
	if (l->is_swept)
		runners_look_at_order(l->all->runners);
}

/* What is found to be taken is looked at again later, once.  Until the answer
 * is there no process is started. */
static void
sweep(struct lane *l, enum observed mark)
{
	l->sweep_again = l->taken != NULL;
	l->is_swept = false;
	l->sweep_at = clock_monotonic();
	if (!l->all->open || !queue_sweep(l->queue, mark, on_swept, l))
		return;
	l->sweeps++;
	if (mark != OBSERVED_NOTHING)
		l->mark = mark;
}

bool
redis_is_swept(struct workers *w, const struct instance *i)
{
	return lane_open(w, instance_queue(i))->is_swept;
}

/* ---- its processes ---- */

/* To where another one lives that may have it. */
static void
move(struct work *k, struct place *to)
{
	struct place *from = k->place;

	if (!to || to == from)
		return;
	TAILQ_REMOVE(&from->works, k, next);
	from->nworks--;
	TAILQ_INSERT_TAIL(&to->works, k, next);
	to->nworks++;
	k->place = to;
}

void
redis_died(struct place *p, const struct child *c, bool asked)
{
	struct lane *l = p->lane;
	struct hands h = hands_without(l, p->instance);
	struct work **works;
	char why[160];
	size_t n, i;

	l->back = p->verdict == VERDICT_ITS || !asked ? BACK_DIED : BACK_HEAD;
	p->verdict = VERDICT_OPEN;
	free(l->why);
	l->why = xstrdup(child_end_text(c, why, sizeof(why)));
	l->hands = h.room;
	l->proved = 0;
	works = works_of(l, &n);
	for (i = 0; i < n; i++) {
		move(works[i], h.freest);
		works[i]->suspect = true;
		if (!h.processes && !works[i]->elsewhere)
			orphan(works[i]);
	}
	free(works);
	sweep(l, h.processes ? OBSERVED_SUSPECT : OBSERVED_ORPHAN);
}

/* ---- ending a job early ---- */

/* It may still be at work, so it is not tried again. */
static void
end_uncertain(struct work *k, const struct hands *h)
{
	char text[32];

	duration_text(k->job->spec.timeout, text);
	if (k->fate == FATE_CANCEL) {
		work_end_cancelled(k);
		return;
	}
	if (h->unknown)
		job_set_error(k->job,
		    "timeout after %s; who has it is not known to herod and "
		    "may still be at work",
		    text);
	else
		job_set_error(k->job,
		    "timeout after %s; which of %zu processes has it is not "
		    "known",
		    text, h->processes);
	work_end(k, JOB_TIMEOUT);
}

/* Nobody sees any more what becomes of it; who has asked that it ends, or waits
 * for its time limit, is not left waiting. */
void
redis_leave(struct work *k)
{
	if (k->fate == FATE_OPEN)
		work_drop(k);
	else
		end_uncertain(k, &(struct hands){.unknown = true});
}

static void
on_grace_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	DOING("time limit of", "a job");
	struct work *k = t->data;
	struct hands h = hands_of(k->place->lane);

	(void)loop;
	(void)revents;
	if (k->suspect && k->fate == FATE_TIMEOUT && !h.unknown) {
		k->fate = FATE_OPEN; /* nobody has it, or nobody cares */
		orphan(k);
	} else if (h.processes == 1 && !h.unknown && !k->elsewhere &&
	    !k->suspect) {
		place_kill(h.freest, VERDICT_OURS,
		    "job %s did not end after %s", k->job->spec.id,
		    k->fate == FATE_TIMEOUT ? "its timeout" : "a cancel");
	} else {
		end_uncertain(k, &h);
	}
}

void
redis_stop(struct work *k, enum fate fate)
{
	k->fate = fate;
	queue_ask_stop(k->place->lane->queue, k->job->spec.id);
	ev_timer_stop(k->all->loop, &k->timer);
	ev_set_cb(&k->timer, on_grace_over);
	ev_timer_set(
	    &k->timer, fate == FATE_TIMEOUT ? TIMEOUT_GRACE : CANCEL_GRACE, 0.);
	ev_timer_start(k->all->loop, &k->timer);
}

/* ---- what happened while nobody looked ---- */

/* With no process of ours, nobody has what was begun. */
static void
reread(struct lane *l)
{
	struct work **works;
	size_t n, i;

	works = works_of(l, &n);
	for (i = 0; i < n; i++)
		look_at(l->all, works[i]->job->spec.id);
	free(works);
	sweep(l, hands_of(l).processes ? l->mark : OBSERVED_ORPHAN);
}

/* ---- runners come and go ---- */

static void
on_scanned(void *arg, const char *id)
{
	if (id)
		redis_rang(arg, id);
	else
		look_again(arg);
}

static void
scan(struct workers *w)
{
	if (w->open)
		queues_scan(w->queues, on_scanned, w);
}

void
redis_runner_added(struct lane *l, const struct runner_conf *c)
{
	struct workers *w = l->all;

	l->unknown += c->kind == KIND_EXTERNAL;
	if (l->externals++)
		return;
	TAILQ_INSERT_TAIL(&w->external_lanes, l, external_next);
	ev_timer_init(&l->unbegun, on_unbegun, 0., 0.);
	l->unbegun.data = l;
	l->back = BACK_DIED;
	stuck_begin(l);
	queue_set_external(l->queue, true);
	queues_watch_jobs(w->queues);
	reread(l);
	scan(w);
}

static void
lane_close(struct lane *l)
{
	stuck_end(l);
	ev_timer_stop(l->all->loop, &l->unbegun);
	strv_free(l->taken);
	l->taken = NULL;
	free(l->why);
	l->why = NULL;
}

void
redis_runner_gone(struct lane *l, const struct runner_conf *c)
{
	l->unknown -= c->kind == KIND_EXTERNAL;
	if (--l->externals) {
		/* What it seemed to have may be others'. */
		if (hands_of(l).processes)
			reread(l);
		return;
	}
	TAILQ_REMOVE(&l->all->external_lanes, l, external_next);
	lane_close(l);
	queue_set_external(l->queue, false);
}

void
redis_lane_free(struct lane *l)
{
	if (l->externals)
		lane_close(l);
}

void
redis_reread(struct workers *w)
{
	struct lane *l;

	TAILQ_FOREACH (l, &w->external_lanes, external_next) {
		stuck_moves(l); /* it could not be taken meanwhile */
		reread(l);
	}
	if (!TAILQ_EMPTY(&w->external_lanes))
		scan(w);
}
