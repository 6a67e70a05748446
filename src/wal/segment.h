/* One file of the log: a head block, then batches. Its space is written with zeros before use, so
 * that a batch's write changes no metadata of the file system (PAXOS.md 2.13). A file is used again
 * under a new generation: only its head is written anew, and what lies in it counts as never
 * written. */
#ifndef QUERN_WAL_SEGMENT_H
#define QUERN_WAL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "wal/block.h"

#define WAL_FORMAT_VERSION 2u

/* Where a batch is. Its records are lsn, lsn + 1, ... up to the next batch's. */
struct wal_place {
    uint64_t lsn;
    uint32_t block;
    uint32_t count; /* blocks */
};

struct wal_segment {
    struct list node;
    int fd;
    bool synced_writes; /* opened with O_DSYNC; else each write is followed by fdatasync */
    uint32_t file;
    uint64_t generation; /* 0: none yet */
    uint32_t block_count;
    uint32_t used; /* blocks, the head's included */
    struct wal_place *places;
    uint32_t place_count;
    uint32_t place_room;
};

/* A new file full of zeros, durable but without a head. Errors: ERR_NOSPACE, ERR_IO. */
int wal_segment_create(const char *dir, uint32_t file, uint32_t block_count,
                       struct wal_segment **ret_segment, struct err *err);
/* Begins a generation: writes the head. */
int wal_segment_format(struct wal_segment *segment, uint64_t generation, struct err *err);
/* An existing file; generation is 0 when it has no valid head. Errors: ERR_VERSION, ERR_IO. */
int wal_segment_open(const char *dir, uint32_t file, struct wal_segment **ret_segment,
                     struct err *err);
struct wal_segment *wal_segment_free(struct wal_segment *segment);
/* The like, and removes the file for good. */
int wal_segment_delete(const char *dir, struct wal_segment *segment, struct err *err);

/* blocks is aligned to WAL_BLOCK. Durable when it returns 0. */
int wal_segment_write(struct wal_segment *segment, uint32_t block, const char *blocks,
                      uint32_t count, struct err *err);
int wal_segment_read(const struct wal_segment *segment, uint32_t block, char *ret_blocks,
                     uint32_t count, struct err *err);

/* Reads the first count blocks. Those that the disk does not give are zero, and ret_unread[block]
 * is set. */
int wal_segment_load(const struct wal_segment *segment, char *ret_blocks, uint32_t count,
                     bool *ret_unread, struct err *err);

/* Remembers a batch that was written at segment->used; lsn is that of its first record, or of the
 * next one when none can be read. */
void wal_segment_note(struct wal_segment *segment, uint64_t lsn, uint32_t count);
/* The batch that holds the record, or NULL when lsn is below the first; above the last the last is
 * returned. */
const struct wal_place *wal_segment_find(const struct wal_segment *segment, uint64_t lsn);

/* Aligned memory for blocks; panics when there is none. Give back with free(). */
char *wal_blocks_new(uint32_t count);

#endif
