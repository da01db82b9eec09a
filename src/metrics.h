/*
 * Metrics: what herod knows of itself, as Prometheus reads it.
 *
 * Nobody waits for Redis here.  What only Redis knows of queues is asked
 * every few seconds while somebody scrapes, and told with its age.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stddef.h>

struct services;
struct metrics;

/* services stays the caller's.  Free it after the connection to Redis. */
struct metrics *metrics_new(const struct services *services);
void metrics_free(struct metrics *m);

/* All of them in text format 0.0.4, new; without those of queues when
 * services have no struct metrics. */
char *metrics_text(const struct services *services, size_t *len);

#endif
