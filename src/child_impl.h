/*
 * What child.c, child_io.c and keeper_link.c share of child.h's inside.
 * Nobody else includes it.
 *
 *	keeper_link.c	messages to and from herod-keeper, adoption
 *	child.c		life and end of a process
 *	child_io.c	its output and its stdin
 *	strays.c	what it leaves behind outside of its group
 *	search.c	the same among all processes of the machine
 *	child_record.c	what is written down of it while it lives
 *	revive.c	going on with it when the keeper was killed, too
 */
#ifndef CHILD_IMPL_H
#define CHILD_IMPL_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "child.h"
#include "keeper_wire.h"

struct process;

/* stdout or stderr. */
struct stream {
	struct process *process;
	int which;
	int fd; /* -1: none */
	bool ended; /* nothing more comes, or is wanted */
	bool lazy; /* child_be_lazy() */
	ev_io io;
	ev_timer late; /* reads a lazy one */
};

/* stdin, and what waits for it. */
struct feed {
	int fd; /* -1: none, or closed by the other side */
	char *buf;
	size_t len, size;
	ev_io io;
};

/* What is needed to bring a process to its end, and after it. */
struct ending {
	struct stop_rules rules;
	int next_signal; /* of the rules */
	double share; /* seconds between their signals */
	bool kill_sent;
	double strays_delay; /* seconds to the next look at strays */
	ev_timer signal_timer, kill_timer, grace_timer, strays_timer;
	struct rusage rusage; /* c.rusage */
};

enum phase {
	PHASE_ASKED, /* not yet executed */
	PHASE_RUNNING,
	PHASE_ENDED /* reaped, or never executed */
};

struct process {
	struct child c; /* first: a struct child * is a struct process * */
	enum phase phase;
	bool unheld; /* the keeper does not know it: nothing to ACK */
	bool over_due; /* on the keeper's list of those */
	bool found_due; /* during keeper_open() */
	bool group_left; /* leader reaped, group not yet empty */
	bool strays_left; /* nor are those who left it gone */
	int seeking; /* searches whose end it waits for */
	bool sought; /* the first of them has ended */
	bool left_alone; /* what is left is not our concern */
	char *program, *directory; /* for texts; NULL once it is executed */
	char *left; /* c.left */
	char *tag; /* for found(), and for a keeper that takes over */
	int pidfd; /* -1 */
	bool needs_us; /* see struct living */
	bool recorded; /* at its place in the record */
	size_t place;
	uint64_t began; /* clock ticks after boot; 0: not known */
	pid_t marked_by; /* the keeper in its mark; 0: not known yet */
	struct stream streams[CHILD_STREAMS];
	struct feed feed;
	int ready_fd; /* -1: none, or no more of use */
	ev_io ready_io;
	struct cgroup *cgroup; /* its owner's, or NULL */
	double leftover;
	struct ending *ending; /* NULL while nobody thinks of its end */
	struct outgoing *tag_message; /* not yet sent, or NULL */
	RB_ENTRY(process) by_id;
	TAILQ_ENTRY(process) overs;
};

RB_HEAD(processes, process);
RB_PROTOTYPE(processes, process, by_id, process_compare)
TAILQ_HEAD(process_queue, process);

/* A message that the keeper had no room for. */
struct outgoing {
	TAILQ_ENTRY(outgoing) entry;
	struct outgoing **holder; /* points here until it is sent; or NULL */
	struct wire_fds fds;
	size_t len;
	uint8_t bytes[];
};
TAILQ_HEAD(outgoing_queue, outgoing);

struct stored_fd {
	TAILQ_ENTRY(stored_fd) entry;
	int fd;
	char name[WIRE_NAME_MAX];
};
TAILQ_HEAD(stored_fds, stored_fd);

/* An end that the keeper still tells, and the one after it shall tell. */
struct kept_end {
	TAILQ_ENTRY(kept_end) entry;
	struct wire_kept kept;
	char *tag;
	bool recorded; /* at its place in the record */
	size_t place;
};
TAILQ_HEAD(kept_ends, kept_end);

struct keeper {
	struct ev_loop *loop;
	int fd;
	const struct keeper_ops *ops;
	void *arg;
	ev_io reader, writer;
	ev_timer retry; /* to write, when the system had no room */
	ev_timer sweep; /* tells who is over, out of anyone's way */
	struct outgoing_queue outgoing;
	struct processes processes;
	struct process_queue overs;
	size_t nprocesses;
	size_t nasked; /* of these, not yet executed */
	uint32_t next_id;
	bool listed; /* END_OF_LIST came */
	bool lost;
	struct stored_fds stored; /* until keeper_open() returns */
	pid_t pid; /* the keeper's */
	pid_t *orphans; /* that came to it, as it was in that turn of */
	size_t norphans; /* the loop (ev_iteration()) */
	unsigned orphans_turn;
	struct search *search; /* for marks of a killed keeper; or NULL */
	struct stored_fds held; /* copies of all that the keeper stores */
	struct kept_ends ends;
	struct wire_base base; /* of the keeper, for the one after it */
	int resume_version; /* of what it writes for that one */
	ev_timer left; /* hands out what a killed herod had in hand */
	struct transit *transit; /* NULL: output is read plainly */
	char *shared; /* TRANSIT_PIECE */
	struct living_file *record; /* or NULL */
	uint8_t *in, *out; /* WIRE_MAX each */
};

/* ---- keeper_link.c ---- */

/* Begins a message about a process in the keeper's own buffer. */
void link_begin(
    struct keeper *k, struct wire_out *out, enum wire_op op, uint32_t id);

/* Sends it or queues it with copies of fds.  -1: there were no
 * descriptors left for these; nothing will be sent. */
int link_send(
    struct keeper *k, struct wire_out *out, const struct wire_fds *fds);
void link_signal(struct process *p, int sig, bool group);
void link_ack(struct process *p);

/* The one of an id; NULL when there is none. */
struct process *keeper_process(struct keeper *k, uint32_t id);

/* A stored descriptor of a file for --resume; it stays open over an exec. */
void resume_put_fd(struct wire_out *out, const char *name, int fd);

/* Enters a new process (ops NULL) under an id. */
struct process *process_new(struct keeper *k, uint32_t id);

/* ---- child.c: what the keeper tells ---- */

void process_init(struct process *p);

/* Both take fds; lost: not all that should be there are. */
void process_started(struct process *p, pid_t pid, double at,
    struct wire_fds *fds, bool fds_lost);
void process_found(
    struct process *p, const struct wire_child *c, struct wire_fds *fds);
void process_failed(struct process *p, const char *stage, int error);
void process_exited(struct process *p, const struct wire_exit *x);
void process_group_gone(struct process *p);
void process_paused(struct process *p, bool paused);

/* The search for what it leaves behind is over. */
void process_sought(struct process *p);

/* Adopted: what it went through since is dealt with from now on. */
void process_resume(struct process *p);

/* Closes and frees all of it, off every list already. */
void process_free(struct process *p);

/* Is it over now? */
void process_look(struct process *p);

/* Lists those who are over. */
void processes_sweep(struct keeper *k);

/* ---- strays.c ---- */

#define STRAY_MARK_SIZE 96

#define STRAY_MARK "HERO_SPAWN" /* with HERO_RUNNER, HERO_INSTANCE */

/* "NAME=VALUE" that shows whose child a process is, whatever it does. */
void strays_mark(
    const struct keeper *k, unsigned id, char mark[STRAY_MARK_SIZE]);

/* Of one whose leader has ended: is anything left outside of its group? */
bool strays_are_left(const struct process *p);
void strays_signal(const struct process *p, int sig);

/* SIGKILL, so that they cannot outrun it by forking. */
void strays_kill(const struct process *p);

/* What a process is that is about to be executed, or was. */
enum marked { MARKED, UNMARKED, IN_EXECVE };

/* Its keeper and its id: from its name until execve(2), from its
 * environment after it, and from neither within. */
enum marked strays_mark_read(pid_t pid, pid_t *keeper, unsigned *id);

/* Where something lives under the number of a keeper, that may be another
 * keeper, and a mark with that number its. */
bool strays_keeper_is_gone(pid_t keeper);

/* Those who are within execve(2) get past it; waits 100 ms at most. */
void strays_wait_execve(void);

/* After the keeper's death its children and we have the same parent.  What
 * was just being started writes into pipes that nobody else has: it is of
 * no use, and the next herod would start it a second time. */
void strays_kill_asked(struct keeper *k);

/* "pid 12 (cat), pid 13 (sh) and 2 more", of its group, too; new, or NULL
 * when nothing is left. */
char *strays_names(const struct process *p);

/* "pid 12 (cat) in state D": one that SIGKILL did not end; new, or NULL. */
char *strays_unkillable(const struct process *p);

/* ---- search.c ---- */

/* Outlived its keeper, and no control group holds it: what left its group
 * has come to init and is among all processes of the machine. */
bool search_is_needed(const struct process *p);

/* Begins to look for them; process_sought() follows, in the loop. */
void search_begin(struct process *p);

/* What the last search found: at most max. */
size_t search_found(const struct process *p, pid_t *list, size_t max);

void search_end(struct keeper *k);

/* ---- child_record.c ---- */

/* Writes down what is known of it now, if there is a record. */
void record_process(struct process *p);
void record_end(struct process *p);

/* It has ended, and its place is the end's from now on. */
void record_kept_end(struct process *p, struct kept_end *end);

/* ---- child_io.c ---- */

void io_init(struct process *p);
void io_open(struct process *p, struct wire_fds *fds);
void io_start(struct process *p);

/* The process has ended: no stdin, no laziness. */
void io_hurry(struct process *p);

/* Takes what is there now and closes what is open. */
void io_finish(struct process *p);
bool io_is_open(const struct process *p);
void io_close(struct process *p);

/* Hands out what the herod before us had in hand of this stream. */
void io_again(struct process *p, unsigned stream, size_t len);

#endif
