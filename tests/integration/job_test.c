/*
 * Jobs: queued, run by exec and stdio runners, answered, limited in time,
 * cancelled, given back when a worker dies, kept while Redis is away.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* A herod whose Redis is there, with the runners of conf. */
static struct herod *
start_jobs(const char *conf)
{
	struct herod *h = herod_start(AT_ONCE "%s", conf);

	wait_for_redis(h);
	return h;
}

static struct herod *
start_exec(const char *settings)
{
	return start_jobs(text("[runner:it]\nkind = exec\n%s\n", settings));
}

static struct herod *
start_stdio(const char *settings)
{
	struct herod *h = start_jobs(
	    text("[runner:it]\nkind = stdio\ncommand = %s/tests/integration/"
		 "worker\n%s\n",
		getenv("HEROD_BUILD"), settings));

	wait_for(is_state(h, "it", "RUNNING"));
	return h;
}

static const char *
queue(struct herod *h, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", payload));
}

/* Runs a job; its "success" text, or fails the test. */
static const char *
do_job(struct herod *h, const char *payload)
{
	return text_at(rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner",
			   "it", "payload", payload),
	    "success");
}

/* The same for one that is to fail: its "error" text. */
static const char *
fail_job(struct herod *h, const char *payload)
{
	return text_at(rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner",
			   "it", "payload", payload),
	    "error");
}

static json_t *
job(struct herod *h, const char *id)
{
	return rpc(h, "job.get", "[s]", id);
}

/* ---- exec ---- */

void
test_exec_gets_the_payload_and_gives_the_result(void)
{
	struct herod *h = start_exec("command = tr a-z A-Z");

	check_str(do_job(h, "hello"), "HELLO");
	check_str(do_job(h, ""), "");
	check_str(do_job(h, "two\nlines"), "TWO\nLINES");
	/* As a shell does it, the last newline is taken off. */
	check_str(do_job(h, "two\nlines\n"), "TWO\nLINES");
	herod_stop(h);
}

void
test_a_queued_job_can_be_asked_about(void)
{
	struct herod *h = start_exec("command = wc -w");
	const char *id = queue(h, "three small words");
	json_t *j;

	check_int((int)strlen(id), 36);
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "3");
	check_str(text_at(rpc(h, "job.result", "[s]", id), "success"), "3");
	check(job_is(h, id, "finished"));
	j = job(h, id);
	check_str(text_at(j, "id"), id);
	check_str(text_at(j, "runner"), "it");
	check_str(text_at(j, "status"), "finished");
	check_str(text_at(j, "payload"), "three small words");
	check_str(text_at(j, "result"), "3");
	check_int(int_at(j, "attempts"), 1);
	check_int(int_at(j, "exit.code"), 0);
	check(strcmp(text_at(j, "started_at"), text_at(j, "finished_at")) <= 0);
	herod_stop(h);
}

void
test_jobs_leak_no_descriptor(void)
{
	struct herod *h = start_exec("command = cat\nconcurrency = 4");
	int of_herod, of_keeper, i;

	do_job(h, "first");
	of_herod = count_fds(herod_pid(h));
	of_keeper = count_fds(h->keeper);
	for (i = 0; i < 50; i++)
		queue(h, "more");
	wait_for(int_at(rpc(h, "get_all_status", NULL), "jobs.finished") == 51);
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	wait_for(count_fds(h->keeper) <= of_keeper);
	herod_stop(h);
}

void
test_a_payload_is_never_a_command(void)
{
	struct herod *h = start_exec("command = cat");
	const char *odd = text("$(touch %s); `id` '\"\\ -x\t%%s", here("evil"));

	check_str(do_job(h, odd), odd);
	check(!file_exists(here("evil")));
	herod_stop(h);
}

void
test_a_failing_program_makes_an_error(void)
{
	struct herod *h =
	    start_exec("command = sh -c 'echo half; echo sorry >&2; exit 3'");
	const char *id = queue(h, "");

	check_has(text_at(rpc(h, "job.wait", "[s]", id), "error"), "exit 3");
	check(job_is(h, id, "error"));
	check_int(int_at(job(h, id), "exit.code"), 3);
	check_has(logs_of(h, "it"), "sorry\n");
	herod_stop(h);
}

void
test_a_signal_makes_an_error_that_names_it(void)
{
	struct herod *h = start_exec("command = sh -c 'kill -SEGV $$'");

	check_has(fail_job(h, ""), "SEGV");
	herod_stop(h);
}

void
test_a_missing_program_makes_an_error_that_names_it(void)
{
	struct herod *h = start_exec("command = /no/such/program");
	const char *error = fail_job(h, "");

	check_has(error, "/no/such/program");
	check_has(error, "No such file or directory");
	herod_stop(h);
}

void
test_the_program_knows_its_job(void)
{
	struct herod *h = start_exec(
	    "command = sh -c 'echo $JOB_ID $CALLER_ID $CONTEXT_ID $COLOUR "
	    "$HERO_RUNNER'");

	check_str(
	    text_at(rpc(h, "job.run", "{s:{s:s, s:s, s:s, s:s, s:{s:s}}}",
			"job", "runner", "it", "id", "job-1", "caller_id", "me",
			"context_id", "here", "env_vars", "COLOUR", "blue"),
		"success"),
	    "job-1 me here blue it");
	herod_stop(h);
}

void
test_log_lines_of_a_job_can_be_selected(void)
{
	struct herod *h =
	    start_exec("command = sh -c 'echo \"line of $JOB_ID\" >&2'");
	const char *first = queue(h, ""), *second = queue(h, "");
	json_t *lines;

	rpc(h, "job.wait", "[s]", first);
	rpc(h, "job.wait", "[s]", second);
	lines = rpc(
	    h, "get_runner_logs", "{s:s, s:s}", "name", "it", "job", second);
	check_int((int)json_array_size(lines), 1);
	check_str(text_at(lines, "0.text"), text("line of %s", second));
	check_str(text_at(lines, "0.job"), second);
	herod_stop(h);
}

void
test_jobs_are_done_in_order(void)
{
	struct herod *h = start_exec(text("command = sh -c 'cat >>%s; "
					  "echo >>%s'",
	    here("order"), here("order")));
	const char *last = NULL;
	int i;

	for (i = 1; i <= 20; i++)
		last = queue(h, text("%d", i));
	rpc(h, "job.wait", "[s]", last);
	check_str(file_text(here("order")), run("seq 1 20").out);
	herod_stop(h);
}

void
test_concurrency_is_used_and_kept(void)
{
	struct herod *h = start_exec(text("concurrency = 3\ncommand = %s",
	    script("count",
		text("echo + >>%s; while [ ! -f %s ]; do sleep 0.05; done",
		    here("begun"), here("go")))));
	const char *last = NULL;
	int i;

	for (i = 0; i < 6; i++)
		last = queue(h, "");
	wait_for(count_lines(here("begun")) == 3);
	wait_for(int_at(status_of(h, "it"), "queue.depth") == 3);
	check_int(int_at(status_of(h, "it"), "queue.running"), 3);
	write_file(here("go"), "");
	rpc(h, "job.wait", "[s]", last);
	wait_for(count_lines(here("begun")) == 6);
	herod_stop(h);
}

void
test_a_timeout_kills_the_whole_group(void)
{
	struct herod *h = start_exec(text(
	    "command = sh -c 'sleep 1000 & echo $! >%s; wait'", here("pid")));
	json_t *result = rpc(h, "job.run", "{s:{s:s, s:s, s:f}}", "job",
	    "runner", "it", "id", "slow", "timeout", 2.0);

	check_has(text_at(result, "error"), "time");
	check(job_is(h, "slow", "timeout"));
	check(!is_alive(pid_in(here("pid"))));
	check(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

void
test_the_runners_job_timeout_is_the_default(void)
{
	struct herod *h = start_exec("job_timeout = 0.3\ncommand = sleep 1000");

	check_has(fail_job(h, ""), "time");
	herod_stop(h);
}

void
test_a_result_too_long_is_the_jobs_error(void)
{
	struct herod *h = start_jobs("[herod]\nmax_result = 2048\n"
				     "[runner:it]\nkind = exec\n"
				     "command = sh -c 'cat; cat; cat'\n");
	char payload[3001];

	memset(payload, 'x', sizeof(payload) - 1);
	payload[sizeof(payload) - 1] = '\0';
	check_has(fail_job(h, payload), "max_result");
	check_str(do_job(h, "short"), "short");
	herod_stop(h);
}

void
test_a_big_payload_comes_through_whole(void)
{
	struct herod *h = start_exec("command = md5sum");
	size_t len = 700000;
	char *payload = malloc(len + 1);

	check(payload != NULL);
	memset(payload, 'x', len);
	payload[len] = '\0';
	check_str(do_job(h, payload),
	    run("printf %%s \"$(head -c %zu /dev/zero | tr '\\0' x | "
		"md5sum)\"",
		len)
		.out);
	free(payload);
	herod_stop(h);
}

/* ---- stdio ---- */

void
test_stdio_workers_answer_requests(void)
{
	struct herod *h = start_stdio("");
	pid_t pid = pid_of(h, "it");

	check_str(do_job(h, "echo hello"), "hello");
	check_str(do_job(h, "echo again"), "again");
	check_int(pid_of(h, "it"), pid);
	check_has(fail_job(h, "fail no way"), "no way");
	herod_stop(h);
}

void
test_stdio_answers_may_come_in_any_order(void)
{
	struct herod *h = start_stdio("concurrency = 4");
	const char *a = queue(h, "hold"), *b = queue(h, "hold");

	wait_for(job_is(h, a, "started") && job_is(h, b, "started"));
	check_str(do_job(h, "release"), "released");
	check_str(text_at(rpc(h, "job.wait", "[s]", a), "success"), "held");
	check_str(text_at(rpc(h, "job.wait", "[s]", b), "success"), "held");
	herod_stop(h);
}

void
test_a_stdio_workers_stderr_is_its_log(void)
{
	struct herod *h = start_stdio("");

	do_job(h, "stderr look here");
	wait_for(strcmp(logs_of(h, "it"), "look here\n") == 0);
	herod_stop(h);
}

void
test_a_dead_workers_job_is_given_back_at_once(void)
{
	struct herod *h = start_stdio("");
	const char *id = queue(h, text("die-once %s", here("died")));

	check_str(
	    text_at(rpc(h, "job.wait", "[s]", id), "success"), "second time");
	check_int(int_at(job(h, id), "deaths"), 1);
	check_int(int_at(status_of(h, "it"), "restarts"), 1);
	herod_stop(h);
}

void
test_a_job_that_kills_its_workers_is_put_aside(void)
{
	struct herod *h = start_stdio(
	    "job_poison_limit = 2\nbackoff_base = 0.05\nstartretries = -1");
	const char *id = queue(h, "die");

	check_has(text_at(rpc(h, "job.wait", "[s]", id), "error"), "2");
	check(job_is(h, id, "quarantined"));
	check_int(int_at(job(h, id), "deaths"), 2);
	check_str(do_job(h, "echo alive"), "alive");
	herod_stop(h);
}

void
test_garbage_from_a_worker_is_named_as_such(void)
{
	struct herod *h =
	    start_stdio("job_poison_limit = 1\nbackoff_base = 0.05");
	const char *error = fail_job(h, "say hello world");

	check_has(text("%s %s", error, logs_of(h, "it")), "protocol");
	herod_stop(h);
}

void
test_progress_does_not_end_a_job(void)
{
	struct herod *h = start_stdio("");

	check_str(do_job(h, "progress half way"), "done");
	herod_stop(h);
}

void
test_several_workers_share_the_queue(void)
{
	struct herod *h = start_stdio("numprocs = 3");
	const char *a = queue(h, "hold"), *b = queue(h, "hold");

	wait_for(job_is(h, a, "started") && job_is(h, b, "started"));
	check(int_at(job(h, a), "instance") != int_at(job(h, b), "instance"));
	check_str(do_job(h, "echo free"), "free");
	rpc(h, "job.stop", "[s]", a);
	rpc(h, "job.stop", "[s]", b);
	herod_stop(h);
}

/* ---- cancelled ---- */

void
test_a_cancelled_job_never_starts(void)
{
	struct herod *h = start_exec(text(
	    "autostart = false\ncommand = sh -c 'echo >>%s'", here("ran")));
	const char *id = queue(h, ""), *next = queue(h, "");

	check(job_is(h, id, "dispatched"));
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", id)), "cancelled");
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", id)), "cancelled");
	rpc(h, "start_runner", "[s]", "it");
	rpc(h, "job.wait", "[s]", next);
	check(job_is(h, id, "cancelled"));
	check_int(count_lines(here("ran")), 1);
	check_int(
	    int_at(rpc_error(h, "job.stop", "[s]", next), "code"), -32021);
	herod_stop(h);
}

void
test_cancel_ends_a_running_program(void)
{
	struct herod *h = start_exec(text(
	    "command = sh -c 'echo $$ >%s; exec sleep 1000'", here("pid")));
	const char *id = queue(h, "");
	int waiting = rpc_begin(h, "job.wait", "[s]", id);

	wait_for(job_is(h, id, "started") && pid_in(here("pid")) != 0);
	rpc(h, "job.stop", "[s]", id);
	check_has(text_at(rpc_end(waiting), "result.error"), "cancel");
	check(job_is(h, id, "cancelled"));
	wait_for(!is_alive(pid_in(here("pid"))));
	herod_stop(h);
}

void
test_cancel_reaches_a_stdio_worker(void)
{
	struct herod *h = start_stdio("");
	const char *id = queue(h, "hold");
	pid_t pid = pid_of(h, "it");

	wait_for(job_is(h, id, "started"));
	rpc(h, "job.stop", "[s]", id);
	wait_for(job_is(h, id, "cancelled"));
	check_int(pid_of(h, "it"), pid);
	check_str(do_job(h, "echo next"), "next");
	herod_stop(h);
}

/* ---- refusals ---- */

static long long
queue_code(
    struct herod *h, const char *runner, const char *key, const char *value)
{
	return int_at(rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
			  "runner", runner, "job", key, value),
	    "code");
}

void
test_odd_jobs_are_refused(void)
{
	struct herod *h = start_jobs("[runner:it]\nkind = exec\ncommand = cat\n"
				     "[runner:web]\ncommand = sleep 1000\n");

	check_int(queue_code(h, "nobody", "payload", ""), -32010);
	check_int(queue_code(h, "web", "payload", ""), -32024);
	check_int(queue_code(h, "it", "paylaod", ""), -32602);
	check_int(queue_code(h, "it", "id", "a b"), -32602);
	check_int(queue_code(h, "it", "timeout", "soon"), -32602);
	check_int(
	    int_at(rpc_error(h, "job.get", "[s]", "nothing"), "code"), -32020);
	check_int(
	    int_at(rpc_error(h, "job.wait", "[s]", "nothing"), "code"), -32020);
	herod_stop(h);
}

void
test_an_id_is_used_once(void)
{
	struct herod *h = start_exec("command = cat");

	rpc(h, "job.run", "{s:{s:s, s:s, s:s}}", "job", "runner", "it", "id",
	    "only", "payload", "first");
	check_int(queue_code(h, "it", "id", "only"), -32022);
	check_str(text_at(job(h, "only"), "result"), "first");
	herod_stop(h);
}

void
test_the_result_of_an_unfinished_job_is_refused(void)
{
	struct herod *h = start_exec("command = cat\nautostart = false");
	const char *id = queue(h, "");

	check_int(
	    int_at(rpc_error(h, "job.result", "[s]", id), "code"), -32021);
	check_int(int_at(rpc_error(h, "job.wait", "{s:s, s:f}", "id", id,
			     "timeout", 0.1),
		      "code"),
	    -32015);
	herod_stop(h);
}

void
test_an_ended_job_is_kept_for_its_ttl(void)
{
	struct herod *h = start_exec("command = cat");
	json_t *answer;

	rpc(h, "job.run", "{s:{s:s, s:s, s:i}}", "job", "runner", "it", "id",
	    "brief", "result_ttl", 1);
	check(job_is(h, "brief", "finished"));
	wait_for((answer = rpc_end(rpc_begin(h, "job.get", "[s]", "brief")),
	    at(answer, "error.code") != NULL));
	check_int(int_at(answer, "error.code"), -32020);
	herod_stop(h);
}

void
test_jobs_are_listed_newest_first_by_pages(void)
{
	struct herod *h = start_exec("command = cat");
	json_t *page;
	int i;

	for (i = 0; i < 3; i++)
		rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner", "it", "id",
		    text("job-%d", i));
	page = rpc(h, "jobs.list", "{s:s, s:s, s:i}", "runner", "it", "status",
	    "finished", "limit", 2);
	check_int((int)json_array_size(at(page, "jobs")), 2);
	check_str(text_at(page, "jobs.0.id"), "job-2");
	check_str(text_at(page, "jobs.1.id"), "job-1");
	page = rpc(h, "jobs.list", "{s:s, s:s}", "runner", "it", "cursor",
	    text_at(page, "cursor"));
	check_int((int)json_array_size(at(page, "jobs")), 1);
	check_str(text_at(page, "jobs.0.id"), "job-0");
	check(json_is_null(at(page, "cursor")));
	page = rpc(h, "jobs.list", "{s:s}", "status", "error");
	check_int((int)json_array_size(at(page, "jobs")), 0);
	herod_stop(h);
}

/* ---- stopped and started runners ---- */

void
test_a_job_waits_for_its_runner(void)
{
	struct herod *h = start_exec("command = cat\nautostart = false");
	const char *id = queue(h, "patience");

	check(job_is(h, id, "dispatched"));
	check_int(int_at(status_of(h, "it"), "queue.depth"), 1);
	rpc(h, "start_runner", "[s]", "it");
	check_str(
	    text_at(rpc(h, "job.wait", "[s]", id), "success"), "patience");
	herod_stop(h);
}

void
test_stop_lets_a_job_in_hand_end(void)
{
	struct herod *h = start_exec(text(
	    "command = sh -c 'echo >%s; sleep 0.7; echo done'", here("begun")));
	const char *id = queue(h, ""), *next = queue(h, "");

	wait_for(file_exists(here("begun")));
	check_str(
	    text_at(rpc(h, "stop_runner", "[s]", "it"), "state"), "STOPPED");
	check(job_is(h, id, "finished"));
	check(job_is(h, next, "dispatched"));
	herod_stop(h);
}

void
test_stop_without_drain_gives_the_job_back(void)
{
	struct herod *h = start_exec(
	    text("command = sh -c 'echo >>%s; [ -f %s ] || exec sleep 1000; "
		 "echo done'",
		here("begun"), here("go")));
	const char *id = queue(h, "");

	wait_for(file_exists(here("begun")));
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "drain", 0);
	wait_for(job_is(h, id, "dispatched"));
	check_int(int_at(job(h, id), "deaths"), 0);
	write_file(here("go"), "");
	rpc(h, "start_runner", "[s]", "it");
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "done");
	herod_stop(h);
}

void
test_queued_jobs_outlive_herod(void)
{
	struct herod *h = start_exec("command = cat\nautostart = false");
	const char *id = queue(h, "still here");

	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	check(job_is(h, id, "dispatched"));
	rpc(h, "start_runner", "[s]", "it");
	check_str(
	    text_at(rpc(h, "job.wait", "[s]", id), "success"), "still here");
	herod_stop(h);
}

void
test_removing_a_runner_counts_its_queued_jobs(void)
{
	struct herod *h = start_exec("command = cat\nautostart = false");

	queue(h, "one");
	queue(h, "two");
	check_int(
	    int_at(rpc(h, "remove_runner", "[s]", "it"), "queued_jobs"), 2);
	herod_stop(h);
}

/* ---- Redis ---- */

static pid_t
private_redis(struct herod *h)
{
	return (pid_t)atoi(
	    run("pgrep -P %d -x redis-server", (int)h->keeper).out);
}

/* Pitfall 48. */
void
test_supervision_does_not_notice_that_redis_is_away(void)
{
	struct herod *h = herod_start_with("",
	    text("--redis_url unix://%s", here("nobody.sock")),
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
		    "[runner:it]\nkind = exec\ncommand = cat\n");
	json_t *error;
	pid_t pid;

	wait_for((pid = pid_of(h, "web")) != 0);
	kill(pid, SIGKILL);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != pid);
	rpc(h, "stop_runner", "[s]", "web");
	check(json_is_null(at(status_of(h, "it"), "queue.depth")));
	error = rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner",
	    "it", "job", "payload", "x");
	check_int(int_at(error, "code"), -32030);
	check(json_is_true(at(error, "data.retryable")));
	check(strlen(text_at(error, "data.hint")) > 0);
	herod_stop(h);
}

void
test_the_private_redis_comes_back_with_all_jobs(void)
{
	struct herod *h = start_jobs("[herod]\nredis_fsync = always\n"
				     "[runner:it]\nkind = exec\n"
				     "command = cat\nautostart = false\n");
	const char *id = queue(h, "kept");
	pid_t redis = private_redis(h);

	check(redis != 0);
	kill(redis, SIGKILL);
	wait_for(private_redis(h) != 0 && private_redis(h) != redis);
	wait_for_redis(h);
	rpc(h, "start_runner", "[s]", "it");
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "kept");
	herod_stop(h);
}

void
test_a_job_in_hand_survives_the_death_of_redis(void)
{
	struct herod *h =
	    start_exec(text("command = sh -c 'echo >>%s; while [ ! -f %s ]; do "
			    "sleep 0.05; done; echo done'",
		here("begun"), here("go")));
	const char *id = queue(h, "");
	pid_t redis;

	wait_for(file_exists(here("begun")));
	redis = private_redis(h);
	kill(redis, SIGKILL);
	wait_for(!is_alive(redis));
	write_file(here("go"), "");
	wait_for_redis(h);
	wait_for(job_is(h, id, "finished"));
	check_str(text_at(job(h, id), "result"), "done");
	check_int(count_lines(here("begun")), 1);
	herod_stop(h);
}

static struct herod *
start_on_redis(const char *socket)
{
	struct herod *h;

	redis_start(socket);
	h = herod_start_with("", text("--redis_url unix://%s", socket),
	    AT_ONCE "[runner:it]\nkind = exec\ncommand = tr a-z A-Z\n");
	wait_for_redis(h);
	return h;
}

void
test_a_job_queued_the_hero_way_is_taken(void)
{
	const char *s = here("redis.sock");
	struct herod *h = start_on_redis(s);

	redis(s,
	    "hset hero:job:foreign-1 id foreign-1 payload hello "
	    "status dispatched runner it");
	redis(s, "rpush hero:work_queue:it foreign-1");
	check_has(redis(s, "blpop hero:reply:foreign-1 10"), "HELLO");
	check_str(redis(s, "hget hero:job:foreign-1 status"), "finished\n");
	check_str(redis(s, "hget hero:job:foreign-1 result"), "HELLO\n");
	herod_stop(h);
}

void
test_an_own_redis_that_refuses_is_told(void)
{
	const char *s = here("redis.sock");
	struct herod *h = start_on_redis(s);
	json_t *error;

	redis(s, "config set maxmemory 1");
	error = rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner",
	    "it", "job", "payload", "x");
	check_int(int_at(error, "code"), -32030);
	check_has(text_at(error, "message"), "memory");
	redis(s, "config set maxmemory 0");
	check_str(do_job(h, "again"), "AGAIN");
	redis(s, "replicaof 127.0.0.1 1");
	error = rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner",
	    "it", "job", "payload", "x");
	check_int(int_at(error, "code"), -32030);
	redis(s, "replicaof no one");
	wait_for_redis(h);
	check_str(do_job(h, "again"), "AGAIN");
	herod_stop(h);
}

void
test_a_redis_password_is_used_and_a_wrong_one_told(void)
{
	const char *s = here("redis.sock");
	struct herod *h = start_on_redis(s);
	const char *why;

	redis(s, "config set requirepass secret");
	redis(s, "-a secret client kill type normal");
	wait_for(json_is_false(at(rpc(h, "get_all_status", NULL), "redis.up")));
	wait_for((why = text_at(rpc(h, "get_all_status", NULL), "redis.why"),
	    strstr(why, "password") != NULL));
	herod_stop(h);
}

/* One that takes connections and says nothing for a while. */
void
test_a_hung_redis_is_dialled_anew(void)
{
	const char *s = here("redis.sock");
	struct herod *h;
	json_t *answer;

	redis_start(s);
	h = herod_start_with("",
	    text("--redis_timeout 2 --redis_url unix://%s", s),
	    AT_ONCE "[runner:it]\nkind = exec\ncommand = tr a-z A-Z\n");
	wait_for_redis(h);
	check_str(do_job(h, "before"), "BEFORE");
	check_str(redis(s, "client pause 4000 all"), "OK\n");
	/* The last of them hangs with Redis, and is told so in time. */
	wait_for(
	    (answer = rpc_end(rpc_begin(h, "queue_job_to_runner", "[s]", "it")),
		at(answer, "error.code") != NULL));
	check_int(int_at(answer, "error.code"), -32030);
	check(json_is_false(at(rpc(h, "get_all_status", NULL), "redis.up")));
	wait_for_redis(h);
	check_str(do_job(h, "after"), "AFTER");
	herod_stop(h);
}

/* ---- the samples ---- */

void
test_the_exec_sample_works(void)
{
	struct herod *h =
	    start_exec(text("command = %s", sample_path("shout")));
	const char *id = queue(h, "hello");

	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "HELLO");
	check_str(logs_of(h, "it"), text("job %s\n", id));
	herod_stop(h);
}

static void
check_stdio_sample(const char *interpreter, const char *path, const char *want)
{
	struct herod *h;

	if (run("command -v %s", interpreter).status != 0)
		skip(text("%s is not here", interpreter));
	h = start_jobs(text(
	    "[runner:it]\nkind = stdio\ncommand = %s %s\n", interpreter, path));
	check_str(do_job(h, "hello"), want);
	check_str(do_job(h, "hello"), want);
	herod_stop(h);
}

void
test_the_python_sample_works(void)
{
	check_stdio_sample("python3", sample_path("worker.py"), "olleh");
}

void
test_the_node_sample_works(void)
{
	check_stdio_sample("node", sample_path("worker.js"), "hello");
}

static const char *
c_sample(void)
{
	return text("%s/etc/samples/worker", getenv("HEROD_BUILD"));
}

void
test_the_c_sample_works(void)
{
	check_stdio_sample("env", c_sample(), "5");
}

void
test_the_c_sample_fails_reports_progress_and_heeds_cancel(void)
{
	struct herod *h = start_jobs(
	    text("[runner:it]\nkind = stdio\ncommand = %s\n", c_sample()));
	char many[20001] = "";
	const char *id;

	check_has(fail_job(h, "..."), "there are no letters");
	memset(many, 'x', sizeof(many) - 1); /* minutes */
	id = queue(h, many);
	wait_for(at(job(h, id), "progress.fraction"));
	rpc(h, "job.stop", "[s]", id);
	wait_for(job_is(h, id, "cancelled"));
	check_str(do_job(h, "on it goes"), "8");
	herod_stop(h);
}

/* ---- many ---- */

void
test_every_job_of_a_crowd_is_answered_once(void)
{
	struct herod *h = start_stdio("numprocs = 2\nconcurrency = 8");
	int fd = door_unix(h), i, n = 500;
	bool seen[500] = {false};
	json_t *answer;

	for (i = 0; i < n; i++)
		send_text(fd,
		    text("{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":"
			 "\"job.run\",\"params\":{\"job\":{"
			 "\"runner\":\"it\",\"payload\":"
			 "\"echo %d\"}}}\n",
			i, i));
	for (i = 0; i < n; i++) {
		answer = recv_json(fd);
		check(!seen[int_at(answer, "id")]);
		seen[int_at(answer, "id")] = true;
		check_str(text_at(answer, "result.success"),
		    text("%lld", int_at(answer, "id")));
	}
	close(fd);
	herod_stop(h);
}

void
test_summary_counts_jobs_by_status(void)
{
	struct herod *h =
	    start_exec("command = sh -c 'read a; [ \"$a\" != wait ] ||"
		       " exec sleep 1000; [ \"$a\" = good ]'");
	json_t *jobs;

	do_job(h, "good\n");
	fail_job(h, "bad\n");
	queue(h, "wait\n");
	wait_for(int_at(rpc(h, "get_all_status", NULL), "jobs.started") == 1);
	queue(h, "wait\n");
	queue(h, "wait\n");
	jobs = at(rpc(h, "get_all_status", NULL), "jobs");
	check(json_number_value(at(
		  rpc(h, "get_all_status", NULL), "queues.it.oldest_age")) > 0);
	check(json_number_value(
		  at(rpc(h, "get_all_status", NULL), "queues.it.rate")) > 0);
	check_int(int_at(jobs, "dispatched"), 2);
	check_int(int_at(jobs, "started"), 1);
	check_int(int_at(jobs, "finished"), 1);
	check_int(int_at(jobs, "error"), 1);
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "drain", 0);
	herod_stop(h);
}

/* ---- what job_model_test has found ---- */

/* One gets room while a take for the other one is on its way. */
void
test_all_instances_of_a_started_runner_take_jobs(void)
{
	struct herod *h = start_stdio("numprocs = 2\nconcurrency = 60");
	int round, i;

	for (i = 0; i < 120; i++)
		queue(h, "hold");
	for (round = 0; round < 50; round++) {
		rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "drain", 0);
		rpc(h, "start_runner", "[s]", "it");
		wait_for(int_at(rpc(h, "get_all_status", NULL),
			     "queues.it.depth") == 0);
	}
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "drain", 0);
	herod_stop(h);
}

void
test_jobs_go_back_in_order_when_their_worker_dies_after_herod(void)
{
	const char *s = here("redis.sock");
	struct herod *h;
	int i;

	redis_start(s);
	h = herod_start_with("", text("--redis_url unix://%s", s),
	    AT_ONCE "[runner:it]\nkind = stdio\nconcurrency = 3\n"
		    "command = %s/tests/integration/worker\n",
	    getenv("HEROD_BUILD"));
	wait_for_redis(h);
	for (i = 1; i <= 3; i++) {
		rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:s}}", "runner",
		    "it", "job", "id", text("j%d", i), "payload", "hold");
		wait_for(job_is(h, text("j%d", i), "started"));
	}
	herod_kill9(h);
	wait_for_redis(h);
	rpc(h, "pause_queue", "[s]", "it");
	signal_runner(h, "it", SIGKILL);
	for (i = 1; i <= 3; i++)
		wait_for(job_is(h, text("j%d", i), "dispatched"));
	check_str(redis(s, "lrange hero:work_queue:it 0 -1"), "j1\nj2\nj3\n");
	herod_stop(h);
}

void
test_a_worker_is_told_to_cancel_the_request_that_it_has(void)
{
	struct herod *h = start_stdio("job_retries = 1\njob_backoff = 0.05");
	pid_t pid = pid_of(h, "it");
	const char *id = queue(h, text("fail-once %s", here("failed")));

	wait_for(int_at(job(h, id), "retries_done") == 1 &&
	    job_is(h, id, "started"));
	rpc(h, "job.stop", "[s]", id);
	check(job_is(h, id, "cancelled"));
	check_int(pid_of(h, "it"), pid); /* it was not killed for it */
	herod_stop(h);
}
