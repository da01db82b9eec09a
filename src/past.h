/*
 * What befell instances of late, in a file of the state directory
 * (places.h): the herod after us goes on with failures, delays and FATAL as
 * if it had seen them.
 *
 * After a reboot, or an orderly end of herod, nothing is known of the past.
 */
#ifndef PAST_H
#define PAST_H

#include "runner.h"

struct past;

/* What an instance was doing when herod died.  Times without a unit are by
 * clock_monotonic(), which holds within one boot. */
struct before {
	enum state state;
	enum fault fault;
	unsigned id; /* of its process with the keeper; 0: it had none */
	unsigned over; /* of the last one whose end was dealt with, */
	double over_began; /* in Unix seconds */
	double since, ready_at; /* Unix seconds */
	double began, up_at, timer_at; /* as in struct instance; timer_at is
					* -1 where none ran */
	char why[WHY_MAX];
};

/* For the one who holds the lock of the directory; NULL: without it nothing
 * will be known, which is logged. */
struct past *past_open(const char *state_dir);
void past_close(struct past *p);

/* Without a lock: does the file know anything? */
bool past_remains(const char *state_dir);

/*
 * Tells each instance what it was: its counts are as they were, and the rest
 * is in i->before, which is the caller's to free.
 */
void past_tell(struct past *p, struct runners *rs);

/* Writes down what is so now, or that there is nothing to know.  p may be
 * NULL. */
void past_keep(struct past *p, struct instance *i);

/* It is about to be freed. */
void past_drop(struct past *p, struct instance *i);

#endif
