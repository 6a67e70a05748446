/* The log's smallest units, as they lie on the disk: blocks, batches of blocks, records in a batch.
 *
 *   block, 4096 bytes = 8 sectors of 512; the last 4 bytes of each sector are its stamp
 *   +--------------------+----------+-------+ +----------+-------+     +----------+-------+
 *   | struct wal_head 48 | payload  | stamp | | payload  | stamp | ... | payload  | stamp |
 *   +--------------------+----------+-------+ +----------+-------+     +----------+-------+
 *
 * A batch is what one write puts on the disk: blocks in a row with one batch_seq, index 0 .. count
 * - 1. Only one batch is in flight, so a batch that is not whole was never acknowledged, if nothing
 * later exists. The stamp holds low bits of generation and batch_seq: a sector without the right
 * stamp was never written (a torn batch); a block with all stamps right and a wrong checksum was
 * written and is corrupt (PAXOS.md 2.13, T1 to T3).
 *
 * A batch's first blocks hold its index: what identifies each record (its first WAL_IDENTITY bytes)
 * and its size. The records follow in blocks of their own, put together: {u32 crc32c of what
 * follows, u32 size, bytes}. So a sector that goes bad costs an index that is not needed, or the
 * bytes of records whose identity is still known (wal/batch.h). All numbers are little-endian. Pure
 * functions. */
#ifndef QUERN_WAL_BLOCK_H
#define QUERN_WAL_BLOCK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define WAL_BLOCK 4096u
#define WAL_SECTOR 512u
#define WAL_STAMP 4u
#define WAL_SECTORS (WAL_BLOCK / WAL_SECTOR)
#define WAL_PAYLOAD (WAL_SECTORS * (WAL_SECTOR - WAL_STAMP) - (uint32_t)sizeof(struct wal_head))
#define WAL_BATCH_BLOCKS_MAX 1024u
#define WAL_RECORD_HEAD 8u
#define WAL_IDENTITY 64u

#define WAL_MAGIC 0x474f4c51u /* "QLOG" */

enum wal_block_kind { WAL_SEGMENT_HEAD = 1, WAL_DATA = 2 };

struct wal_head {
    uint32_t crc32c; /* of the rest of the block */
    uint32_t magic;
    uint64_t generation; /* of the segment: which of all segments ever used this is */
    uint64_t batch_seq;  /* 1, 2, ... over the whole log; 0 in a segment's head */
    uint32_t file;       /* where the block belongs: file number and block number, */
    uint32_t block;      /* so that a misplaced one is seen */
    uint16_t index;      /* of this block in its batch */
    uint16_t count;      /* blocks of the batch */
    uint16_t payload_bytes;
    uint16_t kind;
    uint16_t index_blocks; /* the first of the batch */
    uint8_t zero[6];
};
static_assert(sizeof(struct wal_head) == 48, "on disk");
static_assert(WAL_PAYLOAD == 4016, "on disk");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "heads are written as they lie in memory");

/* Blocks that a payload of this many bytes fills. */
static inline uint32_t wal_blocks_of(size_t payload_bytes) {
    return (uint32_t)((payload_bytes + WAL_PAYLOAD - 1) / WAL_PAYLOAD);
}

/* Writes count blocks that hold the payload. first names generation, batch_seq, file, kind, count
 * and index_blocks of the batch, and index and number of the first block; the rest is filled in. */
void wal_blocks_encode(const struct wal_head *first, struct span payload, char *blocks);

/* The checksum, the magic and the limits hold. Says nothing about whether the block belongs there.
 */
bool wal_block_valid(const char *block, struct wal_head *ret_head);

/* Copies the payload of a valid block; returns its size. */
size_t wal_block_payload(const char *block, char to[WAL_PAYLOAD]);

enum wal_stamps { WAL_STAMPS_NONE, WAL_STAMPS_SOME, WAL_STAMPS_ALL };

/* How many sectors of the block carry the stamp of this batch. */
enum wal_stamps wal_block_stamps(const char *block, uint64_t generation, uint64_t batch_seq);

/* Writes the stamps of all sectors. */
void wal_block_restamp(char *block, uint64_t generation, uint64_t batch_seq);

/* Frames a record of these bytes at to, which has room for WAL_RECORD_HEAD + bytes.size. */
void wal_record_seal(char *to, size_t size);

/* Takes the next record off the front of records. ERR_NOT_FOUND at its end, ERR_CORRUPT. */
int wal_record_next(struct span *records, struct span *ret_record, struct err *err);

#endif
