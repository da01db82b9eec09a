/* Cron lines: read, and looked up in the calendar. */
#include "cron.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MINUTES_A_DAY 1440
#define CALENDAR 400 /* years, after which it is the same again */

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
    "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {
    "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct {
	const char *what; /* "... is not a minute" */
	int low, high;
	const char *const *names; /* of low and those behind it */
} fields[CRON_FIELDS] = {
    [CRON_MINUTE] = {"a minute", 0, 59, NULL},
    [CRON_HOUR] = {"an hour", 0, 23, NULL},
    [CRON_DAY] = {"a day of the month", 1, 31, NULL},
    [CRON_MONTH] = {"a month", 1, 12, months},
    [CRON_WEEKDAY] = {"a day of the week", 0, 7, weekdays},
};

static const struct {
	const char *name, *line;
} macros[] = {{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"}};

/* ---- reading ---- */

struct reader {
	const char *text, *at;
	enum cron_field field;
	struct err *e;
};

static int
column(const struct reader *r, const char *at)
{
	return (int)(at - r->text) + 1;
}

static bool
ends_item(char c)
{
	return c == '\0' || isspace((unsigned char)c) || c == ',';
}

/* What stands there, up to the next comma or blank. */
static int
refuse_item(const struct reader *r, const char *at)
{
	int len = 0;

	while (len < 20 && !ends_item(at[len]))
		len++;
	return err_set(r->e, ERR_PARAMS,
	    "column %d: '%.*s' is not %s (%d to %d%s)", column(r, at), len, at,
	    fields[r->field].what, fields[r->field].low, fields[r->field].high,
	    fields[r->field].names ? ", or a name such as sun or jan" : "");
}

/* A name of three letters, or -1. */
static int
named(struct reader *r)
{
	const char *const *name = fields[r->field].names;
	int i;

	for (i = 0; name && name[i]; i++)
		if (strncasecmp(r->at, name[i], 3) == 0 &&
		    !isalnum((unsigned char)r->at[3])) {
			r->at += 3;
			return fields[r->field].low + i;
		}
	return -1;
}

/* Digits, or -1: at most four of them. */
static int
number(struct reader *r)
{
	size_t len = strspn(r->at, "0123456789");
	int n = len > 0 && len <= 4 ? atoi(r->at) : -1;

	r->at += n < 0 ? 0 : len;
	return n;
}

static int
value(struct reader *r, int *n)
{
	const char *at = r->at;

	*n = named(r);
	if (*n < 0)
		*n = number(r);
	return *n < fields[r->field].low || *n > fields[r->field].high
	    ? refuse_item(r, at)
	    : 0;
}

static int
range(struct reader *r, int *low, int *high)
{
	const char *at = r->at;

	if (*r->at == '*') {
		r->at++;
		*low = fields[r->field].low;
		*high = fields[r->field].high - (r->field == CRON_WEEKDAY);
		return 0;
	}
	if (value(r, low) != 0)
		return -1;
	*high = *low;
	if (*r->at != '-')
		return 0;
	r->at++;
	if (value(r, high) != 0)
		return -1;
	return *high >= *low ? 0
			     : err_set(r->e, ERR_PARAMS,
				   "column %d: '%.*s' ends before it begins",
				   column(r, at), (int)(r->at - at), at);
}

/* "/5" behind * or a range. */
static int
step(struct reader *r, bool wide, int *n)
{
	const char *at = r->at;

	*n = 1;
	if (*at != '/')
		return 0;
	r->at++;
	if (!wide)
		return err_set(r->e, ERR_PARAMS,
		    "column %d: a step stands behind * or a range such as "
		    "%d-%d",
		    column(r, at), fields[r->field].low, fields[r->field].high);
	*n = number(r);
	return *n > 0 ? 0
		      : err_set(r->e, ERR_PARAMS,
			    "column %d: the step is not a number from 1",
			    column(r, at) + 1);
}

/* 7 is Sunday, too. */
static void
set_bit(struct cron *c, enum cron_field field, int n)
{
	c->bits[field] |= 1ULL << (field == CRON_WEEKDAY ? n % 7 : n);
}

static int
item(struct reader *r, struct cron *c)
{
	const char *at = r->at;
	int low, high, each;

	if (range(r, &low, &high) != 0 ||
	    step(r, *at == '*' || high > low, &each) != 0)
		return -1;
	if (!ends_item(*r->at))
		return refuse_item(r, at);
	for (; low <= high; low += each)
		set_bit(c, r->field, low);
	return 0;
}

static int
read_field(struct reader *r, struct cron *c)
{
	r->at += strspn(r->at, " \t");
	if (*r->at == '\0')
		return err_set(r->e, ERR_PARAMS,
		    "column %d: the line ends before %s; wanted five fields: "
		    "minute hour day-of-month month day-of-week",
		    column(r, r->at), fields[r->field].what);
	c->starred[r->field] = *r->at == '*';
	for (;;) {
		if (item(r, c) != 0)
			return -1;
		if (*r->at != ',')
			return 0;
		r->at++;
	}
}

/* The line that a name beginning with @ stands for, or NULL. */
static const char *
macro_line(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (strcasecmp(macros[i].name, name) == 0)
			return macros[i].line;
	return NULL;
}

static int
read_line(struct reader *r, struct cron *c)
{
	for (r->field = 0; r->field < CRON_FIELDS; r->field++)
		if (read_field(r, c) != 0)
			return -1;
	r->at += strspn(r->at, " \t");
	return *r->at == '\0'
	    ? 0
	    : err_set(r->e, ERR_PARAMS,
		  "column %d: '%.20s' stands behind the fifth field",
		  column(r, r->at), r->at);
}

int
cron_parse(const char *text, struct cron *c, struct err *e)
{
	const char *line = *text == '@' ? macro_line(text) : text;
	struct reader r = {line, line, CRON_MINUTE, e};
	struct civil at = {2000, 1, 1, 0, 0};

	memset(c, 0, sizeof(*c));
	if (line == NULL)
		return err_set(e, ERR_PARAMS,
		    "column 1: '%.20s' is not @hourly, @daily, @weekly, "
		    "@monthly or @yearly",
		    text);
	if (read_line(&r, c) != 0)
		return -1;
	return cron_match(c, &at)
	    ? 0
	    : err_set(e, ERR_PARAMS,
		  "'%.80s' never comes: no month has such a day", text);
}

/* ---- the calendar ---- */

static bool
has(const struct cron *c, enum cron_field field, int n)
{
	return c->bits[field] >> n & 1;
}

static int
days_of(int year, int month)
{
	static const int days[] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* 0: Sunday.  By Tomohiko Sakamoto. */
static int
weekday_of(int year, int month, int day)
{
	static const int shift[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};

	year -= month < 3;
	return (year + year / 4 - year / 100 + year / 400 + shift[month - 1] +
		   day) %
	    7;
}

static bool
has_day(const struct cron *c, const struct civil *at)
{
	bool day = has(c, CRON_DAY, at->day);
	bool weekday =
	    has(c, CRON_WEEKDAY, weekday_of(at->year, at->month, at->day));

	if (c->starred[CRON_DAY] || c->starred[CRON_WEEKDAY])
		return day && weekday;
	return day || weekday;
}

static void
next_month(struct civil *at)
{
	*at = (struct civil){at->year, at->month + 1, 1, 0, 0};
	if (at->month > 12) {
		at->month = 1;
		at->year++;
	}
}

static void
next_day(struct civil *at)
{
	at->hour = at->minute = 0;
	if (++at->day > days_of(at->year, at->month))
		next_month(at);
}

static void
next_hour(struct civil *at)
{
	at->minute = 0;
	if (++at->hour > 23)
		next_day(at);
}

void
civil_step(struct civil *at)
{
	if (++at->minute > 59)
		next_hour(at);
}

bool
cron_match(const struct cron *c, struct civil *at)
{
	int last = at->year + CALENDAR;

	while (at->year <= last) {
		if (!has(c, CRON_MONTH, at->month))
			next_month(at);
		else if (!has_day(c, at))
			next_day(at);
		else if (!has(c, CRON_HOUR, at->hour))
			next_hour(at);
		else if (!has(c, CRON_MINUTE, at->minute))
			civil_step(at);
		else
			return true;
	}
	return false;
}

bool
cron_is_hourly(const struct cron *c)
{
	return c->bits[CRON_HOUR] == (1ULL << 24) - 1;
}

int
cron_least_gap(const struct cron *c)
{
	int first = -1, before = -1, least = MINUTES_A_DAY, m;

	for (m = 0; m < MINUTES_A_DAY; m++) {
		if (!has(c, CRON_HOUR, m / 60) || !has(c, CRON_MINUTE, m % 60))
			continue;
		if (before >= 0 && m - before < least)
			least = m - before;
		before = m;
		first = first < 0 ? m : first;
	}
	/* From the last of a day to the first of the next. */
	m = MINUTES_A_DAY + first - before;
	return m < least ? m : least;
}
