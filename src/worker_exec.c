/*
 * One process for each job: payload on stdin, result on stdout.
 *
 * The payload is a sealed memfd.  What comes on stdout is appended to
 * another memfd that the keeper keeps, so a result is whole though herod
 * died half-way; the tag tells the next herod which job it was.
 */
#define LOG_MODULE "worker"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "work.h"

#define EXIT_LATER 75 /* EX_TEMPFAIL of sysexits.h: try it again later */
#define LAST_MAX 512 /* bytes */
#define LATER_MIN 0.1 /* seconds; it may ask without an end */

/* Nobody can change what it reads. */
static int
payload_fd(const struct job *j)
{
	int fd = memfd_create("payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1)
		return -1;
	/* Nothing but a signal cuts a write to memory short. */
	if (write(fd, j->spec.payload ? j->spec.payload : "", j->payload_len) !=
		(ssize_t)j->payload_len ||
	    lseek(fd, 0, SEEK_SET) == -1 ||
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ==
		-1) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- the process is there ---- */

static void
keep_last(struct work *k, const char *buf, size_t len)
{
	size_t drop;

	if (!k->last)
		k->last = xmalloc(LAST_MAX);
	if (len > LAST_MAX) {
		buf += len - LAST_MAX;
		len = LAST_MAX;
	}
	drop = k->last_len + len > LAST_MAX ? k->last_len + len - LAST_MAX : 0;
	memmove(k->last, k->last + drop, k->last_len - drop);
	memcpy(k->last + k->last_len - drop, buf, len);
	k->last_len += len - drop;
}

static void
begin_stderr(struct work *k)
{
	struct instance *i = k->place->instance;
	struct transit_place place = child_place(k->child, CHILD_STDERR);

	if (!k->err)
		k->err = output_source_new(i->runner->output, i->n,
		    CHILD_STDERR, k->job->spec.id, &place);
}

static void
on_stderr(struct work *k, const char *buf, size_t len)
{
	begin_stderr(k);
	output_feed(k->err, buf, len);
	keep_last(k, buf, len);
}

static void
on_stdout(struct work *k, const char *buf, size_t len)
{
	if (k->fate == FATE_TOO_LARGE)
		return;
	if (!k->result) {
		k->result = xmalloc(sizeof(*k->result));
		journal_begin(k->result, k->child->keep_fd, 0);
	}
	if (k->result->end + len > (size_t)k->all->conf->max_result ||
	    journal_add(k->result, child_piece(k->child), buf, len) == -1)
		exec_stop(k, FATE_TOO_LARGE);
}

static void
on_output(struct child *c, int stream, const char *buf, size_t len)
{
	struct work *k = c->arg;

	if (!k)
		return;
	if (stream == CHILD_STDOUT)
		on_stdout(k, buf, len);
	else
		on_stderr(k, buf, len);
}

/* ---- its end ---- */

/* The last line on stderr that is not blank. */
static const char *
last_line(struct work *k, char *buf, size_t size)
{
	size_t end = k->last_len, begin;

	while (end && strchr("\n\r\t ", k->last[end - 1]))
		end--;
	for (begin = end; begin && k->last[begin - 1] != '\n';)
		begin--;
	if (end - begin >= size)
		begin = end - size + 1;
	if (end > begin)
		memcpy(buf, k->last + begin, end - begin);
	buf[end - begin] = '\0';
	return buf;
}

/* The last words of this attempt, should the job be over with it. */
static void
note_last_lines(struct work *k)
{
	if (!k->child->stage)
		work_last_lines(k, k->child->started_at);
}

static void
take_result(struct work *k)
{
	size_t len = k->result ? k->result->end : 0;
	char *text = xmalloc(len + 1);
	ssize_t n = len ? journal_read(k->result, 0, text, len) : 0;

	job_set_result(k->job, text, n > 0 ? (size_t)n : 0, true);
	free(text);
}

static void
end_failed(struct work *k)
{
	char how[160], line[LAST_MAX];

	child_end_text(k->child, how, sizeof(how));
	last_line(k, line, sizeof(line));
	note_last_lines(k);
	job_set_error(k->job, "%s%s%s", how, *line ? ": " : "", line);
	k->is_fatal =
	    ints_have(&k->place->instance->runner->conf.job_fatal_exitcodes,
		WEXITSTATUS(k->child->status));
	work_fail(k, JOB_ERROR);
}

/* What it wrote may be how long to wait: a number of seconds, or "30s". */
static void
end_later(struct work *k)
{
	static const struct kind kind = {TYPE_DURATION, "0..31536000"};
	json_t *word, *seconds;
	double delay = -1;

	take_result(k);
	word = json_string(k->job->result);
	seconds = type_check(&kind, "retry_after", word, NULL);
	if (seconds && k->job->result_len > 0)
		delay = fmax(json_number_value(seconds), LATER_MIN);
	json_decref(word);
	json_decref(seconds);
	job_set_result(k->job, "", 0, false);
	work_later(k, delay, "it asked for later (exit 75)");
}

/* Nobody asked it to end. */
static void
end_by_itself(struct work *k)
{
	const struct child *c = k->child;
	struct place *p = k->place;
	char how[160];

	child_end_text(c, how, sizeof(how));
	if (!c->status_known || !WIFEXITED(c->status))
		note_last_lines(k);
	if (c->stage && c->shortage) {
		place_hold(p);
		work_back(k, BACK_HEAD, how);
	} else if (c->stage) {
		job_set_error(k->job, "cannot start: %s", how);
		work_end(k, JOB_ERROR);
	} else if (!c->status_known || !WIFEXITED(c->status)) {
		work_back(k, BACK_DIED, how);
	} else if (WEXITSTATUS(c->status) == 0) {
		take_result(k);
		work_end(k, JOB_FINISHED);
	} else if (WEXITSTATUS(c->status) == EXIT_LATER) {
		end_later(k);
	} else {
		end_failed(k);
	}
}

static void
end_as_decided(struct work *k)
{
	char text[32];

	if (k->fate == FATE_TIMEOUT || k->fate == FATE_TOO_LARGE)
		note_last_lines(k);
	switch (k->fate) {
	case FATE_TIMEOUT:
		job_set_error(k->job, "timeout after %s",
		    duration_text(k->job->spec.timeout, text));
		work_fail(k, JOB_TIMEOUT);
		break;
	case FATE_CANCEL:
		work_end_cancelled(k);
		break;
	case FATE_TOO_LARGE:
		job_set_error(k->job,
		    "its result is longer than max_result (%lld bytes)",
		    k->all->conf->max_result);
		work_end(k, JOB_ERROR);
		break;
	case FATE_BACK:
		work_back(k, BACK_HEAD, "its runner was stopped");
		break;
	case FATE_OPEN:
		end_by_itself(k);
		break;
	}
}

static void
note_exit(struct work *k)
{
	const struct child *c = k->child;
	struct instance *i = k->place->instance;

	if (i->child == c)
		i->child = NULL;
	if (c->stage)
		return;
	instance_note_exit(i, c);
	job_exit_of(&k->job->exit, c, true);
}

/* The keeper tells it to the next herod, too, until Redis has what became of
 * the job. */
struct kept_end {
	struct keeper *keeper;
	unsigned id;
};

static void
on_end_settled(void *arg)
{
	struct kept_end *end = arg;

	keeper_forget(end->keeper, end->id);
	free(end);
}

static void
keep_end(struct work *k)
{
	struct child *c = k->child;
	struct kept_end *end;

	if (c->stage)
		return;
	end = xcalloc(1, sizeof(*end));
	end->keeper = c->keeper;
	end->id = c->id;
	c->keep_end = true;
	k->settled = on_end_settled;
	k->settled_arg = end;
}

static void
on_over(struct child *c)
{
	struct work *k = c->arg;

	if (!k)
		return;
	if (k->err)
		output_source_end(k->err);
	k->err = NULL;
	note_exit(k);
	keep_end(k);
	end_as_decided(k);
}

/* The result always; the log when its file takes it. */
static bool
wants_output(struct child *c, int stream)
{
	struct work *k = c->arg;

	return !k || stream == CHILD_STDOUT ||
	    output_has_room(k->place->instance->runner->output, stream);
}

static const struct child_ops exec_ops = {
    .wants = wants_output,
    .output = on_output,
    .over = on_over,
};

static const char *
reason_of(enum fate fate)
{
	switch (fate) {
	case FATE_TIMEOUT:
		return "the time of its job was up";
	case FATE_CANCEL:
		return "its job was cancelled";
	default:
		return "the result of its job was too large";
	}
}

/* Only the rest of its output is to come: how it ended stands. */
static bool
has_ended(const struct work *k)
{
	return k->child && child_has_ended(k->child);
}

void
exec_stop(struct work *k, enum fate fate)
{
	struct stop_rules rules;

	ev_timer_stop(k->all->loop, &k->timer);
	if (fate == FATE_TIMEOUT && has_ended(k))
		return; /* in time */
	if (k->fate == FATE_OPEN && (fate == FATE_TOO_LARGE || !has_ended(k)))
		k->fate = fate;
	if (work_is_pending(k, fate != FATE_BACK) || !k->child ||
	    k->child->is_over)
		return;
	if (fate == FATE_BACK)
		stop_rules_of(instance_conf(k->place->instance), &rules);
	else
		bounded_rules(k->place, &rules);
	if (fate != FATE_BACK) /* else that was said of the instance */
		instance_ends_for(k->place->instance, "%s", reason_of(fate));
	child_stop(k->child, &rules);
}

void
exec_forget(struct work *k)
{
	if (k->err)
		output_source_end(k->err);
	k->err = NULL;
	if (k->child) {
		k->child->arg = NULL;
		if (k->place->instance->child == k->child)
			k->place->instance->child = NULL;
	}
}

/* ---- its beginning ---- */

static void
tag_text(const struct work *k, char tag[CHILD_TAG_MAX])
{
	const struct instance *i = k->place->instance;
	const struct job *j = k->job;

	snprintf(tag, CHILD_TAG_MAX,
	    "{\"runner\":\"%s\",\"n\":%d,\"job\":\"%s\",\"attempt\":%lld,"
	    "\"deaths\":%lld,\"timeout\":%.17g,\"deadline\":%.17g,"
	    "\"ttl\":%.17g,\"claim\":[%lld,%lld]}",
	    i->runner->name, i->n, j->spec.id, j->attempts, j->deaths,
	    j->spec.timeout, k->deadline, j->spec.result_ttl, j->epoch,
	    j->sequence);
}

static int
start(struct work *k, int in, int out, struct err *e)
{
	struct instance *i = k->place->instance;
	char **extra = job_environment(k->job);
	char tag[CHILD_TAG_MAX];
	struct child_spec spec;
	int result;

	result = runner_spec(i, extra, &spec, e);
	strv_free(extra);
	if (result == -1)
		return -1;
	tag_text(k, tag);
	spec.tag = tag;
	spec.stdin_fd = in;
	spec.keep_fd = out;
	k->child = child_start(
	    runners_context(k->all->runners)->keeper, &spec, &exec_ops, k, e);
	spec_clear(&spec);
	i->child = k->child;
	return k->child ? 0 : -1;
}

void
exec_begin(struct work *k)
{
	struct place *p = k->place;
	struct err e = {0};
	int in = payload_fd(k->job);
	int out = memfd_create("result", MFD_CLOEXEC);

	if (in == -1 || out == -1) {
		log_warn("job %s", k->job->spec.id);
		place_hold(p);
		work_back(k, BACK_HEAD, "herod has no descriptors left");
	} else if (start(k, in, out, &e) == -1) {
		job_set_error(k->job, "cannot start: %s", e.text);
		work_end(k, JOB_ERROR);
	}
	if (in != -1)
		close(in);
	if (out != -1)
		close(out);
}

/* ---- after herod's death ---- */

static struct job *
tagged_job(const struct place *p, const json_t *tag)
{
	const json_t *claim = json_object_get(tag, "claim");
	struct job *j = job_new();

	j->spec.id = xstrdup(json_string_value(json_object_get(tag, "job")));
	j->attempts = json_integer_value(json_object_get(tag, "attempt"));
	j->deaths = json_integer_value(json_object_get(tag, "deaths"));
	j->spec.timeout = json_number_value(json_object_get(tag, "timeout"));
	j->spec.result_ttl = json_number_value(json_object_get(tag, "ttl"));
	j->epoch = json_integer_value(json_array_get(claim, 0));
	j->sequence = json_integer_value(json_array_get(claim, 1));
	j->queue = xstrdup(queue_name(p->lane->queue));
	j->instance = p->instance->n;
	job_move(j, JOB_STARTED, NULL);
	return j;
}

bool
exec_adopt(
    struct workers *w, struct instance *i, struct child *c, const json_t *tag)
{
	const char *id = json_string_value(json_object_get(tag, "job"));
	struct place *p = place_of(w, i);
	struct work *k;

	/* One that has ended needs no place, and may have left it to another.
	 */
	if (!p || !id || !id_is_valid(id) || c->keep_fd == -1 ||
	    (p->nworks && !child_has_ended(c)))
		return false;
	k = work_new(p, tagged_job(p, tag));
	if (!k)
		return false;
	k->partial = true;
	k->child = c;
	if (!i->child)
		i->child = c;
	k->deadline = json_number_value(json_object_get(tag, "deadline"));
	k->result = xmalloc(sizeof(*k->result));
	journal_resume(k->result, c->keep_fd, 0);
	work_arm(k);
	child_adopt(c, &exec_ops, k);
	begin_stderr(k); /* with what the herod before us had of a line */
	return true;
}
