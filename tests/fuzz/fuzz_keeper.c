/*
 * Fuzzes what herod-keeper does with messages: decoding, its table of
 * children, and what it tells.  Processes are played: starting, ending and
 * signalling are table_ops of ours; everything else is the keeper's code.
 *
 * The input is a list of steps: a byte that says what happens, a length
 * (two bytes), so many bytes.  A step is a datagram of herod (with so many
 * descriptors), or something that happens to a child, or herod reading.
 * With the byte RESUME first, the first step is what a keeper finds in the
 * file of --resume.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "table.h"

#define NEED(cond) \
	do { \
		if (!(cond)) \
			abort(); \
	} while (0)

#define RESUME 0x0f /* no step: these are counted modulo STEPS */

enum step {
	MESSAGE,
	EXECUTED,
	NOT_EXECUTED,
	STOPPED,
	ENDED,
	GROUP_GONE,
	HEROD_READS,
	HEROD_DIES,
	STEPS
};

static struct table table;
static pid_t last_pid = 1;
static int null_fd = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the system, played ---- */

static void
play_spawn(void *arg, struct entry *e, const struct wire_spawn *s,
    const struct wire_fds *given)
{
	size_t i;

	(void)arg;
	for (i = 0; s->argv[i]; i++)
		NEED(strlen(s->argv[i]) < WIRE_MAX);
	for (i = 0; s->envp[i]; i++)
		NEED(strlen(s->envp[i]) < WIRE_MAX);
	NEED(s->ngroups <= WIRE_GROUPS_MAX && s->nrlimits <= WIRE_RLIMITS_MAX);
	if (given->fd[WIRE_STDIN] != -1)
		NEED(fcntl(given->fd[WIRE_STDIN], F_GETFD) != -1);
	if (s->nice == 19) {
		table_failed(&table, e, WIRE_STAGE_FORK, 11);
		return;
	}
	e->fds.fd[WIRE_STDOUT] = dup(null_fd);
	e->exec_fd = dup(null_fd);
	do
		e->pid = ++last_pid;
	while (table_find_pid(&table, e->pid));
	table_forked(&table, e);
}

static void
play_signal(void *arg, struct entry *e, int sig, bool group)
{
	(void)arg;
	(void)sig;
	(void)group;
	NEED(e->state != ENTRY_FREE && e->state != ENTRY_FAILED);
}

static void
play_ready(void *arg)
{
	(void)arg;
}

static void
play_stop(void *arg, int code)
{
	(void)arg;
	NEED(code >= 0 && code < 256);
}

static void check_bequest(void);

/* What is written for another keeper, that one understands. */
static int
play_upgrade(void *arg, const char *path)
{
	(void)arg;
	NEED(path[0] == '/');
	check_bequest();
	return 2;
}

static int
play_pidfd(void *arg, pid_t pid)
{
	(void)arg;
	NEED(table_find_pid(&table, pid) != NULL);
	return dup(null_fd);
}

static int
play_inherit(void *arg, int number)
{
	(void)arg;
	return number <= 2 ? -1 : dup(null_fd);
}

static void
play_follow(void *arg, struct entry *e)
{
	(void)arg;
	NEED(e->pid > 1 || (e->pid == 0 && e->state == ENTRY_FAILED));
	NEED((e->state == ENTRY_STARTING) == (e->exec_fd != -1));
	if (e->foreign && !e->reaped)
		NEED(e->fds.fd[WIRE_PIDFD] != -1);
}

static const struct table_ops ops = {play_spawn, play_signal, play_ready,
    play_stop, play_upgrade, play_pidfd, play_inherit, play_follow};

/* ---- another keeper ---- */

static struct table heir;

static void
forget_all(struct table *t)
{
	memset(t->entries, 0, t->nused * sizeof(t->entries[0]));
	memset(
	    (char *)t + sizeof(t->entries), 0, sizeof(*t) - sizeof(t->entries));
}

static void
close_one(int fd, int value)
{
	(void)value;
	close(fd);
}

static void
check_heir_of(const struct entry *e)
{
	const struct entry *h = table_find(&heir, e->id);

	NEED(h && h->state == e->state && h->pid == e->pid);
	NEED(h->reaped == e->reaped && h->paused == e->paused);
	NEED(h->foreign == e->foreign && h->due == 0);
	NEED(h->exit.group_left == e->exit.group_left);
	NEED(h->stage == e->stage && h->error == e->error);
	NEED(strcmp(h->tag, e->tag) == 0);
}

static void
read_bequest(int file)
{
	off_t size = lseek(file, 0, SEEK_END);
	uint8_t *bytes = malloc((size_t)size);
	struct wire_in in = {.at = bytes, .left = (size_t)size};
	struct wire_head head;

	NEED(bytes && pread(file, bytes, (size_t)size, 0) == size);
	NEED(table_resume(&heir, &in, &head, &ops, NULL));
	free(bytes);
}

static void
check_bequest(void)
{
	static uint8_t buf[WIRE_MAX];
	struct wire_head head = {.next_id = table.next_id, .sock = -1};
	int file = memfd_create("bequest", 0);
	size_t i;

	NEED(table_bequeath(&table, &head, file, buf, sizeof(buf)));
	table_init(&heir);
	read_bequest(file);
	close(file);
	NEED(heir.nliving == table.nliving && heir.next_id == table.next_id);
	for (i = 0; i < table.nused; i++)
		if (table.entries[i].state != ENTRY_FREE)
			check_heir_of(&table.entries[i]);
	table_each_fd(&heir, close_one, 0);
	forget_all(&heir);
}

/* ---- steps ---- */

static void
give(const uint8_t *bytes, size_t len, size_t nfds)
{
	struct wire_message m;
	int fds[3];
	size_t i;

	for (i = 0; i < nfds; i++)
		fds[i] = dup(null_fd);
	if (wire_parse(bytes, len, fds, nfds, &m))
		table_take(&table, &m, &ops, NULL);
}

static struct entry *
chosen(const uint8_t *bytes, size_t len)
{
	if (len == 0 || table.nused == 0)
		return NULL;
	return &table.entries[bytes[0] % table.nused];
}

/* As the keeper does: before all else that is told of its start. */
static void
settle(struct entry *e)
{
	if (e->exec_fd != -1)
		close(e->exec_fd);
	e->exec_fd = -1;
}

static void
end_child(struct entry *e, bool group_left)
{
	struct wire_exit x = {.status = 9, .at_ns = 1};

	if (e->pid == 0 || e->reaped)
		return;
	if (e->state == ENTRY_STARTING) {
		settle(e);
		table_started(&table, e, 1);
	}
	x.group_left = group_left;
	table_reaped(&table, e, &x);
}

static void
happen(enum step step, struct entry *e, bool flag)
{
	bool lives = e->state == ENTRY_STARTING || e->state == ENTRY_RUNNING;

	if (e->state == ENTRY_FREE)
		return;
	if (e->state == ENTRY_STARTING &&
	    (step == EXECUTED || step == NOT_EXECUTED))
		settle(e);
	if (step == EXECUTED && e->state == ENTRY_STARTING)
		table_started(&table, e, 1);
	else if (step == NOT_EXECUTED && e->state == ENTRY_STARTING)
		table_failed(&table, e, WIRE_STAGE_EXEC, 2);
	else if (step == STOPPED && lives)
		table_paused(&table, e, flag);
	else if (step == ENDED)
		end_child(e, flag);
	else if (step == GROUP_GONE)
		table_gone(&table, e);
}

/* Herod's side must understand each word. */
static void
understand(struct wire_message *m)
{
	struct wire_child c;
	struct wire_exit x;

	if (m->op == WIRE_CHILD)
		NEED(wire_get_child(&m->body, &c));
	else if (m->op == WIRE_EXIT)
		NEED(wire_get_exit(&m->body, &x));
	else if (m->op == WIRE_STORED)
		NEED(wire_get_string(&m->body, WIRE_NAME_MAX)[0] != '\0');
	else
		NEED(m->op >= WIRE_STARTED && m->op <= WIRE_REFUSED);
}

static bool
hear(bool arrives)
{
	static uint8_t buf[WIRE_MAX];
	struct telling telling;
	struct wire_message m;
	struct wire_out out;

	if (!table_tell(&table, &out, buf, sizeof(buf), &telling, &ops, NULL))
		return false;
	NEED(!out.failed);
	NEED(wire_parse(buf, out.len, NULL, 0, &m));
	understand(&m);
	if (arrives)
		table_told(&table, &telling);
	else
		table_untold(&telling);
	return arrives;
}

/* A keeper that cannot resume ends. */
static bool
resume(const uint8_t *bytes, size_t len)
{
	struct wire_in in = {.at = bytes, .left = len};

	struct wire_head head;
	bool ok = table_resume(&table, &in, &head, &ops, NULL);

	if (head.sock > 2)
		close(head.sock);
	return ok;
}

static void
take_step(unsigned what, const uint8_t *bytes, size_t len)
{
	struct entry *e = chosen(bytes, len);
	enum step step = what % STEPS;
	int n = what >> 4;

	if (step == MESSAGE)
		give(bytes, len, n & 3);
	else if (step == HEROD_READS)
		while (n-- > 0 && hear(n > 0))
			;
	else if (step == HEROD_DIES)
		table_mute(&table);
	else if (e)
		happen(step, e, what & 0x80);
}

/* ---- what must always be so ---- */

static void
check_entry(const struct entry *e, size_t *nliving, size_t *nlingering)
{
	NEED(table_find(&table, e->id) == e);
	NEED(e->id < table.next_id);
	NEED(memchr(e->tag, '\0', sizeof(e->tag)) != NULL);
	NEED(table.listed || e->due == 0);
	if (e->pid != 0 && !e->reaped) {
		NEED(table_find_pid(&table, e->pid));
		++*nliving;
	}
	if (e->exit.group_left) {
		NEED(e->state == ENTRY_EXITED);
		++*nlingering;
	}
}

static void
check_table(void)
{
	size_t i, ndue = 0, nliving = 0, nlingering = 0;
	struct entry *e;

	for (i = 0; i < table.nused; i++) {
		e = &table.entries[i];
		if (e->state != ENTRY_FREE)
			check_entry(e, &nliving, &nlingering);
		ndue += e->due != 0;
	}
	NEED(nliving == table.nliving);
	TAILQ_FOREACH (e, &table.dues, dues)
		ndue--;
	NEED(ndue == 0);
	LIST_FOREACH (e, &table.lingering, lingering)
		nlingering--;
	NEED(nlingering == 0);
}

/* Everything ends and is acknowledged: then nothing may be left open. */
static void
finish(int next_fd)
{
	uint8_t ack[] = {WIRE_VERSION, WIRE_ACK, 0, 0, 0, 0, 0};
	struct entry *e;
	size_t i;
	int fd;

	for (i = 0; i < table.nused; i++) {
		e = &table.entries[i];
		if (e->state == ENTRY_FREE)
			continue;
		end_child(e, false);
		for (fd = 0; fd < 4; fd++)
			ack[3 + fd] = (uint8_t)(e->id >> 8 * fd);
		give(ack, sizeof(ack), 0);
		NEED(e->state == ENTRY_FREE);
	}
	for (i = 0; i < STORED_MAX; i++)
		if (table.stored[i].fd != -1)
			close(table.stored[i].fd);
	fd = dup(null_fd);
	NEED(fd == next_fd);
	close(fd);
	forget_all(&table);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool first = true, goes_on = true;
	int next_fd;
	size_t len;

	if (null_fd == -1)
		null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	next_fd = dup(null_fd);
	close(next_fd);
	table_init(&table);
	for (; size >= 3 && goes_on; size -= 3 + len, data += 3 + len) {
		len = data[1] | (size_t)data[2] << 8;
		if (len > size - 3)
			len = size - 3;
		if (first && data[0] == RESUME)
			goes_on = resume(data + 3, len);
		else
			take_step(data[0], data + 3, len);
		first = false;
	}
	check_table();
	finish(next_fd);
	return 0;
}
