/* The record of processes that live. */
#define LOG_MODULE "keeper"

#include "living.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "places.h"

#define LIVING_VERSION 1 /* of the struct */

_Static_assert(sizeof(struct living) <= PLACE_SIZE, "it has room");

struct living_file {
	struct places *places;
	bool failed;
};

/* The lowest is taken first. */
static void
find_free(struct living_file *f)
{
	struct living l;
	size_t i;

	for (i = living_count(f); i-- > 0;)
		if (!living_get(f, i, &l))
			places_give(f->places, i);
}

struct living_file *
living_open(const char *state_dir)
{
	char *path = xasprintf("%s/" LIVING_NAME, state_dir);
	struct places *places = places_open(path, LIVING_VERSION);
	struct living_file *f;

	free(path);
	if (places == NULL)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	f->places = places;
	find_free(f);
	return f;
}

void
living_close(struct living_file *f)
{
	if (f == NULL)
		return;
	places_close(f->places);
	free(f);
}

/* ---- places ---- */

size_t
living_count(const struct living_file *f)
{
	return places_count(f->places);
}

bool
living_get(const struct living_file *f, size_t place, struct living *l)
{
	return places_read(f->places, place, l, sizeof(*l)) == sizeof(*l) &&
	    l->id != 0 && l->pid >= 0 && l->pid != 1 &&
	    memchr(l->tag, '\0', sizeof(l->tag)) != NULL;
}

size_t
living_take(struct living_file *f)
{
	return places_take(f->places);
}

static void
note_failure(struct living_file *f)
{
	if (!f->failed)
		log_warn("the record of processes cannot be written: should "
			 "herod and herod-keeper be killed both now, the next "
			 "herod does not know what lives");
	f->failed = true;
}

void
living_put(struct living_file *f, size_t place, const struct living *l)
{
	if (places_write(f->places, place, l, sizeof(*l)))
		f->failed = false;
	else
		note_failure(f);
}

void
living_clear(struct living_file *f, size_t place)
{
	if (!places_clear(f->places, place))
		note_failure(f);
}
