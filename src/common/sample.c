#include "sample.h"

#include <stdbool.h>
#include <string.h>

/* The schema itself: behind references, and the first of alternatives. */
static const json_t *
meant(const json_t *all, const json_t *schema)
{
	const char *path;
	json_t *either;

	for (;;) {
		path = json_string_value(json_object_get(schema, "$ref"));
		either = json_object_get(schema, "anyOf");
		if (path != NULL)
			schema = json_object_get(all, strrchr(path, '/') + 1);
		else if (either != NULL)
			schema = json_array_get(either, 0);
		else
			return schema;
	}
}

static bool
is_of(const json_t *type, const char *name)
{
	const json_t *word;
	size_t i;

	json_array_foreach (type, i, word)
		if (strcmp(json_string_value(word), name) == 0)
			return true;
	return json_is_string(type) &&
	    strcmp(json_string_value(type), name) == 0;
}

/* Nothing, be it null, 0, or empty. */
static json_t *
nothing(const json_t *schema)
{
	const json_t *type = json_object_get(schema, "type");

	if (json_object_get(schema, "format") != NULL)
		return json_string("2026-11-22T20:33:43.123456Z");
	if (is_of(type, "null"))
		return json_null();
	if (is_of(type, "integer") || is_of(type, "number"))
		return json_integer(0);
	if (is_of(type, "boolean"))
		return json_false();
	if (is_of(type, "array"))
		return json_array();
	return is_of(type, "object") ? json_object() : json_string("");
}

/* What the schema itself gives as an example, or the first of its words. */
static json_t *
sample(const json_t *schema)
{
	json_t *given = json_object_get(schema, "examples");

	if (given == NULL)
		given = json_object_get(schema, "enum");
	return given ? json_deep_copy(json_array_get(given, 0))
		     : nothing(schema);
}

static void
add_missing(const json_t *all, const json_t *schema, json_t *value)
{
	json_t *parts = json_object_get(schema, "properties"), *part, *name;
	const char *key;
	size_t i;

	json_array_foreach (json_object_get(schema, "required"), i, name) {
		key = json_string_value(name);
		part = json_object_get(parts, key);
		if (json_object_get(value, key) == NULL)
			json_object_set_new(
			    value, key, sample(meant(all, part)));
	}
}

static void
fill_object(const json_t *all, const json_t *schema, json_t *value)
{
	json_t *others = json_object_get(schema, "additionalProperties");
	json_t *member, *part;
	const char *key;

	add_missing(all, schema, value);
	json_object_foreach (value, key, member) {
		part =
		    json_object_get(json_object_get(schema, "properties"), key);
		sample_fill(all, part ? part : others, member);
	}
}

void
sample_fill(const json_t *all, const json_t *schema, json_t *value)
{
	json_t *items, *item;
	size_t i;

	schema = meant(all, schema);
	items = json_object_get(schema, "items");
	json_array_foreach (value, i, item)
		sample_fill(all, items, item);
	if (json_is_object(value))
		fill_object(all, schema, value);
}
