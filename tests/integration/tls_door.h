/* Certificates of the test's own, and herod's TLS door. */
#ifndef TEST_TLS_DOOR_H
#define TEST_TLS_DOOR_H

#include "herod.h"

/*
 * In the test's directory, each with its NAME.key: ca.pem; from it server.pem
 * (localhost and 127.0.0.1), client.pem (CN=ci,O=Example), second.pem (a
 * server's again), guise.pem (a client's, for localhost), expired.pem (a
 * client's); and stranger.pem of another CA.
 */
void make_certificates(void);

/* Lines of [herod] that go with them. */
#define TLS_CONF "tls_cert = %s\ntls_key = %s\ntls_client_ca = %s\n"
#define TLS_FILES here("server.pem"), here("server.key"), here("ca.pem")

/* A connection that speaks TLS, to be used like one that does not.  name: of
 * the certificate to show, or NULL. */
int door_tls(const struct herod *h);
int door_tls_as(const struct herod *h, const char *name);

#endif
