/* What survives on disk: runners.json in the state directory. */
#define LOG_MODULE "keep"

#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "order.h"
#include "turns.h"

#define KEPT_VERSION 1

struct kept_wait {
	TAILQ_ENTRY(kept_wait) next;
	kept_fn fn;
	void *arg;
};

struct keep {
	struct ev_loop *loop;
	char *dir, *path;
	json_t *kept; /* as read; dropped once restored */
	struct runners *runners; /* after keep_restore() */
	ev_prepare write; /* before answers leave (they do at EV_MINPRI) */
	ev_timer again; /* next turn, or after trouble */
	bool dirty;
	TAILQ_HEAD(kept_waits, kept_wait) waits;
};

static void
on_write(struct ev_loop *loop, ev_prepare *prepare, int revents)
{
	DOING("writing", "state_dir");
	(void)loop;
	(void)revents;
	keep_flush(prepare->data);
}

static void
on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("writing", "state_dir");
	(void)loop;
	(void)revents;
	keep_flush(timer->data);
}

static int
read_kept(struct keep *k, struct err *e)
{
	json_error_t why;

	k->kept = json_load_file(k->path, JSON_REJECT_DUPLICATES, &why);
	if (k->kept == NULL && access(k->path, F_OK) != 0 && errno == ENOENT)
		k->kept = json_object();
	if (k->kept == NULL)
		return err_set(e, ERR_INTERNAL,
		    "%s: cannot be read: %s (line %d); mend it or move it away",
		    k->path, why.text, why.line);
	if (json_integer_value(json_object_get(k->kept, "version")) >
	    KEPT_VERSION)
		return err_set(e, ERR_INTERNAL,
		    "%s: was written by a newer herod", k->path);
	return 0;
}

struct keep *
keep_open(struct ev_loop *loop, const char *state_dir, struct err *e)
{
	struct keep *k = xcalloc(1, sizeof(*k));

	k->loop = loop;
	TAILQ_INIT(&k->waits);
	k->dir = xstrdup(state_dir);
	k->path = xasprintf("%s/runners.json", state_dir);
	ev_prepare_init(&k->write, on_write);
	ev_set_priority(&k->write, EV_MAXPRI);
	ev_timer_init(&k->again, on_again, 5, 0);
	k->write.data = k->again.data = k;
	if (access(state_dir, R_OK | W_OK | X_OK) != 0)
		err_set(e, ERR_INTERNAL, "state_dir %s: %s", state_dir,
		    strerror(errno));
	else if (read_kept(k, e) == 0)
		return k;
	keep_free(k);
	return NULL;
}

/* Whom we tell may ask anew. */
static void
tell_waits(struct keep *k, const char *why)
{
	struct kept_waits now = TAILQ_HEAD_INITIALIZER(now);
	struct kept_wait *w;

	TAILQ_CONCAT(&now, &k->waits, next);
	while ((w = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, w, next);
		w->fn(w->arg, why);
		free(w);
	}
}

void
keep_free(struct keep *k)
{
	if (k == NULL)
		return;
	tell_waits(k, "herod ends");
	ev_prepare_stop(k->loop, &k->write);
	ev_timer_stop(k->loop, &k->again);
	json_decref(k->kept);
	free(k->path);
	free(k->dir);
	free(k);
}

/* ---- from disk ---- */

/* The configuration may have changed so that runners would wait for each
 * other: this one waits for nobody then.  Who is not there yet may come. */
static void
restore_order(struct runners *rs, const char *name, struct runner_conf *conf)
{
	struct err e = {0};

	if (order_check(rs, name, conf, &e) == 0 || e.code != ERR_CYCLE)
		return;
	log_errorx("runner %s: kept without requires, wants and after: %s",
	    name, e.text);
	strv_free(conf->requires);
	strv_free(conf->wants);
	strv_free(conf->after);
	conf->requires = conf->wants = conf->after = NULL;
}

static void
restore_runner(struct runners *rs, const char *name, const json_t *settings)
{
	struct runner_conf conf = {0};
	struct runner *r;
	struct err e = {0};

	if (runner_find(rs, name))
		return; /* the configuration has it now */
	settings_init(runner_settings, &conf);
	if (settings_from_json(runner_settings, &conf, settings, &e) != 0 ||
	    conf_check_runner(name, &conf, &e) != 0) {
		log_errorx(
		    "runner %s: kept settings are of no use: %s", name, e.text);
	} else {
		restore_order(rs, name, &conf);
		r = runner_add(rs, name, &conf, "rpc", NULL);
		r->persist = true;
	}
	settings_clear(runner_settings, &conf);
}

static void
restore_wanted(struct runners *rs, const char *name, const char *wanted)
{
	struct runner *r = runner_find(rs, name);

	if (r && wanted)
		r->wanted = strcmp(wanted, "up") == 0 ? WANTED_UP
		    : strcmp(wanted, "removed") == 0  ? WANTED_REMOVED
						      : WANTED_DOWN;
}

/* The settings were changed since it was scaled: theirs is the last word. */
static bool
is_outdated(const struct runner *r, const json_t *scaled)
{
	json_int_t from =
	    json_integer_value(json_object_get(scaled, "instead_of"));

	return from != (json_int_t)conf_instances(&r->conf);
}

static void
restore_instances(struct runners *rs, const char *name, const json_t *scaled)
{
	json_int_t n = json_integer_value(json_object_get(scaled, "wanted"));
	struct runner *r = runner_find(rs, name);

	if (r && !is_outdated(r, scaled) && n >= 1 && n <= INSTANCES_MAX)
		runner_set_instances(r, (size_t)n);
}

/* What the configuration has meanwhile goes before. */
static void
restore_external(struct runners *rs, const char *name, const char *queue)
{
	struct err e = {0};

	if (queue && name_is_valid(name) && name_is_valid(queue) &&
	    !runner_add_external(rs, name, queue, &e))
		log_warnx(
		    "registered runner %s: not known here: %s", name, e.text);
}

void
keep_restore(struct keep *k, struct runners *rs)
{
	const char *name;
	json_t *value;

	json_object_foreach (json_object_get(k->kept, "runners"), name, value)
		if (name_is_valid(name))
			restore_runner(rs, name, value);
	json_object_foreach (
	    json_object_get(k->kept, "registered"), name, value)
		restore_external(rs, name, json_string_value(value));
	json_object_foreach (json_object_get(k->kept, "wanted"), name, value)
		restore_wanted(rs, name, json_string_value(value));
	json_object_foreach (json_object_get(k->kept, "instances"), name, value)
		restore_instances(rs, name, value);
	json_decref(k->kept);
	k->kept = NULL;
	k->runners = rs;
}

/* ---- to disk ---- */

/* Only what the settings do not say already. */
static void
add_wanted(json_t *wanted, const struct runner *r)
{
	static const char *const words[] = {"down", "up", "removed"};

	if (r->wanted == WANTED_REMOVED ||
	    (!r->internal && (r->wanted == WANTED_UP) != r->conf.autostart))
		json_object_set_new(
		    wanted, r->name, json_string(words[r->wanted]));
}

static void
add_instances(json_t *instances, const struct runner *r)
{
	size_t settings = conf_instances(&r->conf);

	if (r->nwanted != settings)
		json_object_set_new(instances, r->name,
		    json_pack("{s:I, s:I}", "wanted", (json_int_t)r->nwanted,
			"instead_of", (json_int_t)settings));
}

static void
add_registered(json_t *registered, const struct runner *r)
{
	if (r->wanted != WANTED_REMOVED)
		json_object_set_new(
		    registered, r->name, json_string(runner_queue(r)));
}

static json_t *
everything(const struct keep *k)
{
	json_t *runners = json_object(), *wanted = json_object();
	json_t *instances = json_object(), *registered = json_object();
	struct runner *r;

	RUNNERS_FOREACH (r, k->runners) {
		/* With herod it goes for good. */
		if (r->wanted == WANTED_REMOVED &&
		    runners_are_ending(k->runners))
			continue;
		if (runner_is_external(r)) {
			add_registered(registered, r);
			continue;
		}
		add_wanted(wanted, r);
		add_instances(instances, r);
		/* One that is going is stopped by its own rules to the end. */
		if (r->persist || r->wanted == WANTED_REMOVED)
			json_object_set_new(runners, r->name,
			    settings_to_json(runner_settings, &r->conf, false));
	}
	return json_pack("{s:i, s:o, s:o, s:o, s:o}", "version", KEPT_VERSION,
	    "runners", runners, "wanted", wanted, "instances", instances,
	    "registered", registered);
}

static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), bad;

	if (fd < 0)
		return -1;
	bad = fsync(fd);
	close(fd);
	return bad;
}

/* Write, fsync, rename, fsync of the directory: old or new, never half. */
int
keep_replace(const char *dir, const char *path, const json_t *what)
{
	char *new = xasprintf("%s.new", path);
	int fd, bad = -1;

	fd = open(
	    new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		bad = json_dumpfd(what, fd, JSON_INDENT(2) | JSON_SORT_KEYS) ||
		    write(fd, "\n", 1) != 1 || fsync(fd);
		close(fd);
	}
	if (!bad)
		bad = rename(new, path) || sync_dir(dir);
	free(new);
	return bad ? -1 : 0;
}

static void
write_failed(struct keep *k)
{
	char *why = xasprintf("%s: %s", k->path, strerror(errno));

	log_errorx("%s; trying again", why);
	ev_timer_set(&k->again, 5, 0);
	ev_timer_start(k->loop, &k->again);
	tell_waits(k, why);
	free(why);
}

void
keep_flush(struct keep *k)
{
	json_t *what;

	ev_prepare_stop(k->loop, &k->write);
	ev_timer_stop(k->loop, &k->again);
	if (k->runners == NULL)
		return;
	what = k->dirty ? everything(k) : NULL;
	if (what && keep_replace(k->dir, k->path, what) != 0) {
		write_failed(k);
	} else {
		k->dirty = false;
		tell_waits(k, NULL);
	}
	json_decref(what);
}

static void
flush_soon(struct keep *k)
{
	ev_prepare_start(k->loop, &k->write);
	/* Where a later watcher of the turn's end touches, too. */
	ev_timer_stop(k->loop, &k->again);
	ev_timer_set(&k->again, 0, 0);
	ev_timer_start(k->loop, &k->again);
}

void
keep_touch(struct keep *k)
{
	k->dirty = true;
	if (!ev_is_active(&k->again))
		flush_soon(k);
}

void
keep_when_written(struct keep *k, kept_fn fn, void *arg)
{
	struct kept_wait *w = xcalloc(1, sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&k->waits, w, next);
	flush_soon(k);
}
