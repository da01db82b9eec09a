/*
 * The ledger with two herods, a and b, on a redis-server of the test's own,
 * while workers, herods, keepers and the server are killed and stopped at
 * random, and now and then a whole herod is frozen until the other one has
 * taken over from it (tests/ledger --nodes --minutes N).  Both do jobs by exec
 * and stdio; actors draw from the one of kind redis on b only.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ledger.h"

CHECK_TIMEOUT(600);

#define NODE_TIMEOUT 2 /* seconds */
#define SECOND 1000000000LL

/* From what the test sees of an absence to its last effect: what the node was
 * about to do goes on before it reads that others have taken over. */
#define AFTERMATH (10 * SECOND)

static const char *server; /* socket */
static pid_t server_pid;
static const char *ids[2]; /* of the nodes */
static FILE *news; /* the log of both herods */
static long long last_look; /* when all absences before were known */
static long given_back;

/* ---- who was absent ---- */

/* The next that the log says has vanished since we last looked; NULL: none. */
static struct side *
next_vanished(struct ledger *l)
{
	char line[1024], name;
	const char *at;
	long jobs;

	clearerr(news);
	while (fgets(line, sizeof(line), news))
		if ((at = strstr(line, "node ")) != NULL &&
		    sscanf(at, "node %c has vanished: %ld", &name, &jobs) ==
			2) {
			given_back += jobs;
			return &l->sides[name - 'a'];
		}
	return NULL;
}

static void
note_absence(
    struct ledger *l, const struct side *s, long long from, const char *held)
{
	if (l->nabsences == sizeof(l->absences) / sizeof(l->absences[0]))
		check_fail(__FILE__, __LINE__, "too many absences");
	l->absences[l->nabsences++] =
	    (struct absence){s->name[0], from, now_ns() + AFTERMATH, held};
}

/* A machine that stands still for a time makes each look absent to the other.
 * From then, at the latest, Redis had heard nothing of it. */
static void
look_for_absences(struct ledger *l)
{
	const struct side *s;
	long long now = now_ns();

	while ((s = next_vanished(l)) != NULL)
		note_absence(
		    l, s, last_look - (NODE_TIMEOUT + 1) * SECOND, NULL);
	last_look = now;
}

/* ---- a whole herod stands still ---- */

static const char *
one_line(const char *lines)
{
	char *s = strdup(lines), *p;
	const char *line;

	for (p = s; (p = strchr(p, '\n')) != NULL;)
		*p = ' ';
	line = text(" %s ", s);
	free(s);
	return line;
}

/* With what it had said to Redis before it was stopped and Redis not yet
 * read. */
static const char *
claims_of(const struct side *s)
{
	const char *id = ids[s->name[0] - 'a'], *all = "";
	int i;

	for (i = 0; i < 2; i++)
		all = text("%s%s%s", all,
		    redis(server, "hkeys herod:own:exec:%s", id),
		    redis(server, "hkeys herod:own:stdio:%s", id));
	if (s->name[0] == 'b')
		all =
		    text("%s%s", all, redis(server, "hkeys herod:open:redis"));
	return one_line(all);
}

static bool
is_stopped(pid_t pid)
{
	return proc_field(pid, "status", "State")[0] == 'T';
}

static void
stop(pid_t pid)
{
	kill(pid, SIGSTOP);
	wait_for(is_stopped(pid));
}

static bool
has_vanished(struct ledger *l, const struct side *s)
{
	const struct side *it;

	ledger_produce(l);
	if (dice(l, 200) == 0)
		kill_worker(l);
	while ((it = next_vanished(l)) != NULL)
		if (it == s)
			return true;
		else
			note_absence(l, it,
			    last_look - (NODE_TIMEOUT + 1) * SECOND, NULL);
	return false;
}

static bool
is_back(const struct side *s)
{
	return strstr(
	    redis(server, "hexists herod:node:%s gone", ids[s->name[0] - 'a']),
	    "0");
}

/* Since it had vanished last, of which nothing is left to read. */
static bool
is_there(struct ledger *l, const struct side *s)
{
	look_for_absences(l);
	return is_back(s);
}

/* Nobody takes over from it while its claims are read. */
static void
freeze_herod(struct ledger *l)
{
	struct side *s = &l->sides[dice(l, 2)];
	pid_t daemon = herod_pid(s->h);
	pid_t other = herod_pid(l->sides[s == l->sides].h);
	const char *held;
	long long from;

	wait_for(is_there(l, s));
	l->most_ms = 2500; /* some go on until another one begins the same */
	ledger_produce(l);
	l->most_ms = 30;
	from = now_ns();
	stop(other);
	stop(s->h->keeper);
	stop(daemon);
	held = claims_of(s);
	kill(other, SIGCONT);
	s->is_away = true;
	wait_for(has_vanished(l, s));
	kill(s->h->keeper, SIGCONT);
	kill(daemon, SIGCONT);
	wait_for(is_back(s));
	s->is_away = false;
	note_absence(l, s, from, held);
}

/* ---- the server ---- */

static void
kill_redis(struct ledger *l)
{
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	server_pid = redis_start_durable(server);
	l->of_redis++;
}

/* ---- its course ---- */

static const struct mishap mishaps[] = {{60, kill_worker}, {8, pause_worker},
    {10, kill_herod}, {4, pause_herod}, {2, kill_keeper}, {3, kill_redis},
    {4, pause_redis}, {1, freeze_herod}};

static struct herod *
start_node(const struct ledger *l, const char *name, const char *more)
{
	return herod_start_beside(text("-%s", name),
	    "[herod]\nredis_url = unix://%s\nnode_timeout = %d\nnode = "
	    "%s\n" LEDGER_DEFAULTS "%s%s%s",
	    server, NODE_TIMEOUT, name, ledger_runner(l, name, "exec"),
	    ledger_runner(l, name, "stdio"), more);
}

static const char *
node_id(const struct herod *h)
{
	return text("%.36s", file_text(text("%s/node.id", h->state)));
}

void
test_nor_with_two_herods_of_which_one_may_stand_still(void)
{
	struct ledger l;

	ledger_begin(&l);
	l.seconds = 7;
	server = here("redis.sock");
	server_pid = redis_start_durable(server);
	l.sides[0] = (struct side){.name = "a",
	    .runners = {"exec", "stdio"},
	    .h = start_node(&l, "a", "")};
	wait_for_redis(l.sides[0].h);
	ids[0] = node_id(l.sides[0].h);
	l.sides[1] = (struct side){.name = "b",
	    .runners = {"exec", "stdio", "redis"},
	    .h = start_node(&l, "b", ledger_runner(&l, "b", "redis"))};
	wait_for_redis(l.sides[1].h);
	ids[1] = node_id(l.sides[1].h);
	l.nsides = 2;
	news = fopen(here("herod.log"), "re");
	last_look = now_ns();
	ledger_produce(&l);
	freeze_herod(&l);
	ledger_run(&l, mishaps, sizeof(mishaps) / sizeof(mishaps[0]),
	    look_for_absences);
	ledger_end(&l);
	printf("%ld jobs given back after absences\n", given_back);
	fclose(news);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
}
