/* Jobs that wait for room on the host (max_load, min_memory), or for what
 * their runner requires. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

#define MORE_THAN_THERE_IS "min_memory = 1000TB\n"

static const char *
worker(void)
{
	return text("%s/tests/integration/worker", getenv("HEROD_BUILD"));
}

/* Writes its payload down when it begins. */
#define EXEC \
	"[runner:x]\nkind = exec\ncommand = sh -c 'tee -a %s'\n", here("runs")
#define STDIO "[runner:w]\nkind = stdio\ncommand = %s\n", worker()

/* Both runners, each with more settings, and one that can be required. */
static struct herod *
start_with(const char *for_x, const char *for_w, const char *for_db)
{
	const char *x = text(EXEC), *w = text(STDIO);
	struct herod *h =
	    herod_start("[defaults]\nstartsecs = 0\nbackoff_base = 1000\n"
			"backoff_max = 1000\n"
			"%s%s%s%s[runner:db]\ncommand = sleep 1000\n%s",
		x, for_x, w, for_w, for_db);

	wait_for_redis(h);
	return h;
}

static struct herod *
start(const char *for_x, const char *for_w)
{
	return start_with(for_x, for_w, "");
}

static void
queue(struct herod *h, const char *runner, const char *id, const char *payload)
{
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:s}}", "runner", runner,
	    "job", "id", id, "payload", payload);
}

/* Is at work until there is a file of its name. */
static void
queue_long(struct herod *h, const char *id)
{
	queue(h, "w", id, text("wait-for %s", here(id)));
}

static void
end(struct herod *h, const char *id)
{
	write_file(here(id), "");
	check_str(job_outcome(h, id), "it is there");
}

/* Why no job begins; "" when they may. */
static const char *
held(struct herod *h, const char *runner)
{
	json_t *why = at(status_of(h, runner), "queue.held");

	check(why);
	return json_is_null(why) ? "" : json_string_value(why);
}

static int
times_in_log(const char *words)
{
	const char *at = herod_log();
	int n = 0;

	for (; (at = strstr(at, words)); at++)
		n++;
	return n;
}

static long long
depth(struct herod *h, const char *runner)
{
	return int_at(status_of(h, runner), "queue.depth");
}

/* It waits, and herod has looked whether it may begin. */
static void
check_waits(struct herod *h, const char *runner, const char *id)
{
	wait_for(times_in_log(text("runner %s: held: ", runner)) > 0);
	check(job_is(h, id, "dispatched"));
	check_int(depth(h, runner), 1);
}

/* Other settings in the file. */
static void
change(struct herod *h, const char *from, const char *to)
{
	const char *old = file_text(h->conf), *place = strstr(old, from);

	check(place);
	write_file(h->conf,
	    text(
		"%.*s%s%s", (int)(place - old), old, to, place + strlen(from)));
	rpc(h, "reload", NULL);
}

/* ---- the host ---- */

void
test_a_job_waits_for_memory_and_begins_when_that_is_enough(void)
{
	struct herod *h = start(MORE_THAN_THERE_IS, "");

	queue(h, "x", "a", "me");
	check_waits(h, "x", "a");
	check_has(held(h, "x"), "of memory left, below min_memory 1000TB");
	check_has(heroctl(h, "status").out, "\theld: ");
	check_has(
	    heroctl(h, "why x").out, "No job begins before that is over: ");
	check(!file_exists(here("runs")));
	/* It is not failed, and not begun by others who come later. */
	queue(h, "x", "b", "too");
	check_int(depth(h, "x"), 2);
	change(h, MORE_THAN_THERE_IS, "min_memory = 1\n");
	check_str(job_outcome(h, "a"), "me");
	check_str(job_outcome(h, "b"), "too");
	check_str(held(h, "x"), "");
	check_int(times_in_log("runner x: held: "), 1);
	check_int(times_in_log("runner x: not held any more"), 1);
	herod_stop(h);
}

void
test_who_waits_is_known_when_redis_says_it_again(void)
{
	struct herod *h = start(MORE_THAN_THERE_IS, "");
	const char *s = here("state/redis/redis.sock");

	redis(s, "ACL SETUSER default -llen");
	queue(h, "x", "a", "me");
	wait_for(strstr(redis(s, "ACL LOG"), "llen"));
	check_int(times_in_log("runner x: held: "), 0);
	redis(s, "ACL SETUSER default +llen");
	check_waits(h, "x", "a");
	herod_stop(h);
}

static double
load(void)
{
	return strtod(file_text("/proc/loadavg"), NULL);
}

void
test_jobs_at_work_go_on_while_the_load_holds_others(void)
{
	struct herod *h = start("", "concurrency = 2\n");
	pid_t busy = run_begin("exec sh -c 'while :; do :; done'");

	queue_long(h, "a");
	wait_for(job_is(h, "a", "started"));
	wait_for(load() > 0.05);
	change(h, "concurrency = 2\n", "concurrency = 2\nmax_load = 0.01\n");
	queue_long(h, "b");
	check_waits(h, "w", "b");
	check_has(held(h, "w"), " is above max_load 0.01");
	end(h, "a");
	check(job_is(h, "b", "dispatched"));
	change(h, "max_load = 0.01", "max_load = 100000");
	wait_for(job_is(h, "b", "started"));
	end(h, "b");
	kill(busy, SIGKILL);
	run_end(busy);
	herod_stop(h);
}

void
test_a_runner_of_the_same_queue_that_is_not_held_takes_it(void)
{
	struct herod *h = start(MORE_THAN_THERE_IS, "queue = x\n");

	queue(h, "x", "a", "echo me");
	check_str(job_outcome(h, "a"), "me");
	check_str(text_at(rpc(h, "job.get", "[s]", "a"), "runner"), "x");
	check(!file_exists(here("runs")));
	herod_stop(h);
}

/* Here time itself is what is measured. */
static bool
sleeps_for_two_looks(struct herod *h)
{
	const char *before =
	    proc_field(herod_pid(h), "status", "voluntary_ctxt_switches");

	poll(NULL, 0, 2500);
	return strcmp(proc_field(
			  herod_pid(h), "status", "voluntary_ctxt_switches"),
		   before) == 0;
}

void
test_nobody_looks_while_no_job_waits(void)
{
	struct herod *h = start(MORE_THAN_THERE_IS, "");

	wait_for(sleeps_for_two_looks(h));
	queue(h, "x", "a", "me");
	check_waits(h, "x", "a");
	rpc(h, "job.stop", "[s]", "a");
	wait_for(
	    times_in_log("runner x: not held any more: no job waits") == 1);
	wait_for(sleeps_for_two_looks(h));
	/* The next one is held, and let go, all the same. */
	queue(h, "x", "b", "me");
	wait_for(times_in_log("runner x: held: ") == 2);
	change(h, MORE_THAN_THERE_IS, "");
	check_str(job_outcome(h, "b"), "me");
	herod_stop(h);
}

void
test_no_process_is_started_for_a_job_that_is_held(void)
{
	struct herod *h = start("",
	    MORE_THAN_THERE_IS "numprocs = 0\nnumprocs_max = 2\n"
			       "scale_wait = 0.1\n");

	queue(h, "w", "a", "echo me");
	check_waits(h, "w", "a");
	check_has(held(h, "w"), "min_memory");
	/* Long enough for several looks at who is needed. */
	wait_for(
	    json_number_value(at(status_of(h, "w"), "queue.oldest_age")) > 0.5);
	check_int(pid_of(h, "w"), 0);
	change(h, MORE_THAN_THERE_IS, "");
	check_str(job_outcome(h, "a"), "me");
	herod_stop(h);
}

/* Pitfall 32. */
void
test_a_held_job_is_held_by_the_next_herod_too(void)
{
	struct herod *h = start(MORE_THAN_THERE_IS, "");

	queue(h, "x", "a", "me");
	check_waits(h, "x", "a");
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(times_in_log("runner x: held: ") == 2);
	check(job_is(h, "a", "dispatched"));
	change(h, MORE_THAN_THERE_IS, "");
	check_str(job_outcome(h, "a"), "me");
	herod_stop(h);
}

void
test_who_takes_jobs_by_himself_cannot_be_held_by_the_host(void)
{
	struct ran ran;

	write_file("bad.conf",
	    "[runner:a]\nkind = redis\ncommand = x\nmax_load = 1\n"
	    "[runner:b]\nkind = redis\ncommand = x\nmin_memory = 1MB\n"
	    "[runner:c]\nkind = exec\ncommand = x\nmax_load = -1\n");
	ran = run("$BUILD/herod --check -c %s", here("bad.conf"));
	check_int(ran.status, 2);
	check_has(ran.err,
	    "runner a: max_load is for kind exec or stdio: programs of kind "
	    "redis take jobs by themselves");
	check_has(ran.err, "runner b: min_memory is for kind exec or stdio");
	check_has(ran.err, "bad.conf:12: max_load: ");
}

/* ---- what it requires ---- */

/* Its end is a failed start, and the next one is far away. */
#define FRAGILE "startsecs = 1000\n"

static void
break_db(struct herod *h)
{
	signal_runner(h, "db", SIGKILL);
	wait_for(is_state(h, "db", "BACKOFF"));
}

static void
mend_db(struct herod *h)
{
	rpc(h, "start_runner", "{s:s, s:b}", "name", "db", "wait", false);
}

void
test_jobs_wait_while_what_they_require_is_down(void)
{
	struct herod *h = start_with("requires = db\n", "", FRAGILE);

	break_db(h);
	queue(h, "x", "a", "me");
	check_waits(h, "x", "a");
	check_str(held(h, "x"), "requires db, which is BACKOFF");
	check(is_state(h, "x", "RUNNING"));
	mend_db(h);
	check_str(job_outcome(h, "a"), "me");
	check_str(held(h, "x"), "");
	check_int(times_in_log("runner x: held: requires db"), 1);
	check_int(times_in_log("runner x: not held any more"), 1);
	herod_stop(h);
}

void
test_a_job_at_work_goes_on_without_what_it_requires(void)
{
	struct herod *h =
	    start_with("", "concurrency = 2\nrequires = db\n", FRAGILE);
	pid_t pid;

	wait_for((pid = pid_of(h, "w")) != 0);
	queue_long(h, "a");
	wait_for(job_is(h, "a", "started"));
	break_db(h);
	queue_long(h, "b");
	check_waits(h, "w", "b");
	end(h, "a");
	check(job_is(h, "b", "dispatched"));
	check_int(pid_of(h, "w"), pid);
	mend_db(h);
	wait_for(job_is(h, "b", "started"));
	end(h, "b");
	herod_stop(h);
}

void
test_a_requirement_that_was_given_up_holds_jobs_too(void)
{
	struct herod *h =
	    start_with("requires = db\n", "", "autorestart = never\n");

	wait_for(is_state(h, "db", "RUNNING"));
	signal_runner(h, "db", SIGKILL);
	wait_for(is_state(h, "db", "EXITED"));
	queue(h, "x", "a", "me");
	check_waits(h, "x", "a");
	check_str(held(h, "x"), "requires db, which is EXITED");
	change(h, "requires = db\n", "wants = db\n");
	check_str(job_outcome(h, "a"), "me");
	herod_stop(h);
}
