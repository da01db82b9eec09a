/* Methods about logs: of runners, of jobs; the last lines, and each new one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "log_search.h"
#include "mem.h"
#include "rpc.h"
#include "rpc_node.h"
#include "rpc_runner.h"
#include "runners.h"
#include "turns.h"
#include "worker.h"

/* ---- the last lines ---- */

static int
stream_of(const struct call *call)
{
	const char *stream = call_string(call, "stream");

	if (strcmp(stream, "all") == 0)
		return -1;
	return strcmp(stream, "stderr") == 0 ? CHILD_STDERR : CHILD_STDOUT;
}

/* "2026-11-22T20:33:43Z", or "5m": so long ago. */
static int
read_since(const char *text, double *since, struct err *e)
{
	static const struct kind ago = {TYPE_DURATION, "0.."};
	json_t *word, *seconds;

	if (text == NULL || text_time(text, since))
		return 0;
	word = json_string(text);
	seconds = type_check(&ago, "since", word, NULL);
	*since = ev_time() - json_number_value(seconds);
	json_decref(word);
	json_decref(seconds);
	if (seconds)
		return 0;
	return err_set(e, ERR_PARAMS,
	    "since: '%.60s' is not a time such as 2026-11-22T20:33:43Z or a "
	    "duration such as 5m",
	    text);
}

/* NULL after refusing. */
static struct runner *
runner_with_logs(struct call *call)
{
	struct runner *r = runner_of(call);

	if (r && is_external(call, r, "what its programs write is not known"))
		return NULL;
	return r;
}

HANDLER(get_runner_logs)
{
	struct runner *r = runner_with_logs(call);
	struct output_filter f = {.instance = -1};
	struct err e = {0};

	if (r == NULL)
		return;
	if (read_since(call_string(call, "since"), &f.since, &e) != 0) {
		call_refuse(call, &e);
		return;
	}
	f.lines = (size_t)call_count(call, "lines");
	f.stream = stream_of(call);
	if (call_has(call, "instance"))
		f.instance = (int)call_count(call, "instance");
	f.job = call_string(call, "job");
	call_reply(call, output_tail(r->output, &f));
}

/* ---- lines to a reader ---- */

/*
 * Collects the lines of a loop turn and sends them as one notification.
 * While the reader is behind, lines are counted, not kept.
 */
struct feed {
	struct stream *stream;
	struct ev_loop *loop;
	ev_timer flush;
	json_t *lines;
	json_int_t dropped;
	int wanted_stream;
};

#define FEED_BATCH 1000 /* lines in one notification */

static void
feed_flush(struct feed *f)
{
	json_int_t n = (json_int_t)json_array_size(f->lines);

	if (f->dropped &&
	    stream_notify(
		f->stream, "log", json_pack("{s:I}", "dropped", f->dropped)))
		f->dropped = 0;
	if (n == 0)
		return;
	if (f->dropped ||
	    !stream_notify(
		f->stream, "log", json_pack("{s:O}", "lines", f->lines)))
		f->dropped += n;
	json_decref(f->lines);
	f->lines = json_array();
}

static void
on_flush(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("RPC stream", "follow_logs");
	(void)loop;
	(void)revents;
	feed_flush(timer->data);
}

/* False: it is a line connection that is needed; the call is refused. */
static bool
feed_init(struct feed *f, struct call *call, void (*gone)(void *arg), void *arg)
{
	struct err e = {0};

	f->stream = call_stream(call, gone, arg);
	if (f->stream == NULL) {
		err_set(&e, ERR_INVALID,
		    "%s works on a line connection, not over HTTP",
		    call->method->name);
		err_hint(&e, "use a socket");
		call_refuse(call, &e);
		return false;
	}
	f->loop = call->services->loop;
	f->lines = json_array();
	f->wanted_stream = stream_of(call);
	ev_timer_init(&f->flush, on_flush, 0, 0);
	f->flush.data = f;
	return true;
}

static void
feed_clear(struct feed *f)
{
	ev_timer_stop(f->loop, &f->flush);
	json_decref(f->lines);
}

static void
feed_line(
    struct feed *f, const struct output *o, const struct output_line *line)
{
	if (f->wanted_stream >= 0 && f->wanted_stream != line->stream)
		return;
	if (json_array_size(f->lines) >= FEED_BATCH)
		feed_flush(f);
	if (f->dropped)
		f->dropped++;
	else
		json_array_append_new(f->lines, output_line_json(o, line));
}

/* At the end of this loop turn. */
static void
feed_soon(struct feed *f)
{
	if (!ev_is_active(&f->flush))
		ev_timer_start(f->loop, &f->flush);
}

/* Another herod goes on: what was collected leaves first, or is counted as
 * lost.  How it is asked for the rest; new. */
static json_t *
feed_leave(struct feed *f, const char *method, const char *key, const char *of)
{
	static const char *const words[] = {"all", "stdout", "stderr"};
	char text[48];
	int len;

	feed_flush(f);
	if (f->dropped) {
		len = snprintf(
		    text, sizeof(text), "{\"dropped\":%lld}", f->dropped);
		stream_notify_text(
		    f->stream, "log", text, (size_t)len, SIZE_MAX);
		f->dropped = 0;
	}
	return json_pack("{s:s, s:{s:s, s:i, s:s}}", "method", method, "params",
	    key, of, "lines", 0, "stream", words[f->wanted_stream + 1]);
}

/* ---- following a runner ---- */

struct follower {
	struct feed feed;
	struct output_follower *output;
	struct runner *runner;
};

static void
follower_gone(void *arg)
{
	struct follower *f = arg;

	output_unfollow(f->output);
	feed_clear(&f->feed);
	free(f);
}

static void
follower_ready(void *arg)
{
	struct follower *f = arg;

	feed_flush(&f->feed);
}

static json_t *
follower_again(void *arg)
{
	struct follower *f = arg;

	return feed_leave(&f->feed, "follow_logs", "name", f->runner->name);
}

/* The runner was removed. */
static void
follower_end(struct follower *f)
{
	feed_flush(&f->feed);
	stream_notify(f->feed.stream, "log",
	    json_pack("{s:s}", "ended", f->runner->name));
	stream_close(f->feed.stream);
	follower_gone(f);
}

static void
follower_line(void *arg, const struct output_line *line)
{
	struct follower *f = arg;

	if (line == NULL) {
		follower_end(f);
		return;
	}
	feed_line(&f->feed, f->runner->output, line);
	if (json_array_size(f->feed.lines) > 0)
		feed_soon(&f->feed);
}

HANDLER(follow_logs)
{
	struct runner *r = runner_with_logs(call);
	struct output_filter filter = {.instance = -1};
	struct follower *f;

	if (r == NULL)
		return;
	f = xcalloc(1, sizeof(*f));
	if (!feed_init(&f->feed, call, follower_gone, f)) {
		free(f);
		return;
	}
	f->runner = r;
	stream_on_ready(f->feed.stream, follower_ready);
	stream_outlives(f->feed.stream, follower_again);
	f->output = output_follow(r->output, follower_line, f);
	filter.lines = (size_t)call_count(call, "lines");
	filter.stream = stream_of(call);
	call_reply(
	    call, json_pack("{s:o}", "lines", output_tail(r->output, &filter)));
}

/* ---- the last lines of a job ---- */

/* Clocks of nodes differ: a line may be older than its job by so much. */
#define CLOCKS 3600.0

/* Reads the job, then looks for its lines. */
struct job_lines {
	const struct services *services;
	char id[129];
	size_t lines;
	int stream;
	struct log_search *search; /* NULL: Redis is being asked */
	/* What is written from now on is not in the answer.  May be NULL. */
	void (*begun)(void *arg);
	/* With [LogLine...], which it owns, or a refusal; last. */
	void (*done)(void *arg, json_t *lines, const struct err *e);
	void *arg; /* NULL: nobody waits any more */
};

static bool
is_elsewhere(const struct services *s, const struct job *j)
{
	return j->node && strcmp(j->node, workers_node(s->workers)) != 0;
}

static int
refuse_elsewhere(const struct job *j, struct err *e)
{
	err_set(e, ERR_ELSEWHERE,
	    "job %s ran on node %s, and its lines are in the logs there",
	    j->spec.id, j->node);
	err_hint(e, "ask the herod of that node");
	return err_subject(e, j->node);
}

/* May it have run, or does it run, by this one? */
static bool
is_runner_of(const struct runner *r, const struct job *j)
{
	if (r->conf.kind == KIND_SERVICE)
		return false;
	return (j->queue && strcmp(runner_queue(r), j->queue) == 0) ||
	    (j->spec.runner && strcmp(r->name, j->spec.runner) == 0);
}

static void
on_found(void *arg, json_t *lines)
{
	struct job_lines *l = arg;

	l->done(l->arg, lines, NULL);
	free(l);
}

static int
refuse_gone(const struct job *j, struct err *e)
{
	const char *name = j->spec.runner ? j->spec.runner : j->queue;

	err_set(e, ERR_NO_RUNNER,
	    "job %s ran here, but runner %s is not there any more", j->spec.id,
	    name ? name : "?");
	err_hint(e, "its log files may be");
	return err_subject(e, j->spec.id);
}

/* -1 with a refusal: no runner has lines of it. */
static int
job_lines_search(struct job_lines *l, const struct job *j, struct err *e)
{
	struct log_wanted wanted = {
	    .job = l->id, .lines = l->lines, .stream = l->stream};
	size_t nrunners = 0;
	struct runner *r;

	if (text_time(j->created_at, &wanted.since))
		wanted.since -= CLOCKS;
	l->search = log_search_new(l->services->loop, &wanted);
	RUNNERS_FOREACH (r, l->services->runners)
		if (is_runner_of(r, j) && ++nrunners)
			log_search_add(l->search, r->output, r->name);
	if (j->node && nrunners == 0) {
		log_search_cancel(l->search);
		return refuse_gone(j, e);
	}
	log_search_begin(l->search, on_found, l);
	if (l->begun)
		l->begun(l->arg);
	return 0;
}

static void
on_job(void *arg, struct job *j, const struct err *e)
{
	struct job_lines *l = arg;
	struct err own = {0};

	if (j && is_elsewhere(l->services, j))
		refuse_elsewhere(j, &own);
	else if (j && l->arg)
		job_lines_search(l, j, &own);
	if (err_is_set(&own))
		e = &own;
	if (e && l->arg)
		l->done(l->arg, NULL, e);
	if (e || !l->arg)
		free(l);
	job_free(j);
}

static void
job_lines_cancel(struct job_lines *l)
{
	l->arg = NULL;
	if (l->search == NULL)
		return; /* its answer comes and is dropped */
	log_search_cancel(l->search);
	free(l);
}

/* NULL with a refusal, and done is not called. */
static struct job_lines *
job_lines_new(const struct call *call,
    void (*done)(void *arg, json_t *lines, const struct err *e), void *arg,
    struct err *e)
{
	struct job_lines *l = xcalloc(1, sizeof(*l));

	l->services = call->services;
	strlcpy(l->id, call_string(call, "id"), sizeof(l->id));
	l->lines = (size_t)call_count(call, "lines");
	l->stream = stream_of(call);
	l->done = done;
	l->arg = arg;
	if (workers_read(call->services->workers, l->id, on_job, l, e) == 0)
		return l;
	free(l);
	return NULL;
}

/* A call of job.logs. */
struct logs_asked {
	struct call *call;
	struct job_lines *lines;
};

static void
asked_gone(void *arg)
{
	struct logs_asked *a = arg;

	job_lines_cancel(a->lines);
	free(a);
}

static void
asked_done(void *arg, json_t *lines, const struct err *e)
{
	struct logs_asked *a = arg;
	struct call *call = a->call;

	free(a);
	call_on_gone(call, NULL, NULL);
	if (e && e->code == ERR_ELSEWHERE && peers_forward(call, e->subject, e))
		return;
	if (e)
		call_refuse(call, e);
	else
		call_reply(call, lines);
}

HANDLER(job_logs)
{
	struct logs_asked *a = xcalloc(1, sizeof(*a));
	struct err e = {0};

	a->call = call;
	a->lines = job_lines_new(call, asked_done, a, &e);
	if (a->lines) {
		call_on_gone(call, asked_gone, a);
		return;
	}
	free(a);
	call_refuse(call, &e);
}

/* ---- following a job ---- */

struct job_stream {
	struct feed feed;
	const struct services *services;
	struct call *call; /* not answered yet; else NULL */
	struct job_follower *output;
	struct job_lines *past; /* NULL: they are known */
	struct job_wait *wait; /* for its end; NULL: it is over */
	json_t *end; /* the last notification; NULL: not yet */
	char id[129];
};

static void
job_stream_gone(void *arg)
{
	struct job_stream *f = arg;

	output_unfollow_job(f->output);
	if (f->past)
		job_lines_cancel(f->past);
	if (f->wait)
		job_wait_cancel(f->wait);
	json_decref(f->end);
	feed_clear(&f->feed);
	free(f);
}

/* The end is told when all that came before was, or was counted. */
static void
job_stream_flush(struct job_stream *f)
{
	feed_flush(&f->feed);
	if (f->end == NULL || f->feed.dropped > 0 ||
	    !stream_notify(f->feed.stream, "log", json_incref(f->end)))
		return;
	stream_close(f->feed.stream);
	job_stream_gone(f);
}

static void
on_job_flush(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("RPC stream", "job.logs");
	(void)loop;
	(void)revents;
	job_stream_flush(timer->data);
}

static void
job_stream_ready(void *arg)
{
	struct job_stream *f = arg;

	if (f->call == NULL)
		job_stream_flush(f);
}

static json_t *
job_stream_again(void *arg)
{
	struct job_stream *f = arg;

	return feed_leave(&f->feed, "job.follow", "id", f->id);
}

static void
job_stream_line(
    void *arg, const struct output *o, const struct output_line *line)
{
	struct job_stream *f = arg;

	feed_line(&f->feed, o, line);
	if (f->call == NULL)
		feed_soon(&f->feed);
}

/* It is over, or cannot be waited for any more. */
static void
job_stream_end(void *arg, const struct job *j, const struct err *e)
{
	struct job_stream *f = arg;

	f->wait = NULL;
	f->end = json_pack("{s:s, s:s?, s:s?, s:s?}", "ended", f->id, "status",
	    j ? job_status_word(j->status) : NULL, "node",
	    j && is_elsewhere(f->services, j) ? j->node : NULL, "why",
	    e ? e->text : NULL);
	feed_soon(&f->feed);
}

/* The answer; new lines follow. */
static void
job_stream_begin(struct job_stream *f, json_t *stolen)
{
	call_reply(f->call, json_pack("{s:o}", "lines", stolen));
	f->call = NULL;
	stream_outlives(f->feed.stream, job_stream_again);
	f->wait = workers_wait(
	    f->services->workers, f->id, 0, false, job_stream_end, f);
	feed_soon(&f->feed);
}

/* What came until now is among the past lines. */
static void
on_past_begun(void *arg)
{
	struct job_stream *f = arg;

	json_array_clear(f->feed.lines);
	f->feed.dropped = 0;
}

static void
on_past(void *arg, json_t *lines, const struct err *e)
{
	struct job_stream *f = arg;

	f->past = NULL;
	if (!e) {
		job_stream_begin(f, lines);
		return;
	}
	call_refuse(f->call, e);
	stream_close(f->feed.stream);
	job_stream_gone(f);
}

static struct job_stream *
job_stream_new(struct call *call)
{
	struct job_stream *f = xcalloc(1, sizeof(*f));

	if (!feed_init(&f->feed, call, job_stream_gone, f)) {
		free(f);
		return NULL;
	}
	ev_set_cb(&f->feed.flush, on_job_flush);
	f->feed.flush.data = f;
	f->services = call->services;
	f->call = call;
	strlcpy(f->id, call_string(call, "id"), sizeof(f->id));
	stream_on_ready(f->feed.stream, job_stream_ready);
	f->output =
	    output_follow_job(&runners_context(call->services->runners)->output,
		f->id, job_stream_line, f);
	return f;
}

HANDLER(job_follow)
{
	struct job_stream *f = job_stream_new(call);
	struct err e = {0};

	if (f == NULL)
		return;
	/* It goes on where the herod before us was. */
	if (call->again) {
		job_stream_begin(f, json_array());
		return;
	}
	f->past = job_lines_new(call, on_past, f, &e);
	if (f->past) {
		f->past->begun = on_past_begun;
		return;
	}
	call_refuse(call, &e);
	stream_close(f->feed.stream);
	job_stream_gone(f);
}
