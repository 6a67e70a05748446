/* Inside placement: an owner table in the making (place_assign.c says how). Nodes and zones are
 * indices here. All ties are broken by fixed hashes: same inputs, same table. */
#ifndef QUERN_CORE_PLACE_PLAN_H
#define QUERN_CORE_PLACE_PLAN_H

#include "core/place.h"

#define NOBODY UINT16_MAX

struct holder {
    uint16_t id;
    uint16_t zone;
    double weight;
    double fair;
    uint32_t held;
    uint32_t target;
};

struct plan {
    uint32_t slice_count;
    uint32_t width; /* copies of a slice: R, or the nodes there are */
    uint32_t count; /* of holders */
    uint32_t zone_count;
    uint32_t zone_limit; /* copies of a slice in one zone */
    struct holder *holders;
    int64_t *zone_room; /* targets minus held, of a zone */
    uint16_t *rows;     /* of holders' indices or NOBODY */
};

static inline uint16_t *place_row(const struct plan *plan, uint32_t slice) {
    return plan->rows + (size_t)slice * plan->width;
}
/* Where the slice's row holds holder (or NOBODY); NULL when it does not. */
uint16_t *place_find_slot(const struct plan *plan, uint32_t slice, uint16_t holder);
/* Puts holder, or NOBODY, in the slot in place of what it holds. */
void place_put(struct plan *plan, uint16_t *slot, uint16_t holder);
/* Whether holder may stand in the row in place of what slot holds. */
bool place_fits(const struct plan *plan, const uint16_t *row, const uint16_t *slot,
                uint16_t holder);

/* Each holder's fair share by weight and its target, the whole number above or below it. */
void place_set_targets(struct plan *plan);

/* Fills the holes that no holder with room fits: a chain of hand-overs ends at one that has.
 * *ret_filled is false when a hole is left. */
int place_fill_stuck(struct plan *plan, bool *ret_filled, struct err *err);

#endif
