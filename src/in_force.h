/*
 * The configuration in force, kept for the herod that the keeper starts
 * after this one has died: it goes on by it, whatever the file says by then.
 *
 * It lies in conf.json of the state directory.  The herod that the user
 * types names that file and itself (a mark that no other herod has) in the
 * environment; one that is started anew has another mark and reads the
 * configuration file.
 */
#ifndef IN_FORCE_H
#define IN_FORCE_H

#include "conf.h"
#include "runners.h"

/* By the herod that executes the keeper: what comes after it is of one
 * mark. */
void in_force_mark(const struct conf *c);

/* What the herod before us left, or NULL: there was none, or it left
 * nothing of use. */
struct conf *in_force_load(void);

/* Keeps daemon settings and the runners of the file.  own_redis: redis_url
 * is herod's own doing.  When that fails nothing is kept. */
void in_force_save(const struct conf *c, bool own_redis, struct runners *rs);

#endif
