/* Methods about jobs. */
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "mem.h"
#include "rpc.h"
#include "worker.h"

/* A call that is answered later; call is NULL when nobody waits any more. */
struct asked {
	struct call *call;
	struct workers *workers;
	struct job_wait *wait;
	double timeout;
	char id[129];
};

static void
on_gone(void *arg)
{
	struct asked *a = arg;

	a->call = NULL;
	if (!a->wait)
		return; /* its answer comes and is dropped */
	job_wait_cancel(a->wait);
	free(a);
}

static struct asked *
asked_new(struct call *call)
{
	struct asked *a = xcalloc(1, sizeof(*a));

	a->call = call;
	a->workers = call->services->workers;
	call_on_gone(call, on_gone, a);
	return a;
}

/* Ends the call and the asked: with a result, or with a refusal. */
static void
asked_answer(struct asked *a, json_t *stolen, const struct err *e)
{
	struct call *call = a->call;

	free(a);
	if (!call) {
		json_decref(stolen);
		return;
	}
	call_on_gone(call, NULL, NULL);
	if (e)
		call_refuse(call, e);
	else
		call_reply(call, stolen);
}

/* ---- queueing ---- */

static void
on_queued(void *arg, const struct err *e)
{
	struct asked *a = arg;

	asked_answer(a, e ? NULL : json_string(a->id), e);
}

HANDLER(queue_job_to_runner)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_create(a->workers, call_string(call, "runner"),
		call_json(call, "job"), a->id, on_queued, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- waiting ---- */

static void
on_over(void *arg, const struct job *j, const struct err *e)
{
	struct asked *a = arg;

	asked_answer(a, j ? job_result_json(j) : NULL, e);
}

HANDLER(job_wait)
{
	struct asked *a = asked_new(call);

	call_outlives(call);
	a->wait = workers_wait(a->workers, call_string(call, "id"),
	    call_number(call, "timeout"), false, on_over, a);
}

/* ---- queueing and waiting ---- */

/* The next herod is asked for the same job. */
static void
on_run_queued(void *arg, const struct err *e)
{
	struct asked *a = arg;

	if (e || !a->call) {
		asked_answer(a, NULL, e);
		return;
	}
	json_object_set_new(
	    call_json(a->call, "job"), "id", json_string(a->id));
	call_outlives(a->call);
	a->wait = workers_wait(a->workers, a->id, a->timeout, true, on_over, a);
}

/* It was queued by the herod before. */
static void
run_again(struct call *call, const char *id)
{
	struct asked *a = asked_new(call);

	call_outlives(call);
	a->wait = workers_wait(
	    a->workers, id, call_number(call, "timeout"), false, on_over, a);
}

HANDLER(job_run)
{
	json_t *job = call_json(call, "job");
	const char *runner = json_string_value(json_object_get(job, "runner"));
	struct err e = {0};
	struct asked *a;

	if (!runner) {
		err_set(&e, ERR_PARAMS, "job: it must name its runner");
		call_refuse(call, &e);
		return;
	}
	if (call->again) {
		run_again(call, json_string_value(json_object_get(job, "id")));
		return;
	}
	a = asked_new(call);
	a->timeout = call_number(call, "timeout");
	if (workers_create(
		a->workers, runner, job, a->id, on_run_queued, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- looking ---- */

static void
ask_job(struct call *call, job_fn fn)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_read(a->workers, call_string(call, "id"), fn, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

static void
answer_status(void *arg, struct job *j, const struct err *e)
{
	asked_answer(
	    arg, j ? json_string(job_status_word(j->status)) : NULL, e);
	job_free(j);
}

HANDLER(job_status)
{
	ask_job(call, answer_status);
}

static void
answer_result(void *arg, struct job *j, const struct err *e)
{
	struct err not_yet = {0};

	if (j && !job_is_over(j->status)) {
		err_set(&not_yet, ERR_ILLEGAL_MOVE,
		    "job %s has no result yet: it is %s", j->spec.id,
		    job_status_word(j->status));
		err_hint(&not_yet, "job.wait waits for it");
		err_subject(&not_yet, j->spec.id);
		e = &not_yet;
	}
	asked_answer(arg, e ? NULL : job_result_json(j), e);
	job_free(j);
}

HANDLER(job_result)
{
	ask_job(call, answer_result);
}

static void
answer_job(void *arg, struct job *j, const struct err *e)
{
	asked_answer(arg, j ? job_json(j, false) : NULL, e);
	job_free(j);
}

HANDLER(job_get)
{
	ask_job(call, answer_job);
}

/* ---- cancelling ---- */

static void
on_cancelled(void *arg, const char *status, const struct err *e)
{
	asked_answer(arg, e ? NULL : json_string(status), e);
}

static void
on_stopped(void *arg, const struct job *j, const struct err *e)
{
	asked_answer(
	    arg, j ? json_string(job_status_word(j->status)) : NULL, e);
}

HANDLER(job_stop)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	call_outlives(call);
	if (call->again) {
		a->wait = workers_wait(a->workers, call_string(call, "id"), 0,
		    false, on_stopped, a);
		return;
	}
	if (workers_cancel(
		a->workers, call_string(call, "id"), on_cancelled, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- after the end ---- */

static void
on_retried(void *arg, const struct err *e)
{
	asked_answer(arg, e ? NULL : json_string("dispatched"), e);
}

HANDLER(job_retry)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_retry(
		a->workers, call_string(call, "id"), on_retried, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

static void
on_deleted(void *arg, const struct err *e)
{
	asked_answer(arg, e ? NULL : json_true(), e);
}

HANDLER(job_delete)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_delete(
		a->workers, call_string(call, "id"), on_deleted, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- listing ---- */

static void
on_listed(void *arg, json_t *page, const struct err *e)
{
	asked_answer(arg, page, e);
}

static int
status_wanted(const struct call *call)
{
	const char *word = call_string(call, "status");
	enum job_status s;

	for (s = 0; word && s < JOB_STATUSES; s++)
		if (!strcmp(job_status_word(s), word))
			return (int)s;
	return -1;
}

HANDLER(jobs_list)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_list(a->workers, call_string(call, "runner"),
		status_wanted(call), call_count(call, "limit"),
		call_string(call, "cursor"), on_listed, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- nodes ---- */

HANDLER(nodes_list)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_nodes(a->workers, on_listed, a, &e) == -1)
		asked_answer(a, NULL, &e);
}
