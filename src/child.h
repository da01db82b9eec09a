/*
 * One process, through herod-keeper: started, output, over.
 *
 * The keeper is the parent of every process and holds its pipes and its
 * exit status, so a process lives on when herod dies; a new herod finds it
 * by keeper_open() and goes on with it by child_adopt().
 *
 * A child is over when it has been reaped, its process group and those who
 * left that (setsid(2)) are gone (or are to be left alone) and its output was
 * drained (or a grace of one second has passed, for an orphan may hold the
 * pipe).
 */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <ev.h>

#include "err.h"
#include "transit.h"
#include "type.h"

struct cgroup;
struct keeper;
struct child;

enum { CHILD_STDOUT, CHILD_STDERR, CHILD_STREAMS };

#define CHILD_TAG_MAX 1024
#define CHILD_RLIMITS_MAX RLIM_NLIMITS

/* What can be set for a new process and changed for one that lives. */
struct child_limits {
	bool set_nice, set_oom; /* otherwise left as they are */
	int nice;
	int oom_score_adj;
	struct {
		int resource; /* RLIMIT_... */
		rlim_t value;
	} rlimits[CHILD_RLIMITS_MAX];
	size_t nrlimits;
};

struct child_spec {
	char *const *argv; /* argv[0] is looked up in envp's PATH */
	char *const *envp;
	const char *directory;
	bool set_user; /* change to uid, gid, groups */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* at most 64 */
	size_t ngroups;
	mode_t umask;
	struct child_limits limits;
	bool no_new_privs;
	struct cgroup *cgroup; /* borrowed until it is over; NULL: none */
	int cgroup_fd; /* of cgroup_begin(); -1: not in it */
	bool stdin_pipe; /* child_write() feeds it */
	int stdin_fd; /* else this is its stdin; -1: /dev/null;
		       * stays the caller's, like keep_fd */
	bool stderr_to_stdout;
	int ready_fd; /* it gets a pipe as this, 3..9, see ready(); 0: none */
	int keep_fd; /* kept for us by the keeper; -1: none */
	const char *tag; /* told again on adoption; < CHILD_TAG_MAX */
};

/* How to ask it to end (runner.def: stopsignal ... killasgroup). */
struct stop_rules {
	struct ints signals; /* in turn, waitsecs shared evenly */
	double waitsecs; /* then SIGKILL; 0: at once */
	bool group; /* signals go to the whole process group */
	bool killgroup; /* SIGKILL too, and the group is waited for */
};

struct child_ops {
	/* Executed: pid is valid. May be NULL. */
	void (*started)(struct child *c);
	/* Is output of this stream to be read now?  If not, this is asked
	 * again a second later. May be NULL: always. */
	bool (*wants)(struct child *c, int stream);
	/*
	 * Bytes of a stream, in order.  Until this returns they are in
	 * transit (transit.h): what was not yet safe when herod died is
	 * handed out again by the next, with the same child_piece().
	 */
	void (*output)(
	    struct child *c, int stream, const char *buf, size_t len);
	/* It wrote a line to ready_fd.  Told again after our death.  May be
	 * NULL. */
	void (*ready)(struct child *c);
	/* Stopped by or continued after a job-control signal. May be NULL. */
	void (*paused)(struct child *c, bool paused);
	/* It, or what it left behind, does not end after SIGKILL; over()
	 * comes if it does after all.  what: "pid 12 (cat) in state D".
	 * May be NULL. */
	void (*unkillable)(struct child *c, const char *what);
	/* Once, last; the child is freed when this returns. */
	void (*over)(struct child *c);
};

/* For the ops of one of whom nothing more is wanted. */
static inline void
child_ignore_output(struct child *c, int stream, const char *buf, size_t len)
{
	(void)c;
	(void)stream;
	(void)buf;
	(void)len;
}

static inline void
child_ignore_over(struct child *c)
{
	(void)c;
}

/* For owners to read; only child.c writes, except arg and ops. */
struct child {
	const struct child_ops *ops;
	void *arg;
	struct keeper *keeper;
	struct transit *transit; /* that its output goes through; or NULL */
	unsigned id; /* the keeper's name for it, never reused */
	pid_t pid; /* 0 before started */
	int keep_fd; /* the spec's (a copy that child.c closes), or
		      * what the keeper kept; -1 */
	double started_at; /* Unix seconds; 0 when it never was */
	double exited_at;
	bool is_over;
	bool paused;
	bool stopping; /* child_stop() or child_kill() was called
			* before its end was known */
	bool killed; /* SIGKILL was sent by us */
	bool oom; /* the kernel ended it for lack of memory */
	bool keep_end; /* over() may set it: the next herod is told of this
			* end again, unless keeper_forget() was called */
	/* Start failed: what was tried and errno, else stage is NULL. */
	const char *stage; /* "exec", "chdir", "setuid", "fork", ... */
	int error;
	bool shortage; /* herod's lack (EAGAIN, ENOMEM, EMFILE...) */
	int status; /* as by wait(2); valid when over, stage NULL */
	bool status_known;
	const struct rusage *rusage; /* of its end; NULL: not known */
	/* It ended by itself or is not to be followed, and these lived on:
	 * "pid 12 (cat), pid 13 (sh)"; else NULL. */
	const char *left;
	/* Its owner may say where the bytes fed to its stdin are counted, in
	 * memory that outlives herod: [0] before each write(2), [1] after. */
	volatile uint64_t *fed;
	/* Called (or NULL) before each of those with all that waits for its
	 * stdin. */
	void (*feeding)(void *arg, const char *buf, size_t len);
	void *feeding_arg;
};

/* It ended, or could not be started; over() may still be to come. */
static inline bool
child_has_ended(const struct child *c)
{
	return c->status_known || c->stage;
}

/* Called once for each process that lives, then for each that has ended
 * unnoticed, and before for each stored descriptor.  The owner calls
 * child_adopt() within; a child nobody adopts is killed with its group.  pid
 * and started_at are there already, so started() is called only for one that
 * was not yet executed; output and over() come later, through the loop. */
struct keeper_ops {
	void (*found)(void *arg, struct child *c, const char *tag);
	void (*stored)(void *arg, const char *name, int fd /* taken over */);
	/* The keeper is gone. */
	void (*lost)(void *arg);
	/* keeper_upgrade() cannot be, with errno; nothing was changed. */
	void (*refused)(void *arg, int error);
	/* keeper_upgrade() is done: another keeper runs, which waits for the
	 * end of this process and then starts another.  Must not return. */
	void (*replaced)(void *arg);
};

/*
 * Speaks to the keeper at the descriptor (from its argument
 * --keeper-fd), asks what it holds (this waits, at most 5 s) and then
 * follows it in the loop.  NULL with a refusal.  fd is taken over.
 * SIGPIPE must be ignored (child_write()).
 */
struct keeper *keeper_open(struct ev_loop *loop, int fd,
    const struct keeper_ops *ops, void *arg, struct err *e);
void keeper_close(struct keeper *k);

/* Keeps fd (duplicated) over our death under a name (< 256 bytes); at most
 * 64 of them. */
void keeper_store(struct keeper *k, const char *name, int fd);
void keeper_drop(struct keeper *k, const char *name);

/* Of a child with keep_end that is gone: nobody needs to know its end. */
void keeper_forget(struct keeper *k, unsigned id);

/* Where the keeper says what it has to say once it is in the background
 * (started with --ready-fd) and herod is ready; otherwise nowhere. */
void keeper_stderr(struct keeper *k, int fd);

/* From now on what lives is written down in the state directory, whose lock
 * is ours, for revive(). */
void keeper_record(struct keeper *k, const char *state_dir);

/* Start-up is over: from now on the keeper starts a new herod when this
 * one ends without keeper_stop(). */
void keeper_ready(struct keeper *k);

/* We are about to end on purpose; the keeper is to kill what is left and
 * end with this code. */
void keeper_stop(struct keeper *k, int code);

/*
 * Asks the keeper to execute the program at path in its own place, with all
 * that it has; refused() or replaced() follows.  -1: it cannot be asked.
 */
int keeper_upgrade(struct keeper *k, const char *path);

/* What a keeper in its place must understand: herod-keeper --resumes. */
int keeper_resume_version(const struct keeper *k);

/* What a keeper of ours must speak: herod-keeper --speaks. */
int keeper_wire_version(void);

/*
 * After lost(): all that is known of processes and stored descriptors, in
 * a new file for herod-keeper --resume; these stay open over an exec from
 * now on.  Its descriptor, or -1 with errno.  What could not be kept is
 * logged; what was just being started is killed.
 */
int keeper_bequeath(struct keeper *k);

/*
 * After lost(): ends the processes that it kept, since nobody is their
 * parent any more who could tell how they end.  SIGTERM, then SIGKILL after
 * so many seconds; this waits for them.
 */
void keeper_end_orphans(struct keeper *k, double grace);

/*
 * Starts a process.  The answer comes by ops: started() and later over(),
 * or over() with stage set.  Refused (NULL) only for what could never be
 * sent: too many or too long arguments (E2BIG), a tag too long.
 */
struct child *child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *ops, void *arg, struct err *e);

void child_adopt(struct child *c, const struct child_ops *ops, void *arg);

/* The group that one which was found has begun in, as in struct child_spec;
 * before it is adopted. */
void child_cgroup(struct child *c, struct cgroup *cgroup);

/* New tag for a process that lives. */
void child_tag(struct child *c, const char *tag);

/* Changes what can be changed of a process that lives (not of its children,
 * but for nice).  Returns what was refused, which e tells, too: the bits 1 <<
 * RLIMIT_..., CHILD_NICE, CHILD_OOM.  The rest is done. */
enum { CHILD_NICE = 1 << 16, CHILD_OOM = 1 << 17 };
_Static_assert(RLIM_NLIMITS <= 16, "their bits come first");
unsigned child_adjust(
    struct child *c, const struct child_limits *limits, struct err *e);

/*
 * Asks it to end by the rules: each signal (with SIGCONT behind it), at
 * last SIGKILL.  Calling again with other rules hurries.  What is left of
 * its group when the leader ends is killed too when rules->killgroup.
 */
void child_stop(struct child *c, const struct stop_rules *rules);

/* While it is being stopped: SIGKILL comes not before so many seconds. */
void child_extend(struct child *c, double seconds);

/* SIGKILL to the group, now. */
void child_kill(struct child *c);

/* One signal to the leader or the whole group. */
void child_signal(struct child *c, int signal, bool group);

/* What is done with the rest (its group and who left that) when the leader ends
 * by itself: TERM, then KILL after so many seconds (0: KILL at once); < 0
 * leaves it alone.  Default 0. */
void child_leftover(struct child *c, double grace);

/* Queues bytes for its stdin.  False when more than limit would wait. */
bool child_write(struct child *c, const char *buf, size_t len, size_t limit);

/* Where what outlives herod is kept about a stream's output. */
static inline struct transit_place
child_place(const struct child *c, int stream)
{
	return (struct transit_place){c->transit, c->id, (uint32_t)stream};
}

/* In output(): number of the piece in hand, greater than any before; 0 when
 * it will not be handed out again, whatever happens. */
static inline uint64_t
child_piece(const struct child *c)
{
	return c->transit ? transit_number(c->transit) : 0;
}

/* Reads a stream a little late (1 ms after a short read), which makes a
 * flood of small writes several times cheaper.  For logs, not replies. */
void child_be_lazy(struct child *c, int stream);

/* Hands out what a stream holds now, before anything else is done: not from
 * within output().  False: its owner does not want it now. */
bool child_read_now(struct child *c, int stream);

/* "exit 3", "SIGSEGV (core dumped)", "exec /bin/x: No such file ..." */
const char *child_end_text(const struct child *c, char *buf, size_t size);

#endif
