/* Words: names, splitting, typos, signals, times. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "type.h"

/* Words joined by |, or "!" and the refusal. */
static char *
split(const char *text)
{
	struct err e = {0};
	char **words = words_split(text, &e), **w, *joined, *next;

	if (words == NULL)
		return xasprintf("!%s", e.text);
	joined = xstrdup("");
	for (w = words; *w; w++) {
		next = xasprintf("%s%s%s", joined, w == words ? "" : "|", *w);
		free(joined);
		joined = next;
	}
	strv_free(words);
	return joined;
}

static void
check_split(const char *text, const char *want)
{
	char *got = split(text);

	check_str(got, want);
	free(got);
}

void
test_words_split_as_a_shell_would(void)
{
	check_split("", "");
	check_split("  a  b\tc\n", "a|b|c");
	check_split(
	    "sh -c 'echo \"x y\"; exit 3'", "sh|-c|echo \"x y\"; exit 3");
	check_split("a\\ b \"c \\\"d\\\"\" '' e", "a b|c \"d\"||e");
	check_split("$HOME *.c `id` | > &", "$HOME|*.c|`id`|||>|&");
	check_split("pre'quo ted'post", "prequo tedpost");
}

void
test_words_refuse_an_open_quote(void)
{
	check_split("a 'b", "!a quote is not closed");
	check_split("a \"b", "!a quote is not closed");
}

void
test_names_are_plain(void)
{
	char long_name[66];

	memset(long_name, 'a', 65);
	long_name[65] = '\0';
	check(!name_is_valid(long_name));
	long_name[64] = '\0';
	check(name_is_valid(long_name));
	check(name_is_valid("web-1.x_Y"));
	check(name_is_valid("0"));
	check(!name_is_valid(""));
	check(!name_is_valid("-x"));
	check(!name_is_valid(".."));
	check(!name_is_valid("a/b"));
	check(!name_is_valid("a b"));
	check(!name_is_valid("a:b"));
	check(!name_is_valid("\xc3\xa4"));
	check(id_is_valid("9f1c6f6e-3b1f:x"));
	check(!id_is_valid("a b"));
}

static const char *
word_at(size_t i, const void *arg)
{
	return ((const char *const *)arg)[i];
}

void
test_typos_find_the_nearest_word(void)
{
	static const char *const words[] = {
	    "start", "stop", "status", "", "restart", NULL};

	check_str(nearest_word("strat", word_at, words), "start");
	check_str(nearest_word("stp", word_at, words), "stop");
	check_str(nearest_word("stat", word_at, words), "status");
	check_str(nearest_word("restrat", word_at, words), "restart");
	check(nearest_word("configure", word_at, words) == NULL);
	check(nearest_word("x", word_at, words) == NULL);
}

void
test_signals_have_names_and_numbers(void)
{
	char name[16];

	check_int(signal_number("TERM"), SIGTERM);
	check_int(signal_number("SIGTERM"), SIGTERM);
	check_int(signal_number("sigusr1"), SIGUSR1);
	check_int(signal_number("9"), SIGKILL);
	check_int(signal_number("0"), -1);
	check_int(signal_number("-1"), -1);
	check_int(signal_number("9x"), -1);
	check_int(signal_number("999"), -1);
	check_int(signal_number("NOPE"), -1);
	check_int(signal_number(""), -1);
	check_str(signal_name(SIGHUP, name), "HUP");
	check_int(signal_number(signal_name(SIGRTMIN + 1, name)), SIGRTMIN + 1);
}

void
test_times_are_rfc_3339(void)
{
	char text[TIME_TEXT_SIZE];

	check_str(time_text(0, text), "1970-01-01T00:00:00.000000Z");
	check_str(time_text(1795379623.5, text), "2026-11-22T20:33:43.500000Z");
	check_str(time_text(0.9999999, text), "1970-01-01T00:00:01.000000Z");
}

void
test_times_are_read_back(void)
{
	double t;

	check(text_time("2026-11-22T20:33:43.500000Z", &t));
	check(t == 1795379623.5);
	check(text_time("2026-11-22T20:33:43Z", &t) && t == 1795379623);
	check(!text_time("2026-11-22T20:33:43", &t));
	check(!text_time("2026-11-22T20:33:43Zulu", &t));
	check(!text_time("2026-11-22", &t));
	check(!text_time("soon", &t));
	check(!text_time("", &t));
}

void
test_durations_are_short(void)
{
	char text[32];

	check_str(duration_text(0.05, text), "50ms");
	check_str(duration_text(1, text), "1s");
	check_str(duration_text(2.5, text), "2.5s");
	check_str(duration_text(59.6, text), "1m0s");
	check_str(duration_text(3661, text), "1h1m");
	check_str(duration_text(90000, text), "1d1h");
}

static void
check_text(const char *bytes, size_t len, const char *want)
{
	json_t *text = text_json(bytes, len);

	check_str(json_string_value(text), want);
	json_decref(text);
}

void
test_broken_utf8_is_shown_as_replacement(void)
{
	check_text("plain", 5, "plain");
	check_text("\xc3\xa4", 2, "\xc3\xa4");
	check_text("a\xff"
		   "b",
	    3,
	    "a\xef\xbf\xbd"
	    "b");
	check_text("\xc3", 1, "\xef\xbf\xbd");
	check_text("\xc0\x80", 2, "\xef\xbf\xbd\xef\xbf\xbd");
	check_text("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	check_text("\xf0\x9f\x98\x80!\xfe", 6, "\xf0\x9f\x98\x80!\xef\xbf\xbd");
}

void
test_whole_numbers_are_written_as_printf_does(void)
{
	static const long long all[] = {
	    0, 9, 10, -1, 1234567890, LLONG_MAX, LLONG_MIN};
	char text[NUMBER_TEXT_SIZE], want[32];
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
		snprintf(want, sizeof(want), "%lld", all[i]);
		check_int((long long)number_text(all[i], text),
		    (long long)strlen(want));
		check_str(text, want);
	}
}

void
test_pieces_are_cut_where_there_is_no_room(void)
{
	char buf[6];

	check_int((long long)text_put(buf, sizeof(buf), 0, "abc"), 3);
	check_int((long long)text_put(buf, sizeof(buf), 3, "de"), 5);
	check_int((long long)text_put(buf, sizeof(buf), 5, "f"), 5);
	check_str(buf, "abcde");
	check_int((long long)text_put_number(buf, sizeof(buf), 3, -123), 5);
	check_str(buf, "abc-1");
}
