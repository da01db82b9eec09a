/*
 * HTTP to the letter (RFC 9110, 9112): what each odd request gets, whether
 * the connection lives on, and that nothing behind it is taken for a request
 * when it does not.  Each at both doors.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls_door.h"

CHECK_TIMEOUT(180);

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}"
#define LENGTH "Content-Length: 40\r\n" /* of PING */
#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define GET "GET /healthz HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST JSON
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define LAST_CHUNK "0\r\n\r\n"

#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define A1000 A100 A100 A100 A100 A100 A100 A100 A100 A100 A100
#define A5000 A1000 A1000 A1000 A1000 A1000
#define A20000 A5000 A5000 A5000 A5000

enum after { CLOSES, STAYS };

static const struct row {
	const char *has; /* in the answer, which begins with the status */
	enum after after;
	const char *request;
	size_t len;
} rows[] = {
#define ROW(has, after, request) \
	{ \
		has, after, request, sizeof(request) - 1 \
	}
    /* ---- the request line ---- */
    ROW("200 ", STAYS, GET "\r\n"),
    ROW("200 ", STAYS, "HEAD /healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("200 ", STAYS, GET "\r\n\r\n"), /* RFC 9112, section 2.2 */
    ROW("200 ", STAYS, "GET /healthz?x=%00&y HTTP/1.1\r\n" HOST "\r\n"),
    ROW("200 ", STAYS, "GET /%68ealthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("200 ", STAYS, "GET /healthz HTTP/1.2\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "GET /no HTTP/1.1\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "HEAD /no HTTP/1.1\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "GET /healthz%00x HTTP/1.1\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "GET /healthz/ HTTP/1.1\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "GET /%zz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("404 ", CLOSES, "GET /../healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("\r\nAllow: GET, HEAD\r\n", CLOSES,
	"DELETE /healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("\r\nAllow: POST\r\n", CLOSES, "HEAD /rpc HTTP/1.1\r\n" HOST "\r\n"),
    ROW("405 ", CLOSES, "TRACE / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("405 ", CLOSES, "OPTIONS / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("\r\nAllow: GET, HEAD, POST\r\n", CLOSES,
	"OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET * HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n"),
    ROW("501 ", CLOSES, "BREW /healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("501 ", CLOSES, "get /healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("414 ", CLOSES, "GET /" A20000 " HTTP/1.1\r\n" HOST "\r\n"),
    ROW("414 ", CLOSES, A20000 " / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET /healthz\r\n\r\n"), /* HTTP/0.9 */
    ROW("400 ", CLOSES, "GET /healthz FTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET /healthz http/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.10\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1 \r\n" HOST "\r\n"),
    ROW("505 ", CLOSES, "GET /healthz HTTP/2.0\r\n" HOST "\r\n"),
    ROW("505 ", CLOSES, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    /* ---- a whole URL, whose host counts ---- */
    ROW("200 ", STAYS, "GET http://localhost/healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("200 ", STAYS, "GET HTTP://127.0.0.1:1 HTTP/1.1\r\n" HOST "\r\n"),
    ROW("200 ", STAYS,
	"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    ROW("421 ", CLOSES,
	"GET http://evil.example/healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("421 ", CLOSES, "GET http:///healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES,
	"GET http://a@localhost/healthz HTTP/1.1\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, "GET http://localhost/healthz HTTP/1.1\r\n\r\n"),
    ROW("421 ", CLOSES, "GET http://evil.example/healthz HTTP/1.0\r\n\r\n"),
    /* ---- Host ---- */
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\r\n\r\n"),
    ROW("400 ", CLOSES, GET HOST "\r\n"),
    ROW("400 ", CLOSES, GET "Host: evil.example\r\n\r\n"),
    ROW("400 ", CLOSES,
	"GET /healthz HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
    ROW("200 ", STAYS,
	"GET /healthz HTTP/1.1\r\nHost: \t localhost:1 \t \r\n\r\n"),
    ROW("421 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost: evil.example \r\n\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost: local host \r\n\r\n"),
    ROW("421 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost: \t \r\n\r\n"),
    ROW("421 ", CLOSES,
	"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost \r\n\r\n"),
    ROW("421 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n"),
    ROW("421 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    ROW("400 ", CLOSES,
	"GET /healthz HTTP/1.1\r\nHost: localhost\0.evil.example\r\n\r\n"),
    /* ---- header lines ---- */
    ROW("200 ", STAYS, GET "X:\r\n\r\n"),
    ROW("200 ", STAYS, GET "X: \t a \t \r\nY:b\r\n\r\n"),
    ROW("200 ", STAYS, GET "X: \xc3\xa4\tb\r\n\r\n"),
    ROW("200 ", STAYS, GET "X: " A5000 "\r\nY: b\r\n\r\n"),
    ROW("200 ", STAYS, GET "Cookie: a=b; ; =c;d\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X : a\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X(y): a\r\n\r\n"),
    ROW("400 ", CLOSES, GET ": a\r\n\r\n"),
    ROW("400 ", CLOSES, GET ": a\r\nX: y\r\n\r\n"),
    ROW("400 ", CLOSES, GET "nonsense\r\n\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\r\n X: a\r\n" HOST "\r\n"),
    ROW("400 ", CLOSES, GET "X\0Y: a\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\0b\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\0\0b\r\nY: c\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: \0Content-Length: 5\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\x01\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\x7f\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\r\n b\r\n\r\n"), /* folded */
    ROW("400 ", CLOSES, GET "X: a\r\n\tb\r\nY: c\r\n\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\nHost: localhost\n\n"),
    ROW("400 ", CLOSES, "GET /healthz HTTP/1.1\n" HOST "\r\n"),
    ROW("400 ", CLOSES, GET "X: a\nY: b\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\rY: b\r\n\r\n"),
    ROW("400 ", CLOSES, GET "X: a\rTransfer-Encoding: chunked\r\n\r\n"),
    ROW("431 ", CLOSES, GET "X: " A20000 "\r\n\r\n"),
    ROW("431 ", CLOSES, GET A20000 ": x\r\n\r\n"),
    /* ---- the length of the body ---- */
    ROW("\"pong\"", STAYS, POST LENGTH "\r\n" PING),
    ROW("200 ", STAYS, GET "Content-Length: 5\r\n\r\nhello"),
    ROW("411 ", CLOSES, POST "\r\n"),
    ROW("411 ", CLOSES, "POST / HTTP/1.0\r\n" JSON "\r\n" PING),
    ROW("413 ", CLOSES, POST "Content-Length: 1048577\r\n\r\n"),
    ROW("413 ", CLOSES, POST "Content-Length: 99999999999999999999\r\n\r\n"),
    ROW("400 ", CLOSES, POST LENGTH LENGTH "\r\n" PING),
    ROW("400 ", CLOSES, POST LENGTH "Content-Length: 41\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length: 40, 40\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length: +40\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length: -1\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length: 0x28\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length:\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length: 4\r\n 0\r\n\r\n" PING),
    ROW("400 ", CLOSES, POST "Content-Length : 40\r\n\r\n" PING),
    ROW("400 ", CLOSES,
	POST LENGTH "Transfer-Encoding: chunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES,
	POST "Transfer-Encoding: gzip, chunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES,
	POST "Transfer-Encoding: chunked, identity\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, POST "Transfer-Encoding: xchunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, POST "Transfer-Encoding: \vchunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, POST "Transfer-Encoding : chunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES,
	POST "Transfer-Encoding:\r\n chunked\r\n\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES,
	"POST / HTTP/1.0\r\n" JSON
	"Transfer-Encoding: chunked\r\n\r\n" LAST_CHUNK),
    /* ---- chunks ---- */
    ROW("\"pong\"", STAYS, CHUNKED "28\r\n" PING "\r\n" LAST_CHUNK),
    ROW("\"pong\"", STAYS, CHUNKED "0028\r\n" PING "\r\n" LAST_CHUNK),
    ROW("\"pong\"", STAYS, CHUNKED "28;a=\"b;c\"\r\n" PING "\r\n0;d\r\n\r\n"),
    ROW("\"pong\"", STAYS, CHUNKED "28\r\n" PING "\r\n0\r\nX: y\r\n\r\n"),
    ROW("\"pong\"", STAYS,
	CHUNKED "28\r\n" PING "\r\n0\r\nContent-Length: 5\r\n\r\n"),
    ROW("200 ", STAYS,
	GET "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "zz\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "0x28\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "+28\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "-1\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED " 28\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "28 \r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "\r\n" PING "\r\n" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "28\r\n" PING "XX" LAST_CHUNK),
    ROW("400 ", CLOSES, CHUNKED "28;a\nb\r\n" PING "\r\n" LAST_CHUNK),
    ROW("413 ", CLOSES, CHUNKED "10000000000000028\r\n" PING),
    /* ---- what else a head may ask for ---- */
    ROW("415 ", CLOSES, "POST / HTTP/1.1\r\n" HOST LENGTH "\r\n" PING),
    ROW("415 ", CLOSES, POST LENGTH "Content-Encoding: gzip\r\n\r\n" PING),
    ROW("417 ", CLOSES, POST LENGTH "Expect: cake\r\n\r\n" PING),
    ROW("417 ", CLOSES, POST LENGTH "Expect:\r\n\r\n" PING),
    ROW("400 ", CLOSES,
	POST LENGTH "Expect: 100-continue\r\nExpect: x\r\n\r\n" PING),
    ROW("200 ", STAYS, GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    ROW("200 ", CLOSES, GET "Connection: close\r\n\r\n"),
    ROW("200 ", CLOSES, "GET /healthz HTTP/1.0\r\n\r\n"),
    ROW("200 ", STAYS,
	"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
#undef ROW
};

static int (*const doors[])(const struct herod *) = {
    door_tcp, door_unix, door_tls};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

static struct herod *
start(const char *more)
{
	make_certificates();
	return herod_start(AT_ONCE "[herod]\n" TLS_CONF "%s", TLS_FILES, more);
}

static int
count_answers(const char *all)
{
	int n = 0;

	for (; (all = strstr(all, "HTTP/1.1 ")) != NULL; all++)
		n++;
	return n;
}

/* The request behind it got what it would get alone. */
static bool
went_on(const char *all)
{
	static const char ok[] = "\r\n\r\nok\n";

	return count_answers(all) >= 2 && strlen(all) > strlen(ok) &&
	    strcmp(all + strlen(all) - strlen(ok), ok) == 0;
}

/* All that comes back, one more request having been sent behind it. */
static const char *
all_answers(int fd, const struct row *row)
{
	send_bytes(fd, row->request, row->len);
	/* It may be closed already. */
	send(fd, GET "Connection: close\r\n\r\n",
	    strlen(GET "Connection: close\r\n\r\n"), MSG_NOSIGNAL);
	return recv_all(fd);
}

static void
check_row(const struct herod *h, size_t door, const struct row *row)
{
	int fd = doors[door](h);
	const char *all = all_answers(fd, row);

	close(fd);
	if (strstr(all, row->has) == NULL ||
	    strncmp(all, "HTTP/1.1 ", 9) != 0 ||
	    went_on(all) != (row->after == STAYS))
		check_fail(__FILE__, __LINE__,
		    "door %zu: %.200s\nwanted %s and %s answer, got %.400s",
		    door, row->request, row->has,
		    row->after == STAYS ? "one more" : "no other", all);
}

void
test_every_request_gets_its_answer_and_no_other(void)
{
	struct herod *h = start("");
	size_t i, door;

	for (door = 0; door < DOORS; door++)
		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			check_row(h, door, &rows[i]);
	herod_stop(h);
}

/* Nobody has to wait for request_timeout to see the end. */
void
test_who_has_said_the_last_gets_the_end_behind_the_answer(void)
{
	struct herod *h = start("request_timeout = 600\n");
	const char *all;
	size_t door;
	int fd;

	for (door = 0; door < DOORS; door++) {
		fd = doors[door](h);
		send_text(fd, GET "\r\n" GET "\r\n");
		shutdown(fd, SHUT_WR);
		all = recv_all(fd);
		check_int(count_answers(all), 2);
		close(fd);
	}
	herod_stop(h);
}

/* In pieces the library moves what it has read. */
void
test_a_head_may_come_byte_by_byte(void)
{
	static const char request[] =
	    GET "X: " A5000 "\r\nY:\r\nZ: a b \r\n\r\n";
	struct herod *h = start("");
	size_t i, door;
	int fd;

	for (door = 0; door < DOORS; door++) {
		fd = doors[door](h);
		for (i = 0; i < sizeof(request) - 1; i++)
			send_bytes(fd, request + i, 1);
		send_text(fd, GET "Connection: close\r\n\r\n");
		check_int(count_answers(recv_all(fd)), 2);
		close(fd);
	}
	herod_stop(h);
}

void
test_continue_is_said_before_the_body_and_only_to_who_asked(void)
{
	struct herod *h = start("");
	const char *all;
	size_t door;
	int fd;

	for (door = 0; door < DOORS; door++) {
		fd = doors[door](h);
		send_text(fd,
		    POST LENGTH
		    "Connection: close\r\nExpect: 100-Continue\r\n\r\n");
		check_str(recv_line(fd), "HTTP/1.1 100 Continue\r");
		send_text(fd, PING);
		check_has(recv_all(fd), "\"pong\"");
		close(fd);
		/* HTTP/1.0 knows no such thing. */
		fd = doors[door](h);
		send_text(fd,
		    "POST / HTTP/1.0\r\n" JSON LENGTH
		    "Expect: 100-continue\r\n\r\n" PING);
		all = recv_all(fd);
		check_has(all, "\"pong\"");
		check_int(count_answers(all), 1);
		close(fd);
	}
	herod_stop(h);
}

/* A byte of it, again and again, until herod has enough. */
static void
check_dripping(const struct herod *h, size_t door, const char *begin)
{
	int fd = doors[door](h);

	send_text(fd, begin);
	wait_for(at_end(fd) || (send(fd, "a", 1, MSG_NOSIGNAL), false));
	close(fd);
}

void
test_slow_heads_slow_bodies_and_silence_have_a_deadline(void)
{
	struct herod *h = start("request_timeout = 0.5\n");
	size_t door;
	int fd;

	for (door = 0; door < DOORS; door++) {
		check_dripping(h, door, GET "X: ");
		check_dripping(
		    h, door, POST "Content-Length: 1000000\r\n\r\n{");
		check_dripping(h, door, CHUNKED "fffff\r\n");
		fd = doors[door](h);
		send_text(fd, GET "\r\n");
		check_has(recv_all(fd), "\r\n\r\nok\n"); /* kept, then not */
		close(fd);
	}
	herod_stop(h);
}
