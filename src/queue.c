/*
 * Queues on Redis: keys, commands, and what waits until Redis has it.
 *
 * The hot ways (a new job for a free slot, the end of a job) are plain
 * pipelines, which cost Redis half of what its functions (queue.lua) do;
 * everything that reads before it writes is a function.
 *
 * The end of a job is two steps.  First the hash; only when Redis has taken
 * that, the claim goes off.  So a refusal in between (full, disk full)
 * leaves a claim that is found again, never a started job without one; it
 * is tried again by the function, which a full Redis does not refuse.
 */
#define LOG_MODULE "queue"
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/queue.h>
#include <sys/tree.h>

#include "counters.h"
#include "log.h"
#include "mem.h"
#include "queue_lua.h"

#define KEY_MAX 320
#define LOOKS 2000 /* ids one page may look at in one call */
#define TRIM_EACH 256 /* ends after which old ids are forgotten */
#define TRIM_COUNT 1000 /* ids forgotten at once */
#define TAKE_LOOKS 1000 /* ids one take may pass over */
#define RETRY 1.0 /* seconds after a refusal */
#define UNSETTLED_MAX (256 << 20) /* bytes of results kept in memory */
#define REPLY_KEPT "60"

/* A job that is over or goes back, until Redis knows it. */
struct settle {
	TAILQ_ENTRY(settle) next;
	RB_ENTRY(settle) entry;
	struct queue *queue;
	struct job *job;
	bool is_back;
	enum back how;
	bool sent;
	bool by_function; /* the plain way was refused */
	bool keep; /* Redis forgot: make the claim again first */
	long long fields; /* sent the plain way */
	void (*settled)(void *arg);
	void *arg;
};

TAILQ_HEAD(settle_list, settle);
RB_HEAD(settle_tree, settle);

struct queue {
	RB_ENTRY(queue) entry;
	struct queues *all;
	char *name;
	char *list, *high, *low, *own, *index, *done, *delay; /* keys */
	ev_periodic due; /* when the first of those that wait may begin */
	bool promoting, promote_again; /* asked; asked meanwhile */
	bool announced; /* is in the set of names */
	unsigned ends; /* since the last trim */
};

RB_HEAD(queue_tree, queue);

struct queues {
	struct ev_loop *loop;
	struct redis *redis;
	const struct queues_ops *ops;
	void *arg;
	char *ns, *node, *id;
	char *job_prefix, *list_prefix, *row_prefix, *delay_prefix, *names;
	double result_ttl;
	long long epoch, sequence, last_score;
	bool registered, watches_jobs;
	struct queue_tree tree;
	struct settle_list unsettled;
	struct settle_tree by_id;
	size_t nunsettled, unsettled_bytes;
	ev_timer retry;
	struct registering *refused; /* its registration, until again fires */
	ev_timer again;
};

static int
queue_compare(const struct queue *a, const struct queue *b)
{
	return strcmp(a->name, b->name);
}

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
RB_GENERATE_INTERNAL(queue_tree, queue, entry, queue_compare, LOCAL)
RB_GENERATE_INTERNAL(settle_tree, settle, entry, settle_compare, LOCAL)

/* ---- keys ---- */

static const char *
job_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	snprintf(buf, KEY_MAX, "%s%s", qs->job_prefix, id);
	return buf;
}

static const char *
reply_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	snprintf(buf, KEY_MAX, "%s:reply:%s", qs->ns, id);
	return buf;
}

/* NULL without one. */
static const char *
unique_key(const struct queue *q, const struct job *j, char buf[KEY_MAX])
{
	if (!j->spec.unique_key)
		return NULL;
	snprintf(buf, KEY_MAX, "%sd:uniq:%s:%s", q->all->ns, q->name,
	    j->spec.unique_key);
	return buf;
}

static char *
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
	free(q->name);
	free(q->list);
	free(q->high);
	free(q->low);
	free(q->delay);
	free(q->own);
	free(q->index);
	free(q->done);
	free(q);
}

/* ---- commands ---- */

static void
call_begin(struct redis_words *w, const char *function, long long nkeys)
{
	words_begin(w, "FCALL");
	words_add(w, function);
	words_add_number(w, nkeys);
}

static long long
now_ms(void)
{
	return llround(ev_time() * 1000);
}

/* Microseconds, later than all before: the order of jobs in lists. */
static long long
next_score(struct queues *qs)
{
	long long us = llround(ev_time() * 1e6);

	qs->last_score = us > qs->last_score ? us : qs->last_score + 1;
	return qs->last_score;
}

static double
ttl_of(const struct queues *qs, const struct job *j)
{
	return j->spec.result_ttl > 0 ? j->spec.result_ttl : qs->result_ttl;
}

/* Of seconds; what is not 0 does not become 0. */
static long long
to_ms(double seconds)
{
	return (long long)ceil(seconds * 1000);
}

static void
add_default_ttl(struct redis_words *w, const struct queues *qs)
{
	words_add_number(w, to_ms(qs->result_ttl));
}

/* "EPOCH SEQUENCE LABEL" */
static void
claim_text(struct queues *qs, const char *label, char *buf, size_t size)
{
	snprintf(buf, size, "%lld %lld %s", qs->epoch, qs->sequence++, label);
}

/* Away, in the words of a refusal; false when it is there. */
static bool
is_away(struct queues *qs, struct err *e)
{
	if (redis_is_up(qs->redis))
		return false;
	redis_refuse(qs->redis, NULL, e);
	return true;
}

/* A refusal from a reply (NULL: lost); false when the reply is good. */
static bool
is_refused(struct queues *qs, const struct redis_reply *reply, struct err *e)
{
	if (reply && !reply_is_error(reply))
		return false;
	if (reply)
		log_warnx("redis: %s", reply_text(reply, NULL));
	redis_refuse(qs->redis, reply, e);
	return true;
}

/* ---- until it is due ---- */

#define PROMOTE_MAX 200 /* jobs at once */

static void promote(struct queue *q);

static void
on_due(struct ev_loop *loop, ev_periodic *w, int revents)
{
	(void)loop;
	(void)revents;
	promote(w->data);
}

/* By the clock on the wall, which may be set meanwhile. */
static void
await_due(struct queue *q, long long due_ms)
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
	if (is_refused(qs, reply, NULL)) {
		if (reply)
			await_due(q, now_ms() + llround(RETRY * 1000));
		return;
	}
	if (reply_number(reply_at(reply, 0)) > 0 && qs->ops &&
	    qs->ops->given_back)
		qs->ops->given_back(qs->arg, q);
	if (next > 0)
		await_due(q, next);
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

/* ---- into the queue ---- */

struct push {
	struct queue *queue;
	char *id;
	long long due; /* of the job */
	queue_fn fn;
	void *arg;
	unsigned open; /* commands not yet answered */
	bool lost;
	bool named;
	struct err e;
};

static void
undo_push(struct push *p)
{
	struct queue *q = p->queue;
	struct redis_words w;
	char key[KEY_MAX];

	words_begin(&w, "DEL");
	words_add(&w, job_key(q->all, p->id, key));
	redis_send(q->all->redis, &w, NULL, NULL);
	words_begin(&w, "HDEL");
	words_add(&w, q->own);
	words_add(&w, p->id);
	redis_send(q->all->redis, &w, NULL, NULL);
	words_begin(&w, "LREM");
	words_add(&w, q->list);
	words_add(&w, "-1");
	words_add(&w, p->id);
	redis_send(q->all->redis, &w, NULL, NULL);
	words_begin(&w, "ZREM");
	words_add(&w, q->index);
	words_add(&w, p->id);
	redis_send(q->all->redis, &w, NULL, NULL);
}

static void
push_done(struct push *p)
{
	struct queues *qs = p->queue->all;

	if (p->lost)
		err_hint(&p->e,
		    "the job may have been queued; with an id of "
		    "your own you can safely ask again");
	else if (err_is_set(&p->e) && !p->named)
		undo_push(p);
	if (!err_is_set(&p->e)) {
		counter_add(jobs_queued, 1);
		if (qs->ops && qs->ops->created)
			qs->ops->created(qs->arg, p->queue, p->id);
	}
	p->fn(p->arg, err_is_set(&p->e) ? &p->e : NULL);
	free(p->id);
	free(p);
}

static void
on_pushed(void *arg, const struct redis_reply *reply)
{
	struct push *p = arg;

	if (!reply && !p->lost) {
		p->lost = true;
		err_clear(&p->e);
	}
	is_refused(p->queue->all, reply, &p->e);
	if (!--p->open)
		push_done(p);
}

static void
refuse_unique(const char *id, struct err *e)
{
	err_set(e, ERR_DUPLICATE, "job %s has that unique_key already", id);
	err_subject(e, id);
}

/* What was in the way of a new job. */
static void
refuse_new(struct push *p, const char *what, const char *id)
{
	struct err *e = &p->e;

	if (!strcmp(what, "exists")) {
		err_set(e, ERR_DUPLICATE, "a job with the id %s exists", id);
	} else if (!strcmp(what, "unique")) {
		refuse_unique(id, e);
	} else if (!strcmp(what, "missing")) {
		err_set(e, ERR_NO_JOB, "prerequisites: there is no job %s", id);
		err_hint(e, "ended jobs are forgotten after their result_ttl");
	} else if (!strcmp(what, "foreign")) {
		err_set(e, ERR_ILLEGAL_MOVE,
		    "prerequisites: job %s was not queued by herod: its end "
		    "is not known",
		    id);
	} else {
		err_set(e, ERR_ILLEGAL_MOVE,
		    "prerequisites: job %s has ended and did not finish", id);
	}
	err_subject(e, id);
}

static void
on_made(void *arg, const struct redis_reply *reply)
{
	struct push *p = arg;
	const char *what = reply_text(reply_at(reply, 0), NULL);
	const char *id = reply_text(reply_at(reply, 1), NULL);

	if (what && id && strcmp(what, "ok") != 0)
		refuse_new(p, what, id);
	else if (what && p->due > 0)
		await_due(p->queue, p->due);
	on_pushed(p, reply);
}

static struct push *
push_new(struct queue *q, const struct job *j, queue_fn fn, void *arg)
{
	struct push *p = xcalloc(1, sizeof(*p));

	p->queue = q;
	p->id = xstrdup(j->spec.id);
	p->due = j->due;
	p->fn = fn;
	p->arg = arg;
	return p;
}

static void
push_send(struct push *p, const struct redis_words *w, redis_fn fn)
{
	if (redis_send(p->queue->all->redis, w, fn, p))
		p->open++;
	else
		err_set(
		    &p->e, ERR_REDIS, "Redis: too much waits to be sent to it");
}

/* Nothing could be sent: the refusal is the answer. */
static int
push_sent(struct push *p, struct err *e)
{
	if (p->open)
		return 0;
	if (e)
		*e = p->e;
	free(p->id);
	free(p);
	return -1;
}

/* Its name is known before its first job is. */
static void
announce(struct queue *q)
{
	struct redis_words w;

	if (q->announced)
		return;
	words_begin(&w, "SADD");
	words_add(&w, q->all->names);
	words_add(&w, q->name);
	q->announced = redis_send(q->all->redis, &w, NULL, NULL);
}

static void
send_index(struct push *p)
{
	struct redis_words w;

	words_begin(&w, "ZADD");
	words_add(&w, p->queue->index);
	words_add_number(&w, next_score(p->queue->all));
	words_add(&w, p->id);
	push_send(p, &w, on_pushed);
}

static size_t
count_prerequisites(const struct job *j)
{
	size_t n = 0;

	while (j->spec.prerequisites && j->spec.prerequisites[n])
		n++;
	return n;
}

static void
push_by_function(struct push *p, const struct job *j)
{
	struct queue *q = p->queue;
	struct redis_words w;
	char key[KEY_MAX], buf[KEY_MAX];
	const char *unique = unique_key(q, j, buf);
	size_t i, n = count_prerequisites(j);

	p->named = true;
	call_begin(&w, "herod_create", unique ? 3 : 2);
	words_add(&w, job_key(q->all, p->id, key));
	words_add(&w, q->index);
	if (unique)
		words_add(&w, unique);
	words_add(&w, q->all->ns);
	words_add(&w, p->id);
	words_add_number(&w, next_score(q->all));
	words_add_number(&w, now_ms());
	words_add_number(&w, to_ms(j->spec.unique_for));
	words_add_number(&w, (long long)n);
	for (i = 0; i < n; i++)
		words_add(&w, j->spec.prerequisites[i]);
	job_put_asked(j, &w);
	push_send(p, &w, on_made);
}

static void
push_plain(struct push *p, const struct job *j)
{
	struct queue *q = p->queue;
	struct redis_words w;
	char key[KEY_MAX];

	words_begin(&w, "HSET");
	words_add(&w, job_key(q->all, p->id, key));
	job_put_asked(j, &w);
	push_send(p, &w, on_pushed);
	words_begin(&w, "RPUSH");
	words_add(&w, q->list);
	words_add(&w, p->id);
	push_send(p, &w, on_pushed);
	send_index(p);
}

int
queue_push(struct queue *q, const struct job *j, bool named, queue_fn fn,
    void *arg, struct err *e)
{
	struct push *p;

	if (is_away(q->all, e))
		return -1;
	announce(q);
	p = push_new(q, j, fn, arg);
	if (named || !job_stands_in_line(j))
		push_by_function(p, j);
	else
		push_plain(p, j);
	return push_sent(p, e);
}

int
queue_push_started(struct queue *q, struct job *j, const char *label,
    queue_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	struct push *p;
	char key[KEY_MAX], claim[KEY_MAX];

	if (is_away(q->all, e))
		return -1;
	announce(q);
	p = push_new(q, j, fn, arg);
	j->epoch = q->all->epoch;
	j->sequence = q->all->sequence;
	claim_text(q->all, label, claim, sizeof(claim));
	words_begin(&w, "HSET");
	words_add(&w, q->own);
	words_add(&w, p->id);
	words_add(&w, claim);
	push_send(p, &w, on_pushed);
	words_begin(&w, "HSET");
	words_add(&w, job_key(q->all, p->id, key));
	job_put_asked(j, &w);
	job_put_started(j, &w);
	push_send(p, &w, on_pushed);
	send_index(p);
	return push_sent(p, e);
}

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
on_taken(void *arg, const struct redis_reply *reply)
{
	struct take *t = arg;
	const struct redis_reply *lost = reply_at(reply, 2);
	struct job *jobs[TAKE_MAX];
	size_t i, n;

	if (is_refused(t->queue->all, reply, NULL)) {
		t->fn(t->arg, NULL, 0, true);
	} else {
		for (i = 0; i < reply_count(lost); i++)
			log_warnx("queue %s: %s: there is no such job",
			    t->queue->name,
			    reply_text(reply_at(lost, i), NULL));
		n = taken_jobs(t, reply_at(reply, 1), jobs);
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
	call_begin(&w, "herod_take", 5);
	words_add(&w, q->high);
	words_add(&w, q->list);
	words_add(&w, q->low);
	words_add(&w, q->own);
	words_add(&w, q->index);
	words_add(&w, qs->job_prefix);
	words_add(&w, epoch);
	words_add_number(&w, t->sequence);
	words_add(&w, qs->node);
	words_add(&w, t->now);
	words_add_number(&w, next_score(qs));
	words_add_number(&w, TAKE_LOOKS);
	words_add(&w, q->name);
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
	announce(q);
	t = take_new(q, labels, n, fn, arg);
	if (take_send(t))
		return true;
	take_free(t);
	return false;
}

/* ---- over, or back ---- */

static void send_settle(struct settle *s);

static size_t
settle_bytes(const struct settle *s)
{
	return s->job->result_len + s->job->payload_len;
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
		await_due(s->queue, s->job->due);
	else if (s->is_back && qs->ops && qs->ops->given_back)
		qs->ops->given_back(qs->arg, s->queue);
	job_free(s->job);
	free(s);
}

static void
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
tell_ended(struct queues *qs, const struct redis_reply *ids)
{
	const char *id;
	size_t i;

	for (i = 0; i < reply_count(ids); i++) {
		id = reply_text(reply_at(ids, i), NULL);
		if (id && qs->ops && qs->ops->ended)
			qs->ops->ended(qs->arg, id);
	}
}

/* One has ended: now and then those are forgotten whose time is over. */
static void
trim(struct queue *q)
{
	struct redis_words w;

	if (++q->ends % TRIM_EACH)
		return;
	call_begin(&w, "herod_trim", 2);
	words_add(&w, q->index);
	words_add(&w, q->done);
	words_add_number(&w, now_ms());
	words_add_number(&w, TRIM_COUNT);
	redis_send(q->all->redis, &w, NULL, NULL);
}

static void
on_settled(void *arg, const struct redis_reply *reply)
{
	struct settle *s = arg;

	if (!reply || reply_is_error(reply)) {
		settle_later(s, reply);
		return;
	}
	tell_ended(s->queue->all, reply_at(reply, 1));
	if (!s->is_back)
		trim(s->queue);
	settle_end(s);
}

static void
on_released(void *arg, const struct redis_reply *reply)
{
	tell_ended(arg, reply_at(reply, 1));
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
	struct queue *q = s->queue;
	struct redis_words w;
	char key[KEY_MAX];
	long long ttl = to_ms(ttl_of(q->all, s->job));

	if (!reply || reply_is_error(reply)) {
		settle_later(s, reply);
		return;
	}
	release_waiting(s, reply);
	words_begin(&w, "HDEL");
	words_add(&w, q->own);
	words_add(&w, s->job->spec.id);
	redis_send(q->all->redis, &w, NULL, NULL);
	words_begin(&w, "PEXPIRE");
	words_add(&w, job_key(q->all, s->job->spec.id, key));
	words_add_number(&w, ttl);
	redis_send(q->all->redis, &w, NULL, NULL);
	words_begin(&w, "ZADD");
	words_add(&w, q->done);
	words_add_number(&w, now_ms() + ttl);
	words_add(&w, s->job->spec.id);
	s->sent = redis_send(q->all->redis, &w, on_settled, s);
	if (!s->sent)
		retry_soon(q->all);
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
	s->sent = redis_send(s->queue->all->redis, &w, on_stored, s);
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
	words_add(&w, s->queue->own);
	words_add(&w, s->queue->done);
	words_add(&w, qs->ns);
	words_add(&w, j->spec.id);
	words_add_number(&w, to_ms(ttl_of(qs, j)));
	words_add_number(&w, now_ms());
	add_default_ttl(&w, qs);
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
	words_add(&w, s->queue->own);
	words_add(&w, s->queue->delay);
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
	words_add(&w, s->queue->own);
	words_add(&w, qs->ns);
	words_add(&w, s->job->spec.id);
	words_add(&w, s->how == BACK_DIED ? "1" : "0");
	add_default_ttl(&w, qs);
	words_add_number(&w, now_ms());
	s->sent = redis_send(qs->redis, &w, on_settled, s);
}

static void
send_settle(struct settle *s)
{
	struct queues *qs = s->queue->all;

	if (!redis_is_up(qs->redis) || !qs->registered)
		return;
	if (s->keep)
		queue_keep(s->queue, s->job, "settling");
	s->keep = false;
	if (s->is_back && s->how >= BACK_RETRY)
		send_later(s);
	else if (s->is_back)
		send_back(s);
	else if (s->by_function || s->job->foreign || s->job->spec.unique_key)
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

void
queues_resend(struct queues *qs, bool forgot)
{
	struct settle *s, *next;

	TAILQ_FOREACH_SAFE (s, &qs->unsettled, next, next) {
		/* What was given back and forgotten needs its claim. */
		s->keep =
		    s->keep || (forgot && s->is_back && *s->job->created_at);
		if (!s->sent)
			send_settle(s);
	}
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	queues_resend(w->data, false);
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

/* ---- claims ---- */

struct claims {
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
on_claims(void *arg, const struct redis_reply *reply)
{
	struct claims *c = arg;
	struct claim *claims;
	size_t n;

	if (!is_refused(c->queue->all, reply, NULL)) {
		claims = xcalloc(reply_count(reply) / 2 + 1, sizeof(*claims));
		n = read_claims(reply, claims);
		qsort(claims, n, sizeof(*claims), compare_claims);
		c->fn(c->arg, c->queue, claims, n);
		free(claims);
	}
	free(c);
}

void
queue_claims(struct queue *q, claims_fn fn, void *arg)
{
	struct claims *c = xcalloc(1, sizeof(*c));
	struct redis_words w;

	c->queue = q;
	c->fn = fn;
	c->arg = arg;
	words_begin(&w, "HGETALL");
	words_add(&w, q->own);
	if (!redis_send(q->all->redis, &w, on_claims, c))
		free(c);
}

void
queue_keep(struct queue *q, const struct job *j, const char *label)
{
	struct redis_words w;
	char key[KEY_MAX], claim[KEY_MAX];

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
	job_put_asked(j, &w);
	job_put_started(j, &w);
	redis_send(q->all->redis, &w, NULL, NULL);
}

void
queue_mark_stopping(struct queue *q, const char *id)
{
	struct redis_words w;
	char key[KEY_MAX];

	words_begin(&w, "HSET");
	words_add(&w, job_key(q->all, id, key));
	words_add(&w, "status");
	words_add(&w, job_hero_word(JOB_STOPPING));
	redis_send(q->all->redis, &w, NULL, NULL);
}

/* ---- looking ---- */

struct reading {
	struct queues *queues;
	char *id;
	job_fn fn;
	void *arg;
};

static void
on_read(void *arg, const struct redis_reply *reply)
{
	struct reading *r = arg;
	struct err e = {0};

	if (is_refused(r->queues, reply, &e))
		r->fn(r->arg, NULL, &e);
	else
		r->fn(r->arg, job_from_hash(r->id, reply), NULL);
	free(r->id);
	free(r);
}

int
queues_read(
    struct queues *qs, const char *id, job_fn fn, void *arg, struct err *e)
{
	struct reading *r;
	struct redis_words w;
	char key[KEY_MAX];

	if (is_away(qs, e))
		return -1;
	r = xcalloc(1, sizeof(*r));
	r->queues = qs;
	r->id = xstrdup(id);
	r->fn = fn;
	r->arg = arg;
	words_begin(&w, "HGETALL");
	words_add(&w, job_key(qs, id, key));
	if (redis_send(qs->redis, &w, on_read, r))
		return 0;
	free(r->id);
	free(r);
	return redis_refuse(qs->redis, NULL, e);
}

struct cancel {
	struct queue *queue;
	cancel_fn fn;
	void *arg;
};

static void
on_cancelled(void *arg, const struct redis_reply *reply)
{
	struct cancel *c = arg;
	struct err e = {0};

	if (is_refused(c->queue->all, reply, &e)) {
		c->fn(c->arg, NULL, &e);
	} else {
		tell_ended(c->queue->all, reply_at(reply, 1));
		trim(c->queue);
		c->fn(c->arg, reply_text(reply_at(reply, 0), NULL), NULL);
	}
	free(c);
}

int
queue_cancel(struct queue *q, const struct job *j, cancel_fn fn, void *arg,
    struct err *e)
{
	struct queues *qs = q->all;
	struct cancel *c;
	struct redis_words w;
	char key[KEY_MAX], reply[KEY_MAX], now[TIME_TEXT_SIZE];

	if (is_away(qs, e))
		return -1;
	c = xcalloc(1, sizeof(*c));
	c->queue = q;
	c->fn = fn;
	c->arg = arg;
	call_begin(&w, "herod_cancel", 1);
	words_add(&w, job_key(qs, j->spec.id, key));
	words_add(&w, qs->ns);
	words_add(&w, j->spec.id);
	words_add(&w, time_text(ev_time(), now));
	words_add_number(&w, to_ms(ttl_of(qs, j)));
	words_add_number(&w, now_ms());
	words_add(&w, reply_key(qs, j->spec.id, reply));
	words_add(&w, q->name);
	add_default_ttl(&w, qs);
	if (redis_send(qs->redis, &w, on_cancelled, c))
		return 0;
	free(c);
	return redis_refuse(qs->redis, NULL, e);
}

/* ---- after the end ---- */

struct after {
	struct queue *queue;
	char *id;
	queue_fn fn;
	void *arg;
};

static void
after_end(struct after *a, const struct err *e)
{
	a->fn(a->arg, err_is_set(e) ? e : NULL);
	free(a->id);
	free(a);
}

static void
on_again(void *arg, const struct redis_reply *reply)
{
	struct after *a = arg;
	struct queues *qs = a->queue->all;
	const char *what = reply_text(reply_at(reply, 0), NULL);
	const char *status = reply_text(reply_at(reply, 1), NULL);
	struct err e = {0};

	if (is_refused(qs, reply, &e)) {
		; /* it was said */
	} else if (what && !strcmp(what, "none")) {
		job_refuse_missing(a->id, &e);
	} else if (what && !strcmp(what, "not")) {
		err_set(&e, ERR_ILLEGAL_MOVE, "job %s has not failed: it is %s",
		    a->id, status);
		err_subject(&e, a->id);
	} else if (what && status && !strcmp(what, "unique")) {
		refuse_unique(status, &e);
	} else if (qs->ops && qs->ops->given_back) {
		qs->ops->given_back(qs->arg, a->queue);
	}
	tell_ended(qs, reply_at(reply, 2));
	after_end(a, &e);
}

static void
on_forgotten(void *arg, const struct redis_reply *reply)
{
	struct after *a = arg;
	const char *status = reply_text(reply_at(reply, 0), NULL);
	struct err e = {0};

	if (is_refused(a->queue->all, reply, &e)) {
		; /* it was said */
	} else if (!status || !*status) {
		job_refuse_missing(a->id, &e);
	} else if (strcmp(status, "finished") != 0 &&
	    strcmp(status, "error") != 0) {
		err_set(&e, ERR_ILLEGAL_MOVE,
		    "job %s cannot be deleted: it is %s", a->id, status);
		err_hint(&e, "job.stop ends it");
		err_subject(&e, a->id);
	}
	tell_ended(a->queue->all, reply_at(reply, 1));
	after_end(a, &e);
}

static int
after_send(
    struct after *a, const struct redis_words *w, redis_fn reply, struct err *e)
{
	struct queues *qs = a->queue->all;

	if (redis_send(qs->redis, w, reply, a))
		return 0;
	free(a->id);
	free(a);
	return redis_refuse(qs->redis, NULL, e);
}

static struct after *
after_new(struct queue *q, const char *id, queue_fn fn, void *arg)
{
	struct after *a = xcalloc(1, sizeof(*a));

	a->queue = q;
	a->id = xstrdup(id);
	a->fn = fn;
	a->arg = arg;
	return a;
}

int
queue_again(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	char key[KEY_MAX];

	if (is_away(q->all, e))
		return -1;
	call_begin(&w, "herod_again", 1);
	words_add(&w, job_key(q->all, id, key));
	words_add(&w, q->all->ns);
	words_add(&w, id);
	words_add_number(&w, now_ms());
	add_default_ttl(&w, q->all);
	return after_send(after_new(q, id, fn, arg), &w, on_again, e);
}

int
queue_forget(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	char key[KEY_MAX];

	if (is_away(q->all, e))
		return -1;
	call_begin(&w, "herod_forget", 3);
	words_add(&w, job_key(q->all, id, key));
	words_add(&w, q->index);
	words_add(&w, q->done);
	words_add(&w, q->all->ns);
	words_add(&w, id);
	words_add_number(&w, now_ms());
	add_default_ttl(&w, q->all);
	return after_send(after_new(q, id, fn, arg), &w, on_forgotten, e);
}

/* ---- pages ---- */

/* What a page tells of each job, behind status, reason and runner. */
static const char *const page_fields[] = {"herod", "queue", "caller_id",
    "context_id", "executor", "timeout", "attempts", "deaths", "error", "exit",
    "node", "instance", "created_at", "started_at", "finished_at", "due",
    "priority", "prerequisites", "unique_key", "retries", "retries_done",
    "tags"};

#define NPAGE_FIELDS (sizeof(page_fields) / sizeof(*page_fields))

struct page {
	struct queues *queues;
	char *index; /* key, or NULL: of all queues */
	char *runner;
	int status;
	long long limit;
	char score[64], id[130]; /* where it goes on */
	json_t *jobs;
	page_fn fn;
	void *arg;
};

static void
page_free(struct page *p)
{
	json_decref(p->jobs);
	free(p->index);
	free(p->runner);
	free(p);
}

static void
page_end(struct page *p, const struct err *e)
{
	json_t *cursor = json_null(), *answer = NULL;

	if (!e && *p->score)
		cursor = json_sprintf("%s:%s", p->score, p->id);
	if (!e)
		answer =
		    json_pack("{s:O, s:o}", "jobs", p->jobs, "cursor", cursor);
	p->fn(p->arg, answer, e);
	page_free(p);
}

static void
page_add(struct page *p, const struct redis_reply *found)
{
	const struct redis_reply *values = reply_at(found, 1);
	const char *id = reply_text(reply_at(found, 0), NULL), *text, *status;
	struct job *j;
	size_t i, len;

	status = reply_text(reply_at(values, 0), NULL);
	if (!id || !status)
		return;
	j = job_new();
	j->spec.id = xstrdup(id);
	j->status =
	    job_status_of(status, reply_text(reply_at(values, 1), NULL));
	for (i = 2; i < reply_count(values); i++) {
		text = reply_text(reply_at(values, i), &len);
		if (text)
			job_set_field(j, i == 2 ? "runner" : page_fields[i - 3],
			    text, len);
	}
	if (!j->queue && j->spec.runner)
		j->queue = xstrdup(j->spec.runner);
	json_array_append_new(p->jobs, job_json(j, true));
	job_free(j);
}

static int page_send(struct page *p);

static void
on_page(void *arg, const struct redis_reply *reply)
{
	struct page *p = arg;
	const struct redis_reply *place = reply_at(reply, 0);
	const struct redis_reply *found = reply_at(reply, 1);
	const char *score = reply_text(reply_at(place, 0), NULL);
	const char *id = reply_text(reply_at(place, 1), NULL);
	struct err e = {0};
	size_t i;

	if (is_refused(p->queues, reply, &e)) {
		page_end(p, &e);
		return;
	}
	for (i = 0; i < reply_count(found); i++)
		page_add(p, reply_at(found, i));
	strlcpy(p->score, score ? score : "", sizeof(p->score));
	strlcpy(p->id, id ? id : "", sizeof(p->id));
	if (!*p->score || (long long)json_array_size(p->jobs) >= p->limit)
		page_end(p, NULL);
	else if (page_send(p) == -1)
		page_end(p, (redis_refuse(p->queues->redis, NULL, &e), &e));
}

/* " REASON REASON... ": all that refine that word of Hero's. */
static const char *
refined(const char *hero_word, char *buf, size_t size)
{
	enum job_status s;

	strlcpy(buf, " ", size);
	for (s = 0; s < JOB_STATUSES; s++)
		if (!strcmp(job_hero_word(s), hero_word) &&
		    strcmp(job_status_word(s), hero_word)) {
			strlcat(buf, job_status_word(s), size);
			strlcat(buf, " ", size);
		}
	return buf;
}

static int
page_send(struct page *p)
{
	struct redis_words w;
	const char *reason = "", *status = "";
	char *prefix = own_key(p->queues, "jobs", ""), reasons[256];
	bool sent;
	size_t i;

	if (p->status >= 0) {
		status = job_hero_word(p->status);
		if (strcmp(status, job_status_word(p->status)))
			reason = job_status_word(p->status);
	}
	call_begin(&w, "herod_list", 1);
	words_add(&w, p->index ? p->index : p->queues->names);
	words_add(&w, p->queues->job_prefix);
	words_add(&w, p->runner ? p->runner : "");
	words_add(&w, status);
	words_add(&w, reason);
	words_add(&w, refined(status, reasons, sizeof(reasons)));
	words_add_number(&w, p->limit - (long long)json_array_size(p->jobs));
	words_add_number(&w, LOOKS);
	words_add(&w, *p->score ? p->score : "+inf");
	words_add(&w, p->id);
	words_add(&w, p->index ? "" : prefix);
	for (i = 0; i < NPAGE_FIELDS; i++)
		words_add(&w, page_fields[i]);
	sent = redis_send(p->queues->redis, &w, on_page, p);
	free(prefix);
	return sent ? 0 : -1;
}

/* "SCORE:ID" */
static int
read_cursor(struct page *p, const char *cursor, struct err *e)
{
	const char *colon = strchr(cursor, ':');
	char *end;
	double score = strtod(cursor, &end);

	if (!colon || end != colon || !isfinite(score) ||
	    (size_t)(colon - cursor) >= sizeof(p->score) ||
	    !id_is_valid(colon + 1))
		return err_set(
		    e, ERR_PARAMS, "cursor: not one that jobs.list gave");
	strlcpy(p->score, cursor, (size_t)(colon - cursor) + 1);
	strlcpy(p->id, colon + 1, sizeof(p->id));
	return 0;
}

int
queues_list(struct queues *qs, const struct page_wanted *want, page_fn fn,
    void *arg, struct err *e)
{
	struct page *p;
	int result = -1;

	if (is_away(qs, e))
		return -1;
	p = xcalloc(1, sizeof(*p));
	p->queues = qs;
	p->index = want->queue ? own_key(qs, "jobs", want->queue) : NULL;
	p->runner = xstrdup(want->runner);
	p->status = want->status;
	p->limit = want->limit;
	p->jobs = json_array();
	p->fn = fn;
	p->arg = arg;
	if (!want->cursor || read_cursor(p, want->cursor, e) == 0) {
		result = page_send(p);
		if (result == -1)
			redis_refuse(qs->redis, NULL, e);
	}
	if (result == -1)
		page_free(p);
	return result;
}

/* ---- depths ---- */

struct depths {
	size_t n, sent, answered;
	bool lost;
	depths_fn fn;
	void *arg;
	struct queue_depth v[];
};

static void
depths_end(struct depths *d)
{
	size_t i;

	for (i = 0; d->lost && i < d->n; i++)
		d->v[i] = (struct queue_depth){-1, -1, 0};
	d->fn(d->arg, d->v, d->n);
	free(d);
}

static void
on_depth(void *arg, const struct redis_reply *reply)
{
	struct depths *d = arg;
	struct queue_depth *v = &d->v[d->answered++];
	const char *created;

	if (!reply || reply_is_error(reply)) {
		d->lost = true;
	} else {
		v->jobs = reply_number(reply_at(reply, 0));
		v->scheduled = reply_number(reply_at(reply, 2));
		created = reply_text(reply_at(reply, 1), NULL);
		if (!created || !text_time(created, &v->oldest))
			v->oldest = 0;
	}
	if (d->answered == d->sent)
		depths_end(d);
}

void
queues_depths(struct queues *qs, const char *const *names, size_t n,
    depths_fn fn, void *arg)
{
	struct depths *d = xcalloc(1, sizeof(*d) + n * sizeof(*d->v));
	struct redis_words w;
	struct queue *q;
	size_t i;

	d->n = n;
	d->fn = fn;
	d->arg = arg;
	for (i = 0; i < n; i++) {
		q = queue_open(qs, names[i]);
		call_begin(&w, "herod_depth", 4);
		words_add(&w, q->high);
		words_add(&w, q->list);
		words_add(&w, q->low);
		words_add(&w, q->delay);
		words_add(&w, qs->job_prefix);
		if (!redis_send(qs->redis, &w, on_depth, d))
			break;
	}
	d->sent = i;
	d->lost = i < n;
	if (!i)
		depths_end(d);
}

/* ---- who we are ---- */

static char *
read_node_id(const char *path)
{
	char id[JOB_ID_SIZE + 1] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return NULL;
	n = read(fd, id, sizeof(id) - 1);
	close(fd);
	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	return strlen(id) == JOB_ID_SIZE - 1 && id_is_valid(id) ? xstrdup(id)
								: NULL;
}

static int
write_node_id(const char *path, const char *id)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool good;

	if (fd == -1)
		return -1;
	good = dprintf(fd, "%s\n", id) > 0 && fsync(fd) == 0;
	return close(fd) == 0 && good ? 0 : -1;
}

char *
queues_node_id(const char *state_dir, struct err *e)
{
	char *path = xasprintf("%s/node.id", state_dir);
	char *id = read_node_id(path), made[JOB_ID_SIZE];

	if (!id) {
		job_make_id(made);
		if (write_node_id(path, made) == 0)
			id = xstrdup(made);
		else
			err_set(
			    e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
	}
	free(path);
	return id;
}

/* Redis is asked again after a refusal (a full disk, say): without an answer
 * no job would ever be taken. */
struct registering {
	struct queues *queues;
	void (*fn)(void *arg, const char *name);
	void *arg;
};

/* Lost: it is asked again when Redis is back. */
static void
register_later(struct registering *r, bool refused)
{
	struct queues *qs = r->queues;

	if (!refused || qs->refused) {
		free(r);
		return;
	}
	qs->refused = r;
	ev_timer_set(&qs->again, RETRY, 0.);
	ev_timer_start(qs->loop, &qs->again);
}

static void
on_begun(void *arg, const struct redis_reply *reply)
{
	struct registering *r = arg;
	const struct redis_reply *names = reply_at(reply, 1);
	struct queues *qs = r->queues;
	const char *name;
	size_t i;

	if (is_refused(qs, reply, NULL)) {
		register_later(r, reply != NULL);
		return;
	}
	qs->epoch = reply_number(reply_at(reply, 0));
	qs->registered = true;
	log_info("node %s (%s): epoch %lld", qs->id, qs->node, qs->epoch);
	for (i = 0; i < reply_count(names); i++) {
		name = reply_text(reply_at(names, i), NULL);
		if (name && name_is_valid(name))
			r->fn(r->arg, name);
	}
	queues_promote(qs);
	r->fn(r->arg, NULL);
	free(r);
}

static void
send_registration(struct registering *r)
{
	struct queues *qs = r->queues;
	struct redis_words w;
	struct queue *q;
	char *key = own_key(qs, "node", qs->id);

	RB_FOREACH (q, queue_tree, &qs->tree)
		q->announced = q->promoting = q->promote_again = false;
	call_begin(&w, "herod_begin", 2);
	words_add(&w, key);
	words_add(&w, qs->names);
	words_add(&w, qs->node);
	words_add(&w, qs->registered ? "0" : "1");
	if (!redis_send(qs->redis, &w, on_begun, r))
		free(r);
	free(key);
}

static void
on_register_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct queues *qs = w->data;
	struct registering *r = qs->refused;

	(void)loop;
	(void)revents;
	qs->refused = NULL;
	send_registration(r);
}

static void
forget_refused(struct queues *qs)
{
	ev_timer_stop(qs->loop, &qs->again);
	free(qs->refused);
	qs->refused = NULL;
}

void
queues_register(
    struct queues *qs, void (*fn)(void *arg, const char *name), void *arg)
{
	struct registering *r = xcalloc(1, sizeof(*r));

	forget_refused(qs);
	r->queues = qs;
	r->fn = fn;
	r->arg = arg;
	send_registration(r);
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
queues_promote(struct queues *qs)
{
	struct queue *q;

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
	if ((name = behind(qs->list_prefix, key, len)) ||
	    (name = behind(qs->row_prefix, key, len)))
		return find_row(qs, name);
	name = behind(qs->delay_prefix, key, len);
	q = name ? find_row(qs, name) : NULL;
	if (q)
		promote(q);
	return NULL;
}

void
queues_watch_jobs(struct queues *qs)
{
	if (!qs->watches_jobs)
		redis_add_bell(qs->redis, qs->job_prefix);
	qs->watches_jobs = true;
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
	qs->names = xasprintf("%sd:queues", ns);
	qs->result_ttl = result_ttl;
	RB_INIT(&qs->tree);
	RB_INIT(&qs->by_id);
	TAILQ_INIT(&qs->unsettled);
	ev_timer_init(&qs->retry, on_retry, 0., 0.);
	ev_timer_init(&qs->again, on_register_again, 0., 0.);
	qs->retry.data = qs->again.data = qs;
	redis_set_library(redis, "herod", queue_lua);
	redis_add_bell(redis, qs->list_prefix);
	redis_add_bell(redis, qs->row_prefix);
	redis_add_bell(redis, qs->delay_prefix);
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
	struct settle *s;
	struct queue *q;

	qs->ops = NULL;
	while ((s = TAILQ_FIRST(&qs->unsettled)))
		settle_end(s);
	while ((q = RB_MIN(queue_tree, &qs->tree))) {
		RB_REMOVE(queue_tree, &qs->tree, q);
		queue_free(q);
	}
	ev_timer_stop(qs->loop, &qs->retry);
	forget_refused(qs);
	free(qs->ns);
	free(qs->node);
	free(qs->id);
	free(qs->job_prefix);
	free(qs->list_prefix);
	free(qs->row_prefix);
	free(qs->delay_prefix);
	free(qs->names);
	free(qs);
}
