/*
 * Ticks of schedules on a real Redis: each makes one job, whoever comes first,
 * and the job before decides what becomes of it.
 */
#include "with_queue.h"

struct ticked_told {
	bool done;
	enum ticked how;
	char id[140];
	struct err e;
	long long tick;
};

static void
on_ticked(void *arg, enum ticked how, const char *id, const struct err *e)
{
	struct ticked_told *t = arg;

	check(!t->done);
	t->done = true;
	t->how = how;
	strlcpy(t->id, id, sizeof(t->id));
	if (e)
		t->e = *e;
}

static void
on_seen(void *arg, long long tick, const char *id)
{
	struct ticked_told *t = arg;

	t->done = true;
	t->tick = tick;
	strlcpy(t->id, id, sizeof(t->id));
}

static struct ticked_told
tick(struct place *p, const char *id, long long time, enum overlap overlap)
{
	struct queue_tick wanted = {"s", time, overlap};
	struct ticked_told t = {0};
	struct job *j = new_job(id);

	job_move(j, JOB_DISPATCHED, NULL);
	check_int(queue_push_tick(p->q, j, &wanted, on_ticked, &t, &t.e), 0);
	UNTIL_TOLD(p, t);
	return t;
}

static void
check_tick(struct place *p, const char *id, long long time,
    enum overlap overlap, enum ticked how, const char *told)
{
	struct ticked_told t = tick(p, id, time, overlap);

	check_str(t.e.text, "");
	check_int(t.how, how);
	check_str(t.id, told);
}

static struct ticked_told
see(struct place *p, const char *name, long long since)
{
	struct ticked_told t = {0};

	check(queues_see_schedule(p->all, name, since, on_seen, &t));
	UNTIL_TOLD(p, t);
	return t;
}

static void
finish_one(struct place *p)
{
	finish(p, take_one(p), "done");
	wait_for(is_settled(p));
}

void
test_a_tick_makes_one_job(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_MADE, "s:1");
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_KNOWN, "s:1");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "s:1");
	check_str(REDIS(&p, "HMGET hero:job:s:1 status payload herod"),
	    "dispatched hello 1");
	check_str(REDIS(&p, "HMGET herod:schedule:s tick job tick_job"),
	    "1000 s:1 s:1");
	check_tick(&p, "s:2", 2000, OVERLAP_ALLOW, TICK_MADE, "s:2");
	close_place(&p);
}

/* A herod that comes late does not make it again, and none that is before it
 * either. */
void
test_a_tick_whose_job_is_forgotten_is_known(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:2", 2000, OVERLAP_ALLOW, TICK_MADE, "s:2");
	finish_one(&p);
	REDIS(&p, "DEL hero:job:s:2");
	check_tick(&p, "s:2", 2000, OVERLAP_ALLOW, TICK_KNOWN, "s:2");
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_KNOWN, "s:2");
	check_int(
	    ask(p.loop, p.redis, "EXISTS hero:job:s:2 hero:job:s:1").number, 0);
	close_place(&p);
}

/* Redis has forgotten the tick, but not the job. */
void
test_a_job_that_is_there_is_not_made_again(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_MADE, "s:1");
	REDIS(&p, "DEL herod:schedule:s");
	check_tick(&p, "s:1", 1000, OVERLAP_FORBID, TICK_KNOWN, "s:1");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "s:1");
	check_str(REDIS(&p, "HGET herod:schedule:s tick"), "1000");
	close_place(&p);
}

void
test_forbid_lets_the_tick_pass_while_the_job_before_is_not_over(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:1", 1000, OVERLAP_FORBID, TICK_MADE, "s:1");
	check_tick(&p, "s:2", 2000, OVERLAP_FORBID, TICK_RUNNING, "s:1");
	/* It is decided: also when that job is over before another asks. */
	finish_one(&p);
	check_tick(&p, "s:2", 2000, OVERLAP_FORBID, TICK_KNOWN, "");
	check_tick(&p, "s:3", 3000, OVERLAP_FORBID, TICK_MADE, "s:3");
	close_place(&p);
}

void
test_replace_asks_first(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:1", 1000, OVERLAP_REPLACE, TICK_MADE, "s:1");
	check_tick(&p, "s:2", 2000, OVERLAP_REPLACE, TICK_RUNNING, "s:1");
	check_int(ask(p.loop, p.redis, "EXISTS hero:job:s:2").number, 0);
	check_tick(&p, "s:2", 2000, OVERLAP_ALLOW, TICK_MADE, "s:2");
	close_place(&p);
}

void
test_a_run_by_hand_is_no_tick_but_is_in_the_way_of_one(void)
{
	struct place p;

	open_place(&p);
	check_tick(&p, "s:1", 1000, OVERLAP_FORBID, TICK_MADE, "s:1");
	check_tick(&p, "s:a", 0, OVERLAP_FORBID, TICK_RUNNING, "s:1");
	finish_one(&p);
	check_tick(&p, "s:a", 0, OVERLAP_FORBID, TICK_MADE, "s:a");
	check_str(REDIS(&p, "HMGET herod:schedule:s tick job tick_job"),
	    "1000 s:a s:1");
	check_tick(&p, "s:2", 2000, OVERLAP_FORBID, TICK_RUNNING, "s:a");
	close_place(&p);
}

/* Pitfall 26: a clock that was ahead and is right again. */
void
test_a_tick_of_a_wrong_clock_does_not_silence_a_schedule(void)
{
	long long now = (long long)ev_time() * 1000;
	struct place p;

	open_place(&p);
	check_tick(&p, "s:x", now + 86400000, OVERLAP_ALLOW, TICK_MADE, "s:x");
	check_tick(&p, "s:1", now, OVERLAP_ALLOW, TICK_MADE, "s:1");
	/* Clocks of two machines are never quite the same. */
	check_tick(&p, "s:2", now + 20000, OVERLAP_ALLOW, TICK_MADE, "s:2");
	check_tick(&p, "s:3", now + 10000, OVERLAP_ALLOW, TICK_KNOWN, "s:2");
	close_place(&p);
}

void
test_a_new_schedule_has_missed_nothing(void)
{
	struct ticked_told t;
	struct place p;

	open_place(&p);
	t = see(&p, "s", 999);
	check_int(t.tick, 999);
	check_str(t.id, "");
	check_int(see(&p, "s", 1234).tick, 999);
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_MADE, "s:1");
	t = see(&p, "s", 2000);
	check_int(t.tick, 1000);
	check_str(t.id, "s:1");
	close_place(&p);
}

static long long
expires(struct place *p)
{
	return ask(p->loop, p->redis, "TTL herod:schedule:s").number;
}

/* Unless another herod has it, or it comes again. */
void
test_what_is_known_of_a_removed_schedule_goes(void)
{
	struct place p;

	open_place(&p);
	see(&p, "s", 999);
	check_int(expires(&p), -1);
	queues_drop_schedule(p.all, "s");
	check(expires(&p) > 0);
	see(&p, "s", 1234);
	check_int(expires(&p), -1);
	queues_drop_schedule(p.all, "s");
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_MADE, "s:1");
	check_int(expires(&p), -1);
	close_place(&p);
}

/* A full Redis takes no job; the tick can be asked for again. */
void
test_a_full_redis_refuses_a_tick(void)
{
	struct ticked_told t;
	struct place p;

	open_place(&p);
	REDIS(&p, "CONFIG SET maxmemory 1");
	t = tick(&p, "s:1", 1000, OVERLAP_ALLOW);
	check_int(t.how, TICK_REFUSED);
	check_int(t.e.code, ERR_REDIS);
	REDIS(&p, "CONFIG SET maxmemory 0");
	check_tick(&p, "s:1", 1000, OVERLAP_ALLOW, TICK_MADE, "s:1");
	close_place(&p);
}

void
test_a_tick_without_redis_cannot_be_tried(void)
{
	struct queue_tick wanted = {"s", 1000, OVERLAP_ALLOW};
	struct ticked_told t = {0};
	struct job *j = new_job("s:1");
	struct place p;

	open_place(&p);
	server_end(p.server, SIGKILL);
	wait_for(turn(p.loop) && !redis_is_up(p.redis));
	check_int(queue_push_tick(p.q, j, &wanted, on_ticked, &t, &t.e), -1);
	check_int(t.e.code, ERR_REDIS);
	check(!queues_see_schedule(p.all, "s", 1, on_seen, &t));
	check(!t.done);
	close_node(&p);
}
