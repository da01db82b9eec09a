/*
 * What a health probe looks at: the words of the setting health.
 */
#ifndef TARGET_H
#define TARGET_H

#include "err.h"

enum target_kind { TARGET_EXEC, TARGET_TCP, TARGET_HTTP };

struct target {
	enum target_kind kind;
	const char *command; /* of TARGET_EXEC, within the text */
	char host[256], port[8]; /* of the others */
	const char *path; /* of TARGET_HTTP, within the text, or "/" */
};

/* Reads "exec:COMMAND", "tcp:HOST:PORT" or "http://HOST[:PORT][/PATH]".
 * -1: it is none of these; refused with a sentence when that says more. */
int target_parse(const char *text, struct target *t, struct err *e);

#endif
