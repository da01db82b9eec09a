#define LOG_MODULE "spool"
#include "spool.h"

#include <sys/queue.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "turns.h"

struct line {
	TAILQ_ENTRY(line) next;
	spool_fn fn;
	void *arg;
};
TAILQ_HEAD(line_list, line);

struct spool {
	struct ev_loop *loop;
	char *name;
	int fd;
	size_t size;
	struct line_list written, syncing;
	pthread_t thread;
	bool is_syncing;
	int error; /* of the thread, when it has ended */
	ev_async synced;
};

/* ---- the thread: one fdatasync(2) ---- */

static void *
sync_file(void *arg)
{
	struct spool *s = arg;

	s->error = fdatasync(s->fd) == -1 ? errno : 0;
	ev_async_send(s->loop, &s->synced);
	return NULL;
}

/* It gets no signal; those are the loop's. */
static int
start_thread(struct spool *s)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&s->thread, NULL, sync_file, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void
sync_written(struct spool *s)
{
	if (s->is_syncing || TAILQ_EMPTY(&s->written))
		return;
	TAILQ_CONCAT(&s->syncing, &s->written, next);
	s->is_syncing = start_thread(s) == 0;
	if (!s->is_syncing)
		sync_file(s); /* then the loop waits for it */
}

static void
end_thread(struct spool *s)
{
	if (s->is_syncing)
		pthread_join(s->thread, NULL);
	s->is_syncing = false;
}

static void
on_synced(struct ev_loop *loop, ev_async *w, int revents)
{
	DOING("jobs in", "the spool");
	struct spool *s = w->data;
	struct line_list done = TAILQ_HEAD_INITIALIZER(done);
	struct line *l;

	(void)loop;
	(void)revents;
	end_thread(s);
	TAILQ_CONCAT(&done, &s->syncing, next);
	while ((l = TAILQ_FIRST(&done))) {
		TAILQ_REMOVE(&done, l, next);
		l->fn(l->arg, s->error);
		free(l);
	}
	sync_written(s);
}

/* ---- the file ---- */

struct spool *
spool_of(struct ev_loop *loop, int fd, const char *name)
{
	struct spool *s = xcalloc(1, sizeof(*s));
	struct stat st;

	fcntl(fd, F_SETFL, O_APPEND);
	s->loop = loop;
	s->name = xstrdup(name);
	s->fd = fd;
	s->size = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
	TAILQ_INIT(&s->written);
	TAILQ_INIT(&s->syncing);
	ev_async_init(&s->synced, on_synced);
	s->synced.data = s;
	ev_async_start(loop, &s->synced);
	return s;
}

struct spool *
spool_open(struct ev_loop *loop, const char *path, struct err *e)
{
	int fd = open(
	    path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd == -1) {
		err_set(e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
		return NULL;
	}
	return spool_of(loop, fd, path);
}

static void
cut(struct spool *s, size_t size)
{
	if (ftruncate(s->fd, (off_t)size) == -1)
		log_warnx("%s: %s", s->name, strerror(errno));
	else
		s->size = size;
}

void
spool_read(struct spool *s, void (*fn)(void *arg, const char *line, size_t len),
    void *arg)
{
	int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	FILE *f = fd == -1 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	size_t room = 0, good = 0;
	ssize_t len;

	if (f)
		rewind(f); /* whoever had it before has written to its end */
	while (f && (len = getline(&line, &room, f)) > 0 &&
	    line[len - 1] == '\n') {
		line[len - 1] = '\0';
		fn(arg, line, (size_t)len - 1);
		good += (size_t)len;
	}
	free(line);
	if (!f) {
		log_warnx("%s: %s", s->name, strerror(errno));
		return;
	}
	fclose(f);
	if (good < s->size)
		cut(s, good);
}

static int
append(struct spool *s, const char *line, size_t len)
{
	struct iovec v[] = {{(char *)line, len}, {(char *)"\n", 1}};
	ssize_t n = writev(s->fd, v, 2);
	int error;

	if (n == (ssize_t)len + 1) {
		s->size += len + 1;
		return 0;
	}
	error = n == -1 ? errno : ENOSPC;
	cut(s, s->size);
	errno = error;
	return -1;
}

void
spool_note(struct spool *s, const char *line)
{
	if (append(s, line, strlen(line)) == -1)
		log_warnx("%s: %s", s->name, strerror(errno));
}

int
spool_add(struct spool *s, const char *line, size_t len, spool_fn fn, void *arg)
{
	struct line *l;

	if (append(s, line, len) == -1)
		return -1;
	l = xcalloc(1, sizeof(*l));
	l->fn = fn;
	l->arg = arg;
	TAILQ_INSERT_TAIL(&s->written, l, next);
	sync_written(s);
	return 0;
}

size_t
spool_size(const struct spool *s)
{
	return s->size;
}

void
spool_clear(struct spool *s)
{
	cut(s, 0);
}

void
spool_free(struct spool *s)
{
	struct line *l;

	if (!s)
		return;
	end_thread(s);
	TAILQ_CONCAT(&s->syncing, &s->written, next);
	while ((l = TAILQ_FIRST(&s->syncing))) {
		TAILQ_REMOVE(&s->syncing, l, next);
		free(l);
	}
	ev_async_stop(s->loop, &s->synced);
	close(s->fd);
	free(s->name);
	free(s);
}
