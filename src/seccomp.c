/*
 * Written by hand, as a table of the kernel's filter language: libseccomp
 * would cost more memory than all of these rows, for the same filter.  The
 * kernel notes for each call that is always allowed that it is, so herod pays
 * nothing for it while it runs.
 */
#include "seccomp.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HAS_SANITIZER
#endif

/* Where flags of clone(2) are its first argument, and a word of it begins with
 * the lower half. */
#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define MACHINE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define MACHINE AUDIT_ARCH_RISCV64
#endif

#ifdef MACHINE

#define OTHER_NUMBERS 0x40000000 /* x32 on amd64: the same under others */
#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* What follows is one row, done only if ... */
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define UNLESS(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0)
#define IF_FROM(value) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, 0, 1)
#define IF_ANY_OF(bits) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(name) IF(__NR_##name), REFUSE(EPERM),

static const struct sock_filter rows[] = {
    LOAD(arch),
    UNLESS(MACHINE),
    REFUSE(EPERM),
    LOAD(nr),
    IF_FROM(OTHER_NUMBERS),
    REFUSE(EPERM),
#include "seccomp.def"
    /* Its flags are out of reach; the C library goes on with clone then. */
    IF(__NR_clone3),
    REFUSE(ENOSYS),
    UNLESS(__NR_clone),
    ALLOW,
    LOAD(args[0]),
    IF_ANY_OF(NAMESPACES),
    REFUSE(EPERM),
    ALLOW,
};

#undef DENY
#define DENY(name) +1
enum {
	CALLS = 0
#include "seccomp.def"
};

/* Nothing foreign is executed here: no protection from that is turned on, which
 * would make older processors slower.  But systemd's @system-service does not
 * allow this way of asking, only the older one. */
static bool
filter_set(struct sock_fprog *program)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		   SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) == 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) == 0;
}

int
seccomp_begin(void)
{
	struct sock_fprog program = {
	    .len = sizeof(rows) / sizeof(rows[0]),
	    .filter = (struct sock_filter *)rows, /* it is only read */
	};

	return filter_set(&program) ? CALLS : -1;
}

#else

int
seccomp_begin(void)
{
	errno = ENOSYS;
	return -1;
}

#endif
