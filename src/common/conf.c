/*
 * The configuration file.  inih reads the lines; what it cannot do is done
 * around it: lines longer than its buffer reach it as continuation lines,
 * section names longer than its own limit are kept here, and semicolons
 * between quotes are hidden from it (it would take them for comments).
 */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ini.h>

#include "depend.h"
#include "env_vars.h"
#include "log.h"
#include "mem.h"
#include "sock.h"
#include "when.h"

#define INCLUDE_DEPTH 8
#define FILE_MAX (1 << 20) /* bytes of one file: a wildcard may find any */
#define MISTAKES_MAX 100 /* lines inih cannot read, in one file */
#define HIDDEN_SEMICOLON '\001'

/* One "name = value"; or the head of a section in which nothing is set,
 * with the name "". */
struct entry {
	char *section, *name, *value;
	char *origin; /* file:line */
	bool open; /* others can read its file, or change it */
	bool group_reads; /* ... but all they can do is to read as its group */
};

struct reading {
	struct entry *entries;
	size_t n;
	char ***errors;
	const struct file *file; /* that is read now */
	int depth; /* of include */
	char **files; /* that were read */
	bool has_user; /* [herod] names whom herod becomes */
};

/* One file while inih reads it. */
struct file {
	struct reading *reading;
	const struct file *included_by;
	const char *path;
	struct stat st;
	FILE *stream;
	char *line, *rest; /* the physical line, what inih has not had yet */
	size_t size;
	int number; /* of the physical line, from 1 */
	int calls; /* lines as inih counts them */
	int room; /* size of inih's buffer */
	bool glued; /* inih's line goes on where the last one ended */
	bool indented; /* ... or is a continuation line of the user's */
	bool marks; /* heads of sections become entries */
	char section[256];
	int bad[MISTAKES_MAX]; /* inih's numbers of lines to step over */
	size_t nbad;
	size_t first; /* entry of this file, to begin anew */
};

static void read_file(struct reading *r, const char *path);
static void mark_section(struct file *f);

static void __attribute__((format(printf, 3, 4)))
complain(struct reading *r, const char *origin, const char *fmt, ...)
{
	va_list ap;
	char *what;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	strv_add(r->errors, xasprintf("%s: %s", origin, what ? what : ""));
	free(what);
}

static void
complain_err(struct reading *r, const char *origin, const struct err *e)
{
	if (*e->hint)
		complain(r, origin, "%s (%s)", e->text, e->hint);
	else
		complain(r, origin, "%s", e->text);
}

/* ---- lines for inih ---- */

static void
hide_semicolons(char *line)
{
	char quote = '\0';

	for (; *line; line++) {
		if (quote == '\0' && (*line == '"' || *line == '\'') &&
		    strchr(line + 1, *line))
			quote = *line;
		else if (*line == quote)
			quote = '\0';
		else if (*line == ';' && quote)
			*line = HIDDEN_SEMICOLON;
	}
}

static void
show_semicolons(char *value)
{
	for (; *value; value++)
		if (*value == HIDDEN_SEMICOLON)
			*value = ';';
}

static void
note_section(struct file *f)
{
	const char *open = f->line + strspn(f->line, " \t");

	if (*open != '[')
		return;
	snprintf(f->section, sizeof(f->section), "%.*s",
	    (int)strcspn(open + 1, "]\r\n"), open + 1);
	if (f->marks && !f->indented && strchr(open, ']') != NULL)
		mark_section(f);
}

static bool
next_physical_line(struct file *f)
{
	ssize_t len = getline(&f->line, &f->size, f->stream);

	if (len < 0)
		return false;
	f->number++;
	f->rest = f->line;
	f->glued = false;
	f->indented = isspace((unsigned char)*f->line);
	note_section(f);
	hide_semicolons(f->line);
	return true;
}

/* Where a line may be cut: between two bytes inih will not strip or take
 * for a comment. */
static size_t
cut_at(const char *s, size_t most)
{
	size_t at = most;

	while (at > 1 &&
	    (isspace((unsigned char)s[at]) ||
		isspace((unsigned char)s[at - 1]) || strchr(";#", s[at])))
		at--;
	return at > 1 ? at : most;
}

static bool
is_bad(const struct file *f, int call)
{
	size_t i;

	for (i = 0; i < f->nbad; i++)
		if (f->bad[i] == call)
			return true;
	return false;
}

/* inih's reader: like fgets(3).  size is inih's buffer. */
static char *
reader(char *buf, int size, void *stream)
{
	struct file *f = stream;
	size_t most = (size_t)size - 3, len;
	bool goes_on = f->rest && *f->rest;

	if (!goes_on && !next_physical_line(f))
		return NULL;
	f->glued = goes_on;
	f->room = size;
	f->calls++;
	len = strlen(f->rest);
	if (len > most)
		len = cut_at(f->rest, most);
	snprintf(buf, (size_t)size, "%s%.*s%s", goes_on ? " " : "", (int)len,
	    f->rest, f->rest[len] ? "\n" : "");
	f->rest += len;
	if (is_bad(f, f->calls))
		strlcpy(buf, "\n", (size_t)size);
	return buf;
}

/* ---- values ---- */

/* The value of NAME or NAME:-default between the braces; NULL: not set. */
static char *
variable(char *inside)
{
	char *fallback = strstr(inside, ":-");
	const char *value;

	if (fallback)
		*fallback = '\0';
	value = getenv(inside);
	if (value && (*value || !fallback))
		return xstrdup(value);
	return fallback ? xstrdup(fallback + 2) : NULL;
}

/* Puts variables in place of ${VAR}; "$${" is a plain "${". */
static char *
expand(struct reading *r, const char *origin, const char *value)
{
	char *out = NULL, *inside, *with;
	size_t size = 0, len;
	FILE *m = open_memstream(&out, &size);

	while (*value) {
		if (strncmp(value, "$${", 3) == 0) {
			fputs("${", m);
			value += 3;
			continue;
		}
		if (strncmp(value, "${", 2) != 0 || !strchr(value, '}')) {
			fputc(*value++, m);
			continue;
		}
		len = strcspn(value, "}") - 2;
		inside = xstrndup(value + 2, len);
		with = variable(inside);
		if (with)
			fputs(with, m);
		else
			complain(r, origin,
			    "${%s}: no such environment variable (write "
			    "${%s:-default} to do without)",
			    inside, inside);
		free(with);
		free(inside);
		value += len + 3;
	}
	fclose(m);
	return out;
}

static struct entry *
entry_find(
    struct reading *r, size_t from, const char *section, const char *name)
{
	size_t i;

	for (i = from; i < r->n; i++)
		if (strcmp(r->entries[i].section, section) == 0 &&
		    strcmp(r->entries[i].name, name) == 0)
			return &r->entries[i];
	return NULL;
}

static bool
others_have(const struct stat *st)
{
	return (st->st_mode & 077) != 0 ||
	    (st->st_uid != 0 && st->st_uid != geteuid());
}

/* Root's, and a herod that has become another user reads it by its group;
 * while it still is root nobody knows yet. */
static bool
group_reads(const struct stat *st)
{
	return st->st_uid == 0 && (st->st_mode & 077) == 040 &&
	    (geteuid() == 0 || st->st_gid == getegid());
}

static void
entry_add(struct reading *r, const char *section, const char *name, char *value,
    char *origin)
{
	r->entries = xreallocarray(r->entries, r->n + 1, sizeof(*r->entries));
	r->entries[r->n++] = (struct entry){xstrdup(section), xstrdup(name),
	    value, origin, r->file && others_have(&r->file->st),
	    r->file && group_reads(&r->file->st)};
}

static bool
is_mark(const struct entry *e)
{
	return *e->name == '\0';
}

/* inih says nothing of sections without entries. */
static void
mark_section(struct file *f)
{
	entry_add(f->reading, f->section, "", xstrdup(""),
	    xasprintf("%s:%d", f->path, f->number));
}

/* A continuation line: the value grows. */
static void
entry_extend(struct entry *e, const char *more, bool glued)
{
	char *value = xasprintf("%s%s%s", e->value, glued ? "" : "\n", more);

	free(e->value);
	e->value = value;
}

static void
entries_drop(struct reading *r, size_t from)
{
	struct entry *e;

	while (r->n > from) {
		e = &r->entries[--r->n];
		free(e->section);
		free(e->name);
		free(e->value);
		free(e->origin);
	}
}

/* Its section has an entry now. */
static void
drop_mark(struct file *f, const char *section)
{
	struct reading *r = f->reading;

	if (r->n > f->first && is_mark(&r->entries[r->n - 1]) &&
	    strcmp(r->entries[r->n - 1].section, section) == 0)
		entries_drop(r, r->n - 1);
}

/* inih's handler. */
static int
handler(void *user, const char *section, const char *name, const char *value)
{
	struct file *f = user;
	struct reading *r = f->reading;
	struct entry *e;

	/* inih cuts long section names; ours is whole. */
	if (strncmp(section, f->section, strlen(section)) == 0)
		section = f->section;
	if (f->glued || f->indented) {
		e = entry_find(r, f->first, section, name);
		if (e && e == &r->entries[r->n - 1]) {
			entry_extend(e, value, f->glued);
			return 1;
		}
	}
	drop_mark(f, section);
	entry_add(r, section, name, xstrdup(value),
	    xasprintf("%s:%d", f->path, f->number));
	return 1;
}

/* inih tells of the first line only that it cannot read: step over it and
 * read again, to find them all. */
static void
parse(struct file *f)
{
	int bad;

	f->marks = true;
	do {
		rewind(f->stream);
		entries_drop(f->reading, f->first);
		f->calls = f->number = 0;
		f->rest = NULL;
		f->section[0] = '\0';
		bad = ini_parse_stream(reader, f, handler, f);
		if (bad > 0 && f->nbad < MISTAKES_MAX)
			f->bad[f->nbad++] = bad;
	} while (bad > 0 && f->nbad < MISTAKES_MAX);
	f->marks = false;
}

/* inih's line numbers are those of the file unless a long line was cut:
 * count again. */
static void
complain_lines(struct file *f)
{
	char *buf = xmalloc((size_t)f->room + 3), *origin;

	rewind(f->stream);
	f->calls = f->number = 0;
	f->rest = NULL;
	while (f->nbad && reader(buf, f->room, f) != NULL) {
		if (!is_bad(f, f->calls))
			continue;
		origin = xasprintf("%s:%d", f->path, f->number);
		f->line[strcspn(f->line, "\r\n")] = '\0';
		show_semicolons(f->line);
		complain(f->reading, origin,
		    "'%.80s' is neither [section] nor NAME = VALUE", f->line);
		free(origin);
	}
	free(buf);
}

/* Entries of one file: variables, then include lines in their place. */
static void
finish(struct file *f)
{
	struct reading *r = f->reading;
	size_t i, n = r->n;
	char *value;

	for (i = f->first; i < n; i++) {
		show_semicolons(r->entries[i].value);
		value = expand(r, r->entries[i].origin, r->entries[i].value);
		free(r->entries[i].value);
		r->entries[i].value = value;
	}
}

/* Paths of include are relative to the file that has the line. */
static void
include(struct reading *r, const char *file, const struct entry *line)
{
	char *origin = xstrdup(line->origin), *pattern, *copy = xstrdup(file);
	glob_t found;
	size_t i;

	pattern = *line->value == '/'
	    ? xstrdup(line->value)
	    : xasprintf("%s/%s", dirname(copy), line->value);
	if (r->depth >= INCLUDE_DEPTH) {
		complain(r, origin, "include: more than %d files deep",
		    INCLUDE_DEPTH);
	} else if (glob(pattern, 0, NULL, &found) == 0) {
		r->depth++;
		for (i = 0; i < found.gl_pathc; i++)
			read_file(r, found.gl_pathv[i]);
		r->depth--;
		globfree(&found);
	} else if (strpbrk(pattern, "*?[") == NULL) {
		complain(
		    r, origin, "include: %s: there is no such file", pattern);
	}
	free(pattern);
	free(copy);
	free(origin);
}

/* Before the first section, or in that of herod. */
static bool
is_include(const struct entry *e)
{
	return strcmp(e->name, "include") == 0 &&
	    (*e->section == '\0' || strcmp(e->section, "herod") == 0);
}

static void
read_includes(struct file *f)
{
	struct reading *r = f->reading;
	size_t i, n = r->n;

	for (i = f->first; i < n; i++)
		if (is_include(&r->entries[i]))
			include(r, f->path, &r->entries[i]);
}

static bool
includes_itself(const struct file *f)
{
	const struct file *by;

	for (by = f->included_by; by; by = by->included_by)
		if (by->st.st_dev == f->st.st_dev &&
		    by->st.st_ino == f->st.st_ino)
			return true;
	return false;
}

/* A pipe or device could keep us for ever, a file of another kind fill the
 * memory. */
static FILE *
open_regular(struct file *f)
{
	FILE *stream = NULL;

	if (stat(f->path, &f->st) == 0 && !S_ISREG(f->st.st_mode))
		complain(
		    f->reading, f->path, "cannot read: not a regular file");
	else if (f->st.st_size > FILE_MAX)
		complain(f->reading, f->path,
		    "cannot read: %lld bytes, more than the %d that a "
		    "configuration file may have",
		    (long long)f->st.st_size, FILE_MAX);
	else if (includes_itself(f))
		complain(f->reading, f->path, "include: it includes itself");
	else if ((stream = fopen(f->path, "re")) == NULL)
		complain(
		    f->reading, f->path, "cannot read: %s", strerror(errno));
	return stream;
}

static void
read_file(struct reading *r, const char *path)
{
	struct file f = {
	    .reading = r, .included_by = r->file, .path = path, .first = r->n};

	f.stream = open_regular(&f);
	if (f.stream == NULL)
		return;
	strv_add(&r->files, xstrdup(path));
	r->file = &f;
	parse(&f);
	complain_lines(&f);
	finish(&f);
	read_includes(&f);
	r->file = f.included_by;
	fclose(f.stream);
	free(f.line);
}

/* ---- sections ---- */

/* Can others read it than herod, or than the user who it will be? */
static bool
is_open(const struct reading *r, const struct entry *e)
{
	if (e->open && e->group_reads)
		return geteuid() == 0 && !r->has_user;
	return e->open;
}

static void
set(struct reading *r, const struct setting *table, void *conf,
    const struct entry *e)
{
	json_t *value = json_string(e->value);
	struct err why = {0};

	if (is_mark(e))
		; /* nothing to set */
	else if (is_open(r, e) && setting_is_secret(table, e->name))
		complain(r, e->origin,
		    "%s: others can read or change this file; chmod 600 it "
		    "and let it be yours",
		    e->name);
	else if (value == NULL)
		complain(r, e->origin, "%s: the value is not UTF-8", e->name);
	else if (settings_set(table, conf, e->name, value, &why) != 0)
		complain_err(r, e->origin, &why);
	json_decref(value);
}

/* Hero's own names of the TCP address. */
static bool
is_hero_address(const struct entry *e)
{
	return strcmp(e->name, "bind_address") == 0 ||
	    strcmp(e->name, "port") == 0;
}

static void
set_daemon(struct reading *r, struct conf *c)
{
	const struct entry *e;
	size_t i;

	for (i = 0; i < r->n; i++) {
		e = &r->entries[i];
		if (strcmp(e->section, "herod") == 0 && !is_hero_address(e) &&
		    !is_include(e))
			set(r, daemon_settings, &c->daemon, e);
	}
}

/* bind_address and port: one TCP address beside the Unix socket. */
static void
set_hero_address(struct reading *r, struct conf *c)
{
	struct entry *host = entry_find(r, 0, "herod", "bind_address");
	struct entry *port = entry_find(r, 0, "herod", "port");
	struct entry listen = {.name = (char *)(uintptr_t) "listen"};
	const char *h = host ? host->value : "127.0.0.1";

	if (host == NULL && port == NULL)
		return;
	if (c->daemon.listen) {
		complain(r, (host ? host : port)->origin,
		    "%s: listen is set too; use one of them",
		    (host ? host : port)->name);
		return;
	}
	listen.origin = (port ? port : host)->origin;
	listen.value = xasprintf(strchr(h, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s",
	    h, port ? port->value : "3030");
	set(r, daemon_settings, &c->daemon, &listen);
	if (c->daemon.listen)
		strv_add(&c->daemon.listen,
		    xasprintf("unix:%s/herod.sock", c->daemon.runtime_dir));
	free(listen.value);
}

static struct conf_runner *
runner_of(struct conf *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->nrunners; i++)
		if (strcmp(c->runners[i].name, name) == 0)
			return &c->runners[i];
	return NULL;
}

static struct conf_runner *
runner_new(struct conf *c, const struct entry *e, const char *name,
    const struct runner_conf *defaults)
{
	struct conf_runner *r;

	c->runners =
	    xreallocarray(c->runners, c->nrunners + 1, sizeof(*c->runners));
	r = &c->runners[c->nrunners++];
	memset(r, 0, sizeof(*r));
	r->name = xstrdup(name);
	r->origin = xstrdup(e->origin);
	settings_copy(runner_settings, &r->settings, defaults);
	return r;
}

static void
set_defaults(struct reading *r, struct runner_conf *defaults)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (strcmp(r->entries[i].section, "defaults") == 0)
			set(r, runner_settings, defaults, &r->entries[i]);
}

/* Behind the colon of its section; NULL: it is none, which was said. */
static const char *
section_name(struct reading *r, const struct entry *e)
{
	const char *name = strchr(e->section, ':') + 1;

	if (name_is_valid(name))
		return name;
	complain(r, e->origin,
	    "[%.100s]: '%.80s' is not a name (a "
	    "letter or digit, then up to 63 of A-Z a-z 0-9 _ . -)",
	    e->section, name);
	return NULL;
}

static void
set_runner(struct reading *r, struct conf *c, const struct entry *e,
    const struct runner_conf *defaults)
{
	const char *name = section_name(r, e);
	struct conf_runner *runner = name ? runner_of(c, name) : NULL;

	if (name == NULL)
		return;
	if (runner == NULL)
		runner = runner_new(c, e, name, defaults);
	set(r, runner_settings, &runner->settings, e);
}

static struct conf_schedule *
schedule_of(struct conf *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->nschedules; i++)
		if (strcmp(c->schedules[i].name, name) == 0)
			return &c->schedules[i];
	return NULL;
}

struct conf_schedule *
conf_add_schedule(struct conf *c, const char *name, const char *origin)
{
	struct conf_schedule *s;

	c->schedules = xreallocarray(
	    c->schedules, c->nschedules + 1, sizeof(*c->schedules));
	s = &c->schedules[c->nschedules++];
	memset(s, 0, sizeof(*s));
	s->name = xstrdup(name);
	s->origin = xstrdup(origin);
	settings_init(schedule_settings, &s->settings);
	return s;
}

/* A setting of jobs that a schedule's do not have. */
static bool
is_of_one_job(const struct entry *e)
{
	return setting_find(job_settings, e->name) != NULL &&
	    setting_find(schedule_settings, e->name) == NULL;
}

static void
set_schedule(struct reading *r, struct conf *c, const struct entry *e)
{
	const char *name = section_name(r, e);
	struct conf_schedule *s = name ? schedule_of(c, name) : NULL;

	if (name == NULL)
		return;
	if (s == NULL)
		s = conf_add_schedule(c, name, e->origin);
	if (is_of_one_job(e))
		complain(r, e->origin,
		    "%s: is about one job, and a schedule makes many%s",
		    e->name,
		    strncmp(e->name, "unique", 6) == 0
			? " (overlap = forbid lets them run one at a time)"
			: "");
	else
		set(r, schedule_settings, &s->settings, e);
}

static void
refuse_section(struct reading *r, const struct entry *e)
{
	if (*e->section == '\0')
		complain(r, e->origin,
		    "%s: stands before any section (wanted [herod], "
		    "[defaults], [runner:NAME] or [schedule:NAME])",
		    e->name);
	else
		complain(r, e->origin,
		    "[%.100s]: there is no such section (wanted [herod], "
		    "[defaults], [runner:NAME] or [schedule:NAME])",
		    e->section);
}

static bool
is_runner_section(const struct entry *e)
{
	return strncmp(e->section, "runner:", strlen("runner:")) == 0;
}

static bool
is_schedule_section(const struct entry *e)
{
	return strncmp(e->section, "schedule:", strlen("schedule:")) == 0;
}

static bool
is_known_section(const struct entry *e)
{
	return strcmp(e->section, "herod") == 0 ||
	    strcmp(e->section, "defaults") == 0 || is_runner_section(e) ||
	    is_schedule_section(e);
}

/* All that are not alone of their kind. */
static void
set_sections(struct reading *r, struct conf *c)
{
	struct runner_conf defaults = {0};
	const struct entry *e, *before = NULL;
	size_t i;

	settings_init(runner_settings, &defaults);
	set_defaults(r, &defaults);
	for (i = 0; i < r->n; i++, before = e) {
		e = &r->entries[i];
		if (is_runner_section(e))
			set_runner(r, c, e, &defaults);
		else if (is_schedule_section(e))
			set_schedule(r, c, e);
		else if (!is_known_section(e) && !is_include(e) &&
		    (!before || strcmp(before->section, e->section) != 0))
			refuse_section(r, e);
	}
	settings_clear(runner_settings, &defaults);
}

static void
refuse_doubles(struct reading *r)
{
	struct entry *e, *first;
	size_t i;

	for (i = 0; i < r->n; i++) {
		e = &r->entries[i];
		first = entry_find(r, 0, e->section, e->name);
		if (first != e && !is_mark(e) && !is_include(e))
			complain(r, e->origin,
			    "%s: set before in [%.100s], at %s", e->name,
			    e->section, first->origin);
	}
}

/* ---- settings that are swallowed ---- */

static const struct setting *
table_of(const struct entry *e)
{
	if (strcmp(e->section, "herod") == 0)
		return daemon_settings;
	return is_schedule_section(e) ? schedule_settings : runner_settings;
}

/* Text of the user's, in which NAME=VALUE may be a word. */
static bool
is_free_text(const struct entry *e)
{
	static const char *const names[] = {
	    "command", "environment", "env_vars", "payload", "metadata"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(e->name, names[i]) == 0)
			return true;
	return false;
}

/* Does a line of the value read as a setting, "numprocs = 2"?  name is it. */
static bool
is_setting_line(
    const struct entry *e, const char *line, char *name, size_t size)
{
	size_t len = strcspn(line, " \t=\n");
	size_t blanks = strspn(line + len, " \t");

	if (len == 0 || len >= size || line[len + blanks] != '=' ||
	    (blanks == 0 && is_free_text(e)))
		return false;
	strlcpy(name, line, len + 1);
	return setting_find(table_of(e), name) != NULL;
}

/* Whoever indents settings means them as such, but a line that begins with a
 * blank belongs to the one before. */
static void
refuse_swallowed(struct reading *r)
{
	const struct entry *e;
	const char *line;
	char name[64];
	size_t i;

	for (i = 0; i < r->n; i++) {
		e = &r->entries[i];
		line = e->value;
		while ((line = strchr(line, '\n')) != NULL)
			if (is_setting_line(e, ++line, name, sizeof(name)))
				complain(r, e->origin,
				    "%s: the line '%s = ...' behind it begins "
				    "with a blank, so it would be a part of "
				    "%s: take the blank away",
				    e->name, name, e->name);
	}
}

/* It stands in the section KIND:NAME: when it is missing nevertheless, it was
 * refused, and is not to be missed. */
static bool
was_given(
    struct reading *r, const char *kind, const char *name, const char *setting)
{
	char *section = xasprintf("%s:%s", kind, name);
	bool set = entry_find(r, 0, section, setting) != NULL;

	free(section);
	return set;
}

static void
check_runners(struct reading *r, struct conf *c)
{
	struct err e;
	size_t i;

	for (i = 0; i < c->nrunners; i++) {
		if (c->runners[i].settings.command == NULL &&
		    was_given(r, "runner", c->runners[i].name, "command"))
			continue;
		err_clear(&e);
		if (conf_check_runner(
			c->runners[i].name, &c->runners[i].settings, &e) != 0)
			complain_err(r, c->runners[i].origin, &e);
	}
}

/* Was something refused without which the rest makes no sense? */
static bool
has_bad_time(struct reading *r, const struct conf_schedule *s)
{
	return (s->settings.cron == NULL &&
		   was_given(r, "schedule", s->name, "cron")) ||
	    (s->settings.every <= 0 &&
		was_given(r, "schedule", s->name, "every")) ||
	    (s->settings.runner == NULL &&
		was_given(r, "schedule", s->name, "runner"));
}

static void
check_schedules(struct reading *r, struct conf *c)
{
	const struct conf_schedule *s;
	const struct conf_runner *runner;
	struct err e;
	size_t i;

	for (i = 0; i < c->nschedules; i++) {
		s = &c->schedules[i];
		if (has_bad_time(r, s))
			continue;
		runner = s->settings.runner ? runner_of(c, s->settings.runner)
					    : NULL;
		err_clear(&e);
		if (conf_check_schedule(s->name, &s->settings,
			runner ? &runner->settings : NULL, &e) != 0)
			complain_err(r, s->origin, &e);
	}
}

static const char *
origin_of(struct conf *c, const char *name)
{
	const struct conf_runner *runner = runner_of(c, name);

	return runner ? runner->origin : "herod";
}

/* The private Redis may be waited for, too. */
static void
check_order(struct reading *r, struct conf *c)
{
	static const struct runner_conf plain;
	size_t i, n = c->nrunners, own = c->daemon.redis_url == NULL;
	struct depend_node *nodes = xcalloc(n + 1, sizeof(*nodes));
	struct err e = {0};

	if (own)
		nodes[0] = (struct depend_node){"herod-redis", &plain};
	for (i = 0; i < n; i++)
		nodes[own + i] = (struct depend_node){
		    c->runners[i].name, &c->runners[i].settings};
	for (i = 0; i < n; i++) {
		err_clear(&e);
		if (depend_check_known(nodes, own + n, own + i, &e) != 0)
			complain_err(r, c->runners[i].origin, &e);
	}
	err_clear(&e);
	if (depend_check_cycle(nodes, own + n, &e) != 0)
		complain_err(r, origin_of(c, e.subject), &e);
	free(nodes);
}

int
conf_check_runner(const char *name, const struct runner_conf *r, struct err *e)
{
	if (strcmp(name, "all") == 0)
		return err_set(e, ERR_PARAMS,
		    "runner all: 'all' stands for all runners (heroctl stop "
		    "all); wanted another name");
	if (r->kind == KIND_EXTERNAL) {
		err_hint(e, "heroctl register %s %s", name,
		    r->queue ? r->queue : name);
		return err_set(e, ERR_PARAMS,
		    "runner %s: kind external is not configured: what others "
		    "start is registered",
		    name);
	}
	if (r->command == NULL)
		return err_set(e, ERR_PARAMS,
		    "runner %s: command is missing (wanted the program to run)",
		    name);
	if (r->kind == KIND_SERVICE && r->queue)
		return err_set(e, ERR_PARAMS,
		    "runner %s: queue is for kind exec, stdio or redis, and its kind "
		    "is service",
		    name);
	if (r->kind != KIND_SERVICE && strcmp(r->stdin, "null") != 0)
		return err_set(e, ERR_PARAMS,
		    "runner %s: stdin is for kind service; those that take "
		    "jobs have no other input",
		    name);
	if (r->kind == KIND_SERVICE && r->concurrency != 1)
		return err_set(e, ERR_PARAMS,
		    "runner %s: concurrency is for kind exec, stdio or redis; wanted "
		    "numprocs for several processes of a service",
		    name);
	if (r->kind == KIND_EXEC &&
	    (strcmp(r->ready, "none") != 0 || r->watchdog > 0))
		return err_set(e, ERR_PARAMS,
		    "runner %s: ready and watchdog are for kind service or "
		    "stdio, and its kind is exec",
		    name);
	if (r->kind == KIND_EXEC && r->health)
		return err_set(e, ERR_PARAMS,
		    "runner %s: health is for kind service or stdio, and its "
		    "kind is exec",
		    name);
	if (strcmp(r->ready, "probe") == 0 && r->health == NULL)
		return err_set(e, ERR_PARAMS,
		    "runner %s: ready is probe, and there is no health to "
		    "probe",
		    name);
	if (r->kind == KIND_EXEC &&
	    (r->max_age > 0 || r->max_rss > 0 || r->essential))
		return err_set(e, ERR_PARAMS,
		    "runner %s: %s is for processes that live on; those of "
		    "kind exec end with their job",
		    name,
		    r->max_age > 0	 ? "max_age"
			: r->max_rss > 0 ? "max_rss"
					 : "essential");
	if (r->kind == KIND_REDIS &&
	    (r->rate_limit > 0 || r->max_load > 0 || r->min_memory > 0))
		return err_set(e, ERR_PARAMS,
		    "runner %s: %s is for kind exec or stdio: programs of kind "
		    "redis take jobs by themselves",
		    name,
		    r->rate_limit > 0	  ? "rate_limit"
			: r->max_load > 0 ? "max_load"
					  : "min_memory");
	if (r->numprocs_max > 0 && r->kind != KIND_STDIO &&
	    r->kind != KIND_REDIS)
		return err_set(e, ERR_PARAMS,
		    "runner %s: numprocs_max is for kind stdio or redis: %s",
		    name,
		    r->kind == KIND_EXEC
			? "exec starts a process for each job as it is"
			: "a service has no jobs that could wait");
	if (r->numprocs_max == 0 && r->numprocs == 0)
		return err_set(e, ERR_PARAMS,
		    "runner %s: numprocs is 0; wanted at least 1, or numprocs_max "
		    "for processes that are started when jobs wait",
		    name);
	if (r->numprocs_max > 0 && r->numprocs_max < r->numprocs)
		return err_set(e, ERR_PARAMS,
		    "runner %s: numprocs_max is %lld; wanted at least numprocs, "
		    "%lld",
		    name, r->numprocs_max, r->numprocs);
	if (r->kind == KIND_EXEC && r->numprocs * r->concurrency > 1000)
		return err_set(e, ERR_PARAMS,
		    "runner %s: numprocs times concurrency is %lld; wanted at "
		    "most 1000 processes",
		    name, r->numprocs * r->concurrency);
	return 0;
}

static int
check_times(const char *name, const struct schedule_conf *s, struct err *e)
{
	char jitter[32], gap[32];
	struct when w;

	if ((s->cron != NULL) == (s->every > 0))
		return err_set(e, ERR_PARAMS,
		    "schedule %s: %s; wanted one of the two", name,
		    s->cron ? "it has both cron and every"
			    : "it has neither cron nor every");
	if (s->every > 0 && s->timezone)
		return err_set(e, ERR_PARAMS,
		    "schedule %s: timezone is for cron; every is counted in "
		    "UTC",
		    name);
	when_of(&w, s);
	if (s->jitter * 1000 < (double)when_least_gap(&w))
		return 0;
	return err_set(e, ERR_PARAMS,
	    "schedule %s: jitter is %s; wanted less than the %s from one tick "
	    "to the next",
	    name, duration_text(s->jitter, jitter),
	    duration_text((double)when_least_gap(&w) / 1000, gap));
}

int
conf_check_schedule(const char *name, const struct schedule_conf *s,
    const struct runner_conf *runner, struct err *e)
{
	if (s->runner == NULL)
		return err_set(e, ERR_PARAMS,
		    "schedule %s: runner is missing (wanted the one that gets "
		    "the jobs)",
		    name);
	if (runner == NULL)
		return err_set(e, ERR_PARAMS,
		    "schedule %s: there is no runner %s in the configuration",
		    name, s->runner);
	if (runner->kind == KIND_SERVICE)
		return err_set(e, ERR_PARAMS,
		    "schedule %s: runner %s is of kind service and takes no "
		    "jobs",
		    name, s->runner);
	return check_times(name, s, e) == 0 ? env_vars_check(s->job.env_vars, e)
					    : -1;
}

/* Its words are the log's own business. */
static void
check_log_level(
    struct reading *r, const struct conf *c, const json_t *overrides)
{
	const struct entry *e = entry_find(r, 0, "herod", "log_level");
	bool from_file = e && !json_object_get(overrides, "log_level");
	struct err why = {0};

	if (log_check_levels(c->daemon.log_level, &why) != 0)
		complain_err(r, from_file ? e->origin : "herod", &why);
}

/* ---- the whole ---- */

static void
set_overrides(struct reading *r, struct conf *c, const json_t *overrides)
{
	struct err why;
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)overrides, name, value) {
		err_clear(&why);
		if (setting_is_secret(daemon_settings, name))
			complain(r, "herod",
			    "%s: only in the file, for others see what a "
			    "process is started with",
			    name);
		else if (settings_set(daemon_settings, &c->daemon, name, value,
			     &why) != 0)
			complain_err(r, "herod", &why);
	}
}

static char *
home_dir(void)
{
	const struct passwd *pw;

	if (getenv("HOME"))
		return xstrdup(getenv("HOME"));
	pw = getpwuid(geteuid());
	return xstrdup(pw ? pw->pw_dir : "/");
}

static char *
state_dir_default(void)
{
	const char *xdg = getenv("XDG_STATE_HOME");
	char *home, *dir;

	if (is_roots())
		return xstrdup(LOCALSTATEDIR "/lib/herod");
	if (xdg && *xdg == '/')
		return xasprintf("%s/herod", xdg);
	home = home_dir();
	dir = xasprintf("%s/.local/state/herod", home);
	free(home);
	return dir;
}

/* The host name without its domain, made fit for a name. */
static char *
node_default(void)
{
	char host[256] = "";
	char *c;

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	for (c = host; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '-';
	host[64] = '\0';
	return xstrdup(name_is_valid(host) ? host : "node");
}

static void
fill_directories(struct daemon_conf *d)
{
	if (d->state_dir == NULL)
		d->state_dir = state_dir_default();
	if (d->runtime_dir == NULL)
		d->runtime_dir = runtime_dir_default();
	if (d->node == NULL)
		d->node = node_default();
}

static void
fill_listen(struct conf *c)
{
	c->default_listen = c->daemon.listen == NULL;
	if (!c->default_listen)
		return;
	strv_add(&c->daemon.listen,
	    xasprintf("unix:%s/herod.sock", c->daemon.runtime_dir));
	strv_add(&c->daemon.listen, xstrdup("tcp:127.0.0.1:3030"));
	strv_add(&c->daemon.listen, xstrdup("tcp:[::1]:3030"));
}

struct conf *
conf_load(const char *path, const json_t *overrides, char ***errors)
{
	struct reading r = {.errors = errors};
	struct conf *c = xcalloc(1, sizeof(*c));
	size_t before = strv_count(*errors);

	settings_init(daemon_settings, &c->daemon);
	if (path)
		read_file(&r, path);
	c->files = r.files;
	refuse_doubles(&r);
	refuse_swallowed(&r);
	r.has_user = entry_find(&r, 0, "herod", "user") != NULL ||
	    json_object_get(overrides, "user") != NULL;
	set_daemon(&r, c);
	set_overrides(&r, c, overrides);
	fill_directories(&c->daemon);
	set_hero_address(&r, c);
	fill_listen(c);
	set_sections(&r, c);
	check_runners(&r, c);
	check_schedules(&r, c);
	check_order(&r, c);
	check_log_level(&r, c, overrides);
	entries_drop(&r, 0);
	free(r.entries);
	if (strv_count(*errors) > before) {
		conf_free(c);
		return NULL;
	}
	return c;
}

void
conf_drop_runners(struct conf *c)
{
	size_t i;

	for (i = 0; i < c->nrunners; i++) {
		free(c->runners[i].name);
		free(c->runners[i].origin);
		settings_clear(runner_settings, &c->runners[i].settings);
	}
	free(c->runners);
	c->runners = NULL;
	c->nrunners = 0;
}

void
conf_drop_schedules(struct conf *c)
{
	struct conf_schedule *s;

	while (c->nschedules > 0) {
		s = &c->schedules[--c->nschedules];
		free(s->name);
		free(s->origin);
		settings_clear(schedule_settings, &s->settings);
	}
	free(c->schedules);
	c->schedules = NULL;
}

void
conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	conf_drop_runners(c);
	conf_drop_schedules(c);
	settings_clear(daemon_settings, &c->daemon);
	strv_free(c->files);
	free(c);
}

char *
conf_default_path(void)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");
	char *home, *path;

	if (is_roots()) {
		path = xstrdup(SYSCONFDIR "/herod.conf");
	} else if (xdg && *xdg == '/') {
		path = xasprintf("%s/herod/herod.conf", xdg);
	} else {
		home = home_dir();
		path = xasprintf("%s/.config/herod/herod.conf", home);
		free(home);
	}
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}
