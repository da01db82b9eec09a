/* Questions about runners: status, pid, is-running, wait-for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"

static const struct method *const one_status =
    &methods[METHOD_get_runner_status];

/* ---- status of runners by name ---- */

static enum status
add_status(struct ctl *ctl, const json_t *runner, void *list)
{
	(void)ctl;
	json_array_append(list, (json_t *)runner);
	return STATUS_DONE;
}

/* The runners that names stand for; an array, NULL after complaining. */
static json_t *
get_runners(struct ctl *ctl, char *const *names, enum status *status)
{
	enum status unmatched, asked;
	char **list = call_expand(ctl, names, &unmatched);
	json_t *runners;

	*status = unmatched;
	if (list == NULL)
		return NULL;
	runners = json_array();
	asked =
	    call_each(ctl, one_status, "name", list, NULL, add_status, runners);
	strv_free(list);
	if (unmatched == STATUS_DONE)
		*status = asked;
	return runners;
}

static bool
all_running(const json_t *runners)
{
	const json_t *runner;
	size_t i;

	json_array_foreach (runners, i, runner)
		if (!is_running(runner))
			return false;
	return true;
}

static enum status
show_all(struct ctl *ctl, json_t *given)
{
	const struct method *m = &methods[METHOD_get_all_runner_status];
	enum status status;
	json_t *params = ctl->format == FORMAT_JSON
	    ? json_copy(given)
	    : json_pack("{s:b}", "brief", 1);
	json_t *runners = call_once(ctl, m, params, &status);

	if (runners == NULL)
		return status;
	if (ctl->format == FORMAT_JSON)
		show_json(ctl, runners);
	else
		show_runners(ctl, runners, false);
	json_decref(runners);
	return STATUS_DONE;
}

/* ---- of all nodes ---- */

static void
add_of_node(json_t *all, const char *node, const json_t *runners)
{
	json_t *runner, *copy;
	size_t i;

	json_array_foreach (runners, i, runner) {
		copy = json_copy(runner);
		json_object_set_new(copy, "name",
		    json_sprintf("%s/%s", node,
			json_string_value(json_object_get(runner, "name"))));
		json_array_append_new(all, copy);
	}
}

/* One that does not answer is said, and the others are shown. */
static enum status
show_answers(struct ctl *ctl, const json_t *answers)
{
	enum status status = STATUS_DONE;
	json_t *all = json_array(), *answer, *result;
	const char *node;
	struct err e;
	size_t i;

	json_array_foreach (answers, i, answer) {
		node = json_string_value(json_object_get(answer, "node"));
		result = json_object_get(answer, "result");
		add_of_node(all, node, result);
		if (result)
			continue;
		err_from_json(&e, json_object_get(answer, "error"));
		status = ctl_complain(ctl, &e);
	}
	show_runners(ctl, all, false);
	json_decref(all);
	return status;
}

static enum status
show_all_nodes(struct ctl *ctl, json_t *given)
{
	const struct method *m = &methods[METHOD_nodes_call];
	json_t *params = json_pack("{s:s, s:s, s:O}", "node", "*", "method",
	    methods[METHOD_get_all_runner_status].name, "params", given);
	enum status status;
	json_t *answers = call_once(ctl, m, params, &status);

	if (answers && ctl->format == FORMAT_JSON)
		show_json(ctl, answers);
	else if (answers)
		status = show_answers(ctl, answers);
	json_decref(answers);
	return status;
}

static void
show_named(struct ctl *ctl, const json_t *runners)
{
	const json_t *runner;
	size_t i;

	if (ctl->format == FORMAT_JSON)
		json_array_foreach (runners, i, runner)
			show_json(ctl, runner);
	else if (json_array_size(runners) > 0)
		show_runners(ctl, runners, ctl->format == FORMAT_TABLE);
}

enum status
verb_status(struct ctl *ctl, const struct args *a)
{
	enum status status;
	json_t *runners;
	struct err e = {0};

	if (ctl->all && a->noperands) {
		err_set(&e, ERR_PARAMS,
		    "status: --all shows all runners; no names are wanted");
		return ctl_misused(&e);
	}
	if (ctl->all)
		return show_all_nodes(ctl, a->given[OPTION_PARAM]);
	if (a->noperands == 0)
		return show_all(ctl, a->given[OPTION_PARAM]);
	runners = get_runners(ctl, a->operands, &status);
	if (runners == NULL)
		return status;
	show_named(ctl, runners);
	if (status == STATUS_DONE && !all_running(runners))
		status = STATUS_NOT_RUNNING;
	json_decref(runners);
	return status;
}

enum status
verb_is_running(struct ctl *ctl, const struct args *a)
{
	enum status status;
	struct err e = {0};
	json_t *runners;

	if (args_count(a, 1, SIZE_MAX, &e) != 0)
		return ctl_misused(&e);
	runners = get_runners(ctl, a->operands, &status);
	if (status == STATUS_DONE && !all_running(runners))
		status = STATUS_NOT_RUNNING;
	json_decref(runners);
	return status;
}

/* ---- pid ---- */

static enum status
show_own_pid(struct ctl *ctl)
{
	const struct method *m = &methods[METHOD_get_all_status];
	enum status status;
	json_t *summary = call_once(ctl, m, NULL, &status);
	const json_t *pid =
	    json_object_get(json_object_get(summary, "herod"), "pid");

	if (summary && !ctl->quiet)
		fprintf(ctl->out, "%lld\n", (long long)json_integer_value(pid));
	json_decref(summary);
	return status;
}

/* Nothing is printed for a runner without a process: 0 would be a whole
 * process group to kill(1). */
static enum status
show_pids(struct ctl *ctl, const json_t *runner)
{
	const json_t *instance, *pid;
	enum status status = STATUS_NOT_RUNNING;
	size_t i;

	json_array_foreach (json_object_get(runner, "instances"), i, instance) {
		pid = json_object_get(instance, "pid");
		if (!json_is_integer(pid))
			continue;
		status = STATUS_DONE;
		if (!ctl->quiet)
			fprintf(ctl->out, "%lld\n",
			    (long long)json_integer_value(pid));
	}
	if (status != STATUS_DONE)
		ctl_say("%s has no process",
		    json_string_value(json_object_get(runner, "name")));
	return status;
}

enum status
verb_pid(struct ctl *ctl, const struct args *a)
{
	enum status status, one;
	const json_t *runner;
	json_t *runners;
	size_t i;

	if (a->noperands == 0)
		return show_own_pid(ctl);
	runners = get_runners(ctl, a->operands, &status);
	json_array_foreach (runners, i, runner) {
		one = show_pids(ctl, runner);
		if (status == STATUS_DONE)
			status = one;
	}
	json_decref(runners);
	return status;
}

/* ---- wait-for ---- */

enum goal { GOAL_RUNNING, GOAL_STOPPED, GOAL_HEALTHY };

/* What is waited for, and what is so: by name {state, why, down, healthy}. */
struct waiting {
	enum goal goal;
	char *const *names;
	json_t *runners;
	enum status status; /* STATUS_TIMED_OUT: not yet */
};

static bool
is_state(const json_t *object, const char *state)
{
	const char *its = json_string_value(json_object_get(object, "state"));

	return its && strcmp(its, state) == 0;
}

/* Has it no process, and gets none by itself? */
static bool
is_down(const json_t *instance)
{
	return is_state(instance, "STOPPED") || is_state(instance, "EXITED") ||
	    is_state(instance, "FATAL");
}

static bool
all_down(const json_t *runner)
{
	const json_t *instance;
	size_t i;

	json_array_foreach (json_object_get(runner, "instances"), i, instance)
		if (!is_down(instance))
			return false;
	return true;
}

static void
note(struct waiting *w, const char *name, const json_t *state,
    const json_t *object, bool down)
{
	json_object_set_new(w->runners, name,
	    json_pack("{s:O, s:O, s:O, s:b}", "state", state, "why",
		json_object_get(object, "why"), "healthy",
		json_object_get(object, "healthy"), "down", down));
}

static void
note_snapshot(struct waiting *w, const json_t *snapshot)
{
	const json_t *runner;
	size_t i;

	json_object_clear(w->runners);
	json_array_foreach (json_object_get(snapshot, "runners"), i, runner)
		note(w, json_string_value(json_object_get(runner, "name")),
		    json_object_get(runner, "state"), runner, all_down(runner));
}

static bool
is_what(const json_t *event, const char *what)
{
	const char *its = json_string_value(json_object_get(event, "what"));

	return its && strcmp(its, what) == 0;
}

static void
note_event(struct waiting *w, const json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "runner"));

	if (is_what(event, "removed"))
		json_object_del(w->runners, name);
	else if (is_what(event, "state"))
		note(w, name, json_object_get(event, "runner_state"), event,
		    json_is_true(json_object_get(event, "down")));
	else if (is_what(event, "health"))
		json_object_set(json_object_get(w->runners, name), "healthy",
		    json_object_get(event, "healthy"));
}

/* Nobody here would hear of it. */
static bool
is_external(const char *name, const json_t *runner)
{
	if (runner == NULL || !is_state(runner, "UNKNOWN"))
		return false;
	ctl_say("%s is external: whether it runs is not known to herod", name);
	return true;
}

static bool
is_reached(const struct waiting *w, const json_t *runner)
{
	if (w->goal == GOAL_RUNNING)
		return is_running(runner);
	return json_is_true(json_object_get(
	    runner, w->goal == GOAL_HEALTHY ? "healthy" : "down"));
}

/* Of one runner; NULL: it was removed. */
static enum status
look_at(const struct waiting *w, const char *name, const json_t *runner)
{
	bool up = w->goal != GOAL_STOPPED;

	if (runner == NULL && up) {
		ctl_say("%s was removed", name);
		return STATUS_REFUSED;
	}
	if (up && is_state(runner, "FATAL")) {
		ctl_say("%s is FATAL: %s", name,
		    json_string_value(json_object_get(runner, "why")));
		return STATUS_REFUSED;
	}
	if (is_external(name, runner))
		return STATUS_REFUSED;
	return runner == NULL || is_reached(w, runner) ? STATUS_DONE
						       : STATUS_TIMED_OUT;
}

static void
look(struct waiting *w)
{
	enum status one;
	char *const *name;

	w->status = STATUS_DONE;
	for (name = w->names; *name; name++) {
		one = look_at(w, *name, json_object_get(w->runners, *name));
		if (one == STATUS_DONE)
			continue;
		w->status = one;
		if (one != STATUS_TIMED_OUT)
			return;
	}
}

/* Subscribe, then look: nothing can happen in between unheard. */
static enum follow
take_news(void *arg, const json_t *news)
{
	struct waiting *w = arg;

	if (json_object_get(news, "gap"))
		return FOLLOW_ANEW;
	if (json_object_get(news, "life"))
		note_snapshot(w, news);
	else
		note_event(w, news);
	look(w);
	return w->status == STATUS_TIMED_OUT ? FOLLOW_ON : FOLLOW_END;
}

static enum status
wait_until(struct ctl *ctl, struct waiting *w)
{
	json_t *topics = json_array();
	json_t *params = json_pack("{s:o}", "topics", topics);
	struct err e = {0};
	char *const *name;
	int bad;

	for (name = w->names; *name; name++)
		json_array_append_new(topics, json_sprintf("runner.%s", *name));
	w->runners = json_object();
	bad = follow_events(ctl, params, take_news, w, &e);
	json_decref(w->runners);
	json_decref(params);
	if (!bad)
		return w->status;
	if (client_trouble(ctl->client) == TROUBLE_INTERRUPTED)
		return STATUS_INTERRUPTED;
	if (e.code != ERR_TIMED_OUT)
		return ctl_complain(ctl, &e);
	ctl_say("not so within the time given");
	return STATUS_TIMED_OUT;
}

/* Names that do not exist are told as by status, with the nearest. */
static enum status
wait_for_names(struct ctl *ctl, char *const *names, struct waiting *w)
{
	enum status status;
	char **list = call_expand(ctl, names, &status);
	json_t *runners;

	if (list && status == STATUS_DONE) {
		runners = get_runners(ctl, list, &status);
		json_decref(runners);
	}
	if (status == STATUS_DONE && *list) {
		w->names = list;
		status = wait_until(ctl, w);
	}
	strv_free(list);
	return status;
}

static int
read_goal(const char *word, enum goal *goal, struct err *e)
{
	static const char *const words[] = {"running", "stopped", "healthy"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0) {
			*goal = (enum goal)i;
			return 0;
		}
	return err_set(e, ERR_PARAMS,
	    "wait-for: '%s' is not running, stopped or healthy", word);
}

enum status
verb_wait_for(struct ctl *ctl, const struct args *a)
{
	struct waiting w = {.status = STATUS_TIMED_OUT};
	enum status status;
	struct err e = {0};
	char **names;

	if (args_count(a, 2, SIZE_MAX, &e) != 0 ||
	    read_goal(a->operands[a->noperands - 1], &w.goal, &e) != 0)
		return ctl_misused(&e);
	names = strv_copy(a->operands);
	free(names[a->noperands - 1]);
	names[a->noperands - 1] = NULL;
	status = wait_for_names(ctl, names, &w);
	strv_free(names);
	return status;
}
