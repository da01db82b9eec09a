/*
 * Queues that others' programs draw from themselves: each function that looks
 * after them, alone on a real Redis.
 */
#include "with_queue.h"

struct seen {
	bool done;
	enum observed what;
	long long nodes;
	struct job *job;
};

static void
on_seen(void *arg, const char *id, enum observed what, long long nodes,
    struct job *j)
{
	struct seen *s = arg;

	check_str(id, "a");
	s->done = true;
	s->what = what;
	s->nodes = nodes;
	s->job = j;
}

static struct seen
see(struct place *p)
{
	struct seen s = {0};

	check(queues_observe(p->all, "a", on_seen, &s));
	UNTIL_TOLD(p, s);
	return s;
}

static enum observed
what_is_seen(struct place *p)
{
	struct seen s = see(p);

	job_free(s.job);
	return s.what;
}

struct swept {
	bool done;
	char taken[64], begun[64];
};

static void
on_swept(void *arg, char *const *taken, char *const *begun)
{
	struct swept *s = arg;

	for (; *taken; taken++)
		strlcat(s->taken, *taken, sizeof(s->taken));
	for (; *begun; begun++)
		strlcat(s->begun, *begun, sizeof(s->begun));
	s->done = true;
}

/* An actor has it in hand. */
static struct seen
begin_a(struct place *p)
{
	REDIS(p, "LREM hero:work_queue:q 0 a");
	REDIS(p, "HSET hero:job:a status started");
	return see(p);
}

static void
open_external(struct place *p)
{
	open_place(p);
	queue_set_external(p->q, true);
}

void
test_a_new_job_is_known_before_it_can_be_taken(void)
{
	struct place p;

	open_external(&p);
	check_str(REDIS(&p, "HGETALL herod:external:q"), "node-1 box");
	push(&p, "a", false);
	check_str(REDIS(&p, "HGETALL herod:open:q"), "a new");
	push(&p, "b", true);
	check_str(REDIS(&p, "HGET herod:open:q b"), "new");
	check(what_is_seen(&p) == OBSERVED_NEW);
	queue_set_external(p.q, false);
	check_int(NUMBER(&p, "EXISTS herod:external:q"), 0);
	close_place(&p);
}

void
test_a_begin_is_counted_once(void)
{
	struct place p;
	struct seen s;

	open_external(&p);
	push(&p, "a", false);
	s = begin_a(&p);
	check(s.what == OBSERVED_BEGUN);
	check_int(s.nodes, 1);
	check(s.job->external);
	check_int(s.job->attempts, 1);
	check_str(s.job->node, "box");
	check_str(s.job->spec.payload, "hello");
	job_free(s.job);
	s = see(&p);
	check(s.what == OBSERVED_BEGUN);
	check_int(s.job->attempts, 1);
	job_free(s.job);
	close_place(&p);
}

/* Nobody begins a job meanwhile, and any herod can tell it later. */
void
test_what_a_dead_program_had_begun_is_marked(void)
{
	struct swept s = {0};
	struct place p;

	open_external(&p);
	push(&p, "a", false);
	REDIS(&p, "LREM hero:work_queue:q 0 a");
	REDIS(&p, "HSET hero:job:a status started");
	check(queue_sweep(p.q, OBSERVED_SUSPECT, on_swept, &s));
	UNTIL_TOLD(&p, s);
	check_str(s.begun, "a");
	check(what_is_seen(&p) == OBSERVED_SUSPECT);
	check_str(REDIS(&p, "HMGET hero:job:a attempts node"), "1 box");
	check(queue_sweep(p.q, OBSERVED_ORPHAN, on_swept, &s));
	wait_for(turn(p.loop) && strcmp(s.begun, "aa") == 0);
	check(what_is_seen(&p) == OBSERVED_ORPHAN);
	check_str(REDIS(&p, "HGET hero:job:a attempts"), "1");
	/* Programs of others may have it. */
	REDIS(&p, "HSET herod:open:q a begun");
	REDIS(&p, "HSET herod:external:q node-2 other");
	check(queue_sweep(p.q, OBSERVED_ORPHAN, on_swept, &s));
	wait_for(turn(p.loop) && strcmp(s.begun, "aaa") == 0);
	check(what_is_seen(&p) == OBSERVED_BEGUN);
	close_place(&p);
}

void
test_a_job_that_herod_handed_out_is_not_theirs(void)
{
	struct place p;

	open_external(&p);
	push(&p, "a", false);
	job_free(take_one(&p));
	check_int(NUMBER(&p, "EXISTS herod:open:q"), 0);
	check(what_is_seen(&p) == OBSERVED_NOTHING);
	close_place(&p);
}

void
test_a_job_queued_by_others_is_adopted(void)
{
	struct place p;

	open_external(&p);
	REDIS(&p, "HSET hero:job:a status dispatched runner q payload x");
	REDIS(&p, "EXPIRE hero:job:a 100");
	check(what_is_seen(&p) == OBSERVED_NEW);
	check_int(NUMBER(&p, "TTL hero:job:a"), -1);
	check_int(NUMBER(&p, "ZCARD herod:jobs:q"), 1);
	check_str(REDIS(&p, "SMEMBERS herod:queues"), "q");
	check_str(REDIS(&p, "HGET hero:job:a queue"), "q");
	close_place(&p);
}

/* ---- the end ---- */

static void
on_ended(void *arg, bool done, bool lost)
{
	check(!lost);
	*(int *)arg = done ? 1 : 0;
}

static int
end_a(struct place *p, struct job *j, bool again)
{
	int done = -1;

	queue_external_end(p->q, j, again, on_ended, &done);
	wait_for(turn(p->loop) && done != -1);
	return done;
}

static struct job *
ended_job(struct place *p, const char *fields)
{
	struct seen s;

	REDIS(p, "HSET hero:job:a %s", fields);
	s = see(p);
	check(s.what == OBSERVED_OVER);
	return s.job;
}

void
test_an_end_is_dealt_with_once(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	job_free(begin_a(&p).job);
	REDIS(&p, "RPUSH hero:reply:a yes");
	j = ended_job(&p, "status finished result yes");
	check_str(j->result, "yes");
	check_int(end_a(&p, j, false), 1);
	check(NUMBER(&p, "PTTL hero:job:a") > 3000000);
	check(NUMBER(&p, "TTL hero:reply:a") > 0);
	check_int(NUMBER(&p, "ZCARD herod:done:q"), 1);
	check(*REDIS(&p, "HGET hero:job:a finished_at"));
	check_int(end_a(&p, j, false), 0);
	check(what_is_seen(&p) == OBSERVED_NOTHING);
	job_free(j);
	close_place(&p);
}

void
test_an_end_that_is_seen_before_the_beginning_counts_as_both(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	REDIS(&p, "LREM hero:work_queue:q 0 a");
	j = ended_job(&p, "status finished result yes");
	check_int(j->attempts, 1);
	check_str(j->node, "box");
	check_int(end_a(&p, j, false), 1);
	check_str(REDIS(&p, "HGET hero:job:a attempts"), "1");
	job_free(j);
	close_place(&p);
}

void
test_an_end_releases_those_that_wait(void)
{
	struct told t = {0};
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	j = new_job("b");
	strv_add(&j->spec.prerequisites, xstrdup("a"));
	job_move(j, JOB_DISPATCHED, NULL);
	check_int(queue_push(p.q, j, true, on_done, &t, &t.e), 0);
	UNTIL_TOLD(&p, t);
	job_free(begin_a(&p).job);
	j = ended_job(&p, "status finished result yes");
	check_int(end_a(&p, j, false), 1);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b");
	check_str(REDIS(&p, "HGETALL herod:open:q"), "b new");
	job_free(j);
	close_place(&p);
}

/* ---- keys: herod's own runners drew from there before ---- */

/* a has the only place, b waits for it. */
static void
open_keyed(struct place *p)
{
	open_external(p);
	push(p, "a", false);
	push(p, "b", false);
	REDIS(p, "LREM hero:work_queue:q 0 b");
	REDIS(p, "HDEL herod:open:q b");
	REDIS(p, "HSET hero:job:a concurrency_key k");
	REDIS(p, "HSET hero:job:b concurrency_key k");
	REDIS(p, "SADD herod:busy:q:k a");
	REDIS(p, "RPUSH herod:held:q:k b");
	REDIS(p, "HSET herod:held:q k 1");
}

static void
check_b_has_the_place(struct place *p)
{
	check_str(REDIS(p, "SMEMBERS herod:busy:q:k"), "b");
	check_str(REDIS(p, "LRANGE hero:work_queue:q 0 -1"), "b");
	check_str(REDIS(p, "KEYS herod:held:*"), "");
}

void
test_an_end_lets_the_next_of_its_key_out(void)
{
	struct place p;
	struct job *j;

	open_keyed(&p);
	job_free(begin_a(&p).job);
	j = ended_job(&p, "status finished result yes");
	check_int(end_a(&p, j, false), 1);
	check_b_has_the_place(&p);
	job_free(j);
	close_place(&p);
}

void
test_a_failed_job_that_is_tried_later_lets_the_next_of_its_key_out(void)
{
	struct place p;
	struct job *j;

	open_keyed(&p);
	job_free(begin_a(&p).job);
	j = ended_job(&p, "status error error no");
	j->due = 4e12;
	check_int(end_a(&p, j, true), 1);
	check_b_has_the_place(&p);
	job_free(j);
	close_place(&p);
}

void
test_one_that_failed_before_its_program_died_lets_the_next_out(void)
{
	struct place p;
	struct job *j;

	open_keyed(&p);
	REDIS(&p, "HSET hero:job:a retries 1 backoff 7");
	j = begin_a(&p).job;
	REDIS(&p, "HSET hero:job:a status error error no");
	queue_give_back(p.q, j, BACK_DIED, on_settled, &p);
	wait_for(turn(p.loop) && !queues_unsettled(p.all));
	check_b_has_the_place(&p);
	close_place(&p);
}

void
test_a_failed_job_is_tried_again_when_it_is_due(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	job_free(begin_a(&p).job);
	j = ended_job(&p, "status error error no");
	j->due = 1000; /* long ago */
	check_int(end_a(&p, j, true), 1);
	wait_for(turn(p.loop) &&
	    strcmp(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a") == 0);
	check_str(REDIS(&p, "HMGET hero:job:a status retries_done attempts"),
	    "dispatched 1 1");
	check_str(REDIS(&p, "HGETALL herod:open:q"), "a new");
	job_free(j);
	close_place(&p);
}

/* ---- what was taken ---- */

void
test_a_sweep_tells_what_was_taken_and_what_was_begun(void)
{
	static char id[4][2] = {"b", "a", "c", "d"};
	char *const ids[] = {id[0], id[1], id[2], id[3], NULL};
	struct swept s = {0};
	struct place p;

	open_external(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	push(&p, "c", false);
	push(&p, "d", false);
	job_free(begin_a(&p).job);
	REDIS(&p, "LREM hero:work_queue:q 0 b");
	REDIS(&p, "LREM hero:work_queue:q 0 d");
	REDIS(&p, "HSET hero:job:d status finished");
	check(queue_sweep(p.q, OBSERVED_NOTHING, on_swept, &s));
	UNTIL_TOLD(&p, s);
	check_str(s.taken, "b");
	check_has("ad da", s.begun);
	/* Only those that are not begun, over, or in the list go back. */
	queue_unbegun(p.q, ids, NULL, NULL);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b c");
	close_place(&p);
}

static void
on_id(void *arg, const char *id)
{
	strlcat(arg, id, 64);
}

void
test_a_scan_finds_jobs_that_nobody_has_seen(void)
{
	char ids[64] = "";
	struct place p;

	open_external(&p);
	REDIS(&p, "HSET hero:job:a status started runner q");
	REDIS(&p, "HSET hero:job:b status finished runner q");
	REDIS(&p, "HSET hero:job:c status started runner q node box");
	REDIS(&p, "HSET hero:job:d status started runner other");
	queues_scan(p.all, on_id, ids);
	wait_for(turn(p.loop) && strcmp(ids, "a") == 0);
	close_place(&p);
}

void
test_a_job_that_waits_is_cancelled_out_of_their_list(void)
{
	struct told t = {0};
	struct place p;
	struct job *j = new_job("a");

	open_external(&p);
	push(&p, "a", false);
	check_int(queue_cancel(p.q, j, on_was, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	check_str(t.text, "dispatched");
	check_int(NUMBER(&p, "EXISTS herod:open:q hero:work_queue:q"), 0);
	job_free(j);
	close_place(&p);
}

/* ---- back ---- */

void
test_what_goes_back_is_theirs_again(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	push(&p, "b", false);
	j = begin_a(&p).job;
	queue_give_back(p.q, j, BACK_DIED, on_settled, &p);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b");
	check_str(REDIS(&p, "HMGET hero:job:a status attempts deaths"),
	    "dispatched 1 1");
	check_str(REDIS(&p, "HGET herod:open:q a"), "new");
	close_place(&p);
}

static void
give_back_unheard(struct place *p, const struct job *j)
{
	REDIS(p,
	    "FCALL herod_give_back 2 hero:job:a herod:open:q hero a 1 1000 99 "
	    "%s",
	    j->started_at);
}

/* The answer was lost with Redis: what is sent again does nothing, neither
 * while it stands in its row nor when the next one has begun it. */
void
test_what_went_back_unheard_goes_back_once(void)
{
	struct place p;
	struct job *first, *next;

	open_external(&p);
	push(&p, "a", false);
	first = begin_a(&p).job;
	give_back_unheard(&p, first);
	give_back_unheard(&p, first);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	next = begin_a(&p).job;
	give_back_unheard(&p, first);
	check_int(NUMBER(&p, "EXISTS hero:work_queue:q"), 0);
	check_str(REDIS(&p, "HMGET hero:job:a status deaths"), "started 1");
	job_free(first);
	job_free(next);
	close_place(&p);
}

void
test_a_job_ended_meanwhile_does_not_go_back(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	j = begin_a(&p).job;
	REDIS(&p, "HSET hero:job:a status finished result yes");
	queue_give_back(p.q, j, BACK_DIED, on_settled, &p);
	wait_for(is_settled(&p));
	check_int(NUMBER(&p, "EXISTS hero:work_queue:q herod:open:q"), 0);
	check_str(REDIS(&p, "HMGET hero:job:a status result"), "finished yes");
	check(NUMBER(&p, "PTTL hero:job:a") > 0);
	close_place(&p);
}

/* Its program said so just before it died. */
void
test_one_that_failed_meanwhile_is_tried_again(void)
{
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	REDIS(&p, "HSET hero:job:a retries 1 backoff 7");
	j = begin_a(&p).job;
	REDIS(&p, "HSET hero:job:a status error error no");
	queue_give_back(p.q, j, BACK_DIED, on_settled, &p);
	wait_for(turn(p.loop) && !queues_unsettled(p.all));
	check_str(
	    REDIS(&p, "HMGET hero:job:a status reason retries_done deaths"),
	    "created scheduled 1");
	check_str(REDIS(&p, "ZRANGE herod:delay:q 0 -1"), "a");
	check_str(REDIS(&p, "HKEYS herod:open:q"), "");
	close_place(&p);
}

void
test_a_high_priority_goes_to_the_head_of_their_only_row(void)
{
	struct told t = {0};
	struct place p;
	struct job *j;

	open_external(&p);
	push(&p, "a", false);
	j = new_job("b");
	j->spec.priority = JOB_HIGH;
	job_move(j, JOB_DISPATCHED, NULL);
	check_int(queue_push(p.q, j, false, on_done, &t, &t.e), 0);
	UNTIL_TOLD(&p, t);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "b a");
	close_place(&p);
}

/* ---- external runners ---- */

struct reply {
	bool done;
	char queue[64];
	enum err_code code;
};

static void
on_enrolled(void *arg, const char *queue, const struct err *e)
{
	struct reply *t = arg;

	t->done = true;
	t->code = e ? e->code : ERR_NONE;
	strlcpy(t->queue, queue ? queue : "", sizeof(t->queue));
}

static void
on_struck(void *arg, const struct err *e)
{
	on_enrolled(arg, NULL, e);
}

static void
on_all(void *arg, const json_t *queues)
{
	struct reply *t = arg;
	char *all = json_dumps(queues, JSON_SORT_KEYS | JSON_COMPACT);

	strlcpy(t->queue, all, sizeof(t->queue));
	free(all);
	t->done = true;
}

static struct reply
enrol(struct place *p, const char *name, const char *queue)
{
	struct reply t = {0};

	check_int(queues_enrol(p->all, name, queue, on_enrolled, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	return t;
}

static struct reply
strike(struct place *p, const char *name)
{
	struct reply t = {0};

	check_int(queues_strike(p->all, name, on_struck, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	return t;
}

void
test_an_enrolled_name_keeps_its_queue(void)
{
	struct place p;
	struct reply t = {0};

	open_place(&p);
	check_str(enrol(&p, "far", "q1").queue, "q1");
	check_str(enrol(&p, "far", "q1").queue, "q1");
	check_str(enrol(&p, "far", "q2").queue, "q1");
	check_str(enrol(&p, "near", "q2").queue, "q2");
	/* What no name can be is left out. */
	REDIS(&p, "HSET herod:runners 'a b' q bad 'q/'");
	queues_enrolled(p.all, on_all, &t);
	UNTIL_TOLD(&p, t);
	check_str(t.queue, "{\"far\":\"q1\",\"near\":\"q2\"}");
	check_int(strike(&p, "far").code, ERR_NONE);
	check_int(strike(&p, "far").code, ERR_NO_RUNNER);
	check_str(enrol(&p, "far", "q2").queue, "q2");
	close_place(&p);
}

static void
count_news(void *arg)
{
	((struct place *)arg)->settled++;
}

void
test_another_herods_registration_is_told(void)
{
	static const struct queues_ops ops = {.enrolled = count_news};
	struct place p;
	const char *id;

	open_place(&p);
	queues_set_ops(p.all, &ops, &p);
	check(queues_rung(p.all, "herod:runners", 13, &id) == NULL);
	check(id == NULL);
	check_int(p.settled, 1);
	close_place(&p);
}

void
test_a_full_redis_registers_nothing(void)
{
	struct place p;

	open_place(&p);
	REDIS(&p, "CONFIG SET maxmemory 1");
	check_int(enrol(&p, "far", "q").code, ERR_REDIS);
	REDIS(&p, "CONFIG SET maxmemory 0");
	check_str(enrol(&p, "far", "q").queue, "q");
	close_place(&p);
}
