/*
 * Jobs against a model of what must hold (job_model.h): steps at random, and
 * after each all jobs, and all rows in Redis, are what the model says.
 *
 * $MODEL_STEPS says how many, $MODEL_SEED repeats, $MODEL_WAYS names those to
 * be taken ("create,answer,delete").
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "herod.h"
#include "job_model.h"
#include "jsonrpc.h"

CHECK_TIMEOUT(3600);

static const char *const runners[RUNNERS] = {"exec", "stdio"};
static const char *const priorities[JOB_PRIORITIES] = {"normal", "high", "low"};

/* Situations that a step may lead to: so many jobs go first. */
static const size_t early[] = {0, 1, 2, MODEL_JOBS};
#define SITUATIONS (sizeof(early) / sizeof(early[0]))

struct test {
	struct herod *h;
	FILE *door; /* NULL: to be opened */
	redisContext *redis;
	struct model model;
	long made; /* jobs */
	unsigned seed;
	char *line;
	size_t size; /* of the line */
	char why[512]; /* it does not agree with the model */
};

struct step {
	long n; /* the job that it is about; 0: none */
	enum model_runner runner;
	enum job_status status;
	const char *word;
	struct model_job fresh;
	bool is_held, has_id, is_soon;
	long with[MODEL_JOBS]; /* those in the hands of the same process */
	size_t nwith;
	pid_t pid;
};

static unsigned
dice(struct test *t, unsigned sides)
{
	t->seed = t->seed * 1103515245 + 12345;
	return (t->seed >> 16) % sides;
}

/* ---- asking herod ---- */

static enum err_code
code_of(long long number)
{
	enum err_code c;

	for (c = 0; c < ERR_COUNT; c++)
		if (err_row(c)->number == number)
			return c;
	return ERR_COUNT;
}

/* The result, to be freed; NULL with a refusal. */
static json_t *
ask(struct test *t, enum err_code *refused, const char *method, json_t *stolen)
{
	json_t *call = jsonrpc_request(method, stolen, 1), *answer, *result;
	size_t len;
	char *text = jsonrpc_text(call, &len);

	if (t->door == NULL)
		t->door = fdopen(door_unix(t->h), "r+e");
	check(t->door != NULL);
	check(fwrite(text, 1, len, t->door) == len && fflush(t->door) == 0);
	check(getline(&t->line, &t->size, t->door) > 0);
	answer = json_loads(t->line, JSON_DECODE_ANY, NULL);
	result = json_incref(json_object_get(answer, "result"));
	*refused = result ? ERR_NONE
			  : code_of(json_integer_value(json_object_get(
				json_object_get(answer, "error"), "code")));
	json_decref(answer);
	json_decref(call);
	free(text);
	return result;
}

static enum err_code
tell(struct test *t, const char *method, json_t *stolen)
{
	enum err_code refused;

	json_decref(ask(t, &refused, method, stolen));
	return refused;
}

static json_t *
list(struct test *t)
{
	enum err_code refused;
	json_t *page =
	    ask(t, &refused, "jobs.list", json_pack("{s:i}", "limit", 1000));

	check_int(refused, ERR_NONE);
	return page;
}

/* ---- is it as the model says? ---- */

static bool
differs(struct test *t, const struct model_job *j, const char *what,
    const char *is, const char *wanted)
{
	snprintf(t->why, sizeof(t->why), "job %s: %s is %s, wanted %s", j->id,
	    what, is, wanted);
	return false;
}

static bool
number_is(struct test *t, const struct model_job *j, json_t *job,
    const char *what, long long wanted)
{
	long long is = json_integer_value(json_object_get(job, what));
	char a[24], b[24];

	if (is == wanted)
		return true;
	snprintf(a, sizeof(a), "%lld", is);
	snprintf(b, sizeof(b), "%lld", wanted);
	return differs(t, j, what, a, b);
}

static bool
error_is(struct test *t, const struct model_job *j, json_t *job)
{
	const char *is = json_string_value(json_object_get(job, "error"));

	if (j->error && !*j->error)
		return true;
	if (j->error ? is && strstr(is, j->error) : !is)
		return true;
	return differs(
	    t, j, "error", is ? is : "null", j->error ? j->error : "null");
}

/* How often it was begun, and by which process last. */
static long
executions(const struct model_job *j, pid_t *last)
{
	char path[80];
	int pid;
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "books/%s", j->id);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	for (; fscanf(f, "%d", &pid) == 1; n++)
		*last = pid;
	fclose(f);
	return n;
}

static bool
executions_are(struct test *t, const struct model_job *j)
{
	char a[24], b[24];
	pid_t pid;
	long n = executions(j, &pid);

	/* It may have been ended before it wrote that it began. */
	if (j->is_hasty ? n <= j->begun : n == j->begun)
		return true;
	snprintf(a, sizeof(a), "%ld", n);
	snprintf(b, sizeof(b), "%ld", j->begun);
	return differs(t, j, "executions", a, b);
}

static bool
job_agrees(struct test *t, const struct model_job *j, json_t *job)
{
	const char *status = json_string_value(json_object_get(job, "status"));
	const char *wanted = job_status_word(j->status);
	json_t *end = json_object_get(job, "finished_at");

	if (!status)
		return differs(t, j, "it", "missing", wanted);
	if (strcmp(status, wanted) != 0)
		return differs(t, j, "status", status, wanted);
	if (json_is_null(end) == job_is_over(j->status))
		return differs(t, j, "finished_at",
		    json_is_null(end) ? "null" : "set", "the other");
	return number_is(t, j, job, "attempts", j->attempts) &&
	    number_is(t, j, job, "deaths", j->deaths) &&
	    number_is(t, j, job, "retries_done", j->retries_done) &&
	    error_is(t, j, job) && executions_are(t, j);
}

static json_t *
listed(json_t *jobs, const char *id)
{
	json_t *job;
	size_t i;

	json_array_foreach (jobs, i, job)
		if (strcmp(json_string_value(json_object_get(job, "id")), id) ==
		    0)
			return job;
	return NULL;
}

static bool
jobs_agree(struct test *t, const struct model *m)
{
	json_t *page = list(t), *jobs = json_object_get(page, "jobs");
	const struct model_job *j;
	bool agree = true;
	size_t n = 0;

	for (j = m->jobs; agree && j < m->jobs + MODEL_JOBS; j++)
		if (j->n) {
			agree = job_agrees(t, j, listed(jobs, j->id));
			n++;
		}
	if (agree && json_array_size(jobs) != n) {
		agree = false;
		snprintf(t->why, sizeof(t->why), "%zu jobs, wanted %zu",
		    json_array_size(jobs), n);
	}
	json_decref(page);
	return agree;
}

/* ---- the rows ---- */

static size_t
place_in(struct model *m, const long *row, size_t n, const char *id)
{
	const struct model_job *j;
	size_t i;

	for (i = 0; i < n; i++)
		if ((j = model_find(m, row[i])) && strcmp(j->id, id) == 0)
			break;
	return i;
}

/* In that order; any order will do when it is loose, and is known then. */
static bool
row_agrees(struct model *m, enum model_runner r, enum job_priority p,
    const redisReply *ids)
{
	long *row = m->rows[r][p], n;
	size_t size = m->nrow[r][p], i, at;

	if (ids->elements != size)
		return false;
	for (i = 0; i < size; i++) {
		at = place_in(m, row + i, size - i, ids->element[i]->str);
		if (at == size - i || (at != 0 && !m->is_loose[r]))
			return false;
		n = row[i + at];
		memmove(row + i + 1, row + i, at * sizeof(*row));
		row[i] = n;
	}
	return true;
}

static const char *
row_key(enum model_runner r, enum job_priority p, char key[80])
{
	if (p == JOB_NORMAL)
		snprintf(key, 80, "hero:work_queue:%s", runners[r]);
	else
		snprintf(key, 80, "herod:q:%s:%s", runners[r], priorities[p]);
	return key;
}

static bool
rows_agree(struct test *t, struct model *m)
{
	enum model_runner r;
	enum job_priority p;
	redisReply *ids;
	char key[80];
	bool agree = true;

	for (r = 0; r < RUNNERS; r++)
		for (p = 0; agree && p < JOB_PRIORITIES; p++) {
			ids = redisCommand(
			    t->redis, "LRANGE %s 0 -1", row_key(r, p, key));
			check(ids && ids->type == REDIS_REPLY_ARRAY);
			agree = row_agrees(m, r, p, ids);
			if (!agree)
				snprintf(t->why, sizeof(t->why),
				    "row %s: %zu jobs, wanted %zu", key,
				    ids->elements, m->nrow[r][p]);
			freeReplyObject(ids);
		}
	return agree;
}

static bool
agrees(struct test *t, const struct model *wanted)
{
	struct model m = *wanted;

	if (!jobs_agree(t, wanted) || !rows_agree(t, &m))
		return false;
	memset(m.is_loose, 0, sizeof(m.is_loose));
	t->model = m;
	return true;
}

/* All that is not as it should be. */
static void
print_differences(struct test *t, const struct model *m)
{
	json_t *page = list(t), *jobs = json_object_get(page, "jobs");
	const struct model_job *j;

	for (j = m->jobs; j < m->jobs + MODEL_JOBS; j++)
		if (j->n && !job_agrees(t, j, listed(jobs, j->id)))
			printf("%s\n", t->why);
	json_decref(page);
}

static bool
agrees_with_one(struct test *t, const struct model v[SITUATIONS], double *told)
{
	size_t i;

	for (i = 0; i < SITUATIONS; i++)
		if (agrees(t, &v[i]))
			return true;
	if (check_clock() > *told) {
		printf("%s\n", t->why);
		for (i = 0; i < SITUATIONS; i++) {
			print_differences(t, &v[i]);
			printf("or\n");
		}
		fflush(stdout);
		*told += 1e9;
	}
	return false;
}

static void
settle(struct test *t, const struct model v[SITUATIONS])
{
	double told = check_clock() + 25 * check_patience();

	wait_for(agrees_with_one(t, v, &told));
}

/* ---- which step ---- */

/* Any; now and then one that is no more. */
static bool
choose_job(struct test *t, struct step *s)
{
	const struct model_job *j = &t->model.jobs[dice(t, MODEL_JOBS)];

	s->n = j->n ? j->n : 1 + (long)dice(t, (unsigned)t->made + 1);
	return true;
}

static long
some_job(struct test *t, unsigned of)
{
	return dice(t, of) == 0 ? t->model.jobs[dice(t, MODEL_JOBS)].n : 0;
}

static bool
has_room(const struct test *t)
{
	size_t i, n = 0;

	for (i = 0; i < MODEL_JOBS; i++)
		n += t->model.jobs[i].n == 0;
	return n > 0;
}

static bool
choose_new(struct test *t, struct step *s)
{
	struct model_job *j = &s->fresh;

	j->n = t->made + 1;
	j->runner = dice(t, RUNNERS);
	j->priority = dice(t, 3) ? JOB_NORMAL : dice(t, JOB_PRIORITIES);
	j->key = dice(t, 4) ? 0 : (char)('a' + dice(t, 2));
	j->retries = dice(t, 2) ? 0 : (int)dice(t, 3);
	j->backs_off_long = dice(t, 3) == 0;
	j->needs[0] = some_job(t, 4);
	j->needs[1] = some_job(t, 6);
	if (!j->needs[0]) {
		j->needs[0] = j->needs[1];
		j->needs[1] = 0;
	}
	j->is_far = dice(t, 8) == 0;
	s->is_soon = !j->is_far && dice(t, 8) == 0;
	s->is_held = dice(t, 5) == 0;
	s->has_id = dice(t, 2) == 0;
	j->is_hasty = j->runner == EXEC && j->retries == 0 && dice(t, 8) == 0;
	return has_room(t) && !model_would_tie(&t->model, j);
}

static bool
choose_held(struct test *t, struct step *s)
{
	const struct model_job *j;

	choose_job(t, s);
	j = model_find(&t->model, s->n);
	return !j || !model_would_tie(&t->model, j);
}

static bool
choose_worker(struct test *t, struct step *s)
{
	static const char *const words[] = {"good", "good", "good", "bad",
	    "bad", "fatal", "later", "much-later"};
	const struct model_job *j = &t->model.jobs[dice(t, MODEL_JOBS)];

	if (j->n == 0 || j->status != JOB_STARTED)
		return false;
	s->n = j->n;
	s->word = words[dice(t, j->runner == EXEC ? 8 : 6)];
	executions(j, &s->pid);
	return true;
}

/* Those of the same process, in the order in which they began. */
static void
find_others(struct test *t, struct step *s)
{
	struct model_job *j, *k;
	pid_t pid;
	size_t i;

	for (j = t->model.jobs; j < t->model.jobs + MODEL_JOBS; j++) {
		if (j->n == 0 || j->status != JOB_STARTED ||
		    executions(j, &pid) == 0 || pid != s->pid)
			continue;
		for (i = s->nwith++; i > 0; i--) {
			k = model_find(&t->model, s->with[i - 1]);
			if (k->turn < j->turn)
				break;
			s->with[i] = s->with[i - 1];
		}
		s->with[i] = j->n;
	}
}

static bool
choose_victim(struct test *t, struct step *s)
{
	if (!choose_worker(t, s))
		return false;
	find_others(t, s);
	return true;
}

static bool
choose_runner(struct test *t, struct step *s)
{
	s->runner = dice(t, RUNNERS);
	return true;
}

static bool
choose_paused(struct test *t, struct step *s)
{
	return choose_runner(t, s) && t->model.paused[s->runner];
}

static bool
choose_going(struct test *t, struct step *s)
{
	return choose_runner(t, s) && !t->model.stopped[s->runner];
}

static bool
choose_stopped(struct test *t, struct step *s)
{
	return choose_runner(t, s) && t->model.stopped[s->runner];
}

static bool
choose_waiting(struct test *t, struct step *s)
{
	static const enum job_status waiting[] = {
	    JOB_CREATED, JOB_WAITING, JOB_SCHEDULED, JOB_DISPATCHED};

	s->status = waiting[dice(t, 4)];
	return choose_runner(t, s);
}

/* ---- what herod is told ---- */

/* Of a job that is, or was. */
static const char *
id_of(struct test *t, long n)
{
	static char id[UUID_SIZE];
	const struct model_job *j = model_find(&t->model, n);

	if (j)
		return j->id;
	snprintf(id, sizeof(id), "j%ld", n);
	return id;
}

static json_t *
about(struct test *t, const struct step *s)
{
	return json_pack("[s]", id_of(t, s->n));
}

static json_t *
needs_json(struct test *t, const struct model_job *j)
{
	json_t *ids = json_array();
	int i;

	for (i = 0; i < MODEL_NEEDS; i++)
		if (j->needs[i])
			json_array_append_new(
			    ids, json_string(id_of(t, j->needs[i])));
	return ids;
}

static json_t *
fresh_json(struct test *t, const struct step *s)
{
	const struct model_job *j = &s->fresh;
	char key[2] = {j->key, '\0'};
	json_t *job = json_pack("{s:s, s:i, s:f, s:s}", "priority",
	    priorities[j->priority], "retries", j->retries, "backoff",
	    j->backs_off_long ? 1000. : 0.01, "runner", runners[j->runner]);

	if (j->key)
		json_object_set_new(job, "unique_key", json_string(key));
	if (j->needs[0])
		json_object_set_new(job, "prerequisites", needs_json(t, j));
	if (j->is_far || s->is_soon)
		json_object_set_new(
		    job, "delay", json_real(j->is_far ? 1000 : 0.01));
	if (j->is_hasty)
		json_object_set_new(job, "timeout", json_real(0.02));
	if (s->has_id)
		json_object_set_new(job, "id", json_string(j->id));
	return job;
}

static enum err_code
tell_create(struct test *t, struct step *s)
{
	struct model_job *j = &s->fresh;
	enum err_code refused;
	json_t *id, *job;

	snprintf(j->id, sizeof(j->id), "j%ld", j->n);
	job = fresh_json(t, s);
	if (s->is_held)
		id = ask(
		    t, &refused, "jobs.create", json_pack("{s:o}", "job", job));
	else
		id = ask(t, &refused, "queue_job_to_runner",
		    json_pack("{s:s, s:o}", "runner", runners[j->runner], "job",
			job));
	if (id) {
		snprintf(j->id, sizeof(j->id), "%s", json_string_value(id));
		t->made++;
	}
	json_decref(id);
	return refused;
}

static enum err_code
tell_start(struct test *t, struct step *s)
{
	return tell(t, "job.start", about(t, s));
}

static enum err_code
tell_cancel(struct test *t, struct step *s)
{
	return tell(t, "job.stop", about(t, s));
}

static enum err_code
tell_retry(struct test *t, struct step *s)
{
	return tell(t, "job.retry", about(t, s));
}

static enum err_code
tell_delete(struct test *t, struct step *s)
{
	return tell(t, "job.delete", about(t, s));
}

static enum err_code
tell_worker(struct test *t, struct step *s)
{
	char path[64], order[80];
	int fd, n;

	snprintf(path, sizeof(path), "books/%d", (int)s->pid);
	n = snprintf(order, sizeof(order), "%s %s\n", id_of(t, s->n), s->word);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	check(fd != -1);
	check_int(write(fd, order, (size_t)n), n);
	close(fd);
	return ERR_NONE;
}

static enum err_code
kill_process(struct test *t, struct step *s)
{
	(void)t;
	check_int(kill(s->pid, SIGKILL), 0);
	return ERR_NONE;
}

static enum err_code
tell_pause(struct test *t, struct step *s)
{
	return tell(t, "pause_queue", json_pack("[s]", runners[s->runner]));
}

static enum err_code
tell_resume(struct test *t, struct step *s)
{
	return tell(t, "resume_queue", json_pack("[s]", runners[s->runner]));
}

static enum err_code
tell_stop(struct test *t, struct step *s)
{
	return tell(t, "stop_runner",
	    json_pack("{s:s, s:b}", "name", runners[s->runner], "drain", 0));
}

static enum err_code
tell_go(struct test *t, struct step *s)
{
	return tell(t, "start_runner", json_pack("[s]", runners[s->runner]));
}

static enum err_code
tell_retry_all(struct test *t, struct step *s)
{
	return tell(t, "jobs.retry",
	    json_pack("{s:s, s:s}", "runner", runners[s->runner], "status",
		"failed"));
}

static enum err_code
tell_purge(struct test *t, struct step *s)
{
	return tell(t, "jobs.purge",
	    json_pack(
		"{s:s, s:s}", "runner", runners[s->runner], "status", "ended"));
}

static enum err_code
tell_cancel_all(struct test *t, struct step *s)
{
	return tell(t, "jobs.purge",
	    json_pack("{s:s, s:s}", "runner", runners[s->runner], "status",
		job_status_word(s->status)));
}

static enum err_code
kill_herod(struct test *t, struct step *s)
{
	(void)s;
	fclose(t->door);
	t->door = NULL;
	herod_kill9(t->h);
	wait_for_redis(t->h);
	return ERR_NONE;
}

/* ---- what the model is told ---- */

static enum err_code
do_create(struct model *m, const struct step *s)
{
	return model_create(m, &s->fresh, s->is_held);
}

static enum err_code
do_start(struct model *m, const struct step *s)
{
	return model_start(m, s->n);
}

static enum err_code
do_cancel(struct model *m, const struct step *s)
{
	return model_cancel(m, s->n);
}

static enum err_code
do_retry(struct model *m, const struct step *s)
{
	return model_retry(m, s->n);
}

static enum err_code
do_delete(struct model *m, const struct step *s)
{
	return model_delete(m, s->n);
}

static enum err_code
do_answer(struct model *m, const struct step *s)
{
	model_answer(m, s->n, s->word);
	return ERR_NONE;
}

static enum err_code
do_die(struct model *m, const struct step *s)
{
	model_die(m, s->with, s->nwith);
	return ERR_NONE;
}

static enum err_code
do_pause(struct model *m, const struct step *s)
{
	model_pause(m, s->runner, true);
	return ERR_NONE;
}

static enum err_code
do_resume(struct model *m, const struct step *s)
{
	model_pause(m, s->runner, false);
	return ERR_NONE;
}

static enum err_code
do_stop(struct model *m, const struct step *s)
{
	model_stop(m, s->runner);
	return ERR_NONE;
}

static enum err_code
do_go(struct model *m, const struct step *s)
{
	model_go(m, s->runner);
	return ERR_NONE;
}

static enum err_code
do_retry_all(struct model *m, const struct step *s)
{
	model_retry_all(m, s->runner);
	return ERR_NONE;
}

static enum err_code
do_purge(struct model *m, const struct step *s)
{
	model_purge(m, s->runner);
	return ERR_NONE;
}

static enum err_code
do_cancel_all(struct model *m, const struct step *s)
{
	model_cancel_all(m, s->runner, s->status);
	return ERR_NONE;
}

/* Nothing of it is to be seen. */
static enum err_code
do_nothing(struct model *m, const struct step *s)
{
	(void)m;
	(void)s;
	return ERR_NONE;
}

/* ---- the steps ---- */

struct way {
	const char *name;
	unsigned weight;
	/* Says what about; false: not now. */
	bool (*choose)(struct test *t, struct step *s);
	enum err_code (*tell)(struct test *t, struct step *s);
	enum err_code (*model)(struct model *m, const struct step *s);
};

static const struct way ways[] = {
    {"create", 60, choose_new, tell_create, do_create},
    {"start", 12, choose_held, tell_start, do_start},
    {"cancel", 12, choose_job, tell_cancel, do_cancel},
    {"retry", 15, choose_job, tell_retry, do_retry},
    {"delete", 20, choose_job, tell_delete, do_delete},
    {"answer", 160, choose_worker, tell_worker, do_answer},
    {"die", 25, choose_victim, kill_process, do_die},
    {"pause", 2, choose_runner, tell_pause, do_pause},
    {"resume", 8, choose_paused, tell_resume, do_resume},
    {"stop", 2, choose_going, tell_stop, do_stop},
    {"go", 8, choose_stopped, tell_go, do_go},
    {"retry all", 1, choose_runner, tell_retry_all, do_retry_all},
    {"purge", 2, choose_runner, tell_purge, do_purge},
    {"cancel all", 1, choose_waiting, tell_cancel_all, do_cancel_all},
    {"kill herod", 2, choose_runner, kill_herod, do_nothing},
};

static void
print_step(struct test *t, const struct way *w, const struct step *s)
{
	const struct model_job *j = &s->fresh;

	printf("%s %s %s %s", w->name, s->n ? id_of(t, s->n) : "",
	    s->word ? s->word : "", runners[s->runner]);
	if (j->n)
		printf(
		    " j%ld %s %s needs %ld %ld key %d retries %d%s%s%s%s%s%s",
		    j->n, runners[j->runner], priorities[j->priority],
		    j->needs[0], j->needs[1], j->key, j->retries,
		    j->backs_off_long ? " long" : "", j->is_far ? " far" : "",
		    j->is_hasty ? " hasty" : "", s->is_held ? " held" : "",
		    s->is_soon ? " soon" : "", s->has_id ? " with id" : "");
	printf("\n");
	fflush(stdout);
}

static void
take_step(struct test *t, const struct way *w, struct step *s)
{
	struct model v[SITUATIONS];
	enum err_code refused, wanted = ERR_NONE;
	size_t i;

	print_step(t, w, s);
	refused = w->tell(t, s);
	for (i = 0; i < SITUATIONS; i++) {
		v[i] = t->model;
		v[i].early = early[i];
		wanted = w->model(&v[i], s);
	}
	check_str(err_row(refused)->name, err_row(wanted)->name);
	settle(t, v);
}

/* False: it was not the time for what the dice said. */
static bool
step(struct test *t)
{
	const char *only = getenv("MODEL_WAYS");
	struct step s = {0};
	const struct way *w = ways;
	unsigned total = 0, n;
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		total += ways[i].weight;
	for (n = dice(t, total); n >= w->weight; w++)
		n -= w->weight;
	if ((only && !strstr(only, w->name)) || !w->choose(t, &s))
		return false;
	take_step(t, w, &s);
	return true;
}

/* ---- the end ---- */

static const struct way *
way(const char *name)
{
	const struct way *w = ways;

	while (strcmp(w->name, name) != 0)
		w++;
	return w;
}

/* One that is not over. */
static struct model_job *
open_job(struct test *t)
{
	struct model_job *j;

	for (j = t->model.jobs; j < t->model.jobs + MODEL_JOBS; j++)
		if (j->n && !job_is_over(j->status))
			return j;
	return NULL;
}

static void
drain(struct test *t)
{
	struct model_job *j;
	struct step s;

	for (s = (struct step){0}; s.runner < RUNNERS; s.runner++) {
		take_step(t, way("resume"), &s);
		if (t->model.stopped[s.runner])
			take_step(t, way("go"), &s);
	}
	while ((j = open_job(t))) {
		s = (struct step){.n = j->n, .word = "good"};
		executions(j, &s.pid);
		take_step(
		    t, way(j->status == JOB_STARTED ? "answer" : "cancel"), &s);
	}
}

static size_t
count_keys(struct test *t, const char *pattern)
{
	redisReply *keys = redisCommand(t->redis, "KEYS %s", pattern);
	size_t n;

	check(keys && keys->type == REDIS_REPLY_ARRAY);
	n = keys->elements;
	freeReplyObject(keys);
	return n;
}

static void
check_counts(struct test *t)
{
	static const char *const left[] = {"hero:work_queue:*", "herod:q:*",
	    "herod:delay:*", "herod:own:*", "herod:uniq:*", "herod:dep:*"};
	enum job_status status;
	size_t i, n;
	json_t *page;

	for (status = 0; status < JOB_STATUSES; status++) {
		for (i = n = 0; i < MODEL_JOBS; i++)
			n += t->model.jobs[i].n &&
			    t->model.jobs[i].status == status;
		page = rpc(t->h, "jobs.list", "{s:s, s:i}", "status",
		    job_status_word(status), "limit", 1000);
		check_int((int)json_array_size(at(page, "jobs")), (int)n);
	}
	for (i = 0; i < RUNNERS; i++)
		check_int(int_at(rpc(t->h, "get_all_status", NULL),
			      text("queues.%s.depth", runners[i])),
		    0);
	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		if (count_keys(t, left[i]) != 0)
			check_fail(__FILE__, __LINE__, "%s is there", left[i]);
}

/* ---- the test ---- */

static long
number_in(const char *variable, long otherwise)
{
	const char *value = getenv(variable);

	return value ? strtol(value, NULL, 10) : otherwise;
}

static void
begin(struct test *t)
{
	const char *s = here("redis.sock"), *build = getenv("HEROD_BUILD");

	t->seed = (unsigned)number_in(
	    "MODEL_SEED", getpid() * 7919L + (long)(check_clock() * 1000));
	printf("MODEL_SEED=%u\n", t->seed);
	check_int(mkdir(here("books"), 0755), 0);
	redis_start(s);
	t->redis = redisConnectUnix(s);
	check(t->redis && !t->redis->err);
	t->h = herod_start_with("", text("--redis_url unix://%s", s),
	    AT_ONCE "startretries = -1\nbackoff_base = 0.02\n"
		    "backoff_max = 0.1\nautorestart = always\n"
		    "job_backoff = 0.01\njob_poison_limit = 2\n"
		    "[runner:exec]\nkind = exec\nnumprocs = 3\n"
		    "command = %s/tests/integration/model_worker %s exec\n"
		    "[runner:stdio]\nkind = stdio\nnumprocs = 2\n"
		    "concurrency = 2\n"
		    "command = %s/tests/integration/model_worker %s stdio\n",
	    build, here("books"), build, here("books"));
	wait_for_redis(t->h);
}

void
test_jobs_live_as_the_model_says(void)
{
	struct test t = {0};
	long steps = number_in("MODEL_STEPS", 600);

	begin(&t);
	while (steps > 0)
		steps -= step(&t);
	drain(&t);
	check_counts(&t);
	printf("%ld jobs\n", t.made);
	fclose(t.door);
	free(t.line);
	redisFree(t.redis);
	herod_stop(t.h);
}
