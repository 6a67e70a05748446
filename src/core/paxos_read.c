/* Linearizable reads by read index (PAXOS.md 2.8): a quorum that still follows our ballot proves
 * that we led when the round began; what was chosen then, once applied, is new enough. One round
 * serves all reads that came before it. */
#include "core/paxos_state.h"

static void answer(struct paxos *paxos, uint64_t cookie, uint64_t index, int code) {
    struct paxos_out *out = paxos->out;
    ASSERT(out->read_count <= PAXOS_READS_MAX);
    out->reads[out->read_count++] =
        (struct paxos_result){.cookie = cookie, .slot = index, .code = code};
}

void paxos_on_read(struct paxos *paxos, uint64_t cookie) {
    struct paxos_reads *reads = &paxos->reads;
    if (paxos->role != PAXOS_LEADING)
        answer(paxos, cookie, 0, ERR_NOT_LEADER);
    else if (reads->tail - reads->head == PAXOS_READS_MAX)
        answer(paxos, cookie, 0, ERR_BUSY);
    else
        reads->queue[reads->tail++ % PAXOS_READS_MAX] = (struct paxos_read){.cookie = cookie};
}

static bool has_acked(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self || peer->seq_acked >= paxos->reads.seq ||
           (MUTANT(22) && paxos->now_ns - peer->heard_ns < paxos->options.election_max_ns);
}

static void begin_round(struct paxos *paxos) {
    struct paxos_reads *reads = &paxos->reads;
    uint64_t chosen = paxos->chosen_upto;
    uint64_t index = chosen > paxos->barrier_slot || MUTANT(37) ? chosen : paxos->barrier_slot;
    while (reads->asked < reads->tail)
        reads->queue[reads->asked++ % PAXOS_READS_MAX].index = index;
    reads->seq++;
    paxos_send_heartbeats(paxos);
}

void paxos_reads_advance(struct paxos *paxos) {
    struct paxos_reads *reads = &paxos->reads;
    ASSERT(paxos->role == PAXOS_LEADING);
    if (paxos->renewing)
        return;
    if (reads->confirmed == reads->asked && reads->asked < reads->tail)
        begin_round(paxos);
    if (reads->confirmed < reads->asked && (paxos_has_quorum(paxos, has_acked) || MUTANT(6)))
        reads->confirmed = MUTANT(39) ? reads->tail : reads->asked;
    reads->asked = MUTANT(39) ? reads->confirmed : reads->asked;
    while (reads->head < reads->confirmed) {
        const struct paxos_read *read = &reads->queue[reads->head % PAXOS_READS_MAX];
        if (COVERED(read_waits, read->index > paxos->applied && !MUTANT(23)))
            return;
        answer(paxos, read->cookie, read->index, 0);
        reads->head++;
    }
}

void paxos_reads_refuse(struct paxos *paxos) {
    struct paxos_reads *reads = &paxos->reads;

    if (reads->head < reads->tail)
        COVER(reads_refused);
    while (reads->head < reads->tail)
        answer(paxos, reads->queue[reads->head++ % PAXOS_READS_MAX].cookie, 0, ERR_NOT_LEADER);
    reads->confirmed = reads->asked = reads->tail;
}
