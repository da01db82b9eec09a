/* Pages: the dashboard's three files, probes, metrics, the interface. */

#include "pages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"
#include "index_html.h"
#include "jsonrpc.h"
#include "mem.h"
#include "page_css.h"
#include "page_js.h"
#include "redis.h"
#include "rpc.h"
#include "runners.h"

#define PLAIN "text/plain; charset=utf-8"

static void print(struct sink *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
print(struct sink *s, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	sink_put(s, text, (size_t)len);
	free(text);
}

static void
reply_page(
    struct http_request *r, int status, const char *type, const char *text)
{
	http_reply(r, status, type, xstrdup(text), strlen(text));
}

/* ---- the dashboard ---- */

void
page_index(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/html; charset=utf-8", index_html);
}

void
page_css(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/css; charset=utf-8", page_css_text);
}

void
page_js(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/javascript; charset=utf-8", page_js_text);
}

/* ---- probes ---- */

void
page_healthz(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, PLAIN, "ok\n");
}

/* One that herod starts by itself, that nobody has stopped, and that did
 * not end as its settings allow. */
static bool
should_be_up(const struct runner *r)
{
	return r->conf.autostart && r->wanted == WANTED_UP &&
	    !runner_is_external(r) && runner_state(r) != EXITED;
}

static void
list_missing(const struct services *services, struct sink *s)
{
	struct runner *r;

	if (services->redis != NULL && !redis_is_up(services->redis))
		print(s, "redis: %s\n", redis_why(services->redis));
	if (services->runners == NULL)
		return;
	RUNNERS_FOREACH (r, services->runners)
		if (should_be_up(r) && !runner_is_up(r))
			print(s, "runner %s: %s\n", r->name,
			    state_name(runner_state(r)));
}

/* Whoever may not look at runners learns only whether. */
void
page_readyz(void *arg, struct http_request *r)
{
	const struct peer *peer = r->client;
	struct sink missing = {0};

	list_missing(arg, &missing);
	if (missing.len == 0) {
		reply_page(r, 200, PLAIN, "ready\n");
	} else if (peer->scope < SCOPE_OBSERVE) {
		free(missing.buf);
		reply_page(r, 503, PLAIN, "not ready\n");
	} else {
		http_reply(r, 503, PLAIN, missing.buf, missing.len);
	}
}

/* ---- metrics ---- */

static void
metric(struct sink *s, const char *name, const char *type, const char *meaning)
{
	print(s, "# HELP herod_%s %s\n# TYPE herod_%s %s\n", name, meaning,
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
		print(s, "herod_%s %llu\n", name, counters[i]);
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
		print(s, "herod_%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels,
		    comma, timing_bounds[i], below);
	}
	print(s, "herod_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
	    t->count);
	print(s, "herod_%s_sum{%s} %.6f\nherod_%s_count{%s} %llu\n", name,
	    labels, t->sum, name, labels, t->count);
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
			print(s,
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
			print(s,
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
		print(s, "herod_runner_state{runner=\"%s\"} %d\n", r->name,
		    (int)runner_state(r));
	metric(s, "runner_restarts", "gauge",
	    "Restarts of the instances that each runner has");
	RUNNERS_FOREACH (r, runners)
		print(s, "herod_runner_restarts{runner=\"%s\"} %lu\n", r->name,
		    runner_restarts(r));
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
		print(s, "herod_runners{state=\"%s\"} %zu\n",
		    state_name(states[i]), count_in(runners, states[i]));
}

static void
put_herod(struct sink *s, const struct services *services)
{
	metric(s, "info", "gauge", "Version of herod");
	print(s, "herod_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	metric(s, "start_time_seconds", "gauge", "Unix time of herod's start");
	print(s, "herod_start_time_seconds %.3f\n", services->started_at);
	if (services->redis == NULL)
		return;
	metric(s, "redis_up", "gauge", "Whether Redis takes commands");
	print(s, "herod_redis_up %d\n", redis_is_up(services->redis));
}

void
page_metrics(void *arg, struct http_request *r)
{
	const struct services *services = arg;
	const struct peer *peer = r->client;
	struct sink s = {0};

	if (peer->scope < SCOPE_OBSERVE) {
		reply_page(r, 401, PLAIN, "metrics need the scope observe\n");
		return;
	}
	put_herod(&s, services);
	put_counters(&s);
	put_methods(&s);
	put_http(&s);
	if (services->runners != NULL) {
		put_runners(&s, services->runners);
		put_each_runner(&s, services->runners);
	}
	http_reply(
	    r, 200, "text/plain; version=0.0.4; charset=utf-8", s.buf, s.len);
}

/* ---- the interface ---- */

void
page_openrpc(void *arg, struct http_request *r)
{
	json_t *document = method_openrpc(PACKAGE_VERSION);
	size_t len;
	char *text = jsonrpc_text(document, &len);

	(void)arg;
	json_decref(document);
	http_reply(r, 200, "application/json", text, len);
}
