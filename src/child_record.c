/* What is written down of processes while they live. */
#define LOG_MODULE "keeper"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child_impl.h"
#include "living.h"
#include "log.h"
#include "mem.h"
#include "process.h"

_Static_assert(CHILD_TAG_MAX == LIVING_TAG_MAX, "it is recorded whole");

/* It lives, so its number is still its own. */
static bool
lives(const struct process *p)
{
	struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};

	return p->pidfd != -1 && poll(&fd, 1, 0) == 0;
}

static void
find_began(struct process *p)
{
	struct process_info info;

	if (p->began == 0 && process_read(p->c.pid, &info) && lives(p))
		p->began = info.began;
}

static uint64_t
inode_of(int fd)
{
	struct stat st;

	return fd != -1 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void
describe(struct process *p, struct living *l)
{
	find_began(p);
	l->pid = p->c.pid;
	l->began = p->began;
	l->started_ns = (int64_t)(p->c.started_at * 1e9);
	l->pipes[LIVING_STDOUT] = inode_of(p->streams[CHILD_STDOUT].fd);
	l->pipes[LIVING_STDERR] = inode_of(p->streams[CHILD_STDERR].fd);
	l->pipes[LIVING_READINESS] = inode_of(p->ready_fd);
	l->needs_us |= p->feed.fd != -1;
}

void
record_process(struct process *p)
{
	struct living l = {.id = p->c.id,
	    .marked_by = p->marked_by,
	    .needs_us = p->needs_us || p->c.keep_fd != -1,
	    .leaves = p->leftover < 0};

	if (p->c.keeper->record == NULL || p->phase == PHASE_ENDED)
		return;
	if (p->phase == PHASE_RUNNING)
		describe(p, &l);
	if (p->tag)
		strlcpy(l.tag, p->tag, sizeof(l.tag));
	if (!p->recorded)
		p->place = living_take(p->c.keeper->record);
	p->recorded = true;
	living_put(p->c.keeper->record, p->place, &l);
}

void
record_end(struct process *p)
{
	if (p->recorded)
		living_clear(p->c.keeper->record, p->place);
	p->recorded = false;
}

void
record_kept_end(struct process *p, struct kept_end *end)
{
	struct living l = {.id = p->c.id,
	    .pid = p->c.pid,
	    .marked_by = p->marked_by,
	    .ended = true,
	    .known = p->c.status_known,
	    .status = p->c.status,
	    .started_ns = end->kept.started_ns,
	    .ended_ns = end->kept.exit.at_ns};

	if (p->c.keeper->record == NULL)
		return;
	strlcpy(l.tag, end->tag, sizeof(l.tag));
	end->place = p->recorded ? p->place : living_take(p->c.keeper->record);
	end->recorded = true;
	p->recorded = false;
	living_put(p->c.keeper->record, end->place, &l);
}

/* What the herod before us wrote down is gone on with; what is over by now
 * is not. */
static void
take_over(struct keeper *k)
{
	struct process *p;
	struct living l;
	size_t i;

	for (i = 0; i < living_count(k->record); i++) {
		if (!living_get(k->record, i, &l))
			continue;
		p = keeper_process(k, l.id);
		if (p == NULL || p->recorded ||
		    (l.pid != 0 && l.pid != p->c.pid)) {
			living_clear(k->record, i);
			continue;
		}
		p->recorded = true;
		p->place = i;
		p->marked_by = l.marked_by;
	}
}

void
keeper_record(struct keeper *k, const char *state_dir)
{
	struct process *p;

	k->record = living_open(state_dir);
	if (k->record == NULL)
		log_warn("%s/" LIVING_NAME, state_dir);
	else
		take_over(k);
	RB_FOREACH (p, processes, &k->processes) {
		if (p->marked_by == 0)
			p->marked_by = k->pid;
		record_process(p);
	}
}
