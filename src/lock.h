/* The lock on a state directory: one herod each. */
#ifndef LOCK_H
#define LOCK_H

#include "err.h"

/*
 * Locks a file, made if need be, for as long as its descriptor is open
 * anywhere; returns that, or -1 with a refusal.  The file names the process
 * that has it.  Where that one is gone, somebody still has a copy who was
 * just being started by it and will soon not: this waits, at most 5 s.
 */
int lock_take(const char *path, struct err *e);

#endif
