/*
 * The table of methods and the checks that it drives.
 *
 * methods.def is read twice: once for the arrays of parameters, once for
 * the rows that point to them.
 */
#include "method.h"

#include <stdlib.h>
#include <string.h>

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* A row's default is a text, NULL or this. */
#define REQUIRED NULL, .required = true
#define PARAM(name_, type, limits, fallback_, meaning_) \
	{.name = #name_, \
	    .kind = {TYPE_##type, limits}, \
	    .meaning = meaning_, \
	    .fallback = fallback_},
#define J(...) #__VA_ARGS__

#define QUEUES_A_JOB \
	"no_such_runner no_consumer no_such_job duplicate queue_full " \
	"illegal_status_move redis_unavailable"
#define METHOD(id, called, needs, effect, verb, manner, list, ...) \
	static const struct param params_##id[] = {list{.name = NULL}}; \
	static json_t *defaults_##id[lengthof(params_##id)];
#include "methods.def"
#undef METHOD

#define METHOD(id, called, needs, effect, verb, manner, list, ...) \
	[METHOD_##id] = {called, SCOPE_##needs, effect, verb, manner, \
	    params_##id, __VA_ARGS__},
const struct method methods[METHOD_COUNT] = {
#include "methods.def"
};
#undef METHOD
#undef QUEUES_A_JOB
#undef PARAM
#undef REQUIRED

/* Canonical defaults, made of the texts when they are first wanted. */
#define METHOD(id, ...) [METHOD_##id] = defaults_##id,
static json_t **const defaults[METHOD_COUNT] = {
#include "methods.def"
};
#undef METHOD

#define SCHEMA(name, ...) {#name, #__VA_ARGS__},
const struct schema schemas[] = {
#include "schemas.def"
    {NULL, NULL}};

const struct topic topic_rows[] = {
#define TOPIC(name, scope, of, meaning) {#name, SCOPE_##scope, of, meaning},
#include "topics.def"
#undef TOPIC
    {NULL, SCOPE_NONE, NULL, NULL},
};
#undef SCHEMA

/* ---- finding ---- */

/* By name, each where the hash of its name says or in the next free place;
 * made once, before main(), from the table itself. */
#define PLACES 256
_Static_assert(METHOD_COUNT < PLACES / 2, "places are mostly free");
static const struct method *places[PLACES];

static const struct method **
place_of(const char *name)
{
	const char *c;
	unsigned hash = 5381;

	for (c = name; *c != '\0'; c++)
		hash = hash * 33 + (unsigned char)*c;
	while (places[hash % PLACES] != NULL &&
	    strcmp(places[hash % PLACES]->name, name) != 0)
		hash++;
	return &places[hash % PLACES];
}

static void __attribute__((constructor)) place_methods(void)
{
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++)
		*place_of(methods[i].name) = &methods[i];
}

const struct method *
method_find(const char *name)
{
	return *place_of(name);
}

static const char *
method_name_at(size_t i, const void *arg)
{
	(void)arg;
	return i < METHOD_COUNT ? methods[i].name : NULL;
}

const char *
method_nearest(const char *typo)
{
	return nearest_word(typo, method_name_at, NULL);
}

/* ---- parameters ---- */

static const char *
param_name_at(size_t i, const void *params)
{
	return ((const struct param *)params)[i].name;
}

static size_t
count_params(const struct method *m)
{
	size_t n = 0;

	while (m->params[n].name != NULL)
		n++;
	return n;
}

static bool
has_param(const struct method *m, const char *name)
{
	const struct param *p;

	for (p = m->params; p->name != NULL; p++)
		if (strcmp(p->name, name) == 0)
			return true;
	return false;
}

static int
refuse_unknown(const struct method *m, const char *name, struct err *e)
{
	const char *nearest = nearest_word(name, param_name_at, m->params);

	err_set(e, ERR_PARAMS, "%s has no parameter '%.100s'", m->name, name);
	if (nearest != NULL)
		err_hint(e, "did you mean '%s'?", nearest);
	return err_subject(e, name);
}

static int
check_names(const struct method *m, const json_t *params, struct err *e)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)params, name, value)
		if (!has_param(m, name))
			return refuse_unknown(m, name, e);
	return 0;
}

static int
check_places(const struct method *m, const json_t *params, struct err *e)
{
	size_t most = count_params(m), n = json_array_size(params);

	if (n <= most)
		return 0;
	return err_set(e, ERR_PARAMS, "%s takes %zu parameter%s, not %zu",
	    m->name, most, most == 1 ? "" : "s", n);
}

static int
check_shape(const struct method *m, const json_t *params, struct err *e)
{
	if (params == NULL || json_is_null(params))
		return 0;
	if (json_is_object(params))
		return check_names(m, params, e);
	if (json_is_array(params))
		return check_places(m, params, e);
	return err_set(e, ERR_PARAMS, "params must be an object or an array");
}

/* What was sent for the i-th parameter, borrowed; NULL when nothing was.
 * null stands for nothing where that is allowed. */
static const json_t *
given_param(const json_t *params, const struct param *p, size_t i)
{
	const json_t *value;

	value = json_is_array(params) ? json_array_get(params, i)
				      : json_object_get(params, p->name);
	if (json_is_null(value) && !p->required && p->kind.type != TYPE_ANY)
		return NULL;
	return value;
}

/* New reference.  Objects are copied: a handler may add to its own. */
static json_t *
default_param(const struct method *m, size_t i)
{
	const struct param *p = &m->params[i];
	json_t **kept = &defaults[m - methods][i], *text;

	if (*kept == NULL) {
		text = json_string(p->fallback);
		*kept = type_check(&p->kind, p->name, text, NULL);
		json_decref(text);
	}
	return json_deep_copy(*kept);
}

static int
check_param(const struct method *m, size_t i, const json_t *params,
    json_t *checked, struct err *e)
{
	const struct param *p = &m->params[i];
	const json_t *given = given_param(params, p, i);
	json_t *value;

	if (given != NULL) {
		value = type_check(&p->kind, p->name, given, e);
	} else if (p->required) {
		err_set(e, ERR_PARAMS, "%s needs the parameter '%s'", m->name,
		    p->name);
		return err_subject(e, p->name);
	} else if (p->fallback != NULL) {
		value = default_param(m, i);
	} else {
		return 0;
	}
	if (value == NULL)
		return err_subject(e, p->name);
	return json_object_set_new_nocheck(checked, p->name, value);
}

/* Of methods that have no parameters: one for all calls. */
static json_t *
no_params(void)
{
	static json_t *none;

	if (none == NULL)
		none = json_object();
	return json_incref(none);
}

json_t *
method_check(const struct method *m, const json_t *params, struct err *e)
{
	json_t *checked;
	size_t i;

	if (check_shape(m, params, e) == -1)
		return NULL;
	if (m->params[0].name == NULL)
		return no_params();
	checked = json_object();
	for (i = 0; m->params[i].name != NULL; i++) {
		if (check_param(m, i, params, checked, e) == -1) {
			json_decref(checked);
			return NULL;
		}
	}
	return checked;
}

const struct param *
method_param(const struct method *m, const char *name)
{
	const struct param *p;

	for (p = m->params; p->name != NULL; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

/* ---- scopes ---- */

static const char *const scope_names[] = {
    [SCOPE_NONE] = "none",
    [SCOPE_OBSERVE] = "observe",
    [SCOPE_USER] = "user",
    [SCOPE_REGISTRAR] = "registrar",
    [SCOPE_ADMIN] = "admin",
};

const char *
scope_name(enum scope scope)
{
	return scope_names[scope];
}

bool
scope_find(const char *name, enum scope *scope)
{
	for (*scope = SCOPE_NONE; *scope <= SCOPE_ADMIN; (*scope)++)
		if (strcmp(scope_names[*scope], name) == 0)
			return true;
	return false;
}
