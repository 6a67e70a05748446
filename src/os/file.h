/* Files, whole reads and writes, and the syncs that make them last. All block. */
#ifndef QUERN_OS_FILE_H
#define QUERN_OS_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* All of size at offset, or an error; reading past the end is ERR_CORRUPT ("short file"). */
int file_read_at(int fd, void *ret_data, size_t size, uint64_t offset, struct err *err);
int file_write_at(int fd, const void *data, size_t size, uint64_t offset, struct err *err);

/* A failed sync says nothing about what is on the disk: the caller must stop trusting the file,
 * never retry. */
int file_datasync(int fd, struct err *err);
int file_sync_directory(const char *path, struct err *err);

/* The directory exists afterwards (parents too), mode 0700 for what is made. */
int file_make_directories(const char *path, struct err *err);

/* Whole small files. Replacing is atomic and durable: temporary file, sync, rename, sync of the
 * directory. */
int file_read_whole(const char *path, size_t limit, struct buf *ret_buf,
                    struct err *err); /* ERR_NOT_FOUND when absent */
int file_replace(const char *path, mode_t mode, struct span data, struct err *err);

/* An exclusive lock that the kernel drops with the process. ERR_EXISTS when somebody else holds it.
 */
int file_lock(const char *path, int *ret_fd, struct err *err);

#endif
