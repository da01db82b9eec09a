/*
 * What can be wrong with a Redis that is there: it is told in words, a job at
 * work goes on and its end is kept, one that waits is done when all is well
 * again; none is lost or done twice, and supervision notices nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "herod.h"

struct fixture {
	const char *socket;
	struct herod *h;
	pid_t redis;
	int jobs; /* that were asked for */
	char accepted[2000]; /* their ids, each with a blank behind */
};

/* ---- a job at work and one that waits ---- */

/* True, or its answer is a refusal; ids are "1", "2" and so on. */
static bool
queue_job(struct fixture *f, json_t **answer)
{
	const char *id = text("%d", ++f->jobs);

	*answer = rpc_end(rpc_begin(f->h, "queue_job_to_runner",
	    "{s:s, s:{s:s}}", "runner", "it", "job", "id", id));
	if (at(*answer, "error") != NULL)
		return false;
	strlcat(f->accepted, text("%s ", id), sizeof(f->accepted));
	return true;
}

static void
start(struct fixture *f)
{
	json_t *answer;

	memset(f, 0, sizeof(*f));
	f->socket = here("redis.sock");
	f->redis = redis_start(f->socket);
	f->h = herod_start_with("", text("--redis_url unix://%s", f->socket),
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n"
		    "[runner:it]\nkind = exec\ncommand = %s\n",
	    script("it",
		text("echo $JOB_ID >>%s\n"
		     "until [ -e %s ]; do sleep 0.02; done\n"
		     "echo done; echo $JOB_ID >>%s\n",
		    here("begun"), here("go"), here("ended"))));
	wait_for_redis(f->h);
	check(queue_job(f, &answer));
	wait_for(count_lines(here("begun")) == 1);
	check(queue_job(f, &answer));
}

/* A new job is refused with these words, and with what to do. */
static bool
refuses(struct fixture *f, const char *why)
{
	json_t *answer;

	if (queue_job(f, &answer) ||
	    strstr(text_at(answer, "error.message"), why) == NULL)
		return false;
	check_int(int_at(answer, "error.code"), -32030);
	check(strlen(text_at(answer, "error.data.hint")) > 0);
	return true;
}

static void
supervision_goes_on(struct herod *h)
{
	pid_t pid;

	wait_for((pid = pid_of(h, "web")) != 0);
	kill(pid, SIGKILL);
	wait_for(pid_of(h, "web") != 0 && pid_of(h, "web") != pid);
}

/* While it is wrong. */
static void
suffer(struct fixture *f, const char *why)
{
	wait_for(refuses(f, why));
	supervision_goes_on(f->h);
	write_file(here("go"), "");
	wait_for(count_lines(here("ended")) > 0);
}

/* Afterwards. */
static void
recover(struct fixture *f)
{
	char *id, *more = f->accepted;
	json_t *answer;

	wait_for(queue_job(f, &answer));
	while ((id = strsep(&more, " ")) && *id)
		check_str(job_outcome(f->h, id), "done");
	check_str(run("sort %s | uniq -d", here("begun")).out, "");
	herod_stop(f->h);
}

static void
suffers_and_recovers(const char *begin, const char *why, const char *end)
{
	struct fixture f;

	start(&f);
	check_has(redis(f.socket, "%s", begin), "OK");
	suffer(&f, why);
	check_has(redis(f.socket, "%s", end), "OK");
	recover(&f);
}

/* ---- one by one ---- */

void
test_a_full_redis_is_survived(void)
{
	suffers_and_recovers("config set maxmemory 1",
	    "full (maxmemory is reached)", "config set maxmemory 0");
}

void
test_a_replica_is_survived(void)
{
	suffers_and_recovers("replicaof 127.0.0.1 1",
	    "read-only (it is a replica)", "replicaof no one");
}

void
test_too_few_replicas_are_survived(void)
{
	suffers_and_recovers("config set min-replicas-to-write 1",
	    "not enough replicas", "config set min-replicas-to-write 0");
}

void
test_an_access_list_that_forbids_is_survived(void)
{
	suffers_and_recovers("acl setuser default -@write",
	    "its access list forbids", "acl setuser default +@all");
}

/* herod has the right one again when its connection is made anew. */
void
test_a_password_that_was_changed_is_survived(void)
{
	struct fixture f;

	start(&f);
	redis(f.socket, "config set requirepass secret");
	redis(f.socket, "-a secret client kill type normal");
	suffer(&f, "it wants a password");
	redis(f.socket, "-a secret config set requirepass ''");
	recover(&f);
}

/* Its disk: a background save that failed lets it refuse all writes. */
void
test_a_disk_that_cannot_be_written_is_survived(void)
{
	struct fixture f;

	start(&f);
	run("mkdir %s", here("dump.rdb")); /* in the way of its dump */
	redis(f.socket, "config set save '3600 1'");
	redis(f.socket, "bgsave");
	suffer(&f, "it cannot write to its disk");
	redis(f.socket, "config set save ''");
	recover(&f);
}

void
test_a_script_that_does_not_end_is_survived(void)
{
	struct fixture f;

	start(&f);
	redis(f.socket, "config set busy-reply-threshold 50");
	run("redis-cli -s %s eval 'while true do end' 0 >/dev/null 2>&1 &",
	    f.socket);
	suffer(&f, "busy with a long script");
	check_has(redis(f.socket, "script kill"), "OK");
	recover(&f);
}

/* They are loaded again, whoever notices first that they are gone. */
void
test_functions_that_were_flushed_are_survived(void)
{
	struct fixture f;

	start(&f);
	check_has(redis(f.socket, "function flush"), "OK");
	supervision_goes_on(f.h);
	write_file(here("go"), "");
	recover(&f);
}

/* It comes back with its data, and needs its time to read them. */
void
test_a_redis_that_loads_its_data_is_survived(void)
{
	struct fixture f;

	start(&f);
	redis(f.socket,
	    "eval \"for i = 1, 500 do redis.call('set', 'pad' .. i, "
	    "string.rep('x', 1000)) end\" 0");
	redis(f.socket, "shutdown save");
	wait_for(!is_alive(f.redis));
	redis_start_loading(f.socket);
	suffer(&f, "loading its data");
	redis(f.socket, "config set key-load-delay 0");
	recover(&f);
}
