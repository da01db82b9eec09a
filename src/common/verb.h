/*
 * What can be said to heroctl: its verbs (methods.def and verbs.def) and
 * their options, for parsing, help, completion and the manual.
 */
#ifndef VERB_H
#define VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "method.h"
#include "settings.h"
#include "type.h"

enum verb_id {
#define VERB(id, ...) VERB_##id,
#include "verbs.def"
#undef VERB
	VERB_METHOD, /* all that methods.def says by itself */
	VERB_COUNT
};

struct verb {
	enum verb_id id;
	const char *name; /* one word or two: "job show" */
	const struct method *method; /* NULL: needs no daemon */
	const struct setting *settings; /* options by setting, or NULL */
	const char *operands; /* NULL: the required parameters */
	const struct param *own; /* options of its own */
	const char *summary;
	const char *more;
};

/* Where the value of an option goes. */
enum option_home {
	OPTION_VERB, /* the verb's own */
	OPTION_SETTING, /* a setting of the runner or job */
	OPTION_PARAM, /* a parameter of the method */
	OPTION_GLOBAL, /* heroctl's own */
	OPTION_HOMES
};

struct option {
	enum option_home home;
	const char *name; /* with underscores, as in the tables */
	struct kind kind;
	const char *fallback; /* default as text, or NULL */
	const char *meaning;
};

#define VERBS_MAX (VERB_METHOD + METHOD_COUNT)

/* All verbs, sorted by name; returns how many. */
size_t verbs_list(struct verb list[VERBS_MAX]);

/*
 * The verb that the words begin with, and in *words how many they are (one
 * or two); false when there is none.
 */
bool verb_find(char *const *argv, struct verb *v, size_t *words);

/* The verb nearest to a typo, or NULL. */
const char *verb_nearest(const char *typo);

/* Does some verb begin with this word and go on with another? */
bool verb_is_group(const char *word);

/* The i-th option of a verb (NULL: heroctl's own options, which stand
 * behind those of every verb as well); false behind the last. */
bool verb_option(const struct verb *v, size_t i, struct option *o);

/* By name, dashes as underscores; the verb's before heroctl's own. */
bool verb_option_find(
    const struct verb *v, const char *name, size_t len, struct option *o);
const char *verb_option_nearest(const struct verb *v, const char *typo);

/* The long name of an option letter of a verb (NULL: of any), or NULL; and
 * back, or 0. */
const char *option_of_letter(const struct verb *v, char letter);
char option_letter(const char *name);

/* True unless --no-NAME is given? */
bool option_is_on(const struct option *o);

/* "stop-wait": the name as it is typed, without dashes in front. */
const char *option_text(const char *name, char *buf, size_t size);

/* What stands for an option's value in usages: "DURATION", "all|stdout". */
const char *option_value_text(const struct kind *k, char *buf, size_t size);

/* What follows the verb: "SIGNAL NAME..."; cut to size. */
const char *verb_operands(const struct verb *v, char *buf, size_t size);

#endif
