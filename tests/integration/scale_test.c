/*
 * scale_runner: instances come and go while the others, and the jobs in
 * hand, are left alone.
 */
#include <signal.h>
#include <string.h>

#include "herod.h"

CHECK_TIMEOUT(240);

static pid_t
instance_pid(struct herod *h, const char *runner, int n)
{
	return (pid_t)json_integer_value(
	    at(status_of(h, runner), text("instances.%d.pid", n)));
}

static int
count_instances(struct herod *h, const char *runner)
{
	return (int)json_array_size(at(status_of(h, runner), "instances"));
}

static void
scale(struct herod *h, const char *runner, int n)
{
	rpc(h, "scale_runner", "{s:s, s:i}", "name", runner, "instances", n);
}

/* Without waiting until it is so. */
static void
begin_scale(struct herod *h, const char *runner, int n)
{
	rpc(h, "scale_runner", "{s:s, s:i, s:b}", "name", runner, "instances",
	    n, "wait", 0);
}

static struct herod *
start_service(int numprocs)
{
	struct herod *h = herod_start(AT_ONCE "[runner:web]\n"
					      "command = sleep 1000\n"
					      "numprocs = %d\n",
	    numprocs);

	wait_for(is_state(h, "web", "RUNNING"));
	return h;
}

/* Jobs that last until the file "go" is there; each prints its slot. */
static struct herod *
start_jobs(int concurrency)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:it]\nkind = exec\nconcurrency = %d\n"
				"command = %s\n",
		concurrency,
		script("job",
		    text("while [ ! -f %s ]; do sleep 0.05; done\n"
			 "echo \"slot $HERO_INSTANCE\"",
			here("go"))));

	wait_for_redis(h);
	return h;
}

static const char *
queue(struct herod *h, const char *payload)
{
	return json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", payload));
}

static const char *
result_of(struct herod *h, const char *id)
{
	return text_at(rpc(h, "job.wait", "[s]", id), "success");
}

static int
count_running(struct herod *h)
{
	return (int)int_at(status_of(h, "it"), "queue.running");
}

/* ---- processes ---- */

void
test_scaling_touches_no_other_instance(void)
{
	struct herod *h = start_service(2);
	pid_t first = instance_pid(h, "web", 0), second, third;

	second = instance_pid(h, "web", 1);
	scale(h, "web", 4);
	check_int(count_instances(h, "web"), 4);
	check_int(instance_pid(h, "web", 0), first);
	check_int(instance_pid(h, "web", 1), second);
	third = instance_pid(h, "web", 2);
	check(third != 0 && is_alive(third));
	/* The highest numbers go. */
	scale(h, "web", 1);
	check_int(count_instances(h, "web"), 1);
	check_int(int_at(status_of(h, "web"), "wanted_instances"), 1);
	check_int(instance_pid(h, "web", 0), first);
	check(!is_alive(second) && !is_alive(third));
	herod_stop(h);
}

void
test_heroctl_scales(void)
{
	struct herod *h = start_service(1);
	struct ran r = heroctl(h, "scale web 3");

	check_int(r.status, 0);
	check_int(count_instances(h, "web"), 3);
	r = heroctl(h, "scale web 0");
	check_int(r.status, 2);
	check_has(r.err, "instances");
	r = heroctl(h, "scale wbe 2");
	check_int(r.status, 4);
	check_has(r.err, "did you mean web");
	r = heroctl(h, "scale herod-redis 2");
	check_int(r.status, 1);
	check_has(r.err, "herod's own");
	herod_stop(h);
}

void
test_a_stopped_runner_is_scaled_without_starting_it(void)
{
	struct herod *h = start_service(1);

	rpc(h, "stop_runner", "{s:s}", "name", "web");
	scale(h, "web", 3);
	check(is_state(h, "web", "STOPPED"));
	check_int(pid_of(h, "web"), 0);
	rpc(h, "start_runner", "{s:s}", "name", "web");
	check(instance_pid(h, "web", 2) != 0);
	herod_stop(h);
}

void
test_an_instance_that_cannot_start_is_told(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nstartretries = 0\nstartsecs = 3600\n"
	    "command = %s\n",
	    script("web", "[ $HERO_INSTANCE = 0 ] || exit 7\nsleep 1000"));
	json_t *error;

	wait_for(pid_of(h, "web") != 0);
	error = rpc_error(
	    h, "scale_runner", "{s:s, s:i}", "name", "web", "instances", 2);
	check_has(text_at(error, "message"), "exit 7");
	herod_stop(h);
}

/* Its stop is under way when it is wanted again: Pitfall 23. */
void
test_an_instance_wanted_again_starts_when_it_is_down(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 2\nstopwaitsecs = 3600\n"
	    "command = %s\n",
	    script("web",
		text("trap 'echo x >>%s' TERM\necho up\n"
		     "while [ ! -f %s ]; do sleep 0.05; done",
		    here("asked"), here("go"))));
	pid_t first, second;

	wait_for(strstr(logs_of(h, "web"), "up\nup\n") != NULL);
	first = instance_pid(h, "web", 0);
	second = instance_pid(h, "web", 1);
	begin_scale(h, "web", 1);
	wait_for(count_lines(here("asked")) == 1);
	check(json_is_true(at(status_of(h, "web"), "instances.1.leaving")));
	check(is_state(h, "web", "RUNNING")); /* as far as it stays */
	begin_scale(h, "web", 2);
	check_int(instance_pid(h, "web", 1), second);
	kill(second, SIGKILL);
	wait_for(instance_pid(h, "web", 1) != second &&
	    instance_pid(h, "web", 1) != 0);
	check_int(instance_pid(h, "web", 0), first);
	write_file(here("go"), "");
	herod_stop(h);
}

/* ---- jobs ---- */

void
test_surplus_slots_finish_their_jobs(void)
{
	struct herod *h = start_jobs(3);
	const char *id[3];
	int i;

	for (i = 0; i < 3; i++)
		id[i] = queue(h, "");
	wait_for(count_running(h) == 3);
	begin_scale(h, "it", 1);
	check_str(text_at(status_of(h, "it"), "instances.2.state"), "DRAINING");
	check_int(count_running(h), 3);
	write_file(here("go"), "");
	for (i = 0; i < 3; i++)
		check_has(result_of(h, id[i]), "slot");
	wait_for(count_instances(h, "it") == 1);
	herod_stop(h);
}

void
test_new_slots_take_what_waits(void)
{
	struct herod *h = start_jobs(1);

	queue(h, "");
	queue(h, "");
	queue(h, "");
	wait_for(count_running(h) == 1);
	scale(h, "it", 2);
	wait_for(count_running(h) == 2);
	scale(h, "it", 3);
	wait_for(count_running(h) == 3);
	write_file(here("go"), "");
	wait_for(count_running(h) == 0);
	herod_stop(h);
}

void
test_a_draining_slot_can_be_kept_after_all(void)
{
	struct herod *h = start_jobs(2);
	pid_t second;

	queue(h, "");
	queue(h, "");
	wait_for(instance_pid(h, "it", 1) != 0);
	second = instance_pid(h, "it", 1);
	begin_scale(h, "it", 1);
	check_str(text_at(status_of(h, "it"), "instances.1.state"), "DRAINING");
	begin_scale(h, "it", 2);
	check_str(text_at(status_of(h, "it"), "instances.1.state"), "RUNNING");
	check_int(instance_pid(h, "it", 1), second);
	write_file(here("go"), "");
	wait_for(count_running(h) == 0);
	check_int(count_instances(h, "it"), 2);
	herod_stop(h);
}

void
test_a_surplus_worker_answers_before_it_goes(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:it]\nkind = stdio\nnumprocs = 2\nconcurrency = 2\n"
	    "command = %s\n",
	    script("worker",
		text("while read -r line; do\n"
		     "while [ ! -f %s ]; do sleep 0.05; done\n"
		     "id=${line##*'\"id\":\"'}\n"
		     "echo '{\"jsonrpc\":\"2.0\",\"result\":\"done\",\"id\":\"'"
		     "\"${id%%%%\\\"*}\"'\"}'\n"
		     "done",
		    here("go"))));
	const char *id[4];
	pid_t first, second;
	int i;

	wait_for_redis(h);
	wait_for(is_state(h, "it", "RUNNING"));
	first = instance_pid(h, "it", 0);
	second = instance_pid(h, "it", 1);
	for (i = 0; i < 4; i++)
		id[i] = queue(h, "");
	wait_for(count_running(h) == 4);
	begin_scale(h, "it", 1);
	check_str(text_at(status_of(h, "it"), "instances.1.state"), "DRAINING");
	check(is_alive(second));
	write_file(here("go"), "");
	for (i = 0; i < 4; i++)
		result_of(h, id[i]);
	wait_for(count_instances(h, "it") == 1);
	check(!is_alive(second));
	check_int(instance_pid(h, "it", 0), first);
	herod_stop(h);
}

/* ---- kept ---- */

void
test_the_number_outlives_herod(void)
{
	struct herod *h = start_service(1);
	pid_t third;

	scale(h, "web", 3);
	third = instance_pid(h, "web", 2);
	herod_kill9(h);
	wait_for(is_state(h, "web", "RUNNING"));
	check_int(count_instances(h, "web"), 3);
	check_int(instance_pid(h, "web", 2), third);
	herod_stop(h);
	herod_again(h);
	wait_for(is_state(h, "web", "RUNNING"));
	check_int(count_instances(h, "web"), 3);
	herod_stop(h);
	/* Whoever changes the settings has the last word. */
	write_file(h->conf,
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\nnumprocs = 2\n");
	herod_again(h);
	wait_for(is_state(h, "web", "RUNNING"));
	check_int(count_instances(h, "web"), 2);
	herod_stop(h);
}

void
test_a_surplus_job_outlives_herod(void)
{
	struct herod *h = start_jobs(3);
	const char *id[3];
	int i;

	for (i = 0; i < 3; i++)
		id[i] = queue(h, "");
	wait_for(count_running(h) == 3);
	begin_scale(h, "it", 1);
	herod_kill9(h);
	check_int(int_at(status_of(h, "it"), "wanted_instances"), 1);
	check_int(count_running(h), 3);
	check_str(text_at(status_of(h, "it"), "instances.2.state"), "DRAINING");
	write_file(here("go"), "");
	for (i = 0; i < 3; i++) {
		check_has(result_of(h, id[i]), "slot");
		check_int(
		    int_at(rpc(h, "job.get", "[s]", id[i]), "attempts"), 1);
	}
	wait_for(count_instances(h, "it") == 1);
	herod_stop(h);
}

void
test_a_deaf_surplus_process_is_ended_over_the_death_of_herod(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\nnumprocs = 2\nstopwaitsecs = 3600\n"
	    "command = %s\n",
	    script("web",
		text("trap '' TERM\necho up\n"
		     "while [ ! -f %s ]; do sleep 0.05; done",
		    here("go"))));
	pid_t first, second;

	wait_for(strstr(logs_of(h, "web"), "up\nup\n") != NULL);
	first = instance_pid(h, "web", 0);
	second = instance_pid(h, "web", 1);
	begin_scale(h, "web", 1);
	herod_kill9(h);
	check_int(int_at(status_of(h, "web"), "wanted_instances"), 1);
	check_str(
	    text_at(status_of(h, "web"), "instances.1.state"), "STOPPING");
	check_int(instance_pid(h, "web", 1), second);
	kill(second, SIGKILL);
	wait_for(count_instances(h, "web") == 1);
	check_int(instance_pid(h, "web", 0), first);
	write_file(here("go"), "");
	herod_stop(h);
}
