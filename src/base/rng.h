/* A seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64): same seed, same
 * draws. For decisions that must be repeatable and for jitter; never for secrets or identifiers
 * (os/random.h). */
#ifndef QUERN_BASE_RNG_H
#define QUERN_BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound); /* uniform in [0, bound); bound > 0 */
bool rng_chance(struct rng *rng, uint32_t per_million);

#endif
