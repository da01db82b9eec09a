/* The settings of the private Redis. */
#include "private_redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "mem.h"

#define SOCKET_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* It starts first and stops last, comes back for ever, and may take its
 * time to write what it has.  Jobs are in its memory: no core. */
static const struct {
	const char *setting, *value;
} fixed[] = {
    {"kind", "service"},
    {"priority", "-1000000"},
    {"autorestart", "always"},
    {"startsecs", "0"},
    {"startretries", "-1"},
    {"backoff_max", "5s"},
    {"stopsignal", "TERM"},
    {"stopwaitsecs", "60s"},
    {"umask", "077"},
    {"rlimit_core", "0"},
};

/* In the state directory nobody else's server can take it. */
static char *
socket_path(const struct daemon_conf *d, struct err *e)
{
	char *path = xasprintf("%s/redis/redis.sock", d->state_dir);
	size_t len = strlen(path);

	if (len <= SOCKET_MAX)
		return path;
	free(path);
	path = xasprintf("%s/redis.sock", d->runtime_dir);
	if (strlen(path) <= SOCKET_MAX)
		return path;
	err_set(e, ERR_PARAMS,
	    "the private Redis's socket would be %s with %zu bytes, at most "
	    "%zu are possible",
	    path, strlen(path), SOCKET_MAX);
	err_hint(e, "set a shorter runtime_dir, or redis_url");
	free(path);
	return NULL;
}

static int
make_directory(const char *path, struct err *e)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_set(e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
}

static json_t *
command(const struct daemon_conf *d, const char *dir, const char *path)
{
	char fsync[16];

	type_enum_word(
	    "everysec|always|no", d->redis_fsync, fsync, sizeof(fsync));
	return json_pack("[ss ss ss ss ss ss ss ss ss ss ss s]",
	    d->redis_server, "--port", "0", "--unixsocket", path,
	    "--unixsocketperm", "700", "--dir", dir, "--appendonly", "yes",
	    "--appendfsync", fsync, "--save", "", "--hash-max-listpack-value",
	    "1024", "--maxmemory-policy", "noeviction", "--daemonize", "no",
	    "--logfile", "");
}

static int
fill(struct runner_conf *conf, json_t *argv, struct err *e)
{
	json_t *object = json_pack("{s:o}", "command", argv);
	size_t i;
	int result;

	for (i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		json_object_set_new(
		    object, fixed[i].setting, json_string(fixed[i].value));
	settings_init(runner_settings, conf);
	result = settings_from_json(runner_settings, conf, object, e);
	json_decref(object);
	return result;
}

int
private_redis_conf(const struct daemon_conf *d, struct runner_conf *conf,
    char **url, struct err *e)
{
	char *dir = xasprintf("%s/redis", d->state_dir);
	char *path = socket_path(d, e);
	int result = -1;

	if (path && make_directory(dir, e) == 0)
		result = fill(conf, command(d, dir, path), e);
	if (result == 0)
		*url = xasprintf("unix://%s", path);
	free(path);
	free(dir);
	return result;
}
