/*
 * The search for what a process has left behind that outlived its keeper: its
 * orphans are init's children then, and only the mark in their environment
 * tells whose they are.
 *
 * All processes of the machine are looked at by a child of ours, so that
 * thousands of them, or one whose memory cannot be read just now, hold up
 * nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MODULE "child"
#include "child_impl.h"
#include "log.h"
#include "mem.h"
#include "process.h"
#include "turns.h"

#define FOUND_MAX 512 /* a page; the others are found by the next search */
#define TIMEOUT 10.0 /* seconds; it takes some milliseconds */
#define RETRY 1.0 /* seconds, for lack of processes or descriptors */

struct found {
	pid_t pid;
	unsigned id;
};

struct search {
	pid_t seeker;
	int pidfd; /* its; -1: none is at work */
	int fd; /* where it writes struct found */
	struct found *found; /* by the last one */
	size_t nfound;
	ev_io ended;
	ev_timer timer; /* begins one, or ends it */
};

bool
search_is_needed(const struct process *p)
{
	return p->cgroup == NULL && !p->unheld &&
	    p->marked_by != p->c.keeper->pid;
}

/* ---- in the child of ours ---- */

struct seeker {
	struct keeper *keeper;
	int fd;
	size_t n;
};

static bool
is_sought(struct keeper *k, pid_t keeper, unsigned id)
{
	struct process *p = keeper_process(k, id);

	return p && p->seeking && keeper == p->marked_by &&
	    strays_keeper_is_gone(keeper);
}

static bool
tell_marked(void *arg, pid_t pid)
{
	struct seeker *s = arg;
	struct found f = {.pid = pid};
	pid_t keeper;

	return s->n < FOUND_MAX &&
	    strays_mark_read(pid, &keeper, &f.id) == MARKED &&
	    is_sought(s->keeper, keeper, f.id) &&
	    write(s->fd, &f, sizeof(f)) == sizeof(f) && ++s->n;
}

static _Noreturn void
seek(struct keeper *k, int fd)
{
	struct seeker s = {.keeper = k, .fd = STDERR_FILENO + 1};

	prctl(PR_SET_NAME, "herod-seeker");
	if (fd != s.fd)
		dup2(fd, s.fd);
	closefrom(s.fd + 1);
	strays_wait_execve();
	process_each(tell_marked, &s);
	_exit(0);
}

/* ---- here ---- */

static void
set_timer(struct keeper *k, double delay)
{
	ev_timer *t = &k->search->timer;

	ev_timer_stop(k->loop, t); /* it may be pending */
	ev_timer_set(t, delay, 0);
	ev_timer_start(k->loop, t);
}

/* In the next turn of the loop: which keeper's marks are meant is not known
 * before start-up is over. */
static void
begin_soon(struct keeper *k)
{
	if (!ev_is_active(&k->search->timer))
		set_timer(k, 0);
}

static void
take_found(struct search *s)
{
	size_t size = FOUND_MAX * sizeof(*s->found);
	ssize_t n;

	free(s->found);
	s->found = xmalloc(size);
	n = read(s->fd, s->found, size);
	s->nfound = n > 0 ? (size_t)n / sizeof(*s->found) : 0;
	s->found = xreallocarray(s->found, s->nfound + 1, sizeof(*s->found));
}

static void
stop(struct keeper *k)
{
	struct search *s = k->search;

	ev_io_stop(k->loop, &s->ended);
	ev_timer_stop(k->loop, &s->timer);
	if (s->pidfd != -1) {
		close(s->pidfd);
		close(s->fd);
	}
	s->pidfd = s->fd = -1;
}

/* Who has asked while it was at work needs another one. */
static void
tell_askers(struct keeper *k)
{
	struct process *p, *next;
	bool again = false;

	RB_FOREACH_SAFE (p, processes, &k->processes, next) {
		if (p->seeking && --p->seeking == 0)
			process_sought(p);
		again |= p->seeking != 0;
	}
	if (again)
		begin_soon(k);
}

static void
on_ended(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("search for", "strays");
	struct keeper *k = w->data;

	(void)loop;
	(void)events;
	waitpid(k->search->seeker, NULL, WNOHANG);
	take_found(k->search);
	stop(k);
	tell_askers(k);
}

/* There is no descriptor to follow it by. */
static void
drop_seeker(struct search *s)
{
	int saved = errno;

	if (s->seeker != -1) {
		kill(s->seeker, SIGKILL);
		waitpid(s->seeker, NULL, 0);
	}
	close(s->fd);
	errno = saved;
}

/* Its pidfd, with the other end of the pipe in s; -1 with errno. */
static int
fork_seeker(struct keeper *k)
{
	struct search *s = k->search;
	int fds[2], pidfd;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	s->seeker = fork();
	if (s->seeker == 0)
		seek(k, fds[1]);
	close(fds[1]);
	s->fd = fds[0];
	pidfd = s->seeker == -1 ? -1 : pidfd_open(s->seeker, 0);
	if (pidfd == -1)
		drop_seeker(s);
	return pidfd;
}

static void
begin(struct keeper *k)
{
	struct search *s = k->search;

	s->pidfd = fork_seeker(k);
	if (s->pidfd == -1) {
		log_warn("cannot look for what was left behind yet");
		set_timer(k, RETRY);
		return;
	}
	ev_io_set(&s->ended, s->pidfd, EV_READ);
	ev_io_start(k->loop, &s->ended);
	set_timer(k, TIMEOUT);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("search for", "strays");
	struct keeper *k = w->data;

	(void)loop;
	(void)events;
	if (k->search->pidfd == -1) {
		begin(k);
		return;
	}
	log_warnx("looking at all processes takes too long: what was left "
		  "behind may be overlooked");
	pidfd_send_signal(k->search->pidfd, SIGKILL, NULL, 0);
}

/* ---- for strays.c and child.c ---- */

static struct search *
search_new(struct keeper *k)
{
	struct search *s = xcalloc(1, sizeof(*s));

	s->pidfd = s->fd = -1;
	ev_init(&s->ended, on_ended);
	ev_init(&s->timer, on_timer);
	s->ended.data = s->timer.data = k;
	return s;
}

void
search_begin(struct process *p)
{
	struct keeper *k = p->c.keeper;

	if (k->search == NULL)
		k->search = search_new(k);
	p->seeking = k->search->pidfd != -1 ? 2 : 1;
	begin_soon(k);
}

size_t
search_found(const struct process *p, pid_t *list, size_t max)
{
	const struct search *s = p->c.keeper->search;
	size_t i, n = 0;

	for (i = 0; s && i < s->nfound && n < max; i++)
		if (s->found[i].id == p->c.id)
			list[n++] = s->found[i].pid;
	return n;
}

void
search_end(struct keeper *k)
{
	struct search *s = k->search;

	if (s == NULL)
		return;
	if (s->pidfd != -1)
		pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
	stop(k);
	free(s->found);
	free(s);
	k->search = NULL;
}
