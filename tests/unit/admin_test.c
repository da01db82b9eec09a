/*
 * What those do who look after queues, on a real Redis: pauses; each function
 * of queue.lua for that.
 */
#include "with_queue.h"

/* ---- pauses ---- */

static void
on_paused(void *arg, struct queue *q, bool paused)
{
	struct place *p = arg;

	strlcat(p->names, paused ? "paused " : "resumed ", sizeof(p->names));
	strlcat(p->names, queue_name(q), sizeof(p->names));
	strlcat(p->names, " ", sizeof(p->names));
}

static const struct queues_ops admin_ops = {
    .given_back = on_given_back, .paused = on_paused};

static void
open_admin(struct place *p)
{
	open_place(p);
	queues_set_ops(p->all, &admin_ops, p);
	p->names[0] = '\0';
}

static struct err
set_pause(struct place *p, struct queue *q, bool pause, bool known)
{
	struct told t = {0};

	check_int(queue_pause(q, pause, known, on_done, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	return t.e;
}

void
test_of_a_paused_queue_nothing_is_taken(void)
{
	struct place p;
	struct told t;

	open_admin(&p);
	push(&p, "a", false);
	check_str(set_pause(&p, p.q, true, false).text, "");
	check(queue_is_paused(p.q));
	check(*REDIS(&p, "HGET herod:meta:q paused"));
	push(&p, "b", false);
	t = take(&p, 4);
	check_int((long long)t.n, 0);
	check(!t.lost && !t.more);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a b");
	check_str(set_pause(&p, p.q, false, false).text, "");
	check(!queue_is_paused(p.q));
	check_int(NUMBER(&p, "EXISTS herod:meta:q"), 0);
	t = take(&p, 4);
	check_int((long long)t.n, 2);
	job_free(t.jobs[0]);
	job_free(t.jobs[1]);
	check_str(p.names, "paused q resumed q ");
	close_place(&p);
}

/* From when it is asked for: what is sent later stands behind it. */
void
test_a_pause_holds_before_it_is_answered(void)
{
	struct place p;
	struct told t = {0};

	open_admin(&p);
	check_int(queue_pause(p.q, true, true, on_done, &t, NULL), 0);
	check(queue_is_paused(p.q));
	UNTIL_TOLD(&p, t);
	/* The time is that of the first. */
	REDIS(&p, "HSET herod:meta:q paused then");
	set_pause(&p, p.q, true, true);
	check_str(REDIS(&p, "HGET herod:meta:q paused"), "then");
	close_place(&p);
}

void
test_only_queues_that_are_known_can_be_paused(void)
{
	struct place p;
	struct queue *other;
	struct err e;

	open_admin(&p);
	other = queue_open(p.all, "other");
	e = set_pause(&p, other, true, false);
	check_int(e.code, ERR_NO_RUNNER);
	check_has(e.text, "no runner or queue other");
	check(!queue_is_paused(other));
	check_str(set_pause(&p, other, true, true).text, "");
	check(queue_is_paused(other));
	close_place(&p);
}

/* What they may take without asking cannot be withheld. */
void
test_a_queue_of_programs_that_do_not_ask_cannot_be_paused(void)
{
	struct place p;
	struct err e;

	open_admin(&p);
	REDIS(&p, "HSET herod:external:q node-2 box");
	e = set_pause(&p, p.q, true, true);
	check_int(e.code, ERR_ILLEGAL_MOVE);
	check_has(e.text, "kind redis");
	check(!queue_is_paused(p.q));
	/* One that was paused before can be resumed. */
	REDIS(&p, "HSET herod:meta:q paused then");
	check_str(set_pause(&p, p.q, false, true).text, "");
	check_int(NUMBER(&p, "EXISTS herod:meta:q"), 0);
	close_place(&p);
}

static bool
has_heard(struct place *p, const char *text)
{
	turn(p->loop);
	return strcmp(p->names, text) == 0;
}

void
test_a_pause_by_another_is_known_when_it_is_read(void)
{
	struct place p;
	struct told t = {0};
	const char *id;

	open_admin(&p);
	REDIS(&p, "HSET herod:meta:q paused then");
	check(!queue_is_paused(p.q));
	check(!queues_rung(p.all, "herod:meta:q", 12, &id) && !id);
	wait_for(has_heard(&p, "paused q "));
	check(queue_is_paused(p.q));
	REDIS(&p, "DEL herod:meta:q");
	/* With the claims, too. */
	queue_claims(p.q, on_claims, &t);
	UNTIL_TOLD(&p, t);
	check(!queue_is_paused(p.q));
	check_str(p.names, "paused q resumed q ");
	close_place(&p);
}

static void
on_depths(void *arg, const struct queue_depth *d, size_t n)
{
	struct told *t = arg;

	t->done = true;
	t->n = n;
	t->more = d[0].paused;
	t->lost = d[1].paused;
}

void
test_depths_tell_of_pauses(void)
{
	static const char *const names[] = {"q", "other"};
	struct place p;
	struct told t = {0};

	open_admin(&p);
	set_pause(&p, p.q, true, true);
	queues_depths(p.all, names, 2, on_depths, &t);
	UNTIL_TOLD(&p, t);
	check(t.more);
	check(!t.lost);
	close_place(&p);
}

/* ---- many at once ---- */

struct bulk_heard {
	bool done;
	long long jobs, refused;
	char counts[1024];
	struct err e;
};

static void
on_bulk(void *arg, const struct bulk_told *told, const struct err *e)
{
	struct bulk_heard *h = arg;
	char *text = json_dumps(told->counts, JSON_COMPACT | JSON_SORT_KEYS);

	check(!h->done);
	h->done = true;
	h->jobs = told->done;
	h->refused = told->refused;
	strlcpy(h->counts, text, sizeof(h->counts));
	free(text);
	if (e)
		h->e = *e;
}

static struct bulk_heard
bulk(struct place *p, struct bulk_wanted want)
{
	struct bulk_heard h = {0};

	check_int(queues_bulk(p->all, &want, on_bulk, &h, NULL), 0);
	UNTIL_TOLD(p, h);
	check_str(h.e.text, "");
	return h;
}

/* One that is so, beside others, as they lie in Redis. */
static void
lies(struct place *p, const char *id, const char *fields)
{
	static int score = 1;

	REDIS(p, "HSET hero:job:%s herod 1 runner q created_at t%s %s", id, id,
	    fields);
	REDIS(p, "ZADD herod:jobs:q %d %s", score++, id);
	REDIS(p, "SADD herod:queues q");
}

static void
some_jobs(struct place *p)
{
	lies(p, "a", "status error error x attempts 3 finished_at 2020-01-01");
	lies(p, "b", "status finished result x finished_at 2020-01-01");
	lies(p, "c", "status error reason timeout finished_at 2020-01-02");
	lies(p, "d",
	    "status error reason cancelled finished_at 2020-01-01 tags "
	    "[\"x\",\"y\"]");
	lies(p, "e", "status error reason quarantined finished_at 9999");
	lies(p, "f", "status dispatched reason timeout tags [\"x\"]");
	REDIS(p, "RPUSH hero:work_queue:q f");
}

#define STATUS(status) (1u << JOB_##status)
#define ALL_FAILED (STATUS(ERROR) | STATUS(TIMEOUT) | STATUS(QUARANTINED))

void
test_all_that_have_failed_are_tried_again_in_order(void)
{
	struct bulk_wanted want = {.what = BULK_RETRY, .statuses = ALL_FAILED};
	struct place p;
	struct bulk_heard h;

	open_admin(&p);
	some_jobs(&p);
	h = bulk(&p, want);
	check_int(h.jobs, 3);
	check_int(h.refused, 0);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "f a c e");
	check_str(
	    REDIS(&p, "HMGET hero:job:a status error attempts"), "dispatched");
	check_str(
	    REDIS(&p, "HMGET hero:job:d status reason"), "error cancelled");
	check(p.given_back > 0);
	/* There is nothing more to do. */
	check_int(bulk(&p, want).jobs, 0);
	close_place(&p);
}

void
test_a_retry_of_many_keeps_to_its_limit_tag_and_runner(void)
{
	struct bulk_wanted want = {.what = BULK_RETRY,
	    .statuses = ALL_FAILED,
	    .queue = "q",
	    .runner = "q",
	    .limit = 2};
	struct place p;

	open_admin(&p);
	some_jobs(&p);
	REDIS(&p, "HSET hero:job:a runner other");
	check_int(bulk(&p, want).jobs, 2);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "f c e");
	want.statuses = STATUS(CANCELLED);
	want.tag = "z";
	check_int(bulk(&p, want).jobs, 0);
	want.tag = "y";
	check_int(bulk(&p, want).jobs, 1);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "f c e d");
	close_place(&p);
}

/* What others have is refused, and the rest is done. */
void
test_a_retry_of_many_counts_those_that_cannot_be(void)
{
	struct bulk_wanted want = {.what = BULK_RETRY, .statuses = ALL_FAILED};
	struct place p;
	struct bulk_heard h;

	open_admin(&p);
	lies(&p, "a", "status error unique_key k");
	lies(&p, "b", "status error unique_key k");
	lies(&p, "c", "status error");
	h = bulk(&p, want);
	check_int(h.jobs, 2);
	check_int(h.refused, 1);
	check_str(REDIS(&p, "GET herod:uniq:q:k"), "a");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a c");
	close_place(&p);
}

/* More than one call of Redis looks at, many of one moment. */
void
test_thousands_are_tried_again_each_once(void)
{
	struct bulk_wanted want = {.what = BULK_RETRY, .statuses = ALL_FAILED};
	struct place p;
	int i;

	open_admin(&p);
	for (i = 0; i < 2500; i++) {
		REDIS(&p, "HSET hero:job:%04d status %s herod 1 runner q", i,
		    i % 2 ? "error" : "finished");
		REDIS(&p, "ZADD herod:jobs:q %d %04d", i / 300, i);
	}
	REDIS(&p, "SADD herod:queues q");
	check_int(bulk(&p, want).jobs, 1250);
	check_int(NUMBER(&p, "LLEN hero:work_queue:q"), 1250);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 2"), "0001 0003 0005");
	check_str(REDIS(&p, "LRANGE hero:work_queue:q -1 -1"), "2499");
	close_place(&p);
}

void
test_ended_jobs_are_forgotten_when_they_are_old(void)
{
	struct bulk_wanted want = {.what = BULK_PURGE,
	    .statuses = ALL_FAILED | STATUS(FINISHED) | STATUS(CANCELLED),
	    .older_than = 3600};
	struct place p;

	open_admin(&p);
	some_jobs(&p);
	want.limit = 1;
	check_int(bulk(&p, want).jobs, 1);
	check_int(NUMBER(&p, "EXISTS hero:job:a"), 0);
	want.limit = 0;
	check_int(bulk(&p, want).jobs, 3);
	check_int(NUMBER(&p, "EXISTS hero:job:b hero:job:c hero:job:d"), 0);
	check_str(REDIS(&p, "ZRANGE herod:jobs:q 0 -1"), "e f");
	want.older_than = 0;
	check_int(bulk(&p, want).jobs, 1);
	check_str(REDIS(&p, "ZRANGE herod:jobs:q 0 -1"), "f");
	check_str(REDIS(&p, "HGET hero:job:f status"), "dispatched");
	close_place(&p);
}

static void
on_purged(void *arg, const char *id)
{
	struct place *p = arg;

	strlcat(p->names, id, sizeof(p->names));
	strlcat(p->names, " ", sizeof(p->names));
}

void
test_waiting_jobs_are_cancelled_by_a_purge(void)
{
	static const struct queues_ops ops = {
	    .given_back = on_given_back, .purged = on_purged};
	struct bulk_wanted want = {
	    .what = BULK_PURGE, .statuses = STATUS(DISPATCHED)};
	struct place p;

	open_place(&p);
	queues_set_ops(p.all, &ops, &p);
	p.names[0] = '\0';
	some_jobs(&p);
	push(&p, "g", false);
	/* Waits for one that is cancelled, and ends with it. */
	lies(&p, "h", "status waiting_for_prerequisites prerequisites [\"g\"]");
	REDIS(&p, "SADD herod:dep:g h");
	check_int(bulk(&p, want).jobs, 2);
	check_str(
	    REDIS(&p, "HMGET hero:job:f status reason"), "error cancelled");
	check_str(
	    REDIS(&p, "HMGET hero:job:g status reason"), "error cancelled");
	check_str(REDIS(&p, "HMGET hero:job:h status reason"), "error");
	check(NUMBER(&p, "PTTL hero:job:g") > 0);
	check_int(NUMBER(&p, "EXISTS hero:work_queue:q"), 0);
	check_str(p.names, "f g h ");
	close_place(&p);
}

/* In the same call of Redis, too. */
void
test_what_ends_with_a_purged_one_is_not_forgotten(void)
{
	struct bulk_wanted want = {.what = BULK_PURGE,
	    .statuses = STATUS(DISPATCHED) | STATUS(WAITING)};
	struct place p;
	struct bulk_heard h;

	open_admin(&p);
	push(&p, "g", false);
	REDIS(&p, "ZADD herod:jobs:q 1 g");
	lies(&p, "h", "status waiting_for_prerequisites prerequisites [\"g\"]");
	REDIS(&p, "ZADD herod:jobs:q 2 h");
	REDIS(&p, "SADD herod:dep:g h");
	h = bulk(&p, want);
	check_int(h.jobs, 1);
	check_int(h.refused, 1);
	check_str(REDIS(&p, "HGET hero:job:h status"), "error");
	close_place(&p);
}

void
test_jobs_are_counted_by_status(void)
{
	struct bulk_wanted want = {.what = BULK_COUNT};
	struct place p;
	struct bulk_heard h;

	open_admin(&p);
	some_jobs(&p);
	lies(&p, "g", "status error error y");
	/* Only its id is left. */
	REDIS(&p, "ZADD herod:jobs:q 1 gone");
	/* Another queue, without jobs. */
	REDIS(&p, "SADD herod:queues empty");
	h = bulk(&p, want);
	check_str(h.counts,
	    "{\"empty\":{},\"q\":{"
	    "\"cancelled\":{\"jobs\":1,\"oldest\":\"td\"},"
	    "\"dispatched\":{\"jobs\":1,\"oldest\":\"tf\"},"
	    "\"error\":{\"jobs\":2,\"oldest\":\"ta\"},"
	    "\"finished\":{\"jobs\":1,\"oldest\":\"tb\"},"
	    "\"quarantined\":{\"jobs\":1,\"oldest\":\"te\"},"
	    "\"timeout\":{\"jobs\":1,\"oldest\":\"tc\"}}}");
	check_int(NUMBER(&p, "ZCARD herod:jobs:q"), 7);
	close_place(&p);
}

/* ---- lists ---- */

void
test_jobs_are_listed_by_tag(void)
{
	struct page_wanted want = {.status = -1, .limit = 10, .tag = "x"};
	struct place p;
	struct told t = {0};
	json_t *jobs;

	open_admin(&p);
	some_jobs(&p);
	REDIS(&p, "HSET hero:job:a tags x");
	REDIS(&p, "HSET hero:job:b tags \"x\"");
	REDIS(&p, "HSET hero:job:c tags {\"x\":\"y\"}");
	check_int(queues_list(p.all, &want, on_page, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	jobs = json_object_get(t.page, "jobs");
	check_int((long long)json_array_size(jobs), 2);
	check_str(
	    json_string_value(json_object_get(json_array_get(jobs, 0), "id")),
	    "f");
	check_str(
	    json_string_value(json_object_get(json_array_get(jobs, 1), "id")),
	    "d");
	json_decref(t.page);
	close_place(&p);
}

/* ---- how many are kept ---- */

static void
end_some(struct place *p, int first, int n)
{
	for (; n > 0; n--, first++) {
		push(p, keep_text(xasprintf("%03d", first)), false);
		finish(p, take_one(p), "ok");
		wait_for(is_settled(p));
	}
}

static bool
has_jobs(struct place *p, const char *ids)
{
	turn(p->loop);
	return strcmp(REDIS(p, "ZRANGE herod:done:q 0 -1"), ids) == 0 &&
	    strcmp(REDIS(p, "ZRANGE herod:jobs:q 0 -1"), ids) == 0;
}

void
test_no_more_ended_jobs_are_kept_than_wanted(void)
{
	struct place p;

	open_admin(&p);
	queue_set_keep(p.q, 3);
	end_some(&p, 0, 6);
	wait_for(has_jobs(&p, "003 004 005"));
	check_int(
	    NUMBER(&p, "EXISTS hero:job:000 hero:job:001 hero:job:002"), 0);
	check_int(NUMBER(&p, "EXISTS hero:job:003 hero:job:005"), 2);
	/* What is not over does not count. */
	push(&p, "w", false);
	queue_set_keep(p.q, 1);
	wait_for(strcmp(REDIS(&p, "ZRANGE herod:done:q 0 -1"), "005") == 0);
	check_str(REDIS(&p, "HGET hero:job:w status"), "dispatched");
	close_place(&p);
}

/* In several calls of Redis, when there are many at once. */
void
test_a_surplus_of_many_is_forgotten(void)
{
	struct place p;
	int i;

	open_admin(&p);
	for (i = 0; i < 700; i++) {
		REDIS(&p, "HSET hero:job:%03d status finished runner q", i);
		REDIS(&p, "ZADD herod:jobs:q %d %03d", i, i);
		REDIS(&p, "ZADD herod:done:q %d %03d", 1000000000 + i, i);
	}
	REDIS(&p, "ZADD herod:done:q 9999999999999999 700");
	queue_set_keep(p.q, 1);
	wait_for(strcmp(REDIS(&p, "ZRANGE herod:done:q 0 -1"), "700") == 0);
	check_int(NUMBER(&p, "EXISTS herod:jobs:q"), 0);
	close_place(&p);
}

void
test_a_surplus_is_not_what_waits_again(void)
{
	struct place p;

	open_admin(&p);
	lies(&p, "a", "status dispatched");
	lies(&p, "b", "status finished");
	REDIS(&p, "ZADD herod:done:q 9999999999999998 a");
	REDIS(&p, "ZADD herod:done:q 9999999999999999 b");
	check_int(NUMBER(&p,
		      "FCALL herod_trim 2 herod:jobs:q herod:done:q 1 10 hero "
		      "1000 1 10"),
	    1);
	check_str(REDIS(&p, "ZRANGE herod:done:q 0 -1"), "b");
	check_str(REDIS(&p, "ZRANGE herod:jobs:q 0 -1"), "a b");
	check_str(REDIS(&p, "HGET hero:job:a status"), "dispatched");
	close_place(&p);
}

/* ---- made, and queued later ---- */

static struct job *
spec(const char *id, const char *settings)
{
	json_t *object = json_loads(settings, 0, NULL);
	struct job *j = job_new();
	struct err e = {0};

	check_int(job_read(j, object, &e), 0);
	json_decref(object);
	j->spec.id = xstrdup(id);
	j->spec.runner = xstrdup("q");
	j->queue = xstrdup("q");
	return j;
}

static struct err
hold(struct place *p, const char *id, const char *settings)
{
	struct job *j = spec(id, settings);
	struct told t = {0};

	if (queue_hold(p->q, j, on_done, &t, &t.e) == 0)
		UNTIL_TOLD(p, t);
	return t.e;
}

static struct err
start(struct place *p, const char *id)
{
	struct told t = {0};

	check_int(queue_start(p->q, id, on_done, &t, NULL), 0);
	UNTIL_TOLD(p, t);
	return t.e;
}

void
test_a_held_job_is_queued_when_it_is_started(void)
{
	struct place p;
	struct err e;
	struct told t;

	open_admin(&p);
	check_str(hold(&p, "a", "{}").text, "");
	check_str(REDIS(&p, "HMGET hero:job:a status reason"), "created");
	check_int(NUMBER(&p, "EXISTS hero:work_queue:q"), 0);
	check_int(NUMBER(&p, "PTTL hero:job:a"), -1);
	/* Not even when its id gets there. */
	REDIS(&p, "RPUSH hero:work_queue:q a");
	t = take(&p, 1);
	check_int((long long)t.n, 0);
	check_int(hold(&p, "a", "{}").code, ERR_DUPLICATE);
	check_str(start(&p, "a").text, "");
	check(p.given_back == 1);
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a");
	check_str(REDIS(&p, "HGET hero:job:a status"), "dispatched");
	e = start(&p, "a");
	check_int(e.code, ERR_ILLEGAL_MOVE);
	check_str(e.text, "job a cannot be started: it is dispatched");
	check_int(start(&p, "none").code, ERR_NO_JOB);
	close_place(&p);
}

void
test_a_held_job_keeps_its_plan(void)
{
	struct place p;
	struct err e;

	open_admin(&p);
	check_str(hold(&p, "a", "{\"delay\": 1000}").text, "");
	check_str(REDIS(&p, "HMGET hero:job:a status reason"), "created");
	check_int(NUMBER(&p, "EXISTS herod:delay:q"), 0);
	check_str(start(&p, "a").text, "");
	check_str(
	    REDIS(&p, "HMGET hero:job:a status reason"), "created scheduled");
	check_str(REDIS(&p, "ZRANGE herod:delay:q 0 -1"), "a");
	e = start(&p, "a");
	check_str(e.text, "job a cannot be started: it is scheduled");
	hold(&p, "b", "{\"priority\": \"high\"}");
	start(&p, "b");
	check_str(REDIS(&p, "LRANGE herod:q:q:high 0 -1"), "b");
	/* Waits for b, which has not finished when it is started. */
	hold(&p, "c", "{\"prerequisites\": [\"b\"]}");
	check_int(NUMBER(&p, "EXISTS herod:dep:b"), 0);
	start(&p, "c");
	check_str(
	    REDIS(&p, "HGET hero:job:c status"), "waiting_for_prerequisites");
	finish(&p, take_one(&p), "ok");
	wait_for(is_settled(&p));
	wait_for(turn(p.loop) &&
	    !strcmp(REDIS(&p, "HGET hero:job:c status"), "dispatched"));
	close_place(&p);
}

void
test_a_held_job_whose_prerequisite_has_failed_is_not_started(void)
{
	struct place p;
	struct err e;

	open_admin(&p);
	push(&p, "b", true);
	hold(&p, "c", "{\"prerequisites\": [\"b\"]}");
	REDIS(&p, "HSET hero:job:b status error");
	e = start(&p, "c");
	check_int(e.code, ERR_ILLEGAL_MOVE);
	check_has(e.text, "job b has ended and did not finish");
	check_str(REDIS(&p, "HGET hero:job:c status"), "created");
	close_place(&p);
}

void
test_a_held_job_has_its_unique_key_and_can_be_cancelled(void)
{
	struct place p;
	struct told t = {0};
	struct job *j = new_job("a");

	open_admin(&p);
	hold(&p, "a", "{\"unique_key\": \"k\"}");
	check_int(hold(&p, "b", "{\"unique_key\": \"k\"}").code, ERR_DUPLICATE);
	check_int(queue_cancel(p.q, j, on_was, &t, NULL), 0);
	UNTIL_TOLD(&p, t);
	check_str(t.text, "created");
	check_str(
	    start(&p, "a").text, "job a cannot be started: it is cancelled");
	check_str(hold(&p, "b", "{\"unique_key\": \"k\"}").text, "");
	job_free(j);
	close_place(&p);
}

/* ---- how many may wait ---- */

void
test_a_full_queue_refuses_more(void)
{
	struct place p;
	struct err e;
	struct job *j;

	open_admin(&p);
	queue_set_limits(p.q, &(struct queue_limits){.most = 2});
	check_str(push(&p, "a", false).text, "");
	REDIS(&p, "RPUSH herod:q:q:low x");
	e = push(&p, "b", false);
	check_int(e.code, ERR_QUEUE_FULL);
	check_str(e.text, "queue q is full: 2 jobs wait, and max_queue is 2");
	check_int(NUMBER(&p, "EXISTS hero:job:b"), 0);
	check_int(NUMBER(&p, "ZCARD herod:jobs:q"), 1);
	/* One that is there is told so; one that is held does not wait. */
	check_int(push(&p, "a", true).code, ERR_DUPLICATE);
	check_str(hold(&p, "c", "{}").text, "");
	check_int(start(&p, "c").code, ERR_QUEUE_FULL);
	check_str(REDIS(&p, "HGET hero:job:c status"), "created");
	/* What goes back finds room; and there is room again. */
	j = take_one(&p);
	check_str(start(&p, "c").text, "");
	queue_give_back(p.q, j, BACK_HEAD, NULL, NULL);
	wait_for(is_settled(&p));
	check_str(REDIS(&p, "LRANGE hero:work_queue:q 0 -1"), "a c");
	queue_set_limits(p.q, &(struct queue_limits){0});
	check_str(push(&p, "b", false).text, "");
	close_place(&p);
}
