/* Reading records back, batch by batch. */
#include <stdlib.h>

#include "wal/log.h"

void wal_reader_fini(struct wal_reader *reader) {
    free(reader->blocks);
    free(reader->payload);
    *reader = (struct wal_reader){0};
}

/* Where the record's batch is, and the lsn after its last record. */
static struct wal_segment *place_find(struct wal *wal, uint64_t lsn, struct wal_place *ret_place,
                                      uint64_t *ret_end_lsn) {
    struct wal_segment *found = NULL;
    pthread_mutex_lock(&wal->mutex);
    *ret_end_lsn = wal->durable_lsn + 1;
    for (struct list *node = wal->live.prev; lsn <= wal->durable_lsn && node != &wal->live;
         node = node->prev) {
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        const struct wal_place *place = wal_segment_find(segment, lsn);
        if (place != NULL) {
            *ret_place = *place;
            if (place + 1 < segment->places + segment->place_count)
                *ret_end_lsn = place[1].lsn;
            found = segment;
            break;
        }
        if (segment->place_count > 0)
            *ret_end_lsn = segment->places[0].lsn;
    }
    pthread_mutex_unlock(&wal->mutex);
    return found;
}

static int batch_read(struct wal_reader *reader, const struct wal_segment *segment,
                      const struct wal_place *place, struct err *err) {
    if (reader->block_room < place->count) {
        wal_reader_fini(reader);
        reader->blocks = wal_blocks_new(place->count);
        reader->payload = wal_blocks_new(place->count);
        reader->block_room = place->count;
    }
    int r = wal_segment_read(segment, place->block, reader->blocks, place->count, err);
    size_t size = 0;
    for (uint32_t i = 0; r == 0 && i < place->count; i++) {
        struct wal_head head;
        const char *block = reader->blocks + (size_t)i * WAL_BLOCK;
        if (!wal_block_valid(block, &head) || head.generation != segment->generation ||
            head.index != i || head.block != place->block + i)
            return err_set(err, ERR_CORRUPT, "%08u.log block %u cannot be read back", segment->file,
                           place->block + i);
        if (i >= head.index_blocks)
            size += wal_block_payload(block, reader->payload + size);
    }
    reader->rest = (struct span){reader->payload, size};
    return r;
}

int wal_read(struct wal *wal, struct wal_reader *reader, uint64_t lsn, struct span *ret_record,
             struct err *err) {
    if (lsn < reader->next_lsn || lsn >= reader->end_lsn) {
        struct wal_place place;
        uint64_t end_lsn;
        reader->end_lsn = 0;
        pthread_mutex_lock(&wal->files);
        struct wal_segment *segment = place_find(wal, lsn, &place, &end_lsn);
        int r = segment != NULL ? batch_read(reader, segment, &place, err) : ERR_NOT_FOUND;
        pthread_mutex_unlock(&wal->files);
        if (r != 0)
            return r != ERR_NOT_FOUND
                       ? r
                       : err_set(err, r, "record %llu of the log", (unsigned long long)lsn);
        reader->next_lsn = place.lsn;
        reader->end_lsn = end_lsn;
    }
    for (;;) {
        int r = wal_record_next(&reader->rest, ret_record, err);
        if (r != 0)
            return r == ERR_NOT_FOUND ? err_set(err, ERR_CORRUPT, "a batch has too few records")
                                      : r;
        if (reader->next_lsn++ == lsn)
            return 0;
    }
}
