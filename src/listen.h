/*
 * Listening sockets: accept in bounded bites, pause when descriptors run
 * out, clean up after ourselves.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include <ev.h>

#include "err.h"

struct listeners;

/* fd is the callee's: non-blocking, close-on-exec, just accepted. */
typedef void (*accepted_fn)(void *arg, int fd);

struct listeners *listeners_new(
    struct ev_loop *loop, accepted_fn fn, void *arg);

/*
 * Listens on an address (sock.h), or goes on with
 * fd, a socket that listens there already (-1: none; taken over).  A Unix
 * socket whose path has vanished, before or later, is made anew.  Returns the
 * descriptor, which stays ours, or -1 with errno and a refusal.
 */
int listeners_add(
    struct listeners *ls, const char *address, int fd, struct err *e);

/* While paused, connections wait in the backlog. */
void listeners_pause(struct listeners *ls, bool paused);

/* Stops listening and removes the Unix sockets that are still ours. */
void listeners_close(struct listeners *ls);

/* Closes the descriptors; what was not closed before stays for the next
 * herod: paths are not removed. */
void listeners_free(struct listeners *ls);

/* Whether herod would listen there at all, with or without a key for those who
 * call from elsewhere: 0, or -1 with a refusal. */
int listen_check(const char *address, bool keys, struct err *e);

#endif
