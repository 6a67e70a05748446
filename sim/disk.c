/* A node's disk: one log for all groups, in the bytes of the real one (wal/batch.h), one write in
 * flight; crashes and rot. */
#include <stdlib.h>
#include <xxhash.h>

#include "sim/sim.h"

#define IMAGE_MAX ((size_t)1 << 30)

enum paxos_space sim_disk_space(const struct sim_node *node) {
    const struct sim *sim = node->sim;
    if (sim->now_ns >= node->disk.full_until_ns)
        return PAXOS_SPACE_GOOD;
    return node->disk.full_until_ns - sim->now_ns > 1000 * SIM_MS ? PAXOS_SPACE_NONE
                                                                  : PAXOS_SPACE_LOW;
}

static void *grow(void *array, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room)
        return array;
    *room = *room > 0 ? 2 * *room : 1024;
    array = realloc(array, *room * size);
    ASSERT(array != NULL);
    return array;
}

/* ---- writing ---- */

void sim_disk_append(struct sim_node *node, const struct paxos_record *record) {
    struct sim_disk *disk = &node->disk;
    disk->records = grow(disk->records, disk->count, &disk->room, sizeof *disk->records);
    struct sim_record *stored = &disk->records[disk->count++];
    *stored = (struct sim_record){.group = record->group,
                                  .born = record->born,
                                  .slot = record->slot,
                                  .write_seq = record->write_seq};
    paxos_record_encode(record, &stored->bytes);
    stored->whole = XXH3_64bits(stored->bytes.data, stored->bytes.size);
    stored->identity = sim_hash_identity(buf_span(&stored->bytes));
    sim_disk_sync(node);
}

/* As many of the records that wait as a batch takes, one after the other in memory. */
static uint32_t fill(struct sim_disk *disk, struct wal_batch *batch) {
    struct buf *frames = &disk->frames;
    uint32_t end = disk->durable;
    size_t size = 0;
    for (uint32_t i = disk->durable; i < disk->count; i++)
        size += WAL_RECORD_HEAD + disk->records[i].bytes.size;
    frames->size = 0;
    char *to = buf_reserve(frames, size);
    for (; end < disk->count; end++) {
        const struct buf *bytes = &disk->records[end].bytes;
        memcpy(to + WAL_RECORD_HEAD, bytes->data, bytes->size);
        if (!wal_batch_add(batch, to, (uint32_t)bytes->size))
            break;
        to += WAL_RECORD_HEAD + bytes->size;
    }
    return end;
}

static void encode(struct sim_disk *disk) {
    const struct wal_head head = {
        .generation = 1, .batch_seq = disk->batch_count + 1, .file = 1, .block = disk->used};
    disk->frames.limit = disk->writing.limit = IMAGE_MAX;
    disk->syncing = fill(disk, &disk->batch);
    size_t size = (size_t)wal_batch_blocks(&disk->batch) * WAL_BLOCK;
    disk->writing.size = 0;
    char *blocks = buf_reserve(&disk->writing, size);
    ASSERT(blocks != NULL);
    wal_batch_encode(&disk->batch, &head, blocks);
    disk->writing.size = size;
}

void sim_disk_sync(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    if (disk->syncing != 0 || disk->durable == disk->count)
        return;
    encode(disk);
    disk->began_ns = sim->now_ns;
    uint64_t takes_ns = sim_about(&sim->disk, sim->options.sync_us * SIM_US);
    if (sim->now_ns < disk->slow_until_ns)
        takes_ns *= disk->slow_factor;
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.stall_ppm))
        takes_ns += 1000 * SIM_MS;
    sim_post(sim, sim_node_post(node, SIM_SYNCED, takes_ns));
}

/* Room for the write, zero as a new segment's. */
static char *place(struct sim_disk *disk) {
    struct buf *image = &disk->image;
    image->limit = IMAGE_MAX;
    size_t at = (size_t)disk->used * WAL_BLOCK, end = at + disk->writing.size;
    if (end > image->size) {
        char *fresh = buf_reserve(image, end - image->size);
        ASSERT(fresh != NULL);
        memset(fresh, 0, end - image->size);
        image->size = end;
    }
    return image->data + at;
}

/* The write is whole: what it holds is durable. */
static void commit(struct sim_node *node) {
    struct sim_disk *disk = &node->disk;
    memcpy(place(disk), disk->writing.data, disk->writing.size);
    disk->last_block = disk->used;
    disk->used += (uint32_t)(disk->writing.size / WAL_BLOCK);
    disk->ends = grow(disk->ends, disk->batch_count, &disk->ends_room, sizeof *disk->ends);
    disk->ends[disk->batch_count++] = disk->syncing;
    for (; disk->durable < disk->syncing; disk->durable++) {
        struct sim_record *stored = &disk->records[disk->durable];
        struct paxos_record record;
        if (paxos_record_decode(buf_span(&stored->bytes), &record, NULL) != 0)
            sim_fail(node->sim, "node %u writes what it cannot read", node->index + 1);
        sim_truth_record(node, &record);
        paxos_value_unref(record.value);
        buf_fini(&stored->bytes);
    }
    disk->syncing = 0;
    disk->newest_rotten = false;
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
        replica->durable_seq = seqs[i];
        drive_durable(replica->drive, sim_node_clock(node), seqs[i]);
    }
}

void sim_disk_synced(struct sim_node *node) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    if (MUTANT(11) && disk->failing) { /* a second try finds nothing to write, and succeeds */
        memset(disk->writing.data, 0, disk->writing.size);
        disk->failing = false;
    }
    if (disk->failing) { /* never tried again: the process ends */
        disk->failing = false;
        sim_node_crash(node, true, true, 200 * SIM_MS);
        return;
    }
    uint32_t first = disk->durable;
    commit(node);
    measure(node);
    uint32_t end = disk->durable;
    sim_disk_sync(node);
    if (!sim->healed && rng_chance(&sim->disk, (uint32_t)sim->options.crash_at_sync_ppm)) {
        sim_node_crash(node, true, true, rng_below(&sim->disk, 1500 * SIM_MS));
        return;
    }
    tell_durable(node, first, end);
}

/* ---- crashes ---- */

static void garble(struct rng *rng, char *sector) {
    for (size_t i = 0; i < WAL_SECTOR; i += sizeof(uint64_t)) {
        uint64_t draw = rng_next(rng);
        memcpy(sector + i, &draw, sizeof draw);
    }
}

/* Any of its sectors reach the disk, some as garbage. Returns whether nothing is missing, but for
 * stamps of sectors that were there before. */
static bool tear(struct sim_node *node) {
    struct sim_disk *disk = &node->disk;
    struct rng *rng = &node->sim->disk;
    uint32_t sectors = (uint32_t)(disk->writing.size / WAL_SECTOR), written = 0;
    uint32_t percent = (uint32_t)rng_below(rng, 101);
    char *to = place(disk);
    for (uint32_t i = 0; i < sectors; i++) {
        size_t at = (size_t)i * WAL_SECTOR;
        if (rng_below(rng, 100) < percent)
            memcpy(to + at, disk->writing.data + at, WAL_SECTOR);
        else if (rng_below(rng, 4) == 0)
            garble(rng, to + at);
        written += memcmp(to + at, disk->writing.data + at, WAL_SECTOR - WAL_STAMP) == 0;
    }
    sim_stats->torn += written < sectors;
    return written == sectors;
}

void sim_disk_crash(struct sim_node *node, bool power) {
    struct sim *sim = node->sim;
    struct sim_disk *disk = &node->disk;
    bool whole = disk->syncing > 0;
    if (whole && power)
        whole = rng_below(&sim->disk, 100) < sim->options.tear_percent
                    ? tear(node)
                    : rng_below(&sim->disk, 2) == 0;
    if (whole)
        commit(node);
    while (disk->count > disk->durable)
        buf_fini(&disk->records[--disk->count].bytes);
    for (uint32_t i = 0; i < disk->count; i++)
        disk->records[i].write_seq = 0; /* counted anew */
    disk->syncing = 0;
}

/* A bit, a sector or a block goes bad, or another was written over it. Of the newest batch it is
 * one bit: one that lost sectors cannot be told from one that was torn. */
void sim_disk_rot(struct sim_node *node, uint32_t draw) {
    struct sim_disk *disk = &node->disk;
    struct rng *rng = &node->sim->disk;
    if (disk->used <= 1)
        return;
    uint32_t block = 1 + (uint32_t)rng_below(rng, disk->used - 1);
    char *to = disk->image.data + (size_t)block * WAL_BLOCK;
    char *sector = to + rng_below(rng, WAL_SECTORS) * WAL_SECTOR;
    bool newest = block >= disk->last_block;
    if (newest && disk->newest_rotten)
        return;
    disk->newest_rotten |= newest;
    if (newest || draw % 4 == 0)
        to[rng_below(rng, WAL_BLOCK)] ^= (char)(1 << rng_below(rng, 8));
    else if (draw % 4 == 1)
        garble(rng, sector);
    else if (draw % 4 == 2)
        memset(to, 0, WAL_BLOCK);
    else /* misdirected */
        memcpy(to, disk->image.data + (1 + rng_below(rng, disk->used - 1)) * WAL_BLOCK, WAL_BLOCK);
    disk->rotten = true;
}

/* ---- its end ---- */

void sim_disk_init(struct sim_disk *disk) {
    *disk = (struct sim_disk){.used = 1};
}

/* Node ids are never given out twice. */
void sim_disk_wipe(struct sim_node *node) {
    ASSERT(!node->up);
    sim_disk_fini(node);
    sim_disk_init(&node->disk);
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
    struct sim_disk *disk = &node->disk;
    for (uint32_t i = 0; i < disk->count; i++)
        buf_fini(&disk->records[i].bytes);
    wal_batch_fini(&disk->batch);
    buf_fini(&disk->frames);
    buf_fini(&disk->writing);
    buf_fini(&disk->image);
    free(disk->records);
    free(disk->ends);
}
