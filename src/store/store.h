/* The store role of one node: volumes of chunks, their index, and the repair that fetches what this
 * node missed. */
#ifndef QUERN_STORE_STORE_H
#define QUERN_STORE_STORE_H

#include "core/place.h"
#include "rpc/rpc.h"
#include "store/client.h"

struct store_options {
    const char *dir;     /* DATA/chunks; made when absent */
    const char *ballast; /* goes when the index lacks room (os/space.h); or NULL */
    struct rpc_identity identity;
    struct rpc_client *client;
    struct rpc_server *server; /* handlers are added to it before it starts */
};

int store_start(const struct store_options *options, struct store **ret_store, struct err *err);
/* Repair begins once there is a catalogue to ask for the map. */
int store_start_repair(struct store *store, struct meta_client *meta, struct err *err);
struct store *store_stop(struct store *store);

struct store_status {
    uint64_t chunks;
    uint64_t bytes;
    uint64_t disk_free_bytes;
    uint64_t disk_total_bytes;
    uint64_t missing_chunks; /* known to be held elsewhere and not yet fetched */
    uint64_t repaired_chunks;
    bool failed; /* the disk is not trusted any more */
};
void store_get_status(struct store *store, struct store_status *ret_status);
/* The same of another node. */
int store_remote_status(struct rpc_client *client, uint32_t node, uint64_t deadline_ns,
                        struct store_status *ret_status, struct err *err);

#endif
