/*
 * How soon processes are there (again), beside a bare parent that does the
 * same with vfork(2) and execvp(3), and beside runit's runsv(8) and
 * supervisord.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "peer.h"

#define RESPAWNS 100
#define RESPAWNS_BESIDE 25 /* others, with a second before each */
#define RESTARTS 7 /* of herod itself */
#define MANY 1000

/* ---- a child is killed ---- */

/* Somebody's service, which says when it begins. */
struct service {
	struct samples ms; /* from its end to its next begin */
	const char *path; /* where it says so */
	int fd;
	pid_t pid;
};

static void
service_open(struct service *s, const char *name)
{
	s->path = here(name);
	s->fd = mark_socket(s->path);
}

static void
service_begins(struct service *s, int64_t killed)
{
	struct mark m = next_mark(s->fd);

	s->pid = m.pid;
	if (killed)
		sample(&s->ms, (double)(m.at_ns - killed) / 1e6);
}

static void
service_killed(struct service *s)
{
	int64_t killed = now_ns();

	kill(s->pid, SIGKILL);
	service_begins(s, killed);
}

/* herod has seen the last one and is at rest. */
static void
killed_under_herod(struct herod *h, struct service *s)
{
	wait_for(pid_of(h, "it") == s->pid);
	rpc(h, "ping", NULL);
	service_killed(s);
}

static void
killed_under_bare_parent(struct service *s)
{
	const char *argv[] = {child_program(), "mark", s->path, NULL};
	int64_t killed = now_ns();

	if (s->pid != 0) {
		kill(s->pid, SIGKILL);
		check_int(waitpid(s->pid, NULL, 0), s->pid);
	}
	program_start(argv, NULL);
	service_begins(s, s->pid ? killed : 0);
}

static struct herod *
herod_with(const struct service *s)
{
	return herod_start(AT_ONCE "[runner:it]\nbackoff_reset = 0\n"
				   "command = %s mark %s\n",
	    child_program(), s->path);
}

void
test_respawn(void)
{
	static struct service own, bare;
	struct herod *h;

	service_open(&own, "own.sock");
	service_open(&bare, "bare.sock");
	h = herod_with(&own);
	service_begins(&own, 0);
	killed_under_bare_parent(&bare);
	while (own.ms.n < RESPAWNS) {
		killed_under_herod(h, &own);
		killed_under_bare_parent(&bare);
	}
	kill(bare.pid, SIGKILL);
	check_int(waitpid(bare.pid, NULL, 0), bare.pid);
	herod_stop(h);
	report(&(struct report){"respawn_median", median(&own.ms), "ms",
	    "bare parent", median(&bare.ms), AIM_AT_MOST, 5});
	report(&(struct report){"respawn_p99", percentile(&own.ms, 99), "ms",
	    "bare parent", percentile(&bare.ms, 99), AIM_NONE, 0});
}

/* ---- the same beside others, in turn ---- */

/* The service of runsv is "./run": a file that is interpreted by our
 * program. */
static pid_t
start_runsv(struct service *s)
{
	const char *argv[] = {"runsv", here("sv"), NULL};
	pid_t pid;

	service_open(s, "runsv.sock");
	mkdir(here("sv"), 0700);
	write_file(here("sv/run"), text("#!%s mark\n", child_program()));
	chmod(here("sv/run"), 0700);
	setenv("BENCH_MARK", s->path, 1);
	pid = program_start(argv, NULL);
	unsetenv("BENCH_MARK");
	service_begins(s, 0);
	return pid;
}

static void
stop_runsv(pid_t pid, const struct service *s)
{
	kill(pid, SIGTERM);
	kill(s->pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
}

static struct supervisord
start_supervisord(struct service *s)
{
	struct supervisord d;

	service_open(s, "supervisord.mark");
	d = supervisord_start(
	    text("[program:it]\nstartsecs = 0\nautorestart = true\n"
		 "command = %s mark %s\n",
		child_program(), s->path));
	service_begins(s, 0);
	return d;
}

static void
report_respawn(struct service *own, struct service *peer, const char *name)
{
	report(&(struct report){
	    .bench = text("respawn_beside_%s", name),
	    .value = median(&own->ms),
	    .unit = "ms",
	    .peer = peer->ms.n ? name : NULL,
	    .peer_value = peer->ms.n ? median(&peer->ms) : 0,
	    .aim = peer->ms.n ? AIM_WITHIN_PEER : AIM_NONE,
	    .limit = 1,
	});
}

void
test_respawn_beside_others(void)
{
	static struct service own, runit, other;
	bool with_runsv = has_peer("runsv"), with_other = has_peer(SUPERVISORD);
	pid_t runsv = with_runsv ? start_runsv(&runit) : 0;
	struct supervisord d = {0};
	struct herod *h;

	if (with_other)
		d = start_supervisord(&other);
	service_open(&own, "own.sock");
	h = herod_with(&own);
	service_begins(&own, 0);
	while (own.ms.n < RESPAWNS_BESIDE) {
		/* runsv starts at once only what was up for a second. */
		stay_idle(1.1);
		killed_under_herod(h, &own);
		if (with_runsv)
			service_killed(&runit);
		if (with_other)
			service_killed(&other);
	}
	if (with_runsv)
		stop_runsv(runsv, &runit);
	if (with_other)
		supervisord_stop(&d);
	herod_stop(h);
	report_respawn(&own, &runit, "runsv");
	report_respawn(&own, &other, SUPERVISORD);
}

/* ---- herod is killed ---- */

/* A call sent as soon as it is dead, and its answer: the connection waits
 * in the backlog, or was taken by the one that died. */
static double
restart_ms(struct herod *h)
{
	static const char ping[] =
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n";
	pid_t old = herod_pid(h);
	int64_t killed = now_ns();
	const char *answer = NULL;
	double ms;
	int fd;

	check(old != 0);
	kill(old, SIGKILL);
	while (answer == NULL) {
		fd = door_unix(h);
		(void)send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL);
		answer = recv_line(fd);
		close(fd);
	}
	ms = ms_since(killed);
	check_has(answer, "pong");
	check(herod_pid(h) != old);
	return ms;
}

void
test_restart(void)
{
	struct herod *h = herod_start("%s", sleepers(10, ""));
	struct samples ms = {0};

	while (ms.n < RESTARTS) {
		/* Who dies young is not started again at once. */
		stay_idle(1.1);
		sample(&ms, restart_ms(h));
	}
	report(&(struct report){.bench = "restart_of_herod",
	    .value = median(&ms),
	    .unit = "ms",
	    .aim = AIM_AT_MOST,
	    .limit = 100});
	herod_stop(h);
}

/* ---- many ---- */

static void
start_and_stop_bare(struct samples *start, struct samples *stop)
{
	const char *argv[] = {"sleep", "1000", NULL};
	pid_t pids[MANY];
	int64_t since = now_ns();
	size_t i;

	for (i = 0; i < MANY; i++)
		pids[i] = program_start(argv, NULL);
	sample(start, ms_since(since));
	since = now_ns();
	for (i = 0; i < MANY; i++)
		kill(pids[i], SIGTERM);
	for (i = 0; i < MANY; i++)
		waitpid(pids[i], NULL, 0);
	sample(stop, ms_since(since));
}

static void
start_and_stop(struct herod *h, struct samples *start, struct samples *stop)
{
	int64_t since = now_ns();

	rpc(h, "start_all", NULL);
	sample(start, ms_since(since));
	since = now_ns();
	rpc(h, "stop_all", NULL);
	sample(stop, ms_since(since));
}

void
test_start_and_stop(void)
{
	struct herod *h =
	    herod_start("%s", sleepers(MANY, "autostart = false"));
	struct samples start = {0}, stop = {0}, bare_start = {0},
		       bare_stop = {0};

	while (start.n < 3) {
		start_and_stop_bare(&bare_start, &bare_stop);
		start_and_stop(h, &start, &stop);
	}
	report(&(struct report){"start_1000", median(&start), "ms",
	    "bare vfork+exec", median(&bare_start), AIM_WITHIN_PEER, 1.5});
	report(&(struct report){"stop_1000", median(&stop), "ms",
	    "bare kill+wait", median(&bare_stop), AIM_WITHIN_PEER, 3});
	herod_stop(h);
}
