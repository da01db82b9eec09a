/*
 * What runners write, of any bytes in any pieces: the file tells both streams
 * again byte for byte, as text and as JSON, however lines were cut.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "mem.h"
#include "output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_log.XXXXXX";
static struct ev_loop *loop;

static void
remove_dir(void)
{
	rmdir(dir);
}

static void
prepare(void)
{
	if (loop)
		return;
	loop = ev_loop_new(EVFLAG_AUTO);
	if (mkdtemp(dir) == NULL)
		abort();
	atexit(remove_dir);
}

static void
insist(bool so)
{
	if (!so)
		abort();
}

/* The first byte: JSON or text, and how long lines may be. */
static void
configure(struct runner_conf *conf, uint8_t how)
{
	settings_init(runner_settings, conf);
	conf->log_format = how & 1;
	conf->log_max_line = 128 + (how >> 1);
}

/* Each piece has a byte before it: its stream and length. */
static void
feed(struct output *o, const uint8_t *data, size_t size,
    struct text given[CHILD_STREAMS])
{
	struct output_source *to[CHILD_STREAMS];
	size_t len;
	int s;

	for (s = 0; s < CHILD_STREAMS; s++)
		to[s] = output_source_new(o, 0, s, s ? "job" : NULL, NULL);
	while (size > 1) {
		s = *data & 1;
		len = (size_t)(*data++ >> 1) + 1;
		len = len < --size ? len : size;
		output_feed(to[s], (const char *)data, len);
		text_add(&given[s], (const char *)data, len);
		data += len;
		size -= len;
	}
	for (s = 0; s < CHILD_STREAMS; s++) {
		output_source_end(to[s]);
		if (given[s].len && given[s].bytes[given[s].len - 1] != '\n')
			text_add(&given[s], "\n", 1);
	}
}

static void
take_file(struct text *t, bool json)
{
	char path[64], *bytes;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/it.log", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return; /* nothing was written */
	insist(fstat(fd, &st) == 0);
	bytes = xcalloc((size_t)st.st_size + 1, 1);
	insist(read(fd, bytes, (size_t)st.st_size) == st.st_size);
	if (json)
		lines_from_json(t, bytes, (size_t)st.st_size);
	else
		text_add(t, bytes, (size_t)st.st_size);
	free(bytes);
	close(fd);
	unlink(path);
}

static void
read_lines(struct text *t, size_t max, struct text told[CHILD_STREAMS])
{
	struct output_line line;
	size_t at, len;
	char *end;

	for (at = 0; at < t->len; at += len + 1) {
		end = memchr(t->bytes + at, '\n', t->len - at);
		insist(end != NULL);
		len = (size_t)(end - t->bytes) - at;
		insist(line_read(t->bytes + at, len, &line));
		insist(line.len <= max);
		text_add(&told[line.stream], line.text, line.len);
		if (!line.partial)
			text_add(&told[line.stream], "\n", 1);
	}
}

static void
compare(struct text *given, struct text *told)
{
	insist(given->len == told->len &&
	    (given->len == 0 ||
		memcmp(given->bytes, told->bytes, given->len) == 0));
	text_clear(given);
	text_clear(told);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text given[CHILD_STREAMS] = {0}, told[CHILD_STREAMS] = {0};
	struct output_home home = {.dir = dir, .ring_bytes = 4096};
	struct text file = {0};
	struct runner_conf conf = {0};
	struct output *o;
	int s;

	if (size == 0)
		return 0;
	prepare();
	home.files = logfiles_new(loop);
	home.spare = output_spare_new();
	configure(&conf, *data);
	o = output_new("it", &conf, &home);
	feed(o, data + 1, size - 1, given);
	output_free(o);
	logfiles_free(home.files);
	output_spare_free(home.spare);
	take_file(&file, conf.log_format);
	read_lines(&file, (size_t)conf.log_max_line, told);
	for (s = 0; s < CHILD_STREAMS; s++)
		compare(&given[s], &told[s]);
	text_clear(&file);
	settings_clear(runner_settings, &conf);
	return 0;
}
