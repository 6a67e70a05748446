/* The slots of a replica: a ring of open and recently chosen ones, the records that make them
 * durable, and how they become known as chosen. */
#include "core/paxos_state.h"

struct paxos_slot *paxos_slot_at(struct paxos *paxos, uint64_t slot) {
    struct paxos_slot *entry = &paxos->ring[slot % PAXOS_RING];
    return entry->slot == slot && slot > 0 ? entry : NULL;
}

static void slot_clear(struct paxos_slot *entry) {
    paxos_value_unref(entry->value);
    *entry = (struct paxos_slot){0};
}

/* Lets go of the oldest chosen slot. */
static void drop_oldest(struct paxos *paxos) {
    ASSERT(paxos->kept_from <= paxos->chosen_upto);
    struct paxos_slot *entry = paxos_slot_at(paxos, paxos->kept_from++);
    if (entry == NULL)
        return;
    paxos->kept_bytes -= entry->value->size;
    slot_clear(entry);
}

void paxos_slot_put(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                    struct paxos_value *value, uint64_t write_seq, uint64_t cookie) {
    ASSERT(slot > paxos->chosen_upto);
    ASSERT(slot <= paxos->chosen_upto + PAXOS_OPEN_MAX);
    while (paxos->kept_from + PAXOS_RING <= slot)
        drop_oldest(paxos);
    struct paxos_slot *entry = &paxos->ring[slot % PAXOS_RING];
    ASSERT(entry->slot == 0 || entry->slot == slot);
    struct paxos_value *old = entry->value;
    *entry = (struct paxos_slot){.slot = slot,
                                 .ballot = ballot,
                                 .value = paxos_value_ref(value),
                                 .write_seq = write_seq,
                                 .cookie = cookie};
    paxos_value_unref(old);
    if (slot > paxos->last_slot)
        paxos->last_slot = slot;
}

void paxos_slots_fini(struct paxos *paxos) {
    for (uint32_t i = 0; i < PAXOS_RING; i++)
        slot_clear(&paxos->ring[i]);
}

uint64_t paxos_append(struct paxos *paxos, enum paxos_record_type type, uint64_t slot,
                      struct ballot ballot, struct paxos_value *value) {
    struct paxos_out *out = paxos->out;
    ASSERT(out->record_count < PAXOS_OUT_RECORDS);
    ASSERT(paxos->write_seq - paxos->durable_seq < PAXOS_LOG_QUEUE);
    uint64_t seq = ++paxos->write_seq;
    paxos->written_bytes += PAXOS_RECORD_HEAD + (value != NULL ? value->size : 0);
    paxos->bytes_upto[seq % PAXOS_LOG_QUEUE] = paxos->written_bytes;
    out->records[out->record_count++] =
        (struct paxos_record){.type = type,
                              .group = paxos->options.group,
                              .write_seq = seq,
                              .slot = slot,
                              .ballot = ballot,
                              .chosen_upto = paxos->chosen_upto,
                              .value = value != NULL ? paxos_value_ref(value) : NULL};
    return seq;
}

bool paxos_is_busy(const struct paxos *paxos) {
    uint64_t durable_bytes = paxos->bytes_upto[paxos->durable_seq % PAXOS_LOG_QUEUE];
    return paxos->write_seq - paxos->durable_seq >= PAXOS_LOG_BUSY ||
           paxos->written_bytes - durable_bytes >= PAXOS_WINDOW_BYTES ||
           paxos->chosen_upto - paxos->applied >= PAXOS_APPLY_LAG;
}

void paxos_raise_chosen(struct paxos *paxos, uint64_t upto) {
    struct paxos_out *out = paxos->out;
    while (paxos->chosen_upto < upto) {
        struct paxos_slot *entry = paxos_slot_at(paxos, paxos->chosen_upto + 1);
        ASSERT(entry != NULL);
        ASSERT(out->chosen_count < PAXOS_OUT_CHOSEN);
        out->chosen[out->chosen_count++] =
            (struct paxos_chosen){.slot = entry->slot,
                                  .value = paxos_value_ref(entry->value),
                                  .cookie = entry->cookie,
                                  .write_seq = entry->write_seq};
        paxos->chosen_upto++;
        paxos->kept_bytes += entry->value->size;
        if (paxos->role == PAXOS_LEADING)
            paxos->open_bytes -= entry->value->size;
    }
    if (paxos->last_slot < paxos->chosen_upto)
        paxos->last_slot = paxos->chosen_upto;
    while (paxos->kept_bytes > paxos->options.recent_bytes &&
           paxos->kept_from <= paxos->chosen_upto)
        drop_oldest(paxos);
}

/* Takes what the log says is chosen: it holds these slots, so that they passed before. */
static int restore_chosen(struct paxos *paxos, uint64_t upto) {
    while (paxos->chosen_upto < upto) {
        if (paxos_slot_at(paxos, paxos->chosen_upto + 1) == NULL)
            return ERR_CORRUPT;
        paxos_raise_chosen(paxos, paxos->chosen_upto + 1);
    }
    return 0;
}

int paxos_restore(struct paxos *paxos, const struct paxos_record *record) {
    ASSERT(!paxos->started);
    int code = restore_chosen(paxos, record->chosen_upto);
    if (code != 0)
        return code;
    if (record->type != PAXOS_RECORD_LEARN && ballot_compare(record->ballot, paxos->promised) > 0 &&
        MUTANT != 4)
        paxos->promised = record->ballot;
    paxos_saw_round(paxos, record->ballot.round);
    if (record->type == PAXOS_RECORD_PROMISE || record->slot <= paxos->chosen_upto)
        return 0;
    bool learn = record->type == PAXOS_RECORD_LEARN;
    if (record->slot > paxos->chosen_upto + (learn ? 1 : PAXOS_OPEN_MAX))
        return ERR_CORRUPT;
    paxos_slot_put(paxos, record->slot, record->ballot, record->value, 0, 0);
    if (learn)
        paxos_raise_chosen(paxos, record->slot);
    return 0;
}
