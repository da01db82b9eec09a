/*
 * What of child.h tests with children of their own have no use for: it does
 * nothing.  For one file of a program.
 */
#ifndef STILL_CHILD_H
#define STILL_CHILD_H

#include "child.h"

static struct child_limits adjusted; /* the last */

void
child_cgroup(struct child *c, struct cgroup *cgroup)
{
	(void)c;
	(void)cgroup;
}

int
child_adjust(struct child *c, const struct child_limits *l, struct err *e)
{
	(void)c;
	(void)e;
	adjusted = *l;
	return 0;
}

#endif
