/*
 * Herods that share a Redis: who we are, who else is there, and what becomes of
 * jobs in the hands of one that is not there any more.
 *
 * A herod whose Redis is shared says three times in its timeout that it lives.
 * When another one has not said so for as long as that, the first who sees it
 * kills its connection, so that nothing it may still send is applied, and gives
 * its claims back.  Should it live after all, it learns at its next word to
 * Redis which jobs are not its own any more.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define TAKEOVER_KEPT 1.0 /* seconds; or node_timeout, if that is longer */
#define RECOVER_MAX 500 /* claims at once */

static char *
read_node_id(const char *path)
{
	char id[UUID_SIZE + 1] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return NULL;
	n = read(fd, id, sizeof(id) - 1);
	close(fd);
	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	return strlen(id) == UUID_SIZE - 1 && id_is_valid(id) ? xstrdup(id)
							      : NULL;
}

static int
write_node_id(const char *path, const char *id)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool good;

	if (fd == -1)
		return -1;
	good = dprintf(fd, "%s\n", id) > 0 && fsync(fd) == 0;
	return close(fd) == 0 && good ? 0 : -1;
}

char *
queues_node_id(const char *state_dir, struct err *e)
{
	char *path = xasprintf("%s/node.id", state_dir);
	char *id = read_node_id(path), made[UUID_SIZE];

	if (!id) {
		make_uuid(made);
		if (write_node_id(path, made) == 0)
			id = xstrdup(made);
		else
			err_set(
			    e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
	}
	free(path);
	return id;
}

/* ---- we are there ---- */

/* In ms; "" for one that is alone. */
static void
add_timeout(struct redis_words *w, const struct queues *qs)
{
	if (qs->timeout > 0)
		words_add_number(w, to_ms(qs->timeout));
	else
		words_add(w, "");
}

const char *
queues_node(const struct queues *qs)
{
	return qs->node;
}

/* Another one that lives has the name. */
static void
take_name(struct queues *qs, const char *name)
{
	if (!name || !strcmp(name, qs->node))
		return;
	log_warnx("node %s: there is another one of that name: this one is %s",
	    qs->node, name);
	free(qs->node);
	qs->node = xstrdup(name);
}

/* What ended here meanwhile may be in the hands of others. */
static void
was_fenced(struct queues *qs)
{
	log_warnx("node %s: others took it for dead", qs->node);
	settles_by_function(qs);
}

/* Redis is asked again after a refusal (a full disk, say): without an answer
 * no job would ever be taken. */
struct registering {
	struct queues *queues;
	long long client; /* our connection's number at Redis */
	void (*fn)(void *arg, const char *name);
	void *arg;
};

/* Lost: it is asked again when Redis is back. */
static void
register_later(struct registering *r, bool refused)
{
	struct queues *qs = r->queues;

	if (!refused || qs->refused) {
		free(r);
		return;
	}
	qs->refused = r;
	ev_timer_set(&qs->again, RETRY, 0.);
	ev_timer_start(qs->loop, &qs->again);
}

static void
on_begun(void *arg, const struct redis_reply *reply)
{
	struct registering *r = arg;
	const struct redis_reply *names = reply_at(reply, 1);
	struct queues *qs = r->queues;
	const char *name;
	size_t i;

	if (queues_refused(qs, reply, NULL)) {
		register_later(r, reply != NULL);
		return;
	}
	qs->epoch = reply_number(reply_at(reply, 0));
	qs->registered = true;
	take_name(qs, reply_text(reply_at(reply, 2), NULL));
	qs->is_doubtful = reply_number(reply_at(reply, 3));
	if (qs->is_doubtful)
		was_fenced(qs);
	queues_tell_external(qs);
	queues_tell_draws(qs);
	log_info("node %s (%s): epoch %lld", qs->id, qs->node, qs->epoch);
	for (i = 0; i < reply_count(names); i++) {
		name = reply_text(reply_at(names, i), NULL);
		if (name && name_is_valid(name))
			r->fn(r->arg, name);
	}
	queues_catch_up(qs);
	r->fn(r->arg, NULL);
	free(r);
}

static void
send_registration(struct registering *r)
{
	struct queues *qs = r->queues;
	struct redis_words w;
	char *key = own_key(qs, "node", qs->id);

	queues_forget_asked(qs);
	recents_look(qs);
	call_begin(&w, "herod_begin", 2);
	words_add(&w, key);
	words_add(&w, qs->names);
	words_add(&w, qs->ns);
	words_add(&w, qs->id);
	words_add(&w, qs->node);
	words_add(&w, qs->registered ? "0" : "1");
	add_timeout(&w, qs);
	words_add_number(&w, r->client);
	words_add_number(&w, getpid());
	words_add(&w, PACKAGE_VERSION);
	if (!redis_send(qs->redis, &w, on_begun, r))
		free(r);
	free(key);
}

static void
on_client(void *arg, const struct redis_reply *reply)
{
	struct registering *r = arg;

	r->client = reply_number(reply);
	if (reply)
		send_registration(r);
	else
		free(r);
}

/* Those who take over from us kill this connection first. */
static void
ask_client(struct registering *r)
{
	struct redis_words w;

	words_begin(&w, "CLIENT");
	words_add(&w, "ID");
	if (!redis_send(r->queues->redis, &w, on_client, r))
		free(r);
}

static void
on_register_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a node");
	struct queues *qs = w->data;
	struct registering *r = qs->refused;

	(void)loop;
	(void)revents;
	qs->refused = NULL;
	ask_client(r);
}

static void
forget_refused(struct queues *qs)
{
	ev_timer_stop(qs->loop, &qs->again);
	free(qs->refused);
	qs->refused = NULL;
}

void
queues_register(
    struct queues *qs, void (*fn)(void *arg, const char *name), void *arg)
{
	struct registering *r = xcalloc(1, sizeof(*r));

	forget_refused(qs);
	claims_forget(qs); /* all are read anew */
	qs->is_unsure = qs->timeout > 0 && qs->registered;
	qs->fence_held = true;
	r->queues = qs;
	r->fn = fn;
	r->arg = arg;
	ask_client(r);
}

bool
queues_are_doubtful(const struct queues *qs)
{
	return qs->is_doubtful;
}

static void
send_doubt(struct queues *qs, const char *command, redis_fn fn)
{
	char *node = own_key(qs, "node", qs->id);
	struct redis_words w;

	words_begin(&w, command);
	words_add(&w, node);
	words_add(&w, "doubt");
	redis_send(qs->redis, &w, fn, qs);
	free(node);
}

/* What was asked before this has been answered, and dealt with. */
static void
on_sure(void *arg, const struct redis_reply *reply)
{
	struct queues *qs = arg;

	if (reply)
		qs->is_doubtful = false;
	if (reply_number(reply) == 1)
		send_doubt(qs, "HDEL", NULL);
}

void
queues_make_sure(struct queues *qs)
{
	if (qs->is_doubtful)
		send_doubt(qs, "HEXISTS", on_sure);
}

/* ---- others are not ---- */

struct takeover {
	LIST_ENTRY(takeover) next;
	struct queues *queues;
	char *id, *name;
	long long jobs;
};

static void
takeover_free(struct takeover *t)
{
	LIST_REMOVE(t, next);
	free(t->id);
	free(t->name);
	free(t);
}

static void recover(struct takeover *t);

static void
tell_queues(struct queues *qs, const struct redis_reply *names)
{
	const char *name;
	size_t i;

	for (i = 0; i < reply_count(names); i++) {
		name = reply_text(reply_at(names, i), NULL);
		if (name && name_is_valid(name) && qs->ops &&
		    qs->ops->given_back)
			qs->ops->given_back(qs->arg, queue_open(qs, name));
	}
}

static void
on_recovered(void *arg, const struct redis_reply *reply)
{
	struct takeover *t = arg;
	struct queues *qs = t->queues;

	if (queues_refused(qs, reply, NULL)) {
		takeover_free(t); /* when the time is over, another one tries */
		return;
	}
	if (reply_count(reply) == 0) {
		log_info("node %s: there again", t->name);
		takeover_free(t);
		return;
	}
	t->jobs += reply_number(reply_at(reply, 0));
	tell_queues(qs, reply_at(reply, 2));
	if (reply_number(reply_at(reply, 1))) {
		recover(t);
		return;
	}
	log_warnx("node %s has vanished: %lld of its jobs given back", t->name,
	    t->jobs);
	if (qs->ops && qs->ops->vanished)
		qs->ops->vanished(qs->arg, t->name, t->jobs);
	takeover_free(t);
}

static void
recover(struct takeover *t)
{
	struct queues *qs = t->queues;
	struct redis_words w;
	char *key = own_key(qs, "node", t->id), now[TIME_TEXT_SIZE];

	call_begin(&w, "herod_recover", 2);
	words_add(&w, key);
	words_add(&w, qs->names);
	words_add(&w, qs->ns);
	words_add(&w, t->id);
	words_add(&w, time_text(ev_time(), now));
	words_add_number(&w, now_ms());
	add_default_ttl(&w, qs);
	words_add_number(&w, RECOVER_MAX);
	if (!redis_send(qs->redis, &w, on_recovered, t))
		takeover_free(t);
	free(key);
}

/* It may be gone, or we may not do that: then only what it takes back by a
 * function is safe. */
static void
on_killed(void *arg, const struct redis_reply *reply)
{
	struct takeover *t = arg;

	if (reply && reply_is_error(reply))
		log_info("node %s: CLIENT KILL: %s", t->name,
		    reply_text(reply, NULL));
	if (reply)
		recover(t);
	else
		takeover_free(t);
}

static void
on_fenced(void *arg, const struct redis_reply *reply)
{
	struct takeover *t = arg;
	const char *client = reply_text(reply_at(reply, 0), NULL);
	const char *name = reply_text(reply_at(reply, 1), NULL);
	struct redis_words w;

	if (queues_refused(t->queues, reply, NULL) || !client || !*client) {
		takeover_free(t); /* it lives, or another one does that */
		return;
	}
	t->name = xstrdup(name ? name : t->id);
	words_begin(&w, "CLIENT");
	words_add(&w, "KILL");
	words_add(&w, "ID");
	words_add(&w, client);
	if (!redis_send(t->queues->redis, &w, on_killed, t))
		takeover_free(t);
}

static bool
is_taken_over(const struct queues *qs, const char *id)
{
	const struct takeover *t;

	LIST_FOREACH (t, &qs->takeovers, next)
		if (strcmp(t->id, id) == 0)
			return true;
	return false;
}

/* One of us has it to itself for a while.  Should that one die over it, it goes
 * on when it is there again, or else another one when the time is over. */
static void
take_over(struct queues *qs, const char *id)
{
	struct takeover *t = xcalloc(1, sizeof(*t));
	struct redis_words w;
	char *hb = own_key(qs, "hb", id), *node = own_key(qs, "node", id);
	char *lock = own_key(qs, "takeover", id);

	t->queues = qs;
	t->id = xstrdup(id);
	LIST_INSERT_HEAD(&qs->takeovers, t, next);
	call_begin(&w, "herod_fence", 3);
	words_add(&w, hb);
	words_add(&w, node);
	words_add(&w, lock);
	words_add(&w, qs->id);
	words_add_number(&w, to_ms(fmax(qs->timeout, TAKEOVER_KEPT)));
	if (!redis_send(qs->redis, &w, on_fenced, t))
		takeover_free(t);
	free(hb);
	free(node);
	free(lock);
}

/* ---- the heartbeat ---- */

static void
on_beaten(void *arg, const struct redis_reply *reply)
{
	struct queues *qs = arg;
	const struct redis_reply *dead = reply_at(reply, 1);
	const char *id;
	size_t i;

	if (queues_refused(qs, reply, NULL))
		return;
	qs->last_beat = clock_monotonic();
	qs->is_cut_off = false;
	if (reply_number(reply_at(reply, 0)) && qs->ops && qs->ops->fenced) {
		qs->ops->fenced(qs->arg);
		return;
	}
	for (i = 0; i < reply_count(dead); i++) {
		id = reply_text(reply_at(dead, i), NULL);
		if (id && !is_taken_over(qs, id))
			take_over(qs, id);
	}
}

static void
send_beat(struct queues *qs)
{
	struct redis_words w;
	char *hb = own_key(qs, "hb", qs->id),
	     *node = own_key(qs, "node", qs->id);

	call_begin(&w, "herod_beat", 2);
	words_add(&w, hb);
	words_add(&w, node);
	words_add(&w, qs->ns);
	words_add(&w, qs->id);
	add_timeout(&w, qs);
	redis_send(qs->redis, &w, on_beaten, qs);
	free(hb);
	free(node);
}

static void
on_beat(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("timer of", "a node");
	struct queues *qs = timer->data;

	(void)loop;
	(void)revents;
	if (qs->registered && redis_is_up(qs->redis))
		send_beat(qs);
	if (!qs->registered || qs->is_cut_off ||
	    clock_monotonic() - qs->last_beat < qs->timeout * 2 / 3)
		return;
	qs->is_cut_off = true;
	if (qs->ops && qs->ops->cut_off)
		qs->ops->cut_off(qs->arg);
}

void
queues_share(struct queues *qs, double timeout)
{
	qs->timeout = timeout;
	qs->last_beat = clock_monotonic();
	ev_timer_set(&qs->beat, timeout / 3, timeout / 3);
	ev_timer_start(qs->loop, &qs->beat);
}

bool
queues_are_shared(const struct queues *qs)
{
	return qs->timeout > 0;
}

void
queues_leave(struct queues *qs)
{
	struct redis_words w;
	char *node = own_key(qs, "node", qs->id),
	     *hb = own_key(qs, "hb", qs->id);

	if (qs->timeout > 0 && qs->registered) {
		call_begin(&w, "herod_leave", 2);
		words_add(&w, hb);
		words_add(&w, node);
		words_add(&w, qs->ns);
		words_add(&w, qs->id);
		redis_send(qs->redis, &w, NULL, NULL);
	}
	free(node);
	free(hb);
}

/* ---- all of them ---- */

struct nodes {
	struct queues *queues;
	nodes_fn fn;
	void *arg;
};

static json_t *
text_or_null(const struct redis_reply *reply)
{
	const char *text = reply_text(reply, NULL);

	return text ? text_json(text, strlen(text)) : json_null();
}

static json_t *
node_json(const struct queues *qs, const struct redis_reply *node)
{
	const struct redis_reply *v = reply_at(node, 2);
	const char *id = reply_text(reply_at(node, 0), NULL);

	return json_pack("{s:o, s:s, s:b, s:b, s:o, s:I, s:o}", "name",
	    text_or_null(reply_at(v, 0)), "id", id ? id : "", "alive",
	    (int)reply_number(reply_at(node, 1)), "self",
	    id && !strcmp(id, qs->id), "version", text_or_null(reply_at(v, 2)),
	    "pid", (json_int_t)reply_number(reply_at(v, 1)), "gone_at",
	    text_or_null(reply_at(v, 3)));
}

static json_t *
only_node(const struct queues *qs)
{
	return json_pack("[{s:s, s:s, s:b, s:b, s:s, s:i, s:n}]", "name",
	    qs->node, "id", qs->id, "alive", 1, "self", 1, "version",
	    PACKAGE_VERSION, "pid", (int)getpid(), "gone_at");
}

static void
on_nodes(void *arg, const struct redis_reply *reply)
{
	struct nodes *n = arg;
	json_t *all = NULL;
	struct err e = {0};
	size_t i;

	if (!queues_refused(n->queues, reply, &e))
		all = n->queues->timeout > 0 ? json_array()
					     : only_node(n->queues);
	for (i = 0; all && i < reply_count(reply); i++)
		json_array_append_new(
		    all, node_json(n->queues, reply_at(reply, i)));
	n->fn(n->arg, all, all ? NULL : &e);
	free(n);
}

int
queues_nodes(struct queues *qs, nodes_fn fn, void *arg, struct err *e)
{
	struct redis_words w;
	struct nodes *n;

	if (queues_away(qs, e))
		return -1;
	n = xcalloc(1, sizeof(*n));
	n->queues = qs;
	n->fn = fn;
	n->arg = arg;
	call_begin(&w, "herod_nodes", 0);
	words_add(&w, qs->ns);
	words_add(&w, "name");
	words_add(&w, "pid");
	words_add(&w, "version");
	words_add(&w, "gone");
	if (redis_send(qs->redis, &w, on_nodes, n))
		return 0;
	free(n);
	return redis_refuse(qs->redis, NULL, e);
}

void
nodes_init(struct queues *qs)
{
	ev_timer_init(&qs->again, on_register_again, 0., 0.);
	ev_timer_init(&qs->beat, on_beat, 0., 0.);
	qs->again.data = qs->beat.data = qs;
}

void
nodes_free(struct queues *qs)
{
	ev_timer_stop(qs->loop, &qs->beat);
	forget_refused(qs);
}
