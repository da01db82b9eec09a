/*
 * Several herods on one Redis: they share queues, see each other, and give back
 * what one that has vanished had in hand.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

#define LONG_JOB \
	"echo $$ $JOB_ID >>%s; until [ -e %s ]; do sleep 0.02; done; " \
	"echo did"

struct two {
	const char *redis;
	struct herod *a, *b;
};

/* Herods a and b with runners of kind exec as said: the first one's name is
 * "it". */
static const char *
runner_it(const char *body)
{
	return text(
	    "[runner:it]\nkind = exec\ncommand = %s\n", script("it", body));
}

static const char *
queue_it(struct herod *h)
{
	return json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "it"));
}

static json_t *
node(struct herod *h, const char *name)
{
	json_t *all = rpc(h, "nodes.list", NULL), *it;
	size_t i;

	json_array_foreach (all, i, it)
		if (!strcmp(text_at(it, "name"), name))
			return it;
	return NULL;
}

static bool
is_alive_node(struct herod *h, const char *name)
{
	json_t *it = node(h, name);

	return it && json_is_true(at(it, "alive"));
}

static void
start_two(struct two *t, const char *of_a, const char *of_b)
{
	const char *head;

	t->redis = here("redis.sock");
	redis_start(t->redis);
	head = text(
	    "[herod]\nredis_url = unix://%s\nnode_timeout = 3\nnode = %%s\n" AT_ONCE,
	    t->redis);
	t->a = herod_start_beside("-a", "%s%s", text(head, "a"), of_a);
	t->b = herod_start_beside("-b", "%s%s", text(head, "b"), of_b);
	wait_for_redis(t->a);
	wait_for_redis(t->b);
	wait_for(is_alive_node(t->a, "b"));
	wait_for(is_alive_node(t->b, "a"));
}

/* What the long job writes: its process and id. */
static const char *
runs(void)
{
	return here("runs");
}

/* ---- they share ---- */

void
test_a_job_queued_on_one_node_is_run_by_another(void)
{
	struct two t;
	const char *id;
	json_t *job;

	start_two(&t,
	    "[runner:it]\nkind = exec\ncommand = true\n"
	    "autostart = false\n",
	    runner_it("cat"));
	id = json_string_value(rpc(t.a, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", "hello"));
	check_str(job_outcome(t.a, id), "hello");
	job = rpc(t.a, "job.get", "[s]", id);
	check_str(text_at(job, "node"), "b");
	herod_stop(t.a);
	herod_stop(t.b);
}

void
test_nodes_see_each_other(void)
{
	struct two t;

	start_two(&t, "", "");
	check(json_is_true(at(node(t.a, "a"), "self")));
	check_has(heroctl(t.a, "--plain nodes").out, "b\tyes\t");
	/* Who ends in order is no node any more. */
	herod_stop(t.b);
	check(node(t.a, "b") == NULL);
	herod_stop(t.a);
}

void
test_two_nodes_of_one_name_are_told_apart(void)
{
	const char *s = here("redis.sock"), *conf;
	struct herod *a, *b;

	redis_start(s);
	conf = text("[herod]\nredis_url = unix://%s\nnode = box\n", s);
	a = herod_start_beside("-a", "%s", conf);
	wait_for_redis(a);
	b = herod_start_beside("-b", "%s", conf);
	wait_for_redis(b);
	wait_for(json_array_size(rpc(b, "nodes.list", NULL)) == 2);
	check(node(a, "box") && json_is_true(at(node(a, "box"), "self")));
	check(!json_is_true(at(node(b, "box"), "self")));
	check_has(text_at(at(rpc(b, "get_all_status", NULL), "node"), "name"),
	    "box-");
	herod_stop(a);
	herod_stop(b);
}

/* ---- they ask each other ---- */

static void
vanish(struct herod *h)
{
	pid_t daemon = herod_pid(h);

	kill(h->keeper, SIGSTOP);
	kill(daemon, SIGSTOP);
}

static void
come_back(struct herod *h)
{
	kill(h->keeper, SIGCONT);
	kill(herod_pid(h), SIGCONT);
}

void
test_status_of_all_nodes_is_shown_by_one(void)
{
	struct two t;
	struct ran r;

	start_two(&t, "[runner:web]\ncommand = sleep 1000\n",
	    "[runner:db]\ncommand = sleep 1000\n");
	wait_for(is_state(t.a, "web", "RUNNING"));
	wait_for(is_state(t.b, "db", "RUNNING"));
	r = heroctl(t.a, "--all status");
	check_int(r.status, 0);
	check_has(r.out, "a/web\tRUNNING");
	check_has(r.out, "b/db\tRUNNING");
	r = heroctl(t.a, "--all stop web");
	check_int(r.status, 2);
	check_has(r.err, "--all is for the verb status");
	herod_stop(t.a);
	herod_stop(t.b);
}

void
test_logs_of_a_job_are_reached_from_another_node(void)
{
	struct two t;
	const char *id;

	start_two(&t,
	    "[runner:it]\nkind = exec\ncommand = true\n"
	    "autostart = false\n",
	    runner_it("echo working >&2; cat"));
	id = queue_it(t.a);
	job_outcome(t.a, id);
	check_str(
	    text_at(rpc(t.a, "job.logs", "[s]", id), "0.text"), "working");
	check_has(heroctl(t.a, "job logs %s", id).out, "working");
	herod_stop(t.a);
	herod_stop(t.b);
}

void
test_nobody_is_an_admin_of_another_node(void)
{
	struct two t;
	json_t *answer;

	start_two(&t, "", "[runner:db]\ncommand = sleep 1000\n");
	answer = rpc(t.a, "nodes.call", "{s:s, s:s, s:{s:s}}", "node", "b",
	    "method", "stop_runner", "params", "name", "db");
	check_int(int_at(answer, "0.error.code"), -32002);
	check_has(text_at(answer, "0.error.message"), "node a has user");
	wait_for(is_state(t.b, "db", "RUNNING"));
	herod_stop(t.a);
	herod_stop(t.b);
}

void
test_a_node_that_is_not_there_is_named(void)
{
	struct two t;
	json_t *error;

	start_two(&t, "", "");
	error = rpc_error(
	    t.a, "nodes.call", "{s:s, s:s}", "node", "c", "method", "ping");
	check_has(
	    text_at(error, "message"), "there is no node c that is alive");
	/* One that is frozen, and not yet known to be. */
	vanish(t.b);
	check_has(text_at(rpc(t.a, "nodes.call", "{s:s, s:s}", "node", "b",
			      "method", "ping"),
		      "0.error.message"),
	    "node b did not answer");
	come_back(t.b);
	wait_for(is_alive_node(t.a, "b"));
	herod_stop(t.a);
	herod_stop(t.b);
}

/* ---- one waits for what happens at another ---- */

/* Who runs x at b waits for a, which has it. */
static int
run_by_the_other(struct two *t)
{
	int run_it;

	start_two(t, runner_it(text(LONG_JOB, runs(), here("go"))),
	    "[runner:it]\nkind = exec\ncommand = true\nautostart = false\n");
	run_it = rpc_begin(t->b, "job.run", "{s:{s:s, s:s}}", "job", "runner",
	    "it", "id", "x");
	wait_for(count_lines(runs()) == 1);
	return run_it;
}

/* B hears of the end only when nothing is there to be read any more. */
void
test_who_runs_a_job_that_is_over_and_deleted_is_told(void)
{
	struct two t;
	int run_it = run_by_the_other(&t);

	vanish(t.b);
	run("touch %s", here("go"));
	wait_for(job_is(t.a, "x", "finished"));
	rpc(t.a, "job.delete", "[s]", "x");
	come_back(t.b);
	check_int(int_at(rpc_end(run_it), "error.code"), -32020);
	herod_stop(t.a);
	herod_stop(t.b);
}

/* It is another one's before its process here has ended. */
void
test_who_stops_a_job_that_another_has_meanwhile_is_told_so(void)
{
	const char *deaf = text("trap '' TERM; " LONG_JOB, runs(), here("go"));
	struct two t;
	const char *id;
	int stop;

	start_two(&t, runner_it(deaf), runner_it(deaf));
	rpc(t.b, "stop_runner", "[s]", "it");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	vanish(t.a);
	rpc(t.b, "start_runner", "[s]", "it");
	wait_for(count_lines(runs()) == 2);
	stop = rpc_begin(t.a, "job.stop", "[s]", id);
	come_back(t.a);
	check_has(text_at(rpc_end(stop), "error.message"), "another node");
	run("touch %s", here("go"));
	check_str(job_outcome(t.a, id), "did");
	herod_stop(t.a);
	herod_stop(t.b);
}

/* Redis refuses for a while what is asked when the bell rings. */
void
test_who_runs_a_job_is_told_when_redis_lets_its_end_be_read(void)
{
	struct two t;
	int run_it = run_by_the_other(&t);

	redis(t.redis, "ACL SETUSER default -hgetall");
	run("touch %s", here("go"));
	wait_for(
	    !strcmp(redis(t.redis, "HGET hero:job:x status"), "finished\n"));
	wait_for(strstr(herod_log(), "'hgetall'"));
	redis(t.redis, "ACL SETUSER default +hgetall");
	check_str(text_at(rpc_end(run_it), "result.success"), "did");
	herod_stop(t.a);
	herod_stop(t.b);
}

/* Not even where the word of it could not be read. */
void
test_a_job_does_not_begin_in_a_queue_that_another_has_paused(void)
{
	struct two t;
	const char *id;

	start_two(&t, runner_it("cat"), runner_it("cat"));
	id = queue_it(t.b);
	job_outcome(t.b, id);
	redis(t.redis, "ACL SETUSER default -hexists");
	redis(t.redis, "HSET herod:meta:it paused now");
	wait_for(strstr(herod_log(), "'hexists'"));
	redis(t.redis, "ACL SETUSER default +hexists");
	id = queue_it(t.b);
	wait_for(json_is_true(at(status_of(t.b, "it"), "queue.paused")));
	check(job_is(t.b, id, "dispatched"));
	herod_stop(t.a);
	herod_stop(t.b);
}

/* ---- one vanishes ---- */

/* It took the job for dead a's; when a is there again it ends its own attempt,
 * and the result of the other one stands. */
void
test_jobs_of_a_node_that_vanished_are_done_by_another(void)
{
	struct two t;
	const char *id;
	pid_t first;
	json_t *job;

	start_two(&t, runner_it(text(LONG_JOB, here("runs"), here("never"))),
	    "[runner:it]\nkind = exec\ncommand = sh -c \"echo by b\"\n"
	    "autostart = false\n");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	first = pid_in(runs());
	rpc(t.b, "start_runner", "[s]", "it");
	vanish(t.a);
	check_str(job_outcome(t.b, id), "by b");
	job = rpc(t.b, "job.get", "[s]", id);
	check_str(text_at(job, "node"), "b");
	check_int(int_at(job, "deaths"), 0);
	wait_for(at(node(t.b, "a"), "gone_at") &&
	    json_is_string(at(node(t.b, "a"), "gone_at")));
	check(!is_alive_node(t.b, "a"));
	check(is_alive(first));
	come_back(t.a);
	wait_for(is_alive_node(t.b, "a"));
	wait_for(is_gone(first));
	check_str(job_outcome(t.a, id), "by b");
	check_int(count_lines(runs()), 1);
	herod_stop(t.a);
	herod_stop(t.b);
}

/* What was given back and not begun by others is its own again. */
void
test_a_node_that_comes_back_goes_on_with_what_nobody_has_begun(void)
{
	struct two t;
	const char *id;
	json_t *job;

	start_two(&t, runner_it(text(LONG_JOB, runs(), here("go"))), "");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	vanish(t.a);
	wait_for(job_is(t.b, id, "dispatched"));
	come_back(t.a);
	wait_for(job_is(t.b, id, "started"));
	run("touch %s", here("go"));
	check_str(job_outcome(t.b, id), "did");
	job = rpc(t.b, "job.get", "[s]", id);
	check_str(text_at(job, "node"), "a");
	check_int(count_lines(runs()), 1);
	herod_stop(t.a);
	herod_stop(t.b);
}

static bool
is_at_work_at_b(const struct two *t, const char *id)
{
	return job_is(t->b, id, "started") &&
	    strstr(redis(t->redis, "HGET hero:job:%s node", id), "b");
}

/* A has seen to what others have. */
static bool
is_sure_of_a(const struct two *t)
{
	return strstr(redis(t->redis, "HEXISTS herod:node:%s doubt",
			  text_at(node(t->b, "a"), "id")),
	    "0");
}

static bool
says_that_others_have_it(void)
{
	return strstr(herod_log(), "others have it now");
}

/* The attempt of before cannot end while the keeper, who is to kill it, stands
 * still. */
void
test_a_job_that_comes_back_waits_for_the_end_of_its_first_attempt(void)
{
	struct two t;
	const char *id, *claims;

	start_two(&t,
	    text("%snumprocs = 2\n",
		runner_it(text(LONG_JOB, runs(), here("go")))),
	    "[runner:it]\nkind = exec\ncommand = sleep 1000\n"
	    "autostart = false\n");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	claims = text("herod:own:it:%s", text_at(node(t.a, "a"), "id"));
	rpc(t.b, "start_runner", "[s]", "it");
	vanish(t.a);
	wait_for(is_at_work_at_b(&t, id));
	kill(herod_pid(t.a), SIGCONT);
	wait_for(says_that_others_have_it());
	rpc(t.b, "stop_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	signal_runner(t.b, "it", SIGKILL);
	wait_for(strstr(redis(t.redis, "HEXISTS %s %s", claims, id), "1"));
	check_int(count_lines(runs()), 1);
	kill(t.a->keeper, SIGCONT);
	wait_for(count_lines(runs()) == 2);
	run("touch %s", here("go"));
	check_str(job_outcome(t.a, id), "did");
	herod_stop(t.a);
	herod_stop(t.b);
}

/* Its worker is at a job that another one has, and which that is, is not known
 * to the herod after it. */
void
test_a_herod_killed_before_it_learns_that_others_have_its_jobs_ends_them(void)
{
	struct two t;
	const char *id;
	pid_t worker;

	start_two(&t,
	    text("[runner:it]\nkind = stdio\ncommand = %s\n",
		script("w",
		    text("read -r line; echo $$ >>%s; exec sleep 1000",
			runs()))),
	    "[runner:it]\nkind = exec\ncommand = echo by b\n"
	    "autostart = false\n");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	worker = pid_in(runs());
	rpc(t.b, "start_runner", "[s]", "it");
	vanish(t.a);
	check_str(job_outcome(t.b, id), "by b");
	kill(t.a->keeper, SIGCONT);
	herod_kill9(t.a);
	wait_for(is_gone(worker));
	wait_for(is_state(t.a, "it", "RUNNING"));
	wait_for(is_sure_of_a(&t));
	worker = pid_of(t.a, "it");
	herod_kill9(t.a); /* now nothing is to be doubted */
	wait_for_redis(t.a);
	check_int(pid_of(t.a, "it"), worker);
	herod_stop(t.a);
	herod_stop(t.b);
}

/* Nor is it marked, while its process here is still to end. */
void
test_a_stop_of_an_attempt_that_others_outdid_leaves_the_job_over(void)
{
	struct two t;
	const char *id;
	int stop;

	start_two(&t, runner_it(text(LONG_JOB, runs(), here("never"))),
	    "[runner:it]\nkind = exec\ncommand = echo by b\n"
	    "autostart = false\n");
	id = queue_it(t.a);
	wait_for(count_lines(runs()) == 1);
	rpc(t.b, "start_runner", "[s]", "it");
	vanish(t.a);
	check_str(job_outcome(t.b, id), "by b");
	kill(herod_pid(t.a), SIGCONT);
	wait_for(says_that_others_have_it());
	stop = rpc_begin(t.a, "job.stop", "[s]", id);
	rpc(t.a, "job.get", "[s]", id); /* that was heard */
	kill(t.a->keeper, SIGCONT);
	check_str(text_at(rpc_end(stop), "result"), "finished");
	check_str(job_outcome(t.b, id), "by b");
	herod_stop(t.a);
	herod_stop(t.b);
}

/* B is at work at a job that a, which stands still, has just done; its keeper
 * knows. */
static const char *
start_twice_at_work(struct two *t)
{
	const char *id;
	pid_t first;

	start_two(t, runner_it(text(LONG_JOB, runs(), here("go-a"))),
	    text("[runner:it]\nkind = exec\ncommand = %s\n"
		 "autostart = false\n",
		script("it-b",
		    text("until [ -e %s ]; do sleep 0.02; done; echo by b",
			here("go-b")))));
	id = queue_it(t->a);
	wait_for(count_lines(runs()) == 1);
	first = pid_in(runs());
	rpc(t->b, "start_runner", "[s]", "it");
	vanish(t->a);
	wait_for(is_at_work_at_b(t, id));
	wait_for(json_is_string(at(node(t->b, "a"), "gone_at")));
	run("touch %s", here("go-a"));
	kill(t->a->keeper, SIGCONT);
	wait_for(is_gone(first));
	return id;
}

static void
check_only_b_ends(struct two *t, const char *id)
{
	wait_for(is_sure_of_a(t));
	check_has(redis(t->redis, "HGET hero:job:%s status", id), "started");
	run("touch %s", here("go-b"));
	check_str(job_outcome(t->b, id), "by b");
	herod_stop(t->a);
	herod_stop(t->b);
}

/* Redis has noted that it is there again, but that answer was lost. */
void
test_an_end_of_a_node_that_stood_still_is_none_when_others_have_the_job(void)
{
	struct two t;
	const char *id = start_twice_at_work(&t), *key;

	key = text("herod:node:%s", text_at(node(t.b, "a"), "id"));
	redis(t.redis, "HDEL %s fenced gone", key);
	redis(t.redis, "HSET %s doubt 1", key);
	kill(herod_pid(t.a), SIGCONT);
	check_only_b_ends(&t, id);
}

void
test_an_end_that_the_next_herod_finds_is_none_when_others_have_the_job(void)
{
	struct two t;
	const char *id = start_twice_at_work(&t);

	herod_kill9(t.a);
	wait_for_redis(t.a);
	check_only_b_ends(&t, id);
}

/* What its program had begun, when no other one runs such programs. */
void
test_a_job_of_an_actor_goes_back_when_its_node_vanishes(void)
{
	struct two t;
	const char *id;

	start_two(&t, "[runner:it]\nkind = redis\ncommand = sleep 1000\n",
	    "[runner:it]\nkind = redis\ncommand = sleep 1000\n"
	    "autostart = false\n");
	wait_for(is_state(t.a, "it", "RUNNING"));
	id = queue_it(t.a);
	check_has(redis(t.redis, "LPOP hero:work_queue:it"), id);
	redis(t.redis, "HSET hero:job:%s status started", id);
	wait_for(strstr(redis(t.redis, "HGET herod:open:it %s", id), "begun"));
	vanish(t.a);
	wait_for(job_is(t.b, id, "dispatched"));
	come_back(t.a);
	herod_stop(t.a);
	herod_stop(t.b);
}

/* It is cut off from Redis: others may begin the job. */
void
test_an_exclusive_job_ends_before_others_may_begin_it(void)
{
	struct herod *a;
	const char *s = here("redis.sock");
	pid_t server = redis_start(s), job;

	a = herod_start_beside("-a",
	    "[herod]\nredis_url = unix://%s\nnode_timeout = 3\n" AT_ONCE
	    "%sexclusive = true\n",
	    s, runner_it(text(LONG_JOB, runs(), here("go"))));
	wait_for_redis(a);
	queue_it(a);
	wait_for(count_lines(runs()) == 1);
	job = pid_in(runs());
	kill(server, SIGSTOP);
	wait_for(is_gone(job));
	kill(server, SIGCONT);
	wait_for(count_lines(runs()) == 2);
	run("touch %s", here("go"));
	herod_stop(a);
}

/* A word of its own to Redis tells it, too, when its connection was let live.
 */
void
test_a_node_taken_for_dead_learns_it_by_its_heartbeat(void)
{
	struct two t;

	start_two(&t, "", "");
	redis(t.redis, "HSET herod:node:%s fenced 1",
	    text_at(node(t.a, "a"), "id"));
	wait_for(strstr(redis(t.redis, "HEXISTS herod:node:%s fenced",
			    text_at(node(t.a, "a"), "id")),
	    "0"));
	herod_stop(t.a);
	herod_stop(t.b);
}

void
test_the_end_of_a_node_is_an_event(void)
{
	struct two t;
	int events;

	start_two(&t, "", "");
	events = door_unix(t.b);
	send_text(events,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"subscribe\","
	    "\"params\":{\"topics\":[\"node\"]},\"id\":1}\n");
	recv_json(events);
	vanish(t.a);
	check_has(recv_line(events), "\"vanished\"");
	close(events);
	come_back(t.a);
	wait_for(is_alive_node(t.b, "a"));
	herod_stop(t.a);
	herod_stop(t.b);
}
