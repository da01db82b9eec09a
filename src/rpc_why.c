/* Why a runner is in its state, in sentences. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "mem.h"
#include "news.h"
#include "private_redis.h"
#include "probe.h"
#include "redis.h"
#include "rpc.h"
#include "ready.h"
#include "rpc_runner.h"
#include "runners.h"
#include "worker.h"

/* What is being explained, and the sentences so far. */
struct tale {
	const struct services *services;
	const struct runner *runner;
	const struct instance *instance;
	json_t *text;
};

static void __attribute__((format(printf, 2, 3)))
say(struct tale *t, const char *fmt, ...)
{
	const struct instance *i = t->instance;
	char *sentence, *whole;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&sentence, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (t->runner->ninstances > 1)
		whole = xasprintf("Instance %d: %s", i->n, sentence);
	else
		whole = xstrdup(sentence);
	json_array_append_new(t->text, text_json(whole, strlen(whole)));
	free(sentence);
	free(whole);
}

/* ---- words ---- */

/* "2026-11-27 15:52:48 UTC, 5m12s ago" */
static const char *
when(double at, char buf[96])
{
	char stamp[TIME_TEXT_SIZE], ago[32];

	time_text(at, stamp);
	snprintf(buf, 96, "%.10s %.8s UTC, %s ago", stamp, stamp + 11,
	    duration_text(fmax(0, ev_time() - at), ago));
	return buf;
}

/* Until the state's own timer ends; < 0: it has none. */
static double
left_of(const struct tale *t)
{
	ev_timer *timer = (ev_timer *)(uintptr_t)&t->instance->timer;

	if (!ev_is_active(timer))
		return -1;
	return fmax(0, ev_timer_remaining(t->services->loop, timer));
}

static const struct runner_conf *
conf(const struct tale *t)
{
	return &t->runner->conf;
}

static pid_t
pid_of(const struct tale *t)
{
	return t->instance->child ? t->instance->child->pid : 0;
}

static double
lifetime(const struct tale *t)
{
	const struct child *c = t->instance->child;

	return c && c->started_at > 0 ? fmax(0, ev_time() - c->started_at) : 0;
}

/* "TERM", or the list of them. */
static const char *
signals_text(const struct tale *t, char buf[256])
{
	const struct ints *s = &conf(t)->stopsignal;
	char name[16];
	int k;

	buf[0] = '\0';
	for (k = 0; k < s->n; k++) {
		strlcat(buf, k ? ", SIG" : "SIG", 256);
		strlcat(buf, signal_name(s->v[k], name), 256);
	}
	return buf;
}

/* ---- what its jobs do ---- */

static size_t
say_jobs(struct tale *t, const char *left_for)
{
	json_t *jobs = workers_jobs(t->services->workers, t->instance), *job;
	size_t k, n = json_array_size(jobs);
	char left[32];

	json_array_foreach (jobs, k, job)
		say(t, "It has job %s in hand, with %s left%s.",
		    json_string_value(json_object_get(job, "id")),
		    duration_text(
			json_number_value(json_object_get(job, "left")), left),
		    left_for);
	json_decref(jobs);
	return n;
}

static bool
is_paused(const struct tale *t)
{
	return workers_is_paused(t->services->workers, runner_queue(t->runner));
}

static void
say_held(struct tale *t)
{
	char why[WHY_MAX];

	if (workers_held(t->services->workers, t->runner, why, sizeof(why)))
		say(t, "No job begins before that is over: %s.", why);
}

static const char *
own_redis_hint(const struct tale *t)
{
	return runner_find(t->services->runners, PRIVATE_REDIS_NAME)
	    ? "; it is herod's own: heroctl why " PRIVATE_REDIS_NAME
	    : "";
}

static void
say_queue(struct tale *t)
{
	const struct redis *redis = t->services->redis;

	if (conf(t)->kind == KIND_SERVICE)
		return;
	if (redis && !redis_is_up(redis))
		say(t, "It gets no jobs, because Redis is away: %s%s.",
		    redis_why(redis), own_redis_hint(t));
	else if (say_jobs(t, " of its time limit") == 0 && !is_paused(t))
		say(t, "It waits for a job in the queue %s.",
		    runner_queue(t->runner));
	if (is_paused(t))
		say(t,
		    "No job begins, because the queue %s is paused; heroctl "
		    "resume %s ends that.",
		    runner_queue(t->runner), runner_queue(t->runner));
	say_held(t);
}

/* ---- what its probe says ---- */

static void
say_health(struct tale *t)
{
	json_t *health = probe_json(t->instance);
	const char *status =
	    json_string_value(json_object_get(health, "status"));
	const char *output =
	    json_string_value(json_object_get(health, "output"));

	if (status)
		say(t, "Its probe finds it %s%s%s.", status,
		    output && *output ? ": " : "", output ? output : "");
	json_decref(health);
}

/* ---- by state ---- */

/* Those that it depends on decide. */
static bool
say_blocked(struct tale *t)
{
	char since[96];

	if (!t->instance->blocked)
		return false;
	say(t, "It is down because of others: %s (%s).", t->instance->why,
	    when(t->instance->since, since));
	say(t, "It starts by itself when they are up.");
	return true;
}

static void
say_waiting(struct tale *t)
{
	char since[96];

	say(t, "It has not started yet: %s (%s).", t->instance->why,
	    when(t->instance->since, since));
	say(t, "It starts by itself then.");
}

static void
say_stopped(struct tale *t)
{
	const struct instance *i = t->instance;
	char since[96];

	if (say_blocked(t))
		return;
	when(i->since, since);
	if (t->runner->wanted == WANTED_UP)
		say(t, "It has not been started (%s; %s), but is wanted up.",
		    i->why, since);
	else if (i->exit.at <= 0 && !conf(t)->autostart)
		say(t,
		    "Nobody has started it since herod began (%s): autostart "
		    "is false.",
		    since);
	else
		say(t, "It was stopped by hand (%s; %s).", i->why, since);
	if (t->runner->wanted == WANTED_REMOVED)
		say(t, "It is being removed.");
	else
		say(t,
		    "It stays so until somebody starts it: heroctl start %s.",
		    t->runner->name);
}

static void
say_starting(struct tale *t)
{
	char left[32], lived[32];

	if (pid_of(t) == 0) {
		say(t, "Its program is about to be executed.");
		return;
	}
	say(t, "Its process, pid %d, lives for %s.", (int)pid_of(t),
	    duration_text(lifetime(t), lived));
	if (left_of(t) >= 0 && ready_is_awaited(t->instance))
		say(t,
		    "It has not said that it is ready; it is stopped when it "
		    "does not within %s (startwaitsecs).",
		    duration_text(left_of(t), left));
	else if (left_of(t) >= 0)
		say(t,
		    "It counts as RUNNING when it still does in %s "
		    "(startsecs).",
		    duration_text(left_of(t), left));
}

static void
say_running(struct tale *t)
{
	const struct instance *i = t->instance;
	char lived[32], left[32];

	if (pid_of(t))
		say(t, "Its process, pid %d, lives for %s.", (int)pid_of(t),
		    duration_text(lifetime(t), lived));
	else if (conf(t)->kind == KIND_EXEC)
		say(t, "It has no process between jobs, and needs none.");
	if (i->restarts)
		say(t, "It was started again %lu time%s since herod runs.",
		    i->restarts, i->restarts == 1 ? "" : "s");
	if (i->failures && left_of(t) >= 0)
		say(t,
		    "It had failed %u time%s in a row; that is forgotten in %s "
		    "(backoff_reset).",
		    i->failures, i->failures == 1 ? "" : "s",
		    duration_text(left_of(t), left));
	say_health(t);
	say_queue(t);
}

static void
say_paused(struct tale *t)
{
	char since[96];

	say(t,
	    "Its process, pid %d, was stopped by a signal such as SIGSTOP (%s) "
	    "and does nothing.",
	    (int)pid_of(t), when(t->instance->since, since));
	say(t, "It goes on after heroctl signal CONT %s.", t->runner->name);
}

static void
say_retries(struct tale *t)
{
	const struct instance *i = t->instance;

	if (i->failed_starts == 0)
		return;
	if (conf(t)->startretries < 0)
		say(t, "It is tried for ever (startretries = -1).");
	else
		say(t, "%u of %lld retries are used (startretries).",
		    i->failed_starts, (long long)conf(t)->startretries);
}

static void
say_backoff(struct tale *t)
{
	const char *why = t->instance->why;
	const char *stale = strstr(why, ", next try in "); /* as it was then */
	char left[32], since[96];

	say(t, "It failed: %.*s (%s).",
	    stale ? (int)(stale - why) : (int)strlen(why), why,
	    when(t->instance->since, since));
	say_retries(t);
	if (left_of(t) >= 0)
		say(t, "The next try is in %s; heroctl start %s tries at once.",
		    duration_text(left_of(t), left), t->runner->name);
}

static void
say_next(struct tale *t)
{
	if (t->instance->restart)
		say(t, "Then it is started again.");
	else if (t->runner->wanted == WANTED_REMOVED)
		say(t, "Then it is removed.");
	else if (instance_is_leaving(t->instance))
		say(t, "Then there is one instance less, as was asked for.");
}

static void
say_draining(struct tale *t)
{
	char left[32], since[96];

	say(t, "It is to stop (%s), but its jobs may end first.",
	    when(t->instance->since, since));
	say_jobs(t, "");
	if (left_of(t) >= 0)
		say(t, "It is not waited for longer than %s more.",
		    duration_text(left_of(t), left));
	say_next(t);
}

static void
say_stopping(struct tale *t)
{
	const struct instance *i = t->instance;
	double left = i->since + conf(t)->stopwaitsecs - ev_time();
	char since[96], text[32], signals[256];

	if (pid_of(t) == 0) {
		say(t, "Its job is being ended (%s).", when(i->since, since));
	} else if (i->child->killed) {
		say(t,
		    "Its process, pid %d, was killed and has not ended yet "
		    "(%s).",
		    (int)pid_of(t), when(i->since, since));
	} else {
		say(t, "Its process, pid %d, was asked to end by %s (%s).",
		    (int)pid_of(t), signals_text(t, signals),
		    when(i->since, since));
		say(t, "It is killed if it has not ended in %s (stopwaitsecs).",
		    duration_text(fmax(0, left), text));
	}
	say_next(t);
}

static void
say_exited(struct tale *t)
{
	char since[96];

	say(t, "It ended by itself: %s (%s).", t->instance->why,
	    when(t->instance->since, since));
	say(t,
	    "autorestart and exitcodes leave it so until somebody starts it: "
	    "heroctl start %s.",
	    t->runner->name);
}

static void
say_fatal(struct tale *t)
{
	char since[96], left[32];

	if (say_blocked(t))
		return;
	say(t, "It cannot be kept running: %s (%s).", t->instance->why,
	    when(t->instance->since, since));
	if (left_of(t) >= 0)
		say(t,
		    "It is tried again in %s; heroctl start %s tries at once.",
		    duration_text(left_of(t), left), t->runner->name);
	else
		say(t,
		    "It is not tried again until somebody starts it: heroctl "
		    "start %s.",
		    t->runner->name);
}

static void
say_external(struct tale *t)
{
	say(t,
	    "Others start and stop its programs: herod does not know whether "
	    "they run, nor how many they are.");
	say(t, "They take their jobs from the queue %s of Redis themselves.",
	    runner_queue(t->runner));
	say_jobs(t, " of its time limit");
	say(t, "It is known until: heroctl unregister %s.", t->runner->name);
}

static void (*const states[])(struct tale *t) = {
    [STOPPED] = say_stopped,
    [WAITING] = say_waiting,
    [STARTING] = say_starting,
    [RUNNING] = say_running,
    [PAUSED] = say_paused,
    [BACKOFF] = say_backoff,
    [DRAINING] = say_draining,
    [STOPPING] = say_stopping,
    [EXITED] = say_exited,
    [FATAL] = say_fatal,
};

/* ---- how the last process ended ---- */

static const char *
exit_text(const struct instance *i, char buf[96])
{
	int status = i->exit.status;
	char name[16];

	if (!i->exit.known)
		return "nobody knows how";
	if (WIFEXITED(status))
		snprintf(buf, 96, "with exit code %d", WEXITSTATUS(status));
	else
		snprintf(buf, 96, "by SIG%s%s",
		    signal_name(WTERMSIG(status), name),
		    WCOREDUMP(status) ? ", with a core dump" : "");
	return buf;
}

static void
say_last_exit(struct tale *t)
{
	const struct instance *i = t->instance;
	char at[96], how[96], cpu[32];

	if (i->exit.at <= 0)
		return;
	say(t, "Its last process ended %s%s%s (%s).", exit_text(i, how),
	    i->exit_reason ? ", because herod ended it: " : "",
	    i->exit_reason ? i->exit_reason : "", when(i->exit.at, at));
	if (i->exit.known)
		say(t, "That had used %s of CPU time and at most %.1f MB.",
		    duration_text(i->exit.utime + i->exit.stime, cpu),
		    (double)i->exit.maxrss / 1048576);
}

/* ---- the whole ---- */

static void
say_instance(struct tale *t, const struct instance *i)
{
	t->instance = i;
	if (i->state == UNKNOWN)
		say_external(t);
	else
		states[i->state](t);
	if (i->held)
		say(t, "It is to stop, but not yet: %s.", i->why);
	say_last_exit(t);
}

/* "web is BACKOFF since 2026-11-27 15:52:48 UTC, 3s ago." */
static void
say_headline(struct tale *t, const struct instance *telling)
{
	const struct runner *r = t->runner;
	size_t k, n = 0;
	const struct instance *i;
	char since[96], *line;

	RUNNER_FOREACH_STAYING (i, r, k)
		n += i->state == RUNNING;
	if (r->nwanted > 1)
		line = xasprintf("%s is %s; %zu of its %zu instances are "
				 "RUNNING.",
		    r->name, state_name(telling->state), n, r->nwanted);
	else
		line = xasprintf("%s is %s since %s.", r->name,
		    state_name(telling->state), when(telling->since, since));
	json_array_append_new(t->text, json_string(line));
	free(line);
}

static bool
is_told(const struct runner *r, const struct instance *i)
{
	const struct instance *before;
	size_t k;

	RUNNER_FOREACH_INSTANCE (before, r, k) {
		if (before == i)
			return false;
		if (before->state == i->state)
			return true;
	}
	return false;
}

/* Both streams have one file, of which the first has told. */
static bool
is_same_file(const struct output *o)
{
	const char *out = output_path(o, CHILD_STDOUT);
	const char *err = output_path(o, CHILD_STDERR);

	return out && err && strcmp(out, err) == 0;
}

/* A log that cannot be written, and what becomes of the lines. */
static void
say_log(struct tale *t, int stream, const char *name)
{
	const struct output *o = t->runner->output;
	json_t *log = output_json(o), *file = json_object_get(log, name);
	const char *why = json_string_value(json_object_get(file, "why"));
	const char *path = json_string_value(json_object_get(file, "file"));

	if (why && !output_has_room(o, stream))
		say(t,
		    "Its log %s cannot be written: %s; a process with more to "
		    "write waits (log_on_full = block).",
		    path, why);
	else if (why)
		say(t,
		    "Its log %s cannot be written: %s; %lld bytes were dropped "
		    "so far (log_on_full = drop).",
		    path, why,
		    (long long)json_integer_value(
			json_object_get(file, "dropped_bytes")));
	json_decref(log);
}

static void
say_unserved(struct tale *t)
{
	const char *queue = runner_queue(t->runner);
	char *line;

	if (conf(t)->kind == KIND_SERVICE ||
	    !workers_is_unserved(t->services->workers, queue))
		return;
	line = xasprintf("Jobs wait in the queue %s and nobody takes them%s.",
	    queue,
	    conf(t)->no_consumer == NO_CONSUMER_REFUSE
		? "; more of them are refused (no_consumer)"
		: "");
	json_array_append_new(t->text, json_string(line));
	free(line);
}

/* The one that tells most, then one for each other state. */
static void
say_all(struct tale *t, const struct instance *telling)
{
	const struct instance *i;
	size_t k;

	say_headline(t, telling);
	say_instance(t, telling);
	RUNNER_FOREACH_INSTANCE (i, t->runner, k)
		if (i->state != telling->state && !is_told(t->runner, i))
			say_instance(t, i);
	say_unserved(t);
	say_log(t, CHILD_STDOUT, "stdout");
	if (!is_same_file(t->runner->output))
		say_log(t, CHILD_STDERR, "stderr");
}

HANDLER(explain_runner)
{
	struct runner *r = runner_of(call);
	const struct instance *telling;
	struct tale t = {call->services, r, NULL, NULL};
	json_t *lines;

	if (r == NULL)
		return;
	telling = telling_instance(r);
	t.text = json_array();
	say_all(&t, telling);
	lines = telling->state == FATAL || telling->state == BACKOFF
	    ? last_lines(telling)
	    : json_array();
	call_reply(call,
	    json_pack("{s:s, s:s, s:o, s:o}", "name", r->name, "state",
		state_name(telling->state), "text", t.text, "lines", lines));
}
