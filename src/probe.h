/*
 * Health of an instance: its probe (setting health), a process of its own,
 * one at a time, with a timeout.
 *
 * Nothing is resolved, connected or waited for in herod: tcp: and http:
 * are looked at by herod --probe (look.h).
 */
#ifndef PROBE_H
#define PROBE_H

#include "runner.h"

/* Its state has changed, or its program was executed: probes while it is
 * RUNNING, or while ready = probe is awaited. */
void probe_state(struct instance *i);

/* It has other settings: the next one begins when those say. */
void probe_settings(struct instance *i);

/* About to be freed. */
void probe_free(struct instance *i);

/* {"status": "starting" | "healthy" | "unhealthy", since, output, failures},
 * or null where there is no probe; new. */
json_t *probe_json(const struct instance *i);

/* Its probe, if it has one, has found it healthy. */
bool probe_is_well(const struct instance *i);

/* Of all instances that stay: the worst one's. */
json_t *probe_worst_json(const struct runner *r);

/* Is it the tag of a probe? */
bool probe_is_tag(const json_t *tag);

/* A probe that is of no use any more, such as one of the herod before us. */
void probe_forget(struct child *c);

#endif
