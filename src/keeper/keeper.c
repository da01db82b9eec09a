/*
 * herod-keeper: parent of herod and of every process that herod starts.
 *
 *	herod-keeper [--ready-fd N] [--resume N]
 *	    [--user UID:GID:GROUP,...] [--root-runners 0|1]
 *	    [--runner-user UID:GID:GROUP,...]... [--guard 1] -- /path/to/herod
 *ARGUMENT... herod-keeper --speaks VERSION | --resumes VERSION
 *
 * It executes herod with "--keeper-fd N" behind its arguments, N being one
 * end of a socket on which the two talk (keeper_wire.h).  It is small and
 * does little, so that it does not die; herod may: its processes live on,
 * what they write stays in their pipes, how they end is kept, and a new
 * herod is started and told all of it.
 *
 *	keeper.c	herod's life, signals, deaths, the loop (this file)
 *	table.c		what is known, and what herod must be told
 *	spawn.c		from fork to exec
 *	identity.c	who herod is, and what is left of root
 *	guard.c		the parent of the keeper (--guard)
 *	keeper_wire.c	messages
 *
 * Should it be killed itself, herod executes it anew in its own place, with
 * all that herod knows in a file (--resume).  Processes of the earlier
 * keeper are then foreign: children of init, followed by their pidfds.
 *
 * For an upgrade it executes another keeper in its own place the same way,
 * with its table in a file; its children remain its own.  The new one shuts
 * the socket for writing when it has taken over: that asks herod to end.
 * --speaks and --resumes tell by the exit status whether it understands a
 * herod (WIRE_VERSION), a keeper (WIRE_RESUME_VERSION) of that version.
 *
 * With --user herod is that user, and who it was that started us is not taken
 * on its word: it may only ask for users that are not root, or for those of
 * --runner-user, and for an upgrade to what is now where this program was.
 *
 * Nothing is allocated after the start, and nothing wakes it up while
 * nothing happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guard.h"
#include "identity.h"
#include "spawn.h"
#include "table.h"

#define ARGUMENTS_MAX 1024
#define MESSAGES_AT_ONCE 64 /* of herod, before others get their turn */
#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2) /* Linux 6.9 */
#endif

/* Milliseconds. */
enum {
	HEROD_YOUNG = 1000, /* dies younger on the average: not at once */
	HEROD_CREDIT = 5000, /* of life, to be young and start at once */
	HEROD_DELAY = 100, /* but after this, doubled each time */
	HEROD_DELAY_MAX = 5000,
	HEROD_DEAF = 10000, /* hung up but did not end */
	LINGER = 10, /* look at signalled groups, doubled too */
	LINGER_MAX = 1000,
	ZOMBIE_MAX = 1000, /* for others to bury a foreign one */
	RESEND = 50, /* the system has no room for a message */
	END_GRACE = 5000, /* from SIGTERM to SIGKILL without a herod */
	END_MAX = 5000 /* for those that do not die of SIGKILL */
};

enum alarm { RESTART, DEAF, GROUPS, SEND, KILL, END, ALARMS };

/* Entries follow as their index + SOURCE_ENTRIES. */
enum { SOURCE_SIGNALS, SOURCE_HEROD, SOURCE_ENTRIES };

struct keeper {
	char *argv[ARGUMENTS_MAX + 3]; /* of herod */
	int epoll, signals, spare;
	char user[1024]; /* --user; "" */
	char *runners[IDENTITY_RUNNERS_MAX]; /* each --runner-user */
	char self[WIRE_PATH_MAX]; /* this program's path */
	bool is_guard;
	int ready_fd; /* told of READY; -1 */
	int resume_fd; /* what an earlier keeper knew; -1 */
	pid_t herod; /* 0: none lives */
	int herod_status;
	bool herod_reaped; /* its end is still to be dealt with */
	int sock; /* to herod; -1 */
	int64_t herod_since;
	int64_t herod_delay, linger; /* the next */
	int64_t credit; /* life that is left for starts at once */
	bool was_ready; /* some herod was */
	bool stop_asked; /* by herod */
	int asked_by; /* a signal that asked us to end; 0 */
	bool ending;
	int code; /* to end with */
	bool stuck; /* herod has to read before we can send */
	int64_t due[ALARMS]; /* monotonic ms; 0: off */
	struct spawn_base base;
	struct table table;
	uint8_t in[WIRE_MAX], out[WIRE_MAX];
};

/* ---- small things ---- */

/* Rather no line than to wait for whoever reads stderr. */
static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	struct pollfd p = {.fd = 2, .events = POLLOUT};
	char line[512];
	size_t len;
	ssize_t ignored;
	va_list ap;

	len = (size_t)snprintf(line, sizeof(line), "herod-keeper: ");
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	len = strlen(line);
	line[len++] = '\n';
	if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT) {
		ignored = write(2, line, len);
		(void)ignored;
	}
}

static _Noreturn void
die(const char *what)
{
	say("%s: %s", what, strerror(errno));
	exit(1);
}

static int64_t
clock_ns(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t
now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

static void
alarm_set(struct keeper *k, enum alarm which, int64_t delay_ms)
{
	k->due[which] = now_ms() + delay_ms;
}

static void
alarm_stop(struct keeper *k, enum alarm which)
{
	k->due[which] = 0;
}

static void
watch(struct keeper *k, int fd, uint32_t source, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.u32 = source};

	epoll_ctl(k->epoll, op, fd, &ev);
}

/* As wait(2) would say it. */
static int
wait_status(const siginfo_t *si)
{
	int core = si->si_code == CLD_DUMPED ? WCOREFLAG : 0;

	return si->si_code == CLD_EXITED ? W_EXITCODE(si->si_status, 0)
					 : W_EXITCODE(0, si->si_status) | core;
}

static int
code_of_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

/* ---- process groups ---- */

static bool
pid_exists(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

/*
 * By the leader's pidfd, if there is one, and the kernel can.  By its number
 * it could be another's: of one that began when this group was gone, and
 * whose leader has ended, too, as that of a daemon does.
 */
static bool
group_signal(const struct entry *e, int sig)
{
	int fd = e->fds.fd[WIRE_PIDFD];

	if (fd != -1) {
		if (pidfd_send_signal(
			fd, sig, NULL, PIDFD_SIGNAL_PROCESS_GROUP) == 0)
			return true;
		if (errno != EINVAL)
			return errno != ESRCH;
	}
	return kill(-e->pid, sig) == 0 || errno != ESRCH;
}

/*
 * Of an entry whose leader was reaped.  A process of the leader's number
 * proves that the group is gone: while it lives the kernel does not give
 * the number away again.  Unless it is the foreign leader itself, which
 * others have to bury, if they ever do.
 */
static bool
number_proves_nothing(const struct entry *e)
{
	return e->foreign && now_ms() < e->zombie_ms &&
	    pidfd_send_signal(e->fds.fd[WIRE_PIDFD], 0, NULL, 0) == 0;
}

static bool
group_is_left(const struct entry *e)
{
	if (number_proves_nothing(e))
		return true;
	return !pid_exists(e->pid) && group_signal(e, 0);
}

/* Groups become empty when a member is reaped, which is mostly by us. */
static void
check_groups(struct keeper *k)
{
	struct entry *e, *next;

	for (e = LIST_FIRST(&k->table.lingering); e; e = next) {
		next = LIST_NEXT(e, lingering);
		if (!group_is_left(e))
			table_gone(&k->table, e);
	}
	if (LIST_EMPTY(&k->table.lingering))
		alarm_stop(k, GROUPS);
}

/* A signalled group is looked at now and then, too: its last member may be
 * the child of a process outside of it. */
static void
follow_groups(struct keeper *k)
{
	k->linger = LINGER;
	alarm_set(k, GROUPS, k->linger);
}

static void
signal_living(const struct entry *e, int sig, bool group)
{
	/* Until its setsid(2) there is no group of that number. */
	if (!group || kill(-e->pid, sig) == -1)
		kill(e->pid, sig);
}

/* Not ours to reap, its number may become another's at any time. */
static void
signal_foreign(const struct entry *e, int sig, bool group)
{
	int fd = e->fds.fd[WIRE_PIDFD];
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (!group)
		pidfd_send_signal(fd, sig, NULL, 0);
	else if (pidfd_send_signal(fd, sig, NULL, PIDFD_SIGNAL_PROCESS_GROUP) ==
		-1 &&
	    errno == EINVAL && poll(&p, 1, 0) == 0)
		kill(-e->pid, sig);
}

static void
signal_left(struct keeper *k, struct entry *e, int sig)
{
	if (group_is_left(e)) {
		group_signal(e, sig);
		follow_groups(k);
	}
	check_groups(k);
}

static void
signal_entry(void *arg, struct entry *e, int sig, bool group)
{
	if (e->pid <= 1)
		return;
	if (!e->reaped && e->foreign)
		signal_foreign(e, sig, group);
	else if (!e->reaped)
		signal_living(e, sig, group);
	else if (group && e->exit.group_left)
		signal_left(arg, e, sig);
}

static void
signal_all(struct keeper *k, int sig)
{
	struct entry *e;

	for (e = k->table.entries; e < k->table.entries + k->table.nused; e++)
		if (e->state != ENTRY_FREE)
			signal_entry(k, e, sig, true);
}

/* ---- the end ---- */

static void
kill_all(struct keeper *k)
{
	alarm_stop(k, KILL);
	alarm_set(k, END, END_MAX);
	signal_all(k, SIGKILL);
}

/* Begins it; the loop ends when nothing is left. */
static void
end(struct keeper *k, int code)
{
	if (k->ending)
		return;
	k->ending = true;
	k->code = code;
	alarm_stop(k, RESTART);
	kill_all(k);
}

/* There was no herod to stop them by their own rules.  Asked a second
 * time, it hurries. */
static void
end_by_ourselves(struct keeper *k, int code)
{
	if (k->ending) {
		if (k->due[KILL] != 0)
			kill_all(k);
		return;
	}
	k->ending = true;
	k->code = code;
	alarm_stop(k, RESTART);
	alarm_set(k, KILL, END_GRACE);
	signal_all(k, SIGTERM);
	signal_all(k, SIGCONT);
}

static void
end_anyway(struct keeper *k)
{
	say("some processes do not end after SIGKILL; leaving them");
	exit(k->code);
}

static bool
has_children(void)
{
	siginfo_t si;

	return waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* A number in decimal at *text, which is stepped behind it; 0: no more. */
static pid_t
next_pid(const char **text)
{
	pid_t pid = 0;

	while (**text == ' ')
		(*text)++;
	for (; **text >= '0' && **text <= '9'; (*text)++)
		pid = pid * 10 + (**text - '0');
	return pid;
}

/* What left its runner's group came to us when its parent ended. */
static void
orphans_kill(void)
{
	char buf[4096];
	const char *text = buf;
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, buf, sizeof(buf) - 1);
	pid_t pid;

	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	/* A number cut off at the end is no child's, or the next turn's. */
	if (n == (ssize_t)sizeof(buf) - 1)
		*strrchr(buf, ' ') = '\0';
	while ((pid = next_pid(&text)) != 0)
		kill(pid, SIGKILL);
}

/* Kills orphans, each turn anew, for theirs come to us after them. */
static bool
everything_has_ended(const struct keeper *k)
{
	if (k->table.nliving != 0 || !LIST_EMPTY(&k->table.lingering))
		return false;
	if (!has_children())
		return true;
	orphans_kill();
	return false;
}

/* ---- herod: starting it ---- */

/* It never is root, not even while it begins. */
static void
herod_become(struct keeper *k)
{
	if (!identity_become(&k->base.identity) || !identity_leave_private() ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		die("cannot become herod's user");
	setenv("HEROD_ROOTS", "keeper", 1);
}

/* Nobody else can know it where /proc hides what is root's. */
static void
tell_lacks(void)
{
	char names[128];

	identity_lacks(names, sizeof(names));
	setenv("HEROD_KEEPER_LACKS", names, 1);
}

static _Noreturn void
herod_run(struct keeper *k, int sock)
{
	char number[16];
	size_t n = 0;

	setsid();
	signals_reset();
	fcntl(sock, F_SETFD, 0);
	snprintf(number, sizeof(number), "%d", sock);
	while (k->argv[n])
		n++;
	k->argv[n] = (char *)"--keeper-fd";
	k->argv[n + 1] = number;
	k->argv[n + 2] = NULL;
	tell_lacks();
	if (k->base.identity.is_set)
		herod_become(k);
	execv(k->argv[0], k->argv);
	say("cannot execute %s: %s", k->argv[0], strerror(errno));
	_exit(127);
}

static void
herod_forked(struct keeper *k, pid_t pid, int sock)
{
	k->herod = pid;
	k->herod_since = now_ms();
	k->sock = sock;
	k->stuck = false;
	wire_socket_setup(sock);
	watch(k, sock, SOURCE_HEROD, EPOLLIN, EPOLL_CTL_ADD);
}

/* False when the system has no room for it. */
static bool
herod_fork(struct keeper *k)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return false;
	wire_socket_setup(pair[1]);
	pid = fork();
	if (pid == 0)
		herod_run(k, pair[1]);
	close(pair[1]);
	if (pid == -1) {
		close(pair[0]);
		return false;
	}
	herod_forked(k, pid, pair[0]);
	return true;
}

static void
restart_later(struct keeper *k)
{
	alarm_set(k, RESTART, k->herod_delay);
	k->herod_delay *= 2;
	if (k->herod_delay > HEROD_DELAY_MAX)
		k->herod_delay = HEROD_DELAY_MAX;
}

static void
herod_start(struct keeper *k)
{
	bool ok;

	alarm_stop(k, RESTART);
	/* Whatever children hold, there is room for one more socket. */
	close(k->spare);
	ok = herod_fork(k);
	k->spare = fcntl(k->base.null_fd, F_DUPFD_CLOEXEC, 3);
	if (ok)
		return;
	say("cannot start herod: %s", strerror(errno));
	if (k->was_ready)
		restart_later(k);
	else
		end(k, 1);
}

/* ---- herod: what it says ---- */

/* In the background: whoever started us may wait for the end of our
 * stderr, so what we say goes to herod's log, if it has stored one. */
static void
leave_terminal(struct keeper *k)
{
	int log = table_stored(&k->table, WIRE_STDERR_NAME);

	dup2(log != -1 ? log : k->base.null_fd, 2);
}

static void
on_ready(void *arg)
{
	struct keeper *k = arg;
	ssize_t ignored;

	k->was_ready = true;
	if (k->ready_fd == -1)
		return;
	ignored = write(k->ready_fd, "\n", 1);
	(void)ignored;
	close(k->ready_fd);
	k->ready_fd = -1;
	leave_terminal(k);
}

static void
on_stop(void *arg, int code)
{
	struct keeper *k = arg;

	k->stop_asked = true;
	k->code = code;
}

/* Whoever has got hold of herod asks for what its configuration would not. */
static bool
refuse_user(struct keeper *k, struct entry *e, const struct wire_spawn *s)
{
	const char *why = s->flags & WIRE_SET_USER
	    ? identity_forbids(&k->base.identity, s)
	    : NULL;

	if (why == NULL)
		return false;
	say("herod asked for a process of uid %u, gid %u, but as root has "
	    "started it, %s: refused; to allow it, change [herod] and start "
	    "herod again",
	    (unsigned)s->uid, (unsigned)s->gid, why);
	table_failed(&k->table, e, WIRE_STAGE_USER, EPERM);
	return true;
}

static void
on_spawn(void *arg, struct entry *e, const struct wire_spawn *s,
    const struct wire_fds *given)
{
	struct keeper *k = arg;
	uint32_t source;

	if (refuse_user(k, e, s))
		return;
	spawn(&k->table, e, s, given, &k->base);
	source = SOURCE_ENTRIES + (uint32_t)(e - k->table.entries);
	if (e->pid != 0)
		watch(k, e->exec_fd, source, EPOLLIN, EPOLL_CTL_ADD);
}

static int
on_pidfd(void *arg, pid_t pid)
{
	(void)arg;
	return pidfd_open(pid, 0);
}

static int
on_inherit(void *arg, int number)
{
	(void)arg;
	if (number <= 2 || fcntl(number, F_GETFD) != 0 ||
	    fcntl(number, F_SETFD, FD_CLOEXEC) == -1)
		return -1;
	return number;
}

/* Of one that has ended, what is left of its group is looked at. */
static void
on_follow(void *arg, struct entry *e)
{
	struct keeper *k = arg;
	uint32_t source = SOURCE_ENTRIES + (uint32_t)(e - k->table.entries);

	if (e->exit.group_left)
		follow_groups(k);
	else if (e->exec_fd != -1)
		watch(k, e->exec_fd, source, EPOLLIN, EPOLL_CTL_ADD);
	else if (e->foreign && !e->reaped)
		watch(k, e->fds.fd[WIRE_PIDFD], source, EPOLLIN, EPOLL_CTL_ADD);
}

static void
set_descriptor_flags(int fd, int flags)
{
	fcntl(fd, F_SETFD, flags);
}

static void
bequeath_descriptors(struct keeper *k, bool bequeath)
{
	int flags = bequeath ? 0 : FD_CLOEXEC;

	table_each_fd(&k->table, set_descriptor_flags, flags);
	set_descriptor_flags(k->sock, flags);
}

/* Returns when it cannot be executed. */
static void
exec_next(struct keeper *k, const char *path, int file)
{
	char *argv[ARGUMENTS_MAX + 10 + 2 * IDENTITY_RUNNERS_MAX], number[16];
	size_t i, n = 0;

	snprintf(number, sizeof(number), "%d", file);
	argv[n++] = (char *)"herod-keeper";
	argv[n++] = (char *)"--resume";
	argv[n++] = number;
	if (k->base.identity.is_set) {
		argv[n++] = (char *)"--user";
		argv[n++] = k->user;
		argv[n++] = (char *)"--root-runners";
		argv[n++] = (char *)(k->base.identity.root_runners ? "1" : "0");
	}
	for (i = 0; i < k->base.identity.nrunners; i++) {
		argv[n++] = (char *)"--runner-user";
		argv[n++] = k->runners[i];
	}
	argv[n++] = (char *)"--";
	for (i = 0; k->argv[i]; i++)
		argv[n++] = k->argv[i];
	argv[n] = NULL;
	identity_own_files(NULL); /* root may go where that user may not */
	execv(path, argv);
	if (k->base.identity.is_set)
		identity_own_files(&k->base.identity);
}

static int
upgrade_by(struct keeper *k, const char *path, int file)
{
	struct wire_head head = {.next_id = k->table.next_id,
	    .base = k->table.base,
	    .herod = k->herod,
	    .sock = k->sock};
	int error;

	if (!table_bequeath(&k->table, &head, file, k->out, sizeof(k->out)))
		return ENOSPC;
	bequeath_descriptors(k, true);
	exec_next(k, path, file);
	error = errno;
	bequeath_descriptors(k, false);
	say("cannot execute %s: %s", path, strerror(error));
	return error;
}

/* Signals stay blocked over it, and pending.  But a herod that was reaped is
 * told of no more: the next keeper would wait for its end in vain. */
static int
on_upgrade(void *arg, const char *path)
{
	struct keeper *k = arg;
	int file, error;

	if (k->ending || k->stop_asked || k->asked_by != 0 || k->herod_reaped)
		return ECANCELED;
	/* We would execute it as root. */
	if (k->base.identity.is_set)
		path = k->self;
	file = memfd_create("herod-keeper", 0);
	if (file == -1)
		return errno;
	error = upgrade_by(k, path, file);
	close(file);
	return error;
}

static const struct table_ops ops = {
    .spawn = on_spawn,
    .signal = signal_entry,
    .ready = on_ready,
    .stop = on_stop,
    .upgrade = on_upgrade,
    .pidfd = on_pidfd,
    .inherit = on_inherit,
    .follow = on_follow,
};

/* One message: false when there is none, or no more. */
static bool
herod_hear(struct keeper *k)
{
	struct wire_message m;
	int got = wire_recv(k->sock, k->in, sizeof(k->in), &m);

	if (got == 1 && !table_take(&k->table, &m, &ops, k))
		say("herod sent what makes no sense (op %u, id %u)", m.op,
		    m.id);
	if (got == 1 || (got == -1 && errno == EINTR))
		return true;
	if (got == -1 && errno == EBADMSG) {
		say("herod sent what is no message of this version");
		return true;
	}
	if (got == 0 || errno != EAGAIN) {
		/* It hung up; it should end now. */
		watch(k, k->sock, SOURCE_HEROD, 0, EPOLL_CTL_DEL);
		table_mute(&k->table);
		alarm_set(k, DEAF, HEROD_DEAF);
	}
	return false;
}

static void
herod_read(struct keeper *k)
{
	int n = MESSAGES_AT_ONCE;

	while (n-- > 0 && herod_hear(k))
		;
}

static void
herod_deaf(struct keeper *k)
{
	say("herod (pid %d) hung up but does not end: killing it", k->herod);
	kill(k->herod, SIGKILL);
}

/* ---- herod: telling it ---- */

static void
stick(struct keeper *k, bool stuck)
{
	if (k->stuck == stuck)
		return;
	k->stuck = stuck;
	watch(k, k->sock, SOURCE_HEROD, EPOLLIN | (stuck ? EPOLLOUT : 0),
	    EPOLL_CTL_MOD);
}

/* Not now: wait until it reads, or for a while when it is the system. */
static void
send_failed(struct keeper *k)
{
	if (errno == EAGAIN)
		stick(k, true);
	else if (errno == EPIPE || errno == ECONNRESET)
		table_mute(&k->table);
	else
		alarm_set(k, SEND, RESEND);
}

static void
herod_tell(struct keeper *k)
{
	struct telling telling;
	struct wire_out out;

	if (k->sock == -1 || k->stuck || k->due[SEND] != 0)
		return;
	while (table_tell(
	    &k->table, &out, k->out, sizeof(k->out), &telling, &ops, k)) {
		if (wire_send(k->sock, &out, &telling.fds) == -1) {
			table_untold(&telling);
			send_failed(k);
			return;
		}
		table_told(&k->table, &telling);
	}
}

static void
send_again(struct keeper *k)
{
	alarm_stop(k, SEND);
}

/* ---- herod: its end ---- */

static void
herod_hang_up(struct keeper *k)
{
	while (herod_hear(k))
		;
	alarm_stop(k, DEAF);
	alarm_stop(k, SEND);
	table_mute(&k->table);
	close(k->sock);
	k->sock = -1;
	k->herod = 0;
	k->herod_reaped = false;
}

static void
herod_again(struct keeper *k, int64_t lived_ms)
{
	k->credit += lived_ms;
	if (k->credit > HEROD_CREDIT)
		k->credit = HEROD_CREDIT;
	if (k->credit >= HEROD_YOUNG) {
		k->credit -= HEROD_YOUNG;
		k->herod_delay = HEROD_DELAY;
		herod_start(k);
	} else
		restart_later(k);
}

static void
herod_ended(struct keeper *k)
{
	int64_t lived_ms = now_ms() - k->herod_since;
	int code = code_of_status(k->herod_status);

	/* What it had said still counts, but a wish for an upgrade. */
	herod_hang_up(k);
	if (k->stop_asked) {
		end(k, k->code);
		return;
	}
	if (WIFSIGNALED(k->herod_status))
		say("herod was ended by signal %d", WTERMSIG(k->herod_status));
	else if (k->was_ready && code != 0)
		say("herod ended with code %d", code);
	/* Asked to end, it died over it: that is an end, too; it may have
	 * begun when its death was not yet looked at. */
	if (k->was_ready && k->asked_by == 0)
		herod_again(k, lived_ms);
	else if (!k->ending)
		end_by_ourselves(k, code);
}

/* ---- deaths ---- */

/* Executed or not?  False: nobody knows yet. */
static bool
settle_start(struct keeper *k, struct entry *e)
{
	unsigned stage = 0;
	int error = 0, result;

	if (e->exec_fd == -1)
		return true;
	result = spawn_result(e->exec_fd, &stage, &error);
	if (result == 0)
		return false;
	/* Closing is not enough while a newly forked one has a copy. */
	watch(k, e->exec_fd, 0, 0, EPOLL_CTL_DEL);
	close(e->exec_fd);
	e->exec_fd = -1;
	if (result == 1)
		table_started(&k->table, e, clock_ns(CLOCK_REALTIME));
	else
		table_failed(&k->table, e, stage, error);
	return true;
}

/* Where herod may ask for anything, a group that cannot be held is none of
 * ours any more. */
static bool
group_is_kept(const struct keeper *k, const struct entry *e)
{
	return (e->fds.fd[WIRE_PIDFD] != -1 || !k->base.identity.is_set) &&
	    group_is_left(e);
}

/* leader: its pidfd, kept as long as there is a group to signal. */
static void
entry_ended(struct keeper *k, struct entry *e, const siginfo_t *si,
    const struct rusage *ru, int *leader)
{
	struct wire_exit x = {.status = wait_status(si),
	    .rusage = *ru,
	    .at_ns = clock_ns(CLOCK_REALTIME)};

	settle_start(k, e);
	e->fds.fd[WIRE_PIDFD] = *leader;
	x.group_left = group_is_kept(k, e);
	table_reaped(&k->table, e, &x);
	if (e->exit.group_left)
		*leader = -1;
	else
		e->fds.fd[WIRE_PIDFD] = -1;
	if (k->ending && x.group_left)
		follow_groups(k);
}

/* Its status went to whoever is its parent now. */
static void
foreign_ended(struct keeper *k, struct entry *e)
{
	struct wire_exit x = {.unknown = true,
	    .at_ns = clock_ns(CLOCK_REALTIME),
	    .group_left = group_signal(e, 0)};

	watch(k, e->fds.fd[WIRE_PIDFD], 0, 0, EPOLL_CTL_DEL);
	e->zombie_ms = now_ms() + ZOMBIE_MAX;
	table_reaped(&k->table, e, &x);
	if (x.group_left)
		follow_groups(k);
}

static void
process_changed(
    struct keeper *k, const siginfo_t *si, const struct rusage *ru, int *leader)
{
	struct entry *e = table_find_pid(&k->table, si->si_pid);
	bool ended = si->si_code == CLD_EXITED || si->si_code == CLD_KILLED ||
	    si->si_code == CLD_DUMPED;

	if (e && ended)
		entry_ended(k, e, si, ru, leader);
	else if (e)
		table_paused(&k->table, e, si->si_code != CLD_CONTINUED);
	else if (ended && si->si_pid == k->herod) {
		k->herod_status = wait_status(si);
		k->herod_reaped = true;
	}
	/* Else an orphan that came to us: reaped, and that is all. */
}

/* The next that has changed; 0: none. */
static pid_t
changed(idtype_t which, pid_t pid, int flags, siginfo_t *si, struct rusage *ru)
{
	si->si_pid = 0;
	/* The system call tells rusage, the function does not. */
	if (syscall(SYS_waitid, which, pid, si,
		WEXITED | WSTOPPED | WCONTINUED | WNOHANG | flags, ru) == -1)
		return 0;
	return si->si_pid;
}

/* Who has ended is held before it is reaped: its number is nobody else's until
 * then. */
static void
reap(struct keeper *k)
{
	struct rusage ru;
	siginfo_t si;
	pid_t pid;
	int leader;

	while ((pid = changed(P_ALL, 0, WNOWAIT, &si, &ru)) != 0) {
		leader =
		    table_find_pid(&k->table, pid) ? pidfd_open(pid, 0) : -1;
		if (changed(P_PID, pid, 0, &si, &ru) != 0)
			process_changed(k, &si, &ru, &leader);
		if (leader != -1)
			close(leader);
	}
	check_groups(k);
}

static void
look_at_groups(struct keeper *k)
{
	check_groups(k);
	if (LIST_EMPTY(&k->table.lingering))
		return;
	if (k->ending && k->due[KILL] == 0)
		signal_all(k, SIGKILL);
	k->linger = k->linger * 2 < LINGER_MAX ? k->linger * 2 : LINGER_MAX;
	alarm_set(k, GROUPS, k->linger);
}

/* ---- the loop ---- */

static bool
asks_to_end(int sig)
{
	return sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
}

static void
pass_on(struct keeper *k, int sig)
{
	if (asks_to_end(sig))
		k->asked_by = sig;
	if (k->herod != 0 && !k->herod_reaped)
		kill(k->herod, sig);
	else if (asks_to_end(sig))
		end_by_ourselves(k, 128 + sig);
}

/* The kernel says so when the terminal is gone on which we were started:
 * nobody is left there to end us.  Others may mean something else by it. */
static bool
is_hangup(const struct signalfd_siginfo *si)
{
	return si->ssi_signo == SIGHUP && si->ssi_code == SI_KERNEL;
}

/* Deaths first: a dead herod cannot be told anything. */
static void
signals_read(struct keeper *k)
{
	struct signalfd_siginfo si;
	uint64_t got = 0;
	int sig;

	while (read(k->signals, &si, sizeof(si)) == sizeof(si))
		got |= (uint64_t)1 << (is_hangup(&si) ? SIGTERM : si.ssi_signo);
	if (got & (uint64_t)1 << SIGCHLD)
		reap(k);
	for (sig = 1; sig < 32; sig++)
		if (sig != SIGCHLD && got & (uint64_t)1 << sig)
			pass_on(k, sig);
}

static void
entry_event(struct keeper *k, struct entry *e)
{
	if (!e->foreign)
		settle_start(k, e);
	else if (e->state == ENTRY_RUNNING)
		foreign_ended(k, e);
}

static void
event_handle(struct keeper *k, const struct epoll_event *ev)
{
	uint32_t source = ev->data.u32;

	if (source >= SOURCE_ENTRIES)
		entry_event(k, &k->table.entries[source - SOURCE_ENTRIES]);
	else if (source == SOURCE_HEROD && k->sock != -1) {
		if (ev->events & EPOLLOUT)
			stick(k, false);
		if (ev->events & ~EPOLLOUT)
			herod_read(k);
	}
}

static void
alarms_ring(struct keeper *k)
{
	static void (*const rings[ALARMS])(struct keeper *) = {
	    [RESTART] = herod_start,
	    [DEAF] = herod_deaf,
	    [GROUPS] = look_at_groups,
	    [SEND] = send_again,
	    [KILL] = kill_all,
	    [END] = end_anyway,
	};
	int64_t now = now_ms();
	size_t i;

	for (i = 0; i < ALARMS; i++)
		if (k->due[i] != 0 && k->due[i] <= now) {
			k->due[i] = 0;
			rings[i](k);
		}
}

/* Milliseconds until the next alarm; -1: there is none. */
static int
time_to_sleep(const struct keeper *k)
{
	int64_t next = 0, now;
	size_t i;

	for (i = 0; i < ALARMS; i++)
		if (k->due[i] != 0 && (next == 0 || k->due[i] < next))
			next = k->due[i];
	if (next == 0)
		return -1;
	now = now_ms();
	return next > now ? (int)(next - now) : 0;
}

static void
turn(struct keeper *k)
{
	struct epoll_event ev[64];
	int i, n;

	n = epoll_wait(
	    k->epoll, ev, sizeof(ev) / sizeof(ev[0]), time_to_sleep(k));
	/* Deaths before requests. */
	for (i = 0; i < n; i++)
		if (ev[i].data.u32 == SOURCE_SIGNALS)
			signals_read(k);
	for (i = 0; i < n; i++)
		event_handle(k, &ev[i]);
	alarms_ring(k);
	if (k->herod_reaped)
		herod_ended(k);
	herod_tell(k);
}

/* ---- the start ---- */

static void
usage(void)
{
	static const char text[] =
	    "usage: herod-keeper [--ready-fd number] [--resume number] "
	    "[--user uid:gid:groups]\n"
	    "           [--root-runners 0|1] "
	    "[--runner-user uid:gid:groups]... [--guard 1] --\n"
	    "           /path/to/herod [argument ...]\n"
	    "       herod-keeper --speaks version | --resumes version\n";
	ssize_t ignored;

	ignored = write(2, text, sizeof(text) - 1);
	(void)ignored;
	exit(2);
}

static int
descriptor_number(const char *option, const char *text)
{
	char *rest;
	long n = strtol(text, &rest, 10);

	if (*text == '\0' || *rest != '\0' || n < 0 || n > 1048576 ||
	    fcntl((int)n, F_SETFD, FD_CLOEXEC) == -1) {
		say("%s: '%s' is not an open descriptor", option, text);
		exit(2);
	}
	return (int)n;
}

/* A question of --check or of an upgrade: ends with the answer. */
static void
answer(const char *option, const char *text)
{
	bool resumes = strcmp(option, "--resumes") == 0;
	int version = resumes ? WIRE_RESUME_VERSION : WIRE_VERSION;
	int oldest = resumes ? WIRE_RESUME_OLDEST : WIRE_VERSION;
	long asked = strtol(text, NULL, 10);

	if (!resumes && strcmp(option, "--speaks") != 0)
		return;
	if (asked >= oldest && asked <= version)
		exit(0);
	say("%s %s: this one is of version %d", option + 2, text, version);
	exit(1);
}

static void
user_read(struct keeper *k, const char *text)
{
	if (strlen(text) < sizeof(k->user) &&
	    identity_parse(&k->base.identity, text)) {
		strcpy(k->user, text);
		return;
	}
	say("--user: '%s' is not uid:gid:groups", text);
	exit(2);
}

static void
runner_user_read(struct keeper *k, char *text)
{
	size_t n = k->base.identity.nrunners;

	if (identity_add_runner(&k->base.identity, text)) {
		k->runners[n] = text;
		return;
	}
	say("--runner-user: '%s' is not uid:gid:groups, or one too many", text);
	exit(2);
}

/* One option with its value; false: it is none. */
static bool
option_read(struct keeper *k, const char *option, char *value)
{
	if (strcmp(option, "--ready-fd") == 0)
		k->ready_fd = descriptor_number(option, value);
	else if (strcmp(option, "--resume") == 0)
		k->resume_fd = descriptor_number(option, value);
	else if (strcmp(option, "--user") == 0)
		user_read(k, value);
	else if (strcmp(option, "--root-runners") == 0)
		k->base.identity.root_runners = strcmp(value, "1") == 0;
	else if (strcmp(option, "--runner-user") == 0)
		runner_user_read(k, value);
	else if (strcmp(option, "--guard") == 0)
		k->is_guard = true;
	else
		return false;
	return true;
}

static void
arguments_read(struct keeper *k, int argc, char **argv)
{
	int i = 1;

	if (argc == 3)
		answer(argv[1], argv[2]);
	k->ready_fd = k->resume_fd = -1;
	while (i + 1 < argc && option_read(k, argv[i], argv[i + 1]))
		i += 2;
	if (i + 1 >= argc || strcmp(argv[i], "--") != 0 ||
	    argc - i > ARGUMENTS_MAX)
		usage();
	memcpy(k->argv, argv + i + 1, (size_t)(argc - i) * sizeof(argv[0]));
}

/* Where a closed one was, a socket of ours would get what is printed. */
static int
null_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd != -1 && fd <= 2 && fcntl(fd, F_SETFD, 0) == 0);
	if (fd == -1)
		die("/dev/null");
	return fd;
}

static bool
is_ignored(int sig)
{
	struct sigaction sa;

	return sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
}

static void
signals_open(struct keeper *k)
{
	static const int passed[] = {
	    SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	/* ^Z would stop us, and with us everything. */
	static const int ignored[] = {
	    SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU, SIGALRM};
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		if (passed[i] == SIGHUP && is_ignored(SIGHUP))
			continue; /* nohup(1) */
		sigaddset(&set, passed[i]);
		/* An inherited SIG_IGN would make SIGCHLD vanish. */
		signal(passed[i], SIG_DFL);
	}
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigprocmask(SIG_SETMASK, &set, NULL);
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals == -1)
		die("signalfd");
	watch(k, k->signals, SOURCE_SIGNALS, EPOLLIN, EPOLL_CTL_ADD);
}

/* What we were told is no part of a core: environments hold passwords. */
static void
keep_memory_secret(struct keeper *k)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)k & ~(page - 1);

	madvise((void *)from, (uintptr_t)(k + 1) - from, MADV_DONTDUMP);
}

static void
setup(struct keeper *k)
{
	int null_fd = null_open();

	keep_memory_secret(k);
	spawn_base_init(&k->base, null_fd);
	k->spare = fcntl(null_fd, F_DUPFD_CLOEXEC, 3);
	k->sock = -1;
	k->herod_delay = HEROD_DELAY;
	k->credit = HEROD_CREDIT;
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll == -1)
		die("epoll_create1");
	signals_open(k);
	/* Orphans of our children come to us, not to init. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
		die("prctl");
	table_init(&k->table);
	k->table.base.nofile = k->base.nofile;
	strcpy(k->table.base.oom_score_adj, k->base.oom_score_adj);
}

static bool
resume_from(struct keeper *k, const void *bytes, size_t len)
{
	struct wire_in in = {.at = bytes, .left = len};
	struct wire_head head;

	if (!table_resume(&k->table, &in, &head, &ops, k))
		return false;
	if (head.herod != 0)
		herod_forked(k, head.herod, head.sock);
	k->was_ready = true;
	k->base.nofile = k->table.base.nofile;
	strcpy(k->base.oom_score_adj, k->table.base.oom_score_adj);
	return true;
}

/* With half of it, herod would start what lives a second time. */
static void
resume(struct keeper *k)
{
	struct stat st;
	void *bytes;
	size_t len;

	if (fstat(k->resume_fd, &st) == -1)
		die("--resume");
	len = (size_t)st.st_size;
	bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, k->resume_fd, 0);
	if (bytes == MAP_FAILED)
		die("--resume");
	if (!resume_from(k, bytes, len)) {
		say("--resume: this file makes no sense");
		exit(1);
	}
	munmap(bytes, len);
	close(k->resume_fd);
	/* The signal for those who have ended meanwhile may be lost. */
	reap(k);
}

static void
privileges_limit(struct keeper *k)
{
	ssize_t len = readlink("/proc/self/exe", k->self, sizeof(k->self) - 1);

	k->self[len > 0 ? len : 0] = '\0';
	if (k->base.identity.is_set)
		identity_limit(&k->base.identity, false);
}

/* All is ours now, and another herod begins when this one has ended. */
static void
herod_make_way(struct keeper *k)
{
	shutdown(k->sock, SHUT_WR);
	alarm_set(k, DEAF, HEROD_DEAF);
}

int
main(int argc, char **argv)
{
	static struct keeper keeper;
	struct keeper *k = &keeper;

	arguments_read(k, argc, argv);
	if (k->is_guard) {
		identity_limit(&k->base.identity, true);
		return guard(k->argv, k->ready_fd);
	}
	privileges_limit(k);
	setup(k);
	if (k->base.identity.is_set)
		identity_own_files(&k->base.identity);
	if (k->resume_fd != -1)
		resume(k);
	if (k->herod != 0)
		herod_make_way(k);
	else
		herod_start(k);
	while (!k->ending || !everything_has_ended(k))
		turn(k);
	return k->code;
}
