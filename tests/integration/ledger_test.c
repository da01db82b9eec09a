/*
 * The ledger: no job that was acknowledged is lost, each is over once, was
 * executed at least once, every further execution is explained by a death or
 * a failure, and never are two at work on the same job; while workers, herod,
 * herod-keeper and redis-server are killed and stopped at random.
 *
 * $LEDGER_SECONDS says how long (tests/ledger --minutes N), $LEDGER_SEED
 * repeats.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(600);

#define SECONDS_SHORT 12
#define OPEN_MOST 400 /* jobs that are not over */
#define KILLS_MAX 100000

/* What Redis has acknowledged must be there when it is killed, too. */
static const char conf[] =
    "[herod]\nredis_fsync = always\n" AT_ONCE
    "startretries = -1\nbackoff_base = 0.02\nbackoff_max = 0.2\n"
    "autorestart = always\njob_backoff = 0.05\n"
    "job_poison_limit = 1000\n"
    "[runner:exec]\nkind = exec\nnumprocs = 3\ncommand = %s %s\n"
    "[runner:stdio]\nkind = stdio\nnumprocs = 2\nconcurrency = 3\n"
    "command = %s %s -\n"
    "[runner:redis]\nkind = redis\ncommand = %s %s redis\n";

struct record {
	char what, id[32];
	pid_t pid;
	long long at;
};

struct kill {
	pid_t pid; /* 0: of herod-keeper */
	long long at;
};

struct ledger {
	struct herod *h;
	unsigned seed;
	FILE *door; /* NULL: to be opened */
	char *line;
	size_t size; /* of the line */
	long queued; /* jobs are numbered from 1 */
	long over; /* up to this one all are */
	struct kill *kills;
	size_t nkills;
	long of_workers, of_herod, of_keeper, of_redis, stops;
	struct record *records;
	size_t nrecords, room;
};

static unsigned
dice(struct ledger *l, unsigned sides)
{
	l->seed = l->seed * 1103515245 + 12345;
	return (l->seed >> 16) % sides;
}

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the producer ---- */

/* Valid until the next call. */
static const char *
id_of(long n)
{
	static char id[32];

	snprintf(id, sizeof(id), "job-%ld", n);
	return id;
}

/* NULL when herod was killed meanwhile. */
static json_t *
exchange_lines(struct ledger *l, const char *call)
{
	json_t *answer = NULL;

	if (l->door == NULL)
		l->door = fdopen(door_unix(l->h), "r+e");
	if (fprintf(l->door, "%s\n", call) > 0 && fflush(l->door) == 0 &&
	    getline(&l->line, &l->size, l->door) > 0)
		answer = json_loads(l->line, 0, NULL);
	if (answer == NULL) {
		fclose(l->door);
		l->door = NULL;
	}
	return answer;
}

/* NULL: it is not known what became of it. */
static json_t *
ask(struct ledger *l, const char *method, json_t *params)
{
	json_t *call = json_pack("{s:s, s:s, s:o, s:i}", "jsonrpc", "2.0",
	    "method", method, "params", params, "id", 1);
	char *line = json_dumps(call, JSON_COMPACT);
	json_t *answer = exchange_lines(l, line);

	json_decref(call);
	free(line);
	return answer;
}

static json_t *
next_job(struct ledger *l, const char **runner)
{
	static const char *const runners[] = {"exec", "stdio", "redis"};
	char payload[32];

	snprintf(
	    payload, sizeof(payload), "%u %d", dice(l, 30), dice(l, 10) == 0);
	*runner = runners[dice(l, 3)];
	return json_pack("{s:s, s:s, s:i, s:s}", "id", id_of(l->queued + 1),
	    "payload", payload, "retries", 5, "priority",
	    dice(l, 4) ? "normal" : "high");
}

/* Asked again with the same id until it is known; a duplicate is one that was
 * queued though the answer was lost. */
static void
queue_one(struct ledger *l)
{
	const char *runner;
	json_t *job = next_job(l, &runner), *answer, *error;
	json_int_t code;

	for (;;) {
		answer = ask(l, "queue_job_to_runner",
		    json_pack("{s:s, s:O}", "runner", runner, "job", job));
		error = json_object_get(answer, "error");
		code = json_integer_value(json_object_get(error, "code"));
		if (answer && (error == NULL || code == -32022))
			break;
		if (answer && code != -32030)
			check_fail(__FILE__, __LINE__, "refused: %s",
			    json_dumps(error, 0));
		json_decref(answer);
		poll(NULL, 0, 5); /* Redis is away */
	}
	json_decref(answer);
	json_decref(job);
	l->queued++;
}

/* Those that ended long ago need not be asked for. */
static bool
is_over(struct ledger *l, long n)
{
	json_t *answer =
	    ask(l, "job.status", json_pack("{s:s}", "id", id_of(n)));
	const char *status =
	    json_string_value(json_object_get(answer, "result"));
	bool over = status && strcmp(status, "finished") == 0;

	if (status && !over && strcmp(status, "error") == 0)
		check_fail(__FILE__, __LINE__, "%s has failed: %s", id_of(n),
		    json_dumps(
			ask(l, "job.get", json_pack("{s:s}", "id", id_of(n))),
			0));
	if (answer && status == NULL && int_at(answer, "error.code") == -32020)
		check_fail(__FILE__, __LINE__, "%s is lost", id_of(n));
	json_decref(answer);
	return over;
}

static void
produce(struct ledger *l)
{
	unsigned n = 1 + dice(l, 20);

	while (l->over < l->queued && is_over(l, l->over + 1))
		l->over++;
	while (n-- > 0 && l->queued - l->over < OPEN_MOST)
		queue_one(l);
}

/* ---- the ledger ---- */

static void
read_ledger(struct ledger *l)
{
	FILE *f = fopen(here("books/ledger"), "re");
	struct record r;

	l->nrecords = 0;
	while (f &&
	    fscanf(f, " %c %31s %d %lld", &r.what, r.id, &r.pid, &r.at) == 4) {
		if (l->nrecords == l->room) {
			l->room = l->room ? 2 * l->room : 1024;
			l->records =
			    realloc(l->records, l->room * sizeof(*l->records));
		}
		l->records[l->nrecords++] = r;
	}
	if (f)
		fclose(f);
}

/* ---- what befalls them ---- */

static bool
file_has(pid_t pid, const char *file, const char *what)
{
	char path[64], text[1024];
	size_t n, i;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	if ((f = fopen(path, "re")) == NULL)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	for (i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	text[n] = '\0';
	return strstr(text, what) != NULL;
}

/* The skip-th, or the last, process of ours that runs this program, whoever is
 * its parent; 0: none. */
static pid_t
find(const char *program, unsigned skip)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t pid, found = 0;

	while ((e = readdir(d)) != NULL) {
		pid = (pid_t)atoi(e->d_name);
		if (pid == 0 || !file_has(pid, "comm", program) ||
		    !file_has(pid, "cmdline", here("")))
			continue;
		found = pid;
		if (skip-- == 0)
			break;
	}
	closedir(d);
	return found;
}

static void
note_kill(struct ledger *l, pid_t pid)
{
	if (l->nkills < KILLS_MAX)
		l->kills[l->nkills++] = (struct kill){pid, now_ns()};
}

static void
kill_worker(struct ledger *l)
{
	pid_t pid = find("ledger_worker", dice(l, 6));

	if (pid == 0)
		return;
	note_kill(l, pid);
	kill(pid, SIGKILL);
	l->of_workers++;
}

static void
pause_one(struct ledger *l, pid_t pid)
{
	if (pid == 0)
		return;
	kill(pid, SIGSTOP);
	poll(NULL, 0, 20 + (int)dice(l, 150));
	kill(pid, SIGCONT);
	l->stops++;
}

static void
pause_worker(struct ledger *l)
{
	pause_one(l, find("ledger_worker", dice(l, 6)));
}

static void
pause_herod(struct ledger *l)
{
	pause_one(l, herod_pid(l->h));
}

static void
pause_redis(struct ledger *l)
{
	pause_one(l, find("redis-server", 0));
}

static void
kill_herod(struct ledger *l)
{
	herod_kill9(l->h);
	l->of_herod++;
}

/* How those end that it had started is not known: they are tried again. */
static void
kill_keeper(struct ledger *l)
{
	note_kill(l, 0);
	herod_keeper_kill9(l->h);
	l->of_keeper++;
}

static void
kill_redis(struct ledger *l)
{
	pid_t pid = find("redis-server", 0);

	if (pid == 0)
		return;
	kill(pid, SIGKILL);
	l->of_redis++;
}

static const struct {
	unsigned weight;
	void (*fn)(struct ledger *l);
} mishaps[] = {{60, kill_worker}, {8, pause_worker}, {10, kill_herod},
    {4, pause_herod}, {2, kill_keeper}, {6, kill_redis}, {4, pause_redis}};

static void
befall(struct ledger *l)
{
	unsigned at = dice(l, 94);
	size_t i;

	for (i = 0; at >= mishaps[i].weight; i++)
		at -= mishaps[i].weight;
	mishaps[i].fn(l);
}

/* ---- what must be true ---- */

static int
by_id_and_time(const void *one, const void *other)
{
	const struct record *a = one, *b = other;
	int order = strcmp(a->id, b->id);

	return order ? order : (a->at > b->at) - (a->at < b->at);
}

#define MOMENT 1000000000LL /* ns */

/* It was killed in that time, or the keeper was: then how it ended cannot be
 * known, and what was just being started is ended. */
static bool
is_explained(const struct ledger *l, pid_t pid, long long from, long long to)
{
	size_t i;

	for (i = 0; i < l->nkills; i++)
		if ((l->kills[i].pid == pid || l->kills[i].pid == 0) &&
		    l->kills[i].at <= to &&
		    (l->kills[i].pid == pid || l->kills[i].at >= from - MOMENT))
			return true;
	return false;
}

static void
show_records(const struct record *r, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		printf("%c %s %d %lld\n", r[i].what, r[i].id, (int)r[i].pid,
		    r[i].at);
}

/* Records of one job, in order: executions, each with its end or without. */
static void
check_job(const struct ledger *l, const struct record *r, size_t n)
{
	const struct record *begun = NULL, *failed = NULL;
	bool ended = false;
	size_t i;

	for (i = 0; i < n; i++) {
		if (r[i].what == 'D')
			check_fail(__FILE__, __LINE__,
			    "%s: two at work at once", r[i].id);
		if (r[i].what == 'E')
			ended = true;
		if (r[i].what == 'F')
			failed = &r[i];
		if (r[i].what != 'S')
			continue;
		if (begun && !(failed && failed->pid == begun->pid) &&
		    !is_explained(l, begun->pid, begun->at, r[i].at)) {
			show_records(r, n);
			check_fail(__FILE__, __LINE__,
			    "%s: executed again after pid %d, whom nobody "
			    "killed",
			    r[i].id, (int)begun->pid);
		}
		begun = &r[i];
		failed = NULL;
	}
	if (!ended)
		check_fail(
		    __FILE__, __LINE__, "%s is over, but never ended", r->id);
}

static void
check_ledger(struct ledger *l)
{
	size_t i, from = 0;
	long jobs = 0;

	read_ledger(l);
	qsort(l->records, l->nrecords, sizeof(*l->records), by_id_and_time);
	for (i = 1; i <= l->nrecords; i++)
		if (i == l->nrecords ||
		    strcmp(l->records[i].id, l->records[from].id) != 0) {
			check_job(l, &l->records[from], i - from);
			from = i;
			jobs++;
		}
	check_int(jobs, l->queued);
}

static bool
are_all_over(struct ledger *l)
{
	while (l->over < l->queued && is_over(l, l->over + 1))
		l->over++;
	return l->over == l->queued;
}

static long
number_in(const char *variable, long fallback)
{
	const char *value = getenv(variable);

	return value ? atol(value) : fallback;
}

static void __attribute__((constructor)) have_time(void)
{
	check_timeout += (unsigned)number_in("LEDGER_SECONDS", 0) * 2;
}

void
test_no_job_is_lost_and_none_done_twice_without_a_reason(void)
{
	const char *worker =
	    text("%s/tests/integration/ledger_worker", getenv("HEROD_BUILD"));
	struct ledger l = {
	    .seed = (unsigned)number_in("LEDGER_SEED", (long)now_ns())};
	long long end;

	printf("LEDGER_SEED=%u\n", l.seed);
	l.kills = calloc(KILLS_MAX, sizeof(*l.kills));
	check_int(mkdir(here("books"), 0755), 0);
	l.h = herod_start(conf, worker, here("books"), worker, here("books"),
	    worker, here("books"));
	signal(SIGPIPE, SIG_IGN);
	wait_for_redis(l.h);
	end = now_ns() +
	    1000000000LL * number_in("LEDGER_SECONDS", SECONDS_SHORT);
	while (now_ns() < end) {
		produce(&l);
		befall(&l);
	}
	wait_for(are_all_over(&l));
	check_ledger(&l);
	printf("%ld jobs, %zu executions; killed: workers %ld, herod %ld, "
	       "keeper %ld, redis %ld; stopped %ld\n",
	    l.queued, l.nrecords / 2, l.of_workers, l.of_herod, l.of_keeper,
	    l.of_redis, l.stops);
	fclose(l.door);
	free(l.line);
	free(l.records);
	free(l.kills);
	herod_stop(l.h);
}
