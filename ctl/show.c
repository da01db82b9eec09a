/*
 * Results as people and scripts want to see them, by the shape that
 * methods.def names.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heroctl.h"
#include "mem.h"
#include "columns.h"

#define GREEN "32"
#define YELLOW "33"
#define RED "31"
#define DIM "2"

/* ---- members of results ---- */

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* A scalar as text, anything else as JSON; new string. */
static char *
value_text(const json_t *value)
{
	if (value == NULL || json_is_null(value))
		return xstrdup("-");
	if (json_is_string(value))
		return xstrdup(json_string_value(value));
	return json_dumps(
	    value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

static void
add_member(struct table *t, const json_t *object, const char *name)
{
	char *text = value_text(json_object_get(object, name));

	table_add(t, text);
	free(text);
}

void
show_table(struct ctl *ctl, struct table *t)
{
	if (!ctl->quiet && ctl->format == FORMAT_TABLE)
		table_print(t, ctl->out, ctl->colour);
	else if (!ctl->quiet)
		table_print_plain(t, ctl->out);
	table_clear(t);
}

/* ---- runners ---- */

static const char *
state_colour(const char *state)
{
	if (strcmp(state, "RUNNING") == 0)
		return GREEN;
	if (strcmp(state, "FATAL") == 0)
		return RED;
	if (strcmp(state, "STOPPED") == 0 || strcmp(state, "EXITED") == 0)
		return DIM;
	return YELLOW;
}

bool
is_running(const json_t *runner)
{
	const char *state = text_of(runner, "state");

	return strcmp(state, "RUNNING") == 0 || strcmp(state, "DRAINING") == 0;
}

static void
add_state(struct table *t, const json_t *object)
{
	const char *state = text_of(object, "state");

	table_add_coloured(t, state, state_colour(state));
}

/* Time that a process lives; an exec runner between jobs has none. */
static void
add_uptime(struct table *t, const json_t *object)
{
	char text[32] = "";

	if (json_is_integer(json_object_get(object, "pid")))
		duration_text(
		    json_number_value(json_object_get(object, "uptime")), text);
	table_add(t, text);
}

static bool
is_paused(const json_t *queue)
{
	return json_is_true(json_object_get(queue, "paused"));
}

/* Jobs waiting / running; ? while Redis is away. */
static void
add_queue(struct table *t, const json_t *runner)
{
	const json_t *queue = json_object_get(runner, "queue");
	const json_t *depth = json_object_get(queue, "depth");
	char text[64] = "";

	if (json_is_object(queue)) {
		if (json_is_integer(depth))
			snprintf(text, sizeof(text), "%lld",
			    (long long)json_integer_value(depth));
		else
			strlcpy(text, "?", sizeof(text));
		snprintf(text + strlen(text), 32, "/%lld%s",
		    (long long)json_integer_value(
			json_object_get(queue, "running")),
		    is_paused(queue) ? " paused" : "");
	}
	table_add(t, text);
}

/* Why no job begins says more than that it is up; and that nobody takes the
 * jobs that wait. */
static void
add_why(struct table *t, const json_t *runner)
{
	const json_t *queue = json_object_get(runner, "queue");
	const char *held = json_string_value(json_object_get(queue, "held"));
	bool is_unserved =
	    json_is_string(json_object_get(queue, "no_consumer")) &&
	    json_integer_value(json_object_get(queue, "depth")) > 0;
	char *whole = xasprintf("%s%s%s", held ? "held: " : "",
	    held ? held : text_of(runner, "why"),
	    is_unserved ? "; jobs wait and nobody takes them" : "");

	table_add(t, whole);
	free(whole);
}

static void
add_runner(struct table *t, const json_t *runner)
{
	table_add(t, text_of(runner, "name"));
	add_state(t, runner);
	add_member(t, runner, "pid");
	add_uptime(t, runner);
	add_member(t, runner, "restarts");
	add_queue(t, runner);
	add_why(t, runner);
}

static void
add_instance(struct table *t, const json_t *runner, const json_t *instance)
{
	char name[160];

	snprintf(name, sizeof(name), "%s:%lld", text_of(runner, "name"),
	    (long long)json_integer_value(json_object_get(instance, "n")));
	table_add(t, name);
	add_state(t, instance);
	add_member(t, instance, "pid");
	add_uptime(t, instance);
	add_member(t, instance, "restarts");
	table_add(t, "");
	table_add(t, text_of(instance, "why"));
}

static void
add_instances(struct table *t, const json_t *runner)
{
	const json_t *instances = json_object_get(runner, "instances");
	const json_t *instance;
	size_t i;

	if (json_array_size(instances) < 2)
		return;
	json_array_foreach (instances, i, instance)
		add_instance(t, runner, instance);
}

/* What a start has started beside it. */
static void
say_also_started(const json_t *runner)
{
	const json_t *names = json_object_get(runner, "also_started");
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		ctl_say("%s: started for %s", json_string_value(name),
		    text_of(runner, "name"));
}

void
show_runners(struct ctl *ctl, const json_t *runners, bool instances)
{
	static const char *const heads[] = {
	    "NAME", "STATE", "PID", "UPTIME", "RESTARTS", "QUEUE", "WHY", NULL};
	const json_t *runner;
	struct table t;
	size_t i;

	table_init(&t, heads);
	json_array_foreach (runners, i, runner) {
		add_runner(&t, runner);
		say_also_started(runner);
		if (instances)
			add_instances(&t, runner);
	}
	show_table(ctl, &t);
}

/* Asked to be up, but it is not. */
static bool
has_failed(const json_t *runner)
{
	return strcmp(text_of(runner, "wanted"), "up") == 0 &&
	    strcmp(text_of(runner, "state"), "FATAL") == 0;
}

static void
show_runner_list(struct ctl *ctl, const json_t *runners)
{
	show_runners(ctl, runners, false);
}

static void
show_runner(struct ctl *ctl, const json_t *runner)
{
	json_t *list = json_array();

	json_array_append(list, (json_t *)runner);
	show_runners(ctl, list, false);
	json_decref(list);
}

static bool
is_ok(const json_t *change)
{
	return json_is_true(json_object_get(change, "ok"));
}

static void
show_changes(struct ctl *ctl, const json_t *changes)
{
	static const char *const heads[] = {"NAME", "STATE", "WHY", NULL};
	const json_t *change;
	struct table t;
	size_t i;

	table_init(&t, heads);
	json_array_foreach (changes, i, change) {
		table_add(&t, text_of(change, "name"));
		add_state(&t, change);
		table_add(&t, text_of(change, "why"));
		if (!is_ok(change))
			ctl_say("%s: %s", text_of(change, "name"),
			    text_of(change, "why"));
	}
	show_table(ctl, &t);
}

static void
show_removed(struct ctl *ctl, const json_t *removed)
{
	long long jobs =
	    json_integer_value(json_object_get(removed, "queued_jobs"));
	char *text;

	if (jobs == 0)
		text = xasprintf("%s: removed", text_of(removed, "name"));
	else
		text = xasprintf("%s: removed; %lld queued job%s left",
		    text_of(removed, "name"), jobs,
		    jobs == 1 ? " is" : "s are");
	show_text(ctl, text);
	free(text);
}

static void
show_queue_state(struct ctl *ctl, const json_t *state)
{
	char *text = xasprintf("queue %s: %s", text_of(state, "queue"),
	    is_paused(state) ? "paused" : "resumed");

	show_text(ctl, text);
	free(text);
}

/* ---- logs ---- */

/* "20:33:43.123" of an RFC 3339 time. */
static void
short_time(const char *time, char buf[16])
{
	const char *clock = strchr(time, 'T');

	snprintf(buf, 16, "%.12s", clock ? clock + 1 : time);
}

/* All of it: a byte 0 does not end it. */
static void
put_line(FILE *out, const json_t *line, const char *end)
{
	const json_t *text = json_object_get(line, "text");

	fwrite(json_string_value(text), 1, json_string_length(text), out);
	fputs(end, out);
}

static void
line_plain(FILE *out, const json_t *line)
{
	fprintf(out, "%s\t%s:%lld\t%s\t", text_of(line, "time"),
	    text_of(line, "runner"),
	    (long long)json_integer_value(json_object_get(line, "instance")),
	    text_of(line, "stream"));
	put_line(out, line, "\n");
}

static void
line_table(struct ctl *ctl, const json_t *line, bool name)
{
	bool is_error = strcmp(text_of(line, "stream"), "stderr") == 0;
	char time[16];

	short_time(text_of(line, "time"), time);
	fprintf(ctl->out, ctl->colour ? "\033[2m%s\033[0m " : "%s ", time);
	if (name)
		fprintf(ctl->out, "%s:%lld ", text_of(line, "runner"),
		    (long long)json_integer_value(
			json_object_get(line, "instance")));
	if (is_error && ctl->colour)
		fputs("\033[33m|\033[0m ", ctl->out);
	else
		fputs(is_error ? "! " : "| ", ctl->out);
	put_line(ctl->out, line, "\n");
}

void
show_log_line(
    struct ctl *ctl, const json_t *line, const struct line_style *style)
{
	bool goes_on = json_is_true(json_object_get(line, "partial"));

	if (ctl->quiet)
		return;
	if (ctl->format == FORMAT_JSON) {
		json_dumpf(line, ctl->out, JSON_COMPACT);
		putc('\n', ctl->out);
	} else if (style->raw) {
		if (style->name)
			fprintf(ctl->out, "%s: ", text_of(line, "runner"));
		put_line(ctl->out, line, goes_on ? "" : "\n");
	} else if (ctl->format == FORMAT_PLAIN) {
		line_plain(ctl->out, line);
	} else {
		line_table(ctl, line, style->name);
	}
}

static void
show_lines(struct ctl *ctl, const json_t *lines)
{
	struct line_style style = {false, false};
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		show_log_line(ctl, line, &style);
}

/* ---- explanations ---- */

/* The first sentence is the heading of the others. */
static void
show_explanation(struct ctl *ctl, const json_t *explanation)
{
	const json_t *sentence;
	char *clean;
	size_t i;

	json_array_foreach (json_object_get(explanation, "text"), i, sentence) {
		clean = text_without_controls(json_string_value(sentence));
		if (!ctl->quiet)
			fprintf(ctl->out, "%s%s\n", i > 0 ? "    " : "", clean);
		free(clean);
	}
	show_lines(ctl, json_object_get(explanation, "lines"));
}

/* ---- jobs ---- */

/* With the newline at the end that herod took off. */
static void
show_job_result(struct ctl *ctl, const json_t *result)
{
	const json_t *success = json_object_get(result, "success");
	const char *text = json_string_value(success);
	size_t len = json_string_length(success);

	if (text == NULL) {
		ctl_say("the job failed: %s", text_of(result, "error"));
		return;
	}
	if (ctl->quiet)
		return;
	fwrite(text, 1, len, ctl->out);
	if (len > 0 && text[len - 1] != '\n')
		putc('\n', ctl->out);
}

static void
show_jobs(struct ctl *ctl, const json_t *page)
{
	static const char *const heads[] = {"ID", "RUNNER", "STATUS",
	    "ATTEMPTS", "CREATED", "FINISHED", "ERROR", NULL};
	static const char *const members[] = {"id", "runner", "status",
	    "attempts", "created_at", "finished_at", "error"};
	const char *cursor = text_of(page, "cursor");
	const json_t *job;
	struct table t;
	size_t i, c;

	table_init(&t, heads);
	json_array_foreach (json_object_get(page, "jobs"), i, job)
		for (c = 0; c < sizeof(members) / sizeof(members[0]); c++)
			add_member(&t, job, members[c]);
	show_table(ctl, &t);
	if (*cursor && !ctl->quiet)
		fprintf(stderr, "There are more: --cursor %s\n", cursor);
}

/* ---- schedules ---- */

/* "30 4 * * * Europe/Berlin", "every 1m30s" */
static void
add_times(struct table *t, const json_t *schedule)
{
	const char *cron = text_of(schedule, "cron"), *zone;
	char text[200], duration[32];

	zone = text_of(schedule, "timezone");
	if (*cron)
		snprintf(
		    text, sizeof(text), "%s%s%s", cron, *zone ? " " : "", zone);
	else
		snprintf(text, sizeof(text), "every %s",
		    duration_text(
			json_number_value(json_object_get(schedule, "every")),
			duration));
	table_add(t, text);
}

/* Of an RFC 3339 time the seconds are exact enough. */
static void
add_time(struct table *t, const char *time)
{
	char text[32];

	snprintf(text, sizeof(text), "%.19s%s", time, *time ? "Z" : "");
	table_add(t, text);
}

static void
add_schedule(struct table *t, const json_t *schedule)
{
	const json_t *last = json_object_get(schedule, "last");
	bool enabled = json_is_true(json_object_get(schedule, "enabled"));
	const char *job = text_of(last, "job");

	table_add(t, text_of(schedule, "name"));
	table_add(t, text_of(schedule, "runner"));
	add_times(t, schedule);
	if (enabled)
		add_time(t, text_of(schedule, "next"));
	else
		table_add(t, "disabled");
	add_time(t, text_of(last, "tick"));
	table_add(t, text_of(last, "outcome"));
	table_add(t, *job ? job : text_of(last, "why"));
}

static void
show_schedules(struct ctl *ctl, const json_t *schedules)
{
	static const char *const heads[] = {"NAME", "RUNNER", "WHEN", "NEXT",
	    "LAST", "OUTCOME", "JOB OR WHY", NULL};
	const json_t *schedule;
	struct table t;
	size_t i;

	table_init(&t, heads);
	json_array_foreach (schedules, i, schedule)
		add_schedule(&t, schedule);
	show_table(ctl, &t);
}

static void
show_keys(struct ctl *ctl, const json_t *keys)
{
	static const char *const heads[] = {"NAME", "SCOPE", "CREATED",
	    "EXPIRES", "LAST USED", "ID", "SUBJECT", NULL};
	const json_t *key;
	struct table t;
	size_t i;

	table_init(&t, heads);
	json_array_foreach (keys, i, key) {
		table_add(&t, text_of(key, "name"));
		table_add(&t, text_of(key, "scope"));
		table_add(&t, text_of(key, "created_at"));
		table_add(&t, text_of(key, "expires_at"));
		table_add(&t, text_of(key, "last_used"));
		table_add(&t, text_of(key, "id"));
		table_add(&t, text_of(key, "subject"));
	}
	show_table(ctl, &t);
}

/* Alone, for scripts. */
static void
show_new_key(struct ctl *ctl, const json_t *key)
{
	const char *text = text_of(key, "key");

	fprintf(ctl->out, "%s\n", *text ? text : text_of(key, "subject"));
}

static void
show_nodes(struct ctl *ctl, const json_t *nodes)
{
	static const char *const heads[] = {
	    "NAME", "ALIVE", "PID", "VERSION", "GONE AT", "ID", NULL};
	const json_t *node;
	struct table t;
	char pid[32];
	size_t i;

	table_init(&t, heads);
	json_array_foreach (nodes, i, node) {
		snprintf(pid, sizeof(pid), "%lld",
		    (long long)json_integer_value(
			json_object_get(node, "pid")));
		table_add(&t, text_of(node, "name"));
		table_add(&t,
		    json_is_true(json_object_get(node, "alive")) ? "yes"
								 : "no");
		table_add(&t, pid);
		table_add(&t, text_of(node, "version"));
		table_add(&t, text_of(node, "gone_at"));
		table_add(&t, text_of(node, "id"));
	}
	show_table(ctl, &t);
}

static void
show_jobs_done(struct ctl *ctl, const json_t *done)
{
	long long jobs = json_integer_value(json_object_get(done, "jobs")),
		  refused =
		      json_integer_value(json_object_get(done, "refused"));
	char *text = xasprintf("%lld job%s", jobs, jobs == 1 ? "" : "s");

	show_text(ctl, text);
	free(text);
	if (refused)
		ctl_say("%lld job%s could not be: another has the unique_key, "
			"or it is not so any more",
		    refused, refused == 1 ? "" : "s");
}

static void
show_job_stats(struct ctl *ctl, const json_t *stats)
{
	static const char *const heads[] = {
	    "QUEUE", "STATUS", "JOBS", "OLDEST", NULL};
	json_t *queue, *count;
	const char *name, *status;
	struct table t;

	table_init(&t, heads);
	json_object_foreach ((json_t *)stats, name, queue) {
		json_object_foreach (queue, status, count) {
			table_add(&t, name);
			table_add(&t, status);
			add_member(&t, count, "jobs");
			add_member(&t, count, "oldest");
		}
	}
	show_table(ctl, &t);
}

/* ---- objects ---- */

static char *members_text(const struct ctl *ctl, const json_t *object);

static char *
member_text(const struct ctl *ctl, const char *name, const json_t *value)
{
	char duration[32], *inner, *text;

	if (json_is_object(value)) {
		inner = members_text(ctl, value);
		text = xasprintf("(%s)", inner);
		free(inner);
		return text;
	}
	if (strcmp(name, "uptime") == 0)
		return xstrdup(
		    duration_text(json_number_value(value), duration));
	return value_text(value);
}

/* "version 0.1.0, pid 4711, uptime 12s" */
static char *
members_text(const struct ctl *ctl, const json_t *object)
{
	char *text = xstrdup(""), *value, *longer;
	json_t *member;
	const char *name;

	json_object_foreach ((json_t *)object, name, member) {
		if (json_is_string(member) && json_string_length(member) == 0)
			continue;
		value = member_text(ctl, name, member);
		longer = xasprintf(
		    "%s%s%s %s", text, *text ? ", " : "", name, value);
		free(text);
		free(value);
		text = longer;
	}
	return text;
}

/* A line for each member. */
static void
show_members(struct ctl *ctl, const json_t *object)
{
	static const char *const heads[] = {"WHAT", "VALUE", NULL};
	json_t *member;
	const char *name;
	struct table t;
	char *text;

	table_init(&t, heads);
	json_object_foreach ((json_t *)object, name, member) {
		text = json_is_object(member) ? members_text(ctl, member)
					      : value_text(member);
		table_add(&t, name);
		table_add(&t, text);
		free(text);
	}
	show_table(ctl, &t);
}

/* ---- the configuration ---- */

static void
add_what(struct table *t, const char *what, const char *name)
{
	table_add(t, what);
	table_add(t, name);
}

static void
add_names(struct table *t, const char *what, const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		add_what(t, what, json_string_value(name));
}

/* What is not done is said on stderr, as refusals are. */
static void
say_refused(const json_t *sentences)
{
	const json_t *sentence;
	size_t i;

	json_array_foreach (sentences, i, sentence)
		ctl_say("%s", json_string_value(sentence));
}

static void
show_reload(struct ctl *ctl, const json_t *result)
{
	static const char *const heads[] = {"WHAT", "NAME", NULL};
	const char *name;
	char what[32];
	struct table t;
	json_t *how;

	table_init(&t, heads);
	add_names(&t, "removed", json_object_get(result, "removed"));
	json_object_foreach (json_object_get(result, "changed"), name, how)
		add_what(&t, json_string_value(how), name);
	add_names(&t, "added", json_object_get(result, "added"));
	add_names(&t, "herod", json_object_get(result, "herod"));
	json_object_foreach (json_object_get(result, "schedules"), name, how) {
		snprintf(what, sizeof(what), "schedule %s", name);
		add_names(&t, what, how);
	}
	if (t.n == 0 && ctl->format == FORMAT_TABLE && !ctl->quiet)
		fputs("nothing has changed\n", ctl->out);
	else
		show_table(ctl, &t);
	say_refused(json_object_get(result, "refused"));
}

/* A word of a command, in quotes where it needs them. */
static void
put_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+./:,=@%";

	if (*word && word[strspn(word, plain)] == '\0') {
		fputs(word, out);
		return;
	}
	putc('\'', out);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	putc('\'', out);
}

static void
put_item(FILE *out, const char *setting, const json_t *item)
{
	char *text = value_text(item);

	if (strcmp(setting, "command") == 0)
		put_word(out, text);
	else
		fputs(text, out);
	free(text);
}

/* As the file has it; new string. */
static char *
setting_text(const char *setting, const json_t *value)
{
	const char *between = strcmp(setting, "command") == 0 ? " " : ", ";
	char *text = NULL;
	size_t size, i;
	json_t *item;
	FILE *out;

	if (!json_is_array(value))
		return value_text(value);
	out = open_memstream(&text, &size);
	json_array_foreach (value, i, item) {
		fputs(i ? between : "", out);
		put_item(out, setting, item);
	}
	fclose(out);
	return text;
}

static void
show_section(struct ctl *ctl, const char *head, const json_t *settings)
{
	const char *name;
	json_t *value;
	char *text;

	fprintf(ctl->out, "[%s]\n", head);
	json_object_foreach ((json_t *)settings, name, value) {
		text = setting_text(name, value);
		if (!json_is_null(value))
			fprintf(ctl->out, "%s = %s\n", name, text);
		free(text);
	}
}

static void
show_sections(struct ctl *ctl, const char *kind, const json_t *sections)
{
	const char *name;
	json_t *section;
	char head[128];

	json_object_foreach ((json_t *)sections, name, section) {
		fprintf(ctl->out, "\n# %s\n", text_of(section, "origin"));
		snprintf(head, sizeof(head), "%s:%s", kind, name);
		show_section(ctl, head, json_object_get(section, "settings"));
	}
}

/* Much like the file; what follows # is where it comes from. */
static void
show_config(struct ctl *ctl, const json_t *result)
{
	show_section(ctl, "herod", json_object_get(result, "herod"));
	show_sections(ctl, "runner", json_object_get(result, "runners"));
	show_sections(ctl, "schedule", json_object_get(result, "schedules"));
}

/* ---- plain results ---- */

void
show_json(struct ctl *ctl, const json_t *value)
{
	size_t flags = JSON_ENCODE_ANY;

	if (ctl->quiet)
		return;
	flags |= ctl->tty ? JSON_INDENT(2) : JSON_COMPACT;
	json_dumpf(value, ctl->out, flags);
	putc('\n', ctl->out);
}

void
show_text(struct ctl *ctl, const char *text)
{
	if (!ctl->quiet)
		fprintf(ctl->out, "%s\n", text);
}

static void
show_string(struct ctl *ctl, const json_t *value)
{
	char *text = value_text(value);

	show_text(ctl, text);
	free(text);
}

static void
show_strings(struct ctl *ctl, const json_t *list)
{
	const json_t *value;
	size_t i;

	json_array_foreach (list, i, value)
		show_string(ctl, value);
}

static void
show_any(struct ctl *ctl, const json_t *value)
{
	show_json(ctl, value);
}

/* ---- by shape ---- */

static const struct shape {
	const char *name;
	void (*show)(struct ctl *ctl, const json_t *result);
} shapes[] = {
    {"RunnerStatus", show_runner},
    {"[RunnerStatus]", show_runner_list},
    {"[RunnerChange]", show_changes},
    {"Removed", show_removed},
    {"QueueState", show_queue_state},
    {"[LogLine]", show_lines},
    {"Explanation", show_explanation},
    {"JobOutcome", show_job_result},
    {"JobState", show_string},
    {"JobRecord", show_members},
    {"JobPage", show_jobs},
    {"JobsDone", show_jobs_done},
    {"JobStats", show_job_stats},
    {"Summary", show_members},
    {"Version", show_members},
    {"[ScheduleStatus]", show_schedules},
    {"[Node]", show_nodes},
    {"[Key]", show_keys},
    {"NewKey", show_new_key},
    {"Reloaded", show_reload},
    {"Config", show_config},
    {"string", show_string},
    {"[string]", show_strings},
    {NULL, show_any},
};

static const struct shape *
shape_find(const char *name)
{
	const struct shape *s = shapes;

	while (s->name && strcmp(s->name, name) != 0)
		s++;
	return s;
}

bool
show_has_rows(const char *shape)
{
	char name[64];

	snprintf(name, sizeof(name), "[%s]", shape);
	return shape_find(name)->name != NULL;
}

/* ---- exit statuses ---- */

static enum status
changes_status(const json_t *changes)
{
	const json_t *change;
	size_t i;

	json_array_foreach (changes, i, change)
		if (!is_ok(change))
			return STATUS_REFUSED;
	return STATUS_DONE;
}

static enum status
runners_status(const json_t *runners)
{
	const json_t *runner;
	size_t i;

	json_array_foreach (runners, i, runner)
		if (has_failed(runner))
			return STATUS_REFUSED;
	return STATUS_DONE;
}

/* Does the result itself tell of a failure? */
static enum status
result_status(const char *shape, const json_t *result)
{
	if (strcmp(shape, "JobOutcome") == 0)
		return json_object_get(result, "success") ? STATUS_DONE
							  : STATUS_JOB_FAILED;
	if (strcmp(shape, "RunnerStatus") == 0)
		return has_failed(result) ? STATUS_REFUSED : STATUS_DONE;
	if (strcmp(shape, "[RunnerStatus]") == 0)
		return runners_status(result);
	if (strcmp(shape, "[RunnerChange]") == 0)
		return changes_status(result);
	if (strcmp(shape, "Reloaded") == 0)
		return json_array_size(json_object_get(result, "refused"))
		    ? STATUS_REFUSED
		    : STATUS_DONE;
	return STATUS_DONE;
}

enum status
show_result(struct ctl *ctl, const char *shape, const json_t *result)
{
	if (ctl->format == FORMAT_JSON)
		show_json(ctl, result);
	else
		shape_find(shape)->show(ctl, result);
	return result_status(shape, result);
}
