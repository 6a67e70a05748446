/* Whether a bucket takes objects in this shard. Every write asks, so the newest answers are kept in
 * memory, by the hash of the name; a changed gate empties that. */
#include <xxhash.h>

#include "core/catalog_impl.h"

static struct catalog_gate *place_of(struct catalog_gates *gates, const char *bucket) {
    return &gates->kept[XXH3_64bits(bucket, strlen(bucket)) % CATALOG_GATES_KEPT];
}

static bool load(struct catalog_step *step, const char *bucket) {
    struct catalog_key key = catalog_key(step->group, TABLE_GATE);
    catalog_key_text(&key, bucket);
    const Pb__Gate *gate = catalog_load(step, &key, &pb__gate__descriptor);
    return gate != NULL && gate->open;
}

bool catalog_bucket_is_open(struct catalog_step *step, const char *bucket) {
    if (step->gates == NULL)
        return load(step, bucket);
    struct catalog_gate *kept = place_of(step->gates, bucket);
    if (strcmp(kept->bucket, bucket) == 0)
        return kept->open;
    bool open = load(step, bucket);
    if (step->broken != 0 || strlen(bucket) >= sizeof kept->bucket)
        return open;
    memcpy(kept->bucket, bucket, strlen(bucket) + 1);
    kept->open = open;
    return open;
}

void catalog_gates_forget(struct catalog_step *step) {
    if (step->gates != NULL)
        *step->gates = (struct catalog_gates){0};
}
