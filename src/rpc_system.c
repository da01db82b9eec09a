/* Methods about herod itself; get_all_status is among the runners'. */

#include "rpc.h"

#include "http.h"
#include "jsonrpc.h"
#include "upgrade.h"

HANDLER(rpc_discover)
{
	call_reply(call, method_openrpc(PACKAGE_VERSION));
}

static int
write_pong(struct sink *s, void *arg)
{
	(void)arg;
	sink_literal(s, "\"pong\"");
	return 0;
}

HANDLER(ping)
{
	call_reply_by(call, write_pong, NULL);
}

HANDLER(get_version)
{
	call_reply(call,
	    json_pack("{s:s, s:s, s:{s:o, s:s, s:s}}", "name", "herod",
		"version", PACKAGE_VERSION, "libraries", "libev",
		json_sprintf("%d.%d", ev_version_major(), ev_version_minor()),
		"jansson", jansson_version_str(), "libmicrohttpd",
		http_library_version()));
}

/* It is told what goes, so that it can see when another has come. */
static void
on_upgraded(void *arg, const struct err *e)
{
	struct call *call = arg;

	if (e)
		call_refuse(call, e);
	else
		call_reply(call,
		    json_pack("{s:s, s:i}", "version", PACKAGE_VERSION, "pid",
			(int)getpid()));
}

static void
on_asker_gone(void *arg)
{
	upgrade_unask(arg);
}

HANDLER(upgrade)
{
	struct upgrade *u = call->services->upgrade;
	struct err e = {0};

	if (upgrade_begin(u, on_upgraded, call, &e) != 0)
		call_refuse(call, &e);
	else
		call_on_gone(call, on_asker_gone, u);
}

/* Answered first: the connection goes with herod. */
HANDLER(shutdown)
{
	const struct services *services = call->services;

	call_reply(call, json_string("shutting down"));
	services->shutdown(services->master);
}
