/*
 * Under attack: crowds, slowness and bulk of one peer keep no other one from
 * being served, and take no more memory than is bounded.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(120);

#define PING "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"
#define PONG "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"pong\"}"

static long
kilobytes(struct herod *h)
{
	return atol(proc_field(herod_pid(h), "status", "VmRSS"));
}

/* Sanitizers keep what was freed. */
static void
check_memory(struct herod *h, long most)
{
	const char *count = run("nm $BUILD/herod | grep -c __asan").out;

	printf("%ld kB\n", kilobytes(h));
	if (strcmp(count, "0\n") == 0)
		check(kilobytes(h) < most);
}

static void
check_served(struct herod *h)
{
	int fd = door_tcp(h), i;

	for (i = 0; i < 20; i++) {
		send_text(fd, PING "\n");
		check_str(recv_line(fd), PONG);
	}
	close(fd);
	check_str(heroctl(h, "list").out, "herod-redis\n");
}

/* ---- crowds ---- */

/* Opens so many as that user and holds them; returns when they are. */
static pid_t
crowd(struct herod *h, int uid, int number)
{
	pid_t pid;

	script("crowd.py",
	    "import os, resource, signal, socket, sys\n"
	    "path, uid, number = sys.argv[1], int(sys.argv[2]), "
	    "int(sys.argv[3])\n"
	    "resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])\n"
	    "os.setgroups([]); os.setgid(uid); os.setuid(uid)\n"
	    "held = []\n"
	    "for i in range(number):\n"
	    "    s = socket.socket(socket.AF_UNIX)\n"
	    "    try:\n"
	    "        s.connect(path)\n"
	    "        s.send(b'{')\n"
	    "    except OSError: pass\n"
	    "    held.append(s)\n"
	    "print('held', flush=True)\n"
	    "signal.pause()\n");
	pid = run_begin("exec python3 crowd.py %s %d %d >crowd.out", h->socket,
	    uid, number);
	wait_for(count_lines("crowd.out") == 1);
	return pid;
}

static void
disperse(pid_t pid)
{
	kill(pid, SIGTERM);
	run_end(pid);
}

static void
needs_root(void)
{
	if (geteuid() != 0)
		skip("needs root");
	run("chmod 755 . run; touch crowd.out; chmod 666 crowd.out");
}

/* As somebody else who is no admin. */
static const char *
ping_as(struct herod *h, int uid)
{
	return run("echo '" PING "' | setpriv --reuid %d --clear-groups "
		   "socat -t 20 - UNIX:%s",
	    uid, h->socket)
	    .out;
}

void
test_a_crowd_of_one_user_keeps_nobody_out(void)
{
	struct herod *h = herod_start_with(
	    "ulimit -n $(ulimit -Hn);", "", "[herod]\nrequest_timeout = 600\n");
	pid_t pid;

	needs_root();
	pid = crowd(h, 65534, 10000);
	check_served(h);
	check_str(ping_as(h, 65533), PONG "\n");
	check(strstr(ping_as(h, 65534), "pong") == NULL);
	check_has(herod_log(), "uid 65534 pid");
	check_has(herod_log(), "turned down: too many connections");
	check_memory(h, 40000);
	disperse(pid);
	wait_for(strstr(ping_as(h, 65534), "pong"));
	herod_stop(h);
}

void
test_ten_thousand_connections_are_held_and_others_served(void)
{
	struct herod *h = herod_start_with("ulimit -n $(ulimit -Hn);", "",
	    "[herod]\nmax_connections = 20000\nrequest_timeout = 600\n");
	int before;
	pid_t pid;

	needs_root();
	wait_for_redis(h);
	before = count_fds(herod_pid(h));
	pid = crowd(h, 65534, 10000);
	wait_for(count_fds(herod_pid(h)) > 10000);
	check_served(h);
	check_str(ping_as(h, 65533), PONG "\n");
	check_memory(h, 80000);
	disperse(pid);
	wait_for(count_fds(herod_pid(h)) <= before);
	herod_stop(h);
}

/* ---- slowness ---- */

/* slowhttptest(1) with 200 connections for a few seconds, and herod served
 * others while it ran. */
static void
slow(const char *how)
{
	struct herod *h = herod_start("[herod]\nrequest_timeout = 2\n");
	pid_t pid;
	int before;

	if (run("command -v slowhttptest").status != 0)
		skip("slowhttptest is missing");
	http_post(h, PING);
	wait_for_redis(h);
	before = count_fds(herod_pid(h));
	pid = run_begin("exec slowhttptest -c 200 -r 200 -i 1 -l 5 -p 5 %s "
			"-u http://127.0.0.1:%d/ >slow.out 2>&1",
	    how, h->port);
	wait_for(count_fds(herod_pid(h)) > before + 50);
	check_served(h);
	check_int(run_end(pid), 0);
	check_int(run("grep -qa 'service available.*YES' slow.out").status, 0);
	wait_for(count_fds(herod_pid(h)) <= before);
	check_memory(h, 30000);
	herod_stop(h);
}

void
test_slow_headers_hold_up_nobody(void)
{
	slow("-H -x 24");
}

void
test_slow_bodies_hold_up_nobody(void)
{
	slow("-B -s 8192 -x 10 -f application/json");
}

void
test_slow_readers_hold_up_nobody(void)
{
	slow("-X -w 1 -y 10 -n 1 -z 5 -k 3");
}

/* ---- bulk ---- */

static char *
batch_of(int number)
{
	size_t len = strlen(PING) + 1;
	char *text = malloc((size_t)number * len + 3), *at = text;
	int i;

	check(text != NULL);
	*at++ = '[';
	for (i = 0; i < number; i++) {
		memcpy(at, PING ",", len);
		at += len;
	}
	memcpy(at - 1, "]\n", 3);
	return text;
}

void
test_a_batch_too_large_is_refused_in_one_sentence(void)
{
	struct herod *h = herod_start("[herod]\nmax_request = 16MB\n");
	int fd = door_unix(h);
	char *batch = batch_of(100000);

	send_text(fd, batch);
	check_has(text_at(recv_json(fd), "error.message"), "max_batch");
	send_text(fd, PING "\n");
	check_str(recv_line(fd), PONG);
	check_memory(h, 80000);
	free(batch);
	close(fd);
	herod_stop(h);
}

void
test_a_batch_of_a_hundred_thousand_is_answered_whole(void)
{
	struct herod *h =
	    herod_start("[herod]\nmax_request = 16MB\nmax_batch = 100000\n");
	int fd = door_unix(h);
	char *batch = batch_of(100000);
	json_t *answer;

	send_text(fd, batch);
	check_served(h);
	answer = recv_json(fd);
	check_int((long long)json_array_size(answer), 100000);
	check_str(text_at(json_array_get(answer, 99999), "result"), "pong");
	check_memory(h, 120000);
	free(batch);
	close(fd);
	herod_stop(h);
}
