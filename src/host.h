/*
 * Load and memory of the host, as proc(5) tells them, and whether they are
 * within limits.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>

struct host {
	double load; /* average of the last minute; < 0: not known */
	long long memory; /* bytes to be had without swapping (MemAvailable);
			   * < 0: not known */
};

/* proc: "/proc", or a directory with files like those there. */
void host_read(struct host *h, const char *proc);

/* 0 sets no limit. */
struct host_limits {
	double max_load;
	long long min_memory; /* bytes */
};

/* Beyond a limit: true, and why says which.  was: it has been so, and is until
 * a twentieth is to spare.  What is not known is within limits. */
bool host_is_short(const struct host *h, const struct host_limits *limits,
    bool was, char *why, size_t size);

#endif
