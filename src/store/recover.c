/* Recovery at start: the index and the volumes are brought into agreement.
 *
 * The index may lack its newest part. So volumes that it does not know to be complete are read from
 * header to header; a chunk that is new to it was perhaps never acknowledged, so its data is
 * checked before it counts. */
#include <stdlib.h>
#include <unistd.h>

#include "os/file.h"
#include "store/local.h"

/* ---- from the index to the volumes ---- */

static int visit_item(void *context, struct index_item *item, struct err *err) {
    struct store *store = context;
    struct index_entry *entry = &item->entry;
    if (entry->volume == INDEX_VOLUME_NONE)
        return 0;
    bool there = volumes_count_chunk(store->volumes, entry->volume, item->id);
    if (entry->state == CHUNK_DEAD) { /* and was not carried out */
        int rc = there ? store_free_item(store, item, err) : 0;
        entry->volume = INDEX_VOLUME_NONE;
        return rc;
    }
    if (!there)
        entry->state = CHUNK_NONE;
    return 0;
}

/* ---- from the volumes to the index ---- */

static struct index_entry entry_of(const struct chunk_header *header, bool sound) {
    return (struct index_entry){.volume = header->volume,
                                .offset = header->offset,
                                .length = header->length,
                                .time_ms = header->written_ms,
                                .crc32c = header->crc32c,
                                .room_bytes = header->room_bytes,
                                .state = sound ? CHUNK_LIVE : CHUNK_BAD};
}

/* A chunk that the index does not have, or only a bad copy of. */
static int enter_found(struct store *store, const struct volume *volume,
                       const struct chunk_header *header, struct err *err) {
    int rc = chunk_verify(volume, header, err);
    if (rc != 0 && rc != ERR_CORRUPT && rc != ERR_IO)
        return rc;
    struct index_entry previous, entry = entry_of(header, rc == 0);
    rc = index_put(store->index, header->id, &entry, &previous, err);
    if (rc == 0)
        volumes_count_chunk(store->volumes, entry.volume, header->id);
    return rc;
}

static int visit_chunk(struct store *store, const struct volume *volume,
                       const struct chunk_header *header, struct err *err) {
    struct index_entry known;
    int rc = index_get(store->index, header->id, &known, err);
    if (rc != 0)
        return rc;
    bool here = known.volume == header->volume && known.offset == header->offset;
    if (known.state == CHUNK_NONE || (known.state == CHUNK_BAD && !here))
        return enter_found(store, volume, header, err);
    if (known.state == CHUNK_DEAD && volume->number != 0)
        volume_punch(volume, header->offset, header->room_bytes + volume_align(header->length));
    return 0;
}

/* One volume from header to header. */
struct scan {
    struct volume *volume;
    uint64_t size;
    uint64_t offset;
    uint64_t end;    /* of the last chunk */
    bool suspicious; /* something behind it may be a header that was damaged: left for people */
};

/* Space without a chunk is of writes that never ended. */
static void scan_give_back(const struct scan *scan, uint64_t upto) {
    if (!scan->suspicious && upto > scan->end)
        volume_punch(scan->volume, scan->end, upto - scan->end);
}

static int scan_step(struct store *store, struct scan *scan, struct err *err) {
    struct chunk_header *header;
    int rc = volume_read_header(scan->volume, scan->offset, &header, NULL);
    if (rc == ERR_NOMEM)
        return err_set(err, rc, "reading %s", scan->volume->name);
    if (rc != 0) {
        char magic[8] = {0};
        rc = file_read_at(scan->volume->fd, magic, sizeof magic, scan->offset, NULL);
        scan->suspicious |= rc == ERR_IO || chunk_header_is_magic(magic);
        scan->offset += VOLUME_ALIGN;
        return 0;
    }
    rc = visit_chunk(store, scan->volume, header, err);
    scan_give_back(scan, scan->offset);
    scan->offset += header->room_bytes + volume_align(header->length);
    scan->end = scan->offset;
    scan->suspicious = false;
    free(header);
    return rc;
}

/* Holes are skipped by asking the file system. */
static bool scan_find_data(struct scan *scan) {
    off_t data = lseek(scan->volume->fd, (off_t)scan->offset, SEEK_DATA);
    if (data >= 0)
        scan->offset = (uint64_t)data & ~(VOLUME_ALIGN - 1);
    return data >= 0;
}

static int scan_volume(struct store *store, struct volume *volume, struct err *err) {
    off_t size = lseek(volume->fd, 0, SEEK_END);
    if (size < 0)
        return err_set(err, ERR_IO, "%s: seek: %m", volume->name);
    struct scan scan = {volume, volume_align((uint64_t)size), VOLUME_ALIGN, VOLUME_ALIGN, false};
    int rc = volume_sync(volume, err); /* what is found must last before it counts */
    while (rc == 0 && scan.offset < scan.size && scan_find_data(&scan))
        rc = scan_step(store, &scan, err);
    if (rc != 0)
        return rc;
    scan_give_back(&scan, scan.size);
    volume->end = scan.suspicious ? scan.size : scan.end;
    return 0;
}

static int visit_shared(void *context, struct volume *volume, struct err *err) {
    struct store *store = context;
    if (!index_has_volume(store->index, volume->number))
        return scan_volume(store, volume, err);
    volume->sealed = volume->noted = true;
    return 0;
}

static int check_own(struct store *store, struct volume *volume, struct id128 id, struct err *err) {
    struct chunk_header *header;
    int rc = volume_read_header(volume, VOLUME_ALIGN, &header, err);
    if (rc != 0)
        return rc;
    rc = id128_equal(header->id, id)
             ? 0
             : err_set(err, ERR_CORRUPT, "%s has another chunk", volume->name);
    if (rc == 0)
        rc = volume_sync(volume, err);
    if (rc == 0)
        rc = enter_found(store, volume, header, err);
    free(header);
    return rc;
}

static int visit_own(void *context, struct id128 id, struct err *err) {
    struct store *store = context;
    struct index_entry known;
    int rc = index_get(store->index, id, &known, err);
    if (rc != 0 || known.state == CHUNK_LIVE || known.state == CHUNK_BAD)
        return rc;
    struct volume *volume = NULL;
    if (known.state == CHUNK_NONE)
        rc = volumes_get(store->volumes, 0, id, &volume, err);
    if (rc == 0 && volume != NULL)
        rc = check_own(store, volume, id, err);
    volume_unref(volume);
    if (rc != ERR_CORRUPT && known.state != CHUNK_DEAD)
        return rc;
    return volumes_free_chunk(store->volumes, 0, id, 0, 0,
                              err); /* deleted, or cut off before its first sync */
}

int store_recover(struct store *store, struct err *err) {
    int rc = index_load(store->index, visit_item, store, err);
    if (rc == 0)
        rc = volumes_each_shared(store->volumes, visit_shared, store, err);
    if (rc == 0)
        rc = volumes_each_own(store->volumes, visit_own, store, err);
    if (rc == 0)
        volumes_recovered(store->volumes);
    return rc != 0 ? rc : store_drop_empty_volumes(store, err);
}
