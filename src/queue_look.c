/* What is known of jobs: one, a page of them, how many wait; and what may be
 * done to those that nobody has in hand. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "turns.h"

#define LOOKS 2000 /* ids one page may look at in one call */

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

	if (queues_refused(r->queues, reply, &e))
		r->fn(r->arg, NULL, &e);
	else
		r->fn(r->arg, job_from_hash(r->id, reply), NULL);
	free(r->id);
	free(r);
}

/* One that Redis does not have yet. */
struct found {
	ev_timer soon;
	struct job *job;
	job_fn fn;
	void *arg;
};

static void
on_found(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("answer about", "a job");
	struct found *f = timer->data;

	(void)loop;
	(void)revents;
	f->fn(f->arg, f->job, NULL);
	free(f);
}

static bool
read_spooled(struct queues *qs, const char *id, job_fn fn, void *arg)
{
	struct job *j = spooled_job(qs, id);
	struct found *f;

	if (!j)
		return false;
	f = xcalloc(1, sizeof(*f));
	f->job = j;
	f->fn = fn;
	f->arg = arg;
	ev_timer_init(&f->soon, on_found, 0., 0.);
	f->soon.data = f;
	ev_timer_start(qs->loop, &f->soon);
	return true;
}

int
queues_read(
    struct queues *qs, const char *id, job_fn fn, void *arg, struct err *e)
{
	struct reading *r;
	struct redis_words w;
	char key[KEY_MAX];

	if (read_spooled(qs, id, fn, arg))
		return 0;
	if (queues_away(qs, e))
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
	char *id;
	cancel_fn fn;
	void *arg;
};

static void
cancel_free(struct cancel *c)
{
	free(c->id);
	free(c);
}

/* What cancels it at once. */
static bool
is_waiting(const char *was)
{
	return was &&
	    (!strcmp(was, "created") || !strcmp(was, "dispatched") ||
		!strcmp(was, "waiting_for_prerequisites"));
}

static void
on_cancelled(void *arg, const struct redis_reply *reply)
{
	struct cancel *c = arg;
	const char *was = reply_text(reply_at(reply, 0), NULL);
	struct err e = {0};

	if (queues_refused(c->queue->all, reply, &e)) {
		c->fn(c->arg, NULL, &e);
	} else {
		queues_tell_ended(c->queue->all, reply_at(reply, 1));
		queue_trim(c->queue);
		if (is_waiting(was))
			recent_deed(c->queue, RECENT_CANCELLED, c->id);
		c->fn(c->arg, was, NULL);
	}
	cancel_free(c);
}

int
queue_cancel(struct queue *q, const struct job *j, cancel_fn fn, void *arg,
    struct err *e)
{
	struct queues *qs = q->all;
	struct cancel *c;
	struct redis_words w;
	char key[KEY_MAX], reply[KEY_MAX], now[TIME_TEXT_SIZE];

	if (spooled_cancel(qs, j->spec.id)) {
		fn(arg, "dispatched", NULL);
		return 0;
	}
	if (queues_away(qs, e))
		return -1;
	c = xcalloc(1, sizeof(*c));
	c->queue = q;
	c->id = xstrdup(j->spec.id);
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
	cancel_free(c);
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

	if (queues_refused(qs, reply, &e)) {
		; /* it was said */
	} else if (what && !strcmp(what, "none")) {
		job_refuse_missing(a->id, &e);
	} else if (what && !strcmp(what, "not")) {
		err_set(&e, ERR_ILLEGAL_MOVE, "job %s has not failed: it is %s",
		    a->id, status);
		err_subject(&e, a->id);
	} else if (what && status && !strcmp(what, "unique")) {
		refuse_unique(status, &e);
	} else {
		queue_may_go_on(a->queue);
		recent_deed(a->queue, RECENT_AGAIN, a->id);
	}
	queues_tell_ended(qs, reply_at(reply, 2));
	after_end(a, &e);
}

static void
on_forgotten(void *arg, const struct redis_reply *reply)
{
	struct after *a = arg;
	const char *status = reply_text(reply_at(reply, 0), NULL);
	struct err e = {0};

	if (queues_refused(a->queue->all, reply, &e)) {
		; /* it was said */
	} else if (!status || !*status) {
		job_refuse_missing(a->id, &e);
	} else if (strcmp(status, "finished") != 0 &&
	    strcmp(status, "error") != 0) {
		err_set(&e, ERR_ILLEGAL_MOVE,
		    "job %s cannot be deleted: it is %s", a->id, status);
		err_hint(&e, "job.stop ends it");
		err_subject(&e, a->id);
	} else {
		recent_deed(a->queue, RECENT_DELETED, a->id);
	}
	queues_tell_ended(a->queue->all, reply_at(reply, 1));
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

	if (queues_away(q->all, e))
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

	if (queues_away(q->all, e))
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

/* What a page tells of each job, behind status, reason and runner; the
 * function looks at the first. */
static const char *const page_fields[] = {"tags", "herod", "queue", "caller_id",
    "context_id", "executor", "timeout", "attempts", "deaths", "error", "exit",
    "node", "instance", "created_at", "started_at", "finished_at", "due",
    "priority", "prerequisites", "unique_key", "retries", "retries_done"};

#define NPAGE_FIELDS (sizeof(page_fields) / sizeof(*page_fields))

struct page {
	struct queues *queues;
	char *index; /* key, or NULL: of all queues */
	char *runner, *tag;
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
	free(p->tag);
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

	if (queues_refused(p->queues, reply, &e)) {
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
	words_add(&w, p->tag ? p->tag : "");
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

	if (queues_away(qs, e))
		return -1;
	p = xcalloc(1, sizeof(*p));
	p->queues = qs;
	p->index = want->queue ? own_key(qs, "jobs", want->queue) : NULL;
	p->runner = xstrdup(want->runner);
	p->tag = xstrdup(want->tag);
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
		d->v[i] = (struct queue_depth){-1, -1, 0, false, -1};
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
		v->paused = reply_number(reply_at(reply, 3)) == 1;
		v->elsewhere = reply_number(reply_at(reply, 4));
		created = reply_text(reply_at(reply, 1), NULL);
		if (!created || !text_time(created, &v->oldest))
			v->oldest = 0;
	}
	if (d->answered == d->sent)
		depths_end(d);
}

static bool
ask_depth(const struct queue *q, struct depths *d)
{
	struct queues *qs = q->all;
	char *draws = own_key(qs, "draws", q->name);
	struct redis_words w;
	bool sent;

	call_begin(&w, "herod_depth", 6);
	words_add(&w, q->high);
	words_add(&w, q->list);
	words_add(&w, q->low);
	words_add(&w, q->delay);
	words_add(&w, q->meta);
	words_add(&w, draws);
	words_add(&w, qs->ns);
	words_add(&w, q->name);
	words_add(&w, qs->id);
	sent = redis_send(qs->redis, &w, on_depth, d);
	free(draws);
	return sent;
}

void
queues_depths(struct queues *qs, const char *const *names, size_t n,
    depths_fn fn, void *arg)
{
	struct depths *d = xcalloc(1, sizeof(*d) + n * sizeof(*d->v));
	size_t i;

	d->n = n;
	d->fn = fn;
	d->arg = arg;
	for (i = 0; i < n; i++)
		if (!ask_depth(queue_open(qs, names[i]), d))
			break;
	d->sent = i;
	d->lost = i < n;
	if (!i)
		depths_end(d);
}

/* ---- the head ---- */

struct head {
	head_fn fn;
	void *arg;
};

static void
on_head(void *arg, const struct redis_reply *reply)
{
	struct head *h = arg;
	bool known = reply && !reply_is_error(reply) && reply_count(reply) == 2;

	h->fn(h->arg, known ? reply_text(reply_at(reply, 0), NULL) : NULL,
	    known ? reply_number(reply_at(reply, 1)) : 0);
	free(h);
}

bool
queue_head(struct queue *q, const char *id, head_fn fn, void *arg)
{
	struct head *h = xmalloc(sizeof(*h));
	struct redis_words w;

	*h = (struct head){fn, arg};
	call_begin(&w, "herod_head", 1);
	words_add(&w, q->list);
	words_add(&w, id ? id : "");
	if (redis_send(q->all->redis, &w, on_head, h))
		return true;
	free(h);
	return false;
}

/* ---- who draws from it ---- */

void
queue_tell_draws(const struct queue *q)
{
	struct queues *qs = q->all;
	struct redis_words w;
	char *key;

	if (!qs->registered || qs->timeout <= 0)
		return;
	key = own_key(qs, "draws", q->name);
	words_begin(&w, q->draws ? "HSET" : "HDEL");
	words_add(&w, key);
	words_add(&w, qs->id);
	if (q->draws)
		words_add(&w, qs->node);
	redis_send(qs->redis, &w, NULL, NULL);
	free(key);
}

void
queue_set_draws(struct queue *q, bool draws)
{
	if (q->draws == draws)
		return;
	q->draws = draws;
	if (draws)
		queue_announce(q);
	queue_tell_draws(q);
}
