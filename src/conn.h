/*
 * Line connections: buffered peers that send lines and get texts.
 *
 * Knows nothing of what the lines say.  Work is bounded per turn of the
 * loop and per peer; what is sent is collected and leaves in one write a
 * turn; a peer that does not read is not read from; a line that is too
 * long or too slow ends the connection.
 */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "settings.h"

struct conn;
struct conns;

/* How much of what a peer asked for is still open. */
enum conn_load {
	CONN_IDLE, /* nothing: may go when it has sent its last */
	CONN_BUSY, /* something: is kept for the answers */
	CONN_FULL /* too much to take more lines */
};

struct conn_ops {
	/* A whole line that is not blank; a NUL is behind it. */
	void (*line)(struct conn *c, char *text, size_t len);
	/* The connection ends when what these send has left. */
	void (*too_long)(struct conn *c); /* a line passed max_request */
	void (*too_slow)(struct conn *c); /* ... took request_timeout */
	enum conn_load (*load)(const struct conn *c);
	void (*sending)(struct conn *c); /* before anything leaves */
	/* Most of what was sent has left, after much had waited; or some of
	 * it, after conn_want_room(). */
	void (*caught_up)(struct conn *c);
	/* The end, between turns or in conns_free(): c is freed next. */
	void (*closed)(struct conn *c);
};

/* All line connections of a loop.  conf and ops stay the caller's. */
struct conns *conns_new(struct ev_loop *loop, const struct daemon_conf *conf,
    const struct conn_ops *ops);
void conns_free(struct conns *cs);

/* A connected, non-blocking socket, which is ours from here.  name is for
 * the log and is copied. */
struct conn *conn_new(struct conns *cs, int fd, const char *name, void *arg);
void *conn_arg(const struct conn *c);

/* Queues a text, which is taken over; NULL only says that the load has
 * changed.  A peer that lets more than max_output wait is cut off. */
void conn_send(struct conn *c, char *stolen, size_t len);

/* Bytes that wait to be sent. */
size_t conn_waiting(const struct conn *c);

/* Something waits, and more is to be sent: caught_up() will tell when. */
void conn_want_room(struct conn *c);

/* What another process needs to go on with a connection. */
struct conn_rest {
	int fd; /* stays the connection's */
	bool eof; /* the peer has sent its last */
	const char *input, *output; /* not taken yet, not sent yet */
	size_t input_len, output_len;
};

/* Sends what it can, and tells nobody that there is room again.  False: there
 * is nothing to go on with.  The bytes are borrowed until c is used again. */
bool conn_leave(struct conn *c, struct conn_rest *rest);

/* A new one takes the input that is left of another, whose output must have
 * been sent by it before. */
void conn_go_on(struct conn *c, const struct conn_rest *rest);

/* No more lines: the connection closes when all has been sent. */
void conn_end(struct conn *c, const char *reason);

#endif
