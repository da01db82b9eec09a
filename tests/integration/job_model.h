/*
 * What must hold of jobs: a model of their life in plain C, for
 * job_model_test.
 *
 * Which status may follow which is the table in src/job.c: each move of the
 * model is made by job_move(), and one that the table does not have ends the
 * test.  Only job.retry makes a job new again, which is no move.
 *
 * A step leads to one of some situations: whether a free slot took its next
 * jobs before or after what the step itself put into the queue is not promised.
 */
#ifndef JOB_MODEL_H
#define JOB_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "job.h"

enum model_runner { EXEC, STDIO, RUNNERS };

#define MODEL_JOBS 40 /* at a time */
#define MODEL_SLOTS \
	{ \
		3, 4 \
	} /* of the runners */
#define MODEL_POISON 2 /* job_poison_limit */
#define MODEL_NEEDS 2

struct model_job {
	long n; /* in the order of their making, from 1; 0: a free place */
	char id[UUID_SIZE];
	enum model_runner runner;
	enum job_priority priority;
	enum job_status status;
	long needs[MODEL_NEEDS]; /* its prerequisites; 0: none */
	char key; /* its unique key; 0: none */
	int retries;
	bool backs_off_long; /* another attempt never comes by itself */
	bool is_far; /* nor does its time */
	bool is_hasty; /* its time is up as soon as it begins */
	long long attempts, deaths, retries_done;
	long begun; /* executions */
	long turn; /* the last of them, among all */
	const char *error; /* a part of it; NULL: none, "": not known */
};

struct model {
	struct model_job jobs[MODEL_JOBS];
	/* n of the jobs in each row, the first first. */
	long rows[RUNNERS][JOB_PRIORITIES][MODEL_JOBS];
	size_t nrow[RUNNERS][JOB_PRIORITIES];
	size_t hands[RUNNERS]; /* jobs in hand */
	long turns;
	bool paused[RUNNERS], stopped[RUNNERS];
	/* This step put its jobs back in an order that is not promised. */
	bool is_loose[RUNNERS];
	/* So many jobs go into a free slot first (hasty ones leave it again).
	 */
	size_t early;
};

/* NULL: there is none, or none any more. */
struct model_job *model_find(struct model *m, long n);

bool model_is_failed(const struct model_job *j); /* may be tried again */

/* The end of one job would let two into the same row, in an order that is not
 * promised. */
bool model_would_tie(struct model *m, const struct model_job *j);

/* Each of these is one step, or the refusal that must come. */
enum err_code model_create(
    struct model *m, const struct model_job *fresh, bool held);
enum err_code model_start(struct model *m, long n);
enum err_code model_cancel(struct model *m, long n);
enum err_code model_retry(struct model *m, long n);
enum err_code model_delete(struct model *m, long n);

/* Steps that are not refused.  word: as model_worker.c has it. */
void model_answer(struct model *m, long n, const char *word);
/* The process of these jobs was killed; in the order in which they began. */
void model_die(struct model *m, const long *ns, size_t count);
void model_pause(struct model *m, enum model_runner r, bool pause);
void model_stop(struct model *m, enum model_runner r);
void model_go(struct model *m, enum model_runner r);
/* Of a runner, in bulk: those that failed but for the cancelled ones; those
 * that are over; those of a status in which they wait. */
void model_retry_all(struct model *m, enum model_runner r);
void model_purge(struct model *m, enum model_runner r);
void model_cancel_all(
    struct model *m, enum model_runner r, enum job_status status);

#endif
