/* Files of variables, a NAME=VALUE a line. */
#include "env_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

static int
refuse_file(const char *path, const char *why, struct err *e)
{
	return err_set(e, ERR_CANNOT_START, "env_file: %s: %s", path, why);
}

static int
refuse_line(const char *path, int line, const char *why, struct err *e)
{
	return err_set(
	    e, ERR_CANNOT_START, "env_file: %s:%d: %s", path, line, why);
}

/* Its text, free(3) it; NULL with a refusal.  A FIFO would make us wait. */
static char *
file_text(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0)
		refuse_file(path, strerror(errno), e);
	else if (!S_ISREG(st.st_mode))
		refuse_file(path, "not a file", e);
	else if (st.st_size > ENV_FILE_MAX)
		refuse_file(path, "more than 1 MiB", e);
	else {
		text = xmalloc((size_t)st.st_size + 1);
		n = read(fd, text, (size_t)st.st_size);
		text[n > 0 ? n : 0] = '\0';
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static size_t
name_length(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || text[n] == '_')
		n++;
	return isdigit((unsigned char)text[0]) ? 0 : n;
}

static char *
trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text + strspn(text, " \t");
}

/* Quotes that open a value must close it; *value is moved behind one. */
static bool
unquote(char **value)
{
	size_t len = strlen(*value);
	char quote = (*value)[0];

	if (quote != '"' && quote != '\'')
		return true;
	if (len < 2 || (*value)[len - 1] != quote)
		return false;
	(*value)[len - 1] = '\0';
	(*value)++;
	return true;
}

static char *
without_export(char *line)
{
	if (strncmp(line, "export", 6) == 0 &&
	    (line[6] == ' ' || line[6] == '\t'))
		return trim(line + 6);
	return line;
}

/* NULL and why, or a new "NAME=VALUE". */
static char *
read_line(char *line, const char **why)
{
	size_t len = name_length(line);
	char *value;

	*why = "wanted NAME=VALUE";
	if (len == 0 || line[len] != '=')
		return NULL;
	value = trim(line + len + 1);
	*why = "the quote is not closed";
	if (!unquote(&value))
		return NULL;
	return xasprintf("%.*s=%s", (int)len, line, value);
}

static int
read_lines(const char *path, char *text, char ***list, struct err *e)
{
	const char *why;
	char *line, *entry;
	int n;

	for (n = 1; (line = strsep(&text, "\n")) != NULL; n++) {
		line = without_export(trim(line));
		if (*line == '\0' || *line == '#')
			continue;
		entry = read_line(line, &why);
		if (entry == NULL)
			return refuse_line(path, n, why, e);
		strv_add(list, entry);
	}
	return 0;
}

int
env_file_read(const char *path, char ***list, struct err *e)
{
	char *text = file_text(path, e), **lines = NULL;
	size_t i;
	int result;

	if (text == NULL)
		return -1;
	result = read_lines(path, text, &lines, e);
	free(text);
	for (i = 0; result == 0 && lines && lines[i]; i++)
		strv_add(list, xstrdup(lines[i]));
	strv_free(lines);
	return result;
}
