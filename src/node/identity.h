/* Who a node is: DIR/identity.json, written once when the cluster is formed.
 *
 * {"format": 2, "cluster": HEX, "node": 1, "shards": 8, "replicas": 3, "slice_bits": 12,
 * "voters": [1, 2, 3], "members": [{"id": 1, "incarnation": HEX, "name": "node1", "zone": "",
 * "peer": HOST:PORT, "http": HOST:PORT}, ...]}
 *
 * The members are those the cluster began with; what they became is in the catalogue. A node that
 * joined later ("joined": true) has those of the newest map it saw, and as voters the nodes of its
 * root group. Addresses are
 * looked up here. */
#ifndef QUERN_NODE_IDENTITY_H
#define QUERN_NODE_IDENTITY_H

#include "base/err.h"
#include "core/place.h"

#define IDENTITY_FORMAT 2
#define IDENTITY_BYTES_MAX ((size_t)1 << 20)

struct identity {
    uint32_t node_id;
    bool joined;           /* a cluster that ran: map only tells whom to ask, epoch 0, no owners */
    struct place_map *map; /* as formed, with its owner table; one reference is the identity's */
};

/* Errors: ERR_NOT_FOUND (no such file), ERR_VERSION (of a newer quern), ERR_CORRUPT. */
int identity_read(const char *path, struct identity *ret_identity, struct err *err);
int identity_write(const char *path, const struct identity *identity, struct err *err);
void identity_fini(struct identity *identity); /* also of a zeroed one */
/* Writes what a cluster told the node that joins it, if it is sound. Errors: ERR_PROTOCOL. */
int identity_accept(const char *path, struct span text, struct err *err);
/* Of one that joined: whom to ask at the next start, when that has changed. */
int identity_renew(const char *path, struct identity *identity, struct place_map *newest,
                   struct err *err);

/* A new cluster: fresh random ids; nodes give name, zone and addresses, and get ids from 1. voters
 * = 0: the first 3. */
int identity_form_cluster(const struct place_node *nodes, unsigned count, unsigned voters,
                          struct place_map **ret_map, struct err *err);

/* The node's own row. */
struct place_node *identity_self(const struct identity *identity);

#endif
