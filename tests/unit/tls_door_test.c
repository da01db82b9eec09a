/* One who speaks TLS does not keep the loop from others. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "fake/certificate.h"
#include "tls_door.h"

struct fixture {
	struct ev_loop *loop;
	struct tls_door *door;
	struct tls_link *link;
	struct tls_pipe *peer;
	int outside; /* the link's */
	int fd; /* the client's, when it is ready */
	int place;
	int gone;
};

static const double timeout = 20;

static void
on_ready(void *client, int fd, const char *subject)
{
	struct fixture *f = client;

	check_str(subject, "");
	f->fd = fd;
}

static void
on_failed(void *client, const char *why)
{
	(void)client;
	check_fail(__FILE__, __LINE__, "%s", why);
}

static void
on_gone(void *arg, void *place)
{
	struct fixture *f = arg;

	check(place == &f->place);
	f->gone++;
}

static const struct tls_door_ops ops = {on_ready, on_failed, on_gone};

/* Any server is trusted: no host is named. */
static struct tls_pipe *
peer_new(int fd)
{
	struct tls_files files = {0};
	struct err e = {0};
	struct tls_credentials *c = tls_client(&files, &e);
	struct tls_pipe *p;

	check_str(e.text, "");
	p = tls_pipe_new(c, fd, NULL);
	tls_credentials_drop(c);
	return p;
}

static enum tls_state
step(struct fixture *f)
{
	struct tls_wants wants;

	ev_run(f->loop, EVRUN_NOWAIT);
	return tls_pipe_run(f->peer, &wants);
}

static struct fixture *
start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	check(f != NULL);
	check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	f->fd = -1;
	f->outside = pair[0];
	f->loop = ev_loop_new(EVFLAG_AUTO);
	f->door = tls_door_new(f->loop, &timeout, &ops, f);
	tls_door_set(f->door, make_certificate());
	f->link = tls_link_new(f->door, pair[0], f);
	f->peer = peer_new(pair[1]);
	wait_for(step(f) == TLS_READY);
	wait_for((step(f), f->fd != -1));
	return f;
}

static int
unread(const struct fixture *f)
{
	int n = -1;

	check_int(ioctl(f->outside, FIONREAD, &n), 0);
	return n;
}

/* As much as the kernel takes. */
static void
flood(struct fixture *f)
{
	static const char bytes[16384];
	struct tls_wants wants;
	int fd = tls_pipe_program(f->peer), before;

	do {
		before = unread(f);
		while (write(fd, bytes, sizeof(bytes)) > 0)
			continue;
		tls_pipe_run(f->peer, &wants);
	} while (unread(f) > before);
}

static void
leave(struct fixture *f, bool is_guest)
{
	close(f->fd);
	tls_link_leave(f->link, is_guest, &f->place);
}

static void
end(struct fixture *f)
{
	tls_pipe_free(f->peer);
	wait_for((ev_run(f->loop, EVRUN_NOWAIT), f->gone == 1));
	check_int(tls_door_leaving(f->door), 0);
	check_int(tls_door_leaving_guests(f->door), 0);
	tls_door_free(f->door);
	ev_loop_destroy(f->loop);
	free(f);
}

void
test_a_flood_that_nobody_reads_is_taken_in_turns(void)
{
	struct fixture *f = start();
	int before;

	flood(f);
	leave(f, false);
	before = unread(f);
	check(before > 100000);
	ev_run(f->loop, EVRUN_NOWAIT);
	check(unread(f) < before);
	check(unread(f) > 0);
	wait_for((ev_run(f->loop, EVRUN_NOWAIT), unread(f) == 0));
	end(f);
}

void
test_who_leaves_is_counted_until_the_peer_has_left(void)
{
	struct fixture *f = start();

	check_int(tls_door_leaving(f->door), 0);
	leave(f, true);
	step(f);
	check_int(tls_door_leaving(f->door), 1);
	check_int(tls_door_leaving_guests(f->door), 1);
	end(f);
}
