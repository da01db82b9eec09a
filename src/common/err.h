/*
 * A refusal: what a person or program that asked for something is told
 * when they cannot have it.  Made where the reason is known, passed up by
 * pointer, turned into JSON-RPC's error object (section 5.1) or a line on
 * stderr at the door.
 */
#ifndef ERR_H
#define ERR_H

#include <stdbool.h>

#include <jansson.h>

enum err_code {
	ERR_NONE,
#define ERROR(name, ...) ERR_##name,
#include "errors.def"
#undef ERROR
	ERR_COUNT
};

struct err {
	enum err_code code; /* ERR_NONE while nothing was refused */
	char text[768]; /* one sentence: wanted, found */
	char hint[256]; /* what to do, or empty */
	char subject[160]; /* runner, job, setting or file, or empty */
	const json_t *more; /* borrowed: further members of data, or NULL */
};

/* One row of errors.def. */
struct err_row {
	int number; /* JSON-RPC code */
	const char *name;
	bool retryable;
	const char *meaning;
};

/* Says no.  The first refusal stands; later ones are dropped.  Returns -1,
 * so that "return err_set(...)" refuses and leaves.  e may be NULL. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what to do about it.  Returns -1. */
int err_hint(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds whom or what it is about.  Returns -1. */
int err_subject(struct err *e, const char *subject);

void err_clear(struct err *e);
bool err_is_set(const struct err *e);

/* The row of a code; never NULL. */
const struct err_row *err_row(enum err_code code);

/* {"code", "message", "data": {name, subject, hint, retryable}}; new. */
json_t *err_to_json(const struct err *e);

/* Reads what err_to_json() made (or any JSON-RPC error object). */
void err_from_json(struct err *e, const json_t *error);

#endif
