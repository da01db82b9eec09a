/*
 * How soon work goes on after a death, of a worker that has a job in hand or
 * of herod with many jobs; and what many jobs in hand cost herod.  The worker
 * is "child hold", which tells of each job when it has got it, and keeps it.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load.h"

#define KILLS 200 /* of a worker */
#define RESTARTS 5 /* of herod */
#define QUEUED 10000
#define IN_HAND 100
#define IN_FLIGHT 10000
#define CALLERS 10 /* connections, for those in flight */
#define BATCH 100 /* jobs in one write */

#define JOB \
	"{\"runner\":\"it\",\"payload\":" \
	"\"the quick brown fox jumps over the lazy dog, and the lazy " \
	"dog jumps over the quick brown fox in return\"}"

struct keeping {
	struct herod *h;
	int marks; /* a socket */
	pid_t worker;
};

/* Nothing delays a start, and no job is given up. */
static struct keeping
keeping_start(int concurrency)
{
	const char *path = here("marks.sock");
	struct keeping k = {.marks = mark_socket(path)};

	k.h = herod_start(AT_ONCE "[runner:it]\nkind = stdio\n"
				  "concurrency = %d\nbackoff_reset = 0\n"
				  "job_poison_limit = 1000\n"
				  "command = %s hold %s\n",
	    concurrency, child_program(), path);
	wait_for_redis(k.h);
	return k;
}

/* Until so many more are in its hands. */
static void
keep_jobs(struct keeping *k, int n)
{
	while (n-- > 0)
		k->worker = next_mark(k->marks).pid;
}

/* All are answered, and what comes then, too. */
static void
let_go(const struct keeping *k)
{
	kill(k->worker, SIGUSR2);
}

static void
send_batch(int fd, const char *request)
{
	static char all[BATCH * 512];
	int i;

	all[0] = '\0';
	for (i = 0; i < BATCH; i++)
		strlcat(all, request, sizeof(all));
	check_int((long long)strlen(all), BATCH * (long long)strlen(request));
	send_text(fd, all);
}

static void
hear_results(FILE *in, int n)
{
	char line[512];

	while (n-- > 0) {
		check(fgets(line, sizeof(line), in) != NULL);
		check_has(line, "\"result\":");
	}
}

static void
queue_jobs(const struct keeping *k, int n)
{
	const char *request = call_line(
	    "queue_job_to_runner", "{\"runner\":\"it\",\"job\":" JOB "}");
	int fd = door_unix(k->h);
	FILE *in = fdopen(fd, "r");

	for (; n > 0; n -= BATCH) {
		send_batch(fd, request);
		hear_results(in, BATCH);
	}
	fclose(in);
}

static long long
count_finished(const struct keeping *k)
{
	return json_integer_value(
	    at(rpc(k->h, "jobs.stats", NULL), "it.finished.jobs"));
}

/* Of what was to happen only then: an earlier mark would be of a job that was
 * begun twice. */
static double
ms_between(int64_t since, struct mark m)
{
	check(m.at_ns > since);
	return (double)(m.at_ns - since) / 1e6;
}

/* ---- a worker is killed ---- */

/* herod has told Redis of that attempt and has nothing left to do. */
static bool
is_settled(const struct keeping *k, const char *id, size_t attempt)
{
	json_t *job = rpc(k->h, "job.get", "[s]", id);

	return strcmp(text_at(job, "status"), "started") == 0 &&
	    int_at(job, "attempts") == (long long)attempt &&
	    pid_of(k->h, "it") == k->worker;
}

/* From the kill until the job is in the hands of the next one. */
static double
worker_killed_ms(struct keeping *k)
{
	int64_t killed = now_ns();
	struct mark m;

	kill(k->worker, SIGKILL);
	m = next_mark(k->marks);
	check(m.pid != k->worker);
	k->worker = m.pid;
	return ms_between(killed, m);
}

void
test_killed_to_running(void)
{
	static struct samples ms;
	struct keeping k = keeping_start(1);
	const char *id = json_string_value(
	    rpc(k.h, "queue_job_to_runner", "{s:s}", "runner", "it"));

	keep_jobs(&k, 1);
	while (ms.n < KILLS) {
		wait_for(is_settled(&k, id, ms.n + 1));
		sample(&ms, worker_killed_ms(&k));
	}
	let_go(&k);
	check_int(strlen(job_outcome(k.h, id)), 20);
	herod_stop(k.h);
	report(&(struct report){.bench = "killed_to_running_p50",
	    .value = percentile(&ms, 50),
	    .unit = "ms"});
	report(&(struct report){.bench = "killed_to_running_p99",
	    .value = percentile(&ms, 99),
	    .unit = "ms",
	    .aim = AIM_AT_MOST,
	    .limit = 10});
}

/* ---- herod is killed ---- */

static void
kill_and_bury(pid_t pid)
{
	struct pollfd dead = {
	    .events = POLLIN, .fd = (int)syscall(SYS_pidfd_open, pid, 0)};

	check(dead.fd != -1);
	kill(pid, SIGKILL);
	check_int(poll(&dead, 1, 60000), 1);
	close(dead.fd);
}

/* The worker answers a job as soon as herod is dead, so that the next herod
 * can begin another. */
static double
herod_killed_ms(struct keeping *k)
{
	pid_t old = herod_pid(k->h);
	int64_t killed = now_ns();
	struct mark m;

	check(old != 0);
	kill_and_bury(old);
	kill(k->worker, SIGUSR1);
	m = next_mark(k->marks);
	check_int(m.pid, k->worker);
	check(herod_pid(k->h) != old);
	return ms_between(killed, m);
}

/* From the start anew until one of the jobs that were in hand is so again, in
 * a new process. */
static double
both_killed_ms(struct keeping *k)
{
	pid_t old = k->worker;
	int64_t started;
	struct mark m;

	herod_kill_both(k->h);
	started = now_ns();
	herod_again(k->h);
	m = next_mark(k->marks);
	check(m.pid != old);
	keep_jobs(k, IN_HAND - 1);
	check_int(k->worker, m.pid);
	return ms_between(started, m);
}

static double
median_of_restarts(struct keeping *k, double (*restart_ms)(struct keeping *k))
{
	struct samples ms = {0};

	while (ms.n < RESTARTS) {
		wait_for_redis(k->h);
		/* Who dies young is not started again at once. */
		stay_idle(1.1);
		sample(&ms, restart_ms(k));
	}
	return median(&ms);
}

void
test_restart_with_jobs(void)
{
	struct keeping k = keeping_start(IN_HAND);

	queue_jobs(&k, QUEUED + IN_HAND);
	keep_jobs(&k, IN_HAND);
	report(&(struct report){.bench = "restart_with_jobs",
	    .value = median_of_restarts(&k, herod_killed_ms),
	    .unit = "ms",
	    .aim = AIM_AT_MOST,
	    .limit = 200});
	report(&(struct report){.bench = "restart_of_all_with_jobs",
	    .value = median_of_restarts(&k, both_killed_ms),
	    .unit = "ms"});
	let_go(&k);
	wait_for(count_finished(&k) == QUEUED + IN_HAND);
	herod_stop(k.h);
}

/* ---- memory ---- */

static void
queue_in_flight(struct keeping *k, int *callers)
{
	int n;

	(void)callers; /* nobody waits */
	for (n = 0; n < IN_FLIGHT; n += BATCH) {
		queue_jobs(k, BATCH);
		keep_jobs(k, BATCH);
	}
}

/* Each of the callers waits for a share of the jobs. */
static void
run_in_flight(struct keeping *k, int *callers)
{
	const char *request = call_line("job.run", "{\"job\":" JOB "}");
	int i, n;

	for (i = 0; i < CALLERS; i++) {
		callers[i] = door_unix(k->h);
		for (n = 0; n < IN_FLIGHT / CALLERS; n += BATCH) {
			send_batch(callers[i], request);
			keep_jobs(k, BATCH);
		}
	}
}

static void
hear_all(const int *callers)
{
	FILE *in;
	int i;

	for (i = 0; i < CALLERS && callers[i] != 0; i++) {
		in = fdopen(callers[i], "r");
		hear_results(in, IN_FLIGHT / CALLERS);
		fclose(in);
	}
}

static void
report_mb(const char *bench, double mb, double limit)
{
	report(&(struct report){
	    .bench = bench,
	    .value = mb,
	    .unit = "MB",
	    .aim = limit > 0 ? AIM_AT_MOST : AIM_NONE,
	    .limit = limit,
	});
}

static void
memory_in_flight(
    const char *bench, void (*begin)(struct keeping *k, int *callers))
{
	struct keeping k = keeping_start(IN_FLIGHT);
	int callers[CALLERS] = {0};
	double mb;

	begin(&k, callers);
	mb = rss_mb(herod_pid(k.h));
	report_mb(bench, mb, 15);
	report_mb(text("%s_with_keeper", bench), mb + rss_mb(k.h->keeper), 0);
	let_go(&k);
	hear_all(callers);
	wait_for(count_finished(&k) == IN_FLIGHT);
	herod_stop(k.h);
}

void
test_memory_of_queued_jobs(void)
{
	memory_in_flight("rss_10k_in_flight", queue_in_flight);
}

/* The same by job.run. */
void
test_memory_of_awaited_jobs(void)
{
	memory_in_flight("rss_10k_in_flight_awaited", run_in_flight);
}
