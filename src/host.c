/* Load and memory of the host. */
#include "host.h"

#include <stdio.h>

#include "type.h"

#define SPARE 0.05 /* of a limit, before what was short is not any more */

static FILE *
open_in(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "re");
}

static double
read_load(const char *proc)
{
	FILE *f = open_in(proc, "loadavg");
	double load = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%lf", &load) != 1)
		load = -1;
	fclose(f);
	return load;
}

static long long
read_memory(const char *proc)
{
	FILE *f = open_in(proc, "meminfo");
	long long kb = -1;
	char line[128];

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lld kB", &kb) == 1)
			break;
	fclose(f);
	return kb < 0 ? -1 : kb * 1024;
}

void
host_read(struct host *h, const char *proc)
{
	h->load = read_load(proc);
	h->memory = read_memory(proc);
}

static bool
is_loaded(const struct host *h, double most, bool was, char *why, size_t size)
{
	if (most <= 0 || h->load <= most * (was ? 1 - SPARE : 1))
		return false;
	snprintf(why, size, "load %.2f is %s max_load %g", h->load,
	    h->load > most ? "above" : "hardly below", most);
	return true;
}

/* "120MB": nobody needs to know the kilobytes. */
static const char *
rounded_text(long long bytes, char buf[32])
{
	return size_text(bytes >> 20 ? bytes >> 20 << 20 : bytes, buf);
}

static bool
lacks_memory(
    const struct host *h, long long least, bool was, char *why, size_t size)
{
	double wanted = (double)least * (was ? 1 + SPARE : 1);
	char left[32], limit[32];

	if (least <= 0 || h->memory < 0 || (double)h->memory >= wanted)
		return false;
	snprintf(why, size, "%s of memory left, %s min_memory %s",
	    rounded_text(h->memory, left),
	    h->memory < least ? "below" : "hardly above",
	    size_text(least, limit));
	return true;
}

bool
host_is_short(const struct host *h, const struct host_limits *l, bool was,
    char *why, size_t size)
{
	return is_loaded(h, l->max_load, was, why, size) ||
	    lacks_memory(h, l->min_memory, was, why, size);
}
