/*
 * Many jobs in one call (jobs.create_many).
 *
 * Some are made, the next when Redis has answered for some of those: so neither
 * the loop is held up, nor does much wait to be sent.  What was asked is done
 * to its end, whether or not somebody still waits for the answer.
 */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "redis.h"
#include "rpc.h"
#include "turns.h"
#include "worker.h"

#define JOBS_MAX 10000 /* in one call: an answer to each is kept until then */
#define OPEN_MAX 256 /* jobs on their way to Redis */
#define OPEN_BYTES ((size_t)1 << 20) /* of their payloads */
#define TURN_MAX 256 /* jobs begun in one turn of the loop */

struct many {
	struct call *call; /* NULL: nobody waits any more */
	const struct services *services;
	json_t *jobs, *answers; /* arrays, in the same order */
	size_t next; /* of the jobs */
	size_t open, open_bytes; /* on their way */
	ev_timer turn; /* goes on */
};

/* One of them, on its way. */
struct making {
	struct many *many;
	size_t at, bytes;
	char id[129];
};

static void
many_end(struct many *m)
{
	ev_timer_stop(m->services->loop, &m->turn);
	if (m->call) {
		call_on_gone(m->call, NULL, NULL);
		call_reply(m->call, json_incref(m->answers));
	}
	json_decref(m->answers);
	json_decref(m->jobs);
	free(m);
}

static void
set_answer(struct many *m, size_t at, const char *id, const struct err *e)
{
	json_array_set_new(m->answers, at,
	    e ? json_pack("{s:o}", "error", err_to_json(e))
	      : json_pack("{s:s}", "id", id));
}

/* Never from inside the call that made the last ones. */
static void
many_go_on(struct many *m)
{
	if (!ev_is_active(&m->turn))
		ev_timer_start(m->services->loop, &m->turn);
}

static void
on_made(void *arg, const struct err *e)
{
	struct making *k = arg;
	struct many *m = k->many;
	bool lost = e && !m->call && !redis_is_up(m->services->redis);

	set_answer(m, k->at, k->id, e);
	m->open--;
	m->open_bytes -= k->bytes;
	free(k);
	/* Nobody is told, and nothing can be done: herod may be ending. */
	if (lost)
		m->next = json_array_size(m->jobs);
	if (m->open == 0 && m->next == json_array_size(m->jobs))
		many_end(m);
	else
		many_go_on(m);
}

static void
make(struct many *m, size_t at)
{
	const json_t *job = json_array_get(m->jobs, at);
	const char *runner = json_string_value(json_object_get(job, "runner"));
	struct making *k = xcalloc(1, sizeof(*k));
	struct err e = {0};

	k->many = m;
	k->at = at;
	k->bytes = json_string_length(json_object_get(job, "payload"));
	m->open++;
	m->open_bytes += k->bytes;
	if (!json_is_object(job))
		err_set(&e, ERR_PARAMS, "jobs: it is not a JSON object");
	else if (!runner)
		err_set(&e, ERR_PARAMS, "job: it must name its runner");
	else if (workers_create(m->services->workers, runner, job, k->id,
		     on_made, k, &e) == 0)
		return;
	set_answer(m, at, NULL, &e);
	m->open--;
	m->open_bytes -= k->bytes;
	free(k);
}

static void
on_turn(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("RPC method", "jobs.create_many");
	struct many *m = w->data;
	size_t n = json_array_size(m->jobs), made = 0;

	(void)loop;
	(void)revents;
	while (m->next < n && made++ < TURN_MAX && m->open < OPEN_MAX &&
	    m->open_bytes < OPEN_BYTES)
		make(m, m->next++);
	if (m->open == 0 && m->next == n)
		many_end(m);
	else if (m->open == 0)
		many_go_on(m);
}

static void
on_gone(void *arg)
{
	((struct many *)arg)->call = NULL;
}

static bool
are_too_many(struct call *call)
{
	size_t n = json_array_size(call_json(call, "jobs"));
	struct err e = {0};

	if (n <= JOBS_MAX)
		return false;
	err_set(&e, ERR_TOO_LARGE, "jobs: %zu; wanted at most %d", n, JOBS_MAX);
	call_refuse(call, &e);
	return true;
}

HANDLER(jobs_create_many)
{
	struct many *m;
	size_t i;

	if (are_too_many(call))
		return;
	m = xcalloc(1, sizeof(*m));
	m->call = call;
	m->services = call->services;
	m->jobs = json_incref(call_json(call, "jobs"));
	m->answers = json_array();
	for (i = 0; i < json_array_size(m->jobs); i++)
		json_array_append_new(m->answers, json_null());
	ev_timer_init(&m->turn, on_turn, 0., 0.);
	m->turn.data = m;
	call_on_gone(call, on_gone, m);
	many_go_on(m);
}
