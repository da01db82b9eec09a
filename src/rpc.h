/*
 * Calls: text in, one answer out, now or later.
 *
 * A door (line connection or HTTP request) gives a whole JSON text and who
 * sent it to rpc_take(); the answer, if any, is one text given to the
 * door's reply function.  Handlers never see sockets: they get a struct
 * call and answer it exactly once by call_reply() or call_refuse(), in any
 * later turn of the loop if they like.
 */
#ifndef RPC_H
#define RPC_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <ev.h>
#include <jansson.h>

#include "err.h"
#include "method.h"
#include "timing.h"

struct runners;
struct workers;
struct redis;
struct keep;
struct events;
struct daemon_conf;
struct configured;
struct upgrade;
struct schedules;
struct peers;
struct keys;
struct audit;
struct key_given;
struct metrics;
struct doors;

/* What handlers work on; made by herod.c. */
struct services {
	struct ev_loop *loop;
	const struct daemon_conf *conf;
	struct runners *runners;
	struct workers *workers;
	struct redis *redis;
	struct keep *keep;
	struct events *events;
	struct configured *configured;
	double started_at; /* Unix seconds */
	void (*shutdown)(void *master);
	void *master;
	struct upgrade *upgrade;
	struct schedules *schedules;
	struct peers *peers; /* other herods */
	struct keys *keys;
	struct audit *audit;
	struct doors *doors;
	struct metrics *metrics;
};

/* Who asks, as found when the connection was accepted (auth.c). */
struct peer {
	enum scope scope;
	bool known; /* uid is true */
	uid_t uid;
	bool of_node; /* another herod, for somebody there */
	char key_id[9]; /* of the key that gave the scope, or "" */
	char from[64]; /* whose wrong keys count together: "uid 1000", "::1" */
	char text[176]; /* for the log: "unix uid 1000 pid 17, key ci" */
};

struct call {
	const struct method *method;
	json_t *params; /* checked: canonical, defaults filled in */
	const struct peer *peer;
	const struct services *services;
	/* It was asked of the herod before, which made way for us: what it
	 * wants was begun, and only the answer is owed.  See
	 * call_outlives(). */
	bool again;
	void *door; /* rpc.c's own from here */
};

/* ---- for handlers ---- */

#define METHOD(id, ...) void handle_##id(struct call *call);
#include "methods.def"
#undef METHOD

/* How calls of each method went, since herod began. */
struct method_tally {
	unsigned long long refused;
	unsigned long long calls, streamed; /* begun */
	size_t open, streams; /* that are not over */
	struct timing answered; /* from the whole text to its answer */
};
extern struct method_tally method_tallies[METHOD_COUNT];

/* Begins a handler; does not compile without a row in methods.def. */
#define HANDLER(id) \
	_Static_assert(METHOD_##id < METHOD_COUNT, "a row in methods.def"); \
	void handle_##id(struct call *call)

/* Parameters by name; absent: NULL, false, 0. */
const char *call_string(const struct call *call, const char *name);
bool call_bool(const struct call *call, const char *name);
double call_number(const struct call *call, const char *name);
long long call_count(const struct call *call, const char *name);
json_t *call_json(const struct call *call, const char *name); /* borrowed */
bool call_has(const struct call *call, const char *name);

/* Each ends the call; reply NULL says that herod failed. */
void call_reply(struct call *call, json_t *stolen);

/* The same with a result that write() puts into the answer as text, for what is
 * asked most: no tree is built.  It may be called never (nobody listens), must
 * write JSON, and returns -1 when s says so. */
struct sink;
void call_reply_by(
    struct call *call, int (*write)(struct sink *s, void *arg), void *arg);
void call_refuse(struct call *call, const struct err *e);

/* Tells a handler that answers later that nobody waits any more: fn is
 * called before the call is freed, and the call must not be answered.
 * fn NULL takes it back. */
void call_on_gone(struct call *call, void (*fn)(void *arg), void *arg);

/*
 * Should herod make way for another before this call is answered, the next
 * one is asked it again, with what params are then and call->again set: then
 * its handler must begin nothing, only wait.  Calls of scope observe are asked
 * again anyway; others are refused in that case, with ERR_MADE_WAY.
 */
void call_outlives(struct call *call);

/*
 * A stream of notifications to the asker, beside and after the answer.
 * NULL when the door has none (HTTP), has RPC_STREAMS_MAX of them or is
 * gone.  It ends with the connection: then gone(arg) is called and the
 * stream is freed; or by stream_close(), which calls nothing.
 */
#define RPC_STREAMS_MAX 64
struct stream;
struct stream *call_stream(
    struct call *call, void (*gone)(void *arg), void *arg);
void stream_close(struct stream *s);

/* False, sending nothing, while the reader is too far behind.
 * ready(arg) of stream_on_ready() is called when it has caught up; it may
 * close its own stream, no other. */
bool stream_notify(struct stream *s, const char *method, json_t *stolen);

/* The same with params that are text already, and false as soon as most
 * bytes wait for the reader. */
bool stream_notify_text(struct stream *s, const char *method,
    const char *params, size_t len, size_t most);

/* One event of a stream, for doors that tell them in a form of their own. */
struct told {
	const char *id; /* behind which a reader may go on: "LIFE:SEQ" */
	const char *kind; /* first part of its topic, or "gap" */
	const char *text; /* JSON, without newlines */
	size_t len;
};

/* The same, as the notification "event" where the door has no such form. */
bool stream_tell(struct stream *s, const struct told *event, size_t most);

/* The arg of the asker's stream that has this gone(), or NULL. */
void *call_stream_arg(const struct call *call, void (*gone)(void *arg));

void stream_on_ready(struct stream *s, void (*ready)(void *arg));

/* Should herod make way for another, make(arg) says by which call the next
 * one goes on with the stream: {"method", "params"}, new.  That call has no
 * id and call->again set. */
void stream_outlives(struct stream *s, json_t *(*make)(void *arg));

/* The asker has that scope from now on (keys.h); false: the door has no such
 * thing. */
bool call_login(struct call *call, const struct key_given *given);

/* ---- for doors ---- */

/* One asker: a line connection, or one HTTP request. */
struct rpc_door {
	const struct peer *peer;
	const struct services *services;
	/* One whole answer with its newline; text is free(3)d by the
	 * callee.  NULL text: nothing to answer (only notifications). */
	void (*answer)(void *arg, char *text, size_t len);
	/* One more notification; false: more than most bytes would wait for
	 * the reader, who is too far behind. */
	bool (*notify)(void *arg, char *text, size_t len, size_t most);
	/* The same of an event, which is a notification when this is NULL.
	 * Both NULL: no streams. */
	bool (*event)(void *arg, const struct told *event, size_t most);
	/* The peer has shown a key.  NULL: not at this door. */
	void (*login)(void *arg, const struct key_given *given);
	void *arg;
	/* What is taken now was asked of the herod before: call->again. */
	bool again;

	/* rpc.c's from here, for doors to read; begin with zeroes. */
	LIST_HEAD(, rpc_text) texts; /* not answered yet */
	LIST_HEAD(, stream) streams;
	size_t ntexts, nstreams;
	size_t open_bytes; /* of texts not answered yet */
	enum err_code refused; /* the last single call, or ERR_NONE */
};

/* Takes one JSON text.  answer() is called exactly once for it, maybe
 * before this returns, unless rpc_door_close() comes first. */
void rpc_take(struct rpc_door *door, const char *text, size_t len);

/* The asker has left: nothing is answered any more, streams end.  Not to
 * be called within rpc_take(). */
void rpc_door_close(struct rpc_door *door);

/*
 * herod makes way for another: lines for the next one's rpc_take(), with
 * again set, are added for what is not answered yet and can be asked again;
 * the rest is refused.  lines NULL: all is refused.  After that nothing but
 * rpc_door_close() may be called for this door, and no loop be run.
 */
void rpc_door_leave(struct rpc_door *door, struct sink *lines);

/* Was one of its streams begun with that key, be it a secret of the call? */
bool rpc_streams_by_key(const struct rpc_door *door, const char *id);

/* The call by which the door's last stream would go on where it is now, as of
 * stream_outlives(); new.  NULL: there is none. */
json_t *rpc_stream_again(const struct rpc_door *door);

/* The asker has read what there was: streams may go on. */
void rpc_streams_ready(struct rpc_door *door);

#endif
