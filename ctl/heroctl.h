/*
 * heroctl: one person's or script's wishes, told to herod over a socket.
 *
 * A command line becomes a verb with options and operands (args.h), these
 * become calls (client.h, call.c), their results are shown by their shape
 * (show.c).
 */
#ifndef HEROCTL_H
#define HEROCTL_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "args.h"
#include "err.h"
#include "method.h"
#include "verb.h"

struct client;

/* Exit statuses, as in heroctl(1). */
enum status {
	STATUS_DONE = 0,
	STATUS_REFUSED = 1,
	STATUS_USAGE = 2,
	STATUS_NOT_RUNNING = 3,
	STATUS_NO_SUCH_NAME = 4,
	STATUS_NO_DAEMON = 5,
	STATUS_TIMED_OUT = 6,
	STATUS_JOB_FAILED = 7,
	STATUS_INTERRUPTED = 130
};

enum format { FORMAT_TABLE, FORMAT_PLAIN, FORMAT_JSON };

struct ctl {
	struct client *client;
	FILE *out;
	enum format format;
	bool tty; /* out is a terminal */
	bool colour; /* and may be coloured */
	bool quiet, yes;
	bool all; /* nodes, not only this one */
	double timeout; /* seconds; 0: for ever */
};

/* ---- run.c ---- */

/* Runs one command line (argv[0] is the verb or an option). */
enum status ctl_run(struct ctl *ctl, char *const *argv);

/* One sentence on stderr, behind the program's name. */
void ctl_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Says on stderr what was refused; returns the exit status for it. */
enum status ctl_complain(const struct ctl *ctl, const struct err *e);

/* A mistake on the command line: says so, returns STATUS_USAGE. */
enum status ctl_misused(const struct err *e);

/* Is the answer yes?  Asks only a person at a terminal. */
bool ctl_ask(const struct ctl *ctl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- verbs: each takes the parsed command line ---- */

#define VERB(id, ...) \
	enum status verb_##id(struct ctl *ctl, const struct args *a);
#include "verbs.def"
#undef VERB
enum status verb_method(struct ctl *ctl, const struct args *a);

/* Help on everything, or on one verb. */
void help_overview(FILE *out);
void help_verb(const struct verb *v, FILE *out);

/* Reads command lines from stdin until its end. */
enum status shell_run(struct ctl *ctl);

/* ---- call.c ---- */

/* One call; NULL after complaining, with the exit status in *status. */
json_t *call_once(struct ctl *ctl, const struct method *m, json_t *stolen,
    enum status *status);

/* The same, but when herod dies over it, its successor is asked something
 * else: what has become of it. */
json_t *call_or_ask(struct ctl *ctl, const struct method *m, json_t *stolen,
    const struct method *question, json_t *stolen_too, enum status *status);

/*
 * The same call for each of several names, given as the parameter param,
 * all under way at once.  Each result is handed to result() in the order
 * of names; refusals are said.  Returns the first status that is not
 * STATUS_DONE, of refusals or of result().
 */
typedef enum status (*result_fn)(
    struct ctl *ctl, const json_t *result, void *arg);
enum status call_each(struct ctl *ctl, const struct method *m,
    const char *param, char *const *names, const json_t *params,
    result_fn result, void *arg);

/*
 * Names of runners with "all" and globs replaced by what they match (never
 * herod's own runners, which only their plain names reach).  NULL after
 * complaining.  In *status what did not match anything.
 */
char **call_expand(struct ctl *ctl, char *const *names, enum status *status);

/* ---- events.c ---- */

/*
 * Subscribes with these params and hands over what comes: first a Subscription,
 * then Events (schemas.def), until take() ends it (0) or there is trouble or
 * a refusal (-1).  FOLLOW_ANEW subscribes again, and so does the loss of a
 * connection: another Subscription comes.
 */
enum follow { FOLLOW_ON, FOLLOW_ANEW, FOLLOW_END };
typedef enum follow (*news_fn)(void *arg, const json_t *news);
int follow_events(struct ctl *ctl, const json_t *params, news_fn take,
    void *arg, struct err *e);

/* ---- show.c ---- */

/* Shows a result of the shape that methods.def names. */
enum status show_result(
    struct ctl *ctl, const char *shape, const json_t *result);

/* Can several results of this shape make one table? */
bool show_has_rows(const char *shape);

void show_json(struct ctl *ctl, const json_t *value);
void show_text(struct ctl *ctl, const char *text); /* with a final newline */

/* Prints a table as this output wants it, and clears it. */
struct table;
void show_table(struct ctl *ctl, struct table *t);

/* Rows of a status table; instances: those of each runner, too. */
void show_runners(struct ctl *ctl, const json_t *runners, bool instances);

/* One line of a log, with its time or as it was written. */
struct line_style {
	bool raw; /* as it was written, without time and stream */
	bool name; /* tell whose it is */
};
void show_log_line(
    struct ctl *ctl, const json_t *line, const struct line_style *style);

/* RUNNING or DRAINING: does what it is for. */
bool is_running(const json_t *runner);

#endif
