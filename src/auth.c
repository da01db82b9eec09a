/* Scopes by user, as the kernel names the user. */
#define LOG_MODULE "auth"
#include "auth.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keys.h"
#include "log.h"
#include "settings.h"
#include "sock.h"

#define NSS_BUFFER 65536
#define GROUPS_MAX 1024

/* default_scope's words stand in the order of enum scope. */
_Static_assert(SCOPE_NONE == 0 && SCOPE_ADMIN == 4, "default_scope");

/* By name or number; false when there is no such group. */
static bool
find_group(const char *text, gid_t *gid)
{
	struct group entry, *found = NULL;
	char *buf = malloc(NSS_BUFFER), *end;

	if (buf != NULL)
		getgrnam_r(text, &entry, buf, NSS_BUFFER, &found);
	if (found != NULL)
		*gid = found->gr_gid;
	free(buf);
	if (found != NULL)
		return true;
	*gid = (gid_t)strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0';
}

static bool
groups_have(const char *user, gid_t primary, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	int i, n = GROUPS_MAX;

	if (getgrouplist(user, primary, groups, &n) == -1)
		n = GROUPS_MAX;
	for (i = 0; i < n; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool
user_is_in(uid_t uid, gid_t wanted)
{
	struct passwd entry, *found = NULL;
	char *buf = malloc(NSS_BUFFER);
	bool is_in;

	if (buf != NULL)
		getpwuid_r(uid, &entry, buf, NSS_BUFFER, &found);
	is_in =
	    found != NULL && groups_have(found->pw_name, found->pw_gid, wanted);
	free(buf);
	return is_in;
}

/* What the process at a Unix socket was given, for instance by systemd's
 * SupplementaryGroups; its user need not be listed in the group. */
static bool
process_is_in(int fd, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);
	size_t i;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == -1)
		return false;
	for (i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool
is_admin(int fd, uid_t uid, gid_t gid, const char *admin_group)
{
	gid_t wanted;

	if (uid == 0 || uid == geteuid())
		return true;
	if (admin_group == NULL || *admin_group == '\0')
		return false;
	if (!find_group(admin_group, &wanted)) {
		log_warnx("admin_group %s: no such group", admin_group);
		return false;
	}
	return gid == wanted || process_is_in(fd, wanted) ||
	    user_is_in(uid, wanted);
}

void
auth_peer(struct peer *p, int fd, const struct daemon_conf *conf)
{
	const char *way = sock_is_unix(fd) ? "unix" : "tcp";
	gid_t gid;
	pid_t pid;

	memset(p, 0, sizeof(*p));
	p->known = sock_peer(fd, &p->uid, &gid, &pid);
	if (!p->known) {
		p->scope = SCOPE_NONE;
		sock_peer_text(fd, p->from, sizeof(p->from), false);
		snprintf(p->text, sizeof(p->text), "%s %s, user unknown", way,
		    p->from);
		sock_peer_text(fd, p->from, sizeof(p->from), true);
		return;
	}
	snprintf(p->from, sizeof(p->from), "uid %u", (unsigned)p->uid);
	p->scope = is_admin(fd, p->uid, gid, conf->admin_group)
	    ? SCOPE_ADMIN
	    : (enum scope)conf->default_scope;
	if (pid > 0)
		snprintf(p->text, sizeof(p->text), "%s uid %u pid %d", way,
		    (unsigned)p->uid, (int)pid);
	else
		snprintf(p->text, sizeof(p->text), "%s uid %u", way,
		    (unsigned)p->uid);
}

void
auth_given(struct peer *p, const struct key_given *given)
{
	char *before = strstr(p->text, ", key ");

	if (before != NULL)
		*before = '\0';
	p->scope = given->scope;
	strlcpy(p->key_id, given->id, sizeof(p->key_id));
	strlcat(p->text, ", key ", sizeof(p->text));
	strlcat(p->text, given->name, sizeof(p->text));
}
