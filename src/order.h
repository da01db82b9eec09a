/*
 * Order of start and stop: for whom a runner waits (settings requires,
 * wants and after), who goes down with it, who has to be down before it.
 *
 * Nothing is kept here: all of it follows from settings and states.
 */
#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "runner.h"

enum order {
	ORDER_GO,
	ORDER_WAIT, /* for what will come */
	ORDER_DOWN, /* something required is down, as wanted */
	ORDER_FAILED /* something required has failed for good */
};

/* May it start now?  Otherwise *why says for whom it waits, or who failed
 * and why. */
enum order order_of_start(const struct runner *r, char *why, size_t size);

/* A runner that depends on it and is on its way down, which it outlives;
 * NULL: there is none. */
const struct runner *order_holder(const struct runner *r);

/* The next runner that has to be started for r: one that it requires or
 * wants and that is neither as it should be nor on its way.  *from begins
 * at 0; NULL behind the last. */
struct runner *order_missing(const struct runner *r, size_t *from);

/* A runner that it requires to stay up is not as it should be: true, and why
 * says which ("requires db, which is BACKOFF"). */
bool order_lacks(const struct runner *r, char *why, size_t size);

/* Does d require r to stay up? */
bool order_requires(const struct runner *d, const struct runner *r);

/* Sorts a list of runners so that each comes behind those it depends on;
 * the others stay as they are. */
void order_sort(struct runner **list, size_t n);

/* Refuses settings that would close a cycle, or require somebody unknown. */
int order_check(struct runners *rs, const char *name,
    const struct runner_conf *conf, struct err *e);

#endif
