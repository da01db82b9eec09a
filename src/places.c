/* A file of places for what outlives herod. */
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

#define HEAD_SIZE 4096
#define PLACES_MAX 65536

struct head {
	uint32_t version;
	char boot_id[40];
};

struct places {
	int fd;
	size_t n; /* places */
	uint32_t *free; /* of these */
	size_t nfree, free_size;
};

static off_t
offset(size_t place)
{
	return HEAD_SIZE + (off_t)place * PLACE_SIZE;
}

/* ---- opening ---- */

static struct head
head_now(uint32_t version)
{
	struct head h = {.version = version};
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, h.boot_id, sizeof(h.boot_id) - 1);

	if (fd != -1)
		close(fd);
	h.boot_id[n > 0 ? strcspn(h.boot_id, "\n") : 0] = '\0';
	return h;
}

static bool
is_of_now(int fd, const struct head *now)
{
	struct head then;

	return pread(fd, &then, sizeof(then), 0) == sizeof(then) &&
	    then.version == now->version && now->boot_id[0] != '\0' &&
	    strncmp(then.boot_id, now->boot_id, sizeof(then.boot_id)) == 0;
}

static int
make_anew(int fd, const struct head *now)
{
	if (ftruncate(fd, 0) == -1 ||
	    pwrite(fd, now, sizeof(*now), 0) != sizeof(*now))
		return -1;
	return 0;
}

static size_t
count(int fd)
{
	struct stat st;
	size_t n = 0;

	if (fstat(fd, &st) == 0 && st.st_size > HEAD_SIZE)
		n = (size_t)(st.st_size - HEAD_SIZE + PLACE_SIZE - 1) /
		    PLACE_SIZE;
	return n > PLACES_MAX ? PLACES_MAX : n;
}

struct places *
places_open(const char *path, uint32_t version)
{
	struct head now = head_now(version);
	struct places *f;
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return NULL;
	if (!is_of_now(fd, &now) && make_anew(fd, &now) == -1) {
		close(fd);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->fd = fd;
	f->n = count(fd);
	return f;
}

void
places_close(struct places *f)
{
	if (f == NULL)
		return;
	close(f->fd);
	free(f->free);
	free(f);
}

bool
places_remain(const char *path, uint32_t version)
{
	struct head now = head_now(version);
	struct places f = {.fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
	uint32_t first = 0;
	size_t i;

	if (f.fd == -1)
		return false;
	if (is_of_now(f.fd, &now))
		f.n = count(f.fd);
	for (i = 0; i < f.n && first == 0; i++)
		places_read(&f, i, &first, sizeof(first));
	close(f.fd);
	return first != 0;
}

/* ---- places ---- */

size_t
places_count(const struct places *f)
{
	return f->n;
}

size_t
places_read(const struct places *f, size_t place, void *buf, size_t len)
{
	ssize_t n = pread(f->fd, buf, len, offset(place));

	return n > 0 ? (size_t)n : 0;
}

size_t
places_take(struct places *f)
{
	return f->nfree ? f->free[--f->nfree] : f->n++;
}

void
places_give(struct places *f, size_t place)
{
	if (f->nfree == f->free_size) {
		f->free_size = f->free_size ? f->free_size * 2 : 64;
		f->free =
		    xreallocarray(f->free, f->free_size, sizeof(*f->free));
	}
	f->free[f->nfree++] = (uint32_t)place;
}

bool
places_write(const struct places *f, size_t place, const void *buf, size_t len)
{
	return pwrite(f->fd, buf, len, offset(place)) == (ssize_t)len;
}

bool
places_clear(struct places *f, size_t place)
{
	static const uint32_t none;
	bool done = places_write(f, place, &none, sizeof(none));

	places_give(f, place);
	return done;
}
