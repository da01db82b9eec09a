/* Load and memory of the host. */
#include "check.h"
#include "host.h"

static char why[128];

static void
write_proc(const char *loadavg, const char *meminfo)
{
	write_file("loadavg", loadavg);
	write_file("meminfo", meminfo);
}

static bool
is_short(double load, long long memory, double most, long long least, bool was)
{
	struct host h = {load, memory};

	why[0] = '\0';
	return host_is_short(
	    &h, &(struct host_limits){most, least}, was, why, sizeof(why));
}

#define MB 1048576LL

void
test_load_and_memory_are_those_of_proc(void)
{
	struct host h;

	write_proc("7.31 3.08 2.22 3/99 16918\n",
	    "MemTotal:       24690504 kB\n"
	    "MemFree:         1000000 kB\n"
	    "MemAvailable:     122880 kB\n"
	    "Buffers:          110000 kB\n");
	host_read(&h, ".");
	check(h.load > 7.309 && h.load < 7.311);
	check_int(h.memory, 120 * MB);
}

void
test_this_host_can_be_read(void)
{
	struct host h;

	host_read(&h, "/proc");
	check(h.load >= 0);
	check(h.memory > MB);
}

void
test_what_is_not_known_is_within_limits(void)
{
	struct host h;

	host_read(&h, "nowhere");
	check(h.load < 0);
	check_int(h.memory, -1);
	write_proc("none\n", "MemTotal:       24690504 kB\n");
	host_read(&h, ".");
	check(h.load < 0);
	check_int(h.memory, -1);
	check(!is_short(-1, -1, 0.1, 1 << 30, false));
	check(!is_short(-1, -1, 0.1, 1 << 30, true));
}

void
test_it_is_short_beyond_a_limit_and_says_of_what(void)
{
	check(is_short(7.31, 120 * MB, 4, 0, false));
	check_str(why, "load 7.31 is above max_load 4");
	check(is_short(7.31, 120 * MB, 8, 500 * MB, false));
	check_str(why, "120MB of memory left, below min_memory 500MB");
	check(!is_short(7.31, 120 * MB, 7.31, 120 * MB, false));
	check(!is_short(7.31, 120 * MB, 0, 0, false));
}

void
test_one_that_was_short_needs_a_twentieth_to_spare(void)
{
	check(!is_short(3.9, 510 * MB, 4, 500 * MB, false));
	check(is_short(3.9, 0, 4, 0, true));
	check_str(why, "load 3.90 is hardly below max_load 4");
	check(!is_short(3.79, 0, 4, 0, true));
	check(is_short(0, 510 * MB, 0, 500 * MB, true));
	check_str(why, "510MB of memory left, hardly above min_memory 500MB");
	check(!is_short(0, 526 * MB, 0, 500 * MB, true));
}
