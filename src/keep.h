/*
 * What survives on disk in the state directory: runners added by RPC, what the
 * operator wants (up or down, how many instances), and which external runners
 * Redis knew last, so that they are known before it can be asked.  runners.json
 * is replaced atomically (write, fsync, rename, fsync of the directory) once
 * per loop turn at most.
 */
#ifndef KEEP_H
#define KEEP_H

#include "runners.h"

struct keep;

/* Refuses a directory that cannot be made, read or written, or a file that
 * is not ours (its text is left as it was). */
struct keep *keep_open(
    struct ev_loop *loop, const char *state_dir, struct err *e);
void keep_free(struct keep *k);

/* Adds the kept runners that the configuration does not have, and gives
 * each its wanted state (autostart where nothing is kept) and the number of
 * instances that it was scaled to, unless its settings ask for another
 * number now than they did then. */
void keep_restore(struct keep *k, struct runners *rs);

/* Something to keep has changed. */
void keep_touch(struct keep *k);

/* Puts JSON into a file of dir, which only herod's user may read, or leaves
 * it as it was (-1, errno): never half. */
int keep_replace(const char *dir, const char *path, const json_t *what);

/* fn is called once, later, when everything is on disk: with NULL, or with
 * why it could not be written (and will be tried again). */
typedef void (*kept_fn)(void *arg, const char *why);
void keep_when_written(struct keep *k, kept_fn fn, void *arg);

/* Writes now if needed. */
void keep_flush(struct keep *k);

#endif
