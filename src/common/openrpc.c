/*
 * The OpenRPC 1.3.2 document (https://spec.open-rpc.org) of the tables:
 * methods.def, schemas.def, errors.def and those of settings.
 */
#include "method.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "sample.h"
#include "settings.h"

/* A text of our tables; a test reads them all. */
static json_t *
parse(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert(value != NULL);
	return value;
}

static void
put(json_t *object, const char *name, const char *text)
{
	json_object_set_new(object, name, json_string(text));
}

/* ---- schemas ---- */

static const struct schema *
schema_find(const char *name, size_t len)
{
	const struct schema *s;

	for (s = schemas; s->name != NULL; s++)
		if (strlen(s->name) == len && memcmp(s->name, name, len) == 0)
			return s;
	return NULL;
}

static json_t *
reference(const char *place, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "#/components/%s/%s", place, name);
	return json_pack("{ss}", "$ref", path);
}

static void
complete_reference(json_t *schema)
{
	const char *name = json_string_value(json_object_get(schema, "$ref"));
	json_t *whole = reference("schemas", name + strcspn(name, "#") + 1);

	json_object_update(schema, whole);
	json_decref(whole);
}

/* Into properties; a set of names is kept in required. */
static void
take_member(
    json_t *properties, json_t *required, const char *name, json_t *part)
{
	size_t len = strlen(name);
	bool optional = name[len - 1] == '?';
	char *plain = xstrndup(name, len - optional);

	json_object_set(properties, plain, part);
	if (optional)
		json_object_del(required, plain);
	else
		json_object_set_new(required, plain, json_true());
	free(plain);
}

/* Those that it extends come first; its own may say more of one of them. */
static void
take_members(const json_t *schema, json_t *properties, json_t *required)
{
	const char *base =
	    json_string_value(json_object_get(schema, "extends"));
	json_t *part, *other = NULL;
	const char *name;

	if (base != NULL) {
		other = parse(schema_find(base, strlen(base))->text);
		take_members(other, properties, required);
	}
	json_object_foreach (json_object_get(schema, "properties"), name, part)
		take_member(properties, required, name, part);
	json_decref(other);
}

static json_t *
names_of(const json_t *set)
{
	json_t *names = json_array(), *value;
	const char *name;

	json_object_foreach ((json_t *)(uintptr_t)set, name, value)
		json_array_append_new(names, json_string(name));
	return names;
}

/* What only schemas.def knows, "name?" and extends, in words of JSON Schema. */
static void
spell_members(json_t *schema)
{
	json_t *properties = json_object(), *required = json_object();

	take_members(schema, properties, required);
	json_object_del(schema, "extends");
	json_object_set_new(schema, "properties", properties);
	if (json_object_size(required) > 0)
		json_object_set_new(schema, "required", names_of(required));
	json_decref(required);
}

/*
 * "#Name" becomes a whole reference; everything else gets a title, that of a
 * part with its owner's before it.  Generators of clients make types of
 * titles, so no two shapes may have the same.
 */
static void complete(json_t *schema, const char *title);

static void
complete_part(json_t *part, const char *owner, const char *name)
{
	char title[256];

	if (!json_is_object(part))
		return;
	snprintf(title, sizeof(title), "%s_%s", owner, name);
	complete(part, title);
}

static void
complete(json_t *schema, const char *title)
{
	const char *name;
	json_t *part;
	size_t i;

	if (json_object_get(schema, "$ref") != NULL) {
		complete_reference(schema);
		return;
	}
	put(schema, "title", title);
	if (json_object_get(schema, "properties") != NULL)
		spell_members(schema);
	json_object_foreach (json_object_get(schema, "properties"), name, part)
		complete_part(part, title, name);
	json_array_foreach (json_object_get(schema, "anyOf"), i, part)
		complete_part(part, title, "either");
	complete_part(json_object_get(schema, "items"), title, "item");
	complete_part(
	    json_object_get(schema, "additionalProperties"), title, "value");
}

/* "Name" of schemas.def or a JSON type; still to be completed. */
static json_t *
named_schema(const char *name, size_t len)
{
	const struct schema *s = schema_find(name, len);

	if (s != NULL)
		return json_pack("{s:s+}", "$ref", "#", s->name);
	return json_pack("{s:s%}", "type", name, len);
}

/* The result column of methods.def: also "[Name]". */
static json_t *
result_schema(const struct method *m)
{
	size_t len = strlen(m->result);
	json_t *schema;

	if (*m->result != '[')
		schema = named_schema(m->result, len);
	else
		schema = json_pack("{s:s, s:o}", "type", "array", "items",
		    named_schema(m->result + 1, len - 2));
	complete_part(schema, m->name, "result");
	return schema;
}

/* The canonical form of a default, or NULL. */
static json_t *
default_value(const struct kind *kind, const char *name, const char *text)
{
	json_t *value, *canonical;

	if (text == NULL)
		return NULL;
	value = json_string(text);
	canonical = type_check(kind, name, value, NULL);
	json_decref(value);
	return canonical;
}

static json_t *
value_schema(const char *owner, const struct kind *kind, const char *name,
    const char *fallback)
{
	json_t *schema = type_schema(kind);
	json_t *value = default_value(kind, name, fallback);

	if (value != NULL)
		json_object_set_new(schema, "default", value);
	complete_part(schema, owner, name);
	return schema;
}

static json_t *
settings_schema(const struct setting *table, const char *title)
{
	json_t *properties = json_object(), *schema;
	const struct setting *s;

	for (s = table; s->name != NULL; s++) {
		if (setting_is_group(s))
			continue;
		schema = value_schema(title, &s->kind, s->name, s->fallback);
		put(schema, "description", s->meaning);
		json_object_set_new(properties, s->name, schema);
	}
	return json_pack("{s:s, s:s, s:o, s:b}", "title", title, "type",
	    "object", "properties", properties, "additionalProperties", 0);
}

static json_t *
all_schemas(void)
{
	json_t *all = json_object(), *schema;
	const struct schema *s;

	for (s = schemas; s->name != NULL; s++) {
		schema = parse(s->text);
		complete(schema, s->name);
		json_object_set_new(all, s->name, schema);
	}
	json_object_set_new(all, "RunnerSettings",
	    settings_schema(runner_settings, "RunnerSettings"));
	json_object_set_new(
	    all, "JobSettings", settings_schema(job_settings, "JobSettings"));
	return all;
}

/* ---- errors ---- */

static json_t *
all_errors(void)
{
	json_t *all = json_object();
	const struct err_row *row;
	int code;

	for (code = ERR_NONE + 1; code < ERR_COUNT; code++) {
		row = err_row(code);
		json_object_set_new(all, row->name,
		    json_pack("{s:i, s:s, s:{s:s, s:b}}", "code", row->number,
			"message", row->meaning, "data", "name", row->name,
			"retryable", row->retryable));
	}
	return all;
}

static void
add_error(json_t *errors, enum err_code code)
{
	json_array_append_new(errors, reference("errors", err_row(code)->name));
}

/* Of whatever is asked: a secret may be a wrong one, an answer too long, and
 * who waits for one may see herod give way to the next. */
static const enum err_code of_all[] = {ERR_PARAMS, ERR_INTERNAL,
    ERR_UNAUTHORIZED, ERR_TOO_LARGE, ERR_TOO_MANY, ERR_MADE_WAY};

/* A method without a scope has nothing that is forbidden. */
static json_t *
method_errors(const struct method *m)
{
	json_t *errors = json_array();
	char name[64];
	const char *s;
	size_t i, len;

	for (i = 0; i < sizeof(of_all) / sizeof(*of_all); i++)
		add_error(errors, of_all[i]);
	if (m->scope > SCOPE_NONE)
		add_error(errors, ERR_FORBIDDEN);
	for (s = m->errors; *s; s += len + strspn(s + len, " ")) {
		len = strcspn(s, " ");
		snprintf(name, sizeof(name), "%.*s", (int)len, s);
		json_array_append_new(errors, reference("errors", name));
	}
	return errors;
}

/* ---- methods ---- */

static json_t *
param_descriptor(const struct method *m, const struct param *p)
{
	return json_pack("{s:s, s:s, s:b, s:o}", "name", p->name, "summary",
	    p->meaning, "required", p->required, "schema",
	    value_schema(m->name, &p->kind, p->name, p->fallback));
}

static json_t *
method_params(const struct method *m)
{
	json_t *params = json_array();
	const struct param *p;

	for (p = m->params; p->name != NULL; p++)
		json_array_append_new(params, param_descriptor(m, p));
	return params;
}

/* result: its schema. */
static json_t *
method_example(
    const struct method *m, const json_t *shapes, const json_t *result)
{
	json_t *given = parse(m->example_params), *params = json_array();
	json_t *value, *answer = parse(m->example_result);
	const char *name;

	json_object_foreach (given, name, value)
		json_array_append_new(params,
		    json_pack("{s:s, s:O}", "name", name, "value", value));
	json_decref(given);
	sample_fill(shapes, result, answer);
	return json_pack("{s:s, s:o, s:{s:s, s:o}}", "name", m->name, "params",
	    params, "result", "name", "result", "value", answer);
}

static json_t *
method_object(const struct method *m, const json_t *shapes)
{
	json_t *o = json_object(), *result = result_schema(m);

	put(o, "name", m->name);
	put(o, "summary", m->summary);
	put(o, "paramStructure", "either");
	json_object_set_new(o, "params", method_params(m));
	json_object_set_new(o, "result",
	    json_pack("{s:s, s:o}", "name", "result", "schema", result));
	json_object_set_new(o, "errors", method_errors(m));
	json_object_set_new(
	    o, "examples", json_pack("[o]", method_example(m, shapes, result)));
	put(o, "x-scope", scope_name(m->scope));
	return o;
}

static json_t *
all_methods(const json_t *shapes)
{
	json_t *all = json_array();
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++)
		json_array_append_new(all, method_object(&methods[i], shapes));
	return all;
}

json_t *
method_openrpc(const char *version)
{
	json_t *shapes = all_schemas(), *list = all_methods(shapes);

	return json_pack("{s:s, s:{s:s, s:s, s:s, s:{s:s}}, s:o, "
			 "s:{s:o, s:o}}",
	    "openrpc", "1.3.2", "info", "title", "herod", "description",
	    "Runs programs, hands them jobs and answers", "version", version,
	    "license", "name", "ISC", "methods", list, "components", "schemas",
	    shapes, "errors", all_errors());
}
