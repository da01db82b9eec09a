/*
 * When a schedule ticks: a cron line in a time zone, or whole multiples of a
 * time since 1970, so that all who count agree.  Times are Unix milliseconds.
 *
 * A local time that is left out (clocks go forward) comes right after the gap;
 * one that is there twice (clocks go back) comes at the first, but for lines
 * that mean each hour, which are about time that passes.
 */
#ifndef WHEN_H
#define WHEN_H

#include <stdbool.h>

#include "cron.h"
#include "err.h"

#define WHEN_NEVER 0

struct when {
	long long every; /* ms; 0: cron */
	struct cron cron;
	const char *zone; /* of cron, borrowed; NULL: the system's */
};

struct schedule_conf;

/* As its settings say; it borrows from them. */
void when_of(struct when *w, const struct schedule_conf *c);

/* The first tick after that time, or WHEN_NEVER. */
long long when_next(const struct when *w, long long after);

/* The last tick after one and not after the other, or WHEN_NEVER. */
long long when_last(const struct when *w, long long after, long long until);

/* Least time between two ticks as a rule, ms. */
long long when_least_gap(const struct when *w);

/* Does the system have a time zone of that name (tzdata)?  Refuses if not. */
int zone_check(const char *name, struct err *e);

#endif
