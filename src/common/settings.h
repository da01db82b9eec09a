/*
 * Structs of settings, driven by runner.def, daemon.def and others: defaults,
 * setting by name, all or nothing from an object, printing, comparing.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "type.h"

/* The C type of each kind, for the fields below. */
#define TYPE(name, word, ctype, wanted) typedef ctype type_##name;
#include "types.def"
#undef TYPE

#define GROUP(title)
#define SETTING(name, type, ...) type_##type name;
#define SETTING_OF_ONE SETTING

/* The words of runner.def's kind, in its order. */
enum runner_kind {
	KIND_SERVICE,
	KIND_EXEC,
	KIND_STDIO,
	KIND_REDIS,
	KIND_EXTERNAL /* registered, never configured */
};

/* And of its health_action. */
enum health_action { HEALTH_RESTART, HEALTH_TELL };

/* And of its autorestart. */
enum autorestart {
	AUTORESTART_ALWAYS,
	AUTORESTART_ON_FAILURE,
	AUTORESTART_NEVER
};

/* And of its no_consumer. */
enum no_consumer { NO_CONSUMER_ACCEPT, NO_CONSUMER_REFUSE };

/* The words of job.def's durability; those of runner.def's are the same without
 * the first. */
enum durability {
	DURABILITY_RUNNER,
	DURABILITY_MEMORY,
	DURABILITY_REDIS,
	DURABILITY_FSYNC,
	DURABILITY_REPLICA
};

/* The words of schedule.def's overlap, in its order. */
enum overlap { OVERLAP_ALLOW, OVERLAP_FORBID, OVERLAP_REPLACE };

/* The settings of one runner; see runner.def for meaning and units. */
struct runner_conf {
#include "runner.def"
};

/* The settings of herod; see daemon.def. */
struct daemon_conf {
#include "daemon.def"
};

/* What a caller says about a job; see job.def. */
struct job_spec {
#include "job.def"
};

/* A schedule; see schedule.def.  Of job only what is not of one job. */
struct schedule_conf {
#include "schedule.def"
	struct job_spec job;
};

#undef GROUP
#undef SETTING
#undef SETTING_OF_ONE

enum setting_apply { LIVE, RESTART };

struct setting {
	const char *name; /* NULL ends the table */
	struct kind kind;
	const char *fallback; /* default as text, or NULL */
	size_t offset;
	enum setting_apply apply;
	const char *meaning;
	const char *group; /* a heading of the manual: not a setting */
	json_t **canonical; /* of the default; settings.c's */
};

extern const struct setting runner_settings[];
extern const struct setting daemon_settings[];
extern const struct setting job_settings[];
extern const struct setting schedule_settings[]; /* of struct schedule_conf */

/* Is the row only a heading, for the rows behind it? */
bool setting_is_group(const struct setting *s);

/* Is it of secrets? */
bool setting_is_secret(const struct setting *table, const char *name);

/* The row, or NULL. */
const struct setting *setting_find(
    const struct setting *table, const char *name);

/* The setting's name that is nearest to a typo, or NULL. */
const char *setting_nearest(const struct setting *table, const char *typo);

/* Fills a zeroed (or cleared) struct with the defaults. */
void settings_init(const struct setting *table, void *conf);
void settings_clear(const struct setting *table, void *conf);
void settings_copy(const struct setting *table, void *to, const void *from);

/* Sets one by name, json null being the default; refuses unknown names
 * (with the nearest) and bad values, leaving conf as it was.  Returns 0 or -1.
 */
int settings_set(const struct setting *table, void *conf, const char *name,
    const json_t *value, struct err *e);

/* All members of an object or none. */
int settings_from_json(const struct setting *table, void *conf,
    const json_t *object, struct err *e);

/* Only what differs from the defaults, or everything; new object. */
json_t *settings_to_json(
    const struct setting *table, const void *conf, bool everything);

/* What is to be done when settings become others. */
enum change { CHANGE_NONE, CHANGE_LIVE, CHANGE_RESTART };
enum change settings_change(
    const struct setting *table, const void *before, const void *after);

/* The first difference from row *i on (start with 0; *i is then set behind
 * it), or NULL when there is none left. */
const struct setting *settings_differ(
    const struct setting *table, const void *a, const void *b, size_t *i);

#endif
