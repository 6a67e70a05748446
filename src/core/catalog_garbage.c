/* Chunks that no record names any more, queued by the entry that dropped them and removed once
 * their holders have. */
#include <stdlib.h>

#include "core/catalog_impl.h"

#define CHUNKS_PER_RECORD 1024u

static struct catalog_key garbage_key(const struct catalog_step *step, uint64_t sequence) {
    struct catalog_key key = catalog_key(step->group, TABLE_GARBAGE);
    catalog_key_number(&key, sequence, 8);
    return key;
}

static void queue(struct catalog_step *step, ProtobufCBinaryData *ids, size_t count) {
    for (size_t first = 0; first < count; first += CHUNKS_PER_RECORD) {
        size_t left = count - first;
        Pb__Garbage garbage = PB__GARBAGE__INIT;
        garbage.sequence = catalog_count(step, COUNTER_GARBAGE);
        garbage.queued_ms = step->now_ms;
        garbage.chunks = ids + first;
        garbage.n_chunks = left < CHUNKS_PER_RECORD ? left : CHUNKS_PER_RECORD;
        struct catalog_key key = garbage_key(step, garbage.sequence);
        catalog_store(step, &key, &garbage.base);
    }
}

static int compare_ids(const void *a, const void *b) {
    const ProtobufCBinaryData *x = a, *y = b;
    return span_compare(pb_span(*x), pb_span(*y));
}

void catalog_queue_chunks(struct catalog_step *step, struct catalog_chunks dropped,
                          struct catalog_chunks kept) {
    if (dropped.count == 0)
        return;
    ProtobufCBinaryData *used = catalog_alloc(step, (kept.count + 1) * sizeof *used);
    for (size_t i = 0; i < kept.count; i++)
        used[i] = kept.chunks[i]->id;
    qsort(used, kept.count, sizeof *used, compare_ids);
    ProtobufCBinaryData *ids = catalog_alloc(step, dropped.count * sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; i < dropped.count; i++) {
        if (bsearch(&dropped.chunks[i]->id, used, kept.count, sizeof *used, compare_ids) == NULL)
            ids[count++] = dropped.chunks[i]->id;
    }
    queue(step, ids, count);
}

void catalog_queue_garbage(struct catalog_step *step, const Pb__QueueGarbage *op) {
    for (size_t i = 0; i < op->n_chunks; i++) {
        if (!catalog_check_id(step, op->chunks[i], "chunk id"))
            return;
    }
    queue(step, op->chunks, op->n_chunks);
}

void catalog_drop_garbage(struct catalog_step *step, const Pb__DropGarbage *op) {
    for (size_t i = 0; i < op->n_sequence; i++) {
        struct catalog_key key = garbage_key(step, op->sequence[i]);
        catalog_erase(step, &key);
    }
}

/* In the order of queueing, which is that of time but for the clocks' differences: the first that
 * is too young ends it. */
void catalog_list_garbage(struct catalog_step *step, const Pb__ListGarbage *query) {
    size_t limit = query->limit > 0 && query->limit < CATALOG_LIST_MAX ? query->limit
                                                                       : CATALOG_LIST_MAX,
           bytes = 0;
    Pb__Reply *reply = step->reply;
    reply->garbage = catalog_alloc(step, limit * sizeof *reply->garbage);
    struct catalog_key prefix = catalog_key(step->group, TABLE_GARBAGE);
    struct catalog_scan scan;
    catalog_scan_open(&scan, step, &prefix);
    for (; catalog_scan_valid(&scan); catalog_scan_next(&scan)) {
        Pb__Garbage *garbage = catalog_scan_record(&scan, &pb__garbage__descriptor);
        if (garbage == NULL || garbage->queued_ms >= query->queued_before_ms)
            break;
        if (reply->n_garbage == limit || bytes > CATALOG_REPLY_BYTES_MAX) {
            reply->truncated = true;
            break;
        }
        bytes += catalog_scan_value(&scan).size;
        reply->garbage[reply->n_garbage++] = garbage;
    }
    catalog_scan_close(&scan);
}
