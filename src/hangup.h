/*
 * Notices that the other end of a connection has gone for good while we do
 * not read from it: it has stopped sending, or its request is in work.
 */
#ifndef HANGUP_H
#define HANGUP_H

#include <ev.h>

struct hangups;

/* fn(arg) of hangup_watch() is called once when the other end is closed in
 * both directions.  For TCP this is known only after we have sent. */
struct hangups *hangups_new(struct ev_loop *loop, void (*fn)(void *arg));
void hangups_free(struct hangups *h);

void hangup_watch(struct hangups *h, int fd, void *arg);

/* Before fd is closed or arg is freed. */
void hangup_forget(struct hangups *h, int fd);

#endif
