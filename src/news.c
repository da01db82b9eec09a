/* News: runners' doings as events. */
#include "news.h"

#include <stdio.h>
#include <string.h>

#include "event.h"
#include "probe.h"
#include "rpc_runner.h"

/* What an event is made of, while somebody listens. */
struct news {
	const struct services *services;
	const struct runner *runner;
	const struct instance *instance;
	enum state old;
};

static void
publish(const struct news *n, event_fn make)
{
	char topic[128];

	snprintf(topic, sizeof(topic), "runner.%s", n->runner->name);
	event_publish(n->services->events, topic, make, n);
}

static json_t *
added(const void *arg)
{
	const struct news *n = arg;

	return json_pack("{s:s, s:s, s:o}", "what", "added", "runner",
	    n->runner->name, "status", runner_json(n->services, n->runner));
}

void
news_added(const struct services *s, const struct runner *r)
{
	publish(&(struct news){.services = s, .runner = r}, added);
}

static json_t *
changed(const void *arg)
{
	const struct news *n = arg;

	return json_pack("{s:s, s:s, s:o}", "what", "changed", "runner",
	    n->runner->name, "status", runner_json(n->services, n->runner));
}

/* It has other settings. */
void
news_changed(const struct services *s, const struct runner *r)
{
	publish(&(struct news){.services = s, .runner = r}, changed);
}

static json_t *
removed(const void *arg)
{
	const struct news *n = arg;

	return json_pack(
	    "{s:s, s:s}", "what", "removed", "runner", n->runner->name);
}

void
news_removed(const struct services *s, const struct runner *r)
{
	publish(&(struct news){.services = s, .runner = r}, removed);
}

static json_t *
wanted(const void *arg)
{
	const struct news *n = arg;

	return json_pack("{s:s, s:s, s:s, s:I}", "what", "wanted", "runner",
	    n->runner->name, "wanted", wanted_word(n->runner->wanted),
	    "wanted_instances", (json_int_t)n->runner->nwanted);
}

void
news_wanted(const struct services *s, const struct runner *r)
{
	publish(&(struct news){.services = s, .runner = r}, wanted);
}

static void
cut_line(json_t *line)
{
	const json_t *text = json_object_get(line, "text");

	if (json_string_length(text) <= LAST_LINE_MAX)
		return;
	json_object_set_new(
	    line, "text", text_json(json_string_value(text), LAST_LINE_MAX));
	json_object_set_new(line, "partial", json_true());
}

json_t *
last_lines(const struct instance *i)
{
	struct output_filter f = {
	    .lines = LAST_LINES, .stream = -1, .instance = i->n};
	json_t *lines = output_tail(i->runner->output, &f), *line;
	size_t k;

	json_array_foreach (lines, k, line)
		cut_line(line);
	return lines;
}

static bool
is_over(enum state s)
{
	return s == BACKOFF || s == STOPPED || s == EXITED || s == FATAL;
}

static json_t *
state(const void *arg)
{
	const struct news *n = arg;
	const struct instance *i = n->instance;
	const struct runner *r = n->runner;
	json_t *event =
	    json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:s, s:b, s:b, s:b}",
		"what", "state", "runner", r->name, "instance", i->n, "state",
		state_name(i->state), "old", state_name(n->old), "why", i->why,
		"pid", pid_json(i), "runner_state", state_name(runner_state(r)),
		"ready", runner_is_up(r), "down", runner_is_down(r), "healthy",
		runner_is_healthy(r));

	if (is_over(i->state) && i->exit.at > 0)
		json_object_set_new(event, "exit", exit_json(i));
	if (i->state == FATAL)
		json_object_set_new(event, "lines", last_lines(i));
	return event;
}

void
news_state(const struct services *s, const struct instance *i, enum state old)
{
	publish(&(struct news){s, i->runner, i, old}, state);
}

static json_t *
health(const void *arg)
{
	const struct news *n = arg;

	return json_pack("{s:s, s:s, s:i, s:o, s:b}", "what", "health",
	    "runner", n->runner->name, "instance", n->instance->n, "health",
	    probe_json(n->instance), "healthy", runner_is_healthy(n->runner));
}

void
news_health(const struct services *s, const struct instance *i)
{
	publish(&(struct news){s, i->runner, i, i->state}, health);
}

static json_t *
shutting_down(const void *arg)
{
	(void)arg;
	return json_pack("{s:s}", "what", "shutdown");
}

void
news_shutdown(const struct services *s)
{
	event_publish(s->events, "herod", shutting_down, NULL);
}
