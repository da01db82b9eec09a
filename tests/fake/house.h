/*
 * Runners whose processes do what the test says, in place of child.c: what
 * real ones cannot be made to show.
 */
#ifndef HOUSE_H
#define HOUSE_H

#include "runners.h"

struct house {
	struct ev_loop *loop;
	struct daemon_conf conf;
	struct runner_hooks hooks;
	struct runner_watch watch;
	struct runners *all;
};

void open_house(struct house *h);
void close_house(struct house *h);

/* Settings as JSON without the braces, command and startsecs = 0 aside. */
struct runner *house_add(
    struct house *h, const char *name, const char *settings);

/* One turn of its loop, without waiting. */
void turn(struct house *h);

/* The only instance of a runner. */
struct instance *only(const struct runner *r);
enum state state_of(const struct runner *r);

/* Its process was executed; has ended; could not be executed. */
void executed(struct runner *r);
void over(struct runner *r, int code);
void failed(struct runner *r, const char *stage, int error);

/* It writes a line to its readiness descriptor; to stdout. */
void says_ready(struct runner *r);
void writes(struct runner *r, const char *text);

/* A process with this tag outlived the herod before. */
void found(struct house *h, struct runner *r, const char *tag);

/* It has been asked to end. */
bool is_asked(const struct runner *r);

/* Processes so far. */
int house_starts(void);

/* Those that are not over. */
int house_living(void);

/* A runner's health probe, when it is the only one in the house; its output
 * and end. */
struct child *probe_of(const struct runner *r);
void probe_writes(struct runner *r, const char *text);
void probe_over(struct runner *r, int code);

/* Of the last one: its command, its tag, its environment with a newline behind
 * each, the readiness descriptor, and for how long it may take to end. */
const char *house_command(void);
const char *house_tag(void);
const char *house_environment(void);
int house_ready_fd(void);
double house_extended(void);

#endif
