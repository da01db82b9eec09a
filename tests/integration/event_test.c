/*
 * The event stream: what is so, then what happens, without a hole; slow
 * readers harm nobody.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

#define EXEC "[runner:up]\nkind = exec\ncommand = tr a-z A-Z\n"

static struct herod *
start(void)
{
	return herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n" EXEC);
}

static void
say_subscribe(int fd, const char *params)
{
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
		 "\"params\":%s}\n",
		params));
}

/* A connection that has subscribed; its answer in *answer. */
static int
subscribe(struct herod *h, const char *params, json_t **answer)
{
	int fd = door_unix(h);
	json_t *whole;

	say_subscribe(fd, params);
	whole = recv_json(fd);
	*answer = at(whole, "result");
	check(*answer != NULL);
	return fd;
}

/* Params of the next event. */
static json_t *
next(int fd)
{
	json_t *event = recv_json(fd);

	check_str(text_at(event, "method"), "event");
	return at(event, "params");
}

/* The next event that says so. */
static json_t *
next_state(int fd, const char *state)
{
	json_t *event;

	do
		event = next(fd);
	while (at(event, "state") == NULL ||
	    strcmp(text_at(event, "state"), state) != 0);
	return event;
}

/* ---- promises ---- */

/* Pitfall 46. */
void
test_a_snapshot_then_every_change(void)
{
	struct herod *h = start();
	json_t *answer, *event;
	long long seq;
	int fd;

	wait_for(is_state(h, "web", "RUNNING"));
	fd = subscribe(h, "[\"runner.web\"]", &answer);
	seq = int_at(answer, "seq");
	check_int((long long)json_array_size(at(answer, "runners")), 1);
	check_str(text_at(answer, "runners.0.name"), "web");
	check_str(text_at(answer, "runners.0.state"), "RUNNING");
	check(at(answer, "redis") == NULL);
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	event = next(fd);
	check_str(text_at(event, "what"), "wanted");
	check_str(text_at(event, "wanted"), "down");
	check(int_at(event, "seq") > seq);
	event = next(fd);
	check_str(text_at(event, "state"), "STOPPING");
	check_str(text_at(event, "old"), "RUNNING");
	check_str(text_at(event, "topic"), "runner.web");
	event = next(fd);
	check_str(text_at(event, "state"), "STOPPED");
	check_str(text_at(event, "exit.signal"), "TERM");
	check(json_is_true(at(event, "down")));
	rpc(h, "remove_runner", "{s:s}", "name", "web");
	while (strcmp(text_at(event = next(fd), "what"), "removed") != 0)
		;
	rpc(h, "add_runner", "{s:{s:s, s:s}}", "runner", "name", "web",
	    "command", "sleep 1000");
	event = next(fd);
	check_str(text_at(event, "what"), "added");
	check_str(text_at(event, "status.kind"), "service");
	rpc(h, "update_runner", "{s:s, s:{s:i}}", "name", "web", "settings",
	    "priority", 5);
	while (strcmp(text_at(event = next(fd), "what"), "changed") != 0)
		;
	check_str(text_at(event, "status.name"), "web");
	close(fd);
	herod_stop(h);
}

void
test_numbers_have_no_holes(void)
{
	struct herod *h = start();
	json_t *answer;
	long long seq, i;
	int fd;

	wait_for(is_state(h, "web", "RUNNING"));
	wait_for_redis(h);
	fd = subscribe(h, "[\"*\"]", &answer);
	seq = int_at(answer, "seq");
	for (i = 0; i < 20; i++)
		rpc(h, i % 2 ? "start_runner" : "stop_runner", "{s:s}", "name",
		    "up");
	for (i = 1; i <= 40; i++)
		check_int(int_at(next(fd), "seq"), seq + i);
	close(fd);
	herod_stop(h);
}

void
test_who_comes_back_goes_on_where_it_was(void)
{
	struct herod *h = start();
	json_t *answer, *event;
	const char *since;
	int fd;

	wait_for(is_state(h, "web", "RUNNING"));
	fd = subscribe(h, "[\"runner.web\"]", &answer);
	since = text("%s:%lld", text_at(answer, "life"), int_at(answer, "seq"));
	close(fd);
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	fd = subscribe(h, text("[[\"runner.web\"], \"%s\"]", since), &answer);
	check(json_is_true(at(answer, "resumed")));
	check(at(answer, "runners") == NULL);
	event = next(fd);
	check_str(text_at(event, "what"), "wanted");
	next_state(fd, "STOPPED");
	close(fd);
	herod_stop(h);
}

void
test_of_another_life_there_is_a_snapshot(void)
{
	struct herod *h = start();
	json_t *first, *second;
	int fd;

	fd = subscribe(h, "[\"runner.web\"]", &first);
	close(fd);
	herod_kill9(h);
	fd = subscribe(h,
	    text("[[\"runner.web\"], \"%s:%lld\"]", text_at(first, "life"),
		int_at(first, "seq")),
	    &second);
	check(json_is_false(at(second, "resumed")));
	check_str(text_at(second, "runners.0.name"), "web");
	check(strcmp(text_at(first, "life"), text_at(second, "life")) != 0);
	close(fd);
	herod_stop(h);
}

/* 100 stops and starts of a runner without a process. */
static void
flip(int fd)
{
	char *batch = NULL;
	size_t len;
	FILE *f = open_memstream(&batch, &len);
	int i;

	for (i = 0; i < 100; i++)
		fprintf(f,
		    "%s{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
		    "\"%s_runner\",\"params\":[\"up\",false]}",
		    i ? "," : "[", i % 2 ? "start" : "stop");
	fputs("]\n", f);
	fclose(f);
	send_text(fd, batch);
	free(batch);
	check_int((long long)json_array_size(recv_json(fd)), 100);
}

/* Pitfall 46: bounded memory, a mark for what is lost, nobody waits. */
void
test_a_slow_reader_is_told_its_gap_and_holds_up_nobody(void)
{
	struct herod *h = start();
	json_t *answer, *event;
	long long seq, from;
	int slow, caller = door_unix(h), i;

	wait_for_redis(h);
	wait_for(is_state(h, "web", "RUNNING"));
	slow = subscribe(h, "[\"*\"]", &answer);
	seq = int_at(answer, "seq");
	for (i = 0; i < 100; i++)
		flip(caller);
	while (at(event = next(slow), "gap") == NULL) {
		check_int(int_at(event, "seq"), seq + 1);
		seq++;
	}
	from = int_at(event, "gap.from");
	check_int(from, seq + 1);
	seq = int_at(event, "gap.to");
	check(seq > from);
	check_int(int_at(next(slow), "seq"), seq + 1);
	close(slow);
	close(caller);
	herod_stop(h);
}

void
test_unknown_topics_are_refused_with_the_list(void)
{
	struct herod *h = start();
	json_t *error;

	error = rpc_error(h, "subscribe", "{s:[s]}", "topics", "runners");
	check_int(int_at(error, "code"), -32602);
	check_has(text_at(error, "message"), "'runners' is no topic");
	check_has(text_at(error, "message"), "runner.NAME");
	error = rpc_error(h, "subscribe", "{s:[]}", "topics");
	check_int(int_at(error, "code"), -32602);
	herod_stop(h);
}

void
test_an_observer_hears_of_no_jobs(void)
{
	struct herod *h;
	struct ran r;

	if (geteuid() != 0)
		skip("needs root, to ask as somebody else");
	h = start();
	wait_for_redis(h);
	/* Its directory is not for others, TCP is. */
	r = run("as='setpriv --reuid nobody --regid nogroup --clear-groups'; "
		"ask='{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
		"\"params\":[\"job\"]}'; "
		"echo \"$ask\" | $as timeout 20 socat -t 20 - "
		"TCP:127.0.0.1:%d | head -n 1",
	    h->port);
	check_has(r.out, "-32002");
	check_has(r.out, "scope user");
	r = run(
	    "as='setpriv --reuid nobody --regid nogroup --clear-groups'; "
	    "ask='{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
	    "\"params\":[\"*\"]}'; "
	    "echo \"$ask\" | "
	    "$as socat -t 1000 - TCP:127.0.0.1:%d >heard & "
	    "until grep -q life heard; do :; done; "
	    "$BUILD/heroctl -s unix:%s run up x; "
	    "$BUILD/heroctl -s unix:%s stop web; "
	    "until grep -q STOPPED heard; do :; done; kill $!; wait; cat heard",
	    h->port, h->socket, h->socket);
	check_has(r.out, "\"topic\":\"runner.web\"");
	check(strstr(r.out, "\"topic\":\"job") == NULL);
	herod_stop(h);
}

void
test_http_is_told_to_use_a_socket(void)
{
	struct herod *h = start();

	check_has(http_post(h,
		      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
		      "\"subscribe\",\"params\":[\"*\"]}"),
	    "subscribe works on a line connection");
	herod_stop(h);
}

void
test_unsubscribed_means_silence(void)
{
	struct herod *h = start();
	json_t *answer;
	int fd = subscribe(h, "[\"runner.up\"]", &answer);

	send_text(
	    fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"unsubscribe\"}\n");
	answer = recv_json(fd);
	check(json_is_true(at(answer, "result")));
	rpc(h, "stop_runner", "{s:s}", "name", "up");
	send_text(
	    fd, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"unsubscribe\"}\n");
	answer = recv_json(fd);
	check(json_is_false(at(answer, "result")));
	close(fd);
	herod_stop(h);
}

void
test_a_second_subscription_takes_the_place_of_the_first(void)
{
	struct herod *h = start();
	json_t *answer, *event;
	int fd = subscribe(h, "[\"runner.up\"]", &answer);

	say_subscribe(fd, "[\"runner.web\"]");
	check_str(text_at(recv_json(fd), "result.runners.0.name"), "web");
	rpc(h, "stop_runner", "{s:s}", "name", "up");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	do {
		event = next(fd);
		check_str(text_at(event, "topic"), "runner.web");
	} while (at(event, "down") == NULL || json_is_false(at(event, "down")));
	close(fd);
	herod_stop(h);
}

/* Pitfall 44. */
void
test_fatal_comes_with_the_last_lines(void)
{
	struct herod *h = herod_start(
	    "[runner:bad]\nautostart = false\nstartretries = 0\n"
	    "command = sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "
	    "echo line $i; done; exit 3'\n");
	json_t *answer, *event, *lines;
	pid_t json, plain;
	int fd;

	fd = subscribe(h, "[\"runner.bad\"]", &answer);
	rpc_error(h, "start_runner", "{s:s}", "name", "bad");
	event = next_state(fd, "FATAL");
	lines = at(event, "lines");
	check_int((long long)json_array_size(lines), 10);
	check_str(text_at(lines, "0.text"), "line 3");
	check_str(text_at(lines, "9.text"), "line 12");
	check_int(int_at(event, "exit.code"), 3);
	close(fd);
	json = run_begin("exec $BUILD/heroctl --json -s unix:%s events "
			 "runner.bad >heard",
	    h->socket);
	plain =
	    run_begin("exec $BUILD/heroctl -s unix:%s events runner.bad >shown",
		h->socket);
	wait_for(count_lines(here("heard")) > 0);
	wait_for((heroctl(h, "start bad"),
	    run("grep -q FATAL heard && "
		"grep -q FATAL shown")
		    .status == 0));
	kill(json, SIGTERM);
	kill(plain, SIGTERM);
	run_end(json);
	run_end(plain);
	check_has(file_text(here("shown")), "runner.bad:0\tFATAL: exit 3");
	check_has(file_text(here("shown")), "line 12");
	herod_stop(h);
}

void
test_jobs_and_redis_are_told(void)
{
	struct herod *h = start();
	json_t *answer;
	const char *id;
	int fd;

	wait_for_redis(h);
	fd = subscribe(h, "[[\"job.up\", \"redis\"]]", &answer);
	check(json_is_true(at(answer, "redis.up")));
	id = text("%s",
	    json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
		"runner", "up", "job", "payload", "hello")));
	answer = next(fd);
	check_str(text_at(answer, "what"), "created");
	check_str(text_at(answer, "job"), id);
	answer = next(fd);
	check_str(text_at(answer, "what"), "started");
	check_str(text_at(answer, "runner"), "up");
	answer = next(fd);
	check_str(text_at(answer, "what"), "over");
	check_str(text_at(answer, "status"), "finished");
	rpc(h, "signal_runner", "{s:s, s:s}", "signal", "KILL", "name",
	    "herod-redis");
	check_str(text_at(next(fd), "what"), "down");
	check_str(text_at(next(fd), "what"), "up");
	close(fd);
	herod_stop(h);
}

/* It is up for less than a turn of the loop: who asks again and again
 * would never see it. */
void
test_wait_for_sees_the_shortest_moment(void)
{
	struct herod *h = start();
	int caller = door_unix(h);
	pid_t pid;

	rpc(h, "stop_runner", "{s:s}", "name", "up");
	pid = run_begin("$BUILD/heroctl -s unix:%s wait-for up running && "
			"echo >seen",
	    h->socket);
	wait_for((send_text(caller,
		      "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
		      "\"start_runner\",\"params\":[\"up\",false]},"
		      "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":"
		      "\"stop_runner\",\"params\":[\"up\",false]}]\n"),
	    recv_json(caller), file_exists(here("seen"))));
	check_int(run_end(pid), 0);
	close(caller);
	herod_stop(h);
}

void
test_who_follows_goes_on_when_herod_has_died(void)
{
	struct herod *h = start();
	pid_t events, waits;
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING"));
	events = run_begin("$BUILD/heroctl --json -s unix:%s events runner.web "
			   ">heard 2>said",
	    h->socket);
	waits = run_begin(
	    "$BUILD/heroctl -s unix:%s wait-for web stopped", h->socket);
	wait_for(count_lines(here("heard")) > 0);
	herod_kill9(h);
	wait_for((r = run("grep -c life heard"), atoi(r.out) == 2));
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	check_int(run_end(waits), 0);
	wait_for(run("grep -q STOPPED heard").status == 0);
	kill(h->keeper, SIGTERM);
	check_int(run_end(events), 5);
	check_has(file_text(here("said")), "no daemon at");
	check_int(herod_end(h), 0);
}

void
test_health_is_told_and_can_be_waited_for(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\n"
	    "health_interval = 0.05\nhealth_retries = 1\n"
	    "health = exec:test -e %s\nhealth_start_period = 1000\n"
	    "[runner:plain]\ncommand = sleep 1000\n",
	    here("well"));
	json_t *answer, *event;
	pid_t pid;
	int fd;

	check_int(heroctl(h, "wait-for web plain running").status, 0);
	check_int(heroctl(h, "wait-for plain healthy").status, 0);
	fd = subscribe(h, "[\"runner.web\"]", &answer);
	check(json_is_false(at(answer, "runners.0.healthy")));
	check_int(heroctl(h, "--timeout 0.1 wait-for web healthy").status, 6);
	pid = run_begin(
	    "exec $BUILD/heroctl -s unix:%s wait-for web healthy", h->socket);
	write_file(here("well"), "");
	check_int(run_end(pid), 0);
	event = next(fd);
	check_str(text_at(event, "what"), "health");
	check_str(text_at(event, "health.status"), "healthy");
	check(json_is_true(at(event, "healthy")));
	check_has(heroctl(h, "why web").out, "Its probe finds it healthy");
	unlink(here("well"));
	event = next(fd);
	check_str(text_at(event, "health.status"), "unhealthy");
	check(json_is_false(at(event, "healthy")));
	close(fd);
	herod_stop(h);
}

void
test_wait_for_a_runner_that_is_removed(void)
{
	struct herod *h = start();
	struct ran r;

	rpc(h, "stop_runner", "{s:s}", "name", "web");
	r = run("export HEROCTL_SERVER=unix:%s; H=$BUILD/heroctl; "
		"$H wait-for web running & "
		"$H remove-runner web; wait $!",
	    h->socket);
	check(r.status == 1 || r.status == 4);
	herod_stop(h);
}
