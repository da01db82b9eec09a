/*
 * What benches share; see bench.h.
 */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

CHECK_TIMEOUT(300);

/* ---- reports ---- */

static int report_fd = STDOUT_FILENO;

/* Before the harness gives each bench a stdout of its own. */
static void __attribute__((constructor)) find_report_fd(void)
{
	const char *number = getenv("BENCH_FD");

	if (number == NULL)
		return;
	report_fd = atoi(number);
	/* No daemon under test is to hold it open. */
	if (fcntl(report_fd, F_SETFD, FD_CLOEXEC) == -1)
		report_fd = STDOUT_FILENO;
}

static json_t *
aim_json(const struct report *r)
{
	switch (r->aim) {
	case AIM_AT_MOST:
		return json_string(text("<= %g %s", r->limit, r->unit));
	case AIM_AT_LEAST:
		return json_string(text(">= %g %s", r->limit, r->unit));
	case AIM_OF_PEER:
		return json_string(text(">= %g x peer", r->limit));
	case AIM_WITHIN_PEER:
		return json_string(r->limit == 1
			? text("<= %s", r->peer)
			: text("<= %g x peer", r->limit));
	default:
		return json_null();
	}
}

static json_t *
met_json(const struct report *r)
{
	switch (r->aim) {
	case AIM_AT_MOST:
		return json_boolean(r->value <= r->limit);
	case AIM_AT_LEAST:
		return json_boolean(r->value >= r->limit);
	case AIM_OF_PEER:
		return json_boolean(r->value >= r->limit * r->peer_value);
	case AIM_WITHIN_PEER:
		return json_boolean(r->value <= r->limit * r->peer_value);
	default:
		return json_null();
	}
}

/* Four digits are more than any of this is worth. */
static json_t *
rounded(double v)
{
	return json_real(strtod(text("%.4g", v), NULL));
}

void
report(const struct report *r)
{
	bool peer = r->peer != NULL && r->peer_value > 0;
	json_t *line = json_pack("{s:s, s:o, s:s, s:s?, s:o, s:o, s:o, s:o}",
	    "bench", r->bench, "value", rounded(r->value), "unit", r->unit,
	    "peer", r->peer, "peer_value",
	    peer ? rounded(r->peer_value) : json_null(), "ratio",
	    peer ? rounded(r->value / r->peer_value) : json_null(), "aim",
	    aim_json(r), "met", met_json(r));

	check(line != NULL);
	json_dumpfd(line, report_fd, JSON_COMPACT | JSON_REAL_PRECISION(6));
	check_int(write(report_fd, "\n", 1), 1);
	json_decref(line);
}

/* ---- numbers ---- */

void
sample(struct samples *s, double v)
{
	check(s->n < SAMPLES_MAX);
	s->v[s->n++] = v;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
percentile(struct samples *s, double percent)
{
	size_t rank = (size_t)((double)s->n * percent / 100);

	check(s->n > 0);
	qsort(s->v, s->n, sizeof(s->v[0]), by_size);
	return s->v[rank < s->n ? rank : s->n - 1];
}

double
median(struct samples *s)
{
	return percentile(s, 50);
}

int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double
ms_since(int64_t since_ns)
{
	return (double)(now_ns() - since_ns) / 1e6;
}

void
stay_idle(double seconds)
{
	poll(NULL, 0, (int)(seconds * 1000));
}

/* ---- processes ---- */

static int
null_fd(void)
{
	static int fd = -1;

	if (fd == -1)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return fd;
}

pid_t
program_start(const char *const *argv, const int *fds)
{
	int null = null_fd(), i;
	pid_t pid = vfork();

	check(pid != -1);
	if (pid != 0)
		return pid;
	for (i = 0; i < 3; i++)
		dup2(fds != NULL && fds[i] != -1 ? fds[i] : null, i);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

void
program_stop(pid_t pid)
{
	kill(pid, SIGTERM);
	check_int(waitpid(pid, NULL, 0), pid);
}

const char *
child_program(void)
{
	return text("%s/tests/bench/child", getenv("HEROD_BUILD"));
}

double
cpu_of(pid_t pid)
{
	return strtod(proc_text(pid, "schedstat"), NULL) / 1e9;
}

bool
has_peer(const char *program)
{
	return system(text("command -v %s >/dev/null", program)) == 0;
}

int
dial(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -1;
}

double
rss_mb(pid_t pid)
{
	return strtod(proc_field(pid, "status", "VmRSS"), NULL) * 1024 / 1e6;
}

double
command_ms(const char *const *argv, size_t nruns)
{
	struct samples ms = {0};
	int64_t since;
	int status;
	pid_t pid;

	while (ms.n < nruns) {
		since = now_ns();
		pid = program_start(argv, NULL);
		check_int(waitpid(pid, &status, 0), pid);
		sample(&ms, ms_since(since));
		check_int(status, 0);
	}
	return median(&ms);
}

/* ---- marks ---- */

int
mark_socket(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {60, 0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	check_int(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

struct mark
next_mark(int fd)
{
	char buf[64];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
	struct mark m;
	long long at;
	int pid;

	check(n > 0);
	buf[n] = '\0';
	check_int(sscanf(buf, "%d %lld", &pid, &at), 2);
	m.pid = pid;
	m.at_ns = at;
	return m;
}

/* ---- herods ---- */

const char *
sleepers(int n, const char *settings)
{
	size_t size = (size_t)n * 64 + 256, len;
	char *conf = malloc(size);
	const char *copy;
	int i;

	check(conf != NULL);
	len = (size_t)snprintf(conf, size, AT_ONCE "%s\n", settings);
	for (i = 0; i < n; i++)
		len += (size_t)snprintf(conf + len, size - len,
		    "[runner:r%03d]\ncommand = sleep 1000\n", i);
	check(len < size);
	copy = text("%s", conf);
	free(conf);
	return copy;
}
