/*
 * The ledger with one herod, while workers, herod, herod-keeper and its
 * redis-server are killed and stopped at random (tests/ledger --minutes N).
 */
#include <signal.h>

#include "ledger.h"

CHECK_TIMEOUT(600);

static void
kill_redis(struct ledger *l)
{
	pid_t pid = process_of("redis-server", 0);

	if (pid == 0)
		return;
	kill(pid, SIGKILL);
	l->of_redis++;
}

static const struct mishap mishaps[] = {{60, kill_worker}, {8, pause_worker},
    {10, kill_herod}, {4, pause_herod}, {2, kill_keeper}, {6, kill_redis},
    {4, pause_redis}};

void
test_no_job_is_lost_and_none_done_twice_without_a_reason(void)
{
	struct ledger l;

	ledger_begin(&l);
	/* What Redis has acknowledged must be there when it is killed, too. */
	l.sides[0] = (struct side){.name = "a",
	    .runners = {"exec", "stdio", "redis"},
	    .h = herod_start(
		"[herod]\nredis_fsync = always\nspool = true\n" LEDGER_DEFAULTS
		"%s%s%s",
		ledger_runner(&l, "a", "exec"), ledger_runner(&l, "a", "stdio"),
		ledger_runner(&l, "a", "redis"))};
	l.nsides = 1;
	wait_for_redis(l.sides[0].h);
	ledger_run(&l, mishaps, sizeof(mishaps) / sizeof(mishaps[0]), NULL);
	ledger_end(&l);
}
