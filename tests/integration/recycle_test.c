/*
 * Processes that are replaced for their age or size, and those whose end is
 * the end of herod.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- max_age, max_rss ---- */

static bool
is_replaced(struct herod *h, const char *runner, pid_t old)
{
	pid_t pid = pid_of(h, runner);

	return pid != 0 && pid != old;
}

void
test_a_process_of_max_age_is_replaced(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:old]\nmax_age = 0.5\ncommand = sleep 1000\n"
		    "[runner:other]\ncommand = sleep 1000\n");
	pid_t other, old;

	rpc(h, "start_all", NULL);
	other = pid_of(h, "other");
	wait_for((old = pid_of(h, "old")) != 0);
	wait_for(is_replaced(h, "old", old));
	wait_for(int_at(status_of(h, "old"), "restarts") >= 3);
	check_has(herod_log(), "STOPPING: it is ");
	check_has(herod_log(), "old (max_age): replaced");
	/* It is no failure. */
	check(strstr(herod_log(), "BACKOFF") == NULL);
	check_int(pid_of(h, "other"), other);
	herod_stop(h);
}

void
test_a_process_beyond_max_rss_is_replaced(void)
{
	const char *it = script("it",
	    text("[ -f %s ] || { echo >%s\n"
		 "x=$(head -c 40000000 /dev/zero | tr '\\0' x); }\n"
		 "while :; do sleep 1; done",
		here("grown"), here("grown")));
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nmax_rss = 20MB\ncommand = %s\n", it);

	wait_for(int_at(status_of(h, "it"), "restarts") == 1);
	wait_for(is_state(h, "it", "RUNNING"));
	check_has(herod_log(), "kB in memory are more than max_rss, 20480 kB");
	herod_stop(h);
}

/* However often it is started: it is always as big. */
void
test_one_that_is_too_big_from_the_start_has_failed(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nmax_rss = 1kB\nflap_limit = 3\n"
				"flap_window = 86400\nbackoff_reset = 3600\n"
				"command = sleep 1000\n");

	wait_for(is_state(h, "it", "FATAL"));
	check_has(text_at(status_of(h, "it"), "instances.0.why"),
	    "kB in memory are more than max_rss, 1 kB; death 3 within 1d0h "
	    "(flap_limit)");
	check_has(text_at(status_of(h, "it"), "instances.0.exit.reason"),
	    "more than max_rss, 1 kB");
	check_has(herod_log(), "failure 2 in a row, next try in");
	herod_stop(h);
}

/* The job in hand ends first. */
void
test_a_worker_of_max_age_is_drained_first(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:w]\nkind = stdio\nmax_age = 0.5\ncommand = %s\n",
	    script("w",
		text(
		    "while read -r line; do\n"
		    "id=$(echo \"$line\" | sed 's/.*\"id\": *\"\\([^\"]*\\)\".*/\\1/')\n"
		    "while [ ! -f %s ]; do sleep 0.05; done\n"
		    "echo '{\"jsonrpc\":\"2.0\",\"result\":\"done '$$'\",\"id\":\"'$id'\"}'\n"
		    "done",
		    here("go"))));
	json_t *answer;
	int fd;

	wait_for_redis(h);
	fd = rpc_begin(h, "job.run", "{s:{s:s, s:s}}", "job", "runner", "w",
	    "payload", "x");
	wait_for(is_state(h, "w", "DRAINING"));
	check_has(text_at(status_of(h, "w"), "why"),
	    "(max_age): replaced after the jobs in hand");
	write_file("go", "");
	answer = rpc_end(fd);
	check_has(text_at(answer, "result.success"), "done");
	wait_for(int_at(status_of(h, "w"), "restarts") >= 1);
	herod_stop(h);
}

void
test_recycling_is_refused_where_it_means_nothing(void)
{
	write_file("c.conf",
	    "[runner:a]\nkind = exec\ncommand = cat\nmax_age = 1h\n"
	    "[runner:b]\nkind = exec\ncommand = cat\nessential = true\n");
	check_has(run("$BUILD/herod --check -c c.conf").err,
	    "runner a: max_age is for processes that live on");
	check_has(run("$BUILD/herod --check -c c.conf").err,
	    "runner b: essential is for processes that live on");
}

/* ---- essential (pitfall 41) ---- */

/* Another runner that says that it was asked to end. */
#define OTHER "[runner:other]\ncommand = %s\n"

static const char *
other(void)
{
	return script("other",
	    text("trap 'echo asked >%s; exit 0' TERM; echo >%s\n"
		 "while :; do sleep 0.05; done",
		here("asked"), here("up")));
}

void
test_herod_ends_in_order_with_the_code_of_an_essential_runner(void)
{
	struct herod *h = herod_start(AT_ONCE OTHER
	    "[runner:main]\nessential = true\nautorestart = never\n"
	    "command = sh -c 'while [ ! -f %s ]; do sleep 0.05; done; exit 7'\n",
	    other(), here("go"));

	wait_for(file_exists(here("up")));
	write_file("go", "");
	check_int(herod_end(h), 7);
	check_str(file_text(here("asked")), "asked\n");
}

void
test_a_signal_that_ends_an_essential_runner_is_told(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:main]\nessential = true\nautorestart = never\n"
		    "command = sleep 1000\n");
	pid_t pid;

	wait_for((pid = pid_of(h, "main")) != 0);
	kill(pid, SIGKILL);
	check_int(herod_end(h), 128 + SIGKILL);
}

void
test_an_essential_runner_that_ends_while_herod_is_away_ends_the_next(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:main]\nessential = true\nautorestart = never\n"
	    "command = %s\n",
	    script("main",
		text("until [ -e %s ]; do sleep 0.02; done; exit 42",
		    here("go"))));
	pid_t daemon, pid;

	wait_for(is_state(h, "main", "RUNNING"));
	daemon = herod_pid(h);
	pid = pid_of(h, "main");
	kill(h->keeper, SIGSTOP);
	kill(daemon, SIGKILL);
	write_file(here("go"), "");
	wait_for(!is_alive(pid));
	kill(h->keeper, SIGCONT);
	check_int(herod_end(h), 42);
}

void
test_an_essential_program_that_is_not_there_ends_it_with_127(void)
{
	write_file(
	    "c.conf", "[runner:main]\nessential = true\ncommand = /no/such\n");
	check_int(run("timeout 60 $BUILD/herod -c c.conf --state_dir %s "
		      "--runtime_dir %s --listen unix:%s",
		      here("state"), here("run"), here("s.sock"))
		      .status,
	    127);
}

void
test_an_essential_runner_may_restart_and_be_stopped(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:main]\nessential = true\ncommand = sleep 1000\n");
	pid_t pid;

	wait_for((pid = pid_of(h, "main")) != 0);
	kill(pid, SIGKILL);
	wait_for(is_replaced(h, "main", pid));
	rpc(h, "stop_runner", "[s]", "main");
	check(is_state(h, "main", "STOPPED"));
	rpc(h, "ping", NULL);
	herod_stop(h);
}

/* The last of several instances, and the code of one that failed. */
void
test_the_last_instance_of_an_essential_runner_decides(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:main]\nessential = true\nnumprocs = 2\n"
	    "autorestart = never\ncommand = sh -c "
	    "'while [ ! -f %s.$HERO_INSTANCE ]; do sleep 0.05; done; "
	    "exit $HERO_INSTANCE'\n",
	    here("go"));

	wait_for(is_state(h, "main", "RUNNING"));
	write_file("go.1", "");
	wait_for(strcmp(text_at(status_of(h, "main"), "instances.1.state"),
		     "EXITED") == 0);
	rpc(h, "ping", NULL);
	write_file("go.0", "");
	check_int(herod_end(h), 1);
}
