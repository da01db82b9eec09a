/*
 * Answers are as the OpenRPC document says.  rpc() looks at each one of every
 * test; here are those of all kinds of runners and jobs in all their states,
 * with Redis and without, and a proof that the look finds what is wrong.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"
#include "method.h"
#include "shape.h"

/* ---- the look itself ---- */

/* An answer that is well; the caller spoils it. */
static json_t *
answer_of(const char *method)
{
	json_t *result = json_loads(
	    method_find(method)->example_result, JSON_DECODE_ANY, NULL);

	return json_pack("{s:o}", "result", result);
}

static void
has_fault(const char *method, json_t *answer, const char *fault)
{
	const char *found = answer_fault(method, answer);

	check(found != NULL);
	check_has(found, fault);
	json_decref(answer);
}

void
test_a_member_that_is_missing_is_found(void)
{
	json_t *answer = answer_of("jobs.purge");

	check(answer_fault("jobs.purge", answer) == NULL);
	json_object_del(at(answer, "result"), "refused");
	has_fault("jobs.purge", answer, "result: there is no refused");
}

void
test_a_member_that_is_missing_deep_inside_is_found(void)
{
	json_t *answer = answer_of("jobs.stats");

	check(answer_fault("jobs.stats", answer) == NULL);
	json_object_del(at(answer, "result.up.finished"), "oldest");
	has_fault(
	    "jobs.stats", answer, "result.up.finished: there is no oldest");
}

void
test_a_member_that_nobody_told_of_is_found(void)
{
	json_t *answer = answer_of("get_version");

	json_object_set_new(at(answer, "result"), "mood", json_true());
	has_fault("get_version", answer, "nobody told of mood");
}

void
test_a_value_of_another_type_is_found(void)
{
	json_t *answer = answer_of("remove_runner");

	json_object_set_new(at(answer, "result"), "removed", json_integer(1));
	has_fault("remove_runner", answer, "result.removed: is of another");
}

void
test_an_error_that_the_method_does_not_tell_is_found(void)
{
	json_t *answer = json_pack("{s:{s:i, s:s, s:{s:s, s:b}}}", "error",
	    "code", -32010, "message", "no", "data", "name", "no_such_runner",
	    "retryable", 0);

	check(answer_fault("stop_runner", answer) == NULL);
	has_fault("ping", answer, "error -32010 is not told");
}

/* Those of the document are filled up by what their schemas require. */
void
test_every_example_of_the_document_is_whole(void)
{
	json_t *document = method_openrpc(""), *method, *answer;
	const char *name, *fault;
	size_t i;

	json_array_foreach (at(document, "methods"), i, method) {
		name = text_at(method, "name");
		answer = json_pack(
		    "{s:O}", "result", at(method, "examples.0.result.value"));
		fault = answer_fault(name, answer);
		if (fault != NULL)
			check_fail(__FILE__, __LINE__, "%s: %s", name, fault);
		json_decref(answer);
	}
	json_decref(document);
}

/* ---- runners ---- */

static void
all_is_told(struct herod *h)
{
	rpc(h, "get_all_runner_status", NULL);
	rpc(h, "get_all_runner_status", "{s:b}", "brief", 1);
	rpc(h, "get_all_status", NULL);
	rpc(h, "get_config", NULL);
	rpc(h, "schedules.list", NULL);
	rpc(h, "get_runner_processes", NULL);
}

static struct herod *
start_all_kinds(void)
{
	return herod_start(AT_ONCE
	    "[runner:service]\ncommand = sleep 1000\n"
	    "[runner:watched]\ncommand = sleep 1000\n"
	    "health = exec:true\nhealth_interval = 0.1\n"
	    "[runner:exec]\nkind = exec\ncommand = sh -c 'cat; echo x >&2'\n"
	    "[runner:stdio]\nkind = stdio\ncommand = sleep 1000\n"
	    "[runner:redis]\nkind = redis\ncommand = sleep 1000\n"
	    "[runner:bad]\ncommand = false\nstartsecs = 1000\n"
	    "startretries = 0\n"
	    "[runner:late]\ncommand = false\nstartsecs = 1000\n"
	    "backoff_base = 1000\n"
	    "[schedule:often]\nrunner = exec\nevery = 3600\n"
	    "[schedule:nightly]\nrunner = exec\ncron = 0 4 * * *\n");
}

static void
each_is_explained(struct herod *h)
{
	const json_t *name;
	size_t i;

	json_array_foreach (rpc(h, "list_runners", NULL), i, name)
		rpc(h, "explain_runner", "[s]", json_string_value(name));
}

void
test_runners_of_all_kinds_are_as_told_in_every_state(void)
{
	struct herod *h = start_all_kinds();

	wait_for_redis(h);
	rpc(h, "register_runner", "[s, s]", "far", "far");
	wait_for(is_state(h, "bad", "FATAL"));
	wait_for(is_state(h, "late", "BACKOFF"));
	all_is_told(h);
	each_is_explained(h);
	rpc(h, "stop_all", NULL);
	all_is_told(h);
	each_is_explained(h);
	rpc(h, "unregister_runner", "[s]", "far");
	herod_stop(h);
}

void
test_events_are_as_told(void)
{
	struct herod *h = start_all_kinds();
	int fd = door_unix(h);
	json_t *news;

	wait_for_redis(h);
	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"subscribe\",\"id\":1,"
	    "\"params\":[\"*\"]}\n");
	check(answer_fault("subscribe", recv_json(fd)) == NULL);
	rpc(h, "job.run", "[{s:s}]", "runner", "exec");
	rpc(h, "remove_runner", "[s]", "service");
	/* recv_json() looks at each. */
	do
		news = recv_json(fd);
	while (at(news, "params.what") == NULL ||
	    strcmp(text_at(news, "params.what"), "removed") != 0);
	close(fd);
	herod_stop(h);
}

/* ---- jobs ---- */

static struct herod *
start_workers(void)
{
	return herod_start(
	    AT_ONCE "[runner:good]\nkind = exec\ncommand = cat\n"
		    "[runner:bad]\nkind = exec\njob_retries = 0\n"
		    "command = sh -c 'echo why >&2; exit 3'\n"
		    "[runner:long]\nkind = exec\ncommand = sleep 1000\n");
}

static void
make_job(struct herod *h, const char *runner, const char *id, json_t *more)
{
	json_object_set_new(more, "runner", json_string(runner));
	json_object_set_new(more, "id", json_string(id));
	rpc(h, "queue_job_to_runner", "[s, O]", runner, more);
	json_decref(more);
}

static void
is_told_when(struct herod *h, const char *id, const char *status)
{
	wait_for(job_is(h, id, status));
	rpc(h, "job.get", "[s]", id);
	if (strcmp(status, "finished") == 0 || strcmp(status, "error") == 0)
		rpc(h, "job.result", "[s]", id);
	else
		rpc(h, "jobs.list", NULL);
}

void
test_jobs_are_as_told_in_every_status(void)
{
	struct herod *h = start_workers();

	wait_for_redis(h);
	rpc(h, "jobs.create", "[{s:s, s:s}]", "runner", "good", "id", "new");
	is_told_when(h, "new", "created");
	make_job(h, "good", "good", json_object());
	is_told_when(h, "good", "finished");
	make_job(h, "bad", "bad", json_object());
	is_told_when(h, "bad", "error");
	make_job(h, "bad", "again",
	    json_pack("{s:i, s:i}", "retries", 1, "backoff", 1000));
	is_told_when(h, "again", "scheduled");
	make_job(h, "good", "later", json_pack("{s:i}", "delay", 1000));
	is_told_when(h, "later", "scheduled");
	make_job(
	    h, "good", "after", json_pack("{s:[s]}", "prerequisites", "later"));
	is_told_when(h, "after", "waiting_for_prerequisites");
	make_job(h, "long", "slow", json_pack("{s:f}", "timeout", 0.1));
	is_told_when(h, "slow", "timeout");
	make_job(h, "long", "long", json_object());
	is_told_when(h, "long", "started");
	make_job(h, "long", "next", json_object());
	is_told_when(h, "next", "dispatched");
	all_is_told(h);
	rpc(h, "job.stop", "[s]", "long");
	is_told_when(h, "long", "cancelled");
	rpc(h, "jobs.stats", NULL);
	rpc(h, "jobs.purge", NULL);
	rpc(h, "job.stop", "[s]", "next");
	herod_stop(h);
}

/* ---- without Redis ---- */

void
test_answers_are_as_told_while_redis_is_away(void)
{
	const char *socket = here("redis.sock");
	pid_t redis = redis_start(socket);
	struct herod *h =
	    herod_start_with("", text("--redis_url unix://%s", socket),
		AT_ONCE "[runner:good]\nkind = exec\ncommand = cat\n");

	wait_for_redis(h);
	kill(redis, SIGKILL);
	wait_for(json_is_false(at(rpc(h, "get_all_status", NULL), "redis.up")));
	all_is_told(h);
	each_is_explained(h);
	rpc(h, "add_runner", "[{s:s, s:s, s:s}]", "name", "more", "kind",
	    "exec", "command", "cat");
	rpc(h, "remove_runner", "[s]", "more");
	rpc_error(h, "jobs.list", NULL);
	rpc_error(h, "job.get", "[s]", "nothing");
	rpc_error(h, "queue_job_to_runner", "[s]", "good");
	herod_stop(h);
}
