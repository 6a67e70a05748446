/* The meta role of one node: its replicas of Paxos groups, the log and the state store under them.
 * Every node has the role; which groups it has replicas of, if any, changes as it runs. */
#ifndef QUERN_META_META_H
#define QUERN_META_META_H

#include "core/place.h"
#include "rpc/rpc.h"

#define META_VOTERS_MAX 7u

struct meta;

struct meta_options {
    const char *dir; /* DATA/meta; made when absent */
    struct rpc_identity identity;
    uint32_t boot; /* grows with every start, durable before this call */
    struct place_map
        *genesis; /* founders, shards; proposed as InitCluster when the root group is empty */
    struct map_cache *maps; /* the newest map known; outlives the role */
    uint64_t keep_bytes;    /* of log, for laggards; 0 = 1 GiB. Beyond it they fetch the state */
    uint64_t segment_bytes; /* of the log; 0 = 64 MiB */
    struct rpc_client *client;
    struct rpc_server *server; /* handlers are added to it before it starts */
};

/* Recovers from disk and starts the threads. Calls between nodes begin to be answered once the rpc
 * server starts. */
int meta_start(const struct meta_options *options, struct meta **ret_meta, struct err *err);
struct meta *meta_stop(struct meta *meta);

/* The oldest record that the log still has; they are counted from 1 at each start. */
uint64_t meta_log_first(struct meta *meta);

/* One group as this node sees it, for `quern status`. */
struct meta_group_status {
    uint32_t group;
    uint32_t leader; /* node id or 0 */
    bool leads;      /* this node does */
    bool hosted;     /* this node has a replica; if not, the rest is empty */
    bool damaged;    /* its state store is, and waits until the other nodes can do without it */
    bool votes;      /* and it is a voter */
    uint32_t voter_count;
    uint32_t voters[META_VOTERS_MAX]; /* node ids, as this replica knows */
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
