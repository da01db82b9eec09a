/* What a health probe looks at. */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "type.h"

static int
check_command(const char *text, struct err *e)
{
	char **words = words_split(text, e);
	int bad = words == NULL || words[0] == NULL || *words[0] == '\0';

	strv_free(words);
	return bad ? -1 : 0;
}

static bool
is_port(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && *end == '\0' && port > 0 &&
	    port < 65536;
}

/* "host:80", "[::1]:80" or, when there is a port to assume, "host", up to
 * len bytes. */
static int
read_host(struct target *t, const char *text, size_t len, const char *port)
{
	char copy[sizeof(t->host) + sizeof(t->port)], *host = copy, *behind;

	if (len >= sizeof(copy))
		return -1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	behind = *copy == '[' ? strchr(copy, ']') : copy;
	if (behind == NULL)
		return -1;
	if (*copy == '[') {
		host = copy + 1;
		*behind++ = '\0';
	} else
		behind += strcspn(copy, ":");
	if (*behind == ':')
		port = behind + 1;
	else if (*behind != '\0')
		return -1;
	if (port == NULL || !is_port(port))
		return -1;
	strlcpy(t->port, port, sizeof(t->port));
	*behind = '\0';
	strlcpy(t->host, host, sizeof(t->host));
	return *t->host ? 0 : -1;
}

static int
read_url(struct target *t, const char *text)
{
	size_t len = strcspn(text, "/");

	t->path = text[len] ? text + len : "/";
	if (strpbrk(text, " \r\n\t#"))
		return -1;
	return read_host(t, text, len, "80");
}

int
target_parse(const char *text, struct target *t, struct err *e)
{
	*t = (struct target){.kind = TARGET_EXEC};
	if (strncmp(text, "exec:", 5) == 0) {
		t->command = text + 5;
		return check_command(t->command, e);
	}
	if (strncmp(text, "tcp:", 4) == 0) {
		t->kind = TARGET_TCP;
		return read_host(t, text + 4, strlen(text + 4), NULL);
	}
	if (strncmp(text, "http://", 7) == 0) {
		t->kind = TARGET_HTTP;
		return read_url(t, text + 7);
	}
	if (strncmp(text, "https://", 8) == 0)
		return err_set(e, ERR_PARAMS,
		    "https is not spoken; wanted http:, tcp: or exec: with a "
		    "program that speaks it");
	return -1;
}
