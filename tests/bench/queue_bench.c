/*
 * Jobs from their queueing to their end, beside other queues: beanstalkd (which
 * keeps no results) and BullMQ; and beside what a Redis can take.  Payloads of
 * 100 bytes; each with a Redis of its own, either without a log of what it has
 * (beanstalkd, too) or with one that is on the disk before anything is
 * acknowledged.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define JOBS 40000
#define JOBS_ON_DISK 10000 /* of the others */
#define COMMANDS 200000 /* of each kind to a bare Redis */
#define BATCH 64 /* commands in one write */
#define WORKERS 2

#define TEN "0000000000"
#define PAYLOAD TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

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
	const char *one = "put 0 0 60 100\r\n" PAYLOAD "\r\n";
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

static pid_t
start_beanstalkd(const char *path, bool fsync)
{
	const char *dir = here("beanstalkd.d");
	const char *argv[] = {"beanstalkd", "-l", text("unix:%s", path),
	    fsync ? "-b" : NULL, dir, "-f", "0", NULL};
	pid_t daemon;
	int fd;

	mkdir(dir, 0700);
	daemon = program_start(argv, NULL);
	wait_for((fd = dial(path)) != -1);
	close(fd);
	return daemon;
}

static double
beanstalkd_jobs(bool fsync, int njobs)
{
	const char *path = here("beanstalkd.sock");
	pid_t daemon = start_beanstalkd(path, fsync), workers[WORKERS];
	int i, n = njobs / BATCH / WORKERS * BATCH * WORKERS;
	int64_t since = now_ns();

	for (i = 0; i < WORKERS; i++)
		if ((workers[i] = fork()) == 0)
			work_off(path, n / WORKERS);
	put_all(path, n);
	for (i = 0; i < WORKERS; i++)
		check_int(waitpid(workers[i], NULL, 0), workers[i]);
	since = now_ns() - since;
	program_stop(daemon);
	return n / ((double)since / 1e9);
}

/* ---- BullMQ ---- */

static double
bullmq_jobs(bool fsync, int njobs)
{
	const char *dir = getenv("BENCH_BULLMQ"), *s = here("bull.sock");
	pid_t server = redis_start_for_jobs(s, fsync);
	double rate = atof(run("node %s/tests/bench/bullmq.js %s %s %d",
	    getenv("HEROD_SOURCE"), dir, s, njobs)
			       .out);

	program_stop(server);
	check(rate > 0);
	return rate;
}

/* ---- what a Redis can take ---- */

/* redis-benchmark puts twelve digits for __rand_int__: the ids are as long as
 * herod's. */
#define ID "c012fdd7-8502-4164-8cff-__rand_int__"
#define KNOWN "6d8e41aa-8502-4164-8cff-__rand_int__"
#define CLAIMS "herod:own:it:8de105bf-0e75-469a-a92b-85aaaa6b2e7d"
#define NEW_JOB(id) \
	"HSET hero:job:" id " herod 1 status started runner it " \
	"payload " PAYLOAD " timeout 300 " \
	"created_at 2026-11-28T11:16:25.014598Z " \
	"started_at 2026-11-28T11:16:25.014598Z " \
	"node vm instance 0 attempts 1"

/* What herod sends about a job that begins at once. */
static const struct command {
	const char *words;
	int nkeys; /* ids are drawn from so many */
	bool is_counted;
} commands[] = {
    {"HSET " CLAIMS " " ID " '1 64 it/0/1'", 1000000, true},
    {NEW_JOB(ID), 1000000, true},
    /* These are there when they end. */
    {NEW_JOB(KNOWN), 10000, false},
    {"HSET hero:job:" KNOWN " status finished "
     "finished_at 2026-11-28T11:16:25.015410Z result 00000081439334318232",
	10000, true},
    {"HDEL " CLAIMS " " ID, 1000000, true},
    {"PEXPIRE hero:job:" KNOWN " 86400000", 10000, true},
};

/* Such commands a second; the second line is about them. */
static double
redis_rate(const char *socket, const struct command *c)
{
	const char *rate;
	struct ran r = run("redis-benchmark -s %s -P 64 -c 8 -n %d -r %d --csv "
			   "%s",
	    socket, COMMANDS, c->nkeys, c->words);

	rate = strchr(r.out, '\n');
	rate = rate ? strstr(rate, "\",\"") : NULL;
	check(rate != NULL && strtod(rate + 3, NULL) > 0);
	return strtod(rate + 3, NULL);
}

/* Jobs a second, were there nothing but these commands. */
static double
ceiling(void)
{
	const char *s = here("ceiling.sock");
	pid_t server = redis_start_for_jobs(s, false);
	double seconds = 0, rate;
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		rate = redis_rate(s, &commands[i]);
		seconds += commands[i].is_counted ? 1 / rate : 0;
	}
	program_stop(server);
	return 1 / seconds;
}

/* ---- herod ---- */

static double
herod_jobs(bool fsync)
{
	struct load load = {door_unix,
	    call_line("job.run",
		"{\"job\":{\"runner\":\"it\",\"payload\":\"" PAYLOAD "\"}}"),
	    8, 32, 3};
	const char *s = here("redis.sock");
	pid_t server = redis_start_for_jobs(s, fsync);
	struct herod *h = herod_start_with("", text("--redis_url unix://%s", s),
	    AT_ONCE "[runner:it]\nkind = stdio\nconcurrency = 256\n"
		    "durability = %s\ncommand = %s worker\n",
	    fsync ? "fsync" : "redis", child_program());
	double rate;

	wait_for_redis(h);
	rate = load_run(h, &load);
	herod_stop(h);
	program_stop(server);
	return rate;
}

/* ---- beside each other ---- */

static void
report_beside_bullmq(const char *bench, double herod, double peer)
{
	report(&(struct report){
	    bench, herod, "/s", "BullMQ", peer, AIM_OF_PEER, 2});
}

void
test_queues(void)
{
	double herod = herod_jobs(false);
	bool beside = has_peer("beanstalkd");

	report(&(struct report){"jobs_100_bytes", herod, "/s",
	    beside ? "beanstalkd, no results" : NULL,
	    beside ? beanstalkd_jobs(false, JOBS) : 0, AIM_AT_LEAST, 100000});
	report(&(struct report){"jobs_100_bytes", herod, "/s",
	    "redis-benchmark, five commands", ceiling(), AIM_OF_PEER, 0.8});
	if (getenv("BENCH_BULLMQ") != NULL)
		report_beside_bullmq(
		    "jobs_100_bytes", herod, bullmq_jobs(false, JOBS));
}

void
test_queues_on_disk(void)
{
	double herod = herod_jobs(true);
	bool beside = has_peer("beanstalkd");

	report(&(struct report){"jobs_fsync", herod, "/s",
	    beside ? "beanstalkd, no results" : NULL,
	    beside ? beanstalkd_jobs(true, JOBS_ON_DISK) : 0, AIM_AT_LEAST,
	    40000});
	if (getenv("BENCH_BULLMQ") != NULL)
		report_beside_bullmq(
		    "jobs_fsync", herod, bullmq_jobs(true, JOBS_ON_DISK));
}
