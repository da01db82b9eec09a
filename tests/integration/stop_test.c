/*
 * Stopping, restarting, signalling and removing: the last request wins,
 * everybody gets an answer, nothing of a stopped runner lives on.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* A herod with one runner that is up. */
static struct herod *
start_one(const char *settings)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\n%s\n", settings);

	rpc(h, "start_runner", "{s:s}", "name", "it");
	return h;
}

static void
check_is_gone(struct herod *h, const char *runner)
{
	check_int(
	    int_at(rpc_error(h, "get_runner_status", "[s]", runner), "code"),
	    -32010);
}

static json_t *
stop_it(struct herod *h)
{
	return rpc(h, "stop_runner", "{s:s}", "name", "it");
}

/* A shell script that has said "up" when it is ready for signals. */
static struct herod *
start_script(const char *settings, const char *body)
{
	struct herod *h =
	    start_one(text("%s\ncommand = %s", settings, script("it", body)));

	wait_for(strstr(logs_of(h, "it"), "up\n") != NULL);
	return h;
}

#define DEAF "trap '' TERM; echo up; while :; do sleep 1000; done"
#define SLOW \
	"trap 'sleep 0.5; exit 0' TERM; echo up; " \
	"while :; do sleep 0.1; done"

void
test_stop_sends_the_stopsignal(void)
{
	struct herod *h = start_script("stopsignal = USR1",
	    "trap 'echo asked; exit 0' USR1; echo up\n"
	    "while :; do sleep 0.1; done");
	json_t *st = stop_it(h);

	check_str(text_at(st, "state"), "STOPPED");
	check_str(text_at(st, "wanted"), "down");
	check(json_is_null(at(st, "pid")));
	check_int(int_at(st, "instances.0.exit.code"), 0);
	check_has(logs_of(h, "it"), "asked\n");
	herod_stop(h);
}

void
test_stop_kills_a_deaf_program(void)
{
	struct herod *h = start_script("stopwaitsecs = 0.5", DEAF);
	pid_t pid = pid_of(h, "it");
	double before = check_clock();
	json_t *st = stop_it(h);

	check(check_clock() - before >= 0.45);
	check_str(text_at(st, "state"), "STOPPED");
	check_str(text_at(st, "instances.0.exit.signal"), "KILL");
	check(!is_alive(pid));
	herod_stop(h);
}

void
test_stopwaitsecs_0_kills_at_once(void)
{
	struct herod *h = start_script("stopwaitsecs = 0",
	    "trap 'echo asked' TERM; echo up; while :; do sleep 0.1; done");

	check_str(text_at(stop_it(h), "instances.0.exit.signal"), "KILL");
	check_str(logs_of(h, "it"), "up\n");
	herod_stop(h);
}

void
test_several_stopsignals_are_tried_in_turn(void)
{
	struct herod *h = start_script("stopsignal = HUP,INT\nstopwaitsecs = 4",
	    "trap 'echo hup' HUP; trap 'echo int; exit 0' INT; echo up\n"
	    "while :; do sleep 0.05; done");

	stop_it(h);
	check_has(logs_of(h, "it"), "up\nhup\n");
	check_has(logs_of(h, "it"), "int\n");
	herod_stop(h);
}

/* Pitfall 6: the leader ends on TERM, a member of its group is deaf. */
void
test_stop_ends_the_whole_group(void)
{
	struct herod *h = start_script("stopwaitsecs = 0.5",
	    text("(trap '' TERM; echo member >%s; while :; do sleep 1000; "
		 "done) &\necho $! >%s\nwhile [ ! -s %s ]; do sleep 0.01; "
		 "done\necho up; wait",
		here("ready"), here("member"), here("ready")));
	pid_t member = pid_in(here("member"));

	check(is_alive(member));
	stop_it(h);
	check(!is_alive(member));
	herod_stop(h);
}

/* The same when the leader ends by itself: nothing is left for the next. */
void
test_a_restart_follows_the_end_of_the_group(void)
{
	struct herod *h = start_script("stopwaitsecs = 0.3",
	    text("(trap '' TERM; sleep 1000) &\necho $! >>%s\necho up\n"
		 "[ $(wc -l <%s) = 1 ] || wait\nexit 1",
		here("members"), here("members")));
	pid_t first = pid_in(here("members"));

	wait_for(count_lines(here("members")) == 2);
	check(!is_alive(first));
	herod_stop(h);
}

/* Pitfall 7: it left session and group; the end of herod finds it. */
void
test_nothing_that_escaped_outlives_herod(void)
{
	struct herod *h = start_script("",
	    text("setsid sh -c 'echo $$ >%s; trap \"\" TERM; "
		 "while :; do sleep 1000; done' &\n"
		 "while [ ! -s %s ]; do sleep 0.01; done; echo up; wait",
		here("escaped"), here("escaped")));
	pid_t escaped = pid_in(here("escaped"));

	check(is_alive(escaped));
	herod_stop(h);
	check(!is_alive(escaped));
}

/* Pitfall 18. */
void
test_stop_wakes_a_stopped_program(void)
{
	/* No shell: within vfork(2) it waits for its stopped child and is not
	 * seen as stopped itself. */
	struct herod *h =
	    start_one("command = sleep 1000\nstopwaitsecs = 1000");

	kill(-pid_of(h, "it"), SIGSTOP);
	wait_for(is_state(h, "it", "PAUSED"));
	check_str(text_at(stop_it(h), "instances.0.exit.signal"), "TERM");
	herod_stop(h);
}

/* Pitfall 22. */
void
test_stop_during_backoff_is_immediate(void)
{
	struct herod *h =
	    herod_start("[runner:it]\ncommand = false\nbackoff_base = 1000\n"
			"backoff_max = 1000\n");

	wait_for(is_state(h, "it", "BACKOFF"));
	check_str(text_at(stop_it(h), "state"), "STOPPED");
	herod_stop(h);
}

/* Pitfall 23, first part. */
void
test_start_during_stopping_is_remembered(void)
{
	struct herod *h = start_script("", SLOW);
	pid_t pid = pid_of(h, "it");
	int stopping = rpc_begin(h, "stop_runner", "{s:s}", "name", "it");
	json_t *answer;

	wait_for(is_state(h, "it", "STOPPING"));
	check_str(
	    text_at(rpc(h, "start_runner", "{s:s}", "name", "it"), "state"),
	    "RUNNING");
	check(pid_of(h, "it") != pid);
	answer = rpc_end(stopping);
	check_int(int_at(answer, "error.code"), -32014);
	check(json_is_true(at(answer, "error.data.retryable")));
	herod_stop(h);
}

/* Pitfall 23, second part. */
void
test_stop_during_starting_does_not_wait_for_startsecs(void)
{
	struct herod *h =
	    herod_start("[runner:it]\nstartsecs = 1000\ncommand = sleep 1000\n"
			"autostart = false\n");
	int starting = rpc_begin(h, "start_runner", "{s:s}", "name", "it");

	wait_for(is_state(h, "it", "STARTING") && pid_of(h, "it") != 0);
	check_str(text_at(stop_it(h), "state"), "STOPPED");
	check_int(int_at(rpc_end(starting), "error.code"), -32014);
	herod_stop(h);
}

/* Pitfall 10: signalled before it leads its own group. */
void
test_a_stop_right_after_the_start_hits_nobody_else(void)
{
	struct herod *h = start_one("command = sleep 1000\nnumprocs = 3");
	pid_t daemon = herod_pid(h);
	int i;

	stop_it(h);
	for (i = 0; i < 30; i++) {
		rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
		check_str(text_at(stop_it(h), "state"), "STOPPED");
	}
	check_int(herod_pid(h), daemon);
	herod_stop(h);
}

void
test_stop_twice_is_fine(void)
{
	struct herod *h = start_one("command = sleep 1000");

	stop_it(h);
	check_str(text_at(stop_it(h), "state"), "STOPPED");
	herod_stop(h);
}

void
test_the_last_of_many_requests_wins(void)
{
	struct herod *h = start_script("", SLOW);
	int i;

	for (i = 0; i < 10; i++) {
		rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "wait", 0);
		rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	}
	wait_for(is_state(h, "it", "RUNNING"));
	for (i = 0; i < 10; i++) {
		rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
		rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	}
	wait_for(is_state(h, "it", "STOPPED"));
	check_str(text_at(status_of(h, "it"), "wanted"), "down");
	herod_stop(h);
}

/* Pitfall 24. */
void
test_stop_all_overtakes_start_all(void)
{
	struct herod *h =
	    herod_start("[defaults]\nstartsecs = 1000\nautostart = false\n"
			"[runner:a]\ncommand = sleep 1000\n"
			"[runner:b]\ncommand = sleep 1000\n");
	int starting = rpc_begin(h, "start_all", NULL);
	json_t *answer;

	wait_for(pid_of(h, "a") != 0 && pid_of(h, "b") != 0);
	answer = rpc(h, "stop_all", NULL);
	check(json_is_true(at(answer, "0.ok")));
	check_str(text_at(answer, "1.state"), "STOPPED");
	answer = rpc_end(starting);
	check(json_is_false(at(answer, "result.0.ok")));
	check(json_is_false(at(answer, "result.1.ok")));
	herod_stop(h);
}

/* Pitfall 24: who asked has left. */
void
test_a_client_that_leaves_does_not_abort_its_request(void)
{
	struct herod *h = start_script("", SLOW);

	close(rpc_begin(h, "stop_runner", "{s:s}", "name", "it"));
	wait_for(is_state(h, "it", "STOPPED"));
	herod_stop(h);
}

/* Pitfall 24: the daemon, not the client, does the second half. */
void
test_a_program_can_restart_itself(void)
{
	struct herod *h = start_script("",
	    text("echo up; [ -f %s ] || { touch %s; "
		 "'%s/heroctl' -s unix:$HERO_SOCKET restart it; }\n"
		 "exec sleep 1000",
		here("done"), here("done"), getenv("HEROD_BUILD")));

	wait_for(strcmp(logs_of(h, "it"), "up\nup\n") == 0);
	wait_for(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

/* Pitfall 47: asked to end, it is not started again by autorestart. */
void
test_an_operators_stop_is_no_crash(void)
{
	struct herod *h = start_one("command = sleep 1000\n"
				    "autorestart = always");

	check_str(text_at(stop_it(h), "state"), "STOPPED");
	check_int(int_at(status_of(h, "it"), "restarts"), 0);
	check(is_state(h, "it", "STOPPED"));
	herod_stop(h);
}

void
test_a_stop_is_remembered_over_a_restart_of_herod(void)
{
	struct herod *h = start_one("command = sleep 1000");

	stop_it(h);
	herod_stop(h);
	herod_again(h);
	check(is_state(h, "it", "STOPPED"));
	rpc(h, "start_runner", "{s:s}", "name", "it");
	herod_stop(h);
	herod_again(h);
	wait_for(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

void
test_a_stop_that_takes_too_long_is_told_and_goes_on(void)
{
	struct herod *h = start_script("stopwaitsecs = 1000", DEAF);
	json_t *error = rpc_error(
	    h, "stop_runner", "{s:s, s:f}", "name", "it", "timeout", 0.2);

	check_int(int_at(error, "code"), -32015);
	check(is_state(h, "it", "STOPPING"));
	kill(-pid_of(h, "it"), SIGKILL);
	wait_for(is_state(h, "it", "STOPPED"));
	herod_stop(h);
}

void
test_restart_gives_a_new_process(void)
{
	struct herod *h = start_one("command = sleep 1000");
	pid_t pid = pid_of(h, "it");
	json_t *st = rpc(h, "restart_runner", "{s:s}", "name", "it");

	check_str(text_at(st, "state"), "RUNNING");
	check((pid_t)int_at(st, "pid") != pid);
	check(!is_alive(pid));
	herod_stop(h);
}

void
test_restarts_leak_no_descriptor(void)
{
	struct herod *h = start_one("command = sleep 1000\nnumprocs = 2");
	int of_herod, of_keeper, i;

	wait_for_redis(h); /* its connections count */
	of_herod = count_fds(herod_pid(h));
	of_keeper = count_fds(h->keeper);
	for (i = 0; i < 20; i++)
		rpc(h, "restart_runner", "[s]", "it");
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	wait_for(count_fds(h->keeper) <= of_keeper);
	herod_stop(h);
}

void
test_restart_starts_what_was_stopped(void)
{
	struct herod *h = start_one("command = sleep 1000");

	stop_it(h);
	check_str(
	    text_at(rpc(h, "restart_runner", "{s:s}", "name", "it"), "state"),
	    "RUNNING");
	herod_stop(h);
}

void
test_signal_reaches_the_leader_or_the_group(void)
{
	struct herod *h = start_script("",
	    "(trap 'echo member' HUP; echo up; while :; do sleep 0.1; done) &\n"
	    "trap 'echo leader' HUP; while :; do sleep 0.1; done");

	rpc(h, "signal_runner", "{s:s, s:s}", "signal", "HUP", "name", "it");
	wait_for(strcmp(logs_of(h, "it"), "up\nleader\n") == 0);
	rpc(h, "signal_runner", "{s:s, s:s, s:b}", "signal", "SIGHUP", "name",
	    "it", "group", 1);
	wait_for(strstr(logs_of(h, "it"), "member\n") != NULL);
	check_int(
	    int_at(rpc_error(h, "signal_runner", "[s, s]", "NONSENSE", "it"),
		"code"),
	    -32602);
	stop_it(h);
	check_int(int_at(rpc_error(h, "signal_runner", "[s, s]", "HUP", "it"),
		      "code"),
	    -32012);
	herod_stop(h);
}

void
test_remove_stops_by_the_runners_own_rules(void)
{
	struct herod *h = start_script("stopsignal = USR1",
	    text("trap 'echo asked >%s; exit 0' USR1; echo up\n"
		 "while :; do sleep 0.1; done",
		here("asked")));
	json_t *removed = rpc(h, "remove_runner", "{s:s}", "name", "it");

	check_str(text_at(removed, "name"), "it");
	check(json_is_true(at(removed, "removed")));
	check_int(count_lines(here("asked")), 1);
	check_int(
	    int_at(rpc_error(h, "get_runner_status", "[s]", "it"), "code"),
	    -32010);
	/* Its name is free again. */
	rpc(h, "add_runner", "{s:{s:s, s:[s, s]}}", "runner", "name", "it",
	    "command", "sleep", "1000");
	herod_stop(h);
}

void
test_a_removed_runner_stays_away(void)
{
	struct herod *h = herod_start(AT_ONCE);

	rpc(h, "add_runner", "{s:{s:s, s:[s, s]}}", "runner", "name", "late",
	    "command", "sleep", "1000");
	rpc(h, "remove_runner", "[s]", "late");
	herod_stop(h);
	herod_again(h);
	check_is_gone(h, "late");
	herod_stop(h);
}

/* It is of the file: another herod that a user starts reads that again, the
 * one that is started for a dead one goes on without it. */
void
test_a_removed_runner_of_the_file_stays_away_over_kill_9(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it", text("echo up >>%s; exec sleep 1000", here("up"))));

	wait_for(count_lines(here("up")) == 1);
	rpc(h, "remove_runner", "[s]", "it");
	herod_kill9(h);
	check_is_gone(h, "it");
	check_int(count_lines(here("up")), 1);
	rpc(h, "reload", NULL);
	wait_for(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}

/* Pitfall 21: one that waits for its next try can be removed at once. */
void
test_remove_during_backoff_is_immediate(void)
{
	struct herod *h =
	    herod_start("[runner:it]\ncommand = false\nbackoff_base = 1000\n"
			"backoff_max = 1000\n");

	wait_for(is_state(h, "it", "BACKOFF"));
	rpc(h, "remove_runner", "[s]", "it");
	check_is_gone(h, "it");
	herod_stop(h);
}

/* Pitfall 8, without a cgroup: a tree that grows while it is killed. */
void
test_a_group_that_multiplies_is_ended(void)
{
	struct herod *h = start_script("stopwaitsecs = 0.2",
	    "trap '' TERM; echo up\n"
	    "i=0; while [ $i -lt 60 ]; do i=$((i + 1))\n"
	    "(trap '' TERM; while :; do sleep 0.05; done) &\ndone\n"
	    "while :; do sleep 0.01; done");
	pid_t group = pid_of(h, "it");

	stop_it(h);
	check_str(
	    run("ps -o pid= -o pgid= ax | awk '$2 == %d'", (int)group).out, "");
	herod_stop(h);
}
