/* Tables for people and for programs. */
#include "columns.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define GAP 2 /* blanks between columns */

void
table_init(struct table *t, const char *const *heads)
{
	memset(t, 0, sizeof(*t));
	t->heads = heads;
	while (heads[t->columns])
		t->columns++;
}

void
table_clear(struct table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->colours);
	memset(t, 0, sizeof(*t));
}

/* Bytes from 0x80 are parts of UTF-8, which jansson has checked; C1
 * controls (U+0080 to U+009F) begin with 0xc2. */
static bool
is_control(const unsigned char *s)
{
	return *s < 0x20 || *s == 0x7f ||
	    (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0);
}

char *
text_without_controls(const char *text)
{
	unsigned char *copy = (unsigned char *)xstrdup(text), *s;

	for (s = copy; *s; s++) {
		if (!is_control(s))
			continue;
		if (*s == 0xc2)
			*s++ = ' ';
		*s = ' ';
	}
	return (char *)copy;
}

void
table_add_coloured(struct table *t, const char *text, const char *sgr)
{
	if (t->n == t->size) {
		t->size = t->size ? 2 * t->size : 64;
		t->cells = xreallocarray(t->cells, t->size, sizeof(*t->cells));
		t->colours =
		    xreallocarray(t->colours, t->size, sizeof(*t->colours));
	}
	t->cells[t->n] = text_without_controls(*text ? text : "-");
	t->colours[t->n] = sgr;
	t->n++;
}

void
table_add(struct table *t, const char *text)
{
	table_add_coloured(t, text, NULL);
}

void
table_add_number(struct table *t, long long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", n);
	table_add(t, text);
}

/* Places on the screen, for UTF-8 of ordinary width. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static size_t
column_width(const struct table *t, size_t column)
{
	size_t i, max = width(t->heads[column]), w;

	for (i = column; i < t->n; i += t->columns) {
		w = width(t->cells[i]);
		max = w > max ? w : max;
	}
	return max;
}

/* The last column is not filled up: no blanks at ends of lines. */
static void
print_cell(FILE *out, const char *text, const char *sgr, size_t fill, bool last)
{
	fprintf(out, "%s%s%s%s%s", sgr ? "\033[" : "", sgr ? sgr : "",
	    sgr ? "m" : "", text, sgr ? "\033[0m" : "");
	if (last)
		putc('\n', out);
	else
		fprintf(out, "%*s", (int)(fill - width(text)) + GAP, "");
}

void
table_print(const struct table *t, FILE *out, bool colour)
{
	size_t widths[32], i, c;

	for (c = 0; c < t->columns; c++)
		widths[c] = column_width(t, c);
	for (c = 0; c < t->columns; c++)
		print_cell(out, t->heads[c], colour ? "1" : NULL, widths[c],
		    c + 1 == t->columns);
	for (i = 0; i < t->n; i++) {
		c = i % t->columns;
		print_cell(out, t->cells[i], colour ? t->colours[i] : NULL,
		    widths[c], c + 1 == t->columns);
	}
}

void
table_print_plain(const struct table *t, FILE *out)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		fprintf(out, "%s%c", t->cells[i],
		    (i + 1) % t->columns ? '\t' : '\n');
}
