/*
 * The doors: connections come in, are told apart by their first byte, and
 * become lines or HTTP; both end in rpc_take().
 */
#ifndef DOORS_H
#define DOORS_H

#include "rpc.h"

struct doors;
struct tls_door;

/* services stays the caller's; its loop and conf are used. */
struct doors *doors_new(const struct services *services);

/*
 * Listens on an address, or goes on with fd, which listens there already
 * (-1: none; taken over).  Returns the descriptor, for keeper_store() and
 * address_of(), which stays ours; or -1 with errno and a refusal.
 */
int doors_listen(struct doors *d, const char *address, int fd, struct err *e);

/* Their TLS, which speaks once it has a certificate (tls_door_set()). */
struct tls_door *doors_tls(const struct doors *d);

/* Streams of pages that may ask no more (cors_origins) end. */
void doors_judge_pages(struct doors *d);

/* New connections wait, until it is called with false. */
void doors_hold(struct doors *d, bool hold);

/* No more connections; Unix sockets are removed.  The open ones stay. */
void doors_shut(struct doors *d);

/* Sends what can be sent at once and closes everything.  Unix sockets that
 * were not shut stay for the next herod. */
void doors_free(struct doors *d);

/*
 * herod makes way for another: what is open is written into h, with what can
 * be asked of the next one again; what cannot is refused.  Connections of HTTP,
 * which allows that at any time between requests, and of TLS are closed.  No
 * loop may be run after that; h must be closed (handover_close()) before this
 * process ends.
 */
struct handover;
void doors_leave(struct doors *d, struct handover *h);

/* Goes on with those of the herod before. */
void doors_take_over(struct doors *d, struct handover *h);

/* Connections open now. */
size_t doors_count(const struct doors *d);

/* The same by where they came in (TLS: by either) and what they speak. */
enum way { WAY_TCP, WAY_UNIX, WAY_TLS, WAYS };
enum talk { TALK_NONE, TALK_LINES, TALK_HTTP, TALKS };
void doors_tally(const struct doors *d, size_t tally[WAYS][TALKS]);

#endif
