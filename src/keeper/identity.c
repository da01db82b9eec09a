/* Who herod is, and what the keeper keeps of root. */
#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what it is given as ---- */

/* A number behind which that character stands; *text is stepped over both. */
static bool
number_parse(const char **text, char end, unsigned *number)
{
	char *rest;
	unsigned long n;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	n = strtoul(*text, &rest, 10);
	if (errno != 0 || n >= UINT_MAX || *rest != end)
		return false;
	*text = rest + (end != '\0');
	*number = (unsigned)n;
	return true;
}

static bool
groups_parse(struct identity_user *u, const char *text)
{
	unsigned group;

	while (*text != '\0' && u->ngroups < WIRE_GROUPS_MAX) {
		if (!number_parse(
			&text, strchr(text, ',') ? ',' : '\0', &group))
			return false;
		u->groups[u->ngroups++] = group;
	}
	return *text == '\0';
}

static bool
user_parse(struct identity_user *u, const char *text)
{
	unsigned uid, gid;

	if (!number_parse(&text, ':', &uid) || !number_parse(&text, ':', &gid))
		return false;
	u->uid = uid;
	u->gid = gid;
	u->ngroups = 0;
	return groups_parse(u, text);
}

bool
identity_parse(struct identity *id, const char *text)
{
	id->is_set =
	    user_parse(&id->own, text) && id->own.uid != 0 && id->own.gid != 0;
	return id->is_set;
}

bool
identity_add_runner(struct identity *id, const char *text)
{
	return id->nrunners < IDENTITY_RUNNERS_MAX &&
	    user_parse(&id->runners[id->nrunners++], text);
}

/* ---- capabilities ---- */

static uint64_t
caps_wanted(bool with_start)
{
	uint64_t caps = 0;

#define CAP(name) caps |= (uint64_t)1 << CAP_##name;
#define START(name) caps |= with_start ? (uint64_t)1 << CAP_##name : 0;
#include "caps.def"
#undef CAP
#undef START
	return caps;
}

/* Runners that are root need all that root has here, as do programs that
 * make their callers root: then these can get it, by execve(2). */
static void
bound(uint64_t caps)
{
	int cap;

	for (cap = 0; cap < 64; cap++)
		if (!(caps >> cap & 1) && prctl(PR_CAPBSET_READ, cap) == 1)
			prctl(PR_CAPBSET_DROP, cap);
}

static void
caps_set(uint64_t caps)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	int i;

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &head, data) == -1)
		return;
	for (i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(caps >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	syscall(SYS_capset, &head, data);
}

static uint64_t
caps_get(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof(data));
	syscall(SYS_capget, &head, data);
	return (uint64_t)data[1].effective << 32 | data[0].effective;
}

void
identity_lacks(char *names, size_t size)
{
	static const struct {
		const char *name;
		int number;
	} caps[] = {
#define CAP(name) {"CAP_" #name " ", CAP_##name},
#define START(name)
#include "caps.def"
#undef CAP
#undef START
	};
	uint64_t have = caps_get();
	size_t i, len = 0;

	names[0] = '\0';
	if (geteuid() != 0)
		return;
	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (have >> caps[i].number & 1)
			continue;
		strncat(names, caps[i].name, size - len - 1);
		len = strlen(names);
	}
}

/* Whoever has root's session keyring, as of a login, may read the keys in it,
 * as another user, too. */
static void
leave_keyring(void)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

void
identity_limit(const struct identity *id, bool with_start)
{
	uint64_t caps = caps_wanted(with_start);
	ssize_t ignored;

	ignored = setgroups(0, NULL);
	(void)ignored;
	leave_keyring();
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (!id->root_runners)
		bound(caps);
	caps_set(caps);
}

/* ---- users ---- */

void
identity_own_files(const struct identity *id)
{
	setfsgid(id ? id->own.gid : getegid());
	setfsuid(id ? id->own.uid : geteuid());
}

static bool
is_become(const struct identity_user *u)
{
	uid_t uid[3];
	gid_t gid[3];

	if (getresuid(&uid[0], &uid[1], &uid[2]) == -1 ||
	    getresgid(&gid[0], &gid[1], &gid[2]) == -1)
		return false;
	if (uid[0] == u->uid && uid[1] == u->uid && uid[2] == u->uid &&
	    gid[0] == u->gid && gid[1] == u->gid && gid[2] == u->gid &&
	    setuid(0) == -1 && setgid(0) == -1)
		return true;
	errno = EPERM;
	return false;
}

bool
identity_become(const struct identity *id)
{
	const struct identity_user *u = &id->own;

	return setgroups(u->ngroups, u->groups) == 0 &&
	    setresgid(u->gid, u->gid, u->gid) == 0 &&
	    setresuid(u->uid, u->uid, u->uid) == 0 && is_become(u);
}

bool
identity_leave_private(void)
{
	char path[PATH_MAX];

	return (getcwd(path, sizeof(path)) && chdir(path) == 0) ||
	    chdir("/") == 0;
}

/* ---- whom runners may be ---- */

static bool
is_roots(const struct wire_spawn *s)
{
	bool root = s->uid == 0 || s->gid == 0;
	size_t i;

	for (i = 0; i < s->ngroups; i++)
		root |= s->groups[i] == 0;
	return root;
}

static bool
has_group(const struct identity_user *u, gid_t gid)
{
	size_t i;

	for (i = 0; i < u->ngroups; i++)
		if (u->groups[i] == gid)
			return true;
	return gid == u->gid;
}

/* Who may be of that user and group; NULL: nobody. */
static const struct identity_user *
runner_find(const struct identity *id, const struct wire_spawn *s)
{
	const struct identity_user *u;

	for (u = id->runners; u < id->runners + id->nrunners; u++)
		if (u->uid == s->uid && has_group(u, s->gid))
			return u;
	return NULL;
}

const char *
identity_forbids(const struct identity *id, const struct wire_spawn *s)
{
	if (id->is_set && !id->root_runners && is_roots(s))
		return "no runner may be root without root_runners";
	if (id->is_set && id->nrunners > 0 && !runner_find(id, s))
		return "that is none of runner_users";
	return NULL;
}

size_t
identity_groups(const struct identity *id, const struct wire_spawn *s,
    gid_t groups[WIRE_GROUPS_MAX])
{
	const struct identity_user *u =
	    id->nrunners > 0 ? runner_find(id, s) : NULL;
	size_t i, n = 0;

	for (i = 0; i < s->ngroups; i++)
		if (!u || has_group(u, s->groups[i]))
			groups[n++] = s->groups[i];
	return n;
}
