/* The leader's phase 2: proposes slots in order, counts votes, sends each member what it lacks. */
#include "core/paxos_state.h"

#define SENDS_MAX 64u /* ACCEPTs to one peer in one step */

uint64_t paxos_propose_slot(struct paxos *paxos, struct paxos_value *value, uint64_t cookie) {
    ASSERT(paxos->role == PAXOS_LEADING);
    ASSERT(paxos->sealed_slot == 0 || MUTANT(15));
    uint64_t slot = paxos->next_slot++;
    uint64_t seq = paxos_append(paxos, PAXOS_RECORD_ACCEPT, slot, paxos->ballot, value);
    paxos_slot_put(paxos, slot, paxos->ballot, value, seq)->cookie = cookie;
    paxos->stream.received_upto = slot;
    paxos->open_bytes += value->size;
    if (value->kind == PAXOS_CONFIG)
        paxos->sealed_slot = slot;
    return slot;
}

static void propose_noop(struct paxos *paxos) {
    struct paxos_value *noop = paxos_value_copy((struct span){NULL, 0});
    paxos_propose_slot(paxos, noop, 0);
    paxos_value_unref(noop);
}

static struct paxos_value *recovered_value(struct paxos *paxos, uint64_t slot) {
    const struct paxos_recovered *best = &paxos->recovered[slot % PAXOS_OPEN_MAX];
    return best->slot == slot ? best->value : NULL;
}

/* Above a configuration another quorum counts: phase 1 must be done with it before. */
static uint64_t recovered_end(struct paxos *paxos) {
    uint64_t last = paxos->chosen_upto;
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->chosen_upto + PAXOS_OPEN_MAX; s++) {
        const struct paxos_value *value = recovered_value(paxos, s);
        last = value != NULL ? s : last;
        if (value != NULL && COVERED(recovered_config, value->kind == PAXOS_CONFIG) && !MUTANT(16))
            break;
    }
    return last;
}

/* Proposes anew all that phase 1 found, and a NOOP where nobody of the quorum had voted; then the
 * barrier, as soon as there is room. */
static void propose_recovered(struct paxos *paxos) {
    uint64_t last = recovered_end(paxos);
    while (paxos->next_slot <= last) {
        struct paxos_value *value = recovered_value(paxos, paxos->next_slot);
        if (COVERED(recovered_value, value != NULL) && !MUTANT(4)) {
            paxos_propose_slot(paxos, value, 0);
        } else {
            propose_noop(paxos);
        }
    }
    paxos_recover_clear(paxos);
    paxos->barrier_slot = paxos->next_slot;
}

void paxos_peer_begin(const struct paxos *paxos, struct paxos_peer *peer) {
    peer->heard_ns = paxos->now_ns;
    peer->sent_upto = peer->accepted_upto = paxos->start - 1;
    peer->applied = peer->rewound_to = 0;
    peer->stalled = false;
    peer->spacious = true;
    peer->seq_acked = 0;
    peer->check = (struct paxos_check){0};
}

void paxos_lead(struct paxos *paxos) {
    paxos->role = PAXOS_LEADING;
    paxos->renewing = false;
    paxos->sealed_slot = 0;
    paxos->heir = NULL;
    paxos->slow_since_ns = 0;
    paxos->agreed = (struct paxos_check){0};
    paxos->start = paxos->next_slot = paxos->chosen_upto + 1;
    paxos->open_bytes = 0;
    paxos_stream_begin(paxos, paxos->ballot, paxos->options.born, paxos->start);
    for (uint32_t i = 0; i < paxos->peer_count; i++)
        paxos_peer_begin(paxos, &paxos->peers[i]);
    propose_recovered(paxos);
    paxos_set_leader(paxos, paxos->options.node);
    paxos->out->leader_changed = true;
    paxos_send_heartbeats(paxos);
}

void paxos_lead_on(struct paxos *paxos) {
    ASSERT(paxos->renewing);
    ASSERT(paxos->next_slot == paxos->chosen_upto + 1);
    paxos->renewing = false;
    if (recovered_end(paxos) > paxos->chosen_upto)
        COVER(renewed_found);
    propose_recovered(paxos);
}

/* ---- proposals ---- */

bool paxos_has_window(const struct paxos *paxos) {
    return paxos->next_slot <= paxos->chosen_upto + paxos->options.window &&
           paxos->open_bytes < PAXOS_WINDOW_BYTES && !paxos_is_busy(paxos) && !paxos->renewing &&
           (paxos->sealed_slot == 0 || MUTANT(15));
}

unsigned paxos_room(const struct paxos *paxos) {
    if (paxos->role != PAXOS_LEADING || paxos->next_slot <= paxos->barrier_slot ||
        paxos->heir != NULL || !paxos_has_window(paxos))
        return 0;
    return (unsigned)(paxos->chosen_upto + paxos->options.window + 1 - paxos->next_slot);
}

void paxos_proposal_done(struct paxos *paxos, uint64_t cookie, uint64_t slot, int code) {
    struct paxos_out *out = paxos->out;
    ASSERT(out->proposal_count < PAXOS_OUT_PROPOSALS);
    out->proposals[out->proposal_count++] =
        (struct paxos_result){.cookie = cookie, .slot = slot, .code = code};
}

static int propose_error(const struct paxos *paxos, const struct paxos_event *event) {
    if (paxos->role != PAXOS_LEADING)
        return ERR_NOT_LEADER;
    if (event->value->size == 0 || event->value->size > PAXOS_VALUE_MAX)
        return ERR_LIMIT;
    if (!event->reserve && COVERED(space_low, !paxos_is_spacious(paxos)))
        return ERR_NOSPACE;
    return paxos_room(paxos) > 0 ? 0 : ERR_BUSY;
}

void paxos_on_propose(struct paxos *paxos, const struct paxos_event *event) {
    ASSERT(event->value != NULL);
    ASSERT(event->cookie != 0);
    int code = propose_error(paxos, event);
    uint64_t slot = code == 0 ? paxos_propose_slot(paxos, event->value, event->cookie) : 0;
    paxos_proposal_done(paxos, event->cookie, slot, code);
}

/* ---- votes ---- */

/* A slot is chosen once a quorum has voted for it at our ballot; a vote is for all slots up to it.
 */
static uint64_t quorum_accepted(const struct paxos *paxos) {
    uint64_t best = 0;
    for (uint32_t i = 0; i < paxos->peer_count; i++) {
        uint64_t upto = paxos->peers[i].accepted_upto;
        uint32_t count = 0;
        for (uint32_t j = 0; j < paxos->peer_count; j++)
            count += (paxos->peers[j].voter || MUTANT(18)) && paxos->peers[j].accepted_upto >= upto;
        if (count >= paxos->quorum && upto > best)
            best = upto;
    }
    return best;
}

void paxos_leader_count(struct paxos *paxos) {
    ASSERT(ballot_compare(paxos->promised, paxos->ballot) == 0);
    paxos_stream_count(paxos);
    paxos->self->accepted_upto = paxos->stream.accepted_upto;
    uint64_t chosen = quorum_accepted(paxos), sealed = paxos->sealed_slot;
    if (chosen > paxos->chosen_upto)
        paxos_raise_chosen(paxos, chosen);
    if (paxos->chosen_upto >= paxos->barrier_slot)
        paxos_bound_doubt(paxos, paxos->chosen_upto);
    if (sealed != 0 && paxos->chosen_upto >= sealed)
        paxos_renew(paxos);
}

static struct paxos_peer *voter_of(struct paxos *paxos, const struct paxos_message *message) {
    struct paxos_peer *peer = paxos_peer_of(paxos, message->from, message->from_born);
    if (paxos->role != PAXOS_LEADING || ballot_compare(message->ballot, paxos->ballot) != 0)
        return NULL;
    return peer;
}

/* A durable vote at our ballot: so is the promise that came before it. */
static void note_seen(const struct paxos *paxos, struct paxos_peer *peer,
                      const struct paxos_message *message) {
    if (message->upto >= paxos->start && message->upto > message->chosen_upto)
        peer->seen = paxos->ballot;
}

/* What both kinds of answer tell. */
static int hear(struct paxos *paxos, struct paxos_peer *peer, const struct paxos_message *message) {
    if (message->upto >= paxos->next_slot && message->upto > message->chosen_upto)
        return ERR_PROTOCOL; /* a vote for what we have not proposed */
    uint64_t upto = message->upto < paxos->next_slot ? message->upto : paxos->next_slot - 1;
    note_seen(paxos, peer, message);
    if (message->chosen_upto > peer->chosen_upto)
        peer->chosen_upto = message->chosen_upto;
    if (upto > peer->accepted_upto)
        peer->accepted_upto = upto;
    if (peer->sent_upto < peer->accepted_upto)
        peer->sent_upto = peer->accepted_upto;
    return 0;
}

int paxos_on_accepted(struct paxos *paxos, const struct paxos_message *message) {
    struct paxos_peer *peer = voter_of(paxos, message);
    return peer != NULL ? hear(paxos, peer, message) : 0;
}

/* It had not received all that was sent before the heartbeat it answers: send from there again. */
static void rewind_peer(struct paxos_peer *peer, uint64_t received_upto) {
    uint64_t from = received_upto > peer->accepted_upto ? received_upto : peer->accepted_upto;
    COVER(peer_rewound);
    peer->stalled = COVERED(peer_stalled, from == peer->rewound_to);
    peer->rewound_to = from;
    if (from < peer->sent_upto)
        peer->sent_upto = from;
}

int paxos_on_heartbeat_ack(struct paxos *paxos, const struct paxos_message *message) {
    struct paxos_peer *peer = voter_of(paxos, message);
    if (peer == NULL)
        return 0;
    int code = hear(paxos, peer, message);
    if (code != 0)
        return code;
    if (message->seq > peer->seq_acked)
        peer->seq_acked = message->seq < paxos->reads.seq ? message->seq : paxos->reads.seq;
    if (message->slot < message->start)
        rewind_peer(peer, message->slot);
    else
        peer->stalled = false;
    peer->spacious = (message->flags & PAXOS_LOW) == 0;
    peer->applied = message->applied;
    peer->sync_us = message->sync_us;
    if (message->check.slot > peer->check.slot)
        peer->check = message->check;
    return 0;
}

/* ---- sending ---- */

struct paxos_message *paxos_message_of_leader(struct paxos *paxos, enum paxos_message_type type,
                                              uint32_t room) {
    struct paxos_message *message = paxos_message_new(type, room);
    message->ballot = paxos->ballot;
    message->start = paxos->start;
    message->chosen_upto = paxos->chosen_upto;
    return message;
}

/* The last slot to send to the peer now: it holds no more than PAXOS_OPEN_MAX above what it knows
 * as chosen. */
static uint64_t send_limit(const struct paxos *paxos, const struct paxos_peer *peer) {
    uint64_t limit = peer->sent_upto + (peer->stalled ? 1 : SENDS_MAX);
    uint64_t room = peer->chosen_upto + paxos->options.open_max;
    if (peer->stalled && peer->sent_upto > peer->rewound_to)
        return 0;
    limit = limit < room ? limit : room;
    return limit < paxos->next_slot ? limit : paxos->next_slot - 1;
}

static void pump_peer(struct paxos *paxos, struct paxos_peer *peer) {
    for (uint64_t limit = send_limit(paxos, peer); peer->sent_upto < limit; peer->sent_upto++) {
        struct paxos_slot *entry = paxos_slot_at(paxos, peer->sent_upto + 1);
        if (COVERED(peer_too_far, entry == NULL))
            return; /* chosen and gone: the peer learns it */
        struct paxos_message *accept = paxos_message_of_leader(paxos, PAXOS_ACCEPT, 1);
        paxos_message_add(accept, entry->slot, paxos->ballot, entry->value);
        paxos_send(paxos, peer, accept);
    }
}

void paxos_leader_pump(struct paxos *paxos) {
    if (paxos->next_slot == paxos->barrier_slot && paxos_has_window(paxos))
        propose_noop(paxos);
    for (uint32_t i = 0; i < paxos->peer_count; i++)
        if (&paxos->peers[i] != paxos->self)
            pump_peer(paxos, &paxos->peers[i]);
}
