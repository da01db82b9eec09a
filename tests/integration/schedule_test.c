/*
 * Schedules: ticks become jobs, once each, whatever happens to herod, Redis
 * and the clock; overlap, reload, runs by hand.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

/* A runner that writes the id of each job to "runs", then does as body says,
 * and a schedule for it; more may begin with [herod]. */
static const char *
conf_of(const char *more, const char *body, const char *schedule)
{
	return text("%s\n" AT_ONCE "[runner:it]\nkind = exec\nconcurrency = 4\n"
		    "drain_timeout = 0.1\ncommand = %s\n%s",
	    more,
	    script("it", text("echo $JOB_ID >>%s\n%s", here("runs"), body)),
	    schedule);
}

static struct herod *
start_it(const char *more, const char *body, const char *schedule)
{
	struct herod *h = herod_start("%s", conf_of(more, body, schedule));

	wait_for_redis(h);
	return h;
}

static json_t *
schedule(struct herod *h, const char *name)
{
	json_t *list = rpc(h, "schedules.list", NULL), *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (strcmp(text_at(one, "name"), name) == 0)
			return one;
	return NULL;
}

static long long
count(struct herod *h, const char *name, const char *what)
{
	return int_at(schedule(h, name), text("counts.%s", what));
}

static bool
is_outcome(struct herod *h, const char *name, const char *outcome)
{
	json_t *word = at(schedule(h, name), "last.outcome");

	return word && strcmp(json_string_value(word), outcome) == 0;
}

static int
count_runs(void)
{
	return count_lines(here("runs"));
}

/* No line of "runs" stands there twice. */
static void
check_runs_are_different(void)
{
	struct ran r = run("sort %s | uniq -d", here("runs"));

	check_str(r.out, "");
}

/* A redis-server of the test's own, and the lines that make herod use it. */
static const char *
with_redis(pid_t *pid)
{
	*pid = redis_start(here("redis.sock"));
	return text("[herod]\nredis_url = unix://%s", here("redis.sock"));
}

static void
end_redis(pid_t pid)
{
	kill(pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
}

#define EACH_SECOND "[schedule:s]\nrunner = it\nevery = 1s\n"
#define EACH_YEAR "[schedule:s]\nrunner = it\ncron = @yearly\ntimezone = UTC\n"

/* ---- ticks ---- */

void
test_each_tick_is_a_job_named_after_it(void)
{
	struct herod *h = start_it("",
	    text("{ echo $CALLER_ID $WHAT; cat; } >%s.$$; mv %s.$$ %s",
		here("in"), here("in"), here("in")),
	    EACH_SECOND
	    "payload = two\n words\nenv_vars = WHAT=\"x\"\npriority = high\n");
	json_t *it, *job;
	const char *id;

	wait_for(count_runs() >= 3);
	check_runs_are_different();
	it = schedule(h, "s");
	check_str(text_at(it, "last.outcome"), "queued");
	check(int_at(it, "counts.queued") >= 3);
	check_int(int_at(it, "counts.elsewhere"), 0);
	check(strcmp(text_at(it, "next"), text_at(it, "last.tick")) > 0);
	id = text_at(it, "last.job");
	check_int((int)strlen(id), (int)strlen("s:2026-11-28T00:00:00Z"));
	check(strncmp(id + 2, text_at(it, "last.tick"), 19) == 0);
	rpc(h, "job.wait", "[s]", id);
	job = rpc(h, "job.get", "[s]", id);
	check_str(text_at(job, "status"), "finished");
	check_str(text_at(job, "priority"), "high");
	check_str(text_at(job, "payload"), "two\nwords");
	check_str(file_text(here("in")), "schedule:s x\ntwo\nwords");
	herod_stop(h);
}

void
test_one_that_is_disabled_runs_by_hand_only(void)
{
	struct herod *h =
	    start_it("", "", EACH_SECOND "enabled = false\npayload = x\n");
	struct ran r = heroctl(h, "schedule run s");
	const char *id;
	json_t *e;

	check_int(r.status, 0);
	id = text("%.*s", (int)strcspn(r.out, "\n"), r.out);
	check(strncmp(id, "s:", 2) == 0);
	rpc(h, "job.wait", "[s]", id);
	check_str(file_text(here("runs")), text("%s\n", id));
	check_str(text_at(schedule(h, "s"), "name"), "s");
	check(json_is_null(at(schedule(h, "s"), "next")));
	check(json_is_null(at(schedule(h, "s"), "last")));
	r = heroctl(h, "schedules");
	check_has(r.out, "s\tit\tevery 1s\tdisabled\t");
	e = rpc_error(h, "schedule.run", "[s]", "none");
	check_int(int_at(e, "code"), -32017);
	check_has(text_at(e, "message"), "there is no schedule none");
	check_int(heroctl(h, "schedule run none").status, 4);
	herod_stop(h);
}

/* By name and tick, so for the next herod, too. */
void
test_jitter_is_the_same_for_every_herod(void)
{
	struct herod *h = start_it("", "",
	    "[schedule:a]\nrunner = it\ncron = @yearly\ntimezone = UTC\n"
	    "jitter = 9h\n"
	    "[schedule:b]\nrunner = it\ncron = @yearly\ntimezone = UTC\n"
	    "jitter = 9h\n");
	const char *a = text_at(schedule(h, "a"), "next");

	check_has(a, "-01-01T0");
	check(strcmp(a, text_at(schedule(h, "b"), "next")) != 0);
	herod_stop(h);
	herod_again(h);
	check_str(text_at(schedule(h, "a"), "next"), a);
	herod_stop(h);
}

/* ---- overlap ---- */

void
test_forbid_skips_ticks_while_the_job_before_is_not_over(void)
{
	struct herod *h = start_it("",
	    text("while [ ! -f %s ]; do sleep 0.05; done", here("go")),
	    EACH_SECOND "overlap = forbid\n");
	const char *before;
	json_t *e;
	int fd;

	wait_for(count_runs() == 1);
	before = text("%.*s", (int)strcspn(file_text(here("runs")), "\n"),
	    file_text(here("runs")));
	/* Who listens is told. */
	fd = door_unix(h);
	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"subscribe\",\"id\":1,"
	    "\"params\":{\"topics\":[\"schedule.s\"]}}\n");
	recv_json(fd);
	do
		e = recv_json(fd);
	while (strcmp(text_at(e, "params.what"), "skipped") != 0);
	check_str(text_at(e, "params.topic"), "schedule.s");
	check_has(text_at(e, "params.why"), before);
	close(fd);
	wait_for(count(h, "s", "skipped") >= 2);
	check_int(count_runs(), 1);
	check(is_outcome(h, "s", "skipped"));
	e = rpc_error(h, "schedule.run", "[s]", "s");
	check_int(int_at(e, "code"), -32022);
	check_has(text_at(e, "message"), before);
	write_file(here("go"), "");
	wait_for(count_runs() >= 3);
	check_runs_are_different();
	herod_stop(h);
}

static bool
is_status(struct herod *h, const char *id, const char *status)
{
	return strcmp(json_string_value(rpc(h, "job.status", "[s]", id)),
		   status) == 0;
}

void
test_replace_cancels_the_job_before(void)
{
	struct herod *h =
	    start_it("", "exec sleep 1000", EACH_SECOND "overlap = replace\n");
	const char *first, *by_hand;

	wait_for(count_runs() >= 3);
	first = text("%.*s", (int)strcspn(file_text(here("runs")), "\n"),
	    file_text(here("runs")));
	check(is_status(h, first, "cancelled"));
	check_runs_are_different();
	/* By hand it is so, too. */
	by_hand = json_string_value(rpc(h, "schedule.run", "[s]", "s"));
	check(int_at(rpc(h, "get_all_status", NULL), "jobs.started") <= 1);
	wait_for(is_status(h, by_hand, "cancelled"));
	herod_stop(h);
}

/* ---- several herods ---- */

/* Another one on the same Redis with the same file; to be ended by
 * end_other(). */
static struct herod
start_other(const struct herod *h)
{
	struct herod other = *h;

	other.socket = here("other/s");
	other.keeper =
	    run_begin("mkdir -p %s; exec $BUILD/herod -c %s --state_dir %s "
		      "--runtime_dir %s --node other --listen unix:%s >%s 2>&1",
		here("other"), h->conf, here("other/state"), here("other"),
		other.socket, here("other/log"));
	wait_for(
	    run("$BUILD/heroctl -s unix:%s ping", other.socket).status == 0);
	return other;
}

static void
end_other(const struct herod *other)
{
	kill(other->keeper, SIGTERM);
	check_int(run_end(other->keeper), 0);
}

/* Ticks of "s" that a herod knows the outcome of. */
static long long
count_decided(struct herod *h)
{
	return count(h, "s", "queued") + count(h, "s", "elsewhere") +
	    count(h, "s", "skipped");
}

void
test_two_herods_make_each_tick_once(void)
{
	struct herod *h, other;
	pid_t redis;

	/* Jobs are forgotten at once: only the tick itself is known. */
	h = start_it(with_redis(&redis), "",
	    EACH_SECOND "result_ttl = 0.001\n"
			"[schedule:t]\nrunner = it\nevery = 1s\n"
			"jitter = 500ms\nresult_ttl = 0.001\n");
	other = start_other(h);
	wait_for(count_decided(h) >= 4 && count_decided(&other) >= 4);
	wait_for(
	    count(h, "s", "elsewhere") + count(&other, "s", "elsewhere") >= 3);
	wait_for(count_runs() >= 8);
	end_other(&other);
	herod_stop(h);
	check_runs_are_different();
	end_redis(redis);
}

/* Whoever of the two has it in hand. */
void
test_two_herods_replace_the_job_before(void)
{
	struct herod *h, other;
	const char *line;
	pid_t redis;

	h = start_it(with_redis(&redis), "exec sleep 1000",
	    EACH_SECOND "overlap = replace\n");
	other = start_other(h);
	wait_for(count_decided(h) >= 3 && count_decided(&other) >= 3);
	wait_for(count_runs() >= 5);
	check_runs_are_different();
	line = file_text(here("runs"));
	check(is_status(
	    h, text("%.*s", (int)strcspn(line, "\n"), line), "cancelled"));
	check(json_array_size(at(
		  rpc(h, "jobs.list", "{s:s}", "status", "started"), "jobs")) <=
	    1);
	end_other(&other);
	herod_stop(h);
	end_redis(redis);
}

/* ---- what was missed ---- */

/* As if herod had not run for two years and more. */
static void
seem_long_ago(void)
{
	redis(here("redis.sock"), "hset herod:schedule:s tick 1700000000000");
}

/* Ticks of this and that year; this one's began in January. */
static const char *
new_year(void)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	return text("s:%d-01-01T00:00:00Z", tm.tm_year + 1900);
}

void
test_persistent_makes_up_for_the_last_tick_that_was_missed(void)
{
	pid_t server;
	const char *herods = with_redis(&server);
	struct herod *h;

	seem_long_ago();
	h = start_it(herods, "", EACH_YEAR "persistent = true\n");
	wait_for(count_runs() == 1);
	check_str(file_text(here("runs")), text("%s\n", new_year()));
	wait_for(is_outcome(h, "s", "queued"));
	herod_stop(h);
	/* Once. */
	herod_again(h);
	wait_for_redis(h);
	wait_for(is_outcome(h, "s", "queued"));
	check_str(text_at(schedule(h, "s"), "last.job"), new_year());
	check_int(count(h, "s", "queued"), 0);
	check_int(count_runs(), 1);
	herod_stop(h);
	end_redis(server);
}

void
test_without_it_what_was_missed_is_missed(void)
{
	pid_t server;
	const char *herods = with_redis(&server);
	struct herod *h;

	seem_long_ago();
	h = start_it(herods, "", EACH_YEAR);
	wait_for(count(h, "s", "missed") == 1);
	check_int(count_runs(), 0);
	check_int(count(h, "s", "queued"), 0);
	herod_stop(h);
	end_redis(server);
}

/* Nobody has missed the ticks of a schedule that was not there. */
void
test_a_new_schedule_makes_up_for_nothing(void)
{
	pid_t server;
	struct herod *h =
	    start_it(with_redis(&server), "", EACH_YEAR "persistent = true\n");

	wait_for(
	    atoll(redis(here("redis.sock"), "hget herod:schedule:s tick")) > 0);
	herod_stop(h);
	herod_again(h);
	wait_for_redis(h);
	wait_for(json_string_value(rpc(h, "schedule.run", "[s]", "s")) != NULL);
	wait_for(count_runs() == 1);
	check_int(count(h, "s", "queued"), 0);
	check_int(count(h, "s", "missed"), 0);
	herod_stop(h);
	end_redis(server);
}

/* A herod that dies is there again at once: a tick in between is not lost,
 * persistent or not. */
void
test_a_tick_during_a_kill_of_herod_is_made_up_for(void)
{
	pid_t server;
	struct herod *h = start_it(with_redis(&server), "", EACH_YEAR);

	wait_for(
	    atoll(redis(here("redis.sock"), "hget herod:schedule:s tick")) > 0);
	seem_long_ago();
	herod_kill9(h);
	wait_for(count_runs() == 1);
	check_str(file_text(here("runs")), text("%s\n", new_year()));
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(is_outcome(h, "s", "queued"));
	check_int(count(h, "s", "queued"), 0);
	check_int(count_runs(), 1);
	herod_stop(h);
	end_redis(server);
}

void
test_kills_of_herod_double_no_tick(void)
{
	struct herod *h = start_it("", "", EACH_SECOND);
	int i, n;

	for (i = 0; i < 3; i++) {
		n = count_runs();
		wait_for(count_runs() > n);
		herod_kill9(h);
	}
	n = count_runs();
	wait_for(count_runs() > n);
	check_runs_are_different();
	herod_stop(h);
}

/* ---- Redis away ---- */

void
test_a_tick_waits_for_redis(void)
{
	pid_t server;
	struct herod *h = start_it(with_redis(&server), "", EACH_SECOND);
	int n;

	wait_for(count_runs() >= 1);
	end_redis(server);
	wait_for(is_outcome(h, "s", "waiting"));
	check_has(text_at(schedule(h, "s"), "last.why"), "Redis");
	/* Of those that come meanwhile only the last. */
	wait_for(count(h, "s", "missed") >= 2);
	n = count_runs();
	server = redis_start(here("redis.sock"));
	wait_for(count_runs() > n);
	wait_for(is_outcome(h, "s", "queued"));
	check_runs_are_different();
	herod_stop(h);
	end_redis(server);
}

/* ---- pitfall 26: the wall clock is set ---- */

/* Unix seconds of the next tick, by a clock that is right. */
static double
next_tick(struct herod *h)
{
	struct tm tm = {0};

	check(strptime(text_at(schedule(h, "s"), "next"), "%Y-%m-%dT%H:%M:%S",
		  &tm) != NULL);
	return (double)timegm(&tm);
}

void
test_a_clock_that_is_set_fires_no_storm_and_loses_no_schedule(void)
{
	volatile long long *wall_clock;
	struct herod *h = herod_start_with(with_fake_clock(&wall_clock), "",
	    "%s", conf_of("", "", "[schedule:s]\nrunner = it\nevery = 20d\n"));
	double period = 20 * 86400, first;

	wait_for_redis(h);
	first = next_tick(h);
	/* Over five ticks: one job. */
	*wall_clock = 5 * (long long)period;
	wait_for(count(h, "s", "queued") == 1);
	wait_for(next_tick(h) > first + 4 * period);
	check_int(count(h, "s", "missed"), 1);
	wait_for(count_runs() == 1);
	/* Back: what comes next is what a right clock says. */
	*wall_clock = 0;
	wait_for(next_tick(h) < first + period / 2);
	check_int(count(h, "s", "queued"), 1);
	/* And it comes, though a later one has been seen. */
	*wall_clock = (long long)(first - (double)time(NULL)) + 1;
	wait_for(count(h, "s", "queued") == 2);
	wait_for(count_runs() == 2);
	check_int(count(h, "s", "missed"), 1);
	check_runs_are_different();
	herod_stop(h);
}

/* ---- the file ---- */

static const char *
names(json_t *done, const char *member)
{
	const char *all = "";
	json_t *name;
	size_t i;

	json_array_foreach (at(done, text("schedules.%s", member)), i, name)
		all = text("%s%s ", all, json_string_value(name));
	return all;
}

void
test_a_reload_adds_changes_and_removes_them(void)
{
	struct herod *h = start_it("", "",
	    EACH_YEAR "[schedule:b]\nrunner = it\ncron = @yearly\n"
		      "[schedule:c]\nrunner = it\nevery = 7d\n");
	const char *s = here("state/redis/redis.sock");
	json_t *done;
	struct ran r;

	wait_for(atoi(redis(s, "EXISTS herod:schedule:s")) == 1);
	write_file(h->conf,
	    conf_of("", "",
		"[schedule:c]\nrunner = it\nevery = 7d\n"
		"[schedule:d]\nrunner = it\nevery = 1s\npayload = new\n"
		"[schedule:b]\nrunner = it\nevery = 1s\n"));
	done = rpc(h, "reload", "{s:b}", "dry_run", 1);
	check_str(names(done, "added"), "d ");
	check_str(names(done, "changed"), "b ");
	check_str(names(done, "removed"), "s ");
	check(schedule(h, "d") == NULL);
	check_str(text_at(schedule(h, "b"), "cron"), "@yearly");
	r = heroctl(h, "reload");
	check_int(r.status, 0);
	check_has(r.out, "schedule added\td\n");
	check_has(r.out, "schedule changed\tb\n");
	check_has(r.out, "schedule removed\ts\n");
	check(schedule(h, "s") == NULL);
	wait_for(atoi(redis(s, "TTL herod:schedule:s")) > 0);
	check(json_is_null(at(schedule(h, "b"), "cron")));
	wait_for(count(h, "b", "queued") >= 1);
	wait_for(count(h, "d", "queued") >= 1);
	check_int(count(h, "c", "queued"), 0);
	/* It is in force for the herod after this one, too. */
	herod_kill9(h);
	wait_for_redis(h);
	check(schedule(h, "s") == NULL);
	wait_for(count(h, "d", "queued") >= 1);
	r = heroctl(h, "get-config");
	check_has(r.out, "[schedule:d]\n");
	check_has(r.out, "payload = new\n");
	herod_stop(h);
}

void
test_mistakes_are_refused_with_their_line(void)
{
	struct ran r;

	write_file("c.conf",
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:it]\nkind = exec\ncommand = cat\n"
	    "[schedule:a]\nrunner = none\nevery = 1s\n"
	    "[schedule:b]\nrunner = web\nevery = 1s\n"
	    "[schedule:c]\nrunner = it\ncron = 0 0 * * bad\n"
	    "[schedule:d]\nrunner = it\n"
	    "[schedule:e]\nrunner = it\ncron = @daily\nevery = 5s\n"
	    "[schedule:f]\nrunner = it\ncron = @daily\ntimezone = Mars\n"
	    "[schedule:g]\nrunner = it\nevery = 5s\nunique_key = x\nid = y\n"
	    "[schedule:h]\nrunner = it\nevery = 5s\njitter = 5s\n"
	    "[schedule:i]\nrunner = it\nevery = 0.5s\n"
	    "[schedule:j]\nrunner = it\nevery = 1s\ntimezone = UTC\n"
	    "[schedule:k]\nevery = 1s\n"
	    "[schedule:l]\nrunner = it\ncron = 0 0 30 2 *\n"
	    "[schedule:m]\nrunner = it\nevery = 1s\n"
	    "env_vars = LD_PRELOAD=\"x\"\n");
	r = run("$BUILD/herod --check -c c.conf");
	check_int(r.status, 2);
	check_has(r.err, "c.conf:7: schedule a: there is no runner none");
	check_has(
	    r.err, "c.conf:10: schedule b: runner web is of kind service");
	check_has(
	    r.err, "c.conf:14: cron: column 9: 'bad' is not a day of the week");
	check_has(
	    r.err, "c.conf:16: schedule d: it has neither cron nor every");
	check_has(r.err, "c.conf:18: schedule e: it has both cron and every");
	check_has(r.err, "c.conf:24: timezone: 'Mars' is not a time zone");
	check_has(r.err, "c.conf:28: unique_key: is about one job");
	check_has(r.err, "c.conf:29: id: is about one job");
	check_has(r.err, "c.conf:31: schedule h: jitter is 5s; wanted less");
	check_has(r.err, "c.conf:36: every: 0.5 is not within 1..");
	check_has(r.err, "c.conf:38: schedule j: timezone is for cron");
	check_has(r.err, "c.conf:42: schedule k: runner is missing");
	check_has(r.err, "c.conf:45: cron: '0 0 30 2 *' never comes");
	check_has(r.err, "c.conf:47: env_vars: LD_PRELOAD cannot be set by a");
	check_int(run("$BUILD/heroctl check c.conf").status, 1);
}
