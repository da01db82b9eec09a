/*
 * What is left behind when something goes wrong around herod itself: its
 * directory is spoilt, its starter waits for a pipe.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- the next herod cannot begin ---- */

void
test_runners_outlive_a_herod_that_cannot_begin(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	const char *kept = here("state/runners.json");
	pid_t daemon = herod_pid(h), web;

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	write_file(kept, "{\"version\": 1, ");
	kill(daemon, SIGKILL);
	wait_for(strstr(herod_log(), "mend it or move it away") != NULL);
	check(is_alive(web));
	unlink(kept);
	wait_for(herod_pid(h) != 0 &&
	    run("$BUILD/heroctl -s unix:%s ping", h->socket).status == 0);
	check_int(pid_of(h, "web"), web);
	herod_stop(h);
}

void
test_runners_without_a_herod_are_asked_to_end(void)
{
	const char *it = script("it",
	    text("trap 'sleep 0.3; echo asked >>%s; exit 0' TERM\n"
		 "echo up >>%s; while :; do sleep 0.05; done",
		here("asked"), here("up")));
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = %s\n", it);

	wait_for(count_lines(here("up")) == 1);
	write_file(here("state/runners.json"), "{");
	kill(herod_pid(h), SIGKILL);
	wait_for(strstr(herod_log(), "mend it or move it away") != NULL);
	wait_for(herod_pid(h) == 0);
	kill(h->keeper, SIGTERM);
	herod_end(h);
	check_int(count_lines(here("asked")), 1);
}

/* ---- in the background ---- */

static void
end_daemon(void)
{
	pid_t pid = pid_in(here("state/herod.pid"));

	check(pid > 1);
	kill(pid, SIGTERM);
	wait_for(!is_alive(pid));
}

#define DAEMON \
	"$BUILD/herod --daemon --state_dir %s --runtime_dir %s " \
	"--listen unix:%s"

void
test_daemon_does_not_keep_the_pipe_of_its_starter(void)
{
	struct ran r = run("timeout 60 sh -c '" DAEMON " 2>&1 | cat'",
	    here("state"), here("run"), here("s.sock"));

	check_int(r.status, 0);
	check_str(r.out, "");
	end_daemon();
}

void
test_the_keepers_words_go_to_the_log(void)
{
	const char *log = here("state/log/herod.log");
	pid_t keeper;

	check_int(
	    run(DAEMON, here("state"), here("run"), here("s.sock")).status, 0);
	keeper = pid_in(here("state/herod.pid"));
	run("pkill -KILL -x herod -P %d", (int)keeper);
	wait_for(strstr(file_text(log), "herod was ended by signal 9"));
	wait_for(
	    run("$BUILD/heroctl -s unix:%s ping", here("s.sock")).status == 0);
	end_daemon();
}

/* ---- signals ---- */

void
test_signals_that_mean_nothing_do_nothing(void)
{
	struct herod *h = herod_start(AT_ONCE);
	pid_t daemon = herod_pid(h);

	kill(h->keeper, SIGUSR1);
	wait_for(strstr(herod_log(), "SIGUSR1: nothing is done"));
	rpc(h, "ping", NULL);
	check_int(herod_pid(h), daemon);
	herod_stop(h);
}

/* ---- who waits while herod ends ---- */

void
test_a_start_that_the_end_overtakes_is_told_so(void)
{
	struct herod *h =
	    herod_start("[runner:it]\nautostart = false\n"
			"startsecs = 100\ncommand = sleep 1000\n");
	int fd = rpc_begin(h, "start_runner", "[s]", "it");
	json_t *answer;

	wait_for(is_state(h, "it", "STARTING"));
	kill(h->keeper, SIGTERM);
	answer = rpc_end(fd);
	check_int(int_at(answer, "error.code"), -32040);
	check_int(herod_end(h), 0);
}

/* ---- what the next herod has no place for ---- */

void
test_an_instance_too_many_after_a_crash_is_asked_to_end(void)
{
	const char *it = script("it",
	    text("trap 'echo asked >>%s; exit 0' TERM\n"
		 "echo up >>%s; while :; do sleep 0.05; done",
		here("asked"), here("up")));
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nnumprocs = 2\ncommand = %s\n", it);
	pid_t first, second;

	wait_for(count_lines(here("up")) == 2);
	wait_for(is_state(h, "it", "RUNNING"));
	first = (pid_t)int_at(status_of(h, "it"), "instances.0.pid");
	second = (pid_t)int_at(status_of(h, "it"), "instances.1.pid");
	run("sed -i 's/numprocs = 2/numprocs = 1/' %s", h->conf);
	unlink(here("state/conf.json")); /* else it goes by that */
	herod_kill9(h);
	wait_for(!is_alive(second));
	check_int(count_lines(here("asked")), 1);
	check_int(pid_of(h, "it"), first);
	herod_stop(h);
}

/* ---- directories ---- */

static void
check_is_refused(const char *dir, const char *why)
{
	struct ran r =
	    run("timeout 60 $BUILD/herod --state_dir %s --runtime_dir %s "
		"--listen unix:%s",
		here("state"), here("run"), here("s.sock"));

	check_int(r.status, 1);
	check_has(r.err, dir);
	check_has(r.err, why);
}

void
test_directories_that_anybody_may_write_are_refused(void)
{
	mkdir("state", 0700);
	mkdir("run", 0700);
	chmod("run", 0777);
	check_is_refused(here("run"), "may be written by anybody (mode 0777)");
	chmod("run", 0700);
	chmod("state", 0777);
	check_is_refused(here("state"), "may be written by anybody");
}
