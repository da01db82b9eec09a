/* The configuration file: read whole, or refused with every mistake. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "conf.h"
#include "mem.h"

/* The conf of a text in ./herod.conf; errors joined by newlines. */
static struct conf *
load(const char *text, char **why)
{
	char **errors = NULL, **e, *joined = xstrdup(""), *next;
	struct conf *c;

	write_file("herod.conf", text);
	c = conf_load("herod.conf", NULL, &errors);
	for (e = errors; e && *e; e++) {
		next = xasprintf("%s%s\n", joined, *e);
		free(joined);
		joined = next;
	}
	strv_free(errors);
	*why = joined;
	return c;
}

static struct conf *
load_well(const char *text)
{
	char *why;
	struct conf *c = load(text, &why);

	check_str(why, "");
	free(why);
	return c;
}

static char *
load_badly(const char *text)
{
	char *why;

	check(load(text, &why) == NULL);
	return why;
}

void
test_no_file_is_a_configuration(void)
{
	char **errors = NULL;
	struct conf *c = conf_load(NULL, NULL, &errors);

	check(c != NULL && errors == NULL);
	check_int(c->nrunners, 0);
	check(c->default_listen);
	check_int(strv_count(c->daemon.listen), 3);
	check(c->daemon.state_dir != NULL && c->daemon.node != NULL);
	conf_free(c);
}

void
test_sections_become_settings(void)
{
	struct conf *c = load_well("; a comment\n"
				   "[herod]\n"
				   "state_dir = /tmp/x\n"
				   "max_request = 2MiB ; inline\n"
				   "[defaults]\n"
				   "startsecs = 3\n"
				   "[runner:web]\n"
				   "command = sh -c \"a ; b\"\n"
				   "[runner:job]\n"
				   "kind = exec\n"
				   "command = wc -w\n"
				   "startsecs: 4\n");

	check_str(c->daemon.state_dir, "/tmp/x");
	check_int(c->daemon.max_request, 2 * 1024 * 1024);
	check_int(c->nrunners, 2);
	check_str(c->runners[0].name, "web");
	check_str(c->runners[0].origin, "herod.conf:8");
	check_str(c->runners[0].settings.command[2], "a ; b");
	check(c->runners[0].settings.startsecs == 3);
	check(c->runners[1].settings.startsecs == 4);
	conf_free(c);
}

void
test_schedules_have_times_and_settings_of_jobs(void)
{
	struct conf *c = load_well("[schedule:s]\n"
				   "cron = */5 8-18 * * mon-fri\n"
				   "timezone = Europe/Berlin\n"
				   "runner = job\n"
				   "[runner:job]\n"
				   "kind = exec\n"
				   "command = wc -w\n"
				   "[schedule:t]\n"
				   "runner = job\n"
				   "every = 1h30m\n"
				   "overlap = replace\n"
				   "retries = 2\n"
				   "payload = one\n"
				   "  two\n"
				   "env_vars = A=1,B=\"x y\"\n");
	const struct schedule_conf *s;

	check_int(c->nschedules, 2);
	check_str(c->schedules[0].name, "s");
	check_str(c->schedules[0].origin, "herod.conf:2");
	s = &c->schedules[0].settings;
	check_str(s->cron, "*/5 8-18 * * mon-fri");
	check_str(s->timezone, "Europe/Berlin");
	check_int(s->overlap, OVERLAP_ALLOW);
	check(s->enabled && !s->persistent);
	check_int(s->job.retries, -1);
	s = &c->schedules[1].settings;
	check(s->every == 5400);
	check_int(s->overlap, OVERLAP_REPLACE);
	check_int(s->job.retries, 2);
	check_str(s->job.payload, "one\ntwo");
	check_str(s->job.env_vars[1], "B=x y");
	conf_free(c);
}

void
test_all_mistakes_are_told_at_once(void)
{
	char *why = load_badly("stray = 1\n"
			       "[herod]\n"
			       "max_requst = 5\n"
			       "what is this\n"
			       "[runner:a/b]\n"
			       "command = x\n"
			       "[runner:web]\n"
			       "startsecs = soon\n"
			       "[runer:web]\n"
			       "x = y\n"
			       "nor this\n");

	check_has(why, "herod.conf:1: stray: stands before any section");
	check_has(why,
	    "herod.conf:3: max_requst: there is no such setting "
	    "(did you mean max_request?)");
	check_has(why, "herod.conf:4: 'what is this' is neither [section]");
	check_has(why, "herod.conf:6: [runner:a/b]: 'a/b' is not a name");
	check_has(why, "herod.conf:8: startsecs: 'soon' is not a duration");
	check_has(why, "herod.conf:8: runner web: command is missing");
	check_has(why, "herod.conf:10: [runer:web]: there is no such section");
	check_has(why, "herod.conf:11: 'nor this' is neither");
	free(why);
}

void
test_a_bad_log_level_is_told_with_its_line(void)
{
	char *why = load_badly("[herod]\nnode = box\nlog_level = a=loud\n");

	check_str(why,
	    "herod.conf:3: log level: 'loud' is not error, warn, info, debug "
	    "or trace\n");
	free(why);
}

void
test_sections_without_settings_are_seen(void)
{
	char *why = load_badly("[runner:web]\n"
			       "[runer:a]\n"
			       "; nothing\n"
			       "[runner:a/b]\n"
			       "[herod]\n"
			       "[runner:c]\n"
			       "command = 'x\n"
			       "[runner:d]\n"
			       "command = x\n"
			       "  [y]\n");

	check_has(why, "herod.conf:1: runner web: command is missing");
	check_has(why, "herod.conf:2: [runer:a]: there is no such section");
	check_has(why, "herod.conf:4: [runner:a/b]: 'a/b' is not a name");
	check_has(why, "herod.conf:7: command: a quote is not closed");
	check(strstr(why, "runner c: command is missing") == NULL);
	check(strstr(why, "[y]") == NULL);
	free(why);
}

void
test_sections_may_stand_twice(void)
{
	struct conf *c = load_well("[runner:a]\n[herod]\n[runner:a]\n"
				   "command = x\n[defaults]\n[runner:a]\n");

	check_int((long long)c->nrunners, 1);
	check_str(c->runners[0].settings.command[0], "x");
	conf_free(c);
}

void
test_settings_are_set_once(void)
{
	char *why = load_badly("[herod]\nnode = a\n[runner:x]\n"
			       "command = a\n[herod]\nnode = b\n");

	check_has(why,
	    "herod.conf:6: node: set before in [herod], at "
	    "herod.conf:2");
	free(why);
}

/* They would be words of the command. */
void
test_settings_that_are_indented_are_not_swallowed(void)
{
	char *why = load_badly("[runner:x]\n  command = a\n  numprocs = 2\n"
			       "[herod]\n\tnode = b\n\tspool=true\n");

	check_has(why,
	    "herod.conf:2: command: the line 'numprocs = ...' behind it "
	    "begins with a blank");
	check_has(why, "herod.conf:5: node: the line 'spool = ...'");
	free(why);
	conf_free(load_well("[runner:x]\ncommand = sh -c '\n user=a\n b = 1'\n"
			    "environment = A=b,\n  user=c\n"));
}

void
test_long_lines_arrive_whole(void)
{
	char word[64], *line = xstrdup("[runner:x]\ncommand = echo"), *next;
	struct conf *c;
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(word, sizeof(word), " word%d 'two  %d'", i, i);
		next = xasprintf("%s%s", line, word);
		free(line);
		line = next;
	}
	c = load_well(line);
	check_int(strv_count(c->runners[0].settings.command), 201);
	check_str(c->runners[0].settings.command[199], "word99");
	check_str(c->runners[0].settings.command[200], "two  99");
	conf_free(c);
	free(line);
}

void
test_long_names_arrive_whole(void)
{
	struct conf *c = load_well(
	    "[runner:a123456789b123456789c123456789d123456789e123456789f123]\n"
	    "command = x\n");

	check_str(c->runners[0].name,
	    "a123456789b123456789c123456789d123456789e123456789f123");
	conf_free(c);
}

void
test_indented_lines_go_on(void)
{
	struct conf *c = load_well("[runner:x]\n"
				   "command = sh -c\n"
				   "  'echo hello'\n"
				   "environment = A=1,\n"
				   "\tB=2\n");

	check_str(c->runners[0].settings.command[2], "echo hello");
	check_str(c->runners[0].settings.environment[1], "B=2");
	conf_free(c);
}

void
test_variables_are_put_in_place(void)
{
	struct conf *c;
	char *why;

	setenv("WHERE", "/srv", 1);
	unsetenv("NOWHERE");
	c = load_well(
	    "[runner:x]\n"
	    "command = ${WHERE}/x ${NOWHERE:-none} $${WHERE} $HOME\n");
	check_str(c->runners[0].settings.command[0], "/srv/x");
	check_str(c->runners[0].settings.command[1], "none");
	check_str(c->runners[0].settings.command[2], "${WHERE}");
	check_str(c->runners[0].settings.command[3], "$HOME");
	conf_free(c);
	why = load_badly("[runner:x]\ncommand = ${NOWHERE}\n");
	check_has(why, "herod.conf:2: ${NOWHERE}: no such environment");
	free(why);
}

void
test_include_reads_files_beside(void)
{
	struct conf *c;
	char *why;

	write_file("a.inc", "[runner:a]\ncommand = x\n");
	write_file("b.inc", "[runner:b]\ncommand = y\nstartsecs = soon\n");
	c = load_well("[herod]\ninclude = a*.inc\ninclude = z*.inc\n");
	check_str(c->runners[0].name, "a");
	check_has(c->runners[0].origin, "a.inc:2");
	conf_free(c);
	c = load_well("include = a*.inc\ninclude = z*.inc\n[herod]\n");
	check_str(c->runners[0].name, "a");
	conf_free(c);
	why = load_badly("[defaults]\ninclude = a.inc\n");
	check_has(why, "include: there is no such setting");
	check(strstr(why, "a.inc") == NULL);
	free(why);
	why = load_badly("[herod]\ninclude = b.inc\n");
	check_has(why, "b.inc:3: startsecs");
	free(why);
	why = load_badly("[herod]\ninclude = nothing.inc\n");
	check_has(why, "nothing.inc: there is no such file");
	free(why);
	write_file("self.inc", "[herod]\ninclude = self.inc\n");
	why = load_badly("[herod]\ninclude = self.inc\n");
	check_has(why, "self.inc: include: it includes itself");
	free(why);
	write_file("one.inc", "include = two.inc\ninclude = two.inc\n");
	write_file("two.inc", "include = one.inc\n");
	why = load_badly("include = one.inc\n");
	check_has(why, "one.inc: include: it includes itself");
	free(why);
}

void
test_includes_go_eight_files_deep(void)
{
	char *why, *name, *line;
	int i;

	for (i = 0; i < 9; i++) {
		name = xasprintf("deep%d.inc", i);
		line = xasprintf("include = deep%d.inc\n", i + 1);
		write_file(name, line);
		free(name);
		free(line);
	}
	why = load_badly("include = deep0.inc\n");
	check_has(why, "deep7.inc:1: include: more than 8 files deep");
	free(why);
}

/* A wildcard may find a log or a core file. */
void
test_a_file_too_large_for_a_configuration_is_not_read(void)
{
	char *large = xmalloc((1 << 20) + 2), *why;

	memset(large, '#', (1 << 20) + 1);
	large[(1 << 20) + 1] = '\0';
	write_file("large.inc", large);
	free(large);
	why = load_badly("include = l*.inc\n");
	check_has(why, "large.inc: cannot read: 1048577 bytes, more than");
	free(why);
}

void
test_hero_s_own_address_is_read(void)
{
	struct conf *c =
	    load_well("[herod]\nbind_address = 127.0.0.1\nport = 4040\n");
	char *why;

	check_str(c->daemon.listen[0], "tcp:127.0.0.1:4040");
	check_has(c->daemon.listen[1], "unix:");
	conf_free(c);
	why = load_badly("[herod]\nport = 1\nlisten = unix:/tmp/x\n");
	check_has(why, "listen is set too");
	free(why);
}

void
test_overrides_win_over_the_file(void)
{
	json_t *overrides = json_pack("{s:s}", "node", "argv");
	char **errors = NULL;
	struct conf *c;

	write_file("herod.conf", "[herod]\nnode = file\nnamespace = n\n");
	c = conf_load("herod.conf", overrides, &errors);
	check_str(c->daemon.node, "argv");
	check_str(c->daemon.namespace, "n");
	conf_free(c);
	json_decref(overrides);
}

void
test_what_cannot_be_read_is_told(void)
{
	char **errors = NULL;

	check(conf_load("/nonexistent/herod.conf", NULL, &errors) == NULL);
	check_has(
	    errors[0], "/nonexistent/herod.conf: cannot read: No such file");
	strv_free(errors);
}

void
test_odd_combinations_are_refused(void)
{
	char *why = load_badly("[runner:a]\ncommand = x\nqueue = q\n"
			       "[runner:b]\ncommand = x\nconcurrency = 2\n"
			       "[runner:c]\nkind = exec\ncommand = x\n"
			       "numprocs = 500\nconcurrency = 500\n");

	check_has(why, "runner a: queue is for kind exec, stdio or redis");
	check_has(
	    why, "runner b: concurrency is for kind exec, stdio or redis");
	check_has(why, "runner c: numprocs times concurrency is 250000");
	free(why);
}
