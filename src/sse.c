/*
 * Server-sent events: each stream is an asker of its own that has called
 * subscribe.  The answer is its first event, and each further one says in
 * its id behind what a reader may go on.
 */
#include "sse.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "jsonrpc.h"
#include "mem.h"
#include "rpc.h"
#include "turns.h"

#define RETRY \
	"retry: 2000\n" /* ms until a reader that was cut off comes back */
#define QUIET_SECONDS 15.0 /* then a comment shows that we live */

struct hearer {
	struct rpc_door door;
	struct http_request *request;
	char *answer; /* of subscribe, until it was read */
	size_t len;
	ev_timer quiet;
	double spoke_at; /* (clock.h) */
};

/* ---- what was asked ---- */

struct asked {
	json_t *params;
	struct err err;
};

static void
refuse_value(struct asked *a, const char *name)
{
	err_set(&a->err, ERR_PARAMS, "%s: its value is not UTF-8", name);
}

static void
take_topics(struct asked *a, const char *value)
{
	struct kind list = {TYPE_LIST, NULL};
	json_t *text = json_string(value), *words;

	if (text == NULL) {
		refuse_value(a, "topics");
		return;
	}
	words = type_check(&list, "topics", text, &a->err);
	if (words != NULL)
		json_array_extend(json_object_get(a->params, "topics"), words);
	json_decref(words);
	json_decref(text);
}

static void
take_word(void *arg, const char *name, const char *value)
{
	struct asked *a = arg;

	if (*name == '\0' && *value == '\0')
		return; /* an & too many: WHATWG URL, section 5.1 */
	if (strcmp(name, "topics") == 0)
		take_topics(a, value);
	else if (strcmp(name, "since") != 0)
		err_set(&a->err, ERR_PARAMS,
		    "%.64s: no such word; wanted topics and since", name);
	else if (json_object_set_new(a->params, name, json_string(value)) != 0)
		refuse_value(a, name);
}

/* Params of subscribe; new. */
static json_t *
params_of(const struct http_request *r, struct err *e)
{
	struct asked a = {.params = json_pack("{s:[]}", "topics")};
	const char *last = http_header(r, "Last-Event-ID");

	http_query(r, take_word, &a);
	/* One that is not UTF-8 is none of ours. */
	if (last != NULL)
		json_object_set_new(a.params, "since", json_string(last));
	*e = a.err;
	return a.params;
}

/* ---- telling ---- */

static void
put_line(struct sink *s, const char *field, const char *text, size_t len)
{
	sink_put(s, field, strlen(field));
	sink_literal(s, ": ");
	sink_put(s, text, len);
	sink_literal(s, "\n");
}

static void
put_event(struct sink *s, const struct told *event)
{
	put_line(s, "id", event->id, strlen(event->id));
	put_line(s, "event", event->kind, strlen(event->kind));
	put_line(s, "data", event->text, event->len);
	sink_literal(s, "\n");
}

static bool
on_event(void *arg, const struct told *event, size_t most)
{
	size_t room = event->len + 256; /* at once, not bit by bit */
	struct sink text = {.buf = xmalloc(room), .size = room};
	struct hearer *h = arg;
	bool taken;

	put_event(&text, event);
	taken = http_stream_put(h->request, text.buf, text.len, most);
	free(text.buf);
	h->spoke_at = clock_monotonic();
	return taken;
}

/* Where it is among events of all topics: an id without data is an event to
 * nobody, but a reader that is cut off comes back with it. */
static void
put_place(struct hearer *h)
{
	json_t *again = rpc_stream_again(&h->door);
	const char *id = json_string_value(
	    json_object_get(json_object_get(again, "params"), "since"));
	struct sink text = {0};

	sink_literal(&text, ":\n");
	if (id != NULL)
		put_line(&text, "id", id, strlen(id));
	sink_literal(&text, "\n");
	http_stream_put(h->request, text.buf, text.len, text.len);
	free(text.buf);
	json_decref(again);
}

static void
on_quiet(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("events for", "clients");
	struct hearer *h = w->data;
	double left = h->spoke_at + QUIET_SECONDS - clock_monotonic();

	(void)revents;
	if (left <= 0) {
		put_place(h);
		rpc_streams_ready(&h->door); /* max_output_all may have room */
		h->spoke_at = clock_monotonic();
		left = QUIET_SECONDS;
	}
	ev_timer_set(w, left, 0);
	ev_timer_start(loop, w);
}

/* ---- beginning and end ---- */

static void
hearer_free(struct hearer *h)
{
	rpc_door_close(&h->door);
	ev_timer_stop(h->door.services->loop, &h->quiet);
	free(h);
}

static void
on_room(void *arg)
{
	struct hearer *h = arg;

	rpc_streams_ready(&h->door);
}

static void
on_ending(void *arg)
{
	put_place(arg);
}

static void
on_closed(void *arg)
{
	hearer_free(arg);
}

static const struct http_stream_ops stream_ops = {
    .room = on_room,
    .ending = on_ending,
    .closed = on_closed,
};

static void
on_answer(void *arg, char *text, size_t len)
{
	struct hearer *h = arg;

	h->answer = text;
	h->len = len;
}

static struct hearer *
hearer_new(const struct services *services, struct http_request *r)
{
	struct hearer *h = xcalloc(1, sizeof(*h));

	h->request = r;
	h->door.peer = r->client;
	h->door.services = services;
	h->door.answer = on_answer;
	h->door.event = on_event;
	h->door.arg = h;
	ev_timer_init(&h->quiet, on_quiet, QUIET_SECONDS, 0);
	h->quiet.data = h;
	return h;
}

static int
status_of(enum err_code code)
{
	switch (code) {
	case ERR_UNAUTHORIZED:
		return 401;
	case ERR_FORBIDDEN:
		return 403;
	case ERR_INTERNAL:
		return 500;
	default:
		return 400;
	}
}

static void
refuse(struct http_request *r, const struct err *e)
{
	char *text =
	    xasprintf("%s%s%s\n", e->text, *e->hint ? "; " : "", e->hint);

	http_reply(r, status_of(e->code), "text/plain; charset=utf-8", text,
	    strlen(text));
}

/* The stream's first words; what is so, or that it goes on. */
static char *
first_words(const json_t *result, size_t *len)
{
	bool resumed = json_is_true(json_object_get(result, "resumed"));
	json_int_t seq = json_integer_value(json_object_get(result, "seq"));
	const char *life = json_string_value(json_object_get(result, "life"));
	char *id = xasprintf("%s:%lld", life != NULL ? life : "", seq);
	char *data = json_dumps(result, JSON_COMPACT);
	struct sink text = {0};

	sink_literal(&text, RETRY);
	put_event(&text,
	    &(struct told){
		id, resumed ? "resumed" : "snapshot", data, strlen(data)});
	free(id);
	free(data);
	*len = text.len;
	return text.buf;
}

static bool
begin(struct hearer *h, const json_t *result)
{
	size_t len;
	char *text = first_words(result, &len);

	h->spoke_at = clock_monotonic();
	ev_timer_start(h->door.services->loop, &h->quiet);
	return http_stream(
	    h->request, "text/event-stream", text, len, &stream_ops, h);
}

/* It is answered at once. */
static json_t *
subscribe(struct hearer *h, json_t *stolen_params)
{
	json_t *call = jsonrpc_request("subscribe", stolen_params, 1), *answer;
	struct err e = {0};
	size_t len;
	char *text = jsonrpc_text(call, &len);

	rpc_take(&h->door, text, len);
	answer = h->answer ? jsonrpc_parse_answer(h->answer, h->len, &e) : NULL;
	free(h->answer);
	h->answer = NULL;
	free(text);
	json_decref(call);
	return answer;
}

void
page_events(void *arg, struct http_request *r)
{
	struct err e = {0};
	json_t *params = params_of(r, &e), *answer, *result;
	struct hearer *h;

	if (err_is_set(&e)) {
		json_decref(params);
		refuse(r, &e);
		return;
	}
	h = hearer_new(arg, r);
	answer = subscribe(h, params);
	result = json_object_get(answer, "result");
	if (result == NULL) {
		err_from_json(&e, json_object_get(answer, "error"));
		refuse(r, &e);
	}
	if (result == NULL || !begin(h, result))
		hearer_free(h);
	json_decref(answer);
}
