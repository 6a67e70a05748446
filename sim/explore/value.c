/* In the place of core/paxos_value.c: values that are kept for ever, each once. The explorer goes
 * back to former states, which may hold what was dropped since; and states that hold equal values
 * must be equal bytes. */
#include <stdlib.h>

#include <xxhash.h>

#include "sim/explore/explore.h"

#define VALUES_MAX 64u

static struct paxos_value *values[VALUES_MAX];
static unsigned value_count;

struct paxos_value *paxos_value_new(size_t size) {
    struct paxos_value *value = calloc(1, sizeof *value + size);
    if (value == NULL)
        panic("out of memory");
    value->size = (uint32_t)size;
    return value;
}

void paxos_value_seal(struct paxos_value *value) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_withSeed(value->data, value->size, value->kind));
    memcpy(value->digest, digest.digest, sizeof value->digest);
}

static struct paxos_value *value_of(struct span data, enum paxos_value_kind kind) {
    for (unsigned i = 0; i < value_count; i++)
        if (values[i]->kind == kind && values[i]->size == data.size &&
            (data.size == 0 || memcmp(values[i]->data, data.data, data.size) == 0))
            return values[i];
    ASSERT(value_count < VALUES_MAX);
    struct paxos_value *value = paxos_value_new(data.size);
    value->kind = kind;
    if (data.size > 0)
        memcpy(value->data, data.data, data.size);
    paxos_value_seal(value);
    return values[value_count++] = value;
}

struct paxos_value *paxos_value_copy(struct span data) {
    return value_of(data, PAXOS_COMMANDS);
}

struct paxos_value *paxos_value_check(struct span data, enum paxos_value_kind kind,
                                      const uint8_t digest[PAXOS_DIGEST]) {
    struct paxos_value *value = value_of(data, kind);
    return paxos_digest_equal(value->digest, digest) ? value : NULL;
}

struct paxos_value *paxos_value_ref(struct paxos_value *value) {
    return value;
}

struct paxos_value *paxos_value_unref(struct paxos_value *value) {
    (void)value;
    return NULL;
}
