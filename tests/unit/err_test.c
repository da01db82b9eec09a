/* Refusals: made once, carried whole to the other side. */
#include <string.h>

#include "check.h"
#include "err.h"

void
test_first_refusal_stands(void)
{
	struct err e = {0};

	check_int(err_set(&e, ERR_PARAMS, "first %d", 1), -1);
	err_set(&e, ERR_INTERNAL, "second");
	check_int(e.code, ERR_PARAMS);
	check_str(e.text, "first 1");
}

void
test_refusal_may_be_nobody_s(void)
{
	check_int(err_set(NULL, ERR_PARAMS, "x"), -1);
	check_int(err_hint(NULL, "x"), -1);
	check_int(err_subject(NULL, "x"), -1);
}

void
test_refusal_survives_the_wire(void)
{
	struct err e = {0}, back;
	json_t *json;

	err_set(&e, ERR_NO_RUNNER, "there is no runner wbe");
	err_hint(&e, "did you mean web?");
	err_subject(&e, "wbe");
	json = err_to_json(&e);
	check_int(json_integer_value(json_object_get(json, "code")), -32010);
	err_from_json(&back, json);
	check_int(back.code, ERR_NO_RUNNER);
	check_str(back.text, e.text);
	check_str(back.hint, e.hint);
	check_str(back.subject, e.subject);
	json_decref(json);
}

void
test_refusal_with_broken_bytes_is_still_json(void)
{
	struct err e = {0};
	json_t *json;

	err_set(&e, ERR_PARAMS, "'\xff\xfe' is not a name");
	json = err_to_json(&e);
	check_str(json_string_value(json_object_get(json, "message")),
	    "'\?\?' is not a name");
	json_decref(json);
}

void
test_foreign_error_objects_are_read(void)
{
	json_t *json = json_pack("{s:i, s:s}", "code", -1, "message", "boo");
	struct err e;

	err_from_json(&e, json);
	check_int(e.code, ERR_INTERNAL);
	check_str(e.text, "boo");
	json_decref(json);
}

void
test_every_code_has_its_own_number_and_name(void)
{
	enum err_code a, b;

	for (a = 1; a < ERR_COUNT; a++)
		for (b = 1; b < a; b++) {
			check(err_row(a)->number != err_row(b)->number);
			check(strcmp(err_row(a)->name, err_row(b)->name) != 0);
		}
}

/* Whoever writes a key where none belongs is not to find it in a log. */
void
test_a_key_that_is_quoted_is_masked(void)
{
	struct err e = {0};

	err_set(&e, ERR_PARAMS, "'hero_abcdefgh_%s' is no name of a %s, hero_x",
	    "abcdefghijklmnopqrstuvwxyz234567", "hero_job_runner");
	check_str(e.text,
	    "'hero_abcdefgh_...' is no name of a hero_job_runner, hero_x");
	err_hint(&e, "hero_abcdefgh_ab");
	check_str(e.hint, "hero_abcdefgh_..");
	err_subject(&e, "hero_abcdefgh_abcdefgh");
	check_str(e.subject, "hero_abcdefgh_...");
}
