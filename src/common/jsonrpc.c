/* JSON-RPC 2.0 envelopes, read and written. */
#include "jsonrpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
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

static json_t *
load(const char *text, size_t len, size_t flags, json_error_t *why)
{
	return json_loadb(
	    text, len, flags | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, why);
}

static json_t *
parse(const char *text, size_t len, size_t flags, struct err *e)
{
	json_error_t why;
	json_t *value;

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
	value = load(text, len, flags, &why);
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

/* ---- reading without a tree ---- */

#define CALL_MAX 65536 /* in longer ones the rest is not felt */

/* What stands in a JSON string as it is, of ASCII. */
static const bool is_plain[256] = {
    [' '] = true,
    ['!'] = true,
    ['#' ... '['] = true,
    [']' ... '~'] = true,
};

/* So many bytes at its beginning are plain. */
static inline size_t
plain_length(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && is_plain[(unsigned char)text[i]])
		i++;
	return i;
}

static void
step_blanks(const char **at, const char *end)
{
	while (*at < end &&
	    (**at == ' ' || **at == '\t' || **at == '\r' || **at == '\n'))
		++*at;
}

/* Steps over a word and the blanks in front of it. */
static inline bool
step(const char **at, const char *end, const char *word)
{
	size_t len = strlen(word);

	step_blanks(at, end);
	if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool
step_string(const char **at, const char *end, const char **text, size_t *len)
{
	if (!step(at, end, "\""))
		return false;
	*text = *at;
	*len = plain_length(*at, (size_t)(end - *at));
	*at += *len;
	return *at < end && *(*at)++ == '"';
}

bool
jsonrpc_read_plain(const char *text, size_t len, struct jsonrpc_plain *a)
{
	const char *at = text, *end = text + len;

	return step(&at, end, "{") && step(&at, end, "\"jsonrpc\"") &&
	    step(&at, end, ":") && step(&at, end, "\"2.0\"") &&
	    step(&at, end, ",") && step(&at, end, "\"id\"") &&
	    step(&at, end, ":") && step_string(&at, end, &a->id, &a->id_len) &&
	    step(&at, end, ",") && step(&at, end, "\"result\"") &&
	    step(&at, end, ":") &&
	    step_string(&at, end, &a->result, &a->result_len) &&
	    step(&at, end, "}") && at == end;
}

static bool
step_version(const char **at, const char *end, struct jsonrpc_call *call)
{
	(void)call;
	return step(at, end, "\"2.0\"");
}

static bool
step_method(const char **at, const char *end, struct jsonrpc_call *call)
{
	const char *name;
	size_t len;

	if (!step_string(at, end, &name, &len) || len >= sizeof(call->name))
		return false;
	memcpy(call->name, name, len);
	call->name[len] = '\0';
	call->method = call->name;
	return true;
}

/* A whole number of few digits; what may follow is looked at by others. */
static json_t *
step_number(const char **at, const char *end)
{
	const char *begin = *at;
	json_int_t n = 0;

	while (*at < end && **at >= '0' && **at <= '9' && *at - begin < 18)
		n = 10 * n + (*(*at)++ - '0');
	if (*at == begin || (*begin == '0' && *at - begin > 1))
		return NULL;
	return json_integer(n);
}

static bool
step_id(const char **at, const char *end, struct jsonrpc_call *call)
{
	const char *text;
	size_t len;

	if (step_string(at, end, &text, &len))
		call->id = json_stringn_nocheck(text, len);
	else
		call->id = step_number(at, end);
	return call->id != NULL;
}

/* Behind the object or array that begins there; NULL: it has no end, or is too
 * deep within a request. */
static const char *
value_end(const char *text, size_t len)
{
	size_t i = 0, depth = 0;

	while (i < len) {
		switch (text[i++]) {
		case '"':
			i = string_end(text, i, len);
			break;
		case '[':
		case '{':
			if (++depth == JSONRPC_DEPTH)
				return NULL;
			break;
		case ']':
		case '}':
			if (--depth == 0)
				return text + i;
			break;
		}
	}
	return NULL;
}

static bool
step_params(const char **at, const char *end, struct jsonrpc_call *call)
{
	const char *begin = *at;
	size_t len;

	if (begin == end || (*begin != '{' && *begin != '['))
		return false;
	*at = value_end(begin, (size_t)(end - begin));
	if (*at == NULL)
		return false;
	len = (size_t)(*at - begin);
	if (len == 2)
		return true; /* none */
	if (memchr(begin, '\0', len) != NULL)
		return false;
	call->params = load(begin, len, 0, NULL);
	return call->params != NULL;
}

#define PART(name, step) \
	{ \
		name, sizeof(name) - 1, step \
	}

static const struct part {
	const char *name;
	size_t len;
	bool (*step)(const char **at, const char *end, struct jsonrpc_call *);
} parts[] = {
    PART("jsonrpc", step_version),
    PART("method", step_method),
    PART("params", step_params),
    PART("id", step_id),
};

#define NPARTS (sizeof(parts) / sizeof(parts[0]))

/* Its place in parts, or NPARTS. */
static size_t
step_name(const char **at, const char *end)
{
	const char *name;
	size_t i = 0, len;

	if (!step_string(at, end, &name, &len) || !step(at, end, ":"))
		return NPARTS;
	step_blanks(at, end);
	while (i < NPARTS &&
	    (parts[i].len != len || memcmp(parts[i].name, name, len) != 0))
		i++;
	return i;
}

static bool
step_members(const char **at, const char *end, struct jsonrpc_call *call)
{
	unsigned seen = 0;
	size_t i;

	do {
		i = step_name(at, end);
		if (i == NPARTS || seen & 1U << i ||
		    !parts[i].step(at, end, call))
			return false;
		seen |= 1U << i;
	} while (step(at, end, ","));
	return (seen & 3) == 3; /* its version and method */
}

bool
jsonrpc_read_call(const char *text, size_t len, struct jsonrpc_call *call)
{
	const char *at = text, *end = text + len;

	call_init(call);
	if (len <= CALL_MAX && step(&at, end, "{") &&
	    step_members(&at, end, call) && step(&at, end, "}")) {
		step_blanks(&at, end);
		if (at == end)
			return true;
	}
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
	size_t before = s->len;
	bool done = true;

	sink_literal(s, "\"");
	if (plain_length(text, len) == len)
		sink_put(s, text, len);
	else
		done = put_escaped(s, text, len);
	sink_literal(s, "\"");
	if (done && !is_over(s))
		return true;
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
