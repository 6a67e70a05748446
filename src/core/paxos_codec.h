/* How records and messages lie in bytes: fixed little-endian structs, copied whole. Private to
 * paxos_record.c and paxos_message.c. */
#ifndef QUERN_CORE_PAXOS_CODEC_H
#define QUERN_CORE_PAXOS_CODEC_H

#include <assert.h>

#include "core/paxos_value.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "structs are copied to disk and wire as they are");

/* Numbers beyond these come from broken bytes; below them none of our sums overflows. */
#define PAXOS_SLOT_LIMIT ((uint64_t)1 << 62)
#define PAXOS_ROUND_LIMIT ((uint64_t)1 << 62)

static inline bool paxos_ballot_is_sane(struct ballot ballot) {
    return ballot.round < PAXOS_ROUND_LIMIT;
}

#endif
