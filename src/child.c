/*
 * The life of one process as herod sees it: asked for, executed, told to
 * end, ended, over.
 *
 * process_look() is the one place that decides whether it is over;
 * everything that may be the last thing missing calls it.  over() itself
 * is called from a timer of the keeper, so never inside of a call of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MODULE "child"
#include "cgroup.h"
#include "child_impl.h"
#include "counters.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define GRACE 1.0 /* seconds for output after all else is over */
#define RESERVE_MAX 64 /* descriptors that are not for processes */
#define FDS_OF_ONE 4 /* pidfd, stdin, stdout, stderr */
#define STUBBORN 5.0 /* seconds after SIGKILL until we say so */
#define STRAYS_DELAY 0.01 /* seconds, doubled each time */
#define STRAYS_DELAY_MAX 1.0
#define SOUGHT_DELAY 0.05 /* seconds to the next look for a search's end */

_Static_assert(CHILD_TAG_MAX == WIRE_TAG_MAX, "the keeper keeps it whole");
_Static_assert(CHILD_RLIMITS_MAX == WIRE_RLIMITS_MAX, "and these");

static struct process *
process_of(struct child *c)
{
	return (struct process *)c;
}

static struct ev_loop *
loop_of(const struct process *p)
{
	return p->c.keeper->loop;
}

static void
timer_again(struct process *p, ev_timer *t, double after)
{
	ev_timer_stop(loop_of(p), t);
	ev_timer_set(t, after, 0);
	ev_timer_start(loop_of(p), t);
}

static void on_strays(struct ev_loop *loop, ev_timer *w, int events);

static void
stop_timers(struct process *p)
{
	struct ending *e = p->ending;

	if (e == NULL)
		return;
	ev_timer_stop(loop_of(p), &e->signal_timer);
	ev_timer_stop(loop_of(p), &e->kill_timer);
	ev_timer_stop(loop_of(p), &e->grace_timer);
	ev_timer_stop(loop_of(p), &e->strays_timer);
}

static void
enter(struct process *p, enum phase phase)
{
	if (p->phase == PHASE_ASKED && phase != PHASE_ASKED)
		p->c.keeper->nasked--;
	p->phase = phase;
}

/* ---- over ---- */

static bool
rest_is_left(const struct process *p)
{
	return p->group_left || p->strays_left;
}

static void
over_soon(struct process *p)
{
	if (p->over_due)
		return;
	p->over_due = true;
	stop_timers(p);
	if (!rest_is_left(p))
		cgroup_end(p->cgroup);
	TAILQ_INSERT_TAIL(&p->c.keeper->overs, p, overs);
	processes_sweep(p->c.keeper);
}

/* What is not found yet is awaited, too. */
static bool
rest_is_awaited(const struct process *p)
{
	return p->seeking || (rest_is_left(p) && !p->left_alone);
}

void
process_look(struct process *p)
{
	if (p->phase != PHASE_ENDED || rest_is_awaited(p) || !p->c.ops)
		return;
	if (!io_is_open(p))
		over_soon(p);
	else if (!ev_is_active(&p->ending->grace_timer))
		timer_again(p, &p->ending->grace_timer, GRACE);
}

static void
on_grace(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("ends of", "processes");
	struct process *p = w->data;

	(void)loop;
	(void)events;
	io_finish(p);
	process_look(p);
}

/* ---- asking it to end ---- */

static void
kill_now(struct process *p)
{
	bool ended = p->phase == PHASE_ENDED;

	ev_timer_stop(loop_of(p), &p->ending->signal_timer);
	p->ending->kill_sent = true;
	if (!ended)
		p->c.killed = true;
	link_signal(p, SIGKILL, ended || p->ending->rules.killgroup);
	if (p->strays_left)
		strays_kill(p);
	else if (!ended && p->ending->rules.killgroup)
		cgroup_kill(p->cgroup);
	timer_again(p, &p->ending->kill_timer, STUBBORN);
}

static void
tell_unkillable(struct process *p)
{
	char *what = strays_unkillable(p);

	log_warnx("process %d: %s does not end after SIGKILL", p->c.pid,
	    what ? what : "what is left of its group");
	if (p->c.ops && p->c.ops->unkillable)
		p->c.ops->unkillable(
		    &p->c, what ? what : "what is left of its group");
	free(what);
}

static void
on_kill(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("ends of", "processes");
	struct process *p = w->data;
	char *names;

	(void)loop;
	(void)events;
	if (p->ending->kill_sent) {
		tell_unkillable(p);
		return;
	}
	if (p->seeking) { /* whom to kill and name is known soon */
		timer_again(p, &p->ending->kill_timer, SOUGHT_DELAY);
		return;
	}
	names = p->phase == PHASE_ENDED ? strays_names(p) : NULL;
	log_warnx("process %d: %s%s not ended in time, SIGKILL", p->c.pid,
	    names ? names : "",
	    p->phase != PHASE_ENDED ? "has"
		: names		    ? " left behind has"
				    : "what is left of its group has");
	free(names);
	kill_now(p);
}

/* SIGCONT behind it: a stopped process cannot end. */
static void
ask_to_end(struct process *p, int sig, bool group)
{
	link_signal(p, sig, group);
	if (sig != SIGKILL)
		link_signal(p, SIGCONT, group);
	if (!p->strays_left)
		return;
	strays_signal(p, sig);
	strays_signal(p, SIGCONT);
}

static void
ask_next(struct process *p)
{
	const struct stop_rules *r = &p->ending->rules;

	ask_to_end(p, r->signals.v[p->ending->next_signal++], r->group);
	if (p->ending->next_signal < r->signals.n)
		timer_again(p, &p->ending->signal_timer, p->ending->share);
}

static void
on_signal(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("ends of", "processes");
	struct process *p = w->data;

	(void)loop;
	(void)events;
	log_info("process %d: has not ended, next signal", p->c.pid);
	ask_next(p);
}

/* Nothing is left that could be asked to end. */
static bool
is_past_asking(const struct process *p)
{
	return p->over_due ||
	    (p->phase == PHASE_ENDED && !rest_is_left(p) && !p->seeking);
}

static bool
are_same(const struct ints *a, const struct ints *b)
{
	return a->n == b->n &&
	    memcmp(a->v, b->v, (size_t)a->n * sizeof(a->v[0])) == 0;
}

/* Time from now until SIGKILL; asking again never makes it later. */
static double
time_left(struct process *p, double waitsecs)
{
	double left;

	if (!ev_is_active(&p->ending->kill_timer))
		return waitsecs;
	left = ev_timer_remaining(loop_of(p), &p->ending->kill_timer);
	return left < waitsecs ? left : waitsecs;
}

static void
timer_setup(struct process *p, ev_timer *t,
    void (*fn)(struct ev_loop *, ev_timer *, int))
{
	ev_init(t, fn);
	t->data = p;
}

/* Before anything is done about it: most processes live on, and do without. */
static void
ending_begin(struct process *p)
{
	struct ending *e = p->ending;

	if (e)
		return;
	e = p->ending = xcalloc(1, sizeof(*e));
	timer_setup(p, &e->signal_timer, on_signal);
	timer_setup(p, &e->kill_timer, on_kill);
	timer_setup(p, &e->grace_timer, on_grace);
	timer_setup(p, &e->strays_timer, on_strays);
	p->c.rusage = &e->rusage;
}

void
child_stop(struct child *c, const struct stop_rules *rules)
{
	struct process *p = process_of(c);
	bool again;
	double left;

	if (is_past_asking(p))
		return;
	ending_begin(p);
	again = ev_is_active(&p->ending->kill_timer) &&
	    are_same(&p->ending->rules.signals, &rules->signals);
	if (p->phase != PHASE_ENDED)
		c->stopping = true;
	p->left_alone = p->phase == PHASE_ENDED && !rules->killgroup;
	p->ending->rules = *rules;
	if (p->left_alone)
		process_look(p);
	if (p->left_alone || p->ending->kill_sent)
		return;
	left = time_left(p, rules->waitsecs);
	if (left <= 0 || rules->signals.n == 0) {
		kill_now(p);
		return;
	}
	timer_again(p, &p->ending->kill_timer, left);
	if (again)
		return; /* a second SIGTERM may mean more than the first */
	p->ending->share = left / rules->signals.n;
	p->ending->next_signal = 0;
	ev_timer_stop(loop_of(p), &p->ending->signal_timer);
	ask_next(p);
}

void
child_extend(struct child *c, double seconds)
{
	struct process *p = process_of(c);

	if (p->ending && ev_is_active(&p->ending->kill_timer) &&
	    !p->ending->kill_sent &&
	    ev_timer_remaining(loop_of(p), &p->ending->kill_timer) < seconds)
		timer_again(p, &p->ending->kill_timer, seconds);
}

void
child_kill(struct child *c)
{
	struct process *p = process_of(c);

	if (is_past_asking(p))
		return;
	ending_begin(p);
	if (p->phase != PHASE_ENDED)
		c->stopping = true;
	p->left_alone = false;
	p->ending->rules.killgroup = true;
	kill_now(p);
}

void
child_signal(struct child *c, int signal, bool group)
{
	struct process *p = process_of(c);

	if (!is_past_asking(p))
		link_signal(p, signal, group);
}

void
child_leftover(struct child *c, double grace)
{
	struct process *p = process_of(c);
	bool left = p->leftover < 0;

	p->leftover = grace;
	if ((grace < 0) != left)
		record_process(p);
}

/* ---- while it lives ---- */

/* Until its end is told its number is its own; the pidfd says more. */
static bool
is_there(const struct process *p)
{
	struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};

	return p->phase == PHASE_RUNNING && p->c.pid > 1 &&
	    (p->pidfd == -1 || poll(&fd, 1, 0) == 0);
}

static int
refuse_change(const char *what, struct err *e)
{
	return err_set(e, ERR_INTERNAL, "%s: %s", what, strerror(errno));
}

static int
adjust_oom(pid_t pid, int value, struct err *e)
{
	char path[64];
	int fd, result = 0;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd == -1 || dprintf(fd, "%d", value) < 0)
		result = refuse_change("oom_score_adj", e);
	if (fd != -1)
		close(fd);
	return result;
}

static unsigned
adjust_rlimits(pid_t pid, const struct child_limits *l, struct err *e)
{
	struct rlimit limit;
	unsigned refused = 0;
	size_t i;

	for (i = 0; i < l->nrlimits; i++) {
		limit.rlim_cur = limit.rlim_max = l->rlimits[i].value;
		if (prlimit(pid, l->rlimits[i].resource, &limit, NULL) == 0)
			continue;
		refuse_change(wire_stage_word(WIRE_STAGE_RLIMIT +
				  (unsigned)l->rlimits[i].resource),
		    e);
		refused |= 1U << l->rlimits[i].resource;
	}
	return refused;
}

unsigned
child_adjust(struct child *c, const struct child_limits *l, struct err *e)
{
	unsigned refused = 0;

	if (!is_there(process_of(c)))
		return 0;
	if (l->set_nice &&
	    setpriority(PRIO_PGRP, (id_t)c->pid, l->nice) == -1) {
		refuse_change("nice", e);
		refused |= CHILD_NICE;
	}
	if (l->set_oom && adjust_oom(c->pid, l->oom_score_adj, e) == -1)
		refused |= CHILD_OOM;
	return refused | adjust_rlimits(c->pid, l, e);
}

/* ---- what the keeper tells ---- */

static bool
is_shortage(int error)
{
	return error == EAGAIN || error == ENOMEM || error == EMFILE ||
	    error == ENFILE || error == ENOBUFS;
}

static void
set_failure(struct process *p, const char *stage, int error)
{
	p->c.stage = stage;
	p->c.error = error;
	p->c.shortage = is_shortage(error);
	counter_add(start_failures, 1);
}

static void
take_fds(struct process *p, struct wire_fds *fds)
{
	io_open(p, fds);
	p->pidfd = wire_fds_take(fds, WIRE_PIDFD);
}

/* They are for texts of why it could not be started. */
static void
forget_words(struct process *p)
{
	free(p->program);
	free(p->directory);
	p->program = p->directory = NULL;
}

void
process_started(struct process *p, pid_t pid, double at, struct wire_fds *fds,
    bool fds_lost)
{
	enter(p, PHASE_RUNNING);
	p->c.pid = pid;
	p->c.started_at = at;
	take_fds(p, fds);
	if (fds_lost) {
		/* Nobody would read what it writes. */
		set_failure(p, wire_stage_word(WIRE_STAGE_DESCRIPTORS), EMFILE);
		child_kill(&p->c);
		p->c.stopping = p->c.killed = false; /* nobody asked */
		return;
	}
	forget_words(p);
	counter_add(starts, 1);
	record_process(p);
	if (p->found_due)
		return;
	io_start(p);
	if (p->c.ops->started)
		p->c.ops->started(&p->c);
}

void
process_found(
    struct process *p, const struct wire_child *c, struct wire_fds *fds)
{
	p->found_due = true;
	enter(p, c->started ? PHASE_RUNNING : PHASE_ASKED);
	p->c.pid = c->pid;
	p->c.paused = c->paused;
	p->c.started_at = (double)c->started_ns / 1e9;
	p->c.keep_fd = wire_fds_take(fds, WIRE_KEEP);
	p->tag = xstrdup(c->tag);
	take_fds(p, fds);
}

/* Its leader has ended by itself: what is to become of the rest? */
static void
deal_with_leftover(struct process *p)
{
	if (p->leftover < 0)
		p->left_alone = true;
	else if (p->leftover > 0) {
		ask_to_end(p, SIGTERM, true);
		timer_again(p, &p->ending->kill_timer, p->leftover);
	} else
		kill_now(p);
}

/* As the rules of the stop say; their timers go on.  Who left the group has
 * not been asked yet. */
static void
deal_with_rest(struct process *p)
{
	const struct stop_rules *r = &p->ending->rules;

	p->left_alone = !r->killgroup;
	if (p->left_alone)
		return;
	if (p->ending->kill_sent)
		kill_now(p);
	else if (p->strays_left && p->ending->next_signal > 0) {
		strays_signal(p, r->signals.v[p->ending->next_signal - 1]);
		strays_signal(p, SIGCONT);
	}
}

/* ---- who left the group ---- */

static void
rest_look(struct process *p)
{
	if (!rest_is_awaited(p)) {
		ev_timer_stop(loop_of(p), &p->ending->signal_timer);
		ev_timer_stop(loop_of(p), &p->ending->kill_timer);
	}
	process_look(p);
}

/* Nobody tells when they end, so this is looked at, and ever less often. */
static void
follow_strays(struct process *p)
{
	if (!p->strays_left || p->left_alone)
		return;
	timer_again(p, &p->ending->strays_timer, p->ending->strays_delay);
	p->ending->strays_delay =
	    fmin(p->ending->strays_delay * 2, STRAYS_DELAY_MAX);
}

static void
look_for_strays(struct process *p)
{
	p->strays_left = strays_are_left(p);
	if (p->strays_left && p->ending->kill_sent)
		strays_kill(p);
	follow_strays(p);
	rest_look(p);
}

static void
on_strays(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("search for", "strays");
	struct process *p = w->data;

	(void)loop;
	(void)events;
	if (search_is_needed(p))
		search_begin(p);
	else
		look_for_strays(p);
}

static void
name_left(struct process *p)
{
	p->left = strays_names(p);
	p->c.left = p->left;
	if (p->left)
		log_warnx("process %d: left behind: %s", p->c.pid, p->left);
}

static bool
was_killed(const struct process *p)
{
	return p->c.status_known && WIFSIGNALED(p->c.status) &&
	    WTERMSIG(p->c.status) == SIGKILL && !p->c.killed;
}

/* What it leaves is known. */
static void
deal_with_left(struct process *p)
{
	p->strays_left = !p->c.stage && strays_are_left(p);
	p->ending->strays_delay = STRAYS_DELAY;
	if (rest_is_left(p) && !(p->c.stopping && p->ending->rules.killgroup))
		name_left(p);
	if (rest_is_left(p) && p->c.stopping)
		deal_with_rest(p);
	else if (rest_is_left(p))
		deal_with_leftover(p);
	follow_strays(p);
	rest_look(p);
}

void
process_sought(struct process *p)
{
	if (p->sought)
		look_for_strays(p);
	else
		deal_with_left(p);
	p->sought = true;
}

static void
deal_with_end(struct process *p)
{
	p->c.oom = was_killed(p) && cgroup_ran_out(p->cgroup);
	io_hurry(p);
	if (!p->c.stage && search_is_needed(p))
		search_begin(p);
	else
		deal_with_left(p);
}

void
process_failed(struct process *p, const char *stage, int error)
{
	enter(p, PHASE_ENDED);
	ending_begin(p);
	set_failure(p, stage, error);
	if (!p->found_due)
		deal_with_end(p);
}

void
process_exited(struct process *p, const struct wire_exit *x)
{
	enter(p, PHASE_ENDED);
	ending_begin(p);
	p->group_left = x->group_left;
	p->c.paused = false;
	p->c.exited_at = (double)x->at_ns / 1e9;
	p->c.status = x->status;
	p->c.status_known = !x->unknown;
	p->ending->rusage = x->rusage;
	if (!p->c.stage)
		counter_add(deaths, 1);
	if (!p->found_due)
		deal_with_end(p);
}

void
process_group_gone(struct process *p)
{
	p->group_left = false;
	/* One of it may have left it last. */
	if (!p->strays_left && !p->left_alone && !p->seeking) {
		p->strays_left = strays_are_left(p);
		follow_strays(p);
	}
	rest_look(p);
}

void
process_paused(struct process *p, bool paused)
{
	p->c.paused = paused;
	if (!p->found_due && p->c.ops->paused)
		p->c.ops->paused(&p->c, paused);
}

void
process_resume(struct process *p)
{
	if (p->phase != PHASE_ASKED)
		io_start(p);
	if (p->phase == PHASE_ENDED)
		deal_with_end(p);
}

/* ---- beginning ---- */

void
process_init(struct process *p)
{
	p->c.keep_fd = -1;
	p->pidfd = -1;
	io_init(p);
}

void
process_free(struct process *p)
{
	stop_timers(p);
	io_close(p);
	if (p->pidfd != -1)
		close(p->pidfd);
	if (p->c.keep_fd != -1)
		close(p->c.keep_fd);
	forget_words(p);
	free(p->left);
	free(p->ending);
	free(p->tag);
	free(p);
}

static void
describe_user(struct wire_spawn *s, const struct child_spec *spec)
{
	if (!spec->set_user)
		return;
	s->flags |= WIRE_SET_USER;
	s->uid = spec->uid;
	s->gid = spec->gid;
	s->ngroups = spec->ngroups;
	/* Too many are refused by wire_put_spawn(). */
	if (spec->ngroups <= WIRE_GROUPS_MAX)
		memcpy(s->groups, spec->groups,
		    spec->ngroups * sizeof(s->groups[0]));
}

static void
describe_limits(struct wire_spawn *s, const struct child_limits *l)
{
	size_t i;

	s->nice = l->set_nice ? l->nice : 0;
	s->oom_score_adj = l->set_oom ? l->oom_score_adj : 0;
	s->nrlimits = l->nrlimits;
	for (i = 0; i < l->nrlimits; i++) {
		s->rlimits[i].resource = l->rlimits[i].resource;
		s->rlimits[i].value = l->rlimits[i].value;
	}
}

static void
describe(struct wire_spawn *s, const struct child_spec *spec)
{
	*s = (struct wire_spawn){.argv = spec->argv,
	    .envp = spec->envp,
	    .directory = spec->directory ? spec->directory : "/",
	    .tag = spec->tag ? spec->tag : "",
	    .umask = spec->umask,
	    .ready_fd = spec->ready_fd};
	if (spec->stdin_pipe)
		s->flags |= WIRE_STDIN_PIPE;
	if (spec->stderr_to_stdout)
		s->flags |= WIRE_STDERR_TO_STDOUT;
	if (spec->no_new_privs)
		s->flags |= WIRE_NO_NEW_PRIVS;
	describe_user(s, spec);
	describe_limits(s, &spec->limits);
}

/* The keeper never heard of it. */
static void
fail_here(struct process *p, const char *stage, int error)
{
	p->unheld = true;
	process_failed(p, stage, error);
}

/*
 * Would one more leave enough descriptors for connections and files?  The
 * lowest that is free says how many are in use at least; those who were
 * asked for take theirs later.
 */
static bool
descriptors_suffice(const struct keeper *k)
{
	struct rlimit limit;
	rlim_t reserve;
	int lowest = fcntl(k->fd, F_DUPFD_CLOEXEC, 0);

	if (lowest == -1)
		return false;
	close(lowest);
	getrlimit(RLIMIT_NOFILE, &limit);
	reserve = limit.rlim_cur / 4;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	return (rlim_t)lowest + k->nasked * FDS_OF_ONE + reserve <=
	    limit.rlim_cur;
}

static void
ask_keeper(struct process *p, struct wire_out *out, const struct wire_fds *fds)
{
	struct keeper *k = p->c.keeper;

	if (k->lost)
		fail_here(p, "keeper", EPIPE);
	else if (k->nprocesses > WIRE_CHILDREN_MAX)
		fail_here(p, wire_stage_word(WIRE_STAGE_TABLE), EAGAIN);
	else if (!descriptors_suffice(k) || link_send(k, out, fds) == -1)
		fail_here(p, wire_stage_word(WIRE_STAGE_DESCRIPTORS), EMFILE);
}

static struct process *
process_asked(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg)
{
	struct process *p = process_new(k, k->next_id);

	p->c.ops = ops;
	p->c.arg = arg;
	p->program = xstrdup(spec->argv[0]);
	p->directory = xstrdup(spec->directory);
	p->cgroup = spec->cgroup;
	p->tag = xstrdup(spec->tag ? spec->tag : "");
	if (spec->keep_fd != -1)
		p->c.keep_fd = fcntl(spec->keep_fd, F_DUPFD_CLOEXEC, 3);
	p->needs_us = spec->stdin_pipe || spec->keep_fd != -1;
	p->marked_by = k->pid;
	record_process(p);
	return p;
}

/* The environment with our mark, which points into envp and mark. */
static char *const *
marked(char *const *envp, const char *mark)
{
	size_t i, n = 0;
	char **copy;

	while (envp && envp[n])
		n++;
	copy = xcalloc(n + 2, sizeof(*copy));
	for (i = 0; i < n; i++)
		copy[i] = envp[i];
	copy[n] = (char *)(uintptr_t)mark;
	return copy;
}

struct child *
child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg, struct err *e)
{
	char mark[STRAY_MARK_SIZE];
	struct wire_spawn s;
	struct wire_fds fds;
	struct wire_out out;
	struct process *p;

	describe(&s, spec);
	strays_mark(k, k->next_id, mark);
	s.envp = marked(spec->envp, mark);
	link_begin(k, &out, WIRE_SPAWN, k->next_id);
	wire_put_spawn(&out, &s);
	free((char **)(uintptr_t)s.envp);
	if (out.failed) {
		err_set(e, ERR_TOO_LARGE,
		    "%s: arguments and environment are more than %d bytes or "
		    "%d words",
		    spec->argv[0], WIRE_MAX, WIRE_STRINGS_MAX);
		return NULL;
	}
	wire_fds_init(&fds);
	if (!spec->stdin_pipe)
		fds.fd[WIRE_STDIN] = spec->stdin_fd;
	fds.fd[WIRE_KEEP] = spec->keep_fd;
	fds.fd[WIRE_CGROUP] = spec->cgroup_fd;
	p = process_asked(k, spec, ops, arg);
	ask_keeper(p, &out, &fds);
	return &p->c;
}

void
child_adopt(struct child *c, const struct child_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

void
child_cgroup(struct child *c, struct cgroup *cgroup)
{
	struct process *p = process_of(c);

	p->cgroup = cgroup;
	cgroup_resume(cgroup, p->phase != PHASE_ENDED);
}

/* ---- for people ---- */

/* " /bin/x" where it tells more than the stage alone. */
static const char *
stage_object(const struct process *p)
{
	if (strcmp(p->c.stage, "exec") == 0)
		return p->program;
	if (strcmp(p->c.stage, "chdir") == 0)
		return p->directory;
	return NULL;
}

/* The begin of the program as text, if it is there and we may read it. */
static bool
read_head(const struct process *p, char *head, size_t size)
{
	bool whole = p->program[0] == '/' || !p->directory;
	char *path = whole ? xstrdup(p->program)
			   : xasprintf("%s/%s", p->directory, p->program);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd == -1 ? -1 : read(fd, head, size - 1);

	free(path);
	if (fd != -1)
		close(fd);
	head[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void
hint_at_interpreter(const char *head, char *buf, size_t size)
{
	const char *name = head + strlen("#!");
	bool is_windows = head[strcspn(head, "\r\n")] == '\r';

	name += strspn(name, " \t");
	snprintf(buf, size, " (it is there, its interpreter %.*s is not%s)",
	    (int)strcspn(name, " \t\r\n"), name,
	    is_windows ? ": its lines end as those of Windows" : "");
}

/* What the kernel says of a script whose interpreter is missing is what it
 * says of a program that is missing. */
static void
exec_hint(const struct process *p, char *buf, size_t size)
{
	char head[256];

	buf[0] = '\0';
	/* Of one that an earlier herod asked for, the name is not known. */
	if (strcmp(p->c.stage, "exec") != 0 || !p->program ||
	    !strchr(p->program, '/') || !read_head(p, head, sizeof(head)))
		return;
	if (p->c.error == ENOEXEC && head[0] != '#')
		strlcpy(buf, " (a script must begin with #!)", size);
	else if (p->c.error == ENOENT && strncmp(head, "#!", 2) == 0)
		hint_at_interpreter(head, buf, size);
}

static void
failure_text(const struct process *p, char *buf, size_t size)
{
	const char *object = stage_object(p);
	char hint[400];

	exec_hint(p, hint, sizeof(hint));
	snprintf(buf, size, "%s%s%s: %s%s", p->c.stage, object ? " " : "",
	    object ? object : "", strerror(p->c.error), hint);
}

static void
oom_text(const struct process *p, char *buf, size_t size)
{
	long long limit = cgroup_memory(p->cgroup);
	char text[32];

	if (limit > 0)
		snprintf(buf, size,
		    "killed by the kernel: out of memory (memory_max %s)",
		    size_text(limit, text));
	else
		snprintf(buf, size, "killed by the kernel: out of memory");
}

static void
signal_text(int status, char *buf, size_t size)
{
	char number[16];
	const char *name = signal_name(WTERMSIG(status), number);

	snprintf(buf, size, "%s%s%s",
	    name[0] >= '0' && name[0] <= '9' ? "signal " : "SIG", name,
	    WCOREDUMP(status) ? " (core dumped)" : "");
}

const char *
child_end_text(const struct child *c, char *buf, size_t size)
{
	if (c->stage)
		failure_text((const struct process *)c, buf, size);
	else if (!c->status_known)
		snprintf(buf, size, "ended, nobody knows how");
	else if (c->oom)
		oom_text((const struct process *)c, buf, size);
	else if (WIFSIGNALED(c->status))
		signal_text(c->status, buf, size);
	else
		snprintf(buf, size, "exit %d", WEXITSTATUS(c->status));
	return buf;
}
