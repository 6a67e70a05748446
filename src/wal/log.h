/* The inside of the log, shared by its files: wal.c opens and queues, writer.c writes, spares.c
 * keeps segments ready, reader.c reads back. */
#ifndef QUERN_WAL_LOG_H
#define QUERN_WAL_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "wal/segment.h"
#include "wal/wal.h"

#define WAL_QUEUE_BYTES_MAX ((size_t)2 << 30)
/* Also of a new log's first (idle nodes write little), and of all on a disk that is nearly full. */
#define WAL_SEGMENT_BYTES_MIN ((uint64_t)8 << 20)

struct wal {
    char *dir;
    uint32_t segment_blocks;
    void (*durable)(void *context, uint64_t lsn);
    void *context;
    pthread_t writer;
    pthread_t preparer;
    char *blocks; /* the writer's: a batch on its way to the disk, and as it is filled */
    struct wal_batch batch;
    uint32_t file; /* the preparer's: highest number and generation */
    uint64_t generation;

    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t queued;
    pthread_cond_t wanted; /* a spare */
    pthread_cond_t ready;  /* the like */
    struct buf queue;      /* framed records */
    uint64_t appended_lsn;
    uint64_t durable_lsn;
    uint64_t batches;
    uint64_t batch_seq; /* of the last; only the writer changes it */
    uint32_t sync_us;

    struct list live;   /* segments with batches; the last is written to */
    struct list spares; /* formatted */
    struct list retired;
    bool begin_segment; /* with the next batch */
    bool no_space;      /* the preparer could not make a spare */
    bool stopping;      /* the writer ends, then the preparer */
    bool written;
    pthread_mutex_t files; /* held while a segment not at the tail is read or retired */
};

/* The threads; each ends when the flags say so. */
void *wal_write_batches(void *wal);
void *wal_keep_spares(void *wal);

/* Under the mutex: the preparer has something to do. */
bool wal_wants_spare(const struct wal *wal);

static inline struct wal_segment *wal_segment_first(const struct list *segments) {
    return LIST_ENTRY(segments->next, struct wal_segment, node);
}

static inline struct wal_segment *wal_segment_last(const struct list *segments) {
    return LIST_ENTRY(segments->prev, struct wal_segment, node);
}

#endif
