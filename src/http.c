/*
 * HTTP over libmicrohttpd, the only file that knows it.
 *
 * The library keeps an epoll of its own, which is one descriptor in our
 * loop; it is run when that is readable, and before the loop sleeps when
 * something was added or resumed.  Its timeouts are idle-only, so each
 * connection has a timer of ours for a whole request, which shuts the
 * socket down.  A request that is answered later is suspended meanwhile,
 * and watched for a hang-up.  So is one whose answer has no end, a stream,
 * while nothing waits for its reader.
 */
#define LOG_MODULE "http"
#include "http.h"

#include <assert.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "counters.h"
#include "hangup.h"
#include "http_head.h"
#include "jsonrpc.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define MEMORY_LIMIT 8192 /* a connection's, for its head and a buffer */
#define CONNECTION_LIMIT 200000 /* the real one is max_connections */
#define RUNS_A_TURN 8 /* of the library in one turn of the loop */
#define LINGER_SECONDS 5.0 /* for the rest of a body that is too long */
#define END_SECONDS 0.01 /* behind an answer, to look for the peer's end */
#define SPARE_LEN 4096 /* bytes of an answer that is copied */
#define STREAM_BLOCK \
	2048 /* read at a time for HTTP/1.0, which has no chunks \
	      */

enum stage {
	READING, /* its body */
	HANDLED, /* given to the route */
	SUSPENDED, /* the route answers later */
	STREAMING, /* the answer has no end */
	ANSWERED
};

/* An answer without an end. */
struct stream_out {
	const struct http_stream_ops *ops;
	void *arg;
	struct sink text; /* waits for the reader */
	size_t sent; /* of that */
	bool idle; /* suspended: nothing waits */
	bool wants_room;
	bool ended; /* by us */
};

/* One connection. */
struct link {
	TAILQ_ENTRY(link) entry;
	struct http *http;
	void *client;
	int fd;
	struct MHD_Connection *connection; /* NULL before it is known */
	char *origin; /* of the page that asks now, if cors_origins has it */
	struct request *request; /* under way, or NULL */
	struct hangup hangup; /* while that is suspended */
	ev_timer late;
	bool may_have_ended; /* late is for looking whether the peer has */
};

/* A response whose text is changed from one answer to the next. */
struct spare {
	struct MHD_Response *response;
	size_t len;
	char text[];
};

struct request {
	struct http_request shown; /* first: routes hold its address */
	struct link *link;
	const struct http_route *route;
	char *body;
	size_t size;
	enum stage stage;
	bool dropped; /* nobody is there to answer */
	bool too_long; /* its body: read and thrown away */
	struct MHD_Response *response;
	struct spare *spare; /* that is its, or NULL */
	size_t len; /* of its body */
	unsigned status;
	struct stream_out out; /* while STREAMING */
};

struct http {
	struct ev_loop *loop;
	const struct daemon_conf *conf;
	const struct http_route *routes;
	const struct http_ops *ops;
	void *arg;
	struct MHD_Daemon *daemon;
	TAILQ_HEAD(, link) links;
	size_t waiting; /* bytes of all answers that have not left */
	struct link *late; /* whose deadline has passed, while it lives */
	struct hangups *hangups;
	struct spare *spare; /* or NULL */
	char own_name[256];
	bool closing; /* nothing is begun any more */
	ev_io io;
	ev_prepare prepare;
	ev_idle awake; /* active: run before sleeping */
};

/* ---- the library ---- */

#define FUNCTIONS(F) \
	F(add_connection) \
	F(add_response_header) \
	F(create_response_from_buffer) \
	F(create_response_from_callback) \
	F(destroy_response) \
	F(get_connection_info) \
	F(get_connection_values) \
	F(get_daemon_info) \
	F(get_timeout) \
	F(get_version) \
	F(lookup_connection_value) \
	F(queue_response) \
	F(resume_connection) \
	F(run) \
	F(set_panic_func) \
	F(start_daemon) \
	F(stop_daemon) \
	F(suspend_connection)

/* Looked up when the first request comes: with what it needs in turn it
 * takes more memory than all of herod, and half of the time to start. */
static struct {
#define MEMBER(name) __typeof__(MHD_##name) *name;
	FUNCTIONS(MEMBER)
#undef MEMBER
} mhd;

static bool
load_library(void)
{
	void *library = dlopen(MHD_SONAME, RTLD_NOW | RTLD_LOCAL);
	bool found = library != NULL;

#define LOOK_UP(name) \
	mhd.name = \
	    found ? (__typeof__(mhd.name))dlsym(library, "MHD_" #name) : NULL; \
	found = mhd.name != NULL;
	FUNCTIONS(LOOK_UP)
#undef LOOK_UP
	if (!found)
		log_errorx("libmicrohttpd cannot be loaded: %s", dlerror());
	return found;
}

static void
run_soon(struct http *h)
{
	ev_idle_start(h->loop, &h->awake);
}

static bool
has_more(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return mhd.get_timeout(h->daemon, &ms) == MHD_YES && ms == 0;
}

/* The library takes one step of each connection in a run, of which a
 * pipelined request needs several. */
static void
run(struct http *h)
{
	int n = RUNS_A_TURN;

	do
		mhd.run(h->daemon);
	while (has_more(h) && --n > 0);
	if (n == 0)
		run_soon(h);
	else
		ev_idle_stop(h->loop, &h->awake);
}

static void
on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	DOING("HTTP from", "clients");
	(void)loop;
	(void)revents;
	run(w->data);
}

static void
on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct http *h = w->data;

	(void)loop;
	(void)revents;
	if (ev_is_active(&h->awake))
		run(h);
}

static void
on_awake(struct ev_loop *loop, ev_idle *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

/* ---- deadlines ---- */

static void
set_timer(struct link *l, double seconds)
{
	struct ev_loop *loop = l->http->loop;

	l->may_have_ended = false;
	ev_timer_stop(loop, &l->late);
	ev_timer_set(&l->late, seconds, 0);
	ev_timer_start(loop, &l->late);
}

static bool
is_at_work(const struct link *l)
{
	return l->request != NULL && l->request->stage == SUSPENDED;
}

static bool
is_streaming(const struct link *l)
{
	return l->request != NULL && l->request->stage == STREAMING;
}

static void
set_deadline(struct link *l)
{
	set_timer(l, l->http->conf->request_timeout);
}

/* The library misses an end that came together with a request, and would wait
 * for more; it is told again.  Who goes on asking is not looked at. */
static void
notice_end(struct link *l)
{
	char byte;

	if (recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		shutdown(l->fd, SHUT_RD);
	set_deadline(l);
}

/* It may be we who slept: what has come is read first.  Then l may be gone,
 * or have a new deadline, or be at work. */
static void
on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct link *l = w->data;
	struct http *h = l->http;

	(void)loop;
	(void)revents;
	if (l->may_have_ended) {
		notice_end(l);
		return;
	}
	h->late = l;
	run(h);
	if (h->late != l || ev_is_active(&l->late) || is_at_work(l) ||
	    (is_streaming(l) && !l->request->out.ended))
		return;
	log_debug("connection closed after request_timeout");
	shutdown(l->fd, SHUT_RDWR);
}

/* ---- answers ---- */

/* Nothing of ours is for other sites, frames or caches.  What is no JSON might
 * be shown as a page, and gets those of pages, too. */
static const struct {
	const char *name, *value;
	bool of_pages;
} safety[] = {
    {"Cache-Control", "no-store", false},
    {"Content-Security-Policy",
	"default-src 'none'; script-src 'self'; style-src 'self'; "
	"connect-src 'self'; base-uri 'none'; form-action 'none'; "
	"frame-ancestors 'none'",
	true},
    {"Cross-Origin-Opener-Policy", "same-origin", true},
    {"Cross-Origin-Resource-Policy", "same-origin", false},
    {"Referrer-Policy", "no-referrer", true},
    {"X-Content-Type-Options", "nosniff", false},
    {"X-Frame-Options", "DENY", true},
};

#define JSON "application/json"

static unsigned long long answers[600];

static void
count_answer(int status)
{
	if (status >= 100 && status < 600)
		answers[status]++;
}

unsigned long long
http_answers(int status)
{
	return status >= 100 && status < 600 ? answers[status] : 0;
}

/* Fetch, section 3.3; the answers of a page that is allowed are for it. */
static void
put_cors(const struct link *l, struct MHD_Response *response)
{
	char *const *origins = l->http->conf->cors_origins;

	if (origins != NULL && *origins != NULL)
		mhd.add_response_header(response, "Vary", "Origin");
	if (l->origin == NULL)
		return;
	mhd.add_response_header(
	    response, "Access-Control-Allow-Origin", l->origin);
	mhd.add_response_header(
	    response, "Access-Control-Expose-Headers", "Retry-After");
}

static bool
is_json(const char *type)
{
	return type != NULL && strcmp(type, JSON) == 0;
}

static void
put_headers(
    const struct link *l, struct MHD_Response *response, const char *type)
{
	bool is_page = type != NULL && !is_json(type);
	size_t i;

	for (i = 0; i < sizeof(safety) / sizeof(safety[0]); i++)
		if (is_page || !safety[i].of_pages)
			mhd.add_response_header(
			    response, safety[i].name, safety[i].value);
	if (type != NULL)
		mhd.add_response_header(response, "Content-Type", type);
	put_cors(l, response);
}

static struct MHD_Response *
make_response(const struct link *l, const char *type, char *text, size_t len,
    enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response =
	    mhd.create_response_from_buffer(len, text, mode);

	assert(response != NULL);
	put_headers(l, response, type);
	return response;
}

/* ---- short answers of JSON ---- */

/* Half of the work for an answer is its headers.  So the response to one is
 * used again when the next is as long; the library does not read it any more
 * when its request is over. */
static bool
may_be_spare(const struct link *l, int status, const char *type, size_t len)
{
	char *const *origins = l->http->conf->cors_origins;

	return status == MHD_HTTP_OK && len <= SPARE_LEN && is_json(type) &&
	    (origins == NULL || *origins == NULL);
}

static void
spare_free(struct spare *s)
{
	if (s != NULL)
		mhd.destroy_response(s->response);
	free(s);
}

static struct spare *
spare_new(const struct link *l, size_t len)
{
	struct spare *s = xmalloc(sizeof(*s) + len);

	s->len = len;
	s->response =
	    make_response(l, JSON, s->text, len, MHD_RESPMEM_PERSISTENT);
	return s;
}

static struct spare *
spare_take(const struct link *l, char *stolen, size_t len)
{
	struct spare *s = l->http->spare;

	if (s != NULL && s->len == len)
		l->http->spare = NULL;
	else
		s = spare_new(l, len);
	memcpy(s->text, stolen, len);
	free(stolen);
	return s;
}

/* Who asks for a key is shown it once. */
static void
spare_put(struct http *h, struct spare *s)
{
	explicit_bzero(s->text, s->len);
	spare_free(h->spare);
	h->spare = s;
}

static struct request *
request_of(struct http_request *shown)
{
	return (struct request *)shown;
}

static void
set_response(
    struct request *r, int status, const char *type, char *stolen, size_t len)
{
	count_answer(status);
	if (may_be_spare(r->link, status, type, len)) {
		r->spare = spare_take(r->link, stolen, len);
		r->response = r->spare->response;
	} else {
		r->response = make_response(
		    r->link, type, stolen, len, MHD_RESPMEM_MUST_FREE);
	}
	r->status = (unsigned)status;
	r->len = len;
	r->link->http->waiting += len;
}

/* Others do not read theirs, or not as fast as they ask. */
static void
refuse_to_keep(struct request *r)
{
	char *text = xstrdup("too many answers wait to be read (max_output_all)"
			     "; try again later\n");

	log_info("an answer was not kept: max_output_all");
	set_response(r, MHD_HTTP_SERVICE_UNAVAILABLE,
	    "text/plain; charset=utf-8", text, strlen(text));
}

void
http_reply(struct http_request *shown, int status, const char *type,
    char *stolen, size_t len)
{
	struct request *r = request_of(shown);
	struct http *h = r->link->http;

	assert(r->response == NULL);
	if (h->waiting + len <= (size_t)h->conf->max_output_all) {
		set_response(r, status, type, stolen, len);
	} else {
		free(stolen);
		refuse_to_keep(r);
	}
	if (r->status == MHD_HTTP_UNAUTHORIZED)
		mhd.add_response_header(
		    r->response, "WWW-Authenticate", "Bearer");
	set_deadline(r->link);
	if (r->stage != SUSPENDED)
		return;
	r->stage = ANSWERED;
	hangup_forget(h->hangups, &r->link->hangup);
	mhd.resume_connection(r->link->connection);
	run_soon(h);
}

/* ---- answers without an end ---- */

static size_t
stream_waiting(const struct stream_out *o)
{
	return o->text.len - o->sent;
}

/* A reader that gives nothing must be suspended, or it is asked for ever. */
static void
stream_rest(struct request *r)
{
	r->out.idle = true;
	mhd.suspend_connection(r->link->connection);
}

static void
stream_wake(struct request *r)
{
	if (!r->out.idle)
		return;
	r->out.idle = false;
	mhd.resume_connection(r->link->connection);
	run_soon(r->link->http);
}

static void
stream_clear(struct request *r)
{
	struct stream_out *o = &r->out;

	r->link->http->waiting -= stream_waiting(o);
	free(o->text.buf);
	o->text = (struct sink){0};
	o->sent = 0;
}

static size_t
stream_take(struct request *r, char *buf, size_t most)
{
	struct stream_out *o = &r->out;
	size_t n = stream_waiting(o) < most ? stream_waiting(o) : most;

	memcpy(buf, o->text.buf + o->sent, n);
	o->sent += n;
	r->link->http->waiting -= n;
	if (stream_waiting(o) > 0)
		return n;
	stream_clear(r);
	if (o->wants_room) {
		o->wants_room = false;
		o->ops->room(o->arg);
	}
	return n;
}

/* The library wants more of the body. */
static ssize_t
on_stream_read(void *arg, uint64_t at, char *buf, size_t most)
{
	struct request *r = arg;

	(void)at;
	if (r->dropped)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream_waiting(&r->out) > 0)
		return (ssize_t)stream_take(r, buf, most);
	if (r->out.ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	stream_rest(r);
	return 0;
}

/* Of who always lags behind a little, the text never gets empty. */
static void
stream_forget_sent(struct stream_out *o)
{
	if (o->sent < stream_waiting(o))
		return;
	o->text.len -= o->sent;
	memmove(o->text.buf, o->text.buf + o->sent, o->text.len);
	o->sent = 0;
}

static void
stream_add(struct request *r, const char *text, size_t len)
{
	if (r->out.sent > 0)
		stream_forget_sent(&r->out);
	sink_put(&r->out.text, text, len);
	r->link->http->waiting += len;
}

/* Proxies are asked to pass on each event at once. */
static void
set_stream_response(struct request *r, const char *type)
{
	count_answer(MHD_HTTP_OK);
	r->response = mhd.create_response_from_callback(
	    MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_stream_read, r, NULL);
	assert(r->response != NULL);
	put_headers(r->link, r->response, type);
	mhd.add_response_header(r->response, "X-Accel-Buffering", "no");
	r->status = MHD_HTTP_OK;
}

bool
http_stream(struct http_request *shown, const char *type, char *stolen,
    size_t len, const struct http_stream_ops *ops, void *arg)
{
	struct request *r = request_of(shown);
	struct link *l = r->link;

	assert(r->stage == HANDLED && r->response == NULL);
	if (l->http->waiting + len > (size_t)l->http->conf->max_output_all) {
		free(stolen);
		refuse_to_keep(r);
		return false;
	}
	set_stream_response(r, type);
	r->stage = STREAMING;
	r->out = (struct stream_out){.ops = ops, .arg = arg};
	stream_add(r, stolen, len);
	free(stolen);
	ev_timer_stop(l->http->loop, &l->late);
	hangup_watch(l->http->hangups, &l->hangup, l->fd, l);
	return true;
}

bool
http_stream_put(
    struct http_request *shown, const char *text, size_t len, size_t most)
{
	struct request *r = request_of(shown);
	struct stream_out *o = &r->out;
	struct http *h = r->link->http;

	if (o->ended || r->dropped)
		return true;
	if ((stream_waiting(o) > 0 && stream_waiting(o) + len > most) ||
	    h->waiting + len > (size_t)h->conf->max_output_all) {
		o->wants_room = true;
		return false;
	}
	stream_add(r, text, len);
	stream_wake(r);
	return true;
}

void
http_stream_end(struct http_request *shown)
{
	struct request *r = request_of(shown);

	if (r->out.ended)
		return;
	r->out.ops->ending(r->out.arg);
	r->out.ended = true;
	set_deadline(r->link);
	stream_wake(r);
}

/* RFC 9110, section 10.2.3: whole seconds, and not a moment too early. */
static void
put_wait(struct MHD_Response *response, double seconds)
{
	char text[32];

	snprintf(text, sizeof(text), "%.0f", ceil(seconds));
	mhd.add_response_header(response, "Retry-After", text);
}

static void
put_refusal(struct MHD_Response *response, const struct http_refusal *no)
{
	mhd.add_response_header(response, "Connection", "close");
	if (no->allow != NULL)
		mhd.add_response_header(response, "Allow", no->allow);
	if (no->status == MHD_HTTP_UNAUTHORIZED)
		mhd.add_response_header(response, "WWW-Authenticate", "Bearer");
	if (no->wait > 0)
		put_wait(response, no->wait);
}

/* A body may still be on its way that nobody will read. */
static enum MHD_Result
refuse_as(struct link *l, const struct http_refusal *no)
{
	struct MHD_Response *response;
	enum MHD_Result queued;
	char *text = xasprintf("%s\n", no->why);

	log_debug("refused with %d: %s", no->status, no->why);
	count_answer(no->status);
	response = make_response(l, "text/plain; charset=utf-8", text,
	    strlen(text), MHD_RESPMEM_MUST_FREE);
	put_refusal(response, no);
	queued =
	    mhd.queue_response(l->connection, (unsigned)no->status, response);
	mhd.destroy_response(response);
	return queued;
}

static enum MHD_Result
refuse(struct link *l, int status, const char *why)
{
	return refuse_as(l, &(struct http_refusal){status, why, NULL, 0});
}

/* It came while herod ends or makes way; nobody would answer it later.  A
 * reader of events comes back when it is cut off, and not after a refusal. */
static enum MHD_Result
refuse_late(struct request *r)
{
	if (strcmp(r->route->method, "GET") == 0)
		return MHD_NO;
	return refuse_as(r->link,
	    &(struct http_refusal){MHD_HTTP_SERVICE_UNAVAILABLE,
		"herod ends or makes way for the next one", NULL, 1});
}

/* ---- requests ---- */

static enum MHD_Result
add_header(
    void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	http_head_add(arg, name, value);
	return MHD_YES;
}

/* For struct http_head. */
static const char *
line_end_of(const char *version)
{
	return strncmp(mhd.get_version(), "0.9.", 4) == 0
	    ? version + strlen(version)
	    : NULL;
}

static bool
serves(const struct http_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	    (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* "*" is all of them. */
static bool
has_path(const struct http_route *route, const char *path)
{
	return strcmp(route->path, path) == 0 || strcmp(path, "*") == 0;
}

static void
add_allow(char *allow, const char *method, size_t size)
{
	bool gets = strcmp(method, "GET") == 0;

	if (strstr(allow, method) != NULL)
		return;
	if (*allow != '\0')
		strlcat(allow, ", ", size);
	strlcat(allow, gets ? "GET, HEAD" : method, size);
}

/* The route, or NULL and in *allow what the path knows instead, "" when
 * there is no such path. */
static const struct http_route *
find_route(const struct http *h, const char *method, const char *path,
    char *allow, size_t size)
{
	const struct http_route *route;

	*allow = '\0';
	for (route = h->routes; route->method != NULL; route++) {
		if (!has_path(route, path))
			continue;
		if (serves(route, method))
			return route;
		add_allow(allow, route->method, size);
	}
	return NULL;
}

static struct request *
request_new(struct link *l, const struct http_route *route, void *stand_in)
{
	struct request *r = xcalloc(1, sizeof(*r));

	r->link = l;
	r->route = route;
	r->shown.client = stand_in != NULL ? stand_in : l->client;
	r->shown.stand_in = stand_in;
	l->request = r;
	return r;
}

/* A browser asks whether a page of an allowed origin may. */
static bool
is_preflight(const struct link *l, const char *method)
{
	return l->origin != NULL && strcmp(method, "OPTIONS") == 0 &&
	    mhd.lookup_connection_value(l->connection, MHD_HEADER_KIND,
		"Access-Control-Request-Method") != NULL;
}

/* allow: what the path knows.  It may be a page of the Internet and we the
 * machine it is looked at on (Private Network Access). */
static enum MHD_Result
answer_preflight(struct link *l, const char *allow)
{
	static const char local[] = "Access-Control-Request-Private-Network";
	struct MHD_Response *response =
	    make_response(l, NULL, NULL, 0, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result queued;

	count_answer(MHD_HTTP_NO_CONTENT);
	mhd.add_response_header(
	    response, "Access-Control-Allow-Methods", allow);
	mhd.add_response_header(response, "Access-Control-Allow-Headers",
	    "Authorization, Content-Type, Last-Event-ID");
	mhd.add_response_header(response, "Access-Control-Max-Age", "600");
	if (mhd.lookup_connection_value(
		l->connection, MHD_HEADER_KIND, local) != NULL)
		mhd.add_response_header(
		    response, "Access-Control-Allow-Private-Network", "true");
	queued =
	    mhd.queue_response(l->connection, MHD_HTTP_NO_CONTENT, response);
	mhd.destroy_response(response);
	return queued;
}

static void
keep_origin(struct link *l, const struct http_head *head)
{
	free(l->origin);
	l->origin = http_head_is_from(head, l->http->conf->cors_origins)
	    ? xstrdup(head->origin)
	    : NULL;
}

/* The status to refuse the head with, or 0. */
static int
check_head(struct link *l, const struct http_head *head, const char **why)
{
	const struct http *h = l->http;
	struct http_house house = {
	    h->own_name, h->conf->cors_origins, (size_t)h->conf->max_request};

	keep_origin(l, head);
	return http_head_check(head, &house, why);
}

/* Who asks is known: a request from here, or not. */
static enum MHD_Result
admit(struct link *l, const struct http_route *route, const char *authorization,
    void **request)
{
	const struct http_ops *ops = l->http->ops;
	struct http_refusal no = {0};
	void *stand_in = NULL;

	if (authorization != NULL &&
	    !ops->authorize(l->client, authorization, &stand_in, &no))
		return refuse_as(l, &no);
	*request = request_new(l, route, stand_in);
	return MHD_YES;
}

/* The first call of a request: its head is here. */
static enum MHD_Result
begin(struct link *l, const char *path, const char *method, const char *version,
    void **request)
{
	struct http *h = l->http;
	struct http_head head = {.version = version,
	    .method = method,
	    .line_end = line_end_of(version)};
	const struct http_route *route;
	const char *why;
	char allow[64];
	int status;

	counter_add(http_requests, 1);
	mhd.get_connection_values(
	    l->connection, MHD_HEADER_KIND, add_header, &head);
	path = http_head_target(&head, path);
	status = check_head(l, &head, &why);
	if (status != 0)
		return refuse(l, status, why);
	route = find_route(h, method, path, allow, sizeof(allow));
	if (route == NULL && *allow == '\0')
		return refuse(l, 404, "there is no such page");
	if (is_preflight(l, method))
		return answer_preflight(l, allow);
	if (route == NULL)
		return refuse_as(l,
		    &(struct http_refusal){
			405, "not with this method", allow, 0});
	if (route->json && !media_type_is_json(head.content_type))
		return refuse(l, 415, "Content-Type must be application/json");
	return admit(l, route, head.authorization, request);
}

/* Who is still sending does not hear a refusal: the rest is thrown away
 * first, for a while. */
static void
discard_body(struct request *r)
{
	const struct daemon_conf *conf = r->link->http->conf;

	r->too_long = true;
	if (conf->request_timeout > LINGER_SECONDS)
		set_timer(r->link, LINGER_SECONDS);
	free(r->body);
	r->body = NULL;
	r->size = r->shown.len = 0;
}

/* More of a body: chunked ones show only now how long they are. */
static enum MHD_Result
collect(struct request *r, const char *data, size_t *len)
{
	size_t most = (size_t)r->link->http->conf->max_request;

	if (!r->too_long && r->shown.len + *len > most)
		discard_body(r);
	if (r->too_long) {
		*len = 0;
		return MHD_YES;
	}
	while (r->size < r->shown.len + *len + 1) {
		r->size = r->size ? 2 * r->size : 1024;
		r->body = xreallocarray(r->body, r->size, 1);
	}
	memcpy(r->body + r->shown.len, data, *len);
	r->shown.len += *len;
	*len = 0;
	return MHD_YES;
}

static enum MHD_Result
queue_answer(struct request *r)
{
	if (r->stage != STREAMING)
		r->stage = ANSWERED;
	return mhd.queue_response(r->link->connection, r->status, r->response);
}

/* The whole request is here. */
static enum MHD_Result
handle(struct request *r)
{
	DOING("HTTP request for", r->route->path);
	struct link *l = r->link;

	if (r->dropped)
		return MHD_NO;
	if (r->too_long)
		return refuse(l, 413, HTTP_BODY_TOO_LONG);
	if (r->stage == READING && l->http->closing)
		return refuse_late(r);
	if (r->stage == READING) {
		if (r->body != NULL)
			r->body[r->shown.len] = '\0';
		r->shown.body = r->body != NULL ? r->body : "";
		r->stage = HANDLED;
		r->route->handle(l->http->arg, &r->shown);
	}
	if (r->response != NULL)
		return queue_answer(r);
	r->stage = SUSPENDED;
	ev_timer_stop(l->http->loop, &l->late);
	hangup_watch(l->http->hangups, &l->hangup, l->fd, l);
	mhd.suspend_connection(l->connection);
	return MHD_YES;
}

static struct link *
link_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = mhd.get_connection_info(
	    connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info->socket_context;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *path,
    const char *method, const char *version, const char *data, size_t *len,
    void **request)
{
	struct link *l = link_of(connection);

	(void)arg;
	if (*request == NULL)
		return begin(l, path, method, version, request);
	if (*len > 0)
		return collect(*request, data, len);
	return handle(*request);
}

static void
stream_close(struct request *r)
{
	stream_clear(r);
	r->out.ops->closed(r->out.arg);
}

static void
request_free(struct request *r)
{
	struct link *l = r->link;

	hangup_forget(l->http->hangups, &l->hangup);
	if (r->stage == STREAMING)
		stream_close(r);
	l->http->ops->done(&r->shown);
	if (r->spare != NULL)
		spare_put(l->http, r->spare);
	else if (r->response != NULL)
		mhd.destroy_response(r->response);
	l->http->waiting -= r->len;
	l->request = NULL;
	free(r->body);
	free(r);
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **request,
    enum MHD_RequestTerminationCode how)
{
	struct link *l = link_of(connection);

	(void)arg;
	(void)how;
	if (*request != NULL)
		request_free(*request);
	*request = NULL;
	set_timer(l, END_SECONDS);
	l->may_have_ended = true;
}

/* Nobody waits for a suspended request, or reads a stream, any more. */
static void
drop(struct link *l)
{
	if (is_streaming(l)) {
		l->request->dropped = true;
		stream_wake(l->request);
	} else if (is_at_work(l)) {
		l->request->dropped = true;
		mhd.resume_connection(l->connection);
		run_soon(l->http);
	}
}

static void
on_hangup(void *arg)
{
	drop(arg);
}

/* ---- connections ---- */

static void
link_free(struct link *l)
{
	struct http *h = l->http;
	void *client = l->client;

	ev_timer_stop(h->loop, &l->late);
	TAILQ_REMOVE(&h->links, l, entry);
	if (h->late == l)
		h->late = NULL;
	free(l->origin);
	free(l);
	h->ops->closed(client);
}

/* The link that waits for the library to begin with its descriptor. */
static struct link *
link_of_new(struct http *h, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = mhd.get_connection_info(
	    connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct link *l;

	TAILQ_FOREACH (l, &h->links, entry)
		if (l->connection == NULL && l->fd == info->connect_fd)
			break;
	return l;
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode what)
{
	struct http *h = arg;
	struct link *l;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		l = link_of_new(h, connection);
		assert(l != NULL);
		l->connection = connection;
		*context = l;
	} else if (*context != NULL) {
		link_free(*context);
		*context = NULL;
	}
}

/* ---- beginning and end ---- */

static void
on_panic(void *arg, const char *file, unsigned line, const char *why)
{
	(void)arg;
	log_errorx("libmicrohttpd: %s:%u: %s", file, line,
	    why ? why : "no reason given");
	abort();
}

/* What the library cannot read it answers by itself, and tells only its log. */
static void
on_library_log(void *arg, const char *format, va_list ap)
{
	static const char words[] =
	    "Error processing request (HTTP response code is %u";
	int status;

	(void)arg;
	if (strncmp(format, words, sizeof(words) - 1) != 0)
		return;
	status = (int)va_arg(ap, unsigned);
	log_debug("libmicrohttpd has refused with %d", status);
	count_answer(status);
}

static int
hex_value(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = memchr(digits, c | ' ', sizeof(digits) - 1);

	return isxdigit((unsigned char)c) && at != NULL ? (int)(at - digits)
							: -1;
}

/* %XX of a target; "%00" stays, for a path must not end there. */
static size_t
unescape(void *arg, struct MHD_Connection *connection, char *s)
{
	char *from = s, *to = s;
	int high, low;

	(void)arg;
	(void)connection;
	while (*from != '\0') {
		high = *from == '%' ? hex_value(from[1]) : -1;
		low = high >= 0 ? hex_value(from[2]) : -1;
		if (low >= 0 && high + low > 0) {
			*to++ = (char)(high << 4 | low);
			from += 3;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
	return (size_t)(to - s);
}

static struct MHD_Daemon *
start_daemon(struct http *h)
{
	mhd.set_panic_func(on_panic, NULL);
	return mhd.start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
		MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER,
	    on_library_log, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
	    MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_LIMIT,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT,
	    MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_END);
}

static void
follow_daemon(struct http *h)
{
	int fd =
	    mhd.get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	ev_io_set(&h->io, fd, EV_READ);
	ev_io_start(h->loop, &h->io);
	ev_prepare_start(h->loop, &h->prepare);
}

/* With the first connection; false after saying why. */
static bool
is_ready(struct http *h)
{
	if (h->daemon)
		return true;
	if (!load_library())
		return false;
	h->daemon = start_daemon(h);
	if (h->daemon)
		follow_daemon(h);
	else
		log_error("libmicrohttpd does not start");
	return h->daemon != NULL;
}

static void
add(struct http *h, int fd, void *client)
{
	struct link *l = xcalloc(1, sizeof(*l));
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	l->http = h;
	l->client = client;
	l->fd = fd;
	ev_init(&l->late, on_late);
	l->late.data = l;
	TAILQ_INSERT_HEAD(&h->links, l, entry);
	set_deadline(l);
	getpeername(fd, (struct sockaddr *)&sa, &len);
	/* On failure it may have begun and ended already, or never begun. */
	if (mhd.add_connection(h->daemon, fd, (struct sockaddr *)&sa, len) ==
	    MHD_NO) {
		log_warn("connection not taken");
		l = TAILQ_FIRST(&h->links);
		if (l != NULL && l->fd == fd && l->connection == NULL)
			link_free(l);
	}
	run_soon(h);
}

void
http_add(struct http *h, int fd, void *client)
{
	if (is_ready(h)) {
		add(h, fd, client);
		return;
	}
	close(fd);
	h->ops->closed(client);
}

struct http *
http_new(struct ev_loop *loop, const struct daemon_conf *conf,
    const struct http_route *routes, const struct http_ops *ops, void *arg)
{
	struct http *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->conf = conf;
	h->routes = routes;
	h->ops = ops;
	h->arg = arg;
	TAILQ_INIT(&h->links);
	gethostname(h->own_name, sizeof(h->own_name) - 1);
	h->hangups = hangups_new(loop, on_hangup);
	ev_init(&h->io, on_event);
	ev_set_priority(&h->io, -1);
	ev_prepare_init(&h->prepare, on_prepare);
	ev_set_priority(&h->prepare, EV_MINPRI);
	ev_idle_init(&h->awake, on_awake);
	h->io.data = h->prepare.data = h;
	return h;
}

void
http_streams(
    struct http *h, void (*fn)(struct http_request *r, void *arg), void *arg)
{
	struct link *l, *next;

	TAILQ_FOREACH_SAFE (l, &h->links, entry, next)
		if (is_streaming(l) && !l->request->out.ended)
			fn(&l->request->shown, arg);
}

/* Nobody is suspended then, which the library wants. */
static void
leave(struct link *l)
{
	if (is_streaming(l))
		http_stream_end(&l->request->shown);
	else
		drop(l);
}

void
http_free(struct http *h)
{
	struct link *l;

	h->closing = true;
	TAILQ_FOREACH (l, &h->links, entry)
		leave(l);
	if (h->daemon) {
		run(h);
		mhd.stop_daemon(h->daemon);
	}
	assert(TAILQ_EMPTY(&h->links));
	spare_free(h->spare);
	ev_io_stop(h->loop, &h->io);
	ev_prepare_stop(h->loop, &h->prepare);
	ev_idle_stop(h->loop, &h->awake);
	hangups_free(h->hangups);
	free(h);
}

void
http_waiting(struct http *h, void (*fn)(struct http_request *r))
{
	struct link *l, *next;

	TAILQ_FOREACH_SAFE (l, &h->links, entry, next)
		if (is_at_work(l))
			fn(&l->request->shown);
}

/* ---- what was asked ---- */

struct query {
	void (*fn)(void *arg, const char *name, const char *value);
	void *arg;
};

static enum MHD_Result
on_query(
    void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	const struct query *q = arg;

	(void)kind;
	q->fn(q->arg, name, value != NULL ? value : "");
	return MHD_YES;
}

void
http_query(const struct http_request *shown,
    void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	const struct request *r = (const struct request *)shown;
	struct query q = {fn, arg};

	mhd.get_connection_values(
	    r->link->connection, MHD_GET_ARGUMENT_KIND, on_query, &q);
}

const char *
http_header(const struct http_request *shown, const char *name)
{
	const struct request *r = (const struct request *)shown;

	return mhd.lookup_connection_value(
	    r->link->connection, MHD_HEADER_KIND, name);
}

const char *
http_library_version(void)
{
	static char text[16];

	if (mhd.get_version)
		return mhd.get_version();
	snprintf(text, sizeof(text), "%x.%x.%x", MHD_VERSION >> 24,
	    MHD_VERSION >> 16 & 0xff, MHD_VERSION >> 8 & 0xff);
	return text;
}
