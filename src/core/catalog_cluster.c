/* The cluster map, in the root group. */
#include "core/catalog_impl.h"
#include "core/place.h"

static struct catalog_key map_key(const struct catalog_step *step) {
    return catalog_key(step->group, TABLE_MAP);
}

static Pb__ClusterMap *load_map(struct catalog_step *step) {
    struct catalog_key key = map_key(step);
    return catalog_load(step, &key, &pb__cluster_map__descriptor);
}

static bool is_sound(const Pb__ClusterMap *map) {
    if (map->n_nodes == 0 || map->n_nodes > PLACE_NODES_MAX || map->shards == 0 ||
        map->shards > UINT16_MAX || map->replicas == 0 || map->replicas > PLACE_REPLICAS_MAX ||
        map->slice_bits > PLACE_SLICE_BITS_MAX || map->n_voters == 0 ||
        map->n_voters > PLACE_VOTERS_MAX || map->cluster_id.len != sizeof(struct id128))
        return false;
    for (size_t i = 0; i < map->n_nodes; i++) {
        uint32_t before = i > 0 ? map->nodes[i - 1]->id : 0;
        if (map->nodes[i]->id <= before || map->nodes[i]->id > UINT16_MAX)
            return false;
    }
    return map->owners.len == ((size_t)map->replicas << map->slice_bits) * sizeof(uint16_t);
}

void catalog_init_cluster(struct catalog_step *step, const Pb__InitCluster *op) {
    Pb__ClusterMap *before = load_map(step);
    if (before != NULL) {
        step->reply->map = before;
        catalog_refuse(step, ERR_EXISTS, "the cluster exists already");
        return;
    }
    if (op->map == NULL || !is_sound(op->map)) {
        catalog_refuse(step, ERR_INVALID, "not a sound cluster map");
        return;
    }
    Pb__ClusterMap *map = op->map;
    map->epoch = map->epoch > 0 ? map->epoch : 1;
    struct catalog_key key = map_key(step);
    catalog_store(step, &key, &map->base);
    step->reply->map = map;
}

void catalog_set_node_down(struct catalog_step *step, const Pb__SetNodeDown *op) {
    Pb__ClusterMap *map = load_map(step);
    Pb__Node *node = NULL;
    for (size_t i = 0; map != NULL && i < map->n_nodes; i++) {
        if (map->nodes[i]->id == op->node)
            node = map->nodes[i];
    }
    if (node == NULL) {
        catalog_refuse(step, ERR_NOT_FOUND, "there is no node %u", op->node);
        return;
    }
    if (node->down != op->down) {
        node->down = op->down;
        map->epoch++;
        struct catalog_key key = map_key(step);
        catalog_store(step, &key, &map->base);
    }
    step->reply->map = map;
}

void catalog_get_cluster_map(struct catalog_step *step, const Pb__GetClusterMap *query) {
    (void)query;
    step->reply->map = load_map(step);
    if (step->reply->map == NULL)
        catalog_refuse(step, ERR_NOT_FOUND, "there is no cluster map yet");
}
