/*
 * Jobs that are over or go back, until Redis has it.
 *
 * The end of a job is two steps.  First the hash; only when Redis has taken
 * that, the claim goes off.  So a refusal in between (full, disk full)
 * leaves a claim that is found again, never a started job without one; it
 * is tried again by the function, which a full Redis does not refuse.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "turns.h"

#define TRIM_EACH 256 /* ends after which old ids are forgotten */
#define TRIM_COUNT 1000 /* ids forgotten at once */
#define SURPLUS_COUNT 200 /* jobs forgotten at once that are too many */
#define UNSETTLED_MAX (256 << 20) /* bytes of results kept in memory */

/* A job that is over or goes back, until Redis knows it. */
struct settle {
	TAILQ_ENTRY(settle) next, stored;
	RB_ENTRY(settle) entry;
	struct queue *queue;
	struct job *job;
	bool is_back;
	enum back how;
	bool sent;
	bool by_function; /* the plain way was refused */
	bool keep; /* Redis forgot: make the claim again first */
	bool is_news; /* nobody was told yet that it is over */
	long long fields; /* sent the plain way */
	void (*settled)(void *arg);
	void *arg;
};

/* An id may stand here twice: its job may have been queued again by
 * somebody before its last end was settled. */
static int
settle_compare(const struct settle *a, const struct settle *b)
{
	int order = strcmp(a->job->spec.id, b->job->spec.id);

	return order
	    ? order
	    : ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(settle_tree, settle, entry, settle_compare, LOCAL)

/* ---- over, or back ---- */

static void send_settle(struct settle *s);

/* The hash that says who has it, whoever takes it out of there decides. */
static const char *
own_of(const struct settle *s)
{
	return s->job->external ? s->queue->open : s->queue->own;
}

static size_t
settle_bytes(const struct settle *s)
{
	return s->job->result_len + s->job->payload_len;
}

/* Jobs may begin there that could not before: itself, or another one of its
 * concurrency_key. */
static bool
lets_go_on(const struct settle *s)
{
	return (s->is_back && s->how < BACK_RETRY) ||
	    s->job->spec.concurrency_key;
}

/* What has gone back waits again as if it were new. */
static void
remember(struct settle *s)
{
	if (!s->is_back)
		recent_job(s->queue, RECENT_ENDED, s->job);
	else if (*s->job->created_at && !job_is_over(s->job->status) &&
	    job_move(s->job, JOB_DISPATCHED, NULL) == 0)
		recent_job(s->queue, RECENT_CREATED, s->job);
	else
		job_free(s->job);
}

static void
settle_end(struct settle *s)
{
	struct queues *qs = s->queue->all;

	TAILQ_REMOVE(&qs->unsettled, s, next);
	RB_REMOVE(settle_tree, &qs->by_id, s);
	qs->nunsettled--;
	qs->unsettled_bytes -= settle_bytes(s);
	if (s->settled)
		s->settled(s->arg);
	if (s->is_back && s->how >= BACK_RETRY)
		queue_await_due(s->queue, s->job->due);
	if (lets_go_on(s))
		queue_may_go_on(s->queue);
	remember(s);
	free(s);
}

void
retry_soon(struct queues *qs)
{
	if (ev_is_active(&qs->retry))
		return;
	ev_timer_set(&qs->retry, RETRY, 0.);
	ev_timer_start(qs->loop, &qs->retry);
}

/* Refused or lost: it stays, and is sent again. */
static void
settle_later(struct settle *s, const struct redis_reply *reply)
{
	struct queues *qs = s->queue->all;

	s->sent = false;
	if (!reply)
		return;
	log_warnx("job %s: %s: Redis: %s", s->job->spec.id,
	    s->is_back ? "giving it back" : "keeping its end",
	    reply_text(reply, NULL));
	if (!s->is_back && !s->by_function) {
		s->by_function = true;
		send_settle(s);
	} else {
		retry_soon(qs);
	}
}

static void
tell_ended(struct queues *qs, const char *id)
{
	if (id && qs->ops && qs->ops->ended)
		qs->ops->ended(qs->arg, id);
}

void
queues_tell_ended(struct queues *qs, const struct redis_reply *ids)
{
	size_t i;

	for (i = 0; i < reply_count(ids); i++)
		tell_ended(qs, reply_text(reply_at(ids, i), NULL));
}

static void trim(struct queue *q);

static void
on_trimmed(void *arg, const struct redis_reply *reply)
{
	if (reply_number(reply) >= SURPLUS_COUNT)
		trim(arg);
}

static void
trim(struct queue *q)
{
	struct redis_words w;

	call_begin(&w, "herod_trim", 2);
	words_add(&w, q->index);
	words_add(&w, q->done);
	words_add_number(&w, now_ms());
	words_add_number(&w, TRIM_COUNT);
	if (q->keep > 0) {
		words_add(&w, q->all->ns);
		add_default_ttl(&w, q->all);
		words_add_number(&w, q->keep);
		words_add_number(&w, SURPLUS_COUNT);
	}
	redis_send(q->all->redis, &w, on_trimmed, q);
}

/* Few that are kept are seldom exceeded by many. */
static unsigned
trim_each(const struct queue *q)
{
	return q->keep > 0 && q->keep < TRIM_EACH * 8
	    ? (unsigned)(q->keep / 8 + 1)
	    : TRIM_EACH;
}

/* One has ended: now and then those are forgotten whose time is over, or that
 * are too many. */
void
queue_trim(struct queue *q)
{
	if (q->ends++ % trim_each(q) == 0)
		trim(q);
}

void
queue_set_keep(struct queue *q, long long jobs)
{
	if (q->keep == jobs)
		return;
	q->keep = jobs;
	q->ends = 0; /* at the next end */
	if (q->all->registered)
		trim(q);
}

static void
on_settled(void *arg, const struct redis_reply *reply)
{
	struct settle *s = arg;

	if (!reply || reply_is_error(reply)) {
		settle_later(s, reply);
		return;
	}
	queues_tell_ended(s->queue->all, reply_at(reply, 1));
	if (s->is_news)
		tell_ended(s->queue->all, s->job->spec.id);
	if (!s->is_back)
		queue_trim(s->queue);
	settle_end(s);
}

static void
on_released(void *arg, const struct redis_reply *reply)
{
	queues_tell_ended(arg, reply_at(reply, 1));
}

/* Somebody has begun to wait for it: "finished_at" was there, and fewer
 * fields than were sent are new.  Asked in vain when others were there. */
static void
release_waiting(const struct settle *s, const struct redis_reply *reply)
{
	struct queues *qs = s->queue->all;
	struct redis_words w;
	char key[KEY_MAX];

	if (reply_number(reply) >= s->fields - 1)
		return;
	call_begin(&w, "herod_released", 1);
	words_add(&w, job_key(qs, s->job->spec.id, key));
	words_add(&w, qs->ns);
	words_add(&w, s->job->spec.id);
	add_default_ttl(&w, qs);
	words_add_number(&w, now_ms());
	redis_send(qs->redis, &w, on_released, qs);
}

/* The hash says that it is over: now nobody needs the claim. */
static void
on_stored(void *arg, const struct redis_reply *reply)
{
	struct settle *s = arg;

	if (!reply || reply_is_error(reply)) {
		settle_later(s, reply);
		return;
	}
	release_waiting(s, reply);
	TAILQ_INSERT_TAIL(&s->queue->stored, s, stored);
	queue_collects(s->queue);
}

static void
send_time(const struct settle *s, long long ttl)
{
	struct queues *qs = s->queue->all;
	struct redis_words w;
	char key[KEY_MAX];

	words_begin(&w, "PEXPIRE");
	words_add(&w, job_key(qs, s->job->spec.id, key));
	words_add_number(&w, ttl);
	redis_send(qs->redis, &w, NULL, NULL);
}

static void
send_stored(struct queue *q, struct settle **all, size_t n)
{
	struct redis_words claims, done;
	long long ttl;
	size_t i;
	bool sent;

	words_begin(&claims, "HDEL");
	words_add(&claims, q->own);
	words_begin(&done, "ZADD");
	words_add(&done, q->done);
	for (i = 0; i < n; i++) {
		ttl = to_ms(ttl_of(q->all, all[i]->job));
		send_time(all[i], ttl);
		words_add(&claims, all[i]->job->spec.id);
		words_add_number(&done, now_ms() + ttl);
		words_add(&done, all[i]->job->spec.id);
	}
	sent = queue_send_for(q, &done, on_settled, (void *const *)all, n);
	if (sent) /* who is in no list is found by its claim */
		redis_send(q->all->redis, &claims, NULL, NULL);
	for (i = 0; i < n; i++)
		all[i]->sent = sent;
	if (!sent)
		retry_soon(q->all);
}

void
queue_send_stored(struct queue *q)
{
	struct settle *all[BATCH_MAX], *s;
	size_t n = 0;

	while ((s = TAILQ_FIRST(&q->stored))) {
		TAILQ_REMOVE(&q->stored, s, stored);
		all[n++] = s;
		if (n < BATCH_MAX && !TAILQ_EMPTY(&q->stored))
			continue;
		send_stored(q, all, n);
		n = 0;
	}
}

static void
finish_plainly(struct settle *s)
{
	struct redis_words w;
	char key[KEY_MAX];

	words_begin(&w, "HSET");
	words_add(&w, job_key(s->queue->all, s->job->spec.id, key));
	job_put_over(s->job, &w);
	s->fields = ((long long)w.n - 2) / 2;
	s->sent = redis_send_ahead(s->queue->all->redis, &w, on_stored, s);
}

static void
finish_by_function(struct settle *s)
{
	struct queues *qs = s->queue->all;
	const struct job *j = s->job;
	struct redis_words w;
	char key[KEY_MAX], reply[KEY_MAX];

	call_begin(&w, "herod_finish", 3);
	words_add(&w, job_key(qs, j->spec.id, key));
	words_add(&w, own_of(s));
	words_add(&w, s->queue->done);
	words_add(&w, qs->ns);
	words_add(&w, j->spec.id);
	words_add_number(&w, to_ms(ttl_of(qs, j)));
	words_add_number(&w, now_ms());
	add_default_ttl(&w, qs);
	words_add(&w, qs->node);
	words_add(&w, j->foreign ? reply_key(qs, j->spec.id, reply) : "");
	if (j->result)
		words_add_mem(&w, j->result, j->result_len);
	else
		words_add(&w, j->error ? j->error : "");
	job_put_over(j, &w);
	s->sent = redis_send(qs->redis, &w, on_settled, s);
}

/* Is tried again when it is due. */
static void
send_later(struct settle *s)
{
	struct queues *qs = s->queue->all;
	struct redis_words w;
	char key[KEY_MAX];

	call_begin(&w, "herod_try_later", 3);
	words_add(&w, job_key(qs, s->job->spec.id, key));
	words_add(&w, own_of(s));
	words_add(&w, s->queue->delay);
	words_add(&w, qs->ns);
	words_add(&w, s->job->spec.id);
	words_add_number(&w, s->job->due);
	words_add(&w, s->how == BACK_RETRY ? "retries_done" : "deferrals");
	job_put_failed(s->job, &w);
	s->sent = redis_send(qs->redis, &w, on_settled, s);
}

static void
send_back(struct settle *s)
{
	struct queues *qs = s->queue->all;
	struct redis_words w;
	char key[KEY_MAX];

	call_begin(&w, "herod_give_back", 2);
	words_add(&w, job_key(qs, s->job->spec.id, key));
	words_add(&w, own_of(s));
	words_add(&w, qs->ns);
	words_add(&w, s->job->spec.id);
	words_add(&w, s->how == BACK_DIED ? "1" : "0");
	add_default_ttl(&w, qs);
	words_add_number(&w, now_ms());
	words_add(&w, s->job->started_at);
	s->sent = redis_send(qs->redis, &w, on_settled, s);
}

/* Before the answer to what was sent behind it. */
static void
on_kept(void *arg, const char *id, bool kept)
{
	struct settle *s = arg;

	(void)id;
	(void)kept;
	s->keep = false;
}

static void
send_settle(struct settle *s)
{
	struct queues *qs = s->queue->all;

	if (!redis_is_up(qs->redis) || !qs->registered || qs->fence_held)
		return;
	if (s->keep)
		queue_keep(s->queue, s->job, "settling", on_kept, s);
	if (s->is_back && s->how >= BACK_RETRY)
		send_later(s);
	else if (s->is_back)
		send_back(s);
	else if (s->by_function || qs->is_unsure || qs->is_doubtful ||
	    s->job->foreign || s->job->external || s->job->spec.unique_key ||
	    s->job->spec.concurrency_key)
		finish_by_function(s);
	else
		finish_plainly(s);
	if (!s->sent)
		retry_soon(qs);
}

static struct settle *
settle_new(struct queue *q, struct job *stolen)
{
	struct settle *s = xcalloc(1, sizeof(*s));
	struct queues *qs = q->all;

	s->queue = q;
	s->job = stolen;
	TAILQ_INSERT_TAIL(&qs->unsettled, s, next);
	RB_INSERT(settle_tree, &qs->by_id, s);
	qs->nunsettled++;
	qs->unsettled_bytes += settle_bytes(s);
	return s;
}

/* Redis is away for long: rather lose one result, and say so, than all. */
static void
bound_memory(struct queues *qs, struct job *j)
{
	if (!j->result_len ||
	    qs->unsettled_bytes + j->result_len <= UNSETTLED_MAX)
		return;
	job_set_error(j,
	    "its result (%zu bytes) could not be kept while "
	    "Redis was away",
	    j->result_len);
	log_warnx("job %s: %s", j->spec.id, j->error);
	free(j->result);
	j->result = NULL;
	j->result_len = 0;
	j->status = JOB_ERROR;
}

void
queue_finish(
    struct queue *q, struct job *stolen, void (*settled)(void *arg), void *arg)
{
	struct settle *s;

	bound_memory(q->all, stolen);
	s = settle_new(q, stolen);
	s->settled = settled;
	s->arg = arg;
	send_settle(s);
}

/* Redis may have forgotten the job and its end. */
void
settle_again(struct queue *q, struct job *stolen, bool is_news)
{
	struct settle *s = settle_new(q, stolen);

	s->keep = s->by_function = true;
	s->is_news = is_news;
	send_settle(s);
}

void
queue_give_back(struct queue *q, struct job *stolen, enum back how,
    void (*settled)(void *arg), void *arg)
{
	struct settle *s = settle_new(q, stolen);

	s->is_back = true;
	s->how = how;
	s->settled = settled;
	s->arg = arg;
	send_settle(s);
}

static void
resend(struct queues *qs, bool forgot)
{
	struct settle *s, *next;

	TAILQ_FOREACH_SAFE (s, &qs->unsettled, next, next) {
		/* What was given back and forgotten needs its claim. */
		s->keep = s->keep ||
		    (forgot && s->is_back && *s->job->created_at &&
			!s->job->external);
		if (!s->sent)
			send_settle(s);
	}
}

void
queues_resend(struct queues *qs, bool forgot)
{
	qs->is_unsure = false;
	recents_replay(qs, forgot);
	resend(qs, forgot);
	spooled_send(qs);
}

void
settles_by_function(struct queues *qs)
{
	struct settle *s;

	TAILQ_FOREACH (s, &qs->unsettled, next)
		s->by_function = true;
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a queue");
	struct queues *qs = w->data;

	(void)loop;
	(void)revents;
	if (qs->must_replay && !qs->fence_held && redis_is_up(qs->redis))
		recents_replay(qs, false);
	resend(qs, false);
	spooled_send(qs);
}

bool
queues_is_settling(struct queues *qs, const char *id)
{
	struct settle *s = RB_ROOT(&qs->by_id);
	int order;

	while (s && (order = strcmp(id, s->job->spec.id)) != 0)
		s = order < 0 ? RB_LEFT(s, entry) : RB_RIGHT(s, entry);
	return s != NULL;
}

size_t
queues_unsettled(const struct queues *qs)
{
	return qs->nunsettled;
}

void
settles_init(struct queues *qs)
{
	RB_INIT(&qs->by_id);
	TAILQ_INIT(&qs->unsettled);
	ev_timer_init(&qs->retry, on_retry, 0., 0.);
	qs->retry.data = qs;
}

void
settles_free(struct queues *qs)
{
	struct settle *s;

	ev_timer_stop(qs->loop, &qs->retry);
	while ((s = TAILQ_FIRST(&qs->unsettled)))
		settle_end(s);
}
