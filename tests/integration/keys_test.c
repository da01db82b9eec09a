/* Jobs that must not be at work at the same time (concurrency_key), or begin
 * too often (rate_limit). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

static const char *
worker(void)
{
	return text("%s/tests/integration/worker", getenv("HEROD_BUILD"));
}

static struct herod *
start(const char *more)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:w]\nkind = stdio\nnumprocs = 4\ncommand = %s\n%s",
	    worker(), more);

	wait_for_redis(h);
	return h;
}

static void
queue_job(struct herod *h, const char *id, const char *key, const char *payload)
{
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:s, s:s*}}", "runner",
	    "w", "job", "id", id, "payload", payload, "concurrency_key", key);
}

/* Is at work until end(id). */
static void
queue_long(struct herod *h, const char *id, const char *key)
{
	queue_job(h, id, key, text("wait-for %s", here(id)));
}

static void
end(struct herod *h, const char *id)
{
	write_file(here(id), "");
	check_str(job_outcome(h, id), "it is there");
}

static long long
depth(struct herod *h)
{
	return int_at(status_of(h, "w"), "queue.depth");
}

/* Those that wait in the row of the key k. */
static const char *
held(struct herod *h)
{
	return redis(
	    text("%s/redis/redis.sock", h->state), "llen herod:held:w:k");
}

static long long
running(struct herod *h)
{
	return int_at(status_of(h, "w"), "queue.running");
}

void
test_one_of_a_key_is_at_work_and_holds_up_nobody_else(void)
{
	struct herod *h = start("");

	queue_long(h, "a1", "a");
	wait_for(job_is(h, "a1", "started"));
	queue_long(h, "a2", "a");
	queue_long(h, "a3", "a");
	queue_long(h, "b1", "b");
	wait_for(job_is(h, "b1", "started"));
	queue_job(h, "c", NULL, "echo me");
	check_str(job_outcome(h, "c"), "me");
	check_int(running(h), 2);
	check_int(depth(h), 2);
	check(job_is(h, "a2", "dispatched"));
	end(h, "a1");
	wait_for(job_is(h, "a2", "started"));
	check(job_is(h, "a3", "dispatched"));
	end(h, "a2");
	end(h, "a3");
	end(h, "b1");
	wait_for(depth(h) == 0);
	check_str(
	    text_at(rpc(h, "job.get", "{s:s}", "id", "a1"), "concurrency_key"),
	    "a");
	herod_stop(h);
}

void
test_as_many_of_a_key_as_the_runner_says(void)
{
	struct herod *h = start("key_concurrency = 2\n");

	queue_long(h, "a1", "a");
	queue_long(h, "a2", "a");
	queue_long(h, "a3", "a");
	wait_for(running(h) == 2 && depth(h) == 1);
	end(h, "a2");
	wait_for(job_is(h, "a3", "started"));
	end(h, "a1");
	end(h, "a3");
	herod_stop(h);
}

void
test_a_larger_number_lets_more_of_those_held_begin(void)
{
	struct herod *h = start("");
	int i;

	for (i = 1; i <= 4; i++)
		queue_long(h, text("a%d", i), "a");
	wait_for(running(h) == 1 && depth(h) == 3);
	write_file(
	    h->conf, text("%skey_concurrency = 3\n", file_text(h->conf)));
	rpc(h, "reload", NULL);
	end(h, "a1");
	wait_for(running(h) == 3);
	for (i = 2; i <= 4; i++)
		end(h, text("a%d", i));
	herod_stop(h);
}

/* As after a Redis that was set back: the first is gone, and nobody told. */
void
test_who_left_without_a_word_holds_up_nobody(void)
{
	struct herod *h = start("");
	const char *server = text("%s/redis/redis.sock", h->state);

	redis(server, "sadd herod:busy:w:a ghost");
	queue_job(h, "a1", "a", "echo me");
	check_str(job_outcome(h, "a1"), "me");
	wait_for(strcmp(redis(server, "exists herod:busy:w:a"), "0\n") == 0);
	herod_stop(h);
}

void
test_a_held_job_is_cancelled_like_any_other(void)
{
	struct herod *h = start("");

	queue_long(h, "a1", "a");
	queue_long(h, "a2", "a");
	queue_long(h, "a3", "a");
	wait_for(running(h) == 1 && depth(h) == 2);
	rpc(h, "job.stop", "{s:s}", "id", "a2");
	wait_for(job_is(h, "a2", "cancelled"));
	check_int(depth(h), 1);
	end(h, "a1");
	end(h, "a3");
	herod_stop(h);
}

void
test_a_worker_that_dies_keeps_the_place_for_its_job(void)
{
	struct herod *h = start("");

	queue_job(h, "a1", "a", text("die-once %s", here("died")));
	queue_long(h, "a2", "a");
	check_str(job_outcome(h, "a1"), "second time");
	end(h, "a2");
	check_int(
	    int_at(rpc(h, "job.get", "{s:s}", "id", "a2"), "attempts"), 1);
	herod_stop(h);
}

void
test_a_job_that_is_tried_again_later_makes_room_until_then(void)
{
	struct herod *h = start("job_retries = 1\njob_backoff = 1000\n");

	queue_job(h, "a1", "a", text("fail-at %s", here("a1")));
	queue_long(h, "a2", "a");
	wait_for(running(h) == 1 && depth(h) == 1);
	write_file(here("a1"), "");
	wait_for(job_is(h, "a2", "started"));
	check(job_is(h, "a1", "scheduled"));
	end(h, "a2");
	herod_stop(h);
}

void
test_keys_are_kept_when_herod_is_killed(void)
{
	struct herod *h = start("");

	queue_long(h, "a1", "a");
	queue_long(h, "a2", "a");
	wait_for(running(h) == 1 && depth(h) == 1);
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(running(h) == 1);
	check(job_is(h, "a2", "dispatched"));
	end(h, "a1");
	end(h, "a2");
	herod_stop(h);
}

/* The lock is what must never be found taken. */
void
test_jobs_of_a_key_are_never_at_work_on_two_nodes(void)
{
	const char *server = here("redis.sock"),
		   *conf = text(AT_ONCE
		       "[herod]\nredis_url = unix://%s\n[runner:w]\n"
		       "kind = exec\nconcurrency = 3\ncommand = %s\n",
		       server,
		       script("job",
			   "mkdir lock.d || exit 1; cat >/dev/null; rmdir "
			   "lock.d"));
	pid_t redis = redis_start(server);
	struct herod *a = herod_start_beside(
	    "-a", "%sdirectory = %s\n[herod]\nnode = a\n", conf, here(""));
	struct herod *b = herod_start_beside(
	    "-b", "%sdirectory = %s\n[herod]\nnode = b\n", conf, here(""));
	int i;

	wait_for_redis(a);
	wait_for_redis(b);
	for (i = 0; i < 60; i++)
		queue_job(i % 2 ? a : b, text("j%d", i), "k", "");
	for (i = 0; i < 60; i++) {
		wait_for(job_is(a, text("j%d", i), "finished"));
	}
	herod_stop(a);
	herod_stop(b);
	kill(redis, SIGKILL);
}

void
test_who_draws_by_himself_has_no_keys(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:w]\nkind = redis\ncommand = sh %s\n",
		sample_path("actor.sh"));

	wait_for_redis(h);
	check_has(text_at(rpc_error(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
			      "runner", "w", "job", "concurrency_key", "k"),
		      "message"),
	    "concurrency_key is not for queue w");
	herod_stop(h);
}

/* ---- rates ---- */

static double
seconds_of(struct herod *h, const char *id)
{
	const char *at =
	    text_at(rpc(h, "job.get", "{s:s}", "id", id), "started_at");
	int hour, minute;
	double second;

	check_int(
	    sscanf(strchr(at, 'T'), "T%d:%d:%lf", &hour, &minute, &second), 3);
	return hour * 3600 + minute * 60 + second;
}

void
test_no_more_begin_in_a_period_than_may(void)
{
	struct herod *h = start("rate_limit = 2\nrate_period = 0.4\n");
	double at[5];
	int i;

	for (i = 0; i < 5; i++)
		queue_job(h, text("j%d", i), NULL, "echo me");
	for (i = 0; i < 5; i++) {
		check_str(job_outcome(h, text("j%d", i)), "me");
		at[i] = seconds_of(h, text("j%d", i));
	}
	/* Redis keeps the time; what is compared is ours. */
	check(at[2] - at[0] > 0.2 || at[2] < at[0]);
	check(at[4] - at[2] > 0.2 || at[4] < at[2]);
	herod_stop(h);
}

/* As one sees it in status. */
void
test_what_may_not_begin_waits(void)
{
	struct herod *h = start("rate_limit = 1\nrate_period = 1000\n");

	queue_job(h, "j1", NULL, "echo me");
	queue_job(h, "j2", NULL, "echo me");
	check_str(job_outcome(h, "j1"), "me");
	check_int(depth(h), 1);
	check(job_is(h, "j2", "dispatched"));
	herod_stop(h);
}

/* It was let out of the row of its key, and had not begun. */
void
test_a_cancelled_job_lets_the_next_of_its_key_out(void)
{
	struct herod *h = start("");

	queue_long(h, "a", "k");
	wait_for(running(h) == 1);
	queue_long(h, "b", "k");
	queue_long(h, "c", "k");
	wait_for(strcmp(held(h), "2\n") == 0);
	rpc(h, "pause_queue", "[s]", "w");
	end(h, "a");
	wait_for(strcmp(held(h), "1\n") == 0);
	rpc(h, "job.stop", "[s]", "b");
	rpc(h, "resume_queue", "[s]", "w");
	end(h, "c");
	herod_stop(h);
}
