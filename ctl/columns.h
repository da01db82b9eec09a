/*
 * Rows of short texts: aligned columns for people, tabs for programs.
 */
#ifndef COLUMNS_H
#define COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A copy with blanks for control characters: what a program wrote must not
 * move the cursor. */
char *text_without_controls(const char *text);

struct table {
	const char *const *heads; /* NULL-terminated */
	size_t columns;
	char **cells; /* row by row, a strv */
	const char **colours;
	size_t n, size;
};

void table_init(struct table *t, const char *const *heads);
void table_clear(struct table *t);

/* The next cell, without controls.  An empty text is shown as "-". */
void table_add(struct table *t, const char *text);

/* With a colour: an SGR parameter such as "32", or NULL. */
void table_add_coloured(struct table *t, const char *text, const char *sgr);
void table_add_number(struct table *t, long long n);

/* With a heading, aligned and maybe coloured. */
void table_print(const struct table *t, FILE *out, bool colour);

/* Without a heading, separated by tabs. */
void table_print_plain(const struct table *t, FILE *out);

#endif
