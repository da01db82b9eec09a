/*
 * Calls: text in, one answer out, now or later.
 *
 * A text has one member, or is a batch of them.  Each member that is a
 * request becomes a call; its answer is written into the member's slot, and
 * when the last slot is settled the text's answer leaves through the door.
 * A member whose asker has left goes on without a text, until its handler
 * answers it or, when call_on_gone() was used, at once.
 */
#define LOG_MODULE "rpc"
#include "rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "auth.h"
#include "clock.h"
#include "counters.h"
#include "jsonrpc.h"
#include "keys.h"
#include "log.h"
#include "mem.h"
#include "secret.h"
#include "settings.h"
#include "turns.h"

struct member {
	struct call call; /* first: handlers hold its address */
	LIST_ENTRY(member) entry;
	struct rpc_text *text; /* NULL: the asker has left */
	json_t *id; /* NULL: a notification */
	struct sink *slot;
	double begun; /* (clock.h) */
	bool running; /* its handler has not returned yet */
	bool outlives; /* the next herod is asked again */
	bool answered;
	void (*gone)(void *arg);
	void *gone_arg;
	struct peer *peer; /* its own, where the door's is gone or another */
};

struct rpc_text {
	LIST_ENTRY(rpc_text) entry;
	LIST_HEAD(, member) members; /* not settled yet */
	struct rpc_door *door;
	size_t len; /* of the text */
	size_t nopen; /* members not settled, and one while taking */
	size_t answer; /* bytes of all slots */
	bool batch;
	bool settled; /* all slots are full, whoever answers still */
	bool handed_on; /* the next herod answers */
	size_t nslots;
	struct sink slots[];
};

struct stream {
	LIST_ENTRY(stream) entry;
	struct rpc_door *door;
	void (*gone)(void *arg);
	void (*ready)(void *arg);
	json_t *(*outlives)(void *arg);
	void *arg;
	bool behind;
	struct method_tally *tally;
	char key_id[sizeof(((struct peer *)NULL)->key_id)];
};

static void (*const handlers[METHOD_COUNT])(struct call *) = {
#define METHOD(id, ...) [METHOD_##id] = handle_##id,
#include "methods.def"
#undef METHOD
};

/* ---- the answer of a text ---- */

static char *
batch_answer(struct rpc_text *t, size_t *len)
{
	struct sink all = {0};
	size_t i;

	for (i = 0; i < t->nslots; i++) {
		if (t->slots[i].len == 0)
			continue;
		sink_put(&all, all.len ? "," : "[", 1);
		sink_put(&all, t->slots[i].buf, t->slots[i].len);
		free(t->slots[i].buf);
	}
	if (all.len > 0)
		sink_put(&all, "]\n", 2);
	*len = all.len;
	return all.buf;
}

static char *
single_answer(struct rpc_text *t, size_t *len)
{
	if (t->slots[0].len > 0)
		sink_put(&t->slots[0], "\n", 1);
	*len = t->slots[0].len;
	return t->slots[0].buf;
}

static void
text_finish(struct rpc_text *t)
{
	struct rpc_door *door = t->door;
	size_t len;
	char *answer;

	answer = t->batch ? batch_answer(t, &len) : single_answer(t, &len);
	LIST_REMOVE(t, entry);
	door->ntexts--;
	door->open_bytes -= t->len;
	free(t);
	/* Last: the door may go with it. */
	door->answer(door->arg, answer, len);
}

static void
text_settle_one(struct rpc_text *t)
{
	if (--t->nopen == 0)
		text_finish(t);
}

static struct rpc_text *
text_new(struct rpc_door *door, size_t len, size_t nslots, bool batch)
{
	size_t size = sizeof(struct rpc_text) + nslots * sizeof(struct sink);
	struct rpc_text *t = xmalloc(size);

	memset(t, 0, size); /* calloc(3) would not take from malloc's cache */
	LIST_INIT(&t->members);
	t->door = door;
	t->len = len;
	t->nopen = 1;
	t->batch = batch;
	t->nslots = nslots;
	LIST_INSERT_HEAD(&door->texts, t, entry);
	door->ntexts++;
	door->open_bytes += len;
	return t;
}

/* Every way to refuse something ends here. */
static void
put_refusal(struct rpc_text *t, struct sink *slot, const json_t *id,
    const struct err *e)
{
	counter_add(refusals, 1);
	/* Not the text, which may have a key or a payload in it. */
	log_debug(
	    "%s: refused: %s", t->door->peer->text, err_row(e->code)->name);
	if (!t->batch)
		t->door->refused = e->code;
	sink_error(slot, id, e);
	t->answer += slot->len;
}

/* ---- members ---- */

struct method_tally method_tallies[METHOD_COUNT];

static struct method_tally *
tally_of(const struct method *method)
{
	return &method_tallies[method - methods];
}

static void
member_free(struct member *m)
{
	struct rpc_text *t = m->text;

	tally_of(m->call.method)->open--;
	json_decref(m->id);
	json_decref(m->call.params);
	free(m->peer);
	if (t != NULL)
		LIST_REMOVE(m, entry);
	free(m);
	if (t != NULL)
		text_settle_one(t);
}

static void
tally(const struct method *method, double begun, const struct err *e)
{
	struct method_tally *t = tally_of(method);

	t->refused += e != NULL;
	timing_add(&t->answered, clock_monotonic() - begun);
}

/* e NULL: it was done. */
static void
member_tell(const struct member *m, const struct err *e)
{
	const struct call *call = &m->call;

	tally(call->method, m->begun, e);
	audit_call(
	    call->services->audit, call->peer, call->method, call->params, e);
}

/* A call is answered exactly once. */
static struct member *
member_answered(struct call *call)
{
	struct member *m = call->door;

	assert(!m->answered);
	m->answered = true;
	m->gone = NULL;
	return m;
}

static void
member_done(struct member *m)
{
	if (!m->running)
		member_free(m);
}

static bool
member_is_heard(const struct member *m)
{
	return m->text != NULL && !m->text->settled && m->id != NULL;
}

static size_t
room_for_answer(const struct rpc_text *t)
{
	size_t limit = (size_t)t->door->services->conf->max_output;

	return t->answer < limit ? limit - t->answer : 0;
}

static void
refuse_large(struct member *m)
{
	struct err e = {0};

	err_set(
	    &e, ERR_TOO_LARGE, "the answer would be longer than max_output");
	err_hint(&e, "ask for less at a time");
	put_refusal(m->text, m->slot, m->id, &e);
}

static void
put_result(struct member *m, int (*write)(struct sink *s, void *arg), void *arg)
{
	m->slot->limit = room_for_answer(m->text);
	if (m->slot->limit > 0 && /* 0 would be none */
	    sink_result(m->slot, m->id, write, arg) == 0)
		m->text->answer += m->slot->len;
	else
		refuse_large(m);
}

void
call_reply_by(
    struct call *call, int (*write)(struct sink *s, void *arg), void *arg)
{
	struct member *m = member_answered(call);

	member_tell(m, NULL);
	if (member_is_heard(m))
		put_result(m, write, arg);
	member_done(m);
}

static int
write_json(struct sink *s, void *value)
{
	return sink_value(s, value);
}

static void
refuse_nothing(struct call *call)
{
	struct err e = {0};

	err_set(&e, ERR_INTERNAL, "%s gave no result", call->method->name);
	log_warnx("%s", e.text);
	call_refuse(call, &e);
}

void
call_reply(struct call *call, json_t *stolen)
{
	if (stolen == NULL) {
		refuse_nothing(call);
		return;
	}
	call_reply_by(call, write_json, stolen);
	json_decref(stolen);
}

void
call_refuse(struct call *call, const struct err *e)
{
	struct member *m = member_answered(call);
	struct err unknown = {0};

	if (!err_is_set(e)) {
		err_set(
		    &unknown, ERR_INTERNAL, "%s failed", call->method->name);
		e = &unknown;
	}
	member_tell(m, e);
	if (member_is_heard(m))
		put_refusal(m->text, m->slot, m->id, e);
	member_done(m);
}

void
call_on_gone(struct call *call, void (*fn)(void *arg), void *arg)
{
	struct member *m = call->door;

	m->gone = fn;
	m->gone_arg = arg;
}

void
call_outlives(struct call *call)
{
	struct member *m = call->door;

	m->outlives = true;
}

bool
call_login(struct call *call, const struct key_given *given)
{
	const struct member *m = call->door;
	const struct rpc_door *door = m->text->door;

	if (door->login == NULL)
		return false;
	door->login(door->arg, given);
	return true;
}

/* ---- taking ---- */

static const struct method *
find_method(const char *name, struct err *e)
{
	const struct method *m = method_find(name);
	const char *nearest;

	if (m != NULL)
		return m;
	err_set(e, ERR_METHOD, "there is no method '%.100s'", name);
	err_subject(e, name);
	nearest = method_nearest(name);
	if (nearest != NULL)
		err_hint(e, "did you mean '%s'?", nearest);
	return NULL;
}

/* How to come by the scope that is missing. */
static int
hint_at_scope(const struct method *m, const struct peer *peer, struct err *e)
{
	if (!peer->known)
		return err_hint(e,
		    "show a key: heroctl -k KEY, Authorization: Bearer KEY, or "
		    "auth.login");
	if (*peer->key_id)
		return err_hint(e,
		    "a key counts in place of who you are: show one of the "
		    "scope %s, or none",
		    scope_name(m->scope));
	if (m->scope < SCOPE_ADMIN)
		return err_hint(e,
		    "default_scope = %s gives it to all local users, "
		    "admin_group to some",
		    scope_name(m->scope));
	return err_hint(e,
	    "admins are root, herod's own user and the members "
	    "of admin_group");
}

static int
check_scope(const struct method *m, const struct peer *peer, struct err *e)
{
	if (peer->scope >= m->scope)
		return 0;
	err_set(e, peer->scope == SCOPE_NONE ? ERR_UNAUTHORIZED : ERR_FORBIDDEN,
	    "%s needs the scope %s; %s has %s", m->name, scope_name(m->scope),
	    peer->text, scope_name(peer->scope));
	return hint_at_scope(m, peer, e);
}

/* Hero's way: a member "secret" of the params, for this call only.  0: shown is
 * whom it makes of the peer, or false in *is_shown; -1: a refusal. */
static int
take_secret(const struct rpc_door *door, const struct method *m, json_t *params,
    struct peer *shown, bool *is_shown, struct err *e)
{
	json_t *secret = json_is_object(params) && !method_param(m, "secret")
	    ? json_object_get(params, "secret")
	    : NULL;
	struct key_given given;
	int bad;

	*is_shown = secret != NULL && door->services->keys != NULL;
	if (!*is_shown)
		return 0;
	if (!json_is_string(secret))
		return err_set(e, ERR_PARAMS, "secret: a key is wanted");
	bad = keys_check(door->services->keys, json_string_value(secret),
	    door->peer->from, &given, e);
	secret_forget(json_string_value(secret));
	if (bad)
		return -1;
	*shown = *door->peer;
	auth_given(shown, &given);
	json_object_del(params, "secret");
	return 0;
}

/* A batch whose answer is already too long does nothing more: what was
 * done could not be told. */
static int
check_room(const struct rpc_text *t, struct err *e)
{
	if (room_for_answer(t) > 0)
		return 0;
	err_set(e, ERR_TOO_LARGE,
	    "the batch's answer is longer than max_output; not done");
	return err_hint(e, "ask for less at a time");
}

static void
own_peer(struct member *m, const struct peer *peer)
{
	m->peer = xmalloc(sizeof(*m->peer));
	*m->peer = *peer;
	m->call.peer = m->peer;
}

static void
member_run(struct rpc_text *t, struct sink *slot, const struct method *method,
    const struct jsonrpc_call *asked, json_t *stolen_params,
    const struct peer *shown)
{
	struct member *m = xmalloc(sizeof(*m));
	DOING("RPC method", method->name);

	m->call = (struct call){method, stolen_params, t->door->peer,
	    t->door->services, t->door->again, m};
	m->peer = NULL;
	if (shown != NULL)
		own_peer(m, shown);
	m->begun = clock_monotonic();
	m->text = t;
	m->id = json_incref(asked->id);
	m->slot = slot;
	m->running = true;
	m->outlives = method->scope <= SCOPE_OBSERVE;
	m->answered = false;
	m->gone = NULL;
	LIST_INSERT_HEAD(&t->members, m, entry);
	t->nopen++;
	tally_of(method)->open++;
	tally_of(method)->calls++;
	log_debug("%s: %s", m->call.peer->text, method->name);
	handlers[method - methods](&m->call);
	m->running = false;
	if (m->answered)
		member_free(m);
}

/* Before it was a call. */
static void
tell_refused(const struct rpc_door *door, const struct peer *peer,
    const struct method *method, const struct jsonrpc_call *asked)
{
	tally_of(method)->refused++;
	audit_call(
	    door->services->audit, peer, method, asked->params, &asked->err);
}

static void
take_call(struct rpc_text *t, struct sink *slot, struct jsonrpc_call *asked)
{
	const struct method *method = NULL;
	json_t *params = NULL;
	struct peer shown;
	bool is_shown = false;
	struct err *e = &asked->err;

	counter_add(calls, 1);
	if (asked->method != NULL && check_room(t, e) == 0)
		method = find_method(asked->method, e);
	if (method != NULL &&
	    take_secret(t->door, method, asked->params, &shown, &is_shown, e) ==
		0 &&
	    check_scope(method, is_shown ? &shown : t->door->peer, e) == 0)
		params = method_check(method, asked->params, e);
	if (params == NULL && method != NULL)
		tell_refused(
		    t->door, is_shown ? &shown : t->door->peer, method, asked);
	if (params != NULL)
		member_run(
		    t, slot, method, asked, params, is_shown ? &shown : NULL);
	else if (asked->id != NULL || e->code == ERR_INVALID)
		put_refusal(t, slot, asked->id, e);
	else
		counter_add(refusals, 1);
	jsonrpc_call_end(asked);
}

static void
take_member(struct rpc_text *t, struct sink *slot, json_t *member)
{
	struct jsonrpc_call asked;

	jsonrpc_read(member, &asked);
	take_call(t, slot, &asked);
}

static void
refuse_text(struct rpc_door *door, size_t len, const struct err *e)
{
	struct rpc_text *t = text_new(door, len, 1, false);

	counter_add(calls, 1);
	put_refusal(t, &t->slots[0], NULL, e);
	text_settle_one(t);
}

static void
take_batch(struct rpc_door *door, size_t len, const json_t *batch)
{
	size_t most = (size_t)door->services->conf->max_batch;
	size_t i, n = json_array_size(batch);
	struct err e = {0};
	struct rpc_text *t;

	if (n == 0)
		err_set(&e, ERR_INVALID, "a batch must not be empty");
	else if (n > most)
		err_set(&e, ERR_TOO_LARGE,
		    "a batch of %zu calls; max_batch is %zu", n, most);
	if (err_is_set(&e)) {
		refuse_text(door, len, &e);
		return;
	}
	t = text_new(door, len, n, true);
	for (i = 0; i < n; i++)
		take_member(t, &t->slots[i], json_array_get(batch, i));
	text_settle_one(t);
}

static void
take_single(struct rpc_door *door, size_t len, struct jsonrpc_call *asked)
{
	struct rpc_text *t = text_new(door, len, 1, false);

	take_call(t, &t->slots[0], asked);
	text_settle_one(t);
}

/* A text of any kind. */
static void
take_any(struct rpc_door *door, const char *text, size_t len)
{
	DOING("a JSON text from", "a client");
	struct err e = {0};
	json_t *root = jsonrpc_parse(text, len, &e);
	struct jsonrpc_call asked;

	if (root == NULL) {
		refuse_text(door, len, &e);
	} else if (json_is_array(root)) {
		take_batch(door, len, root);
	} else {
		jsonrpc_read(root, &asked);
		take_single(door, len, &asked);
	}
	json_decref(root);
}

void
rpc_take(struct rpc_door *door, const char *text, size_t len)
{
	struct jsonrpc_call asked;

	door->refused = ERR_NONE;
	if (jsonrpc_read_call(text, len, &asked))
		take_single(door, len, &asked);
	else
		take_any(door, text, len);
}

/* ---- leaving ---- */

/* The handler may answer later: the call must still be whole then. */
static void
member_orphan(struct member *m)
{
	LIST_REMOVE(m, entry);
	m->text = NULL;
	if (m->peer == NULL)
		own_peer(m, m->call.peer);
	if (m->gone != NULL) {
		m->answered = true; /* it must not be any more */
		audit_left(m->call.services->audit, m->peer, m->call.method,
		    m->call.params);
		m->gone(m->gone_arg);
		member_free(m);
	}
}

/* What gone() does may settle other members of the text. */
static void
text_leave(struct rpc_text *t)
{
	struct member *m;
	size_t i;

	t->nopen++;
	LIST_REMOVE(t, entry);
	while ((m = LIST_FIRST(&t->members)) != NULL)
		member_orphan(m);
	for (i = 0; i < t->nslots; i++)
		free(t->slots[i].buf);
	free(t);
}

void
rpc_door_close(struct rpc_door *door)
{
	struct rpc_text *t;
	struct stream *s;

	while ((t = LIST_FIRST(&door->texts)) != NULL)
		text_leave(t);
	door->ntexts = door->open_bytes = 0;
	while ((s = LIST_FIRST(&door->streams)) != NULL) {
		LIST_REMOVE(s, entry);
		if (s->gone != NULL)
			s->gone(s->arg);
		s->tally->streams--;
		free(s);
	}
	door->nstreams = 0;
}

/* ---- making way ---- */

static void
put_again(struct sink *lines, json_t *call)
{
	size_t len;
	char *text = jsonrpc_text(call, &len);

	sink_put(lines, text, len);
	free(text);
	json_decref(call);
}

static void
refuse_member(struct member *m)
{
	struct err e = {0};

	if (!member_is_heard(m))
		return;
	err_set(&e, ERR_MADE_WAY,
	    "%s: herod made way for another before this was done",
	    m->call.method->name);
	err_hint(&e, "what has been begun goes on; look, then ask again");
	member_tell(m, &e);
	put_refusal(m->text, m->slot, m->id, &e);
}

static void
text_refuse(struct rpc_text *t)
{
	struct member *m;

	LIST_FOREACH (m, &t->members, entry)
		refuse_member(m);
	t->settled = true;
	t->nopen++;
	while ((m = LIST_FIRST(&t->members)) != NULL)
		member_orphan(m);
	text_finish(t);
}

/* NULL unless it is a single call that the next herod can answer, who does not
 * hear of a secret that was shown for it. */
static const struct member *
member_to_ask_again(const struct rpc_text *t)
{
	const struct member *m = LIST_FIRST(&t->members);

	return !t->batch && m && m->outlives && m->peer == NULL &&
		member_is_heard(m)
	    ? m
	    : NULL;
}

static json_t *
call_again(const struct member *m)
{
	return json_pack("{s:s, s:O, s:s, s:O}", "jsonrpc", "2.0", "id", m->id,
	    "method", m->call.method->name, "params", m->call.params);
}

/* The last one asked is the first in the list. */
static void
put_texts_again(struct rpc_text *t, struct sink *lines)
{
	const struct member *m;

	if (t == NULL)
		return;
	put_texts_again(LIST_NEXT(t, entry), lines);
	m = member_to_ask_again(t);
	if (m)
		put_again(lines, call_again(m));
	t->handed_on = m != NULL;
}

/* Each anew from the first: what gone() does may end others. */
static void
refuse_texts(struct rpc_door *door)
{
	struct rpc_text *t;

	do {
		LIST_FOREACH (t, &door->texts, entry)
			if (!t->handed_on)
				break;
		if (t)
			text_refuse(t);
	} while (t);
}

static json_t *
stream_again(const struct stream *s)
{
	return s->outlives ? s->outlives(s->arg) : NULL;
}

json_t *
rpc_stream_again(const struct rpc_door *door)
{
	const struct stream *s = LIST_FIRST(&door->streams);

	return s != NULL ? stream_again(s) : NULL;
}

static void
stream_leave(struct stream *s, struct sink *lines)
{
	json_t *call = stream_again(s);

	if (call == NULL)
		return;
	json_object_set_new(call, "jsonrpc", json_string("2.0"));
	put_again(lines, call);
}

void
rpc_door_leave(struct rpc_door *door, struct sink *lines)
{
	struct stream *s;

	if (lines) {
		put_texts_again(LIST_FIRST(&door->texts), lines);
		LIST_FOREACH (s, &door->streams, entry)
			stream_leave(s, lines);
	}
	refuse_texts(door);
}

/* ---- streams ---- */

struct stream *
call_stream(struct call *call, void (*gone)(void *arg), void *arg)
{
	struct member *m = call->door;
	struct rpc_door *door = m->text != NULL ? m->text->door : NULL;
	struct stream *s;

	if (door == NULL || (door->notify == NULL && door->event == NULL) ||
	    door->nstreams >= RPC_STREAMS_MAX)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->door = door;
	s->gone = gone;
	s->arg = arg;
	strlcpy(s->key_id, call->peer->key_id, sizeof(s->key_id));
	s->tally = tally_of(call->method);
	s->tally->streams++;
	s->tally->streamed++;
	LIST_INSERT_HEAD(&door->streams, s, entry);
	door->nstreams++;
	return s;
}

void
stream_close(struct stream *s)
{
	LIST_REMOVE(s, entry);
	s->door->nstreams--;
	s->tally->streams--;
	free(s);
}

bool
rpc_streams_by_key(const struct rpc_door *door, const char *id)
{
	const struct stream *s;

	LIST_FOREACH (s, &door->streams, entry)
		if (strcmp(s->key_id, id) == 0)
			return true;
	return false;
}

void *
call_stream_arg(const struct call *call, void (*gone)(void *arg))
{
	const struct member *m = call->door;
	struct stream *s;

	if (m->text == NULL)
		return NULL;
	LIST_FOREACH (s, &m->text->door->streams, entry)
		if (s->gone == gone)
			return s->arg;
	return NULL;
}

static bool
stream_send(struct stream *s, struct sink *text, size_t most)
{
	sink_put(text, "\n", 1);
	s->behind = !s->door->notify(s->door->arg, text->buf, text->len, most);
	return !s->behind;
}

void
stream_outlives(struct stream *s, json_t *(*make)(void *arg))
{
	s->outlives = make;
}

bool
stream_notify_text(struct stream *s, const char *method, const char *params,
    size_t len, size_t most)
{
	struct sink text = {0};

	sink_notice_text(&text, method, params, len);
	return stream_send(s, &text, most);
}

bool
stream_tell(struct stream *s, const struct told *event, size_t most)
{
	struct rpc_door *door = s->door;

	if (door->event == NULL)
		return stream_notify_text(
		    s, "event", event->text, event->len, most);
	s->behind = !door->event(door->arg, event, most);
	return !s->behind;
}

/* Half of max_output is for answers. */
bool
stream_notify(struct stream *s, const char *method, json_t *stolen)
{
	size_t most = (size_t)s->door->services->conf->max_output / 2;
	struct sink text = {0};

	if (sink_notice(&text, method, stolen) == 0) {
		stream_send(s, &text, most);
	} else {
		log_warnx("%s: a notification that is not JSON", method);
		free(text.buf);
	}
	json_decref(stolen);
	return !s->behind;
}

void
stream_on_ready(struct stream *s, void (*ready)(void *arg))
{
	s->ready = ready;
}

void
rpc_streams_ready(struct rpc_door *door)
{
	struct stream *s, *next;

	LIST_FOREACH_SAFE (s, &door->streams, entry, next) {
		if (!s->behind)
			continue;
		s->behind = false;
		if (s->ready != NULL)
			s->ready(s->arg);
	}
}

/* ---- parameters, for handlers ---- */

json_t *
call_json(const struct call *call, const char *name)
{
	return json_object_get(call->params, name);
}

bool
call_has(const struct call *call, const char *name)
{
	return call_json(call, name) != NULL;
}

const char *
call_string(const struct call *call, const char *name)
{
	return json_string_value(call_json(call, name));
}

bool
call_bool(const struct call *call, const char *name)
{
	return json_is_true(call_json(call, name));
}

double
call_number(const struct call *call, const char *name)
{
	return json_number_value(call_json(call, name));
}

long long
call_count(const struct call *call, const char *name)
{
	return json_integer_value(call_json(call, name));
}
