/*
 * What callers ask about jobs: queue, wait, read, cancel, list.
 *
 * Who waits for a job is told from memory when it ends here.  What ended
 * elsewhere, or while Redis was away, is read once: when the wait begins,
 * when Redis comes back, when the bell rings for it.
 */
#define LOG_MODULE "worker"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "turns.h"
#include "work.h"

/* One job that somebody waits for. */
struct watch {
	RB_ENTRY(watch) entry;
	char *id;
	TAILQ_HEAD(, job_wait) waits;
};

struct job_wait {
	TAILQ_ENTRY(job_wait) next;
	struct workers *all;
	struct watch *watch; /* NULL: its answer is on the way */
	bool known; /* that there is such a job: a refusal is waited out */
	bool stops; /* it was asked to end while it was in hand here */
	job_wait_fn fn;
	void *arg;
	double timeout; /* as asked */
	ev_timer timer;
	struct err *e; /* what the timer tells, if not that time is over */
};

static int
watch_compare(const struct watch *a, const struct watch *b)
{
	return strcmp(a->id, b->id);
}

RB_GENERATE_INTERNAL(
    watch_tree, watch, entry, watch_compare, __attribute__((unused)) static)

/* ---- queueing ---- */

static const struct runner *
runner_for_job(struct workers *w, const char *name, struct err *e)
{
	struct runner *r = runner_find(w->runners, name);
	const char *nearest;

	err_subject(e, name);
	if (!r || r->wanted == WANTED_REMOVED) {
		nearest = runner_nearest(w->runners, name);
		err_set(e, ERR_NO_RUNNER, "there is no runner %s", name);
		if (nearest)
			err_hint(e, "did you mean %s?", nearest);
		return NULL;
	}
	if (r->conf.kind == KIND_SERVICE) {
		err_set(e, ERR_NO_CONSUMER,
		    "runner %s is of kind service and takes no jobs", name);
		err_hint(e, "runners of kind exec, stdio and redis do");
		return NULL;
	}
	return r;
}

static int
fill_job(struct job *j, const struct runner *r, const json_t *settings,
    struct err *e)
{
	char now[TIME_TEXT_SIZE];

	if (job_read(j, settings, e) == -1)
		return -1;
	if (j->spec.runner && strcmp(j->spec.runner, r->name) != 0)
		return err_set(e, ERR_PARAMS,
		    "job: its runner is %s, but it is queued to %s",
		    j->spec.runner, r->name);
	free(j->spec.runner);
	j->spec.runner = xstrdup(r->name);
	j->queue = xstrdup(runner_queue(r));
	if (j->spec.timeout <= 0)
		j->spec.timeout = r->conf.job_timeout;
	if (j->spec.retries < 0)
		j->spec.retries = r->conf.job_retries;
	if (j->spec.durability == DURABILITY_RUNNER)
		j->spec.durability = r->conf.durability + DURABILITY_MEMORY;
	strlcpy(
	    j->created_at, time_text(ev_time(), now), sizeof(j->created_at));
	return 0;
}

/* What settings ask of a runner; NULL with a refusal. */
static struct job *
job_for(struct workers *w, const char *runner, const json_t *settings,
    struct err *e)
{
	const struct runner *r = runner_for_job(w, runner, e);
	struct job *j;

	if (!r)
		return NULL;
	j = job_new();
	if (fill_job(j, r, settings, e) == 0)
		return j;
	job_free(j);
	return NULL;
}

/* Its id; false when that was made here. */
static bool
is_named(struct job *j, char id[129])
{
	bool named = j->spec.id != NULL;

	if (named) {
		strlcpy(id, j->spec.id, 129);
	} else {
		make_uuid(id);
		j->spec.id = xstrdup(id);
	}
	return named;
}

int
workers_create(struct workers *w, const char *runner, const json_t *settings,
    char id[129], queue_fn fn, void *arg, struct err *e)
{
	struct job *j = job_for(w, runner, settings, e);
	bool named;

	if (!j)
		return -1;
	named = is_named(j, id);
	return durable_offer(
	    lane_open(w, j->queue), j, named, lane_push, fn, arg, e);
}

static int
lane_hold(struct lane *l, struct job *stolen, bool named, queue_fn fn,
    void *arg, struct err *e)
{
	(void)named;
	return queue_hold(l->queue, stolen, fn, arg, e);
}

int
workers_hold(struct workers *w, const char *runner, const json_t *settings,
    char id[129], queue_fn fn, void *arg, struct err *e)
{
	struct job *j = job_for(w, runner, settings, e);

	if (!j)
		return -1;
	is_named(j, id);
	return durable_offer(
	    lane_open(w, j->queue), j, true, lane_hold, fn, arg, e);
}

int
workers_tick(struct workers *w, const char *runner, const json_t *settings,
    const struct queue_tick *tick, tick_fn fn, void *arg, struct err *e)
{
	struct job *j = job_for(w, runner, settings, e);
	struct lane *l;
	int result;

	if (!j)
		return -1;
	l = lane_open(w, j->queue);
	job_move(j, JOB_DISPATCHED, NULL);
	result = queue_push_tick(l->queue, j, tick, fn, arg, e);
	lane_rang(l);
	return result;
}

bool
workers_see_schedule(
    struct workers *w, const char *name, long long since, seen_fn fn, void *arg)
{
	return queues_see_schedule(w->queues, name, since, fn, arg);
}

void
workers_drop_schedule(struct workers *w, const char *name)
{
	queues_drop_schedule(w->queues, name);
}

/* ---- waiting ---- */

static struct watch *
watch_find(struct workers *w, const char *id)
{
	struct watch wanted = {.id = (char *)id};

	return RB_FIND(watch_tree, &w->watches, &wanted);
}

static struct watch *
watch_open(struct workers *w, const char *id)
{
	struct watch *watch = watch_find(w, id);

	if (watch)
		return watch;
	watch = xcalloc(1, sizeof(*watch));
	watch->id = xstrdup(id);
	TAILQ_INIT(&watch->waits);
	RB_INSERT(watch_tree, &w->watches, watch);
	return watch;
}

static void
watch_free(struct watch *watch)
{
	free(watch->id);
	free(watch);
}

static void
wait_leave(struct job_wait *wait)
{
	struct watch *watch = wait->watch;

	wait->watch = NULL;
	if (!watch)
		return;
	TAILQ_REMOVE(&watch->waits, wait, next);
	if (!TAILQ_EMPTY(&watch->waits))
		return;
	RB_REMOVE(watch_tree, &wait->all->watches, watch);
	watch_free(watch);
}

void
job_wait_cancel(struct job_wait *wait)
{
	ev_timer_stop(wait->all->loop, &wait->timer);
	wait_leave(wait);
	free(wait->e);
	free(wait);
}

static void
refuse_slow(const struct job_wait *wait, struct err *e)
{
	const char *id = wait->watch->id;
	char text[32];

	err_set(e, ERR_TIMED_OUT, "job %s is not over after %s", id,
	    duration_text(wait->timeout, text));
	err_subject(e, id);
}

static void
on_wait_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	DOING("answer about", "a job");
	struct job_wait *wait = t->data;
	struct err slow = {0};

	(void)loop;
	(void)revents;
	if (!wait->e)
		refuse_slow(wait, &slow);
	wait_leave(wait);
	wait->fn(wait->arg, NULL, wait->e ? wait->e : &slow);
	free(wait->e);
	free(wait);
}

/* Never from inside the call that asked. */
static void
wait_fail_soon(struct job_wait *wait, const struct err *e)
{
	wait_leave(wait);
	wait->e = xmalloc(sizeof(*e));
	*wait->e = *e;
	ev_timer_stop(wait->all->loop, &wait->timer);
	ev_timer_set(&wait->timer, 0., 0.);
	ev_timer_start(wait->all->loop, &wait->timer);
}

/* all: also those who wait for a job that was there. */
static void
watch_fail(struct watch *watch, const struct err *e, bool all)
{
	struct job_wait *wait, *next;

	TAILQ_FOREACH_SAFE (wait, &watch->waits, next, next)
		if (all || !wait->known)
			wait_fail_soon(wait, e);
}

void
watch_over(struct workers *w, const struct job *j)
{
	struct watch *watch = watch_find(w, j->spec.id);
	struct job_wait *wait;

	if (!watch)
		return;
	/* Out of the tree first: whom we tell may wait anew. */
	RB_REMOVE(watch_tree, &w->watches, watch);
	while ((wait = TAILQ_FIRST(&watch->waits))) {
		TAILQ_REMOVE(&watch->waits, wait, next);
		ev_timer_stop(w->loop, &wait->timer);
		wait->fn(wait->arg, j, NULL);
		free(wait);
	}
	watch_free(watch);
}

struct look {
	struct workers *all;
	char id[129];
};

static int watch_read(struct workers *w, const char *id, struct err *e);

/* It ends elsewhere, or by whom we do not know: others' changes ring. */
static void
watch_elsewhere(struct workers *w, const struct job *j)
{
	bool named = j->queue && name_is_valid(j->queue);
	const struct lane *l = named ? lane_open(w, j->queue) : NULL;

	if (l && l->runners && (!j->node || !strcmp(j->node, workers_node(w))))
		return;
	/* It may have changed before the bell was there. */
	if (queues_watch_jobs(w->queues))
		watch_read(w, j->spec.id, NULL);
}

static void
watch_is_known(struct watch *watch)
{
	struct job_wait *wait;

	TAILQ_FOREACH (wait, &watch->waits, next)
		wait->known = true;
}

/* It is not in hand here any more: who stops it asks anew. */
static void
watch_unstopped(struct watch *watch)
{
	struct job_wait *wait, *next;
	struct err e = {.code = ERR_SUPERSEDED};

	TAILQ_FOREACH_SAFE (wait, &watch->waits, next, next)
		if (wait->stops)
			wait_fail_soon(wait, &e);
}

static void
watch_missing(struct workers *w, struct watch *watch)
{
	bool wait = queues_may_be_told(w->queues);
	struct err e = {0};

	job_refuse_missing(watch->id, &e);
	watch_fail(watch, &e, !wait);
	if (wait)
		ask_again(w);
}

static void
on_looked(void *arg, struct job *j, const struct err *e)
{
	struct look *look = arg;
	struct workers *w = look->all;
	struct watch *watch = watch_find(w, look->id);

	if (watch && e && redis_is_up(w->redis)) {
		watch_fail(watch, e, false);
		ask_again(w);
	} else if (watch && !e && !j) {
		watch_missing(w, watch);
	} else if (watch && j && job_is_over(j->status)) {
		watch_over(w, j);
	} else if (watch && j) {
		watch_is_known(watch);
		if (!work_find(w, look->id)) {
			watch_elsewhere(w, j);
			watch_unstopped(watch);
		}
	}
	job_free(j);
	free(look);
}

static int
watch_read(struct workers *w, const char *id, struct err *e)
{
	struct look *look = xcalloc(1, sizeof(*look));

	look->all = w;
	strlcpy(look->id, id, sizeof(look->id));
	if (queues_read(w->queues, id, on_looked, look, e) == 0)
		return 0;
	free(look);
	return -1;
}

void
watch_reread(struct workers *w)
{
	struct watch *watch;

	RB_FOREACH (watch, watch_tree, &w->watches)
		if (!work_find(w, watch->id))
			watch_read(w, watch->id, NULL);
}

void
watch_rang(struct workers *w, const char *id)
{
	if (watch_find(w, id) && !work_find(w, id))
		watch_read(w, id, NULL);
}

void
watches_free(struct workers *w)
{
	struct watch *watch;
	struct job_wait *wait;

	while ((watch = RB_MIN(watch_tree, &w->watches))) {
		RB_REMOVE(watch_tree, &w->watches, watch);
		while ((wait = TAILQ_FIRST(&watch->waits))) {
			TAILQ_REMOVE(&watch->waits, wait, next);
			ev_timer_stop(w->loop, &wait->timer);
			free(wait);
		}
		watch_free(watch);
	}
}

struct job_wait *
workers_wait(struct workers *w, const char *id, double timeout, bool fresh,
    job_wait_fn fn, void *arg)
{
	struct job_wait *wait = xcalloc(1, sizeof(*wait));
	struct err e = {0};

	wait->all = w;
	wait->known = fresh;
	wait->fn = fn;
	wait->arg = arg;
	wait->watch = watch_open(w, id);
	if (queues_are_shared(w->queues))
		queues_watch_jobs(w->queues); /* another herod may take it */
	TAILQ_INSERT_TAIL(&wait->watch->waits, wait, next);
	ev_timer_init(&wait->timer, on_wait_timer, 0., 0.);
	wait->timer.data = wait;
	wait->timeout = timeout;
	if (timeout > 0) {
		ev_timer_set(&wait->timer, timeout, 0.);
		ev_timer_start(w->loop, &wait->timer);
	}
	/* Of Redis that was not there yet, all are read when it comes. */
	if (!fresh && !work_find(w, id) && watch_read(w, id, &e) == -1 &&
	    !redis_is_new(w->redis))
		wait_fail_soon(wait, &e);
	return wait;
}

/* ---- reading ---- */

struct read {
	struct workers *all;
	char id[129];
	job_fn fn;
	void *arg;
};

/* What only we know yet. */
static void
add_what_is_here(struct workers *w, struct job *j)
{
	const struct work *k = work_find(w, j->spec.id);

	if (!k || k->superseded)
		return;
	j->status = k->job->status;
	j->progress = k->job->progress;
	free(j->progress_text);
	j->progress_text = xstrdup(k->job->progress_text);
}

static void
on_read(void *arg, struct job *j, const struct err *e)
{
	struct read *r = arg;
	struct err none = {0};

	if (j) {
		add_what_is_here(r->all, j);
	} else if (!e) {
		job_refuse_missing(r->id, &none);
		e = &none;
	}
	r->fn(r->arg, j, e);
	free(r);
}

int
workers_read(
    struct workers *w, const char *id, job_fn fn, void *arg, struct err *e)
{
	struct read *r = xcalloc(1, sizeof(*r));

	r->all = w;
	strlcpy(r->id, id, sizeof(r->id));
	r->fn = fn;
	r->arg = arg;
	if (queues_read(w->queues, id, on_read, r, e) == 0)
		return 0;
	free(r);
	return -1;
}

/* ---- cancelling ---- */

struct cancelling {
	struct workers *all;
	char id[129];
	struct job *job; /* as read */
	workers_cancel_fn fn;
	void *arg;
};

static void
cancel_answer(struct cancelling *c, const char *status, const struct err *e)
{
	c->fn(c->arg, status, e);
	job_free(c->job);
	free(c);
}

static void
cancel_refuse(struct cancelling *c, const char *id, const char *why)
{
	struct err e = {0};

	err_set(&e, ERR_ILLEGAL_MOVE, "job %s %s", id, why);
	err_subject(&e, id);
	cancel_answer(c, NULL, &e);
}

static void on_cancel_read(void *arg, struct job *j, const struct err *e);

static void
cancel_read(struct cancelling *c)
{
	struct err e = {0};

	job_free(c->job);
	c->job = NULL;
	if (workers_read(c->all, c->id, on_cancel_read, c, &e) == -1)
		cancel_answer(c, NULL, &e);
}

static void
on_cancel_over(void *arg, const struct job *j, const struct err *e)
{
	if (e && e->code == ERR_SUPERSEDED)
		cancel_read(arg);
	else
		cancel_answer(arg, j ? job_status_word(j->status) : NULL, e);
}

/* In hand here: it is ended, and the answer is how it ended. */
static void
cancel_work(struct cancelling *c, struct work *k)
{
	workers_wait(c->all, c->id, 0, true, on_cancel_over, c)->stops = true;
	work_cancel(k);
}

static bool
was_waiting(const char *hero_word)
{
	return !strcmp(hero_word, "created") ||
	    !strcmp(hero_word, "dispatched") ||
	    !strcmp(hero_word, "waiting_for_prerequisites");
}

static void
on_queue_cancelled(void *arg, const char *was, const struct err *e)
{
	struct cancelling *c = arg;
	struct job *j = c->job;
	struct work *k = work_find(c->all, j->spec.id);

	if (e) {
		cancel_answer(c, NULL, e);
	} else if (was_waiting(was)) {
		job_move(j, JOB_CANCELLED, NULL);
		job_set_error(j, "cancelled");
		watch_over(c->all, j);
		cancel_answer(c, job_status_word(JOB_CANCELLED), NULL);
	} else if (k) {
		cancel_work(c, k);
	} else if (!strcmp(was, "started") || !strcmp(was, "stopping")) {
		cancel_refuse(c, j->spec.id, "is in the hands of another node");
	} else {
		cancel_refuse(c, j->spec.id, "is over");
	}
}

static void
cancel_queued(struct cancelling *c)
{
	struct err e = {0};

	if (!c->job->queue || !name_is_valid(c->job->queue))
		cancel_refuse(c, c->job->spec.id, "names no runner");
	else if (queue_cancel(queue_open(c->all->queues, c->job->queue), c->job,
		     on_queue_cancelled, c, &e) == -1)
		cancel_answer(c, NULL, &e);
}

static void
on_cancel_read(void *arg, struct job *j, const struct err *e)
{
	struct cancelling *c = arg;
	struct work *k = j ? work_find(c->all, j->spec.id) : NULL;
	char why[64];

	c->job = j;
	if (!j) {
		cancel_answer(c, NULL, e);
	} else if (k) {
		cancel_work(c, k);
	} else if (j->status == JOB_CANCELLED) {
		cancel_answer(c, job_status_word(j->status), NULL);
	} else if (job_is_over(j->status)) {
		snprintf(why, sizeof(why), "is over already: %s",
		    job_status_word(j->status));
		cancel_refuse(c, j->spec.id, why);
	} else {
		cancel_queued(c);
	}
}

int
workers_cancel(struct workers *w, const char *id, workers_cancel_fn fn,
    void *arg, struct err *e)
{
	struct cancelling *c = xcalloc(1, sizeof(*c));
	struct work *k = work_find(w, id);

	c->all = w;
	strlcpy(c->id, id, sizeof(c->id));
	c->fn = fn;
	c->arg = arg;
	if (k)
		cancel_work(c, k);
	else if (workers_read(w, id, on_cancel_read, c, e) == -1) {
		free(c);
		return -1;
	}
	return 0;
}

/* ---- after the end ---- */

/* What is to be done with a job once it is known whose queue it is of. */
struct following {
	struct workers *all;
	int (*what)(struct queue *q, const char *id, queue_fn fn, void *arg,
	    struct err *e);
	queue_fn fn;
	void *arg;
};

static void
on_follow_read(void *arg, struct job *j, const struct err *e)
{
	struct following *f = arg;
	struct err refused = {0};
	bool begun = false;

	if (j && (!j->queue || !name_is_valid(j->queue)))
		err_set(&refused, ERR_ILLEGAL_MOVE, "job %s names no runner",
		    j->spec.id);
	else if (j)
		begun = f->what(queue_open(f->all->queues, j->queue),
			    j->spec.id, f->fn, f->arg, &refused) == 0;
	else
		refused = *e;
	if (!begun)
		f->fn(f->arg, &refused);
	job_free(j);
	free(f);
}

static int
follow(struct workers *w, const char *id, struct following with, struct err *e)
{
	struct following *f = xmalloc(sizeof(*f));

	*f = with;
	if (workers_read(w, id, on_follow_read, f, e) == 0)
		return 0;
	free(f);
	return -1;
}

int
workers_retry(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e)
{
	return follow(w, id, (struct following){w, queue_again, fn, arg}, e);
}

int
workers_start(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e)
{
	return follow(w, id, (struct following){w, queue_start, fn, arg}, e);
}

int
workers_delete(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e)
{
	return follow(w, id, (struct following){w, queue_forget, fn, arg}, e);
}

/* ---- pauses ---- */

static bool
is_drawn_from(struct workers *w, const char *queue)
{
	struct runner *r;

	RUNNERS_FOREACH (r, w->runners)
		if (r->conf.kind != KIND_SERVICE &&
		    !strcmp(runner_queue(r), queue))
			return true;
	return false;
}

int
workers_pause(struct workers *w, const char *name, bool pause, char queue[129],
    queue_fn fn, void *arg, struct err *e)
{
	const struct runner *r = runner_find(w->runners, name);
	bool known = is_drawn_from(w, name);

	if (!known && r) {
		r = runner_for_job(w, name, e);
		if (!r)
			return -1;
		name = runner_queue(r);
		known = true;
	}
	strlcpy(queue, name, 129);
	return queue_pause(
	    queue_open(w->queues, name), pause, known, fn, arg, e);
}

/* ---- listing; many at once ---- */

/* A runner that was removed may have left jobs. */
static const char *
queue_of(struct workers *w, const char *runner)
{
	const struct runner *r =
	    runner ? runner_find(w->runners, runner) : NULL;

	return r ? runner_queue(r) : runner;
}

int
workers_list(struct workers *w, struct page_wanted want, page_fn fn, void *arg,
    struct err *e)
{
	want.queue = queue_of(w, want.runner);
	return queues_list(w->queues, &want, fn, arg, e);
}

int
workers_bulk(struct workers *w, struct bulk_wanted want, bulk_fn fn, void *arg,
    struct err *e)
{
	want.queue = queue_of(w, want.runner);
	return queues_bulk(w->queues, &want, fn, arg, e);
}
