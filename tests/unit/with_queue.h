/*
 * A node with a queue q on a redis-server of the test's own, and what it is
 * told.
 */
#ifndef WITH_QUEUE_H
#define WITH_QUEUE_H

#include "queue.h"
#include "with_redis.h"

/* A program that uses only some of these is none the worse. */
#pragma GCC diagnostic ignored "-Wunused-function"

struct place {
	pid_t server;
	struct ev_loop *loop;
	struct redis *redis;
	struct queues *all;
	struct queue *q;
	int given_back, settled;
	char names[256];
	bool begun;
};

static void
on_name(void *arg, const char *name)
{
	struct place *p = arg;

	if (!name) {
		p->begun = true;
		return;
	}
	strlcat(p->names, name, sizeof(p->names));
	strlcat(p->names, " ", sizeof(p->names));
}

static void
on_up(void *arg)
{
	struct place *p = arg;

	p->names[0] = '\0';
	p->begun = false;
	queues_register(p->all, on_name, p);
}

static void
on_bell(void *arg, const char *key, size_t len)
{
	(void)arg;
	(void)key;
	(void)len;
}

static void
on_given_back(void *arg, struct queue *q)
{
	struct place *p = arg;

	check(q == p->q);
	p->given_back++;
}

static void
on_settled(void *arg)
{
	((struct place *)arg)->settled++;
}

static void
on_leaving(void *arg)
{
	struct place *p = arg;

	queues_send(p->all);
}

static const struct redis_ops redis_ops = {on_up, NULL, on_bell, on_leaving};
static const struct queues_ops queues_ops = {.given_back = on_given_back};

static bool
is_begun(struct place *p)
{
	turn(p->loop);
	return redis_is_up(p->redis) && p->begun;
}

/* A node on the server of the test. */
static void
open_node(struct place *p, const char *id)
{
	char *url = socket_url();

	memset(p, 0, sizeof(*p));
	p->loop = ev_loop_new(EVFLAG_AUTO);
	p->redis = redis_new(p->loop, url, 5, NULL);
	p->all = queues_new(p->loop, p->redis, "hero", "box", id, 3600);
	redis_set_ops(p->redis, &redis_ops, p);
	queues_set_ops(p->all, &queues_ops, p);
	p->q = queue_open(p->all, "q");
	wait_for(is_begun(p));
	queues_resend(p->all, false);
	free(url);
}

static void
close_node(struct place *p)
{
	redis_hang_up(p->redis);
	queues_free(p->all);
	redis_free(p->redis);
	ev_loop_destroy(p->loop);
}

static void
open_place(struct place *p)
{
	pid_t server = server_start("");

	open_node(p, "node-1");
	p->server = server;
}

static void
close_place(struct place *p)
{
	close_node(p);
	server_end(p->server, SIGTERM);
}

#define REDIS(p, ...) (ASK((p)->loop, (p)->redis, __VA_ARGS__))
#define NUMBER(p, ...) (ask((p)->loop, (p)->redis, __VA_ARGS__).number)

/* ---- callbacks that remember ---- */

struct told {
	bool done;
	struct err e;
	struct job *jobs[TAKE_MAX];
	size_t n;
	bool more, lost;
	char text[512];
	json_t *page;
};

static void
on_done(void *arg, const struct err *e)
{
	struct told *t = arg;

	check(!t->done);
	t->done = true;
	if (e)
		t->e = *e;
}

static void
on_jobs(void *arg, struct job **jobs, size_t n, bool more)
{
	struct told *t = arg;

	t->done = true;
	t->lost = !jobs;
	t->n = n;
	t->more = more;
	if (n)
		memcpy(t->jobs, jobs, n * sizeof(*jobs));
}

static void
on_was(void *arg, const char *was, const struct err *e)
{
	struct told *t = arg;

	t->done = true;
	strlcpy(t->text, was ? was : e->text, sizeof(t->text));
}

static void
on_page(void *arg, json_t *page, const struct err *e)
{
	struct told *t = arg;

	t->done = true;
	t->page = page;
	if (e)
		t->e = *e;
}

static void
on_job(void *arg, struct job *j, const struct err *e)
{
	struct told *t = arg;

	t->done = true;
	t->jobs[0] = j;
	if (e)
		t->e = *e;
}

static void
on_claims(void *arg, struct queue *q, const struct claim *claims, size_t n)
{
	struct told *t = arg;
	size_t i;

	(void)q;
	t->done = true;
	t->n = n;
	for (i = 0; i < n; i++) {
		strlcat(t->text, claims[i].id, sizeof(t->text));
		strlcat(t->text, "=", sizeof(t->text));
		strlcat(t->text, claims[i].label, sizeof(t->text));
		strlcat(t->text, " ", sizeof(t->text));
	}
}

#define UNTIL_TOLD(p, t) wait_for(turn((p)->loop) && (t).done)

static struct job *
new_job(const char *id)
{
	struct job *j = job_new();

	j->spec.id = xstrdup(id);
	j->spec.runner = xstrdup("q");
	j->spec.payload = xstrdup("hello");
	j->payload_len = 5;
	j->spec.timeout = 300;
	j->queue = xstrdup("q");
	strlcpy(j->created_at, "2026-01-01T00:00:00.000000Z",
	    sizeof(j->created_at));
	return j;
}

static struct err
push(struct place *p, const char *id, bool named)
{
	struct job *j = new_job(id);
	struct told t = {0};

	job_move(j, JOB_DISPATCHED, NULL);
	if (queue_push(p->q, j, named, on_done, &t, &t.e) == 0)
		UNTIL_TOLD(p, t);
	return t.e;
}

static struct told
take(struct place *p, size_t n)
{
	static const char *const labels[] = {"q/0", "q/1", "q/2", "q/3"};
	struct told t = {0};

	check(queue_take(p->q, labels, n, on_jobs, &t));
	UNTIL_TOLD(p, t);
	return t;
}

static struct job *
take_one(struct place *p)
{
	struct told t = take(p, 1);

	check_int((long long)t.n, 1);
	return t.jobs[0];
}

static void
finish(struct place *p, struct job *j, const char *result)
{
	job_set_result(j, result, strlen(result), false);
	check_int(job_move(j, JOB_FINISHED, NULL), 0);
	time_text(ev_time(), j->finished_at);
	queue_finish(p->q, j, on_settled, p);
}

static bool
is_settled(struct place *p)
{
	turn(p->loop);
	return queues_unsettled(p->all) == 0;
}

#endif
