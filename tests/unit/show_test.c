/* What heroctl prints for each shape of result. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "heroctl.h"
#include "columns.h"

#define WEB \
	"{\"name\":\"web\",\"state\":\"RUNNING\",\"wanted\":\"up\"," \
	"\"pid\":71,\"uptime\":3725.5,\"restarts\":2,\"queue\":null," \
	"\"why\":\"started\",\"instances\":[" \
	"{\"n\":0,\"state\":\"RUNNING\",\"pid\":71,\"uptime\":5," \
	"\"restarts\":2,\"why\":\"\"}," \
	"{\"n\":1,\"state\":\"RUNNING\",\"pid\":72,\"uptime\":5," \
	"\"restarts\":0,\"why\":\"\"}]}"
#define UP \
	"{\"name\":\"up\",\"state\":\"FATAL\",\"wanted\":\"up\"," \
	"\"pid\":null,\"uptime\":0,\"restarts\":0," \
	"\"queue\":{\"name\":\"up\",\"depth\":null,\"running\":1}," \
	"\"why\":\"exit 3\\u001b[31m\\tbad\",\"instances\":[]}"

static enum status last;

static struct ctl
plain(void)
{
	return (struct ctl){.format = FORMAT_PLAIN};
}

/* What show_result() writes, until the next call. */
static const char *
shown(struct ctl ctl, const char *shape, const char *json)
{
	json_t *result = json_loads(json, JSON_DECODE_ANY, NULL);
	static char *text;
	size_t size;

	check(result != NULL);
	free(text);
	ctl.out = open_memstream(&text, &size);
	last = show_result(&ctl, shape, result);
	fclose(ctl.out);
	json_decref(result);
	return text;
}

void
test_plain_runners_are_tab_separated(void)
{
	check_str(shown(plain(), "[RunnerStatus]", "[" WEB "]"),
	    "web\tRUNNING\t71\t1h2m\t2\t-\tstarted\n");
	check_int(last, STATUS_DONE);
}

void
test_a_reload_that_changes_nothing_says_so_to_people(void)
{
	static const char nothing[] = "{\"added\":[],\"removed\":[],"
				      "\"changed\":{},\"refused\":[]}";
	struct ctl people = {.format = FORMAT_TABLE};

	check_str(shown(people, "Reloaded", nothing), "nothing has changed\n");
	check_str(shown(plain(), "Reloaded", nothing), "");
}

void
test_an_unknown_depth_is_a_question_mark(void)
{
	check_has(shown(plain(), "[RunnerStatus]", "[" UP "]"), "\t?/1\t");
}

void
test_why_no_job_begins_stands_before_why_it_is_up(void)
{
	check_str(
	    shown(plain(), "[RunnerStatus]",
		"[{\"name\":\"w\",\"state\":\"RUNNING\",\"wanted\":\"up\","
		"\"pid\":null,\"uptime\":0,\"restarts\":0,\"queue\":"
		"{\"name\":\"w\",\"depth\":2,\"running\":1,"
		"\"held\":\"load 7.31 is above max_load 4\"},"
		"\"why\":\"ready for a job\",\"instances\":[]}]"),
	    "w\tRUNNING\t-\t-\t0\t2/1\theld: load 7.31 is above max_load 4\n");
}

void
test_controls_never_reach_the_terminal(void)
{
	const char *out = shown(plain(), "[RunnerStatus]", "[" UP "]");
	char *text = text_without_controls("a\033b\x7f\xc2\x9b\xc3\xbc\xc2");

	check(strchr(out, '\033') == NULL);
	check_has(out, "exit 3 [31m bad\n");
	check_str(text, "a b   \xc3\xbc\xc2");
	free(text);
}

void
test_a_fatal_runner_is_a_failure_in_every_format(void)
{
	struct ctl json = {.format = FORMAT_JSON};

	shown(plain(), "RunnerStatus", UP);
	check_int(last, STATUS_REFUSED);
	shown(json, "RunnerStatus", UP);
	check_int(last, STATUS_REFUSED);
	shown(json, "RunnerStatus", WEB);
	check_int(last, STATUS_DONE);
}

void
test_tables_are_aligned_without_blanks_at_line_ends(void)
{
	struct ctl ctl = {.format = FORMAT_TABLE};

	check_str(shown(ctl, "[RunnerChange]",
		      "[{\"name\":\"\xc3\xbc\",\"ok\":true,\"state\":"
		      "\"RUNNING\",\"why\":\"\"},{\"name\":\"longer\","
		      "\"ok\":true,\"state\":\"STOPPED\",\"why\":\"x\"}]"),
	    "NAME    STATE    WHY\n"
	    "\xc3\xbc       RUNNING  -\n"
	    "longer  STOPPED  x\n");
}

void
test_states_have_colours_only_when_asked(void)
{
	struct ctl ctl = {.format = FORMAT_TABLE, .colour = true};

	check_has(shown(ctl, "[RunnerStatus]", "[" WEB "]"),
	    "\033[32mRUNNING\033[0m");
	check_has(
	    shown(ctl, "[RunnerStatus]", "[" UP "]"), "\033[31mFATAL\033[0m");
	ctl.colour = false;
	check(
	    strchr(shown(ctl, "[RunnerStatus]", "[" WEB "]"), '\033') == NULL);
}

void
test_a_change_that_failed_is_a_failure(void)
{
	shown(plain(), "[RunnerChange]",
	    "[{\"name\":\"a\",\"ok\":true,\"state\":\"RUNNING\",\"why\":\"\"},"
	    "{\"name\":\"b\",\"ok\":false,\"state\":\"FATAL\",\"why\":\"x\"}]");
	check_int(last, STATUS_REFUSED);
}

void
test_a_jobs_result_ends_with_a_newline(void)
{
	struct ctl ctl = plain();

	check_str(
	    shown(ctl, "JobOutcome", "{\"success\":\"a\\tb\"}"), "a\tb\n");
	check_int(last, STATUS_DONE);
	check_str(shown(ctl, "JobOutcome", "{\"success\":\"a\"}"), "a\n");
	check_str(shown(ctl, "JobOutcome", "{\"success\":\"a\\n\"}"), "a\n");
	check_str(shown(ctl, "JobOutcome", "{\"success\":\"\"}"), "");
	shown(ctl, "JobOutcome", "{\"error\":\"exit 3\"}");
	check_int(last, STATUS_JOB_FAILED);
}

void
test_json_is_the_result_itself(void)
{
	struct ctl ctl = {.format = FORMAT_JSON};

	check_str(shown(ctl, "[string]", "[\"a\",1.5]"), "[\"a\",1.5]\n");
	ctl.tty = true;
	check_str(shown(ctl, "Version", "{\"a\":1}"), "{\n  \"a\": 1\n}\n");
}

void
test_quiet_prints_nothing(void)
{
	struct ctl ctl = {.format = FORMAT_PLAIN, .quiet = true};

	check_str(shown(ctl, "[RunnerStatus]", "[" WEB "]"), "");
	check_str(shown(ctl, "string", "\"pong\""), "");
	check_str(shown(ctl, "JobOutcome", "{\"success\":\"a\"}"), "");
}

void
test_objects_are_a_line_for_each_member(void)
{
	check_str(shown(plain(), "Summary",
		      "{\"herod\":{\"pid\":1,\"uptime\":2.5},"
		      "\"queues\":{\"up\":{\"depth\":0}},\"jobs\":null}"),
	    "herod\tpid 1, uptime 2.5s\nqueues\tup (depth 0)\njobs\t-\n");
}

static const char *
line_shown(struct ctl ctl, const char *json, struct line_style style)
{
	json_t *line = json_loads(json, 0, NULL);
	static char *text;
	size_t size;

	free(text);
	ctl.out = open_memstream(&text, &size);
	show_log_line(&ctl, line, &style);
	fclose(ctl.out);
	json_decref(line);
	return text;
}

#define LINE \
	"{\"time\":\"2026-11-22T20:33:43.123456Z\",\"runner\":\"it\"," \
	"\"instance\":1,\"stream\":\"stderr\",\"text\":\"hm\",\"partial\":%s}"

void
test_a_log_line_has_its_time_or_is_raw(void)
{
	struct ctl table = {.format = FORMAT_TABLE};
	struct line_style style = {.name = true}, raw = {.raw = true};
	char line[256], part[256];

	snprintf(line, sizeof(line), LINE, "false");
	snprintf(part, sizeof(part), LINE, "true");
	check_str(line_shown(plain(), line, style),
	    "2026-11-22T20:33:43.123456Z\tit:1\tstderr\thm\n");
	check_str(line_shown(table, line, style), "20:33:43.123 it:1 ! hm\n");
	check_str(line_shown(table, line, raw), "hm\n");
	check_str(line_shown(table, part, raw), "hm");
}
