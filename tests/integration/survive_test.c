/*
 * herod-keeper dies by kill -9: herod takes its place under its own pid.
 * Runners go on, no connection is refused, and what nobody can know any
 * more is told as unknown.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* Seconds that nobody else sleeps: a word to find our processes by. */
static const char *
number(int n)
{
	return text("3322%d.%d", n, (int)getpid());
}

static int
count_sleepers(int n)
{
	return atoi(run("pgrep -f -c -- '[s]leep %s'", number(n)).out);
}

/* Pitfalls 32 and 33. */
void
test_runners_live_on_when_the_keeper_is_killed(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nnumprocs = 2\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);
	json_t *before, *after;
	int i;

	wait_for_redis(h);
	rpc(h, "start_runner", "[s]", "web");
	rpc(h, "add_runner", "[{s:s, s:[s, s]}]", "name", "more", "command",
	    "sleep", "2000");
	rpc(h, "start_runner", "[s]", "more");
	before = rpc(h, "get_all_runner_status", NULL);
	herod_keeper_kill9(h);
	check_int(h->keeper, daemon);
	check_int(pid_in(here("state/herod.pid")), daemon);
	check_has(herod_log(), "taking its place");
	after = rpc(h, "get_all_runner_status", NULL);
	check_int(json_array_size(after), json_array_size(before));
	for (i = 0; i < (int)json_array_size(after); i++) {
		check_int(int_at(after, text("%d.pid", i)),
		    int_at(before, text("%d.pid", i)));
		check_str(text_at(after, text("%d.state", i)), "RUNNING");
		check_str(text_at(after, text("%d.wanted", i)),
		    text_at(before, text("%d.wanted", i)));
	}
	wait_for_redis(h);
	herod_stop(h);
}

void
test_how_an_orphan_ends_is_told_as_unknown(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t orphan, ours;

	rpc(h, "start_runner", "[s]", "web");
	herod_keeper_kill9(h);
	orphan = pid_of(h, "web");
	kill(orphan, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != orphan);
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.signal")));
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.code")));
	ours = pid_of(h, "web");
	kill(ours, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != ours);
	check_str(
	    text_at(status_of(h, "web"), "instances.0.exit.signal"), "SEGV");
	herod_stop(h);
}

/* Pitfalls 6 and 9: the group of a process that is not ours. */
void
test_orphans_are_stopped_with_their_group(void)
{
	const char *it = script("it",
	    text("trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >%s; "
		 "while :; do sleep 0.05; done' & echo up; wait; wait",
		here("kid")));
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nstopwaitsecs = 0.2\ncommand = %s\n", it);
	pid_t pid, kid;

	wait_for(pid_in(here("kid")) != 0);
	kid = pid_in(here("kid"));
	pid = pid_of(h, "it");
	herod_keeper_kill9(h);
	check(is_alive(kid));
	rpc(h, "stop_runner", "[s]", "it");
	check(is_state(h, "it", "STOPPED"));
	check(!is_alive(pid));
	check(!is_alive(kid));
	herod_stop(h);
}

/* Nobody is there: the keeper is dead, herod does not run. */
void
test_a_death_while_nobody_is_there_is_seen_later(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\ncommand = sleep %s\n", number(1));
	pid_t daemon = herod_pid(h), web;

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	kill(daemon, SIGSTOP);
	kill(h->keeper, SIGKILL);
	kill(web, SIGKILL);
	herod_keeper_gone(h, daemon);
	kill(daemon, SIGCONT);
	wait_for(herod_pid(h) != 0);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != web);
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.signal")));
	wait_for(is_state(h, "web", "RUNNING"));
	check_int(count_sleepers(1), 1);
	herod_stop(h);
}

/* Pitfall 34: sockets and the lock go from hand to hand. */
void
test_a_connection_waits_while_the_keeper_is_replaced(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);
	int call;

	kill(daemon, SIGSTOP);
	herod_keeper_gone(h, daemon);
	call = rpc_begin(h, "ping", NULL);
	kill(daemon, SIGCONT);
	check_str(text_at(rpc_end(call), "result"), "pong");
	check_has(run("$BUILD/herod -c %s --state_dir %s --listen unix:%s 2>&1",
		      h->conf, here("state"), here("other"))
		      .out,
	    text("pid %d", (int)daemon));
	herod_stop(h);
}

void
test_output_goes_on_after_the_keepers_death(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it",
		"i=0; while [ $i -lt 200 ]; do i=$((i + 1)); "
		"echo line $i; sleep 0.01; done"));
	int i;

	wait_for(strstr(logs_of(h, "it"), "line 3\n") != NULL);
	for (i = 0; i < 3; i++)
		herod_keeper_kill9(h);
	wait_for(is_state(h, "it", "EXITED") || is_state(h, "it", "FATAL"));
	run("seq 1 200 >expected");
	check_str(run("sed 's/.* line //' %s | cmp - expected 2>&1",
		      here("state/log/it.log"))
		      .out,
	    "");
	herod_stop(h);
}

/* What a keeper changed for itself is not what its successor found. */
void
test_new_processes_are_as_under_the_first_keeper(void)
{
	const char *tell = "ulimit -n; cat /proc/self/oom_score_adj";
	struct herod *h = herod_start_with("ulimit -S -n 500;", "",
	    AT_ONCE "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it", text("{ %s; } >>%s", tell, here("told"))));
	const char *first;

	wait_for(count_lines(here("told")) == 2);
	first = file_text(here("told"));
	check(strncmp(first, "500\n", 4) == 0);
	wait_for(is_state(h, "it", "EXITED"));
	herod_keeper_kill9(h);
	rpc(h, "start_runner", "[s]", "it");
	wait_for(count_lines(here("told")) == 4);
	check_str(file_text(here("told")), text("%s%s", first, first));
	herod_stop(h);
}

void
test_nothing_grows_when_keepers_are_killed_again_and_again(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 3\ncommand = sleep %s\n",
	    number(2));
	int of_herod, of_keeper, i;

	wait_for_redis(h);
	rpc(h, "start_runner", "[s]", "web");
	herod_keeper_kill9(h);
	wait_for_redis(h);
	of_herod = count_fds(herod_pid(h));
	of_keeper = count_fds(h->keeper);
	for (i = 0; i < 15; i++) {
		herod_keeper_kill9(h);
		if (i % 3 == 0)
			herod_kill9(h);
	}
	wait_for_redis(h);
	wait_for(count_fds(herod_pid(h)) <= of_herod);
	wait_for(count_fds(h->keeper) <= of_keeper);
	check_int(count_sleepers(2), 3);
	herod_stop(h);
}

/* Whatever was under way: some were told, some executed, some only asked
 * for. */
void
test_no_second_copy_of_what_was_being_started(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nautostart = false\nnumprocs = 20\n"
	    "command = sleep %s\n",
	    number(3));
	int i, call;

	for (i = 0; i < 5; i++) {
		call = rpc_begin(
		    h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
		wait_for(count_sleepers(3) > i * 3);
		close(call);
		herod_keeper_kill9(h);
		wait_for(is_state(h, "web", "RUNNING"));
		wait_for(count_sleepers(3) == 20);
		rpc(h, "stop_runner", "[s]", "web");
		wait_for(count_sleepers(3) == 0);
	}
	herod_stop(h);
}

/* Who keeps its end is gone, too: herod tells the next one. */
void
test_what_had_done_its_work_is_not_run_again(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it", text("echo once >>%s; exit 0", here("told"))));
	int i;

	for (i = 0; i < 3; i++) {
		wait_for(is_state(h, "it", "EXITED"));
		check_int(
		    int_at(status_of(h, "it"), "instances.0.exit.code"), 0);
		check_int(count_lines(here("told")), 1);
		herod_keeper_kill9(h);
	}
	rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	wait_for(count_lines(here("told")) == 2);
	herod_stop(h);
}

/* systemd ends all that is left when the main process is gone. */
void
test_who_asks_to_end_while_the_keeper_is_replaced_is_heard(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);

	rpc(h, "start_runner", "[s]", "web");
	kill(daemon, SIGSTOP);
	herod_keeper_gone(h, daemon);
	kill(daemon, SIGTERM);
	kill(daemon, SIGCONT);
	herod_end(h);
}

/* Redis does not answer meanwhile. */
void
test_who_asks_to_end_while_redis_is_awaited_is_heard(void)
{
	pid_t redis = redis_start(here("redis.sock"));
	struct herod *h = herod_start_with("",
	    text("--redis_url unix://%s", here("redis.sock")),
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);
	int call;

	rpc(h, "start_runner", "[s]", "web");
	wait_for_redis(h);
	kill(redis, SIGSTOP);
	call = rpc_begin(h, "job.status", "[s]", "none");
	rpc(h, "ping", NULL);
	herod_keeper_gone(h, daemon);
	wait_for(strstr(herod_log(), "taking its place"));
	kill(daemon, SIGTERM);
	kill(redis, SIGCONT);
	close(call);
	herod_end(h);
}
