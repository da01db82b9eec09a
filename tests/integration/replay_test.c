/*
 * Another Redis takes the place of the one before, without the last of what
 * that one had acknowledged: herod tells it again (redis_replay).
 *
 * herod dials a symbolic link.  The successor is a replica that has heard
 * nothing more since fork_off(), which is: a dump of that moment.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

struct fixture {
	struct herod *h;
	pid_t redis;
};

static void
dial(const char *name)
{
	run("ln -sfn %s %s", here(name), here("redis.sock"));
}

/* One process for slow jobs, which end when "go" is there; each tells its id.
 */
static void
start(struct fixture *f, const char *settings)
{
	f->redis = redis_start_in(here("one.sock"), here("."));
	dial("one.sock");
	f->h = herod_start_with("",
	    text("--redis_url unix://%s %s", here("redis.sock"), settings),
	    AT_ONCE "[runner:slow]\nkind = exec\ncommand = %s\n"
		    "[runner:fast]\nkind = exec\ncommand = %s\n"
		    "[runner:moody]\nkind = exec\ncommand = %s\n",
	    script("slow",
		text("echo $JOB_ID >>%s\n"
		     "until [ -e %s ]; do sleep 0.02; done; echo slowly\n",
		    here("begun"), here("go"))),
	    script("fast", text("echo $JOB_ID >>%s; echo done", here("begun"))),
	    script("moody", text("[ -e %s ] && echo well", here("go"))));
	wait_for_redis(f->h);
}

static void
queue_job(struct fixture *f, const char *runner, const char *id)
{
	rpc(f->h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", runner,
	    "job", "id", id);
}

static int
begun(const char *id)
{
	return atoi(run("grep -cx %s %s", id, here("begun")).out);
}

static void
fork_off(void)
{
	check_str(redis(here("one.sock"), "save"), "OK\n");
	run("mkdir %s && cp %s %s", here("two"), here("dump.rdb"), here("two"));
}

static void
fail_over(struct fixture *f)
{
	kill(f->redis, SIGKILL);
	wait_for(
	    json_is_false(at(rpc(f->h, "get_all_status", NULL), "redis.up")));
	f->redis = redis_start_in(here("two.sock"), here("two"));
	dial("two.sock");
	wait_for_redis(f->h);
}

/* What is settled is behind what a client is told. */
static bool
is_settled(void)
{
	return strcmp(redis(here("one.sock"), "keys herod:own:fast:*"), "\n") ==
	    0;
}

/* What the successor answers. */
static bool
knows(const char *command, const char *answer)
{
	return strcmp(redis(here("two.sock"), "%s", command), answer) == 0;
}

/* ---- what comes after that moment ---- */

void
test_new_jobs_are_known_to_the_successor(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	fork_off();
	queue_job(&f, "slow", "behind");
	rpc(f.h, "queue_job_to_runner", "{s:s, s:{s:s, s:s}}", "runner", "slow",
	    "job", "id", "high", "priority", "high");
	rpc(f.h, "queue_job_to_runner", "{s:s, s:{s:s, s:f}}", "runner", "fast",
	    "job", "id", "later", "delay", 3600.);
	fail_over(&f);
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "at-work"), "slowly");
	check_str(job_outcome(f.h, "behind"), "slowly");
	check_str(job_outcome(f.h, "high"), "slowly");
	wait_for(job_is(f.h, "later", "scheduled"));
	check_str(run("sort %s | uniq -d", here("begun")).out, "");
	herod_stop(f.h);
}

void
test_what_is_over_is_not_done_again(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "behind");
	fork_off();
	queue_job(&f, "fast", "new");
	check_str(job_outcome(f.h, "new"), "done");
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "at-work"), "slowly");
	check_str(job_outcome(f.h, "behind"), "slowly");
	fail_over(&f);
	wait_for(job_is(f.h, "behind", "finished"));
	wait_for(job_is(f.h, "new", "finished"));
	wait_for(job_is(f.h, "at-work", "finished"));
	check_str(job_outcome(f.h, "behind"), "slowly");
	queue_job(&f, "slow", "last");
	check_str(job_outcome(f.h, "last"), "slowly");
	check_str(run("sort %s | uniq -d", here("begun")).out, "");
	herod_stop(f.h);
}

void
test_who_was_cancelled_or_deleted_stays_so(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "old");
	fork_off();
	queue_job(&f, "slow", "new");
	rpc(f.h, "job.stop", "[s]", "old");
	rpc(f.h, "job.stop", "[s]", "new");
	rpc(f.h, "job.delete", "[s]", "new");
	fail_over(&f);
	write_file(here("go"), "");
	queue_job(&f, "slow", "last");
	check_str(job_outcome(f.h, "last"), "slowly");
	check(job_is(f.h, "old", "cancelled"));
	check_int(
	    int_at(rpc_error(f.h, "job.status", "[s]", "new"), "code"), -32020);
	check_int(begun("old") + begun("new"), 0);
	herod_stop(f.h);
}

void
test_who_was_purged_stays_so(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "old");
	fork_off();
	queue_job(&f, "slow", "new");
	check_int(int_at(rpc(f.h, "jobs.purge", "{s:s, s:s}", "runner", "slow",
			     "status", "dispatched"),
		      "jobs"),
	    2);
	fail_over(&f);
	write_file(here("go"), "");
	queue_job(&f, "slow", "last");
	check_str(job_outcome(f.h, "last"), "slowly");
	check(job_is(f.h, "old", "cancelled"));
	check_int(begun("old") + begun("new"), 0);
	herod_stop(f.h);
}

/* What was said first about a job does not undo what was said last. */
void
test_who_was_cancelled_and_is_tried_again_runs(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "old");
	fork_off();
	queue_job(&f, "slow", "new");
	rpc(f.h, "job.stop", "[s]", "old");
	rpc(f.h, "job.stop", "[s]", "new");
	rpc(f.h, "job.retry", "[s]", "old");
	rpc(f.h, "job.retry", "[s]", "new");
	rpc(f.h, "jobs.purge", "{s:s, s:s}", "runner", "slow", "status",
	    "dispatched");
	check_int(int_at(rpc(f.h, "jobs.retry", "{s:s, s:s}", "runner", "slow",
			     "status", "cancelled"),
		      "jobs"),
	    2);
	fail_over(&f);
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "old"), "slowly");
	check_str(job_outcome(f.h, "new"), "slowly");
	herod_stop(f.h);
}

static bool
is_paused(struct fixture *f, const char *runner)
{
	return json_is_true(at(status_of(f->h, runner), "queue.paused"));
}

void
test_a_paused_queue_stays_so_and_a_resumed_one_goes_on(void)
{
	struct fixture f;

	start(&f, "");
	rpc(f.h, "pause_queue", "[s]", "fast");
	fork_off();
	rpc(f.h, "pause_queue", "[s]", "slow");
	rpc(f.h, "resume_queue", "[s]", "fast");
	queue_job(&f, "slow", "waits");
	fail_over(&f);
	queue_job(&f, "fast", "runs");
	check_str(job_outcome(f.h, "runs"), "done");
	check(is_paused(&f, "slow") && !is_paused(&f, "fast"));
	check(job_is(f.h, "waits", "dispatched"));
	write_file(here("go"), "");
	rpc(f.h, "resume_queue", "[s]", "slow");
	check_str(job_outcome(f.h, "waits"), "slowly");
	herod_stop(f.h);
}

/* Another herod's word, which came later, is the last one. */
void
test_what_another_herod_has_changed_since_is_not_undone(void)
{
	struct fixture f;
	struct herod *other;

	start(&f, "");
	other = herod_start_beside("-other",
	    "[herod]\nnode = other\nredis_url = unix://%s\n" AT_ONCE,
	    here("redis.sock"));
	wait_for_redis(other);
	fork_off();
	rpc(f.h, "pause_queue", "[s]", "slow");
	rpc(f.h, "register_runner", "{s:s, s:s}", "name", "far", "queue", "b");
	wait_for(strstr(heroctl(other, "status").out, "far"));
	rpc(other, "resume_queue", "[s]", "slow");
	rpc(other, "unregister_runner", "[s]", "far");
	wait_for(!is_paused(&f, "slow"));
	wait_for(!strstr(heroctl(f.h, "status").out, "far"));
	herod_stop(other);
	fail_over(&f);
	wait_for(knows("hgetall herod:runners", "\n"));
	check(!is_paused(&f, "slow"));
	herod_stop(f.h);
}

void
test_registrations_are_known_to_the_successor(void)
{
	struct fixture f;

	start(&f, "");
	rpc(f.h, "register_runner", "{s:s, s:s}", "name", "gone", "queue", "a");
	fork_off();
	rpc(f.h, "register_runner", "{s:s, s:s}", "name", "far", "queue", "b");
	rpc(f.h, "unregister_runner", "[s]", "gone");
	fail_over(&f);
	wait_for(knows("hgetall herod:runners", "far\nb\n"));
	wait_for(at(status_of(f.h, "far"), "queue") != NULL);
	herod_stop(f.h);
}

void
test_who_was_started_or_tried_again_is_so(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "moody", "failed");
	check_has(job_outcome(f.h, "failed"), "exit");
	rpc(f.h, "pause_queue", "[s]", "moody");
	rpc(f.h, "jobs.create", "{s:{s:s, s:s}}", "job", "runner", "fast", "id",
	    "held");
	fork_off();
	rpc(f.h, "job.retry", "[s]", "failed");
	write_file(here("go"), "");
	rpc(f.h, "jobs.create", "{s:{s:s, s:s}}", "job", "runner", "fast", "id",
	    "new");
	rpc(f.h, "job.start", "[s]", "held");
	fail_over(&f);
	check_str(job_outcome(f.h, "held"), "done");
	wait_for(job_is(f.h, "new", "created"));
	rpc(f.h, "resume_queue", "[s]", "moody");
	check_str(job_outcome(f.h, "failed"), "well");
	check_int(begun("new"), 0);
	herod_stop(f.h);
}

/* The end of the second attempt stands, and nothing of the first. */
void
test_who_was_tried_again_and_is_over_is_not_done_again(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "moody", "failed");
	check_has(job_outcome(f.h, "failed"), "exit");
	fork_off();
	write_file(here("go"), "");
	rpc(f.h, "job.retry", "[s]", "failed");
	check_str(job_outcome(f.h, "failed"), "well");
	unlink(here("go"));
	fail_over(&f);
	queue_job(&f, "moody", "last");
	check_has(job_outcome(f.h, "last"), "exit");
	check_str(job_outcome(f.h, "failed"), "well");
	herod_stop(f.h);
}

void
test_a_key_is_taken_by_who_is_at_work(void)
{
	static const char key[] = "{s:s, s:{s:s, s:s}}";
	struct fixture f;

	start(&f, "");
	run("mkdir %s", here("two"));
	rpc(f.h, "queue_job_to_runner", key, "runner", "slow", "job", "id",
	    "first", "concurrency_key", "k");
	wait_for(begun("first") == 1);
	fail_over(&f);
	wait_for(knows("smembers herod:busy:slow:k", "first\n"));
	wait_for(knows("zrange herod:jobs:slow 0 -1", "first\n"));
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "first"), "slowly");
	herod_stop(f.h);
}

/* It waited for one that was cancelled, so it was over with that. */
void
test_who_waited_for_one_that_was_cancelled_is_over(void)
{
	static const char job[] = "{s:{s:s, s:s, s:[s]}}";
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "first");
	rpc(f.h, "jobs.create", job, "job", "runner", "fast", "id", "held",
	    "prerequisites", "first");
	fork_off();
	rpc(f.h, "job.start", "[s]", "held");
	rpc(f.h, "queue_job_to_runner", "{s:s, s:{s:s, s:[s]}}", "runner",
	    "fast", "job", "id", "new", "prerequisites", "first");
	rpc(f.h, "job.stop", "[s]", "first");
	fail_over(&f);
	check_has(job_outcome(f.h, "held"), "first did not finish");
	check_has(job_outcome(f.h, "new"), "first did not finish");
	check_int(begun("held") + begun("new"), 0);
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "at-work"), "slowly");
	herod_stop(f.h);
}

/* The one that is the first to meet the successor does not know the other's
 * jobs. */
void
test_what_one_herod_tells_may_need_what_another_tells_later(void)
{
	struct fixture f;
	struct herod *other;
	int wait;

	start(&f, "");
	other = herod_start_beside("-other",
	    "[herod]\nnode = other\nredis_url = unix://%s\n" AT_ONCE
	    "[runner:fast]\nkind = exec\ncommand = true\nautostart = false\n",
	    here("redis.sock"));
	wait_for_redis(other);
	rpc(f.h, "pause_queue", "[s]", "fast");
	fork_off();
	queue_job(&f, "fast", "first");
	queue_job(&f, "fast", "unwanted");
	rpc(other, "queue_job_to_runner", "{s:s, s:{s:s, s:[s]}}", "runner",
	    "fast", "job", "id", "second", "prerequisites", "first");
	rpc(other, "job.stop", "[s]", "unwanted");
	wait = rpc_begin(other, "job.wait", "[s]", "first");
	wait_for(strstr(redis(here("one.sock"), "client list"), "cmd=hgetall"));
	kill(herod_pid(f.h), SIGSTOP);
	kill(f.redis, SIGKILL);
	f.redis = redis_start_in(here("two.sock"), here("two"));
	dial("two.sock");
	wait_for(strstr(herod_log(), "deeds are told again"));
	kill(herod_pid(f.h), SIGCONT);
	wait_for(strstr(
	    redis(here("two.sock"), "EXISTS hero:job:unwanted hero:job:second"),
	    "2"));
	wait_for(job_is(f.h, "unwanted", "cancelled"));
	wait_for(job_is(f.h, "second", "waiting_for_prerequisites"));
	rpc(f.h, "resume_queue", "[s]", "fast");
	check_str(job_outcome(f.h, "second"), "done");
	check_str(text_at(rpc_end(wait), "result.success"), "done");
	check_int(begun("unwanted"), 0);
	herod_stop(other);
	herod_stop(f.h);
}

/* Each was done; twice only who was at work in the wrong moment, which is
 * nobody here. */
void
test_many_jobs_come_over(void)
{
	struct fixture f;
	int i;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	for (i = 0; i < 100; i++)
		queue_job(&f, "slow", text("old-%d", i));
	fork_off();
	for (i = 0; i < 100; i++)
		queue_job(&f, "slow", text("new-%d", i));
	fail_over(&f);
	write_file(here("go"), "");
	wait_for(count_lines(here("begun")) == 201);
	check_str(run("sort %s | uniq -d", here("begun")).out, "");
	herod_stop(f.h);
}

/* A Redis that keeps nothing on disk. */
void
test_an_empty_successor_learns_what_is_kept(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "behind");
	run("mkdir %s", here("two"));
	fail_over(&f);
	write_file(here("go"), "");
	check_str(job_outcome(f.h, "at-work"), "slowly");
	check_str(job_outcome(f.h, "behind"), "slowly");
	herod_stop(f.h);
}

/* ---- what it must not do ---- */

void
test_who_knows_all_is_told_nothing(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "fast", "one");
	check_str(job_outcome(f.h, "one"), "done");
	rpc(f.h, "job.delete", "[s]", "one");
	queue_job(&f, "fast", "two");
	check_str(job_outcome(f.h, "two"), "done");
	wait_for(is_settled());
	fork_off();
	fail_over(&f);
	check(strstr(herod_log(), "told again") == NULL);
	herod_stop(f.h);
}

void
test_without_redis_replay_nothing_is_kept(void)
{
	struct fixture f;

	start(&f, "--redis_replay 0");
	fork_off();
	rpc(f.h, "queue_job_to_runner", "{s:s, s:{s:s, s:f}}", "runner", "fast",
	    "job", "id", "later", "delay", 3600.);
	fail_over(&f);
	check_int(int_at(rpc_error(f.h, "job.status", "[s]", "later"), "code"),
	    -32020);
	herod_stop(f.h);
}

/* It was over before; nobody but us knows. */
void
test_who_was_over_and_deleted_is_not_done_again(void)
{
	struct fixture f;

	start(&f, "");
	rpc(f.h, "pause_queue", "[s]", "fast");
	queue_job(&f, "fast", "one");
	queue_job(&f, "fast", "two");
	fork_off();
	rpc(f.h, "resume_queue", "[s]", "fast");
	check_str(job_outcome(f.h, "one"), "done");
	check_str(job_outcome(f.h, "two"), "done");
	rpc(f.h, "job.delete", "[s]", "one");
	rpc(f.h, "jobs.purge", "{s:s, s:s}", "runner", "fast", "status",
	    "finished");
	fail_over(&f);
	queue_job(&f, "fast", "last");
	check_str(job_outcome(f.h, "last"), "done");
	check_int(begun("one"), 1);
	check_int(begun("two"), 1);
	wait_for(knows("exists hero:job:one hero:job:two", "0\n"));
	herod_stop(f.h);
}

void
test_who_was_cancelled_and_deleted_does_not_run(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "slow", "at-work");
	wait_for(begun("at-work") == 1);
	queue_job(&f, "slow", "old");
	fork_off();
	rpc(f.h, "job.stop", "[s]", "old");
	rpc(f.h, "job.delete", "[s]", "old");
	fail_over(&f);
	write_file(here("go"), "");
	queue_job(&f, "slow", "last");
	check_str(job_outcome(f.h, "last"), "slowly");
	check_int(begun("old"), 0);
	herod_stop(f.h);
}

/* The successor knows the one before. */
void
test_another_of_the_id_of_one_deleted_is_not_done_again(void)
{
	struct fixture f;

	start(&f, "");
	queue_job(&f, "moody", "nightly");
	check_has(job_outcome(f.h, "nightly"), "exit");
	fork_off();
	rpc(f.h, "job.delete", "[s]", "nightly");
	rpc(f.h, "pause_queue", "[s]", "fast");
	queue_job(&f, "fast", "nightly");
	rpc(f.h, "resume_queue", "[s]", "fast");
	check_str(job_outcome(f.h, "nightly"), "done");
	wait_for(is_settled());
	fail_over(&f);
	queue_job(&f, "fast", "last");
	check_str(job_outcome(f.h, "last"), "done");
	check_int(begun("nightly"), 1);
	check(job_is(f.h, "nightly", "finished"));
	herod_stop(f.h);
}

/* Names of runners are not ids of jobs. */
void
test_a_job_of_its_name_does_not_undo_a_registration(void)
{
	struct fixture f;

	start(&f, "");
	fork_off();
	rpc(f.h, "register_runner", "{s:s, s:s}", "name", "far", "queue", "b");
	rpc(f.h, "register_runner", "{s:s, s:s}", "name", "off", "queue", "b");
	queue_job(&f, "fast", "far");
	check_str(job_outcome(f.h, "far"), "done");
	rpc(f.h, "job.delete", "[s]", "far");
	queue_job(&f, "slow", "off");
	wait_for(begun("off") == 1);
	fail_over(&f);
	wait_for(
	    strstr(redis(here("two.sock"), "hgetall herod:runners"), "off"));
	wait_for(
	    strstr(redis(here("two.sock"), "hgetall herod:runners"), "far"));
	write_file(here("go"), "");
	herod_stop(f.h);
}
