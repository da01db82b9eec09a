/* Is an instance ready, and does it still say so? */
#define LOG_MODULE "runner"

#include "ready.h"

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "notify.h"
#include "readiness.h"
#include "runners.h"
#include "turns.h"

/* A new herod gives the process at least so many seconds. */
#define LEAST_LEFT 1.0

struct ready {
	struct instance *instance;
	struct notify_member member;
	bool joined;
	bool awaited; /* it is to say that it is ready, and has not */
	bool reloading;
	double watchdog; /* seconds; 0: none */
	ev_timer hungry; /* the watchdog was not fed */
	struct output_follower *follower; /* of READY_LOG */
	regex_t regex; /* while there is a follower */
	pid_t main_pid; /* 0: not told */
	char status[NOTIFY_STATUS_SIZE];
};

static struct ev_loop *
loop_of(const struct instance *i)
{
	return runners_context(i->runner->all)->loop;
}

static struct notify *
notify_of(const struct instance *i)
{
	return runners_context(i->runner->all)->notify;
}

static struct readiness
readiness_of(const struct instance *i)
{
	struct readiness r;

	readiness_parse(i->runner->conf.ready, &r, NULL);
	return r;
}

/* ---- watchdog ---- */

static void
feed_watchdog(struct ready *r)
{
	struct ev_loop *loop = loop_of(r->instance);

	ev_timer_stop(loop, &r->hungry);
	if (r->watchdog <= 0 || r->instance->state != RUNNING)
		return;
	ev_now_update(loop);
	ev_timer_set(&r->hungry, r->watchdog, 0);
	ev_timer_start(loop, &r->hungry);
}

static void
on_hungry(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a watchdog");
	struct ready *r = w->data;
	char time[32];

	(void)loop;
	(void)revents;
	instance_fault(r->instance, "watchdog: not a word for %s",
	    duration_text(r->watchdog, time));
}

/* ---- what it says by sd_notify ---- */

static void
hear_main_pid(struct ready *r, pid_t pid)
{
	if (notify_belongs(&r->member, pid))
		r->main_pid = pid;
	else
		log_warnx("runner %s.%d: MAINPID=%d is no process of it",
		    r->instance->runner->name, r->instance->n, (int)pid);
}

static void
hear_watchdog(struct ready *r, const struct notify_message *m)
{
	if (m->watchdog >= 0) {
		r->watchdog = m->watchdog;
		instance_retag(r->instance);
	}
	if (m->alive || m->watchdog >= 0)
		feed_watchdog(r);
	if (m->trouble)
		instance_fault(
		    r->instance, "it asked for it: WATCHDOG=trigger");
}

static void
hear(void *arg, const struct notify_message *m)
{
	struct ready *r = arg;
	struct instance *i = r->instance;

	if (m->has_status)
		memcpy(r->status, m->status, sizeof(r->status));
	if (m->main_pid)
		hear_main_pid(r, m->main_pid);
	if (m->extend > 0)
		instance_extend(i, m->extend);
	r->reloading = (r->reloading || m->reloading) && !m->ready;
	if (m->ready && readiness_of(i).kind == READY_NOTIFY)
		instance_event(i, EVENT_READY);
	hear_watchdog(r, m);
}

/* ---- what it writes ---- */

static void
unfollow(struct ready *r)
{
	if (r->follower == NULL)
		return;
	output_unfollow(r->follower);
	r->follower = NULL;
	regfree(&r->regex);
}

/* Up to a byte 0, if it has one. */
static bool
matches(const struct ready *r, const struct output_line *line)
{
	char *text = xstrndup(line->text, line->len);
	bool does = regexec(&r->regex, text, 0, NULL, 0) == 0;

	free(text);
	return does;
}

static void
on_line(void *arg, const struct output_line *line)
{
	struct ready *r = arg;

	if (line == NULL)
		unfollow(r);
	else if (line->instance == r->instance->n && matches(r, line))
		instance_event(r->instance, EVENT_READY);
}

static void
follow(struct ready *r, const char *regex)
{
	if (regcomp(&r->regex, regex, REG_EXTENDED | REG_NOSUB) == 0)
		r->follower =
		    output_follow(r->instance->runner->output, on_line, r);
}

/* ---- its life ---- */

static struct ready *
ready_new(struct instance *i)
{
	struct ready *r = xcalloc(1, sizeof(*r));

	r->instance = i;
	r->member.hear = hear;
	r->member.arg = r;
	ev_timer_init(&r->hungry, on_hungry, 0, 0);
	r->hungry.data = r;
	return r;
}

static void
put_environment(const struct ready *r, char ***extra)
{
	const struct notify *n = notify_of(r->instance);

	if (n && notify_address(n))
		strv_add(
		    extra, xasprintf("NOTIFY_SOCKET=%s", notify_address(n)));
	if (r->watchdog <= 0)
		return;
	strv_add(extra, xasprintf("WATCHDOG_USEC=%.0f", r->watchdog * 1e6));
	/* herod-keeper writes the number over these. */
	strv_add(extra, xstrdup("WATCHDOG_PID=          "));
}

int
ready_prepare(struct instance *i, char ***extra)
{
	struct readiness way = readiness_of(i);
	double watchdog = i->runner->conf.watchdog;

	ready_over(i);
	if (way.kind == READY_NONE && watchdog <= 0)
		return 0;
	i->ready = ready_new(i);
	i->ready->awaited = way.kind != READY_NONE;
	i->ready->watchdog = watchdog;
	if (way.kind == READY_NOTIFY || watchdog > 0)
		put_environment(i->ready, extra);
	return way.kind == READY_FD ? way.fd : 0;
}

void
ready_put_tag(const struct instance *i, json_t *tag)
{
	const struct ready *r = i->ready;

	if (r == NULL)
		return;
	json_object_set_new(
	    tag, "ready", json_real(r->awaited ? 0 : i->ready_at));
	json_object_set_new(tag, "watchdog", json_real(r->watchdog));
}

void
ready_found(struct instance *i, const json_t *tag)
{
	const json_t *at = json_object_get(tag, "ready");

	if (at == NULL)
		return;
	i->ready = ready_new(i);
	i->ready_at = json_number_value(at);
	/* One with a watchdog only was never waited for. */
	i->ready->awaited =
	    i->ready_at <= 0 && readiness_of(i).kind != READY_NONE;
	i->ready->watchdog =
	    json_number_value(json_object_get(tag, "watchdog"));
}

void
ready_executed(struct instance *i)
{
	struct readiness way = readiness_of(i);
	struct ready *r = i->ready;

	if (r == NULL)
		return;
	if (way.kind == READY_LOG && r->awaited)
		follow(r, way.regex);
	r->member.pid = i->child->pid;
	if (notify_of(i) == NULL)
		return;
	r->joined = true;
	notify_join(notify_of(i), &r->member);
}

void
ready_state(struct instance *i)
{
	struct ready *r = i->ready;
	bool was_awaited;

	if (r == NULL)
		return;
	was_awaited = r->awaited;
	if (i->state != STARTING) {
		unfollow(r);
		r->awaited = false;
	}
	if (i->state == RUNNING && was_awaited)
		instance_retag(i);
	feed_watchdog(r);
}

void
ready_over(struct instance *i)
{
	struct ready *r = i->ready;

	if (r == NULL)
		return;
	ev_timer_stop(loop_of(i), &r->hungry);
	unfollow(r);
	if (r->joined)
		notify_leave(notify_of(i), &r->member);
	free(r);
	i->ready = NULL;
}

/* ---- for others ---- */

bool
ready_is_awaited(const struct instance *i)
{
	return i->ready && i->ready->awaited;
}

bool
ready_by_probe(const struct instance *i)
{
	return ready_is_awaited(i) && readiness_of(i).kind == READY_PROBE;
}

double
ready_time_left(const struct instance *i)
{
	double most = i->runner->conf.startwaitsecs;
	double left = i->child->started_at + most - ev_time();

	/* The wall clock may have been set. */
	return fmin(fmax(left, fmin(most, LEAST_LEFT)), most);
}

bool
ready_is_so(const struct instance *i)
{
	return i->state == RUNNING && !(i->ready && i->ready->reloading);
}

void
ready_put_status(const struct instance *i, json_t *status)
{
	const struct ready *r = i->ready;

	if (r && *r->status)
		json_object_set_new(
		    status, "says", text_json(r->status, strlen(r->status)));
	if (r && r->main_pid)
		json_object_set_new(
		    status, "main_pid", json_integer(r->main_pid));
}

const char *
ready_why(const struct instance *i, char *buf, size_t size)
{
	const struct ready *r = i->ready;

	if (r == NULL || (*r->status == '\0' && !r->reloading))
		return i->why;
	snprintf(buf, size, "%s%s%s%s", i->why,
	    r->reloading ? "; reloading" : "", *r->status ? "; says: " : "",
	    r->status);
	return buf;
}
