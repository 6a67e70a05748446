/* A batch of the log: its records and, apart from them, the index that says what they are.
 *
 *     index    {u32 crc32c of what follows, u32 records, {u32 size, its first WAL_IDENTITY bytes}
 * ...} records  {u32 crc32c of what follows, u32 size, bytes} ...
 *
 * both in whole blocks (wal/block.h). Not thread-safe, no I/O. */
#ifndef QUERN_WAL_BATCH_H
#define QUERN_WAL_BATCH_H

#include "base/buf.h"
#include "wal/block.h"

#define WAL_RECORD_MAX ((size_t)2 << 20)

/* One being filled with records that lie one after the other in the caller's memory, each with
 * WAL_RECORD_HEAD bytes before it. */
struct wal_batch {
    struct buf index;
    struct span records;
};

void wal_batch_fini(struct wal_batch *batch); /* of a zeroed one too */
void wal_batch_clear(struct wal_batch *batch);

/* Adds the record of size bytes at frame + WAL_RECORD_HEAD, and writes its head. False: it does not
 * fit besides what is there; an empty batch takes any of up to WAL_RECORD_MAX bytes. */
bool wal_batch_add(struct wal_batch *batch, char *frame, uint32_t size);

uint32_t wal_batch_blocks(const struct wal_batch *batch);
/* Writes wal_batch_blocks() blocks, and empties the batch. first names generation, batch_seq, file
 * and the number of the first block. */
void wal_batch_encode(struct wal_batch *batch, const struct wal_head *first, char *blocks);

enum wal_item_kind {
    WAL_ITEM_BATCH,   /* begins: a batch that is whole, or what is left of one */
    WAL_ITEM_RECORD,  /* bytes: all of it */
    WAL_ITEM_DAMAGED, /* bytes: its identity; the rest is lost */
    WAL_ITEM_LOST     /* records of unknown number are missing here, in batches up to batch_seq */
};

struct wal_item {
    enum wal_item_kind kind;
    uint64_t batch_seq;
    uint32_t block, count; /* of a BATCH; count 0: nothing is left of where it was */
    bool whole;            /* the BATCH */
    struct span bytes;     /* until the call returns */
};

/* Takes what is found in the log, in its order; an error of its ends the reading. */
typedef int wal_take(void *context, const struct wal_item *item, struct err *err);

/* Gives the records of a batch of head->count blocks at blocks; whole[i] tells whether block i is
 * as it was written, payload has room for all of theirs. */
int wal_batch_read(const struct wal_head *head, const char *blocks, const bool *whole,
                   char *payload, wal_take *take, void *context, struct err *err);

#endif
