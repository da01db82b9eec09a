/*
 * Output and stdin of a process.
 *
 * Output is moved from the process's pipe into transit (transit.h), handed
 * out, and only then let go.  The keeper holds all of these: when herod dies
 * in between, the next one finds what was in hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOG_MODULE "child"
#include "child_impl.h"
#include "mem.h"
#include "turns.h"

#define TURN_MAX (256 * 1024) /* bytes of a stream in one loop turn */
#define FINISH_MAX (4 * 1024 * 1024) /* more than a pipe holds */
#define FEED_KEEP (64 * 1024) /* bytes of an empty queue not given back */
#define UNWANTED 1.0 /* seconds until its owner is asked again */
#define READY_PIECE 512 /* bytes of the readiness descriptor at once */
#define LATE 0.001 /* seconds; see child_be_lazy() */

/* ---- output ---- */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void
hand_out(struct stream *s, size_t len)
{
	struct child *c = &s->process->c;

	c->ops->output(c, s->which, c->keeper->shared, len);
}

void
io_again(struct process *p, unsigned stream, size_t len)
{
	if (stream >= CHILD_STREAMS || p->c.ops == NULL)
		return;
	hand_out(&p->streams[stream], len);
}

/* Hands out at most max bytes; 0 at the end, -1 with errno. */
static ssize_t
portion(struct stream *s, size_t max)
{
	struct child *c = &s->process->c;
	struct transit_place place = child_place(c, s->which);
	char *buf = c->keeper->shared;
	ssize_t n;

	max = least(max, TRANSIT_PIECE);
	n = c->transit ? transit_take(&place, s->fd, buf, max)
		       : read(s->fd, buf, max);
	if (n > 0)
		hand_out(s, (size_t)n);
	if (n > 0 && c->transit)
		transit_done(c->transit);
	return n;
}

static bool
stream_is_open(const struct stream *s)
{
	return s->fd != -1 && !s->ended;
}

/*
 * The descriptor is closed with the process, in a later turn.  The keeper
 * holds the pipe, too: were it closed here, epoll would go on telling about
 * it, which libev cures by a new epoll with all of its descriptors.  So it
 * hears of the end once more, and takes it out.
 */
static void
stream_end(struct stream *s)
{
	struct ev_loop *loop = s->process->c.keeper->loop;

	ev_io_stop(loop, &s->io);
	ev_timer_stop(loop, &s->late);
	s->ended = true;
}

static void
stream_close(struct stream *s)
{
	stream_end(s);
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
}

static bool
is_over(ssize_t n)
{
	return n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR);
}

enum taken { NOTHING, LITTLE, MUCH, THE_END };

/* Takes what is there, up to max: MUCH when there may be more. */
static enum taken
stream_take(struct stream *s, size_t max)
{
	size_t left = max, want;
	ssize_t n;

	while (left > 0) {
		want = least(left, TRANSIT_PIECE);
		n = portion(s, want);
		if (is_over(n))
			return THE_END;
		if (n == -1)
			return left == max ? NOTHING : LITTLE;
		left -= (size_t)n;
		if ((size_t)n < want)
			return LITTLE;
	}
	return MUCH;
}

static bool
is_lazy(const struct stream *s)
{
	return s->lazy && s->process->phase != PHASE_ENDED;
}

static bool
is_wanted(const struct stream *s)
{
	struct child *c = &s->process->c;

	return c->ops->wants == NULL || c->ops->wants(c, s->which);
}

static void
read_later(struct stream *s, double seconds)
{
	struct ev_loop *loop = s->process->c.keeper->loop;

	ev_io_stop(loop, &s->io);
	ev_timer_set(&s->late, seconds, 0);
	ev_timer_start(loop, &s->late);
}

static void
stream_ended(struct stream *s)
{
	stream_end(s);
	process_look(s->process);
}

/* One bite.  As long as a lazy stream gives a little each time, the timer
 * has it and the watcher stays out. */
static void
stream_turn(struct stream *s)
{
	enum taken taken;

	if (!is_wanted(s)) {
		read_later(s, UNWANTED);
		return;
	}
	taken = stream_take(s, TURN_MAX);
	if (taken == THE_END)
		stream_ended(s);
	else if (taken == LITTLE && is_lazy(s))
		read_later(s, LATE);
	else
		ev_io_start(s->process->c.keeper->loop, &s->io);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("output of", "processes");
	(void)loop;
	(void)events;
	stream_turn(w->data);
}

static void
on_late(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("output of", "processes");
	(void)loop;
	(void)events;
	stream_turn(w->data);
}

static void
stream_start(struct stream *s)
{
	if (stream_is_open(s))
		ev_io_start(s->process->c.keeper->loop, &s->io);
}

void
child_be_lazy(struct child *c, int stream)
{
	((struct process *)c)->streams[stream].lazy = true;
}

/* ---- stdin ---- */

static void
feed_close(struct process *p)
{
	struct feed *f = &p->feed;

	ev_io_stop(p->c.keeper->loop, &f->io);
	if (f->fd != -1)
		close(f->fd);
	f->fd = -1;
	free(f->buf);
	f->buf = NULL;
	f->len = f->size = 0;
}

/* Should herod die in here, the two differ. */
static ssize_t
feed_write(struct process *p)
{
	volatile uint64_t *fed = p->c.fed;
	ssize_t n;

	if (fed)
		fed[0] += p->feed.len;
	n = write(p->feed.fd, p->feed.buf, p->feed.len);
	if (fed) {
		fed[1] += n > 0 ? (size_t)n : 0;
		fed[0] = fed[1];
	}
	return n;
}

/* Runs last in the loop turn in which something was queued, so that it all
 * goes in one write, and when a full pipe has room again. */
static void
on_writable(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("input of", "processes");
	struct process *p = w->data;
	struct feed *f = &p->feed;
	ssize_t n;

	(void)events;
	if (f->fd == -1)
		return;
	if (p->c.feeding)
		p->c.feeding(p->c.feeding_arg, f->buf, f->len);
	n = feed_write(p);
	if (n == -1 && errno != EAGAIN && errno != EINTR) {
		feed_close(p); /* it reads no more */
		return;
	}
	if (n > 0) {
		f->len -= (size_t)n;
		memmove(f->buf, f->buf + n, f->len);
	}
	if (f->len > 0) {
		ev_io_start(loop, &f->io);
		return;
	}
	ev_io_stop(loop, &f->io);
	if (f->size > FEED_KEEP) {
		free(f->buf);
		f->buf = NULL;
		f->size = 0;
	}
}

static void
feed_room(struct feed *f, size_t len)
{
	if (f->size - f->len >= len)
		return;
	if (f->size == 0)
		f->size = 1024;
	while (f->size - f->len < len)
		f->size *= 2;
	f->buf = xreallocarray(f->buf, f->size, 1);
}

bool
child_write(struct child *c, const char *buf, size_t len, size_t limit)
{
	struct process *p = (struct process *)c;
	struct feed *f = &p->feed;

	if (len > limit || f->len > limit - len)
		return false;
	if (p->phase == PHASE_ENDED ||
	    (p->phase == PHASE_RUNNING && f->fd == -1))
		return true; /* nobody reads it; its end is told by over() */
	feed_room(f, len);
	memcpy(f->buf + f->len, buf, len);
	f->len += len;
	if (f->fd != -1 && !ev_is_active(&f->io))
		ev_feed_event(c->keeper->loop, &f->io, EV_WRITE);
	return true;
}

static void
feed_start(struct process *p)
{
	if (p->feed.fd != -1 && p->feed.len > 0)
		ev_io_start(p->c.keeper->loop, &p->feed.io);
	else if (p->feed.fd == -1)
		feed_close(p);
}

/* ---- readiness ---- */

/* Copies what is in a pipe, and stays there. */
static ssize_t
peek(int fd, char *buf, size_t size)
{
	int copy[2];
	ssize_t n;

	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) == -1)
		return read(fd, buf, size);
	n = tee(fd, copy[1], size, SPLICE_F_NONBLOCK);
	if (n > 0)
		n = read(copy[0], buf, (size_t)n);
	close(copy[0]);
	close(copy[1]);
	return n;
}

static void
drop_bytes(int fd, size_t n)
{
	char buf[READY_PIECE];
	ssize_t ignored = read(fd, buf, n);

	(void)ignored;
}

/*
 * A line stays in the pipe: should we die before it is known that the
 * process is ready, the next herod finds it there.  The descriptor is closed
 * with the process, as those of streams are.
 */
static void
on_ready(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("readiness of", "processes");
	struct process *p = w->data;
	char buf[READY_PIECE];
	ssize_t n;

	(void)events;
	errno = 0;
	n = peek(p->ready_fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && !memchr(buf, '\n', (size_t)n)) {
		drop_bytes(p->ready_fd, (size_t)n);
		return;
	}
	ev_io_stop(loop, w); /* at the end without a line: it is not ready */
	if (n > 0 && p->c.ops->ready)
		p->c.ops->ready(&p->c);
}

/* ---- all of a process ---- */

void
io_init(struct process *p)
{
	struct stream *s;
	int i;

	for (i = 0; i < CHILD_STREAMS; i++) {
		s = &p->streams[i];
		s->process = p;
		s->which = i;
		s->fd = -1;
		ev_io_init(&s->io, on_readable, -1, EV_READ);
		ev_timer_init(&s->late, on_late, LATE, 0);
		s->io.data = s->late.data = s;
	}
	p->feed.fd = -1;
	ev_io_init(&p->feed.io, on_writable, -1, EV_WRITE);
	ev_set_priority(&p->feed.io, EV_MINPRI);
	p->feed.io.data = p;
	p->ready_fd = -1;
	ev_io_init(&p->ready_io, on_ready, -1, EV_READ);
	p->ready_io.data = p;
}

void
io_open(struct process *p, struct wire_fds *fds)
{
	int i;

	for (i = 0; i < CHILD_STREAMS; i++) {
		p->streams[i].fd = wire_fds_take(fds, WIRE_STDOUT + i);
		ev_io_set(&p->streams[i].io, p->streams[i].fd, EV_READ);
	}
	p->feed.fd = wire_fds_take(fds, WIRE_STDIN);
	ev_io_set(&p->feed.io, p->feed.fd, EV_WRITE);
	p->ready_fd = wire_fds_take(fds, WIRE_READINESS);
	ev_io_set(&p->ready_io, p->ready_fd, EV_READ);
}

void
io_start(struct process *p)
{
	int i;

	for (i = 0; i < CHILD_STREAMS; i++)
		stream_start(&p->streams[i]);
	feed_start(p);
	if (p->ready_fd != -1)
		ev_io_start(p->c.keeper->loop, &p->ready_io);
}

void
io_hurry(struct process *p)
{
	struct ev_loop *loop = p->c.keeper->loop;
	int i;

	feed_close(p);
	for (i = 0; i < CHILD_STREAMS; i++) {
		ev_timer_stop(loop, &p->streams[i].late);
		stream_start(&p->streams[i]);
	}
}

/* Who holds it may go on writing: only what is there now. */
static void
take_rest(struct stream *s)
{
	int there;

	if (ioctl(s->fd, FIONREAD, &there) == 0 && there > 0)
		stream_take(s, least((size_t)there, FINISH_MAX));
}

bool
child_read_now(struct child *c, int stream)
{
	struct stream *s = &((struct process *)c)->streams[stream];

	if (!stream_is_open(s))
		return true;
	if (!is_wanted(s))
		return false;
	take_rest(s);
	return true;
}

void
io_finish(struct process *p)
{
	struct stream *s;
	int i;

	for (i = 0; i < CHILD_STREAMS; i++) {
		s = &p->streams[i];
		if (!stream_is_open(s))
			continue;
		take_rest(s);
		stream_end(s);
	}
}

bool
io_is_open(const struct process *p)
{
	return stream_is_open(&p->streams[CHILD_STDOUT]) ||
	    stream_is_open(&p->streams[CHILD_STDERR]);
}

void
io_close(struct process *p)
{
	int i;

	for (i = 0; i < CHILD_STREAMS; i++)
		stream_close(&p->streams[i]);
	feed_close(p);
	ev_io_stop(p->c.keeper->loop, &p->ready_io);
	if (p->ready_fd != -1)
		close(p->ready_fd);
	p->ready_fd = -1;
}
