/* The truth, kept apart from the replicas: which votes lie durably on which disk, what is therefore
 * chosen, and under which configuration. */
#include <stdlib.h>

#include "sim/sim.h"

#define PROMISES_MAX 4096u

struct promise {
    uint32_t group, node, born;
    struct ballot ballot;
};

struct sim_truth {
    struct sim_history groups[SIM_GROUPS_MAX];
    struct promise promises[PROMISES_MAX]; /* of all replicas that ever were */
    uint32_t promise_count;
};

void sim_truth_init(struct sim *sim) {
    sim->truth = calloc(1, sizeof *sim->truth);
    ASSERT(sim->truth != NULL);
    struct paxos_config founders = {.count = (uint32_t)sim->options.nodes};
    for (uint32_t i = 0; i < founders.count; i++)
        founders.members[i] = (struct paxos_member){i + 1, 1, true};
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        struct sim_history *history = &sim->truth->groups[i];
        history->configs = malloc(sizeof founders);
        ASSERT(history->configs != NULL);
        history->configs[history->config_count++] = founders;
    }
}

void sim_truth_fini(struct sim *sim) {
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        struct sim_history *history = &sim->truth->groups[i];
        for (uint64_t s = 0; s < history->room; s++)
            free(history->slots[s].votes);
        free(history->slots);
        free(history->configs);
    }
    free(sim->truth);
}

struct sim_history *sim_history(struct sim *sim, uint32_t group) {
    return &sim->truth->groups[group];
}

struct sim_slot *sim_slot_at(struct sim *sim, uint32_t group, uint64_t slot) {
    struct sim_history *history = sim_history(sim, group);
    while (slot >= history->room) {
        uint64_t room = history->room > 0 ? 2 * history->room : 1024;
        history->slots = realloc(history->slots, room * sizeof *history->slots);
        ASSERT(history->slots != NULL);
        memset(history->slots + history->room, 0, (room - history->room) * sizeof *history->slots);
        history->room = room;
    }
    return &history->slots[slot];
}

const struct paxos_config *sim_config_for(struct sim *sim, uint32_t group, uint64_t slot) {
    const struct sim_history *history = sim_history(sim, group);
    uint32_t i = history->config_count;
    while (history->configs[i - 1].slot >= slot && i > 1)
        i--;
    return &history->configs[i - 1];
}

/* ---- promises ---- */

struct ballot *sim_promised(struct sim *sim, uint32_t group, uint32_t node, uint32_t born) {
    struct sim_truth *truth = sim->truth;
    for (uint32_t i = 0; i < truth->promise_count; i++) {
        struct promise *promise = &truth->promises[i];
        if (promise->group == group && promise->node == node && promise->born == born)
            return &promise->ballot;
    }
    ASSERT(truth->promise_count < PROMISES_MAX);
    struct promise *promise = &truth->promises[truth->promise_count++];
    *promise = (struct promise){.group = group, .node = node, .born = born};
    return &promise->ballot;
}

/* ---- votes ---- */

struct sim_vote *sim_vote_of(struct sim_slot *slot, struct ballot ballot) {
    for (uint32_t i = 0; i < slot->vote_count; i++)
        if (ballot_compare(slot->votes[i].ballot, ballot) == 0)
            return &slot->votes[i];
    return NULL;
}

bool sim_voted(const struct sim_vote *vote, uint32_t node, uint32_t born) {
    for (uint32_t i = 0; i < vote->voter_count; i++)
        if (vote->voters[i].node == node && vote->voters[i].born == born)
            return true;
    return false;
}

static struct sim_vote *vote_new(struct sim_slot *slot, const struct paxos_record *record) {
    slot->votes = realloc(slot->votes, (slot->vote_count + 1) * sizeof *slot->votes);
    ASSERT(slot->votes != NULL);
    struct sim_vote *vote = &slot->votes[slot->vote_count++];
    *vote =
        (struct sim_vote){.ballot = record->ballot, .config = record->value->kind == PAXOS_CONFIG};
    memcpy(vote->digest, record->digest, sizeof vote->digest);
    return vote;
}

static bool is_chosen(const struct sim_vote *vote, const struct paxos_config *config) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < vote->voter_count; i++) {
        const struct paxos_member *member =
            paxos_config_find(config, vote->voters[i].node, vote->voters[i].born);
        count += member != NULL && member->voter;
    }
    return count > paxos_config_voters(config) / 2;
}

static void choose(struct sim *sim, const struct paxos_record *record) {
    struct sim_history *history = sim_history(sim, record->group);
    struct sim_slot *slot = sim_slot_at(sim, record->group, record->slot);
    if (slot->chosen && !paxos_digest_equal(slot->digest, record->digest))
        sim_fail(sim, "group %u slot %llu: two values are chosen", record->group,
                 (unsigned long long)record->slot);
    if (slot->chosen)
        return;
    slot->chosen = true;
    memcpy(slot->digest, record->digest, sizeof slot->digest);
    while (sim_slot_at(sim, record->group, history->chosen_upto + 1)->chosen)
        history->chosen_upto++;
    if (record->value->kind != PAXOS_CONFIG)
        return;
    struct paxos_config config;
    struct span bytes = {record->value->data, record->value->size};
    if (paxos_config_decode(bytes, record->slot, &config, NULL) != 0 ||
        record->slot <= history->configs[history->config_count - 1].slot)
        sim_fail(sim, "group %u slot %llu: a configuration out of order", record->group,
                 (unsigned long long)record->slot);
    history->configs =
        realloc(history->configs, (history->config_count + 1) * sizeof *history->configs);
    ASSERT(history->configs != NULL);
    history->configs[history->config_count++] = config;
}

/* I11: nothing is proposed above a configuration that is not chosen. */
static void check_sealed(struct sim *sim, const struct paxos_record *record) {
    uint64_t first = record->slot > PAXOS_OPEN_MAX ? record->slot - PAXOS_OPEN_MAX : 1;
    for (uint64_t s = first; s < record->slot; s++) {
        struct sim_slot *slot = sim_slot_at(sim, record->group, s);
        const struct sim_vote *vote = slot->chosen ? NULL : sim_vote_of(slot, record->ballot);
        if (vote != NULL && vote->config)
            sim_fail(sim, "group %u: slot %llu is voted for above a configuration in slot %llu",
                     record->group, (unsigned long long)record->slot, (unsigned long long)s);
    }
}

static void add_vote(struct sim_node *node, const struct paxos_record *record) {
    struct sim *sim = node->sim;
    struct sim_slot *slot = sim_slot_at(sim, record->group, record->slot);
    struct sim_vote *vote = sim_vote_of(slot, record->ballot);
    if (vote == NULL)
        vote = vote_new(slot, record);
    if (!paxos_digest_equal(vote->digest, record->digest))
        sim_fail(sim, "group %u slot %llu: one ballot, two values", record->group,
                 (unsigned long long)record->slot);
    check_sealed(sim, record);
    if (!sim_voted(vote, node->id, record->born) && vote->voter_count < SIM_VOTERS_MAX)
        vote->voters[vote->voter_count++] = (struct paxos_member){node->id, record->born, true};
    if (is_chosen(vote, sim_config_for(sim, record->group, record->slot)))
        choose(sim, record);
}

void sim_truth_record(struct sim_node *node, const struct paxos_record *record) {
    struct ballot *promised = sim_promised(node->sim, record->group, node->id, record->born);
    if (record->type == PAXOS_RECORD_ACCEPT)
        add_vote(node, record);
    if (record->type == PAXOS_RECORD_LEARN)
        return;
    if (ballot_compare(record->ballot, *promised) < 0)
        sim_fail(node->sim, "node %u group %u breaks its promise", node->index + 1, record->group);
    *promised = record->ballot;
}
