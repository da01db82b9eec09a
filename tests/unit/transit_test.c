/*
 * Output in transit: herod is killed at each of its system calls in turn, and
 * the herods after it, too; each line stands in the log exactly once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "mem.h"
#include "output.h"
#include "transit.h"

CHECK_TIMEOUT(240);

#define BACKUPS 40
#define PIECE 24 /* bytes at once, so that there are many pieces */

/* Whole, half, empty, long and last lines. */
static const char input[] =
    "one\ntwo is somewhat longer than a piece\n\nthree\n"
    "0123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789\nfour\nfive\nno end";

/* What the keeper would hold. */
static int stored[TRANSIT_FDS], from;

static void
store_new(void)
{
	int none[TRANSIT_FDS] = {-1, -1, -1}, i;
	struct transit *t = transit_open(none);

	check(t != NULL);
	for (i = 0; i < TRANSIT_FDS; i++)
		stored[i] = dup(transit_fd(t, i));
	transit_free(t);
}

static void
write_input(void)
{
	int fd[2];

	check_int(pipe(fd), 0);
	check_int(
	    write(fd[1], input, sizeof(input) - 1), (int)sizeof(input) - 1);
	close(fd[1]);
	from = fd[0];
}

static void
set(struct runner_conf *conf, const char *name, json_t *stolen)
{
	check_int(settings_set(runner_settings, conf, name, stolen, NULL), 0);
	json_decref(stolen);
}

static struct ev_loop *
the_loop(void)
{
	static struct ev_loop *loop;

	if (loop == NULL)
		loop = ev_loop_new(EVFLAG_AUTO);
	return loop;
}

static struct output *
open_output(void)
{
	static struct runner_conf conf;
	static struct output_home home;

	settings_init(runner_settings, &conf);
	set(&conf, "stdout_logfile_maxbytes", json_integer(150));
	set(&conf, "stdout_logfile_backups", json_integer(BACKUPS));
	set(&conf, "log_max_line", json_integer(128));
	home = (struct output_home){.dir = (char *)".",
	    .ring_bytes = 1000,
	    .files = logfiles_new(the_loop()),
	    .spare = output_spare_new()};
	return output_new("it", &conf, &home);
}

/* What herod does with the output of a runner until that ends. */
static void
be_herod(void)
{
	int fds[TRANSIT_FDS] = {dup(stored[0]), dup(stored[1]), dup(stored[2])};
	char *buf = xmalloc(TRANSIT_PIECE);
	struct transit *t = transit_open(fds);
	struct transit_place place = {t, 7, CHILD_STDOUT}, left;
	struct output *o = open_output();
	struct output_source *s =
	    output_source_new(o, 0, CHILD_STDOUT, NULL, &place);
	size_t len;
	ssize_t n;

	if (transit_left(t, &left, buf, &len)) {
		output_feed(s, buf, len);
		transit_done(t);
	}
	while ((n = transit_take(&place, from, buf, PIECE)) > 0) {
		output_feed(s, buf, (size_t)n);
		transit_done(t);
	}
	output_source_end(s);
	_exit(n == 0 ? 0 : 1);
}

/* True when it was killed at the system call of this number (entry and exit
 * count), false when it had ended before, well. */
static bool
herod_until(int call)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
			raise(SIGSTOP);
		be_herod();
	}
	for (waitpid(pid, &status, 0); WIFSTOPPED(status) && call > 0; call--) {
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, &status, 0);
	}
	if (!WIFSTOPPED(status)) {
		check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return true;
}

static void
herod_to_the_end(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		be_herod();
	waitpid(pid, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Adds what the lines of a file say; parts of a line are joined. */
static void
add_lines(char **all, const char *path)
{
	char *text, *line, *rest, *said, *more;

	if (access(path, F_OK) != 0)
		return;
	text = rest = read_file(path);
	while ((line = strsep(&rest, "\n")) && rest) {
		said = strstr(line, " 0 out");
		check(said != NULL);
		more = xasprintf("%s%s%s", *all, strchr(said + 6, ' ') + 1,
		    said[6] == '+' ? "" : "\n");
		free(*all);
		*all = more;
	}
	check_str(line, ""); /* nothing is torn */
	free(text);
	unlink(path);
}

static void
check_log(int call)
{
	char *all = xstrdup(""), *want = xasprintf("%s\n", input);
	char path[32];
	int i;

	for (i = BACKUPS; i > 0; i--) {
		snprintf(path, sizeof(path), "it.log.%d", i);
		add_lines(&all, path);
	}
	add_lines(&all, "it.log");
	if (strcmp(all, want) != 0)
		printf("killed at system call %d\n", call);
	check_str(all, want);
	free(all);
	free(want);
}

static void
close_all(void)
{
	int i;

	for (i = 0; i < TRANSIT_FDS; i++)
		close(stored[i]);
	close(from);
}

void
test_killed_at_any_system_call_no_line_is_lost_or_doubled(void)
{
	bool killed = true;
	int call;

	for (call = 1; killed; call++) {
		store_new();
		write_input();
		killed = herod_until(call);
		herod_to_the_end();
		check_log(call);
		close_all();
	}
	check(call > 100);
}

void
test_killed_again_and_again_no_line_is_lost_or_doubled(void)
{
	bool killed = true;
	int call;

	for (call = 1; killed; call += 3) {
		store_new();
		write_input();
		killed = herod_until(call);
		herod_until(call * 7 % 500);
		herod_until(call * 13 % 300);
		herod_to_the_end();
		check_log(call);
		close_all();
	}
}
