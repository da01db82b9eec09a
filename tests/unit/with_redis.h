/*
 * A redis-server for one test, on a socket in the test's directory, and
 * what a test asks of it through redis.c.
 */
#ifndef WITH_REDIS_H
#define WITH_REDIS_H

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "mem.h"
#include "redis.h"

#define MAYBE __attribute__((unused)) static

MAYBE char *
socket_url(void)
{
	char dir[200];

	return xasprintf("unix://%s/redis.sock", getcwd(dir, sizeof(dir)));
}

MAYBE bool
server_listens(void)
{
	struct sockaddr_un un = {AF_UNIX, "redis.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0;

	close(fd);
	return good;
}

/* options: more of them, split at blanks; "" for none. */
MAYBE pid_t
server_start(const char *options)
{
	char command[1024];
	pid_t pid;

	snprintf(command, sizeof(command),
	    "exec redis-server --port 0 --unixsocket redis.sock --dir . "
	    "--appendonly yes --save '' --logfile redis.log %s",
	    options);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	wait_for(server_listens());
	return pid;
}

MAYBE void
server_end(pid_t pid, int sig)
{
	kill(pid, sig);
	check_int(waitpid(pid, NULL, 0), pid);
}

/* ---- one answer, waited for ---- */

struct answer {
	bool done, lost, is_error;
	char *text; /* of text, or of all texts in an array, blank between */
	long long number;
	size_t count;
};

/* Texts live as long as the test. */
static char **kept_texts;

MAYBE char *
keep_text(char *stolen)
{
	strv_add(&kept_texts, stolen);
	return stolen;
}

static void
add_texts(struct answer *a, const struct redis_reply *reply)
{
	const char *text = reply_text(reply, NULL);
	size_t i;

	if (text)
		a->text = keep_text(xasprintf("%s%s%s", a->text ? a->text : "",
		    a->text ? " " : "", text));
	for (i = 0; i < reply_count(reply); i++)
		add_texts(a, reply_at(reply, i));
}

MAYBE void
on_answer(void *arg, const struct redis_reply *reply)
{
	struct answer *a = arg;

	check(!a->done);
	a->done = true;
	a->lost = !reply;
	a->is_error = reply_is_error(reply);
	a->number = reply_number(reply);
	a->count = reply_count(reply);
	add_texts(a, reply);
}

static bool
turn(struct ev_loop *loop)
{
	ev_run(loop, EVRUN_NOWAIT);
	return true;
}

/* The words of fmt, split at blanks; "-" stands for an empty one, ~ for a
 * blank in a word. */
MAYBE struct answer __attribute__((format(printf, 3, 4)))
ask(struct ev_loop *loop, struct redis *r, const char *fmt, ...)
{
	struct answer a = {0};
	struct redis_words w;
	char text[4096], *word, *blank, *rest = text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	words_begin(&w, strsep(&rest, " "));
	while ((word = strsep(&rest, " "))) {
		for (blank = word; (blank = strchr(blank, '~'));)
			*blank = ' ';
		words_add(&w, strcmp(word, "-") ? word : "");
	}
	check(redis_send(r, &w, on_answer, &a));
	wait_for(turn(loop) && a.done);
	return a;
}

/* Its text, "" for none; for the life of the test. */
#define ASK(...) (ask_text(ask(__VA_ARGS__)))
MAYBE const char *
ask_text(struct answer a)
{
	return a.text ? a.text : "";
}

#endif
