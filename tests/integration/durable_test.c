/* Jobs that are accepted when more than Redis has them (durability). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

struct fixture {
	struct herod *h;
	const char *primary, *copy; /* sockets */
	pid_t replica;
};

static void
start(struct fixture *f, const char *durability, double timeout)
{
	int port;

	f->primary = here("primary.sock");
	f->copy = here("copy.sock");
	redis_start_primary(f->primary, &port);
	f->replica = redis_start(f->copy);
	check_str(redis(f->copy, "replicaof 127.0.0.1 %d", port), "OK\n");
	wait_for(strcmp(redis(f->primary, "wait 1 100"), "1\n") == 0);
	f->h = herod_start_with("",
	    text("--redis_timeout %g --redis_url unix://%s", timeout,
		f->primary),
	    AT_ONCE "[runner:it]\nkind = exec\ncommand = cat\n"
		    "durability = %s\n",
	    durability);
	wait_for_redis(f->h);
}

static json_t *
asked(struct fixture *f, const char *id, const char *durability)
{
	return rpc_end(rpc_begin(f->h, "queue_job_to_runner",
	    "{s:s, s:{s:s, s:s, s:s*}}", "runner", "it", "job", "id", id,
	    "payload", "x", "durability", durability));
}

static bool
copy_has(struct fixture *f, const char *id)
{
	return strcmp(redis(f->copy, "exists hero:job:%s", id), "1\n") == 0;
}

void
test_a_job_is_on_a_replica_when_it_is_accepted(void)
{
	struct fixture f;
	int i;

	start(&f, "redis", 60);
	for (i = 0; i < 20; i++) {
		const char *id = text("job-%d", i);

		check_str(text_at(asked(&f, id, "replica"), "result"), id);
		check(copy_has(&f, id));
		check_str(job_outcome(f.h, id), "x");
	}
	herod_stop(f.h);
}

void
test_many_at_once_wait_together(void)
{
	struct fixture f;
	int i, calls[50];

	start(&f, "replica", 60);
	for (i = 0; i < 50; i++)
		calls[i] =
		    rpc_begin(f.h, "queue_job_to_runner", "{s:s, s:{s:s}}",
			"runner", "it", "job", "id", text("job-%d", i));
	for (i = 0; i < 50; i++) {
		text_at(rpc_end(calls[i]), "result");
		check(copy_has(&f, text("job-%d", i)));
	}
	herod_stop(f.h);
}

/* The job is done all the same. */
void
test_without_a_replica_the_caller_is_told(void)
{
	struct fixture f;
	json_t *answer;

	start(&f, "replica", 1);
	kill(f.replica, SIGSTOP);
	answer = asked(&f, "alone", NULL);
	check_int(int_at(answer, "error.code"), -32030);
	check_has(text_at(answer, "error.message"),
	    "job alone is queued, but no replica has it");
	check_str(job_outcome(f.h, "alone"), "x");
	check_str(text_at(asked(&f, "lightly", "redis"), "result"), "lightly");
	kill(f.replica, SIGCONT);
	wait_for(at(asked(&f, text("%d", rand()), NULL), "result") != NULL);
	herod_stop(f.h);
}

void
test_who_waits_for_a_replica_is_told_when_redis_ends(void)
{
	struct fixture f;
	int call;

	start(&f, "replica", 60);
	kill(f.replica, SIGSTOP);
	call = rpc_begin(f.h, "queue_job_to_runner", "[s]", "it");
	wait_for(strstr(redis(f.primary, "client list"), "cmd=wait") != NULL);
	redis(f.primary, "shutdown nosave");
	check_int(int_at(rpc_end(call), "error.code"), -32030);
	kill(f.replica, SIGCONT);
	herod_stop(f.h);
}

void
test_fsync_is_refused_where_redis_does_not_wait_for_its_disk(void)
{
	struct fixture f;
	json_t *answer;

	start(&f, "redis", 60);
	answer = asked(&f, "a", "fsync");
	check_int(int_at(answer, "error.code"), -32602);
	check_has(text_at(answer, "error.message"), "keeps no log");
	redis(f.primary, "config set appendonly yes");
	answer = asked(&f, "a", "fsync");
	check_has(text_at(answer, "error.message"), "appendfsync everysec");
	check_has(text_at(answer, "error.data.hint"), "redis_fsync");
	check(!copy_has(&f, "a"));
	redis(f.primary, "config set appendfsync always");
	check_str(text_at(asked(&f, "a", "fsync"), "result"), "a");
	check_str(job_outcome(f.h, "a"), "x");
	herod_stop(f.h);
}

void
test_an_own_redis_can_wait_for_its_disk(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[herod]\nredis_fsync = always\n"
	    "[runner:it]\nkind = exec\ncommand = cat\ndurability = fsync\n");
	const char *id;

	wait_for_redis(h);
	id = json_string_value(rpc(h, "queue_job_to_runner", "{s:s, s:{s:s}}",
	    "runner", "it", "job", "payload", "y"));
	check_str(job_outcome(h, id), "y");
	herod_stop(h);
}
