/* Whole reads and writes, durable replacement, directories and locks. */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int file_read_at(int fd, void *ret_data, size_t size, uint64_t offset, struct err *err) {
    char *to = ret_data;
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, errno, "read");
        if (got == 0)
            return err_set(err, ERR_CORRUPT, "short file: %zu bytes missing at %llu", size,
                           (unsigned long long)offset);
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int file_write_at(int fd, const void *data, size_t size, uint64_t offset, struct err *err) {
    const char *from = data;
    while (size > 0) {
        ssize_t put = pwrite(fd, from, size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_errno(err, put == 0 ? ENOSPC : errno, "write");
        from += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

int file_datasync(int fd, struct err *err) {
    return fdatasync(fd) == 0 ? 0 : err_errno(err, errno, "fdatasync");
}

int file_sync_directory(const char *path, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    return fsync(fd) == 0 ? 0 : err_errno(err, errno, "fsync %s", path);
}

/* The directory that names path, synced: so that a new name lasts. */
static int file_sync_parent(const char *path, struct err *err) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return file_sync_directory(".", err);
    slash[slash == parent] = '\0';
    return file_sync_directory(parent, err);
}

static int file_make_directory(const char *path, struct err *err) {
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return file_sync_parent(path, err);
    if (errno != EEXIST)
        return err_errno(err, errno, "cannot make directory %s", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "%s is not a directory", path);
    return 0;
}

int file_make_directories(const char *path, struct err *err) {
    char prefix[PATH_MAX];
    if (snprintf(prefix, sizeof prefix, "%s", path) >= (int)sizeof prefix)
        return err_set(err, ERR_INVALID, "path too long: %s", path);
    for (char *slash = strchr(prefix + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = file_make_directory(prefix, err);
        if (rc != 0)
            return rc;
        *slash = '/';
    }
    return file_make_directory(prefix, err);
}

int file_read_whole(const char *path, size_t limit, struct buf *ret_buf, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(err, errno, "stat %s", path);
    if ((uint64_t)st.st_size > limit)
        return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, limit);
    char *to = buf_reserve(ret_buf, (size_t)st.st_size);
    if (to == NULL)
        return err_set(err, ERR_NOMEM, "read %s", path);
    int rc = file_read_at(fd, to, (size_t)st.st_size, 0, err);
    if (rc == 0)
        ret_buf->size += (size_t)st.st_size;
    if (ret_buf->data != NULL)
        ret_buf->data[ret_buf->size] = '\0';
    return rc;
}

static int file_write_new(const char *path, mode_t mode, struct span data, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(err, errno, "create %s", path);
    int rc = file_write_at(fd, data.data, data.size, 0, err);
    if (rc == 0)
        rc = file_datasync(fd, err);
    return rc != 0 && err != NULL ? err_wrap(err, "%s", path) : rc;
}

int file_replace(const char *path, mode_t mode, struct span data, struct err *err) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
        return err_set(err, ERR_INVALID, "path too long: %s", path);
    int rc = file_write_new(temporary, mode, data, err);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = err_errno(err, errno, "rename %s", temporary);
    if (rc != 0) {
        unlink(temporary);
        return rc;
    }
    return file_sync_parent(path, err);
}

int file_lock(const char *path, int *ret_fd, struct err *err) {
    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? err_set(err, ERR_EXISTS, "%s is locked by another process", path)
                   : err_errno(err, errno, "lock %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
