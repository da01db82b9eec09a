/* Structs of settings, all driven by the tables. */
#include "settings.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

/*
 * GROUP() rows become the group of the rows that follow them: each is an
 * entry without kind that the readers below step over.
 */
#define GROUP(title) \
	{"", {TYPE_COUNT_, NULL}, NULL, 0, LIVE, NULL, title, NULL},
#define SETTING(name, type, limits, fallback, apply, meaning) \
	{#name, {TYPE_##type, limits}, fallback, \
	    offsetof(struct CONF, WITHIN name), apply, meaning, NULL, \
	    &(json_t *){NULL}},
#define WITHIN /* the member that holds them, and a dot */
#define SETTING_OF_ONE SETTING
#define END \
	{ \
		NULL, {TYPE_COUNT_, NULL}, NULL, 0, LIVE, NULL, NULL, NULL \
	}

#define CONF runner_conf
const struct setting runner_settings[] = {
#include "runner.def"
    END};
#undef CONF

#define CONF daemon_conf
const struct setting daemon_settings[] = {
#include "daemon.def"
    END};
#undef CONF

#define CONF job_spec
const struct setting job_settings[] = {
#include "job.def"
    END};
#undef CONF

#undef SETTING_OF_ONE
#define SETTING_OF_ONE(...)
#define CONF schedule_conf
const struct setting schedule_settings[] = {
#include "schedule.def"
#undef WITHIN
#define WITHIN job.
#include "job.def"
    END};
#undef CONF

#define FIELD(conf, s) ((char *)(conf) + (s)->offset)
#define CONST_FIELD(conf, s) ((const char *)(conf) + (s)->offset)

bool
setting_is_group(const struct setting *s)
{
	return s->group != NULL;
}

static const struct setting *
skip_groups(const struct setting *s)
{
	while (s->name && setting_is_group(s))
		s++;
	return s;
}

#define SETTINGS_FOREACH(s, table) \
	for ((s) = skip_groups(table); (s)->name; (s) = skip_groups((s) + 1))

const struct setting *
setting_find(const struct setting *table, const char *name)
{
	const struct setting *s;

	SETTINGS_FOREACH (s, table)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

static const char *
name_at(size_t i, const void *table)
{
	return ((const struct setting *)table)[i].name;
}

bool
setting_is_secret(const struct setting *table, const char *name)
{
	const struct setting *s = setting_find(table, name);

	return s != NULL && s->kind.type == TYPE_SECRETS;
}

const char *
setting_nearest(const struct setting *table, const char *typo)
{
	return nearest_word(typo, name_at, table);
}

/* The default in canonical form, json null where there is none; new reference.
 * Made of the text when it is first wanted; none of them is an object, which
 * its owner might change. */
static json_t *
fallback(const struct setting *s)
{
	json_t *text;

	if (s->fallback == NULL)
		return json_null();
	if (*s->canonical == NULL) {
		text = json_string(s->fallback);
		*s->canonical = type_check(&s->kind, s->name, text, NULL);
		json_decref(text);
	}
	return json_incref(*s->canonical);
}

/* A value in canonical form, null standing for the default; new. */
static json_t *
check(const struct setting *s, const json_t *value, struct err *e)
{
	return json_is_null(value) ? fallback(s)
				   : type_check(&s->kind, s->name, value, e);
}

void
settings_init(const struct setting *table, void *conf)
{
	const struct setting *s;
	json_t *value;

	SETTINGS_FOREACH (s, table) {
		if (s->fallback == NULL)
			continue; /* that is zero */
		value = fallback(s);
		type_store(&s->kind, FIELD(conf, s), value);
		json_decref(value);
	}
}

void
settings_clear(const struct setting *table, void *conf)
{
	const struct setting *s;

	SETTINGS_FOREACH (s, table)
		type_clear(&s->kind, FIELD(conf, s));
}

void
settings_copy(const struct setting *table, void *to, const void *from)
{
	const struct setting *s;
	json_t *value;

	SETTINGS_FOREACH (s, table) {
		value = type_fetch(&s->kind, CONST_FIELD(from, s));
		type_store(&s->kind, FIELD(to, s), value);
		json_decref(value);
	}
}

static int
refuse_unknown(const struct setting *table, const char *name, struct err *e)
{
	const char *nearest = setting_nearest(table, name);

	err_set(e, ERR_PARAMS, "%.64s: there is no such setting", name);
	if (nearest)
		err_hint(e, "did you mean %s?", nearest);
	return -1;
}

int
settings_set(const struct setting *table, void *conf, const char *name,
    const json_t *value, struct err *e)
{
	const struct setting *s = setting_find(table, name);
	json_t *canonical;

	if (s == NULL)
		return refuse_unknown(table, name, e);
	canonical = check(s, value, e);
	if (canonical == NULL)
		return -1;
	type_store(&s->kind, FIELD(conf, s), canonical);
	json_decref(canonical);
	return 0;
}

struct checked {
	const struct setting *setting;
	json_t *canonical;
};

/* How many there are, each with a reference; -1: a refusal, and none. */
static int
check_all(const struct setting *table, const json_t *object, struct checked *v,
    struct err *e)
{
	const char *name;
	json_t *value;
	int n = 0, bad = 0;

	json_object_foreach ((json_t *)object, name, value) {
		v[n].setting = setting_find(table, name);
		if (v[n].setting == NULL)
			bad = refuse_unknown(table, name, e);
		else if ((v[n].canonical = check(v[n].setting, value, e)))
			n++;
		else
			bad = -1;
		if (bad)
			break;
	}
	while (bad && n > 0)
		json_decref(v[--n].canonical);
	return bad ? -1 : n;
}

/* All or nothing: first all are checked. */
int
settings_from_json(const struct setting *table, void *conf,
    const json_t *object, struct err *e)
{
	struct checked *v = xcalloc(json_object_size(object) + 1, sizeof(*v));
	int i, n = check_all(table, object, v, e);

	for (i = 0; i < n; i++) {
		type_store(&v[i].setting->kind, FIELD(conf, v[i].setting),
		    v[i].canonical);
		json_decref(v[i].canonical);
	}
	free(v);
	return n == -1 ? -1 : 0;
}

/* Is the field as settings_init() leaves it? */
static bool
is_default(const struct setting *s, const json_t *value)
{
	json_t *wanted = fallback(s);
	bool same = json_equal(value, wanted) ||
	    (s->fallback == NULL &&
		(json_is_false(value) ||
		    (json_is_number(value) && json_number_value(value) == 0)));

	json_decref(wanted);
	return same;
}

json_t *
settings_to_json(const struct setting *table, const void *conf, bool everything)
{
	const struct setting *s;
	json_t *object = json_object(), *value;

	SETTINGS_FOREACH (s, table) {
		value = type_fetch(&s->kind, CONST_FIELD(conf, s));
		if (everything || !is_default(s, value))
			json_object_set(object, s->name, value);
		json_decref(value);
	}
	return object;
}

const struct setting *
settings_differ(
    const struct setting *table, const void *a, const void *b, size_t *i)
{
	const struct setting *s;
	json_t *one, *other;
	bool same;

	while ((s = &table[*i])->name) {
		(*i)++;
		if (setting_is_group(s))
			continue;
		one = type_fetch(&s->kind, CONST_FIELD(a, s));
		other = type_fetch(&s->kind, CONST_FIELD(b, s));
		same = json_equal(one, other);
		json_decref(one);
		json_decref(other);
		if (!same)
			return s;
	}
	return NULL;
}

enum change
settings_change(
    const struct setting *table, const void *before, const void *after)
{
	enum change how = CHANGE_NONE;
	const struct setting *s;
	size_t i = 0;

	while (how != CHANGE_RESTART &&
	    (s = settings_differ(table, before, after, &i)))
		how = s->apply == LIVE ? CHANGE_LIVE : CHANGE_RESTART;
	return how;
}
