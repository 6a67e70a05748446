/* Placement: shares, zones, moves and primaries over random histories of nodes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "core/place.h"

static uint32_t holding(const struct place_map *map, uint32_t id) {
    uint32_t count = 0;
    for (size_t i = 0; i < (size_t)map->replicas << map->slice_bits; i++)
        count += map->owners[i] == id;
    return count;
}

static bool holds(const struct place_map *map, uint32_t slice, uint32_t id) {
    for (uint32_t i = 0; i < map->replicas; i++) {
        if (map->owners[(size_t)slice * map->replicas + i] == id)
            return true;
    }
    return false;
}

/* Entries of map that were not in previous, and the least that the nodes' counts allow. */
static void count_moves(const struct place_map *map, const struct place_map *previous,
                        uint32_t *ret_moves, uint32_t *ret_least) {
    uint32_t moves = 0, least = 0;
    for (uint32_t slice = 0; slice < place_slice_count(map); slice++) {
        uint32_t owners[PLACE_REPLICAS_MAX];
        unsigned count = place_owners(map, slice, owners);
        for (unsigned i = 0; i < count; i++)
            moves += !holds(previous, slice, owners[i]);
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        uint32_t now = holding(map, map->nodes[i].id), before = holding(previous, map->nodes[i].id);
        least += now > before ? now - before : 0;
    }
    *ret_moves = moves;
    *ret_least = least;
}

static void check_rows(const struct place_map *map) {
    uint32_t zones = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        uint32_t first = 0;
        while (strcmp(map->nodes[first].zone, map->nodes[i].zone) != 0)
            first++;
        zones += first == i;
    }
    uint32_t width = map->node_count < map->replicas ? map->node_count : map->replicas;
    for (uint32_t slice = 0; slice < place_slice_count(map); slice++) {
        uint32_t owners[PLACE_REPLICAS_MAX];
        assert_int_equal(place_owners(map, slice, owners), width);
        for (uint32_t i = 0; i < width; i++) {
            assert_non_null(place_node(map, owners[i]));
            for (uint32_t j = 0; j < i; j++) {
                assert_int_not_equal(owners[i], owners[j]);
                if (zones >= width)
                    assert_string_not_equal(place_node(map, owners[i])->zone,
                                            place_node(map, owners[j])->zone);
            }
        }
    }
}

/* Fair by weight, where no node's share is capped by the number of slices (one zone only). */
static void check_shares(const struct place_map *map) {
    double weights = 0, width = fmin(map->node_count, map->replicas);
    uint64_t heaviest = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        weights += (double)map->nodes[i].weight;
        heaviest = map->nodes[i].weight > heaviest ? map->nodes[i].weight : heaviest;
    }
    double per_weight = place_slice_count(map) * width / weights;
    if (per_weight * (double)heaviest > place_slice_count(map))
        return;
    for (uint32_t i = 0; i < map->node_count; i++) {
        double fair = per_weight * (double)map->nodes[i].weight;
        assert_true(fabs(holding(map, map->nodes[i].id) - fair) < 1.0 + 1e-6);
    }
}

static void check_primaries(const struct place_map *map) {
    uint32_t width = map->node_count < map->replicas ? map->node_count : map->replicas;
    for (uint32_t i = 0; i < map->node_count; i++) {
        uint32_t firsts = 0;
        for (uint32_t slice = 0; slice < place_slice_count(map); slice++)
            firsts += map->owners[(size_t)slice * map->replicas] == map->nodes[i].id;
        assert_true(fabs(firsts - (double)holding(map, map->nodes[i].id) / width) <= 3);
    }
}

/* ---- histories ---- */

struct history {
    struct rng rng; /* to be seeded */
    struct place_node nodes[16];
    uint32_t count;
    uint32_t next_id;
    uint32_t zones; /* 0 = none */
    uint32_t slice_bits;
    uint32_t replicas;
};

static void add_node(struct history *history) {
    struct place_node *node = &history->nodes[history->count++];
    *node = (struct place_node){
        .id = history->next_id++, .roles = ROLE_ALL, .weight = 50 + rng_below(&history->rng, 100)};
    if (history->zones > 0)
        snprintf(node->zone, sizeof node->zone, "z%u",
                 (unsigned)rng_below(&history->rng, history->zones));
}

static void remove_node(struct history *history, uint32_t i) {
    memmove(&history->nodes[i], &history->nodes[i + 1],
            (history->count - i - 1) * sizeof *history->nodes);
    history->count--;
}

static struct place_map *assign(const struct history *history, const struct place_map *previous) {
    struct err err;
    struct place_map *map = place_map_new(history->count, history->slice_bits, history->replicas);
    memcpy(map->nodes, history->nodes, history->count * sizeof *history->nodes);
    assert_int_equal(place_assign(map, previous, &err), 0);
    return map;
}

static void play(struct history *history, unsigned steps) {
    history->next_id = 1;
    history->count = 0;
    add_node(history);
    struct place_map *map = assign(history, NULL);
    for (unsigned step = 0; step < steps; step++) {
        bool add =
            history->count == 1 || (history->count < 12 && rng_chance(&history->rng, 600000));
        if (add)
            add_node(history);
        else
            remove_node(history, (uint32_t)rng_below(&history->rng, history->count));
        struct place_map *next = assign(history, map), *again = assign(history, map);
        check_rows(next);
        check_primaries(next);
        if (history->zones == 0)
            check_shares(next);
        assert_memory_equal(next->owners, again->owners,
                            ((size_t)next->replicas << next->slice_bits) * sizeof *next->owners);
        uint32_t moves, least, entries = next->replicas << next->slice_bits;
        count_moves(next, map, &moves, &least);
        /* With zones the nodes' counts alone are not a tight bound: a pair that must part moves
         * besides. */
        assert_true(moves <= least + entries / (history->zones > 0 ? 20 : 50) + 1);
        place_map_unref(again);
        place_map_unref(map);
        map = next;
    }
    place_map_unref(map);
}

static void test_random_histories(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++) {
        struct history history = {.slice_bits = seed % 4 == 0 ? 12 : 7, .replicas = 1 + seed % 5};
        rng_init(&history.rng, seed);
        history.zones = (uint32_t[]){0, 3, 5, 0, 2}[seed % 5];
        play(&history, 20);
    }
}

/* With equal weights and no zones the least is exact: what leaves with a node, or what a new one
 * must get. */
static void test_minimum_move(void **state) {
    (void)state;
    for (uint32_t count = 3; count < 12; count++) {
        struct history history = {.slice_bits = 12, .replicas = 3, .next_id = 1};
        rng_init(&history.rng, count);
        for (uint32_t i = 0; i < count; i++) {
            add_node(&history);
            history.nodes[i].weight = 100;
        }
        struct place_map *small = assign(&history, NULL);
        add_node(&history);
        history.nodes[count].weight = 100;
        struct place_map *large = assign(&history, small);
        uint32_t moves, least, fair = (3u << 12) / (count + 1);
        count_moves(large, small, &moves, &least);
        assert_in_range(moves, fair, fair + 1 + fair / 50);
        uint32_t leaving = holding(large, history.nodes[1].id);
        remove_node(&history, 1);
        struct place_map *after = assign(&history, large);
        count_moves(after, large, &moves, &least);
        assert_in_range(moves, leaving, leaving + leaving / 50 + 1);
        place_map_unref(small);
        place_map_unref(large);
        place_map_unref(after);
    }
}

static void test_few_nodes(void **state) {
    (void)state;
    struct history history = {.slice_bits = 4, .replicas = 3, .next_id = 1};
    rng_init(&history.rng, 1);
    struct err err;
    struct place_map *none = place_map_new(0, 4, 3);
    assert_int_equal(place_assign(none, NULL, &err), ERR_INVALID);
    place_map_unref(none);
    add_node(&history);
    add_node(&history);
    history.nodes[1].roles = ROLE_GATEWAY;
    struct place_map *map = assign(&history, NULL);
    uint32_t owners[PLACE_REPLICAS_MAX];
    assert_int_equal(place_owners(map, 15, owners), 1);
    assert_int_equal(owners[0], 1);
    assert_int_equal(place_primary(map, 3), 1);
    map->nodes[0].down = true;
    assert_int_equal(place_primary(map, 3), 0);
    assert_null(place_node(map, 7));
    place_map_unref(map);
}

static void test_hashes_spread(void **state) {
    (void)state;
    struct place_map *map = place_map_new(0, 8, 3);
    map->shards = 8;
    uint32_t slices[256] = {0}, shards[9] = {0};
    for (uint32_t i = 0; i < 25600; i++) {
        struct id128 id = {{0}};
        memcpy(id.bytes, &i, sizeof i);
        slices[place_slice_of(map, id)]++;
        char key[16];
        snprintf(key, sizeof key, "key-%u", (unsigned)i);
        shards[place_shard_of(map, "bucket", key)]++;
    }
    for (unsigned i = 0; i < 256; i++)
        assert_in_range(slices[i], 50, 150);
    assert_int_equal(shards[0], 0);
    for (unsigned i = 1; i <= 8; i++)
        assert_in_range(shards[i], 3000, 3400);
    place_map_unref(map);
}

/* ---- groups ---- */

static void voters_set(struct place_map *map, uint32_t count) {
    map->voter_count = count;
    for (uint32_t v = 0; v < count; v++)
        map->voters[v] = map->nodes[v].id;
}

static uint32_t groups_of(const struct place_map *map, uint32_t node) {
    uint32_t count = 0;
    for (uint32_t g = 0; g <= map->shards; g++)
        count += place_group_has(&map->groups[g], node);
    return count;
}

static void check_groups(const struct place_map *map) {
    uint32_t least = UINT32_MAX, most = 0;
    uint32_t width = map->voter_count < PLACE_GROUP_WIDTH ? map->voter_count : PLACE_GROUP_WIDTH;
    for (uint32_t g = 0; g <= map->shards; g++) {
        const struct place_group *group = &map->groups[g];
        assert_int_equal(group->count, width);
        for (uint32_t i = 0; i < width; i++)
            for (uint32_t j = 0; j < i; j++)
                assert_int_not_equal(group->nodes[i], group->nodes[j]);
    }
    for (uint32_t v = 0; v < map->voter_count; v++) {
        uint32_t count = groups_of(map, map->voters[v]);
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    assert_true(most - least <= 1);
}

static struct place_map *groups_map(uint32_t node_count, uint32_t shards) {
    struct place_map *map = place_map_new(node_count, 2, 1);
    map->shards = shards;
    for (uint32_t i = 0; i < node_count; i++)
        map->nodes[i].id = i + 1;
    return map;
}

static void test_groups_are_even_and_move_little(void **state) {
    (void)state;
    struct place_map *map = groups_map(9, 8), *before = groups_map(9, 8);
    for (uint32_t count = 1; count <= 9; count++) {
        voters_set(map, count);
        memcpy(before->groups, map->groups, sizeof map->groups);
        place_groups(map);
        check_groups(map);
        uint32_t moves = 0;
        for (uint32_t g = 0; g <= map->shards; g++)
            for (uint32_t i = 0; i < map->groups[g].count; i++)
                moves += !place_group_has(&before->groups[g], map->groups[g].nodes[i]);
        uint32_t gained = groups_of(map, count);
        assert_int_equal(moves, gained); /* only to the new voter */
    }
    map->voters[2] = map->voters[8]; /* node 3 goes */
    map->voter_count = 8;
    place_groups(map);
    check_groups(map);
    assert_int_equal(groups_of(map, 3), 0);
    place_map_unref(map);
    place_map_unref(before);
}

static void test_groups_spread_over_zones(void **state) {
    (void)state;
    struct place_map *map = groups_map(6, 8);
    for (uint32_t i = 0; i < 6; i++)
        snprintf(map->nodes[i].zone, sizeof map->nodes[i].zone, "z%u", i / 2);
    voters_set(map, 6);
    place_groups(map);
    check_groups(map);
    for (uint32_t g = 0; g <= map->shards; g++)
        for (uint32_t i = 0; i < 3; i++)
            for (uint32_t j = 0; j < i; j++)
                assert_int_not_equal((map->groups[g].nodes[i] - 1) / 2,
                                     (map->groups[g].nodes[j] - 1) / 2);
    place_map_unref(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_are_even_and_move_little),
        cmocka_unit_test(test_groups_spread_over_zones),
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_minimum_move),
        cmocka_unit_test(test_few_nodes),
        cmocka_unit_test(test_hashes_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
