/*
 * What Redis has acknowledged last, should it forget it.
 *
 * Where another server takes the place of the one before (failover to a
 * replica, a restart without all of its log), the end of what that one had
 * acknowledged may be missing.  So the last deeds are kept here, numbered, and
 * behind them goes a fence, NSd:seq:NODE with the last number: what is beyond
 * the number that the new server has is told to it again, in forms that do
 * nothing where it knows it.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

struct recent {
	TAILQ_ENTRY(recent) next;
	struct queues *all;
	struct queue *queue; /* or NULL: of a runner that was struck */
	enum recent_kind kind;
	long long number;
	bool untold; /* the last time it could not be told again */
	bool undone; /* by a cancel since, unless that is undone */
	char *id; /* of a job, "" for the queue, or a runner's name */
	struct job *job; /* or NULL */
	size_t bytes;
};

static void
recent_free(struct recent *r)
{
	job_free(r->job);
	free(r->id);
	free(r);
}

/* ---- keeping ---- */

static size_t
size_of(const struct recent *r)
{
	return sizeof(*r) +
	    (r->job ? sizeof(*r->job) + r->job->payload_len + r->job->result_len
		    : 0);
}

static struct recent *
take_out(struct queues *qs, struct recent *r)
{
	TAILQ_REMOVE(&qs->recents, r, next);
	qs->recent_bytes -= r->bytes;
	return r;
}

static void
bound(struct queues *qs)
{
	while (qs->recent_bytes > qs->recent_max)
		recent_free(take_out(qs, TAILQ_FIRST(&qs->recents)));
}

static void
keep(struct queues *qs, struct recent *r)
{
	r->number = ++qs->recent_number;
	r->bytes = size_of(r);
	TAILQ_INSERT_TAIL(&qs->recents, r, next);
	qs->recent_bytes += r->bytes;
	bound(qs);
	if (!qs->fence_held)
		ev_prepare_start(qs->loop, &qs->fence);
}

static bool
keeps(const struct queues *qs)
{
	return qs->timeout > 0 && qs->recent_max > 0;
}

static void
keep_new(struct queues *qs, struct queue *q, enum recent_kind kind,
    const char *id, struct job *stolen)
{
	struct recent *r = xcalloc(1, sizeof(*r));

	r->all = qs;
	r->queue = q;
	r->kind = kind;
	r->id = xstrdup(id);
	r->job = stolen;
	keep(qs, r);
}

void
recent_job(struct queue *q, enum recent_kind kind, struct job *stolen)
{
	if (keeps(q->all) && !stolen->external)
		keep_new(q->all, q, kind, stolen->spec.id, stolen);
	else
		job_free(stolen);
}

static bool
is_of_queue(const struct recent *r)
{
	return r->kind == RECENT_PAUSED || r->kind == RECENT_RESUMED;
}

static bool
is_of_runner(const struct recent *r)
{
	return r->kind == RECENT_ENROLLED || r->kind == RECENT_STRUCK;
}

static bool
is_of_job(const struct recent *r)
{
	return !is_of_queue(r) && !is_of_runner(r);
}

/* What makes that a job is over. */
static bool
is_end(const struct recent *r)
{
	return r->kind == RECENT_ENDED || r->kind == RECENT_CANCELLED;
}

/* What a deed makes of those before it, of the same job.  One that is deleted
 * must be over before. */
static void
outdo(struct recent *before, enum recent_kind kind)
{
	bool cancelled = before->kind == RECENT_CANCELLED;

	if ((kind == RECENT_DELETED && !is_end(before)) ||
	    (kind == RECENT_AGAIN && cancelled))
		recent_free(take_out(before->all, before));
	else if (before->kind != RECENT_DELETED)
		before->undone = kind == RECENT_CANCELLED;
}

void
recent_deed(struct queue *q, enum recent_kind kind, const char *id)
{
	struct recent *r, *next;

	if (!keeps(q->all))
		return;
	/* A start undoes nothing. */
	if (kind != RECENT_STARTED)
		TAILQ_FOREACH_SAFE (r, &q->all->recents, next, next)
			if (is_of_job(r) && !strcmp(r->id, id))
				outdo(r, kind);
	keep_new(q->all, q, kind, id, NULL);
}

/* Many at once look at what was before but once. */
void
recent_deeds(struct queue *q, enum recent_kind kind, json_t *ids)
{
	struct recent *r, *next;
	const char *id;
	json_t *value;

	if (!keeps(q->all) || json_object_size(ids) == 0)
		return;
	TAILQ_FOREACH_SAFE (r, &q->all->recents, next, next)
		if (is_of_job(r) && json_object_get(ids, r->id))
			outdo(r, kind);
	json_object_foreach (ids, id, value)
		keep_new(q->all, q, kind, id, NULL);
}

/* ---- what is one way or the other: the last word counts ---- */

/* Told by us, or by another herod: our word of before is not the last. */
static void
drop_word_on_queue(const struct queue *q)
{
	struct recent *r, *next;

	TAILQ_FOREACH_SAFE (r, &q->all->recents, next, next)
		if (is_of_queue(r) && r->queue == q)
			recent_free(take_out(q->all, r));
}

void
recent_pause(struct queue *q, bool paused)
{
	drop_word_on_queue(q);
	if (keeps(q->all))
		keep_new(q->all, q, paused ? RECENT_PAUSED : RECENT_RESUMED, "",
		    NULL);
}

/* Redis without its last words says nothing new. */
static bool
is_behind(const struct queues *qs)
{
	return qs->fence_held || qs->must_replay;
}

void
recent_pause_by_others(struct queue *q)
{
	if (!is_behind(q->all))
		drop_word_on_queue(q);
}

void
recent_enrol(struct queues *qs, const char *name, const char *queue)
{
	struct recent *r, *next;

	TAILQ_FOREACH_SAFE (r, &qs->recents, next, next)
		if (is_of_runner(r) && !strcmp(r->id, name))
			recent_free(take_out(qs, r));
	if (keeps(qs))
		keep_new(qs, queue ? queue_open(qs, queue) : NULL,
		    queue ? RECENT_ENROLLED : RECENT_STRUCK, name, NULL);
}

void
recent_enrol_by_others(struct queues *qs, const json_t *queues)
{
	const char *is, *was;
	struct recent *r, *next;

	TAILQ_FOREACH_SAFE (r, &qs->recents, next, next) {
		if (is_behind(qs) || !is_of_runner(r))
			continue;
		is = json_string_value(json_object_get(queues, r->id));
		was = r->queue ? r->queue->name : NULL;
		if (is && was ? strcmp(is, was) != 0 : is != was)
			recent_free(take_out(qs, r));
	}
}

/* ---- the fence ---- */

/* Once a turn of the loop, behind what this turn sent. */
static void
on_fence(struct ev_loop *loop, ev_prepare *w, int revents)
{
	DOING("commands for", "Redis");
	struct queues *qs = w->data;
	struct redis_words words;
	char text[64];

	(void)revents;
	ev_prepare_stop(loop, w);
	if (qs->fence_held || !redis_is_up(qs->redis))
		return;
	snprintf(
	    text, sizeof(text), "%lld %lld", qs->recent_run, qs->recent_number);
	words_begin(&words, "SET");
	words_add(&words, qs->fence_key);
	words_add(&words, text);
	redis_send(qs->redis, &words, NULL, NULL);
}

static void
on_seen_fence(void *arg, const struct redis_reply *reply)
{
	struct queues *qs = arg;
	const char *text = reply_text(reply, NULL);
	long long run, number;

	qs->recent_seen = 0;
	if (text && !reply_is_error(reply) &&
	    sscanf(text, "%lld %lld", &run, &number) == 2 &&
	    run == qs->recent_run)
		qs->recent_seen = number;
}

void
recents_look(struct queues *qs)
{
	struct redis_words w;

	qs->fence_held = true;
	words_begin(&w, "GET");
	words_add(&w, qs->fence_key);
	redis_send(qs->redis, &w, on_seen_fence, qs);
}

/* ---- telling it again ---- */

/* What a refusal names when it is no news: it is so already. */
static const char *
subject_of(const struct recent *r)
{
	return is_of_queue(r) ? r->queue->name : r->id;
}

bool
queues_may_be_told(const struct queues *qs)
{
	return qs->forgot_at > 0 &&
	    clock_monotonic() - qs->forgot_at < qs->timeout;
}

/* We had queued it ourselves, and a cancel has undone that. */
static bool
is_undone(const struct queues *qs, const char *id)
{
	const struct recent *r;

	TAILQ_FOREACH (r, &qs->recents, next)
		if (r->undone && !strcmp(r->id, id))
			return true;
	return false;
}

static bool
is_early(const struct recent *r, const struct err *e)
{
	if (!e || e->code == ERR_REDIS)
		return e != NULL;
	return e->code == ERR_NO_JOB && r->kind != RECENT_DELETED &&
	    queues_may_be_told(r->all) && !is_undone(r->all, r->id);
}

/* e: refused.  A deed without a job was kept anew by who has done it again. */
static void
told_again(struct recent *r, const struct err *e)
{
	struct queues *qs = r->all;
	struct queue *q = r->queue;
	bool later = is_early(r, e);

	TAILQ_REMOVE(&qs->replaying, r, next);
	if (e && !later && strcmp(e->subject, subject_of(r)) != 0)
		log_warnx("%s %s: Redis forgot it, and: %s",
		    is_of_queue(r)	  ? "queue"
			: is_of_runner(r) ? "runner"
					  : "job",
		    subject_of(r), e->text);
	r->untold = later;
	if (later || (!e && r->job))
		keep(qs, r);
	else
		recent_free(r);
	if (later) {
		qs->must_replay = true;
		retry_soon(qs);
	} else if (!e && q) {
		queue_may_go_on(q);
	}
}

static void
on_told(void *arg, const struct err *e)
{
	told_again(arg, e);
}

static void
on_cancel_told(void *arg, const char *was, const struct err *e)
{
	struct recent *r = arg;
	struct err none = {0};

	if (!e && !*was) {
		job_refuse_missing(r->id, &none);
		e = &none;
	}
	told_again(r, e);
}

static void
on_enrol_told(void *arg, const char *queue, const struct err *e)
{
	(void)queue;
	told_again(arg, e);
}

static int
cancel_again(struct recent *r, struct err *e)
{
	struct job j = {.spec.id = r->id};

	return queue_cancel(r->queue, &j, on_cancel_told, r, e);
}

static int
tell(struct recent *r, struct err *e)
{
	enum hindered hindered =
	    queues_may_be_told(r->all) ? ENDS_IF_FAILED : ENDS;

	switch (r->kind) {
	case RECENT_CREATED:
	case RECENT_HELD:
		return queue_push_again(r->queue, r->job,
		    r->kind == RECENT_HELD, hindered, on_told, r, e);
	case RECENT_STARTED:
		return queue_start_again(
		    r->queue, r->id, hindered, on_told, r, e);
	case RECENT_AGAIN:
		return queue_again(r->queue, r->id, on_told, r, e);
	case RECENT_CANCELLED:
		return cancel_again(r, e);
	case RECENT_DELETED:
		return queue_forget(r->queue, r->id, on_told, r, e);
	case RECENT_PAUSED:
	case RECENT_RESUMED:
		return queue_pause(
		    r->queue, r->kind == RECENT_PAUSED, true, on_told, r, e);
	case RECENT_ENROLLED:
		return queues_enrol(
		    r->all, r->id, r->queue->name, on_enrol_told, r, e);
	case RECENT_STRUCK:
		return queues_strike(r->all, r->id, on_told, r, e);
	case RECENT_ENDED:
		break;
	}
	return 0;
}

static void
tell_again(struct recent *r)
{
	struct queues *qs = r->all;
	struct err e = {0};

	take_out(qs, r);
	TAILQ_INSERT_TAIL(&qs->replaying, r, next);
	if (tell(r, &e) != 0)
		told_again(r, &e);
}

static void
end_again(struct recent *r)
{
	take_out(r->all, r);
	settle_again(r->queue, r->job, false);
	r->job = NULL;
	recent_free(r);
}

static bool
is_lacking(const struct queues *qs, const struct recent *r, bool forgot)
{
	return !r->undone &&
	    (r->untold || (forgot && r->number > qs->recent_seen));
}

/* What is in hand here was claimed again, and tells its own end. */
static bool
is_in_hand(const struct queues *qs, const struct recent *r)
{
	return is_of_job(r) && qs->ops && qs->ops->has &&
	    qs->ops->has(qs->arg, r->id);
}

/* Those of jobs that were over, which are told in their order. */
static bool
is_of_ended(const struct recent *r)
{
	return is_end(r) || r->kind == RECENT_AGAIN ||
	    r->kind == RECENT_DELETED;
}

/* last: what is kept from now on is not looked at. */
static size_t
replay(struct queues *qs, bool forgot, bool ended, long long last)
{
	struct recent *r, *next;
	size_t n = 0;

	TAILQ_FOREACH_SAFE (r, &qs->recents, next, next) {
		if (r->number > last || is_of_ended(r) != ended ||
		    !is_lacking(qs, r, forgot) || is_in_hand(qs, r))
			continue;
		if (r->kind == RECENT_ENDED)
			end_again(r);
		else
			tell_again(r);
		n++;
	}
	return n;
}

/* First what is over, so that it is not taken again, unless it was to be tried
 * again since, and is not in the way of another one of its id. */
void
recents_replay(struct queues *qs, bool forgot)
{
	long long last = qs->recent_number;
	size_t n = 0;

	qs->fence_held = false;
	if (forgot)
		qs->forgot_at = clock_monotonic();
	if (forgot || qs->must_replay) {
		qs->must_replay = false;
		n = replay(qs, forgot, true, last);
		n += replay(qs, forgot, false, last);
	}
	if (n && forgot)
		log_warnx("Redis does not know what it had acknowledged last: "
			  "%zu deed%s told again",
		    n, n == 1 ? " is" : "s are");
}

/* ---- its life ---- */

void
queues_set_replay(struct queues *qs, long long bytes)
{
	qs->recent_max = (size_t)bytes;
	bound(qs);
}

void
recents_init(struct queues *qs)
{
	TAILQ_INIT(&qs->recents);
	TAILQ_INIT(&qs->replaying);
	qs->recent_run = now_ms();
	qs->fence_key = own_key(qs, "seq", qs->id);
	qs->fence_held = true;
	ev_prepare_init(&qs->fence, on_fence);
	ev_set_priority(&qs->fence, 1); /* before what was sent leaves */
	qs->fence.data = qs;
}

void
recents_free(struct queues *qs)
{
	struct recent *r;

	ev_prepare_stop(qs->loop, &qs->fence);
	free(qs->fence_key);
	while ((r = TAILQ_FIRST(&qs->recents)))
		recent_free(take_out(qs, r));
	while ((r = TAILQ_FIRST(&qs->replaying))) {
		TAILQ_REMOVE(&qs->replaying, r, next);
		recent_free(r);
	}
}
