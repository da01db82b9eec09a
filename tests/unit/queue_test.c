/*
 * Queues on a real Redis: each transition alone, twice, and with a Redis
 * that is full, away or has forgotten.
 */
#include "with_queue.h"

/* ---- in and out ---- */

void
test_a_pushed_job_lies_as_hero_expects_it(void)
{
	struct place p;

	open_place(&p);
	check_str(push(&p, "a", false).text, "");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	check_str(REDIS(&p, "HMGET hero:job:a status payload runner timeout"),
	    "dispatched hello q 300");
	check_int(ask(p.loop, p.redis, "TTL hero:job:a").number, -1);
	check_str(REDIS(&p, "SMEMBERS herod:queues"), "q");
	close_place(&p);
}

/* The plain way was cut off behind the hash; a job that stands in its row, or
 * has begun, stays where it is. */
void
test_created_again_it_stands_in_its_row_once(void)
{
	static const char again[] =
	    "FCALL herod_create_again 2 hero:job:a herod:jobs:q hero a 1 1 0 0 "
	    "0 q 0 status dispatched runner q";
	struct place p;

	open_place(&p);
	REDIS(&p, "HSET hero:job:a status dispatched runner q");
	REDIS(&p, again);
	REDIS(&p, again);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	check_str(REDIS(&p, "ZRANGE herod:jobs:q 0 -1"), "a");
	REDIS(&p, "DEL hero:work_queue:q");
	REDIS(&p, "HSET hero:job:a status started");
	REDIS(&p, again);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "");
	close_place(&p);
}

void
test_an_id_is_used_once(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	check_str(push(&p, "a", true).text, "");
	e = push(&p, "a", true);
	check_int(e.code, ERR_DUPLICATE);
	check_has(e.text, "a job with the id a exists");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	close_place(&p);
}

void
test_jobs_come_out_in_order_and_claimed(void)
{
	struct told t;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	push(&p, "c", true);
	t = take(&p, 2);
	check_int((long long)t.n, 2);
	check(t.more);
	check_str(t.jobs[0]->spec.id, "a");
	check_str(t.jobs[1]->spec.id, "b");
	check_int(t.jobs[1]->instance, 1);
	check_int(t.jobs[1]->attempts, 1);
	check_str(t.jobs[0]->spec.payload, "hello");
	check(!t.jobs[0]->foreign);
	check_int(t.jobs[0]->status, JOB_STARTED);
	check_str(REDIS(&p, "HMGET hero:job:b status node instance attempts"),
	    "started box 1 1");
	check_str(
	    REDIS(&p, "HGETALL herod:own:q:node-1"), "a 1 0 q/0 b 1 1 q/1");
	job_free(t.jobs[0]);
	job_free(t.jobs[1]);
	t = take(&p, 4);
	check_int((long long)t.n, 1);
	check(!t.more);
	job_free(t.jobs[0]);
	close_place(&p);
}

void
test_ids_without_a_waiting_job_are_passed_over(void)
{
	struct told t;
	struct place p;

	open_place(&p);
	REDIS(&p, "RPUSH hero:work_queue:q ghost");
	REDIS(&p, "SET hero:job:no-hash x");
	REDIS(&p, "RPUSH hero:work_queue:q no-hash");
	REDIS(&p, "HSET hero:job:half payload x");
	REDIS(&p, "RPUSH hero:work_queue:q half");
	push(&p, "a", false);
	REDIS(&p, "RPUSH hero:work_queue:q a");
	push(&p, "b", false);
	t = take(&p, 4);
	check_int((long long)t.n, 2);
	check_str(t.jobs[0]->spec.id, "a");
	check_str(t.jobs[1]->spec.id, "b");
	job_free(t.jobs[0]);
	job_free(t.jobs[1]);
	REDIS(&p, "RPUSH hero:work_queue:q a");
	push(&p, "c", false);
	REDIS(&p, "RPUSH hero:work_queue:q c");
	t = take(&p, 4); /* of the row, all at once */
	check_int((long long)t.n, 1);
	check_str(t.jobs[0]->spec.id, "c");
	job_free(t.jobs[0]);
	close_place(&p);
}

void
test_a_take_that_redis_refuses_leaves_the_row(void)
{
	struct told t;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	REDIS(&p, "SET herod:own:q:node-1 x");
	t = take(&p, 2);
	check_int((long long)t.n, 0);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b");
	REDIS(&p, "DEL herod:own:q:node-1");
	REDIS(&p, "SET herod:q:q:low x");
	t = take(&p, 3);
	check_int((long long)t.n, 2);
	job_free(t.jobs[0]);
	job_free(t.jobs[1]);
	close_place(&p);
}

void
test_a_free_slot_begins_a_job_at_once(void)
{
	struct told t = {0};
	struct place p;
	struct job *j = new_job("a");

	open_place(&p);
	job_move(j, JOB_STARTED, NULL);
	j->node = xstrdup("box");
	j->instance = 3;
	j->attempts = 1;
	check_int(queue_push_started(p.q, j, "q/3", on_done, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	check_str(t.e.text, "");
	check_str(REDIS(&p, "HGETALL herod:own:q:node-1"), "a 1 0 q/3");
	check_str(REDIS(&p, "HMGET hero:job:a status instance"), "started 3");
	check_int(ask(p.loop, p.redis, "LLEN hero:work_queue:q").number, 0);
	job_free(j);
	close_place(&p);
}

/* ---- keys: as many at a time as may, in the order they came ---- */

static void
push_keyed(struct place *p, const char *id)
{
	struct job *j = new_job(id);
	struct told t = {0};

	j->spec.concurrency_key = xstrdup("k");
	job_move(j, JOB_DISPATCHED, NULL);
	check_int(queue_push(p->q, j, false, on_done, &t, &t.e), 0);
	UNTIL_TOLD(p, t);
	check_str(t.e.text, "");
}

/* Each letter is a job. */
static void
push_all_keyed(struct place *p, const char *ids)
{
	char id[2] = "";

	for (; *ids; ids++) {
		id[0] = *ids;
		push_keyed(p, id);
	}
}

static void
limit_key(struct place *p, long long most)
{
	queue_set_limits(p->q, &(struct queue_limits){.key_concurrency = most});
}

static struct job *at_work[128];

/* Those that begin now, of at most n. */
static const char *
begun(struct place *p, size_t n)
{
	static char ids[TAKE_MAX + 1];
	struct told t = take(p, n);
	size_t i;

	for (i = 0; i < t.n; i++) {
		ids[i] = t.jobs[i]->spec.id[0];
		at_work[(int)ids[i]] = t.jobs[i];
	}
	ids[i] = '\0';
	return ids;
}

static void
end_all(struct place *p, const char *ids)
{
	for (; *ids; ids++)
		finish(p, at_work[(int)*ids], "");
	wait_for(is_settled(p));
}

static void
open_keyed(struct place *p, long long most, const char *ids)
{
	open_place(p);
	limit_key(p, most);
	push_all_keyed(p, ids);
}

void
test_those_held_come_before_later_ones_when_more_may(void)
{
	struct place p;

	open_keyed(&p, 1, "abcd");
	check_str(begun(&p, 4), "a");
	push_all_keyed(&p, "ef");
	limit_key(&p, 3);
	check_str(begun(&p, 4), "bc");
	end_all(&p, "b");
	check_str(begun(&p, 4), "d");
	limit_key(&p, 9);
	end_all(&p, "d");
	check_str(begun(&p, 4), "ef");
	close_place(&p);
}

void
test_those_let_out_before_one_begins_stay_in_order(void)
{
	struct place p;

	open_keyed(&p, 3, "abcdefg");
	check_str(begun(&p, 4), "abc");
	end_all(&p, "b");
	end_all(&p, "a");
	check_str(begun(&p, 1), "d");
	end_all(&p, "c");
	check_str(begun(&p, 4), "ef");
	end_all(&p, "f");
	check_str(begun(&p, 4), "g");
	close_place(&p);
}

void
test_one_let_out_is_held_again_as_the_first_when_fewer_may(void)
{
	struct place p;

	open_keyed(&p, 2, "abcd");
	check_str(begun(&p, 4), "ab");
	end_all(&p, "a");
	limit_key(&p, 1);
	check_str(begun(&p, 4), "");
	end_all(&p, "b");
	check_str(begun(&p, 4), "c");
	end_all(&p, "c");
	check_str(begun(&p, 4), "d");
	close_place(&p);
}

/* It never had a place. */
void
test_one_cancelled_before_it_is_held_lets_out_none(void)
{
	struct told t = {0};
	struct place p;
	struct job *j;

	open_keyed(&p, 1, "ab");
	check_str(begun(&p, 4), "a");
	push_keyed(&p, "c");
	j = new_job("c");
	check_int(queue_cancel(p.q, j, on_was, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	job_free(j);
	check_str(begun(&p, 4), "");
	end_all(&p, "a");
	check_str(begun(&p, 4), "b");
	close_place(&p);
}

void
test_a_later_one_does_not_begin_in_place_of_one_let_out(void)
{
	struct place p;

	open_keyed(&p, 1, "abc");
	check_str(begun(&p, 4), "a");
	end_all(&p, "a");
	REDIS(&p,
	    "HSET hero:job:x status dispatched priority high runner q "
	    "concurrency_key k herod 1");
	REDIS(&p, "RPUSH herod:q:q:high x");
	check_str(begun(&p, 1), "b");
	close_place(&p);
}

/* Also when only one at a time is taken from then on. */
void
test_those_given_back_come_before_those_held(void)
{
	struct place p;

	open_keyed(&p, 2, "abcde");
	check_str(begun(&p, 4), "ab");
	queue_give_back(p.q, at_work['b'], BACK_HEAD, NULL, NULL);
	queue_give_back(p.q, at_work['a'], BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(begun(&p, 1), "a");
	end_all(&p, "a");
	check_str(begun(&p, 1), "b");
	end_all(&p, "b");
	check_str(begun(&p, 1), "c");
	end_all(&p, "c");
	check_str(begun(&p, 4), "de");
	close_place(&p);
}

void
test_those_that_stand_again_are_held_in_order_when_fewer_may(void)
{
	struct place p;

	open_keyed(&p, 3, "abcdef");
	check_str(begun(&p, 4), "abc");
	end_all(&p, "b");
	end_all(&p, "a");
	limit_key(&p, 1);
	check_str(begun(&p, 4), "");
	end_all(&p, "c");
	check_str(begun(&p, 4), "d");
	end_all(&p, "d");
	check_str(begun(&p, 4), "e");
	end_all(&p, "e");
	check_str(begun(&p, 4), "f");
	close_place(&p);
}

void
test_the_first_begins_when_fewer_may_and_none_is_at_work(void)
{
	struct place p;

	open_keyed(&p, 2, "abcd");
	check_str(begun(&p, 4), "ab");
	end_all(&p, "a");
	end_all(&p, "b");
	limit_key(&p, 1);
	check_str(begun(&p, 4), "c");
	end_all(&p, "c");
	check_str(begun(&p, 4), "d");
	close_place(&p);
}

static void
cancel_keyed(struct place *p, const char *id)
{
	struct told t = {0};
	struct job *j = new_job(id);

	check_int(queue_cancel(p->q, j, on_was, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	job_free(j);
}

void
test_one_let_out_and_cancelled_gives_its_place_to_the_next(void)
{
	struct place p;

	open_keyed(&p, 2, "abcdefg");
	check_str(begun(&p, 4), "ab");
	end_all(&p, "ab");
	cancel_keyed(&p, "d");
	cancel_keyed(&p, "f");
	check_str(begun(&p, 4), "ce");
	end_all(&p, "ce");
	cancel_keyed(&p, "g");
	check_str(begun(&p, 4), "");
	check_str(REDIS(&p, "KEYS herod:busy:*"), "");
	check_str(REDIS(&p, "KEYS herod:held:*"), "");
	close_place(&p);
}

/* ---- over ---- */

static void
check_finished(struct place *p)
{
	check_str(REDIS(p, "HMGET hero:job:a status result payload"),
	    "finished HELLO hello");
	check_int(
	    ask(p->loop, p->redis, "EXISTS herod:own:q:node-1").number, 0);
	check_int(ask(p->loop, p->redis, "TTL hero:job:a").number, 3600);
	check_int(ask(p->loop, p->redis, "ZCARD herod:done:q").number, 1);
}

void
test_a_finished_job_keeps_its_result_for_its_ttl(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	finish(&p, take_one(&p), "HELLO");
	wait_for(is_settled(&p));
	check_int(p.settled, 1);
	check_finished(&p);
	close_place(&p);
}

void
test_an_end_is_settled_without_the_loop_before_herod_hands_over(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	check_int(job_move(j, JOB_FINISHED, NULL), 0);
	p.settled = 0;
	queue_finish(p.q, j, on_settled, &p);
	redis_settle(p.redis, 60);
	check_int((long long)queues_unsettled(p.all), 0);
	check(p.settled);
	close_place(&p);
}

void
test_a_jobs_own_result_ttl_counts(void)
{
	struct told t = {0};
	struct place p;
	struct job *j = new_job("a");

	open_place(&p);
	j->spec.result_ttl = 7;
	job_move(j, JOB_DISPATCHED, NULL);
	check_int(queue_push(p.q, j, false, on_done, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	finish(&p, take_one(&p), "HELLO");
	wait_for(is_settled(&p));
	check_int(ask(p.loop, p.redis, "TTL hero:job:a").number, 7);
	close_place(&p);
}

void
test_refined_statuses_are_a_reason_beside_heros_word(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	job_set_error(j, "timeout after 1s");
	job_move(j, JOB_TIMEOUT, NULL);
	queue_finish(p.q, j, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "HMGET hero:job:a status reason error"),
	    "error timeout timeout after 1s");
	close_place(&p);
}

void
test_a_full_redis_refuses_new_jobs_and_leaves_nothing(void)
{
	struct place p;
	struct err e;

	open_place(&p);
	REDIS(&p, "CONFIG SET maxmemory 1");
	e = push(&p, "a", false);
	check_int(e.code, ERR_REDIS);
	check_has(e.text, "full (maxmemory is reached)");
	check(*e.hint);
	e = push(&p, "b", true);
	check_int(e.code, ERR_REDIS);
	check_str(REDIS(&p, "KEYS hero:*"), "");
	close_place(&p);
}

void
test_a_full_redis_still_lets_jobs_drain(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	REDIS(&p, "CONFIG SET maxmemory 1");
	j = take_one(&p);
	finish(&p, j, "HELLO");
	wait_for(is_settled(&p));
	check_finished(&p);
	queue_give_back(p.q, take_one(&p), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b");
	close_place(&p);
}

/* Else nobody would find the job when herod dies now. */
void
test_an_end_that_redis_refuses_leaves_the_claim(void)
{
	struct place p;
	struct job *j;
	int i;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	REDIS(&p, "ACL SETUSER default -hset -fcall");
	finish(&p, j, "HELLO");
	for (i = 0; i < 3; i++) /* it has answered what was sent before */
		REDIS(&p, "PING");
	check_int((long long)queues_unsettled(p.all), 1);
	check_int(NUMBER(&p, "HEXISTS herod:own:q:node-1 a"), 1);
	REDIS(&p, "ACL SETUSER default +hset +fcall");
	wait_for(is_settled(&p));
	check_finished(&p);
	close_place(&p);
}

void
test_an_end_that_comes_while_redis_is_away_is_kept(void)
{
	struct place p;
	struct job *j;
	struct err e = {0};
	struct told t = {0};

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	server_end(p.server, SIGKILL);
	wait_for(turn(p.loop) && !redis_is_up(p.redis));
	finish(&p, j, "HELLO");
	check_int((long long)queues_unsettled(p.all), 1);
	check(queues_is_settling(p.all, "a"));
	j = new_job("b");
	check_int(queue_push(p.q, j, false, on_done, &t, &e), -1);
	check_int(e.code, ERR_REDIS);
	p.server = server_start("");
	wait_for(is_begun(&p));
	queues_resend(p.all, true);
	wait_for(is_settled(&p));
	check_finished(&p);
	check(!queues_is_settling(p.all, "a"));
	close_place(&p);
}

/* ---- back ---- */

void
test_given_back_jobs_stand_at_the_head_in_order(void)
{
	struct told t;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	push(&p, "c", false);
	t = take(&p, 2);
	queue_give_back(p.q, t.jobs[1], BACK_HEAD, NULL, NULL);
	queue_give_back(p.q, t.jobs[0], BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_int(p.given_back, 2);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b c");
	check_str(REDIS(&p, "HMGET hero:job:a status attempts deaths node"),
	    "dispatched 0");
	check_int(ask(p.loop, p.redis, "EXISTS herod:own:q:node-1").number, 0);
	close_place(&p);
}

void
test_a_death_counts(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	queue_give_back(p.q, take_one(&p), BACK_DIED, NULL, NULL);
	wait_for(is_settled(&p));
	j = take_one(&p);
	check_int(j->deaths, 1);
	check_int(j->attempts, 2);
	job_free(j);
	close_place(&p);
}

/* The function itself, as after a lost answer. */
void
test_given_back_twice_is_given_back_once(void)
{
	static const char back[] =
	    "FCALL herod_give_back 2 hero:job:a herod:own:q:node-1 "
	    "hero a 1 1000 99";
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	ask(p.loop, p.redis, back);
	ask(p.loop, p.redis, back);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	check_str(REDIS(&p, "HGET hero:job:a deaths"), "1");
	close_place(&p);
}

/* Its daemon died before it took the claim off. */
void
test_a_finished_job_still_claimed_gets_its_time_to_live(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	REDIS(&p, "HSET hero:job:a status finished result HELLO");
	queue_give_back(p.q, new_job("a"), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_int(ask(p.loop, p.redis, "LLEN hero:work_queue:q").number, 0);
	check_finished(&p);
	close_place(&p);
}

/* Cut off behind the first of what follows an end. */
void
test_a_finished_job_that_has_its_time_is_listed_as_done(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	REDIS(&p, "HSET hero:job:a status finished result HELLO");
	REDIS(&p, "EXPIRE hero:job:a 3600");
	queue_give_back(p.q, new_job("a"), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_finished(&p);
	close_place(&p);
}

void
test_a_claim_without_a_job_goes_off(void)
{
	struct place p;

	open_place(&p);
	REDIS(&p, "HSET herod:own:q:node-1 ghost x");
	queue_give_back(p.q, new_job("ghost"), BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_int(ask(p.loop, p.redis, "EXISTS herod:own:q:node-1").number, 0);
	close_place(&p);
}

void
test_finished_twice_is_finished_once(void)
{
	static const char end[] =
	    "FCALL herod_finish 3 hero:job:a "
	    "herod:own:q:node-1 herod:done:q hero a 1000 99 1000 "
	    "box hero:reply:a r status finished result %s";
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	REDIS(&p, end, "one");
	REDIS(&p, end, "two");
	check_str(REDIS(&p, "HGET hero:job:a result"), "one");
	check_int(ask(p.loop, p.redis, "LLEN hero:reply:a").number, 1);
	close_place(&p);
}

void
test_a_finished_job_is_not_given_back(void)
{
	struct place p;
	struct job *j, *again;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	again = new_job("a");
	finish(&p, j, "HELLO");
	wait_for(is_settled(&p));
	queue_give_back(p.q, again, BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_int(ask(p.loop, p.redis, "LLEN hero:work_queue:q").number, 0);
	check_str(REDIS(&p, "HGET hero:job:a status"), "finished");
	close_place(&p);
}

/* ---- cancel ---- */

static const char *
cancel(struct place *p, const char *id)
{
	struct job *j = new_job(id);
	struct told t = {0};

	check_int(queue_cancel(p->q, j, on_was, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	job_free(j);
	return keep_text(xstrdup(t.text));
}

void
test_a_waiting_job_can_be_cancelled(void)
{
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	check_str(cancel(&p, "a"), "dispatched");
	check_str(cancel(&p, "a"), "error");
	check_str(cancel(&p, "none"), "");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b");
	check_str(
	    REDIS(&p, "HMGET hero:job:a status reason"), "error cancelled");
	check_int(ask(p.loop, p.redis, "TTL hero:job:a").number, 3600);
	job_free(take_one(&p));
	check_str(cancel(&p, "b"), "started");
	close_place(&p);
}

/* ---- the Hero way ---- */

void
test_a_foreign_job_is_adopted_and_answered(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	REDIS(&p, "HSET hero:job:f status created payload hello");
	REDIS(&p, "EXPIRE hero:job:f 100");
	REDIS(&p, "LPUSH hero:work_queue:q f");
	j = take_one(&p);
	check(j->foreign);
	check(!j->spec.runner);
	check_int(ask(p.loop, p.redis, "TTL hero:job:f").number, -1);
	finish(&p, j, "HELLO");
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:reply:f 0 -1"), "HELLO");
	check_int(ask(p.loop, p.redis, "TTL hero:reply:f").number, 60);
	check_int(ask(p.loop, p.redis, "ZCARD herod:jobs:q").number, 1);
	close_place(&p);
}

/* Its hash says nothing of the queue that it stands in, or something else. */
static void
push_foreign(struct place *p, const char *id)
{
	REDIS(p,
	    "HSET hero:job:%s status created payload hello runner other "
	    "queue third",
	    id);
	REDIS(p, "LPUSH hero:work_queue:q %s", id);
}

void
test_a_foreign_job_goes_back_to_where_it_came_from(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push_foreign(&p, "f");
	queue_give_back(p.q, take_one(&p), BACK_DIED, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "f");
	j = take_one(&p);
	check_int(j->deaths, 1);
	j->due = 1;
	queue_give_back(p.q, j, BACK_LATER, NULL, NULL);
	wait_for(is_settled(&p));
	queues_catch_up(p.all);
	wait_for(turn(p.loop) &&
	    !strcmp(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "f"));
	check_str(cancel(&p, "f"), "dispatched");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "");
	close_place(&p);
}

void
test_a_foreign_job_is_cancelled_where_it_stands(void)
{
	struct place p;

	open_place(&p);
	push_foreign(&p, "f");
	check_str(cancel(&p, "f"), "created");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "");
	check_str(REDIS(&p, "ZRANGE herod:done:q 0 -1"), "f");
	check_str(REDIS(&p, "LRANGE hero:reply:f 0 -1"), "cancelled");
	close_place(&p);
}

void
test_a_foreign_job_is_kept_as_one_when_redis_forgets(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push_foreign(&p, "f");
	j = take_one(&p);
	REDIS(&p, "DEL hero:job:f herod:own:q:node-1");
	push_foreign(&p, "f");
	queue_keep(p.q, j, "q/0", NULL, NULL);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "");
	check_str(
	    REDIS(&p, "HMGET hero:job:f status queue herod"), "started q");
	finish(&p, j, "HELLO");
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:reply:f 0 -1"), "HELLO");
	close_place(&p);
}

/* ---- claims ---- */

static const char *
claims_of(struct place *p)
{
	struct told t = {0};

	queue_claims(p->q, on_claims, &t);
	UNTIL_TOLD(p, t);
	return keep_text(xstrdup(t.text));
}

void
test_claims_come_in_the_order_they_were_made(void)
{
	struct place p, next;
	char id[8];
	struct told t;
	int i;

	open_place(&p);
	for (i = 0; i < 12; i++) {
		snprintf(id, sizeof(id), "%d", (i * 7) % 12);
		push(&p, id, false);
	}
	for (i = 0; i < 6; i++)
		job_free(take_one(&p));
	/* The next herod of this node. */
	open_node(&next, "node-1");
	check_str(next.names, "q ");
	for (i = 0; i < 3; i++) {
		t = take(&next, 2);
		job_free(t.jobs[0]);
		job_free(t.jobs[1]);
	}
	check_str(claims_of(&next),
	    "0=q/0 7=q/0 2=q/0 9=q/0 4=q/0 11=q/0 "
	    "6=q/0 1=q/1 8=q/0 3=q/1 10=q/0 5=q/1 ");
	close_node(&next);
	/* Another node has its own. */
	open_node(&next, "node-2");
	check_str(claims_of(&next), "");
	close_node(&next);
	close_place(&p);
}

void
test_a_job_in_hand_is_kept_when_redis_forgets(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	j = take_one(&p);
	/* The take was lost: the job stands in its queue again. */
	REDIS(&p, "DEL herod:own:q:node-1");
	REDIS(&p, "LPUSH hero:work_queue:q a");
	REDIS(&p, "HSET hero:job:a status dispatched");
	REDIS(&p, "HDEL hero:job:a node");
	queue_keep(p.q, j, "q/0", NULL, NULL);
	check_str(claims_of(&p), "a=q/0 ");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b");
	check_str(REDIS(&p, "HGET hero:job:a status"), "started");
	/* All of it was lost. */
	REDIS(&p, "FLUSHALL");
	queue_keep(p.q, j, "q/0", NULL, NULL);
	check_str(claims_of(&p), "a=q/0 ");
	check_str(
	    REDIS(&p, "HMGET hero:job:a status payload"), "started hello");
	/* Somebody else has it. */
	REDIS(&p, "FLUSHALL");
	REDIS(&p, "HSET hero:job:a status started node other");
	queue_keep(p.q, j, "q/0", NULL, NULL);
	check_str(claims_of(&p), "");
	job_free(j);
	close_place(&p);
}

void
test_a_job_given_back_while_redis_forgets_is_not_lost(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	kill(p.server, SIGSTOP);
	queue_give_back(p.q, j, BACK_HEAD, NULL, NULL);
	server_end(p.server, SIGKILL);
	unlink("redis.sock");
	check_int(system("rm -rf appendonlydir"), 0);
	wait_for(turn(p.loop) && !redis_is_up(p.redis));
	p.server = server_start("");
	wait_for(is_begun(&p));
	queues_resend(p.all, redis_forgot(p.redis));
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	check_str(
	    REDIS(&p, "HMGET hero:job:a status payload"), "dispatched hello");
	close_place(&p);
}

/* ---- looking ---- */

void
test_a_job_is_read_as_it_was_written(void)
{
	struct told t = {0};
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	check_int(queues_read(p.all, "a", on_job, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	j = t.jobs[0];
	check_str(j->spec.id, "a");
	check_str(j->spec.runner, "q");
	check_str(j->queue, "q");
	check_str(j->created_at, "2026-01-01T00:00:00.000000Z");
	check_int(j->status, JOB_DISPATCHED);
	check(j->spec.timeout == 300);
	job_free(j);
	memset(&t, 0, sizeof(t));
	check_int(queues_read(p.all, "none", on_job, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	check(!t.jobs[0]);
	check_str(t.e.text, "");
	close_place(&p);
}

/* The ids of a page; *cursor is replaced by where it goes on. */
static const char *
page(struct place *p, struct page_wanted want, char **cursor)
{
	char text[512] = "";
	struct told t = {0};
	json_t *job;
	size_t i;

	want.cursor = *cursor;
	check_int(queues_list(p->all, &want, on_page, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	check_str(t.e.text, "");
	json_array_foreach (json_object_get(t.page, "jobs"), i, job) {
		strlcat(text, json_string_value(json_object_get(job, "id")),
		    sizeof(text));
		strlcat(text, " ", sizeof(text));
	}
	*cursor = keep_text(
	    xstrdup(json_string_value(json_object_get(t.page, "cursor"))));
	json_decref(t.page);
	return keep_text(xstrdup(text));
}

void
test_pages_are_newest_first_over_all_queues(void)
{
	struct page_wanted want = {.status = -1, .limit = 3};
	struct queue *first;
	char *cursor = NULL;
	struct place p;

	open_place(&p);
	first = p.q;
	push(&p, "a", false);
	p.q = queue_open(p.all, "other");
	push(&p, "b", false);
	push(&p, "c", false);
	p.q = first;
	push(&p, "d", false);
	push(&p, "e", true);
	check_str(page(&p, want, &cursor), "e d c ");
	check(cursor);
	check_str(page(&p, want, &cursor), "b a ");
	check(!cursor);
	want.queue = "other";
	check_str(page(&p, want, &cursor), "c b ");
	check(!cursor);
	want.queue = "none";
	check_str(page(&p, want, &cursor), "");
	close_place(&p);
}

void
test_pages_can_be_of_one_status(void)
{
	struct page_wanted want = {.status = JOB_CANCELLED, .limit = 10};
	char *cursor = NULL;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	push(&p, "c", false);
	cancel(&p, "b");
	check_str(page(&p, want, &cursor), "b ");
	want.status = JOB_ERROR;
	check_str(page(&p, want, &cursor), "");
	want.status = JOB_DISPATCHED;
	check_str(page(&p, want, &cursor), "c a ");
	close_place(&p);
}

/* Redis has lost its last seconds, and with them that it was taken back. */
void
test_a_reason_left_over_counts_for_nothing(void)
{
	struct page_wanted want = {.status = JOB_SCHEDULED, .limit = 10};
	char *cursor = NULL;
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	finish(&p, take_one(&p), "HELLO");
	wait_for(is_settled(&p));
	push(&p, "b", false);
	cancel(&p, "b");
	REDIS(&p, "HSET hero:job:a reason scheduled");
	check_str(page(&p, want, &cursor), "");
	want.status = JOB_FINISHED;
	check_str(page(&p, want, &cursor), "a ");
	want.status = JOB_ERROR;
	check_str(page(&p, want, &cursor), "");
	push(&p, "c", false);
	j = take_one(&p);
	REDIS(&p, "HSET hero:job:c reason scheduled error late exit 1");
	queue_keep(p.q, j, "q/0", NULL, NULL);
	check_str(REDIS(&p, "HMGET hero:job:c reason error exit"), "");
	REDIS(&p, "HSET hero:job:c reason scheduled error late exit 1");
	queue_give_back(p.q, j, BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "HMGET hero:job:c status reason error exit"),
	    "dispatched");
	close_place(&p);
}

void
test_many_jobs_of_one_moment_are_listed_once(void)
{
	struct page_wanted want = {.status = -1, .limit = 70};
	char *cursor = NULL;
	struct place p;
	int i, n = 0;
	const char *text;

	open_place(&p);
	for (i = 0; i < 250; i++) {
		REDIS(&p, "HSET hero:job:%03d status dispatched runner q", i);
		REDIS(&p, "ZADD herod:jobs:q 5 %03d", i);
	}
	REDIS(&p, "SADD herod:queues q");
	do {
		text = page(&p, want, &cursor);
		for (; *text; text += 4, n++)
			check_int(atoi(text), 249 - n);
	} while (cursor);
	check_int(n, 250);
	close_place(&p);
}

void
test_a_false_cursor_is_refused(void)
{
	static const char *const cursors[] = {
	    "", ":", "x:a", "1:", "1", "1:a b", "nan:a", "inf:a"};
	struct page_wanted want = {.status = -1, .limit = 1};
	struct err e;
	struct place p;
	size_t i;

	open_place(&p);
	for (i = 0; i < sizeof(cursors) / sizeof(*cursors); i++) {
		memset(&e, 0, sizeof(e));
		want.cursor = cursors[i];
		check_int(queues_list(p.all, &want, on_page, NULL, &e), -1);
		check_int(e.code, ERR_PARAMS);
	}
	close_place(&p);
}

void
test_expired_jobs_leave_the_lists(void)
{
	struct page_wanted want = {.status = -1, .limit = 10};
	char *cursor = NULL;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	REDIS(&p, "DEL hero:job:a");
	check_str(page(&p, want, &cursor), "b ");
	check_int(ask(p.loop, p.redis, "ZCARD herod:jobs:q").number, 1);
	/* And without anybody listing. */
	REDIS(&p, "ZADD herod:done:q 100 b");
	check_int(ask(p.loop, p.redis,
		      "FCALL herod_trim 2 herod:jobs:q herod:done:q 99 10")
		      .number,
	    0);
	check_int(ask(p.loop, p.redis,
		      "FCALL herod_trim 2 herod:jobs:q herod:done:q 100 10")
		      .number,
	    1);
	check_int(ask(p.loop, p.redis, "ZCARD herod:jobs:q").number, 0);
	close_place(&p);
}

static bool
is_indexed(struct place *p, const char *id)
{
	return *REDIS(p, "ZSCORE herod:jobs:q %s", id) != 0;
}

static void
end_by_function(struct place *p, const char *id)
{
	struct job *j;

	REDIS(p, "HSET hero:job:%s status created payload hello", id);
	REDIS(p, "LPUSH hero:work_queue:q %s", id);
	j = take_one(p);
	check(j->foreign);
	finish(p, j, "HELLO");
	wait_for(is_settled(p));
}

static void
end_by_cancel(struct place *p, const char *id)
{
	push(p, id, false);
	cancel(p, id);
}

/* However the jobs of its queue end. */
void
test_an_expired_job_is_forgotten_after_some_ends(void)
{
	static void (*const ends[])(struct place * p, const char *id) = {
	    end_by_function, end_by_cancel};
	struct place p;
	char id[16];
	size_t i;
	int n;

	open_place(&p);
	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		REDIS(&p, "ZADD herod:jobs:q 5 gone");
		REDIS(&p, "ZADD herod:done:q 5 gone");
		for (n = 0; n < 1000 && is_indexed(&p, "gone"); n++) {
			snprintf(id, sizeof(id), "%zu-%d", i, n);
			ends[i](&p, id);
		}
		check(!is_indexed(&p, "gone"));
	}
	close_place(&p);
}

static void
on_depths(void *arg, const struct queue_depth *d, size_t n)
{
	struct told *t = arg;

	t->done = true;
	t->n = n;
	snprintf(t->text, sizeof(t->text), "%lld %lld %s", d[0].jobs, d[1].jobs,
	    d[1].oldest > 0 ? "known" : "unknown");
}

void
test_depths_come_in_order_or_not_at_all(void)
{
	static const char *const names[] = {"none", "q"};
	struct told t = {0};
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	queues_depths(p.all, names, 2, on_depths, &t);
	UNTIL_TOLD(&p, t);
	check_str(t.text, "0 2 known");
	ask(p.loop, p.redis, "HSET hero:job:a created_at yesterday");
	t.done = false;
	queues_depths(p.all, names, 2, on_depths, &t);
	UNTIL_TOLD(&p, t);
	check_str(t.text, "0 2 unknown");
	server_end(p.server, SIGKILL);
	wait_for(turn(p.loop) && !redis_is_up(p.redis));
	queues_depths(p.all, names, 2, on_depths, &t);
	check_str(t.text, "-1 -1 unknown");
	close_node(&p);
}

/* ---- who we are ---- */

void
test_a_node_keeps_its_id(void)
{
	char *one = queues_node_id(".", NULL), *two = queues_node_id(".", NULL);
	struct err e = {0};

	check_int((long long)strlen(one), 36);
	check_str(one, two);
	write_file("node.id", "nonsense\n");
	free(two);
	two = queues_node_id(".", NULL);
	check(strcmp(one, two));
	check(!queues_node_id("/none", &e));
	check_has(e.text, "/none/node.id");
	free(one);
	free(two);
}

/* As by a full disk, but quicker: its functions are forbidden. */
void
test_a_refused_registration_is_tried_again(void)
{
	struct place p;

	open_place(&p);
	check_str(REDIS(&p, "ACL SETUSER default -fcall"), "OK");
	p.begun = false;
	queues_register(p.all, on_name, &p);
	/* Its answer is the second. */
	check_str(REDIS(&p, "ACL SETUSER default +fcall"), "OK");
	check(!p.begun);
	wait_for(is_begun(&p));
	close_place(&p);
}

/* No job begins before they are known. */
void
test_claims_that_redis_refuses_to_tell_are_asked_for_again(void)
{
	struct told t = {0};
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	check_str(REDIS(&p, "ACL SETUSER default -hgetall"), "OK");
	queue_claims(p.q, on_claims, &t);
	check_str(REDIS(&p, "ACL SETUSER default +hgetall"), "OK");
	check(!t.done);
	UNTIL_TOLD(&p, t);
	check_has(t.text, "a=");
	/* Who registers reads them anew, and not twice. */
	check_str(REDIS(&p, "ACL SETUSER default -hgetall"), "OK");
	t.done = false;
	queue_claims(p.q, on_claims, &t);
	check_str(REDIS(&p, "ACL SETUSER default +hgetall"), "OK");
	queues_register(p.all, on_name, &p);
	wait_for(is_begun(&p));
	check(!t.done);
	close_place(&p);
}

static void
on_other_settled(void *arg)
{
	struct place *p = arg;

	/* What stands beside it is still known. */
	check(queues_is_settling(p->all, "b"));
	p->settled++;
}

/* Whoever queues a job the Hero way may do so while herod settles it. */
void
test_one_job_may_be_settled_twice_at_once(void)
{
	struct job *one, *other, *b;
	struct place p;

	open_place(&p);
	push(&p, "a", false);
	one = take_one(&p);
	REDIS(&p, "HSET hero:job:a status dispatched");
	REDIS(&p, "RPUSH hero:work_queue:q a");
	other = take_one(&p);
	push(&p, "b", false);
	b = take_one(&p);
	finish(&p, one, "HELLO");
	check_int(job_move(other, JOB_FINISHED, NULL), 0);
	queue_finish(p.q, other, on_other_settled, &p);
	finish(&p, b, "HELLO");
	wait_for(is_settled(&p));
	check_int(p.settled, 3);
	check(!queues_is_settling(p.all, "a"));
	close_place(&p);
}

void
test_each_start_of_a_node_has_an_epoch(void)
{
	struct place p, next;

	open_place(&p);
	check_str(REDIS(&p, "HMGET herod:node:node-1 name epoch"), "box 1");
	open_node(&next, "node-1");
	check_str(REDIS(&p, "HGET herod:node:node-1 epoch"), "2");
	close_node(&next);
	/* Coming back is not starting. */
	server_end(p.server, SIGTERM);
	wait_for(turn(p.loop) && !redis_is_up(p.redis));
	p.server = server_start("");
	wait_for(is_begun(&p));
	check_str(REDIS(&p, "HGET herod:node:node-1 epoch"), "2");
	close_place(&p);
}
