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

struct identity {
	bool is_set; /* else herod is who the keeper is */
	bool root_runners; /* runners may be root, too */
	uid_t uid;
	gid_t gid;
	gid_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
};

/* "UID:GID:GROUP,GROUP...", none of the two being 0; false when it is not. */
bool identity_parse(struct identity *id, const char *text);

/* Gives up what this process needs no more: for good, but for what it would
 * get from execve(2).  with_start: keeps START of caps.def, too. */
void identity_limit(const struct identity *id, bool with_start);

/* The keeper's files are that user's from now on, or, NULL, its own. */
void identity_own_files(const struct identity *id);

/* Becomes that user, for good; false with errno. */
bool identity_become(const struct identity *id);

/* Is that user, group or one of these groups root's, and not allowed? */
bool identity_forbids(const struct identity *id, const struct wire_spawn *s);

#endif
