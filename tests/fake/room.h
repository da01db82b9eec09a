/*
 * A room with the doors of herod, fake handlers behind them, and visitors
 * on real sockets in the same process: whoever waits turns the loop.
 */
#ifndef FAKE_ROOM_H
#define FAKE_ROOM_H

#include "doors.h"
#include "fake/handlers.h"
#include "sock.h"

struct room {
	struct ev_loop *loop;
	struct daemon_conf conf;
	struct services services;
	struct doors *doors;
	struct address address; /* of the last door opened */
};

/* address as for doors_listen(); its port may be 0.  Settings in conf may
 * be changed between the two. */
void room_init(struct room *r);
void room_open(struct room *r, const char *address);
void room_close(struct room *r);

/* One turn of the loop that does not wait. */
void room_turn(struct room *r);

/* A connected, non-blocking socket. */
int visit(struct room *r);

/* Sends all of it, waiting where needed. */
void say(struct room *r, int fd, const char *text);
void say_bytes(struct room *r, int fd, const char *text, size_t len);

/* The next line without its newline; "" when the peer has closed.  Valid
 * until the next call. */
const char *hear(struct room *r, int fd);

/* The head and body of the next HTTP answer, as hear(). */
const char *hear_http(struct room *r, int fd);

/* Says a line and hears one. */
const char *ask(struct room *r, int fd, const char *line);

/* The peer has closed, and nothing is left to hear. */
bool is_closed(struct room *r, int fd);

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}"
#define PONG "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"pong\"}"

#endif
