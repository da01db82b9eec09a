/*
 * herod as process 1 of a container: the first process of a new pid
 * namespace, which adopts every orphan in it and dies with all of it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* The harness says "exec herod": a program of that name becomes it. */
static struct herod *
start_as_pid_1(const char *conf)
{
	if (run("unshare --pid --fork --mount-proc true").status != 0)
		skip("may not make a pid namespace here");
	script("exec", "exec \"$@\"\n");
	return herod_start_with(text("PATH=%s:$PATH; export PATH; "
				     "exec unshare --pid --fork --mount-proc",
				    here(".")),
	    "", AT_ONCE "%s", conf);
}

/* Process 1 as seen from here: the only child of unshare(1). */
static pid_t
pid_1(const struct herod *h)
{
	return (pid_t)atoi(
	    proc_text(h->keeper, text("task/%d/children", (int)h->keeper)));
}

/* How many children process 1 has, and how many of them are zombies. */
static int
children_of_1(const struct herod *h, int *nzombies)
{
	pid_t one = pid_1(h), pid;
	const char *list = proc_text(one, text("task/%d/children", (int)one));
	char *end;
	int n = 0;

	*nzombies = 0;
	while ((pid = (pid_t)strtol(list, &end, 10)) > 0) {
		list = end;
		n++;
		*nzombies += !is_alive(pid);
	}
	return n;
}

/* Pitfall 19. */
void
test_as_pid_1_it_buries_every_orphan(void)
{
	struct herod *h = start_as_pid_1(
	    "[runner:web]\ncommand = sh -c 'for i in 1 2 3 4 5 6 7 8 9; do "
	    "(setsid true &); done; exec sleep 1000'\n");
	int n, nzombies;

	wait_for(is_state(h, "web", "RUNNING"));
	/* Somebody else's, as docker exec leaves them. */
	check_int(
	    run("nsenter -t %d -p -m sh -c '(setsid true &); :'", (int)pid_1(h))
		.status,
	    0);
	/* herod, its Redis and the runner are left. */
	wait_for((n = children_of_1(h, &nzombies), n == 3 && nzombies == 0));
	kill(pid_1(h), SIGTERM);
	check_int(herod_end(h), 0);
}

void
test_as_pid_1_it_ends_everything_in_order(void)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct herod *h;
	size_t i;

	for (i = 0; i < 2; i++) {
		h = start_as_pid_1(text("[runner:web]\ncommand = %s\n",
		    script("web",
			text("trap 'echo bye >%s; exit 0' TERM\n"
			     "echo >%s\n"
			     "while :; do sleep 1000 & wait; done\n",
			    here("bye"), here("up")))));
		wait_for(file_exists(here("up")));
		kill(pid_1(h), signals[i]);
		check_int(herod_end(h), 0);
		check_str(file_text(here("bye")), "bye\n");
		unlink(here("bye"));
		unlink(here("up"));
	}
}

void
test_as_pid_1_it_starts_a_new_herod_for_a_dead_one(void)
{
	struct herod *h =
	    start_as_pid_1("[runner:web]\ncommand = sleep 1000\n");
	pid_t daemon, web;

	wait_for((web = pid_of(h, "web")) != 0);
	daemon = (pid_t)int_at(rpc(h, "get_all_status", NULL), "herod.pid");
	check_int(
	    run("nsenter -t %d -p -m kill -KILL %d", (int)pid_1(h), (int)daemon)
		.status,
	    0);
	wait_for(heroctl(h, "ping").status == 0 &&
	    int_at(rpc(h, "get_all_status", NULL), "herod.pid") != daemon);
	check_int(pid_of(h, "web"), web);
	kill(pid_1(h), SIGTERM);
	check_int(herod_end(h), 0);
}

/* Pitfall 41. */
void
test_as_pid_1_it_ends_with_the_code_of_the_essential_runner(void)
{
	struct herod *h =
	    start_as_pid_1(text("[runner:side]\ncommand = sleep 1000\n"
				"[runner:web]\nessential = true\n"
				"autorestart = never\ncommand = %s\n",
		script("web",
		    text("while ! test -e %s; do sleep 0.05; done; exit 7\n",
			here("go")))));

	wait_for(is_state(h, "web", "RUNNING"));
	write_file(here("go"), "");
	check_int(herod_end(h), 7);
}
