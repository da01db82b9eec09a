/*
 * A line of a runner's output, as it stands in log files and in memory.
 *
 * As text: "2026-11-22T20:33:43.123456Z 0 out text" - time, instance, stream
 * (out, err), text.  "out+" marks a part of a line that goes on, "err/JOB" a
 * line written during a job.  Bytes are kept as they came.
 *
 * As JSON: an object a line, with time, runner, instance, stream, text, and
 * where it applies job and partial; of text that is no UTF-8 base64 has the
 * bytes as they came.
 */
#ifndef OUTPUT_LINE_H
#define OUTPUT_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct output_line {
	double time; /* Unix seconds */
	int instance;
	int stream; /* CHILD_STDOUT, CHILD_STDERR */
	bool partial; /* goes on in the next line */
	const char *job; /* id, or NULL */
	const char *text;
	size_t len;
};

/* A growing text; bytes is NULL while it is empty. */
struct text {
	char *bytes;
	size_t len, size;
};

void text_add(struct text *t, const char *bytes, size_t len);
void text_clear(struct text *t);

/* What a line as text begins with, up to its text: the same for all lines of
 * a stream that come together and are whole.  Returns its length. */
#define LINE_HEAD_SIZE 256
size_t line_head(const struct output_line *line, char head[LINE_HEAD_SIZE]);

/* Adds a line with its newline. */
void line_add_text(struct text *t, const struct output_line *line);
void line_add_json(
    struct text *t, const char *runner, const struct output_line *line);

/* Takes a line as text apart (its first len bytes are changed, and text[len]);
 * false when it is none. */
bool line_read(char *text, size_t len, struct output_line *line);

/* Adds as text the lines that are JSON, leaving out what is no line. */
void lines_from_json(struct text *t, const char *json, size_t len);

/* New object: what RPC tells of a line, and what stands in a file. */
json_t *line_json(const char *runner, const struct output_line *line);

#endif
