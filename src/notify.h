/*
 * What processes tell by sd_notify(3): one datagram socket for all, whose
 * senders the kernel names.
 *
 * A member is a process that may tell: it, its session or its descendants.
 * What anyone else sends is thrown away and logged.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/tree.h>
#include <sys/types.h>

#include <ev.h>

#include "err.h"

#define NOTIFY_STATUS_SIZE 256

/* What a datagram says. */
struct notify_message {
	bool ready, reloading, stopping;
	bool alive; /* WATCHDOG=1 */
	bool trouble; /* WATCHDOG=trigger */
	bool has_status;
	char status[NOTIFY_STATUS_SIZE]; /* cut */
	pid_t main_pid; /* 0: not told */
	double extend; /* seconds; 0: not told */
	double watchdog; /* seconds; < 0: not told */
};

/* Reads a datagram; what is not known is left out. */
void notify_read(const char *text, size_t len, struct notify_message *m);

struct notify_member {
	RB_ENTRY(notify_member) entry;
	pid_t pid; /* leader of its session */
	void (*hear)(void *arg, const struct notify_message *m);
	void *arg;
};

struct notify;
struct notify *notify_new(struct ev_loop *loop);
void notify_free(struct notify *n);

/*
 * Opens the socket at path, or in the abstract name space where that is too
 * long; held is one that outlived us (taken over) or -1.  Returns the
 * descriptor, which stays n's, or -1 with a refusal.
 */
int notify_open(struct notify *n, const char *path, int held, struct err *e);

int notify_fd(const struct notify *n);

/* Datagrams thrown away because of who sent them. */
unsigned long notify_rejected(const struct notify *n);

/* For NOTIFY_SOCKET: a path, or @ and a name; NULL before notify_open(). */
const char *notify_address(const struct notify *n);

/* It was executed, or found; m stays the caller's until notify_leave(),
 * which may be called for one that has not joined.  What it told before it
 * joined, up to some seconds ago, is heard then. */
void notify_join(struct notify *n, struct notify_member *m);
void notify_leave(struct notify *n, struct notify_member *m);

/* Does this process belong to the member? */
bool notify_belongs(const struct notify_member *m, pid_t pid);

#endif
