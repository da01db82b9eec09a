/*
 * System calls that this process is refused for good (seccomp(2)): what herod
 * never needs, so that who has got hold of it has less to try.  The rows are
 * in seccomp.def.
 *
 * For a herod whose keeper is another user's only: one that takes the place of
 * its keeper executes it, and runners would inherit the filter.
 */
#ifndef SECCOMP_H
#define SECCOMP_H

/* From now on, for threads and children that come, too.  How many calls; -1
 * with errno: none, as the kernel or the machine knows no filter.  Wants
 * no_new_privs or root. */
int seccomp_begin(void);

#endif
