/*
 * The private Redis: a redis-server of herod's own, kept like any runner,
 * for when no redis_url is set.
 */
#ifndef PRIVATE_REDIS_H
#define PRIVATE_REDIS_H

#include "err.h"
#include "settings.h"

#define PRIVATE_REDIS_NAME "herod-redis"

/*
 * Fills a zeroed runner_conf (settings_clear() it) for the service
 * "herod-redis", makes its directory in the state directory, and gives the
 * url to dial (new string).  The socket lies in the state directory or,
 * where that path is too long for a socket, in the runtime directory.
 * Refuses when neither fits, or the directory cannot be made.
 */
int private_redis_conf(const struct daemon_conf *d, struct runner_conf *conf,
    char **url, struct err *e);

#endif
