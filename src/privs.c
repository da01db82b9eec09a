/* Whom herod becomes. */
#define LOG_MODULE "herod"

#include "privs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "sock.h"

#define LACKS_VARIABLE "HEROD_KEEPER_LACKS" /* of herod-keeper */

/* ---- who ---- */

static bool
as_number(const char *text, unsigned long *number)
{
	char *end;

	*number = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0';
}

const struct passwd *
user_find(const char *name, enum err_code code, struct err *e)
{
	unsigned long uid;
	const struct passwd *pw =
	    as_number(name, &uid) ? getpwuid((uid_t)uid) : getpwnam(name);

	if (pw == NULL)
		err_set(e, code, "user: there is no user '%s'", name);
	return pw;
}

int
group_find(const char *name, gid_t *gid, enum err_code code, struct err *e)
{
	unsigned long number;
	const struct group *gr;

	if (as_number(name, &number)) {
		*gid = (gid_t)number;
		return 0;
	}
	gr = getgrnam(name);
	if (gr == NULL)
		return err_set(e, code, "group: there is no group '%s'", name);
	*gid = gr->gr_gid;
	return 0;
}

/* Without root's, should he be in it. */
static void
find_groups(struct privs *p, const char *name)
{
	int i, n = PRIVS_GROUPS_MAX;

	if (getgrouplist(name, p->gid, p->groups, &n) < 0)
		n = PRIVS_GROUPS_MAX; /* more than fit: the first ones */
	for (i = 0; i < n; i++)
		if (p->groups[i] != 0)
			p->groups[p->ngroups++] = p->groups[i];
}

static bool
is_in_group(const struct privs *p, gid_t gid)
{
	int i;

	for (i = 0; i < p->ngroups; i++)
		if (p->groups[i] == gid)
			return true;
	return gid == p->gid;
}

/* In that group, or, NULL, in their own. */
static int
find_user(struct privs *p, const char *name, const char *group, struct err *e)
{
	const struct passwd *pw = user_find(name, ERR_PARAMS, e);

	if (pw == NULL)
		return -1;
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	if (group && group_find(group, &p->gid, ERR_PARAMS, e) != 0)
		return -1;
	find_groups(p, pw->pw_name);
	return 0;
}

static int
refuse_other(const struct daemon_conf *d, struct err *e)
{
	err_set(e, ERR_PARAMS,
	    "user: herod was not started as root and cannot become %s",
	    d->user);
	return err_hint(e, "start it as root or as %s", d->user);
}

/* ---- whom runners may be ---- */

char *
privs_option(const struct privs *p)
{
	char *text = xasprintf("%u:%u:", (unsigned)p->uid, (unsigned)p->gid);
	char *longer;
	int i;

	for (i = 0; i < p->ngroups; i++) {
		longer = xasprintf(
		    "%s%s%u", text, i ? "," : "", (unsigned)p->groups[i]);
		free(text);
		text = longer;
	}
	return text;
}

static int
add_runner_user(struct privs *p, const char *name, struct err *e)
{
	struct privs one = {0};

	if (find_user(&one, name, NULL, NULL) != 0)
		return err_set(
		    e, ERR_PARAMS, "runner_users: there is no user '%s'", name);
	if (!p->root_runners && (one.uid == 0 || one.gid == 0)) {
		err_set(e, ERR_PARAMS,
		    "runner_users: %s is root or in root's group 0", name);
		return err_hint(e, "take it out, or set root_runners = true");
	}
	strv_add(&p->runners, privs_option(&one));
	return 0;
}

/* herod's own user is one of them in any case. */
static int
find_runners(struct privs *p, const struct daemon_conf *d, struct err *e)
{
	size_t n = strv_count(d->runner_users), i;

	if (d->runner_users == NULL)
		return 0;
	if (n > PRIVS_RUNNERS_MAX)
		return err_set(e, ERR_PARAMS,
		    "runner_users: has %zu users; wanted at most %d", n,
		    PRIVS_RUNNERS_MAX);
	strv_add(&p->runners, privs_option(p));
	for (i = 0; i < n; i++)
		if (add_runner_user(p, d->runner_users[i], e) != 0)
			return -1;
	return 0;
}

/* Without looking for anybody else: the entry is the C library's. */
static bool
is_named(const struct passwd *pw, const char *word)
{
	unsigned long uid;

	return as_number(word, &uid) ? uid == pw->pw_uid
				     : strcmp(word, pw->pw_name) == 0;
}

static bool
is_listed(const struct daemon_conf *d, const struct passwd *pw)
{
	char *const *word = d->runner_users;

	while (*word && !is_named(pw, *word))
		word++;
	return *word != NULL;
}

static int
refuse_runner_user(const struct daemon_conf *d, const struct passwd *pw,
    enum err_code code, struct err *e)
{
	char *names = xstrdup(d->user), *longer;
	char *const *word;

	for (word = d->runner_users; *word; word++) {
		longer = xasprintf("%s, %s", names, *word);
		free(names);
		names = longer;
	}
	err_set(e, code,
	    "user: %s (uid %u) is none of those that runners may be: %.400s",
	    pw->pw_name, (unsigned)pw->pw_uid, names);
	free(names);
	return err_hint(
	    e, "add it to runner_users of [herod], then start herod again");
}

static int
check_runner_group(const char *name, const char *own_group, gid_t gid,
    enum err_code code, struct err *e)
{
	struct privs one = {0};

	if (find_user(&one, name, own_group, NULL) == 0 &&
	    is_in_group(&one, gid))
		return 0;
	err_set(e, code,
	    "group: user %s is not in the group %u, and with runner_users "
	    "runners have groups of their user only",
	    name, (unsigned)gid);
	return err_hint(e, "usermod -aG %u %s, then start herod again",
	    (unsigned)gid, name);
}

/* Who is not there is told of when the runner is to start. */
int
privs_check_runner(const struct daemon_conf *d, const struct runner_conf *c,
    enum err_code code, struct err *e)
{
	const struct passwd *pw;
	char *name;
	gid_t gid;
	int bad;

	if (d->user == NULL || d->runner_users == NULL ||
	    (c->user == NULL && c->group == NULL))
		return 0;
	pw = user_find(c->user ? c->user : d->user, code, NULL);
	if (pw == NULL)
		return 0;
	if (!is_named(pw, d->user) && !is_listed(d, pw))
		return refuse_runner_user(d, pw, code, e);
	gid = pw->pw_gid;
	if (c->group && group_find(c->group, &gid, code, NULL) != 0)
		return 0;
	name = xstrdup(pw->pw_name);
	bad = check_runner_group(
	    name, is_named(pw, d->user) ? d->group : NULL, gid, code, e);
	free(name);
	return bad;
}

int
privs_check_runners(
    const struct daemon_conf *d, const struct conf *c, char ***errors)
{
	const struct conf_runner *r;
	struct err e = {0};
	size_t i;
	int bad = 0;

	for (i = 0; i < c->nrunners; i++, err_clear(&e)) {
		r = &c->runners[i];
		if (privs_check_runner(d, &r->settings, ERR_PARAMS, &e) == 0)
			continue;
		strv_add(errors,
		    xasprintf("%s: runner %s: %s (%s)", r->origin, r->name,
			e.text, e.hint));
		bad = -1;
	}
	return bad;
}

/* ---- whom herod becomes ---- */

/* Settings of those who have a user only. */
static int
check_no_user(const struct daemon_conf *d, struct err *e)
{
	if (d->group)
		return err_set(
		    e, ERR_PARAMS, "group: wanted together with user");
	if (d->runner_users)
		return err_set(
		    e, ERR_PARAMS, "runner_users: wanted together with user");
	return 0;
}

int
privs_find(
    struct privs *p, const struct daemon_conf *d, bool to_start, struct err *e)
{
	*p = (struct privs){.root_runners = d->root_runners};
	if (d->user == NULL)
		return check_no_user(d, e);
	if (find_user(p, d->user, d->group, e) != 0)
		return -1;
	if (p->uid != 0 && p->gid == 0)
		return err_set(e, ERR_PARAMS,
		    "group: %s is in root's group 0; set another", d->user);
	if (geteuid() != 0 && geteuid() != p->uid && to_start)
		return refuse_other(d, e);
	p->drops = geteuid() == 0 && p->uid != 0;
	return find_runners(p, d, e);
}

void
privs_clear(struct privs *p)
{
	strv_free(p->runners);
	p->runners = NULL;
}

static int
refuse_to_become(const struct privs *p, struct err *e)
{
	err_set(e, ERR_INTERNAL, "user: cannot become uid %u: %s",
	    (unsigned)p->uid, strerror(errno));
	return errno == EPERM
	    ? err_hint(e, "root needs CAP_SETUID and CAP_SETGID for it")
	    : -1;
}

/* As the keeper does it for herod. */
static int
leave_private(void)
{
	char path[PATH_MAX];

	return getcwd(path, sizeof(path)) && chdir(path) == 0 ? 0 : chdir("/");
}

int
privs_become(const struct privs *p, struct err *e)
{
	if (setgroups((size_t)p->ngroups, p->groups) != 0 ||
	    setresgid(p->gid, p->gid, p->gid) != 0 ||
	    setresuid(p->uid, p->uid, p->uid) != 0 || setuid(0) == 0)
		return refuse_to_become(p, e);
	if (leave_private() != 0)
		return err_set(e, ERR_INTERNAL, "/: %s", strerror(errno));
	setenv(ROOTS_VARIABLE, "keeper", 1);
	return 0;
}

void
privs_set_environment(const struct privs *p)
{
	const struct passwd *pw = getpwuid(p->uid);

	if (pw == NULL)
		return;
	setenv("HOME", pw->pw_dir, 1);
	setenv("USER", pw->pw_name, 1);
	setenv("LOGNAME", pw->pw_name, 1);
	setenv("SHELL", pw->pw_shell, 1);
}

void
privs_own_files(const struct privs *p, bool own)
{
	if (!p->drops)
		return;
	setfsgid(own ? p->gid : getegid());
	setfsuid(own ? p->uid : geteuid());
}

bool
privs_keeper_is_root(void)
{
	const char *what = getenv(ROOTS_VARIABLE);

	return geteuid() != 0 && what && strcmp(what, "keeper") == 0;
}

bool
privs_keeper_lacks(const char *capability)
{
	const char *names = getenv(LACKS_VARIABLE);

	return names && strstr(names, capability);
}

/* ---- whose files are ---- */

/* In a directory where others may write, but with the sticky bit, what is
 * root's stays.  Groups such as staff of /usr/local are root's friends. */
static bool
stays_roots(const struct privs *p, const struct stat *st)
{
	bool others = st->st_mode & S_IWOTH ||
	    (st->st_mode & S_IWGRP && is_in_group(p, st->st_gid));

	return st->st_uid == 0 &&
	    (S_ISLNK(st->st_mode) || !others ||
		(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX));
}

/* Each name of it is root's, links not followed. */
static bool
names_are_roots(const struct privs *p, const char *path)
{
	char *copy = xstrdup(path), *slash = copy;
	bool good = true, there = true;
	struct stat st;

	while (good && there && slash) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		there = lstat(copy, &st) == 0;
		good = there ? stays_roots(p, &st) : errno == ENOENT;
		if (slash)
			*slash = '/';
	}
	free(copy);
	return good;
}

bool
privs_is_roots_place(const struct privs *p, const char *path)
{
	char *whole = realpath(path, NULL);
	bool good =
	    names_are_roots(p, path) && (!whole || names_are_roots(p, whole));

	free(whole);
	return good;
}

static int give_all(const struct privs *p, int dir, struct err *e);

/* A file with a second name may be anything of root's. */
static bool
is_to_be_given(const struct stat *st)
{
	return st->st_uid == 0 && (S_ISDIR(st->st_mode) || st->st_nlink == 1);
}

/* What is in a directory first: until then nobody but root can put something
 * else there. */
static int
give_one(const struct privs *p, int dir, const char *name, struct err *e)
{
	struct stat st;
	int sub, bad = 0;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !is_to_be_given(&st))
		return 0;
	if (S_ISDIR(st.st_mode)) {
		sub = openat(
		    dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			return 0;
		bad = give_all(p, sub, e);
	}
	if (!bad &&
	    fchownat(dir, name, p->uid, p->gid, AT_SYMLINK_NOFOLLOW) != 0)
		bad = err_set(
		    e, ERR_INTERNAL, "chown %s: %s", name, strerror(errno));
	return bad;
}

/* Closes the directory. */
static int
give_all(const struct privs *p, int dir, struct err *e)
{
	DIR *stream = fdopendir(dir);
	struct dirent *d;
	int bad = 0;

	while (!bad && stream && (d = readdir(stream)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			bad = give_one(p, dir, d->d_name, e);
	if (stream)
		closedir(stream);
	return bad;
}

/* The name of what is not ours, in *name; false: all is. */
static bool
find_foreign(int dir, bool (*is_ours)(int dir, const char *name), char *name,
    size_t size)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *d;
	bool found = false;

	while (!found && stream && (d = readdir(stream)) != NULL) {
		found = strcmp(d->d_name, ".") != 0 &&
		    strcmp(d->d_name, "..") != 0 && !is_ours(dir, d->d_name);
		snprintf(name, size, "%s", d->d_name);
	}
	if (stream)
		closedir(stream);
	return found;
}

/* By its descriptor: its name may lead elsewhere by now.  Closes it. */
static int
give_held(const struct privs *p, const char *path, int dir, struct err *e)
{
	int held = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	int bad = give_all(p, dir, e);

	if (!bad && fchown(held, p->uid, p->gid) != 0)
		bad = err_set(
		    e, ERR_INTERNAL, "chown %s: %s", path, strerror(errno));
	if (held >= 0)
		close(held);
	return bad;
}

static int
give_opened(const struct privs *p, const char *path, int dir,
    bool (*is_ours)(int dir, const char *name), struct err *e)
{
	char name[256];
	struct stat st;

	if (fstat(dir, &st) == 0 && st.st_uid == p->uid) {
		close(dir);
		return 0;
	}
	if (st.st_uid != 0 || find_foreign(dir, is_ours, name, sizeof(name))) {
		close(dir);
		if (st.st_uid != 0)
			err_set(e, ERR_INTERNAL,
			    "%s belongs to uid %u; wanted uid %u", path,
			    (unsigned)st.st_uid, (unsigned)p->uid);
		else
			err_set(e, ERR_INTERNAL,
			    "%s is root's and holds %s, which is not herod's",
			    path, name);
		return err_hint(e, "if it is for herod: chown it to uid %u",
		    (unsigned)p->uid);
	}
	if (!privs_is_roots_place(p, path)) {
		close(dir);
		err_set(e, ERR_INTERNAL,
		    "%s is root's, but others can put something else there",
		    path);
		return err_hint(e, "if it is for herod: chown it to uid %u",
		    (unsigned)p->uid);
	}
	return give_held(p, path, dir, e);
}

int
privs_give(const struct privs *p, const char *path,
    bool (*is_ours)(int dir, const char *name), struct err *e)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Root without capabilities may see nothing of what is another's. */
	if (dir < 0 && errno == EACCES)
		return 0;
	if (dir < 0)
		return err_set(
		    e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
	return give_opened(p, path, dir, is_ours, e);
}

int
privs_check_file(const struct privs *p, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(e, ERR_PARAMS, "%s: %s", path, strerror(errno));
	if (st.st_uid == 0 && !(st.st_mode & S_IWOTH) &&
	    (!(st.st_mode & S_IWGRP) || st.st_gid == 0))
		return privs_is_roots_place(p, path)
		    ? 0
		    : err_set(e, ERR_PARAMS,
			  "%s: others than root can put another file there, "
			  "and with user= root goes by it",
			  path);
	err_set(e, ERR_PARAMS,
	    "%s: others than root can change it (uid %u, mode %04o), and with "
	    "user= root goes by it",
	    path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777);
	return err_hint(
	    e, "chown root:%u %s; chmod go-w %s", (unsigned)p->gid, path, path);
}

/* ---- other processes ---- */

static bool
is_of_runners(const struct privs *p, uid_t uid)
{
	char *const *runner;

	for (runner = p->runners; *runner; runner++)
		if (strtoul(*runner, NULL, 10) == uid)
			return true;
	return false;
}

/* In whose name herod could have it started, and so ended. */
static bool
may_be_runners(const struct privs *p, uid_t uid)
{
	if (p->runners)
		return is_of_runners(p, uid);
	return p->root_runners || uid != 0;
}

bool
privs_may_touch(const struct privs *p, pid_t pid)
{
	char path[64], line[128];
	unsigned uid = 0;
	bool known = false;
	FILE *f;

	if (!p->drops)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && !known && fgets(line, sizeof(line), f))
		known = sscanf(line, "Uid: %u", &uid) == 1;
	if (f)
		fclose(f);
	return known && may_be_runners(p, uid);
}
