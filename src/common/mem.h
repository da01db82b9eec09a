/*
 * Memory that is there or the program ends: sizes here are ours or were
 * bounded by a setting before (a peer's number never comes here raw).
 */
#ifndef MEM_H
#define MEM_H

#include <stddef.h>

/* Like malloc(3) and friends; abort(3) with a line on stderr when the
 * system has no memory.  Free with free(3). */
void *xmalloc(size_t size);
void *xcalloc(size_t number, size_t size);
void *xreallocarray(void *old, size_t number, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* NULL-terminated arrays of heap strings ("strv").  NULL is an empty one. */
size_t strv_count(char *const *v);
char **strv_copy(char *const *v);
void strv_free(char **v);

/* Appends s, which it takes over, to *v. */
void strv_add(char ***v, char *stolen);

#endif
