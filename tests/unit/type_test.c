/* Kinds of value: text and JSON come out the same, or are refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "type.h"

/* Canonical JSON text of a value of a kind, or "!" and the refusal. */
static const char *
reading(enum type type, const char *limits, json_t *stolen)
{
	static char out[1024];
	struct kind k = {type, limits};
	struct err e = {0};
	json_t *canonical = type_check(&k, "x", stolen, &e);
	char *text;

	json_decref(stolen);
	if (canonical == NULL) {
		check(err_is_set(&e));
		strcpy(out, "!");
		strcat(out, e.text);
		return out;
	}
	text = json_dumps(
	    canonical, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	strcpy(out, text);
	free(text);
	json_decref(canonical);
	return out;
}

static const char *
text(enum type type, const char *limits, const char *value)
{
	return reading(type, limits, json_string(value));
}

static const char *
json(enum type type, const char *limits, const char *value)
{
	return reading(type, limits, json_loads(value, JSON_DECODE_ANY, NULL));
}

void
test_durations_take_units(void)
{
	check_str(text(TYPE_DURATION, NULL, "10s"), "10.0");
	check_str(text(TYPE_DURATION, NULL, "1h30m"), "5400.0");
	check_str(text(TYPE_DURATION, NULL, "250ms"), "0.25");
	check_str(text(TYPE_DURATION, NULL, "1.5"), "1.5");
	check_str(json(TYPE_DURATION, NULL, "7"), "7.0");
	check_str(text(TYPE_DURATION, NULL, "soon"),
	    "!x: 'soon' is not a duration such as 10s, 5m or 1h30m");
	check_str(text(TYPE_DURATION, NULL, "10 parsecs"),
	    "!x: '10 parsecs' is not a duration such as 10s, 5m or 1h30m");
	check_str(
	    text(TYPE_DURATION, "0..60", "2m"), "!x: 120 is not within 0..60");
	check_has(text(TYPE_DURATION, NULL, "0x10"), "!");
	check_has(text(TYPE_DURATION, NULL, "inf"), "!");
	check_has(text(TYPE_DURATION, NULL, "nan"), "!");
	check_has(text(TYPE_DURATION, NULL, ""), "!");
	check_has(text(TYPE_DURATION, NULL, "-"), "!");
	check_has(json(TYPE_DURATION, NULL, "[1]"), "!x: [1] is not");
}

void
test_sizes_are_powers_of_1024(void)
{
	check_str(text(TYPE_SIZE, NULL, "50MB"), "52428800");
	check_str(text(TYPE_SIZE, NULL, "1MiB"), "1048576");
	check_str(text(TYPE_SIZE, NULL, "64kib"), "65536");
	check_str(text(TYPE_SIZE, NULL, "10"), "10");
	check_str(
	    json(TYPE_SIZE, NULL, "9007199254740993"), "9007199254740993");
	check_has(text(TYPE_SIZE, NULL, "1.5"), "!");
	check_has(text(TYPE_SIZE, NULL, "lots"), "!x: 'lots' is not a size");
}

void
test_limits_are_sizes_or_none(void)
{
	struct kind limit = {TYPE_LIMIT, "-1.."};
	json_t *value = json_string("unlimited"), *back;
	long long field = 0;

	check_str(text(TYPE_LIMIT, "-1..", "64MB"), "67108864");
	check_str(json(TYPE_LIMIT, "-1..", "5"), "5");
	check_str(text(TYPE_LIMIT, "-1..", "Infinity"), "\"unlimited\"");
	check_str(json(TYPE_LIMIT, "-1..", "-2"), "!x: -2 is not within -1..");
	check_str(text(TYPE_LIMIT, "-1..", "much"),
	    "!x: 'much' is not a number or a size such as 64MB, or unlimited");
	type_store(&limit, &field, value);
	check(field == LIMIT_NONE);
	back = type_fetch(&limit, &field);
	check(json_equal(back, value));
	json_decref(back);
	json_decref(value);
}

void
test_counts_are_whole(void)
{
	check_str(text(TYPE_COUNT, "1..5", "3"), "3");
	check_str(json(TYPE_COUNT, "1..5", "6"), "!x: 6 is not within 1..5");
	check_str(json(TYPE_COUNT, "-1..", "-2"), "!x: -2 is not within -1..");
	check_has(json(TYPE_COUNT, NULL, "1.5"), "!");
	check_has(text(TYPE_COUNT, NULL, "3s"), "!");
	check_has(json(TYPE_COUNT, NULL, "true"), "!");
	check_has(json(TYPE_COUNT, NULL, "null"), "!");
}

void
test_choices_take_aliases_and_name_what_is_wanted(void)
{
	const char *limits = "always=true|on-failure=unexpected|never=false";

	check_str(text(TYPE_ENUM, limits, "always"), "\"always\"");
	check_str(text(TYPE_ENUM, limits, "unexpected"), "\"on-failure\"");
	check_str(json(TYPE_ENUM, limits, "false"), "\"never\"");
	check_str(text(TYPE_ENUM, limits, "sometimes"),
	    "!x: 'sometimes' is not always, on-failure or never");
	check_has(json(TYPE_ENUM, limits, "1"), "!");
}

void
test_booleans_take_words(void)
{
	check_str(text(TYPE_BOOL, NULL, "Yes"), "true");
	check_str(text(TYPE_BOOL, NULL, "off"), "false");
	check_str(json(TYPE_BOOL, NULL, "true"), "true");
	check_str(
	    text(TYPE_BOOL, NULL, "maybe"), "!x: 'maybe' is not true or false");
	check_has(json(TYPE_BOOL, NULL, "1"), "!");
}

void
test_signals_and_codes_are_lists(void)
{
	check_str(text(TYPE_SIGNALS, NULL, "TERM,SIGQUIT 9"),
	    "[\"TERM\",\"QUIT\",\"KILL\"]");
	check_str(
	    json(TYPE_SIGNALS, NULL, "[15, \"INT\"]"), "[\"TERM\",\"INT\"]");
	check_has(text(TYPE_SIGNALS, NULL, "TERM,NOPE"), "!x: ");
	check_str(text(TYPE_CODES, NULL, "0,2"), "[0,2]");
	check_str(json(TYPE_CODES, NULL, "3"), "[3]");
	check_has(text(TYPE_CODES, NULL, "256"), "!");
	check_has(
	    json(TYPE_CODES, NULL, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"), "!");
}

void
test_commands_are_words_or_arrays(void)
{
	check_str(
	    text(TYPE_ARGV, NULL, "tr a-z 'A Z'"), "[\"tr\",\"a-z\",\"A Z\"]");
	check_str(json(TYPE_ARGV, NULL, "[\"echo\", \"\"]"), "[\"echo\",\"\"]");
	check_str(
	    text(TYPE_ARGV, NULL, "echo 'x"), "!x: a quote is not closed");
	check_has(text(TYPE_ARGV, NULL, "  "), "!");
	check_has(json(TYPE_ARGV, NULL, "[]"), "!");
	check_has(json(TYPE_ARGV, NULL, "[\"\"]"), "!");
	check_has(json(TYPE_ARGV, NULL, "[1]"), "!");
	check_has(json(TYPE_ARGV, NULL, "{}"), "!");
}

void
test_maps_are_pairs(void)
{
	check_str(text(TYPE_MAP, NULL, "A=\"x, y\",B=z, C=''"),
	    "{\"A\":\"x, y\",\"B\":\"z\",\"C\":\"\"}");
	check_str(json(TYPE_MAP, NULL, "{\"A\": \"1\"}"), "{\"A\":\"1\"}");
	check_str(text(TYPE_MAP, NULL, ""), "{}");
	check_has(text(TYPE_MAP, NULL, "A"), "!");
	check_has(text(TYPE_MAP, NULL, "A=\"x"), "!");
	check_has(text(TYPE_MAP, NULL, "1A=x"), "!");
	check_has(json(TYPE_MAP, NULL, "{\"A\": 1}"), "!");
	check_has(json(TYPE_MAP, NULL, "{\"A=B\": \"1\"}"), "!");
}

void
test_modes_are_octal(void)
{
	check_str(text(TYPE_OCTAL, NULL, "22"), "\"022\"");
	check_str(text(TYPE_OCTAL, NULL, "0077"), "\"077\"");
	check_has(text(TYPE_OCTAL, NULL, "99"), "!");
	check_has(text(TYPE_OCTAL, NULL, "1777"), "!");
	check_has(text(TYPE_OCTAL, NULL, ""), "!");
}

void
test_addresses_are_told_apart_from_typos(void)
{
	check_str(text(TYPE_ADDRESSES, NULL, "unix:/tmp/a tcp:127.0.0.1:1"),
	    "[\"unix:/tmp/a\",\"tcp:127.0.0.1:1\"]");
	check_has(text(TYPE_ADDRESSES, NULL, "udp:127.0.0.1:1"), "!x: ");
}

void
test_origins_are_those_that_browsers_send(void)
{
	check_str(text(TYPE_ORIGINS, NULL,
		      "https://ops.example.org http://10.0.0.1:8080"),
	    "[\"https://ops.example.org\",\"http://10.0.0.1:8080\"]");
	check_str(text(TYPE_ORIGINS, NULL, "HTTPS://Ops.example.org:443"),
	    "[\"https://ops.example.org\"]");
	check_str(text(TYPE_ORIGINS, NULL, "http://[::1]:80,http://a:443"),
	    "[\"http://[::1]\",\"http://a:443\"]");
	check_has(text(TYPE_ORIGINS, NULL, "*"),
	    "!x: '*' would let every page of the web ask");
	check_has(text(TYPE_ORIGINS, NULL, "https://a *"), "every page");
	check_has(text(TYPE_ORIGINS, NULL, "null"), "!x: 'null' is the origin");
	check_has(text(TYPE_ORIGINS, NULL, "https://ops.example.org/"),
	    "without a path");
	check_has(text(TYPE_ORIGINS, NULL, "ops.example.org"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://*.example.org"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://a:"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://a:99999"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://a:080"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://[::1"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "https://u@a"), "!x: ");
	check_has(text(TYPE_ORIGINS, NULL, "ftp://a"), "!x: ");
}

/* Through a C field and back. */
static void
check_field(enum type type, const char *limits, void *field, const char *value)
{
	struct kind k = {type, limits};
	json_t *given = json_loads(value, JSON_DECODE_ANY, NULL), *canonical,
	       *back;

	canonical = type_check(&k, "x", given, NULL);
	check(canonical != NULL);
	type_store(&k, field, canonical);
	back = type_fetch(&k, field);
	check(json_equal(back, canonical));
	type_clear(&k, field);
	json_decref(back);
	json_decref(canonical);
	json_decref(given);
}

void
test_fields_give_back_what_they_were_given(void)
{
	struct ints ints = {0};
	char *string = NULL, **list = NULL;
	long long count = 0;
	double number = 0;
	json_t *any = NULL;
	bool boolean = false;
	int word = 0;

	check_field(TYPE_STRING, NULL, &string, "\"x\"");
	check_field(TYPE_BOOL, NULL, &boolean, "true");
	check_field(TYPE_COUNT, NULL, &count, "-5");
	check_field(TYPE_DURATION, NULL, &number, "1.25");
	check_field(TYPE_SIGNALS, NULL, &ints, "[\"HUP\"]");
	check_field(TYPE_CODES, NULL, &ints, "[0, 7]");
	check_field(TYPE_ARGV, NULL, &list, "[\"a\", \"b c\"]");
	check_field(TYPE_MAP, NULL, &list, "{\"A\": \"b=c\"}");
	check_field(TYPE_ENUM, "a|b=c", &word, "\"b\"");
	check_field(TYPE_OCTAL, NULL, &word, "\"027\"");
	check_field(TYPE_OBJECT, NULL, &any, "{\"a\": [1]}");
	check_field(TYPE_ARRAY, NULL, &any, "[1, {\"a\": 2}]");
	check(string == NULL && list == NULL && any == NULL);
}
