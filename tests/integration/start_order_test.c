/* Order of start and stop between runners, with real processes. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* Says when it begins and when it is asked to end, in one file. */
static const char *
diary(void)
{
	return script("diary",
	    text("trap 'sleep 0.1; echo -$HERO_RUNNER >>%s; exit 0' TERM\n"
		 "echo +$HERO_RUNNER >>%s\nwhile :; do sleep 0.02; done",
		here("diary.txt"), here("diary.txt")));
}

static bool
diary_is(const char *want)
{
	return file_exists(here("diary.txt")) &&
	    strcmp(file_text(here("diary.txt")), want) == 0;
}

void
test_start_and_shutdown_follow_requires_and_after(void)
{
	const char *it = diary();
	struct herod *h =
	    herod_start("[runner:a]\nrequires = b:ready\ncommand = %s\n"
			"startsecs = 0.2\n"
			"[runner:b]\nafter = c:ready\ncommand = %s\n"
			"startsecs = 0.2\n"
			"[runner:c]\ncommand = %s\nstartsecs = 0.2\n",
		it, it, it);

	wait_for(is_state(h, "a", "RUNNING"));
	check(diary_is("+c\n+b\n+a\n"));
	herod_stop(h);
	check(diary_is("+c\n+b\n+a\n-a\n-b\n-c\n"));
}

void
test_stop_all_and_start_all_follow_the_order(void)
{
	const char *it = diary();
	struct herod *h =
	    herod_start("[defaults]\nautostart = false\nstartsecs = 0.2\n"
			"[runner:a]\nafter = b:ready\ncommand = %s\n"
			"[runner:b]\ncommand = %s\n",
		it, it);

	rpc(h, "start_all", NULL);
	rpc(h, "stop_all", NULL);
	check(diary_is("+b\n+a\n-a\n-b\n"));
	herod_stop(h);
}

void
test_a_migration_ends_before_the_program_starts(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nrequires = migrate:exited\ncommand = sleep 1000\n"
	    "[runner:migrate]\ncommand = %s\n",
	    script("migrate",
		text("while [ ! -e %s ]; do sleep 0.05; done", here("go"))));

	wait_for(is_state(h, "web", "WAITING"));
	check_str(
	    text_at(status_of(h, "web"), "why"), "waits for migrate to end");
	check_int(pid_of(h, "web"), 0);
	write_file("go", "");
	wait_for(is_state(h, "web", "RUNNING"));
	check(is_state(h, "migrate", "EXITED"));
	herod_stop(h);
}

/* Pitfall 40. */
void
test_a_requirement_that_cannot_start_is_told_at_once(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nrequires = db\ncommand = sleep 1000\n"
		    "autostart = false\n"
		    "[runner:db]\ncommand = /no/such/program\n");
	json_t *error = rpc_error(h, "start_runner", "{s:s}", "name", "web");

	check_int(int_at(error, "code"), -32013);
	check_has(text_at(error, "message"),
	    "FATAL: requires db: FATAL: exec /no/such/program: No such file");
	herod_stop(h);
}

void
test_a_start_by_hand_starts_what_is_required_and_says_so(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nrequires = db\ncommand = sleep 1000\n"
		    "autostart = false\n"
		    "[runner:db]\ncommand = sleep 1000\nautostart = false\n");
	json_t *st = rpc(h, "start_runner", "{s:s}", "name", "web");
	struct ran ran;

	check_str(text_at(st, "state"), "RUNNING");
	check_str(text_at(st, "also_started.0"), "db");
	check(is_state(h, "db", "RUNNING"));
	ran = heroctl(h, "stop db");
	check_int(ran.status, 0);
	check(is_state(h, "web", "STOPPED"));
	check_str(text_at(status_of(h, "web"), "wanted"), "up");
	ran = heroctl(h, "start web");
	check_int(ran.status, 0);
	check_has(ran.err, "db: started for web");
	herod_stop(h);
}

/* Pitfall 21. */
void
test_one_that_waits_answers_stop_and_remove_at_once(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nrequires = db:exited\ncommand = false\n"
		    "[runner:db]\ncommand = sleep 1000\n");

	wait_for(is_state(h, "web", "WAITING"));
	check_str(
	    text_at(rpc(h, "stop_runner", "{s:s}", "name", "web"), "state"),
	    "STOPPED");
	rpc(h, "start_runner", "{s:s, s:b}", "name", "web", "wait", 0);
	check(is_state(h, "web", "WAITING"));
	rpc(h, "remove_runner", "{s:s}", "name", "web");
	rpc_error(h, "get_runner_status", "{s:s}", "name", "web");
	herod_stop(h);
}

void
test_one_that_waits_goes_on_waiting_after_kill_9(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nrequires = db:exited\ncommand = sleep 1000\n"
	    "[runner:db]\ncommand = %s\n",
	    script("db",
		text("while [ ! -e %s ]; do sleep 0.05; done", here("go"))));
	pid_t db;

	wait_for((db = pid_of(h, "db")) != 0);
	wait_for(is_state(h, "web", "WAITING"));
	herod_kill9(h);
	wait_for(is_state(h, "web", "WAITING"));
	check_int(pid_of(h, "db"), db);
	write_file("go", "");
	wait_for(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

void
test_a_cycle_refuses_the_file_with_its_path(void)
{
	struct ran ran;

	write_file("bad.conf",
	    "[runner:a]\ncommand = x\nrequires = b\n"
	    "[runner:b]\ncommand = x\nafter = a\n"
	    "[runner:c]\ncommand = x\nrequires = nobody\nwants = nobody\n");
	ran = run("$BUILD/herod --check -c %s", here("bad.conf"));
	check_int(ran.status, 2);
	check_has(ran.err,
	    "bad.conf:2: these runners wait for each other: "
	    "a -> b -> a");
	check_has(ran.err,
	    "bad.conf:8: runner c: requires: there is no runner "
	    "nobody");
	check(strstr(ran.err, "wants: ") == NULL);
}

void
test_a_cycle_refuses_add_runner_with_its_path(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:a]\nafter = b\ncommand = sleep 1000\n");
	json_t *error = rpc_error(h, "add_runner", "{s:{s:s, s:s, s:s}}",
	    "runner", "name", "b", "command", "true", "requires", "a");

	check_int(int_at(error, "code"), -32016);
	check_has(text_at(error, "message"), "a -> b -> a");
	error = rpc_error(h, "add_runner", "{s:{s:s, s:s, s:s}}", "runner",
	    "name", "b", "command", "true", "requires", "aa");
	check_int(int_at(error, "code"), -32010);
	check_has(text_at(error, "data.hint"), "did you mean a?");
	rpc_error(h, "get_runner_status", "{s:s}", "name", "b");
	herod_stop(h);
}
