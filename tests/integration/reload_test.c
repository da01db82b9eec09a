/*
 * The configuration while herod runs: reload by RPC, heroctl and SIGHUP,
 * update_runner, get_config, set_log_level; with real processes.
 */
#include <signal.h>
#include <string.h>

#include "herod.h"

CHECK_TIMEOUT(240);

#define SLEEPER "command = sleep 1000\n"

static pid_t
instance_pid(struct herod *h, const char *runner, int n)
{
	return (pid_t)json_integer_value(
	    at(status_of(h, runner), text("instances.%d.pid", n)));
}

static bool
is_there(struct herod *h, const char *runner)
{
	json_t *names = rpc(h, "list_runners", NULL), *name;
	size_t i;

	json_array_foreach (names, i, name)
		if (strcmp(json_string_value(name), runner) == 0)
			return true;
	return false;
}

/* Another file; what reload says. */
static json_t *
reload(struct herod *h, const char *conf)
{
	write_file(h->conf, conf);
	return rpc(h, "reload", NULL);
}

static const char *
names(json_t *done, const char *member)
{
	const char *all = "";
	json_t *name;
	size_t i;

	json_array_foreach (at(done, member), i, name)
		all = text("%s%s ", all, json_string_value(name));
	return all;
}

/* Runners that are up, of a file. */
static struct herod *
start_up(const char *conf, const char *runner)
{
	struct herod *h = herod_start("%s", conf);

	wait_for(is_state(h, runner, "RUNNING"));
	return h;
}

static const char *
queue(struct herod *h, const char *runner)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", runner, "job", "payload", ""));
}

static const char *
result_of(struct herod *h, const char *id)
{
	return text_at(rpc(h, "job.wait", "[s]", id), "success");
}

/* ---- reload ---- */

#define THREE \
	AT_ONCE "[runner:same]\n" SLEEPER "[runner:other]\n" SLEEPER \
		"[runner:old]\n" SLEEPER
#define CHANGED \
	AT_ONCE "[runner:same]\n" SLEEPER "[runner:other]\n" \
		"command = sleep 2000\n[runner:new]\n" SLEEPER

void
test_reload_touches_only_what_has_changed(void)
{
	struct herod *h = start_up(THREE, "old");
	pid_t same, other, old;
	json_t *done;

	wait_for(is_state(h, "other", "RUNNING"));
	wait_for(is_state(h, "same", "RUNNING"));
	same = pid_of(h, "same");
	other = pid_of(h, "other");
	old = pid_of(h, "old");
	done = reload(h, CHANGED);
	check_str(names(done, "added"), "new ");
	check_str(names(done, "removed"), "old ");
	check_str(names(done, "refused"), "");
	check_str(text_at(done, "changed.other"), "restart");
	check_int(json_object_size(at(done, "changed")), 1);
	wait_for(!is_there(h, "old"));
	check(!is_alive(old));
	wait_for(is_state(h, "new", "RUNNING"));
	wait_for(
	    pid_of(h, "other") != other && is_state(h, "other", "RUNNING"));
	check_has(proc_text(pid_of(h, "other"), "cmdline") + 6, "2000");
	check_int(pid_of(h, "same"), same);
	herod_stop(h);
}

void
test_a_dry_run_tells_and_changes_nothing(void)
{
	struct herod *h = start_up(THREE, "old");
	pid_t other, old;
	struct ran r;

	wait_for(is_state(h, "other", "RUNNING"));
	other = pid_of(h, "other");
	old = pid_of(h, "old");
	write_file(h->conf, CHANGED);
	r = heroctl(h, "reload -n");
	check_int(r.status, 0);
	check_str(r.out, "removed\told\nrestart\tother\nadded\tnew\n");
	check_str(heroctl(h, "reread").out, r.out);
	check_int(pid_of(h, "old"), old);
	check_int(pid_of(h, "other"), other);
	check(!is_there(h, "new"));
	/* What it told is what is done. */
	check_str(heroctl(h, "update").out, r.out);
	wait_for(!is_there(h, "old"));
	check_str(heroctl(h, "reload").out, "");
	herod_stop(h);
}

/* Pitfall 25. */
void
test_a_file_with_mistakes_changes_nothing(void)
{
	struct herod *h = start_up(THREE, "old");
	pid_t old = pid_of(h, "old");
	json_t *error;
	struct ran r;

	write_file(h->conf,
	    AT_ONCE "[runner:new]\n" SLEEPER "stopwaitsecs = soon\n"
		    "[herod]\ndefault_scope = loud\n[runner:none]\n");
	error = rpc_error(h, "reload", NULL);
	check_has(text_at(error, "message"), "3 mistakes, nothing was changed");
	check_has(text_at(error, "message"),
	    text("%s:5: stopwaitsecs: 'soon'", h->conf));
	check_int(json_array_size(at(error, "data.errors")), 3);
	check_has(names(error, "data.errors"),
	    text("%s:7: default_scope: 'loud'", h->conf));
	r = heroctl(h, "reload");
	check_int(r.status, 1);
	check_has(r.err,
	    text("heroctl: 3 mistakes, nothing was changed:\n"
		 "  %s:7: default_scope: 'loud'",
		h->conf));
	check_has(r.err, text("\n  %s:5: stopwaitsecs: 'soon'", h->conf));
	check_int(pid_of(h, "old"), old);
	check(!is_there(h, "new"));
	herod_stop(h);
}

/* Pitfall 25: prlimit(2) reaches those that run. */
void
test_limits_apply_to_those_that_run(void)
{
	struct herod *h =
	    start_up(AT_ONCE "[runner:same]\n" SLEEPER "nice = 1\n", "same");
	pid_t same = pid_of(h, "same");

	reload(h,
	    AT_ONCE "[runner:same]\n" SLEEPER
		    "nice = 1\nrlimit_core = 4096\nrlimit_nofile = 77\n");
	check_has(proc_text(same, "limits"),
	    "Max core file size        4096                 4096");
	check_has(proc_text(same, "limits"),
	    "Max open files            77                   77");
	check_int(pid_of(h, "same"), same);
	herod_stop(h);
}

void
test_a_limit_that_was_taken_away_is_told(void)
{
	const char *plain = AT_ONCE "[runner:same]\n" SLEEPER;
	struct herod *h = start_up(
	    text("%srlimit_nofile = 77\nrlimit_core = 8192\n", plain), "same");
	json_t *done;

	done = reload(h, text("%srlimit_core = 4096\n", plain));
	check_str(text_at(done, "changed.same"), "live");
	check_has(names(done, "refused"), "runner same.0: rlimit_nofile: ");
	check(strstr(names(done, "refused"), "rlimit_core") == NULL);
	check_str(
	    names(status_of(h, "same"), "not_enforced"), "rlimit_nofile ");
	rpc(h, "restart_runner", "[s]", "same");
	check(at(status_of(h, "same"), "not_enforced") == NULL);
	done = reload(h, text("%srlimit_core = 2048\n", plain));
	check_str(names(done, "refused"), "");
	herod_stop(h);
}

void
test_a_limit_that_may_not_be_raised_is_told(void)
{
	const char *same = AT_ONCE "[runner:same]\n" SLEEPER;
	struct herod *h;
	json_t *done;

	if (geteuid() != 0)
		skip("needs root to give capabilities away");
	h = herod_start_with("exec setpriv --bounding-set "
			     "-sys_resource,-sys_nice sh -c '\"$@\"' sh",
	    "", "%snice = 19\nrlimit_core = 4096\n", same);
	wait_for(is_state(h, "same", "RUNNING"));
	done = reload(h, text("%snice = 18\nrlimit_core = 8192\n", same));
	check_has(names(done, "refused"), "runner same.0: nice: cannot be");
	check_has(names(done, "refused"), "runner same.0: rlimit_core: ");
	check_str(
	    names(status_of(h, "same"), "not_enforced"), "nice rlimit_core ");
	/* What it has already can be had. */
	done = reload(h, text("%snice = 19\nrlimit_core = 4096\n", same));
	check_str(names(done, "refused"), "");
	check(at(status_of(h, "same"), "not_enforced") == NULL);
	herod_stop(h);
}

void
test_a_cycle_with_a_runner_added_by_rpc_changes_nothing(void)
{
	struct herod *h = start_up(THREE, "old");
	json_t *error;

	rpc(h, "add_runner", "{s:{s:s, s:s, s:s}}", "runner", "name", "mine",
	    "command", "sleep 1000", "after", "same");
	write_file(h->conf, AT_ONCE "[runner:same]\n" SLEEPER "after = mine\n");
	error = rpc_error(h, "reload", NULL);
	check_has(names(error, "data.errors"), "same -> mine -> same");
	check(is_there(h, "old"));
	error = rpc_error(h, "update_runner", "{s:s, s:{s:s}}", "name", "mine",
	    "settings", "after", "mine");
	check_has(text_at(error, "message"), "mine -> mine");
	herod_stop(h);
}

void
test_sighup_reloads(void)
{
	struct herod *h;
	pid_t old;

	signal(SIGHUP, SIG_DFL); /* under nohup(1) the keeper leaves it so */
	h = start_up(THREE, "old");
	old = pid_of(h, "old");
	write_file(h->conf, "[runner:new]\n");
	kill(h->keeper, SIGHUP);
	wait_for(strstr(herod_log(), "reload: refused") != NULL);
	check_has(herod_log(), text("%s:1: runner new: command", h->conf));
	check_int(pid_of(h, "old"), old);
	write_file(h->conf, CHANGED);
	kill(h->keeper, SIGHUP);
	wait_for(!is_there(h, "old"));
	wait_for(is_state(h, "new", "RUNNING"));
	check(!is_alive(old));
	herod_stop(h);
}

/* Pitfall 25. */
void
test_a_removed_runner_stops_by_its_old_rules(void)
{
	struct herod *h =
	    start_up(text(AT_ONCE "[runner:old]\nstopsignal = USR1\n"
				  "stopwaitsecs = 3600\ncommand = %s\n",
			 script("old",
			     text("trap 'echo usr1 >>%s; exit 0' USR1\n"
				  "trap 'echo term >>%s' TERM\n"
				  "echo up\nwhile :; do sleep 0.05; done",
				 here("asked"), here("asked")))),
		"old");

	wait_for(strstr(logs_of(h, "old"), "up\n") != NULL);
	check_str(names(reload(h, AT_ONCE), "removed"), "old ");
	wait_for(!is_there(h, "old"));
	check_str(file_text(here("asked")), "usr1\n");
	herod_stop(h);
}

void
test_a_runner_being_removed_is_told_until_it_is_gone(void)
{
	const char *conf =
	    text(AT_ONCE "[runner:old]\nstopwaitsecs = 3600\ncommand = %s\n",
		script("old",
		    text("trap '' TERM\necho up\n"
			 "while [ ! -f %s ]; do sleep 0.05; done",
			here("go"))));
	struct herod *h = start_up(conf, "old");
	json_t *status;
	pid_t old;

	wait_for(strstr(logs_of(h, "old"), "up\n") != NULL);
	old = pid_of(h, "old");
	reload(h, AT_ONCE);
	status = status_of(h, "old");
	check_str(text_at(status, "wanted"), "removed");
	check_str(text_at(status, "state"), "STOPPING");
	/* It is no longer of the file, and a second reload sees that. */
	check_str(names(rpc(h, "reload", NULL), "removed"), "");
	/* Wanted again, it starts when it is down. */
	check_str(names(reload(h, conf), "added"), "old ");
	check_int(pid_of(h, "old"), old);
	write_file(here("go"), "");
	wait_for(!is_alive(old));
	wait_for(text_at(status_of(h, "old"), "wanted")[0] == 'u');
	reload(h, AT_ONCE);
	wait_for(!is_there(h, "old"));
	herod_stop(h);
}

#define JOBS "[runner:it]\nkind = exec\n"

void
test_another_command_waits_for_jobs_in_hand(void)
{
	const char *old = script("old",
	    text("while [ ! -f %s ]; do sleep 0.05; done; echo old",
		here("go")));
	struct herod *h =
	    herod_start(AT_ONCE JOBS "concurrency = 2\ncommand = %s\n", old);
	const char *first, *second;

	wait_for_redis(h);
	first = queue(h, "it");
	wait_for(int_at(status_of(h, "it"), "queue.running") == 1);
	reload(h, AT_ONCE JOBS "concurrency = 2\ncommand = echo new\n");
	check_str(text_at(status_of(h, "it"), "instances.0.state"), "DRAINING");
	/* A free place has the new one already. */
	second = queue(h, "it");
	check_str(result_of(h, second), "new");
	write_file(here("go"), "");
	check_str(result_of(h, first), "old");
	wait_for(is_state(h, "it", "RUNNING"));
	check_str(result_of(h, queue(h, "it")), "new");
	herod_stop(h);
}

void
test_another_queue_or_kind_is_drawn_from(void)
{
	struct herod *h = herod_start(AT_ONCE JOBS "command = cat\n");

	wait_for_redis(h);
	check_str(result_of(h, queue(h, "it")), "");
	reload(h, AT_ONCE JOBS "command = echo hi\nqueue = q2\n");
	check_str(text_at(status_of(h, "it"), "queue.name"), "q2");
	check_str(result_of(h, queue(h, "it")), "hi");
	reload(h, AT_ONCE "[runner:it]\n" SLEEPER);
	wait_for(pid_of(h, "it") != 0);
	check_str(text_at(rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
			      "runner", "it", "job", "payload", ""),
		      "data.name"),
	    "no_consumer");
	reload(h,
	    text(AT_ONCE "[runner:it]\nkind = stdio\ncommand = "
			 "%s/tests/integration/worker\n",
		getenv("HEROD_BUILD")));
	check_str(text_at(rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner",
			      "it", "payload", "echo you"),
		      "success"),
	    "you");
	herod_stop(h);
}

/* Pitfall 25. */
void
test_live_settings_are_in_force_without_a_restart(void)
{
	const char *command = text("command = %s\n",
	    script("talk",
		text("while [ ! -f %s ]; do sleep 0.05; done\n"
		     "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); "
		     "echo line $i of one hundred; done\n"
		     "exec sleep 1000",
		    here("go"))));
	struct herod *h =
	    start_up(text(AT_ONCE "[runner:web]\n%s", command), "web");
	pid_t pid = pid_of(h, "web");
	json_t *done;

	done = reload(h,
	    text(AT_ONCE "[runner:web]\n%sstopwaitsecs = 77\npriority = 3\n"
			 "stdout_logfile = %s\nstdout_logfile_maxbytes = 1000\n"
			 "numprocs = 1\n",
		command, here("web.log")));
	check_str(text_at(done, "changed.web"), "live");
	write_file(here("go"), "");
	wait_for(file_exists(here("web.log.1")));
	wait_for(strstr(logs_of(h, "web"), "line 100 of") != NULL);
	check_int(pid_of(h, "web"), pid);
	check_int(int_at(rpc(h, "get_config", "{s:s}", "name", "web"),
		      "runners.web.settings.priority"),
	    3);
	herod_stop(h);
}

void
test_numprocs_adds_and_ends_only_surplus_processes(void)
{
	struct herod *h =
	    start_up(AT_ONCE "[runner:web]\nnumprocs = 2\n" SLEEPER, "web");
	pid_t first = instance_pid(h, "web", 0);

	reload(h, AT_ONCE "[runner:web]\nnumprocs = 3\n" SLEEPER);
	wait_for(is_state(h, "web", "RUNNING"));
	check_int(json_array_size(at(status_of(h, "web"), "instances")), 3);
	reload(h, AT_ONCE "[runner:web]\nnumprocs = 1\n" SLEEPER);
	wait_for(json_array_size(at(status_of(h, "web"), "instances")) == 1);
	check_int(instance_pid(h, "web", 0), first);
	herod_stop(h);
}

void
test_order_is_kept_by_a_reload(void)
{
	struct herod *h = start_up(AT_ONCE
	    "[runner:db]\n" SLEEPER "[runner:web]\nrequires = db\n" SLEEPER,
	    "web");
	pid_t web = pid_of(h, "web");

	/* One that needs a removed runner no more goes on. */
	reload(h, AT_ONCE "[runner:web]\n" SLEEPER);
	wait_for(!is_there(h, "db"));
	check_int(pid_of(h, "web"), web);
	/* New ones may need each other. */
	reload(h,
	    AT_ONCE "[runner:web]\n" SLEEPER
		    "[runner:a]\nrequires = z\n" SLEEPER
		    "[runner:z]\n" SLEEPER);
	wait_for(is_state(h, "a", "RUNNING") && is_state(h, "z", "RUNNING"));
	/* What needs one that is restarted is restarted, too. */
	web = pid_of(h, "a");
	reload(h,
	    AT_ONCE "[runner:web]\n" SLEEPER
		    "[runner:a]\nrequires = z\n" SLEEPER
		    "[runner:z]\ncommand = sleep 2000\n");
	wait_for(pid_of(h, "a") != web && is_state(h, "a", "RUNNING") &&
	    is_state(h, "z", "RUNNING"));
	herod_stop(h);
}

void
test_what_was_stopped_by_hand_stays_stopped(void)
{
	struct herod *h = start_up(THREE, "other");

	rpc(h, "stop_runner", "{s:s}", "name", "other");
	reload(h, CHANGED);
	check(is_state(h, "other", "STOPPED"));
	herod_kill9(h);
	check(is_state(h, "other", "STOPPED"));
	herod_stop(h);
}

void
test_settings_of_herod_change_live_or_are_told(void)
{
	struct herod *h = herod_start("[herod]\nresult_ttl = 1h\n");
	const char *conf = "[herod]\nmax_batch = 1\nnamespace = other\n";
	json_t *done = reload(h, conf);
	struct ran r;

	check_has(names(done, "herod"), "max_batch ");
	check_has(names(done, "herod"), "result_ttl ");
	check_has(names(done, "refused"),
	    "namespace: a change of it is in force when herod is started "
	    "again");
	check_has(text_at(exchange(h,
			      "[{\"jsonrpc\":\"2.0\",\"method\":\"ping\","
			      "\"id\":1},{\"jsonrpc\":\"2.0\",\"method\":"
			      "\"ping\",\"id\":2}]"),
		      "error.message"),
	    "1");
	r = heroctl(h, "reload");
	check_int(r.status, 1);
	check_has(r.err, "namespace: ");
	herod_stop(h);
}

void
test_runners_added_by_rpc_are_left_alone(void)
{
	struct herod *h = herod_start(AT_ONCE);
	json_t *done;
	pid_t pid;

	rpc(h, "add_runner", "{s:{s:s, s:[s,s], s:i}}", "runner", "name",
	    "mine", "command", "sleep", "1000", "startsecs", 0);
	pid = pid_of(h, "mine");
	done = reload(h, AT_ONCE "[runner:web]\n" SLEEPER);
	check_str(names(done, "removed"), "");
	check_int(pid_of(h, "mine"), pid);
	done = reload(h, AT_ONCE "[runner:mine]\ncommand = sleep 1\n");
	check_str(names(done, "added"), "");
	check_has(names(done, "refused"), "runner mine (");
	check_has(names(done, "refused"), "was added by RPC");
	check_int(pid_of(h, "mine"), pid);
	herod_stop(h);
}

void
test_what_was_reloaded_outlives_herod(void)
{
	struct herod *h = start_up(THREE, "old");
	pid_t same, other, new;

	wait_for(is_state(h, "same", "RUNNING"));
	same = pid_of(h, "same");
	reload(h, CHANGED);
	wait_for(is_state(h, "new", "RUNNING"));
	wait_for(!is_there(h, "old"));
	wait_for(is_state(h, "other", "RUNNING"));
	other = pid_of(h, "other");
	new = pid_of(h, "new");
	herod_kill9(h);
	check_int(pid_of(h, "same"), same);
	check_int(pid_of(h, "other"), other);
	check_int(pid_of(h, "new"), new);
	check(!is_there(h, "old"));
	check_str(names(rpc(h, "reload", NULL), "added"), "");
	herod_stop(h);
}

/* The file as it is now was never in force. */
void
test_a_new_herod_goes_by_what_was_in_force(void)
{
	struct herod *h = start_up(THREE, "old");
	pid_t old = pid_of(h, "old");

	write_file(h->conf, CHANGED);
	herod_kill9(h);
	check_int(pid_of(h, "old"), old);
	check(!is_there(h, "new"));
	write_file(h->conf, "[half");
	herod_kill9(h);
	check_int(pid_of(h, "old"), old);
	/* Reloaded, it is: over the next death, too. */
	reload(h, CHANGED);
	wait_for(!is_there(h, "old"));
	wait_for(is_state(h, "new", "RUNNING"));
	write_file(h->conf, "[half");
	herod_kill9(h);
	check(is_there(h, "new") && !is_there(h, "old"));
	check_str(names(rpc(h, "get_config", NULL), "overridden"),
	    "log_level state_dir runtime_dir listen ");
	/* One that is started anew reads the file. */
	write_file(h->conf, THREE);
	herod_stop(h);
	herod_again(h);
	check(is_there(h, "old") && !is_there(h, "new"));
	herod_stop(h);
}

void
test_a_restart_outlives_herod(void)
{
	const char *stubborn =
	    text("trap 'echo asked >>%s' TERM\necho up\n"
		 "while [ ! -f %s ]; do sleep 0.05; done\nexit 0",
		here("asked"), here("go"));
	struct herod *h =
	    start_up(text(AT_ONCE "[runner:web]\nstopwaitsecs = 3600\n"
				  "command = %s\n",
			 script("old", stubborn)),
		"web");
	pid_t old;

	wait_for(strstr(logs_of(h, "web"), "up\n") != NULL);
	old = pid_of(h, "web");
	reload(h,
	    AT_ONCE "[runner:web]\nstopwaitsecs = 3600\n"
		    "command = sleep 2000\n");
	wait_for(count_lines(here("asked")) == 1);
	herod_kill9(h);
	check_int(pid_of(h, "web"), old);
	write_file(here("go"), "");
	wait_for(!is_alive(old));
	wait_for(is_state(h, "web", "RUNNING"));
	wait_for(pid_of(h, "web") != 0 &&
	    strstr(proc_text(pid_of(h, "web"), "cmdline") + 6, "2000"));
	herod_stop(h);
}

/* ---- one runner, by RPC ---- */

static struct herod *
start_mine(void)
{
	struct herod *h = herod_start(AT_ONCE "[runner:web]\n" SLEEPER);

	rpc(h, "add_runner", "{s:{s:s, s:[s,s], s:i}}", "runner", "name",
	    "mine", "command", "sleep", "1000", "startsecs", 0);
	return h;
}

void
test_a_runner_added_by_rpc_can_be_changed(void)
{
	struct herod *h = start_mine();
	pid_t pid = pid_of(h, "mine"), again;

	check_int(heroctl(h, "update-runner mine --stopwaitsecs 7").status, 0);
	check_int(pid_of(h, "mine"), pid);
	rpc(h, "update_runner", "{s:s, s:{s:[s,s]}}", "name", "mine",
	    "settings", "command", "sleep", "2000");
	again = pid_of(h, "mine");
	check(again != pid && !is_alive(pid));
	/* Kept, as it was added. */
	herod_kill9(h);
	check_int(pid_of(h, "mine"), again);
	herod_stop(h);
	herod_again(h);
	check_str(text_at(status_of(h, "mine"), "command.1"), "2000");
	check_int(int_at(rpc(h, "get_config", NULL),
		      "runners.mine.settings.priority"),
	    999);
	herod_stop(h);
}

void
test_half_an_update_is_none(void)
{
	struct herod *h = start_mine();
	pid_t pid = pid_of(h, "mine");
	json_t *error;

	error = rpc_error(h, "update_runner", "{s:s, s:{s:[s,s], s:s}}", "name",
	    "mine", "settings", "command", "sleep", "2000", "stopwaitsecs",
	    "soon");
	check_has(text_at(error, "message"), "stopwaitsecs: 'soon'");
	error = rpc_error(h, "update_runner", "{s:s, s:{s:s}}", "name", "mine",
	    "settings", "queue", "q");
	check_has(text_at(error, "message"), "queue is for kind exec");
	check_int(pid_of(h, "mine"), pid);
	check_str(text_at(status_of(h, "mine"), "command.1"), "1000");
	/* The file says what its runners are. */
	error = rpc_error(h, "update_runner", "{s:s, s:{s:i}}", "name", "web",
	    "settings", "priority", 1);
	check_has(text_at(error, "message"), text("%s:4", h->conf));
	check_has(text_at(error, "data.hint"), "heroctl reload");
	herod_stop(h);
}

/* ---- what is in force ---- */

void
test_get_config_shows_no_secret(void)
{
	struct herod *h = herod_start(
	    "[herod]\nredis_url = redis://me:hush@127.0.0.1:1\n" AT_ONCE
	    "[runner:web]\nenvironment = PASSWORD=\"hush\"\n" SLEEPER);
	struct ran r = heroctl(h, "get-config");

	check_int(r.status, 0);
	check(strstr(r.out, "hush") == NULL);
	check_has(r.out, "redis_url = redis://me:(hidden)@127.0.0.1:1\n");
	check_has(r.out, text("# %s:6\n[runner:web]\n", h->conf));
	check_has(r.out, "PASSWORD");
	r = heroctl(h, "--json get-config --name web");
	check(strstr(r.out, "hush") == NULL);
	check_has(r.out, "\"overridden\"");
	herod_stop(h);
}

void
test_what_get_config_shows_can_be_a_file(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:a]\n" SLEEPER "[runner:it]\nautostart = false\n"
	    "command = sh -c \"echo 'a b'; exit 3\" ''\nexitcodes = 0,3\n"
	    "stopsignal = TERM,QUIT\nrequires = a:ready\n");
	json_t *was = rpc(h, "get_config", "[s]", "it"), *is;

	write_file(here("shown.conf"), heroctl(h, "get-config").out);
	herod_stop(h);
	check_has(run("$BUILD/heroctl check shown.conf").out, "good");
	h = herod_start_beside(
	    "2", "%s", run("sed -n '/^.runner:[ai]/,/^#/p' shown.conf").out);
	is = rpc(h, "get_config", "[s]", "it");
	check(json_equal(
	    at(was, "runners.it.settings"), at(is, "runners.it.settings")));
	herod_stop(h);
}

void
test_the_log_level_can_be_set(void)
{
	struct herod *h = herod_start(AT_ONCE);

	check_int(heroctl(h, "set-log-level error,http=debug").status, 0);
	check_str(text_at(rpc(h, "get_config", NULL), "herod.log_level"),
	    "error,http=debug");
	check_has(heroctl(h, "set-log-level loud").err, "'loud' is not error");
	check_str(text_at(rpc(h, "get_config", NULL), "herod.log_level"),
	    "error,http=debug");
	herod_stop(h);
}
