/* Methods about external runners, whose programs somebody else starts. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rpc.h"
#include "rpc_runner.h"
#include "runners.h"
#include "worker.h"

/* What Redis is asked for. */
struct enrolling {
	struct call *call; /* NULL: nobody waits any more */
	struct runners *runners;
	char *name;
};

static void
on_gone(void *arg)
{
	struct enrolling *x = arg;

	x->call = NULL;
}

static struct enrolling *
enrolling_new(struct call *call)
{
	struct enrolling *x = xcalloc(1, sizeof(*x));

	x->call = call;
	x->runners = call->services->runners;
	x->name = xstrdup(call_string(call, "name"));
	call_on_gone(call, on_gone, x);
	/* Doing it twice does no harm. */
	call_outlives(call);
	return x;
}

/* Ends it; the call that is to be answered now, or NULL. */
static struct call *
enrolling_end(struct enrolling *x)
{
	struct call *call = x->call;

	free(x->name);
	free(x);
	if (call)
		call_on_gone(call, NULL, NULL);
	return call;
}

static void
refuse(struct enrolling *x, const struct err *e)
{
	struct call *call = enrolling_end(x);

	if (call)
		call_refuse(call, e);
}

static void
on_registered(void *arg, struct runner *r, const struct err *e)
{
	struct enrolling *x = arg;
	struct call *call;

	if (e) {
		refuse(x, e);
		return;
	}
	call = enrolling_end(x);
	if (call)
		reply_runner(call, r);
}

HANDLER(register_runner)
{
	struct enrolling *x;
	struct err e = {0};

	if (is_ending(call))
		return;
	x = enrolling_new(call);
	if (workers_register(call->services->workers, x->name,
		call_string(call, "queue"), on_registered, x, &e) == -1)
		refuse(x, &e);
}

/* The herod before us had done it. */
static bool
was_done(const struct enrolling *x, const struct err *e)
{
	return x->call && x->call->again && e->code == ERR_NO_RUNNER;
}

static void
on_unregistered(void *arg, const struct err *e)
{
	struct enrolling *x = arg;
	struct runner *r = runner_find(x->runners, x->name);
	struct call *call;

	if (e && !was_done(x, e)) {
		refuse(x, e);
		return;
	}
	call = enrolling_end(x);
	if (call && r && runner_is_external(r))
		reply_removed(call, r);
	else if (call)
		reply_was_removed(call);
}

HANDLER(unregister_runner)
{
	struct enrolling *x;
	struct err e = {0};

	/* It may be one that the configuration hides. */
	if (is_removed(call) || runner_of(call) == NULL)
		return;
	x = enrolling_new(call);
	if (workers_unregister(
		call->services->workers, x->name, on_unregistered, x, &e) == -1)
		refuse(x, &e);
}
