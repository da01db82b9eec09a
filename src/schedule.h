/*
 * Schedules: [schedule:NAME] of the file, each of which makes a job at every
 * tick of its cron line or interval (when.h).
 *
 * A tick's job is named after schedule and tick and made by a function in
 * Redis that knows the last tick, so that any number of herods with the same
 * schedules make it once.  A tick that comes while Redis is away is owed until
 * it is back; of several only the last.  Ticks go by the clock on the wall: one
 * that is set forward gives the last tick that it jumped over, one that is set
 * back gives none that is known already.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <ev.h>
#include <jansson.h>

#include "conf.h"
#include "worker.h"

struct schedules;
struct schedule;
struct events;

/* All borrowed; events NULL: nobody listens. */
struct schedules *schedules_new(struct ev_loop *loop, struct redis *redis,
    struct workers *workers, struct events *events);
void schedules_free(struct schedules *ss);

/* Those of a configuration that are there when herod begins.  again: a herod
 * before us ran until now, so what was missed is made up for. */
void schedules_begin(struct schedules *ss, const struct conf *c, bool again);

/* No tick any more. */
void schedules_stop(struct schedules *ss);

/* {added, changed, removed}, each an array of names: what differs between the
 * configuration and what is in force; new.  Then does it. */
json_t *schedules_compare(struct schedules *ss, const struct conf *c);
void schedules_apply(struct schedules *ss, const struct conf *c);

/* {NAME: {origin, settings}}, with all settings or those that are no defaults;
 * new. */
json_t *schedules_conf_json(const struct schedules *ss, bool everything);

/* Array of ScheduleStatus (schemas.def), by name; new. */
json_t *schedules_json(const struct schedules *ss);

/* Refuses when there is none. */
struct schedule *schedule_find(
    struct schedules *ss, const char *name, struct err *e);

/* Makes a job now, outside of the ticks, by the overlap rule.  fn is called
 * once, with its id or a refusal, maybe before this returns. */
typedef void (*schedule_fn)(void *arg, const char *id, const struct err *e);
void schedule_run(struct schedule *s, schedule_fn fn, void *arg);

#endif
