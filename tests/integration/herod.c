/*
 * A real herod for tests; see herod.h.
 */
#include "herod.h"

#include "secrets.h"
#include "shape.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define oops(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)
#define LOG_FILE "herod.log"

/* Of redis_start(), no leftovers of herod. */
static pid_t own_redis[4];
static size_t nown_redis;

/* ---- what is given out lives until the test ends ---- */

static struct kept {
	struct kept *next;
	char *text;
	json_t *value;
} * all_kept;

static struct kept *
keep(void)
{
	struct kept *k = calloc(1, sizeof(*k));

	if (k == NULL)
		oops("no memory");
	k->next = all_kept;
	return all_kept = k;
}

static const char *
keep_text(char *stolen)
{
	if (stolen == NULL)
		oops("no memory");
	return keep()->text = stolen;
}

static json_t *
keep_json(json_t *stolen)
{
	return keep()->value = stolen;
}

static const char *
vtext(const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) == -1)
		oops("no memory");
	return keep_text(s);
}

const char *
text(const char *fmt, ...)
{
	const char *s;
	va_list ap;

	va_start(ap, fmt);
	s = vtext(fmt, ap);
	va_end(ap);
	return s;
}

/* ---- things around ---- */

static const char *
build_dir(void)
{
	const char *dir = getenv("HEROD_BUILD");

	if (dir == NULL)
		oops("HEROD_BUILD is not set: use make check or tests/run");
	return dir;
}

const char *
here(const char *name)
{
	static char dir[1024];

	if (dir[0] == '\0' && getcwd(dir, sizeof(dir)) == NULL)
		oops("getcwd: %s", strerror(errno));
	return text("%s/%s", dir, name);
}

const char *
script(const char *name, const char *body)
{
	const char *path = here(name);

	write_file(path, text("#!/bin/sh\n%s\n", body));
	chmod(path, 0755);
	return path;
}

bool
file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

const char *
file_text(const char *path)
{
	return keep_text(read_file(path));
}

int
count_lines(const char *path)
{
	const char *p;
	int n = 0;

	if (!file_exists(path))
		return 0;
	for (p = file_text(path); (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

pid_t
pid_in(const char *path)
{
	return file_exists(path) ? (pid_t)atoi(file_text(path)) : 0;
}

const char *
proc_text(pid_t pid, const char *name)
{
	return file_text(text("/proc/%d/%s", (int)pid, name));
}

const char *
proc_field(pid_t pid, const char *name, const char *field)
{
	const char *line = strstr(proc_text(pid, name), text("%s:", field));

	if (line == NULL)
		oops("/proc/%d/%s has no %s", (int)pid, name, field);
	line += strlen(field) + 1;
	line += strspn(line, " \t");
	return text("%.*s", (int)strcspn(line, "\n"), line);
}

int
count_fds(pid_t pid)
{
	DIR *d = opendir(text("/proc/%d/fd", (int)pid));
	int n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d == NULL)
		oops("no process %d", (int)pid);
	closedir(d);
	return n - 2;
}

bool
is_alive(pid_t pid)
{
	const char *path = text("/proc/%d/stat", (int)pid);
	char line[512], *paren;
	FILE *f = fopen(path, "re");
	bool read;

	if (f == NULL)
		return false;
	read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	return read && (paren = strrchr(line, ')')) != NULL && paren[2] != 'Z';
}

bool
is_gone(pid_t pid)
{
	waitpid(pid, NULL, WNOHANG);
	return !is_alive(pid);
}

/* ---- programs ---- */

static int
exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

static struct ran
run_shell(const char *command)
{
	static int nruns;
	const char *out = here(text("run%d.out", nruns));
	const char *err = here(text("run%d.err", nruns++));
	struct ran r;

	setenv("BUILD", build_dir(), 1);
	r.status = exit_status(
	    system(text("{ %s\n} >%s 2>%s </dev/null", command, out, err)));
	r.out = file_text(out);
	r.err = file_text(err);
	unlink(out);
	unlink(err);
	return r;
}

struct ran
run(const char *command, ...)
{
	const char *line;
	va_list ap;

	va_start(ap, command);
	line = vtext(command, ap);
	va_end(ap);
	return run_shell(line);
}

pid_t
run_begin(const char *command, ...)
{
	const char *line;
	va_list ap;
	pid_t pid;

	va_start(ap, command);
	line = vtext(command, ap);
	va_end(ap);
	setenv("BUILD", build_dir(), 1);
	pid = fork();
	if (pid == -1)
		oops("fork: %s", strerror(errno));
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	return pid;
}

int
run_end(pid_t pid)
{
	int status;

	wait_for(waitpid(pid, &status, WNOHANG) == pid);
	return exit_status(status);
}

struct ran
heroctl(struct herod *h, const char *args, ...)
{
	const char *words;
	va_list ap;

	va_start(ap, args);
	words = vtext(args, ap);
	va_end(ap);
	return run_shell(
	    text("'%s/heroctl' -s unix:%s %s", build_dir(), h->socket, words));
}

/* ---- life ---- */

/* A port that is free now; the kernel does not soon give it again. */
static int
free_port(void)
{
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || bind(fd, (struct sockaddr *)&sin, len) == -1 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) == -1)
		oops("no free port: %s", strerror(errno));
	close(fd);
	return ntohs(sin.sin_port);
}

static void
exec_herod(const struct herod *h)
{
	int log =
	    open(LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	const char *command = text("%s exec '%s/herod' -c %s --state_dir %s "
				   "--runtime_dir %s --listen unix:%s,"
				   "tcp:127.0.0.1:%d %s",
	    h->before, build_dir(), h->conf, h->state, h->run, h->socket,
	    h->port, h->options);

	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	setsid();
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static bool
is_ended(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
	    -1 ||
	    info.si_pid != 0;
}

/* True when a whole ping went well; any trouble is just "not yet". */
static bool
answers(const struct herod *h)
{
	static const char ping[] =
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n";
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {2, 0};
	char buf[256];
	ssize_t n = -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", h->socket);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	    send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL) > 0)
		n = recv(fd, buf, sizeof(buf) - 1, 0);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return strstr(buf, "\"pong\"") != NULL;
}

void
herod_again(struct herod *h)
{
	/* What herod leaves comes back to us, where herod_end() sees it. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if ((h->keeper = fork()) == -1)
		oops("fork: %s", strerror(errno));
	if (h->keeper == 0)
		exec_herod(h);
	wait_for(answers(h) || is_ended(h->keeper));
	if (is_ended(h->keeper))
		oops("herod did not start");
}

static struct herod herods[8];
static size_t nherods;

/* name: "" for the first, behind the names of all that is its own. */
static struct herod *
start(
    const char *name, const char *before, const char *options, const char *conf)
{
	struct herod *h = &herods[nherods++];

	build_dir();
	if (nherods > sizeof(herods) / sizeof(herods[0]))
		oops("too many herods");
	setenv("HERO_LOG", "info", 0);
	h->port = free_port();
	h->state = here(text("state%s", name));
	h->run = here(text("run%s", name));
	h->socket = text("%s/herod.sock", h->run);
	h->conf = here(text("herod%s.conf", name));
	h->before = before;
	h->options = options;
	write_file(h->conf, conf);
	herod_again(h);
	return h;
}

struct herod *
herod_start(const char *conf, ...)
{
	const char *file;
	va_list ap;

	va_start(ap, conf);
	file = vtext(conf, ap);
	va_end(ap);
	return start("", "", "", file);
}

struct herod *
herod_start_with(const char *before, const char *options, const char *conf, ...)
{
	const char *file;
	va_list ap;

	va_start(ap, conf);
	file = vtext(conf, ap);
	va_end(ap);
	return start("", before, options, file);
}

struct herod *
herod_start_beside(const char *name, const char *conf, ...)
{
	const char *file;
	va_list ap;

	va_start(ap, conf);
	file = vtext(conf, ap);
	va_end(ap);
	return start(name, "", "", file);
}

const char *
herod_log(void)
{
	return file_text(here(LOG_FILE));
}

static bool
is_ours(int pid)
{
	size_t i;

	for (i = 0; i < nherods; i++)
		if (herods[i].keeper == pid)
			return true;
	for (i = 0; i < sizeof(own_redis) / sizeof(*own_redis); i++)
		if (own_redis[i] == pid)
			return true;
	return false;
}

/* Children of ours that are not ours by birth. */
static const char *
leftovers(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	const char *all = "";
	int pid;

	while (fscanf(f, "%d", &pid) == 1)
		if (!is_ours(pid))
			all = text("%s%d %s\n", all, pid,
			    proc_field(pid, "status", "Name"));
	fclose(f);
	return all;
}

/* Those of one whose keeper was killed are children of ours, too. */
static bool
is_another_there(void)
{
	size_t i;

	for (i = 0; i < nherods; i++)
		if (herods[i].keeper != 0)
			return true;
	return false;
}

int
herod_end(struct herod *h)
{
	const char *left;
	int status;

	wait_for(is_ended(h->keeper));
	if (waitpid(h->keeper, &status, 0) != h->keeper)
		oops("waitpid: %s", strerror(errno));
	/* Zombies of orphans are the subreaper's to bury, not a leftover. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	h->keeper = 0;
	if (!is_another_there() && *(left = leftovers()) != '\0')
		oops("herod left these processes:\n%s", left);
	return exit_status(status);
}

/* One that died of a fault of memory had a successor. */
static void
check_log(void)
{
	const char *said = file_exists(here(LOG_FILE)) ? herod_log() : "";

	check(strstr(said, "ERROR: AddressSanitizer") == NULL);
	check(strstr(said, "ERROR: LeakSanitizer") == NULL);
	check(strstr(said, "runtime error:") == NULL);
}

const char *
secret(const char *word)
{
	char buf[SECRET_SIZE];

	return text("%s", secret_of(word, buf));
}

static void
check_title(pid_t pid)
{
	char path[64], title[65536];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd != -1) {
		n = read(fd, title, sizeof(title));
		close(fd);
	}
	if (n > 0 && has_secret(title, (size_t)n))
		oops("the title of process %d shows a secret", (int)pid);
}

/* Of herod, the keeper and what it has started. */
static void
check_titles(const struct herod *h)
{
	const char *path =
	    text("/proc/%d/task/%d/children", (int)h->keeper, (int)h->keeper);
	FILE *f = fopen(path, "re");
	int pid;

	check_title(h->keeper);
	while (f != NULL && fscanf(f, "%d", &pid) == 1)
		check_title(pid);
	if (f != NULL)
		fclose(f);
}

void
herod_stop(struct herod *h)
{
	check_titles(h);
	kill(h->keeper, SIGTERM);
	check_int(herod_end(h), 0);
	check_log();
}

static bool
is_daemon(pid_t pid)
{
	const char *path = text("/proc/%d/comm", (int)pid);
	char comm[32] = "";
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return false;
	if (fgets(comm, sizeof(comm), f) == NULL)
		comm[0] = '\0';
	fclose(f);
	/* (tests/valgrind) */
	return (strcmp(comm, "herod\n") == 0 ||
		   strncmp(comm, "memcheck", strlen("memcheck")) == 0) &&
	    is_alive(pid);
}

static pid_t
daemon_below(pid_t keeper)
{
	const char *path =
	    text("/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	FILE *f = fopen(path, "re");
	pid_t found = 0;
	int pid;

	while (f != NULL && found == 0 && fscanf(f, "%d", &pid) == 1)
		if (is_daemon(pid))
			found = pid;
	if (f != NULL)
		fclose(f);
	return found;
}

/* The kernel may leave a child out while another one ends. */
pid_t
herod_pid(const struct herod *h)
{
	pid_t found = 0;
	int i;

	for (i = 0; i < 5 && found == 0; i++)
		found = daemon_below(h->keeper);
	return found;
}

void
herod_kill9(struct herod *h)
{
	pid_t old = herod_pid(h), new;

	check(old != 0);
	kill(old, SIGKILL);
	wait_for((new = herod_pid(h)) != 0 && new != old);
	wait_for(answers(h));
}

void
herod_keeper_gone(struct herod *h, pid_t daemon)
{
	kill(h->keeper, SIGKILL);
	waitpid(h->keeper, NULL, 0);
	h->keeper = daemon;
}

void
herod_keeper_kill9(struct herod *h)
{
	pid_t daemon = herod_pid(h);

	check(daemon != 0);
	herod_keeper_gone(h, daemon);
	wait_for(herod_pid(h) != 0);
	wait_for(answers(h));
}

static bool
is_stopped(pid_t pid)
{
	return strncmp(proc_field(pid, "status", "State"), "T", 1) == 0;
}

void
herod_kill_both(struct herod *h)
{
	static bool keeper_first;
	pid_t daemon = herod_pid(h);
	pid_t first = keeper_first ? h->keeper : daemon;
	pid_t second = keeper_first ? daemon : h->keeper;

	keeper_first = !keeper_first;
	kill(second, SIGSTOP);
	wait_for(is_stopped(second));
	kill(first, SIGKILL);
	kill(second, SIGKILL);
	check_int(waitpid(h->keeper, NULL, 0), h->keeper);
	wait_for(!is_alive(daemon));
}

/* ---- doors ---- */

static int
connect_door(const void *sa, socklen_t len)
{
	struct timeval limit = {(time_t)(60 * check_patience()), 0};
	int fd = socket(((const struct sockaddr *)sa)->sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (fd == -1 || connect(fd, sa, len) == -1)
		oops("connect: %s", strerror(errno));
	return fd;
}

int
door_unix(const struct herod *h)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", h->socket);
	return connect_door(&sun, sizeof(sun));
}

int
door_tcp(const struct herod *h)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)h->port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};

	return connect_door(&sin, sizeof(sin));
}

void
send_bytes(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;
	ssize_t n;

	while (len > 0) {
		if ((n = send(fd, p, len, MSG_NOSIGNAL)) == -1)
			oops("send: %s", strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

void
send_text(int fd, const char *s)
{
	send_bytes(fd, s, strlen(s));
}

/* Reads up to a newline or, without one, the end.  NULL when there was
 * nothing at all.  */
static char *
recv_until(int fd, bool line)
{
	size_t len = 0, size = 256;
	char *buf = malloc(size), c;
	ssize_t n;

	while (buf != NULL && (n = recv(fd, &c, 1, 0)) == 1) {
		if (line && c == '\n')
			break;
		buf[len++] = c;
		if (len == size)
			buf = realloc(buf, size *= 2);
	}
	if (buf == NULL)
		oops("no memory");
	if (n == -1 && errno != ECONNRESET)
		oops("no answer: %s", strerror(errno));
	buf[len] = '\0';
	if (n <= 0 && len == 0) {
		free(buf);
		return NULL;
	}
	return buf;
}

const char *
recv_line(int fd)
{
	char *line = recv_until(fd, true);

	return line ? keep_text(line) : NULL;
}

const char *
recv_all(int fd)
{
	char *all = recv_until(fd, false);

	return all ? keep_text(all) : "";
}

bool
at_end(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	return n == 0 || (n == -1 && errno == ECONNRESET);
}

static void
check_told(const char *what, const char *fault, const json_t *value)
{
	if (fault != NULL)
		oops("%s is not as rpc.discover says: %s: %s", what, fault,
		    keep_text(json_dumps(value, JSON_ENCODE_ANY)));
}

/* What is refused is told without the secrets it came with. */
static void
check_refusal(json_t *answer)
{
	json_t *error = json_object_get(answer, "error");
	char *said = error ? json_dumps(error, JSON_ENCODE_ANY) : NULL;

	if (said != NULL && has_secret(said, strlen(said)))
		oops("a refusal shows a secret: %s", said);
	free(said);
}

json_t *
json_of(const char *text)
{
	json_error_t why;
	json_t *value = json_loads(text,
	    JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);

	if (value == NULL)
		oops("not JSON: %s: %s", why.text, text);
	return keep_json(value);
}

json_t *
recv_json(int fd)
{
	const char *line = recv_line(fd);
	json_t *value;

	if (line == NULL)
		oops("the connection was closed without an answer");
	value = json_of(line);
	check_refusal(value);
	check_told("a notification", notification_fault(value), value);
	return value;
}

json_t *
exchange(struct herod *h, const char *line)
{
	int fd = door_unix(h);
	json_t *answer;

	send_text(fd, line);
	send_text(fd, "\n");
	answer = recv_json(fd);
	close(fd);
	return answer;
}

static const char *
http_bytes(struct herod *h, const char *request)
{
	int fd = door_tcp(h);
	const char *answer;

	send_text(fd, request);
	answer = recv_all(fd);
	close(fd);
	return answer;
}

const char *
http(struct herod *h, const char *request, ...)
{
	const char *bytes;
	va_list ap;

	va_start(ap, request);
	bytes = vtext(request, ap);
	va_end(ap);
	return http_bytes(h, bytes);
}

const char *
http_post(struct herod *h, const char *json)
{
	return http(h,
	    "POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
	    "Content-Type: application/json\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    h->port, strlen(json), json);
}

/* ---- asking ---- */

static int
send_call(struct herod *h, const char *method, const char *params, va_list ap)
{
	json_t *call = json_pack(
	    "{s:s, s:s, s:i}", "jsonrpc", "2.0", "method", method, "id", 1);
	json_error_t why;
	json_t *packed = NULL;
	char *line;
	int fd;

	if (params != NULL &&
	    (packed = json_vpack_ex(&why, 0, params, ap)) == NULL)
		oops("params of %s: %s", method, why.text);
	if (packed != NULL)
		json_object_set_new(call, "params", packed);
	line = json_dumps(call, JSON_COMPACT);
	fd = door_unix(h);
	send_text(fd, line);
	send_text(fd, "\n");
	free(line);
	json_decref(call);
	return fd;
}

int
rpc_begin(struct herod *h, const char *method, const char *params, ...)
{
	va_list ap;
	int fd;

	va_start(ap, params);
	fd = send_call(h, method, params, ap);
	va_end(ap);
	return fd;
}

json_t *
rpc_end(int fd)
{
	json_t *answer = recv_json(fd);

	close(fd);
	return answer;
}

json_t *
rpc(struct herod *h, const char *method, const char *params, ...)
{
	json_t *answer, *result;
	va_list ap;

	va_start(ap, params);
	answer = rpc_end(send_call(h, method, params, ap));
	va_end(ap);
	check_told(method, answer_fault(method, answer), answer);
	if ((result = json_object_get(answer, "result")) == NULL)
		oops("%s: %s", method, text_at(answer, "error.message"));
	return result;
}

json_t *
rpc_error(struct herod *h, const char *method, const char *params, ...)
{
	json_t *answer, *error;
	va_list ap;

	va_start(ap, params);
	answer = rpc_end(send_call(h, method, params, ap));
	va_end(ap);
	check_told(method, answer_fault(method, answer), answer);
	if ((error = json_object_get(answer, "error")) == NULL)
		oops("%s was not refused", method);
	return error;
}

json_t *
at(json_t *value, const char *path)
{
	char step[128];
	size_t len;

	while (value != NULL && *path != '\0') {
		len = strcspn(path, ".");
		snprintf(step, sizeof(step), "%.*s", (int)len, path);
		value = json_is_array(value)
		    ? json_array_get(value, (size_t)atoi(step))
		    : json_object_get(value, step);
		path += len + (path[len] == '.');
	}
	return value;
}

static json_t *
must_be_at(json_t *value, const char *path)
{
	json_t *found = at(value, path);

	if (found == NULL)
		oops("no %s in %s", path,
		    keep_text(json_dumps(value, JSON_ENCODE_ANY)));
	return found;
}

const char *
text_at(json_t *value, const char *path)
{
	json_t *found = must_be_at(value, path);

	if (!json_is_string(found))
		oops("%s is not a string: %s", path,
		    keep_text(json_dumps(value, JSON_ENCODE_ANY)));
	return json_string_value(found);
}

long long
int_at(json_t *value, const char *path)
{
	json_t *found = must_be_at(value, path);

	if (!json_is_integer(found))
		oops("%s is not an integer: %s", path,
		    keep_text(json_dumps(value, JSON_ENCODE_ANY)));
	return json_integer_value(found);
}

json_t *
status_of(struct herod *h, const char *runner)
{
	return rpc(h, "get_runner_status", "{s:s}", "name", runner);
}

bool
is_state(struct herod *h, const char *runner, const char *state)
{
	return strcmp(text_at(status_of(h, runner), "state"), state) == 0;
}

pid_t
pid_of(struct herod *h, const char *runner)
{
	return (pid_t)json_integer_value(at(status_of(h, runner), "pid"));
}

void
signal_runner(struct herod *h, const char *runner, int signo)
{
	pid_t pid;

	wait_for((pid = pid_of(h, runner)) != 0);
	kill(pid, signo);
}

void
wait_for_redis(struct herod *h)
{
	wait_for(json_is_true(at(rpc(h, "get_all_status", NULL), "redis.up")));
}

const char *
logs_of(struct herod *h, const char *runner)
{
	json_t *lines = rpc(h, "get_runner_logs", "{s:s, s:i}", "name", runner,
		   "lines", 1000),
	       *line;
	const char *all = "";
	size_t i;

	json_array_foreach (lines, i, line)
		all = text("%s%s\n", all, text_at(line, "text"));
	return all;
}

/* ---- redis ---- */

const char *
with_fake_clock(volatile long long **wrong_by)
{
	int fd = open(here("clock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	void *map = MAP_FAILED;

	if (fd != -1 && ftruncate(fd, sizeof(**wrong_by)) == 0)
		map = mmap(NULL, sizeof(**wrong_by), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		oops("clock: %s", strerror(errno));
	close(fd);
	*wrong_by = map;
	return text("export FAKE_CLOCK=%s LD_PRELOAD=%s/tests/fake/clock.so "
		    "ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0;",
	    here("clock"), build_dir());
}

/* options: words behind the program, NULL behind the last. */
static pid_t
redis_server(const char *socket, const char *const *options)
{
	const char *argv[16] = {
	    "redis-server", "--port", "0", "--unixsocket", socket};
	const char *pong;
	pid_t pid = fork();
	size_t i;

	for (i = 0; options[i]; i++)
		argv[5 + i] = options[i];
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDOUT_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	own_redis[nown_redis++ % 4] = pid;
	wait_for((pong = redis(socket, "ping"),
	    strstr(pong, "PONG") || strstr(pong, "LOADING")));
	return pid;
}

pid_t
redis_start(const char *socket)
{
	return redis_server(socket, (const char *const[]){"--save", "", NULL});
}

pid_t
redis_start_durable(const char *socket)
{
	return redis_server(socket,
	    (const char *const[]){"--save", "", "--appendonly", "yes",
		"--appendfsync", "always", NULL});
}

pid_t
redis_start_for_jobs(const char *socket, bool fsync)
{
	const char *dir = text("%s.d", socket);

	mkdir(dir, 0700);
	return redis_server(socket,
	    (const char *const[]){"--save", "", "--dir", dir,
		"--hash-max-listpack-value", "1024", "--appendonly",
		fsync ? "yes" : "no", "--appendfsync", "always", NULL});
}

pid_t
redis_start_loading(const char *socket)
{
	return redis_server(socket,
	    (const char *const[]){"--save", "", "--dir", here("."),
		"--key-load-delay", "100000",
		"--loading-process-events-interval-bytes", "1024", NULL});
}

pid_t
redis_start_primary(const char *socket, int *port)
{
	*port = free_port();
	return redis_server(socket,
	    (const char *const[]){
		"--save", "", "--port", text("%d", *port), NULL});
}

pid_t
redis_start_in(const char *socket, const char *dir)
{
	return redis_server(
	    socket, (const char *const[]){"--save", "", "--dir", dir, NULL});
}

const char *
redis(const char *socket, const char *command, ...)
{
	const char *words;
	va_list ap;

	va_start(ap, command);
	words = vtext(command, ap);
	va_end(ap);
	return run("redis-cli -s %s %s", socket, words).out;
}

/* ---- jobs ---- */

const char *
job_outcome(struct herod *h, const char *id)
{
	json_t *result = rpc(h, "job.wait", "[s]", id);
	json_t *success = at(result, "success");

	return success ? json_string_value(success) : text_at(result, "error");
}

bool
job_is(struct herod *h, const char *id, const char *status)
{
	return strcmp(json_string_value(rpc(h, "job.status", "[s]", id)),
		   status) == 0;
}

const char *
sample_path(const char *name)
{
	const char *source = getenv("HEROD_SOURCE");

	if (source == NULL)
		skip("HEROD_SOURCE is not set");
	return text("%s/etc/samples/%s", source, name);
}
