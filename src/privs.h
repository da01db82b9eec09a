/*
 * Whom herod becomes when it was started as root (settings user, group), and
 * what is his then.  While herod-keeper stays root, see keeper/identity.h.
 */
#ifndef PRIVS_H
#define PRIVS_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf.h"
#include "err.h"
#include "settings.h"

#define PRIVS_GROUPS_MAX 64
#define PRIVS_RUNNERS_MAX 256 /* users in runner_users */

struct privs {
	bool drops; /* herod becomes somebody else */
	bool root_runners;
	uid_t uid;
	gid_t gid;
	gid_t groups[PRIVS_GROUPS_MAX];
	int ngroups;
	char **runners; /* as privs_option(): whom they may be; NULL: anybody */
};

/* By name or number; NULL, or -1, with a sentence of that code: there is no
 * such one.  The entry is getpwnam(3)'s; a number needs no group's entry. */
struct passwd;
const struct passwd *user_find(
    const char *name, enum err_code code, struct err *e);
int group_find(const char *name, gid_t *gid, enum err_code code, struct err *e);

/* Refuses users that do not exist, and, when somebody who is not root is to
 * start herod now, users that they are not. */
int privs_find(
    struct privs *p, const struct daemon_conf *d, bool to_start, struct err *e);

void privs_clear(struct privs *p);

/* Refuses, with that code, a runner whose user or group is none of those that
 * runner_users allows.  herod-keeper goes by what these were when root started
 * it, whatever herod asks for. */
int privs_check_runner(const struct daemon_conf *d, const struct runner_conf *c,
    enum err_code code, struct err *e);

/* The same of all that a file has, by the settings in force, which the keeper
 * goes by; a sentence of each is added to *errors. */
int privs_check_runners(
    const struct daemon_conf *in_force, const struct conf *c, char ***errors);

/* Becomes that user for good. */
int privs_become(const struct privs *p, struct err *e);

/* HOME and the like are that user's for what is executed from now on. */
void privs_set_environment(const struct privs *p);

/* Files are opened and made as that user from now on; nothing else changes.
 * With false: as who we are. */
void privs_own_files(const struct privs *p, bool own);

/* Are others unable to put something else in its place, or in that of a
 * directory above it?  What is not there yet is root's to make. */
bool privs_is_roots_place(const struct privs *p, const char *path);

/* Gives the user a directory of root's with all of root's in it.  Who has it
 * already keeps it; others' directories are refused, and those that hold
 * what is not herod's (is_ours says no of a name in it). */
int privs_give(const struct privs *p, const char *dir,
    bool (*is_ours)(int dir, const char *name), struct err *e);

/* Refuses a program or a configuration file that somebody but root can change:
 * root goes by what it says. */
int privs_check_file(const struct privs *p, const char *path, struct err *e);

/* The option for herod-keeper, a new string. */
char *privs_option(const struct privs *p);

/* Is herod-keeper root, and this herod not? */
bool privs_keeper_is_root(void);

/* Has it, being root, been started without that capability ("CAP_KILL")? */
bool privs_keeper_lacks(const char *capability);

/* Is a process one that the record of a herod, which is not root, may send
 * root to?  One that is whom runners may be. */
bool privs_may_touch(const struct privs *p, pid_t pid);

#endif
