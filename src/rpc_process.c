/*
 * Processes of runners, as a tree.
 *
 * Reading proc(5) takes a while for many processes, so a few are looked at
 * in each turn of the loop.  The tree is walked from the processes that
 * herod-keeper has started, and from those that have left their parents and
 * so became the keeper's children (HERO_RUNNER in their environment tells
 * whose they are).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "process.h"
#include "rpc.h"
#include "rpc_runner.h"
#include "runners.h"
#include "turns.h"

#define PROCESSES_MAX 1000 /* in one answer */
#define A_TURN 16
#define CHILDREN_MAX 4096 /* of one process */

/* A process that stands for an instance, or has escaped from it. */
struct root {
	char runner[72];
	int instance;
	bool escaped;
};

struct branch {
	pid_t pid;
	size_t root; /* in walk.roots, or NOBODYS: to be found out */
	int depth;
};
#define NOBODYS ((size_t)-1)

struct walk {
	struct call *call;
	struct ev_loop *loop;
	ev_timer turn;
	const char *wanted; /* the parameter "name", NULL: all */
	json_t *processes;
	struct root *roots;
	size_t nroots;
	struct branch *todo; /* the last one is next */
	size_t ntodo;
	bool cut;
};

static void
walk_free(struct walk *w)
{
	ev_timer_stop(w->loop, &w->turn);
	json_decref(w->processes);
	free(w->roots);
	free(w->todo);
	free(w);
}

static void
walk_gone(void *arg)
{
	walk_free(arg);
}

static void
add_branch(struct walk *w, pid_t pid, size_t root, int depth)
{
	if (json_array_size(w->processes) + w->ntodo >= PROCESSES_MAX) {
		w->cut = true;
		return;
	}
	w->todo = xreallocarray(w->todo, w->ntodo + 1, sizeof(*w->todo));
	w->todo[w->ntodo++] = (struct branch){pid, root, depth};
}

static size_t
root_new(struct walk *w, const char *runner, int n, bool escaped)
{
	struct root *root;

	w->roots = xreallocarray(w->roots, w->nroots + 1, sizeof(*w->roots));
	root = &w->roots[w->nroots];
	strlcpy(root->runner, runner, sizeof(root->runner));
	root->instance = n;
	root->escaped = escaped;
	return w->nroots++;
}

/* ---- where to begin ---- */

static pid_t
leader_of(const struct instance *i)
{
	return i->child && !i->child->is_over ? i->child->pid : 0;
}

static void
add_instances(struct walk *w, const struct runner *r)
{
	const struct instance *i;
	size_t k;

	RUNNER_FOREACH_INSTANCE (i, r, k)
		if (leader_of(i))
			add_branch(w, leader_of(i),
			    root_new(w, r->name, i->n, false), 0);
}

static int
by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

/* Sorted pids of all processes that herod knows; free(3) them. */
static pid_t *
known_pids(const struct services *s, size_t *n)
{
	const struct instance *i;
	struct runner *r;
	pid_t *pids = xcalloc(1, sizeof(*pids));
	size_t k;

	*n = 1;
	pids[0] = getpid();
	RUNNERS_FOREACH (r, s->runners)
		RUNNER_FOREACH_INSTANCE (i, r, k) {
			if (leader_of(i) == 0)
				continue;
			pids = xreallocarray(pids, *n + 1, sizeof(*pids));
			pids[(*n)++] = leader_of(i);
		}
	qsort(pids, *n, sizeof(*pids), by_pid);
	return pids;
}

/* The keeper's other children. */
static void
add_adopted(struct walk *w)
{
	pid_t children[CHILDREN_MAX], *known;
	size_t k, n, nknown;

	known = known_pids(w->call->services, &nknown);
	n = process_children(getppid(), children, CHILDREN_MAX);
	for (k = 0; k < n; k++)
		if (bsearch(&children[k], known, nknown, sizeof(*known),
			by_pid) == NULL)
			add_branch(w, children[k], NOBODYS, 0);
	free(known);
}

/* The first added is to be the next. */
static void
turn_around(struct walk *w)
{
	struct branch b;
	size_t i;

	for (i = 0; i < w->ntodo / 2; i++) {
		b = w->todo[i];
		w->todo[i] = w->todo[w->ntodo - 1 - i];
		w->todo[w->ntodo - 1 - i] = b;
	}
}

/* ---- the walk ---- */

static void
add_children(struct walk *w, const struct branch *b)
{
	pid_t children[CHILDREN_MAX];
	size_t n = process_children(b->pid, children, CHILDREN_MAX);

	w->cut = w->cut || n == CHILDREN_MAX;
	while (n > 0)
		add_branch(w, children[--n], b->root, b->depth + 1);
}

/* Whose is it, by its environment?  False: of none that is asked for. */
static bool
find_root(struct walk *w, struct branch *b)
{
	char name[72], number[16];

	if (!process_variable(b->pid, "HERO_RUNNER", name, sizeof(name)) ||
	    !process_variable(b->pid, "HERO_INSTANCE", number, sizeof(number)))
		return false;
	if (w->wanted ? strcmp(w->wanted, name) != 0
		      : runner_find(w->call->services->runners, name) == NULL)
		return false;
	b->root = root_new(w, name, atoi(number), true);
	return true;
}

static void
look_at(struct walk *w, struct branch *b)
{
	const struct root *root;
	struct process_info p;

	if ((b->root == NOBODYS && !find_root(w, b)) ||
	    !process_read(b->pid, &p))
		return;
	root = &w->roots[b->root];
	json_array_append_new(w->processes,
	    json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:I, s:o, s:b}", "runner",
		root->runner, "instance", root->instance, "pid", (int)p.pid,
		"ppid", (int)p.ppid, "depth", b->depth, "state",
		json_stringn(&p.state, 1), "rss", (json_int_t)p.rss, "command",
		text_json(p.command, strlen(p.command)), "escaped",
		root->escaped));
	add_children(w, b);
}

static void
walk_end(struct walk *w)
{
	struct call *call = w->call;
	json_t *answer = json_pack(
	    "{s:O, s:b}", "processes", w->processes, "truncated", w->cut);

	call_on_gone(call, NULL, NULL);
	walk_free(w);
	call_reply(call, answer);
}

static void
on_turn(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("RPC method", "get_runner_processes");
	struct walk *w = timer->data;
	struct branch b;
	int n;

	(void)revents;
	for (n = 0; n < A_TURN && w->ntodo > 0; n++) {
		b = w->todo[--w->ntodo];
		look_at(w, &b);
	}
	if (w->ntodo > 0)
		ev_timer_start(loop, timer);
	else
		walk_end(w);
}

static struct walk *
walk_new(struct call *call)
{
	struct walk *w = xcalloc(1, sizeof(*w));

	w->call = call;
	w->loop = call->services->loop;
	w->wanted = call_string(call, "name");
	w->processes = json_array();
	ev_timer_init(&w->turn, on_turn, 0, 0);
	w->turn.data = w;
	return w;
}

HANDLER(get_runner_processes)
{
	struct runner *r = NULL;
	struct walk *w;

	if (call_has(call, "name") && (r = runner_of(call)) == NULL)
		return;
	w = walk_new(call);
	if (r)
		add_instances(w, r);
	else
		RUNNERS_FOREACH (r, call->services->runners)
			add_instances(w, r);
	add_adopted(w);
	turn_around(w);
	call_on_gone(call, walk_gone, w);
	ev_timer_start(w->loop, &w->turn);
}
