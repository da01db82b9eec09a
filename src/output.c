/*
 * What runners write: file, ring, followers.
 *
 * Each call of output_feed() becomes one write(2) of whole lines, each with
 * the same time stamp (one clock reading a batch).  The ring holds the very
 * bytes of the file, so that it can be filled from the file after a start.
 *
 * Where herod is killed in between, the next one gets the same bytes again,
 * makes the same lines of them (same half line before, same time) and passes
 * over those that are in a file already: the note in transit (transit.h) says
 * how many, and how long the file was before the write that was in hand.
 */
#define LOG_MODULE "output"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sys/queue.h>

#include "child.h"
#include "counters.h"
#include "log.h"
#include "mem.h"

#define ROTATE_RETRY 60 /* seconds */

/* A growing text; text is NULL while it is empty. */
struct text {
	char *bytes;
	size_t len, size;
};

struct output_follower {
	TAILQ_ENTRY(output_follower) entry;
	struct output *output;
	void (*fn)(void *arg, const struct output_line *line);
	void *arg;
};

struct output {
	char *runner;
	char *path; /* NULL: no file */
	int fd; /* -1 while it is not open */
	unsigned long long file_size, maxbytes;
	ino_t file_number; /* of the file that is open */
	bool torn; /* it ends within a line */
	time_t rotate_again; /* not before, after a failure; 0: well */
	time_t looked_at; /* when its name was last looked at */
	long long backups;
	size_t max_line;
	struct text ring; /* whole lines, at most twice ring_bytes */
	size_t ring_bytes;
	bool ring_filled; /* from the file */
	struct text batch; /* on its way to the file */
	struct progress *progress; /* of the piece it is of; or NULL */
	TAILQ_HEAD(, output_follower) followers;
	unsigned long long dropped;
	int error; /* errno of the last failed write, 0 when well */
};

struct output_source {
	struct output *output;
	int instance, stream;
	char *job;
	struct text half; /* a line without its end */
	struct transit_place place;
	size_t saved; /* bytes of half that outlive herod */
};

static void
text_add(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len > t->size) {
		t->size = (t->len + len) * 2;
		t->bytes = xreallocarray(t->bytes, t->size, 1);
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

static void
text_clear(struct text *t)
{
	free(t->bytes);
	memset(t, 0, sizeof(*t));
}

/* ---- the file ---- */

static void
trouble(struct output *o, const char *what, size_t lost)
{
	if (o->error != errno)
		log_warn("runner %s: %s %s", o->runner, what, o->path);
	o->error = errno;
	o->dropped += lost;
	counter_add(log_bytes_dropped, lost);
}

/* Does it end within a line, as herod or a full disk left it? */
static bool
is_torn(const char *path, off_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	char last = '\n';

	if (fd < 0)
		return false;
	if (pread(fd, &last, 1, size - 1) != 1)
		last = '\n';
	close(fd);
	return last != '\n';
}

/* A symbolic link could lead root's writes anywhere; those in /dev are the
 * system's own (/dev/stdout). */
static int
open_file(struct output *o)
{
	int follow = strncmp(o->path, "/dev/", 5) == 0 ? 0 : O_NOFOLLOW;
	struct stat st;

	o->fd = open(o->path,
	    O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC | O_NONBLOCK |
		follow,
	    0640);
	if (o->fd < 0)
		return -1;
	fstat(o->fd, &st);
	o->file_number = st.st_ino;
	o->file_size = S_ISREG(st.st_mode) ? (unsigned long long)st.st_size : 0;
	if (!S_ISREG(st.st_mode))
		o->maxbytes = 0;
	o->torn = o->file_size > 0 && is_torn(o->path, st.st_size);
	return 0;
}

static time_t
clock_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

/* Makes NAME.n of NAME.n-1, or of NAME. */
static int
rename_one(const struct output *o, long long n)
{
	char *to = xasprintf("%s.%lld", o->path, n);
	char *from =
	    n > 1 ? xasprintf("%s.%lld", o->path, n - 1) : xstrdup(o->path);
	int bad = rename(from, to) != 0 && errno != ENOENT;

	if (bad)
		log_warn(
		    "runner %s: rename %s; its log grows on", o->runner, from);
	free(from);
	free(to);
	return bad;
}

/* The lowest that is missing, so that a rotation that was cut short costs no
 * file; or the last, which goes. */
static long long
first_gap(const struct output *o)
{
	long long n = 0;
	bool there = true;
	char *path;

	while (there && n < o->backups) {
		path = xasprintf("%s.%lld", o->path, ++n);
		there = access(path, F_OK) == 0;
		free(path);
	}
	return n;
}

/* NAME.9 goes, NAME.8 becomes NAME.9, ... NAME becomes NAME.1.  Where that
 * is refused, the file is used further and it is tried again later. */
static void
rotate(struct output *o)
{
	int bad = o->backups == 0 && unlink(o->path) != 0 && errno != ENOENT;
	long long n;

	if (bad)
		log_warn("runner %s: unlink %s; its log grows on", o->runner,
		    o->path);
	for (n = first_gap(o); n > 0 && !bad; n--)
		bad = rename_one(o, n);
	o->rotate_again = bad ? clock_seconds() + ROTATE_RETRY : 0;
	if (bad)
		return;
	close(o->fd);
	o->fd = -1;
}

static bool
may_rotate(const struct output *o)
{
	return o->rotate_again == 0 || clock_seconds() >= o->rotate_again;
}

/* Once a second while something is written: others (logrotate) may have
 * moved the file away, removed or truncated it. */
static void
look_at_name(struct output *o)
{
	time_t now = clock_seconds();
	struct stat st;

	if (o->fd < 0 || now == o->looked_at)
		return;
	o->looked_at = now;
	if (stat(o->path, &st) != 0 || st.st_ino != o->file_number) {
		close(o->fd);
		o->fd = -1;
	} else if (S_ISREG(st.st_mode)) {
		o->file_size = (unsigned long long)st.st_size;
		o->torn = o->torn && st.st_size > 0;
	}
}

/* ---- in case herod is killed while it writes ---- */

static void
write_begins(struct output *o, size_t len)
{
	struct progress *p = o->progress;
	struct stat st;

	if (p == NULL)
		return;
	p->target = p->done + len;
	if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	p->size = (uint64_t)st.st_size;
	p->length = len;
	p->file = (uint64_t)st.st_ino;
}

static void
write_ended(struct output *o)
{
	struct progress *p = o->progress;

	if (p == NULL)
		return;
	p->done = p->target;
	p->file = 0;
}

/* The herod before us was killed in a write: either all of it is in the file,
 * or what is there of it is taken away. */
static void
settle_write(struct output *o)
{
	struct progress *p = o->progress;
	struct stat st;

	if (p->file == 0)
		return;
	if ((o->fd >= 0 || open_file(o) == 0) && fstat(o->fd, &st) == 0 &&
	    (uint64_t)st.st_ino == p->file) {
		if ((uint64_t)st.st_size >= p->size + p->length)
			p->done = p->target;
		else if ((uint64_t)st.st_size > p->size &&
		    ftruncate(o->fd, (off_t)p->size) == 0) {
			o->file_size = p->size;
			o->torn = false;
		}
	}
	p->file = 0;
}

/* ---- writing ---- */

/* What does not fit on the disk is counted. */
static void
write_file(struct output *o, const char *bytes, size_t len)
{
	ssize_t n;

	if (o->fd < 0 && open_file(o) != 0) {
		trouble(o, "open", len);
		return;
	}
	if (o->torn && write(o->fd, "\n", 1) == 1) {
		o->file_size++;
		o->torn = false;
	}
	write_begins(o, len);
	n = write(o->fd, bytes, len);
	write_ended(o);
	if (n > 0) {
		o->file_size += (unsigned long long)n;
		o->torn = bytes[n - 1] != '\n';
	}
	if (n != (ssize_t)len) {
		errno = n < 0 ? errno : ENOSPC;
		trouble(o, "write", len - (n > 0 ? (size_t)n : 0));
	} else if (o->error) {
		log_warnx("runner %s: %s is written again, %llu bytes were "
			  "lost",
		    o->runner, o->path, o->dropped);
		o->error = 0;
	}
}

/* How many of the bytes are whole lines within room. */
static size_t
whole_lines(const char *bytes, size_t len, unsigned long long room)
{
	const char *end;

	if (len <= room)
		return len;
	end = room ? memrchr(bytes, '\n', (size_t)room) : NULL;
	return end ? (size_t)(end - bytes) + 1 : 0;
}

/* The next lines that stand in one file, rotating to a new one when the
 * old is full.  A new file takes a line however long it is. */
static size_t
next_lines(struct output *o, const char *bytes, size_t len)
{
	size_t n;

	if (o->maxbytes == 0 || !may_rotate(o))
		return len;
	n = o->file_size < o->maxbytes
	    ? whole_lines(bytes, len, o->maxbytes - o->file_size)
	    : 0;
	if (n > 0)
		return n;
	if (o->fd >= 0 && o->file_size > 0)
		rotate(o);
	if (o->rotate_again)
		return len;
	n = whole_lines(bytes, len, o->maxbytes);
	return n ? n : (size_t)((char *)memchr(bytes, '\n', len) - bytes) + 1;
}

/* Whole lines. */
static void
write_lines(struct output *o, const char *bytes, size_t len)
{
	size_t n;

	if (o->path == NULL)
		return;
	look_at_name(o);
	if (o->fd < 0 && open_file(o) != 0) {
		trouble(o, "open", len);
		return;
	}
	for (; len > 0; bytes += n, len -= n) {
		n = next_lines(o, bytes, len);
		write_file(o, bytes, n);
	}
}

/* ---- the ring ---- */

/* Drops whole lines from the front until ring_bytes are left. */
static void
ring_trim(struct output *o)
{
	size_t from =
	    o->ring.len > o->ring_bytes ? o->ring.len - o->ring_bytes : 0;
	const char *end;

	if (from == 0)
		return;
	end = memchr(o->ring.bytes + from - 1, '\n', o->ring.len - from + 1);
	from = end ? (size_t)(end - o->ring.bytes) + 1 : o->ring.len;
	memmove(o->ring.bytes, o->ring.bytes + from, o->ring.len - from);
	o->ring.len -= from;
}

static void
ring_add(struct output *o, const char *bytes, size_t len)
{
	if (o->ring_bytes == 0)
		return;
	text_add(&o->ring, bytes, len);
	if (o->ring.len > 2 * o->ring_bytes)
		ring_trim(o);
}

/* The end of the file as an earlier herod left it. */
static void
ring_fill(struct output *o)
{
	struct stat st;
	off_t from;
	ssize_t n;
	int fd;

	if (o->ring_filled || o->path == NULL || o->ring_bytes == 0)
		return;
	o->ring_filled = true;
	fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		from = st.st_size > (off_t)o->ring_bytes
		    ? st.st_size - (off_t)o->ring_bytes
		    : 0;
		o->ring.size = (size_t)(st.st_size - from);
		o->ring.bytes = xmalloc(o->ring.size);
		n = pread(fd, o->ring.bytes, o->ring.size, from);
		o->ring.len = n > 0 ? (size_t)n : 0;
		if (from > 0)
			ring_trim(o);
		if (o->ring.len && o->ring.bytes[o->ring.len - 1] != '\n')
			text_add(&o->ring, "\n", 1);
	}
	close(fd);
}

/* ---- lines ---- */

static const char *
stream_word(int stream)
{
	return stream == CHILD_STDOUT ? "out" : "err";
}

/* Adds one stamped line to the batch and tells followers. */
static void
add_line(struct output_source *s, double now, const char *text, size_t len,
    bool partial)
{
	struct output *o = s->output;
	struct output_line line = {
	    now, s->instance, s->stream, partial, s->job, text, len};
	struct output_follower *f, *next;
	char head[256], stamp[TIME_TEXT_SIZE];
	int n;

	n = snprintf(head, sizeof(head), "%s %d %s%s%s%s ",
	    time_text(now, stamp), s->instance, stream_word(s->stream),
	    partial ? "+" : "", s->job ? "/" : "", s->job ? s->job : "");
	text_add(&o->batch, head, (size_t)n);
	text_add(&o->batch, text, len);
	text_add(&o->batch, "\n", 1);
	TAILQ_FOREACH_SAFE (f, &o->followers, entry, next)
		f->fn(f->arg, &line);
}

/* A line of any length: parts of at most max_line. */
static void
add_long_line(struct output_source *s, double now, const char *text, size_t len)
{
	size_t max = s->output->max_line;

	for (; len > max; text += max, len -= max)
		add_line(s, now, text, max, true);
	add_line(s, now, text, len, false);
}

static void
flush(struct output *o)
{
	size_t done = o->progress ? (size_t)o->progress->done : 0;

	if (o->batch.len > done) {
		write_lines(o, o->batch.bytes + done, o->batch.len - done);
		ring_add(o, o->batch.bytes + done, o->batch.len - done);
		counter_add(log_bytes, o->batch.len - done);
	}
	o->batch.len = 0;
	if (o->batch.size > 65536)
		text_clear(&o->batch);
}

static double
wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The rest of a half line has come. */
static void
end_half(struct output_source *s, double now, const char *text, size_t len)
{
	text_add(&s->half, text, len);
	add_long_line(s, now, s->half.bytes, s->half.len);
	s->half.len = 0;
}

/* Keeps a half line, handing out what is too long already. */
static void
keep_half(struct output_source *s, double now, const char *text, size_t len)
{
	size_t max = s->output->max_line, done = 0;

	text_add(&s->half, text, len);
	while (s->half.len - done > max) {
		add_line(s, now, s->half.bytes + done, max, true);
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

/* Returns the time of what comes. */
static double
begin(struct output_source *s, struct progress *p)
{
	struct output *o = s->output;
	double now = wall_clock();

	o->progress = p;
	if (p && p->time != 0) {
		now = p->time;
		half_as_it_was(s, (size_t)p->half);
		settle_write(o);
	} else if (p) {
		p->half = s->half.len;
		p->time = now;
	}
	ring_fill(o);
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
	flush(s->output);
	half_save(s, appended);
	s->output->progress = NULL;
}

/* No more will come: the last half line is a line now. */
static void
end_last(struct output_source *s)
{
	double now = begin(s, transit_last(&s->place));

	if (s->half.len)
		end_half(s, now, "", 0);
	finish(s, false);
	if (s->place.transit)
		transit_done(s->place.transit);
}

void
output_feed(struct output_source *s, const char *buf, size_t len)
{
	const char *end, *newline;
	size_t before;
	double now;

	if (len == 0) {
		end_last(s);
		return;
	}
	now = begin(s, transit_progress(&s->place));
	before = s->half.len;
	for (end = buf + len; buf < end; buf = newline + 1) {
		newline = memchr(buf, '\n', (size_t)(end - buf));
		if (newline == NULL) {
			keep_half(s, now, buf, (size_t)(end - buf));
			break;
		}
		if (s->half.len)
			end_half(s, now, buf, (size_t)(newline - buf));
		else
			add_long_line(s, now, buf, (size_t)(newline - buf));
	}
	finish(s, s->half.len == before + len);
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
	if (s->half.len)
		end_last(s);
	text_clear(&s->half);
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

/* Takes a line of the ring apart (it is changed). */
static bool
read_line(char *text, size_t len, struct output_line *line)
{
	char *stamp = text, *instance, *stream, *job;

	text[len] = '\0';
	instance = strchr(stamp, ' ');
	stream = instance ? strchr(instance + 1, ' ') : NULL;
	text = stream ? strchr(stream + 1, ' ') : NULL;
	if (text == NULL)
		return false;
	*instance = *text++ = '\0';
	if (!text_time(stamp, &line->time))
		return false;
	job = strchr(stream + 1, '/');
	if (job)
		*job++ = '\0';
	line->job = job;
	line->instance = atoi(instance + 1);
	line->stream =
	    strncmp(stream + 1, "err", 3) == 0 ? CHILD_STDERR : CHILD_STDOUT;
	line->partial = stream[4] == '+';
	line->text = text;
	line->len = len - (size_t)(text - stamp);
	return true;
}

static bool
is_asked_for(const struct output_filter *f, const struct output_line *l)
{
	return l->time >= f->since &&
	    (f->stream < 0 || f->stream == l->stream) &&
	    (f->instance < 0 || f->instance == l->instance) &&
	    (f->job == NULL || (l->job && strcmp(f->job, l->job) == 0));
}

json_t *
output_line_json(const struct output *o, const struct output_line *line)
{
	char stamp[TIME_TEXT_SIZE];
	json_t *object = json_pack("{s:s, s:s, s:i, s:s, s:o}", "time",
	    time_text(line->time, stamp), "runner", o->runner, "instance",
	    line->instance, "stream",
	    line->stream == CHILD_STDOUT ? "stdout" : "stderr", "text",
	    text_json(line->text, line->len));

	if (line->job)
		json_object_set_new(object, "job", json_string(line->job));
	if (line->partial)
		json_object_set_new(object, "partial", json_true());
	return object;
}

/* The start of the last line of the first len bytes. */
static size_t
last_line(const char *bytes, size_t len)
{
	const char *newline = len > 1 ? memrchr(bytes, '\n', len - 1) : NULL;

	return newline ? (size_t)(newline - bytes) + 1 : 0;
}

json_t *
output_tail(struct output *o, const struct output_filter *f)
{
	json_t *lines = json_array();
	struct output_line line;
	size_t end, start;
	char *copy;

	ring_fill(o);
	for (end = o->ring.len; end > 0; end = start) {
		if (json_array_size(lines) == f->lines)
			break;
		start = last_line(o->ring.bytes, end);
		copy = xmalloc(end - start);
		memcpy(copy, o->ring.bytes + start, end - start);
		if (read_line(copy, end - start - 1, &line) &&
		    is_asked_for(f, &line))
			json_array_insert_new(
			    lines, 0, output_line_json(o, &line));
		free(copy);
	}
	return lines;
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

/* ---- making ---- */

static char *
file_path(
    const char *runner, const struct runner_conf *conf, const char *log_dir)
{
	const char *path = conf->stdout_logfile;

	if (path == NULL || strcasecmp(path, "NONE") == 0)
		return NULL;
	if (strcasecmp(path, "AUTO") == 0)
		return xasprintf("%s/%s.log", log_dir, runner);
	return xstrdup(path);
}

void
output_reconfigure(struct output *o, const struct runner_conf *conf)
{
	o->maxbytes = (unsigned long long)conf->stdout_logfile_maxbytes;
	o->backups = conf->stdout_logfile_backups;
	o->max_line = (size_t)conf->log_max_line;
}

struct output *
output_new(const char *runner, const struct runner_conf *conf,
    const char *log_dir, size_t ring_bytes)
{
	struct output *o = xcalloc(1, sizeof(*o));

	o->runner = xstrdup(runner);
	o->path = file_path(runner, conf, log_dir);
	o->fd = -1;
	o->ring_bytes = ring_bytes;
	TAILQ_INIT(&o->followers);
	output_reconfigure(o, conf);
	return o;
}

void
output_free(struct output *o)
{
	struct output_follower *f;

	flush(o);
	while ((f = TAILQ_FIRST(&o->followers)) != NULL) {
		TAILQ_REMOVE(&o->followers, f, entry);
		f->output = NULL;
		f->fn(f->arg, NULL);
	}
	if (o->fd >= 0)
		close(o->fd);
	text_clear(&o->ring);
	text_clear(&o->batch);
	free(o->path);
	free(o->runner);
	free(o);
}

unsigned long long
output_dropped(const struct output *o, const char **why)
{
	*why = o->error ? strerror(o->error) : NULL;
	return o->dropped;
}
