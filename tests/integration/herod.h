/*
 * A real herod for tests: the built programs, a private state directory and
 * socket and a TCP port of its own, all in the test's directory.
 *
 *	struct herod *h = herod_start("[runner:web]\ncommand = sleep 1000\n");
 *
 *	wait_for(is_state(h, "web", "RUNNING"));
 *	rpc(h, "stop_runner", "{s:s}", "name", "web");
 *	herod_stop(h);
 *
 * Every string and JSON value given out lives until the test ends.  What
 * goes wrong here ends the test; herod's own log is shown then.
 */
#ifndef HEROD_TEST_H
#define HEROD_TEST_H

#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#include "check.h"

struct herod {
	pid_t keeper; /* as init would see it */
	int port; /* of its TCP door */
	const char *state, *run; /* its directories */
	const char *socket; /* path of its Unix door */
	const char *conf; /* path of its configuration file */
	const char *before; /* shell text before the program */
	const char *options; /* more words of the command line */
};

/* For most tests a process may count as RUNNING as soon as it is there. */
#define AT_ONCE "[defaults]\nstartsecs = 0\n"

/* A program's end and what it wrote. */
struct ran {
	int status; /* exit status; 128 + signal */
	const char *out, *err;
};

/* ---- its life ---- */

/* conf as for printf(3).  Returns when it answers. */
struct herod *herod_start(const char *conf, ...)
    __attribute__((format(printf, 1, 2)));

/* The same with shell text before the program (such as "ulimit -n 64;") and
 * more words behind it. */
struct herod *herod_start_with(const char *before, const char *options,
    const char *conf, ...) __attribute__((format(printf, 3, 4)));

/* Another one beside it, with files of its own that have the name in theirs. */
struct herod *herod_start_beside(const char *name, const char *conf, ...)
    __attribute__((format(printf, 2, 3)));

/* Another one over the same directories, after herod_stop(). */
void herod_again(struct herod *h);

/* SIGTERM; checks that it ends with 0, soon, and leaves no process. */
void herod_stop(struct herod *h);

/* Waits for its end by itself; its exit status, checking for leftovers. */
int herod_end(struct herod *h);

/* The daemon, child of the keeper; 0 while there is none. */
pid_t herod_pid(const struct herod *h);

/* SIGKILL to the daemon alone; returns when the next one answers. */
void herod_kill9(struct herod *h);

/* SIGKILL to the keeper alone, whose place the daemon takes at once; the
 * second returns when the next daemon answers. */
void herod_keeper_gone(struct herod *h, pid_t daemon);
void herod_keeper_kill9(struct herod *h);

/* SIGKILL to both, with no time for the one left to notice; herod_again()
 * starts the next. */
void herod_kill_both(struct herod *h);

/* What herod itself said so far. */
const char *herod_log(void);

/* ---- asking it ---- */

/* One call over a new Unix connection, params as for json_pack(), NULL
 * for none; checks that there is a result and gives it. */
json_t *rpc(struct herod *h, const char *method, const char *params, ...);

/* The same for a refusal: its error object. */
json_t *rpc_error(struct herod *h, const char *method, const char *params, ...);

/* Begins a call without waiting for the answer, which rpc_end() gives: the
 * whole response. */
int rpc_begin(struct herod *h, const char *method, const char *params, ...);
json_t *rpc_end(int fd);

/* A JSON text as a value; checks that it is one. */
json_t *json_of(const char *text);

/* Members by path: "instances.0.pid"; checks that it is there. */
const char *text_at(json_t *value, const char *path);
long long int_at(json_t *value, const char *path);
json_t *at(json_t *value, const char *path); /* NULL: not there */

json_t *status_of(struct herod *h, const char *runner);
bool is_state(struct herod *h, const char *runner, const char *state);
pid_t pid_of(struct herod *h, const char *runner); /* 0: none */
/* Waits for its process. */
void signal_runner(struct herod *h, const char *runner, int signo);

/* Waits for the end of a job: its result, or its error. */
const char *job_outcome(struct herod *h, const char *id);
bool job_is(struct herod *h, const char *id, const char *status);

/* Until herod has its connection. */
void wait_for_redis(struct herod *h);

/* All lines in get_runner_logs with a newline behind each. */
const char *logs_of(struct herod *h, const char *runner);

/* A secret of tests; see secrets.h, by which the harness looks for it in all
 * that is left behind. */
const char *secret(const char *word);

/* heroctl -s unix:SOCKET and more words, by a shell. */
struct ran heroctl(struct herod *h, const char *args, ...)
    __attribute__((format(printf, 2, 3)));

/* Any shell command; $BUILD and $SOURCE are set. */
struct ran run(const char *command, ...) __attribute__((format(printf, 1, 2)));

/* The same in the background; then waits for its end and gives its exit
 * status.  To be ended before herod is: it would count as a leftover. */
pid_t run_begin(const char *command, ...) __attribute__((format(printf, 1, 2)));
int run_end(pid_t pid);

/* ---- its doors, raw ---- */

int door_unix(const struct herod *h);
int door_tcp(const struct herod *h);
void send_text(int fd, const char *text);
void send_bytes(int fd, const void *bytes, size_t len);
const char *recv_line(int fd); /* without newline; NULL at the end */
json_t *recv_json(int fd);
const char *recv_all(int fd); /* until the end */
bool at_end(int fd); /* the other side closed, nothing to read */

/* One line there, one line back, over a new Unix connection. */
json_t *exchange(struct herod *h, const char *line);

/* A whole HTTP exchange over TCP; request as sent, until it is closed. */
const char *http(struct herod *h, const char *request, ...)
    __attribute__((format(printf, 2, 3)));

/* POST of a JSON text as the documented curl line does it. */
const char *http_post(struct herod *h, const char *json);

/* ---- things around it ---- */

/* Absolute path of a file in the test's directory. */
const char *here(const char *name);

/* Path of a program in etc/samples. */
const char *sample_path(const char *name);

/* Writes an executable shell script; its absolute path. */
const char *script(const char *name, const char *text);

/* printf(3) into a string. */
const char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool file_exists(const char *path);
const char *file_text(const char *path);
int count_lines(const char *path); /* 0 when there is no file */
pid_t pid_in(const char *path); /* the number in a file */

/* A process that is there and not a zombie. */
bool is_alive(pid_t pid);

/* The same of one whose parent is gone: a zombie is ours to bury. */
bool is_gone(pid_t pid);

/* /proc/PID/NAME, and one "Name:\tvalue" line's value in it. */
const char *proc_text(pid_t pid, const char *name);
const char *proc_field(pid_t pid, const char *name, const char *field);

/* Descriptors that a process has open. */
int count_fds(pid_t pid);

/* Shell text for herod_start_with(): its wall clock is wrong by so many
 * seconds. */
const char *with_fake_clock(volatile long long **wrong_by);

/* A redis-server of the test's own on a Unix socket. */
pid_t redis_start(const char *socket);
/* The same; what it has acknowledged is there again when it is killed and
 * started again. */
pid_t redis_start_durable(const char *socket);
/* For benches: one with what herod gives its private one, so that a job stays
 * a compact hash; fsync: what it has acknowledged is on the disk. */
pid_t redis_start_for_jobs(const char *socket, bool fsync);
/* One of which others can be replicas, at that port of 127.0.0.1. */
pid_t redis_start_primary(const char *socket, int *port);
/* One that knows what the dump in that directory has. */
pid_t redis_start_in(const char *socket, const char *dir);
/* One that reads the dump in the test's directory, slowly: a tenth of a second
 * for each key, until its key-load-delay is 0. */
pid_t redis_start_loading(const char *socket);
const char *redis(const char *socket, const char *command, ...)
    __attribute__((format(printf, 2, 3)));

#endif
