/*
 * TLS by GnuTLS, the only file that knows it.
 *
 * There are no session tickets: a resumed session would stand for a
 * certificate that nobody has looked at again.  A peer that ends without
 * close_notify counts as one that ends: a line of JSON and a body with its
 * length are whole or they are not, whoever has cut them.
 */
#define LOG_MODULE "tls"
#include "tls.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "log.h"
#include "mem.h"

#define RECORD 16384 /* the largest of the protocol */
#define RECORDS_A_TURN 4
#define INSIDE_BUFFER 32768 /* bytes, of the kernel's */
#define PRIORITIES \
	"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

/* ---- the library ---- */

#define FUNCTIONS(F) \
	F(alert_send_appropriate) \
	F(bye) \
	F(certificate_allocate_credentials) \
	F(certificate_free_credentials) \
	F(certificate_get_crt_raw) \
	F(certificate_get_peers) \
	F(certificate_server_set_request) \
	F(certificate_set_x509_key_file2) \
	F(certificate_set_x509_system_trust) \
	F(certificate_set_x509_trust_file) \
	F(certificate_verification_status_print) \
	F(certificate_verify_peers) \
	F(credentials_set) \
	F(deinit) \
	F(error_is_fatal) \
	F(handshake) \
	F(init) \
	F(priority_set_direct) \
	F(record_get_direction) \
	F(record_get_max_size) \
	F(record_recv) \
	F(record_send) \
	F(server_name_set) \
	F(session_get_verify_cert_status) \
	F(session_set_verify_cert2) \
	F(strerror) \
	F(transport_set_int2) \
	F(x509_crt_deinit) \
	F(x509_crt_get_dn3) \
	F(x509_crt_get_expiration_time) \
	F(x509_crt_import) \
	F(x509_crt_init)

static struct {
#define MEMBER(name) __typeof__(gnutls_##name) *name;
	FUNCTIONS(MEMBER)
#undef MEMBER
} lib;

static int
load_library(struct err *e)
{
	void *library;
	bool found;

	if (lib.init != NULL)
		return 0;
	library = dlopen(GNUTLS_SONAME, RTLD_NOW | RTLD_LOCAL);
	found = library != NULL;
#define LOOK_UP(name) \
	lib.name = found \
	    ? (__typeof__(lib.name))dlsym(library, "gnutls_" #name) \
	    : NULL; \
	found = lib.name != NULL;
	FUNCTIONS(LOOK_UP)
#undef LOOK_UP
	if (found)
		return 0;
	lib.init = NULL;
	return err_set(
	    e, ERR_INTERNAL, "TLS: GnuTLS cannot be loaded: %s", dlerror());
}

/* ---- credentials ---- */

struct tls_credentials {
	gnutls_certificate_credentials_t gnutls;
	unsigned references;
	gnutls_certificate_request_t request; /* of a server */
	bool is_server;
	double valid_until;
};

void
tls_credentials_drop(struct tls_credentials *c)
{
	if (c == NULL || --c->references > 0)
		return;
	lib.certificate_free_credentials(c->gnutls);
	free(c);
}

static struct tls_credentials *
credentials_new(struct err *e)
{
	struct tls_credentials *c;

	if (load_library(e) != 0)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	c->references = 1;
	if (lib.certificate_allocate_credentials(&c->gnutls) == 0)
		return c;
	free(c);
	err_set(e, ERR_INTERNAL, "TLS: no memory");
	return NULL;
}

/* GnuTLS says of a missing file only that it could not be read; and for one
 * that never ends, such as a FIFO, a daemon would wait for ever. */
static int
check_file(const struct tls_credentials *c, const char *path, const char *what,
    struct err *e)
{
	struct stat st;

	if (access(path, R_OK) != 0 || stat(path, &st) != 0)
		return err_set(
		    e, ERR_PARAMS, "%s %s: %s", what, path, strerror(errno));
	if (!c->is_server || S_ISREG(st.st_mode))
		return 0;
	return err_set(
	    e, ERR_PARAMS, "%s %s: wanted a regular file", what, path);
}

static int
check_key_file(const struct tls_credentials *c, const char *path, struct err *e)
{
	struct stat st;

	if (check_file(c, path, "tls_key", e) != 0)
		return -1;
	if (stat(path, &st) != 0 || (st.st_mode & S_IRWXO) == 0)
		return 0;
	err_set(
	    e, ERR_PARAMS, "tls_key %s: everybody may read or write it", path);
	return err_hint(e, "chmod o= %s", path);
}

static int
hint_of_files(int bad, struct err *e)
{
	if (bad == GNUTLS_E_DECRYPTION_FAILED)
		return err_hint(e, "wanted a key without a passphrase");
	if (bad == GNUTLS_E_BASE64_DECODING_ERROR ||
	    bad == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return err_hint(e, "wanted PEM, which has -----BEGIN lines");
	return -1;
}

static double
expiration(gnutls_certificate_credentials_t credentials)
{
	gnutls_x509_crt_t crt;
	gnutls_datum_t der;
	double at = 0;

	if (lib.certificate_get_crt_raw(credentials, 0, 0, &der) != 0 ||
	    lib.x509_crt_init(&crt) != 0)
		return 0;
	if (lib.x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER) == 0)
		at = (double)lib.x509_crt_get_expiration_time(crt);
	lib.x509_crt_deinit(crt);
	return at;
}

static int
read_cert(
    struct tls_credentials *c, const struct tls_files *files, struct err *e)
{
	const char *key = files->key ? files->key : files->cert;
	int n;

	if (check_file(c, files->cert, "tls_cert", e) != 0 ||
	    check_key_file(c, key, e) != 0)
		return -1;
	n = lib.certificate_set_x509_key_file2(
	    c->gnutls, files->cert, key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (n < 0) {
		err_set(e, ERR_PARAMS, "tls_cert %s, tls_key %s: %s",
		    files->cert, key, lib.strerror(n));
		return hint_of_files(n, e);
	}
	c->valid_until = expiration(c->gnutls);
	return 0;
}

static int
read_ca(struct tls_credentials *c, const char *path, const char *what,
    struct err *e)
{
	int n;

	if (check_file(c, path, what, e) != 0)
		return -1;
	n = lib.certificate_set_x509_trust_file(
	    c->gnutls, path, GNUTLS_X509_FMT_PEM);
	if (n > 0)
		return 0;
	return err_set(e, ERR_PARAMS, "%s %s: %s", what, path,
	    n < 0 ? lib.strerror(n) : "there is no certificate in it");
}

struct tls_credentials *
tls_server(const struct tls_files *files, struct err *e)
{
	struct tls_credentials *c = credentials_new(e);

	if (c == NULL)
		return NULL;
	c->is_server = true;
	c->request = GNUTLS_CERT_IGNORE;
	if (files->ca)
		c->request = files->ca_required ? GNUTLS_CERT_REQUIRE
						: GNUTLS_CERT_REQUEST;
	if (read_cert(c, files, e) == 0 &&
	    (!files->ca || read_ca(c, files->ca, "tls_client_ca", e) == 0))
		return c;
	tls_credentials_drop(c);
	return NULL;
}

struct tls_credentials *
tls_client(const struct tls_files *files, struct err *e)
{
	struct tls_credentials *c = credentials_new(e);
	bool good;

	if (c == NULL)
		return NULL;
	good = !files->cert || read_cert(c, files, e) == 0;
	if (good && files->ca)
		good = read_ca(c, files->ca, "tls_ca", e) == 0;
	else if (good)
		lib.certificate_set_x509_system_trust(c->gnutls);
	if (good)
		return c;
	tls_credentials_drop(c);
	return NULL;
}

double
tls_valid_until(const struct tls_credentials *c)
{
	return c->valid_until;
}

/* ---- one connection ---- */

/* What has been taken from one side and not all given to the other. */
struct half {
	char *rest;
	size_t len, at;
	bool ended; /* no more comes from the side that gives */
};

struct tls_pipe {
	struct tls_credentials *credentials;
	gnutls_session_t session;
	int outside, inside, program;
	enum tls_state state;
	struct half in, out;
	size_t record; /* bytes that the peer takes in one */
	char *host;
	gnutls_typed_vdata_st server[2]; /* what its certificate is to be for */
	bool in_wants_write; /* TLS has to answer before it can read */
	bool deaf; /* the program takes no more */
	bool said_bye;
	bool distrusts;
	char *subject;
	char *why;
};

static void
end(struct tls_pipe *p, const char *why)
{
	p->state = TLS_OVER;
	if (p->why == NULL)
		p->why = xstrdup(why);
}

static bool
is_to_wait(ssize_t n)
{
	return n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
}

static void
half_keep(struct half *h, const char *bytes, size_t len)
{
	h->rest = xmalloc(len);
	memcpy(h->rest, bytes, len);
	h->len = len;
	h->at = 0;
}

/* n bytes more of the rest are gone. */
static void
half_sent(struct half *h, size_t n)
{
	h->at += n;
	if (h->at < h->len)
		return;
	free(h->rest);
	h->rest = NULL;
	h->len = h->at = 0;
}

/* ---- hands ---- */

/* Which no server name may be (RFC 6066); one with colons is refused. */
static bool
is_address(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 ||
	    inet_pton(AF_INET6, host, &any) == 1;
}

/* What the other side's certificate is to be for; GnuTLS looks later. */
static void
want_server(struct tls_pipe *p, const char *host)
{
	p->host = xstrdup(host);
	p->server[0] = (gnutls_typed_vdata_st){
	    .type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)p->host};
	p->server[1] =
	    (gnutls_typed_vdata_st){.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_SERVER};
	lib.session_set_verify_cert2(p->session, p->server, 2, 0);
}

static int
init_session(struct tls_pipe *p, const char *host)
{
	struct tls_credentials *c = p->credentials;
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;
	int bad = lib.init(&p->session,
	    flags | (c->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT));

	if (bad) {
		p->session = NULL;
		return bad;
	}
	bad = lib.priority_set_direct(p->session, PRIORITIES, NULL);
	if (!bad)
		bad = lib.credentials_set(
		    p->session, GNUTLS_CRD_CERTIFICATE, c->gnutls);
	lib.transport_set_int2(p->session, p->outside, p->outside);
	if (c->is_server)
		lib.certificate_server_set_request(p->session, c->request);
	else if (host) {
		if (!is_address(host))
			lib.server_name_set(
			    p->session, GNUTLS_NAME_DNS, host, strlen(host));
		want_server(p, host);
	}
	return bad;
}

struct tls_pipe *
tls_pipe_new(struct tls_credentials *c, int outside, const char *host)
{
	struct tls_pipe *p = xcalloc(1, sizeof(*p));
	int bad;

	c->references++;
	p->credentials = c;
	p->outside = outside;
	p->inside = p->program = -1;
	p->state = TLS_SHAKING;
	bad = init_session(p, host);
	if (bad)
		end(p, lib.strerror(bad));
	return p;
}

/* With bytes unread the kernel would throw away our last, at the other end:
 * the alert that tells why. */
static void
close_outside(int fd)
{
	char bytes[RECORD];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes))
		continue;
	close(fd);
}

void
tls_pipe_free(struct tls_pipe *p)
{
	if (p->session)
		lib.deinit(p->session);
	close_outside(p->outside);
	if (p->inside != -1)
		close(p->inside);
	if (p->program != -1)
		close(p->program);
	tls_credentials_drop(p->credentials);
	free(p->in.rest);
	free(p->out.rest);
	free(p->host);
	free(p->subject);
	free(p->why);
	free(p);
}

static void
end_by_certificate(struct tls_pipe *p, unsigned status)
{
	gnutls_datum_t text;

	p->distrusts = true;
	if (lib.certificate_verification_status_print(
		status, GNUTLS_CRT_X509, &text, 0) != 0) {
		end(p, "the certificate is not good");
		return;
	}
	end(p, (const char *)text.data);
	free(text.data);
}

/* What the client has shown, which is to be a client's. */
static int
verify_client(struct tls_pipe *p)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
	    .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned status;
	int bad =
	    lib.certificate_verify_peers(p->session, &purpose, 1, &status);

	if (bad)
		end(p, lib.strerror(bad));
	else if (status)
		end_by_certificate(p, status);
	if (!bad && !status)
		return 0;
	lib.alert_send_appropriate(p->session, GNUTLS_E_CERTIFICATE_ERROR);
	return -1;
}

/* RFC 4514 lets control characters stand as they are; a log does not. */
static char *
escape(const gnutls_datum_t *dn)
{
	char *text = xmalloc(3 * (size_t)dn->size + 1), *at = text;
	unsigned i;

	for (i = 0; i < dn->size; i++)
		if (dn->data[i] < ' ' || dn->data[i] == 0x7f)
			at += sprintf(at, "\\%02X", dn->data[i]);
		else
			*at++ = (char)dn->data[i];
	*at = '\0';
	return text;
}

static void
read_subject(struct tls_pipe *p, const gnutls_datum_t *der)
{
	gnutls_x509_crt_t crt;
	gnutls_datum_t dn;

	if (lib.x509_crt_init(&crt) != 0)
		return;
	if (lib.x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0 &&
	    lib.x509_crt_get_dn3(crt, &dn, 0) == 0) {
		p->subject = escape(&dn);
		free(dn.data); /* gnutls_free */
	}
	lib.x509_crt_deinit(crt);
}

static int
look_at_client(struct tls_pipe *p)
{
	const gnutls_datum_t *shown;
	unsigned n = 0;

	if (p->credentials->request == GNUTLS_CERT_IGNORE)
		return 0;
	shown = lib.certificate_get_peers(p->session, &n);
	if (shown == NULL || n == 0)
		return 0;
	if (verify_client(p) != 0)
		return -1;
	read_subject(p, shown);
	return 0;
}

static int
open_inside(struct tls_pipe *p)
{
	int pair[2], size = INSIDE_BUFFER, i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		pair) == -1) {
		end(p, strerror(errno));
		return -1;
	}
	for (i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	p->inside = pair[0];
	p->program = pair[1];
	return 0;
}

static void
end_handshake(struct tls_pipe *p, int error)
{
	if (error == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		end_by_certificate(
		    p, lib.session_get_verify_cert_status(p->session));
	else
		end(p, lib.strerror(error));
	lib.alert_send_appropriate(p->session, error);
}

/*
 * A client of TLS 1.2 may have asked for small ones (max_fragment_length, RFC
 * 6066).  GnuTLS 3.7 agrees and, as a server, forgets it with the handshake.
 * That of RFC 8449, and of TLS 1.3, it keeps.
 */
static size_t
record_size(const struct tls_pipe *p)
{
	size_t agreed = lib.record_get_max_size(p->session);

	return agreed > 0 && agreed < RECORD ? agreed : RECORD;
}

static void
shake(struct tls_pipe *p)
{
	int bad = lib.handshake(p->session);

	if (bad == 0) {
		p->record = record_size(p);
		if ((!p->credentials->is_server || look_at_client(p) == 0) &&
		    open_inside(p) == 0)
			p->state = TLS_READY;
	} else if (lib.error_is_fatal(bad)) {
		end_handshake(p, bad);
	}
}

/* ---- bytes ---- */

/* To the program; what it does not take now is kept. */
static void
give_inside(struct tls_pipe *p, const char *bytes, size_t len)
{
	ssize_t n;

	if (p->deaf)
		return;
	n = send(p->inside, bytes, len, MSG_NOSIGNAL);
	if (n == -1 && errno != EAGAIN && errno != EINTR)
		p->deaf = true;
	else if (n < (ssize_t)len)
		half_keep(&p->in, bytes + (n > 0 ? n : 0),
		    len - (size_t)(n > 0 ? n : 0));
}

static bool
give_inside_again(struct tls_pipe *p)
{
	struct half *h = &p->in;
	ssize_t n =
	    send(p->inside, h->rest + h->at, h->len - h->at, MSG_NOSIGNAL);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	p->deaf = n == -1;
	half_sent(h, n == -1 ? h->len : (size_t)n);
	return true;
}

static void
end_of_peer(struct tls_pipe *p)
{
	p->in.ended = true;
	shutdown(p->inside, SHUT_WR);
}

/*
 * A server reads nothing while a record is half sent: one that asks for new
 * keys would make GnuTLS send the rest of it twice, the second time as a record
 * of its own.  Clients go on, else two of us could wait for each other.
 */
static bool
is_deaf_while_sending(const struct tls_pipe *p)
{
	return p->credentials->is_server && p->out.rest != NULL;
}

/* From the peer to the program.  False: there is something to wait for. */
static bool
pull(struct tls_pipe *p)
{
	char bytes[RECORD];
	ssize_t n;

	if (p->in.rest)
		return give_inside_again(p);
	if (p->in.ended || is_deaf_while_sending(p))
		return false;
	n = lib.record_recv(p->session, bytes, sizeof(bytes));
	p->in_wants_write =
	    is_to_wait(n) && lib.record_get_direction(p->session);
	if (is_to_wait(n))
		return false;
	if (n > 0)
		give_inside(p, bytes, (size_t)n);
	else if (n == 0 || n == GNUTLS_E_PREMATURE_TERMINATION)
		end_of_peer(p);
	else if (n == GNUTLS_E_REHANDSHAKE || lib.error_is_fatal((int)n))
		end(p, lib.strerror((int)n));
	return true;
}

/* n is what record_send() made of len bytes; those it has to be told again,
 * the same ones, are kept. */
static bool
sent_outside(struct tls_pipe *p, const char *bytes, size_t len, ssize_t n)
{
	struct half *h = &p->out;

	if (n < 0 && !is_to_wait(n)) {
		end(p, lib.strerror((int)n));
		return false;
	}
	if (h->rest && n > 0)
		half_sent(h, (size_t)n);
	else if (!h->rest && n < (ssize_t)len)
		half_keep(
		    h, bytes + (n > 0 ? n : 0), len - (size_t)(n > 0 ? n : 0));
	return n > 0;
}

/* A client's descriptor ends when it is closed: its server looks then whether
 * somebody still holds it, and does not hear of a close behind a shutdown. */
static bool
say_bye(struct tls_pipe *p)
{
	int bad = lib.bye(p->session, GNUTLS_SHUT_WR);

	if (is_to_wait(bad))
		return false;
	p->said_bye = true;
	if (bad)
		end(p, lib.strerror(bad));
	else if (p->credentials->is_server)
		shutdown(p->outside, SHUT_WR);
	return true;
}

/* From the program to the peer. */
static bool
push(struct tls_pipe *p)
{
	struct half *h = &p->out;
	char bytes[RECORD];
	ssize_t n;

	if (h->rest)
		return sent_outside(p, NULL, h->len - h->at,
		    lib.record_send(
			p->session, h->rest + h->at, h->len - h->at));
	if (h->ended)
		return !p->said_bye && say_bye(p);
	n = recv(p->inside, bytes, p->record, 0);
	if (n > 0)
		return sent_outside(p, bytes, (size_t)n,
		    lib.record_send(p->session, bytes, (size_t)n));
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	h->ended = true;
	return true;
}

static void
carry(struct tls_pipe *p, struct tls_wants *wants)
{
	bool pulled = true, pushed = true;
	int n;

	for (n = 0; n < RECORDS_A_TURN && p->state == TLS_OPEN; n++) {
		pulled = pulled && pull(p);
		if (p->state == TLS_OPEN)
			pushed = pushed && push(p);
	}
	if (p->state == TLS_OPEN && p->in.ended && !p->in.rest && p->said_bye)
		end(p, "done");
	wants->again = pulled || pushed;
}

static void
tell_wants(const struct tls_pipe *p, struct tls_wants *wants)
{
	if (p->state == TLS_SHAKING) {
		wants->outside_write = lib.record_get_direction(p->session);
		wants->outside_read = !wants->outside_write;
		return;
	}
	wants->outside_read =
	    !p->in.ended && !p->in.rest && !is_deaf_while_sending(p);
	wants->outside_write =
	    p->in_wants_write || p->out.rest || (p->out.ended && !p->said_bye);
	wants->inside_read = !p->out.ended && !p->out.rest;
	wants->inside_write = p->in.rest != NULL;
	wants->outside_hangup =
	    p->in.ended && !p->in.rest && !wants->outside_write;
}

enum tls_state
tls_pipe_run(struct tls_pipe *p, struct tls_wants *wants)
{
	memset(wants, 0, sizeof(*wants));
	if (p->state == TLS_READY)
		p->state = TLS_OPEN;
	if (p->state == TLS_SHAKING)
		shake(p);
	else if (p->state == TLS_OPEN)
		carry(p, wants);
	if (p->state != TLS_OVER)
		tell_wants(p, wants);
	return p->state;
}

void
tls_pipe_finish(struct tls_pipe *p)
{
	/* The kernel holds no more of ours than its buffer. */
	int n = 4 * INSIDE_BUFFER / RECORD;

	if (p->state != TLS_OPEN && p->state != TLS_READY)
		return;
	while (n-- > 0 && push(p))
		continue;
	if (p->state != TLS_OVER && !p->out.rest && !p->said_bye)
		say_bye(p);
}

int
tls_pipe_outside(const struct tls_pipe *p)
{
	return p->outside;
}

int
tls_pipe_inside(const struct tls_pipe *p)
{
	return p->inside;
}

int
tls_pipe_program(struct tls_pipe *p)
{
	int fd = p->program;

	p->program = -1;
	return fd;
}

const char *
tls_pipe_subject(const struct tls_pipe *p)
{
	return p->subject ? p->subject : "";
}

const char *
tls_pipe_why(const struct tls_pipe *p)
{
	return p->why ? p->why : "";
}

bool
tls_pipe_distrusts(const struct tls_pipe *p)
{
	return p->distrusts;
}
