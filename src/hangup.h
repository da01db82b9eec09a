/*
 * Notices that the other end of a connection has gone for good while we do
 * not read from it: it has stopped sending, or its request is in work.
 */
#ifndef HANGUP_H
#define HANGUP_H

#include <stdbool.h>

#include <ev.h>

struct hangups;

/* Part of what is watched; begin with zeroes. */
struct hangup {
	int fd;
	bool watched;
	void *arg;
	struct hangups *all;
	ev_timer look; /* while it is only shut for writing */
};

/* fn(w->arg) is called once when the other end is closed, not only shut for
 * writing. */
struct hangups *hangups_new(struct ev_loop *loop, void (*fn)(void *arg));
void hangups_free(struct hangups *h);

void hangup_watch(struct hangups *h, struct hangup *w, int fd, void *arg);

/* Before fd is closed or w is freed, watched or not. */
void hangup_forget(struct hangups *h, struct hangup *w);

#endif
