/* Fetching what is missing, by a few threads. */
#include <stdlib.h>

#include "base/log.h"
#include "os/clock.h"
#include "store/peer.h"
#include "store/repair_work.h"

#define FETCH_MS_MAX 120000
#define FETCHERS 4

static int sink_local(void *context, const void *data, size_t size) {
    return local_write_append(context, data, size, NULL);
}

/* ERR_EXISTS, ERR_CONFLICT: it came, or was deleted, meanwhile. */
static int fetch(struct store *store, const struct missing *missing, struct err *err) {
    const struct chunk_list_item *item = &missing->item;
    struct local_write *write;
    int rc = local_write_begin(store, item->id, item->length, &write, err);
    if (rc != 0)
        return rc;
    struct chunk_read_request range = {.id = item->id, .offset = 0, .length = item->length};
    rc = peer_read(store->client, missing->node, &range, sink_local, write,
                   clock_deadline_ms(FETCH_MS_MAX), err);
    if (rc == 0)
        return local_write_end(write, item->length, item->crc32c, err);
    local_write_abort(write);
    return rc;
}

static int compare_missing(const void *a, const void *b) {
    const struct missing *x = a, *y = b;
    return memcmp(x->item.id.bytes, y->item.id.bytes, sizeof x->item.id.bytes);
}

void repair_sort(struct repair_work *work) {
    qsort(work->missing, work->count, sizeof *work->missing, compare_missing);
}

static bool is_first_of_chunk(const struct repair_work *work, unsigned i) {
    return i == 0 || compare_missing(&work->missing[i - 1], &work->missing[i]) != 0;
}

/* From the first peer that can give it. */
static void fetch_chunk(struct repair_work *work, unsigned first) {
    unsigned i = first;
    do {
        struct err err = {0};
        int rc = fetch(work->store, &work->missing[i], &err);
        if (rc == 0)
            atomic_fetch_add(&work->fetched_count, 1);
        if (rc == 0 || rc == ERR_EXISTS || rc == ERR_CONFLICT)
            return;
        log_debug("repair: node %u: %s", work->missing[i].node, err_message(&err, rc));
    } while (++i < work->count && !is_first_of_chunk(work, i));
}

static void *fetcher_run(void *context) {
    struct repair_work *work = context;
    for (unsigned i;
         (i = atomic_fetch_add(&work->next, 1)) < work->count && !atomic_load(work->stopping);) {
        if (is_first_of_chunk(work, i))
            fetch_chunk(work, i);
    }
    return NULL;
}

/* The caller fetches, too: a thread that cannot start is not missed. */
void repair_fetch(struct repair_work *work) {
    pthread_t threads[FETCHERS - 1];
    unsigned started = 0;
    atomic_store(&work->next, 0);
    while (started < FETCHERS - 1 && started + 1 < work->count &&
           pthread_create(&threads[started], NULL, fetcher_run, work) == 0)
        started++;
    fetcher_run(work);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

unsigned repair_count_missing(struct repair_work *work) {
    unsigned count = 0;
    for (unsigned i = 0; i < work->count; i++) {
        struct index_entry entry;
        if (is_first_of_chunk(work, i) &&
            index_get(work->store->index, work->missing[i].item.id, &entry, NULL) == 0)
            count += entry.state == CHUNK_NONE || entry.state == CHUNK_BAD;
    }
    return count;
}
