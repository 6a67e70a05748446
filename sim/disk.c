/* A node's disk: one log for all groups, in order, one write in flight. A crash keeps what was
 * synced and any prefix of the rest, whose last record may be torn. */
#include <stdlib.h>

#include "sim/sim.h"

static void sync_begin(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    if (disk->syncing != 0 || disk->durable == disk->count)
        return;
    disk->syncing = disk->count;
    uint64_t takes_ns = sim_about(&sim->disk, sim->options.sync_us * SIM_US);
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.stall_ppm))
        takes_ns += 1000 * SIM_MS;
    struct sim_event *event = sim_event_new(sim, SIM_SYNCED, takes_ns);
    event->node = node->index;
    event->life = node->life;
    sim_post(sim, event);
}

static void remember_value(struct sim_group *group, const struct paxos_record *record) {
    if (record->value == NULL)
        return;
    while (record->slot >= group->value_room) {
        uint64_t room = group->value_room > 0 ? 2 * group->value_room : 1024;
        group->values = realloc(group->values, room * sizeof *group->values);
        ASSERT(group->values != NULL);
        memset(group->values + group->value_room, 0,
               (room - group->value_room) * sizeof *group->values);
        group->value_room = room;
    }
    paxos_value_unref(group->values[record->slot]);
    group->values[record->slot] = paxos_value_ref(record->value);
}

void sim_disk_append(struct sim_node *node, const struct paxos_record *record) {
    struct sim_disk *disk = &node->disk;
    if (disk->count == disk->room) {
        disk->room = disk->room > 0 ? 2 * disk->room : 1024;
        disk->records = realloc(disk->records, disk->room * sizeof *disk->records);
        ASSERT(disk->records != NULL);
    }
    struct sim_record *stored = &disk->records[disk->count++];
    *stored = (struct sim_record){.group = record->group, .write_seq = record->write_seq};
    paxos_record_encode(record, &stored->bytes);
    remember_value(&node->groups[record->group], record);
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
        sim_check_durable(node, &record);
        paxos_value_unref(record.value);
    }
}

/* Drops what the state store holds, once the checkpoint is durable. */
static void trim(struct sim_node *node, uint32_t index) {
    struct sim_group *group = &node->groups[index];
    for (uint32_t i = 0; i < group->trim_before; i++) {
        struct sim_record *stored = &node->disk.records[i];
        if (stored->group != index || stored->trimmed)
            continue;
        struct paxos_record record;
        uint32_t size;
        paxos_record_decode_head(buf_span(&stored->bytes), &record, &size, NULL);
        stored->trimmed = record.slot <= group->trim_upto;
    }
    group->trim_before = 0;
}

void sim_disk_synced(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    uint64_t seqs[SIM_GROUPS_MAX] = {0};
    for (uint32_t i = disk->durable; i < disk->syncing; i++)
        seqs[disk->records[i].group] = disk->records[i].write_seq;
    make_durable(node, disk->syncing);
    disk->syncing = 0;
    sync_begin(node);
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.crash_at_sync_ppm)) {
        sim_node_crash(node, true);
        return;
    }
    for (uint32_t i = 0; i < sim->options.groups; i++) {
        struct sim_group *group = &node->groups[i];
        if (seqs[i] == 0)
            continue;
        if (group->trim_before > 0 && seqs[i] >= group->flush_seq)
            trim(node, i);
        drive_durable(group->drive, sim->now_ns, seqs[i]);
    }
}

void sim_disk_crash(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    uint32_t kept =
        disk->durable + (uint32_t)rng_below(&sim->disk, disk->count - disk->durable + 1);
    bool torn = kept < disk->count && rng_below(&sim->disk, 100) < sim->options.tear_percent;
    if (torn) {
        struct sim_record *last = &disk->records[kept];
        struct paxos_record record;
        last->bytes.size = rng_below(&sim->disk, last->bytes.size);
        if (paxos_record_decode(buf_span(&last->bytes), &record, NULL) == 0)
            sim_fail(sim, "node %u takes a torn record for a whole one", node->index + 1);
    }
    while (disk->count > kept)
        buf_fini(&disk->records[--disk->count].bytes);
    make_durable(node, kept);
    disk->syncing = 0;
}

void sim_disk_restore(struct sim_node *node, uint32_t index) {
    struct sim_group *group = &node->groups[index];
    for (uint32_t i = 0; i < node->disk.count; i++) {
        const struct sim_record *stored = &node->disk.records[i];
        if (stored->group != index)
            continue;
        struct paxos_record record = decode(node, stored);
        remember_value(group, &record);
        if (!stored->trimmed && drive_restore(group->drive, &record) != 0)
            sim_fail(node->sim, "node %u: its log has lost a slot of group %u", node->index + 1,
                     index);
        sim_node_apply(node, index);
        paxos_value_unref(record.value);
    }
}

void sim_disk_fini(struct sim_node *node) {
    for (uint32_t i = 0; i < node->disk.count; i++)
        buf_fini(&node->disk.records[i].bytes);
    free(node->disk.records);
}
