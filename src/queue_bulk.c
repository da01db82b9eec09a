/*
 * Many jobs at once: tried again, forgotten or cancelled, counted.
 *
 * Queue by queue, each from its oldest job on, by a function that looks at some
 * and says where it ended; so others wait for Redis no longer than for that.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "type.h"

#define EACH_LOOKS 1000 /* jobs looked at in one call */
#define EACH_DONE 200 /* done to in one call */
#define STATUSES_MAX 512

struct bulk {
	struct queues *queues;
	struct bulk_wanted want;
	char *runner, *tag;
	char **names; /* of queues; strv */
	size_t at; /* among them */
	char score[64], id[130]; /* where it goes on; id "": the beginning */
	char before[TIME_TEXT_SIZE]; /* "": whenever */
	long long until; /* score */
	struct bulk_told told;
	bulk_fn fn;
	void *arg;
};

static void bulk_go_on(struct bulk *b);

static void
bulk_free(struct bulk *b)
{
	json_decref(b->told.counts);
	strv_free(b->names);
	free(b->runner);
	free(b->tag);
	free(b);
}

static void
bulk_end(struct bulk *b, const struct err *e)
{
	b->fn(b->arg, &b->told, e);
	bulk_free(b);
}

/* ---- what is sent ---- */

/* "STATUS/REASON": as the function takes and gives it. */
static const char *
status_pair(enum job_status s, char buf[80])
{
	const char *hero = job_hero_word(s), *word = job_status_word(s);

	strlcpy(buf, hero, 80);
	strlcat(buf, "/", 80);
	strlcat(buf, strcmp(hero, word) ? word : "", 80);
	return buf;
}

static enum job_status
status_of_pair(const char *pair)
{
	enum job_status s;
	char buf[80];

	for (s = 0; s < JOB_STATUSES; s++)
		if (!strcmp(status_pair(s, buf), pair))
			return s;
	return JOB_CREATED;
}

static const char *
status_pairs(unsigned statuses, char buf[STATUSES_MAX])
{
	enum job_status s;
	char pair[80];

	buf[0] = '\0';
	for (s = 0; s < JOB_STATUSES; s++)
		if (statuses & 1u << s) {
			strlcat(buf, status_pair(s, pair), STATUSES_MAX);
			strlcat(buf, " ", STATUSES_MAX);
		}
	return buf;
}

static const char *
or_any(const char *text)
{
	return text ? text : "";
}

/* How many more are wanted in the next call. */
static long long
left_of(const struct bulk *b)
{
	long long most = b->want.what == BULK_COUNT ? EACH_LOOKS : EACH_DONE;
	long long left = b->want.limit - b->told.done;

	return b->want.limit > 0 && left < most ? left : most;
}

static void on_each(void *arg, const struct redis_reply *reply);

static bool
bulk_send(struct bulk *b)
{
	static const char *const words[] = {"count", "retry", "purge"};
	struct queue *q = queue_open(b->queues, b->names[b->at]);
	char some[STATUSES_MAX], all[STATUSES_MAX], now[TIME_TEXT_SIZE];
	struct redis_words w;

	call_begin(&w, "herod_each", 3);
	words_add(&w, q->index);
	words_add(&w, q->done);
	words_add(&w, q->list);
	words_add(&w, b->queues->ns);
	words_add(&w, words[b->want.what]);
	words_add(&w, or_any(b->runner));
	words_add(&w, status_pairs(b->want.statuses, some));
	words_add(&w, status_pairs(~0u, all));
	words_add(&w, or_any(b->tag));
	words_add_number(&w, left_of(b));
	words_add_number(&w, EACH_LOOKS);
	words_add(&w, *b->id ? b->score : "-inf");
	words_add(&w, b->id);
	words_add_number(&w, now_ms());
	words_add(&w, time_text(ev_time(), now));
	add_default_ttl(&w, b->queues);
	words_add(&w, q->name);
	words_add_number(&w, b->until);
	words_add(&w, b->before);
	return redis_send(b->queues->redis, &w, on_each, b);
}

/* ---- what comes back ---- */

static void
add_count(json_t *queue, const struct redis_reply *count)
{
	const char *pair = reply_text(reply_at(count, 0), NULL);
	const char *oldest = reply_text(reply_at(count, 2), NULL);
	const char *word = job_status_word(status_of_pair(or_any(pair)));
	json_t *known = json_object_get(queue, word);
	json_int_t n = reply_number(reply_at(count, 1));

	if (known)
		json_object_set_new(known, "jobs",
		    json_integer(n +
			json_integer_value(json_object_get(known, "jobs"))));
	else
		json_object_set_new(queue, word,
		    json_pack("{s:I, s:s?}", "jobs", n, "oldest",
			oldest && *oldest ? oldest : NULL));
}

static void
add_counts(struct bulk *b, const struct redis_reply *counts)
{
	const char *name = b->names[b->at];
	json_t *queue = json_object_get(b->told.counts, name);
	size_t i;

	if (!queue) {
		queue = json_object();
		json_object_set_new(b->told.counts, name, queue);
	}
	for (i = 0; i < reply_count(counts); i++)
		add_count(queue, reply_at(counts, i));
}

static void
remember(struct bulk *b, enum recent_kind kind, const struct redis_reply *ids)
{
	json_t *set = json_object();
	const char *id;
	size_t i;

	for (i = 0; i < reply_count(ids); i++) {
		id = reply_text(reply_at(ids, i), NULL);
		if (id)
			json_object_set_new(set, id, json_true());
	}
	recent_deeds(queue_open(b->queues, b->names[b->at]), kind, set);
	json_decref(set);
}

static void
tell_ended(struct bulk *b, const struct redis_reply *ids)
{
	struct queues *qs = b->queues;
	const char *id;
	size_t i;

	if (b->want.what == BULK_RETRY) {
		queues_tell_ended(qs, ids);
		return;
	}
	remember(b, RECENT_CANCELLED, ids);
	for (i = 0; i < reply_count(ids); i++) {
		id = reply_text(reply_at(ids, i), NULL);
		if (id && qs->ops && qs->ops->purged)
			qs->ops->purged(qs->arg, id);
	}
}

/* The next call begins there; false: the queue is at its end. */
static bool
set_place(struct bulk *b, const struct redis_reply *place)
{
	const char *score = reply_text(reply_at(place, 0), NULL);
	const char *id = reply_text(reply_at(place, 1), NULL);

	strlcpy(b->score, or_any(score), sizeof(b->score));
	strlcpy(b->id, or_any(id), sizeof(b->id));
	return *b->id;
}

static void
on_each(void *arg, const struct redis_reply *reply)
{
	struct bulk *b = arg;
	struct queues *qs = b->queues;
	long long done = reply_number(reply_at(reply, 1));
	struct err e = {0};

	if (queues_refused(qs, reply, &e)) {
		bulk_end(b, &e);
		return;
	}
	b->told.done += done;
	b->told.refused += reply_number(reply_at(reply, 2));
	tell_ended(b, reply_at(reply, 3));
	remember(b, b->want.what == BULK_RETRY ? RECENT_AGAIN : RECENT_DELETED,
	    reply_at(reply, 5));
	if (b->want.what == BULK_COUNT)
		add_counts(b, reply_at(reply, 4));
	if (b->want.what == BULK_RETRY && done > 0 && qs->ops &&
	    qs->ops->given_back)
		qs->ops->given_back(qs->arg, queue_open(qs, b->names[b->at]));
	if (!set_place(b, reply_at(reply, 0)))
		b->at++;
	bulk_go_on(b);
}

static void
bulk_go_on(struct bulk *b)
{
	struct err e = {0};

	if (!b->names || !b->names[b->at] ||
	    (b->want.limit > 0 && b->told.done >= b->want.limit)) {
		bulk_end(b, NULL);
	} else if (!bulk_send(b)) {
		redis_refuse(b->queues->redis, NULL, &e);
		bulk_end(b, &e);
	}
}

static void
on_names(void *arg, const struct redis_reply *reply)
{
	struct bulk *b = arg;
	struct err e = {0};
	const char *name;
	size_t i;

	if (queues_refused(b->queues, reply, &e)) {
		bulk_end(b, &e);
		return;
	}
	for (i = 0; i < reply_count(reply); i++) {
		name = reply_text(reply_at(reply, i), NULL);
		if (name && name_is_valid(name))
			strv_add(&b->names, xstrdup(name));
	}
	bulk_go_on(b);
}

static bool
ask_names(struct bulk *b)
{
	struct redis_words w;

	words_begin(&w, "SMEMBERS");
	words_add(&w, b->queues->names);
	return redis_send(b->queues->redis, &w, on_names, b);
}

int
queues_bulk(struct queues *qs, const struct bulk_wanted *want, bulk_fn fn,
    void *arg, struct err *e)
{
	struct bulk *b;

	if (queues_away(qs, e))
		return -1;
	b = xcalloc(1, sizeof(*b));
	b->queues = qs;
	b->want = *want;
	b->runner = xstrdup(want->runner);
	b->tag = xstrdup(want->tag);
	b->until = next_score(qs);
	b->told.counts = json_object();
	b->fn = fn;
	b->arg = arg;
	if (want->older_than > 0)
		time_text(ev_time() - want->older_than, b->before);
	if (want->queue)
		strv_add(&b->names, xstrdup(want->queue));
	if (want->queue ? bulk_send(b) : ask_names(b))
		return 0;
	bulk_free(b);
	return redis_refuse(qs->redis, NULL, e);
}
