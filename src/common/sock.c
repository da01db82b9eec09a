/*
 * Addresses, listening, connecting, and who is at the other end.
 */
#include "sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

/* ---- addresses ---- */

static int
parse_unix(struct address *a, const char *path, struct err *e)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&a->sa;

	if (*path == '\0')
		return err_set(e, ERR_PARAMS, "unix: a path is missing");
	if (strlen(path) >= sizeof(sun->sun_path))
		return err_set(e, ERR_PARAMS,
		    "unix:%.200s: the path has %zu bytes, a socket's may have "
		    "%zu",
		    path, strlen(path), sizeof(sun->sun_path) - 1);
	sun->sun_family = AF_UNIX;
	strlcpy(sun->sun_path, path, sizeof(sun->sun_path));
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    strlen(path) + 1);
	snprintf(a->text, sizeof(a->text), "unix:%s", path);
	return 0;
}

/* HOST:PORT or [V6]:PORT in two. */
static int
split_host(const char *text, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (colon == NULL)
		return -1;
	*port = colon + 1;
	len = (size_t)(colon - text);
	if (*text == '[') {
		if (len < 2 || text[len - 1] != ']')
			return -1;
		text++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		return -1; /* an IPv6 address without brackets */
	}
	if (len == 0 || len >= size)
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	return 0;
}

static bool
is_port(const char *s)
{
	size_t digits = strspn(s, "0123456789");

	return digits > 0 && digits < 6 && s[digits] == '\0' &&
	    strtoul(s, NULL, 10) <= 65535;
}

/* ::ffff:a.b.c.d as the IPv4 address that it is. */
static void
unmap(struct sockaddr_storage *sa, socklen_t *len)
{
	const struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)sa;
	struct sockaddr_in sin = {.sin_family = AF_INET};

	if (sa->ss_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		return;
	sin.sin_port = sin6->sin6_port;
	memcpy(&sin.sin_addr, &sin6->sin6_addr.s6_addr[12], 4);
	memset(sa, 0, sizeof(*sa));
	memcpy(sa, &sin, sizeof(sin));
	*len = sizeof(sin);
}

/* How the address is written, from what it is. */
static void
tcp_text(struct address *a)
{
	char host[INET6_ADDRSTRLEN + 24], port[8];

	getnameinfo((struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
	    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(a->text, sizeof(a->text),
	    a->sa.ss_family == AF_INET6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host,
	    port);
}

static int
parse_tcp(struct address *a, const char *text, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char host[256];
	const char *port;
	int why;

	if (split_host(text, host, sizeof(host), &port) == -1 || !is_port(port))
		return err_set(e, ERR_PARAMS,
		    "tcp:%.200s: wanted tcp:HOST:PORT or tcp:[IPV6]:PORT",
		    text);
	hints.ai_flags = AI_NUMERICSERV;
	why = getaddrinfo(host, port, &hints, &found);
	if (why != 0)
		return err_set(
		    e, ERR_PARAMS, "tcp:%.200s: %s", text, gai_strerror(why));
	memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
	a->len = found->ai_addrlen;
	freeaddrinfo(found);
	unmap(&a->sa, &a->len);
	tcp_text(a);
	return 0;
}

int
address_parse(struct address *a, const char *text, struct err *e)
{
	memset(a, 0, sizeof(*a));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(a, text + 5, e);
	if (strncmp(text, "tcp:", 4) == 0)
		return parse_tcp(a, text + 4, e);
	return err_set(
	    e, ERR_PARAMS, "%.200s: wanted unix:PATH or tcp:HOST:PORT", text);
}

static bool
is_loopback(const struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET)
		return ntohl(((struct sockaddr_in *)sa)->sin_addr.s_addr) >>
		    24 ==
		    127;
	return sa->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)sa)->sin6_addr);
}

bool
address_is_unix(const struct address *a)
{
	return a->sa.ss_family == AF_UNIX;
}

bool
address_is_loopback(const struct address *a)
{
	return address_is_unix(a) || is_loopback(&a->sa);
}

const char *
address_path(const struct address *a)
{
	return ((const struct sockaddr_un *)&a->sa)->sun_path;
}

int
address_of(struct address *a, int fd)
{
	memset(a, 0, sizeof(*a));
	a->len = sizeof(a->sa);
	if (getsockname(fd, (struct sockaddr *)&a->sa, &a->len) == -1)
		return -1;
	if (address_is_unix(a))
		snprintf(a->text, sizeof(a->text), "unix:%s", address_path(a));
	else
		tcp_text(a);
	return 0;
}

/* ---- listening ---- */

static int
open_socket(const struct address *a, int flags, struct err *e)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd == -1)
		err_set(e, ERR_INTERNAL, "%s: %s", a->text, strerror(errno));
	return fd;
}

/* Closes, with errno as it was. */
static int
give_up(int fd)
{
	int cause = errno;

	close(fd);
	errno = cause;
	return -1;
}

/* 0: nobody answers there, 1: somebody does, -1: cannot tell (errno). */
static int
probe(const struct address *a)
{
	int fd, answer;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	answer = connect(fd, (const struct sockaddr *)&a->sa, a->len);
	if (answer == -1)
		give_up(fd);
	else
		close(fd);
	if (answer == 0 || errno == EAGAIN) /* EAGAIN: its backlog is full */
		return 1;
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : -1;
}

/* Makes way for our socket: a stale one goes, all else stays. */
static int
clear_path(const struct address *a, struct err *e)
{
	const char *path = address_path(a);
	struct stat st;

	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0
				       : err_set(e, ERR_INTERNAL, "%s: %s",
					     a->text, strerror(errno));
	if (!S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return err_set(e, ERR_EXISTS,
		    "%s: there is something that is not a socket", a->text);
	}
	switch (probe(a)) {
	case 0:
		if (unlink(path) == 0 || errno == ENOENT)
			return 0;
		break;
	case 1:
		errno = EADDRINUSE;
		return err_set(e, ERR_EXISTS,
		    "%s: another program listens there", a->text);
	}
	return err_set(e, ERR_INTERNAL, "%s: %s", a->text, strerror(errno));
}

/* The directory of the socket, made when missing; its descriptor. */
static int
open_directory(const struct address *a, struct err *e)
{
	char *path = xstrdup(address_path(a)), *slash = strrchr(path, '/');
	const char *directory = ".";
	int fd, cause;

	if (slash == path) {
		directory = "/";
	} else if (slash != NULL) {
		*slash = '\0';
		directory = path;
		mkdir(directory, 0755);
	}
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cause = errno;
	if (fd == -1)
		err_set(e, ERR_INTERNAL, "%s: %s: %s", a->text, directory,
		    strerror(errno));
	free(path);
	errno = cause;
	return fd;
}

/*
 * Two programs that find the same stale socket must not remove each
 * other's new one: the directory is locked between probe and bind.  Not
 * for longer than a second: anyone who may read it can lock it.
 */
static void
lock_directory(int directory)
{
	const struct timespec pause = {0, 10000000};
	int tries;

	for (tries = 0; tries < 100; tries++) {
		if (flock(directory, LOCK_EX | LOCK_NB) == 0)
			return;
		nanosleep(&pause, NULL);
	}
}

static int
bind_unix(int fd, const struct address *a, mode_t mode, struct err *e)
{
	mode_t mask;
	int failed;

	if (clear_path(a, e) == -1)
		return -1;
	mask = umask(0777 & ~mode);
	failed = bind(fd, (const struct sockaddr *)&a->sa, a->len);
	umask(mask);
	if (failed)
		return err_set(
		    e, ERR_INTERNAL, "%s: %s", a->text, strerror(errno));
	return 0;
}

static int
listen_unix(
    int fd, const struct address *a, int backlog, mode_t mode, struct err *e)
{
	int directory = open_directory(a, e), failed;

	if (directory == -1)
		return -1;
	lock_directory(directory);
	failed = bind_unix(fd, a, mode, e);
	if (!failed && listen(fd, backlog) == -1)
		failed = err_set(
		    e, ERR_INTERNAL, "%s: %s", a->text, strerror(errno));
	if (failed)
		return give_up(directory);
	close(directory);
	return 0;
}

static int
listen_tcp(int fd, const struct address *a, int backlog, struct err *e)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->sa.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) == 0 &&
	    listen(fd, backlog) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return err_set(e, ERR_EXISTS,
		    "%s: another program listens there", a->text);
	return err_set(e, ERR_INTERNAL, "%s: %s", a->text, strerror(errno));
}

int
address_listen(const struct address *a, int backlog, mode_t mode, struct err *e)
{
	int fd = open_socket(a, SOCK_NONBLOCK, e), failed;

	if (fd == -1)
		return -1;
	failed = address_is_unix(a) ? listen_unix(fd, a, backlog, mode, e)
				    : listen_tcp(fd, a, backlog, e);
	return failed ? give_up(fd) : fd;
}

/* ---- connecting ---- */

/* Waits for the end of a connect(2) under way; 0 or -1 with errno. */
static int
await_connect(int fd, double until)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(errno);
	double left = until - clock_monotonic();
	int cause = 0, n;

	n = poll(&p, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
	if (n == -1)
		return -1;
	if (n == 0)
		cause = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &len);
	errno = cause;
	return cause ? -1 : 0;
}

static int
connect_until(int fd, const struct address *a, double until)
{
	const struct timespec pause = {0, 5000000};

	for (;;) {
		if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0)
			return 0;
		if (errno == EINPROGRESS)
			return await_connect(fd, until);
		/* A Unix socket whose backlog is full says EAGAIN. */
		if (errno != EAGAIN && errno != EINTR)
			return -1;
		if (clock_monotonic() >= until) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (nanosleep(&pause, NULL) == -1)
			return -1;
	}
}

int
address_connect(const struct address *a, double timeout, struct err *e)
{
	const int on = 1;
	int fd = open_socket(a, SOCK_NONBLOCK, e);

	if (fd == -1)
		return -1;
	if (connect_until(fd, a, clock_monotonic() + timeout) == -1) {
		err_set(e, errno == ETIMEDOUT ? ERR_TIMED_OUT : ERR_NOT_RUNNING,
		    "%s: %s", a->text, strerror(errno));
		return give_up(fd);
	}
	if (!address_is_unix(a))
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}

/* ---- where sockets are ---- */

bool
is_roots(void)
{
	return geteuid() == 0 || getenv(ROOTS_VARIABLE) != NULL;
}

char *
runtime_dir_default(void)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (is_roots())
		return xstrdup("/run/herod");
	if (base != NULL && *base == '/')
		return xasprintf("%s/herod", base);
	return xasprintf("/tmp/herod-%u", (unsigned)geteuid());
}

/* ---- who is there ---- */

bool
sock_is_unix(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	return domain == AF_UNIX;
}

static bool
unix_peer(int fd, uid_t *uid, gid_t *gid, pid_t *pid)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == -1 ||
	    who.uid == (uid_t)-1)
		return false;
	*uid = who.uid;
	*gid = who.gid;
	*pid = who.pid;
	return true;
}

struct diag_question {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static __be16
put_address(__be32 to[4], const struct sockaddr_storage *sa)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;

	if (sa->ss_family == AF_INET) {
		memcpy(to, &sin->sin_addr, 4);
		return sin->sin_port;
	}
	memcpy(to, &sin6->sin6_addr, 16);
	return sin6->sin6_port;
}

/* The socket at the other end, seen from there: source is our peer. */
static void
make_question(struct diag_question *q, const struct sockaddr_storage *peer,
    const struct sockaddr_storage *self)
{
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_len = sizeof(*q);
	q->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	q->head.nlmsg_flags = NLM_F_REQUEST;
	q->body.sdiag_family = (__u8)peer->ss_family;
	q->body.sdiag_protocol = IPPROTO_TCP;
	q->body.idiag_states = (__u32)-1;
	q->body.id.idiag_sport = put_address(q->body.id.idiag_src, peer);
	q->body.id.idiag_dport = put_address(q->body.id.idiag_dst, self);
	q->body.id.idiag_cookie[0] = q->body.id.idiag_cookie[1] =
	    INET_DIAG_NOCOOKIE;
}

/* What the kernel says of a socket, or NULL.  When the connection is gone
 * it may show another one that listens on the peer's port. */
static const struct inet_diag_msg *
read_answer(const char *buf, size_t len, const struct diag_question *q)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)buf;
	const struct inet_diag_msg *m;

	if (!NLMSG_OK(head, len) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    head->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return NULL;
	m = NLMSG_DATA(head);
	return m->id.idiag_dport == q->body.id.idiag_dport ? m : NULL;
}

static bool
ask_kernel(const struct diag_question *q, struct inet_diag_msg *answer)
{
	_Alignas(struct nlmsghdr) char buf[4096];
	const struct inet_diag_msg *m = NULL;
	ssize_t n = -1;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    NETLINK_SOCK_DIAG);
	if (fd == -1)
		return false;
	if (send(fd, q, sizeof(*q), 0) == (ssize_t)sizeof(*q))
		n = recv(fd, buf, sizeof(buf), 0);
	close(fd);
	if (n > 0)
		m = read_answer(buf, (size_t)n, q);
	if (m != NULL)
		*answer = *m;
	return m != NULL;
}

/* The socket at the other end of a loopback TCP connection. */
static bool
find_peer(int fd, struct inet_diag_msg *answer)
{
	struct sockaddr_storage peer, self;
	socklen_t len = sizeof(peer), self_len = sizeof(self);
	struct diag_question q;

	if (getpeername(fd, (struct sockaddr *)&peer, &len) == -1 ||
	    getsockname(fd, (struct sockaddr *)&self, &self_len) == -1)
		return false;
	unmap(&peer, &len);
	unmap(&self, &self_len);
	if (!is_loopback(&peer) || peer.ss_family != self.ss_family)
		return false;
	make_question(&q, &peer, &self);
	return ask_kernel(&q, answer);
}

/* A socket that its owner has closed has inode 0 and says uid 0, which is
 * not root. */
static bool
tcp_peer(int fd, uid_t *uid)
{
	struct inet_diag_msg answer;

	if (!find_peer(fd, &answer) || answer.idiag_inode == 0)
		return false;
	*uid = answer.idiag_uid;
	return true;
}

bool
sock_peer(int fd, uid_t *uid, gid_t *gid, pid_t *pid)
{
	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	*pid = 0;
	if (sock_is_unix(fd))
		return unix_peer(fd, uid, gid, pid);
	return tcp_peer(fd, uid);
}

static void
address_number(
    const struct sockaddr_storage *a, socklen_t len, char *text, size_t size)
{
	if (getnameinfo((const struct sockaddr *)a, len, text, (socklen_t)size,
		NULL, 0, NI_NUMERICHOST) != 0)
		strlcpy(text, "?", size);
}

/* One host has a whole /64 of IPv6 (RFC 4291, section 2.5.4). */
static bool
cut_to_network(struct sockaddr_storage *a)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)a;

	if (a->ss_family != AF_INET6)
		return false;
	memset(&in6->sin6_addr.s6_addr[8], 0, 8);
	return true;
}

void
sock_peer_text(int fd, char *text, size_t size, bool network)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	bool is_cut;

	getpeername(fd, (struct sockaddr *)&peer, &len);
	unmap(&peer, &len);
	is_cut = network && cut_to_network(&peer);
	address_number(&peer, len, text, size);
	if (is_cut)
		strlcat(text, "/64", size);
}

bool
sock_peer_has_left(int fd)
{
	struct inet_diag_msg answer;

	return !sock_is_unix(fd) && find_peer(fd, &answer) &&
	    answer.idiag_inode == 0;
}
