/* Command lines: options of verbs, settings and methods by one road. */
#include "args.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* Where in argv we are. */
struct reader {
	struct args *a;
	char *const *argv; /* the next argument */
	bool no_options; /* behind -- */
	struct err *err;
};

static const struct verb *
verb_of(const struct args *a)
{
	return a->has_verb ? &a->verb : NULL;
}

/* "--wait", or "start --wait" when the verb is known. */
static void
refuse_option(struct reader *r, const char *dashes, const char *name)
{
	const struct verb *v = verb_of(r->a);
	const char *nearest = verb_option_nearest(v, name);
	char text[64];

	err_set(r->err, ERR_PARAMS, "%s%sthere is no option %s%.64s",
	    v ? v->name : "", v ? ": " : "", dashes, name);
	if (nearest && *dashes && dashes[1])
		err_hint(r->err, "did you mean --%s?",
		    option_text(nearest, text, sizeof(text)));
}

/* Text to a checked value of the option. */
static int
keep(struct reader *r, const struct option *o, const char *text)
{
	char name[64] = "--";
	json_t *given = json_string(text), *value;

	option_text(o->name, name + 2, sizeof(name) - 2);
	if (given == NULL)
		return err_set(r->err, ERR_PARAMS, "%s: not UTF-8 text", name);
	value = type_check(&o->kind, name, given, r->err);
	json_decref(given);
	if (value == NULL)
		return -1;
	json_object_set_new(r->a->given[o->home], o->name, value);
	return 0;
}

static bool
is_truth(const char *word)
{
	return word &&
	    (strcmp(word, "true") == 0 || strcmp(word, "false") == 0);
}

/* An option whose value, if any, is not in the same argument. */
static int
keep_next(struct reader *r, const struct option *o)
{
	const char *next = *r->argv;
	char name[64];

	if (o->kind.type == TYPE_BOOL && !is_truth(next))
		return keep(r, o, "true");
	if (next == NULL)
		return err_set(r->err, ERR_PARAMS, "--%s: its value is missing",
		    option_text(o->name, name, sizeof(name)));
	r->argv++;
	return keep(r, o, next);
}

/* "--no-wait" says what "--wait=false" says. */
static bool
is_negation(const struct verb *v, const char *name, struct option *o)
{
	return strncmp(name, "no-", 3) == 0 &&
	    verb_option_find(v, name + 3, strlen(name + 3), o) &&
	    o->kind.type == TYPE_BOOL;
}

/* --NAME, --NAME=VALUE, --NAME VALUE, --no-NAME */
static int
long_option(struct reader *r, const char *name)
{
	size_t len = strcspn(name, "=");
	struct option o;

	if (verb_option_find(verb_of(r->a), name, len, &o)) {
		if (name[len])
			return keep(r, &o, name + len + 1);
		return keep_next(r, &o);
	}
	if (is_negation(verb_of(r->a), name, &o))
		return keep(r, &o, "false");
	refuse_option(r, "--", name);
	return -1;
}

/* -n5, -n 5, -fn5 */
static int
short_options(struct reader *r, const char *letters)
{
	char text[2] = "";
	const char *name;
	struct option o;

	for (; *letters; letters++) {
		name = option_of_letter(verb_of(r->a), *letters);
		text[0] = *letters;
		if (name == NULL ||
		    !verb_option_find(verb_of(r->a), name, strlen(name), &o)) {
			refuse_option(r, "-", text);
			return -1;
		}
		if (o.kind.type == TYPE_BOOL) {
			if (keep(r, &o, "true") != 0)
				return -1;
		} else if (letters[1]) {
			return keep(r, &o, letters + 1);
		} else {
			return keep_next(r, &o);
		}
	}
	return 0;
}

/* tail -20 NAME, as for tail(1). */
static bool
is_line_count(const struct reader *r, const char *word)
{
	struct option o;

	return isdigit((unsigned char)word[0]) && r->a->has_verb &&
	    verb_option_find(&r->a->verb, "lines", 5, &o);
}

static int
option(struct reader *r, const char *word)
{
	struct option o;

	if (word[1] == '-')
		return long_option(r, word + 2);
	if (is_line_count(r, word + 1)) {
		verb_option_find(&r->a->verb, "lines", 5, &o);
		return keep(r, &o, word + 1);
	}
	return short_options(r, word + 1);
}

/* "job" alone begins several verbs. */
static void
refuse_group(struct reader *r, const char *group)
{
	struct verb verbs[VERBS_MAX];
	size_t i, n = verbs_list(verbs), len = strlen(group);
	char list[200] = "";

	for (i = 0; i < n; i++) {
		if (strncmp(verbs[i].name, group, len) != 0 ||
		    verbs[i].name[len] != ' ')
			continue;
		strlcat(list, *list ? ", " : "", sizeof(list));
		strlcat(list, verbs[i].name, sizeof(list));
	}
	err_set(r->err, ERR_PARAMS, "%s: what about it?", group);
	err_hint(r->err, "%s", list);
}

static void
refuse_verb(struct reader *r, const char *typo)
{
	const char *nearest = verb_nearest(typo);

	err_set(r->err, ERR_PARAMS, "there is no verb '%.64s'", typo);
	if (nearest)
		err_hint(r->err, "did you mean %s?", nearest);
	else
		err_hint(r->err, "heroctl help lists them");
}

static int
refuse_words(struct reader *r, const char *first, const char *second)
{
	char both[64];

	if (!verb_is_group(first)) {
		refuse_verb(r, first);
	} else if (second == NULL) {
		refuse_group(r, first);
	} else {
		snprintf(both, sizeof(both), "%s %s", first, second);
		refuse_verb(r, both);
	}
	return -1;
}

static int
take_verb(struct reader *r)
{
	struct args *a = r->a;
	size_t words;

	a->has_verb = verb_find(r->argv, &a->verb, &words);
	if (!a->has_verb)
		return refuse_words(r, r->argv[0], r->argv[1]);
	r->argv += words;
	return 0;
}

static bool
takes_command(const struct args *a)
{
	return a->has_verb && a->verb.id == VERB_add_runner;
}

static void
take_operand(struct reader *r)
{
	strv_add(&r->a->operands, xstrdup(*r->argv++));
	r->a->noperands++;
}

/* A runner's command has options of its own: it begins behind -- or with
 * the first word behind the name that is no option. */
static int
take(struct reader *r)
{
	struct args *a = r->a;
	const char *word = *r->argv;
	bool is_end = !r->no_options && strcmp(word, "--") == 0;

	if (is_end && takes_command(a)) {
		a->command = ++r->argv;
	} else if (is_end) {
		r->no_options = true;
		r->argv++;
	} else if (!r->no_options && word[0] == '-' && word[1]) {
		r->argv++;
		return option(r, word);
	} else if (!a->has_verb) {
		return take_verb(r);
	} else if (takes_command(a) && a->noperands == 1) {
		a->command = r->argv;
	} else {
		take_operand(r);
	}
	return 0;
}

int
args_parse(struct args *a, char *const *argv, struct err *e)
{
	struct reader r = {.a = a, .argv = argv, .err = e};
	size_t i;

	memset(a, 0, sizeof(*a));
	for (i = 0; i < OPTION_HOMES; i++)
		a->given[i] = json_object();
	while (*r.argv && a->command == NULL)
		if (take(&r) != 0)
			return -1;
	return 0;
}

void
args_clear(struct args *a)
{
	size_t i;

	for (i = 0; i < OPTION_HOMES; i++)
		json_decref(a->given[i]);
	strv_free(a->operands);
	memset(a, 0, sizeof(*a));
}

const json_t *
args_option(const struct args *a, enum option_home home, const char *name)
{
	return json_object_get(a->given[home], name);
}

int
args_count(const struct args *a, size_t min, size_t max, struct err *e)
{
	char operands[128];

	if (a->noperands >= min && a->noperands <= max)
		return 0;
	err_set(e, ERR_PARAMS, "%s: %s", a->verb.name,
	    a->noperands < min ? "an operand is missing"
			       : "there are too many operands");
	verb_operands(&a->verb, operands, sizeof(operands));
	return err_hint(e, "usage: heroctl %s%s%s", a->verb.name,
	    *operands ? " " : "", operands);
}
