/*
 * Calls of other herods on the same Redis, and calls to them.
 *
 * A call goes into the other's list in Redis and its answer into ours
 * (queue.h), so nodes need no way to each other but Redis.  Who asks has the
 * scope of the one for whom it asks, but never more than user: nobody is an
 * admin of another machine by this.
 */
#ifndef RPC_NODE_H
#define RPC_NODE_H

#include <stdbool.h>

struct call;
struct err;
struct peers;
struct services;

/* services->workers must be there; sets services->peers. */
struct peers *peers_new(struct services *services);
void peers_free(struct peers *p);

/* Answers the call as the node of that name does (the same method with the same
 * params); otherwise when there is none that is alive.  False, and the call is
 * not answered: Redis is away, or the call came from a node itself. */
bool peers_forward(
    struct call *call, const char *node, const struct err *otherwise);

#endif
