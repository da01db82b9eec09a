/*
 * HTTP: libmicrohttpd in our loop.  Heads are checked, bodies collected
 * within limits and deadlines; routes answer whole requests, at once or in
 * a later turn.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "err.h"
#include "settings.h"

struct http;

/* One request, from its last byte to its answer. */
struct http_request {
	void *client; /* http_add()'s, or who stands in for it */
	void *stand_in; /* what authorize() made, or NULL */
	const char *body; /* with a NUL behind it */
	size_t len;
	void *arg; /* the route's own */
};

struct http_route {
	const char *method; /* NULL ends the table; GET serves HEAD, too */
	const char *path;
	bool json; /* the body must be application/json */
	/* To be answered by http_reply(), now or later, once. */
	void (*handle)(void *arg, struct http_request *r);
};

/* Why a request is refused, without being handled. */
struct http_refusal {
	int status;
	const char *why; /* a sentence */
	const char *allow; /* methods of the path, or NULL */
	double wait; /* seconds until it may be asked again, or 0 */
};

struct http_ops {
	/*
	 * A request has the header Authorization.  True, maybe with a client
	 * that stands in for the connection's (done() frees it), or false and
	 * a refusal whose sentence lasts until the next call.
	 */
	bool (*authorize)(void *client, const char *authorization,
	    void **stand_in, struct http_refusal *no);
	/* The request is over, handled or not, answered or not: it is freed
	 * next. */
	void (*done)(struct http_request *r);
	/* The connection of http_add() is over. */
	void (*closed)(void *client);
};

/* conf, routes and ops stay the caller's; arg is for routes.  The library is
 * loaded with the first connection. */
struct http *http_new(struct ev_loop *loop, const struct daemon_conf *conf,
    const struct http_route *routes, const struct http_ops *ops, void *arg);
void http_free(struct http *h);

/* A connected, non-blocking socket with nothing read yet; it is ours from
 * here.  closed(client) is called in any case, maybe at once. */
void http_add(struct http *h, int fd, void *client);

/* Answers; body is free(3)d later, NULL for none. */
void http_reply(struct http_request *r, int status, const char *type,
    char *stolen, size_t len);

/* ---- what was asked ---- */

/* Each name=value of the query, decoded; no value is "". */
void http_query(const struct http_request *r,
    void (*fn)(void *arg, const char *name, const char *value), void *arg);

/* A header's value, or NULL. */
const char *http_header(const struct http_request *r, const char *name);

/* ---- answers without an end ---- */

struct http_stream_ops {
	/* All has left, after http_stream_put() had no room. */
	void (*room)(void *arg);
	/* It ends by us: a last text may be put. */
	void (*ending)(void *arg);
	/* It is over: nothing may be put any more. */
	void (*closed)(void *arg);
};

/* Answers, from within the route, with 200 and a body that begins with the
 * text, which is free(3)d.  False: with 503, max_output_all; arg is not
 * used then.  No deadline holds until it ends. */
bool http_stream(struct http_request *r, const char *type, char *stolen,
    size_t len, const struct http_stream_ops *ops, void *arg);

/* More of it, copied.  False, taking nothing: more than most bytes would
 * wait for the reader, or more than max_output_all for all. */
bool http_stream_put(
    struct http_request *r, const char *text, size_t len, size_t most);

/* What waits still leaves; what is put from now on does not. */
void http_stream_end(struct http_request *r);

/* Each that did not end; fn may end it. */
void http_streams(
    struct http *h, void (*fn)(struct http_request *r, void *arg), void *arg);

/* Each request that a route has and did not answer yet; fn may answer. */
void http_waiting(struct http *h, void (*fn)(struct http_request *r));

/* How many answers had that status, 100 to 599, since herod began. */
unsigned long long http_answers(int status);

/* Of the one that is loaded, or else that we were built with. */
const char *http_library_version(void);

#endif
