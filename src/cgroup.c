/* Control groups (cgroup v2): one for each instance. */
#define LOG_MODULE "cgroup"

#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

#define PREFIX "herod."
#define LEAF "main" /* for ourselves; instances have a dot in their name */
#define PERIOD_US 100000 /* of cpu.max */
#define TEXT_SIZE 4096

struct cgroups {
	int base; /* directory of the cgroup we were started in; -1 */
	int tree; /* of herod.ID, locked; -1: there are no groups */
	char *base_path, *name;
	bool enabled[CGROUP_CONTROLLERS];
	bool said;
	char why_not[256]; /* there are no groups */
	char why[CGROUP_CONTROLLERS][128]; /* a limit is not kept */
};

struct cgroup {
	struct cgroups *all;
	unsigned long oom_kills; /* already seen */
	long long memory; /* its limit */
	bool made;
	char name[];
};

static const char *const controllers[CGROUP_CONTROLLERS] = {
    [CGROUP_MEMORY] = "memory", [CGROUP_CPU] = "cpu", [CGROUP_PIDS] = "pids"};

/* ---- files ---- */

/* Its beginning, "" when there is none. */
static const char *
read_at(int dir, const char *path, char text[TEXT_SIZE])
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, text, TEXT_SIZE - 1);

	if (fd != -1)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int __attribute__((format(printf, 3, 4)))
write_at(int dir, const char *path, const char *fmt, ...)
{
	/* Not to wait until memory.max is met. */
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NONBLOCK), error;
	va_list ap;
	int n;

	if (fd == -1)
		return -1;
	va_start(ap, fmt);
	n = vdprintf(fd, fmt, ap);
	va_end(ap);
	error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : 0;
}

/* "NAME/FILE" of a group. */
static const char *
file_of(const struct cgroup *g, const char *file, char path[TEXT_SIZE])
{
	snprintf(path, TEXT_SIZE, "%s/%s", g->name, file);
	return path;
}

/* Is it one of the words of the text? */
static bool
has_word(const char *text, const char *word)
{
	size_t len = strlen(word);
	const char *at = text;

	while ((at = strstr(at, word)) != NULL) {
		if ((at == text || at[-1] == ' ') && strchr(" \n", at[len]))
			return true;
		at += len;
	}
	return false;
}

/* ---- where we are ---- */

/* Mount point and root of the first cgroup2 of mountinfo, new strings. */
static bool
find_mount(char **root, char **point)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	while (f && !found && getline(&line, &size, f) > 0)
		if (strstr(line, " - cgroup2 "))
			found = sscanf(line, "%*s %*s %*s %ms %ms", root,
				    point) == 2;
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* The path in the text of a /proc/PID/cgroup, as seen from the root of the
 * hierarchy; new, or NULL. */
static char *
own_line(const char *text)
{
	const char *line = strstr(text, "0::");

	while (line && line != text && line[-1] != '\n')
		line = strstr(line + 1, "0::");
	return line ? xstrndup(line + 3, strcspn(line + 3, "\n")) : NULL;
}

/* Without the leaf that a herod before us was moved to. */
static void
leave_leaf(char *path, const char *name)
{
	char *leaf = xasprintf("/%s/" LEAF, name);
	size_t len = strlen(path), n = strlen(leaf);

	if (len >= n && strcmp(path + len - n, leaf) == 0)
		path[len - n] = '\0';
	free(leaf);
}

/* Directory of the cgroup we were started in; new, or NULL. */
static char *
find_base(const char *name)
{
	char text[TEXT_SIZE], *root = NULL, *point = NULL, *base = NULL;
	char *own = own_line(read_at(AT_FDCWD, "/proc/self/cgroup", text));
	size_t len;

	if (own && find_mount(&root, &point)) {
		leave_leaf(own, name);
		len = strcmp(root, "/") == 0 ? 0 : strlen(root);
		if (strncmp(own, root, len) == 0 && strncmp(own, "/..", 3) != 0)
			base = xasprintf("%s%s", point,
			    strcmp(own + len, "/") == 0 ? "" : own + len);
	}
	free(own);
	free(root);
	free(point);
	return base;
}

/* ---- our directory ---- */

static int
open_dir(int at, const char *path)
{
	return openat(
	    at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* Those below that are empty; the others refuse. */
static void
remove_groups(int tree)
{
	DIR *dir = fdopendir(open_dir(tree, "."));
	struct dirent *d;

	while (dir && (d = readdir(dir)) != NULL)
		if (d->d_type == DT_DIR && d->d_name[0] != '.')
			unlinkat(tree, d->d_name, AT_REMOVEDIR);
	if (dir)
		closedir(dir);
}

/* Of a herod that is dead, for one that lives has it locked. */
static void
remove_stale(int base, const char *name)
{
	int tree = open_dir(base, name);

	if (tree == -1)
		return;
	if (flock(tree, LOCK_EX | LOCK_NB) == 0) {
		remove_groups(tree);
		unlinkat(base, name, AT_REMOVEDIR);
	}
	close(tree);
}

static void
clean_up(const struct cgroups *cs)
{
	DIR *dir = fdopendir(open_dir(cs->base, "."));
	struct dirent *d;

	while (dir && (d = readdir(dir)) != NULL)
		if (strncmp(d->d_name, PREFIX, strlen(PREFIX)) == 0 &&
		    strcmp(d->d_name, cs->name) != 0)
			remove_stale(cs->base, d->d_name);
	if (dir)
		closedir(dir);
	remove_groups(cs->tree);
}

static int __attribute__((format(printf, 2, 3)))
no_groups(struct cgroups *cs, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cs->why_not, sizeof(cs->why_not), fmt, ap);
	va_end(ap);
	if (cs->tree != -1)
		close(cs->tree);
	cs->tree = -1;
	return -1;
}

/* Another herod may tidy up in between. */
static int
make_tree(struct cgroups *cs)
{
	int tries;

	for (tries = 0; cs->tree == -1 && tries < 10; tries++) {
		if (mkdirat(cs->base, cs->name, 0755) == -1 && errno != EEXIST)
			return no_groups(cs, "cannot make %s/%s: %s",
			    cs->base_path, cs->name, strerror(errno));
		cs->tree = open_dir(cs->base, cs->name);
	}
	if (cs->tree == -1)
		return no_groups(
		    cs, "%s/%s: %s", cs->base_path, cs->name, strerror(errno));
	if (flock(cs->tree, LOCK_EX | LOCK_NB) == -1)
		return no_groups(
		    cs, "%s/%s is another herod's", cs->base_path, cs->name);
	return 0;
}

/* In base_path. */
static int
find_tree(struct cgroups *cs)
{
	cs->base = open(cs->base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cs->base == -1)
		return no_groups(cs, "%s: %s", cs->base_path, strerror(errno));
	if (make_tree(cs) == -1)
		return -1;
	/* Is it what it seems?  A plain directory would take all we write. */
	if (faccessat(cs->tree, "cgroup.procs", W_OK, 0) == -1)
		return no_groups(cs, "%s/%s/cgroup.procs: %s", cs->base_path,
		    cs->name, strerror(errno));
	return 0;
}

/* ---- controllers ---- */

/* True when it is there for those below. */
static bool
pass_on(int dir, const char *controller)
{
	char text[TEXT_SIZE];

	if (has_word(read_at(dir, "cgroup.subtree_control", text), controller))
		return true;
	return write_at(dir, "cgroup.subtree_control", "+%s", controller) == 0;
}

/* A cgroup that passes controllers on may have no processes. */
static bool
move_to_leaf(struct cgroups *cs)
{
	if (mkdirat(cs->tree, LEAF, 0755) == -1 && errno != EEXIST)
		return false;
	return write_at(cs->tree, LEAF "/cgroup.procs", "%d", (int)getppid()) ==
	    0 &&
	    write_at(cs->tree, LEAF "/cgroup.procs", "%d", (int)getpid()) == 0;
}

static void
enable(struct cgroups *cs, enum cgroup_controller c)
{
	const char *name = controllers[c];
	char text[TEXT_SIZE];
	bool ok;

	if (!has_word(read_at(cs->base, "cgroup.controllers", text), name)) {
		snprintf(cs->why[c], sizeof(cs->why[c]),
		    "no controller '%s' in this cgroup", name);
		return;
	}
	ok = pass_on(cs->base, name);
	if (!ok && errno == EBUSY && move_to_leaf(cs))
		ok = pass_on(cs->base, name);
	cs->enabled[c] = ok && pass_on(cs->tree, name);
	if (!cs->enabled[c])
		snprintf(cs->why[c], sizeof(cs->why[c]),
		    "controller '%s' cannot be enabled: %s", name,
		    errno == EBUSY ? "other processes are in this cgroup"
				   : strerror(errno));
}

static struct cgroups *
cgroups_new(const char *id)
{
	struct cgroups *cs = xcalloc(1, sizeof(*cs));

	cs->base = cs->tree = -1;
	cs->name = xasprintf(PREFIX "%s", id);
	return cs;
}

static struct cgroups *
cgroups_begin(struct cgroups *cs)
{
	int c;

	if (cs->base_path && find_tree(cs) == 0) {
		for (c = 0; c < CGROUP_CONTROLLERS; c++)
			enable(cs, (enum cgroup_controller)c);
		clean_up(cs);
	}
	if (*cs->why_not)
		log_info("no control groups: %s", cs->why_not);
	return cs;
}

struct cgroups *
cgroups_open_at(const char *base, const char *id)
{
	struct cgroups *cs = cgroups_new(id);

	cs->base_path = xstrdup(base);
	return cgroups_begin(cs);
}

struct cgroups *
cgroups_open(const char *id, bool off)
{
	struct cgroups *cs = cgroups_new(id);

	if (off)
		no_groups(cs, "cgroups = off");
	else if ((cs->base_path = find_base(cs->name)) == NULL)
		no_groups(cs, "no cgroup2 is mounted");
	return cgroups_begin(cs);
}

/* What is there stays. */
static void
cgroups_forget(struct cgroups *cs)
{
	if (cs->tree != -1)
		close(cs->tree);
	if (cs->base != -1)
		close(cs->base);
	free(cs->base_path);
	free(cs->name);
	free(cs);
}

void
cgroups_close(struct cgroups *cs)
{
	if (cs->tree != -1) {
		remove_groups(cs->tree);
		unlinkat(cs->base, cs->name, AT_REMOVEDIR);
	}
	cgroups_forget(cs);
}

/* A user who may move processes into a group has to be allowed to do so in the
 * one above both, too: so this process, and with it the keeper, must be in
 * the tree. */
void
cgroups_give(const char *id, uid_t uid, gid_t gid)
{
	static const char *const files[] = {"cgroup.procs", "cgroup.threads",
	    "cgroup.subtree_control", LEAF, LEAF "/cgroup.procs", "."};
	struct cgroups *cs = cgroups_open(id, false);
	size_t i;

	if (cs->tree != -1 && move_to_leaf(cs))
		for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
			if (fchownat(cs->tree, files[i], uid, gid, 0) == -1)
				log_warn("%s/%s/%s", cs->base_path, cs->name,
				    files[i]);
	cgroups_forget(cs);
}

const char *
cgroups_why_not(const struct cgroups *cs)
{
	return cs->why_not;
}

bool
cgroups_enforce(
    const struct cgroups *cs, enum cgroup_controller c, const char **why)
{
	*why = *cs->why_not ? cs->why_not : cs->why[c];
	return cs->tree != -1 && cs->enabled[c];
}

/* ---- one group ---- */

bool
cgroups_say_once(struct cgroups *cs)
{
	bool first = !cs->said;

	cs->said = true;
	return first;
}

struct cgroup *
cgroup_new(struct cgroups *cs, const char *name)
{
	struct cgroup *g;

	if (cs == NULL || cs->tree == -1)
		return NULL;
	g = xcalloc(1, sizeof(*g) + strlen(name) + 1);
	g->all = cs;
	strcpy(g->name, name);
	return g;
}

static bool
group_remove(struct cgroup *g)
{
	if (unlinkat(g->all->tree, g->name, AT_REMOVEDIR) == -1 &&
	    errno != ENOENT)
		return false;
	g->made = false;
	return true;
}

bool
cgroup_end(struct cgroup *g)
{
	return g == NULL || !g->made || group_remove(g);
}

void
cgroup_free(struct cgroup *g)
{
	cgroup_end(g);
	free(g);
}

static unsigned long
oom_kills(const struct cgroup *g)
{
	char path[TEXT_SIZE], text[TEXT_SIZE];
	const char *at;

	if (!g->all->enabled[CGROUP_MEMORY])
		return 0;
	read_at(g->all->tree, file_of(g, "memory.events", path), text);
	at = strstr(text, "oom_kill ");
	return at ? strtoul(at + strlen("oom_kill "), NULL, 10) : 0;
}

bool
cgroup_ran_out(struct cgroup *g)
{
	unsigned long before = g ? g->oom_kills : 0;

	if (g)
		g->oom_kills = oom_kills(g);
	return g && g->oom_kills > before;
}

/* "max" for 0. */
static int
write_limit(const struct cgroup *g, const char *file, long long limit)
{
	char path[TEXT_SIZE];

	file_of(g, file, path);
	return limit > 0 ? write_at(g->all->tree, path, "%lld", limit)
			 : write_at(g->all->tree, path, "max");
}

static int
limit_cpus(const struct cgroup *g, double cpus)
{
	char path[TEXT_SIZE];

	file_of(g, "cpu.max", path);
	if (cpus <= 0)
		return write_at(g->all->tree, path, "max %d", PERIOD_US);
	return write_at(
	    g->all->tree, path, "%.0f %d", cpus * PERIOD_US, PERIOD_US);
}

int
cgroup_limit(struct cgroup *g, const struct cgroup_limits *l)
{
	const bool *enabled = g ? g->all->enabled : NULL;
	int bad = 0;

	if (g == NULL || !g->made)
		return 0;
	g->memory = enabled[CGROUP_MEMORY] ? l->memory : 0;
	if (enabled[CGROUP_MEMORY])
		bad |= write_limit(g, "memory.max", l->memory);
	if (enabled[CGROUP_CPU])
		bad |= limit_cpus(g, l->cpus);
	if (enabled[CGROUP_PIDS])
		bad |= write_limit(g, "pids.max", l->pids);
	return bad;
}

void
cgroup_resume(struct cgroup *g, bool lives)
{
	if (g == NULL)
		return;
	g->made = true;
	/* If it has ended, one that was killed before it may be blamed. */
	g->oom_kills = lives ? oom_kills(g) : 0;
}

long long
cgroup_memory(const struct cgroup *g)
{
	return g ? g->memory : 0;
}

int
cgroup_begin(struct cgroup *g, const struct cgroup_limits *l)
{
	int fd;

	if (g == NULL)
		return -1;
	/* A new one: into a group that was once killed Linux 6.14 and later
	 * let nobody be born alive (clone3(2) takes kill_seq of another). */
	group_remove(g);
	if (mkdirat(g->all->tree, g->name, 0755) == -1 && errno != EEXIST) {
		log_warn("%s", g->name);
		return -1;
	}
	g->made = true;
	if (cgroup_limit(g, l) != 0)
		log_warn("%s: a limit is refused", g->name);
	g->oom_kills = oom_kills(g);
	fd = open_dir(g->all->tree, g->name);
	if (fd == -1)
		log_warn("%s", g->name);
	return fd;
}

size_t
cgroup_pids(const struct cgroup *g, pid_t *pids, size_t max)
{
	char path[TEXT_SIZE];
	size_t n = 0;
	FILE *f;
	int fd, pid;

	if (g == NULL)
		return 0;
	fd = openat(g->all->tree, file_of(g, "cgroup.procs", path),
	    O_RDONLY | O_CLOEXEC);
	f = fd == -1 ? NULL : fdopen(fd, "r");
	for (; f && fscanf(f, "%d", &pid) == 1; n++)
		if (n < max)
			pids[n] = pid;
	if (f)
		fclose(f);
	return n;
}

bool
cgroup_has(const struct cgroup *g, pid_t pid)
{
	char path[64], text[TEXT_SIZE], *want, *line;
	bool found;

	if (g == NULL)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	line = own_line(read_at(AT_FDCWD, path, text));
	want = xasprintf("/%s/%s", g->all->name, g->name);
	found = line && strlen(line) >= strlen(want) &&
	    strcmp(line + strlen(line) - strlen(want), want) == 0;
	free(want);
	free(line);
	return found;
}

bool
cgroup_kill(const struct cgroup *g)
{
	char path[TEXT_SIZE];

	return g &&
	    write_at(g->all->tree, file_of(g, "cgroup.kill", path), "1") == 0;
}
