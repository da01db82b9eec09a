/*
 * The table of methods: what can be called, by whom, with which parameters.
 * Shared by the daemon (dispatch, checks, OpenRPC) and heroctl (verbs).
 */
#ifndef METHOD_H
#define METHOD_H

#include <stdbool.h>

#include <jansson.h>

#include "type.h"

/* Each includes those before it. */
enum scope {
	SCOPE_NONE,
	SCOPE_OBSERVE,
	SCOPE_USER,
	SCOPE_REGISTRAR,
	SCOPE_ADMIN
};

enum manner { ONCE, EACH };

enum effect { READS, CHANGES };

struct param {
	const char *name; /* NULL ends the list */
	struct kind kind;
	bool required;
	const char *fallback; /* default as text, or NULL */
	const char *meaning;
};

enum method_id {
#define METHOD(id, ...) METHOD_##id,
#include "methods.def"
#undef METHOD
	METHOD_COUNT
};

struct method {
	const char *name;
	enum scope scope;
	enum effect effect;
	const char *verb; /* NULL: heroctl has no plain verb for it */
	enum manner manner;
	const struct param *params;
	const char *result; /* schema, "[schema]" or JSON type */
	const char *errors; /* names, separated by blanks */
	const char *example_params;
	const char *example_result;
	const char *summary;
};

extern const struct method methods[METHOD_COUNT];

/* A row of schemas.def; name NULL ends the table. */
struct schema {
	const char *name;
	const char *text; /* JSON; "#Name" stands for a $ref to a component */
};

extern const struct schema schemas[];

/* A row of topics.def; name NULL ends the table. */
struct topic {
	const char *name;
	enum scope scope;
	const char *of; /* what follows behind a dot, or NULL */
	const char *meaning;
};

extern const struct topic topic_rows[];

/* By exact name; NULL when there is none. */
const struct method *method_find(const char *name);
const struct param *method_param(const struct method *m, const char *name);

/* The nearest method name to a typo, or NULL. */
const char *method_nearest(const char *typo);

/*
 * Checks params as a peer sent them (NULL or json null: absent; object: by
 * name; array: by position) and gives a new object with every parameter
 * canonical and the defaults filled in; optional ones without a default
 * are left out.  NULL with a refusal: unknown, missing, of the wrong kind,
 * too many.  What a method without parameters gets is not to be changed.
 */
json_t *method_check(
    const struct method *m, const json_t *params, struct err *e);

/* "observe" for SCOPE_OBSERVE. */
const char *scope_name(enum scope scope);
bool scope_find(const char *name, enum scope *scope);

/* The OpenRPC 1.3.2 document of this table; new. */
json_t *method_openrpc(const char *version);

#endif
