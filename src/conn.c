/*
 * Line connections.
 *
 *	OPEN		lines are read and taken
 *	CLOSING		no more lines; what waits is sent
 *	LINGERING	all sent and our side shut; what still comes is thrown
 *			away, for a close with unread bytes would make the
 *			kernel throw away our last answer at the other end
 *	DEAD		freed when its turn in the sweep comes
 *
 * Callbacks only change the connection and put it on the list of those to
 * be looked after; the sweep, run by ev_prepare after all other events of
 * a turn, takes left-over lines, writes, decides what to wait for, and
 * frees.  Half-closed peers (printf ... | nc) get their answers first.
 */
#define LOG_MODULE "conn"
#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame.h"
#include "hangup.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define READ_SIZE 65536 /* bytes read from one peer a turn */
#define SMALL_REST (READ_SIZE / 4) /* a half line that is copied */
#define SMALL_OUTPUT 1024 /* room for the answers of some lines */
#define LINES_A_TURN 128 /* lines taken from one peer a turn */
#define BYTES_A_TURN 1048576 /* of answers; then one line of each peer */
#define OUTPUT_MARK 262144 /* with more waiting, no lines are taken */
#define LINGER_SECONDS 5.0

enum phase { OPEN, CLOSING, LINGERING, DEAD };

struct output {
	char *buf;
	size_t len, sent, size;
};

struct conn {
	TAILQ_ENTRY(conn) entry;
	TAILQ_ENTRY(conn) sweep_entry;
	struct conns *all;
	void *arg;
	char *name;
	enum phase phase;
	bool to_sweep;
	bool eof; /* the peer has sent its last */
	bool more; /* whole lines wait in the frame */
	bool fresh; /* lines were taken since the timer was set */
	bool behind; /* much waits: say so when it has left */
	ev_io in, out;
	ev_timer late; /* of a half line, or of lingering */
	struct hangup hangup;
	struct frame frame;
	struct output output;
};

TAILQ_HEAD(conn_list, conn);

struct conns {
	struct ev_loop *loop;
	const struct daemon_conf *conf;
	const struct conn_ops *ops;
	struct conn_list list, sweep;
	size_t waiting; /* bytes of all outputs */
	size_t answered; /* bytes of answers in this turn */
	struct frame spare; /* a read buffer, lent to who reads */
	struct hangups *hangups;
	ev_prepare prepare;
	ev_idle awake; /* keeps the loop from sleeping before a sweep */
};

/* ---- small helpers ---- */

static void
sweep_later(struct conn *c)
{
	struct conns *cs = c->all;

	if (c->to_sweep)
		return;
	c->to_sweep = true;
	TAILQ_INSERT_TAIL(&cs->sweep, c, sweep_entry);
	ev_idle_start(cs->loop, &cs->awake);
}

void
conn_end(struct conn *c, const char *reason)
{
	if (c->phase != OPEN)
		return;
	log_info("%s: closing: %s", c->name, reason);
	c->phase = CLOSING;
	c->more = false;
	sweep_later(c);
}

size_t
conn_waiting(const struct conn *c)
{
	return c->output.len - c->output.sent;
}

void
conn_want_room(struct conn *c)
{
	c->behind = true;
}

void *
conn_arg(const struct conn *c)
{
	return c->arg;
}

static size_t
mark_of(const struct conn *c)
{
	size_t quarter = (size_t)c->all->conf->max_output / 4;

	return quarter < OUTPUT_MARK ? quarter : OUTPUT_MARK;
}

static bool
takes_lines(const struct conn *c)
{
	return c->phase == OPEN && conn_waiting(c) <= mark_of(c) &&
	    c->all->ops->load(c) != CONN_FULL;
}

/* ---- output ---- */

static void
output_clear(struct conn *c)
{
	c->all->waiting -= conn_waiting(c);
	free(c->output.buf);
	memset(&c->output, 0, sizeof(c->output));
}

/* Nobody will read what waits. */
static void
die(struct conn *c, const char *reason)
{
	if (c->phase == DEAD)
		return;
	log_debug("%s: closed: %s", c->name, reason);
	c->phase = DEAD;
	output_clear(c);
	sweep_later(c);
}

static void
cut_off(struct conn *c, const char *limit)
{
	log_info("%s: closing: does not read its answers", c->name);
	die(c, limit);
}

/* Who has most waiting makes room for the others. */
static void
cut_off_the_largest(struct conns *cs)
{
	struct conn *c, *largest = TAILQ_FIRST(&cs->list);

	TAILQ_FOREACH (c, &cs->list, entry)
		if (conn_waiting(c) > conn_waiting(largest))
			largest = c;
	cut_off(largest, "max_output_all");
}

/* The first text of a turn becomes the buffer; often it is the only one. */
static void
output_add(struct output *o, char *stolen, size_t len)
{
	if (o->buf == NULL) {
		o->buf = stolen;
		o->len = o->size = len;
		return;
	}
	if (o->sent > 0) {
		o->len -= o->sent;
		memmove(o->buf, o->buf + o->sent, o->len);
		o->sent = 0;
	}
	if (o->size - o->len < len) {
		o->size = 2 * (o->len + len) + SMALL_OUTPUT;
		o->buf = xreallocarray(o->buf, o->size, 1);
	}
	memcpy(o->buf + o->len, stolen, len);
	o->len += len;
	free(stolen);
}

void
conn_send(struct conn *c, char *stolen, size_t len)
{
	struct conns *cs = c->all;

	sweep_later(c);
	if (stolen == NULL)
		return;
	if (c->phase == LINGERING || c->phase == DEAD) {
		free(stolen);
		return;
	}
	if (conn_waiting(c) > (size_t)cs->conf->max_output) {
		free(stolen);
		cut_off(c, "max_output");
		return;
	}
	output_add(&c->output, stolen, len);
	cs->waiting += len;
	cs->answered += len;
	if (conn_waiting(c) > mark_of(c))
		c->behind = true;
	if (cs->waiting > (size_t)cs->conf->max_output_all)
		cut_off_the_largest(cs);
}

static void
flush(struct conn *c)
{
	struct output *o = &c->output;
	ssize_t n;

	if (conn_waiting(c) == 0)
		return;
	c->all->ops->sending(c);
	n = send(c->in.fd, o->buf + o->sent, conn_waiting(c), MSG_NOSIGNAL);
	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			die(c, strerror(errno));
		return;
	}
	o->sent += (size_t)n;
	c->all->waiting -= (size_t)n;
	if (o->sent == o->len)
		output_clear(c);
	if (c->behind && conn_waiting(c) <= mark_of(c) / 2) {
		c->behind = false;
		c->all->ops->caught_up(c);
	}
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("answers to", "clients");
	(void)loop;
	(void)revents;
	sweep_later(w->data);
}

/* ---- input ---- */

static bool
is_blank(const char *text, size_t len)
{
	return strspn(text, " \t\r") >= len;
}

static bool
is_too_long(const struct conn *c, size_t len)
{
	return len > (size_t)c->all->conf->max_request;
}

static void
refuse_long_line(struct conn *c)
{
	c->all->ops->too_long(c);
	conn_end(c, "a line longer than max_request");
}

static void
refuse_slow_line(struct conn *c)
{
	c->all->ops->too_slow(c);
	conn_end(c, "a line took longer than request_timeout");
}

static void
take_line(struct conn *c, char *text, size_t len)
{
	c->fresh = true;
	if (is_too_long(c, len))
		refuse_long_line(c);
	else if (!is_blank(text, len))
		c->all->ops->line(c, text, len);
}

/* The last line may lack its newline. */
static void
take_last_line(struct conn *c)
{
	size_t room;

	if (frame_rest(&c->frame) == 0)
		return;
	*frame_room(&c->frame, 1, &room) = '\n';
	frame_add(&c->frame, 1);
	c->more = true;
}

/* Half a line in a frame of its own, small or none. */
static struct frame
copy_rest(const struct frame *f)
{
	size_t room, rest = frame_rest(f);
	struct frame copy;

	frame_init(&copy);
	if (rest > 0) {
		memcpy(frame_room(&copy, rest, &room), f->buf + f->taken, rest);
		frame_add(&copy, rest);
	}
	return copy;
}

/* The large buffer is for who reads next: a thousand half lines must not
 * hold as many of them. */
static void
return_buffer(struct conn *c)
{
	struct conns *cs = c->all;
	struct frame rest;

	if (c->frame.size < READ_SIZE || frame_rest(&c->frame) > SMALL_REST)
		return;
	rest = copy_rest(&c->frame);
	if (cs->spare.buf == NULL && c->frame.size <= 2 * READ_SIZE) {
		cs->spare = c->frame;
		cs->spare.len = cs->spare.taken = cs->spare.seen = 0;
	} else {
		frame_clear(&c->frame);
	}
	c->frame = rest;
}

/* Many peers with large answers must not make one long turn. */
static size_t
lines_now(const struct conn *c)
{
	return c->all->answered < BYTES_A_TURN ? LINES_A_TURN : 1;
}

static void
take_lines(struct conn *c)
{
	size_t len, n = 0;
	char *line;

	c->more = false;
	while (takes_lines(c) && n < lines_now(c)) {
		n++;
		line = frame_line(&c->frame, &len);
		if (line == NULL)
			break;
		take_line(c, line, len);
	}
	if (c->phase != OPEN)
		return;
	c->more = frame_has_line(&c->frame);
	if (!c->more && is_too_long(c, frame_rest(&c->frame)))
		refuse_long_line(c);
	else if (!c->more && c->eof)
		take_last_line(c);
	return_buffer(c);
}

static char *
read_buffer(struct conn *c, size_t *room)
{
	struct frame *spare = &c->all->spare, small = c->frame;
	size_t rest = frame_rest(&small);

	if (small.size >= READ_SIZE || rest > SMALL_REST)
		return frame_room(&c->frame, READ_SIZE / 4, room);
	c->frame = *spare;
	frame_init(spare);
	frame_room(&c->frame, READ_SIZE, room);
	if (rest > 0)
		memcpy(c->frame.buf, small.buf + small.taken, rest);
	frame_add(&c->frame, rest);
	frame_clear(&small);
	return frame_room(&c->frame, READ_SIZE / 4, room);
}

static void
discard(struct conn *c)
{
	size_t room;
	char *buf = read_buffer(c, &room);
	ssize_t n = read(c->in.fd, buf, room);

	if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
		die(c, "done");
	c->frame.taken = c->frame.len; /* of no use to anybody */
	return_buffer(c);
}

static void
receive(struct conn *c)
{
	size_t room;
	char *buf = read_buffer(c, &room);
	ssize_t n = read(c->in.fd, buf, room);

	sweep_later(c);
	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			die(c, strerror(errno));
		return_buffer(c);
		return;
	}
	c->eof = n == 0;
	frame_add(&c->frame, (size_t)n);
	take_lines(c);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("lines from", "clients");
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	if (c->phase == OPEN)
		receive(c);
	else if (c->phase == LINGERING)
		discard(c);
}

static void
on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("deadlines of", "clients");
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	if (c->phase == LINGERING) {
		die(c, "lingered long enough");
	} else if (c->phase == OPEN) {
		/* It may be we who slept: what has come is read first. */
		receive(c);
		if (c->phase == OPEN && !c->fresh && !c->eof)
			refuse_slow_line(c);
	}
}

static void
on_hangup(void *arg)
{
	die(arg, "hung up");
}

/* ---- the sweep ---- */

static void
set_watcher(struct conn *c, ev_io *w, bool on)
{
	if (on)
		ev_io_start(c->all->loop, w);
	else
		ev_io_stop(c->all->loop, w);
}

static void
set_timer(struct conn *c, double seconds)
{
	ev_timer_stop(c->all->loop, &c->late);
	ev_timer_set(&c->late, seconds, 0);
	ev_timer_start(c->all->loop, &c->late);
}

static void
linger(struct conn *c)
{
	if (c->eof) {
		die(c, "done");
		return;
	}
	shutdown(c->in.fd, SHUT_WR);
	c->phase = LINGERING;
	set_timer(c, LINGER_SECONDS);
	set_watcher(c, &c->in, true);
}

/* The half line that waits for its end has a deadline, while we listen. */
static void
watch_half_line(struct conn *c)
{
	if (!ev_is_active(&c->in) || frame_rest(&c->frame) == 0)
		ev_timer_stop(c->all->loop, &c->late);
	else if (c->fresh || !ev_is_active(&c->late))
		set_timer(c, c->all->conf->request_timeout);
	c->fresh = false;
}

static void
watch_last(struct conn *c)
{
	if (c->more || conn_waiting(c) > 0)
		return;
	if (c->all->ops->load(c) == CONN_IDLE)
		die(c, "done");
	else
		hangup_watch(c->all->hangups, &c->hangup, c->in.fd, c);
}

static void
watch_open(struct conn *c)
{
	bool takes = takes_lines(c);

	set_watcher(c, &c->in, takes && !c->more && !c->eof);
	watch_half_line(c);
	if (c->more && takes)
		sweep_later(c);
	if (c->eof)
		watch_last(c);
}

static void
conn_free(struct conn *c)
{
	struct conns *cs = c->all;

	cs->ops->closed(c);
	if (c->to_sweep)
		TAILQ_REMOVE(&cs->sweep, c, sweep_entry);
	TAILQ_REMOVE(&cs->list, c, entry);
	ev_io_stop(cs->loop, &c->in);
	ev_io_stop(cs->loop, &c->out);
	ev_timer_stop(cs->loop, &c->late);
	hangup_forget(cs->hangups, &c->hangup);
	close(c->in.fd);
	frame_clear(&c->frame);
	output_clear(c);
	free(c->name);
	free(c);
}

static void
look_after(struct conn *c)
{
	if (c->more && takes_lines(c))
		take_lines(c);
	if (c->phase != DEAD)
		flush(c);
	if (c->phase == OPEN)
		watch_open(c);
	if (c->phase == CLOSING) {
		ev_io_stop(c->all->loop, &c->in);
		ev_timer_stop(c->all->loop, &c->late);
		if (conn_waiting(c) == 0)
			linger(c);
	}
	if (c->phase == DEAD)
		conn_free(c);
	else
		set_watcher(c, &c->out, conn_waiting(c) > 0);
}

/* Once for each that was put on the list before; who comes back on it
 * during the sweep is for the next turn, which then begins at once. */
static void
on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
	DOING("answers to", "clients");
	struct conns *cs = w->data;
	struct conn_list now = TAILQ_HEAD_INITIALIZER(now);
	struct conn *c;

	(void)revents;
	TAILQ_CONCAT(&now, &cs->sweep, sweep_entry);
	while ((c = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, c, sweep_entry);
		c->to_sweep = false;
		look_after(c);
	}
	cs->answered = 0;
	if (TAILQ_EMPTY(&cs->sweep))
		ev_idle_stop(loop, &cs->awake);
}

static void
on_awake(struct ev_loop *loop, ev_idle *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

/* ---- public ---- */

struct conns *
conns_new(struct ev_loop *loop, const struct daemon_conf *conf,
    const struct conn_ops *ops)
{
	struct conns *cs = xcalloc(1, sizeof(*cs));

	cs->loop = loop;
	cs->conf = conf;
	cs->ops = ops;
	TAILQ_INIT(&cs->list);
	TAILQ_INIT(&cs->sweep);
	cs->hangups = hangups_new(loop, on_hangup);
	ev_prepare_init(&cs->prepare, on_prepare);
	/* After what others do before the loop sleeps: they may answer. */
	ev_set_priority(&cs->prepare, EV_MINPRI);
	cs->prepare.data = cs;
	ev_prepare_start(loop, &cs->prepare);
	ev_idle_init(&cs->awake, on_awake);
	return cs;
}

void
conns_free(struct conns *cs)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&cs->list)) != NULL) {
		flush(c);
		conn_free(c);
	}
	ev_prepare_stop(cs->loop, &cs->prepare);
	ev_idle_stop(cs->loop, &cs->awake);
	hangups_free(cs->hangups);
	frame_clear(&cs->spare);
	free(cs);
}

struct conn *
conn_new(struct conns *cs, int fd, const char *name, void *arg)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->all = cs;
	c->arg = arg;
	c->name = xstrdup(name);
	ev_io_init(&c->in, on_readable, fd, EV_READ);
	ev_io_init(&c->out, on_writable, fd, EV_WRITE);
	ev_init(&c->late, on_late);
	/* Deaths of children are handled before requests. */
	ev_set_priority(&c->in, -1);
	ev_set_priority(&c->out, -1);
	c->in.data = c->out.data = c->late.data = c;
	TAILQ_INSERT_TAIL(&cs->list, c, entry);
	ev_io_start(cs->loop, &c->in);
	return c;
}

/* One that was closing sends its last and takes nothing more. */
bool
conn_leave(struct conn *c, struct conn_rest *rest)
{
	c->behind = false;
	flush(c);
	*rest = (struct conn_rest){.fd = c->in.fd,
	    .eof = c->eof || c->phase != OPEN,
	    .output_len = conn_waiting(c)};
	if (c->phase == OPEN)
		rest->input_len = frame_rest(&c->frame);
	if (rest->input_len > 0)
		rest->input = c->frame.buf + c->frame.taken;
	if (rest->output_len > 0)
		rest->output = c->output.buf + c->output.sent;
	return c->phase == OPEN || (c->phase == CLOSING && rest->output_len);
}

void
conn_go_on(struct conn *c, const struct conn_rest *rest)
{
	size_t room;

	c->eof = rest->eof;
	if (rest->input_len > 0) {
		memcpy(frame_room(&c->frame, rest->input_len, &room),
		    rest->input, rest->input_len);
		frame_add(&c->frame, rest->input_len);
		take_lines(c);
	}
	sweep_later(c);
}
