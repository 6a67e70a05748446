/* Fuzzes what reads blocks and records from the disk: bytes as they may lie there after damage. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wal/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_block(const uint8_t *data, size_t size) {
    char block[WAL_BLOCK] = {0}, payload[WAL_PAYLOAD];
    struct wal_head head;
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    if (wal_block_valid(block, &head))
        wal_block_payload(block, payload);
    wal_block_stamps(block, 1, 1);
}

/* The bytes as a payload; and, sealed as a record, one that must come back. */
static void fuzz_records(const uint8_t *data, size_t size) {
    struct span payload = {(const char *)data, size}, record;
    while (wal_record_next(&payload, &record, NULL) == 0)
        ;
    char *frame = malloc(WAL_RECORD_HEAD + size);
    if (frame == NULL)
        return;
    if (size > 0)
        memcpy(frame + WAL_RECORD_HEAD, data, size);
    wal_record_seal(frame, size);
    payload = (struct span){frame, WAL_RECORD_HEAD + size};
    if (wal_record_next(&payload, &record, NULL) != 0 || record.size != size || payload.size != 0)
        abort();
    free(frame);
}

/* ---- a segment ---- */

#define BATCHES 4u
#define RECORDS 5u /* of a batch: sizes 0, 700, 1400, ... */
#define SEGMENT_BLOCKS 24u
#define RECORD_BYTES_MAX (700u * RECORDS)

struct expected {
    uint64_t batch_seq;
    uint32_t number;
};

/* Each byte tells batch and record. */
static uint32_t fill_record(uint64_t batch_seq, uint32_t number, char *record) {
    uint32_t size = 700u * number;
    memset(record, (int)(batch_seq * RECORDS + number), size);
    return size;
}

static void make_segment(char *blocks) {
    static char frames[RECORDS * (WAL_RECORD_HEAD + RECORD_BYTES_MAX)];
    struct wal_batch batch = {0};
    struct wal_head head = {.generation = 1, .file = 1, .block = 1};
    memset(blocks, 0, SEGMENT_BLOCKS * WAL_BLOCK);
    for (head.batch_seq = 1; head.batch_seq <= BATCHES; head.batch_seq++) {
        char *to = frames;
        for (uint32_t i = 0; i < RECORDS; i++) {
            uint32_t size = fill_record(head.batch_seq, i, to + WAL_RECORD_HEAD);
            if (!wal_batch_add(&batch, to, size))
                abort();
            to += WAL_RECORD_HEAD + size;
        }
        uint32_t count = wal_batch_blocks(&batch);
        wal_batch_encode(&batch, &head, blocks + (size_t)head.block * WAL_BLOCK);
        head.block += count;
    }
    wal_batch_fini(&batch);
}

/* Only what was written, in its order. */
static int check_item(void *context, const struct wal_item *item, struct err *err) {
    struct expected *expected = context;
    (void)err;
    if (item->kind == WAL_ITEM_BATCH || item->kind == WAL_ITEM_LOST)
        return 0;
    if (item->batch_seq > expected->batch_seq)
        *expected = (struct expected){item->batch_seq, 0};
    char record[RECORD_BYTES_MAX];
    uint32_t size = fill_record(item->batch_seq, expected->number++, record);
    if (item->kind == WAL_ITEM_DAMAGED)
        size = size < WAL_IDENTITY ? size : WAL_IDENTITY;
    if (expected->number > RECORDS || item->bytes.size != size ||
        memcmp(item->bytes.data, record, size) != 0)
        abort();
    return 0;
}

/* The bytes are damage: where, and what is there instead. */
static void fuzz_scan(const uint8_t *data, size_t size) {
    static char blocks[SEGMENT_BLOCKS * WAL_BLOCK], payload[WAL_BATCH_BLOCKS_MAX * WAL_PAYLOAD];
    struct expected expected = {0};
    struct wal_scan scan = {
        .batch_seq = 1, .take = check_item, .context = &expected, .payload = payload};
    bool unread[SEGMENT_BLOCKS] = {0};
    struct wal_image image = {.blocks = blocks,
                              .unread = unread,
                              .block_count = SEGMENT_BLOCKS,
                              .file = 1,
                              .generation = 1,
                              .is_last = size % 2 == 0};
    struct wal_end end;
    make_segment(blocks);
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t at = (uint32_t)(data[0] | data[1] << 8 | data[2] << 16) % sizeof blocks;
        if (data[3] == 0)
            memset(blocks + at - at % WAL_SECTOR, 0, WAL_SECTOR);
        else if (data[3] == 1)
            unread[at / WAL_BLOCK] = true;
        else
            blocks[at] ^= (char)data[3];
    }
    if (wal_scan_segment(&scan, &image, &end, NULL) != 0 || end.used + end.torn > SEGMENT_BLOCKS)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_block(data, size);
    fuzz_records(data, size);
    fuzz_scan(data, size);
    return 0;
}
