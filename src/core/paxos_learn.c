/* Chosen values for a replica that missed them: it asks, page by page, whoever is ahead. Who is
 * asked for what its log no longer holds says so, and the state itself is fetched. */
#include "core/paxos_state.h"

#define LEARN_PATIENCE_NS 100000000ull /* then the request or its answer is taken for lost */

/* The one who is known to be ahead; after a miss, the members after it in turn. */
static const struct paxos_peer *pick_teacher(struct paxos *paxos, uint32_t node, uint32_t born) {
    uint32_t count = paxos->peer_count, index = 0;
    while (index < count && (paxos->peers[index].node != node || paxos->peers[index].born != born))
        index++;
    if (index == count)
        return NULL;
    const struct paxos_peer *teacher = &paxos->peers[(index + paxos->learn_misses) % count];
    return teacher != paxos->self ? teacher : &paxos->peers[index];
}

void paxos_learn_request(struct paxos *paxos, uint32_t node, uint32_t born) {
    bool waiting = paxos->learn_at_ns != 0;
    if (waiting && (MUTANT(36) || paxos->now_ns - paxos->learn_at_ns < LEARN_PATIENCE_NS))
        return;
    if (paxos_is_busy(paxos) || paxos->fetching)
        return;
    paxos->learn_misses += COVERED(learn_missed, waiting);
    paxos->learn_at_ns = paxos->now_ns;
    struct paxos_message *request = paxos_message_new(PAXOS_LEARN_REQ, 0);
    request->slot = paxos->chosen_upto + 1;
    const struct paxos_peer *teacher = pick_teacher(paxos, node, born);
    if (teacher != NULL)
        paxos_send(paxos, teacher, request);
    else
        paxos_send_to(paxos, node, born, request, 0);
}

/* ---- the one that is ahead ---- */

static struct paxos_message *answer_new(const struct paxos *paxos, enum paxos_message_type type,
                                        uint32_t room, const struct paxos_serve *serve) {
    const struct paxos_options *options = &paxos->options;
    struct paxos_message *message = paxos_message_new(type, room);
    message->group = options->group;
    message->from = options->node;
    message->from_born = options->born;
    message->to = serve->to;
    message->to_born = serve->to_born;
    message->config_slot = paxos->config.slot;
    message->chosen_upto = serve->chosen_upto;
    return message;
}

struct paxos_message *paxos_learn_new(const struct paxos *paxos, const struct paxos_serve *serve) {
    struct paxos_message *learn = answer_new(paxos, PAXOS_LEARN, PAXOS_ENTRIES_MAX, serve);
    learn->slot = serve->from_slot;
    return learn;
}

bool paxos_learn_add(struct paxos_message *message, uint64_t slot, struct paxos_value *value) {
    ASSERT(slot == message->slot + message->entry_count);
    size_t size = paxos_message_size(message) + PAXOS_ENTRY_HEAD + value->size;
    if (message->entry_count == PAXOS_ENTRIES_MAX || size > PAXOS_MESSAGE_MAX)
        return false;
    paxos_message_add(message, slot, (struct ballot){0}, value);
    return true;
}

struct paxos_message *paxos_snapshot_new(const struct paxos *paxos, const struct paxos_serve *serve,
                                         uint64_t slot) {
    struct paxos_message *message = answer_new(paxos, PAXOS_SNAPSHOT, 0, serve);
    message->slot = slot;
    return message;
}

int paxos_on_learn_req(struct paxos *paxos, const struct paxos_message *message) {
    if (message->slot == 0)
        return ERR_PROTOCOL;
    if (message->slot > paxos->chosen_upto)
        return 0;
    uint64_t upto = paxos->chosen_upto;
    if (upto >= message->slot + paxos->options.page_entries)
        upto = message->slot + paxos->options.page_entries - 1;
    struct paxos_serve serve = {message->from, message->from_born, message->slot, upto,
                                paxos->chosen_upto};
    if (paxos_slot_at(paxos, message->slot) == NULL) {
        COVER(learn_from_log);
        paxos->out->serves[paxos->out->serve_count++] = serve;
        return 0;
    }
    struct paxos_message *learn = paxos_learn_new(paxos, &serve);
    for (uint64_t s = message->slot; s <= upto; s++)
        if (!paxos_learn_add(learn, s, paxos_slot_at(paxos, s)->value))
            break;
    paxos_reply(paxos, message, learn, 0);
    return 0;
}

/* ---- the one that is behind ---- */

static void learn_slot(struct paxos *paxos, const struct paxos_entry *entry) {
    struct paxos_value *value = entry->value;
    uint64_t seq = paxos_append(paxos, PAXOS_RECORD_LEARN, entry->slot, (struct ballot){0}, value);
    paxos_slot_put(paxos, entry->slot, (struct ballot){0}, value, seq);
    paxos_raise_chosen(paxos, entry->slot);
}

int paxos_on_learn(struct paxos *paxos, const struct paxos_message *message) {
    if (paxos->role == PAXOS_LEADING || paxos_is_busy(paxos) || paxos->fetching)
        return 0;
    uint64_t before = paxos->chosen_upto;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct paxos_entry *entry = &message->entries[i];
        if (entry->slot != message->entries[0].slot + i || entry->slot > message->chosen_upto)
            return ERR_PROTOCOL;
        if (entry->slot == paxos->chosen_upto + 1)
            learn_slot(paxos, entry);
    }
    if (message->entry_count > 0 && paxos->chosen_upto == before)
        return 0; /* doubled: one question for each answer, else they breed */
    paxos->learn_at_ns = 0;
    paxos->learn_misses = message->entry_count > 0 ? 0 : paxos->learn_misses + 1;
    if (message->entry_count > 0 && message->chosen_upto > paxos->chosen_upto)
        paxos_learn_request(paxos, message->from, message->from_born);
    if (paxos->role == PAXOS_PREPARING)
        paxos_ask_promises(paxos);
    return 0;
}

/* ---- the state itself ---- */

int paxos_on_snapshot_message(struct paxos *paxos, const struct paxos_message *message) {
    if (paxos->role == PAXOS_LEADING || paxos->fetching || message->slot <= paxos->chosen_upto)
        return 0;
    paxos_step_down(paxos);
    COVER(snapshot_wanted);
    paxos->fetching = true;
    paxos->out->fetch = (struct paxos_fetch){message->from, message->slot};
    return 0;
}

/* Promise and votes above the slot stay (PAXOS.md 2.10): the state replaces only what is chosen. */
void paxos_on_snapshot_event(struct paxos *paxos, const struct paxos_event *event) {
    paxos->fetching = MUTANT(29) && event->slot == 0;
    paxos->learn_at_ns = 0;
    if (COVERED(snapshot_failed, event->slot == 0))
        return;
    COVER(snapshot_taken);
    ASSERT(event->slot > paxos->chosen_upto);
    ASSERT(paxos->applied == paxos->chosen_upto);
    ASSERT(event->config != NULL && event->config->slot <= event->slot);
    paxos_slots_skip(paxos, event->slot);
    paxos->applied = event->slot;
    if (MUTANT(12))
        paxos->promised = (struct ballot){0};
    if (!MUTANT(14))
        paxos_adopt(paxos, event->config);
    paxos->out->config_changed = true;
    if (event->check.slot > 0)
        paxos->checks[paxos->check_count++ % PAXOS_CHECKS] = event->check;
    if (paxos->started)
        paxos_arm_election(paxos);
}
