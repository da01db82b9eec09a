/*
 * Feeds a fuzz target without libFuzzer: every seed of
 * tests/fuzz/seeds/NAME, each of its beginnings and each with single bytes
 * changed.  NAME is the program's own after "replay_"; files given as
 * arguments (a crash that libFuzzer found) are replayed instead.
 */
#include <sys/types.h>

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED_MAX (1 << 20)
#define VARIED_MAX 2048 /* longer seeds are fed as they are only */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t seed[SEED_MAX];
static unsigned long nfed;

/* A copy of exactly the size, so that sanitizers see one byte too many. */
static void
feed(size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, seed, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	nfed++;
}

static void
feed_beginnings(size_t size)
{
	size_t len;

	for (len = 0; len < size; len++)
		feed(len);
}

static void
feed_changed(size_t size)
{
	static const uint8_t flips[] = {0x01, 0x20, 0x80, 0xff};
	size_t at, i;

	for (at = 0; at < size; at++)
		for (i = 0; i < sizeof(flips); i++) {
			seed[at] ^= flips[i];
			feed(size);
			seed[at] ^= flips[i];
		}
}

/* Says the name first: the last line names the culprit of a crash. */
static int
replay(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t size;

	printf("%s\n", path);
	fflush(stdout);
	if (f == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(seed, 1, sizeof(seed), f);
	fclose(f);
	feed(size);
	if (size <= VARIED_MAX) {
		feed_beginnings(size);
		feed_changed(size);
	}
	return 0;
}

static int
replay_dir(const char *dir)
{
	char *path;
	struct dirent *entry;
	DIR *d = opendir(dir);
	int nseeds = 0;

	if (d == NULL) {
		fprintf(stderr, "%s: %s\n", dir, strerror(errno));
		return 0;
	}
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.' ||
		    asprintf(&path, "%s/%s", dir, entry->d_name) == -1)
			continue;
		nseeds += replay(path) == 0;
		free(path);
	}
	closedir(d);
	return nseeds;
}

static int
replay_seeds(const char *program)
{
	char dir[4096];
	const char *name = strrchr(program, '/');
	const char *source = getenv("HEROD_SOURCE");

	name = strstr(name ? name : program, "replay_");
	snprintf(dir, sizeof(dir), "%s/tests/fuzz/seeds/%s",
	    source ? source : ".", name ? name + strlen("replay_") : "");
	return replay_dir(dir);
}

int
main(int argc, char **argv)
{
	int i, nseeds = 0;

	if (argc == 1)
		nseeds = replay_seeds(argv[0]);
	for (i = 1; i < argc; i++)
		nseeds += replay(argv[i]) == 0;
	printf("%d seeds, %lu inputs\n%d passed, %d failed\n", nseeds, nfed,
	    nseeds > 0, nseeds == 0);
	return nseeds == 0;
}
