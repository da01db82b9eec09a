/*
 * What befell a runner is not forgotten when herod is killed or replaced:
 * FATAL stays, a delay goes on, and every failure counts once.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* Nothing of it is left when both are killed but what it fails with. */
#define ALONE "[herod]\nredis_url = unix:///nowhere\n" AT_ONCE

/* A program that fails at once, and notes that it was tried. */
static const char *
failing(void)
{
	return script("bad", text("echo up >>%s; exit 3", here("up")));
}

static int
tries(void)
{
	return count_lines(here("up"));
}

static struct herod *
start_fatal(void)
{
	struct herod *h = herod_start(ALONE
	    "[runner:bad]\nstartretries = 0\nstartsecs = 1\ncommand = %s\n",
	    failing());

	wait_for(is_state(h, "bad", "FATAL"));
	return h;
}

static const char *
why_of(struct herod *h, const char *runner)
{
	return text_at(status_of(h, runner), "instances.0.why");
}

static void
both_again(struct herod *h)
{
	herod_kill_both(h);
	herod_again(h);
}

static void
upgrade(struct herod *h)
{
	pid_t old = herod_pid(h);

	rpc(h, "upgrade", NULL);
	wait_for(herod_pid(h) != 0 && herod_pid(h) != old);
	rpc(h, "ping", NULL);
}

/* In all the ways in which a herod can be followed by another in its work. */
static void (*const ways[])(struct herod *h) = {
    herod_kill9, upgrade, herod_keeper_kill9, both_again, herod_kill9};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* Pitfalls 3 and 32. */
void
test_fatal_stays_fatal_with_its_reason(void)
{
	struct herod *h = start_fatal();
	json_t *before, *after;
	size_t k;

	before = at(status_of(h, "bad"), "instances.0");
	for (k = 0; k < WAYS; k++) {
		ways[k](h);
		after = at(status_of(h, "bad"), "instances.0");
		check_str(text_at(after, "state"), "FATAL");
		check_str(text_at(after, "why"), text_at(before, "why"));
		check_str(text_at(after, "since"), text_at(before, "since"));
		check_int(int_at(after, "exit.code"), 3);
		check_str(
		    text_at(after, "exit.at"), text_at(before, "exit.at"));
	}
	check_int(tries(), 1);
	check_has(heroctl(h, "why bad").out, "It cannot be kept running");
	herod_stop(h);
}

/* "59m58s" in seconds. */
static double
seconds(const char *duration)
{
	double all = 0, n;
	char *end;

	for (n = strtod(duration, &end); end != duration;
	     n = strtod(duration, &end)) {
		check(strchr("hms", *end) != NULL);
		all += n * (*end == 'h' ? 3600 : *end == 'm' ? 60 : 1);
		duration = end + 1;
	}
	return all;
}

static double
time_to_next_try(struct herod *h)
{
	const char *words = "The next try is in ";
	const char *line = strstr(heroctl(h, "why bad").out, words);

	check(line != NULL);
	return seconds(line + strlen(words));
}

void
test_a_delay_goes_on_where_it_was(void)
{
	struct herod *h = herod_start(ALONE
	    "[runner:bad]\nstartsecs = 60\nbackoff_base = 3600\n"
	    "backoff_max = 3600\ncommand = %s\n",
	    failing());
	double left, now;
	size_t k;

	wait_for(is_state(h, "bad", "BACKOFF"));
	left = time_to_next_try(h);
	check(left > 60);
	for (k = 0; k < WAYS; k++) {
		ways[k](h);
		check(is_state(h, "bad", "BACKOFF"));
		check_has(why_of(h, "bad"), "failure 1 in a row");
		now = time_to_next_try(h);
		check(now <= left);
		left = now;
	}
	check_has(heroctl(h, "why bad").out, "1 of 3 retries are used");
	check_int(tries(), 1);
	herod_stop(h);
}

/* Wherever herod is killed, none is forgotten and none counts twice. */
void
test_every_failed_start_counts_once(void)
{
	struct herod *h = herod_start(ALONE
	    "[runner:bad]\nstartsecs = 60\nstartretries = 4\n"
	    "backoff_base = 0.2\nbackoff_factor = 1\ncommand = %s\n",
	    failing());

	while (!is_state(h, "bad", "FATAL"))
		herod_kill9(h);
	check_int(tries(), 5);
	check_has(why_of(h, "bad"), "5 times in a row");
	check_int(int_at(status_of(h, "bad"), "restarts"), 4);
	herod_stop(h);
}

void
test_the_flap_window_counts_on(void)
{
	struct herod *h = herod_start(
	    AT_ONCE "[runner:web]\nflap_limit = 4\nflap_window = 86400\n"
		    "backoff_reset = 0\ncommand = sleep 1000\n");
	size_t k;
	pid_t pid;

	for (k = 0; k < 4; k++) {
		wait_for((pid = pid_of(h, "web")) != 0);
		kill(pid, SIGSEGV);
		wait_for(!is_alive(pid));
		herod_kill9(h);
	}
	wait_for(is_state(h, "web", "FATAL"));
	check_has(why_of(h, "web"), "death 4 within");
	herod_stop(h);
}

/* Ended for being unhealthy, it ends well: that is no end of its work. */
void
test_a_fault_that_is_being_dealt_with_stays_one(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nhealth = exec:false\nhealth_interval = 0.1\n"
	    "health_retries = 1\nstopwaitsecs = 600\ncommand = %s\n",
	    script("web",
		text("trap : TERM; echo up >>%s; while [ ! -e %s ]; do "
		     "sleep 0.05; done; exit 0",
		    here("up"), here("end"))));

	wait_for(is_state(h, "web", "STOPPING"));
	herod_kill9(h);
	check(is_state(h, "web", "STOPPING"));
	write_file(here("end"), "");
	wait_for(tries() > 1);
	herod_stop(h);
}

/* Without a setting ready, too. */
void
test_since_when_it_is_up_stays_true(void)
{
	struct herod *h = herod_start(
	    ALONE "[runner:web]\nstartsecs = 0.1\ncommand = sleep 1000\n");
	json_t *before, *after;
	size_t k;

	wait_for(is_state(h, "web", "RUNNING"));
	signal_runner(h, "web", SIGKILL);
	wait_for(int_at(status_of(h, "web"), "restarts") == 1 &&
	    is_state(h, "web", "RUNNING"));
	before = at(status_of(h, "web"), "instances.0");
	for (k = 0; k < WAYS; k++) {
		ways[k](h);
		after = at(status_of(h, "web"), "instances.0");
		check_str(text_at(after, "since"), text_at(before, "since"));
		check_str(
		    text_at(after, "ready_at"), text_at(before, "ready_at"));
		check_int(int_at(after, "restarts"), 1);
	}
	herod_stop(h);
}

/* ---- when it does not count any more ---- */

void
test_a_start_by_hand_begins_anew(void)
{
	struct herod *h = herod_start(ALONE
	    "[runner:bad]\nstartsecs = 1\nstartretries = 1\n"
	    "backoff_base = 60\nflap_limit = 3\ncommand = %s\n",
	    failing());
	int k;

	for (k = 1; k <= 4; k++) {
		wait_for(is_state(h, "bad", "BACKOFF") && tries() == k);
		herod_kill9(h);
		check_has(why_of(h, "bad"), "failure 1 in a row");
		rpc(h, "start_runner", "{s:s, s:b}", "name", "bad", "wait", 0);
	}
	herod_stop(h);
}

void
test_a_stop_by_hand_stays(void)
{
	struct herod *h = start_fatal();
	size_t k;

	rpc(h, "stop_runner", "[s]", "bad");
	for (k = 0; k < WAYS; k++) {
		ways[k](h);
		check(is_state(h, "bad", "STOPPED"));
	}
	check_int(tries(), 1);
	herod_stop(h);
}

void
test_a_last_end_is_remembered(void)
{
	struct herod *h = herod_start(ALONE
	    "[runner:once]\nautorestart = never\nstartsecs = 0\n"
	    "command = %s\n[runner:svc]\ncommand = sleep 1000\n",
	    failing());
	static const char *const names[] = {"once", "svc"};
	json_t *before[2], *after;
	size_t k, i;

	wait_for(is_state(h, "once", "EXITED"));
	wait_for(is_state(h, "svc", "RUNNING"));
	rpc(h, "stop_runner", "[s]", "svc");
	for (i = 0; i < 2; i++)
		before[i] = at(status_of(h, names[i]), "instances.0");
	check_str(text_at(before[1], "exit.signal"), "TERM");
	for (k = 0; k < WAYS; k++) {
		ways[k](h);
		wait_for(is_state(h, "once", "EXITED"));
		for (i = 0; i < 2; i++) {
			after = at(status_of(h, names[i]), "instances.0");
			check(json_equal(after, before[i]));
		}
	}
	check_int(tries(), 1);
	herod_stop(h);
}

void
test_an_orderly_end_of_herod_forgets(void)
{
	struct herod *h = start_fatal();

	herod_stop(h);
	herod_again(h);
	wait_for(is_state(h, "bad", "FATAL") && tries() == 2);
	herod_stop(h);
}

/* Pitfall 32: after a reboot. */
void
test_another_boot_begins_anew(void)
{
	struct herod *h = start_fatal();

	herod_kill_both(h);
	check_int(run("printf another | dd of=state/past bs=1 seek=4 "
		      "conv=notrunc 2>&1")
		      .status,
	    0);
	herod_again(h);
	wait_for(is_state(h, "bad", "FATAL") && tries() == 2);
	herod_stop(h);
}

/* As with a reload. */
void
test_a_changed_command_is_tried(void)
{
	struct herod *h = start_fatal();

	herod_kill_both(h);
	write_file(h->conf, ALONE "[runner:bad]\ncommand = sleep 1000\n");
	herod_again(h);
	wait_for(is_state(h, "bad", "RUNNING"));
	check_int(tries(), 1);
	herod_stop(h);
}

/* What stands there makes no sense, or cannot be written. */
void
test_without_a_record_all_else_goes_on(void)
{
	struct herod *h =
	    herod_start(ALONE "[runner:bad]\nstartsecs = 1\nstartretries = 0\n"
			      "command = %s\n"
			      "[runner:web]\ncommand = sleep 1000\n",
		failing());
	pid_t web;

	wait_for(is_state(h, "bad", "FATAL"));
	wait_for((web = pid_of(h, "web")) != 0);
	herod_kill_both(h);
	run("dd if=/dev/urandom of=state/past bs=2048 seek=2 count=5 "
	    "conv=notrunc 2>&1");
	herod_again(h);
	check_int(pid_of(h, "web"), web);
	wait_for(tries() == 2 && is_state(h, "bad", "FATAL"));
	run("rm state/past; mkdir state/past");
	herod_kill9(h);
	check_has(herod_log(), "state/past");
	check_int(pid_of(h, "web"), web);
	wait_for(tries() == 3 && is_state(h, "bad", "FATAL"));
	herod_stop(h);
}
