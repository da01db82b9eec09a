/*
 * What it costs to keep what a program writes, with time stamps and exactly
 * (over kill -9), beside s6-log with time stamps.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define MEGABYTES 100
#define ROUNDS 5

struct shape {
	const char *name;
	size_t size; /* bytes of one write */
};

/* Of each round. */
struct costs {
	struct samples seconds, cpu;
};

static const char *
times_of(const struct shape *s)
{
	return text("%zu", (size_t)MEGABYTES * 1000000 / s->size);
}

/*
 * Memory that a virtual machine has not used for a while must first be got
 * from its host, which costs more than all that is measured here.  So who
 * comes gets some that was just in use.
 */
static void
warm_memory(void)
{
	static char bytes[1 << 16];
	int fd = open(here("warm"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t n = 3 * MEGABYTES * (size_t)1000000 / sizeof(bytes);

	check(fd != -1);
	memset(bytes, 'x', sizeof(bytes));
	while (n-- > 0)
		check_int(write(fd, bytes, sizeof(bytes)), (int)sizeof(bytes));
	close(fd);
	unlink(here("warm"));
}

/* All of it was kept, and more: time stamps. */
static void
check_kept(const char *path, const struct shape *s)
{
	struct stat st;

	check_int(stat(path, &st), 0);
	check((size_t)st.st_size >
	    (size_t)MEGABYTES * 1000000 / s->size * s->size);
	unlink(path);
}

static void
by_herod(const struct shape *s, struct costs *c)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nautostart = false\nautorestart = never\n"
	    "stdout_logfile = %s\n"
	    "stdout_logfile_maxbytes = 0\ncommand = %s write %zu %s\n",
	    here("it.log"), child_program(), s->size, times_of(s));
	double before;
	int64_t since;

	warm_memory();
	before = cpu_of(herod_pid(h));
	since = now_ns();
	rpc(h, "start_runner", "[s, b]", "it", 0);
	wait_for(is_state(h, "it", "EXITED"));
	sample(&c->seconds, ms_since(since) / 1000);
	sample(&c->cpu, cpu_of(herod_pid(h)) - before);
	herod_stop(h);
	check_kept(here("it.log"), s);
}

/* T: a time stamp a line; everything into one file. */
static void
by_s6_log(const struct shape *s, struct costs *c)
{
	const char *size = text("%zu", s->size), *times = times_of(s);
	const char *writer[] = {child_program(), "write", size, times, NULL};
	const char *logger[] = {
	    "s6-log", "-b", "T", "s268435455", here("s6"), NULL};
	struct rusage ru;
	int64_t since;
	pid_t pids[2];
	int fd[2];

	warm_memory();
	since = now_ns();
	check_int(pipe2(fd, O_CLOEXEC), 0);
	pids[0] = program_start(writer, (int[]){-1, fd[1], -1});
	close(fd[1]);
	pids[1] = program_start(logger, (int[]){fd[0], -1, -1});
	close(fd[0]);
	check_int(waitpid(pids[0], NULL, 0), pids[0]);
	check_int(wait4(pids[1], NULL, 0, &ru), pids[1]);
	sample(&c->seconds, ms_since(since) / 1000);
	sample(&c->cpu,
	    (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
	check_kept(here("s6/current"), s);
}

static void
report_rate(const struct shape *s, const char *of, const char *unit,
    struct samples *own, struct samples *peer, double times)
{
	report(&(struct report){
	    .bench = text("log_%s_%s", s->name, of),
	    .value = MEGABYTES / median(own),
	    .unit = unit,
	    .peer = peer->n ? "s6-log T" : NULL,
	    .peer_value = peer->n ? MEGABYTES / median(peer) : 0,
	    .aim = peer->n ? AIM_OF_PEER : AIM_NONE,
	    .limit = times,
	});
}

static void
measure(const struct shape *s)
{
	struct costs own = {0}, peer = {0};
	bool beside_s6 = has_peer("s6-log");

	while (own.cpu.n < ROUNDS) {
		by_herod(s, &own);
		if (beside_s6)
			by_s6_log(s, &peer);
	}
	report_rate(s, "speed", "MB/s", &own.seconds, &peer.seconds, 3);
	report_rate(s, "per_cpu", "MB/cpu s", &own.cpu, &peer.cpu, 6);
}

void
test_log_lines(void)
{
	measure(&(struct shape){"lines_of_100", 100});
}

void
test_log_blocks(void)
{
	measure(&(struct shape){"blocks_of_64k", 64000});
}
