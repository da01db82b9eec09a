/* What a process wrote, kept over herod's death. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"
#include "journal.h"
#include "mem.h"

static void
add(struct journal *j, const char *text)
{
	check_int(journal_add(j, 0, text, strlen(text)), 1);
}

static const char *
all_of(const struct journal *j)
{
	static char buf[4096];
	ssize_t n = journal_read(j, j->begin, buf, sizeof(buf) - 1);

	check(n >= 0);
	buf[n] = '\0';
	return buf;
}

void
test_what_was_added_is_there_after_a_crash(void)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	struct journal j, after;

	journal_begin(&j, fd, 0);
	add(&j, "one\n");
	add(&j, "two\n");
	journal_resume(&after, fd, 0);
	check_str(all_of(&after), "one\ntwo\n");
	check_int((long long)after.begin, 0);
	add(&after, "three\n");
	check_str(all_of(&after), "one\ntwo\nthree\n");
}

void
test_a_piece_that_comes_again_is_passed_over_once(void)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	struct journal j;

	journal_begin(&j, fd, 0);
	check_int(journal_add(&j, 6, "one\n", 4), 1);
	check_int(journal_add(&j, 7, "two\n", 4), 1);
	journal_resume(&j, fd, 0);
	check_int(journal_add(&j, 7, "two\n", 4), 0);
	/* The same text in another piece is new text. */
	check_int(journal_add(&j, 8, "two\n", 4), 1);
	check_str(all_of(&j), "one\ntwo\ntwo\n");
}

void
test_what_was_dropped_stays_away_after_a_crash(void)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	char *page = xmalloc(100001);
	struct journal j, after;
	struct stat st;
	int i;

	memset(page, 'x', 100000);
	page[100000] = '\0';
	journal_begin(&j, fd, (off_t)1 << 40);
	for (i = 0; i < 100; i++)
		add(&j, page);
	add(&j, "rest\n");
	journal_drop(&j, j.end - 5);
	check_str(all_of(&j), "rest\n");
	journal_resume(&after, fd, (off_t)1 << 40);
	check_str(all_of(&after), "rest\n");
	check_int(fstat(fd, &st), 0);
	check(st.st_blocks < 100);
	/* All of it. */
	journal_drop(&after, after.end);
	journal_resume(&j, fd, (off_t)1 << 40);
	check_str(all_of(&j), "");
	check_int((long long)j.begin, (long long)j.end);
	add(&j, "more");
	check_str(all_of(&j), "more");
	free(page);
}

void
test_two_in_one_file_do_not_meet(void)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	struct journal a, b, after;

	journal_begin(&a, fd, 0);
	journal_begin(&b, fd, (off_t)1 << 40);
	add(&b, "b");
	add(&a, "a");
	journal_drop(&a, a.end);
	journal_resume(&after, fd, 0);
	check_str(all_of(&after), "");
	journal_resume(&after, fd, (off_t)1 << 40);
	check_str(all_of(&after), "b");
}

void
test_what_is_erased_in_between_is_gone(void)
{
	int fd = memfd_create("t", MFD_CLOEXEC);
	struct journal j, after;
	char buf[16];

	journal_begin(&j, fd, 0);
	add(&j, "one\n");
	add(&j, "two\n");
	add(&j, "six\n");
	journal_erase(&j, 4, 8);
	journal_resume(&after, fd, 0);
	check_int(journal_read(&after, 0, buf, sizeof(buf)), 12);
	check(!memcmp(buf, "one\n\0\0\0\0six\n", 12));
	journal_drop(&after, 4);
	journal_resume(&j, fd, 0);
	check_str(all_of(&j), "six\n");
}

void
test_without_a_file_nothing_is_kept(void)
{
	struct journal j;

	journal_begin(&j, -1, 0);
	add(&j, "one\n");
	check_int((long long)j.end, 0);
	journal_drop(&j, 4);
}
