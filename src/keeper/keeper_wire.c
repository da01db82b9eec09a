/*
 * The words between herod and herod-keeper: packing, bounds, descriptors.
 */
#include "keeper_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEAD = 7, OP_AT = 1, FDS_AT = 2 };

/* Large enough for a burst of messages without a wait. */
#define SOCKET_BUFFER (1024 * 1024)

static const char *
rlimit_word(unsigned resource)
{
	switch (resource) {
#define RLIMIT(word, name) \
	case RLIMIT_##name: \
		return "rlimit_" #word;
#include "rlimits.def"
#undef RLIMIT
	default:
		return "rlimit";
	}
}

const char *
wire_stage_word(unsigned stage)
{
	static const char *const words[] = {
#define WIRE_STAGE_WORD(name, word) [WIRE_STAGE_##name] = word,
	    WIRE_STAGES(WIRE_STAGE_WORD)
#undef WIRE_STAGE_WORD
	};

	if (stage >= WIRE_STAGE_RLIMIT)
		return rlimit_word(stage - WIRE_STAGE_RLIMIT);
	return stage < WIRE_STAGE_COUNT ? words[stage] : "start";
}

void
wire_fds_init(struct wire_fds *fds)
{
	size_t i;

	for (i = 0; i < WIRE_FDS; i++)
		fds->fd[i] = -1;
}

int
wire_fds_take(struct wire_fds *fds, enum wire_fd which)
{
	int fd = fds->fd[which];

	fds->fd[which] = -1;
	return fd;
}

void
wire_fds_close(struct wire_fds *fds)
{
	size_t i;

	for (i = 0; i < WIRE_FDS; i++)
		if (fds->fd[i] != -1)
			close(wire_fds_take(fds, i));
}

/* ---- writing ---- */

static void
put_bytes(struct wire_out *out, const void *bytes, size_t len)
{
	if (out->failed || len > out->size - out->len) {
		out->failed = true;
		return;
	}
	memcpy(out->buf + out->len, bytes, len);
	out->len += len;
}

void
wire_put_u8(struct wire_out *out, uint8_t v)
{
	put_bytes(out, &v, 1);
}

void
wire_put_u32(struct wire_out *out, uint32_t v)
{
	uint8_t b[4] = {v, v >> 8, v >> 16, v >> 24};

	put_bytes(out, b, sizeof(b));
}

void
wire_put_u64(struct wire_out *out, uint64_t v)
{
	wire_put_u32(out, (uint32_t)v);
	wire_put_u32(out, (uint32_t)(v >> 32));
}

void
wire_put_string(struct wire_out *out, const char *s)
{
	put_bytes(out, s, strlen(s) + 1);
}

void
wire_begin(
    struct wire_out *out, void *buf, size_t size, enum wire_op op, uint32_t id)
{
	*out = (struct wire_out){.buf = buf, .size = size};
	wire_put_u8(out, WIRE_VERSION);
	wire_put_u8(out, op);
	wire_put_u8(out, 0); /* set by wire_send() */
	wire_put_u32(out, id);
}

/* ---- reading ---- */

static const uint8_t *
get_bytes(struct wire_in *in, size_t len)
{
	static const uint8_t zeros[8];
	const uint8_t *at = in->at;

	if (in->failed || len > in->left) {
		in->failed = true;
		return zeros;
	}
	in->at += len;
	in->left -= len;
	return at;
}

uint8_t
wire_get_u8(struct wire_in *in)
{
	return *get_bytes(in, 1);
}

uint32_t
wire_get_u32(struct wire_in *in)
{
	const uint8_t *b = get_bytes(in, 4);

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
	    (uint32_t)b[3] << 24;
}

uint64_t
wire_get_u64(struct wire_in *in)
{
	uint64_t low = wire_get_u32(in);

	return low | (uint64_t)wire_get_u32(in) << 32;
}

const char *
wire_get_string(struct wire_in *in, size_t size)
{
	size_t most = in->left < size ? in->left : size;
	const uint8_t *nul;

	nul = in->failed || most == 0 ? NULL : memchr(in->at, '\0', most);
	if (!nul) {
		in->failed = true;
		return "";
	}
	return (const char *)get_bytes(in, (size_t)(nul - in->at) + 1);
}

bool
wire_is_whole(const struct wire_in *in)
{
	return !in->failed && in->left == 0;
}

/* ---- messages ---- */

static bool
is_ours(const uint8_t *b, size_t len)
{
	return len >= HEAD && b[0] == WIRE_VERSION &&
	    b[FDS_AT] >> WIRE_FDS == 0;
}

/* Gives the descriptors to the places that the mask names. */
static size_t
place_fds(struct wire_message *m, unsigned mask, const int *fds, size_t nfds)
{
	size_t i, n = 0;

	for (i = 0; i < WIRE_FDS; i++) {
		if (!(mask & 1u << i))
			continue;
		if (n == nfds)
			m->fds_lost = true;
		else
			m->fds.fd[i] = fds[n++];
	}
	return n;
}

static void
close_from(size_t first, const int *fds, size_t nfds)
{
	while (first < nfds)
		close(fds[first++]);
}

bool
wire_parse(const void *buf, size_t len, const int *fds, size_t nfds,
    struct wire_message *m)
{
	const uint8_t *b = buf;
	struct wire_in head = {.at = b, .left = len};
	size_t used = 0;
	bool ours = is_ours(b, len);

	*m = (struct wire_message){0};
	wire_fds_init(&m->fds);
	if (ours) {
		get_bytes(&head, OP_AT);
		m->op = wire_get_u8(&head);
		used = place_fds(m, wire_get_u8(&head), fds, nfds);
		m->id = wire_get_u32(&head);
		m->body = head;
	}
	close_from(used, fds, nfds);
	return ours;
}

/* The descriptors that are there, in order; says which. */
static size_t
pack_fds(const struct wire_fds *fds, int *packed, uint8_t *mask)
{
	size_t i, n = 0;

	*mask = 0;
	for (i = 0; fds && i < WIRE_FDS; i++)
		if (fds->fd[i] != -1) {
			packed[n++] = fds->fd[i];
			*mask |= 1u << i;
		}
	return n;
}

int
wire_send(int sock, struct wire_out *out, const struct wire_fds *fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(WIRE_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = out->buf, .iov_len = out->len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	int packed[WIRE_FDS];
	size_t n;

	if (out->failed) {
		errno = EMSGSIZE;
		return -1;
	}
	n = pack_fds(fds, packed, &out->buf[FDS_AT]);
	if (n > 0) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.align), packed, n * sizeof(int));
		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL) == -1 ? -1 : 0;
}

static size_t
received_fds(struct msghdr *h, int *fds)
{
	struct cmsghdr *c;
	size_t n = 0, len;

	for (c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		len = c->cmsg_len - CMSG_LEN(0);
		memcpy(fds + n, CMSG_DATA(c), len);
		n += len / sizeof(int);
	}
	return n;
}

int
wire_recv(int sock, void *buf, size_t size, struct wire_message *m)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(WIRE_FDS * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr h = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control)};
	/* All that fits into the control buffer, whatever its alignment. */
	int fds[sizeof(control) / sizeof(int)];
	size_t nfds;
	ssize_t len;

	len = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* The other side died with words of ours unread: this is told once,
	 * before what it had said itself. */
	if (len == -1 && errno == ECONNRESET)
		len = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (len == -1)
		return -1;
	nfds = received_fds(&h, fds);
	if (len == 0) {
		/* Of an empty message, which looks like the end. */
		close_from(0, fds, nfds);
		return 0;
	}
	if (h.msg_flags & MSG_TRUNC)
		len = 0; /* too long to be ours */
	if (wire_parse(buf, (size_t)len, fds, nfds, m))
		return 1;
	errno = EBADMSG;
	return -1;
}

void
wire_socket_setup(int sock)
{
	int size = SOCKET_BUFFER;

	/* More than wmem_max is for the privileged; the default will do. */
	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* ---- SPAWN ---- */

static size_t
count_strings(char *const *strings)
{
	size_t n = 0;

	while (strings && strings[n])
		n++;
	return n;
}

static void
put_strings(struct wire_out *out, char *const *strings)
{
	size_t i, n = count_strings(strings);

	wire_put_u32(out, (uint32_t)n);
	for (i = 0; i < n && !out->failed; i++)
		wire_put_string(out, strings[i]);
}

/* As many as there is room for, and the NULL behind them. */
static char *const *
get_strings(struct wire_in *in, char ***room, size_t *nroom)
{
	char **strings = *room;
	uint32_t i, n = wire_get_u32(in);

	if (n >= *nroom) {
		in->failed = true;
		return NULL;
	}
	for (i = 0; i < n && !in->failed; i++)
		strings[i] = (char *)wire_get_string(in, SIZE_MAX);
	strings[i] = NULL;
	*room += i + 1;
	*nroom -= i + 1;
	return strings;
}

static void
put_user(struct wire_out *out, const struct wire_spawn *s)
{
	size_t i;

	wire_put_u32(out, s->uid);
	wire_put_u32(out, s->gid);
	wire_put_u8(out, (uint8_t)s->ngroups);
	for (i = 0; i < s->ngroups; i++)
		wire_put_u32(out, s->groups[i]);
}

static void
get_user(struct wire_in *in, struct wire_spawn *s)
{
	size_t i;

	s->uid = wire_get_u32(in);
	s->gid = wire_get_u32(in);
	s->ngroups = wire_get_u8(in);
	if (s->ngroups > WIRE_GROUPS_MAX) {
		in->failed = true;
		s->ngroups = 0;
	}
	for (i = 0; i < s->ngroups; i++)
		s->groups[i] = wire_get_u32(in);
}

static void
put_rlimits(struct wire_out *out, const struct wire_spawn *s)
{
	size_t i;

	wire_put_u8(out, (uint8_t)s->nrlimits);
	for (i = 0; i < s->nrlimits; i++) {
		wire_put_u8(out, (uint8_t)s->rlimits[i].resource);
		wire_put_u64(out, s->rlimits[i].value);
	}
}

static void
get_rlimits(struct wire_in *in, struct wire_spawn *s)
{
	size_t i;

	s->nrlimits = wire_get_u8(in);
	if (s->nrlimits > WIRE_RLIMITS_MAX) {
		in->failed = true;
		s->nrlimits = 0;
	}
	for (i = 0; i < s->nrlimits; i++) {
		s->rlimits[i].resource = wire_get_u8(in);
		s->rlimits[i].value = wire_get_u64(in);
	}
}

void
wire_put_spawn(struct wire_out *out, const struct wire_spawn *s)
{
	if (s->ngroups > WIRE_GROUPS_MAX || s->nrlimits > WIRE_RLIMITS_MAX ||
	    strlen(s->tag) >= WIRE_TAG_MAX || count_strings(s->argv) == 0 ||
	    count_strings(s->argv) + count_strings(s->envp) + 2 >
		WIRE_STRINGS_MAX)
		out->failed = true;
	wire_put_u8(out, (uint8_t)s->flags);
	wire_put_u32(out, s->umask);
	wire_put_u32(out, (uint32_t)s->nice);
	wire_put_u32(out, (uint32_t)s->oom_score_adj);
	wire_put_string(out, s->directory);
	wire_put_string(out, s->tag);
	if (out->failed)
		return;
	put_user(out, s);
	put_rlimits(out, s);
	put_strings(out, s->argv);
	put_strings(out, s->envp);
	wire_put_u8(out, (uint8_t)s->ready_fd);
}

bool
wire_get_spawn(struct wire_in *in, struct wire_spawn *s, char **room)
{
	size_t nroom = WIRE_STRINGS_MAX;

	s->flags = wire_get_u8(in);
	s->umask = wire_get_u32(in);
	s->nice = (int)wire_get_u32(in);
	s->oom_score_adj = (int)wire_get_u32(in);
	s->directory = wire_get_string(in, SIZE_MAX);
	s->tag = wire_get_string(in, WIRE_TAG_MAX);
	get_user(in, s);
	get_rlimits(in, s);
	s->argv = get_strings(in, &room, &nroom);
	s->envp = get_strings(in, &room, &nroom);
	s->ready_fd = wire_get_u8(in);
	return wire_is_whole(in) && s->argv[0] &&
	    s->ready_fd <= WIRE_READY_FD_MAX &&
	    (s->ready_fd == 0 || s->ready_fd >= 3);
}

/* ---- EXIT, CHILD ---- */

/* The fields of struct rusage that Linux fills. */
#define RUSAGE_LONGS(X) \
	X(ru_utime.tv_sec) \
	X(ru_utime.tv_usec) \
	X(ru_stime.tv_sec) \
	X(ru_stime.tv_usec) \
	X(ru_maxrss) \
	X(ru_minflt) \
	X(ru_majflt) \
	X(ru_inblock) \
	X(ru_oublock) \
	X(ru_nvcsw) \
	X(ru_nivcsw)

void
wire_put_exit(struct wire_out *out, const struct wire_exit *x)
{
	wire_put_u32(out, (uint32_t)x->status);
	wire_put_u64(out, (uint64_t)x->at_ns);
	wire_put_u8(out, (uint8_t)(x->group_left | x->unknown << 1));
#define PUT_LONG(field) wire_put_u64(out, (uint64_t)x->rusage.field);
	RUSAGE_LONGS(PUT_LONG)
#undef PUT_LONG
}

static void
get_exit(struct wire_in *in, struct wire_exit *x)
{
	unsigned flags;

	*x = (struct wire_exit){0};
	x->status = (int)wire_get_u32(in);
	x->at_ns = (int64_t)wire_get_u64(in);
	flags = wire_get_u8(in);
	x->group_left = flags & 1;
	x->unknown = flags & 2;
#define GET_LONG(field) x->rusage.field = (long)wire_get_u64(in);
	RUSAGE_LONGS(GET_LONG)
#undef GET_LONG
}

bool
wire_get_exit(struct wire_in *in, struct wire_exit *x)
{
	get_exit(in, x);
	return wire_is_whole(in);
}

void
wire_put_child(struct wire_out *out, const struct wire_child *c)
{
	wire_put_u32(out, (uint32_t)c->pid);
	wire_put_u8(out, c->started);
	wire_put_u8(out, c->paused);
	wire_put_u64(out, (uint64_t)c->started_ns);
	wire_put_string(out, c->tag);
}

bool
wire_get_child(struct wire_in *in, struct wire_child *c)
{
	c->pid = (pid_t)wire_get_u32(in);
	c->started = wire_get_u8(in) != 0;
	c->paused = wire_get_u8(in) != 0;
	c->started_ns = (int64_t)wire_get_u64(in);
	c->tag = wire_get_string(in, WIRE_TAG_MAX);
	return wire_is_whole(in);
}

/* ---- END_OF_LIST, and what a keeper leaves to the next ---- */

void
wire_put_base(struct wire_out *out, const struct wire_base *b)
{
	wire_put_u64(out, b->nofile.rlim_cur);
	wire_put_u64(out, b->nofile.rlim_max);
	wire_put_string(out, b->oom_score_adj);
}

bool
wire_get_base(struct wire_in *in, struct wire_base *b)
{
	b->nofile.rlim_cur = wire_get_u64(in);
	b->nofile.rlim_max = wire_get_u64(in);
	strcpy(b->oom_score_adj, wire_get_string(in, sizeof(b->oom_score_adj)));
	return !in->failed;
}

void
wire_put_head(struct wire_out *out, const struct wire_head *h)
{
	wire_put_u8(out, WIRE_RESUME_VERSION);
	wire_put_u32(out, h->next_id);
	wire_put_base(out, &h->base);
	wire_put_u32(out, (uint32_t)h->herod);
	wire_put_u32(out, (uint32_t)h->sock);
}

bool
wire_get_head(struct wire_in *in, struct wire_head *h)
{
	unsigned version = wire_get_u8(in);

	*h = (struct wire_head){.sock = -1};
	if (version < WIRE_RESUME_OLDEST || version > WIRE_RESUME_VERSION)
		return false;
	h->next_id = wire_get_u32(in);
	if (!wire_get_base(in, &h->base))
		return false;
	h->herod = (pid_t)wire_get_u32(in);
	h->sock = (int)wire_get_u32(in);
	return !in->failed && h->herod >= 0 &&
	    (h->herod == 0) == (h->sock == -1);
}

void
wire_put_kept(struct wire_out *out, const struct wire_kept *c)
{
	size_t i;

	wire_put_u8(out, WIRE_KEPT_CHILD);
	wire_put_u32(out, c->id);
	wire_put_u32(out, (uint32_t)c->pid);
	wire_put_u8(out, (uint8_t)c->flags);
	wire_put_u64(out, (uint64_t)c->started_ns);
	wire_put_exit(out, &c->exit);
	wire_put_u64(out, (uint64_t)c->zombie_ms);
	wire_put_u8(out, (uint8_t)c->stage);
	wire_put_u32(out, (uint32_t)c->error);
	wire_put_u32(out, (uint32_t)c->exec_fd);
	wire_put_string(out, c->tag);
	for (i = 0; i < WIRE_FDS; i++)
		wire_put_u32(out, (uint32_t)c->fds.fd[i]);
}

/* Could a keeper have had it so? */
static bool
kept_makes_sense(const struct wire_kept *c)
{
	bool starting = c->flags & WIRE_KEPT_STARTING;

	if (c->id == 0 || c->id == UINT32_MAX)
		return false;
	if (c->flags & (WIRE_KEPT_STARTING | WIRE_KEPT_FAILED) &&
	    c->started_ns != 0)
		return false;
	if (starting &&
	    c->flags & (WIRE_KEPT_ENDED | WIRE_KEPT_FAILED | WIRE_KEPT_FOREIGN))
		return false;
	return starting == (c->exec_fd != -1) &&
	    (c->pid > 1 || (c->pid == 0 && c->flags & WIRE_KEPT_FAILED));
}

bool
wire_get_kept(struct wire_in *in, struct wire_kept *c)
{
	size_t i;

	c->id = wire_get_u32(in);
	c->pid = (pid_t)wire_get_u32(in);
	c->flags = wire_get_u8(in);
	c->started_ns = (int64_t)wire_get_u64(in);
	get_exit(in, &c->exit);
	c->zombie_ms = (int64_t)wire_get_u64(in);
	c->stage = wire_get_u8(in);
	c->error = (int)wire_get_u32(in);
	c->exec_fd = (int)wire_get_u32(in);
	c->tag = wire_get_string(in, WIRE_TAG_MAX);
	for (i = 0; i < WIRE_FDS; i++)
		c->fds.fd[i] = (int)wire_get_u32(in);
	return !in->failed && kept_makes_sense(c);
}

bool
wire_write(int file, struct wire_out *out)
{
	ssize_t n = out->failed ? -1 : write(file, out->buf, out->len);
	bool ok = n == (ssize_t)out->len;

	out->len = 0;
	return ok;
}
