/*
 * What runners write: files, ring, followers, sinks.
 *
 * Each call of output_feed() becomes one write(2) of whole lines, each with
 * the same time stamp (one clock reading a batch).  The ring holds the lines
 * as text, and is filled from the files after a start.
 *
 * Where herod is killed in between, the next one gets the same bytes again,
 * makes the same lines of them (same half line before, same time, same
 * allowance of the rate limit) and passes over those that are in a file
 * already: the note in transit (transit.h) says how many.
 */
#include "output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sys/queue.h>

#include "child.h"
#include "clock.h"
#include "counters.h"
#include "mem.h"

#define SPARE_MAX \
	(256 * 1024) /* bytes of a buffer that is kept for the next \
		      */
#define STAMP 27 /* bytes that a line as text begins with */

struct output_follower {
	TAILQ_ENTRY(output_follower) entry;
	struct output *output;
	void (*fn)(void *arg, const struct output_line *line);
	void *arg;
};

struct job_follower {
	LIST_ENTRY(job_follower) entry;
	char *job;
	void (*fn)(
	    void *arg, const struct output *o, const struct output_line *line);
	void *arg;
};

struct job_followers {
	LIST_HEAD(, job_follower) list;
};

/* What a piece of output is made into. */
struct piece {
	struct text lines;
	struct text json_lines; /* the same for the file */
	struct progress *progress; /* or NULL */
	struct piece *outer; /* in hand when this one came; or NULL */
};

struct output {
	char *runner;
	const struct output_home *home;
	struct logfile *files[CHILD_STREAMS]; /* may be one; NULL: none */
	bool json; /* in the files */
	enum sink_kind sink;
	double rate; /* lines a second of a source; 0: any */
	size_t max_line;
	struct text ring; /* whole lines, at most twice home->ring_bytes */
	bool ring_filled; /* from the files */
	struct piece *piece; /* in hand, or NULL */
	TAILQ_HEAD(, output_follower) followers;
	unsigned long long withheld; /* lines, by the rate limit */
};

/* One is in hand at a time, so that outputs share its buffers. */
struct output_spare {
	struct piece *piece; /* NULL while it is lent */
};

struct output_source {
	struct output *output;
	int instance, stream;
	char *job;
	struct text half; /* a line without its end */
	struct transit_place place;
	size_t saved; /* bytes of half that outlive herod */
	double tokens; /* lines that the rate limit allows now */
	double refilled_at;
	unsigned long long withheld; /* since the last line */
	struct text head; /* of the lines of the piece in hand */
};

/* ---- the ring ---- */

/* Drops whole lines from the front until ring_bytes are left. */
static void
ring_trim(struct output *o)
{
	size_t most = o->home->ring_bytes;
	size_t from = o->ring.len > most ? o->ring.len - most : 0;
	const char *end;

	if (from == 0)
		return;
	end = memchr(o->ring.bytes + from - 1, '\n', o->ring.len - from + 1);
	from = end ? (size_t)(end - o->ring.bytes) + 1 : o->ring.len;
	memmove(o->ring.bytes, o->ring.bytes + from, o->ring.len - from);
	o->ring.len -= from;
}

/* Where the last ring_bytes begin with a whole line, if not within the last
 * one; of that there are at most twice as many. */
static size_t
last_lines(const struct output *o, const char *bytes, size_t len)
{
	size_t most = o->home->ring_bytes;
	const char *end = memchr(bytes + len - most - 1, '\n', most);

	if (end)
		return (size_t)(end + 1 - bytes);
	return len > 2 * most ? len - 2 * most : 0;
}

static void
ring_add(struct output *o, const char *bytes, size_t len)
{
	size_t most = o->home->ring_bytes, from = 0;

	if (most == 0 || len == 0)
		return;
	if (len > most) {
		/* All that is there would go. */
		o->ring.len = 0;
		from = last_lines(o, bytes, len);
	}
	text_add(&o->ring, bytes + from, len - from);
	if (o->ring.len >= 2 * most)
		ring_trim(o);
}

/* The last lines of a file, as text. */
static struct text
file_lines(const struct output *o, struct logfile *f)
{
	struct text lines = {0};
	const char *begin, *end;
	bool whole;
	size_t len;
	char *bytes = logfile_tail(f, o->home->ring_bytes, &len, &whole);

	if (bytes == NULL)
		return lines;
	begin = bytes;
	end = bytes + len;
	if (!whole) {
		begin = memchr(bytes, '\n', len);
		begin = begin ? begin + 1 : end;
	}
	if (begin < end && *begin == '{')
		lines_from_json(&lines, begin, (size_t)(end - begin));
	else if (begin < end)
		text_add(&lines, begin, (size_t)(end - begin));
	if (lines.len && lines.bytes[lines.len - 1] != '\n')
		text_add(&lines, "\n", 1);
	free(bytes);
	return lines;
}

static size_t
line_length(const char *bytes, const char *end)
{
	const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));

	return newline ? (size_t)(newline - bytes) + 1 : 0;
}

/* Both are in order of time, and so is what comes of them. */
static void
ring_merge(struct output *o, const struct text *a, const struct text *b)
{
	const char *x = a->bytes, *x_end = x + a->len, *y = b->bytes,
		   *y_end = y + b->len, **next;
	size_t n;

	while (x < x_end || y < y_end) {
		next = y == y_end || (x < x_end && strncmp(x, y, STAMP) <= 0)
		    ? &x
		    : &y;
		n = line_length(*next, next == &x ? x_end : y_end);
		ring_add(o, *next, n);
		*next += n;
	}
}

/* The end of the files as an earlier herod left them. */
static void
ring_fill(struct output *o)
{
	struct text out, err = {0};
	struct logfile *f = o->files[CHILD_STDOUT];

	if (o->ring_filled || o->home->ring_bytes == 0)
		return;
	o->ring_filled = true;
	out = f ? file_lines(o, f) : err;
	if (o->files[CHILD_STDERR] && o->files[CHILD_STDERR] != f)
		err = file_lines(o, o->files[CHILD_STDERR]);
	if (out.len && err.len)
		ring_merge(o, &out, &err);
	else
		ring_add(o, out.len ? out.bytes : err.bytes, out.len + err.len);
	text_clear(&out);
	text_clear(&err);
}

/* ---- lines ---- */

static void
tell_job_followers(const struct output *o, const struct output_line *line)
{
	struct job_follower *f, *next;

	LIST_FOREACH_SAFE (f, &o->home->job_followers->list, entry, next)
		if (strcmp(f->job, line->job) == 0)
			f->fn(f->arg, o, line);
}

/* Adds one stamped line to the batch and tells whoever wants to know. */
static void
add_line(struct output_source *s, const struct output_line *line)
{
	struct output *o = s->output;
	struct output_follower *f, *next;

	if (line->partial)
		line_add_text(&o->piece->lines, line);
	else {
		text_add(&o->piece->lines, s->head.bytes, s->head.len);
		text_add(&o->piece->lines, line->text, line->len);
		text_add(&o->piece->lines, "\n", 1);
	}
	if (o->json)
		line_add_json(&o->piece->json_lines, o->runner, line);
	if (o->sink != SINK_NONE)
		sink_send(o->home->sink, o->sink, o->runner, line);
	TAILQ_FOREACH_SAFE (f, &o->followers, entry, next)
		f->fn(f->arg, line);
	if (line->job && o->home->job_followers)
		tell_job_followers(o, line);
}

/* Says how many lines the rate limit has withheld. */
static void
tell_withheld(struct output_source *s, double now)
{
	struct output_line line = {.time = now,
	    .instance = s->instance,
	    .stream = s->stream,
	    .job = s->job};
	char text[96];

	if (s->withheld == 0)
		return;
	line.len = (size_t)snprintf(text, sizeof(text),
	    "[herod: %llu lines withheld, log_rate_limit is %g a second]",
	    s->withheld, s->output->rate);
	line.text = text;
	s->withheld = 0;
	add_line(s, &line);
}

static bool
rate_allows(struct output_source *s)
{
	if (s->output->rate <= 0)
		return true;
	if (s->tokens < 1) {
		s->withheld++;
		s->output->withheld++;
		return false;
	}
	s->tokens--;
	return true;
}

/* A line, or a part of one. */
static void
take_line(struct output_source *s, double now, const char *text, size_t len,
    bool partial)
{
	struct output_line line = {
	    now, s->instance, s->stream, partial, s->job, text, len};

	if (!rate_allows(s))
		return;
	tell_withheld(s, now);
	add_line(s, &line);
}

/* A line of any length: parts of at most max_line. */
static void
take_long_line(
    struct output_source *s, double now, const char *text, size_t len)
{
	size_t max = s->output->max_line;

	for (; len > max; text += max, len -= max)
		take_line(s, now, text, max, true);
	take_line(s, now, text, len, false);
}

static void
piece_free(struct piece *piece)
{
	if (piece == NULL)
		return;
	text_clear(&piece->lines);
	text_clear(&piece->json_lines);
	free(piece);
}

static void
text_empty(struct text *t)
{
	t->len = 0;
	if (t->size > SPARE_MAX)
		text_clear(t);
}

/* Who needs one while it is lent (a follower's doing) gets a new one. */
static void
piece_begin(struct output *o, struct progress *p)
{
	struct output_spare *spare = o->home->spare;
	struct piece *piece = spare->piece;

	spare->piece = NULL;
	if (piece == NULL)
		piece = xcalloc(1, sizeof(*piece));
	piece->progress = p;
	piece->outer = o->piece;
	o->piece = piece;
}

static void
piece_end(struct output *o)
{
	struct output_spare *spare = o->home->spare;
	struct piece *piece = o->piece;

	o->piece = piece->outer;
	piece_free(spare->piece);
	text_empty(&piece->lines);
	text_empty(&piece->json_lines);
	spare->piece = piece;
}

/* Bytes of as many lines as stand in the first done bytes of the file's. */
static size_t
lines_done(const struct output *o, size_t done)
{
	const struct text *lines = &o->piece->lines;
	const char *at = lines->bytes, *end, *json, *json_end;

	if (!o->json || done == 0)
		return done;
	end = at + lines->len;
	json = o->piece->json_lines.bytes;
	json_end = json + done;
	while ((json = memchr(json, '\n', (size_t)(json_end - json)))) {
		at += line_length(at, end);
		json++;
	}
	return (size_t)(at - lines->bytes);
}

/* To the file of the stream, and to the ring, but for what an earlier herod
 * has written. */
static void
flush(struct output *o, int stream)
{
	struct piece *piece = o->piece;
	const struct text *lines = &piece->lines,
			  *t = o->json ? &piece->json_lines : lines;
	size_t done = piece->progress ? (size_t)piece->progress->done : 0;
	size_t told;

	if (t->len <= done)
		return;
	told = lines_done(o, done);
	if (o->files[stream])
		logfile_write(o->files[stream], t->bytes + done, t->len - done,
		    piece->progress);
	ring_add(o, lines->bytes + told, lines->len - told);
	counter_add(log_bytes, t->len - done);
}

/* The rest of a half line has come. */
static void
end_half(struct output_source *s, double now, const char *text, size_t len)
{
	text_add(&s->half, text, len);
	take_long_line(s, now, s->half.bytes, s->half.len);
	s->half.len = 0;
}

/* Keeps a half line, handing out what is too long already. */
static void
keep_half(struct output_source *s, double now, const char *text, size_t len)
{
	size_t max = s->output->max_line, done = 0;

	text_add(&s->half, text, len);
	while (s->half.len - done > max) {
		take_line(s, now, s->half.bytes + done, max, true);
		done += max;
	}
	if (done)
		memmove(
		    s->half.bytes, s->half.bytes + done, s->half.len - done);
	s->half.len -= done;
}

static void
half_room(struct output_source *s, size_t len)
{
	if (s->half.size >= len)
		return;
	s->half.size = len;
	s->half.bytes = xreallocarray(s->half.bytes, len, 1);
}

/* The half line that there was before the piece.  Its text may be a later
 * one's by now, but only when all that is made of it is in the file. */
static void
half_as_it_was(struct output_source *s, size_t len)
{
	half_room(s, len);
	transit_half_load(&s->place, s->half.bytes, len);
	s->half.len = len;
}

/* Tokens for the time since the last piece: a second's at most. */
static void
refill(struct output_source *s, double now)
{
	double passed = now - s->refilled_at;

	/* The clock may have been set. */
	if (s->refilled_at == 0 || passed < 0 || passed > 1)
		passed = 1;
	s->refilled_at = now;
	s->tokens += passed * s->output->rate;
	if (s->tokens > s->output->rate)
		s->tokens = s->output->rate;
}

/* What a killed herod began. */
static void
begin_again(struct output_source *s, const struct progress *p)
{
	half_as_it_was(s, (size_t)p->half);
	s->tokens = p->tokens;
	s->withheld = p->withheld;
	s->refilled_at = p->time;
	if (s->output->files[s->stream])
		logfile_settle(
		    s->output->files[s->stream], s->output->piece->progress);
}

/* Returns the time of what comes. */
static double
begin(struct output_source *s, struct progress *p)
{
	double now = clock_wall();
	char head[LINE_HEAD_SIZE];
	struct output_line line;

	piece_begin(s->output, p);
	if (p && p->time != 0) {
		now = p->time;
		begin_again(s, p);
	} else
		refill(s, now);
	if (p && p->time == 0) {
		p->half = s->half.len;
		p->tokens = s->tokens;
		p->withheld = s->withheld;
		p->time = now;
	}
	line = (struct output_line){.time = now,
	    .instance = s->instance,
	    .stream = s->stream,
	    .job = s->job};
	s->head.len = 0;
	text_add(&s->head, head, line_head(&line, head));
	ring_fill(s->output);
	return now;
}

/* What is left waits for more, or for the herod after us. */
static void
half_save(struct output_source *s, bool appended)
{
	if (s->half.len > 0)
		transit_half_save(&s->place, s->half.bytes, s->half.len,
		    appended ? s->saved : 0);
	else if (s->saved > 0)
		transit_half_drop(&s->place);
	s->saved = s->half.len;
}

static void
finish(struct output_source *s, bool appended)
{
	flush(s->output, s->stream);
	half_save(s, appended);
	piece_end(s->output);
}

/* No more will come: the last half line is a line now. */
static void
end_last(struct output_source *s)
{
	double now = begin(s, transit_last(&s->place));

	if (s->half.len)
		end_half(s, now, "", 0);
	tell_withheld(s, now);
	finish(s, false);
	if (s->place.transit)
		transit_done(s->place.transit);
}

static void
take_bytes(struct output_source *s, double now, const char *buf, size_t len)
{
	const char *end, *newline;

	for (end = buf + len; buf < end; buf = newline + 1) {
		newline = memchr(buf, '\n', (size_t)(end - buf));
		if (newline == NULL) {
			keep_half(s, now, buf, (size_t)(end - buf));
			break;
		}
		if (s->half.len)
			end_half(s, now, buf, (size_t)(newline - buf));
		else
			take_long_line(s, now, buf, (size_t)(newline - buf));
	}
}

void
output_feed(struct output_source *s, const char *buf, size_t len)
{
	size_t before;
	double now;

	if (len == 0) {
		end_last(s);
		return;
	}
	now = begin(s, transit_progress(&s->place));
	before = s->half.len;
	take_bytes(s, now, buf, len);
	finish(s, s->half.len == before + len);
}

void
output_lines(struct output *o, const struct output_line *about,
    const char *text, size_t len, struct progress *p)
{
	struct output_source s = {.output = o,
	    .instance = about->instance,
	    .stream = about->stream,
	    .job = (char *)(uintptr_t)about->job};
	double now = begin(&s, p);

	take_bytes(&s, now, text, len);
	if (s.half.len || len == 0)
		end_half(&s, now, "", 0);
	tell_withheld(&s, now);
	finish(&s, false);
	text_clear(&s.half);
	text_clear(&s.head);
}

void
output_source_job(struct output_source *s, const char *job)
{
	if (s->job && job ? strcmp(s->job, job) == 0 : s->job == job)
		return;
	if (s->half.len)
		end_last(s);
	free(s->job);
	s->job = xstrdup(job);
}

struct output_source *
output_source_new(struct output *o, int instance, int stream, const char *job,
    const struct transit_place *place)
{
	struct output_source *s = xcalloc(1, sizeof(*s));

	s->output = o;
	s->instance = instance;
	s->stream = stream;
	s->job = xstrdup(job);
	if (place)
		s->place = *place;
	half_as_it_was(s, transit_half_length(&s->place));
	s->saved = s->half.len;
	return s;
}

void
output_source_end(struct output_source *s)
{
	if (s->half.len || s->withheld)
		end_last(s);
	text_clear(&s->half);
	text_clear(&s->head);
	free(s->job);
	free(s);
}

void
output_note(struct output *o, int instance, const char *fmt, ...)
{
	struct output_source *s;
	va_list ap;
	char text[512];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s = output_source_new(o, instance, CHILD_STDERR, NULL, NULL);
	output_feed(s, text, strlen(text));
	output_source_end(s);
}

/* ---- reading back ---- */

static bool
is_asked_for(const struct output_filter *f, const struct output_line *l)
{
	return l->time >= f->since &&
	    (f->stream < 0 || f->stream == l->stream) &&
	    (f->instance < 0 || f->instance == l->instance) &&
	    (f->job == NULL || (f->or_none && l->job == NULL) ||
		(l->job && strcmp(f->job, l->job) == 0));
}

json_t *
output_line_json(const struct output *o, const struct output_line *line)
{
	return line_json(o->runner, line);
}

/* The start of the last line of the first len bytes. */
static size_t
last_line(const char *bytes, size_t len)
{
	const char *newline = len > 1 ? memrchr(bytes, '\n', len - 1) : NULL;

	return newline ? (size_t)(newline - bytes) + 1 : 0;
}

/* Calls fn for the last lines that are asked for, newest first, until it
 * returns false. */
static void
ring_look(struct output *o, const struct output_filter *f,
    bool (*fn)(void *arg, const struct output_line *line), void *arg)
{
	struct output_line line;
	size_t end, start, left = f->lines;
	bool more = true, is_line;
	char *copy;

	ring_fill(o);
	for (end = o->ring.len; end > 0 && left > 0 && more; end = start) {
		start = last_line(o->ring.bytes, end);
		copy = xmalloc(end - start);
		memcpy(copy, o->ring.bytes + start, end - start);
		is_line = line_read(copy, end - start - 1, &line);
		if (is_line && is_asked_for(f, &line)) {
			more = fn(arg, &line);
			left--;
		} else if (is_line) {
			more = line.time >= f->since;
		}
		free(copy);
	}
}

struct tail {
	const struct output *output;
	json_t *lines;
};

static bool
add_to_tail(void *arg, const struct output_line *line)
{
	struct tail *t = arg;

	json_array_insert_new(t->lines, 0, output_line_json(t->output, line));
	return true;
}

json_t *
output_tail(struct output *o, const struct output_filter *f)
{
	struct tail t = {o, json_array()};

	ring_look(o, f, add_to_tail, &t);
	return t.lines;
}

struct last_words {
	char *bytes; /* filled from its end */
	size_t left; /* bytes still free */
	size_t nlines;
};

static bool
add_to_words(void *arg, const struct output_line *line)
{
	struct last_words *w = arg;
	size_t len = line->len;

	if (w->nlines > 0 && w->left > 0)
		w->bytes[--w->left] = '\n';
	if (len > w->left)
		len = w->left;
	w->left -= len;
	memcpy(w->bytes + w->left, line->text + line->len - len, len);
	w->nlines++;
	return w->left > 1;
}

char *
output_last_words(struct output *o, const struct output_filter *f, size_t max)
{
	struct last_words w = {.bytes = xmalloc(max), .left = max};
	char *words = NULL, *nul;

	ring_look(o, f, add_to_words, &w);
	while ((nul = memchr(w.bytes + w.left, '\0', max - w.left)))
		*nul = ' ';
	if (w.nlines > 0)
		words = xstrndup(w.bytes + w.left, max - w.left);
	free(w.bytes);
	return words;
}

/* ---- followers ---- */

struct output_follower *
output_follow(struct output *o,
    void (*fn)(void *arg, const struct output_line *line), void *arg)
{
	struct output_follower *f = xcalloc(1, sizeof(*f));

	f->output = o;
	f->fn = fn;
	f->arg = arg;
	TAILQ_INSERT_TAIL(&o->followers, f, entry);
	return f;
}

void
output_unfollow(struct output_follower *f)
{
	if (f->output)
		TAILQ_REMOVE(&f->output->followers, f, entry);
	free(f);
}

struct job_followers *
job_followers_new(void)
{
	return xcalloc(1, sizeof(struct job_followers));
}

void
job_followers_free(struct job_followers *all)
{
	free(all);
}

struct job_follower *
output_follow_job(const struct output_home *home, const char *job,
    void (*fn)(
	void *arg, const struct output *o, const struct output_line *line),
    void *arg)
{
	struct job_follower *f = xcalloc(1, sizeof(*f));

	f->job = xstrdup(job);
	f->fn = fn;
	f->arg = arg;
	LIST_INSERT_HEAD(&home->job_followers->list, f, entry);
	return f;
}

void
output_unfollow_job(struct job_follower *f)
{
	LIST_REMOVE(f, entry);
	free(f->job);
	free(f);
}

/* ---- making ---- */

/* The file that a setting names; NULL: none.  AUTO is NAME, then ending. */
static struct logfile *
file_of(const struct output *o, const char *setting, const char *ending)
{
	struct logfile *f;
	char *path;

	if (strcasecmp(setting, "NONE") == 0)
		return NULL;
	if (strcasecmp(setting, "AUTO") != 0)
		return logfile_get(o->home->files, setting);
	path = xasprintf("%s/%s%s", o->home->dir, o->runner, ending);
	f = logfile_get(o->home->files, path);
	free(path);
	return f;
}

static void
put_files(struct logfile *files[CHILD_STREAMS])
{
	if (files[CHILD_STDERR] && files[CHILD_STDERR] != files[CHILD_STDOUT])
		logfile_put(files[CHILD_STDERR]);
	if (files[CHILD_STDOUT])
		logfile_put(files[CHILD_STDOUT]);
}

static void
open_files(struct output *o, const struct runner_conf *conf)
{
	const char *out = conf->stdout_logfile, *err = conf->stderr_logfile;

	o->files[CHILD_STDOUT] = file_of(o, out ? out : "NONE", ".log");
	o->files[CHILD_STDERR] =
	    err ? file_of(o, err, ".err.log") : o->files[CHILD_STDOUT];
	/* Both names lead to one: it is counted once. */
	if (err && o->files[CHILD_STDERR] &&
	    o->files[CHILD_STDERR] == o->files[CHILD_STDOUT])
		logfile_put(o->files[CHILD_STDERR]);
}

static void
set_rules(struct output *o, const struct runner_conf *conf)
{
	struct logfile_rules rules = {
	    .maxbytes = (unsigned long long)conf->stdout_logfile_maxbytes,
	    .backups = conf->stdout_logfile_backups,
	    .maxage = conf->log_maxage,
	    .totalbytes = (unsigned long long)conf->log_totalbytes,
	    .block = conf->log_on_full != 0};

	if (o->files[CHILD_STDOUT])
		logfile_configure(o->files[CHILD_STDOUT], &rules);
	if (o->files[CHILD_STDERR] == o->files[CHILD_STDOUT] ||
	    o->files[CHILD_STDERR] == NULL)
		return;
	rules.maxbytes = (unsigned long long)conf->stderr_logfile_maxbytes;
	rules.backups = conf->stderr_logfile_backups;
	logfile_configure(o->files[CHILD_STDERR], &rules);
}

void
output_reconfigure(struct output *o, const struct runner_conf *conf)
{
	struct logfile *before[CHILD_STREAMS];

	memcpy(before, o->files, sizeof(before));
	open_files(o, conf);
	put_files(before); /* after: they may be the same */
	set_rules(o, conf);
	o->json = conf->log_format != 0;
	o->sink = (enum sink_kind)conf->log_sink;
	o->rate = (double)conf->log_rate_limit;
	o->max_line = (size_t)conf->log_max_line;
}

struct output *
output_new(const char *runner, const struct runner_conf *conf,
    const struct output_home *home)
{
	struct output *o = xcalloc(1, sizeof(*o));

	o->runner = xstrdup(runner);
	o->home = home;
	TAILQ_INIT(&o->followers);
	output_reconfigure(o, conf);
	return o;
}

void
output_free(struct output *o)
{
	struct output_follower *f;

	while ((f = TAILQ_FIRST(&o->followers)) != NULL) {
		TAILQ_REMOVE(&o->followers, f, entry);
		f->output = NULL;
		f->fn(f->arg, NULL);
	}
	put_files(o->files);
	text_clear(&o->ring);
	free(o->runner);
	free(o);
}

struct output_spare *
output_spare_new(void)
{
	return xcalloc(1, sizeof(struct output_spare));
}

void
output_spare_free(struct output_spare *s)
{
	piece_free(s->piece);
	free(s);
}

bool
output_has_room(const struct output *o, int stream)
{
	return o->files[stream] == NULL || logfile_has_room(o->files[stream]);
}

const char *
output_path(const struct output *o, int stream)
{
	return o->files[stream] ? logfile_path(o->files[stream]) : NULL;
}

static json_t *
file_json(const struct logfile *f)
{
	unsigned long long dropped;
	const char *why;

	dropped = logfile_dropped(f, &why);
	return json_pack("{s:s, s:I, s:s?}", "file", logfile_path(f),
	    "dropped_bytes", (json_int_t)dropped, "why", why);
}

json_t *
output_json(const struct output *o)
{
	static const char *const names[] = {"stdout", "stderr"};
	json_t *object = json_object();
	int i;

	for (i = 0; i < CHILD_STREAMS; i++)
		json_object_set_new(object, names[i],
		    o->files[i] ? file_json(o->files[i]) : json_null());
	json_object_set_new(
	    object, "withheld_lines", json_integer((json_int_t)o->withheld));
	return object;
}
