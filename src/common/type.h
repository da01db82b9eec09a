/*
 * Kinds of value, the one vocabulary for settings and parameters.
 *
 * A value always travels text -> JSON -> check -> C field, whether it came
 * from the file, from argv or from RPC, so the three cannot disagree.
 */
#ifndef TYPE_H
#define TYPE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "err.h"

/* The field of a LIMIT that is "unlimited". */
#define LIMIT_NONE LLONG_MAX

#define INTS_MAX 16
struct ints {
	int n;
	unsigned char v[INTS_MAX]; /* signals, exit codes */
};

bool ints_have(const struct ints *list, int n);

enum type {
#define TYPE(name, ...) TYPE_##name,
#include "types.def"
#undef TYPE
	TYPE_COUNT_
};

/* A kind with its limits: "1..65535" for COUNT, SIZE and DURATION (seconds),
 * "always=true|never=false" (word=alias...) for ENUM, else NULL. */
struct kind {
	enum type type;
	const char *limits;
};

const char *type_name(enum type type);

/*
 * Checks a JSON value, giving its canonical JSON form as a new reference,
 * or NULL with a refusal that begins "NAME: ".  A string is read as the
 * text form of any kind.  Canonical forms: seconds as a real, bytes as an
 * integer, a limit as an integer or "unlimited", signals as an array of names
 * without SIG, commands and lists as arrays of strings, maps as objects of
 * strings, modes as "022".
 */
json_t *type_check(
    const struct kind *k, const char *name, const json_t *value, struct err *e);

/* Puts a canonical value into a field of the kind's C type (the old value
 * is freed).  JSON null and NULL empty it. */
void type_store(const struct kind *k, void *field, const json_t *canonical);

/* The field as canonical JSON (json null for an empty pointer); new. */
json_t *type_fetch(const struct kind *k, const void *field);

/* Frees what the field holds and zeroes it. */
void type_clear(const struct kind *k, void *field);

/* JSON Schema of the canonical form, without titles; new. */
json_t *type_schema(const struct kind *k);

/* The word of an ENUM's value, for text; "" when out of range.  Static
 * storage is not used: buf gets it. */
const char *type_enum_word(
    const char *limits, int value, char *buf, size_t size);

/* "TERM" for 15; buf is used for numbers without a name. */
const char *signal_name(int signal, char buf[16]);

/* 15 for "TERM", "SIGTERM", "15"; -1 when unknown. */
int signal_number(const char *text);

/* True for what runner names may be (interface: [A-Za-z0-9][...]{0,63}). */
bool name_is_valid(const char *name);
bool id_is_valid(const char *id);

/* A random UUID (version 4), as ids are that are made here. */
#define UUID_SIZE 37 /* with the NUL */
void make_uuid(char uuid[UUID_SIZE]);

/* Splits words as a shell would without expanding anything: blanks, '...',
 * "..." and backslash.  Returns a strv, or NULL with a refusal. */
char **words_split(const char *text, struct err *e);

/* The nearest of n words to a mistyped one, or NULL when none is near;
 * next(i) gives the i-th, NULL ends. */
const char *nearest_word(const char *typo,
    const char *(*next)(size_t i, const void *arg), const void *arg);

/* RFC 3339 UTC with microseconds, as JSON times are written: 27 bytes and
 * the final NUL. */
#define TIME_TEXT_SIZE 28
const char *time_text(double unix_seconds, char buf[TIME_TEXT_SIZE]);

/* Puts a text into buf from at on, cut where that is full, with a NUL behind
 * it; gives the place of that.  strlcat(3) would count from the beginning, byte
 * by byte. */
size_t text_put(char *buf, size_t size, size_t at, const char *text);
size_t text_put_number(char *buf, size_t size, size_t at, long long n);

/* It has no fraction, and an int can hold it. */
bool is_whole(double n);

/* A whole number; gives its length. */
#define NUMBER_TEXT_SIZE 24
size_t number_text(long long n, char buf[NUMBER_TEXT_SIZE]);

/* Reads that form (the fraction may be missing); false if it is not. */
bool text_time(const char *text, double *unix_seconds);

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD; new. */
json_t *text_json(const char *bytes, size_t len);

/* Bytes as a person writes them where that is exact: "64MB", "1000". */
const char *size_text(long long bytes, char buf[32]);

/* Seconds as a person writes them: "350ms", "4s", "2m5s", "3d4h". */
const char *duration_text(double seconds, char buf[32]);

#endif
