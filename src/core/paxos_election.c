/* Elections: probes that change nothing, then phase 1 over all open slots. */
#include "core/paxos_state.h"

void paxos_arm_election(struct paxos *paxos) {
    const struct paxos_options *options = &paxos->options;
    uint64_t span = options->election_max_ns - options->election_min_ns;
    paxos->election_at_ns = UINT64_MAX;
    if (paxos_is_voter(paxos))
        paxos->election_at_ns =
            paxos->now_ns + options->election_min_ns + rng_below(&paxos->rng, span + 1);
}

bool paxos_is_preparing(const struct paxos *paxos) {
    return paxos->role == PAXOS_PREPARING || (paxos->role == PAXOS_LEADING && paxos->renewing);
}

static void refuse_proposals(struct paxos *paxos) {
    for (uint64_t s = paxos->chosen_upto + 1; s < paxos->next_slot; s++) {
        struct paxos_slot *entry = paxos_slot_at(paxos, s);
        if (entry == NULL || entry->cookie == 0)
            continue;
        COVER(proposals_lost);
        paxos_proposal_done(paxos, entry->cookie, s, ERR_TIMEOUT);
        entry->cookie = 0;
    }
}

void paxos_step_down(struct paxos *paxos) {
    if (paxos->role == PAXOS_FOLLOWER)
        return;
    if (paxos->role == PAXOS_LEADING) {
        refuse_proposals(paxos);
        paxos_reads_refuse(paxos);
        paxos->out->leader_changed = true;
    }
    paxos->role = PAXOS_FOLLOWER;
    paxos->renewing = false;
    paxos->sealed_slot = 0;
    paxos->heir = NULL;
    paxos_recover_clear(paxos);
    paxos_set_leader(paxos, 0);
    paxos_arm_election(paxos);
}

/* The first slot of whose votes a voter has not told yet. */
static uint64_t wanted_slot(const struct paxos *paxos, const struct paxos_peer *peer) {
    uint64_t slot = paxos->chosen_upto + 1;
    return peer->page_slot > slot ? peer->page_slot : slot;
}

static void ask(struct paxos *paxos, const struct paxos_peer *peer, enum paxos_message_type type) {
    struct paxos_message *message = paxos_message_new(type, 0);
    message->ballot = paxos->ballot;
    message->slot = wanted_slot(paxos, peer);
    paxos_send(paxos, peer, message);
}

/* The other voters that have not promised. */
static void ask_others(struct paxos *paxos, enum paxos_message_type type) {
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        const struct paxos_peer *peer = &paxos->peers[i];
        if (peer != paxos->self && !peer->promised && peer->voter)
            ask(paxos, peer, type);
    }
}

static bool has_granted(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer->granted;
}

static bool has_promised(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self ? paxos->durable_seq >= paxos->promise_seq : peer->promised;
}

/* ---- who may try ---- */

static void candidate_begin(struct paxos *paxos) {
    uint32_t boot = MUTANT(31) ? 1 : paxos->options.boot;
    paxos->ballot = (struct ballot){paxos->round_max + 1, paxos->options.node, boot};
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->granted = peer == paxos->self;
        peer->promised = false;
        peer->page_slot = 0;
        paxos_report_clear(peer);
    }
}

static void prepare(struct paxos *paxos) {
    paxos->role = PAXOS_PREPARING;
    paxos_set_leader(paxos, 0);
    paxos_arm_election(paxos);
    paxos->retry_at_ns = paxos->now_ns + 2 * paxos->options.heartbeat_ns;
    paxos_promise(paxos, paxos->ballot);
    ask_others(paxos, PAXOS_PREPARE);
}

/* Far behind, a node would hold up the group while it learns: it learns first, and another may
 * lead. */
static bool must_learn_first(struct paxos *paxos) {
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        const struct paxos_peer *peer = &paxos->peers[i];
        if (peer->granted && peer->chosen_upto > paxos->chosen_upto + 4 * PAXOS_WINDOW) {
            COVER(probe_learns);
            paxos_learn_request(paxos, peer->node, peer->born);
            return true;
        }
    }
    return paxos->fetching;
}

void paxos_probe(struct paxos *paxos) {
    ASSERT(paxos->role != PAXOS_LEADING);
    paxos_step_down(paxos);
    paxos_arm_election(paxos);
    if (paxos_is_busy(paxos) || paxos_is_recalling(paxos) || paxos->fetching ||
        paxos->space == PAXOS_SPACE_NONE)
        return;
    if (paxos->now_ns < paxos->hint_until_ns) /* others may not have had the hint yet */
        paxos->election_at_ns = paxos->now_ns + paxos->options.heartbeat_ns +
                                rng_below(&paxos->rng, paxos->options.heartbeat_ns);
    paxos->role = PAXOS_PROBING;
    paxos_set_leader(paxos, 0);
    candidate_begin(paxos);
    if (MUTANT(20) || paxos_has_quorum(paxos, has_granted))
        prepare(paxos);
    else
        ask_others(paxos, PAXOS_PROBE);
}

int paxos_on_probe(struct paxos *paxos, const struct paxos_message *message) {
    bool sticky =
        paxos->role == PAXOS_LEADING ||
        (paxos->leader != 0 && paxos->leader != message->from && paxos->leader_heard_ns != 0 &&
         paxos->now_ns - paxos->leader_heard_ns < paxos->options.stickiness_ns);
    struct paxos_message *reply = paxos_message_new(PAXOS_PROBE_REPLY, 0);
    reply->ballot = message->ballot;
    reply->promised = paxos->promised;
    reply->chosen_upto = paxos->chosen_upto;
    if (COVERED(probe_removed, paxos_is_outdated(paxos, message)))
        reply->flags = PAXOS_REMOVED;
    else if (MUTANT(21) && message->chosen_upto < paxos->chosen_upto)
        reply->flags = 0;
    else if (!COVERED(probe_sticky, sticky) && ballot_compare(message->ballot, paxos->promised) > 0)
        reply->flags = PAXOS_GRANTED;
    paxos_reply(paxos, message, reply, 0);
    return 0;
}

int paxos_on_probe_reply(struct paxos *paxos, const struct paxos_message *message) {
    paxos_saw_round(paxos, message->promised.round);
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    if (paxos->role != PAXOS_PROBING || peer == NULL ||
        ballot_compare(message->ballot, paxos->ballot) != 0)
        return 0;
    peer->chosen_upto = message->chosen_upto;
    if (message->flags & PAXOS_REMOVED && message->chosen_upto > paxos->chosen_upto)
        paxos_learn_request(paxos, peer->node, peer->born); /* that it was removed */
    else if (message->flags & PAXOS_GRANTED)
        peer->granted = true;
    else if (COVERED(probe_outrun, message->promised.round >= paxos->ballot.round))
        paxos_probe(paxos); /* with a round above */
    if (paxos->role == PAXOS_PROBING && paxos_has_quorum(paxos, has_granted)) {
        if (must_learn_first(paxos))
            paxos_step_down(paxos);
        else
            prepare(paxos);
    }
    return 0;
}

int paxos_on_transfer(struct paxos *paxos, const struct paxos_message *message) {
    if (message->ballot.node != message->from)
        return ERR_PROTOCOL;
    if (ballot_compare(message->ballot, paxos->promised) != 0 || !paxos_is_voter(paxos) ||
        paxos->role != PAXOS_FOLLOWER || paxos_is_busy(paxos) || paxos->fetching)
        return 0;
    COVER(transfer_taken);
    candidate_begin(paxos);
    prepare(paxos);
    return 0;
}

int paxos_on_nack(struct paxos *paxos, const struct paxos_message *message) {
    paxos_saw_round(paxos, message->promised.round);
    if (paxos->role == PAXOS_FOLLOWER)
        return 0;
    bool removed =
        message->flags & PAXOS_REMOVED && ballot_compare(message->ballot, paxos->ballot) == 0;

    if (removed || COVERED(nack_stops, ballot_compare(message->promised, paxos->ballot) > 0))
        paxos_step_down(paxos);
    if (removed && message->chosen_upto > paxos->chosen_upto)
        paxos_learn_request(paxos, message->from, message->from_born);
    return 0;
}

/* ---- phase 1 ---- */

int paxos_on_promise(struct paxos *paxos, const struct paxos_message *message) {
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    if (peer != NULL && ballot_compare(message->ballot, peer->seen) > 0)
        peer->seen = message->ballot;
    if (!paxos_is_preparing(paxos) || peer == NULL || !peer->voter ||
        ballot_compare(message->ballot, paxos->ballot) != 0)
        return 0;
    peer->chosen_upto = message->chosen_upto;
    if (message->chosen_upto > paxos->chosen_upto) {
        COVER(promise_ahead);             /* it is asked for again afterwards */
        if (paxos->role == PAXOS_LEADING) /* another led the new voters; only followers learn */
            paxos_step_down(paxos);
        paxos_learn_request(paxos, peer->node, peer->born);
        return 0;
    }
    if (peer->promised || message->slot > wanted_slot(paxos, peer) ||
        message->slot < peer->page_slot)
        return 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        int code = paxos_recover_entry(paxos, peer, &message->entries[i]);
        if (code != 0)
            return code;
    }
    peer->report.doubt_upto = message->doubt_upto;
    if (COVERED(promise_paged, message->flags & PAXOS_MORE)) {
        peer->page_slot = message->upto + 1;
        ask(paxos, peer, PAXOS_PREPARE);
        return 0;
    }
    peer->promised = true;
    return 0;
}

void paxos_ask_promises(struct paxos *paxos) {
    ASSERT(paxos_is_preparing(paxos));
    paxos->retry_at_ns = paxos->now_ns + 2 * paxos->options.heartbeat_ns;
    ask_others(paxos, PAXOS_PREPARE);
    if (paxos->blocked_slot != 0)
        paxos_recover_fetch(paxos);
}

void paxos_election_check(struct paxos *paxos) {
    if (!paxos_is_preparing(paxos) || !paxos_has_quorum(paxos, has_promised) ||
        paxos_is_busy(paxos))
        return;
    paxos_recover_own(paxos);
    uint64_t before = paxos->blocked_slot;
    paxos->blocked_slot = paxos_recover_missing(paxos);
    if (COVERED(recover_waits, paxos->blocked_slot != 0)) {
        if (before != paxos->blocked_slot)
            paxos_recover_fetch(paxos);
        return;
    }
    if (paxos->role == PAXOS_LEADING)
        paxos_lead_on(paxos);
    else
        paxos_lead(paxos);
}
