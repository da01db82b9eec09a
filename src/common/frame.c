/*
 * Lines out of a stream of bytes.
 *
 * The bytes lie in one buffer: those before taken were handed out, those
 * before seen hold no newline that was not found yet.  Handed-out bytes
 * are moved away only when room is asked for, so that a line stays valid
 * until then and a burst of lines costs one move.
 */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define FRAME_FIRST 4096

void
frame_init(struct frame *f)
{
	memset(f, 0, sizeof(*f));
}

void
frame_clear(struct frame *f)
{
	free(f->buf);
	frame_init(f);
}

static void
drop_taken(struct frame *f)
{
	if (f->taken == 0)
		return;
	f->len -= f->taken;
	f->seen -= f->taken;
	if (f->len > 0)
		memmove(f->buf, f->buf + f->taken, f->len);
	f->taken = 0;
}

char *
frame_room(struct frame *f, size_t want, size_t *room)
{
	size_t size;

	drop_taken(f);
	if (f->size - f->len < want) {
		size = f->size > 0 ? f->size : FRAME_FIRST;
		while (size - f->len < want)
			size *= 2;
		f->buf = xreallocarray(f->buf, size, 1);
		f->size = size;
	}
	*room = f->size - f->len;
	return f->buf + f->len;
}

void
frame_add(struct frame *f, size_t len)
{
	f->len += len;
}

/* The newline that ends the next line, or NULL. */
static char *
line_end(struct frame *f)
{
	char *end;

	if (f->seen < f->taken)
		f->seen = f->taken;
	if (f->seen == f->len)
		return NULL;
	end = memchr(f->buf + f->seen, '\n', f->len - f->seen);
	f->seen = end != NULL ? (size_t)(end - f->buf) : f->len;
	return end;
}

char *
frame_line(struct frame *f, size_t *len)
{
	char *line, *end;

	end = line_end(f);
	if (end == NULL)
		return NULL;
	line = f->buf + f->taken;
	f->taken = f->seen = (size_t)(end - f->buf) + 1;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	*len = (size_t)(end - line);
	return line;
}

bool
frame_has_line(struct frame *f)
{
	return line_end(f) != NULL;
}

size_t
frame_rest(const struct frame *f)
{
	return f->len - f->taken;
}
