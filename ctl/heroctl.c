/*
 * heroctl: main.  Who is asked, how it may look, and off.
 */
#include "heroctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "mem.h"

static char *
default_server(void)
{
	const char *server = getenv("HEROCTL_SERVER");

	return server && *server ? xstrdup(server) : client_default_server();
}

static bool
may_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (no == NULL || *no == '\0') && term && strcmp(term, "dumb") != 0;
}

/* What ps(1) shows of -k and --key is no key; the words are copies. */
static char **
hide_keys(char *argv[])
{
	char **words = xcalloc(1, sizeof(*words));
	bool is_next = false;
	char *key;

	for (; *argv != NULL; argv++) {
		strv_add(&words, xstrdup(*argv));
		if (is_next)
			key = *argv;
		else if (strncmp(*argv, "--key=", 6) == 0)
			key = *argv + 6;
		else
			key = strncmp(*argv, "-k", 2) == 0 ? *argv + 2 : NULL;
		is_next =
		    strcmp(*argv, "-k") == 0 || strcmp(*argv, "--key") == 0;
		if (key != NULL)
			memset(key, 'x', strlen(key));
	}
	return words;
}

int
main(int argc, char *argv[])
{
	struct ctl ctl = {.out = stdout};
	enum status status;
	char *server = default_server(), **words = hide_keys(argv + 1);

	(void)argc;
	ctl.tty = isatty(STDOUT_FILENO);
	ctl.colour = ctl.tty && may_colour();
	ctl.format = ctl.tty ? FORMAT_TABLE : FORMAT_PLAIN;
	ctl.client = client_new(server);
	client_set_key(ctl.client, getenv("HEROCTL_KEY"));
	free(server);
	status = ctl_run(&ctl, words);
	strv_free(words);
	client_free(ctl.client);
	if (fclose(stdout) != 0 && status == STATUS_DONE) {
		perror("heroctl: standard output");
		status = STATUS_REFUSED;
	}
	return (int)status;
}
