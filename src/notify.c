/*
 * sd_notify(3).
 *
 * A program may tell that it is ready before the keeper has told us that it
 * was executed, so what comes from a session nobody knows is kept for a
 * moment.
 */
#define LOG_MODULE "notify"

#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define DATAGRAM_MAX 4096
#define FDS_MAX 253 /* SCM_MAX_FD: the kernel sends no more */
#define TURN_MAX 64 /* datagrams in one loop turn */
#define EARLY_MAX 256 /* kept of those nobody knows */
#define EARLY_TIME 3.0 /* seconds */
#define ANCESTORS_MAX 64
#define COMPLAINT_TIME 1.0 /* at most one such line in so many seconds */

/* A datagram of a session that nobody knows yet. */
struct early {
	TAILQ_ENTRY(early) entry;
	double at; /* clock_monotonic() */
	pid_t pid, session;
	uid_t uid;
	struct notify_message message;
};

RB_HEAD(members, notify_member);

struct notify {
	struct ev_loop *loop;
	int fd;
	char *address;
	ev_io reader;
	ev_timer late; /* throws away early ones that stay unknown */
	struct members members;
	TAILQ_HEAD(, early) early;
	size_t nearly;
	double complained; /* clock_monotonic() */
	unsigned long rejected;
};

static int
by_pid(const struct notify_member *a, const struct notify_member *b)
{
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

RB_PROTOTYPE_INTERNAL(
    members, notify_member, entry, by_pid, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(
    members, notify_member, entry, by_pid, __attribute__((unused)) static)

/* ---- the text ---- */

static bool
as_number(const char *text, unsigned long long *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static bool
as_seconds(const char *text, double *seconds)
{
	unsigned long long usec;

	if (!as_number(text, &usec))
		return false;
	*seconds = (double)usec / 1e6;
	return true;
}

static void
read_status(struct notify_message *m, const char *text)
{
	m->has_status = true;
	snprintf(m->status, sizeof(m->status), "%s", text);
}

static void
read_main_pid(struct notify_message *m, const char *text)
{
	unsigned long long pid;

	if (as_number(text, &pid) && pid > 0 && pid < 1ULL << 31)
		m->main_pid = (pid_t)pid;
}

static void
read_watchdog(struct notify_message *m, const char *text)
{
	m->alive = m->alive || strcmp(text, "1") == 0;
	m->trouble = m->trouble || strcmp(text, "trigger") == 0;
}

static void
read_line(struct notify_message *m, char *line)
{
	char *value = strchr(line, '=');

	if (value == NULL)
		return;
	*value++ = '\0';
	if (strcmp(line, "READY") == 0)
		m->ready = strcmp(value, "1") == 0;
	else if (strcmp(line, "RELOADING") == 0)
		m->reloading = strcmp(value, "1") == 0;
	else if (strcmp(line, "STOPPING") == 0)
		m->stopping = strcmp(value, "1") == 0;
	else if (strcmp(line, "STATUS") == 0)
		read_status(m, value);
	else if (strcmp(line, "MAINPID") == 0)
		read_main_pid(m, value);
	else if (strcmp(line, "WATCHDOG") == 0)
		read_watchdog(m, value);
	else if (strcmp(line, "WATCHDOG_USEC") == 0)
		as_seconds(value, &m->watchdog);
	else if (strcmp(line, "EXTEND_TIMEOUT_USEC") == 0)
		as_seconds(value, &m->extend);
}

void
notify_read(const char *text, size_t len, struct notify_message *m)
{
	char copy[DATAGRAM_MAX + 1], *rest = copy, *line;

	*m = (struct notify_message){.watchdog = -1};
	if (len > DATAGRAM_MAX)
		len = DATAGRAM_MAX;
	memcpy(copy, text, len);
	copy[len] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL)
		read_line(m, line);
}

/* ---- who ---- */

static struct notify_member *
member_find(struct notify *n, pid_t pid)
{
	struct notify_member key = {.pid = pid};

	return RB_FIND(members, &n->members, &key);
}

/* Of a process that has not been reaped; 0: unknown. */
static pid_t
parent_of(pid_t pid)
{
	char path[40], text[512], *behind;
	ssize_t len;
	int fd, ppid = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	behind = strrchr(text, ')'); /* the name may have any bytes */
	if (behind == NULL || sscanf(behind, ") %*c %d", &ppid) != 1)
		return 0;
	return (pid_t)ppid;
}

bool
notify_belongs(const struct notify_member *m, pid_t pid)
{
	int k;

	for (k = 0; k < ANCESTORS_MAX && pid > 1; k++) {
		if (pid == m->pid || getsid(pid) == m->pid)
			return true;
		pid = parent_of(pid);
	}
	return false;
}

static struct notify_member *
owner_of(struct notify *n, pid_t pid)
{
	struct notify_member *m = NULL;
	int k;

	for (k = 0; k < ANCESTORS_MAX && pid > 1 && m == NULL; k++) {
		m = member_find(n, pid);
		if (m == NULL)
			m = member_find(n, getsid(pid));
		pid = parent_of(pid);
	}
	return m;
}

/* ---- those that come early, and those that do not belong ---- */

static void
complain(struct notify *n, pid_t pid, uid_t uid, const char *why)
{
	double now = clock_monotonic();

	n->rejected++;
	if (n->complained > 0 && now - n->complained < COMPLAINT_TIME)
		return;
	log_warnx("pid %d (uid %u): %s; ignored (%lu so far)", (int)pid,
	    (unsigned)uid, why, n->rejected);
	n->complained = now;
}

static void
early_free(struct notify *n, struct early *early)
{
	TAILQ_REMOVE(&n->early, early, entry);
	n->nearly--;
	free(early);
}

static void
early_reject(struct notify *n, struct early *early)
{
	complain(n, early->pid, early->uid,
	    "belongs to no runner that tells by NOTIFY_SOCKET");
	early_free(n, early);
}

static void
on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("readiness of", "processes");
	struct notify *n = w->data;
	struct early *early;

	(void)revents;
	while ((early = TAILQ_FIRST(&n->early)) != NULL &&
	    early->at + EARLY_TIME <= clock_monotonic())
		early_reject(n, early);
	if (early) {
		ev_timer_set(w, early->at + EARLY_TIME - clock_monotonic(), 0);
		ev_timer_start(loop, w);
	}
}

static void
keep_early(struct notify *n, const struct ucred *sender,
    const struct notify_message *m)
{
	struct early *early;

	if (n->nearly >= EARLY_MAX)
		early_reject(n, TAILQ_FIRST(&n->early));
	early = xcalloc(1, sizeof(*early));
	early->at = clock_monotonic();
	early->pid = sender->pid;
	early->uid = sender->uid;
	early->session = getsid(sender->pid);
	early->message = *m;
	TAILQ_INSERT_TAIL(&n->early, early, entry);
	n->nearly++;
	if (!ev_is_active(&n->late)) {
		ev_timer_set(&n->late, EARLY_TIME, 0);
		ev_timer_start(n->loop, &n->late);
	}
}

/* What it told before it joined. */
static void
hear_early(struct notify *n, struct notify_member *m)
{
	struct early *early, *next;

	TAILQ_FOREACH_SAFE (early, &n->early, entry, next) {
		if (early->session != m->pid && early->pid != m->pid)
			continue;
		m->hear(m->arg, &early->message);
		early_free(n, early);
	}
}

/* ---- datagrams ---- */

struct datagram {
	char text[DATAGRAM_MAX];
	size_t len;
	bool cut;
	struct ucred sender; /* pid 0: not told, or of another pid space */
};

static void
close_fds(const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), k;
	int fd;

	for (k = 0; k < n; k++) {
		memcpy(&fd, CMSG_DATA(c) + k * sizeof(fd), sizeof(fd));
		close(fd); /* BARRIER=1 is answered by this */
	}
}

static void
read_control(struct msghdr *msg, struct datagram *d)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS)
			close_fds(c);
		else if (c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&d->sender, CMSG_DATA(c), sizeof(d->sender));
	}
}

/* False when there is none now. */
static bool
receive(int fd, struct datagram *d)
{
	union {
		struct cmsghdr head;
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int)) +
		    CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {d->text, sizeof(d->text)};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t len;

	d->sender = (struct ucred){0};
	do
		len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return false;
	read_control(&msg, d);
	d->len = (size_t)len;
	d->cut = msg.msg_flags & MSG_TRUNC;
	return true;
}

static void
hear(struct notify *n, const struct datagram *d)
{
	struct notify_member *m;
	struct notify_message message;

	if (d->sender.pid <= 0 || d->cut) {
		complain(n, d->sender.pid, d->sender.uid,
		    d->cut ? "told more than 4096 bytes"
			   : "is not of our process numbers");
		return;
	}
	notify_read(d->text, d->len, &message);
	m = owner_of(n, d->sender.pid);
	if (m)
		m->hear(m->arg, &message);
	else
		keep_early(n, &d->sender, &message);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("readiness of", "processes");
	struct notify *n = w->data;
	struct datagram d;
	int k;

	(void)loop;
	(void)revents;
	for (k = 0; k < TURN_MAX && receive(n->fd, &d); k++)
		hear(n, &d);
}

/* ---- the socket ---- */

/* Anyone may write; who is heard is another question. */
static int
bind_socket(int fd, const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len >= sizeof(sun.sun_path)) /* the kernel finds a name */
		return bind(fd, (struct sockaddr *)&sun, sizeof(sa_family_t));
	memcpy(sun.sun_path, path, len);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
		return -1;
	return chmod(path, 0666);
}

static int
make_socket(const char *path)
{
	int on = 1, saved;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
	    bind_socket(fd, path) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static char *
address_of(int fd)
{
	struct sockaddr_un sun = {0};
	socklen_t len = sizeof(sun);
	size_t n;

	if (getsockname(fd, (struct sockaddr *)&sun, &len) != 0)
		return NULL;
	n = len - offsetof(struct sockaddr_un, sun_path);
	if (n > 1 && sun.sun_path[0] == '\0')
		return xasprintf("@%.*s", (int)n - 1, sun.sun_path + 1);
	return xstrndup(sun.sun_path, n);
}

int
notify_open(struct notify *n, const char *path, int held, struct err *e)
{
	n->fd = held >= 0 ? held : make_socket(path);
	if (n->fd >= 0)
		n->address = address_of(n->fd);
	if (n->address == NULL)
		return err_set(e, ERR_INTERNAL, "cannot bind %s: %s", path,
		    strerror(errno));
	ev_io_set(&n->reader, n->fd, EV_READ);
	ev_io_start(n->loop, &n->reader);
	return n->fd;
}

int
notify_fd(const struct notify *n)
{
	return n->fd;
}

unsigned long
notify_rejected(const struct notify *n)
{
	return n->rejected;
}

const char *
notify_address(const struct notify *n)
{
	return n->address;
}

void
notify_join(struct notify *n, struct notify_member *m)
{
	RB_INSERT(members, &n->members, m);
	hear_early(n, m);
}

void
notify_leave(struct notify *n, struct notify_member *m)
{
	if (RB_FIND(members, &n->members, m) == m)
		RB_REMOVE(members, &n->members, m);
}

struct notify *
notify_new(struct ev_loop *loop)
{
	struct notify *n = xcalloc(1, sizeof(*n));

	n->loop = loop;
	n->fd = -1;
	RB_INIT(&n->members);
	TAILQ_INIT(&n->early);
	ev_io_init(&n->reader, on_readable, -1, EV_READ);
	ev_timer_init(&n->late, on_late, EARLY_TIME, 0);
	n->reader.data = n->late.data = n;
	return n;
}

void
notify_free(struct notify *n)
{
	struct early *early;

	while ((early = TAILQ_FIRST(&n->early)) != NULL)
		early_free(n, early);
	ev_io_stop(n->loop, &n->reader);
	ev_timer_stop(n->loop, &n->late);
	if (n->fd >= 0)
		close(n->fd);
	if (n->address && *n->address == '/')
		unlink(n->address);
	free(n->address);
	free(n);
}
