/* Chosen values for a replica that missed them: it asks, page by page, whoever is ahead. */
#include "core/paxos_state.h"

#define LEARN_PATIENCE_NS 100000000ull /* then the request or its answer is taken for lost */

/* The one who is known to be ahead; after a miss, those after it in turn. */
static uint32_t pick_teacher(struct paxos *paxos, uint32_t ahead) {
    uint32_t count = paxos->options.voter_count, index = 0;
    while (paxos->peers[index].node != ahead)
        index++;
    index = (index + paxos->learn_misses) % count;
    return &paxos->peers[index] != paxos->self ? paxos->peers[index].node : ahead;
}

void paxos_learn_request(struct paxos *paxos, uint32_t ahead) {
    bool waiting = paxos->learn_at_ns != 0;
    if (waiting && paxos->now_ns - paxos->learn_at_ns < LEARN_PATIENCE_NS)
        return;
    if (paxos_is_busy(paxos))
        return;
    paxos->learn_misses += waiting;
    paxos->learn_at_ns = paxos->now_ns;
    struct paxos_message *request = paxos_message_new(PAXOS_LEARN_REQ, 0);
    request->slot = paxos->chosen_upto + 1;
    paxos_send(paxos, pick_teacher(paxos, ahead), request, 0);
}

struct paxos_message *paxos_learn_new(const struct paxos *paxos, const struct paxos_serve *serve) {
    const struct paxos_options *options = &paxos->options;
    struct paxos_message *learn = paxos_message_new(PAXOS_LEARN, PAXOS_ENTRIES_MAX);
    learn->group = options->group;
    learn->config_id = options->config_id;
    learn->incarnation = options->incarnation;
    learn->from = options->node;
    learn->to = serve->to;
    learn->slot = serve->from_slot;
    learn->chosen_upto = serve->chosen_upto;
    return learn;
}

bool paxos_learn_add(struct paxos_message *message, uint64_t slot, struct paxos_value *value) {
    ASSERT(slot == message->slot + message->entry_count);
    size_t size = paxos_message_size(message) + PAXOS_ENTRY_HEAD + value->size;
    if (message->entry_count == PAXOS_ENTRIES_MAX || size > PAXOS_MESSAGE_MAX)
        return false;
    message->entries[message->entry_count++] =
        (struct paxos_entry){.slot = slot, .value = paxos_value_ref(value)};
    return true;
}

int paxos_on_learn_req(struct paxos *paxos, const struct paxos_message *message) {
    if (message->slot == 0)
        return ERR_PROTOCOL;
    if (message->slot > paxos->chosen_upto)
        return 0;
    uint64_t upto = paxos->chosen_upto;
    if (upto >= message->slot + PAXOS_ENTRIES_MAX)
        upto = message->slot + PAXOS_ENTRIES_MAX - 1;
    struct paxos_serve serve = {message->from, message->slot, upto, paxos->chosen_upto};
    if (paxos_slot_at(paxos, message->slot) == NULL) {
        paxos->out->serves[paxos->out->serve_count++] = serve;
        return 0;
    }
    struct paxos_message *learn = paxos_learn_new(paxos, &serve);
    for (uint64_t s = message->slot; s <= upto; s++)
        if (!paxos_learn_add(learn, s, paxos_slot_at(paxos, s)->value))
            break;
    paxos_send(paxos, message->from, learn, 0);
    return 0;
}

int paxos_on_learn(struct paxos *paxos, const struct paxos_message *message) {
    if (paxos->role == PAXOS_LEADING || paxos_is_busy(paxos))
        return 0;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct paxos_entry *entry = &message->entries[i];
        if (entry->slot != message->entries[0].slot + i || entry->slot > message->chosen_upto)
            return ERR_PROTOCOL;
        if (entry->slot != paxos->chosen_upto + 1)
            continue;
        uint64_t seq =
            paxos_append(paxos, PAXOS_RECORD_LEARN, entry->slot, (struct ballot){0}, entry->value);
        paxos_slot_put(paxos, entry->slot, (struct ballot){0}, entry->value, seq, 0);
        paxos_raise_chosen(paxos, entry->slot);
    }
    paxos->learn_at_ns = 0;
    paxos->learn_misses = message->entry_count > 0 ? 0 : paxos->learn_misses + 1;
    if (message->entry_count > 0 && message->chosen_upto > paxos->chosen_upto)
        paxos_learn_request(paxos, message->from);
    if (paxos->role == PAXOS_PREPARING)
        paxos_election_retry(paxos);
    return 0;
}
