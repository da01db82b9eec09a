/* See ledger.h. */
#include "ledger.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OPEN_MOST 400 /* jobs that are not over */
#define KILLS_MAX 100000

unsigned
dice(struct ledger *l, unsigned sides)
{
	l->seed = l->seed * 1103515245 + 12345;
	return (l->seed >> 16) % sides;
}

long long
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
exchange_lines(struct ledger *l, struct side *s, const char *call)
{
	json_t *answer = NULL;

	if (s->door == NULL)
		s->door = fdopen(door_unix(s->h), "r+e");
	if (fprintf(s->door, "%s\n", call) > 0 && fflush(s->door) == 0 &&
	    getline(&l->line, &l->size, s->door) > 0)
		answer = json_loads(l->line, 0, NULL);
	if (answer == NULL) {
		fclose(s->door);
		s->door = NULL;
	}
	return answer;
}

static bool
has_runner(const struct side *s, const char *runner)
{
	size_t i;

	for (i = 0; s->runners[i]; i++)
		if (runner == NULL || strcmp(s->runners[i], runner) == 0)
			return !s->is_away;
	return false;
}

/* One that has the runner (NULL: any), which is there. */
static struct side *
side_for(struct ledger *l, const char *runner)
{
	size_t i = dice(l, (unsigned)l->nsides), n;

	for (n = 0; n < l->nsides; n++, i = (i + 1) % l->nsides)
		if (has_runner(&l->sides[i], runner))
			return &l->sides[i];
	return NULL;
}

/* NULL: it is not known what became of it. */
static json_t *
ask(struct ledger *l, const char *runner, const char *method, json_t *params)
{
	json_t *call = json_pack("{s:s, s:s, s:o, s:i}", "jsonrpc", "2.0",
	    "method", method, "params", params, "id", 1);
	char *line = json_dumps(call, JSON_COMPACT);
	json_t *answer = exchange_lines(l, side_for(l, runner), line);

	json_decref(call);
	free(line);
	return answer;
}

static json_t *
next_job(struct ledger *l, const char **runner)
{
	static const char *const runners[] = {"exec", "stdio", "redis"};
	char payload[64], key[8] = "";

	do
		*runner = runners[dice(l, 3)];
	while (side_for(l, *runner) == NULL);
	if (strcmp(*runner, "redis") != 0 && dice(l, 3) == 0)
		snprintf(key, sizeof(key), "k%u%c", dice(l, 4), **runner);
	snprintf(payload, sizeof(payload), "%u %d %s", dice(l, l->most_ms),
	    dice(l, 10) == 0, key);
	return json_pack("{s:s, s:s, s:i, s:s, s:s*}", "id",
	    id_of(l->queued + 1), "payload", payload, "retries", 5, "priority",
	    dice(l, 4) ? "normal" : "high", "concurrency_key",
	    *key ? key : NULL);
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
		answer = ask(l, runner, "queue_job_to_runner",
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
	    ask(l, NULL, "job.status", json_pack("{s:s}", "id", id_of(n)));
	const char *status =
	    json_string_value(json_object_get(answer, "result"));
	bool over = status && strcmp(status, "finished") == 0;

	if (status && !over && strcmp(status, "error") == 0)
		check_fail(__FILE__, __LINE__, "%s has failed: %s", id_of(n),
		    json_dumps(ask(l, NULL, "job.get",
				   json_pack("{s:s}", "id", id_of(n))),
			0));
	if (answer && status == NULL && int_at(answer, "error.code") == -32020)
		check_fail(__FILE__, __LINE__, "%s is lost", id_of(n));
	json_decref(answer);
	return over;
}

void
ledger_produce(struct ledger *l)
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
	    fscanf(f, " %c %c %31s %d %lld", &r.what, &r.node, r.id, &r.pid,
		&r.at) == 5) {
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

/* Whoever is its parent. */
pid_t
process_of(const char *program, unsigned skip)
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
note_kill(struct ledger *l, pid_t pid, char node)
{
	if (l->nkills < KILLS_MAX)
		l->kills[l->nkills++] = (struct kill){pid, node, now_ns()};
}

void
kill_worker(struct ledger *l)
{
	pid_t pid = process_of("ledger_worker", dice(l, 6));

	if (pid == 0)
		return;
	note_kill(l, pid, 0);
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

void
pause_worker(struct ledger *l)
{
	pause_one(l, process_of("ledger_worker", dice(l, 6)));
}

void
pause_herod(struct ledger *l)
{
	pause_one(l, herod_pid(side_for(l, NULL)->h));
}

void
pause_redis(struct ledger *l)
{
	pause_one(l, process_of("redis-server", 0));
}

void
kill_herod(struct ledger *l)
{
	herod_kill9(side_for(l, NULL)->h);
	l->of_herod++;
}

/* How those end that it had started is not known: they are tried again. */
void
kill_keeper(struct ledger *l)
{
	struct side *s = side_for(l, NULL);

	note_kill(l, 0, s->name[0]);
	herod_keeper_kill9(s->h);
	l->of_keeper++;
}

static void
befall(struct ledger *l, const struct mishap *mishaps, size_t n)
{
	unsigned all = 0, at;
	size_t i;

	for (i = 0; i < n; i++)
		all += mishaps[i].weight;
	at = dice(l, all);
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

/* Its process was killed in that time, or its keeper was. */
static bool
is_killed(const struct ledger *l, const struct record *begun, long long to)
{
	const struct kill *k = l->kills, *end = k + l->nkills;

	for (; k < end; k++)
		if (k->at <= to &&
		    (k->pid == begun->pid ||
			(k->pid == 0 && k->node == begun->node &&
			    k->at >= begun->at - MOMENT)))
			return true;
	return false;
}

/* Records of one job, in order. */
struct history {
	const struct ledger *l;
	const struct record *r;
	size_t n;
};

static bool
is_end(const struct record *r, const struct record *begun)
{
	return (r->what == 'E' || r->what == 'F') && r->pid == begun->pid &&
	    r->at >= begun->at;
}

/* When the execution that began with the i-th ended; to when it had not. */
static long long
end_of(const struct history *h, size_t i, long long to)
{
	size_t k;

	for (k = i + 1; k < h->n && h->r[k].at <= to; k++)
		if (is_end(&h->r[k], &h->r[i]))
			return h->r[k].at;
	return to;
}

/* The absent node had the job in its hands. */
static bool
is_held(const struct history *h, const struct absence *a)
{
	char word[40];
	size_t i;

	snprintf(word, sizeof(word), " %s ", h->r->id);
	if (a->held)
		return strstr(a->held, word) != NULL;
	for (i = 0; i < h->n && h->r[i].at <= a->to; i++)
		if (h->r[i].node == a->node &&
		    (h->r[i].what == 'S' || h->r[i].what == 'D') &&
		    end_of(h, i, a->to) >= a->from)
			return true;
	return false;
}

/* The k-th began though the i-th had, because a node was absent. */
static bool
is_of_absence(const struct history *h, size_t i, size_t k)
{
	const struct absence *a = h->l->absences, *end = a + h->l->nabsences;

	for (; a < end; a++)
		if ((h->r[i].node == a->node || h->r[k].node == a->node) &&
		    h->r[k].at >= a->from && h->r[k].at <= a->to &&
		    is_held(h, a))
			return true;
	return false;
}

static void
show_records(const struct record *r, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		printf("%c %c %s %d %lld\n", r[i].what, r[i].node, r[i].id,
		    (int)r[i].pid, r[i].at);
}

/* What might explain them. */
static void
show_mishaps(const struct history *h)
{
	const struct ledger *l = h->l;
	const struct absence *a;
	long long last = h->r[h->n - 1].at;
	size_t i;

	for (i = 0; i < l->nkills; i++)
		if (l->kills[i].at >= h->r->at - MOMENT &&
		    l->kills[i].at <= last)
			printf("killed: %d %c %lld\n", (int)l->kills[i].pid,
			    l->kills[i].node ? l->kills[i].node : '-',
			    l->kills[i].at);
	for (i = 0; i < l->nabsences; i++) {
		a = &l->absences[i];
		printf("absent: %c %lld to %lld%s%s\n", a->node, a->from, a->to,
		    a->held ? " with " : "", a->held ? a->held : "");
	}
}

static void
blame(const struct history *h, const char *what)
{
	show_records(h->r, h->n);
	show_mishaps(h);
	check_fail(__FILE__, __LINE__, "%s: %s", h->r->id, what);
}

/* The k-th found the job in the hands of another one, which must be of another
 * node. */
static void
check_double(const struct history *h, size_t k)
{
	size_t i;

	for (i = 0; i < k; i++)
		if (h->r[i].what == 'S' && h->r[i].node != h->r[k].node &&
		    end_of(h, i, h->r[k].at) == h->r[k].at &&
		    is_of_absence(h, i, k))
			return;
	blame(h, "two at work at once");
}

/* The k-th begins, and the i-th was the one before. */
static void
check_again(const struct history *h, size_t i, size_t k)
{
	size_t j;

	for (j = i + 1; j < k; j++)
		if (h->r[j].what == 'F' && h->r[j].pid == h->r[i].pid)
			return;
	if (!is_killed(h->l, &h->r[i], h->r[k].at) && !is_of_absence(h, i, k))
		blame(h,
		    text("executed again after pid %d, whom nobody killed",
			(int)h->r[i].pid));
}

static void
check_job(const struct history *h)
{
	size_t i, begun = h->n;
	bool ended = false;

	for (i = 0; i < h->n; i++) {
		if (h->r[i].what == 'E')
			ended = true;
		if (h->r[i].what == 'K' && h->l->nabsences == 0)
			blame(h, "another of its key was at work");
		if (h->r[i].what == 'D')
			check_double(h, i);
		else if (h->r[i].what != 'S')
			continue;
		else if (begun < h->n)
			check_again(h, begun, i);
		begun = i;
	}
	if (!ended)
		blame(h, "is over, but never ended");
}

static bool
are_all_over(struct ledger *l)
{
	while (l->over < l->queued && is_over(l, l->over + 1))
		l->over++;
	return l->over == l->queued;
}

/* What is known of the first that does not end, before the test is given up. */
static void
show_stuck(struct ledger *l)
{
	size_t i;

	printf("%s\n%s\n", id_of(l->over + 1),
	    json_dumps(ask(l, NULL, "job.get",
			   json_pack("{s:s}", "id", id_of(l->over + 1))),
		0));
	read_ledger(l);
	for (i = 0; i < l->nrecords; i++)
		if (strcmp(l->records[i].id, id_of(l->over + 1)) == 0)
			show_records(&l->records[i], 1);
}

static void
wait_until_over(struct ledger *l)
{
	double since = check_clock();

	while (!are_all_over(l)) {
		if (check_clock() - since > 30 * check_patience())
			show_stuck(l);
		check_wait(__FILE__, __LINE__, "the end of all jobs", since);
	}
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
			check_job(
			    &(struct history){l, &l->records[from], i - from});
			from = i;
			jobs++;
		}
	check_int(jobs, l->queued);
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

/* ---- its course ---- */

const char *
ledger_runner(const struct ledger *l, const char *node, const char *kind)
{
	bool stdio = strcmp(kind, "stdio") == 0;
	const char *how = strcmp(kind, "exec") == 0 ? "numprocs = 3\n"
	    : stdio ? "numprocs = 2\nconcurrency = 3\n"
		    : "";

	return text("[runner:%s]\nkind = %s\n%scommand = %s %s %s %s\n", kind,
	    kind, how, l->worker, here("books"), node, kind);
}

void
ledger_begin(struct ledger *l)
{
	memset(l, 0, sizeof(*l));
	l->seconds = 12;
	l->most_ms = 30;
	l->seed = (unsigned)number_in("LEDGER_SEED", (long)now_ns());
	printf("LEDGER_SEED=%u\n", l->seed);
	l->kills = calloc(KILLS_MAX, sizeof(*l->kills));
	l->worker =
	    text("%s/tests/integration/ledger_worker", getenv("HEROD_BUILD"));
	check_int(mkdir(here("books"), 0755), 0);
	signal(SIGPIPE, SIG_IGN);
}

void
ledger_run(struct ledger *l, const struct mishap *mishaps, size_t n,
    void (*seen)(struct ledger *l))
{
	long long end =
	    now_ns() + 1000000000LL * number_in("LEDGER_SECONDS", l->seconds);

	while (now_ns() < end) {
		ledger_produce(l);
		befall(l, mishaps, n);
		if (seen)
			seen(l);
	}
}

void
ledger_end(struct ledger *l)
{
	size_t i;

	wait_until_over(l);
	check_ledger(l);
	printf("%ld jobs, %zu executions; killed: workers %ld, herod %ld, "
	       "keeper %ld, redis %ld; stopped %ld; absent %zu\n",
	    l->queued, l->nrecords / 2, l->of_workers, l->of_herod,
	    l->of_keeper, l->of_redis, l->stops, l->nabsences);
	for (i = 0; i < l->nsides; i++)
		if (l->sides[i].door)
			fclose(l->sides[i].door);
	free(l->line);
	free(l->records);
	free(l->kills);
	for (i = 0; i < l->nsides; i++)
		herod_stop(l->sides[i].h);
}
