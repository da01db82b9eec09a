/*
 * Hang-ups: an epoll of our own in which descriptors wait for nothing but
 * the other end's leaving.  libev cannot do this: for it a closed peer is
 * readable and writable for ever, which would spin.
 *
 * A Unix socket says EPOLLHUP when its peer is closed.  On TCP a close
 * looks like a shutdown for writing; whether somebody still holds the
 * peer's socket, the kernel can be asked.  It is asked again and again: a
 * close behind a shutdown sends nothing, and one that is under way has told
 * its end before its socket is gone.
 */
#include "hangup.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "mem.h"
#include "sock.h"
#include "turns.h"

#define LOOK 2.0 /* seconds between */

struct hangups {
	struct ev_loop *loop;
	ev_io io;
	void (*fn)(void *arg);
};

static void
arm(struct hangups *h, struct hangup *w, int how, unsigned events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT};

	event.data.ptr = w;
	epoll_ctl(h->io.fd, how, w->fd, &event);
}

static void
notice(struct hangups *h, struct hangup *w, unsigned events)
{
	if (events & (EPOLLHUP | EPOLLERR) || sock_peer_has_left(w->fd)) {
		h->fn(w->arg);
		return;
	}
	arm(h, w, EPOLL_CTL_MOD, 0); /* it still reads */
	if (!sock_is_unix(w->fd))
		ev_timer_again(h->loop, &w->look);
}

static void
on_look(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("hang-ups of", "clients");
	struct hangup *w = timer->data;

	(void)revents;
	if (!sock_peer_has_left(w->fd))
		return;
	ev_timer_stop(loop, timer);
	w->all->fn(w->arg);
}

/* One at a time: fn may forget others. */
static void
on_events(struct ev_loop *loop, ev_io *io, int revents)
{
	DOING("hang-ups of", "clients");
	struct epoll_event event;

	(void)loop;
	(void)revents;
	while (epoll_wait(io->fd, &event, 1, 0) == 1)
		notice(io->data, event.data.ptr, event.events);
}

struct hangups *
hangups_new(struct ev_loop *loop, void (*fn)(void *arg))
{
	struct hangups *h = xcalloc(1, sizeof(*h));
	int fd = epoll_create1(EPOLL_CLOEXEC);

	assert(fd != -1);
	h->loop = loop;
	h->fn = fn;
	ev_io_init(&h->io, on_events, fd, EV_READ);
	h->io.data = h;
	ev_io_start(loop, &h->io);
	return h;
}

void
hangups_free(struct hangups *h)
{
	ev_io_stop(h->loop, &h->io);
	close(h->io.fd);
	free(h);
}

void
hangup_watch(struct hangups *h, struct hangup *w, int fd, void *arg)
{
	if (w->watched)
		return;
	w->fd = fd;
	w->watched = true;
	w->arg = arg;
	w->all = h;
	ev_timer_init(&w->look, on_look, LOOK, LOOK);
	w->look.data = w;
	arm(h, w, EPOLL_CTL_ADD, EPOLLRDHUP);
}

void
hangup_forget(struct hangups *h, struct hangup *w)
{
	if (!w->watched)
		return;
	w->watched = false;
	ev_timer_stop(h->loop, &w->look);
	epoll_ctl(h->io.fd, EPOLL_CTL_DEL, w->fd, NULL);
}
