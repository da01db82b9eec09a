/*
 * Environment variables that a job may bring along.
 */
#ifndef ENV_VARS_H
#define ENV_VARS_H

#include "err.h"

/* NAME=VALUE pairs, a strv.  Refuses what is no name of a variable, and names
 * that only herod may set.  Returns 0 or -1. */
int env_vars_check(char *const *pairs, struct err *e);

#endif
