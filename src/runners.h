/*
 * All runners: finding, adding, removing, wanting, waiting for.
 */
#ifndef RUNNERS_H
#define RUNNERS_H

#include "conf.h"
#include "runner.h"

struct runners;

/* hooks and watch are borrowed and may be filled later. */
struct runners *runners_new(struct ev_loop *loop,
    const struct daemon_conf *conf, const struct runner_hooks *hooks,
    const struct runner_watch *watch);

/* Groups for instances; before any is added. */
void runners_set_cgroups(struct runners *rs, struct cgroups *cgroups);

/* Who starts the processes; before the first start. */
void runners_set_keeper(struct runners *rs, struct keeper *keeper);

/* Says in the log whom the keeper, being root with too few capabilities, can
 * not start or stop; once all are there. */
void runners_look_at_keeper(struct runners *rs);

/* By whom processes can tell us; borrowed. */
void runners_set_notify(struct runners *rs, struct notify *notify);

/* Before any is adopted: what the herod before us knew of them (past_tell());
 * borrowed. */
struct past;
void runners_remember(struct runners *rs, struct past *past);
void runners_free(struct runners *rs);

/* Who waits for others, or was refused because of them: may they start now? */
void runners_look_at_order(struct runners *rs);

struct runner *runner_find(struct runners *rs, const char *name);

/* By name, in order. */
struct runner *runners_first(struct runners *rs);
struct runner *runners_next(struct runner *r);
#define RUNNERS_FOREACH(r, rs) \
	for ((r) = runners_first(rs); (r); (r) = runners_next(r))

/* The nearest name to a typo, or NULL. */
const char *runner_nearest(struct runners *rs, const char *typo);

/* It stands in the configuration file. */
bool runner_is_of_file(const struct runner *r);

/* Adds a runner, STOPPED.  settings is copied.  Refuses a taken name. */
struct runner *runner_add(struct runners *rs, const char *name,
    const struct runner_conf *settings, const char *origin, struct err *e);

/* The same for one that others start, which takes its jobs from that queue
 * itself.  It is added again under the same name and queue, and the one that is
 * there returned. */
struct runner *runner_add_external(
    struct runners *rs, const char *name, const char *queue, struct err *e);

/*
 * Wants.  Each returns at once; the instances follow, in the order that
 * requires, wants and after ask for (order.h).  A start also starts what
 * the runner needs: their names are added to *also, a strv, unless NULL.  A
 * stop or restart takes those that require it down first; these come back
 * when it does.
 */
void runner_start(struct runner *r);
void runner_start_also(struct runner *r, char ***also);
void runner_stop(struct runner *r, bool drain);
void runner_restart(struct runner *r, bool drain);

/* All but herod's own and those that others start. */
bool runner_is_in_all(const struct runner *r);
void runners_start_all(struct runners *rs);
void runners_stop_all(struct runners *rs, bool drain);

void runner_remove(struct runner *r); /* freed when down */

/* Only says that it is wanted up; nothing is started. */
void runner_want_up(struct runner *r);

/* One of a runner that is wanted up: stops it (drain: after its jobs) and
 * starts it again, or just starts it.  why: as for instance_ends_for(). */
#define RESTARTED_BY_HAND "it was restarted by hand"
void instance_restart(struct instance *i, bool drain, const char *why);

/* Those of a runner that is wanted up, and those that require them. */
void runner_restart_instances(struct runner *r, bool drain, const char *why);

/* Who waits for others may wait for something else now. */
void runners_look_again(struct runners *rs);

/* Has no process and none coming. */
bool instance_is_down(const struct instance *i);

/* RUNNING, and not about to be stopped or restarted; or it would be if there
 * were something to do. */
bool instance_serves(const struct instance *i);

/* Other settings, copied.  Live ones are in force at once.  What does not
 * change live is done by starting processes again (after their jobs) if it
 * is wanted up; until they are down they go by their old settings, as does
 * a start that is under way.  Only a change of how many instances the
 * settings ask for scales it. */
void runner_reconfigure(
    struct runner *r, const struct runner_conf *conf, const char *origin);

/* The same for one that is being removed, and is not to be any more. */
void runner_readmit(
    struct runner *r, const struct runner_conf *conf, const char *origin);

/* How many instances to keep, 1..INSTANCES_MAX.  Further ones are started
 * when it is wanted up; the highest numbers are stopped (drained first) and
 * freed.  The others are not touched. */
void runner_scale(struct runner *r, size_t n);

/* The same before anything runs. */
void runner_set_instances(struct runner *r, size_t n);

/* So many of the instances have something to do: the others are drained, and
 * wait for that without a process. */
void runner_need(struct runner *r, size_t n, const char *why);

/* A process that outlived the herod before us; false: not one of ours. */
bool runners_adopt(struct runners *rs, struct child *c, const char *tag);

/* Brings everything to what is wanted, in order (at start).  again: a herod
 * before us has done so, and died. */
void runners_settle(struct runners *rs, bool again);

/* The worst state of its instances. */
enum state runner_state(const struct runner *r);

/* Of the instances that it has. */
unsigned long runner_restarts(const struct runner *r);
bool runner_is_up(const struct runner *r); /* all RUNNING */
bool runner_is_down(const struct runner *r); /* no process, none coming */

/* True once it cannot change by itself any more. */
bool runner_is_settled(const struct runner *r);

/* Waits until it is RUNNING, or down for good, whichever is meant.  fn is
 * called exactly once, in a later turn of the loop or before this returns,
 * unless cancelled.  timeout 0: for ever.  NULL when fn was called. */
struct runner_wait;
enum wait_end { WAIT_DONE, WAIT_FAILED, WAIT_SUPERSEDED, WAIT_TIMED_OUT };
typedef void (*runner_wait_fn)(void *arg, enum wait_end end);
struct runner_wait *runner_wait(struct runner *r, enum wanted what,
    double timeout, runner_wait_fn fn, void *arg);

/* After runner_scale(), before which it had so many instances: waits until
 * new ones are RUNNING (if it is wanted up) and surplus ones gone. */
struct runner_wait *runner_wait_scaled(struct runner *r, size_t before,
    double timeout, runner_wait_fn fn, void *arg);
void runner_wait_cancel(struct runner_wait *w);

/* Log files are opened by name again at their next line. */
void runners_reopen_logs(struct runners *rs);

/* Stops everything, each before those it depends on, then in order of
 * priority, highest number first, internal ones last; done() is called when all
 * are down.  hurry: kill. */
void runners_shutdown(
    struct runners *rs, bool hurry, void (*done)(void *), void *arg);

/* Something had to be killed for the shutdown, or is still there. */
bool runners_were_forced(const struct runners *rs);

#endif
