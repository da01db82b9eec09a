/*
 * What the event stream costs: the share of a core that herod needs for a
 * thousand followers of twenty events a second, beside a redis-server that
 * publishes messages of the same length to as many subscribers.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define FOLLOWERS 1000
#define EVENTS_A_SECOND 20
#define SECONDS 5

struct crowd {
	int epoll;
	int fds[FOLLOWERS];
	size_t bytes, nevents; /* heard; by one of them, whole lines */
};

static void
more_files(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* Reads what there is. */
static void
hear(struct crowd *c, int fd)
{
	static char buf[65536];
	const char *p;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		c->bytes += (size_t)n;
		for (p = buf; fd == c->fds[0] &&
		     (p = memchr(p, '\n', (size_t)(buf + n - p))) != NULL;
		     p++)
			c->nevents++;
	}
	check(n == -1 && errno == EAGAIN);
}

static void
hear_all(struct crowd *c, double ms)
{
	struct epoll_event events[256];
	int64_t since = now_ns();
	double left;
	int i, n;

	while ((left = ms - ms_since(since)) > 0) {
		n = epoll_wait(c->epoll, events, 256, (int)left + 1);
		for (i = 0; i < n; i++)
			hear(c, events[i].data.fd);
	}
}

static struct crowd *
crowd_new(const char *path, const char *words)
{
	struct crowd *c = calloc(1, sizeof(*c));
	struct epoll_event e = {.events = EPOLLIN};
	char first[4096];
	int i;

	check(c != NULL);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < FOLLOWERS; i++) {
		e.data.fd = c->fds[i] = dial(path);
		check(c->fds[i] != -1);
		send_text(c->fds[i], words);
		check(recv(c->fds[i], first, sizeof(first), 0) > 0);
		epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->fds[i], &e);
	}
	return c;
}

static void
crowd_free(struct crowd *c)
{
	int i;

	for (i = 0; i < FOLLOWERS; i++)
		close(c->fds[i]);
	close(c->epoll);
	free(c);
}

/* The share in % while something happens so many times a second, which
 * say() brings about, and says as many lines as it brings events. */
static double
share(struct crowd *c, pid_t pid, int speaker, const char *const says[2],
    int events)
{
	int i, n = EVENTS_A_SECOND * SECONDS / events;
	double before = cpu_of(pid);
	int64_t since = now_ns();

	for (i = 0; i < n; i++) {
		send_text(speaker, says[i % 2]);
		check(recv_line(speaker) != NULL);
		hear_all(c, 1000. * events / EVENTS_A_SECOND);
	}
	return (cpu_of(pid) - before) / ms_since(since) * 1e5;
}

/* A stop, and a start, of a runner without a process are two events each. */
static double
share_of_herod(struct herod *h, size_t *length)
{
	static const char *const says[2] = {
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stop_runner\","
	    "\"params\":[\"it\",false]}\n",
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"start_runner\","
	    "\"params\":[\"it\",false]}\n"};
	int speaker = door_unix(h);
	struct crowd *c = crowd_new(h->socket,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
	    "\"params\":[\"runner.it\"]}\n");
	double percent;

	hear_all(c, 100);
	c->bytes = c->nevents = 0;
	percent = share(c, herod_pid(h), speaker, says, 2);
	wait_for(
	    (hear_all(c, 10), c->nevents == (size_t)EVENTS_A_SECOND * SECONDS));
	*length = c->bytes / FOLLOWERS / c->nevents;
	crowd_free(c);
	close(speaker);
	return percent;
}

static double
share_of_redis(size_t length)
{
	const char *path = here("peer.sock"), *says[2];
	pid_t peer = redis_start(path);
	int speaker = dial(path);
	struct crowd *c = crowd_new(path, "SUBSCRIBE it\r\n");
	double percent;

	says[0] = says[1] = text("PUBLISH it %0*d\r\n", (int)length, 0);
	percent = share(c, peer, speaker, says, 1);
	crowd_free(c);
	close(speaker);
	kill(peer, SIGTERM);
	check_int(waitpid(peer, NULL, 0), peer);
	return percent;
}

void
test_stream(void)
{
	struct herod *h;
	size_t length;
	double percent;

	more_files();
	h = herod_start("[herod]\nmax_connections = 2000\n"
			"[runner:it]\nkind = exec\ncommand = true\n");
	percent = share_of_herod(h, &length);
	report(&(struct report){
	    .bench = text("stream_%d_followers", FOLLOWERS),
	    .value = percent,
	    .unit = "%",
	    .peer = "redis PUBLISH",
	    .peer_value = share_of_redis(length),
	    .aim = AIM_AT_MOST,
	    .limit = 10,
	});
	herod_stop(h);
}
