/*
 * herod dies by kill -9; the keeper is there.  No process restarts, no
 * status, line, job or connection is lost.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

void
test_runners_live_on_under_their_pids(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nnumprocs = 3\ncommand = sleep 1000\n");
	json_t *before, *after;
	int i;

	rpc(h, "start_runner", "[s]", "web");
	before = status_of(h, "web");
	for (i = 0; i < 5; i++)
		herod_kill9(h);
	after = status_of(h, "web");
	check_str(text_at(after, "state"), "RUNNING");
	for (i = 0; i < 3; i++)
		check_int(int_at(after, text("instances.%d.pid", i)),
		    int_at(before, text("instances.%d.pid", i)));
	check_int(int_at(after, "restarts"), int_at(before, "restarts"));
	herod_stop(h);
}

void
test_the_private_redis_lives_on_too(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *find = "pgrep -P %d -x redis-server";
	const char *pid;

	wait_for_redis(h);
	pid = run(find, (int)h->keeper).out;
	check(atoi(pid) != 0);
	herod_kill9(h);
	wait_for_redis(h);
	check_str(run(find, (int)h->keeper).out, pid);
	herod_stop(h);
}

void
test_adopted_runners_can_be_stopped_and_started(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t pid;

	rpc(h, "start_runner", "[s]", "web");
	pid = pid_of(h, "web");
	herod_kill9(h);
	rpc(h, "stop_runner", "[s]", "web");
	check(!is_alive(pid));
	check_str(
	    text_at(status_of(h, "web"), "instances.0.exit.signal"), "TERM");
	rpc(h, "start_runner", "[s]", "web");
	check(pid_of(h, "web") != 0);
	herod_stop(h);
}

void
test_an_adopted_runners_crash_is_seen(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t pid;

	rpc(h, "start_runner", "[s]", "web");
	herod_kill9(h);
	pid = pid_of(h, "web");
	kill(pid, SIGSEGV);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != pid);
	check_str(
	    text_at(status_of(h, "web"), "instances.0.exit.signal"), "SEGV");
	herod_stop(h);
}

/* Its status waits with the keeper until the next herod asks. */
void
test_a_death_while_herod_is_away_is_told_later(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nautorestart = never\n"
				"command = %s\n",
		script("it",
		    text("echo up; while [ ! -f %s ]; do sleep 0.02; done\n"
			 "echo end; exit 7",
			here("go"))));
	pid_t daemon, it;

	wait_for(strcmp(logs_of(h, "it"), "up\n") == 0);
	it = pid_of(h, "it");
	daemon = herod_pid(h);
	/* Frozen, it cannot see the death before it is killed. */
	kill(daemon, SIGSTOP);
	write_file(here("go"), "");
	wait_for(!is_alive(it));
	kill(daemon, SIGKILL);
	wait_for(herod_pid(h) != 0 && herod_pid(h) != daemon);
	wait_for(is_state(h, "it", "EXITED"));
	check_int(int_at(status_of(h, "it"), "instances.0.exit.code"), 7);
	wait_for(strstr(file_text(here("state/log/it.log")), " out end\n"));
	herod_stop(h);
}

void
test_lines_written_while_herod_is_away_are_kept(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautorestart = never\ncommand = %s\n",
	    script("it",
		"i=0; while [ $i -lt 200 ]; do i=$((i + 1)); "
		"echo line $i; sleep 0.01; done"));
	int i;

	wait_for(strstr(logs_of(h, "it"), "line 3\n") != NULL);
	for (i = 0; i < 3; i++)
		herod_kill9(h);
	wait_for(is_state(h, "it", "EXITED"));
	run("seq 1 200 >expected");
	check_str(run("sed 's/.* line //' %s | cmp - expected "
		      "&& echo same",
		      here("state/log/it.log"))
		      .out,
	    "same\n");
	herod_stop(h);
}

void
test_what_is_wanted_survives(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:up]\ncommand = sleep 1000\nautostart = false\n"
		    "[runner:down]\ncommand = sleep 1000\n");

	rpc(h, "start_runner", "[s]", "up");
	rpc(h, "stop_runner", "[s]", "down");
	rpc(h, "add_runner", "{s:{s:s, s:[s, s], s:i}}", "runner", "name",
	    "late", "command", "sleep", "1000", "startsecs", 0);
	wait_for(is_state(h, "late", "RUNNING"));
	herod_kill9(h);
	check(is_state(h, "up", "RUNNING"));
	check(is_state(h, "down", "STOPPED"));
	check(is_state(h, "late", "RUNNING"));
	check_str(text_at(status_of(h, "late"), "settings_origin"), "rpc");
	herod_stop(h);
}

/* The keeper holds the listening sockets: a call waits in the backlog. */
void
test_no_connection_is_refused(void)
{
	struct herod *h = herod_start("[runner:it]\ncommand = sleep 1000\n");
	pid_t daemon;
	int i;

	/* Not more often: the keeper waits longer after each early death. */
	for (i = 0; i < 4; i++) {
		wait_for((daemon = herod_pid(h)) != 0);
		kill(daemon, SIGKILL);
		rpc(h, "ping", NULL);
		check_has(http_post(h,
			      "{\"jsonrpc\":\"2.0\",\"method\":"
			      "\"ping\",\"id\":1}"),
		    "pong");
	}
	herod_stop(h);
}

/* There is no herod at all when they come. */
void
test_connections_are_taken_while_herod_is_dead(void)
{
	enum { EACH = 10 };
	static const char get[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
				  "Connection: close\r\n\r\n";
	static const char ping[] =
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n";
	struct herod *h = herod_start("[runner:it]\ncommand = sleep 1000\n");
	int lines[EACH], tcp[EACH], http[EACH], i;
	pid_t daemon;

	wait_for((daemon = herod_pid(h)) != 0);
	kill(h->keeper, SIGSTOP);
	wait_for(
	    strncmp(proc_field(h->keeper, "status", "State"), "T", 1) == 0);
	kill(daemon, SIGKILL);
	wait_for(!is_alive(daemon));
	for (i = 0; i < EACH; i++) {
		send_text(lines[i] = door_unix(h), ping);
		send_text(tcp[i] = door_tcp(h), ping);
		send_text(http[i] = door_tcp(h), get);
	}
	check_int(herod_pid(h), 0);
	kill(h->keeper, SIGCONT);
	for (i = 0; i < EACH; i++) {
		check_str(text_at(recv_json(lines[i]), "result"), "pong");
		check_str(text_at(recv_json(tcp[i]), "result"), "pong");
		check_has(recv_all(http[i]), "HTTP/1.1 200");
	}
	herod_stop(h);
}

void
test_a_runner_that_was_starting_goes_on_starting(void)
{
	struct herod *h = herod_start("[runner:it]\nstartsecs = 2\n"
				      "command = sleep 1000\n"
				      "[runner:late]\nstartsecs = 1000\n"
				      "command = sleep 1000\n"
				      "[runner:needs]\ncommand = sleep 1000\n"
				      "requires = late:ready\n");
	pid_t pid;

	wait_for((pid = pid_of(h, "it")) != 0);
	wait_for(is_state(h, "needs", "WAITING"));
	herod_kill9(h);
	wait_for(is_state(h, "it", "RUNNING"));
	check_int(pid_of(h, "it"), pid);
	check(is_state(h, "late", "STARTING"));
	check(is_state(h, "needs", "WAITING"));
	herod_stop(h);
}

void
test_a_stop_under_way_is_finished(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		"trap 'sleep 0.5; exit 0' TERM; echo up\n"
		"while :; do sleep 0.1; done"));
	pid_t pid;

	wait_for(strcmp(logs_of(h, "it"), "up\n") == 0);
	pid = pid_of(h, "it");
	rpc(h, "stop_runner", "[s, b]", "it", 0);
	herod_kill9(h);
	wait_for(is_state(h, "it", "STOPPED"));
	check(!is_alive(pid));
	herod_stop(h);
}

/* ---- jobs ---- */

void
test_an_exec_job_in_hand_goes_on(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
		script("it",
		    text("echo begun >>%s; while [ ! -f %s ]; do sleep 0.02; "
			 "done; cat; echo done",
			here("begun"), here("go"))));
	const char *id;

	wait_for_redis(h);
	id = json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", "hello "));
	wait_for(count_lines(here("begun")) == 1);
	herod_kill9(h);
	wait_for_redis(h);
	write_file(here("go"), "");
	check_str(
	    text_at(rpc(h, "job.wait", "[s]", id), "success"), "hello done");
	check_int(count_lines(here("begun")), 1);
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 1);
	herod_stop(h);
}

void
test_an_exec_job_that_ended_meanwhile_is_settled(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
		script("it",
		    text("echo $$ >%s; while [ ! -f %s ]; do sleep 0.02; done; "
			 "echo done",
			here("pid"), here("go"))));
	const char *id;
	pid_t daemon;

	wait_for_redis(h);
	id = json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "it"));
	wait_for(pid_in(here("pid")) != 0);
	daemon = herod_pid(h);
	kill(daemon, SIGSTOP);
	write_file(here("go"), "");
	wait_for(!is_alive(pid_in(here("pid"))));
	kill(daemon, SIGKILL);
	wait_for(herod_pid(h) != 0 && herod_pid(h) != daemon);
	wait_for_redis(h);
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "done");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "attempts"), 1);
	herod_stop(h);
}

void
test_a_stdio_workers_job_is_answered(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = stdio\nconcurrency = 4\n"
				"command = %s/tests/integration/worker\n",
		getenv("HEROD_BUILD"));
	const char *id;
	pid_t pid;

	wait_for_redis(h);
	wait_for((pid = pid_of(h, "it")) != 0);
	id = json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", "hold"));
	wait_for(strcmp(json_string_value(rpc(h, "job.status", "[s]", id)),
		     "started") == 0);
	herod_kill9(h);
	wait_for_redis(h);
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "it", "job",
	    "payload", "release");
	check_str(text_at(rpc(h, "job.wait", "[s]", id), "success"), "held");
	check_int(pid_of(h, "it"), pid);
	herod_stop(h);
}

void
test_queued_jobs_are_all_done_through_many_deaths(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nkind = exec\nconcurrency = 4\n"
	    "command = sh -c 'echo $JOB_ID >>%s; sleep 0.02'\n",
	    here("done"));
	int i, n = 100;

	wait_for_redis(h);
	for (i = 0; i < n; i++)
		rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "it",
		    "job", "id", text("job-%d", i));
	for (i = 0; i < 5; i++)
		herod_kill9(h);
	wait_for_redis(h);
	for (i = 0; i < n; i++)
		check(at(rpc(h, "job.wait", "[s]", text("job-%d", i)),
			  "success") != NULL);
	check_int(atoi(run("sort -u %s | wc -l", here("done")).out), n);
	herod_stop(h);
}

/* ---- the end ---- */

void
test_a_killed_herod_still_ends_cleanly(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:deaf]\nstopwaitsecs = 0.3\ncommand = %s\n",
	    script("deaf", "trap '' TERM; while :; do sleep 1000; done"));
	pid_t web, deaf;

	wait_for((web = pid_of(h, "web")) && (deaf = pid_of(h, "deaf")));
	herod_kill9(h);
	kill(h->keeper, SIGTERM);
	check_int(herod_end(h), 1); /* for the deaf one */
	check(!is_alive(web) && !is_alive(deaf));
}

/* ---- what has ended is not run again ---- */

void
test_a_program_that_has_done_its_work_is_not_run_again(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:once]\ncommand = sh -c 'echo >>%s; exit 0'\n"
	    "[runner:never]\nautorestart = never\n"
	    "command = sh -c 'echo >>%s; exit 4'\n",
	    here("once"), here("never"));
	int k;

	wait_for(
	    is_state(h, "once", "EXITED") && is_state(h, "never", "EXITED"));
	for (k = 0; k < 3; k++) {
		herod_kill9(h);
		wait_for(is_state(h, "once", "EXITED") &&
		    is_state(h, "never", "EXITED"));
		check_int(
		    int_at(status_of(h, "never"), "instances.0.exit.code"), 4);
	}
	check_int(count_lines(here("once")), 1);
	check_int(count_lines(here("never")), 1);
	/* Asked to, it is. */
	rpc(h, "start_runner", "{s:s, s:b}", "name", "once", "wait", 0);
	wait_for(count_lines(here("once")) == 2);
	wait_for(is_state(h, "once", "EXITED"));
	rpc(h, "stop_runner", "[s]", "never");
	herod_kill9(h);
	wait_for(is_state(h, "once", "EXITED"));
	check_int(count_lines(here("once")), 2);
	check(is_state(h, "never", "STOPPED"));
	herod_stop(h);
}

void
test_ends_that_are_kept_leak_no_descriptor(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:once]\nautostart = false\ncommand = true\n");
	int before, k;

	wait_for_redis(h);
	before = count_fds(h->keeper);
	for (k = 0; k < 10; k++) {
		rpc(h, "start_runner", "{s:s, s:b}", "name", "once", "wait", 0);
		wait_for(is_state(h, "once", "EXITED"));
	}
	rpc(h, "stop_runner", "[s]", "once");
	wait_for(count_fds(h->keeper) == before);
	herod_stop(h);
}

static void
queue_named(struct herod *h, const char *id, const char *payload,
    const char *unique_key)
{
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:s, s:s*}}", "runner",
	    "it", "job", "id", id, "payload", payload, "unique_key",
	    unique_key);
}

/* Redis has taken the end of b, and not yet that of a, which goes there by a
 * function. */
void
test_the_answer_behind_a_forgotten_one_is_understood(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = stdio\nconcurrency = 2\n"
				"command = %s/tests/integration/worker\n",
		getenv("HEROD_BUILD"));
	const char *s = here("state/redis/redis.sock");

	wait_for_redis(h);
	queue_named(h, "a", text("wait-for %s", here("go")), "key");
	queue_named(h, "b", "echo b", NULL);
	wait_for(job_is(h, "a", "started") && job_is(h, "b", "started"));
	redis(s, "ACL SETUSER default -fcall");
	write_file(here("go"), "");
	wait_for(strstr(redis(s, "ZRANGE herod:done:it 0 -1"), "b"));
	check(job_is(h, "a", "started"));
	herod_kill9(h);
	redis(s, "ACL SETUSER default +fcall");
	check_str(job_outcome(h, "a"), "it is there");
	queue_named(h, "c", "echo c", NULL);
	check_str(job_outcome(h, "c"), "c");
	herod_stop(h);
}

/* It only looks, so it can be asked again. */
void
test_who_waits_for_a_job_by_heroctl_waits_on(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = stdio\ncommand = %s\n",
		script("it",
		    text("read -r line; until [ -e %s ]; do sleep 0.1; done\n"
			 "echo '{\"jsonrpc\":\"2.0\",\"id\":\"j\","
			 "\"result\":\"well\"}'; exec sleep 1000",
			here("go"))));
	pid_t waits;

	wait_for_redis(h);
	check_int(heroctl(h, "queue it x --id j").status, 0);
	wait_for(job_is(h, "j", "started"));
	waits =
	    run_begin("exec $BUILD/heroctl -s unix:%s wait j >got", h->socket);
	wait_for(strstr(proc_text(waits, "cmdline"), "heroctl") &&
	    count_fds(waits) > 3);
	herod_kill9(h);
	write_file(here("go"), "");
	check_int(run_end(waits), 0);
	check_str(file_text(here("got")), "well\n");
	herod_stop(h);
}

void
test_who_runs_a_job_by_heroctl_gets_its_result(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
		script("it",
		    text("echo >>%s; until [ -e %s ]; do sleep 0.1; done\n"
			 "echo well",
			here("runs"), here("go"))));
	pid_t runs;

	wait_for_redis(h);
	runs = run_begin(
	    "exec $BUILD/heroctl -s unix:%s run it x >got", h->socket);
	wait_for(count_lines(here("runs")) == 1);
	herod_kill9(h);
	write_file(here("go"), "");
	check_int(run_end(runs), 0);
	check_str(file_text(here("got")), "well\n");
	check_int(count_lines(here("runs")), 1);
	herod_stop(h);
}

/* Many lines have the same time; each is shown once, in order. */
void
test_who_follows_logs_by_heroctl_misses_nothing(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		text("n=0; until [ -e %s ]; do seq $n $((n + 9));\n"
		     "n=$((n + 10)); sleep 0.005; done; echo last; sleep 1000",
		    here("go"))));
	pid_t follows;
	int i;

	follows = run_begin(
	    "exec $BUILD/heroctl -s unix:%s tail -n 100000 -f it >got",
	    h->socket);
	for (i = 1; i <= 4; i++) {
		wait_for(count_lines(here("got")) > 300 * i);
		herod_kill9(h);
	}
	write_file(here("go"), "");
	wait_for(strstr(file_text(here("got")), "\nlast\n"));
	kill(follows, SIGTERM);
	run_end(follows);
	check_str(run("n=$(($(wc -l <got) - 2)); { seq 0 $n; echo last; } | "
		      "cmp - got && echo same")
		      .out,
	    "same\n");
	herod_stop(h);
}

void
test_who_follows_a_job_by_heroctl_goes_on(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
		script("it",
		    text("echo one >&2; until [ -e %s ]; do sleep 0.05; done\n"
			 "echo two >&2",
			here("go"))));
	pid_t follows;

	wait_for_redis(h);
	check_int(heroctl(h, "queue it x --id j").status, 0);
	wait_for(job_is(h, "j", "started"));
	follows = run_begin(
	    "exec $BUILD/heroctl -s unix:%s --plain job logs -f j >got",
	    h->socket);
	wait_for(count_lines(here("got")) == 1);
	herod_kill9(h);
	write_file(here("go"), "");
	check_int(run_end(follows), 0);
	check_str(run("cut -f4 got").out, "one\ntwo\n");
	herod_stop(h);
}

/* ---- what is told to whoever did not ask for more ---- */

void
test_the_log_tells_by_default_of_what_somebody_should_look_at(void)
{
	struct herod *h;

	setenv("HERO_LOG", "error", 1);
	h = herod_start(
	    "[herod]\nredis_url = unix://%s\n"
	    "[runner:bad]\ncommand = /does/not/exist\n"
	    "[runner:well]\ncommand = sh -c 'echo; exec sleep 1000'\n"
	    "stdout_logfile = %s\n",
	    here("none.sock"), here("none/log"));
	wait_for(strstr(herod_log(), "runner bad.0: FATAL: exec"));
	wait_for(strstr(herod_log(), "none.sock: No such file"));
	wait_for(strstr(herod_log(), here("none/log")));
	check(!strstr(herod_log(), "runner well"));
	herod_stop(h);
}

/* ---- what Redis refuses ---- */

static int
refused_reads(const char *redis_socket)
{
	const char *at =
	    strstr(redis(redis_socket, "INFO errorstats"), "WRONGTYPE:count=");

	return at ? atoi(strchr(at, '=') + 1) : 0;
}

/* Its claim is there, but what it is cannot be read at first. */
void
test_a_job_that_redis_does_not_show_at_once_is_over_when_it_does(void)
{
	const char *s = here("redis.sock");
	struct herod *h;

	redis_start(s);
	h = herod_start("[herod]\nredis_url = unix://%s\n" AT_ONCE
			"[runner:it]\nkind = exec\ncommand = %s\n",
	    s,
	    script("it",
		text("echo >%s; until [ -e %s ]; do sleep 0.02; done; echo did",
		    here("runs"), here("go"))));
	wait_for_redis(h);
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "it", "job",
	    "id", "x");
	wait_for(count_lines(here("runs")) == 1);
	redis(s, "RENAME hero:job:x kept");
	redis(s, "SET hero:job:x 1");
	herod_kill9(h);
	wait_for(refused_reads(s) >= 1);
	write_file(here("go"), "");
	wait_for(refused_reads(s) >= 2);
	redis(s, "RENAME kept hero:job:x");
	check_str(job_outcome(h, "x"), "did");
	herod_stop(h);
}
