/* Heads of HTTP requests: RFC 9110, RFC 9112 section 6, Fetch metadata. */
#include "http_head.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Beside letters and digits: in a token, and in host and port of RFC 3986. */
#define TOKEN "!#$%&'*+-.^_`|~"
#define HOST "-._~%!$&'()*+,;=:[]"

static const struct {
	const char *name; /* with a capital */
	size_t offset;
} known[] = {
    {"Host", offsetof(struct http_head, host)},
    {"Origin", offsetof(struct http_head, origin)},
    {"Sec-Fetch-Site", offsetof(struct http_head, fetch_site)},
    {"Content-Type", offsetof(struct http_head, content_type)},
    {"Content-Length", offsetof(struct http_head, content_length)},
    {"Content-Encoding", offsetof(struct http_head, content_encoding)},
    {"Transfer-Encoding", offsetof(struct http_head, transfer_encoding)},
    {"Authorization", offsetof(struct http_head, authorization)},
    {"Expect", offsetof(struct http_head, expect)},
};

/* As strspn(3), which makes a table of so many characters for each text. */
static size_t
span(const char *s, const char *marks)
{
	const char *at = s;

	while (isalnum((unsigned char)*at) ||
	    (*at != '\0' && strchr(marks, *at) != NULL))
		at++;
	return (size_t)(at - s);
}

/* CR, LF and NUL are dangerous, the other ones of no use (RFC 9110, section
 * 5.5). */
static bool
has_control(const char *value)
{
	for (; *value != '\0'; value++)
		if (((unsigned char)*value < ' ' && *value != '\t') ||
		    *value == 0x7f)
			return true;
	return false;
}

static void
follow_line(struct http_head *h, const char *name, const char *value)
{
	if (h->line_end == NULL)
		return;
	h->hidden = h->hidden || name != h->line_end + 2;
	h->line_end = value + strlen(value);
}

/* An empty line must be next, and nothing between. */
static bool
ends_oddly(const struct http_head *h)
{
	static const char ends[4]; /* CR LF CR LF */

	return h->line_end != NULL &&
	    memcmp(h->line_end, ends, sizeof(ends)) != 0;
}

/* The length of the field's name, when name begins with it, or 0. */
static size_t
begins_with(const char *name, const char *field)
{
	size_t len;

	if ((*name & ~' ') != *field) /* most are told apart by that */
		return 0;
	len = strlen(field);
	return strncasecmp(name, field, len) == 0 ? len : 0;
}

void
http_head_add(struct http_head *h, const char *name, const char *value)
{
	const char **place;
	size_t i, len;

	value = value != NULL ? value : "";
	follow_line(h, name, value);
	h->control = h->control || has_control(value);
	/* "Transfer-Encoding :" and the like: others may strip the blank. */
	if (*name == '\0' || name[span(name, TOKEN)] != '\0')
		h->malformed = true;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		len = begins_with(name, known[i].name);
		if (len == 0)
			continue;
		/* libmicrohttpd 0.9.75 appends a folded line to the name:
		 * "Transfer-Encodingchunked". */
		if (name[len] != '\0') {
			h->malformed = true;
			continue;
		}
		place = (const char **)((char *)h + known[i].offset);
		if (*place != NULL)
			h->doubled = true;
		*place = value;
	}
}

/* ---- what it asks for ---- */

/* Of RFC 9110 and 5789. */
static bool
is_known_method(const char *method)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "PUT",
	    "DELETE", "OPTIONS", "TRACE", "PATCH"};
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

/* 1.2 would be one, too (RFC 9110, section 2.5). */
static bool
is_11(const struct http_head *h)
{
	return strcmp(h->version, "HTTP/1.1") >= 0;
}

/* Behind http:// or https://, or NULL. */
static const char *
authority_of(const char *target)
{
	if (strncasecmp(target, "http://", 7) == 0)
		return target + 7;
	return strncasecmp(target, "https://", 8) == 0 ? target + 8 : NULL;
}

/* RFC 9110, section 5.5: blanks behind a value are none of it.  libmicrohttpd
 * leaves them there.  Other values that have some are refused or do no harm. */
static const char *
without_blanks(struct http_head *h, const char *host)
{
	size_t len = strlen(host);

	while (len > 0 && (host[len - 1] == ' ' || host[len - 1] == '\t'))
		len--;
	if (host[len] == '\0' || len >= sizeof(h->authority))
		return host;
	memcpy(h->authority, host, len);
	h->authority[len] = '\0';
	return h->authority;
}

const char *
http_head_target(struct http_head *h, const char *target)
{
	const char *authority = authority_of(target);
	size_t len;

	if (authority != NULL) {
		len = strcspn(authority, "/");
		if (len < sizeof(h->authority)) {
			memcpy(h->authority, authority, len);
			h->authority[len] = '\0';
		}
		/* One that is missing is a fault all the same. */
		if (h->host != NULL || !is_11(h))
			h->host = h->authority;
		return authority[len] != '\0' ? authority + len : "/";
	}
	if (h->host != NULL)
		h->host = without_blanks(h, h->host);
	if (*target != '/' &&
	    !(strcmp(target, "*") == 0 && h->method != NULL &&
		strcmp(h->method, "OPTIONS") == 0))
		h->target_fault = "the target is neither a path nor a URL";
	return target;
}

/* ---- whose name is it ---- */

/* NAME, NAME:PORT, [V6], [V6]:PORT; the name without brackets and final
 * dot.  False when it is none of these. */
static bool
host_name(const char *host, char *name, size_t size)
{
	const char *end;
	size_t len;

	if (*host == '[') {
		host++;
		len = strcspn(host, "]");
		end = host[len] == ']' ? host + len + 1 : "?";
	} else {
		len = strcspn(host, ":");
		end = host + len;
	}
	if (len == 0 || len >= size)
		return false;
	memcpy(name, host, len);
	name[len] = '\0';
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	if (*end == '\0')
		return true;
	return *end == ':' && end[1 + strspn(end + 1, "0123456789")] == '\0';
}

static bool
is_numeric(const char *name)
{
	struct in6_addr a;

	return inet_pton(AF_INET, name, &a) == 1 ||
	    inet_pton(AF_INET6, name, &a) == 1;
}

/* An address cannot be rebound by a name server; our names are ours. */
static bool
host_is_ours(const char *host, const char *own_name)
{
	char name[256];

	return host_name(host, name, sizeof(name)) &&
	    (is_numeric(name) || strcasecmp(name, "localhost") == 0 ||
		(own_name != NULL && strcasecmp(name, own_name) == 0));
}

/* The page came from where its request goes. */
static bool
origin_is_ours(const char *origin, const char *host)
{
	if (strncasecmp(origin, "http://", 7) == 0)
		return strcasecmp(origin + 7, host) == 0;
	if (strncasecmp(origin, "https://", 8) == 0)
		return strcasecmp(origin + 8, host) == 0;
	return false;
}

bool
http_head_is_from(const struct http_head *h, char *const *origins)
{
	if (origins == NULL || h->origin == NULL)
		return false;
	for (; *origins != NULL; origins++)
		if (strcmp(*origins, h->origin) == 0)
			return true;
	return false;
}

bool
http_head_page_may_ask(const struct http_head *h, char *const *origins)
{
	if (http_head_is_from(h, origins))
		return true;
	if (h->origin != NULL &&
	    (h->host == NULL || !origin_is_ours(h->origin, h->host)))
		return false;
	return h->fetch_site == NULL ||
	    strcasecmp(h->fetch_site, "cross-site") != 0;
}

/* ---- framing ---- */

static const char *
framing_fault(const struct http_head *h)
{
	if (h->malformed)
		return "a header's name is malformed";
	if (h->hidden || ends_oddly(h))
		return "a line that is folded, has a NUL or ends otherwise "
		       "than in CR LF";
	if (h->control)
		return "a header has a control character";
	if (h->target_fault != NULL)
		return h->target_fault;
	if (h->doubled)
		return "a header stands twice that must stand once";
	if (h->transfer_encoding != NULL && h->content_length != NULL)
		return "Content-Length and Transfer-Encoding together";
	if (h->transfer_encoding != NULL &&
	    (!is_11(h) || strcasecmp(h->transfer_encoding, "chunked") != 0))
		return "a Transfer-Encoding other than chunked";
	if (h->content_length != NULL &&
	    (*h->content_length == '\0' ||
		h->content_length[strspn(h->content_length, "0123456789")]))
		return "Content-Length is not a number";
	if (is_11(h) && h->host == NULL)
		return "Host is missing";
	if (h->host != NULL && h->host[span(h->host, HOST)] != '\0')
		return "Host is malformed";
	return NULL;
}

/* A call without a text is none. */
static bool
lacks_length(const struct http_head *h)
{
	return h->method != NULL && strcmp(h->method, "POST") == 0 &&
	    h->content_length == NULL && h->transfer_encoding == NULL;
}

static bool
is_too_large(const char *content_length, size_t max)
{
	return content_length != NULL &&
	    (strlen(content_length) > 18 ||
		strtoull(content_length, NULL, 10) > max);
}

int
http_head_check(
    const struct http_head *h, const struct http_house *house, const char **why)
{
	*why = framing_fault(h);
	if (*why != NULL)
		return 400;
	*why = "there is no such method";
	if (h->method != NULL && !is_known_method(h->method))
		return 501;
	*why = "that Host is not a name of ours; use localhost or an address";
	if (h->host != NULL && !host_is_ours(h->host, house->own_name))
		return 421;
	*why = "pages of other sites may not ask";
	if (!http_head_page_may_ask(h, house->origins))
		return 403;
	*why = "Content-Length is missing";
	if (lacks_length(h))
		return 411;
	*why = HTTP_BODY_TOO_LONG;
	if (is_too_large(h->content_length, house->max_body))
		return 413;
	*why = "a Content-Encoding is not understood";
	if (h->content_encoding != NULL &&
	    strcasecmp(h->content_encoding, "identity") != 0)
		return 415;
	*why = "an Expect other than 100-continue";
	if (h->expect != NULL && strcasecmp(h->expect, "100-continue") != 0)
		return 417;
	return 0;
}

bool
http_head_has_body(const struct http_head *h)
{
	return h->transfer_encoding != NULL ||
	    (h->content_length != NULL &&
		h->content_length[strspn(h->content_length, "0")] != '\0');
}

/* ---- media types ---- */

static const char *
skip_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* One ";name=value" with or without quotes; NULL when it is none, or a
 * charset other than UTF-8. */
static const char *
skip_parameter(const char *s)
{
	const char *name = skip_blanks(s + 1), *value;
	size_t name_len = span(name, TOKEN), len;
	bool quoted;

	if (name_len == 0 || name[name_len] != '=')
		return NULL;
	value = name + name_len + 1;
	quoted = *value == '"';
	value += quoted;
	len = span(value, TOKEN);
	if (len == 0 || (quoted && value[len] != '"'))
		return NULL;
	if (name_len == 7 && strncasecmp(name, "charset", 7) == 0 &&
	    !(len == 5 && strncasecmp(value, "utf-8", 5) == 0))
		return NULL;
	return skip_blanks(value + len + quoted);
}

bool
media_type_is_json(const char *type)
{
	static const char json[] = "application/json";
	const char *s;

	if (type == NULL)
		return false;
	s = skip_blanks(type);
	if (strncasecmp(s, json, sizeof(json) - 1) != 0)
		return false;
	s = skip_blanks(s + sizeof(json) - 1);
	while (s != NULL && *s == ';')
		s = skip_parameter(s);
	return s != NULL && *s == '\0';
}
