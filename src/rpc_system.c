/* Methods about herod itself; get_all_status is among the runners'. */

#include "rpc.h"

#include "http.h"

HANDLER(rpc_discover)
{
	call_reply(call, method_openrpc(PACKAGE_VERSION));
}

HANDLER(ping)
{
	call_reply(call, json_string("pong"));
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

/* Answered first: the connection goes with herod. */
HANDLER(shutdown)
{
	const struct services *services = call->services;

	call_reply(call, json_string("shutting down"));
	services->shutdown(services->master);
}
