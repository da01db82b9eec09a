/* Directories that look like control groups. */
#ifndef GROUPS_H
#define GROUPS_H

#include <stdlib.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "check.h"
#include "mem.h"

static void
make_file(const char *dir, const char *file, const char *content)
{
	char *path = xasprintf("%s/%s", dir, file);

	write_file(path, content);
	free(path);
}

/* base, herod.x below it, the group web.0 in that, where three were killed for
 * lack of memory. */
static struct cgroups *
groups_open_fake(const char *has)
{
	mkdir("base", 0755);
	make_file("base", "cgroup.controllers", has);
	make_file("base", "cgroup.subtree_control", "");
	mkdir("base/herod.x", 0755);
	make_file("base/herod.x", "cgroup.procs", "");
	make_file("base/herod.x", "cgroup.subtree_control", "");
	mkdir("base/herod.x/web.0", 0755);
	make_file("base/herod.x/web.0", "memory.max", "");
	make_file("base/herod.x/web.0", "cpu.max", "");
	make_file("base/herod.x/web.0", "pids.max", "");
	make_file("base/herod.x/web.0", "memory.events", "low 0\noom_kill 3\n");
	return cgroups_open_at("base", "x");
}

#endif
