/*
 * A command line of heroctl: verb, options in any place, operands and,
 * for add-runner, a command with options of its own.
 */
#ifndef ARGS_H
#define ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "err.h"
#include "verb.h"

struct args {
	bool has_verb;
	struct verb verb;
	/* Values of options by where they go; objects of canonical values. */
	json_t *given[OPTION_HOMES];
	char **operands; /* strv, may be NULL */
	size_t noperands;
	char *const *command; /* of a runner to add, or NULL */
};

/*
 * Reads a command line.  The first word that is no option is the verb (or
 * two: "job show").  Returns -1 with a refusal, with a as far as it was
 * read; call args_clear() in any case.
 */
int args_parse(struct args *a, char *const *argv, struct err *e);
void args_clear(struct args *a);

/* An option's value; borrowed, NULL when it was not given. */
const json_t *args_option(
    const struct args *a, enum option_home home, const char *name);

/* Refuses unless there are min to max operands. */
int args_count(const struct args *a, size_t min, size_t max, struct err *e);

#endif
