/*
 * herod's own log: one line an event on stderr, subject first:
 * "runner web: exit 3, 2nd failure, next try in 4s".
 *
 * A file sets LOG_MODULE before including this; levels are per module:
 * "info", or "error,queue=debug,http=trace" (HERO_LOG, -l).
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

#include "err.h"

#ifndef LOG_MODULE
#define LOG_MODULE "herod"
#endif

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Sets levels from text; refuses unknown words, changing nothing. */
int log_set_levels(const char *spec, struct err *e);

/* Only refuses. */
int log_check_levels(const char *spec, struct err *e);

/* Each line goes to this descriptor, too, which is taken over, until it is
 * called with -1. */
void log_copy_to(int fd);

bool log_is_on(enum log_level level, const char *module);
void log_at(enum log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends ": strerror(errno)"; keeps errno. */
void log_errno_at(enum log_level level, const char *module, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

#define log_if(level, ...) \
	do { \
		if (log_is_on((level), LOG_MODULE)) \
			log_at((level), LOG_MODULE, __VA_ARGS__); \
	} while (0)

/* As in OpenBSD's daemons: log_warn appends strerror(errno), log_warnx not. */
#define log_error(...) log_errno_at(LOG_ERROR, LOG_MODULE, __VA_ARGS__)
#define log_errorx(...) log_if(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_errno_at(LOG_WARN, LOG_MODULE, __VA_ARGS__)
#define log_warnx(...) log_if(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_if(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_if(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_if(LOG_TRACE, __VA_ARGS__)

#endif
