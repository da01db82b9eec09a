/*
 * What proc(5) tells of processes: nothing here waits for them, but each
 * call reads a file or two.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCESS_COMMAND_MAX 256

struct process_info {
	pid_t pid, ppid;
	char state; /* R, S, D, T, Z ... */
	long long rss; /* bytes in memory */
	unsigned long long began; /* clock ticks after boot */
	double age; /* seconds since it began, whatever clocks were set */
	char command[PROCESS_COMMAND_MAX]; /* its words, or its name in [] */
};

/* False when it is gone. */
bool process_read(pid_t pid, struct process_info *p);

/* Puts the pids of at most max children into list; returns how many. */
size_t process_children(pid_t pid, pid_t *list, size_t max);

/* Of how many of all processes, but this one and init, it is true. */
size_t process_each(bool (*fn)(void *arg, pid_t pid), void *arg);

/* The name that it has given itself, or its program's; false when gone. */
#define PROCESS_NAME_SIZE 16
bool process_name(pid_t pid, char name[PROCESS_NAME_SIZE]);

/* Can its environment be seen?  Not within execve(2), nor of a zombie. */
bool process_has_environment(pid_t pid);

/* The value of a variable in the environment it was started with, cut to
 * size; false when it has none or may not be looked at. */
bool process_variable(pid_t pid, const char *name, char *buf, size_t size);

#endif
