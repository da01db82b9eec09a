/*
 * A stdio worker: each job is a JSON-RPC request line on stdin, its end a
 * response line on stdout.  One job at a time.  Try it:
 *
 *	cc -o letters worker.c -ljansson
 *	heroctl add-runner letters --kind stdio -- $PWD/letters
 *	heroctl run letters hello
 */
#include <ctype.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

static void
send(json_t *message)
{
	json_object_set_new(message, "jsonrpc", json_string("2.0"));
	json_dumpf(message, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(message);
}

static void
fail(const char *id, const char *why)
{
	send(json_pack("{s:s, s:{s:i, s:s}}", "id", id, "error", "code", -32000,
	    "message", why));
}

/* The next message; NULL at the end. */
static json_t *
receive(void)
{
	char *line = NULL;
	size_t size = 0;
	json_t *message = NULL;

	if (getline(&line, &size, stdin) != -1)
		message = json_loads(line, 0, NULL);
	free(line);
	return message;
}

/* Is the job to end early?  To be asked between its steps; that it waits for
 * 10 ms stands for the time that real work takes. */
static bool
is_cancelled(const char *id)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	json_t *message = poll(&in, 1, 10) > 0 ? receive() : NULL;
	const char *method = "", *its = "";
	bool yes;

	json_unpack(
	    message, "{s:s, s:{s:s}}", "method", &method, "params", "id", &its);
	yes = strcmp(method, "cancel") == 0 && strcmp(its, id) == 0;
	json_decref(message);
	return yes;
}

/* The work itself: text in, the number of its letters out. */
static void
run(const char *id, const char *text)
{
	size_t i, n = 0, len = strlen(text);

	fprintf(stderr, "job %s\n", id); /* to the log */
	for (i = 0; i < len; i++) {
		if (is_cancelled(id)) {
			fail(id, "cancelled");
			return;
		}
		n += isalpha((unsigned char)text[i]) != 0;
		send(json_pack("{s:s, s:{s:s, s:f}}", "method", "progress",
		    "params", "id", id, "fraction", (i + 1.0) / (double)len));
	}
	if (n == 0)
		fail(id, "there are no letters");
	else
		send(
		    json_pack("{s:s, s:I}", "id", id, "result", (json_int_t)n));
}

int
main(void)
{
	json_t *request;
	const char *method, *id, *text;

	setvbuf(stdin, NULL, _IONBF, 0); /* so that poll sees what is left */
	for (; (request = receive()) != NULL; json_decref(request))
		if (json_unpack(request, "{s:s, s:s, s:{s:s}}", "method",
			&method, "id", &id, "params", "payload", &text) == 0 &&
		    strcmp(method, "run") == 0)
			run(id, text);
	return 0;
}
