/* Health probes, with processes that do what the test says. */
#include <string.h>

#include "check.h"
#include "fake/groups.h"
#include "fake/house.h"
#include "probe.h"
#include "target.h"

#define FAST "\"health_interval\": 0.01, \"health\": \"exec:look 'a b'\""
#define SLOW "\"health_interval\": 1000, \"health\": \"exec:look\""

static struct runner *
running(struct house *h, const char *settings)
{
	struct runner *r;

	open_house(h);
	r = house_add(h, "web", settings);
	runner_start(r);
	executed(r);
	return r;
}

/* Until a probe runs beside the process. */
static void
await_probe(struct house *h)
{
	wait_for((turn(h), house_living() == 2));
}

static const char *
health_of(const struct runner *r, const char *member)
{
	static char text[512];
	json_t *health = probe_json(only(r));
	const char *value = json_string_value(json_object_get(health, member));

	strlcpy(text, value ? value : "", sizeof(text));
	json_decref(health);
	return text;
}

static void
fail_once(struct house *h, struct runner *r)
{
	await_probe(h);
	probe_over(r, 1);
}

void
test_a_running_process_is_probed(void)
{
	struct house h;
	struct runner *r = running(&h, FAST);

	check_int(state_of(r), RUNNING);
	check_str(health_of(r, "status"), "starting");
	await_probe(&h);
	check_str(house_command(), "look a b");
	check_has(house_environment(), "HERO_RUNNER=web\n");
	probe_over(r, 0);
	check_str(health_of(r, "status"), "healthy");
	await_probe(&h);
	close_house(&h);
}

void
test_without_health_nothing_is_probed(void)
{
	struct house h;
	struct runner *r = running(&h, "");

	check(only(r)->probe == NULL);
	check_str(health_of(r, "status"), "");
	close_house(&h);
}

void
test_failures_in_a_row_make_it_unhealthy_and_restart_it(void)
{
	struct house h;
	struct runner *r = running(&h, FAST ", \"health_retries\": 2");

	fail_once(&h, r);
	await_probe(&h);
	probe_over(r, 0); /* in a row: this begins anew */
	fail_once(&h, r);
	check_int(state_of(r), RUNNING);
	await_probe(&h);
	probe_writes(r, "no answer\n");
	probe_over(r, 3);
	check_int(state_of(r), STOPPING);
	check(is_asked(r));
	check_str(only(r)->why,
	    "unhealthy, 2 probes in a row failed: exit 3: no answer, stopping");
	over(r, 0);
	check_int(state_of(r), STARTING);
	check_int(only(r)->restarts, 1);
	close_house(&h);
}

void
test_one_that_is_unhealthy_again_and_again_backs_off(void)
{
	struct house h;
	struct runner *r = running(&h, FAST ", \"health_retries\": 1");

	fail_once(&h, r);
	over(r, 0);
	executed(r);
	fail_once(&h, r);
	over(r, 0);
	check_int(state_of(r), BACKOFF);
	check_has(only(r)->why, "failure 2 in a row");
	close_house(&h);
}

void
test_tell_only_tells(void)
{
	struct house h;
	struct runner *r = running(
	    &h, FAST ", \"health_retries\": 1, \"health_action\": \"tell\"");

	fail_once(&h, r);
	check_int(state_of(r), RUNNING);
	check_str(health_of(r, "status"), "unhealthy");
	check_str(health_of(r, "output"), "exit 1");
	fail_once(&h, r);
	await_probe(&h);
	probe_over(r, 0);
	check_str(health_of(r, "status"), "healthy");
	close_house(&h);
}

/* Pitfall 39. */
void
test_a_probe_that_hangs_is_killed_and_has_failed(void)
{
	struct house h;
	struct runner *r = running(&h,
	    FAST ", \"health_timeout\": 0.01, \"health_retries\": 1,"
		 " \"health_action\": \"tell\"");

	await_probe(&h);
	wait_for((turn(&h), probe_of(r)->killed));
	probe_over(r, 0); /* too late to be well */
	check_str(health_of(r, "status"), "unhealthy");
	check_str(health_of(r, "output"), "no answer within 10ms");
	close_house(&h);
}

static void
await_probe_beside(struct house *h, int nstuck)
{
	wait_for((turn(h), house_living() == 2 + nstuck));
}

/* Waits for a probe, which is killed in vain as were others before. */
static struct child *
stick(struct house *h, struct runner *r, int nstuck)
{
	struct child *c;

	await_probe_beside(h, nstuck);
	wait_for((turn(h), probe_of(r)->killed));
	c = probe_of(r);
	c->ops->unkillable(c, "pid 12 (cat) in state D");
	return c;
}

/* Pitfalls 5 and 39. */
void
test_a_probe_in_state_d_has_failed_and_blocks_no_other(void)
{
	struct house h;
	struct runner *r = running(&h,
	    FAST ", \"health_timeout\": 0.01, \"health_retries\": 1,"
		 " \"health_action\": \"tell\"");
	struct child *stuck = stick(&h, r, 0);

	check_str(health_of(r, "status"), "unhealthy");
	check_str(health_of(r, "output"), "no answer within 10ms");
	await_probe_beside(&h, 1);
	check(probe_of(r) != stuck);
	probe_over(r, 0);
	check_str(health_of(r, "status"), "healthy");
	close_house(&h);
}

void
test_probes_in_state_d_do_not_become_ever_more(void)
{
	struct house h;
	struct runner *r = running(&h,
	    FAST ", \"health_timeout\": 0.01, \"health_retries\": 4,"
		 " \"health_action\": \"tell\"");
	struct child *stuck = stick(&h, r, 0);

	stick(&h, r, 1);
	stick(&h, r, 2);
	wait_for((turn(&h), strcmp(health_of(r, "status"), "unhealthy") == 0));
	check_str(health_of(r, "output"),
	    "the last 3 probes do not end, though killed");
	check_int(house_living(), 4); /* and the runner's own */
	stuck->ops->over(stuck); /* it has ended after all */
	await_probe_beside(&h, 3);
	probe_over(r, 0);
	check_str(health_of(r, "status"), "healthy");
	close_house(&h);
}

/* Pitfall 39. */
void
test_one_probe_at_a_time(void)
{
	struct house h;
	struct runner *r = running(&h, FAST ", \"health_timeout\": 1000");
	ev_tstamp since;

	await_probe(&h);
	since = ev_time();
	wait_for((turn(&h), ev_time() - since > 0.05));
	check_int(house_living(), 2);
	/* The next process waits until the probe of the last is gone. */
	over(r, 3);
	check(probe_of(r)->killed);
	executed(r);
	since = ev_time();
	wait_for((turn(&h), ev_time() - since > 0.05));
	check_int(house_living(), 2);
	probe_over(r, 1);
	check_str(health_of(r, "output"), "");
	await_probe(&h);
	check(!probe_of(r)->killed);
	close_house(&h);
}

/* Pitfall 39. */
void
test_a_probe_that_fails_while_it_is_stopping_is_ignored(void)
{
	struct house h;
	struct runner *r = running(&h, FAST ", \"health_retries\": 1");

	await_probe(&h);
	runner_stop(r, true);
	check(probe_of(r)->killed);
	probe_over(r, 1);
	check_str(only(r)->why, "stopping");
	over(r, 0);
	check_int(state_of(r), STOPPED);
	turn(&h);
	check_int(house_living(), 0);
	close_house(&h);
}

void
test_a_paused_process_is_not_probed(void)
{
	struct house h;
	struct runner *r = running(&h, FAST);
	ev_tstamp since;

	instance_event(only(r), EVENT_PAUSED);
	since = ev_time();
	wait_for((turn(&h), ev_time() - since > 0.05));
	check_int(house_living(), 1);
	instance_event(only(r), EVENT_CONTINUED);
	await_probe(&h);
	close_house(&h);
}

void
test_ready_by_probe_is_the_first_success(void)
{
	struct house h;
	struct runner *r = running(&h,
	    SLOW ", \"ready\": \"probe\", \"health_retries\": 1,"
		 " \"startwaitsecs\": 1000");

	check_int(state_of(r), STARTING);
	fail_once(&h, r);
	fail_once(&h, r); /* does not count, and not after an interval */
	check_int(state_of(r), STARTING);
	await_probe(&h);
	probe_over(r, 0);
	check_int(state_of(r), RUNNING);
	check_str(health_of(r, "status"), "healthy");
	close_house(&h);
}

void
test_failures_in_the_start_period_do_not_count(void)
{
	struct house h;
	struct runner *r = running(
	    &h, FAST ", \"health_retries\": 1, \"health_start_period\": 1000");
	int k;

	for (k = 0; k < 5; k++)
		fail_once(&h, r);
	check_int(state_of(r), RUNNING);
	check_str(health_of(r, "status"), "starting");
	await_probe(&h);
	probe_over(r, 0);
	fail_once(&h, r); /* it was well once: now they do */
	check_int(state_of(r), STOPPING);
	close_house(&h);
}

/* Pitfall 39. */
/* One that begins between the death and the news of it. */
void
test_a_probe_hides_no_lack_of_memory(void)
{
	struct cgroups *cs = groups_open_fake("memory\n");
	struct house h;
	struct runner *r;

	open_house(&h);
	runners_set_cgroups(h.all, cs);
	r = house_add(&h, "web", FAST);
	runner_start(r);
	executed(r);
	make_file("base/herod.x/web.0", "memory.events", "oom_kill 4\n");
	await_probe(&h);
	check(cgroup_ran_out(only(r)->cgroup));
	close_house(&h);
	cgroups_close(cs);
}

void
test_output_of_a_probe_is_capped(void)
{
	struct house h;
	struct runner *r = running(&h, FAST);
	char text[1001];
	int k;

	memset(text, 'x', 1000);
	text[1000] = '\0';
	await_probe(&h);
	for (k = 0; k < 100; k++)
		probe_writes(r, text);
	probe_over(r, 0);
	check_int((long long)strlen(health_of(r, "output")), 255);
	close_house(&h);
}

void
test_shortage_is_no_failure_of_the_process(void)
{
	struct house h;
	struct runner *r = running(&h, FAST ", \"health_retries\": 1");

	await_probe(&h);
	probe_of(r)->stage = "fork";
	probe_of(r)->shortage = true;
	probe_over(r, 1);
	check_int(state_of(r), RUNNING);
	close_house(&h);
}

void
test_a_probe_of_the_herod_before_is_killed(void)
{
	struct house h;
	struct runner *r = running(&h, SLOW);

	found(&h, r, "{\"probe\": true, \"runner\": \"web\", \"n\": 0}");
	check_int(house_living(), 2);
	close_house(&h);
}

/* ---- words ---- */

void
test_targets_are_read(void)
{
	struct target t;

	check_int(target_parse("tcp:db.local:5432", &t, NULL), 0);
	check_int(t.kind, TARGET_TCP);
	check_str(t.host, "db.local");
	check_str(t.port, "5432");
	check_int(target_parse("tcp:[::1]:80", &t, NULL), 0);
	check_str(t.host, "::1");
	check_str(t.port, "80");
	check_int(target_parse("http://localhost", &t, NULL), 0);
	check_str(t.port, "80");
	check_str(t.path, "/");
	check_int(target_parse("http://[::1]:8080/a?b=c", &t, NULL), 0);
	check_str(t.host, "::1");
	check_str(t.port, "8080");
	check_str(t.path, "/a?b=c");
	check_int(target_parse("exec:a b", &t, NULL), 0);
	check_str(t.command, "a b");
}

void
test_bad_targets_are_refused(void)
{
	static const char *const bad[] = {"", "tcp:", "tcp:host", "tcp::80",
	    "tcp:h:0", "tcp:h:65536", "tcp:h:80x", "tcp:[::1", "tcp:[::1]x:80",
	    "http://", "http:///x", "http://h:/", "http://h/a b",
	    "exec:", "exec:'", "ftp://h/", "https://h/"};
	struct target t;
	size_t k;

	for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		if (target_parse(bad[k], &t, NULL) == 0)
			check_str(bad[k], "refused");
}
