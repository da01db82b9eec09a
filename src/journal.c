/* What a process wrote, kept over herod's death. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

struct head {
	uint64_t end, piece;
};

#define HEAD ((off_t)sizeof(struct head))

void
journal_begin(struct journal *j, int fd, off_t base)
{
	memset(j, 0, sizeof(*j));
	j->fd = fd;
	j->base = base;
}

/* Where a byte lies in the file. */
static off_t
place(const struct journal *j, uint64_t at)
{
	return j->base + HEAD + (off_t)at;
}

/* A hole is exact, but it leaves zeroes in its first and last page; no text
 * that is looked for here begins with one. */
static void
find_begin(struct journal *j)
{
	char buf[4096];
	ssize_t n, i;
	off_t data;

	while (j->begin < j->end) {
		n = journal_read(j, j->begin, buf, sizeof(buf));
		for (i = 0; i < n && !buf[i]; i++)
			j->begin++;
		if (n <= 0 || i < n)
			return;
		data = lseek(j->fd, place(j, j->begin), SEEK_DATA);
		if (data == -1 || data > place(j, j->end))
			j->begin = j->end;
		else
			j->begin = (uint64_t)(data - place(j, 0));
	}
}

void
journal_resume(struct journal *j, int fd, off_t base)
{
	struct head head;

	journal_begin(j, fd, base);
	if (pread(fd, &head, sizeof(head), base) != sizeof(head))
		return;
	j->end = head.end;
	j->piece = head.piece;
	find_begin(j);
}

static int
put(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t n;

	while (len) {
		n = pwrite(fd, buf, len, at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		buf = (const char *)buf + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

int
journal_add(struct journal *j, uint64_t piece, const char *buf, size_t len)
{
	struct head head = {.end = j->end + len, .piece = piece};

	if (j->fd == -1)
		return 1;
	if (piece != 0 && piece == j->piece)
		return 0;
	if (put(j->fd, buf, len, place(j, j->end)) == -1)
		return -1;
	j->end = head.end;
	j->piece = piece;
	return put(j->fd, &head, sizeof(head), j->base) == -1 ? -1 : 1;
}

ssize_t
journal_read(const struct journal *j, uint64_t at, char *buf, size_t size)
{
	if (at >= j->end)
		return 0;
	if (size > j->end - at)
		size = j->end - at;
	return pread(j->fd, buf, size, place(j, at));
}

void
journal_erase(struct journal *j, uint64_t from, uint64_t to)
{
	if (j->fd != -1 && to > from)
		fallocate(j->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    place(j, from), (off_t)(to - from));
}

void
journal_drop(struct journal *j, uint64_t to)
{
	if (j->fd == -1 || to <= j->begin)
		return;
	journal_erase(j, j->begin, to);
	j->begin = to;
}
