/* One volume file: made, opened, published, synced, read. */
#include "store/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "os/random.h"
#include "store/volumes.h"

void volume_name_shared(uint64_t number, char name[VOLUME_NAME_SIZE]) {
    snprintf(name, VOLUME_NAME_SIZE, "%016" PRIx64 ".volume", number);
}

void volume_name_own(struct id128 chunk_id, const char *suffix, char name[VOLUME_NAME_SIZE]) {
    char hex[ID128_HEX_SIZE];
    snprintf(name, VOLUME_NAME_SIZE, "%s.%s", id128_print(chunk_id, hex), suffix);
}

/* Owns fd from here on. */
static int volume_new(struct volumes *set, const char *name, const struct volume_header *header,
                      int fd, struct volume **ret_volume, struct err *err) {
    struct volume *volume = calloc(1, sizeof *volume);
    if (volume == NULL) {
        close(fd);
        return err_set(err, ERR_NOMEM, "volume %s", name);
    }
    volume->set = set;
    volume->refs = 1;
    volume->number = header->number;
    volume->key = header->key;
    volume->fd = fd;
    volume->end = VOLUME_ALIGN;
    snprintf(volume->name, sizeof volume->name, "%s", name);
    sync_group_init(&volume->sync, fd, fdatasync);
    *ret_volume = volume;
    return 0;
}

int volume_create(struct volumes *set, const char *name, uint64_t number, struct id128 chunk_id,
                  struct volume **ret_volume, struct err *err) {
    struct volume_header header = {
        .number = number, .chunk_id = chunk_id, .incarnation = set->incarnation};
    random_bytes(&header.key, sizeof header.key);
    volume_header_seal(&header);
    _cleanup_(fd_closep) int fd =
        openat(set->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_EXISTS, "%s exists", name);
    if (fd < 0)
        return err_errno(err, errno, "create %s/%s", set->dir, name);
    int rc = file_write_at(fd, &header, sizeof header, 0, err);
    if (rc == 0)
        rc = volume_new(set, name, &header, TAKE_FD(fd), ret_volume, err);
    if (rc != 0)
        unlinkat(set->dir_fd, name, 0);
    return rc;
}

int volume_open(struct volumes *set, const char *name, int access_mode, struct volume **ret_volume,
                struct err *err) {
    _cleanup_(fd_closep) int fd = openat(set->dir_fd, name, access_mode | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", name);
    if (fd < 0)
        return err_errno(err, errno, "open %s/%s", set->dir, name);
    struct volume_header header;
    int rc = file_read_at(fd, &header, sizeof header, 0, err);
    if (rc == 0)
        rc = volume_header_check(&header, err);
    return rc != 0 ? rc : volume_new(set, name, &header, TAKE_FD(fd), ret_volume, err);
}

struct volume *volume_unref(struct volume *volume) {
    if (volume == NULL || atomic_fetch_sub(&volume->refs, 1) > 1)
        return NULL;
    sync_group_fini(&volume->sync);
    close(volume->fd);
    free(volume);
    return NULL;
}

int volume_publish(struct volume *volume, struct id128 chunk_id, struct err *err) {
    ASSERT(volume->number == 0);
    char name[VOLUME_NAME_SIZE];
    volume_name_own(chunk_id, "chunk", name);
    if (renameat(volume->set->dir_fd, volume->name, volume->set->dir_fd, name) != 0)
        return err_errno(err, errno, "rename %s", volume->name);
    memcpy(volume->name, name, sizeof name);
    return 0;
}

void volume_discard(struct volume *volume) {
    ASSERT(volume->number == 0);
    unlinkat(volume->set->dir_fd, volume->name, 0); /* if it stays, the next start removes it */
}

int volume_sync(struct volume *volume, struct err *err) {
    int rc = sync_group_wait(&volume->sync, err);
    if (rc == 0 && volume->number == 0)
        rc = volumes_sync_names(volume->set, err);
    return rc;
}

void volume_punch(const struct volume *volume, uint64_t offset, uint64_t bytes) {
    if (bytes > 0)
        (void)!fallocate(volume->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                         (off_t)bytes);
}

int volume_read_header(const struct volume *volume, uint64_t offset,
                       struct chunk_header **ret_header, struct err *err) {
    struct chunk_header *header = malloc(VOLUME_ALIGN);
    if (header == NULL)
        return err_set(err, ERR_NOMEM, "chunk header");
    int rc = file_read_at(volume->fd, header, VOLUME_ALIGN, offset, err);
    if (rc == 0 && !chunk_header_is_plausible(header, volume->number, offset))
        rc = err_set(err, ERR_CORRUPT, "%s: no chunk at %" PRIu64, volume->name, offset);
    if (rc == 0 && chunk_header_bytes(header->length) > VOLUME_ALIGN) {
        uint64_t length = header->length;
        struct chunk_header *larger = realloc(header, chunk_header_bytes(length));
        if (larger == NULL) {
            free(header);
            return err_set(err, ERR_NOMEM, "chunk header");
        }
        header = larger;
        rc = file_read_at(volume->fd, (char *)header + VOLUME_ALIGN,
                          chunk_header_bytes(length) - VOLUME_ALIGN, offset + VOLUME_ALIGN, err);
    }
    if (rc == 0 && !chunk_header_is_sound(header, volume->key, volume->number, offset))
        rc = err_set(err, ERR_CORRUPT, "%s: the header at %" PRIu64 " fails its checksum",
                     volume->name, offset);
    if (rc != 0)
        free(header);
    else
        *ret_header = header;
    return rc;
}
