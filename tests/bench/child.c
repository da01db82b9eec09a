/*
 * The program that benches let herod run.  Whatever it is asked, it says
 * when it got to it: CLOCK_MONOTONIC in ns, always 20 digits.
 *
 *	child once	for exec runners: reads the payload, says it, ends
 *	child worker	for stdio runners: answers each job with it
 *	child hold SOCKET
 *			for stdio runners: sends "PID TIME" there for each job
 *			and keeps it.  SIGUSR1: answers the oldest; SIGUSR2:
 *			all, and what comes then at once
 *	child mark SOCKET
 *			for services: sends "PID TIME" there (or to
 *			$BENCH_MARK) and waits
 *	child write SIZE TIMES
 *			for logs: so many writes of SIZE bytes of lines
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define INPUT_SIZE (1 << 20)
#define ID_MAX 128 /* longest id of a job */
#define HELD_MAX 32768 /* jobs that one process keeps in its life */

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
once(void)
{
	long long begun = now_ns();
	char payload[4096];

	while (read(0, payload, sizeof(payload)) > 0)
		;
	printf("%020lld", begun);
	return 0;
}

/* ---- a worker ---- */

struct answers {
	char buf[65536];
	size_t len;
};

static void
flush(struct answers *a)
{
	size_t sent = 0;
	ssize_t n;

	for (; sent < a->len; sent += (size_t)n)
		if ((n = write(1, a->buf + sent, a->len - sent)) <= 0)
			_exit(1);
	a->len = 0;
}

static struct answers answers;

static void
answer(const char *id, size_t len)
{
	struct answers *a = &answers;

	if (sizeof(a->buf) - a->len < ID_MAX + 128)
		flush(a);
	a->len += (size_t)snprintf(a->buf + a->len, sizeof(a->buf) - a->len,
	    "{\"jsonrpc\":\"2.0\",\"id\":\"%.*s\",\"result\":\"%020lld\"}\n",
	    (int)len, id, now_ns());
}

/* What becomes of a job. */
typedef void job_fn(const char *id, size_t len);

/* In a request the job's id stands twice, and nothing else is called so. */
static void
take(const char *request, job_fn *fn)
{
	static const char key[] = "\"id\":\"";
	const char *id = strstr(request, key);

	if (id != NULL)
		fn(id + sizeof(key) - 1, strcspn(id + sizeof(key) - 1, "\""));
}

/* Takes what there is now of its stdin, or will be next; false at its end. */
static bool
take_jobs(job_fn *fn)
{
	static char input[INPUT_SIZE];
	static size_t len;
	ssize_t n = read(0, input + len, sizeof(input) - len);
	char *line = input, *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	while ((end = memchr(line, '\n', len)) != NULL) {
		*end = '\0';
		take(line, fn);
		len -= (size_t)(end + 1 - line);
		line = end + 1;
	}
	flush(&answers);
	memmove(input, line, len);
	return true;
}

static int
worker(void)
{
	while (take_jobs(answer))
		;
	return 0;
}

/* ---- a mark ---- */

static int mark_fd;

static bool
mark_open(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	mark_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	return connect(mark_fd, (struct sockaddr *)&sun, sizeof(sun)) == 0;
}

static bool
mark_send(long long at)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%d %020lld", (int)getpid(), at);

	return send(mark_fd, text, (size_t)len, 0) == len;
}

/* ---- a worker that keeps its jobs ---- */

static char *held[HELD_MAX];
static size_t nheld, nanswered;

static void
hold_job(const char *id, size_t len)
{
	if (nheld == HELD_MAX || !mark_send(now_ns()))
		_exit(1);
	held[nheld++] = strndup(id, len);
}

static void
answer_held(size_t n)
{
	while (n-- > 0 && nanswered < nheld) {
		answer(held[nanswered], strlen(held[nanswered]));
		free(held[nanswered++]);
	}
	flush(&answers);
}

/* So that they can be waited for together with the jobs. */
static int
signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int
hold(const char *path)
{
	struct pollfd fds[2] = {{0, POLLIN, 0}, {signals_open(), POLLIN, 0}};
	struct signalfd_siginfo s;
	job_fn *fn = hold_job;

	if (!mark_open(path))
		return 1;
	while (poll(fds, 2, -1) > 0) {
		if (fds[1].revents && read(fds[1].fd, &s, sizeof(s)) > 0) {
			if (s.ssi_signo == SIGUSR2)
				fn = answer;
			answer_held(s.ssi_signo == SIGUSR2 ? HELD_MAX : 1);
		}
		if (fds[0].revents && !take_jobs(fn))
			return 0;
	}
	return 1;
}

/* ---- a service ---- */

static int
mark(const char *path)
{
	long long begun = now_ns();

	if (!mark_open(path) || !mark_send(begun))
		return 1;
	close(mark_fd);
	pause();
	return 0;
}

/* ---- a talker ---- */

static int
write_lines(size_t size, long times)
{
	static char lines[1 << 16];
	size_t i;

	if (size > sizeof(lines))
		return 2;
	memset(lines, 'x', size);
	for (i = 99; i < size; i += 100)
		lines[i] = '\n';
	lines[size - 1] = '\n';
	while (times-- > 0)
		if (write(1, lines, size) != (ssize_t)size)
			return 1;
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "write") == 0)
		return write_lines((size_t)atol(argv[2]), atol(argv[3]));
	if (argc == 2 && strcmp(argv[1], "once") == 0)
		return once();
	if (argc == 2 && strcmp(argv[1], "worker") == 0)
		return worker();
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2]);
	if (argc == 3 && strcmp(argv[1], "mark") == 0)
		return mark(
		    getenv("BENCH_MARK") ? getenv("BENCH_MARK") : argv[2]);
	fprintf(stderr,
	    "usage: child once | worker | hold SOCKET | mark SOCKET | "
	    "write SIZE TIMES\n");
	return 2;
}
