/* Ticks of schedules: each makes one job, whoever comes first. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct ticking {
	struct queue *queue;
	struct job *job; /* ours */
	tick_fn fn;
	void *arg;
};

static void
ticking_free(struct ticking *t)
{
	job_free(t->job);
	free(t);
}

static enum ticked
ticked_how(const char *what)
{
	static const char *const ways[] = {[TICK_MADE] = "ok",
	    [TICK_KNOWN] = "known",
	    [TICK_RUNNING] = "running"};
	enum ticked how = TICK_MADE;

	while (how < TICK_REFUSED && (!what || strcmp(ways[how], what) != 0))
		how++;
	return how;
}

static void
on_ticked(void *arg, const struct redis_reply *reply)
{
	struct ticking *t = arg;
	struct queues *qs = t->queue->all;
	const char *id = reply_text(reply_at(reply, 1), NULL);
	const char *what = reply_text(reply_at(reply, 0), NULL);
	enum ticked how = ticked_how(what);
	struct err e = {0};

	if (how == TICK_REFUSED && !queues_refused(qs, reply, &e) && what && id)
		refuse_new(t->queue, what, id, &e);
	if (how == TICK_MADE) {
		queue_tell_created(t->queue, id, true);
		recent_job(t->queue, RECENT_CREATED, t->job);
		t->job = NULL;
	}
	t->fn(t->arg, how, id ? id : "", how == TICK_REFUSED ? &e : NULL);
	ticking_free(t);
}

static bool
tick_send(struct ticking *t, const struct queue_tick *tick)
{
	static const char *const words[] = {[OVERLAP_ALLOW] = "allow",
	    [OVERLAP_FORBID] = "forbid",
	    [OVERLAP_REPLACE] = "ask"};
	struct queue *q = t->queue;
	const struct job *j = t->job;
	char *schedule = own_key(q->all, "schedule", tick->schedule);
	char key[KEY_MAX];
	struct redis_words w;
	bool sent;

	call_begin(&w, "herod_tick", 3);
	words_add(&w, schedule);
	words_add(&w, job_key(q->all, j->spec.id, key));
	words_add(&w, q->index);
	words_add_number(&w, tick->time);
	words_add(&w, words[tick->overlap]);
	queue_add_create(&w, q, j, false, q->limits.most);
	sent = redis_send(q->all->redis, &w, on_ticked, t);
	free(schedule);
	return sent;
}

int
queue_push_tick(struct queue *q, struct job *stolen,
    const struct queue_tick *tick, tick_fn fn, void *arg, struct err *e)
{
	struct ticking *t;

	if (queues_away(q->all, e) || refuse_key(q, stolen, e)) {
		job_free(stolen);
		return -1;
	}
	queue_announce(q);
	t = xcalloc(1, sizeof(*t));
	t->queue = q;
	t->job = stolen;
	t->fn = fn;
	t->arg = arg;
	if (tick_send(t, tick))
		return 0;
	ticking_free(t);
	return redis_refuse(q->all->redis, NULL, e);
}

/* ---- what is known of them ---- */

#define DROPPED_SECONDS (31 * 86400LL)

struct seeing {
	struct queues *queues;
	seen_fn fn;
	void *arg;
};

static void
on_seen(void *arg, const struct redis_reply *reply)
{
	struct seeing *s = arg;
	const char *id = reply_text(reply_at(reply, 1), NULL);

	queues_refused(s->queues, reply, NULL);
	s->fn(s->arg, reply_number(reply_at(reply, 0)), id ? id : "");
	free(s);
}

bool
queues_see_schedule(
    struct queues *qs, const char *name, long long since, seen_fn fn, void *arg)
{
	struct seeing *s = xcalloc(1, sizeof(*s));
	char *key = own_key(qs, "schedule", name);
	struct redis_words w;
	bool sent;

	s->queues = qs;
	s->fn = fn;
	s->arg = arg;
	call_begin(&w, "herod_seen", 1);
	words_add(&w, key);
	words_add_number(&w, since);
	sent = redis_send(qs->redis, &w, on_seen, s);
	if (!sent)
		free(s);
	free(key);
	return sent;
}

/* One that herods share is seen again at its next tick. */
void
queues_drop_schedule(struct queues *qs, const char *name)
{
	char *key = own_key(qs, "schedule", name);
	struct redis_words w;

	words_begin(&w, "EXPIRE");
	words_add(&w, key);
	words_add_number(&w, DROPPED_SECONDS);
	redis_send(qs->redis, &w, NULL, NULL);
	free(key);
}
