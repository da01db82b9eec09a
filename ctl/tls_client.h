/* A connection to herod that speaks TLS, made plain. */
#ifndef TLS_CLIENT_H
#define TLS_CLIENT_H

#include "err.h"
#include "tls.h"

/*
 * Shakes hands over a connected socket, which is taken over, with the one whose
 * certificate must be for host.  Returns a descriptor to talk plainly over, or
 * -1 with a refusal: ERR_PARAMS of our files, ERR_UNAUTHORIZED of who is not
 * trusted, ERR_TIMED_OUT (by a signal when errno is EINTR), else
 * ERR_SHUTTING_DOWN.  deadline: clock_monotonic(), 0 none.
 */
int tls_connect(int fd, const char *host, const struct tls_files *files,
    double deadline, struct err *e);

#endif
