/*
 * Whoever looks after queues: pauses them.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

/* Its payload is a line of "runs" when a job begins. */
static const char *
runner_it(const char *settings)
{
	return text("[runner:it]\nkind = exec\ncommand = %s\n%s\n",
	    script("it",
		text("read -r p || :; echo \"$p\" >>%s\n"
		     "case $p in fail*) echo no >&2; exit 1;; esac\n"
		     "case $p in stay*) exec sleep 1000;; esac\necho $p",
		    here("runs"))),
	    settings);
}

static struct herod *
start_it(const char *settings)
{
	struct herod *h = herod_start(AT_ONCE "%s", runner_it(settings));

	wait_for_redis(h);
	return h;
}

static const char *
queue(struct herod *h, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", payload));
}

static bool
is_paused(struct herod *h)
{
	return json_is_true(at(status_of(h, "it"), "queue.paused"));
}

/* ---- pauses ---- */

void
test_a_paused_queue_takes_jobs_and_begins_none(void)
{
	struct herod *h = start_it("concurrency = 2");
	const char *stays = queue(h, "stay"), *id;
	json_t *state;

	wait_for(job_is(h, stays, "started"));
	state = rpc(h, "pause_queue", "[s]", "it");
	check_str(text_at(state, "queue"), "it");
	check(json_is_true(at(state, "paused")));
	check(is_paused(h));
	/* A slot is free, and nothing stands before it. */
	id = queue(h, "a");
	check(job_is(h, id, "dispatched"));
	check_int(int_at(status_of(h, "it"), "queue.depth"), 1);
	/* What is in hand goes on, and can be ended. */
	check(job_is(h, stays, "started"));
	rpc(h, "job.stop", "[s]", stays);
	check(job_is(h, id, "dispatched"));
	state = rpc(h, "resume_queue", "[s]", "it");
	check(json_is_false(at(state, "paused")));
	check_str(job_outcome(h, id), "a");
	check(!is_paused(h));
	/* It is as it was: a free slot takes a job at once. */
	check_str(job_outcome(h, queue(h, "b")), "b");
	herod_stop(h);
}

void
test_a_pause_outlives_herod(void)
{
	struct herod *h = start_it("");
	const char *id;

	rpc(h, "pause_queue", "[s]", "it");
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(is_paused(h));
	id = queue(h, "a");
	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	wait_for(is_paused(h));
	queue(h, "b");
	check(job_is(h, id, "dispatched"));
	check_int(count_lines(here("runs")), 0);
	rpc(h, "resume_queue", "[s]", "it");
	check_str(job_outcome(h, id), "a");
	herod_stop(h);
}

void
test_all_herods_on_a_redis_obey_a_pause(void)
{
	const char *socket = here("r.sock");
	pid_t server = redis_start(socket);
	const char *conf = text("[herod]\nredis_url = unix://%s\n"
				"[defaults]\nstartsecs = 0\n%s",
	    socket, runner_it(""));
	struct herod *a = herod_start("%s", conf);
	struct herod *b = herod_start_beside("b", "%s", conf);
	const char *id;

	wait_for_redis(a);
	wait_for_redis(b);
	/* So that b gives a job to a free slot at once. */
	check_str(job_outcome(b, queue(b, "first")), "first");
	rpc(a, "pause_queue", "[s]", "it");
	wait_for(is_paused(b));
	/* The bell has rung at b, too, once it says so in "why". */
	wait_for(strstr(heroctl(b, "why it").out, "the queue it is paused"));
	id = queue(b, "second");
	check(job_is(b, id, "dispatched"));
	/* b alone can take it. */
	rpc(a, "stop_runner", "[s]", "it");
	rpc(a, "resume_queue", "[s]", "it");
	check_str(job_outcome(b, id), "second");
	herod_stop(b);
	herod_stop(a);
	kill(server, SIGTERM);
	wait_for(is_gone(server));
}

void
test_heroctl_pauses_and_says_so(void)
{
	struct herod *h = start_it("");
	struct ran r = heroctl(h, "pause it");
	json_t *e;

	check_str(r.out, "queue it: paused\n");
	check_int(r.status, 0);
	check_has(heroctl(h, "status it").out, "0/0 paused");
	check_has(heroctl(h, "why it").out, "heroctl resume it ends that");
	check_has(heroctl(h, "summary").out, "paused");
	r = heroctl(h, "resume it");
	check_str(r.out, "queue it: resumed\n");
	check(!strstr(heroctl(h, "status it").out, "paused"));
	r = heroctl(h, "pause its");
	check_int(r.status, 4);
	check_has(r.err, "no runner or queue its");
	e = rpc_error(h, "pause_queue", "[s]", "its");
	check_int(int_at(e, "code"), -32010);
	herod_stop(h);
}

void
test_a_pause_is_an_event(void)
{
	struct herod *h = start_it("");
	int fd = door_unix(h);

	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
	    "\"params\":[[\"queue\"]]}\n");
	recv_json(fd);
	rpc(h, "pause_queue", "[s]", "it");
	check_str(text_at(recv_json(fd), "params.what"), "paused");
	rpc(h, "resume_queue", "[s]", "it");
	check_str(text_at(recv_json(fd), "params.topic"), "queue.it");
	close(fd);
	herod_stop(h);
}

void
test_a_runner_that_draws_by_itself_is_stopped_instead(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:actor]\nkind = redis\ncommand = sleep 1000\n");
	json_t *e;

	wait_for_redis(h);
	wait_for(is_state(h, "actor", "RUNNING"));
	e = rpc_error(h, "pause_queue", "[s]", "actor");
	check_int(int_at(e, "code"), -32021);
	check_has(text_at(e, "data.hint"), "heroctl stop");
	herod_stop(h);
}

/* ---- many at once ---- */

/* Fails, until there is a file "good". */
static struct herod *
start_failing(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
		script("it",
		    text("read -r p || :; echo \"$p\" >>%s\n[ -e %s ]",
			here("runs"), here("good"))));

	wait_for_redis(h);
	return h;
}

static const char *
queue_tagged(struct herod *h, const char *payload, const char *tag)
{
	return json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:[s]}}", "runner",
		"it", "job", "payload", payload, "tags", tag));
}

void
test_what_has_failed_is_tried_again_in_its_order(void)
{
	struct herod *h = start_failing();
	const char *ids[3];
	struct ran r;
	int i;

	for (i = 0; i < 3; i++)
		ids[i] = queue_tagged(h, text("p%d", i), i ? "later" : "soon");
	for (i = 0; i < 3; i++)
		wait_for(job_is(h, ids[i], "error"));
	run("touch %s; rm %s", here("good"), here("runs"));
	r = heroctl(h, "jobs retry --tag soon");
	check_str(r.out, "1 job\n");
	check_int(r.status, 0);
	wait_for(job_is(h, ids[0], "finished"));
	check(job_is(h, ids[1], "error"));
	check_int(
	    int_at(rpc(h, "jobs.retry", "{s:s}", "runner", "it"), "jobs"), 2);
	wait_for(job_is(h, ids[2], "finished"));
	check(job_is(h, ids[1], "finished"));
	check_str(file_text(here("runs")), "p0\np1\np2\n");
	check_str(heroctl(h, "jobs retry").out, "0 jobs\n");
	herod_stop(h);
}

void
test_jobs_of_a_tag_are_listed(void)
{
	struct herod *h = start_it("");
	const char *id;
	json_t *page;

	id = queue_tagged(h, "a", "red");
	queue_tagged(h, "b", "blue");
	queue(h, "c");
	page = rpc(h, "jobs.list", "{s:s}", "tag", "red");
	check_int((long long)json_array_size(at(page, "jobs")), 1);
	check_str(text_at(page, "jobs.0.id"), id);
	check_has(heroctl(h, "jobs --tag red").out, id);
	check_int((long long)json_array_size(
		      at(rpc(h, "jobs.list", "{s:s}", "tag", "re"), "jobs")),
	    0);
	herod_stop(h);
}

void
test_a_purge_forgets_what_is_over_or_cancels_what_waits(void)
{
	struct herod *h = start_it("");
	const char *over = queue(h, "a"), *stays, *waits, *next;
	int fd;

	check_str(job_outcome(h, over), "a");
	stays = queue(h, "stay");
	waits = queue(h, "b");
	next = queue(h, "c");
	wait_for(job_is(h, stays, "started"));
	check_str(heroctl(h, "jobs purge --older-than 1h").out, "0 jobs\n");
	check_str(heroctl(h, "jobs purge").out, "1 job\n");
	check_int(int_at(rpc_error(h, "job.get", "[s]", over), "code"), -32020);
	check(job_is(h, waits, "dispatched"));
	/* Who waits for one that is cancelled is told. */
	fd = rpc_begin(h, "job.wait", "[s]", next);
	check_int(int_at(rpc(h, "jobs.purge", "{s:s}", "status", "dispatched"),
		      "jobs"),
	    2);
	check_str(text_at(rpc_end(fd), "result.error"), "cancelled");
	check(job_is(h, waits, "cancelled"));
	check(job_is(h, stays, "started"));
	check_int(int_at(status_of(h, "it"), "queue.depth"), 0);
	rpc(h, "job.stop", "[s]", stays);
	herod_stop(h);
}

void
test_a_purge_asks_on_a_terminal(void)
{
	struct herod *h = start_it("");
	const char *id = queue(h, "a");
	struct ran r;

	check_str(job_outcome(h, id), "a");
	r = run("echo n | script -qec \"$BUILD/heroctl -s unix:%s jobs purge\" "
		"/dev/null",
	    h->socket);
	check_has(r.out, "Forget these jobs");
	check(job_is(h, id, "finished"));
	check_str(heroctl(h, "--yes jobs purge").out, "1 job\n");
	herod_stop(h);
}

void
test_jobs_are_counted_as_they_are_in_redis(void)
{
	struct herod *h = start_it("");
	const char *id = queue(h, "a");
	json_t *stats;

	check_str(job_outcome(h, id), "a");
	check_has(job_outcome(h, queue(h, "fail")), "no");
	rpc(h, "pause_queue", "[s]", "it");
	queue(h, "b");
	queue(h, "c");
	stats = rpc(h, "jobs.stats", NULL);
	check_int(int_at(stats, "it.finished.jobs"), 1);
	check_int(int_at(stats, "it.error.jobs"), 1);
	check_int(int_at(stats, "it.dispatched.jobs"), 2);
	check_str(text_at(stats, "it.finished.oldest"),
	    text_at(rpc(h, "job.get", "[s]", id), "created_at"));
	check_has(
	    heroctl(h, "jobs stats --runner it").out, "it\tdispatched\t2");
	herod_stop(h);
}

/* ---- how many are kept ---- */

static bool
has_ended_jobs(struct herod *h, int n)
{
	json_t *page = rpc(h, "jobs.list", "{s:s}", "status", "finished");

	return (int)json_array_size(at(page, "jobs")) == n;
}

void
test_only_the_last_jobs_are_kept(void)
{
	struct herod *h = start_it("keep_jobs = 3");
	const char *first = queue(h, "a"), *last = NULL;
	int i;

	for (i = 0; i < 10; i++) {
		last = queue(h, "b");
		check_str(job_outcome(h, last), "b");
	}
	wait_for(has_ended_jobs(h, 3));
	check_int(
	    int_at(rpc_error(h, "job.get", "[s]", first), "code"), -32020);
	check(job_is(h, last, "finished"));
	herod_stop(h);
}

/* And what is too much by a new setting is forgotten at once. */
void
test_how_many_jobs_are_kept_can_be_changed(void)
{
	struct herod *h = start_it("");
	int i;

	for (i = 0; i < 5; i++)
		check_str(job_outcome(h, queue(h, "b")), "b");
	check(has_ended_jobs(h, 5));
	run("echo keep_jobs = 2 >>%s", h->conf);
	rpc(h, "reload", NULL);
	wait_for(has_ended_jobs(h, 2));
	herod_stop(h);
}

/* ---- made, and queued later ---- */

void
test_a_job_that_is_only_created_begins_when_it_is_started(void)
{
	struct herod *h = start_it("");
	const char *id = json_string_value(rpc(h, "jobs.create",
	    "{s:{s:s, s:s}}", "job", "runner", "it", "payload", "a"));
	struct ran r;
	json_t *e;

	check(job_is(h, id, "created"));
	check_str(job_outcome(h, queue(h, "b")), "b");
	check(job_is(h, id, "created"));
	/* It outlives herod. */
	herod_kill9(h);
	wait_for_redis(h);
	check(job_is(h, id, "created"));
	check(strcmp(
	    json_string_value(rpc(h, "job.start", "[s]", id)), "created"));
	check_str(job_outcome(h, id), "a");
	check_str(file_text(here("runs")), "b\na\n");
	e = rpc_error(h, "job.start", "[s]", id);
	check_int(int_at(e, "code"), -32021);
	check_has(text_at(e, "message"), "cannot be started: it is finished");
	e = rpc_error(h, "jobs.create", "{s:{s:s}}", "job", "payload", "a");
	check_has(text_at(e, "message"), "must name its runner");
	r = heroctl(h, "job create it c --tags red");
	check_int(r.status, 0);
	id = text("%.36s", r.out);
	check(job_is(h, id, "created"));
	check_int(heroctl(h, "job start %s", id).status, 0);
	check_str(job_outcome(h, id), "c");
	herod_stop(h);
}

/* ---- many in one call ---- */

void
test_many_jobs_are_made_in_one_call_and_in_order(void)
{
	struct herod *h = start_it("");
	json_t *made = rpc(h, "jobs.create_many",
	    "{s:[{s:s, s:s}, {s:s}, {s:s, s:s}, i, {s:s, s:s}]}", "jobs",
	    "runner", "it", "payload", "a", "payload", "no runner", "runner",
	    "none", "payload", "x", 7, "runner", "it", "payload", "b");
	struct ran r;

	check_int((long long)json_array_size(made), 5);
	check_has(text_at(made, "1.error.message"), "must name its runner");
	check_int(int_at(made, "2.error.code"), -32010);
	check_has(text_at(made, "3.error.message"), "not a JSON object");
	check_str(job_outcome(h, text_at(made, "4.id")), "b");
	check_str(file_text(here("runs")), "a\nb\n");
	check_int((long long)json_array_size(
		      rpc(h, "jobs.create_many", "{s:[]}", "jobs")),
	    0);
	r = run("{ printf '\\357\\273\\277'; printf '%%s\\r\\n' "
		"'{\"runner\":\"it\",\"payload\":\"c\"}' '' nonsense "
		"'{\"runner\":\"it\",\"id\":\"d-1\"}' ''; } | "
		"$BUILD/heroctl -s unix:%s jobs create-many",
	    h->socket);
	check_int(r.status, 1);
	check_has(r.err, "line 3: not JSON: ");
	check(!strstr(r.err, "line 2") && !strstr(r.err, "line 5"));
	check_has(r.out, "\nd-1\n");
	check_int(count_lines(here("runs")) >= 2, 1);
	check_str(job_outcome(h, "d-1"), "");
	herod_stop(h);
}

/* While they are made, others are answered. */
void
test_ten_thousand_jobs_in_one_call_are_all_queued(void)
{
	struct herod *h = start_it("");
	json_t *jobs = json_array(), *made, *bad;
	size_t i;
	int fd;

	rpc(h, "pause_queue", "[s]", "it");
	for (i = 0; i < 10000; i++)
		json_array_append_new(jobs,
		    json_pack("{s:s, s:s}", "runner", "it", "payload",
			text("%zu", i)));
	fd = rpc_begin(h, "jobs.create_many", "{s:O}", "jobs", jobs);
	check_has(json_string_value(rpc(h, "ping", NULL)), "pong");
	made = at(rpc_end(fd), "result");
	check_int((long long)json_array_size(made), 10000);
	for (i = 0; i < 10000; i++)
		check(json_is_string(
		    json_object_get(json_array_get(made, i), "id")));
	check_int(int_at(status_of(h, "it"), "queue.depth"), 10000);
	check_str(text_at(rpc(h, "job.get", "[s]", text_at(made, "9999.id")),
		      "payload"),
	    "9999");
	/* Nor do ten thousand that are refused at once. */
	bad = json_array();
	for (i = 0; i < 10000; i++)
		json_array_append_new(bad, json_object());
	made = rpc(h, "jobs.create_many", "{s:O}", "jobs", bad);
	check_int(int_at(json_array_get(made, 9999), "error.code"), -32602);
	json_array_append_new(bad, json_object());
	check_int(int_at(rpc_error(h, "jobs.create_many", "{s:O}", "jobs", bad),
		      "code"),
	    -32041);
	check_int(int_at(rpc(h, "jobs.purge", "{s:s}", "status", "dispatched"),
		      "jobs"),
	    10000);
	check_int(int_at(status_of(h, "it"), "queue.depth"), 0);
	json_decref(jobs);
	json_decref(bad);
	herod_stop(h);
}

/* ---- how many may wait ---- */

void
test_of_more_jobs_than_may_wait_the_next_is_refused(void)
{
	struct herod *h = start_it("max_queue = 2");
	const char *stays = queue(h, "stay");
	json_t *e;

	wait_for(job_is(h, stays, "started"));
	queue(h, "a");
	queue(h, "b");
	e = rpc_error(h, "queue_job_to_runner", "[s]", "it");
	check_int(int_at(e, "code"), -32023);
	check_str(text_at(e, "data.name"), "queue_full");
	check(json_is_true(at(e, "data.retryable")));
	check_has(heroctl(h, "queue it c").err, "queue it is full");
	/* A live setting. */
	run("sed -i 's/max_queue = 2/max_queue = 3/' %s", h->conf);
	rpc(h, "reload", NULL);
	queue(h, "c");
	check_int(
	    int_at(rpc_error(h, "queue_job_to_runner", "[s]", "it"), "code"),
	    -32023);
	rpc(h, "job.stop", "[s]", stays);
	wait_for(int_at(status_of(h, "it"), "queue.depth") < 3);
	check_str(job_outcome(h, queue(h, "d")), "d");
	herod_stop(h);
}
