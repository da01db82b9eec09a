/*
 * Bad input is met with a sentence, and nothing is lost by it: after each
 * the runner that was up is still up, under the same pid.
 */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

#define PING "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}"

static pid_t web; /* the runner that must not notice */

static struct herod *
start(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	return h;
}

static void
stop(struct herod *h)
{
	check(is_state(h, "web", "RUNNING"));
	check_int(pid_of(h, "web"), web);
	herod_stop(h);
}

static const char *
repeat(char c, size_t n)
{
	char *s = malloc(n + 1);
	const char *kept;

	check(s != NULL);
	memset(s, c, n);
	s[n] = '\0';
	kept = text("%s", s);
	free(s);
	return kept;
}

/* The message of an add_runner that must be refused. */
static const char *
refused_runner(struct herod *h, const char *json)
{
	json_t *answer = exchange(h,
	    text("{\"jsonrpc\":\"2.0\",\"method\":\"add_runner\",\"id\":1,"
		 "\"params\":{\"runner\":%s}}",
		json));

	check_int(int_at(answer, "error.code"), -32602);
	return text_at(answer, "error.message");
}

void
test_odd_runners_are_refused_by_name_of_the_setting(void)
{
	struct herod *h = start();

	check_has(
	    refused_runner(h, "{\"name\":\"a/b\",\"command\":\"x\"}"), "a/b");
	check_has(refused_runner(h, "{\"name\":\"all\",\"command\":\"x\"}"),
	    "stands for all runners");
	check_has(
	    refused_runner(h, "{\"name\":\"a b\",\"command\":\"x\"}"), "name");
	check_has(
	    refused_runner(h, "{\"name\":\"\",\"command\":\"x\"}"), "name");
	check_has(
	    refused_runner(h, "{\"name\":\"..\",\"command\":\"x\"}"), "name");
	check_has(
	    refused_runner(h,
		text("{\"name\":\"%s\",\"command\":\"x\"}", repeat('n', 300))),
	    "name");
	check_has(refused_runner(h, "{\"command\":\"x\"}"), "name");
	check_has(refused_runner(h, "{\"name\":\"a\"}"), "command");
	check_has(
	    refused_runner(h, "{\"name\":\"a\",\"command\":[]}"), "command");
	check_has(
	    refused_runner(h, "{\"name\":\"a\",\"command\":7}"), "command");
	check_has(refused_runner(
		      h, "{\"name\":\"a\",\"command\":\"x\",\"comand\":\"y\"}"),
	    "comand");
	check_has(
	    refused_runner(
		h, "{\"name\":\"a\",\"command\":\"x\",\"startsecs\":\"soon\"}"),
	    "startsecs");
	check_has(refused_runner(
		      h, "{\"name\":\"a\",\"command\":\"x\",\"numprocs\":1.5}"),
	    "numprocs");
	check_has(refused_runner(h, "7"), "runner");
	check_int((int)json_array_size(rpc(h, "list_runners", NULL)), 2);
	stop(h);
}

void
test_a_line_of_10_MB_is_refused(void)
{
	struct herod *h = start();
	const char *chunk = repeat('x', 1 << 20);
	int fd = door_unix(h), i;
	ssize_t n = 1;

	send_text(fd, "{\"jsonrpc\":\"");
	for (i = 0; i < 10 && n > 0; i++)
		n = send(fd, chunk, 1 << 20, MSG_NOSIGNAL);
	check_int(int_at(recv_json(fd), "error.code"), -32041);
	close(fd);
	stop(h);
}

void
test_100000_brackets_are_refused(void)
{
	struct herod *h = start();
	const char *brackets = repeat('[', 100000);

	check_int(int_at(exchange(h, brackets), "error.code"), -32700);
	check_has(http_post(h, brackets), "-32700");
	stop(h);
}

void
test_bytes_of_all_kinds_are_refused(void)
{
	struct herod *h = start();
	unsigned char bytes[256];
	int i, fd;

	for (i = 0; i < 256; i++)
		bytes[i] = (unsigned char)i;
	fd = door_unix(h);
	send_text(fd, "{");
	send_bytes(fd, bytes, sizeof(bytes));
	send_text(fd, "\n");
	check_int(int_at(recv_json(fd), "error.code"), -32700);
	close(fd);
	fd = door_tcp(h);
	send_bytes(fd, bytes, sizeof(bytes));
	shutdown(fd, SHUT_WR);
	recv_all(fd);
	close(fd);
	stop(h);
}

/* TLS is a later issue's, but its first byte must harm nobody. */
void
test_a_tls_hello_is_turned_away(void)
{
	struct herod *h = start();
	int fd = door_tcp(h);

	send_bytes(fd, "\x16\x03\x01\x00\x05hello", 10);
	shutdown(fd, SHUT_WR);
	recv_all(fd);
	close(fd);
	stop(h);
}

/* The seed is printed when it fails. */
void
test_random_lines_break_nothing(void)
{
	static const char alphabet[] = "{}[]\",:0123456789.eE+-truefalsn\\u "
				       "jsonrpc2method\"id\"params";
	struct herod *h = start();
	unsigned seed = (unsigned)getpid();
	char line[200];
	size_t i, len;
	int n, fd = door_unix(h);

	printf("seed %u\n", seed);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (n = 0; n < 3000; n++) {
		len = (size_t)(rand_r(&seed) % 100);
		line[0] = '{';
		for (i = 1; i < len; i++)
			line[i] = alphabet[(size_t)rand_r(&seed) %
			    (sizeof(alphabet) - 1)];
		line[i] = '\n';
		send(fd, line, i + 1, MSG_NOSIGNAL);
		while (recv(fd, line, sizeof(line), 0) > 0)
			;
	}
	close(fd);
	rpc(h, "ping", NULL);
	stop(h);
}

void
test_2000_connections_leave_it_responsive(void)
{
	struct herod *h;
	struct rlimit limit = {8192, 8192};
	int *fds = calloc(2000, sizeof(*fds)), i;

	if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
		free(fds);
		skip("cannot have 2000 descriptors here");
	}
	h = herod_start(AT_ONCE "[herod]\nmax_connections = 3000\n"
				"[runner:web]\ncommand = sleep 1000\n");
	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	for (i = 0; i < 2000; i++)
		fds[i] = i % 2 ? door_unix(h) : door_tcp(h);
	for (i = 0; i < 2000; i += 100) {
		send_text(fds[i], PING "\n");
		check_str(text_at(recv_json(fds[i]), "result"), "pong");
	}
	rpc(h, "ping", NULL);
	for (i = 0; i < 2000; i++)
		close(fds[i]);
	free(fds);
	stop(h);
}

/* Out of descriptors: accept pauses, runners go on, and it heals. */
void
test_a_lack_of_descriptors_is_survived(void)
{
	struct herod *h = herod_start_with("ulimit -n 64;", "",
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	int fds[100], i;

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	for (i = 0; i < 100; i++)
		fds[i] = door_unix(h);
	for (i = 0; i < 100; i++)
		close(fds[i]);
	/* Not before it has seen that they are gone. */
	wait_for(heroctl(h, "ping").status == 0);
	stop(h);
}

/* ---- what it needs and does not find ---- */

static struct ran
start_badly(const char *options)
{
	return run("timeout 60 $BUILD/herod --listen unix:%s "
		   "--runtime_dir %s --state_dir %s %s",
	    here("s.sock"), here("run"), here("state"), options);
}

void
test_a_socket_path_too_long_is_refused(void)
{
	struct ran r =
	    start_badly(text("--listen unix:/%s/x.sock", repeat('l', 120)));

	check_int(r.status, 2);
	check_has(r.err, "107");
}

void
test_a_state_directory_that_cannot_be_made_is_refused(void)
{
	struct ran r = start_badly("--state_dir /proc/no/such");

	check_int(r.status, 1);
	check_has(r.err, "/proc/no/such");
	write_file(here("file"), "");
	r = start_badly(text("--state_dir %s", here("file")));
	check_int(r.status, 1);
	check_has(r.err, here("file"));
}

void
test_a_runner_that_cannot_be_kept_is_not_added(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *params = "{s:{s:s, s:[ss]}, s:b}";
	json_t *error;

	run("mkdir state/runners.json.new");
	error = rpc_error(h, "add_runner", params, "runner", "name", "it",
	    "command", "sleep", "1000", "persist", 1);
	check_has(text_at(error, "message"), "runners.json: ");
	check_has(text_at(error, "data.hint"), "persist");
	wait_for(int_at(rpc_error(h, "get_runner_status", "[s]", "it"),
		     "code") == -32010);
	rpc(h, "add_runner", params, "runner", "name", "brief", "command",
	    "sleep", "1000", "persist", 0);
	check(is_state(h, "brief", "RUNNING"));
	run("rmdir state/runners.json.new");
	rpc(h, "add_runner", params, "runner", "name", "it", "command", "sleep",
	    "1000", "persist", 1);
	check(is_state(h, "it", "RUNNING"));
	check_has(file_text(here("state/runners.json")), "\"it\"");
	herod_stop(h);
}

void
test_an_unwritable_state_directory_is_refused(void)
{
	struct ran r = start_badly("--state_dir /proc/self");

	check_int(r.status, 1);
	check_has(r.err, "/proc/self");
}

void
test_a_broken_state_file_is_left_as_it_was(void)
{
	struct herod *h = start();
	struct ran r;

	stop(h);
	write_file(here("state/runners.json"), "{\"broken");
	r = start_badly("");
	check_int(r.status, 1);
	check_has(r.err, "runners.json");
	check_str(file_text(here("state/runners.json")), "{\"broken");
}

void
test_a_missing_redis_server_leaves_supervision(void)
{
	struct herod *h = herod_start_with("", "--redis_server /no/such/redis",
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
		    "[runner:it]\nkind = exec\ncommand = cat\n");
	json_t *error;

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	error = rpc_error(h, "queue_job_to_runner", "[s]", "it");
	check_int(int_at(error, "code"), -32030);
	wait_for(strstr(herod_log(), "/no/such/redis") != NULL);
	check_has(heroctl(h, "queue it x").err,
	    "herod's own: heroctl why herod-redis");
	check_has(heroctl(h, "why it").out, "heroctl why herod-redis");
	stop(h);
}

void
test_an_odd_redis_url_is_refused(void)
{
	struct ran r = start_badly("--redis_url http://x");

	check_int(r.status, 1);
	check_has(r.err, "redis_url");
}

/* Something else answers where Redis should be. */
void
test_what_is_no_redis_harms_nobody(void)
{
	struct herod *h = herod_start_with("",
	    text("--redis_url unix://%s", here("run/herod.sock")),
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n");

	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	wait_for(json_is_false(at(rpc(h, "get_all_status", NULL), "redis.up")));
	stop(h);
}

/* A socket that listens and is never answered. */
static void
listen_mute(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	check_int(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	check_int(listen(fd, 100), 0);
}

void
test_a_silent_redis_is_given_up(void)
{
	struct herod *h;

	listen_mute(here("mute.sock"));
	h = herod_start_with("",
	    text(
		"--redis_timeout 0.5 --redis_url unix://%s", here("mute.sock")),
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	rpc(h, "start_runner", "[s]", "web");
	web = pid_of(h, "web");
	wait_for(
	    strlen(text_at(rpc(h, "get_all_status", NULL), "redis.why")) > 0);
	stop(h);
}
