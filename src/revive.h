/*
 * Going on with what lives after herod and herod-keeper were both killed.
 *
 * The herod that a user or a service manager starts next finds it by the
 * record (living.h), before there is a keeper: pid, start time and boot must
 * be the recorded ones.  The new keeper gets those processes as it would
 * get them from a herod that takes a keeper's place, so they are found by
 * keeper_open().  Nobody is their parent who could tell how they end.
 *
 * Those that cannot go on without us (a worker's stdin and the result of a
 * job had their other ends there) or whose output nobody has a hold of (just
 * being started) are killed, and dead when this returns.
 */
#ifndef REVIVE_H
#define REVIVE_H

#include "err.h"
#include "privs.h"

/* Gives a file for herod-keeper --resume, which takes over the lock on the
 * state directory under this name; -1: nothing is to be gone on with.  Refused
 * (-1) when another herod lives, or what lives cannot be gone on with.  What
 * becomes of whom is logged.  This waits for those that are killed, at most
 * 5 s, and for the lock.  The record is the word of a herod that may not have
 * been root: its processes that are root's are left alone then. */
int revive(const struct privs *p, const char *state_dir, const char *lock_path,
    const char *lock_name, int *file, struct err *e);

#endif
