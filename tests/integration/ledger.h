/*
 * The ledger: no job that was acknowledged is lost, each is over once, was
 * executed at least once, every further execution is explained, and never are
 * two at work on the same job nor, while no node is absent, on two of one
 * concurrency_key.  Explained is what follows
 *
 *	- a failure of the execution before, or the death of its process;
 *	- the death of its node's keeper: then how it ended cannot be known, and
 *	  what was just being started is ended;
 *	- an absence of a node (see struct absence).
 *
 * $LEDGER_SECONDS says how long, $LEDGER_SEED repeats.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdio.h>

#include "herod.h"

struct side {
	struct herod *h;
	const char *name; /* of the node, one letter */
	const char *runners[4]; /* NULL behind the last */
	FILE *door; /* NULL: to be opened */
	bool is_away; /* asked for nothing */
};

struct record {
	char what, node, id[32]; /* ledger_worker.c has the words */
	pid_t pid;
	long long at; /* ns since boot, as all times here */
};

struct kill {
	pid_t pid; /* 0: of the node's keeper */
	char node;
	long long at;
};

/*
 * A node that Redis has not heard of for node_timeout: others took its jobs
 * while it may have been at work on them.  In that time, and only of a job that
 * was in its hands, another execution may begin without any other cause, and
 * beside one that goes on: the two are of different nodes, one of them this
 * one.  It may be the later one, too: one that comes back goes on where it was
 * before it learns what has happened.
 */
struct absence {
	char node;
	long long from, to;
	/* Its claims when it was stopped, each between blanks; NULL when it was
	 * not the test that made it absent (a slow machine did): then it is
	 * what it had begun and not ended by then. */
	const char *held;
};

struct ledger {
	unsigned seed;
	struct side sides[2];
	size_t nsides;
	const char *worker; /* the program */
	char *line;
	size_t size; /* of the line */
	long seconds; /* of ledger_run(), when the environment says nothing */
	unsigned most_ms; /* that a job takes */
	long queued; /* jobs are numbered from 1 */
	long over; /* up to this one all are */
	struct kill *kills;
	size_t nkills;
	struct absence absences[1000];
	size_t nabsences;
	long of_workers, of_herod, of_keeper, of_redis, stops;
	struct record *records;
	size_t nrecords, room;
};

struct mishap {
	unsigned weight;
	void (*fn)(struct ledger *l);
};

/* Then the sides are to be filled in. */
void ledger_begin(struct ledger *l);

/* Makes jobs and lets mishaps happen; seen (or NULL) after each. */
void ledger_run(struct ledger *l, const struct mishap *mishaps, size_t n,
    void (*seen)(struct ledger *l));

/* Makes some jobs, while mishaps happen elsewhere. */
void ledger_produce(struct ledger *l);

/* Waits until all are over, checks it all and ends the herods. */
void ledger_end(struct ledger *l);

/* Less than sides. */
unsigned dice(struct ledger *l, unsigned sides);
long long now_ns(void);

/* What a runner of the ledger is told: the configuration of all three, as the
 * side's. */
const char *ledger_runner(
    const struct ledger *l, const char *node, const char *kind);

/* For tests: what would be pauses between herods' deaths and new lives is as
 * short as may be. */
#define LEDGER_DEFAULTS \
	AT_ONCE "startretries = -1\nbackoff_base = 0.02\nbackoff_max = 0.2\n" \
		"autorestart = always\njob_backoff = 0.05\n" \
		"job_poison_limit = 1000\n"

/* ---- what befalls them: one of them, by chance ---- */

/* The skip-th, or the last, process of the test that runs this program; 0:
 * none. */
pid_t process_of(const char *program, unsigned skip);

void kill_worker(struct ledger *l);
void pause_worker(struct ledger *l);
void kill_herod(struct ledger *l);
void pause_herod(struct ledger *l);
void kill_keeper(struct ledger *l);
void pause_redis(struct ledger *l);

#endif
