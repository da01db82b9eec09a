/* Questions about runners: status, pid, is-running, wait-for. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
show_all(struct ctl *ctl)
{
	const struct method *m = &methods[METHOD_get_all_runner_status];
	enum status status;
	json_t *runners = call_once(ctl, m, NULL, &status);

	if (runners == NULL)
		return status;
	if (ctl->format == FORMAT_JSON)
		show_json(ctl, runners);
	else
		show_runners(ctl, runners, false);
	json_decref(runners);
	return STATUS_DONE;
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

	if (a->noperands == 0)
		return show_all(ctl);
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

#define FIRST_PAUSE 0.005 /* seconds; doubled up to the longest */
#define LONGEST_PAUSE 0.2

static bool
is_one_of(const json_t *runner, const char *const *states)
{
	const char *state = json_string_value(json_object_get(runner, "state"));

	for (; state && *states; states++)
		if (strcmp(state, *states) == 0)
			return true;
	return false;
}

static bool
is_stopped(const json_t *runner)
{
	static const char *const states[] = {
	    "STOPPED", "EXITED", "FATAL", NULL};

	return is_one_of(runner, states);
}

static bool
is_fatal(const json_t *runner)
{
	static const char *const states[] = {"FATAL", NULL};

	return is_one_of(runner, states);
}

struct waiting {
	bool running; /* wait for that, else for stopped */
	double left; /* seconds; 0: for ever */
	double pause;
};

/* What is left to wait for: STATUS_TIMED_OUT stands for "not yet". */
static enum status
look(const struct waiting *w, const json_t *runners)
{
	const json_t *runner;
	enum status status = STATUS_DONE;
	size_t i;

	json_array_foreach (runners, i, runner) {
		if (w->running && is_fatal(runner)) {
			ctl_say("%s is FATAL: %s",
			    json_string_value(json_object_get(runner, "name")),
			    json_string_value(json_object_get(runner, "why")));
			return STATUS_REFUSED;
		}
		if (w->running ? !is_running(runner) : !is_stopped(runner))
			status = STATUS_TIMED_OUT;
	}
	return status;
}

/* False when the time is over or ^C came. */
static bool
pause_a_while(struct waiting *w, enum status *status)
{
	struct timespec ts = {0, (long)(w->pause * 1e9)};

	if (w->left > 0 && (w->left -= w->pause) <= 0) {
		ctl_say("not so within the time given");
		return false;
	}
	if (w->pause < LONGEST_PAUSE)
		w->pause *= 2;
	if (nanosleep(&ts, NULL) == -1 && errno == EINTR) {
		*status = STATUS_INTERRUPTED;
		return false;
	}
	return true;
}

static enum status
wait_until(struct ctl *ctl, char *const *names, struct waiting *w)
{
	enum status status;
	json_t *runners;

	do {
		runners = get_runners(ctl, names, &status);
		if (status == STATUS_DONE)
			status = look(w, runners);
		json_decref(runners);
	} while (status == STATUS_TIMED_OUT && pause_a_while(w, &status));
	return status;
}

enum status
verb_wait_for(struct ctl *ctl, const struct args *a)
{
	struct waiting w = {.left = ctl->timeout, .pause = FIRST_PAUSE};
	const char *what;
	enum status status;
	struct err e = {0};
	char **names;

	if (args_count(a, 2, SIZE_MAX, &e) != 0)
		return ctl_misused(&e);
	what = a->operands[a->noperands - 1];
	w.running = strcmp(what, "running") == 0;
	if (!w.running && strcmp(what, "stopped") != 0) {
		err_set(&e, ERR_PARAMS,
		    "wait-for: '%s' is not running or stopped", what);
		return ctl_misused(&e);
	}
	names = strv_copy(a->operands);
	free(names[a->noperands - 1]);
	names[a->noperands - 1] = NULL;
	status = wait_until(ctl, names, &w);
	strv_free(names);
	return status;
}
