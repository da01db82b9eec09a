/*
 * Open connections on their way from one herod to the next (heroctl
 * upgrade).
 *
 * Whoever ends adds each connection: its descriptor, what is known of it,
 * bytes that came in and are still to be taken, bytes that are still to be
 * sent.  All of it waits in a socket, as unix(7) does with descriptors in
 * flight, which herod-keeper keeps meanwhile; whoever begins reads it.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct handover;

struct handed {
	int fd;
	json_t *about; /* an object of the caller's own */
	const char *input, *output; /* bytes; NULL with length 0 */
	size_t input_len, output_len;
};

/* ---- for who ends ---- */

/* about: an object on the whole; taken over. */
struct handover *handover_new(json_t *stolen_about);

/* All of it stays the caller's; the descriptor must stay open until
 * handover_close(). */
void handover_add(struct handover *h, const struct handed *one);

/* The descriptor that holds it all, for handover_open(), or -1 after saying
 * why in the log.  h is freed.  Connections that unix(7) does not take (more
 * in flight than RLIMIT_NOFILE) are left out, the last ones first. */
int handover_close(struct handover *h);

/* ---- for who begins ---- */

/* fd is taken over.  NULL, saying why in the log, when it does not hold what
 * this herod understands. */
struct handover *handover_open(int fd);

/* Borrowed. */
const json_t *handover_about(const struct handover *h);

/* The next connection, in the order of adding; its fd is the caller's then,
 * the rest stays ours until the next call.  False: that was the last. */
bool handover_next(struct handover *h, struct handed *one);

/* Closes what was not taken. */
void handover_free(struct handover *h);

#endif
