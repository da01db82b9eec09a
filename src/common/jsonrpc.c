/* JSON-RPC 2.0 envelopes, read and written. */
#include "jsonrpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "plain.h"
#include "type.h"

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* ---- reading ---- */

/* Behind the closing quote of the string that begins before i. */
static size_t
string_end(const char *text, size_t i, size_t len)
{
	while (i < len && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return i + 1;
}

/* Looked at before parsing: jansson's own limit is 2048 levels. */
static bool
is_too_deep(const char *text, size_t len)
{
	size_t i = 0, depth = 0;

	while (i < len) {
		switch (text[i++]) {
		case '"':
			i = string_end(text, i, len);
			break;
		case '[':
		case '{':
			if (++depth > JSONRPC_DEPTH)
				return true;
			break;
		case ']':
		case '}':
			depth -= depth > 0;
			break;
		}
	}
	return false;
}

/* No text of ours may hold a byte 0, however it is spelled. */
static void
refuse_json(const json_error_t *why, struct err *e)
{
	enum json_error_code code = json_error_code(why);

	if (code == json_error_null_character ||
	    code == json_error_null_byte_in_key)
		err_set(e, ERR_PARSE,
		    "\\u0000 in a string is not accepted (byte %d)",
		    why->position);
	else
		err_set(e, ERR_PARSE, "not JSON: %s (byte %d)", why->text,
		    why->position);
}

/* NULL: it may be right all the same. */
static json_t *
parse_plain(const char *text, size_t len)
{
	struct plain p = {text, text + len};
	json_t *value = plain_value(&p, JSONRPC_DEPTH);

	if (plain_ends(&p))
		return value;
	json_decref(value);
	return NULL;
}

static json_t *
parse(const char *text, size_t len, size_t flags, struct err *e)
{
	json_error_t why;
	json_t *value = parse_plain(text, len);

	if (value != NULL)
		return value;
	/* jansson 2.14 lets a byte 0 through behind a number. */
	if (memchr(text, '\0', len) != NULL) {
		err_set(e, ERR_PARSE, "a byte 0 is not JSON");
		return NULL;
	}
	if (is_too_deep(text, len)) {
		err_set(e, ERR_PARSE, "nested deeper than %d levels",
		    JSONRPC_DEPTH);
		return NULL;
	}
	value = json_loadb(
	    text, len, flags | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (value == NULL)
		refuse_json(&why, e);
	return value;
}

json_t *
jsonrpc_parse(const char *text, size_t len, struct err *e)
{
	return parse(text, len, 0, e);
}

json_t *
jsonrpc_parse_answer(const char *text, size_t len, struct err *e)
{
	return parse(text, len, JSON_ALLOW_NUL, e);
}

static bool
is_id(const json_t *id)
{
	return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

static bool
is_params(const json_t *params)
{
	return params == NULL || json_is_object(params) ||
	    json_is_array(params);
}

static int
read_id(json_t *member, struct jsonrpc_call *call)
{
	call->id = json_object_get(member, "id");
	if (call->id == NULL || is_id(call->id))
		return 0;
	call->id = NULL;
	return err_set(
	    &call->err, ERR_INVALID, "id must be a string, a number or null");
}

static int
read_version(const json_t *member, struct jsonrpc_call *call)
{
	const char *version;

	version = json_string_value(json_object_get(member, "jsonrpc"));
	if (version != NULL && strcmp(version, "2.0") == 0)
		return 0;
	return err_set(&call->err, ERR_INVALID, "jsonrpc must be \"2.0\"");
}

static int
read_method(const json_t *member, struct jsonrpc_call *call)
{
	const json_t *method = json_object_get(member, "method");

	if (!json_is_string(method))
		return err_set(
		    &call->err, ERR_INVALID, "method must be a string");
	call->method = json_string_value(method);
	return 0;
}

static int
read_params(json_t *member, struct jsonrpc_call *call)
{
	call->params = json_object_get(member, "params");
	if (json_is_null(call->params))
		call->params = NULL; /* as Go's clients send it */
	if (is_params(call->params))
		return 0;
	call->params = NULL;
	return err_set(
	    &call->err, ERR_INVALID, "params must be an object or an array");
}

/* Not all of it: it is large. */
static void
call_init(struct jsonrpc_call *call)
{
	call->method = NULL;
	call->params = call->id = NULL;
	call->err.code = ERR_NONE;
	call->err.hint[0] = call->err.subject[0] = '\0';
	call->err.more = NULL;
}

void
jsonrpc_call_end(struct jsonrpc_call *call)
{
	json_decref(call->params);
	json_decref(call->id);
}

void
jsonrpc_read(json_t *member, struct jsonrpc_call *call)
{
	call_init(call);
	if (!json_is_object(member)) {
		err_set(&call->err, ERR_INVALID, "a request must be an object");
		return;
	}
	/* The id first: also what is refused echoes it. */
	if (read_id(member, call) == -1 || read_version(member, call) == -1 ||
	    read_method(member, call) == -1 || read_params(member, call) == -1)
		call->method = NULL;
	json_incref(call->id);
	json_incref(call->params);
}

/* ---- reading without the library ---- */

#define CALL_MAX 65536 /* in longer ones the rest is not felt */

bool
jsonrpc_read_plain(const char *text, size_t len, struct jsonrpc_plain *a)
{
	struct plain p = {text, text + len};

	return plain_word(&p, "{") && plain_word(&p, "\"jsonrpc\"") &&
	    plain_word(&p, ":") && plain_word(&p, "\"2.0\"") &&
	    plain_word(&p, ",") && plain_word(&p, "\"id\"") &&
	    plain_word(&p, ":") && plain_string(&p, &a->id, &a->id_len) &&
	    plain_word(&p, ",") && plain_word(&p, "\"result\"") &&
	    plain_word(&p, ":") &&
	    plain_string(&p, &a->result, &a->result_len) &&
	    plain_word(&p, "}") && plain_ends(&p);
}

static bool
plain_version(struct plain *p, struct jsonrpc_call *call)
{
	(void)call;
	return plain_word(p, "\"2.0\"");
}

static bool
plain_method(struct plain *p, struct jsonrpc_call *call)
{
	const char *name;
	size_t len;

	if (!plain_string(p, &name, &len) || len >= sizeof(call->name))
		return false;
	memcpy(call->name, name, len);
	call->name[len] = '\0';
	call->method = call->name;
	return true;
}

/* null, which a notification has not, is left to the library, too. */
static bool
plain_id(struct plain *p, struct jsonrpc_call *call)
{
	call->id = plain_value(p, 0);
	return json_is_string(call->id) || json_is_integer(call->id);
}

static bool
plain_params(struct plain *p, struct jsonrpc_call *call)
{
	call->params = plain_value(p, JSONRPC_DEPTH - 1);
	return call->params != NULL && is_params(call->params);
}

#define PART(name, read) \
	{ \
		name, sizeof(name) - 1, read \
	}

static const struct part {
	const char *name;
	size_t len;
	bool (*read)(struct plain *p, struct jsonrpc_call *call);
} parts[] = {
    PART("jsonrpc", plain_version),
    PART("method", plain_method),
    PART("params", plain_params),
    PART("id", plain_id),
};

#define NPARTS (sizeof(parts) / sizeof(parts[0]))

/* Its place in parts, or NPARTS. */
static size_t
plain_name(struct plain *p)
{
	const char *name;
	size_t i = 0, len;

	if (!plain_string(p, &name, &len) || !plain_word(p, ":"))
		return NPARTS;
	while (i < NPARTS &&
	    (parts[i].len != len || memcmp(parts[i].name, name, len) != 0))
		i++;
	return i;
}

static bool
plain_members(struct plain *p, struct jsonrpc_call *call)
{
	unsigned seen = 0;
	size_t i;

	do {
		i = plain_name(p);
		if (i == NPARTS || seen & 1U << i || !parts[i].read(p, call))
			return false;
		seen |= 1U << i;
	} while (plain_word(p, ","));
	return (seen & 3) == 3; /* its version and method */
}

bool
jsonrpc_read_call(const char *text, size_t len, struct jsonrpc_call *call)
{
	struct plain p = {text, text + len};

	call_init(call);
	if (len <= CALL_MAX && plain_word(&p, "{") && plain_members(&p, call) &&
	    plain_word(&p, "}") && plain_ends(&p))
		return true;
	jsonrpc_call_end(call);
	return false;
}

/* ---- writing trees ---- */

json_t *
jsonrpc_request(const char *method, json_t *stolen, long long id)
{
	json_t *r = json_object();

	json_object_set_new(r, "jsonrpc", json_string("2.0"));
	json_object_set_new(r, "method", json_string(method));
	if (stolen != NULL)
		json_object_set_new(r, "params", stolen);
	if (id >= 0)
		json_object_set_new(r, "id", json_integer(id));
	return r;
}

/* ---- writing text ---- */

void
sink_grow(struct sink *s, size_t len)
{
	size_t size = s->size > 0 ? s->size : 256;

	while (size - s->len < len)
		size *= 2;
	s->buf = xreallocarray(s->buf, size, 1);
	s->size = size;
}

void
sink_print(struct sink *s, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	sink_put(s, text, (size_t)len);
	free(text);
}

static bool
is_over(const struct sink *s)
{
	return s->limit > 0 && s->len > s->limit;
}

static int
put_dumped(const char *text, size_t len, void *arg)
{
	struct sink *s = arg;

	if (s->limit > 0 && s->len + len > s->limit)
		return -1;
	sink_put(s, text, len);
	return 0;
}

char *
jsonrpc_text(const json_t *value, size_t *len)
{
	struct sink s = {0};

	json_dump_callback(value, put_dumped, &s, DUMP_FLAGS);
	sink_put(&s, "\n", 2); /* and the NUL */
	*len = s.len - 1;
	return s.buf;
}

static const char *
escape_of(char c)
{
	switch (c) {
	case '"':
		return "\\\"";
	case '\\':
		return "\\\\";
	case '\n':
		return "\\n";
	case '\t':
		return "\\t";
	}
	return NULL;
}

/* ASCII and these; false when there is more in it. */
static bool
put_escaped(struct sink *s, const char *text, size_t len)
{
	const char *escape;
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = plain_length(text + i, len - i);
		sink_put(s, text + i, n);
		if (n)
			continue;
		if (!(escape = escape_of(text[i])))
			return false;
		sink_put(s, escape, 2);
		n = 1;
	}
	return true;
}

/* The same as a string; false, leaving the sink as it was, also when there is
 * no room. */
static bool
put_ascii(struct sink *s, const char *text, size_t len)
{
	size_t before = s->len, i;
	char *at;

	sink_room(s, len + 2);
	at = s->buf + s->len;
	*at++ = '"';
	for (i = 0; i < len && plain_chars[(unsigned char)text[i]]; i++)
		*at++ = text[i];
	s->len += i + 1;
	if (i == len || put_escaped(s, text + i, len - i)) {
		sink_literal(s, "\"");
		if (!is_over(s))
			return true;
	}
	s->len = before;
	return false;
}

void
sink_number(struct sink *s, long long n)
{
	char number[NUMBER_TEXT_SIZE];

	sink_put(s, number, number_text(n, number));
}

static int
put_object(struct sink *s, const json_t *object)
{
	const char *name;
	json_t *value;
	size_t n = 0;

	sink_literal(s, "{");
	json_object_foreach ((json_t *)object, name, value) {
		sink_put(s, ",", n++ > 0);
		if (sink_bytes(s, name, strlen(name)) == -1)
			return -1;
		sink_literal(s, ":");
		if (sink_value(s, value) == -1)
			return -1;
	}
	sink_literal(s, "}");
	return is_over(s) ? -1 : 0;
}

static int
put_array(struct sink *s, const json_t *array)
{
	json_t *value;
	size_t i;

	sink_literal(s, "[");
	json_array_foreach (array, i, value) {
		sink_put(s, ",", i > 0);
		if (sink_value(s, value) == -1)
			return -1;
	}
	sink_literal(s, "]");
	return is_over(s) ? -1 : 0;
}

int
sink_value(struct sink *s, const json_t *value)
{
	if (value == NULL || is_over(s))
		return -1;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return put_object(s, value);
	case JSON_ARRAY:
		return put_array(s, value);
	case JSON_INTEGER:
		sink_number(s, json_integer_value(value));
		return 0;
	case JSON_STRING:
		if (put_ascii(
			s, json_string_value(value), json_string_length(value)))
			return 0;
		break;
	default:
		break;
	}
	return json_dump_callback(value, put_dumped, s, DUMP_FLAGS);
}

int
sink_bytes(struct sink *s, const char *bytes, size_t len)
{
	json_t *text;
	int result;

	if (put_ascii(s, bytes, len))
		return 0;
	text = text_json(bytes, len);
	result = json_dump_callback(text, put_dumped, s, DUMP_FLAGS);
	json_decref(text);
	return result;
}

static int
sink_id(struct sink *s, const json_t *id)
{
	sink_literal(s, "{\"jsonrpc\":\"2.0\",\"id\":");
	if (id != NULL)
		return sink_value(s, id);
	sink_literal(s, "null");
	return 0;
}

int
sink_result(struct sink *s, const json_t *id,
    int (*write)(struct sink *s, void *arg), void *arg)
{
	size_t before = s->len;
	int failed;

	failed = sink_id(s, id);
	sink_literal(s, ",\"result\":");
	if (failed || write(s, arg) == -1 || is_over(s)) {
		s->len = before;
		return -1;
	}
	sink_literal(s, "}");
	return 0;
}

void
sink_error(struct sink *s, const json_t *id, const struct err *e)
{
	json_t *error = err_to_json(e);
	size_t limit = s->limit;

	/* No larger than the id that came, which a limit has let in. */
	s->limit = 0;
	sink_id(s, id);
	sink_literal(s, ",\"error\":");
	sink_value(s, error);
	sink_literal(s, "}");
	s->limit = limit;
	json_decref(error);
}

static void
sink_notice_head(struct sink *s, const char *method)
{
	sink_literal(s, "{\"jsonrpc\":\"2.0\",\"method\":\"");
	sink_put(s, method, strlen(method));
	sink_literal(s, "\",\"params\":");
}

void
sink_notice_text(
    struct sink *s, const char *method, const char *params, size_t len)
{
	sink_notice_head(s, method);
	sink_put(s, params, len);
	sink_literal(s, "}");
}

int
sink_notice(struct sink *s, const char *method, const json_t *params)
{
	size_t before = s->len;

	sink_notice_head(s, method);
	if (sink_value(s, params) == -1) {
		s->len = before;
		return -1;
	}
	sink_literal(s, "}");
	return 0;
}
