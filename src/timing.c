#include "timing.h"

const double timing_bounds[TIMING_BUCKETS] = {
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1, 10};

void
timing_add(struct timing *t, double seconds)
{
	size_t i;

	t->count++;
	t->sum += seconds;
	for (i = 0; i < TIMING_BUCKETS && seconds > timing_bounds[i]; i++)
		;
	if (i < TIMING_BUCKETS)
		t->buckets[i]++;
}
