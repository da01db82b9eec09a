/* What differs between the file and what is in force, and how it is done. */
#define LOG_MODULE "herod"

#include "reload.h"

#include <stdlib.h>
#include <string.h>

#include "depend.h"
#include "in_force.h"
#include "keys.h"
#include "log.h"
#include "mem.h"
#include "order.h"
#include "privs.h"

/* One reload: what the file says, and the answer while it is made. */
struct reload {
	struct configured *to;
	struct conf *conf;
	struct tls_credentials *certificate; /* read anew, or NULL */
	json_t *added, *changed, *removed, *herod, *refused, *schedules;
};

static void __attribute__((format(printf, 2, 3)))
refuse(struct reload *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(d->refused, json_vsprintf(fmt, ap));
	va_end(ap);
}

static struct conf_runner *
conf_runner_of(const struct reload *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->conf->nrunners; i++)
		if (strcmp(d->conf->runners[i].name, name) == 0)
			return &d->conf->runners[i];
	return NULL;
}

/* ---- what differs ---- */

/* The settings of [herod] that take effect without a new start. */
static void
compare_daemon(struct reload *d)
{
	const struct daemon_conf *now = &d->to->conf->daemon;
	const struct daemon_conf *then = &d->conf->daemon;
	const struct setting *s;
	size_t i = 0;

	while ((s = settings_differ(daemon_settings, now, then, &i))) {
		if (strcmp(s->name, "redis_url") == 0 && d->to->own_redis &&
		    then->redis_url == NULL)
			continue; /* nobody has set it, then or now */
		if (s->apply == LIVE)
			json_array_append_new(d->herod, json_string(s->name));
		else
			refuse(d,
			    "%s: a change of it is in force when herod is "
			    "started again",
			    s->name);
	}
}

static void
refuse_external(struct reload *d, const struct conf_runner *c)
{
	refuse(d,
	    "runner %s (%s): an external one of that name is registered; "
	    "unregister it first (heroctl unregister %s)",
	    c->name, c->origin, c->name);
}

static void
refuse_rpc(struct reload *d, const struct conf_runner *c)
{
	refuse(d,
	    "runner %s (%s): one of that name was added by RPC; remove it "
	    "first (heroctl remove-runner %s)",
	    c->name, c->origin, c->name);
}

static void
compare_runner(struct reload *d, const struct conf_runner *c)
{
	struct runner *r = runner_find(d->to->runners, c->name);
	enum change how;

	if (r == NULL || r->wanted == WANTED_REMOVED) {
		json_array_append_new(d->added, json_string(c->name));
	} else if (r->internal) {
		refuse(d, "runner %s (%s): is herod's own", c->name, c->origin);
	} else if (runner_is_external(r)) {
		refuse_external(d, c);
	} else if (!runner_is_of_file(r)) {
		refuse_rpc(d, c);
	} else {
		how = settings_change(runner_settings, &r->conf, &c->settings);
		if (how != CHANGE_NONE)
			json_object_set_new(d->changed, c->name,
			    json_string(
				how == CHANGE_LIVE ? "live" : "restart"));
	}
}

static void
compare(struct reload *d)
{
	struct runner *r;
	size_t i;

	compare_daemon(d);
	for (i = 0; i < d->conf->nrunners; i++)
		compare_runner(d, &d->conf->runners[i]);
	RUNNERS_FOREACH (r, d->to->runners)
		if (runner_is_of_file(r) && r->wanted != WANTED_REMOVED &&
		    !conf_runner_of(d, r->name))
			json_array_append_new(d->removed, json_string(r->name));
}

/* Would those that were added by RPC close a cycle with the file's? */
static int
check_order(const struct reload *d, char ***errors)
{
	struct depend_node *nodes = NULL;
	struct err e = {0};
	struct runner *r;
	size_t i, n = 0;

	for (i = 0; i < d->conf->nrunners; i++) {
		nodes = xreallocarray(nodes, n + 1, sizeof(*nodes));
		nodes[n++] = (struct depend_node){
		    d->conf->runners[i].name, &d->conf->runners[i].settings};
	}
	RUNNERS_FOREACH (r, d->to->runners) {
		if (runner_is_of_file(r) || conf_runner_of(d, r->name))
			continue;
		nodes = xreallocarray(nodes, n + 1, sizeof(*nodes));
		nodes[n++] = (struct depend_node){r->name, &r->conf};
	}
	if (depend_check_cycle(nodes, n, &e) != 0)
		strv_add(errors, xstrdup(e.text));
	free(nodes);
	return err_is_set(&e) ? -1 : 0;
}

static int
read_certificate(struct reload *d, char ***errors)
{
	struct err e = {0};

	d->certificate = tls_door_read(&d->conf->daemon, &e);
	if (err_is_set(&e))
		strv_add(errors, xstrdup(e.text));
	return err_is_set(&e) ? -1 : 0;
}

/* ---- doing it ---- */

static void
push_daemon(struct configured *c, const char *name)
{
	const struct daemon_conf *d = &c->conf->daemon;

	if (strcmp(name, "log_level") == 0)
		log_set_levels(d->log_level, NULL);
	else if (strcmp(name, "redis_timeout") == 0)
		redis_set_timeout(c->redis, d->redis_timeout);
	else if (strcmp(name, "result_ttl") == 0)
		workers_set_result_ttl(c->workers, d->result_ttl);
	else if (strcmp(name, "redis_replay") == 0)
		workers_set_replay(c->workers, d->redis_replay);
	else if (setting_is_secret(daemon_settings, name))
		keys_set_secrets(c->keys, d);
	else if (strcmp(name, "cors_origins") == 0 && c->origins_changed)
		c->origins_changed(c->doors);
	/* Everybody else looks each time. */
}

int
configured_set(
    struct configured *c, const char *name, const json_t *value, struct err *e)
{
	if (settings_set(daemon_settings, &c->conf->daemon, name, value, e) !=
	    0)
		return -1;
	push_daemon(c, name);
	return 0;
}

void
configured_keep(const struct configured *c)
{
	in_force_save(c->conf, c->own_redis, c->runners, c->schedules);
}

static void
apply_daemon(struct reload *d)
{
	const struct setting *s;
	json_t *name, *value;
	size_t i;

	json_array_foreach (d->herod, i, name) {
		s = setting_find(daemon_settings, json_string_value(name));
		value = type_fetch(
		    &s->kind, (const char *)&d->conf->daemon + s->offset);
		configured_set(d->to, s->name, value, NULL);
		json_decref(value);
	}
}

static void
remove_runners(struct reload *d)
{
	const json_t *name;
	size_t i;

	json_array_foreach (d->removed, i, name)
		runner_remove(
		    runner_find(d->to->runners, json_string_value(name)));
}

/* All but the new ones; where the file says it, may have changed, too. */
static void
change_runners(struct reload *d)
{
	const struct conf_runner *c;
	struct runner *r;

	RUNNERS_FOREACH (r, d->to->runners) {
		c = conf_runner_of(d, r->name);
		if (c && runner_is_of_file(r) && r->wanted != WANTED_REMOVED)
			runner_reconfigure(r, &c->settings, c->origin);
	}
}

/* All are there before one is started that may need another. */
static void
add_runners(struct reload *d)
{
	const struct conf_runner *c;
	const json_t *name;
	size_t i;

	json_array_foreach (d->added, i, name) {
		c = conf_runner_of(d, json_string_value(name));
		if (runner_find(d->to->runners, c->name) == NULL)
			runner_add(d->to->runners, c->name, &c->settings,
			    c->origin, NULL);
	}
}

static void
start_runner(struct reload *d, const struct conf_runner *c)
{
	struct runner *r = runner_find(d->to->runners, c->name);

	if (r->wanted == WANTED_REMOVED)
		runner_readmit(r, &c->settings, c->origin);
	else if (r->wanted == WANTED_UP)
		runner_start(r);
}

static int
by_priority(const void *a, const void *b)
{
	const struct conf_runner *x = *(struct conf_runner *const *)a;
	const struct conf_runner *y = *(struct conf_runner *const *)b;

	return (x->settings.priority > y->settings.priority) -
	    (x->settings.priority < y->settings.priority);
}

static void
start_runners(struct reload *d)
{
	size_t i, n = json_array_size(d->added);
	struct conf_runner **list =
	    xcalloc(n + 1, sizeof(struct conf_runner *));

	for (i = 0; i < n; i++)
		list[i] = conf_runner_of(
		    d, json_string_value(json_array_get(d->added, i)));
	qsort(list, n, sizeof(*list), by_priority);
	for (i = 0; i < n; i++)
		start_runner(d, list[i]);
	free(list);
}

/* Where the answer says that it is live and it is not. */
static void
tell_old_limits(struct reload *d, const struct instance *i)
{
	json_t *names = instance_old_limits(i);
	const json_t *name;
	size_t k;

	json_array_foreach (names, k, name)
		refuse(d,
		    "runner %s.%d: %s: cannot be changed for the process that "
		    "runs: it is in force when that is started again",
		    i->runner->name, i->n, json_string_value(name));
	json_decref(names);
}

static void
look_at_limits(struct reload *d)
{
	const struct instance *i;
	const char *name;
	struct runner *r;
	json_t *how;
	size_t k;

	json_object_foreach (d->changed, name, how) {
		r = runner_find(d->to->runners, name);
		if (r && strcmp(json_string_value(how), "live") == 0)
			RUNNER_FOREACH_STAYING (i, r, k)
				tell_old_limits(d, i);
	}
}

/* Before some go, those that needed them know that they do no more. */
static void
apply(struct reload *d)
{
	add_runners(d);
	change_runners(d);
	look_at_limits(d);
	remove_runners(d);
	start_runners(d);
	schedules_apply(d->to->schedules, d->conf);
	apply_daemon(d);
	tls_door_set(d->to->tls, d->certificate);
	d->certificate = NULL;
	configured_keep(d->to);
}

json_t *
configured_reload(struct configured *c, bool dry_run, char ***errors)
{
	struct reload d = {.to = c};

	d.conf = conf_load(c->file, c->overrides, errors);
	if (d.conf == NULL)
		return NULL;
	if (check_order(&d, errors) != 0 ||
	    privs_check_runners(&c->conf->daemon, d.conf, errors) != 0 ||
	    read_certificate(&d, errors) != 0) {
		conf_free(d.conf);
		return NULL;
	}
	d.added = json_array();
	d.changed = json_object();
	d.removed = json_array();
	d.herod = json_array();
	d.refused = json_array();
	compare(&d);
	d.schedules = schedules_compare(c->schedules, d.conf);
	if (!dry_run)
		apply(&d);
	tls_credentials_drop(d.certificate);
	conf_free(d.conf);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "added", d.added,
	    "changed", d.changed, "removed", d.removed, "herod", d.herod,
	    "refused", d.refused, "schedules", d.schedules);
}

/* ---- one runner added by RPC ---- */

static int
refuse_file(const struct runner *r, struct err *e)
{
	err_set(e, ERR_FORBIDDEN, "runner %s is of the configuration (%s)",
	    r->name, r->origin);
	return err_hint(e, "change it there, then: heroctl reload");
}

int
configured_update(struct runner *r, const json_t *settings, struct err *e)
{
	struct runner_conf conf = {0};
	int bad;

	err_subject(e, r->name);
	if (r->internal)
		return err_set(
		    e, ERR_FORBIDDEN, "runner %s is herod's own", r->name);
	if (runner_is_of_file(r))
		return refuse_file(r, e);
	if (runner_is_external(r))
		return err_set(e, ERR_EXTERNAL,
		    "runner %s is external: it has no settings but its queue",
		    r->name);
	if (r->wanted == WANTED_REMOVED)
		return err_set(
		    e, ERR_NO_RUNNER, "runner %s is being removed", r->name);
	settings_copy(runner_settings, &conf, &r->conf);
	bad = settings_from_json(runner_settings, &conf, settings, e) != 0 ||
	    conf_check_runner(r->name, &conf, e) != 0 ||
	    privs_check_runner(
		runners_context(r->all)->conf, &conf, ERR_PARAMS, e) != 0 ||
	    order_check(r->all, r->name, &conf, e) != 0;
	if (!bad)
		runner_reconfigure(r, &conf, r->origin);
	settings_clear(runner_settings, &conf);
	return bad ? -1 : 0;
}

/* ---- what is in force ---- */

/* Values of variables may be anything: only their names are shown. */
static void
hide_environment(json_t *settings, const char *setting)
{
	json_t *map = json_object_get(settings, setting);
	const char *name;
	json_t *value;

	json_object_foreach (map, name, value)
		json_object_set_new(map, name, json_string("(hidden)"));
}

/* redis://user:password@host, redis://:password@host */
static void
hide_password(json_t *settings)
{
	const char *url =
	    json_string_value(json_object_get(settings, "redis_url"));
	const char *at = url ? strrchr(url, '@') : NULL;
	const char *start = at ? strstr(url, "://") : NULL;
	const char *colon =
	    start ? memchr(start + 3, ':', (size_t)(at - start - 3)) : NULL;

	if (colon)
		json_object_set_new(settings, "redis_url",
		    json_sprintf(
			"%.*s:(hidden)%s", (int)(colon - url), url, at));
}

static json_t *
show_runner(const struct runner *r)
{
	json_t *settings = settings_to_json(runner_settings, &r->conf, true);
	hide_environment(settings, "environment");
	return json_pack(
	    "{s:s, s:o}", "origin", r->origin, "settings", settings);
}

static json_t *
show_schedules(const struct schedules *ss)
{
	json_t *all = schedules_conf_json(ss, true), *one;
	const char *name;

	json_object_foreach (all, name, one)
		hide_environment(json_object_get(one, "settings"), "env_vars");
	return all;
}

json_t *
configured_show(const struct configured *c, const struct runner *only)
{
	json_t *herod =
	    settings_to_json(daemon_settings, &c->conf->daemon, true);
	json_t *runners = json_object(), *overridden = json_array();
	const char *name;
	json_t *value;
	struct runner *r;

	json_object_foreach ((json_t *)(uintptr_t)c->overrides, name, value)
		json_array_append_new(overridden, json_string(name));
	hide_password(herod);
	RUNNERS_FOREACH (r, c->runners)
		if (only == NULL || r == only)
			json_object_set_new(runners, r->name, show_runner(r));
	return json_pack("{s:s?, s:o, s:o, s:o, s:o}", "file", c->file, "herod",
	    herod, "overridden", overridden, "runners", runners, "schedules",
	    only ? json_object() : show_schedules(c->schedules));
}
