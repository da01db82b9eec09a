/* Words of requires, wants and after, and the graph that they make. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "depend.h"
#include "err.h"
#include "mem.h"
#include "settings.h"

void
test_words_are_a_name_and_perhaps_a_condition(void)
{
	struct depend d;

	check(depend_parse("db", &d));
	check_str(d.name, "db");
	check_int(d.condition, DEPEND_PLAIN);
	check(depend_parse("d.b-1:ready", &d));
	check_str(d.name, "d.b-1");
	check_int(d.condition, DEPEND_READY);
	check(depend_parse("db:started", &d) && depend_parse("db:exited", &d));
	check(!depend_parse("db:", &d));
	check(!depend_parse("db:up", &d));
	check(!depend_parse(":ready", &d));
	check(!depend_parse("", &d));
	check(!depend_parse("d b", &d));
}

void
test_bad_words_are_refused_as_a_setting(void)
{
	struct runner_conf c = {0};
	json_t *value = json_string("db:up");
	struct err e = {0};

	settings_init(runner_settings, &c);
	check_int(settings_set(runner_settings, &c, "requires", value, &e), -1);
	check_has(e.text, "requires: 'db:up' is not names of runners");
	json_decref(value);
	settings_clear(runner_settings, &c);
}

/* ---- graphs: "a:b,c" says that a is after b and c ---- */

#define MOST 8

struct graph {
	struct runner_conf confs[MOST];
	struct depend_node nodes[MOST];
	char *names[MOST];
	size_t n;
};

static void
add(struct graph *g, const char *text)
{
	size_t len = strcspn(text, ":");
	json_t *words = json_string(text[len] ? text + len + 1 : "");
	struct err e = {0};

	settings_init(runner_settings, &g->confs[g->n]);
	settings_set(runner_settings, &g->confs[g->n],
	    g->n % 2 ? "after" : "requires", words, &e);
	check_str(e.text, "");
	json_decref(words);
	g->names[g->n] = xstrndup(text, len);
	g->nodes[g->n] = (struct depend_node){g->names[g->n], &g->confs[g->n]};
	g->n++;
}

static void
clear(struct graph *g)
{
	while (g->n-- > 0) {
		settings_clear(runner_settings, &g->confs[g->n]);
		free(g->names[g->n]);
	}
}

/* Names in the order of depend_sort(), into a string. */
static const char *
sorted(struct graph *g)
{
	static char text[64];
	size_t order[MOST], i;

	free(depend_sort(g->nodes, g->n, order));
	text[0] = '\0';
	for (i = 0; i < g->n; i++)
		strcat(text, g->names[order[i]]);
	return text;
}

void
test_each_comes_behind_those_it_depends_on(void)
{
	struct graph g = {.n = 0};

	add(&g, "a:d,nobody");
	add(&g, "b");
	add(&g, "c:a");
	add(&g, "d:b");
	check_str(sorted(&g), "bdac");
	clear(&g);
}

void
test_those_without_dependencies_stay_as_they_are(void)
{
	struct graph g = {.n = 0};

	add(&g, "z");
	add(&g, "b");
	add(&g, "m");
	check_str(sorted(&g), "zbm");
	clear(&g);
}

void
test_a_cycle_is_named_with_its_path(void)
{
	struct graph g = {.n = 0};
	struct err e = {0};

	add(&g, "x:a");
	add(&g, "a:b");
	add(&g, "b:c");
	add(&g, "c:a");
	check_int(depend_check_cycle(g.nodes, g.n, &e), -1);
	check_int(e.code, ERR_CYCLE);
	check_has(e.text, "a -> b -> c -> a");
	check(strstr(e.text, "x ->") == NULL);
	check_str(e.subject, "a");
	clear(&g);
}

void
test_one_that_waits_for_itself_is_a_cycle(void)
{
	struct graph g = {.n = 0};
	struct err e = {0};

	add(&g, "a:a");
	check_int(depend_check_cycle(g.nodes, g.n, &e), -1);
	check_has(e.text, "a -> a");
	clear(&g);
}

void
test_two_ways_to_one_are_no_cycle(void)
{
	struct graph g = {.n = 0};

	add(&g, "a:b,c");
	add(&g, "b:d");
	add(&g, "c:d");
	add(&g, "d");
	check_int(depend_check_cycle(g.nodes, g.n, NULL), 0);
	clear(&g);
}

void
test_unknown_names_are_refused_in_requires_alone(void)
{
	struct graph g = {.n = 0};
	struct err e = {0};

	add(&g, "a:databose");
	add(&g, "database:nobody");
	check_int(depend_check_known(g.nodes, g.n, 1, &e), 0);
	check_int(depend_check_known(g.nodes, g.n, 0, &e), -1);
	check_str(e.text, "runner a: requires: there is no runner databose");
	check_str(e.hint, "did you mean database?");
	clear(&g);
}

void
test_long_chains_are_sorted_too(void)
{
	enum { LONG = 8000 };
	struct runner_conf *confs = xcalloc(LONG, sizeof(*confs));
	struct depend_node *nodes = xcalloc(LONG, sizeof(*nodes));
	size_t *order = xcalloc(LONG, sizeof(*order)), i;

	for (i = 0; i < LONG; i++) {
		nodes[i].name = xasprintf("r%zu", i);
		nodes[i].conf = &confs[i];
		if (i + 1 < LONG)
			strv_add(&confs[i].after, xasprintf("r%zu", i + 1));
	}
	check(depend_sort(nodes, LONG, order) == NULL);
	for (i = 0; i < LONG; i++) {
		check_int(order[i], LONG - 1 - i);
		strv_free(confs[i].after);
		free((char *)(uintptr_t)nodes[i].name);
	}
	free(order);
	free(nodes);
	free(confs);
}
