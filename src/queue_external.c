/* What programs do that draw from a queue themselves, the Hero way, as far as
 * Redis shows it. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "type.h"

#define SWEEP_MAX 500 /* ids at once */
#define UNBEGUN_MAX 64
#define STOP_KEPT "3600" /* seconds after the last wish */

void
queue_tell_external(struct queue *q)
{
	struct redis_words w;
	char *key = own_key(q->all, "external", q->name);

	words_begin(&w, q->external ? "HSET" : "HDEL");
	words_add(&w, key);
	words_add(&w, q->all->id);
	if (q->external)
		words_add(&w, q->all->node);
	redis_send(q->all->redis, &w, NULL, NULL);
	free(key);
}

void
queue_set_external(struct queue *q, bool external)
{
	if (q->external == external)
		return;
	q->external = external;
	if (q->all->registered)
		queue_tell_external(q);
}

/* ---- one of them has changed a job ---- */

struct observing {
	struct queues *queues;
	char *id;
	observed_fn fn;
	void *arg;
};

static enum observed
observed_of(const char *what)
{
	static const struct {
		const char *word;
		enum observed what;
	} words[] = {{"new", OBSERVED_NEW}, {"begun", OBSERVED_BEGUN},
	    {"suspect", OBSERVED_SUSPECT}, {"orphan", OBSERVED_ORPHAN},
	    {"over", OBSERVED_OVER}};
	size_t i;

	for (i = 0; what && i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i].word, what))
			return words[i].what;
	return OBSERVED_NOTHING;
}

static void
on_observed(void *arg, const struct redis_reply *reply)
{
	struct observing *o = arg;
	enum observed what = observed_of(reply_text(reply_at(reply, 0), NULL));
	struct job *j;

	if (queues_refused(o->queues, reply, NULL)) {
		o->fn(o->arg, o->id, OBSERVED_LOST, 0, NULL);
	} else {
		j = job_from_hash(o->id, reply_at(reply, 2));
		if (j)
			j->external = true;
		if (j && what == OBSERVED_OVER && !job_is_over(j->status))
			j->status = JOB_ERROR; /* it may be tried again */
		o->fn(o->arg, o->id, what, reply_number(reply_at(reply, 1)), j);
	}
	free(o->id);
	free(o);
}

bool
queues_observe(struct queues *qs, const char *id, observed_fn fn, void *arg)
{
	struct observing *o = xcalloc(1, sizeof(*o));
	struct redis_words w;
	char key[KEY_MAX], now[TIME_TEXT_SIZE];

	o->queues = qs;
	o->id = xstrdup(id);
	o->fn = fn;
	o->arg = arg;
	call_begin(&w, "herod_observe", 1);
	words_add(&w, job_key(qs, id, key));
	words_add(&w, qs->ns);
	words_add(&w, id);
	words_add(&w, qs->node);
	words_add(&w, time_text(ev_time(), now));
	words_add_number(&w, next_score(qs));
	if (redis_send(qs->redis, &w, on_observed, o))
		return true;
	free(o->id);
	free(o);
	return false;
}

/* ---- its end ---- */

struct external_end {
	struct queue *queue;
	long long due;
	external_end_fn fn;
	void *arg;
};

static void
on_external_end(void *arg, const struct redis_reply *reply)
{
	struct external_end *x = arg;
	bool lost = queues_refused(x->queue->all, reply, NULL);
	bool done = !lost && reply_number(reply_at(reply, 0)) == 1;

	if (done && x->due > 0)
		queue_await_due(x->queue, x->due);
	if (done) {
		queues_tell_ended(x->queue->all, reply_at(reply, 1));
		queue_trim(x->queue);
	}
	x->fn(x->arg, done, lost);
	free(x);
}

void
queue_external_end(struct queue *q, const struct job *j, bool again,
    external_end_fn fn, void *arg)
{
	struct external_end *x = xcalloc(1, sizeof(*x));
	struct queues *qs = q->all;
	struct redis_words w;
	char key[KEY_MAX], reply[KEY_MAX], now[TIME_TEXT_SIZE];
	const char *word = job_status_word(j->status);

	x->queue = q;
	x->due = again ? j->due : 0;
	x->fn = fn;
	x->arg = arg;
	call_begin(&w, "herod_external_end", 3);
	words_add(&w, job_key(qs, j->spec.id, key));
	words_add(&w, q->open);
	words_add(&w, reply_key(qs, j->spec.id, reply));
	words_add(&w, qs->ns);
	words_add(&w, j->spec.id);
	words_add_number(&w, now_ms());
	words_add(&w, time_text(ev_time(), now));
	add_default_ttl(&w, qs);
	words_add(&w, strcmp(word, job_hero_word(j->status)) ? word : "");
	if (again)
		words_add_number(&w, j->due);
	else
		words_add(&w, "");
	if (redis_send(qs->redis, &w, on_external_end, x))
		return;
	fn(arg, false, true);
	free(x);
}

/* ---- what was taken ---- */

struct sweeping {
	struct queue *queue;
	swept_fn fn;
	void *arg;
};

static char **
ids_of(const struct redis_reply *ids)
{
	char **v = xcalloc(reply_count(ids) + 1, sizeof(*v));
	const char *id;
	size_t i, n = 0;

	for (i = 0; i < reply_count(ids); i++) {
		id = reply_text(reply_at(ids, i), NULL);
		if (id)
			v[n++] = xstrdup(id);
	}
	return v;
}

static void
on_swept(void *arg, const struct redis_reply *reply)
{
	struct sweeping *s = arg;
	char **taken, **begun;

	if (queues_refused(s->queue->all, reply, NULL)) {
		s->fn(s->arg, NULL, NULL);
	} else {
		taken = ids_of(reply_at(reply, 0));
		begun = ids_of(reply_at(reply, 1));
		s->fn(s->arg, taken, begun);
		strv_free(taken);
		strv_free(begun);
	}
	free(s);
}

bool
queue_sweep(struct queue *q, enum observed mark, swept_fn fn, void *arg)
{
	static const char *const marks[] = {
	    [OBSERVED_SUSPECT] = "suspect", [OBSERVED_ORPHAN] = "orphan"};
	struct sweeping *s = xcalloc(1, sizeof(*s));
	char *external = own_key(q->all, "external", q->name);
	char now[TIME_TEXT_SIZE];
	struct redis_words w;
	bool sent;

	s->queue = q;
	s->fn = fn;
	s->arg = arg;
	call_begin(&w, "herod_sweep", 3);
	words_add(&w, q->open);
	words_add(&w, q->list);
	words_add(&w, external);
	words_add(&w, q->all->ns);
	words_add_number(&w, SWEEP_MAX);
	words_add(&w, mark == OBSERVED_NOTHING ? "" : marks[mark]);
	words_add(&w, q->all->node);
	words_add(&w, time_text(ev_time(), now));
	sent = redis_send(q->all->redis, &w, on_swept, s);
	free(external);
	if (!sent)
		free(s);
	return sent;
}

struct going_back {
	struct queues *queues;
	void (*refused)(void *arg);
	void *arg;
};

static void
on_unbegun(void *arg, const struct redis_reply *reply)
{
	struct going_back *b = arg;

	if (queues_refused(b->queues, reply, NULL) && reply)
		b->refused(b->arg);
	free(b);
}

static void
send_unbegun(struct redis_words *w, const struct going_back *template)
{
	struct going_back *b = xmalloc(sizeof(*b));

	*b = *template;
	if (!redis_send(b->queues->redis, w, on_unbegun, b))
		free(b);
}

/* The last first: they go to the head. */
void
queue_unbegun(
    struct queue *q, char *const *ids, void (*refused)(void *arg), void *arg)
{
	struct redis_words w;
	size_t n = 0, from, i;

	while (ids[n])
		n++;
	for (; n > 0; n = from) {
		from = n > UNBEGUN_MAX ? n - UNBEGUN_MAX : 0;
		call_begin(&w, "herod_unbegun", 2);
		words_add(&w, q->open);
		words_add(&w, q->list);
		words_add(&w, q->all->ns);
		for (i = from; i < n; i++)
			words_add(&w, ids[i]);
		send_unbegun(&w, &(struct going_back){q->all, refused, arg});
	}
}

/* ---- what nobody has seen ---- */

struct scanning {
	struct queues *queues;
	void (*fn)(void *arg, const char *id);
	void *arg;
};

static void scan_from(struct scanning *s, const char *cursor);

static void
on_scanned(void *arg, const struct redis_reply *reply)
{
	struct scanning *s = arg;
	const struct redis_reply *ids = reply_at(reply, 1);
	const char *cursor = reply_text(reply_at(reply, 0), NULL), *id;
	size_t i;

	if (queues_refused(s->queues, reply, NULL) || !cursor) {
		if (reply)
			s->fn(s->arg, NULL);
		free(s);
		return;
	}
	for (i = 0; i < reply_count(ids); i++) {
		id = reply_text(reply_at(ids, i), NULL);
		if (id && id_is_valid(id))
			s->fn(s->arg, id);
	}
	if (strcmp(cursor, "0") != 0)
		scan_from(s, cursor);
	else
		free(s);
}

static void
scan_from(struct scanning *s, const char *cursor)
{
	struct redis_words w;

	call_begin(&w, "herod_scan", 0);
	words_add(&w, s->queues->ns);
	words_add(&w, cursor);
	if (!redis_send(s->queues->redis, &w, on_scanned, s))
		free(s);
}

void
queues_scan(struct queues *qs, void (*fn)(void *arg, const char *id), void *arg)
{
	struct scanning *s = xcalloc(1, sizeof(*s));

	s->queues = qs;
	s->fn = fn;
	s->arg = arg;
	scan_from(s, "0");
}

void
queue_ask_stop(struct queue *q, const char *id)
{
	struct redis_words w;
	char key[KEY_MAX];

	snprintf(key, KEY_MAX, "%s:stop_queue:%s", q->all->ns, q->name);
	words_begin(&w, "RPUSH");
	words_add(&w, key);
	words_add(&w, id);
	redis_send(q->all->redis, &w, NULL, NULL);
	/* There are programs that do not look there. */
	words_begin(&w, "EXPIRE");
	words_add(&w, key);
	words_add(&w, STOP_KEPT);
	redis_send(q->all->redis, &w, NULL, NULL);
}
