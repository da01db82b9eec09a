/*
 * Secrets as they are kept: "sha256:" and 64 hex digits (FIPS 180-4).  What is
 * to be kept secret is random or long, so that no salt is needed.
 */
#ifndef SECRET_H
#define SECRET_H

#include <stdbool.h>

#define DIGEST_SIZE 72

const char *secret_digest(const char *secret, char digest[DIGEST_SIZE]);

bool is_digest(const char *text);

/* How long it takes tells nothing of where they differ. */
bool digests_are_equal(const char *a, const char *b);

/* Overwrites a text that was shown and is needed no more; its owner, such as
 * JSON, still has to free it. */
void secret_forget(const char *text);

/* Keys begin so; then come an id, "_" and the secret, in base32. */
#define KEY_PREFIX "hero_"
#define KEY_ID_LEN 8

/* In a sentence, which may quote what a peer sent and may end anywhere: of each
 * key only the id stays, "hero_abcdefgh_...". */
void secret_mask(char *text);

#endif
