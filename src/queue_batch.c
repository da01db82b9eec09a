/*
 * What a turn of the loop collects.
 *
 * Commands that are about one key of a queue (its claims, rows and lists) can
 * name many jobs.  So new jobs, and those whose end Redis has stored, are
 * collected until the turn's commands leave, and those are sent for all of
 * them at once.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

void
queue_collects(struct queue *q)
{
	if (q->collects)
		return;
	q->collects = true;
	TAILQ_INSERT_TAIL(&q->all->collecting, q, collecting);
}

void
queues_send(struct queues *qs)
{
	struct queue *q;

	while ((q = TAILQ_FIRST(&qs->collecting))) {
		TAILQ_REMOVE(&qs->collecting, q, collecting);
		q->collects = false;
		queue_send_pushes(q);
		queue_send_stored(q);
	}
}

/* ---- one command for many ---- */

struct many {
	redis_fn fn;
	size_t n;
	void *args[BATCH_MAX];
};

static void
on_many(void *arg, const struct redis_reply *reply)
{
	struct many *m = arg;
	size_t i;

	for (i = 0; i < m->n; i++)
		m->fn(m->args[i], reply);
	free(m);
}

bool
queue_send_for(struct queue *q, const struct redis_words *w, redis_fn fn,
    void *const *args, size_t n)
{
	struct many *m = xmalloc(sizeof(*m));

	m->fn = fn;
	m->n = n;
	memcpy(m->args, args, n * sizeof(*args));
	if (redis_send(q->all->redis, w, on_many, m))
		return true;
	free(m);
	return false;
}
