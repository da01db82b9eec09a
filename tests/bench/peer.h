/*
 * Supervisors of Debian, to be measured beside herod: supervisord, runit's
 * runsv and s6-supervise (one each for a service).  They and what they start
 * are ended by their ids.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <sys/types.h>

#define SUPERVISORD "supervisord"

struct supervisord {
	pid_t pid;
	const char *conf, *socket;
};

/* With these programs, as sections of its file.  Returns when it answers. */
struct supervisord supervisord_start(const char *programs);
void supervisord_stop(struct supervisord *s);

/* As many programs p000, p001... that sleep, not started. */
const char *supervisord_sleepers(int n);

/* A method of its XML-RPC without parameters, until the last byte of the
 * answer; the answer. */
const char *supervisord_call(const struct supervisord *s, const char *method);

/* One process for each service. */
struct crew {
	const char *program; /* runsv or s6-supervise */
	size_t n;
	pid_t pids[300];
};

/* So many services that sleep; returns when all do. */
void crew_start(struct crew *c, const char *program, size_t n);
void crew_stop(struct crew *c);

/* Memory in MB of these processes, with what they share counted once. */
double crew_mb(const struct crew *c);

#endif
