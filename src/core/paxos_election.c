/* Elections: probes that change nothing, then phase 1 over all open slots. */
#include "core/paxos_state.h"

void paxos_arm_election(struct paxos *paxos) {
    const struct paxos_options *options = &paxos->options;
    uint64_t span = options->election_max_ns - options->election_min_ns;
    paxos->election_at_ns =
        paxos->now_ns + options->election_min_ns + rng_below(&paxos->rng, span + 1);
}

void paxos_election_clear(struct paxos *paxos) {
    for (uint32_t i = 0; i < PAXOS_OPEN_MAX; i++) {
        paxos_value_unref(paxos->recovered[i].value);
        paxos->recovered[i] = (struct paxos_recovered){0};
    }
}

static void refuse_proposals(struct paxos *paxos) {
    struct paxos_out *out = paxos->out;
    for (uint64_t s = paxos->chosen_upto + 1; s < paxos->next_slot; s++) {
        struct paxos_slot *entry = paxos_slot_at(paxos, s);
        if (entry == NULL || entry->cookie == 0)
            continue;
        ASSERT(out->proposal_count < PAXOS_OUT_PROPOSALS);
        out->proposals[out->proposal_count++] =
            (struct paxos_result){.cookie = entry->cookie, .slot = s, .code = ERR_TIMEOUT};
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
    paxos_election_clear(paxos);
    paxos_set_leader(paxos, 0);
    paxos_arm_election(paxos);
}

static void send_to_others(struct paxos *paxos, enum paxos_message_type type, uint64_t slot) {
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        if (peer == paxos->self || peer->promised)
            continue;
        struct paxos_message *message = paxos_message_new(type, 0);
        message->ballot = paxos->ballot;
        message->slot = peer->page_slot > slot ? peer->page_slot : slot;
        paxos_send(paxos, peer->node, message, 0);
    }
}

static bool has_granted(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer->granted;
}

static bool has_promised(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self ? paxos->durable_seq >= paxos->promise_seq : peer->promised;
}

static void prepare(struct paxos *paxos) {
    paxos->role = PAXOS_PREPARING;
    paxos_arm_election(paxos);
    paxos->retry_at_ns = paxos->now_ns + 2 * paxos->options.heartbeat_ns;
    paxos_promise(paxos, paxos->ballot);
    send_to_others(paxos, PAXOS_PREPARE, paxos->chosen_upto + 1);
}

/* Far behind, a node would hold up the group while it learns: it learns first, and another may
 * lead. */
static bool must_learn_first(struct paxos *paxos) {
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        const struct paxos_peer *peer = &paxos->peers[i];
        if (peer->granted && peer->chosen_upto > paxos->chosen_upto + 4 * PAXOS_WINDOW) {
            paxos_learn_request(paxos, peer->node);
            return true;
        }
    }
    return false;
}

void paxos_probe(struct paxos *paxos) {
    ASSERT(paxos->role != PAXOS_LEADING);
    paxos_step_down(paxos);
    paxos_arm_election(paxos);
    if (paxos_is_busy(paxos))
        return;
    if (paxos->now_ns < paxos->hint_until_ns) /* others may not have had the hint yet */
        paxos->election_at_ns = paxos->now_ns + paxos->options.heartbeat_ns +
                                rng_below(&paxos->rng, paxos->options.heartbeat_ns);
    paxos->role = PAXOS_PROBING;
    paxos_set_leader(paxos, 0);
    paxos->ballot = (struct ballot){paxos->round_max + 1, paxos->options.node, paxos->options.boot};
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->granted = peer == paxos->self;
        peer->promised = false;
        peer->page_slot = 0;
    }
    send_to_others(paxos, PAXOS_PROBE, paxos->chosen_upto + 1);
    if (paxos_has_quorum(paxos, has_granted))
        prepare(paxos);
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
    if (!sticky && ballot_compare(message->ballot, paxos->promised) > 0)
        reply->flags = PAXOS_GRANTED;
    paxos_send(paxos, message->from, reply, 0);
    return 0;
}

int paxos_on_probe_reply(struct paxos *paxos, const struct paxos_message *message) {
    paxos_saw_round(paxos, message->promised.round);
    if (paxos->role != PAXOS_PROBING || ballot_compare(message->ballot, paxos->ballot) != 0)
        return 0;
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from);
    peer->chosen_upto = message->chosen_upto;
    if (message->flags & PAXOS_GRANTED)
        peer->granted = true;
    else if (message->promised.round >= paxos->ballot.round)
        paxos_probe(paxos); /* with a round above */
    if (paxos->role == PAXOS_PROBING && paxos_has_quorum(paxos, has_granted)) {
        if (must_learn_first(paxos))
            paxos_step_down(paxos);
        else
            prepare(paxos);
    }
    return 0;
}

/* Of each slot the vote with the highest ballot is what may have been chosen. */
static int merge_entry(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                       struct paxos_value *value) {
    if (slot <= paxos->chosen_upto)
        return 0;
    if (slot > paxos->chosen_upto + PAXOS_OPEN_MAX || ballot_compare(ballot, paxos->ballot) >= 0)
        return ERR_PROTOCOL;
    struct paxos_recovered *best = &paxos->recovered[slot % PAXOS_OPEN_MAX];
    if (best->slot == slot && (ballot_compare(ballot, best->ballot) <= 0) != (MUTANT == 7))
        return 0;
    paxos_value_unref(best->value);
    *best =
        (struct paxos_recovered){.slot = slot, .ballot = ballot, .value = paxos_value_ref(value)};
    return 0;
}

int paxos_on_promise(struct paxos *paxos, const struct paxos_message *message) {
    if (paxos->role != PAXOS_PREPARING || ballot_compare(message->ballot, paxos->ballot) != 0)
        return 0;
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from);
    peer->chosen_upto = message->chosen_upto;
    if (message->chosen_upto > paxos->chosen_upto) {
        paxos_learn_request(paxos, message->from); /* its promise is asked for again afterwards */
        return 0;
    }
    uint64_t wanted = peer->page_slot > 0 ? peer->page_slot : paxos->chosen_upto + 1;
    if (peer->promised || message->slot > wanted)
        return 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct paxos_entry *entry = &message->entries[i];
        int code = merge_entry(paxos, entry->slot, entry->ballot, entry->value);
        if (code != 0)
            return code;
    }
    if (message->flags & PAXOS_MORE) {
        peer->page_slot = message->upto + 1;
        paxos_election_retry(paxos);
        return 0;
    }
    peer->promised = true;
    return 0;
}

void paxos_election_retry(struct paxos *paxos) {
    ASSERT(paxos->role == PAXOS_PREPARING);
    paxos->retry_at_ns = paxos->now_ns + 2 * paxos->options.heartbeat_ns;
    send_to_others(paxos, PAXOS_PREPARE, paxos->chosen_upto + 1);
}

void paxos_election_check(struct paxos *paxos) {
    if (paxos->role != PAXOS_PREPARING || !paxos_has_quorum(paxos, has_promised) ||
        paxos_is_busy(paxos))
        return;
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->last_slot; s++) {
        struct paxos_slot *own = paxos_slot_at(paxos, s);
        int code = own != NULL ? merge_entry(paxos, s, own->ballot, own->value) : 0;
        ASSERT(code == 0);
    }
    paxos_lead(paxos);
}
