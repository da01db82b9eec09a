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

/* The call that is to be answered, or NULL. */
static struct call *
asked_end(struct asked *a)
{
	struct call *call = a->call;

	free(a);
	if (call)
		call_on_gone(call, NULL, NULL);
	return call;
}

/* Ends the call and the asked: with a result, or with a refusal. */
static void
asked_answer(struct asked *a, json_t *stolen, const struct err *e)
{
	struct call *call = asked_end(a);

	if (!call)
		json_decref(stolen);
	else if (e)
		call_refuse(call, e);
	else
		call_reply(call, stolen);
}

static void
asked_outcome(struct asked *a, const struct job *j)
{
	struct call *call = asked_end(a);

	if (call)
		call_reply_by(call, job_write_outcome, (void *)j);
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

/* The job's runner, which it must name; NULL after refusing. */
static const char *
runner_named(struct call *call)
{
	const char *runner = json_string_value(
	    json_object_get(call_json(call, "job"), "runner"));
	struct err e = {0};

	if (!runner) {
		err_set(&e, ERR_PARAMS, "job: it must name its runner");
		call_refuse(call, &e);
	}
	return runner;
}

HANDLER(jobs_create)
{
	const char *runner = runner_named(call);
	struct asked *a = runner ? asked_new(call) : NULL;
	struct err e = {0};

	if (a &&
	    workers_hold(a->workers, runner, call_json(call, "job"), a->id,
		on_queued, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- waiting ---- */

static void
on_over(void *arg, const struct job *j, const struct err *e)
{
	if (j)
		asked_outcome(arg, j);
	else
		asked_answer(arg, NULL, e);
}

HANDLER(job_wait)
{
	struct asked *a = asked_new(call);

	call_outlives(call);
	a->wait = workers_wait(a->workers, call_string(call, "id"),
	    call_number(call, "timeout"), false, on_over, a);
}

/* ---- queueing and waiting ---- */

/* What the next herod is asked for: the same job.  The payload is not kept for
 * as long as it waits. */
static void
ask_for_id(struct call *call, const char *id)
{
	json_t *job = call_json(call, "job");
	json_t *runner = json_incref(json_object_get(job, "runner"));

	json_object_clear(job);
	json_object_set_new(job, "runner", runner);
	json_object_set_new(job, "id", json_string(id));
}

static void
on_run_queued(void *arg, const struct err *e)
{
	struct asked *a = arg;

	if (e || !a->call) {
		asked_answer(a, NULL, e);
		return;
	}
	ask_for_id(a->call, a->id);
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
	const char *runner = runner_named(call);
	struct err e = {0};
	struct asked *a;

	if (!runner)
		return;
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
	if (e)
		asked_answer(arg, NULL, e);
	else
		asked_outcome(arg, j);
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

/* ---- starting what was only created ---- */

static void
on_start(void *arg, const struct err *e)
{
	struct asked *a = arg;
	struct err trouble = {0};

	if (!e &&
	    workers_read(a->workers, a->id, answer_status, a, &trouble) == 0)
		return;
	asked_answer(a, NULL, e ? e : &trouble);
}

HANDLER(job_start)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	strlcpy(a->id, call_string(call, "id"), sizeof(a->id));
	if (workers_start(a->workers, a->id, on_start, a, &e) == -1)
		asked_answer(a, NULL, &e);
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

	if (workers_list(a->workers,
		(struct page_wanted){
		    .runner = call_string(call, "runner"),
		    .status = status_wanted(call),
		    .tag = call_string(call, "tag"),
		    .limit = call_count(call, "limit"),
		    .cursor = call_string(call, "cursor"),
		},
		on_listed, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

/* ---- many at once ---- */

#define BIT(status) (1u << JOB_##status)
#define FAILED (BIT(ERROR) | BIT(TIMEOUT) | BIT(QUARANTINED))

static unsigned
statuses_wanted(const struct call *call)
{
	const char *word = call_string(call, "status");

	if (!strcmp(word, "failed"))
		return FAILED;
	if (!strcmp(word, "ended"))
		return FAILED | BIT(FINISHED) | BIT(CANCELLED);
	return 1u << status_wanted(call);
}

static void
on_many(void *arg, const struct bulk_told *told, const struct err *e)
{
	struct err partly = {0};

	if (e && told->done > 0) {
		partly = *e;
		err_hint(&partly,
		    "that was so after %lld jobs; ask again for the others",
		    told->done);
		e = &partly;
	}
	asked_answer(arg,
	    e ? NULL
	      : json_pack("{s:I, s:I}", "jobs", (json_int_t)told->done,
		    "refused", (json_int_t)told->refused),
	    e);
}

static void
ask_many(struct call *call, struct bulk_wanted want, bulk_fn fn)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	want.runner = call_string(call, "runner");
	if (workers_bulk(a->workers, want, fn, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

HANDLER(jobs_retry)
{
	ask_many(call,
	    (struct bulk_wanted){
		.what = BULK_RETRY,
		.tag = call_string(call, "tag"),
		.statuses = statuses_wanted(call),
		.limit = call_count(call, "limit"),
	    },
	    on_many);
}

HANDLER(jobs_purge)
{
	ask_many(call,
	    (struct bulk_wanted){
		.what = BULK_PURGE,
		.tag = call_string(call, "tag"),
		.statuses = statuses_wanted(call),
		.older_than = call_number(call, "older_than"),
		.limit = call_count(call, "limit"),
	    },
	    on_many);
}

static void
on_counted(void *arg, const struct bulk_told *told, const struct err *e)
{
	asked_answer(arg, e ? NULL : json_incref(told->counts), e);
}

HANDLER(jobs_stats)
{
	ask_many(call, (struct bulk_wanted){.what = BULK_COUNT}, on_counted);
}

/* ---- pauses ---- */

static void
answer_queue(void *arg, const struct err *e, bool paused)
{
	struct asked *a = arg;

	asked_answer(a,
	    e ? NULL
	      : json_pack("{s:s, s:b}", "queue", a->id, "paused", paused),
	    e);
}

static void
on_paused(void *arg, const struct err *e)
{
	answer_queue(arg, e, true);
}

static void
on_resumed(void *arg, const struct err *e)
{
	answer_queue(arg, e, false);
}

static void
ask_pause(struct call *call, bool pause)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_pause(a->workers, call_string(call, "name"), pause, a->id,
		pause ? on_paused : on_resumed, a, &e) == -1)
		asked_answer(a, NULL, &e);
}

HANDLER(pause_queue)
{
	ask_pause(call, true);
}

HANDLER(resume_queue)
{
	ask_pause(call, false);
}

/* ---- nodes ---- */

HANDLER(nodes_list)
{
	struct asked *a = asked_new(call);
	struct err e = {0};

	if (workers_nodes(a->workers, on_listed, a, &e) == -1)
		asked_answer(a, NULL, &e);
}
