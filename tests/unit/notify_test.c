/* sd_notify(3): what datagrams say, and who is heard. */
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "mem.h"
#include "notify.h"

/* ---- the text ---- */

static struct notify_message
message(const char *text)
{
	struct notify_message m;

	notify_read(text, strlen(text), &m);
	return m;
}

void
test_datagrams_are_lines_of_name_and_value(void)
{
	struct notify_message m = message("STATUS=at work=3\nREADY=1\n"
					  "MAINPID=77\nWATCHDOG=1\n"
					  "WATCHDOG_USEC=1500000\n"
					  "EXTEND_TIMEOUT_USEC=250000\n"
					  "X_OTHER=2");

	check(m.ready && m.alive && !m.reloading && !m.stopping && !m.trouble);
	check_str(m.status, "at work=3");
	check_int(m.main_pid, 77);
	check(m.watchdog == 1.5);
	check(m.extend == 0.25);
	m = message("RELOADING=1\nSTOPPING=1\nWATCHDOG=trigger");
	check(m.reloading && m.stopping && m.trouble && !m.alive && !m.ready);
	check(!m.has_status && m.watchdog < 0);
}

void
test_values_that_make_no_sense_are_left_out(void)
{
	struct notify_message m =
	    message("READY=yes\nMAINPID=-1\nMAINPID=99999999999\n"
		    "WATCHDOG_USEC=soon\nEXTEND_TIMEOUT_USEC=\n=\n\nREADY");

	check(!m.ready && m.main_pid == 0 && m.watchdog < 0 && m.extend <= 0);
}

void
test_a_long_status_is_cut(void)
{
	char *text = xmalloc(5000);
	struct notify_message m;

	memset(text, 'x', 5000);
	memcpy(text, "STATUS=", 7);
	notify_read(text, 5000, &m);
	check_int((long long)strlen(m.status), NOTIFY_STATUS_SIZE - 1);
	free(text);
}

/* ---- the socket ---- */

struct room {
	struct ev_loop *loop;
	struct notify *notify;
	struct notify_member member;
	struct notify_message last;
	int nheard;
};

static void
on_hear(void *arg, const struct notify_message *m)
{
	struct room *r = arg;

	r->last = *m;
	r->nheard++;
}

static void
open_room(struct room *r, const char *path)
{
	struct err e = {0};

	memset(r, 0, sizeof(*r));
	r->loop = ev_loop_new(EVFLAG_AUTO);
	r->notify = notify_new(r->loop);
	check(notify_open(r->notify, path, -1, &e) >= 0);
	r->member.hear = on_hear;
	r->member.arg = r;
}

static void
close_room(struct room *r)
{
	notify_leave(r->notify, &r->member);
	notify_free(r->notify);
	ev_loop_destroy(r->loop);
}

static void
turn(struct room *r)
{
	ev_run(r->loop, EVRUN_NOWAIT);
}

static void
send_to(const char *address, const char *text, int fd)
{
	union {
		struct cmsghdr head;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(address);
	struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};
	struct msghdr msg = {.msg_name = &sun,
	    .msg_namelen =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len),
	    .msg_iov = &iov,
	    .msg_iovlen = 1};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, address, len);
	if (*address == '@')
		sun.sun_path[0] = '\0';
	if (fd >= 0) {
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	check_int(sendmsg(s, &msg, 0), (long long)strlen(text));
	close(s);
}

/* A process in a session of its own that sends and waits to be ended. */
static pid_t
sender(struct room *r, const char *text)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	setsid();
	send_to(notify_address(r->notify), text, -1);
	for (;;)
		pause();
}

static void
end_sender(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

void
test_a_member_is_heard(void)
{
	struct room r;
	pid_t pid;

	open_room(&r, "notify");
	pid = sender(&r, "READY=1");
	r.member.pid = pid;
	notify_join(r.notify, &r.member);
	wait_for((turn(&r), r.nheard == 1));
	check(r.last.ready);
	end_sender(pid);
	close_room(&r);
}

void
test_what_was_told_before_the_member_joined_is_heard(void)
{
	struct room r;
	pid_t pid;
	int k;

	open_room(&r, "notify");
	pid = sender(&r, "READY=1");
	wait_for(
	    poll(&(struct pollfd){.fd = notify_fd(r.notify), .events = POLLIN},
		1, 0) == 1);
	for (k = 0; k < 3; k++)
		turn(&r);
	check_int(r.nheard, 0);
	r.member.pid = pid;
	notify_join(r.notify, &r.member);
	check_int(r.nheard, 1);
	end_sender(pid);
	close_room(&r);
}

/* The parent of a sender, which ends after that. */
static pid_t
parent_of_sender(struct room *r, const char *text, pid_t *inner)
{
	int fd[2];
	pid_t pid, child;

	check_int(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		setsid();
		child = sender(r, text);
		check_int(write(fd[1], &child, sizeof(child)), sizeof(child));
		waitpid(child, NULL, 0);
		_exit(0);
	}
	check_int(read(fd[0], inner, sizeof(*inner)), sizeof(*inner));
	close(fd[0]);
	close(fd[1]);
	return pid;
}

void
test_a_descendant_in_a_session_of_its_own_is_heard(void)
{
	struct room r;
	pid_t pid, inner;

	open_room(&r, "notify");
	pid = parent_of_sender(&r, "READY=1", &inner);
	r.member.pid = pid;
	notify_join(r.notify, &r.member);
	wait_for((turn(&r), r.nheard == 1));
	check(notify_belongs(&r.member, inner));
	check(!notify_belongs(&r.member, getpid()));
	kill(inner, SIGKILL);
	waitpid(pid, NULL, 0);
	close_room(&r);
}

/* Pitfall 37. */
void
test_a_wrong_pid_is_not_heard(void)
{
	struct room r;
	pid_t pid, other;

	open_room(&r, "notify");
	pid = sender(&r, "STATUS=right");
	r.member.pid = pid;
	notify_join(r.notify, &r.member);
	wait_for((turn(&r), r.nheard == 1));
	other = sender(&r, "STATUS=wrong\nREADY=1");
	wait_for((turn(&r), notify_rejected(r.notify) == 1));
	check_int(r.nheard, 1);
	check_str(r.last.status, "right");
	end_sender(other);
	end_sender(pid);
	close_room(&r);
}

void
test_a_datagram_that_is_too_long_is_not_heard(void)
{
	char *text = xmalloc(5001);
	struct room r;

	memset(text, 'x', 5000);
	text[5000] = '\0';
	memcpy(text, "READY=1\n", 8);
	open_room(&r, "notify");
	r.member.pid = getsid(0);
	notify_join(r.notify, &r.member);
	send_to(notify_address(r.notify), text, -1);
	wait_for((turn(&r), notify_rejected(r.notify) == 1));
	check_int(r.nheard, 0);
	free(text);
	close_room(&r);
}

/* BARRIER=1 waits for it. */
void
test_descriptors_are_closed(void)
{
	struct room r;
	int fd[2];
	char c;

	check_int(pipe(fd), 0);
	open_room(&r, "notify");
	r.member.pid = getsid(0);
	notify_join(r.notify, &r.member);
	send_to(notify_address(r.notify), "BARRIER=1", fd[1]);
	close(fd[1]);
	wait_for((turn(&r), r.nheard == 1));
	check_int(read(fd[0], &c, 1), 0);
	close(fd[0]);
	close_room(&r);
}

void
test_a_path_that_is_too_long_becomes_an_abstract_name(void)
{
	char path[200];
	struct room r;

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	open_room(&r, path);
	check_int(*notify_address(r.notify), '@');
	r.member.pid = getsid(0);
	notify_join(r.notify, &r.member);
	send_to(notify_address(r.notify), "READY=1", -1);
	wait_for((turn(&r), r.nheard == 1));
	close_room(&r);
}

void
test_a_socket_that_outlived_us_is_used_again(void)
{
	struct room r;
	struct notify *next;
	struct err e = {0};
	int fd;

	open_room(&r, "notify");
	fd = dup(notify_fd(r.notify));
	send_to(notify_address(r.notify), "READY=1", -1);
	next = notify_new(r.loop);
	notify_free(r.notify);
	r.notify = next;
	check_int(notify_open(next, "notify", fd, &e), fd);
	check_str(notify_address(next), "notify");
	r.member.pid = getsid(0);
	notify_join(next, &r.member);
	wait_for((turn(&r), r.nheard == 1));
	close_room(&r);
}
