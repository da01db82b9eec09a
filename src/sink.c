/* Lines to syslog or the journal. */
#define LOG_MODULE "output"

#include "sink.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "log.h"
#include "mem.h"

/* As in syslog(3), whose header does not go together with log.h. */
enum { FACILITY_DAEMON = 3 << 3, SEVERITY_WARNING = 4, SEVERITY_INFO = 6 };

struct door {
	char *path;
	int fd; /* -1: not connected */
	time_t tried_at; /* when it was dialled last */
};

struct sink {
	struct door doors[SINK_KINDS];
	unsigned long long dropped;
};

struct sink *
sink_new(const char *syslog_socket, const char *journal_socket)
{
	struct sink *s = xcalloc(1, sizeof(*s));

	s->doors[SINK_SYSLOG].path = xstrdup(syslog_socket);
	s->doors[SINK_JOURNAL].path = xstrdup(journal_socket);
	s->doors[SINK_SYSLOG].fd = s->doors[SINK_JOURNAL].fd = -1;
	return s;
}

static void
door_close(struct door *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

void
sink_free(struct sink *s)
{
	int i;

	for (i = SINK_NONE + 1; i < SINK_KINDS; i++) {
		door_close(&s->doors[i]);
		free(s->doors[i].path);
	}
	free(s);
}

static bool
dial(struct door *d)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (strlen(d->path) >= sizeof(sun.sun_path))
		return false;
	memcpy(sun.sun_path, d->path, strlen(d->path));
	d->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd >= 0 &&
	    connect(d->fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		log_warn("%s: lines for it are dropped", d->path);
		door_close(d);
	}
	return d->fd >= 0;
}

/* At most once a second. */
static bool
door_is_open(struct door *d)
{
	struct timespec now;

	if (d->fd >= 0)
		return true;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec == d->tried_at)
		return false;
	d->tried_at = now.tv_sec;
	return dial(d);
}

/* When the other side was started anew, our socket leads nowhere. */
static bool
send_once(struct door *d, const struct msghdr *m)
{
	if (!door_is_open(d))
		return false;
	if (sendmsg(d->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET)
		door_close(d);
	return false;
}

static void
send_parts(struct sink *s, enum sink_kind kind, struct iovec *parts, size_t n)
{
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = n};

	if (!send_once(&s->doors[kind], &m) && !send_once(&s->doors[kind], &m))
		s->dropped++;
}

static struct iovec
part(const void *bytes, size_t len)
{
	return (struct iovec){(void *)(uintptr_t)bytes, len};
}

static int
severity(const struct output_line *line)
{
	return line->stream == CHILD_STDOUT ? SEVERITY_INFO : SEVERITY_WARNING;
}

static void
send_syslog(struct sink *s, const char *runner, const struct output_line *line)
{
	time_t seconds = (time_t)line->time;
	char head[256], stamp[32];
	struct iovec parts[2];
	struct tm tm;
	int n;

	localtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%b %e %T", &tm);
	n = snprintf(head, sizeof(head),
	    "<%d>%s %s.%d: ", FACILITY_DAEMON | severity(line), stamp, runner,
	    line->instance);
	parts[0] = part(head, (size_t)n);
	parts[1] = part(line->text, line->len);
	send_parts(s, SINK_SYSLOG, parts, 2);
}

/* The text's length goes before it, so it may hold any byte. */
static void
send_journal(struct sink *s, const char *runner, const struct output_line *line)
{
	uint64_t len = htole64(line->len);
	struct iovec parts[4];
	char head[512];
	int n;

	n = snprintf(head, sizeof(head),
	    "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nHERO_RUNNER=%s\n"
	    "HERO_INSTANCE=%d\nHERO_STREAM=%s\n%s%s%sMESSAGE\n",
	    severity(line), runner, runner, line->instance,
	    line->stream == CHILD_STDOUT ? "stdout" : "stderr",
	    line->job ? "HERO_JOB=" : "", line->job ? line->job : "",
	    line->job ? "\n" : "");
	parts[0] = part(head, (size_t)n);
	parts[1] = part(&len, sizeof(len));
	parts[2] = part(line->text, line->len);
	parts[3] = part("\n", 1);
	send_parts(s, SINK_JOURNAL, parts, 4);
}

void
sink_send(struct sink *s, enum sink_kind kind, const char *runner,
    const struct output_line *line)
{
	if (kind == SINK_SYSLOG)
		send_syslog(s, runner, line);
	else if (kind == SINK_JOURNAL)
		send_journal(s, runner, line);
}

unsigned long long
sink_dropped(const struct sink *s)
{
	return s->dropped;
}
