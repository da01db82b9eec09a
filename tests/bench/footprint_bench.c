/*
 * What herod costs while nothing happens: memory, wake-ups; and what it
 * costs to look at it with heroctl, beside redis-cli and its server; and all
 * that beside supervisord, with starts and stops of many.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"

#define ROUNDS 3
#define MANY 300
#define IDLE_SECONDS 20
#define QUIET_SECONDS 2 /* without a wake-up: what was begun is done */
#define QUIET_TRIES 15

/* ---- memory ---- */

struct memory {
	struct samples ten, many; /* with the keeper */
	struct samples per; /* kB for each of the difference, in herod */
};

static void
become_ready(struct herod *h, int nrunners)
{
	wait_for(is_state(h, text("r%03d", nrunners - 1), "RUNNING"));
}

/* Of herod alone; the keeper's is added to all. */
static double
herod_mb(int nrunners, struct samples *all)
{
	struct herod *h = herod_start("%s", sleepers(nrunners, ""));
	double mb;

	become_ready(h, nrunners);
	mb = rss_mb(herod_pid(h));
	sample(all, mb + rss_mb(h->keeper));
	herod_stop(h);
	return mb;
}

/* What of the programs' files is in memory differs from run to run by a tenth
 * of a megabyte. */
static void
measure_herod(struct memory *m)
{
	double ten;

	while (m->per.n < ROUNDS) {
		ten = herod_mb(10, &m->ten);
		sample(&m->per,
		    (herod_mb(MANY, &m->many) - ten) * 1000 / (MANY - 10));
	}
}

static double
supervisord_mb(int nprograms)
{
	struct supervisord s =
	    supervisord_start(supervisord_sleepers(nprograms));
	double mb;

	supervisord_call(&s, "startAllProcesses");
	mb = rss_mb(s.pid);
	supervisord_stop(&s);
	return mb;
}

static void
measure_supervisord(struct memory *m)
{
	double ten, many;

	if (!has_peer(SUPERVISORD))
		return;
	sample(&m->ten, ten = supervisord_mb(10));
	sample(&m->many, many = supervisord_mb(MANY));
	sample(&m->per, (many - ten) * 1000 / (MANY - 10));
}

static void
report_memory(const char *bench, const char *unit, struct samples *own,
    const char *peer, double peer_value, double limit)
{
	report(&(struct report){
	    .bench = bench,
	    .value = median(own),
	    .unit = unit,
	    .peer = peer_value > 0 ? peer : NULL,
	    .peer_value = peer_value,
	    .aim = limit > 0 ? AIM_AT_MOST : AIM_NONE,
	    .limit = limit,
	});
}

static double
if_any(struct samples *s)
{
	return s->n > 0 ? median(s) : 0;
}

/* One process for each service, and nobody who would start these. */
static void
report_beside_crew(struct samples *ten, const char *program)
{
	struct crew crew;

	if (!has_peer(program))
		return;
	crew_start(&crew, program, 10);
	report_memory(text("rss_10_beside_%s", program), "MB", ten,
	    text("10 %s, Pss", program), crew_mb(&crew), 0);
	crew_stop(&crew);
}

void
test_memory(void)
{
	static struct memory own, peer;

	measure_herod(&own);
	measure_supervisord(&peer);
	report_memory("rss_10_runners", "MB", &own.ten, SUPERVISORD,
	    if_any(&peer.ten), 5);
	report_memory("rss_300_runners", "MB", &own.many, SUPERVISORD,
	    if_any(&peer.many), 0);
	report_memory("rss_per_runner", "kB", &own.per, SUPERVISORD,
	    if_any(&peer.per), 4);
	report_beside_crew(&own.ten, "runsv");
	report_beside_crew(&own.ten, "s6-supervise");
}

/* ---- wake-ups ---- */

static long
wakeups(pid_t pid)
{
	return atol(proc_field(pid, "status", "voluntary_ctxt_switches"));
}

static long
wakeups_of_both(const struct herod *h)
{
	return wakeups(h->keeper) + wakeups(herod_pid(h));
}

static void
become_quiet(const struct herod *h)
{
	int tries = QUIET_TRIES;
	long before;

	do {
		before = wakeups_of_both(h);
		stay_idle(QUIET_SECONDS);
	} while (wakeups_of_both(h) != before && tries-- > 0);
}

static void
report_wakeups(const struct herod *h, const struct supervisord *peer)
{
	long before, peer_before;

	become_quiet(h);
	before = wakeups_of_both(h);
	peer_before = peer ? wakeups(peer->pid) : 0;
	stay_idle(IDLE_SECONDS);
	report(&(struct report){
	    .bench = "idle_wakeups",
	    .value = (double)(wakeups_of_both(h) - before),
	    .unit = text("/%d s", IDLE_SECONDS),
	    .peer = peer ? SUPERVISORD : NULL,
	    .peer_value = peer ? (double)(wakeups(peer->pid) - peer_before) : 0,
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

void
test_ten_runners(void)
{
	struct herod *h = herod_start("%s", sleepers(10, ""));

	become_ready(h, 10);
	report_heroctl(h, 10, 5);
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
report_status(struct herod *h, int nrunners, const struct supervisord *peer)
{
	struct samples ms = {0}, peer_ms = {0};
	int64_t since;

	while (ms.n < 50) {
		sample(&ms, status_ms(h));
		since = now_ns();
		if (peer == NULL || peer_ms.n == 5)
			continue;
		supervisord_call(peer, "getAllProcessInfo");
		sample(&peer_ms, ms_since(since));
	}
	report(&(struct report){
	    .bench = text("status_%d_runners", nrunners),
	    .value = median(&ms),
	    .unit = "ms",
	    .peer = peer ? SUPERVISORD : NULL,
	    .peer_value = if_any(&peer_ms),
	    .aim = AIM_AT_MOST,
	    .limit = 10,
	});
}

void
test_a_thousand_runners(void)
{
	struct herod *h = herod_start("%s", sleepers(1000, ""));

	become_ready(h, 1000);
	report_status(h, 1000, NULL);
	report_heroctl(h, 1000, 0);
	herod_stop(h);
}

/* ---- three hundred beside supervisord ---- */

static void
report_ctl(const struct herod *h, const struct supervisord *peer)
{
	const char *ctl[] = {text("%s/heroctl", getenv("HEROD_BUILD")), "-s",
	    text("unix:%s", h->socket), "status", NULL};
	const char *other[] = {
	    "supervisorctl", "-c", peer ? peer->conf : "", "status", NULL};

	report(&(struct report){
	    .bench = text("heroctl_status_%d_runners", MANY),
	    .value = command_ms(ctl, 50),
	    .unit = "ms",
	    .peer = peer ? "supervisorctl status" : NULL,
	    .peer_value = peer ? command_ms(other, 5) : 0,
	});
}

static double
call_ms(struct herod *h, const char *method)
{
	int64_t since = now_ns();

	rpc(h, method, NULL);
	return ms_since(since);
}

static double
peer_call_ms(const struct supervisord *s, const char *method)
{
	int64_t since = now_ns();

	supervisord_call(s, method);
	return ms_since(since);
}

struct times {
	struct samples start, stop;
};

static void
report_times(struct times *own, struct times *peer, bool beside)
{
	report(&(struct report){
	    .bench = text("start_%d", MANY),
	    .value = median(&own->start),
	    .unit = "ms",
	    .peer = beside ? SUPERVISORD : NULL,
	    .peer_value = if_any(&peer->start),
	    .aim = beside ? AIM_WITHIN_PEER : AIM_NONE,
	    .limit = 1,
	});
	report(&(struct report){
	    .bench = text("stop_%d", MANY),
	    .value = median(&own->stop),
	    .unit = "ms",
	    .peer = beside ? SUPERVISORD : NULL,
	    .peer_value = if_any(&peer->stop),
	    .aim = beside ? AIM_WITHIN_PEER : AIM_NONE,
	    .limit = 1,
	});
}

/* All are up in the end. */
static void
start_and_stop(struct herod *h, const struct supervisord *peer)
{
	struct times own = {0}, others = {0};

	for (;;) {
		sample(&own.start, call_ms(h, "start_all"));
		if (peer)
			sample(&others.start,
			    peer_call_ms(peer, "startAllProcesses"));
		if (own.start.n == ROUNDS)
			break;
		sample(&own.stop, call_ms(h, "stop_all"));
		if (peer)
			sample(&others.stop,
			    peer_call_ms(peer, "stopAllProcesses"));
	}
	report_times(&own, &others, peer != NULL);
}

void
test_three_hundred_runners(void)
{
	struct herod *h =
	    herod_start("%s", sleepers(MANY, "autostart = false"));
	struct supervisord s, *peer = NULL;

	if (has_peer(SUPERVISORD)) {
		s = supervisord_start(supervisord_sleepers(MANY));
		peer = &s;
	}
	start_and_stop(h, peer);
	report_status(h, MANY, peer);
	report_ctl(h, peer);
	report_wakeups(h, peer);
	if (peer)
		supervisord_stop(peer);
	herod_stop(h);
}
