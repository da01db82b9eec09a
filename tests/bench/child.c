/*
 * The program that benches let herod run.  Whatever it is asked, it says
 * when it got to it: CLOCK_MONOTONIC in ns, always 20 digits.
 *
 *	child once	for exec runners: reads the payload, says it, ends
 *	child worker	for stdio runners: answers each job with it
 *	child mark SOCKET
 *			for services: sends "PID TIME" there (or to
 *			$BENCH_MARK) and waits
 *	child write SIZE TIMES
 *			for logs: so many writes of SIZE bytes of lines
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define INPUT_SIZE (1 << 20)
#define ID_MAX 128 /* longest id of a job */

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

/* In a request the job's id stands twice, and nothing else is called so. */
static void
answer(struct answers *a, const char *request)
{
	static const char key[] = "\"id\":\"";
	const char *id = strstr(request, key);

	if (id == NULL)
		return;
	id += sizeof(key) - 1;
	if (sizeof(a->buf) - a->len < ID_MAX + 128)
		flush(a);
	a->len += (size_t)snprintf(a->buf + a->len, sizeof(a->buf) - a->len,
	    "{\"jsonrpc\":\"2.0\",\"id\":\"%.*s\",\"result\":\"%020lld\"}\n",
	    (int)strcspn(id, "\""), id, now_ns());
}

/* Answers whole lines and gives the length of the rest, now in front. */
static size_t
answer_lines(struct answers *a, char *input, size_t len)
{
	char *line = input, *end;

	while ((end = memchr(line, '\n', len)) != NULL) {
		*end = '\0';
		answer(a, line);
		len -= (size_t)(end + 1 - line);
		line = end + 1;
	}
	flush(a);
	memmove(input, line, len);
	return len;
}

static int
worker(void)
{
	static char input[INPUT_SIZE];
	static struct answers answers;
	size_t len = 0;
	ssize_t n;

	while ((n = read(0, input + len, sizeof(input) - len)) > 0)
		len = answer_lines(&answers, input, len + (size_t)n);
	return 0;
}

/* ---- a service ---- */

static int
mark(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char text[64];
	int len;

	len =
	    snprintf(text, sizeof(text), "%d %020lld", (int)getpid(), now_ns());
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (sendto(fd, text, (size_t)len, 0, (struct sockaddr *)&sun,
		sizeof(sun)) == -1)
		return 1;
	close(fd);
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
	if (argc == 3 && strcmp(argv[1], "mark") == 0)
		return mark(
		    getenv("BENCH_MARK") ? getenv("BENCH_MARK") : argv[2]);
	fprintf(stderr,
	    "usage: child once | worker | mark SOCKET | "
	    "write SIZE TIMES\n");
	return 2;
}
