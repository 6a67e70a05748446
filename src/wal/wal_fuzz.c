/* Fuzzes what reads blocks and records from the disk: bytes as they may lie there after damage. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wal/block.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_block(data, size);
    fuzz_records(data, size);
    return 0;
}
