/* Opening and closing the log, appending to its queue, trimming. */
#include "wal/wal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/file.h"
#include "wal/log.h"

#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)

uint64_t wal_append(struct wal *wal, const struct iovec *parts, int count) {
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    ASSERT(size <= WAL_RECORD_MAX);
    uint32_t size32 = (uint32_t)size, crc_later = 0;
    pthread_mutex_lock(&wal->mutex);
    bool was_empty = wal->queue.size == 0;
    buf_append(&wal->queue, &crc_later, sizeof crc_later);
    buf_append(&wal->queue, &size32, sizeof size32);
    for (int i = 0; i < count; i++)
        buf_append(&wal->queue, parts[i].iov_base, parts[i].iov_len);
    if (wal->queue.failed)
        panic("the log: out of memory for records");
    uint64_t lsn = ++wal->appended_lsn;
    if (was_empty)
        pthread_cond_signal(&wal->queued);
    pthread_mutex_unlock(&wal->mutex);
    return lsn;
}

/* ---- trimming, status ---- */

/* The last record of the oldest segment; 0 when a trim would free nothing. */
static uint64_t trimmable_lsn(struct wal *wal) {
    if (list_is_empty(&wal->live))
        return 0;
    for (const struct list *node = wal->live.next->next; node != &wal->live; node = node->next) {
        const struct wal_segment *next = LIST_ENTRY(node, struct wal_segment, node);
        if (next->place_count > 0)
            return next->places[0].lsn - 1;
    }
    return 0;
}

void wal_trim(struct wal *wal, uint64_t lsn) {
    pthread_mutex_lock(&wal->files);
    pthread_mutex_lock(&wal->mutex);
    for (uint64_t last; (last = trimmable_lsn(wal)) != 0 && last <= lsn;)
        list_add_tail(&wal->retired, list_pop_head(&wal->live));
    pthread_cond_signal(&wal->wanted);
    pthread_mutex_unlock(&wal->mutex);
    pthread_mutex_unlock(&wal->files);
}

void wal_begin_segment(struct wal *wal) {
    pthread_mutex_lock(&wal->mutex);
    wal->begin_segment = true;
    pthread_mutex_unlock(&wal->mutex);
}

void wal_get_status(struct wal *wal, struct wal_status *ret_status) {
    pthread_mutex_lock(&wal->mutex);
    const struct wal_segment *oldest = wal_segment_first(&wal->live);
    *ret_status = (struct wal_status){
        .appended_lsn = wal->appended_lsn,
        .durable_lsn = wal->durable_lsn,
        .oldest_lsn = oldest->place_count > 0 ? oldest->places[0].lsn : wal->durable_lsn + 1,
        .trimmable_lsn = trimmable_lsn(wal),
        .batches = wal->batches,
        .batch_seq = wal->batch_seq,
        .sync_us = wal->sync_us,
    };
    LIST_FOR_EACH(node, &wal->live)
    ret_status->live_bytes +=
        (uint64_t)LIST_ENTRY(node, struct wal_segment, node)->block_count * WAL_BLOCK;
    pthread_mutex_unlock(&wal->mutex);
}

/* ---- opening, closing ---- */

/* Takes over what was recovered; segments after the first empty one are spares. */
static int segments_adopt(struct wal *wal, struct wal_recovery *recovery, struct err *err) {
    wal->file = recovery->file;
    wal->batch_seq = recovery->batch_seq;
    wal->appended_lsn = wal->durable_lsn = recovery->lsn;
    for (struct list *node; (node = list_pop_head(&recovery->segments)) != NULL;) {
        const struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        bool live = list_is_empty(&wal->live) || segment->used > 1;
        list_add_tail(live ? &wal->live : &wal->spares, node);
        wal->generation = segment->generation;
    }
    if (!list_is_empty(&wal->live))
        return 0;
    struct wal_segment *segment;
    int r = wal_segment_create(wal->dir, ++wal->file, (uint32_t)(WAL_SEGMENT_BYTES_MIN / WAL_BLOCK),
                               &segment, err);
    if (r != 0)
        return r;
    list_add_tail(&wal->live, &segment->node);
    return wal_segment_format(segment, ++wal->generation, err);
}

static struct wal *wal_new(const struct wal_options *options) {
    struct wal *wal = calloc(1, sizeof *wal);
    if (wal == NULL || (wal->dir = strdup(options->dir)) == NULL)
        panic("out of memory for the log");
    uint64_t bytes = options->segment_bytes > 0 ? options->segment_bytes : SEGMENT_BYTES_DEFAULT;
    ASSERT(bytes >= WAL_SEGMENT_BYTES_MIN);
    wal->segment_blocks = (uint32_t)(bytes / WAL_BLOCK);
    wal->durable = options->durable;
    wal->context = options->context;
    wal->blocks = wal_blocks_new(WAL_BATCH_BLOCKS_MAX);
    wal->queue.limit = WAL_QUEUE_BYTES_MAX;
    pthread_mutex_init(&wal->mutex, NULL);
    pthread_mutex_init(&wal->files, NULL);
    pthread_cond_init(&wal->queued, NULL);
    clock_cond_init(&wal->wanted);
    pthread_cond_init(&wal->ready, NULL);
    list_init(&wal->live);
    list_init(&wal->spares);
    list_init(&wal->retired);
    return wal;
}

static struct wal *wal_free(struct wal *wal) {
    struct list *const lists[] = {&wal->live, &wal->spares, &wal->retired};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct list *node; (node = list_pop_head(lists[i])) != NULL;)
            wal_segment_free(LIST_ENTRY(node, struct wal_segment, node));
    buf_fini(&wal->queue);
    wal_batch_fini(&wal->batch);
    free(wal->blocks);
    free(wal->dir);
    free(wal);
    return NULL;
}

int wal_open(const struct wal_options *options, struct wal **ret_wal, uint64_t *ret_torn_bytes,
             struct err *err) {
    struct wal_recovery recovery;
    int r = file_make_directories(options->dir, err);
    if (r == 0)
        r = wal_recover(options->dir, options->replay, options->context, &recovery, err);
    if (r != 0)
        return r;
    struct wal *wal = wal_new(options);
    r = segments_adopt(wal, &recovery, err);
    if (r != 0) {
        wal_free(wal);
        return r;
    }
    if (pthread_create(&wal->writer, NULL, wal_write_batches, wal) != 0 ||
        pthread_create(&wal->preparer, NULL, wal_keep_spares, wal) != 0)
        panic("the log: cannot start a thread");
    if (ret_torn_bytes != NULL)
        *ret_torn_bytes = (uint64_t)recovery.torn_blocks * WAL_BLOCK;
    *ret_wal = wal;
    return 0;
}

struct wal *wal_close(struct wal *wal) {
    if (wal == NULL)
        return NULL;
    pthread_mutex_lock(&wal->mutex);
    wal->stopping = true;
    pthread_cond_broadcast(&wal->queued);
    pthread_cond_broadcast(&wal->ready);
    pthread_mutex_unlock(&wal->mutex);
    pthread_join(wal->writer, NULL); /* it may need a spare: the preparer ends after it */
    pthread_mutex_lock(&wal->mutex);
    wal->written = true;
    pthread_cond_broadcast(&wal->wanted);
    pthread_mutex_unlock(&wal->mutex);
    pthread_join(wal->preparer, NULL);
    return wal_free(wal);
}
