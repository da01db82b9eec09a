/*
 * Jobs and those who do them: takes from queues for instances that are
 * free, hands jobs over (exec, stdio), keeps their time limits, settles
 * them when they end, and answers who waits.
 */
#ifndef WORKER_H
#define WORKER_H

#include <jansson.h>

#include "queue.h"
#include "redis.h"
#include "runners.h"

struct events;
struct workers;

struct workers *workers_new(struct ev_loop *loop, struct redis *redis,
    const struct daemon_conf *conf, const char *state_dir);
void workers_free(struct workers *w);

/* Other herods may use the same Redis (queue.h); our name among them; all of
 * them. */
void workers_share(struct workers *w);
const char *workers_node(const struct workers *w);
int workers_nodes(struct workers *w, nodes_fn fn, void *arg, struct err *e);

/* Words of other herods, as in queue.h. */
bool workers_mail(
    struct workers *w, const char *id, const char *text, size_t len);
void workers_on_mail(struct workers *w,
    void (*fn)(void *arg, const char *text, size_t len), void *arg);

/* The setting has changed. */
void workers_set_result_ttl(struct workers *w, double result_ttl);
void workers_set_replay(struct workers *w, long long bytes);

/* With the setting spool: the file state_dir/spool. */
int workers_open_spool(struct workers *w, const char *state_dir, struct err *e);
/* For jobs of durability memory: the file in memory of the herod before, or -1;
 * taken over.  The one that is used, ours, or -1. */
int workers_open_memory(struct workers *w, int fd);
/* herod ends in order: on the disk they wait for the next. */
void workers_save_memory(struct workers *w, const char *state_dir);
size_t workers_spooled(const struct workers *w); /* jobs */
size_t workers_spool_bytes(const struct workers *w); /* of both files */

/* The runners to work for (set once they exist), and what workers want to
 * hear from them: fills every hook but changed. */
void workers_attach(struct workers *w, struct runners *runners);
void workers_hooks(struct workers *w, struct runner_hooks *hooks);

/* Where the doings of jobs and of Redis are told. */
void workers_publish(struct workers *w, struct events *events);

/* fn is called each time that Redis is there (again) and jobs may come; one
 * only, NULL for none. */
void workers_on_open(struct workers *w, void (*fn)(void *arg), void *arg);

/* After keeper_open(): claims of living workers stay, others are given
 * back as soon as Redis is there. */
void workers_recover(struct workers *w);

/* A runner was added; one is about to go; one has other settings. */
void workers_runner_added(struct workers *w, struct runner *r);
void workers_runner_gone(struct workers *w, struct runner *r);
void workers_runner_changed(
    struct workers *w, struct runner *r, const struct runner_conf *before);

/* An instance has a new state; a runner is wanted otherwise: there may be
 * nobody any more, or again, who takes jobs from its queue. */
void workers_instance_changed(struct workers *w, const struct instance *i);
void workers_runner_wanted(struct workers *w, const struct runner *r);

/* Instances here that can take jobs from that queue now. */
size_t workers_consumers(struct workers *w, const char *queue);

/* Why no runner here will take jobs from that queue until somebody acts: a new
 * sentence; NULL when one does or will, or when there is none for it. */
char *workers_no_consumer(struct workers *w, const char *queue);

/* Jobs wait there, and nobody will take them, nor will another herod; as it was
 * last seen. */
bool workers_is_unserved(struct workers *w, const char *queue);

/* What waits in queues, for status: in the order of the names. */
void workers_depths(struct workers *w, const char *const *queues, size_t n,
    depths_fn fn, void *arg);

/* Is that queue paused, as far as is known here? */
bool workers_is_paused(struct workers *w, const char *queue);

/* Does no job of a runner that could take some begin, because of the host or of
 * what it requires?  why says so. */
bool workers_held(
    struct workers *w, const struct runner *r, char *why, size_t size);

/* Where load and memory of the host are read instead of in /proc; borrowed. */
void workers_read_host(struct workers *w, const char *proc);

/* Jobs of a queue that ended here, a second, over the last minute. */
double workers_rate(struct workers *w, const char *queue);

/* Jobs in hand here, of one runner or of all (NULL). */
size_t workers_running(struct workers *w, const struct runner *r);

/* Jobs that ended here since herod runs; those of which Redis does not know
 * that yet. */
unsigned long long workers_ended(enum job_status status);
size_t workers_unsettled(struct workers *w);

/* [{id, left}] of the jobs that an instance has in hand: seconds until their
 * time limit.  New. */
json_t *workers_jobs(struct workers *w, const struct instance *i);

/* Jobs by status for get_all_status, without asking Redis: started now,
 * finished and error since herod runs; dispatched is null, to be filled in
 * from depths.  New. */
json_t *workers_summary(struct workers *w);

/* ---- what callers ask ---- */

/*
 * Checks a job (settings of job.def) for a runner and queues it; its id is
 * known at once, fn is called once when Redis has it or refuses.  -1 with
 * a refusal and no fn: no such runner, bad settings, Redis away.
 */
int workers_create(struct workers *w, const char *runner,
    const json_t *settings, char id[129], queue_fn fn, void *arg,
    struct err *e);

/* The same for a tick of a schedule: see queue_push_tick().  settings have the
 * id. */
int workers_tick(struct workers *w, const char *runner, const json_t *settings,
    const struct queue_tick *tick, tick_fn fn, void *arg, struct err *e);

/* As queues_see_schedule(). */
bool workers_see_schedule(struct workers *w, const char *name, long long since,
    seen_fn fn, void *arg);

/* As queues_drop_schedule(). */
void workers_drop_schedule(struct workers *w, const char *name);

/* The same without queueing it: workers_start() does that. */
int workers_hold(struct workers *w, const char *runner, const json_t *settings,
    char id[129], queue_fn fn, void *arg, struct err *e);
int workers_start(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e);

/*
 * Waits until a job is over, at most timeout seconds (0: for ever).  fn is
 * called once, never before this returns, unless cancelled: with the job,
 * or with NULL and a refusal.  fresh: it is being created, so nobody needs
 * to look whether it is over already.
 */
struct job_wait;
typedef void (*job_wait_fn)(
    void *arg, const struct job *j, const struct err *e);
struct job_wait *workers_wait(struct workers *w, const char *id, double timeout,
    bool fresh, job_wait_fn fn, void *arg);
void job_wait_cancel(struct job_wait *wait);

/* What is known of a job; fn as in queue.h, but a missing one is refused. */
int workers_read(
    struct workers *w, const char *id, job_fn fn, void *arg, struct err *e);

/* Ends a job early; fn is told the status word in which it ended. */
typedef void (*workers_cancel_fn)(
    void *arg, const char *status, const struct err *e);
int workers_cancel(struct workers *w, const char *id, workers_cancel_fn fn,
    void *arg, struct err *e);

/* Tries one that has failed again, as if it were new; forgets one that is over.
 * fn is told whether that could be. */
int workers_retry(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e);
int workers_delete(
    struct workers *w, const char *id, queue_fn fn, void *arg, struct err *e);

/*
 * An external runner: somebody else starts its programs, which take jobs from
 * that queue of Redis themselves.  All herods that share the Redis know it,
 * until it is unregistered.  fn is called once, later: with the runner, or with
 * NULL and why not.  -1 with a refusal and no fn: it cannot be tried.
 */
typedef void (*registered_fn)(void *arg, struct runner *r, const struct err *e);
int workers_register(struct workers *w, const char *name, const char *queue,
    registered_fn fn, void *arg, struct err *e);
/* Redis does not know it any more; it is being removed here, too.  Jobs that
 * wait for it stay in their queue. */
int workers_unregister(
    struct workers *w, const char *name, queue_fn fn, void *arg, struct err *e);

/* Pauses the queue of that name, or that of a runner of that name, or lets its
 * jobs begin again; name of the queue into buf. */
int workers_pause(struct workers *w, const char *name, bool pause,
    char queue[129], queue_fn fn, void *arg, struct err *e);

/* As in queue.h; the queue is that of the runner, if one is named. */
int workers_list(struct workers *w, struct page_wanted want, page_fn fn,
    void *arg, struct err *e);
int workers_bulk(struct workers *w, struct bulk_wanted want, bulk_fn fn,
    void *arg, struct err *e);

#endif
