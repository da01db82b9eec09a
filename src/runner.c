/*
 * The machine of one instance: what happens in which state.
 *
 * Each action is a few lines, leaves a why-text and returns the next state;
 * enter() alone assigns it.  A service or stdio instance has one process;
 * an exec instance is a place for one job at a time and is RUNNING without
 * a process when it may be given one.
 */
#define LOG_MODULE "runner"

#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "clock.h"
#include "counters.h"
#include "depend.h"
#include "log.h"
#include "mem.h"
#include "order.h"
#include "past.h"
#include "probe.h"
#include "ready.h"
#include "process.h"
#include "recycle.h"
#include "runners.h"
#include "turns.h"

#define SHORT_LIFE 1.0 /* seconds */
#define END_TEXT 256

typedef enum state (*action_fn)(struct instance *i);

static const struct runner_context *
context(const struct instance *i)
{
	return runners_context(i->runner->all);
}

static const struct runner_hooks *
hooks(const struct instance *i)
{
	return context(i)->hooks;
}

const struct runner_conf *
instance_conf(const struct instance *i)
{
	return i->former ? &i->former->conf : &i->runner->conf;
}

#define conf(i) instance_conf(i)

const char *
state_name(enum state s)
{
	switch (s) {
	case STOPPED:
		return "STOPPED";
	case WAITING:
		return "WAITING";
	case STARTING:
		return "STARTING";
	case RUNNING:
		return "RUNNING";
	case PAUSED:
		return "PAUSED";
	case BACKOFF:
		return "BACKOFF";
	case DRAINING:
		return "DRAINING";
	case STOPPING:
		return "STOPPING";
	case EXITED:
		return "EXITED";
	case FATAL:
		return "FATAL";
	case UNKNOWN:
		return "UNKNOWN";
	}
	return "?";
}

static bool
is_exec(const struct instance *i)
{
	return conf(i)->kind == KIND_EXEC;
}

static size_t
jobs_in_hand(const struct instance *i)
{
	return hooks(i)->jobs
	    ? hooks(i)->jobs(hooks(i)->arg, (struct instance *)i, NULL)
	    : 0;
}

/* Replaces a text, which may be one of what it is made of. */
static void
replace_text(char **text, const char *fmt, va_list ap)
{
	char line[WHY_MAX];

	vsnprintf(line, sizeof(line), fmt, ap);
	free(*text);
	*text = xstrdup(line);
}

static void __attribute__((format(printf, 2, 3)))
because(struct instance *i, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	replace_text(&i->why, fmt, ap);
	va_end(ap);
}

void
instance_ends_for(struct instance *i, const char *fmt, ...)
{
	va_list ap;

	if (!instance_is_up(i) || (i->state == STOPPING && i->ends_for))
		return;
	va_start(ap, fmt);
	replace_text(&i->ends_for, fmt, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3)))
fail_because(struct instance *i, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	replace_text(&i->fault_text, fmt, ap);
	va_end(ap);
}

/* ---- settings that were replaced ---- */

void
former_unuse(struct former *f)
{
	if (--f->users > 0)
		return;
	settings_clear(runner_settings, &f->conf);
	free(f);
}

static bool
is_other_work(const struct runner_conf *a, const struct runner_conf *b)
{
	const char *x = a->queue ? a->queue : "", *y = b->queue ? b->queue : "";

	return a->kind != b->kind || strcmp(x, y) != 0;
}

/* From now on it goes by its runner's settings. */
static void
drop_former(struct instance *i)
{
	struct former *f = i->former;

	if (f == NULL)
		return;
	i->former = NULL;
	if (is_other_work(&f->conf, &i->runner->conf) && hooks(i)->gone)
		hooks(i)->gone(hooks(i)->arg, i);
	else if (i->child)
		instance_apply_live(i, &f->conf);
	former_unuse(f);
}

/* ---- the state's one door ---- */

static double
drain_time(const struct instance *i)
{
	if (conf(i)->drain_timeout > 0)
		return conf(i)->drain_timeout;
	return hooks(i)->longest
	    ? hooks(i)->longest(hooks(i)->arg, (struct instance *)i)
	    : 0;
}

/* Of one that was executed: until it counts as started, or as too late. */
static double
start_time_left(const struct instance *i)
{
	if (ready_is_awaited(i))
		return ready_time_left(i);
	return fmax(i->began + conf(i)->startsecs - clock_monotonic(), 0);
}

static double
healthy_time_left(const struct instance *i)
{
	return fmax(i->up_at + conf(i)->backoff_reset - clock_monotonic(), 0);
}

/* Seconds after which the state gets EVENT_TIMER; < 0: never. */
static double
time_in(const struct instance *i, enum state s)
{
	switch (s) {
	case BACKOFF:
		return i->delay;
	case DRAINING:
		return drain_time(i);
	case STARTING:
		return i->child->started_at > 0 &&
			(i->began > 0 || ready_is_awaited(i))
		    ? start_time_left(i)
		    : -1;
	case RUNNING:
		return i->failures ? healthy_time_left(i) : -1;
	case FATAL:
		return conf(i)->fatal_retry > 0 ? conf(i)->fatal_retry : -1;
	default:
		return -1;
	}
}

static void
arm(struct instance *i, double seconds)
{
	struct ev_loop *loop = context(i)->loop;

	ev_timer_stop(loop, &i->timer);
	if (seconds < 0)
		return;
	ev_now_update(loop);
	ev_timer_set(&i->timer, seconds, 0);
	ev_timer_start(loop, &i->timer);
}

/* How it ended does not matter any more. */
static void
forget_end(struct instance *i)
{
	if (i->kept_end)
		keeper_forget(context(i)->keeper, i->kept_end);
	i->kept_end = 0;
}

static void
enter(struct instance *i, enum state next)
{
	enum state old = i->state;

	if (next != EXITED)
		forget_end(i);
	/* The start that was under way when they changed is over, and it is
	 * not about to be stopped by them. */
	if ((next == RUNNING && !i->held && !i->restart) || next == STOPPED)
		drop_former(i);
	i->state = next;
	/* The herod before us may have seen it. */
	i->since = next == EXITED ? i->exit.at : ev_time();
	if (next == STARTING || !instance_is_up(i))
		i->ready_at = 0;
	else if (next == RUNNING && i->ready_at <= 0)
		i->ready_at = i->since;
	if (next == RUNNING)
		i->up_at = clock_monotonic();
	arm(i, time_in(i, next));
	ready_state(i);
	probe_state(i);
	log_if(next == FATAL ? LOG_ERROR : LOG_INFO, "runner %s.%d: %s: %s",
	    i->runner->name, i->n, state_name(next), i->why);
	if (next == RUNNING)
		recycle_watch(i);
	else
		recycle_unwatch(i);
	if (next == RUNNING && hooks(i)->up)
		hooks(i)->up(hooks(i)->arg, i);
	runners_changed(i, old);
}

/* ---- the process ---- */

static void
on_started(struct child *c)
{
	instance_event(c->arg, EVENT_STARTED);
}

static void
begin_source(struct instance *i, int stream)
{
	struct transit_place place = child_place(i->child, stream);
	bool has_jobs = conf(i)->kind == KIND_STDIO && hooks(i)->job;

	if (i->sources[stream] == NULL)
		i->sources[stream] = output_source_new(i->runner->output, i->n,
		    stream, has_jobs ? hooks(i)->job(hooks(i)->arg, i) : NULL,
		    &place);
}

/* What the herod before us had of a line is not forgotten. */
static void
begin_output(struct instance *i)
{
	if (conf(i)->kind != KIND_STDIO)
		begin_source(i, CHILD_STDOUT);
	begin_source(i, CHILD_STDERR);
}

static void
on_output(struct child *c, int stream, const char *buf, size_t len)
{
	struct instance *i = c->arg;

	if (stream == CHILD_STDOUT && conf(i)->kind == KIND_STDIO) {
		if (hooks(i)->replies)
			hooks(i)->replies(hooks(i)->arg, i, buf, len);
		return;
	}
	begin_source(i, stream);
	output_feed(i->sources[stream], buf, len);
}

/* Answers always; logs when their file takes them. */
static bool
wants_output(struct child *c, int stream)
{
	struct instance *i = c->arg;

	return (stream == CHILD_STDOUT && conf(i)->kind == KIND_STDIO) ||
	    output_has_room(i->runner->output, stream);
}

static void
on_ready(struct child *c)
{
	instance_event(c->arg, EVENT_READY);
}

static void
on_paused(struct child *c, bool paused)
{
	instance_event(c->arg, paused ? EVENT_PAUSED : EVENT_CONTINUED);
}

static void
on_unkillable(struct child *c, const char *what)
{
	struct instance *i = c->arg;

	i->unkillable = true;
	because(i, "unkillable: %s", what);
	runners_changed(i, i->state);
}

static void
end_output(struct instance *i)
{
	int s;

	for (s = 0; s < CHILD_STREAMS; s++) {
		if (i->sources[s])
			output_source_end(i->sources[s]);
		i->sources[s] = NULL;
	}
}

/* What a shell would say of it. */
static int
exit_code(const struct child *c)
{
	if (c->stage)
		return strcmp(c->stage, "exec") != 0 ? EXIT_FAILURE
		    : c->error == ENOENT	     ? 127
						     : 126;
	if (!c->status_known)
		return EXIT_FAILURE;
	return WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status)
				      : WEXITSTATUS(c->status);
}

/* What has done its work is not to do it again for the next herod, should
 * that have no record of it. */
void
instance_keep_end(struct instance *i, struct child *c)
{
	c->keep_end = true;
	i->kept_end = c->id;
}

static void
on_over(struct child *c)
{
	struct instance *i = c->arg;

	i->unkillable = false;
	end_output(i);
	if (c->killed)
		runners_note_kill(i->runner->all);
	instance_note_exit(i, c);
	i->code = exit_code(c);
	i->over = c->id;
	i->over_began = c->started_at;
	if (hooks(i)->died && conf(i)->kind >= KIND_STDIO)
		hooks(i)->died(
		    hooks(i)->arg, i, c, c->stopping && i->fault == FAULT_NONE);
	instance_event(i, EVENT_OVER);
	if (i->child == NULL)
		ready_over(i);
	if (i->state == EXITED && conf(i)->kind == KIND_SERVICE)
		instance_keep_end(i, c);
}

static const struct child_ops process_ops = {
    .started = on_started,
    .wants = wants_output,
    .output = on_output,
    .ready = on_ready,
    .paused = on_paused,
    .unkillable = on_unkillable,
    .over = on_over,
};

static void
watch_leftover(struct instance *i)
{
	child_leftover(
	    i->child, conf(i)->killasgroup ? conf(i)->stopwaitsecs : -1);
}

static void
follow_process(struct instance *i)
{
	watch_leftover(i);
	child_be_lazy(i->child, CHILD_STDERR);
	if (conf(i)->kind != KIND_STDIO)
		child_be_lazy(i->child, CHILD_STDOUT);
}

static void
close_if(int fd)
{
	if (fd != -1)
		close(fd);
}

/* Tells the next herod what the process is; in buf. */
static const char *
tag_of(const struct instance *i, char buf[CHILD_TAG_MAX])
{
	json_t *tag =
	    json_pack("{s:s, s:i}", "runner", i->runner->name, "n", i->n);
	size_t len;

	ready_put_tag(i, tag);
	if (i->restart)
		json_object_set_new(tag, "again", json_true());
	len = json_dumpb(tag, buf, CHILD_TAG_MAX - 1, JSON_COMPACT);
	buf[len < CHILD_TAG_MAX ? len : 0] = '\0';
	json_decref(tag);
	return buf;
}

void
instance_retag(struct instance *i)
{
	char tag[CHILD_TAG_MAX];

	child_tag(i->child, tag_of(i, tag));
}

/* Jobs have tags of their own. */
static void
update_tag(struct instance *i)
{
	if (i->child == NULL || is_exec(i) || i->restart == i->told)
		return;
	instance_retag(i);
	i->told = i->restart;
}

void
instance_set_restart(struct instance *i, bool restart)
{
	i->restart = restart;
	update_tag(i);
}

/* spec is filled. */
static int
spawn_by(struct instance *i, struct child_spec *spec, struct err *e)
{
	char tag[CHILD_TAG_MAX];

	spec->tag = tag_of(i, tag);
	spec->stdin_fd = runner_stdin(conf(i), e);
	if (err_is_set(e))
		return -1;
	spec->stdin_pipe = conf(i)->kind == KIND_STDIO;
	/* What it answers outlives herod there (worker_stdio.c). */
	if (spec->stdin_pipe)
		spec->keep_fd = memfd_create("answers", MFD_CLOEXEC);
	/* Were we to die now, the end of the last would be seen as that of one
	 * that has a successor. */
	if (i->child)
		past_keep(context(i)->past, i);
	i->began = 0; /* until it is executed */
	i->old_limits = 0;
	free(i->ends_for);
	i->ends_for = NULL;
	i->child = child_start(context(i)->keeper, spec, &process_ops, i, e);
	close_if(spec->keep_fd);
	close_if(spec->stdin_fd);
	if (i->child == NULL)
		return -1;
	follow_process(i);
	return 0;
}

/* A new process, or a sentence in e. */
static int
spawn(struct instance *i, struct err *e)
{
	struct child_spec spec;
	char **extra = NULL;
	int bad, fd = ready_prepare(i, &extra);

	bad = runner_spec(i, extra, &spec, e);
	strv_free(extra);
	if (bad)
		return -1;
	i->told = false;
	spec.ready_fd = fd;
	bad = spawn_by(i, &spec, e);
	spec_clear(&spec);
	return bad;
}

/* ---- actions ---- */

static enum state
start_now(struct instance *i)
{
	struct err e = {0};

	if (runner_is_external(i->runner)) {
		because(i, "started by others: whether it runs is not known");
		return UNKNOWN;
	}
	if (is_exec(i)) {
		because(i, "ready for a job");
		return RUNNING;
	}
	if (spawn(i, &e) == 0) {
		because(i, "started");
		return STARTING;
	}
	i->code = EXIT_FAILURE;
	because(i, "cannot start: %.280s", e.text);
	return FATAL;
}

/* Now, or when those it depends on are there. */
static enum state
start(struct instance *i)
{
	char why[WHY_MAX];
	enum order order = ORDER_GO;

	i->restart = i->held = i->blocked = false;
	i->fault = FAULT_NONE;
	drop_former(i);
	if (depends_at_all(conf(i))) {
		runners_note_order(i->runner->all);
		order = order_of_start(i->runner, why, sizeof(why));
	}
	if (order == ORDER_GO && hooks(i)->hindrance &&
	    hooks(i)->hindrance(hooks(i)->arg, i, why, sizeof(why)))
		order = ORDER_WAIT;
	if (order == ORDER_GO)
		return start_now(i);
	because(i, "%s", why);
	if (order == ORDER_WAIT)
		return WAITING;
	i->blocked = true;
	return order == ORDER_DOWN ? STOPPED : FATAL;
}

/* What it requires may be there again. */
static enum state
start_if_blocked(struct instance *i)
{
	if (!i->blocked || i->runner->wanted != WANTED_UP)
		return i->state;
	return start(i);
}

/* By hand: what happened before does not count any more. */
static enum state
start_anew(struct instance *i)
{
	i->failures = i->failed_starts = 0;
	i->has_turn = false;
	flaps_forget(&i->flaps);
	return start(i);
}

static void
count_restart(struct instance *i)
{
	i->restarts++;
	counter_add(restarts, 1);
}

static enum state
start_again(struct instance *i)
{
	enum state next = start(i);

	if (next != WAITING)
		count_restart(i);
	return next;
}

static enum state
down(struct instance *i)
{
	if (i->restart)
		return start_again(i);
	i->held = false;
	i->fault = FAULT_NONE;
	because(i, "stopped");
	return STOPPED;
}

/* Ends the process, or the job of an exec instance, by the rules. */
static enum state
end(struct instance *i)
{
	struct stop_rules rules;

	because(i, "stopping");
	if (is_exec(i)) {
		if (jobs_in_hand(i) && hooks(i)->abandon)
			hooks(i)->abandon(hooks(i)->arg, i);
		return jobs_in_hand(i) ? STOPPING : down(i);
	}
	stop_rules_of(conf(i), &rules);
	if (!i->child->is_over)
		child_stop(i->child, &rules);
	return STOPPING;
}

static enum state
stop(struct instance *i)
{
	bool drain = i->drain && i->state != PAUSED;
	size_t n = drain ? jobs_in_hand(i) : 0;

	i->held = false;
	if (n == 0)
		return end(i);
	because(i, "stops after %zu job%s in hand", n, n == 1 ? "" : "s");
	return DRAINING;
}

/* Those that depend on it go first. */
static enum state
stop_in_order(struct instance *i)
{
	const struct runner *holder = order_holder(i->runner);

	if (holder == NULL)
		return stop(i);
	i->held = true;
	because(i, "stops when %s is down", holder->name);
	return i->state;
}

static enum state
stop_if_held(struct instance *i)
{
	return i->held ? stop_in_order(i) : i->state;
}

/* A start before the stop has begun: it goes on, unless a restart was
 * wanted. */
static enum state
stay(struct instance *i)
{
	if (i->former)
		i->restart = true; /* its settings have changed */
	if (!i->held || i->restart)
		return i->state;
	i->held = false;
	because(i, "not stopped after all");
	if (i->state == RUNNING && hooks(i)->up)
		hooks(i)->up(hooks(i)->arg, i);
	return i->state;
}

/* A new process is to take its place; i->why says for what. */
static enum state
recycle(struct instance *i)
{
	char why[96];
	enum state next;

	strlcpy(why, i->why, sizeof(why));
	instance_ends_for(i, "%s", why);
	i->drain = true;
	i->restart = i->fault == FAULT_NONE;
	next = stop(i);
	if (next == DRAINING)
		because(i, "%s: replaced after the jobs in hand", why);
	else
		because(i, "%s: replaced", why);
	return next;
}

static enum state
stop_nothing(struct instance *i)
{
	i->restart = i->blocked = i->has_turn = false;
	because(i, "stopped");
	return STOPPED;
}

static enum state
kill_now(struct instance *i)
{
	i->restart = i->held = false;
	i->fault = FAULT_NONE;
	if (!is_exec(i)) {
		child_kill(i->child);
		because(i, "killed");
		return STOPPING;
	}
	return end(i);
}

static enum state
kill_stopping(struct instance *i)
{
	i->restart = false;
	i->fault = FAULT_NONE;
	if (i->child)
		child_kill(i->child);
	because(i, "killed");
	return STOPPING;
}

/* A start while it is being stopped: remembered, done when it is down. */
static enum state
start_when_down(struct instance *i)
{
	i->restart = true;
	i->fault = FAULT_NONE;
	return i->state;
}

static enum state
stop_after_all(struct instance *i)
{
	i->restart = false;
	i->fault = FAULT_NONE;
	return i->state;
}

/* A stop while it drains: no restart any more, and its jobs may still end
 * unless this one says otherwise. */
static enum state
stop_draining(struct instance *i)
{
	i->restart = false;
	i->fault = FAULT_NONE;
	return i->drain ? DRAINING : end(i);
}

/* A start while it drains: it goes on, unless a restart was wanted, or is
 * since its settings have changed. */
static enum state
undrain(struct instance *i)
{
	if (i->former || i->fault != FAULT_NONE)
		i->restart = true;
	i->fault = FAULT_NONE;
	if (i->restart)
		return DRAINING;
	because(i, "not stopped after all");
	return i->child && i->child->paused ? PAUSED : RUNNING;
}

/* Its state stays, but who waits for just that need not wait any more. */
static void
tell_started(const struct instance *i)
{
	if (runners_have_order(i->runner->all))
		runners_look_again(i->runner->all);
}

static enum state
started(struct instance *i)
{
	i->began = clock_monotonic();
	i->shortages = 0;
	ready_executed(i);
	if (i->state != STARTING)
		return i->state; /* it had said that it was before */
	tell_started(i);
	probe_state(i);
	if (ready_is_awaited(i)) {
		arm(i, conf(i)->startwaitsecs);
		because(i, "started, not ready yet");
		return STARTING;
	}
	if (conf(i)->startsecs > 0) {
		arm(i, conf(i)->startsecs);
		return STARTING;
	}
	because(i, "started");
	i->failed_starts = 0;
	return RUNNING;
}

static enum state
up(struct instance *i)
{
	char lived[32];

	i->failed_starts = 0;
	because(i, "up for %s", duration_text(conf(i)->startsecs, lived));
	return i->child->paused ? PAUSED : RUNNING;
}

static enum state
ready(struct instance *i)
{
	char after[32];

	if (!ready_is_awaited(i))
		return i->state;
	i->failed_starts = 0;
	because(i, "ready after %s",
	    duration_text(ev_time() - i->child->started_at, after));
	return i->child->paused ? PAUSED : RUNNING;
}

/* Ends the process for a reason of ours. */
static enum state
put_down(struct instance *i)
{
	instance_ends_for(i, "%s", i->fault_text);
	end(i);
	because(i, "%s, stopping", i->fault_text);
	return STOPPING;
}

/* STARTING has lasted: for long enough, or for too long. */
static enum state
start_time_over(struct instance *i)
{
	char time[32];

	if (!ready_is_awaited(i))
		return up(i);
	if (i->held)
		return stop(i);
	i->fault = FAULT_LATE;
	fail_because(i, "not ready within %s",
	    duration_text(ev_time() - i->child->started_at, time));
	return put_down(i);
}

static enum state
faulty(struct instance *i)
{
	if (i->held)
		return i->state;
	i->fault = FAULT_SICK;
	return put_down(i);
}

void
instance_fault(struct instance *i, const char *fmt, ...)
{
	va_list ap;

	if (i->state != RUNNING)
		return;
	va_start(ap, fmt);
	replace_text(&i->fault_text, fmt, ap);
	va_end(ap);
	instance_event(i, EVENT_FAULT);
}

void
instance_extend(struct instance *i, double seconds)
{
	if (i->state == STARTING && ready_is_awaited(i) &&
	    ev_timer_remaining(context(i)->loop, &i->timer) < seconds)
		arm(i, seconds);
	if (i->state == STOPPING && i->child)
		child_extend(i->child, seconds);
}

static enum state
healthy(struct instance *i)
{
	i->failures = 0;
	return RUNNING;
}

static enum state
paused(struct instance *i)
{
	because(i, "stopped by a job-control signal");
	return PAUSED;
}

static enum state
continued(struct instance *i)
{
	because(i, "continued");
	return RUNNING;
}

/* Its leader ended well and at once, and something runs on. */
static bool
daemonises(const struct child *c)
{
	return c->left && c->status_known && WIFEXITED(c->status) &&
	    WEXITSTATUS(c->status) == 0 &&
	    c->exited_at - c->started_at < SHORT_LIFE;
}

/* Of the process that is just over. */
static const char *
end_text(const struct instance *i, char buf[END_TEXT])
{
	const struct child *c = i->child;
	size_t len;

	len = strlen(child_end_text(c, buf, END_TEXT));
	if (c->left)
		len += (size_t)snprintf(buf + len, END_TEXT - len,
		    "; left behind: %.120s", c->left);
	if (daemonises(c))
		snprintf(buf + len, END_TEXT - len,
		    "; program daemonises: run it in the foreground");
	return buf;
}

static enum state
back_off(struct instance *i, const char *what)
{
	char wait[32];

	i->delay = restart_delay(conf(i), i->failures);
	because(i, "%s; failure %u in a row, next try in %s", what, i->failures,
	    duration_text(i->delay, wait));
	return BACKOFF;
}

/* It had no room for one more process: herod's lack, not the program's
 * fault. */
static enum state
wait_for_room(struct instance *i, const char *what)
{
	char wait[32];

	runners_note_shortage(i->runner->all, i, what);
	i->delay = shortage_delay(++i->shortages);
	because(i, "%s; herod lacks room for it, next try in %s", what,
	    duration_text(i->delay, wait));
	return BACKOFF;
}

/* As the next of all that are to start again. */
static enum state
start_in_turn(struct instance *i, const char *what)
{
	char wait[32];

	i->delay = runners_take_turn(i->runner->all);
	if (i->delay <= 0)
		return start_again(i);
	i->has_turn = true;
	because(i, "%s; others start again before it, next try in %s", what,
	    duration_text(i->delay, wait));
	return BACKOFF;
}

/* Its delay is over. */
static enum state
try_again(struct instance *i)
{
	double wait = i->has_turn ? 0 : runners_take_turn(i->runner->all);

	i->has_turn = wait > 0;
	if (!i->has_turn)
		return start_again(i);
	arm(i, wait);
	return BACKOFF;
}

/* Died too often; a reason is left then. */
static bool
is_flapping(struct instance *i, const char *what)
{
	char window[32];

	if (!flaps_add(&i->flaps, conf(i), clock_monotonic()))
		return false;
	because(i, "%s; death %lld within %s (flap_limit)", what,
	    conf(i)->flap_limit, duration_text(conf(i)->flap_window, window));
	return true;
}

/* The program itself is at fault and no new try can heal it. */
static bool
is_hopeless(const struct child *c)
{
	if (c->stage == NULL || strcmp(c->stage, "exec") != 0)
		return false;
	return c->error == ENOENT || c->error == EACCES ||
	    c->error == ENOEXEC || c->error == ENOTDIR || c->error == ELOOP ||
	    c->error == E2BIG;
}

/* A new try later, unless there were too many. */
static enum state
start_in_vain(struct instance *i, const char *what, const char *when)
{
	i->failures++;
	i->failed_starts++;
	if (is_flapping(i, what))
		return FATAL;
	if (conf(i)->startretries < 0 ||
	    i->failed_starts <= conf(i)->startretries)
		return back_off(i, what);
	because(i, "%s%s, %u times in a row", what, when, i->failed_starts);
	return FATAL;
}

/* One that we had to end. */
static enum state
over_faulty(struct instance *i)
{
	const char *what = i->fault_text;

	if (i->fault == FAULT_LATE)
		return start_in_vain(i, what, "");
	i->failures++;
	if (is_flapping(i, what))
		return FATAL;
	if (i->failures <= 1)
		return start_again(i); /* it was healthy: at once */
	return back_off(i, what);
}

static enum state
over_stopping(struct instance *i)
{
	char what[END_TEXT];
	bool restart = i->restart;
	enum state next;

	if (i->fault != FAULT_NONE && !restart)
		return over_faulty(i);
	next = down(i);
	if (!restart)
		because(i, "stopped: %s", end_text(i, what));
	return next;
}

/* The process did not live for startsecs, or to be ready. */
static enum state
start_failed(struct instance *i)
{
	char what[END_TEXT];

	if (i->held)
		return over_stopping(i);
	end_text(i, what);
	if (is_hopeless(i->child)) {
		because(i, "%s", what);
		return FATAL;
	}
	if (i->child->shortage)
		return wait_for_room(i, what);
	return start_in_vain(i, what,
	    i->child->stage	      ? ""
		: ready_is_awaited(i) ? " before it was ready"
				      : " within startsecs");
}

static bool
is_expected_status(const struct instance *i, int status)
{
	return WIFEXITED(status) &&
	    ints_have(&conf(i)->exitcodes, WEXITSTATUS(status));
}

static bool
is_expected(const struct instance *i)
{
	return i->child->status_known &&
	    is_expected_status(i, i->child->status);
}

static bool
wants_restart(const struct instance *i)
{
	switch (conf(i)->autorestart) {
	case AUTORESTART_ALWAYS:
		return true;
	case AUTORESTART_ON_FAILURE:
		return !is_expected(i);
	default:
		return false;
	}
}

/* A program that ends at once, and well, must not keep us busy. */
static bool
was_short(const struct instance *i)
{
	return clock_monotonic() - i->began < SHORT_LIFE;
}

/* RUNNING ended by itself. */
static enum state
ended(struct instance *i)
{
	char what[END_TEXT];

	if (i->held)
		return over_stopping(i);
	end_text(i, what);
	if (i->child->stopping)
		return start_again(i); /* a worker that we ended */
	if (!wants_restart(i)) {
		because(i, "%s", what);
		return EXITED;
	}
	i->failures += !is_expected(i) || was_short(i);
	if (is_flapping(i, what))
		return FATAL;
	if (i->failures <= 1)
		return start_in_turn(i, what); /* it was healthy: at once */
	return back_off(i, what);
}

/* It may have healed since. */
static enum state
retry_fatal(struct instance *i)
{
	enum state next = FATAL;

	if (i->runner->wanted == WANTED_UP &&
	    !runners_are_ending(i->runner->all))
		next = start_anew(i);
	if (next == FATAL)
		arm(i, time_in(i, FATAL));
	return next;
}

static enum state
idle_stopping(struct instance *i)
{
	return !is_exec(i) || jobs_in_hand(i) ? STOPPING : down(i);
}

/* The herod before us knew the process that it has. */
static bool
is_as_before(const struct instance *i)
{
	return i->before && i->before->id == (i->child ? i->child->id : 0);
}

static void
find_began(struct instance *i)
{
	struct process_info p;

	i->began = clock_monotonic();
	if (is_as_before(i) && i->before->began > 0)
		i->began = i->before->began;
	else if (process_read(i->child->pid, &p))
		i->began -= p.age;
}

/* The herod before us was killed before it could write that down. */
static bool
is_started_again(const struct instance *i)
{
	return i->before && i->before->state == BACKOFF && !i->before->id;
}

static enum state
adopted(struct instance *i)
{
	bool executed = !is_exec(i) && i->child->started_at > 0;

	because(i, "outlived the herod before this one");
	if (is_started_again(i))
		count_restart(i);
	if (executed) {
		find_began(i);
		ready_executed(i);
	}
	if (is_as_before(i) && !ready_is_awaited(i))
		i->ready_at = i->before->ready_at;
	if (ready_is_awaited(i) ||
	    (executed && i->ready_at <= 0 && start_time_left(i) > 0))
		return STARTING;
	if (executed && i->ready_at <= 0)
		i->ready_at = i->child->started_at + conf(i)->startsecs;
	if (executed)
		i->failed_starts = 0;
	return is_exec(i) || executed ? RUNNING : STARTING;
}

/* By clock_monotonic(); 0: never. */
static double
left_until(double at, double most)
{
	return at > 0 ? fmin(fmax(at - clock_monotonic(), 0), most) : most;
}

/* What it was doing without a process goes on; what it had one for begins
 * anew, with all failures so far. */
static enum state
resumed(struct instance *i)
{
	const struct before *b = i->before;

	if (b == NULL || b->state == STOPPED)
		return start_anew(i);
	if (b->state != BACKOFF && b->state != FATAL && b->state != EXITED)
		return start(i);
	because(i, "%s", b->why);
	i->delay = left_until(b->timer_at, conf(i)->backoff_max);
	return b->state;
}

static double
resumed_time(const struct instance *i)
{
	double most = time_in(i, i->state);

	if (i->state == FATAL && most > 0)
		return left_until(i->before->timer_at, most);
	return most;
}

void
instance_go_on(struct instance *i)
{
	const struct before *b = i->before;

	if (!is_as_before(i) || b->state != i->state)
		return;
	i->since = b->since;
	if (i->state == STOPPED)
		because(i, "%s", b->why);
	if (b->ready_at > 0)
		i->ready_at = b->ready_at;
	if (i->state == RUNNING)
		i->up_at = b->up_at;
	if (i->state == RUNNING || i->state == FATAL)
		arm(i, resumed_time(i));
	past_keep(context(i)->past, i);
}

/* supervisord's number for it is far away from the others. */
#define ROW_UNKNOWN (FATAL + 1)

static size_t
row_of(enum state s)
{
	return s == UNKNOWN ? ROW_UNKNOWN : (size_t)s;
}

/*
 * What is to be done in which state; an empty place means nothing.
 * EVENT_OVER's actions still see the process that is over.
 */
static const action_fn table[ROW_UNKNOWN + 1][EVENT_COUNT] = {
    [STOPPED] =
	{
	    [EVENT_ADOPT] = adopted,
	    [EVENT_RESUME] = resumed,
	    [EVENT_START] = start_anew,
	    [EVENT_ORDER] = start_if_blocked,
	},
    [WAITING] =
	{
	    [EVENT_START] = start_anew,
	    [EVENT_STOP] = stop_nothing,
	    [EVENT_KILL] = stop_nothing,
	    [EVENT_ORDER] = start,
	},
    [STARTING] =
	{
	    [EVENT_START] = stay,
	    [EVENT_STOP] = stop_in_order,
	    [EVENT_KILL] = kill_now,
	    [EVENT_STARTED] = started,
	    [EVENT_READY] = ready,
	    [EVENT_OVER] = start_failed,
	    [EVENT_TIMER] = start_time_over,
	    [EVENT_ORDER] = stop_if_held,
	},
    [RUNNING] =
	{
	    [EVENT_START] = stay,
	    [EVENT_STOP] = stop_in_order,
	    [EVENT_KILL] = kill_now,
	    [EVENT_PAUSED] = paused,
	    [EVENT_FAULT] = faulty,
	    [EVENT_OVER] = ended,
	    [EVENT_TIMER] = healthy,
	    [EVENT_ORDER] = stop_if_held,
	    [EVENT_RECYCLE] = recycle,
	},
    [PAUSED] =
	{
	    [EVENT_START] = stay,
	    [EVENT_STOP] = stop_in_order,
	    [EVENT_KILL] = kill_now,
	    [EVENT_CONTINUED] = continued,
	    [EVENT_OVER] = ended,
	    [EVENT_ORDER] = stop_if_held,
	},
    [BACKOFF] =
	{
	    [EVENT_START] = start_anew,
	    [EVENT_STOP] = stop_nothing,
	    [EVENT_KILL] = stop_nothing,
	    [EVENT_TIMER] = try_again,
	},
    [DRAINING] =
	{
	    [EVENT_START] = undrain,
	    [EVENT_STOP] = stop_draining,
	    [EVENT_KILL] = kill_now,
	    [EVENT_OVER] = over_stopping,
	    [EVENT_IDLE] = end,
	    [EVENT_TIMER] = end,
	},
    [STOPPING] =
	{
	    [EVENT_START] = start_when_down,
	    [EVENT_STOP] = stop_after_all,
	    [EVENT_KILL] = kill_stopping,
	    [EVENT_OVER] = over_stopping,
	    [EVENT_IDLE] = idle_stopping,
	},
    [EXITED] =
	{
	    [EVENT_START] = start_anew,
	    [EVENT_STOP] = stop_nothing,
	},
    [FATAL] =
	{
	    [EVENT_START] = start_anew,
	    [EVENT_STOP] = stop_nothing,
	    [EVENT_ORDER] = start_if_blocked,
	    [EVENT_TIMER] = retry_fatal,
	},
    [ROW_UNKNOWN] =
	{
	    [EVENT_STOP] = stop_nothing,
	    [EVENT_KILL] = stop_nothing,
	},
};

void
instance_event(struct instance *i, enum runner_event event)
{
	action_fn act = table[row_of(i->state)][event];
	struct child *over = event == EVENT_OVER ? i->child : NULL;
	enum state next = act ? act(i) : i->state;

	/* A new process may have taken its place already. */
	if (over && i->child == over)
		i->child = NULL;
	if (next != i->state)
		enter(i, next);
	update_tag(i);
	if (act)
		past_keep(context(i)->past, i);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a runner");
	(void)loop;
	(void)revents;
	instance_event(w->data, EVENT_TIMER);
}

/* ---- for others ---- */

void
instance_apply_live(struct instance *i, const struct runner_conf *before)
{
	instance_apply_limits(i, before);
	if (i->child && !is_exec(i))
		watch_leftover(i);
	probe_settings(i);
	if (i->state == RUNNING)
		recycle_watch(i);
	else if (i->state == FATAL)
		arm(i, time_in(i, FATAL));
	past_keep(context(i)->past, i);
}

void
instance_adopt(struct instance *i, struct child *c)
{
	i->child = c;
	child_adopt(c, &process_ops, i);
	begin_output(i);
	follow_process(i);
	instance_event(i, EVENT_ADOPT);
	if (c->paused)
		instance_event(i, EVENT_PAUSED);
	instance_go_on(i);
}

void
instance_recycle(struct instance *i, const char *why)
{
	if (i->state != RUNNING || i->held)
		return;
	because(i, "%s", why);
	instance_event(i, EVENT_RECYCLE);
}

void
instance_outgrown(struct instance *i, const char *why)
{
	if (healthy_time_left(i) <= 0) {
		instance_recycle(i, why);
		return;
	}
	if (i->state != RUNNING || i->held)
		return;
	i->fault = FAULT_SICK;
	fail_because(i, "%s", why);
	instance_recycle(i, why);
}

void
instance_idle(struct instance *i)
{
	instance_event(i, EVENT_IDLE);
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* getrusage(2) counts children that it waited for, too. */
void
instance_note_exit(struct instance *i, const struct child *c)
{
	static const struct rusage none;
	const struct rusage *ru = c->rusage ? c->rusage : &none;

	if (c->stage)
		return;
	i->exit.at = c->exited_at;
	i->exit.status = c->status;
	i->exit.known = c->status_known;
	i->exit.utime = seconds(ru->ru_utime);
	i->exit.stime = seconds(ru->ru_stime);
	i->exit.maxrss = (long long)ru->ru_maxrss * 1024;
	i->exit.oom = c->oom;
	free(i->exit_reason);
	i->exit_reason =
	    c->stopping && i->ends_for ? xstrdup(i->ends_for) : NULL;
}

bool
instance_is_up(const struct instance *i)
{
	return i->state == STARTING || i->state == RUNNING ||
	    i->state == PAUSED || i->state == DRAINING || i->state == STOPPING;
}

bool
instance_ended_well(const struct instance *i)
{
	return i->exit.at > 0 && i->exit.known &&
	    is_expected_status(i, i->exit.status);
}

bool
instance_takes_jobs(const struct instance *i)
{
	return i->state == RUNNING && !i->held && (is_exec(i) || i->child);
}

bool
instance_is_leaving(const struct instance *i)
{
	return (size_t)i->n >= i->runner->nwanted;
}

bool
instance_is_spare(const struct instance *i)
{
	return i->state == WAITING && (size_t)i->n >= i->runner->nneeded;
}

const char *
runner_queue(const struct runner *r)
{
	return r->conf.queue ? r->conf.queue : r->name;
}

bool
runner_is_external(const struct runner *r)
{
	return r->conf.kind == KIND_EXTERNAL;
}

const char *
instance_queue(const struct instance *i)
{
	return conf(i)->queue ? conf(i)->queue : i->runner->name;
}

void
stop_rules_of(const struct runner_conf *c, struct stop_rules *rules)
{
	rules->signals = c->stopsignal;
	rules->waitsecs = c->stopwaitsecs;
	rules->group = c->stopasgroup;
	rules->killgroup = c->killasgroup;
}

static struct cgroup *
cgroup_of(const struct instance *i)
{
	char *name = xasprintf("%s.%d", i->runner->name, i->n);
	struct cgroup *g = cgroup_new(context(i)->cgroups, name);

	free(name);
	return g;
}

static struct instance *
instance_new(struct runner *r, int n)
{
	struct instance *i = xcalloc(1, sizeof(*i));

	i->runner = r;
	i->n = n;
	i->since = ev_time();
	if (!runner_is_external(r))
		i->cgroup = cgroup_of(i);
	because(i, "not started since herod began");
	ev_timer_init(&i->timer, on_timer, 0, 0);
	i->timer.data = i;
	return i;
}

static void
instance_free(struct instance *i)
{
	ready_over(i);
	probe_free(i);
	ev_timer_stop(context(i)->loop, &i->timer);
	recycle_unwatch(i);
	forget_end(i);
	end_output(i);
	cgroup_free(i->cgroup);
	past_drop(context(i)->past, i);
	free(i->before);
	flaps_forget(&i->flaps);
	if (i->former)
		former_unuse(i->former);
	free(i->why);
	free(i->fault_text);
	free(i->exit_reason);
	free(i->ends_for);
	free(i);
}

size_t
conf_instances(const struct runner_conf *c)
{
	if (c->numprocs_max > 0)
		return (size_t)c->numprocs_max;
	return (size_t)c->numprocs *
	    (c->kind == KIND_EXEC ? (size_t)c->concurrency : 1);
}

void
runner_grow(struct runner *r, size_t n)
{
	if (n <= r->ninstances)
		return;
	r->instances = xreallocarray(r->instances, n, sizeof(*r->instances));
	while (r->ninstances < n) {
		r->instances[r->ninstances] =
		    instance_new(r, (int)r->ninstances);
		r->ninstances++;
	}
}

void
runner_shrink(struct runner *r, size_t n)
{
	const struct runner_hooks *h = runners_context(r->all)->hooks;
	struct instance *i;

	while (r->ninstances > n) {
		i = r->instances[--r->ninstances];
		if (h->gone)
			h->gone(h->arg, i);
		instance_free(i);
	}
}

struct runner *
runner_new(struct runners *all, const char *name,
    const struct runner_conf *settings, const char *origin)
{
	const struct runner_context *ctx = runners_context(all);
	struct runner *r = xcalloc(1, sizeof(*r));

	r->all = all;
	r->name = xstrdup(name);
	r->origin = xstrdup(origin);
	settings_copy(runner_settings, &r->conf, settings);
	r->wanted = r->conf.autostart ? WANTED_UP : WANTED_DOWN;
	TAILQ_INIT(&r->waits);
	r->output = output_new(name, &r->conf, &ctx->output);
	r->nwanted = conf_instances(&r->conf);
	r->nneeded = INSTANCES_MAX;
	runner_grow(r, r->nwanted);
	return r;
}

void
runner_free(struct runner *r)
{
	size_t k;

	for (k = 0; k < r->ninstances; k++)
		instance_free(r->instances[k]);
	free(r->instances);
	output_free(r->output);
	settings_clear(runner_settings, &r->conf);
	free(r->origin);
	free(r->name);
	free(r);
}
