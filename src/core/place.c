/* Placement: the map, and look-ups in it. How rows are given to nodes is in place_assign.c. */
#include "core/place.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"

struct place_map *place_map_new(uint32_t node_count, uint32_t slice_bits, uint32_t replicas) {
    ASSERT(node_count <= PLACE_NODES_MAX && slice_bits <= PLACE_SLICE_BITS_MAX);
    ASSERT(replicas > 0 && replicas <= PLACE_REPLICAS_MAX);
    struct place_map *map = calloc(1, sizeof *map + node_count * sizeof *map->nodes);
    if (map == NULL)
        return NULL;
    atomic_init(&map->refs, 1);
    map->slice_bits = slice_bits;
    map->replicas = replicas;
    map->node_count = node_count;
    map->owners = calloc((size_t)replicas << slice_bits, sizeof *map->owners);
    if (map->owners == NULL) {
        free(map);
        return NULL;
    }
    return map;
}

struct place_map *place_map_ref(struct place_map *map) {
    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

struct place_map *place_map_unref(struct place_map *map) {
    if (map != NULL && atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) == 1) {
        free(map->owners);
        free(map);
    }
    return NULL;
}

uint64_t place_hash(struct id128 chunk_id) {
    return XXH3_64bits(chunk_id.bytes, sizeof chunk_id.bytes);
}

uint32_t place_slice_of(const struct place_map *map, struct id128 chunk_id) {
    return map->slice_bits > 0 ? (uint32_t)(place_hash(chunk_id) >> (64 - map->slice_bits)) : 0;
}

unsigned place_owners(const struct place_map *map, uint32_t slice, uint32_t *ret_nodes) {
    ASSERT(slice < place_slice_count(map));
    const uint16_t *row = map->owners + (size_t)slice * map->replicas;
    unsigned count = 0;
    for (uint32_t i = 0; i < map->replicas; i++) {
        if (row[i] != 0)
            ret_nodes[count++] = row[i];
    }
    return count;
}

bool place_owns(const struct place_map *map, uint32_t slice, uint32_t node) {
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(map, slice, owners);
    for (unsigned i = 0; i < count; i++) {
        if (owners[i] == node)
            return true;
    }
    return false;
}

uint32_t place_primary(const struct place_map *map, uint32_t slice) {
    uint32_t owners[PLACE_REPLICAS_MAX];
    unsigned count = place_owners(map, slice, owners);
    for (unsigned i = 0; i < count; i++) {
        const struct place_node *node = place_node(map, owners[i]);
        if (node != NULL && !node->down)
            return node->id;
    }
    return 0;
}

const struct place_node *place_node(const struct place_map *map, uint32_t id) {
    uint32_t low = 0, high = map->node_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->nodes[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->node_count && map->nodes[low].id == id ? &map->nodes[low] : NULL;
}

uint32_t place_shard_of(const struct place_map *map, const char *bucket, const char *key) {
    ASSERT(map->shards > 0);
    uint64_t seed = XXH3_64bits(bucket, strlen(bucket));
    return 1 + (uint32_t)(XXH3_64bits_withSeed(key, strlen(key), seed) % map->shards);
}
