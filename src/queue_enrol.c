/*
 * External runners: programs that somebody else starts, on this or another
 * machine, and that draw from a queue themselves.  Redis has their names
 * (NSd:runners), so that each herod which shares it can queue to them and looks
 * after their jobs.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

struct enrolling {
	struct queues *queues;
	char name[128];
	enrol_fn fn;
	queue_fn struck;
	enrolled_fn all;
	void *arg;
};

static int
send(struct queues *qs, const struct redis_words *w, redis_fn fn,
    struct enrolling with, struct err *e)
{
	struct enrolling *x = xmalloc(sizeof(*x));

	*x = with;
	if (redis_send(qs->redis, w, fn, x))
		return 0;
	free(x);
	return redis_refuse(qs->redis, NULL, e);
}

static void
on_enrolled(void *arg, const struct redis_reply *reply)
{
	struct enrolling *x = arg;
	const char *queue = reply_text(reply, NULL);
	struct err e = {0};

	if (queues_refused(x->queues, reply, &e)) {
		x->fn(x->arg, NULL, &e);
	} else {
		recent_enrol(x->queues, x->name, queue);
		x->fn(x->arg, queue, NULL);
	}
	free(x);
}

int
queues_enrol(struct queues *qs, const char *name, const char *queue,
    enrol_fn fn, void *arg, struct err *e)
{
	struct enrolling x = {.queues = qs, .fn = fn, .arg = arg};
	struct redis_words w;

	if (queues_away(qs, e))
		return -1;
	strlcpy(x.name, name, sizeof(x.name));
	call_begin(&w, "herod_enroll", 1);
	words_add(&w, qs->runners);
	words_add(&w, name);
	words_add(&w, queue);
	return send(qs, &w, on_enrolled, x, e);
}

static void
on_struck(void *arg, const struct redis_reply *reply)
{
	struct enrolling *x = arg;
	struct err e = {0};
	bool refused = queues_refused(x->queues, reply, &e);

	if (!refused && reply_number(reply) == 0) {
		err_set(&e, ERR_NO_RUNNER,
		    "no external runner %s is registered", x->name);
		err_subject(&e, x->name);
	} else if (!refused) {
		recent_enrol(x->queues, x->name, NULL);
	}
	x->struck(x->arg, err_is_set(&e) ? &e : NULL);
	free(x);
}

int
queues_strike(
    struct queues *qs, const char *name, queue_fn fn, void *arg, struct err *e)
{
	struct enrolling x = {.queues = qs, .struck = fn, .arg = arg};
	struct redis_words w;

	if (queues_away(qs, e))
		return -1;
	strlcpy(x.name, name, sizeof(x.name));
	words_begin(&w, "HDEL");
	words_add(&w, qs->runners);
	words_add(&w, name);
	return send(qs, &w, on_struck, x, e);
}

static void
on_all(void *arg, const struct redis_reply *reply)
{
	struct enrolling *x = arg;
	json_t *queues = json_object();
	const char *name, *queue;
	size_t i;

	if (!queues_refused(x->queues, reply, NULL)) {
		for (i = 0; i + 1 < reply_count(reply); i += 2) {
			name = reply_text(reply_at(reply, i), NULL);
			queue = reply_text(reply_at(reply, i + 1), NULL);
			if (name && queue && name_is_valid(name) &&
			    name_is_valid(queue))
				json_object_set_new(
				    queues, name, json_string(queue));
		}
		recent_enrol_by_others(x->queues, queues);
		x->all(x->arg, queues);
	} else {
		x->all(x->arg, NULL);
	}
	json_decref(queues);
	free(x);
}

void
queues_enrolled(struct queues *qs, enrolled_fn fn, void *arg)
{
	struct redis_words w;

	words_begin(&w, "HGETALL");
	words_add(&w, qs->runners);
	send(qs, &w, on_all,
	    (struct enrolling){.queues = qs, .all = fn, .arg = arg}, NULL);
}
