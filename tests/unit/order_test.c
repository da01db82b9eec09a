/*
 * Order of start and stop, with processes that do what the test says.
 * tests/integration/start_order_test.c has real ones.
 */
#include <errno.h>

#include "check.h"
#include "fake/house.h"
#include "mem.h"
#include "order.h"

/* db, and web that depends on it by the settings given. */
struct pair {
	struct house h;
	struct runner *db, *web;
};

static void
open_pair(struct pair *p, const char *db, const char *web)
{
	open_house(&p->h);
	p->web = house_add(&p->h, "web", web);
	p->db = house_add(&p->h, "db", db);
}

static void
settle(struct pair *p)
{
	runners_settle(&*p->h.all, false);
}

/* Both up. */
static void
open_running_pair(struct pair *p, const char *web)
{
	open_pair(p, "", web);
	settle(p);
	executed(p->db);
	turn(&p->h);
	executed(p->web);
	check_int(state_of(p->web), RUNNING);
	check_int(state_of(p->db), RUNNING);
}

static void
note_end(void *arg, enum wait_end end)
{
	*(int *)arg = (int)end;
}

#define REQUIRES "\"requires\": [\"db\"]"

void
test_it_waits_for_what_it_requires_and_says_so(void)
{
	struct pair p;

	open_pair(&p, "", REQUIRES);
	settle(&p);
	check_int(state_of(p.db), STARTING);
	check_int(state_of(p.web), WAITING);
	check_str(only(p.web)->why, "waits for db to be started");
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

void
test_who_waits_for_a_start_does_not_wait_for_startsecs(void)
{
	struct pair p;

	open_pair(&p, "\"startsecs\": 1000", REQUIRES);
	settle(&p);
	turn(&p.h);
	check_int(state_of(p.web), WAITING);
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.db), STARTING);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

/* "" when it has all that it requires. */
static const char *
lack(const struct runner *r)
{
	static char why[128];

	why[0] = '\0';
	check(order_lacks(r, why, sizeof(why)) == (why[0] != '\0'));
	return why;
}

void
test_what_it_requires_is_lacked_while_it_is_down(void)
{
	struct pair p;

	open_running_pair(&p, REQUIRES);
	check_str(lack(p.web), "");
	over(p.db, 3);
	check_str(lack(p.web), "requires db, which is STARTING");
	executed(p.db);
	check_str(lack(p.web), "");
	runner_stop(p.db, false);
	check_str(lack(p.web), "requires db, which is about to stop");
	over(p.web, 0);
	turn(&p.h);
	over(p.db, 0);
	check_str(lack(p.web), "requires db, which is STOPPED");
	runner_remove(p.db);
	turn(&p.h);
	check_str(lack(p.web), "requires db, which is not there");
	close_house(&p.h);
}

void
test_what_it_only_wants_or_what_was_to_end_is_not_lacked(void)
{
	struct pair p;
	struct runner *late;

	open_pair(&p, "", "\"wants\": \"db\", \"after\": \"db nobody\"");
	late = house_add(&p.h, "late", "\"requires\": \"db:exited\"");
	check_str(lack(p.web), "");
	check_str(lack(late), "");
	close_house(&p.h);
}

void
test_ready_is_running(void)
{
	struct pair p;

	open_pair(&p, "\"startsecs\": 0.001", "\"after\": \"db:ready\"");
	settle(&p);
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.web), WAITING);
	check_str(only(p.web)->why, "waits for db to be ready");
	wait_for((turn(&p.h), state_of(p.web) == STARTING));
	check_int(state_of(p.db), RUNNING);
	close_house(&p.h);
}

void
test_exited_is_a_good_end(void)
{
	struct pair p;

	open_pair(&p, "", "\"requires\": \"db:exited\"");
	settle(&p);
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.web), WAITING);
	check_str(only(p.web)->why, "waits for db to end");
	over(p.db, 0);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

/* Pitfall 40. */
void
test_a_bad_end_is_told_and_not_waited_for(void)
{
	struct pair p;
	int end = -1;

	open_pair(
	    &p, "\"autorestart\": \"never\"", "\"requires\": \"db:exited\"");
	settle(&p);
	runner_wait(p.web, WANTED_UP, 0, note_end, &end);
	executed(p.db);
	over(p.db, 3);
	turn(&p.h);
	check_int(state_of(p.web), FATAL);
	check_str(only(p.web)->why, "requires db: EXITED: exit 3");
	check_int(end, WAIT_FAILED);
	close_house(&p.h);
}

void
test_what_was_refused_starts_when_the_reason_is_gone(void)
{
	struct pair p;

	open_pair(&p, "", REQUIRES);
	settle(&p);
	failed(p.db, "exec", ENOENT);
	turn(&p.h);
	check_int(state_of(p.web), FATAL);
	check_str(
	    only(p.web)->why, "requires db: FATAL: No such file or directory");
	runner_start(p.db);
	turn(&p.h);
	check_int(state_of(p.web), WAITING);
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

void
test_wants_and_after_do_without_what_failed(void)
{
	struct pair p;
	struct runner *late;

	open_pair(&p, "", "\"wants\": \"db nobody\"");
	late = house_add(&p.h, "late", "\"after\": \"db nobody\"");
	settle(&p);
	check_int(state_of(p.web), WAITING);
	check_int(state_of(late), WAITING);
	failed(p.db, "exec", ENOENT);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	check_int(state_of(late), STARTING);
	close_house(&p.h);
}

void
test_a_start_by_hand_starts_what_is_required(void)
{
	char **also = NULL;
	struct pair p;
	struct runner *disk;

	open_pair(&p, "\"requires\": \"disk\", \"autostart\": false",
	    REQUIRES ", \"after\": \"other\"");
	disk = house_add(&p.h, "disk", "");
	house_add(&p.h, "other", "\"autostart\": false");
	runner_start_also(p.web, &also);
	check_int(state_of(disk), STARTING);
	check_int(state_of(p.db), WAITING);
	check_int(state_of(p.web), WAITING);
	check_int(state_of(runner_find(p.h.all, "other")), STOPPED);
	check_int(strv_count(also), 2);
	check_str(also[0], "disk");
	check_str(also[1], "db");
	strv_free(also);
	close_house(&p.h);
}

void
test_at_first_those_that_nobody_stopped_come_up_for_others(void)
{
	struct pair p;

	open_pair(&p, "\"autostart\": false", REQUIRES);
	settle(&p);
	check_int(state_of(p.db), STARTING);
	close_house(&p.h);
}

void
test_what_was_stopped_by_hand_stays_down_when_herod_comes_again(void)
{
	struct pair p;

	open_pair(&p, "\"autostart\": false", REQUIRES);
	runners_settle(p.h.all, true);
	check_int(state_of(p.db), STOPPED);
	check_int(state_of(p.web), STOPPED);
	check_str(only(p.web)->why,
	    "requires db: STOPPED: not started since herod began");
	close_house(&p.h);
}

/* Pitfall 21. */
void
test_one_that_waits_can_be_stopped_and_removed_at_once(void)
{
	struct pair p;

	open_pair(&p, "", REQUIRES);
	settle(&p);
	runner_stop(p.web, true);
	check_int(state_of(p.web), STOPPED);
	check(runner_is_down(p.web));
	runner_start(p.web);
	check_int(state_of(p.web), WAITING);
	runner_restart(p.web, true);
	check_int(state_of(p.web), WAITING);
	runner_remove(p.web);
	wait_for((turn(&p.h), runner_find(p.h.all, "web") == NULL));
	executed(p.db);
	turn(&p.h);
	check_int(house_starts(), 1);
	close_house(&p.h);
}

void
test_stopping_what_is_required_takes_the_other_down_first(void)
{
	struct pair p;

	open_running_pair(&p, REQUIRES);
	runner_stop(p.db, true);
	check(is_asked(p.web));
	check(!is_asked(p.db));
	check_int(state_of(p.db), RUNNING);
	check_str(only(p.db)->why, "stops when web is down");
	over(p.web, 0);
	turn(&p.h);
	check(is_asked(p.db));
	check_int(state_of(p.web), STOPPED);
	check_has(only(p.web)->why, "requires db: ");
	over(p.db, 0);
	turn(&p.h);
	check_int(state_of(p.db), STOPPED);
	check_int(p.web->wanted, WANTED_UP);
	runner_start(p.db);
	executed(p.db);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

void
test_a_restart_takes_the_other_along(void)
{
	struct pair p;
	int end = -1;

	open_running_pair(&p, REQUIRES);
	runner_restart(p.db, true);
	runner_wait(p.db, WANTED_UP, 0, note_end, &end);
	check_int(end, -1);
	over(p.web, 0);
	check_int(state_of(p.web), WAITING);
	turn(&p.h);
	check(is_asked(p.db));
	over(p.db, 0);
	check_int(state_of(p.db), STARTING);
	executed(p.db);
	check_int(end, WAIT_DONE);
	turn(&p.h);
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

void
test_a_crash_of_what_is_required_leaves_the_other_alone(void)
{
	struct pair p;

	open_running_pair(&p, REQUIRES);
	over(p.db, 3);
	check_int(state_of(p.db), STARTING);
	turn(&p.h);
	check_int(state_of(p.web), RUNNING);
	check(!is_asked(p.web));
	close_house(&p.h);
}

void
test_a_stop_leaves_those_that_only_come_after(void)
{
	struct pair p;

	open_running_pair(&p, "\"after\": [\"db\"]");
	runner_stop(p.db, true);
	check(is_asked(p.db));
	check(!is_asked(p.web));
	close_house(&p.h);
}

void
test_a_start_takes_back_a_stop_that_has_not_begun(void)
{
	struct pair p;
	int end = -1;

	open_running_pair(&p, REQUIRES);
	runner_stop(p.db, true);
	runner_start(p.db);
	runner_wait(p.db, WANTED_UP, 0, note_end, &end);
	check_int(end, WAIT_DONE);
	over(p.web, 0);
	turn(&p.h);
	check(!is_asked(p.db));
	check_int(state_of(p.web), STARTING);
	close_house(&p.h);
}

void
test_a_stop_overtakes_a_restart_that_has_not_begun(void)
{
	struct pair p;

	open_running_pair(&p, REQUIRES);
	runner_restart(p.db, true);
	runner_stop(p.db, true);
	over(p.web, 0);
	turn(&p.h);
	over(p.db, 0);
	check_int(state_of(p.db), STOPPED);
	check_int(state_of(p.web), STOPPED);
	close_house(&p.h);
}

void
test_one_that_ends_before_its_turn_is_not_started_again(void)
{
	struct pair p;

	open_running_pair(&p, REQUIRES);
	runner_stop(p.db, true);
	over(p.db, 3);
	check_int(state_of(p.db), STOPPED);
	close_house(&p.h);
}

void
test_stop_all_is_in_reverse(void)
{
	struct pair p;

	open_running_pair(&p, "\"after\": [\"db\"]");
	runners_stop_all(p.h.all, true);
	check(is_asked(p.web));
	check(!is_asked(p.db));
	over(p.web, 0);
	turn(&p.h);
	check(is_asked(p.db));
	over(p.db, 0);
	check(runner_is_down(p.db));
	close_house(&p.h);
}

void
test_start_all_is_parallel_where_it_may_be(void)
{
	struct pair p;
	struct runner *other;

	open_pair(&p, "\"priority\": 2", REQUIRES ", \"priority\": 1");
	other = house_add(&p.h, "other", "\"priority\": 3");
	runners_start_all(p.h.all);
	check_int(state_of(p.db), STARTING);
	check_int(state_of(other), STARTING);
	check_int(state_of(p.web), WAITING);
	close_house(&p.h);
}

static void
note_done(void *arg)
{
	*(bool *)arg = true;
}

/* Priorities say the contrary; dependencies are stronger. */
void
test_shutdown_is_in_reverse(void)
{
	struct pair p;
	bool done = false;

	open_pair(&p, "\"priority\": 9", "\"after\": \"db\", \"priority\": 1");
	settle(&p);
	executed(p.db);
	turn(&p.h);
	executed(p.web);
	runners_shutdown(p.h.all, false, note_done, &done);
	wait_for((turn(&p.h), is_asked(p.web)));
	check(!is_asked(p.db));
	over(p.web, 0);
	wait_for((turn(&p.h), is_asked(p.db)));
	over(p.db, 0);
	wait_for((turn(&p.h), done));
	close_house(&p.h);
}

/* Pitfall 40. */
void
test_shutdown_does_not_wait_for_what_never_started(void)
{
	struct pair p;
	bool done = false;

	open_pair(&p, "", REQUIRES);
	settle(&p);
	runners_shutdown(p.h.all, false, note_done, &done);
	wait_for((turn(&p.h), is_asked(p.db)));
	check_int(state_of(p.web), STOPPED);
	over(p.db, 0);
	wait_for((turn(&p.h), done));
	check_int(house_starts(), 1);
	close_house(&p.h);
}

void
test_a_hurried_shutdown_kills_without_order(void)
{
	struct pair p;
	bool done = false;

	open_running_pair(&p, REQUIRES);
	runners_shutdown(p.h.all, true, note_done, &done);
	wait_for((turn(&p.h), is_asked(p.web) && is_asked(p.db)));
	close_house(&p.h);
}

void
test_adding_a_cycle_or_an_unknown_requirement_is_refused(void)
{
	struct runner_conf conf = {0};
	struct pair p;
	struct err e = {0};

	open_pair(&p, "\"after\": \"new\"", REQUIRES);
	settings_init(runner_settings, &conf);
	strv_add(&conf.requires, xstrdup("web"));
	check_int(order_check(p.h.all, "new", &conf, &e), -1);
	check_int(err_row(e.code)->number, -32016);
	check_has(e.text, "db -> new -> web -> db");
	err_clear(&e);
	strv_add(&conf.requires, xstrdup("nobody"));
	check_int(order_check(p.h.all, "else", &conf, &e), -1);
	check_has(e.text, "there is no runner nobody");
	settings_clear(runner_settings, &conf);
	close_house(&p.h);
}

/* ---- every event in every state, of two that depend on each other ---- */

static void
let_happen(struct runner *r, unsigned what)
{
	struct instance *i = only(r);

	if (what == 0)
		runner_start(r);
	else if (what == 1)
		runner_stop(r, true);
	else if (what == 2)
		runner_restart(r, true);
	else if (what == 3 && i->child && i->child->started_at <= 0)
		executed(r);
	else if (what == 4 && i->child)
		over(r, 3);
	else if (what == 5 && i->child)
		over(r, 0);
	else if (what == 6)
		instance_event(i, EVENT_KILL);
	else if (what == 7 && i->child && i->child->started_at <= 0)
		failed(r, "exec", ENOENT);
	else if (what == 8 && i->child && i->child->started_at > 0)
		instance_event(i, EVENT_PAUSED);
	else if (what == 9 && i->child && i->child->started_at > 0)
		instance_event(i, EVENT_CONTINUED);
	else if (what == 10 && i->state == BACKOFF)
		instance_event(i, EVENT_TIMER);
}

static void
check_invariants(const struct runner *r)
{
	const struct instance *i = only(r);

	check((i->child != NULL) == instance_is_up(i));
	check(!i->held || i->state == STARTING || i->state == RUNNING ||
	    i->state == PAUSED);
	check(!i->blocked || i->state == STOPPED || i->state == FATAL);
	check(*i->why != '\0');
}

/* The world is kind to a runner. */
static void
help(struct runner *r)
{
	struct instance *i = only(r);

	if (i->state == STARTING && i->child->started_at <= 0)
		executed(r);
	else if (i->state == STOPPING)
		over(r, 0);
	else if (i->state == PAUSED)
		instance_event(i, EVENT_CONTINUED);
	else if (i->state == BACKOFF)
		instance_event(i, EVENT_TIMER);
	check_invariants(r);
}

/* Whatever happened before: what is wanted comes about. */
static void
check_comes_up(struct pair *p)
{
	int tries;

	runner_start(p->web);
	for (tries = 0; state_of(p->web) != RUNNING; tries++) {
		check(tries < 20);
		help(p->db);
		turn(&p->h);
		help(p->web);
		turn(&p->h);
	}
}

void
test_every_event_in_every_state_keeps_the_order(void)
{
	struct pair p;
	unsigned step, what, seed = 4711;

	open_pair(&p, "\"backoff_base\": 1000", REQUIRES);
	for (step = 1; step <= 100000; step++) {
		seed = seed * 1103515245 + 12345;
		what = seed >> 16;
		let_happen(what & 1 ? p.db : p.web, what / 2 % 11);
		if (what & 64)
			turn(&p.h);
		check_invariants(p.db);
		check_invariants(p.web);
		if (step % 1000 == 0)
			check_comes_up(&p);
	}
	close_house(&p.h);
}
