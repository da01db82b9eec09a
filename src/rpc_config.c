/* Methods about the configuration: reading it again, changing, showing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "reload.h"
#include "rpc.h"
#include "rpc_runner.h"

/* As many of the mistakes as go into one sentence; the rest is counted. */
static void
err_mistakes(struct err *e, char *const *errors)
{
	size_t n = strv_count(errors), i;
	char list[sizeof(e->text) - 80] = "";

	for (i = 0;
	     i < n && strlen(list) + strlen(errors[i]) + 2 < sizeof(list);
	     i++) {
		strlcat(list, "\n", sizeof(list));
		strlcat(list, errors[i], sizeof(list));
	}
	if (i < n)
		err_hint(e, "and %zu more: heroctl check FILE", n - i);
	err_set(e, ERR_PARAMS, "%zu mistake%s, nothing was changed:%s", n,
	    n == 1 ? "" : "s", list);
}

static void
refuse_mistakes(struct call *call, char *const *errors)
{
	json_t *list = json_array(), *more = json_pack("{s:o}", "errors", list);
	struct err e = {.more = more};
	char *const *line;

	for (line = errors; *line; line++)
		json_array_append_new(list, text_json(*line, strlen(*line)));
	err_mistakes(&e, errors);
	call_refuse(call, &e);
	json_decref(more);
}

HANDLER(reload)
{
	char **errors = NULL;
	json_t *done;

	if (is_ending(call))
		return;
	done = configured_reload(
	    call->services->configured, call_bool(call, "dry_run"), &errors);
	if (done)
		call_reply(call, done);
	else
		refuse_mistakes(call, errors);
	strv_free(errors);
}

HANDLER(update_runner)
{
	struct runner *r = runner_of(call);
	struct err e = {0};

	if (r == NULL || is_ending(call))
		return;
	if (configured_update(r, call_json(call, "settings"), &e) != 0)
		call_refuse(call, &e);
	else if (r->wanted == WANTED_UP)
		reply_when(call, r, WANTED_UP);
	else
		reply_runner(call, r);
}

HANDLER(get_config)
{
	const struct configured *c = call->services->configured;
	struct runner *r = call_has(call, "name") ? runner_of(call) : NULL;

	if (r || !call_has(call, "name"))
		call_reply(call, configured_show(c, r));
}

HANDLER(set_log_level)
{
	struct configured *c = call->services->configured;
	const char *level = call_string(call, "level");
	json_t *value = json_string(level);
	struct err e = {0};

	if (log_check_levels(level, &e) == 0 &&
	    configured_set(c, "log_level", value, &e) == 0) {
		configured_keep(c);
		call_reply(call, json_incref(value));
	} else {
		call_refuse(call, &e);
	}
	json_decref(value);
}
