/*
 * Jobs and those who do them: takes from queues for instances that are
 * free, hands jobs over (exec, stdio), keeps their time limits, settles
 * them when they end, and answers who waits.
 */
#ifndef WORKER_H
#define WORKER_H

#include <jansson.h>

#include "redis.h"
#include "runners.h"

struct workers;

struct workers *workers_new(struct ev_loop *loop, struct redis *redis,
    const struct daemon_conf *conf, const char *state_dir);
void workers_free(struct workers *w);

/* The runners to work for (set once they exist), and what workers want to
 * hear from them: fills every hook but changed. */
void workers_attach(struct workers *w, struct runners *runners);
void workers_hooks(struct workers *w, struct runner_hooks *hooks);

/* After keeper_open(): claims of living workers stay, others are given
 * back as soon as Redis is there. */
void workers_recover(struct workers *w);

/* A runner was added or its queue matters anew; one is about to go. */
void workers_runner_added(struct workers *w, struct runner *r);
void workers_runner_gone(struct workers *w, struct runner *r);

/* Depth of a queue for status: fn gets -1 when Redis is away.  Many
 * queues at once: the depths in the same order. */
typedef void (*depths_fn)(void *arg, const long long *depths, size_t n);
void workers_depths(struct workers *w, const char *const *queues, size_t n,
    depths_fn fn, void *arg);

/* Jobs in hand here, of one runner or of all (NULL). */
size_t workers_running(struct workers *w, const struct runner *r);

/* Members for get_all_status: {"queued", "running", "finished", "failed"}
 * since herod runs, without asking Redis; new. */
json_t *workers_summary(struct workers *w);

#endif
