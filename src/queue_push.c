/* Into a queue: plainly, or by a function when the job does not simply stand
 * in line. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "log.h"
#include "mem.h"

/* ---- into the queue ---- */

struct push {
	TAILQ_ENTRY(push) next; /* of those collected */
	struct queue *queue;
	char *id;
	struct job *job; /* or NULL */
	const struct job *begun; /* the caller's; it is not queued */
	char *claim; /* of that one */
	bool again; /* the job is the caller's */
	enum hindered hindered; /* then; else IS_REFUSED */
	queue_fn fn;
	void *arg;
	unsigned open; /* commands not yet answered */
	bool lost;
	bool named;
	bool held;
	struct err *e; /* or NULL; most have none, and it is large */
};

static void
push_free(struct push *p)
{
	if (!p->again)
		job_free(p->job);
	free(p->id);
	free(p->claim);
	free(p->e);
	free(p);
}

static struct err *
push_err(struct push *p)
{
	if (!p->e)
		p->e = xcalloc(1, sizeof(*p->e));
	return p->e;
}

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
	if (!q->external)
		return;
	words_begin(&w, "HDEL");
	words_add(&w, q->open);
	words_add(&w, p->id);
	redis_send(q->all->redis, &w, NULL, NULL);
}

void
queue_tell_created(struct queue *q, const char *id, bool queued)
{
	struct queues *qs = q->all;

	counter_add(jobs_queued, queued);
	if (qs->ops && qs->ops->created)
		qs->ops->created(qs->arg, q, id);
}

/* Of those that begin at once who began it has the job. */
static void
push_remember(struct push *p)
{
	if (!p->job)
		return;
	recent_job(p->queue, p->held ? RECENT_HELD : RECENT_CREATED, p->job);
	p->job = NULL;
}

/* To the spool, as Redis cannot take it. */
static bool
push_spooled(struct push *p)
{
	if (p->again || !p->job || !p->e || p->e->code != ERR_REDIS ||
	    queue_spool(p->queue, p->job, p->held, p->fn, p->arg, p->e) != 0)
		return false;
	p->job = NULL;
	push_free(p);
	return true;
}

static void
push_done(struct push *p)
{
	if (push_spooled(p))
		return;
	if (p->lost)
		err_hint(push_err(p),
		    "the job may have been queued; with an id of "
		    "your own you can safely ask again");
	else if (p->e && !p->named)
		undo_push(p);
	if (!p->e && !p->again) {
		queue_tell_created(p->queue, p->id, !p->held);
		push_remember(p);
	}
	p->fn(p->arg, p->e);
	push_free(p);
}

static void
on_pushed(void *arg, const struct redis_reply *reply)
{
	struct push *p = arg;

	if (!reply && !p->lost) {
		p->lost = true;
		err_clear(push_err(p));
	}
	if (!reply || reply_is_error(reply))
		queues_refused(p->queue->all, reply, push_err(p));
	if (!--p->open)
		push_done(p);
}

void
refuse_unique(const char *id, struct err *e)
{
	err_set(e, ERR_DUPLICATE, "job %s has that unique_key already", id);
	err_subject(e, id);
}

void
refuse_new(
    const struct queue *q, const char *what, const char *id, struct err *e)
{
	if (!strcmp(what, "full")) {
		err_set(e, ERR_QUEUE_FULL,
		    "queue %s is full: %s jobs wait, and max_queue is %lld",
		    q->name, id, q->limits.most);
		err_subject(e, q->name);
		return;
	}
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
		refuse_new(p->queue, what, id, push_err(p));
	else if (what && p->job->due > 0 && !p->held)
		queue_await_due(p->queue, p->job->due);
	on_pushed(p, reply);
}

static struct push *
push_new(struct queue *q, const char *id, queue_fn fn, void *arg)
{
	struct push *p = xcalloc(1, sizeof(*p));

	p->queue = q;
	p->id = xstrdup(id);
	p->fn = fn;
	p->arg = arg;
	return p;
}

static void
refuse_unsent(struct push *p)
{
	err_set(
	    push_err(p), ERR_REDIS, "Redis: too much waits to be sent to it");
}

static void
push_send(struct push *p, const struct redis_words *w, redis_fn fn)
{
	if (redis_send(p->queue->all->redis, w, fn, p))
		p->open++;
	else
		refuse_unsent(p);
}

/* Nothing could be sent: the refusal is the answer. */
static int
push_sent(struct push *p, struct err *e)
{
	if (p->open)
		return 0;
	if (e)
		*e = *p->e;
	push_free(p);
	return -1;
}

/* Its name is known before its first job is. */
void
queue_announce(struct queue *q)
{
	struct redis_words w;

	if (q->announced)
		return;
	words_begin(&w, "SADD");
	words_add(&w, q->all->names);
	words_add(&w, q->name);
	q->announced = redis_send(q->all->redis, &w, NULL, NULL);
}

static size_t
count_prerequisites(const struct job *j)
{
	size_t n = 0;

	while (j->spec.prerequisites && j->spec.prerequisites[n])
		n++;
	return n;
}

void
queue_add_create(struct redis_words *w, struct queue *q, const struct job *j,
    bool held, long long most)
{
	struct queues *qs = q->all;
	size_t i, n = count_prerequisites(j);

	words_add(w, qs->ns);
	words_add(w, j->spec.id);
	words_add_number(w, next_score(qs));
	words_add_number(w, now_ms());
	words_add_number(w, to_ms(j->spec.unique_for));
	words_add(w, held ? "1" : "0");
	words_add_number(w, most);
	words_add(w, q->name);
	words_add_number(w, (long long)n);
	for (i = 0; i < n; i++)
		words_add(w, j->spec.prerequisites[i]);
	job_put_asked(j, w);
}

static void
add_hindered(
    struct redis_words *w, const struct queues *qs, enum hindered hindered)
{
	if (hindered == IS_REFUSED)
		words_add(w, "");
	else
		add_default_ttl(w, qs);
	words_add(w, hindered == ENDS ? "1" : "");
}

static const char *
create_function(const struct push *p)
{
	if (p->hindered != IS_REFUSED)
		return "herod_create_late";
	return p->again ? "herod_create_again" : "herod_create";
}

static void
push_by_function(struct push *p)
{
	const struct job *j = p->job;
	struct queue *q = p->queue;
	struct redis_words w;
	char key[KEY_MAX], buf[KEY_MAX];
	const char *unique = unique_key(q, j, buf);

	p->named = true;
	call_begin(&w, create_function(p), unique ? 3 : 2);
	words_add(&w, job_key(q->all, p->id, key));
	words_add(&w, q->index);
	if (unique)
		words_add(&w, unique);
	if (p->hindered != IS_REFUSED)
		add_hindered(&w, q->all, p->hindered);
	queue_add_create(&w, q, j, p->held, p->again ? 0 : q->limits.most);
	push_send(p, &w, on_made);
}

/* ---- what simply stands in line, or begins at once: collected, for one
 * command about many ---- */

static void
push_collect(struct push *p)
{
	TAILQ_INSERT_TAIL(&p->queue->pushes, p, next);
	queue_collects(p->queue);
}

struct some {
	struct push *pushes[BATCH_MAX];
	size_t n;
};

/* A command about some of them, of which all wait for the reply. */
static void
send_some(struct queue *q, struct some *s, const struct redis_words *w)
{
	size_t i;
	bool sent;

	if (!s->n)
		return;
	sent = queue_send_for(q, w, on_pushed, (void *const *)s->pushes, s->n);
	for (i = 0; i < s->n; i++) {
		if (sent)
			s->pushes[i]->open++;
		else
			refuse_unsent(s->pushes[i]);
	}
}

static void
add_some(struct some *s, struct push *p, struct redis_words *w)
{
	s->pushes[s->n++] = p;
	words_add(w, p->id);
}

static void
send_claims(struct queue *q, const struct some *all)
{
	struct some begun = {.n = 0};
	struct redis_words w;
	size_t i;

	words_begin(&w, "HSET");
	words_add(&w, q->own);
	for (i = 0; i < all->n; i++) {
		if (!all->pushes[i]->begun)
			continue;
		add_some(&begun, all->pushes[i], &w);
		words_add(&w, all->pushes[i]->claim);
	}
	send_some(q, &begun, &w);
}

static void
send_jobs(struct queue *q, const struct some *all)
{
	const struct push *p;
	struct redis_words w;
	char key[KEY_MAX];
	size_t i;

	for (i = 0; i < all->n; i++) {
		p = all->pushes[i];
		words_begin(&w, "HSET");
		words_add(&w, job_key(q->all, p->id, key));
		job_put_asked(p->begun ? p->begun : p->job, &w);
		if (p->begun)
			job_put_started(p->begun, &w);
		push_send(all->pushes[i], &w, on_pushed);
	}
}

/* Who draws from it by himself may take them; before he can. */
static void
send_open(struct queue *q, struct some *queued)
{
	struct some same = {.n = 0};
	struct redis_words w;
	size_t i;

	words_begin(&w, "HSET");
	words_add(&w, q->open);
	for (i = 0; i < queued->n; i++) {
		add_some(&same, queued->pushes[i], &w);
		words_add(&w, "new");
	}
	send_some(q, &same, &w);
}

static void
send_rows(struct queue *q, const struct some *all)
{
	struct some queued = {.n = 0};
	struct redis_words w;
	size_t i;

	words_begin(&w, "RPUSH");
	words_add(&w, q->list);
	for (i = 0; i < all->n; i++)
		if (!all->pushes[i]->begun)
			add_some(&queued, all->pushes[i], &w);
	if (q->external)
		send_open(q, &queued);
	send_some(q, &queued, &w);
}

static void
send_index(struct queue *q, struct some *all)
{
	struct redis_words w;
	size_t i;

	words_begin(&w, "ZADD");
	words_add(&w, q->index);
	for (i = 0; i < all->n; i++) {
		words_add_number(&w, next_score(q->all));
		words_add(&w, all->pushes[i]->id);
	}
	send_some(q, all, &w);
}

static void
send_batch(struct queue *q, struct some *all)
{
	size_t i;

	if (!redis_is_up(q->all->redis)) {
		for (i = 0; i < all->n; i++)
			queues_away(q->all, push_err(all->pushes[i]));
	} else {
		send_claims(q, all);
		send_jobs(q, all);
		send_rows(q, all);
		send_index(q, all);
	}
	for (i = 0; i < all->n; i++)
		if (!all->pushes[i]->open)
			push_done(all->pushes[i]);
}

void
queue_send_pushes(struct queue *q)
{
	struct some some;
	struct push *p;

	while (!TAILQ_EMPTY(&q->pushes)) {
		some.n = 0;
		while (some.n < BATCH_MAX && (p = TAILQ_FIRST(&q->pushes))) {
			TAILQ_REMOVE(&q->pushes, p, next);
			some.pushes[some.n++] = p;
		}
		send_batch(q, &some);
	}
}

bool
refuse_key(const struct queue *q, const struct job *j, struct err *e)
{
	if (!q->external || !j->spec.concurrency_key)
		return false;
	err_set(e, ERR_PARAMS,
	    "job: concurrency_key is not for queue %s: its programs (kind "
	    "redis or external) take jobs by themselves",
	    q->name);
	return true;
}

/* 1: p may be sent; 0: Redis is away, and the job on the spool; -1: it is
 * refused. */
static int
push_begin(struct push **p, struct queue *q, struct job *stolen, bool held,
    queue_fn fn, void *arg, struct err *e)
{
	struct err why = {0};

	if (!refuse_key(q, stolen, &why) && !queues_away(q->all, &why)) {
		queue_announce(q);
		*p = push_new(q, stolen->spec.id, fn, arg);
		(*p)->job = stolen;
		(*p)->held = held;
		return 1;
	}
	if (why.code == ERR_REDIS &&
	    queue_spool(q, stolen, held, fn, arg, &why) == 0)
		return 0;
	job_free(stolen);
	if (e)
		*e = why;
	return -1;
}

int
queue_push(struct queue *q, struct job *stolen, bool named, queue_fn fn,
    void *arg, struct err *e)
{
	struct push *p;
	int begun = push_begin(&p, q, stolen, false, fn, arg, e);

	if (begun != 1)
		return begun;
	if (!named && job_stands_in_line(stolen) && q->limits.most == 0) {
		push_collect(p);
		return 0;
	}
	push_by_function(p);
	return push_sent(p, e);
}

int
queue_hold(
    struct queue *q, struct job *stolen, queue_fn fn, void *arg, struct err *e)
{
	struct push *p;
	int begun = push_begin(&p, q, stolen, true, fn, arg, e);

	if (begun != 1)
		return begun;
	push_by_function(p);
	return push_sent(p, e);
}

int
queue_push_again(struct queue *q, const struct job *j, bool held,
    enum hindered hindered, queue_fn fn, void *arg, struct err *e)
{
	struct push *p;

	if (queues_away(q->all, e))
		return -1;
	p = push_new(q, j->spec.id, fn, arg);
	p->job = (struct job *)j;
	p->again = true;
	p->hindered = hindered;
	p->held = held;
	push_by_function(p);
	return push_sent(p, e);
}

static void
refuse_start(const struct push *p, const struct redis_reply *reply,
    const char *what, struct err *e)
{
	const char *status = reply_text(reply_at(reply, 1), NULL);
	const char *reason = reply_text(reply_at(reply, 2), NULL);

	if (!strcmp(what, "none")) {
		job_refuse_missing(p->id, e);
	} else if (status && !strcmp(what, "not")) {
		err_set(e, ERR_ILLEGAL_MOVE,
		    "job %s cannot be started: it is %s", p->id,
		    job_status_word(job_status_of(status, reason)));
		err_subject(e, p->id);
	} else if (status) {
		refuse_new(p->queue, what, status, e);
	}
}

static void
on_start(void *arg, const struct redis_reply *reply)
{
	struct push *p = arg;
	struct queues *qs = p->queue->all;
	const char *what = reply_text(reply_at(reply, 0), NULL);
	long long due = reply_number(reply_at(reply, 2));
	struct err e = {0};

	if (!queues_refused(qs, reply, &e) && what && strcmp(what, "ok") != 0)
		refuse_start(p, reply, what, &e);
	if (!err_is_set(&e)) {
		counter_add(jobs_queued, 1);
		if (due > 0)
			queue_await_due(p->queue, due);
		queue_may_go_on(p->queue);
		recent_deed(p->queue, RECENT_STARTED, p->id);
	}
	p->fn(p->arg, err_is_set(&e) ? &e : NULL);
	push_free(p);
}

static int
start(struct queue *q, const char *id, long long most, enum hindered hindered,
    queue_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	struct push *p;
	char key[KEY_MAX];

	if (queues_away(q->all, e))
		return -1;
	p = push_new(q, id, fn, arg);
	call_begin(&w, "herod_start", 1);
	words_add(&w, job_key(q->all, id, key));
	words_add(&w, q->all->ns);
	words_add(&w, id);
	words_add_number(&w, now_ms());
	words_add_number(&w, most);
	words_add(&w, q->name);
	add_hindered(&w, q->all, hindered);
	push_send(p, &w, on_start);
	return push_sent(p, e);
}

int
queue_start(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e)
{
	return start(q, id, q->limits.most, IS_REFUSED, fn, arg, e);
}

int
queue_start_again(struct queue *q, const char *id, enum hindered hindered,
    queue_fn fn, void *arg, struct err *e)
{
	return start(q, id, 0, hindered, fn, arg, e);
}

int
queue_push_started(struct queue *q, struct job *j, const char *label,
    queue_fn fn, void *arg, struct err *e)
{
	struct push *p;
	char claim[KEY_MAX];

	if (queues_away(q->all, e))
		return -1;
	queue_announce(q);
	p = push_new(q, j->spec.id, fn, arg);
	j->epoch = q->all->epoch;
	j->sequence = q->all->sequence;
	claim_text(q->all, label, claim, sizeof(claim));
	p->claim = xstrdup(claim);
	p->begun = j;
	push_collect(p);
	return 0;
}
