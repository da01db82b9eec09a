/*
 * Jobs: how many a second, and how soon a program has one in its hands.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define PICKUPS 300
#define EXEC_AT_ONCE 4
#define PAYLOAD "the quick brown fox"

static const char *
job_params(void)
{
	return "{\"job\":{\"runner\":\"it\",\"payload\":\"" PAYLOAD "\"}}";
}

/* ---- how soon ---- */

static bool
redis_is_up(struct herod *h)
{
	return json_is_true(at(rpc(h, "get_all_status", NULL), "redis.up"));
}

/* Of jobs one by one, in ms. */
static void
pick_up(const struct herod *h, struct samples *ms)
{
	const char *request = call_line("job.run", job_params());
	int fd = door_unix(h);
	int64_t sent;

	while (ms->n < PICKUPS) {
		sent = now_ns();
		send_text(fd, request);
		sample(ms,
		    (double)(atoll(text_at(recv_json(fd), "result.success")) -
			sent) /
			1e6);
	}
	close(fd);
}

/* p99 is to be within so many ms; 0: there is no aim. */
static void
report_pick_up(const char *kind, struct samples *ms, const char *peer,
    struct samples *peer_ms, double limit)
{
	const int percents[] = {50, 99};
	size_t i;

	for (i = 0; i < 2; i++)
		report(&(struct report){
		    .bench = text("%s_pickup_p%d", kind, percents[i]),
		    .value = percentile(ms, percents[i]),
		    .unit = "ms",
		    .peer = peer,
		    .peer_value = percentile(peer_ms, percents[i]),
		    .aim = i == 1 && limit > 0 ? AIM_AT_MOST : AIM_NONE,
		    .limit = limit,
		});
}

/* ---- a program without herod ---- */

struct piped {
	pid_t pid;
	int in, out; /* its stdin and stdout, our ends */
};

static struct piped
piped_start(const char *what)
{
	const char *argv[] = {child_program(), what, NULL};
	int in[2], out[2], fds[3];
	struct piped p;

	check_int(pipe2(in, O_CLOEXEC), 0);
	check_int(pipe2(out, O_CLOEXEC), 0);
	fds[0] = in[0];
	fds[1] = out[1];
	fds[2] = -1;
	p.pid = program_start(argv, fds);
	p.in = in[1];
	p.out = out[0];
	close(in[0]);
	close(out[1]);
	return p;
}

static void
piped_read(const struct piped *p, char *buf, size_t size)
{
	ssize_t n = read(p->out, buf, size - 1);

	check(n > 0);
	buf[n] = '\0';
}

/* ---- exec ---- */

/* One process: payload into its stdin, its stdout until the end. */
static double
bare_job_ms(void)
{
	int64_t sent = now_ns();
	struct piped p = piped_start("once");
	char buf[64];
	int status;

	check_int(write(p.in, PAYLOAD, strlen(PAYLOAD)), strlen(PAYLOAD));
	close(p.in);
	piped_read(&p, buf, sizeof(buf));
	check_int(read(p.out, buf + strlen(buf), 1), 0);
	close(p.out);
	check_int(waitpid(p.pid, &status, 0), p.pid);
	check_int(status, 0);
	return (double)(atoll(buf) - sent) / 1e6;
}

/* So many loops, each with one process after the other. */
static double
bare_jobs_per_second(int loops, int njobs)
{
	int64_t since = now_ns();
	int i, k, status;

	for (i = 0; i < loops; i++)
		if (fork() == 0) {
			for (k = 0; k < njobs / loops; k++)
				bare_job_ms();
			_exit(0);
		}
	for (i = 0; i < loops; i++) {
		check(waitpid(-1, &status, 0) > 0);
		check_int(status, 0);
	}
	return njobs / ms_since(since) * 1e3;
}

void
test_exec_jobs(void)
{
	static struct samples ms, peer;
	struct load load = {
	    door_unix, call_line("job.run", job_params()), 4, EXEC_AT_ONCE, 2};
	double loop = bare_jobs_per_second(1, 2000);
	double loops = bare_jobs_per_second(EXEC_AT_ONCE, 2000);
	double jobs;
	struct herod *h =
	    herod_start("[runner:it]\nkind = exec\nconcurrency = %d\n"
			"command = %s once\n",
		EXEC_AT_ONCE, child_program());

	wait_for(redis_is_up(h));
	jobs = load_run(h, &load);
	report(&(struct report){"exec_jobs", jobs, "/s", "bare vfork+exec loop",
	    loop, AIM_OF_PEER, 0.9});
	report(&(struct report){"exec_jobs", jobs, "/s",
	    text("%d such loops at once", EXEC_AT_ONCE), loops, AIM_NONE, 0});
	while (peer.n < PICKUPS)
		sample(&peer, bare_job_ms());
	pick_up(h, &ms);
	report_pick_up("exec", &ms, "bare vfork+exec", &peer, 0);
	herod_stop(h);
}

/* ---- stdio ---- */

/* A line there and back through bare pipes to the same worker. */
static void
pick_up_bare(struct samples *ms)
{
	static const char request[] =
	    "{\"params\":{\"payload\":\"" PAYLOAD "\"},\"id\":\"1\"}\n";
	struct piped p = piped_start("worker");
	char buf[128], *result;
	int64_t sent;

	while (ms->n < PICKUPS) {
		sent = now_ns();
		check(write(p.in, request, sizeof(request) - 1) > 0);
		piped_read(&p, buf, sizeof(buf));
		result = strstr(buf, "\"result\":\"");
		check(result != NULL);
		sample(ms, (double)(atoll(result + 10) - sent) / 1e6);
	}
	close(p.in);
	close(p.out);
	check_int(waitpid(p.pid, NULL, 0), p.pid);
}

void
test_stdio_jobs(void)
{
	static struct samples ms, peer;
	struct load load = {
	    door_unix, call_line("job.run", job_params()), 8, 32, 3};
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = stdio\n"
				"concurrency = 256\ncommand = %s worker\n",
		child_program());

	wait_for(redis_is_up(h));
	pick_up_bare(&peer);
	pick_up(h, &ms); /* while nothing else is to be done */
	report(&(struct report){.bench = "stdio_jobs",
	    .value = load_run(h, &load),
	    .unit = "/s",
	    .aim = AIM_AT_LEAST,
	    .limit = 20000});
	report_pick_up("stdio", &ms, "bare pipes", &peer, 1);
	herod_stop(h);
}
