/* Refusals: made, and turned into JSON-RPC's error object and back. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "secret.h"

static const struct err_row rows[] = {
    [ERR_NONE] = {0, "none", false, ""},
#define ERROR(name, number, word, retryable, meaning) \
	[ERR_##name] = {number, word, retryable, meaning},
#include "errors.def"
#undef ERROR
};

int
err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL || e->code != ERR_NONE)
		return -1;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	secret_mask(e->text);
	return -1;
}

int
err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
	va_end(ap);
	secret_mask(e->hint);
	return -1;
}

int
err_subject(struct err *e, const char *subject)
{
	if (e) {
		snprintf(e->subject, sizeof(e->subject), "%s", subject);
		secret_mask(e->subject);
	}
	return -1;
}

void
err_clear(struct err *e)
{
	memset(e, 0, sizeof(*e));
}

bool
err_is_set(const struct err *e)
{
	return e->code != ERR_NONE;
}

const struct err_row *
err_row(enum err_code code)
{
	return &rows[code < ERR_COUNT ? code : ERR_INTERNAL];
}

/* A peer's bytes may be quoted in a sentence cut anywhere: make it UTF-8. */
static json_t *
sentence(const char *s)
{
	char clean[sizeof(((struct err *)0)->text)];
	json_t *text = json_string(s);
	size_t i;

	if (text)
		return text;
	for (i = 0; s[i] && i < sizeof(clean) - 1; i++)
		clean[i] = (unsigned char)s[i] < 0x80 ? s[i] : '?';
	clean[i] = '\0';
	return json_string(clean);
}

json_t *
err_to_json(const struct err *e)
{
	const struct err_row *row = err_row(e->code);
	json_t *data = json_object();

	json_object_set_new(data, "name", json_string(row->name));
	if (*e->subject)
		json_object_set_new(data, "subject", sentence(e->subject));
	if (*e->hint)
		json_object_set_new(data, "hint", sentence(e->hint));
	json_object_set_new(data, "retryable", json_boolean(row->retryable));
	if (e->more)
		json_object_update(data, (json_t *)(uintptr_t)e->more);
	return json_pack("{s:i, s:o, s:o}", "code", row->number, "message",
	    sentence(e->text), "data", data);
}

static enum err_code
code_of(int number)
{
	enum err_code c;

	for (c = 1; c < ERR_COUNT; c++)
		if (rows[c].number == number)
			return c;
	return ERR_INTERNAL;
}

static void
take(char *to, size_t size, const json_t *text)
{
	if (json_is_string(text))
		snprintf(to, size, "%s", json_string_value(text));
}

void
err_from_json(struct err *e, const json_t *error)
{
	const json_t *data = json_object_get(error, "data");

	err_clear(e);
	e->code =
	    code_of((int)json_integer_value(json_object_get(error, "code")));
	take(e->text, sizeof(e->text), json_object_get(error, "message"));
	take(e->hint, sizeof(e->hint), json_object_get(data, "hint"));
	take(e->subject, sizeof(e->subject), json_object_get(data, "subject"));
}
