/*
 * An output with files in the test's directory.  Settings are set between
 * settings_init() and open_as_set().
 */
#ifndef WITH_OUTPUT_H
#define WITH_OUTPUT_H

#include "check.h"
#include "child.h"
#include "mem.h"
#include "output.h"

static struct runner_conf conf;
static struct output_home home = {.dir = (char *)".", .ring_bytes = 65536};

static struct ev_loop *
the_loop(void)
{
	static struct ev_loop *loop;

	if (loop == NULL)
		loop = ev_loop_new(EVFLAG_AUTO);
	return loop;
}

static void
set(const char *name, const char *text)
{
	json_t *value = json_string(text);

	settings_set(runner_settings, &conf, name, value, NULL);
	json_decref(value);
}

static struct output *
open_as_set(void)
{
	home.files = logfiles_new(the_loop());
	home.spare = output_spare_new();
	return output_new("web", &conf, &home);
}

static void
close_output(struct output *o)
{
	output_free(o);
	logfiles_free(home.files);
	output_spare_free(home.spare);
	settings_clear(runner_settings, &conf);
}

#endif
