/* The store's client: made, freed, and what needs neither stream nor choice. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "os/space.h"
#include "store/client_internal.h"
#include "store/store.h"

#define AVOID_MS 1000

struct store_client *store_client_new(struct store *local, uint32_t self, struct meta_client *meta,
                                      struct rpc_client *rpc) {
    struct store_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        panic("out of memory for the store's client");
    client->local = local;
    client->self = self;
    client->meta = meta;
    client->rpc = rpc;
    return client;
}

struct store_client *store_client_free(struct store_client *client) {
    free(client);
    return NULL;
}

bool client_node_is_up(struct store_client *client, const struct place_map *map, uint32_t node) {
    const struct place_node *known = place_node(map, node);
    return known != NULL && !known->down && node <= PLACE_NODES_MAX &&
           atomic_load(&client->avoid_until_ns[node]) <= clock_now_ns();
}

void client_avoid_node(struct store_client *client, uint32_t node) {
    if (node <= PLACE_NODES_MAX)
        atomic_store(&client->avoid_until_ns[node], clock_deadline_ms(AVOID_MS));
}

int store_open_local(struct store_client *client, struct id128 chunk_id, int *ret_fd,
                     struct err *err) {
    if (client->local == NULL)
        return err_set(err, ERR_NOT_FOUND, "this node stores no chunks");
    return local_open(client->local, chunk_id, ret_fd, err);
}

/* ---- deleting ---- */

static int delete_on(struct store_client *client, uint32_t node, const struct id128 *ids,
                     unsigned count, uint64_t deadline_ns, struct err *err) {
    if (node == client->self && client->local != NULL)
        return local_delete(client->local, ids, count, err);
    _cleanup_(buf_finip) struct buf body = BUF_INIT;
    struct span request = {(const char *)ids, count * sizeof *ids};
    return rpc_call(client->rpc, node, RPC_CHUNK_DELETE, request, true /* idempotent */,
                    deadline_ns, &body, err);
}

/* Tells one node of those of the ids that are its; counts in told. */
static int delete_its(struct store_client *client, const struct place_map *map, uint32_t node,
                      const struct id128 *ids, unsigned count, uint64_t deadline_ns, uint8_t *told,
                      struct err *err) {
    struct id128 *its = calloc(count, sizeof *its);
    if (its == NULL)
        return err_set(err, ERR_NOMEM, "%u chunks to delete", count);
    unsigned its_count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (place_owns(map, place_slice_of(map, ids[i]), node))
            its[its_count++] = ids[i];
    }
    int rc = its_count > 0 ? delete_on(client, node, its, its_count, deadline_ns, err) : 0;
    for (unsigned i = 0; rc == 0 && i < count; i++)
        told[i] += place_owns(map, place_slice_of(map, ids[i]), node);
    free(its);
    return rc;
}

static int delete_some(struct store_client *client, const struct place_map *map,
                       const struct id128 *ids, unsigned count, uint64_t deadline_ns,
                       struct err *err) {
    ASSERT(count <= DELETE_IDS_MAX);
    uint8_t told[DELETE_IDS_MAX] = {0};
    struct err failure = {0};
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (client_node_is_up(client, map, map->nodes[i].id))
            (void)delete_its(client, map, map->nodes[i].id, ids, count, deadline_ns, told,
                             &failure);
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t owners[PLACE_REPLICAS_MAX];
        if (told[i] < place_owners(map, place_slice_of(map, ids[i]), owners) / 2 + 1)
            return err_set(err, failure.code != 0 ? failure.code : ERR_TIMEOUT,
                           "chunks to delete: most of their holders cannot be told: %s",
                           failure.text);
    }
    return 0;
}

int store_delete(struct store_client *client, const struct id128 *chunk_ids, unsigned count,
                 uint64_t deadline_ns, struct err *err) {
    struct place_map *map = meta_map(client->meta);
    int rc = 0;
    while (rc == 0 && count > 0) {
        unsigned step = count < DELETE_IDS_MAX ? count : DELETE_IDS_MAX;
        rc = delete_some(client, map, chunk_ids, step, deadline_ns, err);
        chunk_ids += step;
        count -= step;
    }
    place_map_unref(map);
    return rc;
}

/* ---- room ---- */

#define SHORT_PERCENT 5u /* free */

static bool is_short(struct store_client *client, uint32_t node, uint64_t deadline_ns) {
    struct store_status status = {0};
    if (node == client->self && client->local != NULL)
        store_get_status(client->local, &status);
    else if (store_remote_status(client->rpc, node, deadline_ns, &status, NULL) != 0)
        return false;
    uint64_t few = status.disk_total_bytes / 100 * SHORT_PERCENT;
    return status.disk_free_bytes < (few > 2 * SPACE_LOW_BYTES ? few : 2 * SPACE_LOW_BYTES);
}

bool store_is_short(struct store_client *client, uint64_t deadline_ns) {
    struct place_map *map = meta_map(client->meta);
    bool found = false;
    for (uint32_t i = 0; i < map->node_count && !found; i++)
        found = (map->nodes[i].roles & ROLE_STORE) != 0 &&
                client_node_is_up(client, map, map->nodes[i].id) &&
                is_short(client, map->nodes[i].id, deadline_ns);
    place_map_unref(map);
    return found;
}
