/* Methods about schedules. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rpc.h"
#include "rpc_runner.h"
#include "schedule.h"

HANDLER(schedules_list)
{
	call_reply(call, schedules_json(call->services->schedules));
}

/* A call that waits for its job's id; NULL when nobody does any more. */
struct run {
	struct call *call;
};

static void
on_gone(void *arg)
{
	((struct run *)arg)->call = NULL;
}

static void
on_made(void *arg, const char *id, const struct err *e)
{
	struct run *r = arg;
	struct call *call = r->call;

	free(r);
	if (!call)
		return;
	call_on_gone(call, NULL, NULL);
	if (e)
		call_refuse(call, e);
	else
		call_reply(call, json_string(id));
}

HANDLER(schedule_run)
{
	struct err e = {0};
	struct schedule *s;
	struct run *r;

	if (is_ending(call))
		return;
	s = schedule_find(
	    call->services->schedules, call_string(call, "schedule"), &e);
	if (!s) {
		call_refuse(call, &e);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	r->call = call;
	call_on_gone(call, on_gone, r);
	schedule_run(s, on_made, r);
}
