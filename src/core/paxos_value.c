/* What a slot holds: immutable bytes, shared by reference. */
#include "core/paxos_value.h"

#include <assert.h>
#include <stdlib.h>

#include <xxhash.h>

#include "base/assert.h"

struct paxos_value *paxos_value_new(size_t size) {
    ASSERT(size <= PAXOS_VALUE_MAX);
    struct paxos_value *value = malloc(sizeof *value + size);
    if (value == NULL)
        panic("out of memory");
    atomic_init(&value->refs, 1);
    value->size = (uint32_t)size;
    value->kind = PAXOS_COMMANDS;
    memset(value->digest, 0, sizeof value->digest);
    return value;
}

void paxos_value_seal(struct paxos_value *value) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_withSeed(value->data, value->size, value->kind));
    static_assert(sizeof digest.digest == sizeof value->digest, "digest size");
    memcpy(value->digest, digest.digest, sizeof value->digest);
}

static struct paxos_value *value_of(struct span data, enum paxos_value_kind kind) {
    struct paxos_value *value = paxos_value_new(data.size);
    value->kind = kind;
    if (data.size > 0)
        memcpy(value->data, data.data, data.size);
    paxos_value_seal(value);
    return value;
}

struct paxos_value *paxos_value_copy(struct span data) {
    return value_of(data, PAXOS_COMMANDS);
}

struct paxos_value *paxos_value_check(struct span data, enum paxos_value_kind kind,
                                      const uint8_t digest[PAXOS_DIGEST]) {
    struct paxos_value *value = value_of(data, kind);
    return paxos_digest_equal(value->digest, digest) ? value : paxos_value_unref(value);
}

struct paxos_value *paxos_value_ref(struct paxos_value *value) {
    atomic_fetch_add_explicit(&value->refs, 1, memory_order_relaxed);
    return value;
}

struct paxos_value *paxos_value_unref(struct paxos_value *value) {
    if (value != NULL && atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel) == 1)
        free(value);
    return NULL;
}
