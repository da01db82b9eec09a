/*
 * Events: what happens in herod, told to whoever wants to hear of it.
 *
 * Each event has a topic ("runner.web": a kind and what of it), a number one
 * higher than that of the one before, and a JSON object as text.  The last
 * ones are kept while somebody listens, and for a while after, so that who
 * lost its connection may go on where it was.  Nothing is queued for a
 * subscriber but its place among what is kept: one that is too slow loses
 * events and is told which, and holds up nobody.
 */
#ifndef EVENT_H
#define EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct events;

struct event {
	uint64_t seq;
	const char *topic;
	const char *text; /* {"seq", "topic", "time", ...} */
	size_t len;
};

/* How many are kept, and bytes of them (one may be larger). */
#define EVENTS_MAX 4096
#define EVENTS_BYTES_MAX 1048576

struct events *events_new(void);
void events_free(struct events *es); /* no subscriber is left */

/* An id of this herod's life: numbers begin anew with each. */
const char *events_life(const struct events *es);

/* This herod goes on with the life of the one before, behind its last event;
 * from now on events are kept for those who listened to that one. */
void events_go_on(struct events *es, const char *life, uint64_t last);

/* Number of the last event, heard or not; 0: none yet. */
uint64_t events_last(const struct events *es);

/*
 * Something happens.  make(arg) is called, at once, only when somebody may
 * hear of it; it gives a new object, whose members follow seq, topic and
 * time.  es NULL: nobody ever listens.
 */
typedef json_t *(*event_fn)(const void *arg);
void event_publish(
    struct events *es, const char *topic, event_fn make, const void *arg);

/* ---- listening ---- */

struct subscriber_ops {
	/* Does it want to hear of this topic? */
	bool (*wants)(void *arg, const char *topic);
	/* False, and the event was not taken: not now.  Nothing comes any
	 * more until subscriber_go_on(). */
	bool (*event)(void *arg, const struct event *e);
	/* Events first to last, of whatever topics, are lost to it; or
	 * false as above. */
	bool (*gap)(void *arg, uint64_t first, uint64_t last);
};

/* From now on; or from behind the event since, which events_reach().
 * Nothing comes before the first subscriber_go_on(). */
struct subscriber;
struct subscriber *subscriber_new(
    struct events *es, const struct subscriber_ops *ops, void *arg);
struct subscriber *subscriber_resume(struct events *es, uint64_t since,
    const struct subscriber_ops *ops, void *arg);
void subscriber_free(struct subscriber *s);

/* The last event that it was given. */
uint64_t subscriber_at(const struct subscriber *s);

/* It has room again: what it has missed comes now. */
void subscriber_go_on(struct subscriber *s);

/* "LIFE:SEQ" of an event of this life: true when all behind it are still
 * kept, with its number in *seq. */
bool events_reach(const struct events *es, const char *since, uint64_t *seq);

/* The part of a topic, or of a pattern, before the dot; cut. */
#define KIND_SIZE 64
const char *topic_kind(const char *topic, char buf[KIND_SIZE]);

/* "runner" and "run*" are all of a kind, "runner.web*" are some of it. */
bool topic_matches(const char *pattern, const char *topic);

#endif
