/* Processes, as proc(5) shows them. */
#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENVIRONMENT_MAX 65536 /* bytes that are looked at */

/* As much of a file as fits, with a NUL behind it; its length, -1 when
 * there is none. */
static ssize_t __attribute__((format(printf, 3, 4)))
read_file(char *buf, size_t size, const char *fmt, ...)
{
	char path[128];
	size_t len = 0;
	ssize_t n;
	va_list ap;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = '\0';
	return (ssize_t)len;
}

/* Its words with blanks between them; of one that has none, such as a
 * zombie, the name that stat tells. */
static void
read_command(struct process_info *p, const char *name, size_t name_len)
{
	ssize_t i,
	    n = read_file(p->command, sizeof(p->command), "/proc/%d/cmdline",
		(int)p->pid);

	if (n <= 0) {
		snprintf(p->command, sizeof(p->command), "[%.*s]",
		    (int)name_len, name);
		return;
	}
	while (n > 0 && p->command[n - 1] == '\0')
		n--;
	for (i = 0; i < n; i++)
		if ((unsigned char)p->command[i] < ' ')
			p->command[i] = ' ';
}

/* began: clock ticks after boot. */
static double
age(unsigned long long began)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9 -
	    (double)began / (double)sysconf(_SC_CLK_TCK);
}

bool
process_read(pid_t pid, struct process_info *p)
{
	char stat[1024], *name, *end;
	long pages;
	int ppid;

	/* The name may hold blanks and brackets: the last one ends it. */
	if (read_file(stat, sizeof(stat), "/proc/%d/stat", (int)pid) <= 0 ||
	    (name = strchr(stat, '(')) == NULL ||
	    (end = strrchr(stat, ')')) == NULL ||
	    sscanf(end + 1,
		" %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		"%*d %*d %*d %*d %llu %*u %ld",
		&p->state, &ppid, &p->began, &pages) != 4)
		return false;
	p->pid = pid;
	p->ppid = ppid;
	p->rss = (long long)pages * sysconf(_SC_PAGESIZE);
	p->age = age(p->began);
	read_command(p, name + 1, (size_t)(end - name - 1));
	return true;
}

/* A blank is behind each; one cut off at the end of the buffer has none. */
static size_t
read_pids(const char *text, pid_t *list, size_t max)
{
	size_t n = 0;
	char *end;
	long pid;

	while (n < max && (pid = strtol(text, &end, 10)) > 0 && *end == ' ') {
		list[n++] = (pid_t)pid;
		text = end;
	}
	return n;
}

/* Each thread has children of its own. */
size_t
process_children(pid_t pid, pid_t *list, size_t max)
{
	char path[64], text[65536];
	struct dirent *thread;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return 0;
	while (n < max && (thread = readdir(dir)) != NULL)
		if (read_file(text, sizeof(text),
			"/proc/%d/task/%.20s/children", (int)pid,
			thread->d_name) > 0)
			n += read_pids(text, list + n, max - n);
	closedir(dir);
	return n;
}

size_t
process_each(bool (*fn)(void *arg, pid_t pid), void *arg)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t n = 0;
	pid_t pid;

	while (dir && (entry = readdir(dir)) != NULL) {
		pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 1 && pid != getpid())
			n += fn(arg, pid);
	}
	if (dir)
		closedir(dir);
	return n;
}

bool
process_name(pid_t pid, char name[PROCESS_NAME_SIZE])
{
	ssize_t n =
	    read_file(name, PROCESS_NAME_SIZE, "/proc/%d/comm", (int)pid);

	if (n > 0)
		name[strcspn(name, "\n")] = '\0';
	return n > 0;
}

bool
process_has_environment(pid_t pid)
{
	char some[2];

	return read_file(some, sizeof(some), "/proc/%d/environ", (int)pid) > 0;
}

bool
process_variable(pid_t pid, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name);
	char *all = malloc(ENVIRONMENT_MAX), *entry, *end;
	bool found = false;
	ssize_t n;

	if (all == NULL)
		abort();
	n = read_file(all, ENVIRONMENT_MAX, "/proc/%d/environ", (int)pid);
	end = all + (n > 0 ? n : 0);
	for (entry = all; entry < end && !found; entry += strlen(entry) + 1)
		if (strncmp(entry, name, len) == 0 && entry[len] == '=') {
			strlcpy(buf, entry + len + 1, size);
			found = true;
		}
	free(all);
	return found;
}
