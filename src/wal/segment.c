/* The files of the log. */
#include "wal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/file.h"

#define ZERO_BLOCKS 256u /* written at once */

struct segment_info { /* payload of the head block */
    uint32_t version;
    uint32_t block_count;
};

char *wal_blocks_new(uint32_t count) {
    char *blocks = aligned_alloc(WAL_BLOCK, (size_t)count * WAL_BLOCK);
    if (blocks == NULL)
        panic("out of memory for %u blocks of the log", count);
    return blocks;
}

static void path_of(const char *dir, uint32_t file, char path[PATH_MAX]) {
    snprintf(path, PATH_MAX, "%s/%08u.log", dir, file);
}

/* File systems without O_DIRECT refuse it with EINVAL. */
static int segment_new(const char *dir, uint32_t file, int flags, struct wal_segment **ret_segment,
                       struct err *err) {
    char path[PATH_MAX];
    path_of(dir, file, path);
    bool synced_writes = true;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT | O_DSYNC | flags, 0600);
    if (fd < 0 && errno == EINVAL) {
        synced_writes = false;
        fd = open(path, O_RDWR | O_CLOEXEC | (flags & ~O_EXCL), 0600);
    }
    if (fd < 0)
        return err_errno(err, errno, "open %s", path);
    struct wal_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        panic("out of memory for a segment of the log");
    list_init(&segment->node);
    segment->fd = fd;
    segment->synced_writes = synced_writes;
    segment->file = file;
    segment->used = 1;
    *ret_segment = segment;
    return 0;
}

struct wal_segment *wal_segment_free(struct wal_segment *segment) {
    if (segment == NULL)
        return NULL;
    list_remove(&segment->node);
    close(segment->fd);
    free(segment->places);
    free(segment);
    return NULL;
}

int wal_segment_delete(const char *dir, struct wal_segment *segment, struct err *err) {
    char path[PATH_MAX];
    path_of(dir, segment->file, path);
    wal_segment_free(segment);
    if (unlink(path) != 0)
        return err_errno(err, errno, "unlink %s", path);
    return file_sync_directory(dir, err);
}

static int zeros_write(struct wal_segment *segment, struct err *err) {
    _cleanup_(freep) char *zeros = wal_blocks_new(ZERO_BLOCKS);
    memset(zeros, 0, (size_t)ZERO_BLOCKS * WAL_BLOCK);
    for (uint32_t block = 0; block < segment->block_count; block += ZERO_BLOCKS) {
        uint32_t left = segment->block_count - block;
        int r =
            wal_segment_write(segment, block, zeros, left < ZERO_BLOCKS ? left : ZERO_BLOCKS, err);
        if (r != 0)
            return r;
    }
    return 0;
}

int wal_segment_create(const char *dir, uint32_t file, uint32_t block_count,
                       struct wal_segment **ret_segment, struct err *err) {
    ASSERT(block_count > 1);
    struct wal_segment *segment;
    int r = segment_new(dir, file, O_CREAT | O_EXCL, &segment, err);
    if (r != 0)
        return r;
    segment->block_count = block_count;
    r = zeros_write(segment, err);
    if (r == 0)
        r = file_datasync(segment->fd, err);
    if (r == 0)
        r = file_sync_directory(dir, err);
    if (r != 0) {
        wal_segment_delete(dir, segment, NULL);
        return r;
    }
    *ret_segment = segment;
    return 0;
}

int wal_segment_format(struct wal_segment *segment, uint64_t generation, struct err *err) {
    ASSERT(generation > 0);
    _cleanup_(freep) char *block = wal_blocks_new(1);
    struct wal_head head = {
        .generation = generation, .file = segment->file, .count = 1, .kind = WAL_SEGMENT_HEAD};
    struct segment_info info = {.version = WAL_FORMAT_VERSION, .block_count = segment->block_count};
    wal_blocks_encode(&head, (struct span){(const char *)&info, sizeof info}, block);
    int r = wal_segment_write(segment, 0, block, 1, err);
    if (r != 0)
        return r;
    segment->generation = generation;
    segment->used = 1;
    segment->place_count = 0;
    return 0;
}

/* A head that is not there, belongs elsewhere, or was torn by a crash when the file was taken up
 * again, leaves generation 0. */
static int head_read(struct wal_segment *segment, struct err *err) {
    _cleanup_(freep) char *block = wal_blocks_new(1);
    bool unread = false;
    int r = wal_segment_load(segment, block, 1, &unread, err);
    struct wal_head head;
    if (r != 0 || !wal_block_valid(block, &head))
        return r;
    if (head.kind != WAL_SEGMENT_HEAD || head.file != segment->file ||
        head.payload_bytes != sizeof(struct segment_info))
        return 0;

    char payload[WAL_PAYLOAD];
    struct segment_info info;
    wal_block_payload(block, payload);
    memcpy(&info, payload, sizeof info);
    if (info.version != WAL_FORMAT_VERSION)
        return err_set(err, ERR_VERSION, "%08u.log has format %u; this program knows %u",
                       segment->file, info.version, WAL_FORMAT_VERSION);
    if (info.block_count == segment->block_count)
        segment->generation = head.generation;
    return 0;
}

int wal_segment_open(const char *dir, uint32_t file, struct wal_segment **ret_segment,
                     struct err *err) {
    struct wal_segment *segment;
    int r = segment_new(dir, file, 0, &segment, err);
    if (r != 0)
        return r;
    struct stat info;
    if (fstat(segment->fd, &info) != 0)
        r = err_errno(err, errno, "fstat %08u.log", file);
    else if ((segment->block_count = (uint32_t)(info.st_size / WAL_BLOCK)) > 0)
        r = head_read(segment, err);
    if (r != 0) {
        wal_segment_free(segment);
        return r;
    }
    *ret_segment = segment;
    return 0;
}

int wal_segment_write(struct wal_segment *segment, uint32_t block, const char *blocks,
                      uint32_t count, struct err *err) {
    ASSERT((uint64_t)block + count <= segment->block_count);
    int r = file_write_at(segment->fd, blocks, (size_t)count * WAL_BLOCK,
                          (uint64_t)block * WAL_BLOCK, err);
    if (r == 0 && !segment->synced_writes)
        r = file_datasync(segment->fd, err);
    return r != 0 && err != NULL ? err_wrap(err, "%08u.log", segment->file) : r;
}

int wal_segment_read(const struct wal_segment *segment, uint32_t block, char *ret_blocks,
                     uint32_t count, struct err *err) {
    ASSERT((uint64_t)block + count <= segment->block_count);
    int r = file_read_at(segment->fd, ret_blocks, (size_t)count * WAL_BLOCK,
                         (uint64_t)block * WAL_BLOCK, err);
    return r != 0 && err != NULL ? err_wrap(err, "%08u.log", segment->file) : r;
}

/* A sector that the disk cannot read fails the whole read. */
int wal_segment_load(const struct wal_segment *segment, char *ret_blocks, uint32_t count,
                     bool *ret_unread, struct err *err) {
    if (wal_segment_read(segment, 0, ret_blocks, count, NULL) == 0)
        return 0;
    for (uint32_t block = 0; block < count; block++) {
        char *to = ret_blocks + (size_t)block * WAL_BLOCK;
        int r = wal_segment_read(segment, block, to, 1, err);
        if (r != 0 && r != ERR_IO)
            return r;
        ret_unread[block] = r != 0;
        if (r != 0)
            memset(to, 0, WAL_BLOCK);
    }
    return 0;
}

void wal_segment_note(struct wal_segment *segment, uint64_t lsn, uint32_t count) {
    if (segment->place_count == segment->place_room) {
        segment->place_room = segment->place_room > 0 ? 2 * segment->place_room : 64;
        segment->places = realloc(segment->places, segment->place_room * sizeof *segment->places);
        if (segment->places == NULL)
            panic("out of memory for the log's index");
    }
    segment->places[segment->place_count++] =
        (struct wal_place){.lsn = lsn, .block = segment->used, .count = count};
    segment->used += count;
    ASSERT(segment->used <= segment->block_count);
}

const struct wal_place *wal_segment_find(const struct wal_segment *segment, uint64_t lsn) {
    uint32_t low = 0, high = segment->place_count; /* places[low] is the first above lsn */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->places[middle].lsn <= lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &segment->places[low - 1] : NULL;
}
