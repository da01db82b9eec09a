/*
 * TLS 1.2 and 1.3, made plain.
 *
 * A tls_pipe stands between an encrypted socket and one that a program reads
 * and writes as if its peer spoke without TLS.  Both ends' ends pass through,
 * each direction by itself.  What one side does not take waits at the other:
 * no more than one record of each direction is kept here.
 *
 * GnuTLS is loaded with the first credentials: it takes more memory than all
 * of herod.
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>

#include "err.h"

/* PEM files. */
struct tls_files {
	const char *cert; /* with its chain; NULL: none to show */
	const char *key; /* NULL: in the same file */
	/* Who signs the other side's: of a client NULL means the system's; of
	 * a server, that none is asked for. */
	const char *ca;
	bool ca_required; /* of a server: no client without one */
};

/* What one side shows and trusts; shared by its pipes, counted. */
struct tls_credentials;

/* New, of one reference, or NULL with a sentence that names the file. */
struct tls_credentials *tls_server(
    const struct tls_files *files, struct err *e);
struct tls_credentials *tls_client(
    const struct tls_files *files, struct err *e);
void tls_credentials_drop(struct tls_credentials *c); /* NULL is fine */

/* When a server's certificate ends, Unix seconds. */
double tls_valid_until(const struct tls_credentials *c);

/* ---- one connection ---- */

enum tls_state {
	TLS_SHAKING, /* hands */
	TLS_READY, /* told once: ask for the program's end now */
	TLS_OPEN,
	TLS_OVER /* tls_pipe_why() tells why */
};

/* What must happen before it is of use to run again.  All false: nothing. */
struct tls_wants {
	bool outside_read, outside_write, inside_read, inside_write;
	bool again; /* at once, after others had their turn */
	bool outside_hangup; /* the peer has said its last, and may listen */
};

struct tls_pipe;

/* outside: a connected non-blocking socket, which is the pipe's from here.
 * host: of a client, what the server's certificate must be for. */
struct tls_pipe *tls_pipe_new(
    struct tls_credentials *c, int outside, const char *host);
void tls_pipe_free(struct tls_pipe *p);

/* Does what can be done without waiting, within bounds. */
enum tls_state tls_pipe_run(struct tls_pipe *p, struct tls_wants *wants);

/* Nobody waits any more: sends what can be sent, and says goodbye. */
void tls_pipe_finish(struct tls_pipe *p);

int tls_pipe_outside(const struct tls_pipe *p);
int tls_pipe_inside(const struct tls_pipe *p); /* -1 while shaking hands */

/* The program's end, non-blocking and the caller's from here; once. */
int tls_pipe_program(struct tls_pipe *p);

/* Subject of the client's certificate, which the CA has signed, as in RFC 4514
 * (CN=ci,O=Example); "" without one. */
const char *tls_pipe_subject(const struct tls_pipe *p);

const char *tls_pipe_why(const struct tls_pipe *p);

/* Whether it is over for what the other side's certificate says. */
bool tls_pipe_distrusts(const struct tls_pipe *p);

#endif
