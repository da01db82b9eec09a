/*
 * New jobs while Redis is away, or refuses them: on a file, whence it gets them
 * as soon as it takes them.
 *
 * A line is the job's hash as a JSON object, with its id and, where it is held,
 * "held".  {"done": ID} says that Redis has it, or that it was refused after
 * all; the file is emptied when that is so of all.  {"cancelled": ID}: Redis is
 * told of its end only.  A crash in between lets one
 * be told again, which does nothing where it is known.
 */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "log.h"
#include "mem.h"
#include "spool.h"

struct spooled {
	TAILQ_ENTRY(spooled) next;
	RB_ENTRY(spooled) entry;
	struct queue *queue;
	struct spool_room *room;
	char *id;
	struct job *job;
	bool held;
	bool stored; /* on the disk */
	bool sent;
	bool cancelled;
	queue_fn fn; /* until it is stored; or NULL */
	void *arg;
};

static int
spooled_compare(const struct spooled *a, const struct spooled *b)
{
	return strcmp(a->id, b->id);
}

#define LOCAL __attribute__((unused)) static
RB_GENERATE_INTERNAL(spooled_tree, spooled, entry, spooled_compare, LOCAL)

static struct spooled *
spooled_find(const struct queues *qs, const char *id)
{
	struct spooled wanted = {.id = (char *)(uintptr_t)id};

	return RB_FIND(spooled_tree,
	    (struct spooled_tree *)(uintptr_t)&qs->spooled_by_id, &wanted);
}

static void
spooled_free(struct spooled *s)
{
	struct queues *qs = s->queue->all;

	TAILQ_REMOVE(&qs->spooled, s, next);
	if (spooled_find(qs, s->id) == s)
		RB_REMOVE(spooled_tree, &qs->spooled_by_id, s);
	qs->nspooled--;
	s->room->jobs--;
	job_free(s->job);
	free(s->id);
	free(s);
}

static void
note(struct spool *file, const char *what, const char *id)
{
	char line[200];

	snprintf(line, sizeof(line), "{\"%s\":\"%s\"}", what, id);
	spool_note(file, line);
}

/* It is done with, and maybe the file. */
static void
spooled_done(struct spooled *s)
{
	struct spool_room *room = s->room;

	note(room->file, "done", s->id);
	spooled_free(s);
	if (room->jobs == 0) {
		spool_clear(room->file);
		log_info("Redis has all jobs of the spool");
	}
}

static struct spooled *
spooled_new(
    struct queue *q, struct spool_room *room, struct job *stolen, bool held)
{
	struct spooled *s = xcalloc(1, sizeof(*s));

	s->queue = q;
	s->room = room;
	room->jobs++;
	s->id = xstrdup(stolen->spec.id);
	s->job = stolen;
	s->held = held;
	TAILQ_INSERT_TAIL(&q->all->spooled, s, next);
	RB_INSERT(spooled_tree, &q->all->spooled_by_id, s);
	q->all->nspooled++;
	return s;
}

/* ---- its line ---- */

/* New string, or NULL: it has bytes that are no text. */
static char *
line_of(const struct job *j, bool held)
{
	json_t *o = json_object();
	struct redis_words w;
	char *line = NULL;
	bool good;
	size_t i;

	words_begin(&w, "");
	job_put_asked(j, &w);
	good = json_object_set_new(o, "id", json_string(j->spec.id)) == 0 &&
	    json_object_set_new(o, "queue", json_string(j->queue)) == 0;
	for (i = 1; good && i + 1 < w.n; i += 2)
		good = json_object_set_new(o, w.v[i].s,
			   json_stringn(w.v[i + 1].s, w.v[i + 1].len)) == 0;
	if (held)
		json_object_set_new(o, "held", json_true());
	if (good)
		line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return line;
}

static struct job *
job_of(const json_t *o)
{
	struct job *j = job_new();
	const char *name;
	json_t *value;

	j->spec.id = xstrdup(json_string_value(json_object_get(o, "id")));
	json_object_foreach ((json_t *)o, name, value)
		if (json_is_string(value))
			job_set_field(j, name, json_string_value(value),
			    json_string_length(value));
	if (!json_is_true(json_object_get(o, "held")))
		job_move(j, JOB_DISPATCHED, NULL);
	return j;
}

struct reading {
	struct queues *queues;
	struct spool_room *room;
};

static void
on_line(void *arg, const char *line, size_t len)
{
	const struct reading *r = arg;
	struct queues *qs = r->queues;
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *queue = json_string_value(json_object_get(o, "queue"));
	const char *done = json_string_value(json_object_get(o, "done"));
	const char *off = json_string_value(json_object_get(o, "cancelled"));
	struct spooled *s =
	    done || off ? spooled_find(qs, done ? done : off) : NULL;

	if (done && s)
		spooled_free(s);
	else if (off && s)
		s->cancelled = true;
	else if (queue && json_is_string(json_object_get(o, "id")))
		spooled_new(queue_open(qs, queue), r->room, job_of(o),
		    json_is_true(json_object_get(o, "held")))
		    ->stored = true;
	else if (!done && !off)
		log_errorx(
		    "spool: what is no job is passed over: %.200s", line);
	json_decref(o);
}

/* ---- to Redis ---- */

/* It can never be queued as it was asked for: that is its end. */
static void
end_spooled(struct spooled *s, const struct err *e)
{
	if (e->code == ERR_DUPLICATE && !strcmp(e->subject, s->job->spec.id)) {
		log_info("job %s: Redis has it already", s->job->spec.id);
		return;
	}
	log_warnx("job %s: %s", s->job->spec.id, e->text);
	job_set_error(s->job, "%s", e->text);
	job_move(s->job, JOB_STARTED, NULL); /* as settling claims it */
	job_move(s->job, JOB_ERROR, NULL);
	time_text(ev_time(), s->job->finished_at);
	settle_again(s->queue, s->job, true);
	s->job = NULL;
}

static void
end_cancelled(struct spooled *s)
{
	job_set_error(s->job, "cancelled");
	job_move(s->job, JOB_CANCELLED, NULL);
	time_text(ev_time(), s->job->finished_at);
	settle_again(s->queue, s->job, true);
	s->job = NULL;
	spooled_done(s);
}

static void
on_sent(void *arg, const struct err *e)
{
	struct spooled *s = arg;
	struct queue *q = s->queue;
	struct queues *qs = q->all;

	s->sent = false;
	if (e && e->code == ERR_REDIS) {
		retry_soon(qs);
		return;
	}
	if (e) {
		end_spooled(s, e);
	} else {
		queue_tell_created(q, s->job->spec.id, !s->held);
		recent_job(q, s->held ? RECENT_HELD : RECENT_CREATED, s->job);
		s->job = NULL;
	}
	spooled_done(s);
	queue_may_go_on(q);
}

void
spooled_send(struct queues *qs)
{
	struct spooled *s, *next;

	if (!redis_is_up(qs->redis) || qs->fence_held)
		return;
	TAILQ_FOREACH_SAFE (s, &qs->spooled, next, next) {
		if (!s->stored || s->sent)
			continue;
		queue_announce(s->queue);
		if (s->cancelled) {
			end_cancelled(s);
			continue;
		}
		s->sent = queue_push_again(s->queue, s->job, s->held,
			      IS_REFUSED, on_sent, s, NULL) == 0;
		if (!s->sent) {
			retry_soon(qs);
			return;
		}
	}
}

/* ---- into the file ---- */

static void
on_stored(void *arg, int error)
{
	struct spooled *s = arg;
	struct queues *qs = s->queue->all;
	struct err e = {0};

	if (error)
		err_set(&e, ERR_INTERNAL, "spool: %s", strerror(error));
	s->fn(s->arg, error ? &e : NULL);
	s->stored = true;
	if (error)
		spooled_done(s);
	else if (!ev_is_active(&qs->retry))
		spooled_send(qs);
}

static int
refuse_spool(const struct spool_room *room, const char *why, struct err *e)
{
	size_t len = strlen(e->text);

	snprintf(
	    e->text + len, sizeof(e->text) - len, "; and the spool %s", why);
	log_warnx("spool (%zu jobs): %s", room->jobs, why);
	return -1;
}

static struct spool_room *
room_for(struct queues *qs, const struct job *j)
{
	bool memory = j->spec.durability == DURABILITY_MEMORY;

	return &qs->spools[memory ? SPOOL_MEMORY : SPOOL_DISK];
}

int
queue_spool(struct queue *q, struct job *j, bool held, queue_fn fn, void *arg,
    struct err *e)
{
	struct spool_room *room = room_for(q->all, j);
	struct spooled *s;
	char *line, why[128];
	int bad;

	if (!room->file || !room->max)
		return -1;
	if (spool_size(room->file) >= room->max)
		return refuse_spool(room, "is full (spool_maxbytes)", e);
	line = line_of(j, held);
	if (!line)
		return refuse_spool(room, "takes only text", e);
	s = spooled_new(q, room, j, held);
	s->fn = fn;
	s->arg = arg;
	bad = spool_add(room->file, line, strlen(line), on_stored, s);
	free(line);
	if (!bad)
		return 0;
	snprintf(why, sizeof(why), "cannot be written: %s", strerror(errno));
	s->job = NULL;
	spooled_free(s);
	return refuse_spool(room, why, e);
}

bool
queues_is_spooled(const struct queues *qs, const char *id)
{
	return spooled_find(qs, id) != NULL;
}

struct job *
spooled_job(const struct queues *qs, const char *id)
{
	const struct spooled *s = spooled_find(qs, id);
	struct job *copy;
	char *line;
	json_t *o;

	if (!s || !s->job)
		return NULL;
	line = line_of(s->job, s->held);
	o = json_loads(line, 0, NULL);
	copy = job_of(o);
	if (s->cancelled)
		job_move(copy, JOB_CANCELLED, NULL);
	json_decref(o);
	free(line);
	return copy;
}

bool
spooled_cancel(struct queues *qs, const char *id)
{
	struct spooled *s = spooled_find(qs, id);

	if (!s || !s->stored || s->sent || s->cancelled)
		return false;
	note(s->room->file, "cancelled", id);
	s->cancelled = true;
	return true;
}

/* ---- its life ---- */

static void
room_open(struct queues *qs, struct spool_room *room, struct spool *stolen,
    long long most)
{
	struct reading r = {qs, room};

	room->file = stolen;
	room->max = (size_t)most;
	spool_read(stolen, on_line, &r);
	if (room->jobs)
		log_info("%zu jobs in the spool wait for Redis", room->jobs);
}

int
queues_open_spool(
    struct queues *qs, const char *path, long long most, struct err *e)
{
	struct spool *s = spool_open(qs->loop, path, e);

	if (!s)
		return -1;
	room_open(qs, &qs->spools[SPOOL_DISK], s, most);
	return 0;
}

void
queues_open_memory(struct queues *qs, int fd, long long most)
{
	room_open(qs, &qs->spools[SPOOL_MEMORY],
	    spool_of(qs->loop, fd, "spool in memory"), most);
}

void
queues_save_memory(struct queues *qs, const char *path)
{
	struct spool_room *room = &qs->spools[SPOOL_MEMORY];
	struct err e = {0};
	struct spool *file;
	struct spooled *s;
	char *line;

	if (room->jobs == 0)
		return;
	file = spool_open(qs->loop, path, &e);
	if (!file)
		log_errorx("%zu jobs are lost, which Redis did not take: %s",
		    room->jobs, e.text);
	TAILQ_FOREACH (s, &qs->spooled, next) {
		if (!file || s->room != room || !s->stored)
			continue;
		line = line_of(s->job, s->held);
		spool_note(file, line);
		free(line);
		if (s->cancelled)
			note(file, "cancelled", s->id);
	}
	spool_free(file);
}

size_t
queues_spooled(const struct queues *qs)
{
	return qs->nspooled;
}

size_t
queues_spool_bytes(const struct queues *qs)
{
	size_t bytes = 0;
	int i;

	for (i = 0; i < SPOOLS; i++)
		if (qs->spools[i].file)
			bytes += spool_size(qs->spools[i].file);
	return bytes;
}

void
spooled_init(struct queues *qs)
{
	TAILQ_INIT(&qs->spooled);
	RB_INIT(&qs->spooled_by_id);
}

void
spooled_end(struct queues *qs)
{
	struct spooled *s;
	size_t i;

	for (i = 0; i < SPOOLS; i++)
		spool_free(qs->spools[i].file);
	while ((s = TAILQ_FIRST(&qs->spooled)))
		spooled_free(s);
}
