/*
 * What a process wrote, kept in a memfd that outlives herod.
 *
 * Bytes are added while they are in transit (transit.h).  When herod dies
 * then, the next one gets the last piece again: the journal knows its number
 * and passes it over.
 *
 * In the file, from base on: length of all and number of the last piece (8
 * bytes each), then the bytes; those dropped at the front are a hole.
 * Several journals lie far apart in one file.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct journal {
	int fd; /* borrowed; -1: nothing is kept */
	off_t base;
	uint64_t begin; /* first byte still there, of text without NUL */
	uint64_t end;
	uint64_t piece; /* number of the last one, or 0 */
};

/* An empty one in a file just made (or -1). */
void journal_begin(struct journal *j, int fd, off_t base);

/* Goes on with what is in the file. */
void journal_resume(struct journal *j, int fd, off_t base);

/* Adds a piece of this number (child_piece(); 0: it has none): 1 when it was
 * added, 0 when it was there already, -1 with errno when it cannot be kept.
 */
int journal_add(struct journal *j, uint64_t piece, const char *buf, size_t len);

/* Bytes from a position on, as read(2). */
ssize_t journal_read(
    const struct journal *j, uint64_t at, char *buf, size_t size);

/* Forgets what is before a position. */
void journal_drop(struct journal *j, uint64_t to);

/* Forgets what is between two: NULs stand there. */
void journal_erase(struct journal *j, uint64_t from, uint64_t to);

#endif
