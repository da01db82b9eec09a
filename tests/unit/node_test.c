/*
 * Herods that share a Redis: who is there, who has vanished, and what becomes
 * of its claims; each function of queue.lua for that on a real Redis.
 */
#include "with_queue.h"

/* What a node is told beside with_queue.h's. */
static struct {
	char vanished[128];
	int fenced, cut_off;
} heard;

static void
on_vanished(void *arg, const char *node, long long jobs)
{
	(void)arg;
	snprintf(heard.vanished, sizeof(heard.vanished), "%s %lld", node, jobs);
}

static void
on_fenced(void *arg)
{
	(void)arg;
	heard.fenced++;
}

static void
on_cut_off(void *arg)
{
	(void)arg;
	heard.cut_off++;
}

static void
share(struct place *p, double timeout)
{
	static const struct queues_ops ops = {.given_back = on_given_back,
	    .vanished = on_vanished,
	    .fenced = on_fenced,
	    .cut_off = on_cut_off};

	queues_set_ops(p->all, &ops, p);
	queues_share(p->all, timeout);
	p->begun = false;
	queues_register(p->all, on_name, p);
	wait_for(is_begun(p));
	queues_resend(p->all, false);
}

/* Another one on the same server, which says once that it lives. */
static void
open_other(struct place *other)
{
	open_node(other, "node-2");
	share(other, 100);
}

void
test_a_node_says_that_it_lives_until_it_leaves(void)
{
	struct place p;

	open_place(&p);
	share(&p, 0.3);
	check_str(REDIS(&p, "HGETALL herod:nodes"), "node-1 box");
	check(NUMBER(&p, "PTTL herod:hb:node-1") > 0);
	check(atoi(REDIS(&p, "HGET herod:node:node-1 client")) > 0);
	REDIS(&p, "DEL herod:hb:node-1");
	wait_for(turn(p.loop) && NUMBER(&p, "EXISTS herod:hb:node-1"));
	queues_leave(p.all);
	check_int(NUMBER(&p, "EXISTS herod:hb:node-1 herod:nodes"), 0);
	close_place(&p);
}

void
test_a_name_that_a_living_node_has_is_not_taken_twice(void)
{
	struct place p, other;

	open_place(&p);
	share(&p, 100);
	open_other(&other);
	check_str(queues_node(p.all), "box");
	check_str(queues_node(other.all), "box-node");
	/* Of one that is not there any more, it is. */
	REDIS(&p, "DEL herod:hb:node-1");
	close_node(&other);
	open_other(&other);
	check_str(queues_node(other.all), "box");
	close_node(&other);
	close_place(&p);
}

/* Claims a and b of node-2, which is dead then. */
static void
die_with_two_claims(struct place *p, struct place *other)
{
	struct told t;

	open_place(p);
	open_other(other);
	push(p, "a", false);
	push(p, "b", false);
	push(p, "c", false);
	t = take(other, 2);
	job_free(t.jobs[0]);
	job_free(t.jobs[1]);
	REDIS(p, "DEL herod:hb:node-2");
}

void
test_claims_of_a_vanished_node_go_back_in_order(void)
{
	struct place p, other;

	die_with_two_claims(&p, &other);
	share(&p, 0.3);
	wait_for(turn(p.loop) && *heard.vanished);
	check_str(heard.vanished, "box 2");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b c");
	check_str(REDIS(&p, "HMGET hero:job:a status attempts deaths"),
	    "dispatched 0");
	check_int(NUMBER(&p, "EXISTS herod:own:q:node-2"), 0);
	check(*REDIS(&p, "HGET herod:node:node-2 gone"));
	check_int(p.given_back, 1);
	/* Its connection was ended first. */
	wait_for(turn(other.loop) && !redis_is_up(other.redis));
	close_node(&other);
	close_place(&p);
}

/* The second of two that see it does not do it, too. */
void
test_a_vanished_node_is_taken_over_once(void)
{
	struct place p, other;

	die_with_two_claims(&p, &other);
	check_str(REDIS(&p,
		      "FCALL herod_fence 3 herod:hb:node-2 herod:node:node-2 "
		      "herod:takeover:node-2 node-9 60000"),
	    keep_text(xasprintf(
		"%s box", REDIS(&p, "HGET herod:node:node-2 client"))));
	check_str(REDIS(&p,
		      "FCALL herod_fence 3 herod:hb:node-2 herod:node:node-2 "
		      "herod:takeover:node-2 node-8 60000"),
	    "");
	close_node(&other);
	close_place(&p);
}

/* It has its place to itself, and was killed before it had given them back. */
void
test_who_died_taking_over_goes_on_when_it_is_there_again(void)
{
	struct place p, other;

	die_with_two_claims(&p, &other);
	REDIS(&p,
	    "FCALL herod_fence 3 herod:hb:node-2 herod:node:node-2 "
	    "herod:takeover:node-2 node-1 60000");
	share(&p, 0.3);
	wait_for(turn(p.loop) && *heard.vanished);
	check_str(heard.vanished, "box 2");
	close_node(&other);
	close_place(&p);
}

void
test_more_claims_than_one_call_takes_are_all_given_back(void)
{
	struct place p, other;

	die_with_two_claims(&p, &other);
	REDIS(&p, "HSET herod:node:node-2 fenced 1");
	check_str(REDIS(&p,
		      "FCALL herod_recover 2 herod:node:node-2 "
		      "herod:queues hero node-2 now 0 1000 1"),
	    "q");
	check_str(REDIS(&p, "HKEYS herod:own:q:node-2"), "a");
	check_int(NUMBER(&p, "HEXISTS herod:node:node-2 gone"), 0);
	REDIS(&p,
	    "FCALL herod_recover 2 herod:node:node-2 herod:queues hero "
	    "node-2 now 0 1000 9");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b c");
	check_int(NUMBER(&p, "HEXISTS herod:node:node-2 gone"), 1);
	close_node(&other);
	close_place(&p);
}

/* Actors of the other one draw from the queue, in which a and b stand. */
static void
open_with_actors(struct place *p, struct place *other)
{
	open_place(p);
	open_other(other);
	queue_set_external(other->q, true);
	push(other, "a", false);
	push(other, "b", false);
}

/* Until p has dealt with it. */
static void
vanish(struct place *other, struct place *p)
{
	REDIS(other, "DEL herod:hb:node-2");
	share(p, 0.3);
	wait_for(turn(p->loop) && *heard.vanished);
}

void
test_what_its_actors_had_begun_goes_back_when_nobody_else_has_some(void)
{
	struct place p, other;

	open_with_actors(&p, &other);
	REDIS(&other, "LPOP hero:work_queue:q");
	REDIS(&other, "HSET hero:job:a status started");
	REDIS(&other, "HSET herod:open:q a 1.0-boot");
	vanish(&other, &p);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b");
	check_int(NUMBER(&p, "EXISTS herod:external:q"), 0);
	close_node(&other);
	close_place(&p);
}

/* Its actor had ended it when nobody was there to see that. */
void
test_what_its_actors_had_failed_at_is_tried_again(void)
{
	struct place p, other;

	open_with_actors(&p, &other);
	REDIS(&other, "LPOP hero:work_queue:q 2");
	REDIS(&other,
	    "HSET hero:job:a retries 1 backoff 7 status error error no");
	REDIS(&other, "HSET hero:job:b retries 1 retries_done 1 status error");
	REDIS(&other, "HSET herod:open:q a begun b begun");
	vanish(&other, &p);
	check_str(REDIS(&p, "HMGET hero:job:a status reason retries_done"),
	    "created scheduled 1");
	check_str(REDIS(&p, "ZRANGE herod:delay:q 0 -1"), "a");
	check_str(REDIS(&p, "HGET hero:job:b status"), "error");
	check_str(REDIS(&p, "HKEYS herod:open:q"), "");
	close_node(&other);
	close_place(&p);
}

/* ---- it lives after all ---- */

/* Soon after the first time. */
void
test_a_node_that_vanishes_again_is_taken_over_again(void)
{
	struct place p, other;
	struct told t;

	die_with_two_claims(&p, &other);
	share(&p, 0.3);
	wait_for(turn(p.loop) && *heard.vanished);
	heard.vanished[0] = '\0';
	other.begun = false;
	wait_for(is_begun(&other));
	t = take(&other, 1);
	job_free(t.jobs[0]);
	REDIS(&p, "DEL herod:hb:node-2");
	wait_for(turn(p.loop) && *heard.vanished);
	check_has(heard.vanished, " 1");
	close_node(&other);
	close_place(&p);
}

/* Between the end of its connection and what would be given back then: it has
 * read its claims, and nobody would tell it. */
void
test_a_node_that_is_there_again_keeps_its_claims(void)
{
	struct place p, other;

	die_with_two_claims(&p, &other);
	REDIS(&p,
	    "FCALL herod_fence 3 herod:hb:node-2 herod:node:node-2 "
	    "herod:takeover:node-2 node-1 60000");
	other.begun = false;
	queues_register(other.all, on_name, &other);
	wait_for(is_begun(&other));
	REDIS(&p,
	    "FCALL herod_recover 2 herod:node:node-2 herod:queues hero "
	    "node-2 now 0 1000 9");
	check_str(REDIS(&p, "HKEYS herod:own:q:node-2"), "a b");
	check_int(NUMBER(&p, "HEXISTS herod:node:node-2 gone"), 0);
	close_node(&other);
	close_place(&p);
}

static void
on_still_ours(void *arg, const char *id, bool kept)
{
	check_str(id, "a");
	*(int *)arg = kept;
}

static int
is_still_ours(struct place *p, struct job *j)
{
	int kept = -1;

	queue_keep(p->q, j, "q/0", on_still_ours, &kept);
	wait_for(turn(p->loop) && kept != -1);
	return kept;
}

void
test_a_claim_is_kept_unless_somebody_else_has_begun_the_job(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	push(&p, "a", false);
	j = take_one(&p);
	REDIS(&p, "DEL herod:own:q:node-1");
	REDIS(&p, "HSET hero:job:a status dispatched");
	REDIS(&p, "RPUSH hero:work_queue:q a");
	check_int(is_still_ours(&p, j), 1);
	REDIS(&p, "HSET hero:job:a node other");
	check_int(is_still_ours(&p, j), 0);
	job_free(j);
	close_place(&p);
}

void
test_an_end_is_not_kept_when_another_node_has_begun_the_job(void)
{
	struct place p;
	struct job *j;

	open_place(&p);
	share(&p, 100);
	push(&p, "a", false);
	j = take_one(&p);
	REDIS(&p, "DEL herod:own:q:node-1");
	REDIS(&p, "HSET hero:job:a node other");
	j->foreign = true; /* by the function, as after a takeover */
	finish(&p, j, "late");
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "HMGET hero:job:a status result"), "started");
	close_place(&p);
}

void
test_a_node_taken_for_dead_hears_of_it(void)
{
	struct place p;

	open_place(&p);
	share(&p, 0.3);
	REDIS(&p, "HSET herod:node:node-1 fenced 1");
	wait_for(turn(p.loop) && heard.fenced);
	p.begun = false;
	queues_register(p.all, on_name, &p);
	wait_for(is_begun(&p));
	check_int(NUMBER(&p, "HEXISTS herod:node:node-1 fenced"), 0);
	close_place(&p);
}

void
test_a_node_that_redis_does_not_hear_knows_it(void)
{
	struct place p;

	open_place(&p);
	share(&p, 0.6);
	kill(p.server, SIGSTOP);
	wait_for(turn(p.loop) && heard.cut_off);
	kill(p.server, SIGCONT);
	close_place(&p);
}

/* ---- all of them ---- */

static void
on_nodes(void *arg, json_t *nodes, const struct err *e)
{
	check(!e);
	*(json_t **)arg = nodes;
}

static json_t *
nodes_of(struct place *p)
{
	json_t *nodes = NULL;

	check_int(queues_nodes(p->all, on_nodes, &nodes, NULL), 0);
	wait_for(turn(p->loop) && nodes);
	return nodes;
}

void
test_all_nodes_are_told(void)
{
	struct place p, other;
	json_t *nodes, *node;
	size_t i, alive = 0, self = 0;

	open_place(&p);
	nodes = nodes_of(&p);
	check_int((long long)json_array_size(nodes), 1);
	json_decref(nodes);
	share(&p, 100);
	open_other(&other);
	REDIS(&p, "DEL herod:hb:node-2");
	nodes = nodes_of(&p);
	check_int((long long)json_array_size(nodes), 2);
	json_array_foreach (nodes, i, node) {
		alive += json_is_true(json_object_get(node, "alive"));
		self += json_is_true(json_object_get(node, "self"));
	}
	check_int((long long)alive, 1);
	check_int((long long)self, 1);
	json_decref(nodes);
	close_node(&other);
	close_place(&p);
}
