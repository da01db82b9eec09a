/* A server's certificate of a test's own, for [::1], 127.0.0.1 and me. */
#ifndef FAKE_CERTIFICATE_H
#define FAKE_CERTIFICATE_H

#include "tls.h"

/* Written into the test's directory, both.pem, and read. */
struct tls_credentials *make_certificate(void);

#endif
