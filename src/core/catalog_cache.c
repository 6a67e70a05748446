/* The records that commands asked for last, so that those which are changed again and again are not
 * looked up each time. Each key has one place, by its hash; who comes there later replaces it. */
#include <stdlib.h>
#include <xxhash.h>

#include "base/assert.h"
#include "core/catalog_impl.h"

#define VALUE_BYTES_MAX 1024u /* a larger one is not kept */

struct catalog_kept {
    uint32_t key_size;
    uint32_t value_size;
    uint32_t room;   /* of bytes */
    bool is_absent;  /* there is no such record */
    uint8_t bytes[]; /* key, value */
};

static struct catalog_kept **place_of(struct catalog_cache *cache, struct span key) {
    return &cache->kept[XXH3_64bits(key.data, key.size) % CATALOG_RECORDS_KEPT];
}

static bool is_of(const struct catalog_kept *kept, struct span key) {
    return kept != NULL && kept->key_size == key.size &&
           memcmp(kept->bytes, key.data, key.size) == 0;
}

static void drop(struct catalog_kept **place) {
    free(*place);
    *place = NULL;
}

bool catalog_cache_get(struct catalog_cache *cache, struct span key, struct buf *ret_value,
                       int *ret_code) {
    const struct catalog_kept *kept = *place_of(cache, key);
    if (!is_of(kept, key))
        return false;
    *ret_code = kept->is_absent ? ERR_NOT_FOUND : 0;
    buf_append(ret_value, kept->bytes + kept->key_size, kept->value_size);
    if (ret_value->failed)
        panic("out of memory for a record");
    return true;
}

static void fill(struct catalog_kept **place, struct span key, const struct span *value) {
    struct span bytes = value != NULL ? *value : (struct span){0};
    uint32_t size = (uint32_t)(key.size + bytes.size);
    if (bytes.size > VALUE_BYTES_MAX) {
        drop(place);
        return;
    }
    if (*place == NULL || (*place)->room < size) {
        drop(place);
        *place = malloc(sizeof **place + size);
        if (*place == NULL)
            panic("out of memory for a record");
        (*place)->room = size;
    }
    struct catalog_kept *kept = *place;
    kept->key_size = (uint32_t)key.size;
    kept->value_size = (uint32_t)bytes.size;
    kept->is_absent = value == NULL;
    memcpy(kept->bytes, key.data, key.size);
    if (bytes.size > 0)
        memcpy(kept->bytes + key.size, bytes.data, bytes.size);
}

void catalog_cache_keep(struct catalog_cache *cache, struct span key, const struct span *value) {
    fill(place_of(cache, key), key, value);
}

void catalog_cache_change(struct catalog_cache *cache, struct span key, const struct span *value) {
    struct catalog_kept **place = place_of(cache, key);
    if (is_of(*place, key))
        fill(place, key, value);
}

void catalog_cache_close(struct catalog_cache *cache) {
    for (uint32_t i = 0; i < CATALOG_RECORDS_KEPT; i++)
        free(cache->kept[i]);
}
