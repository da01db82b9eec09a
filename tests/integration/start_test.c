/*
 * Starting: from what is wanted to a process that runs as its settings say,
 * and what is said and done when it does not.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* ---- up ---- */

void
test_autostart_makes_it_run(void)
{
	struct herod *h = herod_start(
	    "[runner:web]\ncommand = sleep 1000\nstartsecs = 0.1\n");
	json_t *st;

	wait_for(is_state(h, "web", "RUNNING"));
	st = status_of(h, "web");
	check_str(text_at(st, "name"), "web");
	check_str(text_at(st, "kind"), "service");
	check_str(text_at(st, "wanted"), "up");
	check_str(text_at(st, "command.0"), "sleep");
	check_str(text_at(st, "command.1"), "1000");
	check_int(int_at(st, "restarts"), 0);
	check_int(int_at(st, "instances.0.pid"), int_at(st, "pid"));
	check_has(text_at(st, "settings_origin"), text("%s:", h->conf));
	check(is_alive((pid_t)int_at(st, "pid")));
	check(json_is_null(at(st, "instances.0.exit")));
	herod_stop(h);
}

void
test_autostart_false_waits_for_a_start(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\nautostart = false\n");

	check(is_state(h, "web", "STOPPED"));
	check_str(text_at(status_of(h, "web"), "wanted"), "down");
	check_str(
	    text_at(rpc(h, "start_runner", "{s:s}", "name", "web"), "state"),
	    "RUNNING");
	check(pid_of(h, "web") != 0);
	herod_stop(h);
}

void
test_running_begins_after_startsecs(void)
{
	struct herod *h = herod_start("[runner:web]\ncommand = sleep 1000\n"
				      "startsecs = 1\nautostart = false\n");
	double before = check_clock();

	rpc(h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
	check(is_state(h, "web", "STARTING"));
	rpc(h, "start_runner", "{s:s}", "name", "web");
	check(check_clock() - before >= 0.9);
	check(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

void
test_start_twice_is_fine(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t pid;

	rpc(h, "start_runner", "{s:s}", "name", "web");
	pid = pid_of(h, "web");
	check_str(
	    text_at(rpc(h, "start_runner", "{s:s}", "name", "web"), "state"),
	    "RUNNING");
	check_int(pid_of(h, "web"), pid);
	herod_stop(h);
}

void
test_numprocs_instances_know_their_number(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 3\ncommand = %s\n",
	    script("web", "echo $HERO_RUNNER $HERO_INSTANCE\nexec sleep 1000"));
	const char *logs;

	rpc(h, "start_runner", "{s:s}", "name", "web");
	check_int(
	    (int)json_array_size(at(status_of(h, "web"), "instances")), 3);
	wait_for(strlen(logs_of(h, "web")) == 3 * strlen("web 0\n"));
	logs = logs_of(h, "web");
	check_has(logs, "web 0\n");
	check_has(logs, "web 1\n");
	check_has(logs, "web 2\n");
	herod_stop(h);
}

void
test_a_killed_program_comes_back(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	json_t *st;
	pid_t pid;

	wait_for((pid = pid_of(h, "web")) != 0);
	kill(pid, SIGKILL);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != pid);
	st = status_of(h, "web");
	check_int(int_at(st, "restarts"), 1);
	check_str(text_at(st, "instances.0.exit.signal"), "KILL");
	check(json_is_null(at(st, "instances.0.exit.code")));
	check(json_number_value(at(st, "instances.0.exit.rusage.maxrss")) > 0);
	check(json_number_value(at(st, "instances.0.exit.rusage.utime")) >= 0);
	herod_stop(h);
}

void
test_one_crash_touches_no_neighbour(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:bad]\ncommand = false\n"
				"startretries = 5\nbackoff_base = 0.05\n"
				"[runner:good]\ncommand = sleep 1000\n");
	pid_t pid;

	wait_for((pid = pid_of(h, "good")) != 0);
	wait_for(int_at(status_of(h, "bad"), "restarts") > 2);
	check_int(pid_of(h, "good"), pid);
	check_int(int_at(status_of(h, "good"), "restarts"), 0);
	herod_stop(h);
}

/* ---- restart rules ---- */

void
test_an_expected_exit_is_not_started_again(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:once]\ncommand = sh -c 'exit 2'\nexitcodes = 0,2\n");
	json_t *st;

	wait_for(is_state(h, "once", "EXITED"));
	st = status_of(h, "once");
	check_int(int_at(st, "instances.0.exit.code"), 2);
	check(json_is_null(at(st, "instances.0.exit.signal")));
	check_has(text_at(st, "why"), "exit 2");
	check_int(int_at(st, "restarts"), 0);
	herod_stop(h);
}

void
test_autorestart_never_leaves_a_crash_alone(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:once]\nautorestart = never\ncommand = %s\n",
	    script("once", "sleep 0.2; kill -SEGV $$"));

	wait_for(is_state(h, "once", "EXITED"));
	check_str(
	    text_at(status_of(h, "once"), "instances.0.exit.signal"), "SEGV");
	herod_stop(h);
}

void
test_autorestart_always_repeats_a_success(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:again]\nautorestart = always\nbackoff_base = 0.02\n"
	    "backoff_max = 0.05\ncommand = true\n");

	wait_for(int_at(status_of(h, "again"), "restarts") >= 3);
	check_int(int_at(status_of(h, "again"), "instances.0.exit.code"), 0);
	herod_stop(h);
}

void
test_failed_starts_are_counted_and_end_in_fatal(void)
{
	struct herod *h =
	    herod_start("[runner:bad]\nstartretries = 2\nbackoff_base = 0.05\n"
			"startsecs = 1000\ncommand = %s\n",
		script("bad", text("echo x >>%s; exit 3", here("starts"))));
	json_t *st;

	wait_for(is_state(h, "bad", "FATAL"));
	st = status_of(h, "bad");
	check_int(count_lines(here("starts")), 3);
	check_has(text_at(st, "why"), "exit 3");
	check_int(int_at(st, "instances.0.exit.code"), 3);
	check(json_is_null(at(st, "pid")));
	herod_stop(h);
}

void
test_fatal_can_be_started_by_hand(void)
{
	const char *flag = here("flag");
	struct herod *h = herod_start(
	    "[runner:bad]\nstartretries = 0\nstartsecs = 1000\ncommand = %s\n",
	    script("bad", text("[ -f %s ] || exit 1; exec sleep 1000", flag)));
	json_t *error;
	pid_t pid;

	wait_for(is_state(h, "bad", "FATAL"));
	error = rpc_error(h, "start_runner", "{s:s}", "name", "bad");
	check_int(int_at(error, "code"), -32013);
	check_has(text_at(error, "message"), "exit 1");
	write_file(flag, "");
	rpc(h, "start_runner", "{s:s, s:b}", "name", "bad", "wait", 0);
	wait_for((pid = pid_of(h, "bad")) != 0 &&
	    strcmp(proc_field(pid, "status", "Name"), "sleep") == 0);
	check(is_state(h, "bad", "STARTING"));
	herod_stop(h);
}

#define LAST "failure 4 in a row, next try in "

/* Pitfall 3: base * factor^n, capped, with a tenth of jitter. */
void
test_each_failure_waits_longer(void)
{
	struct herod *h = herod_start(
	    "[runner:bad]\nstartretries = 4\nbackoff_base = 0.2\n"
	    "backoff_factor = 2\nbackoff_max = 0.4\nstartsecs = 1000\n"
	    "command = %s\n",
	    script("bad", text("date +%%s.%%N >>%s; exit 1", here("starts"))));
	const char *p;
	char *end;
	double t[5];
	int i;

	wait_for(is_state(h, "bad", "FATAL"));
	p = file_text(here("starts"));
	for (i = 0; i < 5; i++, p = end)
		t[i] = strtod(p, &end);
	check(t[1] - t[0] >= 0.18);
	check(t[2] - t[1] >= 0.36);
	check(t[3] - t[2] >= 0.36);
	check(t[4] - t[3] >= 0.36);
	/* 1.6 s but for the cap. */
	p = strstr(herod_log(), LAST);
	check(p != NULL && strtod(p + strlen(LAST), &end) <= 440);
	check(strncmp(end, "ms", 2) == 0);
	herod_stop(h);
}

/* ---- what could not be started ---- */

static void
check_fatal(const char *settings, const char *stage, const char *why)
{
	struct herod *h = herod_start("[runner:bad]\n%s\n", settings);
	const char *said;

	wait_for(is_state(h, "bad", "FATAL"));
	said = text_at(status_of(h, "bad"), "why");
	check_has(said, stage);
	check_has(said, why);
	herod_stop(h);
}

void
test_a_missing_program_is_named(void)
{
	check_fatal("command = /no/such/program", "exec",
	    "/no/such/program: No such file or directory");
}

void
test_a_program_missing_in_path_is_named(void)
{
	check_fatal("command = no_such_program", "no_such_program",
	    "No such file or directory");
}

void
test_a_file_that_is_no_program_is_named(void)
{
	write_file(here("plain"), "x");
	check_fatal(text("command = %s", here("plain")), here("plain"),
	    "Permission denied");
}

void
test_a_missing_interpreter_is_told(void)
{
	const char *path = script("odd", "");

	write_file(path, "#!/no/such/interpreter\n");
	check_fatal(
	    text("command = %s", path), path, "No such file or directory");
}

void
test_a_file_of_no_known_format_is_told(void)
{
	const char *path = script("odd", "");

	write_file(path, "\001\002\003");
	check_fatal(text("command = %s", path), path, "Exec format error");
}

void
test_a_missing_directory_is_told(void)
{
	check_fatal("command = true\ndirectory = /no/such/dir\n"
		    "startretries = 0",
	    "chdir", "/no/such/dir");
}

void
test_an_unknown_user_is_told(void)
{
	check_fatal("command = true\nuser = no_such_user\nstartretries = 0",
	    "no_such_user", "user");
}

/* Pitfall 2: not the program's fault, so it does not end in FATAL. */
void
test_a_lack_of_descriptors_heals(void)
{
	struct herod *h = herod_start_with("ulimit -n 64;", "",
	    AT_ONCE "[runner:many]\ncommand = sleep 1000\n"
		    "startretries = 1\n");

	rpc(h, "scale_runner", "{s:s, s:i, s:b}", "name", "many", "instances",
	    40, "wait", 0);
	wait_for(strstr(herod_log(), "BACKOFF: ") != NULL);
	wait_for(at(rpc_end(rpc_begin(h, "stop_runner", "[s]", "many")),
		     "result") != NULL);
	check(strstr(herod_log(), "FATAL") == NULL);
	wait_for(is_state(h, "many", "STOPPED"));
	herod_stop(h);
}

/* ---- what the process finds ---- */

/* Starts "command" with more settings; its pid when RUNNING. */
static struct herod *
start_probe(const char *settings, pid_t *pid)
{
	struct herod *h = herod_start(AT_ONCE "[runner:probe]\n%s\n", settings);

	rpc(h, "start_runner", "{s:s}", "name", "probe");
	check((*pid = pid_of(h, "probe")) != 0);
	return h;
}

/* Pitfall 13. */
void
test_signals_are_default_and_unmasked(void)
{
	pid_t pid;
	struct herod *h = start_probe("command = sleep 1000", &pid);

	wait_for(strcmp(proc_field(pid, "status", "Name"), "sleep") == 0);
	check_str(proc_field(pid, "status", "SigBlk"), "0000000000000000");
	/* make(1) may have left libc's own two, 32 and 33, ignored. */
	check_int((long long)(strtoull(proc_field(pid, "status", "SigIgn"),
				  NULL, 16) &
		      ~(3ULL << 31)),
	    0);
	check_str(proc_field(pid, "status", "SigCgt"), "0000000000000000");
	herod_stop(h);
}

/* Pitfall 14. */
void
test_only_stdio_is_open(void)
{
	pid_t pid;
	struct herod *h = start_probe("command = sleep 1000", &pid);

	/* The loader may still have its libraries open. */
	wait_for(strcmp(run("ls /proc/%d/fd", (int)pid).out, "0\n1\n2\n") == 0);
	check_str(run("readlink /proc/%d/fd/0", (int)pid).out, "/dev/null\n");
	herod_stop(h);
}

/* Pitfall 17. */
void
test_each_process_leads_its_own_session(void)
{
	pid_t pid;
	struct herod *h = start_probe("command = sleep 1000", &pid);

	check_str(run("ps -o pgid=,sid=,tty= -p %d | tr -s ' ' | "
		      "sed 's/^ //'",
		      (int)pid)
		      .out,
	    text("%d %d ?\n", (int)pid, (int)pid));
	herod_stop(h);
}

/* Pitfall 16. */
void
test_umask_directory_and_environment_are_as_set(void)
{
	struct herod *h =
	    herod_start_with("NOTIFY_SOCKET=@none LISTEN_FDS=1", "",
		AT_ONCE
		"[runner:probe]\numask = 027\ndirectory = /usr\n"
		"environment = COLOUR=\"deep blue\",EMPTY=\"\"\ncommand = %s\n"
		"autorestart = never\n",
		script("probe",
		    "umask; pwd; echo \"$COLOUR\"; echo \"${EMPTY-unset}\"\n"
		    "echo ${NOTIFY_SOCKET-none} ${LISTEN_FDS-none}\n"
		    "echo $HERO_RUNNER $HERO_INSTANCE $HERO_SOCKET"));
	const char *want =
	    text("0027\n/usr\ndeep blue\n\nnone none\nprobe 0 %s\n", h->socket);

	wait_for(is_state(h, "probe", "EXITED"));
	check_str(logs_of(h, "probe"), want);
	herod_stop(h);
}

void
test_user_sets_ids_groups_and_home(void)
{
	struct herod *h;

	if (geteuid() != 0)
		skip("needs root");
	h = herod_start(AT_ONCE "[runner:probe]\nuser = nobody\n"
				"autorestart = never\n"
				"command = sh -c 'id -un; id -G; echo $HOME "
				"$USER $LOGNAME'\n");
	wait_for(is_state(h, "probe", "EXITED"));
	check_str(logs_of(h, "probe"),
	    text("nobody\n%snobody nobody\n",
		run("id -G nobody; printf '%%s ' "
		    "$(getent passwd nobody | cut -d: -f6)")
		    .out));
	herod_stop(h);
}

void
test_limits_and_nice_are_as_set(void)
{
	pid_t pid;
	struct herod *h =
	    start_probe("command = sleep 1000\nrlimit_nofile = 99\nnice = 5\n"
			"rlimit_core = 0",
		&pid);

	check_has(proc_text(pid, "limits"),
	    "Max open files            99                   99");
	check_has(proc_text(pid, "limits"),
	    "Max core file size        0                    0");
	check_str(run("ps -o ni= -p %d | tr -d ' '", (int)pid).out, "5\n");
	herod_stop(h);
}

/* Pitfall 15: herod began with 0, 1 and 2 closed. */
void
test_closed_stdio_of_herod_harms_nobody(void)
{
	pid_t pid;
	struct herod *h = herod_start_with("", "<&- >&- 2>&-",
	    AT_ONCE "[runner:probe]\ncommand = %s\n",
	    script("probe", "echo out; echo err >&2; exec sleep 1000"));

	wait_for(strlen(logs_of(h, "probe")) == strlen("out\nerr\n"));
	check((pid = herod_pid(h)) != 0);
	check_str(run("readlink /proc/%d/fd/1", (int)pid).out, "/dev/null\n");
	herod_stop(h);
}

/* ---- processes that come and go otherwise ---- */

/* Pitfall 18. */
void
test_a_stopped_process_is_shown_as_paused(void)
{
	pid_t pid;
	struct herod *h = start_probe("command = sleep 1000", &pid);

	kill(pid, SIGSTOP);
	wait_for(is_state(h, "probe", "PAUSED"));
	kill(pid, SIGCONT);
	wait_for(is_state(h, "probe", "RUNNING"));
	check_int(pid_of(h, "probe"), pid);
	herod_stop(h);
}

/* Pitfall 19: orphans come to the keeper, which buries them. */
void
test_orphans_do_not_stay_as_zombies(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:parent]\ncommand = %s\n",
	    script("parent",
		"i=0\nwhile [ $((i += 1)) -le 20 ]; do (true &) & done\n"
		"wait\necho done\nexec sleep 1000"));

	wait_for(strcmp(logs_of(h, "parent"), "done\n") == 0);
	wait_for(
	    strcmp(run("ps -o stat= --ppid %d | grep -c Z", (int)h->keeper).out,
		"0\n") == 0);
	herod_stop(h);
}

/* Pitfall 12: its death is seen though an orphan holds its pipe. */
void
test_an_orphan_with_the_pipe_does_not_hide_a_death(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:parent]\nautorestart = never\nkillasgroup = false\n"
	    "command = %s\n",
	    script("parent",
		text("setsid sh -c 'echo $$ >%s; exec sleep 1000' &\n"
		     "while [ ! -s %s ]; do sleep 0.01; done; exit 4",
		    here("orphan"), here("orphan"))));

	wait_for(is_state(h, "parent", "EXITED"));
	check_int(int_at(status_of(h, "parent"), "instances.0.exit.code"), 4);
	herod_stop(h);
	wait_for(!is_alive(pid_in(here("orphan"))));
}

void
test_a_runner_added_by_rpc_starts_at_once(void)
{
	struct herod *h = herod_start(AT_ONCE);
	json_t *st = rpc(h, "add_runner", "{s:{s:s, s:[s, s], s:i}}", "runner",
	    "name", "late", "command", "sleep", "1000", "startsecs", 0);

	check_str(text_at(st, "settings_origin"), "rpc");
	wait_for(is_state(h, "late", "RUNNING"));
	check_int(int_at(rpc_error(h, "add_runner", "{s:{s:s, s:[s]}}",
			     "runner", "name", "late", "command", "true"),
		      "code"),
	    -32011);
	herod_stop(h);
	herod_again(h);
	wait_for(is_state(h, "late", "RUNNING"));
	herod_stop(h);
}

void
test_a_runner_added_without_persist_is_forgotten(void)
{
	struct herod *h = herod_start(AT_ONCE);

	rpc(h, "add_runner", "{s:{s:s, s:[s, s]}, s:b}", "runner", "name",
	    "late", "command", "sleep", "1000", "persist", 0);
	herod_stop(h);
	herod_again(h);
	check_int(
	    int_at(rpc_error(h, "get_runner_status", "[s]", "late"), "code"),
	    -32010);
	herod_stop(h);
}

void
test_start_all_names_the_one_that_fails(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:bad]\ncommand = /no/such\nautostart = false\n"
		    "[runner:good]\ncommand = sleep 1000\nautostart = false\n");
	json_t *all = rpc(h, "start_all", NULL);

	check_int((int)json_array_size(all), 2);
	check_str(text_at(all, "0.name"), "bad");
	check(json_is_false(at(all, "0.ok")));
	check_str(text_at(all, "0.state"), "FATAL");
	check_has(text_at(all, "0.why"), "/no/such");
	check_str(text_at(all, "1.name"), "good");
	check(json_is_true(at(all, "1.ok")));
	herod_stop(h);
}

/* Pitfall 4: many at once, nobody is lost. */
void
test_a_hundred_crash_loops_leave_herod_responsive(void)
{
	struct herod *h = herod_start(
	    "[runner:storm]\nnumprocs = 100\nstartretries = -1\n"
	    "backoff_base = 0.2\nbackoff_max = 0.5\ncommand = false\n");

	wait_for(int_at(status_of(h, "storm"), "restarts") > 200);
	rpc(h, "ping", NULL);
	rpc(h, "stop_runner", "{s:s}", "name", "storm");
	check(is_state(h, "storm", "STOPPED"));
	herod_stop(h);
}
