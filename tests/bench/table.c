/*
 * Reports of benches (JSON lines on stdin) as tables for people, or with
 * -m in Markdown.  Rates of the doors, of which there are many, get a
 * table of their own with a column for each shape of load.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#define REPORTS_MAX 200
#define COLUMNS_MAX 6
#define CELL_SIZE 64

static json_t *reports[REPORTS_MAX];
static size_t nreports;

struct table {
	size_t ncolumns, nrows; /* the first row are the heads */
	char cells[REPORTS_MAX + 1][COLUMNS_MAX][CELL_SIZE];
};

/* ---- cells ---- */

#define cell_print(cell, ...) snprintf((cell), CELL_SIZE, __VA_ARGS__)

static const char *
string_of(const json_t *report, const char *name)
{
	const char *s = json_string_value(json_object_get(report, name));

	return s ? s : "";
}

static double
number_of(const json_t *report, const char *name)
{
	return json_number_value(json_object_get(report, name));
}

static bool
has(const json_t *report, const char *name)
{
	return json_is_number(json_object_get(report, name));
}

static int
decimals(double v)
{
	if (v == (double)(long)v || v >= 100)
		return 0;
	return v < 1 ? 3 : v < 10 ? 2 : 1;
}

/* "123 k/s", "4.5 ms" */
static void
put_value(char *cell, const json_t *report, const char *name)
{
	const char *unit = string_of(report, "unit");
	double v = number_of(report, name);

	if (!has(report, name))
		return;
	if (v >= 10000)
		cell_print(cell, "%.0f k%s", v / 1000, unit);
	else
		cell_print(cell, "%.*f%s%s", decimals(v), v,
		    *unit == '/' ? "" : " ", unit);
}

static void
put_peer(char *cell, const json_t *report)
{
	char value[CELL_SIZE / 2] = "";

	if (!has(report, "peer_value"))
		return;
	put_value(value, report, "peer_value");
	cell_print(cell, "%s (%.30s)", value, string_of(report, "peer"));
}

static const char *
verdict(const json_t *report)
{
	const json_t *met = json_object_get(report, "met");

	if (json_is_true(met))
		return ", met";
	return json_is_false(met) ? ", missed" : "";
}

/* ---- tables ---- */

static void
put_heads(struct table *t, const char *const *heads, size_t n)
{
	size_t i;

	memset(t, 0, sizeof(*t));
	t->ncolumns = n;
	t->nrows = 1;
	for (i = 0; i < n; i++)
		cell_print(t->cells[0][i], "%s", heads[i]);
}

static int
width_of(const struct table *t, size_t column)
{
	size_t row, widest = 3, len;

	for (row = 0; row < t->nrows; row++)
		if ((len = strlen(t->cells[row][column])) > widest)
			widest = len;
	return (int)widest;
}

/* In both forms; the rule below the heads only in Markdown. */
static void
print_table(const struct table *t, bool markdown)
{
	const char *left = markdown ? "| " : "", *right = markdown ? " |" : "",
		   *between = markdown ? " | " : "  ";
	size_t row, i;

	for (row = 0; row < t->nrows; row++) {
		for (i = 0; i < t->ncolumns; i++)
			printf("%s%-*s", i == 0 ? left : between,
			    width_of(t, i), t->cells[row][i]);
		printf("%s\n", right);
		if (row > 0 || !markdown)
			continue;
		for (i = 0; i < t->ncolumns; i++)
			printf("|%s", i == 0 ? "---" : "--:");
		printf("|\n");
	}
	printf("\n");
}

/* ---- doors: one row for each method and door ---- */

static const char *const shapes[] = {
    "_c1_p1", "_c1_p16", "_c32_p1", "_c32_p16"};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static bool
is_rate(const json_t *report)
{
	return strncmp(string_of(report, "bench"), "rpc_", 4) == 0;
}

/* Length of the name without the shape. */
static size_t
stem(const char *name)
{
	const char *shape = strstr(name, "_c");

	while (shape && strstr(shape + 1, "_c"))
		shape = strstr(shape + 1, "_c");
	return shape ? (size_t)(shape - name) : strlen(name);
}

static size_t
row_of(struct table *t, const char *name)
{
	size_t row, len = stem(name);

	for (row = 1; row < t->nrows; row++)
		if (strlen(t->cells[row][0]) == len &&
		    strncmp(t->cells[row][0], name, len) == 0)
			return row;
	cell_print(t->cells[row][0], "%.*s", (int)len, name);
	return t->nrows++;
}

static void
put_rate(struct table *t, const json_t *report)
{
	const char *name = string_of(report, "bench");
	char value[CELL_SIZE / 2] = "", *cell;
	size_t i, row = row_of(t, name);

	for (i = 0; i < SHAPES; i++) {
		if (strcmp(name + stem(name), shapes[i]) != 0)
			continue;
		cell = t->cells[row][i + 1];
		put_value(value, report, "value");
		cell_print(cell, "%s (%.2f%s)", value,
		    number_of(report, "ratio"), verdict(report));
	}
}

static void
print_rates(bool markdown)
{
	static const char *const heads[] = {"requests (ratio to redis GET)",
	    "1 connection", "pipeline 16", "32 connections", "pipeline 16"};
	static struct table t;
	size_t i;

	put_heads(&t, heads, SHAPES + 1);
	for (i = 0; i < nreports; i++)
		if (is_rate(reports[i]))
			put_rate(&t, reports[i]);
	if (t.nrows > 1)
		print_table(&t, markdown);
}

/* ---- the rest: one row each ---- */

static void
put_report(struct table *t, const json_t *report)
{
	char(*cells)[CELL_SIZE] = t->cells[t->nrows++];

	cell_print(cells[0], "%s", string_of(report, "bench"));
	put_value(cells[1], report, "value");
	put_peer(cells[2], report);
	if (has(report, "ratio"))
		cell_print(cells[3], "%.2f", number_of(report, "ratio"));
	cell_print(cells[4], "%s%s", string_of(report, "aim"), verdict(report));
}

static void
print_others(bool markdown)
{
	static const char *const heads[] = {
	    "bench", "herod", "peer", "ratio", "aim"};
	static struct table t;
	size_t i;

	put_heads(&t, heads, sizeof(heads) / sizeof(heads[0]));
	for (i = 0; i < nreports; i++)
		if (!is_rate(reports[i]))
			put_report(&t, reports[i]);
	if (t.nrows > 1)
		print_table(&t, markdown);
}

static void
read_reports(void)
{
	const size_t flags = JSON_DISABLE_EOF_CHECK;
	json_t *one;

	while (nreports < REPORTS_MAX &&
	    (one = json_loadf(stdin, flags, NULL)) != NULL)
		reports[nreports++] = one;
}

int
main(int argc, char **argv)
{
	bool markdown = argc > 1 && strcmp(argv[1], "-m") == 0;

	read_reports();
	print_rates(markdown);
	print_others(markdown);
	while (nreports > 0)
		json_decref(reports[--nreports]);
	return 0;
}
