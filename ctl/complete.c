/*
 * Completion.  The scripts for the shells only ask "heroctl completion
 * words", which knows the tables and may ask the daemon for names.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"

#define PATIENCE 1.0 /* seconds; nobody waits longer behind a Tab */

static const char bash_script[] =
    "# Completion of heroctl(1) for bash: heroctl completion bash\n"
    "\n"
    "_heroctl()\n"
    "{\n"
    "\tlocal line=${COMP_LINE:0:COMP_POINT}\n"
    "\tlocal -a words\n"
    "\n"
    "\tread -ra words <<<\"$line\"\n"
    "\t[[ $line == *[[:space:]] ]] && words+=('')\n"
    "\tmapfile -t COMPREPLY < <(heroctl completion words -- \\\n"
    "\t\t\"${words[@]:1}\" 2>/dev/null | cut -f 1)\n"
    "}\n"
    "complete -o default -F _heroctl heroctl\n";

static const char zsh_script[] =
    "#compdef heroctl\n"
    "# Completion of heroctl(1) for zsh: heroctl completion zsh\n"
    "\n"
    "_heroctl()\n"
    "{\n"
    "\tlocal -a items\n"
    "\tlocal line tab=$'\\t'\n"
    "\n"
    "\theroctl completion words -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null |\n"
    "\twhile IFS= read -r line; do\n"
    "\t\titems+=(\"${${line%%$tab*}//:/\\\\:}:${line#*$tab}\")\n"
    "\tdone\n"
    "\tif (( ${#items} )); then\n"
    "\t\t_describe heroctl items\n"
    "\telse\n"
    "\t\t_files\n"
    "\tfi\n"
    "}\n"
    "if [ \"$funcstack[1]\" = _heroctl ]; then\n"
    "\t_heroctl \"$@\"\n"
    "else\n"
    "\tcompdef _heroctl heroctl\n"
    "fi\n";

static const char fish_script[] =
    "# Completion of heroctl(1) for fish: heroctl completion fish\n"
    "\n"
    "complete -c heroctl -f -a '(heroctl completion words -- "
    "(commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'\n"
    "complete -c heroctl -n '__fish_seen_subcommand_from check' -F\n";

static const struct {
	const char *shell, *script;
} scripts[] = {
    {"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

/* ---- candidates ---- */

/* What stands before the word to complete, and that word. */
struct line {
	struct ctl *ctl;
	const char *begun;
	bool has_verb;
	struct verb verb;
	size_t noperands; /* behind the verb */
	const char *group; /* "job", when only that was given */
	bool expects; /* the word is the value of value_of */
	struct option value_of;
	/* Given on the line, or NULL. */
	const char *server, *key;
	struct tls_files tls;
};

/* Of a meaning only the first clause: a list has little room. */
static int
clause(const char *meaning)
{
	return (int)strcspn(meaning, ".:;");
}

static void
offer(const struct line *l, const char *word, const char *meaning)
{
	if (strncmp(word, l->begun, strlen(l->begun)) == 0)
		fprintf(
		    l->ctl->out, "%s\t%.*s\n", word, clause(meaning), meaning);
}

static void
offer_choices(const struct line *l)
{
	const struct kind *k = &l->value_of.kind;
	char word[128];
	int i;

	if (k->type != TYPE_ENUM)
		return;
	for (i = 0; *type_enum_word(k->limits, i, word, sizeof(word)); i++)
		offer(l, word, l->value_of.meaning);
}

/* A global option may be hidden by the verb's own of that name. */
static bool
is_reachable(const struct line *l, const struct option *o)
{
	struct option found;

	return !l->has_verb ||
	    (verb_option_find(&l->verb, o->name, strlen(o->name), &found) &&
		found.home == o->home);
}

/* --no-wait is offered where waiting is the default. */
static void
offer_options(const struct line *l, const struct verb *v)
{
	char word[80], name[64], meaning[512];
	struct option o;
	size_t i;

	for (i = 0; verb_option(v, i, &o); i++) {
		if (!is_reachable(l, &o))
			continue;
		snprintf(word, sizeof(word), "--%s%s",
		    option_is_on(&o) ? "no-" : "",
		    option_text(o.name, name, sizeof(name)));
		snprintf(meaning, sizeof(meaning), "%s%s",
		    option_is_on(&o) ? "(not) " : "", o.meaning);
		offer(l, word, meaning);
	}
}

/* First words of verbs, or the second ones of a group. */
static void
offer_verbs(const struct line *l)
{
	struct verb verbs[VERBS_MAX];
	size_t i, n = verbs_list(verbs), len;
	char word[64], last[64] = "";

	for (i = 0; i < n; i++) {
		len = strcspn(verbs[i].name, " ");
		snprintf(word, sizeof(word), "%.*s", (int)len, verbs[i].name);
		if (l->group && strcmp(word, l->group) == 0)
			offer(l, verbs[i].name + len + 1, verbs[i].summary);
		else if (!l->group && strcmp(word, last) != 0)
			offer(l, word, verbs[i].summary);
		strlcpy(last, word, sizeof(last));
	}
}

/* ---- asking the daemon ---- */

/* Its silence is no reason to complain in the middle of a command line. */
static json_t *
ask_quietly(const struct line *l, const char *method)
{
	struct client *c =
	    client_new(l->server ? l->server : client_server(l->ctl->client));
	json_t *answer = NULL, *result = NULL;

	client_set_key(c, l->key ? l->key : client_key(l->ctl->client));
	client_set_tls(c, &l->tls);
	client_begin(c, PATIENCE);
	if (client_send(c, method, NULL, 1, NULL) == 0)
		answer = client_receive(c, NULL);
	result = json_incref((json_t *)client_result(answer, NULL));
	json_decref(answer);
	client_free(c);
	return result;
}

static void
offer_names(const struct line *l, const char *before)
{
	json_t *names = ask_quietly(l, "list_runners");
	const json_t *name;
	char word[128];
	size_t i;

	json_array_foreach (names, i, name) {
		if (!json_is_string(name))
			continue;
		snprintf(word, sizeof(word), "%s%s", before,
		    json_string_value(name));
		offer(l, word, "Runner");
	}
	json_decref(names);
}

static void
offer_schedules(const struct line *l, const char *before)
{
	json_t *list = ask_quietly(l, "schedules.list");
	const json_t *schedule, *name;
	char word[128];
	size_t i;

	json_array_foreach (list, i, schedule) {
		name = json_object_get(schedule, "name");
		if (!json_is_string(name))
			continue;
		snprintf(word, sizeof(word), "%s%s", before,
		    json_string_value(name));
		offer(l, word, "Schedule");
	}
	json_decref(list);
}

static void
offer_ids(const struct line *l)
{
	json_t *page = ask_quietly(l, "jobs.list");
	const json_t *job, *id;
	size_t i;

	json_array_foreach (json_object_get(page, "jobs"), i, job) {
		id = json_object_get(job, "id");
		if (json_is_string(id))
			offer(l, json_string_value(id), "Job");
	}
	json_decref(page);
}

/* ---- operands ---- */

/* The words in small letters: "NAME... running|stopped". */
static void
offer_literals(const struct line *l, const char *operands)
{
	char word[32];
	size_t len;

	while (*operands) {
		for (len = 0; islower((unsigned char)operands[len]); len++)
			;
		snprintf(word, sizeof(word), "%.*s", (int)len, operands);
		if (len > 0)
			offer(l, word, "");
		operands += len > 0 ? len : 1;
	}
}

/* "runner", "runner.web" for each runner there is. */
static void
offer_topics(const struct line *l)
{
	const struct topic *t;

	for (t = topic_rows; t->name; t++)
		offer(l, t->name, t->meaning);
	if (strncmp(l->begun, "runner.", strlen("runner.")) == 0)
		offer_names(l, "runner.");
	if (strncmp(l->begun, "schedule.", strlen("schedule.")) == 0)
		offer_schedules(l, "schedule.");
}

static void
offer_signals(const struct line *l)
{
	char name[16];
	int i;

	for (i = 1; i < 32; i++)
		offer(l, signal_name(i, name), "Signal");
}

static void
offer_operands(const struct line *l)
{
	char operands[128];

	verb_operands(&l->verb, operands, sizeof(operands));
	if (strncmp(operands, "SIGNAL", 6) == 0 && l->noperands == 0) {
		offer_signals(l);
		return;
	}
	if (strstr(operands, "NAME"))
		offer_names(l, "");
	if (strstr(operands, "SCHEDULE"))
		offer_schedules(l, "");
	if (strstr(operands, "ID"))
		offer_ids(l);
	if (strstr(operands, "TOPIC"))
		offer_topics(l);
	if (strstr(operands, "VERB"))
		offer_verbs(l);
	offer_literals(l, operands);
}

static void
offer_all(const struct line *l)
{
	if (l->expects) {
		offer_choices(l);
	} else if (l->begun[0] == '-') {
		offer_options(l, l->has_verb ? &l->verb : NULL);
		if (l->has_verb)
			offer_options(l, NULL);
	} else if (l->has_verb) {
		offer_operands(l);
	} else {
		offer_verbs(l);
	}
}

/* ---- reading what is there ---- */

static void
read_value(struct line *l, const char *word)
{
	const struct {
		const char *name, **value;
	} matter[] = {{"server", &l->server}, {"key", &l->key},
	    {"tls_ca", &l->tls.ca}, {"tls_cert", &l->tls.cert},
	    {"tls_key", &l->tls.key}};
	size_t i;

	l->expects = false;
	if (l->value_of.home != OPTION_GLOBAL)
		return;
	for (i = 0; i < sizeof(matter) / sizeof(matter[0]); i++)
		if (strcmp(l->value_of.name, matter[i].name) == 0)
			*matter[i].value = word;
}

/* -s, --server, --server=VALUE */
static void
read_option(struct line *l, const char *word)
{
	const struct verb *v = l->has_verb ? &l->verb : NULL;
	const char *name =
	    word[1] == '-' ? word + 2 : option_of_letter(v, word[1]);
	size_t len = name ? strcspn(name, "=") : 0;

	if (name == NULL || !verb_option_find(v, name, len, &l->value_of))
		return;
	l->expects = l->value_of.kind.type != TYPE_BOOL;
	if (name[len] == '=')
		read_value(l, name + len + 1);
}

static void
read_verb(struct line *l, const char *word)
{
	char *words[] = {(char *)(l->group ? l->group : word),
	    (char *)(l->group ? word : NULL), NULL};
	size_t n;

	l->has_verb = verb_find(words, &l->verb, &n);
	if (!l->has_verb)
		l->group = word;
}

static void
read_word(struct line *l, const char *word)
{
	if (l->expects)
		read_value(l, word);
	else if (word[0] == '-')
		read_option(l, word);
	else if (!l->has_verb)
		read_verb(l, word);
	else
		l->noperands++;
}

static void
complete_words(struct ctl *ctl, char *const *words, size_t n)
{
	struct line l = {.ctl = ctl,
	    .begun = n > 0 ? words[n - 1] : "",
	    .tls = *client_tls(ctl->client)};
	size_t i;

	for (i = 0; i + 1 < n; i++)
		read_word(&l, words[i]);
	offer_all(&l);
}

enum status
verb_completion(struct ctl *ctl, const struct args *a)
{
	struct err e = {0};
	size_t i;

	if (args_count(a, 1, SIZE_MAX, &e) != 0)
		return ctl_misused(&e);
	if (strcmp(a->operands[0], "words") == 0) {
		complete_words(ctl, a->operands + 1, a->noperands - 1);
		return STATUS_DONE;
	}
	for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		if (strcmp(a->operands[0], scripts[i].shell) != 0)
			continue;
		fputs(scripts[i].script, ctl->out);
		return STATUS_DONE;
	}
	err_set(&e, ERR_PARAMS, "completion: '%s' is not bash, zsh or fish",
	    a->operands[0]);
	return ctl_misused(&e);
}
