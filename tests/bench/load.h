/*
 * A load of equal requests, as redis-benchmark makes it: each of nconns
 * connections sends pipeline requests in one write, waits for all their
 * answers and begins anew, until the time is over.
 */
#ifndef LOAD_H
#define LOAD_H

#include "bench.h"

struct load {
	int (*dial)(const struct herod *h); /* door_unix or door_tcp */
	const char *request; /* one, whole; its answers are equally long */
	int nconns, pipeline;
	double seconds;
};

/* Answers a second.  Any answer of another length than the first, which
 * must be a result, ends the bench. */
double load_run(const struct herod *h, const struct load *l);

/* A call as a line, and as an HTTP request.  params: JSON text or "". */
const char *call_line(const char *method, const char *params);
const char *call_http(const char *method, const char *params);

#endif
