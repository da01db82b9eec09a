/* heroctl's verbs and options, looked up. */
#include "verb.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---- */

#define PARAM(name, type, limits, fallback, meaning) \
	{#name, {TYPE_##type, limits}, false, fallback, meaning},
#define NO_PARAM \
	{ \
		NULL, {TYPE_COUNT_, NULL}, false, NULL, NULL \
	}

#define VERB(id, name, method, settings, operands, own, summary, more) \
	static const struct param own_##id[] = {own NO_PARAM};
#include "verbs.def"
#undef VERB

#define METHOD(id) &methods[METHOD_##id]
#define LOCAL NULL

static const struct verb own_verbs[] = {
#define VERB(id, name, method, settings, operands, own, summary, more) \
	{VERB_##id, name, method, settings, operands, own_##id, summary, more},
#include "verbs.def"
#undef VERB
};

#undef METHOD

/* Understood before and behind every verb. */
static const struct param globals[] = {PARAM(server, STRING, NULL, NULL,
    "Address of herod: unix:PATH, tcp:HOST:PORT or tls:HOST:PORT") PARAM(key,
    STRING, NULL, NULL,
    "Key to show, where who asks does not suffice; HEROCTL_KEY shows it "
    "to nobody else") PARAM(tls_ca, STRING, NULL, NULL,
    "File of who must have signed the certificate of tls:HOST:PORT; else "
    "whom the system trusts") PARAM(tls_cert, STRING, NULL, NULL,
    "File of the certificate to show there") PARAM(tls_key, STRING, NULL, NULL,
    "File of its key, when it is not the same") PARAM(json, BOOL, NULL, "false",
    "Print results as JSON") PARAM(plain, BOOL, NULL, "false",
    "Print tables as tab-separated lines without a heading") PARAM(quiet, BOOL,
    NULL, "false", "Print nothing but errors") PARAM(timeout, DURATION, "0..",
    "0", "Longest wait; 0 for ever") PARAM(yes, BOOL, NULL, "false",
    "Do not ask before stopping things") PARAM(all, BOOL, NULL, "false",
    "Of all herods that share the Redis; for status only")
	PARAM(help, BOOL, NULL, "false", "Show help") PARAM(
	    version, BOOL, NULL, "false", "Show heroctl's version") NO_PARAM};

#define OWN_VERBS (sizeof(own_verbs) / sizeof(own_verbs[0]))

static const struct {
	char letter;
	const char *name;
} letters[] = {{'s', "server"}, {'k', "key"}, {'q', "quiet"}, {'y', "yes"},
    {'h', "help"}, {'V', "version"}, {'n', "lines"}, {'n', "dry_run"},
    {'f', "follow"}, {0, NULL}};

/* ---- verbs ---- */

static const struct verb *
own_verb(const char *name)
{
	size_t i;

	for (i = 0; i < OWN_VERBS; i++)
		if (strcmp(own_verbs[i].name, name) == 0)
			return &own_verbs[i];
	return NULL;
}

/* A method's row as a verb. */
static struct verb
method_verb(const struct method *m)
{
	return (struct verb){.id = VERB_METHOD,
	    .name = m->verb,
	    .method = m,
	    .summary = m->summary,
	    .more = ""};
}

/* The verb of exactly this name. */
static bool
verb_named(const char *name, struct verb *v)
{
	const struct verb *own = own_verb(name);
	size_t i;

	if (own) {
		*v = *own;
		return true;
	}
	for (i = 0; i < METHOD_COUNT; i++) {
		if (methods[i].verb && strcmp(methods[i].verb, name) == 0) {
			*v = method_verb(&methods[i]);
			return true;
		}
	}
	return false;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct verb *)a)->name, ((const struct verb *)b)->name);
}

size_t
verbs_list(struct verb list[VERBS_MAX])
{
	size_t i, n = 0;

	for (i = 0; i < OWN_VERBS; i++)
		list[n++] = own_verbs[i];
	for (i = 0; i < METHOD_COUNT; i++)
		if (methods[i].verb && own_verb(methods[i].verb) == NULL)
			list[n++] = method_verb(&methods[i]);
	qsort(list, n, sizeof(*list), by_name);
	return n;
}

bool
verb_find(char *const *argv, struct verb *v, size_t *words)
{
	char two[64];

	if (argv[1]) {
		snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]);
		*words = 2;
		if (verb_named(two, v))
			return true;
	}
	*words = 1;
	return verb_named(argv[0], v);
}

static const char *
verb_name_at(size_t i, const void *arg)
{
	(void)arg;
	if (i < OWN_VERBS)
		return own_verbs[i].name;
	i -= OWN_VERBS;
	if (i >= METHOD_COUNT)
		return NULL;
	return methods[i].verb ? methods[i].verb : "";
}

const char *
verb_nearest(const char *typo)
{
	return nearest_word(typo, verb_name_at, NULL);
}

bool
verb_is_group(const char *word)
{
	size_t i, len = strlen(word);
	const char *name;

	for (i = 0; (name = verb_name_at(i, NULL)) != NULL; i++)
		if (strncmp(name, word, len) == 0 && name[len] == ' ')
			return true;
	return false;
}

/* ---- options ---- */

static bool
of_param(const struct param *p, enum option_home home, struct option *o)
{
	*o = (struct option){home, p->name, p->kind, p->fallback, p->meaning};
	return true;
}

/* An operand that need not be there. */
static bool
is_operand(const struct verb *v, const struct param *p)
{
	return v->operands && strcmp(v->operands, "[NAME...]") == 0 &&
	    strcmp(p->name, "name") == 0;
}

/* Parameters that neither the operands nor the settings give.  Of two of
 * the same name the setting is meant. */
static bool
is_option(const struct verb *v, const struct param *p)
{
	if (p->required || is_operand(v, p))
		return false;
	return v->settings == NULL ||
	    (p->kind.type != TYPE_OBJECT &&
		setting_find(v->settings, p->name) == NULL);
}

/* A job's runner is the verb's operand. */
static bool
is_setting_option(const struct verb *v, const struct setting *s)
{
	return !setting_is_group(s) &&
	    !(v->settings == job_settings && strcmp(s->name, "runner") == 0);
}

bool
verb_option(const struct verb *v, size_t i, struct option *o)
{
	const struct param *p;
	const struct setting *s;

	for (p = v ? v->own : NULL; p && p->name; p++)
		if (i-- == 0)
			return of_param(p, OPTION_VERB, o);
	for (s = v ? v->settings : NULL; s && s->name; s++)
		if (is_setting_option(v, s) && i-- == 0) {
			*o = (struct option){OPTION_SETTING, s->name, s->kind,
			    s->fallback, s->meaning};
			return true;
		}
	for (p = v && v->method ? v->method->params : NULL; p && p->name; p++)
		if (is_option(v, p) && i-- == 0)
			return of_param(p, OPTION_PARAM, o);
	if (v == NULL && i < sizeof(globals) / sizeof(globals[0]) - 1)
		return of_param(&globals[i], OPTION_GLOBAL, o);
	return false;
}

/* Is the option meant, however its dashes are written? */
static bool
is_named(const struct option *o, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (o->name[i] != (name[i] == '-' ? '_' : name[i]))
			return false;
	return o->name[len] == '\0';
}

bool
verb_option_find(
    const struct verb *v, const char *name, size_t len, struct option *o)
{
	size_t i;

	for (i = 0; verb_option(v, i, o); i++)
		if (is_named(o, name, len))
			return true;
	return v != NULL && verb_option_find(NULL, name, len, o);
}

static const char *
option_name_at(size_t i, const void *arg)
{
	struct option o;
	size_t n;

	for (n = 0; verb_option(arg, n, &o); n++)
		if (i-- == 0)
			return o.name;
	return arg && verb_option(NULL, i, &o) ? o.name : NULL;
}

const char *
verb_option_nearest(const struct verb *v, const char *typo)
{
	char name[64];
	size_t i;

	strlcpy(name, typo, sizeof(name));
	for (i = 0; name[i]; i++)
		if (name[i] == '-')
			name[i] = '_';
	return nearest_word(name, option_name_at, v);
}

const char *
option_of_letter(const struct verb *v, char letter)
{
	struct option o;
	const char *name;
	size_t i;

	for (i = 0; (name = letters[i].name); i++)
		if (letters[i].letter == letter &&
		    verb_option_find(v, name, strlen(name), &o))
			return name;
	return NULL;
}

char
option_letter(const char *name)
{
	size_t i;

	for (i = 0; letters[i].name; i++)
		if (strcmp(letters[i].name, name) == 0)
			return letters[i].letter;
	return 0;
}

bool
option_is_on(const struct option *o)
{
	return o->kind.type == TYPE_BOOL && o->fallback &&
	    strcmp(o->fallback, "true") == 0;
}

const char *
option_text(const char *name, char *buf, size_t size)
{
	size_t i;

	strlcpy(buf, name, size);
	for (i = 0; buf[i]; i++)
		if (buf[i] == '_')
			buf[i] = '-';
	return buf;
}

const char *
option_value_text(const struct kind *k, char *buf, size_t size)
{
	char word[128];
	size_t i;
	int n;

	if (k->type != TYPE_ENUM) {
		strlcpy(buf,
		    k->type == TYPE_STRING ? "text" : type_name(k->type), size);
		for (i = 0; buf[i]; i++)
			buf[i] = isalpha((unsigned char)buf[i])
			    ? (char)toupper((unsigned char)buf[i])
			    : '-';
		return buf;
	}
	buf[0] = '\0';
	for (n = 0; *type_enum_word(k->limits, n, word, sizeof(word)); n++) {
		strlcat(buf, n ? "|" : "", size);
		strlcat(buf, word, size);
	}
	return buf;
}

/* ---- operands ---- */

const char *
verb_operands(const struct verb *v, char *buf, size_t size)
{
	const struct param *p;
	size_t i, len;

	strlcpy(buf, v->operands ? v->operands : "", size);
	if (v->operands || v->method == NULL)
		return buf;
	for (p = v->method->params; p->name; p++) {
		if (!p->required)
			continue;
		if (*buf)
			strlcat(buf, " ", size);
		len = strlen(buf);
		strlcat(buf, p->name, size);
		for (i = len; buf[i]; i++)
			buf[i] = (char)toupper((unsigned char)buf[i]);
	}
	if (v->method->manner == EACH)
		strlcat(buf, "...", size);
	return buf;
}
