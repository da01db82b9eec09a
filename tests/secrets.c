/* Keys where none should be. */
#include "secrets.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "hero_"
#define ID_LEN 8
#define SECRET_LEN 52 /* of the last part */
#define ENOUGH 13 /* of it to be one, for it may be cut off */

/* Where secrets are by right, as paths in the test's directory. */
static const char *const allowed[] = {
    "*.conf", /* the configuration, which a test wrote */
    "*.env", /* env_file of a runner, the same */
    "key",
    "*.key", /* what herod or heroctl has printed for whom asked */
    "*redis/*", /* payloads of jobs: appendonlydir, dump.rdb */
    "state*/spool/*",
    "state*/spool", /* the same, while Redis is away */
    /* Settings of runners, with their environment; nobody else may read it. */
    "state*/conf.json",
    "state*/runners.json",
};

const char *
secret_of(const char *word, char text[SECRET_SIZE])
{
	size_t i, len = strlen(word);

	snprintf(text, SECRET_SIZE, PREFIX "%.8s%.*s_", word,
	    (int)(len < ID_LEN ? ID_LEN - len : 0), "xxxxxxxx");
	for (i = strlen(text); i + 1 < SECRET_SIZE; i++)
		text[i] = word[i % len];
	text[i] = '\0';
	return text;
}

static bool
are_digits(const char *at, const char *end, size_t n)
{
	if ((size_t)(end - at) < n)
		return false;
	for (; n > 0; n--, at++)
		if (!((*at >= 'a' && *at <= 'z') || (*at >= '2' && *at <= '7')))
			return false;
	return true;
}

bool
has_secret(const char *bytes, size_t len)
{
	const char *at = bytes, *end = bytes + len;
	size_t prefix = strlen(PREFIX);

	for (; (at = memmem(at, (size_t)(end - at), PREFIX, prefix)) != NULL;) {
		at += prefix;
		if (are_digits(at, end, ID_LEN) && end - at > ID_LEN &&
		    at[ID_LEN] == '_' &&
		    are_digits(at + ID_LEN + 1, end, ENOUGH))
			return true;
	}
	return false;
}

/* ---- files ---- */

static size_t root_len; /* of the directory's path, with its slash */
static int nfound;

static bool
is_allowed(const char *path)
{
	size_t i;

	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (fnmatch(allowed[i], path, 0) == 0)
			return true;
	return false;
}

static bool
file_has_secret(const char *path, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	void *map = size == 0 || fd == -1
	    ? MAP_FAILED
	    : mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	bool found;

	if (fd != -1)
		close(fd);
	if (map == MAP_FAILED)
		return false;
	found = has_secret(map, size);
	munmap(map, size);
	return found;
}

static int
look_at(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)at;
	if (kind != FTW_F || !S_ISREG(st->st_mode) ||
	    is_allowed(path + root_len) ||
	    !file_has_secret(path, (size_t)st->st_size))
		return 0;
	fprintf(stderr, "a secret was left in %s\n", path + root_len);
	nfound++;
	return 0;
}

int
secrets_left(const char *dir)
{
	root_len = strlen(dir) + 1;
	nfound = 0;
	nftw(dir, look_at, 16, FTW_PHYS);
	return nfound;
}
