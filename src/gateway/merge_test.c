/* Merging: random keys over random shards in small pages come out as the sorted whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "gateway/merge.h"

#define SHARDS 4
#define KEYS 200

struct world {
    char keys[KEYS][16];
    uint32_t shard[KEYS];
    unsigned page_size;
    struct arena arena;
    unsigned fetches;
};

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

/* A shard as the catalogue has it: delimiter "/", pages of a few items. */
static int fetch(void *context, uint32_t shard, const char *start_after, Pb__Reply **ret_page) {
    struct world *world = context;
    Pb__Reply *page = arena_new(&world->arena, Pb__Reply);
    pb__reply__init(page);
    page->objects = arena_array(&world->arena, Pb__ListedObject *, KEYS);
    page->prefixes = arena_array(&world->arena, char *, KEYS);
    world->fetches++;
    const char *last = start_after;
    for (size_t i = 0; i < KEYS; i++) {
        char *key = world->keys[i], *slash = strchr(key, '/');
        if (world->shard[i] != shard || strcmp(key, start_after) <= 0)
            continue;
        char *prefix =
            slash != NULL ? arena_strndup(&world->arena, key, (size_t)(slash - key) + 1) : NULL;
        size_t count = page->n_prefixes;
        if (prefix != NULL && ((count > 0 && strcmp(page->prefixes[count - 1], prefix) == 0) ||
                               strncmp(start_after, prefix, strlen(prefix)) == 0))
            continue;
        if (page->n_objects + page->n_prefixes == world->page_size) {
            page->truncated = true;
            page->next =
                arena_printf(&world->arena, strchr(last, '/') != NULL ? "%s\xff" : "%s", last);
            break;
        }
        if (prefix != NULL) {
            page->prefixes[page->n_prefixes++] = prefix;
            last = prefix;
        } else {
            Pb__ListedObject *object = arena_new(&world->arena, Pb__ListedObject);
            pb__listed_object__init(object);
            object->key = key;
            page->objects[page->n_objects++] = object;
            last = key;
        }
    }
    *ret_page = page;
    return 0;
}

static void test_merge(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 200; round++) {
        struct world world = {.page_size = 1 + (unsigned)rng_below(&rng, 30)};
        arena_init(&world.arena, 16 << 20);
        for (size_t i = 0; i < KEYS; i++) {
            bool deep = rng_chance(&rng, 400000);
            snprintf(world.keys[i], sizeof world.keys[i], deep ? "%c%c/%03u" : "%c%c%03u",
                     (char)('a' + rng_below(&rng, 4)), (char)('a' + rng_below(&rng, 4)),
                     (unsigned)i);
        }
        qsort(world.keys, KEYS, sizeof *world.keys, compare);
        for (size_t i = 0; i < KEYS; i++)
            world.shard[i] = 1 + (uint32_t)rng_below(&rng, SHARDS);

        struct merge merge;
        assert_int_equal(merge_init(&merge, SHARDS, "", &world.arena, fetch, &world), 0);
        char last_prefix[16] = "";
        struct merge_item item;
        for (size_t i = 0; i < KEYS; i++) {
            char *slash = strchr(world.keys[i], '/');
            if (slash != NULL) {
                char prefix[16];
                snprintf(prefix, sizeof prefix, "%.*s", (int)(slash - world.keys[i]) + 1,
                         world.keys[i]);
                if (strcmp(prefix, last_prefix) == 0)
                    continue;
                strcpy(last_prefix, prefix);
                assert_int_equal(merge_next(&merge, &item), 0);
                assert_string_equal(item.name, prefix);
                assert_null(item.object);
            } else {
                assert_int_equal(merge_next(&merge, &item), 0);
                assert_string_equal(item.name, world.keys[i]);
                assert_non_null(item.object);
            }
        }
        assert_int_equal(merge_next(&merge, &item), 0);
        assert_null(item.name);
        arena_fini(&world.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
