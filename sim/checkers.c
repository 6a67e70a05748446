/* What must hold. The truth is kept apart from the replicas: which votes lie durably on which disk,
 * what is therefore chosen, and a reference state machine that carries the chosen commands out in
 * slot order. */
#include <stdlib.h>

#include "core/paxos_state.h"
#include "sim/sim.h"

struct vote {
    struct ballot ballot;
    uint8_t digest[16];
    uint32_t nodes; /* bits */
};

struct slot {
    bool chosen;
    uint8_t digest[16];
    struct vote *votes;
    uint32_t vote_count;
    uint64_t state; /* digest of the reference after it */
    uint64_t values[KV_KEYS];
    uint64_t versions[KV_KEYS];
};

struct sim_truth {
    struct {
        struct slot *slots;
        uint64_t room;
        struct kv kv;
        uint64_t seen; /* the newest slot an answer has shown */
    } groups[SIM_GROUPS_MAX];
    struct ballot promised[SIM_NODES_MAX][SIM_GROUPS_MAX]; /* durably */
};

void sim_truth_init(struct sim *sim) {
    sim->truth = calloc(1, sizeof *sim->truth);
    ASSERT(sim->truth != NULL);
}

void sim_truth_fini(struct sim *sim) {
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        for (uint64_t s = 0; s < sim->truth->groups[i].room; s++)
            free(sim->truth->groups[i].slots[s].votes);
        free(sim->truth->groups[i].slots);
    }
    free(sim->truth);
}

static struct slot *slot_at(struct sim *sim, uint32_t group, uint64_t slot) {
    __auto_type g = &sim->truth->groups[group];
    while (slot >= g->room) {
        uint64_t room = g->room > 0 ? 2 * g->room : 1024;
        g->slots = realloc(g->slots, room * sizeof *g->slots);
        ASSERT(g->slots != NULL);
        memset(g->slots + g->room, 0, (room - g->room) * sizeof *g->slots);
        g->room = room;
    }
    return &g->slots[slot];
}

/* ---- agreement and durability ---- */

static struct vote *vote_of(struct slot *slot, struct ballot ballot) {
    for (uint32_t i = 0; i < slot->vote_count; i++)
        if (ballot_compare(slot->votes[i].ballot, ballot) == 0)
            return &slot->votes[i];
    return NULL;
}

static struct vote *vote_new(struct slot *slot, const struct paxos_record *record) {
    slot->votes = realloc(slot->votes, (slot->vote_count + 1) * sizeof *slot->votes);
    ASSERT(slot->votes != NULL);
    struct vote *vote = &slot->votes[slot->vote_count++];
    *vote = (struct vote){.ballot = record->ballot};
    memcpy(vote->digest, record->value->digest, sizeof vote->digest);
    return vote;
}

static void check_vote(struct sim_node *node, const struct paxos_record *record) {
    struct sim *sim = node->sim;
    struct slot *slot = slot_at(sim, record->group, record->slot);
    struct vote *vote = vote_of(slot, record->ballot);
    if (vote == NULL)
        vote = vote_new(slot, record);
    if (memcmp(vote->digest, record->value->digest, sizeof vote->digest) != 0)
        sim_fail(sim, "group %u slot %llu: one ballot, two values", record->group,
                 (unsigned long long)record->slot);
    vote->nodes |= 1u << node->index;
    if ((uint64_t)__builtin_popcount(vote->nodes) <= sim->options.nodes / 2)
        return;
    if (slot->chosen && memcmp(slot->digest, vote->digest, sizeof vote->digest) != 0)
        sim_fail(sim, "group %u slot %llu: two values are chosen", record->group,
                 (unsigned long long)record->slot);
    slot->chosen = true;
    memcpy(slot->digest, vote->digest, sizeof slot->digest);
}

void sim_check_durable(struct sim_node *node, const struct paxos_record *record) {
    struct ballot *promised = &node->sim->truth->promised[node->index][record->group];
    if (record->type == PAXOS_RECORD_ACCEPT)
        check_vote(node, record);
    if (record->type == PAXOS_RECORD_LEARN)
        return;
    if (ballot_compare(record->ballot, *promised) < 0)
        sim_fail(node->sim, "node %u group %u breaks its promise", node->index + 1, record->group);
    *promised = record->ballot;
}

void sim_check_restored(struct sim_node *node, uint32_t group) {
    struct paxos_status status;
    paxos_status(drive_paxos(node->groups[group].drive), &status);
    if (ballot_compare(status.promised, node->sim->truth->promised[node->index][group]) < 0)
        sim_fail(node->sim, "node %u group %u forgot its promise", node->index + 1, group);
}

/* What a message says must lie on the sender's disk. */
void sim_check_send(struct sim *sim, const struct paxos_message *message) {
    uint32_t from = message->from - 1;
    if (message->type == PAXOS_PROMISE &&
        ballot_compare(message->ballot, sim->truth->promised[from][message->group]) > 0)
        sim_fail(sim, "node %u sends a promise before it is durable", message->from);
    if (message->type != PAXOS_ACCEPTED && message->type != PAXOS_HEARTBEAT_ACK)
        return;
    const struct paxos *paxos = drive_paxos(sim->nodes[from].groups[message->group].drive);
    uint64_t first = message->chosen_upto + 1;
    for (uint64_t s = first > paxos->stream.start ? first : paxos->stream.start; s <= message->upto;
         s++) {
        struct vote *vote = vote_of(slot_at(sim, message->group, s), message->ballot);
        if (vote == NULL || !(vote->nodes >> from & 1))
            sim_fail(sim, "node %u sends a vote for slot %llu before it is durable", message->from,
                     (unsigned long long)s);
    }
}

/* The reference carries out a slot the first time a replica does. */
static void refer(struct sim *sim, uint32_t group, const struct paxos_chosen *chosen) {
    struct kv *kv = &sim->truth->groups[group].kv;
    struct slot *slot = slot_at(sim, group, chosen->slot);
    const struct kv_command *commands;
    uint32_t count = kv_unpack(chosen->value, &commands);
    for (uint32_t i = 0; i < count; i++) {
        struct kv_result result = kv_apply(kv, &commands[i]);
        struct sim_client *client = &sim->clients[commands[i].client];
        if (client->position > 0 || client->command.number != commands[i].number)
            continue;
        client->position = chosen->slot;
        client->expected = result;
    }
    kv->slot = chosen->slot;
    slot->state = kv_digest(kv);
    memcpy(slot->values, kv->values, sizeof slot->values);
    memcpy(slot->versions, kv->versions, sizeof slot->versions);
}

void sim_check_applied(struct sim_node *node, uint32_t group, const struct paxos_chosen *chosen) {
    struct sim *sim = node->sim;
    struct slot *slot = slot_at(sim, group, chosen->slot);
    if (!slot->chosen || memcmp(slot->digest, chosen->value->digest, sizeof slot->digest) != 0)
        sim_fail(sim, "node %u group %u applies slot %llu, which is not chosen %s", node->index + 1,
                 group, (unsigned long long)chosen->slot,
                 slot->chosen ? "with this value" : "durably");
    if (chosen->slot == sim->truth->groups[group].kv.slot + 1)
        refer(sim, group, chosen);
    if (slot->state != kv_digest(&node->groups[group].kv))
        sim_fail(sim, "node %u group %u: another state after slot %llu", node->index + 1, group,
                 (unsigned long long)chosen->slot);
}

/* ---- linearizability, with the slots as witness ---- */

void sim_check_invoked(struct sim *sim, struct sim_client *client) {
    client->floor = sim->truth->groups[client->command.group].seen;
}

static void check_read(struct sim *sim, const struct sim_client *client, struct kv_result result) {
    uint32_t key = client->command.key;
    const struct slot *slot = slot_at(sim, client->command.group, result.slot);
    if (result.slot < client->floor)
        sim_fail(sim, "a stale read: of slot %llu, when slot %llu had been seen before it began",
                 (unsigned long long)result.slot, (unsigned long long)client->floor);
    if (result.value != slot->values[key] || result.version != slot->versions[key])
        sim_fail(sim, "a read saw what was not there at slot %llu",
                 (unsigned long long)result.slot);
}

static void check_write(struct sim *sim, const struct sim_client *client, struct kv_result result) {
    if (client->position == 0)
        sim_fail(sim, "a command was answered that no slot holds");
    if (client->position <= client->floor)
        sim_fail(sim,
                 "a command took effect at slot %llu, when slot %llu had been seen before it began",
                 (unsigned long long)client->position, (unsigned long long)client->floor);
    if (memcmp(&result, &client->expected, sizeof result) != 0)
        sim_fail(sim, "a command was answered otherwise than the reference does");
}

void sim_check_answered(struct sim *sim, struct sim_client *client, struct kv_result result) {
    uint64_t *seen = &sim->truth->groups[client->command.group].seen;
    bool read = client->command.kind == KV_READ;
    if (read)
        check_read(sim, client, result);
    else
        check_write(sim, client, result);
    uint64_t position = read ? result.slot : client->position;
    *seen = position > *seen ? position : *seen;
}

/* ---- liveness ---- */

static const char *group_unrest(const struct sim *sim, uint32_t group) {
    uint64_t last = sim->truth->groups[group].kv.slot;
    uint32_t leaders = 0;
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        struct paxos_status status;
        paxos_status(drive_paxos(sim->nodes[i].groups[group].drive), &status);
        leaders += status.leads;
        if (status.applied != last)
            return "a replica has not applied all that is chosen";
        if (status.leads && status.last_slot != last)
            return "a leader has not finished"; /* a follower may hold a vote nobody needs */
    }
    return leaders == 1 ? NULL : "a group has not one leader";
}

const char *sim_unrest(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->options.nodes; i++)
        if (!sim->nodes[i].up)
            return "a node is down";
    for (uint32_t i = 0; i < sim->options.clients; i++)
        if (sim->clients[i].busy)
            return "a client waits";
    for (uint32_t i = 0; i < sim->options.groups; i++) {
        const char *unrest = group_unrest(sim, i);
        if (unrest != NULL)
            return unrest;
    }
    return NULL;
}

uint64_t sim_slots(const struct sim *sim) {
    uint64_t slots = 0;
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++)
        slots += sim->truth->groups[i].kv.slot;
    return slots;
}
