/*
 * What a process of a runner is started with: program, environment, user
 * and limits, out of the runner's settings.
 */
#define LOG_MODULE "runner"

#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "env_file.h"
#include "log.h"
#include "mem.h"
#include "privs.h"
#include "runners.h"

extern char **environ;

#define DEFAULT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- environment ---- */

/* What concerns herod and its own service manager only. */
static bool
is_private(const char *variable)
{
	static const char *const prefixes[] = {"NOTIFY_SOCKET=", "LISTEN_",
	    "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM=", "HEROD_",
	    "HERO_LOG="};
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* Sets "K=V", which is taken over, replacing an earlier K. */
static void
put(char ***env, char *stolen)
{
	size_t i, len = strcspn(stolen, "=") + 1;

	for (i = 0; *env && (*env)[i]; i++) {
		if (strncmp((*env)[i], stolen, len) == 0) {
			free((*env)[i]);
			(*env)[i] = stolen;
			return;
		}
	}
	strv_add(env, stolen);
}

static void
put_all(char ***env, char *const *more)
{
	for (; more && *more; more++)
		put(env, xstrdup(*more));
}

static const char *
unix_socket(const struct daemon_conf *d)
{
	char *const *a;

	for (a = d->listen; a && *a; a++)
		if (strncmp(*a, "unix:", 5) == 0)
			return *a + 5;
	return NULL;
}

static void
put_hero(char ***env, const struct instance *i)
{
	const struct runner *r = i->runner;
	const struct daemon_conf *d = runners_context(r->all)->conf;
	const char *socket = unix_socket(d);

	put(env, xasprintf("HERO_RUNNER=%s", r->name));
	put(env, xasprintf("HERO_INSTANCE=%d", i->n));
	put(env, xasprintf("HERO_NODE=%s", d->node));
	put(env, xasprintf("HERO_NAMESPACE=%s", d->namespace));
	if (socket)
		put(env, xasprintf("HERO_SOCKET=%s", socket));
	if (d->redis_url)
		put(env, xasprintf("HERO_REDIS_URL=%s", d->redis_url));
	if (r->conf.kind != KIND_SERVICE)
		put(env, xasprintf("HERO_QUEUE=%s", runner_queue(r)));
}

static void
put_user(char ***env, const struct passwd *pw)
{
	put(env, xasprintf("HOME=%s", pw->pw_dir));
	put(env, xasprintf("USER=%s", pw->pw_name));
	put(env, xasprintf("LOGNAME=%s", pw->pw_name));
	put(env, xasprintf("SHELL=%s", pw->pw_shell));
}

static char **
environment(const struct instance *i, const struct passwd *pw,
    char *const *from_file, char *const *extra)
{
	char **env = NULL;
	char *const *e;

	put(&env, xstrdup("PATH=" DEFAULT_PATH));
	for (e = environ; e && *e; e++)
		if (!is_private(*e))
			put(&env, xstrdup(*e));
	if (pw)
		put_user(&env, pw);
	put_all(&env, from_file);
	put_all(&env, i->runner->conf.environment);
	put_hero(&env, i);
	put_all(&env, extra);
	return env;
}

/* ---- user and groups ---- */

static void
find_groups(struct child_spec *spec, const struct passwd *pw)
{
	int n = 64;
	gid_t *groups = xcalloc((size_t)n, sizeof(*groups));

	if (getgrouplist(pw->pw_name, spec->gid, groups, &n) < 0)
		n = 64; /* more than fit: the first ones */
	spec->groups = groups;
	spec->ngroups = (size_t)n;
}

static bool
is_roots_too(const struct child_spec *spec)
{
	size_t i;

	for (i = 0; i < spec->ngroups; i++)
		if (spec->groups[i] == 0)
			return true;
	return spec->uid == 0 || spec->gid == 0;
}

/* herod-keeper would refuse it, too, with fewer words. */
static int
check_root(
    const struct instance *i, const struct child_spec *spec, struct err *e)
{
	if (!privs_keeper_is_root() || !is_roots_too(spec) ||
	    runners_context(i->runner->all)->conf->root_runners)
		return 0;
	err_set(e, ERR_CANNOT_START,
	    "user: no runner may be root or in root's group");
	return err_hint(e, "root_runners = true of [herod] allows it");
}

static bool
is_anybody(void)
{
	return geteuid() == 0 || privs_keeper_is_root();
}

/* Fills uid, gid and groups; *pw is NULL when none is set. */
static int
set_user(const struct instance *i, struct child_spec *spec,
    const struct passwd **pw, struct err *e)
{
	const struct runner_conf *c = &i->runner->conf;

	*pw = NULL;
	if (c->user == NULL && c->group == NULL)
		return 0;
	if (privs_keeper_is_root() &&
	    privs_check_runner(runners_context(i->runner->all)->conf, c,
		ERR_CANNOT_START, e) != 0)
		return -1;
	*pw = c->user ? user_find(c->user, ERR_CANNOT_START, e)
		      : getpwuid(geteuid());
	if (c->user && *pw == NULL)
		return -1;
	spec->set_user = true;
	spec->uid = *pw ? (*pw)->pw_uid : geteuid();
	spec->gid = *pw ? (*pw)->pw_gid : getegid();
	if (c->group &&
	    group_find(c->group, &spec->gid, ERR_CANNOT_START, e) != 0)
		return -1;
	if (!is_anybody() && (spec->uid != geteuid() || spec->gid != getegid()))
		return err_set(e, ERR_CANNOT_START,
		    "user: herod runs as uid %u and cannot become %s%s%s "
		    "(wanted: herod as root)",
		    (unsigned)geteuid(), c->user ? c->user : "",
		    c->group ? " group " : "", c->group ? c->group : "");
	if (!is_anybody())
		spec->set_user = false; /* it is us already */
	else if (*pw)
		find_groups(spec, *pw);
	if (spec->set_user && check_root(i, spec, e) != 0)
		return -1;
	if (c->user == NULL)
		*pw = NULL; /* the environment stays */
	return 0;
}

/* ---- limits ---- */

/* The bit of a limit of the group in old_limits. */
#define GROUP_LIMIT(controller) (1U << (18 + (controller)))

/* -1 is nobody's limit.  Of one that lives, only what has changed. */
static void
limit(struct child_limits *l, int resource, long long value, long long old)
{
	if (value < 0 || value == old)
		return;
	l->rlimits[l->nrlimits].resource = resource;
	l->rlimits[l->nrlimits++].value =
	    value == LIMIT_NONE ? RLIM_INFINITY : (rlim_t)value;
}

/* All of them for a new process (old NULL), else what differs. */
static void
set_limits(struct child_limits *l, const struct runner_conf *c,
    const struct runner_conf *old)
{
	memset(l, 0, sizeof(*l));
	l->nice = (int)c->nice;
	l->set_nice = c->nice != (old ? old->nice : 0);
	l->oom_score_adj = (int)c->oom_score_adj;
	l->set_oom = c->oom_score_adj != (old ? old->oom_score_adj : 0);
#define RLIMIT(field, name) \
	limit(l, RLIMIT_##name, c->rlimit_##field, \
	    old ? old->rlimit_##field : -1);
#include "rlimits.def"
#undef RLIMIT
}

static void
set_group_limits(struct cgroup_limits *l, const struct runner_conf *c)
{
	l->memory = c->memory_max;
	l->cpus = c->cpu_max;
	l->pids = c->pids_max;
}

static unsigned
group_changes(const struct runner_conf *a, const struct runner_conf *b)
{
	unsigned changed = 0;

	if (a->memory_max != b->memory_max)
		changed |= GROUP_LIMIT(CGROUP_MEMORY);
	if (a->cpu_max < b->cpu_max || a->cpu_max > b->cpu_max)
		changed |= GROUP_LIMIT(CGROUP_CPU);
	if (a->pids_max != b->pids_max)
		changed |= GROUP_LIMIT(CGROUP_PIDS);
	return changed;
}

/* Settings that need a group, by its controller. */
static const char *const group_settings[CGROUP_CONTROLLERS] = {
    [CGROUP_MEMORY] = "memory_max",
    [CGROUP_CPU] = "cpu_max",
    [CGROUP_PIDS] = "pids_max"};

static bool
is_limited(const struct runner_conf *c, enum cgroup_controller which)
{
	struct cgroup_limits l;

	set_group_limits(&l, c);
	switch (which) {
	case CGROUP_MEMORY:
		return l.memory > 0;
	case CGROUP_CPU:
		return l.cpus > 0;
	default:
		return l.pids > 0;
	}
}

/* Set but not kept; *why says for want of what. */
static bool
is_unenforced(
    const struct runner *r, enum cgroup_controller which, const char **why)
{
	const struct cgroups *cs = runners_context(r->all)->cgroups;

	*why = "no control groups";
	return is_limited(&r->conf, which) &&
	    (cs == NULL || !cgroups_enforce(cs, which, why));
}

static bool
has_name(const json_t *names, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach (names, i, one)
		if (strcmp(json_string_value(one), name) == 0)
			return true;
	return false;
}

static void
add_name(json_t **names, const char *name)
{
	if (*names == NULL)
		*names = json_array();
	if (!has_name(*names, name))
		json_array_append_new(*names, json_string(name));
}

static void
add_old_limits(json_t **names, unsigned which)
{
	int c;

	if (which & CHILD_NICE)
		add_name(names, "nice");
	if (which & CHILD_OOM)
		add_name(names, "oom_score_adj");
	for (c = 0; c < CGROUP_CONTROLLERS; c++)
		if (which & GROUP_LIMIT(c))
			add_name(names, group_settings[c]);
#define RLIMIT(field, name) \
	if (which & 1U << RLIMIT_##name) \
		add_name(names, "rlimit_" #field);
#include "rlimits.def"
#undef RLIMIT
}

json_t *
instance_old_limits(const struct instance *i)
{
	json_t *names = NULL;

	if (i->child)
		add_old_limits(&names, i->old_limits);
	return names;
}

static bool
is_roots(const struct runner_conf *c)
{
	const struct passwd *pw =
	    c->user ? user_find(c->user, ERR_NONE, NULL) : NULL;

	return c->user ? pw && pw->pw_uid == 0 : geteuid() == 0;
}

/* Uid 0 without CAP_KILL is no more to others than others are. */
static bool
cannot_be_signalled(const struct runner *r)
{
	return privs_keeper_lacks("CAP_KILL") && !runner_is_external(r) &&
	    !is_roots(&r->conf);
}

static bool
cannot_become(const struct runner *r)
{
	return (privs_keeper_lacks("CAP_SETUID") ||
		   privs_keeper_lacks("CAP_SETGID")) &&
	    ((r->conf.user && !is_roots(&r->conf)) || r->conf.group);
}

/* Names of those of which it is so, a new string; NULL: there are none. */
static char *
names_of(struct runners *rs, bool (*is_so)(const struct runner *r))
{
	char *names = NULL, *longer;
	struct runner *r;

	RUNNERS_FOREACH (r, rs) {
		if (!is_so(r))
			continue;
		longer = xasprintf(
		    "%s%s%s", names ? names : "", names ? ", " : "", r->name);
		free(names);
		names = longer;
	}
	return names;
}

void
runners_look_at_keeper(struct runners *rs)
{
	char *deaf = names_of(rs, cannot_be_signalled);
	char *stuck = names_of(rs, cannot_become);

	if (deaf)
		log_errorx("herod-keeper has no CAP_KILL: runners that are not "
			   "root's (%s) get no signal, and end with their "
			   "control group only%s; start herod with it",
		    deaf, geteuid() ? "; nor does herod itself" : "");
	if (stuck)
		log_errorx("herod-keeper has no CAP_SETUID or CAP_SETGID: "
			   "runners of other users (%s) cannot be started; "
			   "start herod with both",
		    stuck);
	free(deaf);
	free(stuck);
}

json_t *
runner_not_enforced(const struct runner *r)
{
	const struct instance *i;
	json_t *names = NULL;
	const char *why;
	size_t k;
	int c;

	for (c = 0; c < CGROUP_CONTROLLERS; c++)
		if (is_unenforced(r, (enum cgroup_controller)c, &why))
			add_name(&names, group_settings[c]);
	if (cannot_be_signalled(r))
		add_name(&names, "stopsignal");
	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (i->child)
			add_old_limits(&names, i->old_limits);
	return names;
}

/* The first time that it matters; get_runner_status tells it of each. */
static void
warn_of(const struct instance *i)
{
	struct cgroups *cs = runners_context(i->runner->all)->cgroups;
	const char *why;
	int c;

	for (c = 0; cs && c < CGROUP_CONTROLLERS; c++)
		if (is_unenforced(i->runner, (enum cgroup_controller)c, &why) &&
		    cgroups_say_once(cs))
			log_warnx("runner %s: %s is not enforced: %s (other "
				  "such limits are shown by status only)",
			    i->runner->name, group_settings[c], why);
}

static void
begin_group(struct child_spec *spec, const struct instance *i)
{
	struct cgroup_limits limits;

	warn_of(i);
	set_group_limits(&limits, &i->runner->conf);
	spec->cgroup = i->cgroup;
	spec->cgroup_fd = cgroup_begin(i->cgroup, &limits);
}

/* Which differ, as bits of old_limits; all that were taken away in *gone. */
static unsigned
changed_limits(const struct runner_conf *now, const struct runner_conf *old,
    unsigned *gone)
{
	unsigned changed = (now->nice != old->nice ? CHILD_NICE : 0) |
	    (now->oom_score_adj != old->oom_score_adj ? CHILD_OOM : 0) |
	    group_changes(now, old);

	*gone = 0;
#define RLIMIT(field, name) \
	if (now->rlimit_##field != old->rlimit_##field) { \
		changed |= 1U << RLIMIT_##name; \
		if (now->rlimit_##field < 0) \
			*gone |= 1U << RLIMIT_##name; \
	}
#include "rlimits.def"
#undef RLIMIT
	return changed;
}

static unsigned
apply_group_limits(struct instance *i, unsigned changed)
{
	struct cgroup_limits group;

	set_group_limits(&group, &i->runner->conf);
	if (changed == 0 || cgroup_limit(i->cgroup, &group) == 0)
		return 0;
	log_warn("runner %s.%d: limits of its group", i->runner->name, i->n);
	return changed;
}

void
instance_apply_limits(struct instance *i, const struct runner_conf *old)
{
	const struct runner_conf *now = &i->runner->conf;
	unsigned gone, refused, changed = changed_limits(now, old, &gone);
	struct child_limits limits;
	struct err e = {0};

	set_limits(&limits, now, old);
	refused = apply_group_limits(i, group_changes(now, old));
	if (i->child)
		refused |= child_adjust(i->child, &limits, &e);
	if (err_is_set(&e))
		log_warnx("runner %s.%d: %s; it takes effect with the next "
			  "start",
		    i->runner->name, i->n, e.text);
	i->old_limits = (i->old_limits & ~changed) | refused | gone;
}

/* ---- all of it ---- */

int
runner_stdin(const struct runner_conf *c, struct err *e)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK, fd;
	struct stat st;

	if (c->kind != KIND_SERVICE || strcmp(c->stdin, "null") == 0)
		return -1;
	/* A FIFO is at its end only when nobody could write to it. */
	if (stat(c->stdin, &st) == 0 && S_ISFIFO(st.st_mode))
		flags |= O_RDWR;
	fd = open(c->stdin, flags);
	if (fd < 0) {
		err_set(e, ERR_CANNOT_START, "stdin: %s: %s", c->stdin,
		    strerror(errno));
		return -1;
	}
	fcntl(fd, F_SETFL, 0);
	return fd;
}

static void
set_plain(struct child_spec *spec, const struct runner_conf *c)
{
	spec->argv = c->command;
	spec->directory = c->directory;
	spec->umask = (mode_t)c->umask;
	spec->no_new_privs = c->no_new_privs;
	spec->stderr_to_stdout = c->redirect_stderr;
	set_limits(&spec->limits, c, NULL);
}

int
runner_spec_outside(const struct instance *i, char *const *extra,
    struct child_spec *spec, struct err *e)
{
	const struct runner_conf *c = &i->runner->conf;
	const struct passwd *pw;
	char **from_file = NULL;

	memset(spec, 0, sizeof(*spec));
	spec->stdin_fd = spec->keep_fd = spec->cgroup_fd = -1;
	if (set_user(i, spec, &pw, e) != 0 ||
	    (c->env_file && env_file_read(c->env_file, &from_file, e) != 0)) {
		spec_clear(spec);
		return -1;
	}
	set_plain(spec, c);
	spec->envp = environment(i, pw, from_file, extra);
	strv_free(from_file);
	return 0;
}

int
runner_spec(const struct instance *i, char *const *extra,
    struct child_spec *spec, struct err *e)
{
	if (runner_spec_outside(i, extra, spec, e) != 0)
		return -1;
	begin_group(spec, i);
	return 0;
}

void
spec_clear(struct child_spec *spec)
{
	strv_free((char **)(uintptr_t)spec->envp);
	free((gid_t *)(uintptr_t)spec->groups);
	if (spec->cgroup_fd != -1)
		close(spec->cgroup_fd);
	memset(spec, 0, sizeof(*spec));
}
