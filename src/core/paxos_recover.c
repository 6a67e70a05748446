/* What phase 1 found. Of each open slot the vote with the highest ballot, of a quorum of voters who
 * know whether and what they voted, is what may have been chosen; where none of them voted nothing
 * was. A voter whose log is damaged may not know: then others are waited for. A value of which only
 * the digest is known is fetched from whoever has it (PAXOS.md 2.5, 5), unless a quorum without
 * those who voted for it tells all: perhaps nobody else ever had it. */
#include "core/paxos_state.h"

void paxos_recover_clear(struct paxos *paxos) {
    for (uint32_t i = 0; i < PAXOS_OPEN_MAX; i++) {
        paxos_value_unref(paxos->recovered[i].value);
        paxos->recovered[i] = (struct paxos_recovered){0};
    }
    paxos->blocked_slot = 0;
}

void paxos_report_clear(struct paxos_peer *peer) {
    memset(&peer->report, 0, sizeof peer->report);
}

static struct paxos_recovered *recovered_at(struct paxos *paxos, uint64_t slot) {
    struct paxos_recovered *best = &paxos->recovered[slot % PAXOS_OPEN_MAX];
    return best->slot == slot ? best : NULL;
}

static bool is_better(struct ballot ballot, struct ballot best) {
    int order = ballot_compare(ballot, best);
    return best.round == 0 || (MUTANT(30) ? order < 0 : order > 0);
}

static void take(struct paxos *paxos, const struct paxos_entry *entry) {
    struct paxos_recovered *best = &paxos->recovered[entry->slot % PAXOS_OPEN_MAX];
    if (best->slot != entry->slot) {
        paxos_value_unref(best->value);
        *best = (struct paxos_recovered){.slot = entry->slot};
    }
    if (is_better(entry->ballot, best->ballot)) {
        best->ballot = entry->ballot;
        memcpy(best->digest, entry->digest, sizeof best->digest);
    }
    if (entry->value == NULL || !is_better(entry->ballot, best->whole_ballot))
        return;
    paxos_value_unref(best->value);
    best->value = paxos_value_ref(entry->value);
    best->whole_ballot = entry->ballot;
}

int paxos_recover_entry(struct paxos *paxos, struct paxos_peer *peer,
                        const struct paxos_entry *entry) {
    uint64_t slot = entry->slot;
    if (slot <= paxos->chosen_upto)
        return 0;
    if (slot > paxos->chosen_upto + PAXOS_OPEN_MAX ||
        ballot_compare(entry->ballot, paxos->ballot) >= 0)
        return ERR_PROTOCOL;
    if (entry->status == PAXOS_LOST) {
        peer->report.lost[slot % PAXOS_OPEN_MAX] = slot;
        return 0;
    }
    peer->report.told[slot % PAXOS_OPEN_MAX] = slot;
    peer->report.ballots[slot % PAXOS_OPEN_MAX] = entry->ballot;
    take(paxos, entry);
    return 0;
}

void paxos_recover_own(struct paxos *paxos) {
    struct paxos_peer *self = paxos->self;
    paxos_report_clear(self);
    self->report.doubt_upto = MUTANT(9) ? 0 : paxos->doubt_upto;
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->last_slot; s++) {
        const struct paxos_slot *own = paxos_slot_at(paxos, s);
        if (own == NULL)
            continue;
        struct paxos_entry entry = {.slot = s, .ballot = own->ballot, .status = own->status};
        memcpy(entry.digest, own->digest, sizeof entry.digest);
        entry.value = own->status == PAXOS_WHOLE ? own->value : NULL;
        int code = paxos_recover_entry(paxos, self, &entry);
        ASSERT(code == 0);
    }
}

static bool knows(const struct paxos *paxos, const struct paxos_peer *peer, uint64_t slot) {
    const struct paxos_report *report = &peer->report;
    bool promised = peer == paxos->self ? paxos->durable_seq >= paxos->promise_seq : peer->promised;
    if (!promised || report->lost[slot % PAXOS_OPEN_MAX] == slot)
        return false;
    return report->told[slot % PAXOS_OPEN_MAX] == slot || slot > report->doubt_upto;
}

/* Whether it told all that counts: a vote above the best one whose value is known does not, as if
 * it had not promised. */
static bool counts(struct paxos *paxos, const struct paxos_peer *peer, uint64_t slot) {
    const struct paxos_recovered *best = recovered_at(paxos, slot);
    bool above =
        peer->report.told[slot % PAXOS_OPEN_MAX] == slot && best != NULL &&
        ballot_compare(peer->report.ballots[slot % PAXOS_OPEN_MAX], best->whole_ballot) > 0;
    return peer->voter && knows(paxos, peer, slot) && (!above || MUTANT(30));
}

uint64_t paxos_recover_missing(struct paxos *paxos) {
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->chosen_upto + PAXOS_OPEN_MAX; s++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < paxos->peer_count; i++)
            count += counts(paxos, &paxos->peers[i], s);
        if (count < paxos->quorum)
            return s;
    }
    return 0;
}

/* ---- lost values ---- */

static bool lacks_value(const struct paxos_recovered *best) {
    return best->value == NULL || ballot_compare(best->whole_ballot, best->ballot) != 0;
}

static void ask_for(struct paxos *paxos, const struct paxos_recovered *lost) {
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        if (&paxos->peers[i] == paxos->self)
            continue;
        struct paxos_message *fetch = paxos_message_new(PAXOS_FETCH, 1);
        struct paxos_entry *entry = &fetch->entries[fetch->entry_count++];
        *entry = (struct paxos_entry){
            .slot = lost->slot, .ballot = lost->ballot, .status = PAXOS_DAMAGED};
        memcpy(entry->digest, lost->digest, sizeof entry->digest);
        paxos_send(paxos, &paxos->peers[i], fetch);
    }
}

void paxos_recover_fetch(struct paxos *paxos) {
    for (uint32_t i = 0; i < PAXOS_OPEN_MAX; i++) {
        const struct paxos_recovered *best = &paxos->recovered[i];
        if (best->slot > paxos->chosen_upto && lacks_value(best))
            ask_for(paxos, best);
    }
}

int paxos_on_fetch(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_entry *wanted = &message->entries[0];
    if (message->entry_count != 1)
        return ERR_PROTOCOL;
    const struct paxos_slot *held = paxos_slot_at(paxos, wanted->slot);
    if (held == NULL || held->value == NULL || !paxos_digest_equal(held->digest, wanted->digest))
        return 0;
    struct paxos_message *fetched = paxos_message_new(PAXOS_FETCHED, 1);
    paxos_message_add(fetched, wanted->slot, wanted->ballot, held->value);
    paxos_reply(paxos, message, fetched, 0);
    return 0;
}

int paxos_on_fetched(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_entry *entry = &message->entries[0];
    if (message->entry_count != 1 || entry->value == NULL)
        return ERR_PROTOCOL;
    struct paxos_recovered *best = recovered_at(paxos, entry->slot);
    if (best == NULL || !lacks_value(best) || !paxos_digest_equal(best->digest, entry->digest))
        return 0;
    COVER(recover_fetched);
    paxos_value_unref(best->value);
    best->value = paxos_value_ref(entry->value);
    best->whole_ballot = best->ballot;
    return 0;
}
