/* Calls of methods: one, or the same for several names at once. */
#include <fnmatch.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"

/* Calls under way at once: enough to hide the way there and back, too few
 * for herod's answers to fill both sockets while we still write. */
#define UNDER_WAY 64

/* A wait that herod was asked for ends there; we wait a little longer. */
#define SLACK 2.0

/* How long the answer may take: what herod was asked to wait, but no longer
 * than heroctl's own limit. */
static double
wait_of(const struct ctl *ctl, const json_t *params)
{
	double asked = json_number_value(json_object_get(params, "timeout"));
	double wait = asked > 0 ? asked + SLACK : 0;

	if (ctl->timeout > 0 && asked != ctl->timeout &&
	    (wait <= 0 || ctl->timeout < wait))
		return ctl->timeout;
	return wait;
}

/* A method that can wait is told how long. */
static void
set_timeout(const struct ctl *ctl, const struct method *m, json_t *params)
{
	const struct param *p;

	if (ctl->timeout <= 0 || json_object_get(params, "timeout"))
		return;
	for (p = m->params; p->name; p++)
		if (strcmp(p->name, "timeout") == 0)
			json_object_set_new(
			    params, "timeout", json_real(ctl->timeout));
}

/* Whether it was done or not: what only looks may be done again. */
static bool
may_repeat(struct ctl *ctl, const struct method *m, struct err *e)
{
	return m->effect == READS && client_may_repeat(ctl->client, e);
}

/* The answer, or NULL and why not; params are borrowed. */
static json_t *
ask_herod(
    struct ctl *ctl, const struct method *m, json_t *params, struct err *e)
{
	json_t *answer = NULL;

	set_timeout(ctl, m, params);
	client_begin(ctl->client, wait_of(ctl, params));
	do {
		if (client_send(
			ctl->client, m->name, json_incref(params), 1, e) == 0)
			answer = client_receive(ctl->client, e);
	} while (answer == NULL && may_repeat(ctl, m, e));
	return answer;
}

/* Takes the answer over. */
static json_t *
result_of(struct ctl *ctl, json_t *answer, struct err *e, enum status *status)
{
	const json_t *result = answer ? client_result(answer, e) : NULL;

	*status = result ? STATUS_DONE : ctl_complain(ctl, e);
	json_incref((json_t *)result);
	json_decref(answer);
	return (json_t *)result;
}

json_t *
call_once(struct ctl *ctl, const struct method *m, json_t *stolen,
    enum status *status)
{
	json_t *params = stolen ? stolen : json_object(), *answer;
	struct err e = {0};

	answer = ask_herod(ctl, m, params, &e);
	json_decref(params);
	return result_of(ctl, answer, &e, status);
}

json_t *
call_or_ask(struct ctl *ctl, const struct method *m, json_t *stolen,
    const struct method *question, json_t *stolen_too, enum status *status)
{
	struct err e = {0};
	json_t *answer = ask_herod(ctl, m, stolen, &e);

	if (answer == NULL && client_may_repeat(ctl->client, &e))
		answer = ask_herod(ctl, question, stolen_too, &e);
	json_decref(stolen);
	json_decref(stolen_too);
	return result_of(ctl, answer, &e, status);
}

/* ---- several at once ---- */

/* The calls of call_each(): ids are indexes of names. */
struct each {
	struct ctl *ctl;
	const struct method *method;
	const char *param;
	char *const *names;
	json_t *params; /* but the name */
	result_fn result;
	void *arg;
	json_t **answers; /* NULL until there */
	size_t n, sent, received, shown;
	enum status status;
};

static void
each_status(struct each *c, enum status status)
{
	if (c->status == STATUS_DONE)
		c->status = status;
}

static int
each_send(struct each *c, struct err *e)
{
	json_t *params;

	if (c->answers[c->sent]) {
		c->sent++;
		return 0;
	}
	params = json_copy(c->params);
	json_object_set_new(params, c->param, json_string(c->names[c->sent]));
	if (client_send(c->ctl->client, c->method->name, params,
		(long long)c->sent, e) != 0)
		return -1;
	c->sent++;
	return 0;
}

static int
each_receive(struct each *c, struct err *e)
{
	json_t *answer = client_receive(c->ctl->client, e);
	const json_t *id = json_object_get(answer, "id");
	size_t i = (size_t)json_integer_value(id);

	if (answer == NULL)
		return -1;
	if (json_is_integer(id) && i < c->sent && c->answers[i] == NULL) {
		c->answers[i] = answer;
		c->received++;
		return 0;
	}
	client_result(answer, e);
	json_decref(answer);
	return err_is_set(e) ? -1 : 0;
}

/* Shows what has come, in the order of names. */
static void
each_show(struct each *c)
{
	const json_t *result;
	struct err e;

	for (; c->shown < c->n && c->answers[c->shown]; c->shown++) {
		err_clear(&e);
		result = client_result(c->answers[c->shown], &e);
		each_status(c,
		    result ? c->result(c->ctl, result, c->arg)
			   : ctl_complain(c->ctl, &e));
	}
}

/* All that are still to come. */
static int
each_try(struct each *c, struct err *e)
{
	int bad = 0;

	c->sent = 0;
	while (!bad && c->received < c->n) {
		if (c->sent < c->n && c->sent < c->received + UNDER_WAY)
			bad = each_send(c, e);
		else
			bad = each_receive(c, e);
		each_show(c);
	}
	return bad;
}

static void
each_go(struct each *c)
{
	struct err e = {0};
	int bad;

	do
		bad = each_try(c, &e);
	while (bad && may_repeat(c->ctl, c->method, &e));
	if (bad)
		each_status(c, ctl_complain(c->ctl, &e));
}

enum status
call_each(struct ctl *ctl, const struct method *m, const char *param,
    char *const *names, const json_t *params, result_fn result, void *arg)
{
	struct each c = {.ctl = ctl,
	    .method = m,
	    .param = param,
	    .names = names,
	    .params = params ? json_copy((json_t *)params) : json_object(),
	    .result = result,
	    .arg = arg,
	    .n = strv_count(names),
	    .status = STATUS_DONE};
	size_t i;

	c.answers = xcalloc(c.n + 1, sizeof(json_t *));
	set_timeout(ctl, m, c.params);
	client_begin(ctl->client, wait_of(ctl, c.params));
	each_go(&c);
	for (i = 0; i < c.n; i++)
		json_decref(c.answers[i]);
	free(c.answers);
	json_decref(c.params);
	return c.status;
}

/* ---- names ---- */

static bool
is_pattern(const char *name)
{
	return strcmp(name, "all") == 0 || strpbrk(name, "*?[") != NULL;
}

static bool
has_pattern(char *const *names)
{
	for (; names && *names; names++)
		if (is_pattern(*names))
			return true;
	return false;
}

static bool
has_name(char *const *names, const char *name)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static void
add_name(char ***names, const char *name)
{
	if (!has_name(*names, name))
		strv_add(names, xstrdup(name));
}

static bool
is_herods_own(const json_t *runner)
{
	const char *origin =
	    json_string_value(json_object_get(runner, "settings_origin"));

	return origin && strcmp(origin, "herod") == 0;
}

/* Adds the runners that match; false when there are none. */
static bool
add_matches(char ***names, const json_t *runners, const char *pattern)
{
	bool all = strcmp(pattern, "all") == 0, any = all;
	const json_t *runner;
	const char *name;
	size_t i;

	json_array_foreach (runners, i, runner) {
		name = json_string_value(json_object_get(runner, "name"));
		if (name == NULL || is_herods_own(runner) ||
		    !(all || fnmatch(pattern, name, 0) == 0))
			continue;
		add_name(names, name);
		any = true;
	}
	return any;
}

char **
call_expand(struct ctl *ctl, char *const *names, enum status *status)
{
	const struct method *m = &methods[METHOD_get_all_runner_status];
	char **expanded = xcalloc(1, sizeof(*expanded));
	json_t *runners = NULL;

	*status = STATUS_DONE;
	if (has_pattern(names)) {
		runners = call_once(ctl, m, NULL, status);
		if (runners == NULL) {
			strv_free(expanded);
			return NULL;
		}
	}
	for (; names && *names; names++) {
		if (!is_pattern(*names)) {
			add_name(&expanded, *names);
		} else if (!add_matches(&expanded, runners, *names)) {
			ctl_say("no runner matches '%s'", *names);
			*status = STATUS_NO_SUCH_NAME;
		}
	}
	json_decref(runners);
	return expanded;
}

/* ---- verbs that are methods ---- */

/* What a person at a terminal is asked about. */
static const struct {
	enum method_id method;
	const char *question;
} questions[] = {{METHOD_stop_all, "Stop all runners"},
    {METHOD_jobs_purge, "Forget these jobs, or cancel those that wait"},
    {METHOD_remove_runner, "Stop and remove %s"},
    {METHOD_shutdown, "Stop all runners and end herod"}};

static bool
may_go_on(const struct ctl *ctl, const struct method *m, char *const *names)
{
	char list[256] = "";
	size_t i;

	for (; names && *names; names++) {
		strlcat(list, *list ? ", " : "", sizeof(list));
		strlcat(list, *names, sizeof(list));
	}
	for (i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (m == &methods[questions[i].method])
			return ctl_ask(ctl, questions[i].question, list);
	return true;
}

static bool
ends_in_several(const struct method *m, size_t nrequired)
{
	return m->manner == EACH && nrequired > 0;
}

/* The required parameters are operands, in order. */
static size_t
required_params(const struct method *m, const struct param *list[8])
{
	const struct param *p;
	size_t n = 0;

	for (p = m->params; p->name; p++)
		if (p->required && n < 8)
			list[n++] = p;
	return n;
}

static int
set_operand(
    const struct param *p, const char *operand, json_t *params, struct err *e)
{
	json_t *text = json_string(operand), *value;

	if (text == NULL)
		return err_set(e, ERR_PARAMS, "%s: not UTF-8 text", p->name);
	value = type_check(&p->kind, p->name, text, e);
	json_decref(text);
	if (value == NULL)
		return -1;
	return json_object_set_new(params, p->name, value);
}

/* "start all" is start-all: herod knows the order. */
static const struct method *
method_for_all(const struct method *m, char *const *names)
{
	if (names[0] == NULL || names[1] || strcmp(names[0], "all") != 0)
		return NULL;
	if (m == &methods[METHOD_start_runner])
		return &methods[METHOD_start_all];
	if (m == &methods[METHOD_stop_runner])
		return &methods[METHOD_stop_all];
	return NULL;
}

static enum status
ask_once(struct ctl *ctl, const struct method *m, json_t *stolen)
{
	enum status status, shown;
	json_t *result;

	if (!may_go_on(ctl, m, NULL)) {
		json_decref(stolen);
		return STATUS_REFUSED;
	}
	result = call_once(ctl, m, stolen, &status);
	if (result == NULL)
		return status;
	shown = show_result(ctl, m->result, result);
	json_decref(result);
	return shown;
}

/* What several calls gave, to be shown as one table. */
struct collected {
	const char *shape;
	json_t *rows;
};

static enum status
collect(struct ctl *ctl, const json_t *result, void *arg)
{
	struct collected *c = arg;

	if (ctl->format == FORMAT_JSON || !show_has_rows(c->shape))
		return show_result(ctl, c->shape, result);
	json_array_append(c->rows, (json_t *)result);
	return STATUS_DONE;
}

static enum status
show_collected(struct ctl *ctl, const struct collected *c)
{
	char shape[64];

	if (json_array_size(c->rows) == 0)
		return STATUS_DONE;
	snprintf(shape, sizeof(shape), "[%s]", c->shape);
	return show_result(ctl, shape, c->rows);
}

static enum status
first_bad(enum status a, enum status b)
{
	return a != STATUS_DONE ? a : b;
}

static enum status
ask_each(struct ctl *ctl, const struct method *m, const struct param *p,
    char *const *names, const json_t *params)
{
	struct collected c = {m->result, json_array()};
	enum status unmatched = STATUS_DONE, asked, shown;
	char **list = p->kind.type == TYPE_NAME
	    ? call_expand(ctl, names, &unmatched)
	    : strv_copy(names);

	if (list == NULL || (*list && !may_go_on(ctl, m, list))) {
		json_decref(c.rows);
		strv_free(list);
		return first_bad(unmatched, STATUS_REFUSED);
	}
	asked = call_each(ctl, m, p->name, list, params, collect, &c);
	shown = show_collected(ctl, &c);
	json_decref(c.rows);
	strv_free(list);
	return first_bad(unmatched, first_bad(asked, shown));
}

enum status
verb_method(struct ctl *ctl, const struct args *a)
{
	const struct method *m = a->verb.method, *all;
	const struct param *required[8];
	size_t i, n = required_params(m, required);
	bool several = ends_in_several(m, n);
	json_t *params = a->given[OPTION_PARAM];
	struct err e = {0};

	if (args_count(a, n, several ? SIZE_MAX : n, &e) != 0)
		return ctl_misused(&e);
	for (i = 0; i < n - several; i++)
		if (set_operand(required[i], a->operands[i], params, &e) != 0)
			return ctl_misused(&e);
	if (!several)
		return ask_once(ctl, m, json_incref(params));
	all = method_for_all(m, a->operands + i);
	if (all)
		return ask_once(ctl, all, json_incref(params));
	return ask_each(ctl, m, required[i], a->operands + i, params);
}
