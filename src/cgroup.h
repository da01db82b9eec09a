/*
 * Control groups (cgroup v2): one for each instance, where they can be had.
 *
 * herod makes a directory of its own, herod.ID, in the cgroup that it was
 * started in, and a group in it for each instance.  The group is what a
 * process cannot leave by setsid(2) and double forks, so it tells what
 * belongs to an instance, kills all of it at once (cgroup.kill) and, where
 * the controllers can be had, limits it as a whole.  See cgroups(7) and the
 * kernel's Documentation/admin-guide/cgroup-v2.rst.
 *
 * Everything here works without them, too, and then does nothing.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum cgroup_controller {
	CGROUP_MEMORY,
	CGROUP_CPU,
	CGROUP_PIDS,
	CGROUP_CONTROLLERS
};

/* 0: no limit. */
struct cgroup_limits {
	long long memory; /* bytes */
	double cpus; /* processors' time a second */
	long long pids; /* processes and threads */
};

struct cgroups;
struct cgroup;

/*
 * Finds the cgroup that we were started in, makes our directory (id: one
 * word, the same for the herod after us) and enables controllers.  When we
 * and our parent, the keeper, stand in their way, both are moved into a leaf
 * of our directory.  Never NULL: cgroups_why_not() says what is missing.
 * off: they are not wanted.
 */
struct cgroups *cgroups_open(const char *id, bool off);

/* The same in a directory that the caller knows. */
struct cgroups *cgroups_open_at(const char *base, const char *id);

/* Removes what is empty, too. */
/* While root: makes the directory of groups, with the controllers that there
 * are, and gives it to the user; herod opens it as that user. */
void cgroups_give(const char *id, uid_t uid, gid_t gid);

void cgroups_close(struct cgroups *cs);

/* "" when there are groups, else why not. */
const char *cgroups_why_not(const struct cgroups *cs);

/* Is this limit kept?  If not, *why says what is missing. */
bool cgroups_enforce(
    const struct cgroups *cs, enum cgroup_controller c, const char **why);

/* True the first time only: for what need not be said of each. */
bool cgroups_say_once(struct cgroups *cs);

/* A group that is made when it is first used.  NULL when there are none, and
 * all functions below take that. */
struct cgroup *cgroup_new(struct cgroups *cs, const char *name);

/* Removes it when it is empty, and frees. */
void cgroup_free(struct cgroup *g);

/* Makes it with these limits, for a process that begins; gives a descriptor
 * of the directory for SPAWN, or -1 (which is logged). */
int cgroup_begin(struct cgroup *g, const struct cgroup_limits *limits);

/* Removes it until the next cgroup_begin(), unless somebody lives in it: then
 * it is there still, and this is false. */
bool cgroup_end(struct cgroup *g);

/* It was begun by the herod before us; lives: the process that is in it. */
void cgroup_resume(struct cgroup *g, bool lives);

/* Its limit of memory in bytes; 0: none. */
long long cgroup_memory(const struct cgroup *g);

/* New limits for those who are in it.  0, or -1 with errno. */
int cgroup_limit(struct cgroup *g, const struct cgroup_limits *limits);

/* Processes in it (not in groups that they made themselves); at most max are
 * put into pids.  Returns how many there are. */
size_t cgroup_pids(const struct cgroup *g, pid_t *pids, size_t max);

/* Is it in it now? */
bool cgroup_has(const struct cgroup *g, pid_t pid);

/* SIGKILL to all in it, and to those they are about to fork.  False when
 * the kernel (before 5.14) cannot. */
bool cgroup_kill(const struct cgroup *g);

/* Has the kernel killed one of them for lack of memory since the last call
 * or cgroup_begin()? */
bool cgroup_ran_out(struct cgroup *g);

#endif
