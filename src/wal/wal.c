/* The log's two threads: the writer, and the one that keeps a spare segment ready. */
#include "wal/wal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "wal/segment.h"

#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define SEGMENT_BYTES_MIN                                                                          \
    ((uint64_t)8 << 20) /* also of a new log's first: an idle node writes little */
#define SPARES_MAX 2u
#define QUEUE_BYTES_MAX ((size_t)2 << 30)
#define QUEUE_BYTES_KEPT ((size_t)1 << 20)
#define RETRY_MS 1000

struct wal {
    char *dir;
    uint32_t segment_blocks;
    void (*durable)(void *context, uint64_t lsn);
    void *context;
    pthread_t writer;
    pthread_t preparer;
    char *blocks; /* the writer's: a batch on its way to the disk */
    uint64_t batch_seq;
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
    struct list live;   /* segments with batches; the last is written to */
    struct list spares; /* formatted */
    struct list retired;
    bool no_space; /* the preparer could not make a spare */
    bool stopping; /* the writer ends, then the preparer */
    bool written;
    pthread_mutex_t files; /* held while a segment not at the tail is read or retired */
};

static struct wal_segment *segment_first(struct list *segments) {
    return LIST_ENTRY(segments->next, struct wal_segment, node);
}

static struct wal_segment *segment_last(struct list *segments) {
    return LIST_ENTRY(segments->prev, struct wal_segment, node);
}

static uint32_t segments_count(const struct list *segments) {
    uint32_t count = 0;
    LIST_FOR_EACH(node, segments) count++;
    return count;
}

/* ---- spare segments ---- */

static bool spare_wanted(struct wal *wal) {
    const struct wal_segment *active = segment_last(&wal->live);
    return list_is_empty(&wal->spares) && active->used > active->block_count / 2;
}

/* Makes one spare, of a retired segment or a new file. */
static int spare_make(struct wal *wal, struct wal_segment *retired, struct err *err) {
    struct wal_segment *segment = retired;
    int r = 0;
    if (segment == NULL)
        r = wal_segment_create(wal->dir, wal->file + 1, wal->segment_blocks, &segment, err);
    if (r != 0)
        return r;
    if (retired == NULL)
        wal->file++;
    r = wal_segment_format(segment, wal->generation + 1, err);
    if (r != 0)
        panic("the log: %s", err->text);
    wal->generation++;
    pthread_mutex_lock(&wal->mutex);
    list_add_tail(&wal->spares, &segment->node);
    pthread_cond_broadcast(&wal->ready);
    pthread_mutex_unlock(&wal->mutex);
    return 0;
}

/* A retired segment is used again, or removed when there are enough. */
static void retired_deal(struct wal *wal, struct wal_segment *segment, bool enough) {
    struct err err = {0};
    int r;
    if (enough || segment->block_count != wal->segment_blocks)
        r = wal_segment_delete(wal->dir, segment, &err);
    else
        r = spare_make(wal, segment, &err);
    if (r != 0)
        panic("the log: %s", err.text);
}

static void *prepare(void *argument) {
    struct wal *wal = argument;
    pthread_mutex_lock(&wal->mutex);
    while (!wal->written) {
        struct list *retired = list_pop_head(&wal->retired);
        if (retired == NULL && !spare_wanted(wal)) {
            pthread_cond_wait(&wal->wanted, &wal->mutex);
            continue;
        }
        bool enough = segments_count(&wal->spares) >= SPARES_MAX;
        pthread_mutex_unlock(&wal->mutex);
        struct err err = {0};
        int r = 0;
        if (retired != NULL)
            retired_deal(wal, LIST_ENTRY(retired, struct wal_segment, node), enough);
        else
            r = spare_make(wal, NULL, &err);
        if (r != 0 && r != ERR_NOSPACE)
            panic("the log: %s", err.text);
        pthread_mutex_lock(&wal->mutex);
        wal->no_space = r == ERR_NOSPACE;
        if (wal->no_space) { /* the writer waits when it must; nothing is acknowledged meanwhile */
            pthread_cond_signal(&wal->ready);
            log_warn("no room for the log's next segment: %s", err.text);
            clock_cond_wait(&wal->wanted, &wal->mutex, clock_deadline_ms(RETRY_MS));
        }
    }
    pthread_mutex_unlock(&wal->mutex);
    return NULL;
}

/* ---- the writer ---- */

/* The segment that takes the batch; waits for a spare. NULL when there is no room and the log is
 * being closed. */
static struct wal_segment *segment_for(struct wal *wal, uint32_t blocks) {
    pthread_mutex_lock(&wal->mutex);
    struct wal_segment *segment = segment_last(&wal->live);
    if (segment->used + blocks > segment->block_count) {
        segment->used = segment->block_count;
        pthread_cond_signal(&wal->wanted);
        while (list_is_empty(&wal->spares) && !(wal->stopping && wal->no_space))
            pthread_cond_wait(&wal->ready, &wal->mutex);
        struct list *spare = list_pop_head(&wal->spares);
        if (spare != NULL)
            list_add_tail(&wal->live, spare);
        segment = spare != NULL ? segment_last(&wal->live) : NULL;
    }
    pthread_mutex_unlock(&wal->mutex);
    return segment;
}

static void batch_write(struct wal *wal, struct span payload, uint64_t record_count) {
    uint32_t count = wal_blocks_of(payload.size);
    struct wal_segment *segment = segment_for(wal, count);
    if (segment == NULL)
        return; /* never acknowledged */
    struct wal_head head = {.generation = segment->generation,
                            .batch_seq = wal->batch_seq + 1,
                            .file = segment->file,
                            .block = segment->used,
                            .kind = WAL_DATA};
    wal_batch_encode(&head, payload, wal->blocks);
    struct err err = {0};
    if (wal_segment_write(segment, segment->used, wal->blocks, count, &err) != 0)
        panic("the log: %s", err.text);

    pthread_mutex_lock(&wal->mutex);
    wal->batch_seq++;
    wal_segment_note(segment, wal->durable_lsn + 1, count);
    uint64_t lsn = wal->durable_lsn += record_count;
    wal->batches++;
    if (spare_wanted(wal))
        pthread_cond_signal(&wal->wanted);
    pthread_mutex_unlock(&wal->mutex);
    wal->durable(wal->context, lsn);
}

static size_t frame_size(const char *frame) {
    uint32_t size;
    memcpy(&size, frame + sizeof(uint32_t), sizeof size);
    return WAL_RECORD_HEAD + size;
}

/* Cuts what was queued into batches, at records' ends. */
static void queue_write(struct wal *wal, const struct buf *queue) {
    size_t at = 0;
    while (at < queue->size) {
        size_t start = at;
        uint64_t record_count = 0;
        while (at < queue->size &&
               at - start + frame_size(queue->data + at) <= WAL_BATCH_BYTES_MAX) {
            size_t size = frame_size(queue->data + at);
            wal_record_seal(queue->data + at, size - WAL_RECORD_HEAD);
            at += size;
            record_count++;
        }
        batch_write(wal, (struct span){queue->data + start, at - start}, record_count);
    }
}

static void *write_batches(void *argument) {
    struct wal *wal = argument;
    struct buf queue = {.limit = QUEUE_BYTES_MAX};
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

/* ---- trimming, status, reading ---- */

/* The last record of the oldest segment; 0 when a trim would free nothing. */
static uint64_t trimmable_lsn(struct wal *wal) {
    const struct list *second = wal->live.next->next;
    if (second == &wal->live)
        return 0;
    const struct wal_segment *next = LIST_ENTRY(second, struct wal_segment, node);
    return next->place_count > 0 ? next->places[0].lsn - 1 : 0;
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

void wal_get_status(struct wal *wal, struct wal_status *ret_status) {
    pthread_mutex_lock(&wal->mutex);
    const struct wal_segment *oldest = segment_first(&wal->live);
    *ret_status = (struct wal_status){
        .appended_lsn = wal->appended_lsn,
        .durable_lsn = wal->durable_lsn,
        .oldest_lsn = oldest->place_count > 0 ? oldest->places[0].lsn : wal->durable_lsn + 1,
        .trimmable_lsn = trimmable_lsn(wal),
        .batches = wal->batches,
    };
    LIST_FOR_EACH(node, &wal->live)
    ret_status->live_bytes +=
        (uint64_t)LIST_ENTRY(node, struct wal_segment, node)->block_count * WAL_BLOCK;
    pthread_mutex_unlock(&wal->mutex);
}

void wal_reader_fini(struct wal_reader *reader) {
    free(reader->blocks);
    free(reader->payload);
    *reader = (struct wal_reader){0};
}

/* Where the record's batch is, and the lsn after its last record. */
static struct wal_segment *place_find(struct wal *wal, uint64_t lsn, struct wal_place *ret_place,
                                      uint64_t *ret_end_lsn) {
    struct wal_segment *found = NULL;
    pthread_mutex_lock(&wal->mutex);
    *ret_end_lsn = wal->durable_lsn + 1;
    for (struct list *node = wal->live.prev; lsn <= wal->durable_lsn && node != &wal->live;
         node = node->prev) {
        struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        const struct wal_place *place = wal_segment_find(segment, lsn);
        if (place != NULL) {
            *ret_place = *place;
            if (place + 1 < segment->places + segment->place_count)
                *ret_end_lsn = place[1].lsn;
            found = segment;
            break;
        }
        if (segment->place_count > 0)
            *ret_end_lsn = segment->places[0].lsn;
    }
    pthread_mutex_unlock(&wal->mutex);
    return found;
}

static int batch_read(struct wal_reader *reader, const struct wal_segment *segment,
                      const struct wal_place *place, struct err *err) {
    if (reader->block_room < place->count) {
        wal_reader_fini(reader);
        reader->blocks = wal_blocks_new(place->count);
        reader->payload = wal_blocks_new(place->count);
        reader->block_room = place->count;
    }
    int r = wal_segment_read(segment, place->block, reader->blocks, place->count, err);
    size_t size = 0;
    for (uint32_t i = 0; r == 0 && i < place->count; i++) {
        struct wal_head head;
        const char *block = reader->blocks + (size_t)i * WAL_BLOCK;
        if (!wal_block_valid(block, &head) || head.generation != segment->generation ||
            head.index != i || head.block != place->block + i)
            return err_set(err, ERR_CORRUPT, "%08u.log block %u cannot be read back", segment->file,
                           place->block + i);
        size += wal_block_payload(block, reader->payload + size);
    }
    reader->rest = (struct span){reader->payload, size};
    return r;
}

int wal_read(struct wal *wal, struct wal_reader *reader, uint64_t lsn, struct span *ret_record,
             struct err *err) {
    if (lsn < reader->next_lsn || lsn >= reader->end_lsn) {
        struct wal_place place;
        uint64_t end_lsn;
        reader->end_lsn = 0;
        pthread_mutex_lock(&wal->files);
        struct wal_segment *segment = place_find(wal, lsn, &place, &end_lsn);
        int r = segment != NULL ? batch_read(reader, segment, &place, err) : ERR_NOT_FOUND;
        pthread_mutex_unlock(&wal->files);
        if (r != 0)
            return r != ERR_NOT_FOUND
                       ? r
                       : err_set(err, r, "record %llu of the log", (unsigned long long)lsn);
        reader->next_lsn = place.lsn;
        reader->end_lsn = end_lsn;
    }
    for (;;) {
        int r = wal_record_next(&reader->rest, ret_record, err);
        if (r != 0)
            return r == ERR_NOT_FOUND ? err_set(err, ERR_CORRUPT, "a batch has too few records")
                                      : r;
        if (reader->next_lsn++ == lsn)
            return 0;
    }
}

/* ---- opening, closing ---- */

/* Takes over what was recovered; segments after the first empty one are spares. */
static int segments_adopt(struct wal *wal, struct wal_recovery *recovery, struct err *err) {
    wal->file = recovery->file;
    wal->batch_seq = recovery->batch_seq;
    wal->appended_lsn = wal->durable_lsn = recovery->lsn;
    for (struct list *node; (node = list_pop_head(&recovery->segments)) != NULL;) {
        const struct wal_segment *segment = LIST_ENTRY(node, struct wal_segment, node);
        bool live = list_is_empty(&wal->live) || segment->place_count > 0;
        list_add_tail(live ? &wal->live : &wal->spares, node);
        wal->generation = segment->generation;
    }
    if (!list_is_empty(&wal->live))
        return 0;
    struct wal_segment *segment;
    int r = wal_segment_create(wal->dir, ++wal->file, (uint32_t)(SEGMENT_BYTES_MIN / WAL_BLOCK),
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
    ASSERT(bytes >= SEGMENT_BYTES_MIN);
    wal->segment_blocks = (uint32_t)(bytes / WAL_BLOCK);
    wal->durable = options->durable;
    wal->context = options->context;
    wal->blocks = wal_blocks_new(WAL_BATCH_BLOCKS_MAX);
    wal->queue.limit = QUEUE_BYTES_MAX;
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
    if (pthread_create(&wal->writer, NULL, write_batches, wal) != 0 ||
        pthread_create(&wal->preparer, NULL, prepare, wal) != 0)
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
