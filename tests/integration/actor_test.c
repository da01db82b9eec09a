/*
 * Hero's actors (kind redis): programs that draw from Redis themselves and
 * were not made for herod.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

/* What an actor in shell needs: redis WORD..., $job of the id that take gave.
 */
#define ACTOR \
	"redis() { redis-cli -s \"${HERO_REDIS_URL#unix://}\" \"$@\"; }\n" \
	"take() { id=$(redis BLPOP $HERO_NAMESPACE:work_queue:$HERO_QUEUE 0 |" \
	" tail -n 1); job=$HERO_NAMESPACE:job:$id; [ \"$id\" ]; }\n" \
	"begin() { redis HSET $job status started >/dev/null;" \
	" echo \"$id\" >>../begun; }\n" \
	"end() { redis HSET $job status finished result \"$1\" >/dev/null; }\n"

/* An actor "it" that does so with each job; more are its settings. */
static struct herod *
start_actor(const char *more, const char *with_each)
{
	struct herod *h;

	check(mkdir("actor", 0755) == 0);
	h = herod_start(AT_ONCE
	    "[runner:it]\nkind = redis\ncommand = %s\ndirectory = %s\n"
	    "backoff_base = 0.05\n%s",
	    script("it",
		text("%swhile take; do\n%s\ndone; exit 1\n", ACTOR, with_each)),
	    here("actor"), more);
	wait_for_redis(h);
	wait_for(is_state(h, "it", "RUNNING"));
	return h;
}

static const char *
queue_job(struct herod *h, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", payload));
}

static const char *
ask(struct herod *h, const char *command)
{
	const char *out = redis(here("state/redis/redis.sock"), "%s", command);

	(void)h;
	return text("%.*s", (int)strcspn(out, "\n"), out);
}

/* ---- it works ---- */

void
test_an_actor_does_jobs_that_are_queued_by_rpc(void)
{
	struct herod *h =
	    start_actor("", "begin; end \"did $(redis HGET $job payload)\"");
	const char *id = queue_job(h, "a");
	json_t *job;

	check_str(job_outcome(h, id), "did a");
	job = rpc(h, "job.get", "[s]", id);
	check_str(text_at(job, "status"), "finished");
	check_int(int_at(job, "attempts"), 1);
	check(text_at(job, "finished_at")[0]);
	check(text_at(job, "node")[0]);
	check_str(ask(h, "HLEN herod:open:it"), "0");
	check(atoi(ask(h, text("PTTL hero:job:%s", id))) > 0);
	herod_stop(h);
}

void
test_the_samples_are_actors(void)
{
	static const char *const samples[][3] = {
	    {"sh", "actor.sh", "HELLO"}, {"python3", "actor.py", "olleh"}};
	struct herod *h = herod_start(AT_ONCE);
	size_t i;

	wait_for_redis(h);
	for (i = 0; i < 2; i++) {
		rpc(h, "add_runner", "{s:{s:s, s:s, s:[s, s]}}", "runner",
		    "name", samples[i][1], "kind", "redis", "command",
		    samples[i][0], sample_path(samples[i][1]));
		check_str(
		    text_at(rpc(h, "job.run", "{s:{s:s, s:s}}", "job", "runner",
				samples[i][1], "payload", "hello"),
			"success"),
		    samples[i][2]);
		wait_for(strstr(logs_of(h, samples[i][1]), "job "));
	}
	herod_stop(h);
}

void
test_a_job_queued_the_hero_way_is_known(void)
{
	struct herod *h = start_actor("", "begin; end done");
	json_t *job;

	ask(h, "HSET hero:job:mine status dispatched runner it payload x");
	ask(h, "RPUSH hero:work_queue:it mine");
	check_str(job_outcome(h, "mine"), "done");
	job = rpc(h, "jobs.list", "{s:s}", "runner", "it");
	check_str(text_at(job, "jobs.0.id"), "mine");
	herod_stop(h);
}

/* ---- it dies ---- */

void
test_a_job_of_a_dead_actor_is_done_again(void)
{
	struct herod *h = start_actor(
	    "", "begin; [ $(wc -l <../begun) -gt 1 ] || kill -9 $$; end done");
	const char *id = queue_job(h, "a");
	json_t *job;

	check_str(job_outcome(h, id), "done");
	check_int(count_lines(here("begun")), 2);
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "deaths"), 1);
	check_int(int_at(job, "attempts"), 2);
	herod_stop(h);
}

/* As when it was given back while an actor whose herod stood still was at it.
 */
void
test_a_job_begun_again_after_its_end_is_looked_after(void)
{
	struct herod *h = start_actor("",
	    "known() { [ \"$(redis HGET herod:open:it $id)\" = \"$1\" ]; }\n"
	    "begin; n=$(wc -l <../begun)\n"
	    "[ $n != 2 ] || { until known begun; do :; done; kill -9 $$; }\n"
	    "end $n; [ $n = 1 ] || continue; until known ''; do :; done\n"
	    "redis RPUSH $HERO_NAMESPACE:work_queue:it $id");
	const char *id = queue_job(h, "a");
	json_t *job;

	wait_for(count_lines(here("begun")) == 3);
	wait_for(job_is(h, id, "finished"));
	job = rpc(h, "job.get", "[s]", id);
	check_str(text_at(job, "result"), "3");
	check_int(int_at(job, "deaths"), 1);
	wait_for(atoi(ask(h, text("PTTL hero:job:%s", id))) > 0);
	herod_stop(h);
}

/* It is no actor's: only what they begin again is looked after so. */
void
test_a_job_queued_again_after_its_end_is_still_whose_it_is(void)
{
	struct herod *h = start_actor("", "begin; end done");
	const char *id = "x";

	rpc(h, "add_runner", "{s:{s:s, s:s, s:s}}", "runner", "name", "ex",
	    "kind", "exec", "command",
	    script("ex",
		text("echo >>%s; until [ -e %s ]; do sleep 0.02; done",
		    here("runs"), here("go"))));
	run("touch %s", here("go"));
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "ex", "job",
	    "id", id);
	wait_for(job_is(h, id, "finished"));
	run("rm %s", here("go"));
	ask(h, "HSET hero:job:x status dispatched");
	ask(h, "RPUSH hero:work_queue:ex x");
	wait_for(count_lines(here("runs")) == 2);
	ask(h, "HSET hero:job:x note y");
	check_str(job_outcome(h, queue_job(h, "a")), "done");
	check(text_at(rpc(h, "job.get", "[s]", id), "node")[0]);
	check_str(ask(h, "PTTL hero:job:x"), "-1");
	run("touch %s", here("go"));
	wait_for(job_is(h, id, "finished"));
	herod_stop(h);
}

/* What the runner's actor had is asked while the runner is removed. */
void
test_a_runner_of_actors_may_come_and_go(void)
{
	struct herod *h = start_actor("", "begin; end done");
	int n;

	rpc(h, "remove_runner", "[s]", "it");
	for (n = 0; n < 3; n++) {
		rpc(h, "add_runner", "{s:{s:s, s:s, s:s}}", "runner", "name",
		    "it", "kind", "redis", "command", "sleep 1000");
		wait_for(is_state(h, "it", "RUNNING"));
		rpc(h, "remove_runner", "[s]", "it");
	}
	herod_stop(h);
}

void
test_a_job_that_kills_actors_is_quarantined(void)
{
	struct herod *h =
	    start_actor("startretries = -1\n", "begin; kill -9 $$; sleep 100");
	const char *id = queue_job(h, "a");

	check_has(job_outcome(h, id), "quarantined: 3 workers died of it");
	check_int(count_lines(here("begun")), 3);
	check_str(
	    text_at(rpc(h, "job.get", "[s]", id), "status"), "quarantined");
	herod_stop(h);
}

/* The first process dies with the first job before it begins it. */
#define DIES_ONCE \
	"echo $$ >>../taken; [ $(wc -l <../taken) -gt 1 ] || kill -9 $$; " \
	"begin; end done"

/* Its death is marked, and another process is there. */
static const char *
queue_deadly(struct herod *h)
{
	const char *id = queue_job(h, "a");
	pid_t first;

	wait_for(count_lines(here("taken")) == 1);
	first = pid_in(here("taken"));
	wait_for(pid_of(h, "it") && pid_of(h, "it") != first);
	return id;
}

void
test_a_job_taken_and_never_begun_goes_back(void)
{
	struct herod *h = start_actor("", DIES_ONCE);
	const char *id = queue_job(h, "a");

	check_str(job_outcome(h, id), "done");
	check_int(int_at(rpc(h, "job.get", "[s]", id), "deaths"), 0);
	herod_stop(h);
}

/* Redis reads its last words when others have told of its death. */
void
test_a_job_that_a_dead_actor_begins_is_done_again(void)
{
	struct herod *h = start_actor("", DIES_ONCE);
	const char *id = queue_deadly(h);

	ask(h, text("HSET hero:job:%s status started", id));
	check_str(job_outcome(h, id), "done");
	herod_stop(h);
}

/* So with what it took: there is no row then that has the job. */
void
test_a_job_that_a_dead_actor_takes_goes_back(void)
{
	struct herod *h = start_actor("", DIES_ONCE);

	queue_deadly(h);
	ask(h, "HSET hero:job:lost status dispatched runner it payload b");
	check_str(job_outcome(h, "lost"), "done");
	herod_stop(h);
}

void
test_a_job_goes_back_when_redis_had_not_let_it(void)
{
	struct herod *h = start_actor("", DIES_ONCE);
	const char *id;

	ask(h, "ACL SETUSER default -lpush");
	id = queue_job(h, "a");
	wait_for(
	    strstr(redis(here("state/redis/redis.sock"), "ACL LOG"), "lpush"));
	ask(h, "ACL SETUSER default +lpush");
	check_str(job_outcome(h, id), "done");
	herod_stop(h);
}

void
test_a_job_in_an_actors_hand_survives_kill_9_of_herod(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *id = queue_job(h, "a");

	wait_for(job_is(h, id, "started"));
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(job_is(h, id, "started"));
	wait_for(
	    json_array_size(at(status_of(h, "it"), "instances.0.jobs")) == 1);
	run("touch %s", here("go"));
	check_str(job_outcome(h, id), "done");
	check_int(count_lines(here("begun")), 1);
	herod_stop(h);
}

void
test_a_job_in_an_actors_hand_survives_kill_9_of_herod_and_keeper(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *id = queue_job(h, "a");
	pid_t actor = pid_of(h, "it");

	wait_for(job_is(h, id, "started"));
	herod_kill_both(h);
	herod_again(h);
	wait_for_redis(h);
	check_int(pid_of(h, "it"), actor);
	run("touch %s", here("go"));
	check_str(job_outcome(h, id), "done");
	check_int(count_lines(here("begun")), 1);
	herod_stop(h);
}

void
test_an_actor_that_dies_with_herod_gives_its_job_back(void)
{
	struct herod *h = start_actor("",
	    "begin; until [ $(wc -l <../begun) -gt 1 ]; do sleep 0.02; done; "
	    "end done");
	const char *id = queue_job(h, "a");
	pid_t actor = pid_of(h, "it");

	wait_for(job_is(h, id, "started"));
	wait_for(count_lines(here("begun")) == 1);
	kill(herod_pid(h), SIGSTOP);
	kill(-actor, SIGKILL);
	herod_kill9(h);
	check_str(job_outcome(h, id), "done");
	check_int(count_lines(here("begun")), 2);
	herod_stop(h);
}

/* ---- it is ended ---- */

void
test_a_stop_counts_nothing_against_the_job(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *id = queue_job(h, "a");
	json_t *job;

	wait_for(job_is(h, id, "started"));
	rpc(h, "stop_runner", "{s:s, s:b}", "name", "it", "drain", 0);
	wait_for(job_is(h, id, "dispatched"));
	run("touch %s", here("go"));
	rpc(h, "start_runner", "[s]", "it");
	check_str(job_outcome(h, id), "done");
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "deaths"), 0);
	check_int(int_at(job, "attempts"), 1);
	herod_stop(h);
}

void
test_a_stop_waits_for_the_job(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *id = queue_job(h, "a");
	const char *first;
	int stopping;

	wait_for(job_is(h, id, "started"));
	stopping = rpc_begin(h, "stop_runner", "[s]", "it");
	wait_for(is_state(h, "it", "DRAINING"));
	check_has(heroctl(h, "status it").out,
	    text("stops after 1 job in hand: job %s, ", id));
	first = text_at(status_of(h, "it"), "why");
	check_has(first, " left");
	wait_for(strcmp(text_at(status_of(h, "it"), "why"), first) != 0);
	run("touch %s", here("go"));
	check(at(rpc_end(stopping), "result") != NULL);
	check_str(job_outcome(h, id), "done");
	check_int(count_lines(here("begun")), 1);
	herod_stop(h);
}

void
test_a_time_limit_is_kept_from_outside(void)
{
	struct herod *h = start_actor("job_timeout = 0.3\n",
	    "begin; [ $(wc -l <../begun) -gt 1 ] || sleep 1000; end done");
	const char *id = queue_job(h, "a");

	check_has(job_outcome(h, id), "timeout after 300ms");
	check_str(text_at(rpc(h, "job.get", "[s]", id), "status"), "timeout");
	check_str(ask(h, "LRANGE hero:stop_queue:it 0 -1"), id);
	check_str(job_outcome(h, queue_job(h, "b")), "done");
	herod_stop(h);
}

void
test_a_running_job_is_cancelled(void)
{
	struct herod *h = start_actor("",
	    "begin; [ $(redis BLPOP hero:stop_queue:it 0 | tail -n 1) = $id ];"
	    "redis HSET $job status error error stopped >/dev/null");
	const char *id = queue_job(h, "a");

	wait_for(job_is(h, id, "started"));
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", id)), "cancelled");
	check_str(text_at(rpc(h, "job.get", "[s]", id), "status"), "cancelled");
	herod_stop(h);
}

void
test_a_queued_job_is_cancelled_before_an_actor_gets_it(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *first = queue_job(h, "a"), *second = queue_job(h, "b");

	wait_for(job_is(h, first, "started"));
	check_str(
	    json_string_value(rpc(h, "job.stop", "[s]", second)), "cancelled");
	run("touch %s", here("go"));
	check_str(job_outcome(h, first), "done");
	check_str(job_outcome(h, queue_job(h, "c")), "done");
	check_int(count_lines(here("begun")), 2);
	herod_stop(h);
}

/* ---- again, later, before others ---- */

void
test_a_job_that_an_actor_fails_is_tried_again(void)
{
	struct herod *h = start_actor("job_retries = 3\njob_backoff = 0.05\n",
	    "begin; if [ $(wc -l <../begun) -gt 2 ]; then end done; else "
	    "redis HSET $job status error error 'not yet' >/dev/null; fi");
	const char *id = queue_job(h, "a");
	json_t *job;

	check_str(job_outcome(h, id), "done");
	job = rpc(h, "job.get", "[s]", id);
	check_int(int_at(job, "retries_done"), 2);
	check_int(int_at(job, "attempts"), 3);
	herod_stop(h);
}

void
test_an_actor_gets_delayed_jobs_and_dependents(void)
{
	struct herod *h = start_actor("", "begin; end done");
	const char *first = json_string_value(rpc(h, "queue_job_to_runner",
	    "{s:s, s:{s:f}}", "runner", "it", "job", "delay", 0.2));
	const char *second = json_string_value(rpc(h, "queue_job_to_runner",
	    "{s:s, s:{s:[s]}}", "runner", "it", "job", "prerequisites", first));

	check_str(job_outcome(h, second), "done");
	check_str(job_outcome(h, first), "done");
	check_has(file_text(here("begun")), text("%s\n%s", first, second));
	herod_stop(h);
}

void
test_an_actor_gets_a_job_of_high_priority_first(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *first = queue_job(h, "a"), *second, *third;

	wait_for(job_is(h, first, "started"));
	second = queue_job(h, "b");
	third = json_string_value(rpc(h, "queue_job_to_runner",
	    "{s:s, s:{s:s}}", "runner", "it", "job", "priority", "high"));
	run("touch %s", here("go"));
	check_str(job_outcome(h, second), "done");
	check_has(file_text(here("begun")), text("%s\n%s", third, second));
	herod_stop(h);
}

/* ---- several ---- */

/* A job "kill" ends its actor, the first time. */
#define DEADLY_ONCE \
	"begin; [ \"$(redis HGET $job payload)\" != kill ] || " \
	"[ -e ../killed ] || { touch ../killed; kill -9 $$; }; " \
	"until [ -e ../go ]; do sleep 0.02; done; end done"

static bool
is_suspect(struct herod *h, const char *id)
{
	return !strcmp(ask(h, text("HGET herod:open:it %s", id)), "suspect");
}

/* The first one twice, once both actors have another one in hand; or the other
 * one, which may have been the dead one's, is over. */
static void
check_all_are_done(
    struct herod *h, const char *killed, const char *other, const char *third)
{
	wait_for(count_lines(here("begun")) == 3);
	wait_for(job_is(h, killed, "dispatched") || is_suspect(h, other));
	run("touch %s", here("go"));
	check_str(job_outcome(h, killed), "done");
	check_str(job_outcome(h, other), "done");
	check_str(job_outcome(h, third), "done");
	check_int(count_lines(here("begun")), 4);
}

/* Which of two had it is only known when the other one's hands are full. */
void
test_of_several_actors_a_dead_ones_job_is_found(void)
{
	struct herod *h = start_actor("numprocs = 2\n", DEADLY_ONCE);
	const char *id = queue_job(h, "kill");
	const char *other = queue_job(h, "b"), *third;

	wait_for(file_exists(here("killed")));
	third = queue_job(h, "c");
	check_all_are_done(h, id, other, third);
	herod_stop(h);
}

/* The next herod does not know why it died, but that it did. */
void
test_a_suspected_job_is_found_by_the_next_herod(void)
{
	struct herod *h = start_actor("numprocs = 2\n", DEADLY_ONCE);
	const char *id = queue_job(h, "kill"), *other, *third;

	wait_for(file_exists(here("killed")));
	wait_for(is_suspect(h, id));
	herod_kill9(h);
	wait_for_redis(h);
	other = queue_job(h, "b");
	third = queue_job(h, "c");
	check_all_are_done(h, id, other, third);
	herod_stop(h);
}

/* Redis loses nothing of it when it is away meanwhile. */
void
test_an_end_while_herod_does_not_look_is_found(void)
{
	struct herod *h = start_actor(
	    "", "begin; until [ -e ../go ]; do sleep 0.02; done; end done");
	const char *id = queue_job(h, "a");

	wait_for(job_is(h, id, "started"));
	kill(herod_pid(h), SIGSTOP);
	run("touch %s", here("go"));
	wait_for(strcmp(ask(h, text("HGET hero:job:%s status", id)),
		     "finished") == 0);
	herod_kill9(h);
	check_str(job_outcome(h, id), "done");
	wait_for(strcmp(ask(h, "HLEN herod:open:it"), "0") == 0);
	herod_stop(h);
}
