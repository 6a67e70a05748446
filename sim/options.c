/* What a seed's world is like: which faults exist in it, and how hard they are. */
#include <stdio.h>

#include "sim/sim.h"

static uint64_t draw(struct rng *rng, uint64_t low, uint64_t high, uint32_t percent) {
    bool has = rng_below(rng, 100) < percent;
    uint64_t span = high - low + 1;
    uint64_t value = low + rng_below(rng, rng_below(rng, span) + 1); /* small ones more often */
    return has ? value : 0;
}

void sim_options_draw(struct sim_options *options, uint64_t seed) {
    static const uint64_t sizes[] = {3, 3, 3, 3, 3, 3, 3, 5, 5, 1};
    struct rng rng;
    rng_init(&rng, seed);
    *options = (struct sim_options){.seed = seed, .nodes = sizes[rng_below(&rng, 10)]};
#define X(name, low, high, percent) options->name = draw(&rng, low, high, percent);
    SIM_OPTIONS(X)
#undef X
}

void sim_options_print(const struct sim_options *options) {
    printf("seed %llu\nnodes %llu\n", (unsigned long long)options->seed,
           (unsigned long long)options->nodes);
#define X(name, low, high, percent) printf(#name " %llu\n", (unsigned long long)options->name);
    SIM_OPTIONS(X)
#undef X
}
