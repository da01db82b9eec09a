/*
 * Rolling restart of a runner: one instance after the other, the next one
 * when the one before is up again.
 *
 * It goes on whoever asked for it has left, and ends at the first instance
 * that does not come up, when something else is wanted of the runner, or
 * with a newer rolling restart.  One that herod's death cuts short is not
 * taken up again.
 */
#ifndef ROLLING_H
#define ROLLING_H

#include "runners.h"

struct rolling;

/* fn is called at most once, in a later turn of the loop: with the instance
 * that failed (WAIT_FAILED), or the one at which it is (WAIT_TIMED_OUT after
 * timeout seconds, 0 for never; it goes on), else NULL. */
typedef void (*rolling_fn)(
    void *arg, enum wait_end end, const struct instance *i);

/* drain: let jobs in hand end first. */
void rolling_begin(
    struct runner *r, bool drain, double timeout, rolling_fn fn, void *arg);

/* Nobody is to be told any more. */
void rolling_forget_asker(struct runner *r);

/* ---- for runners.c ---- */

/* Something about the runner has changed. */
void rolling_look(struct runner *r);

/* It ends here; the asker is told so.  Nothing when there is none. */
void rolling_end(struct runner *r, enum wait_end end);

#endif
