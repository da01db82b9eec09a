/*
 * What a runner leaves behind outside of its process group, and what does
 * not end at all: found, named, ended or told.  Each with control groups
 * (where this machine has them) and without.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "herod.h"

#define HEAD(way) "[herod]\ncgroups = " way "\n" AT_ONCE "[runner:it]\n"

/* The test, and the same without control groups. */
#define BOTH_WAYS(promise, check_it) \
	void test_##promise(void) \
	{ \
		check_it(HEAD("auto")); \
	} \
\
	void test_##promise##_without_cgroups(void) \
	{ \
		check_it(HEAD("off")); \
	}

/* A herod with one runner, a script, that has said "up". */
static struct herod *
start_script(const char *head, const char *settings, const char *body)
{
	struct herod *h = herod_start(
	    "%s%s\ncommand = %s\n", head, settings, script("it", body));

	wait_for(strstr(logs_of(h, "it"), "up\n") != NULL);
	return h;
}

static bool
has_group(pid_t pid)
{
	return strstr(proc_text(pid, "cgroup"), "/herod.") != NULL;
}

/* Or the test says nothing about groups. */
static void
need_group(struct herod *h, pid_t pid)
{
	if (has_group(pid))
		return;
	herod_stop(h);
	skip("needs a cgroup2 that may be written");
}

/* It left its session, is nobody's child and deaf to TERM. */
static const char *
escape(const char *name)
{
	return text("setsid sh -c 'trap \"\" TERM; echo $$ >%s; "
		    "while :; do sleep 1000; done' &\n"
		    "while [ ! -s %s ]; do sleep 0.01; done\n",
	    here(name), here(name));
}

/* ---- pitfall 7: who left the group ---- */

static void
check_stop_ends_who_escaped(const char *head, bool group)
{
	struct herod *h = start_script(head, "stopwaitsecs = 0.3",
	    text("%s echo up; exec sleep 1000", escape("escaped")));
	pid_t escaped = pid_in(here("escaped"));

	check(is_alive(escaped));
	if (group)
		need_group(h, escaped);
	else
		check(!has_group(escaped));
	check_str(
	    text_at(rpc(h, "stop_runner", "[s]", "it"), "state"), "STOPPED");
	check(!is_alive(escaped));
	check_has(herod_log(), text("pid %d (sh), pid ", (int)escaped));
	check_has(herod_log(), "left behind has not ended in time, SIGKILL");
	herod_stop(h);
}

/* Pitfall 7. */
void
test_stop_ends_who_left_the_session_by_its_cgroup(void)
{
	check_stop_ends_who_escaped(HEAD("auto"), true);
}

/* Pitfall 7. */
void
test_stop_ends_who_left_the_session_by_its_mark(void)
{
	check_stop_ends_who_escaped(HEAD("off"), false);
}

/* Asked with the runner's own signal before it is killed. */
static void
check_it_is_asked(const char *head)
{
	struct herod *h = start_script(head, "stopwaitsecs = 1000",
	    text("setsid sh -c 'trap \"echo asked >%s; exit\" TERM; "
		 "echo $$ >%s; while :; do sleep 0.05; done' &\n"
		 "while [ ! -s %s ]; do sleep 0.01; done\n"
		 "echo up; exec sleep 1000",
		here("asked"), here("escaped"), here("escaped")));

	rpc(h, "stop_runner", "[s]", "it");
	check_int(count_lines(here("asked")), 1);
	check(!is_alive(pid_in(here("escaped"))));
	herod_stop(h);
}

BOTH_WAYS(who_left_the_session_is_asked_first, check_it_is_asked)

/* Pitfall 7: it ends by itself and is started again: never two of them. */
static void
check_restart_follows(const char *head)
{
	struct herod *h = start_script(head, "stopwaitsecs = 0.2",
	    text("if [ -s %s ]; then echo up; exec sleep 1000; fi\n%s exit 3",
		here("escaped"), escape("escaped")));

	check(!is_alive(pid_in(here("escaped"))));
	check_has(herod_log(), "left behind: pid ");
	herod_stop(h);
}

BOTH_WAYS(a_restart_follows_the_end_of_who_escaped, check_restart_follows)

static void
check_it_is_left_alone(const char *head)
{
	struct herod *h = start_script(head, "killasgroup = false",
	    text("%s echo up; exec sleep 1000", escape("escaped")));
	pid_t escaped = pid_in(here("escaped"));
	json_t *st = rpc(h, "stop_runner", "[s]", "it");

	check_has(text_at(st, "why"),
	    text("stopped: SIGTERM; left behind: pid %d (sh)", (int)escaped));
	check(is_alive(escaped));
	herod_stop(h); /* nothing outlives that */
	check(!is_alive(escaped));
}

BOTH_WAYS(killasgroup_false_leaves_who_escaped_alone, check_it_is_left_alone)

/* One in its group that is deaf, and one that has left it. */
static struct herod *
start_two_beside(const char *head)
{
	return start_script(head, "killasgroup = false",
	    text("%s sh -c 'trap \"\" TERM; echo $$ >%s; while :; do "
		 "sleep 0.05; done' &\n"
		 "while [ ! -s %s ]; do sleep 0.01; done\n"
		 "echo up; exec sleep 1000",
		escape("escaped"), here("deaf"), here("deaf")));
}

static void
check_two_are_alive(void)
{
	check(is_alive(pid_in(here("escaped"))));
	check(is_alive(pid_in(here("deaf"))));
}

/* They are herod's own while it lives, and nothing outlives it in order. */
static void
check_two_end(struct herod *h)
{
	herod_stop(h);
	check(!is_alive(pid_in(here("escaped"))));
	check(!is_alive(pid_in(here("deaf"))));
}

static void
check_left_alone_end_with_herod(const char *head)
{
	struct herod *h = start_two_beside(head);

	rpc(h, "stop_runner", "[s]", "it");
	check_two_are_alive();
	check_two_end(h);
}

BOTH_WAYS(who_is_left_alone_ends_with_herod, check_left_alone_end_with_herod)

static void
check_unstopped_end_with_herod(const char *head)
{
	check_two_end(start_two_beside(head));
}

BOTH_WAYS(who_would_be_left_alone_ends_with_herod_at_once,
    check_unstopped_end_with_herod)

static void
check_left_alone_end_with_the_next(const char *head)
{
	struct herod *h = start_two_beside(head);

	rpc(h, "stop_runner", "[s]", "it");
	herod_kill9(h);
	check_two_are_alive();
	check_two_end(h);
}

BOTH_WAYS(who_is_left_alone_ends_with_the_next_herod,
    check_left_alone_end_with_the_next)

/* Found by the herod after the one that started it, too. */
static void
check_next_herod_finds_it(const char *head)
{
	struct herod *h = start_script(head, "stopwaitsecs = 0.2",
	    text("%s echo up; exec sleep 1000", escape("escaped")));
	pid_t escaped = pid_in(here("escaped"));

	herod_kill9(h);
	rpc(h, "stop_runner", "[s]", "it");
	check(!is_alive(escaped));
	herod_stop(h);
}

BOTH_WAYS(who_escaped_is_found_after_kill_9_of_herod, check_next_herod_finds_it)

/* One of another runner, or of nobody, is not touched. */
void
test_only_its_own_are_ended(void)
{
	struct herod *h = herod_start(
	    "[herod]\ncgroups = off\n" AT_ONCE "[runner:it]\ncommand = %s\n"
	    "stopwaitsecs = 0.2\n[runner:other]\ncommand = %s\n",
	    script("it", text("%s echo up; exec sleep 1000", escape("one"))),
	    script("other",
		text("%s echo up; exec sleep 1000", escape("others"))));

	wait_for(strstr(logs_of(h, "it"), "up\n") != NULL);
	wait_for(strstr(logs_of(h, "other"), "up\n") != NULL);
	rpc(h, "stop_runner", "[s]", "it");
	check(!is_alive(pid_in(here("one"))));
	check(is_alive(pid_in(here("others"))));
	herod_stop(h);
}

/* ---- who left the group of one that outlived its keeper ---- */

static void
kill_keeper(struct herod *h, bool both)
{
	if (both) {
		herod_kill_both(h);
		herod_again(h);
	} else
		herod_keeper_kill9(h);
}

/* Nobody is the parent of who escaped but init. */
static void
check_stop_after_keeper(const char *head, bool both)
{
	struct herod *h = start_script(head, "stopwaitsecs = 0.3",
	    text("%s echo up; exec sleep 1000", escape("escaped")));
	pid_t escaped = pid_in(here("escaped")), it = pid_of(h, "it");

	kill_keeper(h, both);
	kill_keeper(h, both);
	check_int(pid_of(h, "it"), it);
	check_str(
	    text_at(rpc(h, "stop_runner", "[s]", "it"), "state"), "STOPPED");
	check(!is_alive(escaped));
	check_has(herod_log(), text("pid %d (sh), pid ", (int)escaped));
	check_has(herod_log(), "left behind has not ended in time, SIGKILL");
	herod_stop(h);
}

static void
check_stop_after_keeper_alone(const char *head)
{
	check_stop_after_keeper(head, false);
}

static void
check_stop_after_both(const char *head)
{
	check_stop_after_keeper(head, true);
}

/* Pitfalls 7 and 32. */
BOTH_WAYS(stop_ends_who_escaped_when_the_keeper_was_killed,
    check_stop_after_keeper_alone)

/* Pitfalls 7 and 32. */
BOTH_WAYS(stop_ends_who_escaped_when_both_were_killed, check_stop_after_both)

/* Pitfalls 7 and 32: never two of them. */
void
test_a_restart_after_the_keepers_death_follows_the_end_of_who_escaped(void)
{
	struct herod *h = start_script(HEAD("off"), "stopwaitsecs = 0.2",
	    text("if [ -s %s ]; then echo up; exec sleep 1000; fi\n%s"
		 "echo up; while [ ! -f %s ]; do sleep 0.01; done; exit 3",
		here("escaped"), escape("escaped"), here("end")));
	pid_t it = pid_of(h, "it");

	herod_keeper_kill9(h);
	write_file(here("end"), "");
	wait_for(pid_of(h, "it") != 0 && pid_of(h, "it") != it);
	check(!is_alive(pid_in(here("escaped"))));
	check_has(herod_log(), "left behind: pid ");
	herod_stop(h);
}

/* Its leader ends while nobody looks. */
void
test_who_escaped_is_found_when_its_leader_ended_with_the_keeper(void)
{
	struct herod *h = start_script(HEAD("off"), "stopwaitsecs = 0.2",
	    text("if [ -s %s ]; then echo up; exec sleep 1000; fi\n%s"
		 "echo up; exec sleep 1000",
		here("escaped"), escape("escaped")));
	pid_t daemon, it = pid_of(h, "it");

	herod_keeper_kill9(h);
	daemon = herod_pid(h);
	kill(h->keeper, SIGSTOP);
	kill(daemon, SIGKILL);
	kill(it, SIGKILL);
	wait_for(is_gone(it));
	kill(h->keeper, SIGCONT);
	wait_for(pid_of(h, "it") != 0 && pid_of(h, "it") != it);
	check(!is_alive(pid_in(here("escaped"))));
	herod_stop(h);
}

/* ---- pitfall 8: what forks while it is killed ---- */

/* Each lives for a moment, in a session of its own, and is followed by
 * another before it ends: there is never anybody to be caught at leisure. */
static void
check_hoppers_are_ended(const char *head)
{
	const char *hop =
	    script("hop", "trap '' TERM\n[ -f stop ] || setsid \"$0\" &\nexit");
	struct herod *h = start_script(head, "stopwaitsecs = 0.2",
	    text("cd %s; for i in 1 2 3; do setsid %s & done\n"
		 "echo up; exec sleep 1000",
		here("."), hop));

	check_str(
	    text_at(rpc(h, "stop_runner", "[s]", "it"), "state"), "STOPPED");
	check_str(run("pgrep -f '[/]%s'", hop + 1).out, "");
	herod_stop(h);
}

/* Pitfall 8. */
BOTH_WAYS(stop_ends_what_forks_meanwhile, check_hoppers_are_ended)

/* Pitfall 8. */
void
test_pids_max_stops_a_fork_bomb(void)
{
	struct herod *h =
	    herod_start("%sautostart = false\npids_max = 20\ncommand = %s\n",
		HEAD("auto"), script("it", "while :; do sleep 1000 & done"));

	if (at(status_of(h, "it"), "not_enforced")) {
		herod_stop(h);
		skip("needs the controller pids");
	}
	rpc(h, "start_runner", "[s]", "it");
	wait_for(strstr(logs_of(h, "it"), "ork") != NULL); /* Cannot fork */
	check_str(
	    text_at(rpc(h, "stop_runner", "[s]", "it"), "state"), "STOPPED");
	herod_stop(h);
}

/* ---- pitfall 11 ---- */

static void
check_daemons_are_told(const char *head)
{
	struct herod *h =
	    herod_start("%scommand = %s\nstartretries = 0\nstartsecs = 5\n"
			"stopwaitsecs = 0.1\n",
		head, script("it", text("%s exit 0", escape("escaped"))));

	wait_for(is_state(h, "it", "FATAL"));
	check_has(text_at(status_of(h, "it"), "why"),
	    text("exit 0; left behind: pid %d (sh)",
		(int)pid_in(here("escaped"))));
	check_has(text_at(status_of(h, "it"), "why"),
	    "program daemonises: run it in the foreground");
	check(!is_alive(pid_in(here("escaped"))));
	herod_stop(h);
}

/* Pitfall 11: a program that goes to the background. */
BOTH_WAYS(a_program_that_daemonises_is_told, check_daemons_are_told)

/* ---- pitfall 5: what even SIGKILL does not end ---- */

static bool
fuse_read(int fd, char *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && read(fd, buf, size) > 0;
}

/* A file system in mnt whose server takes requests and does not answer. */
static int
hanging_mount(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	/* It goes when the last process that sees it goes. */
	if (fd == -1 || unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		skip("needs root and FUSE for a process that hangs");
	check_int(mkdir("mnt", 0755), 0);
	if (mount("hang", here("mnt"), "fuse", MS_NOSUID | MS_NODEV,
		text("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)) == -1)
		skip("needs FUSE for a process that hangs");
	return fd;
}

static void
fuse_answer_init(int fd)
{
	char buf[FUSE_MIN_READ_BUFFER * 2];
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer = {.head.len = sizeof(answer),
	    .init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096}};

	wait_for(fuse_read(fd, buf, sizeof(buf)));
	answer.head.unique = ((struct fuse_in_header *)(void *)buf)->unique;
	check_int(write(fd, &answer, sizeof(answer)), sizeof(answer));
}

/* A herod whose runner waits for the answer of one who has its request. */
static struct herod *
start_hanging(int *fd, pid_t *pid)
{
	char buf[FUSE_MIN_READ_BUFFER * 2];
	struct herod *h;

	*fd = hanging_mount();
	fuse_answer_init(*fd);
	h = herod_start(AT_ONCE "[runner:it]\nstopwaitsecs = 0.1\n"
				"command = stat %s\n",
	    here("mnt/file"));
	wait_for(fuse_read(*fd, buf, sizeof(buf)));
	wait_for((*pid = pid_of(h, "it")) != 0);
	return h;
}

/* Pitfall 5. */
void
test_an_unkillable_process_is_told_and_may_still_end(void)
{
	struct herod *h;
	json_t *error;
	pid_t pid;
	int fd;

	h = start_hanging(&fd, &pid);
	error = rpc_error(h, "stop_runner", "[s]", "it");
	check_has(text_at(error, "message"),
	    text("unkillable: pid %d (stat) in state D", (int)pid));
	check(is_state(h, "it", "STOPPING"));
	check(is_alive(pid));
	close(fd); /* the server has died: all requests fail */
	wait_for(is_state(h, "it", "STOPPED"));
	herod_stop(h);
}

/* Pitfalls 5 and 36: neither is it waited for in the end, by nobody. */
void
test_the_end_of_herod_does_not_wait_for_the_unkillable(void)
{
	siginfo_t info;
	struct herod *h;
	pid_t pid;
	int fd;

	h = start_hanging(&fd, &pid);
	kill(h->keeper, SIGTERM);
	check_int(waitid(P_PID, (id_t)h->keeper, &info, WEXITED | WNOWAIT), 0);
	check(is_alive(pid));
	check_has(herod_log(), "does not end after SIGKILL");
	close(fd);
	wait_for(!is_alive(pid));
	check(herod_end(h) != 0);
}
