/* One command line: from words to a verb's function to an exit status. */
#include "heroctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "columns.h"

/* ---- saying no ---- */

/* Further lines are indented: they cannot be taken for words of ours. */
static void
say_lines(char *text)
{
	char *clean, *line = text, *next;

	for (; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		clean = text_without_controls(line);
		fprintf(
		    stderr, "%s%s\n", line == text ? "heroctl: " : "  ", clean);
		free(clean);
	}
}

void
ctl_say(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	fflush(stdout);
	say_lines(text);
	free(text);
}

static void
say(const struct err *e)
{
	if (*e->hint)
		ctl_say("%s (%s)", e->text, e->hint);
	else
		ctl_say("%s", e->text);
}

static enum status
status_of(enum err_code code)
{
	switch (code) {
	case ERR_NO_RUNNER:
	case ERR_NO_SCHEDULE:
	case ERR_NO_JOB:
	case ERR_NO_KEY:
		return STATUS_NO_SUCH_NAME;
	case ERR_TIMED_OUT:
		return STATUS_TIMED_OUT;
	default:
		return STATUS_REFUSED;
	}
}

enum status
ctl_complain(const struct ctl *ctl, const struct err *e)
{
	say(e);
	switch (client_trouble(ctl->client)) {
	case TROUBLE_AWAY:
	case TROUBLE_LOST:
		return STATUS_NO_DAEMON;
	case TROUBLE_INTERRUPTED:
		return STATUS_INTERRUPTED;
	case TROUBLE_ADDRESS:
		return STATUS_USAGE;
	default:
		return status_of(e->code);
	}
}

enum status
ctl_misused(const struct err *e)
{
	say(e);
	return STATUS_USAGE;
}

bool
ctl_ask(const struct ctl *ctl, const char *fmt, ...)
{
	char *answer = NULL;
	size_t size = 0;
	va_list ap;
	bool yes;

	if (ctl->yes || !isatty(STDIN_FILENO))
		return true;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("? [y/N] ", stderr);
	yes = getline(&answer, &size, stdin) > 0 &&
	    (answer[0] == 'y' || answer[0] == 'Y');
	free(answer);
	return yes;
}

/* ---- verbs ---- */

static enum status (*const functions[VERB_COUNT])(
    struct ctl *ctl, const struct args *a) = {
#define VERB(id, ...) [VERB_##id] = verb_##id,
#include "verbs.def"
#undef VERB
    [VERB_METHOD] = verb_method,
};

static bool
global_bool(const struct args *a, const char *name)
{
	return json_is_true(args_option(a, OPTION_GLOBAL, name));
}

/* Options hold for one command line: in the shell the next is free again. */
static void
set_globals(struct ctl *ctl, const struct args *a)
{
	const json_t *timeout = args_option(a, OPTION_GLOBAL, "timeout");

	if (global_bool(a, "json"))
		ctl->format = FORMAT_JSON;
	else if (global_bool(a, "plain"))
		ctl->format = FORMAT_PLAIN;
	ctl->quiet = ctl->quiet || global_bool(a, "quiet");
	ctl->yes = ctl->yes || global_bool(a, "yes");
	ctl->all = global_bool(a, "all");
	if (timeout)
		ctl->timeout = json_number_value(timeout);
}

static void
set_file(const struct args *a, const char *name, const char **file)
{
	const json_t *given = args_option(a, OPTION_GLOBAL, name);

	if (given)
		*file = json_string_value(given);
}

/* What is given here stands for what the environment says. */
static void
set_tls(struct ctl *ctl, const struct args *a, struct tls_files files)
{
	set_file(a, "tls_ca", &files.ca);
	set_file(a, "tls_cert", &files.cert);
	set_file(a, "tls_key", &files.key);
	client_set_tls(ctl->client, &files);
}

/* The verb, or the shell when there is none, with the options given. */
static enum status
run_with_globals(struct ctl *ctl, const struct args *a)
{
	const json_t *server = args_option(a, OPTION_GLOBAL, "server");
	const json_t *key = args_option(a, OPTION_GLOBAL, "key");
	const struct tls_files files = *client_tls(ctl->client);
	struct client *other = NULL;
	struct ctl own = *ctl;
	enum status status;
	struct err e = {0};

	set_globals(&own, a);
	if (own.all && (!a->has_verb || a->verb.id != VERB_status)) {
		err_set(&e, ERR_PARAMS, "--all is for the verb status");
		return ctl_misused(&e);
	}
	if (server)
		own.client = other = client_new(json_string_value(server));
	set_tls(&own, a, files);
	if (key || (other && client_key(ctl->client)))
		client_set_key(own.client,
		    key ? json_string_value(key) : client_key(ctl->client));
	if (a->has_verb)
		status = functions[a->verb.id](&own, a);
	else
		status = shell_run(&own);
	client_free(other);
	client_set_tls(ctl->client, &files);
	fflush(own.out);
	return status;
}

static enum status
run_parsed(struct ctl *ctl, const struct args *a)
{
	if (global_bool(a, "version"))
		fprintf(ctl->out, "heroctl %s\n", PACKAGE_VERSION);
	else if (global_bool(a, "help") && a->has_verb)
		help_verb(&a->verb, ctl->out);
	else if (global_bool(a, "help"))
		help_overview(ctl->out);
	else
		return run_with_globals(ctl, a);
	return STATUS_DONE;
}

enum status
ctl_run(struct ctl *ctl, char *const *argv)
{
	enum status status;
	struct err e = {0};
	struct args a;

	if (args_parse(&a, argv, &e) == 0)
		status = run_parsed(ctl, &a);
	else
		status = ctl_misused(&e);
	args_clear(&a);
	return status;
}
