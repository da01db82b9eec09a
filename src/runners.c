/* All runners: one tree by name, what is wanted of them, who waits. */
#define LOG_MODULE "runner"

#include "runners.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "depend.h"
#include "log.h"
#include "mem.h"
#include "order.h"
#include "past.h"
#include "probe.h"
#include "ready.h"
#include "rolling.h"
#include "turns.h"

/* After SIGKILL nothing but an unkillable process (state D) is left. */
#define UNKILLABLE_GRACE 10.0

#define PROGRESS_PERIOD 2.0 /* seconds between two lines about a shutdown */

#define PROGRESS_LINES 5 /* who is named in it */

/* Reasons to end a process. */
#define BY_HAND "it was stopped by hand"
#define HEROD_ENDS "herod ends"

#define SHORTAGE_PERIOD 10.0 /* seconds between two lines about it */

RB_HEAD(runner_tree, runner);

struct runner_wait {
	TAILQ_ENTRY(runner_wait) entry;
	struct runner *runner;
	enum wanted what;
	size_t before, instances; /* scaled from, to; 0: not waited for */
	runner_wait_fn fn;
	void *arg;
	ev_timer timer;
};

struct runners {
	struct runner_context context;
	struct runner_tree tree;
	ev_timer sweep; /* frees removed runners between loop turns */
	bool ordered; /* some runner depends on another */
	struct turns turns; /* to start again */
	double shortage_told; /* when, by clock_monotonic() */
	size_t shortages; /* since then */
	bool ending, hurried;
	bool forced; /* something had to be killed for it */
	ev_timer deadline; /* of the shutdown */
	ev_timer progress; /* tells about it */
	void (*done)(void *arg);
	void *done_arg;
};

static int
by_name(const struct runner *a, const struct runner *b)
{
	return strcmp(a->name, b->name);
}

RB_PROTOTYPE_INTERNAL(
    runner_tree, runner, entry, by_name, __attribute__((unused)) static)
RB_GENERATE_INTERNAL(
    runner_tree, runner, entry, by_name, __attribute__((unused)) static)

static void shutdown_go_on(struct runners *rs);

const struct runner_context *
runners_context(const struct runners *rs)
{
	return &rs->context;
}

void
runners_note_order(struct runners *rs)
{
	rs->ordered = true;
}

bool
runners_have_order(const struct runners *rs)
{
	return rs->ordered;
}

struct runner *
runner_find(struct runners *rs, const char *name)
{
	struct runner key = {.name = (char *)(uintptr_t)name};

	return RB_FIND(runner_tree, &rs->tree, &key);
}

struct runner *
runners_first(struct runners *rs)
{
	return RB_MIN(runner_tree, &rs->tree);
}

struct runner *
runners_next(struct runner *r)
{
	return RB_NEXT(runner_tree, NULL, r);
}

static const char *
name_at(size_t i, const void *arg)
{
	struct runner *r = runners_first((struct runners *)(uintptr_t)arg);

	while (r && i-- > 0)
		r = runners_next(r);
	return r ? r->name : NULL;
}

const char *
runner_nearest(struct runners *rs, const char *typo)
{
	return nearest_word(typo, name_at, rs);
}

bool
runner_is_of_file(const struct runner *r)
{
	return !r->internal && !runner_is_external(r) &&
	    strcmp(r->origin, "rpc") != 0;
}

static int
refuse_taken(const struct runner *r, struct err *e)
{
	err_subject(e, r->name);
	if (runner_is_external(r))
		err_hint(e, "heroctl unregister %s", r->name);
	return err_set(e, ERR_EXISTS, "runner %s exists (%s%s)%s", r->name,
	    runner_is_external(r) ? "external, queue " : "from ",
	    runner_is_external(r) ? runner_queue(r) : r->origin,
	    r->wanted == WANTED_REMOVED ? " and is being removed" : "");
}

struct runner *
runner_add(struct runners *rs, const char *name,
    const struct runner_conf *settings, const char *origin, struct err *e)
{
	struct runner *r = runner_find(rs, name);

	if (r) {
		refuse_taken(r, e);
		return NULL;
	}
	r = runner_new(rs, name, settings, origin);
	RB_INSERT(runner_tree, &rs->tree, r);
	rs->ordered = rs->ordered || depends_at_all(settings);
	if (rs->context.watch->added)
		rs->context.watch->added(rs->context.watch->arg, r);
	return r;
}

static bool
is_the_same(const struct runner *r, const char *queue)
{
	return runner_is_external(r) && r->wanted != WANTED_REMOVED &&
	    strcmp(runner_queue(r), queue) == 0;
}

struct runner *
runner_add_external(
    struct runners *rs, const char *name, const char *queue, struct err *e)
{
	struct runner_conf conf = {0};
	struct runner *r = runner_find(rs, name);

	if (r && is_the_same(r, queue))
		return r;
	settings_init(runner_settings, &conf);
	conf.kind = KIND_EXTERNAL;
	conf.queue = xstrdup(queue);
	free(conf.stdout_logfile); /* it writes nothing to us */
	conf.stdout_logfile = xstrdup("NONE");
	r = runner_add(rs, name, &conf, "registered", e);
	settings_clear(runner_settings, &conf);
	return r;
}

/* ---- what is so ---- */

/* From best to worst, for the state of a whole runner. */
static int
badness(enum state s)
{
	static const enum state order[] = {RUNNING, STOPPED, EXITED, PAUSED,
	    WAITING, STARTING, DRAINING, STOPPING, BACKOFF, FATAL};
	size_t i;

	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (order[i] == s)
			return (int)i;
	return 0;
}

enum state
runner_state(const struct runner *r)
{
	enum state worst = r->instances[0]->state;
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (!instance_is_spare(i) && badness(i->state) > badness(worst))
			worst = i->state;
	return worst;
}

unsigned long
runner_restarts(const struct runner *r)
{
	const struct instance *i;
	unsigned long n = 0;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		n += i->restarts;
	return n;
}

bool
instance_serves(const struct instance *i)
{
	return (i->state == RUNNING && !i->held) || instance_is_spare(i);
}

bool
runner_is_up(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (!instance_serves(i))
			return false;
	return true;
}

bool
instance_is_down(const struct instance *i)
{
	return (i->state == STOPPED || i->state == EXITED ||
		   i->state == FATAL) &&
	    i->child == NULL;
}

bool
runner_is_down(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (!instance_is_down(i))
			return false;
	return true;
}

bool
runner_is_settled(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (!instance_is_down(i) && !instance_serves(i))
			return false;
	return true;
}

/* Down, but for processes that SIGKILL does not end. */
static bool
nothing_will_end(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (!instance_is_down(i) && !i->unkillable)
			return false;
	return true;
}

/* ---- waiting ---- */

static void
wait_end(struct runner_wait *w, enum wait_end end)
{
	runner_wait_fn fn = w->fn;
	void *arg = w->arg;

	runner_wait_cancel(w);
	fn(arg, end);
}

void
runner_wait_cancel(struct runner_wait *w)
{
	ev_timer_stop(w->runner->all->context.loop, &w->timer);
	TAILQ_REMOVE(&w->runner->waits, w, entry);
	free(w);
}

static void
on_wait_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "runners");
	(void)loop;
	(void)revents;
	wait_end(timer->data, WAIT_TIMED_OUT);
}

static bool
scaling_is_over(const struct runner_wait *w, enum wait_end *end)
{
	const struct runner *r = w->runner;
	const struct instance *i;
	size_t k;

	*end = WAIT_SUPERSEDED;
	if (r->wanted == WANTED_REMOVED || r->nwanted != w->instances)
		return true;
	*end = WAIT_DONE;
	for (k = w->before; k < r->nwanted && r->wanted == WANTED_UP; k++) {
		i = r->instances[k];
		if (instance_is_down(i))
			*end = WAIT_FAILED;
		else if (!instance_serves(i))
			return false;
	}
	return r->ninstances == r->nwanted;
}

/* True with *end when there is nothing to wait for any more. */
static bool
wait_is_over(const struct runner_wait *w, enum wait_end *end)
{
	const struct runner *r = w->runner;
	enum wanted what = w->what;

	if (w->instances)
		return scaling_is_over(w, end);
	if (r->wanted != what &&
	    !(what == WANTED_DOWN && r->wanted == WANTED_REMOVED)) {
		*end = WAIT_SUPERSEDED;
		return true;
	}
	if (what == WANTED_UP) {
		*end = runner_is_up(r) ? WAIT_DONE : WAIT_FAILED;
		return runner_is_settled(r);
	}
	*end = runner_is_down(r) ? WAIT_DONE : WAIT_FAILED;
	return what == WANTED_DOWN && nothing_will_end(r);
}

/* wanted: what to wait for, and whom to tell; copied. */
static struct runner_wait *
wait_begin(struct runner *r, double timeout, const struct runner_wait *wanted)
{
	struct runner_wait *w;
	enum wait_end end;

	if (wait_is_over(wanted, &end)) {
		wanted->fn(wanted->arg, end);
		return NULL;
	}
	w = xcalloc(1, sizeof(*w));
	*w = *wanted;
	ev_timer_init(&w->timer, on_wait_timer, timeout, 0);
	w->timer.data = w;
	if (timeout > 0)
		ev_timer_start(r->all->context.loop, &w->timer);
	TAILQ_INSERT_TAIL(&r->waits, w, entry);
	return w;
}

struct runner_wait *
runner_wait(struct runner *r, enum wanted what, double timeout,
    runner_wait_fn fn, void *arg)
{
	return wait_begin(r, timeout,
	    &(struct runner_wait){
		.runner = r, .what = what, .fn = fn, .arg = arg});
}

struct runner_wait *
runner_wait_scaled(struct runner *r, size_t before, double timeout,
    runner_wait_fn fn, void *arg)
{
	return wait_begin(r, timeout,
	    &(struct runner_wait){.runner = r,
		.before = before,
		.instances = r->nwanted,
		.fn = fn,
		.arg = arg});
}

/* An answer may start new waits or cancel others: begin again after each. */
static void
answer_waits(struct runner *r)
{
	struct runner_wait *w;
	enum wait_end end;
	bool again;

	rolling_look(r);
	do {
		again = false;
		TAILQ_FOREACH (w, &r->waits, entry) {
			if (!wait_is_over(w, &end))
				continue;
			wait_end(w, end);
			again = true;
			break;
		}
	} while (again);
}

/* ---- what is wanted ---- */

static void
sweep_soon(struct runners *rs)
{
	if (!ev_is_active(&rs->sweep))
		ev_timer_start(rs->context.loop, &rs->sweep);
}

static void
want(struct runner *r, enum wanted wanted)
{
	const struct runner_watch *watch = r->all->context.watch;

	if (r->wanted == wanted || r->wanted == WANTED_REMOVED)
		return;
	r->wanted = wanted;
	if (watch->wanted)
		watch->wanted(watch->arg, r);
	if (r->all->ordered)
		sweep_soon(r->all);
}

static void
start_instances(struct runner *r)
{
	struct instance *i;
	size_t k;

	if (r->wanted == WANTED_UP && !r->all->ending)
		RUNNER_FOREACH_STAYING (i, r, k)
			instance_event(i, EVENT_START);
}

static void start_needed(struct runner *r, char ***also);

void
runner_start_also(struct runner *r, char ***also)
{
	if (!r->all->ending)
		start_needed(r, also);
	want(r, WANTED_UP);
	start_instances(r);
	answer_waits(r);
}

void
runner_start(struct runner *r)
{
	runner_start_also(r, NULL);
}

/* What r requires or wants, and what that does, in turn. */
static void
start_needed(struct runner *r, char ***also)
{
	struct runner *other;
	size_t from = 0;

	if (r->marked)
		return;
	r->marked = true;
	while ((other = order_missing(r, &from)) != NULL) {
		log_info("runner %s: started for %s", other->name, r->name);
		runner_start_also(other, also);
		if (also)
			strv_add(also, xstrdup(other->name));
	}
	r->marked = false;
}

/* why: as for instance_ends_for(). */
static void
stop_instance(struct instance *i, bool drain, const char *why)
{
	instance_ends_for(i, "%s", why);
	i->drain = drain;
	i->restart = false;
	instance_event(i, EVENT_STOP);
}

static void
stop_instances(struct runner *r, bool drain, const char *why)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		stop_instance(i, drain, why);
}

void
runner_want_up(struct runner *r)
{
	want(r, WANTED_UP);
}

/* Whoever waits for it to be up must not see it down in between. */
void
instance_restart(struct instance *i, bool drain, const char *why)
{
	if (!instance_is_up(i)) {
		instance_event(i, EVENT_START);
		return;
	}
	instance_ends_for(i, "%s", why);
	i->drain = drain;
	i->restart = true; /* a free place for jobs starts anew at once */
	instance_event(i, EVENT_STOP);
	instance_set_restart(
	    i, i->state == STOPPING || i->state == DRAINING || i->held);
}

/*
 * Those that require r to be up go down before it.  They stay wanted: when
 * they are down they look for r again, and wait for it or say that they
 * cannot do without.
 */
static void
stop_dependants(struct runner *r, bool drain)
{
	char why[REASON_MAX];
	struct runner *d;
	struct instance *i;
	size_t k;

	snprintf(
	    why, sizeof(why), "it requires %s, which was to stop", r->name);
	if (!r->all->ordered || r->marked)
		return;
	r->marked = true;
	RUNNERS_FOREACH (d, r->all) {
		if (d == r || d->wanted != WANTED_UP || !order_requires(d, r))
			continue;
		stop_dependants(d, drain);
		RUNNER_FOREACH_STAYING (i, d, k)
			if (instance_is_up(i))
				instance_restart(i, drain, why);
	}
	r->marked = false;
}

void
runner_stop(struct runner *r, bool drain)
{
	want(r, WANTED_DOWN);
	stop_dependants(r, drain);
	stop_instances(r, drain, BY_HAND);
	answer_waits(r);
}

void
runner_restart_instances(struct runner *r, bool drain, const char *why)
{
	struct instance *i;
	size_t k;

	stop_dependants(r, drain);
	RUNNER_FOREACH_STAYING (i, r, k)
		instance_restart(i, drain, why);
}

void
runner_restart(struct runner *r, bool drain)
{
	want(r, WANTED_UP);
	if (r->wanted == WANTED_UP && !r->all->ending) {
		start_needed(r, NULL);
		runner_restart_instances(r, drain, RESTARTED_BY_HAND);
	} else
		stop_instances(r, drain, BY_HAND);
	answer_waits(r);
}

void
runner_readmit(
    struct runner *r, const struct runner_conf *conf, const char *origin)
{
	log_info("runner %s: not removed after all", r->name);
	r->wanted = WANTED_DOWN;
	r->persist = false;
	runner_reconfigure(r, conf, origin);
	if (r->conf.autostart)
		runner_start(r);
}

void
runner_remove(struct runner *r)
{
	want(r, WANTED_REMOVED);
	stop_dependants(r, true);
	stop_instances(r, true, "it was removed");
	answer_waits(r);
	sweep_soon(r->all);
}

void
runners_look_again(struct runners *rs)
{
	sweep_soon(rs);
}

/* The highest numbers whose work is done. */
static void
drop_leaving(struct runner *r)
{
	size_t n = r->ninstances;

	while (n > r->nwanted && instance_is_down(r->instances[n - 1]))
		n--;
	if (n == r->ninstances)
		return;
	runner_shrink(r, n);
	answer_waits(r);
}

void
runner_set_instances(struct runner *r, size_t n)
{
	r->nwanted = n;
	runner_grow(r, n);
	sweep_soon(r->all);
}

void
runner_scale(struct runner *r, size_t n)
{
	const struct runner_watch *watch = r->all->context.watch;
	size_t before = r->nwanted, k;

	if (n == before || r->wanted == WANTED_REMOVED)
		return;
	log_info("runner %s: scaled from %zu to %zu", r->name, before, n);
	runner_set_instances(r, n);
	if (watch->wanted)
		watch->wanted(watch->arg, r);
	for (k = n; k < r->ninstances; k++)
		stop_instance(r->instances[k], true, "fewer are wanted");
	if (r->wanted == WANTED_UP && !r->all->ending)
		for (k = before; k < n; k++)
			instance_event(r->instances[k], EVENT_START);
	answer_waits(r);
}

void
runner_need(struct runner *r, size_t n, const char *why)
{
	struct instance *i;
	size_t k;

	r->nneeded = n;
	RUNNER_FOREACH_STAYING (i, r, k)
		if (k >= n)
			instance_recycle(i, why);
		else if (i->state == WAITING)
			instance_event(i, EVENT_ORDER);
	answer_waits(r);
}

static void
forget(struct runners *rs, struct runner *r)
{
	struct runner_wait *w;

	RB_REMOVE(runner_tree, &rs->tree, r);
	rolling_end(r, WAIT_SUPERSEDED);
	while ((w = TAILQ_FIRST(&r->waits)) != NULL)
		wait_end(w, w->what == WANTED_UP ? WAIT_SUPERSEDED : WAIT_DONE);
	if (rs->context.watch->removed)
		rs->context.watch->removed(rs->context.watch->arg, r);
	runner_free(r);
}

void
runners_look_at_order(struct runners *rs)
{
	const struct runner_hooks *hooks = rs->context.hooks;
	struct instance *i;
	struct runner *r;
	size_t k;

	RUNNERS_FOREACH (r, rs)
		RUNNER_FOREACH_INSTANCE (i, r, k)
			if (i->state == WAITING || i->blocked || i->held)
				instance_event(i, EVENT_ORDER);
	if (hooks->order)
		hooks->order(hooks->arg);
}

static void
on_sweep(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "runners");
	struct runners *rs = timer->data;
	struct runner *r, *next;

	(void)loop;
	(void)revents;
	for (r = runners_first(rs); r; r = next) {
		next = runners_next(r);
		if (r->wanted == WANTED_REMOVED && runner_is_down(r))
			forget(rs, r);
		else
			drop_leaving(r);
	}
}

bool
instance_is_over_for_good(const struct instance *i)
{
	return i->state == EXITED ||
	    (i->state == FATAL && !i->blocked &&
		i->runner->conf.fatal_retry <= 0);
}

/* The first that failed tells, and who is FATAL has failed in any case. */
static int
worst_code(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (i->code != 0 || i->state == FATAL)
			return i->code ? i->code : EXIT_FAILURE;
	return EXIT_SUCCESS;
}

/* Tells of an essential runner when all its instances are over. */
static void
look_at_essential(struct runner *r)
{
	const struct runner_watch *watch = r->all->context.watch;
	const struct instance *i;
	size_t k;

	if (!r->conf.essential || r->wanted != WANTED_UP || r->all->ending)
		return;
	RUNNER_FOREACH_STAYING (i, r, k)
		if (!instance_is_over_for_good(i))
			return;
	if (watch->lost)
		watch->lost(watch->arg, r, worst_code(r));
}

void
runners_changed(struct instance *i, enum state old)
{
	struct runner *r = i->runner;
	struct runners *rs = r->all;
	const struct runner_watch *watch = rs->context.watch;

	if (watch->changed)
		watch->changed(watch->arg, i, old);
	look_at_essential(r);
	answer_waits(r);
	/* The caller still holds r: look between loop turns. */
	if (rs->ending || rs->ordered || r->wanted == WANTED_REMOVED ||
	    instance_is_leaving(i))
		sweep_soon(rs);
}

void
runners_health_changed(struct instance *i)
{
	const struct runner_watch *watch = i->runner->all->context.watch;

	if (watch->health)
		watch->health(watch->arg, i);
}

/* ---- start and end of everything ---- */

/* Internal ones first, then by priority. */
static int
by_level(const struct runner *x, const struct runner *y)
{
	if (x->internal != y->internal)
		return x->internal ? -1 : 1;
	if (x->conf.priority != y->conf.priority)
		return x->conf.priority < y->conf.priority ? -1 : 1;
	return 0;
}

static int
by_priority(const void *a, const void *b)
{
	const struct runner *x = *(struct runner *const *)a;
	const struct runner *y = *(struct runner *const *)b;
	int level = by_level(x, y);

	return level ? level : strcmp(x->name, y->name);
}

/* All runners in order of start: by dependencies, then by priority; *n says
 * how many.  free(3) it. */
static struct runner **
in_order(struct runners *rs, size_t *n)
{
	struct runner **list = NULL, *r;

	*n = 0;
	RUNNERS_FOREACH (r, rs) {
		list = xreallocarray(list, *n + 1, sizeof(*list));
		list[(*n)++] = r;
	}
	if (list)
		qsort(list, *n, sizeof(*list), by_priority);
	if (rs->ordered)
		order_sort(list, *n);
	return list;
}

bool
runner_is_in_all(const struct runner *r)
{
	return !r->internal && !runner_is_external(r) &&
	    r->wanted != WANTED_REMOVED;
}

/* It was being ended for a fault of its own. */
static bool
was_faulty(const struct instance *i)
{
	return i->before && i->child && i->before->id == i->child->id &&
	    i->before->state == STOPPING && i->before->fault == FAULT_SICK &&
	    i->ends_for;
}

/* The herod before us died over it. */
static void
restart_again(struct runner *r)
{
	struct instance *i;
	size_t k;

	if (r->wanted == WANTED_UP && !r->all->ending)
		RUNNER_FOREACH_STAYING (i, r, k) {
			if (i->again)
				instance_restart(i, true,
				    i->ends_for ? i->ends_for
						: RESTARTED_BY_HAND);
			else if (was_faulty(i))
				instance_fault(i, "%s", i->ends_for);
			i->again = false;
		}
}

void
runners_start_all(struct runners *rs)
{
	struct runner **list;
	size_t i, n;

	list = in_order(rs, &n);
	for (i = 0; i < n; i++)
		if (runner_is_in_all(list[i]))
			runner_start(list[i]);
	free(list);
}

/* First it is known who goes, then the last to start goes first. */
void
runners_stop_all(struct runners *rs, bool drain)
{
	struct runner **list;
	size_t i, n;

	list = in_order(rs, &n);
	for (i = 0; i < n; i++)
		if (runner_is_in_all(list[i]))
			want(list[i], WANTED_DOWN);
	for (i = n; i-- > 0;)
		if (runner_is_in_all(list[i]))
			runner_stop(list[i], drain);
	free(list);
}

/* Nobody has said of these that they are to be down: they come up for
 * those that need them. */
static void
want_needed(struct runner *r)
{
	struct runner *other;
	size_t from = 0;

	if (r->marked)
		return;
	r->marked = true;
	while ((other = order_missing(r, &from)) != NULL) {
		if (other->wanted == WANTED_DOWN && !other->conf.autostart) {
			log_info("runner %s: to be started for %s", other->name,
			    r->name);
			want(other, WANTED_UP);
		}
		if (other->wanted == WANTED_UP)
			want_needed(other);
	}
	r->marked = false;
}

void
runners_remember(struct runners *rs, struct past *past)
{
	rs->context.past = past;
	past_tell(past, rs);
}

/* What has no process goes on with what it was doing. */
static void
settle_instances(struct runner *r)
{
	struct instance *i;
	size_t k;

	if (r->all->ending)
		return;
	RUNNER_FOREACH_STAYING (i, r, k) {
		if (r->wanted == WANTED_UP)
			instance_event(
			    i, i->before ? EVENT_RESUME : EVENT_START);
		instance_go_on(i);
	}
}

/* All that is known of the past is in them now. */
static void
forget_past(struct runner *r)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k) {
		free(i->before);
		i->before = NULL;
		past_keep(r->all->context.past, i);
	}
}

void
runners_settle(struct runners *rs, bool again)
{
	struct runner **list;
	size_t i, k, n;

	list = in_order(rs, &n);
	for (i = n; i-- > 0 && !again;)
		if (list[i]->wanted == WANTED_UP)
			want_needed(list[i]);
	for (i = 0; i < n; i++) {
		settle_instances(list[i]);
		restart_again(list[i]);
		k = list[i]->wanted == WANTED_UP ? list[i]->nwanted : 0;
		for (; k < list[i]->ninstances; k++)
			stop_instance(
			    list[i]->instances[k], true, "it is not wanted");
		forget_past(list[i]);
	}
	free(list);
	sweep_soon(rs);
}

bool
runners_are_ending(const struct runners *rs)
{
	return rs->ending;
}

double
runners_take_turn(struct runners *rs)
{
	return turns_take(
	    &rs->turns, rs->context.conf->restart_rate, clock_monotonic());
}

void
runners_note_shortage(
    struct runners *rs, const struct instance *i, const char *what)
{
	double now = clock_monotonic();

	rs->shortages++;
	if (rs->shortage_told > 0 && now - rs->shortage_told < SHORTAGE_PERIOD)
		return;
	log_warnx("runner %s.%d: no room for its process (%s); %zu start%s put "
		  "off",
	    i->runner->name, i->n, what, rs->shortages,
	    rs->shortages == 1 ? "" : "s");
	rs->shortage_told = now;
	rs->shortages = 0;
}

void
runners_note_kill(struct runners *rs)
{
	rs->forced = rs->forced || rs->ending;
}

bool
runners_were_forced(const struct runners *rs)
{
	return rs->forced;
}

static void
kill_instances(struct runner *r)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k) {
		instance_ends_for(i, HEROD_ENDS);
		instance_event(i, EVENT_KILL);
	}
}

/* Once: a second stop would cut short what the first lets end.  What was
 * to start again when it is down stays down. */
static void
stop_for_good(struct runner *r)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k) {
		i->restart = false;
		i->fault = FAULT_NONE;
		if (i->state == STOPPING || i->state == DRAINING)
			continue;
		stop_instance(i, true, HEROD_ENDS);
	}
}

/* What has no process has nothing to wait for. */
static void
stop_idle(struct runner *r)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (!instance_is_up(i))
			stop_instance(i, true, HEROD_ENDS);
}

/* In the order of start: who still runs and may be ended now, being of the
 * last level of these. */
static bool
may_end(const struct runner *r, const struct runner *last)
{
	if (nothing_will_end(r) || (last && by_level(r, last) < 0))
		return false;
	return r->all->hurried || order_holder(r) == NULL;
}

/* Of those that nobody waits for, the last level. */
static const struct runner *
last_level(struct runner *const *list, size_t n)
{
	const struct runner *last = NULL;

	while (n-- > 0)
		if (may_end(list[n], last))
			last = list[n];
	return last;
}

static void
end_level(struct runner *const *list, size_t n, const struct runner *last)
{
	while (n-- > 0) {
		if (!may_end(list[n], last))
			continue;
		if (list[n]->all->hurried)
			kill_instances(list[n]);
		else
			stop_for_good(list[n]);
	}
}

/* Ends the last level of those that still have something up, or says that
 * all is done. */
static void
shutdown_go_on(struct runners *rs)
{
	struct runner **list;
	const struct runner *last;
	size_t i, n;

	list = in_order(rs, &n);
	for (i = 0; i < n; i++)
		stop_idle(list[i]);
	last = last_level(list, n);
	if (last)
		end_level(list, n, last);
	for (i = 0; i < n && last == NULL; i++)
		rs->forced = rs->forced || !runner_is_down(list[i]);
	free(list);
	if (last || rs->done == NULL)
		return;
	ev_timer_stop(rs->context.loop, &rs->deadline);
	ev_timer_stop(rs->context.loop, &rs->progress);
	rs->done(rs->done_arg);
	rs->done = NULL;
}

static void
on_sweep_or_end(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "runners");
	struct runners *rs = timer->data;

	on_sweep(loop, timer, revents);
	if (rs->ending)
		shutdown_go_on(rs);
	else if (rs->ordered)
		runners_look_at_order(rs);
}

static void
on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "runners");
	struct runners *rs = timer->data;
	struct runner *r;

	(void)loop;
	(void)revents;
	if (!rs->hurried) {
		log_warnx("shutdown: shutdown_timeout is over, killing");
		runners_shutdown(rs, true, rs->done, rs->done_arg);
		return;
	}
	rs->forced = true;
	RUNNERS_FOREACH (r, rs)
		if (!runner_is_down(r))
			log_errorx("runner %s: not waited for any longer: %s",
			    r->name, r->instances[0]->why);
	if (rs->done)
		rs->done(rs->done_arg);
	rs->done = NULL;
}

/* Whom the end waits for, for who wants to know. */
static void
on_progress(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "runners");
	struct runners *rs = timer->data;
	const struct instance *i;
	struct runner *r;
	size_t k, n = 0;

	(void)loop;
	(void)revents;
	RUNNERS_FOREACH (r, rs)
		RUNNER_FOREACH_INSTANCE (i, r, k) {
			if (instance_is_down(i) || n++ >= PROGRESS_LINES)
				continue;
			log_warnx("shutdown: waits for runner %s.%d: %s: %s",
			    r->name, i->n, state_name(i->state), i->why);
		}
	if (n > PROGRESS_LINES)
		log_warnx("shutdown: waits for %zu more", n - PROGRESS_LINES);
}

void
runners_shutdown(
    struct runners *rs, bool hurry, void (*done)(void *), void *arg)
{
	struct ev_loop *loop = rs->context.loop;
	bool again = rs->hurried;

	rs->ending = true;
	rs->hurried = rs->hurried || hurry;
	rs->done = done;
	rs->done_arg = arg;
	if (again)
		return; /* nothing is faster, and it has its bound */
	ev_timer_stop(loop, &rs->deadline);
	ev_timer_set(&rs->deadline,
	    rs->hurried ? UNKILLABLE_GRACE : rs->context.conf->shutdown_timeout,
	    0);
	ev_timer_start(loop, &rs->deadline);
	ev_timer_again(loop, &rs->progress);
	sweep_soon(rs);
}

/* ---- adoption ---- */

/* One that the herod before us was still draining gets its place again. */
static struct instance *
instance_of(struct runners *rs, const json_t *tag)
{
	const char *name = json_string_value(json_object_get(tag, "runner"));
	json_int_t n = json_integer_value(json_object_get(tag, "n"));
	struct runner *r = name ? runner_find(rs, name) : NULL;

	if (r == NULL || n < 0 || n >= INSTANCES_MAX)
		return NULL;
	runner_grow(r, (size_t)n + 1);
	return r->instances[n];
}

static void
note_stray(struct child *c)
{
	char how[160];

	log_warnx("pid %d: nobody's any more: %s", (int)c->pid,
	    child_end_text(c, how, sizeof(how)));
}

/* The configuration has no place for it now, so it is asked to end: by the
 * rules of its runner if that is still there. */
static void
end_stray(struct runners *rs, struct child *c, const json_t *tag)
{
	static const struct child_ops ops = {
	    .output = child_ignore_output, .over = note_stray};
	const char *name = json_string_value(json_object_get(tag, "runner"));
	struct runner *r = name ? runner_find(rs, name) : NULL;
	struct runner_conf plain = {0};
	struct stop_rules rules;

	settings_init(runner_settings, &plain);
	stop_rules_of(&plain, &rules);
	if (r)
		stop_rules_of(&r->conf, &rules);
	child_adopt(c, &ops, NULL);
	child_stop(c, &rules);
	settings_clear(runner_settings, &plain);
}

static void
ignore_end(struct child *c)
{
	static const struct child_ops ops = {
	    .output = child_ignore_output, .over = child_ignore_over};

	child_adopt(c, &ops, NULL);
}

/* The herod before us had seen its end, and started the next one already,
 * which has the group now. */
static void
take_note_of(struct instance *i, struct child *c)
{
	instance_note_exit(i, c);
	ignore_end(c);
}

/* That one had done all that follows from its end, but not told the keeper
 * so. */
static bool
is_dealt_with(const struct instance *i, const struct child *c)
{
	return child_has_ended(c) && i->before && i->before->over == c->id &&
	    fabs(i->before->over_began - c->started_at) < 0.001;
}

bool
runners_adopt(struct runners *rs, struct child *c, const char *text)
{
	const struct runner_hooks *hooks = rs->context.hooks;
	json_t *tag = json_loads(text, 0, NULL);
	bool is_probe = probe_is_tag(tag), taken = false;
	struct instance *i = is_probe ? NULL : instance_of(rs, tag);
	bool is_job = json_object_get(tag, "job") != NULL;

	if (is_probe) {
		probe_forget(c);
		taken = true;
	} else if (i == NULL || is_job != (i->runner->conf.kind == KIND_EXEC)) {
		log_warnx("pid %d: no runner for it any more (%s)", (int)c->pid,
		    text);
		/* A job is given back at once: its process must be dead. */
		taken = !is_job && tag;
		if (taken)
			end_stray(rs, c, tag);
	} else if (is_job) {
		/* What is in the group is of the job that came after it. */
		if (!child_has_ended(c) || i->child == NULL)
			child_cgroup(c, i->cgroup);
		taken = hooks->adopt && hooks->adopt(hooks->arg, i, c, tag);
		if (taken) {
			instance_event(i, EVENT_ADOPT);
			instance_go_on(i);
		} else
			child_cgroup(c, NULL);
	} else if (is_dealt_with(i, c)) {
		ignore_end(c);
		if (i->before->state == EXITED)
			instance_keep_end(i, c);
		taken = true;
	} else if (i->child == NULL) {
		child_cgroup(c, i->cgroup);
		ready_found(i, tag);
		i->told = i->again =
		    json_is_true(json_object_get(tag, "again"));
		instance_adopt(i, c);
		taken = true;
	} else if (child_has_ended(c)) {
		take_note_of(i, c);
		taken = true;
	}
	json_decref(tag);
	return taken;
}

/* ---- making ---- */

struct runners *
runners_new(struct ev_loop *loop, const struct daemon_conf *conf,
    const struct runner_hooks *hooks, const struct runner_watch *watch)
{
	struct runners *rs = xcalloc(1, sizeof(*rs));

	rs->context = (struct runner_context){
	    .loop = loop, .conf = conf, .hooks = hooks, .watch = watch};
	rs->context.output =
	    (struct output_home){.dir = xasprintf("%s/log", conf->state_dir),
		.ring_bytes = (size_t)conf->log_ring,
		.files = logfiles_new(loop),
		.sink = sink_new(conf->syslog_socket, conf->journal_socket),
		.spare = output_spare_new(),
		.job_followers = job_followers_new()};
	RB_INIT(&rs->tree);
	ev_timer_init(&rs->sweep, on_sweep_or_end, 0, 0);
	ev_timer_init(&rs->deadline, on_deadline, 0, 0);
	ev_timer_init(&rs->progress, on_progress, 0, PROGRESS_PERIOD);
	rs->sweep.data = rs->deadline.data = rs->progress.data = rs;
	return rs;
}

void
runners_reopen_logs(struct runners *rs)
{
	logfiles_reopen(rs->context.output.files);
}

void
runners_set_cgroups(struct runners *rs, struct cgroups *cgroups)
{
	rs->context.cgroups = cgroups;
}

void
runners_set_keeper(struct runners *rs, struct keeper *keeper)
{
	rs->context.keeper = keeper;
}

void
runners_set_notify(struct runners *rs, struct notify *notify)
{
	rs->context.notify = notify;
}

void
runners_free(struct runners *rs)
{
	struct runner *r;

	ev_timer_stop(rs->context.loop, &rs->sweep);
	ev_timer_stop(rs->context.loop, &rs->deadline);
	ev_timer_stop(rs->context.loop, &rs->progress);
	while ((r = runners_first(rs)) != NULL)
		forget(rs, r);
	free(rs->context.output.dir);
	logfiles_free(rs->context.output.files);
	sink_free(rs->context.output.sink);
	output_spare_free(rs->context.output.spare);
	job_followers_free(rs->context.output.job_followers);
	free(rs);
}
