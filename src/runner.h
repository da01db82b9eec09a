/*
 * Runners and their instances: what is wanted, what is so, and the machine
 * that brings the two together.
 *
 * A runner keeps conf.numprocs instances (an exec runner numprocs times
 * concurrency of them, each a place for one job at a time and without a
 * process in between), or as many as it was scaled to.  Instance n stands at
 * instances[n]; those from nwanted on are leaving: they are stopped, jobs
 * in hand first, and freed once they and all behind them are down.  Each
 * instance is a [state][event] table; its state is assigned in one function
 * only.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include <stdbool.h>

#include <sys/queue.h>
#include <sys/tree.h>

#include <ev.h>
#include <jansson.h>

#include "child.h"
#include "output.h"
#include "restart.h"
#include "settings.h"

/* supervisord's numbers where it has the state. */
enum state {
	STOPPED = 0,
	WAITING = 5, /* for runners that it depends on */
	STARTING = 10,
	RUNNING = 20,
	PAUSED = 25,
	BACKOFF = 30,
	DRAINING = 35,
	STOPPING = 40,
	EXITED = 100,
	FATAL = 200,
	UNKNOWN = 1000 /* others start it (kind external) */
};

/* What a process is ended for that nobody asked to stop. */
enum fault {
	FAULT_NONE,
	FAULT_LATE, /* not ready in time: the start has failed */
	FAULT_SICK /* it was ready, and is of no use any more */
};

enum wanted { WANTED_DOWN, WANTED_UP, WANTED_REMOVED };

#define INSTANCES_MAX 1000 /* of one runner */

/* How a process ended (getrusage(2)). */
struct ending {
	double at; /* Unix seconds; 0: none has */
	int status;
	bool known;
	bool oom; /* the kernel ended it for lack of memory */
	double utime, stime; /* seconds of CPU, of its children, too */
	long long maxrss; /* bytes */
};

struct before;
struct notify;
struct past;
struct probe;
struct ready;
/* Settings that were replaced while a process lives by them. */
struct former {
	size_t users;
	struct runner_conf conf;
};

/* Bytes of a text of why, with its NUL; of why we ended a process. */
#define WHY_MAX 320
#define REASON_MAX 160

struct instance {
	struct runner *runner;
	struct former *former; /* what its process goes by; NULL: runner.conf */
	int n; /* from 0 */
	enum state state; /* assigned by enter() alone */
	double since; /* Unix seconds */
	char *why; /* what led to the state; never NULL */
	struct child *child; /* NULL without a process */
	struct ready *ready; /* ready.c's, or NULL */
	struct probe *probe; /* probe.c's, or NULL */
	double ready_at; /* Unix seconds; 0: it is not */
	double began; /* it, by clock_monotonic() */
	double up_at; /* RUNNING since then, by that clock */
	unsigned kept_end; /* EXITED: id of its end at the keeper; or 0 */
	unsigned failures; /* in a row, for the delay of BACKOFF */
	unsigned failed_starts; /* in a row, for startretries */
	unsigned shortages; /* starts in a row that herod had no room for */
	struct flaps flaps;
	bool has_turn; /* BACKOFF until its turn among all */
	unsigned long restarts;
	double delay; /* seconds in BACKOFF */
	bool restart; /* start again when it is down */
	bool unkillable; /* SIGKILL did not end its process */
	bool told; /* the keeper's tag says so, for the herod after us */
	bool again; /* the herod before us wanted that of it */
	bool drain; /* the stop asked for lets jobs end first */
	bool held; /* that stop waits for runners that depend on us */
	bool blocked; /* down because what it requires is */
	enum fault fault; /* why it is STOPPING, unless somebody asked */
	char *fault_text; /* of the last fault, or NULL */
	ev_timer timer; /* the state's own */
	ev_timer recycle; /* to look at age and size (recycle.c) */
	double look; /* seconds between two looks */
	struct output_source *sources[CHILD_STREAMS];
	struct ending exit; /* of the last process */
	char *exit_reason; /* why we had ended it; NULL: it did by itself */
	char *ends_for; /* why we are about to end this one, or NULL */
	struct cgroup *cgroup; /* NULL: there are none */
	unsigned old_limits; /* that its process still has, as of
			      * child_adjust() and GROUP_LIMIT() */
	int code; /* of that end, or of a start that failed, as of a shell */
	void *work; /* worker.c's, or NULL */
	struct before *before; /* with the herod before us (past.h), until it
				* is settled; or NULL */
	size_t place; /* in past.c's file, from 1; 0: none */
	unsigned over; /* id of the last process whose end was dealt with; */
	double over_began; /* and its started_at */
};

struct runner {
	RB_ENTRY(runner) entry;
	struct runners *all;
	char *name;
	char *origin; /* "file:line", "rpc", "registered", "herod" */
	struct runner_conf conf; /* for what is started from now on */
	enum wanted wanted;
	bool internal; /* herod's own: not in start_all, stop_all */
	bool persist; /* added by RPC and kept on disk */
	struct output *output;
	struct instance **instances; /* by number */
	size_t ninstances; /* that are there */
	size_t nwanted; /* that are to be there; at least 1 */
	size_t nneeded; /* that have something to do (numprocs_max): others
			 * wait for it; INSTANCES_MAX: all */
	bool marked; /* a walk through dependencies has come by */
	TAILQ_HEAD(, runner_wait) waits;
	struct rolling *rolling; /* under way, or NULL */
};

/* What runners tell those who hand out jobs (worker.c).  All may be NULL. */
struct runner_hooks {
	void *arg;
	/* What it needs is not there yet: true, and why says what;
	 * runners_look_at_order() when that may have changed. */
	bool (*hindrance)(
	    void *arg, const struct instance *i, char *why, size_t size);
	/* RUNNING: may be given jobs. */
	void (*up)(void *arg, struct instance *i);
	/* Bytes of stdout of a stdio worker. */
	void (*replies)(
	    void *arg, struct instance *i, const char *buf, size_t len);
	/* The job that it has in hand, if only one: what it writes on stderr
	 * is of that. */
	const char *(*job)(void *arg, struct instance *i);
	/* The process of a worker (stdio, redis) is over; jobs in hand are
	 * given back (before the state changes).  asked: we ended it. */
	void (*died)(
	    void *arg, struct instance *i, const struct child *c, bool asked);
	/* A process of an exec runner lives on after herod's death. */
	bool (*adopt)(
	    void *arg, struct instance *i, struct child *c, const json_t *tag);
	/* How many jobs it has in hand; ids appended to *ids unless NULL. */
	size_t (*jobs)(void *arg, struct instance *i, json_t *ids);
	/* DRAINING is over or was hurried: end the jobs now (exec only; for
	 * stdio the process is stopped and died() follows). */
	void (*abandon)(void *arg, struct instance *i);
	/* Longest time from now that its jobs may still take. */
	double (*longest)(void *arg, struct instance *i);
	/* Others have changed, and with them perhaps what it requires. */
	void (*order)(void *arg);
	/* It is down and about to be freed, its runner is not. */
	void (*gone)(void *arg, struct instance *i);
};

/* What runners tell whoever keeps or shows them (herod.c). */
struct runner_watch {
	void *arg;
	void (*added)(void *arg, struct runner *r);
	void (*removed)(void *arg, struct runner *r); /* about to be freed */
	void (*wanted)(void *arg, struct runner *r); /* or how many */
	void (*changed)(void *arg, struct instance *i, enum state old);
	/* An essential one has ended for good; code: as of a shell. */
	void (*lost)(void *arg, struct runner *r, int code);
	/* It has other settings than before. */
	void (*reconfigured)(
	    void *arg, struct runner *r, const struct runner_conf *before);
	void (*health)(void *arg, struct instance *i); /* says its probe */
};

enum runner_event {
	EVENT_ADOPT, /* a process outlived the herod before us */
	EVENT_RESUME, /* wanted up, as it was with that one; see before */
	EVENT_START, /* wanted up */
	EVENT_STOP, /* wanted down; instance.drain says how */
	EVENT_KILL, /* down, now */
	EVENT_STARTED, /* its program was executed */
	EVENT_READY, /* it says that it is ready */
	EVENT_FAULT, /* see instance_fault() */
	EVENT_PAUSED,
	EVENT_CONTINUED,
	EVENT_OVER, /* its process is over (instance.child still there) */
	EVENT_IDLE, /* it has no job in hand any more */
	EVENT_TIMER,
	EVENT_ORDER, /* others have changed: look at the order again */
	EVENT_RECYCLE, /* its process is to make room for a new one */
	EVENT_COUNT
};

/* ---- for runners.c ---- */

/* Makes a runner with STOPPED instances; conf is copied. */
struct runner *runner_new(struct runners *all, const char *name,
    const struct runner_conf *conf, const char *origin);
void runner_free(struct runner *r);

/* Instances that settings ask for. */
size_t conf_instances(const struct runner_conf *conf);

/* Adds STOPPED instances until there are n; frees those from n on, which
 * are down. */
void runner_grow(struct runner *r, size_t n);
void runner_shrink(struct runner *r, size_t n);

/* Settings that r->conf replaced are in force for its process, too. */
void instance_apply_live(struct instance *i, const struct runner_conf *before);

void former_unuse(struct former *f); /* frees it after its last user */

void instance_event(struct instance *i, enum runner_event event);

/* If its process ends by our doing now, that is why; the first reason
 * counts. */
void instance_ends_for(struct instance *i, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Sets i->restart; it outlives herod. */
void instance_set_restart(struct instance *i, bool restart);
void instance_adopt(struct instance *i, struct child *c);

/* Adopted or resumed: what it has gone on with began when it did. */
void instance_go_on(struct instance *i);

/* What all runners share. */
struct runner_context {
	struct ev_loop *loop;
	struct keeper *keeper;
	const struct daemon_conf *conf;
	const struct runner_hooks *hooks;
	const struct runner_watch *watch;
	struct output_home output;
	struct notify *notify; /* NULL: nobody can tell us */
	struct cgroups *cgroups; /* NULL: none */
	struct past *past; /* NULL: nothing is known of it */
};
const struct runner_context *runners_context(const struct runners *rs);

/* An instance has a new state (waits, order of shutdown, removal). */
void runners_changed(struct instance *i, enum state old);

/* Its probe has found it otherwise than before. */
void runners_health_changed(struct instance *i);

/* Some runner depends on another: until this is said, nobody looks. */
void runners_note_order(struct runners *rs);
bool runners_have_order(const struct runners *rs);
/* An instance could not be started, and not by its own fault. */
void runners_note_shortage(
    struct runners *rs, const struct instance *i, const char *what);

/* One more starts again by itself: seconds until its turn; 0: now. */
double runners_take_turn(struct runners *rs);
bool runners_are_ending(const struct runners *rs);

/* A process ended by our SIGKILL. */
void runners_note_kill(struct runners *rs);

/* Its limits differ from those of old: processes that run get what can be
 * changed while they do (the LIVE settings of the group Limits).  What is
 * refused is logged, told by instance_old_limits(), and is so from the next
 * start. */
void instance_apply_limits(struct instance *i, const struct runner_conf *old);

/* ---- for ready.c ---- */

/* Ends its process, if RUNNING, for this reason, and starts a new one. */
void instance_fault(struct instance *i, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* It asks for more time: to become ready, or to end. */
void instance_extend(struct instance *i, double seconds);

/* What the next herod needs to know has changed. */
void instance_retag(struct instance *i);

/* ---- for worker.c ---- */

/* Fills a spec from the runner's settings (user, limits, environment with
 * HERO_*).  extra: more "K=V" or NULL.  spec points into memory that
 * spec_clear() frees.  Refuses unknown users. */
int runner_spec(const struct instance *i, char *const *extra,
    struct child_spec *spec, struct err *e);
/* For one that is no part of it: not in its cgroup. */
int runner_spec_outside(const struct instance *i, char *const *extra,
    struct child_spec *spec, struct err *e);
void spec_clear(struct child_spec *spec);

/* Names of its settings that are not kept here, for want of cgroups, of
 * CAP_KILL, or since they could not be changed for a process that runs; NULL
 * when all are. */
json_t *runner_not_enforced(const struct runner *r);

/* Those of the second kind. */
json_t *instance_old_limits(const struct instance *i);

/* What a service is to read, -1 for /dev/null (or with a refusal). */
int runner_stdin(const struct runner_conf *c, struct err *e);

void stop_rules_of(const struct runner_conf *conf, struct stop_rules *rules);

/* What its process, or the next one, goes by. */
const struct runner_conf *instance_conf(const struct instance *i);

/* The instance has no job left (call after each end): a drain goes on. */
void instance_idle(struct instance *i);

/* Its process makes room for a new one, after its jobs. */
void instance_recycle(struct instance *i, const char *why);

/* The same for one that takes too much: when it has not been RUNNING for
 * backoff_reset, it is a failure. */
void instance_outgrown(struct instance *i, const char *why);

/* Keeps how a process of it ended (nothing when it never began). */
void instance_note_exit(struct instance *i, const struct child *c);

/* EXITED by the end of c: the keeper is to hold that until it begins anew. */
void instance_keep_end(struct instance *i, struct child *c);

/* It has a process, or is a place for jobs that may be in use. */
bool instance_is_up(const struct instance *i);

/* Its last process ended with one of exitcodes. */
bool instance_ended_well(const struct instance *i);

/* EXITED, or FATAL: nothing but an operator brings it up again. */
bool instance_is_over_for_good(const struct instance *i);

/* May be given a job now. */
bool instance_takes_jobs(const struct instance *i);

const char *runner_queue(const struct runner *r);

/* Others start and stop it; all that herod does is for its jobs. */
bool runner_is_external(const struct runner *r);
const char *instance_queue(const struct instance *i);

#define RUNNER_FOREACH_INSTANCE(i, r, k) \
	for ((k) = 0; (k) < (r)->ninstances && ((i) = (r)->instances[k]); (k)++)

/* Without those that are leaving. */
#define RUNNER_FOREACH_STAYING(i, r, k) \
	for ((k) = 0; (k) < (r)->ninstances && (k) < (r)->nwanted && \
	     ((i) = (r)->instances[k]); \
	     (k)++)

bool instance_is_leaving(const struct instance *i);

/* It is WAITING, as there is nothing to do for it (numprocs_max). */
bool instance_is_spare(const struct instance *i);

const char *state_name(enum state s);

#endif
