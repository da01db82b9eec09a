/* Out of a queue, and the claims that are made so. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "turns.h"

#define TAKE_LOOKS 1000 /* ids one take may pass over */

/* ---- out of the queue ---- */

struct take {
	struct queue *queue;
	take_fn fn;
	void *arg;
	char now[TIME_TEXT_SIZE];
	long long sequence; /* of the first */
	size_t n;
	char *labels[TAKE_MAX];
};

static void
take_free(struct take *t)
{
	while (t->n)
		free(t->labels[--t->n]);
	free(t);
}

/* As the function has just set it. */
static void
set_claimed(struct job *j, const struct take *t, const char *label)
{
	const char *slash = strchr(label, '/');

	job_move(j, JOB_STARTED, NULL);
	j->attempts++;
	j->epoch = t->queue->all->epoch;
	strlcpy(j->started_at, t->now, sizeof(j->started_at));
	free(j->node);
	j->node = xstrdup(t->queue->all->node);
	j->instance = slash ? atoi(slash + 1) : -1;
	free(j->queue);
	j->queue = xstrdup(t->queue->name);
}

static char *
joined(const char *prefix, const char *id, size_t len)
{
	size_t n = strlen(prefix);
	char *text = xmalloc(n + len + 1);

	memcpy(text, prefix, n);
	memcpy(text + n, id, len);
	text[n + len] = '\0';
	return text;
}

/* Others may queue any bytes, but workers, tags and keys take only ids. */
static void
refuse_id(struct queue *q, const char *id, size_t len)
{
	static const char why[] =
	    "its id is none: 1 to 128 of A-Z a-z 0-9 . _ : -";
	struct queues *qs = q->all;
	char *key = joined(qs->job_prefix, id, len);
	char reply_prefix[KEY_MAX], *reply;
	char now[TIME_TEXT_SIZE];
	struct redis_words w;

	log_warnx("queue %s: job '%.130s': %s", q->name, id, why);
	reply = joined(reply_key(qs, "", reply_prefix), id, len);
	call_begin(&w, "herod_finish", 3);
	words_add_mem(&w, key, strlen(qs->job_prefix) + len);
	words_add(&w, q->own);
	words_add(&w, q->done);
	words_add(&w, qs->ns);
	words_add_mem(&w, id, len);
	words_add_number(&w, to_ms(qs->result_ttl));
	words_add_number(&w, now_ms());
	add_default_ttl(&w, qs);
	words_add(&w, qs->node);
	words_add_mem(&w, reply, strlen(reply_prefix) + len);
	words_add(&w, why);
	words_add(&w, "status");
	words_add(&w, job_hero_word(JOB_ERROR));
	words_add(&w, "error");
	words_add(&w, why);
	words_add(&w, "finished_at");
	words_add(&w, time_text(ev_time(), now));
	redis_send(qs->redis, &w, NULL, NULL);
	free(key);
	free(reply);
}

static struct job *
taken_job(struct take *t, const struct redis_reply *pair, size_t i)
{
	size_t len = 0;
	const char *id = reply_text(reply_at(pair, 0), &len);
	struct job *j;

	if (!id)
		return NULL;
	if (strlen(id) != len || !id_is_valid(id)) {
		refuse_id(t->queue, id, len);
		return NULL;
	}
	j = job_from_hash(id, reply_at(pair, 1));
	if (!j)
		return NULL;
	set_claimed(j, t, t->labels[i]);
	j->sequence = t->sequence + (long long)i;
	return j;
}

/* NULL for those that are refused. */
static size_t
taken_jobs(struct take *t, const struct redis_reply *found, struct job **jobs)
{
	size_t i;

	for (i = 0; i < reply_count(found) && i < t->n; i++)
		jobs[i] = taken_job(t, reply_at(found, i), i);
	return i;
}

static void
on_rate(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "a queue");
	struct queue *q = timer->data;

	(void)loop;
	(void)revents;
	queue_may_go_on(q);
}

void
take_init(struct queue *q)
{
	ev_timer_init(&q->next, on_rate, 0., 0.);
	q->next.data = q;
}

/* No more begin by its rate_limit for so long; ms: 0 for those that may. */
static void
await_rate(struct queue *q, long long ms)
{
	if (ms <= 0)
		return;
	ev_timer_stop(q->all->loop, &q->next);
	ev_timer_set(&q->next, (double)ms / 1000, 0.);
	ev_timer_start(q->all->loop, &q->next);
}

void
queue_set_limits(struct queue *q, const struct queue_limits *limits)
{
	q->limits = *limits;
}

bool
queue_has_rate(const struct queue *q)
{
	return q->limits.rate > 0;
}

static void
on_taken(void *arg, const struct redis_reply *reply)
{
	struct take *t = arg;
	const struct redis_reply *lost = reply_at(reply, 2);
	struct job *jobs[TAKE_MAX];
	size_t i, n;

	if (queues_refused(t->queue->all, reply, NULL)) {
		t->fn(t->arg, NULL, 0, true);
	} else {
		for (i = 0; i < reply_count(lost); i++)
			log_warnx("queue %s: %s: there is no such job",
			    t->queue->name,
			    reply_text(reply_at(lost, i), NULL));
		n = taken_jobs(t, reply_at(reply, 1), jobs);
		await_rate(t->queue, reply_number(reply_at(reply, 4)));
		queue_set_paused(
		    t->queue, reply_number(reply_at(reply, 3)) == 1);
		t->fn(t->arg, jobs, n, reply_number(reply_at(reply, 0)));
	}
	take_free(t);
}

static struct take *
take_new(
    struct queue *q, const char *const *labels, size_t n, take_fn fn, void *arg)
{
	struct take *t = xcalloc(1, sizeof(*t));

	t->queue = q;
	t->fn = fn;
	t->arg = arg;
	t->sequence = q->all->sequence;
	time_text(ev_time(), t->now);
	while (t->n < n && t->n < TAKE_MAX) {
		t->labels[t->n] = xstrdup(labels[t->n]);
		t->n++;
	}
	q->all->sequence += (long long)t->n;
	return t;
}

static bool
take_send(struct take *t)
{
	struct queue *q = t->queue;
	struct queues *qs = q->all;
	struct redis_words w;
	char epoch[32];
	size_t i;

	snprintf(epoch, sizeof(epoch), "%lld", qs->epoch);
	call_begin(&w, "herod_take", 8);
	words_add(&w, q->high);
	words_add(&w, q->list);
	words_add(&w, q->low);
	words_add(&w, q->own);
	words_add(&w, q->index);
	words_add(&w, q->open);
	words_add(&w, q->meta);
	words_add(&w, q->rate);
	words_add(&w, qs->ns);
	words_add(&w, epoch);
	words_add_number(&w, t->sequence);
	words_add(&w, qs->node);
	words_add(&w, t->now);
	words_add_number(&w, next_score(qs));
	words_add_number(&w, TAKE_LOOKS);
	words_add(&w, q->name);
	words_add_number(&w, q->limits.key_concurrency);
	words_add_number(&w, q->limits.rate);
	words_add_number(&w, to_ms(q->limits.rate_period));
	for (i = 0; i < t->n; i++)
		words_add(&w, t->labels[i]);
	return redis_send(qs->redis, &w, on_taken, t);
}

bool
queue_take(
    struct queue *q, const char *const *labels, size_t n, take_fn fn, void *arg)
{
	struct take *t;

	if (!redis_is_up(q->all->redis) || !q->all->registered)
		return false;
	queue_announce(q);
	t = take_new(q, labels, n, fn, arg);
	if (take_send(t))
		return true;
	take_free(t);
	return false;
}

/* ---- claims ---- */

struct claims {
	LIST_ENTRY(claims) next; /* of those that were refused */
	struct queue *queue;
	claims_fn fn;
	void *arg;
};

static int
compare_claims(const void *one, const void *other)
{
	const struct claim *a = one, *b = other;

	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

static size_t
read_claims(const struct redis_reply *reply, struct claim *claims)
{
	const char *id, *value, *label;
	size_t i, n = 0;
	int at;

	for (i = 0; i + 1 < reply_count(reply); i += 2) {
		id = reply_text(reply_at(reply, i), NULL);
		value = reply_text(reply_at(reply, i + 1), NULL);
		at = 0;
		claims[n].epoch = claims[n].sequence = 0;
		if (!id || !value ||
		    sscanf(value, "%lld %lld %n", &claims[n].epoch,
			&claims[n].sequence, &at) < 2)
			at = 0;
		label = value ? value + at : "";
		claims[n].id = id;
		claims[n].label = label;
		n += id != NULL;
	}
	return n;
}

static void
tell_claims(struct claims *c, const struct redis_reply *reply)
{
	struct claim *claims =
	    xcalloc(reply_count(reply) / 2 + 1, sizeof(*claims));
	size_t n = read_claims(reply, claims);

	qsort(claims, n, sizeof(*claims), compare_claims);
	c->fn(c->arg, c->queue, claims, n);
	free(claims);
	free(c);
}

/* Nothing is begun before they are read. */
static void
ask_claims_later(struct claims *c)
{
	struct queues *qs = c->queue->all;

	LIST_INSERT_HEAD(&qs->refused_claims, c, next);
	if (ev_is_active(&qs->claims_again))
		return;
	ev_timer_set(&qs->claims_again, RETRY, 0.);
	ev_timer_start(qs->loop, &qs->claims_again);
}

static void
on_claims(void *arg, const struct redis_reply *reply)
{
	struct claims *c = arg;

	if (!queues_refused(c->queue->all, reply, NULL))
		tell_claims(c, reply);
	else if (reply)
		ask_claims_later(c);
	else
		free(c);
}

static void
ask_claims(struct claims *c)
{
	struct queue *q = c->queue;
	struct redis_words w;

	/* Known before the claims are, and so before a job begins. */
	queue_read_paused(q);
	words_begin(&w, "HGETALL");
	words_add(&w, q->own);
	if (!redis_send(q->all->redis, &w, on_claims, c))
		free(c);
}

static void
on_claims_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a queue");
	struct queues *qs = w->data;
	struct claims *c, *next;

	(void)loop;
	(void)revents;
	LIST_FOREACH_SAFE (c, &qs->refused_claims, next, next) {
		LIST_REMOVE(c, next);
		ask_claims(c);
	}
}

void
claims_init(struct queues *qs)
{
	LIST_INIT(&qs->refused_claims);
	ev_timer_init(&qs->claims_again, on_claims_again, 0., 0.);
	qs->claims_again.data = qs;
}

void
claims_forget(struct queues *qs)
{
	struct claims *c;

	ev_timer_stop(qs->loop, &qs->claims_again);
	while ((c = LIST_FIRST(&qs->refused_claims))) {
		LIST_REMOVE(c, next);
		free(c);
	}
}

void
queue_claims(struct queue *q, claims_fn fn, void *arg)
{
	struct claims *c = xcalloc(1, sizeof(*c));

	c->queue = q;
	c->fn = fn;
	c->arg = arg;
	ask_claims(c);
}

struct keeping {
	struct queues *queues;
	char *id;
	still_ours_fn fn;
	void *arg;
};

static void
on_kept(void *arg, const struct redis_reply *reply)
{
	struct keeping *k = arg;

	if (!queues_refused(k->queues, reply, NULL) && k->fn)
		k->fn(k->arg, k->id, reply_number(reply) == 1);
	free(k->id);
	free(k);
}

void
queue_keep(struct queue *q, const struct job *j, const char *label,
    still_ours_fn fn, void *arg)
{
	struct keeping *k = xcalloc(1, sizeof(*k));
	struct redis_words w;
	char key[KEY_MAX], claim[KEY_MAX];

	k->queues = q->all;
	k->id = xstrdup(j->spec.id);
	k->fn = fn;
	k->arg = arg;
	/* The old numbers, if any: they tell what its worker has got. */
	if (j->epoch)
		snprintf(claim, sizeof(claim), "%lld %lld %s", j->epoch,
		    j->sequence, label);
	else
		claim_text(q->all, label, claim, sizeof(claim));
	call_begin(&w, "herod_keep", 2);
	words_add(&w, job_key(q->all, j->spec.id, key));
	words_add(&w, q->own);
	words_add(&w, q->all->ns);
	words_add(&w, j->spec.id);
	words_add(&w, claim);
	words_add(&w, q->all->node);
	words_add(&w, q->name);
	words_add(&w, j->foreign ? "1" : "0");
	words_add_number(&w, next_score(q->all));
	job_put_asked(j, &w);
	job_put_started(j, &w);
	if (redis_send(q->all->redis, &w, on_kept, k))
		return;
	free(k->id);
	free(k);
}

void
queue_mark_stopping(struct queue *q, const struct job *j)
{
	struct redis_words w;
	char key[KEY_MAX];

	call_begin(&w, "herod_stopping", 2);
	words_add(&w, job_key(q->all, j->spec.id, key));
	words_add(&w, j->external ? q->open : q->own);
	words_add(&w, j->spec.id);
	/* When its program says "error", all herods know why. */
	words_add(&w, j->external ? job_status_word(JOB_CANCELLED) : "");
	redis_send(q->all->redis, &w, NULL, NULL);
}
