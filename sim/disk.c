/* A node's disk: one log for all groups, in order, one write in flight. A crash keeps what was
 * synced and any prefix of the rest, whose last record may be torn. */
#include <stdlib.h>

#include "sim/sim.h"

enum paxos_space sim_disk_space(const struct sim_node *node) {
    const struct sim *sim = node->sim;
    if (sim->now_ns >= node->disk.full_until_ns)
        return PAXOS_SPACE_GOOD;
    return node->disk.full_until_ns - sim->now_ns > 1000 * SIM_MS ? PAXOS_SPACE_NONE
                                                                  : PAXOS_SPACE_LOW;
}

static void sync_begin(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    if (disk->syncing != 0 || disk->durable == disk->count)
        return;
    disk->syncing = disk->count;
    disk->began_ns = sim->now_ns;
    uint64_t takes_ns = sim_about(&sim->disk, sim->options.sync_us * SIM_US);
    if (sim->now_ns < disk->slow_until_ns)
        takes_ns *= disk->slow_factor;
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.stall_ppm))
        takes_ns += 1000 * SIM_MS;
    sim_post(sim, sim_node_post(node, SIM_SYNCED, takes_ns));
}

void sim_disk_append(struct sim_node *node, const struct paxos_record *record) {
    struct sim_disk *disk = &node->disk;
    if (disk->count == disk->room) {
        disk->room = disk->room > 0 ? 2 * disk->room : 1024;
        disk->records = realloc(disk->records, disk->room * sizeof *disk->records);
        ASSERT(disk->records != NULL);
    }
    struct sim_record *stored = &disk->records[disk->count++];
    *stored = (struct sim_record){
        .group = record->group, .born = record->born, .write_seq = record->write_seq};
    paxos_record_encode(record, &stored->bytes);
    sync_begin(node);
}

static struct paxos_record decode(struct sim_node *node, const struct sim_record *stored) {
    struct paxos_record record;
    if (paxos_record_decode(buf_span(&stored->bytes), &record, NULL) != 0)
        sim_fail(node->sim, "node %u cannot read its log", node->index + 1);
    record.write_seq = stored->write_seq;
    return record;
}

static void make_durable(struct sim_node *node, uint32_t upto) {
    struct sim_disk *disk = &node->disk;
    for (; disk->durable < upto; disk->durable++) {
        struct paxos_record record = decode(node, &disk->records[disk->durable]);
        sim_truth_record(node, &record);
        paxos_value_unref(record.value);
    }
}

static void measure(struct sim_node *node) {
    struct sim_disk *disk = &node->disk;
    uint64_t us = (node->sim->now_ns - disk->began_ns) / SIM_US;
    disk->sync_us = (uint32_t)((disk->sync_us * 7 + us) / 8);
}

/* The newest write_seq of each replica's present life among what was written. */
static void tell_durable(struct sim_node *node, uint32_t first, uint32_t end) {
    struct sim *sim = node->sim;
    uint64_t seqs[SIM_GROUPS_MAX] = {0};
    for (uint32_t i = first; i < end; i++) {
        const struct sim_record *stored = &node->disk.records[i];
        if (stored->write_seq > 0 && stored->born == node->replicas[stored->group].born)
            seqs[stored->group] = stored->write_seq;
    }
    for (uint32_t i = 0; i < sim->options.groups; i++) {
        struct sim_replica *replica = &node->replicas[i];
        if (seqs[i] == 0 || replica->drive == NULL)
            continue;
        if (replica->flush_before > 0 && seqs[i] >= replica->flush_seq)
            sim_state_trim(replica);
        drive_durable(replica->drive, sim_node_clock(node), seqs[i]);
    }
}

void sim_disk_synced(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    if (disk->failing) { /* never tried again: the process ends */
        disk->failing = false;
        sim_node_crash(node, true, true, 200 * SIM_MS);
        return;
    }
    uint32_t first = disk->durable, end = disk->syncing;
    make_durable(node, end);
    measure(node);
    disk->syncing = 0;
    sync_begin(node);
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.crash_at_sync_ppm)) {
        sim_node_crash(node, true, true, rng_below(&sim->disk, 1500 * SIM_MS));
        return;
    }
    tell_durable(node, first, end);
}

static void tear(struct sim_node *node, struct sim_record *last) {
    struct paxos_record record;
    last->bytes.size = rng_below(&node->sim->disk, last->bytes.size);
    if (paxos_record_decode(buf_span(&last->bytes), &record, NULL) == 0)
        sim_fail(node->sim, "node %u takes a torn record for a whole one", node->index + 1);
    sim_stats->torn++;
}

void sim_disk_crash(struct sim_node *node, bool power) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    uint32_t most = disk->syncing > disk->durable ? disk->syncing : disk->durable;
    uint32_t kept =
        power ? disk->durable + (uint32_t)rng_below(&sim->disk, most - disk->durable + 1) : most;
    if (kept < disk->count && rng_below(&sim->disk, 100) < sim->options.tear_percent)
        tear(node, &disk->records[kept]);
    while (disk->count > kept)
        buf_fini(&disk->records[--disk->count].bytes);
    make_durable(node, kept);
    for (uint32_t i = 0; i < disk->count; i++)
        disk->records[i].write_seq = 0; /* counted anew */
    disk->syncing = 0;
}

void sim_disk_restore(struct sim_replica *replica) {
    struct sim_node *node = replica->node;
    for (uint32_t i = replica->since; i < node->disk.count; i++) {
        const struct sim_record *stored = &node->disk.records[i];
        if (stored->group != replica->group || stored->trimmed)
            continue;
        struct paxos_record record = decode(node, stored);
        /* What a state that was fetched has replaced is not served: it may not be what was chosen.
         */
        if (record.value != NULL && record.slot > replica->trimmed_upto)
            sim_replica_remember(replica, record.slot, record.value);
        if (record.born == replica->born && drive_restore(replica->drive, &record) != 0)
            sim_fail(node->sim, "node %u: its log has lost a slot of group %u", node->index + 1,
                     replica->group);
        sim_replica_apply(replica);
        paxos_value_unref(record.value);
    }
}

/* Node ids are never given out twice. */
void sim_disk_wipe(struct sim_node *node) {
    ASSERT(!node->up);
    sim_disk_fini(node);
    node->disk = (struct sim_disk){0};
    node->boot = node->births = 0;
    node->id += 16;
    for (uint32_t i = 0; i < SIM_GROUPS_MAX; i++) {
        struct sim_replica *replica = &node->replicas[i];
        replica->born = 0;
        replica->since = 0;
        replica->trimmed_upto = 0;
        replica->state_lost = false;
        replica->flushed = (struct sim_state){0};
    }
}

void sim_disk_fini(struct sim_node *node) {
    for (uint32_t i = 0; i < node->disk.count; i++)
        buf_fini(&node->disk.records[i].bytes);
    free(node->disk.records);
}
