/* Jobs: their three forms, their statuses, their legal moves. */
#include "job.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "jsonrpc.h"
#include "mem.h"

/* ---- statuses ---- */

#define TO(status) (1u << JOB_##status)

static const struct {
	const char *word, *hero;
	unsigned moves; /* where it may go from here */
} statuses[JOB_STATUSES] = {
    [JOB_CREATED] = {"created", "created",
	TO(DISPATCHED) | TO(STARTED) | TO(CANCELLED)},
    [JOB_DISPATCHED] = {"dispatched", "dispatched",
	TO(STARTED) | TO(CANCELLED)},
    [JOB_STARTED] = {"started", "started",
	TO(DISPATCHED) | TO(STOPPING) | TO(FINISHED) | TO(ERROR) | TO(TIMEOUT) |
	    TO(QUARANTINED)},
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
		if (!strcmp(statuses[s].word, reason))
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
	if (!j)
		return;
	settings_clear(job_settings, &j->spec);
	free(j->variables);
	free(j->queue);
	free(j->result);
	free(j->error);
	free(j->node);
	free(j->progress_text);
	free(j);
}

void
job_make_id(char id[JOB_ID_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];
	int i, at = 0;

	arc4random_buf(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			id[at++] = '-';
		id[at++] = hex[b[i] >> 4];
		id[at++] = hex[b[i] & 15];
	}
	id[at] = '\0';
}

/* Callers may set variables, but not run other code by them or pass for
 * another job. */
static int
check_variable(const char *pair, struct err *e)
{
	static const char *const kept[] = {
	    "LD_", "HERO_", "JOB_ID=", "CALLER_ID=", "CONTEXT_ID="};
	int len = (int)strcspn(pair, "=");
	size_t i;

	for (i = 0; pair[i] && pair[i] != '='; i++)
		if (!(isalpha((unsigned char)pair[i]) || pair[i] == '_' ||
			(i && isdigit((unsigned char)pair[i]))))
			break;
	if (!i || pair[i] != '=')
		return err_set(e, ERR_PARAMS,
		    "env_vars: '%.*s' is not a name of a variable", len, pair);
	for (i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!strncmp(pair, kept[i], strlen(kept[i])))
			return err_set(e, ERR_PARAMS,
			    "env_vars: %.*s cannot be set by a job", len, pair);
	return 0;
}

static int
check_spec(const struct job *j, struct err *e)
{
	char **v;

	for (v = j->spec.env_vars; v && *v; v++)
		if (check_variable(*v, e) == -1)
			return -1;
	return 0;
}

static json_t *
variables_json(const struct job *j)
{
	static const struct kind map = {TYPE_MAP, NULL};

	return type_fetch(&map, &j->spec.env_vars);
}

static char *
variables_text(const struct job *j)
{
	json_t *object = variables_json(j);
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	return text;
}

int
job_read(struct job *j, const json_t *object, struct err *e)
{
	json_t *script = json_object_get(object, "script"), *renamed = NULL;
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
		result = check_spec(j, e);
	j->payload_len = j->spec.payload ? strlen(j->spec.payload) : 0;
	if (j->spec.env_vars)
		j->variables = variables_text(j);
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
	int status = (int)j->exit;
	char name[16];

	if (!j->has_exit)
		return json_null();
	if (WIFEXITED(status))
		return json_pack("{s:i, s:n, s:b, s:o}", "code",
		    WEXITSTATUS(status), "signal", "core", 0, "at",
		    time_json(j->finished_at));
	return json_pack("{s:n, s:s, s:b, s:o}", "code", "signal",
	    signal_name(WTERMSIG(status), name), "core", !!WCOREDUMP(status),
	    "at", time_json(j->finished_at));
}

static void
add_long_members(const struct job *j, json_t *o)
{
	json_object_set_new(o, "payload",
	    text_json(j->spec.payload ? j->spec.payload : "", j->payload_len));
	json_object_set_new(o, "result",
	    j->result ? text_json(j->result, j->result_len) : json_null());
	json_object_set_new(o, "env_vars", variables_json(j));
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
	json_object_set_new(o, "error", string_json(j->error));
	json_object_set_new(o, "exit", exit_json(j));
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

json_t *
job_result_json(const struct job *j)
{
	if (j->status == JOB_FINISHED)
		return json_pack("{s:o}", "success",
		    text_json(j->result ? j->result : "", j->result_len));
	return json_pack("{s:o}", "error",
	    string_json(j->error ? j->error : job_status_word(j->status)));
}

/* ---- what workers get ---- */

char *
job_request(const struct job *j, size_t *len)
{
	json_t *params, *request;
	char *text;

	params = json_pack("{s:s, s:o, s:s?, s:f, s:I}", "id", j->spec.id,
	    "payload",
	    text_json(j->spec.payload ? j->spec.payload : "", j->payload_len),
	    "runner", j->spec.runner, "timeout", j->spec.timeout, "attempt",
	    (json_int_t)j->attempts);
	if (j->spec.caller_id)
		json_object_set_new(
		    params, "caller_id", string_json(j->spec.caller_id));
	if (j->spec.context_id)
		json_object_set_new(
		    params, "context_id", string_json(j->spec.context_id));
	if (j->spec.executor)
		json_object_set_new(
		    params, "executor", string_json(j->spec.executor));
	if (j->spec.env_vars)
		json_object_set_new(params, "env_vars", variables_json(j));
	request = json_pack("{s:s, s:s, s:o, s:s}", "jsonrpc", "2.0", "method",
	    "run", "params", params, "id", j->spec.id);
	text = jsonrpc_text(request, len);
	json_decref(request);
	return text;
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

/* ---- the hash ---- */

enum field_kind { TEXT, PAYLOAD, RESULT, TIME, NUMBER, REAL, VARIABLES, EXIT };

static const struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(name, kind, member) {name, kind, offsetof(struct job, member)},
    FIELD("runner", TEXT, spec.runner) FIELD("queue", TEXT, queue) FIELD(
	"caller_id", TEXT, spec.caller_id) FIELD("context_id", TEXT,
	spec.context_id) FIELD("executor", TEXT, spec.executor) FIELD("payload",
	PAYLOAD, spec.payload) FIELD("script", PAYLOAD, spec.payload)
	FIELD("timeout", REAL, spec.timeout) FIELD("result_ttl", REAL,
	    spec.result_ttl) FIELD("env_vars", VARIABLES, spec.env_vars)
	    FIELD("attempts", NUMBER, attempts) FIELD("deaths", NUMBER, deaths)
		FIELD("result", RESULT, result) FIELD("error", TEXT, error)
		    FIELD("exit", EXIT, exit) FIELD("node", TEXT, node)
			FIELD("instance", NUMBER, instance)
			    FIELD("created_at", TIME, created_at)
				FIELD("started_at", TIME, started_at)
				    FIELD("finished_at", TIME, finished_at)
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

void
job_put_asked(const struct job *j, struct redis_words *w)
{
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
	if (j->spec.result_ttl > 0) {
		words_add(w, "result_ttl");
		words_add_real(w, j->spec.result_ttl);
	}
	put(w, "env_vars", j->variables);
	put(w, "created_at", j->created_at);
}

void
job_put_started(const struct job *j, struct redis_words *w)
{
	put_status(j, w);
	put(w, "started_at", j->started_at);
	put(w, "node", j->node);
	put_number(w, "instance", j->instance);
	put_number(w, "attempts", j->attempts);
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
	put(w, "error", j->error);
	if (j->has_exit)
		put_number(w, "exit", j->exit);
	if (j->deaths)
		put_number(w, "deaths", j->deaths);
}

/* {"KEY": "value"}; what is not so is passed over. */
static void
read_variables(struct job *j, const char *value, size_t len)
{
	static const struct kind map = {TYPE_MAP, NULL};
	json_t *object = json_loadb(value, len, 0, NULL), *canonical;

	canonical = object ? type_check(&map, "env_vars", object, NULL) : NULL;
	if (canonical) {
		type_store(&map, &j->spec.env_vars, canonical);
		free(j->variables);
		j->variables = xstrndup(value, len);
	}
	json_decref(canonical);
	json_decref(object);
}

static void
set_text(char **to, const char *value, size_t len)
{
	free(*to);
	*to = xmalloc(len + 1);
	memcpy(*to, value, len);
	(*to)[len] = '\0';
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
		*(double *)at = strtod(value, NULL);
		break;
	case EXIT:
		j->has_exit = true;
		/* FALLTHROUGH */
	case NUMBER:
		*(long long *)at = strtoll(value, NULL, 10);
		break;
	case VARIABLES:
		read_variables(j, value, len);
		break;
	}
}

void
job_set_field(struct job *j, const char *name, const char *value, size_t len)
{
	size_t i;

	if (!strcmp(name, "herod"))
		j->foreign = false;
	for (i = 0; i < NFIELDS; i++)
		if (!strcmp(fields[i].name, name))
			set_field(j, &fields[i], value, len);
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
	if (!j->queue && j->spec.runner)
		j->queue = xstrdup(j->spec.runner);
	return j;
}
