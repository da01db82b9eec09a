/* Addresses, listening and connecting, and who is at the other end. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sock.h"

static int
listen_at(const char *text, struct address *a, struct err *e)
{
	check_int(address_parse(a, text, e), 0);
	return address_listen(a, 16, 0666, e);
}

/* Listens where there is room and says where that is. */
static int
listen_tcp_somewhere(const char *text, struct address *a)
{
	struct err e = {0};
	int fd = listen_at(text, a, &e);

	if (fd == -1)
		skip(e.text);
	check_int(address_of(a, fd), 0);
	return fd;
}

static const struct {
	const char *text, *want; /* NULL: refused */
} addresses[] = {
    {"unix:/run/herod/herod.sock", "unix:/run/herod/herod.sock"},
    {"unix:relative", "unix:relative"},
    {"tcp:127.0.0.1:3030", "tcp:127.0.0.1:3030"},
    {"tcp:[::1]:3030", "tcp:[::1]:3030"},
    {"tcp:127.0.0.1:0", "tcp:127.0.0.1:0"},
    {"tcp:0.0.0.0:65535", "tcp:0.0.0.0:65535"},
    {"tcp:[::ffff:127.0.0.1]:1", "tcp:127.0.0.1:1"},
    {"unix:", NULL},
    {"", NULL},
    {"127.0.0.1:3030", NULL},
    {"tcp:", NULL},
    {"tcp:3030", NULL},
    {"tcp::3030", NULL},
    {"tcp:127.0.0.1:", NULL},
    {"tcp:127.0.0.1:65536", NULL},
    {"tcp:127.0.0.1:-1", NULL},
    {"tcp:127.0.0.1:http", NULL},
    {"tcp:127.0.0.1:3030 ", NULL},
    {"tcp:::1:3030", NULL},
    {"tcp:[::1:3030", NULL},
    {"tcp:[]:3030", NULL},
    {"tcp:999.0.0.1:3030", NULL},
    {"udp:127.0.0.1:3030", NULL},
};

void
test_addresses_are_read_or_refused(void)
{
	struct address a;
	size_t i;

	for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct err e = {0};
		int failed = address_parse(&a, addresses[i].text, &e);

		printf("%s\n", addresses[i].text);
		if (addresses[i].want) {
			check_int(failed, 0);
			check_str(a.text, addresses[i].want);
		} else {
			check_int(failed, -1);
			check(err_is_set(&e));
		}
	}
}

void
test_a_path_too_long_is_refused_with_both_lengths(void)
{
	struct err e = {0};
	struct address a;
	char text[200] = "unix:/";

	memset(text + 6, 'x', 150);
	check_int(address_parse(&a, text, &e), -1);
	check_has(e.text, "151");
	check_has(e.text, "107");
}

void
test_loopback_is_told_from_the_rest(void)
{
	static const char *const near[] = {"unix:x", "tcp:127.0.0.1:1",
	    "tcp:127.9.9.9:1", "tcp:[::1]:1", "tcp:[::ffff:127.0.0.1]:1"};
	static const char *const far[] = {"tcp:0.0.0.0:1", "tcp:[::]:1",
	    "tcp:10.0.0.1:1", "tcp:[::ffff:10.0.0.1]:1"};
	struct address a;
	size_t i;

	for (i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		check_int(address_parse(&a, near[i], NULL), 0);
		check(address_is_loopback(&a));
	}
	for (i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		check_int(address_parse(&a, far[i], NULL), 0);
		check(!address_is_loopback(&a));
	}
}

void
test_a_live_socket_is_never_stolen(void)
{
	struct err e = {0};
	struct address a;
	int fd = listen_at("unix:here", &a, &e), peer;

	check(fd >= 0);
	check_int(listen_at("unix:here", &a, &e), -1);
	check_int(e.code, ERR_EXISTS);
	check_int(errno, EADDRINUSE);
	peer = address_connect(&a, 1, NULL);
	check(peer >= 0);
	close(peer);
	close(fd);
}

void
test_a_full_backlog_is_a_live_socket(void)
{
	struct err e = {0};
	struct address a;
	int fd, peers[8];
	size_t i;

	check_int(address_parse(&a, "unix:here", &e), 0);
	fd = address_listen(&a, 0, 0666, &e);
	check(fd >= 0);
	for (i = 0; i < 8; i++)
		peers[i] = address_connect(&a, 0.02, NULL);
	check_int(peers[7], -1);
	check_int(listen_at("unix:here", &a, &e), -1);
	check_int(e.code, ERR_EXISTS);
	close(fd);
}

void
test_a_stale_socket_is_recovered(void)
{
	struct err e = {0};
	struct address a;
	int fd = listen_at("unix:here", &a, &e);

	check(fd >= 0);
	close(fd);
	check_int(address_connect(&a, 1, &e), -1);
	check_int(e.code, ERR_NOT_RUNNING);
	err_clear(&e);
	fd = listen_at("unix:here", &a, &e);
	check(fd >= 0);
	close(fd);
}

void
test_what_is_no_socket_stays(void)
{
	struct err e = {0};
	struct address a;
	char *text;

	write_file("here", "precious");
	check_int(listen_at("unix:here", &a, &e), -1);
	check_has(e.text, "not a socket");
	text = read_file("here");
	check_str(text, "precious");
	free(text);
}

void
test_a_missing_directory_is_made(void)
{
	struct err e = {0};
	struct address a;
	struct stat st;
	int fd = listen_at("unix:dir/here", &a, &e);

	check(fd >= 0);
	check_int(stat("dir/here", &st), 0);
	check(S_ISSOCK(st.st_mode));
	check_int(st.st_mode & 0777, 0666);
	close(fd);
	check_int(listen_at("unix:no/such/dir", &a, &e), -1);
	check_int(errno, ENOENT);
}

void
test_the_mode_is_kept_whatever_the_umask(void)
{
	struct err e = {0};
	struct address a;
	struct stat st;
	int fd;

	umask(077);
	check_int(address_parse(&a, "unix:here", &e), 0);
	fd = address_listen(&a, 16, 0660, &e);
	check(fd >= 0);
	check_int(stat("here", &st), 0);
	check_int(st.st_mode & 0777, 0660);
	check_int(umask(022), 077);
	close(fd);
}

void
test_a_port_in_use_is_refused(void)
{
	struct err e = {0};
	struct address a;
	int fd = listen_tcp_somewhere("tcp:127.0.0.1:0", &a);

	check_int(address_listen(&a, 16, 0, &e), -1);
	check_int(e.code, ERR_EXISTS);
	check_int(errno, EADDRINUSE);
	close(fd);
}

void
test_descriptors_are_closed_on_exec(void)
{
	struct err e = {0};
	struct address a;
	int fd = listen_at("unix:here", &a, &e);
	int peer = address_connect(&a, 1, &e);

	check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	check(fcntl(peer, F_GETFD) & FD_CLOEXEC);
	check(fcntl(fd, F_GETFL) & O_NONBLOCK);
	check(!(fcntl(peer, F_GETFL) & O_NONBLOCK));
	close(peer);
	close(fd);
}

/* ---- who is there ---- */

static bool
peer_of(int listening, uid_t *uid, pid_t *pid)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	gid_t gid;
	int fd;

	wait_for((fd = accept(listening, (struct sockaddr *)&sa, &len)) >= 0);
	if (!sock_peer(fd, uid, &gid, pid))
		*uid = (uid_t)-1;
	close(fd);
	return *uid != (uid_t)-1;
}

void
test_a_unix_peer_is_known_by_user_and_process(void)
{
	struct err e = {0};
	struct address a;
	int fd = listen_at("unix:here", &a, &e);
	int peer = address_connect(&a, 1, &e);
	uid_t uid;
	pid_t pid;

	check(peer_of(fd, &uid, &pid));
	check_int(uid, geteuid());
	check_int(pid, getpid());
	close(peer);
	close(fd);
}

/* Connects as another user and stays until told. */
static pid_t
connect_as(uid_t uid, const struct address *a, int stay[2])
{
	char byte;
	pid_t pid;

	check_int(pipe(stay), 0);
	pid = fork();
	if (pid != 0) {
		close(stay[0]);
		return pid;
	}
	close(stay[1]);
	if (setuid(uid) == -1 || address_connect(a, 5, NULL) == -1)
		_exit(1);
	_exit(read(stay[0], &byte, 1) == 0 ? 0 : 1);
}

static void
check_tcp_peer(const char *where)
{
	struct address a;
	int fd = listen_tcp_somewhere(where, &a), stay[2], status;
	uid_t want = geteuid() == 0 ? 12345 : geteuid(), uid;
	pid_t child = connect_as(want, &a, stay), pid;

	check(peer_of(fd, &uid, &pid));
	check_int(uid, want);
	close(stay[1]);
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
	close(fd);
}

void
test_a_loopback_tcp_peer_is_known_by_user(void)
{
	check_tcp_peer("tcp:127.0.0.1:0");
}

void
test_a_loopback_tcp6_peer_is_known_by_user(void)
{
	check_tcp_peer("tcp:[::1]:0");
}

/* Listens for IPv6, and as the kernel has it for IPv4, too. */
static int
listen_both(struct address *a)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	const struct sockaddr *sa = (const struct sockaddr *)&any;
	const int off = 0;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (fd == -1 || bind(fd, sa, sizeof(any)) == -1 || listen(fd, 4) == -1)
		skip("no IPv6 here");
	check_int(address_of(a, fd), 0);
	return fd;
}

static const char *
port_of(const struct address *a)
{
	return strrchr(a->text, ':') + 1;
}

/* Who comes from there to a socket for IPv6 and IPv4. */
static void
check_peer_text(int listening, const char *to, const char *port,
    const char *want, const char *want_network)
{
	char where[64], text[80];
	struct address a;
	int peer, fd;

	snprintf(where, sizeof(where), "tcp:%s:%s", to, port);
	check_int(address_parse(&a, where, NULL), 0);
	peer = address_connect(&a, 1, NULL);
	check(peer >= 0);
	fd = accept(listening, NULL, NULL);
	sock_peer_text(fd, text, sizeof(text), false);
	check_str(text, want);
	sock_peer_text(fd, text, sizeof(text), true);
	check_str(text, want_network);
	close(fd);
	close(peer);
}

void
test_ipv4_within_ipv6_is_ipv4_and_ipv6_a_network(void)
{
	struct address a;
	int fd = listen_both(&a);

	check_peer_text(fd, "127.0.0.1", port_of(&a), "127.0.0.1", "127.0.0.1");
	check_peer_text(fd, "[::1]", port_of(&a), "::1", "::/64");
	close(fd);
}

void
test_a_peer_that_has_closed_is_nobody_and_not_root(void)
{
	struct address a;
	int fd = listen_tcp_somewhere("tcp:127.0.0.1:0", &a), peer;
	uid_t uid;
	pid_t pid;

	peer = address_connect(&a, 1, NULL);
	check(peer >= 0);
	check_int(write(peer, "{}\n", 3), 3);
	close(peer);
	check(!peer_of(fd, &uid, &pid));
	close(fd);
}

/* A connection to fd that is broken off; a listener on the port it came
 * from.  -1: another connection of this machine has that port, too. */
static int
listen_where_a_peer_was(const struct address *a)
{
	const struct linger at_once = {1, 0};
	struct address theirs;
	int peer = address_connect(a, 1, NULL);

	check(peer >= 0);
	check_int(address_of(&theirs, peer), 0);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(peer);
	return address_listen(&theirs, 1, 0, NULL);
}

/* The kernel shows a listener on the peer's port when the connection is
 * gone: its owner is not our peer. */
void
test_a_listener_on_the_peers_port_is_not_taken_for_it(void)
{
	struct address a;
	int fd = listen_tcp_somewhere("tcp:127.0.0.1:0", &a), other, broken;
	uid_t uid;
	pid_t pid;

	while ((other = listen_where_a_peer_was(&a)) == -1) {
		wait_for((broken = accept(fd, NULL, NULL)) >= 0);
		close(broken);
	}
	check(!peer_of(fd, &uid, &pid));
	close(other);
	close(fd);
}
