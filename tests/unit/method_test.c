/* The table of methods: parameters, defaults, and the OpenRPC document. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "method.h"

/* The checked parameters as text, or "!" and the refusal with its hint. */
static const char *
checked(const char *method, const char *params)
{
	static char buf[1100];
	json_t *given = params ? json_loads(params, 0, NULL) : NULL, *got;
	struct err e = {0};
	char *text;

	check(params == NULL || given != NULL);
	got = method_check(method_find(method), given, &e);
	json_decref(given);
	if (got == NULL) {
		check_int(e.code, ERR_PARAMS);
		snprintf(buf, sizeof(buf), "!%s %s", e.text, e.hint);
		return buf;
	}
	text = json_dumps(got, JSON_COMPACT);
	snprintf(buf, sizeof(buf), "%s", text);
	free(text);
	json_decref(got);
	return buf;
}

void
test_parameters_go_by_name_or_by_position(void)
{
	static const char all[] =
	    "{\"name\":\"a\",\"wait\":false,\"timeout\":5.0}";

	check_str(checked("start_runner",
		      "{\"name\":\"a\",\"wait\":false,\"timeout\":5}"),
	    all);
	check_str(checked("start_runner", "[\"a\",false,5]"), all);
	check_str(checked("start_runner", "[\"a\",\"no\",\"5s\"]"), all);
	check_str(checked("start_runner",
		      "{\"timeout\":\"5s\",\"wait\":false,\"name\":\"a\"}"),
	    all);
}

void
test_defaults_are_filled_in_and_null_means_absent(void)
{
	static const char all[] =
	    "{\"name\":\"a\",\"wait\":true,\"timeout\":60.0}";

	check_str(checked("start_runner", "[\"a\"]"), all);
	check_str(checked("start_runner", "[\"a\",null,null]"), all);
	check_str(
	    checked("start_runner", "{\"name\":\"a\",\"wait\":null}"), all);
	check_str(checked("jobs.list", NULL), "{\"limit\":100}");
	check_str(checked("ping", NULL), "{}");
}

void
test_wrong_parameters_are_refused_with_a_sentence(void)
{
	check_has(checked("start_runner", "{\"naem\":\"a\"}"),
	    "!start_runner has no parameter 'naem' did you mean 'name'?");
	check_has(checked("start_runner", "{}"),
	    "!start_runner needs the parameter 'name'");
	check_has(checked("start_runner", "[]"), "needs the parameter 'name'");
	check_has(checked("start_runner", NULL), "needs the parameter 'name'");
	check_has(checked("start_runner", "[null]"), "!name: ");
	check_has(checked("start_runner", "[\"a/b\"]"), "!name: ");
	check_has(checked("start_runner", "[\"a\",\"perhaps\"]"), "!wait: ");
	check_has(checked("start_runner", "[\"a\",true,-1]"), "!timeout: ");
	check_has(checked("start_runner", "[\"a\",true,1,2]"),
	    "takes 3 parameters, not 4");
	check_has(checked("ping", "[1]"), "takes 0 parameters, not 1");
	check_has(checked("queue_job_to_runner", "[\"a\",1]"), "!job: ");
	check_has(
	    checked("get_runner_logs", "[\"a\",10,\"stdoot\"]"), "!stream: ");
}

void
test_a_default_object_is_not_shared_between_calls(void)
{
	const struct method *m = method_find("queue_job_to_runner");
	json_t *params = json_pack("[s]", "a"), *one, *two;

	one = method_check(m, params, NULL);
	json_object_set_new(json_object_get(one, "job"), "x", json_true());
	two = method_check(m, params, NULL);
	check_int((long long)json_object_size(json_object_get(two, "job")), 0);
	json_decref(one);
	json_decref(two);
	json_decref(params);
}

void
test_every_method_is_found_and_nothing_else(void)
{
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++)
		check(method_find(methods[i].name) == &methods[i]);
	check(method_find("") == NULL);
	check(method_find("zzz") == NULL);
	check(method_find("pin") == NULL);
	check(method_find("ping ") == NULL);
	check_str(method_nearest("get_runer_status"), "get_runner_status");
}

void
test_every_example_is_a_valid_call(void)
{
	json_t *params, *result, *got;
	struct err e = {0};
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++) {
		params = json_loads(methods[i].example_params, 0, NULL);
		result = json_loads(
		    methods[i].example_result, JSON_DECODE_ANY, NULL);
		check(params != NULL);
		check(result != NULL);
		got = method_check(&methods[i], params, &e);
		if (got == NULL)
			check_fail(__FILE__, __LINE__, "%s: %s",
			    methods[i].name, e.text);
		json_decref(got);
		json_decref(params);
		json_decref(result);
	}
}

void
test_every_default_is_of_its_kind(void)
{
	const struct param *p;
	struct err e = {0};
	json_t *text, *value;
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++) {
		for (p = methods[i].params; p->name; p++) {
			check(!(p->required && p->fallback));
			check(p->meaning != NULL);
			if (p->fallback == NULL)
				continue;
			text = json_string(p->fallback);
			value = type_check(&p->kind, p->name, text, &e);
			check(value != NULL);
			json_decref(value);
			json_decref(text);
		}
	}
}

/* ---- OpenRPC ---- */

static json_t *
at(const json_t *document, const char *reference)
{
	char *path = xstrdup(reference), *word, *rest = path + 2;
	const json_t *value = document;

	check(strncmp(reference, "#/", 2) == 0);
	while ((word = strsep(&rest, "/")) != NULL)
		value = json_object_get(value, word);
	free(path);
	return (json_t *)value;
}

static void
check_schema(const json_t *document, const json_t *schema, const char *where)
{
	const char *ref = json_string_value(json_object_get(schema, "$ref"));
	const char *name;
	json_t *part;
	size_t i;

	printf("%s\n", where);
	check(json_is_object(schema));
	if (ref != NULL) {
		check_int((long long)json_object_size(schema), 1);
		check(at(document, ref) != NULL);
		return;
	}
	check(json_is_string(json_object_get(schema, "title")));
	json_object_foreach (json_object_get(schema, "properties"), name, part)
		check_schema(document, part, name);
	json_array_foreach (json_object_get(schema, "anyOf"), i, part)
		check_schema(document, part, "anyOf");
	part = json_object_get(schema, "items");
	if (part != NULL)
		check_schema(document, part, "items");
	part = json_object_get(schema, "additionalProperties");
	if (part != NULL && !json_is_boolean(part))
		check_schema(document, part, "additionalProperties");
}

/* The name of a type that generators make of a title or a method's name. */
static void
check_new_type(json_t *types, const char *name)
{
	char type[256], *end = type;

	printf("%s\n", name);
	check(strlen(name) < sizeof(type));
	for (; *name != '\0'; name++)
		if (isalnum((unsigned char)*name))
			*end++ = (char)tolower((unsigned char)*name);
	*end = '\0';
	check(json_object_get(types, type) == NULL);
	json_object_set_new(types, type, json_true());
}

static void
check_types(json_t *types, const json_t *value)
{
	const json_t *title = json_object_get(value, "title");
	const char *name;
	json_t *part;
	size_t i;

	if (json_is_string(title) && !json_object_get(value, "version"))
		check_new_type(types, json_string_value(title));
	json_object_foreach ((json_t *)value, name, part)
		check_types(types, part);
	json_array_foreach (value, i, part)
		check_types(types, part);
}

static void
check_method(const json_t *document, const json_t *method)
{
	json_t *params = json_object_get(method, "params"), *param, *error;
	json_t *example;
	size_t i;

	check(json_is_string(json_object_get(method, "summary")));
	check(json_is_string(json_object_get(method, "x-scope")));
	json_array_foreach (params, i, param)
		check_schema(document, json_object_get(param, "schema"),
		    json_string_value(json_object_get(param, "name")));
	check_schema(document,
	    json_object_get(json_object_get(method, "result"), "schema"),
	    "result");
	check_int(
	    (long long)json_array_size(json_object_get(method, "examples")), 1);
	example = json_array_get(json_object_get(method, "examples"), 0);
	check(json_is_array(json_object_get(example, "params")));
	check(json_object_get(json_object_get(example, "result"), "value"));
	json_array_foreach (json_object_get(method, "errors"), i, error)
		check(at(document,
			  json_string_value(json_object_get(error, "$ref"))) !=
		    NULL);
}

void
test_the_openrpc_document_is_whole(void)
{
	json_t *document = method_openrpc("1.2.3"), *methods_, *part;
	const char *name;
	size_t i;

	check_str(
	    json_string_value(json_object_get(document, "openrpc")), "1.3.2");
	methods_ = json_object_get(document, "methods");
	check_int((long long)json_array_size(methods_), METHOD_COUNT);
	json_array_foreach (methods_, i, part)
		check_method(document, part);
	json_object_foreach (at(document, "#/components/schemas"), name, part)
		check_schema(document, part, name);
	check(at(document,
		  "#/components/schemas/RunnerSettings/properties/"
		  "command") != NULL);
	check(at(document,
		  "#/components/schemas/JobSettings/properties/"
		  "payload") != NULL);
	check_int(json_integer_value(
		      at(document, "#/components/errors/forbidden/code")),
	    -32002);
	json_decref(document);
}

void
test_no_two_types_of_the_openrpc_document_have_one_name(void)
{
	json_t *document = method_openrpc("1.2.3"), *types = json_object();
	size_t i;

	for (i = 0; i < METHOD_COUNT; i++)
		check_new_type(types, methods[i].name);
	check_types(types, document);
	json_decref(types);
	json_decref(document);
}
