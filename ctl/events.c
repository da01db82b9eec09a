/* Events: as they come, for people and scripts. */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "columns.h"
#include "heroctl.h"
#include "mem.h"

/* ---- following ---- */

static int
subscribe(struct ctl *ctl, const json_t *params, struct err *e)
{
	return client_send(
	    ctl->client, "subscribe", json_deep_copy(params), 1, e);
}

/* The answer to subscribe, or the params of an event; borrowed.  NULL with
 * a refusal. */
static const json_t *
news_in(const json_t *message, struct err *e)
{
	if (json_object_get(message, "method"))
		return json_object_get(message, "params");
	return client_result(message, e);
}

struct following {
	struct ctl *ctl;
	const json_t *params;
	news_fn take;
	void *arg;
};

/* False when it is over: *e tells why, unless take() wanted it so. */
static bool
follow_one(struct following *f, struct err *e)
{
	json_t *message = client_receive(f->ctl->client, e);
	const json_t *news = message ? news_in(message, e) : NULL;
	enum follow next = news ? f->take(f->arg, news) : FOLLOW_END;

	json_decref(message);
	if (next == FOLLOW_ANEW)
		return subscribe(f->ctl, f->params, e) == 0;
	return next == FOLLOW_ON;
}

/* Until the connection is lost, or nothing is to come any more. */
static void
follow_once(struct following *f, struct err *e)
{
	if (subscribe(f->ctl, f->params, e) == 0)
		while (follow_one(f, e))
			;
}

int
follow_events(struct ctl *ctl, const json_t *params, news_fn take, void *arg,
    struct err *e)
{
	struct following f = {ctl, params, take, arg};

	client_begin(ctl->client, ctl->timeout);
	do
		follow_once(&f, e);
	while (client_may_repeat(ctl->client, e));
	return err_is_set(e) ? -1 : 0;
}

/* ---- showing ---- */

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* "runner.web:0", "job.up 9f1c..." */
static char *
subject_text(const json_t *event)
{
	const json_t *n = json_object_get(event, "instance");
	const char *topic = text_of(event, "topic"),
		   *job = text_of(event, "job");

	if (*job)
		return xasprintf("%s %s", topic, job);
	if (json_is_integer(n))
		return xasprintf(
		    "%s:%lld", topic, (long long)json_integer_value(n));
	return xstrdup(topic);
}

/* "RUNNING: up for 1s", "over finished", "wanted down" */
static char *
what_text(const json_t *event)
{
	static const char *const members[] = {"status", "wanted", NULL};
	const char *what = text_of(event, "what"), *why = text_of(event, "why");
	const json_t *health = json_object_get(event, "health");
	const char *more = "";
	size_t i;

	if (strcmp(what, "state") == 0)
		what = text_of(event, "state");
	if (health) {
		what = text_of(health, "status");
		why = text_of(health, "output");
	}
	for (i = 0; members[i] && *more == '\0'; i++)
		more = text_of(event, members[i]);
	if (strcmp(more, what) == 0)
		more = "";
	return xasprintf(
	    "%s%s%s%s%s", what, *more ? " " : "", more, *why ? ": " : "", why);
}

static void
show_row(
    struct ctl *ctl, const json_t *event, const char *subject, const char *what)
{
	const char *time = text_of(event, "time");
	const char *clock = strchr(time, 'T');

	if (ctl->format == FORMAT_PLAIN)
		fprintf(ctl->out, "%s\t%s\t%s\n", time, subject, what);
	else
		fprintf(ctl->out,
		    ctl->colour ? "\033[2m%.12s\033[0m %s %s\n"
				: "%.12s %s %s\n",
		    clock ? clock + 1 : time, subject, what);
}

static void
show_event(struct ctl *ctl, const json_t *event)
{
	struct line_style style = {false, false};
	char *subject = subject_text(event), *what = what_text(event), *clean;
	const json_t *line;
	size_t i;

	clean = text_without_controls(what);
	show_row(ctl, event, subject, clean);
	json_array_foreach (json_object_get(event, "lines"), i, line)
		show_log_line(ctl, line, &style);
	free(clean);
	free(subject);
	free(what);
}

static enum follow
take(void *arg, const json_t *news)
{
	struct ctl *ctl = arg;
	const json_t *gap = json_object_get(news, "gap");

	if (ctl->format == FORMAT_JSON && !ctl->quiet) {
		json_dumpf(news, ctl->out, JSON_COMPACT);
		putc('\n', ctl->out);
	} else if (gap) {
		ctl_say("events %lld to %lld came too fast and are left out",
		    (long long)json_integer_value(json_object_get(gap, "from")),
		    (long long)json_integer_value(json_object_get(gap, "to")));
	} else if (json_object_get(news, "what") && !ctl->quiet) {
		show_event(ctl, news);
	}
	fflush(ctl->out);
	return ferror(ctl->out) ? FOLLOW_END : FOLLOW_ON;
}

static json_t *
topics_of(const struct args *a)
{
	json_t *topics = json_array();
	size_t i;

	for (i = 0; i < a->noperands; i++)
		json_array_append_new(topics, json_string(a->operands[i]));
	if (a->noperands == 0)
		json_array_append_new(topics, json_string("*"));
	return topics;
}

enum status
verb_events(struct ctl *ctl, const struct args *a)
{
	json_t *params = json_copy(a->given[OPTION_PARAM]);
	struct err e = {0};
	int bad;

	json_object_set_new(params, "topics", topics_of(a));
	bad = follow_events(ctl, params, take, ctl, &e);
	json_decref(params);
	if (client_trouble(ctl->client) == TROUBLE_INTERRUPTED)
		return STATUS_INTERRUPTED;
	return bad ? ctl_complain(ctl, &e) : STATUS_REFUSED;
}
