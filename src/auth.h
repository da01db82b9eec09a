/*
 * Who is at the other end of a connection, and what they may do.
 */
#ifndef AUTH_H
#define AUTH_H

#include "rpc.h"

/*
 * Fills in the peer of a connection just accepted, before anything is read
 * from it.  herod's own user, root and members of admin_group are admins,
 * others have default_scope, who cannot be known has none.  Looks up the
 * user database only when admin_group is set.
 */
void auth_peer(struct peer *p, int fd, const struct daemon_conf *conf);

/* It has shown a key: that one's scope is its scope now, be it less. */
void auth_given(struct peer *p, const struct key_given *given);

#endif
