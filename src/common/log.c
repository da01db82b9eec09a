/* herod's own log on stderr, with a level for each part of the program. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "type.h"

#define MODULES_MAX 32

static const char *const level_names[] = {
    "error", "warn", "info", "debug", "trace"};

/* This and where lines go are the state in the process that is not in a
 * context: a line must be possible from anywhere. */
static struct {
	enum log_level all;
	struct {
		char name[24];
		enum log_level level;
	} module[MODULES_MAX];
	size_t nmodules;
} levels;

static int copy_fd = -1;

static int
level_of(const char *word)
{
	size_t i;

	for (i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(word, level_names[i]) == 0)
			return (int)i;
	return -1;
}

/* "warn" or "queue=debug". */
static int
set_one(char *part, struct err *e)
{
	char *eq = strchr(part, '=');
	const char *word = eq ? eq + 1 : part;
	int level = level_of(word);

	if (level < 0)
		return err_set(e, ERR_PARAMS,
		    "log level: '%s' is not error, warn, info, debug or trace",
		    word);
	if (eq == NULL) {
		levels.all = (enum log_level)level;
		return 0;
	}
	*eq = '\0';
	if (levels.nmodules == MODULES_MAX)
		return err_set(e, ERR_TOO_MANY, "log level: more than %d parts",
		    MODULES_MAX);
	snprintf(levels.module[levels.nmodules].name,
	    sizeof(levels.module[0].name), "%s", part);
	levels.module[levels.nmodules++].level = (enum log_level)level;
	return 0;
}

int
log_set_levels(const char *spec, struct err *e)
{
	typeof(levels) before = levels;
	char copy[512], *rest = copy, *part;

	snprintf(copy, sizeof(copy), "%s", spec);
	levels.all = LOG_ERROR;
	levels.nmodules = 0;
	while ((part = strsep(&rest, ", ")) != NULL) {
		if (*part != '\0' && set_one(part, e) != 0) {
			levels = before;
			return -1;
		}
	}
	return 0;
}

int
log_check_levels(const char *spec, struct err *e)
{
	typeof(levels) before = levels;
	int bad = log_set_levels(spec, e);

	levels = before;
	return bad;
}

bool
log_is_on(enum log_level level, const char *module)
{
	size_t i;

	for (i = 0; i < levels.nmodules; i++)
		if (strcmp(levels.module[i].name, module) == 0)
			return level <= levels.module[i].level;
	return level <= levels.all;
}

/* One write(2) a line, so that lines of several processes do not mix. */
static void
put(enum log_level level, const char *module, const char *fmt, va_list ap,
    int error)
{
	char line[1200], stamp[TIME_TEXT_SIZE];
	struct timespec now;
	size_t len;
	ssize_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	len = (size_t)snprintf(line, sizeof(line), "%s %s %s: ",
	    time_text((double)now.tv_sec + (double)now.tv_nsec / 1e9, stamp),
	    level_names[level], module);
	vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	len = strlen(line);
	if (error)
		snprintf(line + len, sizeof(line) - len - 1, ": %s",
		    strerror(error));
	len = strlen(line);
	line[len++] = '\n';
	n = write(STDERR_FILENO, line, len);
	if (copy_fd != -1)
		n = write(copy_fd, line, len);
	(void)n; /* no place left to complain to */
}

void
log_copy_to(int fd)
{
	if (copy_fd != -1)
		close(copy_fd);
	copy_fd = fd;
}

void
log_at(enum log_level level, const char *module, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(level, module, fmt, ap, 0);
	va_end(ap);
}

void
log_errno_at(enum log_level level, const char *module, const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	if (!log_is_on(level, module))
		return;
	va_start(ap, fmt);
	put(level, module, fmt, ap, error);
	va_end(ap);
	errno = error;
}
