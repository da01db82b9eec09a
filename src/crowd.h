/* How many connections come from the same user or address. */
#ifndef CROWD_H
#define CROWD_H

#include <stddef.h>

struct crowds;
struct crowd; /* those of one place */

struct crowds *crowds_new(void);
void crowds_free(struct crowds *all); /* all have left */

/* from: as in struct peer. */
size_t crowd_size(const struct crowds *all, const char *from);
struct crowd *crowd_join(struct crowds *all, const char *from);
void crowd_leave(struct crowds *all, struct crowd *c);

#endif
