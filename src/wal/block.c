/* Blocks, batches and records of the log as bytes. */
#include "wal/block.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc.h"

#define CRC_BYTES sizeof(uint32_t)

/* The top bit tells a stamp from the zeros of a sector never written. */
static uint32_t stamp_of(uint64_t generation, uint64_t batch_seq) {
    return 1u << 31 | (uint32_t)(generation & 0x7ff) << 20 | (uint32_t)(batch_seq & 0xfffff);
}

static uint32_t stamp_read(const char *block, unsigned sector) {
    uint32_t stamp;
    memcpy(&stamp, block + (sector + 1) * WAL_SECTOR - WAL_STAMP, sizeof stamp);
    return stamp;
}

/* Where the payload of a sector begins, and its room. */
static size_t sector_start(unsigned sector) {
    return sector * WAL_SECTOR + (sector == 0 ? sizeof(struct wal_head) : 0);
}

static size_t sector_room(unsigned sector) {
    return WAL_SECTOR - WAL_STAMP - (sector == 0 ? sizeof(struct wal_head) : 0);
}

static void block_encode(struct wal_head head, struct span payload, char *block) {
    uint32_t stamp = stamp_of(head.generation, head.batch_seq);
    const char *from = payload.data;
    size_t left = payload.size;
    for (unsigned sector = 0; sector < WAL_SECTORS; sector++) {
        char *to = block + sector_start(sector);
        size_t room = sector_room(sector), size = left < room ? left : room;
        if (size > 0)
            memcpy(to, from, size);
        memset(to + size, 0, room - size);
        memcpy(block + (sector + 1) * WAL_SECTOR - WAL_STAMP, &stamp, sizeof stamp);
        from += size;
        left -= size;
    }
    head.payload_bytes = (uint16_t)payload.size;
    memcpy(block, &head, sizeof head);
    head.crc32c = crc32c_update(0, block + CRC_BYTES, WAL_BLOCK - CRC_BYTES);
    memcpy(block, &head.crc32c, CRC_BYTES);
}

void wal_blocks_encode(const struct wal_head *first, struct span payload, char *blocks) {
    uint32_t count = wal_blocks_of(payload.size);
    ASSERT(first->index + count <= first->count && first->count <= WAL_BATCH_BLOCKS_MAX);
    struct wal_head head = *first;
    head.magic = WAL_MAGIC;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = payload.size < WAL_PAYLOAD ? payload.size : WAL_PAYLOAD;
        head.index = (uint16_t)(first->index + i);
        head.block = first->block + i;
        block_encode(head, (struct span){payload.data, size}, blocks + (size_t)i * WAL_BLOCK);
        payload.data += size;
        payload.size -= size;
    }
}

bool wal_block_valid(const char *block, struct wal_head *ret_head) {
    static const uint8_t zero[sizeof ret_head->zero];

    struct wal_head head;
    memcpy(&head, block, sizeof head);
    if (head.magic != WAL_MAGIC || head.count == 0 || head.count > WAL_BATCH_BLOCKS_MAX ||
        head.index >= head.count || head.payload_bytes > WAL_PAYLOAD ||
        head.index_blocks > head.count || memcmp(head.zero, zero, sizeof zero) != 0)
        return false;
    if (head.crc32c != crc32c_update(0, block + CRC_BYTES, WAL_BLOCK - CRC_BYTES))
        return false;
    *ret_head = head;
    return true;
}

size_t wal_block_payload(const char *block, char to[WAL_PAYLOAD]) {
    struct wal_head head;
    memcpy(&head, block, sizeof head);
    ASSERT(head.payload_bytes <= WAL_PAYLOAD);
    size_t left = head.payload_bytes;
    for (unsigned sector = 0; left > 0; sector++) {
        size_t room = sector_room(sector), size = left < room ? left : room;
        memcpy(to, block + sector_start(sector), size);
        to += size;
        left -= size;
    }
    return head.payload_bytes;
}

enum wal_stamps wal_block_stamps(const char *block, uint64_t generation, uint64_t batch_seq) {
    unsigned found = 0;
    for (unsigned sector = 0; sector < WAL_SECTORS; sector++)
        found += stamp_read(block, sector) == stamp_of(generation, batch_seq);
    return found == 0 ? WAL_STAMPS_NONE : found < WAL_SECTORS ? WAL_STAMPS_SOME : WAL_STAMPS_ALL;
}

void wal_block_restamp(char *block, uint64_t generation, uint64_t batch_seq) {
    uint32_t stamp = stamp_of(generation, batch_seq);
    for (unsigned sector = 0; sector < WAL_SECTORS; sector++)
        memcpy(block + (sector + 1) * WAL_SECTOR - WAL_STAMP, &stamp, sizeof stamp);
}

void wal_record_seal(char *to, size_t size) {
    uint32_t size32 = (uint32_t)size;
    ASSERT(size32 == size);
    memcpy(to + CRC_BYTES, &size32, sizeof size32);
    uint32_t crc = crc32c_update(0, to + CRC_BYTES, sizeof size32 + size);
    memcpy(to, &crc, sizeof crc);
}

int wal_record_next(struct span *records, struct span *ret_record, struct err *err) {
    if (records->size == 0)
        return ERR_NOT_FOUND;
    uint32_t crc, size;
    if (records->size < WAL_RECORD_HEAD)
        return err_set(err, ERR_CORRUPT, "a record's head is cut off");
    memcpy(&crc, records->data, sizeof crc);
    memcpy(&size, records->data + CRC_BYTES, sizeof size);
    if (size > records->size - WAL_RECORD_HEAD)
        return err_set(err, ERR_CORRUPT, "a record of %u bytes is cut off", size);
    if (crc != crc32c_update(0, records->data + CRC_BYTES, sizeof size + size))
        return err_set(err, ERR_CORRUPT, "a record's checksum is wrong");
    *ret_record = (struct span){records->data + WAL_RECORD_HEAD, size};
    records->data += WAL_RECORD_HEAD + size;
    records->size -= WAL_RECORD_HEAD + size;
    return 0;
}
