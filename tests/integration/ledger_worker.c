/*
 * A program for the ledger test: does jobs and keeps a true record of them.
 *
 *	ledger_worker DIR NODE exec	the job of JOB_ID, payload on stdin
 *	ledger_worker DIR NODE stdio	a stdio worker
 *	ledger_worker DIR NODE redis	an actor, which takes jobs from Redis
 *					itself and knows nothing of herod
 *
 * A payload is "MS FAILS [KEY]": the job takes so long, and fails that often;
 * KEY is its concurrency_key.
 *
 * A line of DIR/ledger: what (S begins, E has ended, F has failed, D another
 * one has the same job in hand, K another job of its key is at work), NODE, id
 * of the job, pid, time (ns since boot), padded to 64 bytes: a write may end
 * with its page when its process is killed.  What begins with D fails in the
 * end.
 * DIR/ID is locked while the job is in hand, which the kernel ends with the
 * process, and has a byte for each time it was begun.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <jansson.h>

/* The sanitizer looks for leaks by a process that it makes for that, and waits
 * for ever when the ledger kills just that one. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

#define RECORD 64

static const char *dir, *node;

static void
record(char what, const char *id)
{
	char path[512], line[RECORD];
	struct timespec t;
	int fd, n;

	snprintf(path, sizeof(path), "%s/ledger", dir);
	clock_gettime(CLOCK_MONOTONIC, &t);
	n = snprintf(line, sizeof(line), "%c %s %s %d %lld", what, node, id,
	    (int)getpid(), (long long)t.tv_sec * 1000000000 + t.tv_nsec);
	memset(line + n, ' ', RECORD - (size_t)n);
	line[RECORD - 1] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (write(fd, line, RECORD) != RECORD)
		abort();
	close(fd);
}

/* How often it was begun, with this time; -1: it is in other hands. */
static long
begin(const char *id, int *lock)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, id);
	*lock = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
		record('D', id);
		return -1;
	}
	record('S', id);
	if (write(*lock, "x", 1) != 1 || fstat(*lock, &st) != 0)
		abort();
	return st.st_size;
}

/* True when nobody else has its key; the lock goes with fd. */
static int
lock_key(const char *id, const char *key, int *fd)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/key-%s", dir, key);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	record('K', id);
	return 0;
}

/* True when it has ended well. */
static int
work(const char *id, const char *payload)
{
	int ms = 0, fails = 0, lock, key_lock = -1, good;
	long times = begin(id, &lock);
	char key[32] = "";

	sscanf(payload, "%d %d %31s", &ms, &fails, key);
	good = (!*key || lock_key(id, key, &key_lock)) && times > fails;
	poll(NULL, 0, ms);
	record(good ? 'E' : 'F', id);
	close(lock);
	if (key_lock != -1)
		close(key_lock);
	return good;
}

static void
answer(const char *line)
{
	json_t *q = json_loads(line, 0, NULL), *a;
	const char *request, *id, *payload;

	if (json_unpack(q, "{s:s, s:{s:s, s:s}}", "id", &request, "params",
		"id", &id, "payload", &payload) != 0)
		return;
	if (work(id, payload))
		a = json_pack("{s:s, s:s, s:s}", "jsonrpc", "2.0", "id",
		    request, "result", "done");
	else
		a = json_pack("{s:s, s:s, s:{s:i, s:s}}", "jsonrpc", "2.0",
		    "id", request, "error", "code", 1, "message", "failed");
	json_dumpf(a, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(a);
	json_decref(q);
}

/* ---- an actor ---- */

static redisContext *redis;

/* Redis is killed now and then: asked again until there is an answer. */
static redisReply *
ask(const char *fmt, ...)
{
	const char *path = getenv("HERO_REDIS_URL") + strlen("unix://");
	redisReply *reply = NULL;
	va_list ap;

	while (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
		freeReplyObject(reply);
		reply = NULL;
		if (redis == NULL || redis->err) {
			if (redis)
				redisFree(redis);
			poll(NULL, 0, 5);
			redis = redisConnectUnix(path);
		}
		va_start(ap, fmt);
		if (!redis->err)
			reply = redisvCommand(redis, fmt, ap);
		va_end(ap);
	}
	return reply;
}

static void
act(const char *id)
{
	redisReply *payload = ask("HGET hero:job:%s payload", id);

	freeReplyObject(ask("HSET hero:job:%s status started", id));
	if (work(id, payload->str))
		freeReplyObject(
		    ask("HSET hero:job:%s status finished result done", id));
	else
		freeReplyObject(
		    ask("HSET hero:job:%s status error error failed", id));
	freeReplyObject(payload);
}

static void
act_for_ever(void)
{
	redisReply *popped;

	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		popped = ask("BLPOP hero:work_queue:redis 0");
		act(popped->element[1]->str);
		freeReplyObject(popped);
	}
}

int
main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int failed = 0;

	if (argc != 4)
		return 2;
	dir = argv[1];
	node = argv[2];
	if (strcmp(argv[3], "redis") == 0)
		act_for_ever();
	if (strcmp(argv[3], "exec") == 0) {
		n = getline(&line, &size, stdin);
		failed = !work(getenv("JOB_ID"), n > 0 ? line : "");
	} else {
		while (getline(&line, &size, stdin) != -1)
			answer(line);
	}
	free(line);
	return failed;
}
