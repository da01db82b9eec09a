/*
 * herod-tables: the chapters of the manuals and the sample configuration
 * that are nothing but tables.  Built, used and not installed.
 *
 *	herod-tables CHAPTER	prints one
 *	herod-tables fill	copies stdin; a line @CHAPTER@ becomes that
 *				chapter
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "method.h"
#include "settings.h"
#include "verb.h"

/* ---- mdoc(7) ---- */

/* Backslashes, and a minus that belongs to a number or option. */
static void
put_char(const char *s, const char *begin)
{
	if (*s == '\\')
		fputs("\\e", stdout);
	else if (*s == '-' && (s == begin || s[-1] == ' ' || s[-1] == '-'))
		fputs("\\-", stdout);
	else
		putchar(*s);
}

static bool
ends_sentence(const char *s)
{
	return (*s == '.' || *s == '?') && s[1] == ' ' &&
	    isupper((unsigned char)s[2]);
}

/* Text that is no macro: a sentence a line, the last one ended. */
static void
put_text(const char *text)
{
	const char *s, *line = text;
	char last = text[strlen(text) - 1];

	for (s = text; *s; s++) {
		if (s == line && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		put_char(s, line);
		if (ends_sentence(s)) {
			putchar('\n');
			line = ++s + 1;
		}
	}
	puts(last == '.' || last == '?' ? "" : ".");
}

/* An argument of a macro, whatever is in it. */
static void
put_argument(const char *text)
{
	const char *s;

	fputs(" \"\\&", stdout);
	for (s = text; *s; s++)
		if (*s == '"')
			fputs("\\(dq", stdout);
		else
			put_char(s, text);
	putchar('"');
}

/* What a value must be: "choice: a, b or c", "count, 1..100". */
static void
put_kind(const struct kind *k)
{
	char words[256];

	if (k->type == TYPE_ENUM) {
		option_value_text(k, words, sizeof(words));
		fputs(".Pq", stdout);
		put_argument(words);
		putchar('\n');
		return;
	}
	printf(".Pq %s%s%s\n", type_name(k->type), k->limits ? ", " : "",
	    k->limits ? k->limits : "");
}

static void
put_default(const char *fallback)
{
	if (fallback == NULL || *fallback == '\0')
		return;
	fputs("Default:\n.Ql", stdout);
	put_argument(fallback);
	fputs(" .\n", stdout);
}

/* ---- settings ---- */

/* restart: what is to be said of those that do not change live, or NULL. */
static void
put_setting(const struct setting *s, const char *restart)
{
	printf(".It Ic %s\n", s->name);
	put_kind(&s->kind);
	put_text(s->meaning);
	put_default(s->fallback);
	if (restart && s->apply == RESTART)
		put_text(restart);
}

static void
put_settings(const struct setting *table, const char *restart)
{
	bool begun = false;

	for (; table->name; table++) {
		if (!setting_is_group(table)) {
			put_setting(table, restart);
			continue;
		}
		printf("%s.Ss %s\n.Bl -tag -width Ds\n", begun ? ".El\n" : "",
		    table->group);
		begun = true;
	}
	fputs(".El\n", stdout);
}

static void
runner_chapter(void)
{
	put_settings(runner_settings, "A change starts the processes again.");
}

static void
daemon_chapter(void)
{
	put_settings(daemon_settings, "A change needs a new start of herod.");
}

static void
job_chapter(void)
{
	put_settings(job_settings, NULL);
}

static void
schedule_chapter(void)
{
	put_settings(schedule_settings, NULL);
}

/* ---- verbs ---- */

static void
put_option(const struct option *o)
{
	char name[64], value[200], letter = option_letter(o->name);

	fputs(".It", stdout);
	if (letter)
		printf(" Fl %c ,", letter);
	printf(" Fl \\-%s", option_text(o->name, name, sizeof(name)));
	if (option_is_on(o))
		printf(" , \\-no-%s", name);
	if (o->kind.type != TYPE_BOOL) {
		fputs(" Ar", stdout);
		put_argument(option_value_text(&o->kind, value, sizeof(value)));
	}
	putchar('\n');
	put_text(o->meaning);
	if (o->kind.type != TYPE_BOOL)
		put_default(o->fallback);
	else if (option_is_on(o))
		fputs("This is the default.\n", stdout);
}

static void
put_options(const struct verb *v)
{
	struct option o;
	size_t i, n = 0;

	for (i = 0; verb_option(v, i, &o); i++) {
		if (o.home == OPTION_SETTING)
			continue;
		if (n++ == 0)
			fputs(".Bl -tag -width Ds\n", stdout);
		put_option(&o);
	}
	if (n > 0)
		fputs(".El\n", stdout);
}

static void
put_verb(const struct verb *v)
{
	char operands[128];

	printf(".It Ic %s", v->name);
	if (*verb_operands(v, operands, sizeof(operands))) {
		fputs(" Ar", stdout);
		put_argument(operands);
	}
	putchar('\n');
	put_text(v->summary);
	if (*v->more) {
		fputs(".Pp\n", stdout);
		put_text(v->more);
	}
	put_options(v);
}

static void
verb_chapter(void)
{
	struct verb verbs[VERBS_MAX];
	size_t i, n = verbs_list(verbs);

	fputs(".Bl -tag -width Ds\n", stdout);
	for (i = 0; i < n; i++)
		put_verb(&verbs[i]);
	fputs(".El\n", stdout);
}

static void
option_chapter(void)
{
	put_options(NULL);
}

/* ---- methods and errors ---- */

static void
put_param(const struct param *p)
{
	printf(".It Ar %s\n", p->name);
	put_kind(&p->kind);
	put_text(p->meaning);
	if (p->required)
		fputs("Required.\n", stdout);
	put_default(p->fallback);
}

static void
put_errors(const char *names)
{
	const char *s;

	if (!*names)
		return;
	fputs("Errors:\n.Er ", stdout);
	for (s = names; *s; s++)
		fputs(*s == ' ' ? " ,\n.Er " : (char[]){*s, '\0'}, stdout);
	fputs(" .\n", stdout);
}

static void
put_method(const struct method *m)
{
	const struct param *p;

	printf(".It Ic %s\n", m->name);
	put_text(m->summary);
	printf("Scope:\n.Cm %s .\n", scope_name(m->scope));
	fputs("Result:", stdout);
	fputs("\n.Vt", stdout);
	put_argument(m->result);
	fputs(" .\n", stdout);
	put_errors(m->errors);
	if (m->params->name == NULL)
		return;
	fputs(".Bl -tag -width Ds\n", stdout);
	for (p = m->params; p->name; p++)
		put_param(p);
	fputs(".El\n", stdout);
}

static void
method_chapter(void)
{
	size_t i;

	fputs(".Bl -tag -width Ds\n", stdout);
	for (i = 0; i < METHOD_COUNT; i++)
		put_method(&methods[i]);
	fputs(".El\n", stdout);
}

static void
error_chapter(void)
{
	const struct err_row *row;
	enum err_code code;

	fputs(".Bl -tag -width Ds\n", stdout);
	for (code = 1; code < ERR_COUNT; code++) {
		row = err_row(code);
		printf(".It Er \\-%d %s\n", -row->number, row->name);
		put_text(row->meaning);
		if (row->retryable)
			fputs("The same call may succeed later.\n", stdout);
	}
	fputs(".El\n", stdout);
}

static void
topic_chapter(void)
{
	const struct topic *t;

	fputs(".Bl -tag -width Ds\n", stdout);
	for (t = topic_rows; t->name; t++) {
		printf(".It Ic %s", t->name);
		if (t->of)
			printf(" , %s. Ns Ar %s", t->name, t->of);
		putchar('\n');
		put_text(t->meaning);
		printf("Needs the scope\n.Cm %s .\n", scope_name(t->scope));
	}
	fputs(".El\n", stdout);
}

/* ---- the sample configuration ---- */

#define COMMENT_WIDTH 76

static void
put_comment(const char *text)
{
	size_t len;

	while (strlen(text) > COMMENT_WIDTH) {
		for (len = COMMENT_WIDTH; text[len] != ' '; len--)
			;
		printf("# %.*s\n", (int)len, text);
		text += len + 1;
	}
	printf("# %s\n", text);
}

static void
sample_settings(const struct setting *s)
{
	for (; s->name; s++) {
		if (setting_is_group(s)) {
			printf("\n# ---- %s ----\n", s->group);
			continue;
		}
		putchar('\n');
		put_comment(s->meaning);
		printf("#%s =%s%s\n", s->name,
		    s->fallback && *s->fallback ? " " : "",
		    s->fallback ? s->fallback : "");
	}
}

static void
sample_chapter(void)
{
	fputs("# Sample configuration of herod, see herod.conf(5): every "
	      "setting with its\n# meaning and default.  Made from herod's "
	      "tables by herod-tables sample.\n\n"
	      "# Further files:\n#include = /etc/herod.d/*.conf\n\n"
	      "# ======== herod itself ========\n\n[herod]\n",
	    stdout);
	sample_settings(daemon_settings);
	fputs("\n# ======== what every runner starts from ========\n\n"
	      "[defaults]\n",
	    stdout);
	sample_settings(runner_settings);
	fputs("\n# ======== runners ========\n\n"
	      "# A daemon:\n#[runner:web]\n"
	      "#command = /usr/bin/python3 -m http.server 8000\n"
	      "#directory = /srv/www\n\n"
	      "# A program for jobs: heroctl run upper hello\n"
	      "#[runner:upper]\n#kind = exec\n#command = tr a-z A-Z\n"
	      "\n# ======== schedules ========\n\n"
	      "# A job each night, one at a time:\n#[schedule:nightly]\n"
	      "#runner = upper\n#cron = 30 4 * * *\n"
	      "#timezone = Europe/Berlin\n#overlap = forbid\n"
	      "#payload = good night\n"
	      "\n# Settings of [schedule:NAME]:\n",
	    stdout);
	sample_settings(schedule_settings);
}

/* ---- the OpenRPC document ---- */

static void
openrpc_chapter(void)
{
	json_t *document = method_openrpc(PACKAGE_VERSION);

	json_dumpf(document, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII);
	fputc('\n', stdout);
	json_decref(document);
}

/* ---- main ---- */

static const struct chapter {
	const char *name;
	void (*print)(void);
} chapters[] = {{"runner-settings", runner_chapter},
    {"daemon-settings", daemon_chapter}, {"job-settings", job_chapter},
    {"schedule-settings", schedule_chapter}, {"verbs", verb_chapter},
    {"options", option_chapter}, {"methods", method_chapter},
    {"errors", error_chapter}, {"topics", topic_chapter},
    {"sample", sample_chapter}, {"openrpc", openrpc_chapter}, {NULL, NULL}};

static const struct chapter *
chapter_find(const char *name, size_t len)
{
	const struct chapter *c;

	for (c = chapters; c->name; c++)
		if (strncmp(c->name, name, len) == 0 && c->name[len] == '\0')
			return c;
	return NULL;
}

/* Copies stdin; false when it asks for what there is not. */
static bool
fill(void)
{
	const struct chapter *c;
	char line[1024];
	size_t len;

	while (fgets(line, sizeof(line), stdin)) {
		len = strcspn(line, "\n");
		if (len < 3 || line[0] != '@' || line[len - 1] != '@') {
			fputs(line, stdout);
			continue;
		}
		c = chapter_find(line + 1, len - 2);
		if (c == NULL) {
			fprintf(stderr, "herod-tables: no chapter %s", line);
			return false;
		}
		c->print();
	}
	return true;
}

int
main(int argc, char *argv[])
{
	const struct chapter *c;
	bool done = false;

	if (argc == 2 && strcmp(argv[1], "fill") == 0) {
		done = fill();
	} else if (argc == 2 && (c = chapter_find(argv[1], strlen(argv[1])))) {
		c->print();
		done = true;
	} else {
		fputs("usage: herod-tables fill|CHAPTER\n", stderr);
	}
	return done && fclose(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
