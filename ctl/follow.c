/* Logs: the last lines of runners or of a job, and each new one as it comes. */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"

/* What to show of the lines that come. */
struct follower {
	struct ctl *ctl;
	struct line_style style;
	const json_t *instance; /* NULL: all */
	const json_t *job;
	const char *method, *key; /* to follow, and its parameter */
	size_t followed; /* names that are, and not refused or removed */
	enum status refused; /* the first refusal */
};

static bool
is_wanted(const struct follower *f, const json_t *line)
{
	if (f->instance &&
	    !json_equal(f->instance, json_object_get(line, "instance")))
		return false;
	return f->job == NULL ||
	    json_equal(f->job, json_object_get(line, "job"));
}

static void
show_lines(struct follower *f, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		if (is_wanted(f, line))
			show_log_line(f->ctl, line, &f->style);
	fflush(f->ctl->out);
}

/* ---- once ---- */

static enum status
show_once(struct ctl *ctl, const json_t *lines, void *arg)
{
	struct follower *f = arg;

	if (ctl->format == FORMAT_JSON)
		show_json(ctl, lines);
	else
		show_lines(f, lines);
	return STATUS_DONE;
}

/* ---- with each new line ---- */

/* A runner was removed, or a job is over. */
static void
take_end(struct follower *f, const char *name, const json_t *params)
{
	const char *node = json_string_value(json_object_get(params, "node"));
	const char *why = json_string_value(json_object_get(params, "why"));

	f->followed--;
	if (strcmp(f->key, "name") == 0)
		ctl_say("runner %s was removed", name);
	else if (node)
		ctl_say("job %s ran on node %s: its lines are in the logs "
			"there",
		    name, node);
	else if (why)
		ctl_say("%s", why);
}

static void
show_news(struct follower *f, const json_t *params)
{
	const json_t *dropped = json_object_get(params, "dropped");
	const char *ended = json_string_value(json_object_get(params, "ended"));

	if (ended)
		take_end(f, ended, params);
	if (json_is_integer(dropped))
		ctl_say("%lld lines came too fast and are left out",
		    (long long)json_integer_value(dropped));
	show_lines(f, json_object_get(params, "lines"));
}

/* To the call for one name; the others go on when it is refused. */
static void
take_answer(struct follower *f, const json_t *message)
{
	struct err e = {0};
	const json_t *result = client_result(message, &e);
	enum status status;

	if (result) {
		show_lines(f, json_object_get(result, "lines"));
		return;
	}
	status = ctl_complain(f->ctl, &e);
	if (f->refused == STATUS_DONE)
		f->refused = status;
	f->followed--;
}

/* An answer, or a log notification. */
static void
take_message(struct follower *f, const json_t *message)
{
	const char *method =
	    json_string_value(json_object_get(message, "method"));

	if (method == NULL)
		take_answer(f, message);
	else if (strcmp(method, "log") == 0)
		show_news(f, json_object_get(message, "params"));
}

static int
subscribe(
    struct follower *f, char *const *names, const json_t *params, struct err *e)
{
	struct client *c = f->ctl->client;
	json_t *own;
	long long id;

	for (id = 0; names[id]; id++) {
		own = json_deep_copy(params);
		json_object_del(own, "instance");
		json_object_del(own, "job");
		json_object_set_new(own, f->key, json_string(names[id]));
		if (client_send(c, f->method, own, id, e) != 0)
			return -1;
	}
	return 0;
}

/* Ends only by trouble, with the time given, or when nobody is left. */
static enum status
follow(struct follower *f, char *const *names, const json_t *params)
{
	struct err e = {0};
	json_t *message;

	f->followed = strv_count(names);
	client_begin(f->ctl->client, f->ctl->timeout);
	if (subscribe(f, names, params, &e) == 0)
		while (f->followed > 0 &&
		    (message = client_receive(f->ctl->client, &e)) != NULL) {
			take_message(f, message);
			json_decref(message);
		}
	if (f->followed == 0)
		return f->refused;
	if (client_trouble(f->ctl->client) == TROUBLE_INTERRUPTED)
		return STATUS_INTERRUPTED;
	return ctl_complain(f->ctl, &e);
}

/* ---- verbs ---- */

static enum status
show_logs(
    struct ctl *ctl, const struct args *a, char *const *operands, bool raw)
{
	const json_t *params = a->given[OPTION_PARAM];
	struct follower f = {.ctl = ctl,
	    .style = {.raw = raw},
	    .method = "follow_logs",
	    .key = "name"};
	enum status unmatched, status;
	char **names = call_expand(ctl, operands, &unmatched);

	if (names == NULL)
		return unmatched;
	f.style.name = strv_count(names) > 1;
	f.instance = json_object_get(params, "instance");
	f.job = json_object_get(params, "job");
	if (names[0] == NULL)
		status = STATUS_DONE;
	else if (json_is_true(args_option(a, OPTION_VERB, "follow")))
		status = follow(&f, names, params);
	else
		status = call_each(ctl, &methods[METHOD_get_runner_logs],
		    "name", names, params, show_once, &f);
	strv_free(names);
	return unmatched ? unmatched : status;
}

enum status
verb_logs(struct ctl *ctl, const struct args *a)
{
	struct err e = {0};

	if (args_count(a, 1, SIZE_MAX, &e) != 0)
		return ctl_misused(&e);
	return show_logs(ctl, a, a->operands, false);
}

enum status
verb_job_logs(struct ctl *ctl, const struct args *a)
{
	const json_t *params = a->given[OPTION_PARAM];
	struct follower f = {.ctl = ctl, .method = "job.follow", .key = "id"};
	struct err e = {0};

	if (args_count(a, 1, 1, &e) != 0)
		return ctl_misused(&e);
	if (json_is_true(args_option(a, OPTION_VERB, "follow")))
		return follow(&f, a->operands, params);
	return call_each(
	    ctl, a->verb.method, "id", a->operands, params, show_once, &f);
}

static bool
is_stream(const char *word)
{
	return strcmp(word, "stdout") == 0 || strcmp(word, "stderr") == 0;
}

/* supervisorctl's: "tail -f NAME stderr". */
enum status
verb_tail(struct ctl *ctl, const struct args *a)
{
	char **names = strv_copy(a->operands);
	size_t last = a->noperands - 1;
	enum status status;
	struct err e = {0};

	if (args_count(a, 1, SIZE_MAX, &e) != 0) {
		strv_free(names);
		return ctl_misused(&e);
	}
	if (last > 0 && is_stream(names[last])) {
		json_object_set_new(
		    a->given[OPTION_PARAM], "stream", json_string(names[last]));
		free(names[last]);
		names[last] = NULL;
	}
	status = show_logs(ctl, a, names, true);
	strv_free(names);
	return status;
}
