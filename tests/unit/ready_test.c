/* Readiness, watchdog and faults, with processes that do what the test
 * says. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fake/house.h"
#include "ready.h"

#define NEVER "\"startwaitsecs\": 1000, \"backoff_base\": 0.001"

static struct runner *
start_one(struct house *h, const char *settings)
{
	struct runner *r;

	open_house(h);
	r = house_add(h, "web", settings);
	runner_start(r);
	return r;
}

void
test_it_is_running_when_it_says_so(void)
{
	struct house h;
	struct runner *r = start_one(&h, "\"ready\": \"fd:4\", " NEVER);

	check_int(house_ready_fd(), 4);
	executed(r);
	check_int(state_of(r), STARTING);
	check_str(only(r)->why, "started, not ready yet");
	check(only(r)->ready_at <= 0);
	says_ready(r);
	check_int(state_of(r), RUNNING);
	check_has(only(r)->why, "ready after ");
	check(only(r)->ready_at > 0);
	says_ready(r); /* Pitfall 37: twice is fine. */
	check_int(state_of(r), RUNNING);
	over(r, 3);
	check(only(r)->ready_at <= 0);
	close_house(&h);
}

void
test_without_readiness_nothing_is_asked_for(void)
{
	struct house h;
	struct runner *r = start_one(&h, "");

	check_int(house_ready_fd(), 0);
	check(strstr(house_environment(), "NOTIFY_SOCKET") == NULL);
	executed(r);
	check_int(state_of(r), RUNNING);
	check(only(r)->ready == NULL);
	close_house(&h);
}

/* Pitfall 38. */
void
test_one_that_is_never_ready_is_stopped_and_its_start_has_failed(void)
{
	struct house h;
	struct runner *r = start_one(&h,
	    "\"ready\": \"fd:3\", \"startwaitsecs\": 0.01,"
	    " \"startretries\": 1, \"backoff_base\": 0.001");
	int k;

	for (k = 0; k < 2; k++) {
		executed(r);
		wait_for((turn(&h), state_of(r) == STOPPING));
		check(is_asked(r));
		check_has(only(r)->why, "not ready within ");
		says_ready(r); /* Pitfall 37: too late. */
		check_int(state_of(r), STOPPING);
		over(r, 0);
		if (k == 0)
			wait_for((turn(&h), state_of(r) == STARTING));
	}
	check_int(state_of(r), FATAL);
	check_has(only(r)->why, "not ready within ");
	check_has(only(r)->why, "2 times in a row");
	check_int(house_starts(), 2);
	close_house(&h);
}

void
test_a_stop_of_one_that_is_late_is_a_stop(void)
{
	struct house h;
	struct runner *r =
	    start_one(&h, "\"ready\": \"fd:3\", \"startwaitsecs\": 0.01");

	executed(r);
	wait_for((turn(&h), state_of(r) == STOPPING));
	runner_stop(r, true);
	over(r, 0);
	check_int(state_of(r), STOPPED);
	close_house(&h);
}

void
test_an_end_before_it_was_ready_is_a_failed_start(void)
{
	struct house h;
	struct runner *r =
	    start_one(&h, "\"ready\": \"fd:3\", \"startretries\": 0, " NEVER);

	executed(r);
	over(r, 0);
	check_int(state_of(r), FATAL);
	check_has(only(r)->why, "exit 0 before it was ready");
	close_house(&h);
}

void
test_a_line_of_its_output_makes_it_ready(void)
{
	struct house h;
	struct runner *r = start_one(
	    &h, "\"ready\": \"log:^listening (on|at) [0-9]+\", " NEVER);

	executed(r);
	writes(r, "not listening on 1\nlisten");
	check_int(state_of(r), STARTING);
	writes(r, "ing at 80\nmore\n");
	check_int(state_of(r), RUNNING);
	writes(r, "listening at 81\n");
	close_house(&h);
}

void
test_a_line_of_another_instance_does_not(void)
{
	struct house h;
	struct runner *r =
	    start_one(&h, "\"ready\": \"log:ready\", \"numprocs\": 2, " NEVER);
	struct child *c = r->instances[1]->child;

	c->started_at = 1;
	c->ops->started(c);
	r->instances[0]->child->ops->output(
	    r->instances[0]->child, CHILD_STDOUT, "ready\n", 6);
	check_int(r->instances[1]->state, STARTING);
	c->ops->output(c, CHILD_STDERR, "ready\n", 6);
	check_int(r->instances[1]->state, RUNNING);
	close_house(&h);
}

void
test_bad_words_are_refused_with_a_reason(void)
{
	static const char *const bad[][2] = {
	    {"log:a(", "not a regular expression"}, {"log:", "log:REGEX"},
	    {"fd:2", "fd:N (3 to 9)"}, {"fd:10", "fd:N"}, {"soon", "fd:N"}};
	struct runner_conf c = {0};
	struct err e;
	json_t *value;
	size_t k;

	settings_init(runner_settings, &c);
	for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		err_clear(&e);
		value = json_string(bad[k][0]);
		check_int(
		    settings_set(runner_settings, &c, "ready", value, &e), -1);
		check_has(e.text, bad[k][1]);
		json_decref(value);
	}
	settings_clear(runner_settings, &c);
}

void
test_others_wait_until_it_is_ready(void)
{
	struct house h;
	struct runner *web, *db;

	open_house(&h);
	web = house_add(&h, "web", "\"requires\": \"db\"");
	db = house_add(&h, "db", "\"ready\": \"fd:3\", " NEVER);
	runner_start(web);
	executed(db);
	turn(&h);
	check_int(state_of(web), WAITING);
	check_str(only(web)->why, "waits for db to be ready");
	says_ready(db);
	turn(&h);
	check_int(state_of(web), STARTING);
	close_house(&h);
}

/* ---- over the death of herod ---- */

void
test_the_next_herod_knows_that_it_was_ready(void)
{
	struct house h;
	struct runner *r = start_one(&h, "\"ready\": \"fd:3\", " NEVER);
	char before[CHILD_TAG_MAX], after[CHILD_TAG_MAX];

	strlcpy(before, house_tag(), sizeof(before));
	executed(r);
	says_ready(r);
	strlcpy(after, house_tag(), sizeof(after));
	close_house(&h);

	open_house(&h);
	r = house_add(&h, "web", "\"ready\": \"fd:3\", " NEVER);
	found(&h, r, after);
	check_int(state_of(r), RUNNING);
	check(only(r)->ready_at > 0);
	close_house(&h);

	open_house(&h);
	r = house_add(&h, "web", "\"ready\": \"fd:3\", " NEVER);
	found(&h, r, before);
	check_int(state_of(r), STARTING);
	says_ready(r);
	check_int(state_of(r), RUNNING);
	close_house(&h);
}

void
test_the_time_to_be_ready_goes_on(void)
{
	struct house h;
	struct runner *r;

	open_house(&h);
	r = house_add(
	    &h, "web", "\"ready\": \"fd:3\", \"startwaitsecs\": 0.01");
	found(&h, r,
	    "{\"runner\": \"web\", \"n\": 0, \"ready\": 0, \"watchdog\": 0}");
	check_int(state_of(r), STARTING);
	wait_for((turn(&h), state_of(r) == STOPPING));
	close_house(&h);
}

void
test_the_watchdog_goes_on(void)
{
	struct house h;
	struct runner *r;

	open_house(&h);
	r = house_add(&h, "web", "\"watchdog\": 1000");
	found(&h, r,
	    "{\"runner\": \"web\", \"n\": 0, \"ready\": 5,"
	    " \"watchdog\": 0.01}");
	check_int(state_of(r), RUNNING);
	wait_for((turn(&h), state_of(r) == STOPPING));
	close_house(&h);
}

/* Without ready there is nothing to wait for, then as now. */
void
test_a_watchdog_alone_is_not_waited_for(void)
{
	struct house h;
	struct runner *r = start_one(&h, "\"watchdog\": 1000");
	char tag[CHILD_TAG_MAX];

	strlcpy(tag, house_tag(), sizeof(tag));
	executed(r);
	check_int(state_of(r), RUNNING);
	close_house(&h);

	open_house(&h);
	r = house_add(&h, "web", "\"watchdog\": 1000, \"startsecs\": 0");
	found(&h, r, tag);
	check_int(state_of(r), RUNNING);
	close_house(&h);
}

/* ---- watchdog ---- */

void
test_a_hungry_watchdog_restarts_it(void)
{
	struct house h;
	struct runner *r = start_one(&h, "\"watchdog\": 0.01");

	check_has(house_environment(), "WATCHDOG_USEC=10000\n");
	executed(r);
	wait_for((turn(&h), state_of(r) == STOPPING));
	check_str(only(r)->why, "watchdog: not a word for 10ms, stopping");
	over(r, 0);
	check_int(state_of(r), STARTING);
	check_int(only(r)->restarts, 1);
	executed(r);
	wait_for((turn(&h), state_of(r) == STOPPING));
	over(r, 0);
	check_int(state_of(r), BACKOFF);
	check_has(only(r)->why, "watchdog: not a word for 10ms; failure 2");
	close_house(&h);
}

/* Pitfall 18. */
void
test_a_stopped_process_has_no_watchdog(void)
{
	struct house h;
	struct runner *r = start_one(&h, "\"watchdog\": 0.01");
	ev_tstamp since;

	executed(r);
	instance_event(only(r), EVENT_PAUSED);
	since = ev_time();
	wait_for((turn(&h), ev_time() - since > 0.05));
	check_int(state_of(r), PAUSED);
	instance_event(only(r), EVENT_CONTINUED);
	wait_for((turn(&h), state_of(r) == STOPPING));
	close_house(&h);
}

void
test_it_may_ask_for_more_time(void)
{
	struct house h;
	struct runner *r =
	    start_one(&h, "\"ready\": \"fd:3\", \"startwaitsecs\": 0.05");

	executed(r);
	instance_extend(only(r), 1000);
	check(ev_timer_remaining(h.loop, &only(r)->timer) > 100);
	runner_stop(r, true);
	instance_extend(only(r), 77);
	check(house_extended() > 76);
	over(r, 0);
	close_house(&h);
}
