/*
 * What the files of worker.c share: jobs in hand, places that hold them,
 * lanes that feed them.
 *
 * A place is what worker.c knows of an instance: room for one job (exec)
 * or for concurrency of them (stdio).  A lane is a queue with the places
 * that draw from it.  A work is a job in hand, from the claim to the end;
 * it leaves by work_end() or work_back() and by nothing else.
 */
#ifndef WORK_H
#define WORK_H

#include <sys/queue.h>
#include <sys/tree.h>

#include "depend.h"
#include "frame.h"
#include "host.h"
#include "journal.h"
#include "queue.h"
#include "transit.h"
#include "worker.h"

/* What is to become of a job whose process is on its way out. */
enum fate {
	FATE_OPEN, /* nobody decided: the end of the process tells */
	FATE_TIMEOUT,
	FATE_CANCEL,
	FATE_BACK, /* the operator took its process away */
	FATE_TOO_LARGE /* its result is */
};

/* What has become of a job of which Redis has yet to tell the rest. */
enum outcome { NO_OUTCOME, OVER, FAILED, GOES_BACK, ASKED_FOR_LATER };

struct pending {
	enum outcome outcome;
	enum job_status how;
	enum back back;
	double delay;
	char *why;
};

/* Whose fault the end of a stdio worker is. */
enum verdict { VERDICT_OPEN, VERDICT_OURS, VERDICT_ITS };

struct work {
	RB_ENTRY(work) entry;
	TAILQ_ENTRY(work) next; /* of its place, as they came */
	struct workers *all;
	struct place *place;
	struct job *job;
	struct pending pending; /* while partial */
	void (*settled)(void *arg); /* when Redis has what became of it */
	void *settled_arg;
	double began; /* clock.h */
	bool partial : 1; /* adopted: Redis has not yet told the rest */
	bool claimed : 1; /* dealt with, while claims are read */
	bool has_claim : 1; /* seen among them */
	bool cancelled : 1; /* whatever its fate: it does not begin again */
	bool superseded : 1; /* it is not ours any more; its process ends */
	bool is_fatal : 1; /* it said that trying again is of no use */
	/* external only: one of several processes died that may have had it;
	 * or some of another node; nobody has it any more, and what then */
	bool suspect : 1, elsewhere : 1, orphaned : 1;
	struct job *successor; /* superseded only: it is ours again, and goes
				* back when this attempt has ended; or NULL */
	enum fate fate;
	enum back back;
	double retry_after; /* seconds that it asked for; < 0: did not */
	double deadline; /* Unix seconds */
	ev_timer timer; /* the deadline; then the grace of a cancel */
	/* exec only */
	struct child *child;
	struct output_source *err;
	struct journal *result; /* its stdout, or NULL */
	char *last; /* the end of its stderr, or NULL; external: why it goes
		     * back */
	size_t last_len;
};

/* An answer that stays in the journal until Redis has it. */
struct answer {
	TAILQ_ENTRY(answer) next;
	struct place *place; /* NULL: nobody needs it any more */
	uint64_t at, end; /* its line */
};

/* A claim, and all before it. */
struct up_to {
	long long epoch, sequence;
};

/* What the next herod must know of a stdio worker. */
struct marks {
	volatile uint64_t fed[2]; /* bytes of requests; see child.h */
	struct up_to sent; /* see marks_set_sent() */
	bool broken; /* something could not be kept: nothing is known */
	/* Of log lines: the journal's place behind the last one that is
	 * written; the next one's place, plus 1, and how far it has come. */
	uint64_t logged, log_at;
	struct progress log;
	char alone[132]; /* the place's, or "" */
	uint64_t answered; /* answers before that place count no more */
	struct up_to other; /* instead of sent, when is_other */
	volatile bool is_other;
};

struct place {
	TAILQ_ENTRY(place) ready; /* of its lane, while is_ready */
	bool is_ready;
	struct workers *all;
	struct lane *lane;
	struct instance *instance; /* NULL: gone, but a take is under way */
	TAILQ_HEAD(work_list, work) works;
	size_t nworks, reserved;
	ev_timer hold; /* no new job meanwhile (herod's shortage) */
	/* stdio only */
	TAILQ_ENTRY(place) unread;
	bool is_unread;
	char *alone; /* id of the job in hand, if only one; or NULL */
	bool unsure; /* there may be older lines in its stderr */
	struct frame frame;
	uint64_t line_at; /* where the line being read began */
	uint64_t replayed; /* before that, lines are of the herod before us */
	struct child *child; /* whose journals these are */
	struct journal journal; /* of its stdout */
	struct journal requests; /* of its stdin */
	size_t unkept; /* bytes at the end of what it is fed, not in there yet
			* */
	struct marks *marks; /* beside them, mapped; NULL: none */
	char **sent; /* ids in requests when we came, sorted; strv */
	struct up_to last; /* claim sent */
	TAILQ_HEAD(, answer) answers; /* that Redis does not have yet */
	bool kept; /* its child is older than we: see claims first */
	bool replaying; /* what the herod before us may have dealt with */
	enum verdict verdict;
	size_t garbage; /* bytes since it last spoke as it should */
};

/* Jobs that ended in each of the last seconds. */
#define RATE_SECONDS 60
struct rate {
	unsigned ended[RATE_SECONDS];
	long long last; /* second (clock.h) of the newest count */
};

struct lane {
	RB_ENTRY(lane) entry;
	TAILQ_ENTRY(lane) dirty_next;
	bool is_dirty;
	struct workers *all;
	struct queue *queue;
	size_t runners; /* that draw from it */
	size_t nworks, most; /* jobs in hand; most since the last look */
	double job_seconds; /* that one takes, of late; 0: not known */
	TAILQ_HEAD(, place) ready;
	bool maybe; /* the queue may hold jobs */
	bool taking; /* a take is under way */
	bool rang; /* something was put into it meanwhile */
	struct rate rate;
	/* worker_flow.c */
	bool draws; /* a runner here takes from it, or will */
	bool checking, check_again; /* whether jobs wait there */
	bool unserved; /* they do, and nobody will take them */
	/* worker_stuck.c */
	ev_timer stuck; /* the next look */
	bool looking; /* Redis is asked */
	char *head; /* id that is not taken, from head_since (clock.h) on; */
	double head_since; /* or NULL: nothing waits, as far as is known */
	unsigned looks; /* at which it was there */
	TAILQ_HEAD(, hold) holds; /* worker_hold.c's */
	/* worker_redis.c */
	TAILQ_ENTRY(lane) external_next;
	size_t externals; /* runners that draw themselves */
	size_t unknown; /* of these, those that others start */
	size_t hands; /* room of those that lived when the last one died */
	size_t proved; /* suspects that were in these hands */
	enum back back; /* after the last death; why it died, or NULL */
	char *why;
	char **taken; /* ids taken and not begun, until the timer; or NULL */
	bool sweep_again;
	size_t sweeps; /* that are not answered */
	bool is_swept; /* what dead ones had begun is marked */
	enum observed mark; /* that Redis refused to set */
	double sweep_at, sweep_took; /* (clock.h) the last one; seconds */
	ev_timer unbegun;
};

RB_HEAD(work_tree, work);
RB_HEAD(lane_tree, lane);
RB_HEAD(watch_tree, watch);

struct workers {
	struct ev_loop *loop;
	struct redis *redis;
	struct queues *queues;
	struct runners *runners;
	struct events *events; /* NULL: nobody listens */
	const struct daemon_conf *conf;
	void (*on_open)(void *arg); /* open is so; NULL: nobody asked */
	void *on_open_arg;
	struct work_tree works;
	struct lane_tree lanes;
	struct watch_tree watches;
	TAILQ_HEAD(, lane) dirty;
	TAILQ_HEAD(, place) unread; /* have answers that came in this turn */
	ev_prepare serve;
	ev_timer retry; /* no take before */
	ev_timer again; /* reads that Redis refused */
	bool unseen; /* among them what external runners do */
	bool unread_names; /* and which there are */
	bool adopted; /* the keeper has told what lives */
	bool recovered; /* claims of the herod before us are settled */
	bool open; /* Redis is there and its claims are ours */
	bool forgot; /* it is another one, which was not told yet what it lacks
		      */
	size_t asked; /* queues whose claims are being read */
	size_t nworks;
	TAILQ_HEAD(, lane) external_lanes; /* see worker_redis.c */
	TAILQ_HEAD(, scaler) scalers; /* worker_scale.c's */
	const char *proc; /* where the host is read */
	struct host host; /* as it was then (clock.h); 0: not yet */
	double host_at;
	struct copies
	    *copies; /* worker_durable.c's; NULL: none was asked for */
};

/* ---- worker.c ---- */

struct work *work_find(struct workers *w, const char *id);

/* Takes the job into hand; NULL (and the job freed, or kept as a successor)
 * when it is already. */
struct work *work_new(struct place *p, struct job *stolen);

/* Something has become of a job: "started". */
void job_news(const struct work *k, const char *what);

/* Starts the time limit, from now or (deadline set) until then. */
void work_arm(struct work *k);

/* Seconds from a cancel, or a time limit, until its process is killed. */
#define CANCEL_GRACE 5.0
#define TIMEOUT_GRACE 2.0

/* Its time limit has passed, and it is not at work any more.  Frees k. */
void work_end_timeout(struct work *k);

/* It is no longer in our hands, nor ours to settle.  Frees k. */
void work_drop(struct work *k);

/* Others leave out what herod's own callers are asked for, or have filled in.
 */
void place_fill_foreign(const struct place *p, struct job *j);

/* Its own wait before a retry, or the runner's. */
double job_backoff_of(const struct place *p, const struct job *j);
void job_set_due(struct job *j, double delay);

/* The program that drew it itself has ended it: counted, told. */
void job_is_told_over(struct lane *l, const struct job *j);

/* Keeps the last lines of its attempt, which began then (Unix seconds), for
 * the case that it ends badly: its own, and of its stdio worker those that no
 * job is known for. */
void work_last_lines(struct work *k, double since);

/* It is over; how is decided.  Frees k. */
void work_end(struct work *k, enum job_status how);

/* Somebody has asked for that.  Frees k. */
void work_end_cancelled(struct work *k);

/* An attempt failed: it is tried again when it may be, else it is over.  Frees
 * k. */
void work_fail(struct work *k, enum job_status how);

/* It asked for another attempt later, in so many seconds (< 0: by its
 * backoff).  Frees k. */
void work_later(struct work *k, double delay, const char *why);

/* Back to its queue; a died one too often is quarantined.  Frees k. */
void work_back(struct work *k, enum back how, const char *why);

/* What Redis has just refused to tell is asked again soon. */
void ask_again(struct workers *w);

/* Gives all that a place has in hand back, in order. */
void place_back(struct place *p, enum back how, const char *why);

struct place *place_of(struct workers *w, struct instance *i);
/* It may have room again. */
void place_look(struct place *p);
/* Jobs that it could take, were it not held. */
size_t place_slots(const struct place *p);
/* No new job for a second. */
void place_hold(struct place *p);

/* Ends the job's process by the runner's rules, but within five seconds. */
void bounded_rules(const struct place *p, struct stop_rules *rules);
#define GRACE_MAX 5.0

/* Ends a job in hand early; one that ends already does not begin again. */
void work_cancel(struct work *k);

/* True, and nothing else, when its process is gone and Redis has yet to tell
 * what it was: if nobody is to wait for that, it goes back. */
bool work_is_pending(struct work *k, bool wait);

/* ---- worker_exec.c ---- */

void exec_begin(struct work *k);
void exec_stop(struct work *k, enum fate fate);
/* Its process is left to the keeper. */
void exec_forget(struct work *k);
bool exec_adopt(
    struct workers *w, struct instance *i, struct child *c, const json_t *tag);

/* ---- worker_stdio.c ---- */

void stdio_begin(struct work *k);
void stdio_cancel(struct work *k, enum fate fate);
void stdio_replies(struct place *p, const char *buf, size_t len);
/* Deals with what has come, at the end of the loop turn. */
void stdio_read(struct place *p);
/* Place's alone, of one whose process may have outlived a herod. */
const char *stdio_alone(struct place *p);
/* It has other jobs in hand. */
void stdio_hands(struct place *p);
/* Its process runs: w->adopted tells whether it is older than we. */
void stdio_up(struct place *p);
/* Was that claim's request fed to it, or is about to be? */
bool stdio_has(struct place *p, const struct claim *claim);
/* The claims are known: what came before can be dealt with. */
void stdio_catch_up(struct place *p);
/* Claims up to this one were sent; their requests may be dropped.  Who reads it
 * after herod's death has either that or the one before, whole. */
void marks_set_sent(struct marks *m, struct up_to sent);
struct up_to marks_sent(const struct marks *m);
/* Nobody looks into its journal any more. */
void stdio_forget(struct place *p);
void stdio_died(struct place *p, const struct child *c, bool asked);
/* For the claim: RUNNER/INSTANCE/PROCESS */
void place_label(const struct place *p, char *buf, size_t size);
#define LABEL_MAX 96

/* Ends the worker; its jobs are dealt with when it is over. */
void place_kill(struct place *p, enum verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- worker_flow.c ---- */

/* Runners come, go and change: will any of them take jobs from it? */
void flow_weigh(struct lane *l);

/* Something was put into it, or it was looked at for other reasons: do jobs
 * wait there that nobody will take?  Then that is told, once. */
void flow_check(struct lane *l);

/* Puts a job into a queue: lane_push(), or as it. */
typedef int (*push_fn)(struct lane *l, struct job *stolen, bool named,
    queue_fn fn, void *arg, struct err *e);

/* push(), or a refusal (now, or by fn) when nobody will take it and its runner
 * is to refuse it then. */
int flow_offer(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e);

/* ---- worker_durable.c ---- */

/* flow_offer(); fn is told of success when the job is as durable as it asks. */
int durable_offer(struct lane *l, struct job *stolen, bool named, push_fn push,
    queue_fn fn, void *arg, struct err *e);
void durable_free(struct workers *w);

/* ---- worker_redis.c ---- */

void redis_runner_added(struct lane *l, const struct runner_conf *c);
void redis_runner_gone(struct lane *l, const struct runner_conf *c);
/* Somebody may have taken something out of its list. */
void redis_drawn(struct lane *l);
void redis_lane_free(struct lane *l);
void redis_died(struct place *p, const struct child *c, bool asked);
void redis_stop(struct work *k, enum fate fate);
/* Somebody else changed that job: false when that is of no matter here, else
 * who waits for it is told, too.  Redis is there again. */
bool redis_rang(struct workers *w, const char *id);
/* May a process be started there, for all that the one before it had in hand?
 */
bool redis_is_swept(struct workers *w, const struct instance *i);
void redis_reread(struct workers *w);
/* Its runner is forgotten.  Frees k. */
void redis_leave(struct work *k);

/* Is it one of those that draw from that lane themselves? */
bool redis_draws(const struct instance *i, const struct lane *l);

/* ---- worker_stuck.c ---- */

/* A first program draws from it itself; none does any more. */
void stuck_begin(struct lane *l);
void stuck_end(struct lane *l);
/* Jobs may wait there, or another program may be there to take them. */
void stuck_look(struct lane *l);
/* One was taken, or could not be. */
void stuck_moves(struct lane *l);

/* ---- worker_external.c ---- */

/* Redis is there, or says that something has changed: what external runners are
 * there? */
void external_read(struct workers *w);

/* ---- worker_scale.c ---- */

void scale_begin(struct workers *w, struct runner *r);
void scale_end(struct workers *w, struct runner *r);
/* Jobs may wait there, and nobody has room. */
void scale_look(struct lane *l);
/* It is RUNNING. */
void scale_up(struct workers *w, const struct instance *i);
/* It is not to be started, as there is nothing to do for it. */
bool scale_hinders(struct workers *w, const struct instance *i);

/* ---- worker_hold.c ---- */

void hold_begin(struct lane *l, struct runner *r);
void hold_end(struct lane *l, const struct runner *r);
/* Jobs are about to be taken there: may its runners? */
void hold_look(struct lane *l);
/* Runners that others require have changed. */
void hold_order(struct lane *l);
/* It takes no job now. */
bool hold_is_on(const struct place *p);

/* ---- worker_ask.c ---- */

/* Tells who waits for it. */
void watch_over(struct workers *w, const struct job *j);
/* Redis is there again: what was missed? */
void watch_reread(struct workers *w);
/* Somebody else changed it. */
void watch_rang(struct workers *w, const char *id);
void watches_free(struct workers *w);

/* A new job for a free slot or the queue. */
struct lane *lane_open(struct workers *w, const char *name);
int lane_push(struct lane *l, struct job *stolen, bool named, queue_fn fn,
    void *arg, struct err *e);
void lane_look(struct lane *l);
/* Something was put into its queue: it is looked at, again if need be. */
void lane_rang(struct lane *l);

#endif
