/*
 * The interface as others see it: the OpenRPC document and its examples, and
 * clients that we have not written, each a small program in tests/clients
 * that makes a good call, one that is refused, a batch and a notification at
 * every door which the client can speak at.
 *
 * What a client needs is installed by etc/packages and tests/clients/install;
 * without that its test is skipped, but fails in CI (HEROD_CI is set).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"

/* The C++ and TypeScript compilers may be slow. */
CHECK_TIMEOUT(180);

/* ---- what is needed ---- */

static void
missing(const char *what)
{
	if (getenv("HEROD_CI") != NULL)
		check_fail(__FILE__, __LINE__, "%s is missing", what);
	skip(text("%s is missing", what));
}

static void
needs(const char *programs)
{
	char *words = strdup(programs), *rest = words, *word;

	while ((word = strsep(&rest, " ")) != NULL)
		if (run("command -v %s", word).status != 0)
			missing(word);
	free(words);
}

/* Copies the clients here, as modules are looked for beside them. */
static void
put_clients(void)
{
	if (getenv("HEROD_SOURCE") == NULL)
		skip("HEROD_SOURCE is not set");
	check_int(run("cp \"$HEROD_SOURCE\"/tests/clients/* . && chmod +w ./*")
		      .status,
	    0);
}

static void
needs_modules(void)
{
	needs("node");
	if (run("ln -s \"${HEROD_CLIENTS:-$HEROD_BUILD/clients}/node_modules\" ."
		" && test -d node_modules/")
		.status != 0)
		missing("node_modules (tests/clients/install)");
}

/* ---- clients ---- */

/* With Redis, or a notification to pause a queue would be lost. */
static struct herod *
start(void)
{
	struct herod *h;

	put_clients();
	h = herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
				"[runner:up]\nkind = exec\n"
				"command = tr a-z A-Z\n");
	wait_for_redis(h);
	return h;
}

static void
passes(struct ran r)
{
	if (r.status != 0)
		check_fail(__FILE__, __LINE__, "exit %d:\n%s%s", r.status,
		    r.out, r.err);
}

/* The client, told where the doors are. */
static void
is_served(const char *client)
{
	struct herod *h = start();

	passes(run("%s %d %s", client, h->port, h->socket));
	herod_stop(h);
}

/* Of what carries lines, at both doors. */
static void
carries(const char *to_unix, const char *to_tcp)
{
	struct herod *h = start();

	passes(run("./lines.sh %s%s", to_unix, h->socket));
	passes(run("./lines.sh %s%d", to_tcp, h->port));
	herod_stop(h);
}

void
test_curl_with_jq_is_served(void)
{
	needs("curl jq");
	is_served("./curl.sh");
}

void
test_socat_is_served(void)
{
	needs("socat jq");
	carries("socat -t 30 - UNIX-CONNECT:", "socat -t 30 - TCP:127.0.0.1:");
}

void
test_nc_is_served(void)
{
	needs("nc jq");
	carries("nc -N -U ", "nc -N 127.0.0.1 ");
}

void
test_python_is_served(void)
{
	needs("python3");
	is_served("python3 python.py");
}

void
test_perls_json_rpc_is_served(void)
{
	needs("perl");
	if (run("perl -MJSON::RPC::Legacy::Client -e 1").status != 0)
		missing("libjson-rpc-perl");
	is_served("perl perl.pl");
}

void
test_libjsonrpccpp_is_served(void)
{
	needs("c++ jsonrpcstub");
	is_served("./jsonrpccpp.sh");
}

void
test_jayson_is_served(void)
{
	needs_modules();
	is_served("node jayson.mjs");
}

void
test_json_rpc_2_0_is_served(void)
{
	needs_modules();
	is_served("node json-rpc-2.0.mjs");
}

void
test_open_rpc_client_js_is_served(void)
{
	needs("socat");
	needs_modules();
	is_served("node open-rpc.mjs");
}

/* ---- the OpenRPC document ---- */

static json_t *
page(struct herod *h, const char *path)
{
	const char *answer = http(h,
	    "GET %s HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n\r\n",
	    path);
	const char *body = strstr(answer, "\r\n\r\n");

	check_has(answer, "HTTP/1.1 200");
	check(body != NULL);
	return json_loads(body, 0, NULL);
}

void
test_the_document_is_one_by_call_by_page_and_in_the_package(void)
{
	struct herod *h = start();
	json_t *called = rpc(h, "rpc.discover", NULL);
	json_t *seen = page(h, "/openrpc.json"), *packed;

	packed = json_load_file(
	    text("%s/etc/openrpc.json", getenv("HEROD_SOURCE")), 0, NULL);
	check(json_equal(called, seen));
	/* Else: make refresh. */
	check(json_equal(called, packed));
	json_decref(seen);
	json_decref(packed);
	herod_stop(h);
}

void
test_the_document_is_valid_by_each_meta_schema(void)
{
	needs_modules();
	put_clients();
	passes(run("node document.mjs $HEROD_SOURCE/etc/openrpc.json"));
}

void
test_a_client_generated_from_the_document_compiles_and_calls(void)
{
	struct herod *h;

	needs_modules();
	h = start();
	passes(
	    run("./generated.sh %d $HEROD_SOURCE/etc/openrpc.json", h->port));
	herod_stop(h);
}

/* The runners that examples tell of; they end with shutdown. */
void
test_every_example_is_answered_as_the_document_says(void)
{
	struct herod *h;

	needs_modules();
	put_clients();
	/* The key of the examples, by which they may go on. */
	write_file(here("key.conf"), "[herod]\nadmin_secrets = hero_...\n");
	check_int(chmod(here("key.conf"), 0600), 0);
	h = herod_start(
	    "include = key.conf\n" AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\n"
	    "[runner:count]\nkind = exec\n"
	    "command = sh -c 'echo counting >&2; cat'\n"
	    "[runner:ticker]\n"
	    "command = sh -c 'trap : HUP; echo tick; "
	    "while :; do sleep 1000 & wait; kill %%%%1; done'\n"
	    "[schedule:nightly]\nrunner = count\ncron = 30 4 * * *\n"
	    "timezone = Europe/Berlin\n");
	wait_for_redis(h);
	passes(run("node examples.mjs %s", h->socket));
	check_int(herod_end(h), 0);
}
