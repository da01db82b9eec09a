/*
 * The configuration file (herod.conf(5)): sections of settings, include,
 * ${VAR} and ${VAR:-default}.  All errors are found at once, each with
 * file:line; nothing is given out when there is one.
 */
#ifndef CONF_H
#define CONF_H

#include <stdbool.h>

#include <jansson.h>

#include "err.h"
#include "settings.h"

/* One [runner:NAME]. */
struct conf_runner {
	char *name;
	char *origin; /* file:line of the section */
	struct runner_conf settings;
};

/* One [schedule:NAME]. */
struct conf_schedule {
	char *name;
	char *origin;
	struct schedule_conf settings;
};

struct conf {
	struct daemon_conf daemon; /* with every directory filled in */
	bool default_listen; /* nobody set listen */
	struct conf_runner *runners; /* in order of the file */
	size_t nrunners;
	struct conf_schedule *schedules;
	size_t nschedules;
	char **files; /* that were read, with those included; a strv */
};

/*
 * Reads path (NULL: no file, defaults only), with what argv and the
 * environment set on top: overrides is an object of text values for
 * [herod].  Returns NULL after adding sentences to *errors, a strv.
 */
struct conf *conf_load(
    const char *path, const json_t *overrides, char ***errors);
void conf_free(struct conf *c);

/* Whoever has copies of them does not need these. */
void conf_drop_runners(struct conf *c);
void conf_drop_schedules(struct conf *c);

/* One more, with the defaults; NAME and origin are copied. */
struct conf_schedule *conf_add_schedule(
    struct conf *c, const char *name, const char *origin);

/* The file that is read when none is named: $XDG_CONFIG_HOME/herod/
 * herod.conf, for root SYSCONFDIR/herod.conf; new string, or NULL when it
 * does not exist. */
char *conf_default_path(void);

/* What no single value can show: a missing command, queue users of kind
 * service, numprocs without ...; refuses with a sentence.  Also used for
 * add_runner. */
int conf_check_runner(
    const char *name, const struct runner_conf *r, struct err *e);

/* The same of a schedule: neither cron nor every, ...  runner: the one it
 * names, or NULL when there is none. */
int conf_check_schedule(const char *name, const struct schedule_conf *s,
    const struct runner_conf *runner, struct err *e);

#endif
