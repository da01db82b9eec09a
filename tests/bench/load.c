/*
 * A load of equal requests; see load.h.
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 64
#define READ_SIZE 65536
#define SILENCE_MS 10000 /* after this a bench has failed */

struct asker {
	int fd;
	size_t due; /* bytes of answers still to come */
};

struct run {
	const struct load *load;
	struct asker askers[CONNS_MAX];
	char *text; /* pipeline requests */
	size_t len;
	size_t answer; /* bytes of one */
	int epoll;
	int nasking;
	uint64_t nanswers;
	int64_t end;
};

/* ---- requests ---- */

const char *
call_line(const char *method, const char *params)
{
	return text("{\"jsonrpc\":\"2.0\",\"method\":\"%s\"%s%s,\"id\":1}\n",
	    method, *params ? ",\"params\":" : "", params);
}

const char *
call_http(const char *method, const char *params)
{
	const char *body = call_line(method, params);

	return text("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
		    "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n\r\n%s",
	    strlen(body), body);
}

/* ---- the first answer ---- */

/* Bytes of the whole answer, 0 when that is not clear yet. */
static size_t
whole_length(const char *buf)
{
	const char *body = strstr(buf, "\r\n\r\n"), *field;
	const char *newline = strchr(buf, '\n');

	if (strncmp(buf, "HTTP/", 5) != 0)
		return newline ? (size_t)(newline - buf) + 1 : 0;
	field = body ? strcasestr(buf, "\r\ncontent-length:") : NULL;
	return field ? (size_t)(body - buf) + 4 + strtoul(field + 17, NULL, 10)
		     : 0;
}

static size_t
first_answer(const struct herod *h, const struct load *l)
{
	static char buf[READ_SIZE];
	size_t len = 0, whole = 0;
	int fd = l->dial(h);
	ssize_t n;

	send_text(fd, l->request);
	while (whole == 0 || len < whole) {
		n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
		if (n <= 0)
			check_fail(
			    __FILE__, __LINE__, "no answer to %s", l->request);
		len += (size_t)n;
		buf[len] = '\0';
		whole = whole_length(buf);
	}
	close(fd);
	check_int((long long)len, (long long)whole);
	check_has(buf, "\"result\":");
	return whole;
}

/* ---- the run ---- */

static void
ask(struct run *r, struct asker *a)
{
	/* Nothing else is under way: it fits into the socket's buffer. */
	ssize_t n = send(a->fd, r->text, r->len, MSG_NOSIGNAL | MSG_DONTWAIT);

	check_int(n, (long long)r->len);
	a->due = r->answer * (size_t)r->load->pipeline;
}

static void
hear(struct run *r, struct asker *a, int64_t now)
{
	static char buf[READ_SIZE];
	ssize_t n = recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0 || (size_t)n > a->due)
		check_fail(__FILE__, __LINE__, "answers of another length: %s",
		    n > 0 ? text("%.*s", (int)n, buf) : "the end");
	a->due -= (size_t)n;
	if (a->due > 0)
		return;
	r->nanswers += (uint64_t)r->load->pipeline;
	if (now < r->end)
		ask(r, a);
	else
		r->nasking--;
}

static void
turn(struct run *r)
{
	struct epoll_event events[CONNS_MAX];
	int i, n = epoll_wait(r->epoll, events, CONNS_MAX, SILENCE_MS);
	int64_t now = now_ns();

	if (n <= 0)
		check_fail(
		    __FILE__, __LINE__, "no answer to %s", r->load->request);
	for (i = 0; i < n; i++)
		hear(r, events[i].data.ptr, now);
}

static void
open_askers(struct run *r, const struct herod *h)
{
	struct epoll_event event = {.events = EPOLLIN};
	int i, on = 1;

	for (i = 0; i < r->load->nconns; i++) {
		r->askers[i].fd = r->load->dial(h);
		setsockopt(r->askers[i].fd, IPPROTO_TCP, TCP_NODELAY, &on,
		    sizeof(on)); /* as redis-benchmark has it */
		event.data.ptr = &r->askers[i];
		epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->askers[i].fd, &event);
	}
}

static void
write_text(struct run *r)
{
	size_t one = strlen(r->load->request);
	int i;

	r->len = one * (size_t)r->load->pipeline;
	r->text = malloc(r->len);
	check(r->text != NULL);
	for (i = 0; i < r->load->pipeline; i++)
		memcpy(r->text + one * (size_t)i, r->load->request, one);
}

double
load_run(const struct herod *h, const struct load *l)
{
	struct run r = {.load = l, .epoll = epoll_create1(EPOLL_CLOEXEC)};
	int64_t begin;
	double rate;
	int i;

	check(l->nconns <= CONNS_MAX);
	r.answer = first_answer(h, l);
	write_text(&r);
	open_askers(&r, h);
	begin = now_ns();
	r.end = begin + (int64_t)(l->seconds * 1e9);
	r.nasking = l->nconns;
	for (i = 0; i < l->nconns; i++)
		ask(&r, &r.askers[i]);
	while (r.nasking > 0)
		turn(&r);
	rate = (double)r.nanswers / ms_since(begin) * 1e3;
	for (i = 0; i < l->nconns; i++)
		close(r.askers[i].fd);
	close(r.epoll);
	free(r.text);
	return rate;
}
