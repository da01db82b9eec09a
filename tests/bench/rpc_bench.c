/*
 * Requests a second through each door, beside redis-benchmark's GET from a
 * redis-server of our own with as many connections and as deep a pipeline.
 * Peer and herod take turns, so that what else the machine does hits both.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define ROUNDS 3
#define SECONDS 0.3 /* of each round */

struct door {
	const char *name;
	int (*dial)(const struct herod *h);
	const char *(*call)(const char *method, const char *params);
	const char *peer;
	const char *peer_at; /* options of redis-benchmark */
	double limit; /* of the peer, at 32 connections; 0: none */
};

static const struct shape {
	int nconns, pipeline;
} shapes[] = {{1, 1}, {1, 16}, {32, 1}, {32, 16}};

static const char *const methods[] = {"ping", "list_runners"};
#define METHODS (sizeof(methods) / sizeof(methods[0]))

static double
redis_benchmark(const struct door *d, const struct shape *s, int n)
{
	struct ran r = run("redis-benchmark %s -t get -c %d -P %d -n %d --csv",
	    d->peer_at, s->nconns, s->pipeline, n);
	const char *line = strstr(r.out, "\"GET\",\"");

	check(line != NULL);
	return strtod(line + 7, NULL);
}

static void
report_rate(const struct door *d, const struct shape *s, const char *method,
    double rate, double peer_rate)
{
	report(&(struct report){
	    .bench = text(
		"rpc_%s_%s_c%d_p%d", method, d->name, s->nconns, s->pipeline),
	    .value = rate,
	    .unit = "/s",
	    .peer = d->peer,
	    .peer_value = peer_rate,
	    .aim = s->nconns == 32 && d->limit > 0 ? AIM_OF_PEER : AIM_NONE,
	    .limit = d->limit,
	});
}

static void
bench_shape(struct herod *h, const struct door *d, const struct shape *s)
{
	struct samples rates[METHODS] = {0}, peer = {0};
	double guess = redis_benchmark(d, s, 4000);
	struct load load = {d->dial, NULL, s->nconns, s->pipeline, SECONDS};
	size_t round, m;

	for (round = 0; round < ROUNDS; round++) {
		sample(&peer, redis_benchmark(d, s, (int)(guess * SECONDS)));
		for (m = 0; m < METHODS; m++) {
			load.request = d->call(methods[m], "");
			sample(&rates[m], load_run(h, &load));
		}
	}
	for (m = 0; m < METHODS; m++)
		report_rate(d, s, methods[m], median(&rates[m]), median(&peer));
}

/* ---- HTTP beside a fixed reply ---- */

/* tests/bench/fixed; its port is as a herod's for who dials. */
static pid_t
fixed_start(struct herod *peer, int *out)
{
	const char *argv[] = {
	    text("%s/tests/bench/fixed", getenv("HEROD_BUILD")), NULL};
	int in[2], fds[3] = {-1, -1, -1};
	char port[16] = "";
	pid_t pid;

	check_int(pipe2(in, O_CLOEXEC), 0);
	*out = in[1];
	fds[0] = in[0];
	check_int(pipe2(in, O_CLOEXEC), 0);
	fds[1] = in[1];
	pid = program_start(argv, fds);
	close(fds[0]);
	close(fds[1]);
	check(read(in[0], port, sizeof(port) - 1) > 0);
	close(in[0]);
	peer->port = atoi(port);
	return pid;
}

static void
bench_http(struct herod *h, const struct herod *peer, const struct shape *s)
{
	struct samples ours = {0}, theirs = {0};
	struct load load = {
	    door_tcp, call_http("ping", ""), s->nconns, s->pipeline, SECONDS};
	size_t round;

	for (round = 0; round < ROUNDS; round++) {
		sample(&theirs, load_run(peer, &load));
		sample(&ours, load_run(h, &load));
	}
	report(&(struct report){
	    .bench = text("http_fixed_c%d_p%d", s->nconns, s->pipeline),
	    .value = median(&ours),
	    .unit = "/s",
	    .peer = "libmicrohttpd, fixed reply",
	    .peer_value = median(&theirs),
	    .aim = AIM_OF_PEER,
	    .limit = 0.7,
	});
}

void
test_http(void)
{
	struct herod *h = herod_start("%s", sleepers(10, "")), peer = {0};
	int out;
	pid_t pid = fixed_start(&peer, &out);
	size_t i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		bench_http(h, &peer, &shapes[i]);
	close(out);
	check_int(waitpid(pid, NULL, 0), pid);
	herod_stop(h);
}

/* The port that redis-server was free to take. */
static int
redis_port(const char *socket)
{
	int port = 20000 + (int)getpid() % 20000, tries = 100;

	while (strstr(redis(socket, "config set port %d", port), "OK") == NULL)
		check(port++ && tries-- > 0);
	return port;
}

static void
bench_doors(struct herod *h, const char *socket)
{
	const char *by_tcp = text("-p %d", redis_port(socket));
	const char *by_unix = text("-s %s", socket);
	const struct door doors[] = {
	    {"unix", door_unix, call_line, "redis GET, unix", by_unix, 0.8},
	    {"tcp", door_tcp, call_line, "redis GET, tcp", by_tcp, 0.8},
	    {"http", door_tcp, call_http, "redis GET, tcp", by_tcp, 0},
	};
	size_t i, k;

	for (i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		for (k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++)
			bench_shape(h, &doors[i], &shapes[k]);
}

void
test_rpc(void)
{
	struct herod *h = herod_start("%s", sleepers(10, ""));
	const char *socket = here("peer.sock");
	pid_t peer = redis_start(socket);

	redis(socket, "set key:__rand_int__ xxx");
	bench_doors(h, socket);
	kill(peer, SIGTERM);
	check_int(waitpid(peer, NULL, 0), peer);
	herod_stop(h);
}
