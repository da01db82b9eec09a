/*
 * How often herod and its keeper have died and were replaced, counted in
 * memory that outlives both: its descriptor is kept with the keeper.
 */
#ifndef LIVES_H
#define LIVES_H

/* Goes on with the one that is held, or with a new one (held -1).  The
 * descriptor is the caller's, and no more needed here; -1: there is no memory,
 * and 0 is told. */
int lives_open(int held);

void lives_count_herod(void); /* we go on for one that has died, or left */
void lives_count_keeper(void); /* herod takes its place */

unsigned long long lives_herods(void);
unsigned long long lives_keepers(void);

#endif
