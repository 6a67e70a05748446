/* Which voters hold which group: as many as may fail with a majority left, spread evenly, and moved
 * no more than evenness needs. */
#include "core/place.h"

#include <string.h>

#include "base/assert.h"

static bool is_voter(const struct place_map *map, uint32_t node) {
    for (uint32_t v = 0; v < map->voter_count; v++)
        if (map->voters[v] == node)
            return true;
    return false;
}

bool place_group_has(const struct place_group *group, uint32_t node) {
    for (uint32_t i = 0; i < group->count; i++)
        if (group->nodes[i] == node)
            return true;
    return false;
}

static void leavers_drop(const struct place_map *map, struct place_group *group) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->count; i++)
        if (is_voter(map, group->nodes[i]))
            group->nodes[kept++] = group->nodes[i];
    group->count = kept;
}

static uint32_t load_of(const struct place_map *map, uint32_t node) {
    uint32_t load = 0;
    for (uint32_t g = 0; g <= map->shards; g++)
        load += place_group_has(&map->groups[g], node);
    return load;
}

static bool shares_zone(const struct place_map *map, const struct place_group *group, uint32_t node,
                        uint32_t except) {
    const struct place_node *own = place_node(map, node);
    if (own == NULL || own->zone[0] == '\0')
        return false;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct place_node *other = place_node(map, group->nodes[i]);
        if (i != except && other != NULL && strcmp(own->zone, other->zone) == 0)
            return true;
    }
    return false;
}

/* The voter that should hold the group next: in a zone of its own rather than not, then the least
 * loaded, then by their order, begun elsewhere for each group. 0 = there is none. */
static uint32_t newcomer(const struct place_map *map, uint32_t g) {
    uint32_t best = 0, best_load = 0;
    bool best_shares = true;
    for (uint32_t v = 0; v < map->voter_count; v++) {
        uint32_t node = map->voters[(g + v) % map->voter_count];
        if (place_group_has(&map->groups[g], node))
            continue;
        uint32_t load = load_of(map, node);
        bool shares = shares_zone(map, &map->groups[g], node, UINT32_MAX);
        if (best == 0 || shares < best_shares || (shares == best_shares && load < best_load)) {
            best = node;
            best_load = load;
            best_shares = shares;
        }
    }
    return best;
}

/* The place of from in a group that to can take over, if that brings no two copies into one zone
 * that were not; NULL when there is none. */
static uint32_t *find_movable(struct place_map *map, uint32_t from, uint32_t to) {
    for (uint32_t g = 0; g <= map->shards; g++) {
        struct place_group *group = &map->groups[g];
        for (uint32_t i = 0; i < group->count; i++)
            if (group->nodes[i] == from && !place_group_has(group, to) &&
                shares_zone(map, group, to, i) <= shares_zone(map, group, from, i))
                return &group->nodes[i];
    }
    return NULL;
}

/* One step towards evenness: between the two voters that differ most, of those that can. */
static bool level(struct place_map *map) {
    uint32_t *best = NULL, best_to = 0, best_gap = 1;
    for (uint32_t a = 0; a < map->voter_count; a++) {
        for (uint32_t b = 0; b < map->voter_count; b++) {
            uint32_t from = map->voters[a], to = map->voters[b];
            uint32_t high = load_of(map, from), low = load_of(map, to);
            uint32_t *place = high > low + best_gap ? find_movable(map, from, to) : NULL;
            if (place == NULL)
                continue;
            best = place;
            best_to = to;
            best_gap = high - low;
        }
    }
    if (best != NULL)
        *best = best_to;
    return best != NULL;
}

void place_groups(struct place_map *map) {
    ASSERT(map->shards < PLACE_GROUPS_MAX);
    uint32_t width = map->voter_count;
    if (width > PLACE_GROUP_WIDTH)
        width = PLACE_GROUP_WIDTH;
    for (uint32_t g = 0; g <= map->shards; g++) {
        struct place_group *group = &map->groups[g];
        leavers_drop(map, group);
        while (group->count < width)
            group->nodes[group->count++] = newcomer(map, g);
    }
    uint32_t steps = PLACE_GROUPS_MAX * PLACE_GROUP_WIDTH; /* each lowers the sum of squares */
    while (steps-- > 0 && level(map))
        continue;
}
