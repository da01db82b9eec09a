/* Readiness and watchdog, with real processes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"

/* A program that sends each line of the file NAME.say to NOTIFY_SOCKET, |
 * standing for a newline. */
static const char teller[] =
    "import os, select, socket, sys\n"
    "address = os.environ['NOTIFY_SOCKET']\n"
    "if address[0] == '@':\n"
    "    address = '\\0' + address[1:]\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "s.connect(address)\n"
    "sent = 0\n"
    "while True:\n"
    "    try:\n"
    "        lines = open(sys.argv[1]).read().split('\\n')[:-1]\n"
    "    except FileNotFoundError:\n"
    "        lines = []\n"
    "    for line in lines[sent:]:\n"
    "        s.send(line.replace('|', '\\n').encode())\n"
    "    sent = len(lines)\n"
    "    select.select([], [], [], 0.02)\n";

/* The command of a runner of that name which tells what say() says. */
static const char *
telling(const char *name)
{
	write_file("teller.py", teller);
	return text(
	    "python3 %s %s", here("teller.py"), here(text("%s.say", name)));
}

static void
say(const char *name, const char *what)
{
	FILE *f = fopen(here(text("%s.say", name)), "a");

	check(f != NULL);
	fprintf(f, "%s\n", what);
	fclose(f);
}

/* Its environment is the program's own: until then it may be a child of
 * the keeper's that is not yet executed. */
static bool
is_python(pid_t pid)
{
	return pid != 0 && strstr(proc_text(pid, "cmdline"), "python") != NULL;
}

void
test_notify_makes_it_running(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = notify\ncommand = %s\n", telling("web"));
	json_t *st;

	wait_for(is_python(pid_of(h, "web")));
	say("web", "STATUS=warming up");
	wait_for(strstr(text_at(status_of(h, "web"), "why"), "warming up"));
	st = status_of(h, "web");
	check_str(text_at(st, "state"), "STARTING");
	check(json_is_false(at(st, "ready")));
	check(json_is_null(at(st, "ready_at")));
	check_str(
	    text_at(st, "why"), "started, not ready yet; says: warming up");
	say("web", "READY=1|STATUS=serving|MAINPID=1");
	wait_for(is_state(h, "web", "RUNNING"));
	say("web", "READY=1");
	st = status_of(h, "web");
	check(json_is_true(at(st, "ready")));
	check(json_is_string(at(st, "ready_at")));
	check_str(text_at(st, "instances.0.says"), "serving");
	/* Pitfall 37: MAINPID of somebody else. */
	wait_for(strstr(herod_log(), "MAINPID=1 is no process of it"));
	check(at(st, "instances.0.main_pid") == NULL);
	say("web", text("MAINPID=%d", (int)pid_of(h, "web")));
	wait_for(at(status_of(h, "web"), "instances.0.main_pid") != NULL);
	say("web", "RELOADING=1");
	wait_for(json_is_false(at(status_of(h, "web"), "ready")));
	check(is_state(h, "web", "RUNNING"));
	say("web", "READY=1");
	wait_for(json_is_true(at(status_of(h, "web"), "ready")));
	herod_stop(h);
}

/* Pitfall 37. */
void
test_a_stranger_cannot_make_it_ready(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = notify\ncommand = %s\n", telling("web"));

	wait_for(is_python(pid_of(h, "web")));
	check_int(run("python3 -c 'import socket; s = "
		      "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
		      "s.sendto(b\"READY=1\", \"%s/notify\")'",
		      here("run"))
		      .status,
	    0);
	wait_for(strstr(herod_log(), "belongs to no runner"));
	check(is_state(h, "web", "STARTING"));
	herod_stop(h);
}

/* Lets the keeper make a process, and holds it there: it cannot tell herod of
 * it before it is let go. */
static void
hold_keeper_at_fork(pid_t keeper)
{
	const int forked = SIGTRAP | PTRACE_EVENT_FORK << 8;
	unsigned long child;
	int status, sig;

	for (;;) {
		check_int(waitpid(keeper, &status, 0), keeper);
		check(WIFSTOPPED(status));
		if (status >> 8 == forked)
			break;
		sig = status >> 16 ? 0 : WSTOPSIG(status);
		check_int(ptrace(PTRACE_CONT, keeper, NULL, sig), 0);
	}
	check_int(ptrace(PTRACE_GETEVENTMSG, keeper, NULL, &child), 0);
	check_int(waitpid((pid_t)child, &status, __WALL), (pid_t)child);
	check_int(ptrace(PTRACE_DETACH, (pid_t)child, NULL, NULL), 0);
}

/* herod keeps for seconds what comes from it before: on a machine that
 * stands still for so long this is tried again. */
static bool
is_ready_by_an_early_word(struct herod *h)
{
	double since = check_clock();
	int start;

	rpc(h, "stop_runner", "[s]", "web");
	unlink("said");
	if (ptrace(PTRACE_SEIZE, h->keeper, NULL, PTRACE_O_TRACEFORK) == -1)
		skip("needs to be allowed ptrace(2)");
	start = rpc_begin(
	    h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
	hold_keeper_at_fork(h->keeper);
	wait_for(file_exists("said"));
	check_int(ptrace(PTRACE_DETACH, h->keeper, NULL, NULL), 0);
	check(at(rpc_end(start), "result") != NULL);
	while (!is_state(h, "web", "RUNNING"))
		if (check_clock() - since > 2)
			return false;
	return true;
}

/* Before herod knows that it was started. */
void
test_a_word_before_the_news_of_its_start_counts(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = notify\nautostart = false\ncommand = %s\n",
	    script("web",
		text("python3 -c 'import os, socket; s = "
		     "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
		     "s.sendto(b\"READY=1\", os.environ[\"NOTIFY_SOCKET\"])'\n"
		     "echo >%s; exec sleep 1000",
		    here("said"))));

	wait_for_redis(h);
	wait_for(is_ready_by_an_early_word(h));
	herod_stop(h);
}

void
test_readiness_outlives_herod(void)
{
	struct herod *h = herod_start(
	    "[runner:up]\nready = notify\ncommand = %s\n"
	    "[runner:late]\nready = notify\ncommand = %s\n"
	    "[runner:after]\nrequires = late\ncommand = sleep 1000\n",
	    telling("up"), telling("late"));
	pid_t up;
	const char *since;

	say("up", "READY=1");
	wait_for(is_state(h, "up", "RUNNING"));
	wait_for(is_python(pid_of(h, "late")));
	up = pid_of(h, "up");
	since = text_at(status_of(h, "up"), "ready_at");
	herod_kill9(h);
	check(is_state(h, "up", "RUNNING"));
	check_int(pid_of(h, "up"), up);
	check_str(text_at(status_of(h, "up"), "ready_at"), since);
	check(is_state(h, "late", "STARTING"));
	check(is_state(h, "after", "WAITING"));
	say("late", "READY=1");
	wait_for(is_state(h, "late", "RUNNING"));
	wait_for(pid_of(h, "after") != 0);
	herod_stop(h);
}

void
test_what_is_told_while_herod_is_away_is_heard(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = notify\ncommand = %s\n", telling("web"));

	wait_for(is_python(pid_of(h, "web")));
	kill(herod_pid(h), SIGSTOP);
	say("web", "READY=1");
	herod_kill9(h);
	wait_for(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

void
test_a_line_on_a_descriptor_makes_it_running(void)
{
	struct herod *h =
	    herod_start("[runner:web]\nready = fd:7\ncommand = %s\n"
			"[runner:first]\nready = fd:3\ncommand = %s\n",
		script("web",
		    text("ls -l /proc/self/fd | grep -c pipe >%s\n"
			 "printf half >&7\n"
			 "while [ ! -e %s ]; do sleep 0.02; done\n"
			 "echo >&7\nexec 7>&-\nexec sleep 1000",
			here("fds"), here("go"))),
		script("first", "echo >&3; exec sleep 1000"));

	wait_for(is_state(h, "first", "RUNNING"));
	wait_for(file_exists(here("fds")) && count_lines(here("fds")) == 1);
	check(is_state(h, "web", "STARTING"));
	herod_kill9(h);
	check(is_state(h, "first", "RUNNING"));
	check(is_state(h, "web", "STARTING"));
	write_file("go", "");
	wait_for(is_state(h, "web", "RUNNING"));
	herod_kill9(h);
	check(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

/* Pitfall 14: 0, 1, 2 and what was asked for. */
void
test_it_gets_no_other_descriptors(void)
{
	static const int numbers[] = {3, 5, 9};
	struct herod *h;
	size_t k;
	pid_t pid;

	for (k = 0; k < 3; k++) {
		h = herod_start(
		    "[runner:web]\nready = fd:%d\ncommand = sleep 1000\n",
		    numbers[k]);
		wait_for((pid = pid_of(h, "web")) != 0);
		wait_for(strstr(proc_text(pid, "cmdline"), "sleep"));
		wait_for(count_fds(pid) == 4); /* once sleep is loaded */
		check(
		    file_exists(text("/proc/%d/fd/%d", (int)pid, numbers[k])));
		herod_stop(h);
	}
}

/* Pitfalls 37 and 38. */
void
test_a_descriptor_closed_without_a_line_is_not_ready(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = fd:3\nstartwaitsecs = 0.5\n"
	    "startretries = 0\ncommand = %s\n",
	    script("web", "printf nothing >&3\nexec 3>&-\nexec sleep 1000"));
	json_t *st;

	wait_for(is_state(h, "web", "FATAL"));
	st = status_of(h, "web");
	check_has(text_at(st, "why"), "not ready within ");
	check_str(text_at(st, "instances.0.exit.signal"), "TERM");
	herod_stop(h);
}

void
test_a_line_of_its_log_makes_it_running(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\nready = log:listening on [0-9]+\ncommand = %s\n",
	    script("web",
		text("echo starting\nwhile [ ! -e %s ]; do sleep 0.02; done\n"
		     "echo now listening on 80\nexec sleep 1000",
		    here("go"))));

	wait_for(strcmp(logs_of(h, "web"), "starting\n") == 0);
	check(is_state(h, "web", "STARTING"));
	herod_kill9(h);
	check(is_state(h, "web", "STARTING"));
	write_file("go", "");
	wait_for(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

void
test_the_watchdog_ends_a_silent_program(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\nwatchdog = 2\ncommand = %s\n",
		script("web",
		    text("echo $WATCHDOG_USEC $WATCHDOG_PID $$ >>%s\n"
			 "exec sleep 1000",
			here("env"))));
	int usec, told, pid;

	wait_for(int_at(status_of(h, "web"), "restarts") > 0);
	wait_for(count_lines(here("env")) > 0);
	check_int(
	    sscanf(file_text(here("env")), "%d %d %d", &usec, &told, &pid), 3);
	check_int(usec, 2000000);
	check_int(told, pid);
	wait_for(strstr(herod_log(), "watchdog: not a word for 2s"));
	herod_stop(h);
}

void
test_an_exec_runner_cannot_be_ready(void)
{
	struct ran ran;

	write_file("bad.conf",
	    "[runner:job]\nkind = exec\ncommand = x\nready = notify\n"
	    "[runner:web]\ncommand = x\nready = log:a(\n");
	ran = run("$BUILD/herod --check -c %s", here("bad.conf"));
	check_int(ran.status, 2);
	check_has(ran.err, "runner job: ready and watchdog are for kind");
	check_has(ran.err, "bad.conf:7: ready: 'a(' is not a regular");
}
