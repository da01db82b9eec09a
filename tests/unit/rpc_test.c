/* Calls: what a text gets for an answer, whoever asks and however late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "counters.h"
#include "fake/handlers.h"
#include "mem.h"
#include "rpc.h"

/* A door that keeps what it was given. */
struct listener {
	struct daemon_conf conf;
	struct services services;
	struct peer peer;
	struct rpc_door door;
	size_t nanswers;
	char *answer; /* the last; NULL: none was due */
	size_t nnotices;
	bool deaf; /* too far behind for notifications */
};

static void
on_answer(void *arg, char *text, size_t len)
{
	struct listener *l = arg;

	if (text != NULL)
		check(text[len - 1] == '\n');
	free(l->answer);
	l->answer = text ? xstrndup(text, len - 1) : NULL;
	free(text);
	l->nanswers++;
}

static bool
on_notice(void *arg, char *text, size_t len, size_t most)
{
	struct listener *l = arg;

	(void)len;
	(void)most;
	free(text);
	l->nnotices += !l->deaf;
	return !l->deaf;
}

static void
listener_init(struct listener *l, enum scope scope)
{
	memset(l, 0, sizeof(*l));
	fake_services(&l->services, &l->conf);
	l->peer.scope = scope;
	l->peer.known = scope != SCOPE_NONE;
	strcpy(l->peer.text, "test");
	l->door.peer = &l->peer;
	l->door.services = &l->services;
	l->door.answer = on_answer;
	l->door.notify = on_notice;
	l->door.arg = l;
}

static void
listener_clear(struct listener *l)
{
	rpc_door_close(&l->door);
	settings_clear(daemon_settings, &l->conf);
	free(l->answer);
}

static void
say(struct listener *l, const char *text)
{
	/* Exactly its bytes, so that sanitizers see one too many. */
	size_t len = strlen(text);
	char *copy = xmalloc(len);

	memcpy(copy, text, len);
	rpc_take(&l->door, copy, len);
	free(copy);
}

/* {"id":1,"error":{"code":-32601,...}} as "1 -32601", a result as
 * "1 RESULT", a batch as these joined by "; ". */
static void
put_short(char *buf, size_t size, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const json_t *what = error ? json_object_get(error, "code")
				   : json_object_get(answer, "result");
	char *id = json_dumps(json_object_get(answer, "id"), JSON_ENCODE_ANY);
	char *rest = json_dumps(what, JSON_ENCODE_ANY | JSON_COMPACT);

	check_str(json_string_value(json_object_get(answer, "jsonrpc")), "2.0");
	check_int((long long)json_object_size(answer), 3);
	if (error)
		check(json_is_string(json_object_get(error, "message")));
	if (*buf)
		strlcat(buf, "; ", size);
	strlcat(buf, id, size);
	strlcat(buf, " ", size);
	strlcat(buf, rest, size);
	free(id);
	free(rest);
}

static const char *
short_answer(const struct listener *l)
{
	static char buf[4096];
	json_t *answer, *member;
	size_t i;

	*buf = '\0';
	if (l->answer == NULL)
		return "";
	answer = json_loads(l->answer, 0, NULL);
	check(answer != NULL);
	if (json_is_array(answer)) {
		strlcat(buf, "[", sizeof(buf));
		json_array_foreach (answer, i, member) {
			char one[2048] = "";

			put_short(one, sizeof(one), member);
			strlcat(buf, i ? "; " : "", sizeof(buf));
			strlcat(buf, one, sizeof(buf));
		}
		strlcat(buf, "]", sizeof(buf));
	} else {
		put_short(buf, sizeof(buf), answer);
	}
	json_decref(answer);
	return buf;
}

#define PING(id) "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":" id "}"
#define CALL(method, params) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params \
	",\"id\":1}"

static const struct {
	const char *text, *answer;
} corners[] = {
    /* Well-formed. */
    {PING("1"), "1 \"pong\""},
    {PING("\"a\""), "\"a\" \"pong\""},
    {PING("\"\""), "\"\" \"pong\""},
    {PING("null"), "null \"pong\""},
    {PING("0"), "0 \"pong\""},
    {PING("-1"), "-1 \"pong\""},
    {PING("9223372036854775807"), "9223372036854775807 \"pong\""},
    {PING("-9223372036854775808"), "-9223372036854775808 \"pong\""},
    {PING("1.5"), "1.5 \"pong\""},
    {PING("\"\\u00e9\\n\""), "\"é\\n\" \"pong\""},
    {"  " PING("1") "  ", "1 \"pong\""},
    {"{\"id\":1,\"method\":\"ping\",\"jsonrpc\":\"2.0\"}", "1 \"pong\""},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,\"x\":2}",
	"1 \"pong\""},
    {CALL("ping", "null"), "1 \"pong\""},
    {CALL("ping", "{}"), "1 \"pong\""},
    {CALL("ping", "[]"), "1 \"pong\""},
    {CALL("list_runners", "{}"), "1 [\"a\",\"b\"]"},
    /* Ids that are none. */
    {PING("true"), "null -32600"},
    {PING("[1]"), "null -32600"},
    {PING("{}"), "null -32600"},
    {PING("9223372036854775808"), "null -32700"},
    {PING("1e999"), "null -32700"},
    /* No requests. */
    {"1", "null -32600"},
    {"\"ping\"", "null -32600"},
    {"null", "null -32600"},
    {"true", "null -32600"},
    {"-0.5", "null -32600"},
    {"{}", "null -32600"},
    {"{\"jsonrpc\":\"2.0\"}", "null -32600"},
    {"{\"jsonrpc\":\"2.0\",\"id\":7}", "7 -32600"},
    {"{\"jsonrpc\":\"1.0\",\"method\":\"ping\",\"id\":7}", "7 -32600"},
    {"{\"jsonrpc\":2.0,\"method\":\"ping\",\"id\":7}", "7 -32600"},
    {"{\"method\":\"ping\",\"id\":7}", "7 -32600"},
    {"{\"jsonrpc\":\"2.0\",\"method\":1,\"params\":\"bar\"}", "null -32600"},
    {"{\"jsonrpc\":\"2.0\",\"method\":null,\"id\":\"x\"}", "\"x\" -32600"},
    {CALL("ping", "1"), "1 -32600"},
    {CALL("ping", "\"x\""), "1 -32600"},
    {CALL("ping", "false"), "1 -32600"},
    {"{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":1}", "3 -32600"},
    /* Not JSON. */
    {"", "null -32700"},
    {" ", "null -32700"},
    {"{", "null -32700"},
    {"[", "null -32700"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"foobar, \"params\":\"bar\",\"baz]",
	"null -32700"},
    {"[{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"id\":1},{\"jsonrpc\"",
	"null -32700"},
    {PING("1") "x", "null -32700"},
    {PING("1") PING("2"), "null -32700"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,\"id\":2}",
	"null -32700"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,}", "null -32700"},
    {"{'jsonrpc':'2.0'}", "null -32700"},
    {"NaN", "null -32700"},
    {"GET / HTTP/1.1", "null -32700"},
    {"\xef\xbb\xbf" PING("1"), "null -32700"},
    {PING("\"\xff\""), "null -32700"},
    {PING("\"\xc0\x80\""), "null -32700"},
    {PING("\"\xed\xa0\x80\""), "null -32700"},
    {PING("\"\\ud800\""), "null -32700"},
    {PING("\"\\u0000\""), "null -32700"},
    {PING("\"\n\""), "null -32700"},
    /* Methods. */
    {CALL("pin", "{}"), "1 -32601"},
    {CALL("", "{}"), "1 -32601"},
    {CALL("rpc.nothing", "{}"), "1 -32601"},
    {CALL("PING", "{}"), "1 -32601"},
    {CALL("__class__.__init__", "{}"), "1 -32601"},
    /* Parameters. */
    {CALL("ping", "{\"x\":1}"), "1 -32602"},
    {CALL("ping", "[1]"), "1 -32602"},
    {CALL("get_runner_status", "{}"), "1 -32602"},
    {CALL("get_runner_status", "[]"), "1 -32602"},
    {CALL("get_runner_status", "{\"name\":null}"), "1 -32602"},
    {CALL("get_runner_status", "{\"name\":1}"), "1 -32602"},
    {CALL("get_runner_status", "{\"name\":\"a/b\"}"), "1 -32602"},
    {CALL("get_runner_status", "{\"name\":\"a b\"}"), "1 -32602"},
    {CALL("get_runner_status", "{\"nam\":\"a\"}"), "1 -32602"},
    {CALL("get_runner_status", "{\"name\":\"a\"}"), "1 {\"name\":\"a\"}"},
    {CALL("get_runner_status", "[\"a\"]"), "1 {\"name\":\"a\"}"},
    {CALL("get_runner_status", "[\"a\",1]"), "1 -32602"},
    {CALL("stop_runner", "[\"a\",null,\"1m\"]"),
	"1 {\"name\":\"a\",\"wait\":true,\"timeout\":60.0,\"drain\":true}"},
    {CALL("job.status", "{\"id\":\"x\"}"), "1 -32020"},
    {CALL("job.get", "{\"id\":\"x\"}"), "1 -32603"},
    /* Notifications. */
    {"{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}", ""},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"pin\"}", ""},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":[1]}", ""},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"job.status\",\"params\":[\"x\"]}", ""},
    /* Batches. */
    {"[]", "null -32600"},
    {"[1]", "[null -32600]"},
    {"[1,2,3]", "[null -32600; null -32600; null -32600]"},
    {"[[]]", "[null -32600]"},
    {"[" PING("1") "," PING("2") "]", "[1 \"pong\"; 2 \"pong\"]"},
    {"[" PING("1") ",{}," CALL("pin", "[]") "]",
	"[1 \"pong\"; null -32600; 1 -32601]"},
    {"[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}]", ""},
    {"[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}," PING("2") "]",
	"[2 \"pong\"]"},
};

void
test_every_corner_of_json_rpc_gets_its_answer(void)
{
	struct listener l;
	size_t i;

	listener_init(&l, SCOPE_ADMIN);
	for (i = 0; i < sizeof(corners) / sizeof(corners[0]); i++) {
		printf("%s\n", corners[i].text);
		say(&l, corners[i].text);
		check_int((long long)l.nanswers, (long long)i + 1);
		check_str(short_answer(&l), corners[i].answer);
	}
	listener_clear(&l);
}

void
test_a_byte_0_is_a_parse_error_anywhere(void)
{
	static const char text[] = PING("1");
	struct listener l;
	char copy[sizeof(text)];
	size_t i;

	listener_init(&l, SCOPE_ADMIN);
	rpc_take(&l.door, text, sizeof(text)); /* with its final NUL */
	check_str(short_answer(&l), "null -32700");
	rpc_take(&l.door, "1\0", 2);
	check_str(short_answer(&l), "null -32700");
	for (i = 0; i < sizeof(text) - 1; i++) {
		memcpy(copy, text, sizeof(text));
		copy[i] = '\0';
		rpc_take(&l.door, copy, sizeof(text) - 1);
		check_str(short_answer(&l), "null -32700");
	}
	listener_clear(&l);
}

static char *
nested(size_t depth)
{
	char *text = xmalloc(2 * depth + 100), *end;

	end = text +
	    sprintf(text,
		"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,\"x\":");
	memset(end, '[', depth);
	memset(end + depth, ']', depth);
	strcpy(end + 2 * depth, "}");
	return text;
}

void
test_nesting_has_a_limit_of_64(void)
{
	struct listener l;
	char *text;

	listener_init(&l, SCOPE_ADMIN);
	text = nested(63);
	say(&l, text);
	check_str(short_answer(&l), "1 \"pong\"");
	free(text);
	text = nested(64);
	say(&l, text);
	check_str(short_answer(&l), "null -32700");
	free(text);
	text = nested(100000);
	say(&l, text);
	check_str(short_answer(&l), "null -32700");
	memset(text, '[', 100000);
	say(&l, text);
	check_str(short_answer(&l), "null -32700");
	free(text);
	listener_clear(&l);
}

void
test_brackets_within_strings_are_no_nesting(void)
{
	struct listener l;
	char text[400] = "", many[101];

	listener_init(&l, SCOPE_ADMIN);
	memset(many, '[', 100);
	many[100] = '\0';
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":\"\\\"%s\"}",
	    many);
	say(&l, text);
	check_has(l.answer, "pong");
	listener_clear(&l);
}

void
test_scopes_are_checked_before_anything_is_done(void)
{
	struct listener l;

	listener_init(&l, SCOPE_NONE);
	say(&l, PING("1"));
	check_str(short_answer(&l), "1 \"pong\"");
	say(&l, CALL("list_runners", "[]"));
	check_str(short_answer(&l), "1 -32001");
	check_int(l.door.refused, ERR_UNAUTHORIZED);
	l.peer.scope = SCOPE_OBSERVE;
	say(&l, CALL("list_runners", "[]"));
	check_str(short_answer(&l), "1 [\"a\",\"b\"]");
	check_int(l.door.refused, ERR_NONE);
	say(&l, CALL("stop_runner", "{\"nonsense\":1}"));
	check_str(short_answer(&l), "1 -32002");
	check_has(l.answer, "admin");
	l.peer.scope = SCOPE_USER;
	say(&l, CALL("shutdown", "[]"));
	check_str(short_answer(&l), "1 -32002");
	check_int((long long)fake_calls, 2);
	listener_clear(&l);
}

void
test_a_typo_gets_the_nearest_name(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	say(&l, CALL("list_runer", "[]"));
	check_has(l.answer, "did you mean 'list_runners'?");
	say(&l, CALL("get_runner_status", "{\"nmae\":\"x\"}"));
	check_has(l.answer, "did you mean 'name'?");
	listener_clear(&l);
}

void
test_later_answers_keep_their_ids(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	say(&l,
	    "{\"jsonrpc\":\"2.0\",\"method\":\"job.wait\","
	    "\"params\":[\"a\"],\"id\":\"one\"}");
	say(&l, CALL("job.wait", "[\"b\"]"));
	say(&l, PING("3"));
	check_int((long long)l.nanswers, 1);
	check_int((long long)l.door.ntexts, 2);
	fake_later_reply(1, "B");
	check_str(short_answer(&l), "1 \"B\"");
	fake_later_reply(0, "A");
	check_str(short_answer(&l), "\"one\" \"A\"");
	check_int((long long)l.nanswers, 3);
	check_int((long long)l.door.ntexts, 0);
	check_int((long long)l.door.open_bytes, 0);
	listener_clear(&l);
}

void
test_a_batch_is_answered_whole_and_in_order(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	say(&l,
	    "[" CALL("job.wait", "[\"a\"]") "," PING(
		"2") ","
		     "{\"jsonrpc\":\"2.0\",\"method\":\"job.wait\","
		     "\"params\":[\"n\"]}," CALL("job.result", "[\"b\"]") "]");
	check_int((long long)l.nanswers, 0);
	check_int((long long)fake_kept(), 3);
	fake_later_reply(2, "B");
	fake_later_reply(0, "A");
	check_int((long long)l.nanswers, 0);
	fake_later_reply(0, "a notification's");
	check_int((long long)l.nanswers, 1);
	check_str(short_answer(&l), "[1 \"A\"; 2 \"pong\"; 1 \"B\"]");
	listener_clear(&l);
}

void
test_who_leaves_is_forgotten_and_handlers_are_told(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	say(&l, CALL("job.wait", "[\"a\"]"));
	say(&l,
	    "[" CALL("job.result", "[\"b\"]") "," CALL(
		"job.wait", "[\"c\"]") "," PING("1") "]");
	rpc_door_close(&l.door);
	check_int((long long)fake_gone, 1);
	check_int((long long)fake_kept(), 2);
	memset(&l.peer, 0x5a, sizeof(l.peer)); /* not looked at again */
	fake_later_reply(0, "to nobody");
	fake_later_reply(0, "to nobody");
	check_int((long long)l.nanswers, 0);
	listener_clear(&l);
}

void
test_a_batch_has_a_limit(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	l.conf.max_batch = 2;
	say(&l, "[" PING("1") "," PING("2") "]");
	check_str(short_answer(&l), "[1 \"pong\"; 2 \"pong\"]");
	say(&l, "[" PING("1") "," PING("2") "," PING("3") "]");
	check_str(short_answer(&l), "null -32041");
	check_int((long long)fake_calls, 2);
	listener_clear(&l);
}

void
test_an_answer_longer_than_max_output_is_refused(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	l.conf.max_output = 100000;
	say(&l, CALL("get_runner_logs", "[\"a\",90]"));
	check_has(l.answer, "\"result\"");
	say(&l, CALL("get_runner_logs", "[\"a\",110]"));
	check_str(short_answer(&l), "1 -32041");
	listener_clear(&l);
}

void
test_a_batch_stops_when_its_answer_is_too_long(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	l.conf.max_output = 100000;
	say(&l,
	    "[" CALL("get_runner_logs", "[\"a\",90]") "," CALL(
		"get_runner_logs", "[\"a\",90]") "," PING("3") "]");
	check_has(l.answer, "pong");
	check_has(l.answer, "-32041");
	check(strlen(l.answer) < 110000);
	listener_clear(&l);
}

/* Refusals take room, too: then there is none. */
void
test_a_batch_answered_late_is_bounded_as_well(void)
{
	char text[601] = "";
	struct listener l;
	const char *at;
	size_t n = 0;

	listener_init(&l, SCOPE_ADMIN);
	l.conf.max_output = 1000;
	say(&l,
	    "[" CALL("job.wait", "[\"a\"]") "," CALL("job.wait",
		"[\"b\"]") "," CALL("job.wait", "[\"c\"]") "," CALL("job.wait",
		"[\"d\"]") "," CALL("job.wait", "[\"e\"]") "]");
	memset(text, 'x', sizeof(text) - 1);
	while (fake_kept() > 0)
		fake_later_reply(0, text);
	for (at = l.answer; (at = strstr(at, "\"result\"")) != NULL; at++)
		n++;
	check_int((long long)n, 1);
	check_has(l.answer, "-32041");
	listener_clear(&l);
}

void
test_streams_say_when_the_reader_is_behind(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	say(&l, CALL("follow_logs", "[\"a\"]"));
	check_str(short_answer(&l), "1 true");
	check(fake_notify("one"));
	l.deaf = true;
	check(!fake_notify("two"));
	l.deaf = false;
	rpc_streams_ready(&l.door);
	check_int((long long)fake_ready, 1);
	check(fake_notify("three"));
	check_int((long long)l.nnotices, 2);
	rpc_streams_ready(&l.door);
	check_int((long long)fake_ready, 1);
	rpc_door_close(&l.door);
	check_int((long long)fake_streams, 0);
	listener_clear(&l);
}

void
test_streams_are_limited_and_need_a_door_that_has_them(void)
{
	struct listener l;
	int i;

	listener_init(&l, SCOPE_ADMIN);
	for (i = 0; i < RPC_STREAMS_MAX; i++)
		say(&l, CALL("follow_logs", "[\"a\"]"));
	check_str(short_answer(&l), "1 true");
	say(&l, CALL("follow_logs", "[\"a\"]"));
	check_str(short_answer(&l), "1 false");
	rpc_door_close(&l.door);
	l.door.notify = NULL;
	say(&l, CALL("follow_logs", "[\"a\"]"));
	check_str(short_answer(&l), "1 false");
	listener_clear(&l);
}

void
test_calls_and_refusals_are_counted(void)
{
	struct listener l;

	listener_init(&l, SCOPE_ADMIN);
	memset(counters, 0, sizeof(counters));
	say(&l, PING("1"));
	say(&l, "{");
	say(&l, "[" PING("1") ",1]");
	say(&l, "{\"jsonrpc\":\"2.0\",\"method\":\"pin\"}");
	check_int((long long)counters[COUNTER_calls], 5);
	check_int((long long)counters[COUNTER_refusals], 3);
	listener_clear(&l);
}
