/* Jobs that Redis cannot take are on the disk before they are accepted (spool =
 * true), and reach it when it can. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

#define ON_DISK "--spool true"

struct fixture {
	struct herod *h;
	const char *socket;
	pid_t redis;
};

static void
start_herod(struct fixture *f, const char *settings)
{
	f->socket = here("redis.sock");
	f->h = herod_start_with("",
	    text("--redis_url unix://%s %s", f->socket, settings),
	    AT_ONCE "[runner:it]\nkind = exec\ncommand = %s\n",
	    script("it", text("echo $JOB_ID >>%s; cat", here("begun"))));
}

static void
start(struct fixture *f, const char *settings)
{
	f->redis = redis_start(here("redis.sock"));
	start_herod(f, settings);
	wait_for_redis(f->h);
}

static void
redis_ends(struct fixture *f)
{
	kill(f->redis, SIGKILL);
	wait_for(
	    json_is_false(at(rpc(f->h, "get_all_status", NULL), "redis.up")));
}

static void
redis_comes(struct fixture *f)
{
	f->redis = redis_start(f->socket);
	wait_for_redis(f->h);
}

static const char *
queue_job(struct fixture *f, const char *payload)
{
	return json_string_value(rpc(f->h, "queue_job_to_runner",
	    "{s:s, s:{s:s}}", "runner", "it", "job", "payload", payload));
}

static long long
spooled(struct fixture *f)
{
	return int_at(rpc(f->h, "get_all_status", NULL), "redis.spooled");
}

static const char *
spool(struct fixture *f)
{
	return text("%s/spool", f->h->state);
}

static const char *
begun(void)
{
	return run("sort %s | uniq -d", here("begun")).out;
}

void
test_jobs_are_taken_while_redis_is_away(void)
{
	struct fixture f;
	const char *one, *two, *later;

	start(&f, ON_DISK);
	redis_ends(&f);
	one = queue_job(&f, "one \303\244");
	two = queue_job(&f, "two");
	later = json_string_value(rpc(f.h, "queue_job_to_runner",
	    "{s:s, s:{s:s, s:f, s:[s], s:{s:s}}}", "runner", "it", "job", "id",
	    "later", "delay", 3600., "tags", "a", "env_vars", "A", "b"));
	check_int(spooled(&f), 3);
	check(job_is(f.h, one, "dispatched"));
	check_int(count_lines(spool(&f)), 3);
	redis_comes(&f);
	check_str(job_outcome(f.h, one), "one \303\244");
	check_str(job_outcome(f.h, two), "two");
	wait_for(job_is(f.h, later, "scheduled"));
	check_str(text_at(rpc(f.h, "job.get", "[s]", later), "tags.0"), "a");
	check_str(
	    text_at(rpc(f.h, "job.get", "[s]", later), "env_vars.A"), "b");
	wait_for(spooled(&f) == 0);
	check_int(count_lines(spool(&f)), 0);
	check_str(begun(), "");
	herod_stop(f.h);
}

void
test_who_waits_for_one_hears_of_its_end(void)
{
	struct fixture f;
	const char *one;
	int run, wait;

	start(&f, ON_DISK);
	redis_ends(&f);
	one = queue_job(&f, "one");
	wait = rpc_begin(f.h, "job.wait", "[s]", one);
	run = rpc_begin(f.h, "job.run", "{s:{s:s, s:s}}", "job", "runner", "it",
	    "payload", "two");
	wait_for(spooled(&f) == 2);
	redis_comes(&f);
	check_str(text_at(rpc_end(wait), "result.success"), "one");
	check_str(text_at(rpc_end(run), "result.success"), "two");
	herod_stop(f.h);
}

void
test_they_outlive_herod(void)
{
	struct fixture f;
	const char *one;

	start_herod(&f, ON_DISK);
	one = queue_job(&f, "one");
	rpc(f.h, "jobs.create", "{s:{s:s, s:s}}", "job", "runner", "it", "id",
	    "held");
	herod_kill_both(f.h);
	redis_start(f.socket);
	herod_again(f.h);
	wait_for_redis(f.h);
	check_str(job_outcome(f.h, one), "one");
	wait_for(job_is(f.h, "held", "created"));
	check_str(begun(), "");
	herod_stop(f.h);
}

/* A crash in mid-write: the line was not acknowledged. */
void
test_half_a_line_is_dropped(void)
{
	struct fixture f;
	const char *one;

	start_herod(&f, ON_DISK);
	one = queue_job(&f, "one");
	herod_kill_both(f.h);
	run("printf '{\"id\":\"half' >>%s", spool(&f));
	herod_again(f.h);
	wait_for(spooled(&f) == 1);
	queue_job(&f, "two");
	check_int(count_lines(spool(&f)), 2);
	redis_start(f.socket);
	wait_for_redis(f.h);
	check_str(job_outcome(f.h, one), "one");
	wait_for(spooled(&f) == 0);
	herod_stop(f.h);
}

/* Others in the file may wait for long: what Redis has had, and forgotten when
 * its time was over, is not queued once more. */
void
test_what_redis_has_had_is_not_told_again(void)
{
	struct fixture f;
	const char *one;

	start_herod(&f, ON_DISK);
	one = queue_job(&f, "one");
	herod_kill_both(f.h);
	run("echo '{\"done\":\"%s\"}' >>%s", one, spool(&f));
	redis_start(f.socket);
	herod_again(f.h);
	wait_for_redis(f.h);
	check_int(spooled(&f), 0);
	check_int(
	    int_at(rpc_error(f.h, "job.status", "[s]", one), "code"), -32020);
	herod_stop(f.h);
}

/* It is switched off, and yet what was accepted is done. */
void
test_without_the_setting_what_is_there_is_told(void)
{
	struct fixture f;
	const char *one;

	start_herod(&f, ON_DISK);
	one = queue_job(&f, "one");
	herod_kill_both(f.h);
	f.h->options = text("--redis_url unix://%s", f.socket);
	herod_again(f.h);
	check_int(
	    int_at(rpc_error(f.h, "queue_job_to_runner", "[s]", "it"), "code"),
	    -32030);
	redis_start(f.socket);
	wait_for_redis(f.h);
	check_str(job_outcome(f.h, one), "one");
	herod_stop(f.h);
}

void
test_a_full_redis_gets_them_when_it_has_room(void)
{
	struct fixture f;
	const char *one;

	start(&f, ON_DISK);
	redis(f.socket, "config set maxmemory 1");
	one = queue_job(&f, "one");
	check_int(spooled(&f), 1);
	redis(f.socket, "config set maxmemory 0");
	check_str(job_outcome(f.h, one), "one");
	check_str(begun(), "");
	herod_stop(f.h);
}

void
test_they_come_in_order(void)
{
	struct fixture f;
	char all[4000] = "";
	int i;

	start(&f, ON_DISK);
	redis_ends(&f);
	for (i = 0; i < 100; i++)
		strlcat(all, text("%s\n", queue_job(&f, "")), sizeof(all));
	redis_comes(&f);
	wait_for(count_lines(here("begun")) == 100);
	check_str(file_text(here("begun")), all);
	herod_stop(f.h);
}

/* What was asked for cannot be: that is the end of the job, which can be seen.
 */
void
test_who_cannot_be_queued_has_failed(void)
{
	struct fixture f;

	start(&f, ON_DISK);
	redis_ends(&f);
	rpc(f.h, "queue_job_to_runner", "{s:s, s:{s:s, s:[s]}}", "runner", "it",
	    "job", "id", "lonely", "prerequisites", "nobody");
	redis_comes(&f);
	wait_for(job_is(f.h, "lonely", "error"));
	check_has(job_outcome(f.h, "lonely"), "there is no job nobody");
	herod_stop(f.h);
}

void
test_a_full_spool_refuses(void)
{
	struct fixture f;
	json_t *error;

	start_herod(&f, ON_DISK " --spool_maxbytes 1");
	queue_job(&f, "one");
	error = rpc_error(f.h, "queue_job_to_runner", "{s:s}", "runner", "it");
	check_int(int_at(error, "code"), -32030);
	check_has(text_at(error, "message"), "the spool is full");
	check_int(spooled(&f), 1);
	herod_stop(f.h);
}

static void
limit_files(struct fixture *f, const char *bytes)
{
	run("prlimit --pid %d --fsize=%s:", (int)herod_pid(f->h), bytes);
}

/* As full as by a limit on the length of files. */
void
test_a_disk_that_is_full_refuses(void)
{
	struct fixture f;
	json_t *error;

	start_herod(&f, ON_DISK);
	queue_job(&f, "one");
	limit_files(&f, text("%zu", strlen(file_text(spool(&f))) + 10));
	error = rpc_error(f.h, "queue_job_to_runner", "{s:s}", "runner", "it");
	check_int(int_at(error, "code"), -32030);
	check_has(text_at(error, "message"), "spool");
	check_int(count_lines(spool(&f)), 1);
	limit_files(&f, "unlimited");
	queue_job(&f, "two");
	check_int(count_lines(spool(&f)), 2);
	herod_stop(f.h);
}

void
test_one_that_is_cancelled_there_never_runs(void)
{
	struct fixture f;
	const char *off, *on;

	start(&f, ON_DISK);
	redis_ends(&f);
	off = queue_job(&f, "off");
	on = queue_job(&f, "on");
	check_str(
	    json_string_value(rpc(f.h, "job.stop", "[s]", off)), "cancelled");
	check(job_is(f.h, off, "cancelled"));
	check_str(
	    json_string_value(rpc(f.h, "job.stop", "[s]", off)), "cancelled");
	herod_kill_both(f.h);
	redis_start(f.socket);
	herod_again(f.h);
	wait_for_redis(f.h);
	check_str(job_outcome(f.h, on), "on");
	wait_for(spooled(&f) == 0 && job_is(f.h, off, "cancelled"));
	check_str(file_text(here("begun")), text("%s\n", on));
	herod_stop(f.h);
}

/* ---- durability memory ---- */

static const char *
queue_in_memory(struct fixture *f, const char *payload)
{
	return json_string_value(
	    rpc(f->h, "queue_job_to_runner", "{s:s, s:{s:s, s:s}}", "runner",
		"it", "job", "payload", payload, "durability", "memory"));
}

void
test_jobs_in_memory_outlive_herod(void)
{
	struct fixture f;
	const char *one, *two;

	start(&f, "");
	redis_ends(&f);
	one = queue_in_memory(&f, "one");
	check_int(int_at(rpc_error(f.h, "queue_job_to_runner", "{s:s}",
			     "runner", "it"),
		      "code"),
	    -32030);
	herod_kill9(f.h);
	two = queue_in_memory(&f, "two");
	herod_kill9(f.h);
	check_int(spooled(&f), 2);
	check(!file_exists(spool(&f)));
	redis_comes(&f);
	check_str(job_outcome(f.h, one), "one");
	check_str(job_outcome(f.h, two), "two");
	wait_for(spooled(&f) == 0);
	check_str(begun(), "");
	herod_stop(f.h);
}

void
test_jobs_in_memory_are_on_the_disk_when_herod_has_ended(void)
{
	struct fixture f;
	const char *one;

	start_herod(&f, "");
	one = queue_in_memory(&f, "one");
	herod_stop(f.h);
	check_has(file_text(spool(&f)), one);
	redis_start(f.socket);
	herod_again(f.h);
	wait_for_redis(f.h);
	check_str(job_outcome(f.h, one), "one");
	wait_for(spooled(&f) == 0);
	check_str(file_text(spool(&f)), "");
	herod_stop(f.h);
}

void
test_jobs_in_memory_and_on_the_disk_come_in_order(void)
{
	struct fixture f;
	const char *a, *b, *c;

	start(&f, ON_DISK);
	redis_ends(&f);
	a = queue_in_memory(&f, "a");
	b = queue_job(&f, "b");
	c = queue_in_memory(&f, "c");
	redis_comes(&f);
	check_str(job_outcome(f.h, c), "c");
	check_str(file_text(here("begun")), text("%s\n%s\n%s\n", a, b, c));
	wait_for(spooled(&f) == 0);
	check_str(file_text(spool(&f)), "");
	herod_stop(f.h);
}
