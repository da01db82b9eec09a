/* Making way for another herod and another herod-keeper. */
#define LOG_MODULE "herod"

#include "upgrade.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "log.h"
#include "mem.h"
#include "turns.h"

#define TIMEOUT 60.0 /* seconds for each step */
#define OUTPUT_MAX 500 /* bytes of what they say that are told */

enum step { IDLE, ASKING_HEROD, ASKING_KEEPER, REPLACING };

struct upgrade {
	struct ev_loop *loop;
	struct keeper *keeper;
	char **words;
	void (*hold)(void *arg, bool hold);
	void *holder;
	enum step step;
	bool closed;
	struct child *child; /* that is asked, or still to be buried */
	bool late;
	ev_timer timer;
	upgrade_fn done; /* NULL: nobody waits */
	void *arg;
	char output[OUTPUT_MAX];
	size_t len;
};

/* ---- the keeper's program ---- */

char *
keeper_path(const char *herod)
{
	char *copy = xstrdup(herod), *path;

	path = xasprintf("%s/herod-keeper", dirname(copy));
	free(copy);
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return xstrdup(LIBEXECDIR "/herod-keeper");
}

int
keeper_check(const char *herod, struct err *e)
{
	char *path = keeper_path(herod);
	char version[12];
	int status = -1, bad;
	pid_t pid;

	snprintf(version, sizeof(version), "%d", keeper_wire_version());
	pid = fork();
	if (pid == 0) {
		execl(path, "herod-keeper", "--speaks", version, (char *)NULL);
		_exit(127);
	}
	bad = pid == -1 || waitpid(pid, &status, 0) == -1 || status != 0;
	if (bad)
		err_set(e, ERR_CANNOT_START,
		    "%s: is not the herod-keeper of this herod, or cannot be "
		    "executed",
		    path);
	free(path);
	return bad ? -1 : 0;
}

/* ---- the end of one ---- */

static void
enter(struct upgrade *u, enum step step)
{
	if (step == REPLACING || u->step == REPLACING)
		u->hold(u->holder, step == REPLACING);
	u->step = step;
	ev_timer_stop(u->loop, &u->timer);
	if (step == IDLE)
		return;
	ev_now_update(u->loop);
	ev_timer_set(&u->timer, TIMEOUT, 0);
	ev_timer_start(u->loop, &u->timer);
}

static void
finish(struct upgrade *u, const struct err *e)
{
	upgrade_fn done = u->done;

	enter(u, IDLE);
	u->done = NULL;
	if (e)
		log_warnx("upgrade: %s", e->text);
	if (done)
		done(u->arg, e);
}

static void
refuse(struct upgrade *u, const char *text)
{
	struct err e = {0};

	err_set(&e, ERR_CANNOT_START, "%s", text);
	err_hint(&e, "nothing was changed; mend this, then ask again");
	finish(u, &e);
}

/* ---- asking the two programs ---- */

/* "/usr/sbin/herod --check: exit 2: there is no option --x" */
static void
refuse_program(struct upgrade *u)
{
	char how[160], *text, *end;

	if (u->late)
		snprintf(how, sizeof(how), "does not end");
	else
		child_end_text(u->child, how, sizeof(how));
	while (u->len > 0 && u->output[u->len - 1] == '\n')
		u->len--;
	text = xasprintf("the new %s is of no use: %s%s%.*s",
	    u->step == ASKING_HEROD ? "herod" : "herod-keeper", how,
	    u->len ? ": " : "", (int)u->len, u->output);
	while ((end = strchr(text, '\n')) != NULL)
		*end = ' ';
	refuse(u, text);
	free(text);
}

static bool
is_of_use(const struct child *c)
{
	return c->stage == NULL && c->status_known && WIFEXITED(c->status) &&
	    WEXITSTATUS(c->status) == 0;
}

static void ask_keepers_program(struct upgrade *u);

static void
ask_to_be_replaced(struct upgrade *u)
{
	char *path = keeper_path(u->words[0]);

	log_info("upgrade: %s and %s are well", u->words[0], path);
	enter(u, REPLACING);
	if (keeper_upgrade(u->keeper, path) != 0)
		refuse(u, "herod-keeper cannot be told");
	free(path);
}

static void
on_over(struct child *c)
{
	struct upgrade *u = c->arg;

	if (u->step == IDLE)
		; /* it was given up */
	else if (u->late || !is_of_use(c))
		refuse_program(u);
	else if (u->step == ASKING_HEROD)
		ask_keepers_program(u);
	else
		ask_to_be_replaced(u);
	if (u->child == c)
		u->child = NULL;
}

static void
on_output(struct child *c, int stream, const char *buf, size_t len)
{
	struct upgrade *u = c->arg;
	size_t room = sizeof(u->output) - u->len;

	(void)stream;
	if (len > room)
		len = room;
	memcpy(u->output + u->len, buf, len);
	u->len += len;
}

/* As herod was started: its environment, its directory. */
static void
ask_program(struct upgrade *u, char *const *argv)
{
	static const struct child_ops ops = {
	    .output = on_output, .over = on_over};
	char directory[PATH_MAX];
	struct child_spec spec = {.argv = argv,
	    .envp = environ,
	    .directory = getcwd(directory, sizeof(directory)),
	    .umask = 022,
	    .stderr_to_stdout = true,
	    .stdin_fd = -1,
	    .keep_fd = -1,
	    .cgroup_fd = -1,
	    /* A herod that finds it ends it, as it does with a probe. */
	    .tag = "{\"probe\":true}"};
	struct err e = {0};

	u->len = 0;
	u->late = false;
	u->child = child_start(u->keeper, &spec, &ops, u, &e);
	if (u->child == NULL)
		refuse(u, e.text);
}

static void
ask_keepers_program(struct upgrade *u)
{
	char version[12], option[] = "--resumes";
	char *path = keeper_path(u->words[0]);
	char *argv[] = {path, option, version, NULL};

	snprintf(
	    version, sizeof(version), "%d", keeper_resume_version(u->keeper));
	enter(u, ASKING_KEEPER);
	ask_program(u, argv);
	free(path);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	DOING("upgrade of", "herod");
	struct upgrade *u = w->data;

	(void)loop;
	(void)revents;
	u->late = true;
	if (u->step == REPLACING)
		refuse(u, "herod-keeper does not answer");
	else
		child_kill(u->child);
}

/* ---- for others ---- */

struct upgrade *
upgrade_new(struct ev_loop *loop, struct keeper *k, char **words,
    void (*hold)(void *arg, bool hold), void *arg)
{
	struct upgrade *u = xcalloc(1, sizeof(*u));

	u->loop = loop;
	u->keeper = k;
	u->words = words;
	u->hold = hold;
	u->holder = arg;
	ev_timer_init(&u->timer, on_timer, 0, 0);
	u->timer.data = u;
	return u;
}

void
upgrade_free(struct upgrade *u)
{
	if (u == NULL)
		return;
	ev_timer_stop(u->loop, &u->timer);
	strv_free(u->words);
	free(u);
}

int
upgrade_begin(struct upgrade *u, upgrade_fn done, void *arg, struct err *e)
{
	if (u->closed)
		return err_set(e, ERR_SHUTTING_DOWN, "herod is ending");
	if (u->step != IDLE || u->child)
		return err_set(
		    e, ERR_TOO_MANY, "an upgrade is under way already");
	log_info("upgrade: trying %s", u->words[0]);
	u->done = done;
	u->arg = arg;
	enter(u, ASKING_HEROD);
	ask_program(u, u->words);
	return 0;
}

void
upgrade_unask(struct upgrade *u)
{
	u->done = NULL;
}

void
upgrade_close(struct upgrade *u)
{
	struct err e = {0};

	u->closed = true;
	if (u->step != ASKING_HEROD && u->step != ASKING_KEEPER)
		return;
	err_set(&e, ERR_SHUTTING_DOWN, "herod is ending");
	finish(u, &e);
	child_kill(u->child);
}

void
upgrade_refused(struct upgrade *u, int error)
{
	char text[128];

	if (u->step != REPLACING)
		return;
	snprintf(text, sizeof(text), "herod-keeper cannot be replaced: %s",
	    strerror(error));
	refuse(u, text);
}

void
upgrade_replaced(struct upgrade *u)
{
	log_info("upgrade: herod-keeper is replaced; ending for another herod");
	finish(u, NULL);
}
