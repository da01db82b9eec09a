/*
 * Turns of the loop: how long they take, and what takes it.
 *
 * Whoever hands work to others marks it by DOING(), which costs a look at a
 * coarse clock.  A turn that holds up everybody for longer than STALL_SECONDS
 * is told in the log, with what it was busy with.
 */
#ifndef TURNS_H
#define TURNS_H

#include <ev.h>

#include "timing.h"

#define STALL_SECONDS 0.05

/*
 * Once in a process, before anybody else starts a watcher of the lowest or
 * highest priority: a turn is then all that they do.  Until turns_free().
 */
void turns_watch(struct ev_loop *loop);
void turns_free(struct ev_loop *loop);

/* How long turns took, and the longest one; seconds. */
const struct timing *turns_timing(void);
double turns_longest(void);

/* What herod is doing: "RPC method", "ping".  Both texts are kept, not
 * copied. */
struct doing {
	const char *kind, *name;
};

/* It does that from here to doing_end(), which gets what this returned. */
struct doing doing_begin(const char *kind, const char *name);
void doing_end(const struct doing *before);

/* The same to the end of the block; a declaration. */
#define DOING(kind, name) \
	__attribute__((cleanup(doing_end), unused)) \
	const struct doing before_doing_ = doing_begin((kind), (name))

#endif
