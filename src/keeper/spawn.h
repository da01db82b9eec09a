/*
 * From fork(2) to execve(2): a child in its own session with what SPAWN
 * asks for and nothing else of ours.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include "identity.h"
#include "table.h"

/* What children get back of what the keeper changed for itself, and what
 * all share. */
struct spawn_base {
	int null_fd;
	bool big_pipes; /* 1 MiB for output; root only, see pipe(7) */
	struct rlimit nofile;
	char oom_score_adj[16]; /* "" when it was not changed */
	struct identity identity; /* of those who ask for no user */
};

/* Raises and notes what struct spawn_base says. */
void spawn_base_init(struct spawn_base *base, int null_fd);

/* In a new process: default signals, none blocked. */
void signals_reset(void);

/*
 * Forks.  Fills pid, exec_fd and fds and calls table_forked(), or calls
 * table_failed().  The descriptor exec_fd gives end of file once it was
 * executed; else see spawn_result().
 */
void spawn(struct table *t, struct entry *e, const struct wire_spawn *s,
    const struct wire_fds *given, const struct spawn_base *base);

/* 1: executed; -1: it was not, for this reason; 0: not known yet. */
int spawn_result(int exec_fd, unsigned *stage, int *error);

#endif
