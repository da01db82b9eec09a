/* heroctl why: every state in sentences; heroctl tree: who runs below. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

static const char *
why(struct herod *h, const char *name)
{
	struct ran r = heroctl(h, "why %s", name);

	check_int(r.status, 0);
	return r.out;
}

/* It explains itself as being in that state, and says that, too. */
static void
check_why(
    struct herod *h, const char *name, const char *state, const char *part)
{
	const char *text;

	wait_for(is_state(h, name, state));
	text = why(h, name);
	check_has(text, state);
	check_has(text, part);
}

void
test_why_it_is_not_running(void)
{
	struct herod *h = herod_start("[runner:idle]\nautostart = false\n"
				      "command = sleep 1000\n"
				      "[runner:slow]\nstartsecs = 1000\n"
				      "command = sleep 1000\n"
				      "[runner:done]\nstartsecs = 0\n"
				      "command = true\n");

	check_why(h, "idle", "STOPPED", "autostart is false");
	check_has(why(h, "idle"), "heroctl start idle");
	wait_for(pid_of(h, "slow") != 0);
	check_why(
	    h, "slow", "STARTING", "counts as RUNNING when it still does");
	check_why(h, "done", "EXITED", "ended by itself: exit 0");
	check_has(why(h, "done"), "ended with exit code 0");
	rpc(h, "stop_runner", "{s:s}", "name", "slow");
	check_why(h, "slow", "STOPPED", "stopped by hand");
	check_has(why(h, "slow"), "by SIGTERM");
	herod_stop(h);
}

/* The kernel says of both that there is no such file. */
void
test_why_a_script_that_is_there_is_not_found(void)
{
	struct herod *h = herod_start("[defaults]\ndirectory = %s\n"
				      "[runner:crlf]\ncommand = ./crlf\n"
				      "[runner:odd]\ncommand = %s\n"
				      "[runner:none]\ncommand = ./none\n"
				      "[runner:bare]\ncommand = ./bare\n",
	    here(""), here("odd"));

	write_file(here("crlf"), "#!/bin/sh\r\necho\r\n");
	write_file(here("odd"), "#! /does/not/exist -x\n");
	write_file(here("bare"), "echo\n");
	run("chmod +x crlf odd bare");
	rpc_error(h, "start_runner", "[s]", "crlf");
	check_has(why(h, "crlf"),
	    "it is there, its interpreter /bin/sh is not: its lines end as "
	    "those of Windows");
	rpc_error(h, "start_runner", "[s]", "odd");
	check_has(why(h, "odd"), "its interpreter /does/not/exist is not)");
	rpc_error(h, "start_runner", "[s]", "bare");
	check_has(why(h, "bare"), "a script must begin with #!");
	check(!strstr(why(h, "none"), "interpreter"));
	herod_stop(h);
}

/* Pitfall 44. */
void
test_why_it_failed_with_its_last_lines(void)
{
	struct herod *h = herod_start(
	    "[defaults]\nautostart = false\nbackoff_base = 1000\n"
	    "backoff_max = 1000\n"
	    "[runner:bad]\ncommand = sh -c 'echo last words; exit 3'\n"
	    "[runner:worse]\nstartretries = 0\n"
	    "command = sh -c 'echo last words; kill -SEGV $$'\n"
	    "[runner:none]\ncommand = /does/not/exist\n");
	const char *text;

	rpc(h, "start_runner", "{s:s, s:b}", "name", "bad", "wait", 0);
	check_why(h, "bad", "BACKOFF", "1 of 3 retries are used");
	text = why(h, "bad");
	check_has(text, "exit 3");
	check_has(text, "The next try is in ");
	check_has(text, "last words");
	rpc_error(h, "start_runner", "{s:s}", "name", "worse");
	check_why(h, "worse", "FATAL", "by SIGSEGV");
	check_has(why(h, "worse"), "last words");
	check_has(why(h, "worse"), "CPU time");
	rpc_error(h, "start_runner", "{s:s}", "name", "none");
	check_why(h, "none", "FATAL", "No such file or directory");
	herod_stop(h);
}

void
test_why_it_is_up_or_on_its_way_down(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:deaf]\nstopwaitsecs = 1000\nstopsignal = TERM,QUIT\n"
	    "command = %s\n"
	    "[runner:job]\nkind = exec\ncommand = sleep 1000\n",
	    script("deaf",
		text("trap '' TERM QUIT\necho >%s\nexec sleep 1000\n",
		    here("deaf.up"))));
	struct ran r;

	wait_for(file_exists(here("deaf.up")));
	wait_for_redis(h);
	check_why(h, "web", "RUNNING", text("pid %d", (int)pid_of(h, "web")));
	check_why(h, "job", "RUNNING", "waits for a job in the queue job");
	rpc(h, "signal_runner", "{s:s, s:s}", "signal", "STOP", "name", "web");
	check_why(h, "web", "PAUSED", "heroctl signal CONT web");
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "deaf", "wait", 0);
	check_why(h, "deaf", "STOPPING", "SIGTERM, SIGQUIT");
	check_has(why(h, "deaf"), "It is killed if it has not ended in ");
	r = heroctl(h, "queue job x");
	r.out = strndup(r.out, strcspn(r.out, "\n"));
	wait_for(strstr(why(h, "job"), r.out) != NULL);
	rpc(h, "restart_runner", "{s:s, s:b}", "name", "job", "wait", 0);
	check_why(h, "job", "DRAINING", "has job ");
	check_has(why(h, "job"), " left.");
	check_has(why(h, "job"), "Then it is started again.");
	rpc(h, "stop_runner", "{s:s, s:b, s:b}", "name", "job", "drain", 0,
	    "wait", 0);
	signal_runner(h, "deaf", SIGKILL);
	wait_for(is_state(h, "deaf", "STOPPED"));
	free((char *)(uintptr_t)r.out);
	herod_stop(h);
}

static bool
has_ended_for(struct herod *h, const char *name, const char *reason)
{
	const char *told = json_string_value(
	    at(status_of(h, name), "instances.0.exit.reason"));

	return told && strstr(told, reason) &&
	    strstr(why(h, name), text("because herod ended it: %s", reason));
}

/* Not only by which signal. */
void
test_why_herod_ended_it(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:other]\ncommand = sleep 1000\n"
	    "[runner:user]\nrequires = web\ncommand = sleep 1000\n"
	    "[runner:sick]\ncommand = sleep 1000\nhealth_interval = 0.1\n"
	    "health_retries = 1\nhealth = exec:test ! -e %s\n",
	    here("ill"));

	wait_for(is_state(h, "user", "RUNNING"));
	rpc(h, "restart_runner", "[s]", "web");
	wait_for(has_ended_for(h, "web", "it was restarted by hand"));
	wait_for(
	    has_ended_for(h, "user", "it requires web, which was to stop"));
	signal_runner(h, "web", SIGSEGV);
	wait_for(strstr(why(h, "web"), "by SIGSEGV ("));
	check(json_is_null(at(status_of(h, "web"), "instances.0.exit.reason")));
	rpc(h, "stop_runner", "[s]", "web");
	wait_for(has_ended_for(h, "web", "it was stopped by hand"));
	write_file(here("ill"), "");
	wait_for(has_ended_for(h, "sick", "unhealthy, 1 probe failed"));
	herod_kill9(h);
	wait_for(has_ended_for(h, "sick", "unhealthy, 1 probe failed"));
	write_file(h->conf, AT_ONCE "[runner:other]\ncommand = sleep 2000\n");
	rpc(h, "reload", NULL);
	wait_for(has_ended_for(h, "other", "its settings were changed"));
	herod_stop(h);
}

void
test_why_tells_of_instances_that_differ(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nnumprocs = 3\ncommand = sleep 1000\n");
	json_t *status;
	const char *text;

	wait_for(is_state(h, "web", "RUNNING"));
	check_has(why(h, "web"), "3 of its 3 instances are RUNNING");
	status = status_of(h, "web");
	kill((pid_t)int_at(status, "instances.1.pid"), SIGSTOP);
	wait_for(is_state(h, "web", "PAUSED"));
	text = why(h, "web");
	check_has(text, "2 of its 3 instances are RUNNING");
	check_has(text, "Instance 1: Its process, pid");
	check_has(text, "Instance 0: ");
	check(strstr(text, "Instance 2: ") == NULL);
	herod_stop(h);
}

void
test_why_it_waits_for_others(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:db]\nautostart = false\nstartsecs = 1000\n"
		    "command = sleep 1000\n"
		    "[runner:web]\nautostart = false\nrequires = db:ready\n"
		    "command = sleep 1000\n");

	rpc(h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
	check_why(h, "web", "WAITING", "db");
	check_has(why(h, "web"), "It starts by itself then.");
	herod_stop(h);
}

void
test_why_of_a_stranger_is_refused(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	struct ran r = heroctl(h, "why wed");

	check_int(r.status, 4);
	check_has(r.err, "did you mean web");
	herod_stop(h);
}

/* ---- tree ---- */

/* The process of that command, or NULL. */
static json_t *
process_of(struct herod *h, const char *runner, const char *command)
{
	json_t *all =
	    at(rpc(h, "get_runner_processes", "{s:s}", "name", runner),
		"processes");
	json_t *process;
	size_t i;

	json_array_foreach (all, i, process)
		if (strcmp(text_at(process, "command"), command) == 0)
			return process;
	return NULL;
}

void
test_tree_shows_children_below_their_parents(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\n"
		    "command = sh -c 'sleep 1001 & (sleep 1002; :) & wait'\n"
		    "[runner:other]\ncommand = sleep 1003\n"
		    "[runner:idle]\nautostart = false\ncommand = x\n");
	json_t *top, *child;
	struct ran r;

	wait_for(is_state(h, "web", "RUNNING") &&
	    process_of(h, "web", "sleep 1001") != NULL &&
	    process_of(h, "web", "sleep 1002") != NULL);
	top = at(rpc(h, "get_runner_processes", "{s:s}", "name", "web"),
	    "processes.0");
	check_int(int_at(top, "pid"), pid_of(h, "web"));
	check_int(int_at(top, "depth"), 0);
	check(int_at(top, "rss") > 0);
	check_str(text_at(top, "runner"), "web");
	child = process_of(h, "web", "sleep 1001");
	check_int(int_at(child, "ppid"), pid_of(h, "web"));
	check_int(int_at(child, "depth"), 1);
	check_int(int_at(process_of(h, "web", "sleep 1002"), "depth"), 2);
	check(process_of(h, "web", "sleep 1003") == NULL);
	wait_for(strstr(heroctl(h, "tree").out, "sleep 1003") != NULL);
	r = heroctl(h, "tree 'web'");
	check_int(r.status, 0);
	check_has(r.out, "\t  sleep 1001");
	check_has(r.out, "\t    sleep 1002");
	r = heroctl(h, "tree idle");
	check_int(r.status, 3);
	check_has(r.err, "idle has no process");
	check_int(heroctl(h, "tree idel").status, 4);
	check_int(heroctl(h, "tree --name web").status, 2);
	herod_stop(h);
}

/* Pitfall 7. */
void
test_tree_finds_those_that_left_their_parents(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\n"
		    "command = sh -c '(setsid sleep 1001 &); exec sleep 1002'\n"
		    "[runner:other]\ncommand = sleep 1003\n");
	json_t *lost = NULL;

	wait_for((lost = process_of(h, "web", "sleep 1001")) != NULL &&
	    json_is_true(at(lost, "escaped")) &&
	    process_of(h, "web", "sleep 1002") != NULL);
	check_int(int_at(lost, "depth"), 0);
	check_int(int_at(lost, "instance"), 0);
	check(json_is_false(at(process_of(h, "web", "sleep 1002"), "escaped")));
	check(process_of(h, "other", "sleep 1001") == NULL);
	check_has(heroctl(h, "tree web").out, "sleep 1001 (escaped)");
	kill((pid_t)int_at(lost, "pid"), SIGKILL);
	wait_for(process_of(h, "web", "sleep 1001") == NULL);
	herod_stop(h);
}

void
test_tree_shows_the_process_of_a_job(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:job]\nkind = exec\ncommand = sleep 1001\n");

	wait_for_redis(h);
	check(process_of(h, "job", "sleep 1001") == NULL);
	heroctl(h, "queue job x");
	wait_for(process_of(h, "job", "sleep 1001") != NULL);
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "job", "drain", 0);
	herod_stop(h);
}
