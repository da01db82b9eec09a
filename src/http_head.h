/*
 * What the head of an HTTP request says, and whether we go on with it:
 * framing that two readers could understand differently, names that are
 * not ours (DNS rebinding) and pages of other sites are refused.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_BODY_TOO_LONG "the body is longer than max_request"

/* Begin with zeroes; the texts stay the caller's. */
struct http_head {
	const char *version; /* "HTTP/1.1" */
	const char *method; /* or NULL: any */
	const char *host, *origin, *fetch_site;
	const char *content_type, *content_length, *content_encoding;
	const char *transfer_encoding;
	const char *authorization, *expect;
	bool doubled; /* one of these stands twice */
	bool malformed; /* a name that is no token */
	bool control; /* a byte that no value may have */
	const char *target_fault; /* a sentence, or NULL */
	/* Of a target that is a URL, "" if too long; or Host without blanks. */
	char authority[300];
	/*
	 * Where the line before ended, when all are texts that stand one
	 * behind the other as they came, each with its CR and LF made NULs
	 * (libmicrohttpd 0.9); begin with the end of version.  NULL: they are
	 * not.  So bytes that no text shows are noticed: a NUL with more
	 * behind it, an LF without CR, a line without a name, a folded one.
	 */
	const char *line_end;
	bool hidden; /* there were such */
};

void http_head_add(struct http_head *h, const char *name, const char *value);

/* The path of a request's target: that of a whole URL, too, whose host counts
 * instead of Host (RFC 9112, section 3.2). */
const char *http_head_target(struct http_head *h, const char *target);

/* What a head is held against. */
struct http_house {
	const char *own_name; /* the host's */
	char *const *origins; /* pages of these may ask, too; NULL: none */
	size_t max_body; /* bytes */
};

/* 0, or the status to refuse with and in *why a sentence: 400, 403, 411,
 * 413, 415, 417, 421 or 501. */
int http_head_check(const struct http_head *h, const struct http_house *house,
    const char **why);

/* It comes from a page of one of these origins. */
bool http_head_is_from(const struct http_head *h, char *const *origins);

/* A page of ours, one of these origins, or no page at all. */
bool http_head_page_may_ask(const struct http_head *h, char *const *origins);

/* A body follows. */
bool http_head_has_body(const struct http_head *h);

/* application/json, perhaps with charset=utf-8. */
bool media_type_is_json(const char *type);

#endif
