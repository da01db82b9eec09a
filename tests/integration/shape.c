#include "shape.h"

#include <stdio.h>
#include <string.h>

#include "method.h"

static char fault[4096];

static json_t *
document(void)
{
	static json_t *made;

	if (made == NULL)
		made = method_openrpc("");
	return made;
}

/* Behind "#/components/KIND/NAME". */
static json_t *
referred(json_t *schema)
{
	const char *path = json_string_value(json_object_get(schema, "$ref"));
	char kind[32] = "", name[64] = "";

	if (path == NULL)
		return schema;
	sscanf(path, "#/components/%31[^/]/%63s", kind, name);
	return json_object_get(
	    json_object_get(json_object_get(document(), "components"), kind),
	    name);
}

/* ---- a value ---- */

static bool fits(json_t *schema, json_t *value, const char *where);

static bool
wrong(const char *where, const char *what, const char *name)
{
	snprintf(fault, sizeof(fault), "%s: %s %s", where, what, name);
	return false;
}

static bool
is_called(const char *type, const json_t *value)
{
	static const struct {
		const char *name;
		json_type type;
	} types[] = {{"object", JSON_OBJECT}, {"array", JSON_ARRAY},
	    {"string", JSON_STRING}, {"integer", JSON_INTEGER},
	    {"number", JSON_INTEGER}, {"number", JSON_REAL},
	    {"boolean", JSON_TRUE}, {"boolean", JSON_FALSE},
	    {"null", JSON_NULL}};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i].type == json_typeof(value) &&
		    strcmp(types[i].name, type) == 0)
			return true;
	return false;
}

static bool
has_type(const json_t *type, const json_t *value)
{
	const json_t *one;
	size_t i;

	if (json_is_string(type))
		return is_called(json_string_value(type), value);
	json_array_foreach (type, i, one)
		if (is_called(json_string_value(one), value))
			return true;
	return type == NULL;
}

static bool
is_among(const json_t *words, json_t *value)
{
	json_t *word;
	size_t i;

	json_array_foreach (words, i, word)
		if (json_equal(word, value))
			return true;
	return words == NULL;
}

static bool
has_required(json_t *schema, json_t *object, const char *where)
{
	json_t *name;
	size_t i;

	json_array_foreach (json_object_get(schema, "required"), i, name)
		if (!json_object_get(object, json_string_value(name)))
			return wrong(
			    where, "there is no", json_string_value(name));
	return true;
}

/* Closed where members are told and nothing is said of others. */
static bool
members_fit(json_t *schema, json_t *object, const char *where)
{
	json_t *parts = json_object_get(schema, "properties"), *member, *part;
	json_t *others = json_object_get(schema, "additionalProperties");
	const char *name;
	char path[512];

	json_object_foreach (object, name, member) {
		part = json_object_get(parts, name);
		if (part == NULL && (part = others) == NULL && parts != NULL)
			return wrong(where, "nobody told of", name);
		snprintf(path, sizeof(path), "%s.%s", where, name);
		if (!fits(part, member, path))
			return false;
	}
	return has_required(schema, object, where);
}

static bool
items_fit(json_t *schema, json_t *array, const char *where)
{
	json_t *item;
	char path[512];
	size_t i;

	json_array_foreach (array, i, item) {
		snprintf(path, sizeof(path), "%s.%zu", where, i);
		if (!fits(json_object_get(schema, "items"), item, path))
			return false;
	}
	return true;
}

static bool
fits_one(json_t *schemas_, json_t *value, const char *where)
{
	json_t *schema;
	size_t i;

	json_array_foreach (schemas_, i, schema)
		if (fits(schema, value, where))
			return true;
	return schemas_ == NULL;
}

static bool
fits(json_t *schema, json_t *value, const char *where)
{
	schema = referred(schema);
	if (!has_type(json_object_get(schema, "type"), value))
		return wrong(where, "is of another type than", "told");
	if (!is_among(json_object_get(schema, "enum"), value))
		return wrong(where, "is none of", "the words told");
	return fits_one(json_object_get(schema, "anyOf"), value, where) &&
	    (!json_is_object(value) || members_fit(schema, value, where)) &&
	    (!json_is_array(value) || items_fit(schema, value, where));
}

static json_t *
shape_named(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "#/components/schemas/%s", name);
	return json_pack("{s:s}", "$ref", path);
}

static const char *
fault_by_name(const char *shape, json_t *value)
{
	json_t *schema = shape_named(shape);
	bool good = fits(schema, value, shape);

	json_decref(schema);
	return good ? NULL : fault;
}

/* ---- an answer ---- */

static json_t *
method_told(const char *name)
{
	json_t *method;
	size_t i;

	json_array_foreach (json_object_get(document(), "methods"), i, method)
		if (strcmp(json_string_value(json_object_get(method, "name")),
			name) == 0)
			return method;
	return NULL;
}

static const char *
error_fault(const json_t *method, json_t *error)
{
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(method, "errors"), i, one)
		if (json_integer_value(
			json_object_get(referred(one), "code")) == code)
			return fault_by_name("CallError", error);
	snprintf(
	    fault, sizeof(fault), "error %lld is not told", (long long)code);
	return fault;
}

const char *
answer_fault(const char *name, json_t *answer)
{
	json_t *method = method_told(name), *schema;
	json_t *result = json_object_get(answer, "result");

	if (method == NULL)
		return NULL;
	if (result == NULL)
		return error_fault(method, json_object_get(answer, "error"));
	schema = json_object_get(json_object_get(method, "result"), "schema");
	return fits(schema, result, "result") ? NULL : fault;
}

const char *
notification_fault(json_t *notification)
{
	const char *method =
	    json_string_value(json_object_get(notification, "method"));
	json_t *params = json_object_get(notification, "params");

	if (method != NULL && strcmp(method, "event") == 0)
		return fault_by_name("Event", params);
	if (method != NULL && strcmp(method, "log") == 0)
		return fault_by_name("LogNews", params);
	return NULL;
}
