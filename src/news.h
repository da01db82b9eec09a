/*
 * News: what runners and Redis do, as events (schema Event).
 */
#ifndef NEWS_H
#define NEWS_H

#include "rpc.h"
#include "runners.h"

/* Lines that FATAL is told with, and bytes of each. */
#define LAST_LINES 10
#define LAST_LINE_MAX 1000

void news_added(const struct services *s, const struct runner *r);
void news_changed(const struct services *s, const struct runner *r);
void news_removed(const struct services *s, const struct runner *r);
void news_wanted(const struct services *s, const struct runner *r);
void news_state(
    const struct services *s, const struct instance *i, enum state old);
void news_health(const struct services *s, const struct instance *i);
void news_shutdown(const struct services *s);

/* The last lines that an instance wrote, long ones cut; new. */
json_t *last_lines(const struct instance *i);

#endif
