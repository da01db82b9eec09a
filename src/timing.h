/*
 * How long things take: histograms as Prometheus has them, cumulative buckets
 * with a sum and a count.
 */
#ifndef TIMING_H
#define TIMING_H

#include <stddef.h>

#define TIMING_BUCKETS 9

/* Upper bounds in seconds; what is longer counts in no bucket. */
extern const double timing_bounds[TIMING_BUCKETS];

struct timing {
	unsigned long long buckets[TIMING_BUCKETS]; /* each for itself */
	unsigned long long count;
	double sum;
};

void timing_add(struct timing *t, double seconds);

#endif
