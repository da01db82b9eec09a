/*
 * One look at an address, for herod --probe: a process of its own, since
 * names are resolved and answers waited for.
 */
#ifndef LOOK_H
#define LOOK_H

/* tcp:HOST:PORT (somebody listens) or http://HOST[:PORT][/PATH] (answers
 * 2xx or 3xx).  Says what was found on stdout; 0 when it is well, else an
 * exit status. */
int look_at(const char *target);

#endif
