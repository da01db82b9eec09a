/* One look at an address. */
#include "look.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem.h"
#include "target.h"

#define ANSWER_MAX 1024 /* bytes in which the status line must be */

static int
connect_one(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* To the first address that takes it; -1 after saying why. */
static int
connect_to(const struct target *t)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *a;
	int error = getaddrinfo(t->host, t->port, &hints, &all), fd = -1;

	if (error) {
		printf("%s: %s\n", t->host, gai_strerror(error));
		return -1;
	}
	for (a = all; a && fd < 0; a = a->ai_next)
		fd = connect_one(a);
	if (fd < 0)
		printf("%s port %s: %s\n", t->host, t->port, strerror(errno));
	freeaddrinfo(all);
	return fd;
}

static bool
ask(int fd, const struct target *t)
{
	bool v6 = strchr(t->host, ':') != NULL, sent;
	char *request = xasprintf("GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\n"
				  "User-Agent: herod\r\nAccept: */*\r\n"
				  "Connection: close\r\n\r\n",
	    t->path, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port);
	size_t len = strlen(request);

	sent = send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len;
	free(request);
	return sent;
}

/* The first line, or what there was of it. */
static void
hear(int fd, char line[ANSWER_MAX])
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, line + len, ANSWER_MAX - 1 - len);
		len += n > 0 ? (size_t)n : 0;
		line[len] = '\0';
	} while ((n > 0 || (n < 0 && errno == EINTR)) && !strchr(line, '\n') &&
	    len < ANSWER_MAX - 1);
	line[strcspn(line, "\r\n")] = '\0';
}

static int
look_http(int fd, const struct target *t)
{
	char line[ANSWER_MAX] = "";
	int code = 0;

	if (ask(fd, t))
		hear(fd, line);
	if (strncmp(line, "HTTP/1.", 7) != 0 ||
	    sscanf(line, "%*s %3d", &code) != 1) {
		printf("no HTTP answer\n");
		return EXIT_FAILURE;
	}
	printf("%.200s\n", line);
	return code >= 200 && code < 400 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
look_at(const char *text)
{
	struct target t;
	int fd, status = EXIT_SUCCESS;

	if (target_parse(text, &t, NULL) != 0 || t.kind == TARGET_EXEC) {
		printf("'%s' is not tcp:HOST:PORT or http://HOST[:PORT]/PATH\n",
		    text);
		return 2;
	}
	fd = connect_to(&t);
	if (fd < 0)
		return EXIT_FAILURE;
	if (t.kind == TARGET_HTTP)
		status = look_http(fd, &t);
	else
		printf("connected\n");
	close(fd);
	return status;
}
