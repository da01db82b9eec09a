/*
 * When a process that ended by itself is started again: delays, how often is
 * too often, and how many of all runners at once.
 *
 * Numbers only; what follows from them is decided in runner.c.  Times are
 * those of clock_monotonic().
 */
#ifndef RESTART_H
#define RESTART_H

#include <stdbool.h>

#include "settings.h"

/* Seconds until the next try after so many failures in a row; a little
 * more or less each time, so that what fell together does not rise
 * together. */
double restart_delay(const struct runner_conf *conf, unsigned failures);

/* The same when herod had no room for the process (pids, descriptors,
 * memory): that has nothing to do with the runner, nor with its settings. */
double shortage_delay(unsigned shortages);

/* The last deaths of an instance, for flap_limit.  All 0 at first. */
struct flaps {
	double *times; /* a ring of size; NULL before the first */
	unsigned size, n, next;
};

/* One more death; true: flap_limit of them within flap_window. */
bool flaps_add(struct flaps *f, const struct runner_conf *conf, double now);
void flaps_forget(struct flaps *f);

/* When the last of them were, at most max, oldest first; returns how many. */
unsigned flaps_list(const struct flaps *f, double *times, unsigned max);

/* Takes turns, so many a second and at most a second's worth at once.  All
 * 0 at first. */
struct turns {
	double next;
};

/* Seconds until the turn that this takes; 0: now. */
double turns_take(struct turns *t, long long rate, double now);

#endif
