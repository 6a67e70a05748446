/* The leader: proposes slots in order, counts votes, sends each peer what it lacks, and proves that
 * it still leads. */
#include "core/paxos_state.h"

#define SENDS_MAX 64u /* ACCEPTs to one peer in one step */

static bool is_alone(const struct paxos *paxos) {
    return paxos->options.voter_count == 1;
}

void paxos_propose_slot(struct paxos *paxos, struct paxos_value *value, uint64_t cookie) {
    ASSERT(paxos->role == PAXOS_LEADING);
    uint64_t slot = paxos->next_slot++;
    uint64_t seq = paxos_append(paxos, PAXOS_RECORD_ACCEPT, slot, paxos->ballot, value);
    paxos_slot_put(paxos, slot, paxos->ballot, value, seq, cookie);
    paxos->stream.received_upto = slot;
    paxos->open_bytes += value->size;
}

static void propose_noop(struct paxos *paxos) {
    struct paxos_value *noop = paxos_value_copy((struct span){NULL, 0});
    paxos_propose_slot(paxos, noop, 0);
    paxos_value_unref(noop);
}

/* Proposes anew all that phase 1 found, and a NOOP where nobody of the quorum had voted. */
static void propose_recovered(struct paxos *paxos) {
    uint64_t last = paxos->chosen_upto;
    for (uint64_t s = paxos->chosen_upto + 1; s <= paxos->chosen_upto + PAXOS_OPEN_MAX; s++)
        if (paxos->recovered[s % PAXOS_OPEN_MAX].slot == s)
            last = s;
    while (paxos->next_slot <= last) {
        const struct paxos_recovered *best = &paxos->recovered[paxos->next_slot % PAXOS_OPEN_MAX];
        if (best->slot == paxos->next_slot && MUTANT != 3)
            paxos_propose_slot(paxos, best->value, 0);
        else
            propose_noop(paxos);
    }
}

void paxos_lead(struct paxos *paxos) {
    paxos->role = PAXOS_LEADING;
    paxos->start = paxos->next_slot = paxos->chosen_upto + 1;
    paxos->open_bytes = 0;
    paxos_stream_begin(paxos, paxos->ballot, paxos->start);
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        peer->heard_ns = paxos->now_ns;
        peer->sent_upto = peer->accepted_upto = paxos->start - 1;
        peer->rewound_to = 0;
        peer->stalled = false;
        peer->seq_acked = 0;
    }
    propose_recovered(paxos);
    paxos_election_clear(paxos);
    paxos->barrier_slot = paxos->next_slot;
    paxos_set_leader(paxos, paxos->options.node);
    paxos->out->leader_changed = true;
    paxos_send_heartbeats(paxos);
}

/* ---- proposals ---- */

static bool has_window(const struct paxos *paxos) {
    return paxos->next_slot <= paxos->chosen_upto + PAXOS_WINDOW &&
           paxos->open_bytes < PAXOS_WINDOW_BYTES && !paxos_is_busy(paxos);
}

unsigned paxos_room(const struct paxos *paxos) {
    if (paxos->role != PAXOS_LEADING || paxos->next_slot <= paxos->barrier_slot ||
        !has_window(paxos))
        return 0;
    return (unsigned)(paxos->chosen_upto + PAXOS_WINDOW + 1 - paxos->next_slot);
}

static int propose_error(const struct paxos *paxos, const struct paxos_value *value) {
    if (paxos->role != PAXOS_LEADING)
        return ERR_NOT_LEADER;
    if (value->size == 0 || value->size > PAXOS_VALUE_MAX)
        return ERR_LIMIT;
    return paxos_room(paxos) > 0 ? 0 : ERR_BUSY;
}

void paxos_on_propose(struct paxos *paxos, const struct paxos_event *event) {
    ASSERT(event->value != NULL);
    ASSERT(event->cookie != 0);
    struct paxos_result result = {.cookie = event->cookie,
                                  .code = propose_error(paxos, event->value)};
    if (result.code == 0) {
        result.slot = paxos->next_slot;
        paxos_propose_slot(paxos, event->value, event->cookie);
    }
    paxos->out->proposals[paxos->out->proposal_count++] = result;
}

/* ---- votes ---- */

/* A slot is chosen once a quorum has voted for it at our ballot; a vote is for all slots up to it.
 */
static uint64_t quorum_accepted(const struct paxos *paxos) {
    uint64_t best = 0;
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        uint64_t upto = paxos->peers[i].accepted_upto;
        uint32_t count = 0;
        for (uint32_t j = 0; j < paxos->options.voter_count; j++)
            count += paxos->peers[j].accepted_upto >= upto;
        if (count >= paxos->quorum && upto > best)
            best = upto;
    }
    return best;
}

void paxos_leader_count(struct paxos *paxos) {
    ASSERT(ballot_compare(paxos->promised, paxos->ballot) == 0);
    paxos_stream_count(paxos);
    paxos->self->accepted_upto = paxos->stream.accepted_upto;
    uint64_t chosen = quorum_accepted(paxos);
    if (chosen > paxos->chosen_upto)
        paxos_raise_chosen(paxos, chosen);
}

static struct paxos_peer *voter_of(struct paxos *paxos, const struct paxos_message *message) {
    if (paxos->role != PAXOS_LEADING || ballot_compare(message->ballot, paxos->ballot) != 0)
        return NULL;
    return paxos_peer_of(paxos, message->from);
}

/* What both kinds of answer tell. */
static int hear(struct paxos *paxos, struct paxos_peer *peer, const struct paxos_message *message) {
    if (message->upto >= paxos->next_slot && message->upto > message->chosen_upto)
        return ERR_PROTOCOL; /* a vote for what we have not proposed */
    uint64_t upto = message->upto < paxos->next_slot ? message->upto : paxos->next_slot - 1;
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
    peer->stalled = from == peer->rewound_to;
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
    return 0;
}

/* ---- sending ---- */

static struct paxos_message *message_of_leader(struct paxos *paxos, enum paxos_message_type type,
                                               uint32_t room) {
    struct paxos_message *message = paxos_message_new(type, room);
    message->ballot = paxos->ballot;
    message->start = paxos->start;
    message->chosen_upto = paxos->chosen_upto;
    return message;
}

void paxos_send_heartbeats(struct paxos *paxos) {
    /* All groups of a node beat together: one wake-up and one frame for each peer. */
    uint64_t interval_ns = paxos->options.heartbeat_ns;
    paxos->heartbeat_at_ns = paxos->now_ns - paxos->now_ns % interval_ns + interval_ns;
    for (uint32_t i = 0; i < paxos->options.voter_count; i++) {
        struct paxos_peer *peer = &paxos->peers[i];
        if (peer == paxos->self)
            continue;
        struct paxos_message *heartbeat = message_of_leader(paxos, PAXOS_HEARTBEAT, 0);
        heartbeat->slot = peer->sent_upto;
        heartbeat->seq = paxos->reads.seq;
        paxos_send(paxos, peer->node, heartbeat, 0);
    }
}

static bool was_heard(const struct paxos *paxos, const struct paxos_peer *peer) {
    return peer == paxos->self || paxos->now_ns - peer->heard_ns <= paxos->options.election_max_ns;
}

void paxos_leader_tick(struct paxos *paxos) {
    if (is_alone(paxos) || paxos->now_ns < paxos->heartbeat_at_ns)
        return;
    if (paxos_has_quorum(paxos, was_heard))
        paxos_send_heartbeats(paxos);
    else
        paxos_step_down(paxos);
}

/* The last slot to send to the peer now: it holds no more than PAXOS_OPEN_MAX above what it knows
 * as chosen. */
static uint64_t send_limit(const struct paxos *paxos, const struct paxos_peer *peer) {
    uint64_t limit = peer->sent_upto + (peer->stalled ? 1 : SENDS_MAX);
    uint64_t room = peer->chosen_upto + PAXOS_OPEN_MAX;
    if (peer->stalled && peer->sent_upto > peer->rewound_to)
        return 0;
    limit = limit < room ? limit : room;
    return limit < paxos->next_slot ? limit : paxos->next_slot - 1;
}

static void pump_peer(struct paxos *paxos, struct paxos_peer *peer) {
    for (uint64_t limit = send_limit(paxos, peer); peer->sent_upto < limit; peer->sent_upto++) {
        struct paxos_slot *entry = paxos_slot_at(paxos, peer->sent_upto + 1);
        if (entry == NULL)
            return; /* chosen and gone: the peer learns it */
        struct paxos_message *accept = message_of_leader(paxos, PAXOS_ACCEPT, 1);
        accept->entries[accept->entry_count++] = (struct paxos_entry){
            .slot = entry->slot, .ballot = paxos->ballot, .value = paxos_value_ref(entry->value)};
        paxos_send(paxos, peer->node, accept, 0);
    }
}

void paxos_leader_pump(struct paxos *paxos) {
    if (paxos->next_slot == paxos->barrier_slot && has_window(paxos))
        propose_noop(paxos);
    for (uint32_t i = 0; i < paxos->options.voter_count; i++)
        if (&paxos->peers[i] != paxos->self)
            pump_peer(paxos, &paxos->peers[i]);
}
