/*
 * Cron lines, as in crontab(5): which minutes of a calendar they mean.  No
 * zone and no clock is in here; when.h has them.
 *
 * Five fields: minute, hour, day of month, month, day of week.  Each is *,
 * a number, a name (month and day of week), a range, a list of these; * and
 * ranges may have a step.  When neither day field begins with *, a day that
 * either means is one.  @hourly, @daily, @weekly, @monthly, @yearly are lines,
 * too.
 */
#ifndef CRON_H
#define CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum cron_field {
	CRON_MINUTE,
	CRON_HOUR,
	CRON_DAY,
	CRON_MONTH,
	CRON_WEEKDAY,
	CRON_FIELDS
};

struct cron {
	uint64_t bits[CRON_FIELDS]; /* bit 1 of days: the first; of weekdays 0:
				       Sunday */
	bool starred[CRON_FIELDS]; /* the field began with * */
};

/* A minute as calendars and clocks on the wall show it. */
struct civil {
	int year, month, day, hour, minute; /* month and day from 1 */
};

/* Refuses with the column (from 1) of the mistake, and what never comes
 * (30 February).  Returns 0 or -1. */
int cron_parse(const char *text, struct cron *c, struct err *e);

/* The first minute not before *at that the line means, in *at; false: none in
 * 400 years, after which the calendar begins anew. */
bool cron_match(const struct cron *c, struct civil *at);

/* The minute after. */
void civil_step(struct civil *at);

/* Each hour is meant, as in "0 * * * *": it is about time that passes, not
 * about a time of day. */
bool cron_is_hourly(const struct cron *c);

/* Least number of minutes from one to the next, 1 to 1440. */
int cron_least_gap(const struct cron *c);

#endif
