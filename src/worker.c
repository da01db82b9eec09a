/*
 * Jobs in hand, and the places and lanes through which they come and go.
 *
 * Nothing here polls.  A lane is looked at (lane_look) when a place gets
 * free, something is put into its queue, the bell rings or Redis comes
 * back; at the end of the loop turn each such lane takes once, as many
 * jobs as there is room for.  The claims of a turn leave in one write.
 *
 * When Redis comes (back), the claims in it and the jobs in hand are
 * compared before anything is taken: claims nobody works on go back to the
 * head of their queues in their old order.
 */
#define LOG_MODULE "worker"
#include "work.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "clock.h"
#include "counters.h"
#include "event.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define HOLD 1.0 /* seconds without a new job after a shortage */

#define LOCAL __attribute__((unused)) static

static int
work_compare(const struct work *a, const struct work *b)
{
	return strcmp(a->job->spec.id, b->job->spec.id);
}

static int
lane_compare(const struct lane *a, const struct lane *b)
{
	return strcmp(queue_name(a->queue), queue_name(b->queue));
}

RB_GENERATE_INTERNAL(work_tree, work, entry, work_compare, LOCAL)
RB_GENERATE_INTERNAL(lane_tree, lane, entry, lane_compare, LOCAL)

/* ---- lanes ---- */

struct lane *
lane_open(struct workers *w, const char *name)
{
	struct lane wanted = {.queue = queue_open(w->queues, name)}, *l;

	l = RB_FIND(lane_tree, &w->lanes, &wanted);
	if (l)
		return l;
	l = xcalloc(1, sizeof(*l));
	l->all = w;
	l->queue = wanted.queue;
	l->maybe = true;
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->holds);
	RB_INSERT(lane_tree, &w->lanes, l);
	return l;
}

/* At the end of this loop turn. */
void
lane_look(struct lane *l)
{
	if (l->is_dirty)
		return;
	l->is_dirty = true;
	TAILQ_INSERT_TAIL(&l->all->dirty, l, dirty_next);
}

void
lane_rang(struct lane *l)
{
	l->maybe = l->rang = true;
	lane_look(l);
	redis_drawn(l);
}

/* ---- places ---- */

static void
place_ready(struct place *p, bool ready)
{
	if (p->is_ready == ready)
		return;
	p->is_ready = ready;
	if (ready)
		TAILQ_INSERT_TAIL(&p->lane->ready, p, ready);
	else
		TAILQ_REMOVE(&p->lane->ready, p, ready);
}

/* Jobs at once. */
static size_t
place_room(const struct place *p)
{
	const struct runner_conf *c = instance_conf(p->instance);

	return c->kind == KIND_EXEC ? 1 : (size_t)c->concurrency;
}

size_t
place_slots(const struct place *p)
{
	size_t used = p->nworks + p->reserved, room;

	if (!p->instance || instance_conf(p->instance)->kind == KIND_REDIS ||
	    ev_is_active(&p->hold) || !instance_takes_jobs(p->instance))
		return 0;
	room = place_room(p);
	return used < room ? room - used : 0;
}

static size_t
place_free_slots(const struct place *p)
{
	size_t n = place_slots(p);

	return n && hold_is_on(p) ? 0 : n;
}

void
place_look(struct place *p)
{
	bool has_room = place_free_slots(p) > 0;

	place_ready(p, has_room);
	if (has_room)
		lane_look(p->lane);
}

static void
on_hold_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("jobs for", "workers");
	(void)loop;
	(void)revents;
	place_look(w->data);
}

void
place_hold(struct place *p)
{
	ev_timer_stop(p->all->loop, &p->hold);
	ev_timer_set(&p->hold, HOLD, 0.);
	ev_timer_start(p->all->loop, &p->hold);
	place_ready(p, false);
}

struct place *
place_of(struct workers *w, struct instance *i)
{
	struct place *p = i->work;

	if (p || instance_conf(i)->kind == KIND_SERVICE)
		return p;
	i->work = p = xcalloc(1, sizeof(*p));
	p->all = w;
	p->instance = i;
	p->lane = lane_open(w, instance_queue(i));
	TAILQ_INIT(&p->works);
	TAILQ_INIT(&p->answers);
	journal_begin(&p->journal, -1, 0);
	journal_begin(&p->requests, -1, 0);
	frame_init(&p->frame);
	ev_timer_init(&p->hold, on_hold_over, 0., 0.);
	p->hold.data = p;
	return p;
}

static void
place_free(struct place *p)
{
	place_ready(p, false);
	ev_timer_stop(p->all->loop, &p->hold);
	frame_clear(&p->frame);
	free(p);
}

static bool
is_exec(const struct place *p)
{
	return instance_conf(p->instance)->kind == KIND_EXEC;
}

void
bounded_rules(const struct place *p, struct stop_rules *rules)
{
	stop_rules_of(instance_conf(p->instance), rules);
	if (rules->waitsecs > GRACE_MAX)
		rules->waitsecs = GRACE_MAX;
	rules->group = rules->killgroup = true;
}

/* ---- works ---- */

struct work *
work_find(struct workers *w, const char *id)
{
	struct job j = {.spec.id = (char *)id};
	struct work wanted = {.job = &j};

	return RB_FIND(work_tree, &w->works, &wanted);
}

/* Ends it early, by the means of its kind. */
static void
work_stop(struct work *k, enum fate fate)
{
	if (k->job->external)
		redis_stop(k, fate);
	else if (is_exec(k->place))
		exec_stop(k, fate);
	else
		stdio_cancel(k, fate);
}

static void
on_deadline(struct ev_loop *loop, ev_timer *t, int revents)
{
	DOING("time limit of", "a job");
	(void)loop;
	(void)revents;
	work_stop(t->data, FATE_TIMEOUT);
}

static void
lane_count(struct lane *l)
{
	l->nworks++;
	if (l->nworks > l->most)
		l->most = l->nworks;
}

/* Of the last jobs, the newest counts for a tenth. */
static void
lane_uncount(struct lane *l, double seconds)
{
	l->nworks--;
	l->job_seconds =
	    l->job_seconds > 0 ? 0.9 * l->job_seconds + 0.1 * seconds : seconds;
}

/* The job that others had is ours again, while our attempt of before is still
 * being killed: both would be at work on it. */
static void
succeed(struct work *k, struct job *stolen)
{
	if (k->successor)
		job_free(stolen);
	else
		k->successor = stolen;
}

/* That work is in the way of a new one. */
static void
claimed_twice(struct work *k, struct job *stolen)
{
	if (k->superseded) {
		succeed(k, stolen);
		return;
	}
	log_warnx("job %s: claimed twice", stolen->spec.id);
	job_free(stolen);
}

struct work *
work_new(struct place *p, struct job *stolen)
{
	struct work *k = xcalloc(1, sizeof(*k)), *other;

	k->all = p->all;
	k->place = p;
	k->job = stolen;
	k->retry_after = -1;
	ev_timer_init(&k->timer, on_deadline, 0., 0.);
	k->timer.data = k;
	if ((other = RB_INSERT(work_tree, &p->all->works, k))) {
		free(k);
		claimed_twice(other, stolen);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->works, k, next);
	p->nworks++;
	p->all->nworks++;
	lane_count(p->lane);
	k->began = clock_monotonic();
	place_look(p);
	return k;
}

void
work_arm(struct work *k)
{
	double left;

	if (k->job->spec.timeout <= 0)
		k->job->spec.timeout =
		    k->place->instance->runner->conf.job_timeout;
	if (k->deadline <= 0)
		k->deadline = ev_time() + k->job->spec.timeout;
	left = k->deadline - ev_time();
	ev_now_update(k->all->loop);
	ev_timer_set(&k->timer, left > 0 ? left : 0., 0.);
	ev_timer_start(k->all->loop, &k->timer);
}

struct job_news {
	const char *what;
	const char *id;
	const struct queue *queue;
	const struct job *job; /* NULL: only created */
	const struct instance *instance; /* or NULL */
};

static json_t *
news_json(const void *arg)
{
	const struct job_news *n = arg;
	json_t *event = json_pack("{s:s, s:s, s:s}", "what", n->what, "job",
	    n->id, "queue", queue_name(n->queue));
	const struct job *j = n->job;

	if (j == NULL)
		return event;
	json_object_set_new(
	    event, "status", json_string(job_status_word(j->status)));
	if (n->instance) {
		json_object_set_new(
		    event, "runner", json_string(n->instance->runner->name));
		json_object_set_new(
		    event, "instance", json_integer(n->instance->n));
	}
	if (j->error)
		json_object_set_new(
		    event, "why", text_json(j->error, strlen(j->error)));
	return event;
}

static void
publish(struct workers *w, const struct job_news *n)
{
	char topic[160];

	text_put(topic, sizeof(topic),
	    text_put(topic, sizeof(topic), 0, "job."), queue_name(n->queue));
	event_publish(w->events, topic, news_json, n);
}

void
job_news(const struct work *k, const char *what)
{
	publish(k->all,
	    &(struct job_news){what, k->job->spec.id, k->place->lane->queue,
		k->job, k->place->instance});
}

/* Leaves its place; the job stays. */
static struct job *
work_leave(struct work *k)
{
	struct place *p = k->place;
	struct job *j = k->job;

	if (k->successor)
		queue_give_back(
		    p->lane->queue, k->successor, BACK_HEAD, NULL, NULL);
	ev_timer_stop(k->all->loop, &k->timer);
	RB_REMOVE(work_tree, &k->all->works, k);
	TAILQ_REMOVE(&p->works, k, next);
	p->nworks--;
	k->all->nworks--;
	lane_uncount(p->lane, clock_monotonic() - k->began);
	free(k->result);
	free(k->last);
	free(k);
	if (p->instance && instance_conf(p->instance)->kind == KIND_STDIO)
		stdio_hands(p);
	place_look(p);
	if (!p->nworks && p->instance)
		instance_idle(p->instance);
	return j;
}

/* Forgets the seconds that have passed since the last count. */
static void
rate_go_on(struct rate *r, double now)
{
	long long second = (long long)now;

	if (second - r->last >= RATE_SECONDS || second < r->last)
		memset(r->ended, 0, sizeof(r->ended));
	else
		while (r->last < second)
			r->ended[++r->last % RATE_SECONDS] = 0;
	r->last = second;
}

static void
rate_count(struct rate *r, double now)
{
	rate_go_on(r, now);
	r->ended[r->last % RATE_SECONDS]++;
}

static void read_whole(struct workers *w, const char *id);
static void read_unclaimed(struct workers *w);

static void work_was_settled(struct work *k, struct job *stolen);

/* Nothing can be decided about a job that is not wholly known: true, and it
 * stays in hand until it is.  Or it is another node's meanwhile. */
static bool
must_wait(struct work *k, const struct pending *pending, const char *why)
{
	if (k->superseded) {
		work_was_settled(k, NULL);
		return true;
	}
	if (!k->partial)
		return false;
	free(k->pending.why);
	k->pending = *pending;
	k->pending.why = xstrdup(why);
	k->child = NULL;
	ev_timer_stop(k->all->loop, &k->timer);
	if (k->all->open)
		read_whole(k->all, k->job->spec.id);
	return true;
}

static unsigned long long ended[JOB_STATUSES];

unsigned long long
workers_ended(enum job_status status)
{
	return ended[status];
}

static void
count_end(struct lane *l, const struct job *j)
{
	ended[j->status]++;
	log_info("job %s: %s", j->spec.id,
	    j->error ? j->error : job_status_word(j->status));
	if (j->status == JOB_FINISHED)
		counter_add(jobs_finished, 1);
	else
		counter_add(jobs_failed, 1);
	rate_count(&l->rate, clock_monotonic());
}

void
job_is_told_over(struct lane *l, const struct job *j)
{
	count_end(l, j);
	publish(
	    l->all, &(struct job_news){"over", j->spec.id, l->queue, j, NULL});
	watch_over(l->all, j);
}

void
work_drop(struct work *k)
{
	job_free(work_leave(k));
}

#define LAST_LINES 10
#define LAST_LINES_MAX 2048 /* bytes */

void
work_last_lines(struct work *k, double since)
{
	const struct instance *i = k->place->instance;
	const struct output_filter f = {.lines = LAST_LINES,
	    .stream = -1,
	    .instance = i->n,
	    .job = k->job->spec.id,
	    .or_none = !is_exec(k->place),
	    .since = since};

	free(k->job->last_lines);
	k->job->last_lines =
	    output_last_words(i->runner->output, &f, LAST_LINES_MAX);
}

void
work_end(struct work *k, enum job_status how)
{
	struct workers *w = k->all;
	struct work told = *k;
	struct queue *q = k->place->lane->queue;
	struct job *j = k->job;
	struct err e = {0};

	if (must_wait(k, &(struct pending){.outcome = OVER, .how = how}, NULL))
		return;
	if (job_move(j, how, &e) == -1) {
		/* Ours to prevent, but a job must not hang for it. */
		log_errorx("%s", e.text);
		j->status = how;
	}
	time_text(ev_time(), j->finished_at);
	count_end(k->place->lane, j);
	job_news(k, "over");
	work_leave(k);
	watch_over(w, j);
	queue_finish(q, j, told.settled, told.settled_arg);
}

void
work_end_timeout(struct work *k)
{
	char text[32];

	job_set_error(k->job, "timeout after %s",
	    duration_text(k->job->spec.timeout, text));
	work_fail(k, JOB_TIMEOUT);
}

void
work_end_cancelled(struct work *k)
{
	job_set_error(k->job, "cancelled");
	work_end(k, JOB_CANCELLED);
}

static void
work_go_back(struct work *k, struct queue *q, enum back how)
{
	struct work told = *k;

	queue_give_back(q, work_leave(k), how, told.settled, told.settled_arg);
}

static bool
is_poison(const struct work *k)
{
	return k->job->deaths >=
	    k->place->instance->runner->conf.job_poison_limit;
}

void
work_back(struct work *k, enum back how, const char *why)
{
	struct queue *q = k->place->lane->queue;

	if (must_wait(
		k, &(struct pending){.outcome = GOES_BACK, .back = how}, why))
		return;
	if (k->cancelled) {
		work_end_cancelled(k);
		return;
	}
	if (how == BACK_DIED)
		k->job->deaths++;
	if (how == BACK_DIED && is_poison(k)) {
		job_set_error(k->job,
		    "quarantined: %lld workers died of it, the last by %s",
		    k->job->deaths, why);
		work_end(k, JOB_QUARANTINED);
		return;
	}
	log_info("job %s: given back: %s", k->job->spec.id, why);
	counter_add(jobs_given_back, 1);
	job_news(k, "back");
	work_go_back(k, q, how);
}

/* ---- again, later ---- */

double
job_backoff_of(const struct place *p, const struct job *j)
{
	return j->spec.backoff > 0 ? j->spec.backoff
				   : p->instance->runner->conf.job_backoff;
}

/* delay < 0: by its backoff, the n-th time. */
static double
delay_of(const struct work *k, double delay, long long n)
{
	return delay >= 0 ? delay
			  : job_backoff(job_backoff_of(k->place, k->job), n);
}

void
job_set_due(struct job *j, double delay)
{
	j->due = llround((ev_time() + delay) * 1000);
}

static void
work_again(struct work *k, enum back how, double delay, const char *why)
{
	struct queue *q = k->place->lane->queue;
	char text[32];

	job_set_due(k->job, delay);
	log_info("job %s: %s; again in %s", k->job->spec.id, why,
	    duration_text(delay, text));
	job_news(k, how == BACK_RETRY ? "retry" : "later");
	work_go_back(k, q, how);
}

void
work_later(struct work *k, double delay, const char *why)
{
	if (must_wait(k,
		&(struct pending){.outcome = ASKED_FOR_LATER, .delay = delay},
		why))
		return;
	if (k->cancelled)
		work_end_cancelled(k);
	else
		work_again(k, BACK_LATER,
		    delay_of(k, delay, k->job->deferrals + 1), why);
}

static bool
may_retry(const struct work *k, enum job_status how)
{
	const struct job *j = k->job;

	return (how == JOB_ERROR || how == JOB_TIMEOUT) && !k->is_fatal &&
	    j->retries_done < j->spec.retries;
}

void
work_fail(struct work *k, enum job_status how)
{
	const struct job *j = k->job;

	if (must_wait(
		k, &(struct pending){.outcome = FAILED, .how = how}, NULL))
		return;
	if (may_retry(k, how) && k->cancelled)
		work_end_cancelled(k);
	else if (may_retry(k, how))
		work_again(k, BACK_RETRY,
		    delay_of(k, k->retry_after, j->retries_done + 1), j->error);
	else
		work_end(k, how);
}

/* ---- what had to wait for Redis ---- */

/* Now all is known. */
static void
work_go_on(struct work *k)
{
	struct pending p = k->pending;

	k->pending = (struct pending){0};
	if (p.outcome == OVER)
		work_end(k, p.how);
	else if (p.outcome == FAILED)
		work_fail(k, p.how);
	else if (p.outcome == GOES_BACK)
		work_back(k, p.back, p.why);
	else if (p.outcome == ASKED_FOR_LATER)
		work_later(k, p.delay, p.why);
	free(p.why);
}

/* It goes back, whatever it was. */
static void
forget_outcome(struct work *k)
{
	free(k->pending.why);
	k->pending = (struct pending){0};
	k->partial = false;
}

bool
work_is_pending(struct work *k, bool wait)
{
	if (k->pending.outcome == NO_OUTCOME)
		return false;
	if (wait)
		return true;
	forget_outcome(k);
	work_back(k, BACK_HEAD, "its runner was stopped");
	return true;
}

void
place_back(struct place *p, enum back how, const char *why)
{
	struct work *k, *before;

	/* The last first, so that the first stands at the head. */
	TAILQ_FOREACH_REVERSE_SAFE (k, &p->works, work_list, next, before)
		work_back(k, how, why);
}

void
work_cancel(struct work *k)
{
	if (job_move(k->job, JOB_STOPPING, NULL) == -1)
		return;
	k->cancelled = true;
	queue_mark_stopping(k->place->lane->queue, k->job);
	if (k->fate != FATE_OPEN)
		return; /* its process is on its way out */
	work_stop(k, FATE_CANCEL);
}

/* The process that a claim names in its label; 0 for exec jobs, which have
 * none yet. */
static unsigned
place_process(const struct place *p)
{
	const struct instance *i = p->instance;

	return i && i->child && !is_exec(p) ? i->child->id : 0;
}

/* The process that the claim was made for is still there: it must not go to
 * another, for the next herod would not find it there. */
static bool
place_takes(const struct place *p, unsigned process)
{
	return p->instance && instance_takes_jobs(p->instance) &&
	    place_process(p) == process;
}

void
place_fill_foreign(const struct place *p, struct job *j)
{
	const struct runner *r = p->instance->runner;

	if (!j->foreign)
		return;
	if (j->spec.retries <= 0)
		j->spec.retries = r->conf.job_retries;
	if (!j->spec.runner)
		j->spec.runner = xstrdup(r->name);
}

/* The claim stands: hand it over, or back when that is not possible. */
static void
begin(struct place *p, unsigned process, struct job *stolen)
{
	struct work *k;

	if (!place_takes(p, process)) {
		queue_give_back(p->lane->queue, stolen, BACK_HEAD, NULL, NULL);
		return;
	}
	place_fill_foreign(p, stolen);
	k = work_new(p, stolen);
	if (!k)
		return;
	counter_add(jobs_started, 1);
	job_news(k, "started");
	work_arm(k);
	if (is_exec(p))
		exec_begin(k);
	else
		stdio_begin(k);
}

/* ---- taking ---- */

struct taking {
	struct lane *lane;
	size_t n;
	struct place *places[TAKE_MAX];
	unsigned processes[TAKE_MAX];
};

static void
unreserve(struct place *p)
{
	p->reserved--;
	if (!p->instance && !p->reserved)
		place_free(p);
	else
		place_look(p);
}

static void
look_everywhere(struct workers *w)
{
	struct lane *l;

	RB_FOREACH (l, lane_tree, &w->lanes) {
		l->maybe = l->rang = true;
		lane_look(l);
	}
}

static void
on_retry(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("jobs for", "workers");
	(void)loop;
	(void)revents;
	look_everywhere(timer->data);
}

/* Redis refuses: not in a tight loop. */
static void
take_later(struct workers *w)
{
	ev_timer_stop(w->loop, &w->retry);
	ev_timer_set(&w->retry, HOLD, 0.);
	ev_timer_start(w->loop, &w->retry);
}

static void
on_taken(void *arg, struct job **jobs, size_t n, bool more)
{
	struct taking *t = arg;
	struct lane *l = t->lane;
	size_t i;

	/* Those that must go back go back in order: the last first. */
	for (i = n; i-- > 0;) {
		struct place *p = t->places[i];

		if (!jobs[i] || place_takes(p, t->processes[i]))
			continue;
		queue_give_back(l->queue, jobs[i], BACK_HEAD, NULL, NULL);
		jobs[i] = NULL;
	}
	for (i = 0; i < n; i++)
		if (jobs[i])
			begin(t->places[i], t->processes[i], jobs[i]);
	l->taking = false;
	l->maybe = more || l->rang;
	l->rang = false;
	if (!jobs)
		take_later(l->all);
	for (i = 0; i < t->n; i++)
		unreserve(t->places[i]);
	if (l->maybe) /* others may have got room meanwhile */
		lane_look(l);
	free(t);
}

/* One slot each of the places that have room, in turn; how many. */
static size_t
reserve(struct lane *l, struct place **places, size_t max)
{
	struct place *p;
	size_t n = 0;

	while (n < max && (p = TAILQ_FIRST(&l->ready))) {
		place_ready(p, false);
		if (!place_free_slots(p))
			continue;
		p->reserved++;
		places[n++] = p;
		place_ready(p, place_free_slots(p) > 0);
	}
	return n;
}

static void
lane_take(struct lane *l)
{
	char labels[TAKE_MAX][LABEL_MAX];
	const char *words[TAKE_MAX];
	struct taking *t;
	size_t i;

	if (!l->all->open || l->taking || !l->maybe ||
	    ev_is_active(&l->all->retry))
		return;
	hold_look(l);
	if (TAILQ_EMPTY(&l->ready)) {
		scale_look(l);
		return;
	}
	t = xcalloc(1, sizeof(*t));
	t->lane = l;
	t->n = reserve(l, t->places, TAKE_MAX);
	for (i = 0; i < t->n; i++) {
		place_label(t->places[i], labels[i], LABEL_MAX);
		t->processes[i] = place_process(t->places[i]);
		words[i] = labels[i];
	}
	l->rang = false; /* what rang before stands before this take */
	l->taking = t->n > 0 && queue_take(l->queue, words, t->n, on_taken, t);
	if (l->taking)
		return;
	for (i = 0; i < t->n; i++)
		unreserve(t->places[i]);
	free(t);
}

static void
on_serve(struct ev_loop *loop, ev_prepare *prepare, int revents)
{
	DOING("jobs for", "workers");
	struct workers *w = prepare->data;
	TAILQ_HEAD(, lane) dirty = TAILQ_HEAD_INITIALIZER(dirty);
	struct place *p;
	struct lane *l;

	(void)loop;
	(void)revents;
	while ((p = TAILQ_FIRST(&w->unread)))
		stdio_read(p);
	/* What gets dirty meanwhile is for the next turn. */
	TAILQ_CONCAT(&dirty, &w->dirty, dirty_next);
	while ((l = TAILQ_FIRST(&dirty))) {
		TAILQ_REMOVE(&dirty, l, dirty_next);
		l->is_dirty = false;
		lane_take(l);
		flow_check(l);
		stuck_look(l);
	}
}

/* ---- new jobs ---- */

/* A new job whose claim is on its way to Redis. */
struct direct {
	struct place *place;
	unsigned process;
	struct job *job;
	queue_fn fn;
	void *arg;
};

/* What of its claim came to Redis is given back when claims are read. */
static bool
direct_spooled(struct direct *d, const struct err *e)
{
	struct err why = *e;

	if (e->code != ERR_REDIS)
		return false;
	job_move(d->job, JOB_DISPATCHED, NULL);
	return queue_spool(d->place->lane->queue, d->job, false, d->fn, d->arg,
		   &why) == 0;
}

static void
direct_failed(struct direct *d, const struct err *e)
{
	if (direct_spooled(d, e))
		return;
	d->fn(d->arg, e);
	job_free(d->job);
}

static void
on_direct(void *arg, const struct err *e)
{
	struct direct *d = arg;

	if (e) {
		direct_failed(d, e);
	} else {
		d->fn(d->arg, NULL);
		begin(d->place, d->process, d->job);
	}
	unreserve(d->place);
	free(d);
}

/* Past the queue, which is empty, into a free slot. */
static int
push_direct(
    struct place *p, struct job *stolen, queue_fn fn, void *arg, struct err *e)
{
	struct direct *d = xcalloc(1, sizeof(*d));
	char label[LABEL_MAX];

	d->place = p;
	d->process = place_process(p);
	d->job = stolen;
	d->fn = fn;
	d->arg = arg;
	job_move(stolen, JOB_STARTED, NULL);
	stolen->attempts = 1;
	stolen->instance = p->instance->n;
	stolen->node = xstrdup(queues_node(p->all->queues));
	strlcpy(
	    stolen->started_at, stolen->created_at, sizeof(stolen->started_at));
	place_label(p, label, sizeof(label));
	if (queue_push_started(
		p->lane->queue, stolen, label, on_direct, d, e) == 0)
		return 0;
	unreserve(p);
	job_free(stolen);
	free(d);
	return -1;
}

/* A slot that it can have at once, before all others. */
static bool
reserve_direct(
    struct lane *l, const struct job *j, bool named, struct place **p)
{
	if (named || !job_stands_in_line(j) || !l->all->open || l->maybe ||
	    l->taking || queue_is_paused(l->queue) || queue_has_rate(l->queue))
		return false;
	hold_look(l);
	return reserve(l, p, 1) > 0;
}

int
lane_push(struct lane *l, struct job *stolen, bool named, queue_fn fn,
    void *arg, struct err *e)
{
	struct place *p;
	int result;

	if (reserve_direct(l, stolen, named, &p))
		return push_direct(p, stolen, fn, arg, e);
	job_move(stolen, JOB_DISPATCHED, NULL);
	result = queue_push(l->queue, stolen, named, fn, arg, e);
	/* A take that follows now stands behind the push. */
	lane_rang(l);
	return result;
}

/* ---- claims ---- */

/* Of a worker that may be at jobs which others have by now, which ones is not
 * known: the herod before us was killed before it saw to that. */
static void
recover_place(struct workers *w, struct place *p)
{
	if (p->kept) {
		stdio_catch_up(p);
		if (queues_are_doubtful(w->queues))
			place_kill(p, VERDICT_OURS,
			    "others may have jobs that it is at");
	}
	place_look(p);
}

static void
recover(struct workers *w)
{
	struct instance *i;
	struct runner *r;
	size_t k;

	w->recovered = true;
	RUNNERS_FOREACH (r, w->runners)
		RUNNER_FOREACH_INSTANCE (i, r, k)
			if (i->work)
				recover_place(w, i->work);
}

static void
open_up(struct workers *w)
{
	w->open = true;
	ev_timer_stop(w->loop, &w->retry);
	/* First what Redis does not know: none of it must be taken again. */
	queues_resend(w->queues, w->forgot);
	w->forgot = false;
	look_everywhere(w);
	if (!w->recovered)
		recover(w);
	queues_make_sure(w->queues);
	watch_reread(w);
	redis_reread(w);
	external_read(w);
	if (w->on_open)
		w->on_open(w->on_open_arg);
}

/* Found in Redis only: what is known of it. */
static struct job *
job_of_id(const char *id)
{
	struct job *j = job_new();

	j->spec.id = xstrdup(id);
	return j;
}

/* At once: others are at it, too. */
static void
work_kill(struct work *k)
{
	static const char why[] = "others have its job";

	k->fate = FATE_BACK;
	ev_timer_stop(k->all->loop, &k->timer);
	if (!is_exec(k->place)) {
		place_kill(k->place, VERDICT_OURS, "%s", why);
	} else if (k->child && !k->child->is_over) {
		instance_ends_for(k->place->instance, "%s", why);
		child_kill(k->child);
	}
}

/* It is over, or another node has begun it: our attempt is of no use. */
static void
on_kept(void *arg, const char *id, bool kept)
{
	struct work *k = work_find(arg, id);

	if (!k || k->job->external)
		return;
	if (kept && k->superseded)
		succeed(k, job_of_id(id));
	if (kept || k->superseded)
		return;
	log_warnx("job %s: others have it now: it is killed here", id);
	k->superseded = true;
	work_kill(k);
}

/* Claims that Redis does not have (any more). */
static void
keep_unclaimed(struct workers *w)
{
	char label[LABEL_MAX];
	struct work *k;

	RB_FOREACH (k, work_tree, &w->works) {
		if (k->claimed || k->partial || k->job->external)
			continue;
		place_label(k->place, label, sizeof(label));
		queue_keep(k->place->lane->queue, k->job, label, on_kept, w);
	}
}

static void
answered(struct workers *w)
{
	/* Lost meanwhile: all is asked again when Redis is back. */
	if (!redis_is_up(w->redis) || --w->asked || w->open)
		return;
	read_unclaimed(w);
	if (w->asked)
		return;
	keep_unclaimed(w);
	open_up(w);
}

/* What a stdio worker that outlived the herod before us has in hand. */
static struct place *
place_by_claim(struct workers *w, const struct claim *claim)
{
	const char *label = claim->label;
	char mine[LABEL_MAX], name[LABEL_MAX];
	const char *slash = strchr(label, '/');
	struct runner *r;
	struct place *p;
	int n = slash ? atoi(slash + 1) : -1;

	if (w->recovered || !slash || slash - label >= LABEL_MAX)
		return NULL;
	strlcpy(name, label, (size_t)(slash - label) + 1);
	r = runner_find(w->runners, name);
	if (!r || r->conf.kind != KIND_STDIO || n < 0 ||
	    (size_t)n >= r->ninstances)
		return NULL;
	p = r->instances[n]->work;
	if (!p || !p->kept)
		return NULL;
	place_label(p, mine, sizeof(mine));
	return !strcmp(mine, label) && stdio_has(p, claim) ? p : NULL;
}

/* Unix seconds of a time as we write it; 0 when it is none. */
static double
unix_time(const char *text)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return 0;
	return (double)timegm(&tm) + (*rest == '.' ? strtod(rest, NULL) : 0);
}

/* What its process has left meanwhile. */
static void
keep_outcome(struct job *from, struct job *to)
{
	if (from->result) {
		free(to->result);
		to->result = from->result;
		to->result_len = from->result_len;
		from->result = NULL;
	}
	if (from->error) {
		free(to->error);
		to->error = from->error;
		from->error = NULL;
	}
	if (from->last_lines) {
		free(to->last_lines);
		to->last_lines = from->last_lines;
		from->last_lines = NULL;
	}
	if (from->exit.known) {
		free(to->exit.text);
		to->exit = from->exit;
		from->exit.text = NULL;
	}
}

/* The claim was all that was known of it. */
static void
complete(struct work *k, struct job *stolen)
{
	bool cancelled = k->cancelled || stolen->status == JOB_STOPPING;
	double began = unix_time(stolen->started_at);

	stolen->status = JOB_STARTED;
	stolen->epoch = k->job->epoch;
	stolen->sequence = k->job->sequence;
	free(stolen->queue);
	stolen->queue = xstrdup(queue_name(k->place->lane->queue));
	place_fill_foreign(k->place, stolen);
	RB_REMOVE(work_tree, &k->all->works, k);
	keep_outcome(k->job, stolen);
	job_free(k->job);
	k->job = stolen;
	RB_INSERT(work_tree, &k->all->works, k);
	k->partial = false;
	k->claimed = k->has_claim; /* else it is claimed anew */
	if (k->pending.outcome != NO_OUTCOME) {
		k->cancelled = cancelled;
		if (cancelled)
			job_move(k->job, JOB_STOPPING, NULL);
		work_go_on(k);
		return;
	}
	if (k->deadline <= 0 && began > 0 && stolen->spec.timeout > 0)
		k->deadline = began + stolen->spec.timeout;
	if (k->fate == FATE_OPEN)
		work_arm(k);
	if (cancelled)
		work_cancel(k);
}

/* Redis has lost it; so it is what we know. */
static void
work_unknown(struct work *k)
{
	k->partial = false;
	k->claimed = k->has_claim;
	if (!k->job->queue)
		k->job->queue = xstrdup(queue_name(k->place->lane->queue));
	if (k->pending.outcome == NO_OUTCOME && k->fate == FATE_OPEN)
		work_arm(k);
	work_go_on(k);
}

/* The herod before us had told Redis what became of it, but not the keeper that
 * this is known.  Without its claim it was given back; but one that finished
 * and is not over, Redis has forgotten. */
static bool
is_settled(const struct work *k, const struct job *j)
{
	const struct pending *p = &k->pending;

	if (p->outcome == NO_OUTCOME)
		return false;
	return job_is_over(j->status) ||
	    (!k->has_claim && !(p->outcome == OVER && p->how == JOB_FINISHED));
}

static void
work_was_settled(struct work *k, struct job *stolen)
{
	struct workers *w = k->all;
	struct job *j;

	free(k->pending.why);
	if (k->settled)
		k->settled(k->settled_arg);
	job_free(stolen);
	j = work_leave(k);
	watch_rang(w, j->spec.id);
	job_free(j);
}

struct reading {
	struct workers *all;
	char id[129];
};

static void
on_whole(void *arg, struct job *j, const struct err *e)
{
	struct reading *r = arg;
	struct workers *w = r->all;
	struct work *k = work_find(w, r->id);

	if (!k || !k->partial || e)
		job_free(j); /* refused: on_again() */
	else if (!j)
		work_unknown(k);
	else if (is_settled(k, j))
		work_was_settled(k, j);
	else
		complete(k, j);
	if (e)
		ask_again(w);
	free(r);
	answered(w);
}

static void
read_whole(struct workers *w, const char *id)
{
	struct reading *r = xcalloc(1, sizeof(*r));

	r->all = w;
	strlcpy(r->id, id, sizeof(r->id));
	w->asked++;
	if (queues_read(w->queues, r->id, on_whole, r, NULL) == 0)
		return;
	w->asked--;
	free(r);
}

/* Those in hand without a claim are known from their processes only. */
static void
read_unclaimed(struct workers *w)
{
	struct work *k;

	RB_FOREACH (k, work_tree, &w->works)
		if (k->partial && !k->claimed) {
			k->claimed = true;
			read_whole(w, k->job->spec.id);
		}
}

/* Else a job of which no more is known would never be over, nor who waits for
 * another one be told. */
static void
on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("jobs for", "workers");
	struct workers *w = timer->data;
	bool unseen = w->unseen, unread_names = w->unread_names;
	struct work *k;

	(void)loop;
	(void)revents;
	if (!w->open)
		return; /* all is read when it is */
	RB_FOREACH (k, work_tree, &w->works)
		if (k->partial)
			read_whole(w, k->job->spec.id);
	watch_reread(w);
	w->unseen = w->unread_names = false;
	if (unseen)
		redis_reread(w);
	if (unread_names)
		external_read(w);
}

void
ask_again(struct workers *w)
{
	if (!redis_is_up(w->redis) || ev_is_active(&w->again))
		return;
	ev_timer_set(&w->again, HOLD, 0.);
	ev_timer_start(w->loop, &w->again);
}

/* The work that goes with a claim, NULL when nobody does it. */
static struct work *
work_of_claim(struct workers *w, const struct claim *claim)
{
	struct work *k = work_find(w, claim->id);
	struct place *p = k ? NULL : place_by_claim(w, claim);
	struct job *j;

	if (!p)
		return k;
	j = job_of_id(claim->id);
	job_move(j, JOB_STARTED, NULL);
	k = work_new(p, j);
	k->partial = true;
	/* Claims come the last first. */
	TAILQ_REMOVE(&p->works, k, next);
	TAILQ_INSERT_HEAD(&p->works, k, next);
	return k;
}

/* Its process had ended, and Redis knew it: the job was begun anew. */
static bool
is_of_another_claim(const struct work *k, const struct claim *claim)
{
	return k->partial && k->pending.outcome != NO_OUTCOME &&
	    k->job->epoch > 0 &&
	    (k->job->epoch != claim->epoch ||
		k->job->sequence != claim->sequence);
}

static void
take_claim(struct workers *w, struct queue *q, const struct claim *claim)
{
	struct work *k;

	if (queues_is_settling(w->queues, claim->id))
		return;
	k = work_of_claim(w, claim);
	if (k && is_of_another_claim(k, claim)) {
		work_was_settled(k, NULL);
		k = NULL;
	}
	if (!k) {
		log_info("job %s: claimed by nobody, given back", claim->id);
		queue_give_back(q, job_of_id(claim->id), BACK_HEAD, NULL, NULL);
		return;
	}
	k->claimed = k->has_claim = true;
	if (k->superseded) {
		succeed(k, job_of_id(claim->id));
		return;
	}
	k->job->epoch = claim->epoch;
	k->job->sequence = claim->sequence;
	if (k->partial)
		read_whole(w, claim->id);
}

static void
on_claims(void *arg, struct queue *q, const struct claim *claims, size_t n)
{
	/* The last first: what goes back to the head keeps its order. */
	while (n-- > 0)
		take_claim(arg, q, &claims[n]);
	answered(arg);
}

static void
on_queue_name(void *arg, const char *name)
{
	struct workers *w = arg;
	struct lane *l;

	if (name) {
		/* Draws from nothing while no runner does. */
		lane_open(w, name);
		return;
	}
	RB_FOREACH (l, lane_tree, &w->lanes) {
		w->asked++;
		queue_claims(l->queue, on_claims, w);
	}
	answered(w); /* this one */
}

static void
reconcile(struct workers *w)
{
	struct work *k;

	if (!w->adopted || !redis_is_up(w->redis))
		return;
	RB_FOREACH (k, work_tree, &w->works)
		k->claimed = k->has_claim = false;
	w->asked = 1;
	queues_register(w->queues, on_queue_name, w);
}

static json_t *
redis_news_json(const void *arg)
{
	const struct workers *w = arg;
	bool up = redis_is_up(w->redis);

	return json_pack("{s:s, s:s, s:s}", "what", up ? "up" : "down",
	    "address", redis_address(w->redis), "why",
	    up ? "" : redis_why(w->redis));
}

static void
on_up(void *arg)
{
	struct workers *w = arg;

	w->forgot = w->forgot || redis_forgot(w->redis);
	event_publish(w->events, "redis", redis_news_json, w);
	reconcile(w);
}

static void
on_down(void *arg)
{
	struct workers *w = arg;

	w->open = false;
	event_publish(w->events, "redis", redis_news_json, w);
}

/* Something was put into a queue; nobody may draw from it. */
static void
queue_rang(struct workers *w, struct queue *q)
{
	struct lane *l, wanted = {.queue = q};

	l = RB_FIND(lane_tree, &w->lanes, &wanted);
	if (l)
		lane_rang(l);
}

static void
on_bell(void *arg, const char *key, size_t len)
{
	struct workers *w = arg;
	const char *id = NULL;
	struct queue *q;

	if (!key) {
		look_everywhere(w);
		queues_catch_up(w->queues);
		watch_reread(w);
		redis_reread(w);
		external_read(w);
		return;
	}
	q = queues_rung(w->queues, key, len, &id);
	if (id && !redis_rang(w, id))
		watch_rang(w, id);
	if (q)
		queue_rang(w, q);
}

static void
on_leaving(void *arg)
{
	struct workers *w = arg;

	queues_send(w->queues);
}

static bool
on_has(void *arg, const char *id)
{
	return work_find(arg, id) != NULL;
}

static void
on_created(void *arg, struct queue *q, const char *id)
{
	publish(arg, &(struct job_news){"created", id, q, NULL, NULL});
}

static void
on_enrolled(void *arg)
{
	external_read(arg);
}

static void
on_given_back(void *arg, struct queue *q)
{
	queue_rang(arg, q);
}

static void
on_purged(void *arg, const char *id)
{
	watch_rang(arg, id);
}

static json_t *
paused_json(const void *arg)
{
	return json_pack(
	    "{s:s}", "what", *(const bool *)arg ? "paused" : "resumed");
}

static void
on_paused(void *arg, struct queue *q, bool paused)
{
	struct workers *w = arg;
	char topic[160];

	snprintf(topic, sizeof(topic), "queue.%s", queue_name(q));
	event_publish(w->events, topic, paused_json, &paused);
	if (!paused)
		queue_rang(w, q);
}

/* With one that it waited for. */
static void
on_ended(void *arg, const char *id)
{
	ended[JOB_ERROR]++;
	counter_add(jobs_failed, 1);
	log_info("job %s: ended with a prerequisite that did not finish", id);
	watch_rang(arg, id);
}

/* ---- other herods ---- */

struct node_news {
	const char *what, *node;
	long long jobs;
};

static json_t *
node_news_json(const void *arg)
{
	const struct node_news *n = arg;

	return json_pack("{s:s, s:s, s:I}", "what", n->what, "node", n->node,
	    "jobs", (json_int_t)n->jobs);
}

static void
on_vanished(void *arg, const char *node, long long jobs)
{
	struct workers *w = arg;

	event_publish(w->events, "node", node_news_json,
	    &(struct node_news){"vanished", node, jobs});
	if (w->open)
		redis_reread(w); /* what actors there had begun */
}

static void
on_fenced(void *arg)
{
	struct workers *w = arg;

	w->open = false;
	reconcile(w);
}

static void
end_exclusive(struct work *k)
{
	if (k->place->instance->runner->conf.kind == KIND_EXEC)
		exec_stop(k, FATE_BACK);
	else
		place_kill(k->place, VERDICT_OURS,
		    "Redis cannot be reached, and others may begin its jobs "
		    "(exclusive)");
}

/* Others may begin our jobs soon. */
static void
on_cut_off(void *arg)
{
	struct workers *w = arg;
	struct work *k;

	RB_FOREACH (k, work_tree, &w->works)
		if (k->place->instance &&
		    k->place->instance->runner->conf.exclusive)
			end_exclusive(k);
}

/* ---- what runners tell ---- */

/* It would only fail, and perhaps too often. */
static bool
hook_hindrance(void *arg, const struct instance *i, char *why, size_t size)
{
	struct workers *w = arg;

	if (scale_hinders(w, i)) {
		snprintf(why, size, "there is nothing to do for it");
		return true;
	}
	if (instance_conf(i)->kind != KIND_REDIS ||
	    (w->open && redis_is_swept(w, i)))
		return false;
	snprintf(why, size, "waits for Redis: %s",
	    redis_is_up(w->redis) ? "to know what jobs are in hand"
				  : redis_why(w->redis));
	return true;
}

static void
hook_up(void *arg, struct instance *i)
{
	struct workers *w = arg;
	struct place *p = place_of(w, i);

	if (!p)
		return;
	scale_up(w, i);
	if (instance_conf(i)->kind == KIND_STDIO)
		stdio_up(p);
	place_look(p);
}

static void
hook_replies(void *arg, struct instance *i, const char *buf, size_t len)
{
	struct place *p = place_of(arg, i);

	if (p)
		stdio_replies(p, buf, len);
}

static void
hook_died(void *arg, struct instance *i, const struct child *c, bool asked)
{
	struct place *p = place_of(arg, i);

	if (instance_conf(i)->kind == KIND_REDIS)
		redis_died(p, c, asked);
	else if (p)
		stdio_died(p, c, asked);
}

static bool
hook_adopt(void *arg, struct instance *i, struct child *c, const json_t *tag)
{
	return exec_adopt(arg, i, c, tag);
}

static size_t
hook_jobs(void *arg, struct instance *i, json_t *ids)
{
	const struct place *p = i->work;
	struct work *k;

	(void)arg;
	if (!p)
		return 0;
	if (ids)
		TAILQ_FOREACH (k, &p->works, next)
			json_array_append_new(
			    ids, json_string(k->job->spec.id));
	return p->nworks;
}

static const char *
hook_job(void *arg, struct instance *i)
{
	struct place *p = place_of(arg, i);

	return p ? stdio_alone(p) : NULL;
}

static void
hook_abandon(void *arg, struct instance *i)
{
	const struct place *p = i->work;
	struct work *k, *next;

	(void)arg;
	if (p)
		TAILQ_FOREACH_SAFE (k, &p->works, next, next)
			exec_stop(k, FATE_BACK);
}

static double
hook_longest(void *arg, struct instance *i)
{
	const struct place *p = i->work;
	double left = 0;
	struct work *k;

	(void)arg;
	if (p)
		TAILQ_FOREACH (k, &p->works, next)
			left = fmax(left,
			    ev_timer_remaining(k->all->loop, &k->timer) +
				GRACE_MAX);
	return left;
}

static void
hook_order(void *arg)
{
	struct workers *w = arg;
	struct lane *l;

	RB_FOREACH (l, lane_tree, &w->lanes)
		hold_order(l);
}

static void
place_gone(struct place *p)
{
	struct work *k;

	/* Whoever has them goes on with them. */
	while (runner_is_external(p->instance->runner) &&
	    (k = TAILQ_FIRST(&p->works)))
		redis_leave(k);
	/* It is down, so this finds jobs only when herod ends in a hurry. */
	TAILQ_FOREACH (k, &p->works, next) {
		exec_forget(k);
		forget_outcome(k);
	}
	place_back(p, BACK_HEAD, "its runner is gone");
	stdio_forget(p);
	place_ready(p, false);
	p->instance->work = NULL;
	p->instance = NULL;
	if (!p->reserved)
		place_free(p);
}

static void
hook_gone(void *arg, struct instance *i)
{
	(void)arg;
	if (i->work)
		place_gone(i->work);
}

void
workers_hooks(struct workers *w, struct runner_hooks *hooks)
{
	*hooks = (struct runner_hooks){
	    .arg = w,
	    .hindrance = hook_hindrance,
	    .up = hook_up,
	    .replies = hook_replies,
	    .job = hook_job,
	    .died = hook_died,
	    .adopt = hook_adopt,
	    .jobs = hook_jobs,
	    .abandon = hook_abandon,
	    .longest = hook_longest,
	    .order = hook_order,
	    .gone = hook_gone,
	};
}

/* The larger of two numbers of which 0 sets no limit; -1: none yet. */
static long long
larger_limit(long long a, long long b)
{
	if (a == 0 || b == 0)
		return 0;
	return a > b ? a : b;
}

static bool
is_slower(const struct runner_conf *c, const struct queue_limits *l)
{
	return c->rate_limit > 0 &&
	    (l->rate == 0 ||
		(double)c->rate_limit / c->rate_period <
		    (double)l->rate / l->rate_period);
}

/* The most of what is kept or waits, the least of what is done at once. */
static void
add_limits(const struct runner_conf *c, struct queue_limits *l)
{
	l->most = larger_limit(l->most, c->max_queue);
	if (!l->key_concurrency || c->key_concurrency < l->key_concurrency)
		l->key_concurrency = c->key_concurrency;
	if (is_slower(c, l)) {
		l->rate = c->rate_limit;
		l->rate_period = c->rate_period;
	}
}

/* What its runners say of their queue. */
static void
lane_set_limits(struct lane *l, const struct runner *but)
{
	struct queue_limits limits = {.most = -1};
	long long keep = -1;
	struct runner *r;

	RUNNERS_FOREACH (r, l->all->runners) {
		if (r == but || r->conf.kind == KIND_SERVICE ||
		    strcmp(runner_queue(r), queue_name(l->queue)) != 0)
			continue;
		keep = larger_limit(keep, r->conf.keep_jobs);
		add_limits(&r->conf, &limits);
	}
	if (limits.most < 0)
		return; /* nobody says anything any more */
	queue_set_keep(l->queue, keep);
	queue_set_limits(l->queue, &limits);
}

void
workers_runner_added(struct workers *w, struct runner *r)
{
	struct lane *l;

	if (r->conf.kind == KIND_SERVICE)
		return;
	l = lane_open(w, runner_queue(r));
	l->runners++;
	lane_set_limits(l, NULL);
	if (r->conf.kind >= KIND_REDIS)
		redis_runner_added(l, &r->conf);
	scale_begin(w, r);
	hold_begin(l, r);
	l->maybe = true;
	flow_weigh(l);
	lane_look(l);
}

static void
draws_no_more(
    struct workers *w, struct runner *r, const struct runner_conf *conf)
{
	struct lane *l;

	if (conf->kind == KIND_SERVICE)
		return;
	l = lane_open(w, conf->queue ? conf->queue : r->name);
	l->runners--;
	scale_end(w, r);
	hold_end(l, r);
	lane_set_limits(l, r);
	if (conf->kind >= KIND_REDIS)
		redis_runner_gone(l, conf);
	flow_weigh(l);
}

void
workers_runner_gone(struct workers *w, struct runner *r)
{
	struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (i->work)
			place_gone(i->work);
	draws_no_more(w, r, &r->conf);
	if (runner_is_external(r))
		external_read(w); /* it may be there again */
}

void
workers_runner_changed(
    struct workers *w, struct runner *r, const struct runner_conf *before)
{
	struct instance *i;
	struct place *p;
	size_t k;

	draws_no_more(w, r, before);
	workers_runner_added(w, r);
	/* There may be more room, or another place. */
	RUNNER_FOREACH_INSTANCE (i, r, k) {
		p = i->state == RUNNING ? place_of(w, i) : i->work;
		if (p)
			place_look(p);
	}
	runners_look_at_order(w->runners);
}

/* ---- numbers ---- */

double
workers_rate(struct workers *w, const char *queue)
{
	struct rate *r = &lane_open(w, queue)->rate;
	unsigned sum = 0;
	size_t i;

	rate_go_on(r, clock_monotonic());
	for (i = 0; i < RATE_SECONDS; i++)
		sum += r->ended[i];
	return (double)sum / RATE_SECONDS;
}

void
workers_depths(struct workers *w, const char *const *queues, size_t n,
    depths_fn fn, void *arg)
{
	queues_depths(w->queues, queues, n, fn, arg);
}

bool
workers_is_paused(struct workers *w, const char *queue)
{
	return queue_is_paused(queue_open(w->queues, queue));
}

size_t
workers_running(struct workers *w, const struct runner *r)
{
	const struct place *p;
	struct instance *i;
	size_t k, n = 0;

	if (!r)
		return w->nworks;
	RUNNER_FOREACH_INSTANCE (i, r, k) {
		p = i->work;
		n += p ? p->nworks : 0;
	}
	return n;
}

json_t *
workers_jobs(struct workers *w, const struct instance *i)
{
	const struct place *p = i->work;
	json_t *jobs = json_array();
	const struct work *k;

	(void)w;
	if (p == NULL)
		return jobs;
	TAILQ_FOREACH (k, &p->works, next)
		json_array_append_new(jobs,
		    json_pack("{s:s, s:f}", "id", k->job->spec.id, "left",
			fmax(0, k->deadline - ev_time())));
	return jobs;
}

json_t *
workers_summary(struct workers *w)
{
	return json_pack("{s:n, s:I, s:I, s:I}", "dispatched", "started",
	    (json_int_t)w->nworks, "finished",
	    (json_int_t)counters[COUNTER_jobs_finished], "error",
	    (json_int_t)counters[COUNTER_jobs_failed]);
}

/* ---- making ---- */

static char *
node_id(const char *state_dir)
{
	char made[UUID_SIZE], *id;
	struct err e = {0};

	id = queues_node_id(state_dir, &e);
	if (id)
		return id;
	/* Its claims will not be found by the next herod. */
	log_errorx("%s", e.text);
	make_uuid(made);
	return xstrdup(made);
}

struct workers *
workers_new(struct ev_loop *loop, struct redis *redis,
    const struct daemon_conf *conf, const char *state_dir)
{
	static const struct redis_ops redis_ops = {
	    .up = on_up,
	    .down = on_down,
	    .bell = on_bell,
	    .leaving = on_leaving,
	};
	static const struct queues_ops queues_ops = {
	    .given_back = on_given_back,
	    .has = on_has,
	    .created = on_created,
	    .ended = on_ended,
	    .purged = on_purged,
	    .paused = on_paused,
	    .enrolled = on_enrolled,
	    .vanished = on_vanished,
	    .fenced = on_fenced,
	    .cut_off = on_cut_off,
	};
	struct workers *w = xcalloc(1, sizeof(*w));
	char *id = node_id(state_dir);

	w->loop = loop;
	w->redis = redis;
	w->conf = conf;
	w->proc = "/proc";
	RB_INIT(&w->works);
	RB_INIT(&w->lanes);
	RB_INIT(&w->watches);
	TAILQ_INIT(&w->dirty);
	TAILQ_INIT(&w->external_lanes);
	TAILQ_INIT(&w->scalers);
	TAILQ_INIT(&w->unread);
	w->queues = queues_new(
	    loop, redis, conf->namespace, conf->node, id, conf->result_ttl);
	queues_set_ops(w->queues, &queues_ops, w);
	redis_set_ops(redis, &redis_ops, w);
	ev_timer_init(&w->retry, on_retry, 0., 0.);
	w->retry.data = w;
	ev_timer_init(&w->again, on_again, 0., 0.);
	w->again.data = w;
	ev_prepare_init(&w->serve, on_serve);
	w->serve.data = w;
	ev_prepare_start(loop, &w->serve);
	free(id);
	return w;
}

void
workers_share(struct workers *w)
{
	queues_share(w->queues, w->conf->node_timeout);
	queues_set_replay(w->queues, w->conf->redis_replay);
}

const char *
workers_node(const struct workers *w)
{
	return queues_node(w->queues);
}

int
workers_nodes(struct workers *w, nodes_fn fn, void *arg, struct err *e)
{
	return queues_nodes(w->queues, fn, arg, e);
}

bool
workers_mail(struct workers *w, const char *id, const char *text, size_t len)
{
	return queues_mail(w->queues, id, text, len);
}

void
workers_on_mail(struct workers *w,
    void (*fn)(void *arg, const char *text, size_t len), void *arg)
{
	queues_on_mail(w->queues, fn, arg);
}

void
workers_publish(struct workers *w, struct events *events)
{
	w->events = events;
}

void
workers_set_result_ttl(struct workers *w, double result_ttl)
{
	queues_set_result_ttl(w->queues, result_ttl);
}

static bool
has_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 0;
}

/* What is there is told to Redis in any case. */
int
workers_open_spool(struct workers *w, const char *state_dir, struct err *e)
{
	char *path;
	int result;

	path = xasprintf("%s/spool", state_dir);
	if (!w->conf->spool && !has_bytes(path)) {
		free(path);
		return 0;
	}
	result = queues_open_spool(
	    w->queues, path, w->conf->spool ? w->conf->spool_maxbytes : 0, e);
	free(path);
	return result;
}

int
workers_open_memory(struct workers *w, int fd)
{
	if (fd == -1)
		fd = memfd_create("spool", MFD_CLOEXEC);
	if (fd == -1)
		log_warn("jobs of durability memory are refused while Redis "
			 "is away");
	else
		queues_open_memory(w->queues, fd, w->conf->spool_maxbytes);
	return fd;
}

void
workers_save_memory(struct workers *w, const char *state_dir)
{
	char *path = xasprintf("%s/spool", state_dir);

	queues_save_memory(w->queues, path);
	free(path);
}

size_t
workers_spooled(const struct workers *w)
{
	return queues_spooled(w->queues);
}

size_t
workers_spool_bytes(const struct workers *w)
{
	return queues_spool_bytes(w->queues);
}

size_t
workers_unsettled(struct workers *w)
{
	return queues_unsettled(w->queues);
}

void
workers_set_replay(struct workers *w, long long bytes)
{
	queues_set_replay(w->queues, bytes);
}

void
workers_attach(struct workers *w, struct runners *runners)
{
	w->runners = runners;
}

void
workers_on_open(struct workers *w, void (*fn)(void *arg), void *arg)
{
	w->on_open = fn;
	w->on_open_arg = arg;
}

void
workers_recover(struct workers *w)
{
	w->adopted = true;
	reconcile(w);
}

void
workers_free(struct workers *w)
{
	struct lane *l;

	if (!w->nworks && !queues_unsettled(w->queues))
		queues_leave(w->queues);
	/* First: those whom it answers are still there. */
	redis_hang_up(w->redis);
	ev_prepare_stop(w->loop, &w->serve);
	ev_timer_stop(w->loop, &w->retry);
	ev_timer_stop(w->loop, &w->again);
	durable_free(w);
	watches_free(w);
	queues_free(w->queues);
	while ((l = RB_MIN(lane_tree, &w->lanes))) {
		RB_REMOVE(lane_tree, &w->lanes, l);
		redis_lane_free(l);
		free(l);
	}
	free(w);
}
