/* One thread keeps a formatted segment ready, of a retired one or a new file. */
#include "base/assert.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/space.h"
#include "wal/log.h"

#define SPARES_MAX 2u
#define RETRY_MS 1000

static uint32_t segments_count(const struct list *segments) {
    uint32_t count = 0;
    LIST_FOR_EACH(node, segments) count++;
    return count;
}

bool wal_wants_spare(const struct wal *wal) {
    const struct wal_segment *active = wal_segment_last(&wal->live);
    return list_is_empty(&wal->spares) && active->used > active->block_count / 2;
}

/* A small segment when a whole one would leave little room; 0 and an error when even that would eat
 * into what the state stores need. */
static uint32_t blocks_with(const struct wal *wal, uint64_t free_bytes, struct err *err) {
    uint64_t whole = (uint64_t)wal->segment_blocks * WAL_BLOCK;
    if (free_bytes >= SPACE_LOW_BYTES + whole)
        return wal->segment_blocks;
    if (free_bytes >= SPACE_NONE_BYTES + WAL_SEGMENT_BYTES_MIN)
        return (uint32_t)(WAL_SEGMENT_BYTES_MIN / WAL_BLOCK);
    err_set(err, ERR_NOSPACE, "%llu MiB are left on the disk",
            (unsigned long long)free_bytes >> 20);
    return 0;
}

static int file_make(struct wal *wal, struct wal_segment **ret_segment, struct err *err) {
    uint64_t free_bytes, total_bytes;
    int r = space_get(wal->dir, &free_bytes, &total_bytes, err);
    uint32_t blocks = r == 0 ? blocks_with(wal, free_bytes, err) : 0;
    if (r != 0 || blocks == 0)
        return r != 0 ? r : ERR_NOSPACE;
    r = wal_segment_create(wal->dir, wal->file + 1, blocks, ret_segment, err);
    wal->file += r == 0;
    return r;
}

/* Makes one spare, of a retired segment or a new file. */
static int spare_make(struct wal *wal, struct wal_segment *retired, struct err *err) {
    struct wal_segment *segment = retired;
    int r = segment == NULL ? file_make(wal, &segment, err) : 0;
    if (r != 0)
        return r;
    if (wal_segment_format(segment, wal->generation + 1, err) != 0)
        space_panic(err, "the log");
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
        space_panic(&err, "the log");
}

void *wal_keep_spares(void *argument) {
    struct wal *wal = argument;
    pthread_mutex_lock(&wal->mutex);
    while (!wal->written) {
        struct list *retired = list_pop_head(&wal->retired);
        if (retired == NULL && !wal_wants_spare(wal)) {
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
            space_panic(&err, "the log");
        pthread_mutex_lock(&wal->mutex);
        bool told = wal->no_space;
        wal->no_space = r == ERR_NOSPACE;
        if (wal->no_space) { /* the writer waits when it must; nothing is acknowledged meanwhile */
            pthread_cond_signal(&wal->ready);
            if (!told)
                log_warn("no room for the log's next segment: %s", err.text);
            clock_cond_wait(&wal->wanted, &wal->mutex, clock_deadline_ms(RETRY_MS));
        }
    }
    pthread_mutex_unlock(&wal->mutex);
    return NULL;
}
