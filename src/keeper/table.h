/*
 * What herod-keeper knows: children, their statuses, stored descriptors,
 * and what herod has not been told yet.
 *
 * No process is touched here: messages of herod are decoded and applied,
 * and what they ask of the system goes through struct table_ops.  The
 * other way, marks on the entries say which messages are due, so nothing
 * is lost or queued without bound while herod does not read.
 *
 * Everything is static: after its start the keeper allocates nothing.
 */
#ifndef TABLE_H
#define TABLE_H

#include <sys/queue.h>

#include "keeper_wire.h"

#define STORED_MAX 64
#define TABLE_BUCKETS 4096 /* power of two */

/* Marks of what is due, in the order in which it is told. */
enum {
	DUE_CHILD = 1,
	DUE_STARTED = 2,
	DUE_PAUSED = 4,
	DUE_FAILED = 8,
	DUE_EXIT = 16,
	DUE_GONE = 32
};

enum entry_state {
	ENTRY_FREE,
	ENTRY_STARTING, /* forked, not yet executed */
	ENTRY_RUNNING,
	ENTRY_FAILED, /* not executed; kept until ACK */
	ENTRY_EXITED /* reaped; kept until ACK */
};

struct entry {
	uint32_t id;
	pid_t pid; /* its session and group, too; 0 when not forked */
	enum entry_state state;
	unsigned due;
	bool reaped; /* pid is no process of ours any more */
	bool paused;
	bool foreign; /* an earlier keeper's child: nobody tells us its end */
	int exec_fd; /* tells that it could not be executed; -1 */
	struct wire_fds fds; /* our ends of its pipes, and keep; its pidfd
			      * when it is foreign, or its group is left */
	int64_t started_ns;
	struct wire_exit exit;
	int64_t zombie_ms; /* foreign: waits for its burial until then */
	unsigned stage; /* what failed, with errno */
	int error;
	LIST_ENTRY(entry) by_id, by_pid;
	TAILQ_ENTRY(entry) dues;
	LIST_ENTRY(entry) lingering; /* leader reaped, group left */
	SLIST_ENTRY(entry) free;
	char tag[WIRE_TAG_MAX];
};

LIST_HEAD(entries, entry);
TAILQ_HEAD(entry_queue, entry);
SLIST_HEAD(entry_stack, entry);

struct stored {
	char name[WIRE_NAME_MAX]; /* "": free */
	int fd;
	bool due;
};

struct table {
	struct entry entries[WIRE_CHILDREN_MAX];
	size_t nused; /* entries ever used: those behind are untouched */
	size_t nliving; /* processes not reaped */
	struct entry_stack free;
	struct entries by_id[TABLE_BUCKETS], by_pid[TABLE_BUCKETS];
	struct entries lingering;
	struct entry_queue dues;
	struct stored stored[STORED_MAX];
	uint32_t next_id; /* greater than any seen */
	bool listed; /* this herod has asked; before, it is told nothing */
	bool list_end_due;
	int refused; /* errno of an upgrade, to be told; 0: none */
	struct wire_base base; /* told at the end of the list */
	char *strings[WIRE_STRINGS_MAX]; /* of the SPAWN in hand */
};

struct table_ops {
	/*
	 * Starts a child: sets pid, exec_fd and fds and calls
	 * table_forked(), or calls table_failed().  Its descriptors in
	 * given stay the caller's.
	 */
	void (*spawn)(void *arg, struct entry *e, const struct wire_spawn *s,
	    const struct wire_fds *given);
	void (*signal)(void *arg, struct entry *e, int sig, bool group);
	void (*ready)(void *arg);
	void (*stop)(void *arg, int code);
	/* Executes another keeper; returns, with errno, when it cannot. */
	int (*upgrade)(void *arg, const char *path);
	/* A new descriptor for a process that lives, or -1. */
	int (*pidfd)(void *arg, pid_t pid);
	/* Takes over a descriptor by its number; -1: it is not open, or was
	 * taken already. */
	int (*inherit)(void *arg, int number);
	/* One that an earlier keeper had: what tells more of it is to be
	 * watched. */
	void (*follow)(void *arg, struct entry *e);
};

void table_init(struct table *t);

/* Applies a message of herod, closing its descriptors.  False when it
 * makes no sense. */
bool table_take(struct table *t, struct wire_message *m,
    const struct table_ops *ops, void *arg);

/*
 * Writes all of it but the herod and its socket, which are in the head, to a
 * file for --resume, by a buffer of this size.
 */
bool table_bequeath(const struct table *t, const struct wire_head *head,
    int file, void *buf, size_t size);

/*
 * Fills a new table, and the head, with what was kept in a file for --resume.
 * False when that makes no sense: nobody should go on with half of it.
 */
bool table_resume(struct table *t, struct wire_in *in, struct wire_head *head,
    const struct table_ops *ops, void *arg);

/* Calls fn for each descriptor that it holds. */
void table_each_fd(
    const struct table *t, void (*fn)(int fd, int value), int value);

/* A new herod, or none: it has asked for nothing yet. */
void table_mute(struct table *t);

/*
 * The next message that is due, and its descriptors; false when there is
 * none.  Call table_told() when it was sent, which also closes those that
 * were made for it; table_untold() when it was not.
 */
struct telling {
	struct entry *entry;
	unsigned due;
	struct stored *stored;
	bool refusal;
	struct wire_fds fds; /* ours but for the pidfd */
};
bool table_tell(struct table *t, struct wire_out *out, void *buf, size_t size,
    struct telling *telling, const struct table_ops *ops, void *arg);
void table_told(struct table *t, struct telling *telling);
void table_untold(struct telling *telling);

/* A stored descriptor, which stays the table's; -1: none of that name. */
int table_stored(struct table *t, const char *name);

struct entry *table_find(struct table *t, uint32_t id);
struct entry *table_find_pid(struct table *t, pid_t pid);

/* What happened to a child. */
void table_forked(struct table *t, struct entry *e);
void table_started(struct table *t, struct entry *e, int64_t at_ns);
void table_failed(struct table *t, struct entry *e, unsigned stage, int error);
void table_paused(struct table *t, struct entry *e, bool paused);
/* The leader was reaped.  Of one that had failed, this is all. */
void table_reaped(struct table *t, struct entry *e, const struct wire_exit *x);
/* The group of an EXITED entry is gone. */
void table_gone(struct table *t, struct entry *e);

#endif
