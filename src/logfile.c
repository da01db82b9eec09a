/* Log files. */
#define LOG_MODULE "output"

#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sys/queue.h>

#include "clock.h"
#include "counters.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define ROTATE_RETRY 60 /* seconds */
#define HELD_RETRY 1.0 /* seconds */

struct logfile {
	TAILQ_ENTRY(logfile) entry;
	struct logfiles *all;
	unsigned users;
	char *path;
	struct logfile_rules rules;
	int fd; /* -1 while it is not open */
	unsigned long long size;
	ino_t number; /* of the file that is open */
	bool regular;
	bool torn; /* it ends within a line */
	time_t begun; /* Unix time */
	time_t rotate_again; /* not before, after a failure; 0: well */
	time_t looked_at; /* when its name was last looked at */
	char *held; /* lines that could not be written (rules.block) */
	size_t held_len;
	unsigned long long dropped;
	int error; /* errno of the last failed write, 0 when well */
};

struct logfiles {
	TAILQ_HEAD(, logfile) list;
	struct ev_loop *loop;
	ev_timer retry; /* while some hold what could not be written */
};

/* ---- opening ---- */

static void
trouble(struct logfile *f, const char *what)
{
	if (f->error != errno)
		log_error("%s %s", what, f->path);
	f->error = errno;
}

static void
dropped(struct logfile *f, size_t lost)
{
	f->dropped += lost;
	counter_add(log_bytes_dropped, lost);
}

/* Does it end within a line, as herod or a full disk left it? */
static bool
is_torn(const char *path, off_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	char last = '\n';

	if (fd < 0)
		return false;
	if (pread(fd, &last, 1, size - 1) != 1)
		last = '\n';
	close(fd);
	return last != '\n';
}

static time_t
birth_of(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) == 0 &&
	    st.stx_mask & STATX_BTIME)
		return (time_t)st.stx_btime.tv_sec;
	return (time_t)clock_wall();
}

/* A symbolic link could lead root's writes anywhere; those in /dev are the
 * system's own (/dev/stdout). */
static int
open_path(const char *path)
{
	int follow = strncmp(path, "/dev/", 5) == 0 ? 0 : O_NOFOLLOW;

	return open(path,
	    O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC | O_NONBLOCK |
		follow,
	    0640);
}

/* The directory was there: somebody has cleared up too well. */
static int
make_directory_of(const char *path)
{
	char *copy = xstrdup(path);
	int bad = mkdir(dirname(copy), 0750);

	free(copy);
	return bad;
}

static int
open_file(struct logfile *f)
{
	struct stat st;

	f->fd = open_path(f->path);
	if (f->fd < 0 && errno == ENOENT && f->number != 0 &&
	    make_directory_of(f->path) == 0)
		f->fd = open_path(f->path);
	if (f->fd < 0)
		return -1;
	fstat(f->fd, &st);
	f->number = st.st_ino;
	f->regular = S_ISREG(st.st_mode);
	f->size = f->regular ? (unsigned long long)st.st_size : 0;
	f->torn = f->size > 0 && is_torn(f->path, st.st_size);
	f->begun = birth_of(f->fd);
	return 0;
}

static void
close_file(struct logfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static bool
is_open(struct logfile *f)
{
	return f->fd >= 0 || open_file(f) == 0;
}

static time_t
clock_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

/* Once a second while something is written: others (logrotate) may have
 * moved the file away, removed or truncated it. */
static void
look_at_name(struct logfile *f)
{
	time_t now = clock_seconds();
	struct stat st;

	if (f->fd < 0 || now == f->looked_at)
		return;
	f->looked_at = now;
	if (stat(f->path, &st) != 0 || st.st_ino != f->number)
		close_file(f);
	else if (f->regular) {
		f->size = (unsigned long long)st.st_size;
		f->torn = f->torn && st.st_size > 0;
	}
}

/* ---- rotation ---- */

char *
logfile_backup(const char *path, long long n)
{
	return n > 0 ? xasprintf("%s.%lld", path, n) : xstrdup(path);
}

/* Makes FILE.n of FILE.n-1, or of FILE. */
static int
rename_one(const struct logfile *f, long long n)
{
	char *to = logfile_backup(f->path, n),
	     *from = logfile_backup(f->path, n - 1);
	int bad = rename(from, to) != 0 && errno != ENOENT;

	if (bad)
		log_warn("rename %s; the log grows on", from);
	free(from);
	free(to);
	return bad;
}

/* Bytes of FILE.n; -1: there is none. */
static long long
backup_size(const struct logfile *f, long long n)
{
	char *path = logfile_backup(f->path, n);
	struct stat st;
	int bad = stat(path, &st);

	free(path);
	return bad ? -1 : (long long)st.st_size;
}

/* The lowest that is missing, so that a rotation that was cut short costs no
 * file; or the last, which goes. */
static long long
first_gap(const struct logfile *f)
{
	long long n = 1;

	while (n < f->rules.backups && backup_size(f, n) >= 0)
		n++;
	return n;
}

/* Removes those that are too many bytes in all, oldest first, leaving room
 * for a file that is full. */
static void
keep_to_total(const struct logfile *f)
{
	unsigned long long all = f->rules.maxbytes;
	long long n, size;
	char *path;

	if (f->rules.totalbytes == 0)
		return;
	for (n = 1; (size = backup_size(f, n)) >= 0; n++) {
		all += (unsigned long long)size;
		if (all <= f->rules.totalbytes)
			continue;
		path = logfile_backup(f->path, n);
		if (unlink(path) != 0)
			log_warn("unlink %s", path);
		free(path);
	}
}

/* FILE.9 goes, FILE.8 becomes FILE.9, ... FILE becomes FILE.1.  Where that
 * is refused, the file is used further and it is tried again later. */
static void
rotate(struct logfile *f)
{
	int bad = 0;
	long long n;

	if (f->rules.backups == 0 && unlink(f->path) != 0 && errno != ENOENT) {
		log_warn("unlink %s; the log grows on", f->path);
		bad = 1;
	}
	for (n = f->rules.backups ? first_gap(f) : 0; n > 0 && !bad; n--)
		bad = rename_one(f, n);
	f->rotate_again = bad ? clock_seconds() + ROTATE_RETRY : 0;
	if (bad)
		return;
	close_file(f);
	keep_to_total(f);
}

static bool
may_rotate(const struct logfile *f)
{
	return f->regular &&
	    (f->rotate_again == 0 || clock_seconds() >= f->rotate_again);
}

static bool
is_old(const struct logfile *f)
{
	return f->rules.maxage > 0 && f->size > 0 &&
	    clock_wall() - (double)f->begun >= f->rules.maxage;
}

/* ---- in case herod is killed while it writes ---- */

static void
write_begins(struct logfile *f, size_t len, struct progress *p)
{
	struct stat st;

	if (p == NULL)
		return;
	p->target = p->done + len;
	if (!f->regular || fstat(f->fd, &st) != 0)
		return;
	p->size = (uint64_t)st.st_size;
	p->length = len;
	p->file = (uint64_t)st.st_ino;
}

static void
write_ended(struct progress *p)
{
	if (p == NULL)
		return;
	p->done = p->target;
	p->file = 0;
}

/* Takes away what is there of a write that was not finished. */
static void
truncate_to(struct logfile *f, uint64_t size)
{
	if (ftruncate(f->fd, (off_t)size) != 0)
		return;
	f->size = size;
	f->torn = false;
}

void
logfile_settle(struct logfile *f, struct progress *p)
{
	struct stat st;

	if (p->file != 0 && is_open(f) && fstat(f->fd, &st) == 0 &&
	    (uint64_t)st.st_ino == p->file) {
		if ((uint64_t)st.st_size >= p->size + p->length)
			p->done = p->target;
		else if ((uint64_t)st.st_size > p->size)
			truncate_to(f, p->size);
	}
	p->file = 0;
}

/* ---- writing ---- */

/* The end of a line that could not be written whole before. */
static void
mend_torn(struct logfile *f)
{
	if (!f->torn || f->held_len > 0 || write(f->fd, "\n", 1) != 1)
		return;
	f->size++;
	f->torn = false;
}

/* What is left of the lines; with block it waits. */
static void
could_not_write(struct logfile *f, const char *rest, size_t len)
{
	trouble(f, "write");
	if (!f->rules.block) {
		dropped(f, len);
		return;
	}
	f->held = xreallocarray(f->held, f->held_len + len, 1);
	memcpy(f->held + f->held_len, rest, len);
	f->held_len += len;
	if (!ev_is_active(&f->all->retry))
		ev_timer_again(f->all->loop, &f->all->retry);
}

static void
is_well(struct logfile *f)
{
	if (f->error)
		log_warnx("%s is written again, %llu bytes were lost", f->path,
		    f->dropped);
	f->error = 0;
}

/* Returns how many bytes were written; errno tells why not all. */
static size_t
append(struct logfile *f, const char *bytes, size_t len)
{
	ssize_t n = write(f->fd, bytes, len);
	size_t done = n > 0 ? (size_t)n : 0;

	if (done > 0) {
		f->size += done;
		f->torn = bytes[done - 1] != '\n';
	}
	if (n >= 0 && done < len)
		errno = ENOSPC;
	return done;
}

static void
write_some(struct logfile *f, const char *bytes, size_t len, struct progress *p)
{
	size_t done = 0;

	if (!is_open(f)) {
		could_not_write(f, bytes, len);
		if (p)
			p->done += len;
		return;
	}
	mend_torn(f);
	write_begins(f, len, p);
	if (f->held_len == 0)
		done = append(f, bytes, len);
	write_ended(p);
	if (done < len)
		could_not_write(f, bytes + done, len - done);
	else
		is_well(f);
}

/* How many of the bytes are whole lines within room. */
static size_t
whole_lines(const char *bytes, size_t len, unsigned long long room)
{
	const char *end;

	if (len <= room)
		return len;
	end = room ? memrchr(bytes, '\n', (size_t)room) : NULL;
	return end ? (size_t)(end - bytes) + 1 : 0;
}

static size_t
first_line(const char *bytes, size_t len)
{
	return (size_t)((char *)memchr(bytes, '\n', len) - bytes) + 1;
}

/* The next lines that stand in one file, rotating to a new one when the
 * old is full.  A new file takes a line however long it is. */
static size_t
next_lines(struct logfile *f, const char *bytes, size_t len)
{
	unsigned long long max = f->rules.maxbytes;
	size_t n;

	if (max == 0 || !may_rotate(f))
		return len;
	n = f->size < max ? whole_lines(bytes, len, max - f->size) : 0;
	if (n > 0)
		return n;
	if (f->size > 0)
		rotate(f);
	if (f->rotate_again)
		return len;
	n = whole_lines(bytes, len, max);
	return n ? n : first_line(bytes, len);
}

void
logfile_write(
    struct logfile *f, const char *lines, size_t len, struct progress *p)
{
	size_t n;

	look_at_name(f);
	if (is_open(f) && is_old(f) && may_rotate(f))
		rotate(f);
	for (; len > 0; lines += n, len -= n) {
		n = is_open(f) ? next_lines(f, lines, len) : len;
		write_some(f, lines, n, p);
	}
}

bool
logfile_has_room(const struct logfile *f)
{
	return f->held_len == 0;
}

static void
write_held(struct logfile *f)
{
	size_t len = f->held_len, done;

	look_at_name(f);
	if (len == 0 || !is_open(f))
		return;
	done = append(f, f->held, len);
	memmove(f->held, f->held + done, len - done);
	f->held_len = len - done;
	if (f->held_len == 0)
		is_well(f);
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("writing", "log files");
	struct logfiles *all = w->data;
	struct logfile *f;
	bool held = false;

	(void)events;
	TAILQ_FOREACH (f, &all->list, entry) {
		write_held(f);
		held = held || f->held_len > 0;
	}
	if (!held)
		ev_timer_stop(loop, w);
}

/* ---- reading ---- */

char *
logfile_tail(struct logfile *f, size_t max, size_t *len, bool *whole)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *bytes = NULL;
	struct stat st;
	off_t from;
	ssize_t n;

	*len = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
		bytes = xmalloc((size_t)(st.st_size - from));
		n = pread(fd, bytes, (size_t)(st.st_size - from), from);
		*len = n > 0 ? (size_t)n : 0;
		*whole = from == 0;
	}
	close(fd);
	return bytes;
}

unsigned long long
logfile_dropped(const struct logfile *f, const char **why)
{
	*why = f->error ? strerror(f->error) : NULL;
	return f->dropped;
}

const char *
logfile_path(const struct logfile *f)
{
	return f->path;
}

/* ---- all of them ---- */

void
logfile_configure(struct logfile *f, const struct logfile_rules *rules)
{
	f->rules = *rules;
}

struct logfile *
logfile_get(struct logfiles *all, const char *path)
{
	struct logfile *f;

	TAILQ_FOREACH (f, &all->list, entry)
		if (strcmp(f->path, path) == 0) {
			f->users++;
			return f;
		}
	f = xcalloc(1, sizeof(*f));
	f->all = all;
	f->users = 1;
	f->path = xstrdup(path);
	f->fd = -1;
	TAILQ_INSERT_TAIL(&all->list, f, entry);
	return f;
}

void
logfile_put(struct logfile *f)
{
	if (--f->users > 0)
		return;
	write_held(f);
	dropped(f, f->held_len);
	TAILQ_REMOVE(&f->all->list, f, entry);
	close_file(f);
	free(f->held);
	free(f->path);
	free(f);
}

struct logfiles *
logfiles_new(struct ev_loop *loop)
{
	struct logfiles *all = xcalloc(1, sizeof(*all));

	all->loop = loop;
	ev_timer_init(&all->retry, on_retry, 0, HELD_RETRY);
	all->retry.data = all;
	TAILQ_INIT(&all->list);
	return all;
}

void
logfiles_free(struct logfiles *all)
{
	ev_timer_stop(all->loop, &all->retry);
	free(all);
}

void
logfiles_reopen(struct logfiles *all)
{
	struct logfile *f;

	TAILQ_FOREACH (f, &all->list, entry)
		close_file(f);
}
