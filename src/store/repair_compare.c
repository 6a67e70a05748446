/* Comparing with another owner: digests of all slices first, then the chunks of those that differ.
 * Deaths win over life. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "os/clock.h"
#include "store/message.h"
#include "store/repair_work.h"

#define CALL_MS_MAX 10000
#define SETTLED_MS 2000 /* younger chunks may still be on their way here */

/* Notes what is missing of a page, and carries out deaths that were missed. */
static int compare_items(struct repair_work *work, uint32_t peer,
                         const struct chunk_list_item *items, size_t count, struct err *err) {
    struct store *store = work->store;
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
            work->count < MISSING_MAX)
            work->missing[work->count++] = (struct missing){items[i], peer};
    }
    return dead_count > 0 ? local_delete(store, dead, dead_count, err) : 0;
}

static int compare_slice(struct repair_work *work, uint32_t peer, unsigned slice_bits,
                         uint32_t slice, struct err *err) {
    struct chunk_list_request request = {.slice_bits = slice_bits, .slice = slice};
    size_t count = LIST_ITEMS_MAX;
    while (count == LIST_ITEMS_MAX && work->count < MISSING_MAX) {
        _cleanup_(buf_finip) struct buf body = BUF_INIT;
        struct span bytes = {(const char *)&request, sizeof request};
        int rc = rpc_call(work->store->client, peer, RPC_CHUNK_LIST, bytes, true /* idempotent */,
                          clock_deadline_ms(CALL_MS_MAX), &body, err);
        if (rc != 0)
            return rc;
        const struct chunk_list_item *items =
            (const struct chunk_list_item *)(const void *)body.data;
        count = body.size / sizeof *items;
        if (body.size % sizeof *items != 0 || count > LIST_ITEMS_MAX)
            return err_set(err, ERR_PROTOCOL, "node %u: a malformed list of chunks", peer);
        rc = compare_items(work, peer, items, count, err);
        if (rc != 0)
            return rc;
        if (count > 0)
            request.after = items[count - 1].id;
    }
    return 0;
}

static int compare_digests(struct repair_work *work, const struct place_map *map, uint32_t peer,
                           const uint64_t *theirs, struct err *err) {
    uint32_t self = work->store->identity.node_id;
    _cleanup_(freep) uint64_t *ours = calloc(place_slice_count(map), sizeof *ours);
    if (ours == NULL)
        return err_set(err, ERR_NOMEM, "digests");
    index_digests(work->store->index, map->slice_bits, ours);
    int rc = 0;
    for (uint32_t slice = 0;
         rc == 0 && slice < place_slice_count(map) && !atomic_load(work->stopping); slice++) {
        if (ours[slice] != theirs[slice] && place_owns(map, slice, self) &&
            place_owns(map, slice, peer))
            rc = compare_slice(work, peer, map->slice_bits, slice, err);
    }
    return rc;
}

int repair_compare(struct repair_work *work, const struct place_map *map, uint32_t peer,
                   struct err *err) {
    struct chunk_digests_request request = {.slice_bits = map->slice_bits};
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct span bytes = {(const char *)&request, sizeof request};
    int rc = rpc_call(work->store->client, peer, RPC_CHUNK_DIGESTS, bytes, true /* idempotent */,
                      clock_deadline_ms(CALL_MS_MAX), &body, err);
    if (rc != 0)
        return rc;
    if (body.size != sizeof(uint64_t) << map->slice_bits)
        return err_set(err, ERR_PROTOCOL, "node %u: malformed digests", peer);
    return compare_digests(work, map, peer, (const uint64_t *)(const void *)body.data, err);
}
