/* What runners write: the file, the ring, followers. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "with_output.h"

static struct output *
open_output(const char *maxbytes, size_t ring)
{
	settings_init(runner_settings, &conf);
	set("stdout_logfile_maxbytes", maxbytes);
	home.ring_bytes = ring;
	return open_as_set();
}

static void
feed(struct output_source *s, const char *text)
{
	output_feed(s, text, strlen(text));
}

/* Texts of the last lines joined by |. */
static char *
tail(struct output *o, struct output_filter f)
{
	json_t *lines = output_tail(o, &f), *line;
	char *joined = xstrdup(""), *next;
	size_t i;

	json_array_foreach (lines, i, line) {
		next = xasprintf("%s%s%s", joined, i ? "|" : "",
		    json_string_value(json_object_get(line, "text")));
		free(joined);
		joined = next;
	}
	json_decref(lines);
	return joined;
}

/* Bytes of stdout that could not be written, and why (static). */
static long long
dropped(struct output *o, const char **why)
{
	static char text[128];
	json_t *object = output_json(o),
	       *file = json_object_get(object, "stdout");
	long long n =
	    json_integer_value(json_object_get(file, "dropped_bytes"));
	const char *reason = json_string_value(json_object_get(file, "why"));

	snprintf(text, sizeof(text), "%s", reason ? reason : "");
	*why = reason ? text : NULL;
	json_decref(object);
	return n;
}

static const struct output_filter everything = {1000, -1, -1, NULL, 0, false};

static void
check_tail(struct output *o, struct output_filter f, const char *want)
{
	char *got = tail(o, f);

	check_str(got, want);
	free(got);
}

void
test_lines_are_stamped_and_kept(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *out = output_source_new(
				 o, 0, CHILD_STDOUT, NULL, NULL),
			     *err = output_source_new(
				 o, 3, CHILD_STDERR, "job-1", NULL);
	char *text;

	feed(out, "one\ntw");
	feed(err, "oops\n");
	feed(out, "o\n");
	text = read_file("web.log");
	check_has(text, "Z 0 out one\n");
	check_has(text, "Z 3 err/job-1 oops\n");
	check_has(text, "Z 0 out two\n");
	check_int(text[4], '-');
	free(text);
	output_source_end(out);
	output_source_end(err);
	close_output(o);
}

void
test_tail_filters(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *a = output_source_new(
				 o, 0, CHILD_STDOUT, NULL, NULL),
			     *b = output_source_new(
				 o, 1, CHILD_STDERR, "j", NULL);

	feed(a, "a1\na2\n");
	feed(b, "b1\n");
	feed(a, "a3\n");
	check_tail(o, everything, "a1|a2|b1|a3");
	check_tail(
	    o, (struct output_filter){2, -1, -1, NULL, 0, false}, "b1|a3");
	check_tail(o,
	    (struct output_filter){9, CHILD_STDERR, -1, NULL, 0, false}, "b1");
	check_tail(
	    o, (struct output_filter){9, -1, 0, NULL, 0, false}, "a1|a2|a3");
	check_tail(o, (struct output_filter){9, -1, -1, "j", 0, false}, "b1");
	check_tail(o, (struct output_filter){0, -1, -1, NULL, 0, false}, "");
	output_source_end(a);
	output_source_end(b);
	close_output(o);
}

void
test_last_half_line_is_written_at_the_end(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);

	feed(s, "no newline");
	check_tail(o, everything, "");
	output_source_end(s);
	check_tail(o, everything, "no newline");
	close_output(o);
}

void
test_long_lines_are_split_with_a_mark(void)
{
	struct output *o = open_output("1MB", 1 << 20);
	struct output_source *s;
	char big[200001], *text;
	json_t *lines;

	s = output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	memset(big, 'x', 200000);
	big[200000] = '\0';
	feed(s, big);
	feed(s, "end\n");
	lines = output_tail(o, &everything);
	check_int(json_array_size(lines), 4);
	check(
	    json_is_true(json_object_get(json_array_get(lines, 0), "partial")));
	check(json_object_get(json_array_get(lines, 3), "partial") == NULL);
	check_int(json_string_length(
		      json_object_get(json_array_get(lines, 0), "text")),
	    65536);
	text = read_file("web.log");
	check_has(text, " 0 out+ xxx");
	free(text);
	json_decref(lines);
	output_source_end(s);
	close_output(o);
}

void
test_bytes_are_kept_as_they_came(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	char text[256];
	FILE *f;
	size_t n;

	output_feed(s, "a\0b\xff\n", 5);
	f = fopen("web.log", "r");
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	check(memmem(text, n, "out a\0b\xff\n", 9) != NULL);
	output_source_end(s);
	close_output(o);
}

void
test_files_rotate_before_they_are_too_big(void)
{
	struct output *o = open_output("1000B", 0);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	struct stat st;
	int i;

	for (i = 0; i < 2000; i++)
		feed(s, "0123456789\n");
	check(stat("web.log", &st) == 0 && st.st_size <= 1000);
	check(stat("web.log.1", &st) == 0 && st.st_size <= 1000);
	check(stat("web.log.10", &st) == 0 && st.st_size > 0);
	check(stat("web.log.11", &st) != 0);
	output_source_end(s);
	close_output(o);
}

void
test_ring_is_filled_from_the_file_of_an_earlier_herod(void)
{
	struct output *o = open_output("1MB", 300);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	char *got;
	int i;

	for (i = 0; i < 100; i++)
		feed(s, "old line\n");
	output_source_end(s);
	close_output(o);
	o = open_output("1MB", 300);
	s = output_source_new(o, 1, CHILD_STDOUT, NULL, NULL);
	feed(s, "new line\n");
	got = tail(o, everything);
	check_has(got, "old line|old line|new line");
	check(strncmp(got, "old line|", 9) == 0);
	free(got);
	output_source_end(s);
	close_output(o);
}

void
test_ring_stays_bounded(void)
{
	struct output *o = open_output("0", 1000);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	json_t *lines;
	int i;

	for (i = 0; i < 10000; i++)
		feed(s, "0123456789\n");
	lines = output_tail(o, &everything);
	check(json_array_size(lines) >= 20 && json_array_size(lines) < 60);
	json_decref(lines);
	output_source_end(s);
	close_output(o);
}

/* More than the ring holds in one piece: its last lines are there, whole. */
void
test_ring_keeps_the_last_lines_of_a_flood(void)
{
	struct output *o = open_output("0", 1000);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	struct output_filter last = everything;
	char *flood = xmalloc(6601), *got;
	int i;

	for (i = 0; i < 600; i++)
		memcpy(flood + 11L * i, "0123456789\n", 12);
	feed(s, flood);
	got = tail(o, everything);
	check(strlen(got) > 200 && strncmp(got, "0123456789|", 11) == 0);
	free(got);
	/* One line that is longer is kept, as long as it is not too long. */
	memset(flood, 'x', 1500);
	memcpy(flood + 1500, "\n", 2);
	feed(s, flood);
	last.lines = 1;
	got = tail(o, last);
	check_int(strlen(got), 1500);
	free(got);
	free(flood);
	output_source_end(s);
	close_output(o);
}

static void
say_elsewhere(void *arg, const struct output_line *line)
{
	if (line)
		output_note(arg, 0, "heard %.*s", (int)line->len, line->text);
}

/* Outputs share a buffer, but not what is in it. */
void
test_a_follower_may_write_to_another_output(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output *other = output_new("other", &conf, &home);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	struct output_follower *f = output_follow(o, say_elsewhere, other);

	feed(s, "one\ntwo\n");
	feed(s, "three\n");
	check_tail(o, everything, "one|two|three");
	check_tail(other, everything, "heard one|heard two|heard three");
	output_unfollow(f);
	output_source_end(s);
	output_free(other);
	close_output(o);
}

static void
count_line(void *arg, const struct output_line *line)
{
	if (line == NULL) {
		*(int *)arg += 100;
		return;
	}
	check_int(line->len, 4);
	(*(int *)arg)++;
}

void
test_followers_get_each_new_line_and_the_end(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	struct output_follower *f, *stays;
	int n = 0, m = 0;

	feed(s, "past\n");
	f = output_follow(o, count_line, &n);
	stays = output_follow(o, count_line, &m);
	feed(s, "now1\nnow2\n");
	output_unfollow(f);
	feed(s, "now3\n");
	check_int(n, 2);
	check_int(m, 3);
	output_source_end(s);
	close_output(o);
	check_int(n, 2);
	check_int(m, 103);
	output_unfollow(stays);
}

void
test_full_disk_is_counted_and_healed(void)
{
	struct output *o;
	struct output_source *s;
	const char *why;

	settings_init(runner_settings, &conf);
	free(conf.stdout_logfile);
	conf.stdout_logfile = xstrdup("/dev/full");
	home.files = logfiles_new(the_loop());
	home.spare = output_spare_new();
	o = output_new("web", &conf, &home);
	s = output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	feed(s, "lost\n");
	check(dropped(o, &why) > 0);
	check_str(why, "No space left on device");
	check_tail(o, everything, "lost");
	output_source_end(s);
	close_output(o);
}

void
test_symbolic_links_are_not_followed(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	const char *why;
	struct stat st;

	check(symlink("target", "web.log") == 0);
	feed(s, "x\n");
	check(dropped(o, &why) > 0);
	check(stat("target", &st) != 0);
	output_source_end(s);
	close_output(o);
}

void
test_a_line_torn_by_a_crash_stays_alone(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	char *text;

	write_file("web.log",
	    "2026-11-22T20:33:43.123456Z 0 out old\n"
	    "2026-11-22T20:33:43.123456Z 0 out to");
	feed(s, "new\n");
	check_tail(o, everything, "old|to|new");
	text = read_file("web.log");
	check_has(text, "0 out to\n20");
	check_has(text, "0 out new\n");
	free(text);
	output_source_end(s);
	close_output(o);
}

/* The limit on a file's size stands for a full disk. */
void
test_a_line_torn_by_a_full_disk_stays_alone(void)
{
	struct rlimit small = {.rlim_cur = 60, .rlim_max = RLIM_INFINITY};
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	char *text;

	signal(SIGXFSZ, SIG_IGN);
	feed(s, "one\n");
	setrlimit(RLIMIT_FSIZE, &small);
	feed(s, "two\n");
	small.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &small);
	feed(s, "three\n");
	text = read_file("web.log");
	check_has(text, "0 out three\n");
	check(strchr(strchr(text, '\n') + 1, '\n') != NULL);
	check_int((int)strspn(strchr(strchr(text, '\n') + 1, '\n'), "\n"), 1);
	check(strstr(strchr(text, '\n') + 1, "\n2") != NULL);
	free(text);
	output_source_end(s);
	close_output(o);
}

void
test_a_file_that_cannot_be_rotated_is_used_further(void)
{
	struct output *o = open_output("200", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, NULL);
	char *text;
	int k;

	conf.stdout_logfile_backups = 1;
	output_reconfigure(o, &conf);
	mkdir("web.log.1", 0700);
	for (k = 0; k < 50; k++)
		feed(s, "x\n");
	check_tail(o, (struct output_filter){1, -1, -1, NULL, 0, false}, "x");
	text = read_file("web.log");
	check(strlen(text) > 1000);
	check_int((int)dropped(o, &(const char *){NULL}), 0);
	free(text);
	output_source_end(s);
	close_output(o);
}

/* ---- what is of a job ---- */

void
test_a_source_changes_its_job_between_lines(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDERR, NULL, NULL);

	feed(s, "nobody's\n");
	output_source_job(s, "a");
	feed(s, "of a\nhalf");
	output_source_job(s, "b");
	feed(s, "of b\n");
	output_source_job(s, NULL);
	feed(s, "nobody's again\n");
	output_source_end(s);
	check_tail(
	    o, (struct output_filter){9, -1, -1, "a", 0, false}, "of a|half");
	check_tail(o, (struct output_filter){9, -1, -1, "b", 0, false}, "of b");
	check_tail(o, (struct output_filter){9, -1, -1, "b", 0, true},
	    "nobody's|of b|nobody's again");
	close_output(o);
}

static void
check_words(struct output *o, size_t lines, size_t max, const char *want)
{
	const struct output_filter f = {lines, -1, -1, "a", 0, false};
	char *words = output_last_words(o, &f, max);

	check_str(words ? words : "(none)", want);
	free(words);
}

void
test_last_words_are_the_end_of_what_was_said(void)
{
	struct output *o = open_output("1MB", 65536);
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDERR, "a", NULL);

	check_words(o, 10, 100, "(none)");
	feed(s, "one\ntwo\nthree\n");
	check_words(o, 10, 100, "one\ntwo\nthree");
	check_words(o, 2, 100, "two\nthree");
	check_words(o, 10, 13, "one\ntwo\nthree");
	check_words(o, 10, 11, "e\ntwo\nthree");
	check_words(o, 10, 8, "wo\nthree");
	check_words(o, 10, 3, "ree");
	output_feed(s, "a\0b\n", 4);
	check_words(o, 1, 100, "a b");
	output_source_end(s);
	close_output(o);
}

/* As the herod after one that was killed within the write does it. */
void
test_lines_with_a_note_are_written_once(void)
{
	const struct output_line about = {.stream = CHILD_STDOUT, .job = "a"};
	struct output *o = open_output("1MB", 65536);
	struct progress p = {0}, before;

	output_lines(o, &about, "one\ntwo", 7, &p);
	check_tail(o, everything, "one|two");
	before = p;
	output_lines(o, &about, "one\ntwo", 7, &p);
	check_tail(o, everything, "one|two");
	check(p.time == before.time && p.done == before.done);
	p = (struct progress){0};
	output_lines(o, &about, "", 0, &p);
	check_tail(o, everything, "one|two|");
	close_output(o);
}
