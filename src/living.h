/*
 * The record of processes that live, in a file of the state directory
 * (places.h): what a new herod needs to know when herod and herod-keeper are
 * killed both.
 */
#ifndef LIVING_H
#define LIVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LIVING_NAME "living" /* in the state directory */
#define LIVING_TAG_MAX 1024

enum { LIVING_STDOUT, LIVING_STDERR, LIVING_READINESS, LIVING_PIPES };

struct living {
	uint32_t id; /* with its keeper; 0: the place is free */
	int32_t pid; /* 0: asked for, perhaps executed already */
	int32_t marked_by; /* pid of the keeper that is in its mark */
	uint32_t needs_us; /* it has a stdin or a file that end with us */
	uint32_t leaves; /* what it leaves behind is not to be ended */
	uint64_t began; /* clock ticks after boot; with pid and boot its
			 * name for ever */
	int64_t started_ns; /* Unix time */
	uint32_t ended; /* and the next herod shall know it: */
	uint32_t known; /* how: */
	int32_t status; /* as by wait(2) */
	int64_t ended_ns;
	uint64_t pipes[LIVING_PIPES]; /* their inodes; 0: none */
	char tag[LIVING_TAG_MAX];
};

struct living_file;

/* Opens the file, made anew when it is of another boot or of another kind of
 * herod; for the one who holds the lock of the directory.  NULL with errno. */
struct living_file *living_open(const char *state_dir);
void living_close(struct living_file *f);

/* Places that there are, free ones too, and what is in one; false when it
 * is free or makes no sense. */
size_t living_count(const struct living_file *f);
bool living_get(const struct living_file *f, size_t place, struct living *l);

/* A place that is free. */
size_t living_take(struct living_file *f);

/* Trouble is logged, once. */
void living_put(struct living_file *f, size_t place, const struct living *l);

/* Gives a place back. */
void living_clear(struct living_file *f, size_t place);

#endif
