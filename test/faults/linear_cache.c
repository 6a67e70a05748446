/* The configurations a search has seen: an open hash table that doubles up to its limit. */
#include <stdlib.h>
#include <string.h>

#include "faults/linear_impl.h"

static uint64_t hash_key(const uint64_t *key, size_t words) {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < words; i++) {
        hash = (hash ^ key[i]) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

static uint64_t *find_slot(uint64_t *table, size_t room, size_t width, const uint64_t *key) {
    size_t at = hash_key(key, width) & (room - 1);
    while (table[at * width + width - 1] != 0 &&
           memcmp(table + at * width, key, width * sizeof *key) != 0)
        at = (at + 1) & (room - 1);
    return table + at * width;
}

static bool grow(struct linear_cache *cache) {
    size_t width = cache->width, room = cache->room == 0 ? 64 : cache->room * 2;
    if (room > cache->room_max)
        return false;
    uint64_t *table = calloc(room, width * sizeof *table);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < cache->room; i++) {
        const uint64_t *key = cache->table + i * width;
        if (key[width - 1] != 0)
            memcpy(find_slot(table, room, width, key), key, width * sizeof *key);
    }
    free(cache->table);
    cache->table = table;
    cache->room = room;
    return true;
}

enum linear_seen linear_cache_add(struct linear_cache *cache, const uint64_t *key) {
    if (cache->used * 4 >= cache->room * 3 && !grow(cache))
        return LINEAR_NO_ROOM;
    uint64_t *slot = find_slot(cache->table, cache->room, cache->width, key);
    if (slot[cache->width - 1] != 0)
        return LINEAR_BEFORE;
    memcpy(slot, key, cache->width * sizeof *key);
    cache->used++;
    return LINEAR_NEW;
}

void linear_cache_fini(struct linear_cache *cache) {
    free(cache->table);
    *cache = (struct linear_cache){0};
}
