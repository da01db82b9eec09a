/*
 * Listening sockets.
 *
 * One spare descriptor is kept: when accept(2) finds none left, the spare
 * is given up to take one connection and tell it so, and accepting pauses
 * for a second instead of spinning.
 *
 * A Unix socket whose path vanishes (cleaners of /tmp do that) is made
 * anew; inotify tells of it.
 */
#define LOG_MODULE "listen"
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "sock.h"
#include "turns.h"

#define BACKLOG 4096 /* the kernel cuts it to somaxconn */
#define ACCEPTS_A_TURN 32
#define SHORTAGE_PAUSE 1.0 /* seconds */
#define SOCKET_MODE 0666 /* who connects is asked for by uid */

struct listener {
	LIST_ENTRY(listener) entry;
	struct listeners *all;
	struct address address;
	ev_io io;
	dev_t device; /* of a Unix socket's path */
	ino_t inode;
};

struct listeners {
	struct ev_loop *loop;
	LIST_HEAD(, listener) list;
	accepted_fn fn;
	void *arg;
	int spare;
	bool paused;
	ev_timer shortage; /* active: no descriptors were left */
	ev_io paths; /* inotify, on the paths of Unix sockets */
};

/* ---- accepting ---- */

static void
watch(struct listeners *ls)
{
	bool on = !ls->paused && !ev_is_active(&ls->shortage);
	struct listener *l;

	LIST_FOREACH (l, &ls->list, entry) {
		if (on)
			ev_io_start(ls->loop, &l->io);
		else
			ev_io_stop(ls->loop, &l->io);
	}
}

static void
keep_spare(struct listeners *ls)
{
	if (ls->spare == -1)
		ls->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
on_shortage_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("new", "connections");
	struct listeners *ls = w->data;

	(void)loop;
	(void)revents;
	keep_spare(ls);
	watch(ls);
}

/* Takes one connection with the spare descriptor to say why. */
static void
turn_away(struct listeners *ls, int listening)
{
	static const char sorry[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32042,"
	    "\"message\":\"herod has no file descriptor left\"}}\n";
	ssize_t sent;
	int fd;

	if (ls->spare == -1)
		return;
	close(ls->spare);
	ls->spare = -1;
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1)
		return;
	sent = send(fd, sorry, sizeof(sorry) - 1, MSG_NOSIGNAL);
	(void)sent; /* it would have been a kindness */
	close(fd);
	keep_spare(ls);
}

static bool
is_shortage(int cause)
{
	return cause == EMFILE || cause == ENFILE || cause == ENOBUFS ||
	    cause == ENOMEM;
}

static void
accept_failed(struct listener *l)
{
	struct listeners *ls = l->all;

	if (!is_shortage(errno)) {
		/* A connection that broke before we took it. */
		log_debug("%s: accept: %s", l->address.text, strerror(errno));
		return;
	}
	log_warn("%s: accept, next in %gs", l->address.text, SHORTAGE_PAUSE);
	turn_away(ls, l->io.fd);
	ev_timer_set(&ls->shortage, SHORTAGE_PAUSE, 0);
	ev_timer_start(ls->loop, &ls->shortage);
	watch(ls);
}

static void
on_connections(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("new", "connections");
	struct listener *l = w->data;
	struct listeners *ls = l->all;
	const int on = 1;
	int fd, n;

	(void)loop;
	(void)revents;
	for (n = 0; n < ACCEPTS_A_TURN && ev_is_active(w); n++) {
		fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd == -1) {
			if (errno != EAGAIN && errno != EINTR)
				accept_failed(l);
			return;
		}
		if (!address_is_unix(&l->address))
			setsockopt(
			    fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		ls->fn(ls->arg, fd);
	}
}

/* ---- listening ---- */

static int
check_address(const struct address *a, bool keys, struct err *e)
{
	if (keys || address_is_loopback(a))
		return 0;
	errno = EACCES;
	err_set(e, ERR_PARAMS,
	    "%s: others than loopback addresses and Unix sockets only once "
	    "there is a key, which callers from elsewhere must show",
	    a->text);
	return err_hint(e, "make one: herod --bootstrap-admin-key NAME");
}

/* Where the path leads now; false when that is no socket. */
static bool
find_path(const struct address *a, dev_t *device, ino_t *inode)
{
	struct stat st;

	if (lstat(address_path(a), &st) == -1 || !S_ISSOCK(st.st_mode))
		return false;
	*device = st.st_dev;
	*inode = st.st_ino;
	return true;
}

static bool
is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int listens = 0;

	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
	return listens != 0;
}

/* Somebody answers at the path, or would if the backlog were not full. */
static bool
is_reachable(const struct address *a)
{
	struct err e = {0};
	int fd = address_connect(a, 0, &e);

	if (fd == -1)
		return e.code == ERR_TIMED_OUT;
	close(fd);
	return true;
}

/* A socket that was handed on to us still serves the address. */
static bool
is_usable(const struct address *a, int fd)
{
	struct address bound;

	if (!is_listening(fd) || address_of(&bound, fd) == -1 ||
	    bound.sa.ss_family != a->sa.ss_family)
		return false;
	return !address_is_unix(a) || is_reachable(a);
}

/* ---- paths that vanish ---- */

/* The last link to a socket's path goes with a change of its attributes. */
static void
watch_path(struct listener *l)
{
	if (!address_is_unix(&l->address))
		return;
	find_path(&l->address, &l->device, &l->inode);
	if (l->all->paths.fd != -1)
		inotify_add_watch(l->all->paths.fd, address_path(&l->address),
		    IN_ATTRIB | IN_MOVE_SELF);
}

static bool
is_in_place(const struct listener *l)
{
	dev_t device;
	ino_t inode;

	return find_path(&l->address, &device, &inode) && device == l->device &&
	    inode == l->inode;
}

static void
renew(struct listener *l)
{
	struct ev_loop *loop = l->all->loop;
	struct err e = {0};
	int fd;

	fd = address_listen(&l->address, BACKLOG, SOCKET_MODE, &e);
	if (fd == -1) {
		log_warnx(
		    "%s: its path has vanished: %s", l->address.text, e.text);
		return;
	}
	log_warnx("%s: its path had vanished, made anew", l->address.text);
	ev_invoke(loop, &l->io, EV_READ); /* who is in the old backlog */
	ev_io_stop(loop, &l->io);
	close(l->io.fd);
	ev_io_set(&l->io, fd, EV_READ);
	watch_path(l);
	watch(l->all);
}

static void
on_path_event(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("paths of", "sockets");
	struct listeners *ls = w->data;
	struct listener *l;
	char events[4096];

	(void)loop;
	(void)revents;
	while (read(w->fd, events, sizeof(events)) > 0)
		continue; /* which it was is seen below */
	LIST_FOREACH (l, &ls->list, entry)
		if (address_is_unix(&l->address) && !is_in_place(l))
			renew(l);
}

static void
watch_paths(struct listeners *ls)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	ev_io_init(&ls->paths, on_path_event, fd, EV_READ);
	ls->paths.data = ls;
	if (fd != -1)
		ev_io_start(ls->loop, &ls->paths);
}

/* ---- adding ---- */

struct listeners *
listeners_new(struct ev_loop *loop, accepted_fn fn, void *arg)
{
	struct listeners *ls = xcalloc(1, sizeof(*ls));

	ls->loop = loop;
	LIST_INIT(&ls->list);
	ls->fn = fn;
	ls->arg = arg;
	ls->spare = -1;
	keep_spare(ls);
	ev_init(&ls->shortage, on_shortage_over);
	ls->shortage.data = ls;
	watch_paths(ls);
	return ls;
}

static struct listener *
listener_new(struct listeners *ls, const struct address *a, int fd)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	l->all = ls;
	l->address = *a;
	watch_path(l);
	if (!address_is_unix(a))
		address_of(&l->address, fd); /* port 0 has a number now */
	ev_io_init(&l->io, on_connections, fd, EV_READ);
	ev_set_priority(&l->io, -1);
	l->io.data = l;
	LIST_INSERT_HEAD(&ls->list, l, entry);
	return l;
}

int
listen_check(const char *address, bool keys, struct err *e)
{
	struct address a;

	return address_parse(&a, address, e) || check_address(&a, keys, e) ? -1
									   : 0;
}

int
listeners_add(struct listeners *ls, const char *address, int fd, struct err *e)
{
	struct listener *l;
	struct address a;

	if (address_parse(&a, address, e) == -1) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (fd >= 0 && !is_usable(&a, fd)) {
		log_info(
		    "%s: the old socket is of no use, making it anew", a.text);
		close(fd);
		fd = -1;
	}
	if (fd == -1)
		fd = address_listen(&a, BACKLOG, SOCKET_MODE, e);
	else
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (fd == -1)
		return -1;
	l = listener_new(ls, &a, fd);
	log_info("%s: listening", l->address.text);
	watch(ls);
	return fd;
}

void
listeners_pause(struct listeners *ls, bool paused)
{
	if (ls->paused == paused)
		return;
	ls->paused = paused;
	watch(ls);
}

/* ---- ending ---- */

static void
listener_free(struct listener *l)
{
	ev_io_stop(l->all->loop, &l->io);
	close(l->io.fd);
	LIST_REMOVE(l, entry);
	free(l);
}

void
listeners_close(struct listeners *ls)
{
	struct listener *l;

	while ((l = LIST_FIRST(&ls->list)) != NULL) {
		if (address_is_unix(&l->address) && is_in_place(l))
			unlink(address_path(&l->address));
		listener_free(l);
	}
}

void
listeners_free(struct listeners *ls)
{
	struct listener *l;

	while ((l = LIST_FIRST(&ls->list)) != NULL)
		listener_free(l);
	ev_timer_stop(ls->loop, &ls->shortage);
	ev_io_stop(ls->loop, &ls->paths);
	if (ls->paths.fd != -1)
		close(ls->paths.fd);
	if (ls->spare != -1)
		close(ls->spare);
	free(ls);
}
