/*
 * What herod-keeper knows: children, stored descriptors, and what herod
 * has not been told yet.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void
table_init(struct table *t)
{
	size_t i;

	/* Not the entries: a page of them is touched when it is used. */
	TAILQ_INIT(&t->dues);
	LIST_INIT(&t->lingering);
	SLIST_INIT(&t->free);
	for (i = 0; i < STORED_MAX; i++)
		t->stored[i].fd = -1;
}

static struct entries *
bucket(struct entries *buckets, uint32_t key)
{
	return &buckets[key & (TABLE_BUCKETS - 1)];
}

struct entry *
table_find(struct table *t, uint32_t id)
{
	struct entry *e;

	LIST_FOREACH (e, bucket(t->by_id, id), by_id)
		if (e->id == id)
			return e;
	return NULL;
}

struct entry *
table_find_pid(struct table *t, pid_t pid)
{
	struct entry *e;

	LIST_FOREACH (e, bucket(t->by_pid, (uint32_t)pid), by_pid)
		if (e->pid == pid)
			return e;
	return NULL;
}

/* ---- entries ---- */

static struct entry *
entry_alloc(struct table *t)
{
	struct entry *e = SLIST_FIRST(&t->free);

	if (e) {
		SLIST_REMOVE_HEAD(&t->free, free);
		return e;
	}
	if (t->nused == WIRE_CHILDREN_MAX)
		return NULL;
	return &t->entries[t->nused++];
}

static struct entry *
entry_new(struct table *t, uint32_t id, const char *tag)
{
	struct entry *e = entry_alloc(t);

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->id = id;
	e->state = ENTRY_STARTING;
	e->exec_fd = -1;
	wire_fds_init(&e->fds);
	strcpy(e->tag, tag); /* bounded by the reader */
	LIST_INSERT_HEAD(bucket(t->by_id, id), e, by_id);
	if (id >= t->next_id)
		t->next_id = id + 1;
	return e;
}

static void
mark(struct table *t, struct entry *e, unsigned due)
{
	if (!t->listed || due == 0)
		return;
	if (e->due == 0)
		TAILQ_INSERT_TAIL(&t->dues, e, dues);
	e->due |= due;
}

static void
unmark(struct table *t, struct entry *e, unsigned due)
{
	if (e->due == 0)
		return;
	e->due &= ~due;
	if (e->due == 0)
		TAILQ_REMOVE(&t->dues, e, dues);
}

static void
entry_free(struct table *t, struct entry *e)
{
	unmark(t, e, ~0u);
	LIST_REMOVE(e, by_id);
	if (e->pid != 0 && !e->reaped) {
		/* Failed, and its last moment is yet to come. */
		LIST_REMOVE(e, by_pid);
		t->nliving--;
	}
	if (e->exit.group_left)
		LIST_REMOVE(e, lingering);
	if (e->exec_fd != -1)
		close(e->exec_fd);
	wire_fds_close(&e->fds);
	e->state = ENTRY_FREE;
	SLIST_INSERT_HEAD(&t->free, e, free);
}

void
table_forked(struct table *t, struct entry *e)
{
	LIST_INSERT_HEAD(bucket(t->by_pid, (uint32_t)e->pid), e, by_pid);
	t->nliving++;
}

void
table_started(struct table *t, struct entry *e, int64_t at_ns)
{
	e->state = ENTRY_RUNNING;
	e->started_ns = at_ns;
	/* A CHILD still to be told says so itself. */
	if (!(e->due & DUE_CHILD))
		mark(t, e, DUE_STARTED);
}

void
table_failed(struct table *t, struct entry *e, unsigned stage, int error)
{
	e->state = ENTRY_FAILED;
	e->stage = stage;
	e->error = error;
	mark(t, e, DUE_FAILED);
}

void
table_paused(struct table *t, struct entry *e, bool paused)
{
	if (e->paused == paused)
		return;
	e->paused = paused;
	if (!(e->due & DUE_CHILD))
		mark(t, e, DUE_PAUSED);
}

void
table_reaped(struct table *t, struct entry *e, const struct wire_exit *x)
{
	LIST_REMOVE(e, by_pid);
	t->nliving--;
	e->reaped = true;
	if (e->state == ENTRY_FAILED)
		return;
	e->state = ENTRY_EXITED;
	e->exit = *x;
	e->paused = false;
	unmark(t, e, DUE_PAUSED);
	if (x->group_left)
		LIST_INSERT_HEAD(&t->lingering, e, lingering);
	mark(t, e, DUE_EXIT);
}

void
table_gone(struct table *t, struct entry *e)
{
	if (!e->exit.group_left)
		return;
	e->exit.group_left = false;
	LIST_REMOVE(e, lingering);
	if (!e->foreign && e->fds.fd[WIRE_PIDFD] != -1)
		close(wire_fds_take(&e->fds, WIRE_PIDFD));
	/* An EXIT still to be told says so itself. */
	if (!(e->due & DUE_EXIT))
		mark(t, e, DUE_GONE);
}

/* ---- what herod asks ---- */

struct asked {
	struct table *t;
	struct wire_message *m;
	const struct table_ops *ops;
	void *arg;
};

static bool
take_spawn(const struct asked *a)
{
	struct wire_spawn s;
	struct entry *e;

	/* An id greater than any has to be left for END_OF_LIST. */
	if (!wire_get_spawn(&a->m->body, &s, a->t->strings) || a->m->id == 0 ||
	    a->m->id == UINT32_MAX || table_find(a->t, a->m->id))
		return false;
	e = entry_new(a->t, a->m->id, s.tag);
	if (!e)
		return false; /* herod counts, too: it never asks for more */
	if (a->m->fds_lost) {
		table_failed(a->t, e, WIRE_STAGE_DESCRIPTORS, EMFILE);
		return true;
	}
	e->fds.fd[WIRE_KEEP] = wire_fds_take(&a->m->fds, WIRE_KEEP);
	a->ops->spawn(a->arg, e, &s, &a->m->fds);
	return true;
}

static bool
take_signal(const struct asked *a)
{
	struct entry *e = table_find(a->t, a->m->id);
	int sig = wire_get_u8(&a->m->body);
	bool group = wire_get_u8(&a->m->body) != 0;

	if (!wire_is_whole(&a->m->body))
		return false;
	if (e && e->state != ENTRY_FAILED)
		a->ops->signal(a->arg, e, sig, group);
	return true;
}

static bool
take_ack(const struct asked *a)
{
	struct entry *e = table_find(a->t, a->m->id);

	if (!wire_is_whole(&a->m->body) || !e)
		return false;
	if (e->state != ENTRY_FAILED && e->state != ENTRY_EXITED)
		return false;
	entry_free(a->t, e);
	return true;
}

static bool
take_tag(const struct asked *a)
{
	const char *tag = wire_get_string(&a->m->body, WIRE_TAG_MAX);
	struct entry *e = table_find(a->t, a->m->id);

	if (!wire_is_whole(&a->m->body) || !e)
		return false;
	strcpy(e->tag, tag);
	return true;
}

static struct stored *
stored_find(struct table *t, const char *name)
{
	size_t i;

	for (i = 0; i < STORED_MAX; i++)
		if (strcmp(t->stored[i].name, name) == 0)
			return &t->stored[i];
	return NULL;
}

int
table_stored(struct table *t, const char *name)
{
	struct stored *s = stored_find(t, name);

	return s ? s->fd : -1;
}

static void
stored_clear(struct stored *s)
{
	if (s->fd != -1)
		close(s->fd);
	*s = (struct stored){.fd = -1};
}

/* Under a name that is there already, the new one takes its place. */
static bool
take_store(const struct asked *a)
{
	const char *name = wire_get_string(&a->m->body, WIRE_NAME_MAX);
	struct stored *s;

	if (!wire_is_whole(&a->m->body) || name[0] == '\0' ||
	    a->m->fds.fd[WIRE_KEEP] == -1)
		return false;
	s = stored_find(a->t, name);
	if (!s)
		s = stored_find(a->t, "");
	if (!s)
		return false;
	stored_clear(s);
	strcpy(s->name, name);
	s->fd = wire_fds_take(&a->m->fds, WIRE_KEEP);
	return true;
}

static bool
take_drop(const struct asked *a)
{
	const char *name = wire_get_string(&a->m->body, WIRE_NAME_MAX);
	struct stored *s;

	if (!wire_is_whole(&a->m->body) || name[0] == '\0')
		return false;
	s = stored_find(a->t, name);
	if (s)
		stored_clear(s);
	return true;
}

/* What must be told about an entry to one who knows nothing. */
static unsigned
all_dues(const struct entry *e)
{
	switch (e->state) {
	case ENTRY_FAILED:
		return DUE_CHILD | DUE_FAILED;
	case ENTRY_EXITED:
		return DUE_CHILD | DUE_EXIT;
	case ENTRY_FREE:
		return 0;
	default:
		return DUE_CHILD;
	}
}

static bool
take_list(const struct asked *a)
{
	struct table *t = a->t;
	size_t i;

	if (!wire_is_whole(&a->m->body))
		return false;
	table_mute(t);
	t->listed = true;
	t->list_end_due = true;
	for (i = 0; i < t->nused; i++)
		mark(t, &t->entries[i], all_dues(&t->entries[i]));
	for (i = 0; i < STORED_MAX; i++)
		t->stored[i].due = t->stored[i].fd != -1;
	return true;
}

static bool
take_ready(const struct asked *a)
{
	if (!wire_is_whole(&a->m->body))
		return false;
	a->ops->ready(a->arg);
	return true;
}

static bool
take_stop(const struct asked *a)
{
	int code = wire_get_u8(&a->m->body);

	if (!wire_is_whole(&a->m->body))
		return false;
	a->ops->stop(a->arg, code);
	return true;
}

static bool
take_upgrade(const struct asked *a)
{
	const char *path = wire_get_string(&a->m->body, WIRE_PATH_MAX);

	if (!wire_is_whole(&a->m->body) || path[0] != '/')
		return false;
	a->t->refused = a->ops->upgrade(a->arg, path);
	return true;
}

bool
table_take(struct table *t, struct wire_message *m, const struct table_ops *ops,
    void *arg)
{
	static bool (*const takers[])(const struct asked *) = {
	    [WIRE_SPAWN] = take_spawn,
	    [WIRE_SIGNAL] = take_signal,
	    [WIRE_ACK] = take_ack,
	    [WIRE_TAG] = take_tag,
	    [WIRE_STORE] = take_store,
	    [WIRE_DROP] = take_drop,
	    [WIRE_LIST] = take_list,
	    [WIRE_READY] = take_ready,
	    [WIRE_STOP] = take_stop,
	    [WIRE_UPGRADE] = take_upgrade,
	};
	struct asked a = {.t = t, .m = m, .ops = ops, .arg = arg};
	bool ok = false;

	if (m->op < sizeof(takers) / sizeof(takers[0]) && takers[m->op])
		ok = takers[m->op](&a);
	wire_fds_close(&m->fds);
	return ok;
}

/* ---- what the next keeper is to know ---- */

static unsigned
kept_flags(const struct entry *e)
{
	return (e->paused ? WIRE_KEPT_PAUSED : 0) |
	    (e->reaped ? WIRE_KEPT_ENDED : 0) |
	    (e->foreign ? WIRE_KEPT_FOREIGN : 0) |
	    (e->state == ENTRY_STARTING ? WIRE_KEPT_STARTING : 0) |
	    (e->state == ENTRY_FAILED ? WIRE_KEPT_FAILED : 0);
}

static bool
bequeath_child(const struct entry *e, int file, struct wire_out *out)
{
	struct wire_kept c = {.id = e->id,
	    .pid = e->pid,
	    .flags = kept_flags(e),
	    .started_ns = e->started_ns,
	    .exit = e->exit,
	    .zombie_ms = e->zombie_ms,
	    .stage = e->stage,
	    .error = e->error,
	    .exec_fd = e->exec_fd,
	    .tag = e->tag,
	    .fds = e->fds};

	wire_put_kept(out, &c);
	return wire_write(file, out);
}

static bool
bequeath_stored(const struct stored *s, int file, struct wire_out *out)
{
	wire_put_u8(out, WIRE_KEPT_FD);
	wire_put_string(out, s->name);
	wire_put_u32(out, (uint32_t)s->fd);
	return wire_write(file, out);
}

bool
table_bequeath(const struct table *t, const struct wire_head *head, int file,
    void *buf, size_t size)
{
	struct wire_out out = {.buf = buf, .size = size};
	bool ok;
	size_t i;

	wire_put_head(&out, head);
	ok = wire_write(file, &out);
	for (i = 0; ok && i < t->nused; i++)
		if (t->entries[i].state != ENTRY_FREE)
			ok = bequeath_child(&t->entries[i], file, &out);
	for (i = 0; ok && i < STORED_MAX; i++)
		if (t->stored[i].fd != -1)
			ok = bequeath_stored(&t->stored[i], file, &out);
	wire_put_u8(&out, WIRE_KEPT_END);
	return wire_write(file, &out) && ok;
}

static void
entry_each_fd(const struct entry *e, void (*fn)(int fd, int value), int value)
{
	size_t i;

	for (i = 0; i < WIRE_FDS; i++)
		if (e->fds.fd[i] != -1)
			fn(e->fds.fd[i], value);
	if (e->exec_fd != -1)
		fn(e->exec_fd, value);
}

void
table_each_fd(const struct table *t, void (*fn)(int fd, int value), int value)
{
	size_t i;

	for (i = 0; i < t->nused; i++)
		if (t->entries[i].state != ENTRY_FREE)
			entry_each_fd(&t->entries[i], fn, value);
	for (i = 0; i < STORED_MAX; i++)
		if (t->stored[i].fd != -1)
			fn(t->stored[i].fd, value);
}

/* ---- what an earlier keeper knew ---- */

/* A number of -1 stands for none. */
static bool
inherit_fd(const struct table_ops *ops, void *arg, int number, int *fd)
{
	if (number != -1)
		*fd = ops->inherit(arg, number);
	return number == -1 || *fd != -1;
}

static bool
inherit_fds(const struct table_ops *ops, void *arg,
    const struct wire_fds *numbers, struct wire_fds *fds)
{
	size_t i;

	for (i = 0; i < WIRE_FDS; i++)
		if (!inherit_fd(ops, arg, numbers->fd[i], &fds->fd[i]))
			return false;
	return true;
}

static enum entry_state
kept_state(const struct wire_kept *c)
{
	if (c->flags & WIRE_KEPT_FAILED)
		return ENTRY_FAILED;
	return c->flags & WIRE_KEPT_STARTING ? ENTRY_STARTING : ENTRY_RUNNING;
}

static void
resume_life(struct table *t, struct entry *e, const struct wire_kept *c)
{
	e->pid = c->pid;
	e->state = kept_state(c);
	e->started_ns = c->started_ns;
	e->paused = c->flags & WIRE_KEPT_PAUSED;
	e->foreign = c->flags & WIRE_KEPT_FOREIGN;
	e->zombie_ms = c->zombie_ms;
	e->stage = c->stage;
	e->error = c->error;
	if (e->pid != 0)
		table_forked(t, e);
	if (e->pid != 0 && c->flags & WIRE_KEPT_ENDED)
		table_reaped(t, e, &c->exit);
}

static bool
resume_child(
    struct table *t, struct wire_in *in, const struct table_ops *ops, void *arg)
{
	struct wire_kept c;
	struct entry *e;
	bool followed;

	if (!wire_get_kept(in, &c) || table_find(t, c.id) ||
	    (!(c.flags & WIRE_KEPT_ENDED) && table_find_pid(t, c.pid)))
		return false;
	e = entry_new(t, c.id, c.tag);
	if (!e)
		return false;
	resume_life(t, e, &c);
	if (!inherit_fds(ops, arg, &c.fds, &e->fds) ||
	    !inherit_fd(ops, arg, c.exec_fd, &e->exec_fd))
		return false;
	followed = e->fds.fd[WIRE_PIDFD] != -1;
	if (followed ? !e->foreign && !e->exit.group_left
		     : e->foreign && !e->reaped)
		return false;
	ops->follow(arg, e);
	return true;
}

static bool
resume_stored(
    struct table *t, struct wire_in *in, const struct table_ops *ops, void *arg)
{
	const char *name = wire_get_string(in, WIRE_NAME_MAX);
	int number = (int)wire_get_u32(in);
	struct stored *s = stored_find(t, "");

	if (in->failed || name[0] == '\0' || !s || stored_find(t, name))
		return false;
	s->fd = ops->inherit(arg, number);
	if (s->fd == -1)
		return false;
	strcpy(s->name, name);
	return true;
}

static bool
resume_head(struct wire_in *in, struct wire_head *head,
    const struct table_ops *ops, void *arg)
{
	bool ok = wire_get_head(in, head);
	int number = head->sock;

	head->sock = -1;
	return ok && inherit_fd(ops, arg, number, &head->sock);
}

bool
table_resume(struct table *t, struct wire_in *in, struct wire_head *head,
    const struct table_ops *ops, void *arg)
{
	unsigned kind;
	bool ok;

	if (!resume_head(in, head, ops, arg))
		return false;
	t->next_id = head->next_id;
	t->base = head->base;
	do {
		kind = wire_get_u8(in);
		if (kind == WIRE_KEPT_CHILD)
			ok = resume_child(t, in, ops, arg);
		else if (kind == WIRE_KEPT_FD)
			ok = resume_stored(t, in, ops, arg);
		else
			ok = kind == WIRE_KEPT_END && wire_is_whole(in);
	} while (ok && kind != WIRE_KEPT_END);
	return ok;
}

/* ---- what herod is told ---- */

void
table_mute(struct table *t)
{
	struct entry *e;
	size_t i;

	while ((e = TAILQ_FIRST(&t->dues)))
		unmark(t, e, ~0u);
	for (i = 0; i < STORED_MAX; i++)
		t->stored[i].due = false;
	t->listed = false;
	t->list_end_due = false;
	t->refused = 0;
}

/* What goes along with STARTED, and with CHILD when it was executed. */
static void
add_fds(const struct entry *e, struct wire_fds *fds,
    const struct table_ops *ops, void *arg)
{
	*fds = e->fds;
	fds->fd[WIRE_KEEP] = fds->fd[WIRE_PIDFD] = -1;
	if (e->reaped)
		return;
	/* The number of one that is not ours may be another's by now. */
	fds->fd[WIRE_PIDFD] = e->foreign
	    ? fcntl(e->fds.fd[WIRE_PIDFD], F_DUPFD_CLOEXEC, 3)
	    : ops->pidfd(arg, e->pid);
}

static void
put_child(const struct entry *e, struct wire_out *out)
{
	struct wire_child c = {.pid = e->pid,
	    .started = e->state == ENTRY_RUNNING || e->state == ENTRY_EXITED,
	    .paused = e->paused,
	    .started_ns = e->started_ns,
	    .tag = e->tag};

	wire_put_child(out, &c);
}

static void
put_due(const struct entry *e, unsigned due, struct wire_out *out)
{
	switch (due) {
	case DUE_CHILD:
		put_child(e, out);
		break;
	case DUE_STARTED:
		wire_put_u32(out, (uint32_t)e->pid);
		wire_put_u64(out, (uint64_t)e->started_ns);
		break;
	case DUE_PAUSED:
		wire_put_u8(out, e->paused);
		break;
	case DUE_FAILED:
		wire_put_u8(out, (uint8_t)e->stage);
		wire_put_u32(out, (uint32_t)e->error);
		break;
	case DUE_EXIT:
		wire_put_exit(out, &e->exit);
		break;
	default:
		break; /* GONE says it all by its name */
	}
}

static enum wire_op
due_op(unsigned due)
{
	switch (due) {
	case DUE_CHILD:
		return WIRE_CHILD;
	case DUE_STARTED:
		return WIRE_STARTED;
	case DUE_PAUSED:
		return WIRE_PAUSED;
	case DUE_FAILED:
		return WIRE_FAILED;
	case DUE_EXIT:
		return WIRE_EXIT;
	default:
		return WIRE_GONE;
	}
}

static bool
tell_entry(struct table *t, struct wire_out *out, void *buf, size_t size,
    struct telling *telling, const struct table_ops *ops, void *arg)
{
	struct entry *e = TAILQ_FIRST(&t->dues);

	if (!e)
		return false;
	telling->entry = e;
	telling->due = e->due & -e->due; /* the lowest bit */
	wire_begin(out, buf, size, due_op(telling->due), e->id);
	put_due(e, telling->due, out);
	if (telling->due == DUE_STARTED ||
	    (telling->due == DUE_CHILD && e->started_ns != 0))
		add_fds(e, &telling->fds, ops, arg);
	if (telling->due == DUE_CHILD)
		telling->fds.fd[WIRE_KEEP] = e->fds.fd[WIRE_KEEP];
	return true;
}

static bool
tell_stored(struct table *t, struct wire_out *out, void *buf, size_t size,
    struct telling *telling)
{
	struct stored *s;

	for (s = t->stored; s < t->stored + STORED_MAX; s++)
		if (s->due) {
			telling->stored = s;
			telling->fds.fd[WIRE_KEEP] = s->fd;
			wire_begin(out, buf, size, WIRE_STORED, 0);
			wire_put_string(out, s->name);
			return true;
		}
	return false;
}

static bool
tell_refusal(struct table *t, struct wire_out *out, void *buf, size_t size,
    struct telling *telling)
{
	telling->refusal = t->refused != 0;
	if (!telling->refusal)
		return false;
	wire_begin(out, buf, size, WIRE_REFUSED, 0);
	wire_put_u32(out, (uint32_t)t->refused);
	return true;
}

bool
table_tell(struct table *t, struct wire_out *out, void *buf, size_t size,
    struct telling *telling, const struct table_ops *ops, void *arg)
{
	*telling = (struct telling){0};
	wire_fds_init(&telling->fds);
	if (tell_refusal(t, out, buf, size, telling) ||
	    tell_entry(t, out, buf, size, telling, ops, arg))
		return true;
	if (!t->list_end_due)
		return false;
	if (!tell_stored(t, out, buf, size, telling)) {
		wire_begin(out, buf, size, WIRE_END_OF_LIST, t->next_id);
		wire_put_base(out, &t->base);
		wire_put_u8(out, WIRE_RESUME_VERSION);
	}
	return true;
}

void
table_untold(struct telling *telling)
{
	if (telling->fds.fd[WIRE_PIDFD] != -1)
		close(wire_fds_take(&telling->fds, WIRE_PIDFD));
}

void
table_told(struct table *t, struct telling *telling)
{
	struct entry *e = telling->entry;

	table_untold(telling);
	if (telling->refusal)
		t->refused = 0;
	else if (e)
		unmark(t, e, telling->due);
	else if (telling->stored)
		telling->stored->due = false;
	else
		t->list_end_due = false;
}
