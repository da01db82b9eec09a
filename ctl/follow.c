/* Logs: the last lines of runners or of a job, and each new one as it comes. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"
#include "type.h"

/* Of one name: what was shown last, so that the next herod, asked anew when
 * this one was killed, can go on from there. */
struct followed {
	const char *name;
	bool over; /* refused, or removed */
	char time[TIME_TEXT_SIZE]; /* of the last line; "": none has come */
	size_t same; /* lines of that time */
	size_t skip; /* that are still to be passed over */
	bool again; /* what comes may have been shown */
};

/* What to show of the lines that come. */
struct follower {
	struct ctl *ctl;
	struct line_style style;
	const json_t *instance; /* NULL: all */
	const json_t *job;
	const char *method, *key; /* to follow, and its parameter */
	const json_t *params; /* of the calls, but for the name */
	struct followed *names; /* by the id of the calls */
	size_t n;
	int patience; /* with a herod that has just begun: pauses left */
	size_t left; /* that are not over */
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

/* A job has one name, whoever wrote its lines; NULL: it is not followed. */
static struct followed *
followed_by(struct follower *f, const char *name)
{
	size_t i;

	for (i = 0; i < f->n; i++)
		if (f->n == 1 || strcmp(f->names[i].name, name) == 0)
			return &f->names[i];
	return NULL;
}

/* Of those that the herod before has told? */
static bool
was_shown(struct followed *n, const char *time)
{
	int order = n->again ? strcmp(time, n->time) : 1;

	if (order == 0 && n->skip > 0) {
		n->skip--;
		return true;
	}
	n->again = n->again && order <= 0;
	return order < 0;
}

static bool
is_new(struct follower *f, const json_t *line)
{
	struct followed *n =
	    followed_by(f, json_string_value(json_object_get(line, "runner")));
	const char *time = json_string_value(json_object_get(line, "time"));

	if (n == NULL)
		return true;
	if (was_shown(n, time))
		return false;
	n->same = strcmp(time, n->time) == 0 ? n->same + 1 : 1;
	strlcpy(n->time, time, sizeof(n->time));
	return true;
}

static void
show_lines(struct follower *f, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		if (is_new(f, line) && is_wanted(f, line))
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

static void
leave(struct follower *f, struct followed *n)
{
	if (n && !n->over) {
		n->over = true;
		f->left--;
	}
}

/* A runner was removed, or a job is over. */
static void
take_end(struct follower *f, const char *name, const json_t *params)
{
	const char *node = json_string_value(json_object_get(params, "node"));
	const char *why = json_string_value(json_object_get(params, "why"));

	leave(f, followed_by(f, name));
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

#define LINES_AGAIN 10000 /* that may have come while herod was away */
#define PATIENCE 100

/* What the call for one name is given; new. */
static json_t *
params_for(const struct follower *f, struct followed *n)
{
	json_t *own = json_deep_copy(f->params);

	json_object_del(own, "instance");
	json_object_del(own, "job");
	json_object_set_new(own, f->key, json_string(n->name));
	n->again = *n->time != '\0';
	n->skip = n->same;
	if (n->again)
		json_object_set_new(own, "lines", json_integer(LINES_AGAIN));
	return own;
}

static int
ask(struct follower *f, size_t id, struct err *e)
{
	return client_send(f->ctl->client, f->method,
	    params_for(f, &f->names[id]), (long long)id, e);
}

static int
subscribe(struct follower *f, struct err *e)
{
	size_t id;

	for (id = 0; id < f->n; id++)
		if (!f->names[id].over && ask(f, id, e) != 0)
			return -1;
	return 0;
}

/* Redis is not there yet for a herod that has just begun. */
static bool
is_too_early(struct follower *f, const json_t *message)
{
	static const struct timespec pause = {.tv_nsec = 100000000};
	const json_t *data =
	    json_object_get(json_object_get(message, "error"), "data");

	if (f->patience == 0 ||
	    !json_is_true(json_object_get(data, "retryable")))
		return false;
	f->patience--;
	nanosleep(&pause, NULL);
	return true;
}

/* To the call for one name; the others go on when it is refused. */
static void
take_answer(struct follower *f, const json_t *message)
{
	struct err e = {0};
	const json_t *result = client_result(message, &e);
	enum status status;
	size_t id;

	if (result) {
		show_lines(f, json_object_get(result, "lines"));
		return;
	}
	id = (size_t)json_integer_value(json_object_get(message, "id"));
	if (id < f->n && is_too_early(f, message) && ask(f, id, &e) == 0)
		return;
	status = ctl_complain(f->ctl, &e);
	if (f->refused == STATUS_DONE)
		f->refused = status;
	if (id < f->n)
		leave(f, &f->names[id]);
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

/* Until the connection is lost, or nobody is left. */
static void
follow_once(struct follower *f, struct err *e)
{
	json_t *message;

	if (subscribe(f, e) == 0)
		while (f->left > 0 &&
		    (message = client_receive(f->ctl->client, e)) != NULL) {
			take_message(f, message);
			json_decref(message);
		}
}

/* A herod that was killed has a successor. */
static bool
goes_on(struct follower *f, struct err *e)
{
	f->patience = PATIENCE;
	return f->left > 0 && client_may_repeat(f->ctl->client, e);
}

static void
begin(struct follower *f, char *const *names)
{
	size_t i;

	f->n = f->left = strv_count(names);
	f->names = xcalloc(f->n + 1, sizeof(*f->names));
	for (i = 0; i < f->n; i++)
		f->names[i].name = names[i];
}

/* Ends only by trouble, with the time given, or when nobody is left. */
static enum status
follow(struct follower *f, char *const *names, const json_t *params)
{
	struct err e = {0};

	f->params = params;
	begin(f, names);
	client_begin(f->ctl->client, f->ctl->timeout);
	do
		follow_once(f, &e);
	while (goes_on(f, &e));
	free(f->names);
	if (f->left == 0)
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
