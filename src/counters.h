/*
 * Counters (counters.def): plain numbers, one set in a process.
 */
#ifndef COUNTERS_H
#define COUNTERS_H

enum counter {
#define COUNTER(name, meaning) COUNTER_##name,
#include "counters.def"
#undef COUNTER
	COUNTER_COUNT
};

struct counter_row {
	const char *name, *meaning;
};

extern const struct counter_row counter_rows[COUNTER_COUNT];
extern unsigned long long counters[COUNTER_COUNT];

#define counter_add(name, n) (counters[COUNTER_##name] += (n))

#endif
