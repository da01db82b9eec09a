/*
 * Addresses and sockets: unix:PATH, tcp:HOST:PORT (HOST a name or an
 * address, IPv6 in brackets).  Everything is close-on-exec from birth.
 */
#ifndef SOCK_H
#define SOCK_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "err.h"

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[140]; /* as it would be written */
};

/* Parses; host names are resolved with getaddrinfo(3), which may block:
 * daemon code gives numeric addresses or localhost only.  A Unix path too
 * long for sockaddr_un is refused with both lengths. */
int address_parse(struct address *a, const char *text, struct err *e);
bool address_is_loopback(const struct address *a); /* or a Unix socket */
bool address_is_unix(const struct address *a);
const char *address_path(const struct address *a); /* of a Unix socket */

/* What a bound descriptor is bound to: port 0 shows its number. -1: errno */
int address_of(struct address *a, int fd);

/*
 * Listens, non-blocking.  A Unix path in use is probed by connect(2): a
 * live one is refused (ERR_EXISTS), a stale one is unlinked.  Its
 * directory is made (0755) when missing.  Returns the descriptor, or -1
 * with errno as bind(2) or what failed left it.
 */
int address_listen(
    const struct address *a, int backlog, mode_t mode, struct err *e);

/* Connects, waiting at most timeout seconds.  Blocking socket, or -1 with
 * errno: ERR_TIMED_OUT, or ERR_NOT_RUNNING when nobody is there (EINTR: a
 * signal came while it waited). */
int address_connect(const struct address *a, double timeout, struct err *e);

/* In the environment of a herod whose places are those of root's herod though
 * it is not root: "places", or "keeper", when its keeper is. */
#define ROOTS_VARIABLE "HEROD_ROOTS"
bool is_roots(void);

/* The default socket: RUNTIME/herod.sock, where RUNTIME is /run/herod for
 * root, else $XDG_RUNTIME_DIR/herod, else /tmp/herod-UID; new string. */
char *runtime_dir_default(void);

bool sock_is_unix(int fd);

/*
 * User at the other end of a connected socket, asked of the kernel:
 * SO_PEERCRED for Unix sockets, NETLINK_SOCK_DIAG for loopback TCP (only
 * right after accept(2), before reading).  Fills pid (0 when unknown) and
 * gid ((gid_t)-1 when unknown).  Returns false when it cannot be known.
 */
bool sock_peer(int fd, uid_t *uid, gid_t *gid, pid_t *pid);

/* Its address as a number, without the port; "?" when it is not known.  One
 * that is IPv4 within IPv6 (::ffff:10.0.0.1) is IPv4, however it came.
 * network: of IPv6 only what is one host's for sure, "2001:db8:1:2::/64". */
void sock_peer_text(int fd, char *text, size_t size, bool network);

/* The other end of a loopback TCP connection is closed, not only shut for
 * writing; false also when it cannot be known, and for Unix sockets. */
bool sock_peer_has_left(int fd);

#endif
