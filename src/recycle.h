/*
 * Processes that have become too old (max_age) or too big (max_rss) make
 * room for new ones.  Runners without these settings cost nothing here.
 */
#ifndef RECYCLE_H
#define RECYCLE_H

#include "runner.h"

/* A RUNNING instance is looked at from now on, if its settings ask for it;
 * with a process that has to go, instance_recycle() follows. */
void recycle_watch(struct instance *i);
void recycle_unwatch(struct instance *i);

#endif
