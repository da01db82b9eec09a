/* What a tls_pipe carries arrives whole, whatever TLS has to say between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "check.h"
#include "fake/certificate.h"
#include "tls.h"

struct fixture {
	struct tls_pipe *pipe;
	int program;
	gnutls_session_t peer;
	gnutls_certificate_credentials_t trust;
};

static gnutls_session_t
peer_new(struct fixture *f, int fd)
{
	gnutls_session_t peer;

	gnutls_certificate_allocate_credentials(&f->trust);
	check_int(gnutls_init(&peer, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
	gnutls_set_default_priority(peer);
	gnutls_credentials_set(peer, GNUTLS_CRD_CERTIFICATE, f->trust);
	gnutls_transport_set_int(peer, fd);
	return peer;
}

static enum tls_state
step(struct fixture *f)
{
	struct tls_wants wants;

	return tls_pipe_run(f->pipe, &wants);
}

static struct fixture *
start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct tls_credentials *c = make_certificate();
	int pair[2], shaken;

	check(f != NULL);
	check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	f->pipe = tls_pipe_new(c, pair[0], NULL);
	tls_credentials_drop(c);
	f->peer = peer_new(f, pair[1]);
	do {
		shaken = gnutls_handshake(f->peer);
		check(!gnutls_error_is_fatal(shaken));
	} while (step(f) == TLS_SHAKING || shaken != 0);
	f->program = tls_pipe_program(f->pipe);
	return f;
}

static void
end(struct fixture *f)
{
	close(f->program);
	close(gnutls_transport_get_int(f->peer));
	gnutls_deinit(f->peer);
	gnutls_certificate_free_credentials(f->trust);
	tls_pipe_free(f->pipe);
	free(f);
}

/* Bytes that tell their place, until no more fit in; how many. */
static size_t
fill(struct fixture *f)
{
	unsigned place[1024];
	size_t sent = 0, i;
	int blocked = 0;
	ssize_t n;

	while (blocked < 10) {
		for (i = 0; i < 1024; i++)
			place[i] = (unsigned)(sent / sizeof(place[0]) + i);
		n = write(f->program, place, sizeof(place));
		check(n == -1 || n % (ssize_t)sizeof(place[0]) == 0);
		sent += n > 0 ? (size_t)n : 0;
		blocked = n > 0 ? 0 : blocked + 1;
		check(step(f) == TLS_OPEN);
	}
	return sent;
}

static void
check_all_arrives(struct fixture *f, size_t sent)
{
	unsigned char bytes[16384];
	unsigned place;
	size_t got = 0;
	ssize_t n, i;

	while (got < sent) {
		check(step(f) == TLS_OPEN);
		n = gnutls_record_recv(f->peer, bytes, sizeof(bytes));
		if (n == GNUTLS_E_AGAIN)
			continue;
		check(n > 0);
		for (i = 0; i < n; i += (ssize_t)sizeof(place)) {
			memcpy(&place, bytes + i, sizeof(place));
			check_int(place, got / sizeof(place));
			got += sizeof(place);
		}
	}
}

void
test_keys_may_change_while_a_record_is_half_sent(void)
{
	struct fixture *f = start();
	size_t sent;
	int i;

	for (i = 0; i < 3; i++) {
		sent = fill(f);
		check(sent > 100000);
		check_int(
		    gnutls_session_key_update(f->peer, GNUTLS_KU_PEER), 0);
		check(step(f) == TLS_OPEN);
		check_all_arrives(f, sent);
	}
	end(f);
}

static const char *
shake_hands(const char *host)
{
	struct tls_files files = {.ca = "cert.pem"};
	struct tls_credentials *c = make_certificate(), *trust;
	struct tls_pipe *server, *client;
	struct tls_wants wants;
	enum tls_state state;
	struct err e = {0};
	int pair[2];
	static char why[200];

	trust = tls_client(&files, &e);
	check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	server = tls_pipe_new(c, pair[0], NULL);
	client = tls_pipe_new(trust, pair[1], host);
	while ((state = tls_pipe_run(client, &wants)) == TLS_SHAKING)
		tls_pipe_run(server, &wants);
	snprintf(why, sizeof(why), "%s", tls_pipe_why(client));
	check(state == TLS_READY || *why != '\0');
	tls_pipe_free(client);
	tls_pipe_free(server);
	tls_credentials_drop(c);
	tls_credentials_drop(trust);
	return why;
}

void
test_a_host_may_be_a_name_or_an_address(void)
{
	check_str(shake_hands("me"), "");
	check_str(shake_hands("127.0.0.1"), "");
	check_str(shake_hands("::1"), "");
	check_has(shake_hands("::2"), "does not match");
	check_has(shake_hands("127.0.0.2"), "does not match");
	check_has(shake_hands("you"), "does not match");
}
