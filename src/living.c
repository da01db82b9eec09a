/* The record of processes that live. */
#define LOG_MODULE "keeper"

#include "living.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

#define LIVING_VERSION 1 /* of both structs */
#define PLACE_SIZE 2048
#define HEAD_SIZE 4096
#define PLACES_MAX 65536

_Static_assert(sizeof(struct living) <= PLACE_SIZE, "within a page");

struct head {
	uint32_t version;
	char boot_id[40];
};

struct living_file {
	int fd;
	size_t n; /* places */
	uint32_t *free; /* of these */
	size_t nfree, free_size;
	bool failed;
};

static off_t
offset(size_t place)
{
	return HEAD_SIZE + (off_t)place * PLACE_SIZE;
}

/* ---- opening ---- */

static struct head
head_now(void)
{
	struct head h = {.version = LIVING_VERSION};
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

static void
set_free(struct living_file *f, size_t place)
{
	if (f->nfree == f->free_size) {
		f->free_size = f->free_size ? f->free_size * 2 : 64;
		f->free =
		    xreallocarray(f->free, f->free_size, sizeof(*f->free));
	}
	f->free[f->nfree++] = (uint32_t)place;
}

static void
find_places(struct living_file *f)
{
	struct living l;
	struct stat st;
	size_t i;

	if (fstat(f->fd, &st) == 0 && st.st_size > HEAD_SIZE)
		f->n = (size_t)(st.st_size - HEAD_SIZE + PLACE_SIZE - 1) /
		    PLACE_SIZE;
	if (f->n > PLACES_MAX)
		f->n = PLACES_MAX;
	for (i = f->n; i-- > 0;)
		if (!living_get(f, i, &l))
			set_free(f, i);
}

struct living_file *
living_open(const char *state_dir)
{
	char *path = xasprintf("%s/" LIVING_NAME, state_dir);
	struct head now = head_now();
	struct living_file *f;
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	free(path);
	if (fd == -1)
		return NULL;
	if (!is_of_now(fd, &now) && make_anew(fd, &now) == -1) {
		close(fd);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->fd = fd;
	find_places(f);
	return f;
}

void
living_close(struct living_file *f)
{
	if (f == NULL)
		return;
	close(f->fd);
	free(f->free);
	free(f);
}

/* ---- places ---- */

size_t
living_count(const struct living_file *f)
{
	return f->n;
}

bool
living_get(const struct living_file *f, size_t place, struct living *l)
{
	ssize_t n = pread(f->fd, l, sizeof(*l), offset(place));

	return n == sizeof(*l) && l->id != 0 && l->pid >= 0 && l->pid != 1 &&
	    memchr(l->tag, '\0', sizeof(l->tag)) != NULL;
}

size_t
living_take(struct living_file *f)
{
	return f->nfree ? f->free[--f->nfree] : f->n++;
}

static void
note_failure(struct living_file *f)
{
	if (!f->failed)
		log_warn("the record of processes cannot be written: should "
			 "herod and herod-keeper be killed both now, the next "
			 "herod does not know what lives");
	f->failed = true;
}

void
living_put(struct living_file *f, size_t place, const struct living *l)
{
	if (pwrite(f->fd, l, sizeof(*l), offset(place)) == sizeof(*l))
		f->failed = false;
	else
		note_failure(f);
}

void
living_clear(struct living_file *f, size_t place)
{
	static const uint32_t none;

	if (pwrite(f->fd, &none, sizeof(none), offset(place)) != sizeof(none))
		note_failure(f);
	set_free(f, place);
}
