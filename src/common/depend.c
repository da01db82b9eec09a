/* Who depends on whom. */
#include "depend.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mem.h"
#include "readiness.h"
#include "settings.h"

/* ---- words ---- */

static const char *const words[] = {[DEPEND_PLAIN] = "",
    [DEPEND_STARTED] = "started",
    [DEPEND_READY] = "ready",
    [DEPEND_EXITED] = "exited"};

const char *
condition_word(enum condition c)
{
	return words[c];
}

bool
depend_parse(const char *word, struct depend *d)
{
	size_t len = strcspn(word, ":"), c;

	if (len >= sizeof(d->name))
		return false;
	memcpy(d->name, word, len);
	d->name[len] = '\0';
	d->condition = DEPEND_PLAIN;
	if (!name_is_valid(d->name))
		return false;
	if (word[len] == '\0')
		return true;
	for (c = DEPEND_STARTED; c <= DEPEND_EXITED; c++)
		if (strcmp(word + len + 1, words[c]) == 0)
			d->condition = (enum condition)c;
	return d->condition != DEPEND_PLAIN;
}

enum condition
depend_condition(const struct depend *d, const struct runner_conf *other)
{
	struct readiness r;

	if (d->condition != DEPEND_PLAIN)
		return d->condition;
	if (other->ready == NULL ||
	    readiness_parse(other->ready, &r, NULL) != 0)
		return DEPEND_STARTED;
	return r.kind == READY_NONE ? DEPEND_STARTED : DEPEND_READY;
}

char *const *
depend_words(const struct runner_conf *c, enum depend_list list)
{
	static char *const none[] = {NULL};
	char *const *v = NULL;

	if (list == DEPEND_REQUIRES)
	v = c->requires;
	else if (list == DEPEND_WANTS) v = c->wants;
	else if (list == DEPEND_AFTER) v = c->after;
	return v ? v : none;
}

bool
depends_at_all(const struct runner_conf *c)
{
	size_t list;

	for (list = 0; list < DEPEND_LISTS; list++)
		if (*depend_words(c, list))
			return true;
	return false;
}

/* ---- graph ---- */

enum colour { WHITE, GREY, BLACK }; /* not seen, above us, done */

struct graph {
	const struct depend_node *nodes;
	size_t n;
	size_t *by_name; /* indexes of nodes, sorted */
	enum colour *colour;
	size_t *path, depth; /* from where the search began */
	size_t *order, nordered;
	char *cycle;
};

static int
compare_names(const void *a, const void *b, void *arg)
{
	const struct depend_node *nodes = arg;

	return strcmp(
	    nodes[*(const size_t *)a].name, nodes[*(const size_t *)b].name);
}

/* Index of the node, or n. */
static size_t
node_find(const struct graph *g, const char *name)
{
	size_t low = 0, high = g->n, mid;
	int c;

	while (low < high) {
		mid = low + (high - low) / 2;
		c = strcmp(name, g->nodes[g->by_name[mid]].name);
		if (c == 0)
			return g->by_name[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return g->n;
}

/* The path from node on, and node again. */
static void
note_cycle(struct graph *g, size_t node)
{
	char *longer;
	size_t i = 0;

	if (g->cycle)
		return;
	while (g->path[i] != node)
		i++;
	g->cycle = xstrdup(g->nodes[node].name);
	for (i++; i <= g->depth; i++) {
		longer = xasprintf("%s -> %s", g->cycle,
		    g->nodes[i < g->depth ? g->path[i] : node].name);
		free(g->cycle);
		g->cycle = longer;
	}
}

static void
visit(struct graph *g, size_t node)
{
	char *const *word;
	struct depend d;
	size_t list, next;

	g->colour[node] = GREY;
	g->path[g->depth++] = node;
	for (list = 0; list < DEPEND_LISTS; list++)
		for (word = depend_words(g->nodes[node].conf, list); *word;
		     word++) {
			depend_parse(*word, &d);
			next = node_find(g, d.name);
			if (next < g->n && g->colour[next] == GREY)
				note_cycle(g, next);
			else if (next < g->n && g->colour[next] == WHITE)
				visit(g, next);
		}
	g->depth--;
	g->colour[node] = BLACK;
	g->order[g->nordered++] = node;
}

static void
graph_open(struct graph *g, const struct depend_node *nodes, size_t n)
{
	size_t i;

	*g = (struct graph){.nodes = nodes, .n = n};
	g->by_name = xcalloc(n + 1, sizeof(*g->by_name));
	g->colour = xcalloc(n + 1, sizeof(*g->colour));
	g->path = xcalloc(n + 1, sizeof(*g->path));
	for (i = 0; i < n; i++)
		g->by_name[i] = i;
	qsort_r(g->by_name, n, sizeof(*g->by_name), compare_names,
	    (void *)(uintptr_t)nodes);
}

static void
graph_close(struct graph *g)
{
	free(g->by_name);
	free(g->colour);
	free(g->path);
}

static void
graph_sort(struct graph *g, size_t *order)
{
	size_t i;

	g->order = order;
	for (i = 0; i < g->n; i++)
		if (g->colour[i] == WHITE)
			visit(g, i);
}

char *
depend_sort(const struct depend_node *nodes, size_t n, size_t *order)
{
	struct graph g;

	graph_open(&g, nodes, n);
	graph_sort(&g, order);
	graph_close(&g);
	return g.cycle;
}

/* ---- refusing ---- */

struct names {
	const struct depend_node *nodes;
	size_t n;
};

static const char *
name_at(size_t i, const void *arg)
{
	const struct names *names = arg;

	return i < names->n ? names->nodes[i].name : NULL;
}

static int
refuse_unknown(
    const struct graph *g, const char *who, const char *whom, struct err *e)
{
	const struct names names = {g->nodes, g->n};
	const char *near = nearest_word(whom, name_at, &names);

	err_set(e, ERR_NO_RUNNER, "runner %s: requires: there is no runner %s",
	    who, whom);
	err_subject(e, who);
	if (near)
		err_hint(e, "did you mean %s?", near);
	return -1;
}

int
depend_check_known(
    const struct depend_node *nodes, size_t n, size_t which, struct err *e)
{
	char *const *word = depend_words(nodes[which].conf, DEPEND_REQUIRES);
	struct graph g;
	struct depend d;
	int bad = 0;

	if (*word == NULL)
		return 0;
	graph_open(&g, nodes, n);
	for (; *word && !bad; word++) {
		depend_parse(*word, &d);
		if (node_find(&g, d.name) == n)
			bad = refuse_unknown(&g, nodes[which].name, d.name, e);
	}
	graph_close(&g);
	return bad;
}

int
depend_check_cycle(const struct depend_node *nodes, size_t n, struct err *e)
{
	size_t *order = xcalloc(n + 1, sizeof(*order));
	char *cycle = depend_sort(nodes, n, order);

	free(order);
	if (cycle == NULL)
		return 0;
	err_set(
	    e, ERR_CYCLE, "these runners wait for each other: %.600s", cycle);
	err_hint(e, "take one of them out of requires, wants or after");
	cycle[strcspn(cycle, " ")] = '\0';
	err_subject(e, cycle);
	free(cycle);
	return -1;
}
