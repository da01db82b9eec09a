/*
 * The clock that decides: seconds that nobody sets, from an unknown start.
 * Wall clock time (ev_time()) is only for showing, and for what must be
 * told to others or outlive herod.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <time.h>

static inline double
clock_monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds after 1970, for what must outlive herod. */
static inline double
clock_wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
