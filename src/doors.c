/*
 * The doors.
 *
 * A connection is a struct client from accept to close.  Who it is, the
 * kernel is asked at once, for afterwards it may not know any more.  Then
 * the first byte is peeked at: it decides whether conn.c or http.c goes on
 * with the descriptor.
 */
#define LOG_MODULE "doors"
#include "doors.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "audit.h"
#include "auth.h"
#include "clock.h"
#include "conn.h"
#include "counters.h"
#include "crowd.h"
#include "handover.h"
#include "http.h"
#include "http_head.h"
#include "jsonrpc.h"
#include "keys.h"
#include "listen.h"
#include "log.h"
#include "mem.h"
#include "pages.h"
#include "settings.h"
#include "sock.h"
#include "sse.h"
#include "tls_door.h"
#include "turns.h"

/* Lines of one peer that may be unanswered before it must wait. */
#define OPEN_LINES_MAX 10000

/* One user or address may have so many times the places that stay free. */
#define SHARE 4

#define TLS_HELLO 0x16

#define TELL_SECONDS 60.0 /* between two warnings of the same */

struct client {
	struct peer peer; /* first: pages see the client as its peer */
	TAILQ_ENTRY(client) entry;
	struct doors *doors;
	struct crowd *crowd; /* who come from the same place */
	bool is_unix;
	bool is_guest; /* is no admin */
	bool is_over; /* its key is gone: no more is told */
	struct tls_link *tls; /* NULL: does not speak it */
	ev_io hello; /* before the first byte */
	ev_timer late; /* also while one without a scope is silent */
	struct conn *conn; /* lines, or NULL */
	struct rpc_door door; /* lines */
};

struct doors {
	const struct services *services;
	struct ev_loop *loop;
	const struct daemon_conf *conf;
	struct listeners *listeners;
	struct conns *conns;
	struct http *http;
	struct tls_door *tls;
	TAILQ_HEAD(, client) clients;
	struct crowds *crowds;
	size_t nclients;
	size_t nguests; /* of these, who are no admins */
	bool hold; /* no more for now */
	double told_at; /* when the log heard last that no more fit in */
};

static void
tell_full(struct doors *d)
{
	if (d->told_at != 0 && clock_monotonic() - d->told_at < TELL_SECONDS)
		return;
	d->told_at = clock_monotonic();
	log_warnx("max_connections, %lld, are open: further ones wait",
	    d->conf->max_connections);
}

static void
check_number(struct doors *d)
{
	bool full = d->nclients + tls_door_leaving(d->tls) >=
	    (size_t)d->conf->max_connections;

	if (full)
		tell_full(d);
	listeners_pause(d->listeners, full || d->hold);
}

void
doors_hold(struct doors *d, bool hold)
{
	d->hold = hold;
	check_number(d);
}

static bool
is_guest(const struct peer *peer)
{
	return peer->scope < SCOPE_ADMIN;
}

static void
count_guest(struct client *c)
{
	c->doors->nguests -= c->is_guest;
	c->is_guest = is_guest(&c->peer);
	c->doors->nguests += c->is_guest;
}

static void
client_free(struct client *c)
{
	struct doors *d = c->doors;

	ev_io_stop(d->loop, &c->hello);
	ev_timer_stop(d->loop, &c->late);
	TAILQ_REMOVE(&d->clients, c, entry);
	d->nclients--;
	d->nguests -= c->is_guest;
	if (c->tls)
		tls_link_leave(c->tls, c->is_guest, c->crowd);
	else
		crowd_leave(d->crowds, c->crowd);
	check_number(d);
	free(c);
}

/* ---- lines ---- */

static void
send_refusal(struct conn *conn, const struct err *e)
{
	struct sink text = {0};

	sink_error(&text, NULL, e);
	sink_put(&text, "\n", 1);
	conn_send(conn, text.buf, text.len);
}

static bool
begins_a_request(const char *text)
{
	text += strspn(text, " \t\r");
	return *text == '{' || *text == '[';
}

/* Beyond Unix sockets what is no JSON may be a browser's header, made to
 * smuggle a request into its body. */
static bool
refuse_foreign(struct conn *conn, const char *text, size_t len)
{
	struct err e = {0};
	json_t *value = jsonrpc_parse(text, len, &e);

	json_decref(value);
	if (value != NULL)
		return false;
	send_refusal(conn, &e);
	conn_end(conn, "a line that is not JSON");
	return true;
}

static void
on_line(struct conn *conn, char *text, size_t len)
{
	struct client *c = conn_arg(conn);

	if (ev_is_active(&c->late))
		ev_timer_again(c->doors->loop, &c->late);
	if (c->is_unix || begins_a_request(text) ||
	    !refuse_foreign(conn, text, len))
		rpc_take(&c->door, text, len);
}

static void
on_too_long(struct conn *conn)
{
	const struct client *c = conn_arg(conn);
	struct err e = {0};

	err_set(&e, ERR_TOO_LARGE, "a line longer than max_request, %lld bytes",
	    c->doors->conf->max_request);
	err_hint(&e, "say less at a time, or set max_request");
	send_refusal(conn, &e);
}

static void
on_too_slow(struct conn *conn)
{
	const struct client *c = conn_arg(conn);
	struct err e = {0};

	err_set(&e, ERR_TIMED_OUT,
	    "a line was begun and not ended within request_timeout, %gs",
	    c->doors->conf->request_timeout);
	send_refusal(conn, &e);
}

static enum conn_load
load_of(const struct conn *conn)
{
	const struct client *c = conn_arg(conn);
	const struct rpc_door *door = &c->door;

	if (door->ntexts >= OPEN_LINES_MAX ||
	    door->open_bytes > (size_t)c->doors->conf->max_output)
		return CONN_FULL;
	return door->ntexts + door->nstreams > 0 ? CONN_BUSY : CONN_IDLE;
}

/* A line of the audit log may be as young as this. */
static void
on_sending(struct conn *conn)
{
	const struct client *c = conn_arg(conn);

	audit_flush(c->doors->services->audit);
}

static void
on_caught_up(struct conn *conn)
{
	struct client *c = conn_arg(conn);

	rpc_streams_ready(&c->door);
}

static void
on_conn_closed(struct conn *conn)
{
	struct client *c = conn_arg(conn);

	rpc_door_close(&c->door);
	audit_flush(c->doors->services->audit); /* the loop may sleep now */
	client_free(c);
}

static const struct conn_ops line_ops = {
    .line = on_line,
    .too_long = on_too_long,
    .too_slow = on_too_slow,
    .load = load_of,
    .sending = on_sending,
    .caught_up = on_caught_up,
    .closed = on_conn_closed,
};

static void
line_answer(void *arg, char *text, size_t len)
{
	struct client *c = arg;

	conn_send(c->conn, text, len);
}

static bool
line_notify(void *arg, char *text, size_t len, size_t most)
{
	struct client *c = arg;
	size_t waiting = conn_waiting(c->conn);

	if (c->is_over) {
		free(text);
		return true;
	}
	if (waiting > 0 && waiting + len > most) {
		conn_want_room(c->conn);
		free(text);
		return false;
	}
	conn_send(c->conn, text, len);
	return true;
}

static void
line_login(void *arg, const struct key_given *given)
{
	struct client *c = arg;

	auth_given(&c->peer, given);
	ev_timer_stop(c->doors->loop, &c->late);
	count_guest(c);
	log_info("%s: logged in", c->peer.text);
}

static void
open_lines(struct client *c)
{
	struct doors *d = c->doors;

	c->door.peer = &c->peer;
	c->door.services = d->services;
	c->door.answer = line_answer;
	c->door.notify = line_notify;
	c->door.login = line_login;
	c->door.arg = c;
	c->conn = conn_new(d->conns, c->hello.fd, c->peer.text, c);
	if (!c->peer.known && c->peer.scope == SCOPE_NONE)
		ev_timer_again(d->loop, &c->late);
}

/* ---- HTTP ---- */

/* One POST: an asker of its own. */
struct post {
	struct rpc_door door;
	struct http_request *request;
};

static int
status_of(enum err_code refused)
{
	switch (refused) {
	case ERR_UNAUTHORIZED:
		return 401;
	case ERR_FORBIDDEN:
		return 403;
	default:
		return 200;
	}
}

static void
post_answer(void *arg, char *text, size_t len)
{
	struct post *p = arg;

	audit_flush(p->door.services->audit);
	if (text == NULL)
		http_reply(p->request, 204, NULL, NULL, 0);
	else
		http_reply(p->request, status_of(p->door.refused),
		    "application/json", text, len);
}

static void
take_post(void *arg, struct http_request *r)
{
	struct post *p = xcalloc(1, sizeof(*p));

	r->arg = p;
	p->request = r;
	p->door.peer = r->client;
	p->door.services = arg;
	p->door.answer = post_answer;
	p->door.arg = p;
	rpc_take(&p->door, r->body, r->len);
}

/* "Bearer KEY" (RFC 6750): where the key is, or NULL. */
static const char *
bearer_key(const char *authorization)
{
	const char *at = authorization;

	if (strncasecmp(at, "Bearer ", 7) != 0)
		return NULL;
	at += 7;
	at += strspn(at, " ");
	return *at != '\0' && at[strcspn(at, " ")] == '\0' ? at : NULL;
}

/* Of a key that is refused, or not looked at yet. */
static bool
refuse_key(const struct client *c, const struct err *e, struct http_refusal *no)
{
	bool early = e->code == ERR_TOO_MANY;

	no->status = early ? 429 : 401;
	no->why = e->text;
	if (early)
		no->wait = keys_wait(c->doors->services->keys, c->peer.from);
	return false;
}

/* Whoever shows a key is who the key says, and nobody when it is none. */
static bool
authorize(void *arg, const char *authorization, void **stand_in,
    struct http_refusal *no)
{
	static struct err e;
	struct client *c = arg;
	struct key_given given;
	const char *key = bearer_key(authorization);
	struct peer *peer;

	err_clear(&e);
	if (key == NULL) {
		err_set(&e, ERR_UNAUTHORIZED,
		    "Authorization: wanted Bearer and a key");
		return refuse_key(c, &e, no);
	}
	if (keys_check(
		c->doors->services->keys, key, c->peer.from, &given, &e) == -1)
		return refuse_key(c, &e, no);
	*stand_in = peer = xmalloc(sizeof(*peer));
	*peer = c->peer;
	auth_given(peer, &given);
	return true;
}

static void
on_http_done(struct http_request *r)
{
	struct post *p = r->arg;

	if (p != NULL) { /* not a page */
		rpc_door_close(&p->door);
		audit_flush(p->door.services->audit);
	}
	free(p);
	free(r->stand_in); /* last: the door's peer */
}

static void
on_http_closed(void *client)
{
	client_free(client);
}

static const struct http_ops web_ops = {
    .authorize = authorize,
    .done = on_http_done,
    .closed = on_http_closed,
};

static const struct http_route routes[] = {
    {"GET", "/", false, page_index},
    {"POST", "/", true, take_post},
    {"POST", "/rpc", true, take_post},
    {"GET", "/page.css", false, page_css},
    {"GET", "/page.js", false, page_js},
    {"GET", "/healthz", false, page_healthz},
    {"GET", "/readyz", false, page_readyz},
    {"GET", "/metrics", false, page_metrics},
    {"GET", "/openrpc.json", false, page_openrpc},
    {"GET", "/events", false, page_events},
    {NULL, NULL, false, NULL},
};

/* ---- TLS ---- */

/* Its descriptor is the link's until it is ready. */
static void
hang_up(struct client *c)
{
	if (c->hello.fd != -1)
		close(c->hello.fd);
	client_free(c);
}

static void
speak_tls(struct client *c)
{
	struct doors *d = c->doors;
	int fd = c->hello.fd;

	if (!tls_door_is_open(d->tls)) {
		log_warnx("%s: speaks TLS, for which no certificate is set",
		    c->peer.text);
		hang_up(c);
		return;
	}
	counter_add(tls_connections, 1);
	ev_io_set(&c->hello, -1, EV_READ);
	ev_timer_again(d->loop, &c->late);
	c->tls = tls_link_new(d->tls, fd, c);
}

/* A certificate that no key is for leaves its holder what it would be without
 * one. */
static void
show_certificate(struct client *c, const char *subject)
{
	struct key_given given;

	if (!keys_check_subject(c->doors->services->keys, subject, &given)) {
		log_info(
		    "%s: no key has the subject %s", c->peer.text, subject);
		return;
	}
	auth_given(&c->peer, &given);
	count_guest(c);
}

static void await_hello(struct client *c);

static void
on_tls_ready(void *client, int fd, const char *subject)
{
	struct client *c = client;

	ev_timer_stop(c->doors->loop, &c->late);
	strlcat(c->peer.text, ", TLS", sizeof(c->peer.text));
	if (*subject != '\0')
		show_certificate(c, subject);
	ev_io_set(&c->hello, fd, EV_READ);
	await_hello(c);
}

static void
on_tls_failed(void *client, const char *why)
{
	struct client *c = client;

	counter_add(tls_failures, 1);
	log_info("%s: TLS: %s", c->peer.text, why);
	hang_up(c);
}

static void
on_tls_gone(void *arg, void *crowd)
{
	struct doors *d = arg;

	crowd_leave(d->crowds, crowd);
	check_number(d);
}

static const struct tls_door_ops tls_ops = {
    .ready = on_tls_ready,
    .failed = on_tls_failed,
    .gone = on_tls_gone,
};

/* Who comes from elsewhere, and might be overheard. */
static bool
must_speak_tls(const struct client *c)
{
	const struct daemon_conf *conf = c->doors->conf;

	return conf->tls_cert != NULL && conf->tls_required && !c->tls &&
	    !c->is_unix && !c->peer.known;
}

/* ---- the first byte ---- */

/* In the words of who asks: what is no letter reads lines. */
static void
turn_away(struct client *c, unsigned char first, struct err *e)
{
	char *text;

	open_lines(c);
	if (isalpha(first)) {
		text = xasprintf("HTTP/1.1 400 Bad Request\r\n"
				 "Connection: close\r\n"
				 "Content-Type: text/plain\r\n\r\n%s\n",
		    e->text);
		conn_send(c->conn, text, strlen(text));
	} else {
		send_refusal(c->conn, e);
	}
	conn_end(c->conn, "its first byte");
}

static void
refuse_plain(struct client *c, unsigned char first)
{
	struct err e = {0};

	err_set(&e, ERR_UNAUTHORIZED,
	    "who comes from elsewhere must speak TLS here (tls_required)");
	turn_away(c, first, &e);
}

static void
refuse_byte(struct client *c, unsigned char first)
{
	struct err e = {0};

	err_set(&e, ERR_PARSE, "not JSON, not HTTP: the first byte is 0x%02x",
	    first);
	turn_away(c, first, &e);
}

/* Also of what is JSON and no request; words such as true look like HTTP. */
static bool
may_begin_line(unsigned char first)
{
	return first != '\0' && strchr("{[ \t\r\n\"-0123456789", first) != NULL;
}

static void
route(struct client *c, unsigned char first)
{
	ev_io_stop(c->doors->loop, &c->hello);
	ev_timer_stop(c->doors->loop, &c->late);
	if (first == TLS_HELLO && c->tls == NULL)
		speak_tls(c);
	else if (must_speak_tls(c))
		refuse_plain(c, first);
	else if (may_begin_line(first))
		open_lines(c);
	else if (isalpha(first))
		http_add(c->doors->http, c->hello.fd, c);
	else
		refuse_byte(c, first);
}

static void
on_hello(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("new", "connections");
	struct client *c = w->data;
	unsigned char first;
	ssize_t n = recv(w->fd, &first, 1, MSG_PEEK);

	(void)revents;
	if (n == 1) {
		route(c, first);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		ev_io_stop(loop, w);
		hang_up(c);
	}
}

static void
on_silence(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("timer of", "a connection");
	struct client *c = w->data;

	(void)revents;
	if (c->conn) {
		ev_timer_stop(loop, w);
		conn_end(c->conn, "shows no key and is silent");
		return;
	}
	log_debug("%s: closed: said nothing", c->peer.text);
	ev_io_stop(loop, &c->hello);
	hang_up(c);
}

/* A quarter of the places is for admins, whom nobody is to lock out; and no
 * guest is to lock out those of elsewhere. */
static bool
is_crowded(const struct doors *d, const struct peer *peer)
{
	size_t all = (size_t)d->conf->max_connections, most = all - all / 4;
	size_t guests = d->nguests + tls_door_leaving_guests(d->tls);

	return is_guest(peer) &&
	    (guests >= most ||
		crowd_size(d->crowds, peer->from) >= SHARE * (most - guests));
}

static void
turn_down(const struct doors *d, const struct peer *peer, int fd)
{
	struct sink text = {0};
	struct err e = {0};
	ssize_t sent;

	log_info("%s: turned down: too many connections", peer->text);
	err_set(&e, ERR_TOO_MANY,
	    "of %lld connections no more are for %s, who is no admin",
	    d->conf->max_connections, peer->from);
	err_hint(&e, "try again later, or set max_connections");
	sink_error(&text, NULL, &e);
	sink_put(&text, "\n", 1);
	sent = send(fd, text.buf, text.len, MSG_NOSIGNAL);
	(void)sent; /* it would have been a kindness */
	free(text.buf);
	close(fd);
}

static struct client *
client_new(struct doors *d, int fd, const struct peer *peer)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->peer = *peer;
	c->doors = d;
	c->crowd = crowd_join(d->crowds, peer->from);
	c->is_unix = sock_is_unix(fd);
	TAILQ_INSERT_TAIL(&d->clients, c, entry);
	d->nclients++;
	count_guest(c);
	ev_io_init(&c->hello, on_hello, fd, EV_READ);
	ev_set_priority(&c->hello, -1);
	ev_timer_init(&c->late, on_silence, d->conf->request_timeout,
	    d->conf->request_timeout);
	c->hello.data = c->late.data = c;
	check_number(d);
	return c;
}

static void
await_hello(struct client *c)
{
	struct doors *d = c->doors;

	ev_io_start(d->loop, &c->hello);
	/* A local program may connect long before it has something to say. */
	if (!c->is_unix)
		ev_timer_start(d->loop, &c->late);
}

static void
on_accepted(void *arg, int fd)
{
	struct doors *d = arg;
	struct peer peer;

	counter_add(connections, 1);
	auth_peer(&peer, fd, d->conf);
	log_debug("%s: connected", peer.text);
	if (is_crowded(d, &peer))
		turn_down(d, &peer, fd);
	else
		await_hello(client_new(d, fd, &peer));
}

/* ---- from one herod to the next ---- */

static json_t *
peer_json(const struct peer *p)
{
	return json_pack("{s:i, s:b, s:I, s:s, s:s, s:s}", "scope", p->scope,
	    "known", p->known, "uid", (json_int_t)p->uid, "text", p->text,
	    "from", p->from, "key", p->key_id);
}

static void
read_peer(const json_t *json, struct peer *p)
{
	const char *text = json_string_value(json_object_get(json, "text"));
	const char *from = json_string_value(json_object_get(json, "from"));
	const char *key = json_string_value(json_object_get(json, "key"));

	*p = (struct peer){.scope = (enum scope)json_integer_value(
			       json_object_get(json, "scope")),
	    .known = json_is_true(json_object_get(json, "known")),
	    .uid = (uid_t)json_integer_value(json_object_get(json, "uid"))};
	strlcpy(p->text, text ? text : "?", sizeof(p->text));
	strlcpy(p->from, from ? from : "?", sizeof(p->from));
	strlcpy(p->key_id, key ? key : "", sizeof(p->key_id));
}

/* What is not answered comes first, for it was asked first; how many bytes
 * that is tells them from what the peer sends only now. */
static void
leave_lines(struct client *c, struct handover *h)
{
	struct sink input = {0};
	struct conn_rest rest;
	struct handed one;
	json_t *about;

	/* First what is there leaves, so that nothing is told to be behind. */
	if (!conn_leave(c->conn, &rest))
		return;
	rpc_door_leave(&c->door, &input);
	if (conn_leave(c->conn, &rest)) {
		about =
		    json_pack("{s:o, s:I, s:b}", "peer", peer_json(&c->peer),
			"again", (json_int_t)input.len, "eof", rest.eof);
		if (rest.input_len > 0)
			sink_put(&input, rest.input, rest.input_len);
		one = (struct handed){rest.fd, about, input.buf, rest.output,
		    input.len, rest.output_len};
		handover_add(h, &one);
		json_decref(about);
	}
	free(input.buf);
}

static void
leave_unheard(struct client *c, struct handover *h)
{
	json_t *about = json_pack("{s:o}", "peer", peer_json(&c->peer));

	handover_add(h, &(struct handed){.fd = c->hello.fd, .about = about});
	json_decref(about);
}

/* Nobody else can go on with what was agreed with the peer: it is told to ask
 * again. */
static void
leave_tls(struct client *c)
{
	struct conn_rest rest;

	if (c->conn == NULL)
		return;
	rpc_door_leave(&c->door, NULL);
	conn_leave(c->conn, &rest);
}

static void
refuse_post(struct http_request *r)
{
	struct post *p = r->arg;

	if (p != NULL)
		rpc_door_leave(&p->door, NULL);
}

void
doors_leave(struct doors *d, struct handover *h)
{
	struct client *c;

	http_waiting(d->http, refuse_post);
	http_free(d->http);
	d->http = NULL;
	TAILQ_FOREACH (c, &d->clients, entry) {
		if (c->tls)
			leave_tls(c);
		else if (c->conn)
			leave_lines(c, h);
		else
			leave_unheard(c, h);
	}
	tls_door_free(d->tls);
	d->tls = NULL;
}

/* Lines that the herod before has taken and not answered. */
static void
ask_again(struct client *c, const char *lines, size_t len)
{
	const char *end;

	c->door.again = true;
	for (; (end = memchr(lines, '\n', len)) != NULL;
	     len -= (size_t)(end + 1 - lines), lines = end + 1)
		rpc_take(&c->door, lines, (size_t)(end - lines));
	c->door.again = false;
}

/* What the herod before has answered stands before all that we do. */
static void
send_rest(struct conn *conn, const char *bytes, size_t len)
{
	char *copy;

	if (len == 0)
		return;
	copy = xmalloc(len);
	memcpy(copy, bytes, len);
	conn_send(conn, copy, len);
}

static void
take_over_lines(struct client *c, const struct handed *one)
{
	json_int_t again =
	    json_integer_value(json_object_get(one->about, "again"));
	struct conn_rest rest = {one->fd,
	    json_is_true(json_object_get(one->about, "eof")), one->input,
	    one->output, one->input_len, one->output_len};

	open_lines(c);
	send_rest(c->conn, one->output, one->output_len);
	if (again > 0 && (size_t)again <= rest.input_len) {
		rest.input += again;
		rest.input_len -= (size_t)again;
		ask_again(c, one->input, (size_t)again);
	}
	conn_go_on(c->conn, &rest);
}

static void
take_over(struct doors *d, const struct handed *one)
{
	struct client *c;
	struct peer peer;

	read_peer(json_object_get(one->about, "peer"), &peer);
	c = client_new(d, one->fd, &peer);
	log_debug("%s: goes on", peer.text);
	if (json_object_get(one->about, "again"))
		take_over_lines(c, one);
	else
		await_hello(c);
}

void
doors_take_over(struct doors *d, struct handover *h)
{
	struct handed one;
	size_t n = 0;

	while (handover_next(h, &one)) {
		take_over(d, &one);
		n++;
	}
	log_info("going on with %zu connection%s of the herod before", n,
	    n == 1 ? "" : "s");
}

/* ---- public ---- */

static bool
lives_by_key(const struct client *c, const char *id)
{
	return strcmp(c->peer.key_id, id) == 0 ||
	    (c->conn != NULL && rpc_streams_by_key(&c->door, id));
}

static void
end_stream_by_key(struct http_request *r, void *id)
{
	const struct peer *peer = r->client;

	if (strcmp(peer->key_id, id) == 0)
		http_stream_end(r);
}

/* What is on its way is still sent; over HTTP each request is refused. */
static void
on_key_gone(void *arg, const char *id)
{
	struct doors *d = arg;
	struct client *c, *next;

	http_streams(d->http, end_stream_by_key, (void *)id);
	TAILQ_FOREACH_SAFE (c, &d->clients, entry, next) {
		if (!lives_by_key(c, id))
			continue;
		c->peer.scope = SCOPE_NONE;
		c->is_over = true;
		if (c->conn != NULL)
			conn_end(c->conn, "its key is no key any more");
	}
}

/* By the rule by which it was let in. */
static void
judge_page(struct http_request *r, void *doors)
{
	const struct http_head head = {.host = http_header(r, "Host"),
	    .origin = http_header(r, "Origin"),
	    .fetch_site = http_header(r, "Sec-Fetch-Site")};
	const struct doors *d = doors;

	if (!http_head_page_may_ask(&head, d->conf->cors_origins))
		http_stream_end(r);
}

void
doors_judge_pages(struct doors *d)
{
	http_streams(d->http, judge_page, d);
}

struct doors *
doors_new(const struct services *services)
{
	struct doors *d = xcalloc(1, sizeof(*d));

	d->services = services;
	d->loop = services->loop;
	d->conf = services->conf;
	TAILQ_INIT(&d->clients);
	d->crowds = crowds_new();
	d->http =
	    http_new(d->loop, d->conf, routes, &web_ops, (void *)services);
	d->conns = conns_new(d->loop, d->conf, &line_ops);
	d->tls = tls_door_new(d->loop, &d->conf->request_timeout, &tls_ops, d);
	d->listeners = listeners_new(d->loop, on_accepted, d);
	if (services->keys != NULL)
		keys_on_gone(services->keys, on_key_gone, d);
	return d;
}

int
doors_listen(struct doors *d, const char *address, int fd, struct err *e)
{
	const struct keys *keys = d->services->keys;
	bool anybody = keys != NULL && keys_exist(keys);

	/* Where the herod before us did, we do, although the last key may be
	 * gone: who comes from elsewhere has no scope then. */
	if (listen_check(address, anybody || fd >= 0, e) == 0)
		return listeners_add(d->listeners, address, fd, e);
	if (fd >= 0)
		close(fd);
	return -1;
}

struct tls_door *
doors_tls(const struct doors *d)
{
	return d->tls;
}

void
doors_shut(struct doors *d)
{
	listeners_close(d->listeners);
}

void
doors_free(struct doors *d)
{
	struct client *c, *next;

	conns_free(d->conns);
	if (d->http)
		http_free(d->http);
	TAILQ_FOREACH_SAFE (c, &d->clients, entry, next)
		hang_up(c);
	if (d->tls)
		tls_door_free(d->tls);
	listeners_free(d->listeners);
	crowds_free(d->crowds);
	free(d);
}

size_t
doors_count(const struct doors *d)
{
	return d->nclients;
}

/* Nothing before its first byte. */
static enum talk
talk_of(const struct client *c)
{
	bool shakes_hands = c->tls != NULL && c->hello.fd == -1;

	if (c->conn != NULL)
		return TALK_LINES;
	return shakes_hands || ev_is_active(&c->hello) ? TALK_NONE : TALK_HTTP;
}

void
doors_tally(const struct doors *d, size_t tally[WAYS][TALKS])
{
	const struct client *c;
	enum way way;

	memset(tally, 0, WAYS * sizeof(tally[0]));
	TAILQ_FOREACH (c, &d->clients, entry) {
		way = c->is_unix ? WAY_UNIX : WAY_TCP;
		tally[c->tls != NULL ? WAY_TLS : way][talk_of(c)]++;
	}
}
