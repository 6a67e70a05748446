/* Landlock by its raw system calls, with the rights each kernel knows. */
#include "worker/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* linux/landlock.h, newer than what all build machines have. */
#define FS_EXECUTE (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_ALL_ABI1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)     /* ABI 2 */
#define FS_TRUNCATE (1ull << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define FS_MAKE_CHAR (1ull << 6)
#define FS_MAKE_BLOCK (1ull << 11)
#define NET_TCP_ALL 3ull /* ABI 4: bind, connect */
#define SCOPE_ALL 3ull   /* ABI 6: abstract unix sockets, signals */
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

const char *const system_directories[] = {"/usr",   "/bin",    "/sbin", "/lib", "/lib32",
                                          "/lib64", "/libx32", "/etc",  "/opt", NULL};

int landlock_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

_Bool path_is_below(const char *path, const char *directory) {
    size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static uint64_t handled_access(int abi) {
    return FS_ALL_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static size_t attributes_size(int abi) {
    return abi >= 6   ? sizeof(struct ruleset_attributes)
           : abi >= 4 ? 2 * sizeof(uint64_t)
                      : sizeof(uint64_t);
}

static int allow_fd(int ruleset, int fd, const char *name, uint64_t access, struct err *err) {
    struct path_beneath rule = {access, fd};
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0)
        return err_errno(err, errno, "landlock: %s", name);
    return 0;
}

/* A path that does not exist needs no rule. */
static int allow(int ruleset, const char *path, uint64_t access, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_PATH | O_CLOEXEC);
    return fd < 0 ? 0 : allow_fd(ruleset, fd, path, access, err);
}

static int allow_system(int ruleset, const char *hidden, struct err *err) {
    for (unsigned i = 0; system_directories[i] != NULL; i++) {
        if (hidden != NULL && path_is_below(hidden, system_directories[i]))
            continue;
        int code =
            allow(ruleset, system_directories[i], FS_EXECUTE | FS_READ_FILE | FS_READ_DIR, err);
        if (code != 0)
            return code;
    }
    return allow(ruleset, "/proc", FS_READ_FILE | FS_READ_DIR, err);
}

static uint64_t file_access(int abi) {
    return FS_READ_FILE | FS_WRITE_FILE | (abi >= 3 ? FS_TRUNCATE : 0);
}

static int allow_devices(int ruleset, int abi, struct err *err) {
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom"};
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++) {
        int code = allow(ruleset, devices[i], file_access(abi), err);
        if (code != 0)
            return code;
    }
    return 0;
}

int landlock_confine(const char *scratch, int files_fd, const char *hidden, struct err *err) {
    int abi = landlock_abi();
    struct ruleset_attributes attributes = {handled_access(abi), NET_TCP_ALL, SCOPE_ALL};
    _cleanup_(fd_closep) int ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &attributes, attributes_size(abi), 0);
    if (ruleset < 0)
        return err_errno(err, errno, "landlock");
    int code = allow_system(ruleset, hidden, err);
    if (code == 0)
        code = allow_devices(ruleset, abi, err);
    if (code == 0)
        code = allow(ruleset, scratch, handled_access(abi) & ~(FS_MAKE_CHAR | FS_MAKE_BLOCK), err);
    if (code == 0)
        code = allow_fd(ruleset, files_fd, "files", file_access(abi), err);
    if (code == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        code = err_errno(err, errno, "landlock");
    return code;
}
