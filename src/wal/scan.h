/* The recovery scan of one segment: which batches it holds, what damage has left of them, and where
 * the log ends (PAXOS.md 2.13). Pure: the segment's bytes are in memory.
 *
 * Where no whole batch with the expected batch_seq stands:
 *   - a valid block of a later batch exists: the batch had been durable, and is damaged (T2);
 *   - none does, and a sector of the batch does not carry its stamp: the write was torn and never
 *     acknowledged (T1);
 *   - none does, and all sectors carry it: it was written, and is damaged (T3). */
#ifndef QUERN_WAL_SCAN_H
#define QUERN_WAL_SCAN_H

#include "wal/batch.h"

struct wal_image {
    const char *blocks; /* of the whole segment, its head included */
    const bool *unread; /* NULL, or by block: it could not be read, and counts as damaged */
    uint32_t block_count;
    uint32_t file;
    uint64_t generation;
    bool is_last; /* no later segment has a batch */
};

struct wal_scan {
    uint64_t batch_seq; /* expected next; 0 = any: the beginning was trimmed */
    wal_take *take;
    void *context;
    char *payload; /* room for that of WAL_BATCH_BLOCKS_MAX blocks */
};

struct wal_end {
    uint32_t used; /* blocks, the head's included; what follows is free */
    uint32_t torn; /* blocks from there on that a torn write has left, to be zeroed */
};

/* Errors: take's. */
int wal_scan_segment(struct wal_scan *scan, const struct wal_image *image, struct wal_end *ret_end,
                     struct err *err);

/* Whether the segment, or as much of it as is there, has a valid block of a batch; the highest
 * generation of those goes to *ret_generation (may be NULL). image->generation 0: of any. */
bool wal_image_has_batch(const struct wal_image *image, uint64_t *ret_generation);

#endif
