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
#include "schedule.h"

/* By the herod that executes the keeper: what comes after it is of one
 * mark.  goes_on: processes of an earlier one go on, see in_force_before(). */
void in_force_mark(const struct conf *c, bool goes_on);

/* What the herod before us left, or NULL: there was none, or it left
 * nothing of use. */
struct conf *in_force_load(void);

/* Where processes of an earlier herod go on: puts the runners into c that it
 * had, instead of those of the file.  True when it did, once: then the file
 * is to be read again (reload) when all of them are found. */
bool in_force_before(struct conf *c);

/* Keeps daemon settings, the runners of the file and the schedules.
 * own_redis: redis_url is herod's own doing.  When that fails nothing is kept.
 */
void in_force_save(const struct conf *c, bool own_redis, struct runners *rs,
    const struct schedules *ss);

#endif
