/*
 * Queues on Redis: keys, commands, who we are, the bell.
 *
 * The hot ways (a new job for a free slot, the end of a job) are plain
 * pipelines, which cost Redis half of what its functions (queue.lua) do;
 * everything that reads before it writes is a function.
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

#include "log.h"
#include "mem.h"
#include "queue_lua.h"

static int
queue_compare(const struct queue *a, const struct queue *b)
{
	return strcmp(a->name, b->name);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(queue_tree, queue, entry, queue_compare, LOCAL)

/* ---- keys ---- */

const char *
job_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	snprintf(buf, KEY_MAX, "%s%s", qs->job_prefix, id);
	return buf;
}

const char *
reply_key(const struct queues *qs, const char *id, char buf[KEY_MAX])
{
	snprintf(buf, KEY_MAX, "%s:reply:%s", qs->ns, id);
	return buf;
}

/* NULL without one. */
const char *
unique_key(const struct queue *q, const struct job *j, char buf[KEY_MAX])
{
	if (!j->spec.unique_key)
		return NULL;
	snprintf(buf, KEY_MAX, "%sd:uniq:%s:%s", q->all->ns, q->name,
	    j->spec.unique_key);
	return buf;
}

char *
own_key(const struct queues *qs, const char *kind, const char *name)
{
	return xasprintf("%sd:%s:%s", qs->ns, kind, name);
}

static void on_due(struct ev_loop *loop, ev_periodic *w, int revents);

struct queue *
queue_open(struct queues *qs, const char *name)
{
	struct queue wanted = {.name = (char *)name}, *q;

	q = RB_FIND(queue_tree, &qs->tree, &wanted);
	if (q)
		return q;
	q = xcalloc(1, sizeof(*q));
	q->all = qs;
	q->name = xstrdup(name);
	q->list = xasprintf("%s%s", qs->list_prefix, name);
	q->high = xasprintf("%s%s:high", qs->row_prefix, name);
	q->low = xasprintf("%s%s:low", qs->row_prefix, name);
	q->delay = xasprintf("%s%s", qs->delay_prefix, name);
	ev_periodic_init(&q->due, on_due, 0., 0., NULL);
	q->due.data = q;
	q->own = xasprintf("%sd:own:%s:%s", qs->ns, name, qs->id);
	q->index = own_key(qs, "jobs", name);
	q->done = own_key(qs, "done", name);
	q->open = own_key(qs, "open", name);
	RB_INSERT(queue_tree, &qs->tree, q);
	return q;
}

const char *
queue_name(const struct queue *q)
{
	return q->name;
}

static void
queue_free(struct queue *q)
{
	ev_periodic_stop(q->all->loop, &q->due);
	free(q->name);
	free(q->list);
	free(q->high);
	free(q->low);
	free(q->delay);
	free(q->own);
	free(q->index);
	free(q->done);
	free(q->open);
	free(q);
}

/* ---- commands ---- */

void
call_begin(struct redis_words *w, const char *function, long long nkeys)
{
	words_begin(w, "FCALL");
	words_add(w, function);
	words_add_number(w, nkeys);
}

long long
now_ms(void)
{
	return llround(ev_time() * 1000);
}

/* Microseconds, later than all before: the order of jobs in lists. */
long long
next_score(struct queues *qs)
{
	long long us = llround(ev_time() * 1e6);

	qs->last_score = us > qs->last_score ? us : qs->last_score + 1;
	return qs->last_score;
}

double
ttl_of(const struct queues *qs, const struct job *j)
{
	return j->spec.result_ttl > 0 ? j->spec.result_ttl : qs->result_ttl;
}

/* Of seconds; what is not 0 does not become 0. */
long long
to_ms(double seconds)
{
	return (long long)ceil(seconds * 1000);
}

void
add_default_ttl(struct redis_words *w, const struct queues *qs)
{
	words_add_number(w, to_ms(qs->result_ttl));
}

/* "EPOCH SEQUENCE LABEL" */
void
claim_text(struct queues *qs, const char *label, char *buf, size_t size)
{
	snprintf(buf, size, "%lld %lld %s", qs->epoch, qs->sequence++, label);
}

/* Away, in the words of a refusal; false when it is there. */
bool
queues_away(struct queues *qs, struct err *e)
{
	if (redis_is_up(qs->redis))
		return false;
	redis_refuse(qs->redis, NULL, e);
	return true;
}

/* A refusal from a reply (NULL: lost); false when the reply is good. */
bool
queues_refused(
    struct queues *qs, const struct redis_reply *reply, struct err *e)
{
	if (reply && !reply_is_error(reply))
		return false;
	if (reply)
		log_warnx("redis: %s", reply_text(reply, NULL));
	redis_refuse(qs->redis, reply, e);
	return true;
}

/* ---- until it is due ---- */

#define PROMOTE_MAX 200 /* jobs at once */

static void promote(struct queue *q);

static void
on_due(struct ev_loop *loop, ev_periodic *w, int revents)
{
	(void)loop;
	(void)revents;
	promote(w->data);
}

/* By the clock on the wall, which may be set meanwhile. */
void
queue_await_due(struct queue *q, long long due_ms)
{
	double at = (double)due_ms / 1000;

	if (ev_is_active(&q->due) && q->due.offset <= at)
		return;
	ev_periodic_stop(q->all->loop, &q->due);
	ev_periodic_set(&q->due, at, 0., NULL);
	ev_periodic_start(q->all->loop, &q->due);
}

static void
on_promoted(void *arg, const struct redis_reply *reply)
{
	struct queue *q = arg;
	struct queues *qs = q->all;
	long long next = reply_number(reply_at(reply, 1));

	q->promoting = false;
	if (queues_refused(qs, reply, NULL)) {
		if (reply)
			queue_await_due(q, now_ms() + llround(RETRY * 1000));
		return;
	}
	if (reply_number(reply_at(reply, 0)) > 0 && qs->ops &&
	    qs->ops->given_back)
		qs->ops->given_back(qs->arg, q);
	if (next > 0)
		queue_await_due(q, next);
	if (q->promote_again)
		promote(q);
}

/* Puts into the queue what is due, and learns when to look again. */
static void
promote(struct queue *q)
{
	struct redis_words w;

	q->promote_again = q->promoting;
	if (q->promoting || !redis_is_up(q->all->redis))
		return;
	call_begin(&w, "herod_promote", 1);
	words_add(&w, q->delay);
	words_add(&w, q->all->ns);
	words_add_number(&w, now_ms());
	words_add_number(&w, PROMOTE_MAX);
	q->promoting = redis_send(q->all->redis, &w, on_promoted, q);
}

/* ---- who we are ---- */

static char *
read_node_id(const char *path)
{
	char id[JOB_ID_SIZE + 1] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		return NULL;
	n = read(fd, id, sizeof(id) - 1);
	close(fd);
	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	return strlen(id) == JOB_ID_SIZE - 1 && id_is_valid(id) ? xstrdup(id)
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
	char *id = read_node_id(path), made[JOB_ID_SIZE];

	if (!id) {
		job_make_id(made);
		if (write_node_id(path, made) == 0)
			id = xstrdup(made);
		else
			err_set(
			    e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
	}
	free(path);
	return id;
}

/* Redis is asked again after a refusal (a full disk, say): without an answer
 * no job would ever be taken. */
struct registering {
	struct queues *queues;
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
	struct queue *q;
	size_t i;

	if (queues_refused(qs, reply, NULL)) {
		register_later(r, reply != NULL);
		return;
	}
	qs->epoch = reply_number(reply_at(reply, 0));
	qs->registered = true;
	RB_FOREACH (q, queue_tree, &qs->tree)
		if (q->external)
			queue_tell_external(q);
	log_info("node %s (%s): epoch %lld", qs->id, qs->node, qs->epoch);
	for (i = 0; i < reply_count(names); i++) {
		name = reply_text(reply_at(names, i), NULL);
		if (name && name_is_valid(name))
			r->fn(r->arg, name);
	}
	queues_promote(qs);
	r->fn(r->arg, NULL);
	free(r);
}

static void
send_registration(struct registering *r)
{
	struct queues *qs = r->queues;
	struct redis_words w;
	struct queue *q;
	char *key = own_key(qs, "node", qs->id);

	RB_FOREACH (q, queue_tree, &qs->tree)
		q->announced = q->promoting = q->promote_again = false;
	call_begin(&w, "herod_begin", 2);
	words_add(&w, key);
	words_add(&w, qs->names);
	words_add(&w, qs->node);
	words_add(&w, qs->registered ? "0" : "1");
	if (!redis_send(qs->redis, &w, on_begun, r))
		free(r);
	free(key);
}

static void
on_register_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct queues *qs = w->data;
	struct registering *r = qs->refused;

	(void)loop;
	(void)revents;
	qs->refused = NULL;
	send_registration(r);
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
	r->queues = qs;
	r->fn = fn;
	r->arg = arg;
	send_registration(r);
}

/* ---- the bell ---- */

/* What comes behind the prefix; NULL when it is not there. */
static const char *
behind(const char *prefix, const char *key, size_t len)
{
	size_t n = strlen(prefix);

	return len > n && !strncmp(key, prefix, n) ? key + n : NULL;
}

/* QUEUE:high, QUEUE:low; a name has no colon. */
static struct queue *
find_row(struct queues *qs, const char *row)
{
	char *name = xstrndup(row, strcspn(row, ":"));
	struct queue wanted = {.name = name}, *q;

	q = RB_FIND(queue_tree, &qs->tree, &wanted);
	free(name);
	return q;
}

void
queues_promote(struct queues *qs)
{
	struct queue *q;

	RB_FOREACH (q, queue_tree, &qs->tree)
		promote(q);
}

struct queue *
queues_rung(struct queues *qs, const char *key, size_t len, const char **id)
{
	const char *name;
	struct queue *q;

	*id = behind(qs->job_prefix, key, len);
	if (*id)
		return NULL;
	if ((name = behind(qs->list_prefix, key, len)) ||
	    (name = behind(qs->row_prefix, key, len)))
		return find_row(qs, name);
	name = behind(qs->delay_prefix, key, len);
	q = name ? find_row(qs, name) : NULL;
	if (q)
		promote(q);
	return NULL;
}

void
queues_watch_jobs(struct queues *qs)
{
	if (!qs->watches_jobs)
		redis_add_bell(qs->redis, qs->job_prefix);
	qs->watches_jobs = true;
}

/* ---- making ---- */

void
queues_set_result_ttl(struct queues *qs, double result_ttl)
{
	qs->result_ttl = result_ttl;
}

struct queues *
queues_new(struct ev_loop *loop, struct redis *redis, const char *ns,
    const char *node, const char *id, double result_ttl)
{
	struct queues *qs = xcalloc(1, sizeof(*qs));

	qs->loop = loop;
	qs->redis = redis;
	qs->ns = xstrdup(ns);
	qs->node = xstrdup(node);
	qs->id = xstrdup(id);
	places_boot_id(qs->boot);
	qs->job_prefix = xasprintf("%s:job:", ns);
	qs->list_prefix = xasprintf("%s:work_queue:", ns);
	qs->row_prefix = xasprintf("%sd:q:", ns);
	qs->delay_prefix = xasprintf("%sd:delay:", ns);
	qs->names = xasprintf("%sd:queues", ns);
	qs->result_ttl = result_ttl;
	RB_INIT(&qs->tree);
	settles_init(qs);
	ev_timer_init(&qs->again, on_register_again, 0., 0.);
	qs->again.data = qs;
	redis_set_library(redis, "herod", queue_lua);
	redis_add_bell(redis, qs->list_prefix);
	redis_add_bell(redis, qs->row_prefix);
	redis_add_bell(redis, qs->delay_prefix);
	return qs;
}

void
queues_set_ops(struct queues *qs, const struct queues_ops *ops, void *arg)
{
	qs->ops = ops;
	qs->arg = arg;
}

void
queues_free(struct queues *qs)
{
	struct queue *q;

	qs->ops = NULL;
	settles_free(qs);
	while ((q = RB_MIN(queue_tree, &qs->tree))) {
		RB_REMOVE(queue_tree, &qs->tree, q);
		queue_free(q);
	}
	forget_refused(qs);
	free(qs->ns);
	free(qs->node);
	free(qs->id);
	free(qs->job_prefix);
	free(qs->list_prefix);
	free(qs->row_prefix);
	free(qs->delay_prefix);
	free(qs->names);
	free(qs);
}
