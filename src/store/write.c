/* Writing a chunk to this node's disk: the data as it comes, the header last, one sync shared with
 * other writers, then the index. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/space.h"
#include "store/local.h"

#define WRITE_BACK_BYTES                                                                           \
    ((uint64_t)8 << 20) /* the disk starts on so much at a time, so that the sync is short */

struct local_write {
    struct store *store;
    struct volume *volume;
    uint64_t offset; /* of the header */
    uint64_t length_max;
    uint64_t started_upto; /* write-back of the data before it was begun */
    uint32_t room_bytes;
    struct chunk_header *header; /* room_bytes of it; the checksums so far */
};

static uint64_t region_bytes(const struct local_write *write) {
    return write->room_bytes + volume_align(write->length_max);
}

static bool has_own_volume(uint64_t length_max) {
    return length_max >= VOLUME_SHARED_BYTES_MAX;
}

static struct local_write *write_free(struct local_write *write) {
    volume_unref(write->volume);
    free(write->header);
    free(write);
    return NULL;
}

static int check_begin(struct store *store, struct id128 id, uint64_t length_max, struct err *err) {
    if (atomic_load(&store->failed))
        return err_set(err, ERR_IO, "this node's disk has failed");
    if (length_max > CHUNK_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a chunk has at most %llu bytes",
                       (unsigned long long)CHUNK_BYTES_MAX);
    struct index_entry entry;
    int rc = index_get(store->index, id, &entry, err);
    if (rc != 0)
        return rc;
    if (entry.state == CHUNK_LIVE)
        return err_set(err, ERR_EXISTS, "the chunk exists");
    if (entry.state == CHUNK_DEAD)
        return err_set(err, ERR_CONFLICT, "the chunk was deleted");
    uint64_t free_bytes, total_bytes;
    rc = volumes_disk_space(store->volumes, &free_bytes, &total_bytes, err);
    if (rc == 0 && free_bytes < length_max + SPACE_LOW_BYTES)
        rc = err_set(err, ERR_NOSPACE, "%llu MiB are left on the disk",
                     (unsigned long long)free_bytes >> 20);
    return rc;
}

static int reserve(struct local_write *write, struct id128 id, struct err *err) {
    write->offset = VOLUME_ALIGN;
    if (has_own_volume(write->length_max))
        return volumes_create_own(write->store->volumes, id, &write->volume, err);
    return volumes_reserve(write->store->volumes, region_bytes(write), &write->volume,
                           &write->offset, err);
}

int local_write_begin(struct store *store, struct id128 id, uint64_t length_max,
                      struct local_write **ret_write, struct err *err) {
    int rc = check_begin(store, id, length_max, err);
    if (rc != 0)
        return store_check(store, rc);
    struct local_write *write = calloc(1, sizeof *write);
    if (write == NULL)
        return err_set(err, ERR_NOMEM, "chunk write");
    write->store = store;
    write->length_max = length_max;
    write->room_bytes = chunk_header_room(length_max);
    write->header = calloc(1, write->room_bytes);
    rc = write->header == NULL ? err_set(err, ERR_NOMEM, "chunk header") : reserve(write, id, err);
    if (rc != 0) {
        write_free(write);
        return store_check(store, rc);
    }
    write->header->id = id;
    write->header->volume = write->volume->number;
    write->header->offset = write->offset;
    write->header->room_bytes = write->room_bytes;
    *ret_write = write;
    return 0;
}

/* Best effort: a refusal costs time at the sync, nothing else. */
static void start_write_back(struct local_write *write) {
    uint64_t length = write->header->length;
    if (length - write->started_upto < WRITE_BACK_BYTES)
        return;
    (void)sync_file_range(write->volume->fd,
                          (off_t)(write->offset + write->room_bytes + write->started_upto),
                          (off_t)(length - write->started_upto), SYNC_FILE_RANGE_WRITE);
    write->started_upto = length;
}

int local_write_append(struct local_write *write, const void *data, size_t size, struct err *err) {
    uint64_t length = write->header->length;
    if (size > write->length_max - length)
        return err_set(err, ERR_LIMIT, "more than the %llu bytes that were announced",
                       (unsigned long long)write->length_max);
    int rc = file_write_at(write->volume->fd, data, size,
                           write->offset + write->room_bytes + length, err);
    if (rc != 0)
        return store_check(write->store, rc);
    chunk_header_add(write->header, data, size);
    start_write_back(write);
    return 0;
}

struct local_write *local_write_abort(struct local_write *write) {
    if (write == NULL)
        return NULL;
    if (write->volume->number == 0)
        volume_discard(write->volume);
    else
        volume_end_region(write->volume, write->offset, region_bytes(write), 0);
    return write_free(write);
}

static int check_content(const struct local_write *write, uint64_t length, uint32_t crc32c,
                         struct err *err) {
    if (write->header->length != length)
        return err_set(err, ERR_CORRUPT, "%llu bytes arrived of %llu",
                       (unsigned long long)write->header->length, (unsigned long long)length);
    if (chunk_header_total_crc(write->header) != crc32c)
        return err_set(err, ERR_CORRUPT, "the chunk's bytes fail its checksum");
    return 0;
}

static int write_header(struct local_write *write, uint32_t crc32c, struct err *err) {
    write->header->crc32c = crc32c;
    write->header->written_ms = clock_wall_ms();
    chunk_header_seal(write->header, write->volume->key);
    int rc = file_write_at(write->volume->fd, write->header, write->room_bytes, write->offset, err);
    if (rc == 0 && write->volume->number == 0)
        rc = volume_publish(write->volume, write->header->id, err);
    return rc;
}

static struct index_entry entry_of(const struct local_write *write) {
    const struct chunk_header *header = write->header;
    return (struct index_entry){.volume = header->volume,
                                .offset = header->offset,
                                .length = header->length,
                                .time_ms = header->written_ms,
                                .crc32c = header->crc32c,
                                .room_bytes = header->room_bytes,
                                .state = CHUNK_LIVE};
}

/* The region is no longer this write's. */
static void give_back(struct store *store, struct id128 id, const struct index_entry *entry) {
    struct index_item item = {id, *entry};
    (void)store_check(store, store_free_item(store, &item, NULL));
}

/* The chunk is on the disk: enters it into the index, in place of a bad copy. A chunk that was
 * deleted meanwhile, or that another write brought, gives its space back. */
static int enter(struct store *store, struct id128 id, const struct index_entry *entry,
                 struct err *err) {
    struct index_entry previous;
    int rc = index_put(store->index, id, entry, &previous, err);
    if (rc == ERR_EXISTS && (previous.volume != entry->volume || previous.offset != entry->offset))
        give_back(store, id, entry);
    if (rc == ERR_CONFLICT)
        give_back(store, id, entry);
    if (rc == 0 && previous.state == CHUNK_BAD &&
        (previous.volume != entry->volume || previous.offset != entry->offset))
        give_back(store, id, &previous);
    return rc == ERR_EXISTS ? 0 : rc;
}

static void note_complete_volumes(struct store *store) {
    for (uint64_t number; (number = volumes_next_complete(store->volumes)) != 0;)
        (void)store_check(store, index_note_volume(store->index, number, NULL));
}

int local_write_end(struct local_write *write, uint64_t length, uint32_t crc32c, struct err *err) {
    struct store *store = write->store;
    int rc = check_content(write, length, crc32c, err);
    if (rc == 0)
        rc = write_header(write, crc32c, err);
    if (rc != 0) {
        local_write_abort(write);
        return store_check(store, rc);
    }
    rc = volume_sync(write->volume, err);
    if (rc == ERR_NOSPACE) {
        volume_give_up(write->volume);
        local_write_abort(write);
        return rc;
    }
    struct id128 id = write->header->id;
    struct index_entry entry = entry_of(write);
    if (rc == 0)
        rc = enter(store, id, &entry, err);
    if (entry.volume != 0)
        volume_end_region(write->volume, entry.offset, region_bytes(write),
                          index_entry_bytes(&entry));
    write_free(write);
    if (rc == 0)
        store_note_verified(store, id);
    note_complete_volumes(store);
    return store_check(store, rc);
}
