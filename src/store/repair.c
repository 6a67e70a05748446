/* Repair in rounds: the digests of all shared slices are compared with each peer, the slices that
 * differ are listed, and what is missing here is fetched by a few threads. Deaths win over life. */
#include "store/repair.h"

#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "meta/client.h"
#include "os/clock.h"
#include "store/message.h"
#include "store/peer.h"

#define ROUND_MS 5000
#define POLL_MS 250 /* for a new map */
#define CALL_MS_MAX 10000
#define FETCH_MS_MAX 120000
#define SETTLED_MS 2000   /* younger chunks may still be on their way here */
#define MISSING_MAX 4096u /* of a round */
#define FETCHERS 4
#define FLUSH_MS 30000
#define EXPIRE_MS (24 * 3600 * 1000)

/* A chunk that a peer has and this node has not. */
struct missing {
    struct chunk_list_item item;
    uint32_t node; /* that has it */
};

struct repair {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    bool woken;
    atomic_uint_fast64_t missing_count;
    atomic_uint_fast64_t repaired_count;
    /* of the round, by the repair thread; the fetchers read it */
    struct missing missing[MISSING_MAX];
    unsigned count;
    atomic_uint next; /* to be fetched */
    uint64_t flushed_ns;
    uint64_t expired_ns;
    bool failure_told;
};

static bool is_stopping(struct repair *repair) {
    pthread_mutex_lock(&repair->lock);
    bool stopping = repair->stopping;
    pthread_mutex_unlock(&repair->lock);
    return stopping;
}

/* ---- comparing with a peer ---- */

static bool owns(const struct place_map *map, uint32_t slice, uint32_t node) {
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(map, slice, owners);
    for (unsigned i = 0; i < count; i++) {
        if (owners[i] == node)
            return true;
    }
    return false;
}

/* Notes what is missing of a page, and carries out deaths that were missed. */
static int compare_items(struct repair *repair, uint32_t peer, const struct chunk_list_item *items,
                         size_t count, struct err *err) {
    struct store *store = repair->store;
    struct id128 dead[LIST_ITEMS_MAX];
    unsigned dead_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct index_entry entry;
        int rc = index_get(store->index, items[i].id, &entry, err);
        if (rc != 0)
            return store_check(store, rc);
        bool held = entry.state == CHUNK_LIVE || entry.state == CHUNK_BAD;
        if (items[i].state == CHUNK_DEAD && held)
            dead[dead_count++] = items[i].id;
        bool wanted = entry.state == CHUNK_NONE || entry.state == CHUNK_BAD;
        if (items[i].state == CHUNK_LIVE && wanted && items[i].age_ms >= SETTLED_MS &&
            repair->count < MISSING_MAX)
            repair->missing[repair->count++] = (struct missing){items[i], peer};
    }
    return dead_count > 0 ? local_delete(store, dead, dead_count, err) : 0;
}

static int compare_slice(struct repair *repair, uint32_t peer, unsigned slice_bits, uint32_t slice,
                         struct err *err) {
    struct chunk_list_request request = {.slice_bits = slice_bits, .slice = slice};
    size_t count = LIST_ITEMS_MAX;
    while (count == LIST_ITEMS_MAX && repair->count < MISSING_MAX) {
        _cleanup_(buf_finip) struct buf body = BUF_INIT;
        struct span bytes = {(const char *)&request, sizeof request};
        int rc = rpc_call(repair->store->client, peer, RPC_CHUNK_LIST, bytes, true /* idempotent */,
                          clock_deadline_ms(CALL_MS_MAX), &body, err);
        if (rc != 0)
            return rc;
        const struct chunk_list_item *items =
            (const struct chunk_list_item *)(const void *)body.data;
        count = body.size / sizeof *items;
        if (body.size % sizeof *items != 0 || count > LIST_ITEMS_MAX)
            return err_set(err, ERR_PROTOCOL, "node %u: a malformed list of chunks", peer);
        rc = compare_items(repair, peer, items, count, err);
        if (rc != 0)
            return rc;
        if (count > 0)
            request.after = items[count - 1].id;
    }
    return 0;
}

static int compare_digests(struct repair *repair, const struct place_map *map, uint32_t peer,
                           const uint64_t *theirs, struct err *err) {
    uint32_t self = repair->store->identity.node_id;
    _cleanup_(freep) uint64_t *ours = calloc(place_slice_count(map), sizeof *ours);
    if (ours == NULL)
        return err_set(err, ERR_NOMEM, "digests");
    index_digests(repair->store->index, map->slice_bits, ours);
    int rc = 0;
    for (uint32_t slice = 0; rc == 0 && slice < place_slice_count(map) && !is_stopping(repair);
         slice++) {
        if (ours[slice] != theirs[slice] && owns(map, slice, self) && owns(map, slice, peer))
            rc = compare_slice(repair, peer, map->slice_bits, slice, err);
    }
    return rc;
}

static int compare_peer(struct repair *repair, const struct place_map *map, uint32_t peer,
                        struct err *err) {
    struct chunk_digests_request request = {.slice_bits = map->slice_bits};
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct span bytes = {(const char *)&request, sizeof request};
    int rc = rpc_call(repair->store->client, peer, RPC_CHUNK_DIGESTS, bytes, true /* idempotent */,
                      clock_deadline_ms(CALL_MS_MAX), &body, err);
    if (rc != 0)
        return rc;
    if (body.size != sizeof(uint64_t) << map->slice_bits)
        return err_set(err, ERR_PROTOCOL, "node %u: malformed digests", peer);
    return compare_digests(repair, map, peer, (const uint64_t *)(const void *)body.data, err);
}

/* ---- fetching ---- */

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

/* The list is sorted: entries of one chunk, by several peers, lie together. */
static bool is_first_of_chunk(const struct repair *repair, unsigned i) {
    return i == 0 || compare_missing(&repair->missing[i - 1], &repair->missing[i]) != 0;
}

/* From the first peer that can give it. */
static void fetch_chunk(struct repair *repair, unsigned first) {
    unsigned i = first;
    do {
        struct err err = {0};
        int rc = fetch(repair->store, &repair->missing[i], &err);
        if (rc == 0)
            atomic_fetch_add(&repair->repaired_count, 1);
        if (rc == 0 || rc == ERR_EXISTS || rc == ERR_CONFLICT)
            return;
        log_debug("repair: node %u: %s", repair->missing[i].node, err_message(&err, rc));
    } while (++i < repair->count && !is_first_of_chunk(repair, i));
}

static void *fetcher_run(void *context) {
    struct repair *repair = context;
    for (unsigned i;
         (i = atomic_fetch_add(&repair->next, 1)) < repair->count && !is_stopping(repair);) {
        if (is_first_of_chunk(repair, i))
            fetch_chunk(repair, i);
    }
    return NULL;
}

/* The repair thread fetches, too: one that cannot start is not missed. */
static void fetch_all(struct repair *repair) {
    pthread_t threads[FETCHERS - 1];
    unsigned started = 0;
    atomic_store(&repair->next, 0);
    while (started < FETCHERS - 1 && started + 1 < repair->count &&
           pthread_create(&threads[started], NULL, fetcher_run, repair) == 0)
        started++;
    fetcher_run(repair);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* How many chunks of the round are still not here. */
static unsigned count_missing(struct repair *repair) {
    unsigned count = 0;
    for (unsigned i = 0; i < repair->count; i++) {
        struct index_entry entry;
        if (is_first_of_chunk(repair, i) &&
            index_get(repair->store->index, repair->missing[i].item.id, &entry, NULL) == 0)
            count += entry.state == CHUNK_NONE || entry.state == CHUNK_BAD;
    }
    return count;
}

/* ---- rounds ---- */

/* Whether there may be more to do at once. */
static bool repair_round(struct repair *repair, const struct place_map *map) {
    uint64_t repaired_before = atomic_load(&repair->repaired_count);
    repair->count = 0;
    for (uint32_t i = 0; i < map->node_count && !is_stopping(repair); i++) {
        const struct place_node *node = &map->nodes[i];
        if (node->id == repair->store->identity.node_id || node->down ||
            !(node->roles & ROLE_STORE))
            continue;
        struct err err = {0};
        int rc = compare_peer(repair, map, node->id, &err);
        if (rc != 0)
            log_debug("repair: node %u: %s", node->id, err_message(&err, rc));
    }
    bool full = repair->count == MISSING_MAX;
    qsort(repair->missing, repair->count, sizeof *repair->missing, compare_missing);
    atomic_store(&repair->missing_count, count_missing(repair));
    fetch_all(repair);
    atomic_store(&repair->missing_count, count_missing(repair));
    uint64_t repaired = atomic_load(&repair->repaired_count) - repaired_before;
    if (repaired > 0)
        log_info("repair: %llu chunks fetched", (unsigned long long)repaired);
    return full && repaired > 0;
}

static void keep_house(struct repair *repair) {
    struct store *store = repair->store;
    uint64_t now_ns = clock_now_ns();
    if (now_ns - repair->flushed_ns > FLUSH_MS * NS_PER_MS) { /* recovery has less to read */
        (void)store_check(store, index_flush(store->index, NULL));
        repair->flushed_ns = now_ns;
    }
    if (now_ns - repair->expired_ns > EXPIRE_MS * NS_PER_MS || repair->expired_ns == 0) {
        (void)store_check(store, index_expire(store->index, clock_wall_ms(), NULL));
        repair->expired_ns = now_ns;
    }
    if (atomic_load(&store->failed) && !repair->failure_told) {
        log_error("the disk under the chunks has failed: nothing more is written to it");
        repair->failure_told = true;
    }
}

/* Until the round's time is over, the map changes, somebody wakes it or it is to stop; returns
 * whether it goes on. */
static bool wait_for_round(struct repair *repair, uint64_t epoch) {
    struct meta_client *meta = atomic_load(&repair->store->meta);
    uint64_t deadline_ns = clock_deadline_ms(ROUND_MS);
    pthread_mutex_lock(&repair->lock);
    while (!repair->stopping && !repair->woken && clock_now_ns() < deadline_ns) {
        struct place_map *map = meta_map(meta);
        bool changed = map->epoch != epoch;
        place_map_unref(map);
        if (changed)
            break;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_MS * (long)NS_PER_MS;
        until.tv_sec += until.tv_nsec / (long)NS_PER_S;
        until.tv_nsec %= (long)NS_PER_S;
        pthread_cond_timedwait(&repair->changed, &repair->lock, &until);
    }
    repair->woken = false;
    bool go_on = !repair->stopping;
    pthread_mutex_unlock(&repair->lock);
    return go_on;
}

static void *repair_run(void *context) {
    struct repair *repair = context;
    bool more = false;
    uint64_t epoch = 0;
    do {
        struct place_map *map = meta_map(atomic_load(&repair->store->meta));
        epoch = map->epoch;
        more = !atomic_load(&repair->store->failed) && repair_round(repair, map);
        place_map_unref(map);
        keep_house(repair);
    } while (more ? !is_stopping(repair) : wait_for_round(repair, epoch));
    return NULL;
}

int repair_start(struct store *store, struct repair **ret_repair, struct err *err) {
    struct repair *repair = calloc(1, sizeof *repair);
    if (repair == NULL)
        return err_set(err, ERR_NOMEM, "repair");
    repair->store = store;
    repair->flushed_ns = clock_now_ns();
    pthread_mutex_init(&repair->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&repair->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failed_errno = pthread_create(&repair->thread, NULL, repair_run, repair);
    if (failed_errno != 0) {
        free(repair);
        return err_errno(err, failed_errno, "the repair thread");
    }
    *ret_repair = repair;
    return 0;
}

struct repair *repair_stop(struct repair *repair) {
    if (repair == NULL)
        return NULL;
    pthread_mutex_lock(&repair->lock);
    repair->stopping = true;
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->lock);
    pthread_join(repair->thread, NULL);
    pthread_cond_destroy(&repair->changed);
    pthread_mutex_destroy(&repair->lock);
    free(repair);
    return NULL;
}

void repair_wake(struct repair *repair) {
    if (repair == NULL)
        return;
    pthread_mutex_lock(&repair->lock);
    repair->woken = true;
    pthread_cond_signal(&repair->changed);
    pthread_mutex_unlock(&repair->lock);
}

void repair_counts(struct repair *repair, uint64_t *ret_missing, uint64_t *ret_repaired) {
    *ret_missing = repair != NULL ? atomic_load(&repair->missing_count) : 0;
    *ret_repaired = repair != NULL ? atomic_load(&repair->repaired_count) : 0;
}
