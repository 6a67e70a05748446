/* Placement: which nodes hold a chunk. The ring is cut into 2^slice_bits equal slices of a 64-bit
 * hash circle (XXH3 of the chunk id); an owner table gives each slice an ordered list of R distinct
 * nodes. The first of them that is up is the slice's primary: it sees to the slice's repair. The
 * table is versioned by the map's epoch.
 *
 * Pure functions over an immutable, reference-counted map. */
#ifndef QUERN_CORE_PLACE_H
#define QUERN_CORE_PLACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

#define PLACE_REPLICAS_MAX 5
#define PLACE_SLICE_BITS_MAX 16
#define PLACE_NODES_MAX 1024
#define PLACE_VOTERS_MAX 32
#define PLACE_GROUPS_MAX 65 /* the root and at most 64 shards */
#define PLACE_GROUP_WIDTH 3 /* voters of a group, when there are as many */

enum role { ROLE_GATEWAY = 1, ROLE_META = 2, ROLE_STORE = 4, ROLE_WORKER = 8, ROLE_ALL = 15 };

struct place_node {
    uint32_t id; /* from 1 */
    struct id128 incarnation;
    char name[32];
    char peer_address[128];
    char http_address[128];
    char zone[32];
    uint32_t roles; /* of enum role */
    uint64_t weight;
    bool down;
};

/* The nodes that shall have a voter of a Paxos group. Who has one now is the group's own affair. */
struct place_group {
    uint32_t count;
    uint32_t nodes[PLACE_GROUP_WIDTH];
};

struct place_map {
    atomic_uint refs;
    uint64_t epoch;
    struct id128 cluster_id;
    uint32_t shards;                   /* object shard groups are 1..shards, the root group is 0 */
    uint32_t voters[PLACE_VOTERS_MAX]; /* nodes that groups may be placed on */
    uint32_t voter_count;
    struct place_group groups[PLACE_GROUPS_MAX]; /* by number, shards + 1 of them */
    uint32_t last_node; /* the highest node id ever given: none is given twice */
    uint32_t replicas;  /* R */
    uint32_t slice_bits;
    uint16_t *owners; /* slice_count rows of R node ids; 0 = nobody */
    uint32_t node_count;
    struct place_node nodes[]; /* by id */
};

struct place_map *place_map_new(uint32_t node_count, uint32_t slice_bits,
                                uint32_t replicas); /* refs = 1, zeroed */
struct place_map *place_map_ref(struct place_map *map);
struct place_map *place_map_unref(struct place_map *map);

/* Fills the owner table for map->nodes. previous (may be NULL) is the map before: rows move no more
 * than they must. (I) each node's share is within one slice of fair by weight; no two copies of a
 * slice share a zone while there are enough zones; same inputs, same table. Only nodes with
 * ROLE_STORE own slices. */
int place_assign(struct place_map *map, const struct place_map *previous, struct err *err);

/* Places the groups on the voters, as even as can be, starting from where they are placed (count 0:
 * nowhere). Two of a group share a zone only when there is no other way. */
void place_groups(struct place_map *map);
bool place_group_has(const struct place_group *group, uint32_t node);

static inline uint32_t place_slice_count(const struct place_map *map) {
    return 1u << map->slice_bits;
}
/* Where the chunk lies on the circle. */
uint64_t place_hash(struct id128 chunk_id);
uint32_t place_slice_of(const struct place_map *map, struct id128 chunk_id);

/* The slice's owners in the table's order into ret_nodes[PLACE_REPLICAS_MAX]; returns their number.
 */
unsigned place_owners(const struct place_map *map, uint32_t slice, uint32_t *ret_nodes);
bool place_owns(const struct place_map *map, uint32_t slice, uint32_t node);
/* The first owner that is up, or 0. */
uint32_t place_primary(const struct place_map *map, uint32_t slice);
const struct place_node *place_node(const struct place_map *map,
                                    uint32_t id); /* NULL when unknown */

/* The shard group of an object: 1..map->shards. */
uint32_t place_shard_of(const struct place_map *map, const char *bucket, const char *key);

#endif
