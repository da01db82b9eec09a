/*
 * Is an instance ready, and does it still say so: settings ready,
 * startwaitsecs and watchdog.
 *
 * Ways to say it (readiness.h) end in EVENT_READY; a watchdog that was not
 * fed ends in instance_fault().  An instance that needs neither has nothing
 * here (instance.ready is NULL).
 */
#ifndef READY_H
#define READY_H

#include "runner.h"

/* Before its process is started: what that is told in its environment is
 * added to *extra, a strv.  Returns child_spec.ready_fd. */
int ready_prepare(struct instance *i, char ***extra);

/* The same for a process found, with the tag it had. */
void ready_found(struct instance *i, const json_t *tag);

/* Adds to the tag what ready_found() needs. */
void ready_put_tag(const struct instance *i, json_t *tag);

/* Its program was executed: it may be heard from now on. */
void ready_executed(struct instance *i);

/* Its state has changed. */
void ready_state(struct instance *i);

/* Its process is over. */
void ready_over(struct instance *i);

/* It is to say that it is ready, and has not. */
bool ready_is_awaited(const struct instance *i);

/* ... by its health probe. */
bool ready_by_probe(const struct instance *i);

/* Seconds from now that it still has for this. */
double ready_time_left(const struct instance *i);

/* RUNNING, and not reloading its configuration. */
bool ready_is_so(const struct instance *i);

/* What it says of itself (STATUS=, MAINPID=), for an instance's status. */
void ready_put_status(const struct instance *i, json_t *status);

/* Its why with what it says behind: in buf, or the why itself. */
const char *ready_why(const struct instance *i, char *buf, size_t size);

#endif
