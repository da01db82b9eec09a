/*
 * When jobs begin, and begin again: delays, priorities, prerequisites,
 * unique keys, retries, an attempt that asks for later.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

/* One job at a time; its payload is a line of "runs" when it begins. */
static struct herod *
start_it(const char *settings, const char *body)
{
	struct herod *h;

	h = herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n%s",
	    script("it",
		text("read -r p || :; echo \"$p\" >>%s\n%s", here("runs"),
		    body)),
	    settings);
	wait_for_redis(h);
	return h;
}

/* More settings as for json_pack() within the job. */
static const char *
queue_with(struct herod *h, const char *payload, const char *more)
{
	json_t *job = json_loads(more, 0, NULL);

	check(job != NULL);
	json_object_set_new(job, "payload", json_string(payload));
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:o}",
	    "runner", "it", "job", job));
}

/* ---- again ---- */

void
test_a_job_that_fails_is_tried_again_as_often_as_it_may(void)
{
	struct herod *h = start_it("job_backoff = 0.05\n",
	    text("[ $(wc -l <%s) -ge 3 ] || { echo not yet >&2; exit 1; }\n"
		 "echo at last",
		here("runs")));
	const char *id = queue_with(h, "a", "{\"retries\": 5}");
	json_t *job;

	check_str(job_outcome(h, id), "at last");
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "attempts"), 3);
	check_int(int_at(job, "retries_done"), 2);
	check_int(count_lines(here("runs")), 3);
	herod_stop(h);
}

void
test_after_the_last_retry_it_has_failed(void)
{
	struct herod *h =
	    start_it("job_backoff = 0.05\njob_retries = 2\n", "exit 3");
	const char *id = queue_with(h, "a", "{}");

	check_has(job_outcome(h, id), "exit 3");
	check(job_is(h, id, "error"));
	check_int(count_lines(here("runs")), 3);
	herod_stop(h);
}

void
test_what_cannot_succeed_is_not_tried_again(void)
{
	struct herod *h =
	    start_it("job_backoff = 0.05\njob_retries = 2\n", "exit 65");
	const char *id = queue_with(h, "a", "{}");

	check_has(job_outcome(h, id), "exit 65");
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

void
test_a_time_limit_is_a_failure_like_others(void)
{
	struct herod *h = start_it("job_backoff = 0.05\n",
	    text("[ $(wc -l <%s) -ge 2 ] || exec sleep 1000\necho ok",
		here("runs")));
	const char *id =
	    queue_with(h, "a", "{\"retries\": 1, \"timeout\": 0.5}");

	check_str(job_outcome(h, id), "ok");
	herod_stop(h);
}

/* Exit 75, and what it wrote is how long to wait; no retry is used up. */
void
test_a_job_may_ask_for_later_and_say_when(void)
{
	struct herod *h = start_it("job_backoff = 1000\n",
	    text("[ $(wc -l <%s) -ge 3 ] || { echo 0.05s; exit 75; }\necho ok",
		here("runs")));
	const char *id = queue_with(h, "a", "{}");

	check_str(job_outcome(h, id), "ok");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 1);
	herod_stop(h);
}

void
test_while_it_waits_for_another_attempt_it_can_be_cancelled(void)
{
	struct herod *h =
	    start_it("job_backoff = 1000\njob_retries = 1\n", "exit 1");
	const char *id = queue_with(h, "a", "{}");
	json_t *job;

	wait_for(job_is(h, id, "scheduled"));
	job = rpc(h, "job.get", "[s]", id);
	check_has(text_at(job, "error"), "exit 1");
	check_has(text_at(job, "run_at"), "Z");
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", id)), "cancelled");
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

/* ---- stdio workers ---- */

static struct herod *
start_python(const char *body)
{
	struct herod *h;
	const char *program = here("worker.py");

	write_file(program,
	    text("import json, sys\n"
		 "n = 0\n"
		 "for line in sys.stdin:\n"
		 "    q = json.loads(line)\n"
		 "    n += 1\n"
		 "    r = {'jsonrpc': '2.0', 'id': q['id']}\n"
		 "%s"
		 "    print(json.dumps(r), flush=True)\n",
		body));
	h = herod_start(AT_ONCE "[runner:it]\nkind = stdio\n"
				"job_backoff = 0.05\ncommand = python3 %s\n",
	    program);
	wait_for_redis(h);
	return h;
}

void
test_a_worker_says_when_to_try_again_and_when_not(void)
{
	struct herod *h =
	    start_python("    e = {'code': 1, 'message': 'busy'}\n"
			 "    if n < 3:\n"
			 "        e['data'] = {'retry_after': 0.01}\n"
			 "        r['error'] = e\n"
			 "    elif n == 4:\n"
			 "        e['data'] = {'retryable': False}\n"
			 "        r['error'] = e\n"
			 "    else:\n"
			 "        r['result'] = q['params']['attempt']\n");
	const char *id = queue_with(h, "a", "{\"retries\": 9}");

	check_str(job_outcome(h, id), "3");
	id = queue_with(h, "b", "{\"retries\": 9}");
	check_str(job_outcome(h, id), "busy");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 1);
	herod_stop(h);
}

/* The journal of a worker that lives on has the answer to the first attempt;
 * the next herod must not take it for that to the second. */
void
test_kill9_of_herod_does_not_mix_up_attempts(void)
{
	struct herod *h = start_python(
	    text("    if n == 1:\n"
		 "        r['error'] = {'code': 1, 'message': 'first'}\n"
		 "    else:\n"
		 "        open('%s', 'w').close()\n"
		 "        while not __import__('os').path.exists('%s'): "
		 "__import__('select').select([], [], [], 0.01)\n"
		 "        r['result'] = 'second'\n",
		here("second"), here("go")));
	const char *id = queue_with(h, "a", "{\"retries\": 5}");

	wait_for(file_exists(here("second")));
	check(job_is(h, id, "started")); /* herod has noted what it gave */
	herod_kill9(h);
	wait_for_redis(h);
	herod_kill9(h);
	wait_for_redis(h);
	check(job_is(h, id, "started"));
	write_file(here("go"), "");
	check_str(job_outcome(h, id), "second");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 2);
	herod_stop(h);
}

/* The same when it is tried again from the beginning. */
void
test_kill9_of_herod_does_not_end_a_retried_job_by_its_old_answer(void)
{
	struct herod *h = start_python(
	    text("    if n == 1:\n"
		 "        r['error'] = {'code': 1, 'message': 'first'}\n"
		 "    else:\n"
		 "        open('%s', 'w').close()\n"
		 "        while not __import__('os').path.exists('%s'): "
		 "__import__('select').select([], [], [], 0.01)\n"
		 "        r['result'] = 'second'\n",
		here("second"), here("go")));
	const char *id = queue_with(h, "a", "{}");

	check_str(job_outcome(h, id), "first");
	rpc(h, "job.retry", "[s]", id);
	wait_for(file_exists(here("second")));
	check(job_is(h, id, "started")); /* herod has noted what it gave */
	herod_kill9(h);
	wait_for_redis(h);
	check(job_is(h, id, "started"));
	write_file(here("go"), "");
	check_str(job_outcome(h, id), "second");
	herod_stop(h);
}

/* ---- when ---- */

void
test_a_delayed_job_survives_kill9_of_herod(void)
{
	struct herod *h = start_it("", "echo ok");
	const char *id = queue_with(h, "a", "{\"delay\": 1}");

	check(job_is(h, id, "scheduled"));
	check_int(
	    int_at(rpc(h, "get_all_status", NULL), "queues.it.scheduled"), 1);
	herod_kill9(h);
	wait_for_redis(h);
	check_str(job_outcome(h, id), "ok");
	herod_stop(h);
}

void
test_priorities_decide_who_begins_next(void)
{
	struct herod *h = start_it("",
	    text("[ \"$p\" != first ] || until [ -e %s ]; do sleep 0.02; done",
		here("go")));
	const char *last;

	queue_with(h, "first", "{}");
	wait_for(count_lines(here("runs")) == 1);
	last = queue_with(h, "low", "{\"priority\": \"low\"}");
	queue_with(h, "normal", "{}");
	queue_with(h, "high", "{\"priority\": \"high\"}");
	write_file(here("go"), "");
	job_outcome(h, last);
	check_str(file_text(here("runs")), "first\nhigh\nnormal\nlow\n");
	herod_stop(h);
}

void
test_a_job_begins_after_those_it_names(void)
{
	struct herod *h = start_it("numprocs = 2\n",
	    text("[ \"$p\" = after ] || until [ -e %s ]; do sleep 0.02; done",
		here("go")));
	const char *a = queue_with(h, "a", "{}"), *b = queue_with(h, "b", "{}");
	const char *id = queue_with(
	    h, "after", text("{\"prerequisites\": [\"%s\", \"%s\"]}", a, b));

	check(job_is(h, id, "waiting_for_prerequisites"));
	write_file(here("go"), "");
	check_str(job_outcome(h, id), "");
	check_has(file_text(here("runs")), "\nafter\n");
	herod_stop(h);
}

/* Who waits for it is told at once. */
void
test_a_job_ends_when_one_that_it_names_fails(void)
{
	struct herod *h = start_it("",
	    text("until [ -e %s ]; do sleep 0.02; done; exit 1", here("go")));
	const char *a = queue_with(h, "a", "{}");
	const char *id =
	    queue_with(h, "b", text("{\"prerequisites\": [\"%s\"]}", a));
	int waiting = rpc_begin(h, "job.wait", "[s]", id);

	wait_for(count_lines(here("runs")) == 1);
	write_file(here("go"), "");
	check_str(text_at(rpc_end(waiting), "result.error"),
	    text("prerequisite %s did not finish", a));
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

void
test_a_unique_key_is_refused_while_its_job_is_there(void)
{
	struct herod *h = start_it(
	    "", text("until [ -e %s ]; do sleep 0.02; done", here("go")));
	const char *id = queue_with(h, "a", "{\"unique_key\": \"k\"}");
	json_t *e = rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "unique_key", "k");

	check_int(int_at(e, "code"), -32022);
	check_has(text_at(e, "message"), id);
	write_file(here("go"), "");
	job_outcome(h, id);
	job_outcome(h, queue_with(h, "b", "{\"unique_key\": \"k\"}"));
	herod_stop(h);
}

/* ---- after the end ---- */

void
test_a_failed_job_can_be_retried_and_an_old_one_deleted(void)
{
	struct herod *h =
	    start_it("", text("[ -e %s ] || exit 1; echo ok", here("go")));
	const char *id = queue_with(h, "a", "{}");

	check_has(job_outcome(h, id), "exit 1");
	write_file(here("go"), "");
	check_int(heroctl(h, "job retry %s", id).status, 0);
	check_str(job_outcome(h, id), "ok");
	check_int(int_at(rpc_error(h, "job.retry", "[s]", id), "code"), -32021);
	check_int(heroctl(h, "job delete %s", id).status, 0);
	check_int(int_at(rpc_error(h, "job.get", "[s]", id), "code"), -32020);
	herod_stop(h);
}

void
test_what_the_caller_keeps_with_a_job_is_given_back(void)
{
	struct herod *h =
	    start_python("    r['result'] = q['params']['metadata']['n']\n");
	const char *id = queue_with(
	    h, "a", "{\"metadata\": {\"n\": 7}, \"tags\": [\"x\", \"y\"]}");
	json_t *job;

	check_str(job_outcome(h, id), "7");
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "metadata.n"), 7);
	check_str(text_at(job, "tags.1"), "y");
	herod_stop(h);
}
