/* Processes of runners, as a tree. */
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "heroctl.h"
#include "mem.h"

#define INDENT 2 /* columns for each step down */

static void
add_size(struct table *t, long long bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1fMB", (double)bytes / 1e6);
	table_add(t, text);
}

static void
add_process(struct table *t, const json_t *process)
{
	const char *runner, *state, *command;
	int instance, pid, ppid, depth, escaped;
	json_int_t rss;
	char text[32], *line;

	if (json_unpack((json_t *)process,
		"{s:s, s:i, s:i, s:i, s:i, s:s, s:I, s:s, s:b}", "runner",
		&runner, "instance", &instance, "pid", &pid, "ppid", &ppid,
		"depth", &depth, "state", &state, "rss", &rss, "command",
		&command, "escaped", &escaped) != 0)
		return;
	line = xasprintf("%s:%d", runner, instance);
	table_add(t, line);
	free(line);
	snprintf(text, sizeof(text), "%d", pid);
	table_add(t, text);
	table_add(t, state);
	add_size(t, rss);
	line = xasprintf("%*s%s%s", depth * INDENT, "", command,
	    escaped && depth == 0 ? " (escaped)" : "");
	table_add(t, line);
	free(line);
}

static void
show_processes(struct ctl *ctl, const json_t *processes)
{
	static const char *const heads[] = {
	    "NAME", "PID", "STATE", "RSS", "COMMAND", NULL};
	const json_t *process;
	struct table t;
	size_t i;

	table_init(&t, heads);
	json_array_foreach (processes, i, process)
		add_process(&t, process);
	show_table(ctl, &t);
}

/* ---- the verb ---- */

/* Of one runner (name), or of all (NULL). */
static enum status
ask(struct ctl *ctl, const char *name, json_t *processes)
{
	json_t *params = name ? json_pack("{s:s}", "name", name) : NULL;
	enum status status;
	json_t *result = call_once(
	    ctl, &methods[METHOD_get_runner_processes], params, &status);
	const json_t *found = json_object_get(result, "processes");

	if (result && ctl->format == FORMAT_JSON)
		show_json(ctl, result);
	if (json_is_true(json_object_get(result, "truncated")))
		ctl_say("there are more processes than are shown");
	if (result && name && json_array_size(found) == 0) {
		ctl_say("%s has no process", name);
		status = STATUS_NOT_RUNNING;
	}
	if (result)
		json_array_extend(processes, (json_t *)found);
	json_decref(result);
	return status;
}

static enum status
ask_names(struct ctl *ctl, char *const *operands, json_t *processes)
{
	enum status unmatched, status = STATUS_DONE, one;
	char **names = call_expand(ctl, operands, &unmatched), **name;

	for (name = names; name && *name; name++) {
		one = ask(ctl, *name, processes);
		if (status == STATUS_DONE)
			status = one;
	}
	strv_free(names);
	return unmatched != STATUS_DONE ? unmatched : status;
}

enum status
verb_tree(struct ctl *ctl, const struct args *a)
{
	json_t *processes = json_array();
	enum status status;

	if (a->noperands == 0)
		status = ask(ctl, NULL, processes);
	else
		status = ask_names(ctl, a->operands, processes);
	if (ctl->format != FORMAT_JSON && json_array_size(processes) > 0)
		show_processes(ctl, processes);
	json_decref(processes);
	return status;
}
