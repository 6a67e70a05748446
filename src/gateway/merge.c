/* A merge of a few sorted streams: the least head wins. */
#include "gateway/merge.h"

#include <string.h>

int merge_init(struct merge *merge, uint32_t shard_count, const char *start_after,
               struct arena *arena, merge_fetch *fetch, void *context) {
    *merge = (struct merge){
        .fetch = fetch, .context = context, .start_after = start_after, .shard_count = shard_count};
    merge->sources = arena_array(arena, struct merge_source, shard_count);
    return merge->sources != NULL ? 0 : ERR_LIMIT;
}

static bool source_is_used_up(const struct merge_source *source) {
    return source->object == source->page->n_objects && source->prefix == source->page->n_prefixes;
}

/* Sees that the source has a head or is done. */
static int source_fill(struct merge *merge, uint32_t shard, struct merge_source *source) {
    while (!source->is_done && (source->page == NULL || source_is_used_up(source))) {
        if (source->page != NULL && !source->page->truncated) {
            source->is_done = true;
            return 0;
        }
        const char *after = source->page != NULL ? source->page->next : merge->start_after;
        int rc = merge->fetch(merge->context, shard, after, &source->page);
        if (rc != 0)
            return rc;
        source->object = source->prefix = 0;
    }
    return 0;
}

static struct merge_item source_head(const struct merge_source *source) {
    const Pb__Reply *page = source->page;
    struct merge_item item = {0};
    if (source->is_done)
        return item;
    if (source->object < page->n_objects) {
        item.object = page->objects[source->object];
        item.name = item.object->key;
    }
    if (source->prefix < page->n_prefixes &&
        (item.name == NULL || strcmp(page->prefixes[source->prefix], item.name) < 0))
        item = (struct merge_item){.name = page->prefixes[source->prefix]};
    return item;
}

static void source_take(struct merge_source *source, const struct merge_item *item) {
    source->object += item->object != NULL;
    source->prefix += item->object == NULL;
}

static int take_least(struct merge *merge, struct merge_item *ret_item) {
    struct merge_item least = {0};
    struct merge_source *from = NULL;
    for (uint32_t i = 0; i < merge->shard_count; i++) {
        struct merge_source *source = &merge->sources[i];
        int rc = source_fill(merge, i + 1, source);
        if (rc != 0)
            return rc;
        struct merge_item head = source_head(source);
        if (head.name != NULL && (least.name == NULL || strcmp(head.name, least.name) < 0)) {
            least = head;
            from = source;
        }
    }
    if (from != NULL)
        source_take(from, &least);
    *ret_item = least;
    return 0;
}

int merge_next(struct merge *merge, struct merge_item *ret_item) {
    struct merge_item item;
    bool is_repeated;
    do {
        int rc = take_least(merge, &item);
        if (rc != 0)
            return rc;
        bool is_prefix = item.name != NULL && item.object == NULL;
        is_repeated =
            is_prefix && merge->last_prefix != NULL && strcmp(item.name, merge->last_prefix) == 0;
        if (is_prefix)
            merge->last_prefix = item.name;
    } while (is_repeated);
    *ret_item = item;
    return 0;
}
