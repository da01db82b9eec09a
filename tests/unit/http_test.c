/* HTTP on real sockets: statuses, framing, deadlines, late answers. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fake/room.h"
#include "http.h"
#include "mem.h"

#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define WAIT \
	"{\"jsonrpc\":\"2.0\",\"method\":\"job.wait\",\"params\":[\"a\"]," \
	"\"id\":1}"

/* POST with a length that fits; more headers or "". */
static const char *
post(const char *path, const char *more, const char *body)
{
	static char buf[4096];

	snprintf(buf, sizeof(buf),
	    "POST %s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s", path,
	    more, strlen(body), body);
	return buf;
}

static const char *
exchange(struct room *r, int fd, const char *request)
{
	say(r, fd, request);
	return hear_http(r, fd);
}

/* On a connection of its own. */
static const char *
once(struct room *r, const char *request)
{
	int fd = visit(r);
	const char *answer = exchange(r, fd, request);

	close(fd);
	return answer;
}

static const struct {
	const char *request, *want;
} requests[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", "200 OK"},
    {"GET /page.js HTTP/1.1\r\n" HOST "\r\n", "text/javascript"},
    {"GET /page.css HTTP/1.1\r\n" HOST "\r\n", "text/css"},
    {"GET /healthz HTTP/1.1\r\n" HOST "\r\n", "\r\n\r\nok\n"},
    {"GET /readyz HTTP/1.1\r\n" HOST "\r\n", "ready"},
    {"GET /metrics HTTP/1.1\r\n" HOST "\r\n", "\nherod_calls_total "},
    {"GET /openrpc.json HTTP/1.1\r\n" HOST "\r\n", "\"openrpc\":\"1.3.2\""},
    {"GET /healthz?x=1 HTTP/1.1\r\n" HOST "\r\n", "200 OK"},
    {"GET /healthz HTTP/1.0\r\n\r\n", "200 OK"},
    {"GET /nothing HTTP/1.1\r\n" HOST "\r\n", "404 "},
    {"GET /../etc/passwd HTTP/1.1\r\n" HOST "\r\n", "404 "},
    {"GET /rpc HTTP/1.1\r\n" HOST "\r\n", "405 "},
    {"GET /rpc HTTP/1.1\r\n" HOST "\r\n", "\r\nAllow: POST\r\n"},
    {"DELETE / HTTP/1.1\r\n" HOST "\r\n", "\r\nAllow: GET, HEAD, POST\r\n"},
    {"OPTIONS /rpc HTTP/1.1\r\n" HOST "\r\n", "405 "},
    {"PUT /rpc HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", "405 "},
    {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421 "},
    {"GET / HTTP/1.1\r\n\r\n", "400 "},
    {"GET / HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", "403 "},
    {"GET / HTTP/1.1\r\n" HOST "Sec-Fetch-Site: cross-site\r\n\r\n", "403 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", "415 "},
    {"POST / HTTP/1.1\r\n" HOST "Content-Type: text/plain; application/json\r\n"
     "Content-Length: 2\r\n\r\n{}",
	"415 "},
    {"POST / HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n"
     "Content-Length: 3\r\n\r\n{}",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON
     "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON
     "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON
     "Content-Length: 1\r\n 0\r\n\r\n0123456789",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
	"400 "},
    {"POST / HTTP/1.1\r\n" HOST JSON "Content-Length: 1048577\r\n\r\n", "413 "},
    {"POST / HTTP/1.1\r\n" HOST JSON
     "Content-Length: 99999999999999999999\r\n\r\n",
	"41"},
    {"POST / HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n"
     "5\r\n{\"jso\r\n20\r\nnrpc\":\"2.0\",\"method\":\"ping\",\"id\"\r\n"
     "3\r\n:1}\r\n0\r\n\r\n",
	PONG},
};

void
test_every_request_gets_its_status(void)
{
	struct room r;
	size_t i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		printf("%s\n", requests[i].request);
		check_has(once(&r, requests[i].request), requests[i].want);
	}
	check_int((long long)fake_calls, 1);
	room_close(&r);
}

void
test_calls_are_answered_at_both_paths_and_doors(void)
{
	static const char *const doors[] = {"unix:door", "tcp:127.0.0.1:0"};
	struct room r;
	size_t door;

	room_init(&r);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		check_has(once(&r, post("/", JSON, PING)), PONG);
		check_has(once(&r, post("/rpc", JSON, PING)),
		    "\r\nContent-Type: application/json\r\n");
		check_has(once(&r, post("/", JSON, "[" PING "," PING "]")),
		    "[" PONG "," PONG "]");
		check_has(once(&r, post("/", JSON, "{")), "-32700");
		check_has(once(&r, post("/", JSON, "")), "-32700");
		check_has(once(&r, post("/", JSON, "{")), "HTTP/1.1 200");
		check_has(once(&r,
			      post("/", JSON,
				  "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}")),
		    "HTTP/1.1 204");
	}
	room_close(&r);
}

void
test_every_answer_is_for_us_alone(void)
{
	static const char *const headers[] = {
	    /* Of JSON, too. */
	    "X-Content-Type-Options: nosniff",
	    "Cache-Control: no-store",
	    "Cross-Origin-Resource-Policy: same-origin",
	    /* Of what might be shown. */
	    "Content-Security-Policy: default-src 'none'",
	    "X-Frame-Options: DENY",
	    "Referrer-Policy: no-referrer",
	    "Cross-Origin-Opener-Policy: same-origin",
	};
	struct room r;
	size_t i;

	room_init(&r);
	room_open(&r, "unix:door");
	for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		check_has(
		    once(&r, "GET / HTTP/1.1\r\n" HOST "\r\n"), headers[i]);
		check_has(
		    once(&r, "GET /no HTTP/1.1\r\n" HOST "\r\n"), headers[i]);
		if (i < 3)
			check_has(once(&r, post("/", JSON, PING)), headers[i]);
	}
	check(
	    strstr(once(&r, post("/", JSON, PING)), "Access-Control") == NULL);
	room_close(&r);
}

void
test_the_page_loads_nothing_from_elsewhere(void)
{
	const char *page;
	struct room r;

	room_init(&r);
	room_open(&r, "unix:door");
	page = strstr(once(&r, "GET / HTTP/1.1\r\n" HOST "\r\n"), "\r\n\r\n");
	check(strstr(page, "http:") == NULL);
	check(strstr(page, "//") == NULL);
	check(strstr(page, "onload") == NULL);
	check(strstr(page, "<style") == NULL);
	check(strstr(page, "<script>") == NULL);
	check_has(page, "src=\"/page.js\"");
	room_close(&r);
}

void
test_connections_are_kept_and_requests_may_be_pipelined(void)
{
	struct room r;
	char two[2000];
	int fd, i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	for (i = 0; i < 3; i++)
		check_has(exchange(&r, fd, post("/", JSON, PING)), PONG);
	strlcpy(two, post("/", JSON, PING), sizeof(two));
	strlcat(two, "GET /healthz HTTP/1.1\r\n" HOST "\r\n", sizeof(two));
	check_has(exchange(&r, fd, two), PONG);
	check_has(hear_http(&r, fd), "ok\n");
	check_int((long long)doors_count(r.doors), 1);
	close(fd);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	room_close(&r);
}

void
test_a_body_may_wait_for_100_continue(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	check_has(exchange(&r, fd,
		      "POST / HTTP/1.1\r\n" HOST JSON
		      "Expect: 100-continue\r\nContent-Length: 40\r\n\r\n"),
	    "HTTP/1.1 100 Continue");
	check_int((long long)strlen(PING), 40);
	check_has(exchange(&r, fd, PING), PONG);
	/* What is refused is refused before the body. */
	check_has(exchange(&r, fd,
		      "POST / HTTP/1.1\r\n" HOST
		      "Expect: 100-continue\r\nContent-Length: 40\r\n\r\n"),
	    "HTTP/1.1 415");
	close(fd);
	room_close(&r);
}

void
test_head_gets_the_head_of_get(void)
{
	struct room r;
	const char *answer;
	char got[2000] = "";
	size_t len = 0;
	ssize_t n;
	int fd;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	say(&r, fd,
	    "HEAD /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	do {
		room_turn(&r);
		n = recv(fd, got + len, sizeof(got) - 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	answer = got;
	check_has(answer, "HTTP/1.1 200");
	check_has(answer, "Content-Length: 3");
	check(strstr(answer, "ok\n") == NULL);
	close(fd);
	room_close(&r);
}

/* ---- later ---- */

void
test_late_answers_reach_their_requests(void)
{
	struct room r;
	int one, two;

	room_init(&r);
	r.conf.request_timeout = 0.2; /* not while herod is at work */
	room_open(&r, "tcp:127.0.0.1:0");
	one = visit(&r);
	two = visit(&r);
	say(&r, one, post("/", JSON, WAIT));
	wait_for((room_turn(&r), fake_kept() == 1));
	say(&r, two, post("/", JSON, WAIT));
	wait_for((room_turn(&r), fake_kept() == 2));
	check_has(once(&r, post("/", JSON, PING)), PONG);
	ev_sleep(0.4);
	room_turn(&r);
	fake_later_reply(1, "second");
	check_has(hear_http(&r, two), "second");
	fake_later_reply(0, "first");
	check_has(hear_http(&r, one), "first");
	check_has(exchange(&r, one, post("/", JSON, PING)), PONG);
	close(one);
	close(two);
	room_close(&r);
}

/* What can be used again of one is used for the next. */
void
test_answers_of_one_length_mix_neither_texts_nor_heads(void)
{
	char ops[] = "https://ops.example", *origins[] = {ops, NULL};
	const char *answer;
	struct room r;
	int fds[2], i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	for (i = 0; i < 2; i++) {
		fds[i] = visit(&r);
		say(&r, fds[i], post("/", JSON, WAIT));
		wait_for((room_turn(&r), fake_kept() == (size_t)i + 1));
	}
	fake_later_reply(1, "the other");
	fake_later_reply(0, "the first");
	check_has(hear_http(&r, fds[1]), "the other");
	check_has(hear_http(&r, fds[0]), "the first");
	for (i = 0; i < 4; i++) {
		r.conf.cors_origins = i % 2 == 1 ? origins : NULL;
		answer = exchange(&r, fds[0], post("/", JSON, PING));
		check_has(answer, PONG);
		check_has(answer, "\r\nCache-Control: no-store\r\n");
		check((strstr(answer, "Vary") != NULL) == (i % 2 == 1));
	}
	r.conf.cors_origins = NULL;
	for (i = 0; i < 2; i++)
		close(fds[i]);
	room_close(&r);
}

void
test_who_has_left_is_noticed_while_herod_works(void)
{
	static const char *const doors[] = {"unix:door", "tcp:127.0.0.1:0"};
	struct room r;
	size_t door;
	int fd;

	room_init(&r);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		fd = visit(&r);
		say(&r, fd,
		    post("/", JSON,
			"{\"jsonrpc\":\"2.0\",\"method\":"
			"\"job.result\",\"params\":[\"a\"],\"id\":1}"));
		wait_for((room_turn(&r), fake_kept() == 1));
		close(fd);
		wait_for((room_turn(&r), fake_gone == door + 1));
		wait_for((room_turn(&r), doors_count(r.doors) == 0));
	}
	room_close(&r);
}

void
test_who_has_said_all_still_gets_a_late_answer(void)
{
	struct room r;
	int fd, i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say(&r, fd, post("/", JSON, WAIT));
	shutdown(fd, SHUT_WR);
	wait_for((room_turn(&r), fake_kept() == 1));
	for (i = 0; i < 20; i++)
		room_turn(&r);
	fake_later_reply(0, "late");
	check_has(hear_http(&r, fd), "late");
	close(fd);
	room_close(&r);
}

void
test_an_answer_to_who_has_left_goes_nowhere(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say(&r, fd, post("/", JSON, WAIT));
	wait_for((room_turn(&r), fake_kept() == 1));
	close(fd);
	room_turn(&r);
	fake_later_reply(0, "to nobody");
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	room_close(&r);
}

/* Its bytes are there, unread, when herod ends or makes way; what is said to
 * it then. */
static const char *
ask_too_late(const char *request)
{
	static char answer[4096];
	struct room r;
	ssize_t len;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	check_has(exchange(&r, fd, "GET /healthz HTTP/1.1\r\n" HOST "\r\n"),
	    "200 OK");
	check_int(
	    send(fd, request, strlen(request), 0), (long long)strlen(request));
	room_close(&r);
	len = recv(fd, answer, sizeof(answer) - 1, 0);
	answer[len > 0 ? len : 0] = '\0';
	close(fd);
	return answer;
}

void
test_a_request_that_comes_with_the_end_does_no_harm(void)
{
	check_has(ask_too_late(post("/", JSON, WAIT)), "HTTP/1.1 503 ");
	check_str(ask_too_late("GET /events HTTP/1.1\r\n" HOST "\r\n"), "");
}

#define BIG \
	"{\"jsonrpc\":\"2.0\",\"method\":\"get_runner_logs\",\"params\":" \
	"[\"a\",4000],\"id\":1}"

void
test_more_answers_than_can_be_kept_are_refused(void)
{
	struct room r;
	int fds[3], i;

	room_init(&r);
	r.conf.max_output_all = 10000000;
	room_open(&r, "unix:door");
	for (i = 0; i < 3; i++)
		fds[i] = visit(&r);
	for (i = 0; i < 3; i++) {
		say(&r, fds[i], post("/", JSON, BIG));
		wait_for((room_turn(&r), fake_calls == (size_t)i + 1));
	}
	check_has(hear_http(&r, fds[2]), "503 ");
	close(fds[0]);
	close(fds[1]);
	wait_for((room_turn(&r), doors_count(r.doors) == 1));
	check_has(exchange(&r, fds[2], post("/", JSON, PING)), PONG);
	close(fds[2]);
	room_close(&r);
}

void
test_a_herod_that_slept_reads_before_it_calls_a_request_late(void)
{
	struct room r;
	int fd;

	room_init(&r);
	r.conf.request_timeout = 0.2;
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	check_has(exchange(&r, fd, post("/", JSON, PING)), PONG);
	send(fd, post("/", JSON, PING), strlen(post("/", JSON, PING)),
	    MSG_NOSIGNAL);
	ev_sleep(0.4);
	check_has(hear_http(&r, fd), PONG);
	close(fd);
	room_close(&r);
}

void
test_http_has_no_streams(void)
{
	struct room r;

	room_init(&r);
	room_open(&r, "unix:door");
	check_has(once(&r,
		      post("/", JSON,
			  "{\"jsonrpc\":\"2.0\",\"method\":"
			  "\"follow_logs\",\"params\":[\"a\"],\"id\":1}")),
	    "false");
	room_close(&r);
}

/* ---- limits ---- */

static void
check_dripping(struct room *r, const char *text)
{
	double begun = check_clock();
	size_t i = 0;
	int fd = visit(r);

	while (text[i] && !is_closed(r, fd))
		if (check_clock() - begun > 0.05 * (double)i)
			send(fd, &text[i++], 1, MSG_NOSIGNAL);
	wait_for(is_closed(r, fd));
	check(check_clock() - begun > 0.25);
	close(fd);
}

void
test_what_drips_is_ended_at_the_deadline(void)
{
	struct room r;

	room_init(&r);
	r.conf.request_timeout = 0.3;
	room_open(&r, "tcp:127.0.0.1:0");
	check_dripping(&r,
	    "GET / HTTP/1.1\r\nHost: localhost\r\nX: aaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	check_dripping(&r,
	    "POST / HTTP/1.1\r\n" HOST JSON
	    "Content-Length: 1000\r\n\r\n{\"jsonrpc\":\"2.0\","
	    "\"method\":\"ping\",\"params\":{\"a\":\"aaaaaaaa");
	room_close(&r);
}

void
test_a_kept_connection_is_closed_when_nothing_more_comes(void)
{
	struct room r;
	int fd;

	room_init(&r);
	r.conf.request_timeout = 0.2;
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	check_has(exchange(&r, fd, post("/", JSON, PING)), PONG);
	wait_for(is_closed(&r, fd));
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	close(fd);
	room_close(&r);
}

#define CHUNKED \
	"POST / HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNK_LEN (5 + 1024 + 2)

/* 1 KiB of blanks as a chunk. */
static void
make_chunk(char chunk[CHUNK_LEN])
{
	memset(chunk, ' ', CHUNK_LEN);
	memcpy(chunk, "400\r\n", 5);
	memcpy(chunk + 5 + 1024, "\r\n", 2);
}

void
test_an_endless_chunked_body_is_cut_off(void)
{
	char chunk[CHUNK_LEN];
	struct room r;
	int fd, i;

	room_init(&r);
	r.conf.max_request = 100000;
	r.conf.request_timeout = 0.5;
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say(&r, fd, CHUNKED);
	make_chunk(chunk);
	for (i = 0; i < 110; i++)
		say_bytes(&r, fd, chunk, CHUNK_LEN);
	wait_for(is_closed(&r, fd));
	check_int((long long)fake_calls, 0);
	close(fd);
	room_close(&r);
}

void
test_ten_megabytes_in_chunks_are_answered_by_413(void)
{
	char chunk[CHUNK_LEN];
	struct room r;
	int fd, i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say(&r, fd, CHUNKED);
	make_chunk(chunk);
	for (i = 0; i < 10240; i++)
		say_bytes(&r, fd, chunk, CHUNK_LEN);
	check_has(exchange(&r, fd, "0\r\n\r\n"), "413 ");
	wait_for(is_closed(&r, fd));
	check_int((long long)fake_calls, 0);
	close(fd);
	room_close(&r);
}

void
test_a_head_too_large_is_refused(void)
{
	struct room r;
	char *big = xmalloc(100000);
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	memset(big, 'a', 99999);
	big[99999] = '\0';
	memcpy(big, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", 36);
	say(&r, fd, big);
	check_has(hear_http(&r, fd), "HTTP/1.1 4");
	close(fd);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	free(big);
	room_close(&r);
}

void
test_a_large_answer_arrives_whole(void)
{
	struct room r;
	const char *answer;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	answer = once(&r,
	    post("/", JSON,
		"{\"jsonrpc\":\"2.0\",\"method\":"
		"\"get_runner_logs\",\"params\":[\"a\",1000],\"id\":1}"));
	check(strlen(answer) > 1003000);
	check_str(answer + strlen(answer) - 4, "\"]}\n");
	room_close(&r);
}

void
test_who_may_not_gets_401_or_403(void)
{
	struct room r;
	pid_t pid;
	int status;

	if (geteuid() != 0)
		skip("needs root");
	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	r.conf.default_scope = SCOPE_OBSERVE;
	pid = fork();
	if (pid == 0) {
		char buf[4096] = "";
		const char *text = post("/", JSON "Connection: close\r\n",
		    "{\"jsonrpc\":\"2.0\",\"method\":\"stop_all\",\"id\":1}");
		int fd;

		if (setuid(12345) == -1)
			_exit(1);
		fd = address_connect(&r.address, 5, NULL);
		if (write(fd, text, strlen(text)) == -1 ||
		    read(fd, buf, sizeof(buf) - 1) <= 0)
			_exit(2);
		_exit(strstr(buf, "HTTP/1.1 403") ? 0 : 3);
	}
	wait_for((room_turn(&r), waitpid(pid, &status, WNOHANG) == pid));
	check_int(status, 0);
	room_close(&r);
}

/* ---- answers without an end ---- */

static struct http_request *streaming;
static bool stream_is_over;

static void
on_stream_room(void *arg)
{
	(void)arg;
}

static void
on_stream_closed(void *arg)
{
	(void)arg;
	stream_is_over = true;
}

static const struct http_stream_ops stream_ops = {
    .room = on_stream_room,
    .ending = on_stream_room,
    .closed = on_stream_closed,
};

static void
begin_stream(void *arg, struct http_request *r)
{
	(void)arg;
	streaming = r;
	check(http_stream(r, "text/plain", xstrdup("a"), 1, &stream_ops, NULL));
}

static void
ignore_done(struct http_request *r)
{
	(void)r;
}

static void
ignore_closed(void *client)
{
	(void)client;
}

static size_t
allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

#define BLOCK 1024

/* Fills up what may wait, then has one block more be read of it. */
static void
lag_behind(struct ev_loop *loop, int fd)
{
	static const char block[BLOCK];
	char buf[BLOCK];

	while (http_stream_put(streaming, block, BLOCK, 64 * BLOCK))
		ev_run(loop, EVRUN_NOWAIT);
	check(recv(fd, buf, sizeof(buf), 0) > 0);
	ev_run(loop, EVRUN_NOWAIT);
}

void
test_a_reader_that_always_lags_a_little_costs_no_more_for_it(void)
{
	static const struct http_route routes[] = {
	    {"GET", "/", false, begin_stream}, {NULL, NULL, false, NULL}};
	static const struct http_ops ops = {
	    .done = ignore_done, .closed = ignore_closed};
	static const char ask[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
	struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
	struct daemon_conf conf = {.request_timeout = 60,
	    .max_request = 1000,
	    .max_output_all = 1 << 30};
	struct http *h = http_new(loop, &conf, routes, &ops, NULL);
	size_t before, i;
	int fds[2], room = 8 * BLOCK;

	check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	check_int(
	    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	http_add(h, fds[0], NULL);
	check_int(send(fds[1], ask, strlen(ask), 0), (long long)strlen(ask));
	wait_for((ev_run(loop, EVRUN_NOWAIT), streaming != NULL));
	lag_behind(loop, fds[1]);
	before = allocated();
	for (i = 0; i < 20000; i++)
		lag_behind(loop, fds[1]);
	check(allocated() < before + 512 * BLOCK);
	close(fds[1]);
	wait_for((ev_run(loop, EVRUN_NOWAIT), stream_is_over));
	http_free(h);
	ev_loop_destroy(loop);
}
