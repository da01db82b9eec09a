/*
 * Bytes of a peer through the real listener, in pieces, into lines or HTTP:
 * what comes back is of one of the two, and when the peer has gone nothing is
 * left of it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doors.h"
#include "fake/handlers.h"
#include "keys.h"
#include "sock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TURNS_MAX 100000 /* that a peer may have to wait for */

static struct daemon_conf conf;
static struct services services;
static struct doors *doors;
static struct address address;
static char directory[] = "/tmp/fuzz_http.XXXXXX";

static void
leave_directory(void)
{
	char path[sizeof(directory) + 8];

	snprintf(path, sizeof(path), "%s/door", directory);
	unlink(path);
	rmdir(directory);
}

static void
open_once(void)
{
	char text[sizeof(directory) + 16];

	if (doors != NULL)
		return;
	if (mkdtemp(directory) == NULL)
		abort();
	atexit(leave_directory);
	snprintf(text, sizeof(text), "unix:%s/door", directory);
	fake_services(&services, &conf);
	services.loop = ev_loop_new(EVFLAG_AUTO);
	services.keys = keys_open(services.loop, directory, NULL);
	conf.max_request = 4096;
	conf.max_output = 65536;
	conf.max_batch = 100;
	doors = doors_new(&services);
	if (address_parse(&address, text, NULL) != 0 ||
	    doors_listen(doors, text, -1, NULL) == -1)
		abort();
}

/* Whoever waits for something gets it. */
static void
one_turn(void)
{
	ev_run(services.loop, EVRUN_NOWAIT);
	if (fake_kept() > 0)
		fake_later_reply(0, "late");
}

/* The first bytes that came so far; -1 at the end. */
static int
hear_some(int fd, char *first, size_t *len)
{
	char bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	size_t i;

	if (n == 0)
		return -1;
	for (i = 0; n > 0 && i < (size_t)n && *len < 7; i++)
		first[(*len)++] = bytes[i];
	return 0;
}

static void
check_first(const char *first, size_t len)
{
	if (len > 0 && *first != '{' && *first != '[' &&
	    strncmp(first, "HTTP/1.", len) != 0)
		abort();
}

/* Pieces of 1 to 256 bytes, the sizes from the bytes themselves. */
static void
send_pieces(int fd, const uint8_t *data, size_t size)
{
	size_t len;

	while (size > 0) {
		len = (size_t)data[0] + 1;
		if (len > size)
			len = size;
		if (send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
			data += len;
			size -= len;
		} else {
			size = 0; /* refused already */
		}
		one_turn();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char first[8] = "";
	size_t len = 0;
	int fd, n = 0;

	open_once();
	fd = address_connect(&address, 5, NULL);
	send_pieces(fd, data, size);
	shutdown(fd, SHUT_WR);
	while (hear_some(fd, first, &len) == 0 && n++ < 64)
		one_turn();
	check_first(first, len);
	close(fd);
	for (n = 0; doors_count(doors) > 0; n++) {
		if (n == TURNS_MAX)
			abort();
		one_turn();
	}
	return 0;
}
