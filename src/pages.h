/*
 * Pages for browsers, probes and Prometheus.  arg is the struct services,
 * the request's client a struct peer.
 */
#ifndef PAGES_H
#define PAGES_H

#include "http.h"

void page_index(void *arg, struct http_request *r);
void page_css(void *arg, struct http_request *r);
void page_js(void *arg, struct http_request *r);

/* 200 while we live. */
void page_healthz(void *arg, struct http_request *r);

/* 200 when Redis and all runners that should be up are, else 503 and what
 * is missing. */
void page_readyz(void *arg, struct http_request *r);

/* Prometheus text format 0.0.4. */
void page_metrics(void *arg, struct http_request *r);

void page_openrpc(void *arg, struct http_request *r);

#endif
