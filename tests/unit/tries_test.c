/* Wrong tries make their address wait, and nobody else. */
#include <stdio.h>

#include "check.h"
#include "tries.h"

static void
wrong(struct tries *t, const char *from, int n, double now)
{
	while (n-- > 0)
		tries_wrong(t, from, now);
}

void
test_the_first_ones_cost_nothing(void)
{
	struct tries *t = tries_new(5);

	check(tries_wait(t, "a", 1) == 0);
	wrong(t, "a", 5, 1);
	check(tries_wait(t, "a", 1) == 0);
	tries_free(t);
}

void
test_each_further_one_doubles_the_wait_up_to_a_minute(void)
{
	struct tries *t = tries_new(5);

	wrong(t, "a", 6, 100);
	check(tries_wait(t, "a", 100) == 1);
	check(tries_wait(t, "a", 100.75) == 0.25);
	check(tries_wait(t, "a", 101) == 0);
	wrong(t, "a", 1, 101);
	check(tries_wait(t, "a", 101) == 2);
	wrong(t, "a", 1000, 200);
	check(tries_wait(t, "a", 200) == 60);
	tries_free(t);
}

void
test_others_do_not_wait(void)
{
	struct tries *t = tries_new(0);

	wrong(t, "a", 3, 100);
	check(tries_wait(t, "b", 100) == 0);
	check(tries_wait(t, "a", 100) > 0);
	tries_free(t);
}

void
test_time_makes_them_forgotten(void)
{
	struct tries *t = tries_new(0);

	wrong(t, "a", 60, 100);
	check(tries_wait(t, "a", 701) == 0);
	wrong(t, "a", 1, 702);
	check(tries_wait(t, "a", 702) == 1);
	tries_free(t);
}

void
test_the_latest_addresses_are_remembered_and_no_more(void)
{
	struct tries *t = tries_new(0);
	char from[24];
	int i;

	wrong(t, "first", 1, 100);
	wrong(t, "second", 1, 100);
	wrong(t, "first", 1, 101);
	for (i = 0; i < TRIES_MAX - 1; i++) {
		snprintf(from, sizeof(from), "10.0.%d.%d", i / 256, i % 256);
		wrong(t, from, 1, 102);
	}
	check(tries_wait(t, "second", 102) == 0);
	check(tries_wait(t, "first", 102) == 1);
	check(tries_wait(t, from, 102) == 1);
	tries_free(t);
}
