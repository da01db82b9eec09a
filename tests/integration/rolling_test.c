/* restart_runner with rolling, asked by heroctl, with real processes. */
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

static pid_t
instance_pid(struct herod *h, int n)
{
	return (pid_t)json_integer_value(
	    at(status_of(h, "web"), text("instances.%d.pid", n)));
}

static struct herod *
start_three(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 3\ncommand = %s\n",
	    script("web", text("echo up >>%s; exec sleep 1000", here("up"))));

	wait_for(is_state(h, "web", "RUNNING"));
	/* The shells have read the script, which may go now. */
	wait_for(count_lines(here("up")) == 3);
	return h;
}

void
test_heroctl_restarts_one_after_the_other(void)
{
	struct herod *h = start_three();
	pid_t old[3];
	int n;

	for (n = 0; n < 3; n++)
		old[n] = instance_pid(h, n);
	check_int(heroctl(h, "restart --rolling web").status, 0);
	for (n = 0; n < 3; n++) {
		check(!is_alive(old[n]));
		check(is_alive(instance_pid(h, n)));
	}
	herod_stop(h);
}

void
test_what_still_works_is_not_touched_after_a_failure(void)
{
	struct herod *h = start_three();
	pid_t second = instance_pid(h, 1), third = instance_pid(h, 2);
	struct ran r;

	unlink(here("web"));
	r = heroctl(h, "restart --rolling web");
	check_int(r.status, 1);
	check_has(r.err, "rolling restart ended at instance 0 (of 3): FATAL");
	check_has(r.err, "No such file or directory");
	check_int(instance_pid(h, 1), second);
	check_int(instance_pid(h, 2), third);
	check(is_alive(second) && is_alive(third));
	herod_stop(h);
}

/* Pitfall 24. */
void
test_a_rolling_restart_does_not_need_its_asker(void)
{
	struct herod *h = start_three();
	pid_t old[3];
	int n, fd;

	for (n = 0; n < 3; n++)
		old[n] = instance_pid(h, n);
	fd = rpc_begin(
	    h, "restart_runner", "{s:s, s:b}", "name", "web", "rolling", 1);
	wait_for(instance_pid(h, 0) != old[0]);
	close(fd);
	for (n = 0; n < 3; n++)
		wait_for(
		    instance_pid(h, n) != old[n] && instance_pid(h, n) != 0);
	herod_stop(h);
}
