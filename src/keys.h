/*
 * Keys: who shows one has its scope, wherever the connection comes from.
 *
 * A key is shown once, when it is made, as hero_ID_SECRET: 256 random bits in
 * base32 (RFC 4648, small letters).  state_dir/keys.json, which only herod's
 * user may read, has its SHA-256, compared in constant time, with name, scope
 * and times.  Secrets of the configuration (admin_secrets, ...) are keys that
 * somebody else has made.
 *
 * A key may have the subject of certificates in place of a secret: whoever
 * shows a certificate of that subject, which tls_client_ca has signed, shows
 * the key.
 *
 * Who shows wrong ones waits longer and longer: see KEYS_FREE_TRIES.
 */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>

#include <ev.h>
#include <jansson.h>

#include "err.h"
#include "method.h"
#include "settings.h"

#define KEY_ID_SIZE 9
#define KEY_NAME_SIZE 65

/* Wrong keys that an address may show before it has to wait; then a second
 * behind the next, twice as long behind each further one, up to a minute,
 * while none of its keys is looked at.  A right key
 * in between counts for nothing; ten minutes without a wrong one do. */
#define KEYS_FREE_TRIES 5

struct keys;

/* What a key gives. */
struct key_given {
	enum scope scope;
	char id[KEY_ID_SIZE]; /* "=..." for a secret of the configuration */
	char name[KEY_NAME_SIZE];
};

/* Refuses a file that others may read or write, or that makes no sense. */
struct keys *keys_open(
    struct ev_loop *loop, const char *state_dir, struct err *e);
void keys_free(struct keys *k);

/* In place of those before; gone() is told of each that is not among them. */
void keys_set_secrets(struct keys *k, const struct daemon_conf *conf);

/* Is there one at all, also among the secrets? */
bool keys_exist(const struct keys *k);

struct key_wanted {
	const char *name;
	enum scope scope;
	double expires; /* seconds from now, 0 never */
	const char *subject; /* of certificates (RFC 4514), or NULL */
};

/* A new one, on the disk before it is returned; wipe and free(3) it; "" with a
 * subject.  NULL: the name or subject is taken, or the disk full. */
char *keys_create(
    struct keys *k, const struct key_wanted *wanted, struct err *e);

/* By name or id; who is connected by it hears of it first (gone()). */
int keys_remove(struct keys *k, const char *name, struct err *e);

/* An array of {name, id, scope, subject, created_at, expires_at, last_used};
 * new. */
json_t *keys_list(const struct keys *k);

/* One of them by name, or of none: null; new. */
json_t *keys_show(const struct keys *k, const char *name);

/* from: who shows it (an address, a user), for counting.  -1: it is no key
 * (ERR_UNAUTHORIZED), or not looked at (ERR_TOO_MANY). */
int keys_check(struct keys *k, const char *key, const char *from,
    struct key_given *given, struct err *e);

/* Whoever shows a certificate of that subject, looked at already.  False: there
 * is no such key. */
bool keys_check_subject(
    struct keys *k, const char *subject, struct key_given *given);

/* Seconds until a key that is shown from there is looked at; 0: at once. */
double keys_wait(const struct keys *k, const char *from);

/* gone(arg, id) is called for each that is removed or expires, and for secrets
 * that the configuration does not have any more, or for another scope. */
void keys_on_gone(
    struct keys *k, void (*gone)(void *arg, const char *id), void *arg);

#endif
