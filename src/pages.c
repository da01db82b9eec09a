/* Pages: the dashboard's three files, probes, metrics, the interface. */

#include "pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index_html.h"
#include "jsonrpc.h"
#include "mem.h"
#include "metrics.h"
#include "page_css.h"
#include "page_js.h"
#include "redis.h"
#include "rpc.h"
#include "runners.h"

#define PLAIN "text/plain; charset=utf-8"

static void
reply_page(
    struct http_request *r, int status, const char *type, const char *text)
{
	http_reply(r, status, type, xstrdup(text), strlen(text));
}

/* ---- the dashboard ---- */

void
page_index(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/html; charset=utf-8", index_html);
}

void
page_css(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/css; charset=utf-8", page_css_text);
}

void
page_js(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, "text/javascript; charset=utf-8", page_js_text);
}

/* ---- probes ---- */

void
page_healthz(void *arg, struct http_request *r)
{
	(void)arg;
	reply_page(r, 200, PLAIN, "ok\n");
}

/* One that herod starts by itself, that nobody has stopped, and that did
 * not end as its settings allow. */
static bool
should_be_up(const struct runner *r)
{
	return r->conf.autostart && r->wanted == WANTED_UP &&
	    !runner_is_external(r) && runner_state(r) != EXITED;
}

static void
list_missing(const struct services *services, struct sink *s)
{
	struct runner *r;

	if (services->runners != NULL && runners_are_ending(services->runners))
		sink_print(s, "herod: shutting down\n");
	if (services->redis != NULL && !redis_is_up(services->redis))
		sink_print(s, "redis: %s\n", redis_why(services->redis));
	if (services->runners == NULL)
		return;
	RUNNERS_FOREACH (r, services->runners)
		if (should_be_up(r) && !runner_is_up(r))
			sink_print(s, "runner %s: %s\n", r->name,
			    state_name(runner_state(r)));
}

/* Whoever may not look at runners learns only whether. */
void
page_readyz(void *arg, struct http_request *r)
{
	const struct peer *peer = r->client;
	static const char not_ready[] = "not ready\n";
	struct sink text = {0};

	sink_print(&text, "%s", not_ready);
	list_missing(arg, &text);
	if (text.len == strlen(not_ready)) {
		free(text.buf);
		reply_page(r, 200, PLAIN, "ready\n");
	} else if (peer->scope < SCOPE_OBSERVE) {
		free(text.buf);
		reply_page(r, 503, PLAIN, not_ready);
	} else {
		http_reply(r, 503, PLAIN, text.buf, text.len);
	}
}

/* ---- metrics ---- */

void
page_metrics(void *arg, struct http_request *r)
{
	const struct peer *peer = r->client;
	size_t len;
	char *text;

	if (peer->scope < SCOPE_OBSERVE) {
		reply_page(r, 401, PLAIN, "metrics need the scope observe\n");
		return;
	}
	text = metrics_text(arg, &len);
	http_reply(
	    r, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
}

/* ---- the interface ---- */

void
page_openrpc(void *arg, struct http_request *r)
{
	json_t *document = method_openrpc(PACKAGE_VERSION);
	size_t len;
	char *text = jsonrpc_text(document, &len);

	(void)arg;
	json_decref(document);
	http_reply(r, 200, "application/json", text, len);
}
