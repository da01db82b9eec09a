/* Going on with what lives after herod and herod-keeper were both killed. */
#define LOG_MODULE "herod"

#include "revive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "child_impl.h"
#include "clock.h"
#include "living.h"
#include "lock.h"
#include "log.h"
#include "mem.h"
#include "process.h"

#define KILL_WAIT 5.0 /* seconds for those that are killed to be dead */
#define PASSES 8 /* until no new ones were forked */

enum fate {
	FATE_STALE, /* ended: its pid is nobody's, or another's */
	FATE_GOES_ON,
	FATE_ENDED, /* before, which its next herod shall know */
	FATE_KILLED, /* it cannot go on */
	FATE_UNSEEN /* it may be ours, and may not be looked at */
};

struct former {
	struct living l;
	enum fate fate;
	int pidfd; /* -1 */
	char name[160]; /* "runner web.0", for people */
	bool is_job;
};

struct formers {
	struct former *v;
	size_t n, ngoing, nkilled, nended;
	uint32_t next_id;
	double deadline; /* for those that are killed, by clock_monotonic() */
	const struct privs *privs;
	struct wire_base base;
};

/* ---- who lives ---- */

static void
name_former(struct former *f)
{
	json_t *tag = json_loads(f->l.tag, 0, NULL);
	const char *runner = json_string_value(json_object_get(tag, "runner"));
	const char *job = json_string_value(json_object_get(tag, "job"));

	f->is_job = job != NULL;
	snprintf(f->name, sizeof(f->name), "runner %.64s.%d%s%.64s",
	    runner ? runner : "?",
	    (int)json_integer_value(json_object_get(tag, "n")),
	    job ? ", job " : "", job ? job : "");
	json_decref(tag);
}

static bool
wait_ended(int pidfd, double deadline)
{
	struct pollfd fd = {.fd = pidfd, .events = POLLIN};
	double left = deadline - clock_monotonic();

	return poll(&fd, 1, left > 0 ? (int)(left * 1000) + 1 : 0) != 0;
}

static bool
has_ended(int pidfd)
{
	return wait_ended(pidfd, 0);
}

/*
 * The number is held first, then looked at: one that began when the record
 * says is the recorded one, and nobody else can have its number any more.
 */
static enum fate
fate_of(const struct privs *p, struct former *f)
{
	struct process_info info;

	if (f->l.ended)
		return FATE_ENDED;
	if (f->l.pid == 0)
		return FATE_STALE;
	f->pidfd = pidfd_open(f->l.pid, 0);
	if (f->pidfd == -1)
		return errno == ESRCH || errno == EINVAL ? FATE_STALE
							 : FATE_UNSEEN;
	if (!process_read(f->l.pid, &info))
		return has_ended(f->pidfd) ? FATE_STALE : FATE_UNSEEN;
	if (info.began != f->l.began || has_ended(f->pidfd))
		return FATE_STALE;
	if (!privs_may_touch(p, f->l.pid))
		return FATE_UNSEEN;
	return f->l.needs_us ? FATE_KILLED : FATE_GOES_ON;
}

static void
tell_fate(const struct former *f)
{
	if (f->fate == FATE_GOES_ON)
		log_info("%s: pid %d outlived herod and herod-keeper and goes "
			 "on; how it ends will not be known",
		    f->name, (int)f->l.pid);
	else if (f->fate == FATE_KILLED)
		log_errorx("%s: pid %d cannot go on without the herod that "
			   "started it: it is killed%s",
		    f->name, (int)f->l.pid,
		    f->is_job ? " and its job is given back" : "");
	else if (f->fate == FATE_UNSEEN)
		log_errorx("%s: pid %d may have outlived herod and "
			   "herod-keeper, but it cannot be looked at: it is "
			   "left alone; see whether there are two now",
		    f->name, (int)f->l.pid);
}

static void
add_former(struct formers *all, const struct living *l)
{
	struct former *f;

	all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
	f = &all->v[all->n++];
	*f = (struct former){.l = *l, .pidfd = -1};
	name_former(f);
	f->fate = fate_of(all->privs, f);
	tell_fate(f);
	all->ngoing += f->fate == FATE_GOES_ON;
	all->nended += f->fate == FATE_ENDED;
	all->nkilled += f->fate == FATE_KILLED;
	if (l->id >= all->next_id)
		all->next_id = l->id + 1;
}

static bool
read_formers(struct formers *all, const char *state_dir)
{
	struct living_file *file = living_open(state_dir);
	struct living l;
	size_t i;

	if (file == NULL) {
		log_error("%s/" LIVING_NAME
			  ": who lives cannot be read: what outlived herod and "
			  "herod-keeper, if anything, is not gone on with",
		    state_dir);
		return false;
	}
	for (i = 0; i < living_count(file); i++)
		if (living_get(file, i, &l))
			add_former(all, &l);
	living_close(file);
	return true;
}

static void
formers_clear(struct formers *all)
{
	size_t i;

	for (i = 0; i < all->n; i++)
		if (all->v[i].pidfd != -1)
			close(all->v[i].pidfd);
	free(all->v);
}

/* ---- who must end ---- */

/* Is all to be ended that has its mark: was it just being started, can it not
 * go on, is it gone? */
static bool
is_doomed(const struct former *f)
{
	return f->fate == FATE_KILLED ||
	    (f->fate == FATE_STALE && !f->l.leaves);
}

/* Whose mark a process has, of those. */
static const struct former *
doomed(const struct formers *all, pid_t pid)
{
	const struct former *f;
	pid_t keeper;
	unsigned id;

	if (!privs_may_touch(all->privs, pid) ||
	    strays_mark_read(pid, &keeper, &id) != MARKED ||
	    !strays_keeper_is_gone(keeper))
		return NULL;
	for (f = all->v; f < all->v + all->n; f++)
		if (f->l.id == id && f->l.marked_by == keeper && is_doomed(f))
			return f;
	return NULL;
}

/* Held, and asked again. */
static bool
kill_marked(void *arg, pid_t pid)
{
	const struct formers *all = arg;
	const struct former *f = doomed(all, pid);
	int fd = f ? pidfd_open(pid, 0) : -1;
	bool killed;

	if (fd == -1)
		return false;
	f = has_ended(fd) ? NULL : doomed(all, pid);
	killed = f && pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0;
	if (killed && pid != f->l.pid)
		log_warnx("%s: pid %d was left behind: it is killed", f->name,
		    (int)pid);
	if (killed)
		wait_ended(fd, all->deadline);
	close(fd);
	return killed;
}

/* While somebody was asked for, those who may be it get past execve(2). */
static void
wait_execve(const struct formers *all)
{
	bool asked = false;
	size_t i;

	for (i = 0; i < all->n; i++)
		asked |= all->v[i].l.pid == 0;
	if (asked)
		strays_wait_execve();
}

static bool
some_are_doomed(const struct formers *all)
{
	size_t i;

	for (i = 0; i < all->n; i++)
		if (is_doomed(&all->v[i]))
			return true;
	return false;
}

/* The leader lives and is held, so its group's number is its own. */
static void
kill_group(const struct former *f)
{
	if (getpgid(f->l.pid) == f->l.pid && !has_ended(f->pidfd))
		kill(-f->l.pid, SIGKILL);
	pidfd_send_signal(f->pidfd, SIGKILL, NULL, 0);
}

static void
wait_killed(const struct former *f, double deadline)
{
	if (!wait_ended(f->pidfd, deadline))
		log_errorx("%s: pid %d does not end after SIGKILL%s", f->name,
		    (int)f->l.pid,
		    f->is_job ? "; its job may run a second time beside it"
			      : "");
}

static void
kill_doomed(struct formers *all)
{
	size_t i;
	int pass;

	all->deadline = clock_monotonic() + KILL_WAIT;
	for (i = 0; i < all->n; i++)
		if (all->v[i].fate == FATE_KILLED)
			kill_group(&all->v[i]);
	for (i = 0; i < all->n; i++)
		if (all->v[i].fate == FATE_KILLED)
			wait_killed(&all->v[i], all->deadline);
	wait_execve(all);
	for (pass = 0; pass < PASSES && some_are_doomed(all); pass++)
		if (process_each(kill_marked, all) == 0)
			break;
}

/* ---- the file for the keeper ---- */

/* Its process may put another file in a descriptor's place at any time, even
 * one that it may not read: held first, then looked at.  With user= the keeper
 * makes pipes that are herod's user's: any other is none of ours. */
static int
open_if_pipe(const struct privs *p, int dir, const char *name, uint64_t inode)
{
	int held = openat(dir, name, O_PATH | O_CLOEXEC), fd = -1;
	int error = ENOENT;
	char path[32];
	struct stat st;

	if (held != -1 && fstat(held, &st) == 0 && S_ISFIFO(st.st_mode) &&
	    st.st_ino == inode && (!p->drops || st.st_uid == p->uid)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
		fd = open(path, O_RDONLY | O_NONBLOCK); /* over an exec, too */
		error = errno;
	}
	if (held != -1)
		close(held);
	errno = error;
	return fd;
}

/* The reading end of the pipe of that number that a process writes to; -1
 * with errno. */
static int
open_pipe(const struct privs *p, pid_t pid, uint64_t inode)
{
	int fd = -1, error = ENOENT;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return -1;
	while (fd == -1 && (entry = readdir(dir)) != NULL) {
		fd = open_if_pipe(p, dirfd(dir), entry->d_name, inode);
		if (fd == -1 && errno != ENOENT)
			error = errno;
	}
	closedir(dir);
	errno = error;
	return fd;
}

static void
open_pipes(const struct privs *p, const struct former *f, struct wire_fds *fds)
{
	static const char *const words[] = {"stdout", "stderr", "ready_fd"};
	static const int places[] = {WIRE_STDOUT, WIRE_STDERR, WIRE_READINESS};
	size_t i;

	for (i = 0; i < LIVING_PIPES; i++) {
		if (f->l.pipes[i] == 0)
			continue;
		fds->fd[places[i]] = open_pipe(p, f->l.pid, f->l.pipes[i]);
		/* ENOENT: it has closed it, as daemons do. */
		if (fds->fd[places[i]] == -1 && errno != ENOENT)
			log_warn("%s: pid %d: its %s cannot be read any more",
			    f->name, (int)f->l.pid, words[i]);
	}
}

static bool
put_former(const struct privs *p, int file, struct wire_out *out,
    const struct former *f)
{
	struct wire_kept kept = {.id = f->l.id,
	    .pid = f->l.pid,
	    .flags = WIRE_KEPT_FOREIGN |
		(f->fate == FATE_ENDED ? WIRE_KEPT_ENDED : 0),
	    .exec_fd = -1,
	    .started_ns = f->l.started_ns,
	    .tag = f->l.tag};

	wire_fds_init(&kept.fds);
	if (f->fate == FATE_ENDED) {
		kept.exit = (struct wire_exit){.status = f->l.status,
		    .unknown = !f->l.known,
		    .at_ns = f->l.ended_ns};
	} else {
		open_pipes(p, f, &kept.fds);
		kept.fds.fd[WIRE_PIDFD] = f->pidfd;
		fcntl(f->pidfd, F_SETFD, 0);
	}
	wire_put_kept(out, &kept);
	return wire_write(file, out);
}

/* What processes that are started from now on get back: what we have now.
 * Of descriptors we need more, as the keeper does. */
static void
base_begin(struct wire_base *b)
{
	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	struct rlimit most;
	ssize_t n = 0;

	if (fd != -1) {
		n = read(fd, b->oom_score_adj, sizeof(b->oom_score_adj) - 1);
		close(fd);
	}
	b->oom_score_adj[n > 0 ? n : 0] = '\0';
	getrlimit(RLIMIT_NOFILE, &b->nofile);
	most = b->nofile;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
}

static bool
write_all(const struct formers *all, int file, int lock, const char *lock_name)
{
	struct wire_out out = {.buf = xmalloc(WIRE_MAX), .size = WIRE_MAX};
	struct wire_head head = {
	    .next_id = all->next_id, .base = all->base, .sock = -1};
	bool good;
	size_t i;

	wire_put_head(&out, &head);
	resume_put_fd(&out, lock_name, lock);
	good = wire_write(file, &out);
	for (i = 0; good && i < all->n; i++)
		if (all->v[i].fate == FATE_GOES_ON ||
		    all->v[i].fate == FATE_ENDED)
			good = put_former(all->privs, file, &out, &all->v[i]);
	wire_put_u8(&out, WIRE_KEPT_END);
	good = good && wire_write(file, &out);
	free(out.buf);
	return good;
}

static int
file_for_keeper(struct formers *all, int lock, const char *lock_name)
{
	int file = memfd_create("herod-keeper", 0);

	if (file != -1 && write_all(all, file, lock, lock_name))
		return file;
	log_error("a file for herod-keeper");
	if (file != -1)
		close(file);
	return -1;
}

static void
tell_losses(const struct formers *all)
{
	if (all->ngoing)
		log_errorx("herod and herod-keeper were both killed: %zu "
			   "process%s go%s on; output that was in their hands "
			   "(at most 64 kB, and half a line of each stream) is "
			   "lost or stands twice",
		    all->ngoing, all->ngoing == 1 ? "" : "es",
		    all->ngoing == 1 ? "es" : "");
}

/* Without it there would be a second copy of each that goes on. */
static int
refuse_copies(struct err *e)
{
	return err_set(
	    e, ERR_INTERNAL, "what lives cannot be handed to herod-keeper");
}

/* Who lives is looked at as root, our files are opened as the user. */
static void
deal_with(struct formers *all, int lock, const char *lock_name, int *file)
{
	privs_own_files(all->privs, false);
	kill_doomed(all);
	tell_losses(all);
	if (all->ngoing || all->nended)
		*file = file_for_keeper(all, lock, lock_name);
	privs_own_files(all->privs, true);
}

int
revive(const struct privs *p, const char *state_dir, const char *lock_path,
    const char *lock_name, int *file, struct err *e)
{
	struct formers all = {.next_id = 1, .privs = p};
	struct stat st;
	int lock;

	*file = -1;
	if (stat(lock_path, &st) == -1)
		return 0;
	lock = lock_take(lock_path, e);
	if (lock == -1)
		return -1;
	base_begin(&all.base);
	if (read_formers(&all, state_dir)) {
		deal_with(&all, lock, lock_name, file);
		if (*file == -1 && all.ngoing)
			return refuse_copies(e);
	}
	if (*file == -1) {
		setrlimit(RLIMIT_NOFILE, &all.base.nofile);
		formers_clear(&all);
		close(lock);
	} else
		free(all.v); /* its descriptors are the keeper's */
	return 0;
}
