/*
 * Jobs from their queueing to their end, beside other queues: beanstalkd (which
 * keeps no results) and BullMQ.  Payloads of 100 bytes; each with a Redis of
 * its own that writes no log, beanstalkd without its log.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define JOBS 40000
#define BATCH 64 /* commands in one write */
#define WORKERS 2

static const char *
payload(void)
{
	return text("%0100d", 0);
}

/* ---- beanstalkd ---- */

static int
tube(const char *path)
{
	int fd = dial(path);

	check(fd != -1);
	return fd;
}

/* Reads until so many lines have come that begin with the word; of RESERVED
 * and INSERTED the ids go into ids (or NULL). */
static void
hear(FILE *in, const char *word, int n, unsigned long long *ids)
{
	char line[256];
	int i = 0;

	while (i < n && fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, word, strlen(word)) != 0)
			continue;
		if (ids != NULL)
			ids[i] = strtoull(line + strlen(word), NULL, 10);
		i++;
	}
	check_int(i, n);
}

/* Takes so many jobs and ends each, some at once. */
static void
work_off(const char *path, int njobs)
{
	unsigned long long ids[BATCH];
	char text[BATCH * 32];
	int fd = tube(path), i, n;
	FILE *in = fdopen(dup(fd), "r");
	size_t len;

	for (; njobs > 0; njobs -= n) {
		n = njobs < BATCH ? njobs : BATCH;
		for (len = 0, i = 0; i < n; i++)
			len += (size_t)snprintf(
			    text + len, sizeof(text) - len, "reserve\r\n");
		check_int(write(fd, text, len), (long long)len);
		hear(in, "RESERVED ", n, ids);
		for (len = 0, i = 0; i < n; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
			    "delete %llu\r\n", ids[i]);
		check_int(write(fd, text, len), (long long)len);
		hear(in, "DELETED", n, NULL);
	}
	_exit(0);
}

static void
put_all(const char *path, int njobs)
{
	const char *one = text("put 0 0 60 100\r\n%s\r\n", payload());
	static char all[BATCH * 256];
	int fd = tube(path), i;
	FILE *in = fdopen(fd, "r+");

	all[0] = '\0';
	for (i = 0; i < BATCH; i++)
		strlcat(all, one, sizeof(all));
	for (i = 0; i < njobs; i += BATCH) {
		check_int(write(fd, all, strlen(all)), (long long)strlen(all));
		hear(in, "INSERTED ", BATCH, NULL);
	}
	fclose(in);
}

static double
beanstalkd_jobs(void)
{
	const char *path = here("beanstalkd.sock");
	const char *argv[] = {"beanstalkd", "-l", text("unix:%s", path), NULL};
	pid_t daemon, workers[WORKERS];
	int i, fd, njobs = JOBS / BATCH / WORKERS * BATCH * WORKERS;
	int64_t since;

	daemon = program_start(argv, NULL);
	wait_for((fd = dial(path)) != -1);
	close(fd);
	since = now_ns();
	for (i = 0; i < WORKERS; i++)
		if ((workers[i] = fork()) == 0)
			work_off(path, njobs / WORKERS);
	put_all(path, njobs);
	for (i = 0; i < WORKERS; i++)
		check_int(waitpid(workers[i], NULL, 0), workers[i]);
	since = now_ns() - since;
	kill(daemon, SIGTERM);
	check_int(waitpid(daemon, NULL, 0), daemon);
	return njobs / ((double)since / 1e9);
}

/* ---- BullMQ ---- */

static double
bullmq_jobs(void)
{
	const char *dir = getenv("BENCH_BULLMQ"), *s = here("bull.sock");
	double rate;
	pid_t server;

	server = redis_start(s);
	rate = atof(run("node %s/tests/bench/bullmq.js %s %s %d",
	    getenv("HEROD_SOURCE"), dir, s, JOBS)
			.out);
	kill(server, SIGTERM);
	check_int(waitpid(server, NULL, 0), server);
	check(rate > 0);
	return rate;
}

/* ---- herod ---- */

static double
herod_jobs(void)
{
	struct load load = {door_unix,
	    call_line("job.run",
		text("{\"job\":{\"runner\":\"it\",\"payload\":\"%s\"}}",
		    payload())),
	    8, 32, 3};
	const char *s = here("redis.sock");
	pid_t server = redis_start(s);
	struct herod *h = herod_start_with("", text("--redis_url unix://%s", s),
	    AT_ONCE "[runner:it]\nkind = stdio\nconcurrency = 256\n"
		    "command = %s worker\n",
	    child_program());
	double rate;

	wait_for_redis(h);
	rate = load_run(h, &load);
	herod_stop(h);
	kill(server, SIGTERM);
	check_int(waitpid(server, NULL, 0), server);
	return rate;
}

void
test_queues(void)
{
	double herod = herod_jobs();

	if (has_peer("beanstalkd"))
		report(&(struct report){"jobs_100_bytes", herod, "/s",
		    "beanstalkd, no results", beanstalkd_jobs(), AIM_NONE, 0});
	if (getenv("BENCH_BULLMQ") != NULL)
		report(&(struct report){"jobs_100_bytes", herod, "/s", "BullMQ",
		    bullmq_jobs(), AIM_OF_PEER, 2});
}
