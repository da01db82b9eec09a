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

int
main(int argc, char *argv[])
{
	struct ctl ctl = {.out = stdout};
	enum status status;
	char *server = default_server();

	(void)argc;
	ctl.tty = isatty(STDOUT_FILENO);
	ctl.colour = ctl.tty && may_colour();
	ctl.format = ctl.tty ? FORMAT_TABLE : FORMAT_PLAIN;
	ctl.client = client_new(server);
	free(server);
	status = ctl_run(&ctl, argv + 1);
	client_free(ctl.client);
	if (fclose(stdout) != 0 && status == STATUS_DONE) {
		perror("heroctl: standard output");
		status = STATUS_REFUSED;
	}
	return (int)status;
}
