/*
 * Connections on their way to the next herod arrive in their order, with
 * all their bytes; what is not understood is left alone.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "handover.h"

static size_t
count_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	check_int(fstat(fd, &st), 0);
	return st.st_ino;
}

static int
new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(fd >= 0);
	return fd;
}

void
test_all_arrive_in_order_with_their_bytes(void)
{
	enum { N = 700 };
	static ino_t inodes[N];
	struct handover *h = handover_new(json_pack("{s:i}", "seq", 7));
	struct handed one;
	char text[16];
	int fds[N], end, i;
	size_t before = count_open();
	json_t *about;

	for (i = 0; i < N; i++) {
		fds[i] = new_socket();
		inodes[i] = inode_of(fds[i]);
		snprintf(text, sizeof(text), "in\n%c%d", '\0', i);
		about = json_pack("{s:i}", "n", i);
		one = (struct handed){fds[i], about, text,
		    i % 2 ? "late\xff" : NULL, sizeof(text), i % 2 ? 5 : 0};
		handover_add(h, &one);
		json_decref(about);
	}
	end = handover_close(h);
	check(end >= 0);
	for (i = 0; i < N; i++)
		close(fds[i]);
	h = handover_open(end);
	check(h != NULL);
	check_int(
	    json_integer_value(json_object_get(handover_about(h), "seq")), 7);
	for (i = 0; i < N; i++) {
		check(handover_next(h, &one));
		check(inode_of(one.fd) == inodes[i]);
		check_int(
		    json_integer_value(json_object_get(one.about, "n")), i);
		check_int((long long)one.input_len, sizeof(text));
		check_int(atoi(one.input + 4), i);
		check_int((long long)one.output_len, i % 2 ? 5 : 0);
		close(one.fd);
	}
	check(!handover_next(h, &one));
	handover_free(h);
	check_int((long long)count_open(), (long long)before - 3);
}

void
test_what_is_not_taken_is_closed(void)
{
	size_t before = count_open();
	struct handover *h = handover_new(json_object());
	struct handed one = {.fd = new_socket(), .about = json_object()};
	int end;

	handover_add(h, &one);
	handover_add(h, &one);
	end = handover_close(h);
	close(one.fd);
	json_decref(one.about);
	h = handover_open(end);
	check(handover_next(h, &one));
	close(one.fd);
	handover_free(h);
	check_int((long long)count_open(), (long long)before);
}

void
test_what_is_no_handover_is_left_alone(void)
{
	size_t before = count_open();
	int ends[2];

	check(handover_open(open("/dev/null", O_RDONLY)) == NULL);
	check_int(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	check(handover_open(ends[0]) == NULL);
	close(ends[1]);
	check_int((long long)count_open(), (long long)before);
}
