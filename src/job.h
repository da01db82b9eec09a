/*
 * A job: what was asked (job.def) and what became of it; as JSON for
 * callers, as a Redis hash for everybody, as a request for stdio workers.
 *
 * In the hash "status" holds Hero's words only and "reason" refines them;
 * callers see the refined word.  Both come from one table here.
 */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "err.h"
#include "redis.h"
#include "settings.h"

enum job_status {
	JOB_CREATED,
	JOB_WAITING, /* for its prerequisites */
	JOB_SCHEDULED, /* for its time */
	JOB_DISPATCHED,
	JOB_STARTED,
	JOB_STOPPING,
	JOB_FINISHED,
	JOB_ERROR,
	JOB_TIMEOUT,
	JOB_CANCELLED,
	JOB_QUARANTINED,
	JOB_STATUSES
};

struct job;

/* spec.priority, in the order of job.def. */
enum job_priority { JOB_NORMAL, JOB_HIGH, JOB_LOW, JOB_PRIORITIES };
const char *job_priority_word(const struct job *j);

#define JOB_PREREQUISITES_MAX 32
#define JOB_TIME_SIZE 40 /* others write times longer than we do */

/* What stands in the hash as JSON text. */
enum job_text {
	JOB_TEXT_ENV_VARS,
	JOB_TEXT_PREREQUISITES,
	JOB_TEXT_TAGS,
	JOB_TEXT_METADATA,
	JOB_TEXTS
};

/* How the process of its last attempt ended. */
struct job_exit {
	bool known;
	bool oom; /* the kernel ended it for lack of memory */
	bool has_usage; /* the process was its alone, and user and system are
			 * known */
	int status; /* as by wait(2) */
	long long max_rss; /* bytes; 0: not known */
	double user, system; /* seconds of CPU, of its children, too */
	/* All of it as in the hash: "STATUS OOM MAX_RSS", and with has_usage
	 * "USER SYSTEM" in microseconds. */
	char *text; /* or NULL */
};

struct child;
/* Its text is freed with the job.  Nothing is known of one that never began.
 * alone: it did this job only. */
void job_exit_of(struct job_exit *e, const struct child *c, bool alone);

struct job {
	struct job_spec spec;
	size_t payload_len; /* a foreign payload may hold any bytes */
	char *texts[JOB_TEXTS]; /* of the spec, as JSON, or NULL */
	char *queue;
	bool foreign; /* queued the Hero way, without herod */
	bool external; /* a program that draws itself has it */
	enum job_status status;
	long long epoch, sequence; /* of the claim we hold it by */
	long long attempts; /* begun, but for those that do not count */
	long long deaths;
	long long retries_done, deferrals; /* tried again; asked for later */
	long long due; /* not before; Unix ms, 0: at once */
	char *result; /* NULL: none */
	size_t result_len;
	char *error;
	struct job_exit exit;
	char *last_lines; /* of its log, before a bad end; or NULL */
	char *node;
	long long instance; /* -1: none */
	/* RFC 3339 as they stand in the hash, "" when not yet. */
	char created_at[JOB_TIME_SIZE];
	char started_at[JOB_TIME_SIZE];
	char finished_at[JOB_TIME_SIZE];
	/* Reported by a stdio worker; not kept in Redis. */
	double progress; /* < 0: none */
	char *progress_text;
};

struct job *job_new(void);
void job_free(struct job *j);

/* Refuses: there is none of that id, or none any more. */
void job_refuse_missing(const char *id, struct err *e);

/* What a caller says: settings of job.def; Hero's older "script" is read
 * as payload.  All or nothing. */
int job_read(struct job *j, const json_t *object, struct err *e);

/* The schema Job; brief leaves payload, result and variables out. */
json_t *job_json(const struct job *j, bool brief);

/* {"success": result} or {"error": why}: the schema JobOutcome, of a job that
 * is over; for call_reply_by() (rpc.h). */
struct sink;
int job_write_outcome(struct sink *s, void *job);

/* One line for a stdio worker's stdin, with its newline; free(3) it.  Its id
 * is the job's, with #N behind it at the N-th try (retries and deferrals; from
 * 2), so that no answer counts for another one. */
char *job_request(const struct job *j, size_t *len);
#define JOB_REQUEST_ID_SIZE 160
const char *job_request_id(const struct job *j, char buf[JOB_REQUEST_ID_SIZE]);
bool job_is_request_id(const struct job *j, const char *id);

/* Environment of an exec job as a strv: what was asked, then JOB_ID,
 * CALLER_ID, CONTEXT_ID; free with strv_free(). */
char **job_environment(const struct job *j);

/* Keeps stdout or a worker's text as the result: without one final
 * newline when trim, always UTF-8 without NUL. */
void job_set_result(struct job *j, const char *text, size_t len, bool trim);
void job_set_error(struct job *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Nothing but a free slot keeps a new one from its beginning. */
bool job_stands_in_line(const struct job *j);

/* How long it waits before it is tried again, the n-th time (from 1): backoff,
 * doubled each time, a tenth more or less, up to JOB_BACKOFF_MAX.  Seconds. */
#define JOB_BACKOFF_MAX 3600.0
double job_backoff(double backoff, long long n);

/* ---- statuses ---- */

const char *job_status_word(enum job_status s); /* refined: "cancelled" */
const char *job_hero_word(enum job_status s); /* Hero's: "error" */
/* A reason that does not refine that word is left over, and not heeded. */
enum job_status job_status_of(const char *hero_word, const char *reason);
bool job_is_over(enum job_status s);

/* The only way to a new status; refuses what the table of legal moves does
 * not have.  Returns 0 or -1. */
int job_move(struct job *j, enum job_status to, struct err *e);

/* ---- the hash ---- */

/* Appends field, value pairs: all that was asked / what a claim sets / what
 * an end sets.  They point into j. */
void job_put_asked(const struct job *j, struct redis_words *w);
void job_put_started(const struct job *j, struct redis_words *w);
void job_put_over(const struct job *j, struct redis_words *w);
/* What an attempt that failed leaves. */
void job_put_failed(const struct job *j, struct redis_words *w);

/* From HGETALL's flat array; unknown fields are passed over.  NULL when it
 * is no job (no fields). */
struct job *job_from_hash(const char *id, const struct redis_reply *fields);

/* One field, as job_from_hash() reads it. */
void job_set_field(
    struct job *j, const char *name, const char *value, size_t len);

#endif
