/* Work: add-runner, queue and run. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"
#include "type.h"

/* ---- add-runner ---- */

static int
set_command(json_t *runner, char *const *command, struct err *e)
{
	json_t *words = json_array();

	for (; *command; command++)
		if (json_array_append_new(words, json_string(*command)) != 0) {
			json_decref(words);
			return err_set(
			    e, ERR_PARAMS, "command: not UTF-8 text");
		}
	return json_object_set_new(runner, "command", words);
}

static int
check_add(const struct args *a, json_t *runner, struct err *e)
{
	const struct kind name = {TYPE_NAME, NULL};
	json_t *text, *value;

	if (args_count(a, 1, 1, e) != 0)
		return -1;
	text = json_string(a->operands[0]);
	value = text ? type_check(&name, "name", text, e) : NULL;
	json_decref(text);
	if (value == NULL)
		return err_set(e, ERR_PARAMS, "name: not UTF-8 text");
	json_object_set_new(runner, "name", value);
	if (a->command && *a->command &&
	    set_command(runner, a->command, e) != 0)
		return -1;
	if (json_object_get(runner, "command"))
		return 0;
	err_set(e, ERR_PARAMS, "add-runner: the command is missing");
	return err_hint(
	    e, "heroctl add-runner %s -- PROGRAM ARGUMENT...", a->operands[0]);
}

enum status
verb_add_runner(struct ctl *ctl, const struct args *a)
{
	json_t *runner = a->given[OPTION_SETTING], *result;
	json_t *params = a->given[OPTION_PARAM];
	enum status status;
	struct err e = {0};

	if (check_add(a, runner, &e) != 0)
		return ctl_misused(&e);
	json_object_set(params, "runner", runner);
	result = call_once(ctl, a->verb.method, json_incref(params), &status);
	if (result)
		status = show_result(ctl, a->verb.method->result, result);
	json_decref(result);
	return status;
}

/* ---- payloads ---- */

#define PAYLOAD_MAX ((size_t)1 << 30)

static char *
read_stdin(size_t *len, struct err *e)
{
	size_t size = 65536;
	char *text = xmalloc(size);
	ssize_t n;

	for (*len = 0;
	     (n = read(STDIN_FILENO, text + *len, size - *len)) > 0;) {
		*len += (size_t)n;
		if (*len >= PAYLOAD_MAX)
			break;
		if (*len == size)
			text = xreallocarray(text, size *= 2, 1);
	}
	if (n == 0)
		return text;
	free(text);
	if (n == -1)
		err_set(e, ERR_PARAMS, "standard input: cannot be read");
	else
		err_set(e, ERR_TOO_LARGE, "standard input: too long");
	return NULL;
}

static json_t *
payload_text(const char *text, size_t len, struct err *e)
{
	json_t *payload =
	    memchr(text, '\0', len) ? NULL : json_stringn(text, len);

	if (payload == NULL) {
		err_set(e, ERR_PARAMS, "the payload is not UTF-8 text");
		err_hint(e, "encode it, for instance with base64");
	}
	return payload;
}

static json_t *
payload_stdin(struct err *e)
{
	size_t len;
	char *text = read_stdin(&len, e);
	json_t *payload;

	if (text == NULL)
		return NULL;
	payload = payload_text(text, len, e);
	free(text);
	return payload;
}

/* As operand, as option, or from standard input. */
static int
set_payload(const struct args *a, json_t *job, struct err *e)
{
	const char *operand = a->noperands > 1 ? a->operands[1] : NULL;
	json_t *payload;

	if (operand && json_object_get(job, "payload"))
		return err_set(
		    e, ERR_PARAMS, "%s: there are two payloads", a->verb.name);
	if (operand && strcmp(operand, "-") != 0)
		payload = payload_text(operand, strlen(operand), e);
	else if (operand == NULL &&
	    (json_object_get(job, "payload") || isatty(STDIN_FILENO)))
		return 0;
	else
		payload = payload_stdin(e);
	if (payload == NULL)
		return -1;
	return json_object_set_new(job, "payload", payload);
}

static enum status
send_job(struct ctl *ctl, const struct args *a, json_t *stolen)
{
	const struct method *m = a->verb.method;
	enum status status;
	json_t *result = call_once(ctl, m, stolen, &status);

	if (result)
		status = show_result(ctl, m->result, result);
	json_decref(result);
	return status;
}

enum status
verb_queue(struct ctl *ctl, const struct args *a)
{
	json_t *job = a->given[OPTION_SETTING];
	struct err e = {0};

	if (args_count(a, 1, 2, &e) != 0 || set_payload(a, job, &e) != 0)
		return ctl_misused(&e);
	return send_job(ctl, a,
	    json_pack("{s:s, s:O}", "runner", a->operands[0], "job", job));
}

/* The job itself names its runner. */
static enum status
send_whole_job(struct ctl *ctl, const struct args *a)
{
	json_t *job = a->given[OPTION_SETTING];
	struct err e = {0};

	if (args_count(a, 1, 2, &e) != 0 || set_payload(a, job, &e) != 0)
		return ctl_misused(&e);
	json_object_set_new(job, "runner", json_string(a->operands[0]));
	return send_job(ctl, a, json_pack("{s:O}", "job", job));
}

/* By an id of ours the job is known to the next herod, should this one die. */
enum status
verb_run(struct ctl *ctl, const struct args *a)
{
	json_t *job = a->given[OPTION_SETTING], *result;
	enum status status;
	struct err e = {0};
	char id[UUID_SIZE];

	if (json_object_get(job, "id"))
		return send_whole_job(ctl, a);
	if (args_count(a, 1, 2, &e) != 0 || set_payload(a, job, &e) != 0)
		return ctl_misused(&e);
	make_uuid(id);
	json_object_set_new(job, "id", json_string(id));
	json_object_set_new(job, "runner", json_string(a->operands[0]));
	result = call_or_ask(ctl, a->verb.method,
	    json_pack("{s:O}", "job", job), &methods[METHOD_job_wait],
	    json_pack("{s:s}", "id", id), &status);
	if (result)
		status = show_result(ctl, a->verb.method->result, result);
	json_decref(result);
	return status;
}

enum status
verb_job_create(struct ctl *ctl, const struct args *a)
{
	return send_whole_job(ctl, a);
}

/* ---- jobs create-many ---- */

#define BATCH_BYTES ((size_t)500 * 1000) /* a call is at most max_request */
#define BATCH_JOBS 5000

struct batch {
	json_t *jobs;
	size_t bytes;
	size_t line; /* the last that was read */
	size_t at[BATCH_JOBS]; /* the line of each job */
};

/* Of one job.  Of a line that is no JSON we know why, herod does not. */
static enum status
show_made(struct ctl *ctl, const json_t *made, const struct batch *b, size_t i)
{
	const json_t *error = json_object_get(made, "error");
	const char *message = json_string_value(json_array_get(b->jobs, i));

	if (!message)
		message = json_string_value(json_object_get(error, "message"));
	if (ctl->format == FORMAT_JSON && !ctl->quiet) {
		json_dumpf(made, ctl->out, JSON_COMPACT);
		putc('\n', ctl->out);
	} else if (!error && !ctl->quiet) {
		fprintf(ctl->out, "%s\n",
		    json_string_value(json_object_get(made, "id")));
	}
	if (!error)
		return STATUS_DONE;
	ctl_say("line %zu: %s", b->at[i], message ? message : "refused");
	return STATUS_REFUSED;
}

static enum status
send_batch(struct ctl *ctl, const struct args *a, struct batch *b)
{
	enum status status = STATUS_DONE;
	json_t *result, *made;
	size_t i;

	if (json_array_size(b->jobs) == 0)
		return STATUS_DONE;
	result = call_once(
	    ctl, a->verb.method, json_pack("{s:O}", "jobs", b->jobs), &status);
	json_array_foreach (result, i, made)
		if (show_made(ctl, made, b, i) != STATUS_DONE)
			status = STATUS_REFUSED;
	json_decref(result);
	b->bytes = 0;
	json_array_clear(b->jobs);
	return status;
}

/* A line that is no JSON goes as the text why: herod refuses it in its turn. */
static json_t *
job_of_line(const char *line, size_t len)
{
	json_error_t why;
	json_t *job = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	json_t *text;

	if (json_is_object(job))
		return job;
	text = job ? json_string("it is not a JSON object; wanted one a line")
		   : json_sprintf("not JSON: %s (column %d); wanted a JSON "
				  "object a line",
			 why.text, why.column);
	json_decref(job);
	return text ? text : json_string("not JSON: not UTF-8 text");
}

/* Editors put a mark before the first line, and empty ones behind the last. */
static void
add_line(struct batch *b, const char *line, size_t len)
{
	if (b->line++ == 0 && len >= 3 &&
	    memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3;
		len -= 3;
	}
	if (strspn(line, " \t\r\n") == len)
		return;
	b->at[json_array_size(b->jobs)] = b->line;
	json_array_append_new(b->jobs, job_of_line(line, len));
	b->bytes += len;
}

enum status
verb_jobs_create_many(struct ctl *ctl, const struct args *a)
{
	struct batch b = {.jobs = json_array()};
	enum status status = STATUS_DONE, sent = STATUS_DONE;
	char *line = NULL;
	size_t size = 0;
	struct err e = {0};
	ssize_t n = 0;

	if (args_count(a, 0, 0, &e) != 0) {
		json_decref(b.jobs);
		return ctl_misused(&e);
	}
	while (sent <= STATUS_REFUSED && n != -1) {
		n = getline(&line, &size, stdin);
		if (n == -1 || b.bytes + (size_t)n > BATCH_BYTES ||
		    json_array_size(b.jobs) == BATCH_JOBS)
			sent = send_batch(ctl, a, &b);
		if (n != -1)
			add_line(&b, line, (size_t)n);
		status = sent > status ? sent : status;
	}
	free(line);
	json_decref(b.jobs);
	return status;
}
