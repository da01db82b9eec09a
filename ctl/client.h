/*
 * The connection to herod: JSON-RPC, a line each way.
 *
 * Connects when the first call is made and again when a later call finds
 * the connection gone.  Several calls may be under way; who sent them tells
 * the answers apart by id.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <jansson.h>

#include "err.h"
#include "tls.h"

struct client;

/* What ended a call without an answer of herod's. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_ADDRESS, /* not one that could be dialled */
	TROUBLE_AWAY, /* nobody there */
	TROUBLE_LOST, /* gone in the middle */
	TROUBLE_INTERRUPTED
};

/* The Unix socket of this user's own herod; new string. */
char *client_default_server(void);

/* Server as for -s.  At the default one a program of another user is
 * refused, except for root, who talks to anybody's. */
struct client *client_new(const char *server);
void client_free(struct client *c);

/* Shown at each new connection (auth.login); copied.  NULL: none. */
void client_set_key(struct client *c, const char *key);
const char *client_key(const struct client *c);

/* For servers of the form tls:HOST:PORT; the texts stay the caller's. */
void client_set_tls(struct client *c, const struct tls_files *files);
const struct tls_files *client_tls(const struct client *c);

const char *client_server(const struct client *c);

/* A command begins: all its calls must be over in this many seconds; 0:
 * whenever. */
void client_begin(struct client *c, double seconds);

/* What ended the command's last call. */
enum trouble client_trouble(const struct client *c);

/*
 * A herod that has died in the middle has a successor at once, to whom go
 * the connections that it had not yet taken: true when the last call was
 * lost so, which clears *e.  False after ten in a row.
 */
bool client_may_repeat(struct client *c, struct err *e);

/* Sends one call.  params stolen, may be NULL.  Returns -1 with a refusal;
 * the connection is then closed. */
int client_send(struct client *c, const char *method, json_t *stolen,
    long long id, struct err *e);

/* The next message, an answer or a notification; new.  NULL with a
 * refusal; the connection is then closed. */
json_t *client_receive(struct client *c, struct err *e);

/* The result in an answer, borrowed; NULL with the refusal in it. */
const json_t *client_result(const json_t *answer, struct err *e);

#endif
