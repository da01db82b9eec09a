/*
 * herod: options, wiring, signals.
 *
 * Typed by a user, it checks its options and configuration and executes
 * herod-keeper, which executes it again with --keeper-fd: that one is the
 * daemon.  The struct that knows everything is private to this file.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ev.h>

#include "audit.h"
#include "cgroup.h"
#include "conf.h"
#include "doors.h"
#include "event.h"
#include "handover.h"
#include "in_force.h"
#include "keep.h"
#include "keys.h"
#include "listen.h"
#include "lives.h"
#include "lock.h"
#include "log.h"
#include "look.h"
#include "mem.h"
#include "metrics.h"
#include "notify.h"
#include "news.h"
#include "past.h"
#include "private_redis.h"
#include "privs.h"
#include "redis.h"
#include "reload.h"
#include "revive.h"
#include "rpc.h"
#include "rpc_node.h"
#include "runners.h"
#include "schedule.h"
#include "seccomp.h"
#include "tls_door.h"
#include "turns.h"
#include "upgrade.h"
#include "worker.h"

#define EXIT_USAGE 2
#define LOCK_NAME "lock" /* with the keeper */
#define LOCK_FILE "herod.pid" /* in the state directory */
#define ORPHANS_GRACE 5.0 /* seconds from SIGTERM to SIGKILL */
#define NOTIFY_NAME "notify" /* with the keeper, and of the socket */
#define DESCRIPTORS_OF_OURS 48 /* without any process */
#define PROCESSES_MAX 8000 /* that the keeper has room for */
#define DOOR_PREFIX "listen:" /* with the keeper, then the address */
#define HANDOVER_NAME "connections" /* with the keeper, from our end on */
#define SPOOL_NAME "spool" /* with the keeper */
#define LIVES_NAME "lives" /* with the keeper */
#define SETTLE_SECONDS 0.2 /* for what Redis was asked last */

/* What the command line says. */
struct options {
	char *file; /* -c, or the default; NULL: none */
	json_t *overrides; /* [herod] settings from argv and environment */
	bool check, daemon, version, help;
	const char *new_key; /* --bootstrap-admin-key */
	int keeper_fd; /* -1: we are what the user typed */
	bool guarded; /* by a guard, which would start us again */
	int ready_fd; /* of guarded */
};

struct stored {
	TAILQ_ENTRY(stored) entry;
	char *name;
	int fd;
};

struct herod {
	struct options options;
	struct privs privs;
	char **argv;
	struct conf *conf;
	struct ev_loop *loop;
	struct keeper *keeper;
	struct cgroups *cgroups;
	struct redis *redis;
	struct workers *workers;
	struct schedules *schedules;
	struct runners *runners;
	struct runner_hooks hooks;
	struct runner_watch watch;
	struct notify *notify;
	struct keep *keep;
	struct keys *keys;
	struct audit *audit;
	struct past *past;
	struct doors *doors;
	struct events *events;
	struct upgrade *upgrade;
	struct peers *peers;
	struct services services;
	struct configured configured;
	TAILQ_HEAD(, stored) stored; /* what the keeper held for us */
	bool handed_over; /* it held connections, too */
	struct handover *handover; /* until we go on with them */
	ev_signal signals[6];
	int lock_fd;
	struct rlimit core; /* that we were given */
	bool again; /* one before us was ready, and died */
	bool remembered; /* what those before us knew of runners */
	bool reload_due; /* the file has yet to count */
	bool ending;
	int code; /* of an essential runner that ended it */
};

/* ---- options ---- */

static const char usage[] =
    "usage: herod [-c FILE] [-l LEVEL] [--check] [--daemon] [--KEY VALUE]...\n"
    "       herod [-c FILE] --bootstrap-admin-key NAME\n"
    "       herod --version | --help\n";

static void
print_help(void)
{
	const struct setting *s;

	fputs(usage, stdout);
	puts("\n  -c FILE    configuration (default: see herod.conf(5))\n"
	     "  -l LEVEL   error, warn, info, debug or trace\n"
	     "  --check    check options and configuration, start nothing\n"
	     "  --daemon   go to the background once ready\n"
	     "  --bootstrap-admin-key NAME\n"
	     "             make a key with the scope admin, print it and end\n"
	     "\nSettings of [herod], as --KEY VALUE or HEROD_KEY:\n");
	for (s = daemon_settings; s->name; s++)
		if (!setting_is_group(s))
			printf("  --%-18s %s\n", s->name,
			    s->fallback ? s->fallback : "");
}

static void
dashes_to_underscores(char *word)
{
	for (; *word; word++)
		if (*word == '-')
			*word = '_';
}

/* --key value or --key=value of [herod]; *i is stepped on. */
static int
read_setting(struct options *o, char **argv, int *i, struct err *e)
{
	char *name = xstrdup(argv[*i] + 2), *eq = strchr(name, '=');
	const char *value = NULL, *nearest;
	int bad = 0;

	if (eq)
		*eq = '\0';
	dashes_to_underscores(name);
	if (setting_find(daemon_settings, name) == NULL) {
		nearest = setting_nearest(daemon_settings, name);
		bad = err_set(e, ERR_PARAMS, "there is no option %s", argv[*i]);
		if (nearest)
			err_hint(e, "did you mean --%s?", nearest);
	} else {
		value = eq ? eq + 1 : argv[*i + 1];
		*i += eq ? 0 : 1;
		if (value == NULL)
			bad =
			    err_set(e, ERR_PARAMS, "--%s needs a value", name);
	}
	if (!bad)
		json_object_set_new(
		    o->overrides, name, text_json(value, strlen(value)));
	free(name);
	return bad;
}

/* -c and -l, with their argument in the same word or the next. */
static int
read_letter(struct options *o, char **argv, int *i, struct err *e)
{
	char letter = argv[*i][1];
	const char *value = argv[*i][2] ? argv[*i] + 2 : argv[++*i];

	if (letter != 'c' && letter != 'l')
		return err_set(e, ERR_PARAMS, "there is no option -%c", letter);
	if (value == NULL)
		return err_set(e, ERR_PARAMS, "-%c needs a value", letter);
	if (letter == 'c') {
		free(o->file);
		o->file = xstrdup(value);
	} else {
		json_object_set_new(
		    o->overrides, "log_level", text_json(value, strlen(value)));
	}
	return 0;
}

static int
read_word(struct options *o, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i];

	if (strcmp(word, "--check") == 0)
		o->check = true;
	else if (strcmp(word, "--daemon") == 0)
		o->daemon = true;
	else if (strcmp(word, "--version") == 0)
		o->version = true;
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		o->help = true;
	else if (strcmp(word, "--bootstrap-admin-key") == 0 && argv[*i + 1])
		o->new_key = argv[++*i];
	else if (strcmp(word, "--keeper-fd") == 0 && argv[*i + 1])
		o->keeper_fd = atoi(argv[++*i]);
	else if (strcmp(word, "--guarded") == 0 && argv[*i + 1]) {
		o->guarded = true;
		o->ready_fd = atoi(argv[++*i]);
	} else if (strncmp(word, "--", 2) == 0 && word[2])
		return read_setting(o, argv, i, e);
	else if (word[0] == '-' && word[1] && word[1] != '-')
		return read_letter(o, argv, i, e);
	else
		return err_set(e, ERR_PARAMS, "'%.80s' is not an option", word);
	return 0;
}

/* HEROD_KEY, and HERO_LOG for the level; argv comes later and wins. */
static void
read_environment(struct options *o)
{
	const struct setting *s;
	const char *value;
	char name[64], *c;

	for (s = daemon_settings; s->name; s++) {
		snprintf(name, sizeof(name), "HEROD_%s", s->name);
		for (c = name; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		value = setting_is_group(s) ? NULL : getenv(name);
		if (value)
			json_object_set_new(o->overrides, s->name,
			    text_json(value, strlen(value)));
	}
	value = getenv("HERO_LOG");
	if (value)
		json_object_set_new(
		    o->overrides, "log_level", text_json(value, strlen(value)));
}

static int
read_options(struct options *o, char **argv, struct err *e)
{
	int i;

	*o = (struct options){.keeper_fd = -1, .overrides = json_object()};
	read_environment(o);
	for (i = 1; argv[i]; i++)
		if (read_word(o, argv, &i, e) != 0)
			return -1;
	if (o->file == NULL)
		o->file = conf_default_path();
	return 0;
}

/* ---- directories ---- */

/* Makes a directory and those above it. */
static int
make_dir(const char *path, mode_t mode, struct err *e)
{
	char *copy = xstrdup(path), *slash;
	int bad = 0;

	for (slash = copy + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(copy, 0755);
		*slash = '/';
	}
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		bad = err_set(e, ERR_INTERNAL, "cannot make %s: %s", path,
		    strerror(errno));
	free(copy);
	return bad;
}

/* Where others may rename and remove, anything of ours could be theirs. */
static int
check_mode(const char *what, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(
		    e, ERR_INTERNAL, "%s %s: %s", what, path, strerror(errno));
	if (!(st.st_mode & S_IWOTH) || st.st_mode & S_ISVTX)
		return 0;
	err_set(e, ERR_INTERNAL, "%s %s may be written by anybody (mode %04o)",
	    what, path, (unsigned)st.st_mode & 07777);
	return err_hint(e, "chmod go-w %s", path);
}

/* In a place where others may write, a directory must be ours alone. */
static int
check_owner(const char *what, const char *path, uid_t owner, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return err_set(
		    e, ERR_INTERNAL, "%s %s: %s", what, path, strerror(errno));
	if (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
		return err_set(
		    e, ERR_INTERNAL, "%s %s is not a directory", what, path);
	if (st.st_uid == owner || st.st_uid == 0)
		return check_mode(what, path, e);
	err_set(e, ERR_INTERNAL, "%s %s belongs to uid %u; wanted uid %u", what,
	    path, (unsigned)st.st_uid, (unsigned)owner);
	return err_hint(
	    e, "if it is for herod: chown -R it to uid %u", (unsigned)owner);
}

/* False for what was there before a herod was, in a state_dir that is not. */
static bool
is_of_state(int dir, const char *name)
{
	struct stat st;

	(void)name;
	return faccessat(dir, LOCK_FILE, F_OK, 0) == 0 ||
	    fstatat(dir, "log/herod.log", &st, 0) == 0 ||
	    strcmp(name, "log") == 0;
}

static bool
is_socket(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISSOCK(st.st_mode);
}

/* By the user if they may: in a place of theirs root makes nothing, for they
 * could have it made anywhere. */
static int
make_users_dir(
    const struct privs *p, const char *path, mode_t mode, struct err *e)
{
	struct err theirs = {0};
	int bad;

	privs_own_files(p, true);
	bad = make_dir(path, mode, &theirs);
	privs_own_files(p, false);
	if (bad && privs_is_roots_place(p, path))
		return make_dir(path, mode, e);
	if (bad)
		*e = theirs;
	return bad;
}

/* While root, for the herod that is to be somebody else. */
static int
give_dirs(const struct privs *p, const struct daemon_conf *d, struct err *e)
{
	if (make_users_dir(p, d->state_dir, 0750, e) != 0 ||
	    check_owner("state_dir", d->state_dir, p->uid, e) != 0 ||
	    make_users_dir(p, d->runtime_dir, 0755, e) != 0 ||
	    check_owner("runtime_dir", d->runtime_dir, p->uid, e) != 0)
		return -1;
	return privs_give(p, d->state_dir, is_of_state, e) != 0 ||
		privs_give(p, d->runtime_dir, is_socket, e) != 0
	    ? -1
	    : 0;
}

static int
make_dirs(const struct daemon_conf *d, struct err *e)
{
	mode_t mode = geteuid() == 0 ? 0755 : 0700;
	char *log = xasprintf("%s/log", d->state_dir);
	int bad = make_dir(d->state_dir, 0750, e) ||
	    check_owner("state_dir", d->state_dir, geteuid(), e) ||
	    make_dir(log, 0750, e) || make_dir(d->runtime_dir, mode, e) ||
	    check_owner("runtime_dir", d->runtime_dir, geteuid(), e);

	free(log);
	return bad ? -1 : 0;
}

/* ---- what the keeper held ---- */

/* Once we hold the lock, which the keeper does as long as it holds anything
 * else. */
static void
remember(struct herod *h)
{
	if (h->past == NULL)
		h->past = past_open(h->conf->daemon.state_dir);
	if (h->past && !h->remembered)
		runners_remember(h->runners, h->past);
	h->remembered = true;
}

static void
on_found(void *arg, struct child *c, const char *tag)
{
	struct herod *h = arg;

	remember(h);
	runners_adopt(h->runners, c, tag);
}

/* Before anything else is found: what happens from now on is told to those
 * who listened to the herod before. */
static void
open_handover(struct herod *h, int fd)
{
	const char *life;
	json_int_t seq;

	h->handed_over = true;
	h->handover = handover_open(fd);
	if (h->handover == NULL)
		return;
	life = json_string_value(
	    json_object_get(handover_about(h->handover), "life"));
	seq = json_integer_value(
	    json_object_get(handover_about(h->handover), "seq"));
	if (life)
		events_go_on(h->events, life, (uint64_t)seq);
}

static void
take_over(struct herod *h)
{
	if (h->handed_over)
		keeper_drop(h->keeper, HANDOVER_NAME);
	if (h->handover == NULL)
		return;
	doors_take_over(h->doors, h->handover);
	handover_free(h->handover);
	h->handover = NULL;
}

/* The next herod goes on with the connections that are open. */
static void
hand_over(struct herod *h)
{
	struct handover *handover = handover_new(json_pack("{s:s, s:I}", "life",
	    events_life(h->events), "seq", (json_int_t)events_last(h->events)));
	int fd;

	doors_leave(h->doors, handover);
	fd = handover_close(handover);
	if (fd >= 0)
		keeper_store(h->keeper, HANDOVER_NAME, fd);
}

static void
on_stored(void *arg, const char *name, int fd)
{
	struct herod *h = arg;
	struct stored *s;

	if (strcmp(name, HANDOVER_NAME) == 0) {
		open_handover(h, fd);
		return;
	}
	s = xcalloc(1, sizeof(*s));

	s->name = xstrdup(name);
	s->fd = fd;
	h->again = true;
	TAILQ_INSERT_TAIL(&h->stored, s, entry);
}

static void
name_orphans(const struct herod *h)
{
	const struct instance *i;
	struct runner *r;
	size_t k;

	RUNNERS_FOREACH (r, h->runners)
		RUNNER_FOREACH_INSTANCE (i, r, k)
			if (i->child && i->child->pid)
				log_errorx(
				    "runner %s.%d: pid %d has lost its parent, ending "
				    "it",
				    r->name, i->n, (int)i->child->pid);
}

static int exec_keeper(
    const struct herod *h, const char *herod, int ready_fd, int resume_fd);

/* Signals that came, but what they ask for is not begun. */
static volatile sig_atomic_t caught[NSIG];

static void
on_caught(int signum)
{
	caught[signum] = true;
	ev_feed_signal(signum);
}

/* Those that come from now on wait until the keeper can take them, and those
 * that are not dealt with as well. */
static void
leave_signals(sigset_t *old)
{
	sigset_t all;
	int signum;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, old);
	for (signum = 1; signum < NSIG; signum++)
		if (caught[signum])
			raise(signum);
}

/* What Redis was asked last is known before connections are handed over: who
 * asked for it would ask the next herod again. */
static void
settle(struct herod *h)
{
	keep_flush(h->keep);
	redis_settle(h->redis, SETTLE_SECONDS);
	redis_hang_up(h->redis);
}

/*
 * Becomes the keeper: same pid, everything that lives goes on.  A new herod
 * finds it as after a crash of ours, and goes on with our connections.
 * Returns when that cannot be.
 */
static void
take_keepers_place(struct herod *h)
{
	sigset_t old;
	int fd;

	leave_signals(&old);
	lives_count_keeper();
	settle(h);
	hand_over(h);
	fd = keeper_bequeath(h->keeper);
	setrlimit(RLIMIT_CORE, &h->core); /* for its children */
	if (fd != -1)
		exec_keeper(h, h->argv[0], -1, fd);
	else
		log_warn("cannot take the place of herod-keeper");
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Not being root we cannot be what the keeper was.  Its guard starts another
 * one, and that goes on with what lives, as after the death of both. */
static _Noreturn void
leave_to_guard(struct herod *h)
{
	log_errorx("herod-keeper was killed: ending for its guard to start all "
		   "anew");
	settle(h);
	_exit(EXIT_FAILURE);
}

/* Left alone, they would write to nobody, and the next herod would start
 * them a second time. */
static void
on_keeper_lost(void *arg)
{
	struct herod *h = arg;

	if (!h->ending && privs_keeper_is_root())
		leave_to_guard(h);
	if (!h->ending) {
		log_errorx("herod-keeper was killed: taking its place; nobody "
			   "can tell how those end that it had started");
		take_keepers_place(h);
	}
	log_errorx("herod-keeper has ended: nobody can tell how runners end "
		   "any more, ending too");
	name_orphans(h);
	keeper_end_orphans(h->keeper, ORPHANS_GRACE);
	ev_break(h->loop, EVBREAK_ALL);
}

static void
on_upgrade_refused(void *arg, int error)
{
	struct herod *h = arg;

	upgrade_refused(h->upgrade, error);
}

/* The next herod finds all as after a crash of ours, and goes on with our
 * connections.  When we were about to end, none is to begin: then the keeper
 * ends what is left. */
static void
on_keeper_replaced(void *arg)
{
	struct herod *h = arg;

	upgrade_replaced(h->upgrade);
	settle(h);
	if (h->ending) {
		doors_free(h->doors);
		if (kill(getppid(), SIGTERM) == -1)
			keeper_stop(h->keeper, EXIT_SUCCESS);
	} else {
		hand_over(h);
	}
	_exit(EXIT_SUCCESS);
}

static const struct keeper_ops keeper_ops = {
    .found = on_found,
    .stored = on_stored,
    .lost = on_keeper_lost,
    .refused = on_upgrade_refused,
    .replaced = on_keeper_replaced,
};

/* The descriptor, which is the caller's then; -1 when it held none. */
static int
take_stored(struct herod *h, const char *name)
{
	struct stored *s;
	int fd;

	TAILQ_FOREACH (s, &h->stored, entry)
		if (strcmp(s->name, name) == 0)
			break;
	if (s == NULL)
		return -1;
	fd = s->fd;
	TAILQ_REMOVE(&h->stored, s, entry);
	free(s->name);
	free(s);
	return fd;
}

static void
drop_stored(struct herod *h)
{
	struct stored *s;

	while ((s = TAILQ_FIRST(&h->stored)) != NULL) {
		keeper_drop(h->keeper, s->name);
		close(take_stored(h, s->name));
	}
}

/* ---- one herod a state directory ---- */

/* The keeper's, which may be another one by now. */
static bool
write_pid(int fd)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getppid());

	return pwrite(fd, text, (size_t)len, 0) == len &&
	    ftruncate(fd, len) == 0;
}

/* The lock is held as long as the keeper lives, which has a copy. */
static int
lock_state(struct herod *h, struct err *e)
{
	char *path = xasprintf("%s/" LOCK_FILE, h->conf->daemon.state_dir);
	int bad = 0;

	h->lock_fd = take_stored(h, LOCK_NAME);
	if (h->lock_fd < 0) {
		h->lock_fd = lock_take(path, e);
		bad = h->lock_fd < 0 ? -1 : 0;
		if (!bad)
			keeper_store(h->keeper, LOCK_NAME, h->lock_fd);
	}
	if (!bad && !write_pid(h->lock_fd))
		log_warn("%s", path);
	free(path);
	return bad;
}

/* ---- systemd ---- */

/* sd_notify(3)'s protocol: one datagram to $NOTIFY_SOCKET. */
static void
tell_systemd(const char *what)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len == 0 || len >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, len);
	if (sun.sun_path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, what, strlen(what), MSG_NOSIGNAL,
		(struct sockaddr *)&sun,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_warn("systemd: %s", path);
	close(fd);
}

/* ---- the end ---- */

static void
on_all_down(void *arg)
{
	struct herod *h = arg;

	ev_break(h->loop, EVBREAK_ALL);
}

static void
end(struct herod *h, const char *why)
{
	bool hurry = h->ending;

	log_info("%s: %s", why, hurry ? "killing what is left" : "stopping");
	if (!h->ending) {
		tell_systemd("STOPPING=1");
		/* Nothing wanted now is to be kept as wanted by the user. */
		keep_flush(h->keep);
		if (h->upgrade)
			upgrade_close(h->upgrade);
		h->ending = true;
		schedules_stop(h->schedules);
		news_shutdown(&h->services);
	}
	runners_shutdown(h->runners, hurry, on_all_down, h);
}

static void
on_shutdown_call(void *master)
{
	struct herod *h = master;

	if (!h->ending)
		end(h, "shutdown");
}

static void
on_end_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	DOING("signals to", "herod");
	char name[16], why[24];

	(void)loop;
	(void)revents;
	caught[w->signum] = false;
	snprintf(why, sizeof(why), "SIG%s", signal_name(w->signum, name));
	end(w->data, why);
}

static void
log_names(const char *what, const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		log_info("reload: %s %s", what, json_string_value(name));
}

static void
log_reload(const json_t *done)
{
	const json_t *sentence;
	const char *name;
	char what[32];
	json_t *how;
	size_t i;

	log_names("removed", json_object_get(done, "removed"));
	json_object_foreach (json_object_get(done, "changed"), name, how)
		log_info("reload: %s %s", json_string_value(how), name);
	log_names("added", json_object_get(done, "added"));
	log_names("herod", json_object_get(done, "herod"));
	json_object_foreach (json_object_get(done, "schedules"), name, how) {
		snprintf(what, sizeof(what), "schedule %s", name);
		log_names(what, how);
	}
	json_array_foreach (json_object_get(done, "refused"), i, sentence)
		log_warnx("reload: %s", json_string_value(sentence));
}

static void
reload(struct herod *h)
{
	char **errors = NULL, **line;
	json_t *done;

	done = configured_reload(&h->configured, false, &errors);
	for (line = errors; line && *line; line++)
		log_errorx("%s", *line);
	if (done)
		log_reload(done);
	else
		log_errorx("reload: refused, nothing was changed");
	strv_free(errors);
	json_decref(done);
}

static void
on_reload_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	DOING("reload of", "the configuration");
	struct herod *h = w->data;

	(void)loop;
	(void)revents;
	caught[w->signum] = false;
	if (!h->ending && h->doors)
		reload(h);
}

/* Those that are nobody's wish to end. */
static void
on_other_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	DOING("signals to", "herod");
	char name[16];

	(void)loop;
	(void)revents;
	caught[w->signum] = false;
	log_info("SIG%s: nothing is done", signal_name(w->signum, name));
}

static int
open_log(const char *path)
{
	return open(path,
	    O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC,
	    0640);
}

static bool
is_stderr(int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstat(STDERR_FILENO, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Until it is in the background whoever started it is told, too.  Without
 * a directory for logs yet there was nothing to be told of. */
static void
log_to_both(const struct daemon_conf *d)
{
	char *path = xasprintf("%s/log/herod.log", d->state_dir);
	int fd = open_log(path);

	if (fd >= 0 && is_stderr(fd))
		close(fd);
	else
		log_copy_to(fd);
	free(path);
}

/* In the background herod's own log goes to a file, or nowhere: whoever
 * started it may wait for the end of stderr. */
static void
log_to_file(struct herod *h)
{
	char *path = xasprintf("%s/log/herod.log", h->conf->daemon.state_dir);
	int fd = open_log(path);

	log_copy_to(-1);
	if (fd < 0) {
		log_warn("%s", path);
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		close(fd);
	}
	free(path);
	keeper_stderr(h->keeper, STDERR_FILENO);
}

static void
on_reopen_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
	DOING("signals to", "herod");
	struct herod *h = w->data;

	(void)loop;
	(void)revents;
	caught[w->signum] = false;
	log_info("SIGUSR2: log files are opened anew");
	if (h->runners)
		runners_reopen_logs(h->runners);
	if (h->audit)
		audit_reopen(h->audit);
	if (h->options.daemon && h->keeper)
		log_to_file(h);
}

static void
watch_signals(struct herod *h)
{
	static const int numbers[] = {
	    SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
	static void (*const does[])(struct ev_loop *, ev_signal *, int) = {
	    on_end_signal, on_end_signal, on_end_signal, on_reload_signal,
	    on_other_signal, on_reopen_signal};
	struct sigaction catch = {
	    .sa_handler = on_caught, .sa_flags = SA_RESTART};
	size_t i;

	sigfillset(&catch.sa_mask);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		ev_signal_init(&h->signals[i], does[i], numbers[i]);
		h->signals[i].data = h;
		ev_signal_start(h->loop, &h->signals[i]);
		sigaction(numbers[i], &catch, NULL);
	}
}

/* ---- what runners tell ---- */

static void
on_added(void *arg, struct runner *r)
{
	struct herod *h = arg;

	workers_runner_added(h->workers, r);
	news_added(&h->services, r);
	if (h->keep && runner_is_external(r))
		keep_touch(h->keep);
}

static void
on_removed(void *arg, struct runner *r)
{
	struct herod *h = arg;

	workers_runner_gone(h->workers, r);
	news_removed(&h->services, r);
	if (h->keep)
		keep_touch(h->keep);
}

static void
on_wanted(void *arg, struct runner *r)
{
	struct herod *h = arg;

	keep_touch(h->keep);
	workers_runner_wanted(h->workers, r);
	news_wanted(&h->services, r);
}

static void
on_changed(void *arg, struct instance *i, enum state old)
{
	struct herod *h = arg;

	news_state(&h->services, i, old);
	workers_instance_changed(h->workers, i);
	if (i->runner->internal && i->state == RUNNING)
		redis_dial(h->redis);
}

static void
on_lost(void *arg, struct runner *r, int code)
{
	struct herod *h = arg;
	char why[128];

	h->code = code;
	snprintf(why, sizeof(why), "runner %s: essential, and has ended (%d)",
	    r->name, code);
	end(h, why);
}

static void
on_reconfigured(void *arg, struct runner *r, const struct runner_conf *before)
{
	struct herod *h = arg;

	workers_runner_changed(h->workers, r, before);
	keep_touch(h->keep);
	news_changed(&h->services, r);
}

static void
on_health(void *arg, struct instance *i)
{
	struct herod *h = arg;

	news_health(&h->services, i);
}

/* ---- wiring ---- */

/* The private Redis is a runner like any other, but herod's own. */
static int
add_private_redis(struct herod *h, struct err *e)
{
	struct runner_conf conf = {0};
	struct runner *r = NULL;
	char *url = NULL;

	if (private_redis_conf(&h->conf->daemon, &conf, &url, e) == 0)
		r = runner_add(
		    h->runners, PRIVATE_REDIS_NAME, &conf, "herod", e);
	if (r) {
		r->internal = true;
		r->wanted = WANTED_UP;
	}
	free(url);
	settings_clear(runner_settings, &conf);
	return r ? 0 : -1;
}

/* Before runners exist: their environment tells the URL. */
static int
set_redis_url(struct herod *h, struct err *e)
{
	struct runner_conf conf = {0};
	int bad;

	bad = private_redis_conf(
	    &h->conf->daemon, &conf, &h->conf->daemon.redis_url, e);
	settings_clear(runner_settings, &conf);
	return bad;
}

static int
add_runners(struct herod *h, bool own_redis, struct err *e)
{
	size_t i;

	if (own_redis && add_private_redis(h, e) != 0)
		return -1;
	for (i = 0; i < h->conf->nrunners; i++)
		if (runner_add(h->runners, h->conf->runners[i].name,
			&h->conf->runners[i].settings,
			h->conf->runners[i].origin, e) == NULL)
			return -1;
	conf_drop_runners(h->conf); /* they have their copies */
	keep_restore(h->keep, h->runners);
	return 0;
}

enum { CGROUPS_AUTO, CGROUPS_OFF };

/* The herod after us on this state directory finds ours again. */
static const char *
cgroups_id(const struct daemon_conf *d, char id[24])
{
	uint64_t hash = 14695981039346656037U; /* FNV-1a */
	const char *c;

	for (c = d->state_dir; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211U;
	snprintf(id, 24, "%016llx", (unsigned long long)hash);
	return id;
}

static struct cgroups *
open_cgroups(const struct daemon_conf *d)
{
	char id[24];

	return cgroups_open(cgroups_id(d, id), d->cgroups == CGROUPS_OFF);
}

static int
make_parts(struct herod *h, struct err *e)
{
	struct daemon_conf *d = &h->conf->daemon;
	bool own_redis = d->redis_url == NULL;

	if (own_redis && set_redis_url(h, e) != 0)
		return -1;
	h->keys = keys_open(h->loop, d->state_dir, e);
	if (h->keys == NULL)
		return -1;
	keys_set_secrets(h->keys, d);
	h->audit = audit_open(h->loop, d);
	h->keep = keep_open(h->loop, d->state_dir, e);
	h->redis = h->keep
	    ? redis_new(h->loop, d->redis_url, d->redis_timeout, e)
	    : NULL;
	if (h->redis == NULL)
		return -1;
	if (own_redis)
		redis_set_hint(h->redis,
		    "it is herod's own: heroctl why " PRIVATE_REDIS_NAME);
	h->events = events_new();
	h->workers = workers_new(h->loop, h->redis, d, d->state_dir);
	workers_publish(h->workers, h->events);
	if (workers_open_spool(h->workers, d->state_dir, e) != 0)
		return -1;
	if (!own_redis)
		workers_share(h->workers);
	workers_hooks(h->workers, &h->hooks);
	h->watch = (struct runner_watch){h, on_added, on_removed, on_wanted,
	    on_changed, on_lost, on_reconfigured, on_health};
	h->runners = runners_new(h->loop, d, &h->hooks, &h->watch);
	h->notify = notify_new(h->loop);
	runners_set_notify(h->runners, h->notify);
	h->cgroups = open_cgroups(d);
	runners_set_cgroups(h->runners, h->cgroups);
	workers_attach(h->workers, h->runners);
	h->schedules = schedules_new(h->loop, h->redis, h->workers, h->events);
	h->configured = (struct configured){h->options.file,
	    h->options.overrides, h->conf, own_redis, h->runners, h->workers,
	    h->redis, h->schedules, h->keys, NULL, NULL, NULL};
	h->services =
	    (struct services){h->loop, d, h->runners, h->workers, h->redis,
		h->keep, h->events, &h->configured, ev_time(), on_shutdown_call,
		h, NULL, h->schedules, NULL, h->keys, h->audit, NULL, NULL};
	h->peers = peers_new(&h->services);
	h->services.metrics = metrics_new(&h->services);
	return add_runners(h, own_redis, e);
}

/* Addresses nobody asked for may be missing (no IPv6), not taken. */
static bool
is_tolerable(const struct herod *h, const char *address)
{
	return h->conf->default_listen && strstr(address, "[::1]") != NULL;
}

static int
open_door(struct herod *h, const char *address, struct err *e)
{
	char *name = xasprintf(DOOR_PREFIX "%.*s", 54, address);
	int held = take_stored(h, name);
	int fd = doors_listen(h->doors, address, held, e);

	if (fd >= 0) /* the held one may have been of no use */
		keeper_store(h->keeper, name, fd);
	free(name);
	if (fd >= 0)
		return 0;
	if (!is_tolerable(h, address))
		return -1;
	log_warnx("%s", e->text);
	err_clear(e);
	return 0;
}

/* One that has become bad does not end what runs. */
static int
set_certificate(struct herod *h, struct err *e)
{
	struct tls_credentials *c = tls_door_read(&h->conf->daemon, e);

	tls_door_set(doors_tls(h->doors), c);
	if (c != NULL || !err_is_set(e))
		return 0;
	if (!h->again)
		return -1;
	log_errorx("%s: TLS is not spoken until heroctl reload", e->text);
	err_clear(e);
	return 0;
}

static int
open_doors(struct herod *h, struct err *e)
{
	char *const *a;

	h->doors = doors_new(&h->services);
	h->configured.tls = doors_tls(h->doors);
	h->configured.doors = h->doors;
	h->configured.origins_changed = doors_judge_pages;
	if (set_certificate(h, e) != 0)
		return -1;
	h->services.doors = h->doors;
	for (a = h->conf->daemon.listen; a && *a; a++)
		if (open_door(h, *a, e) != 0)
			return -1;
	return 0;
}

/* Where runners tell by sd_notify(3). */
static int
open_notify(struct herod *h, struct err *e)
{
	char *path = xasprintf("%s/" NOTIFY_NAME, h->conf->daemon.runtime_dir);
	int held = take_stored(h, NOTIFY_NAME);
	int fd = notify_open(h->notify, path, held, e);

	if (fd >= 0 && held < 0)
		keeper_store(h->keeper, NOTIFY_NAME, fd);
	free(path);
	return fd >= 0 ? 0 : -1;
}

/* Where jobs of durability memory wait while Redis is away. */
static void
open_memory(struct herod *h)
{
	int held = take_stored(h, SPOOL_NAME);
	int fd = workers_open_memory(h->workers, held);

	if (fd >= 0 && held < 0)
		keeper_store(h->keeper, SPOOL_NAME, fd);
}

static void
open_lives(struct herod *h)
{
	int held = take_stored(h, LIVES_NAME);
	int fd = lives_open(held);

	if (fd >= 0 && held < 0)
		keeper_store(h->keeper, LIVES_NAME, fd);
	if (fd >= 0)
		close(fd);
	if (h->again)
		lives_count_herod();
}

static void add_words(char ***args, char **argv);

/* Who comes now is the next herod's. */
static void
on_hold(void *arg, bool hold)
{
	struct herod *h = arg;

	doors_hold(h->doors, hold);
}

static void
open_upgrade(struct herod *h)
{
	char **words = NULL;

	strv_add(&words, xstrdup(h->argv[0]));
	add_words(&words, h->argv);
	strv_add(&words, xstrdup("--check"));
	h->upgrade = upgrade_new(h->loop, h->keeper, words, on_hold, h);
	h->services.upgrade = h->upgrade;
}

static int
begin(struct herod *h, struct err *e)
{
	/* First: one that asks to end while we begin is heard then. */
	watch_signals(h);
	if (make_dirs(&h->conf->daemon, e) != 0)
		return -1;
	if (h->options.daemon)
		log_to_both(&h->conf->daemon);
	if (make_parts(h, e) != 0)
		return -1;
	h->keeper =
	    keeper_open(h->loop, h->options.keeper_fd, &keeper_ops, h, e);
	if (h->keeper == NULL)
		return -1;
	runners_set_keeper(h->runners, h->keeper);
	open_upgrade(h);
	if (lock_state(h, e) != 0 || open_doors(h, e) != 0 ||
	    open_notify(h, e) != 0)
		return -1;
	open_memory(h);
	open_lives(h);
	drop_stored(h);
	remember(h);
	keeper_record(h->keeper, h->conf->daemon.state_dir);
	workers_recover(h->workers);
	runners_settle(h->runners, h->again);
	runners_look_at_keeper(h->runners);
	schedules_begin(h->schedules, h->conf, h->again);
	conf_drop_schedules(h->conf); /* they have their copies */
	take_over(h);
	if (h->options.daemon)
		log_to_file(h);
	if (h->reload_due)
		reload(h);
	configured_keep(&h->configured);
	keeper_ready(h->keeper);
	tell_systemd("READY=1");
	malloc_trim(0); /* what it took to begin */
	return 0;
}

/* In reverse.  Parts that were never made are NULL. */
static void
finish(struct herod *h, int code)
{
	size_t i;

	for (i = 0; i < sizeof(h->signals) / sizeof(h->signals[0]); i++)
		ev_signal_stop(h->loop, &h->signals[i]);
	if (h->keep)
		keep_flush(h->keep);
	keep_free(h->keep);
	h->keep = NULL;
	if (h->doors) {
		doors_shut(h->doors);
		doors_free(h->doors);
		h->services.doors = NULL;
	}
	keys_free(h->keys);
	if (h->runners)
		runners_free(h->runners);
	past_close(h->past);
	if (h->notify)
		notify_free(h->notify);
	if (h->cgroups)
		cgroups_close(h->cgroups);
	schedules_free(h->schedules);
	if (h->peers)
		peers_free(h->peers);
	if (h->workers) {
		workers_save_memory(h->workers, h->conf->daemon.state_dir);
		workers_free(h->workers);
	}
	if (h->redis)
		redis_free(h->redis);
	metrics_free(h->services.metrics);
	audit_close(h->audit);
	events_free(h->events);
	upgrade_free(h->upgrade);
	if (h->keeper) {
		drop_stored(h);
		keeper_stop(h->keeper, code);
		keeper_close(h->keeper);
	}
	turns_free(h->loop);
	ev_loop_destroy(h->loop);
}

static void
options_clear(struct options *o)
{
	free(o->file);
	json_decref(o->overrides);
}

/* Level of the log; the word was checked with the rest. */
static int
set_log(const struct conf *c, struct err *e)
{
	return log_set_levels(c->daemon.log_level, e);
}

static int
complain(const struct err *e)
{
	fprintf(stderr, "herod: %s%s%s%s\n", e->text, *e->hint ? " (" : "",
	    e->hint, *e->hint ? ")" : "");
	return EXIT_FAILURE;
}

/* What herod holds of one process: pidfd, output, and for jobs stdin and
 * journals. */
static unsigned long long
descriptors_of(const struct runner_conf *c)
{
	static const unsigned each[] = {[KIND_SERVICE] = 3,
	    [KIND_EXEC] = 4,
	    [KIND_STDIO] = 5,
	    [KIND_REDIS] = 3,
	    [KIND_EXTERNAL] = 0};

	return conf_instances(c) * each[c->kind];
}

/* Those of TLS come with two more, of our own. */
static void
warn_of_connections(const struct daemon_conf *d, unsigned long long rest)
{
	unsigned long long each = d->tls_cert ? 3 : 1;

	if ((unsigned long long)d->max_connections * each > rest)
		log_warnx("max_connections, %lld, take %llu descriptors%s: "
			  "RLIMIT_NOFILE leaves %llu",
		    d->max_connections,
		    (unsigned long long)d->max_connections * each,
		    d->tls_cert ? " with TLS" : "", rest);
}

/* Better said now than found out when the last ones are to start. */
static int
check_room(const struct conf *c, struct err *e)
{
	unsigned long long need = DESCRIPTORS_OF_OURS + c->nrunners;
	struct rlimit limit;
	size_t i, n = 0;

	for (i = 0; i < c->nrunners; i++) {
		need += descriptors_of(&c->runners[i].settings);
		n += conf_instances(&c->runners[i].settings);
	}
	getrlimit(RLIMIT_NOFILE, &limit); /* the keeper raises the soft one */
	if (n > PROCESSES_MAX)
		return err_set(e, ERR_PARAMS,
		    "the runners ask for %zu processes; wanted at most %d", n,
		    PROCESSES_MAX);
	if (need <= limit.rlim_max) {
		warn_of_connections(&c->daemon, limit.rlim_max - need);
		return 0;
	}
	err_set(e, ERR_PARAMS,
	    "the runners ask for %zu processes, which takes %llu descriptors, "
	    "and RLIMIT_NOFILE allows %llu",
	    n, need, (unsigned long long)limit.rlim_max);
	return err_hint(e, "raise ulimit -n or LimitNOFILE, or lower numprocs");
}

/* What was in force is refused when a runner of it is to start. */
static int
check_users(const struct options *o, const struct conf *c)
{
	char **errors = NULL, **line;
	int bad =
	    o->keeper_fd < 0 ? privs_check_runners(&c->daemon, c, &errors) : 0;

	for (line = errors; line && *line; line++)
		fprintf(stderr, "%s\n", *line);
	strv_free(errors);
	return bad;
}

/* Loads the configuration, that of a herod which died before us or the file,
 * printing every mistake; NULL when there are. */
static struct conf *
load(const struct options *o, bool *reload_due)
{
	char **errors = NULL, **line;
	struct conf *c = o->keeper_fd >= 0 ? in_force_load() : NULL;
	struct err e = {0};

	if (c == NULL) {
		c = conf_load(o->file, o->overrides, &errors);
		*reload_due = c && o->keeper_fd >= 0 && in_force_before(c);
	}
	for (line = errors; line && *line; line++)
		fprintf(stderr, "%s\n", *line);
	strv_free(errors);
	if (c && (set_log(c, &e) != 0 || check_room(c, &e) != 0))
		complain(&e);
	else if (c == NULL || check_users(o, c) == 0)
		return c;
	conf_free(c);
	return NULL;
}

/* ---- the daemon ---- */

/* Keys and payloads are in our memory.  One byte is a limit that even a core
 * through a pipe keeps to, core(5).  Nor may runners of our own user, which is
 * not who started us, look into us, and ask the keeper in our name. */
static void
keep_memory_secret(struct herod *h)
{
	struct rlimit least;

	getrlimit(RLIMIT_CORE, &h->core);
	least = h->core;
	least.rlim_cur = least.rlim_max > 0 ? 1 : 0;
	setrlimit(RLIMIT_CORE, &least);
	if (privs_keeper_is_root())
		prctl(PR_SET_DUMPABLE, 0);
}

/* One that could take the place of its keeper executes that, and then runners
 * would have the filter, too. */
static void
refuse_calls(void)
{
	int calls;

	if (!privs_keeper_is_root())
		return;
	calls = seccomp_begin();
	if (calls < 0)
		log_warn("seccomp: no system calls are refused to herod");
	else
		log_info(
		    "seccomp: %d system calls are refused to herod, execve "
		    "among them",
		    calls);
}

static int
run_daemon(struct herod *h)
{
	struct err e = {0};
	int code = EXIT_SUCCESS;

	keep_memory_secret(h);
	refuse_calls();
	srandom((unsigned)getpid());
	TAILQ_INIT(&h->stored);
	h->lock_fd = -1;
	h->loop = ev_loop_new(EVFLAG_AUTO);
	turns_watch(h->loop);
	if (begin(h, &e) == 0)
		ev_run(h->loop, 0);
	else {
		code = complain(&e);
		/* What lives, lives on, untouched: the keeper will try
		 * again, and somebody may mend what is wrong. */
		if (h->again)
			_exit(code);
	}
	if (h->ending && h->code)
		code = h->code;
	else if (!h->ending || runners_were_forced(h->runners))
		code = EXIT_FAILURE;
	finish(h, code);
	return code;
}

/* ---- what the user typed ---- */

/* Without what a keeper adds to the words of the user. */
static void
add_words(char ***args, char **argv)
{
	int i;

	for (i = 1; argv[i] && strcmp(argv[i], "--keeper-fd") != 0 &&
	     strcmp(argv[i], "--guarded") != 0;
	     i++)
		strv_add(args, xstrdup(argv[i]));
}

/* An option that goes with a descriptor; -1: there is none. */
static void
add_descriptor(char ***args, const char *option, int fd)
{
	if (fd < 0)
		return;
	strv_add(args, xstrdup(option));
	strv_add(args, xasprintf("%d", fd));
}

/* Whom herod becomes, and what its runners may. */
static void
add_privs(char ***args, const struct privs *p)
{
	char *const *runner;

	if (!p->drops)
		return;
	strv_add(args, xstrdup("--user"));
	strv_add(args, privs_option(p));
	strv_add(args, xstrdup("--root-runners"));
	strv_add(args, xstrdup(p->root_runners ? "1" : "0"));
	for (runner = p->runners; runner && *runner; runner++) {
		strv_add(args, xstrdup("--runner-user"));
		strv_add(args, xstrdup(*runner));
	}
}

/* Executes it, with these options before what herod is to be executed with. */
static int
exec_with(const struct herod *h, const char *herod, char **args)
{
	char *keeper = keeper_path(herod);

	strv_add(&args, xstrdup("--"));
	strv_add(&args, xstrdup(herod));
	add_words(&args, h->argv);
	execv(keeper, args);
	fprintf(
	    stderr, "herod: cannot execute %s: %s\n", keeper, strerror(errno));
	return EXIT_FAILURE;
}

static int
exec_keeper(
    const struct herod *h, const char *herod, int ready_fd, int resume_fd)
{
	char **args = NULL;

	strv_add(&args, xstrdup("herod-keeper"));
	add_descriptor(&args, "--ready-fd", ready_fd);
	add_descriptor(&args, "--resume", resume_fd);
	add_privs(&args, &h->privs);
	return exec_with(h, herod, args);
}

static const char *
own_path(void)
{
	static char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len > 0 ? len : 0] = '\0';
	return self;
}

/* What outlived an earlier keeper and its herod, or was tried again and again
 * by them, goes on by what was in force then, until this herod has read what
 * the file says now. */
static int
exec_first_keeper(struct herod *h, int ready_fd)
{
	const char *state_dir = h->conf->daemon.state_dir;
	char *lock = xasprintf("%s/" LOCK_FILE, state_dir);
	int resume_fd = -1, bad;
	struct err e = {0};

	if (h->options.daemon)
		log_to_both(&h->conf->daemon);
	bad = revive(&h->privs, state_dir, lock, LOCK_NAME, &resume_fd, &e);
	free(lock);
	if (bad)
		return complain(&e);
	in_force_mark(h->conf, resume_fd >= 0 || past_remains(state_dir));
	return exec_keeper(h, own_path(), ready_fd, resume_fd);
}

/* ---- when herod is to be another user ---- */

/* Who starts all of it again, as root, should the keeper be killed.  What root
 * had open by chance is nothing for herod, who is not. */
static int
exec_guard(struct herod *h, int ready_fd)
{
	char **args = NULL;

	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	if (ready_fd != -1)
		fcntl(ready_fd, F_SETFD, 0);
	strv_add(&args, xstrdup("herod-keeper"));
	add_descriptor(&args, "--ready-fd", ready_fd);
	add_descriptor(&args, "--guard", 1);
	add_privs(&args, &h->privs);
	return exec_with(h, own_path(), args);
}

/* As herod will read it, and read it again. */
static int
load_as_user(struct herod *h)
{
	struct err e = {0};

	if (privs_become(&h->privs, &e) != 0)
		return complain(&e);
	conf_free(h->conf);
	h->conf = load(&h->options, &h->reload_due);
	if (h->conf)
		return EXIT_SUCCESS;
	fprintf(stderr,
	    "herod: this is what herod meets as the user it becomes, uid %u, "
	    "who has to be able to read its configuration\n",
	    (unsigned)h->privs.uid);
	return EXIT_USAGE;
}

/* In a process of its own. */
static _Noreturn void
try_to_begin(struct herod *h)
{
	int bad = load_as_user(h);

	if (!bad && access(own_path(), X_OK) != 0) {
		fprintf(stderr, "herod: uid %u cannot execute %s: %s\n",
		    (unsigned)h->privs.uid, own_path(), strerror(errno));
		bad = EXIT_FAILURE;
	}
	_exit(bad);
}

static int
try_as_user(struct herod *h)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		try_to_begin(h);
	if (pid == -1 || waitpid(pid, &status, 0) == -1 || !WIFEXITED(status))
		return EXIT_FAILURE;
	return WEXITSTATUS(status);
}

static int
check_files(const struct herod *h, struct err *e)
{
	char *keeper = keeper_path(own_path());
	int bad = privs_check_file(&h->privs, own_path(), e) != 0 ||
	    privs_check_file(&h->privs, keeper, e) != 0;
	char **file;

	for (file = h->conf->files; !bad && file && *file; file++)
		bad = privs_check_file(&h->privs, *file, e) != 0;
	free(keeper);
	return bad ? -1 : 0;
}

/* All that only root can do, then the keeper. */
static int
begin_guarded(struct herod *h)
{
	const struct daemon_conf *d = &h->conf->daemon;
	struct err e = {0};
	char id[24];
	int bad;

	if (!h->privs.drops) /* it was about to be when the guard began */
		return exec_first_keeper(h, h->options.ready_fd);
	if (check_files(h, &e) != 0)
		return complain(&e);
	if ((bad = try_as_user(h)) != 0)
		return bad;
	if (give_dirs(&h->privs, d, &e) != 0)
		return complain(&e);
	if (d->cgroups != CGROUPS_OFF)
		cgroups_give(cgroups_id(d, id), h->privs.uid, h->privs.gid);
	privs_own_files(&h->privs, true);
	privs_set_environment(&h->privs);
	return exec_first_keeper(h, h->options.ready_fd);
}

static int
exec_first(struct herod *h, int ready_fd)
{
	if (!h->privs.drops)
		return exec_first_keeper(h, ready_fd);
	return exec_guard(h, ready_fd);
}

/* The parent of a daemon ends when it is ready, or has failed. */
static int
wait_ready(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
go_to_background(struct herod *h)
{
	int ready[2], null;

	if (pipe(ready) != 0)
		return EXIT_FAILURE;
	switch (fork()) {
	case -1:
		fprintf(stderr, "herod: fork: %s\n", strerror(errno));
		return EXIT_FAILURE;
	case 0:
		break;
	default:
		close(ready[1]);
		return wait_ready(ready[0]);
	}
	close(ready[0]);
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	return exec_first(h, ready[1]);
}

static int
check_redis(const struct daemon_conf *d, struct err *e)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct redis *r = redis_new(loop, d->redis_url, d->redis_timeout, e);

	redis_free(r);
	ev_loop_destroy(loop);
	return r ? 0 : -1;
}

/* Some that cannot be read are told when herod starts. */
static bool
has_keys(const struct daemon_conf *d)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct keys *keys = keys_open(loop, d->state_dir, NULL);
	bool some = false;

	if (keys) {
		keys_set_secrets(keys, d);
		some = keys_exist(keys);
	}
	keys_free(keys);
	ev_loop_destroy(loop);
	return some;
}

/* Nobody else may have the keys at that time. */
static int
make_key(const struct daemon_conf *d, const char *name, struct err *e)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct keys *keys = keys_open(loop, d->state_dir, e);
	struct key_wanted wanted = {name, SCOPE_ADMIN, 0, NULL};
	char *key = keys ? keys_create(keys, &wanted, e) : NULL;

	if (key) {
		puts(key);
		explicit_bzero(key, strlen(key));
	}
	free(key);
	keys_free(keys);
	ev_loop_destroy(loop);
	return key ? 0 : -1;
}

static int
bootstrap(struct herod *h)
{
	const struct daemon_conf *d = &h->conf->daemon;
	const char *name = h->options.new_key;
	char *lock = xasprintf("%s/" LOCK_FILE, d->state_dir);
	struct err e = {0};
	int fd = -1;

	if (!name_is_valid(name))
		err_set(&e, ERR_PARAMS,
		    "--bootstrap-admin-key: '%.80s' is not a name", name);
	else if (make_dirs(&h->conf->daemon, &e) == 0)
		fd = lock_take(lock, &e);
	if (fd >= 0)
		make_key(d, name, &e);
	else if (e.code != ERR_PARAMS)
		err_hint(&e, "herod runs: heroctl key create %s --scope admin",
		    name);
	free(lock);
	if (fd >= 0)
		close(fd);
	return err_is_set(&e) ? complain(&e) : EXIT_SUCCESS;
}

/* What the start would refuse though each value is one. */
static bool
is_startable(const struct daemon_conf *d)
{
	bool good = true;
	struct err e = {0};
	char **address;

	for (address = d->listen; *address; address++, err_clear(&e))
		if (listen_check(*address, has_keys(d), &e) != 0)
			good = complain(&e) == EXIT_SUCCESS;
	tls_credentials_drop(tls_door_read(d, &e));
	if (err_is_set(&e))
		good = complain(&e) == EXIT_SUCCESS;
	err_clear(&e);
	if (d->redis_url && check_redis(d, &e) != 0)
		good = complain(&e) == EXIT_SUCCESS;
	err_clear(&e);
	if (keeper_check(own_path(), &e) != 0)
		good = complain(&e) == EXIT_SUCCESS;
	return good;
}

static void
print_check(const struct herod *h)
{
	size_t runners = h->conf->nrunners, schedules = h->conf->nschedules;

	printf("configuration %s is well: %zu runner%s",
	    h->options.file ? h->options.file : "(none)", runners,
	    runners == 1 ? "" : "s");
	if (schedules > 0)
		printf(
		    ", %zu schedule%s", schedules, schedules == 1 ? "" : "s");
	putchar('\n');
}

/* What was asked for is done as that user, in directories that are theirs. */
static int
become(struct herod *h)
{
	struct err e = {0};

	if (h->options.new_key &&
	    give_dirs(&h->privs, &h->conf->daemon, &e) != 0)
		return complain(&e);
	return load_as_user(h);
}

static int
run_user(struct herod *h)
{
	bool start = !h->options.check && !h->options.new_key;
	struct err e = {0};

	if (privs_find(&h->privs, &h->conf->daemon, start, &e) != 0) {
		complain(&e);
		return EXIT_USAGE;
	}
	if (h->options.guarded)
		return begin_guarded(h);
	if (h->privs.drops && !start && become(h) != 0)
		return EXIT_USAGE;
	if (h->options.check) {
		if (!is_startable(&h->conf->daemon))
			return EXIT_USAGE;
		print_check(h);
		return EXIT_SUCCESS;
	}
	if (h->options.new_key)
		return bootstrap(h);
	return h->options.daemon ? go_to_background(h) : exec_first(h, -1);
}

/* Started with 0, 1 or 2 closed, a socket would become one of them. */
static void
fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	struct herod h = {.argv = argv};
	struct err e = {0};
	int code;

	if (argc == 3 && strcmp(argv[1], "--probe") == 0)
		return look_at(argv[2]);
	fill_standard_fds();
	/* Else the first big piece that is freed makes all others stay. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	if (read_options(&h.options, argv, &e) != 0) {
		complain(&e);
		fputs(usage, stderr);
		code = EXIT_USAGE;
	} else if (h.options.help) {
		print_help();
		code = EXIT_SUCCESS;
	} else if (h.options.version) {
		puts("herod " PACKAGE_VERSION);
		code = EXIT_SUCCESS;
	} else if ((h.conf = load(&h.options, &h.reload_due)) == NULL) {
		code = EXIT_USAGE;
	} else {
		code = h.options.keeper_fd >= 0 ? run_daemon(&h) : run_user(&h);
	}
	conf_free(h.conf);
	privs_clear(&h.privs);
	options_clear(&h.options);
	return code;
}
