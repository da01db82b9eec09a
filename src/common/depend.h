/*
 * Who depends on whom: the words of requires, after and wants, and the
 * graph that they make.
 */
#ifndef DEPEND_H
#define DEPEND_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct runner_conf;

#define DEPEND_NAME_SIZE 65

/* What the other has to be.  DEPEND_PLAIN: nothing was said, see
 * depend_condition(). */
enum condition {
	DEPEND_PLAIN,
	DEPEND_STARTED, /* its program was executed */
	DEPEND_READY, /* RUNNING */
	DEPEND_EXITED /* ended with an expected exit code */
};

struct depend {
	char name[DEPEND_NAME_SIZE];
	enum condition condition;
};

/* Reads "db" or "db:ready"; false when it is neither. */
bool depend_parse(const char *word, struct depend *d);

/* "ready"; of DEPEND_PLAIN "". */
const char *condition_word(enum condition c);

/* What is meant, given the other's settings. */
enum condition depend_condition(
    const struct depend *d, const struct runner_conf *other);

/* Has it any of the three settings? */
bool depends_at_all(const struct runner_conf *c);

/* The words of one of the settings, NULL behind the last. */
enum depend_list { DEPEND_REQUIRES, DEPEND_WANTS, DEPEND_AFTER, DEPEND_LISTS };
char *const *depend_words(const struct runner_conf *c, enum depend_list list);

/* One runner for the graph; both are borrowed. */
struct depend_node {
	const char *name;
	const struct runner_conf *conf;
};

/*
 * Puts each behind those that it depends on, and else leaves the order as
 * given: order[] gets the n indexes.  Names that are not there are left
 * out.  A cycle gives "a -> b -> a", a new string, and an order without it
 * being closed; NULL: there is none.
 */
char *depend_sort(const struct depend_node *nodes, size_t n, size_t *order);

/* Refuses a name in requires of nodes[which] that is none of the n. */
int depend_check_known(
    const struct depend_node *nodes, size_t n, size_t which, struct err *e);

/* Refuses a cycle; the subject is one of those in it. */
int depend_check_cycle(
    const struct depend_node *nodes, size_t n, struct err *e);

#endif
