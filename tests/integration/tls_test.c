/*
 * TLS: what holds of the doors holds behind it, who shows a certificate is who
 * the key of its subject says, and certificates are changed while herod runs.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tls_door.h"

CHECK_TIMEOUT(60);

#define PING "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n"
#define PONG "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"pong\"}"
#define DISCOVER "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.discover\"}"
/* Its thread may end with it: see tls_door.c. */
#define HEROCTL "ASAN_OPTIONS=detect_leaks=0 $BUILD/heroctl"
#define CURL "curl -sS --max-time 20 --cacert ca.pem "

static struct herod *
start(const char *more)
{
	struct herod *h;

	make_certificates();
	h = herod_start(AT_ONCE "[herod]\n" TLS_CONF "log_level = info\n%s",
	    TLS_FILES, more);
	wait_for_redis(h); /* whose descriptors shall not be counted */
	return h;
}

static json_t *
ask(int fd, const char *method, const char *params)
{
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\","
		 "\"params\":%s}\n",
		method, params));
	return recv_json(fd);
}

static void
check_pings(int fd)
{
	send_text(fd, PING);
	check_str(recv_line(fd), PONG);
}

static const char *
url(struct herod *h, const char *path)
{
	return text("https://localhost:%d%s", h->port, path);
}

static const char *
tls_address(struct herod *h)
{
	return text("tls:localhost:%d", h->port);
}

/* heroctl by TLS, with more words. */
static struct ran
by_tls(struct herod *h, const char *words)
{
	return run(HEROCTL " -s %s --tls-ca ca.pem %s", tls_address(h), words);
}

static int
descriptors(struct herod *h)
{
	return count_fds(herod_pid(h));
}

/* ---- both languages ---- */

void
test_one_port_speaks_tls_and_plain_lines_and_http(void)
{
	struct herod *h = start("");
	int plain = door_tcp(h), fd = door_tls(h), socket = door_unix(h);

	check_pings(plain);
	check_pings(fd);
	check_pings(socket);
	check_str(run(CURL "%s", url(h, "/healthz")).out, "ok\n");
	check_has(http(h,
		      "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
		      "Connection: close\r\n\r\n"),
	    "200 OK");
	check_has(run(CURL "-H 'Content-Type: application/json' -d '%s' %s",
		      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
		      url(h, "/"))
		      .out,
	    "pong");
	check_has(run("curl -sS --max-time 20 --cacert ca.pem --unix-socket %s "
		      "https://localhost/healthz",
		      h->socket)
		      .out,
	    "ok");
	herod_stop(h);
}

void
test_old_versions_of_tls_are_refused(void)
{
	struct herod *h = start("");
	const char *client = text("openssl s_client -brief -CAfile ca.pem "
				  "-connect 127.0.0.1:%d "
				  "-cipher DEFAULT@SECLEVEL=0 </dev/null 2>&1",
	    h->port);

	check_has(run("%s -tls1_2", client).out, "TLSv1.2");
	check_has(run("%s -tls1_3", client).out, "TLSv1.3");
	check(run("%s -tls1_1", client).status != 0);
	check(run("%s -tls1", client).status != 0);
	herod_stop(h);
}

void
test_without_a_certificate_who_speaks_tls_is_turned_away(void)
{
	struct herod *h = herod_start(AT_ONCE);
	struct ran r = run("curl -sS --max-time 20 -k %s 2>&1", url(h, "/"));

	check(r.status != 0);
	check_has(herod_log(), "speaks TLS, for which no certificate is set");
	herod_stop(h);
}

/* ---- bytes ---- */

void
test_a_half_closed_connection_gets_its_answers(void)
{
	struct herod *h = start("");
	int fd = door_tls(h), i;

	for (i = 0; i < 100; i++)
		send_text(fd, PING);
	shutdown(fd, SHUT_WR);
	for (i = 0; i < 100; i++)
		check_str(recv_line(fd), PONG);
	check(recv_line(fd) == NULL);
	wait_for(rpc(h, "ping", NULL) && descriptors(h) > 0);
	herod_stop(h);
}

void
test_a_peer_that_does_not_read_blocks_nobody(void)
{
	struct herod *h = start("max_output = 65536\n");
	int before = descriptors(h), fd = door_tls(h), i;

	for (i = 0; i < 400; i++)
		send_text(fd,
		    "{\"jsonrpc\":\"2.0\",\"id\":1,"
		    "\"method\":\"rpc.discover\"}\n");
	check_str(heroctl(h, "list").out, "herod-redis\n");
	check_pings(door_tls(h));
	close(fd);
	wait_for(descriptors(h) <= before + 3);
	herod_stop(h);
}

void
test_a_long_line_and_a_long_answer_pass_whole(void)
{
	struct herod *h = start("");
	int fd = door_tls(h), i;
	json_t *answer;
	char *blanks = calloc(1, 900001);

	check(blanks != NULL);
	memset(blanks, ' ', 900000);
	send_text(fd, blanks);
	check_pings(fd);
	for (i = 0; i < 20; i++) {
		answer = ask(fd, "rpc.discover", "{}");
		check_str(text_at(answer, "result.openrpc"), "1.3.2");
	}
	free(blanks);
	close(fd);
	herod_stop(h);
}

/* The answer is 100 kB. */
static void
check_discovers(struct herod *h, const char *options)
{
	struct ran r = run("printf 'POST / HTTP/1.1\\r\\nHost: localhost\\r\\n"
			   "Content-Type: application/json\\r\\n"
			   "Connection: close\\r\\nContent-Length: %zu\\r\\n"
			   "\\r\\n%s' | timeout 20 openssl s_client -quiet "
			   "-CAfile ca.pem -connect 127.0.0.1:%d %s",
	    strlen(DISCOVER), DISCOVER, h->port, options);

	check(strstr(r.err, "too long") == NULL);
	check_has(r.out, "200 OK");
	check_str(r.out + strlen(r.out) - 3, "}}\n");
}

void
test_a_client_gets_records_as_small_as_it_asks_for(void)
{
	struct herod *h = start("");

	check_discovers(h, "-tls1_2 -maxfraglen 512");
	check_discovers(h, "-tls1_2 -maxfraglen 4096");
	check_discovers(h, "-tls1_3 -maxfraglen 512");
	check_discovers(h, "-tls1_2");
	herod_stop(h);
}

void
test_who_begins_a_handshake_must_end_it(void)
{
	struct herod *h = start("request_timeout = 0.2\n");
	int before = descriptors(h), silent = door_tcp(h), wild = door_tcp(h),
	    socket = door_unix(h);

	send_bytes(silent, "\x16\x03\x01", 3);
	send_bytes(socket, "\x16\x03\x01", 3);
	send_bytes(wild, "\x16\x03\x01\x00\x05hello", 10);
	check(recv_all(wild) != NULL);
	check_str(recv_all(silent), "");
	check_str(recv_all(socket), "");
	wait_for(descriptors(h) <= before);
	check_pings(door_tls(h));
	herod_stop(h);
}

/* Bytes of all kinds behind a first that says TLS, some of them in records of
 * the right shape. */
void
test_wild_bytes_end_their_connection_alone(void)
{
	struct herod *h = start("");
	unsigned char bytes[600];
	int n, i, fd, good = door_tls(h);

	srandom(1);
	for (n = 0; n < 300; n++) {
		for (i = 0; i < (int)sizeof(bytes); i++)
			bytes[i] = (unsigned char)random();
		memcpy(bytes, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		    n % 2 ? 1 : n % 12);
		bytes[0] = 0x16;
		fd = door_tcp(h);
		send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		close(fd);
	}
	check_pings(good);
	wait_for(strstr(run(CURL "%s", url(h, "/metrics")).out,
	    "herod_tls_failures_total 300"));
	herod_stop(h);
}

void
test_connections_that_end_leave_nothing_behind(void)
{
	struct herod *h = start("");
	int before, i, fds[20];

	check_str(run(CURL "%s", url(h, "/healthz")).out, "ok\n");
	before = descriptors(h);
	for (i = 0; i < 100; i++) {
		fds[i % 20] = door_tls(h);
		check_pings(fds[i % 20]);
		close(fds[i % 20]);
	}
	run("for i in 1 2 3 4 5; do " CURL "%s; done", url(h, "/healthz"));
	wait_for(descriptors(h) <= before);
	herod_stop(h);
}

/* They end and do not close: what herod has to tell them may wait for long. */
static int
answers_and_a_refusal_as_nobody(struct herod *h, int n)
{
	int fd;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 1;
	while (n-- > 0) {
		fd = door_tls(h);
		send_text(fd,
		    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
		    "Connection: close\r\n\r\n");
		while (recv_line(fd) != NULL)
			continue;
	}
	fd = door_tcp(h);
	send_text(fd, PING);
	check_has(recv_line(fd), "who is no admin");
	return 0;
}

static struct herod *
start_full(const char *max_connections, int n)
{
	struct herod *h;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip("cannot become another user here");
	h = start(max_connections);
	run("chmod 755 .");
	pid = fork();
	if (pid == 0)
		_exit(answers_and_a_refusal_as_nobody(h, n));
	check(waitpid(pid, &status, 0) == pid);
	check_int(status, 0);
	return h;
}

void
test_guests_who_do_not_close_leave_places_for_admins(void)
{
	struct herod *h = start_full("max_connections = 8\n", 5);

	check_pings(door_tls(h));
	herod_stop(h);
}

void
test_guests_who_do_not_close_leave_places_for_other_guests(void)
{
	struct herod *h = start_full("max_connections = 40\n", 24);

	check_str(run("setpriv --reuid 65533 --clear-groups curl -sS -m 20 "
		      "http://127.0.0.1:%d/healthz",
		      h->port)
		      .out,
	    "ok\n");
	herod_stop(h);
}

/* ---- certificates of clients ---- */

void
test_a_certificate_gives_the_scope_of_the_key_with_its_subject(void)
{
	struct herod *h = start("");
	int fd = door_tls_as(h, "client");
	json_t *key;

	/* Nothing is known of it: the user is root. */
	check(at(ask(fd, "key.list", "{}"), "result") != NULL);
	check_has(herod_log(), "no key has the subject CN=ci,O=Example");
	close(fd);
	key = rpc(h, "auth.create_key", "{s:s, s:s, s:s}", "name", "ci",
	    "scope", "observe", "subject", "CN=ci,O=Example");
	check(json_is_null(at(key, "key")));
	fd = door_tls_as(h, "client");
	check_int(int_at(ask(fd, "key.list", "{}"), "error.code"), -32002);
	check_pings(fd);
	check_has(by_tls(h,
		      "--tls-cert client.pem --tls-key client.key "
		      "stop-all --yes")
		      .err,
	    "TLS, key ci has observe");
	check_has(run(CURL "--cert client.pem --key client.key -d '%s' "
			   "-H 'Content-Type: application/json' %s",
		      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stop_all\"}",
		      url(h, "/"))
		      .out,
	    "-32002");
	check(json_is_string(at(rpc(h, "key.list", NULL), "0.last_used")));
	herod_kill9(h);
	check_int(int_at(ask(door_tls_as(h, "client"), "key.list", "{}"),
		      "error.code"),
	    -32002);
	herod_stop(h);
}

void
test_with_its_key_a_certificate_loses_what_it_gave(void)
{
	struct herod *h = start("");
	int lines, web;

	rpc(h, "auth.create_key", "[s, s, i, s]", "ci", "admin", 0,
	    "CN=ci,O=Example");
	lines = door_tls_as(h, "client");
	web = door_tls_as(h, "client");
	check(at(ask(lines, "subscribe", "[[\"runner\"]]"), "result") != NULL);
	send_text(web, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
	check_has(recv_line(web), "200");
	rpc(h, "key.remove", "[s]", "ci");
	while (recv_line(lines) != NULL)
		continue;
	send_text(web,
	    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n\r\n");
	check_has(recv_all(web), "HTTP/1.1 401");
	herod_stop(h);
}

void
test_a_subject_makes_no_lines_of_the_log(void)
{
	struct herod *h = start("");

	check_pings(door_tls_as(h, "lines"));
	check_has(herod_log(), "no key has the subject CN=a\\0Ab\n");
	check_str(heroctl(h, "key create odd --subject 'CN=a\\0Ab'").out,
	    "CN=a\\0Ab\n");
	check_pings(door_tls_as(h, "lines"));
	check(json_is_string(at(rpc(h, "key.list", NULL), "0.last_used")));
	herod_stop(h);
}

void
test_a_subject_is_known_once_and_looks_like_one(void)
{
	struct herod *h = start("");
	json_t *error;

	rpc(h, "auth.create_key", "[s, s, i, s]", "ci", "user", 0, "CN=ci");
	error = rpc_error(
	    h, "auth.create_key", "[s, s, i, s]", "me", "user", 0, "CN=ci");
	check_str(text_at(error, "message"),
	    "there is a key ci already of that subject");
	error = rpc_error(
	    h, "auth.create_key", "[s, s, i, s]", "me", "user", 0, "ci");
	check_has(text_at(error, "message"), "wanted as in CN=ci,O=Example");
	check_str(
	    heroctl(h, "key create two --subject CN=two").out, "CN=two\n");
	check_has(heroctl(h, "key list").out, "CN=two\n");
	herod_stop(h);
	herod_again(h);
	check_has(heroctl(h, "key list").out, "CN=two\n");
	herod_stop(h);
}

/* By OpenSSL, which shows also a certificate that was not asked for. */
static bool
is_refused(struct herod *h, const char *name)
{
	return run(CURL "%s %s 2>&1",
		   name ? text("--cert %s.pem --key %s.key", name, name) : "",
		   url(h, "/healthz"))
		   .status != 0;
}

void
test_certificates_of_strangers_servers_and_the_past_are_refused(void)
{
	struct herod *h = start("");

	check(!is_refused(h, "client"));
	check(is_refused(h, "stranger"));
	wait_for(strstr(herod_log(), "issuer is unknown"));
	check(is_refused(h, "served"));
	wait_for(strstr(herod_log(), "purpose"));
	wait_for(is_refused(h, "expired"));
	wait_for(strstr(herod_log(), "expired"));
	check(!is_refused(h, NULL));
	herod_stop(h);
}

void
test_a_certificate_can_be_required(void)
{
	struct herod *h = start("tls_client_required = true\n");

	check(!is_refused(h, "client"));
	check(is_refused(h, NULL));
	check_pings(door_tcp(h));
	herod_stop(h);
}

/* ---- who comes from elsewhere ---- */

void
test_who_comes_from_elsewhere_must_speak_tls(void)
{
	struct ran r;

	if (run("unshare -n ip link set lo up").status != 0)
		skip("needs network namespaces and iproute2");
	make_certificates();
	r = run("unshare -n sh -c 'ip link set lo up && "
		"ip addr add 10.9.9.9/32 dev lo && exec sh %s' 2>&1",
	    script("elsewhere",
		text(
		    "h='%s/herod --state_dir %s --runtime_dir %s'\n"
		    "key=$($h --bootstrap-admin-key root)\n"
		    "$h --listen tcp:10.9.9.9:3030 --tls_cert %s "
		    "--tls_key %s 2>herod.log & herod=$!\n"
		    "at=10.9.9.9:3030; cd $(dirname $0)\n"
		    "until curl -sfk https://$at/healthz; do sleep 0.05; done\n"
		    "curl -s http://$at/healthz\n"
		    "echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}' "
		    "| socat - TCP:$at\n"
		    "%s/heroctl -s tls:$at --tls-ca ca.pem -k $key list\n"
		    "HEROCTL_TLS_CA=ca.pem HEROCTL_KEY=$key "
		    "%s/heroctl -s tls:$at list\n"
		    "kill $herod; wait $herod\n",
		    getenv("HEROD_BUILD"), here("state"), here("run"),
		    here("server.pem"), here("server.key"),
		    getenv("HEROD_BUILD"), getenv("HEROD_BUILD"))));
	check_has(r.out, "ok\nwho comes from elsewhere must speak TLS here");
	check_has(r.out, "{\"code\":-32001,\"message\":\"who comes from else");
	check_has(r.out, "\nherod-redis\nherod-redis\n");
}

/* ---- certificates that change ---- */

static const char *
serial(struct herod *h)
{
	return run("openssl s_client -connect 127.0.0.1:%d </dev/null "
		   "2>/dev/null | openssl x509 -noout -serial",
	    h->port)
	    .out;
}

static const char *
serial_in(const char *name)
{
	return run("openssl x509 -noout -serial -in %s.pem", name).out;
}

void
test_reload_reads_the_certificate_anew_and_ends_no_connection(void)
{
	struct herod *h = start("");
	int fd = door_tls(h);

	check_str(serial(h), serial_in("server"));
	run("cp second.pem server.pem; cp second.key server.key");
	rpc(h, "reload", NULL);
	check_str(serial(h), serial_in("second"));
	check_has(run(CURL "%s", url(h, "/metrics")).out,
	    text("herod_tls_certificate_expiry_timestamp_seconds %s",
		run("date +%%s -d \"$(openssl x509 -noout -enddate -in "
		    "second.pem | cut -d= -f2)\"")
		    .out));
	check_pings(fd);
	check_pings(door_tls(h));
	herod_stop(h);
}

void
test_a_bad_certificate_is_refused_whole_and_the_old_goes_on(void)
{
	struct herod *h = start("");
	const char *before = serial_in("server");
	struct ran r;

	run("cp second.key server.key");
	r = heroctl(h, "reload");
	check_int(r.status, 1);
	check_has(r.err, "tls_cert");
	check_has(r.err, "server.key");
	check_str(serial(h), before);
	run("rm server.key");
	check_has(heroctl(h, "reload").err, "No such file");
	run("cp second.key server.key; chmod 644 server.key");
	check_has(heroctl(h, "reload").err, "everybody may read or write it");
	check_str(serial(h), before);
	check_int(run("$BUILD/herod -c %s --check", h->conf).status, 2);
	/* What runs is not to end for it. */
	herod_kill9(h);
	check_pings(door_tcp(h));
	check_has(herod_log(), "TLS is not spoken until heroctl reload");
	run("chmod 600 server.key; cp second.pem server.pem");
	check_int(heroctl(h, "reload").status, 0);
	check_str(serial(h), serial_in("second"));
	herod_stop(h);
}

void
test_herod_does_not_start_with_a_bad_certificate(void)
{
	struct ran r = run("$BUILD/herod --state_dir %s --runtime_dir %s "
			   "--tls_cert /nowhere.pem 2>&1",
	    here("state"), here("run"));

	check(r.status != 0);
	check_has(r.out, "tls_cert /nowhere.pem: No such file or directory");
	r = run("$BUILD/herod --check --tls_key x 2>&1");
	check_int(r.status, 2);
	check_has(r.out, "tls_key is set, and tls_cert is not");
}

void
test_a_limit_that_cannot_hold_max_connections_is_told(void)
{
	const char *check = "ulimit -n 1200; $BUILD/herod -l warn --check";

	make_certificates();
	check(strstr(run("%s 2>&1", check).out, "max_connections") == NULL);
	check_has(
	    run("%s --tls_cert server.pem --tls_key server.key 2>&1", check)
		.out,
	    "max_connections, 1000, take 3000 descriptors with TLS");
}

static const char *
said_of_files(const char *cert, const char *key)
{
	struct ran r = run("timeout 10 $BUILD/herod --check --tls_cert %s "
			   "--tls_key %s </dev/null 2>&1",
	    cert, key);

	check_int(r.status, 2);
	return r.out;
}

void
test_files_that_are_no_pem_are_refused_with_what_to_do(void)
{
	make_certificates();
	check_int(run("mkfifo -m 600 fifo && mkdir -m 700 dir && "
		      "openssl pkey -in server.key -aes256 -passout pass:abc "
		      "-out locked.key && openssl pkey -in server.key "
		      "-outform DER -out der.key && chmod 600 *.key")
		      .status,
	    0);
	check_has(said_of_files("fifo", "server.key"),
	    "tls_cert fifo: wanted a regular file");
	check_has(said_of_files("server.pem", "fifo"),
	    "tls_key fifo: wanted a regular file");
	check_has(said_of_files("dir", "server.key"),
	    "tls_cert dir: wanted a regular file");
	check_has(said_of_files("server.pem", "locked.key"), "passphrase");
	check_has(said_of_files("server.pem", "der.key"), "wanted PEM");
}

void
test_what_asks_for_certificates_needs_who_signs_them(void)
{
	struct ran r;

	make_certificates();
	r = run("$BUILD/herod --check --tls_client_required true "
		"--tls_cert server.pem --tls_key server.key 2>&1");
	check_int(r.status, 2);
	check_has(
	    r.out, "tls_client_required is set, and tls_client_ca is not");
}

/* ---- the end ---- */

static int
wait_over_tls(struct herod *h)
{
	int fd = door_tls(h);

	send_text(fd,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"start_runner\","
	    "\"params\":[\"slow\"]}\n");
	wait_for(is_state(h, "slow", "STARTING"));
	return fd;
}

#define SLOW \
	"[runner:slow]\nautostart = false\nstartsecs = 1000\n" \
	"command = sleep 1000\n"

/* A half-closed one would get its answer; nobody is there any more. */
void
test_who_hangs_up_while_a_request_is_in_work_leaves_nothing(void)
{
	struct herod *h = start(SLOW);
	int before, i;

	before = descriptors(h);
	for (i = 0; i < 10; i++)
		close(wait_over_tls(h));
	/* Those of the runner are new. */
	wait_for(descriptors(h) <= before + 10);
	herod_stop(h);
}

void
test_an_upgrade_answers_who_waits_and_closes(void)
{
	struct herod *h = start(SLOW);
	int fd = wait_over_tls(h);

	check_int(heroctl(h, "upgrade").status, 0);
	check_int(int_at(recv_json(fd), "error.code"), -32043);
	check(recv_line(fd) == NULL);
	check_pings(door_tls(h));
	herod_stop(h);
}

void
test_an_orderly_end_answers_who_waits_and_closes(void)
{
	struct herod *h = start(SLOW);
	int fd = wait_over_tls(h);

	kill(h->keeper, SIGTERM);
	check(at(recv_json(fd), "error.code") != NULL);
	check(recv_line(fd) == NULL);
	check_int(herod_end(h), 0);
}

/* ---- heroctl ---- */

/* The CA has signed it, for that name; its holder is a client. */
void
test_heroctl_trusts_no_certificate_of_a_client(void)
{
	struct herod *h;
	struct ran r;

	make_certificates();
	h = herod_start(AT_ONCE "[herod]\ntls_cert = %s\ntls_key = %s\n",
	    here("guise.pem"), here("guise.key"));
	r = by_tls(h, "list");
	check_int(r.status, 5);
	check_has(r.err, "purpose");
	herod_stop(h);
}

/* Who takes connections and says nothing. */
static int
listen_silently(int *port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(bind(fd, (struct sockaddr *)&a, len) == 0);
	check(listen(fd, 5) == 0);
	check(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	*port = ntohs(a.sin_port);
	return fd;
}

void
test_heroctl_says_what_is_wrong_with_tls(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int port, door = listen_silently(&port);
	struct ran r;

	make_certificates();
	r = by_tls(h, "list");
	check_int(r.status, 5);
	check_has(r.err, "(the herod there may have no tls_cert)");
	r = run(HEROCTL " -s tls:localhost:%d --timeout 0.2 list", port);
	check_int(r.status, 6);
	check_has(r.err, "within the time given");
	check(strstr(r.err, "--tls-ca") == NULL);
	r = run(HEROCTL " -s %s --tls-ca nowhere.pem list", tls_address(h));
	check_int(r.status, 2);
	check_has(r.err, "tls_ca nowhere.pem: No such file or directory\n");
	close(door);
	herod_stop(h);
}

void
test_heroctl_trusts_only_who_the_ca_has_signed_for_that_name(void)
{
	struct herod *h = start("");
	struct ran r = by_tls(h, "list");

	check_str(r.out, "herod-redis\n");
	r = run(HEROCTL " -s %s list", tls_address(h));
	check_int(r.status, 5);
	check_has(r.err, "NOT trusted");
	check_has(r.err, "--tls-ca");
	r = run(
	    HEROCTL " -s tls:ip6-localhost:%d --tls-ca ca.pem list", h->port);
	check(r.status != 0);
	r = run(HEROCTL " -s https://localhost:%d list", h->port);
	check_has(r.err, text("the same port takes tls:localhost:%d", h->port));
	r = run("printf 'list\\nlist\\n' | " HEROCTL " -s %s --tls-ca ca.pem",
	    tls_address(h));
	check_str(r.out, "herod-redis\nherod-redis\n");
	herod_stop(h);
}

void
test_names_are_completed_over_tls(void)
{
	static const char *const lines[] = {"-- -s $S --tls-ca ca.pem start ''",
	    "-- --server=$S --tls-ca=ca.pem start h",
	    "-- start --wait -s $S --tls-ca=ca.pem ''"};
	struct herod *h = start("");
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_has(run("S=%s; " HEROCTL " completion words %s",
			      tls_address(h), lines[i])
			      .out,
		    "herod-redis\t");
	check_has(run("export HEROCTL_TLS_CA=ca.pem HEROCTL_SERVER=%s; " HEROCTL
		      " completion words -- start ''",
		      tls_address(h))
		      .out,
	    "herod-redis\t");
	herod_stop(h);
}

/* ---- ^C in the shell ---- */

static int terminal; /* of heroctl's shell */

static pid_t
open_shell(const char *server)
{
	const char *heroctl = text("%s/heroctl", getenv("HEROD_BUILD"));
	pid_t pid = forkpty(&terminal, NULL, NULL, NULL);

	check(pid != -1);
	if (pid > 0)
		return pid;
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	execl(heroctl, "heroctl", "-s", server, (char *)NULL);
	_exit(127);
}

/* What is typed, and everything that was shown until now. */
static const char *
shown_after(const char *typed)
{
	static char shown[65536];
	static size_t len;
	struct pollfd p = {.fd = terminal, .events = POLLIN};
	ssize_t n;

	check_int(write(terminal, typed, strlen(typed)), (int)strlen(typed));
	while (len < sizeof(shown) - 1 && poll(&p, 1, 0) == 1 &&
	    (n = read(terminal, shown + len, sizeof(shown) - 1 - len)) > 0)
		len += (size_t)n;
	return shown;
}

static void
check_interrupts(pid_t shell)
{
	int status;

	/* One that comes just before it waits is lost. */
	wait_for(strstr(shown_after("\003"), "heroctl: interrupted"));
	wait_for(waitpid(shell, &status, WNOHANG) == 0 &&
	    strstr(strstr(shown_after(""), "interrupted"), "herod> "));
	shown_after("exit\n");
	check_int(waitpid(shell, &status, 0), shell);
	check_int(WEXITSTATUS(status), 130);
}

void
test_an_interrupt_ends_a_handshake_with_who_says_nothing(void)
{
	int port, door = listen_silently(&port), fd;
	pid_t shell = open_shell(text("tls:localhost:%d", port));
	char byte;

	wait_for(strstr(shown_after(""), "herod> "));
	shown_after("list\n");
	fd = accept(door, NULL, NULL);
	check_int(recv(fd, &byte, 1, MSG_PEEK), 1);
	check_interrupts(shell);
	close(fd);
	close(door);
}

/* No more connections find room there. */
static bool
is_dialling(int port)
{
	return strstr(
	    file_text("/proc/net/tcp"), text("0100007F:%04X 02 ", port));
}

void
test_an_interrupt_ends_dialling_to_who_does_not_answer(void)
{
	int port, door = listen_silently(&port);
	pid_t shell = open_shell(text("tcp:127.0.0.1:%d", port));
	int only;

	check_int(listen(door, 0), 0);
	only = door_tcp(&(struct herod){.port = port});
	wait_for(strstr(shown_after(""), "herod> "));
	shown_after("list\n");
	wait_for(is_dialling(port));
	check_interrupts(shell);
	close(only);
	close(door);
}
