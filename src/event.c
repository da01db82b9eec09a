/*
 * Events: a ring of texts and who is where in it.
 *
 * While nobody listens, and did not for the length of a whole ring, events
 * are only counted.
 */
#include "event.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <ev.h>

#include "mem.h"
#include "type.h"

#define RING_MIN 64

/* A topic and a text, a NUL behind each. */
struct kept {
	char *bytes;
	size_t topic_len, text_len;
};

struct subscriber {
	LIST_ENTRY(subscriber) entry;
	struct events *all;
	const struct subscriber_ops *ops;
	void *arg;
	uint64_t next; /* the event it gets next */
	bool behind;
};

struct events {
	char life[13];
	uint64_t last;
	struct kept *ring; /* event n stands at n % size */
	size_t size; /* a power of two, or 0 */
	size_t n; /* kept: the last ones */
	size_t bytes;
	size_t unheard; /* since the last subscriber left */
	LIST_HEAD(, subscriber) subscribers;
};

/* ---- the ring ---- */

static struct kept *
kept_at(const struct events *es, uint64_t seq)
{
	return &es->ring[seq & (es->size - 1)];
}

static uint64_t
first_kept(const struct events *es)
{
	return es->last - es->n + 1;
}

static size_t
kept_bytes(const struct kept *k)
{
	return k->topic_len + k->text_len + 2;
}

static void
drop_first(struct events *es)
{
	struct kept *k = kept_at(es, first_kept(es));

	es->bytes -= kept_bytes(k);
	free(k->bytes);
	es->n--;
}

static void
drop_all(struct events *es)
{
	while (es->n > 0)
		drop_first(es);
	free(es->ring);
	es->ring = NULL;
	es->size = 0;
}

static void
grow(struct events *es)
{
	struct events old = *es;
	uint64_t seq;

	es->size = old.size ? 2 * old.size : RING_MIN;
	es->ring = xcalloc(es->size, sizeof(*es->ring));
	for (seq = first_kept(&old); seq <= old.last; seq++)
		*kept_at(es, seq) = *kept_at(&old, seq);
	free(old.ring);
}

/* The event after the last. */
static void
keep(struct events *es, const char *topic, char *text, size_t len)
{
	size_t topic_len = strlen(topic);
	struct kept k = {xmalloc(topic_len + len + 2), topic_len, len};

	memcpy(k.bytes, topic, topic_len + 1);
	memcpy(k.bytes + topic_len + 1, text, len + 1);
	while (es->n > 0 &&
	    (es->n == EVENTS_MAX ||
		es->bytes + kept_bytes(&k) > EVENTS_BYTES_MAX))
		drop_first(es);
	if (es->n == es->size)
		grow(es);
	es->last++;
	es->n++;
	es->bytes += kept_bytes(&k);
	*kept_at(es, es->last) = k;
}

/* ---- subscribers ---- */

/* False: not now. */
static bool
give(struct subscriber *s, uint64_t seq)
{
	const struct kept *k = kept_at(s->all, seq);
	struct event e = {
	    seq, k->bytes, k->bytes + k->topic_len + 1, k->text_len};

	return !s->ops->wants(s->arg, e.topic) || s->ops->event(s->arg, &e);
}

static bool
give_gap(struct subscriber *s, uint64_t first)
{
	if (!s->ops->gap(s->arg, s->next, first - 1))
		return false;
	s->next = first;
	return true;
}

static void
catch_up(struct subscriber *s)
{
	const struct events *es = s->all;

	if (s->next < first_kept(es) && !give_gap(s, first_kept(es))) {
		s->behind = true;
		return;
	}
	for (; s->next <= es->last; s->next++)
		if (!give(s, s->next)) {
			s->behind = true;
			return;
		}
}

struct subscriber *
subscriber_resume(struct events *es, uint64_t since,
    const struct subscriber_ops *ops, void *arg)
{
	struct subscriber *s = xcalloc(1, sizeof(*s));

	s->all = es;
	s->ops = ops;
	s->arg = arg;
	s->next = since + 1;
	s->behind = true;
	es->unheard = 0;
	if (es->size == 0)
		grow(es);
	LIST_INSERT_HEAD(&es->subscribers, s, entry);
	return s;
}

struct subscriber *
subscriber_new(struct events *es, const struct subscriber_ops *ops, void *arg)
{
	return subscriber_resume(es, es->last, ops, arg);
}

void
subscriber_free(struct subscriber *s)
{
	LIST_REMOVE(s, entry);
	free(s);
}

uint64_t
subscriber_at(const struct subscriber *s)
{
	return s->next - 1;
}

void
subscriber_go_on(struct subscriber *s)
{
	s->behind = false;
	catch_up(s);
}

/* ---- publishing ---- */

static bool
may_be_heard(struct events *es)
{
	if (!LIST_EMPTY(&es->subscribers))
		return true;
	if (es->size == 0)
		return false;
	if (es->unheard++ < EVENTS_MAX)
		return true;
	drop_all(es);
	return false;
}

/* The text of an event that has no number yet. */
static char *
event_text(const struct events *es, const char *topic, json_t *stolen_more)
{
	char stamp[TIME_TEXT_SIZE], *text;
	json_t *whole =
	    json_pack("{s:I, s:s, s:s}", "seq", (json_int_t)es->last + 1,
		"topic", topic, "time", time_text(ev_time(), stamp));

	json_object_update_missing(whole, stolen_more);
	text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	json_decref(stolen_more);
	return text;
}

void
event_publish(
    struct events *es, const char *topic, event_fn make, const void *arg)
{
	struct subscriber *s, *next;
	char *text;

	if (es == NULL)
		return;
	if (!may_be_heard(es)) {
		es->last++;
		return;
	}
	text = event_text(es, topic, make(arg));
	keep(es, topic, text, strlen(text));
	free(text);
	LIST_FOREACH_SAFE (s, &es->subscribers, entry, next)
		if (!s->behind)
			catch_up(s);
}

/* For each event and each who hears it; snprintf(3) would be a tenth of all
 * that an event costs. */
const char *
topic_kind(const char *topic, char buf[KIND_SIZE])
{
	size_t len = strcspn(topic, ".");

	len = len < KIND_SIZE ? len : KIND_SIZE - 1;
	memcpy(buf, topic, len);
	buf[len] = '\0';
	return buf;
}

bool
topic_matches(const char *pattern, const char *topic)
{
	char kind[KIND_SIZE];

	if (strchr(pattern, '.'))
		return fnmatch(pattern, topic, 0) == 0;
	return fnmatch(pattern, topic_kind(topic, kind), 0) == 0;
}

/* ---- all of them ---- */

struct events *
events_new(void)
{
	struct events *es = xcalloc(1, sizeof(*es));

	LIST_INIT(&es->subscribers);
	snprintf(es->life, sizeof(es->life), "%08x%04x", arc4random(),
	    arc4random() & 0xffff);
	return es;
}

void
events_free(struct events *es)
{
	if (es == NULL)
		return;
	assert(LIST_EMPTY(&es->subscribers));
	drop_all(es);
	free(es);
}

void
events_go_on(struct events *es, const char *life, uint64_t last)
{
	strlcpy(es->life, life, sizeof(es->life));
	drop_all(es);
	es->last = last;
	grow(es);
}

const char *
events_life(const struct events *es)
{
	return es->life;
}

uint64_t
events_last(const struct events *es)
{
	return es->last;
}

bool
events_reach(const struct events *es, const char *since, uint64_t *seq)
{
	size_t len = strlen(es->life);
	char *end;

	if (strncmp(since, es->life, len) != 0 || since[len] != ':' ||
	    since[len + 1] < '0' || since[len + 1] > '9')
		return false;
	*seq = strtoull(since + len + 1, &end, 10);
	return *end == '\0' && *seq <= es->last && *seq + 1 >= first_kept(es);
}
