/*
 * What a process may use, who it is, and what it is given to begin with:
 * the settings of the group Limits, and what is told when one of them
 * cannot be had.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"

/* A herod with one runner, which is up. */
static struct herod *
start_one(const char *settings)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\n%s\n", settings);

	wait_for(is_state(h, "it", "RUNNING"));
	return h;
}

static void
check_limit(pid_t pid, const char *name, const char *value)
{
	check_has(
	    proc_text(pid, "limits"), text("%-26s%-21s%s", name, value, value));
}

/* In the order of setrlimit(2). */
void
test_every_rlimit_can_be_set(void)
{
	struct herod *h = start_one("command = sleep 1000\n"
				    "rlimit_as = 1GB\n"
				    "rlimit_core = unlimited\n"
				    "rlimit_cpu = 100\n"
				    "rlimit_data = 512MB\n"
				    "rlimit_fsize = 1MB\n"
				    "rlimit_memlock = 64KiB\n"
				    "rlimit_msgqueue = 1000\n"
				    "rlimit_nice = 0\n"
				    "rlimit_nofile = 99\n"
				    "rlimit_nproc = 77\n"
				    "rlimit_rtprio = 0\n"
				    "rlimit_rttime = 100000\n"
				    "rlimit_sigpending = 44\n"
				    "rlimit_stack = 4MB\n");
	pid_t pid = pid_of(h, "it");

	check_limit(pid, "Max address space", "1073741824");
	check_limit(pid, "Max core file size", "unlimited");
	check_limit(pid, "Max cpu time", "100");
	check_limit(pid, "Max data size", "536870912");
	check_limit(pid, "Max file size", "1048576");
	check_limit(pid, "Max locked memory", "65536");
	check_limit(pid, "Max msgqueue size", "1000");
	check_limit(pid, "Max nice priority", "0");
	check_limit(pid, "Max open files", "99");
	check_limit(pid, "Max processes", "77");
	check_limit(pid, "Max realtime priority", "0");
	check_limit(pid, "Max realtime timeout", "100000");
	check_limit(pid, "Max pending signals", "44");
	check_limit(pid, "Max stack size", "4194304");
	herod_stop(h);
}

/* Pitfall 13: what herod-keeper did for itself is no child's. */
void
test_oom_score_adj_is_as_set_or_as_herod_was_started(void)
{
	struct herod *h =
	    herod_start_with("echo 10 >/proc/self/oom_score_adj;", "",
		AT_ONCE "[runner:plain]\ncommand = sleep 1000\n"
			"[runner:it]\ncommand = sleep 1000\n"
			"oom_score_adj = 500\n");

	wait_for(is_state(h, "it", "RUNNING"));
	wait_for(is_state(h, "plain", "RUNNING"));
	check_str(proc_text(pid_of(h, "it"), "oom_score_adj"), "500\n");
	check_str(proc_text(pid_of(h, "plain"), "oom_score_adj"), "10\n");
	herod_stop(h);
}

void
test_no_new_privs_is_as_set(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:plain]\ncommand = sleep 1000\n"
		    "[runner:it]\ncommand = sleep 1000\nno_new_privs = true\n");

	wait_for(is_state(h, "it", "RUNNING"));
	wait_for(is_state(h, "plain", "RUNNING"));
	check_str(proc_field(pid_of(h, "it"), "status", "NoNewPrivs"), "1");
	check_str(proc_field(pid_of(h, "plain"), "status", "NoNewPrivs"), "0");
	herod_stop(h);
}

/* Pitfall 1: the step of the start that failed is named. */
void
test_a_limit_that_cannot_be_had_is_named(void)
{
	struct herod *h;

	if (geteuid() != 0)
		skip("needs root to give capabilities away");
	h = herod_start_with(
	    "exec setpriv --bounding-set -sys_resource,-sys_nice "
	    "sh -c '\"$@\"' sh",
	    "",
	    "[defaults]\ncommand = sleep 1000\nstartretries = 0\n"
	    "[runner:it]\nnice = -5\n"
	    "[runner:oom]\noom_score_adj = -999\n"
	    "[runner:rlimit]\nrlimit_nofile = 2000000000\n");
	wait_for(is_state(h, "it", "FATAL"));
	wait_for(is_state(h, "oom", "FATAL"));
	wait_for(is_state(h, "rlimit", "FATAL"));
	check_has(text_at(status_of(h, "it"), "why"), "nice: Permission");
	check_has(
	    text_at(status_of(h, "oom"), "why"), "oom_score_adj: Permission");
	check_has(text_at(status_of(h, "rlimit"), "why"), "rlimit_nofile: ");
	herod_stop(h);
}

/* ---- environment ---- */

/* Pitfall 16. */
void
test_env_file_adds_to_the_environment(void)
{
	struct herod *h;

	write_file("env", "ONE=from file\nTWO='from file'\nHERO_RUNNER=no\n");
	h = herod_start(AT_ONCE
	    "[runner:it]\ncommand = sh -c 'echo $ONE, $TWO, "
	    "$HERO_RUNNER'\nenv_file = %s\n"
	    "environment = TWO=\"set\"\n",
	    here("env"));
	wait_for(is_state(h, "it", "EXITED"));
	check_str(logs_of(h, "it"), "from file, set, it\n");
	/* Read anew at each start. */
	write_file("env", "ONE=other\n");
	rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	wait_for(strstr(logs_of(h, "it"), "other, set, it\n") != NULL);
	herod_stop(h);
}

void
test_an_env_file_that_is_missing_is_named(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\ncommand = true\nenv_file = %s\n",
		here("missing"));

	wait_for(is_state(h, "it", "FATAL"));
	check_str(text_at(status_of(h, "it"), "why"),
	    text("cannot start: env_file: %s: No such file or directory",
		here("missing")));
	write_file("missing", "A=1\n");
	rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	wait_for(is_state(h, "it", "EXITED"));
	herod_stop(h);
}

/* Pitfall 16: all of a user, and nothing of ours. */
void
test_a_user_comes_with_groups_and_home(void)
{
	struct herod *h;
	char *user;

	if (geteuid() != 0)
		skip("needs root to become somebody else");
	/* One with supplementary groups where there is one. */
	user = (char *)(uintptr_t)run("{ getent group | cut -d: -f4; "
				      "echo daemon; } | tr , '\\n' | "
				      "grep -v root | grep -m1 .")
		   .out;
	user[strcspn(user, "\n")] = '\0';
	h = herod_start(AT_ONCE
	    "[runner:user]\nuser = %s\n"
	    "command = sh -c 'id -un; id -gn; id -G; "
	    "echo $HOME $USER $LOGNAME $SHELL'\n"
	    "[runner:group]\nuser = %s\ngroup = nogroup\ncommand = id -gn\n"
	    "[runner:number]\nuser = 1\ncommand = id -un\n"
	    "[runner:none]\nuser = nobody-such\ncommand = true\n",
	    user, user);
	wait_for(is_state(h, "user", "EXITED"));
	wait_for(is_state(h, "group", "EXITED"));
	wait_for(is_state(h, "number", "EXITED"));
	wait_for(is_state(h, "none", "FATAL"));
	check_str(logs_of(h, "user"),
	    run("id -un %s; id -gn %s; id -G %s; getent passwd %s | "
		"awk -F: '{print $6, $1, $1, $7}'",
		user, user, user, user)
		.out);
	check_str(logs_of(h, "group"), "nogroup\n");
	check_str(logs_of(h, "number"), "daemon\n");
	check_str(text_at(status_of(h, "none"), "why"),
	    "cannot start: user: there is no user 'nobody-such'");
	herod_stop(h);
}

/* ---- stdin ---- */

void
test_stdin_is_a_file_or_nothing(void)
{
	struct herod *h;

	write_file("in", "what it reads\n");
	h = herod_start(AT_ONCE "command = cat\n[runner:it]\nstdin = %s\n"
				"[runner:null]\nstdin = null\n"
				"[runner:gone]\nstdin = %s\n",
	    here("in"), here("gone"));
	wait_for(is_state(h, "it", "EXITED"));
	wait_for(is_state(h, "null", "EXITED"));
	wait_for(is_state(h, "gone", "FATAL"));
	check_str(logs_of(h, "it"), "what it reads\n");
	check_str(logs_of(h, "null"), "");
	check_has(text_at(status_of(h, "gone"), "why"),
	    text("stdin: %s: No such file or directory", here("gone")));
	herod_stop(h);
}

/* A FIFO blocks neither herod nor is it odd for the program. */
void
test_stdin_may_be_a_fifo(void)
{
	struct herod *h;

	check_int(mkfifo("fifo", 0600), 0);
	h = start_one(text("command = %s\nstdin = %s",
	    script("it", "echo up; read line; echo got $line; exec sleep 1000"),
	    here("fifo")));
	wait_for(strstr(logs_of(h, "it"), "up\n") != NULL);
	run("echo hello >%s", here("fifo"));
	wait_for(strstr(logs_of(h, "it"), "got hello\n") != NULL);
	herod_stop(h);
}

void
test_stdin_is_for_services(void)
{
	struct herod *h = herod_start(AT_ONCE);
	json_t *error = rpc_error(h, "add_runner", "{s:{s:s, s:s, s:s, s:[s]}}",
	    "runner", "name", "it", "kind", "exec", "stdin", "/dev/zero",
	    "command", "cat");

	check_int(int_at(error, "code"), -32602);
	check_has(text_at(error, "message"), "stdin is for kind service");
	herod_stop(h);
}

/* ---- control groups ---- */

static bool
is_kept(struct herod *h, const char *setting)
{
	json_t *names = at(status_of(h, "it"), "not_enforced"), *name;
	size_t i;

	json_array_foreach (names, i, name)
		if (strcmp(json_string_value(name), setting) == 0)
			return false;
	return true;
}

/* Its line of /proc/PID/cgroup, of cgroup v2. */
static const char *
group_of(pid_t pid)
{
	return text(
	    "%s", run("sed -n 's/^0:://p' /proc/%d/cgroup", (int)pid).out);
}

void
test_each_instance_has_a_group_of_its_own(void)
{
	struct herod *h = start_one("command = sleep 1000\nnumprocs = 2");
	json_t *st = status_of(h, "it");
	const char *group = group_of((pid_t)int_at(st, "instances.0.pid"));
	const char *root;

	if (strstr(group, "/herod.") == NULL) {
		herod_stop(h);
		skip("needs a cgroup2 that may be written");
	}
	check_has(group, "/it.0\n");
	check_has(group_of((pid_t)int_at(st, "instances.1.pid")), "/it.1\n");
	check(strstr(group_of(herod_pid(h)), "/it.") == NULL);
	root = text("%.*s", (int)(strstr(group, "/it.") - group), group);
	/* A new process, the same group; the next herod knows it, too. */
	rpc(h, "restart_runner", "[s]", "it");
	check_str(group_of(pid_of(h, "it")), group);
	herod_kill9(h);
	check_str(group_of(pid_of(h, "it")), group);
	rpc(h, "restart_runner", "[s]", "it");
	check_str(group_of(pid_of(h, "it")), group);
	herod_stop(h);
	check_str(run("find /sys/fs/cgroup -path '*%s*'", root).out, "");
}

static int
count_warnings(const char *words)
{
	return atoi(
	    run("grep ' warn ' %s | grep -c '%s'", here("herod.log"), words)
		.out);
}

void
test_cgroups_off_is_told_once_and_all_else_goes_on(void)
{
	struct herod *h =
	    herod_start("[herod]\ncgroups = off\n" AT_ONCE "memory_max = 64MB\n"
			"[runner:it]\ncommand = sleep 1000\n"
			"cpu_max = 0.5\n"
			"[runner:other]\ncommand = sleep 1000\n");

	wait_for(is_state(h, "it", "RUNNING"));
	wait_for(is_state(h, "other", "RUNNING"));
	check(strstr(group_of(pid_of(h, "it")), "/herod.") == NULL);
	check(!is_kept(h, "memory_max") && !is_kept(h, "cpu_max"));
	check(is_kept(h, "pids_max")); /* it is not wanted */
	check_str(
	    text_at(status_of(h, "other"), "not_enforced.0"), "memory_max");
	check_int(count_warnings("is not enforced: cgroups = off"), 1);
	herod_stop(h);
}

void
test_no_limit_of_a_group_needs_no_warning(void)
{
	struct herod *h = herod_start("[herod]\ncgroups = off\n" AT_ONCE
				      "[runner:it]\ncommand = sleep 1000\n");

	wait_for(is_state(h, "it", "RUNNING"));
	check(at(status_of(h, "it"), "not_enforced") == NULL);
	check_int(count_warnings("enforced"), 0);
	herod_stop(h);
}

/* Pitfall 44. */
void
test_who_ran_out_of_memory_is_told_apart(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nautostart = false\n"
				"autorestart = never\nmemory_max = 16MB\n"
				"command = tail /dev/zero\n");
	json_t *st;

	if (!is_kept(h, "memory_max")) {
		herod_stop(h);
		skip("needs the controller memory");
	}
	rpc(h, "start_runner", "{s:s, s:b}", "name", "it", "wait", 0);
	wait_for(is_state(h, "it", "EXITED"));
	st = status_of(h, "it");
	check_str(text_at(st, "why"),
	    "killed by the kernel: out of memory (memory_max 16MB)");
	check(json_is_true(at(st, "instances.0.exit.oom")));
	herod_stop(h);
}

/* Pitfall 44: a SIGKILL of somebody else's is no lack of memory. */
void
test_a_sigkill_is_not_taken_for_a_lack_of_memory(void)
{
	struct herod *h = start_one("command = sleep 1000\n"
				    "autorestart = never\nmemory_max = 64MB");

	signal_runner(h, "it", SIGKILL);
	wait_for(is_state(h, "it", "EXITED"));
	check_str(text_at(status_of(h, "it"), "why"), "SIGKILL");
	check(json_is_false(at(status_of(h, "it"), "instances.0.exit.oom")));
	herod_stop(h);
}
