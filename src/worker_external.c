/*
 * External runners: somebody else starts their programs.  Redis knows them
 * (queue_enrol.c); here each is a runner of kind external, which has no process
 * and is looked after as those of kind redis are (worker_redis.c).
 */
#define LOG_MODULE "worker"
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "work.h"

static struct runner *
add(struct workers *w, const char *name, const char *queue, struct err *e)
{
	struct runner *r = runner_add_external(w->runners, name, queue, e);

	if (r && r->instances[0]->state == STOPPED)
		runner_start(r);
	return r;
}

/* ---- as Redis has them ---- */

static bool
is_enrolled(const struct runner *r, const json_t *queues)
{
	const char *queue = json_string_value(json_object_get(queues, r->name));

	return queue && strcmp(queue, runner_queue(r)) == 0;
}

/* One that has another queue now is added when the old one is gone, for then
 * this is asked again. */
static void
on_all(void *arg, const json_t *queues)
{
	struct workers *w = arg;
	struct err e = {0};
	struct runner *r;
	const char *name;
	json_t *queue;

	if (!queues) {
		w->unread_names = true;
		ask_again(w);
		return;
	}
	RUNNERS_FOREACH (r, w->runners)
		if (runner_is_external(r) && !is_enrolled(r, queues))
			runner_remove(r);
	json_object_foreach ((json_t *)(uintptr_t)queues, name, queue) {
		r = runner_find(w->runners, name);
		if (r && runner_is_external(r))
			continue;
		if (!add(w, name, json_string_value(queue), &e))
			log_warnx("registered runner %s: not known here: %s",
			    name, e.text);
	}
}

void
external_read(struct workers *w)
{
	if (w->open && w->runners && !runners_are_ending(w->runners))
		queues_enrolled(w->queues, on_all, w);
}

/* ---- asked for ---- */

struct registering {
	struct workers *all;
	char *name, *queue;
	registered_fn fn;
	void *arg;
};

static void
registering_free(struct registering *x)
{
	free(x->name);
	free(x->queue);
	free(x);
}

static int
refuse_other_queue(const char *name, const char *queue, struct err *e)
{
	err_subject(e, name);
	err_hint(e, "heroctl unregister %s, then register it anew", name);
	return err_set(e, ERR_EXISTS,
	    "external runner %s is registered with the queue %s", name, queue);
}

/* Of this herod's own runners. */
static int
check_name(
    struct workers *w, const char *name, const char *queue, struct err *e)
{
	const struct runner *r = runner_find(w->runners, name);

	err_subject(e, name);
	if (strcmp(name, "all") == 0)
		return err_set(e, ERR_PARAMS,
		    "runner all: 'all' stands for all runners; wanted another "
		    "name");
	if (!r)
		return 0;
	if (r->wanted == WANTED_REMOVED)
		return err_set(e, ERR_SUPERSEDED,
		    "runner %s is still being removed", name);
	if (!runner_is_external(r)) {
		err_hint(e, "an external runner needs a name of its own");
		return err_set(e, ERR_EXISTS, "runner %s exists (from %s)",
		    name, r->origin);
	}
	return strcmp(queue, runner_queue(r)) == 0
	    ? 0
	    : refuse_other_queue(name, runner_queue(r), e);
}

static void
on_registered(void *arg, const char *queue, const struct err *e)
{
	struct registering *x = arg;
	struct runner *r = NULL;
	struct err why = {0};

	if (e)
		why = *e;
	else if (!queue || strcmp(queue, x->queue) != 0)
		refuse_other_queue(x->name, queue ? queue : "?", &why);
	else if (check_name(x->all, x->name, x->queue, &why) == 0)
		r = add(x->all, x->name, x->queue, &why);
	x->fn(x->arg, r, r ? NULL : &why);
	registering_free(x);
}

int
workers_register(struct workers *w, const char *name, const char *queue,
    registered_fn fn, void *arg, struct err *e)
{
	struct registering *x;

	if (check_name(w, name, queue, e) == -1)
		return -1;
	x = xcalloc(1, sizeof(*x));
	x->all = w;
	x->name = xstrdup(name);
	x->queue = xstrdup(queue);
	x->fn = fn;
	x->arg = arg;
	if (queues_enrol(w->queues, name, queue, on_registered, x, e) == 0)
		return 0;
	registering_free(x);
	return -1;
}

struct unregistering {
	struct workers *all;
	char *name;
	queue_fn fn;
	void *arg;
};

static void
on_unregistered(void *arg, const struct err *e)
{
	struct unregistering *x = arg;
	struct runner *r = runner_find(x->all->runners, x->name);

	if (!e && r && runner_is_external(r))
		runner_remove(r);
	x->fn(x->arg, e);
	free(x->name);
	free(x);
}

int
workers_unregister(
    struct workers *w, const char *name, queue_fn fn, void *arg, struct err *e)
{
	struct unregistering *x = xcalloc(1, sizeof(*x));

	x->all = w;
	x->name = xstrdup(name);
	x->fn = fn;
	x->arg = arg;
	if (queues_strike(w->queues, name, on_unregistered, x, e) == 0)
		return 0;
	free(x->name);
	free(x);
	return -1;
}
