/* How a runner says that it is ready. */
#include "readiness.h"

#include <regex.h>
#include <string.h>

static int
check_regex(const char *text, struct err *e)
{
	char why[128];
	regex_t regex;
	int bad;

	if (*text == '\0')
		return -1;
	bad = regcomp(&regex, text, REG_EXTENDED | REG_NOSUB);
	if (!bad) {
		regfree(&regex);
		return 0;
	}
	regerror(bad, &regex, why, sizeof(why));
	return err_set(e, ERR_PARAMS, "'%.80s' is not a regular expression: %s",
	    text, why);
}

int
readiness_parse(const char *text, struct readiness *r, struct err *e)
{
	*r = (struct readiness){.fd = -1};
	if (strcmp(text, "none") == 0)
		return 0;
	if (strcmp(text, "notify") == 0) {
		r->kind = READY_NOTIFY;
		return 0;
	}
	if (strcmp(text, "probe") == 0) {
		r->kind = READY_PROBE;
		return 0;
	}
	if (strncmp(text, "fd:", 3) == 0) {
		r->kind = READY_FD;
		r->fd = text[3] - '0';
		return r->fd >= 3 && r->fd <= 9 && text[4] == '\0' ? 0 : -1;
	}
	if (strncmp(text, "log:", 4) == 0) {
		r->kind = READY_LOG;
		r->regex = text + 4;
		return check_regex(r->regex, e);
	}
	return -1;
}
