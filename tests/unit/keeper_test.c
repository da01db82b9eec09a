/*
 * herod-keeper and child.c, with real processes: each test runs the real
 * herod-keeper, which executes this program again as an acting herod.  The
 * two talk on a socket: the test tells what to do ("start", "stop", ...),
 * the acting herod tells what happened ("started a 123", "over a exit 3").
 */
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "mem.h"

#define WORDS_MAX 64
#define MESSAGE_MAX (100 * 1024)

/* Of a sanitizer; see lsan_interface.h. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* ---- the acting herod ---- */

struct actor {
	struct ev_loop *loop;
	struct keeper *keeper;
	int control, keeper_fd;
	bool die_in_output;
	ev_io io;
};

/* One of its children; the name is the tag. */
struct act {
	struct actor *actor;
	struct child *child;
	char *name;
	struct act *next;
};

static struct act *acts; /* of the acting herod's process */

static void __attribute__((format(printf, 2, 3)))
report(struct actor *a, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (send(a->control, text, strlen(text) + 1, MSG_NOSIGNAL) == -1)
		_exit(99);
}

static void
act_started(struct child *c)
{
	struct act *act = c->arg;

	report(act->actor, "started %s %d", act->name, c->pid);
}

static void
act_output(struct child *c, int stream, const char *buf, size_t len)
{
	struct act *act = c->arg;

	report(act->actor, "%s %s %.*s", stream == CHILD_STDOUT ? "out" : "err",
	    act->name, (int)len, buf);
	if (act->actor->die_in_output)
		raise(SIGKILL);
}

static void
act_paused(struct child *c, bool paused)
{
	struct act *act = c->arg;

	report(act->actor, "%s %s", paused ? "paused" : "continued", act->name);
}

static void
act_remove(struct act *act)
{
	struct act **at = &acts;

	while (*at != act)
		at = &(*at)->next;
	*at = act->next;
	free(act->name);
	free(act);
}

static void
act_over(struct child *c)
{
	struct act *act = c->arg;
	char text[256];

	report(act->actor, "over %s %s", act->name,
	    child_end_text(c, text, sizeof(text)));
	report(act->actor,
	    "how %s stopping=%d killed=%d shortage=%d lived=%.3f "
	    "cpu=%.3f rss=%ld",
	    act->name, c->stopping, c->killed, c->shortage,
	    c->exited_at - c->started_at,
	    (double)(c->rusage->ru_utime.tv_sec + c->rusage->ru_stime.tv_sec) +
		(double)(c->rusage->ru_utime.tv_usec +
		    c->rusage->ru_stime.tv_usec) /
		    1e6,
	    c->rusage->ru_maxrss);
	act_remove(act);
}

static const struct child_ops act_ops = {.started = act_started,
    .output = act_output,
    .paused = act_paused,
    .over = act_over};

static struct act *
act_new(struct actor *a, const char *name)
{
	struct act *act = xcalloc(1, sizeof(*act));

	act->actor = a;
	act->name = xstrdup(name);
	act->next = acts;
	acts = act;
	return act;
}

static struct child *
act_find(const char *name)
{
	struct act *act;

	for (act = acts; act; act = act->next)
		if (strcmp(act->name, name) == 0)
			return act->child;
	_exit(98);
}

/* One "key=value" before the "--" of start. */
static void
option_read(struct child_spec *s, const char *key, const char *value)
{
	static gid_t groups[2] = {4242, 4243};

	if (strcmp(key, "dir") == 0)
		s->directory = value;
	else if (strcmp(key, "umask") == 0)
		s->umask = (mode_t)strtol(value, NULL, 8);
	else if (strcmp(key, "nice") == 0)
		s->limits = (struct child_limits){
		    .set_nice = true, .nice = atoi(value)};
	else if (strcmp(key, "stdin") == 0 && strcmp(value, "pipe") == 0)
		s->stdin_pipe = true;
	else if (strcmp(key, "stdin") == 0)
		s->stdin_fd = open(value, O_RDONLY | O_CLOEXEC);
	else if (strcmp(key, "keep") == 0)
		s->keep_fd = open(value, O_RDONLY | O_CLOEXEC);
	else if (strcmp(key, "cgroup") == 0)
		s->cgroup_fd = open(value, O_RDONLY | O_CLOEXEC);
	else if (strcmp(key, "merge") == 0)
		s->stderr_to_stdout = true;
	else if (strcmp(key, "nofile") == 0) {
		s->limits.rlimits[0].resource = RLIMIT_NOFILE;
		s->limits.rlimits[0].value = (rlim_t)atoi(value);
		s->limits.nrlimits = 1;
	} else if (strcmp(key, "user") == 0) {
		s->set_user = true;
		s->uid = s->gid = (uid_t)atoi(value);
		s->groups = groups;
		s->ngroups = 2;
	} else
		_exit(97);
}

static char *
filling(int len)
{
	return xasprintf("FILLING=%0*d", len, 0);
}

struct beginning {
	struct child_spec spec;
	char *envp[4];
	double leftover;
	bool lazy;
};

/* The words before "--"; those behind are argv. */
static void
options_read(struct beginning *b, char **word)
{
	char *value;

	for (; strcmp(*word, "--") != 0; word++) {
		value = strchr(*word, '=');
		*value++ = '\0';
		if (strcmp(*word, "fill") == 0)
			b->envp[2] = filling(atoi(value));
		else if (strcmp(*word, "path") == 0)
			b->envp[0] = memcpy(value - 5, "PATH=", 5);
		else if (strcmp(*word, "leftover") == 0)
			b->leftover = atof(value);
		else if (strcmp(*word, "lazy") == 0)
			b->lazy = true;
		else
			option_read(&b->spec, *word, value);
	}
	b->spec.argv = word + 1;
}

static void
close_if(int fd)
{
	if (fd != -1)
		close(fd);
}

static void
do_start(struct actor *a, char **word)
{
	struct beginning b = {.envp = {(char *)"PATH=/usr/local/bin:"
					       "/usr/bin:/bin",
				  (char *)"GREETING=hello"},
	    .spec = {.directory = "/",
		.umask = 022,
		.stdin_fd = -1,
		.keep_fd = -1,
		.cgroup_fd = -1,
		.tag = word[1]}};
	struct act *act = act_new(a, word[1]);
	struct err e = {0};

	options_read(&b, word + 2);
	b.spec.envp = b.envp;
	act->child = child_start(a->keeper, &b.spec, &act_ops, act, &e);
	if (act->child) {
		child_leftover(act->child, b.leftover);
		if (b.lazy)
			child_be_lazy(act->child, CHILD_STDOUT);
	} else {
		report(a, "refused %s %s", word[1], e.text);
		act_remove(act);
	}
	free(b.envp[2]);
	close_if(b.spec.stdin_fd);
	close_if(b.spec.keep_fd);
	close_if(b.spec.cgroup_fd);
}

/* stop NAME WAITSECS GROUP KILLGROUP SIGNAL... */
static void
do_stop(struct actor *a, char **word)
{
	struct stop_rules r = {.waitsecs = atof(word[2]),
	    .group = atoi(word[3]),
	    .killgroup = atoi(word[4])};
	int i;

	(void)a;
	for (i = 5; word[i]; i++)
		r.signals.v[r.signals.n++] = atoi(word[i]);
	child_stop(act_find(word[1]), &r);
}

static void
do_kill(struct actor *a, char **word)
{
	(void)a;
	child_kill(act_find(word[1]));
}

static void
do_signal(struct actor *a, char **word)
{
	(void)a;
	child_signal(act_find(word[1]), atoi(word[2]), atoi(word[3]));
}

static void
do_write(struct actor *a, char **word)
{
	if (!child_write(act_find(word[1]), word[2], strlen(word[2]),
		(size_t)atoi(word[3])))
		report(a, "full %s", word[1]);
}

/* adjust NAME NICE OOM_SCORE_ADJ NOFILE */
static void
do_adjust(struct actor *a, char **word)
{
	struct child_limits l = {.set_nice = true,
	    .set_oom = true,
	    .nice = atoi(word[2]),
	    .oom_score_adj = atoi(word[3]),
	    .rlimits = {{RLIMIT_NOFILE, (rlim_t)atoi(word[4])}},
	    .nrlimits = 1};
	struct err e = {0};
	unsigned refused = child_adjust(act_find(word[1]), &l, &e);

	report(a, "adjusted %s %d %s", word[1], refused ? -1 : 0, e.text);
}

static void
do_tag(struct actor *a, char **word)
{
	(void)a;
	child_tag(act_find(word[1]), word[2]);
}

static void
do_store(struct actor *a, char **word)
{
	int fd = open(word[2], O_RDONLY | O_CLOEXEC);

	keeper_store(a->keeper, word[1], fd);
	close(fd);
}

/* Dies with a message unread and one of its own on the way. */
static void
do_last_words(struct actor *a, char **word)
{
	struct pollfd p = {.fd = a->keeper_fd, .events = POLLIN};

	/* The keeper tells of it, and we do not listen. */
	kill(atoi(word[3]), SIGSTOP);
	poll(&p, 1, -1);
	kill(getppid(), SIGSTOP);
	do_store(a, word);
	raise(SIGKILL);
}

static void
do_last_upgrade(struct actor *a, char **word)
{
	keeper_upgrade(a->keeper, word[1]);
	raise(SIGKILL);
}

/* Before the keeper can be told that its failure is known. */
static void
do_start_and_upgrade(struct actor *a, char **word)
{
	do_start(a, word + 1);
	keeper_upgrade(a->keeper, word[1]);
}

static void
do_drop(struct actor *a, char **word)
{
	keeper_drop(a->keeper, word[1]);
}

static void
do_ready(struct actor *a, char **word)
{
	(void)word;
	keeper_ready(a->keeper);
}

static void
do_end(struct actor *a, char **word)
{
	keeper_stop(a->keeper, atoi(word[1]));
	keeper_close(a->keeper);
	a->keeper = NULL;
	if (__lsan_do_recoverable_leak_check &&
	    __lsan_do_recoverable_leak_check())
		report(a, "leak");
	_exit(0);
}

static void
do_die(struct actor *a, char **word)
{
	(void)a;
	_exit(atoi(word[1]));
}

static void
do_die_in_output(struct actor *a, char **word)
{
	(void)word;
	a->die_in_output = true;
}

static void
do_echo(struct actor *a, char **word)
{
	report(a, "echo %s", word[1]);
}

static const struct {
	const char *name;
	void (*fn)(struct actor *a, char **word);
} deeds[] = {{"start", do_start}, {"stop", do_stop}, {"kill", do_kill},
    {"signal", do_signal}, {"write", do_write}, {"adjust", do_adjust},
    {"tag", do_tag}, {"store", do_store}, {"last-words", do_last_words},
    {"last-upgrade", do_last_upgrade},
    {"start-and-upgrade", do_start_and_upgrade}, {"drop", do_drop},
    {"ready", do_ready}, {"end", do_end}, {"die", do_die},
    {"die-in-output", do_die_in_output}, {"echo", do_echo}};

static void
on_control(struct ev_loop *loop, ev_io *w, int events)
{
	static char text[MESSAGE_MAX];
	struct actor *a = w->data;
	char *word[WORDS_MAX] = {0}, *rest = text;
	ssize_t len = recv(a->control, text, sizeof(text) - 1, 0);
	size_t i;

	(void)loop;
	(void)events;
	if (len <= 0)
		_exit(96); /* the test is over */
	text[len] = '\0';
	for (i = 0; rest && i < WORDS_MAX - 1; i++)
		word[i] = strsep(&rest, "\n");
	for (i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
		if (strcmp(deeds[i].name, word[0]) == 0)
			deeds[i].fn(a, word);
}

static void
on_found(void *arg, struct child *c, const char *tag)
{
	struct actor *a = arg;
	struct act *act;

	report(
	    a, "found %s %d%s", tag, c->pid, c->keep_fd == -1 ? "" : " kept");
	if (strcmp(tag, "stranger") == 0)
		return;
	act = act_new(a, tag);
	act->child = c;
	child_adopt(c, &act_ops, act);
	if (strcmp(tag, "loner") == 0)
		child_leftover(c, -1);
}

static void
on_stored(void *arg, const char *name, int fd)
{
	char text[64] = "";
	ssize_t ignored = pread(fd, text, sizeof(text) - 1, 0);

	(void)ignored;
	report(arg, "stored %s %s", name, text);
	close(fd);
}

static void
on_lost(void *arg)
{
	report(arg, "lost");
}

/* Another keeper has taken over and waits for our end. */
static void
on_replaced(void *arg)
{
	(void)arg;
	_exit(0);
}

static void
on_passed_signal(struct ev_loop *loop, ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	report(w->data, "signal %d", w->signum);
}

static void
act_watch_signals(struct actor *a)
{
	static const int signals[] = {
	    SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	static ev_signal watchers[6];
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 6; i++) {
		ev_signal_init(&watchers[i], on_passed_signal, signals[i]);
		watchers[i].data = a;
		ev_signal_start(a->loop, &watchers[i]);
	}
}

static void
act_herod(int control, int keeper_fd)
{
	static const struct keeper_ops ops = {.found = on_found,
	    .stored = on_stored,
	    .lost = on_lost,
	    .replaced = on_replaced};
	static struct actor a;
	struct err e = {0};

	a.control = control;
	a.keeper_fd = keeper_fd;
	a.loop = ev_loop_new(EVFLAG_AUTO);
	act_watch_signals(&a);
	a.keeper = keeper_open(a.loop, keeper_fd, &ops, &a, &e);
	if (!a.keeper) {
		report(&a, "no keeper: %s", e.text);
		_exit(95);
	}
	report(&a, "herod %d", getpid());
	ev_io_init(&a.io, on_control, control, EV_READ);
	a.io.data = &a;
	ev_io_start(a.loop, &a.io);
	ev_run(a.loop, 0);
	_exit(94);
}

/* A member of its group has a parent in another session: the keeper is not
 * told of that one's end. */
static _Noreturn void
act_leader(void)
{
	pid_t member;

	if (fork() == 0 && (member = fork()) != 0) {
		setsid();
		dprintf(1, "member %d\n", member);
		waitpid(member, NULL, 0);
	}
	pause();
	_exit(0);
}

/* Before main() of the harness: is this herod's part? */
static void __attribute__((constructor)) act_if_told(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "acting-herod") == 0 &&
	    strcmp(argv[3], "--keeper-fd") == 0)
		act_herod(atoi(argv[2]), atoi(argv[4]));
	if (argc == 2 && strcmp(argv[1], "acting-leader") == 0)
		act_leader();
	if (argc > 1 && strcmp(argv[1], "acting-herod") == 0)
		_exit(atoi(argv[2]));
}

/* ---- the test's side ---- */

static char **kept; /* strings that live as long as the test */

static char *
keep(char *stolen)
{
	strv_add(&kept, stolen);
	return stolen;
}

static char *__attribute__((format(printf, 1, 2))) text_of(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	check(vasprintf(&s, fmt, ap) != -1);
	va_end(ap);
	return keep(s);
}

static char *
working_dir(void)
{
	return keep(getcwd(NULL, 0));
}

#define OWN_USER "65533:65533:65533" /* of a herod that is another one */

static const char *as_user; /* herod is; may runners be root? */
static const char *runner_user; /* the only other one they may be; NULL */
static int control = -1; /* to the acting herod */
static pid_t keeper_pid;
static char **events; /* not yet looked for */
static char *outputs; /* all of stdout, of all children, in order */

static char *
keeper_path(void)
{
	const char *build = getenv("HEROD_BUILD");

	return text_of("%s/herod-keeper", build ? build : ".");
}

static char *
own_path(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	check(n > 0);
	path[n] = '\0';
	return keep(xstrdup(path));
}

static void
keeper_exec(const char *what, int ready_fd)
{
	char *ready = text_of("%d", ready_fd), *keeper = keeper_path();

	if (as_user && runner_user)
		execl(keeper, keeper, "--user", OWN_USER, "--runner-user",
		    OWN_USER, "--runner-user", runner_user, "--root-runners",
		    as_user, "--", text_of("%s/acting", working_dir()),
		    "acting-herod", what, (char *)NULL);
	else if (as_user)
		execl(keeper, keeper, "--user", OWN_USER, "--root-runners",
		    as_user, "--", text_of("%s/acting", working_dir()),
		    "acting-herod", what, (char *)NULL);
	else if (ready_fd == -1)
		execl(keeper, keeper, "--", own_path(), "acting-herod", what,
		    (char *)NULL);
	else
		execl(keeper, keeper, "--ready-fd", ready, "--", own_path(),
		    "acting-herod", what, (char *)NULL);
	_exit(93);
}

static void
keeper_run(int ready_fd)
{
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	keeper_pid = fork();
	if (keeper_pid == 0)
		keeper_exec(text_of("%d", pair[1]), ready_fd);
	close(pair[1]);
	control = pair[0];
}

/* Bytes of output go to outputs, everything else to events. */
static void
event_add(const char *text)
{
	const char *bytes;
	char *old = outputs;

	if (strncmp(text, "out ", 4) == 0) {
		bytes = strchr(text + 4, ' ') + 1;
		outputs = xasprintf("%s%s", old ? old : "", bytes);
		free(old);
	} else
		strv_add(&events, xstrdup(text));
}

/* True when it took something. */
static bool
pump(void)
{
	static char text[MESSAGE_MAX];
	bool some = false;
	ssize_t n;

	while ((n = recv(control, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
		text[n] = '\0';
		event_add(text);
		some = true;
	}
	return some;
}

/* What follows prefix in the first event that begins so, which is taken
 * out; NULL when there is none. */
static const char *
event_find(const char *prefix)
{
	size_t i, len = strlen(prefix);
	char *found;

	pump();
	for (i = 0; events && events[i]; i++) {
		if (strncmp(events[i], prefix, len) != 0)
			continue;
		found = keep(events[i]);
		memmove(&events[i], &events[i + 1],
		    (strv_count(events + i + 1) + 1) * sizeof(*events));
		return found + len;
	}
	return NULL;
}

static const char *
event(const char *prefix)
{
	double since = check_clock();
	const char *rest;

	while (!(rest = event_find(prefix)))
		check_wait(__FILE__, __LINE__, prefix, since);
	return rest;
}

static pid_t
event_pid(const char *prefix)
{
	return atoi(event(prefix));
}

static const char *
output(void)
{
	pump();
	return outputs ? outputs : "";
}

static bool
output_has(const char *part)
{
	return strstr(output(), part) != NULL;
}

/* Words end with NULL. */
static void
tell(const char *first, ...)
{
	char text[MESSAGE_MAX];
	size_t len = 0;
	const char *w;
	va_list ap;

	va_start(ap, first);
	for (w = first; w; w = va_arg(ap, const char *))
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
		    len > 0 ? "\n" : "", w);
	va_end(ap);
	check(len < sizeof(text));
	/* It may be telling us things, too. */
	while (send(control, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) == -1) {
		check(errno == EAGAIN);
		pump();
	}
}

/* A keeper with an acting herod that is ready; its pid. */
static pid_t
setup(void)
{
	pid_t herod;

	keeper_run(-1);
	herod = event_pid("herod ");
	tell("ready", NULL);
	tell("echo", "ready", NULL);
	event("echo ready");
	return herod;
}

static int
keeper_wait(void)
{
	int status;

	wait_for(waitpid(keeper_pid, &status, WNOHANG) == keeper_pid);
	return status;
}

static void
teardown(void)
{
	tell("end", "0", NULL);
	check_int(keeper_wait(), 0);
	check(!event_find("leak"));
}

static pid_t
start_sh(const char *name, const char *script)
{
	char *prefix = text_of("started %s ", name);
	pid_t pid;

	tell("start", name, "--", "sh", "-c", script, NULL);
	pid = event_pid(prefix);
	return pid;
}

static bool
is_alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static char *
proc_file(pid_t pid, const char *name)
{
	return keep(read_file(text_of("/proc/%d/%s", pid, name)));
}

static size_t
count_fds(pid_t pid)
{
	DIR *dir = opendir(text_of("/proc/%d/fd", pid));
	size_t n = 0;

	check(dir != NULL);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

/* Children of a process, zombies too. */
static size_t
count_children(pid_t pid)
{
	char *name = text_of("task/%d/children", pid);
	char *text = proc_file(pid, name), *p;
	size_t n = 0;

	for (p = text; (p = strchr(p, ' ')); p++)
		n++;
	return n;
}

/* "Name:\tvalue" of /proc/PID/status; static storage. */
static const char *
status_of(pid_t pid, const char *name)
{
	static char value[128];
	char *text = proc_file(pid, "status"), *line;
	char *head = text_of("\n%s:", name);

	line = strstr(text, head);
	check(line != NULL);
	line += strlen(head);
	line += strspn(line, "\t ");
	snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\n"), line);
	return value;
}

static bool
am_root(void)
{
	return geteuid() == 0;
}

/* ---- starting ---- */

void
test_a_start_that_fails_is_told_by_stage_and_reason(void)
{
	setup();
	write_file("plain", "no program\n");
	tell("start", "a", "--", "/no/such/program", NULL);
	check_str(event("over a "),
	    "exec /no/such/program: No such file or directory");
	check_has(event("how a "), "shortage=0");
	tell("start", "b", "--", "no-such-program", NULL);
	check_str(event("over b "),
	    "exec no-such-program: No such file or directory");
	tell("start", "c", "--", "/etc/passwd", NULL);
	check_str(event("over c "), "exec /etc/passwd: Permission denied");
	tell("start", "d", "dir=/no/such/place", "--", "true", NULL);
	check_str(event("over d "),
	    "chdir /no/such/place: No such file or directory");
	tell("start", "e", "--", "", NULL);
	check_str(event("over e "), "exec : No such file or directory");
	check(!event_find("started "));
	teardown();
}

void
test_a_program_is_looked_up_in_its_own_path(void)
{
	char *cwd = working_dir();
	char *path = text_of("path=/nowhere:%s/denied:%s/bin", cwd, cwd);
	char *denied = text_of("path=%s/denied:/nowhere", cwd);

	setup();
	check(mkdir("bin", 0755) == 0 && mkdir("denied", 0755) == 0);
	write_file("denied/tool", "#!/bin/sh\necho wrong\n");
	write_file("bin/tool", "#!/bin/sh\necho right\n");
	check(chmod("bin/tool", 0755) == 0);
	tell("start", "a", path, "--", "tool", NULL);
	check_str(event("over a "), "exit 0");
	check_str(output(), "right\n");
	/* What was there but not allowed says more than "not found". */
	tell("start", "b", denied, "--", "tool", NULL);
	check_str(event("over b "), "exec tool: Permission denied");
	teardown();
}

void
test_a_child_gets_a_clean_start(void)
{
	char *text;
	pid_t pid;

	setup();
	tell("start", "a", "dir=/usr", "umask=027", "nice=5", "nofile=77", "--",
	    "sleep", "1000", NULL);
	pid = event_pid("started a ");
	check_int(strtoull(status_of(pid, "SigBlk"), NULL, 16), 0);
	/* make(1) may have left libc's own two, 32 and 33, ignored. */
	check_int(
	    strtoull(status_of(pid, "SigIgn"), NULL, 16) & ~(3ULL << 31), 0);
	check_int(strtoull(status_of(pid, "SigCgt"), NULL, 16), 0);
	check_str(status_of(pid, "Umask"), "0027");
	check_int(count_fds(pid), 3);
	check_int(getsid(pid), pid);
	check_int(getpgid(pid), pid);
	check_int(getpriority(PRIO_PROCESS, (id_t)pid), 5);
	check_has(proc_file(pid, "limits"),
	    "Max open files            77                   77  ");
	text = proc_file(pid, "environ");
	check_str(text, "PATH=/usr/local/bin:/usr/bin:/bin");
	check_str(text + strlen(text) + 1, "GREETING=hello");
	/* We are what the keeper was before it changed its own. */
	check_str(proc_file(pid, "oom_score_adj"),
	    proc_file(getpid(), "oom_score_adj"));
	tell("start", "b", "--", "pwd", NULL);
	event("over b ");
	check_str(output(), "/\n");
	tell("kill", "a", NULL);
	check_str(event("over a "), "SIGKILL");
	teardown();
}

void
test_limits_that_the_keeper_raised_are_not_passed_on(void)
{
	struct rlimit own;
	pid_t pid;
	char *line;

	setup();
	getrlimit(RLIMIT_NOFILE, &own);
	pid = start_sh("a", "exec sleep 1000");
	line = text_of("Max open files            %-20llu",
	    (unsigned long long)own.rlim_cur);
	check_has(proc_file(pid, "limits"), line);
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

/* Pitfall 25: limits of one that lives change without a restart. */
void
test_limits_of_a_living_child_change(void)
{
	pid_t pid;

	setup();
	pid = start_sh("a", "exec sleep 1000");
	tell("adjust", "a", "7", "55", "33", NULL);
	check_str(event("adjusted a "), "0 ");
	check_has(proc_file(pid, "limits"), "Max open files            33 ");
	check_str(proc_file(pid, "oom_score_adj"), "55\n");
	check_int(getpriority(PRIO_PROCESS, (id_t)pid), 7);
	tell("adjust", "a", "7", "55", "2000000000", NULL);
	check_has(event("adjusted a "), "-1 rlimit_nofile: ");
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_a_child_changes_to_its_user(void)
{
	pid_t pid;

	if (!am_root())
		skip("needs root");
	setup();
	tell("start", "a", "user=65534", "--", "sleep", "1000", NULL);
	pid = event_pid("started a ");
	check_str(status_of(pid, "Uid"), "65534\t65534\t65534\t65534");
	check_str(status_of(pid, "Gid"), "65534\t65534\t65534\t65534");
	check_str(status_of(pid, "Groups"), "4242 4243 ");
	check_int(strtoull(status_of(pid, "CapEff"), NULL, 16), 0);
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

/* The acting herod is somebody else, who may ask for anything. */
static pid_t
setup_as_user(const char *root_runners)
{
	char *copy;

	if (!am_root())
		skip("needs root");
	as_user = root_runners;
	copy = text_of("cp '%s' acting && chmod 755 acting .", own_path());
	check_int(system(copy), 0);
	return setup();
}

void
test_with_a_user_nobody_is_root(void)
{
	pid_t herod = setup_as_user("0"), pid;

	check_str(status_of(herod, "Uid"), "65533\t65533\t65533\t65533");
	check_str(status_of(herod, "NoNewPrivs"), "1");
	tell("start", "a", "--", "sleep", "1000", NULL);
	pid = event_pid("started a ");
	check_str(status_of(pid, "Uid"), "65533\t65533\t65533\t65533");
	check_str(status_of(pid, "Groups"), "65533 ");
	check_int(strtoull(status_of(pid, "CapPrm"), NULL, 16), 0);
	tell("start", "b", "user=65534", "--", "sleep", "1000", NULL);
	pid = event_pid("started b ");
	check_str(status_of(pid, "Uid"), "65534\t65534\t65534\t65534");
	tell("start", "r", "user=0", "--", "sleep", "1000", NULL);
	check_str(event("over r "), "user: Operation not permitted");
	tell("kill", "a", NULL);
	event("over a ");
	tell("kill", "b", NULL);
	event("over b ");
	teardown();
}

void
test_with_a_user_root_runners_may_be_allowed(void)
{
	pid_t pid;

	setup_as_user("1");
	tell("start", "r", "user=0", "--", "sleep", "1000", NULL);
	pid = event_pid("started r ");
	check_str(status_of(pid, "Uid"), "0\t0\t0\t0");
	tell("kill", "r", NULL);
	event("over r ");
	teardown();
}

static void
check_nobody_else(void)
{
	tell("start", "other", "user=65532", "--", "sleep", "1000", NULL);
	check_str(event("over other "), "user: Operation not permitted");
	tell("start", "own", "user=65533", "--", "sleep", "1000", NULL);
	event_pid("started own ");
	tell("kill", "own", NULL);
	event("over own ");
}

void
test_with_a_list_runners_are_nobody_else(void)
{
	pid_t pid;

	runner_user = "65534:65534:4242";
	setup_as_user("0");
	check_nobody_else();
	tell("start-and-upgrade", "/bin/false", "a", "user=65534", "--",
	    "sleep", "1000", NULL);
	event("herod ");
	pid = event_pid("found a ");
	check_str(status_of(pid, "Uid"), "65534\t65534\t65534\t65534");
	check_str(status_of(pid, "Groups"), "4242 "); /* not 4243, too */
	check_nobody_else();
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_with_a_list_a_runner_has_a_group_of_its_user(void)
{
	runner_user = "65534:65530:4242"; /* herod will ask for 65534 */
	setup_as_user("0");
	tell("start", "a", "user=65534", "--", "sleep", "1000", NULL);
	check_str(event("over a "), "user: Operation not permitted");
	teardown();
}

/* Root is one of them when root_runners, too, says so. */
void
test_with_a_list_root_has_to_be_in_it(void)
{
	runner_user = "65534:65534:4242";
	setup_as_user("1");
	tell("start", "r", "user=0", "--", "sleep", "1000", NULL);
	check_str(event("over r "), "user: Operation not permitted");
	teardown();
}

/* The program that herod names would be executed as root. */
void
test_with_a_user_an_upgrade_is_to_the_same_path(void)
{
	setup_as_user("0");
	tell("start-and-upgrade", "/bin/false", "a", "--", "sleep", "1000",
	    NULL);
	event("herod ");
	check_has(proc_file(keeper_pid, "status"), "herod-keeper");
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_too_long_arguments_are_refused(void)
{
	setup();
	tell("start", "a", "fill=100000", "--", "true", NULL);
	check_str(event("over a "), "exit 0");
	tell("start", "b", "fill=200000", "--", "true", NULL);
	check_has(event("refused b "), "more than 131072 bytes");
	tell("start", "c", "--", "true", NULL);
	check_str(event("over c "), "exit 0");
	teardown();
}

void
test_a_kill_right_after_the_start_counts(void)
{
	setup();
	tell("start", "a", "--", "sleep", "1000", NULL);
	tell("kill", "a", NULL);
	check_str(event("over a "), "SIGKILL");
	check_has(event("how a "), "stopping=1 killed=1");
	teardown();
}

/* ---- stdin and output ---- */

void
test_stdin_is_a_pipe_or_a_file_or_nothing(void)
{
	char *file;

	setup();
	tell("start", "a", "stdin=pipe", "--", "head", "-n", "2", NULL);
	/* Before it is even there. */
	tell("write", "a", "one\r", "100", NULL);
	tell("write", "a", "+\\\\", "100", NULL);
	tell("kill", "a", NULL);
	event("over a ");
	write_file("payload", "from a file\n");
	file = text_of("stdin=%s/payload", working_dir());
	tell("start", "b", file, "--", "cat", NULL);
	check_str(event("over b "), "exit 0");
	check_str(output(), "from a file\n");
	tell("start", "c", "--", "cat", NULL);
	check_str(event("over c "), "exit 0");
	check_str(output(), "from a file\n");
	teardown();
}

void
test_what_is_written_arrives_in_order(void)
{
	char line[32];
	int i;

	setup();
	/* A line of a message of ours ends at a newline: let it add them. */
	tell("start", "a", "stdin=pipe", "--", "sh", "-c",
	    "dd bs=1 count=3890 status=none; exit 4", NULL);
	for (i = 0; i < 1000; i++) {
		snprintf(line, sizeof(line), "%d,", i);
		tell("write", "a", line, "100000", NULL);
	}
	check_str(event("over a "), "exit 4");
	check_has(output(), "0,1,2,3,4,");
	check_has(output(), ",997,998,999,");
	check_int(strlen(output()), 3890);
	teardown();
}

void
test_a_reader_that_is_slow_is_told_apart(void)
{
	static char block[40 * 1024];

	setup();
	memset(block, 'x', sizeof(block) - 1);
	tell("start", "a", "stdin=pipe", "--", "sleep", "1000", NULL);
	event("started a ");
	tell("write", "a", block, "50000", NULL);
	tell("write", "a", block, "50000", NULL);
	/* The pipe has taken 64 kB; now 16 kB wait. */
	tell("write", "a", block, "50000", NULL);
	event("full a");
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

static void
check_numbers(const char *lazy)
{
	tell("start", "a", lazy, "--", "seq", "1", "100000", NULL);
	check_str(event("over a "), "exit 0");
	check_int(strlen(output()), 588895);
	check_str(outputs + strlen(outputs) - 7, "100000\n");
	free(outputs);
	outputs = NULL;
}

void
test_all_output_is_there_before_it_is_over(void)
{
	setup();
	check_numbers("umask=022");
	check_numbers("lazy=1");
	teardown();
}

void
test_lazy_reading_loses_nothing(void)
{
	setup();
	tell("start", "a", "lazy=1", "--", "sh", "-c",
	    "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.01; done", NULL);
	event("over a exit 0");
	check_str(output(), "1\n2\n3\n4\n5\n6\n7\n8\n");
	teardown();
}

void
test_stderr_has_its_own_pipe_unless_merged(void)
{
	setup();
	start_sh("a", "echo one >&2");
	event("over a exit 0");
	check_str(event("err a "), "one\n");
	tell("start", "b", "merge=1", "--", "sh", "-c", "echo two >&2", NULL);
	event("over b exit 0");
	check_str(output(), "two\n");
	teardown();
}

/* ---- ends ---- */

void
test_the_end_is_told_with_status_and_usage(void)
{
	double lived, cpu;
	const char *how;
	long rss;

	setup();
	start_sh("a", "exit 3");
	check_str(event("over a "), "exit 3");
	start_sh("b", "kill -SEGV $$");
	check_has(event("over b "), "SIGSEGV");
	start_sh("c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
	check_str(event("over c "), "exit 0");
	how = event("how c ");
	check_int(sscanf(strstr(how, "lived="), "lived=%lf cpu=%lf rss=%ld",
		      &lived, &cpu, &rss),
	    3);
	check(cpu > 0.01 && cpu < lived + 0.1);
	check(rss > 100 && rss < 100000);
	teardown();
}

void
test_stop_ends_with_its_signal(void)
{
	setup();
	start_sh("a",
	    "trap 'echo asked; exit 7' USR1; echo up; while :; do "
	    "sleep 0.01; done");
	start_sh("b", "exec sleep 1000");
	wait_for(output_has("up"));
	tell("stop", "a", "60", "0", "1", "10", NULL);
	check_str(event("over a "), "exit 7");
	check_has(event("how a "), "stopping=1 killed=0");
	check_str(output(), "up\nasked\n");
	tell("stop", "b", "60", "1", "1", "15", NULL);
	check_str(event("over b "), "SIGTERM");
	teardown();
}

void
test_stop_kills_a_deaf_program(void)
{
	setup();
	start_sh("a", "trap '' TERM; echo deaf; while :; do sleep 0.01; done");
	wait_for(output_has("deaf"));
	tell("stop", "a", "0.2", "1", "1", "15", NULL);
	check_str(event("over a "), "SIGKILL");
	check_has(event("how a "), "stopping=1 killed=1");
	teardown();
}

void
test_stop_tries_each_signal_in_turn(void)
{
	setup();
	start_sh("a",
	    "trap 'echo term' TERM; trap 'echo int; exit 5' INT; "
	    "echo up; while :; do sleep 0.01; done");
	wait_for(output_has("up"));
	tell("stop", "a", "0.6", "0", "1", "15", "2", NULL);
	check_str(event("over a "), "exit 5");
	check_str(output(), "up\nterm\nint\n");
	teardown();
}

void
test_another_stop_hurries(void)
{
	setup();
	start_sh("a", "trap '' TERM; echo deaf; while :; do sleep 0.01; done");
	wait_for(output_has("deaf"));
	tell("stop", "a", "1000", "1", "1", "15", NULL);
	tell("stop", "a", "0.1", "1", "1", "15", NULL);
	check_str(event("over a "), "SIGKILL");
	teardown();
}

void
test_stop_wakes_a_stopped_program(void)
{
	setup();
	start_sh("a", "exec sleep 1000");
	tell("signal", "a", "19", "0", NULL);
	event("paused a");
	tell("stop", "a", "60", "1", "1", "15", NULL);
	check_str(event("over a "), "SIGTERM");
	teardown();
}

void
test_stopped_and_continued_is_told(void)
{
	pid_t pid;

	setup();
	pid = start_sh("a", "exec sleep 1000");
	kill(pid, SIGSTOP);
	event("paused a");
	kill(pid, SIGCONT);
	event("continued a");
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

#define DEAF_MEMBER \
	"(trap '' TERM; echo member; exec sleep 1000) & " \
	"trap 'exit 0' TERM; echo pid $!; while :; do sleep 0.01; done"

static pid_t
member_pid(void)
{
	wait_for(output_has("member\n") && output_has("pid "));
	return atoi(strstr(output(), "pid ") + 4);
}

void
test_stop_follows_the_group_beyond_its_leader(void)
{
	pid_t member;

	setup();
	start_sh("a", DEAF_MEMBER);
	member = member_pid();
	tell("stop", "a", "0.3", "1", "1", "15", NULL);
	check_str(event("over a "), "exit 0");
	/* It was over only when the member was gone. */
	check(!is_alive(member));
	teardown();
}

void
test_a_group_is_left_alone_when_the_rules_say_so(void)
{
	pid_t member;

	setup();
	start_sh("a", DEAF_MEMBER);
	member = member_pid();
	tell("stop", "a", "0.3", "0", "0", "15", NULL);
	check_str(event("over a "), "exit 0");
	check(is_alive(member));
	kill(member, SIGKILL);
	wait_for(!is_alive(member));
	teardown();
}

static pid_t
fork_as(pid_t number)
{
	struct clone_args args = {.exit_signal = SIGCHLD,
	    .set_tid = (uintptr_t)&number,
	    .set_tid_size = 1};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* In a group of that number, whose leader has ended, as that of daemon(3). */
static pid_t
begin_daemon(pid_t number)
{
	pid_t leader, daemon = 0;
	int fd[2];

	check(pipe(fd) == 0);
	leader = fork_as(number);
	if (leader == -1)
		skip("no process can be given a number");
	if (leader == 0) {
		setsid();
		daemon = fork();
		if (daemon == 0)
			pause();
		_exit(write(fd[1], &daemon, sizeof(daemon)) == -1);
	}
	check_int(read(fd[0], &daemon, sizeof(daemon)), sizeof(daemon));
	check_int(waitpid(leader, NULL, 0), leader);
	check_int(getpgid(daemon), number);
	return daemon;
}

static void
needs_signals_to_held_groups(void)
{
	int fd = pidfd_open(getpid(), 0);

	if (!am_root())
		skip("needs root");
	if (pidfd_send_signal(fd, 0, NULL, 4) == -1 && errno == EINVAL)
		skip("Linux 6.9 signals a group by a pidfd");
	close(fd);
}

/* A group that ends without the keeper knowing, and somebody else's of the same
 * number, before herod knows of the leader's end: who is in that. */
static pid_t
replace_group(pid_t leader, pid_t member)
{
	kill(leader, SIGKILL);
	wait_for(!is_alive(leader));
	kill(member, SIGKILL);
	wait_for(!is_alive(member));
	return begin_daemon(leader);
}

void
test_a_group_that_has_the_number_of_one_before_is_not_killed(void)
{
	pid_t herod, leader, daemon;

	needs_signals_to_held_groups();
	herod = setup();
	tell("start", "a", "--", own_path(), "acting-leader", NULL);
	leader = event_pid("started a ");
	wait_for(output_has("member "));
	kill(herod, SIGSTOP);
	daemon = replace_group(leader, atoi(strstr(output(), "member ") + 7));
	kill(herod, SIGCONT);
	event("over a ");
	check_str(status_of(daemon, "State"), "S (sleeping)");
	kill(daemon, SIGKILL);
	teardown();
}

void
test_what_a_leader_leaves_behind_is_killed(void)
{
	setup();
	start_sh("a", "sleep 1000 & echo pid $!; exit 6");
	check_str(event("over a "), "exit 6");
	check(!is_alive(atoi(output() + 4)));
	check_int(count_children(keeper_pid), 1);
	teardown();
}

#define UNTIL_UP "until [ -e up ]; do sleep 0.01; done; "

void
test_what_a_leader_leaves_behind_may_get_time(void)
{
	setup();
	tell("start", "a", "leftover=60", text_of("dir=%s", working_dir()),
	    "--", "sh", "-c",
	    "(trap 'echo asked; exit' TERM; touch up; "
	    "while :; do sleep 0.01; done) & " UNTIL_UP "exit 6",
	    NULL);
	check_str(event("over a "), "exit 6");
	check_str(output(), "asked\n");
	check(unlink("up") == 0);
	tell("start", "b", "leftover=0.1", text_of("dir=%s", working_dir()),
	    "--", "sh", "-c",
	    "(trap '' TERM; touch up; sleep 1000) & " UNTIL_UP, NULL);
	check_str(event("over b "), "exit 0");
	check_int(count_children(keeper_pid), 1);
	teardown();
}

void
test_what_a_leader_left_behind_is_killed_after_an_upgrade(void)
{
	pid_t member;

	setup();
	tell("start", "a", "leftover=1000", text_of("dir=%s", working_dir()),
	    "--", "sh", "-c",
	    "(trap '' TERM; touch up; exec sleep 1000) & echo pid $!; " UNTIL_UP,
	    NULL);
	wait_for(output_has("pid "));
	member = atoi(strstr(output(), "pid ") + 4);
	wait_for(getpgid(member) > 0 && !is_alive(getpgid(member)));
	tell("start-and-upgrade", keeper_path(), "b", "--", "true", NULL);
	event("herod ");
	event("over a ");
	check(!is_alive(member));
	teardown();
}

void
test_a_stop_may_let_go_of_what_a_leader_left_behind(void)
{
	pid_t member;

	setup();
	tell("start", "a", "leftover=1000", text_of("dir=%s", working_dir()),
	    "--", "sh", "-c",
	    "(trap '' TERM; touch up; exec sleep 1000 >&- 2>&-) & "
	    "echo pid $!; " UNTIL_UP,
	    NULL);
	wait_for(output_has("pid "));
	member = atoi(strstr(output(), "pid ") + 4);
	wait_for(count_children(keeper_pid) == 2);
	wait_for(getpgid(member) > 0 && !is_alive(getpgid(member)));
	tell("stop", "a", "1000", "1", "0", "15", NULL);
	check_str(event("over a "), "exit 0");
	check(is_alive(member));
	kill(member, SIGKILL);
	wait_for(!is_alive(member));
	teardown();
}

void
test_what_a_leader_leaves_behind_may_stay(void)
{
	pid_t member;

	setup();
	tell("start", "a", "leftover=-1", "--", "sh", "-c",
	    "sleep 1000 >&- 2>&- & echo pid $!; exit 6", NULL);
	check_str(event("over a "), "exit 6");
	member = atoi(strstr(output(), "pid ") + 4);
	check(is_alive(member));
	check_int(count_children(keeper_pid), 2);
	kill(member, SIGKILL);
	wait_for(count_children(keeper_pid) == 1);
	teardown();
}

void
test_an_orphan_with_the_pipe_does_not_hold_up_the_end(void)
{
	pid_t orphan;

	setup();
	tell("start", "a", text_of("dir=%s", working_dir()), "leftover=-1",
	    "--", "sh", "-c",
	    "setsid sh -c 'echo pid $$; touch up; exec sleep 1000' & " UNTIL_UP
	    "echo last words; exit 2",
	    NULL);
	check_str(event("over a "), "exit 2");
	check_has(output(), "last words\n");
	orphan = atoi(strstr(output(), "pid ") + 4);
	check(is_alive(orphan));
	kill(orphan, SIGKILL);
	/* It is the keeper's child now, and so not a zombie for long. */
	wait_for(!is_alive(orphan));
	teardown();
}

void
test_escapees_are_reaped(void)
{
	setup();
	start_sh("a",
	    "for i in 1 2 3 4 5 6 7 8 9; do "
	    "setsid sh -c 'sleep 0.1' >/dev/null 2>&1 & done");
	check_str(event("over a "), "exit 0");
	wait_for(count_children(keeper_pid) == 1);
	teardown();
}

/* ---- herod's death ---- */

void
test_children_outlive_herod(void)
{
	pid_t herod = setup(), a, b, again;

	a = start_sh("a", "while read x; do :; done; sleep 1000");
	b = start_sh("b", "exec sleep 1000");
	check_str(output(), "");
	tell("tag", "b", "renamed", NULL);
	tell("signal", "b", "19", "0", NULL);
	event("paused b");
	kill(herod, SIGKILL);
	again = event_pid("herod ");
	check(again != herod);
	check_int(event_pid("found a "), a);
	check_int(event_pid("found renamed "), b);
	check(is_alive(a) && is_alive(b));
	/* It is followed as before. */
	tell("signal", "renamed", "18", "0", NULL);
	event("continued renamed");
	tell("kill", "a", NULL);
	tell("kill", "renamed", NULL);
	check_str(event("over a "), "SIGKILL");
	check_str(event("over renamed "), "SIGKILL");
	teardown();
}

void
test_what_happens_while_herod_is_dead_is_kept(void)
{
	pid_t herod = setup();

	start_sh("a", "while [ ! -e $0/go ]; do sleep 0.01; done");
	tell("kill", "a", NULL);
	event("over a ");
	/* Stopped, it takes nothing from the pipes. */
	start_sh("b",
	    "trap 'echo words; exit 9' USR1; echo up; "
	    "while :; do sleep 0.01; done");
	start_sh("c", "echo up; sleep 1000");
	wait_for(strcmp(output(), "up\nup\n") == 0);
	kill(herod, SIGSTOP);
	tell("echo", "lost with herod", NULL);
	kill(herod, SIGKILL);
	event_pid("herod ");
	event("found b ");
	event("found c ");
	tell("signal", "b", "10", "0", NULL);
	tell("kill", "c", NULL);
	check_str(event("over b "), "exit 9");
	check_str(event("over c "), "SIGKILL");
	check_str(output(), "up\nup\nwords\n");
	teardown();
}

void
test_an_end_that_herod_never_saw_is_told_to_the_next(void)
{
	pid_t herod = setup(), a, b;

	a = start_sh("a",
	    "read x </dev/null; while [ ! -e /proc/$PPID/nothing "
	    "]; do sleep 0.01; done");
	b = start_sh("b",
	    "trap 'echo unread; exit 9' USR1; echo up; "
	    "while :; do sleep 0.01; done");
	wait_for(output_has("up\n"));
	kill(herod, SIGSTOP);
	wait_for(status_of(herod, "State")[0] == 'T');
	kill(a, SIGKILL);
	kill(b, SIGUSR1);
	wait_for(!is_alive(a) && !is_alive(b));
	kill(herod, SIGKILL);
	check_int(event_pid("found a "), a);
	check_int(event_pid("found b "), b);
	check_str(event("over a "), "SIGKILL");
	check_str(event("over b "), "exit 9");
	check_str(output(), "up\nunread\n");
	teardown();
}

void
test_output_that_herod_had_not_finished_with_is_read_again(void)
{
	setup();
	tell("die-in-output", NULL);
	tell("start", "a", "--", "sh", "-c", "echo precious; sleep 1000", NULL);
	event("started a ");
	event_pid("herod ");
	event("found a ");
	wait_for(strcmp(output(), "precious\nprecious\n") == 0);
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_acknowledged_ends_are_not_told_again(void)
{
	pid_t herod = setup();

	start_sh("a", "exit 1");
	event("over a exit 1");
	tell("start", "b", "--", "/no/such/program", NULL);
	event("over b ");
	tell("echo", "x", NULL);
	event("echo x");
	kill(herod, SIGKILL);
	event_pid("herod ");
	check(!event_find("found "));
	teardown();
}

void
test_a_start_asked_for_by_a_dead_herod_is_known_to_the_next(void)
{
	pid_t herod = setup();

	kill(keeper_pid, SIGSTOP);
	tell("start", "a", "--", "sleep", "1000", NULL);
	tell("start", "b", "--", "/no/such/program", NULL);
	tell("echo", "sent", NULL);
	event("echo sent");
	kill(herod, SIGKILL);
	kill(keeper_pid, SIGCONT);
	event_pid("herod ");
	event("found a ");
	event("found b ");
	check_str(event("over b "), "exec: No such file or directory");
	tell("kill", "a", NULL);
	event("over a SIGKILL");
	teardown();
}

void
test_children_that_nobody_adopts_are_killed(void)
{
	pid_t herod = setup(), pid;

	pid = start_sh("stranger", "sleep 1000 & wait");
	kill(herod, SIGKILL);
	event("found stranger ");
	wait_for(!is_alive(pid));
	wait_for(count_children(keeper_pid) == 1);
	teardown();
}

void
test_a_descriptor_is_kept_with_its_child(void)
{
	pid_t herod = setup();
	char *keep = text_of("keep=%s/kept", working_dir());

	write_file("kept", "text\n");
	tell("start", "a", keep, "--", "sleep", "1000", NULL);
	event("started a ");
	kill(herod, SIGKILL);
	check_has(event("found a "), " kept");
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_stored_descriptors_outlive_herod(void)
{
	pid_t herod = setup();
	char *cwd = working_dir();

	write_file("one", "1");
	write_file("two", "2");
	tell("store", "first", text_of("%s/one", cwd), NULL);
	tell("store", "second", text_of("%s/one", cwd), NULL);
	tell("store", "third", text_of("%s/one", cwd), NULL);
	tell("store", "second", text_of("%s/two", cwd), NULL);
	tell("drop", "third", NULL);
	tell("echo", "x", NULL);
	event("echo x");
	kill(herod, SIGKILL);
	check_str(event("stored first "), "1");
	check_str(event("stored second "), "2");
	event("herod ");
	check(!event_find("stored "));
	teardown();
}

void
test_the_last_words_of_herod_count(void)
{
	pid_t herod = setup(), pid;

	write_file("one", "1");
	pid = start_sh("a", "exec sleep 1000");
	tell("last-words", "first", text_of("%s/one", working_dir()),
	    text_of("%d", (int)pid), NULL);
	wait_for(status_of(herod, "State")[0] == 'Z');
	kill(keeper_pid, SIGCONT);
	check_str(event("stored first "), "1");
	teardown();
}

void
test_the_death_of_a_herod_that_asked_for_an_upgrade_is_noticed(void)
{
	pid_t herod = setup();

	/* It sees the death and the wish at once. */
	kill(keeper_pid, SIGSTOP);
	wait_for(status_of(keeper_pid, "State")[0] == 'T');
	tell("last-upgrade", keeper_path(), NULL);
	wait_for(status_of(herod, "State")[0] == 'Z');
	kill(keeper_pid, SIGCONT);
	check(event_pid("herod ") != herod);
	teardown();
}

/* /dev/null is no cgroup to begin in. */
void
test_a_start_that_failed_does_not_hinder_an_upgrade(void)
{
	setup();
	tell("start-and-upgrade", keeper_path(), "a", "cgroup=/dev/null", "--",
	    "true", NULL);
	event("herod ");
	check_has(event("over a "), ": Bad file descriptor");
	teardown();
}

/* Kills it; the next, and how long that took. */
static pid_t
kill_herod(pid_t herod, double *took)
{
	double since = check_clock();

	kill(herod, SIGKILL);
	herod = event_pid("herod ");
	*took = check_clock() - since;
	return herod;
}

void
test_herod_that_dies_young_is_not_started_at_once(void)
{
	pid_t herod = setup();
	double took = 0;
	int i;

	/* Five times it is, then after 100 ms, 200 ms, 400 ms. */
	for (i = 0; i < 30 && took < 0.35; i++)
		herod = kill_herod(herod, &took);
	check(i >= 5 && i < 30);
	teardown();
}

void
test_herod_that_never_was_ready_is_not_started_again(void)
{
	pid_t pid;
	int status;

	keeper_run(-1);
	event("herod ");
	pid = start_sh("a", "sleep 1000 & wait");
	tell("die", "7", NULL);
	status = keeper_wait();
	check(WIFEXITED(status));
	check_int(WEXITSTATUS(status), 7);
	check(!is_alive(pid));
	check(!event_find("herod "));
}

void
test_a_herod_that_cannot_be_executed_ends_the_keeper(void)
{
	char *keeper = keeper_path();
	int status;

	keeper_pid = fork();
	if (keeper_pid == 0) {
		execl(keeper, keeper, "--", "/no/such/herod", (char *)NULL);
		_exit(93);
	}
	status = keeper_wait();
	check_int(WEXITSTATUS(status), 127);
}

void
test_stop_ends_all_that_is_left(void)
{
	pid_t pid, group;
	int status;

	setup();
	pid = start_sh("a", "trap '' TERM; while :; do sleep 0.01; done");
	tell("start", "loner", "leftover=60", "--", "sh", "-c",
	    "trap '' TERM; sleep 1000 & echo pid $!; exit", NULL);
	wait_for(output_has("pid "));
	group = atoi(strstr(output(), "pid ") + 4);
	tell("end", "5", NULL);
	status = keeper_wait();
	check(WIFEXITED(status));
	check_int(WEXITSTATUS(status), 5);
	check(!is_alive(pid) && !is_alive(group));
}

void
test_sigterm_between_two_herods_ends_all(void)
{
	pid_t herod = setup(), pid;
	double took = 0;
	int status;

	pid = start_sh("a", "exec sleep 1000");
	while (took < 0.7)
		herod = kill_herod(herod, &took);
	kill(herod, SIGKILL);
	wait_for(!is_alive(herod));
	kill(keeper_pid, SIGTERM);
	status = keeper_wait();
	check_int(WEXITSTATUS(status), 128 + SIGTERM);
	check(!is_alive(pid));
}

void
test_herod_that_dies_when_asked_to_end_is_not_started_again(void)
{
	pid_t herod = setup(), pid;

	pid = start_sh("a", "exec sleep 1000");
	kill(keeper_pid, SIGTERM);
	event("signal 15");
	kill(herod, SIGKILL);
	check_int(WEXITSTATUS(keeper_wait()), 128 + SIGKILL);
	check(!is_alive(pid));
}

void
test_ends_wait_for_a_herod_that_sleeps(void)
{
	pid_t herod = setup(), pid[200];
	char name[16];
	int i;

	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		pid[i] = start_sh(name, "echo x; exec sleep 1000");
	}
	wait_for(strlen(output()) == 400);
	kill(herod, SIGSTOP);
	for (i = 0; i < 200; i++)
		kill(pid[i], SIGTERM);
	wait_for(count_children(keeper_pid) == 1);
	kill(herod, SIGCONT);
	for (i = 0; i < 200; i++)
		event(text_of("over c%d SIGTERM", i));
	teardown();
}

/* So that n more can be opened. */
static void
limit_fds(pid_t pid, size_t n)
{
	struct rlimit limit;
	size_t fd;

	for (fd = 0; n > 0; fd++)
		if (access(text_of("/proc/%d/fd/%zu", pid, fd), F_OK) == -1)
			n--;

	check(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
	limit.rlim_cur = fd;
	check(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

void
test_children_fail_alone_when_descriptors_run_out(void)
{
	pid_t herod = setup();

	/* Asked for in time, but when it comes there is no room: one needs
	 * four, pidfd, stdin, stdout, stderr. */
	kill(keeper_pid, SIGSTOP);
	tell("start", "a", "stdin=pipe", "--", "sleep", "1000", NULL);
	tell("echo", "asked", NULL);
	event("echo asked");
	limit_fds(herod, 2);
	kill(keeper_pid, SIGCONT);
	check_str(event("over a "), "descriptors: Too many open files");
	check_has(event("how a "), "stopping=0 killed=0 shortage=1");
	limit_fds(herod, 100);
	start_sh("b", "exec sleep 1000");
	teardown();
}

void
test_children_leave_descriptors_for_others(void)
{
	pid_t herod = setup();
	int n = 0;

	limit_fds(herod, 40);
	do {
		n++;
		tell("start", text_of("c%d", n), "--", "sleep", "1000", NULL);
		wait_for(event_find(text_of("started c%d ", n)) ||
		    strv_count(events) > 0);
	} while (strv_count(events) == 0);
	check_has(events[0], "descriptors: Too many open files");
	check(n > 3 && n < 12);
	teardown();
}

void
test_signals_are_passed_on_to_herod(void)
{
	static const int signals[] = {
	    SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	char text[32];
	size_t i;

	setup();
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		kill(keeper_pid, signals[i]);
		snprintf(text, sizeof(text), "signal %d", signals[i]);
		event(text);
	}
	tell("echo", "x", NULL);
	event("echo x");
	check(!event_find("signal "));
	teardown();
}

void
test_ready_is_told_by_one_byte(void)
{
	char byte[2];
	int pair[2];

	check(pipe(pair) == 0);
	keeper_run(pair[1]);
	close(pair[1]);
	event("herod ");
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	check(read(pair[0], byte, 2) == -1);
	tell("ready", NULL);
	wait_for(read(pair[0], byte, 2) == 1);
	/* And its end is closed, by herod, too. */
	wait_for(read(pair[0], byte, 2) == 0);
	teardown();
}

void
test_a_dead_keeper_is_noticed(void)
{
	pid_t herod = setup(), a;
	int status;

	a = start_sh("a", "exec sleep 1000");
	kill(keeper_pid, SIGKILL);
	event("lost");
	check(WIFSIGNALED(keeper_wait()));
	tell("start", "b", "--", "true", NULL);
	event("over b keeper: Broken pipe");
	kill(herod, SIGKILL);
	kill(a, SIGKILL);
	wait_for(waitpid(-1, &status, WNOHANG) == -1);
	wait_for(!is_alive(a) && !is_alive(herod));
}

/* ---- many, and for long ---- */

static size_t
many(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_max < 8000 ? (size_t)limit.rlim_max / 8 : 1000;
}

void
test_a_thousand_children_are_followed(void)
{
	size_t i, n = many();
	char name[32], prefix[48];
	pid_t herod = setup();

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "c%zu", i);
		tell("start", name, "--", "sleep", "1000", NULL);
		pump();
	}
	for (i = 0; i < n; i++) {
		snprintf(prefix, sizeof(prefix), "started c%zu ", i);
		event(prefix);
	}
	check_int(count_children(keeper_pid), n + 1);
	printf("keeper with %zu children: %s\n", n,
	    status_of(keeper_pid, "VmRSS"));
	kill(herod, SIGKILL);
	event_pid("herod ");
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "c%zu", i);
		tell("stop", name, "10", "1", "1", "15", NULL);
		pump();
	}
	for (i = 0; i < n; i++) {
		snprintf(prefix, sizeof(prefix), "over c%zu SIGTERM", i);
		event(prefix);
	}
	check_int(count_children(keeper_pid), 1);
	teardown();
}

/* A number is not enough to know what was left, should something be. */
struct fds {
	size_t n;
	char list[4096];
};

static void
list_fd(struct fds *f, pid_t pid, const char *number)
{
	char *name = xasprintf("/proc/%d/fd/%s", pid, number), path[256];
	ssize_t n = readlink(name, path, sizeof(path));
	size_t len = strlen(f->list);

	free(name);
	if (n == -1)
		return; /* closed meanwhile */
	f->n++;
	snprintf(f->list + len, sizeof(f->list) - len, "\n  %s %.*s", number,
	    (int)n, path);
}

static struct fds
list_fds(pid_t pid)
{
	char *name = xasprintf("/proc/%d/fd", pid);
	DIR *dir = opendir(name);
	struct fds f = {0};
	struct dirent *d;

	free(name);
	check(dir != NULL);
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.')
			list_fd(&f, pid, d->d_name);
	closedir(dir);
	return f;
}

static bool
is_asleep(pid_t pid)
{
	return status_of(pid, "State")[0] == 'S';
}

/* What it passes on in a message it closes after the message was sent, which
 * may be after we know of it; before it sleeps again. */
static struct fds
fds_at_rest(pid_t pid)
{
	wait_for(is_asleep(pid));
	return list_fds(pid);
}

static void
await_fds(const char *whose, pid_t pid, const struct fds *want)
{
	double since = check_clock();
	struct fds f;
	char *what;

	while ((f = list_fds(pid)).n != want->n) {
		what = xasprintf("%s's %zu descriptors%s\nits %zu are%s", whose,
		    want->n, want->list, f.n, f.list);
		check_wait(__FILE__, __LINE__, what, since);
		free(what);
	}
}

void
test_no_descriptors_are_left_over(void)
{
	struct fds keeper_fds, herod_fds;
	pid_t herod = setup();
	int i;

	/* When it runs, the keeper has also got what is kept for herod. */
	start_sh("s", "exec sleep 1000");
	keeper_fds = fds_at_rest(keeper_pid);
	herod_fds = fds_at_rest(herod);
	for (i = 0; i < 50; i++) {
		tell("start", "a", "stdin=pipe", "keep=/dev/null", "--", "true",
		    NULL);
		tell("start", "b", "stdin=/dev/null", "--", "/no/such/program",
		    NULL);
		tell("start", "c", "merge=1", "dir=/no", "--", "true", NULL);
		event("over a exit 0");
		event("over b ");
		event("over c ");
	}
	await_fds("keeper", keeper_pid, &keeper_fds);
	await_fds("herod", herod, &herod_fds);
	kill(herod, SIGKILL);
	herod = event_pid("herod ");
	event("found s ");
	await_fds("herod", herod, &herod_fds);
	await_fds("keeper", keeper_pid, &keeper_fds);
	tell("kill", "s", NULL);
	event("over s ");
	teardown();
}

/* Those that are not read wait for the next herod. */
static void
tell_starts(int n)
{
	while (n-- > 0)
		tell("start", "a", "stdin=pipe", "keep=/dev/null", "--", "true",
		    NULL);
}

/* As often as one is started again at once. */
void
test_a_herod_killed_over_starts_leaves_no_descriptors(void)
{
	struct fds keeper_fds;
	pid_t herod = setup();
	int i, j;

	start_sh("s", "exec sleep 1000");
	keeper_fds = fds_at_rest(keeper_pid);
	for (i = 0; i < 4; i++) {
		tell_starts(10);
		for (j = 0; j < i; j++)
			event("started a ");
		kill(herod, SIGKILL);
		herod = event_pid("herod ");
	}
	tell("echo", "told", NULL);
	event("echo told");
	await_fds("keeper", keeper_pid, &keeper_fds);
	tell("kill", "s", NULL);
	event("over s ");
	teardown();
}

/* Here time itself is what is measured. */
static bool
sleeps_for_a_second(void)
{
	char before[32];

	snprintf(before, sizeof(before), "%s",
	    status_of(keeper_pid, "voluntary_ctxt_switches"));
	poll(NULL, 0, 1000);
	return strcmp(status_of(keeper_pid, "voluntary_ctxt_switches"),
		   before) == 0;
}

/* Once what was begun is done. */
void
test_an_idle_keeper_sleeps(void)
{
	setup();
	start_sh("a", "exec sleep 1000");
	tell("echo", "x", NULL);
	event("echo x");
	wait_for(sleeps_for_a_second());
	tell("kill", "a", NULL);
	event("over a ");
	teardown();
}

void
test_the_keeper_is_small(void)
{
	char name[16];
	int i;

	setup();
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		start_sh(name, "exec sleep 1000");
	}
	printf("keeper with 10 children: %s\n", status_of(keeper_pid, "VmRSS"));
	/* A sanitizer's shadow is not ours. */
	if (access("/proc/self/exe", R_OK) == 0 && check_patience() <= 1)
		check(atoi(status_of(keeper_pid, "VmRSS")) < 2000);
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		tell("kill", name, NULL);
		event(text_of("over %s ", name));
	}
	teardown();
}

void
test_bad_options_are_told(void)
{
	char *keeper = keeper_path();
	int status;

	keeper_pid = fork();
	if (keeper_pid == 0) {
		execl(keeper, keeper, "/bin/true", (char *)NULL);
		_exit(93);
	}
	status = keeper_wait();
	check_int(WEXITSTATUS(status), 2);
}
