/*
 * The guard: starts herod, which becomes herod-keeper, and starts it again
 * when that was killed.  Needed only where herod has a user of its own: it
 * cannot take the keeper's place then, for it could not be root.
 *
 * It is the process that a service manager sees, and hands on signals.
 */
#ifndef GUARD_H
#define GUARD_H

/* argv: of herod, with room for two more words, "--guarded N", N being
 * ready_fd the first time, else -1.  Returns the code to end with. */
int guard(char **argv, int ready_fd);

#endif
