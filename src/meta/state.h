/* The state store as the catalogue sees it, and the applied slot of each group in it. */
#ifndef QUERN_META_STATE_H
#define QUERN_META_STATE_H

#include <stdint.h>

#include "core/catalog.h"
#include "core/paxos.h"
#include "os/kv.h"

/* Both live as long as what they look at. */
struct catalog_kv state_batch_view(struct kv_batch *batch);

struct state_reader { /* read-only, of one moment */
    struct kv *kv;
    struct kv_snapshot *snapshot;
};
struct catalog_kv state_reader_view(struct state_reader *reader);

/* What is written with the effects of a slot, in one batch. */
struct state_applied {
    uint64_t slot; /* 0 = nothing was applied yet */
    /* D[s] = H(D[s-1], s, the value's digest, the replies): equal on all replicas. */
    uint8_t chain[PAXOS_DIGEST];
    struct paxos_check
        check; /* the newest that is compared with the others': every so many slots */
    struct paxos_config config; /* the newest chosen in slots up to it; count 0 = none was */
    uint32_t generation;        /* 0 or 1: the state is in catalog_space(group, generation) */
    uint64_t void_upto; /* the state came from another node: what the log holds of slots up to it
                           need not be all, nor what was chosen */
};

#define STATE_CHECK_SLOTS 1024u

/* Takes the slot into account; replies in the order of its commands. */
void state_advance(struct state_applied *applied, const struct paxos_value *value, uint64_t slot,
                   const struct buf *replies, uint32_t count);
void state_put_applied(struct kv_batch *batch, uint32_t group, const struct state_applied *applied);
/* Zeroed when nothing was applied yet; snapshot NULL: now. Errors: ERR_CORRUPT, ERR_IO. */
int state_get_applied(struct kv *kv, const struct kv_snapshot *snapshot, uint32_t group,
                      struct state_applied *ret_applied, struct err *err);

/* Forgets what was applied: what is left of the state does not count any more. */
int state_forget(struct kv *kv, uint32_t group, struct err *err);
/* Removes one of the group's states, record by record. */
int state_erase(struct kv *kv, uint32_t group, uint32_t generation, struct err *err);

/* To and from bytes, as they are sent with a snapshot. */
#define STATE_APPLIED_SIZE_MAX 256u
size_t state_encode(const struct state_applied *applied, uint8_t ret_bytes[STATE_APPLIED_SIZE_MAX]);
bool state_decode(struct span bytes, struct state_applied *ret_applied);

#endif
