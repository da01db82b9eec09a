/*
 * Soak: everything that can happen to runners, at random, for a while, and
 * what must be true all the time:
 *
 *	- no instance has two processes;
 *	- an end is told as it was (a ledger of the programs' own says how);
 *	- herod begins again only when it or its keeper was killed or upgraded;
 *	- each process's numbered lines stand in the log without a gap, in
 *	  order, once (but once more or less for each time that herod and its
 *	  keeper were killed both);
 *	- at rest, no process is left, and herod and keeper have neither more
 *	  descriptors nor more memory than before.
 *
 * $SOAK_SECONDS says how long (tests/soak --minutes N), $SOAK_SEED repeats.
 * What is added to herod gets a row in actions[] and, if it is a promise, a
 * check in look().
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(240);

#define SECONDS_SHORT 12
#define REST_EVERY 60 /* actions */
#define RUNNERS 5
#define PROCESSES_MAX 512

static const char *const runners[RUNNERS] = {
    "svc", "crash", "fast", "lines", "extra"};

static const char conf[] =
    "[herod]\ncgroups = %s\n" AT_ONCE
    "startretries = -1\nbackoff_base = 0.02\nbackoff_max = 0.3\n"
    "autorestart = always\nenvironment = SOAK=\"%s\"\n"
    "[runner:svc]\nnumprocs = 3\ncommand = %s\n"
    "[runner:crash]\nnumprocs = 3\ncommand = %s %s\n"
    "[runner:fast]\nautostart = false\nbackoff_max = 0.05\n"
    "command = %s %s\n"
    "[runner:lines]\nnumprocs = 2\ncommand = %s\n";

/* Its number, and how many lines it has written. */
static const char writer[] = "n=0\nwhile :; do n=$((n + 1)); echo \"$$ $n\"\n"
			     "[ $((n % 50)) != 0 ] || sleep 0.02; done";

/* What a process is, by its environment. */
struct process {
	pid_t pid;
	char place[80]; /* RUNNER/INSTANCE */
	bool leads; /* its session: it is not a child of the program */
};

struct rest {
	int herod_fds, keeper_fds;
	long herod_rss, keeper_rss; /* kB */
};

struct soak {
	struct herod *h;
	const char *ledger, *program;
	unsigned seed;
	long actions, kills, keeper_kills, both_kills, upgrades, checked_exits;
	struct process all[PROCESSES_MAX];
	size_t n;
	bool rested;
	struct rest first;
};

static unsigned
dice(struct soak *s, unsigned sides)
{
	s->seed = s->seed * 1103515245 + 12345;
	return (s->seed >> 16) % sides;
}

static const char *
any_runner(struct soak *s)
{
	return runners[dice(s, RUNNERS)];
}

/* ---- asking herod, which may die over it ---- */

static json_t *
answer_of(int fd)
{
	char *line = NULL;
	size_t size = 0;
	FILE *f = fdopen(fd, "re");
	json_t *answer = NULL;

	if (getline(&line, &size, f) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	fclose(f);
	return answer;
}

/* The result, new, or NULL: refused, or herod was killed meanwhile.  The
 * connection itself waits in the backlog. */
static json_t *
ask(struct soak *s, const char *method, json_t *params)
{
	json_t *call =
	    json_pack("{s:s, s:s, s:o, s:i}", "jsonrpc", "2.0", "method",
		method, "params", params ? params : json_object(), "id", 1);
	json_t *answer = NULL, *result = NULL;
	char *line = json_dumps(call, JSON_COMPACT);
	int fd = door_unix(s->h);

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) > 0 &&
	    send(fd, "\n", 1, MSG_NOSIGNAL) == 1)
		answer = answer_of(fd);
	else
		close(fd);
	result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	json_decref(call);
	free(line);
	return result;
}

static void
tell(struct soak *s, const char *method, const char *runner)
{
	json_decref(
	    ask(s, method, json_pack("{s:s, s:b}", "name", runner, "wait", 0)));
}

/* ---- who is there ---- */

/* The value of NAME= among the strings of an environment, or NULL. */
static const char *
variable(const char *env, size_t len, const char *name)
{
	size_t n = strlen(name);
	const char *p;

	for (p = env; p < env + len; p += strlen(p) + 1)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
	return NULL;
}

static size_t
read_environ(pid_t pid, char *buf, size_t size)
{
	char path[32];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	if ((f = fopen(path, "re")) != NULL) {
		n = fread(buf, 1, size - 1, f);
		fclose(f);
	}
	buf[n] = '\0';
	return n;
}

static bool
is_ours(pid_t pid, struct process *p)
{
	static char env[65536];
	size_t len = read_environ(pid, env, sizeof(env));
	const char *mark = variable(env, len, "SOAK");

	if (mark == NULL || strcmp(mark, here("")) != 0)
		return false;
	p->pid = pid;
	p->leads = getsid(pid) == pid;
	snprintf(p->place, sizeof(p->place), "%.40s/%.8s",
	    variable(env, len, "HERO_RUNNER"),
	    variable(env, len, "HERO_INSTANCE"));
	return true;
}

/* Whose parent was killed is ours, here where nobody else is above it. */
static void
bury(struct soak *s)
{
	siginfo_t info = {.si_pid = 0};

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid != 0 && info.si_pid != s->h->keeper)
		waitpid(info.si_pid, NULL, 0);
}

static void
find_processes(struct soak *s)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	bury(s);
	s->n = 0;
	while (s->n < PROCESSES_MAX && (e = readdir(d)) != NULL)
		if (isdigit((unsigned char)e->d_name[0]) &&
		    is_ours((pid_t)atoi(e->d_name), &s->all[s->n]))
			s->n++;
	closedir(d);
}

/* Both at one moment: the first still there after the second was seen. */
static bool
are_both_there(const struct process *a, const struct process *b)
{
	struct process again;

	return a->leads && b->leads && is_ours(a->pid, &again) &&
	    is_ours(b->pid, &again) && again.leads && is_ours(a->pid, &again) &&
	    again.leads && strcmp(again.place, a->place) == 0;
}

static void
check_no_doubles(struct soak *s)
{
	size_t i, k;

	find_processes(s);
	for (i = 0; i < s->n; i++)
		for (k = 0; k < i; k++)
			if (strcmp(s->all[i].place, s->all[k].place) == 0 &&
			    are_both_there(&s->all[i], &s->all[k]))
				check_fail(__FILE__, __LINE__,
				    "%s has two processes: %d and %d",
				    s->all[i].place, (int)s->all[i].pid,
				    (int)s->all[k].pid);
}

/* ---- how they ended ---- */

/* RFC 3339 in UTC with microseconds, in ns; the end of that microsecond. */
static long long
time_ns(const char *stamp)
{
	struct tm tm = {0};
	const char *rest = strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm);

	check(rest != NULL && *rest == '.');
	return (long long)timegm(&tm) * 1000000000 + atoll(rest + 1) * 1000 +
	    999;
}

/* The last record of a place until then; -1: none. */
static int
code_in_ledger(const struct soak *s, const char *place, long long until)
{
	FILE *f = fopen(s->ledger, "re");
	char who[80];
	long long at;
	int code, found = -1;

	while (f && fscanf(f, "%79s %lld %d", who, &at, &code) == 3)
		if (strcmp(who, place) == 0 && at <= until)
			found = code;
	if (f)
		fclose(f);
	return found;
}

static void
check_exit(struct soak *s, const char *runner, json_t *instance)
{
	json_t *end = json_object_get(instance, "exit");
	json_t *code = json_object_get(end, "code");
	const char *place = text("%s/%lld", runner, int_at(instance, "n"));

	if (json_is_null(end))
		return;
	if (!json_is_integer(code)) {
		/* Or unknown, of one that a killed keeper had started. */
		check(json_is_string(json_object_get(end, "signal")) ||
		    s->keeper_kills + s->both_kills > 0);
		return;
	}
	check_int(json_integer_value(code),
	    code_in_ledger(s, place, time_ns(text_at(end, "at"))));
	s->checked_exits++;
}

static void
check_exits(struct soak *s)
{
	json_t *all = ask(s, "get_all_runner_status", NULL), *r, *i;
	size_t n, k;

	json_array_foreach (all, n, r)
		if (strcmp(text_at(r, "name"), "herod-redis") != 0)
			json_array_foreach (
			    json_object_get(r, "instances"), k, i)
				check_exit(s, text_at(r, "name"), i);
	json_decref(all);
}

static void
look(struct soak *s)
{
	check_no_doubles(s);
	check_exits(s);
	check(is_alive(s->h->keeper));
}

/* ---- what happens ---- */

static void
do_start(struct soak *s)
{
	tell(s, "start_runner", any_runner(s));
}

static void
do_stop(struct soak *s)
{
	tell(s, "stop_runner", any_runner(s));
}

static void
do_restart(struct soak *s)
{
	tell(s, "restart_runner", any_runner(s));
}

static void
do_roll(struct soak *s)
{
	json_decref(ask(s, "restart_runner",
	    json_pack(
		"{s:s, s:b, s:b}", "name", "svc", "rolling", 1, "wait", 0)));
}

static void
do_scale(struct soak *s)
{
	json_decref(ask(s, "scale_runner",
	    json_pack("{s:s, s:i, s:b}", "name", any_runner(s), "instances",
		(int)dice(s, 6) + 1, "wait", 0)));
}

static void
do_add(struct soak *s)
{
	json_decref(ask(s, "add_runner",
	    json_pack("{s:{s:s, s:[s, s], s:s, s:i, s:s, s:i, s:{s:s}}}",
		"runner", "name", "extra", "command", s->program, s->ledger,
		"autorestart", "always", "startsecs", 0, "backoff_max", "0.1",
		"startretries", -1, "environment", "SOAK", here(""))));
}

static void
do_remove(struct soak *s)
{
	tell(s, "remove_runner", "extra");
}

/* One of the processes seen last; not a number that was given away since. */
static void
send_signal(struct soak *s, int sig)
{
	struct process *p, now;

	if (s->n == 0)
		return;
	p = &s->all[dice(s, (unsigned)s->n)];
	if (is_ours(p->pid, &now))
		kill(p->pid, sig);
}

static void
do_kill(struct soak *s)
{
	send_signal(s, SIGKILL);
}

static void
do_crash(struct soak *s)
{
	send_signal(s, SIGABRT); /* sanitizers do not catch it */
}

static void
do_pause(struct soak *s)
{
	send_signal(s, SIGSTOP);
}

static void
do_continue(struct soak *s)
{
	send_signal(s, SIGCONT);
}

/* By a live setting, and by one that takes a restart. */
static void
do_reload(struct soak *s)
{
	const char *setting = dice(s, 2) ? "stopwaitsecs" : "umask";

	run("sed -i '/^%s = /d; s/^\\[runner:svc]/&\\n%s = 0%u/' %s", setting,
	    setting, dice(s, 7) + 1, s->h->conf);
	json_decref(ask(s, "reload", NULL));
}

/* Without waiting for the next one. */
static void
do_kill_herod(struct soak *s)
{
	pid_t pid = herod_pid(s->h);

	if (pid != 0 && kill(pid, SIGKILL) == 0) {
		wait_for(!is_alive(pid));
		s->kills++;
	}
}

/* Has it begun, and is whole? */
static bool
is_whole(struct soak *s)
{
	json_t *pong = ask(s, "ping", NULL);
	bool answers = pong != NULL;

	json_decref(pong);
	return answers && herod_pid(s->h) != 0;
}

/* While both are there: the other would be killed alone. */
static void
do_kill_keeper(struct soak *s)
{
	if (!is_whole(s))
		return;
	herod_keeper_kill9(s->h);
	s->keeper_kills++;
}

static void
do_kill_both(struct soak *s)
{
	if (!is_whole(s))
		return;
	herod_kill_both(s->h);
	herod_again(s->h);
	s->both_kills++;
}

/* To what it is: each of the two executes its program anew. */
static void
do_upgrade(struct soak *s)
{
	pid_t old = herod_pid(s->h), now;
	json_t *done = ask(s, "upgrade", NULL);

	if (done) {
		wait_for((now = herod_pid(s->h)) != 0 && now != old);
		s->upgrades++;
	}
	json_decref(done);
}

static const struct {
	void (*act)(struct soak *s);
	unsigned weight;
} actions[] = {
    {do_start, 6},
    {do_stop, 4},
    {do_restart, 3},
    {do_roll, 1},
    {do_scale, 3},
    {do_add, 3},
    {do_remove, 1},
    {do_kill, 6},
    {do_crash, 2},
    {do_pause, 1},
    {do_continue, 3},
    {do_reload, 1},
    {do_kill_herod, 1},
    {do_kill_keeper, 1},
    {do_kill_both, 1},
    {do_upgrade, 1},
};

static void
act(struct soak *s)
{
	unsigned sum = 0, roll;
	size_t i;

	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		sum += actions[i].weight;
	roll = dice(s, sum);
	for (i = 0; roll >= actions[i].weight; i++)
		roll -= actions[i].weight;
	actions[i].act(s);
	s->actions++;
}

/* ---- at rest ---- */

static long
rss(pid_t pid)
{
	return atol(proc_field(pid, "status", "VmRSS"));
}

/* The same shape each time: nothing runs, as many instances as at first. */
static void
stop_everything(struct soak *s)
{
	json_t *result;

	tell(s, "remove_runner", "extra");
	do {
		result = ask(s, "stop_all", NULL);
		json_decref(result);
	} while (result == NULL);
	json_decref(ask(s, "scale_runner",
	    json_pack("{s:s, s:i}", "name", "svc", "instances", 3)));
	json_decref(ask(s, "scale_runner",
	    json_pack("{s:s, s:i}", "name", "crash", "instances", 3)));
	json_decref(ask(s, "scale_runner",
	    json_pack("{s:s, s:i}", "name", "lines", "instances", 2)));
	json_decref(ask(s, "scale_runner",
	    json_pack("{s:s, s:i}", "name", "fast", "instances", 1)));
}

static struct rest
measure(struct soak *s)
{
	pid_t daemon = herod_pid(s->h);

	bury(s);
	return (struct rest){.herod_fds = count_fds(daemon),
	    .keeper_fds = count_fds(s->h->keeper),
	    .herod_rss = rss(daemon),
	    .keeper_rss = rss(s->h->keeper)};
}

/* Sanitizers keep what was freed. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_IS_KEPT
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_IS_KEPT
#endif

static bool
is_memory_kept(void)
{
#ifdef MEMORY_IS_KEPT
	return true;
#else
	return false;
#endif
}

/* Log files stay open once something was written. */
#define LOG_FDS RUNNERS
#define RSS_MORE 4096 /* kB: the heap's own ups and downs, log rings */

/* A pidfd of Redis, which is not the child of a later keeper. */
static void
wait_for_no_more(struct soak *s)
{
	int foreign = s->keeper_kills + s->both_kills > 0;

	wait_for(measure(s).keeper_fds <= s->first.keeper_fds + foreign);
	wait_for(measure(s).herod_fds <= s->first.herod_fds + LOG_FDS);
	if (is_memory_kept())
		return;
	wait_for(measure(s).keeper_rss <= s->first.keeper_rss + RSS_MORE);
	wait_for(measure(s).herod_rss <= s->first.herod_rss + RSS_MORE);
}

static void
rest(struct soak *s)
{
	stop_everything(s);
	wait_for((find_processes(s), s->n == 0));
	wait_for_redis(s->h);
	if (!s->rested)
		s->first = measure(s);
	s->rested = true;
	wait_for_no_more(s);
	json_decref(ask(s, "start_all", json_pack("{s:b}", "wait", 0)));
}

/* ---- what was written ---- */

/* A killed process may have left half a line.  What herod and its keeper had
 * in their hands when both were killed is lost or stands twice. */
static void
check_lines(struct soak *s)
{
	struct ran r = run("cd %s && cat $(ls -rv lines.log*) | awk '"
			   "NF == 5 && $3 == \"out\" { n++; "
			   "if ($5 != 1 && $5 != last[$4] + 1 && "
			   "++odd[$4] > %ld) print; "
			   "last[$4] = $5 } END { print n > \"/dev/stderr\" }'",
	    here("state/log"), s->both_kills);

	check_str(r.out, "");
	check(atol(r.err) > 0);
	printf("%ld lines compared\n", atol(r.err));
}

/* ---- the whole ---- */

static long
number_in(const char *variable, long otherwise)
{
	const char *value = getenv(variable);

	return value ? atol(value) : otherwise;
}

static void __attribute__((constructor)) allow_for_time(void)
{
	check_timeout += (unsigned)number_in("SOAK_SECONDS", 0) * 2;
}

static int
count_words(const char *where, const char *what)
{
	int n = 0;

	for (; (where = strstr(where, what)) != NULL; where++)
		n++;
	return n;
}

void
test_whatever_happens_the_invariants_hold(void)
{
	static struct soak s;
	double end;

	s.seed = (unsigned)number_in("SOAK_SEED", getpid());
	printf("seed %u (SOAK_SEED)\n", s.seed);
	fflush(stdout);
	setenv("HERO_LOG", "warn", 1);
	s.ledger = here("ledger");
	s.program = text("%s/tests/integration/mortal", getenv("HEROD_BUILD"));
	s.h = herod_start(conf, dice(&s, 2) ? "auto" : "off", here(""),
	    s.program, s.program, s.ledger, s.program, s.ledger,
	    script("writer", writer));
	rest(&s);
	end = check_clock() + (double)number_in("SOAK_SECONDS", SECONDS_SHORT);
	while (check_clock() < end) {
		act(&s);
		look(&s);
		if (s.actions % REST_EVERY == 0)
			rest(&s);
	}
	rest(&s);
	check_lines(&s);
	printf("%ld actions, %ld kills of herod, %ld of its keeper, "
	       "%ld of both, %ld upgrades, %ld ends compared\n",
	    s.actions, s.kills, s.keeper_kills, s.both_kills, s.upgrades,
	    s.checked_exits);
	herod_stop(s.h);
	find_processes(&s);
	check_int((int)s.n, 0);
	check_int(
	    count_words(herod_log(), "herod was ended by signal 9"), s.kills);
	check_int(count_words(herod_log(), "herod ended with code"), 0);
}
