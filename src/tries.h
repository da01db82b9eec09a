/*
 * Wrong tries, counted by address: who has had too many waits, whatever right
 * ones come between.  At most TRIES_MAX addresses are remembered, the latest.
 */
#ifndef TRIES_H
#define TRIES_H

#include <stddef.h>

#define TRIES_MAX 1024

struct tries;

/* free_tries: so many wrong ones make nobody wait. */
struct tries *tries_new(unsigned free_tries);
void tries_free(struct tries *t);

/* Seconds until the next one is looked at, at the monotonic time now; 0: it may
 * come. */
double tries_wait(struct tries *t, const char *from, double now);

void tries_wrong(struct tries *t, const char *from, double now);

#endif
