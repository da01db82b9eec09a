/* Schedules: ticks by the clock on the wall, each of them one job. */
#define LOG_MODULE "schedule"
#include "schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>
#include <sys/tree.h>

#include "event.h"
#include "log.h"
#include "mem.h"
#include "turns.h"
#include "when.h"

#define RETRY 2.0 /* seconds after a refusal by Redis */
#define AHEAD \
	60000 /* ms, as in queue.lua: a later tick was of a wrong clock \
	       */
#define SET_BACK 1000 /* ms by which a clock is, at least, when it was set */
#define REPLACE_WAIT 60.0 /* seconds for a job that another node cancels */

/* What became of a tick. */
enum outcome {
	OUTCOME_NONE,
	OUTCOME_QUEUED,
	OUTCOME_SKIPPED,
	OUTCOME_FAILED,
	OUTCOME_WAITING
};

static const char *const outcome_words[] = {[OUTCOME_NONE] = "none",
    [OUTCOME_QUEUED] = "queued",
    [OUTCOME_SKIPPED] = "skipped",
    [OUTCOME_FAILED] = "failed",
    [OUTCOME_WAITING] = "waiting"};

struct counts {
	long long queued, elsewhere, skipped, failed, missed;
};

struct schedule {
	RB_ENTRY(schedule) entry;
	struct schedules *all;
	char *name, *origin;
	struct schedule_conf conf;
	struct when when;
	ev_periodic timer;
	long long since; /* ms: ticks after that are ours to see to */
	long long tick, at; /* the next one, and with its jitter; 0: none */
	long long awaited; /* when that was found */
	long long owed; /* it has come, and Redis has yet to know; 0: none */
	bool is_first; /* it is there since herod began */
	bool catches_up; /* ... and makes up for what was missed before */
	bool seen; /* what was before us is known */
	struct seeing *seeing; /* it is being asked for */
	struct ask *ask; /* about the tick that is owed; NULL: none */
	long long last; /* tick; 0: none yet */
	enum outcome outcome; /* of last */
	char job[129], why[256];
	struct counts counts;
};

RB_HEAD(schedule_tree, schedule);

struct schedules {
	struct ev_loop *loop;
	struct redis *redis;
	struct workers *workers;
	struct events *events;
	struct schedule_tree tree;
	LIST_HEAD(, ask) asks;
	ev_timer retry;
	bool stopped;
};

/* One job to be made. */
struct ask {
	LIST_ENTRY(ask) next;
	struct schedules *all; /* NULL: gone */
	struct schedule *schedule; /* NULL: gone */
	struct job_wait *wait; /* for the job before, elsewhere */
	long long time; /* of the tick; 0: by hand */
	enum overlap overlap;
	char id[129];
	schedule_fn fn; /* by hand */
	void *arg;
};

/* Redis is asked what was before us. */
struct seeing {
	struct schedule *schedule; /* NULL: gone */
};

static int
schedule_compare(const struct schedule *a, const struct schedule *b)
{
	return strcmp(a->name, b->name);
}

RB_GENERATE_INTERNAL(schedule_tree, schedule, entry, schedule_compare,
    __attribute__((unused)) static)

static void pay(struct schedule *s);

static long long
now_ms(void)
{
	return llround(ev_time() * 1000);
}

/* ---- telling ---- */

/* "2026-11-28T03:00:00Z"; of a tick within a second with its milliseconds. */
static const char *
tick_text(long long tick, char buf[TIME_TEXT_SIZE])
{
	time_text((double)tick / 1000, buf);
	strlcpy(buf + (tick % 1000 ? 23 : 19), "Z", 2);
	return buf;
}

struct schedule_news {
	const struct schedule *schedule;
	const char *what, *job, *why;
	long long tick;
};

static json_t *
news_json(const void *arg)
{
	const struct schedule_news *n = arg;
	char buf[TIME_TEXT_SIZE];
	json_t *event = json_pack("{s:s, s:s, s:s, s:s}", "what", n->what,
	    "schedule", n->schedule->name, "tick", tick_text(n->tick, buf),
	    "why", n->why);

	if (*n->job)
		json_object_set_new(event, "job", json_string(n->job));
	return event;
}

static void
tell(struct schedule *s, const char *what, long long tick, const char *job,
    const char *why)
{
	struct schedule_news news = {s, what, job, why, tick};
	char topic[128], buf[TIME_TEXT_SIZE];

	log_info("schedule %s: tick %s: %s%s%s%s%s", s->name,
	    tick_text(tick, buf), what, *job ? " " : "", job, *why ? ": " : "",
	    why);
	snprintf(topic, sizeof(topic), "schedule.%s", s->name);
	event_publish(s->all->events, topic, news_json, &news);
}

/* job may be the one that was in the way. */
static void
decide(struct schedule *s, long long tick, enum outcome how, const char *job,
    const char *why)
{
	s->last = tick;
	s->outcome = how;
	strlcpy(s->job, job, sizeof(s->job));
	strlcpy(s->why, why, sizeof(s->why));
}

static void
miss(struct schedule *s, long long tick, const char *why)
{
	s->counts.missed++;
	tell(s, "missed", tick, "", why);
}

/* ---- when ---- */

/* Spreads schedules of one line, the same on every herod: 0 to jitter. */
static long long
jitter_of(const struct schedule *s, long long tick)
{
	unsigned long long hash = 14695981039346656037U; /* FNV-1a */
	long long jitter = llround(s->conf.jitter * 1000);
	char text[96];
	const char *c;

	if (jitter <= 0)
		return 0;
	snprintf(text, sizeof(text), "%s %lld", s->name, tick);
	for (c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211U;
	hash ^= hash >> 32; /* its low bits alone are no good */
	return (long long)(hash % (unsigned long long)jitter);
}

static void
set_tick(struct schedule *s, long long tick)
{
	s->tick = tick;
	s->at = tick + jitter_of(s, tick);
}

/* libev asks when the timer is started, has fired, or the clock was set.  Set
 * back, it comes by ticks before the one that is awaited. */
static ev_tstamp
on_reschedule(ev_periodic *w, ev_tstamp now)
{
	struct schedule *s = w->data;
	long long ms = llround(now * 1000);

	if (ms < s->awaited - SET_BACK) {
		set_tick(s, when_next(&s->when, ms));
		s->awaited = ms;
	}
	return fmax((double)s->at / 1000, now);
}

static void
await(struct schedule *s, long long tick)
{
	ev_periodic_stop(s->all->loop, &s->timer);
	set_tick(s, tick);
	s->awaited = now_ms();
	if (tick == WHEN_NEVER || s->all->stopped)
		s->tick = s->at = 0;
	else
		ev_periodic_start(s->all->loop, &s->timer);
}

/* The last tick whose time, with its jitter, has come: of those that a clock
 * jumped over, or a busy machine slept over, only that one. */
static long long
due_tick(const struct schedule *s, long long now)
{
	long long last = when_last(&s->when, s->tick, now);

	if (last != WHEN_NEVER && last + jitter_of(s, last) > now)
		last = when_last(&s->when, s->tick, last - 1);
	return last == WHEN_NEVER ? s->tick : last;
}

/* A clock that was set back may come by a tick again. */
static bool
is_past(const struct schedule *s, long long tick, long long now)
{
	return tick <= s->last && s->last <= now + AHEAD;
}

/* A tick has come. */
static void
owe(struct schedule *s, long long tick)
{
	if (s->owed && s->owed != tick)
		miss(s, s->owed,
		    s->outcome == OUTCOME_WAITING
			? "it waited for Redis until the next came"
			: "the job before was not over when the next came");
	s->owed = tick;
	pay(s);
}

static void
on_tick(struct ev_loop *loop, ev_periodic *w, int revents)
{
	DOING("tick of", "a schedule");
	struct schedule *s = w->data;
	long long now = now_ms(), due;

	(void)loop;
	(void)revents;
	if (now < s->at) {
		await(s, s->tick);
		return;
	}
	due = due_tick(s, now);
	if (due != s->tick)
		miss(s, s->tick, "the next one has come, too");
	await(s, when_next(&s->when, due));
	if (!is_past(s, due, now))
		owe(s, due);
}

/* ---- making a job ---- */

/* What a caller of queue_job_to_runner would say. */
static json_t *
job_settings_of(const struct schedule *s, const char *id)
{
	json_t *job = settings_to_json(schedule_settings, &s->conf, false);
	const struct setting *row;

	for (row = schedule_settings; row->name; row++)
		if (!setting_find(job_settings, row->name))
			json_object_del(job, row->name);
	json_object_set_new(job, "id", json_string(id));
	if (!json_object_get(job, "caller_id"))
		json_object_set_new(
		    job, "caller_id", json_sprintf("schedule:%s", s->name));
	return job;
}

static struct ask *
ask_new(struct schedule *s, long long time)
{
	struct ask *a = xcalloc(1, sizeof(*a));

	a->all = s->all;
	a->schedule = s;
	a->time = time;
	a->overlap = (enum overlap)s->conf.overlap;
	LIST_INSERT_HEAD(&s->all->asks, a, next);
	return a;
}

static void
ask_free(struct ask *a)
{
	if (a->all)
		LIST_REMOVE(a, next);
	free(a);
}

static void
retry_soon(struct schedules *ss)
{
	if (ev_is_active(&ss->retry) || !redis_is_up(ss->redis))
		return; /* when it is, we are told */
	ev_timer_set(&ss->retry, RETRY, 0.);
	ev_timer_start(ss->loop, &ss->retry);
}

/* It stays owed. */
static void
tick_waits(struct schedule *s, long long tick, const struct err *e)
{
	if (s->outcome != OUTCOME_WAITING || s->last != tick)
		tell(s, outcome_words[OUTCOME_WAITING], tick, "", e->text);
	decide(s, tick, OUTCOME_WAITING, "", e->text);
	retry_soon(s->all);
}

static void
tick_failed(struct schedule *s, long long tick, const struct err *e)
{
	log_warnx("schedule %s: %s", s->name, e->text);
	s->counts.failed++;
	decide(s, tick, OUTCOME_FAILED, "", e->text);
	tell(s, outcome_words[OUTCOME_FAILED], tick, "", e->text);
}

static void
tick_skipped(struct schedule *s, long long tick, const char *before)
{
	char why[192];

	snprintf(why, sizeof(why), "job %s is not over", before);
	s->counts.skipped++;
	decide(s, tick, OUTCOME_SKIPPED, "", why);
	tell(s, outcome_words[OUTCOME_SKIPPED], tick, "", why);
}

static void
tick_made(struct schedule *s, long long tick, const char *id)
{
	s->counts.queued++;
	decide(s, tick, OUTCOME_QUEUED, id, "");
	tell(s, outcome_words[OUTCOME_QUEUED], tick, id, "");
}

static void
tick_known(struct schedule *s, long long tick, const char *id)
{
	s->counts.elsewhere++;
	decide(s, tick, *id ? OUTCOME_QUEUED : OUTCOME_SKIPPED, id,
	    "another herod has seen to it");
}

/* Whatever its outcome, a tick that Redis has decided is not owed. */
static void
end_tick(struct schedule *s, const struct ask *a, enum ticked how,
    const char *id, const struct err *e)
{
	bool again = how == TICK_REFUSED && e->code == ERR_REDIS;

	s->ask = NULL;
	if (!again && s->owed == a->time)
		s->owed = 0;
	if (again)
		tick_waits(s, a->time, e);
	else if (how == TICK_REFUSED)
		tick_failed(s, a->time, e);
	else if (how == TICK_RUNNING)
		tick_skipped(s, a->time, id);
	else if (how == TICK_KNOWN)
		tick_known(s, a->time, id);
	else
		tick_made(s, a->time, id);
	if (!again)
		pay(s);
}

static void
end_run(
    const struct ask *a, enum ticked how, const char *id, const struct err *e)
{
	struct err running = {0};

	if (how == TICK_RUNNING) {
		err_set(&running, ERR_DUPLICATE,
		    "its overlap is forbid, and job %s is not over", id);
		err_subject(&running, id);
		e = &running;
	}
	a->fn(a->arg, e ? NULL : id, e);
}

static void
ask_end(struct ask *a, enum ticked how, const char *id, const struct err *e)
{
	if (a->fn)
		end_run(a, how, id, e);
	else if (a->schedule)
		end_tick(a->schedule, a, how, id, e);
	ask_free(a);
}

static void replace(struct ask *a, const char *before);

static void
on_ticked(void *arg, enum ticked how, const char *id, const struct err *e)
{
	struct ask *a = arg;

	if (how == TICK_RUNNING && a->overlap == OVERLAP_REPLACE && a->schedule)
		replace(a, id);
	else
		ask_end(a, how, id, e);
}

static void
ask_send(struct ask *a)
{
	struct schedule *s = a->schedule;
	struct queue_tick tick = {s->name, a->time, a->overlap};
	json_t *job = job_settings_of(s, a->id);
	struct err e = {0};

	if (workers_tick(s->all->workers, s->conf.runner, job, &tick, on_ticked,
		a, &e) == -1)
		ask_end(a, TICK_REFUSED, "", &e);
	json_decref(job);
}

/* ---- in place of the job before ---- */

static void
go_on(struct ask *a)
{
	struct err e = {0};

	a->overlap = OVERLAP_ALLOW;
	if (a->schedule) {
		ask_send(a);
		return;
	}
	err_set(&e, ERR_NO_SCHEDULE, "the schedule was removed meanwhile");
	ask_end(a, TICK_REFUSED, "", &e);
}

/* It is over, or it was waited for long enough. */
static void
on_waited(void *arg, const struct job *j, const struct err *e)
{
	struct ask *a = arg;

	(void)j;
	a->wait = NULL;
	if (e && e->code == ERR_REDIS)
		ask_end(a, TICK_REFUSED, "", e);
	else
		go_on(a);
}

struct replacing {
	struct ask *ask;
	char before[129];
};

/* One in the hands of another node is cancelled there, by its schedule. */
static void
on_replaced(void *arg, const char *status, const struct err *e)
{
	struct replacing *r = arg;
	struct ask *a = r->ask;

	(void)status;
	if (e && e->code == ERR_REDIS)
		ask_end(a, TICK_REFUSED, "", e);
	else if (e && e->code == ERR_ILLEGAL_MOVE && a->all)
		a->wait = workers_wait(a->all->workers, r->before, REPLACE_WAIT,
		    false, on_waited, a);
	else
		go_on(a);
	free(r);
}

static void
replace(struct ask *a, const char *before)
{
	struct replacing *r = xcalloc(1, sizeof(*r));
	struct err e = {0};

	r->ask = a;
	strlcpy(r->before, before, sizeof(r->before));
	if (workers_cancel(a->all->workers, before, on_replaced, r, &e) == 0)
		return;
	free(r);
	ask_end(a, TICK_REFUSED, "", &e);
}

/* ---- what is owed ---- */

static void
pay(struct schedule *s)
{
	char buf[TIME_TEXT_SIZE];

	if (!s->owed || s->ask || s->all->stopped)
		return;
	s->ask = ask_new(s, s->owed);
	snprintf(s->ask->id, sizeof(s->ask->id), "%s:%s", s->name,
	    tick_text(s->owed, buf));
	ask_send(s->ask);
}

/* Ticks from the one that Redis knows until we began. */
static void
catch_up(struct schedule *s, long long last)
{
	long long missed = when_last(&s->when, last, s->since);

	if (missed == WHEN_NEVER || !s->is_first || !s->conf.enabled ||
	    s->last || s->owed)
		return;
	if (s->catches_up)
		owe(s, missed);
	else
		miss(s, missed, "no herod ran");
}

static void
on_seen(void *arg, long long last, const char *id)
{
	struct seeing *seeing = arg;
	struct schedule *s = seeing->schedule;

	free(seeing);
	if (!s)
		return;
	s->seeing = NULL;
	if (!last) {
		retry_soon(s->all); /* or when Redis is back */
		return;
	}
	s->seen = true;
	catch_up(s, last);
	if (!s->last && *id)
		decide(s, last, OUTCOME_QUEUED, id, "");
}

static void
look_back(struct schedule *s)
{
	if (s->seen || s->seeing)
		return;
	s->seeing = xcalloc(1, sizeof(*s->seeing));
	s->seeing->schedule = s;
	if (workers_see_schedule(
		s->all->workers, s->name, s->since, on_seen, s->seeing))
		return;
	free(s->seeing);
	s->seeing = NULL;
}

/* Redis is there. */
static void
on_open(void *arg)
{
	struct schedules *ss = arg;
	struct schedule *s;

	RB_FOREACH (s, schedule_tree, &ss->tree) {
		look_back(s);
		pay(s);
	}
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a schedule");
	(void)loop;
	(void)revents;
	on_open(w->data);
}

/* ---- by hand ---- */

void
schedule_run(struct schedule *s, schedule_fn fn, void *arg)
{
	struct ask *a = ask_new(s, 0);
	char uuid[UUID_SIZE];

	make_uuid(uuid);
	snprintf(a->id, sizeof(a->id), "%s:%s", s->name, uuid);
	a->fn = fn;
	a->arg = arg;
	ask_send(a);
}

/* ---- coming and going ---- */

static struct schedule *
find(struct schedules *ss, const char *name)
{
	struct schedule wanted = {.name = (char *)(uintptr_t)name};

	return RB_FIND(schedule_tree, &ss->tree, &wanted);
}

struct schedule *
schedule_find(struct schedules *ss, const char *name, struct err *e)
{
	struct schedule *s = find(ss, name);

	if (!s) {
		err_set(e, ERR_NO_SCHEDULE, "there is no schedule %s", name);
		err_subject(e, name);
	}
	return s;
}

/* Whose time, with its jitter, has yet to come. */
static long long
first_tick(const struct schedule *s, long long now)
{
	long long last =
	    when_last(&s->when, now - llround(s->conf.jitter * 1000), now);

	if (last != WHEN_NEVER && last + jitter_of(s, last) > now)
		return last;
	return when_next(&s->when, now);
}

/* From now on by these settings. */
static void
configure(struct schedule *s, const struct conf_schedule *c)
{
	settings_copy(schedule_settings, &s->conf, &c->settings);
	free(s->origin);
	s->origin = xstrdup(c->origin);
	when_of(&s->when, &s->conf);
	s->since = now_ms();
	if (s->conf.enabled) {
		await(s, first_tick(s, s->since));
		if (s->tick && s->tick <= s->since)
			s->since = s->tick - 1;
	} else {
		await(s, WHEN_NEVER);
		s->owed = 0;
	}
}

static struct schedule *
schedule_add(struct schedules *ss, const struct conf_schedule *c)
{
	struct schedule *s = xcalloc(1, sizeof(*s));

	s->all = ss;
	s->name = xstrdup(c->name);
	ev_periodic_init(&s->timer, on_tick, 0., 0., on_reschedule);
	s->timer.data = s;
	RB_INSERT(schedule_tree, &ss->tree, s);
	configure(s, c);
	return s;
}

static void
schedule_free(struct schedule *s)
{
	struct ask *a;

	ev_periodic_stop(s->all->loop, &s->timer);
	LIST_FOREACH (a, &s->all->asks, next)
		if (a->schedule == s)
			a->schedule = NULL;
	if (s->seeing)
		s->seeing->schedule = NULL;
	RB_REMOVE(schedule_tree, &s->all->tree, s);
	settings_clear(schedule_settings, &s->conf);
	free(s->name);
	free(s->origin);
	free(s);
}

void
schedules_begin(struct schedules *ss, const struct conf *c, bool again)
{
	struct schedule *s;
	size_t i;

	for (i = 0; i < c->nschedules; i++) {
		s = schedule_add(ss, &c->schedules[i]);
		s->is_first = true;
		s->catches_up = again || s->conf.persistent;
	}
}

void
schedules_stop(struct schedules *ss)
{
	struct schedule *s;

	ss->stopped = true;
	RB_FOREACH (s, schedule_tree, &ss->tree)
		await(s, WHEN_NEVER);
}

struct schedules *
schedules_new(struct ev_loop *loop, struct redis *redis,
    struct workers *workers, struct events *events)
{
	struct schedules *ss = xcalloc(1, sizeof(*ss));

	ss->loop = loop;
	ss->redis = redis;
	ss->workers = workers;
	ss->events = events;
	RB_INIT(&ss->tree);
	LIST_INIT(&ss->asks);
	ev_timer_init(&ss->retry, on_retry, 0., 0.);
	ss->retry.data = ss;
	workers_on_open(workers, on_open, ss);
	return ss;
}

/* What Redis was asked is answered later, to nobody. */
void
schedules_free(struct schedules *ss)
{
	struct schedule *s;
	struct ask *a;

	if (!ss)
		return;
	workers_on_open(ss->workers, NULL, NULL);
	ev_timer_stop(ss->loop, &ss->retry);
	while ((s = RB_MIN(schedule_tree, &ss->tree)))
		schedule_free(s);
	while ((a = LIST_FIRST(&ss->asks))) {
		LIST_REMOVE(a, next);
		a->all = NULL;
		if (a->wait) {
			job_wait_cancel(a->wait);
			go_on(a);
		}
	}
	free(ss);
}

/* ---- other settings ---- */

static const struct conf_schedule *
conf_of(const struct conf *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->nschedules; i++)
		if (!strcmp(c->schedules[i].name, name))
			return &c->schedules[i];
	return NULL;
}

static bool
differs(const struct schedule *s, const struct conf_schedule *c)
{
	return settings_change(schedule_settings, &s->conf, &c->settings) !=
	    CHANGE_NONE;
}

json_t *
schedules_compare(struct schedules *ss, const struct conf *c)
{
	json_t *added = json_array(), *changed = json_array();
	json_t *removed = json_array();
	struct schedule *s;
	size_t i;

	for (i = 0; i < c->nschedules; i++) {
		s = find(ss, c->schedules[i].name);
		if (!s || differs(s, &c->schedules[i]))
			json_array_append_new(s ? changed : added,
			    json_string(c->schedules[i].name));
	}
	RB_FOREACH (s, schedule_tree, &ss->tree)
		if (!conf_of(c, s->name))
			json_array_append_new(removed, json_string(s->name));
	return json_pack("{s:o, s:o, s:o}", "added", added, "changed", changed,
	    "removed", removed);
}

/* A schedule without a difference keeps its tick; where it stands may be
 * another line. */
static void
change(struct schedule *s, const struct conf_schedule *c)
{
	if (differs(s, c))
		configure(s, c);
	free(s->origin);
	s->origin = xstrdup(c->origin);
}

void
schedules_apply(struct schedules *ss, const struct conf *c)
{
	struct schedule *s, *next;
	size_t i;

	RB_FOREACH_SAFE (s, schedule_tree, &ss->tree, next)
		if (!conf_of(c, s->name)) {
			workers_drop_schedule(ss->workers, s->name);
			schedule_free(s);
		}
	for (i = 0; i < c->nschedules; i++) {
		s = find(ss, c->schedules[i].name);
		if (s)
			change(s, &c->schedules[i]);
		else
			look_back(schedule_add(ss, &c->schedules[i]));
	}
}

/* ---- showing ---- */

json_t *
schedules_conf_json(const struct schedules *ss, bool everything)
{
	json_t *all = json_object();
	struct schedule *s;

	RB_FOREACH (s, schedule_tree, (struct schedule_tree *)&ss->tree)
		json_object_set_new(all, s->name,
		    json_pack("{s:s, s:o}", "origin", s->origin, "settings",
			settings_to_json(
			    schedule_settings, &s->conf, everything)));
	return all;
}

static json_t *
time_json(long long ms)
{
	char buf[TIME_TEXT_SIZE];

	return ms ? json_string(time_text((double)ms / 1000, buf))
		  : json_null();
}

static json_t *
last_json(const struct schedule *s)
{
	if (!s->last)
		return json_null();
	return json_pack("{s:o, s:s, s:s?, s:s}", "tick", time_json(s->last),
	    "outcome", outcome_words[s->outcome], "job",
	    *s->job ? s->job : NULL, "why", s->why);
}

static json_t *
counts_json(const struct counts *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "queued",
	    (json_int_t)c->queued, "elsewhere", (json_int_t)c->elsewhere,
	    "skipped", (json_int_t)c->skipped, "failed", (json_int_t)c->failed,
	    "missed", (json_int_t)c->missed);
}

static json_t *
schedule_json(const struct schedule *s)
{
	json_t *shown = settings_to_json(schedule_settings, &s->conf, true);
	json_t *status = json_pack("{s:s}", "name", s->name);
	static const char *const members[] = {"runner", "cron", "every",
	    "timezone", "jitter", "overlap", "persistent", "enabled"};
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(*members); i++)
		json_object_set(
		    status, members[i], json_object_get(shown, members[i]));
	json_decref(shown);
	if (!s->when.every)
		json_object_set_new(status, "every", json_null());
	json_object_set_new(status, "next", time_json(s->at));
	json_object_set_new(status, "last", last_json(s));
	json_object_set_new(status, "counts", counts_json(&s->counts));
	json_object_set_new(status, "origin", json_string(s->origin));
	return status;
}

json_t *
schedules_json(const struct schedules *ss)
{
	json_t *list = json_array();
	struct schedule *s;

	RB_FOREACH (s, schedule_tree, (struct schedule_tree *)&ss->tree)
		json_array_append_new(list, schedule_json(s));
	return list;
}
