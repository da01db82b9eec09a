/*
 * What starts again, when, and when not any more.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* Whom herod runs as, where it is not we. */
#define NOBODY "setpriv --reuid 54321 --regid 54321 --clear-groups"

/* The soft limit of a process; what: as for prlimit(1), "nproc=1:". */
static void
set_limit(pid_t pid, const char *as, const char *what)
{
	check_int(
	    run("%s prlimit --pid %d --%s", as, (int)pid, what).status, 0);
}

static bool
lacks_room(struct herod *h, const char *runner)
{
	json_t *st = status_of(h, runner);

	return strcmp(text_at(st, "state"), "BACKOFF") == 0 &&
	    strstr(text_at(st, "why"), "herod lacks room for it") != NULL;
}

struct shortage {
	pid_t pid; /* whose limit it is */
	const char *as; /* who may set it */
	const char *least, *most; /* as for set_limit() */
	const char *why;
};

/* Neither a start nor a death finds room, until there is some again. */
static void
check_shortage_heals(struct herod *h, const struct shortage *s)
{
	pid_t old;
	int fds;

	wait_for_redis(h);
	fds = count_fds(h->keeper);
	rpc(h, "start_runner", "[s]", "it");
	old = pid_of(h, "it");
	set_limit(s->pid, s->as, s->least);
	rpc(h, "start_runner", "{s:s, s:b}", "name", "late", "wait", 0);
	kill(old, SIGKILL);
	wait_for(lacks_room(h, "it") && lacks_room(h, "late"));
	check_has(text_at(status_of(h, "late"), "why"), s->why);
	set_limit(s->pid, s->as, s->most);
	wait_for(
	    is_state(h, "it", "RUNNING") && is_state(h, "late", "RUNNING"));
	check(pid_of(h, "it") != old);
	check_has(herod_log(), "no room for its process");
	check(strstr(herod_log(), "FATAL") == NULL);
	rpc(h, "stop_runner", "[s]", "it");
	rpc(h, "stop_runner", "[s]", "late");
	/* Nothing is left open of what failed. */
	wait_for(count_fds(h->keeper) == fds);
}

#define FRAGILE \
	AT_ONCE "startretries = 0\nautostart = false\n" \
		"[runner:it]\ncommand = sleep 1000\n" \
		"[runner:late]\ncommand = sleep 1000\n"

/* Pitfall 2. */
void
test_a_lack_of_descriptors_of_the_keeper_heals(void)
{
	struct herod *h = herod_start(FRAGILE);

	check_shortage_heals(h,
	    &(struct shortage){h->keeper, "",
		"nofile=8:", "nofile=1000:", "Too many open files"});
	herod_stop(h);
}

/* Pitfall 2: room for some connections, but not beside one more process. */
void
test_a_lack_of_descriptors_of_the_daemon_heals(void)
{
	struct herod *h = herod_start(FRAGILE);
	pid_t pid = herod_pid(h);
	const char *least;

	wait_for_redis(h);
	least = text("nofile=%d:", count_fds(pid) + 8);
	check_shortage_heals(h,
	    &(struct shortage){
		pid, "", least, "nofile=1000:", "Too many open files"});
	herod_stop(h);
}

/* Shell text that runs herod as a user to whom limits mean something. */
static const char *
as_nobody(void)
{
	if (geteuid() != 0)
		return "";
	check_int(run("cp $BUILD/herod $BUILD/herod-keeper . && chmod 755 . &&"
		      "mkdir state run && chown 54321 state run")
		      .status,
	    0);
	return text(
	    "exec " NOBODY " sh -c 'shift; exec %s \"$@\"'", here("herod"));
}

/* Pitfall 2. */
void
test_a_lack_of_processes_heals(void)
{
	struct herod *h = herod_start_with(as_nobody(), "", FRAGILE);

	check_shortage_heals(h,
	    &(struct shortage){h->keeper, geteuid() == 0 ? NOBODY : "",
		"nproc=1:", "nproc=1000:", "Resource temporarily unavailable"});
	herod_stop(h);
}

/* ---- crowds ---- */

static int
count_running(struct herod *h, const char *runner)
{
	json_t *all = at(status_of(h, runner), "instances"), *i;
	size_t k;
	int n = 0;

	json_array_foreach (all, k, i)
		n += strcmp(text_at(i, "state"), "RUNNING") == 0;
	return n;
}

/* Pitfall 4: they start again in turns, and all of them do. */
void
test_a_crowd_that_dies_together_comes_back_in_turns(void)
{
	struct herod *h = herod_start_with("", "--restart_rate 50",
	    AT_ONCE "[runner:crowd]\nnumprocs = 200\ncommand = sleep 1000\n");
	json_t *before, *i;
	size_t k;

	wait_for(count_running(h, "crowd") == 200);
	before = at(status_of(h, "crowd"), "instances");
	json_array_foreach (before, k, i)
		kill((pid_t)int_at(i, "pid"), SIGKILL);
	wait_for(int_at(status_of(h, "crowd"), "restarts") == 200);
	wait_for(count_running(h, "crowd") == 200);
	check_has(herod_log(), "others start again before it");
	herod_stop(h);
}

/* ---- too often ---- */

/* Pitfalls 3 and 44: with the reason, and its last words are kept. */
void
test_a_runner_that_flaps_ends_in_fatal_with_its_last_words(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:flap]\nflap_limit = 3\nflap_window = 1h\n"
	    "backoff_base = 0.01\ncommand = sh -c 'echo words $$; exit 3'\n");
	json_t *st;

	wait_for(is_state(h, "flap", "FATAL"));
	st = status_of(h, "flap");
	check_str(
	    text_at(st, "why"), "exit 3; death 3 within 1h0m (flap_limit)");
	check_int(int_at(st, "instances.0.exit.code"), 3);
	check_has(logs_of(h, "flap"), "words");
	herod_stop(h);
}

void
test_fatal_retry_finds_what_has_healed(void)
{
	const char *it = here("it");
	struct herod *h = herod_start(
	    AT_ONCE "[runner:it]\nfatal_retry = 0.1\ncommand = %s\n", it);

	wait_for(is_state(h, "it", "FATAL"));
	script("it", "exec sleep 1000");
	wait_for(is_state(h, "it", "RUNNING"));
	herod_stop(h);
}
