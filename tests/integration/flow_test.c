/* Jobs that nobody takes: who is told, and who counts as somebody. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

static const char *
queue_it(struct herod *h)
{
	return json_string_value(
	    rpc(h, "queue_job_to_runner", "{s:s}", "runner", "it"));
}

static json_t *
queue_of(struct herod *h)
{
	return at(status_of(h, "it"), "queue");
}

static bool
is_served(struct herod *h)
{
	return json_is_null(at(queue_of(h), "no_consumer"));
}

static json_t *
refusal(struct herod *h)
{
	return rpc_error(h, "queue_job_to_runner", "{s:s}", "runner", "it");
}

static bool
tells(struct herod *h)
{
	return strstr(heroctl(h, "why it").out,
		   "Jobs wait in the queue it and nobody takes them.") != NULL;
}

/* Events of the queue up to that one. */
static json_t *
next_event(int fd, const char *what)
{
	json_t *event;

	do
		event = recv_json(fd);
	while (!at(event, "params.what") ||
	    strcmp(text_at(event, "params.what"), what) != 0);
	return at(event, "params");
}

static int
listen_to(struct herod *h, const char *topic)
{
	int fd = door_unix(h);

	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\","
		 "\"params\":{\"topics\":[\"%s\"]}}\n",
		topic));
	check(at(recv_json(fd), "result") != NULL);
	return fd;
}

/* ---- nobody takes them ---- */

/* FATAL, unless there is a file good. */
#define MORTAL \
	"[runner:it]\nkind = stdio\nstartretries = 0\nstartsecs = 0.2\n" \
	"drain_timeout = 0.01\n" \
	"command = sh -c '[ -e %s ] && exec cat; exit 3'\n"

static struct herod *
start_mortal(const char *settings)
{
	struct herod *h =
	    herod_start(AT_ONCE MORTAL "%s", here("good"), settings);

	wait_for_redis(h);
	wait_for(is_state(h, "it", "FATAL"));
	return h;
}

void
test_jobs_that_nobody_takes_are_accepted_and_told(void)
{
	struct herod *h = start_mortal("");
	int fd = listen_to(h, "queue.it");
	json_t *event;

	check_int(int_at(queue_of(h), "consumers"), 0);
	check_has(text_at(queue_of(h), "no_consumer"), "runner it is FATAL: ");
	check(!tells(h)); /* no job waits */
	queue_it(h);
	event = next_event(fd, "unserved");
	check_str(text_at(event, "queue"), "it");
	check_has(text_at(event, "why"), "exit 3 within startsecs");
	check(tells(h));
	check_has(heroctl(h, "status").out, "jobs wait and nobody takes them");
	check_has(herod_log(), "queue it: jobs wait and nobody takes them");
	check_has(
	    text_at(rpc(h, "get_all_status", NULL), "queues.it.no_consumer"),
	    "runner it is FATAL: ");
	write_file(here("good"), "");
	rpc(h, "start_runner", "[s]", "it");
	next_event(fd, "served");
	check_int(int_at(queue_of(h), "consumers"), 1);
	check(is_served(h) && !tells(h));
	herod_stop(h);
}

void
test_no_consumer_refuse_names_the_runner_why_and_what_to_do(void)
{
	struct herod *h = start_mortal("no_consumer = refuse\n");
	json_t *error = refusal(h);
	const char *id;

	check_int(int_at(error, "code"), -32024);
	check_has(text_at(error, "message"), "runner it is FATAL: ");
	check_has(text_at(error, "message"), "exit 3 within startsecs");
	check_has(text_at(error, "data.hint"), "heroctl start it");
	check_str(text_at(error, "data.subject"), "it");
	error = rpc_error(h, "job.run", "{s:{s:s}}", "job", "runner", "it");
	check_int(int_at(error, "code"), -32024);
	error = rpc_error(h, "jobs.create", "{s:{s:s}}", "job", "runner", "it");
	check_int(int_at(error, "code"), -32024);
	check_int(int_at(queue_of(h), "depth"), 0);
	write_file(h->conf, text(AT_ONCE MORTAL, here("good")));
	rpc(h, "reload", NULL);
	id = queue_it(h);
	wait_for(tells(h));
	check_str(
	    text_at(rpc(h, "job.get", "[s]", id), "status"), "dispatched");
	herod_stop(h);
}

/* All of these will take it, or an operator has said that they shall not yet.
 */
void
test_runners_that_will_be_there_count_as_consumers(void)
{
	static const char conf[] =
	    AT_ONCE "no_consumer = refuse\nkind = stdio\ncommand = cat\n"
		    "drain_timeout = 0.01\n"
		    "[runner:stopped]\nautostart = false\n"
		    "[runner:spare]\nnumprocs = 0\nnumprocs_max = 2\n"
		    "[runner:backoff]\nstartsecs = 1000\nbackoff_base = 1000\n"
		    "backoff_max = 1000\ncommand = false\n"
		    "[runner:waits]\nrequires = starting:ready\n"
		    "[runner:starting]\nstartsecs = 1000\n"
		    "[runner:retried]\nstartsecs = 1000\nstartretries = 0\n"
		    "fatal_retry = 1000\ncommand = false\n"
		    "[runner:paused]\n"
		    "[runner:exec]\nkind = exec\n";
	static const char *const names[][2] = {
	    {"stopped", "STOPPED"},
	    {"spare", "WAITING"},
	    {"backoff", "BACKOFF"},
	    {"waits", "WAITING"},
	    {"starting", "STARTING"},
	    {"retried", "FATAL"},
	    {"paused", "PAUSED"},
	    {"exec", "RUNNING"},
	};
	struct herod *h = herod_start("%s", conf);
	size_t i;

	wait_for_redis(h);
	wait_for(is_state(h, "paused", "RUNNING"));
	kill((pid_t)pid_of(h, "paused"), SIGSTOP);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		wait_for(is_state(h, names[i][0], names[i][1]));
		rpc(h, "queue_job_to_runner", "{s:s}", "runner", names[i][0]);
		check(json_is_null(
		    at(status_of(h, names[i][0]), "queue.no_consumer")));
	}
	kill((pid_t)pid_of(h, "paused"), SIGCONT);
	herod_stop(h);
}

void
test_one_that_an_operator_has_stopped_counts_again(void)
{
	struct herod *h = start_mortal("no_consumer = refuse\n");

	refusal(h);
	rpc(h, "stop_runner", "[s]", "it");
	wait_for(is_state(h, "it", "STOPPED"));
	check(is_served(h));
	queue_it(h);
	herod_stop(h);
}

void
test_one_runner_of_several_that_share_a_queue_is_enough(void)
{
	struct herod *h = start_mortal("no_consumer = refuse\n"
				       "[runner:other]\nkind = exec\n"
				       "queue = it\ncommand = echo did\n");

	check(is_served(h));
	check_str(job_outcome(h, queue_it(h)), "did");
	rpc(h, "remove_runner", "[s]", "other");
	check(!is_served(h));
	refusal(h);
	herod_stop(h);
}

/* ---- several herods ---- */

void
test_a_runner_of_another_herod_counts_while_that_lives(void)
{
	const char *s = here("redis.sock"), *head, *id;
	struct herod *a, *b;

	redis_start(s);
	head = text("[herod]\nredis_url = unix://%s\nnode_timeout = 3\n" AT_ONCE
		    "no_consumer = refuse\n",
	    s);
	a = herod_start_beside("-a", "%s" MORTAL, head, here("good"));
	wait_for_redis(a);
	wait_for(is_state(a, "it", "FATAL"));
	check_int(int_at(queue_of(a), "elsewhere"), 0);
	refusal(a);
	b = herod_start_beside(
	    "-b", "%s[runner:it]\nkind = exec\ncommand = echo did\n", head);
	wait_for_redis(b);
	wait_for(int_at(queue_of(a), "elsewhere") == 1);
	check_int(int_at(queue_of(a), "consumers"), 0);
	check(is_served(a));
	id = queue_it(a);
	check_str(job_outcome(a, id), "did");
	herod_kill_both(b);
	/* Redis has not heard of it for node_timeout. */
	wait_for(int_at(queue_of(a), "elsewhere") == 0);
	refusal(a);
	herod_again(b);
	wait_for_redis(b);
	wait_for(int_at(queue_of(a), "elsewhere") == 1);
	rpc(b, "remove_runner", "[s]", "it");
	wait_for(int_at(queue_of(a), "elsewhere") == 0);
	refusal(a);
	herod_stop(a);
	herod_stop(b);
}
