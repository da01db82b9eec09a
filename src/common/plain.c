/* JSON as it is mostly written. */
#include "plain.h"

#include <stdlib.h>

#include "jsonrpc.h"

#define DIGITS 18 /* fit into 64 bits, whichever they are */

const bool plain_chars[256] = {
    [' '] = true,
    ['!'] = true,
    ['#' ... '['] = true,
    [']' ... '~'] = true,
};

/* ---- strings ---- */

static size_t
step_plain(struct plain *p)
{
	size_t len = plain_length(p->at, (size_t)(p->end - p->at));

	p->at += len;
	return len;
}

bool
plain_string(struct plain *p, const char **text, size_t *len)
{
	if (!plain_word(p, "\""))
		return false;
	*text = p->at;
	*len = step_plain(p);
	return p->at < p->end && *p->at++ == '"';
}

/* What stands behind a backslash for one character, or 0. */
static char
unescaped(char c)
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	const char *e;

	for (e = escapes; *e; e += 2)
		if (*e == c)
			return e[1];
	return 0;
}

/* The rest of a string up to its end; false: it has something else in it. */
static bool
unescape(struct plain *p, struct sink *s)
{
	const char *at;
	char c;

	for (;;) {
		at = p->at;
		sink_put(s, at, step_plain(p));
		if (p->end - p->at < 2 || *p->at != '\\')
			return p->at < p->end && *p->at++ == '"';
		c = unescaped(p->at[1]);
		if (c == 0)
			return false;
		p->at += 2;
		sink_put(s, &c, 1);
	}
}

static json_t *
string_value(struct plain *p)
{
	struct plain begin = *p;
	struct sink s = {0};
	json_t *value = NULL;
	const char *text;
	size_t len;

	if (plain_string(p, &text, &len))
		return json_stringn_nocheck(text, len);
	*p = begin;
	if (plain_word(p, "\"") && unescape(p, &s))
		value = json_stringn_nocheck(s.buf, s.len);
	free(s.buf);
	return value;
}

/* ---- other values ---- */

/* Whatever follows, such as a point, is nothing that may stand there. */
static json_t *
number_value(struct plain *p)
{
	bool negative = *p->at == '-';
	const char *begin = p->at += negative;
	json_int_t n = 0;

	while (p->at < p->end && *p->at >= '0' && *p->at <= '9' &&
	    p->at - begin < DIGITS)
		n = 10 * n + (*p->at++ - '0');
	if (p->at == begin || (*begin == '0' && p->at - begin > 1))
		return NULL;
	return json_integer(negative ? -n : n);
}

static json_t *
word_value(struct plain *p)
{
	if (plain_word(p, "true"))
		return json_true();
	if (plain_word(p, "false"))
		return json_false();
	return plain_word(p, "null") ? json_null() : NULL;
}

static bool
fill_array(struct plain *p, json_t *array, int levels)
{
	if (plain_word(p, "]"))
		return true;
	do {
		if (json_array_append_new(array, plain_value(p, levels)) == -1)
			return false;
	} while (plain_word(p, ","));
	return plain_word(p, "]");
}

/* A name that comes twice is for the library to refuse. */
static bool
fill_object(struct plain *p, json_t *object, int levels)
{
	const char *name;
	size_t len;

	if (plain_word(p, "}"))
		return true;
	do {
		if (!plain_string(p, &name, &len) || !plain_word(p, ":") ||
		    json_object_getn(object, name, len) != NULL ||
		    json_object_setn_new_nocheck(
			object, name, len, plain_value(p, levels)) == -1)
			return false;
	} while (plain_word(p, ","));
	return plain_word(p, "}");
}

static json_t *
filled(struct plain *p, json_t *stolen, int levels,
    bool (*fill)(struct plain *p, json_t *value, int levels))
{
	p->at++;
	if (levels > 0 && fill(p, stolen, levels - 1))
		return stolen;
	json_decref(stolen);
	return NULL;
}

json_t *
plain_value(struct plain *p, int levels)
{
	plain_blanks(p);
	if (p->at == p->end)
		return NULL;
	switch (*p->at) {
	case '{':
		return filled(p, json_object(), levels, fill_object);
	case '[':
		return filled(p, json_array(), levels, fill_array);
	case '"':
		return string_value(p);
	case 't':
	case 'f':
	case 'n':
		return word_value(p);
	default:
		return number_value(p);
	}
}
