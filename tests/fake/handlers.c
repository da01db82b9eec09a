/* Handlers for tests of the doors. */
#include "fake/handlers.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define KEPT_MAX 20000

size_t fake_calls, fake_gone, fake_streams, fake_ready, fake_shutdowns;

static struct call *kept[KEPT_MAX];
static size_t nkept;
static struct stream *stream;

static void
forget(size_t i)
{
	memmove(&kept[i], &kept[i + 1], (--nkept - i) * sizeof(kept[0]));
}

size_t
fake_kept(void)
{
	return nkept;
}

void
fake_later_reply(size_t i, const char *text)
{
	struct call *call = kept[i];

	forget(i);
	call_reply(call, json_string(text));
}

static void
on_gone(void *arg)
{
	size_t i;

	fake_gone++;
	for (i = 0; i < nkept; i++)
		if (kept[i] == arg)
			break;
	forget(i);
}

static void
keep(struct call *call)
{
	if (nkept == KEPT_MAX)
		abort();
	kept[nkept++] = call;
}

static void
reply_lines(struct call *call)
{
	long long i, n = call_count(call, "lines");
	json_t *lines = json_array();
	char line[1000];

	memset(line, 'x', sizeof(line));
	for (i = 0; i < n; i++)
		json_array_append_new(lines, json_stringn(line, sizeof(line)));
	call_reply(call, lines);
}

static void
refuse(struct call *call)
{
	struct err e = {0};

	err_set(&e, ERR_NO_JOB, "there is no job %s", call_string(call, "id"));
	call_refuse(call, &e);
}

static void
on_stream_gone(void *arg)
{
	(void)arg;
	fake_streams--;
	stream = NULL;
}

static void
on_stream_ready(void *arg)
{
	(void)arg;
	fake_ready++;
}

static void
follow(struct call *call)
{
	struct stream *s = call_stream(call, on_stream_gone, NULL);

	if (s != NULL) {
		fake_streams++;
		stream = s;
		stream_on_ready(s, on_stream_ready);
	}
	call_reply(call, json_boolean(s != NULL));
}

bool
fake_notify(const char *text)
{
	return stream != NULL &&
	    stream_notify(stream, "log", json_pack("{ss}", "text", text));
}

static void
fake_handle(enum method_id id, struct call *call)
{
	fake_calls++;
	switch (id) {
	case METHOD_ping:
		call_reply(call, json_string("pong"));
		break;
	case METHOD_list_runners:
		call_reply(call, json_pack("[ss]", "a", "b"));
		break;
	case METHOD_get_runner_logs:
		reply_lines(call);
		break;
	case METHOD_job_status:
		refuse(call);
		break;
	case METHOD_job_result:
		call_on_gone(call, on_gone, call);
		keep(call);
		break;
	case METHOD_job_wait:
		keep(call);
		break;
	case METHOD_job_get:
		call_reply(call, NULL);
		break;
	case METHOD_follow_logs:
		follow(call);
		break;
	default:
		call_reply(call, json_incref(call->params));
		break;
	}
}

#define METHOD(id, ...) \
	void handle_##id(struct call *call) \
	{ \
		fake_handle(METHOD_##id, call); \
	}
#include "methods.def"
#undef METHOD

static void
on_shutdown(void *master)
{
	(void)master;
	fake_shutdowns++;
}

void
fake_services(struct services *s, struct daemon_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	settings_init(daemon_settings, conf);
	memset(s, 0, sizeof(*s));
	s->conf = conf;
	s->started_at = 1.0;
	s->shutdown = on_shutdown;
}
