/* Building the private root from bind mounts, and pivoting into it. */
#include "worker/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "worker/landlock.h"

#define NEW_ROOT "/tmp" /* any directory that everybody can reach */

static int failed(struct err *err, const char *what) {
    return err_errno(err, errno, "private root: %s", what);
}

/* Adds to the flags that the mount has: those that it was given with may be locked. */
static int restrict_mount(const char *path, unsigned flags, uint64_t attributes) {
    struct mount_attr change = {.attr_set = attributes};
    return mount_setattr(AT_FDCWD, path, flags, &change, sizeof change);
}

/* /bin and the like are links on most systems: they become the same links. */
static int bind_directory(const char *path, struct err *err) {
    char target[64], link[256];
    snprintf(target, sizeof target, NEW_ROOT "%s", path);
    ssize_t size = readlink(path, link, sizeof link - 1);
    if (size > 0) {
        link[size] = '\0';
        return symlink(link, target) == 0 ? 0 : failed(err, path);
    }
    if (access(path, F_OK) != 0)
        return 0;
    if (mkdir(target, 0755) != 0 || mount(path, target, NULL, MS_BIND | MS_REC, NULL) != 0 ||
        restrict_mount(target, AT_RECURSIVE,
                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) != 0)
        return failed(err, path);
    return 0;
}

static int bind_system(const char *hidden, struct err *err) {
    for (unsigned i = 0; system_directories[i] != NULL; i++) {
        if (hidden != NULL && path_is_below(hidden, system_directories[i]))
            continue;
        int code = bind_directory(system_directories[i], err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int bind_device(const char *path, struct err *err) {
    char target[64];
    snprintf(target, sizeof target, NEW_ROOT "%s", path);
    _cleanup_(fd_closep) int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || mount(path, target, NULL, MS_BIND, NULL) != 0)
        return failed(err, path);
    return 0;
}

static int make_devices(struct err *err) {
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom"};
    static const char *const links[][2] = {{"/proc/self/fd", NEW_ROOT "/dev/fd"},
                                           {"/proc/self/fd/0", NEW_ROOT "/dev/stdin"},
                                           {"/proc/self/fd/1", NEW_ROOT "/dev/stdout"},
                                           {"/proc/self/fd/2", NEW_ROOT "/dev/stderr"}};
    if (mkdir(NEW_ROOT "/dev", 0755) != 0)
        return failed(err, "/dev");
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++) {
        int code = bind_device(devices[i], err);
        if (code != 0)
            return code;
    }
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
        if (symlink(links[i][0], links[i][1]) != 0)
            return failed(err, links[i][1]);
    return 0;
}

static int mount_proc_and_tmp(uint64_t tmp_bytes_max, struct err *err) {
    char options[96];
    snprintf(options, sizeof options, "mode=0700,size=%llu,nr_inodes=262144",
             (unsigned long long)tmp_bytes_max);
    if (mkdir(NEW_ROOT "/proc", 0755) != 0 ||
        mount("proc", NEW_ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return failed(err, "/proc");
    if (mkdir(NEW_ROOT "/tmp", 0755) != 0 ||
        mount("tmpfs", NEW_ROOT "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        return failed(err, "/tmp");
    return 0;
}

static int pivot(struct err *err) {
    /* The new root over the old one, then the old one away (pivot_root(2), "pivot_root(".", ".")").
     */
    if (chdir(NEW_ROOT) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
        umount2(".", MNT_DETACH) != 0 || chdir("/") != 0 ||
        restrict_mount("/", 0, MOUNT_ATTR_RDONLY) != 0)
        return failed(err, "pivot_root");
    return 0;
}

int root_enter(const char *hidden, uint64_t tmp_bytes_max, struct err *err) {
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return failed(err, "/");
    if (mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755,size=64k,nr_inodes=128") != 0)
        return failed(err, "tmpfs");
    int code = bind_system(hidden, err);
    if (code == 0)
        code = make_devices(err);
    if (code == 0)
        code = mount_proc_and_tmp(tmp_bytes_max, err);
    if (code == 0)
        code = pivot(err);
    if (code == 0 && chdir("/tmp") != 0)
        code = failed(err, "/tmp");
    return code;
}
