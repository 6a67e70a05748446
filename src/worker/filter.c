/* libseccomp compiles the filter; the program is kept as bytes so that applying it is one system
 * call. */
#include "worker/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define PROGRAM_MAX 4096
#define NAMESPACE_FLAGS                                                                            \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)

struct filter {
    size_t size;
    struct sock_filter program[PROGRAM_MAX];
};

static const char *const denied[] = {
    /* other processes */
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    /* namespaces and mounts */
    "unshare",
    "setns",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "name_to_handle_at",
    "open_by_handle_at",
    /* big attack surfaces */
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "fanotify_init",
    "lookup_dcookie",
    "vmsplice",
    /* the machine */
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "syslog",
    "vhangup",
    "nfsservctl",
    "personality",
    "mbind",
    "set_mempolicy",
    "migrate_pages",
    "move_pages",
};

/* Rules for system calls that this machine does not know are left out. */
static int deny_listed(scmp_filter_ctx context) {
    for (unsigned i = 0; i < sizeof denied / sizeof *denied; i++) {
        int number = seccomp_syscall_resolve_name(denied[i]);
        if (number == __NR_SCMP_ERROR || number < 0)
            continue;
        int code = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (code != 0)
            return code;
    }
    return 0;
}

static int deny_namespaces(scmp_filter_ctx context) {
    for (uint64_t flag = 1; flag <= UINT32_MAX; flag <<= 1) {
        if ((flag & NAMESPACE_FLAGS) == 0)
            continue;
        int code = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                    SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
        if (code != 0)
            return code;
    }
    /* Its flags are in memory, out of a filter's sight; the C library then falls back to clone. */
    return seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int deny_terminals(scmp_filter_ctx context) {
    int code = seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
    return code != 0 ? code
                     : seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                        SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCLINUX));
}

static int deny_sockets(scmp_filter_ctx context, bool unix_sockets) {
    if (unix_sockets)
        return seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
                                SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    return seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 0);
}

static int export_program(scmp_filter_ctx context, struct filter *filter) {
    _cleanup_(fd_closep) int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int code = seccomp_export_bpf(context, fd);
    if (code != 0)
        return code;
    ssize_t size = pread(fd, filter->program, sizeof filter->program, 0);
    if (size <= 0 || lseek(fd, 0, SEEK_END) != size)
        return -E2BIG;
    filter->size = (size_t)size;
    return 0;
}

int filter_new(bool unix_sockets, struct filter **ret_filter, struct err *err) {
    struct filter *filter = calloc(1, sizeof *filter);
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    int code = filter == NULL || context == NULL ? -ENOMEM : deny_listed(context);
    if (code == 0)
        code = deny_namespaces(context);
    if (code == 0)
        code = deny_terminals(context);
    if (code == 0)
        code = deny_sockets(context, unix_sockets);
    if (code == 0)
        code = export_program(context, filter);
    if (context != NULL)
        seccomp_release(context);
    if (code != 0) {
        filter_free(filter);
        return err_errno(err, -code, "cannot build the seccomp filter");
    }
    *ret_filter = filter;
    return 0;
}

struct filter *filter_free(struct filter *filter) {
    free(filter);
    return NULL;
}

int filter_apply(const struct filter *filter, struct err *err) {
    struct sock_fprog program = {(unsigned short)(filter->size / sizeof(struct sock_filter)),
                                 (struct sock_filter *)(uintptr_t)filter->program};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        return err_errno(err, errno, "seccomp");
    return 0;
}
