/*
 * From fork(2) to execve(2).
 *
 * The keeper is small, so plain fork(2) is cheap here.  What goes wrong in
 * the child is told as stage and errno through a close-on-exec pipe; the
 * keeper reads it in its loop, since chdir(2) and execve(2) may hang.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OOM_SCORE_ADJ "-900"
#define OOM_FILE "/proc/self/oom_score_adj"
#define PIPE_SIZE (1024 * 1024)
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

enum { FAILURE_SIZE = 5 }; /* stage, errno */

/* ---- once ---- */

static bool
file_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd == -1)
		return false;
	len = read(fd, buf, size - 1);
	close(fd);
	buf[len > 0 ? len : 0] = '\0';
	return len > 0;
}

static bool
file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd == -1)
		return false;
	ok = write(fd, text, strlen(text)) != -1;
	close(fd);
	return ok;
}

/* The kernel is to end others first.  Children get back what we had. */
static void
oom_protect(char *old, size_t size)
{
	int now;

	if (!file_read(OOM_FILE, old, size) || sscanf(old, "%d", &now) != 1 ||
	    now <= -900 || !file_write(OOM_FILE, OOM_SCORE_ADJ))
		old[0] = '\0';
}

void
spawn_base_init(struct spawn_base *base, int null_fd)
{
	struct rlimit most;

	base->null_fd = null_fd;
	base->big_pipes = geteuid() == 0;
	getrlimit(RLIMIT_NOFILE, &base->nofile);
	most = base->nofile;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	oom_protect(base->oom_score_adj, sizeof(base->oom_score_adj));
}

/* ---- in the child, from fork to exec ---- */

void
signals_reset(void)
{
	/* As the kernel's struct sigaction: SIG_DFL, no flags.  The function
	 * would not touch the two that glibc keeps for itself. */
	static const unsigned long dfl[8];
	sigset_t none;
	int sig;

	for (sig = 1; sig < _NSIG; sig++)
		syscall(SYS_rt_sigaction, sig, dfl, NULL, _NSIG / 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void
child_fail(int exec_fd, unsigned stage)
{
	uint32_t error = (uint32_t)errno;
	uint8_t failure[FAILURE_SIZE] = {
	    (uint8_t)stage, error, error >> 8, error >> 16, error >> 24};
	ssize_t ignored;

	ignored = write(exec_fd, failure, sizeof(failure));
	(void)ignored;
	_exit(127);
}

/* A directory that cannot be searched must not hide a program in the
 * next, but is remembered if there is none. */
static bool
path_goes_on(int error)
{
	return error == ENOENT || error == ENOTDIR || error == EACCES ||
	    error == ESTALE || error == ENODEV || error == ETIMEDOUT;
}

static const char *
env_find(char *const *envp, const char *name)
{
	size_t len = strlen(name);

	for (; *envp; envp++)
		if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
			return *envp + len + 1;
	return NULL;
}

/* Tries file in one directory; an empty name is the current one. */
static void
exec_in(const char *dir, size_t len, const struct wire_spawn *s)
{
	char path[4096];
	int n;

	if (len == 0) {
		dir = ".";
		len = 1;
	}
	n = snprintf(path, sizeof(path), "%.*s/%s", (int)len, dir, s->argv[0]);
	if (n < 0 || (size_t)n >= sizeof(path))
		errno = ENAMETOOLONG;
	else
		execve(path, s->argv, s->envp);
}

/* Like execvpe(3), but with the PATH of the child's environment and
 * without handing scripts that lack #! to a shell.  Returns on failure. */
static void
exec_by_path(const struct wire_spawn *s)
{
	const char *path = env_find(s->envp, "PATH");
	bool denied = false;
	size_t len;

	if (s->argv[0][0] == '\0') {
		errno = ENOENT;
		return;
	}
	if (!path)
		path = PATH_DEFAULT;
	for (;; path += len + 1) {
		len = strcspn(path, ":");
		exec_in(path, len, s);
		if (errno == EACCES)
			denied = true;
		if (!path_goes_on(errno) && errno != ENAMETOOLONG)
			return;
		if (path[len] == '\0')
			break;
	}
	if (denied)
		errno = EACCES;
}

static void
set_rlimits(
    const struct wire_spawn *s, const struct spawn_base *base, int exec_fd)
{
	struct rlimit limit;
	size_t i;

	if (setrlimit(RLIMIT_NOFILE, &base->nofile) == -1)
		child_fail(exec_fd, WIRE_STAGE_RLIMIT + RLIMIT_NOFILE);
	for (i = 0; i < s->nrlimits; i++) {
		limit.rlim_cur = limit.rlim_max = s->rlimits[i].value;
		if (setrlimit(s->rlimits[i].resource, &limit) == -1)
			child_fail(exec_fd,
			    WIRE_STAGE_RLIMIT +
				(unsigned)s->rlimits[i].resource);
	}
}

static bool
user_is_set(const struct wire_spawn *s)
{
	uid_t r, e, saved;

	if (getresuid(&r, &e, &saved) == -1)
		return false;
	if (r == s->uid && e == s->uid && saved == s->uid &&
	    (s->uid == 0 || setuid(0) == -1))
		return true;
	errno = EPERM;
	return false;
}

static bool
group_is_set(const struct wire_spawn *s)
{
	gid_t r, e, saved;

	if (getresgid(&r, &e, &saved) == -1)
		return false;
	if (r == s->gid && e == s->gid && saved == s->gid)
		return true;
	errno = EPERM;
	return false;
}

/* An ordinary user may "change" to what they are already. */
static bool
is_already(const struct wire_spawn *s)
{
	return geteuid() != 0 && s->uid == geteuid() && s->gid == getegid();
}

/* Rather not than as root, which is what the keeper may be. */
static void
set_default_user(const struct identity *id, int exec_fd)
{
	if (id->is_set && !identity_become(id))
		child_fail(exec_fd, WIRE_STAGE_SETUID);
}

static void
set_user(const struct wire_spawn *s, const struct identity *id, int exec_fd)
{
	gid_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;

	if (!(s->flags & WIRE_SET_USER)) {
		set_default_user(id, exec_fd);
		return;
	}
	if (is_already(s))
		return;
	ngroups = identity_groups(id, s, groups);
	if (setgroups(ngroups, groups) == -1)
		child_fail(exec_fd, WIRE_STAGE_GROUPS);
	if (setresgid(s->gid, s->gid, s->gid) == -1 || !group_is_set(s))
		child_fail(exec_fd, WIRE_STAGE_SETGID);
	if (setresuid(s->uid, s->uid, s->uid) == -1 || !user_is_set(s))
		child_fail(exec_fd, WIRE_STAGE_SETUID);
}

struct pipes {
	int in, out, err; /* the child's ends; err may be out */
	int ready; /* -1: none */
	int exec;
	pid_t keeper;
	uint32_t id; /* the child's */
};

/* Where the exec pipe is put, behind all that the program may get. */
enum { EXEC_FD = WIRE_READY_FD_MAX + 1 };

/* Everything but 0, 1, 2, ready_fd (0: none) and EXEC_FD. */
static bool
close_others(int ready_fd)
{
	if (ready_fd == 0)
		ready_fd = EXEC_FD;
	else if (ready_fd + 1 < EXEC_FD &&
	    close_range((unsigned)ready_fd + 1, EXEC_FD - 1, 0) == -1)
		return false;
	return (ready_fd == 3 ||
		   close_range(3, (unsigned)ready_fd - 1, 0) == 0) &&
	    close_range(EXEC_FD + 1, ~0U, 0) == 0;
}

/* 0, 1 and 2, the exec pipe, the one for readiness, and nothing else: one
 * that hangs before exec must not hold the pipes of others. */
static int
set_stdio(const struct pipes *p, int ready_fd)
{
	int ready = -1;

	if (dup2(p->in, 0) == -1 || dup2(p->out, 1) == -1 ||
	    dup2(p->err, 2) == -1)
		child_fail(p->exec, WIRE_STAGE_STDIO);
	if (ready_fd != 0 &&
	    (ready = fcntl(p->ready, F_DUPFD_CLOEXEC, EXEC_FD + 1)) == -1)
		child_fail(p->exec, WIRE_STAGE_STDIO);
	if (p->exec != EXEC_FD && dup3(p->exec, EXEC_FD, O_CLOEXEC) == -1)
		child_fail(p->exec, WIRE_STAGE_STDIO);
	if ((ready != -1 && dup2(ready, ready_fd) == -1) ||
	    !close_others(ready_fd))
		child_fail(EXEC_FD, WIRE_STAGE_STDIO);
	return EXEC_FD;
}

/* sd_watchdog_enabled(3): herod leaves room for the number, which nobody
 * knows before. */
static void
set_watchdog_pid(char *const *envp)
{
	static const char name[] = "WATCHDOG_PID= ";
	size_t len;

	for (; *envp; envp++) {
		len = strlen(*envp);
		if (strncmp(*envp, name, sizeof(name) - 1) == 0)
			snprintf(*envp + sizeof(name) - 2,
			    len - (sizeof(name) - 2) + 1, "%d", (int)getpid());
	}
}

/* Before the user changes: less than ours is for the privileged. */
static bool
set_oom(const struct wire_spawn *s, const struct spawn_base *base)
{
	char text[16];

	identity_own_files(NULL); /* as that file is */
	if (base->oom_score_adj[0] != '\0')
		file_write(OOM_FILE, base->oom_score_adj);
	if (s->oom_score_adj == 0)
		return true;
	snprintf(text, sizeof(text), "%d", s->oom_score_adj);
	return file_write(OOM_FILE, text);
}

static bool
set_privs(const struct wire_spawn *s)
{
	return !(s->flags & WIRE_NO_NEW_PRIVS) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* A relative name leads on from where root has started us. */
static bool
enter_directory(const struct wire_spawn *s, const struct identity *id)
{
	const char *directory = s->directory[0] ? s->directory : "/";

	return (!id->is_set || directory[0] == '/' ||
		   identity_leave_private()) &&
	    chdir(directory) == 0;
}

/* Before exec it is of use to nobody else.  Another uid forgets this. */
static void
die_with_keeper(const struct pipes *p)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != p->keeper)
		_exit(127);
}

/* From now on it goes on without a keeper, and herod has to find it. */
static void
set_name(const struct pipes *p)
{
	char name[32];

	snprintf(
	    name, sizeof(name), WIRE_CHILD_NAME, (unsigned)p->keeper, p->id);
	prctl(PR_SET_NAME, name);
	prctl(PR_SET_PDEATHSIG, 0);
}

static _Noreturn void
child_run(const struct wire_spawn *s, const struct pipes *p,
    const struct spawn_base *base)
{
	int exec_fd = p->exec;

	die_with_keeper(p);
	if (setsid() == -1)
		child_fail(exec_fd, WIRE_STAGE_SETSID);
	signals_reset();
	exec_fd = set_stdio(p, s->ready_fd);
	set_watchdog_pid(s->envp);
	umask(s->umask & 0777);
	if (s->nice != 0 && setpriority(PRIO_PROCESS, 0, s->nice) == -1)
		child_fail(exec_fd, WIRE_STAGE_NICE);
	if (!set_oom(s, base))
		child_fail(exec_fd, WIRE_STAGE_OOM);
	set_rlimits(s, base, exec_fd);
	set_user(s, &base->identity, exec_fd);
	if (!set_privs(s))
		child_fail(exec_fd, WIRE_STAGE_PRIVS);
	die_with_keeper(p);
	if (!enter_directory(s, &base->identity))
		child_fail(exec_fd, WIRE_STAGE_CHDIR);
	set_name(p);
	if (strchr(s->argv[0], '/'))
		execve(s->argv[0], s->argv, s->envp);
	else
		exec_by_path(s);
	child_fail(exec_fd, WIRE_STAGE_EXEC);
}

/* ---- in the keeper ---- */

static void
close_if(int fd)
{
	if (fd > 2)
		close(fd);
}

static bool
make_input_pipe(struct entry *e, struct pipes *p)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) == -1)
		return false;
	p->in = fd[0];
	e->fds.fd[WIRE_STDIN] = fd[1];
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	return true;
}

/* A pipe's end as one that can be read from, too; or as it was. */
static int
open_both_ways(int fd)
{
	char path[32];
	int both;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	both = open(path, O_RDWR | O_CLOEXEC);
	if (both == -1)
		return fd;
	close(fd);
	return both;
}

/*
 * Our end never blocks; the child's is as programs expect it.  But the child
 * could read there, too: so it is not ended by SIGPIPE should nobody else be
 * left, and another herod can open our end anew.
 */
static bool
make_output_pipe(int *ours, int *theirs)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) == -1)
		return false;
	*ours = fd[0];
	*theirs = open_both_ways(fd[1]);
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	return true;
}

static bool
make_pipes(struct entry *e, const struct wire_spawn *s, struct pipes *p,
    const struct spawn_base *base)
{
	int *fd = e->fds.fd;

	if (s->flags & WIRE_STDIN_PIPE && !make_input_pipe(e, p))
		return false;
	if (!make_output_pipe(&fd[WIRE_STDOUT], &p->out))
		return false;
	if (s->flags & WIRE_STDERR_TO_STDOUT)
		p->err = p->out;
	else if (!make_output_pipe(&fd[WIRE_STDERR], &p->err))
		return false;
	if (base->big_pipes) {
		fcntl(p->out, F_SETPIPE_SZ, PIPE_SIZE);
		if (p->err != p->out)
			fcntl(p->err, F_SETPIPE_SZ, PIPE_SIZE);
	}
	if (s->ready_fd != 0 &&
	    !make_output_pipe(&fd[WIRE_READINESS], &p->ready))
		return false;
	return make_output_pipe(&e->exec_fd, &p->exec);
}

static void
close_pipes(const struct entry *e, const struct pipes *p)
{
	if (e->fds.fd[WIRE_STDIN] != -1)
		close_if(p->in);
	if (p->err != p->out)
		close_if(p->err);
	close_if(p->out);
	close_if(p->ready);
	close_if(p->exec);
}

/* Its own fork(2), for a move afterwards may take the kernel milliseconds. */
static pid_t
fork_into(int cgroup)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP,
	    .exit_signal = SIGCHLD,
	    .cgroup = (uint64_t)cgroup};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Some filters of system calls let no clone3(2) through. */
static bool
move_into(int cgroup)
{
	int fd = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	return fd != -1 && write(fd, "0", 1) == 1 && close(fd) == 0;
}

/* As fork(2), in the cgroup if there is one. */
static pid_t
fork_child(int cgroup, const struct pipes *p)
{
	pid_t pid;

	if (cgroup == -1)
		return fork();
	pid = fork_into(cgroup);
	if (pid != -1 || errno != ENOSYS)
		return pid;
	pid = fork();
	if (pid == 0 && !move_into(cgroup))
		child_fail(p->exec, WIRE_STAGE_CGROUP);
	return pid;
}

/* Nothing comes through its exec pipe; only one that is starting has one, as
 * the next keeper knows. */
static void
fork_failed(struct table *t, struct entry *e, int error)
{
	e->pid = 0;
	close(e->exec_fd);
	e->exec_fd = -1;
	table_failed(t, e, WIRE_STAGE_FORK, error);
}

void
spawn(struct table *t, struct entry *e, const struct wire_spawn *s,
    const struct wire_fds *given, const struct spawn_base *base)
{
	int in = given->fd[WIRE_STDIN], cgroup = given->fd[WIRE_CGROUP];
	struct pipes p = {.in = in == -1 ? base->null_fd : in,
	    .out = -1,
	    .err = -1,
	    .ready = -1,
	    .exec = -1,
	    .keeper = getpid(),
	    .id = e->id};

	if (!make_pipes(e, s, &p, base))
		table_failed(t, e, WIRE_STAGE_PIPE, errno);
	else if ((e->pid = fork_child(cgroup, &p)) == 0)
		child_run(s, &p, base);
	else if (e->pid != -1)
		table_forked(t, e);
	else
		fork_failed(t, e, errno);
	close_pipes(e, &p);
}

int
spawn_result(int exec_fd, unsigned *stage, int *error)
{
	uint8_t failure[FAILURE_SIZE];
	ssize_t n = read(exec_fd, failure, sizeof(failure));

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != FAILURE_SIZE)
		return 1;
	*stage = failure[0];
	*error = (int)(failure[1] | (uint32_t)failure[2] << 8 |
	    (uint32_t)failure[3] << 16 | (uint32_t)failure[4] << 24);
	return -1;
}
