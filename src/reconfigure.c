/* Other settings for a runner that may be running. */
#define LOG_MODULE "runner"

#include <stdlib.h>
#include <string.h>

#include "depend.h"
#include "log.h"
#include "mem.h"
#include "rolling.h"

/* Takes over r->conf; the caller is a user. */
static struct former *
former_new(struct runner *r)
{
	struct former *f = xcalloc(1, sizeof(*f));

	f->users = 1;
	f->conf = r->conf;
	memset(&r->conf, 0, sizeof(r->conf));
	return f;
}

/* Whoever keeps older settings still goes by those. */
static void
keep_former(struct runner *r, struct former *f, enum change how)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k) {
		if (i->former || !instance_is_up(i))
			continue;
		if (how == CHANGE_LIVE && i->state != STARTING)
			continue;
		i->former = f;
		f->users++;
	}
}

static void
apply_live(struct runner *r, const struct runner_conf *before)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (i->former == NULL)
			instance_apply_live(i, before);
}

/* One that had failed may do better now. */
static void
restart(struct runner *r)
{
	rolling_end(r, WAIT_SUPERSEDED);
	if (r->wanted == WANTED_UP && !runners_are_ending(r->all))
		runner_restart_instances(r, true, "its settings were changed");
}

/* The number asked for by settings that changed in this is the last word
 * on it. */
static size_t
instances_after(const struct runner *r, const struct runner_conf *before)
{
	size_t asked = conf_instances(&r->conf);

	return asked == conf_instances(before) ? r->nwanted : asked;
}

static void
apply(struct runner *r, struct former *f, enum change how)
{
	const struct runner_watch *watch = runners_context(r->all)->watch;
	size_t n = instances_after(r, &f->conf);

	output_reconfigure(r->output, &r->conf);
	if (how == CHANGE_RESTART)
		restart(r);
	else
		apply_live(r, &f->conf);
	if (watch->reconfigured)
		watch->reconfigured(watch->arg, r, &f->conf);
	runner_scale(r, n);
	runners_look_again(r->all);
}

void
runner_reconfigure(
    struct runner *r, const struct runner_conf *conf, const char *origin)
{
	enum change how = settings_change(runner_settings, &r->conf, conf);
	struct former *f;

	if (strcmp(r->origin, origin) != 0) {
		free(r->origin);
		r->origin = xstrdup(origin);
	}
	if (how == CHANGE_NONE)
		return;
	log_info("runner %s: other settings%s", r->name,
	    how == CHANGE_LIVE ? "" : ", its processes are started again");
	f = former_new(r);
	settings_copy(runner_settings, &r->conf, conf);
	if (depends_at_all(&r->conf))
		runners_note_order(r->all);
	keep_former(r, f, how);
	apply(r, f, how);
	former_unuse(f);
}
