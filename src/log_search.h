/*
 * A search for the lines of one job in the log files of runners, rotated ones
 * too, from the end backwards.
 *
 * Files may be large: they are read in pieces, one a loop turn.  What is
 * written after the search began is not looked at.
 */
#ifndef LOG_SEARCH_H
#define LOG_SEARCH_H

#include <ev.h>

#include "output.h"

struct log_search;

#define LOG_SEARCH_MAX (8 << 20) /* bytes of text that it finds, at most */

struct log_wanted {
	const char *job;
	size_t lines; /* at most so many, the last ones */
	int stream; /* or -1: both */
	double since; /* Unix seconds: what is older is not looked at */
};

/* wanted is copied. */
struct log_search *log_search_new(
    struct ev_loop *loop, const struct log_wanted *wanted);

/* Looks into the files of this runner, too, and where it has none into what
 * is in memory. */
void log_search_add(struct log_search *s, struct output *o, const char *runner);

/* fn is called once, not before this returns: with [LogLine...], oldest first,
 * which it owns; s is gone then. */
void log_search_begin(
    struct log_search *s, void (*fn)(void *arg, json_t *lines), void *arg);
void log_search_cancel(struct log_search *s);

#endif
