/* Jobs: their three forms, their statuses, their legal moves. */
#include "job.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <ev.h>

#include "child.h"
#include "env_vars.h"
#include "jsonrpc.h"
#include "mem.h"

/* ---- statuses ---- */

#define TO(status) (1u << JOB_##status)

static const struct {
	const char *word, *hero;
	unsigned moves; /* where it may go from here */
} statuses[JOB_STATUSES] = {
    [JOB_CREATED] = {"created", "created",
	TO(WAITING) | TO(SCHEDULED) | TO(DISPATCHED) | TO(STARTED) |
	    TO(CANCELLED)},
    [JOB_WAITING] = {"waiting_for_prerequisites", "waiting_for_prerequisites",
	TO(SCHEDULED) | TO(DISPATCHED) | TO(ERROR) | TO(CANCELLED)},
    [JOB_SCHEDULED] = {"scheduled", "created", TO(DISPATCHED) | TO(CANCELLED)},
    [JOB_DISPATCHED] = {"dispatched", "dispatched",
	TO(STARTED) | TO(CANCELLED)},
    [JOB_STARTED] = {"started", "started",
	TO(SCHEDULED) | TO(DISPATCHED) | TO(STOPPING) | TO(FINISHED) |
	    TO(ERROR) | TO(TIMEOUT) | TO(QUARANTINED)},
    /* The end may have come before the worker heard of the cancel. */
    [JOB_STOPPING] = {"stopping", "stopping",
	TO(FINISHED) | TO(ERROR) | TO(TIMEOUT) | TO(CANCELLED)},
    [JOB_FINISHED] = {"finished", "finished", 0},
    [JOB_ERROR] = {"error", "error", 0},
    [JOB_TIMEOUT] = {"timeout", "error", 0},
    [JOB_CANCELLED] = {"cancelled", "error", 0},
    [JOB_QUARANTINED] = {"quarantined", "error", 0},
};

const char *
job_status_word(enum job_status s)
{
	return statuses[s].word;
}

const char *
job_hero_word(enum job_status s)
{
	return statuses[s].hero;
}

bool
job_is_over(enum job_status s)
{
	return !statuses[s].moves;
}

enum job_status
job_status_of(const char *hero_word, const char *reason)
{
	enum job_status s;

	for (s = 0; reason && s < JOB_STATUSES; s++)
		if (!strcmp(statuses[s].word, reason) &&
		    !strcmp(statuses[s].hero, hero_word))
			return s;
	for (s = 0; s < JOB_STATUSES; s++)
		if (!strcmp(statuses[s].word, hero_word))
			return s;
	return JOB_CREATED;
}

int
job_move(struct job *j, enum job_status to, struct err *e)
{
	if (!(statuses[j->status].moves & 1u << to)) {
		err_set(e, ERR_ILLEGAL_MOVE, "job %s is %s and cannot be %s",
		    j->spec.id, statuses[j->status].word, statuses[to].word);
		return err_subject(e, j->spec.id);
	}
	j->status = to;
	return 0;
}

/* ---- when ---- */

/* In the order of job.def. */
static const char *const priorities[] = {"normal", "high", "low"};

const char *
job_priority_word(const struct job *j)
{
	return priorities[j->spec.priority];
}

bool
job_stands_in_line(const struct job *j)
{
	return j->due <= 0 && !j->spec.prerequisites && !j->spec.unique_key &&
	    !j->spec.concurrency_key && j->spec.priority == JOB_NORMAL;
}

double
job_backoff(double backoff, long long n)
{
	double delay = backoff * exp2((double)(n > 40 ? 40 : n) - 1);

	delay *= 0.9 + 0.2 * arc4random_uniform(1001) / 1000;
	return fmin(delay, JOB_BACKOFF_MAX);
}

/* ---- making ---- */

struct job *
job_new(void)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->instance = j->progress = -1;
	return j;
}

void
job_free(struct job *j)
{
	size_t t;

	if (!j)
		return;
	settings_clear(job_settings, &j->spec);
	for (t = 0; t < JOB_TEXTS; t++)
		free(j->texts[t]);
	free(j->queue);
	free(j->result);
	free(j->error);
	free(j->last_lines);
	free(j->exit.text);
	free(j->node);
	free(j->progress_text);
	free(j);
}

void
job_refuse_missing(const char *id, struct err *e)
{
	err_set(e, ERR_NO_JOB, "there is no job %s", id);
	err_hint(e, "ended jobs are forgotten after their result_ttl");
	err_subject(e, id);
}

static const struct {
	const char *name;
	struct kind kind;
	size_t offset;
} text_fields[JOB_TEXTS] = {
#define SPEC(name, type) \
	{ \
#name, {type, NULL }, offsetof(struct job, spec.name) \
	}
    [JOB_TEXT_ENV_VARS] = SPEC(env_vars, TYPE_MAP),
    [JOB_TEXT_PREREQUISITES] = SPEC(prerequisites, TYPE_LIST),
    [JOB_TEXT_TAGS] = SPEC(tags, TYPE_LIST),
    [JOB_TEXT_METADATA] = SPEC(metadata, TYPE_OBJECT),
#undef SPEC
};

/* Null when it was not given. */
static json_t *
spec_json(const struct job *j, enum job_text t)
{
	const void *at = (const char *)j + text_fields[t].offset;

	return *(void *const *)at ? type_fetch(&text_fields[t].kind, at)
				  : json_null();
}

static void
make_text(struct job *j, enum job_text t)
{
	json_t *value = spec_json(j, t);

	free(j->texts[t]);
	j->texts[t] =
	    json_is_null(value) ? NULL : json_dumps(value, JSON_COMPACT);
	json_decref(value);
}

/* What is not so is passed over. */
static void
read_text(struct job *j, enum job_text t, const char *value, size_t len)
{
	json_t *given = json_loadb(value, len, 0, NULL), *canonical;
	const struct kind *kind = &text_fields[t].kind;

	canonical =
	    given ? type_check(kind, text_fields[t].name, given, NULL) : NULL;
	if (canonical) {
		type_store(kind, (char *)j + text_fields[t].offset, canonical);
		free(j->texts[t]);
		j->texts[t] = xstrndup(value, len);
	}
	json_decref(canonical);
	json_decref(given);
}

/* ---- what was asked ---- */

/* delay and run_at are two ways to say one thing. */
static int
read_due(struct job *j, struct err *e)
{
	double at = ev_time() + j->spec.delay;

	if (j->spec.run_at && j->spec.delay > 0)
		return err_set(
		    e, ERR_PARAMS, "job: it has both delay and run_at");
	if (j->spec.run_at && !text_time(j->spec.run_at, &at))
		return err_set(e, ERR_PARAMS,
		    "run_at: '%.60s' is not a time such as "
		    "2026-11-22T20:33:43Z",
		    j->spec.run_at);
	if (j->spec.run_at || j->spec.delay > 0)
		j->due = llround(at * 1000);
	return 0;
}

static int
check_prerequisites(const struct job *j, struct err *e)
{
	char *const *id;

	for (id = j->spec.prerequisites; id && *id; id++)
		if (!id_is_valid(*id))
			return err_set(e, ERR_PARAMS,
			    "prerequisites: '%.130s' is not the id of a job",
			    *id);
	if (j->spec.prerequisites &&
	    id - j->spec.prerequisites > JOB_PREREQUISITES_MAX)
		return err_set(e, ERR_PARAMS,
		    "prerequisites: %zu; wanted at most %d",
		    (size_t)(id - j->spec.prerequisites),
		    JOB_PREREQUISITES_MAX);
	return 0;
}

int
job_read(struct job *j, const json_t *object, struct err *e)
{
	json_t *script = json_object_get(object, "script"), *renamed = NULL;
	enum job_text t;
	int result;

	if (script && !json_object_get(object, "payload")) {
		renamed = json_copy((json_t *)object);
		json_object_set(renamed, "payload", script);
		json_object_del(renamed, "script");
		object = renamed;
	}
	settings_init(job_settings, &j->spec);
	result = settings_from_json(job_settings, &j->spec, object, e);
	json_decref(renamed);
	if (result == 0)
		result = env_vars_check(j->spec.env_vars, e) ||
			check_prerequisites(j, e) || read_due(j, e)
		    ? -1
		    : 0;
	j->payload_len = j->spec.payload ? strlen(j->spec.payload) : 0;
	for (t = 0; t < JOB_TEXTS; t++)
		make_text(j, t);
	return result;
}

/* ---- what callers see ---- */

static json_t *
time_json(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *
string_json(const char *text)
{
	return text ? text_json(text, strlen(text)) : json_null();
}

static json_t *
exit_json(const struct job *j)
{
	const struct job_exit *e = &j->exit;
	bool exited = WIFEXITED(e->status);
	char name[16];

	if (!e->known)
		return json_null();
	return json_pack("{s:o, s:o, s:b, s:b, s:o, s:o}", "code",
	    exited ? json_integer(WEXITSTATUS(e->status)) : json_null(),
	    "signal",
	    exited ? json_null()
		   : json_string(signal_name(WTERMSIG(e->status), name)),
	    "core", !exited && WCOREDUMP(e->status), "oom", e->oom, "max_rss",
	    e->max_rss > 0 ? json_integer(e->max_rss) : json_null(), "at",
	    time_json(j->finished_at));
}

static json_t *
rusage_json(const struct job_exit *e)
{
	if (!e->has_usage)
		return json_null();
	return json_pack("{s:f, s:f, s:I}", "user", e->user, "system",
	    e->system, "max_rss", (json_int_t)e->max_rss);
}

/* [text...] of the lines; null: none. */
static json_t *
lines_json(const char *lines)
{
	json_t *list = lines ? json_array() : json_null();
	size_t len;

	for (; lines; lines = lines[len] ? lines + len + 1 : NULL) {
		len = strcspn(lines, "\n");
		json_array_append_new(list, text_json(lines, len));
	}
	return list;
}

static void
add_long_members(const struct job *j, json_t *o)
{
	json_object_set_new(o, "payload",
	    text_json(j->spec.payload ? j->spec.payload : "", j->payload_len));
	json_object_set_new(o, "result",
	    j->result ? text_json(j->result, j->result_len) : json_null());
	json_object_set_new(o, "last_lines", lines_json(j->last_lines));
	json_object_set_new(o, "env_vars", spec_json(j, JOB_TEXT_ENV_VARS));
	json_object_set_new(o, "metadata", spec_json(j, JOB_TEXT_METADATA));
}

static json_t *
due_json(const struct job *j)
{
	char text[TIME_TEXT_SIZE];

	return j->due > 0 ? json_string(time_text((double)j->due / 1000, text))
			  : json_null();
}

/* What steers when it begins, and again. */
static void
add_plan(const struct job *j, json_t *o)
{
	json_object_set_new(o, "run_at", due_json(j));
	json_object_set_new(o, "priority", json_string(job_priority_word(j)));
	json_object_set_new(
	    o, "prerequisites", spec_json(j, JOB_TEXT_PREREQUISITES));
	json_object_set_new(o, "unique_key", string_json(j->spec.unique_key));
	json_object_set_new(
	    o, "concurrency_key", string_json(j->spec.concurrency_key));
	json_object_set_new(o, "retries",
	    json_integer(j->spec.retries > 0 ? j->spec.retries : 0));
	json_object_set_new(o, "retries_done", json_integer(j->retries_done));
	json_object_set_new(o, "tags", spec_json(j, JOB_TEXT_TAGS));
}

json_t *
job_json(const struct job *j, bool brief)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", string_json(j->spec.id));
	json_object_set_new(o, "runner", string_json(j->spec.runner));
	json_object_set_new(o, "queue", string_json(j->queue));
	json_object_set_new(
	    o, "status", json_string(job_status_word(j->status)));
	json_object_set_new(o, "caller_id", string_json(j->spec.caller_id));
	json_object_set_new(o, "context_id", string_json(j->spec.context_id));
	json_object_set_new(o, "executor", string_json(j->spec.executor));
	json_object_set_new(o, "timeout", json_real(j->spec.timeout));
	json_object_set_new(o, "attempts", json_integer(j->attempts));
	json_object_set_new(o, "deaths", json_integer(j->deaths));
	add_plan(j, o);
	json_object_set_new(o, "error", string_json(j->error));
	json_object_set_new(o, "exit", exit_json(j));
	json_object_set_new(o, "rusage", rusage_json(&j->exit));
	json_object_set_new(o, "node", string_json(j->node));
	json_object_set_new(o, "instance",
	    j->instance < 0 ? json_null() : json_integer(j->instance));
	json_object_set_new(o, "created_at", time_json(j->created_at));
	json_object_set_new(o, "started_at", time_json(j->started_at));
	json_object_set_new(o, "finished_at", time_json(j->finished_at));
	if (j->progress >= 0)
		json_object_set_new(o, "progress",
		    json_pack("{s:f, s:o}", "fraction", j->progress, "message",
			string_json(j->progress_text)));
	if (!brief)
		add_long_members(j, o);
	return o;
}

static int
write_error(struct sink *s, const struct job *j)
{
	const char *error = j->error ? j->error : job_status_word(j->status);

	sink_literal(s, "{\"error\":");
	return sink_bytes(s, error, strlen(error));
}

static int
write_success(struct sink *s, const struct job *j)
{
	sink_literal(s, "{\"success\":");
	return sink_bytes(s, j->result ? j->result : "", j->result_len);
}

int
job_write_outcome(struct sink *s, void *job)
{
	const struct job *j = job;
	int failed =
	    j->status == JOB_FINISHED ? write_success(s, j) : write_error(s, j);

	sink_literal(s, "}");
	return failed;
}

/* ---- what workers get ---- */

/* A worker may get the same job again after it has answered: it is the N-th
 * time then. */
const char *
job_request_id(const struct job *j, char buf[JOB_REQUEST_ID_SIZE])
{
	long long before = j->retries_done + j->deferrals;

	if (before == 0)
		strlcpy(buf, j->spec.id, JOB_REQUEST_ID_SIZE);
	else
		snprintf(buf, JOB_REQUEST_ID_SIZE, "%s#%lld", j->spec.id,
		    before + 1);
	return buf;
}

bool
job_is_request_id(const struct job *j, const char *id)
{
	char buf[JOB_REQUEST_ID_SIZE];

	return strcmp(job_request_id(j, buf), id) == 0;
}

static void
put_name(struct sink *s, const char *name)
{
	sink_literal(s, ",\"");
	sink_put(s, name, strlen(name));
	sink_literal(s, "\":");
}

static void
put_text(struct sink *s, const char *name, const char *text)
{
	if (!text)
		return;
	put_name(s, name);
	sink_bytes(s, text, strlen(text));
}

static void
put_seconds(struct sink *s, double n)
{
	json_t *real;

	if (is_whole(n)) {
		sink_number(s, (int)n);
		sink_literal(s, ".0");
		return;
	}
	real = json_real(n);
	sink_value(s, real);
	json_decref(real);
}

/* What of the job few have. */
static void
put_extras(struct sink *s, const struct job *j)
{
	enum job_text t;
	json_t *value;

	put_text(s, "caller_id", j->spec.caller_id);
	put_text(s, "context_id", j->spec.context_id);
	put_text(s, "executor", j->spec.executor);
	for (t = 0; t < JOB_TEXTS; t++) {
		if (!j->texts[t] || t == JOB_TEXT_PREREQUISITES)
			continue;
		put_name(s, text_fields[t].name);
		value = spec_json(j, t);
		sink_value(s, value);
		json_decref(value);
	}
}

/* By hand: as a tree of JSON it would take a quarter of all the time that a
 * small job costs herod. */
char *
job_request(const struct job *j, size_t *len)
{
	char id[JOB_REQUEST_ID_SIZE];
	struct sink s = {0};

	sink_literal(
	    &s, "{\"jsonrpc\":\"2.0\",\"method\":\"run\",\"params\":{\"id\":");
	sink_bytes(&s, j->spec.id, strlen(j->spec.id));
	sink_literal(&s, ",\"payload\":");
	sink_bytes(&s, j->spec.payload ? j->spec.payload : "", j->payload_len);
	put_text(&s, "runner", j->spec.runner);
	put_name(&s, "timeout");
	put_seconds(&s, j->spec.timeout);
	put_name(&s, "attempt");
	sink_number(&s, j->attempts);
	sink_literal(&s, ",\"claim\":\"");
	sink_number(&s, j->epoch);
	sink_literal(&s, ".");
	sink_number(&s, j->sequence);
	sink_literal(&s, "\"");
	put_extras(&s, j);
	sink_literal(&s, "}");
	put_text(&s, "id", job_request_id(j, id));
	sink_put(&s, "}\n", 3); /* and the NUL */
	*len = s.len - 1;
	return s.buf;
}

char **
job_environment(const struct job *j)
{
	char **v = strv_copy(j->spec.env_vars);

	strv_add(&v, xasprintf("JOB_ID=%s", j->spec.id));
	strv_add(&v,
	    xasprintf(
		"CALLER_ID=%s", j->spec.caller_id ? j->spec.caller_id : ""));
	strv_add(&v,
	    xasprintf(
		"CONTEXT_ID=%s", j->spec.context_id ? j->spec.context_id : ""));
	return v;
}

/* ---- how it ended ---- */

/* A byte 0 is UTF-8, but few JSON readers let it through. */
static char *
without_nul(const char *text, size_t len, size_t *out_len)
{
	char *out = xmalloc(len * 3 + 1);
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (text[i])
			out[n++] = text[i];
		else
			n += strlcpy(out + n, "\xef\xbf\xbd", 4);
	}
	*out_len = n;
	return out;
}

void
job_set_result(struct job *j, const char *text, size_t len, bool trim)
{
	char *clean = NULL;
	json_t *utf8;

	if (trim && len && text[len - 1] == '\n')
		len--;
	if (len && memchr(text, '\0', len))
		text = clean = without_nul(text, len, &len);
	utf8 = text_json(len ? text : "", len);
	free(j->result);
	j->result_len = json_string_length(utf8);
	j->result = xstrndup(json_string_value(utf8), j->result_len);
	json_decref(utf8);
	free(clean);
}

void
job_set_error(struct job *j, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	free(j->error);
	j->error = xstrdup(text);
}

static double
seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void
exit_text(struct job_exit *e)
{
	char usage[64] = "";

	if (e->has_usage)
		snprintf(usage, sizeof(usage), " %.0f %.0f", e->user * 1e6,
		    e->system * 1e6);
	e->text =
	    xasprintf("%d %d %lld%s", e->status, e->oom, e->max_rss, usage);
}

static void
exit_clear(struct job_exit *e)
{
	free(e->text);
	*e = (struct job_exit){0};
}

void
job_exit_of(struct job_exit *e, const struct child *c, bool alone)
{
	exit_clear(e);
	if (c->stage || !c->status_known)
		return;
	e->known = true;
	e->status = c->status;
	e->oom = c->oom;
	if (c->rusage) {
		e->max_rss = (long long)c->rusage->ru_maxrss * 1024;
		e->has_usage = alone;
		e->user = seconds(&c->rusage->ru_utime);
		e->system = seconds(&c->rusage->ru_stime);
	}
	exit_text(e);
}

/* ---- the hash ---- */

#define SECONDS_MAX 31536000. /* as in job.def */

enum field_kind { TEXT, PAYLOAD, RESULT, TIME, NUMBER, REAL, PRIORITY, EXIT };

static const struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(name, kind, member) \
	{ \
		name, kind, offsetof(struct job, member) \
	}
    FIELD("runner", TEXT, spec.runner),
    FIELD("queue", TEXT, queue),
    FIELD("caller_id", TEXT, spec.caller_id),
    FIELD("context_id", TEXT, spec.context_id),
    FIELD("executor", TEXT, spec.executor),
    FIELD("payload", PAYLOAD, spec.payload),
    FIELD("script", PAYLOAD, spec.payload),
    FIELD("timeout", REAL, spec.timeout),
    FIELD("result_ttl", REAL, spec.result_ttl),
    FIELD("priority", PRIORITY, spec.priority),
    FIELD("unique_key", TEXT, spec.unique_key),
    FIELD("unique_for", REAL, spec.unique_for),
    FIELD("concurrency_key", TEXT, spec.concurrency_key),
    FIELD("retries", NUMBER, spec.retries),
    FIELD("backoff", REAL, spec.backoff),
    FIELD("due", NUMBER, due),
    FIELD("attempts", NUMBER, attempts),
    FIELD("deaths", NUMBER, deaths),
    FIELD("retries_done", NUMBER, retries_done),
    FIELD("deferrals", NUMBER, deferrals),
    FIELD("result", RESULT, result),
    FIELD("error", TEXT, error),
    FIELD("exit", EXIT, exit),
    FIELD("last_lines", TEXT, last_lines),
    FIELD("node", TEXT, node),
    FIELD("instance", NUMBER, instance),
    FIELD("created_at", TIME, created_at),
    FIELD("started_at", TIME, started_at),
    FIELD("finished_at", TIME, finished_at),
#undef FIELD
};

#define NFIELDS (sizeof(fields) / sizeof(*fields))

static void
put(struct redis_words *w, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	words_add(w, name);
	words_add(w, value);
}

static void
put_number(struct redis_words *w, const char *name, long long n)
{
	words_add(w, name);
	words_add_number(w, n);
}

static void
put_status(const struct job *j, struct redis_words *w)
{
	put(w, "status", job_hero_word(j->status));
	if (strcmp(job_hero_word(j->status), job_status_word(j->status)))
		put(w, "reason", job_status_word(j->status));
}

static void
put_real(struct redis_words *w, const char *name, double n)
{
	if (n <= 0)
		return;
	words_add(w, name);
	words_add_real(w, n);
}

static void
put_plan(const struct job *j, struct redis_words *w)
{
	if (j->spec.priority)
		put(w, "priority", job_priority_word(j));
	put(w, "unique_key", j->spec.unique_key);
	put_real(w, "unique_for", j->spec.unique_for);
	put(w, "concurrency_key", j->spec.concurrency_key);
	if (j->spec.retries > 0)
		put_number(w, "retries", j->spec.retries);
	put_real(w, "backoff", j->spec.backoff);
	if (j->due > 0)
		put_number(w, "due", j->due);
}

void
job_put_asked(const struct job *j, struct redis_words *w)
{
	enum job_text t;

	put(w, "herod", "1");
	put_status(j, w);
	put(w, "runner", j->spec.runner);
	if (!j->spec.runner || strcmp(j->queue, j->spec.runner))
		put(w, "queue", j->queue);
	put(w, "caller_id", j->spec.caller_id);
	put(w, "context_id", j->spec.context_id);
	put(w, "executor", j->spec.executor);
	words_add(w, "payload");
	words_add_mem(
	    w, j->spec.payload ? j->spec.payload : "", j->payload_len);
	words_add(w, "timeout");
	words_add_real(w, j->spec.timeout);
	put_real(w, "result_ttl", j->spec.result_ttl);
	put_plan(j, w);
	for (t = 0; t < JOB_TEXTS; t++)
		put(w, text_fields[t].name, j->texts[t]);
	put(w, "created_at", j->created_at);
}

void
job_put_started(const struct job *j, struct redis_words *w)
{
	put(w, "started_at", j->started_at);
	put(w, "node", j->node);
	put_number(w, "instance", j->instance);
	put_number(w, "attempts", j->attempts);
}

/* An older herod wrote the status alone. */
static void
read_exit(struct job_exit *e, const char *text)
{
	double user = 0, system = 0;
	int oom = 0, n;

	exit_clear(e);
	n = sscanf(text, "%d %d %lld %lf %lf", &e->status, &oom, &e->max_rss,
	    &user, &system);
	e->known = n >= 1;
	e->oom = oom != 0;
	e->has_usage = n == 5;
	e->user = user / 1e6;
	e->system = system / 1e6;
	e->text = xstrdup(text);
}

void
job_put_failed(const struct job *j, struct redis_words *w)
{
	put(w, "error", j->error);
	put(w, "exit", j->exit.text);
}

void
job_put_over(const struct job *j, struct redis_words *w)
{
	put_status(j, w);
	put(w, "finished_at", j->finished_at);
	if (j->result) {
		words_add(w, "result");
		words_add_mem(w, j->result, j->result_len);
	}
	job_put_failed(j, w);
	if (j->status != JOB_FINISHED && j->status != JOB_CANCELLED)
		put(w, "last_lines", j->last_lines);
	if (j->deaths)
		put_number(w, "deaths", j->deaths);
}

static void
set_text(char **to, const char *value, size_t len)
{
	free(*to);
	*to = xmalloc(len + 1);
	memcpy(*to, value, len);
	(*to)[len] = '\0';
}

static int
priority_of(const char *word)
{
	size_t p;

	for (p = 0; p < sizeof(priorities) / sizeof(*priorities); p++)
		if (!strcmp(priorities[p], word))
			return (int)p;
	return JOB_NORMAL;
}

/* What is none is 0, which stands for the usual. */
static double
seconds_of(const char *text)
{
	double n = strtod(text, NULL);

	return n > 0 && n <= SECONDS_MAX ? n : 0;
}

static void
set_field(struct job *j, const struct field *f, const char *value, size_t len)
{
	void *at = (char *)j + f->offset;

	switch (f->kind) {
	case PAYLOAD:
		j->payload_len = len;
		set_text(at, value, len);
		break;
	case RESULT:
		j->result_len = len;
		set_text(at, value, len);
		break;
	case TEXT:
		set_text(at, value, len);
		break;
	case TIME:
		strlcpy(at, value, JOB_TIME_SIZE);
		break;
	case REAL:
		*(double *)at = seconds_of(value);
		break;
	case EXIT:
		read_exit(at, value);
		break;
	case NUMBER:
		*(long long *)at = strtoll(value, NULL, 10);
		break;
	case PRIORITY:
		*(int *)at = priority_of(value);
		break;
	}
}

void
job_set_field(struct job *j, const char *name, const char *value, size_t len)
{
	enum job_text t;
	size_t i;

	if (!strcmp(name, "herod"))
		j->foreign = false;
	for (i = 0; i < NFIELDS; i++)
		if (!strcmp(fields[i].name, name)) {
			set_field(j, &fields[i], value, len);
			return;
		}
	for (t = 0; t < JOB_TEXTS; t++)
		if (!strcmp(text_fields[t].name, name))
			read_text(j, t, value, len);
}

/* The program that drew it itself has just said so: it is tried again as soon
 * as herod has seen that. */
static bool
is_to_be_tried_again(const struct job *j)
{
	return j->status == JOB_ERROR && !*j->finished_at &&
	    j->retries_done < j->spec.retries;
}

struct job *
job_from_hash(const char *id, const struct redis_reply *reply)
{
	const char *name, *value, *status = "created", *reason = NULL;
	struct job *j;
	size_t i, len;

	if (!reply_count(reply))
		return NULL;
	j = job_new();
	j->foreign = true;
	j->spec.id = xstrdup(id);
	for (i = 0; i + 1 < reply_count(reply); i += 2) {
		name = reply_text(reply_at(reply, i), NULL);
		value = reply_text(reply_at(reply, i + 1), &len);
		if (!name || !value)
			continue;
		if (!strcmp(name, "status"))
			status = value;
		else if (!strcmp(name, "reason"))
			reason = value;
		else
			job_set_field(j, name, value, len);
	}
	j->status = job_status_of(status, reason);
	if (is_to_be_tried_again(j))
		j->status = JOB_STARTED;
	if (!j->queue && j->spec.runner)
		j->queue = xstrdup(j->spec.runner);
	return j;
}
