/* What a seed's world is like: which faults exist in it, how hard they are, and when they strike
 * (swarm testing: most seeds lack most kinds). */
#include "sim/plan.h"

#include <stdlib.h>

#include "base/rng.h"

static uint64_t draw(struct rng *rng, uint64_t low, uint64_t high, uint32_t percent) {
    bool has = rng_below(rng, 100) < percent;
    uint64_t span = high - low + 1;
    uint64_t value = low + rng_below(rng, rng_below(rng, span) + 1); /* small ones more often */
    return has ? value : 0;
}

const char *sim_action_name(enum sim_action_kind kind) {
    static const char *const names[] = {
#define X(name, low, high, percent) #name,
        SIM_ACTIONS(X)
#undef X
    };
    return names[kind];
}

static uint64_t about(struct rng *rng, uint64_t mean) {
    uint64_t value = 1 + rng_below(rng, mean + 1);
    while (rng_below(rng, 4) == 0)
        value += rng_below(rng, 2 * mean + 1);
    return value;
}

static void draw_actions(struct sim_plan *plan, struct rng *rng, enum sim_action_kind kind,
                         uint64_t mean_ms) {
    uint64_t at_us = 0, end_us = plan->options.horizon_ms * 1000;
    while (mean_ms > 0 && plan->action_count < SIM_ACTIONS_MAX) {
        at_us += about(rng, mean_ms * 1000);
        if (at_us >= end_us)
            return;
        plan->actions[plan->action_count++] =
            (struct sim_action){.at_us = at_us,
                                .kind = kind,
                                .node = (uint32_t)(rng_next(rng) >> 40),
                                .a = (uint32_t)(rng_next(rng) >> 32),
                                .b = (uint32_t)(rng_next(rng) >> 32)};
    }
}

static int by_time(const void *a, const void *b) {
    const struct sim_action *x = a, *y = b;
    if (x->at_us != y->at_us)
        return x->at_us < y->at_us ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

void sim_plan_draw(struct sim_plan *plan, uint64_t seed) {
    static const uint64_t sizes[] = {3, 3, 3, 3, 3, 3, 3, 5, 5, 1};
    struct sim_options *options = &plan->options;
    struct rng rng;
    rng_init(&rng, seed);
    plan->action_count = 0;
    *options = (struct sim_options){.seed = seed, .nodes = sizes[rng_below(&rng, 10)]};
#define X(name, low, high, percent) options->name = draw(&rng, low, high, percent);
    SIM_OPTIONS(X)
#undef X
    options->frail = options->nodes >= 3 ? rng_below(&rng, options->nodes) : options->nodes;
    uint64_t means[SIM_ACTION_KINDS];
#define X(name, low, high, percent) means[SIM_DO_##name] = draw(&rng, low, high, percent);
    SIM_ACTIONS(X)
#undef X
    means[SIM_DO_mend] = means[SIM_DO_cut];
    if (options->frail == options->nodes)
        means[SIM_DO_wipe] = means[SIM_DO_rot_state] = means[SIM_DO_rot_log] = 0;
    for (uint32_t kind = 0; kind < SIM_ACTION_KINDS; kind++)
        draw_actions(plan, &rng, kind, means[kind]);
    qsort(plan->actions, plan->action_count, sizeof *plan->actions, by_time);
}
