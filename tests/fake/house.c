/* Runners whose processes do what the test says. */
#include "house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "still_child.h"

/* ---- processes that obey ---- */

#define LIVE_MAX 64
static struct child *live[LIVE_MAX];
static size_t nlive;
static int nstarts;
static char last_command[256];
static char last_environment[64 * 1024];
static int last_ready_fd;

static void
remember(const struct child_spec *spec)
{
	char *const *v;

	snprintf(last_tag, sizeof(last_tag), "%s", spec->tag);
	last_ready_fd = spec->ready_fd;
	last_command[0] = '\0';
	for (v = spec->argv; *v; v++) {
		strlcat(last_command, v == spec->argv ? "" : " ",
		    sizeof(last_command));
		strlcat(last_command, *v, sizeof(last_command));
	}
	last_environment[0] = '\0';
	for (v = spec->envp; *v; v++) {
		strlcat(last_environment, *v, sizeof(last_environment));
		strlcat(last_environment, "\n", sizeof(last_environment));
	}
}

struct child *
child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg, struct err *e)
{
	struct child *c = xcalloc(1, sizeof(*c));

	(void)e;
	remember(spec);
	c->keeper = k;
	c->ops = ops;
	c->arg = arg;
	nstarts++;
	check(nlive < LIVE_MAX);
	live[nlive++] = c;
	return c;
}

void
child_adopt(struct child *c, const struct child_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

void
child_stop(struct child *c, const struct stop_rules *rules)
{
	(void)rules;
	c->stopping = true;
}

void
child_kill(struct child *c)
{
	c->stopping = c->killed = true;
}

const char *
child_end_text(const struct child *c, char *buf, size_t size)
{
	if (c->stage)
		snprintf(buf, size, "%s", strerror(c->error));
	else
		snprintf(buf, size, "exit %d", c->status >> 8);
	return buf;
}

int
house_starts(void)
{
	return nstarts;
}

const char *
house_command(void)
{
	return last_command;
}

const char *
house_tag(void)
{
	return last_tag;
}

const char *
house_environment(void)
{
	return last_environment;
}

int
house_ready_fd(void)
{
	return last_ready_fd;
}

double
house_extended(void)
{
	return extended;
}

/* ---- the house ---- */

void
open_house(struct house *h)
{
	memset(h, 0, sizeof(*h));
	h->loop = ev_loop_new(EVFLAG_AUTO);
	settings_init(daemon_settings, &h->conf);
	h->conf.state_dir = xstrdup(".");
	h->conf.node = xstrdup("box");
	h->all = runners_new(h->loop, &h->conf, &h->hooks, &h->watch);
	nstarts = 0;
}

void
close_house(struct house *h)
{
	runners_free(h->all);
	while (nlive > 0)
		free(live[--nlive]);
	settings_clear(daemon_settings, &h->conf);
	ev_loop_destroy(h->loop);
}

struct runner *
house_add(struct house *h, const char *name, const char *settings)
{
	char *text = xasprintf("{\"command\": [\"x\"], \"startsecs\": 0%s%s}",
	    *settings ? ", " : "", settings);
	json_t *object = json_loads(text, 0, NULL);
	struct runner_conf conf = {0};
	struct err e = {0};
	struct runner *r;

	settings_init(runner_settings, &conf);
	settings_from_json(runner_settings, &conf, object, &e);
	check_str(e.text, "");
	r = runner_add(h->all, name, &conf, "test", &e);
	check_str(e.text, "");
	settings_clear(runner_settings, &conf);
	json_decref(object);
	free(text);
	return r;
}

void
turn(struct house *h)
{
	ev_run(h->loop, EVRUN_NOWAIT);
}

struct instance *
only(const struct runner *r)
{
	check_int(r->ninstances, 1);
	return r->instances[0];
}

enum state
state_of(const struct runner *r)
{
	return only(r)->state;
}

/* ---- what happens to a process ---- */

static struct child *
child_of(const struct runner *r)
{
	check(only(r)->child != NULL);
	return only(r)->child;
}

void
executed(struct runner *r)
{
	struct child *c = child_of(r);

	c->pid = 4711;
	c->started_at = ev_time();
	c->ops->started(c);
}

static void
end_it(struct child *c)
{
	size_t k = 0;

	c->is_over = true;
	c->ops->over(c);
	while (live[k] != c)
		check(++k < nlive);
	live[k] = live[--nlive];
	free(c);
}

static void
exit_with(struct child *c, int code)
{
	c->status = code << 8;
	c->status_known = true;
	c->exited_at = ev_time();
	end_it(c);
}

void
over(struct runner *r, int code)
{
	exit_with(child_of(r), code);
}

struct child *
probe_of(const struct runner *r)
{
	const char *name = r->name;
	size_t k;

	for (k = 0; k < nlive; k++)
		if (live[k] != only(r)->child && live[k]->arg != NULL &&
		    live[k]->ops->unkillable != NULL)
			return live[k];
	check_str(name, "no probe of it");
	return NULL;
}

int
house_living(void)
{
	return (int)nlive;
}

void
probe_writes(struct runner *r, const char *text)
{
	struct child *c = probe_of(r);

	c->ops->output(c, CHILD_STDOUT, text, strlen(text));
}

void
probe_over(struct runner *r, int code)
{
	exit_with(probe_of(r), code);
}

void
says_ready(struct runner *r)
{
	struct child *c = child_of(r);

	c->ops->ready(c);
}

void
writes(struct runner *r, const char *text)
{
	struct child *c = child_of(r);

	c->ops->output(c, CHILD_STDOUT, text, strlen(text));
}

void
found(struct house *h, struct runner *r, const char *tag)
{
	struct child *c = xcalloc(1, sizeof(*c));

	c->pid = 4711;
	c->started_at = ev_time();
	live[nlive++] = c;
	check(runners_adopt(h->all, c, tag));
	check(c->killed || only(r)->child == c);
}

void
failed(struct runner *r, const char *stage, int error)
{
	struct child *c = child_of(r);

	c->stage = stage;
	c->error = error;
	end_it(c);
}

bool
is_asked(const struct runner *r)
{
	return child_of(r)->stopping;
}
