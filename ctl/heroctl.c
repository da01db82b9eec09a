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

/* Where a key stands in a word; NULL: nowhere.  Behind a k that may be a letter
 * option: what is hidden too much is only not shown. */
static char *
key_in(char *word)
{
	if (strncmp(word, "--key=", 6) == 0)
		return word + 6;
	if (strcmp(word, "--key") == 0)
		return word + 5;
	word = word[0] == '-' && word[1] != '-' ? strchr(word, 'k') : NULL;
	return word != NULL ? word + 1 : NULL;
}

/* ps(1) shows no key; the words are copies. */
static char **
hide_keys(char *argv[])
{
	char **words = xcalloc(1, sizeof(*words)), *key;
	bool is_next = false;

	for (; *argv != NULL; argv++) {
		strv_add(&words, xstrdup(*argv));
		key = is_next ? *argv : key_in(*argv);
		is_next = !is_next && key != NULL && *key == '\0';
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
	client_set_tls(ctl.client,
	    &(struct tls_files){.cert = getenv("HEROCTL_TLS_CERT"),
		.key = getenv("HEROCTL_TLS_KEY"),
		.ca = getenv("HEROCTL_TLS_CA")});
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
