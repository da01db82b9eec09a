/* Variables of a job. */
#include "env_vars.h"

#include <ctype.h>
#include <string.h>

/* Callers may set variables, but not run other code by them or pass for
 * another job. */
static int
check_variable(const char *pair, struct err *e)
{
	static const char *const kept[] = {
	    "LD_", "HERO_", "JOB_ID=", "CALLER_ID=", "CONTEXT_ID="};
	int len = (int)strcspn(pair, "=");
	size_t i;

	for (i = 0; pair[i] && pair[i] != '='; i++)
		if (!(isalpha((unsigned char)pair[i]) || pair[i] == '_' ||
			(i && isdigit((unsigned char)pair[i]))))
			break;
	if (!i || pair[i] != '=')
		return err_set(e, ERR_PARAMS,
		    "env_vars: '%.*s' is not a name of a variable", len, pair);
	for (i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!strncmp(pair, kept[i], strlen(kept[i])))
			return err_set(e, ERR_PARAMS,
			    "env_vars: %.*s cannot be set by a job", len, pair);
	return 0;
}

int
env_vars_check(char *const *pairs, struct err *e)
{
	for (; pairs && *pairs; pairs++)
		if (check_variable(*pairs, e) == -1)
			return -1;
	return 0;
}
