#include "tries.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "mem.h"

#define WAIT_MAX 60.0 /* seconds */
#define FORGET 600.0 /* seconds */

struct
try {
	RB_ENTRY(try) entry;
	TAILQ_ENTRY(try) next;
	unsigned wrong;
	double at; /* the last */
	char from[80];
};

struct tries {
	unsigned free_tries;
	size_t n;
	RB_HEAD(try_tree, try) by_from;
	TAILQ_HEAD(, try) oldest_first;
};

static int
try_compare(const struct try *a, const struct try *b)
{
	return strcmp(a->from, b->from);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(try_tree, try, entry, try_compare, LOCAL)

static void
forget(struct tries *t, struct try *one)
{
	RB_REMOVE(try_tree, &t->by_from, one);
	TAILQ_REMOVE(&t->oldest_first, one, next);
	t->n--;
	free(one);
}

static struct try *
find(struct tries *t, const char *from)
{
	struct try wanted;

	strlcpy(wanted.from, from, sizeof(wanted.from));
	return RB_FIND(try_tree, &t->by_from, &wanted);
}

static struct try *
add(struct tries *t, const char *from)
{
	struct try *one = xcalloc(1, sizeof(*one));

	strlcpy(one->from, from, sizeof(one->from));
	RB_INSERT(try_tree, &t->by_from, one);
	if (++t->n > TRIES_MAX)
		forget(t, TAILQ_FIRST(&t->oldest_first));
	return one;
}

struct tries *
tries_new(unsigned free_tries)
{
	struct tries *t = xcalloc(1, sizeof(*t));

	t->free_tries = free_tries;
	RB_INIT(&t->by_from);
	TAILQ_INIT(&t->oldest_first);
	return t;
}

void
tries_free(struct tries *t)
{
	struct try *one;

	if (t == NULL)
		return;
	while ((one = TAILQ_FIRST(&t->oldest_first)) != NULL)
		forget(t, one);
	free(t);
}

static double
wait_after(const struct tries *t, unsigned wrong)
{
	return wrong <= t->free_tries
	    ? 0
	    : fmin(ldexp(1, (int)(wrong - t->free_tries) - 1), WAIT_MAX);
}

double
tries_wait(struct tries *t, const char *from, double now)
{
	struct try *one = find(t, from);

	if (one != NULL && now - one->at > FORGET) {
		forget(t, one);
		one = NULL;
	}
	return one == NULL ? 0
			   : fmax(one->at + wait_after(t, one->wrong) - now, 0);
}

void
tries_wrong(struct tries *t, const char *from, double now)
{
	struct try *one = find(t, from);

	if (one == NULL)
		one = add(t, from);
	else
		TAILQ_REMOVE(&t->oldest_first, one, next);
	TAILQ_INSERT_TAIL(&t->oldest_first, one, next);
	if (one->wrong < 64)
		one->wrong++;
	one->at = now;
}
