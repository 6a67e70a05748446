/* A replica: what its drive asks for, what clients ask of it, its start and end. */
#include <stdlib.h>

#include "sim/sim.h"

#define BIG_MAX 40u

/* ---- what the drive asks for ---- */

static void on_append(void *context, const struct paxos_record *record) {
    struct sim_replica *replica = context;
    if (record->value != NULL)
        sim_replica_remember(replica, record->slot, record->value);
    sim_disk_append(replica->node, record);
    paxos_value_unref(record->value);
}

static void on_send(void *context, struct paxos_message *message) {
    sim_net_send(((struct sim_replica *)context)->node->sim, message);
}

static void on_apply(void *context, const struct paxos_chosen *chosen) {
    struct sim_replica *replica = context;
    struct sim_node *node = replica->node;
    ASSERT(replica->queue_tail - replica->queue_head < SIM_QUEUE);
    replica->queue[replica->queue_tail++ % SIM_QUEUE] = *chosen;
    if (node->apply_scheduled)
        return;
    node->apply_scheduled = true;
    sim_post(node->sim,
             sim_node_post(node, SIM_APPLY,
                           sim_about(&node->sim->disk, node->sim->options.apply_us * SIM_US)));
}

static struct sim_batch *batch_of(struct sim_replica *replica, uint64_t cookie) {
    for (size_t i = 0; i < sizeof replica->batches / sizeof *replica->batches; i++)
        if (replica->batches[i].cookie == cookie)
            return &replica->batches[i];
    return NULL;
}

static void answer_batch(struct sim *sim, struct sim_batch *batch,
                         const struct kv_result *results) {
    for (uint32_t i = 0; i < batch->count; i++)
        sim_reply(sim, &batch->commands[i],
                  results != NULL ? results[i] : (struct kv_result){.status = KV_RETRY});
    batch->cookie = 0;
}

static void on_proposal(void *context, const struct paxos_result *result) {
    struct sim_replica *replica = context;
    struct sim_batch *batch = batch_of(replica, result->cookie);
    if (result->code != 0 && batch != NULL) /* NULL: a configuration */
        answer_batch(replica->node->sim, batch, NULL);
}

/* A read's cookie is its batch of one, too. */
static void on_read(void *context, const struct paxos_result *result) {
    struct sim_replica *replica = context;
    if (result->cookie == replica->drop.cookie) {
        sim_place_confirmed(replica, result->code == 0);
        return;
    }
    struct sim_batch *batch = batch_of(replica, result->cookie);
    struct kv_result value = kv_read(&replica->state.kv, batch->commands[0].key);
    answer_batch(replica->node->sim, batch, result->code == 0 ? &value : NULL);
}

static void on_leader(void *context, const struct paxos_status *status) {
    struct sim_replica *replica = context;
    sim_trace(replica->node->sim, "node %u group %u: leader %u%s, ballot %llu",
              replica->node->index + 1, replica->group, status->leader, status->leads ? " (I)" : "",
              (unsigned long long)status->ballot.round);
    sim_check_leads(replica, status);
}

static void on_config(void *context, const struct paxos_config *config) {
    struct sim_replica *replica = context;
    sim_trace(replica->node->sim, "node %u group %u: %u members since slot %llu",
              replica->node->index + 1, replica->group, config->count,
              (unsigned long long)config->slot);
}

static void on_serve(void *context, const struct paxos_serve *serve) {
    struct sim_replica *replica = context;
    const struct paxos *paxos = drive_paxos(replica->drive);
    uint64_t first = serve->from_slot;
    bool there = first < replica->value_room && replica->values[first] != NULL;
    if (!there) {
        uint64_t slot = replica->state.kv.slot;
        if (slot >= first)
            on_send(replica, paxos_snapshot_new(paxos, serve, slot));
        return;
    }
    struct paxos_message *learn = paxos_learn_new(paxos, serve);
    for (uint64_t s = first; s <= serve->to_slot && s < replica->value_room; s++)
        if (replica->values[s] == NULL || !paxos_learn_add(learn, s, replica->values[s]))
            break;
    on_send(replica, learn);
}

static void on_fetch(void *context, const struct paxos_fetch *fetch) {
    struct sim_replica *replica = context;
    const struct sim_node *from = sim_node_of(replica->node->sim, fetch->node);
    sim_state_fetch(replica, from != NULL ? from->index : replica->node->index);
}

static void on_diverged(void *context, uint64_t slot) {
    struct sim_replica *replica = context;
    sim_fail(replica->node->sim, "node %u group %u diverged at slot %llu", replica->node->index + 1,
             replica->group, (unsigned long long)slot);
}

/* ---- slots ---- */

void sim_replica_remember(struct sim_replica *replica, uint64_t slot, struct paxos_value *value) {
    while (slot >= replica->value_room) {
        uint64_t room = replica->value_room > 0 ? 2 * replica->value_room : 1024;
        replica->values = realloc(replica->values, room * sizeof *replica->values);
        ASSERT(replica->values != NULL);
        memset(replica->values + replica->value_room, 0,
               (room - replica->value_room) * sizeof *replica->values);
        replica->value_room = room;
    }
    paxos_value_unref(replica->values[slot]);
    replica->values[slot] = paxos_value_ref(value);
}

static void apply_one(struct sim_replica *replica, const struct paxos_chosen *chosen) {
    struct kv_result results[SIM_BATCH_MAX];
    sim_state_apply(replica, chosen, results);
    sim_check_applied(replica, chosen);
    struct sim_batch *batch = chosen->cookie != 0 ? batch_of(replica, chosen->cookie) : NULL;
    if (batch != NULL)
        answer_batch(replica->node->sim, batch, results);
    paxos_value_unref(chosen->value);
}

void sim_replica_apply(struct sim_replica *replica) {
    if (replica->drive == NULL || replica->queue_head == replica->queue_tail)
        return;
    uint64_t checked = replica->state.check.slot;
    while (replica->queue_head < replica->queue_tail)
        apply_one(replica, &replica->queue[replica->queue_head++ % SIM_QUEUE]);
    const struct sim_state *state = &replica->state;
    drive_applied(replica->drive, sim_node_clock(replica->node), state->kv.slot,
                  state->check.slot > checked ? &state->check : NULL);
}

/* ---- requests ---- */

static struct sim_batch *batch_new(struct sim_replica *replica) {
    struct sim_batch *batch = batch_of(replica, 0);
    if (batch == NULL)
        return NULL;
    batch->cookie = ++replica->node->sim->cookie;
    batch->count = 0;
    return batch;
}

static void read(struct sim_replica *replica, const struct kv_command *command) {
    struct sim_node *node = replica->node;
    struct paxos_status status;
    paxos_status(drive_paxos(replica->drive), &status);
    if (status.read_free) {
        sim_reply(node->sim, command, kv_read(&replica->state.kv, command->key));
        return;
    }
    struct sim_batch *batch = batch_new(replica);
    if (batch == NULL)
        return; /* the client tries again */
    batch->commands[batch->count++] = *command;
    drive_read(replica->drive, sim_node_clock(node), batch->cookie);
}

void sim_replica_request(struct sim_replica *replica, const struct kv_command *command) {
    struct sim_node *node = replica->node;
    if (replica->drive == NULL)
        return;
    if (command->kind == KV_READ) {
        read(replica, command);
        return;
    }
    if (replica->pending_count == SIM_PENDING_MAX)
        return;
    replica->pending[replica->pending_count++] = *command;
    if (node->propose_scheduled)
        return;
    node->propose_scheduled = true;
    sim_post(node->sim,
             sim_node_post(node, SIM_PROPOSE, rng_below(&node->sim->work, 200 * SIM_US)));
}

/* Big values come in bursts, so that several are open at once; at most BIG_MAX, for memory's sake.
 */
static uint32_t padding(struct sim *sim) {
    struct rng burst;
    rng_init(&burst, sim->options.seed ^ sim->now_ns / (64 * SIM_MS));
    if (sim->big_count == BIG_MAX || !rng_chance(&burst, (uint32_t)sim->options.big_ppm))
        return 0;
    sim->big_count++;
    return (uint32_t)rng_below(&sim->work, PAXOS_VALUE_MAX - 4096);
}

static void propose_batch(struct sim_replica *replica, struct sim_batch *batch) {
    struct sim *sim = replica->node->sim;
    uint32_t count =
        replica->pending_count < SIM_BATCH_MAX ? replica->pending_count : SIM_BATCH_MAX;
    memcpy(batch->commands, replica->pending, count * sizeof *replica->pending);
    batch->count = count;
    replica->pending_count -= count;
    memmove(replica->pending, replica->pending + count,
            replica->pending_count * sizeof *replica->pending);
    struct paxos_value *value = kv_pack(batch->commands, count, padding(sim));
    drive_propose(replica->drive, sim_node_clock(replica->node), value, batch->cookie, false);
}

/* All that waits goes into one slot; what does not fit the window goes when there is room, unless
 * we do not lead. */
void sim_replica_propose(struct sim_replica *replica) {
    while (replica->drive != NULL && replica->pending_count > 0) {
        struct paxos_status status;
        paxos_status(drive_paxos(replica->drive), &status);
        if (status.leads && paxos_room(drive_paxos(replica->drive)) == 0)
            return;
        struct sim_batch *batch = batch_new(replica);
        if (batch == NULL)
            return;
        propose_batch(replica, batch);
    }
}

/* ---- start and end ---- */

static void open_drive(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    struct paxos_options options = {.group = replica->group,
                                    .node = node->id,
                                    .born = replica->born,
                                    .boot = node->boot,
                                    .config = replica->state.config,
                                    .applied = replica->state.kv.slot,
                                    .seed = rng_next(&node->sim->timers),
                                    .recent_bytes = node->sim->options.recent_kib << 10,
                                    .window = node->sim->options.window,
                                    .open_max = node->sim->options.open_max,
                                    .busy_records = node->sim->options.busy_records,
                                    .page_entries = node->sim->options.page_entries};
    struct drive_io io = {.context = replica,
                          .append = on_append,
                          .send = on_send,
                          .apply = on_apply,
                          .proposal_done = on_proposal,
                          .read_done = on_read,
                          .leader_changed = on_leader,
                          .config_changed = on_config,
                          .learn_serve = on_serve,
                          .fetch_snapshot = on_fetch,
                          .diverged = on_diverged};
    if (drive_new(&options, &io, &replica->drive, NULL) != 0)
        sim_fail(node->sim, "node %u does not start", node->index + 1);
}

/* From anybody who has it; tried until it is had. */
static void fetch_first(struct sim_replica *replica) {
    struct sim *sim = replica->node->sim;
    sim_state_fetch(replica, (uint32_t)rng_below(&sim->net, sim->machine_count));
}

static bool is_amnesic(const struct sim_replica *replica) {
    struct paxos_status status;
    paxos_status(drive_paxos(replica->drive), &status);
    return status.amnesic;
}

/* Without its state a replica still is bound by its promises and votes; but slots that its log no
 * longer holds must be had before it goes on. */
void sim_replica_start(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    ASSERT(replica->drive == NULL && replica->born > 0);
    if (replica->state_lost && replica->trimmed_upto > 0 && !MUTANT(26)) {
        fetch_first(replica);
        return;
    }
    if (replica->state_lost) {
        struct paxos_config founders = *sim_config_for(node->sim, replica->group, 1);
        replica->flushed = (struct sim_state){0};
        if (paxos_config_find(&founders, node->id, replica->born) != NULL)
            replica->flushed.config = founders;
        replica->state_lost = false;
    }
    replica->state = replica->flushed;
    open_drive(replica);
    sim_disk_restore(replica);
    sim_check_restored(replica);
    if (is_amnesic(replica)) {
        sim_stats->amnesic++;
        sim_replica_drop(replica);
        return;
    }

    drive_tick(replica->drive, sim_node_clock(node));
    drive_disk(replica->drive, sim_node_clock(node), sim_disk_space(node), node->disk.sync_us);
}

void sim_replica_stop(struct sim_replica *replica) {
    replica->drive = drive_free(replica->drive);
    while (replica->queue_head < replica->queue_tail)
        paxos_value_unref(replica->queue[replica->queue_head++ % SIM_QUEUE].value);
    for (uint64_t s = 0; s < replica->value_room; s++)
        replica->values[s] = paxos_value_unref(replica->values[s]);
    memset(replica->batches, 0, sizeof replica->batches);
    replica->pending_count = 0;
    replica->durable_seq = 0;
    replica->flush_before = 0;
    replica->fetch_from = 0;
    replica->drop.cookie = 0;
}

void sim_replica_make(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    ASSERT(replica->born == 0);
    replica->born = ++node->births;
    replica->since = node->disk.durable; /* what is not may be lost, and its place used again */
    replica->trimmed_upto = 0;
    replica->flushed = (struct sim_state){0};
    sim_replica_start(replica);
    sim_trace(node->sim, "node %u group %u: a replica is made", node->index + 1, replica->group);
}

void sim_replica_drop(struct sim_replica *replica) {
    sim_trace(replica->node->sim, "node %u group %u: its replica is dropped",
              replica->node->index + 1, replica->group);
    sim_replica_stop(replica);
    replica->born = 0;
    replica->state_lost = false;
}

struct sim_replica *sim_leader(struct sim *sim, uint32_t group) {
    struct sim_replica *best = NULL;
    struct ballot highest = {0};
    for (uint32_t i = 0; i < sim->machine_count; i++) {
        struct sim_replica *replica = &sim->nodes[i].replicas[group];
        struct paxos_status status = {0};
        if (sim->nodes[i].up && replica->drive != NULL)
            paxos_status(drive_paxos(replica->drive), &status);
        if (status.leads && ballot_compare(status.ballot, highest) > 0) {
            highest = status.ballot;
            best = replica;
        }
    }
    return best;
}
