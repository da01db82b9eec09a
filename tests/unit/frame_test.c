/* Lines out of a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "frame.h"
#include "mem.h"

static void
feed(struct frame *f, const char *text, size_t len)
{
	size_t room;
	char *to = frame_room(f, len, &room);

	check(room >= len);
	memcpy(to, text, len);
	frame_add(f, len);
}

/* All lines that are there, each in <>. */
static void
drain(struct frame *f, char *to, size_t size)
{
	char *line;
	size_t len;

	while ((line = frame_line(f, &len)) != NULL) {
		check_int(line[len], '\0');
		strlcat(to, "<", size);
		strlcat(to, line, size);
		strlcat(to, ">", size);
	}
}

void
test_lines_come_whole_wherever_the_stream_is_cut(void)
{
	static const char text[] = "one\ntwo\r\n\n\r\nthr\ree\r\nrest";
	struct frame f;
	char got[100];
	size_t cut, step;

	for (step = 1; step < sizeof(text); step++) {
		frame_init(&f);
		*got = '\0';
		for (cut = 0; cut < strlen(text); cut += step) {
			size_t left = strlen(text) - cut;

			feed(&f, text + cut, left < step ? left : step);
			drain(&f, got, sizeof(got));
		}
		check_str(got, "<one><two><><><thr\ree>");
		check_int((long long)frame_rest(&f), 4);
		frame_clear(&f);
	}
}

void
test_has_line_tells_without_taking(void)
{
	struct frame f;
	size_t len;

	frame_init(&f);
	check(!frame_has_line(&f));
	feed(&f, "a", 1);
	check(!frame_has_line(&f));
	feed(&f, "b\nc\nd", 5);
	check(frame_has_line(&f));
	check(frame_has_line(&f));
	check_str(frame_line(&f, &len), "ab");
	check(frame_has_line(&f));
	check_str(frame_line(&f, &len), "c");
	check(!frame_has_line(&f));
	check(frame_line(&f, &len) == NULL);
	check_int((long long)frame_rest(&f), 1);
	frame_clear(&f);
}

void
test_a_line_may_hold_any_byte_but_a_newline(void)
{
	struct frame f;
	char text[256], *line;
	size_t i, len;

	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)(i == '\n' ? 'x' : i);
	frame_init(&f);
	feed(&f, text, sizeof(text));
	feed(&f, "\n", 1);
	line = frame_line(&f, &len);
	check_int((long long)len, sizeof(text));
	check(memcmp(line, text, sizeof(text)) == 0);
	frame_clear(&f);
}

void
test_a_long_line_grows_and_short_ones_do_not(void)
{
	struct frame f;
	char *big = xmalloc(1000000);
	size_t len, i;

	memset(big, 'x', 1000000);
	frame_init(&f);
	for (i = 0; i < 10; i++)
		feed(&f, big, 100000);
	check_int((long long)frame_rest(&f), 1000000);
	feed(&f, "\n", 1);
	check(frame_line(&f, &len) != NULL);
	check_int((long long)len, 1000000);
	frame_clear(&f);
	for (i = 0; i < 100000; i++) {
		feed(&f, "a line\n", 7);
		check(frame_line(&f, &len) != NULL);
	}
	check(f.size <= 8192);
	frame_clear(&f);
	free(big);
}
