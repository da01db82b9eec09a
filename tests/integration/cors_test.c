/*
 * Pages of other sites: none may ask, but those of the origins that
 * cors_origins names, which a browser's questions before (preflights) are
 * answered for.  What a real browser does with it: browser_test.
 */
#include <string.h>
#include <unistd.h>

#include "herod.h"

#define OPS "https://ops.example.org"
#define PING "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"
#define CROSS "Sec-Fetch-Site: cross-site\r\n"

static struct herod *
start(void)
{
	return herod_start("[herod]\ncors_origins = " OPS "\n");
}

static const char *
ask(struct herod *h, const char *method, const char *path, const char *headers)
{
	return http(h,
	    "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "%s\r\n",
	    method, path, headers);
}

static const char *
preflight(struct herod *h, const char *path, const char *origin)
{
	return ask(h, "OPTIONS", path,
	    text("Origin: %s\r\n" CROSS
		 "Access-Control-Request-Method: POST\r\n"
		 "Access-Control-Request-Headers: content-type\r\n",
		origin));
}

static const char *
post(struct herod *h, const char *origin)
{
	return http(h,
	    "POST /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "Origin: %s\r\n" CROSS "Content-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n" PING,
	    origin, strlen(PING));
}

static void
check_lacks(const char *answer, const char *part)
{
	if (strstr(answer, part) != NULL)
		check_fail(__FILE__, __LINE__, "%s is in %s", part, answer);
}

/* ---- promises ---- */

void
test_without_the_setting_no_page_of_others_may_ask(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *answer = preflight(h, "/rpc", OPS);

	check_has(answer, "HTTP/1.1 403 ");
	check_lacks(answer, "Access-Control");
	check_lacks(answer, "Vary");
	answer = post(h, OPS);
	check_has(answer, "HTTP/1.1 403 ");
	check_lacks(answer, "Access-Control");
	answer = ask(h, "OPTIONS", "/rpc", "");
	check_has(answer, "HTTP/1.1 405 ");
	check_has(answer, "\r\nAllow: POST\r\n");
	herod_stop(h);
}

void
test_a_named_origin_may_ask_and_read_the_answer(void)
{
	struct herod *h = start();
	const char *answer = post(h, OPS);

	check_has(answer, "HTTP/1.1 200 ");
	check_has(answer, "\"pong\"");
	check_has(answer, "\r\nAccess-Control-Allow-Origin: " OPS "\r\n");
	check_has(answer, "\r\nVary: Origin\r\n");
	/* No cookie is ours: a key is shown, or nothing is. */
	check_lacks(answer, "Access-Control-Allow-Credentials");
	/* Refusals can be read as well. */
	answer = ask(h, "GET", "/rpc", "Origin: " OPS "\r\n" CROSS);
	check_has(answer, "HTTP/1.1 405 ");
	check_has(answer, "\r\nAccess-Control-Allow-Origin: " OPS "\r\n");
	answer = ask(h, "GET", "/events?topics=nix",
	    "Origin: " OPS "\r\n" CROSS "Authorization: Bearer x\r\n");
	check_has(answer, "HTTP/1.1 401 ");
	check_has(answer, "\r\nAccess-Control-Allow-Origin: " OPS "\r\n");
	herod_stop(h);
}

void
test_others_may_not_although_one_may(void)
{
	static const char *const origins[] = {"http://ops.example.org",
	    OPS ":8443", OPS ".evil.example", "https://evil.example", "null",
	    "*"};
	struct herod *h = start();
	const char *answer;
	size_t i;

	for (i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
		answer = post(h, origins[i]);
		check_has(answer, "HTTP/1.1 403 ");
		check_lacks(answer, "Access-Control");
		answer = preflight(h, "/rpc", origins[i]);
		check_has(answer, "HTTP/1.1 403 ");
		check_lacks(answer, "Access-Control");
	}
	check_has(ask(h, "GET", "/", CROSS), "HTTP/1.1 403 ");
	check_lacks(ask(h, "GET", "/", ""), "Access-Control");
	herod_stop(h);
}

void
test_preflights_are_answered_for_each_path(void)
{
	static const struct {
		const char *path, *method;
	} paths[] = {{"/", "POST"}, {"/rpc", "POST"}, {"/events", "GET"}};
	struct herod *h = start();
	const char *answer;
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		answer = preflight(h, paths[i].path, OPS);
		check_has(answer, "HTTP/1.1 204 ");
		check_has(answer, "Access-Control-Allow-Origin: " OPS "\r\n");
		check_has(strstr(answer, "\r\nAccess-Control-Allow-Methods: "),
		    paths[i].method);
		check_has(answer,
		    "\r\nAccess-Control-Allow-Headers: Authorization, "
		    "Content-Type, Last-Event-ID\r\n");
		check_lacks(answer, "Private-Network");
	}
	check_has(preflight(h, "/nothing", OPS), "HTTP/1.1 404 ");
	/* No preflight, so no answer to one. */
	check_has(
	    ask(h, "OPTIONS", "/rpc", "Origin: " OPS "\r\n"), "HTTP/1.1 405 ");
	check_has(ask(h, "OPTIONS", "/rpc",
		      "Origin: " OPS "\r\n"
		      "Access-Control-Request-Method: POST\r\n"
		      "Access-Control-Request-Private-Network: true\r\n"),
	    "\r\nAccess-Control-Allow-Private-Network: true\r\n");
	herod_stop(h);
}

/* A stream; its head has been read. */
static int
follow_events(struct herod *h, const char *headers, const char **head)
{
	const char *line;
	int fd = door_tcp(h);

	*head = "";
	send_text(fd,
	    text("GET /events?topics=runner HTTP/1.1\r\nHost: localhost\r\n"
		 "%s\r\n",
		headers));
	while (strcmp(line = recv_line(fd), "\r") != 0)
		*head = text("%s%s\n", *head, line);
	check_has(*head, "HTTP/1.1 200 ");
	return fd;
}

void
test_a_named_origin_may_follow_events(void)
{
	struct herod *h = start();
	const char *head;
	int fd = follow_events(h, "Origin: " OPS "\r\n" CROSS, &head);

	check_has(head, "Access-Control-Allow-Origin: " OPS "\r\n");
	close(fd);
	herod_stop(h);
}

/* A kept connection may serve pages of several sites, behind a proxy. */
void
test_each_request_of_a_connection_is_judged_by_its_own_origin(void)
{
	struct herod *h = start();
	const char *all = http(h,
	    "GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: " OPS
	    "\r\n\r\n"
	    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n\r\n");
	const char *second = strstr(all + 1, "HTTP/1.1 200");

	check(second != NULL);
	check_has(all, "Access-Control-Allow-Origin: " OPS);
	check_lacks(second, "Access-Control");
	herod_stop(h);
}

void
test_a_reload_changes_who_may_ask(void)
{
	struct herod *h = start();

	check_has(post(h, OPS), "HTTP/1.1 200 ");
	write_file(h->conf, "[herod]\ncors_origins = https://other.example\n");
	check_int(heroctl(h, "reload").status, 0);
	check_has(post(h, OPS), "HTTP/1.1 403 ");
	check_has(post(h, "https://other.example"), "HTTP/1.1 200 ");
	herod_stop(h);
}

/* The last line of a stream that goes on, after something has happened. */
static void
check_goes_on(int fd)
{
	const char *line;

	while (strstr(line = recv_line(fd), "event: runner") == NULL)
		continue;
	close(fd);
}

void
test_a_reload_ends_the_streams_of_who_may_not_ask_any_more(void)
{
	struct herod *h = herod_start(
	    "[herod]\ncors_origins = " OPS ", https://other.example\n");
	const char *head;
	int ops = follow_events(h, "Origin: " OPS "\r\n" CROSS, &head),
	    other = follow_events(
		h, "Origin: https://other.example\r\n" CROSS, &head),
	    own = follow_events(h, "Origin: http://localhost\r\n", &head),
	    none = follow_events(h, "", &head);

	write_file(h->conf,
	    "[herod]\ncors_origins = https://other.example\n"
	    "[runner:new]\ncommand = sleep 1000\n");
	check_int(heroctl(h, "reload").status, 0);
	while (recv_line(ops) != NULL)
		continue;
	check_goes_on(other);
	check_goes_on(own);
	check_goes_on(none);
	close(ops);
	herod_stop(h);
}

void
test_all_origins_at_once_are_refused_and_why(void)
{
	struct ran r;

	write_file(here("star.conf"), "[herod]\ncors_origins = *\n");
	r = run("$BUILD/herod --check -c star.conf");
	check(r.status != 0);
	check_has(r.err, "cors_origins: '*' would let every page of the web");
	write_file(here("star.conf"), "[herod]\ncors_origins = " OPS "/x\n");
	r = run("$BUILD/herod --check -c star.conf");
	check(r.status != 0);
	check_has(r.err, "is not origins such as https://ops.example.org");
}
