/* The writer's thread: what was queued goes to the disk in batches, one in flight. */
#include <string.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/space.h"
#include "wal/log.h"

#define SYNC_SHARE 8u                      /* of the newest write in the mean */
#define QUEUE_BYTES_KEPT ((size_t)1 << 20) /* of a buffer between batches */

/* The segment that takes the batch; waits for a spare. NULL when there is no room and the log is
 * being closed. */
static struct wal_segment *segment_for(struct wal *wal, uint32_t blocks) {
    pthread_mutex_lock(&wal->mutex);
    struct wal_segment *segment = wal_segment_last(&wal->live);
    if (segment->used + blocks > segment->block_count || wal->begin_segment) {
        wal->begin_segment = false;
        segment->used = segment->block_count;
        pthread_cond_signal(&wal->wanted);
        while (list_is_empty(&wal->spares) && !(wal->stopping && wal->no_space))
            pthread_cond_wait(&wal->ready, &wal->mutex);
        struct list *spare = list_pop_head(&wal->spares);
        if (spare != NULL)
            list_add_tail(&wal->live, spare);
        segment = spare != NULL ? wal_segment_last(&wal->live) : NULL;
    }
    pthread_mutex_unlock(&wal->mutex);
    return segment;
}

static void batch_write(struct wal *wal, uint64_t record_count) {
    uint32_t count = wal_batch_blocks(&wal->batch);
    struct wal_segment *segment = segment_for(wal, count);
    if (segment == NULL) {
        wal_batch_clear(&wal->batch); /* never acknowledged */
        return;
    }
    struct wal_head head = {.generation = segment->generation,
                            .batch_seq = wal->batch_seq + 1,
                            .file = segment->file,
                            .block = segment->used};
    wal_batch_encode(&wal->batch, &head, wal->blocks);
    struct err err = {0};
    uint64_t start_ns = clock_now_ns();
    if (wal_segment_write(segment, segment->used, wal->blocks, count, &err) != 0)
        space_panic(&err, "the log");
    uint64_t us = (clock_now_ns() - start_ns) / 1000;

    pthread_mutex_lock(&wal->mutex);
    wal->sync_us = (uint32_t)((wal->sync_us * (uint64_t)(SYNC_SHARE - 1) + us) / SYNC_SHARE);
    wal->batch_seq++;
    wal_segment_note(segment, wal->durable_lsn + 1, count);
    uint64_t lsn = wal->durable_lsn += record_count;
    wal->batches++;
    if (wal_wants_spare(wal))
        pthread_cond_signal(&wal->wanted);
    pthread_mutex_unlock(&wal->mutex);
    wal->durable(wal->context, lsn);
}

static uint32_t record_size(const char *frame) {
    uint32_t size;
    memcpy(&size, frame + sizeof(uint32_t), sizeof size);
    return size;
}

/* Cuts what was queued into batches, at records' ends. */
static void queue_write(struct wal *wal, const struct buf *queue) {
    size_t at = 0;
    while (at < queue->size) {
        uint64_t record_count = 0;
        while (at < queue->size) {
            uint32_t size = record_size(queue->data + at);
            if (!wal_batch_add(&wal->batch, queue->data + at, size))
                break;
            at += WAL_RECORD_HEAD + size;
            record_count++;
        }
        ASSERT(record_count > 0);
        batch_write(wal, record_count);
    }
}

void *wal_write_batches(void *argument) {
    struct wal *wal = argument;
    struct buf queue = {.limit = WAL_QUEUE_BYTES_MAX};
    pthread_setname_np(pthread_self(), "wal");
    pthread_mutex_lock(&wal->mutex);
    for (;;) {
        while (wal->queue.size == 0 && !wal->stopping)
            pthread_cond_wait(&wal->queued, &wal->mutex);
        if (wal->queue.size == 0)
            break;
        struct buf taken = wal->queue;
        wal->queue = queue;
        pthread_mutex_unlock(&wal->mutex);
        queue_write(wal, &taken);
        if (taken.room > QUEUE_BYTES_KEPT)
            buf_fini(&taken);
        buf_clear(&taken);
        queue = taken;
        pthread_mutex_lock(&wal->mutex);
    }
    pthread_mutex_unlock(&wal->mutex);
    buf_fini(&queue);
    return NULL;
}
