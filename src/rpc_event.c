/* Methods about events: subscribe, unsubscribe. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "mem.h"
#include "redis.h"
#include "rpc.h"
#include "rpc_runner.h"
#include "runners.h"
#include "turns.h"

/* Bytes that may wait for a listener before it is told later, from what is
 * kept for all. */
#define LISTENER_BYTES_MAX 65536

/* A connection's subscription. */
struct listener {
	struct stream *stream;
	const struct events *events;
	struct subscriber *subscriber;
	struct ev_loop *loop;
	ev_timer begin; /* the first event comes behind the answer */
	char **topics;
	enum scope scope;
};

/* ---- topics ---- */

/* The least scope for any of the kinds that the pattern stands for; -1: no
 * such kind. */
static int
scope_for(const char *pattern)
{
	const struct topic *t;
	int least = -1;
	char kind[KIND_SIZE];

	topic_kind(pattern, kind);
	for (t = topic_rows; t->name; t++)
		if (fnmatch(kind, t->name, 0) == 0 &&
		    (least < 0 || (int)t->scope < least))
			least = (int)t->scope;
	return least;
}

static int
refuse_topic(const char *pattern, struct err *e)
{
	const struct topic *t;
	char list[256] = "";

	for (t = topic_rows; t->name; t++) {
		strlcat(list, t->name, sizeof(list));
		strlcat(list, ", ", sizeof(list));
		if (t->of == NULL)
			continue;
		strlcat(list, t->name, sizeof(list));
		strlcat(list, ".", sizeof(list));
		strlcat(list, t->of, sizeof(list));
		strlcat(list, ", ", sizeof(list));
	}
	return err_set(e, ERR_PARAMS,
	    "topics: '%.80s' is no topic (wanted %sor * for all)", pattern,
	    list);
}

static int
check_topics(char *const *patterns, enum scope scope, struct err *e)
{
	int least;

	if (patterns == NULL || *patterns == NULL)
		return refuse_topic("", e);
	for (; *patterns; patterns++) {
		least = scope_for(*patterns);
		if (least < 0)
			return refuse_topic(*patterns, e);
		if (least > (int)scope)
			return err_set(e, ERR_FORBIDDEN,
			    "events of %.80s need the scope %s", *patterns,
			    scope_name((enum scope)least));
	}
	return 0;
}

static bool
may_hear(enum scope scope, const char *topic)
{
	const struct topic *t = topic_rows;
	char kind[KIND_SIZE];

	topic_kind(topic, kind);
	while (t->name && strcmp(t->name, kind) != 0)
		t++;
	return t->name && scope >= t->scope;
}

static bool
wants(void *arg, const char *topic)
{
	const struct listener *l = arg;
	char *const *pattern;

	for (pattern = l->topics; *pattern; pattern++)
		if (topic_matches(*pattern, topic))
			return may_hear(l->scope, topic);
	return false;
}

/* ---- a listener ---- */

/* As since, behind that event: "LIFE:SEQ", at the end of buf. */
#define PLACE_SIZE 40
static const char *
place_text(const struct listener *l, uint64_t seq, char buf[PLACE_SIZE])
{
	const char *life = events_life(l->events);
	char *at = buf + PLACE_SIZE;
	size_t len = strlen(life);

	*--at = '\0';
	do
		*--at = (char)('0' + seq % 10);
	while ((seq /= 10) > 0);
	*--at = ':';
	return memcpy(at - len, life, len);
}

static bool
tell_event(void *arg, const struct event *e)
{
	const struct listener *l = arg;
	char place[PLACE_SIZE], kind[KIND_SIZE];

	return stream_tell(l->stream,
	    &(struct told){place_text(l, e->seq, place),
		topic_kind(e->topic, kind), e->text, e->len},
	    LISTENER_BYTES_MAX);
}

static bool
tell_gap(void *arg, uint64_t first, uint64_t last)
{
	const struct listener *l = arg;
	char text[96], place[PLACE_SIZE];
	int len;

	len = snprintf(text, sizeof(text),
	    "{\"gap\":{\"from\":%llu,\"to\":%llu}}", (unsigned long long)first,
	    (unsigned long long)last);
	return stream_tell(l->stream,
	    &(struct told){
		place_text(l, last, place), "gap", text, (size_t)len},
	    LISTENER_BYTES_MAX);
}

static const struct subscriber_ops listener_ops = {
    .wants = wants,
    .event = tell_event,
    .gap = tell_gap,
};

static void
listener_gone(void *arg)
{
	struct listener *l = arg;

	ev_timer_stop(l->loop, &l->begin);
	if (l->subscriber)
		subscriber_free(l->subscriber);
	strv_free(l->topics);
	free(l);
}

/* By which the next herod goes on with it. */
static json_t *
listener_again(void *arg)
{
	const struct listener *l = arg;
	struct kind list = {TYPE_LIST, NULL};
	char place[PLACE_SIZE];

	return json_pack("{s:s, s:{s:o, s:s}}", "method", "subscribe", "params",
	    "topics", type_fetch(&list, &l->topics), "since",
	    place_text(l, subscriber_at(l->subscriber), place));
}

static void
listener_ready(void *arg)
{
	struct listener *l = arg;

	subscriber_go_on(l->subscriber);
}

static void
on_begin(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("RPC stream", "subscribe");
	(void)loop;
	(void)revents;
	listener_ready(timer->data);
}

/* True when there was one. */
static bool
end_listening(struct call *call)
{
	struct listener *l = call_stream_arg(call, listener_gone);

	if (l == NULL)
		return false;
	stream_close(l->stream);
	listener_gone(l);
	return true;
}

/* NULL after refusing. */
static struct listener *
listener_new(struct call *call)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	struct kind list = {TYPE_LIST, NULL};
	struct err e = {0};

	type_store(&list, &l->topics, call_json(call, "topics"));
	l->scope = call->peer->scope;
	l->loop = call->services->loop;
	l->events = call->services->events;
	ev_timer_init(&l->begin, on_begin, 0, 0);
	l->begin.data = l;
	if (check_topics(l->topics, l->scope, &e) == 0) {
		end_listening(call);
		l->stream = call_stream(call, listener_gone, l);
	}
	if (l->stream) {
		stream_on_ready(l->stream, listener_ready);
		stream_outlives(l->stream, listener_again);
		return l;
	}
	if (!err_is_set(&e)) {
		err_set(&e, ERR_INVALID,
		    "subscribe works on a line connection, not over HTTP");
		err_hint(&e, "use a socket, or GET /events");
	}
	call_refuse(call, &e);
	listener_gone(l);
	return NULL;
}

/* ---- what is so ---- */

static json_t *
runners_snapshot(const struct services *s, struct listener *l)
{
	json_t *runners = json_array();
	struct runner *r;
	char topic[128];

	RUNNERS_FOREACH (r, s->runners) {
		snprintf(topic, sizeof(topic), "runner.%s", r->name);
		if (wants(l, topic))
			json_array_append_new(runners, runner_json(s, r));
	}
	return runners;
}

static json_t *
snapshot(const struct services *s, struct listener *l)
{
	json_t *all = json_pack("{s:s, s:I, s:b, s:o}", "life",
	    events_life(s->events), "seq", (json_int_t)events_last(s->events),
	    "resumed", 0, "runners", runners_snapshot(s, l));

	if (wants(l, "redis"))
		json_object_set_new(all, "redis", redis_json(s));
	return all;
}

/* A listener of the herod before is told, with a gap, what is lost. */
static bool
may_resume(const struct call *call, uint64_t *since)
{
	const char *text = call_string(call, "since");
	const char *seq = text ? strchr(text, ':') : NULL;

	if (text && events_reach(call->services->events, text, since))
		return true;
	if (!call->again || seq == NULL)
		return false;
	*since = strtoull(seq + 1, NULL, 10);
	return true;
}

HANDLER(subscribe)
{
	struct events *es = call->services->events;
	struct listener *l = listener_new(call);
	json_t *answer;
	uint64_t since;

	if (l == NULL)
		return;
	if (may_resume(call, &since)) {
		l->subscriber = subscriber_resume(es, since, &listener_ops, l);
		answer = json_pack("{s:s, s:I, s:b}", "life", events_life(es),
		    "seq", (json_int_t)since, "resumed", 1);
	} else {
		l->subscriber = subscriber_new(es, &listener_ops, l);
		answer = snapshot(call->services, l);
	}
	ev_timer_start(l->loop, &l->begin);
	call_reply(call, answer);
}

HANDLER(unsubscribe)
{
	call_reply(call, json_boolean(end_listening(call)));
}
