/* Lines of a job in log files, whatever happens to these meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log_search.h"
#include "with_output.h"

/* Lines FROM to TO of a job. */
static void
writes(struct output *o, int stream, const char *job, int from, int to)
{
	const struct output_line about = {.stream = stream, .job = job};
	char line[32];

	for (; from <= to; from++) {
		snprintf(line, sizeof(line), "%d\n", from);
		output_lines(o, &about, line, strlen(line), NULL);
	}
}

static void
on_found(void *arg, json_t *lines)
{
	*(json_t **)arg = lines;
}

static struct log_search *
search(struct output *o, const char *job, size_t lines, json_t **found)
{
	const struct log_wanted wanted = {job, lines, -1, 0};
	struct log_search *s = log_search_new(the_loop(), &wanted);

	log_search_add(s, o, "web");
	*found = NULL;
	log_search_begin(s, on_found, found);
	return s;
}

static void
check_found(json_t **found, int from, int to)
{
	char text[32];
	int i;

	while (*found == NULL)
		ev_run(the_loop(), EVRUN_ONCE);
	check_int((int)json_array_size(*found), to - from + 1);
	for (i = from; i <= to; i++) {
		snprintf(text, sizeof(text), "%d", i);
		check_str(
		    json_string_value(json_object_get(
			json_array_get(*found, (size_t)(i - from)), "text")),
		    text);
	}
	json_decref(*found);
}

static void
check_search(struct output *o, const char *job, size_t lines, int from, int to)
{
	json_t *found;

	search(o, job, lines, &found);
	check_found(&found, from, to);
}

void
test_lines_are_found_in_all_backups(void)
{
	struct output *o;

	settings_init(runner_settings, &conf);
	set("stdout_logfile_maxbytes", "1KB");
	conf.stdout_logfile_backups = 1000;
	o = open_as_set();
	writes(o, CHILD_STDOUT, "a", 1, 500);
	writes(o, CHILD_STDOUT, "b", 1, 500);
	writes(o, CHILD_STDOUT, NULL, 1, 500);
	check_search(o, "a", 1000, 1, 500);
	check_search(o, "b", 1000, 1, 500);
	check_search(o, "b", 7, 494, 500);
	check_search(o, "none", 1000, 1, 0);
	check_search(o, "a", 0, 1, 0);
	close_output(o);
}

/* What came after the beginning is not of it. */
void
test_rotation_meanwhile_neither_loses_nor_doubles(void)
{
	struct log_search *s;
	struct output *o;
	json_t *found;
	int turns;

	settings_init(runner_settings, &conf);
	set("stdout_logfile_maxbytes", "1KB");
	conf.stdout_logfile_backups = 1000;
	o = open_as_set();
	writes(o, CHILD_STDOUT, "a", 1, 300);
	for (turns = 0; turns < 12; turns++) {
		s = search(o, "a", 1000, &found);
		(void)s;
		ev_run(the_loop(), EVRUN_ONCE);
		ev_run(the_loop(), EVRUN_ONCE);
		writes(
		    o, CHILD_STDOUT, "a", 301 + turns * 60, 360 + turns * 60);
		check_found(&found, 1, 300 + turns * 60);
	}
	s = search(o, "a", 1000, &found);
	ev_run(the_loop(), EVRUN_ONCE);
	log_search_cancel(s);
	check(found == NULL);
	close_output(o);
}

static void
next_microsecond(void)
{
	double began = ev_time();

	while (ev_time() - began < 2e-6)
		continue;
}

void
test_two_files_are_merged_by_time(void)
{
	struct output *o;
	int i;

	settings_init(runner_settings, &conf);
	set("stderr_logfile", "AUTO");
	o = open_as_set();
	for (i = 1; i <= 100; i++) {
		next_microsecond();
		writes(o, i % 3 ? CHILD_STDOUT : CHILD_STDERR, "a", i, i);
	}
	check_search(o, "a", 1000, 1, 100);
	check_search(o, "a", 10, 91, 100);
	close_output(o);
}

/* Larger than what is read at once, and than the job's own. */
void
test_long_lines_are_passed_over(void)
{
	const struct output_line about = {.stream = CHILD_STDOUT};
	char *big = xmalloc(700000);
	struct output *o;

	settings_init(runner_settings, &conf);
	set("log_max_line", "1MiB");
	set("log_format", "json");
	o = open_as_set();
	memset(big, 'x', 700000);
	writes(o, CHILD_STDOUT, "a", 1, 3);
	output_lines(o, &about, big, 700000, NULL);
	writes(o, CHILD_STDOUT, "a", 4, 4);
	output_lines(o, &about, big, 700000, NULL);
	check_search(o, "a", 1000, 1, 4);
	free(big);
	close_output(o);
}

void
test_without_a_file_memory_is_looked_at(void)
{
	struct output *o;

	settings_init(runner_settings, &conf);
	set("stdout_logfile", "NONE");
	o = open_as_set();
	writes(o, CHILD_STDOUT, "a", 1, 20);
	check_search(o, "a", 1000, 1, 20);
	check_search(o, "a", 3, 18, 20);
	close_output(o);
}
