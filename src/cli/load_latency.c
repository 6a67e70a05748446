/* Latencies in buckets that grow with them: 32 for each power of two. */
#include "base/assert.h"
#include "cli/load.h"

#define STEP_BITS 5u
#define STEPS (1u << STEP_BITS)

/* Below STEPS the value itself; else its power of two and the STEP_BITS bits after its first one.
 */
static unsigned bucket_of(uint64_t value) {
    if (value < STEPS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)(value >> shift & (STEPS - 1));
}

/* The middle of what falls into a bucket. */
static uint64_t value_of(unsigned bucket) {
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    uint64_t low = (uint64_t)(STEPS + bucket % STEPS) << shift;
    return low + (UINT64_C(1) << shift) / 2;
}

void load_count_latency(struct load_result *result, uint64_t latency_ns) {
    unsigned bucket = bucket_of(latency_ns);
    ASSERT(bucket < LOAD_LATENCY_BUCKETS);
    result->latency_counts[bucket]++;
    if (latency_ns > result->slowest_ns)
        result->slowest_ns = latency_ns;
}

uint64_t load_percentile_ns(const struct load_result *result, unsigned per_mille) {
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < LOAD_LATENCY_BUCKETS; i++)
        total += result->latency_counts[i];
    for (unsigned i = 0; i < LOAD_LATENCY_BUCKETS; i++) {
        seen += result->latency_counts[i];
        if (total > 0 && seen * 1000 >= total * per_mille)
            return value_of(i) < result->slowest_ns ? value_of(i) : result->slowest_ns;
    }
    return 0;
}
