/* The record of processes that live. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "living.h"

static struct living_file *
open_here(void)
{
	struct living_file *f = living_open(".");

	check(f != NULL);
	return f;
}

static size_t
put(struct living_file *f, uint32_t id, int pid)
{
	struct living l = {.id = id, .pid = pid, .tag = "{}"};
	size_t place = living_take(f);

	living_put(f, place, &l);
	return place;
}

/* How many places are in use, and whose is the last. */
static int
count(const struct living_file *f, struct living *last)
{
	struct living l;
	size_t i;
	int n = 0;

	for (i = 0; i < living_count(f); i++)
		if (living_get(f, i, &l)) {
			*last = l;
			n++;
		}
	return n;
}

static void
spoil(off_t at, const char *bytes, size_t len)
{
	int fd = open(LIVING_NAME, O_WRONLY);

	check_int(pwrite(fd, bytes, len, at), (long long)len);
	close(fd);
}

void
test_who_was_written_down_is_found_again(void)
{
	struct living_file *f = open_here();
	struct living l;
	size_t place;

	put(f, 1, 100);
	place = put(f, 2, 200);
	put(f, 3, 300);
	living_clear(f, place);
	living_close(f);
	f = open_here();
	check_int(count(f, &l), 2);
	check_int(l.id, 3);
	check_int(l.pid, 300);
	check_str(l.tag, "{}");
	living_close(f);
}

void
test_places_are_used_again(void)
{
	struct living_file *f = open_here();
	struct stat before, after;
	int i;

	put(f, 1, 100);
	put(f, 2, 200);
	check_int(stat(LIVING_NAME, &before), 0);
	living_clear(f, 0);
	living_close(f);
	f = open_here();
	for (i = 0; i < 100; i++)
		living_clear(f, put(f, 3, 300));
	check_int(stat(LIVING_NAME, &after), 0);
	check_int(after.st_size, before.st_size);
	living_close(f);
}

/* Pitfall 9: after a reboot its numbers mean nothing. */
void
test_a_record_of_another_boot_is_begun_anew(void)
{
	struct living_file *f = open_here();
	struct living l;

	put(f, 1, 100);
	living_close(f);
	spoil(4, "another", 7);
	f = open_here();
	check_int(count(f, &l), 0);
	living_close(f);
}

void
test_what_makes_no_sense_is_passed_over(void)
{
	char noise[2048];
	struct living_file *f = open_here();
	struct living l;

	put(f, 1, 100);
	put(f, 2, 1); /* init is never ours */
	living_close(f);
	memset(noise, 'x', sizeof(noise));
	spoil(4096 + 2 * 2048, noise, sizeof(noise));
	spoil(4096 + 3 * 2048, noise, 7);
	f = open_here();
	check_int(count(f, &l), 1);
	check_int(l.id, 1);
	living_close(f);
}

void
test_a_link_is_not_followed(void)
{
	check_int(symlink("elsewhere", LIVING_NAME), 0);
	check(living_open(".") == NULL);
	check(access("elsewhere", F_OK) != 0);
}
