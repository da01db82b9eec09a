/*
 * What runners write: files with time stamps, a ring in memory, followers,
 * syslog or the journal.  Nothing here waits for a reader.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "logfile.h"
#include "output_line.h"
#include "settings.h"
#include "sink.h"

struct output; /* of one runner */

/* What the outputs of all runners share; outlives them. */
struct output_home {
	char *dir; /* of files named AUTO */
	size_t ring_bytes; /* of each runner, in memory */
	struct logfiles *files;
	struct sink *sink;
	struct output_spare *spare;
	struct job_followers *job_followers; /* NULL: there are none */
};

/* Buffers that outputs share. */
struct output_spare *output_spare_new(void);
void output_spare_free(struct output_spare *s);

/* For home->job_followers. */
struct job_followers *job_followers_new(void);
void job_followers_free(struct job_followers *all);

/* Files are opened at the first line.  home is borrowed. */
struct output *output_new(const char *runner, const struct runner_conf *conf,
    const struct output_home *home);
void output_free(struct output *o);

/* Takes conf's settings from the next line on. */
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

/* What comes from now on is written during this job (or NULL); half a line
 * that is there is a line of the one before. */
void output_source_job(struct output_source *s, const char *job);

/* Writes the last half line, if any, and frees the source. */
void output_source_end(struct output_source *s);

/* Whole lines: instance, stream and job are of *about.  With p, which outlives
 * herod and is all zero before, each of them stands in the file once, whenever
 * herod is killed, if the next one calls this again. */
void output_lines(struct output *o, const struct output_line *about,
    const char *text, size_t len, struct progress *p);

/* A line of herod's own about the runner (stream stderr). */
void output_note(struct output *o, int instance, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct output_filter {
	size_t lines; /* at most so many, the last ones */
	int stream; /* or -1: both */
	int instance; /* or -1: all */
	const char *job; /* or NULL: all */
	double since; /* Unix seconds; 0: all */
	bool or_none; /* job: those of no job, too */
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

/* The same for all lines written during a job, whosever they are; fn is not
 * called with NULL. */
struct job_follower;
struct job_follower *output_follow_job(const struct output_home *home,
    const char *job,
    void (*fn)(
	void *arg, const struct output *o, const struct output_line *line),
    void *arg);
void output_unfollow_job(struct job_follower *f);

/* What output_tail() gives, as one text: joined by newlines, at most max bytes
 * (the oldest loses its beginning), a blank for a byte 0.  New string, or NULL:
 * there are none. */
char *output_last_words(
    struct output *o, const struct output_filter *f, size_t max);

/* Path of the file of a stream; NULL: it has none. */
const char *output_path(const struct output *o, int stream);

/* May more be fed?  False while log_on_full = block holds what could not be
 * written. */
bool output_has_room(const struct output *o, int stream);

/* New object: the file of each stream with what was dropped and why, and the
 * lines that log_rate_limit has withheld. */
json_t *output_json(const struct output *o);

#endif
