/*
 * Events: numbered without holes, kept while somebody listens, and no
 * burden to anybody through one who is slow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "event.h"

/* ---- one who listens ---- */

struct ear {
	uint64_t last; /* number of the last heard */
	size_t n, ngaps;
	uint64_t gap_first, gap_last;
	size_t room; /* how many it takes */
	const char *pattern;
	char text[256]; /* the last */
};

static bool
wants(void *arg, const char *topic)
{
	return topic_matches(((struct ear *)arg)->pattern, topic);
}

static bool
hear(void *arg, const struct event *e)
{
	struct ear *ear = arg;

	if (ear->room == 0)
		return false;
	ear->room--;
	ear->n++;
	check(e->seq > ear->last);
	ear->last = e->seq;
	check_int((long long)e->len, (long long)strlen(e->text));
	strlcpy(ear->text, e->text, sizeof(ear->text));
	return true;
}

static bool
hear_gap(void *arg, uint64_t first, uint64_t last)
{
	struct ear *ear = arg;

	if (ear->room == 0)
		return false;
	ear->room--;
	ear->ngaps++;
	check(first == ear->last + 1);
	ear->gap_first = first;
	ear->gap_last = ear->last = last;
	return true;
}

static const struct subscriber_ops ops = {wants, hear, hear_gap};

#define PLENTY 1000000

static struct subscriber *
listen_to(struct events *es, struct ear *ear)
{
	struct subscriber *s = subscriber_new(es, &ops, ear);

	subscriber_go_on(s);
	return s;
}

/* ---- what happens ---- */

static int nmade;

static json_t *
make(const void *arg)
{
	nmade++;
	return json_pack("{s:s}", "what", arg);
}

static void
happen(struct events *es, const char *topic, size_t times)
{
	while (times-- > 0)
		event_publish(es, topic, make, "it");
}

/* ---- promises ---- */

void
test_events_are_numbered_one_by_one(void)
{
	struct events *es = events_new();
	struct ear ear = {.room = PLENTY, .pattern = "*"};
	struct subscriber *s = listen_to(es, &ear);
	json_t *event;
	int i;

	for (i = 1; i <= 1000; i++) {
		happen(es, "runner.web", 1);
		check_int((long long)ear.last, i);
		check_int((long long)ear.n, i);
	}
	event = json_loads(ear.text, 0, NULL);
	check_int(json_integer_value(json_object_get(event, "seq")), 1000);
	check_str(
	    json_string_value(json_object_get(event, "topic")), "runner.web");
	check_str(json_string_value(json_object_get(event, "what")), "it");
	check(json_object_get(event, "time") != NULL);
	json_decref(event);
	check_int((long long)ear.ngaps, 0);
	subscriber_free(s);
	events_free(es);
}

void
test_without_a_listener_nothing_is_made_or_kept(void)
{
	struct events *es = events_new();
	struct ear ear = {.room = PLENTY, .pattern = "*"};
	struct subscriber *s;

	happen(es, "runner.web", 100);
	check_int(nmade, 0);
	check_int((long long)events_last(es), 100);
	s = listen_to(es, &ear);
	check_int((long long)ear.n, 0);
	ear.last = 100;
	happen(es, "runner.web", 1);
	check_int((long long)ear.n, 1);
	subscriber_free(s);
	/* For a while, one who comes back is waited for. */
	happen(es, "runner.web", EVENTS_MAX + 100);
	check_int(nmade, 1 + EVENTS_MAX);
	check_int((long long)events_last(es), 101 + EVENTS_MAX + 100);
	events_free(es);
	event_publish(NULL, "runner.web", make, "nobody ever");
	check_int(nmade, 1 + EVENTS_MAX);
}

void
test_one_who_comes_back_misses_nothing(void)
{
	struct events *es = events_new();
	struct ear ear = {.room = PLENTY, .pattern = "*"};
	struct subscriber *s = listen_to(es, &ear);
	char cursor[64];
	uint64_t since;

	happen(es, "runner.web", 10);
	subscriber_free(s);
	snprintf(cursor, sizeof(cursor), "%s:%d", events_life(es), 10);
	happen(es, "runner.web", 100);
	check(events_reach(es, cursor, &since));
	s = subscriber_resume(es, since, &ops, &ear);
	subscriber_go_on(s);
	check_int((long long)ear.n, 110);
	check_int((long long)ear.last, 110);
	check_int((long long)ear.ngaps, 0);
	subscriber_free(s);
	events_free(es);
}

void
test_what_is_out_of_reach_is_said_to_be(void)
{
	struct events *es = events_new(), *other = events_new();
	struct ear ear = {.room = PLENTY, .pattern = "*"};
	struct subscriber *s = listen_to(es, &ear);
	const char *tails[] = {
	    "", ":", ":x", ":1x", ":-1", ":+1", ": 1", ":99999", ":1"};
	char cursor[64];
	uint64_t since;
	size_t i;

	happen(es, "runner.web", EVENTS_MAX + 2);
	for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		snprintf(
		    cursor, sizeof(cursor), "%s%s", events_life(es), tails[i]);
		check(!events_reach(es, cursor, &since));
	}
	snprintf(cursor, sizeof(cursor), "%s:2", events_life(es));
	check(events_reach(es, cursor, &since));
	check_int((long long)since, 2);
	check(!events_reach(other, cursor, &since));
	check(!events_reach(es, "", &since));
	subscriber_free(s);
	events_free(es);
	events_free(other);
}

/* Pitfall 46. */
void
test_a_slow_one_is_told_what_it_has_lost(void)
{
	struct events *es = events_new();
	struct ear slow = {.room = 5, .pattern = "*"};
	struct ear fast = {.room = PLENTY, .pattern = "*"};
	struct subscriber *s = listen_to(es, &slow);
	struct subscriber *f = listen_to(es, &fast);

	happen(es, "runner.web", 5 + EVENTS_MAX + 7);
	check_int((long long)fast.n, 5 + EVENTS_MAX + 7);
	check_int((long long)slow.n, 5);
	slow.room = 3; /* the gap and two events */
	subscriber_go_on(s);
	check_int((long long)slow.ngaps, 1);
	check_int((long long)slow.gap_first, 6);
	check_int((long long)slow.gap_last, 12);
	check_int((long long)slow.n, 7);
	slow.room = PLENTY;
	subscriber_go_on(s);
	check_int((long long)slow.n, 5 + EVENTS_MAX);
	check_int((long long)slow.ngaps, 1);
	happen(es, "runner.web", 1);
	check(slow.last == fast.last);
	subscriber_free(s);
	subscriber_free(f);
	events_free(es);
}

static json_t *
make_large(const void *arg)
{
	char text[100001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)arg;
	return json_pack("{s:s}", "what", text);
}

void
test_large_events_push_out_more(void)
{
	struct events *es = events_new();
	struct ear ear = {.room = 0, .pattern = "*"};
	struct subscriber *s = listen_to(es, &ear);
	int i;

	for (i = 0; i < 100; i++)
		event_publish(es, "runner.web", make_large, NULL);
	ear.room = PLENTY;
	subscriber_go_on(s);
	check_int((long long)ear.ngaps, 1);
	check(ear.n >= 9 && ear.n <= 10);
	subscriber_free(s);
	events_free(es);
}

void
test_topics_are_kinds_or_some_of_a_kind(void)
{
	check(topic_matches("*", "runner.web"));
	check(topic_matches("runner", "runner.web"));
	check(topic_matches("run*", "runner.web.1"));
	check(topic_matches("runner.web", "runner.web"));
	check(topic_matches("runner.web*", "runner.web.1"));
	check(topic_matches("*.web", "job.web"));
	check(topic_matches("redis", "redis"));
	check(!topic_matches("runner.web", "runner.web2"));
	check(!topic_matches("job", "runner.job"));
	check(!topic_matches("web", "runner.web"));
	check(!topic_matches("redis.*", "redis"));
}

void
test_only_wanted_topics_are_heard(void)
{
	struct events *es = events_new();
	struct ear ear = {.room = PLENTY, .pattern = "job.up"};
	struct subscriber *s = listen_to(es, &ear);

	happen(es, "runner.up", 3);
	happen(es, "job.up", 1);
	happen(es, "job.down", 3);
	check_int((long long)ear.n, 1);
	check_int((long long)ear.last, 4);
	subscriber_free(s);
	events_free(es);
}
