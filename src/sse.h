/*
 * GET /events: what subscribe gives, as server-sent events (WHATWG HTML,
 * section 9.2).
 */
#ifndef SSE_H
#define SSE_H

#include "http.h"

/*
 * The query has the parameters of subscribe, topics and since; the header
 * Last-Event-ID stands above since.  arg is the struct services, the
 * request's client a struct peer.
 */
void page_events(void *arg, struct http_request *r);

#endif
