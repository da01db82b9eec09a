/*
 * A program for job_model_test: each job waits until it is told how to end.
 *
 *	model_worker DIR exec	the job of JOB_ID
 *	model_worker DIR stdio	a stdio worker, any number of jobs at once
 *
 * When a job begins, a line with the pid is added to DIR/ID.  Lines "ID WORD"
 * are then awaited on the FIFO DIR/PID: good, bad, fatal (it is of no use to
 * try again), later (soon) and much-later, these two for exec only.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

/* See ledger_worker.c. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

#define HANDS 16

static const char *dir;
static struct {
	char id[64], request[80]; /* empty: no job */
} hands[HANDS];

static FILE *
open_orders(void)
{
	char path[512];
	FILE *orders;

	snprintf(path, sizeof(path), "%s/%d", dir, (int)getpid());
	mkfifo(path, 0600);
	/* There is always a writer: it never ends. */
	orders = fdopen(open(path, O_RDWR | O_CLOEXEC), "r");
	if (orders == NULL)
		abort();
	setvbuf(orders, NULL, _IONBF, 0);
	return orders;
}

static void
begin(const char *id)
{
	char path[512], line[16];
	int fd, n = snprintf(line, sizeof(line), "%d\n", (int)getpid());

	snprintf(path, sizeof(path), "%s/%s", dir, id);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

/* ---- exec ---- */

static const struct {
	const char *word, *says;
	int status;
} ends[] = {{"good", "done", 0}, {"bad", "", 1}, {"fatal", "", 65},
    {"later", "0.01s", 75}, {"much-later", "1000s", 75}};

static int
do_exec(const char *id)
{
	FILE *orders = open_orders();
	char its[64], word[16];
	size_t i;

	begin(id);
	if (fscanf(orders, "%63s %15s", its, word) != 2)
		abort();
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (strcmp(ends[i].word, word) == 0) {
			printf("%s", ends[i].says);
			return ends[i].status;
		}
	return 2;
}

/* ---- stdio ---- */

static void
answer(const char *request, json_t *stolen)
{
	json_object_set_new(stolen, "jsonrpc", json_string("2.0"));
	json_object_set_new(stolen, "id", json_string(request));
	json_dumpf(stolen, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(stolen);
}

static void
fail(const char *request, const char *why, int retryable)
{
	answer(request,
	    json_pack("{s:{s:i, s:s, s:{s:b}}}", "error", "code", 1, "message",
		why, "data", "retryable", retryable));
}

static void
take(const char *id, const char *request)
{
	int i;

	for (i = 0; i < HANDS && hands[i].id[0]; i++)
		;
	if (i == HANDS)
		abort();
	snprintf(hands[i].id, sizeof(hands[i].id), "%s", id);
	snprintf(hands[i].request, sizeof(hands[i].request), "%s", request);
	begin(id);
}

static void
cancel(const char *request)
{
	int i;

	for (i = 0; i < HANDS; i++)
		if (strcmp(hands[i].request, request) == 0) {
			memset(&hands[i], 0, sizeof(hands[i]));
			fail(request, "cancelled", 0);
			return;
		}
}

static void
obey(const char *id, const char *word)
{
	char request[80];
	int i;

	for (i = 0; i < HANDS && strcmp(hands[i].id, id) != 0; i++)
		;
	if (i == HANDS)
		return;
	memcpy(request, hands[i].request, sizeof(request));
	memset(&hands[i], 0, sizeof(hands[i]));
	if (strcmp(word, "good") == 0)
		answer(request, json_pack("{s:s}", "result", "done"));
	else
		fail(request, word, strcmp(word, "fatal") != 0);
}

static void
read_request(const char *line)
{
	json_t *message = json_loads(line, 0, NULL);
	const char *method = "", *request = "", *id = "";

	json_unpack(message, "{s:s, s?s, s:{s:s}}", "method", &method, "id",
	    &request, "params", "id", &id);
	if (strcmp(method, "run") == 0)
		take(id, request);
	else if (strcmp(method, "cancel") == 0)
		cancel(id);
	json_decref(message);
}

static int
do_stdio(void)
{
	FILE *orders = open_orders();
	struct pollfd fds[] = {
	    {STDIN_FILENO, POLLIN, 0}, {fileno(orders), POLLIN, 0}};
	char *line = NULL, id[64], word[16];
	size_t size = 0;

	setvbuf(stdin, NULL, _IONBF, 0);
	for (;;) {
		if (poll(fds, 2, -1) == -1)
			abort();
		if (fds[0].revents && getline(&line, &size, stdin) == -1)
			break;
		if (fds[0].revents)
			read_request(line);
		if (fds[1].revents &&
		    fscanf(orders, "%63s %15s", id, word) == 2)
			obey(id, word);
	}
	free(line);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *id = getenv("JOB_ID");

	if (argc < 3)
		return 2;
	dir = argv[1];
	return strcmp(argv[2], "exec") == 0 && id ? do_exec(id) : do_stdio();
}
