/* Heads of HTTP requests: framing, names, origins, media types. */
#include <string.h>

#include "check.h"
#include "http_head.h"

/* Of no other site. */
static const struct http_house own = {"box.example", NULL, 1000};

/* Lines "Name: value" separated by |; the status it gets where pages of these
 * origins may ask. */
static int
judge_among(char *const *origins, const char *version, const char *lines)
{
	struct http_house house = {"box.example", origins, 1000};
	struct http_head h = {.version = version};
	char copy[512], *line, *rest = copy, *value;
	const char *why;

	strlcpy(copy, lines, sizeof(copy));
	while ((line = strsep(&rest, "|")) != NULL) {
		value = strstr(line, ": ");
		if (value == NULL)
			continue;
		*value = '\0';
		http_head_add(&h, line, value + 2);
	}
	return http_head_check(&h, &house, &why);
}

static int
judge(const char *version, const char *lines)
{
	return judge_among(NULL, version, lines);
}

static const struct {
	const char *lines;
	int status;
} heads[] = {
    {"Host: localhost", 0},
    {"Host: localhost:3030", 0},
    {"Host: LOCALHOST.:3030", 0},
    {"host: 127.0.0.1:3030", 0},
    {"Host: 10.1.2.3", 0},
    {"Host: [::1]:3030", 0},
    {"Host: [::1]", 0},
    {"Host: box.example:3030", 0},
    {"Host: Box.Example", 0},
    /* DNS rebinding. */
    {"Host: evil.example", 421},
    {"Host: localhost.evil.example", 421},
    {"Host: localhost:3030.evil", 421},
    {"Host: 127.0.0.1.evil.example", 421},
    {"Host: user@localhost", 400},
    {"Host: ::1", 421},
    {"Host: [::1", 421},
    {"Host: [::1]x", 421},
    {"Host: ", 421},
    {"Host: .", 421},
    {"X: y", 400},
    {"Host: localhost|Host: localhost", 400},
    {"Host: localhost|host: evil.example", 400},
    /* Other sites' pages. */
    {"Host: localhost:3030|Origin: http://localhost:3030", 0},
    {"Host: localhost:3030|Origin: https://LOCALHOST:3030", 0},
    {"Host: localhost:3030|Origin: http://localhost:8080", 403},
    {"Host: localhost:3030|Origin: http://localhost", 403},
    {"Host: localhost:3030|Origin: http://evil.example", 403},
    {"Host: localhost:3030|Origin: null", 403},
    {"Host: localhost:3030|Origin: ", 403},
    {"Host: localhost|Sec-Fetch-Site: cross-site", 403},
    {"Host: localhost|Sec-Fetch-Site: same-origin", 0},
    {"Host: localhost|Sec-Fetch-Site: none", 0},
    /* Framing. */
    {"Host: localhost|Content-Length: 10", 0},
    {"Host: localhost|Content-Length: 1000", 0},
    {"Host: localhost|Content-Length: 1001", 413},
    {"Host: localhost|Content-Length: 18446744073709551616", 413},
    {"Host: localhost|Content-Length: 1|Content-Length: 1", 400},
    {"Host: localhost|Content-Length: 1|Content-Length: 2", 400},
    {"Host: localhost|Content-Length: -1", 400},
    {"Host: localhost|Content-Length: +1", 400},
    {"Host: localhost|Content-Length: 1, 1", 400},
    {"Host: localhost|Content-Length: ", 400},
    {"Host: localhost|Transfer-Encoding: chunked", 0},
    {"Host: localhost|Transfer-Encoding: Chunked", 0},
    {"Host: localhost|Transfer-Encoding: gzip, chunked", 400},
    {"Host: localhost|Transfer-Encoding: identity", 400},
    {"Host: localhost|Transfer-Encoding: chunked|Content-Length: 1", 400},
    {"Host: localhost|Transfer-Encoding: chunked|Transfer-Encoding: chunked",
	400},
    {"Host: localhost|Transfer-Encoding : chunked", 400},
    {"Host: localhost|Bad Name: x", 400},
    {"Host: localhost|: x", 400},
    /* As libmicrohttpd 0.9.75 shows "Content-Length: 1\\r\\n 0". */
    {"Host: localhost|Content-Length0: 1", 400},
    {"Host: localhost|Transfer-Encodingchunked: ", 400},
    {"Host: localhost|Originhttp: //localhost", 400},
    {"Host: local\thost", 400},
    {"Host: local\vhost", 400},
    {"Host: localhost|X: a\rb", 400},
    {"Host: localhost|X: a\tb", 0},
    {"Host: localhost|Expect: 100-Continue", 0},
    {"Host: localhost|Expect: cake", 417},
    {"Host: localhost|Content-Encoding: gzip", 415},
    {"Host: localhost|Content-Encoding: identity", 0},
};

void
test_every_head_gets_its_status(void)
{
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		int status = judge("HTTP/1.1", heads[i].lines);

		if (status != heads[i].status)
			check_fail(__FILE__, __LINE__, "%s: %d, wanted %d",
			    heads[i].lines, status, heads[i].status);
	}
}

static const struct {
	const char *method, *target, *path;
	int status;
} targets[] = {
    {"GET", "/a", "/a", 0},
    {"GET", "http://localhost/a", "/a", 0},
    {"GET", "HTTPS://[::1]:3030", "/", 0},
    {"GET", "http://evil.example/a", "/a", 421},
    {"GET", "http:///a", "/a", 421},
    {"GET", "ftp://localhost/a", NULL, 400},
    {"GET", "a", NULL, 400},
    {"GET", "*", NULL, 400},
    {"OPTIONS", "*", "*", 0},
    {"BREW", "/a", "/a", 501},
    {"POST", "/a", "/a", 411},
};

void
test_a_target_is_a_path_or_a_url_of_ours(void)
{
	struct http_head h;
	const char *path, *why;
	size_t i;

	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		h = (struct http_head){
		    .version = "HTTP/1.1", .method = targets[i].method};
		http_head_add(&h, "Host", "localhost");
		path = http_head_target(&h, targets[i].target);
		if (targets[i].path != NULL)
			check_str(path, targets[i].path);
		check_int(http_head_check(&h, &own, &why), targets[i].status);
	}
}

/* As libmicrohttpd 0.9 leaves them in its buffer. */
static int
judge_lines(const char *name, const char *value, const char *end)
{
	struct http_head h = {.version = "HTTP/1.0", .line_end = name - 2};
	const char *why;

	http_head_add(&h, name, value);
	check(h.line_end == end);
	return http_head_check(&h, &own, &why);
}

void
test_bytes_that_no_text_shows_are_noticed(void)
{
	static const char good[] = "\0\0X\0 a\0\0\0\0GET";
	static const char nul[] = "\0\0X\0 a\0b\0\0\0\0";
	static const char no_name[] = "\0\0X\0 a\0\0\0 b\0\0\0\0";

	check_int(judge_lines(good + 2, good + 5, good + 6), 0);
	check_int(judge_lines(nul + 2, nul + 5, nul + 6), 400);
	check_int(judge_lines(no_name + 2, no_name + 5, no_name + 6), 400);
}

void
test_http_1_0_needs_no_host_and_knows_no_chunks(void)
{
	check_int(judge("HTTP/1.0", ""), 0);
	check_int(judge("HTTP/1.0", "Origin: http://localhost"), 403);
	check_int(judge("HTTP/1.0", "Transfer-Encoding: chunked"), 400);
}

void
test_media_types_are_parsed_not_matched(void)
{
	check(media_type_is_json("application/json"));
	check(media_type_is_json("Application/JSON"));
	check(media_type_is_json(" application/json ; charset=utf-8"));
	check(media_type_is_json("application/json;charset=\"UTF-8\""));
	check(media_type_is_json("application/json; a=b; charset=utf-8"));
	check(!media_type_is_json(NULL));
	check(!media_type_is_json(""));
	check(!media_type_is_json("text/plain; application/json"));
	check(!media_type_is_json("text/plain"));
	check(!media_type_is_json("application/jsonx"));
	check(!media_type_is_json("application/json-rpc"));
	check(!media_type_is_json("application/json, text/plain"));
	check(!media_type_is_json("application/json; charset=latin1"));
	check(!media_type_is_json("application/json; charset="));
	check(!media_type_is_json("application/json; charset=\"utf-8"));
	check(!media_type_is_json("application/json;"));
	check(!media_type_is_json("application/json x"));
}

void
test_bodies_are_announced_by_length_or_chunks(void)
{
	struct http_head h = {.version = "HTTP/1.1"};

	check(!http_head_has_body(&h));
	http_head_add(&h, "Content-Length", "0");
	check(!http_head_has_body(&h));
	h.content_length = "10";
	check(http_head_has_body(&h));
}

#define OPS "https://ops.example.org"

static const struct {
	const char *lines;
	int status;
} pages[] = {
    {"Host: localhost|Origin: " OPS, 0},
    {"Host: localhost|Origin: " OPS "|Sec-Fetch-Site: cross-site", 0},
    {"Host: localhost|Origin: http://localhost", 0},
    {"Host: localhost|Origin: http://ops.example.org", 403},
    {"Host: localhost|Origin: " OPS ":8443", 403},
    {"Host: localhost|Origin: " OPS ".evil.example", 403},
    {"Host: localhost|Origin: https://evil." OPS, 403},
    {"Host: localhost|Origin: null", 403},
    {"Host: localhost|Origin: *", 403},
    /* A link or an image on the same page: not a script's question. */
    {"Host: localhost|Sec-Fetch-Site: cross-site", 403},
    {"Host: localhost|Origin: " OPS "|Origin: " OPS, 400},
    /* The name is still to be one of ours. */
    {"Host: evil.example|Origin: " OPS, 421},
};

void
test_only_named_origins_are_allowed_beside_our_own(void)
{
	char ops[] = OPS, *origins[] = {ops, NULL};
	size_t i;

	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		int status = judge_among(origins, "HTTP/1.1", pages[i].lines);

		if (status != pages[i].status)
			check_fail(__FILE__, __LINE__, "%s: %d, wanted %d",
			    pages[i].lines, status, pages[i].status);
	}
}
