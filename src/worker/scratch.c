/* Emptying a directory that a hostile task has filled: no recursion, no paths. A directory's own
 * directories are moved up to the top before it is removed, so that depth never grows. */
#include "worker/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static void dir_closep(DIR **dir) {
    if (*dir != NULL)
        closedir(*dir);
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static DIR *open_directory(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(dir_fd, name, 0700, 0) == 0)
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        close(fd);
    else
        fchmod(fd, 0700); /* else its entries may not be removable */
    return dir;
}

/* Unlinks name, or moves a directory that is not empty to a fresh name at the top. */
static bool remove_or_lift(int dir_fd, const char *name, int top_fd, unsigned *counter) {
    if (unlinkat(dir_fd, name, 0) == 0 || unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
        return true;
    if (errno == ENOTEMPTY || errno == EEXIST) {
        char lifted[32];
        snprintf(lifted, sizeof lifted, ".quern-%u", (*counter)++);
        fchmodat(dir_fd, name, 0700, 0); /* moving a directory writes its ".." */
        return renameat(dir_fd, name, top_fd, lifted) == 0;
    }
    return false;
}

static bool remove_directory(int top_fd, const char *name, unsigned *counter) {
    _cleanup_(dir_closep) DIR *dir = open_directory(top_fd, name);
    if (dir == NULL)
        return false;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (!is_dots(entry->d_name) && !remove_or_lift(dirfd(dir), entry->d_name, top_fd, counter))
            return false;
    return unlinkat(top_fd, name, AT_REMOVEDIR) == 0 ||
           errno == ENOTEMPTY; /* the next round sees what readdir missed */
}

/* One pass over the top; *ret_left tells whether anything was there. */
static bool clear_once(DIR *top, unsigned *counter, bool *ret_left) {
    struct dirent *entry;
    *ret_left = false;
    rewinddir(top);
    while ((entry = readdir(top)) != NULL) {
        if (is_dots(entry->d_name))
            continue;
        *ret_left = true;
        if (unlinkat(dirfd(top), entry->d_name, 0) != 0 && errno != ENOENT &&
            !remove_directory(dirfd(top), entry->d_name, counter))
            return false;
    }
    return true;
}

int scratch_clear(int dir_fd, struct err *err) {
    _cleanup_(dir_closep) DIR *top = open_directory(dir_fd, ".");
    if (top == NULL)
        return err_errno(err, errno, "cannot open a scratch directory");
    unsigned counter = 0;
    for (bool left = true; left;)
        if (!clear_once(top, &counter, &left))
            return err_errno(err, errno, "cannot empty a scratch directory");
    return 0;
}

int scratch_file(const char *dir, int *ret_fd, struct err *err) {
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 &&
        (errno == EOPNOTSUPP || errno == EISDIR)) { /* a file system that has no such files */
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/quern-XXXXXX", dir);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    if (fd < 0)
        return err_errno(err, errno, "cannot make a scratch file in %s", dir);
    fchmod(fd, 0666); /* the task opens it again by way of /dev/stdout */
    *ret_fd = fd;
    return 0;
}
