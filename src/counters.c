/* Counters: the table and the numbers. */
#include "counters.h"

const struct counter_row counter_rows[COUNTER_COUNT] = {
#define COUNTER(name, meaning) {#name, meaning},
#include "counters.def"
#undef COUNTER
};

unsigned long long counters[COUNTER_COUNT];
