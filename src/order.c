/* Order of start and stop. */
#include "order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "depend.h"
#include "mem.h"
#include "runners.h"

/* What one runner says to another that depends on it. */
enum verdict { MET, PENDING, FAILED };

static enum verdict
verdict_up(const struct instance *i, enum condition c)
{
	if (i->held)
		return PENDING; /* about to be restarted */
	if (c == DEPEND_EXITED)
		return i->runner->conf.autorestart == AUTORESTART_ALWAYS &&
			instance_ended_well(i)
		    ? MET
		    : PENDING;
	return c == DEPEND_READY && i->state != RUNNING ? PENDING : MET;
}

static enum verdict
verdict_of(const struct instance *i, enum condition c)
{
	if (instance_is_spare(i))
		return MET;
	switch (i->state) {
	case STARTING:
		return i->child && i->child->started_at > 0 ? verdict_up(i, c)
							    : PENDING;
	case RUNNING:
	case PAUSED:
		return verdict_up(i, c);
	case UNKNOWN:
		return MET; /* nobody here could wait for it */
	case EXITED:
		return c != DEPEND_READY && instance_ended_well(i) ? MET
								   : FAILED;
	case DRAINING:
	case STOPPING:
		return i->restart || i->fault != FAULT_NONE ? PENDING : FAILED;
	case STOPPED:
	case FATAL:
		return FAILED;
	default:
		return PENDING;
	}
}

/* The worst of its instances; *telling is one of these. */
static enum verdict
verdict(
    const struct runner *r, enum condition c, const struct instance **telling)
{
	enum verdict worst = MET, v;
	const struct instance *i;
	size_t k;

	*telling = r->instances[0];
	RUNNER_FOREACH_STAYING (i, r, k) {
		v = r->wanted == WANTED_UP ? verdict_of(i, c) : FAILED;
		if (v > worst || k == 0) {
			worst = v;
			*telling = i;
		}
	}
	return worst;
}

/* ---- start ---- */

struct reasons {
	char *text;
	size_t size, len;
	enum order order;
};

static void
wait_for(struct reasons *why, const char *name, enum condition c)
{
	why->order = ORDER_WAIT;
	if (why->len < why->size)
		why->len +=
		    (size_t)snprintf(why->text + why->len, why->size - why->len,
			"%s%s to %s", why->len ? ", " : "waits for ", name,
			c == DEPEND_EXITED	? "end"
			    : c == DEPEND_READY ? "be ready"
						: "be started");
}

static enum order
refused(struct reasons *why, const struct runner *other,
    const struct instance *i, const char *name)
{
	if (other == NULL) {
		snprintf(why->text, why->size,
		    "requires %s: there is no such runner", name);
		return ORDER_FAILED;
	}
	snprintf(why->text, why->size, "requires %s: %s: %.200s", name,
	    state_name(i->state), i->why);
	return i->state == FATAL || i->state == EXITED ? ORDER_FAILED
						       : ORDER_DOWN;
}

/* One word of one list. */
static enum order
look_at(const struct runner *r, enum depend_list list, const char *word,
    struct reasons *why)
{
	const struct instance *i = NULL;
	const struct runner *other;
	enum condition c = DEPEND_PLAIN;
	enum verdict v = FAILED;
	struct depend d;

	depend_parse(word, &d);
	other = runner_find(r->all, d.name);
	if (other) {
		c = depend_condition(&d, &other->conf);
		v = verdict(other, c, &i);
	}
	if (v == PENDING)
		wait_for(why, d.name, c);
	if (v == FAILED && list == DEPEND_REQUIRES)
		return refused(why, other, i, d.name);
	return ORDER_GO;
}

enum order
order_of_start(const struct runner *r, char *text, size_t size)
{
	struct reasons why = {text, size, 0, ORDER_GO};
	char *const *word;
	enum order order;
	size_t list;

	for (list = 0; list < DEPEND_LISTS; list++)
		for (word = depend_words(&r->conf, list); *word; word++) {
			order = look_at(r, list, *word, &why);
			if (order != ORDER_GO)
				return order;
		}
	return why.order;
}

/* The n-th word of requires and wants, or NULL. */
static const char *
needed_word(const struct runner *r, size_t n)
{
	char *const *word;
	size_t list;

	for (list = DEPEND_REQUIRES; list <= DEPEND_WANTS; list++)
		for (word = depend_words(&r->conf, list); *word; word++)
			if (n-- == 0)
				return *word;
	return NULL;
}

struct runner *
order_missing(const struct runner *r, size_t *from)
{
	const struct instance *i;
	struct runner *other;
	const char *word;
	struct depend d;

	while ((word = needed_word(r, (*from)++)) != NULL) {
		depend_parse(word, &d);
		other = runner_find(r->all, d.name);
		if (other && other->wanted != WANTED_REMOVED &&
		    verdict(other, depend_condition(&d, &other->conf), &i) ==
			FAILED)
			return other;
	}
	return NULL;
}

/* ---- while it runs ---- */

static void
say_lack(const struct runner *other, const struct instance *i, const char *name,
    char *why, size_t size)
{
	if (other == NULL)
		snprintf(why, size, "requires %s, which is not there", name);
	else
		snprintf(why, size, "requires %s, which is %s", name,
		    i->state == RUNNING ? "about to stop"
					: state_name(i->state));
}

bool
order_lacks(const struct runner *r, char *why, size_t size)
{
	const struct instance *i = NULL;
	const struct runner *other;
	char *const *word;
	enum condition c;
	struct depend d;

	for (word = depend_words(&r->conf, DEPEND_REQUIRES); *word; word++) {
		depend_parse(*word, &d);
		other = runner_find(r->all, d.name);
		c = other ? depend_condition(&d, &other->conf) : d.condition;
		if (c == DEPEND_EXITED ||
		    (other && verdict(other, c, &i) == MET))
			continue;
		say_lack(other, i, d.name, why, size);
		return true;
	}
	return false;
}

/* ---- stop ---- */

/* The condition under which d has r in the list; DEPEND_PLAIN: not in it. */
static enum condition
condition_in(
    const struct runner *d, enum depend_list list, const struct runner *r)
{
	char *const *word;
	struct depend depend;

	for (word = depend_words(&d->conf, list); *word; word++) {
		depend_parse(*word, &depend);
		if (strcmp(depend.name, r->name) == 0)
			return depend_condition(&depend, &r->conf);
	}
	return DEPEND_PLAIN;
}

bool
order_requires(const struct runner *d, const struct runner *r)
{
	enum condition c = condition_in(d, DEPEND_REQUIRES, r);

	return c == DEPEND_STARTED || c == DEPEND_READY;
}

static bool
depends_on(const struct runner *d, const struct runner *r)
{
	size_t list;

	for (list = 0; list < DEPEND_LISTS; list++)
		if (condition_in(d, list, r) != DEPEND_PLAIN)
			return true;
	return false;
}

/* Has it something running that is to end? */
static bool
is_going_down(const struct runner *d)
{
	bool all = d->wanted != WANTED_UP || runners_are_ending(d->all);
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, d, k)
		if (instance_is_up(i) &&
		    (all || i->held || i->state == STOPPING ||
			i->state == DRAINING))
			return true;
	return false;
}

const struct runner *
order_holder(const struct runner *r)
{
	struct runner *d;

	if (!runners_have_order(r->all))
		return NULL;
	RUNNERS_FOREACH (d, r->all)
		if (d != r && depends_at_all(&d->conf) && is_going_down(d) &&
		    depends_on(d, r))
			return d;
	return NULL;
}

/* ---- all of them ---- */

void
order_sort(struct runner **list, size_t n)
{
	struct depend_node *nodes = xcalloc(n + 1, sizeof(*nodes));
	struct runner **sorted = xcalloc(n + 1, sizeof(*sorted));
	size_t *order = xcalloc(n + 1, sizeof(*order)), i;

	for (i = 0; i < n; i++)
		nodes[i] = (struct depend_node){list[i]->name, &list[i]->conf};
	free(depend_sort(nodes, n, order));
	for (i = 0; i < n; i++)
		sorted[i] = list[order[i]];
	for (i = 0; i < n; i++)
		list[i] = sorted[i];
	free(sorted);
	free(order);
	free(nodes);
}

int
order_check(struct runners *rs, const char *name,
    const struct runner_conf *conf, struct err *e)
{
	struct depend_node *nodes = NULL;
	struct runner *r;
	size_t n = 0;
	int bad;

	if (!depends_at_all(conf))
		return 0;
	RUNNERS_FOREACH (r, rs) {
		nodes = xreallocarray(nodes, n + 2, sizeof(*nodes));
		if (strcmp(r->name, name) != 0)
			nodes[n++] = (struct depend_node){r->name, &r->conf};
	}
	nodes = xreallocarray(nodes, n + 1, sizeof(*nodes));
	nodes[n] = (struct depend_node){name, conf};
	bad = depend_check_cycle(nodes, n + 1, e) ||
	    depend_check_known(nodes, n + 1, n, e);
	free(nodes);
	return bad ? -1 : 0;
}
