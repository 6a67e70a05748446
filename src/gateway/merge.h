/* The sorted streams of all shards as one: keys and common prefixes in byte order, each prefix
 * once. Pages are fetched as they are needed, so that a listing costs about what it gives. */
#ifndef QUERN_GATEWAY_MERGE_H
#define QUERN_GATEWAY_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/pb.h"

/* The page of the shard (from 1) that begins after start_after. Its memory must outlive the merge.
 */
typedef int merge_fetch(void *context, uint32_t shard, const char *start_after,
                        Pb__Reply **ret_page);

struct merge_source {
    Pb__Reply *page; /* NULL: not fetched yet */
    size_t object;   /* the next ones of the page */
    size_t prefix;
    bool is_done;
};

struct merge {
    merge_fetch *fetch;
    void *context;
    const char *start_after;
    const char *last_prefix; /* given out */
    uint32_t shard_count;
    struct merge_source *sources;
};

struct merge_item {
    const char *name;               /* NULL: the end */
    const Pb__ListedObject *object; /* NULL: a common prefix */
};

/* Sources lie in the arena. ERR_LIMIT when it is full. */
int merge_init(struct merge *merge, uint32_t shard_count, const char *start_after,
               struct arena *arena, merge_fetch *fetch, void *context);
/* Records of the same key (an ordinary and provisional ones) follow one another. */
int merge_next(struct merge *merge, struct merge_item *ret_item);

#endif
