/* Room on the disk. */
#include "os/space.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"

static atomic_bool is_short; /* the file system last asked for */
static atomic_bool told;     /* why the process ends */

int space_get(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes,
              struct err *err) {
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return err_errno(err, errno, "statvfs %s", path);
    *ret_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    *ret_total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    atomic_store(&is_short, *ret_free_bytes < SPACE_LOW_BYTES);
    return 0;
}

/* One that could not be made whole is not kept. */
static int ballast_make(const char *path, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : err_errno(err, errno, "open %s", path);
    int code = posix_fallocate(fd, 0, (off_t)SPACE_BALLAST_BYTES);
    if (code == 0)
        return 0;
    unlink(path);
    return err_errno(err, code, "%s", path);
}

int space_keep_ballast(const char *path, uint64_t free_bytes, struct err *err) {
    if (free_bytes >= SPACE_LOW_BYTES + SPACE_BALLAST_BYTES)
        return access(path, F_OK) == 0 ? 0 : ballast_make(path, err);
    if (free_bytes < SPACE_RELEASE_BYTES && unlink(path) != 0 && errno != ENOENT)
        return err_errno(err, errno, "unlink %s", path);
    return 0;
}

void space_make_room(const char *ballast) {
    uint64_t free_bytes, total_bytes;
    if (ballast != NULL && space_get(ballast, &free_bytes, &total_bytes, NULL) == 0 &&
        free_bytes < SPACE_RELEASE_BYTES)
        unlink(ballast);
}

static void on_abort(int signal) {
    (void)signal;
    static const char words[] = "quern: fatal: " SPACE_ADVICE "\n";
    if (atomic_load(&is_short) && !atomic_load(&told))
        (void)!write(STDERR_FILENO, words, sizeof words - 1);
}

void space_explain_abort(void) {
    signal(SIGABRT, on_abort);
}

noreturn void space_panic(const struct err *err, const char *what) {
    atomic_store(&told, true);
    panic("%s%s: %s", err->code == ERR_NOSPACE ? SPACE_ADVICE ": " : "", what, err->text);
}
