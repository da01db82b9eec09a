/* A room with doors. */
#include "fake/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"

static char heard[1 << 21];

void
room_init(struct room *r)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	r->loop = ev_loop_new(EVBACKEND_EPOLL);
	fake_services(&r->services, &r->conf);
	r->services.loop = r->loop;
	r->doors = NULL;
}

void
room_open(struct room *r, const char *address)
{
	struct err e = {0};
	int fd;

	if (r->doors == NULL)
		r->doors = doors_new(&r->services);
	fd = doors_listen(r->doors, address, -1, &e);
	if (fd == -1)
		check_fail(__FILE__, __LINE__, "%s", e.text);
	check_int(address_of(&r->address, fd), 0);
}

void
room_close(struct room *r)
{
	doors_shut(r->doors);
	doors_free(r->doors);
	settings_clear(daemon_settings, &r->conf);
	ev_loop_destroy(r->loop);
}

void
room_turn(struct room *r)
{
	ev_run(r->loop, EVRUN_NOWAIT);
}

int
visit(struct room *r)
{
	struct err e = {0};
	int fd = address_connect(&r->address, 5, &e);

	if (fd == -1)
		check_fail(__FILE__, __LINE__, "%s", e.text);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

void
say_bytes(struct room *r, int fd, const char *text, size_t len)
{
	double since = check_clock();
	ssize_t n;

	while (len > 0) {
		n = send(fd, text, len, MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN)
			return; /* closed: what was said back is asked for */
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
		room_turn(r);
		if (check_clock() - since > 30 * check_patience())
			check_fail(__FILE__, __LINE__, "nobody listens");
	}
}

void
say(struct room *r, int fd, const char *text)
{
	say_bytes(r, fd, text, strlen(text));
}

/* Looks before it reads, so that not a byte too much is taken. */
static bool
take(int fd, size_t *len, size_t want)
{
	ssize_t n;

	if (want > sizeof(heard) - 1 - *len)
		check_fail(__FILE__, __LINE__, "too much to hear");
	n = recv(fd, heard + *len, want, 0);
	if (n == -1 && errno == EAGAIN)
		return false;
	if (n <= 0)
		return true;
	*len += (size_t)n;
	return false;
}

const char *
hear(struct room *r, int fd)
{
	double since = check_clock();
	size_t len = 0;

	for (;;) {
		char ahead[65536], *end;
		ssize_t n = recv(fd, ahead, sizeof(ahead), MSG_PEEK);

		if (n == 0 || (n == -1 && errno != EAGAIN))
			break;
		if (n > 0) {
			end = memchr(ahead, '\n', (size_t)n);
			take(fd, &len,
			    end ? (size_t)(end - ahead) + 1 : (size_t)n);
			if (end)
				break;
		}
		room_turn(r);
		if (check_clock() - since > 30 * check_patience())
			check_fail(__FILE__, __LINE__, "nothing to hear");
	}
	if (len > 0 && heard[len - 1] == '\n')
		len--;
	heard[len] = '\0';
	return heard;
}

const char *
ask(struct room *r, int fd, const char *line)
{
	say(r, fd, line);
	say(r, fd, "\n");
	return hear(r, fd);
}

bool
is_closed(struct room *r, int fd)
{
	char byte;
	ssize_t n;

	room_turn(r);
	n = recv(fd, &byte, 1, MSG_PEEK);
	return n == 0 || (n == -1 && errno != EAGAIN);
}

/* How long the answer is that begins in heard; 0 when not known yet. */
static size_t
http_length(size_t len)
{
	char *body, *length;

	heard[len] = '\0';
	body = strstr(heard, "\r\n\r\n");
	if (body == NULL)
		return 0;
	body += 4;
	if (strncmp(heard, "HTTP/1.1 100", 12) == 0)
		return (size_t)(body - heard);
	length = strcasestr(heard, "\r\nContent-Length: ");
	if (length == NULL || length > body)
		return (size_t)(body - heard);
	return (size_t)(body - heard) +
	    strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
}

/* Not a byte beyond the answer: another may follow. */
const char *
hear_http(struct room *r, int fd)
{
	double since = check_clock();
	size_t len = 0, whole = 0;
	bool closed = false;

	while (!closed && (whole == 0 || len < whole)) {
		errno = 0;
		closed = take(fd, &len, whole > 0 ? whole - len : 1);
		if (whole == 0)
			whole = http_length(len);
		if (errno == EAGAIN)
			room_turn(r);
		if (check_clock() - since > 30 * check_patience())
			check_fail(__FILE__, __LINE__, "no HTTP to hear");
	}
	heard[len] = '\0';
	return heard;
}
