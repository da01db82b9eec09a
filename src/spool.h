/*
 * Lines in a file that are on the disk before they are acknowledged, until all
 * of them are done with.  The disk is waited for by a thread, not by the loop;
 * lines that come meanwhile are synced together.  Or in a file in memory
 * (memfd_create(2)), which lasts as long as somebody has it open.
 */
#ifndef SPOOL_H
#define SPOOL_H

#include <stddef.h>

#include <ev.h>

#include "err.h"

struct spool;

/* path is copied; the file is made when there is none. */
struct spool *spool_open(struct ev_loop *loop, const char *path, struct err *e);

/* One that is open for reading and writing, taken over; name: for messages. */
struct spool *spool_of(struct ev_loop *loop, int fd, const char *name);

/* Each line that is there, without its newline.  What a crash left half
 * written at the end is dropped: it was not acknowledged. */
void spool_read(struct spool *s,
    void (*fn)(void *arg, const char *line, size_t len), void *arg);

/* fn is called later, and not before the line is on the disk: error is 0, or
 * as errno.  -1 with errno, and no fn: it cannot be written. */
typedef void (*spool_fn)(void *arg, int error);
int spool_add(
    struct spool *s, const char *line, size_t len, spool_fn fn, void *arg);

/* A line of which nobody needs to know when it is on the disk. */
void spool_note(struct spool *s, const char *line);

size_t spool_size(const struct spool *s); /* bytes */

/* Forgets all; only while no fn is awaited. */
void spool_clear(struct spool *s);

/* fn of lines not yet synced are not called. */
void spool_free(struct spool *s);

#endif
