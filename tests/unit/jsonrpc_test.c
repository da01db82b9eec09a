/* Envelopes; what texts get as answers is in rpc_test. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jsonrpc.h"
#include "mem.h"
#include "type.h"

static void
check_text(json_t *stolen, const char *want)
{
	size_t len;
	char *text = jsonrpc_text(stolen, &len);

	check_int((long long)len, (long long)strlen(text));
	check_str(text, want);
	free(text);
	json_decref(stolen);
}

void
test_requests_are_written(void)
{
	check_text(jsonrpc_request("ping", NULL, 1),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n");
	check_text(jsonrpc_request("ping", json_pack("[i]", 1), -1),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":[1]}\n");
}

static int
write_json(struct sink *s, void *value)
{
	return sink_value(s, value);
}

static char *
taken(struct sink *s)
{
	static char buf[4096];

	check(s->len < sizeof(buf));
	memcpy(buf, s->buf, s->len);
	buf[s->len] = '\0';
	s->len = 0;
	return buf;
}

/* Exactly these three members. */
static void
check_answer(const char *text, json_t *id, const char *name, json_t *value)
{
	json_t *got = json_loads(text, 0, NULL);

	check(got != NULL);
	check_int((long long)json_object_size(got), 3);
	check_str(json_string_value(json_object_get(got, "jsonrpc")), "2.0");
	check(json_equal(json_object_get(got, "id"), id ? id : json_null()));
	check(json_equal(json_object_get(got, name), value));
	json_decref(got);
}

void
test_answers_are_json_whatever_the_id(void)
{
	json_t *ids[] = {json_integer(1), json_real(1.5), json_string("\"\n"),
	    json_null(), json_integer(INT64_MIN), NULL};
	json_t *result = json_pack("{s:[ifsbn]}", "a", 1, 2.5, "\xc3\xa9", 1);
	struct err e = {0};
	struct sink s = {0};
	json_t *error;
	size_t i;

	err_set(&e, ERR_REDIS, "gone \"away\"");
	err_hint(&e, "wait");
	error = err_to_json(&e);
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		check_int(sink_result(&s, ids[i], write_json, result), 0);
		check_answer(taken(&s), ids[i], "result", result);
		sink_error(&s, ids[i], &e);
		check_answer(taken(&s), ids[i], "error", error);
		json_decref(ids[i]);
	}
	json_decref(error);
	json_decref(result);
	free(s.buf);
}

void
test_a_sink_refuses_what_passes_its_limit(void)
{
	json_t *id = json_integer(1), *result = json_string("0123456789");
	struct sink s = {.limit = 60};

	check_int(sink_result(&s, id, write_json, result), 0);
	check_str(taken(&s),
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0123456789\"}");
	s.limit = 40;
	sink_put(&s, "before", 6);
	check_int(sink_result(&s, id, write_json, result), -1);
	check_str(taken(&s), "before");
	json_decref(id);
	json_decref(result);
	free(s.buf);
}

void
test_notices_have_no_id(void)
{
	json_t *params = json_pack("{ss}", "text", "hi");
	struct sink s = {0};

	check_int(sink_notice(&s, "log", params), 0);
	check_str(taken(&s),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"log\","
	    "\"params\":{\"text\":\"hi\"}}");
	json_decref(params);
	free(s.buf);
}

void
test_parse_errors_say_where(void)
{
	struct err e = {0};

	check(jsonrpc_parse("{\"a\":1,}", 8, &e) == NULL);
	check_int(e.code, ERR_PARSE);
	check_has(e.text, "not JSON");
	err_clear(&e);
	check(jsonrpc_parse("[\0]", 3, &e) == NULL);
	check_has(e.text, "byte 0");
	err_clear(&e);
	check(jsonrpc_parse("[\"\\u0000\"]", 10, &e) == NULL);
	check_has(e.text, "\\u0000 in a string is not accepted");
}

void
test_params_null_is_absent(void)
{
	json_t *member = json_pack("{sssssnsi}", "jsonrpc", "2.0", "method",
	    "ping", "params", "id", 1);
	struct jsonrpc_call call;

	jsonrpc_read(member, &call);
	check(!err_is_set(&call.err));
	check(call.params == NULL);
	check_str(call.method, "ping");
	check_int(json_integer_value(call.id), 1);
	jsonrpc_call_end(&call);
	json_decref(member);
}

void
test_an_absent_id_is_not_a_null_one(void)
{
	json_t *member =
	    json_pack("{ssss}", "jsonrpc", "2.0", "method", "ping");
	struct jsonrpc_call call;

	jsonrpc_read(member, &call);
	check(call.id == NULL);
	json_object_set_new(member, "id", json_null());
	jsonrpc_read(member, &call);
	check(json_is_null(call.id));
	jsonrpc_call_end(&call);
	json_decref(member);
}

/* ---- by hand, as jansson would have it ---- */

/* Every byte, and some of them behind others. */
static size_t
odd_bytes(int i, char buf[8])
{
	memcpy(buf, "ab\xc3\xa4\xe2", 5);
	buf[i % 5] = (char)(i / 5);
	return 5;
}

void
test_bytes_become_the_string_that_the_library_makes(void)
{
	struct sink s = {0};
	json_t *want;
	char buf[8], *text;
	size_t len;
	int i;

	for (i = 0; i < 5 * 256; i++) {
		len = odd_bytes(i, buf);
		sink_bytes(&s, buf, len);
		sink_put(&s, "\n", 1);
		want = text_json(buf, len);
		text = jsonrpc_text(want, &len);
		check_str(taken(&s), text);
		free(text);
		json_decref(want);
	}
	free(s.buf);
}

void
test_a_string_is_bounded_by_the_limit_and_leaves_nothing(void)
{
	struct sink s = {.limit = 10};
	json_t *fits = json_string("\"234\"6"), *not = json_string("\"234\"67");

	check_int(sink_value(&s, fits), 0);
	check_str(taken(&s), "\"\\\"234\\\"6\"");
	check_int(sink_value(&s, not ), -1);
	json_decref(fits);
	json_decref(not );
	free(s.buf);
}

void
test_values_are_written_as_the_library_writes_them(void)
{
	static const char *const all[] = {"{}", "[]", "[[],{}]",
	    "{\"a long name\":1}",
	    "{\"a\":[1,-2,true,false,null,1.5],\"\\u00e4\":{\"\\n\":\"\\u0001\"}}"};
	struct sink s = {0};
	json_t *value;
	char *want;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
		value = json_loads(all[i], 0, NULL);
		want = json_dumps(value, JSON_COMPACT);
		check_int(sink_value(&s, value), 0);
		check_str(taken(&s), want);
		for (s.limit = strlen(want) - 1; s.limit > 0; s.limit--) {
			check_int(sink_value(&s, value), -1);
			s.len = 0;
		}
		free(want);
		json_decref(value);
	}
	check_int(sink_value(&s, NULL), -1);
	free(s.buf);
}

static bool
is_plain(const char *text, const char *id, const char *result)
{
	struct jsonrpc_plain a;

	return jsonrpc_read_plain(text, strlen(text), &a) &&
	    a.id_len == strlen(id) && memcmp(a.id, id, a.id_len) == 0 &&
	    a.result_len == strlen(result) &&
	    memcmp(a.result, result, a.result_len) == 0;
}

void
test_plain_answers_are_read_without_a_tree(void)
{
	check(is_plain(
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"\"}", "a", ""));
	check(is_plain(
	    " { \"jsonrpc\": \"2.0\", \"id\": \"a#2\", \"result\" : \"x y\" }",
	    "a#2", "x y"));
}

void
test_what_is_not_plain_is_left_to_the_library(void)
{
	static const char *const others[] = {
	    "",
	    "{",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"b",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"b\"",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"b\"}}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"b\\n\"}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"\xc3\xa4\"}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"\t\"}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":1}",
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"b\"}",
	    "{\"jsonrpc\":\"1.0\",\"id\":\"a\",\"result\":\"b\"}",
	    "{\"id\":\"a\",\"jsonrpc\":\"2.0\",\"result\":\"b\"}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":\"b\",\"id\":\"c\"}",
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":\"b\"}",
	};
	struct jsonrpc_plain a;
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(*others); i++)
		check(!jsonrpc_read_plain(others[i], strlen(others[i]), &a));
}

/* What a reader makes of a text, as text. */
static const char *
described(struct jsonrpc_call *call)
{
	json_t *all = json_pack("{s:s?, s:O?, s:O?}", "method", call->method,
	    "params", call->params, "id", call->id);
	static char buf[256];
	size_t len;
	char *text;

	text = jsonrpc_text(all, &len);
	check(len < sizeof(buf));
	memcpy(buf, text, len + 1);
	free(text);
	json_decref(all);
	jsonrpc_call_end(call);
	return buf;
}

void
test_frequent_requests_are_read_as_the_library_reads_them(void)
{
	static const char *const all[] = {
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":0}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":-0}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":-12}",
	    "{\"id\":999999999999999999,\"method\":\"a.b\",\"jsonrpc\":\"2.0\"}",
	    " {\t\"jsonrpc\" :\r\n\"2.0\" , \"id\": \"x~ \",\"method\":\"\"} \n",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[1],\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":\"\\n\"}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{ }}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[ ]}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"a\":\"]}\\\"x\", \"\":[{},[ [ ]],true, false ,null,7]}}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[\"\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\na\\nb\"]}",
	};
	struct jsonrpc_call call;
	char want[256];
	json_t *root;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
		root = json_loads(all[i], 0, NULL);
		check(root != NULL);
		jsonrpc_read(root, &call);
		strcpy(want, described(&call));
		if (!jsonrpc_read_call(all[i], strlen(all[i]), &call))
			check_fail(__FILE__, __LINE__, "%s", all[i]);
		check_str(described(&call), want);
		json_decref(root);
	}
}

/* Of a request that could be read so, each is another spelling, or none. */
void
test_other_requests_are_left_to_the_library(void)
{
#define REQUEST(more) "{\"jsonrpc\":\"2.0\",\"method\":\"m\"" more
	static const char *const all[] = {
	    "",
	    "1",
	    "[" REQUEST("}]"),
	    REQUEST(""),
	    REQUEST(",}"),
	    REQUEST("}}"),
	    REQUEST(",\"id\":1,\"id\":1}"),
	    REQUEST(",\"method\":\"m\"}"),
	    REQUEST(",\"more\":1}"),
	    REQUEST(",\"id\":01}"),
	    REQUEST(",\"id\":1.5}"),
	    REQUEST(",\"id\":1e5}"),
	    REQUEST(",\"id\":-}"),
	    REQUEST(",\"id\":-01}"),
	    REQUEST(",\"id\":--1}"),
	    REQUEST(",\"id\":"),
	    REQUEST(",\"id\":-"),
	    REQUEST(",\"id\":1000000000000000000}"),
	    REQUEST(",\"id\":null}"),
	    REQUEST(",\"id\":}"),
	    REQUEST(",\"id\":true}"),
	    REQUEST(",\"id\":[]}"),
	    REQUEST(",\"id\":\"\\u0041\"}"),
	    REQUEST(",\"id\":\"\\x\"}"),
	    REQUEST(",\"id\":\"\\"),
	    REQUEST(",\"id\":\"\xc3\xa4\"}"),
	    REQUEST(",\"id\":\"\x7f\"}"),
	    REQUEST(",\"id\":\""),
	    REQUEST(",\"params\":1}"),
	    REQUEST(",\"params\":null}"),
	    REQUEST(",\"params\":[1,]}"),
	    REQUEST(",\"params\":[,]}"),
	    REQUEST(",\"params\":[1 2]}"),
	    REQUEST(",\"params\":[tru]}"),
	    REQUEST(",\"params\":[truer]}"),
	    REQUEST(",\"params\":{\"a\"}}"),
	    REQUEST(",\"params\":{a:1}}"),
	    REQUEST(",\"params\":{\"a\":1,}}"),
	    REQUEST(",\"params\":[\"\n\"]}"),
	    REQUEST(",\"params\":[1}}"),
	    REQUEST(",\"params\":[\"a}"),
	    REQUEST(",\"params\":[\"a\\"),
	    REQUEST(",\"params\":{\"a\":1,\"a\":2}}"),
	    REQUEST(",\"params\":[\"\\u0000\"]}"),
	    REQUEST(",\"params\":[\"\xff\"]}"),
	    "{\"jsonrpc\":\"2.0\",\"id\":1}",
	    "{\"jsonrpc\":\"2.1\",\"method\":\"m\"}",
	    "{\"method\":\"m\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"method\":\"\\u006d\"}",
	};
#undef REQUEST
	struct jsonrpc_call call;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++)
		check(!jsonrpc_read_call(all[i], strlen(all[i]), &call));
}

/* A request with params of so many levels; "inner" is in the last of them. */
static size_t
write_deep(char *buf, size_t depth, const char *inner, size_t len)
{
	char *at =
	    stpcpy(buf, "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":");

	memset(at, '[', depth);
	memcpy(at + depth, inner, len);
	at += depth + len;
	memset(at, ']', depth);
	at[depth] = '}';
	return (size_t)(at + depth + 1 - buf);
}

void
test_the_shorter_way_has_the_limits_of_the_other(void)
{
	struct jsonrpc_call call;
	char buf[256];
	size_t len;

	len = write_deep(buf, JSONRPC_DEPTH - 1, "1", 1);
	check(jsonrpc_read_call(buf, len, &call));
	jsonrpc_call_end(&call);
	len = write_deep(buf, JSONRPC_DEPTH, "1", 1);
	check(!jsonrpc_read_call(buf, len, &call));
	len = write_deep(buf, 1, "1\0", 2);
	check(!jsonrpc_read_call(buf, len, &call));
	len = (size_t)snprintf(buf, sizeof(buf),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"%0*d\"}", 64, 0);
	check(!jsonrpc_read_call(buf, len, &call));
}
