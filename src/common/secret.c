#include "secret.h"

#include <sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "sha256:"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

_Static_assert(
    DIGEST_SIZE == PREFIX_LEN + 2 * SHA256_DIGEST_LENGTH + 1, "DIGEST_SIZE");

void
secret_forget(const char *text)
{
	explicit_bzero((char *)(uintptr_t)text, strlen(text));
}

void
secret_mask(char *text)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	char *at = text, *end;
	size_t len;

	while ((at = strstr(at, KEY_PREFIX)) != NULL) {
		at += strlen(KEY_PREFIX);
		if (strspn(at, digits) != KEY_ID_LEN || at[KEY_ID_LEN] != '_')
			continue;
		at += KEY_ID_LEN + 1;
		len = strspn(at, digits);
		end = at + len;
		len = len < 3 ? len : 3;
		memset(at, '.', len);
		memmove(at + len, end, strlen(end) + 1);
	}
}

const char *
secret_digest(const char *secret, char digest[DIGEST_SIZE])
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	SHA2_CTX context;
	size_t i;

	SHA256Init(&context);
	SHA256Update(&context, (const uint8_t *)secret, strlen(secret));
	SHA256Final(hash, &context);
	explicit_bzero(&context, sizeof(context));
	strcpy(digest, PREFIX);
	for (i = 0; i < sizeof(hash); i++)
		snprintf(digest + PREFIX_LEN + 2 * i, 3, "%02x", hash[i]);
	return digest;
}

bool
is_digest(const char *text)
{
	return strlen(text) == DIGEST_SIZE - 1 &&
	    strncmp(text, PREFIX, PREFIX_LEN) == 0 &&
	    text[PREFIX_LEN + strspn(text + PREFIX_LEN, "0123456789abcdef")] ==
	    '\0';
}

bool
digests_are_equal(const char *a, const char *b)
{
	volatile unsigned char differs = 0;
	size_t i;

	for (i = 0; i < DIGEST_SIZE; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}
