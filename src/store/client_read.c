/* Reading a chunk from the best of its holders, and on from the next one when that fails in
 * mid-stream. */
#include "store/client_internal.h"

struct reading {
    struct store_client *client;
    const struct chunk_ref *chunk;
    uint64_t offset; /* of the next byte wanted */
    uint64_t end;
    store_sink *sink;
    void *context;
    int sink_code; /* not 0: the caller wants no more */
    uint64_t deadline_ns;
};

static int take(void *context, const void *data, size_t size) {
    struct reading *reading = context;
    reading->offset += size;
    reading->sink_code = reading->sink(reading->context, data, size);
    return reading->sink_code;
}

/* The error that says most about the chunk stays: "not found" only when every holder says so. */
static bool says_more(int rc, int than) {
    return than == 0 || than == ERR_NOT_FOUND || rc == ERR_CORRUPT;
}

static int read_from(struct reading *reading, uint32_t node, struct err *err) {
    struct store_client *client = reading->client;
    if (node == client->self && client->local != NULL)
        return local_read(client->local, reading->chunk->id, reading->offset,
                          reading->end - reading->offset, take, reading, err);
    atomic_fetch_add(&client->reads[node], 1);
    struct chunk_read_request range = {.id = reading->chunk->id,
                                       .offset = reading->offset,
                                       .length = reading->end - reading->offset};
    int rc = peer_read(client->rpc, node, &range, take, reading, reading->deadline_ns, err);
    atomic_fetch_sub(&client->reads[node], 1);
    if (reading->sink_code == 0 && (rc == ERR_REFUSED || rc == ERR_TIMEOUT))
        client_avoid_node(client, node);
    return rc;
}

/* Lower is better: this node, then the less loaded of those that are up, then those said to be
 * down. */
static uint32_t cost(struct store_client *client, const struct place_map *map, uint32_t node) {
    if (node == client->self && client->local != NULL)
        return 0;
    uint32_t load = 1 + atomic_load(&client->reads[node]);
    return client_node_is_up(client, map, node) ? load : UINT32_MAX / 2 + load;
}

static void sort_by_cost(struct store_client *client, const struct place_map *map, uint32_t *nodes,
                         unsigned count) {
    uint32_t costs[PLACE_REPLICAS_MAX];
    for (unsigned i = 0; i < count; i++) {
        uint32_t node = nodes[i], its = cost(client, map, node);
        unsigned at = i;
        for (; at > 0 && costs[at - 1] > its; at--) {
            costs[at] = costs[at - 1];
            nodes[at] = nodes[at - 1];
        }
        costs[at] = its;
        nodes[at] = node;
    }
}

int store_read(struct store_client *client, const struct chunk_ref *chunk, uint64_t offset,
               uint64_t length, store_sink *sink, void *context, uint64_t deadline_ns,
               struct err *err) {
    if (length > chunk->length || offset > chunk->length - length)
        return err_set(err, ERR_INVALID, "beyond the end of the chunk");
    struct reading reading = {client, chunk,   offset, offset + length,
                              sink,   context, 0,      deadline_ns};
    uint32_t owners[PLACE_REPLICAS_MAX];
    struct place_map *map = meta_map(client->meta);
    unsigned count = place_owners(map, place_slice_of(map, chunk->id), owners);
    sort_by_cost(client, map, owners, count);
    place_map_unref(map);
    struct err failure = {0};
    int failed = 0;
    for (unsigned i = 0; i < count; i++) {
        struct err why = {0};
        int rc = read_from(&reading, owners[i], &why);
        if (rc == 0 || reading.sink_code != 0)
            return reading.sink_code;
        if (says_more(rc, failed)) {
            failed = rc;
            failure = why;
        }
    }
    if (failed == 0)
        return err_set(err, ERR_NOT_FOUND, "nobody holds the chunk's slice");
    char hex[ID128_HEX_SIZE];
    return err_set(err, failed, "chunk %s: %s", id128_print(chunk->id, hex),
                   err_message(&failure, failed));
}
