/*
 * Output on its way from a process's pipe to where it is kept, in descriptors
 * that outlive herod.
 *
 * herod may be killed at any instruction.  So that no byte is lost then and
 * none is kept twice, a piece of output is first moved by splice(2), in the
 * kernel, into a pipe that nobody else writes to: what is in it is the piece,
 * all of it and nothing else.  Beside it lies a note, in memory that outlives
 * herod too: whose piece it is and how far its owner has come.  The piece is
 * taken out when it is kept.  The herod after us finds pipe and note and goes
 * on exactly where we were.  herod keeps one piece at a time, so there is one
 * pipe and one note for all streams.
 *
 * What an owner cannot keep yet (half a line) has a place here as well.
 */
#ifndef TRANSIT_H
#define TRANSIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRANSIT_PIECE (64 * 1024) /* bytes of one, at most */
#define TRANSIT_HALF_MAX (1024 * 1024) /* bytes of a half line, at most */

enum { TRANSIT_IN, TRANSIT_OUT, TRANSIT_MEMORY, TRANSIT_FDS };

struct transit;

/* A stream of a process, as the keeper numbers it. */
struct transit_place {
	struct transit *transit; /* NULL: nothing outlives us */
	uint32_t process;
	uint32_t stream;
};

/*
 * The owner's part of the note: all zero when a piece begins, written as it
 * comes along.  Sizes are bytes of what is made of the piece (stamped
 * lines); the same piece makes the same bytes each time.
 */
struct progress {
	volatile double time; /* Unix seconds of its lines; 0: not begun */
	volatile uint64_t half; /* bytes of the half line before it */
	volatile double tokens; /* lines that the rate limit allows */
	volatile uint64_t withheld; /* lines that it did not, before it */
	volatile uint64_t done; /* bytes that are in files */
	volatile uint64_t target; /* done, after the write in hand */
	volatile uint64_t size; /* of the file before this write */
	volatile uint64_t length; /* of this write */
	volatile uint64_t file; /* its inode; 0: no write is in hand */
};

/* Goes on with the descriptors of the herod before us (taken over), or makes
 * new ones where they are -1.  NULL, fds closed, when there is no room. */
struct transit *transit_open(int fds[TRANSIT_FDS]);
void transit_free(struct transit *t);

/* One of its descriptors, to be stored with the keeper. */
int transit_fd(const struct transit *t, int which);

/*
 * Moves at most max (<= TRANSIT_PIECE) bytes of a pipe here and copies them to
 * buf.  Returns how many; 0 at the end of file, -1 with errno.  The caller
 * hands them to their owner and then calls transit_done().
 */
ssize_t transit_take(
    const struct transit_place *from, int fd, char *buf, size_t max);
void transit_done(struct transit *t);

/* Number of the piece in hand, greater than any before, over all herods. */
uint64_t transit_number(const struct transit *t);

/*
 * What a killed herod left: true, its place, and its *len bytes in buf (of
 * TRANSIT_PIECE), which may be none when it was about to keep a last half
 * line.  Hand them to the owner, then call transit_done().
 */
bool transit_left(
    struct transit *t, struct transit_place *from, char *buf, size_t *len);

/* The note, for the owner of the piece in hand; NULL without transit or when
 * another stream's is in hand. */
struct progress *transit_progress(const struct transit_place *p);

/* The owner is about to keep its half line, for no more will come.  The note;
 * transit_done() ends this, too. */
struct progress *transit_last(const struct transit_place *p);

/* Half a line: the first len bytes are text; those up to from were saved
 * before and are as they were. */
void transit_half_save(
    const struct transit_place *p, const char *text, size_t len, size_t from);
void transit_half_drop(const struct transit_place *p);

/* Its length, and its bytes in text (of TRANSIT_HALF_MAX). */
size_t transit_half_length(const struct transit_place *p);
void transit_half_load(const struct transit_place *p, char *text, size_t len);

#endif
