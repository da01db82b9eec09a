/*
 * What rpc_runner.c lends to others: runners as JSON, the runner asked for,
 * answers that wait for it.
 */
#ifndef RPC_RUNNER_H
#define RPC_RUNNER_H

#include "rpc.h"
#include "runners.h"

/* RunnerStatus; the depth of its queue is null.  New. */
json_t *runner_json(const struct services *s, const struct runner *r);

/* The schemas Exit, and Time; new. */
json_t *exit_json(const struct instance *i);
json_t *time_json(double unix_seconds);

/* Member redis of the schemas Summary and Subscription; new. */
json_t *redis_json(const struct services *s);

/* Of its process; null without one.  New. */
json_t *pid_json(const struct instance *i);

/* The instance that shows why the runner is in its state. */
const struct instance *telling_instance(const struct runner *r);

/* All that stay are RUNNING and, where they have a probe, healthy. */
bool runner_is_healthy(const struct runner *r);

/* "up" for WANTED_UP. */
const char *wanted_word(enum wanted w);

/* The runner of the parameter "name", or NULL after refusing. */
struct runner *runner_of(struct call *call);

/* True after refusing: others start and stop it, and what says the rest. */
bool is_external(struct call *call, const struct runner *r, const char *what);

/* Answers (Removed) when it is gone, which it is about to be. */
void reply_removed(struct call *call, struct runner *r);

/* The same of one whose queue nobody knows any more. */
void reply_was_removed(struct call *call);

/* True after answering that: it went while the herod before made way for us. */
bool is_removed(struct call *call);

/* True after refusing: nothing new is begun while herod ends. */
bool is_ending(struct call *call);

/* Answers with its status (RunnerStatus). */
void reply_runner(struct call *call, const struct runner *r);

/* The same when it is as wanted, or will not be; now when the parameter
 * "wait" is false; at most "timeout" seconds. */
void reply_when(struct call *call, struct runner *r, enum wanted what);

#endif
