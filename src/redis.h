/*
 * Redis: a connection in our loop.  Dial, authenticate, look whom we got,
 * deadline, dial again; commands are collected and leave in one write a
 * loop turn.
 *
 * hiredis's types stay inside redis.c; a reply is looked at with the
 * functions below.  Nothing here blocks, and nothing else in herod waits
 * for Redis.
 *
 * The bell is a second connection: Redis tells it (client-side caching in
 * broadcast mode) when somebody else changes a key with a given prefix.
 */
#ifndef REDIS_H
#define REDIS_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "err.h"
#include "timing.h"

struct redis;
struct redis_reply; /* borrowed while the function that gets it runs */

struct redis_ops {
	void (*up)(void *arg); /* may be given commands */
	void (*down)(void *arg); /* every open command was answered by NULL */
	/* Somebody else changed the key; NULL: anything may have changed. */
	void (*bell)(void *arg, const char *key, size_t len);
	/* Whoever collects commands to send them together sends them now: one
	 * follows that may depend on them, or this turn of the loop ends. */
	void (*leaving)(void *arg);
};

/*
 * url: redis://[user:password@]host[:port][/db] or unix:///path; refused
 * when it is neither.  A host name other than localhost is looked up now,
 * once, which may wait.  Dials in the next loop turn and, with growing
 * delays up to a second, for ever.  timeout: seconds that a command or
 * the greeting may take.
 */
struct redis *redis_new(
    struct ev_loop *loop, const char *url, double timeout, struct err *e);
void redis_set_ops(struct redis *r, const struct redis_ops *ops, void *arg);
void redis_free(struct redis *r);

/* From the next command on. */
void redis_set_timeout(struct redis *r, double timeout);

/* For good: what is collected leaves if it can, open commands are answered
 * by NULL, ops are told nothing any more. */
void redis_hang_up(struct redis *r);

/* Waits until what was sent is answered, and what is sent meanwhile, but at
 * most so many seconds: for who is about to end. */
void redis_settle(struct redis *r, double seconds);

/* What to do when nobody listens there; kept by the caller. */
void redis_set_hint(struct redis *r, const char *hint);

/* A library of functions that must be there before it counts as up; code
 * is kept by the caller. */
void redis_set_library(struct redis *r, const char *name, const char *code);

/* Ring ops->bell for keys that begin so.  One more for as long as r lives;
 * prefixes must not overlap.  At most REDIS_BELLS_MAX. */
#define REDIS_BELLS_MAX 8
void redis_add_bell(struct redis *r, const char *prefix);

/* It may be there now: dial without waiting for the delay to end. */
void redis_dial(struct redis *r);

bool redis_is_up(const struct redis *r);

/* It was not up yet, but may be soon: the timeout is not over. */
bool redis_is_new(const struct redis *r);

/* This is another server process than the one before: it may not know
 * what that one had acknowledged in its last seconds. */
bool redis_forgot(const struct redis *r);

/* Commands not answered yet, and how long answers took. */
size_t redis_in_flight(const struct redis *r);
const struct timing *redis_timing(const struct redis *r);

/* A sentence on why it is not up ("connection refused", "loading", "wrong
 * password", "version 6.2, herod needs 7.0"); "" when it is. */
const char *redis_why(const struct redis *r);

/* The url without its password, for people. */
const char *redis_address(const struct redis *r);

/* ---- commands ---- */

/* The words of one command.  Nothing is copied but numbers: what they point
 * to must stay until redis_send(). */
#define REDIS_WORDS_MAX 96
#define REDIS_NUMBERS_MAX 48
#define REDIS_NUMBER_SIZE 24
struct redis_words {
	const char *name; /* of the command, for people */
	size_t n;
	struct {
		const char *s;
		size_t len;
	} v[REDIS_WORDS_MAX];
	size_t used;
	char numbers[REDIS_NUMBER_SIZE * REDIS_NUMBERS_MAX];
};

/* verb, and the name that stands for it elsewhere, last for ever. */
void words_begin(struct redis_words *w, const char *verb);
void words_name(struct redis_words *w, const char *name);
void words_add(struct redis_words *w, const char *s);
void words_add_mem(struct redis_words *w, const char *s, size_t len);
/* At most REDIS_NUMBERS_MAX of both. */
void words_add_number(struct redis_words *w, long long n);
void words_add_real(struct redis_words *w, double n);

/*
 * Sends a command.  fn (may be NULL) is called exactly once, never before
 * this returns: with the reply, or with NULL when the connection was lost;
 * then the command may or may not have been executed.  False, and fn is
 * not called: not up, or too much waits to be sent.
 */
typedef void (*redis_fn)(void *arg, const struct redis_reply *reply);
bool redis_send(
    struct redis *r, const struct redis_words *w, redis_fn fn, void *arg);
/* It does not depend on what is being collected (redis_ops.leaving), and goes
 * ahead of it. */
bool redis_send_ahead(
    struct redis *r, const struct redis_words *w, redis_fn fn, void *arg);

/* ---- replies; each takes NULL and replies of other kinds, too ---- */

bool reply_is_error(const struct redis_reply *reply);
/* "OOM", "LOADING": the error begins so. */
bool reply_is_error_of(const struct redis_reply *reply, const char *word);
bool reply_is_nil(const struct redis_reply *reply);
/* Text, status or error with a final NUL; else NULL.  len may be NULL. */
const char *reply_text(const struct redis_reply *reply, size_t *len);
/* A number, or text that is one; else 0. */
long long reply_number(const struct redis_reply *reply);
/* Members of an array, else 0; NULL when there is no such member. */
size_t reply_count(const struct redis_reply *reply);
const struct redis_reply *reply_at(const struct redis_reply *reply, size_t i);
/* The text behind that name in an array of names and values; or NULL. */
const char *reply_value(const struct redis_reply *reply, const char *name);

/* Refuses with ERR_REDIS: why it is not up, or (reply not NULL) what the
 * error says, as a sentence with a hint.  Returns -1. */
int redis_refuse(
    const struct redis *r, const struct redis_reply *reply, struct err *e);

#endif
