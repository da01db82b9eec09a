/*
 * JSON-RPC 2.0 to the letter at every door: each text of conform.def gets
 * its answer, and the connection goes on behind it or is closed, as is
 * promised.  A door is one row at the end of this file.
 */
#include <sys/socket.h>
#include <sys/uio.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "tls_door.h"

CHECK_TIMEOUT(120);

#define MAX_REQUEST 8192
#define MAX_BATCH 64

/* ---- the words of the table ---- */

#define X4(t) t t t t
#define X16(t) X4(t) X4(t) X4(t) X4(t)
#define X63(t) X16(t) X16(t) X16(t) X4(t) X4(t) X4(t) t t t
#define X64(t) X63(t) t
#define X256(t) X64(t) X64(t) X64(t) X64(t)

/* JSON without the backslashes. */
#define Q(...) #__VA_ARGS__

#define PING(id) "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":" id "}"
#define WITH(value) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1,\"x\":" value "}"
#define CALL(method, params) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params \
	",\"id\":1}"
#define LOGS(params) CALL("get_runner_logs", params)
#define SAY(method, params) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params "}"

#define GIVES(id, result) "{\"id\":" id ",\"result\":" result "}"
#define PONG(id) GIVES(id, "\"pong\"")
#define REFUSED(code, id) "{\"code\":" code ",\"id\":" id "}"
#define NOT_JSON REFUSED("-32700", "null")
#define INVALID(id) REFUSED("-32600", id)
#define NO_METHOD(id) REFUSED("-32601", id)
#define BAD_PARAMS(id) REFUSED("-32602", id)
#define SILENCE ""

enum ways { LINES = 1, BODIES = 2, BOTH = LINES | BODIES };

static const struct row {
	const char *name;
	enum ways ways;
	const char *text;
	size_t len;
	const char *answer;
} rows[] = {
#define ROW(name, ways, text, answer) \
	{#name, ways, text, sizeof(text) - 1, answer},
#define CASE(name, text, answer) ROW(name, BOTH, text, answer)
#define LINES(name, text, answer) ROW(name, LINES, text, answer)
#define BODY(name, text, answer) ROW(name, BODIES, text, answer)
#include "conform.def"
#undef LINES
};

#define NROWS (sizeof(rows) / sizeof(rows[0]))

struct door {
	const char *name;
	/* A connected descriptor, be it that of a tunnel. */
	int (*open)(const struct herod *h);
	enum ways ways;
	bool strict; /* closes what sends strange lines */
};

/* ---- answers, made comparable ---- */

/* Members in order of their names, numbers with all their digits. */
static const char *
dump(const json_t *value)
{
	char *dumped =
	    json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	const char *kept = text("%s", dumped);

	free(dumped);
	return kept;
}

static bool
is_error(json_t *error)
{
	const char *message = json_string_value(at(error, "message"));
	json_t *data = at(error, "data");

	return json_is_integer(at(error, "code")) && message &&
	    strlen(message) > 0 && json_object_size(error) == 3 &&
	    json_is_string(at(data, "name")) &&
	    json_is_boolean(at(data, "retryable"));
}

/* Exactly jsonrpc, an id, and a result or an error. */
static bool
is_response(json_t *answer)
{
	const char *version = json_string_value(at(answer, "jsonrpc"));
	json_t *error = at(answer, "error");

	return json_object_size(answer) == 3 && at(answer, "id") && version &&
	    strcmp(version, "2.0") == 0 &&
	    (error ? is_error(error) : at(answer, "result") != NULL);
}

/* As REFUSED() and GIVES() write it, or why not. */
static const char *
short_response(json_t *answer)
{
	json_t *error = at(answer, "error");

	if (!is_response(answer))
		return text("no response: %s", dump(answer));
	if (error)
		return text("{\"code\":%s,\"id\":%s}", dump(at(error, "code")),
		    dump(at(answer, "id")));
	return text("{\"id\":%s,\"result\":%s}", dump(at(answer, "id")),
	    dump(at(answer, "result")));
}

static const char *
short_batch(const json_t *answers)
{
	const char *all = "";
	json_t *one;
	size_t i;

	json_array_foreach (answers, i, one)
		all = text("%s%s%s", all, i ? "," : "", short_response(one));
	return text("[%s]", all);
}

static const char *
short_answer(const char *line)
{
	json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const char *shown;

	if (answer == NULL)
		return text("no JSON: %s", line);
	shown = json_is_array(answer) ? short_batch(answer)
				      : short_response(answer);
	json_decref(answer);
	return shown;
}

/* The table's answer with its numbers and strings as dump() has them. */
static const char *
wanted(const char *answers)
{
	const char *all = "";
	size_t len;

	for (; *answers; answers += len + (answers[len] != '\0')) {
		json_t *one;

		len = strcspn(answers, "\n");
		one = json_loadb(answers, len, 0, NULL);
		check(one != NULL);
		all = text("%s%s%s", all, *all ? "\n" : "", dump(one));
		json_decref(one);
	}
	return all;
}

/* ---- one text, and a ping behind it ---- */

#define LAST PING("\"last\"")
#define LAST_PONG PONG("\"last\"")

/* What came for the text, and whether the ping was answered, too. */
struct heard {
	const char *answers;
	bool lives;
};

/* In one piece: a small one behind another would wait in the kernel. */
static void
send_between(
    int fd, const char *head, const char *bytes, size_t len, const char *tail)
{
	struct iovec parts[] = {{(void *)(uintptr_t)head, strlen(head)},
	    {(void *)(uintptr_t)bytes, len},
	    {(void *)(uintptr_t)tail, strlen(tail)}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};

	check_int(sendmsg(fd, &message, MSG_NOSIGNAL),
	    (long long)(strlen(head) + len + strlen(tail)));
}

static struct heard
hear_lines(int fd)
{
	struct heard heard = {"", false};
	const char *line;

	while ((line = recv_line(fd)) != NULL) {
		line = short_answer(line);
		heard.lives = strcmp(line, LAST_PONG) == 0;
		if (heard.lives)
			break;
		heard.answers = text(
		    "%s%s%s", heard.answers, *heard.answers ? "\n" : "", line);
	}
	return heard;
}

static struct heard
exchange_lines(int fd, const char *bytes, size_t len)
{
	send_between(fd, "", bytes, len, "\n" LAST "\n");
	return hear_lines(fd);
}

static const char *
post_head(size_t len)
{
	return text("POST / HTTP/1.1\r\nHost: localhost\r\n"
		    "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n\r\n",
	    len);
}

static void
send_posts(int fd, const char *bytes, size_t len)
{
	send_between(fd, post_head(len), bytes, len,
	    text("%s%s", post_head(strlen(LAST)), LAST));
}

/* Status of the answer whose head is read, -1 when there is none. */
static int
recv_head(int fd, size_t *len, bool *json)
{
	const char *line = recv_line(fd);
	int status = -1;

	*len = 0;
	*json = false;
	if (line == NULL || sscanf(line, "HTTP/1.1 %d", &status) != 1)
		return -1;
	while ((line = recv_line(fd)) != NULL && *line != '\r') {
		if (strncasecmp(line, "Content-Length:", 15) == 0)
			*len = (size_t)atoi(line + 15);
		if (strcasecmp(line, "Content-Type: application/json\r") == 0)
			*json = true;
	}
	return line ? status : -1;
}

static const char *
recv_body(int fd, size_t len)
{
	char *buf = malloc(len + 1);
	const char *body;

	check(buf != NULL);
	check(recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len);
	buf[len] = '\0';
	check_int((long long)strlen(buf), (long long)len);
	body = text("%s", buf);
	free(buf);
	return body;
}

/* 200 with an answer and 204 without are what is due; others are shown. */
static const char *
hear_post(int fd)
{
	size_t len;
	bool json;
	int status = recv_head(fd, &len, &json);
	const char *body = len > 0 ? recv_body(fd, len) : "";

	if (status == 204 && len == 0)
		return "";
	if (status == 200 && json && len > 0)
		return short_answer(body);
	return text("status %d: %s", status, body);
}

static struct heard
exchange_bodies(int fd, const char *bytes, size_t len)
{
	struct heard heard;

	send_posts(fd, bytes, len);
	heard.answers = hear_post(fd);
	heard.lives = strcmp(hear_post(fd), LAST_PONG) == 0;
	return heard;
}

static struct heard
exchange_text(const struct door *door, int fd, const char *bytes, size_t len)
{
	if (door->ways == LINES)
		return exchange_lines(fd, bytes, len);
	return exchange_bodies(fd, bytes, len);
}

/* ---- every row ---- */

/* The first byte decides what is spoken: it is that of a ping. */
static int
visit(const struct herod *h, const struct door *door)
{
	static const char first[] = PING("1");
	int fd = door->open(h);
	struct heard heard = exchange_text(door, fd, first, strlen(first));

	check_str(heard.answers, PONG("1"));
	check(heard.lives);
	return fd;
}

static bool
is_strange(const struct row *row)
{
	const char *p = row->text + strspn(row->text, " \t\r\n");

	return *p != '{' && *p != '[' && strcmp(row->answer, NOT_JSON) == 0;
}

static bool
is_as_wanted(
    const struct row *row, const struct door *door, const struct heard *heard)
{
	bool lives = !(door->strict && is_strange(row));
	const char *want = wanted(row->answer);

	if (strcmp(heard->answers, want) == 0 && heard->lives == lives)
		return true;
	printf("%s of %s:\n  got  %s%s\n  want %s%s\n", row->name, door->name,
	    heard->answers, heard->lives ? "" : " and the end", want,
	    lives ? "" : " and the end");
	return false;
}

static struct herod *
start(void)
{
	make_certificates();
	return herod_start(AT_ONCE
	    "[herod]\nmax_request = %d\nmax_batch = %d\n" TLS_CONF
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:slow]\nautostart = false\n"
	    "startsecs = 1000\ncommand = sleep 1000\n",
	    MAX_REQUEST, MAX_BATCH, TLS_FILES);
}

static void
answer_every_text(const struct door *door)
{
	struct herod *h = start();
	int fd = visit(h, door), nwrong = 0;
	struct heard heard;
	size_t i;

	for (i = 0; i < NROWS; i++) {
		if (!(rows[i].ways & door->ways))
			continue;
		heard = exchange_text(door, fd, rows[i].text, rows[i].len);
		nwrong += !is_as_wanted(&rows[i], door, &heard);
		if (heard.lives)
			continue;
		close(fd);
		fd = visit(h, door);
	}
	close(fd);
	check_int(nwrong, 0);
	herod_stop(h);
}

/* ---- what is more than one text ---- */

/* A ping of that length, by blanks. */
static const char *
padded_ping(int len)
{
	return text("%-*s", len, PING("1"));
}

static void
refuse_a_text_too_long(const struct door *door)
{
	struct herod *h = start();
	int fd = visit(h, door);
	struct heard heard;

	heard = exchange_text(door, fd, padded_ping(MAX_REQUEST), MAX_REQUEST);
	check_str(heard.answers, PONG("1"));
	check(heard.lives);
	heard = exchange_text(
	    door, fd, padded_ping(MAX_REQUEST + 1), MAX_REQUEST + 1);
	check_has(heard.answers,
	    door->ways == LINES ? REFUSED("-32041", "null") : "status 413");
	check(!heard.lives);
	close(fd);
	close(visit(h, door));
	herod_stop(h);
}

static void
carry_out_a_notification(const struct door *door)
{
	static const char stop[] = SAY("stop_runner", "[\"web\"]");
	struct herod *h = start();
	int fd = visit(h, door);
	struct heard heard;

	wait_for(is_state(h, "web", "RUNNING"));
	heard = exchange_text(door, fd, stop, strlen(stop));
	check_str(heard.answers, "");
	check(heard.lives);
	wait_for(is_state(h, "web", "STOPPED"));
	close(fd);
	herod_stop(h);
}

/* Its answer comes when it is stopped. */
#define START_SLOW CALL("start_runner", "[\"slow\"]")
#define SUPERSEDED REFUSED("-32014", "1")

static void
answer_lines_as_they_are_done(struct herod *h, int fd)
{
	struct heard heard;

	heard = exchange_lines(fd, START_SLOW, strlen(START_SLOW));
	check_str(heard.answers, "");
	check(heard.lives);
	rpc(h, "stop_runner", "[s]", "slow");
	check_str(short_answer(recv_line(fd)), SUPERSEDED);
}

/* HTTP has no ids: the order of its answers is that of the requests. */
static void
answer_bodies_as_they_came(struct herod *h, int fd)
{
	send_posts(fd, START_SLOW, strlen(START_SLOW));
	wait_for(is_state(h, "slow", "STARTING"));
	rpc(h, "stop_runner", "[s]", "slow");
	check_str(hear_post(fd), SUPERSEDED);
	check_str(hear_post(fd), LAST_PONG);
}

static void
keep_the_order(const struct door *door)
{
	struct herod *h = start();
	int fd = visit(h, door);

	if (door->ways == LINES)
		answer_lines_as_they_are_done(h, fd);
	else
		answer_bodies_as_they_came(h, fd);
	close(fd);
	herod_stop(h);
}

/* ---- the doors ---- */

#define DOOR(row, open, ways, strict) \
	static const struct door row = {#row, open, ways, strict}; \
	void test_##row##_answers_every_text_to_the_letter(void) \
	{ \
		answer_every_text(&row); \
	} \
	void test_##row##_refuses_a_text_too_long(void) \
	{ \
		refuse_a_text_too_long(&row); \
	} \
	void test_##row##_carries_out_a_notification_in_silence(void) \
	{ \
		carry_out_a_notification(&row); \
	} \
	void test_##row##_keeps_the_order_of_its_answers(void) \
	{ \
		keep_the_order(&row); \
	}

DOOR(unix_lines, door_unix, LINES, false)
DOOR(tcp_lines, door_tcp, LINES, true)
DOOR(unix_http, door_unix, BODIES, false)
DOOR(tcp_http, door_tcp, BODIES, false)
DOOR(tls_lines, door_tls, LINES, true)
DOOR(tls_http, door_tls, BODIES, false)
