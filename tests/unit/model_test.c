/*
 * The machine of an instance against a model of what must hold.
 *
 * Every sequence of requests and of what can happen to a process is tried,
 * one step longer each time, until no step leads to anything new: what can
 * be observed then decides whether two sequences are the same.  From each
 * situation the world is also let go on by itself, as a program would that
 * obeys, until nothing happens any more: then what was asked for last must
 * be so, and everybody who waited must have been told, once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fake/house.h"
#include "mem.h"

/* ---- steps ---- */

enum step {
	DO_START,
	DO_STOP,
	DO_STOP_NOW, /* without draining */
	DO_RESTART,
	DO_RESTART_NOW,
	DO_SHUTDOWN,
	DO_HURRY,
	DO_EXECUTED,
	DO_EXIT_0,
	DO_EXIT_3,
	DO_NO_PROGRAM,
	DO_NO_ROOM,
	DO_PAUSE,
	DO_CONTINUE,
	DO_TIME, /* the state's timer ends */
	DO_RECYCLE, /* its process is too old */
	DO_OUTGROW, /* it is too big, and too soon */
	DO_JOB, /* it is given one */
	DO_JOB_END,
	STEPS
};

static const char *const words[STEPS] = {"start", "stop", "stop-now", "restart",
    "restart-now", "shutdown", "hurry", "executed", "exit-0", "exit-3",
    "no-program", "no-room", "pause", "continue", "time", "recycle", "outgrow",
    "job", "job-end"};

#define LENGTH_MAX 40

struct path {
	size_t n;
	unsigned char steps[LENGTH_MAX];
};

/* ---- the world, and what is known of it ---- */

struct world {
	struct house house;
	struct runner *runner;
	struct instance *i;
	const struct path *path; /* that led here */
	size_t njobs;
	int overs; /* processes that are */
	/* The model. */
	bool asked; /* for anything, so far */
	bool up; /* the last request wants it up */
	bool by_itself; /* it ended or failed by itself since then */
	bool ending, done;
	int starts; /* when it was last wanted down */
	int pending[2]; /* waits, by what is waited for */
};

/* Says how it came to be, then fails. */
#define must(w, cond) \
	do { \
		if (!(cond)) \
			accuse(__LINE__, (w), #cond); \
	} while (0)

static void __attribute__((noreturn))
accuse(int line, const struct world *w, const char *what)
{
	char path[1024] = "";
	size_t k;

	for (k = 0; k < w->path->n; k++) {
		strlcat(path, " ", sizeof(path));
		strlcat(path, words[w->path->steps[k]], sizeof(path));
	}
	check_fail(__FILE__, line, "%s after%s: %s (%s)", what, path,
	    state_name(w->i->state), w->i->why);
}

static int
live(const struct world *w)
{
	return house_starts() - w->overs;
}

static bool
is_exec(const struct world *w)
{
	return w->runner->conf.kind == KIND_EXEC;
}

static bool
is_down_state(enum state s)
{
	return s == STOPPED || s == EXITED || s == FATAL;
}

/* ---- in place of worker.c ---- */

static size_t
count_jobs(void *arg, struct instance *i, json_t *ids)
{
	const struct world *w = arg;

	(void)i;
	(void)ids;
	return w->njobs;
}

static void
lose_jobs(void *arg, struct instance *i, const struct child *c, bool asked)
{
	struct world *w = arg;

	(void)i;
	(void)c;
	(void)asked;
	w->njobs = 0;
}

/* ---- requests ---- */

struct waiter {
	struct world *world;
	bool up;
};

static void
note_answer(void *arg, enum wait_end end)
{
	struct waiter *waiter = arg;

	(void)end;
	waiter->world->pending[waiter->up]--;
	must(waiter->world, waiter->world->pending[waiter->up] >= 0);
	free(waiter);
}

static void
wait_for_it(struct world *w, bool up)
{
	struct waiter *waiter;

	if (w->pending[up] > 1)
		return; /* more would only be the same */
	waiter = xcalloc(1, sizeof(*waiter));
	waiter->world = w;
	waiter->up = up;
	w->pending[up]++;
	runner_wait(
	    w->runner, up ? WANTED_UP : WANTED_DOWN, 0, note_answer, waiter);
}

static void
request(struct world *w, enum step step)
{
	bool up =
	    step == DO_START || step == DO_RESTART || step == DO_RESTART_NOW;
	bool drain = step == DO_STOP || step == DO_RESTART;

	w->asked = true;
	w->up = up;
	w->by_itself = false;
	w->starts = house_starts();
	if (step == DO_START)
		runner_start(w->runner);
	else if (up)
		runner_restart(w->runner, drain);
	else
		runner_stop(w->runner, drain);
	/* The last request wins: the others are told so. */
	must(w, w->pending[!up] == 0);
	wait_for_it(w, up);
}

static void
note_done(void *arg)
{
	((struct world *)arg)->done = true;
}

static void
end_all(struct world *w, bool hurry)
{
	w->asked = w->ending = true;
	w->up = false;
	w->starts = house_starts();
	runners_shutdown(w->house.all, hurry, note_done, w);
}

/* ---- what happens ---- */

static void
end_process(struct world *w, int code)
{
	w->by_itself = w->by_itself || !w->i->child->stopping;
	w->overs++;
	over(w->runner, code);
}

static void
fail(struct world *w, const char *stage, int error, bool shortage)
{
	w->by_itself = w->by_itself || !w->i->child->stopping;
	w->i->child->shortage = shortage;
	w->overs++;
	failed(w->runner, stage, error);
}

static void
pause_process(struct world *w, bool paused)
{
	struct child *c = w->i->child;

	c->paused = paused;
	c->ops->paused(c, paused);
}

static void
end_timer(struct world *w)
{
	ev_timer_stop(w->house.loop, &w->i->timer);
	instance_event(w->i, EVENT_TIMER);
}

static bool
is_possible(const struct world *w, enum step step)
{
	const struct child *c = w->i->child;

	switch (step) {
	case DO_START:
	case DO_RESTART:
	case DO_RESTART_NOW:
		return !w->ending; /* they are refused then */
	case DO_SHUTDOWN:
		return !w->ending;
	case DO_EXECUTED:
		return c && c->pid == 0;
	case DO_NO_PROGRAM:
	case DO_NO_ROOM:
		return c && c->pid == 0;
	case DO_EXIT_0:
	case DO_EXIT_3:
		return c && c->pid != 0;
	case DO_PAUSE:
		return c && c->pid != 0 && !c->paused;
	case DO_CONTINUE:
		return c && c->paused;
	case DO_TIME:
		return ev_is_active(&w->i->timer);
	case DO_RECYCLE:
	case DO_OUTGROW:
		return w->i->state == RUNNING && c;
	case DO_JOB:
		return w->runner->conf.kind != KIND_SERVICE && w->njobs == 0 &&
		    instance_takes_jobs(w->i);
	case DO_JOB_END:
		return w->njobs > 0;
	default:
		return true;
	}
}

static void
happen(struct world *w, enum step step)
{
	switch (step) {
	case DO_SHUTDOWN:
	case DO_HURRY:
		end_all(w, step == DO_HURRY);
		break;
	case DO_EXECUTED:
		executed(w->runner);
		break;
	case DO_EXIT_0:
	case DO_EXIT_3:
		end_process(w, step == DO_EXIT_3 ? 3 : 0);
		break;
	case DO_NO_PROGRAM:
		fail(w, "exec", ENOENT, false);
		break;
	case DO_NO_ROOM:
		fail(w, "fork", EAGAIN, true);
		break;
	case DO_PAUSE:
	case DO_CONTINUE:
		pause_process(w, step == DO_PAUSE);
		break;
	case DO_TIME:
		end_timer(w);
		break;
	case DO_RECYCLE:
		instance_recycle(w->i, "too old");
		break;
	case DO_OUTGROW:
		instance_outgrown(w->i, "too big");
		break;
	case DO_JOB:
		w->njobs = 1;
		break;
	case DO_JOB_END:
		w->njobs = 0;
		instance_idle(w->i);
		break;
	default:
		request(w, step);
		break;
	}
	/* What is put off to the next turn: order of shutdown, sweeps. */
	turn(&w->house);
	turn(&w->house);
}

/* ---- what must hold ---- */

static void
check_process(const struct world *w)
{
	const struct instance *i = w->i;

	/* Never a second one; none that nobody knows. */
	must(w, live(w) == 0 || live(w) == 1);
	must(w, (live(w) == 1) == (i->child != NULL));
	must(w, !is_exec(w) || live(w) == 0);
	if (is_down_state(i->state) || i->state == BACKOFF)
		must(w, live(w) == 0 && w->njobs == 0);
	else if (!is_exec(w))
		must(w, live(w) == 1);
}

static void
check_wanted(const struct world *w)
{
	enum state s = w->i->state;

	if (!w->asked || w->up)
		return;
	/* Nothing is started that was asked to be down. */
	must(w, house_starts() == w->starts);
	if (!w->ending)
		must(w, s == STOPPED || s == DRAINING || s == STOPPING);
}

static void
check_timer(const struct world *w)
{
	enum state s = w->i->state;

	must(w,
	    !ev_is_active(&w->i->timer) || s == STARTING || s == RUNNING ||
		s == BACKOFF || s == DRAINING);
	/* Nobody else would ever wake it up. */
	must(w, s != BACKOFF || ev_is_active(&w->i->timer));
}

static void
check_waits(const struct world *w)
{
	if (w->i->state == RUNNING || is_down_state(w->i->state))
		must(w, w->pending[true] == 0);
	if (is_down_state(w->i->state))
		must(w, w->pending[false] == 0);
}

static void
check_all(const struct world *w)
{
	check_process(w);
	check_wanted(w);
	check_timer(w);
	check_waits(w);
	must(w, *w->i->why != '\0');
	must(w, !w->done || live(w) == 0);
}

/* ---- going on by itself ---- */

/* What comes next when programs do as they are told; STEPS: nothing. */
static enum step
next_step(const struct world *w)
{
	const struct instance *i = w->i;

	if (i->child && i->child->stopping)
		return DO_EXIT_0;
	if (i->child && i->child->pid == 0)
		return DO_EXECUTED;
	if (w->njobs && (i->state == DRAINING || i->state == STOPPING))
		return DO_JOB_END;
	if (ev_is_active(&i->timer) &&
	    (i->state == STARTING || i->state == BACKOFF))
		return DO_TIME;
	return STEPS;
}

static void
check_rest(const struct world *w)
{
	enum state s = w->i->state;

	if (!w->asked) {
		must(w, s == STOPPED);
	} else if (!w->up) {
		must(w, is_down_state(s) && (s == STOPPED || w->ending));
		must(w, !ev_is_active(&w->i->timer) || w->ending);
		must(w, w->pending[false] == 0 && w->pending[true] == 0);
		must(w, !w->ending || w->done);
	} else if (!w->by_itself) {
		must(w, s == RUNNING || s == PAUSED);
	} else {
		must(w,
		    s == RUNNING || s == PAUSED || s == EXITED || s == FATAL);
	}
	must(w, s == PAUSED || w->pending[true] == 0);
}

static void
come_to_rest(struct world *w)
{
	enum step step;
	int n = 0;

	while ((step = next_step(w)) != STEPS) {
		happen(w, step);
		check_all(w);
		must(w, ++n < 20);
	}
	check_rest(w);
}

/* ---- trying everything ---- */

static struct world *
world_new(const char *settings, const struct path *path)
{
	struct world *w = xcalloc(1, sizeof(*w));

	open_house(&w->house);
	w->house.hooks.arg = w;
	w->house.hooks.jobs = count_jobs;
	w->house.hooks.died = lose_jobs;
	w->runner = house_add(&w->house, "it", settings);
	w->i = only(w->runner);
	w->path = path;
	return w;
}

/* Who still waits is told of the end. */
static void
world_free(struct world *w)
{
	close_house(&w->house);
	check_int(w->pending[0] + w->pending[1], 0);
	free(w);
}

static struct world *
replay(const char *settings, const struct path *path)
{
	struct world *w = world_new(settings, path);
	size_t k;

	for (k = 0; k < path->n; k++)
		happen(w, path->steps[k]);
	return w;
}

static int
few(unsigned n)
{
	return n > 2 ? 2 : (int)n;
}

/* All that may decide what comes. */
static void
observe(const struct world *w, char text[160])
{
	const struct instance *i = w->i;
	const struct child *c = i->child;

	snprintf(text, 160,
	    "%d c%d%d%d%d%d r%d d%d x%d f%d s%d j%zu t%d w%d a%d u%d b%d e%d%d "
	    "p%d%d",
	    i->state, c != NULL, c && c->pid, c && c->paused, c && c->stopping,
	    c && c->killed, i->restart, i->drain, i->fault, few(i->failures),
	    few(i->failed_starts), w->njobs, ev_is_active(&i->timer),
	    w->runner->wanted, w->asked, w->up, w->by_itself, w->ending,
	    w->done, w->pending[0], w->pending[1]);
}

#define SITUATIONS_MAX 20000

struct search {
	const char *settings;
	char **seen; /* sorted */
	size_t nseen;
	struct path *todo; /* a queue: short ones first */
	size_t first, ntodo;
	bool states[FATAL + 1];
};

/* True when it is new. */
static bool
note_seen(struct search *s, const char *text)
{
	size_t low = 0, high = s->nseen, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (strcmp(s->seen[middle], text) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < s->nseen && strcmp(s->seen[low], text) == 0)
		return false;
	check(s->nseen < SITUATIONS_MAX);
	memmove(&s->seen[low + 1], &s->seen[low],
	    (s->nseen - low) * sizeof(*s->seen));
	s->seen[low] = xstrdup(text);
	s->nseen++;
	return true;
}

/* A situation is looked at once. */
static void
look(struct search *s, struct world *w)
{
	char text[160];

	check_all(w);
	observe(w, text);
	if (!note_seen(s, text))
		return;
	s->states[w->i->state] = true;
	check(w->path->n < LENGTH_MAX);
	s->todo[s->ntodo++] = *w->path;
	come_to_rest(w);
}

static void
try_all_steps(struct search *s, const struct path *before)
{
	struct path path = *before;
	struct world *w;
	enum step step;

	path.n++;
	for (step = 0; step < STEPS; step++) {
		w = replay(s->settings, before);
		if (is_possible(w, step)) {
			path.steps[path.n - 1] = (unsigned char)step;
			w->path = &path;
			happen(w, step);
			look(s, w);
		}
		world_free(w);
	}
}

static void
search(struct search *s, const char *settings)
{
	static const struct path nothing = {.n = 0};
	struct world *w = world_new(settings, &nothing);
	struct path path;

	memset(s, 0, sizeof(*s));
	s->settings = settings;
	s->seen = xcalloc(SITUATIONS_MAX + 1, sizeof(*s->seen));
	s->todo = xcalloc(SITUATIONS_MAX + 1, sizeof(*s->todo));
	look(s, w);
	world_free(w);
	while (s->first < s->ntodo) {
		path = s->todo[s->first++];
		try_all_steps(s, &path);
	}
	printf("%zu situations, the longest way %zu steps\n", s->nseen,
	    s->todo[s->ntodo - 1].n);
}

static void
search_free(struct search *s)
{
	while (s->nseen > 0)
		free(s->seen[--s->nseen]);
	free(s->seen);
	free(s->todo);
}

/* Long delays: nothing comes by itself but what the test lets come. */
#define SLOW \
	"\"backoff_base\": 1000, \"backoff_max\": 1000, " \
	"\"backoff_reset\": 1000, \"drain_timeout\": 1000"

void
test_a_service_does_what_is_wanted(void)
{
	struct search s;

	search(&s, SLOW ", \"startsecs\": 1000, \"startretries\": 1");
	check(s.states[STOPPED] && s.states[STARTING] && s.states[RUNNING] &&
	    s.states[PAUSED] && s.states[BACKOFF] && s.states[STOPPING] &&
	    s.states[EXITED] && s.states[FATAL]);
	search_free(&s);
}

void
test_a_service_that_runs_at_once_does_what_is_wanted(void)
{
	struct search s;

	search(&s, SLOW ", \"startsecs\": 0, \"autorestart\": \"always\"");
	check(s.states[RUNNING] && s.states[BACKOFF] && !s.states[EXITED]);
	search_free(&s);
}

void
test_a_service_that_is_never_restarted_does_what_is_wanted(void)
{
	struct search s;

	search(&s, SLOW ", \"startsecs\": 0, \"autorestart\": \"never\"");
	check(s.states[EXITED]);
	search_free(&s);
}

void
test_a_place_for_jobs_does_what_is_wanted(void)
{
	struct search s;

	search(&s, SLOW ", \"kind\": \"exec\"");
	check(s.states[RUNNING] && s.states[DRAINING] && s.states[STOPPING] &&
	    s.states[STOPPED] && !s.states[STARTING]);
	search_free(&s);
}

void
test_a_worker_does_what_is_wanted(void)
{
	struct search s;

	search(&s, SLOW ", \"kind\": \"stdio\", \"startsecs\": 1000");
	check(s.states[DRAINING] && s.states[PAUSED] && s.states[BACKOFF]);
	search_free(&s);
}
