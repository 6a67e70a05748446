/* Reading a chunk from this node's disk: every block is checked before a byte of it is handed on.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/file.h"
#include "store/local.h"
#include "store/repair.h"

struct reader {
    struct volume *volume;
    struct chunk_header *header;
    char *piece;
};

static void reader_fini(struct reader *reader) {
    volume_unref(reader->volume);
    free(reader->header);
    free(reader->piece);
}

static int reader_open(struct store *store, struct id128 id, const struct index_entry *entry,
                       struct reader *reader, struct err *err) {
    int rc = volumes_get(store->volumes, entry->volume, id, &reader->volume, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, "the chunk's volume is missing");
    if (rc == 0)
        rc = volume_read_header(reader->volume, entry->offset, &reader->header, err);
    if (rc == 0 && !id128_equal(reader->header->id, id))
        rc = err_set(err, ERR_CORRUPT, "another chunk is in its place");
    return rc;
}

/* Reads blocks [first, first + count) into the piece and checks them. */
static int read_blocks(struct reader *reader, uint32_t first, uint32_t count, struct err *err) {
    const struct chunk_header *header = reader->header;
    uint64_t from = (uint64_t)first * CHUNK_BLOCK_BYTES;
    uint64_t bytes =
        (count - 1) * CHUNK_BLOCK_BYTES + chunk_block_bytes(header->length, first + count - 1);
    int rc = file_read_at(reader->volume->fd, reader->piece, bytes,
                          header->offset + header->room_bytes + from, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        if (!chunk_block_is_sound(header, first + i, reader->piece + i * CHUNK_BLOCK_BYTES))
            rc = err_set(err, ERR_CORRUPT, "block %u fails its checksum", first + i);
    }
    return rc;
}

/* *ret_sink_code is the sink's, so that its errors are not taken for the disk's. */
static int read_range(struct reader *reader, uint64_t offset, uint64_t length, store_sink *sink,
                      void *context, int *ret_sink_code, struct err *err) {
    uint64_t end = offset + length;
    while (offset < end) {
        uint32_t first = (uint32_t)(offset / CHUNK_BLOCK_BYTES);
        uint32_t count = chunk_block_count(end) - first;
        if (count > LOCAL_PIECE_BYTES / CHUNK_BLOCK_BYTES)
            count = LOCAL_PIECE_BYTES / CHUNK_BLOCK_BYTES;
        int rc = read_blocks(reader, first, count, err);
        if (rc != 0)
            return rc;
        uint64_t piece_start = (uint64_t)first * CHUNK_BLOCK_BYTES;
        uint64_t piece_end = piece_start + count * CHUNK_BLOCK_BYTES;
        uint64_t upto = piece_end < end ? piece_end : end;
        *ret_sink_code = sink(context, reader->piece + (offset - piece_start), upto - offset);
        if (*ret_sink_code != 0)
            return 0;
        offset = upto;
    }
    return 0;
}

static int sink_nothing(void *context, const void *data, size_t size) {
    (void)context, (void)data, (void)size;
    return 0;
}

static size_t piece_bytes(uint64_t offset, uint64_t length) {
    uint64_t blocks = chunk_block_count(offset + length) - offset / CHUNK_BLOCK_BYTES;
    uint64_t bytes = blocks * CHUNK_BLOCK_BYTES;
    return bytes < LOCAL_PIECE_BYTES ? (size_t)bytes : LOCAL_PIECE_BYTES;
}

int chunk_verify(const struct volume *volume, const struct chunk_header *header, struct err *err) {
    struct reader reader = {.volume = (struct volume *)(uintptr_t)volume,
                            .header = (struct chunk_header *)(uintptr_t)header,
                            .piece = malloc(LOCAL_PIECE_BYTES)};
    int sink_code = 0;
    int rc = reader.piece == NULL
                 ? err_set(err, ERR_NOMEM, "a piece of a chunk")
                 : read_range(&reader, 0, header->length, sink_nothing, NULL, &sink_code, err);
    free(reader.piece);
    return rc;
}

/* A read that fails is the copy's fault, unless the chunk was deleted or replaced meanwhile. */
static int read_failed(struct store *store, struct id128 id, const struct index_entry *entry,
                       int rc, struct err *err) {
    if (rc != ERR_CORRUPT && rc != ERR_IO)
        return rc;
    struct index_entry now;
    if (index_get(store->index, id, &now, NULL) != 0)
        return rc;
    if (now.state == CHUNK_DEAD)
        return err_set(err, ERR_NOT_FOUND, "the chunk was deleted");
    if (now.state == CHUNK_LIVE && now.volume == entry->volume && now.offset == entry->offset) {
        (void)store_check(store, index_mark_bad(store->index, id, NULL));
        repair_wake(store->repair);
    }
    return rc == ERR_IO ? ERR_CORRUPT : rc;
}

static int find(struct store *store, struct id128 id, struct index_entry *ret_entry,
                struct err *err) {
    struct index_entry entry;
    int rc = index_get(store->index, id, &entry, err);
    if (rc != 0)
        return rc;
    if (entry.state == CHUNK_BAD)
        return err_set(err, ERR_CORRUPT, "this node's copy is bad");
    if (entry.state != CHUNK_LIVE)
        return err_set(err, ERR_NOT_FOUND, "no such chunk");
    *ret_entry = entry;
    return 0;
}

int local_read(struct store *store, struct id128 id, uint64_t offset, uint64_t length,
               store_sink *sink, void *context, struct err *err) {
    struct index_entry entry;
    int rc = find(store, id, &entry, err);
    if (rc != 0)
        return rc;
    if (length > entry.length || offset > entry.length - length)
        return err_set(err, ERR_INVALID, "beyond the end of the chunk");
    struct reader reader = {0};
    int sink_code = 0;
    rc = reader_open(store, id, &entry, &reader, err);
    if (rc == 0 && reader.header->length != entry.length)
        rc = err_set(err, ERR_CORRUPT, "the chunk's length is not the index's");
    if (rc == 0 && length > 0 && (reader.piece = malloc(piece_bytes(offset, length))) == NULL)
        rc = err_set(err, ERR_NOMEM, "a piece of a chunk");
    if (rc == 0)
        rc = read_range(&reader, offset, length, sink, context, &sink_code, err);
    reader_fini(&reader);
    return rc != 0 ? read_failed(store, id, &entry, rc, err) : sink_code;
}

/* Best effort. */
static void forget_cached(struct store *store, struct id128 id, const struct index_entry *entry) {
    struct volume *volume;
    if (volumes_get(store->volumes, entry->volume, id, &volume, NULL) != 0)
        return;
    (void)posix_fadvise(volume->fd, (off_t)entry->offset, (off_t)index_entry_bytes(entry),
                        POSIX_FADV_DONTNEED);
    volume_unref(volume);
}

int local_verify(struct store *store, struct id128 id, struct err *err) {
    struct index_entry entry;
    int rc = find(store, id, &entry, err);
    if (rc != 0)
        return rc;
    forget_cached(store, id, &entry);
    rc = local_read(store, id, 0, entry.length, sink_nothing, NULL, err);
    forget_cached(store, id, &entry);
    return rc;
}

/* ---- a descriptor of a chunk ---- */

/* By its own first bytes, so that ids are spread. */
static struct id128 *verified_slot(struct store *store, struct id128 id) {
    uint32_t word;
    memcpy(&word, id.bytes, sizeof word);
    return &store->verified[word % VERIFIED_MAX];
}

void store_note_verified(struct store *store, struct id128 id) {
    pthread_mutex_lock(&store->lock);
    *verified_slot(store, id) = id;
    pthread_mutex_unlock(&store->lock);
}

bool store_is_verified(struct store *store, struct id128 id) {
    pthread_mutex_lock(&store->lock);
    bool verified = id128_equal(*verified_slot(store, id), id);
    pthread_mutex_unlock(&store->lock);
    return verified;
}

static int sink_file(void *context, const void *data, size_t size) {
    for (const char *from = data; size > 0;) {
        ssize_t put = write(*(int *)context, from, size);
        if (put <= 0)
            return ERR_NOMEM;
        from += put;
        size -= (size_t)put;
    }
    return 0;
}

/* A small chunk shares its file with others: the caller gets a copy in memory. */
static int open_copy(struct store *store, struct id128 id, const struct index_entry *entry,
                     int *ret_fd, struct err *err) {
    _cleanup_(fd_closep) int fd = memfd_create("chunk", MFD_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_NOMEM, "memory file: %m");
    int rc = local_read(store, id, 0, entry->length, sink_file, &fd, err);
    if (rc == 0 && lseek(fd, 0, SEEK_SET) != 0)
        rc = err_set(err, ERR_IO, "seek: %m");
    if (rc == 0)
        *ret_fd = TAKE_FD(fd);
    return rc;
}

static int open_own(struct store *store, struct id128 id, const struct index_entry *entry,
                    int *ret_fd, struct err *err) {
    struct volume *volume;
    int rc = volumes_get(store->volumes, 0, id, &volume, err);
    if (rc != 0)
        return rc;
    _cleanup_(fd_closep) int fd =
        fcntl(volume->fd, F_DUPFD_CLOEXEC, 0); /* a file of its own: nobody else seeks in it */
    volume_unref(volume);
    if (fd < 0)
        return err_set(err, ERR_IO, "dup: %m");
    if (!store_is_verified(store, id)) {
        rc = local_read(store, id, 0, entry->length, sink_nothing, NULL, err);
        if (rc != 0)
            return rc;
        store_note_verified(store, id);
    }
    if (lseek(fd, (off_t)(entry->offset + entry->room_bytes), SEEK_SET) < 0)
        return err_set(err, ERR_IO, "seek: %m");
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int local_open(struct store *store, struct id128 id, int *ret_fd, struct err *err) {
    struct index_entry entry;
    int rc = find(store, id, &entry, err);
    if (rc != 0)
        return rc;
    return entry.volume == 0 ? open_own(store, id, &entry, ret_fd, err)
                             : open_copy(store, id, &entry, ret_fd, err);
}
