/* Processes that come and go with the jobs: numprocs_max. */
#include <stdlib.h>
#include <string.h>

#include "herod.h"

#define CONF \
	AT_ONCE "[runner:w]\nkind = stdio\nnumprocs = %d\nnumprocs_max = %d\n" \
		"scale_wait = 0.1\nscale_idle = 0.2\ncommand = %s\n"

static struct herod *
start(int least, int most)
{
	struct herod *h = herod_start(CONF, least, most,
	    text("%s/tests/integration/worker", getenv("HEROD_BUILD")));

	wait_for_redis(h);
	return h;
}

static void
queue_job(
    struct herod *h, const char *runner, const char *id, const char *payload)
{
	rpc(h, "queue_job_to_runner", "{s:s, s:{s:s, s:s}}", "runner", runner,
	    "job", "id", id, "payload", payload);
}

/* Jobs j1, j2... that are at work until end_jobs(). */
static void
queue_jobs(struct herod *h, int n)
{
	static int last;

	while (n-- > 0)
		queue_job(h, "w", text("j%d", ++last),
		    text("wait-for %s", here("end")));
}

static void
end_jobs(void)
{
	write_file(here("end"), "");
}

static int
count_states(struct herod *h, const char *runner, const char *state)
{
	json_t *instances = at(status_of(h, runner), "instances"), *i;
	int n = 0;
	size_t k;

	json_array_foreach (instances, k, i)
		n += strcmp(text_at(i, "state"), state) == 0;
	return n;
}

static bool
are_running(struct herod *h, int n)
{
	return count_states(h, "w", "RUNNING") == n;
}

/* So many have a process, and the others wait. */
static bool
are(struct herod *h, int running, int waiting)
{
	return are_running(h, running) &&
	    count_states(h, "w", "WAITING") == waiting;
}

static long long
restarts(struct herod *h)
{
	return int_at(status_of(h, "w"), "restarts");
}

void
test_the_first_job_starts_a_process_and_the_last_ends_it(void)
{
	struct herod *h = start(0, 2);

	wait_for(are(h, 0, 2));
	check_int(int_at(status_of(h, "w"), "wanted_instances"), 0);
	check_has(text_at(status_of(h, "w"), "instances.0.why"),
	    "nothing to do for it");
	queue_jobs(h, 1);
	wait_for(are_running(h, 1));
	end_jobs();
	check_str(job_outcome(h, "j1"), "it is there");
	wait_for(are(h, 0, 2));
	check_int(restarts(h), 0);
	herod_stop(h);
}

void
test_as_many_as_jobs_wait_and_no_more_than_numprocs_max(void)
{
	struct herod *h = start(1, 3);

	wait_for(are(h, 1, 2));
	queue_jobs(h, 2);
	wait_for(are(h, 2, 1));
	queue_jobs(h, 6);
	wait_for(are(h, 3, 0));
	end_jobs();
	wait_for(are(h, 1, 2));
	check_str(job_outcome(h, "j8"), "it is there");
	herod_stop(h);
}

static bool
has_jobs(struct herod *h, int n)
{
	return int_at(status_of(h, "w"), "queue.running") == n;
}

/* What is fewer are enough is seen while a job is at work in the highest. */
void
test_a_process_too_many_ends_after_its_job(void)
{
	struct herod *h = start(1, 2);

	queue_job(h, "w", "short", "hold");
	queue_jobs(h, 1);
	wait_for(has_jobs(h, 2));
	check_str(text_at(status_of(h, "w"), "instances.0.jobs.0"), "short");
	rpc(h, "job.stop", "{s:s}", "id", "short");
	wait_for(strcmp(text_at(status_of(h, "w"), "instances.1.state"),
		     "DRAINING") == 0);
	end_jobs();
	check_str(job_outcome(h, "j1"), "it is there");
	wait_for(are(h, 1, 1));
	check_int(
	    int_at(rpc(h, "job.get", "{s:s}", "id", "j1"), "attempts"), 1);
	herod_stop(h);
}

/* Those that were started for jobs outlive herod, as others do. */
void
test_jobs_in_more_processes_outlive_herod(void)
{
	struct herod *h = start(0, 2);
	pid_t first, second;

	queue_jobs(h, 2);
	wait_for(has_jobs(h, 2));
	first = (pid_t)int_at(status_of(h, "w"), "instances.0.pid");
	second = (pid_t)int_at(status_of(h, "w"), "instances.1.pid");
	herod_kill9(h);
	wait_for_redis(h);
	wait_for(has_jobs(h, 2));
	check(is_alive(first) && is_alive(second));
	end_jobs();
	check_str(job_outcome(h, "j1"), "it is there");
	check_str(job_outcome(h, "j2"), "it is there");
	check_int(
	    int_at(rpc(h, "job.get", "{s:s}", "id", "j2"), "attempts"), 1);
	wait_for(are(h, 0, 2));
	herod_stop(h);
}

/* Whether a job was queued before or after. */
void
test_a_stopped_one_starts_for_jobs_when_it_is_started(void)
{
	struct herod *h = start(0, 1);

	rpc(h, "stop_runner", "{s:s}", "name", "w");
	wait_for(is_state(h, "w", "STOPPED"));
	queue_jobs(h, 1);
	end_jobs();
	check(is_state(h, "w", "STOPPED"));
	rpc(h, "start_runner", "{s:s, s:b}", "name", "w", "wait", 1);
	check_str(job_outcome(h, "j1"), "it is there");
	herod_stop(h);
}

void
test_other_numbers_are_in_force_at_once(void)
{
	struct herod *h = start(0, 2);

	wait_for(are(h, 0, 2));
	write_file(h->conf,
	    text(CONF, 2, 4,
		text("%s/tests/integration/worker", getenv("HEROD_BUILD"))));
	rpc(h, "reload", NULL);
	wait_for(are(h, 2, 2));
	write_file(h->conf,
	    text(CONF, 3, 0,
		text("%s/tests/integration/worker", getenv("HEROD_BUILD"))));
	rpc(h, "reload", NULL);
	wait_for(are(h, 3, 0));
	check_int(int_at(status_of(h, "w"), "wanted_instances"), 3);
	herod_stop(h);
}

/* One that could serve is as good as one that runs. */
void
test_who_depends_on_it_starts_though_nothing_runs(void)
{
	struct herod *h = herod_start(CONF
	    "[runner:d]\nrequires = w\ncommand = sleep 1000\n",
	    0, 1, text("%s/tests/integration/worker", getenv("HEROD_BUILD")));

	wait_for(is_state(h, "d", "RUNNING"));
	check(is_state(h, "w", "WAITING"));
	herod_stop(h);
}

void
test_actors_come_and_go_with_the_jobs_too(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:a]\nkind = redis\nnumprocs = 0\nnumprocs_max = 1\n"
	    "scale_idle = 0.2\ncommand = sh %s\n",
	    sample_path("actor.sh"));

	wait_for_redis(h);
	wait_for(is_state(h, "a", "WAITING"));
	queue_job(h, "a", "j", "hello");
	check_has(job_outcome(h, "j"), "HELLO");
	wait_for(is_state(h, "a", "WAITING"));
	herod_stop(h);
}

static const char *
why_not(struct herod *h, const char *kind, int least, int most)
{
	return text_at(
	    rpc_error(h, "add_runner", "{s:{s:s, s:[s], s:s, s:i, s:i}}",
		"runner", "name", "x", "command", "true", "kind", kind,
		"numprocs", least, "numprocs_max", most),
	    "message");
}

void
test_numbers_that_make_no_sense_are_refused(void)
{
	struct herod *h = start(1, 2);

	check_has(text_at(rpc_error(h, "scale_runner", "{s:s, s:i}", "name",
			      "w", "instances", 5),
		      "message"),
	    "from 1 to 2 processes, as its jobs need them");
	check_has(why_not(h, "exec", 1, 3),
	    "numprocs_max is for kind stdio or redis: exec starts a process "
	    "for each job");
	check_has(why_not(h, "service", 1, 3), "a service has no jobs");
	check_has(why_not(h, "stdio", 0, 0),
	    "numprocs is 0; wanted at least 1, or numprocs_max");
	check_has(why_not(h, "stdio", 4, 2),
	    "numprocs_max is 2; wanted at least numprocs, 4");
	herod_stop(h);
}

void
test_a_rolling_restart_has_nothing_to_do_for_those_that_wait(void)
{
	struct herod *h = start(1, 3);
	pid_t before;

	wait_for(are(h, 1, 2));
	before = pid_of(h, "w");
	rpc(h, "restart_runner", "{s:s, s:b, s:b}", "name", "w", "rolling", 1,
	    "wait", 1);
	wait_for(are(h, 1, 2));
	check(pid_of(h, "w") != before);
	herod_stop(h);
}
