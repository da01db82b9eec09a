/* Structs of settings: defaults, all or nothing, round trip. */
#include <string.h>

#include "check.h"
#include "settings.h"

static struct runner_conf
defaults(void)
{
	struct runner_conf c = {0};

	settings_init(runner_settings, &c);
	return c;
}

void
test_settings_begin_with_their_defaults(void)
{
	struct runner_conf c = defaults();

	check(c.autostart);
	check(c.startsecs == 1.0);
	check_int(c.startretries, 3);
	check_int(c.stopsignal.v[0], 15);
	check_int(c.umask, 022);
	check_int(c.stdout_logfile_maxbytes, 50 * 1024 * 1024);
	check(c.command == NULL);
	settings_clear(runner_settings, &c);
}

void
test_every_default_is_a_legal_value(void)
{
	const struct setting *const tables[] = {
	    runner_settings, daemon_settings, job_settings, schedule_settings};
	const struct setting *s;
	struct err e = {0};
	json_t *text, *value;
	size_t i;

	for (i = 0; i < 4; i++)
		for (s = tables[i]; s->name; s++) {
			if (setting_is_group(s) || s->fallback == NULL)
				continue;
			text = json_string(s->fallback);
			value = type_check(&s->kind, s->name, text, &e);
			check_str(e.text, "");
			check(value != NULL);
			/* Or all who have it would share one. */
			check(s->kind.type != TYPE_OBJECT &&
			    s->kind.type != TYPE_ARRAY);
			json_decref(value);
			json_decref(text);
		}
}

void
test_settings_reject_half_an_object(void)
{
	struct runner_conf c = defaults();
	json_t *object =
	    json_pack("{s:s, s:s}", "directory", "/tmp", "startsecs", "soon");
	struct err e = {0};

	check_int(settings_from_json(runner_settings, &c, object, &e), -1);
	check_str(c.directory, "/");
	check_has(e.text, "'soon' is not a duration");
	json_decref(object);
	settings_clear(runner_settings, &c);
}

void
test_unknown_settings_get_the_nearest_name(void)
{
	struct runner_conf c = defaults();
	json_t *value = json_string("1");
	struct err e = {0};

	check_int(settings_set(runner_settings, &c, "startsec", value, &e), -1);
	check_str(e.text, "startsec: there is no such setting");
	check_str(e.hint, "did you mean startsecs?");
	json_decref(value);
	settings_clear(runner_settings, &c);
}

void
test_settings_survive_the_round_trip(void)
{
	struct runner_conf a = defaults(), b = defaults();
	json_t *object = json_pack("{s:s, s:s, s:s, s:i}", "command",
	    "sh -c 'x y'", "environment", "A=1,B=\"2 3\"", "autorestart",
	    "true", "numprocs", 4);
	json_t *all, *changed;
	size_t i = 0;

	check_int(settings_from_json(runner_settings, &a, object, NULL), 0);
	all = settings_to_json(runner_settings, &a, true);
	check_int(settings_from_json(runner_settings, &b, all, NULL), 0);
	check(settings_differ(runner_settings, &a, &b, &i) == NULL);
	changed = settings_to_json(runner_settings, &a, false);
	check_int(json_object_size(changed), 4);
	check_str(json_string_value(json_object_get(changed, "autorestart")),
	    "always");
	json_decref(changed);
	json_decref(all);
	json_decref(object);
	settings_clear(runner_settings, &a);
	settings_clear(runner_settings, &b);
}

void
test_differences_are_found_one_by_one(void)
{
	struct runner_conf a = defaults(), b = {0};
	const struct setting *s;
	size_t i = 0;

	settings_copy(runner_settings, &b, &a);
	b.startsecs = 5;
	b.nice = 3;
	s = settings_differ(runner_settings, &a, &b, &i);
	check_str(s->name, "startsecs");
	s = settings_differ(runner_settings, &a, &b, &i);
	check_str(s->name, "nice");
	check(settings_differ(runner_settings, &a, &b, &i) == NULL);
	settings_clear(runner_settings, &a);
	settings_clear(runner_settings, &b);
}
