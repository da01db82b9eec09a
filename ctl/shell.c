/*
 * The shell of verbs: heroctl without arguments.  At a terminal it prompts
 * and ^C ends only the command under way; else it reads a script.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "heroctl.h"
#include "mem.h"

/* Its only effect is that a system call that waits is interrupted. */
static void
on_interrupt(int signal)
{
	(void)signal;
}

static void
survive_interrupts(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
}

static bool
is_end(char *const *words)
{
	return words[0] &&
	    (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0);
}

/* One line; false when it asked for the end. */
static bool
run_line(struct ctl *ctl, const char *line, enum status *status)
{
	struct err e = {0};
	char **words = words_split(line, &e);
	bool go_on = true;

	if (words == NULL)
		*status = ctl_misused(&e);
	else if (is_end(words))
		go_on = false;
	else if (words[0] && words[0][0] != '#')
		*status = ctl_run(ctl, words);
	strv_free(words);
	return go_on;
}

/* The next line; false at the end of input. */
static bool
read_line(char **line, size_t *size, bool prompts)
{
	for (;;) {
		if (prompts) {
			fputs("herod> ", stdout);
			fflush(stdout);
		}
		errno = 0;
		if (getline(line, size, stdin) != -1)
			return true;
		if (errno != EINTR || !prompts)
			return false;
		clearerr(stdin);
		putchar('\n');
	}
}

/* For a script the first failure counts; a person has seen them all. */
enum status
shell_run(struct ctl *ctl)
{
	bool prompts = isatty(STDIN_FILENO);
	enum status status = STATUS_DONE, first = STATUS_DONE;
	char *line = NULL;
	size_t size = 0;

	if (prompts) {
		survive_interrupts();
		printf("heroctl at %s; help lists the verbs, exit ends\n",
		    client_server(ctl->client));
	}
	while (read_line(&line, &size, prompts)) {
		if (!run_line(ctl, line, &status))
			break;
		if (first == STATUS_DONE)
			first = status;
	}
	if (prompts && feof(stdin))
		putchar('\n');
	free(line);
	return prompts ? status : first;
}
