#include "origin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int
refuse_many(const char *text, struct err *e)
{
	if (strcmp(text, "*") == 0)
		err_set(e, ERR_PARAMS,
		    "'*' would let every page of the web ask in the name of "
		    "whoever looks at it");
	else if (strcasecmp(text, "null") == 0)
		err_set(e, ERR_PARAMS,
		    "'null' is the origin of every sandboxed page and local "
		    "file, whoever made it");
	else
		return 0;
	return err_hint(e, "name the origins, such as https://ops.example.org");
}

/* Behind the host: a name or an address, [V6] too.  NULL: there is none. */
static const char *
skip_host(const char *at)
{
	size_t len;

	if (*at == '[') {
		len = strspn(at + 1, "0123456789abcdefABCDEF:.");
		return len > 0 && at[len + 1] == ']' ? at + len + 2 : NULL;
	}
	for (len = 0; isalnum((unsigned char)at[len]) || at[len] == '-' ||
	     at[len] == '.';)
		len++;
	return len > 0 ? at + len : NULL;
}

/* ":8080" and nothing behind it, 0 for none; -1 when it is neither. */
static long
port_of(const char *at)
{
	size_t len;

	if (*at == '\0')
		return 0;
	len = strspn(at + 1, "0123456789");
	return *at == ':' && len > 0 && len <= 5 && at[len + 1] == '\0' &&
		at[1] != '0' && atol(at + 1) <= 65535
	    ? atol(at + 1)
	    : -1;
}

int
origin_read(const char *text, char *buf, size_t size, struct err *e)
{
	bool tls = strncasecmp(text, "https://", 8) == 0;
	const char *end;
	size_t i;
	long port;

	if (refuse_many(text, e) == -1)
		return -1;
	if (!tls && strncasecmp(text, "http://", 7) != 0)
		return -1;
	end = skip_host(text + (tls ? 8 : 7));
	port = end != NULL ? port_of(end) : -1;
	if (port == -1 || strlen(text) >= size)
		return -1;
	if (port == (tls ? 443 : 80))
		strlcpy(buf, text, (size_t)(end - text) + 1);
	else
		strlcpy(buf, text, size);
	for (i = 0; buf[i] != '\0'; i++)
		buf[i] = (char)tolower((unsigned char)buf[i]);
	return 0;
}
