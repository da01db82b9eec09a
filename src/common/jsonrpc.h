/*
 * JSON-RPC 2.0 envelopes (https://www.jsonrpc.org/specification), text in
 * both directions, without any notion of sockets.
 *
 * Corners: params null counts as absent; ids are strings, numbers or null,
 * integers exact to int64; an invalid request echoes its id when that was
 * readable; duplicate members, a byte 0 anywhere, invalid UTF-8 and more
 * than JSONRPC_DEPTH levels are parse errors.
 */
#ifndef JSONRPC_H
#define JSONRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <jansson.h>

#include "err.h"

#define JSONRPC_DEPTH 64 /* levels of nesting accepted */

/* One call of a text. */
struct jsonrpc_call {
	const char *method; /* NULL when invalid; borrowed */
	json_t *params; /* NULL when absent or null */
	json_t *id; /* NULL: a notification */
	struct err err; /* set when this member is not a request */
	char name[64]; /* room for a method */
};

/* Parses with our limits; NULL with a refusal (ERR_PARSE). */
json_t *jsonrpc_parse(const char *text, size_t len, struct err *e);

/* The same of an answer, whose strings may hold \u0000: output of programs. */
json_t *jsonrpc_parse_answer(const char *text, size_t len, struct err *e);

/* Reads one request object (a batch member or a whole text), which must live
 * as long as the call. */
void jsonrpc_read(json_t *member, struct jsonrpc_call *call);

/*
 * The same of a whole text as most clients write it (plain.h), with members in
 * any order, each once, and no others; it takes a fifth of the time or less.
 * False: parse it, it may be anything, or long.
 */
bool jsonrpc_read_call(const char *text, size_t len, struct jsonrpc_call *call);

/* Ends a call that either of them has read. */
void jsonrpc_call_end(struct jsonrpc_call *call);

/*
 * The commonest answer of programs, {"jsonrpc":"2.0","id":"ID","result":"TEXT"}
 * (blanks between them or not) of ASCII without escapes, read without a tree:
 * that takes a twentieth of the time.  False: read it the other way.
 */
struct jsonrpc_plain {
	const char *id, *result; /* borrowed from the text */
	size_t id_len, result_len;
};
bool jsonrpc_read_plain(const char *text, size_t len, struct jsonrpc_plain *a);

/* A request with an id, or a notification when id < 0.  params stolen,
 * may be NULL. */
json_t *jsonrpc_request(const char *method, json_t *stolen, long long id);

/* Compact text with a final newline; free(3) it.  *len without NUL. */
char *jsonrpc_text(const json_t *value, size_t *len);

/*
 * A text that grows, for envelopes written by hand around a result: what
 * is answered most must not be built as a tree first.  Begin with zeroes
 * and a limit; free(3) buf.
 */
struct sink {
	char *buf;
	size_t len, size;
	size_t limit; /* longest text taken from values; 0: none */
};

void sink_grow(struct sink *s, size_t len);

/* For so many more bytes. */
static inline void
sink_room(struct sink *s, size_t len)
{
	if (s->size - s->len < len)
		sink_grow(s, len);
}

static inline void
sink_put(struct sink *s, const char *text, size_t len)
{
	if (len == 0)
		return;
	sink_room(s, len);
	memcpy(s->buf + s->len, text, len);
	s->len += len;
}

#define sink_literal(s, text) sink_put((s), (text), sizeof(text) - 1)
void sink_print(struct sink *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Each appends a value.  Of bytes: a string, as text_json() makes it; -1: as
 * below. */
int sink_value(struct sink *s, const json_t *value);
int sink_bytes(struct sink *s, const char *bytes, size_t len);
void sink_number(struct sink *s, long long n);

/* Each appends a whole message without a newline.  -1, leaving the sink as
 * it was, when the limit was passed or the value cannot be written (-1). */
int sink_result(struct sink *s, const json_t *id,
    int (*write)(struct sink *s, void *arg), void *arg);
int sink_notice(struct sink *s, const char *method, const json_t *params);
void sink_notice_text(
    struct sink *s, const char *method, const char *params, size_t len);
void sink_error(struct sink *s, const json_t *id, const struct err *e);

#endif
