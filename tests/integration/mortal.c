/*
 * A program for the soak: lives for a while, then ends by itself with some
 * code, of which it keeps a true record first.
 *
 *	mortal LEDGER	up to 0.4 seconds
 *	mortal		until somebody ends it
 *
 * A line of the ledger: RUNNER/INSTANCE, time (Unix ns), code.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
record(const char *path, int code)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	char line[160];
	int n;

	n = snprintf(line, sizeof(line), "%s/%s %lld %d\n",
	    getenv("HERO_RUNNER"), getenv("HERO_INSTANCE"), now_ns(), code);
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

int
main(int argc, char **argv)
{
	sigset_t all;
	int code;

	if (argc < 2)
		for (;;)
			pause();
	srandom((unsigned)(getpid() ^ now_ns()));
	poll(NULL, 0, (int)(random() % 400));
	code = (int)(random() % 100);
	/* From here on it ends as it says, unless it is killed. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	record(argv[1], code);
	_exit(code);
}
