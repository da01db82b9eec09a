/* An upgrade, seen to its end. */
#include <time.h>

#include "heroctl.h"

#define PATIENCE 60.0 /* seconds for the new one to answer */
#define PAUSE_MS 20

/* The part of a Summary that tells of herod itself; new, or NULL. */
static json_t *
who_answers(struct ctl *ctl, enum status *status)
{
	json_t *summary =
	    call_once(ctl, method_find("get_all_status"), NULL, status);
	json_t *herod = json_incref(json_object_get(summary, "herod"));

	json_decref(summary);
	return herod;
}

static bool
is_same(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "pid"), json_object_get(b, "pid"));
}

/* Connections wait until the new one takes them, so there is little to be
 * repeated. */
static json_t *
await_other(struct ctl *ctl, const json_t *old, enum status *status)
{
	struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	struct ctl own = *ctl;
	json_t *herod;

	if (own.timeout <= 0)
		own.timeout = PATIENCE;
	while ((herod = who_answers(&own, status)) && is_same(herod, old)) {
		json_decref(herod);
		nanosleep(&pause, NULL);
	}
	if (herod == NULL)
		ctl_say("herod has made way, but the new one does not answer; "
			"its log says more");
	return herod;
}

static void
show(struct ctl *ctl, const json_t *old, const json_t *new)
{
	json_t *both = json_pack("{s:O, s:{s:O, s:O}}", "before", old, "now",
	    "version", json_object_get(new, "version"), "pid",
	    json_object_get(new, "pid"));

	if (ctl->format == FORMAT_JSON)
		show_json(ctl, both);
	else if (!ctl->quiet)
		fprintf(ctl->out,
		    "herod %s (pid %lld) has made way for %s "
		    "(pid %lld)\n",
		    json_string_value(json_object_get(old, "version")),
		    (long long)json_integer_value(json_object_get(old, "pid")),
		    json_string_value(json_object_get(new, "version")),
		    (long long)json_integer_value(json_object_get(new, "pid")));
	json_decref(both);
}

enum status
verb_upgrade(struct ctl *ctl, const struct args *a)
{
	json_t *old, *new = NULL;
	enum status status;
	struct err e = {0};

	if (args_count(a, 0, 0, &e) != 0)
		return ctl_misused(&e);
	old = call_once(ctl, a->verb.method, NULL, &status);
	if (old)
		new = await_other(ctl, old, &status);
	if (new)
		show(ctl, old, new);
	json_decref(new);
	json_decref(old);
	return status;
}
