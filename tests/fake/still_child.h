/*
 * What of child.h tests with children of their own have no use for: it does
 * nothing.  For one file of a program.
 */
#ifndef STILL_CHILD_H
#define STILL_CHILD_H

#include <stdio.h>

#include "child.h"

static struct child_limits adjusted; /* the last */
static char last_tag[CHILD_TAG_MAX];
static double extended; /* seconds, the last */

void
child_extend(struct child *c, double seconds)
{
	(void)c;
	extended = seconds;
}

void
child_leftover(struct child *c, double grace)
{
	(void)c;
	(void)grace;
}

void
child_be_lazy(struct child *c, int stream)
{
	(void)c;
	(void)stream;
}

bool
child_read_now(struct child *c, int stream)
{
	(void)c;
	(void)stream;
	return true;
}

void
keeper_forget(struct keeper *k, unsigned id)
{
	(void)k;
	(void)id;
}

void
child_tag(struct child *c, const char *tag)
{
	(void)c;
	snprintf(last_tag, sizeof(last_tag), "%s", tag);
}

void
child_cgroup(struct child *c, struct cgroup *cgroup)
{
	(void)c;
	(void)cgroup;
}

unsigned
child_adjust(struct child *c, const struct child_limits *l, struct err *e)
{
	(void)c;
	(void)e;
	adjusted = *l;
	return 0;
}

#endif
