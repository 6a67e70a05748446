/* Who a node is: DIR/identity.json, written once when the cluster is formed.
 *
 *     {"format": 1, "cluster": HEX, "node": 1, "shards": 8, "replicas": 3, "slice_bits": 12,
 * "voters": [1, 2, 3], "members": [{"id": 1, "incarnation": HEX, "name": "node1", "zone": "",
 * "peer": HOST:PORT, "http": HOST:PORT}, ...]}
 *
 * The members are those the cluster began with; what they became is in the catalogue. Addresses are
 * looked up here. */
#ifndef QUERN_NODE_IDENTITY_H
#define QUERN_NODE_IDENTITY_H

#include "base/err.h"
#include "core/place.h"

#define IDENTITY_FORMAT 1

struct identity {
    uint32_t node_id;
    struct place_map *map; /* as formed, with its owner table; one reference is the identity's */
};

/* Errors: ERR_NOT_FOUND (no such file), ERR_VERSION (of a newer quern), ERR_CORRUPT. */
int identity_read(const char *path, struct identity *ret_identity, struct err *err);
int identity_write(const char *path, const struct identity *identity, struct err *err);
void identity_fini(struct identity *identity); /* also of a zeroed one */

/* A new cluster: fresh random ids; nodes give name, zone and addresses, and get ids from 1. voters
 * = 0: the first 3. */
int identity_form_cluster(const struct place_node *nodes, unsigned count, unsigned voters,
                          struct place_map **ret_map, struct err *err);

/* The node's own row. */
struct place_node *identity_self(const struct identity *identity);

#endif
