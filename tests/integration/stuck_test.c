/* Actors (kind redis) that live and take nothing: stuck_timeout. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* Takes nothing, until there is a file of its name with .good. */
#define DEAF \
	"sh -c '[ -e %s/$HERO_RUNNER.good ] && exec sh %s; exec sleep 1000'"

/* Begins its first job, and does not end it. */
#define BUSY \
	"redis() { redis-cli -s \"${HERO_REDIS_URL#unix://}\" \"$@\"; }\n" \
	"id=$(redis BLPOP $HERO_NAMESPACE:work_queue:$HERO_QUEUE 0 |" \
	" tail -n 1)\n" \
	"redis HSET $HERO_NAMESPACE:job:$id status started\n" \
	"exec sleep 1000"

static const char *
conf(const char *runners)
{
	return text("[defaults]\nkind = redis\nstartsecs = 0\n"
		    "backoff_base = 0.05\nbackoff_max = 0.05\n"
		    "startretries = -1\ndrain_timeout = 0.01\n"
		    "stuck_timeout = 0.2\ncommand = " DEAF "\n%s",
	    here(""), sample_path("actor.sh"), runners);
}

static struct herod *
start(const char *runners)
{
	struct herod *h = herod_start("%s", conf(runners));

	wait_for_redis(h);
	return h;
}

static const char *
queue_to(struct herod *h, const char *runner)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", runner, "job", "payload", "a"));
}

static long long
restarts(struct herod *h, const char *runner)
{
	return int_at(status_of(h, runner), "restarts");
}

/* Time passes: a deaf actor is renewed some times. */
static void
wait_long(struct herod *h)
{
	long long before = restarts(h, "clock");

	queue_to(h, "clock");
	wait_for(restarts(h, "clock") >= before + 4);
}

void
test_an_actor_that_takes_nothing_is_named_and_renewed(void)
{
	/* Long enough for one that does take them. */
	struct herod *h = start("[runner:it]\nstuck_timeout = 1\n");
	const char *id;

	wait_for(is_state(h, "it", "RUNNING"));
	id = queue_to(h, "it");
	wait_for(restarts(h, "it") > 0);
	check_has(text_at(status_of(h, "it"), "instances.0.exit.reason"),
	    "took no job for ");
	check_has(text_at(status_of(h, "it"), "instances.0.exit.reason"),
	    "while 1 waited");
	check_has(herod_log(), "runner it.0: it took no job for ");
	check_has(heroctl(h, "why it").out, "took no job for ");
	write_file(here("it.good"), "");
	check_str(job_outcome(h, id), "A");
	herod_stop(h);
}

/* Hero's supervisor asks those that are idle; here a schedule does. */
void
test_an_idle_actor_that_is_deaf_is_found_by_a_ping(void)
{
	struct herod *h =
	    start("[runner:it]\n[schedule:ping]\nrunner = it\nevery = 1\n"
		  "overlap = forbid\npayload = ping\n");

	wait_for(restarts(h, "it") > 0);
	check_has(text_at(status_of(h, "it"), "instances.0.exit.reason"),
	    "took no job for ");
	herod_stop(h);
}

void
test_an_actor_without_a_job_that_waits_is_let_alone(void)
{
	struct herod *h = start("[runner:clock]\n[runner:idle]\n");

	wait_for(is_state(h, "idle", "RUNNING"));
	wait_long(h);
	check_int(restarts(h, "idle"), 0);
	herod_stop(h);
}

/* It is looked at from when it has begun its job. */
void
test_an_actor_with_a_job_in_hand_is_let_alone(void)
{
	const char *busy = text(
	    "[runner:clock]\n[runner:busy]\ncommand = %s\nstuck_timeout = ",
	    script("busy", BUSY));
	struct herod *h = start(text("%s0\n", busy));
	const char *id = queue_to(h, "busy");

	wait_for(!strcmp(
	    text_at(rpc(h, "job.get", "[s]", id), "status"), "started"));
	write_file(h->conf, conf(text("%s0.2\n", busy)));
	rpc(h, "reload", NULL);
	queue_to(h, "busy");
	wait_long(h);
	check_int(restarts(h, "busy"), 0);
	herod_stop(h);
}

void
test_an_actor_that_somebody_has_paused_is_let_alone(void)
{
	struct herod *h = start("[runner:clock]\n[runner:paused]\n");
	pid_t pid;

	wait_for(is_state(h, "paused", "RUNNING"));
	pid = (pid_t)pid_of(h, "paused");
	kill(pid, SIGSTOP);
	wait_for(is_state(h, "paused", "PAUSED"));
	queue_to(h, "paused");
	wait_long(h);
	check(!strstr(herod_log(), "runner paused.0: it took no job"));
	check_int(restarts(h, "paused"), 0);
	kill(pid, SIGCONT); /* now it is as deaf as others */
	wait_for(restarts(h, "paused") > 0);
	herod_stop(h);
}

void
test_stuck_timeout_0_lets_an_actor_be(void)
{
	struct herod *h =
	    start("[runner:clock]\n[runner:exempt]\nstuck_timeout = 0\n"
		  "[runner:beside]\nstuck_timeout = 0\nqueue = clock\n");

	wait_for(is_state(h, "exempt", "RUNNING"));
	wait_for(is_state(h, "beside", "RUNNING"));
	queue_to(h, "exempt");
	wait_long(h);
	check_int(restarts(h, "exempt"), 0);
	check_int(restarts(h, "beside"), 0);
	herod_stop(h);
}
