/* Command lines of heroctl: verbs, options and operands told apart. */
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "check.h"
#include "mem.h"

static struct args a;
static struct err e;

/* The arguments keep pointing into the words. */
static int
parse(const char *line)
{
	static char **words;

	strv_free(words);
	words = words_split(line, NULL);
	check(words != NULL);
	args_clear(&a);
	err_clear(&e);
	return args_parse(&a, words, &e);
}

static const char *
given(enum option_home home, const char *name)
{
	const json_t *value = args_option(&a, home, name);
	static char *text;

	check(value != NULL);
	free(text);
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	return text;
}

void
test_verbs_have_one_word_or_two(void)
{
	check_int(parse("job show x"), 0);
	check_str(a.verb.name, "job show");
	check_str(a.operands[0], "x");
	check_int(parse("jobs"), 0);
	check_str(a.verb.name, "jobs");
	check_int(a.noperands, 0);
}

void
test_options_stand_anywhere(void)
{
	check_int(parse("--json logs -fn5 web --stream stderr -q"), 0);
	check_str(given(OPTION_GLOBAL, "json"), "true");
	check_str(given(OPTION_VERB, "follow"), "true");
	check_str(given(OPTION_PARAM, "lines"), "5");
	check_str(given(OPTION_PARAM, "stream"), "\"stderr\"");
	check_str(given(OPTION_GLOBAL, "quiet"), "true");
	check_int(a.noperands, 1);
	check_int(parse("tail -20 web"), 0);
	check_str(given(OPTION_PARAM, "lines"), "20");
}

void
test_truths_have_many_forms(void)
{
	check_int(parse("start --no-wait web"), 0);
	check_str(given(OPTION_PARAM, "wait"), "false");
	check_int(parse("start --wait=false web"), 0);
	check_str(given(OPTION_PARAM, "wait"), "false");
	check_int(parse("start --wait web"), 0);
	check_str(given(OPTION_PARAM, "wait"), "true");
	check_str(a.operands[0], "web");
	check_int(parse("add-runner x --autostart false -- true"), 0);
	check_str(given(OPTION_SETTING, "autostart"), "false");
}

void
test_values_are_checked_by_their_kind(void)
{
	check_int(parse("start --timeout 1h30m web"), 0);
	check_str(given(OPTION_PARAM, "timeout"), "5400.0");
	check_int(parse("start --timeout soon web"), -1);
	check_has(e.text, "--timeout: 'soon' is not a duration");
	check_int(parse("logs --lines=-1 web"), -1);
	check_int(parse("logs --lines"), -1);
	check_has(e.text, "missing");
	check_int(parse("queue up --caller-id \xff"), -1);
	check_has(e.text, "UTF-8");
}

void
test_a_runners_command_keeps_its_options(void)
{
	check_int(parse("add-runner up --stop-waitsecs 3"), -1);
	check_has(e.hint, "--stopwaitsecs");
	check_int(parse("add-runner up --stdout-logfile NONE -- tr -d x"), 0);
	check_str(given(OPTION_SETTING, "stdout_logfile"), "\"NONE\"");
	check_str(a.command[0], "tr");
	check_str(a.command[1], "-d");
	check_int(parse("add-runner up tr --json x"), 0);
	check_str(a.command[1], "--json");
	check(args_option(&a, OPTION_GLOBAL, "json") == NULL);
}

void
test_behind_two_dashes_nothing_is_an_option(void)
{
	check_int(parse("run up -- --json"), 0);
	check_int(a.noperands, 2);
	check_str(a.operands[1], "--json");
	check_int(parse("run up -"), 0);
	check_str(a.operands[1], "-");
}

/* job.run and the job have a timeout each: behind the verb it is the job's,
 * before it heroctl's, and call.c hands that on to job.run. */
void
test_the_jobs_timeout_stands_behind_the_verb(void)
{
	check_int(parse("--timeout 9 run --timeout 5 up"), 0);
	check_str(given(OPTION_GLOBAL, "timeout"), "9.0");
	check_str(given(OPTION_SETTING, "timeout"), "5.0");
	check(args_option(&a, OPTION_PARAM, "timeout") == NULL);
}

void
test_typos_are_refused_with_the_nearest(void)
{
	check_int(parse("statsu"), -1);
	check_has(e.hint, "status");
	check_int(parse("job shwo"), -1);
	check_has(e.hint, "job show");
	check_int(parse("job"), -1);
	check_has(e.hint, "job cancel");
	check_int(parse("start --wiat web"), -1);
	check_has(e.hint, "--wait");
	check_int(parse("start -x web"), -1);
	check_int(parse("--nonsense"), -1);
}

void
test_operands_are_counted(void)
{
	check_int(parse("check a b"), 0);
	check_int(args_count(&a, 1, 1, &e), -1);
	check_has(e.hint, "heroctl check FILE");
	check_int(args_count(&a, 0, 2, NULL), 0);
}

void
test_every_verb_is_found_by_its_name(void)
{
	struct verb verbs[VERBS_MAX], found;
	size_t i, n = verbs_list(verbs), words;
	char name[64], *list[3], *rest;

	check(n > 20);
	for (i = 0; i < n; i++) {
		check(i == 0 || strcmp(verbs[i - 1].name, verbs[i].name) < 0);
		rest = strcpy(name, verbs[i].name);
		list[0] = strsep(&rest, " ");
		list[1] = rest;
		list[2] = NULL;
		check(verb_find(list, &found, &words));
		check_str(found.name, verbs[i].name);
		check_int(words, rest ? 2 : 1);
	}
}
