/*
 * Connections that speak TLS, made plain in our loop: the bytes that the peer
 * means come out of a socket that is read and written like any other.
 */
#ifndef TLS_DOOR_H
#define TLS_DOOR_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "settings.h"
#include "tls.h"

struct tls_door;
struct tls_link; /* one connection */

struct tls_door_ops {
	/* It speaks: fd is the callee's; subject as tls_pipe_subject(). */
	void (*ready)(void *client, int fd, const char *subject);
	/* It never will; the callee calls tls_link_leave(). */
	void (*failed)(void *client, const char *why);
	/* One whose client has left is over; place: of tls_link_leave(). */
	void (*gone)(void *arg, void *place);
};

/* ops and arg stay the caller's.  A peer may take timeout seconds, borrowed
 * like ops, to read the last when its client has left. */
struct tls_door *tls_door_new(struct ev_loop *loop, const double *timeout,
    const struct tls_door_ops *ops, void *arg);
void tls_door_free(struct tls_door *d);

/* What the configuration says, its files read anew; NULL when it says nothing,
 * or with a sentence in *e that names the file. */
struct tls_credentials *tls_door_read(
    const struct daemon_conf *conf, struct err *e);

/* For those who come from now on; a reference is taken over.  NULL: none. */
void tls_door_set(struct tls_door *d, struct tls_credentials *stolen);
bool tls_door_is_open(const struct tls_door *d);

/* When the certificate ends, Unix seconds; 0 without one. */
double tls_door_valid_until(const struct tls_door *d);

/* fd: connected, non-blocking, nothing read; it is ours from here. */
struct tls_link *tls_link_new(struct tls_door *d, int fd, void *client);

/* The client knows of l no more.  What it has written before it closed its
 * descriptor still goes to the peer; gone() is told, maybe at once, that the
 * place is free. */
void tls_link_leave(struct tls_link *l, bool is_guest, void *place);

/* How many are still sending although their client has left; of these, whose
 * clients were guests. */
size_t tls_door_leaving(const struct tls_door *d);
size_t tls_door_leaving_guests(const struct tls_door *d);

#endif
