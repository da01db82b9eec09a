/* The connection to herod: lines of JSON-RPC over a blocking socket. */
#include "client.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "jsonrpc.h"
#include "mem.h"
#include "sock.h"
#include "tls_client.h"

#define CONNECT_PATIENCE 5.0 /* seconds */
#define LOST_MAX 10 /* connections in a row */
#define ANSWER_MAX ((size_t)1 << 30)

struct client {
	char *server;
	char *key; /* to log in by, or NULL */
	struct tls_files tls;
	int fd; /* -1: not connected */
	struct frame in;
	double deadline; /* monotonic seconds; 0: none */
	enum trouble trouble;
	unsigned lost; /* connections, since anything was heard */
	bool heard; /* something, since client_begin() */
};

struct client *
client_new(const char *server)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->server = xstrdup(server);
	c->fd = -1;
	frame_init(&c->in);
	return c;
}

static void
hang_up(struct client *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	frame_clear(&c->in);
	frame_init(&c->in);
}

void
client_free(struct client *c)
{
	if (c == NULL)
		return;
	hang_up(c);
	frame_clear(&c->in);
	client_set_key(c, NULL);
	free(c->server);
	free(c);
}

void
client_set_key(struct client *c, const char *key)
{
	char *old = c->key;

	c->key = key ? xstrdup(key) : NULL;
	if (old)
		explicit_bzero(old, strlen(old));
	free(old);
}

const char *
client_key(const struct client *c)
{
	return c->key;
}

void
client_set_tls(struct client *c, const struct tls_files *files)
{
	c->tls = *files;
}

const struct tls_files *
client_tls(const struct client *c)
{
	return &c->tls;
}

const char *
client_server(const struct client *c)
{
	return c->server;
}

enum trouble
client_trouble(const struct client *c)
{
	return c->trouble;
}

bool
client_may_repeat(struct client *c, struct err *e)
{
	if (c->trouble != TROUBLE_LOST || c->lost >= LOST_MAX)
		return false;
	c->lost++;
	c->trouble = TROUBLE_NONE;
	err_clear(e);
	return true;
}

/* A connection kept from an earlier command may have been closed since. */
static bool
is_closed(const struct client *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR);
}

void
client_begin(struct client *c, double seconds)
{
	c->deadline = seconds > 0 ? clock_monotonic() + seconds : 0;
	c->trouble = TROUBLE_NONE;
	c->heard = false;
	if (c->fd != -1 && is_closed(c))
		hang_up(c);
}

/* ---- refusals ---- */

static int
is_lost(struct client *c, struct err *e, const char *why)
{
	hang_up(c);
	c->trouble = TROUBLE_LOST;
	return err_set(e, ERR_SHUTTING_DOWN, "%s: the connection was lost: %s",
	    c->server, why);
}

static int
is_interrupted(struct client *c, struct err *e)
{
	hang_up(c);
	c->trouble = TROUBLE_INTERRUPTED;
	return err_set(e, ERR_TIMED_OUT, "interrupted");
}

static int
is_late(struct client *c, struct err *e)
{
	hang_up(c);
	return err_set(e, ERR_TIMED_OUT,
	    c->heard ? "%s: the time given is over"
		     : "no answer from %s within the time given",
	    c->server);
}

static void
hint_connect(struct err *e, int error)
{
	if (error == EACCES || error == EPERM)
		err_hint(e, "you may not use this socket; ask who runs herod");
	else
		err_hint(e,
		    "start herod, or name its address with -s or "
		    "HEROCTL_SERVER");
}

static bool
is_tls(const char *server)
{
	return strncmp(server, "tls:", 4) == 0;
}

/* HTTP is spoken at the same port; lines are simpler and faster. */
static int
refuse_http(const char *server, struct err *e)
{
	const char *host = strstr(server, "://") + 3;

	err_set(e, ERR_PARAMS, "%s: heroctl does not speak HTTP", server);
	return err_hint(e, "the same port takes %s:%.*s",
	    server[4] == 's' ? "tls" : "tcp", (int)strcspn(host, "/"), host);
}

/* tls:HOST:PORT is tcp:HOST:PORT for who dials. */
static int
parse_tls(const char *server, struct address *a, struct err *e)
{
	char *tcp = xasprintf("tcp:%s", server + 4);
	int bad = address_parse(a, tcp, e);

	free(tcp);
	return bad;
}

static int
parse_server(const char *server, struct address *a, struct err *e)
{
	if (strncmp(server, "http://", 7) == 0 ||
	    strncmp(server, "https://", 8) == 0)
		return refuse_http(server, e);
	if (is_tls(server))
		return parse_tls(server, a, e);
	return address_parse(a, server, e);
}

char *
client_default_server(void)
{
	char *dir = runtime_dir_default();
	char *server = xasprintf("unix:%s/herod.sock", dir);

	free(dir);
	return server;
}

/* The default door of others than root is their own herod's; in /tmp
 * anybody may have put a socket of that name. */
static bool
is_strangers(const struct client *c)
{
	char *own = client_default_server();
	bool is_own = strcmp(c->server, own) == 0;
	uid_t uid;
	gid_t gid;
	pid_t pid;

	free(own);
	return is_own && geteuid() != 0 && sock_peer(c->fd, &uid, &gid, &pid) &&
	    uid != 0 && uid != geteuid();
}

static int
refuse_stranger(struct client *c, struct err *e)
{
	hang_up(c);
	c->trouble = TROUBLE_AWAY;
	err_set(e, ERR_FORBIDDEN, "%s: the program there is another user's",
	    c->server);
	return err_hint(
	    e, "remove it, or set XDG_RUNTIME_DIR to a directory of your own");
}

/* The name that its certificate must be for; new. */
static char *
host_of(const char *server)
{
	char *host = xstrdup(server + 4 + (server[4] == '['));
	char *end = strrchr(host, ':');

	if (end > host && end[-1] == ']')
		end--;
	*end = '\0';
	return host;
}

static void
hint_tls(const struct client *c, enum err_code why, struct err *e)
{
	if (why == ERR_SHUTTING_DOWN)
		err_hint(e, "the herod there may have no tls_cert");
	else if (why == ERR_UNAUTHORIZED)
		err_hint(e, "%s",
		    c->tls.ca ? "--tls-ca names who must have signed its "
				"certificate"
			      : "who is not known to this system must be named "
				"with --tls-ca or HEROCTL_TLS_CA");
}

static int
refuse_tls(struct client *c, const struct err *why, struct err *e)
{
	if (why->code == ERR_TIMED_OUT && c->deadline > 0)
		return is_late(c, e);
	/* A file of ours, or the other side. */
	c->trouble = why->code == ERR_PARAMS ? TROUBLE_ADDRESS : TROUBLE_AWAY;
	err_set(e, why->code, "%s: %s", c->server, why->text);
	if (why->hint[0] != '\0')
		return err_hint(e, "%s", why->hint);
	hint_tls(c, why->code, e);
	return -1;
}

static int
speak_tls(struct client *c, struct err *e)
{
	double deadline = c->deadline > 0
	    ? c->deadline
	    : clock_monotonic() + CONNECT_PATIENCE;
	char *host = host_of(c->server);
	struct err why = {0};
	bool was_interrupted;

	c->fd = tls_connect(c->fd, host, &c->tls, deadline, &why);
	was_interrupted = why.code == ERR_TIMED_OUT && errno == EINTR;
	free(host);
	if (was_interrupted)
		return is_interrupted(c, e);
	return c->fd != -1 ? 0 : refuse_tls(c, &why, e);
}

static int
dial(struct client *c, struct err *e)
{
	double left = c->deadline > 0 ? c->deadline - clock_monotonic()
				      : CONNECT_PATIENCE;
	struct err why = {0};
	struct address a;
	int error;

	if (parse_server(c->server, &a, e) != 0) {
		c->trouble = TROUBLE_ADDRESS;
		return -1;
	}
	errno = 0;
	c->fd = address_connect(&a, fmax(left, 0.001), &why);
	if (c->fd != -1 && is_tls(c->server))
		return speak_tls(c, e);
	if (c->fd != -1)
		return is_strangers(c) ? refuse_stranger(c, e) : 0;
	error = errno;
	if (error == EINTR)
		return is_interrupted(c, e);
	c->trouble = TROUBLE_AWAY;
	err_set(e, ERR_SHUTTING_DOWN, "no daemon at %s: %s", c->server,
	    error ? strerror(error) : why.text);
	hint_connect(e, error);
	return -1;
}

/* ---- bytes ---- */

/* Waits until the socket is ready; -1 with a refusal. */
static int
wait_ready(struct client *c, short events, struct err *e)
{
	struct pollfd p = {.fd = c->fd, .events = events};
	double left = c->deadline > 0 ? c->deadline - clock_monotonic() : 0;
	int n;

	if (c->deadline > 0 && left <= 0)
		return is_late(c, e);
	n = poll(
	    &p, 1, c->deadline > 0 ? (int)fmin(ceil(left * 1000), 1e9) : -1);
	if (n == -1 && errno == EINTR)
		return is_interrupted(c, e);
	if (n == -1)
		return is_lost(c, e, strerror(errno));
	return n == 0 ? is_late(c, e) : 0;
}

/* A refusal may be on its way although herod takes no more of ours. */
static bool
is_refused_early(int error)
{
	return error == EPIPE || error == ECONNRESET;
}

static int
write_all(struct client *c, const char *text, size_t len, struct err *e)
{
	ssize_t n;

	while (len > 0) {
		if (wait_ready(c, POLLOUT, e) != 0)
			return -1;
		n = send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && is_refused_early(errno))
			return 0;
		if (n == -1 && errno != EAGAIN && errno != EINTR)
			return is_lost(c, e, strerror(errno));
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int
read_some(struct client *c, struct err *e)
{
	size_t room;
	char *to;
	ssize_t n;

	if (wait_ready(c, POLLIN, e) != 0)
		return -1;
	if (frame_rest(&c->in) > ANSWER_MAX) {
		is_lost(c, e, "its answer is too long");
		c->trouble = TROUBLE_AWAY; /* the next would be no shorter */
		return -1;
	}
	to = frame_room(&c->in, 65536, &room);
	n = recv(c->fd, to, room, MSG_DONTWAIT);
	if (n == 0)
		return is_lost(c, e, "herod closed it");
	if (n == -1)
		return errno == EAGAIN || errno == EINTR
		    ? 0
		    : is_lost(c, e, strerror(errno));
	frame_add(&c->in, (size_t)n);
	return 0;
}

/* ---- messages ---- */

json_t *
client_receive(struct client *c, struct err *e)
{
	json_t *message;
	size_t len;
	char *line;

	if (c->fd == -1) {
		is_lost(c, e, "herod closed it");
		return NULL;
	}
	while ((line = frame_line(&c->in, &len)) == NULL)
		if (read_some(c, e) != 0)
			return NULL;
	c->lost = 0;
	c->heard = true;
	message = jsonrpc_parse_answer(line, len, e);
	if (message == NULL || !json_is_object(message)) {
		json_decref(message);
		err_clear(e);
		is_lost(c, e, "what answers does not speak JSON-RPC");
		c->trouble = TROUBLE_AWAY; /* nor would it the next time */
		return NULL;
	}
	return message;
}

const json_t *
client_result(const json_t *answer, struct err *e)
{
	const json_t *error = json_object_get(answer, "error");
	const json_t *result = json_object_get(answer, "result");

	if (error) {
		err_from_json(e, error);
		return NULL;
	}
	if (result == NULL)
		err_set(e, ERR_INTERNAL, "herod's answer has no result");
	return result;
}

static int
send_request(struct client *c, json_t *stolen, struct err *e)
{
	size_t len;
	char *text = jsonrpc_text(stolen, &len);
	int bad = write_all(c, text, len, e);

	explicit_bzero(text, len);
	free(text);
	json_decref(stolen);
	return bad;
}

/* First of all; what comes back is the answer to it. */
static int
log_in(struct client *c, struct err *e)
{
	json_t *request =
	    jsonrpc_request("auth.login", json_pack("{s:s}", "key", c->key), 0);
	json_t *answer = NULL;
	int bad = -1;

	if (send_request(c, request, e) == 0)
		answer = client_receive(c, e);
	if (answer != NULL && client_result(answer, e) != NULL)
		bad = 0;
	json_decref(answer);
	if (bad)
		hang_up(c);
	return bad;
}

static int
connect_to(struct client *c, struct err *e)
{
	if (dial(c, e) != 0)
		return -1;
	return c->key ? log_in(c, e) : 0;
}

int
client_send(struct client *c, const char *method, json_t *stolen, long long id,
    struct err *e)
{
	json_t *request = jsonrpc_request(method, stolen, id);

	if (c->fd == -1 && connect_to(c, e) != 0) {
		json_decref(request);
		return -1;
	}
	return send_request(c, request, e);
}
