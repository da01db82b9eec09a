/*
 * What it costs to keep what a program writes, with time stamps and exactly
 * (over kill -9), beside s6-log with time stamps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MEGABYTES 200

struct shape {
	const char *name;
	size_t size; /* bytes of one write */
};

struct cost {
	double seconds, cpu;
};

static const char *
times_of(const struct shape *s)
{
	return text("%zu", (size_t)MEGABYTES * 1000000 / s->size);
}

/* User and system time so far, seconds. */
static double
cpu_of(pid_t pid)
{
	const char *stat = strrchr(proc_text(pid, "stat"), ')');
	unsigned long user, system;

	check_int(sscanf(stat,
		      ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		      &user, &system),
	    2);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static struct cost
by_herod(const struct shape *s)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautostart = false\nautorestart = never\n"
	    "stdout_logfile_maxbytes = 0\ncommand = %s write %zu %s\n",
	    child_program(), s->size, times_of(s));
	double before = cpu_of(herod_pid(h));
	int64_t since = now_ns();
	struct cost c;

	rpc(h, "start_runner", "[s, b]", "it", 0);
	wait_for(is_state(h, "it", "EXITED"));
	c.seconds = ms_since(since) / 1000;
	c.cpu = cpu_of(herod_pid(h)) - before;
	herod_stop(h);
	return c;
}

/* T: a time stamp a line; everything into one file. */
static struct cost
by_s6_log(const struct shape *s)
{
	const char *size = text("%zu", s->size), *times = times_of(s);
	const char *writer[] = {child_program(), "write", size, times, NULL};
	const char *logger[] = {
	    "s6-log", "-b", "T", "s268435455", here("s6"), NULL};
	int64_t since = now_ns();
	struct rusage ru;
	pid_t pids[2];
	int fd[2];

	check_int(pipe(fd), 0);
	pids[0] = program_start(writer, (int[]){-1, fd[1], -1});
	close(fd[1]);
	pids[1] = program_start(logger, (int[]){fd[0], -1, -1});
	close(fd[0]);
	check_int(waitpid(pids[0], NULL, 0), pids[0]);
	check_int(wait4(pids[1], NULL, 0, &ru), pids[1]);
	return (struct cost){ms_since(since) / 1000,
	    (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6};
}

static void
report_rate(const struct shape *s, const char *of, const char *unit,
    double seconds, double peer_seconds, double times)
{
	report(&(struct report){
	    .bench = text("log_%s_%s", s->name, of),
	    .value = MEGABYTES / seconds,
	    .unit = unit,
	    .peer = peer_seconds > 0 ? "s6-log T" : NULL,
	    .peer_value = peer_seconds > 0 ? MEGABYTES / peer_seconds : 0,
	    .aim = peer_seconds > 0 ? AIM_OF_PEER : AIM_NONE,
	    .limit = times,
	});
}

static void
measure(const struct shape *s)
{
	struct cost peer = {0}, own = by_herod(s);

	if (system("command -v s6-log >/dev/null") == 0)
		peer = by_s6_log(s);
	report_rate(s, "speed", "MB/s", own.seconds, peer.seconds, 3);
	report_rate(s, "per_cpu", "MB/cpu s", own.cpu, peer.cpu, 6);
}

void
test_log(void)
{
	measure(&(struct shape){"lines_of_100", 100});
	measure(&(struct shape){"blocks_of_64k", 64000});
}
