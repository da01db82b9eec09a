/* Memory that is there, or the end. */
#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
must(void *p)
{
	if (p == NULL) {
		fputs("herod: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *
xmalloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *
xcalloc(size_t number, size_t size)
{
	return must(calloc(number ? number : 1, size ? size : 1));
}

void *
xreallocarray(void *old, size_t number, size_t size)
{
	return must(reallocarray(old, number ? number : 1, size ? size : 1));
}

char *
xstrdup(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

char *
xstrndup(const char *s, size_t len)
{
	return must(strndup(s, len));
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return must(s);
}

size_t
strv_count(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

void
strv_add(char ***v, char *stolen)
{
	size_t n = strv_count(*v);

	*v = xreallocarray(*v, n + 2, sizeof(**v));
	(*v)[n] = stolen;
	(*v)[n + 1] = NULL;
}

char **
strv_copy(char *const *v)
{
	size_t i, n = strv_count(v);
	char **copy;

	if (v == NULL)
		return NULL;
	copy = xcalloc(n + 1, sizeof(*copy));
	for (i = 0; i < n; i++)
		copy[i] = xstrdup(v[i]);
	return copy;
}

void
strv_free(char **v)
{
	size_t i;

	for (i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}
