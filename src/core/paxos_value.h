/* Ballots, and what a slot holds: immutable bytes, shared by reference, known by their digest. */
#ifndef QUERN_CORE_PAXOS_VALUE_H
#define QUERN_CORE_PAXOS_VALUE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

#define PAXOS_VALUE_MAX (1u << 20) /* bytes of a slot's value */
#define PAXOS_DIGEST 16u

/* Unique for ever: a node's boot grows durably with every start, and node ids are never given out
 * twice. */
struct ballot {
    uint64_t round; /* 0 = none */
    uint32_t node;
    uint32_t boot;
};

static inline int ballot_compare(struct ballot a, struct ballot b) {
    if (a.round != b.round)
        return a.round < b.round ? -1 : 1;
    if (a.node != b.node)
        return a.node < b.node ? -1 : 1;
    return (a.boot > b.boot) - (a.boot < b.boot);
}

enum paxos_value_kind {
    PAXOS_COMMANDS, /* the owner's; without bytes it is a NOOP: chosen, and changes nothing */
    PAXOS_CONFIG,   /* core/paxos_config.h */
    PAXOS_VALUE_KIND_END
};

/* Never changed once sealed; references may be dropped by any thread. */
struct paxos_value {
    atomic_uint refs;
    uint32_t size;
    enum paxos_value_kind kind;
    uint8_t digest[PAXOS_DIGEST]; /* XXH3-128 of data, seeded with the kind */
    char data[];
};

/* size <= PAXOS_VALUE_MAX; data is the caller's to fill, then seal. Panics when out of memory, as
 * all of the core. */
struct paxos_value *paxos_value_new(size_t size);
void paxos_value_seal(struct paxos_value *value);       /* computes the digest */
struct paxos_value *paxos_value_copy(struct span data); /* new, filled and sealed */
/* The like, when the digest is known; NULL when it is another one. */
struct paxos_value *paxos_value_check(struct span data, enum paxos_value_kind kind,
                                      const uint8_t digest[PAXOS_DIGEST]);
struct paxos_value *paxos_value_ref(struct paxos_value *value);
struct paxos_value *paxos_value_unref(struct paxos_value *value); /* NULL is fine; returns NULL */

static inline bool paxos_digest_equal(const uint8_t a[PAXOS_DIGEST],
                                      const uint8_t b[PAXOS_DIGEST]) {
    return memcmp(a, b, PAXOS_DIGEST) == 0;
}

#endif
