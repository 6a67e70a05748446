/* What must hold at every step (PAXOS.md 4, I1 to I16; those not here are in truth.c or asserted by
 * the core). */
#include <stdlib.h>

#include "core/paxos_state.h"
#include "sim/sim.h"

/* ---- promises and votes ---- */

/* I4, I16. */
void sim_check_restored(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    struct paxos_status status;
    paxos_status(drive_paxos(replica->drive), &status);
    if (ballot_compare(status.promised,
                       *sim_promised(node->sim, replica->group, node->id, replica->born)) < 0 &&
        !status.amnesic)
        sim_fail(node->sim, "node %u group %u forgot its promise", node->index + 1, replica->group);
}

static bool tells(const struct paxos_message *promise, uint64_t slot) {
    for (uint32_t i = 0; i < promise->entry_count; i++)
        if (promise->entries[i].slot == slot)
            return true;
    return slot <= promise->doubt_upto;
}

/* I15: of a slot that this replica ever voted for, below the promised ballot, it is never said that
 * it did not. */
static void check_promise(struct sim *sim, const struct paxos_message *promise) {
    uint64_t first = promise->chosen_upto + 1;
    first = promise->slot > first ? promise->slot : first;
    uint64_t last =
        promise->flags & PAXOS_MORE ? promise->upto : promise->chosen_upto + PAXOS_OPEN_MAX;
    for (uint64_t s = first; s <= last; s++) {
        const struct sim_slot *slot = sim_slot_at(sim, promise->group, s);
        for (uint32_t i = 0; i < slot->vote_count; i++)
            if (ballot_compare(slot->votes[i].ballot, promise->ballot) < 0 &&
                sim_voted(&slot->votes[i], promise->from, promise->from_born) && !tells(promise, s))
                sim_fail(sim, "node %u says it had no vote for slot %llu, and it had",
                         promise->from, (unsigned long long)s);
    }
}

/* I5: what a message says lies on the sender's disk, or did. */
static void check_vote(struct sim *sim, const struct paxos_message *message) {
    const struct sim_node *node = sim_node_of(sim, message->from);
    const struct paxos *paxos = drive_paxos(node->replicas[message->group].drive);
    uint64_t first = message->chosen_upto + 1;
    first = paxos->stream.start > first ? paxos->stream.start : first;
    for (uint64_t s = first; s <= message->upto; s++) {
        const struct sim_vote *vote =
            sim_vote_of(sim_slot_at(sim, message->group, s), message->ballot);
        if (vote == NULL || !sim_voted(vote, message->from, message->from_born))
            sim_fail(sim, "node %u sends a vote for slot %llu before it is durable", message->from,
                     (unsigned long long)s);
    }
}

void sim_check_send(struct sim *sim, const struct paxos_message *message) {
    bool promise = message->type == PAXOS_PROMISE;
    bool vote = message->type == PAXOS_ACCEPTED || message->type == PAXOS_HEARTBEAT_ACK;
    if (!promise && !vote)
        return;
    struct ballot durable = *sim_promised(sim, message->group, message->from, message->from_born);
    if (promise && ballot_compare(message->ballot, durable) > 0)
        sim_fail(sim, "node %u sends a promise before it is durable", message->from);
    if (promise)
        check_promise(sim, message);
    else
        check_vote(sim, message);
}

/* I3. */
void sim_check_leads(struct sim_replica *replica, const struct paxos_status *status) {
    struct sim_node *node = replica->node;
    if (status->leads && (status->ballot.node != node->id || status->ballot.boot != node->boot))
        sim_fail(node->sim, "node %u leads with another's ballot", node->index + 1);
}

/* I13. */
void sim_check_trim(struct sim_replica *replica, uint64_t slot) {
    if (slot > replica->flushed.kv.slot)
        sim_fail(replica->node->sim, "node %u group %u trims what is not flushed",
                 replica->node->index + 1, replica->group);
}

/* ---- the states ---- */

/* I8: of all the times that it was sent, one. */
static void check_once(struct sim *sim, const struct kv_command *command) {
    struct sim_client *client = &sim->clients[command->client];
    uint64_t room = client->carried_room;
    if (command->number >= room) {
        client->carried_room = command->number * 2;
        client->carried_out = realloc(client->carried_out, client->carried_room);
        if (client->carried_out == NULL)
            panic("out of memory for what was carried out");
        memset(client->carried_out + room, 0, client->carried_room - room);
    }
    if (client->carried_out[command->number])
        sim_fail(sim, "command %llu of client %u is carried out twice",
                 (unsigned long long)command->number, command->client);
    client->carried_out[command->number] = true;
}

/* The reference carries out a slot the first time a replica does. */
static void refer(struct sim *sim, uint32_t group, const struct paxos_chosen *chosen) {
    struct kv *kv = &sim_history(sim, group)->kv;
    struct sim_slot *slot = sim_slot_at(sim, group, chosen->slot);
    const struct kv_command *commands;
    uint32_t count =
        chosen->value->kind == PAXOS_COMMANDS ? kv_unpack(chosen->value, &commands) : 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_new = false;
        struct kv_result result = kv_apply(kv, &commands[i], &is_new);
        struct sim_client *client = &sim->clients[commands[i].client];
        if (is_new)
            check_once(sim, &commands[i]);
        if (!is_new || client->command.number != commands[i].number)
            continue;
        client->position = chosen->slot;
        client->expected = result;
    }
    kv->slot = chosen->slot;
    slot->state = kv_digest(kv);
    memcpy(slot->values, kv->values, sizeof slot->values);
    memcpy(slot->versions, kv->versions, sizeof slot->versions);
}

/* I1, I6, I10. */
void sim_check_applied(struct sim_replica *replica, const struct paxos_chosen *chosen) {
    if (chosen->write_seq > replica->durable_seq)
        sim_fail(replica->node->sim, "node %u group %u applies slot %llu ahead of its log",
                 replica->node->index + 1, replica->group, (unsigned long long)chosen->slot);
    struct sim *sim = replica->node->sim;
    uint32_t node = replica->node->index + 1, group = replica->group;
    const struct sim_slot *slot = sim_slot_at(sim, group, chosen->slot);
    if (!slot->chosen || !paxos_digest_equal(slot->digest, chosen->value->digest))
        sim_fail(sim, "node %u group %u applies slot %llu, which is not chosen %s", node, group,
                 (unsigned long long)chosen->slot, slot->chosen ? "with this value" : "durably");
    if (chosen->slot == sim_history(sim, group)->kv.slot + 1)
        refer(sim, group, chosen);
    if (slot->state != kv_digest(&replica->state.kv))
        sim_fail(sim, "node %u group %u: another state after slot %llu", node, group,
                 (unsigned long long)chosen->slot);
}

/* ---- linearizability, with the slots as witness (I8, I9) ---- */

void sim_check_invoked(struct sim *sim, struct sim_client *client) {
    client->floor = sim_history(sim, client->command.group)->seen;
}

static void check_read(struct sim *sim, const struct sim_client *client, struct kv_result result) {
    uint32_t key = client->command.key;
    const struct sim_slot *slot = sim_slot_at(sim, client->command.group, result.slot);
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
    uint64_t *seen = &sim_history(sim, client->command.group)->seen;
    bool read = client->command.kind == KV_READ;
    if (read)
        check_read(sim, client, result);
    else
        check_write(sim, client, result);
    uint64_t position = read ? result.slot : client->position;
    *seen = position > *seen ? position : *seen;
}
