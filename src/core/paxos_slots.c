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

/* The cell of an open slot; what it held is gone. */
static struct paxos_slot *slot_take(struct paxos *paxos, uint64_t slot) {
    ASSERT(slot > paxos->chosen_upto);
    ASSERT(slot <= paxos->chosen_upto + PAXOS_OPEN_MAX);
    while (paxos->kept_from + PAXOS_RING <= slot)
        drop_oldest(paxos);
    struct paxos_slot *entry = &paxos->ring[slot % PAXOS_RING];
    ASSERT(entry->slot == 0 || entry->slot == slot);
    slot_clear(entry);
    entry->slot = slot;
    if (slot > paxos->last_slot)
        paxos->last_slot = slot;
    return entry;
}

struct paxos_slot *paxos_slot_put(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                                  struct paxos_value *value, uint64_t write_seq) {
    paxos_value_ref(value); /* it may be the one that is there */
    struct paxos_slot *entry = slot_take(paxos, slot);
    entry->ballot = ballot;
    entry->value = value;
    entry->write_seq = write_seq;
    memcpy(entry->digest, value->digest, sizeof entry->digest);
    return entry;
}

void paxos_slot_put_damaged(struct paxos *paxos, uint64_t slot, struct ballot ballot,
                            const uint8_t digest[PAXOS_DIGEST]) {
    struct paxos_slot *entry = slot_take(paxos, slot);
    entry->ballot = ballot;
    entry->status = PAXOS_DAMAGED;
    memcpy(entry->digest, digest, sizeof entry->digest);
}

void paxos_slots_skip(struct paxos *paxos, uint64_t upto) {
    ASSERT(upto > paxos->chosen_upto);
    for (uint32_t i = 0; i < PAXOS_RING; i++)
        if (paxos->ring[i].slot <= upto)
            slot_clear(&paxos->ring[i]);
    paxos->kept_from = upto + 1;
    paxos->kept_bytes = 0;
    paxos->chosen_upto = upto;
    if (paxos->last_slot < upto)
        paxos->last_slot = upto;
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
    struct paxos_record *record = &out->records[out->record_count++];
    *record = (struct paxos_record){.type = type,
                                    .group = paxos->options.group,
                                    .born = paxos->options.born,
                                    .write_seq = seq,
                                    .slot = slot,
                                    .ballot = ballot,
                                    .chosen_upto = paxos->chosen_upto,
                                    .value = value != NULL ? paxos_value_ref(value) : NULL};
    if (value != NULL)
        memcpy(record->digest, value->digest, sizeof record->digest);
    return seq;
}

bool paxos_is_busy(const struct paxos *paxos) {
    uint64_t durable_bytes = paxos->bytes_upto[paxos->durable_seq % PAXOS_LOG_QUEUE];
    return paxos->write_seq - paxos->durable_seq >= paxos->options.busy_records ||
           paxos->written_bytes - durable_bytes >= PAXOS_WINDOW_BYTES ||
           paxos->chosen_upto - paxos->applied >= PAXOS_APPLY_LAG;
}

/* The slots above are governed by another configuration from now on. */
static void adopt_chosen(struct paxos *paxos, const struct paxos_slot *entry) {
    struct paxos_config config;
    struct span bytes = {entry->value->data, entry->value->size};
    if (paxos_config_decode(bytes, entry->slot, &config, NULL) != 0)
        panic("group %u: slot %llu holds a configuration of another version", paxos->options.group,
              (unsigned long long)entry->slot);
    if (paxos->role == PAXOS_LEADING)
        paxos_send_heartbeats(paxos); /* also to those who go: so that they know */
    paxos_adopt(paxos, &config);
    paxos->out->config_changed = true;
    if (!paxos->started || paxos->role == PAXOS_LEADING)
        return; /* a leader goes on with it: paxos_renew */
    if (!paxos_is_voter(paxos))
        paxos_step_down(paxos);
    if (paxos->role == PAXOS_FOLLOWER)
        paxos_arm_election(paxos);
}

static void choose(struct paxos *paxos, struct paxos_slot *entry) {
    struct paxos_out *out = paxos->out;
    ASSERT(out->chosen_count < PAXOS_OUT_CHOSEN);
    out->chosen[out->chosen_count++] = (struct paxos_chosen){.slot = entry->slot,
                                                             .value = paxos_value_ref(entry->value),
                                                             .cookie = entry->cookie,
                                                             .write_seq = entry->write_seq};
    entry->status = PAXOS_WHOLE;
    paxos->chosen_upto++;
    paxos->kept_bytes += entry->value->size;
    if (paxos->role == PAXOS_LEADING)
        paxos->open_bytes -= entry->value->size;
    if (paxos->last_slot < paxos->chosen_upto)
        paxos->last_slot = paxos->chosen_upto;
    if (entry->value->kind == PAXOS_CONFIG)
        adopt_chosen(paxos, entry);
}

void paxos_raise_chosen(struct paxos *paxos, uint64_t upto) {
    while (paxos->chosen_upto < upto) {
        struct paxos_slot *entry = paxos_slot_at(paxos, paxos->chosen_upto + 1);
        ASSERT(entry != NULL);
        ASSERT(entry->value != NULL);
        choose(paxos, entry);
    }
    while (paxos->kept_bytes > paxos->options.recent_bytes &&
           paxos->kept_from <= paxos->chosen_upto)
        drop_oldest(paxos);
}
