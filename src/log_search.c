/* Lines of a job in log files. */
#include "log_search.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "mem.h"
#include "turns.h"

#define PIECE (256 * 1024) /* bytes of a file in one loop turn */
#define PIECE_MAX (16 << 20) /* a line that is longer is none of ours */

/* A log file and its backups. */
struct source {
	TAILQ_ENTRY(source) entry;
	char *path, *runner;
	long long n; /* of the backup in hand; 0: the file itself */
	int fd; /* -1: none is open */
	ino_t number; /* of it, which it keeps when it is rotated */
	off_t at; /* what is before has not been looked at */
	size_t piece; /* bytes to read */
	bool done;
	json_t *found; /* newest first */
	size_t told; /* of these, in the answer */
};

struct log_search {
	struct ev_loop *loop;
	struct log_wanted wanted;
	char *job;
	TAILQ_HEAD(, source) sources;
	ev_timer turn;
	struct text buf;
	size_t bytes; /* of the text that was found */
	void (*fn)(void *arg, json_t *lines);
	void *arg;
};

/* ---- files ---- */

/* Opens FILE.n as it is now; false: it is not there. */
static bool
source_open(struct source *f, long long n)
{
	char *path = logfile_backup(f->path, n);
	struct stat st;

	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	free(path);
	if (f->fd == -1)
		return false;
	if (fstat(f->fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(f->fd);
		f->fd = -1;
		return false;
	}
	f->n = n;
	f->number = st.st_ino;
	f->at = st.st_size;
	f->piece = PIECE;
	return true;
}

/* Where the one that was in hand is now: it may have been rotated meanwhile.
 * -1: it is gone. */
static long long
place_now(const struct source *f)
{
	long long n = f->n;
	struct stat st;
	char *path;
	int bad;

	for (;; n++) {
		path = logfile_backup(f->path, n);
		bad = stat(path, &st);
		free(path);
		if (bad && n > f->n)
			return -1;
		if (!bad && st.st_ino == f->number)
			return n;
	}
}

/* The one that was written before. */
static bool
open_older(struct source *f)
{
	long long n = f->number ? place_now(f) : 0;

	return n >= 0 && source_open(f, n + 1);
}

static void
source_close(struct source *f)
{
	if (f->fd != -1)
		close(f->fd);
	f->fd = -1;
}

/* ---- lines ---- */

/* Takes a line of a file apart, as text or as JSON; false when it is none.
 * line points into *copy, which is the caller's to free(3). */
static bool
read_line(const char *bytes, size_t len, struct output_line *line, char **copy)
{
	struct text text = {0};

	if (*bytes == '{')
		lines_from_json(&text, bytes, len);
	else {
		text_add(&text, bytes, len);
		text_add(&text, "\n", 1);
	}
	*copy = text.bytes;
	return text.len > 0 && line_read(text.bytes, text.len - 1, line);
}

static bool
is_older(const struct log_search *s, const char *bytes, size_t len)
{
	struct output_line line;
	char *copy;
	bool older =
	    read_line(bytes, len, &line, &copy) && line.time < s->wanted.since;

	free(copy);
	return older;
}

static void
take_line(struct log_search *s, struct source *f, const char *bytes, size_t len)
{
	struct output_line line;
	char *copy;

	if (read_line(bytes, len, &line, &copy) && line.job &&
	    strcmp(line.job, s->job) == 0 &&
	    (s->wanted.stream < 0 || s->wanted.stream == line.stream)) {
		json_array_append_new(f->found, line_json(f->runner, &line));
		s->bytes += line.len;
	}
	free(copy);
}

static bool
has_enough(const struct log_search *s, const struct source *f)
{
	return json_array_size(f->found) >= s->wanted.lines ||
	    s->bytes >= LOG_SEARCH_MAX;
}

/* Whole lines, the last first. */
static void
look_at(struct log_search *s, struct source *f, const char *bytes, size_t len)
{
	size_t id_len = strlen(s->job), end = len, start;
	const char *newline;

	if (memmem(bytes, len, s->job, id_len) == NULL)
		return;
	while (end > 0 && !has_enough(s, f)) {
		end -= bytes[end - 1] == '\n';
		newline = end ? memrchr(bytes, '\n', end) : NULL;
		start = newline ? (size_t)(newline - bytes) + 1 : 0;
		if (memmem(bytes + start, end - start, s->job, id_len))
			take_line(s, f, bytes + start, end - start);
		end = start;
	}
}

/* ---- pieces ---- */

static size_t
first_length(const char *bytes, size_t len)
{
	const char *newline = memchr(bytes, '\n', len);

	return newline ? (size_t)(newline - bytes) : len;
}

/* What of it is whole lines begins there; len: there is none. */
static size_t
whole_from(const struct source *f, const char *bytes, size_t len)
{
	size_t first;

	if ((off_t)len == f->at)
		return 0;
	first = first_length(bytes, len);
	return first < len ? first + 1 : len;
}

/* The piece before what was looked at. */
static void
read_piece(struct log_search *s, struct source *f)
{
	size_t len = (off_t)f->piece < f->at ? f->piece : (size_t)f->at, from;
	char *bytes;

	if (s->buf.size < len) {
		s->buf.bytes = xreallocarray(s->buf.bytes, len, 1);
		s->buf.size = len;
	}
	bytes = s->buf.bytes;
	if (len == 0 ||
	    pread(f->fd, bytes, len, f->at - (off_t)len) != (ssize_t)len) {
		source_close(f);
		return;
	}
	from = whole_from(f, bytes, len);
	if (from == len && f->piece < PIECE_MAX) {
		f->piece *= 4;
		return;
	}
	f->piece = PIECE;
	f->at -= (off_t)(len - from);
	if (from == len)
		f->at -= (off_t)len;
	look_at(s, f, bytes + from, len - from);
	f->done = has_enough(s, f) ||
	    (from < len &&
		is_older(
		    s, bytes + from, first_length(bytes + from, len - from)));
	if (f->at == 0)
		source_close(f);
}

/* ---- the end ---- */

static const char *
next_time(const struct source *f)
{
	return json_string_value(
	    json_object_get(json_array_get(f->found, f->told), "time"));
}

/* The source with the newest line that is left, or NULL. */
static struct source *
newest(struct log_search *s)
{
	struct source *f, *best = NULL;

	TAILQ_FOREACH (f, &s->sources, entry)
		if (f->told < json_array_size(f->found) &&
		    (!best || strcmp(next_time(f), next_time(best)) > 0))
			best = f;
	return best;
}

static json_t *
merge(struct log_search *s)
{
	json_t *backwards = json_array(), *lines = json_array();
	struct source *f;
	size_t n;

	while (json_array_size(backwards) < s->wanted.lines && (f = newest(s)))
		json_array_append(
		    backwards, json_array_get(f->found, f->told++));
	for (n = json_array_size(backwards); n-- > 0;)
		json_array_append(lines, json_array_get(backwards, n));
	json_decref(backwards);
	return lines;
}

void
log_search_cancel(struct log_search *s)
{
	struct source *f;

	ev_timer_stop(s->loop, &s->turn);
	while ((f = TAILQ_FIRST(&s->sources))) {
		TAILQ_REMOVE(&s->sources, f, entry);
		source_close(f);
		json_decref(f->found);
		free(f->path);
		free(f->runner);
		free(f);
	}
	text_clear(&s->buf);
	free(s->job);
	free(s);
}

static void
finish(struct log_search *s)
{
	json_t *lines = merge(s);
	void (*fn)(void *arg, json_t *lines) = s->fn;
	void *arg = s->arg;

	log_search_cancel(s);
	fn(arg, lines);
}

static void
on_turn(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("search in", "logs");
	struct log_search *s = timer->data;
	struct source *f;

	(void)revents;
	TAILQ_FOREACH (f, &s->sources, entry)
		if (!f->done)
			break;
	if (f == NULL) {
		finish(s);
		return;
	}
	if (f->fd != -1)
		read_piece(s, f);
	else if (!open_older(f))
		f->done = true;
	if (f->done)
		source_close(f);
	ev_timer_start(loop, timer);
}

/* ---- the beginning ---- */

struct log_search *
log_search_new(struct ev_loop *loop, const struct log_wanted *wanted)
{
	struct log_search *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->wanted = *wanted;
	s->job = xstrdup(wanted->job);
	TAILQ_INIT(&s->sources);
	ev_timer_init(&s->turn, on_turn, 0, 0);
	s->turn.data = s;
	return s;
}

static struct source *
source_new(struct log_search *s, const char *path, const char *runner)
{
	struct source *f = xcalloc(1, sizeof(*f));

	f->path = xstrdup(path);
	f->runner = xstrdup(runner);
	f->fd = -1;
	f->found = json_array();
	TAILQ_INSERT_TAIL(&s->sources, f, entry);
	return f;
}

/* Runners may share one. */
static bool
has_path(const struct log_search *s, const char *path)
{
	const struct source *f;

	TAILQ_FOREACH (f, &s->sources, entry)
		if (f->path && strcmp(f->path, path) == 0)
			return true;
	return false;
}

static void
add_memory(
    struct log_search *s, struct output *o, int stream, const char *runner)
{
	const struct output_filter filter = {.lines = s->wanted.lines,
	    .stream = stream,
	    .instance = -1,
	    .job = s->job};
	struct source *f = source_new(s, "", runner);
	json_t *lines = output_tail(o, &filter);
	size_t i;

	for (i = json_array_size(lines); i-- > 0;)
		json_array_append(f->found, json_array_get(lines, i));
	json_decref(lines);
	f->done = true;
}

void
log_search_add(struct log_search *s, struct output *o, const char *runner)
{
	struct source *f;
	const char *path;
	int stream;

	for (stream = 0; stream < CHILD_STREAMS; stream++) {
		if (s->wanted.stream >= 0 && s->wanted.stream != stream)
			continue;
		path = output_path(o, stream);
		if (path == NULL)
			add_memory(s, o, stream, runner);
		if (path == NULL || has_path(s, path))
			continue;
		f = source_new(s, path, runner);
		source_open(f, 0);
	}
}

void
log_search_begin(
    struct log_search *s, void (*fn)(void *arg, json_t *lines), void *arg)
{
	s->fn = fn;
	s->arg = arg;
	ev_timer_start(s->loop, &s->turn);
}
