/* Chosen slots are applied in batches. */
#include "meta/apply.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "meta/batch.h"
#include "meta/call.h"
#include "meta/engine.h"
#include "meta/state.h"
#include "os/space.h"

#define PASS_SLOTS 256u              /* applied in one batch of the store, */
#define PASS_BYTES ((size_t)4 << 20) /* but for one larger slot */

struct apply_item {
    struct list node;
    struct group *group;
    uint64_t slot;
    struct paxos_value *value; /* NULL: remove the group's state */
    struct proposal *proposal; /* NULL: nobody here waits */
};

void applier_init(struct meta *meta) {
    struct applier *applier = &meta->applier;
    applier->batch = kv_batch_new(meta->kv);
    applier->commands = calloc(BATCH_COMMANDS_MAX, sizeof *applier->commands);
    applier->replies = calloc(BATCH_COMMANDS_MAX, sizeof *applier->replies);
    if (applier->commands == NULL || applier->replies == NULL)
        panic("out of memory for the applier");
    pthread_mutex_init(&applier->mutex, NULL);
    pthread_cond_init(&applier->queued, NULL);
    list_init(&applier->queue);
}

void applier_fini(struct meta *meta) {
    struct applier *applier = &meta->applier;
    ASSERT(list_is_empty(&applier->queue));
    applier->batch = kv_batch_free(applier->batch);
    for (uint32_t i = 0; applier->replies != NULL && i < BATCH_COMMANDS_MAX; i++)
        buf_fini(&applier->replies[i]);
    free(applier->commands);
    free(applier->replies);
}

static void queue_item(const struct apply_item *content) {
    struct applier *applier = &content->group->meta->applier;
    struct apply_item *item = malloc(sizeof *item);
    if (item == NULL)
        panic("out of memory for a chosen slot");
    *item = *content;
    pthread_mutex_lock(&applier->mutex);
    bool was_empty = list_is_empty(&applier->queue);
    list_add_tail(&applier->queue, &item->node);
    pthread_mutex_unlock(&applier->mutex);
    if (was_empty)
        pthread_cond_signal(&applier->queued);
}

void applier_queue(struct group *group, const struct paxos_chosen *chosen) {
    queue_item(&(struct apply_item){.group = group,
                                    .slot = chosen->slot,
                                    .value = chosen->value,
                                    .proposal = (struct proposal *)(uintptr_t)chosen->cookie});
}

void applier_queue_erase(struct group *group) {
    queue_item(&(struct apply_item){.group = group});
}

/* Hands the replies to the calls; those of commands proposed elsewhere are kept for the next
 * slot's. */
static void replies_move(struct applier *applier, struct proposal *proposal, uint32_t count) {
    ASSERT(proposal == NULL || proposal->count == count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf *reply = &applier->replies[i];
        if (proposal != NULL) {
            proposal->calls[i]->reply = *reply;
            *reply = BUF_INIT;
        } else {
            buf_clear(reply);
        }
    }
}

/* Of a configuration that the core has already taken up. */
static void config_apply(struct group *group, const struct apply_item *item) {
    struct err err = {0};
    struct span bytes = {item->value->data, item->value->size};
    if (paxos_config_decode(bytes, item->slot, &group->state.config, &err) != 0)
        panic("group %u slot %llu: %s", group->number, (unsigned long long)item->slot, err.text);
}

static int item_apply(struct meta *meta, struct apply_item *item, struct err *err) {
    struct applier *applier = &meta->applier;
    struct group *group = item->group;
    struct err story = {0};
    uint32_t count = 0;
    struct span value = {item->value->data, item->value->size};
    if (item->value->kind == PAXOS_CONFIG)
        config_apply(group, item);
    else if (value.size > 0 && batch_decode(value, applier->commands, &count, &story) != 0)
        log_error("group %u slot %llu changes nothing: %s", group->number,
                  (unsigned long long)item->slot, story.text); /* here as on every replica */
    struct catalog_kv view = state_batch_view(applier->batch);
    int r = count > 0 ? catalog_apply(group->catalog, &view, item->slot, applier->commands, count,
                                      applier->replies, &story)
                      : 0;
    if (r != 0)
        return err_set(err, r, "group %u slot %llu cannot be applied: %s", group->number,
                       (unsigned long long)item->slot, err_message(&story, r));
    state_advance(&group->state, item->value, item->slot, applier->replies, count);
    replies_move(applier, item->proposal, count);
    return 0;
}

/* Of each group once, with its last slot. */
static void put_applied(struct meta *meta, const struct apply_item *item) {
    struct group *group = item->group;
    if (item->slot == group->state.slot)
        state_put_applied(meta->applier.batch, group->number, &group->state);
}

/* After the store was written: readers may see it, callers are told. */
static void item_publish(struct apply_item *item) {
    struct group *group = item->group;
    pthread_mutex_lock(&group->mutex);
    group->check = group->state.check;
    pthread_mutex_unlock(&group->mutex);
    atomic_store(&group->applied, item->slot);
    struct proposal *proposal = item->proposal;
    for (uint32_t i = 0; proposal != NULL && i < proposal->count; i++)
        call_finish(proposal->calls[i], 0);
    free(proposal);
    paxos_value_unref(item->value);
    free(item);
}

static int group_erase(struct group *group, struct err *err) {
    struct kv *kv = group->meta->kv;
    int r = state_forget(kv, group->number, err);
    for (uint32_t generation = 0; r == 0 && generation <= 1; generation++)
        r = state_erase(kv, group->number, generation, err);
    if (r != 0)
        return r;
    group->catalog = catalog_close(group->catalog);
    atomic_store(&group->erasing, false);
    return 0;
}

static int slots_apply(struct meta *meta, struct list *items, struct err *err) {
    int r = 0;
    LIST_FOR_EACH(node, items)
    if (r == 0)
        r = item_apply(meta, LIST_ENTRY(node, struct apply_item, node), err);
    if (r != 0)
        return r;
    LIST_FOR_EACH(node, items)
    put_applied(meta, LIST_ENTRY(node, struct apply_item, node));
    r = kv_write(meta->kv, meta->applier.batch, err);
    for (struct list *node; r == 0 && (node = list_pop_head(items)) != NULL;)
        item_publish(LIST_ENTRY(node, struct apply_item, node));
    return r;
}

static int items_apply(struct meta *meta, struct list *items, struct err *err) {
    struct apply_item *last = LIST_ENTRY(items->prev, struct apply_item, node);
    struct group *erased = last->value == NULL ? last->group : NULL;
    if (erased != NULL)
        list_remove(&last->node);
    int r = slots_apply(meta, items, err);
    if (erased == NULL)
        return r;
    free(last);
    return r != 0 ? r : group_erase(erased, err);
}

/* What was chosen is in the log; whoever waits for it may ask another node. */
static void items_drop(struct list *items) {
    for (struct list *node; (node = list_pop_head(items)) != NULL;) {
        struct apply_item *item = LIST_ENTRY(node, struct apply_item, node);
        for (uint32_t i = 0; item->proposal != NULL && i < item->proposal->count; i++)
            call_finish(item->proposal->calls[i], ERR_TIMEOUT);
        free(item->proposal);
        paxos_value_unref(item->value);
        free(item);
    }
}

/* Nothing is applied any more once the state store is damaged. Any other error ends the process. */
static int pass(struct meta *meta, struct list *items, struct err *err) {
    struct applier *applier = &meta->applier;
    int r = applier->ended ? ERR_CORRUPT : items_apply(meta, items, err);
    if (r != 0 && (r != ERR_CORRUPT || !damage_is_final(meta)))
        space_panic(err, "the catalogue");
    applier->ended = r != 0;
    items_drop(items);
    return r;
}

/* Takes a pass; false when there is nothing. */
static bool items_take(struct applier *applier, struct list *ret_items) {
    struct list *node;
    size_t bytes = 0;
    list_init(ret_items);
    for (uint32_t i = 0; i < PASS_SLOTS && bytes < PASS_BYTES; i++) {
        if ((node = list_pop_head(&applier->queue)) == NULL)
            break;
        list_add_tail(ret_items, node);
        const struct apply_item *item = LIST_ENTRY(node, struct apply_item, node);
        if (item->value == NULL)
            break;
        bytes += item->value->size;
    }
    return !list_is_empty(ret_items);
}

int applier_drain(struct meta *meta, struct err *err) {
    int r = 0;
    for (struct list items; items_take(&meta->applier, &items);)
        r = pass(meta, &items, err);
    return r;
}

static void *apply(void *argument) {
    struct meta *meta = argument;
    struct applier *applier = &meta->applier;
    struct list items;
    pthread_setname_np(pthread_self(), "applier");
    pthread_mutex_lock(&applier->mutex);
    for (;;) {
        while (!items_take(applier, &items) && !applier->stopping)
            pthread_cond_wait(&applier->queued, &applier->mutex);
        if (list_is_empty(&items))
            break;
        pthread_mutex_unlock(&applier->mutex);
        struct err err = {0};
        if (pass(meta, &items, &err) == 0)
            mailbox_post_applied(&meta->mailbox);
        else if (err.code != 0)
            log_error("%s", err.text); /* the first time */
        pthread_mutex_lock(&applier->mutex);
    }
    pthread_mutex_unlock(&applier->mutex);
    return NULL;
}

void applier_start(struct meta *meta) {
    if (pthread_create(&meta->applier.thread, NULL, apply, meta) != 0)
        panic("cannot start the applier's thread");
}

void applier_stop(struct meta *meta) {
    struct applier *applier = &meta->applier;
    pthread_mutex_lock(&applier->mutex);
    applier->stopping = true;
    pthread_cond_signal(&applier->queued);
    pthread_mutex_unlock(&applier->mutex);
    pthread_join(applier->thread, NULL);
}
