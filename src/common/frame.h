/*
 * Lines out of a stream of bytes: a growing buffer with a limit.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>

struct frame {
	char *buf;
	size_t len, size; /* bytes held, bytes allocated */
	size_t taken; /* bytes at the front already handed out */
	size_t seen; /* bytes already searched for a newline */
};

void frame_init(struct frame *f);
void frame_clear(struct frame *f);

/* Room for at least want bytes at the end; returns where to put them and
 * says in *room how many fit.  Call frame_add() with what was put there. */
char *frame_room(struct frame *f, size_t want, size_t *room);
void frame_add(struct frame *f, size_t len);

/* The next whole line without its newline (and without a CR before it),
 * with a NUL instead, valid until the next frame_room(); NULL when there is
 * none yet. */
char *frame_line(struct frame *f, size_t *len);

/* Whether frame_line() would give one. */
bool frame_has_line(struct frame *f);

/* Bytes not handed out: without a whole line, those of the half one. */
size_t frame_rest(const struct frame *f);

#endif
