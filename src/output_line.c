/* A line of a runner's output. */
#include "output_line.h"

#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "mem.h"

void
text_add(struct text *t, const char *bytes, size_t len)
{
	if (len == 0)
		return;
	if (t->len + len > t->size) {
		t->size = (t->len + len) * 2;
		t->bytes = xreallocarray(t->bytes, t->size, 1);
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

void
text_clear(struct text *t)
{
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}

/* ---- as text ---- */

size_t
line_head(const struct output_line *line, char head[LINE_HEAD_SIZE])
{
	char stamp[TIME_TEXT_SIZE];

	return (size_t)snprintf(head, LINE_HEAD_SIZE, "%s %d %s%s%s%s ",
	    time_text(line->time, stamp), line->instance,
	    line->stream == CHILD_STDOUT ? "out" : "err",
	    line->partial ? "+" : "", line->job ? "/" : "",
	    line->job ? line->job : "");
}

void
line_add_text(struct text *t, const struct output_line *line)
{
	char head[LINE_HEAD_SIZE];

	text_add(t, head, line_head(line, head));
	text_add(t, line->text, line->len);
	text_add(t, "\n", 1);
}

bool
line_read(char *text, size_t len, struct output_line *line)
{
	char *stamp = text, *instance, *stream, *job;

	text[len] = '\0';
	instance = strchr(stamp, ' ');
	stream = instance ? strchr(instance + 1, ' ') : NULL;
	text = stream ? strchr(stream + 1, ' ') : NULL;
	if (text == NULL)
		return false;
	*instance = *text++ = '\0';
	if (!text_time(stamp, &line->time))
		return false;
	job = strchr(stream + 1, '/');
	if (job)
		*job++ = '\0';
	line->job = job;
	line->instance = atoi(instance + 1);
	line->stream =
	    strncmp(stream + 1, "err", 3) == 0 ? CHILD_STDERR : CHILD_STDOUT;
	line->partial = stream[4] == '+';
	line->text = text;
	line->len = len - (size_t)(text - stamp);
	return true;
}

/* ---- as JSON ---- */

json_t *
line_json(const char *runner, const struct output_line *line)
{
	char stamp[TIME_TEXT_SIZE];
	json_t *object = json_pack("{s:s, s:s, s:i, s:s, s:o}", "time",
	    time_text(line->time, stamp), "runner", runner, "instance",
	    line->instance, "stream",
	    line->stream == CHILD_STDOUT ? "stdout" : "stderr", "text",
	    text_json(line->text, line->len));

	if (line->job)
		json_object_set_new(object, "job", json_string(line->job));
	if (line->partial)
		json_object_set_new(object, "partial", json_true());
	return object;
}

/* The bytes of a text that JSON cannot hold. */
static json_t *
base64_json(const char *bytes, size_t len)
{
	size_t size = (len + 2) / 3 * 4 + 1;
	char *coded = xmalloc(size);
	json_t *string;

	b64_ntop((const unsigned char *)bytes, len, coded, size);
	string = json_string(coded);
	free(coded);
	return string;
}

void
line_add_json(
    struct text *t, const char *runner, const struct output_line *line)
{
	json_t *object = line_json(runner, line);
	json_t *text = json_object_get(object, "text");
	char *dumped;

	if (json_string_length(text) != line->len ||
	    memcmp(json_string_value(text), line->text, line->len) != 0)
		json_object_set_new(
		    object, "base64", base64_json(line->text, line->len));
	dumped = json_dumps(object, JSON_COMPACT);
	text_add(t, dumped, strlen(dumped));
	text_add(t, "\n", 1);
	free(dumped);
	json_decref(object);
}

/* The text as it came; free(3) it. */
static char *
bytes_of(const json_t *object, size_t *len)
{
	const json_t *text = json_object_get(object, "text");
	const char *coded =
	    json_string_value(json_object_get(object, "base64"));
	char *bytes;
	int n;

	*len = coded ? strlen(coded) : json_string_length(text);
	bytes = xmalloc(*len + 1);
	if (coded) {
		n = b64_pton(coded, (unsigned char *)bytes, *len + 1);
		*len = n > 0 ? (size_t)n : 0;
	} else if (*len > 0)
		memcpy(bytes, json_string_value(text), *len);
	return bytes;
}

static void
line_from_json(struct text *t, const json_t *object)
{
	const char *stream = "", *time = "", *job = NULL;
	struct output_line line = {0};
	int partial = 0;
	char *bytes;

	if (json_unpack((json_t *)(uintptr_t)object,
		"{s:s, s:i, s:s, s?:s, s?:b}", "time", &time, "instance",
		&line.instance, "stream", &stream, "job", &job, "partial",
		&partial) != 0 ||
	    !text_time(time, &line.time))
		return;
	line.stream =
	    strcmp(stream, "stderr") == 0 ? CHILD_STDERR : CHILD_STDOUT;
	line.job = job;
	line.partial = partial != 0;
	line.text = bytes = bytes_of(object, &line.len);
	line_add_text(t, &line);
	free(bytes);
}

void
lines_from_json(struct text *t, const char *json, size_t len)
{
	const char *end = json + len, *newline;
	json_t *object;

	for (; json < end; json = newline + 1) {
		newline = memchr(json, '\n', (size_t)(end - json));
		if (newline == NULL)
			newline = end;
		object = json_loadb(
		    json, (size_t)(newline - json), JSON_ALLOW_NUL, NULL);
		if (object)
			line_from_json(t, object);
		json_decref(object);
	}
}
