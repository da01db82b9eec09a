/*
 * The words between herod and herod-keeper.
 *
 * One message is one datagram of a SOCK_SEQPACKET pair, packed field by
 * field (little endian, no padding, no pointers):
 *
 *	byte 0    version
 *	byte 1    op
 *	byte 2    which descriptors come along (bits of enum wire_fd)
 *	byte 3-6  id of the child it is about, or 0
 *	...       fields of the op, in the order of its wire_put function
 *
 * Descriptors travel beside it by SCM_RIGHTS, in the order of their bits.
 * A reader can never overrun: a cursor that meets the end sets failed and
 * gives zeros from then on.  Only libc is needed here.
 */
#ifndef KEEPER_WIRE_H
#define KEEPER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define WIRE_VERSION 2
#define WIRE_MAX (128 * 1024) /* bytes of one message */
#define WIRE_CHILDREN_MAX 8192 /* that the keeper has room for */
#define WIRE_STRINGS_MAX 8192 /* argv and envp with their final NULLs */
#define WIRE_TAG_MAX 1024 /* with NUL */
#define WIRE_NAME_MAX 256 /* of a stored descriptor, with NUL */
#define WIRE_PATH_MAX 4096 /* with NUL */
#define WIRE_STDERR_NAME "stderr" /* of one that the keeper itself uses */
#define WIRE_GROUPS_MAX 64
#define WIRE_RLIMITS_MAX RLIM_NLIMITS
#define WIRE_READY_FD_MAX 9
/* Name (comm) of a child until it is executed: pid of the keeper, id. */
#define WIRE_CHILD_NAME "%x-%x"

enum wire_op {
	/* herod to keeper */
	WIRE_SPAWN =
	    1, /* struct wire_spawn; stdin, keep, cgroup may come along */
	WIRE_SIGNAL, /* signal, to the group? */
	WIRE_ACK, /* its end was seen: forget it */
	WIRE_TAG, /* new tag */
	WIRE_STORE, /* name, with a descriptor as keep */
	WIRE_DROP, /* name */
	WIRE_LIST, /* tell all from the start */
	WIRE_READY, /* from now on start me again when I die */
	WIRE_STOP, /* code to end with when I have ended */
	WIRE_UPGRADE, /* path of the keeper to execute in your place */
	/* keeper to herod */
	WIRE_STARTED = 64, /* pid, time; pidfd and pipes come along */
	WIRE_FAILED, /* stage, errno */
	WIRE_EXIT, /* struct wire_exit */
	WIRE_GONE, /* the rest of its group is gone */
	WIRE_PAUSED, /* stopped or continued */
	WIRE_CHILD, /* struct wire_child; what STARTED gave, and keep */
	WIRE_STORED, /* name, with the descriptor as keep */
	WIRE_END_OF_LIST, /* id: the first that was never used; base, u8
			   * WIRE_RESUME_VERSION */
	WIRE_REFUSED /* errno: the upgrade cannot be, all is as it was */
};

/* Steps of a start that can fail. */
#define WIRE_STAGES(X) \
	X(TABLE, "table") /* too many children */ \
	X(DESCRIPTORS, "descriptors") /* one sent to us did not fit */ \
	X(PIPE, "pipe") \
	X(FORK, "fork") \
	X(CGROUP, "cgroup") \
	X(SETSID, "setsid") \
	X(STDIO, "stdio") \
	X(NICE, "nice") \
	X(OOM, "oom_score_adj") \
	X(GROUPS, "setgroups") \
	X(SETGID, "setgid") \
	X(SETUID, "setuid") \
	X(PRIVS, "no_new_privs") \
	X(CHDIR, "chdir") \
	X(EXEC, "exec") \
	X(USER, "user") /* not one that runners may be */

enum wire_stage {
#define WIRE_STAGE_ENUM(name, word) WIRE_STAGE_##name,
	WIRE_STAGES(WIRE_STAGE_ENUM)
#undef WIRE_STAGE_ENUM
	    WIRE_STAGE_COUNT
};

/* Of a limit that was refused, the stage is this and its RLIMIT_ number. */
#define WIRE_STAGE_RLIMIT 128

/* "chdir" for WIRE_STAGE_CHDIR, "rlimit_core" for WIRE_STAGE_RLIMIT +
 * RLIMIT_CORE; "start" when out of range. */
const char *wire_stage_word(unsigned stage);

enum wire_fd {
	WIRE_PIDFD,
	WIRE_STDIN, /* what we write to; in SPAWN, what the child reads */
	WIRE_STDOUT,
	WIRE_STDERR,
	WIRE_KEEP,
	WIRE_READINESS, /* where it tells that it is ready; we read */
	WIRE_CGROUP, /* only in SPAWN: directory of the one to begin in */
	WIRE_FDS
};

struct wire_fds {
	int fd[WIRE_FDS]; /* -1: none */
};

void wire_fds_init(struct wire_fds *fds);
void wire_fds_close(struct wire_fds *fds);

/* Takes one out, leaving -1. */
int wire_fds_take(struct wire_fds *fds, enum wire_fd which);

/* A message being written. */
struct wire_out {
	uint8_t *buf;
	size_t len, size;
	bool failed; /* it did not fit */
};

/* Begins a message in buf. */
void wire_begin(
    struct wire_out *out, void *buf, size_t size, enum wire_op op, uint32_t id);
void wire_put_u8(struct wire_out *out, uint8_t v);
void wire_put_u32(struct wire_out *out, uint32_t v);
void wire_put_u64(struct wire_out *out, uint64_t v);
void wire_put_string(struct wire_out *out, const char *s);

/* The fields of a message being read. */
struct wire_in {
	const uint8_t *at;
	size_t left;
	bool failed; /* something was missing or out of bounds */
};

uint8_t wire_get_u8(struct wire_in *in);
uint32_t wire_get_u32(struct wire_in *in);
uint64_t wire_get_u64(struct wire_in *in);

/* Points into the message; fails ("") from size bytes on, NUL counted. */
const char *wire_get_string(struct wire_in *in, size_t size);

/* Everything was there and nothing is left over. */
bool wire_is_whole(const struct wire_in *in);

struct wire_message {
	enum wire_op op;
	uint32_t id;
	struct wire_in body;
	struct wire_fds fds; /* the receiver's to close */
	bool fds_lost; /* some did not fit into our table of files */
};

/* Reads the head; fds go to their places, superfluous ones are closed.
 * False (all closed) when it is not a message of ours. */
bool wire_parse(const void *buf, size_t len, const int *fds, size_t nfds,
    struct wire_message *m);

/* Sends without waiting; fds (or NULL) stay the caller's.  0, or -1 with
 * errno; EMSGSIZE when out has failed. */
int wire_send(int sock, struct wire_out *out, const struct wire_fds *fds);

/* Receives without waiting: 1 and a message in buf, 0 at the end, or -1
 * with errno; EBADMSG: one that is none was thrown away, go on. */
int wire_recv(int sock, void *buf, size_t size, struct wire_message *m);

/* Room for large messages in both directions of a new pair. */
void wire_socket_setup(int sock);

enum {
	WIRE_SET_USER = 1,
	WIRE_STDIN_PIPE = 2,
	WIRE_STDERR_TO_STDOUT = 4,
	WIRE_NO_NEW_PRIVS = 8
};

struct wire_spawn {
	unsigned flags;
	char *const *argv;
	char *const *envp;
	const char *directory;
	const char *tag;
	uid_t uid;
	gid_t gid;
	gid_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
	mode_t umask;
	int nice; /* 0: leaves ours */
	int oom_score_adj; /* 0: leaves what we were started with */
	int ready_fd; /* its number in the child, 3..9; 0: none */
	struct {
		int resource;
		rlim_t value;
	} rlimits[WIRE_RLIMITS_MAX];
	size_t nrlimits;
};

/* Strings of what is read stay in the message, their pointers in room (of
 * WIRE_STRINGS_MAX). */
void wire_put_spawn(struct wire_out *out, const struct wire_spawn *s);
bool wire_get_spawn(struct wire_in *in, struct wire_spawn *s, char **room);

struct wire_exit {
	int status; /* as by wait(2) */
	struct rusage rusage;
	int64_t at_ns; /* Unix time */
	bool group_left; /* its process group has members left */
	bool unknown; /* how it ended: status and rusage tell nothing */
};

void wire_put_exit(struct wire_out *out, const struct wire_exit *x);
bool wire_get_exit(struct wire_in *in, struct wire_exit *x);

struct wire_child {
	pid_t pid;
	bool started; /* executed; else STARTED or FAILED follows */
	bool paused;
	int64_t started_ns; /* Unix time */
	const char *tag;
};

void wire_put_child(struct wire_out *out, const struct wire_child *c);
bool wire_get_child(struct wire_in *in, struct wire_child *c);

/* What children get back of what the keeper changed for itself; told with
 * END_OF_LIST for a herod that has to take the keeper's place. */
struct wire_base {
	struct rlimit nofile;
	char oom_score_adj[16]; /* "" when it was not changed */
};

void wire_put_base(struct wire_out *out, const struct wire_base *b);
bool wire_get_base(struct wire_in *in, struct wire_base *b);

/*
 * What a keeper is told that is executed with --resume, in a file, by herod
 * (the keeper was killed) or the keeper before it (an upgrade):
 *
 *	WIRE_RESUME_VERSION, struct wire_head
 *	WIRE_KEPT_CHILD or WIRE_KEPT_FD with their fields, any number
 *	WIRE_KEPT_END
 *
 * Descriptors are numbers of open ones without close-on-exec.  Who writes
 * may be older than who reads: with a new version the old one stays readable,
 * or --resumes has to say no.
 */
#define WIRE_RESUME_VERSION 3 /* in 2 only foreign ones have a pidfd */
#define WIRE_RESUME_OLDEST 2 /* that is understood, too */

struct wire_head {
	uint32_t next_id;
	struct wire_base base;
	pid_t herod; /* lives, and makes way for another; 0: none */
	int sock; /* to it */
};

void wire_put_head(struct wire_out *out, const struct wire_head *h);
bool wire_get_head(struct wire_in *in, struct wire_head *h);

enum { WIRE_KEPT_END, WIRE_KEPT_CHILD, WIRE_KEPT_FD };

enum {
	WIRE_KEPT_PAUSED = 1,
	WIRE_KEPT_ENDED = 2, /* exit tells how, unless it is FAILED */
	WIRE_KEPT_FOREIGN = 4, /* no child of who reads this */
	WIRE_KEPT_STARTING = 8, /* not yet executed: exec_fd will tell */
	WIRE_KEPT_FAILED = 16 /* was not executed: stage and error tell why */
};

/* A process that a keeper before has forked. */
struct wire_kept {
	uint32_t id;
	pid_t pid; /* 0: FAILED before there was one */
	unsigned flags;
	int64_t started_ns;
	struct wire_exit exit;
	int64_t zombie_ms; /* as in struct entry */
	unsigned stage;
	int error;
	int exec_fd;
	const char *tag;
	struct wire_fds fds; /* as in struct entry */
};

void wire_put_kept(struct wire_out *out, const struct wire_kept *c);
bool wire_get_kept(struct wire_in *in, struct wire_kept *c);

/* Writes what was put to a file, and empties the buffer. */
bool wire_write(int file, struct wire_out *out);

#endif
