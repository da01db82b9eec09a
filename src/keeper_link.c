/*
 * herod's end of the socket to herod-keeper: messages out, messages in,
 * and finding what the herod before us left running.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "keeper"
#include "child_impl.h"
#include "clock.h"
#include "living.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define LIST_TIMEOUT 5.0 /* seconds for the keeper to tell all */
#define STOP_TIMEOUT 1.0 /* seconds for it to take the last words */
#define RETRY 0.05 /* seconds when the system has no room */
#define MESSAGES_AT_ONCE 64 /* before others get their turn */

static int
process_compare(const struct process *a, const struct process *b)
{
	return a->c.id < b->c.id ? -1 : a->c.id > b->c.id;
}

RB_GENERATE(processes, process, by_id, process_compare)

struct process *
keeper_process(struct keeper *k, uint32_t id)
{
	struct process key = {.c = {.id = id}};

	return RB_FIND(processes, &k->processes, &key);
}

struct process *
process_new(struct keeper *k, uint32_t id)
{
	struct process *p = xcalloc(1, sizeof(*p));

	p->c.id = id;
	p->c.keeper = k;
	p->c.transit = k->transit;
	process_init(p);
	if (id >= k->next_id)
		k->next_id = id + 1;
	RB_INSERT(processes, &k->processes, p);
	k->nprocesses++;
	k->nasked++;
	return p;
}

static void
process_forget(struct process *p)
{
	struct keeper *k = p->c.keeper;

	if (p->tag_message)
		p->tag_message->holder = NULL;
	record_end(p);
	RB_REMOVE(processes, &k->processes, p);
	k->nprocesses--;
	if (p->phase == PHASE_ASKED)
		k->nasked--;
	process_free(p);
}

/* ---- out ---- */

void
link_begin(struct keeper *k, struct wire_out *out, enum wire_op op, uint32_t id)
{
	wire_begin(out, k->out, WIRE_MAX, op, id);
}

static void
outgoing_free(struct keeper *k, struct outgoing *o)
{
	TAILQ_REMOVE(&k->outgoing, o, entry);
	if (o->holder)
		*o->holder = NULL;
	wire_fds_close(&o->fds);
	free(o);
}

static int
copy_fds(struct wire_fds *copy, const struct wire_fds *fds)
{
	size_t i;

	wire_fds_init(copy);
	for (i = 0; fds && i < WIRE_FDS; i++) {
		if (fds->fd[i] == -1)
			continue;
		copy->fd[i] = fcntl(fds->fd[i], F_DUPFD_CLOEXEC, 3);
		if (copy->fd[i] == -1) {
			wire_fds_close(copy);
			return -1;
		}
	}
	return 0;
}

static struct outgoing *
outgoing_new(
    struct keeper *k, const struct wire_out *out, const struct wire_fds *fds)
{
	struct outgoing *o = xcalloc(1, sizeof(*o) + out->len);

	if (copy_fds(&o->fds, fds) == -1) {
		free(o);
		return NULL;
	}
	o->len = out->len;
	memcpy(o->bytes, out->buf, out->len);
	TAILQ_INSERT_TAIL(&k->outgoing, o, entry);
	return o;
}

/* After a send that failed: when to try again. */
static void
wait_for_room(struct keeper *k, int error)
{
	if (error == EAGAIN)
		ev_io_start(k->loop, &k->writer);
	else {
		ev_io_stop(k->loop, &k->writer);
		ev_timer_set(&k->retry, RETRY, 0);
		ev_timer_start(k->loop, &k->retry);
	}
}

static bool
may_succeed_later(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS ||
	    error == ENOMEM || error == ETOOMANYREFS;
}

/* The message queued, or NULL: it was sent, or never can be (*result). */
static struct outgoing *
send_or_queue(struct keeper *k, struct wire_out *out,
    const struct wire_fds *fds, int *result)
{
	struct outgoing *o;
	int error = EAGAIN;

	*result = 0;
	if (k->lost)
		return NULL;
	if (TAILQ_EMPTY(&k->outgoing)) {
		if (wire_send(k->fd, out, fds) == 0)
			return NULL;
		error = errno;
		if (!may_succeed_later(error)) {
			log_warn("cannot tell herod-keeper");
			return NULL; /* its end of file tells more */
		}
		wait_for_room(k, error);
	}
	o = outgoing_new(k, out, fds);
	*result = o ? 0 : -1;
	return o;
}

int
link_send(struct keeper *k, struct wire_out *out, const struct wire_fds *fds)
{
	int result;

	send_or_queue(k, out, fds, &result);
	return result;
}

/* Sends what waits; stops when there is no room. */
static void
link_flush(struct keeper *k)
{
	struct wire_out out;
	struct outgoing *o;

	while ((o = TAILQ_FIRST(&k->outgoing))) {
		out = (struct wire_out){
		    .buf = o->bytes, .len = o->len, .size = o->len};
		if (wire_send(k->fd, &out, &o->fds) == -1 &&
		    may_succeed_later(errno)) {
			wait_for_room(k, errno);
			return;
		}
		outgoing_free(k, o);
	}
	ev_io_stop(k->loop, &k->writer);
}

static void
on_room(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("messages to", "herod-keeper");
	(void)loop;
	(void)events;
	link_flush(w->data);
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("messages to", "herod-keeper");
	(void)loop;
	(void)events;
	link_flush(w->data);
}

void
link_signal(struct process *p, int sig, bool group)
{
	struct keeper *k = p->c.keeper;
	struct wire_out out;

	if (p->unheld)
		return;
	link_begin(k, &out, WIRE_SIGNAL, p->c.id);
	wire_put_u8(&out, (uint8_t)sig);
	wire_put_u8(&out, group);
	link_send(k, &out, NULL);
}

/* What a keeper that takes over is told of a process, but descriptors. */
static void
kept_from(const struct process *p, struct wire_kept *kept)
{
	*kept = (struct wire_kept){.id = p->c.id,
	    .pid = p->c.pid,
	    .flags = WIRE_KEPT_FOREIGN |
		(p->phase == PHASE_ENDED ? WIRE_KEPT_ENDED : 0) |
		(p->c.paused ? WIRE_KEPT_PAUSED : 0),
	    .exec_fd = -1,
	    .started_ns = (int64_t)(p->c.started_at * 1e9),
	    .exit = {.status = p->c.status,
		.unknown = !p->c.status_known,
		.at_ns = (int64_t)(p->c.exited_at * 1e9),
		.group_left = p->group_left},
	    .tag = p->tag};
	if (p->ending)
		kept->exit.rusage = p->ending->rusage;
	wire_fds_init(&kept->fds);
}

static void
remember_end(struct process *p)
{
	struct kept_end *end = xcalloc(1, sizeof(*end));

	kept_from(p, &end->kept);
	end->tag = xstrdup(p->tag);
	end->kept.tag = end->tag;
	record_kept_end(p, end);
	TAILQ_INSERT_TAIL(&p->c.keeper->ends, end, entry);
}

static void
forget_end(struct keeper *k, struct kept_end *end)
{
	TAILQ_REMOVE(&k->ends, end, entry);
	if (end->recorded)
		living_clear(k->record, end->place);
	free(end->tag);
	free(end);
}

static void
send_ack(struct keeper *k, unsigned id)
{
	struct wire_out out;

	link_begin(k, &out, WIRE_ACK, id);
	link_send(k, &out, NULL);
}

void
keeper_forget(struct keeper *k, unsigned id)
{
	struct kept_end *end, *next;

	TAILQ_FOREACH_SAFE (end, &k->ends, entry, next)
		if (end->kept.id == id)
			forget_end(k, end);
	send_ack(k, id);
}

void
link_ack(struct process *p)
{
	if (p->unheld)
		return;
	if (p->c.keep_end)
		remember_end(p);
	else
		send_ack(p->c.keeper, p->c.id);
}

/* Of those that wait only the newest is of use. */
void
child_tag(struct child *c, const char *tag)
{
	struct process *p = (struct process *)c;
	struct wire_out out;
	int ignored;

	if (p->unheld || p->phase == PHASE_ENDED)
		return;
	if (strlen(tag) >= CHILD_TAG_MAX) {
		log_errorx("process %d: a tag of %zu bytes is too long", c->pid,
		    strlen(tag));
		return;
	}
	free(p->tag);
	p->tag = xstrdup(tag);
	record_process(p);
	if (p->tag_message)
		outgoing_free(c->keeper, p->tag_message);
	link_begin(c->keeper, &out, WIRE_TAG, c->id);
	wire_put_string(&out, tag);
	p->tag_message = send_or_queue(c->keeper, &out, NULL, &ignored);
	if (p->tag_message)
		p->tag_message->holder = &p->tag_message;
}

static void
send_name(struct keeper *k, enum wire_op op, const char *name, int fd)
{
	struct wire_fds fds;
	struct wire_out out;

	wire_fds_init(&fds);
	fds.fd[WIRE_KEEP] = fd;
	link_begin(k, &out, op, 0);
	wire_put_string(&out, name);
	if (strlen(name) >= WIRE_NAME_MAX || link_send(k, &out, &fds) == -1)
		log_errorx("descriptor %s: cannot be kept", name);
}

static void
stored_free(struct stored_fds *list, struct stored_fd *s)
{
	TAILQ_REMOVE(list, s, entry);
	if (s->fd != -1)
		close(s->fd);
	free(s);
}

/* What the keeper stores, a copy is held of: it may be killed. */
static void
let_go(struct keeper *k, const char *name)
{
	struct stored_fd *s;

	TAILQ_FOREACH (s, &k->held, entry)
		if (strcmp(s->name, name) == 0) {
			stored_free(&k->held, s);
			return;
		}
}

static void
hold(struct keeper *k, const char *name, int fd)
{
	struct stored_fd *s;

	let_go(k, name);
	if (strlen(name) >= sizeof(s->name))
		return;
	s = xcalloc(1, sizeof(*s));
	strcpy(s->name, name);
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	TAILQ_INSERT_TAIL(&k->held, s, entry);
}

void
keeper_store(struct keeper *k, const char *name, int fd)
{
	hold(k, name, fd);
	send_name(k, WIRE_STORE, name, fd);
}

void
keeper_drop(struct keeper *k, const char *name)
{
	let_go(k, name);
	send_name(k, WIRE_DROP, name, -1);
}

void
keeper_stderr(struct keeper *k, int fd)
{
	keeper_store(k, WIRE_STDERR_NAME, fd);
}

static void
send_plain(struct keeper *k, enum wire_op op)
{
	struct wire_out out;

	link_begin(k, &out, op, 0);
	link_send(k, &out, NULL);
}

void
keeper_ready(struct keeper *k)
{
	send_plain(k, WIRE_READY);
}

int
keeper_resume_version(const struct keeper *k)
{
	return k->resume_version;
}

int
keeper_wire_version(void)
{
	return WIRE_VERSION;
}

int
keeper_upgrade(struct keeper *k, const char *path)
{
	struct wire_out out;

	link_begin(k, &out, WIRE_UPGRADE, 0);
	wire_put_string(&out, path);
	return strlen(path) < WIRE_PATH_MAX ? link_send(k, &out, NULL) : -1;
}

/* ---- in ---- */

static double
seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

static void
hear_started(struct process *p, struct wire_message *m)
{
	pid_t pid = (pid_t)wire_get_u32(&m->body);
	int64_t at_ns = (int64_t)wire_get_u64(&m->body);

	if (wire_is_whole(&m->body) && p->phase == PHASE_ASKED)
		process_started(p, pid, seconds(at_ns), &m->fds, m->fds_lost);
}

static void
hear_failed(struct process *p, struct wire_message *m)
{
	unsigned stage = wire_get_u8(&m->body);
	int error = (int)wire_get_u32(&m->body);

	if (wire_is_whole(&m->body) && p->phase == PHASE_ASKED)
		process_failed(p, wire_stage_word(stage), error);
}

static void
hear_exit(struct process *p, struct wire_message *m)
{
	struct wire_exit x;

	if (wire_get_exit(&m->body, &x) && p->phase != PHASE_ENDED)
		process_exited(p, &x);
}

static void
hear_gone(struct process *p, struct wire_message *m)
{
	if (wire_is_whole(&m->body))
		process_group_gone(p);
}

static void
hear_paused(struct process *p, struct wire_message *m)
{
	bool paused = wire_get_u8(&m->body) != 0;

	if (wire_is_whole(&m->body))
		process_paused(p, paused);
}

static void
hear_child(struct keeper *k, struct wire_message *m)
{
	struct wire_child c;

	if (!wire_get_child(&m->body, &c) || keeper_process(k, m->id))
		return;
	if (m->fds_lost)
		log_errorx("process %d: too many open files to follow all of "
			   "its output",
		    c.pid);
	process_found(process_new(k, m->id), &c, &m->fds);
}

static void
hear_stored(struct keeper *k, struct wire_message *m)
{
	const char *name = wire_get_string(&m->body, WIRE_NAME_MAX);
	struct stored_fd *s;

	if (!wire_is_whole(&m->body) || m->fds.fd[WIRE_KEEP] == -1)
		return;
	s = xcalloc(1, sizeof(*s));
	memcpy(s->name, name, strlen(name) + 1);
	s->fd = wire_fds_take(&m->fds, WIRE_KEEP);
	TAILQ_INSERT_TAIL(&k->stored, s, entry);
	hold(k, s->name, s->fd);
}

static void
hear_end_of_list(struct keeper *k, struct wire_message *m)
{
	k->listed = true;
	if (m->id > k->next_id)
		k->next_id = m->id;
	wire_get_base(&m->body, &k->base);
	k->resume_version = wire_get_u8(&m->body);
}

static void
hear_refused(struct keeper *k, struct wire_message *m)
{
	int error = (int)wire_get_u32(&m->body);

	if (wire_is_whole(&m->body) && k->ops->refused)
		k->ops->refused(k->arg, error);
}

static void
hear_of_process(struct keeper *k, struct wire_message *m)
{
	static void (*const hear[])(struct process *, struct wire_message *) = {
	    [WIRE_STARTED] = hear_started,
	    [WIRE_FAILED] = hear_failed,
	    [WIRE_EXIT] = hear_exit,
	    [WIRE_GONE] = hear_gone,
	    [WIRE_PAUSED] = hear_paused,
	};
	struct process *p = keeper_process(k, m->id);

	if (p && m->op < sizeof(hear) / sizeof(hear[0]) && hear[m->op])
		hear[m->op](p, m);
	else
		log_debug(
		    "message %u about %u is not understood", m->op, m->id);
}

static void
hear_message(struct keeper *k, struct wire_message *m)
{
	if (m->op == WIRE_CHILD)
		hear_child(k, m);
	else if (m->op == WIRE_STORED)
		hear_stored(k, m);
	else if (m->op == WIRE_END_OF_LIST)
		hear_end_of_list(k, m);
	else if (m->op == WIRE_REFUSED)
		hear_refused(k, m);
	else
		hear_of_process(k, m);
	wire_fds_close(&m->fds);
}

/* 1: one was heard; 0: there is none now; -1: the keeper is gone. */
static int
link_hear(struct keeper *k)
{
	struct wire_message m;
	int got = wire_recv(k->fd, k->in, WIRE_MAX, &m);

	if (got == 1)
		hear_message(k, &m);
	else if (got == -1 && errno == EBADMSG)
		log_warnx("herod-keeper speaks another version");
	else if (got == -1 && errno != EINTR)
		return errno == EAGAIN ? 0 : -1;
	else if (got == 0)
		return -1;
	return 1;
}

static void
link_lost(struct keeper *k)
{
	struct outgoing *o, *next;

	log_errorx("herod-keeper is gone");
	k->lost = true;
	ev_io_stop(k->loop, &k->reader);
	ev_io_stop(k->loop, &k->writer);
	ev_timer_stop(k->loop, &k->retry);
	TAILQ_FOREACH_SAFE (o, &k->outgoing, entry, next)
		outgoing_free(k, o);
	if (k->ops->lost)
		k->ops->lost(k->arg);
}

/* Shut for writing only: one that has taken over awaits our end. */
static bool
link_is_replaced(const struct keeper *k)
{
	struct pollfd p = {.fd = k->fd, .events = POLLRDHUP};

	return k->ops->replaced && poll(&p, 1, 0) == 1 &&
	    p.revents & POLLRDHUP && !(p.revents & POLLHUP);
}

static void
on_message(struct ev_loop *loop, ev_io *w, int events)
{
	DOING("messages of", "herod-keeper");
	struct keeper *k = w->data;
	int n, heard = 1;

	(void)loop;
	(void)events;
	for (n = 0; n < MESSAGES_AT_ONCE && heard == 1; n++)
		heard = link_hear(k);
	if (heard == -1 && link_is_replaced(k))
		k->ops->replaced(k->arg);
	else if (heard == -1)
		link_lost(k);
}

/* ---- those who are over ---- */

static void
on_sweep(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("ends of", "processes");
	struct keeper *k = w->data;
	struct process_queue now = TAILQ_HEAD_INITIALIZER(now);
	struct process *p;

	(void)loop;
	(void)events;
	/* Who is over because of this has to wait for the next turn. */
	TAILQ_CONCAT(&now, &k->overs, overs);
	while ((p = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, p, overs);
		p->c.is_over = true;
		p->c.ops->over(&p->c);
		/* Not before: were we to die in over(), the next must see it.
		 */
		link_ack(p);
		process_forget(p);
	}
}

void
processes_sweep(struct keeper *k)
{
	ev_timer_start(k->loop, &k->sweep);
}

/* ---- output that the herod before us had in hand ---- */

static const char *const transit_names[TRANSIT_FDS] = {
    "transit-in", "transit-out", "transit-memory"};

/* A stored descriptor of ours, taken off the list; -1: there is none. */
static int
stored_take(struct keeper *k, const char *name)
{
	struct stored_fd *s;
	int fd;

	TAILQ_FOREACH (s, &k->stored, entry)
		if (strcmp(s->name, name) == 0)
			break;
	if (s == NULL)
		return -1;
	fd = s->fd;
	TAILQ_REMOVE(&k->stored, s, entry);
	free(s);
	return fd;
}

static void
open_transit(struct keeper *k)
{
	int fds[TRANSIT_FDS], i, found = 0;

	for (i = 0; i < TRANSIT_FDS; i++) {
		fds[i] = stored_take(k, transit_names[i]);
		found += fds[i] != -1;
	}
	k->transit = transit_open(fds);
	if (k->transit == NULL)
		log_warn("output that is in hand when herod is killed will be "
			 "lost");
	if (k->transit == NULL || found == TRANSIT_FDS)
		return;
	for (i = 0; i < TRANSIT_FDS; i++)
		keeper_store(k, transit_names[i], transit_fd(k->transit, i));
}

/* In the loop, when owners are ready, but before any other output moves. */
static void
on_left(struct ev_loop *loop, ev_timer *w, int events)
{
	DOING("output of", "processes");
	struct keeper *k = w->data;
	struct transit_place place;
	struct process *p;
	size_t len;

	(void)loop;
	(void)events;
	if (!transit_left(k->transit, &place, k->shared, &len))
		return;
	p = keeper_process(k, place.process);
	if (p)
		io_again(p, place.stream, len);
	else
		log_warnx("%zu bytes of output are nobody's any more", len);
	transit_done(k->transit);
}

/* ---- opening and closing ---- */

static struct keeper *
keeper_new(
    struct ev_loop *loop, int fd, const struct keeper_ops *ops, void *arg)
{
	struct keeper *k = xcalloc(1, sizeof(*k));

	k->loop = loop;
	k->fd = fd;
	k->ops = ops;
	k->arg = arg;
	k->next_id = 1;
	k->shared = xmalloc(TRANSIT_PIECE);
	k->in = xmalloc(WIRE_MAX);
	k->out = xmalloc(WIRE_MAX);
	TAILQ_INIT(&k->outgoing);
	TAILQ_INIT(&k->overs);
	TAILQ_INIT(&k->stored);
	TAILQ_INIT(&k->held);
	TAILQ_INIT(&k->ends);
	RB_INIT(&k->processes);
	ev_io_init(&k->reader, on_message, fd, EV_READ);
	ev_io_init(&k->writer, on_room, fd, EV_WRITE);
	ev_timer_init(&k->retry, on_retry, RETRY, 0);
	ev_timer_init(&k->sweep, on_sweep, 0, 0);
	ev_timer_init(&k->left, on_left, 0, 0);
	/* Deaths are dealt with before requests. */
	ev_set_priority(&k->reader, EV_MAXPRI);
	ev_set_priority(&k->left, EV_MAXPRI);
	k->reader.data = k->writer.data = k->retry.data = k->sweep.data =
	    k->left.data = k;
	k->pid = getppid();
	return k;
}

/* Waits for the socket; false when the time is over. */
static bool
wait_until(struct keeper *k, short events, double deadline)
{
	struct pollfd p = {.fd = k->fd, .events = events};
	double left = deadline - clock_monotonic();

	return left > 0 && poll(&p, 1, (int)(left * 1000) + 1) != 0;
}

static int
hear_list(struct keeper *k, struct err *e)
{
	double deadline = clock_monotonic() + LIST_TIMEOUT;
	int heard;

	while (!k->listed) {
		heard = link_hear(k);
		if (heard == -1)
			return err_set(e, ERR_INTERNAL,
			    "descriptor %d does not lead to herod-keeper",
			    k->fd);
		if (heard == 0 && !wait_until(k, POLLIN, deadline))
			return err_set(e, ERR_INTERNAL,
			    "herod-keeper did not answer in %g seconds",
			    LIST_TIMEOUT);
	}
	return 0;
}

static void
give_stored(struct keeper *k)
{
	struct stored_fd *s;

	while ((s = TAILQ_FIRST(&k->stored))) {
		TAILQ_REMOVE(&k->stored, s, entry);
		if (k->ops->stored)
			k->ops->stored(k->arg, s->name, s->fd);
		else
			close(s->fd);
		free(s);
	}
}

static void
drop_stored(struct stored_fds *list)
{
	while (!TAILQ_EMPTY(list))
		stored_free(list, TAILQ_FIRST(list));
}

/* Nobody knows what it is for. */
static void
kill_unadopted(struct process *p)
{
	static const struct child_ops ops = {
	    .output = child_ignore_output, .over = child_ignore_over};

	log_warnx("process %d: nobody adopts it; it is killed", p->c.pid);
	child_adopt(&p->c, &ops, NULL);
	child_kill(&p->c);
}

/* Those who live, or those who do not. */
static void
give_found(struct keeper *k, bool ended)
{
	struct process *p, *next;

	RB_FOREACH_SAFE (p, processes, &k->processes, next) {
		if (!p->found_due || child_has_ended(&p->c) != ended)
			continue; /* or started by who adopted another */
		p->found_due = false;
		p->c.transit = k->transit;
		if (k->ops->found)
			k->ops->found(k->arg, &p->c, p->tag);
		if (!p->c.ops)
			kill_unadopted(p);
		process_resume(p);
	}
}

struct keeper *
keeper_open(struct ev_loop *loop, int fd, const struct keeper_ops *ops,
    void *arg, struct err *e)
{
	struct keeper *k = keeper_new(loop, fd, ops, arg);

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	send_plain(k, WIRE_LIST);
	if (hear_list(k, e) == -1) {
		keeper_close(k);
		return NULL;
	}
	ev_io_start(loop, &k->reader);
	open_transit(k);
	give_stored(k);
	give_found(k, false);
	give_found(k, true);
	if (k->transit)
		ev_timer_start(loop, &k->left);
	return k;
}

/* ---- after the keeper's death ---- */

static int
stay_open(int fd)
{
	if (fd != -1)
		fcntl(fd, F_SETFD, 0);
	return fd;
}

void
resume_put_fd(struct wire_out *out, const char *name, int fd)
{
	wire_put_u8(out, WIRE_KEPT_FD);
	wire_put_string(out, name);
	wire_put_u32(out, (uint32_t)stay_open(fd));
}

static void
put_process(const struct process *p, struct wire_out *out)
{
	struct wire_kept kept;
	int i;

	kept_from(p, &kept);
	kept.fds.fd[WIRE_PIDFD] = stay_open(p->pidfd);
	kept.fds.fd[WIRE_STDIN] = stay_open(p->feed.fd);
	kept.fds.fd[WIRE_KEEP] = stay_open(p->c.keep_fd);
	kept.fds.fd[WIRE_READINESS] = stay_open(p->ready_fd);
	for (i = 0; i < CHILD_STREAMS; i++)
		kept.fds.fd[WIRE_STDOUT + i] = stay_open(p->streams[i].fd);
	wire_put_kept(out, &kept);
}

/* One without a pidfd could not be told from another of its number. */
static bool
can_be_kept(const struct process *p)
{
	if (p->unheld || p->phase == PHASE_ASKED || p->c.pid <= 1)
		return false;
	if (p->phase == PHASE_ENDED || p->pidfd != -1)
		return true;
	log_errorx("process %d: cannot be followed any more", p->c.pid);
	return false;
}

static bool
processes_write(struct keeper *k, int file, struct wire_out *out)
{
	struct process *p;

	RB_FOREACH (p, processes, &k->processes) {
		if (!can_be_kept(p))
			continue;
		put_process(p, out);
		if (!wire_write(file, out))
			return false;
	}
	return true;
}

static bool
ends_write(struct keeper *k, int file, struct wire_out *out)
{
	struct kept_end *end;

	TAILQ_FOREACH (end, &k->ends, entry) {
		wire_put_kept(out, &end->kept);
		if (!wire_write(file, out))
			return false;
	}
	return true;
}

static bool
held_write(struct keeper *k, int file, struct wire_out *out)
{
	struct stored_fd *s;

	TAILQ_FOREACH (s, &k->held, entry) {
		if (s->fd == -1)
			continue; /* there was no room for it */
		resume_put_fd(out, s->name, s->fd);
		if (!wire_write(file, out))
			return false;
	}
	return true;
}

static bool
all_write(struct keeper *k, int file)
{
	struct wire_out out = {.buf = k->out, .size = WIRE_MAX};
	struct wire_head head = {
	    .next_id = k->next_id, .base = k->base, .sock = -1};

	wire_put_head(&out, &head);
	if (!processes_write(k, file, &out) || !ends_write(k, file, &out) ||
	    !held_write(k, file, &out))
		return false;
	wire_put_u8(&out, WIRE_KEPT_END);
	return wire_write(file, &out);
}

int
keeper_bequeath(struct keeper *k)
{
	int file = memfd_create("herod-keeper", 0);

	strays_kill_asked(k);
	if (file != -1 && !all_write(k, file)) {
		close(file);
		return -1;
	}
	return file;
}

/* The pidfd is readable when it has ended, whoever reaps it. */
static bool
orphan_lives(const struct process *p, double seconds)
{
	struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};

	return p->pidfd != -1 && p->phase != PHASE_ENDED &&
	    poll(&fd, 1, seconds > 0 ? (int)(seconds * 1000) : 0) == 0;
}

/* A process of the leader's number proves that the group is gone. */
static bool
orphans_group_is_left(const struct process *p)
{
	return p->c.pid > 1 && kill(p->c.pid, 0) == -1 && errno == ESRCH &&
	    kill(-p->c.pid, 0) == 0;
}

void
keeper_end_orphans(struct keeper *k, double grace)
{
	double deadline;
	struct process *p;

	RB_FOREACH (p, processes, &k->processes) {
		if (!orphan_lives(p, 0))
			continue;
		kill(-p->c.pid, SIGTERM);
		kill(-p->c.pid, SIGCONT);
	}
	deadline = clock_monotonic() + grace;
	RB_FOREACH (p, processes, &k->processes) {
		if (orphan_lives(p, deadline - clock_monotonic()))
			log_warnx("process %d: has not ended in time, SIGKILL",
			    p->c.pid);
		else if (!orphans_group_is_left(p))
			continue;
		kill(-p->c.pid, SIGKILL);
	}
}

void
keeper_close(struct keeper *k)
{
	struct process *p, *next_p;
	struct outgoing *o, *next_o;
	struct kept_end *end, *next_end;

	ev_io_stop(k->loop, &k->reader);
	ev_io_stop(k->loop, &k->writer);
	ev_timer_stop(k->loop, &k->retry);
	ev_timer_stop(k->loop, &k->sweep);
	ev_timer_stop(k->loop, &k->left);
	RB_FOREACH_SAFE (p, processes, &k->processes, next_p)
		process_forget(p);
	TAILQ_FOREACH_SAFE (o, &k->outgoing, entry, next_o)
		outgoing_free(k, o);
	TAILQ_FOREACH_SAFE (end, &k->ends, entry, next_end)
		forget_end(k, end);
	drop_stored(&k->stored);
	drop_stored(&k->held);
	search_end(k);
	living_close(k->record);
	close(k->fd);
	if (k->transit)
		transit_free(k->transit);
	free(k->orphans);
	free(k->shared);
	free(k->in);
	free(k->out);
	free(k);
}

void
keeper_stop(struct keeper *k, int code)
{
	double deadline = clock_monotonic() + STOP_TIMEOUT;
	struct wire_out out;

	link_begin(k, &out, WIRE_STOP, 0);
	wire_put_u8(&out, (uint8_t)code);
	link_send(k, &out, NULL);
	/* Nothing comes after this: it must not stay in the queue. */
	while (!TAILQ_EMPTY(&k->outgoing) && wait_until(k, POLLOUT, deadline))
		link_flush(k);
}
