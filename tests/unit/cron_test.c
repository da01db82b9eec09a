/*
 * Cron lines and when they tick: fields, refusals with their column, the two
 * days of the year on which clocks are changed.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cron.h"
#include "type.h"
#include "when.h"

/* ---- reading ---- */

static const char *
refusal(const char *line)
{
	static struct err e;
	struct cron c;

	err_clear(&e);
	check_int(cron_parse(line, &c, &e), -1);
	return e.text;
}

void
test_a_mistake_is_told_with_its_column(void)
{
	static const struct {
		const char *line, *why;
	} bad[] = {
	    {"", "column 1: the line ends before a minute"},
	    {"60 * * * *", "column 1: '60' is not a minute (0 to 59)"},
	    {"* 24 * * *", "column 3: '24' is not an hour (0 to 23)"},
	    {"* *  0 * *", "column 6: '0' is not a day of the month (1 to 31)"},
	    {"* * * foo *", "column 7: 'foo' is not a month"},
	    {"* * * janu *", "column 7: 'janu' is not a month"},
	    {"* * * * 8", "column 9: '8' is not a day of the week (0 to 7"},
	    {"* * * *", "column 8: the line ends before a day of the week"},
	    {"* * * * * *", "column 11: '*' stands behind the fifth field"},
	    {"1,,2 * * * *", "column 3: '' is not a minute"},
	    {"1,99 * * * *", "column 3: '99' is not a minute"},
	    {"5-1 * * * *", "column 1: '5-1' ends before it begins"},
	    {"* * * * fri-mon", "column 9: 'fri-mon' ends before it begins"},
	    {"5/15 * * * *", "column 2: a step stands behind * or a range"},
	    {"*/0 * * * *", "column 3: the step is not a number from 1"},
	    {"*/x * * * *", "column 3: the step is not a number from 1"},
	    {"-5 * * * *", "column 1: '-5' is not a minute"},
	    {"1-2-3 * * * *", "column 1: '1-2-3' is not a minute"},
	    {"* * L * *", "column 5: 'L' is not a day of the month"},
	    {"* * * * mon#2", "column 9: 'mon#2' is not a day of the week"},
	    {"99999999999 * * * *", "column 1: '99999999999' is not a minute"},
	    {"@reboot", "column 1: '@reboot' is not @hourly, @daily"},
	    {"0 0 30 2 *", "'0 0 30 2 *' never comes"},
	    {"0 0 31 4,6,9,11 *", "never comes"},
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		check_has(refusal(bad[i].line), bad[i].why);
}

static int
least_gap(const char *line)
{
	struct cron c;

	check_int(cron_parse(line, &c, NULL), 0);
	return cron_least_gap(&c);
}

void
test_the_least_gap_is_known(void)
{
	check_int(least_gap("* * * * *"), 1);
	check_int(least_gap("*/15 * * * *"), 15);
	check_int(least_gap("*/25 * * * *"), 10);
	check_int(least_gap("0 3 * * *"), 1440);
	check_int(least_gap("50 23,0 * * *"), 60);
	check_int(least_gap("@hourly"), 60);
}

/* ---- ticks ---- */

static long long
at(const char *time)
{
	double t;

	check(text_time(time, &t));
	return (long long)(t * 1000);
}

static const char *
text_of(long long ms)
{
	static char buf[4][TIME_TEXT_SIZE];
	static int n;

	n = (n + 1) % 4;
	time_text((double)ms / 1000, buf[n]);
	strcpy(buf[n] + 19, "Z");
	return buf[n];
}

static struct when
line_in(const char *line, const char *zone)
{
	struct when w = {.zone = zone};
	struct err e = {0};

	cron_parse(line, &w.cron, &e);
	check_str(e.text, "");
	check_int(zone_check(zone, NULL), 0);
	return w;
}

/* The ticks after from are those of the list. */
static void
check_ticks(const char *line, const char *zone, const char *from,
    const char *const *list)
{
	struct when w = line_in(line, zone);
	long long t = at(from), before;

	for (; *list; list++) {
		before = t;
		t = when_next(&w, t);
		check_str(text_of(t), *list);
		/* From just before, and back. */
		check_str(text_of(when_next(&w, t - 1)), *list);
		check_str(text_of(when_last(&w, before, t)), *list);
		check_str(text_of(when_last(&w, before, t + 59999)), *list);
		check_int(when_last(&w, before, t - 1), WHEN_NEVER);
	}
}

#define TICKS(line, zone, from, ...) \
	check_ticks(line, zone, from, (const char *const[]){__VA_ARGS__, NULL})

void
test_fields_mean_what_crontab_says(void)
{
	TICKS("30 4 * * *", "UTC", "2026-01-31T04:30:00Z",
	    "2026-02-01T04:30:00Z", "2026-02-02T04:30:00Z");
	TICKS("*/20 8-9 * * *", "UTC", "2026-03-01T08:30:00Z",
	    "2026-03-01T08:40:00Z", "2026-03-01T09:00:00Z",
	    "2026-03-01T09:20:00Z", "2026-03-01T09:40:00Z",
	    "2026-03-02T08:00:00Z");
	TICKS("1,5-7,50-59/5 0 * * *", "UTC", "2026-03-01T00:00:00Z",
	    "2026-03-01T00:01:00Z", "2026-03-01T00:05:00Z",
	    "2026-03-01T00:06:00Z", "2026-03-01T00:07:00Z",
	    "2026-03-01T00:50:00Z", "2026-03-01T00:55:00Z",
	    "2026-03-02T00:01:00Z");
	/* 2026-11-28 is a Saturday; 0 and 7 are Sunday, names are words. */
	TICKS("0 12 * * 7", "UTC", "2026-11-28T00:00:00Z",
	    "2026-11-29T12:00:00Z", "2026-12-06T12:00:00Z");
	TICKS("0 12 * * 0", "UTC", "2026-11-28T00:00:00Z",
	    "2026-11-29T12:00:00Z");
	TICKS("0 12 * DEC Mon-Wed", "UTC", "2026-11-28T00:00:00Z",
	    "2026-12-01T12:00:00Z", "2026-12-02T12:00:00Z",
	    "2026-12-07T12:00:00Z");
	TICKS("0 12 * * fri-7", "UTC", "2026-11-28T13:00:00Z",
	    "2026-11-29T12:00:00Z", "2026-12-04T12:00:00Z");
	TICKS("@monthly", "UTC", "2026-11-28T00:00:00Z", "2026-12-01T00:00:00Z",
	    "2027-01-01T00:00:00Z");
	TICKS("@yearly", "UTC", "2026-11-28T00:00:00Z", "2027-01-01T00:00:00Z",
	    "2028-01-01T00:00:00Z");
	TICKS("@weekly", "UTC", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z",
	    "2026-12-06T00:00:00Z");
	TICKS("@hourly", "UTC", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z",
	    "2027-01-01T01:00:00Z");
}

void
test_two_restricted_day_fields_mean_either(void)
{
	/* The 1st, and each Monday. */
	TICKS("0 0 1 * mon", "UTC", "2026-11-28T00:00:00Z",
	    "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z",
	    "2026-12-07T00:00:00Z");
	/* One that begins with * is none: Mondays of odd number. */
	TICKS("0 0 */2 * mon", "UTC", "2026-11-28T00:00:00Z",
	    "2026-12-07T00:00:00Z", "2026-12-21T00:00:00Z");
	TICKS("0 0 13 * */7", "UTC", "2026-11-28T00:00:00Z",
	    "2026-12-13T00:00:00Z", "2027-06-13T00:00:00Z");
}

void
test_leap_days_come_when_they_do(void)
{
	TICKS("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z",
	    "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z");
	/* 2100 is none. */
	TICKS("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z",
	    "2104-02-29T00:00:00Z");
	TICKS("0 0 31 * *", "Europe/Berlin", "2026-01-31T12:00:00Z",
	    "2026-03-30T22:00:00Z", "2026-05-30T22:00:00Z");
	/* Rules of a zone go on for ever. */
	TICKS("30 12 1 7 *", "Europe/Berlin", "2105-01-01T00:00:00Z",
	    "2105-07-01T10:30:00Z");
}

/* 2026-03-29 02:00 CET becomes 03:00 CEST; 2026-10-25 03:00 CEST 02:00 CET. */
void
test_clocks_are_changed_in_berlin(void)
{
	/* What is left out comes right after the gap, once. */
	TICKS("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z",
	    "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z",
	    "2026-03-30T00:30:00Z");
	TICKS("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
	    "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z",
	    "2026-03-30T00:00:00Z");
	TICKS("*/20 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z",
	    "2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z",
	    "2026-03-29T01:20:00Z");
	/* What is there twice comes once. */
	TICKS("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
	    "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
	TICKS("0 2,3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
	    "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
	/* But each hour means each that passes. */
	TICKS("30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z",
	    "2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z",
	    "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z");
}

/* 2026-03-08 02:00 EST becomes 03:00 EDT; 2026-11-01 02:00 EDT 01:00 EST. */
void
test_clocks_are_changed_in_new_york(void)
{
	TICKS("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z",
	    "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z");
	TICKS("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z",
	    "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z");
	TICKS("*/30 * * * *", "America/New_York", "2026-11-01T05:10:00Z",
	    "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z",
	    "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z");
	TICKS("0 0 * * *", "America/New_York", "2026-11-01T00:00:00Z",
	    "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
}

/* By half an hour: 2026-10-04 02:00 (+10:30) becomes 02:30 (+11), 2026-04-05
 * 02:00 (+11) becomes 01:30. */
void
test_clocks_are_changed_by_half_an_hour_on_lord_howe(void)
{
	TICKS("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z",
	    "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z");
	TICKS("0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z",
	    "2026-10-03T14:30:00Z", "2026-10-03T15:30:00Z",
	    "2026-10-03T16:00:00Z");
	TICKS("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z",
	    "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z");
	TICKS("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z",
	    "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z",
	    "2026-04-04T16:15:00Z");
}

/* Samoa had no 30 December 2011. */
void
test_a_day_may_be_left_out(void)
{
	TICKS("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z",
	    "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z",
	    "2011-12-30T22:00:00Z");
}

void
test_every_counts_from_the_epoch(void)
{
	struct when w = {.every = 90000};

	check_int(when_next(&w, 0), 90000);
	check_int(when_next(&w, 89999), 90000);
	check_int(when_next(&w, 90000), 180000);
	check_int(when_next(&w, -1), 0);
	check_int(when_last(&w, 0, 89999), WHEN_NEVER);
	check_int(when_last(&w, 0, 900001), 900000);
	check_int(when_last(&w, 900000, 900000), WHEN_NEVER);
	check_int(when_least_gap(&w), 90000);
}

/* Of very many, and of very few. */
void
test_the_last_one_is_found_however_long_ago_the_first_was(void)
{
	struct when often = line_in("* * * * *", "Europe/Berlin");
	struct when seldom = line_in("0 0 29 2 *", "Europe/Berlin");

	check_str(text_of(when_last(&often, 0, at("2026-11-28T12:34:56Z"))),
	    "2026-11-28T12:34:00Z");
	check_str(text_of(when_last(&seldom, 0, at("2026-11-28T12:34:56Z"))),
	    "2024-02-28T23:00:00Z");
	check_int(when_last(&seldom, at("2025-01-01T00:00:00Z"),
		      at("2026-11-28T12:34:56Z")),
	    WHEN_NEVER);
}

/* ---- zones ---- */

void
test_unknown_zones_are_refused(void)
{
	static const char *const bad[] = {"", "Europe/Atlantis",
	    "/etc/localtime", "../zoneinfo/UTC", "Europe", "tzdata.zi",
	    "CET-1CEST"};
	struct err e = {0};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err_clear(&e);
		check_int(zone_check(bad[i], &e), -1);
		check_has(e.text, "is not a time zone of this system");
	}
	check_int(zone_check("America/Argentina/Buenos_Aires", &e), 0);
}

/* The zone of the process is as it was, and that of a line without one. */
void
test_a_zone_is_left_as_it_was(void)
{
	struct when w = line_in("0 3 * * *", "Asia/Tokyo"), own;
	long long from = at("2026-06-01T00:00:00Z");

	unsetenv("TZ");
	when_next(&w, from);
	check(getenv("TZ") == NULL);
	setenv("TZ", "America/New_York", 1);
	check_str(text_of(when_next(&w, from)), "2026-06-01T18:00:00Z");
	check_str(getenv("TZ"), "America/New_York");
	own = w;
	own.zone = NULL;
	check_str(text_of(when_next(&own, from)), "2026-06-01T07:00:00Z");
}
