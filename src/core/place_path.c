/* Augmenting paths: what is stuck in an owner table is freed by chains of hand-overs. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/place_plan.h"

/* Breadth first from the slice with a hole: a slice may take a node (then that node must leave
 * another slice, which then needs one itself) until a node with room is found. */
struct search {
    uint32_t *queue;
    uint16_t *gives; /* by slice: what it hands over, NOBODY for the first */
    bool *slice_seen;
    bool *node_seen;
    uint32_t *taker; /* by holder: the slice that would take it */
    uint32_t queued;
};

static void search_fini(struct search *search) {
    free(search->queue);
    free(search->gives);
    free(search->slice_seen);
    free(search->node_seen);
    free(search->taker);
}

static int search_init(struct search *search, const struct plan *plan, struct err *err) {
    *search = (struct search){
        .queue = calloc(plan->slice_count, sizeof *search->queue),
        .gives = calloc(plan->slice_count, sizeof *search->gives),
        .slice_seen = calloc(plan->slice_count, sizeof *search->slice_seen),
        .node_seen = calloc(plan->count, sizeof *search->node_seen),
        .taker = calloc(plan->count, sizeof *search->taker),
    };
    if (search->queue == NULL || search->gives == NULL || search->slice_seen == NULL ||
        search->node_seen == NULL || search->taker == NULL)
        return err_set(err, ERR_NOMEM, "no memory for an owner table");
    return 0;
}

static void enqueue_givers(struct search *search, const struct plan *plan, uint16_t holder) {
    for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
        if (search->slice_seen[slice] || place_find_slot(plan, slice, holder) == NULL)
            continue;
        search->slice_seen[slice] = true;
        search->gives[slice] = holder;
        search->queue[search->queued++] = slice;
    }
}

/* A holder with room that can be reached from the hole in first, or NOBODY. */
static uint16_t search_run(struct search *search, const struct plan *plan, uint32_t first) {
    memset(search->slice_seen, 0, plan->slice_count * sizeof *search->slice_seen);
    memset(search->node_seen, 0, plan->count * sizeof *search->node_seen);
    search->slice_seen[first] = true;
    search->gives[first] = NOBODY;
    search->queue[0] = first;
    search->queued = 1;
    for (uint32_t head = 0; head < search->queued; head++) {
        uint32_t slice = search->queue[head];
        const uint16_t *slot = place_find_slot(plan, slice, search->gives[slice]);
        for (uint16_t i = 0; i < plan->count; i++) {
            if (search->node_seen[i] || !place_fits(plan, place_row(plan, slice), slot, i))
                continue;
            search->node_seen[i] = true;
            search->taker[i] = slice;
            if (plan->holders[i].held < plan->holders[i].target)
                return i;
            enqueue_givers(search, plan, i);
        }
    }
    return NOBODY;
}

static bool fill_by_path(struct search *search, struct plan *plan, uint32_t hole) {
    uint16_t holder = search_run(search, plan, hole);
    if (holder == NOBODY)
        return false;
    for (;;) {
        uint32_t slice = search->taker[holder];
        uint16_t given = search->gives[slice];
        place_put(plan, place_find_slot(plan, slice, given), holder);
        if (slice == hole)
            return true;
        holder = given;
    }
}

/* False when a hole is left. */
static bool fill_stuck(struct search *search, struct plan *plan) {
    for (uint32_t slice = 0; slice < plan->slice_count; slice++) {
        while (place_find_slot(plan, slice, NOBODY) != NULL) {
            if (!fill_by_path(search, plan, slice))
                return false;
        }
    }
    return true;
}

int place_fill_stuck(struct plan *plan, bool *ret_filled, struct err *err) {
    _cleanup_(search_fini) struct search search;
    int rc = search_init(&search, plan, err);
    if (rc == 0)
        *ret_filled = fill_stuck(&search, plan);
    return rc;
}
