/*
 * Long-lived workers: a JSON-RPC request a line on stdin, responses in any
 * order and notifications (progress, log) on stdout.
 *
 * Whatever else comes on stdout is a protocol error: it is noted by name in
 * the runner's log and the worker goes on, unless nothing sensible comes
 * any more.
 *
 * Both directions are kept in a memfd that the keeper holds (runner.c makes
 * it): answers until Redis has them, requests until they are answered, and
 * how far the requests were fed.  So when herod dies, the next one knows
 * which claims the worker has got, goes on in the middle of a line, and
 * loses no answer.  Only when it died inside write(2) itself can it not
 * know; then the worker is ended and its jobs go back.
 *
 * A line of its log is of the job that it names (notification log), and one
 * on stderr of the job in hand, when there was only one.  What is on stderr
 * is read before the jobs in hand change: before a request is fed, and
 * before the answers that came in a loop turn are dealt with.
 */
#define LOG_MODULE "worker"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jsonrpc.h"
#include "log.h"
#include "mem.h"
#include "turns.h"
#include "work.h"

#define UNREAD_MAX (32 << 20) /* bytes that may wait for its stdin */
#define GARBAGE_MAX (1 << 20) /* bytes without a message in between */
#define ENVELOPE_MAX (64 << 10)
#define QUOTE_MAX 120
#define RETRY_AFTER_MAX 31536000.0
/* Where things lie in the file. */
#define ANSWERS_BASE ((off_t)0)
#define REQUESTS_BASE ((off_t)1 << 40)
#define MARKS_BASE ((off_t)1 << 41)
#define MARKS_SIZE 4096
#define JOURNAL_DROP (256 << 10) /* bytes dropped at once */
#define JOURNAL_MAX (64 << 20) /* then they are dropped, kept or not */

void
place_label(const struct place *p, char *buf, size_t size)
{
	const struct instance *i = p->instance;
	size_t at = text_put(buf, size, 0, i->runner->name);

	at = text_put(buf, size, at, "/");
	at = text_put_number(buf, size, at, i->n);
	if (instance_conf(i)->kind != KIND_STDIO || !i->child)
		return;
	at = text_put(buf, size, at, "/");
	text_put_number(buf, size, at, i->child->id);
}

static void note(struct place *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
note(struct place *p, const char *fmt, ...)
{
	const struct instance *i = p->instance;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p->replaying)
		return; /* the herod before us has noted it */
	log_info("runner %s.%d: %s", i->runner->name, i->n, text);
	output_note(i->runner->output, i->n, "%s", text);
}

void
place_kill(struct place *p, enum verdict verdict, const char *fmt, ...)
{
	char why[REASON_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	note(p, "%s: it is killed", why);
	instance_ends_for(p->instance, "%s", why);
	if (p->verdict == VERDICT_OPEN)
		p->verdict = verdict;
	if (p->instance->child)
		child_kill(p->instance->child);
}

/* ---- the journal: an answer stays there until Redis has it ---- */

/* Where the line begins that is being collected. */
static uint64_t
journal_place(const struct place *p)
{
	return p->journal.end - frame_rest(&p->frame);
}

/* Up to the oldest that Redis does not have. */
static void
trim_answers(struct place *p)
{
	const struct answer *oldest = TAILQ_FIRST(&p->answers);
	uint64_t to = oldest ? oldest->at : journal_place(p);

	if (journal_place(p) - p->journal.begin > JOURNAL_MAX)
		to = journal_place(p);
	if (p->marks)
		p->marks->answered = to; /* no system call for each */
	if (!p->marks || to > p->journal.begin + JOURNAL_DROP)
		journal_drop(&p->journal, to);
}

/*
 * Herod may be killed between the stores of two numbers, and half of the one
 * pair with half of the other would say that claims were sent which were not,
 * or deny it of those whose requests are dropped.  So they go where nobody
 * looks, and one store says to look there from now on.
 *
 * What a killed thread has stored is in the shared memory for all later
 * readers, and it has stored in the order of its code: only the compiler must
 * not change that.
 */
void
marks_set_sent(struct marks *m, struct up_to sent)
{
	*(m->is_other ? &m->sent : &m->other) = sent;
	atomic_signal_fence(memory_order_seq_cst);
	m->is_other = !m->is_other;
}

struct up_to
marks_sent(const struct marks *m)
{
	return m->is_other ? m->other : m->sent;
}

/* What was fed may go, once the marks say that it was. */
static void
trim_requests(struct place *p)
{
	if (!p->marks || p->unkept || p->marks->fed[1] != p->requests.end ||
	    p->requests.end - p->requests.begin < JOURNAL_DROP)
		return;
	marks_set_sent(p->marks, p->last);
	journal_drop(&p->requests, p->requests.end);
}

static void
journal_trim(struct place *p)
{
	if (p->kept)
		return;
	trim_answers(p);
	trim_requests(p);
}

/* At once: the same job may come again, by retry or with an id used anew, and
 * the next herod must not take this answer for that to it. */
static void
forget_answer(struct place *p, struct answer *a)
{
	bool is_oldest = a == TAILQ_FIRST(&p->answers);

	TAILQ_REMOVE(&p->answers, a, next);
	if (is_oldest)
		trim_answers(p);
	else
		journal_erase(&p->journal, a->at, a->end);
}

static void
on_answer_settled(void *arg)
{
	struct answer *a = arg;

	if (a->place)
		forget_answer(a->place, a);
	free(a);
}

static struct answer *
answer_new(struct place *p)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	a->place = p;
	a->at = p->line_at;
	a->end = journal_place(p);
	TAILQ_INSERT_TAIL(&p->answers, a, next);
	return a;
}

/* Its answer has come, in this line. */
static void
keep_answer(struct work *k)
{
	k->settled = on_answer_settled;
	k->settled_arg = answer_new(k->place);
}

static void
is_read(struct place *p)
{
	if (p->is_unread)
		TAILQ_REMOVE(&p->all->unread, p, unread);
	p->is_unread = false;
}

void
stdio_forget(struct place *p)
{
	struct answer *a;

	is_read(p);
	free(p->alone);
	p->alone = NULL;
	while ((a = TAILQ_FIRST(&p->answers))) {
		TAILQ_REMOVE(&p->answers, a, next);
		a->place = NULL;
	}
	if (p->child) {
		p->child->fed = NULL;
		p->child->feeding = NULL;
	}
	p->unkept = 0;
	p->replayed = 0;
	if (p->marks)
		munmap(p->marks, MARKS_SIZE);
	p->marks = NULL;
	p->child = NULL;
	strv_free(p->sent);
	p->sent = NULL;
	journal_begin(&p->journal, -1, ANSWERS_BASE);
	journal_begin(&p->requests, -1, REQUESTS_BASE);
	frame_clear(&p->frame);
}

_Static_assert(sizeof(struct marks) <= MARKS_SIZE, "they have room");

static void
marks_map(struct place *p, int fd)
{
	void *at;

	if (fd == -1 || ftruncate(fd, MARKS_BASE + MARKS_SIZE) == -1)
		return;
	at = mmap(NULL, MARKS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    MARKS_BASE);
	if (at == MAP_FAILED)
		return;
	p->marks = at;
	p->child->fed = p->marks->fed;
}

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "ID CLAIM": the same job may have been sent before, by another claim. */
static void
note_sent(struct place *p, const char *line, size_t len)
{
	json_t *request = json_loadb(line, len, 0, NULL);
	json_t *params = json_object_get(request, "params");
	const char *id = json_string_value(json_object_get(params, "id"));
	const char *claim = json_string_value(json_object_get(params, "claim"));

	if (id && claim)
		strv_add(&p->sent, xasprintf("%s %s", id, claim));
	json_decref(request);
}

/* Calls fn for each piece of a journal from a place on. */
static void
read_on(struct place *p, const struct journal *j, uint64_t at,
    void (*fn)(struct place *p, const char *buf, size_t len))
{
	char buf[16384];
	ssize_t n;

	while ((n = journal_read(j, at, buf, sizeof(buf))) > 0) {
		fn(p, buf, (size_t)n);
		at += (uint64_t)n;
	}
}

static void
add_to_frame(struct place *p, const char *buf, size_t len)
{
	size_t room;
	char *at = frame_room(&p->frame, len, &room);

	memcpy(at, buf, len);
	frame_add(&p->frame, len);
}

static void
read_sent(struct place *p)
{
	const char *line;
	size_t len;

	read_on(p, &p->requests, p->requests.begin, add_to_frame);
	while ((line = frame_line(&p->frame, &len)))
		note_sent(p, line, len);
	frame_clear(&p->frame);
	if (p->sent)
		qsort(p->sent, strv_count(p->sent), sizeof(*p->sent),
		    compare_ids);
}

/* What it gets in this moment; its end is kept now. */
static void
on_feeding(void *arg, const char *buf, size_t len)
{
	struct place *p = arg;
	const char *fresh = buf + len - p->unkept;

	if (p->unkept && journal_add(&p->requests, 0, fresh, p->unkept) == -1) {
		log_warn("runner %s: its requests cannot be kept",
		    p->instance->runner->name);
		p->requests.fd = -1;
		p->marks->broken = true;
	}
	p->unkept = 0;
}

/* Its process, for the first time. */
static void
meet(struct place *p)
{
	struct child *c = p->instance->child;

	if (!c || p->child == c)
		return;
	stdio_forget(p);
	p->child = c;
	c->feeding = on_feeding;
	c->feeding_arg = p;
	marks_map(p, c->keep_fd);
	if (p->all->adopted) {
		journal_begin(&p->journal, c->keep_fd, ANSWERS_BASE);
		journal_begin(
		    &p->requests, p->marks ? c->keep_fd : -1, REQUESTS_BASE);
		return;
	}
	p->kept = true;
	if (!p->marks)
		return;
	journal_resume(&p->journal, c->keep_fd, ANSWERS_BASE);
	if (p->journal.begin < p->marks->answered)
		p->journal.begin = p->marks->answered;
	journal_resume(&p->requests, c->keep_fd, REQUESTS_BASE);
	p->last = marks_sent(p->marks);
	if (*p->marks->alone)
		p->alone = xstrndup(p->marks->alone, sizeof(p->marks->alone));
	read_sent(p);
}

/* ---- whose its stderr is ---- */

const char *
stdio_alone(struct place *p)
{
	meet(p);
	return p->alone;
}

/* Whole or empty, whenever herod is killed. */
static void
mark_alone(struct marks *m, const char *id)
{
	m->alone[0] = '\0';
	atomic_signal_fence(memory_order_seq_cst);
	if (!id)
		return;
	strlcpy(m->alone + 1, id + 1, sizeof(m->alone) - 1);
	atomic_signal_fence(memory_order_seq_cst);
	m->alone[0] = id[0];
}

static bool
is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

void
stdio_hands(struct place *p)
{
	struct output_source *s = p->instance->sources[CHILD_STDERR];
	const struct work *k = TAILQ_FIRST(&p->works);
	const char *id = p->nworks == 1 && !p->unsure ? k->job->spec.id : NULL;

	/* Not all of them may be known yet. */
	if (p->kept || is_same(p->alone, id))
		return;
	if (s)
		output_source_job(s, id);
	if (p->marks)
		mark_alone(p->marks, id);
	free(p->alone);
	p->alone = xstrdup(id);
}

/* What it wrote is of the jobs that it has in hand now. */
static void
read_stderr(struct place *p)
{
	struct child *c = p->instance->child;

	p->unsure = c && c == p->child && !child_read_now(c, CHILD_STDERR);
}

static bool
is_up_to(const struct claim *claim, struct up_to last)
{
	return claim->epoch < last.epoch ||
	    (claim->epoch == last.epoch && claim->sequence <= last.sequence);
}

static bool
was_sent(const struct place *p, const struct claim *claim)
{
	char text[192];
	const char *wanted = text;

	snprintf(text, sizeof(text), "%s %lld.%lld", claim->id, claim->epoch,
	    claim->sequence);
	return p->sent &&
	    bsearch(&wanted, p->sent, strv_count(p->sent), sizeof(*p->sent),
		compare_ids);
}

bool
stdio_has(struct place *p, const struct claim *claim)
{
	bool has;

	/* Nothing is known: catch_up() will end it. */
	if (!p->marks || p->marks->broken)
		return true;
	has = is_up_to(claim, marks_sent(p->marks)) || was_sent(p, claim);
	if (has && !is_up_to(claim, p->last))
		p->last = (struct up_to){claim->epoch, claim->sequence};
	return has;
}

/* ---- to the worker ---- */

/* At the end of the turn, with all that was fed in it. */
static bool
feed(struct place *p, const char *text, size_t len)
{
	meet(p);
	p->unkept += len;
	if (child_write(p->instance->child, text, len, UNREAD_MAX))
		return true;
	p->unkept -= len;
	return false;
}

void
stdio_begin(struct work *k)
{
	struct place *p = k->place;
	size_t len;
	char *text = job_request(k->job, &len);

	if (p->nworks <= 2)
		read_stderr(p);
	stdio_hands(p);
	if (feed(p, text, len)) {
		p->last = (struct up_to){k->job->epoch, k->job->sequence};
	} else {
		note(p, "it does not read its stdin; no new jobs for a while");
		place_hold(p);
		work_back(k, BACK_HEAD, "its worker does not read");
	}
	free(text);
}

static void
on_grace_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("time limit of", "a job");
	struct work *k = w->data;

	(void)loop;
	(void)revents;
	place_kill(k->place, VERDICT_OURS, "job %s did not end after %s",
	    k->job->spec.id,
	    k->fate == FATE_TIMEOUT ? "its timeout" : "a cancel");
}

static void
send_cancel(struct work *k)
{
	char text[256], id[JOB_REQUEST_ID_SIZE];
	int len = snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"cancel\","
	    "\"params\":{\"id\":\"%s\"}}\n",
	    job_request_id(k->job, id));

	if (k->place->instance->child && len < (int)sizeof(text))
		feed(k->place, text, (size_t)len);
}

/* Not before the rest of its request, which the herod before us may have left
 * in the middle of a line: stdio_catch_up() sends it then. */
void
stdio_cancel(struct work *k, enum fate fate)
{
	k->fate = fate;
	if (!k->place->kept)
		send_cancel(k);
	ev_timer_stop(k->all->loop, &k->timer);
	ev_set_cb(&k->timer, on_grace_over);
	ev_timer_set(
	    &k->timer, fate == FATE_TIMEOUT ? TIMEOUT_GRACE : CANCEL_GRACE, 0.);
	ev_timer_start(k->all->loop, &k->timer);
}

/* ---- from the worker ---- */

/* Of a job or of a request for it; NULL when it is not this worker's. */
static struct work *
work_of_request(struct place *p, const char *request_id)
{
	char id[130];
	struct work *k;

	strlcpy(id, request_id, sizeof(id));
	id[strcspn(id, "#")] = '\0';
	k = work_find(p->all, id);
	return k && k->place == p ? k : NULL;
}

static void
garbage(struct place *p, const char *what, const char *line, size_t len)
{
	note(p, "protocol error: %s: %.*s%s", what,
	    (int)(len > QUOTE_MAX ? QUOTE_MAX : len), line,
	    len > QUOTE_MAX ? "..." : "");
	p->garbage += len;
	if (p->garbage > GARBAGE_MAX && p->instance->child)
		place_kill(p, VERDICT_ITS, "nothing but garbage on stdout");
}

/* Text as it is, anything else as JSON. */
static void
set_result(struct work *k, const json_t *result)
{
	char *text;

	if (json_is_string(result)) {
		job_set_result(k->job, json_string_value(result),
		    json_string_length(result), false);
		return;
	}
	text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
	job_set_result(
	    k->job, text ? text : "", text ? strlen(text) : 0, false);
	free(text);
}

static void
end_with_result(struct work *k, const json_t *result)
{
	set_result(k, result);
	if (k->job->result_len <= (size_t)k->all->conf->max_result) {
		work_end(k, JOB_FINISHED);
		return;
	}
	job_set_error(k->job,
	    "its result is longer than max_result (%lld bytes)",
	    k->all->conf->max_result);
	job_set_result(k->job, "", 0, false);
	work_end(k, JOB_ERROR); /* as often as it is tried */
}

/* data of an error may be text, or say what it is good for: {"retryable":
 * false}, {"retry_after": seconds}. */
static void
end_with_error(struct work *k, const json_t *error)
{
	const char *message =
	    json_string_value(json_object_get(error, "message"));
	const json_t *more = json_object_get(error, "data");
	const json_t *after = json_object_get(more, "retry_after");
	const char *data = json_string_value(more);

	job_set_error(k->job, "%s%s%s", message ? message : "error",
	    data ? ": " : "", data ? data : "");
	k->is_fatal = json_is_false(json_object_get(more, "retryable"));
	if (json_is_number(after) && json_number_value(after) >= 0 &&
	    json_number_value(after) <= RETRY_AFTER_MAX)
		k->retry_after = json_number_value(after);
	work_fail(k, JOB_ERROR);
}

static void
end_as_answered(struct work *k, const json_t *result, const json_t *error)
{
	keep_answer(k);
	if (k->fate == FATE_TIMEOUT)
		work_end_timeout(k);
	else if (result)
		end_with_result(k, result); /* even after a cancel: it is so */
	else if (k->fate == FATE_CANCEL)
		work_end_cancelled(k);
	else
		end_with_error(k, error);
}

/* To a request that is settled: nor is it one to a later request. */
static void
take_late(struct place *p, const char *id)
{
	note(p, "an answer for job %.130s, which it does not have", id);
	if (p->replaying)
		journal_erase(&p->journal, p->line_at, journal_place(p));
}

static void
take_answer(
    struct place *p, const char *id, const json_t *result, const json_t *error)
{
	struct work *k = work_of_request(p, id);

	p->garbage = 0;
	if (!k || !job_is_request_id(k->job, id))
		take_late(p, id);
	else
		end_as_answered(k, result, error);
}

static void
take_response(
    struct place *p, const json_t *message, const char *line, size_t len)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	const json_t *result = json_object_get(message, "result");
	const json_t *error = json_object_get(message, "error");

	if (id && (result || error))
		take_answer(p, id, result, error);
	else
		garbage(p, "neither a response nor a notification", line, len);
}

/* True when it was one. */
static bool
take_plain(struct place *p, const char *line, size_t len)
{
	char id[JOB_REQUEST_ID_SIZE];
	struct jsonrpc_plain a;
	json_t *result;

	if (!jsonrpc_read_plain(line, len, &a) || a.id_len >= sizeof(id))
		return false;
	memcpy(id, a.id, a.id_len);
	id[a.id_len] = '\0';
	result = json_stringn_nocheck(a.result, a.result_len);
	take_answer(p, id, result, NULL);
	json_decref(result);
	return true;
}

static void
take_progress(struct work *k, const json_t *params)
{
	const json_t *message = json_object_get(params, "message");

	k->job->progress =
	    json_number_value(json_object_get(params, "fraction"));
	if (k->job->progress < 0)
		k->job->progress = 0;
	if (!json_is_string(message))
		return;
	free(k->job->progress_text);
	k->job->progress_text = xstrdup(json_string_value(message));
}

/* The herod before us may have written it, or may have begun to. */
static void
take_log(struct place *p, const char *id, const json_t *params)
{
	const json_t *text = json_object_get(params, "text");
	const struct instance *i = p->instance;
	const struct output_line about = {
	    .instance = i->n, .stream = CHILD_STDOUT, .job = id};
	struct marks *m = p->journal.fd != -1 ? p->marks : NULL;

	if (m && p->line_at < m->logged)
		return;
	if (m && m->log_at != p->line_at + 1) {
		m->log = (struct progress){0};
		atomic_signal_fence(memory_order_seq_cst); /* before */
		m->log_at = p->line_at + 1;
	}
	output_lines(i->runner->output, &about, json_string_value(text),
	    json_string_length(text), m ? &m->log : NULL);
	if (m)
		m->logged = journal_place(p);
}

static void
take_notification(
    struct place *p, const json_t *message, const char *line, size_t len)
{
	const char *method =
	    json_string_value(json_object_get(message, "method"));
	const json_t *params = json_object_get(message, "params");
	const char *id = json_string_value(json_object_get(params, "id"));
	struct work *k = id ? work_of_request(p, id) : NULL;

	if (method && !strcmp(method, "progress") && id) {
		p->garbage = 0;
		if (k)
			take_progress(k, params);
	} else if (method && !strcmp(method, "log") &&
	    json_is_string(json_object_get(params, "text"))) {
		p->garbage = 0;
		take_log(p, k ? k->job->spec.id : NULL, params);
	} else {
		garbage(p, "no notification that herod knows", line, len);
	}
}

static void
take_line(struct place *p, const char *line, size_t len)
{
	struct err e = {0};
	json_t *message;

	for (; len && p->line_at < p->replayed && !*line; len--)
		line++; /* erased, with the newline */
	if (!len || take_plain(p, line, len))
		return;
	message = jsonrpc_parse(line, len, &e);
	if (!json_is_object(message))
		garbage(p, "not a JSON object", line, len);
	else if (json_object_get(message, "method"))
		take_notification(p, message, line, len);
	else
		take_response(p, message, line, len);
	json_decref(message);
}

static void
take_lines(struct place *p)
{
	const char *line;
	size_t len, limit;

	p->line_at = journal_place(p);
	while ((line = frame_line(&p->frame, &len))) {
		take_line(p, line, len);
		p->line_at = journal_place(p);
	}
	/* Escapes make text up to six times as long. */
	limit = (size_t)p->all->conf->max_result * 6 + ENVELOPE_MAX;
	if (frame_rest(&p->frame) <= limit)
		return;
	frame_clear(&p->frame);
	place_kill(
	    p, VERDICT_ITS, "a line longer than %zu bytes on stdout", limit);
}

void
stdio_replies(struct place *p, const char *buf, size_t len)
{
	int added;

	meet(p);
	added =
	    journal_add(&p->journal, child_piece(p->instance->child), buf, len);
	if (added == 0)
		return; /* the herod before us had it */
	if (added == -1) {
		log_warn("runner %s: its answers cannot be kept",
		    p->instance->runner->name);
		p->journal.fd = -1;
		if (p->marks)
			p->marks->broken = true;
	}
	/* Whose answers these are is not known before the claims are. */
	if (p->kept && p->journal.fd != -1)
		return;
	add_to_frame(p, buf, len);
	if (!p->is_unread)
		TAILQ_INSERT_TAIL(&p->all->unread, p, unread);
	p->is_unread = true;
}

void
stdio_read(struct place *p)
{
	is_read(p);
	if (p->nworks > 0)
		read_stderr(p);
	take_lines(p);
	journal_trim(p);
}

void
stdio_up(struct place *p)
{
	p->verdict = VERDICT_OPEN;
	meet(p);
}

static void
feed_rest(struct place *p, const char *buf, size_t len)
{
	child_write(p->instance->child, buf, len, SIZE_MAX);
}

/* Herod did not die while it was feeding. */
static bool
is_known(const struct marks *m)
{
	return !m->broken && m->fed[0] == m->fed[1];
}

/* Of jobs whose end was decided before that could be told. */
static void
send_cancels(struct place *p)
{
	struct work *k;

	TAILQ_FOREACH (k, &p->works, next)
		if (k->fate != FATE_OPEN)
			stdio_cancel(k, k->fate);
}

void
stdio_catch_up(struct place *p)
{
	p->kept = false;
	p->replaying = true;
	p->replayed = p->journal.end;
	read_on(p, &p->journal, p->journal.begin, add_to_frame);
	if (p->nworks > 0)
		read_stderr(p);
	take_lines(p);
	stdio_hands(p);
	p->replaying = false;
	p->garbage = 0;
	if (!p->instance->child)
		return;
	if (p->marks ? !is_known(p->marks) : p->nworks > 0) {
		place_kill(p, VERDICT_OURS,
		    "herod died and cannot know what it was given");
		return;
	}
	if (!p->marks)
		return;
	read_on(p, &p->requests, p->marks->fed[1], feed_rest);
	send_cancels(p);
}

/* ---- its end ---- */

static void
let_go(struct work *k, enum back how, const char *why)
{
	if (k->fate == FATE_TIMEOUT)
		work_end_timeout(k);
	else
		work_back(k, how, why);
}

/* Its worker, which may have been others', too, has died of it. */
static void
note_end(struct work *k, const struct child *c)
{
	double since = c->started_at, began;

	if (text_time(k->job->started_at, &began) && began > since)
		since = began;
	job_exit_of(&k->job->exit, c, false);
	work_last_lines(k, since);
}

void
stdio_died(struct place *p, const struct child *c, bool asked)
{
	bool counted = p->verdict == VERDICT_ITS || !asked;
	struct work *k, *before;
	char why[160];

	if (p->kept)
		stdio_catch_up(p);
	else if (p->is_unread)
		stdio_read(p);
	stdio_forget(p);
	child_end_text(c, why, sizeof(why));
	/* The last first, so that the first stands at the head. */
	TAILQ_FOREACH_REVERSE_SAFE (k, &p->works, work_list, next, before) {
		note_end(k, c);
		let_go(k, counted ? BACK_DIED : BACK_HEAD, why);
	}
	p->verdict = VERDICT_OPEN;
	p->garbage = 0;
}
