/*
 * What the event stream costs: the share of a core that herod needs for a
 * thousand followers of twenty events a second, as lines and as server-sent
 * events, beside a redis-server that publishes messages of the same length to
 * as many subscribers.
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
	bool by_blanks; /* a blank line ends an event, not each newline */
	size_t bytes, nevents; /* heard; by one of them, whole ones */
	char last; /* that this one has heard */
};

/* One way to follow. */
struct way {
	const char *name;
	int (*dial)(const struct herod *h);
	const char *words;
	bool by_blanks;
};

static void
more_files(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void
count_events(struct crowd *c, const char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; c->last = buf[i++])
		c->nevents +=
		    buf[i] == '\n' && (!c->by_blanks || c->last == '\n');
}

/* Reads what there is. */
static void
hear(struct crowd *c, int fd)
{
	static char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		c->bytes += (size_t)n;
		if (fd == c->fds[0])
			count_events(c, buf, (size_t)n);
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
crowd_new(void)
{
	struct crowd *c = calloc(1, sizeof(*c));

	check(c != NULL);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	return c;
}

/* It follows when it has heard a first word. */
static void
crowd_join(struct crowd *c, int i, int fd, const char *words)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	char first[4096];

	check(fd != -1);
	c->fds[i] = fd;
	send_text(fd, words);
	check(recv(fd, first, sizeof(first), 0) > 0);
	epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e);
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
share_of_herod(struct herod *h, const struct way *way, size_t *length)
{
	static const char *const says[2] = {
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stop_runner\","
	    "\"params\":[\"it\",false]}\n",
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"start_runner\","
	    "\"params\":[\"it\",false]}\n"};
	int speaker = door_unix(h), i;
	struct crowd *c = crowd_new();
	double percent;

	c->by_blanks = way->by_blanks;
	for (i = 0; i < FOLLOWERS; i++)
		crowd_join(c, i, way->dial(h), way->words);
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
	struct crowd *c = crowd_new();
	double percent;
	int i;

	for (i = 0; i < FOLLOWERS; i++)
		crowd_join(c, i, dial(path), "SUBSCRIBE it\r\n");
	says[0] = says[1] = text("PUBLISH it %0*d\r\n", (int)length, 0);
	percent = share(c, peer, speaker, says, 1);
	crowd_free(c);
	close(speaker);
	kill(peer, SIGTERM);
	check_int(waitpid(peer, NULL, 0), peer);
	return percent;
}

static const struct way ways[] = {
    {"stream", door_unix,
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
	"\"params\":[\"runner.it\"]}\n",
	false},
    {"sse", door_tcp,
	"GET /events?topics=runner.it HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	true},
};

static void
bench_way(struct herod *h, const struct way *way)
{
	size_t length;
	double percent = share_of_herod(h, way, &length);

	report(&(struct report){
	    .bench = text("%s_%d_followers", way->name, FOLLOWERS),
	    .value = percent,
	    .unit = "%",
	    .peer = "redis PUBLISH",
	    .peer_value = share_of_redis(length),
	    .aim = AIM_AT_MOST,
	    .limit = 10,
	});
}

void
test_stream(void)
{
	struct herod *h;

	more_files();
	h = herod_start("[herod]\nmax_connections = 2000\n"
			"[runner:it]\nkind = exec\ncommand = true\n");
	bench_way(h, &ways[0]);
	bench_way(h, &ways[1]);
	herod_stop(h);
}
