/*
 * The doors: lines and HTTP on Unix socket and TCP, told apart by the first
 * byte; limits, deadlines and scopes.  What texts get is in conform.def.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}"

static struct herod *
start(void)
{
	return herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
}

/* ---- the documented ways in ---- */

void
test_the_documented_curl_line_works(void)
{
	struct herod *h = start();
	struct ran r = run("curl -s -X POST -H 'Content-Type: application/json'"
			   " -d '{\"jsonrpc\":\"2.0\",\"method\":"
			   "\"list_runners\",\"id\":1}' http://127.0.0.1:%d",
	    h->port);
	json_t *answer = json_loads(r.out, 0, NULL);

	check_int(r.status, 0);
	check_str(text_at(answer, "result.0"), "herod-redis");
	check_str(text_at(answer, "result.1"), "web");
	check_str(text_at(answer, "jsonrpc"), "2.0");
	check_int(int_at(answer, "id"), 1);
	json_decref(answer);
	herod_stop(h);
}

void
test_the_documented_socat_line_works(void)
{
	struct herod *h = start();

	check_has(run("printf '{\"jsonrpc\":\"2.0\",\"method\":"
		      "\"get_all_status\",\"id\":1}\\n' | "
		      "socat - UNIX-CONNECT:%s",
		      h->socket)
		      .out,
	    "\"runners\"");
	herod_stop(h);
}

void
test_lines_and_http_share_both_doors(void)
{
	struct herod *h = start();
	int fd = door_tcp(h);

	send_text(fd, PING "\n");
	check_str(text_at(recv_json(fd), "result"), "pong");
	close(fd);
	check_has(http_post(h, PING), "\"pong\"");
	check_has(run("curl -s --unix-socket %s -H 'Content-Type: "
		      "application/json' -d '%s' http://localhost/rpc",
		      h->socket, PING)
		      .out,
	    "\"pong\"");
	check_str(text_at(exchange(h, "  \t" PING), "result"), "pong");
	herod_stop(h);
}

void
test_ipv6_loopback_is_a_door_too(void)
{
	struct herod *h;

	if (run("grep -q '^0\\{31\\}1 ' /proc/net/if_inet6").status != 0)
		skip("no IPv6 here");
	h = herod_start_with("",
	    text("--listen tcp:[::1]:47613,unix:%s", here("run/herod.sock")),
	    "%s", "");
	check_int(run("$BUILD/heroctl -s 'tcp:[::1]:47613' ping").status, 0);
	herod_stop(h);
}

/* ---- JSON-RPC ---- */

void
test_parameters_go_by_name_and_by_position(void)
{
	struct herod *h = start();

	check_str(text_at(rpc(h, "get_runner_status", "{s:s}", "name", "web"),
		      "name"),
	    "web");
	check_str(
	    text_at(rpc(h, "get_runner_status", "[s]", "web"), "name"), "web");
	check_int(
	    int_at(rpc_error(h, "get_runner_status", NULL), "code"), -32602);
	check_int(int_at(rpc_error(h, "get_runner_status", "[s, i]", "web", 1),
		      "code"),
	    -32602);
	check_int(int_at(rpc_error(h, "get_runner_status", "[i]", 1), "code"),
	    -32602);
	herod_stop(h);
}

void
test_unknown_names_are_refused_with_the_nearest(void)
{
	struct herod *h = start();
	json_t *error = rpc_error(h, "list_runers", NULL);

	check_int(int_at(error, "code"), -32601);
	check_has(text_at(error, "message"), "list_runers");
	check_has(text_at(error, "data.hint"), "list_runners");
	error = rpc_error(
	    h, "get_runner_status", "{s:s, s:i}", "name", "web", "nmae", 1);
	check_int(int_at(error, "code"), -32602);
	check_has(text_at(error, "message"), "nmae");
	error = rpc_error(h, "get_runner_status", "[s]", "wbe");
	check_int(int_at(error, "code"), -32010);
	check_has(text_at(error, "message"), "wbe");
	check_has(text_at(error, "data.hint"), "web");
	check_str(text_at(error, "data.name"), "no_such_runner");
	herod_stop(h);
}

void
test_a_half_closed_peer_gets_its_answers(void)
{
	struct herod *h = start();
	int fd = door_unix(h);

	send_text(fd, PING "\n" PING); /* the last line without a newline */
	shutdown(fd, SHUT_WR);
	check_str(text_at(recv_json(fd), "result"), "pong");
	check_str(text_at(recv_json(fd), "result"), "pong");
	check(recv_line(fd) == NULL);
	close(fd);
	herod_stop(h);
}

void
test_a_stranger_on_tcp_gets_one_error_and_is_left(void)
{
	struct herod *h = start();
	int fd = door_tcp(h);

	send_text(fd, " hello\n" PING "\n");
	check_int(int_at(recv_json(fd), "error.code"), -32700);
	check(recv_line(fd) == NULL);
	close(fd);
	herod_stop(h);
}

void
test_rpc_discover_is_complete(void)
{
	struct herod *h = start();
	json_t *doc = rpc(h, "rpc.discover", NULL), *methods, *m;
	size_t i;

	check_str(text_at(doc, "openrpc"), "1.3.2");
	methods = at(doc, "methods");
	check(json_array_size(methods) >= 12);
	json_array_foreach (methods, i, m) {
		check(json_is_array(at(m, "params")));
		check(json_is_object(at(m, "result.schema")));
		check(strlen(text_at(m, "result.name")) > 0);
		check(json_array_size(at(m, "examples")) >= 1);
	}
	herod_stop(h);
}

void
test_version_names_the_libraries(void)
{
	struct herod *h = start();
	json_t *version = rpc(h, "get_version", NULL);

	check_str(text_at(version, "name"), "herod");
	check(strlen(text_at(version, "version")) > 0);
	check(at(version, "libraries.jansson") != NULL);
	herod_stop(h);
}

/* ---- HTTP ---- */

static void
check_http(struct herod *h, const char *status, const char *request)
{
	check_has(http(h, "%s", request), text("HTTP/1.1 %s", status));
}

void
test_http_refuses_with_the_right_status(void)
{
	struct herod *h = start();
	const char *end =
	    text("Host: localhost:%d\r\nConnection: close\r\n", h->port);

	check_http(h, "404", text("GET /nope HTTP/1.1\r\n%s\r\n", end));
	check_http(h, "405", text("DELETE / HTTP/1.1\r\n%s\r\n", end));
	check_http(h, "415",
	    text("POST / HTTP/1.1\r\nContent-Type: text/plain; "
		 "application/json\r\nContent-Length: 2\r\n%s\r\n{}",
		end));
	check_http(h, "415",
	    text("POST / HTTP/1.1\r\nContent-Length: 2\r\n%s\r\n{}", end));
	check_http(h, "413",
	    text("POST / HTTP/1.1\r\nContent-Type: application/json\r\n"
		 "Content-Length: 99999999999\r\n%s\r\n",
		end));
	check_http(h, "400",
	    text("POST / HTTP/1.1\r\nContent-Type: application/json\r\n"
		 "Content-Length: 2\r\nContent-Length: 3\r\n%s\r\n{}",
		end));
	check_http(h, "400",
	    text("POST / HTTP/1.1\r\nContent-Type: application/json\r\n"
		 "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n%s\r\n"
		 "0\r\n\r\n",
		end));
	check_http(h, "200",
	    text("POST / HTTP/1.1\r\n"
		 "Content-Type: Application/JSON; charset=\"utf-8\"\r\n"
		 "Content-Length: %zu\r\n%s\r\n%s",
		strlen(PING), end, PING));
	herod_stop(h);
}

/* Pitfall 45: what a hostile page in a browser could send. */
void
test_http_serves_only_its_own_names_and_origins(void)
{
	struct herod *h = start();
	const char *close = "Connection: close\r\n";

	check_http(h, "421",
	    text("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n%s\r\n",
		close));
	check_http(h, "200",
	    text("GET /healthz HTTP/1.1\r\nHost: localhost:%d\r\n%s\r\n",
		h->port, close));
	check_http(h, "403",
	    text("POST / HTTP/1.1\r\nHost: localhost:%d\r\n%s"
		 "Origin: https://evil.example\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n"
		 "\r\n%s",
		h->port, close, strlen(PING), PING));
	check_http(h, "403",
	    text("POST / HTTP/1.1\r\nHost: localhost:%d\r\n%s"
		 "Sec-Fetch-Site: cross-site\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n"
		 "\r\n%s",
		h->port, close, strlen(PING), PING));
	herod_stop(h);
}

void
test_http_keeps_alive_pipelines_and_takes_chunks(void)
{
	struct herod *h = start();
	const char *head = text("POST /rpc HTTP/1.1\r\nHost: localhost\r\n"
				"Content-Type: application/json\r\n");
	const char *plain =
	    text("%sContent-Length: %zu\r\n\r\n%s", head, strlen(PING), PING);
	const char *all = http(h,
	    "%s%s%sConnection: close\r\nTransfer-Encoding: chunked"
	    "\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
	    plain, plain, head, strlen(PING), PING);
	int n = 0;

	for (; (all = strstr(all, "\"pong\"")) != NULL; all++)
		n++;
	check_int(n, 3);
	herod_stop(h);
}

void
test_pages_for_machines_answer(void)
{
	struct herod *h = start();
	const char *get = "curl -s -o out -w '%%{http_code}' "
			  "http://127.0.0.1:%d/%s; echo; cat out";

	check_str(run(get, h->port, "healthz").out, "200\nok\n");
	wait_for(strncmp(run(get, h->port, "readyz").out, "200\n", 4) == 0);
	check_has(run(get, h->port, "metrics").out, "herod_calls_total ");
	check_has(run(get, h->port, "openrpc.json").out, "\"1.3.2\"");
	check_has(run(get, h->port, "").out, "<html");
	herod_stop(h);
}

void
test_readyz_tells_what_is_missing(void)
{
	struct herod *h = herod_start("[runner:bad]\ncommand = /no/such\n");
	struct ran r;

	wait_for(is_state(h, "bad", "FATAL"));
	r = run(
	    "curl -s -w '%%{http_code}' http://127.0.0.1:%d/readyz", h->port);
	check_has(r.out, "503");
	check_has(r.out, "bad");
	herod_stop(h);
}

/* ---- limits and deadlines ---- */

void
test_a_line_too_long_is_refused(void)
{
	struct herod *h = herod_start("[herod]\nmax_request = 2048\n");
	int fd = door_unix(h);
	char line[5001];

	memset(line, ' ', sizeof(line));
	line[0] = '{';
	line[5000] = '\0';
	send_text(fd, line);
	check_int(int_at(recv_json(fd), "error.code"), -32041);
	check(recv_line(fd) == NULL);
	close(fd);
	rpc(h, "ping", NULL);
	herod_stop(h);
}

void
test_a_half_line_has_a_deadline(void)
{
	struct herod *h = herod_start("[herod]\nrequest_timeout = 0.5\n");
	int line = door_unix(h), head = door_tcp(h), body = door_tcp(h);
	int idle = door_unix(h);

	send_text(line, "{\"jsonrpc\"");
	send_text(head, "POST / HTTP/1.1\r\nHost: x");
	send_text(body,
	    "POST / HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: 100\r\n\r\n{");
	recv_all(line);
	recv_all(head);
	recv_all(body);
	/* One that has asked nothing is nobody's burden. */
	send_text(idle, PING "\n");
	check_str(text_at(recv_json(idle), "result"), "pong");
	herod_stop(h);
}

/* One byte at a time, all within the time: it works. */
void
test_a_dripping_client_is_served_within_its_time(void)
{
	struct herod *h = start();
	int fd = door_unix(h);
	const char *p;

	for (p = PING "\n"; *p; p++)
		send_bytes(fd, p, 1);
	check_str(text_at(recv_json(fd), "result"), "pong");
	close(fd);
	herod_stop(h);
}

void
test_a_client_that_never_reads_is_cut_off(void)
{
	struct herod *h = herod_start("[herod]\nmax_output = 65536\n");
	int fd = door_unix(h), i;
	const char *ask = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.discover\","
			  "\"id\":1}\n";
	ssize_t n = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (i = 0; i < 2000 && n > 0; i++)
		n = send(fd, ask, strlen(ask), MSG_NOSIGNAL);
	/* Either it is closed, or herod has stopped taking its lines. */
	check(n == -1);
	check(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN);
	rpc(h, "ping", NULL);
	check(atoi(proc_field(herod_pid(h), "status", "VmRSS")) <
	    (strcmp(run("nm $BUILD/herod | grep -c __asan").out, "0\n") == 0
		    ? 60000
		    : 600000));
	close(fd);
	herod_stop(h);
}

void
test_connections_beyond_the_limit_wait_their_turn(void)
{
	struct herod *h = herod_start("[herod]\nmax_connections = 5\n");
	int fds[8], i;

	for (i = 0; i < 8; i++)
		fds[i] = door_unix(h);
	send_text(fds[7], PING "\n");
	for (i = 0; i < 7; i++)
		close(fds[i]);
	check_str(text_at(recv_json(fds[7]), "result"), "pong");
	close(fds[7]);
	herod_stop(h);
}

void
test_connections_leak_no_descriptor(void)
{
	/* libmicrohttpd misses the end of some that left within a header. */
	struct herod *h = herod_start("[herod]\nrequest_timeout = 3\n");
	int before, fd, i;

	wait_for_redis(h); /* its connections count */
	http_post(h, PING);
	before = count_fds(herod_pid(h));
	for (i = 0; i < 50; i++) {
		rpc(h, "ping", NULL);
		http_post(h, PING);
		fd = i % 2 ? door_unix(h) : door_tcp(h);
		send_text(fd, i % 3 ? "{\"half" : "POST / HTTP/1.1\r\nHost");
		close(fd);
	}
	wait_for(count_fds(herod_pid(h)) <= before);
	herod_stop(h);
}

/* ---- scopes ---- */

/* Runs a client as nobody over the door given. */
static struct ran
as_nobody(struct herod *h, const char *server, const char *args)
{
	(void)h;
	return run("setpriv --reuid nobody --regid nogroup --clear-groups "
		   "$BUILD/heroctl -s %s %s",
	    server, args);
}

/* Lets others reach the socket and the programs. */
static bool
can_become_nobody(void)
{
	if (geteuid() != 0)
		return false;
	run("chmod 755 . run");
	return run("setpriv --reuid nobody --regid nogroup --clear-groups "
		   "$BUILD/heroctl --version")
		   .status == 0;
}

void
test_another_user_may_look_but_not_touch(void)
{
	struct herod *h = start();
	const char *doors[] = {
	    text("unix:%s", h->socket), text("tcp:127.0.0.1:%d", h->port)};
	struct ran r;
	size_t i;

	if (!can_become_nobody())
		skip("cannot become another user here");
	wait_for(is_state(h, "web", "RUNNING"));
	for (i = 0; i < 2; i++) {
		r = as_nobody(h, doors[i], "status web");
		check_has(r.out, "web");
		check_int(r.status, 0);
		r = as_nobody(h, doors[i], "stop web");
		check_int(r.status, 1);
		check_has(r.err, "observe");
		check_has(r.err, "admin");
	}
	check(is_state(h, "web", "RUNNING"));
	herod_stop(h);
}

void
test_default_scope_opens_or_closes_the_door(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[herod]\ndefault_scope = none\n"
				"[runner:web]\ncommand = sleep 1000\n");
	struct ran r;

	if (!can_become_nobody())
		skip("cannot become another user here");
	r = as_nobody(h, text("unix:%s", h->socket), "status");
	check_int(r.status, 1);
	herod_stop(h);
	h = herod_start(AT_ONCE "[herod]\ndefault_scope = admin\n"
				"[runner:web]\ncommand = sleep 1000\n");
	run("chmod 755 . run");
	r = as_nobody(h, text("unix:%s", h->socket), "stop web");
	check_int(r.status, 0);
	herod_stop(h);
}

void
test_a_door_to_the_world_is_refused(void)
{
	struct ran r = run("$BUILD/herod --state_dir %s --runtime_dir %s "
			   "--listen tcp:0.0.0.0:3999",
	    here("state"), here("run"));

	check_int(r.status, 1);
	check_has(r.err, "0.0.0.0");
	check_has(r.err, "loopback");
}
