/* The meta role of one node: its replicas of all Paxos groups, the log and the state store under
 * them. */
#ifndef QUERN_META_META_H
#define QUERN_META_META_H

#include "core/place.h"
#include "rpc/rpc.h"

struct meta;

struct meta_options {
    const char *dir; /* DATA/meta; made when absent */
    struct rpc_identity identity;
    uint32_t boot; /* grows with every start, durable before this call */
    struct place_map
        *genesis; /* members, shards; proposed as InitCluster when the root group is empty */
    struct rpc_client *client;
    struct rpc_server *server; /* handlers are added to it before it starts */
};

/* Recovers from disk and starts the threads. Calls between nodes begin to be answered once the rpc
 * server starts. */
int meta_start(const struct meta_options *options, struct meta **ret_meta, struct err *err);
struct meta *meta_stop(struct meta *meta);

/* One group as this node sees it, for `quern status`. */
struct meta_group_status {
    uint32_t group;
    uint32_t leader; /* node id or 0 */
    bool leads;      /* this node does */
    uint64_t ballot_round;
    uint64_t chosen_upto;
    uint64_t applied_upto;
};
unsigned meta_status(struct meta *meta, struct meta_group_status *ret_groups, unsigned count);
/* The like of another node: at most room of them. */
int meta_remote_status(struct rpc_client *client, uint32_t node, uint64_t deadline_ns,
                       struct meta_group_status *ret_groups, unsigned room, unsigned *ret_count,
                       struct err *err);

#endif
