/* What heroctl can tell without a daemon, or nearly: help, version, check. */
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "heroctl.h"
#include "mem.h"

/* ---- help ---- */

/* "-n, --lines COUNT", "--wait, --no-wait" */
static void
option_usage(const struct option *o, char *buf, size_t size)
{
	char letter[] = {'-', option_letter(o->name), ',', ' ', '\0'};
	char name[64], value[200] = "";

	option_text(o->name, name, sizeof(name));
	if (o->kind.type != TYPE_BOOL)
		option_value_text(&o->kind, value, sizeof(value));
	snprintf(buf, size, "%s--%s%s%s%s%s", letter[1] ? letter : "", name,
	    option_is_on(o) ? ", --no-" : "", option_is_on(o) ? name : "",
	    *value ? " " : "", value);
}

/* Breaks text into lines behind the indent that is already written. */
static void
print_folded(FILE *out, const char *text, size_t indent)
{
	const size_t room = 79 - indent;
	size_t len;

	while (strlen(text) > room) {
		for (len = room; len > 0 && text[len] != ' '; len--)
			;
		if (len == 0)
			break;
		fprintf(out, "%.*s\n%*s", (int)len, text, (int)indent, "");
		text += len + 1;
	}
	fprintf(out, "%s\n", text);
}

#define INDENT 8

static void
print_option(const struct option *o, FILE *out)
{
	char usage[400];
	char *text;

	option_usage(o, usage, sizeof(usage));
	fprintf(out, "  %s\n%*s", usage, INDENT, "");
	if (o->fallback && *o->fallback && o->kind.type != TYPE_BOOL)
		text = xasprintf("%s [%s]", o->meaning, o->fallback);
	else if (option_is_on(o))
		text = xasprintf("%s [this is the default]", o->meaning);
	else
		text = xstrdup(o->meaning);
	print_folded(out, text, INDENT);
	free(text);
}

static void
print_options(const struct verb *v, FILE *out)
{
	struct option o;
	size_t i;

	for (i = 0; verb_option(v, i, &o); i++) {
		if (i == 0)
			fputs("\nOptions:\n", out);
		print_option(&o, out);
	}
}

void
help_verb(const struct verb *v, FILE *out)
{
	char operands[128];
	struct option o;

	verb_operands(v, operands, sizeof(operands));
	fprintf(out, "usage: heroctl %s%s%s%s\n\n", v->name,
	    verb_option(v, 0, &o) ? " [OPTION]..." : "", *operands ? " " : "",
	    operands);
	print_folded(out, v->summary, 0);
	if (*v->more)
		print_folded(out, v->more, 0);
	print_options(v, out);
}

static void
print_verb(const struct verb *v, FILE *out)
{
	fprintf(out, "  %-14s  ", v->name);
	print_folded(out, v->summary, 18);
}

void
help_overview(FILE *out)
{
	struct verb verbs[VERBS_MAX];
	size_t i, n = verbs_list(verbs);

	fputs("usage: heroctl [OPTION]... VERB [OPERAND]...\n\nVerbs:\n", out);
	for (i = 0; i < n; i++)
		print_verb(&verbs[i], out);
	print_options(NULL, out);
	fputs("\nheroctl help VERB tells more; without a verb it reads verbs "
	      "line by line.\n",
	    out);
}

/* "job": its verbs. */
static void
help_group(const char *group, FILE *out)
{
	struct verb verbs[VERBS_MAX];
	size_t i, n = verbs_list(verbs), len = strlen(group);

	for (i = 0; i < n; i++)
		if (strncmp(verbs[i].name, group, len) == 0 &&
		    verbs[i].name[len] == ' ')
			print_verb(&verbs[i], out);
}

enum status
verb_help(struct ctl *ctl, const struct args *a)
{
	struct verb v;
	size_t words;
	struct err e = {0};
	const char *nearest;

	if (a->noperands == 0) {
		help_overview(ctl->out);
		return STATUS_DONE;
	}
	if (verb_find(a->operands, &v, &words) && words == a->noperands) {
		help_verb(&v, ctl->out);
		return STATUS_DONE;
	}
	if (a->noperands == 1 && verb_is_group(a->operands[0])) {
		help_group(a->operands[0], ctl->out);
		return STATUS_DONE;
	}
	err_set(&e, ERR_PARAMS, "help: there is no verb '%s'", a->operands[0]);
	nearest = verb_nearest(a->operands[0]);
	if (nearest)
		err_hint(&e, "did you mean %s?", nearest);
	return ctl_misused(&e);
}

/* ---- version ---- */

/* heroctl's own first: that answer needs no daemon. */
enum status
verb_version(struct ctl *ctl, const struct args *a)
{
	enum status status;
	struct err e = {0};
	json_t *result;

	if (args_count(a, 0, 0, &e) != 0)
		return ctl_misused(&e);
	if (ctl->format != FORMAT_JSON && !ctl->quiet)
		fprintf(ctl->out, "heroctl %s\n", PACKAGE_VERSION);
	result = call_once(ctl, a->verb.method, NULL, &status);
	if (result && ctl->format == FORMAT_JSON)
		show_json(ctl, result);
	else if (result && !ctl->quiet)
		fprintf(ctl->out, "%s %s\n",
		    json_string_value(json_object_get(result, "name")),
		    json_string_value(json_object_get(result, "version")));
	json_decref(result);
	return status;
}

/* ---- check ---- */

enum status
verb_check(struct ctl *ctl, const struct args *a)
{
	char **errors = NULL, **error;
	struct conf *conf;
	struct err e = {0};

	if (args_count(a, 1, 1, &e) != 0)
		return ctl_misused(&e);
	conf = conf_load(a->operands[0], NULL, &errors);
	for (error = errors; error && *error; error++)
		fprintf(stderr, "%s\n", *error);
	strv_free(errors);
	if (conf == NULL)
		return STATUS_REFUSED;
	if (!ctl->quiet)
		fprintf(ctl->out, "%s: good, %zu runner%s\n", a->operands[0],
		    conf->nrunners, conf->nrunners == 1 ? "" : "s");
	conf_free(conf);
	return STATUS_DONE;
}
