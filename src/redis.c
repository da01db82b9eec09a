/*
 * The connection to Redis: hiredis's parser on descriptors of our own.
 *
 * hiredis's asynchronous half is left out on purpose.  It aborts on a reply
 * to nothing, frees itself under its callers, has no deadlines, sets no
 * close-on-exec and moves its whole output buffer at each write; what is
 * needed instead is the ring of open commands below.
 *
 * The life of a connection: WAITING (for the dial timer) -> DIALLING (the
 * greeting is written at once and leaves when the socket is connected, so
 * that one deadline covers both) -> UP.  Whatever goes wrong in any phase
 * ends in lose(): both sockets are closed, each open command is answered
 * by NULL, and the dial timer starts.
 */
#define LOG_MODULE "redis"
#include "redis.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "clock.h"
#include "counters.h"
#include "log.h"
#include "mem.h"
#include "turns.h"
#include "type.h"

#define NEEDED_MAJOR 7
#define ADDRESSES_MAX 4
#define UNSENT_MAX (64 << 20) /* bytes that may wait to be sent */
#define KEEP_BUFFER (1 << 20) /* larger ones are freed when empty */
#define READ_SIZE (64 << 10)
#define READS_A_TURN 8
#define DELAY_MIN 0.01
#define DELAY_MAX 1.0
#define TELL_AFTER 0.3
#define STEADY 1.0 /* up for so long: delays begin anew */

enum phase { WAITING, DIALLING, UP };
enum { COMMANDS, BELL, LINKS };

/* A command that was sent (or is about to be). */
struct open_command {
	redis_fn fn;
	void *arg;
	const char *name;
	double sent_at;
};

struct link {
	struct redis *redis;
	int fd; /* -1: closed */
	bool connected;
	ev_io readable, writable;
	redisReader *reader;
	/* Bytes out: [sent, len) of size. */
	char *out;
	size_t sent, len, size;
	/* Open commands, a ring whose size is a power of two. */
	struct open_command *ring;
	size_t first, count, ring_size;
};

struct redis {
	struct ev_loop *loop;
	const struct redis_ops *ops;
	bool is_leaving; /* ops->leaving has been called */
	void *arg;
	/* What the url says. */
	char *path; /* Unix socket, else: */
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	socklen_t lengths[ADDRESSES_MAX];
	size_t naddresses, next_address;
	char *user, *password;
	long long db;
	char address[300];
	double timeout;
	const char *hint; /* when nobody listens there */
	/* What it must have. */
	const char *library, *code;
	char *bells[REDIS_BELLS_MAX];
	size_t nbells;

	enum phase phase;
	struct link links[LINKS];
	unsigned greetings; /* parts of the greeting not yet answered */
	long long bell_id;
	bool reading; /* in the middle of replies: lose() must wait */
	char broken[256]; /* set then: what went wrong */
	char why[256];
	char told[256]; /* the why that was logged last */
	bool warned; /* of eviction */
	char run_id[64]; /* of the server process */
	bool forgot; /* it is another one than when it was up before */
	double delay, made_at, up_since;
	ev_timer dial, deadline;
	struct timing timing; /* of answers */
	double read_at; /* what is being read now */
	ev_prepare flush;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- what Redis complains of, in our words ---- */

struct complaint {
	const char *word; /* the error begins so */
	const char *sentence;
	const char *hint;
	bool fatal; /* this connection is of no use any more */
};

#define FORBIDDEN "its access list forbids what herod needs"
#define FORBIDDEN_HINT \
	"let its user do FUNCTION, FCALL, CLIENT, SUBSCRIBE and all on herod's keys"

static const struct complaint complaints[] = {
    {"WRONGPASS", "wrong password", "set user and password in redis_url", true},
    {"NOAUTH", "it wants a password",
	"set redis_url = redis://:PASSWORD@HOST:PORT", true},
    {"ERR AUTH", "it has no password, but redis_url has one",
	"take the password out of redis_url", true},
    {"NOPERM", FORBIDDEN, FORBIDDEN_HINT, false},
    {"ERR The user executing the script", FORBIDDEN, FORBIDDEN_HINT, false},
    {"LOADING", "loading its data", "it will be there soon; ask again", true},
    {"READONLY", "read-only (it is a replica)",
	"give redis_url the address of the primary", true},
    {"MASTERDOWN", "it is a replica without its primary",
	"give redis_url the address of the primary", true},
    {"OOM", "full (maxmemory is reached)",
	"raise its maxmemory, or let jobs end", false},
    {"MISCONF", "it cannot write to its disk",
	"free space there, and see Redis's own log", false},
    {"NOREPLICAS", "not enough replicas are there",
	"start them, or lower its min-replicas-to-write", false},
    {"BUSY", "busy with a long script", "ask again later", false},
    {"ERR Function not found", "its functions are gone", "ask again", true},
};

static const struct complaint *
complaint_of(const char *error)
{
	size_t i;

	for (i = 0; i < sizeof(complaints) / sizeof(*complaints); i++)
		if (!strncmp(
			error, complaints[i].word, strlen(complaints[i].word)))
			return &complaints[i];
	return NULL;
}

static const char *
sentence_of(const char *error)
{
	const struct complaint *c = complaint_of(error);

	return c ? c->sentence : error;
}

static const char *
hint_of(const struct redis *r, const char *sentence)
{
	size_t i;

	for (i = 0; i < sizeof(complaints) / sizeof(*complaints); i++)
		if (!strcmp(complaints[i].sentence, sentence))
			return complaints[i].hint;
	if (strstr(sentence, "refused") || strstr(sentence, "No such file"))
		return r->hint;
	return "herod goes on dialling; ask again";
}

int
redis_refuse(
    const struct redis *r, const struct redis_reply *reply, struct err *e)
{
	const char *sentence = r->why;

	if (reply_is_error(reply))
		sentence = sentence_of(reply_text(reply, NULL));
	else if (r->phase == UP)
		sentence = "the connection was lost before it answered";
	err_set(e, ERR_REDIS, "Redis at %s: %s", r->address,
	    *sentence ? sentence : "not dialled yet");
	if (e && !*e->hint)
		err_hint(e, "%s", hint_of(r, sentence));
	return -1;
}

/* ---- the ring of open commands ---- */

static void
ring_grow(struct link *l)
{
	size_t i, size = l->ring_size ? l->ring_size * 2 : 64;
	struct open_command *ring = xcalloc(size, sizeof(*ring));

	for (i = 0; i < l->count; i++)
		ring[i] = l->ring[(l->first + i) & (l->ring_size - 1)];
	free(l->ring);
	l->ring = ring;
	l->ring_size = size;
	l->first = 0;
}

static void
ring_push(struct link *l, const char *name, redis_fn fn, void *arg)
{
	struct open_command *c;

	if (l->count == l->ring_size)
		ring_grow(l);
	c = &l->ring[(l->first + l->count++) & (l->ring_size - 1)];
	c->fn = fn;
	c->arg = arg;
	c->name = name;
	c->sent_at = clock_monotonic();
}

static struct open_command
ring_shift(struct link *l)
{
	struct open_command c = l->ring[l->first];

	l->first = (l->first + 1) & (l->ring_size - 1);
	l->count--;
	return c;
}

/* ---- bytes out ---- */

static char *
out_room(struct link *l, size_t want)
{
	if (l->sent && l->len + want > l->size) {
		memmove(l->out, l->out + l->sent, l->len - l->sent);
		l->len -= l->sent;
		l->sent = 0;
	}
	if (l->len + want > l->size) {
		l->size = (l->len + want) * 2;
		l->out = xreallocarray(l->out, l->size, 1);
	}
	return l->out + l->len;
}

/* "*12\r\n" or "$12\r\n" */
static char *
put_head(char *at, char mark, size_t n)
{
	*at++ = mark;
	at += number_text((long long)n, at);
	*at++ = '\r';
	*at++ = '\n';
	return at;
}

static void
put_command(struct link *l, const struct redis_words *w)
{
	size_t i, want = 32;
	char *at;

	for (i = 0; i < w->n; i++)
		want += w->v[i].len + 32;
	at = put_head(out_room(l, want), '*', w->n);
	for (i = 0; i < w->n; i++) {
		at = put_head(at, '$', w->v[i].len);
		memcpy(at, w->v[i].s, w->v[i].len);
		at += w->v[i].len;
		*at++ = '\r';
		*at++ = '\n';
	}
	l->len = at - l->out;
}

static void
link_send(struct link *l, const struct redis_words *w, redis_fn fn, void *arg)
{
	put_command(l, w);
	ring_push(l, w->name, fn, arg);
	counter_add(redis_commands, 1);
	if (!ev_is_active(&l->redis->deadline)) {
		ev_timer_set(&l->redis->deadline, l->redis->timeout, 0.);
		ev_timer_start(l->redis->loop, &l->redis->deadline);
	}
}

/* ---- losing it ---- */

static void
link_close(struct link *l)
{
	if (l->fd == -1)
		return;
	ev_io_stop(l->redis->loop, &l->readable);
	ev_io_stop(l->redis->loop, &l->writable);
	close(l->fd);
	l->fd = -1;
	l->connected = false;
	redisReaderFree(l->reader);
	l->reader = NULL;
	free(l->out);
	l->out = NULL;
	l->sent = l->len = l->size = 0;
}

/* NULL: the connection is lost. */
static void
answer_command(const struct open_command *c, const struct redis_reply *reply)
{
	DOING("Redis reply to", c->name);

	if (c->fn)
		c->fn(c->arg, reply);
}

/* Those who wait may send again at once; they are told false. */
static void
link_answer_null(struct link *l)
{
	struct open_command c;

	while (l->count) {
		c = ring_shift(l);
		counter_add(redis_commands_lost, 1);
		answer_command(&c, NULL);
	}
}

static void
tell_why(struct redis *r, enum log_level level)
{
	if (!strcmp(r->why, r->told))
		return;
	strlcpy(r->told, r->why, sizeof(r->told));
	log_if(level, "redis %s: %s", r->address, r->why);
}

static void
lose(struct redis *r, const char *why)
{
	bool was_up = r->phase == UP;
	size_t i;

	strlcpy(r->why, why, sizeof(r->why));
	r->broken[0] = '\0';
	r->phase = WAITING;
	/* A server that is just being started is no news, one that ends may be
	 * asked to: it is an error when it stays away. */
	if (was_up || r->delay >= TELL_AFTER)
		tell_why(r, was_up ? LOG_WARN : LOG_ERROR);
	ev_timer_stop(r->loop, &r->deadline);
	for (i = 0; i < LINKS; i++)
		link_close(&r->links[i]);
	r->delay = was_up && now() - r->up_since >= STEADY ? DELAY_MIN
	    : r->delay * 2 > DELAY_MAX			   ? DELAY_MAX
							   : r->delay * 2;
	ev_timer_set(&r->dial, r->delay, 0.);
	ev_timer_start(r->loop, &r->dial);
	for (i = 0; i < LINKS; i++)
		link_answer_null(&r->links[i]);
	counter_add(redis_losses, was_up);
	if (was_up)
		r->forgot = false;
	if (was_up && r->ops && r->ops->down)
		r->ops->down(r->arg);
}

/* Ends the connection, or marks it for its end while replies are read. */
static void fail(struct redis *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
fail(struct redis *r, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	if (r->phase == WAITING || r->broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (r->reading)
		strlcpy(r->broken, why, sizeof(r->broken));
	else
		lose(r, why);
}

/* ---- the greeting ---- */

static void
enter_up(struct redis *r)
{
	r->phase = UP;
	r->why[0] = r->told[0] = '\0';
	r->up_since = now();
	counter_add(redis_connects, 1);
	log_info("redis %s: up", r->address);
	if (r->ops && r->ops->up)
		r->ops->up(r->arg);
}

/* True when the reply is good; else the connection is on its way out. */
static bool
greeting_is_good(struct redis *r, const struct redis_reply *reply)
{
	if (!reply)
		return false;
	if (reply_is_error(reply))
		fail(r, "%s", sentence_of(reply_text(reply, NULL)));
	return !r->broken[0];
}

static void
on_greeted(void *arg, const struct redis_reply *reply)
{
	greeting_is_good(arg, reply);
}

static void
on_bell_armed(void *arg, const struct redis_reply *reply)
{
	struct redis *r = arg;

	if (greeting_is_good(r, reply) && r->phase == DIALLING)
		enter_up(r);
}

/* All changes of keys that begin so, but not our own, ring the bell. */
static void
arm_bell(struct redis *r, size_t from)
{
	struct redis_words w;
	size_t i;

	words_begin(&w, "CLIENT");
	words_add(&w, "TRACKING");
	words_add(&w, "ON");
	words_add(&w, "REDIRECT");
	words_add_number(&w, r->bell_id);
	words_add(&w, "BCAST");
	words_add(&w, "NOLOOP");
	for (i = from; i < r->nbells; i++) {
		words_add(&w, "PREFIX");
		words_add(&w, r->bells[i]);
	}
	link_send(&r->links[COMMANDS], &w, on_bell_armed, r);
}

static void
greeting_done(struct redis *r)
{
	if (--r->greetings)
		return;
	if (r->links[BELL].fd != -1)
		arm_bell(r, 0);
	else
		enter_up(r);
}

/* The value of "name:value\r\n" of INFO. */
static const char *
info_value(const char *info, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name);
	const char *at;

	buf[0] = '\0';
	for (at = info; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (!strncmp(at, name, len) && at[len] == ':') {
			strlcpy(buf, at + len + 1, size);
			buf[strcspn(buf, "\r\n")] = '\0';
			break;
		}
	}
	return buf;
}

static void
warn_of_eviction(struct redis *r, const char *info)
{
	char policy[32], max[32];

	info_value(info, "maxmemory_policy", policy, sizeof(policy));
	info_value(info, "maxmemory", max, sizeof(max));
	if (r->warned || !*policy || !strcmp(policy, "noeviction") ||
	    !strcmp(max, "0"))
		return;
	r->warned = true;
	log_warnx("redis %s: maxmemory-policy is %s: it may throw away jobs "
		  "when it is full; set noeviction",
	    r->address, policy);
}

static void
note_server(struct redis *r, const char *info)
{
	char id[sizeof(r->run_id)];

	info_value(info, "run_id", id, sizeof(id));
	r->forgot = r->forgot || (*r->run_id && strcmp(id, r->run_id));
	strlcpy(r->run_id, id, sizeof(r->run_id));
}

static void
on_info(void *arg, const struct redis_reply *reply)
{
	struct redis *r = arg;
	const char *info = reply_text(reply, NULL);
	char value[32];

	if (!greeting_is_good(r, reply))
		return;
	if (!info)
		fail(r, "not a Redis: INFO is no text");
	else if (atoi(info_value(info, "redis_version", value, sizeof(value))) <
	    NEEDED_MAJOR)
		fail(r, "version %s, herod needs %d.0", *value ? value : "?",
		    NEEDED_MAJOR);
	else if (!strcmp(
		     info_value(info, "loading", value, sizeof(value)), "1"))
		fail(r, "%s", sentence_of("LOADING"));
	else if (!strcmp(
		     info_value(info, "role", value, sizeof(value)), "slave"))
		fail(r, "%s", sentence_of("READONLY"));
	else {
		note_server(r, info);
		warn_of_eviction(r, info);
		greeting_done(r);
	}
}

static void
on_library_loaded(void *arg, const struct redis_reply *reply)
{
	if (greeting_is_good(arg, reply))
		greeting_done(arg);
}

static void
on_library(void *arg, const struct redis_reply *reply)
{
	struct redis *r = arg;
	struct redis_words w;
	const char *code;

	if (!greeting_is_good(r, reply))
		return;
	code = reply_value(reply_at(reply, 0), "library_code");
	if (code && !strcmp(code, r->code)) {
		greeting_done(r);
		return;
	}
	words_begin(&w, "FUNCTION");
	words_add(&w, "LOAD");
	words_add(&w, "REPLACE");
	words_add(&w, r->code);
	link_send(&r->links[COMMANDS], &w, on_library_loaded, r);
}

static void
on_bell_id(void *arg, const struct redis_reply *reply)
{
	struct redis *r = arg;

	if (greeting_is_good(r, reply))
		r->bell_id = reply_number(reply);
}

static void
on_bell_subscribed(void *arg, const struct redis_reply *reply)
{
	if (greeting_is_good(arg, reply))
		greeting_done(arg);
}

static void
send_two(struct link *l, const char *verb, const char *word, redis_fn fn)
{
	struct redis_words w;

	words_begin(&w, verb);
	words_add(&w, word);
	link_send(l, &w, fn, l->redis);
}

static void
greet_as_anyone(struct link *l, const char *name)
{
	struct redis *r = l->redis;
	struct redis_words w;

	if (r->password) {
		words_begin(&w, "AUTH");
		if (r->user)
			words_add(&w, r->user);
		words_add(&w, r->password);
		link_send(l, &w, on_greeted, r);
	}
	words_begin(&w, "CLIENT");
	words_add(&w, "SETNAME");
	words_add(&w, name);
	link_send(l, &w, NULL, NULL);
}

static void
greet_for_commands(struct redis *r)
{
	struct link *l = &r->links[COMMANDS];
	struct redis_words w;

	greet_as_anyone(l, "herod");
	if (r->db) {
		words_begin(&w, "SELECT");
		words_add_number(&w, r->db);
		link_send(l, &w, on_greeted, r);
	}
	words_begin(&w, "INFO");
	link_send(l, &w, on_info, r);
	r->greetings++;
	if (!r->library)
		return;
	words_begin(&w, "FUNCTION");
	words_add(&w, "LIST");
	words_add(&w, "LIBRARYNAME");
	words_add(&w, r->library);
	words_add(&w, "WITHCODE");
	link_send(l, &w, on_library, r);
	r->greetings++;
}

static void
greet_for_bell(struct redis *r)
{
	struct link *l = &r->links[BELL];

	greet_as_anyone(l, "herod-bell");
	send_two(l, "CLIENT", "ID", on_bell_id);
	send_two(l, "SUBSCRIBE", "__redis__:invalidate", on_bell_subscribed);
	r->greetings++;
}

/* ---- bytes in and out ---- */

static void
link_flush(struct link *l)
{
	struct redis *r = l->redis;
	ssize_t n;

	if (l->fd == -1 || !l->connected || l->sent == l->len)
		return;
	n = send(l->fd, l->out + l->sent, l->len - l->sent,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == -1 && errno != EAGAIN && errno != EINTR) {
		fail(r, "connection lost (%s)", strerror(errno));
		return;
	}
	if (n > 0)
		l->sent += n;
	if (l->sent < l->len) {
		ev_io_start(r->loop, &l->writable);
		return;
	}
	ev_io_stop(r->loop, &l->writable);
	l->sent = l->len = 0;
	if (l->size > KEEP_BUFFER) {
		free(l->out);
		l->out = NULL;
		l->size = 0;
	}
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("commands for", "Redis");
	struct link *l = w->data;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)loop;
	(void)revents;
	if (!l->connected) {
		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error) {
			fail(l->redis, "%s", strerror(error));
			return;
		}
		l->connected = true;
		ev_io_start(l->redis->loop, &l->readable);
	}
	link_flush(l);
}

/* {"message", "__redis__:invalidate", [key...] or nil} */
static void
bell_rang(struct redis *r, const struct redis_reply *message)
{
	const struct redis_reply *keys = reply_at(message, 2);
	DOING("keys that others changed in", "Redis");
	size_t i, len;

	if (!r->ops || !r->ops->bell || r->phase != UP)
		return;
	if (!reply_count(keys))
		r->ops->bell(r->arg, NULL, 0);
	for (i = 0; i < reply_count(keys); i++) {
		const char *key = reply_text(reply_at(keys, i), &len);

		if (key)
			r->ops->bell(r->arg, key, len);
	}
}

static void
take_reply(struct link *l, const struct redis_reply *reply)
{
	struct redis *r = l->redis;
	const struct complaint *complaint = NULL;
	struct open_command c;

	if (!l->count) {
		if (l == &r->links[BELL])
			bell_rang(r, reply);
		else
			fail(r, "it answered what nobody asked");
		return;
	}
	c = ring_shift(l);
	timing_add(&r->timing, r->read_at - c.sent_at);
	counter_add(redis_errors, reply_is_error(reply));
	if (r->phase == UP && reply_is_error(reply))
		complaint = complaint_of(reply_text(reply, NULL));
	if (complaint && complaint->fatal) {
		fail(r, "%s", complaint->sentence);
		reply = NULL;
	}
	answer_command(&c, reply);
}

static void
take_replies(struct link *l)
{
	struct redis *r = l->redis;
	void *reply;

	while (!r->broken[0]) {
		if (redisReaderGetReply(l->reader, &reply) != REDIS_OK) {
			fail(r, "not a Redis: %s", l->reader->errstr);
			return;
		}
		if (!reply)
			return;
		take_reply(l, reply);
		freeReplyObject(reply);
	}
}

/* True when there may be more to read. */
static bool
read_some(struct link *l)
{
	char buf[READ_SIZE];
	ssize_t n;

	n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		fail(l->redis, "connection lost (%s)",
		    n ? strerror(errno) : "closed by Redis");
		return false;
	}
	l->redis->read_at = clock_monotonic();
	redisReaderFeed(l->reader, buf, n);
	take_replies(l);
	return n == sizeof(buf) && !l->redis->broken[0];
}

static void
link_read(struct link *l)
{
	struct redis *r = l->redis;
	int turns = READS_A_TURN;

	r->reading = true;
	while (turns-- && read_some(l))
		;
	r->reading = false;
	if (r->broken[0])
		lose(r, r->broken);
	else if (!r->links[COMMANDS].count && !r->links[BELL].count)
		ev_timer_stop(r->loop, &r->deadline);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("bytes from", "Redis");
	(void)loop;
	(void)revents;
	link_read(w->data);
}

static void
tell_leaving(struct redis *r)
{
	if (r->is_leaving || !r->ops || !r->ops->leaving)
		return;
	r->is_leaving = true;
	r->ops->leaving(r->arg);
	r->is_leaving = false;
}

/* Last thing before the loop waits: what this turn collected leaves. */
static void
on_flush(struct ev_loop *loop, ev_prepare *w, int revents)
{
	DOING("commands for", "Redis");
	struct redis *r = w->data;
	size_t i;

	(void)loop;
	(void)revents;
	tell_leaving(r);
	for (i = 0; i < LINKS; i++)
		link_flush(&r->links[i]);
}

/* ---- dialling ---- */

static int
link_connect(struct link *l)
{
	struct redis *r = l->redis;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr *sa = (struct sockaddr *)&un;
	socklen_t len = sizeof(un);
	int on = 1;

	if (r->path) {
		strlcpy(un.sun_path, r->path, sizeof(un.sun_path));
	} else {
		sa = (struct sockaddr *)&r->addresses[r->next_address];
		len = r->lengths[r->next_address];
	}
	l->fd = socket(
	    sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd == -1)
		return -1;
	if (!r->path) {
		setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		on = 30;
		setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPIDLE, &on, sizeof(on));
	}
	l->reader = redisReaderCreate();
	ev_io_init(&l->readable, on_readable, l->fd, EV_READ);
	ev_io_init(&l->writable, on_writable, l->fd, EV_WRITE);
	l->readable.data = l->writable.data = l;
	if (connect(l->fd, sa, len) == -1 && errno != EINPROGRESS)
		return -1;
	ev_io_start(r->loop, &l->writable);
	return 0;
}

static void
dial(struct redis *r)
{
	r->phase = DIALLING;
	r->greetings = 0;
	ev_timer_stop(r->loop, &r->dial);
	if (link_connect(&r->links[COMMANDS]) == -1 ||
	    (r->nbells && link_connect(&r->links[BELL]) == -1)) {
		fail(r, "%s", strerror(errno));
		return;
	}
	if (r->naddresses > 1)
		r->next_address = (r->next_address + 1) % r->naddresses;
	greet_for_commands(r);
	if (r->nbells)
		greet_for_bell(r);
}

static void
on_dial(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("connection to", "Redis");
	(void)loop;
	(void)revents;
	dial(w->data);
}

void
redis_dial(struct redis *r)
{
	if (r->phase != WAITING)
		return;
	r->delay = DELAY_MIN;
	dial(r);
}

/* Seconds until the oldest open command is due; 0 when there is none. */
static double
until_due(const struct redis *r)
{
	double due = 0, oldest;
	size_t i;

	for (i = 0; i < LINKS; i++) {
		if (!r->links[i].count)
			continue;
		oldest = r->links[i].ring[r->links[i].first].sent_at;
		if (!due || oldest < due)
			due = oldest;
	}
	if (!due)
		return 0;
	due += r->timeout - now();
	return due < 0.001 ? -1 : due;
}

static void
on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "Redis");
	struct redis *r = w->data;
	size_t i;
	double due;

	(void)loop;
	(void)revents;
	/* It may be we who slept: what has come is read first. */
	for (i = 0; i < LINKS && r->phase != WAITING; i++)
		if (r->links[i].fd != -1 && r->links[i].connected)
			link_read(&r->links[i]);
	if (r->phase == WAITING)
		return;
	due = until_due(r);
	if (due < 0) {
		fail(r, "no answer within %gs", r->timeout);
	} else if (due > 0) {
		ev_timer_stop(r->loop, &r->deadline);
		ev_timer_set(&r->deadline, due, 0.);
		ev_timer_start(r->loop, &r->deadline);
	}
}

/* ---- the url ---- */

/* Decodes %XX in place. */
static void
unescape(char *s)
{
	char hex[3] = "", *to = s, *end;

	for (; *s; s++) {
		if (*s == '%' && s[1] && s[2]) {
			memcpy(hex, s + 1, 2);
			*to = (char)strtol(hex, &end, 16);
			if (!*end) {
				to++;
				s += 2;
				continue;
			}
		}
		*to++ = *s;
	}
	*to = '\0';
}

static int
parse_unix(struct redis *r, const char *path, struct err *e)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (*path != '/')
		return err_set(e, ERR_PARAMS,
		    "redis_url: unix: wants a path from the root, as in "
		    "unix:///run/redis.sock");
	if (strlen(path) > max)
		return err_set(e, ERR_PARAMS,
		    "redis_url: the socket's path has %zu bytes, at most %zu "
		    "are possible",
		    strlen(path), max);
	r->path = xstrdup(path);
	snprintf(r->address, sizeof(r->address), "unix://%s", path);
	return 0;
}

static int
resolve(struct redis *r, const char *host, const char *port, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *a;
	int error;

	if (!strcmp(host, "localhost"))
		host = NULL; /* 127.0.0.1 and ::1 */
	hints.ai_flags = AI_NUMERICSERV | (host ? AI_ADDRCONFIG : 0);
	error = getaddrinfo(host, port, &hints, &all);
	if (error)
		return err_set(e, ERR_PARAMS, "redis_url: %s:%s: %s",
		    host ? host : "localhost", port, gai_strerror(error));
	for (a = all; a && r->naddresses < ADDRESSES_MAX; a = a->ai_next) {
		memcpy(&r->addresses[r->naddresses], a->ai_addr, a->ai_addrlen);
		r->lengths[r->naddresses++] = a->ai_addrlen;
	}
	freeaddrinfo(all);
	return 0;
}

/* user:password@ in front of the host; what follows it. */
static char *
parse_user(struct redis *r, char *rest)
{
	char *at = strrchr(rest, '@'), *colon;

	if (!at)
		return rest;
	*at = '\0';
	colon = strchr(rest, ':');
	if (colon) {
		*colon = '\0';
		unescape(colon + 1);
		r->password = xstrdup(colon + 1);
	}
	unescape(rest);
	if (*rest)
		r->user = xstrdup(rest);
	return at + 1;
}

static int
parse_db(struct redis *r, char *rest, struct err *e)
{
	char *slash = strchr(rest, '/'), *end;

	if (!slash)
		return 0;
	*slash = '\0';
	r->db = strtoll(slash + 1, &end, 10);
	if (*end || r->db < 0)
		return err_set(e, ERR_PARAMS,
		    "redis_url: '%s' is not the number of a database",
		    slash + 1);
	return 0;
}

static int
parse_host(struct redis *r, char *rest, struct err *e)
{
	char *host = rest, *end;
	const char *port = NULL;

	if (*rest == '[' && (end = strchr(rest, ']'))) {
		host = rest + 1;
		*end++ = '\0';
		if (*end == ':')
			port = end + 1;
	} else if ((end = strrchr(rest, ':'))) {
		*end = '\0';
		port = end + 1;
	}
	if (!*host)
		return err_set(e, ERR_PARAMS, "redis_url: no host");
	if (!port || !*port)
		port = "6379";
	if (strspn(port, "0123456789") != strlen(port) || !atoi(port) ||
	    atoi(port) > 65535)
		return err_set(
		    e, ERR_PARAMS, "redis_url: '%s' is not a port", port);
	snprintf(r->address, sizeof(r->address),
	    strchr(host, ':') ? "redis://[%s]:%s" : "redis://%s:%s", host,
	    port);
	return resolve(r, host, port, e);
}

static int
parse_tcp(struct redis *r, const char *text, struct err *e)
{
	char *copy = xstrdup(text), *rest = parse_user(r, copy);
	int result = -1;

	if (parse_db(r, rest, e) == 0)
		result = parse_host(r, rest, e);
	if (result == 0 && r->db) {
		size_t len = strlen(r->address);

		snprintf(
		    r->address + len, sizeof(r->address) - len, "/%lld", r->db);
	}
	explicit_bzero(copy, strlen(copy));
	free(copy);
	return result;
}

static int
parse_url(struct redis *r, const char *url, struct err *e)
{
	if (!strncmp(url, "unix://", 7))
		return parse_unix(r, url + 7, e);
	if (!strncmp(url, "redis://", 8))
		return parse_tcp(r, url + 8, e);
	if (!strncmp(url, "rediss://", 9))
		return err_set(e, ERR_PARAMS,
		    "redis_url: rediss:// (TLS) is not known; let a tunnel "
		    "such as stunnel do it");
	/* Not quoted: it may be a password that lost its beginning. */
	return err_set(e, ERR_PARAMS,
	    "redis_url: neither redis://[user:password@]host[:port][/db] nor "
	    "unix:///path");
}

/* ---- from outside ---- */

void
redis_set_timeout(struct redis *r, double timeout)
{
	r->timeout = timeout;
}

void
redis_set_hint(struct redis *r, const char *hint)
{
	r->hint = hint;
}

struct redis *
redis_new(struct ev_loop *loop, const char *url, double timeout, struct err *e)
{
	struct redis *r = xcalloc(1, sizeof(*r));
	size_t i;

	r->loop = loop;
	r->timeout = timeout;
	r->made_at = now();
	r->delay = DELAY_MIN;
	for (i = 0; i < LINKS; i++) {
		r->links[i].redis = r;
		r->links[i].fd = -1;
	}
	ev_timer_init(&r->dial, on_dial, 0., 0.);
	ev_timer_init(&r->deadline, on_deadline, 0., 0.);
	ev_prepare_init(&r->flush, on_flush);
	r->dial.data = r->deadline.data = r->flush.data = r;
	/* Behind everybody else's prepare watcher, who may send commands. */
	ev_set_priority(&r->flush, EV_MINPRI);
	if (parse_url(r, url, e) == -1) {
		redis_free(r);
		return NULL;
	}
	r->hint = r->path ? "is redis-server running on that socket?"
			  : "is redis-server running there?";
	ev_timer_start(loop, &r->dial);
	ev_prepare_start(loop, &r->flush);
	return r;
}

void
redis_set_ops(struct redis *r, const struct redis_ops *ops, void *arg)
{
	r->ops = ops;
	r->arg = arg;
}

void
redis_hang_up(struct redis *r)
{
	size_t i;

	tell_leaving(r);
	r->ops = NULL;
	if (r->phase == UP)
		link_flush(&r->links[COMMANDS]);
	r->phase = WAITING;
	ev_timer_stop(r->loop, &r->deadline);
	ev_prepare_stop(r->loop, &r->flush);
	for (i = 0; i < LINKS; i++) {
		link_close(&r->links[i]);
		link_answer_null(&r->links[i]);
	}
	ev_timer_stop(r->loop, &r->dial);
}

/* One step on the way to an answer; at most so many seconds. */
static void
await_replies(struct link *l, double seconds)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};

	link_flush(l);
	if (l->redis->phase != UP)
		return;
	if (l->sent < l->len)
		p.events |= POLLOUT;
	if (poll(&p, 1, (int)(seconds * 1000) + 1) > 0 && p.revents & ~POLLOUT)
		link_read(l);
}

void
redis_settle(struct redis *r, double seconds)
{
	struct link *l = &r->links[COMMANDS];
	double end = now() + seconds, left = seconds;

	tell_leaving(r);
	while (r->phase == UP && l->count > 0 && left > 0) {
		await_replies(l, left);
		left = end - now();
		tell_leaving(r); /* what the replies have led to */
	}
}

void
redis_free(struct redis *r)
{
	size_t i;

	if (!r)
		return;
	redis_hang_up(r);
	for (i = 0; i < LINKS; i++)
		free(r->links[i].ring);
	if (r->password)
		explicit_bzero(r->password, strlen(r->password));
	for (i = 0; i < r->nbells; i++)
		free(r->bells[i]);
	free(r->password);
	free(r->user);
	free(r->path);
	free(r);
}

void
redis_set_library(struct redis *r, const char *name, const char *code)
{
	r->library = name;
	r->code = code;
}

void
redis_add_bell(struct redis *r, const char *prefix)
{
	assert(r->nbells < REDIS_BELLS_MAX);
	r->bells[r->nbells++] = xstrdup(prefix);
	if (r->phase == UP && r->links[BELL].fd != -1)
		arm_bell(r, r->nbells - 1);
	else
		fail(r, "dialling anew, for the bell");
}

bool
redis_is_up(const struct redis *r)
{
	return r->phase == UP;
}

size_t
redis_in_flight(const struct redis *r)
{
	return r->links[COMMANDS].count;
}

const struct timing *
redis_timing(const struct redis *r)
{
	return &r->timing;
}

bool
redis_is_new(const struct redis *r)
{
	return r->up_since <= 0 && now() - r->made_at < r->timeout;
}

bool
redis_forgot(const struct redis *r)
{
	return r->forgot;
}

const char *
redis_why(const struct redis *r)
{
	if (r->phase == UP)
		return "";
	return *r->why ? r->why : "not dialled yet";
}

const char *
redis_address(const struct redis *r)
{
	return r->address;
}

/* It may be given commands. */
static bool
has_room(const struct redis *r)
{
	const struct link *l = &r->links[COMMANDS];

	return r->phase == UP && !r->broken[0] &&
	    l->len - l->sent <= UNSENT_MAX;
}

bool
redis_send(struct redis *r, const struct redis_words *w, redis_fn fn, void *arg)
{
	if (has_room(r))
		tell_leaving(r);
	return redis_send_ahead(r, w, fn, arg);
}

bool
redis_send_ahead(
    struct redis *r, const struct redis_words *w, redis_fn fn, void *arg)
{
	if (!has_room(r))
		return false;
	link_send(&r->links[COMMANDS], w, fn, arg);
	return true;
}

/* ---- words ---- */

void
words_begin(struct redis_words *w, const char *verb)
{
	w->n = w->used = 0;
	w->name = verb;
	words_add(w, verb);
}

void
words_name(struct redis_words *w, const char *name)
{
	w->name = name;
}

void
words_add_mem(struct redis_words *w, const char *s, size_t len)
{
	assert(w->n < REDIS_WORDS_MAX);
	w->v[w->n].s = s;
	w->v[w->n++].len = len;
}

void
words_add(struct redis_words *w, const char *s)
{
	words_add_mem(w, s, strlen(s));
}

void
words_add_number(struct redis_words *w, long long n)
{
	char *at = w->numbers + w->used;

	assert(w->used + REDIS_NUMBER_SIZE <= sizeof(w->numbers));
	words_add_mem(w, at, number_text(n, at));
	w->used += REDIS_NUMBER_SIZE;
}

void
words_add_real(struct redis_words *w, double n)
{
	char *at = w->numbers + w->used;

	if (is_whole(n)) {
		words_add_number(w, (long long)n);
		return;
	}
	assert(w->used + REDIS_NUMBER_SIZE <= sizeof(w->numbers));
	words_add_mem(w, at, snprintf(at, REDIS_NUMBER_SIZE, "%.15g", n));
	w->used += REDIS_NUMBER_SIZE;
}

/* ---- replies ---- */

static const redisReply *
real(const struct redis_reply *reply)
{
	return (const redisReply *)reply;
}

bool
reply_is_error(const struct redis_reply *reply)
{
	return reply && real(reply)->type == REDIS_REPLY_ERROR;
}

bool
reply_is_error_of(const struct redis_reply *reply, const char *word)
{
	return reply_is_error(reply) &&
	    !strncmp(real(reply)->str, word, strlen(word));
}

bool
reply_is_nil(const struct redis_reply *reply)
{
	return !reply || real(reply)->type == REDIS_REPLY_NIL;
}

const char *
reply_text(const struct redis_reply *reply, size_t *len)
{
	int type = reply ? real(reply)->type : REDIS_REPLY_NIL;

	if (type != REDIS_REPLY_STRING && type != REDIS_REPLY_STATUS &&
	    type != REDIS_REPLY_ERROR)
		return NULL;
	if (len)
		*len = real(reply)->len;
	return real(reply)->str;
}

long long
reply_number(const struct redis_reply *reply)
{
	if (reply && real(reply)->type == REDIS_REPLY_INTEGER)
		return real(reply)->integer;
	if (reply && real(reply)->type == REDIS_REPLY_STRING)
		return strtoll(real(reply)->str, NULL, 10);
	return 0;
}

size_t
reply_count(const struct redis_reply *reply)
{
	if (!reply || real(reply)->type != REDIS_REPLY_ARRAY)
		return 0;
	return real(reply)->elements;
}

const struct redis_reply *
reply_at(const struct redis_reply *reply, size_t i)
{
	if (i >= reply_count(reply))
		return NULL;
	return (const struct redis_reply *)real(reply)->element[i];
}

const char *
reply_value(const struct redis_reply *reply, const char *name)
{
	const char *text;
	size_t i;

	for (i = 0; i + 1 < reply_count(reply); i += 2) {
		text = reply_text(reply_at(reply, i), NULL);
		if (text && !strcmp(text, name))
			return reply_text(reply_at(reply, i + 1), NULL);
	}
	return NULL;
}
