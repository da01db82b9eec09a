/*
 * How soon processes are there (again), beside a bare parent that does the
 * same with vfork(2) and execvp(3), and beside runit's runsv(8).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define RESPAWNS 100
#define RESPAWNS_BY_RUNSV 15 /* which lets a second pass before each */
#define RESTARTS 7 /* of herod itself */
#define MANY 1000

/* ---- a child is killed ---- */

struct mark {
	pid_t pid;
	int64_t at_ns; /* when its main() began */
};

static int
mark_socket(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {10, 0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	check_int(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static struct mark
next_mark(int fd)
{
	char buf[64];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
	struct mark m;
	long long at;
	int pid;

	check(n > 0);
	buf[n] = '\0';
	check_int(sscanf(buf, "%d %lld", &pid, &at), 2);
	m.pid = pid;
	m.at_ns = at;
	return m;
}

static void
respawn_by_herod(struct samples *ms, int fd, const char *path)
{
	struct herod *h = herod_start(AT_ONCE "[runner:it]\nbackoff_reset = 0\n"
					      "command = %s mark %s\n",
	    child_program(), path);
	struct mark m = next_mark(fd);
	int64_t killed;

	while (ms->n < RESPAWNS) {
		/* It has seen the last one and is at rest. */
		wait_for(pid_of(h, "it") == m.pid);
		rpc(h, "ping", NULL);
		killed = now_ns();
		kill(m.pid, SIGKILL);
		m = next_mark(fd);
		sample(ms, (double)(m.at_ns - killed) / 1e6);
	}
	herod_stop(h);
}

static void
respawn_by_bare_parent(struct samples *ms, int fd, const char *path)
{
	const char *argv[] = {child_program(), "mark", path, NULL};
	pid_t pid = program_start(argv, NULL);
	int64_t killed;

	next_mark(fd);
	while (ms->n < RESPAWNS) {
		killed = now_ns();
		kill(pid, SIGKILL);
		check_int(waitpid(pid, NULL, 0), pid);
		pid = program_start(argv, NULL);
		sample(ms, (double)(next_mark(fd).at_ns - killed) / 1e6);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The service is "./run": a file that is interpreted by our program. */
static pid_t
start_runsv(const char *path)
{
	const char *argv[] = {"runsv", here("sv"), NULL};

	mkdir(here("sv"), 0700);
	write_file(here("sv/run"), text("#!%s mark\n", child_program()));
	chmod(here("sv/run"), 0700);
	setenv("BENCH_MARK", path, 1);
	return program_start(argv, NULL);
}

/* It starts at once only what was up for a second. */
static void
respawn_by_runsv(struct samples *ms, int fd, const char *path)
{
	pid_t pid = start_runsv(path);
	struct mark m = next_mark(fd);
	int64_t killed;

	while (ms->n < RESPAWNS_BY_RUNSV) {
		stay_idle(1.1);
		killed = now_ns();
		kill(m.pid, SIGKILL);
		m = next_mark(fd);
		sample(ms, (double)(m.at_ns - killed) / 1e6);
	}
	kill(pid, SIGTERM);
	kill(m.pid, SIGKILL);
	check_int(waitpid(pid, NULL, 0), pid);
}

void
test_respawn_beside_runit(void)
{
	static struct samples ms, peer;
	const char *path = here("mark.sock");
	int fd = mark_socket(path);
	bool is_there = system("command -v runsv >/dev/null") == 0;

	if (is_there)
		respawn_by_runsv(&peer, fd, path);
	unsetenv("BENCH_MARK");
	respawn_by_herod(&ms, fd, path);
	report(&(struct report){"respawn_beside_runit", median(&ms), "ms",
	    is_there ? "runsv" : NULL, is_there ? median(&peer) : 0,
	    is_there ? AIM_AT_MOST : AIM_NONE, median(&peer)});
}

void
test_respawn(void)
{
	static struct samples ms, peer;
	const char *path = here("mark.sock");
	int fd = mark_socket(path);

	respawn_by_bare_parent(&peer, fd, path);
	respawn_by_herod(&ms, fd, path);
	report(&(struct report){"respawn_median", median(&ms), "ms",
	    "bare parent", median(&peer), AIM_AT_MOST, 5});
	report(&(struct report){"respawn_p99", percentile(&ms, 99), "ms",
	    "bare parent", percentile(&peer, 99), AIM_NONE, 0});
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
	    "bare vfork+exec", median(&bare_start), AIM_AT_MOST,
	    1.5 * median(&bare_start)});
	report(&(struct report){"stop_1000", median(&stop), "ms",
	    "bare kill+wait", median(&bare_stop), AIM_NONE, 0});
	herod_stop(h);
}
