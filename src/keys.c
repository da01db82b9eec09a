#define LOG_MODULE "keys"
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "keep.h"
#include "log.h"
#include "mem.h"
#include "secret.h"
#include "tries.h"
#include "turns.h"
#include "type.h"

#define FILE_NAME "keys.json"
#define PREFIX KEY_PREFIX
#define SECRET_BYTES 32
#define SECRET_LEN 52 /* in base32 */
#define ID_BYTES 5
#define KEY_LEN (sizeof(PREFIX) - 1 + KEY_ID_SIZE - 1 + 1 + SECRET_LEN)
#define TICK 60.0 /* seconds; what a use changes is written so late */

struct key {
	TAILQ_ENTRY(key) next;
	struct key_given given;
	char digest[DIGEST_SIZE]; /* "" with a subject */
	char *subject; /* or NULL */
	double created_at, expires_at, last_used; /* Unix seconds; 0: never */
	bool expired; /* and that was told */
};
TAILQ_HEAD(key_list, key);

struct keys {
	struct ev_loop *loop;
	char *dir, *path;
	struct key_list own; /* on the disk */
	struct key_list secrets; /* of the configuration */
	struct tries *tries;
	ev_timer tick;
	bool used; /* what the disk does not have yet */
	void (*gone)(void *arg, const char *id);
	void *arg;
};

/* ---- text and bytes ---- */

static void
base32(const unsigned char *bytes, size_t n, char *text)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned long bits = 0;
	int nbits = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		bits = bits << 8 | bytes[i];
		for (nbits += 8; nbits >= 5; nbits -= 5)
			*text++ = digits[bits >> (nbits - 5) & 31];
	}
	if (nbits > 0)
		*text++ = digits[bits << (5 - nbits) & 31];
	*text = '\0';
}

static json_t *
time_or_null(double at)
{
	char text[TIME_TEXT_SIZE];

	return at > 0 ? json_string(time_text(at, text)) : json_null();
}

static double
time_of(const json_t *json)
{
	double at = 0;

	return json_is_string(json) && text_time(json_string_value(json), &at)
	    ? at
	    : 0;
}

/* ---- the file ---- */

static json_t *
key_json(const struct key *key)
{
	return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:o}", "name",
	    key->given.name, "id", key->given.id, "scope",
	    scope_name(key->given.scope), "subject", key->subject, "created_at",
	    time_or_null(key->created_at), "expires_at",
	    time_or_null(key->expires_at), "last_used",
	    time_or_null(key->last_used));
}

static int
write_all(struct keys *k)
{
	json_t *all = json_array(), *one, *file;
	struct key *key;
	int bad;

	TAILQ_FOREACH (key, &k->own, next) {
		one = key_json(key);
		if (!key->subject)
			json_object_set_new(
			    one, "digest", json_string(key->digest));
		json_array_append_new(all, one);
	}
	file = json_pack("{s:o}", "keys", all);
	bad = keep_replace(k->dir, k->path, file);
	json_decref(file);
	k->used = k->used && bad;
	return bad;
}

static int
refuse_write(const struct keys *k, struct err *e)
{
	err_set(e, ERR_INTERNAL, "%s: %s", k->path, strerror(errno));
	return err_hint(e, "nothing was changed");
}

/* What it is known by: one of the two. */
static bool
proof_read(const json_t *json, struct key *key)
{
	const char *digest = json_string_value(json_object_get(json, "digest"));
	const char *subject =
	    json_string_value(json_object_get(json, "subject"));

	key->subject = xstrdup(subject);
	if (subject != NULL)
		return *subject != '\0' && digest == NULL;
	return digest != NULL && is_digest(digest) &&
	    strlcpy(key->digest, digest, DIGEST_SIZE) < DIGEST_SIZE;
}

static bool
key_read(const json_t *json, struct key *key)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *id = json_string_value(json_object_get(json, "id"));
	const char *scope = json_string_value(json_object_get(json, "scope"));
	const json_t *expires = json_object_get(json, "expires_at");

	key->created_at = time_of(json_object_get(json, "created_at"));
	key->expires_at = time_of(expires);
	key->last_used = time_of(json_object_get(json, "last_used"));
	if (!json_is_null(expires) && key->expires_at <= 0)
		return false; /* not one for ever */
	return name != NULL && name_is_valid(name) && id != NULL &&
	    strlcpy(key->given.name, name, KEY_NAME_SIZE) < KEY_NAME_SIZE &&
	    strlcpy(key->given.id, id, KEY_ID_SIZE) == KEY_ID_SIZE - 1 &&
	    scope != NULL && scope_find(scope, &key->given.scope) &&
	    proof_read(json, key);
}

static int
take_all(struct keys *k, const json_t *file, struct err *e)
{
	json_t *all = json_object_get(file, "keys"), *one;
	struct key *key;
	size_t i;

	if (!json_is_array(all))
		return err_set(
		    e, ERR_PARAMS, "%s: there is no array 'keys'", k->path);
	json_array_foreach (all, i, one) {
		key = xcalloc(1, sizeof(*key));
		TAILQ_INSERT_TAIL(&k->own, key, next);
		if (!key_read(one, key))
			return err_set(e, ERR_PARAMS,
			    "%s: the key number %zu makes no sense", k->path,
			    i + 1);
	}
	return 0;
}

static int
refuse_mode(const struct keys *k, const struct stat *st, struct err *e)
{
	if (st->st_uid != geteuid())
		return err_set(e, ERR_PARAMS,
		    "%s: belongs to the user %u, and herod runs as %u", k->path,
		    (unsigned)st->st_uid, (unsigned)geteuid());
	err_set(e, ERR_PARAMS, "%s: others may read or write it (mode %o)",
	    k->path, (unsigned)(st->st_mode & 0777));
	return err_hint(e, "chmod 600 %s", k->path);
}

static int
read_all(struct keys *k, struct err *e)
{
	int fd = open(k->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), bad;
	json_error_t why;
	struct stat st;
	json_t *file;

	if (fd == -1)
		return errno == ENOENT ? 0
				       : err_set(e, ERR_PARAMS, "%s: %s",
					     k->path, strerror(errno));
	if (fstat(fd, &st) == 0 &&
	    (st.st_uid != geteuid() || (st.st_mode & 077) != 0)) {
		close(fd);
		return refuse_mode(k, &st, e);
	}
	file = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
	close(fd);
	if (file == NULL)
		return err_set(
		    e, ERR_PARAMS, "%s:%d: %s", k->path, why.line, why.text);
	bad = take_all(k, file, e);
	json_decref(file);
	return bad;
}

/* ---- looking up ---- */

static struct key *
find(const struct keys *k, const char *name)
{
	struct key *key;

	TAILQ_FOREACH (key, &k->own, next)
		if (strcmp(key->given.name, name) == 0 ||
		    strcmp(key->given.id, name) == 0)
			return key;
	return NULL;
}

static bool
is_over(const struct key *key)
{
	return key->expires_at > 0 && ev_time() >= key->expires_at;
}

static struct key *
find_subject(const struct keys *k, const char *subject)
{
	struct key *key;

	TAILQ_FOREACH (key, &k->own, next)
		if (key->subject != NULL && strcmp(key->subject, subject) == 0)
			return key;
	return NULL;
}

/* Each is looked at: how long it takes tells not which it is. */
static struct key *
find_digest(struct key_list *list, const char *digest)
{
	struct key *key, *found = NULL;

	TAILQ_FOREACH (key, list, next)
		if (!key->subject && digests_are_equal(key->digest, digest))
			found = key;
	return found;
}

static struct key *
find_key(struct keys *k, const char *text)
{
	char digest[DIGEST_SIZE];
	struct key *key;

	secret_digest(text, digest);
	key = find_digest(&k->own, digest);
	return key != NULL ? key : find_digest(&k->secrets, digest);
}

/* ---- time ---- */

static void
tell_gone(struct keys *k, const struct key *key)
{
	if (k->gone != NULL)
		k->gone(k->arg, key->given.id);
}

static void
tell_expired(struct keys *k)
{
	struct key *key;

	TAILQ_FOREACH (key, &k->own, next) {
		if (key->expired || !is_over(key))
			continue;
		key->expired = true;
		log_info("key %s: has expired", key->given.name);
		tell_gone(k, key);
	}
}

/* For the next key that expires, or what is to be written; else nobody wakes.
 */
static void
arm(struct keys *k)
{
	double wait = k->used ? TICK : -1, left;
	struct key *key;

	TAILQ_FOREACH (key, &k->own, next) {
		left = key->expires_at - ev_time();
		if (key->expires_at > 0 && !key->expired &&
		    (wait < 0 || left < wait))
			wait = left > 0 ? left : 0;
	}
	ev_timer_stop(k->loop, &k->tick);
	if (wait < 0)
		return;
	/* The clock may be set: it is looked at again. */
	ev_timer_set(&k->tick, wait > TICK ? TICK : wait + 0.001, 0);
	ev_timer_start(k->loop, &k->tick);
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "keys");
	struct keys *k = w->data;

	(void)loop;
	(void)revents;
	tell_expired(k);
	if (k->used && write_all(k) != 0)
		log_warn("%s", k->path);
	arm(k);
}

/* ---- showing one ---- */

static int
refuse_early(double wait, struct err *e)
{
	err_set(e, ERR_TOO_MANY,
	    "too many wrong keys came from there: the next one is looked at "
	    "in %.0f s",
	    wait < 1 ? 1 : wait);
	return -1;
}

static int
refuse_key(const struct key *key, struct err *e)
{
	char at[TIME_TEXT_SIZE];

	if (key != NULL)
		err_set(e, ERR_UNAUTHORIZED, "the key %s has expired (%s)",
		    key->given.name, time_text(key->expires_at, at));
	else
		err_set(e, ERR_UNAUTHORIZED, "there is no such key");
	return err_hint(
	    e, "an admin can make one: heroctl key create NAME --scope SCOPE");
}

static void
note_use(struct keys *k, struct key *key)
{
	key->last_used = ev_time();
	if (k->used && !key->expired)
		return;
	k->used = true;
	key->expired = false; /* the clock was set back */
	arm(k);
}

double
keys_wait(const struct keys *k, const char *from)
{
	return tries_wait(k->tries, from, clock_monotonic());
}

int
keys_check(struct keys *k, const char *text, const char *from,
    struct key_given *given, struct err *e)
{
	double wait = keys_wait(k, from);
	struct key *key;

	if (wait > 0)
		return refuse_early(wait, e);
	key = find_key(k, text);
	if (key == NULL || is_over(key)) {
		tries_wrong(k->tries, from, clock_monotonic());
		log_warnx("%s: a wrong key", from);
		return refuse_key(key, e);
	}
	note_use(k, key);
	*given = key->given;
	return 0;
}

bool
keys_check_subject(struct keys *k, const char *subject, struct key_given *given)
{
	struct key *key = find_subject(k, subject);

	if (key == NULL || is_over(key))
		return false;
	note_use(k, key);
	*given = key->given;
	return true;
}

/* ---- making and removing ---- */

static void
key_free(struct key *key)
{
	free(key->subject);
	explicit_bzero(key, sizeof(*key));
	free(key);
}

static void
key_drop(struct key_list *list, struct key *key)
{
	TAILQ_REMOVE(list, key, next);
	key_free(key);
}

static char *
make_text(struct key *key)
{
	unsigned char bytes[SECRET_BYTES];
	char secret[SECRET_LEN + 1], *text = xmalloc(KEY_LEN + 1);

	arc4random_buf(bytes, sizeof(bytes));
	base32(bytes, sizeof(bytes), secret);
	snprintf(text, KEY_LEN + 1, PREFIX "%s_%s", key->given.id, secret);
	secret_digest(text, key->digest);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(secret, sizeof(secret));
	return text;
}

static struct key *
key_new(const struct key_wanted *wanted)
{
	struct key *key = xcalloc(1, sizeof(*key));
	unsigned char bytes[ID_BYTES];

	arc4random_buf(bytes, sizeof(bytes));
	base32(bytes, sizeof(bytes), key->given.id);
	strlcpy(key->given.name, wanted->name, KEY_NAME_SIZE);
	key->given.scope = wanted->scope;
	key->subject = xstrdup(wanted->subject);
	key->created_at = ev_time();
	if (wanted->expires > 0)
		key->expires_at = key->created_at + wanted->expires;
	return key;
}

static int
refuse_taken(const struct key *there, const char *what, struct err *e)
{
	const char *name = there->given.name;

	err_set(e, ERR_EXISTS, "there is a key %s already%s", name, what);
	err_hint(e, "heroctl key remove %s, or another name", name);
	return err_subject(e, name);
}

static int
check_wanted(
    const struct keys *k, const struct key_wanted *wanted, struct err *e)
{
	const struct key *there = find(k, wanted->name);

	if (there != NULL)
		return refuse_taken(there, "", e);
	if (wanted->subject == NULL)
		return 0;
	there = find_subject(k, wanted->subject);
	return there == NULL ? 0 : refuse_taken(there, " of that subject", e);
}

char *
keys_create(struct keys *k, const struct key_wanted *wanted, struct err *e)
{
	struct key *key;
	char *text;

	if (check_wanted(k, wanted, e) != 0)
		return NULL;
	key = key_new(wanted);
	text = wanted->subject ? xstrdup("") : make_text(key);
	TAILQ_INSERT_TAIL(&k->own, key, next);
	if (write_all(k) == 0) {
		arm(k);
		return text;
	}
	refuse_write(k, e);
	key_drop(&k->own, key);
	explicit_bzero(text, strlen(text));
	free(text);
	return NULL;
}

int
keys_remove(struct keys *k, const char *name, struct err *e)
{
	struct key *key = find(k, name), *next;

	if (key == NULL) {
		err_set(e, ERR_NO_KEY, "there is no key %s", name);
		err_hint(e, "heroctl key list tells which there are");
		return err_subject(e, name);
	}
	next = TAILQ_NEXT(key, next);
	TAILQ_REMOVE(&k->own, key, next);
	if (write_all(k) != 0) {
		refuse_write(k, e);
		if (next != NULL)
			TAILQ_INSERT_BEFORE(next, key, next);
		else
			TAILQ_INSERT_TAIL(&k->own, key, next);
		return -1;
	}
	tell_gone(k, key);
	key_free(key);
	return 0;
}

json_t *
keys_list(const struct keys *k)
{
	json_t *all = json_array();
	struct key *key;

	TAILQ_FOREACH (key, &k->own, next)
		json_array_append_new(all, key_json(key));
	return all;
}

json_t *
keys_show(const struct keys *k, const char *name)
{
	struct key *key = find(k, name);

	return key != NULL ? key_json(key) : json_null();
}

bool
keys_exist(const struct keys *k)
{
	return !TAILQ_EMPTY(&k->own) || !TAILQ_EMPTY(&k->secrets);
}

/* ---- secrets of the configuration ---- */

/* An id that no key of ours can have. */
static void
name_secret(struct key *key)
{
	snprintf(key->given.id, KEY_ID_SIZE, "=%d%.6s", (int)key->given.scope,
	    key->digest + strcspn(key->digest, ":") + 1);
}

static void
add_secrets(
    struct keys *k, char *const *secrets, enum scope scope, const char *name)
{
	struct key *key;

	for (; secrets != NULL && *secrets != NULL; secrets++) {
		key = xcalloc(1, sizeof(*key));
		key->given.scope = scope;
		strlcpy(key->given.name, name, KEY_NAME_SIZE);
		strlcpy(key->digest, *secrets, DIGEST_SIZE);
		name_secret(key);
		TAILQ_INSERT_TAIL(&k->secrets, key, next);
	}
}

static void
drop_all(struct key_list *list)
{
	while (!TAILQ_EMPTY(list))
		key_drop(list, TAILQ_FIRST(list));
}

static bool
is_still_there(const struct keys *k, const struct key *old)
{
	struct key *key;

	TAILQ_FOREACH (key, &k->secrets, next)
		if (strcmp(key->given.id, old->given.id) == 0 &&
		    strcmp(key->digest, old->digest) == 0)
			return true;
	return false;
}

static void
tell_dropped(struct keys *k, struct key_list *before)
{
	struct key *key;

	TAILQ_FOREACH (key, before, next)
		if (!is_still_there(k, key))
			tell_gone(k, key);
}

void
keys_set_secrets(struct keys *k, const struct daemon_conf *conf)
{
	struct key_list before = TAILQ_HEAD_INITIALIZER(before);

	TAILQ_CONCAT(&before, &k->secrets, next);
	add_secrets(k, conf->user_secrets, SCOPE_USER, "user_secrets");
	add_secrets(
	    k, conf->register_secrets, SCOPE_REGISTRAR, "register_secrets");
	add_secrets(k, conf->admin_secrets, SCOPE_ADMIN, "admin_secrets");
	tell_dropped(k, &before);
	drop_all(&before);
}

/* ---- its life ---- */

struct keys *
keys_open(struct ev_loop *loop, const char *state_dir, struct err *e)
{
	struct keys *k = xcalloc(1, sizeof(*k));

	k->loop = loop;
	k->dir = xstrdup(state_dir);
	k->path = xasprintf("%s/" FILE_NAME, state_dir);
	k->tries = tries_new(KEYS_FREE_TRIES);
	TAILQ_INIT(&k->own);
	TAILQ_INIT(&k->secrets);
	ev_timer_init(&k->tick, on_tick, TICK, 0);
	k->tick.data = k;
	if (read_all(k, e) == 0) {
		arm(k);
		return k;
	}
	keys_free(k);
	return NULL;
}

void
keys_on_gone(struct keys *k, void (*gone)(void *arg, const char *id), void *arg)
{
	k->gone = gone;
	k->arg = arg;
}

void
keys_free(struct keys *k)
{
	if (k == NULL)
		return;
	ev_timer_stop(k->loop, &k->tick);
	if (k->used)
		write_all(k);
	drop_all(&k->own);
	drop_all(&k->secrets);
	tries_free(k->tries);
	free(k->dir);
	free(k->path);
	free(k);
}
