/*
 * Making way for the herod and herod-keeper that are installed now.
 *
 * Both are asked first, as processes of their own, whether they are of use
 * here; only then the keeper is asked to execute the new one in its own
 * place.  The end of this herod, and the next one, are as after a crash: no
 * process is touched.  Beyond that, open connections are handed over
 * (handover.h).
 */
#ifndef UPGRADE_H
#define UPGRADE_H

#include <ev.h>

#include "err.h"

struct keeper;
struct upgrade;

/*
 * words: herod's path, the options it was started with and --check; taken
 * over.  hold() is told when it may come to our end at any moment, and when
 * it did not.
 */
struct upgrade *upgrade_new(struct ev_loop *loop, struct keeper *k,
    char **words, void (*hold)(void *arg, bool hold), void *arg);
void upgrade_free(struct upgrade *u);

/*
 * Begins one; at most one is under way.  done() is called once, with what
 * made it impossible (nothing was changed then), or with NULL: this process
 * ends now.  Returns -1 with a refusal.
 */
typedef void (*upgrade_fn)(void *arg, const struct err *e);
int upgrade_begin(struct upgrade *u, upgrade_fn done, void *arg, struct err *e);

/* Nobody waits for done() any more; it goes on. */
void upgrade_unask(struct upgrade *u);

/* herod is to end: none begins any more, and one that can still be given up
 * is. */
void upgrade_close(struct upgrade *u);

/* What keeper_ops tell. */
void upgrade_refused(struct upgrade *u, int error);
void upgrade_replaced(struct upgrade *u);

/* The herod-keeper of a herod: beside it (a build directory), or where it
 * was installed; new string. */
char *keeper_path(const char *herod);

/* For --check: is its keeper there, and does it speak as we do?  Waits for
 * it. */
int keeper_check(const char *herod, struct err *e);

#endif
