/*
 * A stdio worker for tests: one JSON-RPC request a line on stdin, answers
 * on stdout.  The payload's first word says what to do, the rest is for it.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#define HELD_MAX 64
static char held[HELD_MAX][160]; /* ids of jobs that wait for "release" */
static int nheld;

static void
send(json_t *stolen)
{
	json_object_set_new(stolen, "jsonrpc", json_string("2.0"));
	json_dumpf(stolen, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(stolen);
}

static void
succeed(const char *id, const char *result)
{
	send(json_pack("{s:s, s:s}", "id", id, "result", result));
}

static void
fail(const char *id, const char *message)
{
	send(json_pack("{s:s, s:{s:i, s:s}}", "id", id, "error", "code", -32000,
	    "message", message));
}

static void
say(const char *id, const char *text)
{
	(void)id;
	printf("%s\n", text);
	fflush(stdout);
	exit(0); /* when herod has not ended us before */
}

/* No job has named this file before. */
static bool
is_first(const char *path)
{
	FILE *f = fopen(path, "wx");

	return f && fclose(f) == 0;
}

/* Dies at the first job that names this file. */
static void
die_once(const char *id, const char *path)
{
	if (is_first(path))
		_exit(9);
	succeed(id, "second time");
}

static void
die(const char *id, const char *arg)
{
	(void)id;
	(void)arg;
	_exit(9);
}

/* Answered, last first, when a "release" comes. */
static void
hold(const char *id, const char *arg)
{
	(void)arg;
	if (nheld < HELD_MAX)
		snprintf(held[nheld++], sizeof(held[0]), "%s", id);
}

/* Fails the first job that names this file, and holds the others. */
static void
fail_once(const char *id, const char *path)
{
	if (is_first(path))
		fail(id, "first time");
	else
		hold(id, "");
}

static void
release(const char *id, const char *arg)
{
	(void)arg;
	succeed(id, "released");
	while (nheld > 0)
		succeed(held[--nheld], "held");
}

/* Is at work until the file is there. */
static void
wait_for_file(const char *id, const char *path)
{
	while (access(path, F_OK) != 0)
		poll(NULL, 0, 5);
	succeed(id, "it is there");
}

static void
fail_at_file(const char *id, const char *path)
{
	while (access(path, F_OK) != 0)
		poll(NULL, 0, 5);
	fail(id, "it is there");
}

static void
grow(const char *id, const char *size)
{
	size_t len = strtoul(size, NULL, 10);
	char *result = malloc(len + 1);

	if (result == NULL)
		abort();
	memset(result, 'x', len);
	result[len] = '\0';
	succeed(id, result);
	free(result);
}

static void
log_to_stderr(const char *id, const char *text)
{
	fprintf(stderr, "%s\n", text);
	succeed(id, "logged");
}

static void
log_line(const char *id, const char *text)
{
	send(json_pack("{s:s, s:{s:s, s:s}}", "method", "log", "params", "id",
	    id, "text", text));
}

static void
log_it(const char *id, const char *text)
{
	log_line(id, text);
	succeed(id, "logged");
}

static void
log_and_hold(const char *id, const char *text)
{
	log_line(id, text);
	hold(id, "");
}

/* Lines of all that are held, in turn; so many of each. */
static void
chat(const char *id, const char *times)
{
	int i, k;
	char text[256];

	for (k = 0; k < atoi(times); k++)
		for (i = 0; i < nheld; i++) {
			snprintf(text, sizeof(text), "%d of %s", k, held[i]);
			log_line(held[i], text);
		}
	succeed(id, "chatted");
}

static void
stderr_and_hold(const char *id, const char *text)
{
	fprintf(stderr, "%s\n", text);
	hold(id, "");
}

static void
crash(const char *id, const char *text)
{
	(void)id;
	fprintf(stderr, "%s\n", text);
	raise(SIGABRT);
}

static void
progress(const char *id, const char *message)
{
	send(json_pack("{s:s, s:{s:s, s:f, s:s}}", "method", "progress",
	    "params", "id", id, "fraction", 0.5, "message", message));
	succeed(id, "done");
}

static const struct {
	const char *word;
	void (*fn)(const char *id, const char *rest);
} tricks[] = {{"echo", succeed}, {"fail", fail}, {"say", say}, {"die", die},
    {"die-once", die_once}, {"fail-once", fail_once}, {"hold", hold},
    {"release", release}, {"grow", grow}, {"stderr", log_to_stderr},
    {"progress", progress}, {"log", log_it}, {"log-hold", log_and_hold},
    {"chat", chat}, {"stderr-hold", stderr_and_hold}, {"crash", crash},
    {"wait-for", wait_for_file}, {"fail-at", fail_at_file}};

static void
run(const char *id, const char *payload)
{
	size_t i, len = strcspn(payload, " ");
	const char *rest = payload + len + (payload[len] == ' ');

	for (i = 0; i < sizeof(tricks) / sizeof(tricks[0]); i++)
		if (strlen(tricks[i].word) == len &&
		    strncmp(tricks[i].word, payload, len) == 0) {
			tricks[i].fn(id, rest);
			return;
		}
	fail(id, "no such trick");
}

static void
take(const char *line)
{
	json_t *request = json_loads(line, 0, NULL);
	const char *method, *id, *payload;

	if (json_unpack(request, "{s:s, s:{s:s, s:s}}", "method", &method,
		"params", "id", &id, "payload", &payload) == 0 &&
	    strcmp(method, "run") == 0)
		run(id, payload);
	else if (json_unpack(request, "{s:s, s:{s:s}}", "method", &method,
		     "params", "id", &id) == 0 &&
	    strcmp(method, "cancel") == 0)
		fail(id, "cancelled");
	json_decref(request);
}

int
main(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) != -1)
		if (*line != '\n')
			take(line);
	free(line);
	return 0;
}
