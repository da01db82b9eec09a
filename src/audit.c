#include "audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jsonrpc.h"
#include "logfile.h"
#include "mem.h"
#include "secret.h"
#include "settings.h"
#include "turns.h"

#define ABOUT_MAX 200 /* bytes */
#define KEPT 65536 /* bytes of room, from one turn to the next */

struct audit {
	struct ev_loop *loop;
	const struct daemon_conf *conf;
	struct logfiles *files;
	struct logfile *file;
	struct sink lines; /* of this turn of the loop */
	ev_prepare write;
};

/* At the end of a turn, or before. */
static void
on_write(struct ev_loop *loop, ev_prepare *w, int revents)
{
	DOING("writing", "the audit log");
	struct audit *a = w->data;
	struct logfile_rules rules = {
	    .maxbytes = (unsigned long long)a->conf->audit_maxbytes,
	    .backups = a->conf->audit_backups};

	(void)revents;
	ev_prepare_stop(loop, w);
	logfile_configure(a->file, &rules);
	logfile_write(a->file, a->lines.buf, a->lines.len, NULL);
	a->lines.len = 0;
	if (a->lines.size > KEPT) {
		free(a->lines.buf);
		a->lines = (struct sink){0};
	}
}

struct audit *
audit_open(struct ev_loop *loop, const struct daemon_conf *conf)
{
	struct audit *a = xcalloc(1, sizeof(*a));
	char *path = xasprintf("%s/log/audit.log", conf->state_dir);

	a->loop = loop;
	a->conf = conf;
	a->files = logfiles_new(loop);
	a->file = logfile_get(a->files, path);
	free(path);
	ev_prepare_init(&a->write, on_write);
	a->write.data = a;
	return a;
}

void
audit_flush(struct audit *a)
{
	if (a != NULL && ev_is_active(&a->write))
		on_write(a->loop, &a->write, 0);
}

void
audit_close(struct audit *a)
{
	if (a == NULL)
		return;
	audit_flush(a);
	logfile_put(a->file);
	logfiles_free(a->files);
	free(a->lines.buf);
	free(a);
}

void
audit_reopen(struct audit *a)
{
	logfiles_reopen(a->files);
}

/* ---- a line ---- */

/* Params by which is said what a call is about. */
static const char *const telling[] = {
    "name", "runner", "id", "queue", "job", "level", NULL};

/* Borrowed, or NULL. */
static const char *
about(const json_t *params)
{
	const json_t *value;
	const char *text = NULL;
	size_t i;

	for (i = 0; telling[i] && !text; i++) {
		value = json_object_get(params, telling[i]);
		text = json_is_object(value) ? about(value)
					     : json_string_value(value);
	}
	return text;
}

static bool
is_telling(const char *name)
{
	size_t i;

	for (i = 0; telling[i]; i++)
		if (strcmp(telling[i], name) == 0)
			return true;
	return false;
}

/* By position: only where its name is one of these. */
static const char *
subject(const struct method *m, const json_t *params)
{
	const char *first = m->params[0].name;

	if (!json_is_array(params))
		return about(params);
	return first != NULL && is_telling(first)
	    ? json_string_value(json_array_get(params, 0))
	    : NULL;
}

static void
put_text(struct sink *s, const char *text)
{
	sink_bytes(s, text, strlen(text));
}

/* Of what was asked for, not of what there is: a key may stand there. */
static void
put_subject(struct sink *s, const char *what)
{
	char text[ABOUT_MAX + 1];

	snprintf(text, sizeof(text), "%s", what);
	secret_mask(text);
	put_text(s, text);
}

static void
put_line(struct audit *a, const struct peer *who, const struct method *m,
    const json_t *params, const char *result)
{
	const char *what = subject(m, params);
	char at[TIME_TEXT_SIZE];
	struct sink *s = &a->lines;

	sink_literal(s, "{\"at\":\"");
	time_text(ev_time(), at);
	sink_put(s, at, strlen(at));
	sink_literal(s, "\",\"who\":");
	put_text(s, who->text);
	sink_literal(s, ",\"method\":");
	put_text(s, m->name);
	sink_literal(s, ",\"about\":");
	if (what != NULL)
		put_subject(s, what);
	else
		sink_literal(s, "null");
	sink_literal(s, ",\"result\":");
	put_text(s, result);
	sink_literal(s, "}\n");
	if (!ev_is_active(&a->write))
		ev_prepare_start(a->loop, &a->write);
}

/* none, or the least scope whose methods are told of; its words stand in the
 * order of enum scope. */
static bool
tells(const struct audit *a, const struct method *m)
{
	enum scope least = (enum scope)a->conf->audit;

	return m->effect == CHANGES && least != SCOPE_NONE &&
	    (m->scope >= least || m->scope == SCOPE_NONE);
}

void
audit_call(struct audit *a, const struct peer *who, const struct method *m,
    const json_t *params, const struct err *e)
{
	if (a != NULL && tells(a, m))
		put_line(a, who, m, params,
		    e == NULL ? "ok" : err_row(e->code)->name);
}

void
audit_left(struct audit *a, const struct peer *who, const struct method *m,
    const json_t *params)
{
	if (a != NULL && tells(a, m))
		put_line(a, who, m, params, "left");
}
