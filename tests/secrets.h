/*
 * Keys where none should be.  What looks like one (hero_ID_SECRET, as herod
 * makes them) may stand in what a test left only where somebody put it by
 * right; so tests give their secrets and precious payloads this form.
 */
#ifndef SECRETS_H
#define SECRETS_H

#include <stdbool.h>
#include <stddef.h>

/* Something of that form that no other word gives; word: at most 8 of a-z. */
#define SECRET_SIZE 67
const char *secret_of(const char *word, char text[SECRET_SIZE]);

/* Is a key in it, or the first quarter of one? */
bool has_secret(const char *bytes, size_t len);

/* Tells on stderr of every file in and below the directory that has one and
 * should not; how many. */
int secrets_left(const char *dir);

#endif
