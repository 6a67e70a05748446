/* The order matters: user, root, Landlock, seccomp; each needs rights that the next one takes away.
 */
#include "worker/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "worker/landlock.h"
#include "worker/root.h"

#define NOBODY 65534
#define KEEPER_USERS 0x78000000u /* plus a pid, below 2^22: free of systemd's ranges */
#define OPEN_FILES_MAX 1024
#define PROCESSES_ROOT_MAX 512    /* counted with those of all sandboxes */
#define PROCESSES_SHARED_MAX 4096 /* counted with whatever else the user runs */

int jail_clone_flags(int level, bool net_namespace) {
    if (level < 3)
        return 0;
    return CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
           (net_namespace ? CLONE_NEWNET : 0);
}

int jail_give_scratch(const char *scratch, pid_t keeper, struct err *err) {
    unsigned user = KEEPER_USERS + (unsigned)keeper;
    if (geteuid() != 0 || chown(scratch, user, user) == 0)
        return 0;
    if (errno == EINVAL && chown(scratch, NOBODY, NOBODY) == 0)
        return 0;
    return err_errno(err, errno, "cannot give away %s", scratch);
}

static int write_proc(pid_t pid, const char *name, const char *text, struct err *err) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return err_errno(err, errno, "cannot write %s", name);
    return 0;
}

int jail_map_ids(pid_t keeper, struct err *err) {
    char text[64];
    if (geteuid() != 0) {
        int code = write_proc(keeper, "setgroups", "deny", err);
        if (code != 0)
            return code;
    }
    unsigned user = geteuid() == 0 ? NOBODY : geteuid();
    unsigned group = geteuid() == 0 ? NOBODY : getegid();
    snprintf(text, sizeof text, "%u %u 1", user, user);
    int code = write_proc(keeper, "uid_map", text, err);
    if (code != 0)
        return code;
    snprintf(text, sizeof text, "%u %u 1", group, group);
    return write_proc(keeper, "gid_map", text, err);
}

/* uid and gid are those of before: in its user namespace a keeper cannot tell. */
static int become_task_user(const struct jail *jail, struct err *err) {
    if (!jail->root)
        return 0;
    struct stat owner = {.st_uid = NOBODY, .st_gid = NOBODY};
    if (jail->level < 3 && stat(jail->scratch, &owner) != 0)
        return err_errno(err, errno, "%s", jail->scratch);
    if (setgroups(0, NULL) != 0 || setresgid(owner.st_gid, owner.st_gid, owner.st_gid) != 0 ||
        setresuid(owner.st_uid, owner.st_uid, owner.st_uid) != 0)
        return err_errno(err, errno, "cannot become user %u", (unsigned)owner.st_uid);
    return 0;
}

static int set_limits(const struct jail *jail, struct err *err) {
    rlim_t processes = jail->level >= 3 ? JAIL_PROCESSES_MAX
                       : jail->root     ? PROCESSES_ROOT_MAX
                                        : PROCESSES_SHARED_MAX;
    const struct rlimit files = {OPEN_FILES_MAX, OPEN_FILES_MAX}, forks = {processes, processes},
                        cores = {0, 0};
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_NPROC, &forks) != 0 ||
        setrlimit(RLIMIT_CORE, &cores) != 0)
        return err_errno(err, errno, "cannot set resource limits");
    return 0;
}

static int drop_capabilities(struct err *err) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM)
            return err_errno(err, errno, "cannot drop capabilities");
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capset, &header, none) != 0)
        return err_errno(err, errno, "cannot drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_errno(err, errno, "no_new_privs");
    return 0;
}

static int enter_scratch(const struct jail *jail, struct err *err) {
    if (jail->level >= 3)
        return root_enter(jail->hidden, JAIL_TMP_BYTES, err);
    if (chdir(jail->scratch) != 0)
        return err_errno(err, errno, "cannot enter %s", jail->scratch);
    return 0;
}

int jail_enter(const struct jail *jail, struct err *err) {
    int code = become_task_user(jail, err);
    if (code == 0)
        code = enter_scratch(jail, err);
    if (code == 0 && jail->level >= 3 && sethostname("quern", 5) != 0)
        code = err_errno(err, errno, "cannot set the host's name");
    if (code == 0)
        code = set_limits(jail, err);
    if (code == 0)
        code = drop_capabilities(err);
    if (code == 0 && jail->level >= 2)
        code = landlock_confine(jail->scratch, jail->files_fd, jail->hidden, err);
    if (code == 0)
        code = filter_apply(jail->filter, err);
    return code;
}
