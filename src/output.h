/*
 * What runners write: a file with time stamps, a ring in memory, followers.
 *
 * A line of the file: "2026-11-22T20:33:43.123456Z 0 out text" - time,
 * instance, stream (out, err), text.  "out+" marks a part of a line that
 * goes on, "err/JOB" a line written during a job.  Bytes are kept as they
 * came.  Nothing here waits for a reader.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "settings.h"
#include "transit.h"

struct output; /* of one runner */

struct output_line {
	double time; /* Unix seconds */
	int instance;
	int stream; /* CHILD_STDOUT, CHILD_STDERR */
	bool partial; /* goes on in the next line */
	const char *job; /* id, or NULL */
	const char *text;
	size_t len;
};

/* Opens (or will open at the first line) the file that conf names. */
struct output *output_new(const char *runner, const struct runner_conf *conf,
    const char *log_dir, size_t ring_bytes);
void output_free(struct output *o);

/* conf's live settings changed. */
void output_reconfigure(struct output *o, const struct runner_conf *conf);

/*
 * A place where one stream of one process collects its half lines.  With a
 * transit place (child_place()) it goes on with the half line of the herod
 * before us, and each byte stands in the file once, whenever herod is killed;
 * NULL: that is not so.
 */
struct output_source;
struct output_source *output_source_new(struct output *o, int instance,
    int stream, const char *job /* or NULL */,
    const struct transit_place *place);

/* Bytes as they came, from the place's piece in hand; whole lines are in the
 * file when this returns.  None: no more will come. */
void output_feed(struct output_source *s, const char *buf, size_t len);

/* Writes the last half line, if any, and frees the source. */
void output_source_end(struct output_source *s);

/* A line of herod's own about the runner (stream stderr). */
void output_note(struct output *o, int instance, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct output_filter {
	size_t lines; /* at most so many, the last ones */
	int stream; /* or -1: both */
	int instance; /* or -1: all */
	const char *job; /* or NULL: all */
	double since; /* Unix seconds; 0: all */
};

/* [LogLine...], oldest first; new. */
json_t *output_tail(struct output *o, const struct output_filter *f);
json_t *output_line_json(
    const struct output *o, const struct output_line *line);

/* Calls fn for each line from now on until output_unfollow(), which it may
 * call itself; with NULL once there will be no more. */
struct output_follower;
struct output_follower *output_follow(struct output *o,
    void (*fn)(void *arg, const struct output_line *line), void *arg);
void output_unfollow(struct output_follower *f);

/* Bytes that could not be written to the file, and why (or NULL). */
unsigned long long output_dropped(const struct output *o, const char **why);

#endif
