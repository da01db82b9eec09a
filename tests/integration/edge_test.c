/*
 * Edge cases of a supervisor's life that belong to no other program here:
 * clocks that are set, too many processes, odd names, a Redis that hangs.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- pitfall 26: the wall clock is set ---- */

struct seen {
	pid_t pid;
	long long web, later, starts;
};

static struct seen
look(struct herod *h)
{
	return (struct seen){.pid = pid_of(h, "web"),
	    .web = int_at(status_of(h, "web"), "restarts"),
	    .later = int_at(status_of(h, "later"), "restarts"),
	    .starts = count_lines(here("starts"))};
}

/* Turns of the loop in which all that is due would come to pass. */
static void
check_nothing_happened(struct herod *h, const struct seen *before)
{
	struct seen after;
	int k;

	for (k = 0; k < 5; k++)
		rpc(h, "ping", NULL);
	after = look(h);
	check_int(after.pid, before->pid);
	check_int(after.web, before->web);
	check_int(after.later, before->later);
	check_int(after.starts, before->starts);
	check(is_state(h, "later", "BACKOFF"));
	check(is_state(h, "young", "STARTING"));
	check(is_state(h, "old", "RUNNING"));
}

void
test_a_clock_that_is_set_restarts_and_expires_nothing(void)
{
	volatile long long *wall_clock;
	struct herod *h = herod_start_with(with_fake_clock(&wall_clock), "",
	    "[runner:web]\nstartsecs = 0\ncommand = sleep 1000\n"
	    "[runner:later]\nbackoff_base = 3600\nbackoff_max = 3600\n"
	    "command = sh -c 'echo >>%s; exit 1'\n"
	    "[runner:young]\nstartsecs = 3600\ncommand = sleep 1000\n"
	    "[runner:old]\nstartsecs = 0\nmax_age = 1h\ncommand = sleep 1000\n"
	    "[runner:job]\nkind = exec\njob_timeout = 1h\ncommand = %s\n",
	    here("starts"),
	    script("job",
		text("echo >%s; while [ ! -f %s ]; do sleep 0.05; done; "
		     "echo done",
		    here("begun"), here("go"))));
	struct seen before;
	json_t *answer;
	int fd;

	wait_for_redis(h);
	fd = rpc_begin(h, "job.run", "{s:{s:s, s:s}}", "job", "runner", "job",
	    "payload", "x");
	wait_for(file_exists(here("begun")));
	wait_for(is_state(h, "later", "BACKOFF"));
	wait_for(is_state(h, "web", "RUNNING"));
	before = look(h);
	*wall_clock = 86400;
	/* What is only shown tells that it was set. */
	check(json_number_value(
		  at(rpc(h, "get_all_status", NULL), "herod.uptime")) > 86000);
	check_nothing_happened(h, &before);
	*wall_clock = -86400;
	check_nothing_happened(h, &before);
	write_file("go", "");
	answer = rpc_end(fd);
	check_has(text_at(answer, "result.success"), "done");
	herod_stop(h);
}

/* ---- pitfall 42: too many processes ---- */

void
test_more_processes_than_descriptors_are_refused_with_numbers(void)
{
	struct ran r;

	write_file("c.conf",
	    "[runner:web]\nnumprocs = 100\ncommand = sleep 1000\n"
	    "[runner:w]\nkind = stdio\nnumprocs = 10\ncommand = cat\n");
	check_int(
	    run("ulimit -n 1000; $BUILD/herod --check -c c.conf").status, 0);
	r = run("ulimit -n 256; $BUILD/herod --check -c c.conf");
	check_int(r.status, 2);
	check_has(r.err,
	    "the runners ask for 110 processes, which takes 400 descriptors, "
	    "and RLIMIT_NOFILE allows 256");
	check_int(run("ulimit -n 256; timeout 60 $BUILD/herod -c c.conf "
		      "--state_dir %s --runtime_dir %s --listen unix:%s",
		      here("state"), here("run"), here("s.sock"))
		      .status,
	    2);
	check(!file_exists(here("state")));
}

void
test_more_processes_than_the_keeper_holds_are_refused(void)
{
	int k;
	const char *conf = "";

	for (k = 0; k < 9; k++)
		conf = text("%s[runner:r%d]\nnumprocs = 1000\n"
			    "command = sleep 1000\n",
		    conf, k);
	write_file("c.conf", conf);
	check_has(run("$BUILD/herod --check -c c.conf").err,
	    "the runners ask for 9000 processes; wanted at most 8000");
}

/* ---- pitfall 43: names ---- */

void
test_odd_names_are_refused_with_the_reason(void)
{
	static const char *const odd[] = {
	    "a:b", "a/b", "a b", "-x", ".", "..", "\xc3\xa4", "", "a\x01"};
	size_t k;
	struct ran r;

	for (k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
		write_file(
		    "c.conf", text("[runner:%s]\ncommand = true\n", odd[k]));
		r = run("$BUILD/herod --check -c c.conf");
		check_int(r.status, 2);
		check_has(r.err, "is not a name");
	}
	write_file("c.conf",
	    text("[runner:%s]\ncommand = true\n",
		"0123456789012345678901234567890123456789"
		"01234567890123456789012345678901234567890123456789"));
	check_has(run("$BUILD/herod --check -c c.conf").err, "is not a name");
	write_file("c.conf", "[runner:all]\ncommand = true\n");
	check_has(run("$BUILD/herod --check -c c.conf").err,
	    "runner all: 'all' stands for all runners");
}

void
test_odd_names_are_refused_by_rpc_too(void)
{
	static const char *const odd[] = {"a:b", "../x", "all", "", "-x"};
	struct herod *h = herod_start(AT_ONCE);
	size_t k;

	for (k = 0; k < sizeof(odd) / sizeof(odd[0]); k++)
		check_int(
		    int_at(rpc_error(h, "add_runner", "{s:{s:s, s:s}}",
			       "runner", "name", odd[k], "command", "true"),
			"code"),
		    -32602);
	herod_stop(h);
}

/* ---- pitfall 20: ends before anybody looked ---- */

void
test_programs_that_end_at_once_are_all_seen(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "autorestart = never\n"
	    "[runner:many]\nnumprocs = 100\ncommand = sh -c 'exit 5'\n");
	json_t *all, *i;
	size_t k;

	wait_for(is_state(h, "many", "EXITED"));
	all = at(status_of(h, "many"), "instances");
	check_int((int)json_array_size(all), 100);
	json_array_foreach (all, k, i) {
		check_str(text_at(i, "state"), "EXITED");
		check_int(int_at(i, "exit.code"), 5);
	}
	herod_stop(h);
}

/* ---- pitfall 18: stopped by a signal ---- */

void
test_a_paused_runner_is_shown_goes_on_and_can_be_stopped(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nbackoff_reset = 0.1\ncommand = sleep 1000\n");
	pid_t pid;

	rpc(h, "start_runner", "[s]", "it");
	pid = pid_of(h, "it");
	check_int(heroctl(h, "signal STOP it").status, 0);
	wait_for(is_state(h, "it", "PAUSED"));
	check_has(heroctl(h, "status").out, "PAUSED");
	/* It is the next herod's business, too. */
	herod_kill9(h);
	wait_for(is_state(h, "it", "PAUSED"));
	check_int(pid_of(h, "it"), pid);
	check_int(heroctl(h, "signal CONT it").status, 0);
	wait_for(is_state(h, "it", "RUNNING"));
	check_int(pid_of(h, "it"), pid);
	check_int(heroctl(h, "signal STOP it").status, 0);
	wait_for(is_state(h, "it", "PAUSED"));
	/* The signal to end needs SIGCONT behind it. */
	check_int(heroctl(h, "stop it").status, 0);
	check(is_state(h, "it", "STOPPED"));
	check_has(text_at(status_of(h, "it"), "why"), "SIGTERM");
	herod_stop(h);
}

void
test_a_paused_runner_that_is_killed_is_replaced(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = sleep 1000\n");
	pid_t pid;

	rpc(h, "start_runner", "[s]", "it");
	pid = pid_of(h, "it");
	kill(pid, SIGSTOP);
	wait_for(is_state(h, "it", "PAUSED"));
	kill(pid, SIGKILL);
	wait_for(is_state(h, "it", "RUNNING") && pid_of(h, "it") != pid);
	herod_stop(h);
}

/* ---- pitfall 48: Redis hangs ---- */

void
test_runners_are_kept_while_redis_hangs(void)
{
	struct herod *h = herod_start_with("", "--redis_timeout 3600",
	    AT_ONCE "[runner:it]\ncommand = sh -c 'echo up; sleep 1000'\n"
		    "[runner:up]\nkind = exec\ncommand = cat\n");
	pid_t redis, pid;

	wait_for_redis(h);
	wait_for(strcmp(logs_of(h, "it"), "up\n") == 0);
	redis = pid_of(h, "herod-redis");
	kill(redis, SIGSTOP);
	wait_for(is_state(h, "herod-redis", "PAUSED"));
	pid = pid_of(h, "it");
	kill(pid, SIGKILL);
	wait_for(strcmp(logs_of(h, "it"), "up\nup\n") == 0);
	check(pid_of(h, "it") != pid);
	rpc(h, "stop_runner", "[s]", "it");
	rpc(h, "start_runner", "[s]", "it");
	wait_for(strcmp(logs_of(h, "it"), "up\nup\nup\n") == 0);
	rpc(h, "restart_runner", "[s]", "it");
	wait_for(strcmp(logs_of(h, "it"), "up\nup\nup\nup\n") == 0);
	kill(redis, SIGCONT);
	wait_for(is_state(h, "herod-redis", "RUNNING"));
	herod_stop(h);
}
