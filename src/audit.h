/*
 * The audit log: who has changed what, from where, with which result; a line
 * of JSON for each call that CHANGES something (methods.def), done or refused,
 * in state_dir/log/audit.log.
 *
 * {"at", "who", "method", "about", "result"}: who is the peer's text, about the
 * runner, job, queue, schedule or key that was named, or null, and result "ok",
 * the name of an error (errors.def), or "left": the asker did not wait for it.
 * Nothing else of the parameters is told.
 */
#ifndef AUDIT_H
#define AUDIT_H

#include "rpc.h"

struct audit;

/* conf stays the caller's, and is looked at each time. */
struct audit *audit_open(struct ev_loop *loop, const struct daemon_conf *conf);
void audit_close(struct audit *a);

/* a NULL: nothing.  params may be what was asked, unchecked.  e NULL: it was
 * done. */
void audit_call(struct audit *a, const struct peer *who, const struct method *m,
    const json_t *params, const struct err *e);
void audit_left(struct audit *a, const struct peer *who, const struct method *m,
    const json_t *params);

/* Lines are on the file at the end of a turn.  Whoever lets answers leave calls
 * this first: they are no earlier than their lines. */
void audit_flush(struct audit *a);

/* By its name again: others may have moved it. */
void audit_reopen(struct audit *a);

#endif
