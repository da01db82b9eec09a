/* Line connections on real sockets: first bytes, limits, deadlines. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit.h"
#include "check.h"
#include "fake/room.h"
#include "mem.h"

#define CALL(method, params, id) \
	"{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params \
	",\"id\":" id "}"
#define WAIT(id) CALL("job.wait", "[\"a\"]", id)
#define LOGS(lines) CALL("get_runner_logs", "[\"a\"," lines "]", "1")

static const char *const doors[] = {
    "unix:door", "tcp:127.0.0.1:0", "tcp:[::1]:0"};

static bool
has_ipv6(void)
{
	struct address a;
	int fd;

	check_int(address_parse(&a, "tcp:[::1]:0", NULL), 0);
	fd = address_listen(&a, 1, 0, NULL);
	close(fd);
	return fd != -1;
}

/* ---- talking ---- */

void
test_lines_are_answered_at_every_door(void)
{
	struct room r;
	size_t i;
	int fd;

	room_init(&r);
	for (i = 0; i < 2 + (size_t)has_ipv6(); i++) {
		room_open(&r, doors[i]);
		fd = visit(&r);
		check_str(ask(&r, fd, PING), PONG);
		check_str(ask(&r, fd, PING), PONG);
		check_str(ask(&r, fd, CALL("stop_all", "[]", "2")),
		    "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"wait\":true,"
		    "\"timeout\":0.0,\"drain\":true}}");
		close(fd);
	}
	room_close(&r);
}

static size_t
count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Asks at once for more than is taken in one go. */
void
test_no_answer_leaves_before_its_line_is_in_the_audit_log(void)
{
	static char lines[300 * sizeof(CALL("stop_all", "[]", "2") "\n")];
	static char answers[65536];
	size_t done = 0;
	struct room r;
	char *log;
	ssize_t n;
	int fd, i;

	room_init(&r);
	free(r.conf.state_dir);
	r.conf.state_dir = xstrdup(".");
	check_int(mkdir("log", 0700), 0);
	write_file("log/audit.log", "");
	r.services.audit = audit_open(r.loop, &r.conf);
	room_open(&r, doors[0]);
	fd = visit(&r);
	for (i = 0; i < 300; i++)
		strcat(lines, CALL("stop_all", "[]", "2") "\n");
	say(&r, fd, lines);
	while (done < 300) {
		n = recv(fd, answers, sizeof(answers) - 1, 0);
		answers[n > 0 ? n : 0] = '\0';
		done += count_lines(answers);
		log = read_file("log/audit.log");
		check(count_lines(log) >= done);
		free(log);
		room_turn(&r);
	}
	close(fd);
	audit_close(r.services.audit);
	r.services.audit = NULL;
	room_close(&r);
}

static const struct {
	const char *text;
	size_t len;
	const char *want; /* NULL: closed without a word */
	bool lives;
} first[] = {
    {PING "\n", 0, PONG, true},
    {"[" PING "]\n", 0, "[" PONG "]", true},
    {"  " PING "\n", 0, PONG, true},
    {"\t" PING "\n", 0, PONG, true},
    {"\n" PING "\n", 0, PONG, true},
    {"\r\n" PING "\r\n", 0, PONG, true},
    {"\"x\"\n", 0, "-32600", true},
    {"1\n", 0, "-32600", true},
    {"-1\n", 0, "-32600", true},
    {"\x80\x01", 2, "-32700", false},
    {"\0", 1, "-32700", false},
    {"\xef\xbb\xbf{}\n", 6, "-32700", false},
    {"\x16\x03\x01\x02", 4, NULL, false},
    {"true\r\n\r\n", 0, NULL, false},
};

void
test_the_first_byte_decides(void)
{
	struct room r;
	const char *got;
	size_t i, door;
	int fd;

	room_init(&r);
	for (i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		for (door = 0; door < 2; door++) {
			printf("%zu at %s\n", i, doors[door]);
			room_open(&r, doors[door]);
			fd = visit(&r);
			say_bytes(&r, fd, first[i].text,
			    first[i].len ? first[i].len
					 : strlen(first[i].text));
			if (first[i].want) {
				got = hear(&r, fd);
				check_has(got, first[i].want);
			}
			if (first[i].lives)
				check_str(ask(&r, fd, PING), PONG);
			else
				wait_for(is_closed(&r, fd));
			close(fd);
			doors_shut(r.doors);
		}
	}
	room_close(&r);
}

void
test_a_line_may_come_byte_by_byte(void)
{
	struct room r;
	size_t i;
	int fd;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	for (i = 0; i < strlen(PING); i++) {
		say_bytes(&r, fd, &PING[i], 1);
		room_turn(&r);
	}
	check_str(ask(&r, fd, ""), PONG);
	close(fd);
	room_close(&r);
}

void
test_broken_lines_cost_one_refusal_and_blank_ones_nothing(void)
{
	struct room r;
	size_t door;
	int fd;

	room_init(&r);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		fd = visit(&r);
		check_has(ask(&r, fd, "{\"jsonrpc\":"), "-32700");
		check_has(ask(&r, fd, "[1,"), "-32700");
		check_has(ask(&r, fd, "\n\n \r\n1"), "-32600");
		check_has(ask(&r, fd, "  {"), "-32700");
		check_str(ask(&r, fd, PING), PONG);
		close(fd);
	}
	room_close(&r);
}

void
test_on_tcp_a_line_of_something_else_ends_the_connection(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	check_has(ask(&r, fd, "Host: 127.0.0.1\n" PING), "-32700");
	wait_for(is_closed(&r, fd));
	check_int((long long)fake_calls, 1);
	close(fd);
	room_open(&r, "unix:door");
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	check_has(ask(&r, fd, "Host: 127.0.0.1"), "-32700");
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	room_close(&r);
}

void
test_answers_come_as_they_are_ready(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	check_str(ask(&r, fd, WAIT("7") "\n" PING), PONG);
	fake_later_reply(0, "done");
	check_str(
	    hear(&r, fd), "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"done\"}");
	close(fd);
	room_close(&r);
}

void
test_a_thousand_lines_at_once_are_answered_in_order(void)
{
	struct room r;
	char line[100], *all = xmalloc(100000), *end = all;
	int fd, i;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	for (i = 0; i < 1000; i++)
		end += sprintf(end,
		    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":%d}\n", i);
	say(&r, fd, all);
	for (i = 0; i < 1000; i++) {
		sprintf(line,
		    "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":\"pong\"}", i);
		check_str(hear(&r, fd), line);
	}
	free(all);
	close(fd);
	room_close(&r);
}

void
test_a_flood_does_not_starve_another(void)
{
	struct room r;
	char *all = xmalloc(50000 * sizeof(PING "\n")), *end = all;
	int flood, fd, i, turns;
	ssize_t sent;

	room_init(&r);
	room_open(&r, "unix:door");
	flood = visit(&r);
	fd = visit(&r);
	for (i = 0; i < 50000; i++)
		end = stpcpy(end, PING "\n");
	sent = send(flood, all, (size_t)(end - all), MSG_NOSIGNAL);
	check(sent > 50000);
	say(&r, fd, PING "\n");
	for (turns = 0; turns < 8; turns++)
		room_turn(&r);
	check(recv(fd, all, 100, 0) > 0);
	free(all);
	close(flood);
	close(fd);
	room_close(&r);
}

/* ---- ends ---- */

void
test_who_has_said_all_still_gets_the_answers(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say(&r, fd, PING "\n" WAIT("2") "\n" PING); /* no final newline */
	shutdown(fd, SHUT_WR);
	check_str(hear(&r, fd), PONG);
	check_str(hear(&r, fd), PONG);
	check(!is_closed(&r, fd));
	fake_later_reply(0, "late");
	check_has(hear(&r, fd), "late");
	check_str(hear(&r, fd), "");
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	close(fd);
	room_close(&r);
}

#define RESULT CALL("job.result", "[\"a\"]", "1")

static int
visit_and_wait(struct room *r)
{
	int fd = visit(r);

	say(r, fd, RESULT "\n");
	wait_for((room_turn(r), fake_kept() == 1));
	return fd;
}

void
test_who_has_gone_is_noticed_while_a_call_is_open(void)
{
	struct room r;
	size_t door;

	room_init(&r);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		close(visit_and_wait(&r));
		wait_for((room_turn(&r), fake_gone == door + 1));
		wait_for((room_turn(&r), doors_count(r.doors) == 0));
	}
	room_close(&r);
}

void
test_who_goes_after_saying_all_is_noticed_on_unix_sockets(void)
{
	struct room r;
	int fd, i;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit_and_wait(&r);
	shutdown(fd, SHUT_WR);
	for (i = 0; i < 10; i++)
		room_turn(&r);
	check_int((long long)fake_gone, 0);
	close(fd);
	wait_for((room_turn(&r), fake_gone == 1));
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	room_close(&r);
}

void
test_what_was_said_before_leaving_is_done(void)
{
	struct room r;
	int fd, i;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	for (i = 0; i < 500; i++) /* notifications: nothing is written back */
		say(&r, fd, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}\n");
	close(fd);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	check_int((long long)fake_calls, 500);
	room_close(&r);
}

void
test_closing_the_doors_ends_what_is_open(void)
{
	struct room r;
	int fds[4];

	room_init(&r);
	room_open(&r, "unix:door");
	fds[0] = visit(&r); /* says nothing */
	fds[1] = visit(&r);
	say(&r, fds[1], CALL("job.result", "[\"a\"]", "1") "\n");
	fds[2] = visit(&r);
	say(&r, fds[2],
	    CALL("follow_logs", "[\"a\"]", "1") "\n" WAIT("2") "\n");
	fds[3] = visit(&r);
	say(&r, fds[3],
	    "POST / HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\nContent-Length: 59\r\n\r\n" WAIT(
		"3"));
	wait_for((room_turn(&r), fake_kept() == 3));
	check_int((long long)doors_count(r.doors), 4);
	room_close(&r);
	check_int((long long)fake_gone, 1);
	check_int((long long)fake_streams, 0);
	check_int((long long)fake_kept(), 2);
	fake_later_reply(0, "to nobody");
	fake_later_reply(0, "to nobody");
	check(access("door", F_OK) == -1);
}

void
test_an_answer_just_given_leaves_before_the_doors_close(void)
{
	struct room r;
	char buf[200] = "";
	int fd;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	say(&r, fd, WAIT("1") "\n");
	wait_for((room_turn(&r), fake_kept() == 1));
	fake_later_reply(0, "bye");
	room_close(&r);
	check(recv(fd, buf, sizeof(buf) - 1, 0) > 0);
	check_has(buf, "bye");
	close(fd);
}

/* ---- limits ---- */

void
test_a_line_of_max_request_bytes_is_the_longest(void)
{
	struct room r;
	char line[2001];
	int fd;

	room_init(&r);
	r.conf.max_request = 2000;
	room_open(&r, "unix:door");
	fd = visit(&r);
	memset(line, ' ', sizeof(line));
	memcpy(line, PING, strlen(PING));
	line[2000] = '\0';
	check_str(ask(&r, fd, line), PONG);
	line[2000] = ' ';
	say_bytes(&r, fd, line, 2001);
	check_has(ask(&r, fd, ""), "-32041");
	wait_for(is_closed(&r, fd));
	close(fd);
	room_close(&r);
}

void
test_ten_megabytes_of_a_line_get_one_refusal(void)
{
	struct room r;
	char *big = xmalloc(10000000);
	size_t door;
	int fd;

	room_init(&r);
	memset(big, '[', 10000000);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		fd = visit(&r);
		say_bytes(&r, fd, big, 10000000);
		check_has(hear(&r, fd), "-32041");
		shutdown(fd, SHUT_WR);
		check_str(hear(&r, fd), "");
		close(fd);
	}
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	free(big);
	room_close(&r);
}

void
test_a_hundred_thousand_brackets_are_one_refusal(void)
{
	struct room r;
	char *text = xmalloc(100001);
	int fd;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	memset(text, '[', 100000);
	text[100000] = '\0';
	check_has(ask(&r, fd, text), "-32700");
	check_str(ask(&r, fd, PING), PONG);
	free(text);
	close(fd);
	room_close(&r);
}

void
test_nul_and_invalid_utf8_are_refused_and_the_line_lives(void)
{
	struct room r;
	int fd;

	room_init(&r);
	room_open(&r, "tcp:127.0.0.1:0");
	fd = visit(&r);
	say_bytes(&r, fd, "{\"a\":1\0}\n", 9);
	check_has(hear(&r, fd), "-32700");
	say_bytes(&r, fd, "[1\0]\n", 5);
	check_has(hear(&r, fd), "-32700");
	check_has(
	    ask(&r, fd, "{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"), "-32700");
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	room_close(&r);
}

void
test_who_does_not_read_is_not_read_from_and_delays_nobody(void)
{
	struct room r;
	struct rusage before, after;
	char *line = xmalloc(64 * 1024), *end = line;
	size_t said = 0;
	ssize_t n;
	int deaf, fd, i;

	room_init(&r);
	room_open(&r, "unix:door");
	deaf = visit(&r);
	fd = visit(&r);
	for (i = 0; i < 500; i++)
		end = stpcpy(end, LOGS("100") "\n");
	getrusage(RUSAGE_SELF, &before);
	/* Until nothing more goes in: 100 kB wait for each 80 bytes. */
	for (i = 0; i < 2000; i++) {
		n = send(deaf, line, (size_t)(end - line), MSG_NOSIGNAL);
		if (n > 0)
			said += (size_t)n;
		room_turn(&r);
	}
	check(said < 1000000);
	check_str(ask(&r, fd, PING), PONG);
	getrusage(RUSAGE_SELF, &after);
	check(after.ru_maxrss - before.ru_maxrss < 60000); /* kB */
	check_int((long long)doors_count(r.doors), 2);
	/* It may still change its mind. */
	check_has(hear(&r, deaf), "xxx");
	close(deaf);
	close(fd);
	free(line);
	room_close(&r);
}

void
test_who_lets_answers_pile_up_is_cut_off(void)
{
	struct room r;
	char *text = xmalloc(65536);
	int fd, i;

	room_init(&r);
	r.conf.max_output = 100000;
	room_open(&r, "unix:door");
	fd = visit(&r);
	for (i = 0; i < 100; i++)
		say(&r, fd, WAIT("1") "\n");
	wait_for((room_turn(&r), fake_kept() == 100));
	memset(text, 'x', 65535);
	text[65535] = '\0';
	for (i = 0; i < 100; i++)
		fake_later_reply(0, text);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	free(text);
	close(fd);
	room_close(&r);
}

/* Of those who do not read, the one who has asked for most. */
void
test_who_has_most_waiting_makes_room_for_all(void)
{
	struct room r;
	int fds[15], i;

	room_init(&r);
	r.conf.max_output_all = 30000000;
	room_open(&r, "unix:door");
	for (i = 0; i < 15; i++) {
		fds[i] = visit(&r);
		say(&r, fds[i], i == 7 ? LOGS("8000") "\n" : LOGS("2000") "\n");
		wait_for((room_turn(&r), fake_calls == (size_t)i + 1));
	}
	wait_for((room_turn(&r), doors_count(r.doors) == 14));
	hear(&r, fds[7]); /* what had left before */
	check(is_closed(&r, fds[7]));
	for (i = 0; i < 15; i += 14) {
		check_has(hear(&r, fds[i]), "\"]}");
		check_str(ask(&r, fds[i], PING), PONG);
	}
	for (i = 0; i < 15; i++)
		close(fds[i]);
	room_close(&r);
}

void
test_many_large_answers_do_not_make_one_long_turn(void)
{
	struct room r;
	char *lines = xmalloc(100 * sizeof(LOGS("50") "\n")), *end = lines;
	int fds[40], i;

	room_init(&r);
	room_open(&r, "unix:door");
	for (i = 0; i < 100; i++)
		end = stpcpy(end, LOGS("50") "\n");
	for (i = 0; i < 40; i++) {
		fds[i] = visit(&r);
		check_str(ask(&r, fds[i], PING), PONG);
	}
	for (i = 0; i < 40; i++)
		check(send(fds[i], lines, (size_t)(end - lines),
			  MSG_NOSIGNAL) == end - lines);
	fake_calls = 0;
	/* 20 answers make a megabyte, then each peer gets one a turn. */
	room_turn(&r);
	check(fake_calls >= 40);
	check(fake_calls <= 20 + 2 * 40);
	for (i = 0; i < 40; i++)
		close(fds[i]);
	free(lines);
	room_close(&r);
}

void
test_a_slow_follower_misses_lines_and_hears_of_it(void)
{
	struct room r;
	char text[1001];
	int fd, sent = 0;

	room_init(&r);
	r.conf.max_output = 1000000;
	room_open(&r, "unix:door");
	fd = visit(&r);
	check_has(ask(&r, fd, CALL("follow_logs", "[\"a\"]", "1")), "true");
	memset(text, 'x', 1000);
	text[1000] = '\0';
	while (fake_notify(text) && sent++ < 100000)
		room_turn(&r);
	check(sent > 400 && sent < 10000);
	check_int((long long)fake_ready, 0);
	check_int((long long)doors_count(r.doors), 1);
	while (sent-- > 0)
		check_has(hear(&r, fd), "\"method\":\"log\"");
	wait_for((room_turn(&r), fake_ready == 1));
	check(fake_notify("again"));
	check_has(hear(&r, fd), "again");
	close(fd);
	wait_for((room_turn(&r), fake_streams == 0));
	room_close(&r);
}

void
test_too_many_open_calls_make_a_peer_wait(void)
{
	struct room r;
	char *lines = xmalloc(100 * 100), *end;
	int fd, i;

	room_init(&r);
	room_open(&r, "unix:door");
	fd = visit(&r);
	for (end = lines, i = 0; i < 100; i++)
		end = stpcpy(end, WAIT("1") "\n");
	for (i = 0; i < 100; i++)
		say(&r, fd, lines);
	wait_for((room_turn(&r), fake_kept() == 10000));
	say(&r, fd, PING "\n");
	for (i = 0; i < 20; i++)
		room_turn(&r);
	check_int((long long)fake_calls, 10000);
	fake_later_reply(0, "one");
	check_has(hear(&r, fd), "one");
	check_str(hear(&r, fd), PONG);
	free(lines);
	close(fd);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	while (fake_kept() > 0)
		fake_later_reply(fake_kept() - 1, "to nobody");
	room_close(&r);
}

static void
need_files(size_t want)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * want + 100)
		skip("too few descriptors");
}

void
test_two_thousand_connections_are_served(void)
{
	struct room r;
	int *fds = xcalloc(2000, sizeof(*fds)), i;

	room_init(&r);
	need_files(2000);
	r.conf.max_connections = 3000;
	room_open(&r, "unix:door");
	for (i = 0; i < 2000; i++) {
		fds[i] = visit(&r);
		room_turn(&r);
	}
	wait_for((room_turn(&r), doors_count(r.doors) == 2000));
	for (i = 0; i < 2000; i++)
		say(&r, fds[i], PING "\n");
	for (i = 0; i < 2000; i++)
		check_str(hear(&r, fds[i]), PONG);
	for (i = 0; i < 2000; i++)
		close(fds[i]);
	wait_for((room_turn(&r), doors_count(r.doors) == 0));
	free(fds);
	room_close(&r);
}

void
test_beyond_max_connections_they_wait_their_turn(void)
{
	struct room r;
	int fds[30], i;

	room_init(&r);
	r.conf.max_connections = 10;
	room_open(&r, "unix:door");
	for (i = 0; i < 30; i++) {
		fds[i] = visit(&r);
		say(&r, fds[i], PING "\n");
	}
	for (i = 0; i < 50; i++)
		room_turn(&r);
	check_int((long long)doors_count(r.doors), 10);
	check_int((long long)fake_calls, 10);
	for (i = 0; i < 30; i++) {
		check_str(hear(&r, fds[i]), PONG);
		close(fds[i]);
	}
	check_int((long long)fake_calls, 30);
	room_close(&r);
}

static void
ask_as(uid_t uid, const struct address *a, const char *line, const char *want)
{
	char buf[1000] = "";
	int fd;

	if (setuid(uid) == -1)
		_exit(1);
	fd = address_connect(a, 5, NULL);
	if (fd == -1 || write(fd, line, strlen(line)) == -1 ||
	    read(fd, buf, sizeof(buf) - 1) <= 0)
		_exit(2);
	fputs(buf, stdout);
	fflush(stdout);
	_exit(strstr(buf, want) ? 0 : 3);
}

static void
check_as(struct room *r, uid_t uid, const char *line, const char *want)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		ask_as(uid, &r->address, line, want);
	wait_for((room_turn(r), waitpid(pid, &status, WNOHANG) == pid));
	check_int(status, 0);
}

/* In a process of its own, as another user: takes what a guest may have. */
static void
crowd(const struct address *a, uid_t uid, int ready)
{
	char buf[1000] = "";
	int fd = -1, i;

	if (setuid(uid) == -1)
		_exit(1);
	for (i = 0; i < 7; i++)
		fd = address_connect(a, 5, NULL);
	if (fd == -1 || read(fd, buf, sizeof(buf) - 1) <= 0)
		_exit(2);
	fputs(buf, stdout);
	fflush(stdout);
	if (strstr(buf, "-32042") == NULL || write(ready, "", 1) != 1)
		_exit(3);
	pause();
}

/* Returns when it has as many as it gets. */
static pid_t
crowd_begin(struct room *r, uid_t uid)
{
	int ready[2];
	pid_t pid;
	char c;

	check_int(pipe2(ready, O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0)
		crowd(&r->address, uid, ready[1]);
	wait_for((room_turn(r), read(ready[0], &c, 1) == 1));
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void
crowd_end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	check_int(waitpid(pid, &status, 0), pid);
}

static void
open_to_guests(struct room *r)
{
	if (geteuid() != 0)
		skip("needs root");
	check_int(chmod(".", 0755), 0);
	room_init(r);
	r->conf.max_connections = 8;
	r->conf.default_scope = SCOPE_OBSERVE;
	room_open(r, "unix:door");
}

void
test_guests_cannot_lock_admins_out(void)
{
	struct room r;
	pid_t one, two;
	int fd;

	open_to_guests(&r);
	one = crowd_begin(&r, 12345);
	two = crowd_begin(&r, 12346);
	check_int((long long)doors_count(r.doors), 6);
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	crowd_end(one);
	crowd_end(two);
	wait_for((room_turn(&r), doors_count(r.doors) == 1));
	check_as(&r, 12345, PING "\n", "pong");
	close(fd);
	room_close(&r);
}

void
test_a_guest_cannot_lock_other_guests_out(void)
{
	struct room r;
	pid_t one;

	open_to_guests(&r);
	one = crowd_begin(&r, 12345);
	check_int((long long)doors_count(r.doors), 5);
	check_as(&r, 12346, PING "\n", "pong");
	crowd_end(one);
	room_close(&r);
}

void
test_without_descriptors_accepting_pauses_and_goes_on(void)
{
	struct rlimit files, few;
	struct room r;
	int fds[8], i, next;

	room_init(&r);
	room_open(&r, "unix:door");
	for (i = 0; i < 8; i++)
		fds[i] = visit(&r);
	getrlimit(RLIMIT_NOFILE, &files);
	next = dup(0);
	close(next);
	few = files;
	few.rlim_cur = (rlim_t)next + 2;
	setrlimit(RLIMIT_NOFILE, &few);
	wait_for((room_turn(&r), doors_count(r.doors) == 2));
	check_has(hear(&r, fds[2]), "no file descriptor left");
	check_str(ask(&r, fds[0], PING), PONG);
	check_int((long long)doors_count(r.doors), 2);
	setrlimit(RLIMIT_NOFILE, &files);
	wait_for((room_turn(&r), doors_count(r.doors) == 7));
	check_str(ask(&r, fds[7], PING), PONG);
	for (i = 0; i < 8; i++)
		close(fds[i]);
	room_close(&r);
}

/* ---- deadlines ---- */

static bool
is_answered(struct room *r, int fd)
{
	char byte;

	room_turn(r);
	return recv(fd, &byte, 1, MSG_PEEK) == 1;
}

void
test_a_line_that_drips_is_ended_at_the_deadline(void)
{
	struct room r;
	double begun;
	size_t i = 0;
	int fd;

	room_init(&r);
	r.conf.request_timeout = 0.3;
	room_open(&r, "unix:door");
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	begun = check_clock();
	while (i < strlen(PING) && !is_answered(&r, fd))
		if (check_clock() - begun > 0.05 * (double)i)
			send(fd, &PING[i++], 1, MSG_NOSIGNAL);
	wait_for(is_answered(&r, fd));
	check(check_clock() - begun > 0.25);
	check_has(hear(&r, fd), "-32015");
	wait_for(is_closed(&r, fd));
	close(fd);
	room_close(&r);
}

void
test_half_lines_hold_little_memory(void)
{
	struct rusage before, after;
	struct room r;
	int fds[400], i;

	room_init(&r);
	need_files(400);
	room_open(&r, "unix:door");
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < 400; i++) {
		fds[i] = visit(&r);
		say(&r, fds[i], PING "\n{\"jsonrpc\":");
		check_str(hear(&r, fds[i]), PONG);
	}
	getrusage(RUSAGE_SELF, &after);
	check(after.ru_maxrss - before.ru_maxrss < 10000); /* kB */
	for (i = 0; i < 400; i++) {
		check_str(
		    ask(&r, fds[i], "\"2.0\",\"method\":\"ping\",\"id\":1}"),
		    PONG);
		close(fds[i]);
	}
	room_close(&r);
}

/* Always in the middle of a line, for longer than the deadline.  False when
 * the machine stalled for as long as the deadline or nearly so. */
static bool
speaks_in_time(struct room *r)
{
	double begun = check_clock(), turn, longest = 0;
	int fd = visit(r);

	say(r, fd, "{");
	while (longest < 1 && check_clock() - begun < 2.2) {
		turn = check_clock();
		say(r, fd, &(PING "\n{")[1]);
		while (check_clock() - turn < 0.1)
			room_turn(r);
		if (check_clock() - turn > longest)
			longest = check_clock() - turn;
		if (longest < 1)
			check_str(hear(r, fd), PONG);
	}
	if (longest < 1)
		check_str(ask(r, fd, &PING[1]), PONG);
	close(fd);
	return longest < 1;
}

void
test_lines_that_end_in_time_begin_the_deadline_anew(void)
{
	struct room r;

	room_init(&r);
	r.conf.request_timeout = 2;
	room_open(&r, "unix:door");
	while (!speaks_in_time(&r))
		continue;
	room_close(&r);
}

/* Ends the line in time, and herod sleeps until after it.  False when the
 * machine was too slow for that. */
static bool
sleeps_over_the_deadline(struct room *r)
{
	double begun;
	int fd = visit(r);
	bool in_time;

	check_str(ask(r, fd, PING), PONG);
	begun = check_clock();
	send(fd, "{", 1, MSG_NOSIGNAL);
	room_turn(r);
	room_turn(r);
	in_time = check_clock() - begun < 0.1;
	send(fd, &(PING "\n")[1], strlen(PING), MSG_NOSIGNAL);
	ev_sleep(0.4);
	if (in_time)
		check_str(hear(r, fd), PONG);
	close(fd);
	return in_time;
}

void
test_a_herod_that_slept_reads_before_it_calls_a_line_late(void)
{
	struct room r;

	room_init(&r);
	r.conf.request_timeout = 0.2;
	room_open(&r, "unix:door");
	while (!sleeps_over_the_deadline(&r))
		continue;
	room_close(&r);
}

void
test_the_silent_are_left_alone_but_for_strangers_on_tcp(void)
{
	struct room r;
	int quiet, heard, tcp;
	double begun = check_clock();

	room_init(&r);
	r.conf.request_timeout = 0.2;
	room_open(&r, "unix:door");
	quiet = visit(&r);
	heard = visit(&r);
	check_str(ask(&r, heard, PING), PONG);
	room_open(&r, "tcp:127.0.0.1:0");
	tcp = visit(&r);
	wait_for(is_closed(&r, tcp));
	check(check_clock() - begun > 0.15);
	check_str(ask(&r, quiet, PING), PONG);
	check_str(ask(&r, heard, PING), PONG);
	close(quiet);
	close(heard);
	close(tcp);
	room_close(&r);
}

static void
on_alarm(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

void
test_idle_connections_cost_no_wakeups(void)
{
	struct room r;
	unsigned before;
	ev_timer alarm;
	int fds[20], i;

	room_init(&r);
	room_open(&r, "unix:door");
	for (i = 0; i < 20; i++) {
		fds[i] = visit(&r);
		check_str(ask(&r, fds[i], PING), PONG);
	}
	for (i = 0; i < 5; i++)
		room_turn(&r);
	before = ev_iteration(r.loop);
	ev_timer_init(&alarm, on_alarm, 0.5, 0);
	ev_timer_start(r.loop, &alarm);
	while (ev_is_active(&alarm))
		ev_run(r.loop, EVRUN_ONCE);
	check(ev_iteration(r.loop) - before <= 2);
	for (i = 0; i < 20; i++)
		close(fds[i]);
	room_close(&r);
}

/* ---- listening ---- */

void
test_without_a_key_only_loopback_is_listened_on(void)
{
	struct err e = {0};
	struct room r;

	room_init(&r);
	room_open(&r, "unix:door");
	check_int(doors_listen(r.doors, "tcp:0.0.0.0:0", -1, &e), -1);
	check_has(e.text, "only once there is a key");
	err_clear(&e);
	check_int(doors_listen(r.doors, "tcp:[::]:0", -1, &e), -1);
	err_clear(&e);
	check_int(doors_listen(r.doors, "unix:door", -1, &e), -1);
	check_int(e.code, ERR_EXISTS);
	room_close(&r);
}

void
test_a_listening_socket_is_taken_over(void)
{
	struct err e = {0};
	struct room r;
	int fd, held;

	room_init(&r);
	room_open(&r, "unix:door");
	held = doors_listen(r.doors, "unix:other", -1, &e);
	check(held >= 0);
	held = dup(held); /* as the keeper has it */
	doors_free(r.doors); /* a crash removes no paths */
	r.doors = NULL;
	check(access("other", F_OK) == 0);
	room_open(&r, "unix:new");
	check_int(address_parse(&r.address, "unix:other", &e), 0);
	fd = visit(&r); /* waits in the backlog */
	check_int(doors_listen(r.doors, "unix:other", held, &e), held);
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	room_close(&r);
	check(access("other", F_OK) == -1);
}

void
test_a_held_socket_without_its_path_is_made_anew(void)
{
	struct err e = {0};
	struct room r;
	int fd, held;

	room_init(&r);
	room_open(&r, "unix:door");
	held = dup(doors_listen(r.doors, "unix:other", -1, &e));
	unlink("other");
	check(doors_listen(r.doors, "unix:other", held, &e) >= 0);
	check_int(address_parse(&r.address, "unix:other", &e), 0);
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	room_close(&r);
}

void
test_a_socket_whose_path_vanishes_is_made_anew(void)
{
	struct room r;
	int old, fd;

	room_init(&r);
	room_open(&r, "unix:door");
	old = visit(&r);
	check_str(ask(&r, old, PING), PONG);
	unlink("door");
	wait_for((room_turn(&r), access("door", F_OK) == 0));
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	check_int(rename("door", "elsewhere"), 0);
	wait_for((room_turn(&r), access("door", F_OK) == 0));
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	check_str(ask(&r, old, PING), PONG);
	close(fd);
	close(old);
	room_close(&r);
	check(access("door", F_OK) == -1);
}

void
test_a_held_socket_whose_path_leads_elsewhere_is_not_used(void)
{
	struct err e = {0};
	struct address a;
	struct room r;
	int fd, held;

	room_init(&r);
	room_open(&r, "unix:door");
	check_int(address_parse(&a, "unix:other", &e), 0);
	held = address_listen(&a, 10, 0600, &e);
	unlink("other");
	close(address_listen(&a, 10, 0600, &e)); /* a stale one */
	check(doors_listen(r.doors, "unix:other", held, &e) >= 0);
	r.address = a;
	fd = visit(&r);
	check_str(ask(&r, fd, PING), PONG);
	close(fd);
	room_close(&r);
}

void
test_shutting_removes_only_our_own_path(void)
{
	struct room r;

	room_init(&r);
	room_open(&r, "unix:door");
	check_int(rename("door", "old"), 0);
	write_file("door", "not ours");
	doors_shut(r.doors);
	check(access("door", F_OK) == 0);
	room_close(&r);
}

/* ---- who is there ---- */

void
test_a_process_with_the_admin_group_is_admin(void)
{
	const gid_t group = 54321;
	gid_t old[64];
	struct room r;
	int n;

	if (geteuid() != 0)
		skip("needs root");
	check_int(chmod(".", 0755), 0);
	room_init(&r);
	room_open(&r, "unix:door");
	r.conf.default_scope = SCOPE_OBSERVE;
	r.conf.admin_group = xstrdup("54321");
	check_as(&r, 12345, CALL("stop_all", "[]", "1") "\n", "-32002");
	n = getgroups(64, old);
	check_int(setgroups(1, &group), 0);
	check_as(&r, 12345, CALL("stop_all", "[]", "1") "\n", "result");
	check_int(setgroups((size_t)n, old), 0);
	room_close(&r);
}

void
test_users_get_the_scope_that_is_theirs(void)
{
	struct room r;
	size_t door;

	if (geteuid() != 0)
		skip("needs root");
	check_int(chmod(".", 0755), 0);
	room_init(&r);
	for (door = 0; door < 2; door++) {
		room_open(&r, doors[door]);
		r.conf.default_scope = SCOPE_OBSERVE;
		check_as(&r, 0, CALL("stop_all", "[]", "1") "\n", "result");
		check_as(&r, 12345, PING "\n", "pong");
		check_as(
		    &r, 12345, CALL("list_runners", "[]", "1") "\n", "result");
		check_as(&r, 12345, CALL("stop_all", "[]", "1") "\n", "-32002");
		r.conf.default_scope = SCOPE_NONE;
		check_as(
		    &r, 12345, CALL("list_runners", "[]", "1") "\n", "-32001");
	}
	check_as(&r, 12345, CALL("list_runners", "[]", "1") "\n",
	    "default_scope = observe");
	r.conf.admin_group = xstrdup("daemon");
	check_as(&r, 1, CALL("stop_all", "[]", "1") "\n", "result");
	check_as(&r, 12345, CALL("stop_all", "[]", "1") "\n", "-32001");
	room_close(&r);
}
