/*
 * GET /events: the event stream as server-sent events.  What is so, then what
 * happens; who comes back with Last-Event-ID misses nothing; slow readers
 * harm nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "herod.h"

#define EXEC "[runner:up]\nkind = exec\ncommand = tr a-z A-Z\n"

/* ---- a reader ---- */

struct stream {
	int fd;
	const char *head;
	bool chunked;
	size_t left; /* of a chunk */
	bool over; /* the body's end was seen */
};

/* One event; a comment has none of these. */
struct sse {
	const char *id, *event, *data, *comment, *retry;
};

static const char *
read_head(int fd)
{
	const char *head = "", *line;

	while ((line = recv_line(fd)) != NULL && strcmp(line, "\r") != 0)
		head = text("%s%s\n", head, line);
	return head;
}

static void
next_chunk(struct stream *s)
{
	const char *line = recv_line(s->fd);

	if (line != NULL && strcmp(line, "\r") == 0) /* behind the last */
		line = recv_line(s->fd);
	s->left = line != NULL ? strtoul(line, NULL, 16) : 0;
	s->over = s->left == 0;
	if (line != NULL && s->over)
		check_str(recv_line(s->fd), "\r");
}

/* The body's next byte; false at its end. */
static bool
next_byte(struct stream *s, char *c)
{
	if (s->chunked && s->left == 0 && !s->over)
		next_chunk(s);
	if (s->over)
		return false;
	s->left--;
	s->over = recv(s->fd, c, 1, 0) != 1;
	return !s->over;
}

/* NULL at the end. */
static const char *
next_line(struct stream *s)
{
	char *line = NULL, c;
	size_t len;
	FILE *f = open_memstream(&line, &len);
	const char *kept;

	while (next_byte(s, &c) && c != '\n')
		fputc(c, f);
	fclose(f);
	kept = s->over && len == 0 ? NULL : text("%s", line);
	free(line);
	return kept;
}

static void
take_field(struct sse *e, const char *line)
{
	if (strncmp(line, "id: ", 4) == 0)
		e->id = line + 4;
	else if (strncmp(line, "event: ", 7) == 0)
		e->event = line + 7;
	else if (strncmp(line, "data: ", 6) == 0)
		e->data = line + 6;
	else if (strncmp(line, "retry: ", 7) == 0)
		e->retry = line + 7;
	else if (*line == ':')
		e->comment = line + 1;
	else
		check_fail(__FILE__, __LINE__, "no field: %s", line);
}

/* The next block; false at the end. */
static bool
next_block(struct stream *s, struct sse *e)
{
	const char *line;

	*e = (struct sse){0};
	while ((line = next_line(s)) != NULL && *line != '\0')
		take_field(e, line);
	return line != NULL;
}

/* The next event that has data. */
static struct sse
next(struct stream *s)
{
	struct sse e;

	do
		check(next_block(s, &e));
	while (e.data == NULL);
	return e;
}

static json_t *
data_of(struct sse e)
{
	return json_of(e.data);
}

static struct sse
next_state(struct stream *s, const char *state)
{
	struct sse e;

	do
		e = next(s);
	while (strstr(e.data, text("\"state\":\"%s\"", state)) == NULL);
	return e;
}

/* Reads up to the body's end; the id that a browser would come back with. */
static const char *
last_id(struct stream *s, const char *id)
{
	struct sse e;

	while (next_block(s, &e))
		if (e.id != NULL)
			id = e.id;
	check(s->over);
	return id;
}

static struct stream
begin(int fd, const char *query, const char *headers)
{
	struct stream s = {.fd = fd};

	send_text(fd,
	    text("GET /events?%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", query,
		headers));
	s.head = read_head(fd);
	s.chunked = strstr(s.head, "Transfer-Encoding: chunked") != NULL;
	return s;
}

static struct stream
follow(struct herod *h, const char *query, const char *headers)
{
	struct stream s = begin(door_tcp(h), query, headers);

	check_has(s.head, "HTTP/1.1 200 ");
	return s;
}

static struct stream
come_back(struct herod *h, const char *query, const char *id)
{
	return follow(h, query, text("Last-Event-ID: %s\r\n", id));
}

static const char *
get(struct herod *h, const char *query, const char *headers)
{
	return http(h,
	    "GET /events?%s HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n%s\r\n",
	    query, headers);
}

static struct herod *
start(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n" EXEC);

	/* Nothing more happens by itself, then. */
	wait_for(is_state(h, "web", "RUNNING"));
	wait_for_redis(h);
	return h;
}

static long long
number_of(const char *id)
{
	const char *colon = strchr(id, ':');

	check(colon != NULL);
	return atoll(colon + 1);
}

/* ---- promises ---- */

void
test_a_snapshot_then_every_change_with_its_number(void)
{
	struct herod *h = start();
	struct sse first, e;
	struct stream s;
	json_t *snapshot;

	/* Of which events tell, too, that are counted. */
	wait_for_redis(h);
	wait_for(is_state(h, "web", "RUNNING"));
	s = follow(h, "topics=runner.web", "");
	check_has(s.head, "Content-Type: text/event-stream\r");
	check_has(s.head, "Cache-Control: no-store");
	check(next_block(&s, &first));
	check_str(first.event, "snapshot");
	check_int(atoi(first.retry), 2000);
	snapshot = data_of(first);
	check_str(text_at(snapshot, "runners.0.name"), "web");
	check_str(first.id,
	    text(
		"%s:%lld", text_at(snapshot, "life"), int_at(snapshot, "seq")));
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	e = next(&s);
	check_str(e.event, "runner");
	check_str(text_at(data_of(e), "what"), "wanted");
	check_int(number_of(e.id), number_of(first.id) + 1);
	check_int(int_at(data_of(e), "seq"), number_of(e.id));
	e = next_state(&s, "STOPPED");
	check_str(text_at(data_of(e), "exit.signal"), "TERM");
	close(s.fd);
	herod_stop(h);
}

void
test_who_comes_back_with_its_last_id_misses_nothing(void)
{
	struct herod *h = start();
	struct stream s = follow(h, "topics=runner", "");
	struct sse first = next(&s), e;

	close(s.fd);
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	/* The header, which is newer, stands above the query. */
	s = come_back(h, "topics=runner&since=x:1", first.id);
	e = next(&s);
	check_str(e.event, "resumed");
	check_str(e.id, first.id);
	e = next(&s);
	check_int(number_of(e.id), number_of(first.id) + 1);
	check_str(text_at(data_of(e), "what"), "wanted");
	next_state(&s, "STOPPED");
	close(s.fd);
	s = follow(h, text("topics=runner&since=%s", first.id), "");
	check_str(next(&s).event, "resumed");
	check_int(number_of(next(&s).id), number_of(first.id) + 1);
	close(s.fd);
	herod_stop(h);
}

void
test_of_another_life_there_is_a_snapshot(void)
{
	struct herod *h = start();
	struct stream s = follow(h, "topics=runner", "");
	struct sse first = next(&s), again;

	herod_kill9(h);
	check_str(last_id(&s, first.id), first.id);
	close(s.fd);
	s = come_back(h, "topics=runner", first.id);
	again = next(&s);
	check_str(again.event, "snapshot");
	check(strncmp(again.id, first.id, 12) != 0);
	close(s.fd);
	s = come_back(h, "topics=runner", "\xff");
	check_str(next(&s).event, "snapshot");
	close(s.fd);
	herod_stop(h);
}

void
test_a_herod_that_makes_way_is_followed_without_a_hole(void)
{
	struct herod *h = start();
	struct stream s = follow(h, "topics=runner.up", ""), t;
	struct sse first = next(&s);
	const char *last;
	pid_t old = herod_pid(h);

	/* Of topics that it does not hear of; it is no hole. */
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	t = follow(h, "topics=*", "");
	check(number_of(next(&t).id) > number_of(first.id));
	rpc(h, "upgrade", NULL);
	last = last_id(&s, first.id);
	check(number_of(last) > number_of(first.id));
	wait_for(herod_pid(h) != 0 && herod_pid(h) != old);
	rpc(h, "stop_runner", "{s:s}", "name", "up");
	close(s.fd);
	close(t.fd);
	s = come_back(h, "topics=runner.up", last);
	check_str(next(&s).event, "resumed");
	next_state(&s, "STOPPED");
	close(s.fd);
	herod_stop(h);
}

void
test_a_shutdown_is_told_and_ends_the_stream(void)
{
	struct herod *h = start();
	struct stream s = follow(h, "topics=herod", "");
	struct sse e;

	check_str(next(&s).event, "snapshot");
	herod_stop(h);
	e = next(&s);
	check_str(e.event, "herod");
	check_str(text_at(data_of(e), "what"), "shutdown");
	last_id(&s, NULL);
	close(s.fd);
}

/* 100 stops and starts of a runner without a process. */
static void
flip(int fd)
{
	const char *batch = "[";
	int i;

	for (i = 0; i < 100; i++)
		batch = text("%s%s{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
			     "\"%s_runner\",\"params\":[\"up\",false]}",
		    batch, i ? "," : "", i % 2 ? "start" : "stop");
	send_text(fd, text("%s]\n", batch));
	check_int((long long)json_array_size(recv_json(fd)), 100);
}

/* The event, or gap, follows what has the number seq; true when it is a gap. */
static bool
follows(struct sse e, long long *seq)
{
	bool is_gap = strcmp(e.event, "gap") == 0;

	if (is_gap) {
		check_int(int_at(data_of(e), "gap.from"), *seq + 1);
		check(int_at(data_of(e), "gap.to") > *seq);
		*seq = int_at(data_of(e), "gap.to");
	} else {
		(*seq)++;
	}
	check_int(number_of(e.id), *seq);
	return is_gap;
}

/* Pitfall 46.  At the Unix door, for the kernel keeps megabytes for TCP. */
void
test_a_slow_reader_is_told_its_gap_and_holds_up_nobody(void)
{
	struct herod *h = start();
	struct stream s = begin(door_unix(h), "topics=*", "");
	int caller = door_unix(h), i;
	long long seq = number_of(next(&s).id);

	for (i = 0; i < 100; i++)
		flip(caller);
	while (!follows(next(&s), &seq))
		;
	while (follows(next(&s), &seq))
		; /* it was busy with others: one more */
	close(s.fd);
	close(caller);
	herod_stop(h);
}

static long long
resident_kb(struct herod *h)
{
	return atoll(proc_field(herod_pid(h), "status", "VmRSS"));
}

#define DEAF 100

void
test_readers_that_never_read_cost_little(void)
{
	struct herod *h = start();
	struct stream s[DEAF];
	int caller = door_unix(h), i;
	long long before;

	for (i = 0; i < DEAF; i++) {
		s[i] = begin(door_unix(h), "topics=*", "");
		check_str(next(&s[i]).event, "snapshot");
	}
	flip(caller);
	before = resident_kb(h);
	for (i = 0; i < 100; i++)
		flip(caller);
	/* 64 KiB each, and as much again where they grow. */
	if (getenv("ASAN_OPTIONS") == NULL)
		check(resident_kb(h) - before < DEAF * 140 + 8192);
	for (i = 0; i < DEAF; i++)
		close(s[i].fd);
	close(caller);
	herod_stop(h);
}

void
test_what_waits_for_all_readers_together_is_bounded(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[herod]\nmax_output_all = 1MiB\n" EXEC);
	struct stream s[DEAF / 4], last;
	int caller = door_unix(h), i;

	for (i = 0; i < DEAF / 4; i++) {
		s[i] = begin(door_unix(h), "topics=*", "");
		check_str(next(&s[i]).event, "snapshot");
	}
	for (i = 0; i < 100; i++)
		flip(caller);
	/* Nearly all of it is taken: of two snapshots one finds no room. */
	wait_for((flip(caller), last = begin(door_unix(h), "topics=*", ""),
	    strstr(last.head, "HTTP/1.1 503 ") != NULL));
	for (i = 0; i < DEAF / 4; i++)
		close(s[i].fd);
	wait_for((last = begin(door_unix(h), "topics=*", ""),
	    strstr(last.head, "HTTP/1.1 200 ") != NULL));
	close(last.fd);
	close(caller);
	herod_stop(h);
}

/* Longer than any other connection may be silent. */
void
test_a_quiet_stream_stays_and_shows_that_herod_lives(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[herod]\nrequest_timeout = 0.3\n" EXEC);
	struct stream s;
	struct sse first, e;

	wait_for_redis(h);
	s = follow(h, "topics=redis", "");
	first = next(&s);
	rpc(h, "stop_runner", "{s:s}", "name", "up");
	check(next_block(&s, &e));
	check(e.comment != NULL && e.data == NULL);
	/* Who is cut off now goes on behind what it does not care for. */
	check(number_of(e.id) > number_of(first.id));
	rpc(h, "signal_runner", "{s:s, s:s}", "signal", "KILL", "name",
	    "herod-redis");
	check_str(next(&s).event, "redis");
	close(s.fd);
	herod_stop(h);
}

void
test_who_has_left_is_forgotten(void)
{
	struct herod *h = start();
	int before, i;

	wait_for_redis(h);
	follow(h, "topics=*", "");
	before = count_fds(herod_pid(h));
	for (i = 0; i < 20; i++)
		close(follow(h, "topics=*", "").fd);
	wait_for(count_fds(herod_pid(h)) <= before);
	herod_stop(h);
}

void
test_what_is_not_understood_is_refused(void)
{
	struct herod *h = start();
	const char *answer = get(h, "topics=runner,nix", "");

	check_has(answer, "HTTP/1.1 400 ");
	check_has(answer, "'nix' is no topic (wanted runner, runner.NAME");
	check_has(get(h, "", ""), "is no topic");
	check_has(get(h, "topics=", ""), "HTTP/1.1 400 ");
	answer = get(h, "topics=runner&secret=hero_x", "");
	check_has(answer, "HTTP/1.1 400 ");
	check_has(answer, "secret: no such word; wanted topics and since");
	check_has(get(h, "topics=%ff", ""), "topics: its value is not UTF-8");
	answer = http(h,
	    "DELETE /events HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n\r\n");
	check_has(answer, "HTTP/1.1 405 ");
	check_has(answer, "\r\nAllow: GET, HEAD\r\n");
	herod_stop(h);
}

void
test_topics_can_be_named_together_and_apart(void)
{
	struct herod *h = start();
	struct stream s =
	    follow(h, "&topics=redis,herod&&topics=runner.w*&", "");
	json_t *snapshot = data_of(next(&s));

	check(at(snapshot, "redis") != NULL);
	check_int((long long)json_array_size(at(snapshot, "runners")), 1);
	close(s.fd);
	herod_stop(h);
}

void
test_head_and_http_1_0_are_served(void)
{
	struct herod *h = start();
	struct stream s = {.fd = door_tcp(h)};
	const char *answer;

	answer = http(h,
	    "HEAD /events?topics=runner HTTP/1.1\r\n"
	    "Host: localhost\r\nConnection: close\r\n\r\n");
	check_has(answer, "HTTP/1.1 200 ");
	check_has(answer, "text/event-stream");
	check(strstr(answer, "snapshot") == NULL);
	send_text(s.fd, "GET /events?topics=runner.web HTTP/1.0\r\n\r\n");
	s.head = read_head(s.fd);
	check_has(s.head, " 200 ");
	check(strstr(s.head, "chunked") == NULL);
	check_str(next(&s).event, "snapshot");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	next_state(&s, "STOPPED");
	close(s.fd);
	herod_stop(h);
}

void
test_the_unix_door_has_it_too(void)
{
	struct herod *h = start();
	struct stream s = begin(door_unix(h), "topics=runner.web", "");

	check_str(next(&s).event, "snapshot");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	next_state(&s, "STOPPED");
	close(s.fd);
	herod_stop(h);
}

/* ---- who may ---- */

static const char *
bearer(struct herod *h, const char *name, const char *scope)
{
	return text("Authorization: Bearer %s\r\n",
	    text_at(rpc(h, "auth.create_key", "{s:s, s:s}", "name", name,
			"scope", scope),
		"key"));
}

void
test_a_key_hears_what_its_scope_may(void)
{
	struct herod *h = start();
	const char *observer = bearer(h, "eye", "observe"), *answer;
	struct stream s;

	answer = get(h, "topics=job", observer);
	check_has(answer, "HTTP/1.1 403 ");
	check_has(answer, "events of job need the scope user");
	check_has(get(h, "topics=runner", "Authorization: Bearer hero_x\r\n"),
	    "HTTP/1.1 401 ");
	wait_for_redis(h);
	s = follow(h, "topics=*", observer);
	check_str(next(&s).event, "snapshot");
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}", "runner", "up", "job",
	    "payload", "hello");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	check_str(next(&s).event, "runner");
	close(s.fd);
	herod_stop(h);
}

void
test_a_key_that_is_no_key_any_more_ends_its_streams(void)
{
	struct herod *h = start();
	const char *key = bearer(h, "eye", "observe");
	struct stream s = follow(h, "topics=*", key);
	struct stream other = follow(h, "topics=*", bearer(h, "b", "observe"));

	rpc(h, "key.remove", "[s]", "eye");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	check_str(next(&s).event, "snapshot");
	last_id(&s, NULL);
	check_has(get(h, "topics=*", key), "HTTP/1.1 401 ");
	next_state(&other, "STOPPED");
	close(s.fd);
	close(other.fd);
	herod_stop(h);
}

void
test_who_has_no_scope_hears_nothing(void)
{
	struct herod *h;
	struct ran r;

	if (geteuid() != 0)
		skip("needs root, to ask as somebody else");
	h = herod_start("[herod]\ndefault_scope = none\n");
	r = run("setpriv --reuid nobody --regid nogroup --clear-groups "
		"curl -s -i -m 20 'http://127.0.0.1:%d/events?topics=runner'",
	    h->port);
	check_has(r.out, "HTTP/1.1 401 ");
	check_has(r.out, "needs the scope observe");
	herod_stop(h);
}
