/*
 * Who herod is, when the keeper was started as root and herod is not to be:
 * the keeper stays uid 0 with few capabilities (caps.def), herod and every
 * process that asks for no user are this one.
 *
 * Files and pipes that the keeper makes are this user's, too (fsuid): herod
 * has to open them anew after a crash.
 */
#ifndef IDENTITY_H
#define IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "keeper_wire.h"

#define IDENTITY_RUNNERS_MAX 257

struct identity_user {
	uid_t uid;
	gid_t gid;
	gid_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
};

struct identity {
	bool is_set; /* else herod is who the keeper is */
	bool root_runners; /* runners may be root, too */
	struct identity_user own;
	struct identity_user runners[IDENTITY_RUNNERS_MAX]; /* may be these */
	size_t nrunners; /* 0: anybody, but for root */
};

/* "UID:GID:GROUP,GROUP...", none of the two being 0; false when it is not. */
bool identity_parse(struct identity *id, const char *text);

/* One more of those whom runners may be, of the same form; 0 is one, too. */
bool identity_add_runner(struct identity *id, const char *text);

/* Gives up what this process needs no more, and root's keyring: for good, but
 * for what it would get from execve(2).  with_start: keeps START of caps.def,
 * too. */
void identity_limit(const struct identity *id, bool with_start);

/* Names of what the keeper, being root, should be able to do and is not, with
 * blanks between: CAP of caps.def.  Else "". */
void identity_lacks(char *names, size_t size);

/* The keeper's files are that user's from now on, or, NULL, its own. */
void identity_own_files(const struct identity *id);

/* Becomes that user, for good; false with errno. */
bool identity_become(const struct identity *id);

/* Goes to / if this user cannot be where we are by its name, as in a directory
 * below /root: relative names would lead to what is there.  False with errno.
 */
bool identity_leave_private(void);

/* Why a runner may not be whom it shall be; NULL: it may. */
const char *identity_forbids(
    const struct identity *id, const struct wire_spawn *s);

/* Those of its groups that the user had at the start, in groups: how many.
 * Where runners may be anybody, all. */
size_t identity_groups(const struct identity *id, const struct wire_spawn *s,
    gid_t groups[WIRE_GROUPS_MAX]);

#endif
