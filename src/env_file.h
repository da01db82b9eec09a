/*
 * Files of variables, a NAME=VALUE a line.
 */
#ifndef ENV_FILE_H
#define ENV_FILE_H

#include "err.h"

#define ENV_FILE_MAX (1024 * 1024) /* bytes */

/*
 * Appends a "NAME=VALUE" for each line to *list (a strv, NULL when empty).
 * Quotes around a value are taken off, and a leading "export"; lines that
 * are empty or begin with # are skipped.  Returns 0, or -1 with a refusal
 * that names file and line, *list as it was.
 */
int env_file_read(const char *path, char ***list, struct err *e);

#endif
