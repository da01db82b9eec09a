/* Output on its way, in descriptors that outlive herod. */
#include "transit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"

#define PIPE_SIZE (1024 * 1024) /* pieces of many small writes fit, too */
#define NOTE_SIZE 4096
#define NOTE_VERSION 2 /* of struct note */

/* A half line has its own part of the sparse file, found by number. */
#define HALF_SHIFT 21
_Static_assert(TRANSIT_HALF_MAX + 4096 <= 1 << HALF_SHIFT, "they lie apart");

struct note {
	volatile uint32_t version; /* 0: never used */
	volatile uint32_t process, stream;
	volatile uint32_t length; /* of the piece; 0: not all moved yet */
	volatile uint64_t number;
	struct progress progress;
};

struct transit {
	int fd[TRANSIT_FDS];
	int copy[2]; /* what is to be read without being taken out */
	int null_fd;
	struct note *note;
};

static void
close_all(int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (fds[i] != -1)
			close(fds[i]);
}

/* Those that there are not yet. */
static bool
make_fds(int fds[TRANSIT_FDS])
{
	if (fds[TRANSIT_IN] != -1 && fds[TRANSIT_OUT] != -1 &&
	    fds[TRANSIT_MEMORY] != -1)
		return true;
	close_all(fds, TRANSIT_FDS);
	fds[TRANSIT_IN] = fds[TRANSIT_OUT] = -1;
	fds[TRANSIT_MEMORY] = memfd_create("transit", MFD_CLOEXEC);
	return fds[TRANSIT_MEMORY] != -1 &&
	    ftruncate(fds[TRANSIT_MEMORY], NOTE_SIZE) == 0 &&
	    pipe2(fds, O_CLOEXEC) == 0 &&
	    fcntl(fds[TRANSIT_OUT], F_SETPIPE_SZ, PIPE_SIZE) != -2;
}

/* A new note, or one of another kind of herod. */
static void
note_check(struct note *n)
{
	struct timespec now;

	if (n->version == NOTE_VERSION)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	memset(n, 0, sizeof(*n));
	n->number = (uint64_t)now.tv_sec << 32;
	n->version = NOTE_VERSION;
}

struct transit *
transit_open(int fds[TRANSIT_FDS])
{
	struct transit *t = xcalloc(1, sizeof(*t));
	void *note = MAP_FAILED;

	t->copy[0] = t->copy[1] = -1;
	t->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (make_fds(fds) && pipe2(t->copy, O_CLOEXEC) == 0)
		note = mmap(NULL, NOTE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fds[TRANSIT_MEMORY], 0);
	fcntl(t->copy[1], F_SETPIPE_SZ, PIPE_SIZE);
	memcpy(t->fd, fds, sizeof(t->fd));
	t->note = note;
	if (note != MAP_FAILED && t->null_fd != -1) {
		note_check(t->note);
		return t;
	}
	transit_free(t);
	return NULL;
}

void
transit_free(struct transit *t)
{
	if (t->note != MAP_FAILED)
		munmap(t->note, NOTE_SIZE);
	close_all(t->fd, TRANSIT_FDS);
	close_all(t->copy, 2);
	close_all(&t->null_fd, 1);
	free(t);
}

int
transit_fd(const struct transit *t, int which)
{
	return t->fd[which];
}

/* ---- a piece ---- */

/* Bytes that are in the pipe: the piece, or what is left of it. */
static size_t
piece_length(const struct transit *t)
{
	int n = 0;

	return ioctl(t->fd[TRANSIT_IN], FIONREAD, &n) == 0 ? (size_t)n : 0;
}

static bool
read_all(int fd, char *buf, size_t len)
{
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = read(fd, buf + have, len - have);
		if (n == 0 || (n == -1 && errno != EINTR))
			return false;
		if (n > 0)
			have += (size_t)n;
	}
	return true;
}

/*
 * All of it, leaving it in the pipe.  Where the system gave us a smaller pipe
 * for the copy (pipe-user-pages-soft), a piece of very many small writes does
 * not fit there: it is taken out, and is lost should herod die just then.
 */
static bool
piece_copy(struct transit *t, char *buf, size_t len)
{
	ssize_t n;

	n = tee(t->fd[TRANSIT_IN], t->copy[1], len, SPLICE_F_NONBLOCK);
	if (n == (ssize_t)len)
		return read_all(t->copy[0], buf, len);
	if (n > 0 && !read_all(t->copy[0], buf, (size_t)n))
		return false;
	return read_all(t->fd[TRANSIT_IN], buf, len);
}

static void
piece_drop(struct transit *t)
{
	size_t len;

	while ((len = piece_length(t)) > 0)
		if (splice(t->fd[TRANSIT_IN], NULL, t->null_fd, NULL, len,
			SPLICE_F_NONBLOCK) == 0)
			break;
}

static void
note_begin(struct note *n, uint32_t process, uint32_t stream)
{
	n->process = process;
	n->stream = stream;
	n->number++;
}

uint64_t
transit_number(const struct transit *t)
{
	return t->note->number;
}

ssize_t
transit_take(const struct transit_place *from, int fd, char *buf, size_t max)
{
	struct transit *t = from->transit;
	ssize_t n;

	note_begin(t->note, from->process, from->stream);
	n = splice(fd, NULL, t->fd[TRANSIT_OUT], NULL, max, SPLICE_F_NONBLOCK);
	if (n <= 0)
		return n;
	/* It lies there and nobody else reads: this cannot fail but by a
	 * fault of ours. */
	if (!piece_copy(t, buf, (size_t)n))
		abort();
	t->note->length = (uint32_t)n;
	return n;
}

/* In this order: see is_kept(). */
void
transit_done(struct transit *t)
{
	struct progress *p = &t->note->progress;

	piece_drop(t);
	p->time = 0;
	p->tokens = 0;
	p->withheld = 0;
	p->half = p->done = p->target = 0;
	p->size = p->length = p->file = 0;
	t->note->length = 0;
}

/* Was it just being taken out, or, without a piece, is it over? */
static bool
is_kept(const struct note *n, size_t len)
{
	if (len > 0)
		return n->length != 0 && len < n->length;
	return n->length != 0 || n->progress.time == 0;
}

bool
transit_left(
    struct transit *t, struct transit_place *from, char *buf, size_t *len)
{
	struct note *n = t->note;

	*len = piece_length(t);
	if (is_kept(n, *len) || *len > TRANSIT_PIECE ||
	    (*len > 0 && !piece_copy(t, buf, *len))) {
		transit_done(t);
		return false;
	}
	n->length = (uint32_t)*len;
	*from = (struct transit_place){t, n->process, n->stream};
	return true;
}

struct progress *
transit_progress(const struct transit_place *p)
{
	struct note *n = p->transit ? p->transit->note : NULL;

	return n && n->process == p->process && n->stream == p->stream
	    ? &n->progress
	    : NULL;
}

struct progress *
transit_last(const struct transit_place *p)
{
	if (p->transit)
		note_begin(p->transit->note, p->process, p->stream);
	return transit_progress(p);
}

/* ---- half a line: its length, then its bytes a page further on ---- */

static off_t
half_at(const struct transit_place *p)
{
	return (off_t)(1 + 2 * (uint64_t)p->process + p->stream) << HALF_SHIFT;
}

static bool
put(const struct transit_place *p, const void *buf, size_t len, off_t at)
{
	return pwrite(p->transit->fd[TRANSIT_MEMORY], buf, len, at) ==
	    (ssize_t)len;
}

void
transit_half_save(
    const struct transit_place *p, const char *text, size_t len, size_t from)
{
	uint64_t length = len;
	off_t at = half_at(p), bytes = at + (off_t)sizeof(length);

	if (p->transit && len <= TRANSIT_HALF_MAX &&
	    put(p, text + from, len - from, bytes + (off_t)from))
		put(p, &length, sizeof(length), at);
}

void
transit_half_drop(const struct transit_place *p)
{
	if (p->transit)
		fallocate(p->transit->fd[TRANSIT_MEMORY],
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, half_at(p),
		    1 << HALF_SHIFT);
}

size_t
transit_half_length(const struct transit_place *p)
{
	uint64_t length;

	if (p->transit == NULL ||
	    pread(p->transit->fd[TRANSIT_MEMORY], &length, sizeof(length),
		half_at(p)) != sizeof(length))
		return 0;
	return length <= TRANSIT_HALF_MAX ? length : 0;
}

void
transit_half_load(const struct transit_place *p, char *text, size_t len)
{
	ssize_t n = 0;

	if (p->transit)
		n = pread(p->transit->fd[TRANSIT_MEMORY], text, len,
		    half_at(p) + (off_t)sizeof(uint64_t));
	if (n < (ssize_t)len)
		memset(
		    text + (n > 0 ? n : 0), 0, len - (n > 0 ? (size_t)n : 0));
}
