/*
 * Queues that are paused: no herod that shares the Redis takes a job of theirs.
 *
 * Redis has it (NSd:meta), and the function that takes looks there.  Here it is
 * known, too, since a new job may begin without a take (queue_push_started):
 * read before the first job begins and when the bell rings, and told by each
 * take.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"

bool
queue_is_paused(const struct queue *q)
{
	return q->paused || q->pausing;
}

void
queue_set_paused(struct queue *q, bool paused)
{
	struct queues *qs = q->all;

	if (q->paused == paused)
		return;
	q->paused = paused;
	recent_pause_by_others(q);
	log_info("queue %s: %s", q->name, paused ? "paused" : "resumed");
	if (qs->ops && qs->ops->paused)
		qs->ops->paused(qs->arg, q, paused);
}

static void
on_read(void *arg, const struct redis_reply *reply)
{
	struct queue *q = arg;

	if (!queues_refused(q->all, reply, NULL))
		queue_set_paused(q, reply_number(reply) == 1);
	else if (reply)
		queue_may_go_on(
		    q); /* the next take tells, before a job begins */
}

void
queue_read_paused(struct queue *q)
{
	struct redis_words w;

	words_begin(&w, "HEXISTS");
	words_add(&w, q->meta);
	words_add(&w, "paused");
	redis_send(q->all->redis, &w, on_read, q);
}

struct pausing {
	struct queue *queue;
	bool pause;
	queue_fn fn;
	void *arg;
};

static int
refuse(const struct queue *q, const char *what, struct err *e)
{
	if (!strcmp(what, "external")) {
		err_set(e, ERR_ILLEGAL_MOVE,
		    "queue %s cannot be paused: programs take its jobs from "
		    "Redis themselves (kind redis or external)",
		    q->name);
		err_hint(e,
		    "its jobs wait when these end: heroctl stop ends "
		    "those of kind redis");
	} else {
		err_set(e, ERR_NO_RUNNER, "there is no runner or queue %s",
		    q->name);
	}
	return err_subject(e, q->name);
}

static void
on_paused(void *arg, const struct redis_reply *reply)
{
	struct pausing *p = arg;
	struct queue *q = p->queue;
	const char *what = reply_text(reply, NULL);
	struct err e = {0};

	if (!queues_refused(q->all, reply, &e) && what && strcmp(what, "ok"))
		refuse(q, what, &e);
	q->pausing -= p->pause;
	if (!err_is_set(&e)) {
		queue_set_paused(q, p->pause);
		recent_pause(q, p->pause);
	}
	p->fn(p->arg, err_is_set(&e) ? &e : NULL);
	free(p);
}

int
queue_pause(struct queue *q, bool pause, bool known, queue_fn fn, void *arg,
    struct err *e)
{
	char now[TIME_TEXT_SIZE];
	struct redis_words w;
	struct pausing *p;

	if (queues_away(q->all, e))
		return -1;
	p = xcalloc(1, sizeof(*p));
	p->queue = q;
	p->pause = pause;
	p->fn = fn;
	p->arg = arg;
	call_begin(&w, "herod_pause", 2);
	words_add(&w, q->meta);
	words_add(&w, q->all->names);
	words_add(&w, q->all->ns);
	words_add(&w, q->name);
	words_add(&w, known ? "1" : "0");
	words_add(&w, pause ? time_text(ev_time(), now) : "");
	if (!redis_send(q->all->redis, &w, on_paused, p)) {
		free(p);
		return redis_refuse(q->all->redis, NULL, e);
	}
	q->pausing += pause;
	return 0;
}
