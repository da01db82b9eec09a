/*
 * What herod costs while nothing happens: memory, wake-ups; and what it
 * costs to look at it with heroctl, beside redis-cli and its server.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define IDLE_SECONDS 20
#define QUIET_SECONDS 2 /* without a wake-up: what was begun is done */
#define QUIET_TRIES 15

static double
rss_mb(pid_t pid)
{
	return strtod(proc_field(pid, "status", "VmRSS"), NULL) * 1024 / 1e6;
}

static void
report_rss(const struct herod *h, int nrunners)
{
	report(&(struct report){
	    .bench = text("rss_%d_runners", nrunners),
	    .value = rss_mb(h->keeper) + rss_mb(herod_pid(h)),
	    .unit = "MB",
	    .aim = nrunners == 10 ? AIM_AT_MOST : AIM_NONE,
	    .limit = 5,
	});
}

/* In herod alone; then was its size with 10. */
static void
report_rss_more(const struct herod *h, int nrunners, double then_mb)
{
	report(&(struct report){
	    .bench = "rss_per_runner",
	    .value = (rss_mb(herod_pid(h)) - then_mb) * 1000 / (nrunners - 10),
	    .unit = "kB",
	    .aim = AIM_AT_MOST,
	    .limit = 4,
	});
}

/* ---- wake-ups ---- */

static long
wakeups(pid_t pid)
{
	return atol(proc_field(pid, "status", "voluntary_ctxt_switches"));
}

static void
become_quiet(pid_t keeper, pid_t daemon)
{
	int tries = QUIET_TRIES;
	long before;

	do {
		before = wakeups(keeper) + wakeups(daemon);
		stay_idle(QUIET_SECONDS);
	} while (wakeups(keeper) + wakeups(daemon) != before && tries-- > 0);
}

static void
report_wakeups(const struct herod *h)
{
	pid_t pids[2] = {h->keeper, herod_pid(h)};
	long before[2];
	int i;

	become_quiet(pids[0], pids[1]);
	for (i = 0; i < 2; i++)
		before[i] = wakeups(pids[i]);
	stay_idle(IDLE_SECONDS);
	for (i = 0; i < 2; i++)
		report(&(struct report){
		    .bench =
			i == 0 ? "idle_wakeups_keeper" : "idle_wakeups_herod",
		    .value = (double)(wakeups(pids[i]) - before[i]),
		    .unit = text("/%d s", IDLE_SECONDS),
		    .aim = AIM_AT_MOST,
		    .limit = 0,
		});
}

/* ---- heroctl ---- */

static void
report_heroctl(const struct herod *h, int nrunners, double limit)
{
	const char *ctl[] = {text("%s/heroctl", getenv("HEROD_BUILD")), "-s",
	    text("unix:%s", h->socket), "status", NULL};
	const char *socket = here("peer.sock");
	const char *cli[] = {"redis-cli", "-s", socket, "ping", NULL};
	pid_t peer = redis_start(socket);

	report(&(struct report){
	    .bench = text("heroctl_status_%d_runners", nrunners),
	    .value = command_ms(ctl, 50),
	    .unit = "ms",
	    .peer = "redis-cli ping",
	    .peer_value = command_ms(cli, 50),
	    .aim = limit > 0 ? AIM_AT_MOST : AIM_NONE,
	    .limit = limit,
	});
	kill(peer, SIGTERM);
	check_int(waitpid(peer, NULL, 0), peer);
}

/* Size of herod with ten of them, in MB. */
static double
ten_runners(void)
{
	struct herod *h = herod_start("%s", sleepers(10, ""));
	double mb;

	wait_for(is_state(h, "r009", "RUNNING"));
	report_rss(h, 10);
	mb = rss_mb(herod_pid(h));
	report_heroctl(h, 10, 5);
	herod_stop(h);
	return mb;
}

void
test_ten_and_three_hundred_runners(void)
{
	double ten_mb = ten_runners();
	struct herod *h = herod_start("%s", sleepers(300, ""));

	wait_for(is_state(h, "r299", "RUNNING"));
	report_wakeups(h);
	report_rss(h, 300);
	report_rss_more(h, 300, ten_mb);
	report_heroctl(h, 300, 0);
	herod_stop(h);
}

/* What heroctl status asks for, until the answer's last byte. */
static double
status_ms(struct herod *h)
{
	static const char call[] =
	    "{\"jsonrpc\":\"2.0\",\"method\":\"get_all_runner_status\","
	    "\"params\":{\"brief\":true},\"id\":1}\n";
	static char answer[1 << 20];
	int fd = door_unix(h);
	int64_t since = now_ns();
	ssize_t n;

	send_text(fd, call);
	do {
		n = recv(fd, answer, sizeof(answer), 0);
		check(n > 0);
	} while (answer[n - 1] != '\n');
	close(fd);
	return ms_since(since);
}

static void
report_status(struct herod *h, int nrunners)
{
	struct samples ms = {0};

	while (ms.n < 50)
		sample(&ms, status_ms(h));
	report(&(struct report){
	    .bench = text("status_%d_runners", nrunners),
	    .value = median(&ms),
	    .unit = "ms",
	    .aim = AIM_AT_MOST,
	    .limit = 10,
	});
}

void
test_a_thousand_runners(void)
{
	struct herod *h = herod_start("%s", sleepers(1000, ""));

	wait_for(is_state(h, "r999", "RUNNING"));
	report_status(h, 1000);
	report_heroctl(h, 1000, 0);
	herod_stop(h);
}
