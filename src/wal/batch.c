/* Filling batches, and reading what damage has left of one. */
#include "wal/batch.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc.h"
#include "base/mutant.h"

#define INDEX_HEAD 8u /* crc, records */

void wal_batch_fini(struct wal_batch *batch) {
    buf_fini(&batch->index);
}

void wal_batch_clear(struct wal_batch *batch) {
    buf_clear(&batch->index);
    batch->records = (struct span){0};
}

static size_t identity_size(size_t record_size) {
    return record_size < WAL_IDENTITY ? record_size : WAL_IDENTITY;
}

static size_t index_size(const struct wal_batch *batch) {
    return batch->index.size > 0 ? batch->index.size : INDEX_HEAD;
}

bool wal_batch_add(struct wal_batch *batch, char *frame, uint32_t size) {
    size_t identity = identity_size(size);
    size_t index = index_size(batch) + sizeof size + identity;
    size_t records = batch->records.size + WAL_RECORD_HEAD + size;
    if (wal_blocks_of(index) + wal_blocks_of(records) > WAL_BATCH_BLOCKS_MAX)
        return false;
    if (batch->index.size == 0) {
        static const char head[INDEX_HEAD];
        buf_append(&batch->index, head, sizeof head);
        batch->records = (struct span){frame, 0};
    }
    ASSERT(frame == batch->records.data + batch->records.size);
    batch->records.size = records;
    wal_record_seal(frame, size);
    buf_append(&batch->index, &size, sizeof size);
    buf_append(&batch->index, frame + WAL_RECORD_HEAD, identity);
    if (batch->index.failed)
        panic("the log: out of memory for a batch");
    uint32_t count;

    memcpy(&count, batch->index.data + sizeof(uint32_t), sizeof count);
    count++;
    memcpy(batch->index.data + sizeof(uint32_t), &count, sizeof count);
    return true;
}

uint32_t wal_batch_blocks(const struct wal_batch *batch) {
    return wal_blocks_of(batch->index.size) + wal_blocks_of(batch->records.size);
}

void wal_batch_encode(struct wal_batch *batch, const struct wal_head *first, char *blocks) {
    ASSERT(batch->records.size > 0);
    uint32_t crc = crc32c_update(0, batch->index.data + sizeof crc, batch->index.size - sizeof crc);
    memcpy(batch->index.data, &crc, sizeof crc);
    struct wal_head head = *first;
    head.kind = WAL_DATA;
    head.count = (uint16_t)wal_batch_blocks(batch);
    head.index_blocks = (uint16_t)wal_blocks_of(batch->index.size);
    wal_blocks_encode(&head, buf_span(&batch->index), blocks);
    head.index = head.index_blocks;
    head.block += head.index_blocks;
    wal_blocks_encode(&head, batch->records, blocks + (size_t)head.index_blocks * WAL_BLOCK);
    wal_batch_clear(batch);
}

/* ---- reading ---- */

/* The blocks of a batch: each payload has its place, whether the block is whole or not. */
struct reading {
    const bool *whole;
    const char *payload;
    uint32_t index_blocks;
    uint32_t count;
    size_t index_size;
    size_t end; /* of the records, as far as is known */
    wal_take *take;
    void *context;
    struct wal_item item;
};

static int give(struct reading *reading, enum wal_item_kind kind, struct span bytes,
                struct err *err) {
    reading->item.kind = kind;
    reading->item.bytes = bytes;
    return reading->take(reading->context, &reading->item, err);
}

/* Whether the bytes [at, at + size) of the records lie in whole blocks. */
static bool is_whole(const struct reading *reading, size_t at, size_t size) {
    uint32_t first = reading->index_blocks + (uint32_t)(at / WAL_PAYLOAD);
    uint32_t last = reading->index_blocks + (uint32_t)((at + size - 1) / WAL_PAYLOAD);
    for (uint32_t i = first; i <= last; i++)
        if (i >= reading->count || !reading->whole[i])
            return false;
    return at + size <= reading->end;
}

static bool has_index(const struct reading *reading, struct span *ret_index) {
    for (uint32_t i = 0; i < reading->index_blocks; i++)
        if (!reading->whole[i])
            return false;
    struct span index = {reading->payload, reading->index_size};
    uint32_t crc;
    if (index.size < INDEX_HEAD)
        return false;
    memcpy(&crc, index.data, sizeof crc);
    if (crc != crc32c_update(0, index.data + sizeof crc, index.size - sizeof crc))
        return false;
    *ret_index = index;
    return true;
}

/* The record at `at` when it is there and undamaged. */
static bool record_at(const struct reading *reading, size_t at, uint32_t size,
                      struct span *ret_record) {
    const char *records = reading->payload + (size_t)reading->index_blocks * WAL_PAYLOAD;
    if (MUTANT(32) && at + WAL_RECORD_HEAD + size <= reading->end) {
        *ret_record = (struct span){records + at + WAL_RECORD_HEAD, size};
        return true;
    }
    if (!is_whole(reading, at, WAL_RECORD_HEAD + (size_t)size))
        return false;
    struct span rest = {records + at, WAL_RECORD_HEAD + (size_t)size};
    return wal_record_next(&rest, ret_record, NULL) == 0 && ret_record->size == size;
}

/* Each record the index names: whole, or known by its identity. */
static int read_by_index(struct reading *reading, struct span index, struct err *err) {
    size_t at = 0;
    int r = 0;
    index.data += INDEX_HEAD;
    index.size -= INDEX_HEAD;
    while (r == 0 && index.size > 0) {
        uint32_t size;
        if (index.size < sizeof size)
            return err_set(err, ERR_CORRUPT, "the index of a batch is cut off");
        memcpy(&size, index.data, sizeof size);
        size_t identity = identity_size(size);
        if (identity > index.size - sizeof size)
            return err_set(err, ERR_CORRUPT, "the index of a batch is cut off");
        struct span bytes = {index.data + sizeof size, identity};
        bool whole = record_at(reading, at, size, &bytes);
        r = give(reading, whole ? WAL_ITEM_RECORD : WAL_ITEM_DAMAGED, bytes, err);
        at += WAL_RECORD_HEAD + (size_t)size;
        index.data += sizeof size + identity;
        index.size -= sizeof size + identity;
    }
    return r;
}

/* Without the index: one record after the other, up to the first damage. */
static int read_in_a_row(struct reading *reading, struct err *err) {
    const char *records = reading->payload + (size_t)reading->index_blocks * WAL_PAYLOAD;
    size_t at = 0;
    bool ended = reading->whole[reading->count - 1];
    int r = 0;
    while (r == 0 && !(ended && at == reading->end)) {
        uint32_t size;
        struct span record;
        if (!is_whole(reading, at, WAL_RECORD_HEAD))
            return give(reading, WAL_ITEM_LOST, (struct span){0}, err);
        memcpy(&size, records + at + sizeof(uint32_t), sizeof size);
        if (!record_at(reading, at, size, &record))
            return give(reading, WAL_ITEM_LOST, (struct span){0}, err);
        r = give(reading, WAL_ITEM_RECORD, record, err);
        at += WAL_RECORD_HEAD + (size_t)size;
    }
    return r;
}

int wal_batch_read(const struct wal_head *head, const char *blocks, const bool *whole,
                   char *payload, wal_take *take, void *context, struct err *err) {
    struct reading reading = {.whole = whole,
                              .payload = payload,
                              .index_blocks = head->index_blocks,
                              .count = head->count,
                              .end = (size_t)(head->count - head->index_blocks) * WAL_PAYLOAD,
                              .take = take,
                              .context = context,
                              .item = {.batch_seq = head->batch_seq}};
    for (uint32_t i = 0; i < head->count; i++) {
        size_t size = WAL_PAYLOAD;
        if (whole[i])
            size = wal_block_payload(blocks + (size_t)i * WAL_BLOCK,
                                     payload + (size_t)i * WAL_PAYLOAD);
        if (i < head->index_blocks)
            reading.index_size += size;
        else if (i + 1u == head->count)
            reading.end -= WAL_PAYLOAD - size;
    }
    struct span index;
    return has_index(&reading, &index) ? read_by_index(&reading, index, err)
                                       : read_in_a_row(&reading, err);
}
