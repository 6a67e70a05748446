/* What a drive holds. Inside core/, and for the explorer, which copies drives (sim/explore). */
#ifndef QUERN_CORE_DRIVE_STATE_H
#define QUERN_CORE_DRIVE_STATE_H

#include <assert.h>

#include "core/drive.h"
#include "core/paxos_state.h" /* PAXOS_APPLY_LAG */

/* The core puts new slots off long before (PAXOS_APPLY_LAG). */
#define DRIVE_HELD 1024u
static_assert(DRIVE_HELD >= PAXOS_APPLY_LAG + PAXOS_OPEN_MAX + PAXOS_OUT_CHOSEN, "room for a step");

struct drive {
    struct paxos *paxos;
    struct drive_io io;
    uint64_t durable_seq;
    struct paxos_send
        outbox[DRIVE_OUTBOX]; /* [outbox_head, outbox_tail) wait for their gates, which only grow */
    uint64_t outbox_head;
    uint64_t outbox_tail;
    struct paxos_chosen held[DRIVE_HELD]; /* [held_head, held_tail) are not durable here yet */
    uint64_t held_head;
    uint64_t held_tail;
    bool running; /* inside a step: io must not call back */
    struct paxos_out out;
};

#endif
