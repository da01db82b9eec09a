/*
 * Handlers for tests of the doors, in place of the real ones:
 *
 *	ping		"pong"
 *	list_runners	["a", "b"]
 *	get_runner_logs	lines times 1000 bytes, one string each
 *	job.status	refused, no such job
 *	job.wait	kept: fake_later_reply() answers it
 *	job.result	kept; gives itself up when the asker leaves
 *	job.get		answered with NULL, as a broken handler would
 *	follow_logs	a stream: fake_notify() sends on the last one
 *	others		their checked parameters
 */
#ifndef FAKE_HANDLERS_H
#define FAKE_HANDLERS_H

#include <stdbool.h>
#include <stddef.h>

#include "rpc.h"
#include "settings.h"

extern size_t fake_calls; /* handled since the start */
extern size_t fake_gone; /* askers of job.result that left */
extern size_t fake_streams, fake_ready, fake_shutdowns;

/* Kept calls, oldest first. */
size_t fake_kept(void);
void fake_later_reply(size_t i, const char *text);

bool fake_notify(const char *text);

/* Services with nothing but settings; conf gets the defaults. */
void fake_services(struct services *s, struct daemon_conf *conf);

#endif
