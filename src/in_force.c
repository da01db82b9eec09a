/* The configuration in force, from and to conf.json. */
#define LOG_MODULE "herod"

#include "in_force.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keep.h"
#include "log.h"
#include "mem.h"

/* "MARK:PATH".  limits.c keeps HEROD_ variables from runners. */
#define VARIABLE "HEROD_IN_FORCE"
/* "MARK" of the herod whose processes go on. */
#define VARIABLE_BEFORE "HEROD_BEFORE"
#define IN_FORCE_VERSION 1

/* So that conf.json counts once more. */
static void
mark_before(const struct conf *c)
{
	char *path = xasprintf("%s/conf.json", c->daemon.state_dir);
	json_t *kept = json_load_file(path, 0, NULL);
	const char *mark = json_string_value(json_object_get(kept, "mark"));

	if (mark)
		setenv(VARIABLE_BEFORE, mark, 1);
	json_decref(kept);
	free(path);
}

void
in_force_mark(const struct conf *c, bool goes_on)
{
	struct timespec now;
	char *value;

	unsetenv(VARIABLE_BEFORE);
	if (goes_on)
		mark_before(c);

	clock_gettime(CLOCK_REALTIME, &now);
	value = xasprintf("%d-%lld.%09ld:%s/conf.json", (int)getpid(),
	    (long long)now.tv_sec, now.tv_nsec, c->daemon.state_dir);
	setenv(VARIABLE, value, 1);
	free(value);
}

/* The file, and in *mark whose it must be (free(3) it); NULL: none. */
static const char *
marked_path(char **mark)
{
	const char *value = getenv(VARIABLE);
	const char *colon = value ? strchr(value, ':') : NULL;

	*mark = colon ? xstrndup(value, (size_t)(colon - value)) : NULL;
	return colon ? colon + 1 : NULL;
}

/* ---- from disk ---- */

static int
add_runner(struct conf *c, const char *name, json_t *kept)
{
	const char *origin = json_string_value(json_object_get(kept, "origin"));
	struct conf_runner *r;

	if (!name_is_valid(name) || origin == NULL)
		return -1;
	c->runners =
	    xreallocarray(c->runners, c->nrunners + 1, sizeof(*c->runners));
	r = &c->runners[c->nrunners++];
	memset(r, 0, sizeof(*r));
	r->name = xstrdup(name);
	r->origin = xstrdup(origin);
	settings_init(runner_settings, &r->settings);
	return settings_from_json(runner_settings, &r->settings,
	    json_object_get(kept, "settings"), NULL);
}

static int
add_schedule(struct conf *c, const char *name, json_t *kept)
{
	const char *origin = json_string_value(json_object_get(kept, "origin"));
	struct conf_schedule *s;

	if (!name_is_valid(name) || origin == NULL)
		return -1;
	s = conf_add_schedule(c, name, origin);
	return settings_from_json(schedule_settings, &s->settings,
	    json_object_get(kept, "settings"), NULL);
}

static struct conf *
read_conf(json_t *kept)
{
	struct conf *c = xcalloc(1, sizeof(*c));
	const char *name;
	json_t *runner, *schedule;
	int bad;

	settings_init(daemon_settings, &c->daemon);
	c->default_listen =
	    json_is_true(json_object_get(kept, "default_listen"));
	bad = settings_from_json(
	    daemon_settings, &c->daemon, json_object_get(kept, "herod"), NULL);
	json_object_foreach (json_object_get(kept, "runners"), name, runner)
		bad = bad || add_runner(c, name, runner) != 0;
	json_object_foreach (json_object_get(kept, "schedules"), name, schedule)
		bad = bad || add_schedule(c, name, schedule) != 0;
	if (!bad && c->daemon.state_dir && c->daemon.runtime_dir)
		return c;
	conf_free(c);
	return NULL;
}

/* What is in the file, if it is of that mark. */
static struct conf *
load_of(const char *path, const char *mark)
{
	json_t *kept = path ? json_load_file(path, 0, NULL) : NULL;
	const char *found = json_string_value(json_object_get(kept, "mark"));
	struct conf *c = NULL;

	if (found && mark && strcmp(found, mark) == 0 &&
	    json_integer_value(json_object_get(kept, "version")) ==
		IN_FORCE_VERSION)
		c = read_conf(kept);
	json_decref(kept);
	return c;
}

struct conf *
in_force_load(void)
{
	char *mark;
	const char *path = marked_path(&mark);
	struct conf *c = load_of(path, mark);

	free(mark);
	return c;
}

bool
in_force_before(struct conf *c)
{
	char *mark;
	struct conf *before =
	    load_of(marked_path(&mark), getenv(VARIABLE_BEFORE));
	struct conf_runner *runners = c->runners;
	size_t n = c->nrunners;

	free(mark);
	if (before == NULL)
		return false;
	c->runners = before->runners;
	c->nrunners = before->nrunners;
	before->runners = runners;
	before->nrunners = n;
	conf_free(before);
	return true;
}

/* ---- to disk ---- */

static json_t *
runners_json(struct runners *rs)
{
	json_t *runners = json_object();
	struct runner *r;

	RUNNERS_FOREACH (r, rs)
		if (runner_is_of_file(r) && r->wanted != WANTED_REMOVED)
			json_object_set_new(runners, r->name,
			    json_pack("{s:s, s:o}", "origin", r->origin,
				"settings",
				settings_to_json(
				    runner_settings, &r->conf, false)));
	return runners;
}

static json_t *
everything(const char *mark, const struct conf *c, bool own_redis,
    struct runners *rs, const struct schedules *ss)
{
	json_t *herod = settings_to_json(daemon_settings, &c->daemon, false);

	if (own_redis)
		json_object_del(herod, "redis_url");
	return json_pack("{s:i, s:s, s:b, s:o, s:o, s:o}", "version",
	    IN_FORCE_VERSION, "mark", mark, "default_listen", c->default_listen,
	    "herod", herod, "runners", runners_json(rs), "schedules",
	    schedules_conf_json(ss, false));
}

void
in_force_save(const struct conf *c, bool own_redis, struct runners *rs,
    const struct schedules *ss)
{
	char *mark;
	const char *path = marked_path(&mark);
	json_t *what;

	if (path) {
		what = everything(mark, c, own_redis, rs, ss);
		if (keep_replace(c->daemon.state_dir, path, what) != 0) {
			log_warn("%s: cannot be written", path);
			unlink(path); /* an old one would be wrong */
		}
		json_decref(what);
	}
	free(mark);
}
