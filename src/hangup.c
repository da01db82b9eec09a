/*
 * Hang-ups: an epoll of our own in which descriptors wait for nothing but
 * EPOLLHUP and EPOLLERR.  libev cannot do this: for it a closed peer is
 * readable and writable for ever, which would spin.
 */
#include "hangup.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "mem.h"

struct hangups {
	struct ev_loop *loop;
	ev_io io;
	void (*fn)(void *arg);
};

/* One at a time: fn may forget others. */
static void
on_hangup(struct ev_loop *loop, ev_io *w, int revents)
{
	struct hangups *h = w->data;
	struct epoll_event event;

	(void)loop;
	(void)revents;
	while (epoll_wait(w->fd, &event, 1, 0) == 1)
		h->fn(event.data.ptr);
}

struct hangups *
hangups_new(struct ev_loop *loop, void (*fn)(void *arg))
{
	struct hangups *h = xcalloc(1, sizeof(*h));
	int fd = epoll_create1(EPOLL_CLOEXEC);

	assert(fd != -1);
	h->loop = loop;
	h->fn = fn;
	ev_io_init(&h->io, on_hangup, fd, EV_READ);
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
hangup_watch(struct hangups *h, int fd, void *arg)
{
	struct epoll_event event = {.events = EPOLLONESHOT};

	event.data.ptr = arg;
	if (epoll_ctl(h->io.fd, EPOLL_CTL_ADD, fd, &event) == -1)
		epoll_ctl(h->io.fd, EPOLL_CTL_MOD, fd, &event);
}

void
hangup_forget(struct hangups *h, int fd)
{
	epoll_ctl(h->io.fd, EPOLL_CTL_DEL, fd, NULL);
}
