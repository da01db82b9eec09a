/* When schedules tick: cron lines and the clocks of time zones. */
#include "when.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "settings.h"

#define DAY 86400LL
#define TWICE_AT_MOST (3 * 3600LL) /* clocks go back by less, as a rule */
#define ZONES "/usr/share/zoneinfo"

/* ---- zones ---- */

static bool
is_zone_file(const char *name)
{
	const char *dir = getenv("TZDIR");
	char *path = xasprintf("%s/%s", dir ? dir : ZONES, name), magic[4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	free(path);
	if (fd == -1)
		return false;
	if (read(fd, magic, sizeof(magic)) != sizeof(magic))
		magic[0] = '\0';
	close(fd);
	return memcmp(magic, "TZif", sizeof(magic)) == 0;
}

int
zone_check(const char *name, struct err *e)
{
	if (strcmp(name, "UTC") == 0 ||
	    (*name && *name != '/' && !strstr(name, "..") &&
		is_zone_file(name)))
		return 0;
	err_set(e, ERR_PARAMS,
	    "'%.100s' is not a time zone of this system such as Europe/Berlin",
	    name);
	return err_hint(
	    e, "see %s, of the package tzdata; timedatectl lists them", ZONES);
}

/* In C only the process has a zone: for the time of one call it is that one.
 * NULL: the system's. */
static long long
in_zone(const char *zone, long long (*what)(const struct cron *, long long),
    const struct cron *c, long long after)
{
	char *before = xstrdup(getenv("TZ"));
	long long found;

	if (zone)
		setenv("TZ", zone, 1);
	tzset();
	found = what(c, after);
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	free(before);
	return found;
}

/* ---- clocks on the wall, in seconds ---- */

static long long
offset_at(long long t)
{
	time_t time = (time_t)t;
	struct tm tm;

	localtime_r(&time, &tm);
	return tm.tm_gmtoff;
}

static struct civil
civil_at(long long t)
{
	time_t time = (time_t)t;
	struct tm tm;

	localtime_r(&time, &tm);
	return (struct civil){tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	    tm.tm_hour, tm.tm_min};
}

/* As if it were UTC. */
static long long
naive(const struct civil *at)
{
	struct tm tm = {.tm_year = at->year - 1900,
	    .tm_mon = at->month - 1,
	    .tm_mday = at->day,
	    .tm_hour = at->hour,
	    .tm_min = at->minute};

	return (long long)timegm(&tm);
}

/* Between two instants the clocks are changed: the first with the offset of
 * the second. */
static long long
change_between(long long before, long long behind)
{
	long long offset = offset_at(behind), middle;

	while (behind - before > 1) {
		middle = before + (behind - before) / 2;
		if (offset_at(middle) == offset)
			behind = middle;
		else
			before = middle;
	}
	return behind;
}

/* The first or second instant at which clocks show it: they are the same but
 * where clocks go back.  Where none does, when the gap is over. */
static long long
instant(const struct civil *at, bool second)
{
	long long local = naive(at), t[2];
	bool good[2];
	int i;

	for (i = 0; i < 2; i++) {
		t[i] = local - offset_at(i ? local + DAY : local - DAY);
		good[i] = t[i] + offset_at(t[i]) == local;
	}
	if (!good[0] && !good[1])
		return change_between(t[1], t[0]);
	if (!good[0] || !good[1])
		return good[0] ? t[0] : t[1];
	return (t[0] < t[1]) == second ? t[1] : t[0];
}

/* The first tick after that time, each minute that comes twice being told by
 * its first or second instant; -1: never. */
static long long
first_of(const struct cron *c, long long after, bool second)
{
	struct civil at = civil_at(second ? after - TWICE_AT_MOST : after);
	long long t;

	for (; cron_match(c, &at); civil_step(&at)) {
		t = instant(&at, second);
		if (t > after)
			return t;
	}
	return -1;
}

static long long
first_tick(const struct cron *c, long long after)
{
	long long one = first_of(c, after, false), other;

	if (!cron_is_hourly(c))
		return one;
	other = first_of(c, after, true);
	return other < one ? other : one;
}

/* ---- ticks ---- */

void
when_of(struct when *w, const struct schedule_conf *c)
{
	*w = (struct when){
	    .every = llround(c->every * 1000), .zone = c->timezone};
	if (c->cron)
		cron_parse(c->cron, &w->cron, NULL);
}

static long long
floor_div(long long n, long long by)
{
	return n / by - (n % by < 0);
}

long long
when_next(const struct when *w, long long after)
{
	long long t;

	if (w->every)
		return (floor_div(after, w->every) + 1) * w->every;
	t = in_zone(w->zone, first_tick, &w->cron, floor_div(after, 1000));
	return t < 0 ? WHEN_NEVER : t * 1000;
}

/* The latest start whose next tick is not after until has it: they are in
 * one order, so it is found by halving. */
static long long
last_by_halving(const struct when *w, long long after, long long until)
{
	long long low = after, high = until, middle, next;

	while (high - low > 1) {
		middle = low + (high - low) / 2;
		next = when_next(w, middle);
		if (next != WHEN_NEVER && next <= until)
			low = middle;
		else
			high = middle;
	}
	return when_next(w, low);
}

long long
when_last(const struct when *w, long long after, long long until)
{
	long long next;

	if (until <= after)
		return WHEN_NEVER;
	next = when_next(w, after);
	if (next == WHEN_NEVER || next > until)
		return WHEN_NEVER;
	return w->every ? floor_div(until, w->every) * w->every
			: last_by_halving(w, next - 1, until);
}

long long
when_least_gap(const struct when *w)
{
	return w->every ? w->every : cron_least_gap(&w->cron) * 60000LL;
}
