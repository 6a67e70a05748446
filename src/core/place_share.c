/* Fair shares of slices by weight, under two limits: a node holds a slice once, and a zone holds at
 * most zone_limit copies of it. */
#include <math.h>

#include "base/assert.h"
#include "core/place_plan.h"

#define BISECTIONS 200 /* halvings of a double: more than its precision */

/* What a zone holds when each unit of weight gets `level` slices and no node more than all of them.
 */
static double zone_share(const struct plan *plan, uint32_t zone, double level) {
    double sum = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->holders[i].zone == zone)
            sum += fmin(plan->slice_count, level * plan->holders[i].weight);
    }
    return sum;
}

static double zone_cap(const struct plan *plan) {
    return (double)plan->zone_limit * plan->slice_count;
}

static double all_shares(const struct plan *plan, double level) {
    double sum = 0;
    for (uint32_t zone = 0; zone < plan->zone_count; zone++)
        sum += fmin(zone_cap(plan), zone_share(plan, zone, level));
    return sum;
}

/* The lowest level at which the shares of one zone, or of all (zone_count), reach what is wanted.
 */
static double find_level(const struct plan *plan, uint32_t zone, double wanted) {
    double low = 0, high = (double)plan->slice_count; /* weights are at least 1 */
    for (unsigned i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;
        double share =
            zone == plan->zone_count ? all_shares(plan, middle) : zone_share(plan, zone, middle);
        if (share < wanted)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void find_fair_shares(struct plan *plan) {
    double level = find_level(plan, plan->zone_count, (double)plan->slice_count * plan->width);
    for (uint32_t zone = 0; zone < plan->zone_count; zone++) {
        bool full = zone_share(plan, zone, level) > zone_cap(plan);
        double own = full ? find_level(plan, zone, zone_cap(plan)) : level;
        for (uint32_t i = 0; i < plan->count; i++) {
            struct holder *holder = &plan->holders[i];
            if (holder->zone != zone)
                continue;
            double fair = fmin(plan->slice_count, own * holder->weight);
            holder->fair = fabs(fair - round(fair)) < 1e-6 ? round(fair) : fair;
        }
    }
}

/* Who is to be rounded up first: who would otherwise have to give a slice away, then the larger
 * fraction. */
static bool rounds_up_before(const struct holder *a, const struct holder *b) {
    bool a_holds = a->held > a->target, b_holds = b->held > b->target;
    if (a_holds != b_holds)
        return a_holds;
    return a->fair - a->target > b->fair - b->target;
}

static void round_shares(struct plan *plan) {
    uint64_t left = (uint64_t)plan->slice_count * plan->width;
    int64_t in_zone[PLACE_NODES_MAX] = {0};
    for (uint32_t i = 0; i < plan->count; i++) {
        struct holder *holder = &plan->holders[i];
        holder->target = (uint32_t)holder->fair;
        in_zone[holder->zone] += holder->target;
        left -= holder->target;
    }
    for (; left > 0; left--) {
        struct holder *best = NULL;
        for (uint32_t i = 0; i < plan->count; i++) {
            struct holder *holder = &plan->holders[i];
            if (holder->target < holder->fair && (double)in_zone[holder->zone] < zone_cap(plan) &&
                (best == NULL || rounds_up_before(holder, best)))
                best = holder;
        }
        ASSERT(best != NULL);
        best->target++;
        in_zone[best->zone]++;
    }
    for (uint32_t i = 0; i < plan->count; i++)
        plan->zone_room[plan->holders[i].zone] += plan->holders[i].target;
}

void place_set_targets(struct plan *plan) {
    find_fair_shares(plan);
    round_shares(plan);
}
