/*
 * When a job begins, on a real Redis: its priority, its time, what must
 * finish before, its unique key, and another attempt later.
 */
#include <math.h>

#include "with_queue.h"

/* ---- helpers ---- */

/* A job like new_job()'s with more settings, as a caller gives them. */
static struct job *
planned(const char *id, const char *settings)
{
	json_t *object = json_loads(settings, 0, NULL);
	struct job *j = job_new();
	struct err e = {0};

	check(object != NULL);
	check_int(job_read(j, object, &e), 0);
	json_decref(object);
	free(j->spec.id);
	j->spec.id = xstrdup(id);
	j->spec.runner = xstrdup("q");
	j->queue = xstrdup("q");
	strlcpy(j->created_at, "2026-01-01T00:00:00.000000Z",
	    sizeof(j->created_at));
	job_move(j, JOB_DISPATCHED, NULL);
	return j;
}

static struct err
plan(struct place *p, const char *id, const char *settings)
{
	struct job *j = planned(id, settings);
	struct told t = {0};

	if (queue_push(p->q, j, false, on_done, &t, &t.e) == 0)
		UNTIL_TOLD(p, t);
	return t.e;
}

static void
check_planned(struct place *p, const char *id, const char *settings)
{
	check_str(plan(p, id, settings).text, "");
}

/* Claims all that can be claimed; their ids. */
static const char *
take_all(struct place *p)
{
	struct told t = take(p, 4);
	char text[512] = "";
	size_t i;

	for (i = 0; i < t.n; i++) {
		strlcat(text, t.jobs[i]->spec.id, sizeof(text));
		strlcat(text, " ", sizeof(text));
		job_free(t.jobs[i]);
	}
	return keep_text(xstrdup(text));
}

/* Claims one and ends it. */
static void
end_next(struct place *p, enum job_status how)
{
	struct job *j = take_one(p);

	if (how == JOB_FINISHED) {
		finish(p, j, "ok");
	} else {
		job_move(j, how, NULL);
		job_set_error(j, "it failed");
		time_text(ev_time(), j->finished_at);
		queue_finish(p->q, j, on_settled, p);
	}
	wait_for(is_settled(p));
}

static const char *
state_of(struct place *p, const char *id)
{
	return REDIS(p, "HMGET hero:job:%s status reason", id);
}

static bool
is_state(struct place *p, const char *id, const char *state)
{
	turn(p->loop);
	return strcmp(state_of(p, id), state) == 0;
}

static void
ended(void *arg, const char *id)
{
	struct place *p = arg;

	strlcat(p->names, id, sizeof(p->names));
	strlcat(p->names, " ", sizeof(p->names));
}

/* The status it had. */
static const char *
cancel(struct place *p, struct job *stolen)
{
	struct told t = {0};

	check_int(queue_cancel(p->q, stolen, on_was, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	job_free(stolen);
	return keep_text(xstrdup(t.text));
}

static struct err
after(struct place *p, const char *id,
    int (*what)(
	struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e))
{
	struct told t = {0};

	check_int(what(p->q, id, on_done, &t, &t.e), 0);
	UNTIL_TOLD(p, t);
	return t.e;
}

static void
hear_of_ends(struct place *p)
{
	static const struct queues_ops ops = {
	    .given_back = on_given_back, .ended = ended};

	queues_set_ops(p->all, &ops, p);
	p->names[0] = '\0';
}

/* ---- what was asked ---- */

void
test_a_plan_is_read_as_it_was_written(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	check_planned(&p, "a",
	    "{\"priority\": \"high\", \"retries\": 2, \"backoff\": \"3s\","
	    "\"unique_key\": \"k\", \"tags\": [\"x\", \"y\"],"
	    "\"metadata\": {\"n\": [1]}}");
	j = take_one(&p);
	check_int(j->spec.priority, JOB_HIGH);
	check_int(j->spec.retries, 2);
	check(j->spec.backoff == 3);
	check_str(j->spec.unique_key, "k");
	check_str(j->spec.tags[1], "y");
	check_str(j->texts[JOB_TEXT_METADATA], "{\"n\":[1]}");
	job_free(j);
	close_place(&p);
}

void
test_a_plan_that_makes_no_sense_is_refused(void)
{
	static const struct {
		const char *settings, *says;
	} wrong[] = {
	    {"{\"delay\": 1, \"run_at\": \"2026-01-01T00:00:00Z\"}",
		"both delay and run_at"},
	    {"{\"run_at\": \"tomorrow\"}", "'tomorrow' is not a time"},
	    {"{\"priority\": \"urgent\"}", "priority"},
	    {"{\"prerequisites\": [\"a b\"]}", "is not the id of a job"},
	    {"{\"retries\": -2}", "retries"},
	};
	struct job *j;
	struct err e;
	json_t *object;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		err_clear(&e);
		j = job_new();
		object = json_loads(wrong[i].settings, 0, NULL);
		check_int(job_read(j, object, &e), -1);
		check_has(e.text, wrong[i].says);
		json_decref(object);
		job_free(j);
	}
}

/* ---- priorities ---- */

void
test_high_ones_begin_before_normal_ones_before_low_ones(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "l", "{\"priority\": \"low\"}");
	push(&p, "n1", false);
	push(&p, "n2", false);
	check_planned(&p, "h", "{\"priority\": \"high\"}");
	check_str(take_all(&p), "h n1 n2 l ");
	close_place(&p);
}

void
test_one_given_back_stands_at_the_head_of_its_row(void)
{
	struct place p;

	open_place(&p);
	push(&p, "n", false);
	check_planned(&p, "h1", "{\"priority\": \"high\"}");
	check_planned(&p, "h2", "{\"priority\": \"high\"}");
	queue_give_back(p.q, take_one(&p), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(take_all(&p), "h1 h2 n ");
	close_place(&p);
}

/* ---- its time ---- */

void
test_a_delayed_job_begins_when_it_is_due(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "late", "{\"delay\": 0.3}");
	check_planned(&p, "never", "{\"delay\": 1000}");
	check_str(state_of(&p, "never"), "created scheduled");
	check_str(take_all(&p), "");
	wait_for(is_state(&p, "late", "dispatched"));
	check_int(p.given_back, 1);
	check_str(take_all(&p), "late ");
	check_str(state_of(&p, "never"), "created scheduled");
	close_place(&p);
}

void
test_run_at_in_the_past_is_now(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"run_at\": \"2020-01-01T00:00:00Z\"}");
	check_str(take_all(&p), "a ");
	close_place(&p);
}

/* Whoever is there looks: the one that was asked may be gone. */
void
test_what_another_node_has_delayed_begins_here(void)
{
	struct place p, other;

	open_place(&p);
	open_node(&other, "node-2");
	check_planned(&other, "a", "{\"delay\": 0.2}");
	close_node(&other);
	wait_for(is_state(&p, "a", "dispatched"));
	close_place(&p);
}

void
test_what_became_due_while_nobody_was_there_begins_at_once(void)
{
	struct place p, other;

	open_place(&p);
	open_node(&other, "node-2");
	check_planned(&other, "a", "{\"delay\": 1000}");
	close_node(&other);
	close_node(&p);
	open_node(&other, "node-2");
	REDIS(&other, "ZADD herod:delay:q 1 a");
	REDIS(&other, "HSET hero:job:a due 1");
	close_node(&other);
	open_node(&other, "node-1");
	wait_for(is_state(&other, "a", "dispatched"));
	close_node(&other);
	server_end(p.server, SIGTERM);
}

void
test_a_delayed_job_can_be_cancelled(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"delay\": 1000}");
	check_str(cancel(&p, new_job("a")), "created");
	check_str(state_of(&p, "a"), "error cancelled");
	check_int(ask(p.loop, p.redis, "ZCARD herod:delay:q").number, 0);
	close_place(&p);
}

/* It may have looked before that one was due. */
void
test_a_look_for_due_jobs_during_another_is_not_lost(void)
{
	struct redis_words w;
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"delay\": 1000}");
	REDIS(&p, "HSET hero:job:a due 1");
	queues_catch_up(p.all);
	words_begin(&w, "ZADD");
	words_add(&w, "herod:delay:q");
	words_add(&w, "1");
	words_add(&w, "a");
	check(redis_send(p.redis, &w, NULL, NULL));
	queues_catch_up(p.all);
	wait_for(is_state(&p, "a", "dispatched"));
	close_place(&p);
}

/* ---- another attempt ---- */

static void
fail_for_now(struct place *p, enum back how, double delay)
{
	struct job *j = take_one(p);

	job_set_error(j, "not yet");
	j->due = llround((ev_time() + delay) * 1000);
	queue_give_back(p->q, j, how, on_settled, p);
	wait_for(is_settled(p));
}

void
test_a_failed_attempt_is_followed_by_another_when_it_is_due(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	fail_for_now(&p, BACK_RETRY, 0.2);
	check_str(REDIS(&p, "HMGET hero:job:a error node"), "not yet");
	check_int(p.settled, 1);
	wait_for(is_state(&p, "a", "dispatched"));
	j = take_one(&p);
	check_int(j->attempts, 2);
	check_int(j->retries_done, 1);
	check_int(j->deferrals, 0);
	finish(&p, j, "at last");
	wait_for(is_settled(&p));
	check_str(state_of(&p, "a"), "finished");
	close_place(&p);
}

void
test_an_attempt_that_asked_for_later_does_not_count(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	fail_for_now(&p, BACK_LATER, 0);
	wait_for(is_state(&p, "a", "dispatched"));
	j = take_one(&p);
	check_int(j->attempts, 1);
	check_int(j->retries_done, 0);
	check_int(j->deferrals, 1);
	job_free(j);
	close_place(&p);
}

void
test_tried_later_twice_is_tried_later_once(void)
{
	static const char later[] =
	    "FCALL herod_try_later 3 hero:job:a herod:own:q:node-1 "
	    "herod:delay:q hero a 1 retries_done error no";
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	check_int(ask(p.loop, p.redis, later).number, 1);
	check_int(ask(p.loop, p.redis, later).number, 0);
	check_str(REDIS(&p, "HGET hero:job:a retries_done"), "1");
	close_place(&p);
}

/* ---- what must finish before ---- */

void
test_a_job_begins_when_all_its_prerequisites_have_finished(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\", \"b\"]}");
	check_str(state_of(&p, "c"), "waiting_for_prerequisites");
	end_next(&p, JOB_FINISHED);
	check_str(state_of(&p, "c"), "waiting_for_prerequisites");
	end_next(&p, JOB_FINISHED);
	wait_for(is_state(&p, "c", "dispatched"));
	check_str(take_all(&p), "c ");
	check_int(
	    ask(p.loop, p.redis, "EXISTS herod:dep:a herod:dep:b").number, 0);
	close_place(&p);
}

/* Also one that is begun already: its end is written the short way. */
void
test_a_prerequisite_may_be_in_hand_already(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\"]}");
	finish(&p, j, "done");
	wait_for(is_state(&p, "c", "dispatched"));
	close_place(&p);
}

void
test_finished_prerequisites_hold_up_nothing(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	end_next(&p, JOB_FINISHED);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\"]}");
	check_str(take_all(&p), "c ");
	close_place(&p);
}

void
test_when_one_does_not_finish_all_that_wait_for_it_end(void)
{
	struct place p;

	open_place(&p);
	hear_of_ends(&p);
	push(&p, "a", false);
	push(&p, "x", false);
	check_planned(&p, "b", "{\"prerequisites\": [\"a\", \"x\"]}");
	check_planned(&p, "c", "{\"prerequisites\": [\"b\"]}");
	end_next(&p, JOB_ERROR);
	wait_for(is_state(&p, "c", "error"));
	check_str(state_of(&p, "b"), "error");
	check_str(REDIS(&p, "HGET hero:job:b error"),
	    "prerequisite a did not finish");
	check_str(REDIS(&p, "HGET hero:job:c error"),
	    "prerequisite b did not finish");
	check(ask(p.loop, p.redis, "PTTL hero:job:c").number > 0);
	check_str(REDIS(&p, "SMEMBERS herod:dep:x"), "");
	wait_for(turn(p.loop) && strcmp(p.names, "b c ") == 0);
	end_next(&p, JOB_FINISHED);
	check_str(state_of(&p, "b"), "error");
	close_place(&p);
}

void
test_a_cancelled_prerequisite_ends_who_waits(void)
{
	struct place p;

	open_place(&p);
	hear_of_ends(&p);
	push(&p, "a", false);
	check_planned(&p, "b", "{\"prerequisites\": [\"a\"]}");
	cancel(&p, new_job("a"));
	check_str(state_of(&p, "b"), "error");
	check_str(p.names, "b ");
	close_place(&p);
}

void
test_prerequisites_that_are_not_there_or_failed_are_refused(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	e = plan(&p, "c", "{\"prerequisites\": [\"none\"]}");
	check_int(e.code, ERR_NO_JOB);
	check_has(e.text, "there is no job none");
	push(&p, "a", false);
	end_next(&p, JOB_ERROR);
	e = plan(&p, "c", "{\"prerequisites\": [\"a\"]}");
	check_int(e.code, ERR_ILLEGAL_MOVE);
	check_has(e.text, "job a has ended and did not finish");
	check_int(ask(p.loop, p.redis, "EXISTS hero:job:c").number, 0);
	close_place(&p);
}

void
test_after_its_prerequisites_a_job_still_waits_for_its_time(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\"], \"delay\": 1000}");
	end_next(&p, JOB_FINISHED);
	wait_for(is_state(&p, "c", "created scheduled"));
	close_place(&p);
}

void
test_an_id_used_again_waits_for_its_own_prerequisites_only(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "x", false);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\", \"x\"]}");
	cancel(&p, new_job("c"));
	check_str(REDIS(&p, "SMEMBERS herod:dep:a"), "");
	check_str(after(&p, "c", queue_forget).text, "");
	/* One that is named twice is one. */
	check_planned(&p, "c", "{\"prerequisites\": [\"x\", \"x\"]}");
	end_next(&p, JOB_FINISHED);
	check_str(state_of(&p, "c"), "waiting_for_prerequisites");
	end_next(&p, JOB_FINISHED);
	wait_for(is_state(&p, "c", "dispatched"));
	close_place(&p);
}

/* As after its hash has been deleted by hand. */
void
test_a_job_waits_also_where_its_id_stands_already(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	REDIS(&p, "SADD herod:dep:a c");
	check_planned(&p, "c", "{\"prerequisites\": [\"a\"]}");
	check_str(state_of(&p, "c"), "waiting_for_prerequisites");
	end_next(&p, JOB_FINISHED);
	wait_for(is_state(&p, "c", "dispatched"));
	close_place(&p);
}

/* Its herod died before it told them. */
void
test_who_waits_for_a_job_is_told_before_it_is_forgotten(void)
{
	struct place p;

	open_place(&p);
	hear_of_ends(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\"]}");
	check_planned(&p, "d", "{\"prerequisites\": [\"b\"]}");
	take_all(&p);
	REDIS(&p, "HSET hero:job:a status finished");
	REDIS(&p, "HSET hero:job:b status error");
	after(&p, "a", queue_forget);
	after(&p, "b", queue_again);
	check_str(state_of(&p, "c"), "dispatched");
	check_str(state_of(&p, "d"), "error");
	check_str(p.names, "d ");
	/* What was said of its last end is not said of this one. */
	check_planned(&p, "e", "{\"prerequisites\": [\"b\"]}");
	REDIS(&p, "FCALL herod_released 1 hero:job:b hero b 1000 99");
	check_str(state_of(&p, "e"), "waiting_for_prerequisites");
	close_place(&p);
}

/* Its daemon died before it took the claim off. */
void
test_who_ends_with_a_job_found_over_is_told_of(void)
{
	struct place p;

	open_place(&p);
	hear_of_ends(&p);
	push(&p, "a", false);
	check_planned(&p, "b", "{\"prerequisites\": [\"a\"]}");
	take_all(&p);
	REDIS(&p, "HSET hero:job:a status error");
	queue_give_back(p.q, new_job("a"), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(state_of(&p, "b"), "error");
	check_str(p.names, "b ");
	close_place(&p);
}

void
test_a_job_queued_without_herod_is_no_prerequisite(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	REDIS(&p, "HSET hero:job:f status dispatched runner q");
	e = plan(&p, "c", "{\"prerequisites\": [\"f\"]}");
	check_int(e.code, ERR_ILLEGAL_MOVE);
	check_has(e.text, "job f was not queued by herod");
	check_int(
	    ask(p.loop, p.redis, "EXISTS hero:job:c herod:dep:f").number, 0);
	/* Its end is known when it is there. */
	REDIS(&p, "HSET hero:job:f status finished");
	check_planned(&p, "c", "{\"prerequisites\": [\"f\"]}");
	check_str(state_of(&p, "c"), "dispatched");
	close_place(&p);
}

void
test_who_ends_with_a_prerequisite_keeps_its_own_result_ttl(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"result_ttl\": 7}");
	check_planned(&p, "b", "{\"prerequisites\": [\"a\"]}");
	cancel(&p, planned("a", "{\"result_ttl\": 7}"));
	check_int(ask(p.loop, p.redis, "TTL hero:job:a").number, 7);
	check_int(ask(p.loop, p.redis, "TTL hero:job:b").number, 3600);
	/* And when a function writes its end. */
	check_planned(&p, "c", "{\"result_ttl\": 7, \"unique_key\": \"k\"}");
	check_planned(&p, "d", "{\"prerequisites\": [\"c\"]}");
	end_next(&p, JOB_ERROR);
	check_int(ask(p.loop, p.redis, "TTL hero:job:c").number, 7);
	check_int(ask(p.loop, p.redis, "TTL hero:job:d").number, 3600);
	close_place(&p);
}

/* ---- unique keys ---- */

void
test_a_unique_key_is_free_again_after_the_end(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\"}");
	e = plan(&p, "b", "{\"unique_key\": \"k\"}");
	check_int(e.code, ERR_DUPLICATE);
	check_has(e.text, "job a has that unique_key");
	check_planned(&p, "c", "{\"unique_key\": \"other\"}");
	end_next(&p, JOB_FINISHED);
	check_planned(&p, "b", "{\"unique_key\": \"k\"}");
	close_place(&p);
}

/* A program that draws from its queue itself has ended it, and no herod has
 * seen that yet; or it is gone. */
void
test_a_unique_key_counts_for_nothing_once_its_job_is_over(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\"}");
	REDIS(&p, "HSET hero:job:a status finished");
	check_planned(&p, "b", "{\"unique_key\": \"k\"}");
	check_int(plan(&p, "c", "{\"unique_key\": \"k\"}").code, ERR_DUPLICATE);
	REDIS(&p, "DEL hero:job:b");
	check_planned(&p, "c", "{\"unique_key\": \"k\"}");
	close_place(&p);
}

void
test_a_unique_key_may_outlast_its_job(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\", \"unique_for\": 1000}");
	end_next(&p, JOB_FINISHED);
	check_int(plan(&p, "b", "{\"unique_key\": \"k\"}").code, ERR_DUPLICATE);
	check(ask(p.loop, p.redis, "PTTL herod:uniq:q:k").number > 900000);
	close_place(&p);
}

static bool
is_there(struct place *p, const char *key)
{
	return ask(p->loop, p->redis, "EXISTS %s", key).number > 0;
}

/* By itself, not by what the next one asks for. */
void
test_how_long_a_unique_key_is_taken_stands_with_the_key(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\", \"unique_for\": 1000}");
	end_next(&p, JOB_FINISHED);
	after(&p, "a", queue_forget);
	check(is_there(&p, "herod:uniq:q:k"));
	check_int(plan(&p, "b", "{\"unique_key\": \"k\"}").code, ERR_DUPLICATE);
	/* Its job is gone, deleted by hand. */
	REDIS(&p, "SET herod:uniq:q:l gone");
	check_planned(&p, "c", "{\"unique_key\": \"l\", \"unique_for\": 1000}");
	check_str(REDIS(&p, "GET herod:uniq:q:l"), "c");
	close_place(&p);
}

void
test_the_shortest_time_of_a_unique_key_is_not_until_the_end(void)
{
	struct place p;

	open_place(&p);
	check_planned(
	    &p, "a", "{\"unique_key\": \"k\", \"unique_for\": 0.0001}");
	wait_for(turn(p.loop) && !is_there(&p, "herod:uniq:q:k"));
	check_str(state_of(&p, "a"), "dispatched");
	close_place(&p);
}

/* ---- after the end ---- */

void
test_a_failed_job_can_be_tried_again_as_if_new(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	check_int(after(&p, "a", queue_again).code, ERR_ILLEGAL_MOVE);
	check_int(after(&p, "none", queue_again).code, ERR_NO_JOB);
	end_next(&p, JOB_ERROR);
	check_str(after(&p, "a", queue_again).text, "");
	check_int(ask(p.loop, p.redis, "TTL hero:job:a").number, -1);
	check_int(ask(p.loop, p.redis, "ZCARD herod:done:q").number, 0);
	j = take_one(&p);
	check_int(j->attempts, 1);
	check(j->error == NULL);
	job_free(j);
	close_place(&p);
}

void
test_a_job_tried_again_takes_its_unique_key_again(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\"}");
	end_next(&p, JOB_ERROR);
	check_planned(&p, "b", "{\"unique_key\": \"k\"}");
	e = after(&p, "a", queue_again);
	check_int(e.code, ERR_DUPLICATE);
	check_has(e.text, "job b has that unique_key");
	check_str(state_of(&p, "a"), "error");
	end_next(&p, JOB_FINISHED);
	check_str(after(&p, "a", queue_again).text, "");
	check_int(plan(&p, "c", "{\"unique_key\": \"k\"}").code, ERR_DUPLICATE);
	end_next(&p, JOB_ERROR);
	check(!is_there(&p, "herod:uniq:q:k"));
	close_place(&p);
}

void
test_a_job_tried_again_keeps_its_unique_key_for_its_time(void)
{
	struct place p;

	open_place(&p);
	check_planned(&p, "a", "{\"unique_key\": \"k\", \"unique_for\": 1000}");
	end_next(&p, JOB_ERROR);
	check_str(after(&p, "a", queue_again).text, "");
	check(ask(p.loop, p.redis, "PTTL herod:uniq:q:k").number > 900000);
	close_place(&p);
}

void
test_a_job_tried_again_waits_for_nobody(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "x", false);
	check_planned(&p, "c", "{\"prerequisites\": [\"a\", \"x\"]}");
	end_next(&p, JOB_ERROR);
	wait_for(is_state(&p, "c", "error"));
	check_str(after(&p, "c", queue_again).text, "");
	check_str(take_all(&p), "x c ");
	close_place(&p);
}

void
test_only_a_job_that_is_over_can_be_forgotten(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	check_int(after(&p, "a", queue_forget).code, ERR_ILLEGAL_MOVE);
	end_next(&p, JOB_FINISHED);
	check_str(after(&p, "a", queue_forget).text, "");
	check_int(after(&p, "a", queue_forget).code, ERR_NO_JOB);
	check_int(
	    ask(p.loop, p.redis, "EXISTS hero:job:a herod:jobs:q herod:done:q")
		.number,
	    0);
	close_place(&p);
}
