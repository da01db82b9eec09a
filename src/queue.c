/*
 * Queues on Redis: keys, commands, what is due, the bell.
 *
 * The hot ways (a new job for a free slot, the end of a job) are plain
 * pipelines, which cost Redis half of what its functions (queue.lua) do;
 * everything that reads before it writes is a function.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "queue_lua.h"
#include "turns.h"

static int
queue_compare(const struct queue *a, const struct queue *b)
{
	return strcmp(a->name, b->name);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(queue_tree, queue, entry, queue_compare, LOCAL)

/* ---- keys ---- */

const char *
job_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	text_put(buf, KEY_MAX, text_put(buf, KEY_MAX, 0, qs->job_prefix), id);
	return buf;
}

const char *
reply_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	snprintf(buf, KEY_MAX, "%s:reply:%s", qs->ns, id);
	return buf;
}

/* NULL without one. */
const char *
unique_key(const struct queue *q, const struct job *j, char buf[KEY_MAX])
{
	if (!j->spec.unique_key)
		return NULL;
	snprintf(buf, KEY_MAX, "%sd:uniq:%s:%s", q->all->ns, q->name,
	    j->spec.unique_key);
	return buf;
}

char *
own_key(const struct queues *qs, const char *kind, const char *name)
{
	return xasprintf("%sd:%s:%s", qs->ns, kind, name);
}

static void on_due(struct ev_loop *loop, ev_periodic *w, int revents);

struct queue *
queue_open(struct queues *qs, const char *name)
{
	struct queue wanted = {.name = (char *)name}, *q;

	q = RB_FIND(queue_tree, &qs->tree, &wanted);
	if (q)
		return q;
	q = xcalloc(1, sizeof(*q));
	q->all = qs;
	q->name = xstrdup(name);
	q->list = xasprintf("%s%s", qs->list_prefix, name);
	q->high = xasprintf("%s%s:high", qs->row_prefix, name);
	q->low = xasprintf("%s%s:low", qs->row_prefix, name);
	q->delay = xasprintf("%s%s", qs->delay_prefix, name);
	ev_periodic_init(&q->due, on_due, 0., 0., NULL);
	q->due.data = q;
	q->own = xasprintf("%sd:own:%s:%s", qs->ns, name, qs->id);
	q->index = own_key(qs, "jobs", name);
	q->done = own_key(qs, "done", name);
	q->open = own_key(qs, "open", name);
	q->meta = own_key(qs, "meta", name);
	q->rate = own_key(qs, "rate", name);
	q->limits.key_concurrency = 1;
	take_init(q);
	TAILQ_INIT(&q->pushes);
	TAILQ_INIT(&q->stored);
	RB_INSERT(queue_tree, &qs->tree, q);
	return q;
}

const char *
queue_name(const struct queue *q)
{
	return q->name;
}

static void
queue_free(struct queue *q)
{
	ev_periodic_stop(q->all->loop, &q->due);
	ev_timer_stop(q->all->loop, &q->next);
	free(q->name);
	free(q->list);
	free(q->high);
	free(q->low);
	free(q->delay);
	free(q->own);
	free(q->index);
	free(q->done);
	free(q->open);
	free(q->meta);
	free(q->rate);
	free(q);
}

/* ---- commands ---- */

void
call_begin(struct redis_words *w, const char *function, long long nkeys)
{
	words_begin(w, "FCALL");
	words_name(w, function);
	words_add(w, function);
	words_add_number(w, nkeys);
}

long long
now_ms(void)
{
	return llround(ev_time() * 1000);
}

/* Microseconds, later than all before: the order of jobs in lists. */
long long
next_score(struct queues *qs)
{
	long long us = llround(ev_time() * 1e6);

	qs->last_score = us > qs->last_score ? us : qs->last_score + 1;
	return qs->last_score;
}

double
ttl_of(const struct queues *qs, const struct job *j)
{
	return j->spec.result_ttl > 0 ? j->spec.result_ttl : qs->result_ttl;
}

/* Of seconds; what is not 0 does not become 0. */
long long
to_ms(double seconds)
{
	return (long long)ceil(seconds * 1000);
}

void
add_default_ttl(struct redis_words *w, const struct queues *qs)
{
	words_add_number(w, to_ms(qs->result_ttl));
}

/* "EPOCH SEQUENCE LABEL" */
void
claim_text(struct queues *qs, const char *label, char *buf, size_t size)
{
	size_t at = text_put_number(buf, size, 0, qs->epoch);

	at = text_put(buf, size, at, " ");
	at = text_put_number(buf, size, at, qs->sequence++);
	at = text_put(buf, size, at, " ");
	text_put(buf, size, at, label);
}

/* Away, in the words of a refusal; false when it is there. */
bool
queues_away(struct queues *qs, struct err *e)
{
	if (redis_is_up(qs->redis))
		return false;
	redis_refuse(qs->redis, NULL, e);
	return true;
}

#define TELL_EVERY 10. /* seconds: clients may ask in a loop */

static void
tell_refusal(struct queues *qs, const char *why)
{
	double at = clock_monotonic();

	if (at - qs->told_at < TELL_EVERY &&
	    !strncmp(why, qs->told, sizeof(qs->told) - 1))
		return;
	qs->told_at = at;
	strlcpy(qs->told, why, sizeof(qs->told));
	log_warnx("redis: %s", why);
}

/* A refusal from a reply (NULL: lost); false when the reply is good. */
bool
queues_refused(
    struct queues *qs, const struct redis_reply *reply, struct err *e)
{
	if (reply && !reply_is_error(reply))
		return false;
	if (reply)
		tell_refusal(qs, reply_text(reply, NULL));
	redis_refuse(qs->redis, reply, e);
	return true;
}

void
queue_may_go_on(struct queue *q)
{
	struct queues *qs = q->all;

	if (qs->ops && qs->ops->given_back)
		qs->ops->given_back(qs->arg, q);
}

/* ---- until it is due ---- */

#define PROMOTE_MAX 200 /* jobs at once */

static void promote(struct queue *q);

static void
on_due(struct ev_loop *loop, ev_periodic *w, int revents)
{
	DOING("timer of", "a queue");
	(void)loop;
	(void)revents;
	promote(w->data);
}

/* By the clock on the wall, which may be set meanwhile. */
void
queue_await_due(struct queue *q, long long due_ms)
{
	double at = (double)due_ms / 1000;

	if (ev_is_active(&q->due) && q->due.offset <= at)
		return;
	ev_periodic_stop(q->all->loop, &q->due);
	ev_periodic_set(&q->due, at, 0., NULL);
	ev_periodic_start(q->all->loop, &q->due);
}

static void
on_promoted(void *arg, const struct redis_reply *reply)
{
	struct queue *q = arg;
	struct queues *qs = q->all;
	long long next = reply_number(reply_at(reply, 1));

	q->promoting = false;
	if (queues_refused(qs, reply, NULL)) {
		if (reply)
			queue_await_due(q, now_ms() + llround(RETRY * 1000));
		return;
	}
	if (reply_number(reply_at(reply, 0)) > 0)
		queue_may_go_on(q);
	if (next > 0)
		queue_await_due(q, next);
	if (q->promote_again)
		promote(q);
}

/* Puts into the queue what is due, and learns when to look again. */
static void
promote(struct queue *q)
{
	struct redis_words w;

	q->promote_again = q->promoting;
	if (q->promoting || !redis_is_up(q->all->redis))
		return;
	call_begin(&w, "herod_promote", 1);
	words_add(&w, q->delay);
	words_add(&w, q->all->ns);
	words_add_number(&w, now_ms());
	words_add_number(&w, PROMOTE_MAX);
	q->promoting = redis_send(q->all->redis, &w, on_promoted, q);
}

void
queues_forget_asked(struct queues *qs)
{
	struct queue *q;

	RB_FOREACH (q, queue_tree, &qs->tree)
		q->announced = q->promoting = q->promote_again = false;
}

void
queues_tell_external(struct queues *qs)
{
	struct queue *q;

	RB_FOREACH (q, queue_tree, &qs->tree)
		if (q->external)
			queue_tell_external(q);
}

void
queues_tell_draws(struct queues *qs)
{
	struct queue *q;

	RB_FOREACH (q, queue_tree, &qs->tree)
		queue_tell_draws(q);
}

/* ---- the bell ---- */

/* What comes behind the prefix; NULL when it is not there. */
static const char *
behind(const char *prefix, const char *key, size_t len)
{
	size_t n = strlen(prefix);

	return len > n && !strncmp(key, prefix, n) ? key + n : NULL;
}

/* QUEUE:high, QUEUE:low; a name has no colon. */
static struct queue *
find_row(struct queues *qs, const char *row)
{
	char *name = xstrndup(row, strcspn(row, ":"));
	struct queue wanted = {.name = name}, *q;

	q = RB_FIND(queue_tree, &qs->tree, &wanted);
	free(name);
	return q;
}

void
queues_catch_up(struct queues *qs)
{
	struct queue *q;

	queues_read_mail(qs);
	RB_FOREACH (q, queue_tree, &qs->tree)
		promote(q);
}

struct queue *
queues_rung(struct queues *qs, const char *key, size_t len, const char **id)
{
	const char *name;
	struct queue *q;

	*id = behind(qs->job_prefix, key, len);
	if (*id)
		return NULL;
	if (qs->inbox && !strcmp(key, qs->inbox)) {
		queues_read_mail(qs);
		return NULL;
	}
	if (!strcmp(key, qs->runners)) {
		if (qs->ops && qs->ops->enrolled)
			qs->ops->enrolled(qs->arg);
		return NULL;
	}
	if ((name = behind(qs->list_prefix, key, len)) ||
	    (name = behind(qs->row_prefix, key, len)))
		return find_row(qs, name);
	if ((name = behind(qs->meta_prefix, key, len)) &&
	    (q = find_row(qs, name)))
		queue_read_paused(q);
	if ((name = behind(qs->delay_prefix, key, len)) &&
	    (q = find_row(qs, name)))
		promote(q);
	return NULL;
}

bool
queues_watch_jobs(struct queues *qs)
{
	if (qs->watches_jobs)
		return false;
	redis_add_bell(qs->redis, qs->job_prefix);
	qs->watches_jobs = true;
	return true;
}

/* ---- making ---- */

void
queues_set_result_ttl(struct queues *qs, double result_ttl)
{
	qs->result_ttl = result_ttl;
}

struct queues *
queues_new(struct ev_loop *loop, struct redis *redis, const char *ns,
    const char *node, const char *id, double result_ttl)
{
	struct queues *qs = xcalloc(1, sizeof(*qs));

	qs->loop = loop;
	qs->redis = redis;
	qs->ns = xstrdup(ns);
	qs->node = xstrdup(node);
	qs->id = xstrdup(id);
	qs->job_prefix = xasprintf("%s:job:", ns);
	qs->list_prefix = xasprintf("%s:work_queue:", ns);
	qs->row_prefix = xasprintf("%sd:q:", ns);
	qs->delay_prefix = xasprintf("%sd:delay:", ns);
	qs->meta_prefix = xasprintf("%sd:meta:", ns);
	qs->names = xasprintf("%sd:queues", ns);
	qs->runners = xasprintf("%sd:runners", ns);
	qs->result_ttl = result_ttl;
	RB_INIT(&qs->tree);
	TAILQ_INIT(&qs->collecting);
	settles_init(qs);
	recents_init(qs);
	spooled_init(qs);
	nodes_init(qs);
	claims_init(qs);
	redis_set_library(redis, "herod", queue_lua);
	redis_add_bell(redis, qs->list_prefix);
	redis_add_bell(redis, qs->row_prefix);
	redis_add_bell(redis, qs->delay_prefix);
	redis_add_bell(redis, qs->meta_prefix);
	redis_add_bell(redis, qs->runners);
	return qs;
}

void
queues_set_ops(struct queues *qs, const struct queues_ops *ops, void *arg)
{
	qs->ops = ops;
	qs->arg = arg;
}

void
queues_free(struct queues *qs)
{
	struct queue *q;

	qs->ops = NULL;
	settles_free(qs);
	spooled_end(qs);
	recents_free(qs);
	while ((q = RB_MIN(queue_tree, &qs->tree))) {
		RB_REMOVE(queue_tree, &qs->tree, q);
		queue_free(q);
	}
	nodes_free(qs);
	claims_forget(qs);
	free(qs->ns);
	free(qs->node);
	free(qs->id);
	free(qs->job_prefix);
	free(qs->list_prefix);
	free(qs->row_prefix);
	free(qs->delay_prefix);
	free(qs->meta_prefix);
	free(qs->names);
	free(qs->runners);
	free(qs->inbox);
	free(qs);
}
