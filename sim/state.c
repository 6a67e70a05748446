/* What a replica has applied, what of it is flushed to the disk, and states fetched from others. */
#include <xxhash.h>

#include "sim/sim.h"

#define SNAPSHOT_MS 20 /* mean time it takes */

/* D[s] = H(D[s-1], s, value, state): the state's digest stands for the replies'. */
static void chain(struct sim_replica *replica, const struct paxos_chosen *chosen) {
    struct sim_state *state = &replica->state;
    uint64_t parts[6] = {chosen->slot, kv_digest(&state->kv)};
    memcpy(parts + 2, state->chain, PAXOS_DIGEST);
    memcpy(parts + 4, chosen->value->digest, PAXOS_DIGEST);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(parts, sizeof parts));
    memcpy(state->chain, digest.digest, PAXOS_DIGEST);
    uint64_t every = replica->node->sim->options.check_slots;
    if (every == 0 || chosen->slot % every != 0)
        return;
    state->check.slot = chosen->slot;
    memcpy(state->check.digest, state->chain, PAXOS_DIGEST);
}

void sim_state_apply(struct sim_replica *replica, const struct paxos_chosen *chosen,
                     struct kv_result *results) {
    struct sim_state *state = &replica->state;
    const struct kv_command *commands;
    uint32_t count = 0;
    struct span bytes = {chosen->value->data, chosen->value->size};
    if (chosen->value->kind != PAXOS_CONFIG)
        count = kv_unpack(chosen->value, &commands);
    else if (paxos_config_decode(bytes, chosen->slot, &state->config, NULL) != 0)
        sim_fail(replica->node->sim, "a configuration that cannot be read");
    for (uint32_t i = 0; i < count; i++) {
        results[i] = (struct kv_result){0};
        if (!MUTANT(27) || replica->node->version == 0 || i == 0)
            results[i] = kv_apply(&state->kv, &commands[i], NULL);
    }
    state->kv.slot = chosen->slot;
    chain(replica, chosen);
}

/* ---- flush and trim ---- */

/* The state store reaches the disk; the log before it may go once the promise is kept elsewhere. */
static void flush(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    struct sim *sim = node->sim;
    struct kv before = replica->flushed.kv;
    replica->flushed = replica->state;
    if (MUTANT(5)) {
        before.slot = replica->state.kv.slot;
        replica->flushed.kv = before;
    }
    replica->state_lost = false;
    if (rng_below(&sim->disk, 100) >= sim->options.trim_percent)
        return;
    replica->flush_upto = replica->flushed.kv.slot;
    replica->flush_before = node->disk.count;
    replica->flush_seq = drive_checkpoint(replica->drive);
    if (replica->flush_seq == 0)
        replica->flush_before = 0;
}

void sim_state_flush(struct sim_node *node) {
    struct sim *sim = node->sim;
    for (uint32_t i = 0; i < sim->options.groups; i++)
        if (node->replicas[i].drive != NULL)
            flush(&node->replicas[i]);
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.crash_at_sync_ppm))
        sim_node_crash(node, true, true, rng_below(&sim->disk, 1500 * SIM_MS));
}

void sim_state_schedule(struct sim_node *node, bool eager) {
    struct sim *sim = node->sim;
    uint64_t delay_ns = eager ? 0 : sim_about(&sim->disk, sim->options.flush_ms * SIM_MS);
    if (eager && !rng_chance(&sim->disk, (uint32_t)sim->options.eager_flush_ppm))
        return;
    struct sim_event *event = sim_node_post(node, SIM_FLUSH, delay_ns);
    event->number = eager;
    sim_post(sim, event);
}

static void drop_values(struct sim_replica *replica, uint64_t upto) {
    for (uint64_t s = replica->trimmed_upto + 1; s <= upto && s < replica->value_room; s++)
        replica->values[s] = paxos_value_unref(replica->values[s]);
    if (upto > replica->trimmed_upto)
        replica->trimmed_upto = upto;
}

void sim_state_trim(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    sim_check_trim(replica, replica->flush_upto);
    for (uint32_t i = 0; i < replica->flush_before; i++) {
        struct sim_record *stored = &node->disk.records[i];
        if (stored->group != replica->group || stored->trimmed)
            continue;
        stored->trimmed = stored->slot <= replica->flush_upto;
    }
    replica->flush_before = 0;
    drop_values(replica, replica->flush_upto);
}

/* ---- snapshots ---- */

void sim_state_fetch(struct sim_replica *replica, uint32_t from) {
    struct sim *sim = replica->node->sim;
    replica->fetch_from = from + 1;
    struct sim_event *event =
        sim_node_post(replica->node, SIM_SNAPSHOT, sim_about(&sim->net, SNAPSHOT_MS * SIM_MS));
    event->group = replica->group;
    sim_post(sim, event);
}

static const struct sim_state *offered(struct sim_replica *replica) {
    struct sim *sim = replica->node->sim;
    uint32_t from = replica->fetch_from - 1;
    const struct sim_replica *source = &sim->nodes[from].replicas[replica->group];
    bool reached = sim_net_reaches(sim, replica->node->index, from) && source->drive != NULL;
    return reached && !rng_chance(&sim->net, 100000) ? &source->state : NULL;
}

/* Durable at once and as a whole: the ingest of one file. */
static void install(struct sim_replica *replica, const struct sim_state *state) {
    replica->state = *state;
    if (!MUTANT(28))
        replica->flushed = *state;
    replica->state_lost = false;
    drop_values(replica, state->kv.slot);
    sim_stats->snapshots++;
    sim_trace(replica->node->sim, "node %u group %u: has the state as of slot %llu",
              replica->node->index + 1, replica->group, (unsigned long long)state->kv.slot);
}

/* A replica that waits for it to start, or one whose slots are in nobody's log. */
void sim_state_fetched(struct sim_replica *replica) {
    const struct sim_state *state = offered(replica);
    struct sim_node *node = replica->node;
    replica->fetch_from = 0;
    if (replica->drive == NULL) {
        if (state != NULL && (state->kv.slot >= replica->trimmed_upto || MUTANT(34)))
            install(replica, state);
        sim_replica_start(replica);
        return;
    }
    struct paxos_status status;
    paxos_status(drive_paxos(replica->drive), &status);
    bool newer = state != NULL && state->kv.slot > status.chosen_upto;
    bool busy = replica->queue_head < replica->queue_tail || status.applied < status.chosen_upto;
    if (!newer || busy) {
        drive_snapshot(replica->drive, sim_node_clock(node), 0, NULL, NULL);
        return;
    }
    install(replica, state);
    drive_snapshot(replica->drive, sim_node_clock(node), state->kv.slot, &replica->state.config,
                   &replica->state.check);
}
