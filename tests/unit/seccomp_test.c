/* What a process is refused once the filter is on, and what it is not. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "check.h"
#include "seccomp.h"

#define HAS_SANITIZER /* as its calls are not all refused then */

static const struct {
	const char *name;
	long number;
} refused[] = {
#define DENY(name) {#name, __NR_##name},
#include "seccomp.def"
#undef DENY
};

/* A child with the filter does that; its exit status. */
static int
with_filter(int (*deed)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		_exit(seccomp_begin() > 0 ? deed() : 99);
	}
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		skip("no filter of system calls here");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* With arguments that nothing could be done with. */
static int
try_all(void)
{
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		errno = 0;
		if (syscall(refused[i].number, -1, -1, -1, -1, -1, -1) == -1 &&
		    errno == EPERM)
			continue;
		dprintf(2, "%s: %s\n", refused[i].name, strerror(errno));
		return 1;
	}
	return 0;
}

void
test_each_call_of_the_table_is_refused(void)
{
	check_int(with_filter(try_all), 0);
}

static int
try_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return errno == EPERM ? 0 : errno;
}

static int
try_exec_of_a_child(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_exec());
	return waitpid(pid, &status, 0) == pid ? status : 1;
}

void
test_no_program_can_be_executed(void)
{
	check_int(with_filter(try_exec), 0);
	check_int(with_filter(try_exec_of_a_child), 0);
}

/* In a namespace of its user's anybody is root. */
static int
try_namespace(void)
{
	if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) != -1 ||
	    errno != EPERM)
		return 1;
	return syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS ? 0 : 2;
}

void
test_no_namespace_can_be_made(void)
{
	check_int(with_filter(try_namespace), 0);
}

#ifdef __x86_64__
static int
try_other_numbers(void)
{
	return syscall(0x40000000 + SYS_getpid) == -1 && errno == EPERM ? 0 : 1;
}

void
test_calls_cannot_be_had_under_other_numbers(void)
{
	check_int(with_filter(try_other_numbers), 0);
}
#endif

/* As systemd's filter @system-service, whose refusals are EPERM. */
static int
begin_under_another_filter(void)
{
	struct sock_filter rows[] = {
	    BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(rows) / sizeof(rows[0]), rows};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return 1;
	return seccomp_begin() > 0 ? try_exec() : 2;
}

void
test_it_begins_where_seccomp_itself_is_refused(void)
{
	check_int(with_filter(begin_under_another_filter), 0);
}

static void *
thread(void *arg)
{
	return arg;
}

static int
do_what_is_allowed(void)
{
	int fds[2], value = 0;
	void *result = NULL;
	pthread_t t;

	if (pthread_create(&t, NULL, thread, &value) != 0 ||
	    pthread_join(t, &result) != 0 || result != &value)
		return 1;
	if (pipe(fds) != 0 || write(fds[1], "x", 1) != 1)
		return 2;
	return prctl(PR_GET_SECCOMP) == 2 ? 0 : 3;
}

void
test_threads_children_and_files_are_allowed(void)
{
	check_int(with_filter(do_what_is_allowed), 0);
}
