/* Words: names, splitting as a shell would, nearest to a typo, times. */
#include "type.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem.h"

/* Names travel in Redis keys and file names: keep them plain. */
static bool
is_made_of(const char *s, const char *extra, size_t max)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (i == max ||
		    !(isalnum((unsigned char)s[i]) || strchr(extra, s[i])))
			return false;
	return i > 0;
}

bool
name_is_valid(const char *name)
{
	return isalnum((unsigned char)*name) && is_made_of(name, "_.-", 64);
}

bool
id_is_valid(const char *id)
{
	return is_made_of(id, "._:-", 128);
}

/* ---- words_split ---- */

struct splitter {
	const char *at;
	char *word; /* under construction */
	size_t len;
	bool begun;
};

static void
put(struct splitter *s, char c)
{
	s->word[s->len++] = c;
	s->begun = true;
}

/* Behind the opening quote; false when the closing one is missing. */
static bool
quoted(struct splitter *s, char quote)
{
	s->begun = true;
	for (; *s->at && *s->at != quote; s->at++) {
		if (quote == '"' && *s->at == '\\' && s->at[1] &&
		    strchr("\"\\$`", s->at[1]))
			s->at++;
		put(s, *s->at);
	}
	return *s->at++ == quote;
}

/* Up to the blank behind the word or the end. */
static bool
one_word(struct splitter *s)
{
	char c;

	while (*s->at && !isspace((unsigned char)*s->at)) {
		c = *s->at++;
		if (c == '\'' || c == '"') {
			if (!quoted(s, c))
				return false;
		} else if (c == '\\' && *s->at) {
			put(s, *s->at++);
		} else {
			put(s, c);
		}
	}
	return true;
}

char **
words_split(const char *text, struct err *e)
{
	struct splitter s = {.at = text, .word = xmalloc(strlen(text) + 1)};
	char **words = xcalloc(1, sizeof(*words));

	for (;;) {
		while (isspace((unsigned char)*s.at))
			s.at++;
		if (*s.at == '\0')
			break;
		s.len = 0;
		s.begun = false;
		if (!one_word(&s)) {
			err_set(e, ERR_PARAMS, "a quote is not closed");
			strv_free(words);
			words = NULL;
			break;
		}
		strv_add(&words, xstrndup(s.word, s.len));
	}
	free(s.word);
	return words;
}

/* ---- nearest_word ---- */

#define WORD_MAX 64
#define PREFIX_MIN 3

static size_t
least(size_t a, size_t b, size_t c)
{
	a = b < a ? b : a;
	return c < a ? c : a;
}

/* Levenshtein's distance of two words of at most WORD_MAX bytes. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], i, j, diagonal, above;
	size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);

	for (j = 0; j <= m; j++)
		row[j] = j;
	for (i = 1; i <= n; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= m; j++) {
			above = row[j];
			row[j] = least(above + 1, row[j - 1] + 1,
			    diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}

const char *
nearest_word(const char *typo, const char *(*next)(size_t i, const void *arg),
    const void *arg)
{
	const char *word, *nearest = NULL;
	size_t i, d, len = strnlen(typo, WORD_MAX), best = len / 3 + 2;

	for (i = 0; (word = next(i, arg)) != NULL; i++) {
		d = distance(typo, word);
		/* Who has typed the begin of a word means that one. */
		if (len >= PREFIX_MIN && strncmp(typo, word, len) == 0)
			d = 0;
		if (*word && d < best) {
			best = d;
			nearest = word;
		}
	}
	return nearest;
}

/* ---- signals ---- */

const char *
signal_name(int number, char buf[16])
{
	const char *name = sigabbrev_np(number);

	if (name)
		snprintf(buf, 16, "%s", name);
	else
		snprintf(buf, 16, "%d", number);
	return buf;
}

int
signal_number(const char *text)
{
	const char *name;
	char *end;
	long number;
	int s;

	if (isdigit((unsigned char)*text)) {
		number = strtol(text, &end, 10);
		return *end == '\0' && number > 0 && number <= SIGRTMAX
		    ? (int)number
		    : -1;
	}
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (s = 1; s <= SIGRTMAX; s++) {
		name = sigabbrev_np(s);
		if (name && strcasecmp(name, text) == 0)
			return s;
	}
	return -1;
}

/* ---- bytes as text ---- */

/* Length of the UTF-8 sequence at s (RFC 3629), 0 when it is none. */
static size_t
utf8_length(const unsigned char *s, size_t len)
{
	static const unsigned long least_of[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = *s < 0x80 ? 1
	    : *s >> 5 == 6   ? 2
	    : *s >> 4 == 14  ? 3
	    : *s >> 3 == 30  ? 4
			     : 0;
	unsigned long c = n > 1 ? *s & (0x7fU >> n) : *s;
	size_t i;

	if (n == 0 || n > len)
		return 0;
	for (i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least_of[n] || c > 0x10ffff || c >> 11 == 0x1b)
		return 0;
	return n;
}

json_t *
text_json(const char *bytes, size_t len)
{
	json_t *text = json_stringn(bytes, len);
	char *clean;
	size_t in = 0, out = 0, n;

	if (text)
		return text;
	clean = xreallocarray(NULL, len, 3);
	while (in < len) {
		n = utf8_length((const unsigned char *)bytes + in, len - in);
		memcpy(clean + out, n ? bytes + in : "\xef\xbf\xbd", n ? n : 3);
		in += n ? n : 1;
		out += n ? n : 3;
	}
	text = json_stringn(clean, out);
	free(clean);
	return text;
}

/* ---- pieces ---- */

size_t
text_put(char *buf, size_t size, size_t at, const char *text)
{
	size_t len = strlen(text);

	if (len > size - at - 1)
		len = size - at - 1;
	memcpy(buf + at, text, len);
	buf[at + len] = '\0';
	return at + len;
}

size_t
text_put_number(char *buf, size_t size, size_t at, long long n)
{
	char number[NUMBER_TEXT_SIZE];

	number_text(n, number);
	return text_put(buf, size, at, number);
}

/* ---- numbers; each job has a dozen, and printf(3) takes ten times as long
 * ---- */

bool
is_whole(double n)
{
	return n >= INT_MIN && n <= INT_MAX && n == trunc(n);
}

size_t
number_text(long long n, char buf[NUMBER_TEXT_SIZE])
{
	unsigned long long rest =
	    n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n;
	char digits[NUMBER_TEXT_SIZE], *first = digits + sizeof(digits) - 1;
	size_t len;

	if (n >= 0 && n < 10) {
		buf[0] = (char)('0' + n);
		buf[1] = '\0';
		return 1;
	}
	*first = '\0';
	do
		*--first = (char)('0' + rest % 10);
	while (rest /= 10);
	if (n < 0)
		*--first = '-';
	len = (size_t)(digits + sizeof(digits) - 1 - first);
	memcpy(buf, first, len + 1);
	return len;
}

/* ---- ids ---- */

void
make_uuid(char uuid[UUID_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];
	int i, at = 0;

	arc4random_buf(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			uuid[at++] = '-';
		uuid[at++] = hex[b[i] >> 4];
		uuid[at++] = hex[b[i] & 15];
	}
	uuid[at] = '\0';
}

/* ---- times ---- */

/* Up to the second; the same one is asked for again and again. */
static const char *
second_text(time_t seconds)
{
	static char text[TIME_TEXT_SIZE];
	static time_t known = -1;
	struct tm tm;

	if (seconds != known) {
		gmtime_r(&seconds, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		known = seconds;
	}
	return text;
}

const char *
time_text(double unix_seconds, char buf[TIME_TEXT_SIZE])
{
	long long us = llround(unix_seconds * 1e6);
	char fraction[NUMBER_TEXT_SIZE];
	size_t at;

	at = text_put(
	    buf, TIME_TEXT_SIZE, 0, second_text((time_t)(us / 1000000)));
	number_text(1000000 + us % 1000000, fraction);
	fraction[0] = '.';
	at = text_put(buf, TIME_TEXT_SIZE, at, fraction);
	text_put(buf, TIME_TEXT_SIZE, at, "Z");
	return buf;
}

bool
text_time(const char *text, double *unix_seconds)
{
	struct tm tm = {0};
	char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (end == NULL)
		return false;
	*unix_seconds = (double)timegm(&tm);
	if (*end == '.')
		*unix_seconds += strtod(end, &end);
	return strcmp(end, "Z") == 0;
}

const char *
size_text(long long bytes, char buf[32])
{
	static const char *const units[] = {"", "KB", "MB", "GB", "TB"};
	size_t u = 0;

	while (bytes != 0 && bytes % 1024 == 0 && u < 4) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, 32, "%lld%s", bytes, units[u]);
	return buf;
}

const char *
duration_text(double s, char buf[32])
{
	long long n = llround(s);

	if (s < 0.9995)
		snprintf(buf, 32, "%dms", (int)lround(s * 1000));
	else if (s < 9.95 && fabs(s - (double)n) > 0.05)
		snprintf(buf, 32, "%.1fs", s);
	else if (n < 60)
		snprintf(buf, 32, "%llds", n);
	else if (n < 3600)
		snprintf(buf, 32, "%lldm%llds", n / 60, n % 60);
	else if (n < 86400)
		snprintf(buf, 32, "%lldh%lldm", n / 3600, n / 60 % 60);
	else
		snprintf(buf, 32, "%lldd%lldh", n / 86400, n / 3600 % 24);
	return buf;
}
