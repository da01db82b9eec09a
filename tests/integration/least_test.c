/*
 * herod started as root with user = somebody: herod is that user, its keeper
 * root with few capabilities, each runner whom it should be; and so it stays
 * over kill -9 of any of them, an upgrade, a reload.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herod.h"
#include "living.h"
#include "process.h"

CHECK_TIMEOUT(240);

#define USER "daemon" /* whom herod becomes */
#define OTHER "nobody" /* of a runner */
#define THIRD "bin" /* of none, mostly; uid 2 */
#define CAPS "00000000008000e0" /* KILL, SETGID, SETUID, SYS_NICE */
#define SYS_RESOURCE (1ULL << 24) /* which a container may not have */
#define CONF "[herod]\nuser = " USER "\n" AT_ONCE
#define RUNNERS \
	"[runner:own]\ncommand = sleep 1000\n" \
	"[runner:other]\ncommand = sleep 1000\nuser = " OTHER "\n"

/* ---- around it ---- */

static uid_t
uid_of(const char *user)
{
	const struct passwd *pw = getpwnam(user);

	if (pw == NULL)
		skip("there is no user daemon or nobody");
	return pw->pw_uid;
}

/* Programs where anybody may execute them, and the test's directory where
 * anybody may go through. */
static void
prepare(void)
{
	static const char *const programs[] = {
	    "herod", "herod-keeper", "heroctl"};
	const char *build = getenv("HEROD_BUILD");
	size_t i;

	if (geteuid() != 0)
		skip("only root can become another user");
	uid_of(USER);
	uid_of(OTHER);
	chmod(here(""), 0755);
	mkdir(here("bin"), 0755);
	for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		check_int(run("cp '%s/%s' bin/", build, programs[i]).status, 0);
	setenv("HEROD_BUILD", here("bin"), 1);
}

static struct herod *
begin(const char *conf)
{
	prepare();
	return herod_start("%s", conf);
}

static pid_t
child_of(pid_t parent, const char *name)
{
	struct ran r = run("pgrep -P %d -x %s", (int)parent, name);

	return (pid_t)atoi(r.out);
}

/* The guard is what the test has started. */
static pid_t
keeper_of(const struct herod *h)
{
	return child_of(h->keeper, "herod-keeper");
}

static pid_t
daemon_of(const struct herod *h)
{
	pid_t keeper = keeper_of(h);

	return keeper ? child_of(keeper, "herod") : 0;
}

static bool
is_another(pid_t now, pid_t before)
{
	return now != 0 && now != before;
}

static bool
is_well(struct herod *h)
{
	return heroctl(h, "ping").status == 0;
}

/* ---- what a process may ---- */

static const char *
ids(const char *user)
{
	int id = (int)uid_of(user);

	return text("%d\t%d\t%d\t%d", id, id, id, id);
}

static void
check_is_user(pid_t pid, const char *user)
{
	int gid = (int)getpwnam(user)->pw_gid;

	check_str(proc_field(pid, "status", "Uid"), ids(user));
	check_str(proc_field(pid, "status", "Gid"),
	    text("%d\t%d\t%d\t%d", gid, gid, gid, gid));
	check_has(text(" %s", proc_field(pid, "status", "Groups")),
	    text(" %d ", gid));
	check_str(proc_field(pid, "status", "CapPrm"), "0000000000000000");
	check_str(proc_field(pid, "status", "CapEff"), "0000000000000000");
	check_str(proc_field(pid, "status", "CapInh"), "0000000000000000");
	check_str(proc_field(pid, "status", "CapAmb"), "0000000000000000");
}

static void
check_caps(pid_t pid, const char *which)
{
	unsigned long long has =
	    strtoull(proc_field(pid, "status", which), NULL, 16);

	check_str(text("%016llx", has & ~SYS_RESOURCE), CAPS);
}

static void
check_keeper(pid_t keeper)
{
	check_has(proc_field(keeper, "status", "Uid"), "0\t0\t0\t");
	check_str(proc_field(keeper, "status", "Groups"), "");
	check_caps(keeper, "CapPrm");
	check_caps(keeper, "CapEff");
	check_caps(keeper, "CapBnd");
	check_str(proc_field(keeper, "status", "CapInh"), "0000000000000000");
}

/* By another process of its user, as ptrace(2) or by /proc/PID/mem: what is
 * not dumpable is root's there. */
static bool
is_to_be_looked_into(pid_t pid)
{
	struct stat st;

	check_int(stat(text("/proc/%d/mem", (int)pid), &st), 0);
	return st.st_uid != 0;
}

/* But for one that the test has itself. */
static void
check_no_filter(pid_t pid)
{
	check_str(proc_field(pid, "status", "Seccomp"),
	    proc_field(getpid(), "status", "Seccomp"));
}

/* Everybody is whom they should be. */
static void
check_all(struct herod *h)
{
	pid_t daemon = daemon_of(h);

	check_keeper(keeper_of(h));
	check_is_user(daemon, USER);
	check_str(proc_field(daemon, "status", "NoNewPrivs"), "1");
	check_caps(daemon, "CapBnd");
	check_int(is_to_be_looked_into(daemon), false);
	check_str(proc_field(daemon, "status", "Seccomp"), "2");
	check_no_filter(keeper_of(h));
	check_no_filter(pid_of(h, "own"));
	check_no_filter(pid_of(h, "other"));
	check_is_user(pid_of(h, "own"), USER);
	check_is_user(pid_of(h, "other"), OTHER);
	check_caps(pid_of(h, "own"), "CapBnd");
	check_caps(pid_of(h, "other"), "CapBnd");
}

/* ---- tests ---- */

void
test_herod_is_its_user_and_the_keeper_has_what_it_needs(void)
{
	struct herod *h = begin(CONF RUNNERS);
	struct stat st;

	wait_for_redis(h);
	rpc(h, "start_all", NULL);
	check_all(h);
	check_has(herod_log(), "system calls are refused to herod");
	check_is_user(pid_of(h, "herod-redis"), USER);
	check(stat(h->socket, &st) == 0);
	check_int(st.st_uid, uid_of(USER));
	check(stat(here("state/log"), &st) == 0);
	check_int(st.st_uid, uid_of(USER));
	herod_stop(h);
}

void
test_a_runner_of_another_user_is_stopped_killed_and_started(void)
{
	struct herod *h = begin(CONF RUNNERS
	    "[runner:deaf]\nuser = " OTHER "\nstopwaitsecs = 0.1\n"
	    "command = sh -c \"trap '' TERM; echo on; sleep 1000 & wait\"\n");
	pid_t other, deaf;

	rpc(h, "start_all", NULL);
	other = pid_of(h, "other");
	rpc(h, "restart_runner", "[s]", "other");
	wait_for(is_another(pid_of(h, "other"), other));
	check(!is_alive(other));
	other = pid_of(h, "other");
	kill(other, SIGKILL);
	wait_for(is_another(pid_of(h, "other"), other));
	check_is_user(pid_of(h, "other"), OTHER);
	wait_for(strstr(logs_of(h, "deaf"), "on") != NULL);
	deaf = pid_of(h, "deaf");
	rpc(h, "stop_runner", "{s:s}", "name", "deaf");
	wait_for(!is_alive(deaf));
	herod_stop(h);
}

static void
jobs_are_done(struct herod *h)
{
	check_str(heroctl(h, "run up abc").out, "ABC\n");
	check_str(
	    heroctl(h, "run who x").out, text("%d\n", (int)uid_of(OTHER)));
}

void
test_jobs_on_a_private_redis_are_done_by_whom_they_should(void)
{
	struct herod *h = begin(CONF
	    "[runner:up]\nkind = exec\ncommand = tr a-z A-Z\n"
	    "[runner:who]\nkind = exec\nuser = " OTHER "\ncommand = id -u\n");

	wait_for_redis(h);
	rpc(h, "start_all", NULL);
	jobs_are_done(h);
	herod_stop(h);
}

/* Its control group is herod's user's, and so kills those of others. */
void
test_what_a_runner_of_another_user_left_behind_is_killed(void)
{
	struct herod *h = begin(
	    CONF "[runner:other]\nuser = " OTHER "\nstopwaitsecs = 0.1\n"
		 "command = sh -c 'setsid sleep 1000 & echo $!; sleep 1000'\n");
	pid_t stray;

	if (strstr(herod_log(), "no control groups"))
		skip("there are no control groups");
	rpc(h, "start_all", NULL);
	wait_for((stray = (pid_t)atoi(logs_of(h, "other"))) != 0);
	rpc(h, "stop_runner", "[s]", "other");
	wait_for(!is_alive(stray));
	herod_stop(h);
}

void
test_all_stay_who_they_are_over_the_death_of_herod(void)
{
	struct herod *h = begin(CONF RUNNERS);
	pid_t daemon, other;

	rpc(h, "start_all", NULL);
	daemon = daemon_of(h);
	other = pid_of(h, "other");
	kill(daemon, SIGKILL);
	wait_for(is_another(daemon_of(h), daemon) && is_well(h));
	check_all(h);
	check_int(pid_of(h, "other"), other);
	rpc(h, "stop_runner", "[s]", "other");
	check(!is_alive(other));
	herod_stop(h);
}

/* The guard starts another one, as root. */
void
test_all_stay_who_they_are_over_the_death_of_the_keeper(void)
{
	struct herod *h = begin(CONF RUNNERS
	    "[runner:chatty]\nuser = " OTHER
	    "\ncommand = sh -c 'while :; do echo more; sleep 0.1; done'\n");
	pid_t keeper, other;
	const char *said;

	rpc(h, "start_all", NULL);
	keeper = keeper_of(h);
	other = pid_of(h, "other");
	kill(keeper, SIGKILL);
	wait_for(is_another(keeper_of(h), keeper) && is_well(h));
	check_all(h);
	check_int(pid_of(h, "other"), other);
	said = logs_of(h, "chatty"); /* its pipe was found again */
	wait_for(strlen(logs_of(h, "chatty")) > strlen(said));
	rpc(h, "restart_runner", "[s]", "other");
	wait_for(is_another(pid_of(h, "other"), other));
	check(!is_alive(other));
	check_is_user(pid_of(h, "other"), OTHER);
	herod_stop(h);
}

/* Somebody writes the configuration at that time. */
void
test_a_keeper_killed_over_a_mistake_begins_when_that_is_mended(void)
{
	struct herod *h = begin(CONF RUNNERS);
	pid_t keeper, other;

	rpc(h, "start_all", NULL);
	keeper = keeper_of(h);
	other = pid_of(h, "other");
	write_file(h->conf, CONF RUNNERS "[nonsense");
	kill(keeper, SIGKILL);
	wait_for(strstr(herod_log(), "could not begin again") != NULL);
	check(is_alive(other));
	write_file(h->conf, CONF RUNNERS);
	wait_for(is_another(keeper_of(h), keeper) && is_well(h));
	check_int(pid_of(h, "other"), other);
	check_all(h);
	herod_stop(h);
}

void
test_a_runner_of_herods_user_has_their_home(void)
{
	struct herod *h =
	    begin(CONF "[runner:own]\ncommand = sh -c 'echo $LOGNAME:$HOME'\n");

	rpc(h, "start_all", NULL);
	wait_for(strstr(logs_of(h, "own"),
		     text(USER ":%s\n", getpwnam(USER)->pw_dir)) != NULL);
	herod_stop(h);
}

void
test_herod_goes_on_without_its_guard(void)
{
	struct herod *h = begin(CONF RUNNERS);
	pid_t keeper = keeper_of(h);

	rpc(h, "start_all", NULL);
	kill(h->keeper, SIGKILL);
	check_int(waitpid(h->keeper, NULL, 0), h->keeper);
	h->keeper = keeper; /* it is ours now: the test is a subreaper */
	rpc(h, "restart_runner", "[s]", "other");
	wait_for(pid_of(h, "other") != 0);
	check_is_user(pid_of(h, "other"), OTHER);
	herod_stop(h);
}

void
test_all_stay_who_they_are_over_an_upgrade(void)
{
	struct herod *h = begin(CONF RUNNERS);
	pid_t daemon, other;

	rpc(h, "start_all", NULL);
	daemon = daemon_of(h);
	other = pid_of(h, "other");
	check_int(heroctl(h, "upgrade").status, 0);
	check(daemon_of(h) != daemon);
	check_all(h);
	check_int(pid_of(h, "other"), other);
	rpc(h, "restart_runner", "[s]", "other");
	wait_for(is_another(pid_of(h, "other"), other));
	check_is_user(pid_of(h, "other"), OTHER);
	herod_stop(h);
}

void
test_a_reload_reads_what_the_user_may_read(void)
{
	struct herod *h = begin(CONF RUNNERS);

	write_file(h->conf,
	    CONF RUNNERS "[runner:new]\ncommand = sleep 1000\nuser = " OTHER
			 "\n");
	kill(h->keeper, SIGHUP);
	wait_for(strstr(herod_log(), "reload: added new") != NULL);
	rpc(h, "start_runner", "[s]", "new");
	check_is_user(pid_of(h, "new"), OTHER);
	chmod(h->conf, 0600);
	kill(h->keeper, SIGHUP);
	wait_for(strstr(herod_log(), "reload: refused") != NULL);
	check_has(herod_log(), "cannot read: Permission denied");
	check_is_user(pid_of(h, "new"), OTHER);
	herod_stop(h);
}

void
test_no_runner_is_root_unless_the_file_allows_it(void)
{
	struct herod *h = begin(CONF);
	json_t *e;

	rpc(h, "add_runner", "[{s:s, s:[s, s], s:s}]", "name", "r", "command",
	    "sleep", "1000", "user", "root");
	e = rpc_error(h, "start_runner", "[s]", "r");
	check_has(text_at(e, "message"), "no runner may be root");
	rpc(h, "add_runner", "[{s:s, s:[s, s], s:s, s:s}]", "name", "g",
	    "command", "sleep", "1000", "user", OTHER, "group", "root");
	e = rpc_error(h, "start_runner", "[s]", "g");
	check_has(text_at(e, "message"), "no runner may be root");
	herod_stop(h);
}

void
test_root_runners_allows_runners_that_are_root(void)
{
	struct herod *h = begin(
	    "[herod]\nuser = " USER "\nroot_runners = yes\n" AT_ONCE RUNNERS
	    "[runner:r]\nuser = root\n"
	    "command = sleep 1000\n");
	unsigned long long caps;

	rpc(h, "start_all", NULL);
	check_is_user(daemon_of(h), USER);
	check_is_user(pid_of(h, "other"), OTHER);
	check_str(proc_field(pid_of(h, "r"), "status", "Uid"), "0\t0\t0\t0");
	caps =
	    strtoull(proc_field(pid_of(h, "r"), "status", "CapEff"), NULL, 16);
	check(caps ==
	    strtoull(proc_field(getpid(), "status", "CapBnd"), NULL, 16));
	check_caps(keeper_of(h), "CapEff");
	check_int(heroctl(h, "upgrade").status, 0);
	check_caps(keeper_of(h), "CapEff");
	herod_stop(h);
}

void
test_runners_are_only_users_of_the_list(void)
{
	struct herod *h = begin("[herod]\nuser = " USER
				"\nrunner_users = " OTHER "\n" AT_ONCE RUNNERS);
	json_t *e;

	rpc(h, "start_all", NULL);
	check_all(h);
	e = rpc_error(h, "add_runner", "[{s:s, s:[s, s], s:s}]", "name", "r",
	    "command", "sleep", "1000", "user", THIRD);
	check_has(text_at(e, "message"),
	    "user: " THIRD
	    " (uid 2) is none of those that runners may be: " USER ", " OTHER);
	check_has(text_at(e, "data.hint"), "add it to runner_users");
	e = rpc_error(h, "add_runner", "[{s:s, s:[s, s], s:s, s:s}]", "name",
	    "r", "command", "sleep", "1000", "user", OTHER, "group", THIRD);
	check_has(text_at(e, "message"),
	    "group: user " OTHER " is not in the group 2");
	rpc(h, "add_runner", "[{s:s, s:[s, s], s:s}]", "name", "r", "command",
	    "sleep", "1000", "user", USER);
	e = rpc_error(h, "update_runner", "{s:s, s:{s:s}}", "name", "r",
	    "settings", "user", THIRD);
	check_has(text_at(e, "message"), "is none of those");
	herod_stop(h);
}

/* Each is an option of the keeper, between NULs. */
static void
check_list(pid_t keeper)
{
	const char *line =
	    run("tr '\\0' ' ' </proc/%d/cmdline", (int)keeper).out;

	check_has(line,
	    text("--runner-user %d:%d:%d --runner-user %d:", uid_of(USER),
		getpwnam(USER)->pw_gid, getpwnam(USER)->pw_gid, uid_of(OTHER)));
	check(strstr(line, text("--runner-user %d:", uid_of(THIRD))) == NULL);
}

void
test_the_list_is_that_of_the_start_until_the_next(void)
{
	static const char third[] =
	    "[runner:third]\ncommand = sleep 1000\nuser = " THIRD "\n";
	struct herod *h = begin("[herod]\nuser = " USER
				"\nrunner_users = " OTHER "\n" AT_ONCE RUNNERS);

	write_file(h->conf,
	    text("[herod]\nuser = " USER "\nrunner_users = " OTHER "," THIRD
		 "\n" AT_ONCE RUNNERS "%s",
		third));
	kill(h->keeper, SIGHUP);
	wait_for(strstr(herod_log(), "reload: refused") != NULL);
	check_has(herod_log(), "runner third: user: " THIRD " (uid 2) is none");
	check_int(heroctl(h, "upgrade").status, 0);
	check_list(keeper_of(h));
	herod_stop(h);
	herod_again(h);
	rpc(h, "start_all", NULL);
	check_is_user(pid_of(h, "third"), THIRD);
	herod_stop(h);
}

void
test_a_list_that_has_grown_counts_after_the_death_of_the_keeper(void)
{
	struct herod *h = begin("[herod]\nuser = " USER
				"\nrunner_users = " OTHER "\n" AT_ONCE RUNNERS);
	pid_t keeper = keeper_of(h);

	write_file(h->conf,
	    "[herod]\nuser = " USER "\nrunner_users = " OTHER "," THIRD
	    "\n" AT_ONCE RUNNERS);
	kill(keeper, SIGKILL);
	wait_for(is_another(keeper_of(h), keeper) && is_well(h));
	rpc(h, "add_runner", "[{s:s, s:[s, s], s:s}]", "name", "third",
	    "command", "sleep", "1000", "user", THIRD);
	rpc(h, "start_runner", "[s]", "third");
	check_is_user(pid_of(h, "third"), THIRD);
	herod_stop(h);
}

/* ---- what it does for a record of herod's user ---- */

/* Of somebody whom no runner may be. */
static pid_t
begin_third(void)
{
	pid_t pid = run_begin("exec setpriv --reuid " THIRD " --regid " THIRD
			      " --clear-groups sleep 1000");

	wait_for(strstr(proc_text(pid, "cmdline"), "sleep") != NULL &&
	    strstr(proc_field(pid, "status", "Uid"), ids(THIRD)) != NULL);
	return pid;
}

/* As who has got hold of herod can write it. */
static void
record(uint32_t id, pid_t pid, bool needs_us)
{
	struct living_file *f = living_open(here("state"));
	struct living l = {.id = id, .pid = pid, .needs_us = needs_us};
	struct process_info info;

	check(f != NULL && process_read(pid, &info));
	l.began = info.began;
	strcpy(l.tag, "{\"runner\":\"own\",\"n\":0,\"restarts\":0}");
	living_put(f, living_take(f), &l);
	living_close(f);
}

/* It starts runners as these only, so it ends and signals these only. */
void
test_root_touches_nobody_for_herod_who_is_not_of_the_list(void)
{
	struct herod *h =
	    begin("[herod]\nuser = " USER "\nrunner_users = " OTHER "\n" AT_ONCE
		  "[runner:own]\ncommand = sleep 1000\n");
	pid_t doomed, adopted;

	herod_stop(h);
	doomed = begin_third();
	adopted = begin_third();
	record(4711, doomed, true);
	record(4712, adopted, false);
	herod_again(h);
	check(is_alive(doomed));
	check(pid_of(h, "own") != adopted);
	check_has(herod_log(), "it cannot be looked at");
	rpc(h, "stop_runner", "[s]", "own");
	check(is_alive(adopted));
	kill(doomed, SIGTERM);
	kill(adopted, SIGTERM);
	run_end(doomed);
	run_end(adopted);
	herod_stop(h);
}

/* ---- root without capabilities ---- */

#define WITHOUT(cap) "setpriv --bounding-set -" cap
#define NO_REDIS "redis_url = unix:///nowhere\n"

static struct herod *
begin_without(const char *setpriv, const char *conf)
{
	prepare();
	if (run("%s true", setpriv).status != 0)
		skip("setpriv(1) takes nothing away");
	return herod_start_with(
	    text("exec %s sh -c '\"$@\"' sh", setpriv), "", "%s", conf);
}

static bool
has_stopsignal(struct herod *h, const char *runner)
{
	json_t *names = at(status_of(h, runner), "not_enforced");
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		if (strcmp(json_string_value(name), "stopsignal") == 0)
			return true;
	return false;
}

/* The test may do what the keeper may not. */
static void
end_for_keeper(struct herod *h, const char *runner)
{
	pid_t pid = pid_of(h, runner);

	rpc(h, "stop_runner", "{s:s, s:b}", "name", runner, "wait", false);
	kill(pid, SIGTERM);
	wait_for(is_state(h, runner, "STOPPED"));
}

void
test_a_keeper_that_cannot_signal_says_whom(void)
{
	struct herod *h = begin_without(WITHOUT("kill"),
	    "[herod]\nuser = " USER "\n" NO_REDIS AT_ONCE RUNNERS);

	check_has(herod_log(),
	    "herod-keeper has no CAP_KILL: runners that are not root's (other, "
	    "own) get no signal");
	check_has(herod_log(), "nor does herod itself");
	rpc(h, "start_all", NULL);
	check_int(has_stopsignal(h, "own"), true);
	check_int(has_stopsignal(h, "other"), true);
	check_int(heroctl(h, "upgrade").status, 0);
	check_int(has_stopsignal(h, "other"), true);
	end_for_keeper(h, "own");
	end_for_keeper(h, "other");
	rpc(h, "shutdown", NULL);
	check_int(herod_end(h), 0);
}

void
test_a_herod_that_is_root_says_whom_it_cannot_signal(void)
{
	struct herod *h = begin_without(
	    WITHOUT("kill"), "[herod]\n" NO_REDIS AT_ONCE RUNNERS);

	check_has(herod_log(), "not root's (other) get no signal");
	check(strstr(herod_log(), "nor does herod itself") == NULL);
	rpc(h, "start_all", NULL);
	check_int(has_stopsignal(h, "own"), false);
	check_int(has_stopsignal(h, "other"), true);
	end_for_keeper(h, "other");
	herod_stop(h);
}

void
test_a_herod_that_is_root_says_whom_it_cannot_start(void)
{
	struct herod *h = begin_without(
	    WITHOUT("setuid"), "[herod]\n" NO_REDIS AT_ONCE RUNNERS);

	check_has(herod_log(),
	    "has no CAP_SETUID or CAP_SETGID: runners of other users (other) "
	    "cannot be started");
	herod_stop(h);
}

void
test_with_all_capabilities_nothing_is_said_of_them(void)
{
	struct herod *h = begin(CONF RUNNERS);

	rpc(h, "start_all", NULL);
	check(strstr(herod_log(), "CAP_") == NULL);
	check_int(has_stopsignal(h, "other"), false);
	herod_stop(h);
}

void
test_root_that_cannot_become_the_user_says_for_want_of_what(void)
{
	struct ran r;

	prepare();
	write_file(here("h.conf"), CONF);
	r = run(WITHOUT("setgid") " bin/herod -c h.conf --state_dir '%s' "
				  "--runtime_dir '%s'",
	    here("s"), here("r"));
	check_int(r.status, 1);
	check_has(r.err, "needs CAP_SETUID and CAP_SETGID");
}

/* What herod does not start with: the sentence and the status. */
static struct ran
refusal(const char *conf, mode_t mode)
{
	write_file(here("h.conf"), conf);
	chmod(here("h.conf"), mode);
	return run("bin/herod -c '%s' --state_dir '%s' --runtime_dir '%s' "
		   "--listen unix:%s",
	    here("h.conf"), here("s"), here("r"), here("r/sock"));
}

void
test_a_configuration_has_to_be_roots_and_readable(void)
{
	struct ran r;

	prepare();
	r = refusal(CONF, 0600);
	check_int(r.status, 2);
	check_has(r.err, "cannot read: Permission denied");
	check_has(r.err, "has to be able to read its configuration");
	r = refusal(CONF, 0666);
	check_int(r.status, 1);
	check_has(r.err, "others than root can change it");
	r = refusal("[herod]\nuser = no-such\n", 0644);
	check_int(r.status, 2);
	check_has(r.err, "there is no user 'no-such'");
	r = refusal("[herod]\nuser = " USER "\ngroup = root\n", 0644);
	check_int(r.status, 2);
	check_has(r.err, "root's group");
	r = refusal("[herod]\nuser = " USER "\nrunner_users = no-such\n", 0644);
	check_int(r.status, 2);
	check_has(r.err, "runner_users: there is no user 'no-such'");
	r = refusal("[herod]\nuser = " USER "\nrunner_users = root\n", 0644);
	check_int(r.status, 2);
	check_has(r.err, "root is root or in root's group 0");
	r = refusal("[herod]\nuser = " USER "\nrunner_users =\n" RUNNERS, 0644);
	check_int(r.status, 2);
	check_has(r.err, "h.conf:7: runner other: user: " OTHER);
	check(!file_exists(here("s")));
}

void
test_its_group_may_read_secrets(void)
{
	prepare();
	write_file(here("h.conf"),
	    "[herod]\nuser = " USER "\nuser_secrets = a-secret-of-users\n");
	check_int(chown(here("h.conf"), 0, getpwnam(USER)->pw_gid), 0);
	chmod(here("h.conf"), 0640);
	check_str(run("bin/herod --check -c h.conf").err, "");
	write_file(here("h.conf"), "[herod]\nuser_secrets = a-secret\n");
	check_has(run("bin/herod --check -c h.conf").err, "others can read");
	write_file(here("h.conf"), CONF);
	check_int(chown(here("h.conf"), 0, 0), 0);
	check_has(run("bin/herod --check -c h.conf").err, "cannot read");
}

void
test_what_was_roots_herods_becomes_the_users(void)
{
	struct herod *h;
	struct stat st;

	prepare();
	h = herod_start("%s", RUNNERS);
	wait_for_redis(h);
	check_int(heroctl(h, "key create old --scope admin >key").status, 0);
	herod_stop(h);
	check(stat(here("state"), &st) == 0);
	check_int(st.st_uid, 0);
	write_file(h->conf, CONF RUNNERS);
	herod_again(h);
	wait_for_redis(h);
	check(stat(here("state/keys.json"), &st) == 0);
	check_int(st.st_uid, uid_of(USER));
	check_has(heroctl(h, "key list").out, "old");
	rpc(h, "start_all", NULL);
	check_all(h);
	herod_stop(h);
}

void
test_a_directory_that_is_not_herods_is_not_given_away(void)
{
	struct ran r;
	struct stat st;

	prepare();
	mkdir(here("s"), 0755);
	write_file(here("s/passwd"), "");
	r = refusal(CONF, 0644);
	check_int(r.status, 1);
	check_has(r.err, "passwd, which is not herod's");
	check(stat(here("s"), &st) == 0);
	check_int(st.st_uid, 0);
}

/* Root goes by what it includes, too. */
void
test_what_a_configuration_includes_has_to_be_roots(void)
{
	struct ran r;

	prepare();
	write_file(here("more.conf"), "[herod]\nroot_runners = yes\n");
	check_int(chown(here("more.conf"), uid_of(USER), -1), 0);
	r = refusal("include = more.conf\n" CONF, 0644);
	check_int(r.status, 1);
	check_has(r.err, "others than root can change it");
	mkdir(here("theirs"), 0755);
	write_file(here("theirs/more.conf"), "");
	check_int(chown(here("theirs"), uid_of(USER), -1), 0);
	r = refusal("include = theirs/more.conf\n" CONF, 0644);
	check_int(r.status, 1);
	check_has(r.err, "others than root can put another file there");
}

/* There they could put a link to what root gives to nobody. */
void
test_nothing_is_given_away_in_a_place_of_the_users(void)
{
	struct ran r;
	struct stat st;

	prepare();
	mkdir(here("roots"), 0755);
	mkdir(here("theirs"), 0755);
	check_int(symlink(here("roots"), here("theirs/s")), 0);
	check_int(lchown(here("theirs"), uid_of(USER), -1), 0);
	check_int(lchown(here("theirs/s"), uid_of(USER), -1), 0);
	write_file(here("h.conf"), CONF);
	r = run("bin/herod -c h.conf --state_dir '%s' --runtime_dir '%s'",
	    here("theirs/s"), here("r"));
	check_int(r.status, 1);
	check_has(r.err, "others can put something else there");
	check(stat(here("roots"), &st) == 0);
	check_int(st.st_uid, 0);
	r = run("bin/herod -c h.conf --state_dir '%s' --runtime_dir '%s' "
		"--bootstrap-admin-key first",
	    here("theirs/s2"), here("r"));
	check_int(r.status, 0);
	check(stat(here("theirs/s2"), &st) == 0);
	check_int(st.st_uid, uid_of(USER));
}

void
test_a_first_key_is_the_users(void)
{
	struct stat st;
	struct ran r;

	prepare();
	write_file(here("h.conf"), CONF);
	r = run("bin/herod -c h.conf --state_dir '%s' --runtime_dir '%s' "
		"--bootstrap-admin-key first",
	    here("state"), here("run"));
	check_int(r.status, 0);
	check_has(r.out, "hero_");
	check(stat(here("state/keys.json"), &st) == 0);
	check_int(st.st_uid, uid_of(USER));
	check_int(st.st_mode & 0777, 0600);
}

/* As a shell's that had root's files open. */
void
test_herod_gets_no_descriptor_that_root_had_open(void)
{
	struct herod *h;
	struct ran r;
	int fd;

	prepare();
	write_file(here("secret"), "");
	fd = open(here("secret"), O_RDONLY); /* not closed by execve(2) */
	h = herod_start("%s", CONF);
	close(fd);
	r = run("ls -l /proc/%d/fd", (int)daemon_of(h));
	check_has(r.out, "socket:");
	check(strstr(r.out, "/secret") == NULL);
	herod_stop(h);
}

static const char *
directory_of(pid_t pid)
{
	static char path[PATH_MAX];
	ssize_t n =
	    readlink(text("/proc/%d/cwd", (int)pid), path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = '\0';
	return path;
}

static void
check_directory(struct herod *h, const char *path)
{
	rpc(h, "start_all", NULL);
	check_str(directory_of(daemon_of(h)), path);
	check_str(directory_of(pid_of(h, "own")), path);
}

/* From there relative names would lead to what is below. */
void
test_herod_begins_nowhere_where_its_user_could_not_go(void)
{
	struct herod *h;

	prepare();
	mkdir(here("private"), 0700);
	mkdir(here("private/below"), 0755);
	h = herod_start_with(text("cd '%s' &&", here("private/below")), "",
	    CONF "[runner:own]\ncommand = sleep 1000\ndirectory = .\n");
	check_directory(h, "/");
	herod_stop(h);
	h->before = text("cd '%s' &&", here(""));
	herod_again(h);
	check_directory(h, directory_of(getpid()));
	herod_stop(h);
}

/* As in that of a login. */
static void
put_key_into_keyring(const char *name)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) == -1 ||
	    syscall(SYS_add_key, "user", name, "secret", 6,
		KEY_SPEC_SESSION_KEYRING) == -1 ||
	    run("grep %s /proc/keys", name).status != 0)
		skip("there are no keyrings");
}

void
test_no_key_of_roots_keyring_is_in_herods_or_a_runners(void)
{
	struct herod *h;

	prepare();
	put_key_into_keyring("a-key-of-root");
	h = herod_start("%s",
	    CONF "[runner:own]\n"
		 "command = sh -c 'grep a-key-of /proc/keys; echo none'\n");
	rpc(h, "start_all", NULL);
	wait_for(strstr(logs_of(h, "own"), "none") != NULL);
	check(strstr(logs_of(h, "own"), "a-key-of-root") == NULL);
	herod_stop(h);
}

void
test_in_the_background_it_is_the_same(void)
{
	struct herod h;
	pid_t guard;

	prepare();
	h = (struct herod){.state = here("state"),
	    .run = here("run"),
	    .socket = here("run/herod.sock"),
	    .conf = here("h.conf")};
	write_file(h.conf, CONF RUNNERS);
	/* Who reads what it says does not wait for its end. */
	check_int(run("bin/herod -c '%s' --daemon --state_dir '%s' "
		      "--runtime_dir '%s' --listen unix:%s 2>&1 | cat",
		      h.conf, h.state, h.run, h.socket)
		      .status,
	    0);
	h.keeper = pid_in(here("state/herod.pid"));
	guard = atoi(proc_field(h.keeper, "status", "PPid"));
	check_has(proc_text(guard, "cmdline"), "herod-keeper");
	check_keeper(h.keeper);
	check_is_user(child_of(h.keeper, "herod"), USER);
	kill(h.keeper, SIGTERM);
	wait_for(!is_alive(h.keeper));
	wait_for(is_gone(guard));
}
