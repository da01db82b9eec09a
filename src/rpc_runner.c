/* Methods about runners: their state, start and stop. */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sys/queue.h>

#include "jsonrpc.h"
#include "keep.h"
#include "mem.h"
#include "order.h"
#include "privs.h"
#include "probe.h"
#include "ready.h"
#include "redis.h"
#include "reload.h"
#include "rolling.h"
#include "rpc.h"
#include "rpc_runner.h"
#include "runners.h"
#include "worker.h"

/* ---- one runner as JSON (schemas.def: RunnerStatus) ---- */

json_t *
time_json(double unix_seconds)
{
	char stamp[TIME_TEXT_SIZE];

	return json_string(time_text(unix_seconds, stamp));
}

static json_t *
rusage_json(const struct instance *i)
{
	if (!i->exit.known)
		return json_null();
	return json_pack("{s:f, s:f, s:I}", "utime", i->exit.utime, "stime",
	    i->exit.stime, "maxrss", (json_int_t)i->exit.maxrss);
}

json_t *
exit_json(const struct instance *i)
{
	int status = i->exit.status;
	char name[16];
	json_t *code = json_null(), *signal = json_null();

	if (i->exit.at <= 0)
		return json_null();
	if (i->exit.known && WIFEXITED(status))
		code = json_integer(WEXITSTATUS(status));
	if (i->exit.known && WIFSIGNALED(status))
		signal = json_string(signal_name(WTERMSIG(status), name));
	return json_pack("{s:o, s:o, s:b, s:b, s:o, s:o, s:s?}", "code", code,
	    "signal", signal, "core",
	    i->exit.known && WIFSIGNALED(status) && WCOREDUMP(status), "oom",
	    i->exit.oom, "at", time_json(i->exit.at), "rusage", rusage_json(i),
	    "reason", i->exit_reason);
}

json_t *
pid_json(const struct instance *i)
{
	return i->child && i->child->pid ? json_integer(i->child->pid)
					 : json_null();
}

static double
uptime(const struct instance *i)
{
	return i->child && i->child->started_at > 0
	    ? ev_time() - i->child->started_at
	    : 0;
}

static json_t *
ready_at_json(double at)
{
	return at > 0 ? time_json(at) : json_null();
}

static bool
is_unhealthy(const json_t *health)
{
	const char *status =
	    json_string_value(json_object_get(health, "status"));

	return status && strcmp(status, "unhealthy") == 0;
}

/* In whole seconds, as it is looked at again. */
static double
left_of(const struct instance *i)
{
	ev_timer *timer = (ev_timer *)(uintptr_t)&i->timer;

	return ev_is_active(timer)
	    ? ceil(ev_timer_remaining(
		  runners_context(i->runner->all)->loop, timer))
	    : 0;
}

static json_t *
jobs_json(const struct instance *i)
{
	const struct runner_hooks *hooks =
	    runners_context(i->runner->all)->hooks;
	json_t *jobs = json_array();

	if (hooks->jobs)
		hooks->jobs(hooks->arg, (struct instance *)(uintptr_t)i, jobs);
	return jobs;
}

/* Whose end it waits for, and how long at most from now on. */
static const char *
draining_why(const struct instance *i, char *buf, size_t size)
{
	json_t *jobs = jobs_json(i);
	size_t n = json_array_size(jobs);
	char left[32];

	duration_text(left_of(i), left);
	if (n == 1)
		snprintf(buf, size, "%s: job %s, %s left", i->why,
		    json_string_value(json_array_get(jobs, 0)), left);
	else
		snprintf(buf, size, "%s: %zu jobs, %s left", i->why, n, left);
	json_decref(jobs);
	return buf;
}

/* With what the process says of itself, which may be any bytes, and what its
 * probe says. */
static json_t *
why_json(const struct instance *i)
{
	char buf[WHY_MAX + 320], all[sizeof(buf) + 320];
	json_t *health = probe_json(i);

	snprintf(all, sizeof(all), "%s",
	    i->state == DRAINING ? draining_why(i, buf, sizeof(buf))
				 : ready_why(i, buf, sizeof(buf)));
	if (is_unhealthy(health))
		snprintf(all + strlen(all), sizeof(all) - strlen(all),
		    "; unhealthy: %s",
		    json_string_value(json_object_get(health, "output")));
	json_decref(health);
	return text_json(all, strlen(all));
}

static json_t *
instance_json(const struct instance *i)
{
	json_t *object;

	object = json_pack("{s:i, s:s, s:b, s:o, s:o, s:o, s:f, s:I, s:o, s:o, "
			   "s:o}",
	    "n", i->n, "state", state_name(i->state), "ready", ready_is_so(i),
	    "ready_at", ready_at_json(i->ready_at), "pid", pid_json(i), "since",
	    time_json(i->since), "uptime", uptime(i), "restarts",
	    (json_int_t)i->restarts, "why", why_json(i), "exit", exit_json(i),
	    "jobs", jobs_json(i));
	ready_put_status(i, object);
	json_object_set_new(object, "health", probe_json(i));
	if (instance_is_leaving(i))
		json_object_set_new(object, "leaving", json_true());
	return object;
}

const struct instance *
telling_instance(const struct runner *r)
{
	enum state worst = runner_state(r);
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (i->state == worst)
			return i;
	return r->instances[0];
}

bool
runner_is_healthy(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k)
		if (!instance_is_spare(i) &&
		    (i->state != RUNNING || !probe_is_well(i)))
			return false;
	return true;
}

static const struct instance *
first_with_pid(const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (i->child && i->child->pid)
			return i;
	return r->instances[0];
}

const char *
wanted_word(enum wanted w)
{
	static const char *const words[] = {"down", "up", "removed"};

	return words[w];
}

static json_t *
kind_json(const struct runner *r)
{
	static const struct setting *kind;

	if (kind == NULL)
		kind = setting_find(runner_settings, "kind");
	return type_fetch(&kind->kind, &r->conf.kind);
}

/* Who takes jobs from it here. */
static void
put_consumers(json_t *place, struct workers *w, const char *queue)
{
	char *why = workers_no_consumer(w, queue);

	json_object_set_new(place, "consumers",
	    json_integer((json_int_t)workers_consumers(w, queue)));
	json_object_set_new(
	    place, "no_consumer", why ? json_string(why) : json_null());
	free(why);
}

/* What Redis knows is null, until it is asked. */
static json_t *
queue_json(const struct services *s, const struct runner *r)
{
	const char *name = runner_queue(r);
	char why[WHY_MAX];
	bool held = workers_held(s->workers, r, why, sizeof(why));
	json_t *queue = json_pack("{s:s, s:n, s:n, s:n, s:n, s:I, s:b, s:s?}",
	    "name", name, "depth", "scheduled", "oldest_age", "elsewhere",
	    "running", (json_int_t)workers_running(s->workers, r), "paused",
	    workers_is_paused(s->workers, name), "held", held ? why : NULL);

	put_consumers(queue, s->workers, name);
	return queue;
}

/* What a line about it needs: there may be thousands of them. */
static json_t *
brief_json(const struct services *s, const struct runner *r)
{
	const struct instance *first = first_with_pid(r);
	const struct instance *telling = telling_instance(r);
	json_t *status = json_pack("{s:s, s:s, s:o, s:o, s:f, s:I}", "name",
	    r->name, "state", state_name(telling->state), "why",
	    why_json(telling), "pid", pid_json(first), "uptime", uptime(first),
	    "restarts", (json_int_t)runner_restarts(r));

	if (r->conf.kind != KIND_SERVICE)
		json_object_set_new(status, "queue", queue_json(s, r));
	return status;
}

static json_t *
instances_json(const struct runner *r)
{
	const struct instance *i;
	json_t *instances = json_array();
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		json_array_append_new(instances, instance_json(i));
	return instances;
}

static json_t *
command_json(const struct runner *r)
{
	json_t *command = json_array();
	char *const *word;

	for (word = r->conf.command; word && *word; word++)
		json_array_append_new(command, json_string(*word));
	return command;
}

static void
put_ready(json_t *status, const struct runner *r)
{
	const struct instance *i;
	bool ready = true;
	double at = 0;
	size_t k;

	RUNNER_FOREACH_STAYING (i, r, k) {
		if (instance_is_spare(i))
			continue;
		ready = ready && ready_is_so(i);
		at = fmax(at, i->ready_at);
	}
	json_object_set_new(status, "ready", json_boolean(ready));
	json_object_set_new(status, "ready_at", ready_at_json(ready ? at : 0));
}

static size_t
wanted_instances(const struct runner *r)
{
	if (runner_is_external(r))
		return 0; /* others know */
	return r->nneeded < r->nwanted ? r->nneeded : r->nwanted;
}

json_t *
runner_json(const struct services *s, const struct runner *r)
{
	json_t *status = brief_json(s, r),
	       *not_enforced = runner_not_enforced(r);

	json_object_set_new(status, "kind", kind_json(r));
	json_object_set_new(
	    status, "wanted", json_string(wanted_word(r->wanted)));
	put_ready(status, r);
	json_object_set_new(status, "health", probe_worst_json(r));
	json_object_set_new(
	    status, "healthy", json_boolean(runner_is_healthy(r)));
	json_object_set_new(status, "command", command_json(r));
	json_object_set_new(status, "instances", instances_json(r));
	json_object_set_new(status, "wanted_instances",
	    json_integer((json_int_t)wanted_instances(r)));
	if (r->conf.kind == KIND_SERVICE)
		json_object_set_new(status, "queue", json_null());
	json_object_set_new(status, "log", output_json(r->output));
	if (not_enforced)
		json_object_set_new(status, "not_enforced", not_enforced);
	json_object_set_new(status, "settings_origin", json_string(r->origin));
	return status;
}

/* ---- depths: asked of Redis, then put into what is waiting for them ---- */

struct asking {
	struct call *call; /* NULL: nobody waits any more */
	json_t *answer; /* given when the depths are there */
	json_t *places; /* array of objects that want a "depth" */
	json_t *total; /* borrowed: "dispatched" is the sum; or NULL */
};

static void
asking_gone(void *arg)
{
	struct asking *a = arg;

	a->call = NULL;
}

/* Unknown (below zero) is null. */
static json_t *
depth_json(long long depth)
{
	return depth < 0 ? json_null() : json_integer(depth);
}

/* How long the first job of a queue has waited; null when none does. */
static json_t *
age_json(const struct queue_depth *d)
{
	double age = ev_time() - d->oldest;

	if (d->jobs <= 0 || d->oldest <= 0)
		return json_null();
	return json_real(age > 0 ? age : 0);
}

static void
put_depth(json_t *place, const struct queue_depth *d)
{
	json_object_set_new(place, "depth", depth_json(d->jobs));
	json_object_set_new(place, "oldest_age", age_json(d));
	json_object_set_new(place, "scheduled", depth_json(d->scheduled));
	json_object_set_new(place, "elsewhere", depth_json(d->elsewhere));
	if (d->elsewhere > 0)
		json_object_set_new(place, "no_consumer", json_null());
	if (d->jobs >= 0)
		json_object_set_new(place, "paused", json_boolean(d->paused));
}

static void
depths_are_there(void *arg, const struct queue_depth *d, size_t n)
{
	struct asking *a = arg;
	long long sum = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		put_depth(json_array_get(a->places, i), &d[i]);
		if (sum >= 0)
			sum = d[i].jobs < 0 ? -1 : sum + d[i].jobs;
	}
	if (a->total)
		json_object_set_new(a->total, "dispatched", depth_json(sum));
	if (a->call)
		call_reply(a->call, json_incref(a->answer));
	json_decref(a->answer);
	json_decref(a->places);
	free(a);
}

/* Answers (taking over answer and places) once the depths of the queues
 * named are filled in. */
static void
reply_with_depths(struct call *call, json_t *answer, json_t *places,
    const char *const *names, json_t *total)
{
	struct asking *a = xcalloc(1, sizeof(*a));

	a->call = call;
	a->answer = answer;
	a->places = places;
	a->total = total;
	call_on_gone(call, asking_gone, a);
	workers_depths(call->services->workers, names, json_array_size(places),
	    depths_are_there, a);
}

/* The places for depths in [RunnerStatus...], and the queues' names. */
static json_t *
places_in(json_t *statuses, const char ***names)
{
	json_t *places = json_array(), *status, *queue;
	size_t i, n = 0;

	*names = xcalloc(json_array_size(statuses) + 1, sizeof(**names));
	json_array_foreach (statuses, i, status) {
		queue = json_object_get(status, "queue");
		if (!json_is_object(queue))
			continue;
		json_array_append(places, queue);
		(*names)[n++] =
		    json_string_value(json_object_get(queue, "name"));
	}
	return places;
}

/* status is taken over. */
static void
reply_status(struct call *call, json_t *status)
{
	json_t *places, *list = json_pack("[O]", status);
	const char **names;

	places = places_in(list, &names);
	json_decref(list);
	if (json_array_size(places) == 0) {
		json_decref(places);
		call_reply(call, status);
	} else {
		reply_with_depths(call, status, places, names, NULL);
	}
	free(names);
}

void
reply_runner(struct call *call, const struct runner *r)
{
	reply_status(call, runner_json(call->services, r));
}

/* also: those that were started for it; or NULL. */
static void
reply_started(struct call *call, const struct runner *r, char *const *also)
{
	json_t *status = runner_json(call->services, r), *names = json_array();

	for (; also && *also; also++)
		json_array_append_new(names, json_string(*also));
	if (json_array_size(names))
		json_object_set(status, "also_started", names);
	json_decref(names);
	reply_status(call, status);
}

/* ---- finding ---- */

static void
refuse_unknown(struct call *call, const char *name)
{
	const char *nearest = runner_nearest(call->services->runners, name);
	struct err e = {0};

	err_set(&e, ERR_NO_RUNNER, "there is no runner %s", name);
	err_subject(&e, name);
	if (nearest)
		err_hint(&e, "did you mean %s?", nearest);
	call_refuse(call, &e);
}

struct runner *
runner_of(struct call *call)
{
	const char *name = call_string(call, "name");
	struct runner *r = runner_find(call->services->runners, name);

	if (r == NULL)
		refuse_unknown(call, name);
	return r;
}

/* True after refusing. */
static bool
is_herods_own(struct call *call, const struct runner *r)
{
	struct err e = {0};

	if (!r->internal)
		return false;
	err_set(&e, ERR_FORBIDDEN, "runner %s is herod's own", r->name);
	call_refuse(call, &e);
	return true;
}

bool
is_external(struct call *call, const struct runner *r, const char *what)
{
	struct err e = {0};

	if (!runner_is_external(r))
		return false;
	err_set(&e, ERR_EXTERNAL, "runner %s is external: %s", r->name, what);
	err_subject(&e, r->name);
	call_refuse(call, &e);
	return true;
}

/* The same for what is done to its processes. */
static bool
is_others(struct call *call, const struct runner *r)
{
	return is_external(call, r,
	    "others start and stop its processes, herod only feeds its queue "
	    "and looks after its jobs");
}

bool
is_ending(struct call *call)
{
	struct err e = {0};

	if (!runners_are_ending(call->services->runners))
		return false;
	err_set(&e, ERR_SHUTTING_DOWN, "herod is shutting down");
	call_refuse(call, &e);
	return true;
}

/* ---- reading ---- */

/* What names are made of (name_is_valid()) needs no escape. */
static int
write_names(struct sink *s, void *runners)
{
	struct runner *r;
	size_t n = 0;

	sink_literal(s, "[");
	RUNNERS_FOREACH (r, runners) {
		if (n++ > 0)
			sink_literal(s, ",");
		sink_literal(s, "\"");
		sink_put(s, r->name, strlen(r->name));
		sink_literal(s, "\"");
	}
	sink_literal(s, "]");
	return 0;
}

HANDLER(list_runners)
{
	call_reply_by(call, write_names, call->services->runners);
}

HANDLER(get_runner_status)
{
	struct runner *r = runner_of(call);

	if (r)
		reply_runner(call, r);
}

HANDLER(get_all_runner_status)
{
	json_t *(*json)(const struct services *, const struct runner *) =
	    call_bool(call, "brief") ? brief_json : runner_json;
	json_t *statuses = json_array(), *places;
	const char **names;
	struct runner *r;

	RUNNERS_FOREACH (r, call->services->runners)
		json_array_append_new(statuses, json(call->services, r));
	places = places_in(statuses, &names);
	reply_with_depths(call, statuses, places, names, NULL);
	free(names);
}

static json_t *
states_json(struct runners *rs)
{
	json_t *states = json_pack("{s:i}", "total", 0);
	const char *name;
	struct runner *r;
	json_int_t total = 0;

	RUNNERS_FOREACH (r, rs) {
		name = state_name(runner_state(r));
		json_object_set_new(states, name,
		    json_integer(
			1 + json_integer_value(json_object_get(states, name))));
		total++;
	}
	json_object_set_new(states, "total", json_integer(total));
	return states;
}

/* {queue: {running}} for each queue once; depth comes later. */
static json_t *
queues_json(const struct services *s)
{
	json_t *queues = json_object(), *queue;
	struct runner *r;
	json_int_t running;

	RUNNERS_FOREACH (r, s->runners) {
		if (r->conf.kind == KIND_SERVICE)
			continue;
		queue = json_object_get(queues, runner_queue(r));
		running = json_integer_value(json_object_get(queue, "running"));
		queue = json_pack("{s:n, s:I, s:f, s:b}", "depth", "running",
		    running + (json_int_t)workers_running(s->workers, r),
		    "rate", workers_rate(s->workers, runner_queue(r)), "paused",
		    workers_is_paused(s->workers, runner_queue(r)));
		put_consumers(queue, s->workers, runner_queue(r));
		json_object_set_new(queues, runner_queue(r), queue);
	}
	return queues;
}

json_t *
redis_json(const struct services *s)
{
	return json_pack("{s:b, s:s, s:s, s:I}", "up", redis_is_up(s->redis),
	    "address", redis_address(s->redis), "why", redis_why(s->redis),
	    "spooled", (json_int_t)workers_spooled(s->workers));
}

HANDLER(get_all_status)
{
	const struct services *s = call->services;
	json_t *queues = queues_json(s), *places = json_array(), *queue;
	json_t *jobs = workers_summary(s->workers);
	const char **names, *name;
	size_t n = 0;

	names = xcalloc(json_object_size(queues) + 1, sizeof(*names));
	json_object_foreach (queues, name, queue) {
		names[n++] = name;
		json_array_append(places, queue);
	}
	reply_with_depths(call,
	    json_pack("{s:{s:s, s:i, s:f}, s:o, s:o, s:O, s:o, s:{s:s}}",
		"herod", "version", PACKAGE_VERSION, "pid", (int)getpid(),
		"uptime", ev_time() - s->started_at, "runners",
		states_json(s->runners), "jobs", jobs, "queues", queues,
		"redis", redis_json(s), "node", "name",
		workers_node(s->workers)),
	    places, names, jobs);
	json_decref(queues);
	free(names);
}

/* ---- start, stop, restart: answered when it is so ---- */

struct waiting {
	struct call *call;
	struct runner *runner;
	struct runner_wait *wait;
	char **also; /* started for it, or NULL */
};

/* What a wait was still for: the worst, or one that does not go. */
static const struct instance *
late_instance(const struct runner *r)
{
	if (runner_is_up(r) && r->ninstances > r->nwanted)
		return r->instances[r->ninstances - 1];
	return telling_instance(r);
}

static void
refuse_wait(struct call *call, const struct runner *r, enum wait_end end)
{
	const struct instance *i = late_instance(r);
	const char *state = state_name(i->state), *why = i->why;
	struct err e = {0};

	err_subject(&e, r->name);
	if (end == WAIT_SUPERSEDED)
		err_set(&e, ERR_SUPERSEDED,
		    "runner %s: a later request wants it %s", r->name,
		    wanted_word(r->wanted));
	else if (end == WAIT_TIMED_OUT)
		err_set(&e, ERR_TIMED_OUT, "runner %s: still %s: %s", r->name,
		    state, why);
	else if (runners_are_ending(r->all))
		err_set(&e, ERR_SHUTTING_DOWN,
		    "runner %s: %s: herod is shutting down", r->name, state);
	else
		err_set(&e, ERR_CANNOT_START, "runner %s: %s: %s", r->name,
		    state, why);
	if (e.code == ERR_CANNOT_START)
		err_hint(&e, "heroctl logs %s shows its output", r->name);
	call_refuse(call, &e);
}

/* A program that ended as it should is no failed start. */
static bool
ended_well(const struct runner *r, enum wait_end end)
{
	return end == WAIT_FAILED && runner_state(r) == EXITED;
}

static void
waiting_free(struct waiting *w)
{
	strv_free(w->also);
	free(w);
}

static void
waiting_over(void *arg, enum wait_end end)
{
	struct waiting *w = arg;
	struct call *call = w->call;
	struct runner *r = w->runner;

	call_on_gone(call, NULL, NULL);
	if (end == WAIT_DONE || ended_well(r, end))
		reply_started(call, r, w->also);
	else
		refuse_wait(call, r, end);
	waiting_free(w);
}

static struct waiting *
waiting_new(struct call *call, struct runner *r)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->call = call;
	w->runner = r;
	return w;
}

static void
waiting_gone(void *arg)
{
	struct waiting *w = arg;

	runner_wait_cancel(w->wait);
	waiting_free(w);
}

/* NULL: it was answered, and w freed. */
static void
waiting_for(struct waiting *w, struct runner_wait *wait)
{
	if (wait == NULL)
		return;
	w->wait = wait;
	call_on_gone(w->call, waiting_gone, w);
	call_outlives(w->call);
}

/* over() answers the call when the runner is as wanted, or will not be. */
static void
wait_for_runner(struct call *call, struct runner *r, enum wanted what,
    double timeout, runner_wait_fn over)
{
	struct waiting *w = waiting_new(call, r);

	waiting_for(w, runner_wait(r, what, timeout, over, w));
}

void
reply_when(struct call *call, struct runner *r, enum wanted what)
{
	if (call_bool(call, "wait"))
		wait_for_runner(
		    call, r, what, call_number(call, "timeout"), waiting_over);
	else
		reply_runner(call, r);
}

HANDLER(start_runner)
{
	struct runner *r = runner_of(call);
	char **also = NULL;
	struct waiting *w;

	if (r == NULL || is_others(call, r) || is_ending(call))
		return;
	if (!call->again)
		runner_start_also(r, &also);
	if (!call_bool(call, "wait")) {
		reply_started(call, r, also);
		strv_free(also);
		return;
	}
	w = waiting_new(call, r);
	w->also = also;
	waiting_for(w,
	    runner_wait(
		r, WANTED_UP, call_number(call, "timeout"), waiting_over, w));
}

HANDLER(stop_runner)
{
	struct runner *r = runner_of(call);

	if (r == NULL || is_others(call, r))
		return;
	if (!call->again)
		runner_stop(r, call_bool(call, "drain"));
	reply_when(call, r, WANTED_DOWN);
}

static void
rolling_gone(void *arg)
{
	struct waiting *w = arg;

	rolling_forget_asker(w->runner);
	free(w);
}

/* Says which instance it was, and which are as they were. */
static void
refuse_rolling(struct call *call, enum wait_end end, const struct instance *i)
{
	struct runner *r = i->runner;
	struct err e = {0};

	err_subject(&e, r->name);
	err_set(&e, end == WAIT_FAILED ? ERR_CANNOT_START : ERR_TIMED_OUT,
	    "runner %s: rolling restart %s instance %d (of %zu): %s: %s",
	    r->name, end == WAIT_FAILED ? "ended at" : "is still at", i->n,
	    r->nwanted, state_name(i->state), i->why);
	if (end == WAIT_FAILED)
		err_hint(&e,
		    "those behind it were not restarted; "
		    "heroctl logs %s shows its output",
		    r->name);
	call_refuse(call, &e);
}

static void
rolling_over(void *arg, enum wait_end end, const struct instance *i)
{
	struct waiting *w = arg;
	struct call *call = w->call;
	struct runner *r = w->runner;

	free(w);
	call_on_gone(call, NULL, NULL);
	if (end == WAIT_DONE)
		reply_runner(call, r);
	else if (i)
		refuse_rolling(call, end, i);
	else
		refuse_wait(
		    call, r, runners_are_ending(r->all) ? WAIT_FAILED : end);
}

static void
restart_rolling(struct call *call, struct runner *r)
{
	bool drain = call_bool(call, "drain");
	struct waiting *w;

	if (!call_bool(call, "wait")) {
		rolling_begin(r, drain, 0, NULL, NULL);
		reply_runner(call, r);
		return;
	}
	w = waiting_new(call, r);
	call_on_gone(call, rolling_gone, w);
	rolling_begin(r, drain, call_number(call, "timeout"), rolling_over, w);
}

HANDLER(restart_runner)
{
	struct runner *r = runner_of(call);

	if (r == NULL || is_others(call, r) || is_ending(call))
		return;
	if (call_bool(call, "rolling")) {
		restart_rolling(call, r);
		return;
	}
	if (!call->again) {
		rolling_end(r, WAIT_SUPERSEDED);
		runner_restart(r, call_bool(call, "drain"));
	}
	reply_when(call, r, WANTED_UP);
}

static bool
scales_itself(struct call *call, const struct runner *r)
{
	const struct runner_conf *c = &r->conf;
	struct err e = {0};

	if (c->numprocs_max == 0)
		return false;
	err_set(&e, ERR_PARAMS,
	    "runner %s has from %lld to %lld processes, as its jobs need them; "
	    "wanted: other numprocs and numprocs_max",
	    r->name, c->numprocs, c->numprocs_max);
	call_refuse(call, &e);
	return true;
}

HANDLER(scale_runner)
{
	struct runner *r = runner_of(call);
	struct waiting *w;
	size_t before;

	if (r == NULL || is_herods_own(call, r) || is_others(call, r) ||
	    is_ending(call) || scales_itself(call, r))
		return;
	before = call->again ? 0 : r->nwanted;
	if (!call->again)
		runner_scale(r, (size_t)call_count(call, "instances"));
	if (!call_bool(call, "wait")) {
		reply_runner(call, r);
		return;
	}
	w = waiting_new(call, r);
	waiting_for(w,
	    runner_wait_scaled(
		r, before, call_number(call, "timeout"), waiting_over, w));
}

/* ---- start_all, stop_all ---- */

struct bulk {
	struct call *call; /* NULL: the asker has left */
	json_t *changes; /* [RunnerChange...] */
	size_t nwaiting;
	LIST_HEAD(, bulk_wait) waits;
};

struct bulk_wait {
	LIST_ENTRY(bulk_wait) entry;
	struct bulk *bulk;
	struct runner *runner;
	struct runner_wait *wait;
	json_t *change; /* borrowed from bulk.changes */
};

static void
fill_change(json_t *change, const struct runner *r, bool ok)
{
	json_object_set_new(change, "ok", json_boolean(ok));
	json_object_set_new(
	    change, "state", json_string(state_name(runner_state(r))));
	json_object_set_new(
	    change, "why", json_string(telling_instance(r)->why));
}

static void
bulk_reply_if_over(struct bulk *b)
{
	if (b->nwaiting > 0)
		return;
	call_on_gone(b->call, NULL, NULL);
	call_reply(b->call, b->changes);
	free(b);
}

static void
bulk_wait_over(void *arg, enum wait_end end)
{
	struct bulk_wait *w = arg;
	struct bulk *b = w->bulk;

	fill_change(w->change, w->runner,
	    end == WAIT_DONE || ended_well(w->runner, end));
	LIST_REMOVE(w, entry);
	free(w);
	b->nwaiting--;
	bulk_reply_if_over(b);
}

static void
bulk_gone(void *arg)
{
	struct bulk *b = arg;
	struct bulk_wait *w;

	while ((w = LIST_FIRST(&b->waits)) != NULL) {
		if (w->wait)
			runner_wait_cancel(w->wait);
		LIST_REMOVE(w, entry);
		free(w);
	}
	json_decref(b->changes);
	free(b);
}

static void
bulk_add(struct bulk *b, struct runner *r, enum wanted what)
{
	struct bulk_wait *w;
	struct runner_wait *wait;
	json_t *change = json_pack("{s:s}", "name", r->name);

	json_array_append_new(b->changes, change);
	if (!call_bool(b->call, "wait")) {
		fill_change(change, r, true);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->bulk = b;
	w->runner = r;
	w->change = change;
	LIST_INSERT_HEAD(&b->waits, w, entry);
	b->nwaiting++;
	wait = runner_wait(
	    r, what, call_number(b->call, "timeout"), bulk_wait_over, w);
	if (wait)
		w->wait = wait;
}

static void
bulk_do(struct call *call, enum wanted what)
{
	struct bulk *b = xcalloc(1, sizeof(*b));
	struct runner *r;

	b->call = call;
	b->changes = json_array();
	b->nwaiting = 1; /* ourselves, until all have begun */
	LIST_INIT(&b->waits);
	call_on_gone(call, bulk_gone, b);
	call_outlives(call);
	if (call->again)
		; /* it was done */
	else if (what == WANTED_UP)
		runners_start_all(call->services->runners);
	else
		runners_stop_all(
		    call->services->runners, call_bool(call, "drain"));
	RUNNERS_FOREACH (r, call->services->runners)
		if (runner_is_in_all(r))
			bulk_add(b, r, what);
	b->nwaiting--;
	bulk_reply_if_over(b);
}

HANDLER(start_all)
{
	if (!is_ending(call))
		bulk_do(call, WANTED_UP);
}

HANDLER(stop_all)
{
	bulk_do(call, WANTED_DOWN);
}

/* ---- add, remove, signal ---- */

static void
added_over(void *arg, enum wait_end end)
{
	struct waiting *w = arg;
	struct call *call = w->call;
	struct runner *r = w->runner;

	(void)end; /* its status says it all */
	free(w);
	call_on_gone(call, NULL, NULL);
	reply_runner(call, r);
}

/* The answer shows what became of the first start; call NULL: nobody waits
 * for it. */
static void
start_added(struct call *call, struct runner *r)
{
	if (r->conf.autostart && !(call && call->again))
		runner_start(r);
	if (call && r->conf.autostart)
		wait_for_runner(
		    call, r, WANTED_UP, r->conf.startsecs + 1, added_over);
	else if (call)
		reply_runner(call, r);
}

/* One that is started when it is on disk. */
struct adding {
	struct call *call; /* NULL: nobody waits any more */
	struct runners *runners;
	char *name;
};

static void
adding_gone(void *arg)
{
	struct adding *a = arg;

	a->call = NULL;
}

static void
not_kept(struct call *call, struct runner *r, const char *why)
{
	struct err e = {0};

	err_set(&e, ERR_INTERNAL,
	    "runner %s: not added, for it cannot be "
	    "kept: %s",
	    r->name, why);
	err_subject(&e, r->name);
	err_hint(&e, "persist = false adds it until herod ends");
	r->persist = false;
	runner_remove(r);
	if (call)
		call_refuse(call, &e);
}

static void
not_there(struct call *call, const char *name)
{
	struct err e = {0};

	err_set(&e, ERR_SUPERSEDED, "runner %s was removed meanwhile", name);
	if (call)
		call_refuse(call, &e);
}

static void
adding_kept(void *arg, const char *why)
{
	struct adding *a = arg;
	struct runner *r = runner_find(a->runners, a->name);

	if (a->call)
		call_on_gone(a->call, NULL, NULL);
	if (r == NULL || r->wanted == WANTED_REMOVED)
		not_there(a->call, a->name);
	else if (why)
		not_kept(a->call, r, why);
	else
		start_added(a->call, r);
	free(a->name);
	free(a);
}

static void
add_and_start(
    struct call *call, const char *name, const struct runner_conf *conf)
{
	struct adding *a;
	struct runner *r;
	struct err e = {0};

	r = order_check(call->services->runners, name, conf, &e) == 0
	    ? runner_add(call->services->runners, name, conf, "rpc", &e)
	    : NULL;
	if (r == NULL) {
		call_refuse(call, &e);
		return;
	}
	r->persist = call_bool(call, "persist");
	if (!r->persist) {
		start_added(call, r);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->call = call;
	a->runners = call->services->runners;
	a->name = xstrdup(name);
	call_on_gone(call, adding_gone, a);
	keep_touch(call->services->keep);
	keep_when_written(call->services->keep, adding_kept, a);
}

/* The object without "name", which is no setting. */
static int
read_settings(
    json_t *runner, struct runner_conf *conf, const char **name, struct err *e)
{
	static const struct kind kind = {TYPE_NAME, NULL};
	json_t *given = json_object_get(runner, "name"), *checked, *settings;
	int bad;

	if (given == NULL)
		return err_set(e, ERR_PARAMS,
		    "runner: name is missing (wanted {\"name\": ..., "
		    "\"command\": [...]})");
	checked = type_check(&kind, "name", given, e);
	if (checked == NULL)
		return -1;
	json_decref(checked);
	*name = json_string_value(given);
	settings = json_copy(runner);
	json_object_del(settings, "name");
	settings_init(runner_settings, conf);
	bad = settings_from_json(runner_settings, conf, settings, e) ||
	    conf_check_runner(*name, conf, e);
	json_decref(settings);
	return bad ? -1 : 0;
}

/* True after answering: the herod before has added it already. */
static bool
was_added(struct call *call)
{
	const char *name = json_string_value(
	    json_object_get(call_json(call, "runner"), "name"));
	struct runner *r = call->again && name
	    ? runner_find(call->services->runners, name)
	    : NULL;

	if (r)
		start_added(call, r);
	return r != NULL;
}

HANDLER(add_runner)
{
	struct runner_conf conf = {0};
	const char *name = NULL;
	struct err e = {0};

	if (is_ending(call) || was_added(call))
		return;
	if (read_settings(call_json(call, "runner"), &conf, &name, &e) != 0 ||
	    privs_check_runner(call->services->conf, &conf, ERR_PARAMS, &e) !=
		0)
		call_refuse(call, &e);
	else
		add_and_start(call, name, &conf);
	settings_clear(runner_settings, &conf);
}

struct removing {
	struct call *call;
	struct runner_wait *wait;
	char *name, *queue; /* queue NULL: has none */
};

static void
removing_free(struct removing *m)
{
	free(m->name);
	free(m->queue);
	free(m);
}

static void
removing_gone(void *arg)
{
	struct removing *m = arg;

	if (m->wait)
		runner_wait_cancel(m->wait);
	removing_free(m);
}

/* depth is spelled queued_jobs here. */
static void
removed_depth(void *arg, const struct queue_depth *d, size_t n)
{
	struct removing *m = arg;

	(void)n;
	if (m->call) {
		call_on_gone(m->call, NULL, NULL);
		call_reply(m->call,
		    json_pack("{s:s, s:b, s:o}", "name", m->name, "removed", 1,
			"queued_jobs", depth_json(d->jobs)));
	}
	removing_free(m);
}

static void
counting_gone(void *arg)
{
	struct removing *m = arg;

	m->call = NULL;
}

static void
removed(void *arg, enum wait_end end)
{
	static const struct queue_depth none = {0};
	struct removing *m = arg;
	const char *queue = m->queue;

	(void)end;
	m->wait = NULL;
	if (queue == NULL) {
		removed_depth(m, &none, 1);
		return;
	}
	call_on_gone(m->call, counting_gone, m);
	workers_depths(m->call->services->workers, &queue, 1, removed_depth, m);
}

void
reply_was_removed(struct call *call)
{
	call_reply(call,
	    json_pack("{s:s, s:b, s:n}", "name", call_string(call, "name"),
		"removed", 1, "queued_jobs"));
}

bool
is_removed(struct call *call)
{
	const char *name = call_string(call, "name");

	if (!call->again || runner_find(call->services->runners, name))
		return false;
	reply_was_removed(call);
	return true;
}

void
reply_removed(struct call *call, struct runner *r)
{
	struct removing *m = xcalloc(1, sizeof(*m));

	m->call = call;
	m->name = xstrdup(r->name);
	if (r->conf.kind != KIND_SERVICE)
		m->queue = xstrdup(runner_queue(r));
	call_on_gone(call, removing_gone, m);
	m->wait = runner_wait(r, WANTED_REMOVED, 0, removed, m);
}

HANDLER(remove_runner)
{
	struct runner *r;

	if (is_removed(call))
		return;
	r = runner_of(call);
	if (r == NULL || is_herods_own(call, r) ||
	    is_external(call, r, "unregister_runner forgets it"))
		return;
	call_outlives(call);
	runner_remove(r);
	if (runner_is_of_file(r)) /* or the next herod has it again */
		configured_keep(call->services->configured);
	reply_removed(call, r);
}

static size_t
signal_instances(struct runner *r, int number, bool group)
{
	struct instance *i;
	size_t k, n = 0;

	RUNNER_FOREACH_INSTANCE (i, r, k) {
		if (i->child == NULL || i->child->pid == 0 || i->child->is_over)
			continue;
		child_signal(i->child, number, group);
		n++;
	}
	return n;
}

HANDLER(signal_runner)
{
	const char *text = call_string(call, "signal");
	struct runner *r = runner_of(call);
	int number = signal_number(text);
	struct err e = {0};

	if (r == NULL || is_others(call, r))
		return;
	if (number < 0)
		err_set(&e, ERR_PARAMS,
		    "signal: '%.40s' is not a signal such as HUP or 10", text);
	else if (signal_instances(r, number, call_bool(call, "group")) == 0)
		err_set(&e, ERR_NOT_RUNNING, "runner %s has no process (%s)",
		    r->name, state_name(runner_state(r)));
	if (err_is_set(&e))
		call_refuse(call, &e);
	else
		reply_runner(call, r);
}
