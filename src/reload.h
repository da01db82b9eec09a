/*
 * The configuration file read again while herod runs.
 *
 * All or nothing: a file with mistakes changes nothing.  What differs from
 * what is in force is done runner by runner, each by its old stop rules.
 * Runners added by RPC are left alone.
 */
#ifndef RELOAD_H
#define RELOAD_H

#include "conf.h"
#include "redis.h"
#include "runners.h"
#include "schedule.h"
#include "tls_door.h"
#include "worker.h"

struct doors;

/* What is in force, and where it comes from.  All borrowed. */
struct configured {
	const char *file; /* NULL: none */
	const json_t *overrides; /* of argv and environment */
	struct conf *conf; /* its daemon settings are in force */
	bool own_redis; /* redis_url was not set, herod has filled it in */
	struct runners *runners;
	struct workers *workers;
	struct redis *redis;
	struct schedules *schedules;
	struct keys *keys;
	struct tls_door *tls;
	struct doors *doors;
	void (*origins_changed)(struct doors *doors); /* cors_origins */
};

/*
 * {added, changed: {name: restart | live}, removed, herod, refused,
 * schedules: {added, changed, removed}} (Reload of schemas.def): what was done,
 * or with dry_run would be.  It is only begun when this returns.  NULL after
 * adding sentences to *errors, a strv: nothing was changed.
 */
json_t *configured_reload(struct configured *c, bool dry_run, char ***errors);

/* Sets one LIVE setting of herod from its canonical value; it is in force
 * when this returns. */
int configured_set(
    struct configured *c, const char *name, const json_t *value, struct err *e);

/* For the herod after us. */
void configured_keep(const struct configured *c);

/* All that is in force (Config of schemas.def), without secrets; of one
 * runner only, or of all (NULL). */
json_t *configured_show(const struct configured *c, const struct runner *only);

/* Other values for some settings of a runner that was added by RPC; all or
 * nothing.  Refuses runners of the file, which says what they are. */
int configured_update(struct runner *r, const json_t *settings, struct err *e);

#endif
