/*
 * Open connections on their way to the next herod.
 *
 * A file in memory has one line of JSON on the whole, then for each
 * connection one line and behind it the bytes whose numbers it tells.  The
 * file's descriptor goes into the socket first, those of the connections
 * follow in the same order, as many a message as unix(7) takes.
 */
#define LOG_MODULE "doors"
#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jsonrpc.h"
#include "log.h"
#include "mem.h"

#define FORMAT 1 /* of the file */
#define FDS_MAX 253 /* in a message: SCM_MAX_FD */

struct handover {
	int ends[2]; /* of the socket: into, out of; -1: closed */
	int memory; /* the file that is written; -1 */
	struct sink text; /* what will stand in it */
	bool full; /* the socket takes no more */
	char *file; /* that is read, mapped */
	size_t size, at; /* of it, and what was read */
	json_t *about;
	json_t *one; /* about the connection given last */
	int fds[FDS_MAX]; /* to be sent, or received and not given yet */
	size_t nfds, given;
	bool cut; /* some did not arrive: whose the next are is not known */
};

static struct handover *
allocate(void)
{
	struct handover *h = xcalloc(1, sizeof(*h));

	h->ends[0] = h->ends[1] = h->memory = -1;
	return h;
}

static void
close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
handover_free(struct handover *h)
{
	if (h == NULL)
		return;
	for (; h->given < h->nfds; h->given++)
		close(h->fds[h->given]);
	close_end(&h->ends[0]);
	close_end(&h->ends[1]);
	close_end(&h->memory);
	if (h->file)
		munmap(h->file, h->size);
	free(h->text.buf);
	json_decref(h->about);
	json_decref(h->one);
	free(h);
}

/* ---- writing ---- */

static void
put_line(struct handover *h, const json_t *object)
{
	size_t len;
	char *text = jsonrpc_text(object, &len);

	sink_put(&h->text, text, len);
	free(text);
}

union control {
	struct cmsghdr head; /* aligns */
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

/* False: the socket is full, or too many descriptors are in flight. */
static bool
send_fds(int end, const int *fds, size_t n)
{
	char byte = 0;
	struct iovec one = {&byte, 1};
	union control control = {0};
	struct msghdr message = {.msg_iov = &one,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(end, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void
send_all(struct handover *h)
{
	if (!h->full && h->nfds > 0 && !send_fds(h->ends[0], h->fds, h->nfds)) {
		log_warn(
		    "%zu connections or more are not handed over", h->nfds);
		h->full = true;
	}
	h->nfds = 0;
}

struct handover *
handover_new(json_t *stolen_about)
{
	struct handover *h = allocate();

	json_object_set_new(stolen_about, "handover", json_integer(FORMAT));
	put_line(h, stolen_about);
	json_decref(stolen_about);
	h->memory = memfd_create("connections", MFD_CLOEXEC);
	h->full =
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h->ends) != 0;
	h->fds[h->nfds++] = h->memory;
	return h;
}

static void
put_bytes(struct handover *h, const char *bytes, size_t len)
{
	if (len > 0)
		sink_put(&h->text, bytes, len);
}

void
handover_add(struct handover *h, const struct handed *one)
{
	json_t *about = json_copy(one->about);

	if (h->nfds == FDS_MAX)
		send_all(h);
	h->fds[h->nfds++] = one->fd;
	json_object_set_new(
	    about, "input", json_integer((json_int_t)one->input_len));
	json_object_set_new(
	    about, "output", json_integer((json_int_t)one->output_len));
	put_line(h, about);
	json_decref(about);
	put_bytes(h, one->input, one->input_len);
	put_bytes(h, one->output, one->output_len);
}

static bool
write_all(int fd, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len > 0; bytes += n, len -= (size_t)n)
		if ((n = write(fd, bytes, len)) <= 0)
			return false;
	return true;
}

int
handover_close(struct handover *h)
{
	int fd;

	send_all(h);
	if (!write_all(h->memory, h->text.buf, h->text.len) || h->ends[1] < 0) {
		log_warn("connections cannot be handed over");
		close_end(&h->ends[1]);
	}
	fd = h->ends[1];
	h->ends[1] = -1;
	handover_free(h);
	return fd;
}

/* ---- reading ---- */

/* The next descriptors of the socket; none when that was all. */
static void
receive(struct handover *h)
{
	char byte;
	struct iovec one = {&byte, 1};
	union control control;
	struct msghdr message = {.msg_iov = &one,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	struct cmsghdr *c = NULL;

	h->nfds = h->given = 0;
	if (!h->cut &&
	    recvmsg(h->ends[1], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) > 0)
		c = CMSG_FIRSTHDR(&message);
	if (c == NULL || c->cmsg_type != SCM_RIGHTS)
		return;
	h->cut = (message.msg_flags & MSG_CTRUNC) != 0;
	h->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(h->fds, CMSG_DATA(c), h->nfds * sizeof(int));
}

/* -1: there are no more. */
static int
next_fd(struct handover *h)
{
	if (h->given == h->nfds)
		receive(h);
	return h->given < h->nfds ? h->fds[h->given++] : -1;
}

static void
map_file(struct handover *h)
{
	struct stat st;
	void *at;

	if (fstat(h->memory, &st) != 0 || st.st_size == 0)
		return;
	at = mmap(
	    NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, h->memory, 0);
	if (at == MAP_FAILED)
		return;
	h->file = at;
	h->size = (size_t)st.st_size;
}

/* New, or NULL at the end. */
static json_t *
next_line(struct handover *h)
{
	const char *line = h->file + h->at, *end;
	struct err e = {0};

	if (h->at == h->size)
		return NULL;
	end = memchr(line, '\n', h->size - h->at);
	if (end == NULL)
		return NULL;
	h->at += (size_t)(end - line) + 1;
	return jsonrpc_parse(line, (size_t)(end - line), &e);
}

struct handover *
handover_open(int fd)
{
	struct handover *h = allocate();

	h->ends[1] = fd;
	h->memory = next_fd(h);
	map_file(h);
	h->about = h->file ? next_line(h) : NULL;
	if (json_integer_value(json_object_get(h->about, "handover")) == FORMAT)
		return h;
	log_warnx("connections of the herod before cannot be taken over: it "
		  "wrote of them in another way");
	handover_free(h);
	return NULL;
}

const json_t *
handover_about(const struct handover *h)
{
	return h->about;
}

/* So many bytes as the line about it says. */
static bool
take_bytes(
    struct handover *h, const char *name, const char **bytes, size_t *len)
{
	json_int_t n = json_integer_value(json_object_get(h->one, name));

	if (n < 0 || (size_t)n > h->size - h->at)
		return false;
	*bytes = h->file + h->at;
	*len = (size_t)n;
	h->at += *len;
	return true;
}

bool
handover_next(struct handover *h, struct handed *one)
{
	json_decref(h->one);
	h->one = next_line(h);
	if (h->one == NULL ||
	    !take_bytes(h, "input", &one->input, &one->input_len) ||
	    !take_bytes(h, "output", &one->output, &one->output_len))
		return false;
	one->about = h->one;
	one->fd = next_fd(h);
	return one->fd >= 0;
}
