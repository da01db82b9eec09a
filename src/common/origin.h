/*
 * Web origins, as browsers send them in the header Origin (RFC 6454): scheme,
 * host and, where it is not the scheme's own, port.
 */
#ifndef ORIGIN_H
#define ORIGIN_H

#include <stddef.h>

#include "err.h"

/* 0 with the origin as browsers write it in buf.  -1: with a refusal for *
 * and null, which are none but many; without one for what is no origin. */
int origin_read(const char *text, char *buf, size_t size, struct err *e);

#endif
