/*
 * Metrics.
 *
 * Names follow Prometheus' own advice: herod_ first, the unit last, _total
 * for what only grows.  A label has a fixed name or one that needs no quotes.
 */
#include "metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "counters.h"
#include "doors.h"
#include "event.h"
#include "http.h"
#include "job.h"
#include "jsonrpc.h"
#include "lives.h"
#include "mem.h"
#include "process.h"
#include "redis.h"
#include "rpc.h"
#include "runners.h"
#include "tls_door.h"
#include "turns.h"
#include "worker.h"

#define ASK_EVERY 5.0 /* seconds, what Redis knows of queues */
#define ASK_WHILE 60.0 /* seconds after a scrape */

/* What Redis has told of a queue. */
struct queue_told {
	char *queue;
	struct queue_depth depth;
};

struct metrics {
	const struct services *services;
	ev_timer again;
	double scraped_at; /* (clock.h) */
	double told_at; /* 0: never */
	struct queue_told *told;
	size_t ntold;
	struct queue_told *asked; /* of whom Redis is asked now, or NULL */
	size_t nasked;
};

/* ---- what Redis knows of queues ---- */

static void
told_free(struct queue_told *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(list[i].queue);
	free(list);
}

/* All or nothing: an old answer with its age is better than half a new one. */
static void
on_depths(void *arg, const struct queue_depth *depths, size_t n)
{
	struct metrics *m = arg;
	bool known = true;
	size_t i;

	for (i = 0; i < n; i++) {
		m->asked[i].depth = depths[i];
		known = known && depths[i].jobs >= 0;
	}
	if (known) {
		told_free(m->told, m->ntold);
		m->told = m->asked;
		m->ntold = m->nasked;
		m->told_at = clock_monotonic();
	} else {
		told_free(m->asked, m->nasked);
	}
	m->asked = NULL;
}

/* {queue: jobs at work here} of those that runners have; new. */
static json_t *
queues_of(const struct services *services)
{
	json_t *queues = json_object();
	json_int_t running;
	struct runner *r;

	RUNNERS_FOREACH (r, services->runners) {
		if (r->conf.kind == KIND_SERVICE)
			continue;
		running = json_integer_value(
		    json_object_get(queues, runner_queue(r)));
		running += (json_int_t)workers_running(services->workers, r);
		json_object_set_new(
		    queues, runner_queue(r), json_integer(running));
	}
	return queues;
}

static void
ask(struct metrics *m)
{
	const struct services *s = m->services;
	json_t *queues, *running;
	const char **names, *name;
	size_t n = 0;

	if (m->asked != NULL || !redis_is_up(s->redis))
		return;
	queues = queues_of(s);
	names = xcalloc(json_object_size(queues) + 1, sizeof(*names));
	m->asked = xcalloc(json_object_size(queues) + 1, sizeof(*m->asked));
	json_object_foreach (queues, name, running) {
		names[n] = m->asked[n].queue = xstrdup(name);
		n++;
	}
	m->nasked = n;
	workers_depths(s->workers, names, n, on_depths, m);
	free(names);
	json_decref(queues);
}

/* As long as somebody scrapes. */
static void
on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "metrics");
	struct metrics *m = w->data;

	(void)revents;
	ask(m);
	if (clock_monotonic() - m->scraped_at > ASK_WHILE)
		ev_timer_stop(loop, w);
}

static void
note_scrape(struct metrics *m)
{
	m->scraped_at = clock_monotonic();
	if (ev_is_active(&m->again))
		return;
	ask(m);
	ev_timer_again(m->services->loop, &m->again);
}

/* ---- words of the format ---- */

static void
metric(struct sink *s, const char *name, const char *type, const char *meaning)
{
	sink_print(s, "# HELP herod_%s %s\n# TYPE herod_%s %s\n", name, meaning,
	    name, type);
}

static void
put_counters(struct sink *s)
{
	char name[64];
	size_t i;

	for (i = 0; i < COUNTER_COUNT; i++) {
		snprintf(name, sizeof(name), "%s_total", counter_rows[i].name);
		metric(s, name, "counter", counter_rows[i].meaning);
		sink_print(s, "herod_%s %llu\n", name, counters[i]);
	}
}

/* ---- by method, status and runner ---- */

static void
put_timing(struct sink *s, const char *name, const char *labels,
    const struct timing *t)
{
	const char *comma = *labels ? "," : "";
	unsigned long long below = 0;
	size_t i;

	for (i = 0; i < TIMING_BUCKETS; i++) {
		below += t->buckets[i];
		sink_print(s, "herod_%s_bucket{%s%sle=\"%g\"} %llu\n", name,
		    labels, comma, timing_bounds[i], below);
	}
	sink_print(s, "herod_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels,
	    comma, t->count);
	sink_print(s,
	    *labels ? "herod_%s_sum{%s} %.6f\n" : "herod_%s_sum%s %.6f\n", name,
	    labels, t->sum);
	sink_print(s,
	    *labels ? "herod_%s_count{%s} %llu\n" : "herod_%s_count%s %llu\n",
	    name, labels, t->count);
}

/* Those that were called. */
static void
put_methods(struct sink *s)
{
	char label[80];
	size_t i;

	metric(
	    s, "method_refusals_total", "counter", "Calls refused by method");
	for (i = 0; i < METHOD_COUNT; i++)
		if (method_tallies[i].refused)
			sink_print(s,
			    "herod_method_refusals_total{method=\"%s\"} "
			    "%llu\n",
			    methods[i].name, method_tallies[i].refused);
	metric(s, "method_seconds", "histogram",
	    "From a call to its answer, by method");
	for (i = 0; i < METHOD_COUNT; i++) {
		snprintf(
		    label, sizeof(label), "method=\"%s\"", methods[i].name);
		if (method_tallies[i].answered.count)
			put_timing(s, "method_seconds", label,
			    &method_tallies[i].answered);
	}
}

static void
put_http(struct sink *s)
{
	int status;

	metric(s, "http_answers_total", "counter", "HTTP answers by status");
	for (status = 100; status < 600; status++)
		if (http_answers(status))
			sink_print(s,
			    "herod_http_answers_total{status=\"%d\"} "
			    "%llu\n",
			    status, http_answers(status));
}

/* Their names have nothing that a label would have to quote. */
static void
put_each_runner(struct sink *s, struct runners *runners)
{
	struct runner *r;

	metric(s, "runner_state", "gauge",
	    "State of each runner, as a number: 20 is RUNNING, 200 FATAL");
	RUNNERS_FOREACH (r, runners)
		sink_print(s, "herod_runner_state{runner=\"%s\"} %d\n", r->name,
		    (int)runner_state(r));
	metric(s, "runner_restarts", "gauge",
	    "Restarts of the instances that each runner has");
	RUNNERS_FOREACH (r, runners)
		sink_print(s, "herod_runner_restarts{runner=\"%s\"} %lu\n",
		    r->name, runner_restarts(r));
}

static size_t
count_in(struct runners *runners, enum state state)
{
	struct runner *r;
	size_t n = 0;

	RUNNERS_FOREACH (r, runners)
		n += runner_state(r) == state;
	return n;
}

static void
put_runners(struct sink *s, struct runners *runners)
{
	static const enum state states[] = {STOPPED, WAITING, STARTING, RUNNING,
	    PAUSED, BACKOFF, DRAINING, STOPPING, EXITED, FATAL, UNKNOWN};
	size_t i;

	metric(s, "runners", "gauge", "Runners by state");
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		sink_print(s, "herod_runners{state=\"%s\"} %zu\n",
		    state_name(states[i]), count_in(runners, states[i]));
}

/* ---- queues and jobs ---- */

static void
put_depth(struct sink *s, const char *name, const char *meaning,
    const struct metrics *m, double (*value)(const struct queue_depth *d))
{
	size_t i;

	metric(s, name, "gauge", meaning);
	for (i = 0; i < m->ntold; i++)
		sink_print(s, "herod_%s{queue=\"%s\"} %.15g\n", name,
		    m->told[i].queue, value(&m->told[i].depth));
}

static double
jobs_of(const struct queue_depth *d)
{
	return (double)d->jobs;
}

static double
scheduled_of(const struct queue_depth *d)
{
	return (double)d->scheduled;
}

static double
oldest_of(const struct queue_depth *d)
{
	return d->oldest > 0 ? fmax(0, clock_wall() - d->oldest) : 0;
}

static double
paused_of(const struct queue_depth *d)
{
	return d->paused;
}

static double
elsewhere_of(const struct queue_depth *d)
{
	return (double)d->elsewhere;
}

static void
put_depths(struct sink *s, const struct metrics *m)
{
	if (m->told_at == 0)
		return;
	metric(s, "queues_age_seconds", "gauge",
	    "Since when what Redis knows of queues may have changed");
	sink_print(s, "herod_queues_age_seconds %.3f\n",
	    clock_monotonic() - m->told_at);
	put_depth(
	    s, "queue_waiting_jobs", "Jobs that stand in line", m, jobs_of);
	put_depth(s, "queue_scheduled_jobs", "Jobs that wait for their time", m,
	    scheduled_of);
	put_depth(s, "queue_oldest_job_age_seconds",
	    "Age of the job at the head of the line, 0 for none", m, oldest_of);
	put_depth(s, "queue_paused", "Whether no job begins", m, paused_of);
	put_depth(s, "queue_other_nodes", "Other herods that take jobs from it",
	    m, elsewhere_of);
}

/* What is known here, whether or not Redis is there. */
static void
put_own_queues(struct sink *s, const struct services *services)
{
	json_t *queues = queues_of(services), *running;
	const char *name;

	metric(s, "queue_running_jobs", "gauge", "Jobs at work here");
	json_object_foreach (queues, name, running)
		sink_print(s, "herod_queue_running_jobs{queue=\"%s\"} %lld\n",
		    name, (long long)json_integer_value(running));
	metric(s, "queue_unserved", "gauge",
	    "Whether jobs wait there that nobody will take");
	json_object_foreach (queues, name, running)
		sink_print(s, "herod_queue_unserved{queue=\"%s\"} %d\n", name,
		    workers_is_unserved(services->workers, name));
	json_decref(queues);
}

static void
put_jobs(struct sink *s, struct workers *w)
{
	int status;

	metric(s, "jobs_ended_total", "counter",
	    "Jobs that ended here, by status");
	for (status = 0; status < JOB_STATUSES; status++)
		if (job_is_over((enum job_status)status))
			sink_print(s,
			    "herod_jobs_ended_total{status=\"%s\"} %llu\n",
			    job_status_word((enum job_status)status),
			    workers_ended((enum job_status)status));
	metric(s, "jobs_running", "gauge", "Jobs at work here");
	sink_print(s, "herod_jobs_running %zu\n", workers_running(w, NULL));
	metric(s, "jobs_unsettled", "gauge",
	    "Jobs that are over, which Redis does not know yet");
	sink_print(s, "herod_jobs_unsettled %zu\n", workers_unsettled(w));
	metric(s, "spool_jobs", "gauge",
	    "Jobs that wait in the spool for Redis to take them");
	sink_print(s, "herod_spool_jobs %zu\n", workers_spooled(w));
	metric(s, "spool_bytes", "gauge",
	    "Size of the spool, on the disk and in memory");
	sink_print(s, "herod_spool_bytes %zu\n", workers_spool_bytes(w));
}

/* ---- Redis ---- */

static void
put_redis(struct sink *s, const struct redis *r)
{
	metric(s, "redis_up", "gauge", "Whether Redis takes commands");
	sink_print(s, "herod_redis_up %d\n", redis_is_up(r));
	metric(s, "redis_commands_in_flight", "gauge",
	    "Commands that Redis has not answered yet");
	sink_print(
	    s, "herod_redis_commands_in_flight %zu\n", redis_in_flight(r));
	metric(s, "redis_command_seconds", "histogram",
	    "From a command to its answer");
	put_timing(s, "redis_command_seconds", "", redis_timing(r));
}

/* ---- connections ---- */

static void
put_doors(struct sink *s, const struct doors *d)
{
	static const char *const doors[] = {
	    [WAY_TCP] = "tcp", [WAY_UNIX] = "unix", [WAY_TLS] = "tls"};
	static const char *const talks[] = {[TALK_NONE] = "nothing",
	    [TALK_LINES] = "lines",
	    [TALK_HTTP] = "http"};
	size_t tally[WAYS][TALKS], door, talk;
	double until = tls_door_valid_until(doors_tls(d));

	doors_tally(d, tally);
	metric(s, "connections_open", "gauge",
	    "Connections by door and what they speak");
	for (door = 0; door < WAYS; door++)
		for (talk = 0; talk < TALKS; talk++)
			sink_print(s,
			    "herod_connections_open{door=\"%s\",speaks=\"%s\"}"
			    " %zu\n",
			    doors[door], talks[talk], tally[door][talk]);
	if (until == 0)
		return;
	metric(s, "tls_certificate_expiry_timestamp_seconds", "gauge",
	    "When herod's certificate ends");
	sink_print(
	    s, "herod_tls_certificate_expiry_timestamp_seconds %.0f\n", until);
}

/* Of what was called. */
static void
put_open_calls(struct sink *s)
{
	size_t i;

	metric(s, "method_calls_open", "gauge",
	    "Calls that wait for their answer, by method");
	for (i = 0; i < METHOD_COUNT; i++)
		if (method_tallies[i].calls > 0)
			sink_print(s,
			    "herod_method_calls_open{method=\"%s\"} %zu\n",
			    methods[i].name, method_tallies[i].open);
	metric(s, "streams_open", "gauge",
	    "Streams of notifications, by the method that began them");
	for (i = 0; i < METHOD_COUNT; i++)
		if (method_tallies[i].streamed > 0)
			sink_print(s, "herod_streams_open{method=\"%s\"} %zu\n",
			    methods[i].name, method_tallies[i].streams);
}

/* ---- herod itself ---- */

static void
put_loop(struct sink *s)
{
	metric(s, "loop_turn_seconds", "histogram",
	    "How long a turn of the loop took, for which all others wait");
	put_timing(s, "loop_turn_seconds", "", turns_timing());
	metric(s, "loop_longest_turn_seconds", "gauge",
	    "The longest turn since the start");
	sink_print(
	    s, "herod_loop_longest_turn_seconds %.6f\n", turns_longest());
}

/* By the names that Prometheus' own libraries give them. */
static void
put_process(struct sink *s)
{
	struct process_info p;
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	sink_print(s,
	    "# HELP process_cpu_seconds_total CPU time of herod\n"
	    "# TYPE process_cpu_seconds_total counter\n"
	    "process_cpu_seconds_total %.3f\n",
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	if (process_read(getpid(), &p))
		sink_print(s,
		    "# HELP process_resident_memory_bytes Memory of herod\n"
		    "# TYPE process_resident_memory_bytes gauge\n"
		    "process_resident_memory_bytes %lld\n",
		    p.rss);
}

static void
put_lives(struct sink *s)
{
	metric(s, "daemon_restarts_total", "counter",
	    "Times that another herod went on, after a death or an upgrade");
	sink_print(s, "herod_daemon_restarts_total %llu\n", lives_herods());
	metric(s, "keeper_restarts_total", "counter",
	    "Times that herod-keeper was killed and replaced");
	sink_print(s, "herod_keeper_restarts_total %llu\n", lives_keepers());
}

static void
put_herod(struct sink *s, const struct services *services)
{
	metric(s, "info", "gauge", "Version of herod");
	sink_print(s, "herod_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	metric(s, "start_time_seconds", "gauge", "Unix time of herod's start");
	sink_print(s, "herod_start_time_seconds %.3f\n", services->started_at);
	put_process(s);
	put_lives(s);
	put_loop(s);
}

/* ---- all ---- */

char *
metrics_text(const struct services *services, size_t *len)
{
	struct sink s = {0};

	if (services->metrics != NULL)
		note_scrape(services->metrics);
	put_herod(&s, services);
	put_counters(&s);
	put_methods(&s);
	put_open_calls(&s);
	put_http(&s);
	if (services->doors != NULL)
		put_doors(&s, services->doors);
	if (services->redis != NULL)
		put_redis(&s, services->redis);
	if (services->runners != NULL) {
		put_runners(&s, services->runners);
		put_each_runner(&s, services->runners);
	}
	if (services->workers != NULL) {
		put_jobs(&s, services->workers);
		put_own_queues(&s, services);
	}
	if (services->metrics != NULL)
		put_depths(&s, services->metrics);
	*len = s.len;
	return s.buf;
}

struct metrics *
metrics_new(const struct services *services)
{
	struct metrics *m = xcalloc(1, sizeof(*m));

	m->services = services;
	ev_timer_init(&m->again, on_again, 0., ASK_EVERY);
	m->again.data = m;
	return m;
}

void
metrics_free(struct metrics *m)
{
	if (m == NULL)
		return;
	ev_timer_stop(m->services->loop, &m->again);
	told_free(m->told, m->ntold);
	told_free(m->asked, m->asked != NULL ? m->nasked : 0);
	free(m);
}
