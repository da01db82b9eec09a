/*
 * Connections that are open while herod makes way for another (heroctl
 * upgrade) go on: what was asked is answered, what is followed is followed
 * without a hole.  As well when herod-keeper is killed and herod takes its
 * place (KEEPER_IS_KILLED, for handover_keeper_test).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(300);

#define CALL(id, method, params) \
	"{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method \
	"\",\"params\":" params "}\n"
#define PING CALL(1, "ping", "{}")

/* Without the keeper nobody knows how its process has ended. */
#ifdef KEEPER_IS_KILLED
#define RUNS_OF_A_JOB 2
#else
#define RUNS_OF_A_JOB 1
#endif

/* ---- helpers ---- */

/* Both were begun, and herod has been told. */
static bool
slow_runs(struct herod *h, int begun)
{
	json_t *all = status_of(h, "slow");

	return count_lines(here("runs")) == begun &&
	    json_integer_value(at(all, "instances.0.pid")) > 0 &&
	    json_integer_value(at(all, "instances.1.pid")) > 0;
}

/* Until the next one answers. */
static void
make_way(struct herod *h)
{
	pid_t old = herod_pid(h);

#ifdef KEEPER_IS_KILLED
	herod_keeper_gone(h, old);
#else
	check_int(int_at(rpc(h, "upgrade", NULL), "pid"), old);
#endif
	wait_for(herod_pid(h) != 0 && herod_pid(h) != old);
	rpc(h, "ping", NULL);
}

static void
check_pong(int fd)
{
	check_str(text_at(recv_json(fd), "result"), "pong");
}

static void
check_answers(int fd)
{
	send_text(fd, PING);
	check_pong(fd);
}

/* One that is ready when its word comes. */
static struct herod *
start_slow(void)
{
	return herod_start(AT_ONCE
	    "[runner:slow]\nautostart = false\nready = log:^ready\n"
	    "startwaitsecs = 1000\nnumprocs = 2\ncommand = %s\n"
	    "[runner:other]\nautostart = false\ncommand = sleep 1000\n",
	    script("slow",
		text("echo $$ >>%s; until [ -e %s ]; do sleep 0.02; done\n"
		     "echo ready; exec sleep 1000",
		    here("runs"), here("go"))));
}

static struct herod *
start_jobs(void)
{
	struct herod *h;

	h = herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
	    script("it",
		text("echo $$ >>%s; until [ -e %s ]; do sleep 0.02; done; "
		     "tr a-z A-Z",
		    here("runs"), here("go"))));
	wait_for_redis(h);
	return h;
}

/* And herod knows it: else its process is killed and begun anew. */
static bool
job_runs(struct herod *h)
{
	return count_lines(here("runs")) == 1 && pid_of(h, "it") > 0;
}

/* ---- what is silent ---- */

void
test_an_idle_connection_goes_on(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int unix_door = door_unix(h), tcp = door_tcp(h), i;

	for (i = 0; i < 3; i++) {
		check_answers(unix_door);
		check_answers(tcp);
		make_way(h);
	}
	send_text(unix_door, CALL(1, "get_all_status", "{}"));
	check_int(
	    int_at(recv_json(unix_door), "result.herod.pid"), herod_pid(h));
	herod_stop(h);
}

void
test_one_that_said_nothing_yet_goes_on(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int unix_door = door_unix(h), tcp = door_tcp(h), web = door_tcp(h);

	rpc(h, "ping", NULL); /* they are accepted by now */
	make_way(h);
	check_answers(unix_door);
	check_answers(tcp);
	send_text(web, "GET /healthz HTTP/1.0\r\n\r\n");
	check_has(recv_all(web), "200 OK");
	herod_stop(h);
}

void
test_half_a_line_is_no_less(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int door = door_unix(h);

	check_answers(door);
	send_text(door, "{\"jsonrpc\":\"2.0\",\"meth");
	rpc(h, "ping", NULL);
	make_way(h);
	send_text(door, "od\":\"ping\",\"id\":7}\n");
	check_pong(door);
	herod_stop(h);
}

void
test_who_has_sent_its_last_gets_its_answer(void)
{
	struct herod *h = start_jobs();
	int door = door_unix(h);

	send_text(door,
	    CALL(1, "job.run",
		"{\"job\":{\"runner\":\"it\",\"payload\":\"x\"}}"));
	shutdown(door, SHUT_WR);
	wait_for(job_runs(h));
	make_way(h);
	write_file(here("go"), "");
	check_str(text_at(recv_json(door), "result.success"), "X");
	check(recv_line(door) == NULL);
	herod_stop(h);
}

/* More than one message of descriptors takes. */
void
test_hundreds_of_connections_go_on(void)
{
	enum { N = 600 };
	struct herod *h = herod_start(AT_ONCE);
	int doors[N], i;

	for (i = 0; i < N; i++) {
		doors[i] = door_unix(h);
		if (i % 2)
			check_answers(doors[i]);
	}
	make_way(h);
	for (i = 0; i < N; i++)
		check_answers(doors[i]);
	herod_stop(h);
}

void
test_nothing_is_left_with_the_keeper(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int door = door_unix(h), fds, i;

	wait_for_redis(h);
	make_way(h);
	wait_for_redis(h);
	fds = count_fds(h->keeper);
	for (i = 0; i < 3; i++)
		make_way(h);
	wait_for_redis(h);
	check_answers(door);
	wait_for(count_fds(h->keeper) == fds);
	herod_stop(h);
}

/* ---- what waits to be read ---- */

/* Many requests in one go, of which some are answered, some not yet taken;
 * a client that reads late gets every answer once. */
void
test_an_answer_that_is_not_read_yet_is_whole(void)
{
	enum { N = 100 };
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it", "seq -f '%040.0f' 1 1000"));
	int door, i;

	wait_for(is_state(h, "it", "EXITED"));
	door = door_unix(h);
	for (i = 0; i < N; i++)
		send_text(door,
		    CALL(1, "get_runner_logs",
			"{\"name\":\"it\",\"lines\":800}"));
	rpc(h, "ping", NULL);
	make_way(h);
	for (i = 0; i < N; i++)
		check_int(
		    (long long)json_array_size(at(recv_json(door), "result")),
		    800);
	check_answers(door);
	herod_stop(h);
}

/* ---- what was asked ---- */

void
test_a_start_is_answered_by_the_next_herod(void)
{
	struct herod *h = start_slow();
	int call = rpc_begin(h, "start_runner", "[s]", "slow");
	json_t *answer;

	wait_for(slow_runs(h, 2));
	make_way(h);
	write_file(here("go"), "");
	answer = rpc_end(call);
	check_str(text_at(answer, "result.state"), "RUNNING");
	check_int(count_lines(here("runs")), 2);
	herod_stop(h);
}

void
test_a_restart_is_not_begun_twice(void)
{
	struct herod *h = start_slow();
	int call;

	write_file(here("go"), "");
	rpc(h, "start_runner", "[s]", "slow");
	unlink(here("go"));
	call = rpc_begin(h, "restart_runner", "[s]", "slow");
	wait_for(slow_runs(h, 4));
	make_way(h);
	write_file(here("go"), "");
	check_str(text_at(rpc_end(call), "result.state"), "RUNNING");
	check_int(count_lines(here("runs")), 4);
	herod_stop(h);
}

void
test_a_stop_is_answered_by_the_next_herod(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:deaf]\nstopwaitsecs = 1000\ncommand = %s\n",
	    script("deaf",
		text("trap '' TERM; : >%s; until [ -e %s ]; do sleep 0.02; "
		     "done",
		    here("trapped"), here("go"))));
	int call;

	wait_for(file_exists(here("trapped")));
	call = rpc_begin(h, "stop_runner", "[s]", "deaf");
	wait_for(is_state(h, "deaf", "STOPPING"));
	make_way(h);
	write_file(here("go"), "");
	check_str(text_at(rpc_end(call), "result.state"), "STOPPED");
	herod_stop(h);
}

/* What others have asked for since is not undone. */
void
test_start_all_is_not_begun_twice(void)
{
	struct herod *h = start_slow();
	int call = rpc_begin(h, "start_all", NULL);
	json_t *answer;

	wait_for(slow_runs(h, 2));
	wait_for(is_state(h, "other", "RUNNING"));
	rpc(h, "stop_runner", "[s]", "other");
	make_way(h);
	write_file(here("go"), "");
	answer = rpc_end(call);
	check_str(text_at(answer, "result.1.name"), "slow");
	check_str(text_at(answer, "result.1.state"), "RUNNING");
	check(is_state(h, "other", "STOPPED"));
	herod_stop(h);
}

void
test_an_added_runner_is_not_added_twice(void)
{
	struct herod *h = start_slow();
	int call = rpc_begin(h, "add_runner", "{s:{s:s, s:[s], s:i}}", "runner",
	    "name", "new", "command", "slow", "startsecs", 1000);

	close(call);
	call = rpc_begin(h, "add_runner", "{s:{s:s, s:[ss], s:s, s:i}}",
	    "runner", "name", "more", "command", "sleep", "1000", "ready",
	    "log:never", "startwaitsecs", 2);
	wait_for(at(rpc(h, "list_runners", NULL), "3") != NULL);
	make_way(h);
	check_str(text_at(rpc_end(call), "result.name"), "more");
	herod_stop(h);
}

void
test_a_removal_is_answered_by_the_next_herod(void)
{
	struct herod *h = herod_start(AT_ONCE);
	json_t *answer;
	pid_t pid;
	int call;

	rpc(h, "add_runner", "{s:{s:s, s:[s], s:i}}", "runner", "name", "deaf",
	    "command",
	    script("deaf",
		text("trap '' TERM; : >%s; until [ -e %s ]; do sleep 0.02; "
		     "done",
		    here("trapped"), here("go"))),
	    "stopwaitsecs", 1000);
	wait_for(file_exists(here("trapped")));
	call = rpc_begin(h, "remove_runner", "[s]", "deaf");
	wait_for(is_state(h, "deaf", "STOPPING"));
	pid = pid_of(h, "deaf");
	make_way(h);
	check(is_alive(pid));
	check(is_state(h, "deaf", "STOPPING"));
	write_file(here("go"), "");
	answer = rpc_end(call);
	check(json_is_true(at(answer, "result.removed")));
	check(!is_alive(pid));
	herod_kill9(h);
	check_int((long long)json_array_size(rpc(h, "list_runners", NULL)), 1);
	herod_stop(h);
}

void
test_a_job_is_answered_by_the_next_herod(void)
{
	struct herod *h = start_jobs();
	int call = rpc_begin(h, "job.run", "{s:{s:s, s:s, s:s}}", "job",
	    "runner", "it", "payload", "hello", "id", "one");
	int wait;

	wait_for(job_runs(h));
	wait = rpc_begin(h, "job.wait", "[s]", "one");
	rpc(h, "ping", NULL);
	make_way(h);
	make_way(h);
	write_file(here("go"), "");
	check_str(text_at(rpc_end(call), "result.success"), "HELLO");
	check_str(text_at(rpc_end(wait), "result.success"), "HELLO");
	check_int(count_lines(here("runs")), RUNS_OF_A_JOB);
	herod_stop(h);
}

void
test_a_scaling_is_answered_when_it_is_done(void)
{
	struct herod *h = start_slow();
	int call;

	write_file(here("go"), "");
	rpc(h, "start_runner", "[s]", "slow");
	unlink(here("go"));
	call = rpc_begin(h, "scale_runner", "[s, i]", "slow", 3);
	wait_for(count_lines(here("runs")) == 3);
	make_way(h);
	check(is_state(h, "slow", "STARTING"));
	write_file(here("go"), "");
	check_str(
	    text_at(rpc_end(call), "result.instances.2.state"), "RUNNING");
	herod_stop(h);
}

void
test_a_cancel_is_answered_by_the_next_herod(void)
{
	struct herod *h;
	int call;

	h = herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
	    script("it",
		text("trap '' TERM; echo $$ >>%s; until [ -e %s ]; do "
		     "sleep 0.02; done",
		    here("runs"), here("go"))));
	wait_for_redis(h);
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "it", "job",
	    "id", "one");
	wait_for(job_runs(h));
	call = rpc_begin(h, "job.stop", "[s]", "one");
	wait_for(strcmp(json_string_value(rpc(h, "job.status", "[s]", "one")),
		     "stopping") == 0);
	make_way(h);
	check_str(text_at(rpc_end(call), "result"), "cancelled");
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

/* A rolling restart is not taken up again; of a batch some is known. */
void
test_what_cannot_be_asked_again_is_refused(void)
{
	struct herod *h = start_slow();
	int rolling, batch = door_unix(h);
	json_t *answer;

	write_file(here("go"), "");
	rpc(h, "start_runner", "[s]", "slow");
	unlink(here("go"));
	rolling = rpc_begin(
	    h, "restart_runner", "{s:s, s:b}", "name", "slow", "rolling", 1);
	wait_for(count_lines(here("runs")) == 3);
	send_text(batch,
	    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},"
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"start_runner\","
	    "\"params\":[\"slow\"]}]\n");
	rpc(h, "ping", NULL);
	make_way(h);
	answer = rpc_end(rolling);
	check_int(int_at(answer, "error.code"), -32043);
	check_has(text_at(answer, "error.message"), "made way");
	answer = recv_json(batch);
	check_str(text_at(answer, "0.result"), "pong");
	check_int(int_at(answer, "1.error.code"), -32043);
	check_answers(batch);
	herod_stop(h);
}

void
test_a_request_over_http_is_not_cut_off(void)
{
	struct herod *h = start_slow();
	int door = door_tcp(h);
	const char *body = CALL(1, "start_runner", "[\"slow\"]");

	send_text(door,
	    text("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
		 "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		strlen(body), body));
	wait_for(slow_runs(h, 2));
	make_way(h);
	check_has(recv_all(door), "-32043");
	herod_stop(h);
}

/* ---- what is followed ---- */

/* The number of the next event that came about the runner. */
static void
check_next_events(int door, json_int_t *seq, const char *last_state)
{
	json_t *event;
	bool over = false;

	while (!over) {
		event = at(recv_json(door), "params");
		check_int(int_at(event, "seq"), ++*seq);
		over = at(event, "state") &&
		    strcmp(text_at(event, "state"), last_state) == 0;
	}
}

void
test_a_subscription_goes_on_without_a_hole(void)
{
	struct herod *h = start_slow();
	int door = door_unix(h);
	json_t *snapshot;
	json_int_t seq;
	const char *life;

	send_text(door, CALL(1, "subscribe", "[[\"*\"]]"));
	snapshot = at(recv_json(door), "result");
	seq = int_at(snapshot, "seq");
	life = text_at(snapshot, "life");
	rpc(h, "start_runner", "[s]", "other");
	check_next_events(door, &seq, "RUNNING");
	make_way(h);
	rpc(h, "stop_runner", "[s]", "other");
	check_next_events(door, &seq, "STOPPED");
	send_text(door, CALL(2, "subscribe", "[[\"runner\"]]"));
	do
		snapshot = recv_json(door);
	while (at(snapshot, "result") == NULL);
	check_str(text_at(snapshot, "result.life"), life);
	herod_stop(h);
}

#ifndef KEEPER_IS_KILLED
/* What happens while nobody is there is told by the next. */
void
test_a_death_in_between_is_told_to_who_listened(void)
{
	struct herod *h = start_slow();
	int door = door_unix(h);
	json_int_t seq;
	pid_t pid;

	rpc(h, "start_runner", "[s]", "other");
	pid = pid_of(h, "other");
	send_text(door, CALL(1, "subscribe", "[[\"*\"]]"));
	seq = int_at(recv_json(door), "result.seq");
	kill(h->keeper, SIGSTOP);
	close(rpc_begin(h, "upgrade", NULL));
	kill(pid, SIGKILL);
	kill(h->keeper, SIGCONT);
	check_next_events(door, &seq, "RUNNING");
	herod_stop(h);
}
#endif

/* Numbers of the lines that come, one higher each. */
static void
check_lines(int door, long *last, long until)
{
	json_t *lines, *line;
	size_t i;

	while (*last < until) {
		lines = at(recv_json(door), "params.lines");
		json_array_foreach (lines, i, line)
			check_int(atol(text_at(line, "text")), ++*last);
	}
}

void
test_a_log_is_followed_without_a_hole(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		"n=1; while :; do echo $n; n=$((n + 1)); "
		"[ $((n % 50)) -gt 0 ] || sleep 0.01; done"));
	int door = door_unix(h), i;
	json_t *first;
	long last;

	wait_for(at(rpc(h, "get_runner_logs", "[s]", "it"), "0"));
	send_text(door, CALL(1, "follow_logs", "[\"it\", 1]"));
	first = at(recv_json(door), "result.lines.0");
	last = atol(text_at(first, "text"));
	for (i = 0; i < 4; i++) {
		check_lines(door, &last, last + 100);
		make_way(h);
	}
	check_lines(door, &last, last + 100);
	herod_stop(h);
}

/* ---- who asks ---- */

/* What heroctl follows goes on in the same output. */
void
test_heroctl_follows_over_an_upgrade(void)
{
	struct herod *h = start_slow();
	pid_t waiting = run_begin(
	    "$BUILD/heroctl -s unix:%s start slow >%s", h->socket, here("out"));

	wait_for(slow_runs(h, 2));
	make_way(h);
	write_file(here("go"), "");
	check_int(run_end(waiting), 0);
	check_has(file_text(here("out")), "RUNNING");
	herod_stop(h);
}
