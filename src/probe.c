/*
 * Health of an instance.
 *
 * One timer serves both for the time to the next probe and for the limit of
 * the one that runs.
 */
#define LOG_MODULE "runner"

#include "probe.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "ready.h"
#include "target.h"
#include "turns.h"

#define OUTPUT_MAX 256 /* bytes that are kept of what a probe writes */
#define LEFT_MAX 3 /* probes in state D before no more are begun */
#define IMPATIENCE 0.5 /* seconds between probes while it is awaited */

enum health {
	HEALTH_STARTING,
	HEALTHY,
	UNHEALTHY
}; /* from best to worst,
    * but for the first two */

struct probe {
	struct instance *instance;
	struct child *child; /* NULL: none runs */
	ev_timer timer;
	bool active; /* whoever runs, and results count */
	bool stale; /* the one that runs began before that */
	bool late; /* it took too long */
	enum health health;
	double since; /* Unix seconds */
	double begun; /* probing, monotonic */
	unsigned failures; /* in a row */
	char output[OUTPUT_MAX]; /* of the last one that ended */
	char writing[OUTPUT_MAX]; /* of the one that runs */
	size_t len;
	struct child *left[LEFT_MAX]; /* that SIGKILL does not end */
	size_t nleft;
};

static const struct runner_context *
context(const struct probe *p)
{
	return runners_context(p->instance->runner->all);
}

static const struct runner_conf *
conf(const struct probe *p)
{
	return &p->instance->runner->conf;
}

static const char *
health_word(enum health h)
{
	static const char *const words[] = {"starting", "healthy", "unhealthy"};

	return words[h];
}

static void
set_timer(struct probe *p, double seconds)
{
	struct ev_loop *loop = context(p)->loop;

	ev_timer_stop(loop, &p->timer);
	ev_now_update(loop);
	ev_timer_set(&p->timer, seconds, 0);
	ev_timer_start(loop, &p->timer);
}

static double
pause_between(const struct probe *p)
{
	double interval = conf(p)->health_interval;

	return ready_is_awaited(p->instance) ? fmin(interval, IMPATIENCE)
					     : interval;
}

/* ---- what was found ---- */

static void
enter_health(struct probe *p, enum health next)
{
	if (p->health == next)
		return;
	p->health = next;
	p->since = ev_time();
	if (next == UNHEALTHY)
		log_warnx("runner %s.%d: unhealthy: %s",
		    p->instance->runner->name, p->instance->n, p->output);
	else
		log_info("runner %s.%d: %s", p->instance->runner->name,
		    p->instance->n, health_word(next));
	runners_health_changed(p->instance);
}

static bool
is_well(const struct probe *p)
{
	const struct child *c = p->child;

	return !p->late && c->stage == NULL && c->status_known &&
	    WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0;
}

/* "exit 1: connection refused" */
static void
note_output(struct probe *p, bool well)
{
	char how[160], time[32];

	if (well)
		how[0] = '\0';
	else if (p->late)
		snprintf(how, sizeof(how), "no answer within %s",
		    duration_text(conf(p)->health_timeout, time));
	else
		child_end_text(p->child, how, sizeof(how));
	while (p->len > 0 && p->writing[p->len - 1] == '\n')
		p->len--;
	snprintf(p->output, sizeof(p->output), "%s%s%.*s", how,
	    *how && p->len ? ": " : "", (int)p->len, p->writing);
}

/* Failures do not count yet. */
static bool
is_early(const struct probe *p)
{
	return ready_is_awaited(p->instance) ||
	    (p->health == HEALTH_STARTING &&
		clock_monotonic() - p->begun < conf(p)->health_start_period);
}

static void
found_well(struct probe *p)
{
	p->failures = 0;
	enter_health(p, HEALTHY);
	if (ready_is_awaited(p->instance))
		instance_event(p->instance, EVENT_READY);
}

static void
found_ill(struct probe *p)
{
	if (is_early(p))
		return;
	p->failures++;
	if (p->failures < (unsigned long)conf(p)->health_retries ||
	    p->health == UNHEALTHY)
		return;
	enter_health(p, UNHEALTHY);
	if (conf(p)->health_action == HEALTH_RESTART)
		instance_fault(p->instance, "unhealthy, %u probe%s failed: %s",
		    p->failures, p->failures == 1 ? "" : "s in a row",
		    p->output);
}

/* Nothing more comes from the one that runs. */
static void
conclude(struct probe *p)
{
	bool counts = p->active && !p->stale && !p->child->shortage;
	bool well = is_well(p);

	if (counts)
		note_output(p, well);
	p->child = NULL;
	ev_timer_stop(context(p)->loop, &p->timer);
	if (p->active)
		set_timer(p, pause_between(p));
	if (counts && well)
		found_well(p);
	else if (counts)
		found_ill(p);
}

static void
on_over(struct child *c)
{
	conclude(c->arg);
}

/* ---- one that does not end ---- */

static const struct child_ops forgotten_ops = {
    .output = child_ignore_output, .over = child_ignore_over};

static void
on_left_over(struct child *c)
{
	struct probe *p = c->arg;
	size_t k = 0;

	while (p->left[k] != c)
		k++;
	p->left[k] = p->left[--p->nleft];
}

static const struct child_ops left_ops = {
    .output = child_ignore_output, .over = on_left_over};

/* SIGKILL does not end it (state D): it has failed, and the next does not
 * wait for it. */
static void
on_unkillable(struct child *c, const char *what)
{
	struct probe *p = c->arg;

	log_warnx("runner %s.%d: health: %s does not end; it is not waited for",
	    p->instance->runner->name, p->instance->n, what);
	p->left[p->nleft++] = c;
	child_adopt(c, &left_ops, p);
	conclude(p);
}

static void
forget_left(struct probe *p)
{
	while (p->nleft > 0)
		child_adopt(p->left[--p->nleft], &forgotten_ops, NULL);
}

/* So that they do not become ever more. */
static void
fail_unbegun(struct probe *p)
{
	snprintf(p->output, sizeof(p->output),
	    "the last %d probes do not end, though killed", LEFT_MAX);
	set_timer(p, pause_between(p));
	found_ill(p);
}

/* ---- a probe ---- */

static void
on_output(struct child *c, int stream, const char *buf, size_t len)
{
	struct probe *p = c->arg;
	size_t room = sizeof(p->writing) - p->len;

	(void)stream;
	if (len > room)
		len = room;
	memcpy(p->writing + p->len, buf, len);
	p->len += len;
}

static const struct child_ops probe_ops = {
    .output = on_output, .unkillable = on_unkillable, .over = on_over};

void
probe_forget(struct child *c)
{
	child_adopt(c, &forgotten_ops, NULL);
	child_kill(c);
}

static void
launch(struct probe *p, struct child_spec *spec, char *const *argv)
{
	char tag[CHILD_TAG_MAX];
	struct err e = {0};

	snprintf(tag, sizeof(tag),
	    "{\"probe\":true,\"runner\":\"%s\",\"n\":%d}",
	    p->instance->runner->name, p->instance->n);
	spec->argv = argv;
	spec->tag = tag;
	spec->stderr_to_stdout = true;
	p->child = child_start(context(p)->keeper, spec, &probe_ops, p, &e);
	if (p->child == NULL)
		log_warnx(
		    "runner %s: health: %s", p->instance->runner->name, e.text);
}

/* As the runner's own processes are. */
static void
launch_command(struct probe *p, const char *command)
{
	struct child_spec spec;
	struct err e = {0};
	char **argv;

	/* It is no stray of the runner's, nor that of it; nor may it begin the
	 * group anew, which has to tell of the runner's end yet. */
	if (runner_spec_outside(p->instance, NULL, &spec, &e) != 0) {
		log_warnx(
		    "runner %s: health: %s", p->instance->runner->name, e.text);
		return;
	}
	argv = words_split(command, &e);
	if (argv)
		launch(p, &spec, argv);
	strv_free(argv);
	spec_clear(&spec);
}

/* By herod itself, whoever the runner is. */
static void
launch_look(struct probe *p, const char *target)
{
	char self[PATH_MAX], option[] = "--probe";
	char *argv[] = {self, option, (char *)(uintptr_t)target, NULL};
	char *envp[] = {NULL};
	struct child_spec spec = {.envp = envp,
	    .directory = "/",
	    .umask = 022,
	    .stdin_fd = -1,
	    .keep_fd = -1,
	    .cgroup_fd = -1};
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *gone;

	self[len > 0 ? len : 0] = '\0';
	gone = strstr(self, " (deleted)"); /* it was replaced by another */
	if (gone)
		*gone = '\0';
	launch(p, &spec, argv);
}

static void
begin(struct probe *p)
{
	const char *health = conf(p)->health;
	struct target t;

	p->stale = p->late = false;
	p->len = 0;
	if (p->nleft == LEFT_MAX) {
		fail_unbegun(p);
		return;
	}
	if (health == NULL || target_parse(health, &t, NULL) != 0)
		return;
	if (t.kind == TARGET_EXEC)
		launch_command(p, t.command);
	else
		launch_look(p, health);
	set_timer(p, p->child ? conf(p)->health_timeout : pause_between(p));
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a probe");
	struct probe *p = w->data;

	(void)loop;
	(void)revents;
	if (p->child) {
		p->late = true;
		child_kill(p->child);
	} else if (p->active) {
		begin(p);
	}
}

/* ---- its life ---- */

static struct probe *
probe_new(struct instance *i)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->instance = i;
	ev_timer_init(&p->timer, on_timer, 0, 0);
	p->timer.data = p;
	return p;
}

/* The results of the one that still runs are nobody's any more; the next
 * begins when it is gone. */
static void
stop_probing(struct probe *p)
{
	p->active = false;
	p->stale = true;
	ev_timer_stop(context(p)->loop, &p->timer);
	if (p->child)
		child_kill(p->child);
}

static void
start_probing(struct probe *p)
{
	p->active = true;
	p->health = HEALTH_STARTING;
	p->since = ev_time();
	p->begun = clock_monotonic();
	p->failures = 0;
	p->output[0] = '\0';
	if (p->child == NULL)
		set_timer(p,
		    ready_is_awaited(p->instance) ? 0
						  : conf(p)->health_interval);
}

static bool
is_to_be_probed(const struct instance *i)
{
	if (i->runner->conf.health == NULL || i->child == NULL)
		return false;
	return i->state == RUNNING ||
	    (i->state == STARTING && i->child->started_at > 0 &&
		ready_by_probe(i));
}

void
probe_state(struct instance *i)
{
	bool on = is_to_be_probed(i);

	if (i->probe == NULL && on)
		i->probe = probe_new(i);
	if (i->probe == NULL || i->probe->active == on)
		return;
	if (on)
		start_probing(i->probe);
	else
		stop_probing(i->probe);
}

void
probe_settings(struct instance *i)
{
	struct probe *p = i->probe;

	if (p && p->active && p->child == NULL)
		set_timer(p, pause_between(p));
}

void
probe_free(struct instance *i)
{
	if (i->probe == NULL)
		return;
	stop_probing(i->probe);
	if (i->probe->child)
		probe_forget(i->probe->child);
	forget_left(i->probe);
	free(i->probe);
	i->probe = NULL;
}

bool
probe_is_tag(const json_t *tag)
{
	return json_is_true(json_object_get(tag, "probe"));
}

/* ---- for people ---- */

json_t *
probe_json(const struct instance *i)
{
	const struct probe *p = i->probe;
	char stamp[TIME_TEXT_SIZE];

	if (p == NULL || !p->active)
		return json_null();
	return json_pack("{s:s, s:s, s:o, s:i}", "status",
	    health_word(p->health), "since", time_text(p->since, stamp),
	    "output", text_json(p->output, strlen(p->output)), "failures",
	    (int)p->failures);
}

bool
probe_is_well(const struct instance *i)
{
	const struct probe *p = i->probe;

	return i->runner->conf.health == NULL ||
	    (p && p->active && p->health == HEALTHY);
}

/* Unhealthy, then starting, then healthy. */
static int
badness(const struct instance *i)
{
	static const int of[] = {
	    [HEALTHY] = 1, [HEALTH_STARTING] = 2, [UNHEALTHY] = 3};

	return i->probe && i->probe->active ? of[i->probe->health] : 0;
}

json_t *
probe_worst_json(const struct runner *r)
{
	const struct instance *i, *worst = r->instances[0];
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (badness(i) > badness(worst))
			worst = i;
	return probe_json(worst);
}
