/*
 * JSON as it is mostly written, read and scanned without a library's lexer:
 * ASCII, whole numbers, no \u.  Whoever is told no asks the library, for the
 * text may be right all the same; what is accepted here means what it does to
 * the library (fuzz_rpc compares them).
 */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <jansson.h>

/* What stands in a JSON string as it is, of ASCII. */
extern const bool plain_chars[256];

/* So many bytes at its beginning are of these. */
static inline size_t
plain_length(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && plain_chars[(unsigned char)text[i]])
		i++;
	return i;
}

/* What is left to read. */
struct plain {
	const char *at, *end;
};

/* Each steps over blanks and what it is named for; not so: it is somewhere
 * behind its beginning. */

static inline void
plain_blanks(struct plain *p)
{
	while (p->at < p->end &&
	    (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' ||
		*p->at == '\n'))
		p->at++;
}

static inline bool
plain_word(struct plain *p, const char *word)
{
	size_t len = strlen(word);

	plain_blanks(p);
	if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
		return false;
	p->at += len;
	return true;
}

static inline bool
plain_ends(struct plain *p)
{
	plain_blanks(p);
	return p->at == p->end;
}

/* A string without escapes; borrowed. */
bool plain_string(struct plain *p, const char **text, size_t *len);

/* Any value of at most so many levels ("[]" has one); new, or NULL. */
json_t *plain_value(struct plain *p, int levels);

#endif
