/* The owner table: who holds which slice.
 *
 * 1. Fair shares by weight, under two limits: a node holds a slice once, and a zone holds at most
 * zone_limit copies of it.
 * 2. Whole targets next to the fair shares, rounded in favour of those who hold the slices already.
 * 3. The previous rows, without entries that may not stay, become the new ones by the fewest moves:
 * holes are filled by nodes below their target, nodes above it hand slices to nodes below, and what
 * is stuck then is freed by augmenting paths (a chain of hand-overs that ends at a node with room).
 * 4. The first of each row is chosen so that primaries are spread as the slices are.
 *
 * Nodes and zones are indices here. All ties are broken by fixed hashes: same inputs, same table.
 */
#include "core/place_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"

static void plan_fini(struct plan *plan) {
    free(plan->holders);
    free(plan->zone_room);
    free(plan->rows);
}

static uint32_t mix(uint32_t a, uint32_t b) {
    uint64_t hash = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(hash >> 32);
}

/* A fixed scattered order of slices, so that a new node's slices come from everywhere. */
static uint32_t scattered(const struct plan *plan, uint32_t i) {
    return (uint32_t)(i * 0x9e3779b1u) & (plan->slice_count - 1);
}

void place_put(struct plan *plan, uint16_t *slot, uint16_t holder) {
    if (*slot != NOBODY) {
        plan->holders[*slot].held--;
        plan->zone_room[plan->holders[*slot].zone]++;
    }
    *slot = holder;
    if (holder != NOBODY) {
        plan->holders[holder].held++;
        plan->zone_room[plan->holders[holder].zone]--;
    }
}

uint16_t *place_find_slot(const struct plan *plan, uint32_t slice, uint16_t holder) {
    uint16_t *row = place_row(plan, slice);
    for (uint32_t i = 0; i < plan->width; i++) {
        if (row[i] == holder)
            return &row[i];
    }
    return NULL;
}

/* Whether holder may stand in the row in place of what slot holds. */
bool place_fits(const struct plan *plan, const uint16_t *row, const uint16_t *slot,
                uint16_t holder) {
    uint32_t in_zone = 0;
    for (uint32_t i = 0; i < plan->width; i++) {
        if (row[i] == holder)
            return false;
        if (row[i] != NOBODY && row + i != slot)
            in_zone += plan->holders[row[i]].zone == plan->holders[holder].zone;
    }
    return in_zone < plan->zone_limit;
}

/* ---- who takes part ---- */

static uint16_t zone_index(const struct place_map *map, uint32_t node) {
    uint32_t first = 0;
    while (strcmp(map->nodes[first].zone, map->nodes[node].zone) != 0)
        first++;
    return (uint16_t)first;
}

static void collect_holders(struct plan *plan, const struct place_map *map) {
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct place_node *node = &map->nodes[i];
        ASSERT(node->id > 0 && node->id < NOBODY && (i == 0 || node[-1].id < node->id));
        if ((node->roles & ROLE_STORE) == 0 || node->weight == 0)
            continue;
        plan->holders[plan->count++] = (struct holder){
            .id = (uint16_t)node->id, .zone = zone_index(map, i), .weight = (double)node->weight};
    }
}

/* The smallest limit under which a row can be filled at all: 1 while there are enough zones. */
static uint32_t zone_limit(const struct plan *plan) {
    for (uint32_t limit = 1;; limit++) {
        uint32_t room = 0;
        for (uint32_t zone = 0; zone < plan->zone_count; zone++) {
            uint32_t nodes = 0;
            for (uint32_t i = 0; i < plan->count; i++)
                nodes += plan->holders[i].zone == zone;
            room += nodes < limit ? nodes : limit;
        }
        if (room >= plan->width)
            return limit;
    }
}

static int plan_init(struct plan *plan, const struct place_map *map, struct err *err) {
    *plan = (struct plan){.slice_count = place_slice_count(map), .zone_count = map->node_count};
    plan->holders = calloc(map->node_count + 1, sizeof *plan->holders);
    plan->zone_room = calloc(map->node_count + 1, sizeof *plan->zone_room);
    plan->rows = malloc((size_t)plan->slice_count * map->replicas * sizeof *plan->rows);
    if (plan->holders == NULL || plan->zone_room == NULL || plan->rows == NULL)
        return err_set(err, ERR_NOMEM, "no memory for an owner table");
    collect_holders(plan, map);
    if (plan->count == 0)
        return err_set(err, ERR_INVALID, "no node to store chunks on");
    plan->width = plan->count < map->replicas ? plan->count : map->replicas;
    plan->zone_limit = zone_limit(plan);
    memset(plan->rows, 0xff, (size_t)plan->slice_count * map->replicas * sizeof *plan->rows);
    return 0;
}

/* ---- moves ---- */

static uint16_t holder_of(const struct plan *plan, uint16_t id) {
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->holders[i].id == id)
            return (uint16_t)i;
    }
    return NOBODY;
}

static void keep_previous(struct plan *plan, const struct place_map *previous) {
    uint32_t columns = previous->replicas;
    for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
        uint16_t *row = place_row(plan, slice);
        for (uint32_t i = 0, n = 0; i < columns && n < plan->width; i++) {
            uint16_t holder = holder_of(plan, previous->owners[(size_t)slice * columns + i]);
            if (holder != NOBODY && place_fits(plan, row, &row[n], holder))
                place_put(plan, &row[n++], holder);
        }
    }
}

/* The best holder with room for the slot: of the zone with most room, with most room itself. */
static uint16_t best_for(const struct plan *plan, uint32_t slice, const uint16_t *slot) {
    uint16_t best = NOBODY;
    int64_t best_zone = 0, best_room = 0;
    for (uint16_t i = 0; i < plan->count; i++) {
        const struct holder *holder = &plan->holders[i];
        int64_t room = (int64_t)holder->target - holder->held, zone = plan->zone_room[holder->zone];
        if (room <= 0 || !place_fits(plan, place_row(plan, slice), slot, i))
            continue;
        bool better = best == NOBODY || zone > best_zone ||
                      (zone == best_zone && room > best_room) ||
                      (zone == best_zone && room == best_room && mix(slice, i) > mix(slice, best));
        if (better) {
            best = i;
            best_zone = zone;
            best_room = room;
        }
    }
    return best;
}

/* Fills holes, or (surplus) hands slices of nodes above their target to nodes below. */
static void move_directly(struct plan *plan, bool surplus) {
    for (uint32_t n = 0; n < plan->slice_count; n++) {
        uint32_t slice = scattered(plan, n);
        uint16_t *row = place_row(plan, slice);
        for (uint32_t i = 0; i < plan->width; i++) {
            bool over =
                row[i] != NOBODY && plan->holders[row[i]].held > plan->holders[row[i]].target;
            if (surplus ? !over : row[i] != NOBODY)
                continue;
            uint16_t holder = best_for(plan, slice, &row[i]);
            if (holder != NOBODY)
                place_put(plan, &row[i], holder);
        }
    }
}

static void drop_surplus(struct plan *plan) {
    for (uint32_t n = 0; n < plan->slice_count; n++) {
        uint16_t *row = place_row(plan, scattered(plan, n));
        for (uint32_t i = 0; i < plan->width; i++) {
            if (row[i] != NOBODY && plan->holders[row[i]].held > plan->holders[row[i]].target)
                place_put(plan, &row[i], NOBODY);
        }
    }
}

/* ---- primaries ---- */

/* How far holder is above its share of first places. */
static double primary_excess(const struct plan *plan, const uint32_t *firsts, uint16_t holder) {
    return firsts[holder] - (double)plan->holders[holder].held / plan->width;
}

/* Hands first places over within rows while that evens them out. Each swap lowers the sum of
 * squares, so this ends. */
static int spread_primaries(struct plan *plan, struct err *err) {
    _cleanup_(freep) uint32_t *firsts = calloc(plan->count, sizeof *firsts);
    if (firsts == NULL)
        return err_set(err, ERR_NOMEM, "no memory for an owner table");
    for (uint32_t slice = 0; slice < plan->slice_count; slice++)
        firsts[place_row(plan, slice)[0]]++;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t n = 0; n < plan->slice_count; n++) {
            uint16_t *row = place_row(plan, scattered(plan, n));
            uint32_t least = 0;
            for (uint32_t i = 1; i < plan->width; i++) {
                if (primary_excess(plan, firsts, row[i]) < primary_excess(plan, firsts, row[least]))
                    least = i;
            }
            uint16_t from = row[0], to = row[least];
            if (primary_excess(plan, firsts, from) - primary_excess(plan, firsts, to) < 1 + 1e-6)
                continue;
            firsts[from]--;
            firsts[to]++;
            row[0] = to;
            row[least] = from;
            moved = true;
        }
    }
    return 0;
}

/* ---- all together ---- */

static int assign(struct plan *plan, const struct place_map *previous, bool *ret_filled,
                  struct err *err) {
    if (previous != NULL)
        keep_previous(plan, previous);
    place_set_targets(plan);
    move_directly(plan, false /* holes */);
    move_directly(plan, true /* surplus */);
    drop_surplus(plan);
    int rc = place_fill_stuck(plan, ret_filled, err);
    return rc == 0 && *ret_filled ? spread_primaries(plan, err) : rc;
}

static void write_table(struct place_map *map, const struct plan *plan) {
    memset(map->owners, 0, (size_t)plan->slice_count * map->replicas * sizeof *map->owners);
    for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
        for (uint32_t i = 0; i < plan->width; i++)
            map->owners[(size_t)slice * map->replicas + i] =
                plan->holders[place_row(plan, slice)[i]].id;
    }
}

int place_assign(struct place_map *map, const struct place_map *previous, struct err *err) {
    if (previous != NULL && previous->slice_bits != map->slice_bits)
        previous = NULL;
    for (;;) {
        _cleanup_(plan_fini) struct plan plan;
        bool filled = false;
        int rc = plan_init(&plan, map, err);
        if (rc == 0)
            rc = assign(&plan, previous, &filled, err);
        if (rc != 0)
            return rc;
        if (filled) {
            write_table(map, &plan);
            return 0;
        }
        if (previous == NULL)
            return err_set(err, ERR_INTERNAL, "no owner table fits the nodes");
        previous = NULL; /* from a table that cannot be mended: begin anew */
    }
}
