/*
 * Any keys.json: it is refused with a sentence, or all that it says is known,
 * can be added to, and is the same when it is read again.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/fuzz_keys.XXXXXX";
static char path[sizeof(directory) + 16];
static struct ev_loop *loop;

static void
leave_directory(void)
{
	unlink(path);
	rmdir(directory);
}

static void
prepare_once(void)
{
	if (loop != NULL)
		return;
	loop = ev_loop_new(EVFLAG_AUTO);
	if (mkdtemp(directory) == NULL)
		abort();
	snprintf(path, sizeof(path), "%s/keys.json", directory);
	atexit(leave_directory);
}

static void
write_file(const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd == -1 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static json_t *
all_keys(struct err *e)
{
	struct keys *k = keys_open(loop, directory, e);
	json_t *all = k ? keys_list(k) : NULL;

	keys_free(k);
	return all;
}

static void
add_one(const char *name)
{
	struct key_wanted wanted = {name, SCOPE_USER, 0, NULL};
	struct keys *k = keys_open(loop, directory, NULL);
	struct key_given given;
	struct err e = {0};
	char *key = keys_create(k, &wanted, &e);

	if (key == NULL ? e.code != ERR_EXISTS
			: keys_check(k, key, "fuzz", &given, &e) != 0)
		abort();
	free(key);
	keys_free(k);
}

static void
check_all(json_t *before)
{
	json_t *after, *one;
	size_t i;

	add_one("added_by_the_fuzzer");
	after = all_keys(NULL);
	json_array_foreach (before, i, one)
		if (!json_equal(one, json_array_get(after, i)))
			abort();
	json_decref(after);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	json_t *all;

	prepare_once();
	write_file(data, size);
	all = all_keys(&e);
	if (all == NULL && e.text[0] == '\0')
		abort();
	if (all != NULL)
		check_all(all);
	json_decref(all);
	return 0;
}
