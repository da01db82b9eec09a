/*
 * New jobs that must outlast more than a crash of Redis (durability).
 *
 * fsync: Redis is asked whether it answers only when its log is on the disk;
 * where it does not, the job is refused.
 *
 * replica: when Redis has the job, WAIT says whether a replica has it, too.  It
 * holds up its connection, so it has one of its own, dialled by the first such
 * job.  Those that come while it waits are waited for together, next.
 */
#define LOG_MODULE "worker"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "turns.h"
#include "type.h"
#include "work.h"

/* ---- replica ---- */

struct copy {
	TAILQ_ENTRY(copy) next;
	struct workers *all;
	char *id;
	queue_fn fn;
	void *arg;
};
TAILQ_HEAD(copy_list, copy);

struct copies {
	struct workers *all;
	struct redis *redis;
	struct copy_list queued, waiting; /* for the next WAIT; for this one */
	ev_timer late; /* it is still not connected */
};

/* Redis closes a connection that is silent for its timeout: less than ours. */
static double
patience(const struct workers *w)
{
	return w->conf->redis_timeout / 2;
}

static void
copy_end(struct copy *c, const struct err *e)
{
	c->fn(c->arg, e);
	free(c->id);
	free(c);
}

/* why: NULL when a replica has them. */
static void
copies_end(struct copy_list *list, const char *why)
{
	struct copy *c;

	while ((c = TAILQ_FIRST(list))) {
		struct err e = {0};

		TAILQ_REMOVE(list, c, next);
		if (why) {
			err_set(&e, ERR_REDIS,
			    "job %s is queued, but no replica has it: %s",
			    c->id, why);
			err_subject(&e, c->id);
			err_hint(&e,
			    "is a replica connected (INFO "
			    "replication)? The job will be done");
		}
		copy_end(c, why ? &e : NULL);
	}
}

static void copies_wait(struct copies *cs);

static void
on_waited(void *arg, const struct redis_reply *reply)
{
	struct copies *cs = arg;
	char text[32], why[256];

	if (!reply)
		copies_end(&cs->waiting, "the connection was lost");
	else if (reply_is_error(reply))
		copies_end(&cs->waiting, reply_text(reply, NULL));
	else if (reply_number(reply) > 0)
		copies_end(&cs->waiting, NULL);
	else {
		snprintf(why, sizeof(why), "none has confirmed it within %s",
		    duration_text(patience(cs->all), text));
		copies_end(&cs->waiting, why);
	}
	copies_wait(cs);
}

/* They are not kept for ever. */
static void
be_late(struct copies *cs)
{
	if (ev_is_active(&cs->late))
		return;
	ev_timer_set(&cs->late, cs->all->conf->redis_timeout, 0.);
	ev_timer_start(cs->all->loop, &cs->late);
}

/* WAIT is about what Redis has written before the last write of its connection.
 */
static void
copies_wait(struct copies *cs)
{
	const struct daemon_conf *conf = cs->all->conf;
	struct redis_words w;
	char key[300];

	if (!TAILQ_EMPTY(&cs->waiting) || TAILQ_EMPTY(&cs->queued))
		return;
	if (!redis_is_up(cs->redis)) {
		be_late(cs);
		return;
	}
	ev_timer_stop(cs->all->loop, &cs->late);
	TAILQ_CONCAT(&cs->waiting, &cs->queued, next);
	snprintf(key, sizeof(key), "%sd:wait:%s", conf->namespace,
	    queues_node(cs->all->queues));
	words_begin(&w, "SET");
	words_add(&w, key);
	words_add(&w, "1");
	words_add(&w, "EX");
	words_add(&w, "60");
	redis_send(cs->redis, &w, NULL, NULL);
	words_begin(&w, "WAIT");
	words_add(&w, "1");
	words_add_number(&w, (long long)(patience(cs->all) * 1000));
	if (!redis_send(cs->redis, &w, on_waited, cs))
		copies_end(&cs->waiting, "it cannot be asked");
}

static void
on_up(void *arg)
{
	copies_wait(arg);
}

static void
on_late(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "durable jobs");
	struct copies *cs = timer->data;

	(void)loop;
	(void)revents;
	copies_end(&cs->queued, redis_why(cs->redis));
}

static struct copies *
copies_new(struct workers *w, struct err *e)
{
	static const struct redis_ops ops = {.up = on_up};
	struct redis *r =
	    redis_new(w->loop, w->conf->redis_url, w->conf->redis_timeout, e);
	struct copies *cs;

	if (!r)
		return NULL;
	cs = xcalloc(1, sizeof(*cs));
	cs->all = w;
	cs->redis = r;
	TAILQ_INIT(&cs->queued);
	TAILQ_INIT(&cs->waiting);
	ev_timer_init(&cs->late, on_late, 0., 0.);
	cs->late.data = cs;
	redis_set_ops(r, &ops, cs);
	return cs;
}

void
durable_free(struct workers *w)
{
	struct copies *cs = w->copies;

	if (!cs)
		return;
	redis_free(cs->redis);
	ev_timer_stop(w->loop, &cs->late);
	copies_end(&cs->waiting, "herod is ending");
	copies_end(&cs->queued, "herod is ending");
	free(cs);
}

static void
await_copy(struct copy *c)
{
	struct copies *cs = c->all->copies;

	TAILQ_INSERT_TAIL(&cs->queued, c, next);
	copies_wait(cs);
}

/* One that is on the spool is on the disk, if nowhere else. */
static void
on_pushed(void *arg, const struct err *e)
{
	struct copy *c = arg;

	if (e || queues_is_spooled(c->all->queues, c->id))
		copy_end(c, e);
	else
		await_copy(c);
}

static int
offer_with_copy(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e)
{
	struct copy *c;

	if (!l->all->copies)
		l->all->copies = copies_new(l->all, e);
	if (!l->all->copies) {
		job_free(stolen);
		return -1;
	}
	c = xcalloc(1, sizeof(*c));
	c->all = l->all;
	c->id = xstrdup(stolen->spec.id);
	c->fn = fn;
	c->arg = arg;
	if (flow_offer(l, stolen, named, push, on_pushed, c, e) == 0)
		return 0;
	free(c->id);
	free(c);
	return -1;
}

/* ---- fsync ---- */

struct synced {
	struct lane *lane;
	struct job *job;
	bool named;
	push_fn push;
	queue_fn fn;
	void *arg;
};

/* When it does not, with a refusal. */
static void
refuse_sync(
    const struct workers *w, const struct redis_reply *reply, struct err *e)
{
	const char *log = reply_value(reply, "appendonly");
	const char *sync = reply_value(reply, "appendfsync");

	if (!reply)
		; /* it is away, as is seen next */
	else if (reply_is_error(reply))
		redis_refuse(w->redis, reply, e);
	else if (!log || strcmp(log, "yes") != 0)
		err_set(e, ERR_PARAMS,
		    "job: durability fsync: the Redis at %s keeps no log "
		    "(appendonly no)",
		    redis_address(w->redis));
	else if (!sync || strcmp(sync, "always") != 0)
		err_set(e, ERR_PARAMS,
		    "job: durability fsync: the Redis at %s answers before its "
		    "log is on the disk (appendfsync %s)",
		    redis_address(w->redis), sync ? sync : "?");
	if (e->code == ERR_PARAMS)
		err_hint(e,
		    "set appendfsync to always there; redis_fsync = "
		    "always for herod's own");
}

static void
on_policy(void *arg, const struct redis_reply *reply)
{
	struct synced *s = arg;
	struct err e = {0};

	refuse_sync(s->lane->all, reply, &e);
	if (err_is_set(&e))
		job_free(s->job);
	else
		flow_offer(
		    s->lane, s->job, s->named, s->push, s->fn, s->arg, &e);
	if (err_is_set(&e))
		s->fn(s->arg, &e);
	free(s);
}

/* Of a Redis that is away the refusal, or the spool, is as always. */
static int
offer_if_synced(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	struct synced *s = xmalloc(sizeof(*s));

	*s = (struct synced){l, stolen, named, push, fn, arg};
	words_begin(&w, "CONFIG");
	words_add(&w, "GET");
	words_add(&w, "append*");
	if (redis_send(l->all->redis, &w, on_policy, s))
		return 0;
	free(s);
	return flow_offer(l, stolen, named, push, fn, arg, e);
}

/* ---- either ---- */

int
durable_offer(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e)
{
	switch ((enum durability)stolen->spec.durability) {
	case DURABILITY_FSYNC:
		return offer_if_synced(l, stolen, named, push, fn, arg, e);
	case DURABILITY_REPLICA:
		return offer_with_copy(l, stolen, named, push, fn, arg, e);
	case DURABILITY_RUNNER:
	case DURABILITY_MEMORY:
	case DURABILITY_REDIS:
		break;
	}
	return flow_offer(l, stolen, named, push, fn, arg, e);
}
