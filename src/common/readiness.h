/*
 * How a runner says that it is ready: the words of the setting ready.
 */
#ifndef READINESS_H
#define READINESS_H

#include "err.h"

enum readiness_kind {
	READY_NONE, /* it is when it has lived for startsecs */
	READY_NOTIFY, /* sd_notify(3) */
	READY_FD, /* a line on a descriptor */
	READY_LOG, /* a line of its output */
	READY_PROBE /* its health probe succeeds */
};

struct readiness {
	enum readiness_kind kind;
	int fd; /* of READY_FD, 3..9 */
	const char *regex; /* of READY_LOG, within the text */
};

/* Reads "none", "notify", "fd:3", "log:REGEX" or "probe".  -1: it is none
 * of these; refused with a sentence when it is a regular expression that
 * regcomp(3) does not take. */
int readiness_parse(const char *text, struct readiness *r, struct err *e);

#endif
