#include "crowd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/tree.h>

#include "mem.h"

struct crowd {
	RB_ENTRY(crowd) entry;
	size_t size;
	char *from;
};

struct crowds {
	RB_HEAD(crowd_tree, crowd) by_from;
};

static int
crowd_compare(const struct crowd *a, const struct crowd *b)
{
	return strcmp(a->from, b->from);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(crowd_tree, crowd, entry, crowd_compare, LOCAL)

static struct crowd *
find(const struct crowds *all, const char *from)
{
	struct crowd wanted = {.from = (char *)(uintptr_t)from};

	return RB_FIND(
	    crowd_tree, &((struct crowds *)(uintptr_t)all)->by_from, &wanted);
}

struct crowds *
crowds_new(void)
{
	struct crowds *all = xcalloc(1, sizeof(*all));

	RB_INIT(&all->by_from);
	return all;
}

void
crowds_free(struct crowds *all)
{
	free(all);
}

size_t
crowd_size(const struct crowds *all, const char *from)
{
	const struct crowd *c = find(all, from);

	return c != NULL ? c->size : 0;
}

struct crowd *
crowd_join(struct crowds *all, const char *from)
{
	struct crowd *c = find(all, from);

	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		c->from = xstrdup(from);
		RB_INSERT(crowd_tree, &all->by_from, c);
	}
	c->size++;
	return c;
}

void
crowd_leave(struct crowds *all, struct crowd *c)
{
	if (--c->size > 0)
		return;
	RB_REMOVE(crowd_tree, &all->by_from, c);
	free(c->from);
	free(c);
}
