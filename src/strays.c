/*
 * What a process that has ended leaves behind outside of its process group:
 * those who called setsid(2), or whose parent did.
 *
 * They are found by their cgroup.  Where there is none, by a mark in their
 * environment among the children of the keeper, to which the orphans of its
 * children come; that costs a look at all of these, so it is done only when
 * a process ends, and once a turn of the loop for all that end in it.  Those
 * of one that outlived its keeper are nobody's children: search.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "child_impl.h"
#include "log.h"
#include "mem.h"
#include "process.h"

#define STRAYS_MAX 512 /* dealt with at once; the others in the next turn */
#define ORPHANS_MAX 4096 /* children of the keeper that are looked at */
#define EXECVE_TRIES 100 /* milliseconds; it takes less than one */
#define ALL_EXECVE_TRIES 20 /* of 5 ms */
#define PASSES 8 /* until no new ones were forked */
#define NAMED 4 /* told by name */

struct pids {
	size_t n;
	pid_t v[STRAYS_MAX];
};

static void
add(struct pids *pids, pid_t pid)
{
	if (pids->n < STRAYS_MAX)
		pids->v[pids->n++] = pid;
}

static bool
has(const struct pids *pids, pid_t pid)
{
	size_t i;

	for (i = 0; i < pids->n; i++)
		if (pids->v[i] == pid)
			return true;
	return false;
}

/* ---- by mark ---- */

/* Unique among the descendants of this keeper. */
static void
mark_value(pid_t keeper, unsigned id, char value[STRAY_MARK_SIZE])
{
	snprintf(value, STRAY_MARK_SIZE, "%d-%u", (int)keeper, id);
}

void
strays_mark(const struct keeper *k, unsigned id, char mark[STRAY_MARK_SIZE])
{
	char value[STRAY_MARK_SIZE];

	mark_value(k->pid, id, value);
	snprintf(mark, STRAY_MARK_SIZE, STRAY_MARK "=%.40s", value);
}

static bool
has_mark(const struct process *p, pid_t pid)
{
	char value[STRAY_MARK_SIZE], wanted[STRAY_MARK_SIZE];

	if (search_is_needed(p) && !strays_keeper_is_gone(p->marked_by))
		return false;
	mark_value(p->marked_by, p->c.id, wanted);
	return process_variable(pid, STRAY_MARK, value, sizeof(value)) &&
	    strcmp(value, wanted) == 0;
}

static int
compare(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

/* Leaders that live, in order; free(3) them. */
static pid_t *
known_pids(const struct keeper *k, size_t *n)
{
	pid_t *known = xcalloc(k->nprocesses + 1, sizeof(*known));
	struct process *p;

	*n = 0;
	RB_FOREACH (p, processes, (struct processes *)(uintptr_t)&k->processes)
		if (p->phase == PHASE_RUNNING && *n < k->nprocesses)
			known[(*n)++] = p->c.pid;
	known[(*n)++] = getpid();
	qsort(known, *n, sizeof(*known), compare);
	return known;
}

/* The keeper's children that are no leaders. */
static void
find_orphans(struct keeper *k)
{
	pid_t *all = xcalloc(ORPHANS_MAX, sizeof(*all)), *known;
	size_t i, n, nknown;

	known = known_pids(k, &nknown);
	n = k->lost ? 0 : process_children(k->pid, all, ORPHANS_MAX);
	k->norphans = 0;
	for (i = 0; i < n && k->norphans < STRAYS_MAX; i++)
		if (!bsearch(&all[i], known, nknown, sizeof(*known), compare))
			all[k->norphans++] = all[i];
	free(known);
	free(k->orphans);
	k->orphans = NULL;
	if (k->norphans) {
		k->orphans = xcalloc(k->norphans, sizeof(*all));
		memcpy(k->orphans, all, k->norphans * sizeof(*all));
	}
	free(all);
	k->orphans_turn = ev_iteration(k->loop);
}

static void
find_by_search(const struct process *p, struct pids *pids)
{
	pid_t found[STRAYS_MAX];
	size_t i, n = search_found(p, found, STRAYS_MAX);

	for (i = 0; i < n; i++)
		if (has_mark(p, found[i]))
			add(pids, found[i]);
}

static void
find_among_orphans(const struct process *p, struct pids *pids, bool again)
{
	struct keeper *k = p->c.keeper;
	size_t i;

	if (again || k->orphans_turn != ev_iteration(k->loop))
		find_orphans(k);
	for (i = 0; i < k->norphans; i++)
		if (has_mark(p, k->orphans[i]))
			add(pids, k->orphans[i]);
}

/* Those of the mark, and from them downwards. */
static void
find_by_mark(const struct process *p, struct pids *pids, bool again)
{
	pid_t below[STRAYS_MAX];
	size_t i, j, n;

	if (search_is_needed(p))
		find_by_search(p, pids);
	else
		find_among_orphans(p, pids, again);
	for (i = 0; i < pids->n; i++) {
		n = process_children(pids->v[i], below, STRAYS_MAX);
		for (j = 0; j < n; j++)
			if (!has(pids, below[j]) && has_mark(p, below[j]))
				add(pids, below[j]);
	}
}

/* ---- both ways ---- */

static bool
is_dead(pid_t pid)
{
	struct process_info info;

	return !process_read(pid, &info) || strchr("ZXx", info.state);
}

/* Members of its group, too. */
static void
find(const struct process *p, struct pids *pids, bool again)
{
	pid_t all[STRAYS_MAX];
	size_t i, n;

	pids->n = 0;
	if (p->unheld)
		return;
	if (p->cgroup == NULL) {
		find_by_mark(p, pids, again);
		return;
	}
	n = cgroup_pids(p->cgroup, all, STRAYS_MAX);
	for (i = 0; i < n && i < STRAYS_MAX; i++)
		if (all[i] > 1 && !is_dead(all[i]))
			add(pids, all[i]);
}

static bool
is_still_ours(const struct process *p, pid_t pid)
{
	return p->cgroup ? cgroup_has(p->cgroup, pid) : has_mark(p, pid);
}

/* The number may be somebody else's by now: asked again when it is held. */
static void
send_signal(const struct process *p, pid_t pid, int sig)
{
	int fd = pidfd_open(pid, 0);

	if (fd == -1)
		return;
	if (is_still_ours(p, pid))
		pidfd_send_signal(fd, sig, NULL, 0);
	close(fd);
}

static bool
is_in_group(const struct process *p, pid_t pid)
{
	return p->group_left && getpgid(pid) == p->c.pid;
}

bool
strays_are_left(const struct process *p)
{
	struct pids pids;
	size_t i;

	/* To remove it is the cheapest way to see that nobody is in it. */
	if (p->cgroup && !p->group_left && cgroup_end(p->cgroup))
		return false;
	find(p, &pids, false);
	for (i = 0; i < pids.n; i++)
		if (!is_in_group(p, pids.v[i]))
			return true;
	return false;
}

void
strays_signal(const struct process *p, int sig)
{
	struct pids pids;
	size_t i;

	find(p, &pids, false);
	for (i = 0; i < pids.n; i++)
		if (!is_in_group(p, pids.v[i]))
			send_signal(p, pids.v[i], sig);
}

/* What is stopped forks no more: when a pass finds nobody new, all are. */
void
strays_kill(const struct process *p)
{
	struct pids pids, stopped = {.n = 0};
	size_t i, before;
	int pass;

	if (cgroup_kill(p->cgroup))
		return;
	for (pass = 0; pass < PASSES; pass++) {
		before = stopped.n;
		find(p, &pids, true);
		for (i = 0; i < pids.n; i++)
			if (!has(&stopped, pids.v[i])) {
				send_signal(p, pids.v[i], SIGSTOP);
				add(&stopped, pids.v[i]);
			}
		if (stopped.n == before)
			break;
	}
	for (i = 0; i < stopped.n; i++)
		send_signal(p, stopped.v[i], SIGKILL);
}

/* ---- after the keeper's death ---- */

bool
strays_keeper_is_gone(pid_t keeper)
{
	return keeper > 1 && kill(keeper, 0) == -1 && errno == ESRCH;
}

enum marked
strays_mark_read(pid_t pid, pid_t *keeper, unsigned *id)
{
	char value[STRAY_MARK_SIZE];
	struct process_info info;

	if (process_name(pid, value) &&
	    sscanf(value, WIRE_CHILD_NAME, (unsigned *)keeper, id) == 2)
		return MARKED;
	if (process_variable(pid, STRAY_MARK, value, sizeof(value)))
		return sscanf(value, "%d-%u", keeper, id) == 2 ? MARKED
							       : UNMARKED;
	return !process_has_environment(pid) && process_read(pid, &info) &&
		info.state != 'Z'
	    ? IN_EXECVE
	    : UNMARKED;
}

/* Nobody can tell yet whose it is.  The kernel's own, below pid 2, have
 * nothing to be told by either. */
static bool
is_in_execve(void *arg, pid_t pid)
{
	struct process_info info;
	pid_t keeper;
	unsigned id;

	(void)arg;
	return strays_mark_read(pid, &keeper, &id) == IN_EXECVE &&
	    process_read(pid, &info) && info.ppid != 2 && info.ppid != 0;
}

void
strays_wait_execve(void)
{
	static const struct timespec moment = {.tv_nsec = 5000000};
	int tries;

	for (tries = 0; tries < ALL_EXECVE_TRIES; tries++) {
		if (process_each(is_in_execve, NULL) == 0)
			break;
		nanosleep(&moment, NULL);
	}
}

/* Whom it was asked to start as pid, not yet having told so. */
static struct process *
asked_for(struct keeper *k, pid_t pid)
{
	static const struct timespec a_moment = {.tv_nsec = 1000000};
	struct process *p;
	enum marked marked;
	unsigned id = 0;
	pid_t keeper = 0;
	int tries;

	for (tries = 0; tries < EXECVE_TRIES; tries++) {
		marked = strays_mark_read(pid, &keeper, &id);
		if (marked != IN_EXECVE)
			break;
		nanosleep(&a_moment, NULL);
	}
	if (marked != MARKED || keeper != k->pid)
		return NULL;
	p = keeper_process(k, id);
	return p && p->phase == PHASE_ASKED ? p : NULL;
}

static void
kill_asked(struct keeper *k, pid_t pid)
{
	struct process *p = asked_for(k, pid);
	int fd = p ? pidfd_open(pid, 0) : -1;

	if (fd == -1)
		return;
	if (asked_for(k, pid) == p) { /* still, and it cannot change now */
		log_warnx("process %d: was being started, its output is lost: "
			  "killing it",
		    (int)pid);
		if (getpgid(pid) == pid)
			kill(-pid, SIGKILL);
		pidfd_send_signal(fd, SIGKILL, NULL, 0);
	}
	close(fd);
}

void
strays_kill_asked(struct keeper *k)
{
	pid_t *all = xcalloc(ORPHANS_MAX, sizeof(*all));
	size_t i, n = 0;

	if (k->nasked)
		n = process_children(getppid(), all, ORPHANS_MAX);
	for (i = 0; i < n; i++)
		if (all[i] != getpid())
			kill_asked(k, all[i]);
	free(all);
}

/* ---- for people ---- */

/* "pid 12 (cat)": no arguments, which may hold secrets. */
static void
name_one(const struct process_info *info, pid_t pid, char text[64])
{
	size_t len = strcspn(info->command, " ");
	const char *name = memrchr(info->command, '/', len);

	name = name ? name + 1 : info->command;
	len -= (size_t)(name - info->command);
	snprintf(text, 64, "pid %d (%.*s)", (int)pid,
	    (int)(len < 32 ? len : 32), name);
}

/* *text is replaced by a longer one. */
static void __attribute__((format(printf, 2, 3)))
append(char **text, const char *fmt, ...)
{
	char more[128], *old = *text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(more, sizeof(more), fmt, ap);
	va_end(ap);
	*text = xasprintf("%s%s", old ? old : "", more);
	free(old);
}

char *
strays_names(const struct process *p)
{
	struct process_info info;
	char *text = NULL, one[64];
	struct pids pids;
	size_t i;

	find(p, &pids, false);
	for (i = 0; i < pids.n && i < NAMED; i++) {
		if (!process_read(pids.v[i], &info))
			continue;
		name_one(&info, pids.v[i], one);
		append(&text, "%s%s", text ? ", " : "", one);
	}
	if (pids.n > NAMED)
		append(&text, " and %zu more", pids.n - NAMED);
	return text;
}

char *
strays_unkillable(const struct process *p)
{
	struct process_info info;
	char one[64], *text = NULL;
	pid_t pid = p->c.pid;
	struct pids pids;

	if (p->phase == PHASE_ENDED) {
		find(p, &pids, true);
		pid = pids.n ? pids.v[0] : 0;
	}
	if (pid == 0 || !process_read(pid, &info))
		return NULL;
	name_one(&info, pid, one);
	append(&text, "%s in state %c", one, info.state);
	return text;
}
