/* Cluster maps. */
#include "meta/map.h"

#include <stdio.h>
#include <stdlib.h>

static void text_copy(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from);
}

static void node_from_pb(const Pb__Node *from, struct place_node *to) {
    to->id = from->id;
    to->incarnation = pb_id128(from->incarnation);
    text_copy(to->name, sizeof to->name, from->name);
    text_copy(to->peer_address, sizeof to->peer_address, from->peer_address);
    text_copy(to->http_address, sizeof to->http_address, from->http_address);
    text_copy(to->zone, sizeof to->zone, from->zone);
    to->roles = from->roles;
    to->weight = from->weight;
    to->down = from->down;
}

/* A map from before groups were placed one by one has them wherever there is a voter. */
static void groups_from_pb(const Pb__ClusterMap *from, struct place_map *map) {
    for (size_t g = 0; g < from->n_groups; g++) {
        struct place_group *group = &map->groups[g];
        for (size_t i = 0; i < from->groups[g]->n_nodes && i < PLACE_GROUP_WIDTH; i++)
            group->nodes[group->count++] = from->groups[g]->nodes[i];
    }
    if (from->n_groups == 0)
        place_groups(map);
}

int map_from_pb(const Pb__ClusterMap *from, struct place_map **ret_map, struct err *err) {
    if (from->n_nodes > PLACE_NODES_MAX || from->slice_bits > PLACE_SLICE_BITS_MAX ||
        from->replicas == 0 || from->replicas > PLACE_REPLICAS_MAX ||
        from->n_voters > PLACE_VOTERS_MAX || from->shards >= PLACE_GROUPS_MAX ||
        (from->n_groups != 0 && from->n_groups != from->shards + 1) ||
        from->owners.len != ((size_t)from->replicas << from->slice_bits) * sizeof(uint16_t))
        return err_set(err, ERR_CORRUPT, "a cluster map that makes no sense");
    struct place_map *map =
        place_map_new((uint32_t)from->n_nodes, from->slice_bits, from->replicas);
    if (map == NULL)
        return err_set(err, ERR_NOMEM, "a cluster map");
    map->epoch = from->epoch;
    map->cluster_id = pb_id128(from->cluster_id);
    map->shards = from->shards;
    map->last_node = from->last_node;
    map->voter_count = (uint32_t)from->n_voters;
    for (size_t i = 0; i < from->n_voters; i++)
        map->voters[i] = from->voters[i];
    groups_from_pb(from, map);
    for (size_t i = 0; i < from->n_nodes; i++)
        node_from_pb(from->nodes[i], &map->nodes[i]);
    memcpy(map->owners, from->owners.data, from->owners.len);
    *ret_map = map;
    return 0;
}

static void node_to_pb(const struct place_node *from, Pb__Node *to) {
    pb__node__init(to);
    to->id = from->id;
    to->incarnation = pb_id(&from->incarnation);
    to->name = (char *)(uintptr_t)from->name;
    to->peer_address = (char *)(uintptr_t)from->peer_address;
    to->http_address = (char *)(uintptr_t)from->http_address;
    to->zone = (char *)(uintptr_t)from->zone;
    to->roles = from->roles;
    to->weight = from->weight;
    to->down = from->down;
}

static bool groups_to_pb(const struct place_map *map, struct arena *arena, Pb__ClusterMap *to) {
    uint32_t count = map->shards + 1;
    Pb__GroupNodes *groups = arena_array(arena, Pb__GroupNodes, count);
    to->groups = arena_array(arena, Pb__GroupNodes *, count);
    if (groups == NULL || to->groups == NULL)
        return false;
    for (uint32_t g = 0; g < count; g++) {
        pb__group_nodes__init(&groups[g]);
        groups[g].n_nodes = map->groups[g].count;
        groups[g].nodes = (uint32_t *)(uintptr_t)map->groups[g].nodes;
        to->groups[g] = &groups[g];
    }
    to->n_groups = count;
    return true;
}

Pb__ClusterMap *map_to_pb(const struct place_map *map, struct arena *arena) {
    Pb__ClusterMap *to = arena_new(arena, Pb__ClusterMap);
    Pb__Node *nodes = arena_array(arena, Pb__Node, map->node_count);
    Pb__Node **pointers = arena_array(arena, Pb__Node *, map->node_count);
    uint32_t *voters = arena_array(arena, uint32_t, map->voter_count);
    if (to == NULL || nodes == NULL || pointers == NULL || voters == NULL)
        return NULL;
    pb__cluster_map__init(to);
    for (uint32_t i = 0; i < map->node_count; i++) {
        node_to_pb(&map->nodes[i], &nodes[i]);
        pointers[i] = &nodes[i];
    }
    memcpy(voters, map->voters, map->voter_count * sizeof *voters);
    to->epoch = map->epoch;
    to->n_nodes = map->node_count;
    to->nodes = pointers;
    to->replicas = map->replicas;
    to->slice_bits = map->slice_bits;
    to->owners =
        pb_bytes(map->owners, (size_t)place_slice_count(map) * map->replicas * sizeof *map->owners);
    to->cluster_id = pb_id(&map->cluster_id);
    to->shards = map->shards;
    to->n_voters = map->voter_count;
    to->voters = voters;
    to->last_node = map->last_node;
    return groups_to_pb(map, arena, to) ? to : NULL;
}

void map_cache_init(struct map_cache *cache, struct place_map *map) {
    pthread_mutex_init(&cache->mutex, NULL);
    cache->map = place_map_ref(map);
}

void map_cache_fini(struct map_cache *cache) {
    cache->map = place_map_unref(cache->map);
    pthread_mutex_destroy(&cache->mutex);
}

struct place_map *map_cache_get(struct map_cache *cache) {
    pthread_mutex_lock(&cache->mutex);
    struct place_map *map = place_map_ref(cache->map);
    pthread_mutex_unlock(&cache->mutex);
    return map;
}

int map_cache_offer(struct map_cache *cache, const Pb__ClusterMap *offered, struct err *err) {
    struct place_map *map;
    int r = map_from_pb(offered, &map, err);
    if (r != 0)
        return r;
    pthread_mutex_lock(&cache->mutex);
    struct place_map *older = map;
    if (map->epoch > cache->map->epoch) {
        older = cache->map;
        cache->map = map;
    }
    pthread_mutex_unlock(&cache->mutex);
    place_map_unref(older);
    return 0;
}

void map_query_pack(struct buf *buf) {
    Pb__GetClusterMap get = PB__GET_CLUSTER_MAP__INIT;
    Pb__Query query = PB__QUERY__INIT;
    query.op_case = PB__QUERY__OP_GET_CLUSTER_MAP;
    query.get_cluster_map = &get;
    pb_pack(buf, &query.base);
}
