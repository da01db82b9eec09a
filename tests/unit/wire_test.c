/*
 * The messages between herod and herod-keeper: what is put is got, nothing
 * is read beyond the end, descriptors find their places.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "keeper_wire.h"

static uint8_t buf[WIRE_MAX];
static char *room[WIRE_STRINGS_MAX];

static char *argv[] = {(char *)"sh", (char *)"", (char *)"-c", NULL};
static char *envp[] = {(char *)"A=1", NULL};

static struct wire_spawn
sample(void)
{
	return (struct wire_spawn){.flags = WIRE_SET_USER | WIRE_STDIN_PIPE,
	    .argv = argv,
	    .envp = envp,
	    .directory = "/tmp",
	    .tag = "{\"tag\":1}",
	    .uid = 4294967294U,
	    .gid = 7,
	    .groups = {8, 9},
	    .ngroups = 2,
	    .umask = 027,
	    .nice = -20,
	    .oom_score_adj = -1000,
	    .rlimits = {{RLIMIT_CORE, RLIM_INFINITY}, {RLIMIT_NOFILE, 1}},
	    .nrlimits = 2};
}

static size_t
put_sample(void)
{
	struct wire_spawn s = sample();
	struct wire_out out;

	wire_begin(&out, buf, sizeof(buf), WIRE_SPAWN, 0xfedcba98);
	wire_put_spawn(&out, &s);
	check(!out.failed);
	return out.len;
}

void
test_what_was_put_is_got(void)
{
	struct wire_message m;
	struct wire_spawn s;
	size_t len = put_sample();

	check(wire_parse(buf, len, NULL, 0, &m));
	check_int(m.op, WIRE_SPAWN);
	check_int(m.id, 0xfedcba98);
	check(wire_get_spawn(&m.body, &s, room));
	check_int(s.flags, WIRE_SET_USER | WIRE_STDIN_PIPE);
	check_str(s.argv[0], "sh");
	check_str(s.argv[1], "");
	check_str(s.argv[2], "-c");
	check(!s.argv[3]);
	check_str(s.envp[0], "A=1");
	check(!s.envp[1]);
	check_str(s.directory, "/tmp");
	check_str(s.tag, "{\"tag\":1}");
	check_int(s.uid, 4294967294U);
	check_int(s.gid, 7);
	check_int(s.ngroups, 2);
	check_int(s.groups[1], 9);
	check_int(s.umask, 027);
	check_int(s.nice, -20);
	check_int(s.oom_score_adj, -1000);
	check_int(s.nrlimits, 2);
	check_int(s.rlimits[0].resource, RLIMIT_CORE);
	check(s.rlimits[0].value == RLIM_INFINITY);
	check_int(s.rlimits[1].value, 1);
}

void
test_an_exit_keeps_status_usage_and_time(void)
{
	struct wire_exit x = {.status = 0x8b,
			     .at_ns = 1234567890123456789,
			     .group_left = true},
			 y;
	struct wire_message m;
	struct wire_out out;

	x.rusage.ru_utime.tv_sec = 1;
	x.rusage.ru_maxrss = 1L << 40;
	x.rusage.ru_nivcsw = 5;
	wire_begin(&out, buf, sizeof(buf), WIRE_EXIT, 1);
	wire_put_exit(&out, &x);
	check(wire_parse(buf, out.len, NULL, 0, &m));
	check(wire_get_exit(&m.body, &y));
	check(memcmp(&x.rusage, &y.rusage, sizeof(x.rusage)) == 0);
	check_int(y.status, 0x8b);
	check_int(y.at_ns, 1234567890123456789);
	check(y.group_left);
}

/* Each on its own allocation's end, so that a sanitizer sees a step over. */
void
test_a_message_cut_anywhere_is_refused(void)
{
	struct wire_message m;
	struct wire_spawn s;
	size_t len = put_sample(), cut;

	for (cut = 0; cut < len; cut++) {
		memmove(buf + sizeof(buf) - cut, buf, cut);
		if (wire_parse(buf + sizeof(buf) - cut, cut, NULL, 0, &m))
			check(!wire_get_spawn(&m.body, &s, room));
		else
			check(cut < 7);
		len = put_sample();
	}
	buf[len] = 0;
	check(wire_parse(buf, len + 1, NULL, 0, &m));
	check(!wire_get_spawn(&m.body, &s, room));
}

void
test_another_version_is_refused(void)
{
	struct wire_message m;
	size_t len = put_sample();

	buf[0]++;
	check(!wire_parse(buf, len, NULL, 0, &m));
}

void
test_limits_are_kept_when_writing(void)
{
	static char tag[WIRE_TAG_MAX + 1];
	static char *words[WIRE_STRINGS_MAX + 1];
	struct wire_spawn s = sample();
	struct wire_out out;
	size_t i;

	memset(tag, 't', WIRE_TAG_MAX);
	s.tag = tag;
	wire_begin(&out, buf, sizeof(buf), WIRE_SPAWN, 1);
	wire_put_spawn(&out, &s);
	check(out.failed);
	s = sample();
	for (i = 0; i < WIRE_STRINGS_MAX; i++)
		words[i] = (char *)"x";
	s.argv = words;
	wire_begin(&out, buf, sizeof(buf), WIRE_SPAWN, 1);
	wire_put_spawn(&out, &s);
	check(out.failed);
	check_int(wire_send(0, &out, NULL), -1);
	check_int(errno, EMSGSIZE);
}

/* More words than there is room for, as only a liar would send. */
void
test_limits_are_kept_when_reading(void)
{
	struct wire_message m;
	struct wire_spawn s;
	struct wire_out out;
	int i;

	wire_begin(&out, buf, sizeof(buf), WIRE_SPAWN, 1);
	wire_put_u8(&out, 0);
	wire_put_u32(&out, 0);
	wire_put_u32(&out, 0);
	wire_put_string(&out, "/");
	wire_put_string(&out, "tag");
	for (i = 0; i < 2; i++)
		wire_put_u32(&out, 0);
	wire_put_u8(&out, 0);
	wire_put_u8(&out, 0);
	wire_put_u32(&out, WIRE_STRINGS_MAX + 1);
	for (i = 0; i < WIRE_STRINGS_MAX + 1; i++)
		wire_put_string(&out, "x");
	wire_put_u32(&out, 0);
	check(wire_parse(buf, out.len, NULL, 0, &m));
	check(!wire_get_spawn(&m.body, &s, room));
}

static bool
is_same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	    sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

void
test_descriptors_find_their_places(void)
{
	struct wire_message m;
	struct wire_fds fds;
	struct wire_out out;
	int sock[2], in[2], err[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock) == 0);
	check(pipe(in) == 0 && pipe(err) == 0);
	wire_fds_init(&fds);
	fds.fd[WIRE_STDIN] = in[0];
	fds.fd[WIRE_STDERR] = err[0];
	wire_begin(&out, buf, sizeof(buf), WIRE_STARTED, 3);
	check_int(wire_send(sock[0], &out, &fds), 0);
	check_int(wire_recv(sock[1], buf, sizeof(buf), &m), 1);
	check(!m.fds_lost);
	check_int(m.fds.fd[WIRE_PIDFD], -1);
	check_int(m.fds.fd[WIRE_STDOUT], -1);
	check(is_same_file(m.fds.fd[WIRE_STDIN], in[0]));
	check(is_same_file(m.fds.fd[WIRE_STDERR], err[0]));
	check_int(fcntl(m.fds.fd[WIRE_STDERR], F_GETFD), FD_CLOEXEC);
	wire_fds_close(&m.fds);
	check_int(m.fds.fd[WIRE_STDERR], -1);
}

void
test_lost_and_superfluous_descriptors_are_noticed(void)
{
	struct wire_message m;
	struct wire_out out;
	int fds[2] = {dup(0), dup(0)};

	wire_begin(&out, buf, sizeof(buf), WIRE_STORE, 0);
	buf[2] = 1 << WIRE_KEEP;
	check(wire_parse(buf, out.len, NULL, 0, &m));
	check(m.fds_lost);
	check(wire_parse(buf, out.len, fds, 2, &m));
	check(!m.fds_lost);
	check_int(m.fds.fd[WIRE_KEEP], fds[0]);
	check_int(fcntl(fds[1], F_GETFD), -1);
	wire_fds_close(&m.fds);
}

void
test_a_datagram_too_long_is_thrown_away(void)
{
	static uint8_t small[8];
	struct wire_message m;
	struct wire_out out;
	int sock[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock) == 0);
	wire_begin(&out, buf, sizeof(buf), WIRE_DROP, 0);
	wire_put_string(&out, "a long name");
	check_int(wire_send(sock[0], &out, NULL), 0);
	wire_begin(&out, buf, sizeof(buf), WIRE_READY, 0);
	check_int(wire_send(sock[0], &out, NULL), 0);
	check_int(wire_recv(sock[1], small, sizeof(small), &m), -1);
	check_int(errno, EBADMSG);
	check_int(wire_recv(sock[1], small, sizeof(small), &m), 1);
	check_int(m.op, WIRE_READY);
	close(sock[0]);
	check_int(wire_recv(sock[1], small, sizeof(small), &m), 0);
}

/* It looks like the end, and whoever sends it may do so again and again. */
void
test_descriptors_of_an_empty_datagram_are_closed(void)
{
	struct wire_out out = {.buf = buf};
	struct wire_message m;
	struct wire_fds fds;
	int sock[2], before;

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock) == 0);
	wire_fds_init(&fds);
	fds.fd[WIRE_KEEP] = before = dup(0);
	check_int(wire_send(sock[0], &out, &fds), 0);
	close(before);
	check_int(wire_recv(sock[1], buf, sizeof(buf), &m), 0);
	check_int(fcntl(before, F_GETFD), -1);
}

void
test_last_words_are_heard(void)
{
	struct wire_message m;
	struct wire_out out;
	int sock[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock) == 0);
	wire_begin(&out, buf, sizeof(buf), WIRE_READY, 0);
	check_int(wire_send(sock[0], &out, NULL), 0);
	check_int(wire_send(sock[1], &out, NULL), 0);
	close(sock[0]);
	check_int(wire_recv(sock[1], buf, sizeof(buf), &m), 1);
	check_int(m.op, WIRE_READY);
	check_int(wire_recv(sock[1], buf, sizeof(buf), &m), 0);
}

void
test_stages_have_words(void)
{
	check_str(wire_stage_word(WIRE_STAGE_CHDIR), "chdir");
	check_str(wire_stage_word(WIRE_STAGE_EXEC), "exec");
	check_str(wire_stage_word(100), "start");
	check_str(wire_stage_word(WIRE_STAGE_RLIMIT + RLIMIT_AS), "rlimit_as");
	check_str(wire_stage_word(WIRE_STAGE_RLIMIT + 100), "rlimit");
}
