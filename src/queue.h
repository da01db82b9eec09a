/*
 * Queues on Redis: the schema, one function for each transition.
 *
 * Keys are Hero's where Hero's programs read them (NS:job:ID hash,
 * NS:work_queue:QUEUE list, NS:reply:ID) and herod's own otherwise:
 *
 *	NSd:q:QUEUE:high, :low	lists beside the work queue
 *	NSd:delay:QUEUE		zset id by when it is due (ms)
 *	NSd:dep:ID		set of ids that wait for that job
 *	NSd:uniq:QUEUE:KEY	id of the job that has the key
 *	NSd:draws:QUEUE		hash of nodes that share the Redis and have a
 *				runner that takes jobs from it, or will
 *	NSd:external:QUEUE	hash of nodes whose programs draw themselves
 *	NSd:open:QUEUE		hash id -> new | begun | suspect | orphan, or
 *				new_suspect | new_orphan
 *	NSd:own:QUEUE:NODE	hash id -> "EPOCH SEQUENCE LABEL", the claims
 *	NSd:jobs:QUEUE		zset id by time of creation (us), for listing
 *	NSd:done:QUEUE		zset id by when it may be forgotten (ms)
 *	NSd:meta:QUEUE		hash; paused (since when) while no job begins
 *	NSd:queues		set of names
 *	NSd:runners		hash name -> queue of external runners, which
 *				somebody else starts
 *	NSd:schedule:NAME	hash; tick: the last one (ms), tick_job: its
 *				job; job: the last one made, by hand or not;
 *				expires when the schedule was removed
 *	NSd:node:NODE		hash; epoch counts the daemons before us
 *	NSd:wait:NODE		written before a WAIT (worker_durable.c)
 *	NSd:seq:NODE		"RUN NUMBER": so much of what was acknowledged
 *				to that process is here (queue_recent.c)
 *
 * where NODE is the UUID in state_dir/node.id.  Order makes plain
 * pipelines safe: what survives a crash is a prefix of what was sent.
 *	claim, then job started	   claim without job: never acknowledged
 *	job over, then claim off   over and still claimed: just take it off
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <ev.h>

#include "job.h"
#include "redis.h"

struct queues;
struct queue;

/* Gets NULL when it is done, else why not; e is valid during the call. */
typedef void (*queue_fn)(void *arg, const struct err *e);

struct queues_ops {
	/* Is that job in hand? */
	bool (*has)(void *arg, const char *id);
	/* A job given back stands in its queue again. */
	void (*given_back)(void *arg, struct queue *q);
	/* Redis has a new job. */
	void (*created)(void *arg, struct queue *q, const char *id);
	/* It ended because one that it waited for did not finish. */
	void (*ended)(void *arg, const char *id);
	/* Another herod is not there any more; so many of its jobs were given
	 * back by us. */
	void (*vanished)(void *arg, const char *node, long long jobs);
	/* It was cancelled among others, or ended with one that was. */
	void (*purged)(void *arg, const char *id);
	/* No job begins any more, or they begin again. */
	void (*paused)(void *arg, struct queue *q, bool paused);
	/* Another herod has registered an external runner, or unregistered one:
	 * queues_enrolled(). */
	void (*enrolled)(void *arg);
	/* Others took us for dead: our claims may not be ours any more. */
	void (*fenced)(void *arg);
	/* Redis has not heard of us for two thirds of our timeout: soon they
	 * will. */
	void (*cut_off)(void *arg);
};

/*
 * namespace, node (name for people) and id (UUID) are copied.  Sets redis's
 * library and bell.  result_ttl (seconds) is for jobs that have none.
 */
struct queues *queues_new(struct ev_loop *loop, struct redis *redis,
    const char *ns, const char *node, const char *id, double result_ttl);
void queues_set_ops(struct queues *qs, const struct queues_ops *ops, void *arg);
void queues_free(struct queues *qs);

/* Other herods may use the same Redis: we tell that we are there (one of which
 * Redis has not heard for timeout seconds is not), and look after the jobs of
 * those that are not any more. */
void queues_share(struct queues *qs, double timeout);
bool queues_are_shared(const struct queues *qs);
/* Others took us, or the herod before us, for dead: workers of ours may be at
 * jobs that they have since.  So it is until Redis has answered all that was
 * sent before queues_make_sure(), whichever herod hears it. */
bool queues_are_doubtful(const struct queues *qs);
void queues_make_sure(struct queues *qs);
/* Our end is in order: nobody is to look after us. */
void queues_leave(struct queues *qs);

/* Our name, as it stands in jobs: another one that lives may have that which
 * was wanted. */
const char *queues_node(const struct queues *qs);

/* All that share the Redis, as a new array of the schema Node; or NULL and e.
 */
typedef void (*nodes_fn)(void *arg, json_t *nodes, const struct err *e);
int queues_nodes(struct queues *qs, nodes_fn fn, void *arg, struct err *e);

/* Texts for a herod, by its id; one that does not read them within a minute
 * never gets them.  False: Redis is away. */
bool queues_mail(
    struct queues *qs, const char *id, const char *text, size_t len);
/* fn (or NULL) gets those for us. */
void queues_on_mail(struct queues *qs,
    void (*fn)(void *arg, const char *text, size_t len), void *arg);

/* For jobs that end from now on. */
void queues_set_result_ttl(struct queues *qs, double result_ttl);
/* So much of what Redis has acknowledged last is kept, to be told to the next
 * server that does not know it; with queues_share() only. */
void queues_set_replay(struct queues *qs, long long bytes);
/* Such a server was met of late: another herod may still tell it of jobs. */
bool queues_may_be_told(const struct queues *qs);

/* This node's UUID from FILE in the state directory, made when missing;
 * new string, or NULL with a refusal. */
char *queues_node_id(const char *state_dir, struct err *e);

/* One object for each name, kept until queues_free(). */
struct queue *queue_open(struct queues *qs, const char *name);
const char *queue_name(const struct queue *q);

/* The queue whose list was rung, or NULL when it is none that is open;
 * *id is set instead when it is a job's key. */
struct queue *queues_rung(
    struct queues *qs, const char *key, size_t len, const char **id);
/* What was collected in this turn of the loop goes to Redis; called when that
 * turn's commands leave (redis_ops.leaving). */
void queues_send(struct queues *qs);
/* Anything may have changed: looks whether jobs are due (and whenever one will
 * be), and for words of others. */
void queues_catch_up(struct queues *qs);

/* From now on the bell rings for jobs that others change, too; false: it did
 * before. */
bool queues_watch_jobs(struct queues *qs);

/* Redis is there (again): the epoch of this process is taken once, then
 * the names of all queues there ever were are given to fn, with NULL last.
 * On loss fn is not called; call again after the next up. */
void queues_register(
    struct queues *qs, void (*fn)(void *arg, const char *name), void *arg);

/* ---- into the queue.  -1 with a refusal when it cannot be tried; else fn
 * is called once, later.  stolen is theirs in any case. ---- */

/* named: the caller chose the id, which must be new (ERR_DUPLICATE).  What
 * does not simply stand in line (due, with prerequisites, a priority or a
 * unique key) goes where it belongs. */
int queue_push(struct queue *q, struct job *stolen, bool named, queue_fn fn,
    void *arg, struct err *e);

/* From now on jobs that Redis cannot take are written to that file, at most so
 * many bytes, and told to Redis when it can; those that are there already, too.
 */
int queues_open_spool(
    struct queues *qs, const char *path, long long most, struct err *e);
/* The same for those of durability memory: a file in memory, taken over. */
void queues_open_memory(struct queues *qs, int fd, long long most);
/* Those in memory are to outlast its end, in that file. */
void queues_save_memory(struct queues *qs, const char *path);
size_t queues_spooled(const struct queues *qs);
size_t queues_spool_bytes(const struct queues *qs);
bool queues_is_spooled(const struct queues *qs, const char *id);
/* One whose refusal was ERR_REDIS.  0: j is theirs, and fn is called when it is
 * on the disk, or in memory if that is its durability.  -1: it cannot be; e,
 * its refusal, is made longer by why. */
int queue_spool(struct queue *q, struct job *j, bool held, queue_fn fn,
    void *arg, struct err *e);

/* 0 sets no limit. */
struct queue_limits {
	long long most; /* jobs that wait: a further one is refused
			 * (ERR_QUEUE_FULL) */
	long long key_concurrency; /* jobs of one concurrency_key at work */
	long long rate; /* jobs that begin in rate_period (seconds) */
	double rate_period;
};
void queue_set_limits(struct queue *q, const struct queue_limits *limits);

/* Only Redis knows whether a job may begin now. */
bool queue_has_rate(const struct queue *q);

/* It is known, but does not stand in its queue before queue_start(), whose fn
 * is told when that could not be. */
int queue_hold(
    struct queue *q, struct job *stolen, queue_fn fn, void *arg, struct err *e);
int queue_start(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e);

/* A new job that a free slot begins at once, past the (empty) queue; its
 * claim's numbers are set; it stays the caller's. */
int queue_push_started(struct queue *q, struct job *j, const char *label,
    queue_fn fn, void *arg, struct err *e);

/* ---- ticks of schedules ---- */

struct queue_tick {
	const char *schedule; /* name */
	long long time; /* ms; 0: a run by hand */
	enum overlap overlap;
};

enum ticked {
	TICK_MADE,
	TICK_KNOWN, /* it was made, or decided, before: id tells or is "" */
	TICK_RUNNING, /* id, the job before, is not over: with OVERLAP_FORBID
			 the tick is past, else nothing was done */
	TICK_REFUSED /* e; code ERR_REDIS: ask again */
};

/*
 * Makes the job of a tick, named by the caller, unless somebody has done so.
 * Asking twice does no harm.  -1 with a refusal when it cannot be tried; else
 * fn is called once, later.
 */
typedef void (*tick_fn)(
    void *arg, enum ticked how, const char *id, const struct err *e);
int queue_push_tick(struct queue *q, struct job *stolen,
    const struct queue_tick *t, tick_fn fn, void *arg, struct err *e);

/* fn gets the last tick that any herod has seen to, and its job or "";
 * for a new schedule it is since (ms).  tick 0: not known (Redis lost).  False,
 * and no fn: Redis is away. */
typedef void (*seen_fn)(void *arg, long long tick, const char *id);
bool queues_see_schedule(struct queues *qs, const char *name, long long since,
    seen_fn fn, void *arg);

/* There is no such schedule here any more.  What is known of it goes a month
 * later, unless another herod has it, or it is seen again. */
void queues_drop_schedule(struct queues *qs, const char *name);

/* ---- out of the queue ---- */

#define TAKE_MAX 64

/*
 * Claims as many jobs as there are labels (RUNNER/INSTANCE...), at most.
 * fn gets them, the i-th for the i-th label, and owns them; one whose id is
 * none is ended here and NULL there; more: the queue
 * holds others. jobs is NULL when it is not known (Redis lost): the claims will
 * be found by queue_claims().  False, and no fn: Redis is away.
 */
typedef void (*take_fn)(void *arg, struct job **jobs, size_t n, bool more);
bool queue_take(struct queue *q, const char *const *labels, size_t n,
    take_fn fn, void *arg);

/* ---- a pause: new jobs are queued and wait, on all that share the Redis,
 * until it is over ---- */

/* known: it need not have had a job yet, or else ERR_NO_RUNNER. */
int queue_pause(struct queue *q, bool pause, bool known, queue_fn fn, void *arg,
    struct err *e);

/* As far as is known here, or soon: ops->paused tells when others change it. */
bool queue_is_paused(const struct queue *q);

/* So many jobs of it that are over are kept, from now on; 0: all, each for its
 * time. */
void queue_set_keep(struct queue *q, long long jobs);

/* ---- over, or back.  The job is taken over and kept in memory until
 * Redis has it, however often that must be tried. ---- */

/* j's status says how it ended (job_move() was done).  settled (or NULL) is
 * called when Redis has it. */
void queue_finish(
    struct queue *q, struct job *stolen, void (*settled)(void *arg), void *arg);

enum back { BACK_HEAD, BACK_DIED, BACK_RETRY, BACK_LATER };
/* To the head, uncounted; after the death of its worker; or to be tried again
 * when stolen->due has come: after a failed attempt (its error is kept), or
 * because it asked for that, uncounted. */
void queue_give_back(struct queue *q, struct job *stolen, enum back how,
    void (*settled)(void *arg), void *arg);

/* Sends again what is not settled, for which it waits after each
 * queues_register().  forgot: as redis_forgot(). */
void queues_resend(struct queues *qs, bool forgot);
/* Is that job waiting to be settled?  For telling claims apart. */
bool queues_is_settling(struct queues *qs, const char *id);
size_t queues_unsettled(const struct queues *qs);

/* ---- claims ---- */

struct claim {
	const char *id;
	long long epoch, sequence;
	const char *label;
};

/* All claims of this node, in the order they were made; then n is how many
 * there are.  Not called on loss; a refusal is asked again until
 * queues_register(). */
typedef void (*claims_fn)(
    void *arg, struct queue *q, const struct claim *claims, size_t n);
void queue_claims(struct queue *q, claims_fn fn, void *arg);

/* We hold that job, whatever Redis forgot.  j must be wholly known.  fn (or
 * NULL) learns whether that is so: not when it is over, or somebody else has
 * begun it.  Not called when Redis is lost. */
typedef void (*still_ours_fn)(void *arg, const char *id, bool kept);
void queue_keep(struct queue *q, const struct job *j, const char *label,
    still_ours_fn fn, void *arg);

/* The status "stopping" for those who look; not when it is over meanwhile, or
 * another node's. */
void queue_mark_stopping(struct queue *q, const struct job *j);

/* ---- programs that draw from Redis themselves, the Hero way ---- */

/* Some of ours draw from it, or none any more.  Call queues_watch_jobs(),
 * too: what they do is seen by the bell only. */
void queue_set_external(struct queue *q, bool external);

enum observed {
	OBSERVED_NOTHING, /* they do not have it (any more) */
	OBSERVED_NEW, /* it waits for them */
	OBSERVED_BEGUN,
	OBSERVED_SUSPECT, /* and one that may have had it has died since */
	OBSERVED_ORPHAN, /* the only one that can have had it */
	OBSERVED_LOST, /* Redis is */
	OBSERVED_OVER /* and queue_external_end() was not yet called */
};

/* How a job stands that somebody has changed; fn owns j, which is there when
 * begun or over.  nodes: on how many there are such programs.  Lost: it is told
 * nothing; ask again when Redis is back.  False, and no fn: it is away. */
typedef void (*observed_fn)(void *arg, const char *id, enum observed what,
    long long nodes, struct job *j);
bool queues_observe(
    struct queues *qs, const char *id, observed_fn fn, void *arg);

/* One is over: it is kept for its time, and those that wait for it go on; with
 * j->due it is tried again then.  j's status refines "error".  fn: done is
 * false when somebody else has dealt with it, or (lost) Redis has not. */
typedef void (*external_end_fn)(void *arg, bool done, bool lost);
void queue_external_end(struct queue *q, const struct job *j, bool again,
    external_end_fn fn, void *arg);

/* Looks which of its jobs were taken: fn gets those that were not begun, and
 * those that were; NULLs when Redis was lost.  mark: a process has died, and
 * what is begun is OBSERVED_SUSPECT or OBSERVED_ORPHAN from now on; or
 * OBSERVED_NOTHING.  False, and no fn: Redis is away. */
typedef void (*swept_fn)(void *arg, char *const *taken, char *const *begun);
bool queue_sweep(struct queue *q, enum observed mark, swept_fn fn, void *arg);
/* Those of ids (a strv) that are not begun yet go back; refused() is called,
 * once or more often, when Redis does not let them. */
void queue_unbegun(
    struct queue *q, char *const *ids, void (*refused)(void *arg), void *arg);

/* fn gets each id that may be in their hands and was not yet observed; NULL
 * when Redis does not say more. */
void queues_scan(
    struct queues *qs, void (*fn)(void *arg, const char *id), void *arg);

/* Asks who has it to end it. */
void queue_ask_stop(struct queue *q, const char *id);

/* ---- external runners, which all herods know that share the Redis ---- */

/* Its queue, which is another one when that name was taken; or NULL and e. */
typedef void (*enrol_fn)(void *arg, const char *queue, const struct err *e);
int queues_enrol(struct queues *qs, const char *name, const char *queue,
    enrol_fn fn, void *arg, struct err *e);
/* Forgets it; ERR_NO_RUNNER when it is not there. */
int queues_strike(
    struct queues *qs, const char *name, queue_fn fn, void *arg, struct err *e);

/* All: {name: queue}, borrowed; NULL when Redis refused, or is lost. */
typedef void (*enrolled_fn)(void *arg, const json_t *queues);
void queues_enrolled(struct queues *qs, enrolled_fn fn, void *arg);

/* ---- looking ---- */

/* j is NULL when there is none or (e set) it cannot be known; else fn owns
 * it.  -1 with a refusal and no fn when Redis is away. */
typedef void (*job_fn)(void *arg, struct job *j, const struct err *e);
int queues_read(
    struct queues *qs, const char *id, job_fn fn, void *arg, struct err *e);

/* Takes a waiting job out.  was: its status word of Hero before (created,
 * dispatched and waiting_for_prerequisites mean that it is cancelled now), or
 * NULL with e. */
typedef void (*cancel_fn)(void *arg, const char *was, const struct err *e);
int queue_cancel(struct queue *q, const struct job *j, cancel_fn fn, void *arg,
    struct err *e);

/* One that has failed is tried again as if it were new, without waiting for
 * prerequisites (ERR_DUPLICATE: another one has its unique key); one that is
 * over is forgotten.  fn is told whether that could be. */
int queue_again(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e);
int queue_forget(
    struct queue *q, const char *id, queue_fn fn, void *arg, struct err *e);

/* A page, newest first.  fn gets a new JobPage, or NULL and e. */
struct page_wanted {
	const char *queue; /* or NULL: all */
	const char *runner; /* or NULL */
	int status; /* of enum job_status, or -1 */
	const char *tag; /* or NULL */
	long long limit;
	const char *cursor; /* or NULL */
};
typedef void (*page_fn)(void *arg, json_t *page, const struct err *e);
int queues_list(struct queues *qs, const struct page_wanted *want, page_fn fn,
    void *arg, struct err *e);

/*
 * Many jobs at once, in the order of their creation, a bounded number in each
 * call of Redis.  Those that are made meanwhile are left out.
 */
struct bulk_wanted {
	enum bulk_what {
		BULK_COUNT,
		BULK_RETRY, /* as queue_again() */
		BULK_PURGE /* forgets those that are over, cancels others */
	} what;
	const char *queue, *runner, *tag; /* or NULL */
	unsigned statuses; /* bits 1 << enum job_status; 0: any */
	double older_than; /* seconds since the end, or else the creation */
	long long limit; /* most of them; 0: all */
};

/* done: to so many that was done; refused: to so many it could not be.  counts
 * (of BULK_COUNT; borrowed): {queue: {status: {jobs, oldest}}}.  e: not to all.
 */
struct bulk_told {
	long long done, refused;
	json_t *counts;
};
typedef void (*bulk_fn)(
    void *arg, const struct bulk_told *told, const struct err *e);
int queues_bulk(struct queues *qs, const struct bulk_wanted *want, bulk_fn fn,
    void *arg, struct err *e);

/* What waits in a queue. */
struct queue_depth {
	long long jobs; /* -1: Redis is away */
	long long scheduled; /* wait for their time */
	double oldest; /* Unix seconds of the first's creation; 0: unknown */
	bool paused;
	long long elsewhere; /* other herods that draw from it, and live */
};

/* Of a queue that programs draw from themselves: whether that id (NULL: none)
 * still waits near its head.  fn is called later with it, or with the one at
 * the head; NULL: there is none, or it is not known.  False: it cannot be
 * asked. */
typedef void (*head_fn)(void *arg, const char *id, long long jobs);
bool queue_head(struct queue *q, const char *id, head_fn fn, void *arg);

/* A runner of ours takes jobs from it, or will: other herods can see that. */
void queue_set_draws(struct queue *q, bool draws);

/* One of each name, in order; all unknown when Redis is away. */
typedef void (*depths_fn)(void *arg, const struct queue_depth *d, size_t n);
void queues_depths(struct queues *qs, const char *const *names, size_t n,
    depths_fn fn, void *arg);

#endif
