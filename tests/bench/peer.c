/* Supervisors of Debian, to be measured beside herod. */
#include "peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* ---- supervisord ---- */

struct supervisord
supervisord_start(const char *programs)
{
	struct supervisord s = {.conf = here("supervisord.conf"),
	    .socket = here("supervisord.sock")};
	const char *argv[] = {SUPERVISORD, "-c", s.conf, NULL};
	int fd;

	write_file(s.conf,
	    text("[unix_http_server]\nfile = %s\n"
		 "[supervisord]\nnodaemon = true\nminfds = 4096\n"
		 "loglevel = error\nlogfile = %s\npidfile = %s\n"
		 "childlogdir = %s\n"
		 "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
		 "supervisor.rpcinterface:make_main_rpcinterface\n"
		 "[supervisorctl]\nserverurl = unix://%s\n%s",
		s.socket, here("supervisord.log"), here("supervisord.pid"),
		here("."), s.socket, programs));
	s.pid = program_start(argv, NULL);
	wait_for((fd = dial(s.socket)) != -1);
	close(fd);
	return s;
}

void
supervisord_stop(struct supervisord *s)
{
	kill(s->pid, SIGTERM);
	check_int(waitpid(s->pid, NULL, 0), s->pid);
}

const char *
supervisord_sleepers(int n)
{
	const char *all;
	char *sections = malloc((size_t)n * 128 + 1);
	size_t len = 0;
	int i;

	check(sections != NULL);
	sections[0] = '\0';
	for (i = 0; i < n; i++)
		len += (size_t)snprintf(sections + len, 128,
		    "[program:p%03d]\ncommand = sleep 1000\n"
		    "autostart = false\nstartsecs = 0\n",
		    i);
	all = text("%s", sections);
	free(sections);
	return all;
}

const char *
supervisord_call(const struct supervisord *s, const char *method)
{
	const char *body = text("<?xml version=\"1.0\"?><methodCall>"
				"<methodName>supervisor.%s</methodName>"
				"<params></params></methodCall>",
	    method);
	static char answer[1 << 20];
	int fd = dial(s->socket);
	size_t len = 0;
	ssize_t n;

	check(fd != -1);
	send_text(fd,
	    text("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\n"
		 "Content-Length: %zu\r\n\r\n%s",
		strlen(body), body));
	while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
		len += (size_t)n;
	answer[len] = '\0';
	close(fd);
	check_has(answer, "</methodResponse>");
	return answer;
}

/* ---- runsv, s6-supervise ---- */

static void
service_start(struct crew *c)
{
	const char *dir = here(text("%s.%zu", c->program, c->n));
	const char *run = text("%s/run", dir);
	const char *argv[] = {c->program, dir, NULL};

	mkdir(dir, 0700);
	write_file(run, "#!/bin/sh\nexec sleep 1000\n");
	chmod(run, 0700);
	c->pids[c->n++] = program_start(argv, NULL);
}

/* It has a child that sleeps. */
static bool
is_up(pid_t pid)
{
	const char *children =
	    proc_text(pid, text("task/%d/children", (int)pid));
	pid_t child = children ? atoi(children) : 0;
	const char *name = child ? proc_text(child, "comm") : NULL;

	return name && strncmp(name, "sleep", 5) == 0;
}

void
crew_start(struct crew *c, const char *program, size_t n)
{
	size_t i;

	c->program = program;
	c->n = 0;
	while (c->n < n)
		service_start(c);
	for (i = 0; i < n; i++)
		wait_for(is_up(c->pids[i]));
}

/* Both end their service and themselves by SIGTERM. */
void
crew_stop(struct crew *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		kill(c->pids[i], SIGTERM);
	for (i = 0; i < c->n; i++)
		check_int(waitpid(c->pids[i], NULL, 0), c->pids[i]);
}

static double
pss_mb(pid_t pid)
{
	const char *pss = strstr(proc_text(pid, "smaps_rollup"), "\nPss:");

	return pss ? strtod(pss + 5, NULL) * 1024 / 1e6 : 0;
}

double
crew_mb(const struct crew *c)
{
	double mb = 0;
	size_t i;

	for (i = 0; i < c->n; i++)
		mb += pss_mb(c->pids[i]);
	return mb;
}
