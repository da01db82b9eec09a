/*
 * Log files: appending whole lines, rotation, and what is done when that
 * fails.  Runners that name the same file share one (they would rotate it
 * under each other's feet otherwise).
 *
 * Nothing here is lost or written twice when herod is killed: see transit.h.
 */
#ifndef LOGFILE_H
#define LOGFILE_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "transit.h"

struct logfile;

/* All of them. */
struct logfiles;
struct logfiles *logfiles_new(struct ev_loop *loop);
void logfiles_free(struct logfiles *all); /* when all are closed */

/* Closes what is open: the next line opens them by name again, as after a
 * rotation by others. */
void logfiles_reopen(struct logfiles *all);

struct logfile_rules {
	unsigned long long
	    maxbytes; /* rotated before it grows beyond; 0 never */
	long long backups; /* FILE.1 to so many are kept */
	double maxage; /* seconds, then it is rotated; 0 never */
	unsigned long long totalbytes; /* of it and its backups; 0: any */
	bool block; /* what cannot be written is kept and tried again each
		     * second; else it is dropped and counted */
};

/* The file of this path, opened at its first line. */
struct logfile *logfile_get(struct logfiles *all, const char *path);
void logfile_put(struct logfile *f);

/* Where its n-th backup is, the file itself for 0; new string. */
char *logfile_backup(const char *path, long long n);
const char *logfile_path(const struct logfile *f);

/* Of those who share it the last one has its way. */
void logfile_configure(struct logfile *f, const struct logfile_rules *rules);

/* Whole lines.  p: how far those of the piece in hand have come, or NULL. */
void logfile_write(
    struct logfile *f, const char *lines, size_t len, struct progress *p);

/* The herod before us was killed: was its last write done? */
void logfile_settle(struct logfile *f, struct progress *p);

/* Is there room for more?  False while what could not be written waits
 * (block). */
bool logfile_has_room(const struct logfile *f);

/* Its last bytes, at most max; whether they begin with a whole line.  free(3)
 * them; NULL when there are none. */
char *logfile_tail(struct logfile *f, size_t max, size_t *len, bool *whole);

/* Bytes that were dropped so far, and why nothing can be written now (or
 * NULL). */
unsigned long long logfile_dropped(const struct logfile *f, const char **why);

#endif
