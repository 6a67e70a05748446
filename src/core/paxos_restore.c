/* What the log gives back at a start: promise, votes, what was known to be chosen; and what it may
 * have lost. A vote whose value is lost is known by its ballot and digest (PAXOS_DAMAGED). Where
 * records of unknown number are missing nothing is said of the slots they may have held
 * (PAXOS_LOST): never that there was no vote (PAXOS.md 2.13). */
#include "core/paxos_state.h"

static void doubt(struct paxos *paxos, uint64_t upto) {
    paxos->doubt_upto = upto > paxos->doubt_upto ? upto : paxos->doubt_upto;
}

/* Takes what the log says is chosen: it holds these slots, so that they passed before. Behind
 * damage they may not have; then they are learnt later. */
static int restore_chosen(struct paxos *paxos, uint64_t upto) {
    while (paxos->chosen_upto < upto) {
        const struct paxos_slot *entry = paxos_slot_at(paxos, paxos->chosen_upto + 1);
        if (entry == NULL || entry->status != PAXOS_WHOLE)
            return COVERED(restored_gap, paxos->damaged) ? 0 : ERR_CORRUPT;
        paxos_raise_chosen(paxos, paxos->chosen_upto + 1);
    }
    return 0;
}

/* It does not fit behind a gap. */
static int restore_beyond(struct paxos *paxos, const struct paxos_record *record) {
    if (!paxos->damaged)
        return ERR_CORRUPT;
    COVER(restored_beyond);
    if (record->type == PAXOS_RECORD_ACCEPT)
        doubt(paxos, record->slot);
    return 0;
}

static void put(struct paxos *paxos, const struct paxos_record *record) {
    const struct paxos_slot *before = paxos_slot_at(paxos, record->slot);
    bool learn = record->type == PAXOS_RECORD_LEARN;
    /* The chosen value may stand for our vote: no other can win any more. */
    struct ballot ballot = learn && before != NULL ? before->ballot : record->ballot;
    if (COVERED(restored_damaged, record->value == NULL))
        paxos_slot_put_damaged(paxos, record->slot, ballot, record->digest);
    else
        paxos_slot_put(paxos, record->slot, ballot, record->value, 0);
}

int paxos_restore(struct paxos *paxos, const struct paxos_record *record) {
    ASSERT(!paxos->started);
    ASSERT(record->born == paxos->options.born);
    bool learn = record->type == PAXOS_RECORD_LEARN;
    if (record->value == NULL && record->type != PAXOS_RECORD_PROMISE)
        paxos->damaged = true;
    int code = restore_chosen(paxos, record->chosen_upto);
    if (code != 0)
        return code;
    if (!learn) {
        paxos->amnesic = false; /* promises only grow */
        if (ballot_compare(record->ballot, paxos->promised) > 0 && !MUTANT(8))
            paxos->promised = record->ballot;
    }
    paxos_saw_round(paxos, record->ballot.round);
    if (record->type == PAXOS_RECORD_PROMISE || (record->slot <= paxos->chosen_upto && !MUTANT(13)))
        return 0;
    bool gap = learn && record->slot > paxos->chosen_upto + 1 && !paxos->damaged;
    if (gap || record->slot > paxos->chosen_upto + PAXOS_OPEN_MAX)
        return restore_beyond(paxos, record);
    put(paxos, record);
    if (learn && record->value != NULL && record->slot == paxos->chosen_upto + 1)
        paxos_raise_chosen(paxos, record->slot);
    return 0;
}

/* Votes for the open slots may have been replaced by lost ones, and others been given. */
static void forget_votes(struct paxos *paxos) {
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->last_slot; s++) {
        struct paxos_slot *entry = paxos_slot_at(paxos, s);
        if (entry != NULL)
            entry->status = PAXOS_LOST;
    }
    doubt(paxos, UINT64_MAX);
}

void paxos_restore_lost(struct paxos *paxos, bool promises) {
    ASSERT(!paxos->started);
    COVER(restored_lost);
    paxos->damaged = true;
    paxos->amnesic |= COVERED(restored_amnesic, promises);
    forget_votes(paxos);
}

void paxos_restore_end(struct paxos *paxos) {
    if (paxos->peer_count > 1 && paxos_is_voter(paxos))
        paxos->recall_at_ns = paxos->now_ns + paxos->options.recall_ns;
    for (uint32_t i = 0; paxos->recall_at_ns > 0 && i < paxos->peer_count; i++)
        if (&paxos->peers[i] != paxos->self)
            paxos_send(paxos, &paxos->peers[i], paxos_message_new(PAXOS_RECALL, 0));
}

void paxos_bound_doubt(struct paxos *paxos, uint64_t chosen_upto) {
    if (paxos->doubt_upto == UINT64_MAX)
        paxos->doubt_upto = chosen_upto + PAXOS_OPEN_MAX;
}

/* ---- a write that the disk acknowledged and did not keep ---- */

bool paxos_is_recalling(const struct paxos *paxos) {
    return paxos->recall_at_ns > 0;
}

static bool was_recalled(const struct paxos *paxos) {
    for (uint32_t i = 0; i < paxos->peer_count; i++)
        if (paxos->peers[i].voter && &paxos->peers[i] != paxos->self && !paxos->peers[i].recalled)
            return false;
    return true;
}

void paxos_recall_check(struct paxos *paxos) {
    if (paxos->recall_at_ns > 0 &&
        (was_recalled(paxos) || COVERED(recall_silent, paxos->now_ns >= paxos->recall_at_ns)))
        paxos->recall_at_ns = 0;
}

int paxos_on_recall(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    struct paxos_message *reply = paxos_message_new(PAXOS_RECALLED, 0);
    reply->promised = peer != NULL ? peer->seen : (struct ballot){0};
    reply->chosen_upto = paxos->chosen_upto;
    if (peer != NULL && paxos->role == PAXOS_LEADING) {
        reply->ballot = paxos->ballot;
        reply->start = paxos->start;
        reply->upto = peer->accepted_upto;
    }
    paxos_reply(paxos, message, reply, 0);
    return 0;
}

/* Whether the votes it has seen at our promised ballot are there. */
static bool has_votes(struct paxos *paxos, const struct paxos_message *message) {
    if (message->upto >= message->start && message->upto > paxos->chosen_upto + PAXOS_OPEN_MAX)
        return false;
    uint64_t next = paxos->chosen_upto + 1;
    for (uint64_t s = next > message->start ? next : message->start; s <= message->upto; s++) {
        const struct paxos_slot *entry = paxos_slot_at(paxos, s);
        if (entry == NULL || ballot_compare(entry->ballot, message->ballot) != 0)
            return false;
    }
    return true;
}

/* PAXOS.md 2.13 T5. */
int paxos_on_recalled(struct paxos *paxos, const struct paxos_message *message) {
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    if (peer == NULL || !paxos_is_recalling(paxos))
        return 0;
    if (message->upto > message->chosen_upto + PAXOS_OPEN_MAX)
        return ERR_PROTOCOL;
    peer->recalled = true;
    bool promise_lost = ballot_compare(message->promised, paxos->promised) > 0;
    if (promise_lost) { /* the simulator's disks keep what they acknowledge, or show that it is
                           damaged */
        paxos_promise(paxos, message->promised);
        forget_votes(paxos);
    } else if (ballot_compare(message->ballot, paxos->promised) == 0 &&
               COVERED(recalled_votes, !has_votes(paxos, message))) {
        forget_votes(paxos);
    }
    paxos->damaged |= promise_lost;
    paxos_recall_check(paxos);
    return 0;
}
