/* The lock on a state directory. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "process.h"

#define WAIT 5.0 /* seconds; it takes some milliseconds */

static pid_t
owner(int fd)
{
	char text[24] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

static bool
is_gone(pid_t pid)
{
	struct process_info info;

	return pid > 0 && (!process_read(pid, &info) || info.state == 'Z');
}

static int
refuse(const char *path, int fd, struct err *e)
{
	err_set(e, ERR_EXISTS,
	    "a herod runs on this state_dir already (%s, pid %d)", path,
	    (int)owner(fd));
	return err_hint(e, "end it, or give this one another --state_dir");
}

static bool
wait_for_lock(int fd)
{
	static const struct timespec moment = {.tv_nsec = 5000000};
	double deadline = clock_monotonic() + WAIT;

	while (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno != EWOULDBLOCK || !is_gone(owner(fd)) ||
		    clock_monotonic() > deadline)
			return false;
		nanosleep(&moment, NULL);
	}
	return true;
}

int
lock_take(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd == -1)
		return err_set(
		    e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
	if (wait_for_lock(fd))
		return fd;
	refuse(path, fd, e);
	close(fd);
	return -1;
}
