/*
 * External runners: actors that somebody else starts, here the test, and that
 * herod knows by register_runner only.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

/* A Redis of its own, which actors can reach without herod. */
static struct herod *
start(const char *conf)
{
	struct herod *h;

	redis_start(here("redis.sock"));
	h = herod_start("[herod]\nredis_url = unix://%s\n" AT_ONCE "%s",
	    here("redis.sock"), conf);
	wait_for_redis(h);
	return h;
}

static const char *
ask(const char *command)
{
	const char *out = redis(here("redis.sock"), "%s", command);

	return text("%.*s", (int)strcspn(out, "\n"), out);
}

static pid_t
begin_actor(const char *queue, const char *words)
{
	return run_begin("HERO_REDIS_URL=unix://%s HERO_QUEUE=%s exec setsid "
			 "%s >actor.log 2>&1",
	    here("redis.sock"), queue, words);
}

static void
kill_actor(pid_t pid)
{
	check(kill(-pid, SIGKILL) == 0);
	run_end(pid);
	wait_for(waitpid(-pid, NULL, WNOHANG) == -1); /* what it had started */
}

/* Of queue far; as the payload says: stays at work, until it is asked to stop
 * it or for ever, fails the first time, or does it. */
static pid_t
begin_own_actor(void)
{
	return begin_actor("far",
	    text("sh %s",
		script("far",
		    "redis() { redis-cli -s \"${HERO_REDIS_URL#unix://}\" "
		    "\"$@\"; }\n"
		    "while id=$(redis BLPOP hero:work_queue:far 0 | tail -n 1) "
		    "&& [ \"$id\" ]; do\n"
		    "job=hero:job:$id\n"
		    "redis HSET $job status started\n"
		    "p=$(redis HGET $job payload)\n"
		    "echo \"$p\" >>begun\n"
		    "case $p in\n"
		    "stay) sleep 1000;;\n"
		    "wait) until [ -e go ]; do sleep 0.02; done;;\n"
		    "obey) mv obeys obeyed && redis BLPOP hero:stop_queue:far 0 "
		    "&& redis HSET $job status error error stopped && "
		    "continue;;\n"
		    "fail) mv fails failed && redis HSET $job status error "
		    "error no && continue;;\n"
		    "esac\n"
		    "redis HSET $job status finished result \"did $p\"\n"
		    "done\n")));
}

static json_t *
register_far(struct herod *h)
{
	return rpc(h, "register_runner", "[s, s]", "far", "far");
}

static const char *
queue_job(struct herod *h, const char *payload, const char *more)
{
	json_t *job = json_loads(more, 0, NULL);

	json_object_set_new(job, "payload", json_string(payload));
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:o}",
	    "runner", "far", "job", job));
}

static bool
is_known(struct herod *h, const char *name)
{
	json_t *names = rpc(h, "list_runners", NULL), *one;
	size_t i;

	json_array_foreach (names, i, one)
		if (!strcmp(json_string_value(one), name))
			return true;
	return false;
}

/* ---- it works ---- */

void
test_the_samples_are_external_runners(void)
{
	static const char *const samples[][3] = {
	    {"sh", "actor.sh", "HELLO"}, {"python3", "actor.py", "olleh"}};
	struct herod *h = start("");
	pid_t pid;
	size_t i;

	for (i = 0; i < 2; i++) {
		check_int(heroctl(h, "register r%zu q%zu", i, i).status, 0);
		pid = begin_actor(text("q%zu", i),
		    text("%s %s", samples[i][0], sample_path(samples[i][1])));
		check_str(
		    text_at(rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner",
				text("r%zu", i), "payload", "hello"),
			"success"),
		    samples[i][2]);
		kill_actor(pid);
	}
	herod_stop(h);
}

void
test_status_tells_what_is_known(void)
{
	struct herod *h = start("");
	json_t *status = register_far(h);
	const char *id;
	pid_t pid;

	check_str(text_at(status, "kind"), "external");
	check_str(text_at(status, "state"), "UNKNOWN");
	check(json_is_null(at(status, "pid")));
	check_str(text_at(status, "settings_origin"), "registered");
	check_str(text_at(status, "queue.name"), "far");
	check(is_known(h, "far"));
	queue_job(h, "a", "{}");
	wait_for(int_at(status_of(h, "far"), "queue.depth") == 1);
	status = status_of(h, "far");
	check_int(int_at(status, "queue.consumers"), 0);
	check(json_is_null(at(status, "queue.no_consumer")));
	id = queue_job(h, "stay", "{}");
	pid = begin_own_actor();
	wait_for(job_is(h, id, "started"));
	wait_for(int_at(status_of(h, "far"), "queue.running") == 1);
	status = status_of(h, "far");
	check_int(int_at(status, "queue.depth"), 0);
	check_str(text_at(status, "instances.0.jobs.0"), id);
	check_int(int_at(rpc(h, "get_all_status", NULL), "runners.UNKNOWN"), 1);
	check_has(heroctl(h, "why far").out, "the queue far");
	check_has(heroctl(h, "status far").out, "UNKNOWN");
	check_int(heroctl(h, "status far").status, 3);
	check_has(http(h, "GET /readyz HTTP/1.0\r\n\r\n"), " 200 ");
	check_has(http(h, "GET /metrics HTTP/1.0\r\n\r\n"),
	    "herod_runners{state=\"UNKNOWN\"} 1\n");
	kill_actor(pid);
	herod_stop(h);
}

void
test_a_job_may_wait_for_another_of_an_external_runner(void)
{
	struct herod *h = start("");
	const char *first, *second;
	pid_t pid;

	register_far(h);
	first = queue_job(h, "a", "{}");
	second =
	    queue_job(h, "b", text("{\"prerequisites\": [\"%s\"]}", first));
	check(job_is(h, second, "waiting_for_prerequisites"));
	pid = begin_own_actor();
	check_str(job_outcome(h, second), "did b");
	check_str(job_outcome(h, first), "did a");
	kill_actor(pid);
	herod_stop(h);
}

void
test_what_an_external_runner_fails_at_is_tried_again(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	run("touch fails");
	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "fail", "{\"retries\": 1, \"backoff\": 0.05}");
	check_str(job_outcome(h, id), "did fail");
	check_int(count_lines("begun"), 2);
	kill_actor(pid);
	herod_stop(h);
}

/* ---- what is not for herod to do ---- */

void
test_processes_of_others_are_left_alone(void)
{
	static const char *const methods[] = {"start_runner", "stop_runner",
	    "restart_runner", "remove_runner", "get_runner_logs"};
	struct herod *h = start("[runner:web]\ncommand = sleep 1000\n");
	struct ran r;
	size_t i;

	register_far(h);
	for (i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		check_has(
		    text_at(rpc_error(h, methods[i], "[s]", "far"), "message"),
		    "runner far is external");
	check_has(text_at(rpc_error(h, "scale_runner", "[s, i]", "far", 2),
		      "message"),
	    "external");
	check_has(text_at(rpc_error(h, "signal_runner", "[s, s]", "HUP", "far"),
		      "message"),
	    "external");
	check_has(text_at(rpc_error(h, "update_runner", "{s:s, s:{}}", "name",
			      "far", "settings"),
		      "message"),
	    "external");
	check_has(text_at(rpc_error(h, "pause_queue", "[s]", "far"), "message"),
	    "external");
	r = heroctl(h, "wait-for far running");
	check_int(r.status, 1);
	check_has(r.err, "external");
	check_int((int)json_array_size(rpc(h, "stop_all", NULL)), 1);
	check_int((int)json_array_size(rpc(h, "start_all", NULL)), 1);
	check(is_state(h, "far", "UNKNOWN"));
	check_str(text_at(rpc(h, "get_config", "[s]", "far"),
		      "runners.far.settings.queue"),
	    "far");
	herod_stop(h);
}

/* ---- names ---- */

void
test_a_name_is_taken_once(void)
{
	struct herod *h = start("[runner:web]\ncommand = sleep 1000\n");
	json_t *e;

	e = rpc_error(h, "register_runner", "[s, s]", "web", "far");
	check_int(int_at(e, "code"), -32011);
	check_has(text_at(e, "message"), "runner web exists (from ");
	register_far(h);
	check_str(text_at(register_far(h), "state"), "UNKNOWN");
	e = rpc_error(h, "register_runner", "[s, s]", "far", "other");
	check_int(int_at(e, "code"), -32011);
	check_has(text_at(e, "message"), "the queue far");
	e = rpc_error(h, "add_runner", "{s:{s:s, s:[s]}}", "runner", "name",
	    "far", "command", "true");
	check_int(int_at(e, "code"), -32011);
	check_has(text_at(e, "message"), "external");
	check_has(text_at(e, "data.hint"), "heroctl unregister far");
	e = rpc_error(h, "add_runner", "{s:{s:s, s:s}}", "runner", "name",
	    "other", "kind", "external");
	check_has(text_at(e, "data.hint"), "heroctl register other other");
	e = rpc_error(h, "register_runner", "[s, s]", "all", "far");
	check_has(text_at(e, "message"), "wanted another name");
	e = rpc_error(h, "unregister_runner", "[s]", "web");
	check_has(text_at(e, "message"), "no external runner web");
	herod_stop(h);
}

void
test_a_file_may_not_take_a_registered_name(void)
{
	struct herod *h = start("");
	struct ran r;

	register_far(h);
	run("printf '[runner:far]\\ncommand = sleep 1000\\n' >>%s", h->conf);
	r = heroctl(h, "--json reload");
	check_has(r.out, "heroctl unregister far");
	check_str(text_at(status_of(h, "far"), "kind"), "external");

	/* At a start the file goes before, and says so. */
	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	wait_for(is_state(h, "far", "RUNNING"));
	wait_for(strstr(herod_log(), "registered runner far: not known here"));
	check_int(heroctl(h, "unregister far").status, 0);
	check_str(ask("EXISTS herod:runners"), "0");
	check(is_state(h, "far", "RUNNING"));
	herod_stop(h);
}

/* ---- it is kept ---- */

void
test_it_is_known_at_once_after_kill9_and_an_upgrade(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "wait", "{}");
	wait_for(job_is(h, id, "started"));
	herod_kill9(h);
	check(is_known(h, "far"));
	wait_for_redis(h);
	wait_for(int_at(status_of(h, "far"), "queue.running") == 1);
	rpc(h, "upgrade", NULL);
	check(is_known(h, "far"));
	run("touch go");
	check_str(job_outcome(h, id), "did wait");
	check_int(count_lines("begun"), 1);
	kill_actor(pid);
	herod_stop(h);
}

/* An actor goes on meanwhile; here it is played by the test. */
void
test_what_happened_while_no_herod_was_there_is_seen(void)
{
	struct herod *h = start("");
	const char *over, *goes_on;

	register_far(h);
	over = queue_job(h, "a", "{}");
	goes_on = queue_job(h, "b", "{}");
	ask("LPOP hero:work_queue:far 2");
	ask(text("HSET hero:job:%s status started", over));
	ask(text("HSET hero:job:%s status started", goes_on));
	wait_for(int_at(status_of(h, "far"), "queue.running") == 2);
	herod_stop(h);
	ask(text("HSET hero:job:%s status finished result yes", over));
	herod_again(h);
	check(is_known(h, "far"));
	wait_for_redis(h);
	check_str(job_outcome(h, over), "yes");
	wait_for(int_at(status_of(h, "far"), "queue.running") == 1);
	check_str(ask("LLEN hero:work_queue:far"), "0");
	ask(text("HSET hero:job:%s status finished result too", goes_on));
	check_str(job_outcome(h, goes_on), "too");
	herod_stop(h);
}

void
test_what_redis_forgot_is_forgotten(void)
{
	struct herod *h = start("");

	register_far(h);
	herod_stop(h);
	ask("FLUSHALL");
	herod_again(h);
	wait_for(!is_known(h, "far"));
	register_far(h);
	check(is_state(h, "far", "UNKNOWN"));
	herod_stop(h);
}

/* ---- it is forgotten ---- */

void
test_its_jobs_stay_in_their_queue(void)
{
	struct herod *h = start("");
	const char *id;
	json_t *removed;
	pid_t pid;

	register_far(h);
	queue_job(h, "a", "{}");
	id = queue_job(h, "b", "{}");
	removed = rpc(h, "unregister_runner", "[s]", "far");
	check_int(int_at(removed, "queued_jobs"), 2);
	check(!is_known(h, "far"));
	check_str(ask("LLEN hero:work_queue:far"), "2");
	check_int(
	    int_at(rpc_error(h, "queue_job_to_runner", "[s]", "far"), "code"),
	    -32010);
	register_far(h);
	pid = begin_own_actor();
	check_str(job_outcome(h, id), "did b");
	kill_actor(pid);
	herod_stop(h);
}

void
test_a_job_at_work_is_left_to_who_has_it(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "wait", "{}");
	wait_for(job_is(h, id, "started"));
	rpc(h, "unregister_runner", "[s]", "far");
	check_str(ask("LLEN hero:work_queue:far"), "0");
	check(job_is(h, id, "started"));
	run("touch go");
	wait_for(!strcmp(ask(text("HGET hero:job:%s status", id)), "finished"));
	register_far(h);
	check_str(job_outcome(h, id), "did wait");
	wait_for(!strcmp(ask("HLEN herod:open:far"), "0"));
	check(atoi(ask(text("PTTL hero:job:%s", id))) > 0);
	kill_actor(pid);
	herod_stop(h);
}

/* Its end is not watched any more, but who has asked is told. */
void
test_who_stops_a_job_of_a_runner_that_is_forgotten_is_told(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;
	int stop;

	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "stay", "{}");
	wait_for(int_at(status_of(h, "far"), "queue.running") == 1);
	stop = rpc_begin(h, "job.stop", "[s]", id);
	wait_for(!strcmp(ask("LLEN hero:stop_queue:far"), "1"));
	rpc(h, "unregister_runner", "[s]", "far");
	check_str(text_at(rpc_end(stop), "result"), "cancelled");
	check_str(ask("HLEN herod:open:far"), "0");
	kill_actor(pid);
	herod_stop(h);
}

/* ---- its actor dies, or is slow ---- */

/* Nobody sees that, so the time limit ends the job; since it may be at work
 * still, it is not tried again. */
void
test_a_job_of_a_dead_external_actor_times_out(void)
{
	struct herod *h = start("");
	const char *id;
	json_t *job;
	pid_t pid;

	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "stay", "{\"timeout\": 1, \"retries\": 3}");
	wait_for(job_is(h, id, "started"));
	kill_actor(pid);
	check(job_is(h, id, "started"));
	check_has(job_outcome(h, id), "timeout after 1s");
	job = rpc(h, "job.get", "[s]", id);
	check_str(text_at(job, "status"), "timeout");
	check_has(text_at(job, "error"), "may still be at work");
	check_int(int_at(job, "attempts"), 1);
	check_str(ask("LRANGE hero:stop_queue:far 0 -1"), id);
	check_str(ask("HLEN herod:open:far"), "0");
	herod_stop(h);
}

void
test_an_actor_that_stops_when_asked_gets_the_job_again(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	run("touch obeys");
	register_far(h);
	pid = begin_own_actor();
	id = queue_job(
	    h, "obey", "{\"timeout\": 1, \"retries\": 1, \"backoff\": 0.05}");
	check_str(job_outcome(h, id), "did obey");
	check_int(count_lines("begun"), 2);
	kill_actor(pid);
	herod_stop(h);
}

void
test_a_cancelled_job_is_cancelled_whoever_has_it(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	register_far(h);
	pid = begin_own_actor();
	id = queue_job(h, "stay", "{\"retries\": 1}");
	wait_for(job_is(h, id, "started"));
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", id)), "cancelled");
	check(is_alive(pid));
	kill_actor(pid);
	herod_stop(h);
}

/* The actor died between BLPOP and its first word. */
void
test_a_job_taken_and_not_begun_goes_back(void)
{
	struct herod *h = start("");
	const char *id;
	pid_t pid;

	register_far(h);
	id = queue_job(h, "a", "{}");
	check_str(ask("LPOP hero:work_queue:far"), id);
	pid = begin_own_actor();
	check_str(job_outcome(h, id), "did a");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 1);
	kill_actor(pid);
	herod_stop(h);
}

/* An actor of herod's own draws from the same queue, and dies. */
void
test_the_death_of_another_takes_no_job_away(void)
{
	struct herod *h = start("[runner:near]\nkind = redis\nqueue = far\n"
				"command = sleep 1000\nbackoff_base = 0.05\n");
	const char *id;
	pid_t pid, before;

	register_far(h);
	wait_for(is_state(h, "near", "RUNNING"));
	pid = begin_own_actor();
	id = queue_job(h, "wait", "{}");
	wait_for(job_is(h, id, "started"));
	before = pid_of(h, "near");
	kill(before, SIGKILL);
	wait_for(is_state(h, "near", "RUNNING") && pid_of(h, "near") != before);
	check(job_is(h, id, "started"));
	run("touch go");
	check_str(job_outcome(h, id), "did wait");
	check_int(count_lines("begun"), 1);
	check_int(int_at(rpc(h, "job.get", "[s]", id), "deaths"), 0);
	kill_actor(pid);
	herod_stop(h);
}

/* ---- several herods ---- */

/* Both know far. */
static void
start_two(struct herod **a, struct herod **b)
{
	const char *conf = text(
	    "[herod]\nredis_url = unix://%s\nnode = %%s\n", here("redis.sock"));

	redis_start(here("redis.sock"));
	*a = herod_start_beside("-a", "%s", text(conf, "a"));
	*b = herod_start_beside("-b", "%s", text(conf, "b"));
	wait_for_redis(*a);
	wait_for_redis(*b);
	register_far(*a);
	wait_for(is_known(*b, "far"));
}

void
test_all_herods_on_a_redis_know_it(void)
{
	struct herod *a, *b;
	const char *id;
	pid_t pid;

	start_two(&a, &b);
	pid = begin_own_actor();
	id = queue_job(b, "a", "{}");
	check_str(job_outcome(a, id), "did a");
	id = queue_job(a, "stay", "{\"timeout\": 1}");
	check_has(job_outcome(b, id), "timeout after 1s");
	wait_for(job_is(a, id, "timeout")); /* b tells it before Redis */
	rpc(b, "unregister_runner", "[s]", "far");
	wait_for(!is_known(a, "far"));
	kill_actor(pid);
	herod_stop(b);
	herod_stop(a);
}

void
test_who_waits_at_one_herod_is_told_what_another_has_ended(void)
{
	struct herod *a, *b;
	const char *id;
	int wait;
	pid_t pid;

	start_two(&a, &b);
	pid = begin_own_actor();
	id = queue_job(a, "stay", "{}");
	wait_for(int_at(status_of(b, "far"), "queue.running") == 1);
	wait = rpc_begin(b, "job.wait", "[s]", id);
	rpc(a, "job.stop", "[s]", id);
	check_str(text_at(rpc_end(wait), "result.error"), "cancelled");
	kill_actor(pid);
	herod_stop(b);
	herod_stop(a);
}

/* The herod that was asked to stop it is the last to see that its actor did:
 * the other one must not take that for a failure, and try again. */
void
test_a_job_that_is_stopped_is_not_tried_again_by_another_herod(void)
{
	struct herod *a, *b;
	const char *id;
	int stop;

	start_two(&a, &b);
	id = queue_job(a, "x", "{\"retries\": 1, \"backoff\": 0.05}");
	check_str(ask("LPOP hero:work_queue:far"), id);
	ask(text("HSET hero:job:%s status started", id));
	wait_for(int_at(status_of(a, "far"), "queue.running") == 1);
	wait_for(int_at(status_of(b, "far"), "queue.running") == 1);
	stop = rpc_begin(a, "job.stop", "[s]", id);
	wait_for(!strcmp(ask("LLEN hero:stop_queue:far"), "1"));
	kill(herod_pid(a), SIGSTOP);
	ask(text("HSET hero:job:%s status error error stopped", id));
	wait_for(!strcmp(ask("HLEN herod:open:far"), "0"));
	kill(herod_pid(a), SIGCONT);
	check_str(text_at(rpc_end(stop), "result"), "cancelled");
	check(job_is(b, id, "cancelled"));
	herod_stop(b);
	herod_stop(a);
}

/* ---- one that has such runners, but not that one ---- */

void
test_a_herod_that_has_not_its_runner_ends_no_job_of_another(void)
{
	struct herod *a, *b;
	const char *id,
	    *conf = text(
		"[herod]\nredis_url = unix://%s\nnode = %%s\n[runner:%%s]\n"
		"kind = redis\nqueue = %%s\ncommand = sleep 1000\n",
		here("redis.sock"));

	redis_start(here("redis.sock"));
	a = herod_start_beside("-a", "%s", text(conf, "a", "one", "one"));
	b = herod_start_beside("-b", "%s", text(conf, "b", "two", "two"));
	wait_for(is_state(a, "one", "RUNNING"));
	wait_for(is_state(b, "two", "RUNNING"));
	id = json_string_value(
	    rpc(a, "queue_job_to_runner", "{s:s, s:{s:i, s:f}}", "runner",
		"one", "job", "retries", 1, "backoff", 0.05));
	check_str(ask("LPOP hero:work_queue:one"), id);
	ask(text("HSET hero:job:%s status started", id));
	wait_for(int_at(status_of(a, "one"), "queue.running") == 1);
	kill(herod_pid(a), SIGSTOP);
	ask(text("HSET hero:job:%s status error error no", id));
	check(job_is(b, id, "started"));
	kill(herod_pid(a), SIGCONT);
	wait_for(!strcmp(ask("LLEN hero:work_queue:one"), "1"));
	check(job_is(b, id, "dispatched"));
	herod_stop(b);
	herod_stop(a);
}

/* ---- Redis refuses, for a while, what is asked when the bell rings ---- */

void
test_an_end_is_seen_when_redis_lets_it_be_read(void)
{
	struct herod *h = start("[runner:near]\nkind = redis\n"
				"command = sleep 1000\n");
	const char *id;
	int wait;

	wait_for(is_state(h, "near", "RUNNING"));
	id = json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "near"));
	check_str(ask("LPOP hero:work_queue:near"), id);
	ask(text("HSET hero:job:%s status started", id));
	wait_for(int_at(status_of(h, "near"), "queue.running") == 1);
	wait = rpc_begin(h, "job.wait", "[s]", id);
	ask("ACL SETUSER default -hgetall");
	ask(text("HSET hero:job:%s status finished result did", id));
	wait_for(strstr(herod_log(), "executing the script"));
	ask("ACL SETUSER default +hgetall");
	check_str(text_at(rpc_end(wait), "result.success"), "did");
	herod_stop(h);
}

void
test_all_herods_know_it_when_redis_lets_them_read(void)
{
	struct herod *a, *b;

	start_two(&a, &b);
	rpc(a, "unregister_runner", "[s]", "far");
	wait_for(!is_known(b, "far"));
	ask("ACL SETUSER default -hgetall");
	register_far(a);
	wait_for(strstr(herod_log(), "'hgetall'"));
	ask("ACL SETUSER default +hgetall");
	wait_for(is_known(b, "far"));
	herod_stop(b);
	herod_stop(a);
}

static struct herod *
start_near(void)
{
	struct herod *h = start("[runner:near]\nkind = redis\n"
				"command = sleep 1000\nbackoff_base = 0.05\n");

	wait_for(is_state(h, "near", "RUNNING"));
	return h;
}

/* Drawn and begun, as its actor would. */
static const char *
begin_near(struct herod *h)
{
	const char *id = json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "near"));

	check_str(ask("LPOP hero:work_queue:near"), id);
	ask(text("HSET hero:job:%s status started", id));
	wait_for(int_at(status_of(h, "near"), "queue.running") == 1);
	return id;
}

void
test_who_waits_for_an_end_begins_when_redis_lets_it_be_kept(void)
{
	struct herod *h = start_near();
	const char *first = begin_near(h), *second;

	second =
	    json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:[s]}}",
		"runner", "near", "job", "prerequisites", first));
	ask("ACL SETUSER default -hdel");
	ask(text("HSET hero:job:%s status finished result did", first));
	wait_for(strstr(herod_log(), "executing the script"));
	ask("ACL SETUSER default +hdel");
	wait_for(job_is(h, second, "dispatched"));
	herod_stop(h);
}

void
test_a_dead_actor_is_followed_when_redis_lets_its_jobs_be_read(void)
{
	struct herod *h = start_near();
	pid_t before = pid_of(h, "near");

	ask("ACL SETUSER default -hgetall");
	kill(before, SIGKILL);
	wait_for(strstr(herod_log(), "executing the script"));
	ask("ACL SETUSER default +hgetall");
	wait_for(is_state(h, "near", "RUNNING") && pid_of(h, "near") != before);
	herod_stop(h);
}

/* ---- who may ---- */

static struct ran
as_nobody(struct herod *h, const char *args)
{
	run("chmod 755 . run");
	return run("setpriv --reuid nobody --regid nogroup --clear-groups "
		   "$BUILD/heroctl -s unix:%s %s",
	    h->socket, args);
}

void
test_registering_needs_the_scope_registrar(void)
{
	struct herod *h = herod_start("[herod]\ndefault_scope = user\n");
	struct ran r;

	if (geteuid() != 0 || as_nobody(h, "--version").status != 0)
		skip("cannot become another user here");
	r = as_nobody(h, "register far far");
	check_int(r.status, 1);
	check_has(r.err, "register_runner needs the scope registrar");
	herod_stop(h);
	h = herod_start("[herod]\ndefault_scope = registrar\n");
	wait_for_redis(h);
	check_int(as_nobody(h, "register far far").status, 0);
	check_int(as_nobody(h, "queue far").status, 0);
	check_has(as_nobody(h, "add-runner x -- true").err, "admin");
	check_int(as_nobody(h, "unregister far").status, 0);
	herod_stop(h);
}
