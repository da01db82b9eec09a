/* See job_model.h. */
#include "job_model.h"

#include <string.h>

#include "check.h"

/* ---- jobs and rows ---- */

struct model_job *
model_find(struct model *m, long n)
{
	size_t i;

	for (i = 0; n > 0 && i < MODEL_JOBS; i++)
		if (m->jobs[i].n == n)
			return &m->jobs[i];
	return NULL;
}

/* In the order of their making: the next behind n. */
static struct model_job *
next(struct model *m, long n)
{
	struct model_job *best = NULL, *j;

	for (j = m->jobs; j < m->jobs + MODEL_JOBS; j++)
		if (j->n > n && (!best || j->n < best->n))
			best = j;
	return best;
}

bool
model_is_failed(const struct model_job *j)
{
	return job_is_over(j->status) && j->status != JOB_FINISHED;
}

static void
move(struct model_job *j, enum job_status to)
{
	struct job scratch = {.spec.id = j->id, .status = j->status};
	struct err e = {0};

	if (job_move(&scratch, to, &e) == -1)
		check_fail(__FILE__, __LINE__, "the table says: %s", e.text);
	j->status = to;
}

static void
push(struct model *m, const struct model_job *j, bool head)
{
	long *row = m->rows[j->runner][j->priority];
	size_t *n = &m->nrow[j->runner][j->priority];

	if (head)
		memmove(row + 1, row, *n * sizeof(*row));
	row[head ? 0 : *n] = j->n;
	++*n;
}

static void
take_out(struct model *m, const struct model_job *j)
{
	long *row = m->rows[j->runner][j->priority];
	size_t *n = &m->nrow[j->runner][j->priority], i;

	for (i = 0; i < *n; i++)
		if (row[i] == j->n) {
			--*n;
			memmove(row + i, row + i + 1, (*n - i) * sizeof(*row));
			return;
		}
}

static struct model_job *
first(struct model *m, enum model_runner r)
{
	static const enum job_priority order[] = {
	    JOB_HIGH, JOB_NORMAL, JOB_LOW};
	size_t i;

	for (i = 0; i < JOB_PRIORITIES; i++)
		if (m->nrow[r][order[i]] > 0)
			return model_find(m, m->rows[r][order[i]][0]);
	return NULL;
}

/* ---- to begin and to end ---- */

static void over(struct model *m, struct model_job *j, const char *error);

static void
fill_most(struct model *m, enum model_runner r, size_t most)
{
	static const size_t slots[RUNNERS] = MODEL_SLOTS;
	struct model_job *j;

	while (most-- > 0 && !m->paused[r] && !m->stopped[r] &&
	    m->hands[r] < slots[r] && (j = first(m, r))) {
		take_out(m, j);
		move(j, JOB_STARTED);
		j->error = NULL;
		j->attempts++;
		j->begun++;
		j->turn = ++m->turns;
		if (j->is_hasty) {
			move(j, JOB_TIMEOUT);
			over(m, j, "timeout after");
		} else {
			m->hands[r]++;
		}
	}
}

static void
fill(struct model *m, enum model_runner r)
{
	fill_most(m, r, MODEL_JOBS);
}

static void
fill_all(struct model *m)
{
	enum model_runner r;

	for (r = 0; r < RUNNERS; r++)
		fill(m, r);
}

static void
leave(struct model *m, const struct model_job *j)
{
	m->hands[j->runner]--;
	fill_most(m, j->runner, m->early);
}

static void
dispatch(struct model *m, struct model_job *j)
{
	j->error = NULL;
	if (j->is_far) {
		move(j, JOB_SCHEDULED);
	} else {
		move(j, JOB_DISPATCHED);
		push(m, j, false);
	}
}

static bool
needs(const struct model_job *j, long n)
{
	return j->needs[0] == n || j->needs[1] == n;
}

/* So many that it waits for have not finished. */
static int
left(struct model *m, const struct model_job *j)
{
	const struct model_job *other;
	int i, n = 0;

	for (i = 0; i < MODEL_NEEDS; i++) {
		other = model_find(m, j->needs[i]);
		n += other && !job_is_over(other->status) &&
		    (i == 0 || j->needs[i] != j->needs[0]);
	}
	return n;
}

/* Its status is set: now those that wait for it. */
static void
over(struct model *m, struct model_job *j, const char *error)
{
	struct model_job *other;

	j->error = error;
	for (other = m->jobs; other < m->jobs + MODEL_JOBS; other++) {
		if (!other->n || other->status != JOB_WAITING ||
		    !needs(other, j->n))
			continue;
		if (j->status == JOB_FINISHED) {
			if (left(m, other) == 0)
				dispatch(m, other);
		} else {
			move(other, JOB_ERROR);
			over(m, other, "did not finish");
		}
	}
}

bool
model_would_tie(struct model *m, const struct model_job *j)
{
	const struct model_job *other;
	int i;

	for (other = m->jobs; other < m->jobs + MODEL_JOBS; other++)
		for (i = 0; i < MODEL_NEEDS; i++)
			if (other->n && other->n != j->n &&
			    other->status == JOB_WAITING &&
			    other->runner == j->runner &&
			    other->priority == j->priority && j->needs[i] &&
			    needs(other, j->needs[i]))
				return true;
	return false;
}

/* ---- to make ---- */

static bool
is_key_taken(struct model *m, const struct model_job *by)
{
	const struct model_job *j;

	for (j = m->jobs; by->key && j < m->jobs + MODEL_JOBS; j++)
		if (j->n && j->n != by->n && j->key == by->key &&
		    j->runner == by->runner && !job_is_over(j->status))
			return true;
	return false;
}

static enum err_code
hindrance(struct model *m, const struct model_job *j)
{
	const struct model_job *other;
	int i;

	for (i = 0; i < MODEL_NEEDS; i++) {
		other = model_find(m, j->needs[i]);
		if (j->needs[i] && !other)
			return ERR_NO_JOB;
		if (other && model_is_failed(other))
			return ERR_ILLEGAL_MOVE;
	}
	return ERR_NONE;
}

static void
enqueue(struct model *m, struct model_job *j)
{
	if (left(m, j) > 0)
		move(j, JOB_WAITING);
	else
		dispatch(m, j);
	fill_all(m);
}

enum err_code
model_create(struct model *m, const struct model_job *fresh, bool held)
{
	struct model_job *j = m->jobs;
	enum err_code refused;

	if (is_key_taken(m, fresh))
		return ERR_DUPLICATE;
	if ((refused = hindrance(m, fresh)) != ERR_NONE)
		return refused;
	while (j->n)
		j++;
	*j = *fresh;
	j->status = JOB_CREATED;
	if (!held)
		enqueue(m, j);
	return ERR_NONE;
}

enum err_code
model_start(struct model *m, long n)
{
	struct model_job *j = model_find(m, n);
	enum err_code refused;

	if (!j)
		return ERR_NO_JOB;
	if (j->status != JOB_CREATED)
		return ERR_ILLEGAL_MOVE;
	if ((refused = hindrance(m, j)) != ERR_NONE)
		return refused;
	enqueue(m, j);
	return ERR_NONE;
}

/* ---- to end early, and again ---- */

static void
cancel(struct model *m, struct model_job *j)
{
	bool started = j->status == JOB_STARTED;

	take_out(m, j);
	if (started)
		move(j, JOB_STOPPING);
	move(j, JOB_CANCELLED);
	if (started)
		leave(m, j);
	over(m, j, "cancelled");
}

enum err_code
model_cancel(struct model *m, long n)
{
	struct model_job *j = model_find(m, n);

	if (!j)
		return ERR_NO_JOB;
	if (j->status == JOB_CANCELLED)
		return ERR_NONE; /* it is so */
	if (job_is_over(j->status))
		return ERR_ILLEGAL_MOVE;
	cancel(m, j);
	fill_all(m);
	return ERR_NONE;
}

static enum err_code
retry(struct model *m, struct model_job *j)
{
	if (!model_is_failed(j))
		return ERR_ILLEGAL_MOVE;
	if (is_key_taken(m, j))
		return ERR_DUPLICATE;
	j->status = JOB_CREATED;
	j->is_far = false;
	j->attempts = j->deaths = j->retries_done = 0;
	memset(j->needs, 0, sizeof(j->needs));
	dispatch(m, j);
	return ERR_NONE;
}

enum err_code
model_retry(struct model *m, long n)
{
	struct model_job *j = model_find(m, n);
	enum err_code refused = j ? retry(m, j) : ERR_NO_JOB;

	fill_all(m);
	return refused;
}

enum err_code
model_delete(struct model *m, long n)
{
	struct model_job *j = model_find(m, n);

	if (!j)
		return ERR_NO_JOB;
	if (!job_is_over(j->status))
		return ERR_ILLEGAL_MOVE;
	j->n = 0;
	return ERR_NONE;
}

void
model_retry_all(struct model *m, enum model_runner r)
{
	struct model_job *j = NULL;

	while ((j = next(m, j ? j->n : 0)))
		if (j->runner == r && j->status != JOB_CANCELLED)
			retry(m, j);
	fill_all(m);
}

void
model_purge(struct model *m, enum model_runner r)
{
	struct model_job *j;

	for (j = m->jobs; j < m->jobs + MODEL_JOBS; j++)
		if (j->runner == r && job_is_over(j->status))
			j->n = 0;
}

void
model_cancel_all(struct model *m, enum model_runner r, enum job_status status)
{
	struct model_job *j = NULL;

	while ((j = next(m, j ? j->n : 0)))
		if (j->runner == r && j->status == status)
			cancel(m, j);
	fill_all(m);
}

/* ---- what workers do ---- */

static void
try_later(struct model *m, struct model_job *j, bool soon, const char *error)
{
	move(j, JOB_SCHEDULED);
	j->error = error;
	leave(m, j);
	if (soon) {
		move(j, JOB_DISPATCHED);
		j->error = NULL;
		push(m, j, false);
	}
}

static void
end(struct model *m, struct model_job *j, enum job_status how,
    const char *error)
{
	move(j, how);
	leave(m, j);
	over(m, j, error);
}

void
model_answer(struct model *m, long n, const char *word)
{
	struct model_job *j = model_find(m, n);
	bool is_fatal = strcmp(word, "fatal") == 0;
	const char *error = j->runner == STDIO ? word
	    : is_fatal			       ? "exit 65"
					       : "exit 1";

	if (strcmp(word, "good") == 0) {
		end(m, j, JOB_FINISHED, NULL);
	} else if (strstr(word, "later")) {
		j->attempts--;
		try_later(m, j, strcmp(word, "later") == 0, "");
	} else if (!is_fatal && j->retries_done < j->retries) {
		j->retries_done++;
		try_later(m, j, !j->backs_off_long, error);
	} else {
		end(m, j, JOB_ERROR, error);
	}
	fill_all(m);
}

static void
back(struct model *m, struct model_job *j)
{
	move(j, JOB_DISPATCHED);
	j->error = NULL;
	m->hands[j->runner]--;
	push(m, j, true);
}

void
model_die(struct model *m, const long *ns, size_t count)
{
	struct model_job *j;

	/* The last first, so that the first stands at the head. */
	while (count-- > 0) {
		j = model_find(m, ns[count]);
		if (++j->deaths < MODEL_POISON) {
			back(m, j);
			continue;
		}
		move(j, JOB_QUARANTINED);
		m->hands[j->runner]--;
		over(m, j, "quarantined: 2 workers");
	}
	fill_all(m);
}

/* ---- runners and queues ---- */

void
model_pause(struct model *m, enum model_runner r, bool pause)
{
	m->paused[r] = pause;
	fill_all(m);
}

void
model_stop(struct model *m, enum model_runner r)
{
	struct model_job *j;

	m->stopped[r] = m->is_loose[r] = true;
	for (j = m->jobs; j < m->jobs + MODEL_JOBS; j++)
		if (j->n && j->runner == r && j->status == JOB_STARTED) {
			j->attempts--;
			back(m, j);
		}
}

void
model_go(struct model *m, enum model_runner r)
{
	m->stopped[r] = false;
	fill_all(m);
}
