/* What befell instances of late. */
#define LOG_MODULE "runner"

#include "past.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "places.h"
#include "runners.h"

#define PAST_NAME "past" /* in the state directory */
#define PAST_VERSION 1 /* of struct record */
#define NAME_SIZE 68
#define FLAPS_MAX 100 /* as much as flap_limit can ask for */

struct record {
	uint32_t used; /* 0: the place is free */
	int32_t n; /* of the instance */
	char name[NAME_SIZE]; /* of its runner */
	struct before before;
	struct ending exit;
	char exit_reason[REASON_MAX]; /* "": none */
	char ends_for[REASON_MAX];
	int32_t code;
	uint32_t failures, failed_starts, shortages, has_turn;
	uint64_t restarts;
	uint32_t nflaps;
	double flaps[FLAPS_MAX]; /* oldest first; the rest is not written */
};

_Static_assert(sizeof(struct record) <= PLACE_SIZE, "it has room");

struct past {
	struct places *places;
	bool failed;
};

static char *
path_in(const char *state_dir)
{
	return xasprintf("%s/" PAST_NAME, state_dir);
}

struct past *
past_open(const char *state_dir)
{
	char *path = path_in(state_dir);
	struct places *places = places_open(path, PAST_VERSION);
	struct past *p = NULL;

	if (places) {
		p = xcalloc(1, sizeof(*p));
		p->places = places;
	} else {
		log_warn("%s", path);
	}
	free(path);
	return p;
}

void
past_close(struct past *p)
{
	if (p == NULL)
		return;
	places_close(p->places);
	free(p);
}

bool
past_remains(const char *state_dir)
{
	char *path = path_in(state_dir);
	bool remains = places_remain(path, PAST_VERSION);

	free(path);
	return remains;
}

static void
note_failure(struct past *p)
{
	if (!p->failed)
		log_warn("what befalls runners cannot be written down: should "
			 "herod be killed now, the next herod knows nothing of "
			 "their failures");
	p->failed = true;
}

/* ---- from the file ---- */

static size_t
length(const struct record *r)
{
	return offsetof(struct record, flaps) + r->nflaps * sizeof(double);
}

static char *
text_or_null(const char *text)
{
	return *text ? xstrdup(text) : NULL;
}

static bool
is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
get(const struct past *p, size_t place, struct record *r)
{
	size_t len = places_read(p->places, place, r, sizeof(*r));

	return len >= offsetof(struct record, flaps) && r->used != 0 &&
	    r->nflaps <= FLAPS_MAX && len >= length(r) &&
	    is_text(r->name, sizeof(r->name)) &&
	    is_text(r->before.why, sizeof(r->before.why)) &&
	    is_text(r->exit_reason, sizeof(r->exit_reason)) &&
	    is_text(r->ends_for, sizeof(r->ends_for)) &&
	    strcmp(state_name(r->before.state), "?") != 0;
}

static struct instance *
instance_of(struct runners *rs, const struct record *r)
{
	struct runner *runner = runner_find(rs, r->name);

	if (runner == NULL || r->n < 0 || (size_t)r->n >= runner->ninstances ||
	    runner->instances[r->n]->place != 0)
		return NULL;
	return runner->instances[r->n];
}

static void
tell(struct instance *i, const struct record *r)
{
	size_t k;

	i->failures = r->failures;
	i->failed_starts = r->failed_starts;
	i->shortages = r->shortages;
	i->has_turn = r->has_turn;
	i->restarts = (unsigned long)r->restarts;
	i->exit = r->exit;
	i->exit_reason = text_or_null(r->exit_reason);
	i->ends_for = text_or_null(r->ends_for);
	i->code = r->code;
	for (k = 0; k < r->nflaps; k++)
		flaps_add(&i->flaps, &i->runner->conf, r->flaps[k]);
	i->before = xmalloc(sizeof(*i->before));
	*i->before = r->before;
	i->over = r->before.over;
	i->over_began = r->before.over_began;
}

void
past_tell(struct past *p, struct runners *rs)
{
	struct instance *i;
	struct record r;
	size_t place;

	for (place = places_count(p->places); place-- > 0;) {
		i = get(p, place, &r) ? instance_of(rs, &r) : NULL;
		if (i == NULL) {
			if (!places_clear(p->places, place))
				note_failure(p);
			continue;
		}
		i->place = place + 1;
		tell(i, &r);
	}
}

/* ---- to the file ---- */

static bool
is_worth_knowing(const struct instance *i)
{
	if (i->state == STOPPED)
		return i->exit.at > 0 && !runners_are_ending(i->runner->all);
	return !i->blocked;
}

static double
timer_at(const struct instance *i)
{
	ev_timer *timer = (ev_timer *)(uintptr_t)&i->timer;

	if (!ev_is_active(timer))
		return -1;
	return clock_monotonic() +
	    ev_timer_remaining(runners_context(i->runner->all)->loop, timer);
}

static void
put_text(char to[REASON_MAX], const char *text)
{
	strlcpy(to, text ? text : "", REASON_MAX);
}

static void
describe(const struct instance *i, struct record *r)
{
	memset(r, 0, offsetof(struct record, flaps));
	r->used = 1;
	r->n = i->n;
	strlcpy(r->name, i->runner->name, sizeof(r->name));
	r->before.state = i->state;
	r->before.fault = i->fault;
	r->before.id = i->child ? i->child->id : 0;
	r->before.over = i->over;
	r->before.over_began = i->over_began;
	r->before.since = i->since;
	r->before.ready_at = i->ready_at;
	r->before.began = i->began;
	r->before.up_at = i->up_at;
	r->before.timer_at = timer_at(i);
	strlcpy(r->before.why, i->why, sizeof(r->before.why));
	r->exit = i->exit;
	put_text(r->exit_reason, i->exit_reason);
	put_text(r->ends_for, i->ends_for);
	r->code = i->code;
	r->failures = i->failures;
	r->failed_starts = i->failed_starts;
	r->shortages = i->shortages;
	r->has_turn = i->has_turn;
	r->restarts = i->restarts;
	r->nflaps = flaps_list(&i->flaps, r->flaps, FLAPS_MAX);
}

void
past_keep(struct past *p, struct instance *i)
{
	struct record r;

	if (p == NULL)
		return;
	if (!is_worth_knowing(i)) {
		past_drop(p, i);
		return;
	}
	describe(i, &r);
	if (i->place == 0)
		i->place = places_take(p->places) + 1;
	if (places_write(p->places, i->place - 1, &r, length(&r)))
		p->failed = false;
	else
		note_failure(p);
}

void
past_drop(struct past *p, struct instance *i)
{
	if (p && i->place != 0 && !places_clear(p->places, i->place - 1))
		note_failure(p);
	i->place = 0;
}
