/* The acceptor: promises and votes, and the follower's side of a leader's stream of slots. */
#include "core/paxos_state.h"

void paxos_promise(struct paxos *paxos, struct ballot ballot) {
    ASSERT(ballot_compare(ballot, paxos->promised) > 0);
    paxos->promised = ballot;
    paxos->promise_seq = paxos_append(paxos, PAXOS_RECORD_PROMISE, 0, ballot, NULL);
    paxos_saw_round(paxos, ballot.round);
}

/* A stalled disk must not gather promises without end; the candidate asks again. */
static bool may_promise(const struct paxos *paxos) {
    return paxos->write_seq - paxos->durable_seq < 2 * paxos->options.busy_records;
}

void paxos_send_nack(struct paxos *paxos, const struct paxos_message *to, uint32_t flags) {
    struct paxos_message *nack = paxos_message_new(PAXOS_NACK, 0);
    nack->flags = flags;
    nack->ballot = to->ballot;
    nack->promised = paxos->promised;
    nack->chosen_upto = paxos->chosen_upto;
    paxos_reply(paxos, to, nack, 0);
}

/* ---- phase 1 ---- */

/* What is known of a slot; false when there was no vote, or doubt_upto says what there is to say.
 */
static bool entry_of(struct paxos *paxos, uint64_t slot, struct paxos_entry *ret_entry) {
    const struct paxos_slot *held = paxos_slot_at(paxos, slot);
    if (held == NULL)
        return false;
    *ret_entry = (struct paxos_entry){.slot = slot, .status = held->status};
    if (held->status == PAXOS_LOST && MUTANT(9))
        return false;
    if (held->status == PAXOS_LOST)
        return true;
    ret_entry->ballot = held->ballot;
    memcpy(ret_entry->digest, held->digest, sizeof ret_entry->digest);
    if (held->status == PAXOS_WHOLE)
        ret_entry->value = held->value;
    return true;
}

/* A page: what was accepted from slot on, as much as fits a message. */
static void send_promise(struct paxos *paxos, const struct paxos_message *to) {
    struct paxos_message *promise = paxos_message_new(PAXOS_PROMISE, PAXOS_ENTRIES_MAX);
    promise->ballot = paxos->promised;
    promise->chosen_upto = paxos->chosen_upto;
    promise->slot = to->slot;
    promise->upto = paxos->last_slot;
    promise->doubt_upto = MUTANT(9) ? 0 : paxos->doubt_upto;
    size_t size = PAXOS_MESSAGE_HEAD;
    uint64_t from = to->slot > paxos->chosen_upto ? to->slot : paxos->chosen_upto + 1;
    for (uint64_t s = from; s <= paxos->last_slot; s++) {
        struct paxos_entry entry;
        if (!entry_of(paxos, s, &entry))
            continue;
        size += PAXOS_ENTRY_HEAD + (entry.value != NULL ? entry.value->size : 0);
        if (size > PAXOS_MESSAGE_MAX || promise->entry_count == paxos->options.page_entries) {
            promise->flags |= PAXOS_MORE;
            promise->upto = s - 1;
            break;
        }
        if (entry.value != NULL)
            paxos_value_ref(entry.value);
        promise->entries[promise->entry_count++] = entry;
    }
    paxos_reply(paxos, to, promise, paxos->promise_seq);
}

bool paxos_is_outdated(const struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_member *member =
        paxos_config_find(&paxos->config, message->from, message->from_born);
    return paxos->config.slot > message->config_slot && (member == NULL || !member->voter);
}

int paxos_on_prepare(struct paxos *paxos, const struct paxos_message *message) {
    if (message->ballot.node != message->from || message->slot == 0)
        return ERR_PROTOCOL;
    int order = ballot_compare(message->ballot, paxos->promised);
    bool outdated = paxos_is_outdated(paxos, message);
    if (order < 0 || COVERED(prepare_outdated, outdated)) {
        paxos_send_nack(paxos, message, outdated ? PAXOS_REMOVED : 0);
        return 0;
    }
    if (order > 0) {
        if (COVERED(prepare_put_off, !may_promise(paxos)))
            return 0;
        paxos_promise(paxos, message->ballot);
        paxos_step_down(paxos);
        paxos_set_leader(paxos, 0);
        paxos_arm_election(paxos);
    }
    send_promise(paxos, message);
    return 0;
}

/* ---- phase 2 ---- */

static bool stream_is_current(const struct paxos *paxos) {
    return paxos->promised.round > 0 && ballot_compare(paxos->stream.ballot, paxos->promised) == 0;
}

void paxos_stream_begin(struct paxos *paxos, struct ballot ballot, uint32_t born, uint64_t start) {
    uint64_t upto = start - 1;
    const struct paxos_slot *entry;
    while ((entry = paxos_slot_at(paxos, upto + 1)) != NULL && entry->status == PAXOS_WHOLE &&
           (ballot_compare(entry->ballot, ballot) == 0 || MUTANT(1)))
        upto++; /* voted for before a restart */
    if (upto >= start)
        COVER(stream_resumed);
    paxos->stream.ballot = ballot;
    paxos->stream.born = born;
    paxos->stream.start = start;
    paxos->stream.received_upto = upto;
    paxos->stream.accepted_upto = start - 1;
}

/* Slots learnt meanwhile need not come any more. */
static void stream_catch_up(struct paxos *paxos) {
    if (paxos->chosen_upto > paxos->stream.received_upto)
        paxos->stream.received_upto = paxos->chosen_upto;
}

bool paxos_stream_count(struct paxos *paxos) {
    if (!stream_is_current(paxos))
        return false;
    stream_catch_up(paxos);
    uint64_t before = paxos->stream.accepted_upto, upto = before;
    for (; upto < paxos->stream.received_upto; upto++) {
        const struct paxos_slot *entry = paxos_slot_at(paxos, upto + 1);
        ASSERT(entry != NULL || upto < paxos->chosen_upto);
        /* A value that is not kept in memory any more is applied only once it is durable here. */
        bool durable =
            entry != NULL ? entry->write_seq <= paxos->durable_seq : upto < paxos->applied;
        if (!durable && !MUTANT(3))
            break;
    }
    paxos->stream.accepted_upto = upto;
    return upto > before;
}

void paxos_send_accepted(struct paxos *paxos) {
    struct paxos_message *accepted = paxos_message_new(PAXOS_ACCEPTED, 0);
    accepted->ballot = paxos->stream.ballot;
    accepted->upto = paxos->stream.accepted_upto;
    accepted->chosen_upto = paxos->chosen_upto;
    paxos_send_to(paxos, accepted->ballot.node, paxos->stream.born, accepted, 0);
}

/* Takes the sender for the leader of its ballot, or tells it of a higher one. False when the
 * message is not to be used. */
static bool follow(struct paxos *paxos, const struct paxos_message *message) {
    int order = ballot_compare(message->ballot, paxos->promised);
    if (order < 0) {
        paxos_send_nack(paxos, message, 0);
        return false;
    }
    if (order > 0) {
        if (!may_promise(paxos))
            return false;
        paxos_promise(paxos, message->ballot);
    }
    paxos_step_down(paxos);
    paxos->leader_heard_ns = paxos->now_ns;
    paxos->hint_until_ns = 0;
    paxos_set_leader(paxos, message->from);
    paxos_arm_election(paxos);
    if (ballot_compare(paxos->stream.ballot, message->ballot) != 0)
        paxos_stream_begin(paxos, message->ballot, message->from_born, message->start);
    return true;
}

static bool is_of_leader(const struct paxos *paxos, const struct paxos_message *message) {
    return message->ballot.node == message->from && message->start > 0 &&
           message->ballot.round > 0 &&
           (ballot_compare(paxos->stream.ballot, message->ballot) != 0 ||
            paxos->stream.start == message->start);
}

/* The leader's watermark says that slots are chosen, not with what: only slots held at the leader's
 * own ballot are what it means (PAXOS.md 2.6). The rest must be learnt. */
static void follow_chosen(struct paxos *paxos, uint64_t chosen_upto) {
    if (paxos->fetching)
        return;
    if (MUTANT(2)) {
        while (paxos->chosen_upto < chosen_upto &&
               paxos_slot_at(paxos, paxos->chosen_upto + 1) != NULL)
            paxos_raise_chosen(paxos, paxos->chosen_upto + 1);
        return;
    }
    if (COVERED(watermark_below_start, paxos->chosen_upto + 1 < paxos->stream.start))
        return;
    uint64_t received = paxos->stream.received_upto;
    paxos_raise_chosen(paxos, chosen_upto < received ? chosen_upto : received);
}

/* The next slot of the stream, unless there is no room; the leader sends it again then. */
static int receive_slot(struct paxos *paxos, const struct paxos_entry *entry,
                        struct ballot ballot) {
    const struct paxos_slot *held = paxos_slot_at(paxos, entry->slot);
    if (entry->slot <= paxos->stream.received_upto) {
        bool same = held == NULL || ballot_compare(held->ballot, ballot) != 0 ||
                    paxos_digest_equal(held->digest, entry->digest);
        return same ? 0 : ERR_CORRUPT;
    }
    if (COVERED(vote_gap, entry->slot != paxos->stream.received_upto + 1) ||
        COVERED(vote_busy, paxos_is_busy(paxos)) ||
        COVERED(vote_no_room, entry->slot > paxos->chosen_upto + paxos->options.open_max) ||
        COVERED(vote_full, paxos->space == PAXOS_SPACE_NONE && !MUTANT(38)))
        return 0;
    uint64_t seq = paxos->durable_seq;
    if (!MUTANT(38) || paxos->space != PAXOS_SPACE_NONE)
        seq = paxos_append(paxos, PAXOS_RECORD_ACCEPT, entry->slot, ballot, entry->value);
    paxos_slot_put(paxos, entry->slot, ballot, entry->value, seq);
    paxos->stream.received_upto = entry->slot;
    if (MUTANT(19) && entry->value->kind == PAXOS_CONFIG) {
        struct paxos_config config;
        struct span bytes = {entry->value->data, entry->value->size};
        if (paxos_config_decode(bytes, entry->slot, &config, NULL) == 0)
            paxos_adopt(paxos, &config);
    }
    return 0;
}

int paxos_on_accept(struct paxos *paxos, const struct paxos_message *message) {
    const struct paxos_entry *entry = &message->entries[0];
    if (!is_of_leader(paxos, message) || message->entry_count != 1 || entry->slot < message->start)
        return ERR_PROTOCOL;
    if (!follow(paxos, message))
        return 0;
    stream_catch_up(paxos);
    /* First: the record of a slot above a configuration then says that this is chosen. Once a
     * quorum of the new voters has such a record the old ones are not needed any more. */
    follow_chosen(paxos, message->chosen_upto);
    return receive_slot(paxos, entry, message->ballot);
}

/* ---- heartbeats ---- */

const struct paxos_check *paxos_last_check(const struct paxos *paxos) {
    static const struct paxos_check none;
    return paxos->check_count > 0 ? &paxos->checks[(paxos->check_count - 1) % PAXOS_CHECKS] : &none;
}

static void send_ack(struct paxos *paxos, const struct paxos_message *heartbeat) {
    struct paxos_message *ack = paxos_message_new(PAXOS_HEARTBEAT_ACK, 0);
    ack->ballot = heartbeat->ballot;
    ack->seq = heartbeat->seq;
    ack->upto = MUTANT(40) ? paxos->now_ns : paxos->stream.accepted_upto;
    ack->slot = paxos->stream.received_upto;
    ack->start = heartbeat->slot;
    ack->chosen_upto = paxos->chosen_upto;
    ack->applied = paxos->applied;
    ack->check = *paxos_last_check(paxos);
    ack->sync_us = paxos->sync_us;
    if (paxos->space != PAXOS_SPACE_GOOD)
        ack->flags = paxos->space == PAXOS_SPACE_LOW ? PAXOS_LOW : PAXOS_LOW | PAXOS_FULL;
    paxos_reply(paxos, heartbeat, ack, 0);
}

/* A majority has another state than we after the same slot (PAXOS.md 2.6). */
void paxos_compare_check(struct paxos *paxos, const struct paxos_check *agreed) {
    for (uint32_t i = 0; agreed->slot > 0 && i < PAXOS_CHECKS; i++)
        if (paxos->checks[i].slot == agreed->slot &&
            !paxos_digest_equal(paxos->checks[i].digest, agreed->digest))
            paxos->out->diverged_slot = agreed->slot;
}

int paxos_on_heartbeat(struct paxos *paxos, const struct paxos_message *message) {
    if (!is_of_leader(paxos, message))
        return ERR_PROTOCOL;
    if (!follow(paxos, message))
        return 0;
    stream_catch_up(paxos);
    follow_chosen(paxos, message->chosen_upto);
    if (message->chosen_upto > paxos->chosen_upto)
        paxos_learn_request(paxos, message->from, message->from_born);
    if (message->chosen_upto >=
        message->upto) /* the leader's barrier: it knows all that is chosen */
        paxos_bound_doubt(paxos, message->chosen_upto);
    paxos_compare_check(paxos, &message->check);
    paxos_stream_count(paxos);
    send_ack(paxos, message);
    return 0;
}
