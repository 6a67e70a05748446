/* The cluster map, in the root group. */
#include <string.h>

#include "base/assert.h"
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
        map->replicas == 0 || map->replicas > PLACE_REPLICAS_MAX ||
        map->slice_bits > PLACE_SLICE_BITS_MAX || map->n_voters == 0 ||
        map->n_voters > PLACE_VOTERS_MAX || map->shards >= PLACE_GROUPS_MAX ||
        (map->n_groups != 0 && map->n_groups != map->shards + 1) ||
        map->cluster_id.len != sizeof(struct id128))
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

static void store_map(struct catalog_step *step, Pb__ClusterMap *map) {
    struct catalog_key key = map_key(step);
    map->epoch++;
    catalog_store(step, &key, &map->base);
    step->reply->map = map;
}

static Pb__Node *find_node(const Pb__ClusterMap *map, uint32_t id) {
    for (size_t i = 0; map != NULL && i < map->n_nodes; i++)
        if (map->nodes[i]->id == id)
            return map->nodes[i];
    return NULL;
}

/* NULL and refused when there is none. */
static Pb__ClusterMap *map_with_node(struct catalog_step *step, uint32_t id, Pb__Node **ret_node) {
    Pb__ClusterMap *map = load_map(step);
    *ret_node = find_node(map, id);
    if (*ret_node != NULL)
        return map;
    catalog_refuse(step, ERR_NOT_FOUND, "there is no node %u", id);
    return NULL;
}

void catalog_set_node_down(struct catalog_step *step, const Pb__SetNodeDown *op) {
    Pb__Node *node;
    Pb__ClusterMap *map = map_with_node(step, op->node, &node);
    if (map == NULL)
        return;
    step->reply->map = map;
    if (node->down == op->down)
        return;
    node->down = op->down;
    store_map(step, map);
}

/* ---- nodes come ---- */

static bool fits(const char *text, size_t size) {
    return strlen(text) < size;
}

static bool node_is_sound(const Pb__Node *node) {
    const struct place_node *room = NULL;
    return node != NULL && node->incarnation.len == sizeof(struct id128) && node->name[0] != '\0' &&
           fits(node->name, sizeof room->name) && node->peer_address[0] != '\0' &&
           fits(node->peer_address, sizeof room->peer_address) &&
           fits(node->http_address, sizeof room->http_address) &&
           fits(node->zone, sizeof room->zone) && (node->roles & ~(uint32_t)ROLE_ALL) == 0;
}

static bool same_incarnation(const Pb__Node *a, const Pb__Node *b) {
    return a->incarnation.len == b->incarnation.len &&
           memcmp(a->incarnation.data, b->incarnation.data, a->incarnation.len) == 0;
}

static uint32_t last_node(const Pb__ClusterMap *map) {
    uint32_t last = map->last_node;
    for (size_t i = 0; i < map->n_nodes; i++)
        last = map->nodes[i]->id > last ? map->nodes[i]->id : last;
    return last;
}

static void append_node(struct catalog_step *step, Pb__ClusterMap *map, Pb__Node *node) {
    Pb__Node **nodes = catalog_alloc(step, (map->n_nodes + 1) * sizeof(Pb__Node *));
    memcpy(nodes, map->nodes, map->n_nodes * sizeof *nodes);
    nodes[map->n_nodes++] = node;
    map->nodes = nodes;
    map->last_node = node->id;
}

/* It comes without chunks and without replicas: other commands place those. */
void catalog_add_node(struct catalog_step *step, const Pb__AddNode *op) {
    Pb__ClusterMap *map = load_map(step);
    if (map == NULL || !node_is_sound(op->node)) {
        catalog_refuse(step, map == NULL ? ERR_NOT_FOUND : ERR_INVALID,
                       map == NULL ? "there is no cluster map yet" : "not a sound node");
        return;
    }
    step->reply->map = map;
    for (size_t i = 0; i < map->n_nodes; i++) {
        if (same_incarnation(map->nodes[i], op->node))
            return; /* asked again */
        if (strcmp(map->nodes[i]->name, op->node->name) == 0) {
            catalog_refuse(step, ERR_EXISTS, "there is a node named %s already", op->node->name);
            return;
        }
    }
    if (map->n_nodes == PLACE_NODES_MAX || last_node(map) == UINT16_MAX) {
        catalog_refuse(step, ERR_LIMIT, "the cluster has had its last node");
        return;
    }
    op->node->id = last_node(map) + 1;
    op->node->roles &= ~(uint32_t)ROLE_META;
    op->node->down = false;
    append_node(step, map, op->node);
    store_map(step, map);
}

/* ---- where groups are placed ---- */

static struct place_map *placing_of(const Pb__ClusterMap *from) {
    struct place_map *map = place_map_new((uint32_t)from->n_nodes, 0, 1);
    if (map == NULL)
        panic("out of memory for a cluster map");
    map->shards = from->shards;
    for (size_t i = 0; i < from->n_nodes; i++) {
        map->nodes[i].id = from->nodes[i]->id;
        strncpy(map->nodes[i].zone, from->nodes[i]->zone, sizeof map->nodes[i].zone - 1);
    }
    for (size_t i = 0; i < from->n_voters; i++)
        map->voters[map->voter_count++] = from->voters[i];
    for (size_t g = 0; g < from->n_groups; g++)
        for (size_t i = 0; i < from->groups[g]->n_nodes && i < PLACE_GROUP_WIDTH; i++)
            map->groups[g].nodes[map->groups[g].count++] = from->groups[g]->nodes[i];
    return map;
}

static void place_again(struct catalog_step *step, Pb__ClusterMap *map) {
    struct place_map *placing = placing_of(map);
    place_groups(placing);
    map->n_groups = map->shards + 1;
    map->groups = catalog_alloc(step, map->n_groups * sizeof *map->groups);
    for (size_t g = 0; g < map->n_groups; g++) {
        const struct place_group *group = &placing->groups[g];
        map->groups[g] = catalog_alloc(step, sizeof *map->groups[g]);
        pb__group_nodes__init(map->groups[g]);
        map->groups[g]->n_nodes = group->count;
        map->groups[g]->nodes = catalog_alloc(step, sizeof group->nodes);
        memcpy(map->groups[g]->nodes, group->nodes, sizeof group->nodes);
    }
    place_map_unref(placing);
}

static void set_voters(struct catalog_step *step, Pb__ClusterMap *map, uint32_t node, bool voter) {
    uint32_t *voters = catalog_alloc(step, (map->n_voters + 1) * sizeof *voters);
    size_t count = 0;
    for (size_t i = 0; i < map->n_voters; i++)
        if (map->voters[i] != node)
            voters[count++] = map->voters[i];
    if (voter)
        voters[count++] = node;
    map->voters = voters;
    map->n_voters = count;
}

void catalog_set_voter(struct catalog_step *step, const Pb__SetVoter *op) {
    Pb__Node *node;
    Pb__ClusterMap *map = map_with_node(step, op->node, &node);
    if (map == NULL)
        return;
    step->reply->map = map;
    if (!!(node->roles & ROLE_META) == op->voter)
        return;
    if (op->voter ? map->n_voters == PLACE_VOTERS_MAX : map->n_voters == 1) {
        catalog_refuse(step, ERR_LIMIT,
                       op->voter ? "%u nodes hold the catalogue, which is the limit"
                                 : "node %u is the last that holds the catalogue",
                       op->voter ? PLACE_VOTERS_MAX : op->node);
        return;
    }
    node->roles ^= ROLE_META;
    set_voters(step, map, node->id, op->voter);
    place_again(step, map);
    store_map(step, map);
}

void catalog_get_cluster_map(struct catalog_step *step, const Pb__GetClusterMap *query) {
    (void)query;
    step->reply->map = load_map(step);
    if (step->reply->map == NULL)
        catalog_refuse(step, ERR_NOT_FOUND, "there is no cluster map yet");
}
