/*
 * Redis: hiredis in our loop.  Dial, authenticate, deadline, dial again;
 * commands are collected and leave in one write a loop turn.
 *
 * hiredis's own types stay inside redis.c; a reply is looked at with the
 * functions below.  Nothing here blocks, and nothing else in herod waits
 * for Redis.
 */
#ifndef REDIS_H
#define REDIS_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "err.h"

struct redis;

struct redis_ops {
	void (*up)(void *arg);	 /* may be given commands */
	void (*down)(void *arg); /* every open command was answered by NULL */
};

/* url: redis://[user:password@]host[:port][/db] or unix:///path; refused
 * when it is neither.  Dials at once and, with growing delays up to a
 * second, for ever. */
struct redis *redis_new(struct ev_loop *loop, const char *url,
    double timeout, struct err *e);
void redis_set_ops(struct redis *r, const struct redis_ops *ops, void *arg);
void redis_free(struct redis *r);

/* It may be there now: dial without waiting for the delay to end. */
void redis_dial(struct redis *r);

bool redis_is_up(const struct redis *r);

/* A sentence on why it is not up ("connection refused", "loading", "wrong
 * password", "version 6.2, herod needs 7.0"); "" when it is. */
const char *redis_why(const struct redis *r);

/* The url without its password, for people. */
const char *redis_address(const struct redis *r);

#endif
