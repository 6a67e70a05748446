/* Reading all that the state store's files hold. RocksDB checks each block that it reads. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/kv_impl.h"

/* What the kernel has of the files in memory says nothing about the disk. Best effort. */
static void forget_cached(const struct kv *kv) {
    DIR *directory = opendir(kv->path);
    if (directory == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix == NULL || strcmp(suffix, ".sst") != 0)
            continue;
        _cleanup_(fd_closep) int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    closedir(directory);
}

uint64_t kv_file_bytes(struct kv *kv) {
    uint64_t bytes = 0;
    (void)rocksdb_property_int(kv->db, "rocksdb.total-sst-files-size", &bytes);
    return bytes;
}

static uint64_t read_some(rocksdb_iterator_t *iter, uint64_t bytes) {
    uint64_t read = 0;
    for (; rocksdb_iter_valid(iter) && read < bytes; rocksdb_iter_next(iter)) {
        size_t key_size, value_size;
        (void)rocksdb_iter_key(iter, &key_size);
        (void)rocksdb_iter_value(iter, &value_size);
        read += key_size + value_size;
    }
    return read;
}

int kv_scrub(struct kv *kv, struct buf *position, uint64_t bytes, uint64_t *ret_bytes,
             struct err *err) {
    if (position->size == 0)
        forget_cached(kv);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_iterator_t *iter = rocksdb_create_iterator(kv->db, options);
    rocksdb_iter_seek(iter, position->data, position->size);
    *ret_bytes = read_some(iter, bytes);
    buf_clear(position);
    size_t size = 0;
    const char *key = rocksdb_iter_valid(iter) ? rocksdb_iter_key(iter, &size) : NULL;
    buf_append(position, key, size);
    char *message = NULL;
    rocksdb_iter_get_error(iter, &message);
    rocksdb_iter_destroy(iter);
    rocksdb_readoptions_destroy(options);
    return message != NULL ? kv_error_take(NULL, message, "reading the state store", err) : 0;
}
