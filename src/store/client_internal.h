/* What the files of the store's client share. */
#ifndef QUERN_STORE_CLIENT_INTERNAL_H
#define QUERN_STORE_CLIENT_INTERNAL_H

#include <stdatomic.h>

#include "meta/client.h"
#include "rpc/rpc.h"
#include "store/client.h"
#include "store/local.h"
#include "store/message.h"
#include "store/peer.h"

struct store_client {
    struct store *local; /* or NULL */
    uint32_t self;
    struct meta_client *meta;
    struct rpc_client *rpc;
    atomic_uint reads[PLACE_NODES_MAX + 1]; /* under way, by node */
    _Atomic uint64_t
        avoid_until_ns[PLACE_NODES_MAX + 1]; /* it failed just now: the map will know soon */
};

/* Whether the map has the node up, and no call to it failed just now. */
bool client_node_is_up(struct store_client *client, const struct place_map *map, uint32_t node);
void client_avoid_node(struct store_client *client, uint32_t node);

#endif
