/*
 * The end of herod, and beginnings beside it: runners stop in order and
 * within bounds, nothing stays, nobody's place is taken.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

#define DEAF "trap '' TERM INT; echo up; while :; do sleep 1000; done"

static void
check_ends_by(int signo)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		text("trap 'echo asked >>%s; exit 0' TERM; echo up\n"
		     "while :; do sleep 0.1; done",
		    here("asked"))));
	pid_t pid;

	wait_for(strcmp(logs_of(h, "it"), "up\n") == 0);
	pid = pid_of(h, "it");
	kill(h->keeper, signo);
	check_int(herod_end(h), 0);
	check(!is_alive(pid));
	check_int(count_lines(here("asked")), 1);
	check(!file_exists(h->socket));
}

void
test_sigterm_ends_everything(void)
{
	check_ends_by(SIGTERM);
}

void
test_sigint_ends_everything(void)
{
	check_ends_by(SIGINT);
}

void
test_a_signal_to_the_daemon_itself_ends_everything(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = sleep 1000\n");

	kill(herod_pid(h), SIGTERM);
	check_int(herod_end(h), 0);
}

void
test_the_shutdown_method_ends_everything(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = sleep 1000\n");

	check_str(json_string_value(rpc(h, "shutdown", NULL)), "shutting down");
	check_int(herod_end(h), 0);
}

void
test_runners_stop_by_falling_priority(void)
{
	const char *body = "trap 'sleep 0.2; echo $HERO_RUNNER >>%s; exit 0' "
			   "TERM; echo up\nwhile :; do sleep 0.05; done";
	const char *it = script("it", text(body, here("order")));
	struct herod *h =
	    herod_start(AT_ONCE "[runner:b]\npriority = 20\ncommand = %s\n"
				"[runner:a]\npriority = 10\ncommand = %s\n"
				"[runner:c]\npriority = 30\ncommand = %s\n",
		it, it, it);

	wait_for(strcmp(logs_of(h, "a"), "up\n") == 0 &&
	    strcmp(logs_of(h, "b"), "up\n") == 0 &&
	    strcmp(logs_of(h, "c"), "up\n") == 0);
	herod_stop(h);
	check_str(file_text(here("order")), "c\nb\na\n");
}

/* A job in hand is finished and recorded: Redis is the last to go. */
void
test_redis_ends_after_the_jobs(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nkind = exec\n"
	    "command = sh -c 'echo >%s; sleep 0.5; echo done'\n",
	    here("begun"));
	const char *id;

	wait_for_redis(h);
	id = json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "it"));
	wait_for(file_exists(here("begun")));
	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	check_str(text_at(rpc(h, "job.result", "[s]", id), "success"), "done");
	herod_stop(h);
}

/* Pitfall 36. */
void
test_a_second_signal_hurries(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:deaf]\nstopwaitsecs = 1000\ncommand = %s\n",
	    script("deaf", DEAF));
	pid_t pid;

	wait_for(strcmp(logs_of(h, "deaf"), "up\n") == 0);
	pid = pid_of(h, "deaf");
	kill(h->keeper, SIGTERM);
	wait_for(is_state(h, "deaf", "STOPPING"));
	kill(h->keeper, SIGTERM);
	check_int(herod_end(h), 1); /* something had to be killed */
	check(!is_alive(pid));
}

/* Pitfall 36. */
void
test_shutdown_timeout_bounds_the_end(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\nshutdown_timeout = 1\n"
	    "[runner:deaf]\nstopwaitsecs = 1000\ncommand = %s\n",
	    script("deaf", DEAF));
	pid_t pid;

	wait_for(strcmp(logs_of(h, "deaf"), "up\n") == 0);
	pid = pid_of(h, "deaf");
	kill(h->keeper, SIGTERM);
	check_int(herod_end(h), 1);
	check(!is_alive(pid));
}

/* Pitfall 35. */
void
test_sighup_during_the_end_is_ignored(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:slow]\ncommand = %s\n",
	    script("slow",
		"trap 'sleep 0.7; exit 0' TERM; echo up\n"
		"while :; do sleep 0.1; done"));

	wait_for(strcmp(logs_of(h, "slow"), "up\n") == 0);
	kill(h->keeper, SIGTERM);
	wait_for(is_state(h, "slow", "STOPPING"));
	kill(h->keeper, SIGHUP);
	check_int(herod_end(h), 0);
}

void
test_calls_during_the_end_are_answered(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:slow]\ncommand = %s\n"
	    "[runner:other]\nautostart = false\ncommand = sleep 1000\n",
	    script("slow",
		"trap 'sleep 0.7; exit 0' TERM; echo up\n"
		"while :; do sleep 0.1; done"));

	wait_for(strcmp(logs_of(h, "slow"), "up\n") == 0);
	kill(h->keeper, SIGTERM);
	wait_for(is_state(h, "slow", "STOPPING"));
	check_int(int_at(rpc_error(h, "start_runner", "[s]", "other"), "code"),
	    -32040);
	check_int(herod_end(h), 0);
}

/* ---- in the background ---- */

void
test_daemon_returns_when_ready_and_is_found_by_its_pid_file(void)
{
	const char *server = text("unix:%s", here("run/herod.sock"));
	struct ran r = run("$BUILD/herod --daemon --state_dir %s "
			   "--runtime_dir %s --listen %s",
	    here("state"), here("run"), server);
	pid_t pid;

	check_int(r.status, 0);
	check_int(run("$BUILD/heroctl -s %s ping", server).status, 0);
	pid = pid_in(here("state/herod.pid"));
	check(is_alive(pid));
	kill(pid, SIGTERM);
	wait_for(!is_alive(pid));
}

void
test_daemon_tells_why_it_cannot_start(void)
{
	struct ran r = run("$BUILD/herod --daemon --state_dir /proc/no/such "
			   "--runtime_dir %s --listen unix:%s",
	    here("run"), here("s.sock"));

	check_int(r.status, 1);
	check_has(r.err, "/proc/no/such");
}

void
test_systemd_is_told_when_it_is_ready(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {10, 0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct herod *h;
	char said[256];
	ssize_t n;

	strcpy(sun.sun_path, here("notify"));
	check_int(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	h = herod_start_with(
	    text("NOTIFY_SOCKET=%s", here("notify")), "", "%s", "");
	check((n = recv(fd, said, sizeof(said) - 1, 0)) > 0);
	said[n] = '\0';
	check_has(said, "READY=1");
	close(fd);
	herod_stop(h);
}

/* ---- beside another ---- */

/* Runs a second herod with these words in place of the first one's. */
static struct ran
second(struct herod *h, const char *state, const char *listen)
{
	return run("timeout 60 $BUILD/herod -c %s --state_dir %s "
		   "--runtime_dir %s --listen %s",
	    h->conf, here(state), here("run2"), listen);
}

/* Pitfall 34. */
void
test_a_second_herod_on_the_same_state_is_refused(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = sleep 1000\n");
	struct ran r;
	pid_t pid;

	wait_for((pid = pid_of(h, "it")) != 0);
	r = second(h, "state", text("unix:%s", here("other.sock")));
	check_int(r.status, 1);
	check_has(r.err, here("state"));
	check_int(pid_of(h, "it"), pid);
	herod_stop(h);
}

/* Pitfall 34. */
void
test_a_live_socket_is_never_stolen(void)
{
	struct herod *h = herod_start(AT_ONCE);
	struct ran r = second(h, "state2", text("unix:%s", h->socket));

	check_int(r.status, 1);
	check_has(r.err, h->socket);
	rpc(h, "ping", NULL);
	herod_stop(h);
}

void
test_a_port_in_use_is_told(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *address = text("tcp:127.0.0.1:%d", h->port);
	struct ran r = second(h, "state2", address);

	check_int(r.status, 1);
	check_has(r.err, address);
	check_has(r.err, "listens there");
	herod_stop(h);
}

/* Everything of a herod that went down with its machine is still there. */
void
test_a_stale_socket_is_recovered(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);

	kill(h->keeper, SIGSTOP);
	kill(daemon, SIGKILL);
	run("pkill -KILL -P %d", (int)h->keeper);
	kill(h->keeper, SIGKILL);
	waitpid(h->keeper, NULL, 0);
	wait_for(!is_alive(daemon));
	check(file_exists(h->socket));
	herod_again(h);
	rpc(h, "ping", NULL);
	herod_stop(h);
}

/* Pitfall 34: a cleaner of /tmp took the socket. */
void
test_a_socket_taken_away_comes_back(void)
{
	struct herod *h = herod_start(AT_ONCE);

	unlink(h->socket);
	herod_kill9(h);
	rpc(h, "ping", NULL);
	herod_stop(h);
}

/* Pitfall 17: ^C in herod's terminal is not the runners' business. */
void
test_runners_hear_nothing_of_the_terminals_signals(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\ncommand = %s\n",
	    script("it",
		text("trap 'echo int >>%s' INT; "
		     "trap 'echo term >>%s; exit 0' TERM; echo up\n"
		     "while :; do sleep 0.1; done",
		    here("heard"), here("heard"))));

	wait_for(strcmp(logs_of(h, "it"), "up\n") == 0);
	kill(-h->keeper, SIGINT); /* as a terminal does: the whole group */
	herod_end(h);
	check_str(file_text(here("heard")), "term\n");
}
